#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A Debian guest under qemu, emulated in software, with systemd and cgroup v2: installs the programs of a build, and runs smoke.sh in it, then, booted again with
# SELinux, selinux.sh (VM_CHECKS: only those named).
#   run.sh BUILD     closes with "vm: N passed, N failed"
# The guest's base is made once, by debootstrap, in build/vm; the packages come from where apt on this machine takes its own.
# VM_SHELL=PATH of a socket: a root shell of the guest answers there.
set -eu
here=$(cd "$(dirname "$0")" && pwd) top=$(cd "$(dirname "$0")/../.." && pwd)
build=$(realpath "${1:-$top/build/gcc}") vm=${VM_DIR:-$top/build/vm}
packages=$(grep -v '^#' "$here/packages.txt" | paste -sd,)
[ "$(id -u)" = 0 ] || { echo "make check-vm needs root: debootstrap does"; exit 1; }

for tool in qemu-system-x86_64:qemu-system-x86 debootstrap:debootstrap mke2fs:e2fsprogs; do
	command -v "${tool%%:*}" >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${tool##*:}" >/dev/null
done

base() {
	local mirror
	mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | head -n 1)
	rm -rf "$vm/base.new"
	mkdir -p "$vm"
	debootstrap --variant=minbase --include="$packages" "$(. /etc/os-release && echo "$VERSION_CODENAME")" "$vm/base.new" "$mirror" >"$vm/debootstrap.log" 2>&1 ||
		{ tail -n 20 "$vm/debootstrap.log"; exit 1; }
	rm -rf "$vm/base.new/var/cache/apt/archives"/*.deb "$vm/base.new/usr/share/doc" "$vm/base"
	printf '%s\n' "$packages" >"$vm/base.new/packages"
	mv "$vm/base.new" "$vm/base"
}
[ "$(cat "$vm/base/packages" 2>/dev/null)" = "$packages" ] || base

root=$(mktemp -d "$vm/root.XXXXXX")
trap 'rm -rf "$root" "$vm/disk.$$"' EXIT
cp -a "$vm/base/." "$root/"
# What can be made out here is not made in there, where everything takes ten times as long. The tag is the one that cluster.sh looks for in there.
tag=$("$root/bin/busybox" | sed -nE '1s/^BusyBox v([0-9.]+).*/\1/p')
mkdir -p "$root/var/lib/coracle"
"$top/deploy/busybox-image.sh" "$root/var/lib/coracle/busybox-image.tar" "docker.io/library/busybox:$tag" busybox
MAKEFLAGS= make -s -C "$top" install BUILD="$build" DESTDIR="$root" PREFIX=/usr/local >/dev/null
install -D -t "$root/usr/local/lib/coracle-vm" "$here"/{smoke,selinux,lib}.sh
install -m 644 -t "$root/usr/local/lib/coracle-vm" "$here/selinux.cil"
install -D -t "$root/usr/local/lib/coracle-tests" "$build"/test/unit/kubelet/{cgroup/cgroup_test,runtime_test,node/logind_test}
echo coracle-vm >"$root/etc/hostname"
printf '127.0.0.1 localhost coracle-vm\n' >"$root/etc/hosts"
# A network that leads nowhere: an interface with a default route, as a machine has one.
cat >"$root/etc/systemd/system/up0.service" <<-'UNIT'
	[Unit]
	Before=network.target
	[Service]
	Type=oneshot
	RemainAfterExit=yes
	ExecStart=/bin/sh -c 'ip link add up0 type dummy; ip addr add 192.0.2.30/24 dev up0; ip link set up0 up; ip route add default via 192.0.2.1'
UNIT
cat >"$root/etc/systemd/system/coracle-smoke.service" <<-'UNIT'
	[Unit]
	After=multi-user.target
	[Service]
	Type=oneshot
	ExecStart=/usr/bin/systemd-inhibit --what=shutdown --mode=delay --who=smoke /usr/local/bin/coracle-smoke
	ExecStopPost=/bin/systemctl poweroff --no-block --force
	StandardOutput=file:/dev/ttyS0
	StandardError=file:/dev/ttyS0
	TimeoutStartSec=infinity
UNIT
install -m 755 /dev/stdin "$root/usr/local/bin/coracle-smoke" <<-'SCRIPT'
	#!/bin/bash
	exec "/usr/local/lib/coracle-vm/$(sed -nE 's/.*coracle\.run=([a-z]+).*/\1/p' /proc/cmdline).sh"
SCRIPT
mkdir -p "$root/etc/systemd/system/graphical.target.wants"
for unit in up0 coracle-smoke; do ln -s ../$unit.service "$root/etc/systemd/system/graphical.target.wants/$unit.service"; done
ln -sf /lib/systemd/system/graphical.target "$root/etc/systemd/system/default.target"
rm -f "$root/etc/systemd/system/network-online.target.wants"/*
# A getty would hang up the console that results are written to.
for unit in serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer fstrim.timer e2scrub_all.timer etcd.service nftables.service; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
shell=()
if [ -n "${VM_SHELL:-}" ]; then
	shell=(-serial "unix:$VM_SHELL,server=on,wait=off")
	printf '[Service]\nExecStart=/bin/bash\nStandardInput=tty\nStandardOutput=tty\nTTYPath=/dev/ttyS1\nEnvironment=TERM=dumb\nRestart=always\n' >"$root/etc/systemd/system/shell.service"
	ln -s ../shell.service "$root/etc/systemd/system/graphical.target.wants/shell.service"
fi
mke2fs -q -t ext4 -d "$root" "$vm/disk.$$" 4G

# The same disk is booted once for each set of checks: the kernel takes one of AppArmor and SELinux.
boot() { # checks, arguments of the kernel
	timeout "${VM_SECONDS:-2400}" qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 2 -m 2048 -nographic -no-reboot -nic none -serial mon:stdio "${shell[@]}" \
		-kernel "$root"/boot/vmlinuz-* -initrd "$root"/boot/initrd.img-* -append "root=/dev/vda rw console=ttyS0 quiet systemd.unified_cgroup_hierarchy=1 systemd.show_status=false coracle.run=$1 $2" \
		-drive file="$vm/disk.$$",format=raw,if=virtio,cache=unsafe </dev/null >"$vm/console-$1.log" 2>&1 || true
	sed -i 's/\r//g' "$vm/console-$1.log"
	grep -aoE '(ok    |FAILED: ).*' "$vm/console-$1.log" || true
	counted=$(grep -aoE '^vm: [0-9]+ passed, [0-9]+ failed$' "$vm/console-$1.log" || echo "vm: 0 passed, 1 failed")
	read -r _ good _ bad _ <<<"$counted"
	passed=$((passed + good)) failed=$((failed + bad))
	[ "$bad" = 0 ] || tail -n 80 "$vm/console-$1.log"
}
passed=0 failed=0
for checks in ${VM_CHECKS:-smoke selinux}; do
	case $checks in
	smoke) boot smoke "apparmor=1 security=apparmor";;
	selinux) boot selinux "selinux=1 enforcing=0 security=selinux";;
	esac
done
echo "vm: $passed passed, $failed failed (consoles in $vm/console-*.log)"
[ $failed = 0 ]
