#!/usr/bin/env bash
# image-root.sh FOLDER: what an image of mqtt-bridge holds: one static program, and folders to write to.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/.."

# Static against glibc. The target is named so that build scripts do not get the flag.
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --quiet --target "$target"
mkdir -p "$folder/data" "$folder/tmp" "$folder/etc/mqtt-bridge"
chmod 1777 "$folder/data" "$folder/tmp"
cp "target/$target/release/mqtt-bridge" "$folder/mqtt-bridge"
