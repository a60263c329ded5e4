#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes a small image from Debian's busybox-static, with no registry: busybox-image.sh OUT.tar NAME:TAG [LABEL].
# LABEL is written to /etc/image-label, so that two tags can be told apart.
set -eu
out=$1 name=$2 label=${3:-$2}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
umoci init --layout "$work/layout"
umoci new --image "$work/layout:image"
umoci unpack --rootless --image "$work/layout:image" "$work/bundle" >/dev/null 2>&1
root=$work/bundle/rootfs
mkdir -p "$root"/{bin,etc,tmp,root,home,proc,sys,dev,var/www,usr/bin,usr/sbin,sbin}
chmod 1777 "$root/tmp"
install -m 755 "$(command -v busybox || echo /bin/busybox)" "$root/bin/busybox"
for applet in $("$root/bin/busybox" --list); do [ "$applet" = busybox ] || ln -sf busybox "$root/bin/$applet"; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n' >"$root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$root/etc/group"
printf '%s\n' "$label" >"$root/etc/image-label"
umoci repack --image "$work/layout:image" "$work/bundle" >/dev/null 2>&1
umoci config --image "$work/layout:image" --config.cmd sh --config.env PATH=/bin:/sbin:/usr/bin:/usr/sbin
rm -f "$out"
skopeo --insecure-policy copy -q "oci:$work/layout:image" "docker-archive:$out:$name"
