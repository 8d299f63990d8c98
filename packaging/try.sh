#!/usr/bin/env bash
# try.sh: the package on a clean Debian 12 with systemd as its process 1, in namespaces of its own: installed, started
# under its unit, filled while the remote is away, killed, upgraded, drained, removed. Needs root, mmdebstrap, mosquitto,
# mosquitto-clients, iproute2, cargo-deb; leaves nothing behind.
set -euo pipefail
cd "$(dirname "$0")/.."
messages=200

say() { printf '%s\n' "-- $*"; }
fail() { printf '%s\n' "FAILED: $*" >&2; exit 1; }
# until_holds SECONDS COMMAND...
until_holds() {
  local end=$((SECONDS + $1)); shift
  until "$@"; do
    if [ $SECONDS -ge $end ]; then fail "not within its time: $*"; fi
    sleep 0.1
  done
}

# What becomes process 1: the root, made a root of its own (user namespaces are refused below a mere chroot).
if [ "${1:-}" = init ]; then
  root=$2
  mount -t proc proc "$root/proc"
  mount -t sysfs -o ro sysfs "$root/sys"
  mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
  mount -t tmpfs -o mode=755 tmpfs "$root/run"
  mount -t tmpfs -o mode=755 tmpfs "$root/dev"
  for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
  done
  mkdir "$root/dev/pts"
  mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
  ln -s pts/ptmx "$root/dev/ptmx"
  cd "$root"
  mkdir -p run/old
  pivot_root . run/old
  umount -l /run/old
  exec env -i container=try PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --log-target=journal
fi

# The trial, in a network without a way out, so that ports are its own.
if [ "${1:-}" = inside ]; then
  work=$2 first=$3 second=$4 root=$work/root
  ip link set lo up
  mount --bind "$root" "$root"
  cp "$first" "$root/root/first.deb"
  cp "$second" "$root/root/second.deb"
  mkdir "$work/cgroup"
  mount -t cgroup2 cgroup2 "$work/cgroup"
  group=$work/cgroup/mqtt-bridge-try.$$
  mkdir "$group"
  # The whole trial in it: process 1 sees it as the root of all.
  echo $$ > "$group/cgroup.procs"
  unshare --cgroup --pid --mount --ipc --uts --fork --kill-child "$0" init "$root" &
  outer=$!
  remote=
  finish() {
    status=$?
    if [ $status -ne 0 ] && [ -n "${init:-}" ]; then
      within systemctl status --no-pager mqtt-bridge || true
      within journalctl --no-pager -n 40 || true
    fi
    if [ -n "$remote" ]; then kill "$remote" 2>/dev/null || true; fi
    kill -KILL "$outer" 2>/dev/null || true
    wait 2>/dev/null || true
    # Out of it, or it cannot go.
    echo $$ > "$work/cgroup/cgroup.procs"
    for _ in $(seq 100); do
      find "$group" -depth -type d -exec rmdir {} + 2>/dev/null && break
      sleep 0.1
    done
    exit $status
  }
  trap finish EXIT
  until_holds 10 pgrep -P "$outer" >/dev/null
  init=$(pgrep -P "$outer")
  within() { nsenter --target "$init" --mount --pid --cgroup --ipc --uts --wdns=/ -- "$@"; }
  booted() { within systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; }
  is_active() { [ "$(within systemctl is-active mqtt-bridge)" = active ]; }
  cached() { within mqtt-bridge cache stats /var/lib/mqtt-bridge/mqtt-bridge.db; }
  apt() { within env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o Dpkg::Use-Pty=0 "$@" 2>&1 | sed '/debconf: delaying/d; /Reading database/d; s/^/   /'; }
  until_holds 60 booted
  say "a clean $(. "$root/etc/os-release" && echo "$PRETTY_NAME"), systemd $(within systemctl --version | sed -n '1s/systemd \([0-9]*\).*/\1/p') is its process 1"

  say "installed"
  apt install /root/first.deb
  is_active || fail "it is not started"
  within mqtt-bridge --version
  [ "$(within systemctl is-enabled mqtt-bridge)" = enabled ] || fail "it is not enabled"
  mosquitto_pub -h 127.0.0.1 -t hello -m world -q 1 || fail "nobody listens on loopback"
  pid=$(within systemctl show -P MainPID mqtt-bridge)
  status() { within cat "/proc/$pid/status" | sed -n "s/^$1:[[:space:]]*//p"; }
  [ "$(status CapBnd)" = 0000000000000000 ] || fail "capabilities: $(status CapBnd)"
  [ "$(status NoNewPrivs) $(status Seccomp)" = "1 2" ] || fail "no_new_privs, seccomp"
  [ "$(within stat -c '%U %a' /var/lib/mqtt-bridge)" = "mqtt-bridge 700" ] || fail "the state's owner and mode"
  [ "$(within stat -c '%U:%G %a' /etc/mqtt-bridge/bridge.yaml)" = "root:mqtt-bridge 640" ] || fail "the configuration's"
  within systemd-analyze verify mqtt-bridge.service 2>&1 | grep -v 'man mqtt-bridge' | grep . && fail "the unit"
  within systemd-analyze security --no-pager mqtt-bridge.service | tail -1
  for page in mqtt-bridge mqtt-bridge-run mqtt-bridge-cache-stats; do
    gzip -t "$root/usr/share/man/man1/$page.1.gz" || fail "no man page $page"
  done

  say "configured for a remote that is away, and $messages messages published"
  (umask 077 && echo secret > "$root/etc/mqtt-bridge/remote.password")
  within chgrp mqtt-bridge /etc/mqtt-bridge/remote.password
  chmod 0640 "$root/etc/mqtt-bridge/remote.password"
  cat >> "$root/etc/mqtt-bridge/bridge.yaml" <<'YAML'
