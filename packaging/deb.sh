#!/usr/bin/env bash
# deb.sh [VERSION] [cargo's options]: the Debian package, from this checkout; prints where it is. Needs cargo-deb.
set -euo pipefail
cd "$(dirname "$0")/.."
version=${1:-}
shift || true

cargo build --release --locked --quiet "$@" >&2
made=target/packaging
rm -rf "$made" && mkdir -p "$made/man"
program=target/release/mqtt-bridge
"$program" man "$made/man"
"$program" completions bash > "$made/mqtt-bridge.bash"
"$program" completions zsh > "$made/_mqtt-bridge"
"$program" completions fish > "$made/mqtt-bridge.fish"
cargo deb --no-build --quiet ${version:+--deb-version "$version"} --output "$made/"
