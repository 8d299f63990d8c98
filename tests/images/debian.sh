#!/usr/bin/env bash
# debian.sh IMAGE PACKAGE [COMMAND...]: an image of one Debian package and what it needs, without any registry.
# Imported as IMAGE, with the package's version as its label. Needs apt and docker on this machine; takes seconds.
set -euo pipefail
image=$1 package=$2
shift 2

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" "$work/root"

# Its dependencies without those that only matter to a whole system.
closure() {
  apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
    --no-pre-depends "$1" | grep '^[a-z0-9]' | grep -vE '^(adduser|debconf.*|lsb-base|passwd|perl-base|init-system-helpers|sysvinit-utils|libpam.*|login|sensible-utils|dpkg|tar)(:|$)'
}
packages=$(closure "$package" | sort -u)
# shellcheck disable=SC2086
(cd "$work/debs" && apt-get download -qq -o APT::Sandbox::User=root $packages 2>/dev/null >/dev/null)
for deb in "$work"/debs/*.deb; do dpkg-deb -x "$deb" "$work/root"; done
rm -rf "$work"/root/usr/share/{doc,man,locale,info} "$work"/root/var/cache
mkdir -p "$work"/root/{etc,tmp,data} && chmod 1777 "$work/root/tmp" "$work/root/data"
printf 'root:x:0:0:root:/:/bin/false\nnobody:x:65534:65534:nobody:/:/bin/false\n' > "$work/root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' > "$work/root/etc/group"
printf 'hosts: files dns\n' > "$work/root/etc/nsswitch.conf"
ldconfig -r "$work/root"

version=$(dpkg-deb -f "$work"/debs/"$package"_*.deb Version | sed 's/^[0-9]*://; s/-[^-]*$//')
changes=(--change "LABEL org.opencontainers.image.version=$version")
if [ $# -gt 0 ]; then changes+=(--change "CMD $(printf '"%s",' "$@" | sed 's/^/[/; s/,$/]/')"); fi
tar -C "$work/root" -c . | docker import "${changes[@]}" - "$image"