bridges:
  - name: remote
    server: mqtt://127.0.0.1:1884
    client_id: try
    username: try
    password_file: /etc/mqtt-bridge/remote.password
    forwards: [{ local: "try/#", qos: 1 }]
YAML
  within systemctl restart mqtt-bridge
  seq $messages | mosquitto_pub -h 127.0.0.1 -t try/count -q 1 -l
  cached
  cached | grep -qw $messages || fail "they are not in the cache"
  told() { within systemctl show -P StatusText mqtt-bridge | grep -q "link down, $messages queued"; }
  until_holds 20 told
  within systemctl status --no-pager --lines=0 mqtt-bridge

  say "a configuration with an error: the reload is refused, and it runs on"
  cp -p "$root/etc/mqtt-bridge/bridge.yaml" "$work/right.yaml"
  echo 'nonsense: 1' >> "$root/etc/mqtt-bridge/bridge.yaml"
  if within systemctl reload mqtt-bridge 2>/dev/null; then fail "the reload is not refused"; fi
  is_active || fail "it has ended"
  cat "$work/right.yaml" > "$root/etc/mqtt-bridge/bridge.yaml"

  say "killed: systemd starts it again"
  within systemctl kill --signal=KILL mqtt-bridge
  restarted() { [ "$(within systemctl show -P NRestarts mqtt-bridge)" = 1 ] && is_active; }
  until_holds 20 restarted

  say "upgraded from $(within dpkg-query -W -f '${Version}' mqtt-bridge)"
  before=$(within systemctl show -P MainPID mqtt-bridge)
  apt install /root/second.deb
  say "to $(within dpkg-query -W -f '${Version}' mqtt-bridge)"
  is_active || fail "it does not run after the upgrade"
  [ "$(within systemctl show -P MainPID mqtt-bridge)" != "$before" ] || fail "the old one still runs"
  cmp -s "$work/right.yaml" "$root/etc/mqtt-bridge/bridge.yaml" || fail "the configuration was changed"
  cached | grep -qw $messages || fail "the upgrade lost the cache"

  say "the remote comes back"
  printf 'listener 1884 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n' > "$work/mosquitto.conf"
  PATH=$PATH:/usr/sbin:/sbin mosquitto -c "$work/mosquitto.conf" >/dev/null 2>&1 &
  remote=$!
  # A session that is there before the bridge comes, or what comes first has no subscriber.
  subscribed() { mosquitto_sub -h 127.0.0.1 -p 1884 -t 'try/#' -q 1 -i early -c -E 2>/dev/null; }
  until_holds 10 subscribed
  timeout 30 mosquitto_sub -h 127.0.0.1 -p 1884 -t 'try/#' -q 1 -i early -c -C $messages > "$work/received" || true
  seq $messages | cmp -s - "$work/received" || fail "$(wc -l < "$work/received") of $messages arrived, or not in order"
  say "$(wc -l < "$work/received") of $messages delivered, in order"
  drained() { cached | grep -q '^0 messages'; }
  until_holds 10 drained

  say "stopped in order, removed, purged: the cache stays"
  within systemctl stop mqtt-bridge
  [ "$(within systemctl show -P Result mqtt-bridge)" = success ] || fail "it did not stop in order"
  apt remove mqtt-bridge
  [ -e "$root/etc/mqtt-bridge/bridge.yaml" ] || fail "removing takes the configuration along"
  apt purge mqtt-bridge
  [ ! -e "$root/etc/mqtt-bridge/bridge.yaml" ] || fail "purging leaves the configuration"
  [ -e "$root/var/lib/mqtt-bridge/mqtt-bridge.db" ] || fail "purging takes the cache along"
  say "tried"
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
say "packages"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
for revision in 1 2; do
  packaging/deb.sh "$version-$revision" > /dev/null
  cp target/packaging/mqtt-bridge_"$version-$revision"_*.deb "$work/$revision.deb"
done
dpkg-deb -f "$work/1.deb" Package Version Architecture Installed-Size Depends
say "a root"
mmdebstrap --quiet --variant=minbase --include=systemd,systemd-sysv bookworm "$work/root"
unshare --mount --net --propagation private "$0" inside "$work" "$work/1.deb" "$work/2.deb"
