# The bridge, and the laboratory with it, in an image without anything else; for amd64 and arm64:
#   docker build -t mqtt-bridge .
#   docker buildx build --platform linux/amd64,linux/arm64 -t mqtt-bridge .
#   docker run -v "$PWD/bridge.yaml:/etc/mqtt-bridge/bridge.yaml:ro" -v mqtt-bridge:/data -p 1883:1883 mqtt-bridge
# bridge.yaml wants `cache: { path: /data/mqtt-bridge.db }` there, and `metrics: { bind: 127.0.0.1:9464 }` for the check.

# A stage of its own, so that another base can be named (or `--build-context build=...` bring a binary that is there).
FROM rust:1.95-bookworm AS build
WORKDIR /source
COPY Cargo.toml Cargo.lock ./
COPY src src
COPY scenarios scenarios
COPY benches benches
# Static against glibc. The target is named so that build scripts do not get the flag.
RUN target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target" \
 && mkdir -p /image/data /image/tmp /image/etc/mqtt-bridge \
 && chmod 1777 /image/data /image/tmp \
 && cp "target/$target/release/mqtt-bridge" /image/mqtt-bridge

FROM scratch AS final
COPY --from=build /image /
LABEL org.opencontainers.image.title="mqtt-bridge" \
      org.opencontainers.image.description="An MQTT bridge that loses nothing it has acknowledged" \
      org.opencontainers.image.version="0.1.0"
USER 65534:65534
VOLUME /data
EXPOSE 1883
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/mqtt-bridge", "healthy"]
ENTRYPOINT ["/mqtt-bridge"]
CMD ["run", "--config", "/etc/mqtt-bridge/bridge.yaml"]
