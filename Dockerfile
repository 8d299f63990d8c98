# The bridge, and the laboratory with it, in an image without anything else; for amd64 and arm64:
#   docker build -t mqtt-bridge --build-arg MQTT_BRIDGE_COMMIT="$(git rev-parse --short=7 HEAD)" .
#   docker buildx build --platform linux/amd64,linux/arm64 -t mqtt-bridge .
#   docker run -v "$PWD/bridge.yaml:/etc/mqtt-bridge/bridge.yaml:ro" -v mqtt-bridge:/data -p 1883:1883 mqtt-bridge
# bridge.yaml wants `cache: { path: /data/mqtt-bridge.db }` there, and `metrics: { bind: 127.0.0.1:9464 }` for the check.

# packaging/try-image.sh builds the last stage where no registry is to be had, and tries it.
FROM rust:1.95-bookworm AS build
ARG MQTT_BRIDGE_COMMIT
WORKDIR /source
COPY Cargo.toml Cargo.lock build.rs ./
COPY src src
COPY scenarios scenarios
COPY benches benches
COPY packaging/image-root.sh packaging/
RUN MQTT_BRIDGE_COMMIT="$MQTT_BRIDGE_COMMIT" packaging/image-root.sh /image

FROM scratch AS final
COPY --from=build /image /
LABEL org.opencontainers.image.title="mqtt-bridge" \
      org.opencontainers.image.description="An MQTT bridge that loses nothing it has acknowledged" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0"
USER 65534:65534
VOLUME /data
EXPOSE 1883
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/mqtt-bridge", "healthy"]
ENTRYPOINT ["/mqtt-bridge"]
CMD ["run", "--config", "/etc/mqtt-bridge/bridge.yaml"]
