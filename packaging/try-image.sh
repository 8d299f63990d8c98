#!/usr/bin/env bash
# try-image.sh [FOLDER]: the image, built without any registry from the last stage of the Dockerfile, and tried: not as root, on a
# read-only file system, health check, cache in its volume across a SIGKILL and an exchange of the container.
# Needs root, a Docker engine, mosquitto-clients; leaves nothing on it. FOLDER: what the image holds, made by
# image-root.sh before.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { printf '%s\n' "FAILED: $*" >&2; exit 1; }

name=mqtt-bridge-try-$$
image=$name:latest
work=$(mktemp -d)
finish() {
  status=$?
  if [ $status -ne 0 ]; then docker logs "$name" 2>&1 | tail -20 || true; fi
  docker rm -f -v "$name" >/dev/null 2>&1 || true
  docker volume rm "$name" >/dev/null 2>&1 || true
  docker image rm -f "$image" >/dev/null 2>&1 || true
  rm -rf "$work"
  exit $status
}
trap finish EXIT

if [ $# -gt 0 ]; then cp -a "$1" "$work/image"; else packaging/image-root.sh "$work/image"; fi
file=$work/image/mqtt-bridge
if ldd "$file" >/dev/null 2>&1 && ! ldd "$file" 2>&1 | grep -q 'statically linked'; then fail "it is not static"; fi
# The first stage needs a registry; the last is this folder.
sed -n '/^FROM scratch/,$p' Dockerfile | sed 's/^COPY --from=build \/image /COPY . /' > "$work/Dockerfile"
grep -q '^COPY \. /$' "$work/Dockerfile" || fail "the last stage of the Dockerfile is another"
# Without buildx, where that is not installed.
tar -C "$work/image" -c . -C "$work" Dockerfile | DOCKER_BUILDKIT=0 docker build -q -t "$image" - 2>/dev/null >/dev/null ||
  tar -C "$work/image" -c . -C "$work" Dockerfile | docker build -q -t "$image" - >/dev/null
docker image inspect -f '{{.Config.User}}, {{.Size}} bytes, volumes {{.Config.Volumes}}' "$image"

cat > "$work/bridge.yaml" <<'YAML'
listeners: [{ bind: "0.0.0.0:1883" }]
cache: { path: /data/mqtt-bridge.db }
bridges:
  - { name: away, server: "mqtt://127.0.0.1:1884", client_id: try, forwards: [{ local: "#" }] }
metrics: { bind: 127.0.0.1:9464 }
YAML
chmod 644 "$work/bridge.yaml"
docker volume create "$name" >/dev/null
run() {
  docker create --name "$name" --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
    --health-interval 1s -v "$name:/data" -v "$work/bridge.yaml:/etc/mqtt-bridge/bridge.yaml:ro" "$image" >/dev/null
  docker start "$name" >/dev/null
  for _ in $(seq 100); do
    if [ "$(docker inspect -f '{{.State.Health.Status}}' "$name")" = healthy ]; then return; fi
    sleep 0.2
  done
  fail "it is not healthy: $(docker inspect -f '{{json .State}}' "$name")"
}
cached() { docker exec "$name" /mqtt-bridge cache stats /data/mqtt-bridge.db; }

run
pid=$(docker inspect -f '{{.State.Pid}}' "$name")
[ "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$pid/status")" = 65534 ] || fail "it runs as $(grep Uid "/proc/$pid/status")"
docker exec "$name" /mqtt-bridge --version
# From this machine, in the container's network.
seq 50 | nsenter --target "$pid" --net mosquitto_pub -h 127.0.0.1 -t try -q 1 -l
docker kill --signal KILL "$name" >/dev/null
docker rm "$name" >/dev/null
run
cached
cached | grep -qw 50 || fail "its volume lost the cache"
docker exec "$name" /mqtt-bridge healthy || fail "healthy says no"
docker stop --time 20 "$name" >/dev/null
[ "$(docker inspect -f '{{.State.ExitCode}}' "$name")" = 0 ] || fail "it did not stop in order"
echo "the image is tried"
