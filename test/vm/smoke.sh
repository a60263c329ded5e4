#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs inside the guest, as root, once it is booted: what this machine has and the test machine may not (systemd, cgroup v2) for real.
set -u
. "$(dirname "$(realpath "$0")")/lib.sh"

version2() { [ -f /sys/fs/cgroup/cgroup.controllers ]; }
units="etcd apiserver controller-manager scheduler kubelet proxy dns"
# How often each unit was stopped by somebody; one that ends by itself (a lost lease, on a machine that is slow for a while) is started again without that.
stops() { for u in $units; do journalctl -b --no-pager -u coracle-$u | grep -c ': Stopping ' || true; done | paste -sd' '; }
up_again() {
	local before=$(stops)
	up || return 1
	[ "$(stops)" = "$before" ] || { echo "stops of $units: $(stops), were $before"; return 1; }
	# One that runs with other arguments is.
	sed -i 's/^\(kubelet: .*\)/\1 --v 1/' /etc/coracle/daemons.conf
	"$share/systemd/install.sh" /etc/coracle/daemons.conf || return 1
	within 300 sh -c "tr '\\0' ' ' </proc/\$(systemctl show -p MainPID --value coracle-kubelet)/cmdline | grep -q -- '--v 1' && systemctl is-active --quiet coracle-kubelet" || return 1
	[ "$(stops)" = "0 0 0 0 1 0 0" ] || { echo "stops of $units: $(stops)"; return 1; }
}
units_active() { for u in $units; do systemctl is-active --quiet coracle-$u || { echo "coracle-$u is not active"; return 1; }; done; }
run_pod() {
	pod limited "echo it runs; trap 'exit 0' TERM; sleep 100000 & wait" 'resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}'
	within 600 phase limited Running
}
limits() {
	local uid id group
	uid=$(jsonpath limited '{.metadata.uid}') id=$(jsonpath limited '{.status.containerStatuses[0].containerID}')
	group=/sys/fs/cgroup/kubepods/burstable/pod$uid
	file_has "$group/${id#*//}/memory.max" 67108864 && file_has "$group/${id#*//}/cpu.max" "50000 100000" && file_has "$group/memory.max" 67108864 && file_has "$group/${id#*//}/memory.swap.max" 0
}
logs() { [ "$(k logs limited)" = "it runs" ]; }
execs() { [ "$(k exec limited -- sh -c 'echo $((6*7))')" = 42 ]; }
restart() {
	local before after
	before=$(jsonpath limited '{.status.containerStatuses[0].containerID}{.status.containerStatuses[0].restartCount}')
	systemctl restart coracle-kubelet || return 1
	within 300 phase limited Running && within 300 execs || return 1
	after=$(jsonpath limited '{.status.containerStatuses[0].containerID}{.status.containerStatuses[0].restartCount}')
	[ "$before" = "$after" ] || { echo "$before became $after"; return 1; }
}
killed() {
	local before=$(systemctl show -p MainPID --value coracle-kubelet)
	kill -9 "$before"
	within 300 sh -c "p=\$(systemctl show -p MainPID --value coracle-kubelet); [ \$p != 0 ] && [ \$p != $before ]" && within 300 execs
}
# The one that takes too much is not the first process: all of the container ends with it.
oom() {
	pod hungry 'tail /dev/zero; sleep 100000' 'resources: {limits: {memory: 16Mi}}'
	within 600 phase hungry Failed && [ "$(jsonpath hungry '{.status.containerStatuses[0].state.terminated.reason}')" = OOMKilled ]
}
resize() {
	local uid id group
	k patch pod limited --subresource=resize -p '{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":"700m"}}}]}}' || return 1
	uid=$(jsonpath limited '{.metadata.uid}') id=$(jsonpath limited '{.status.containerStatuses[0].containerID}')
	group=/sys/fs/cgroup/kubepods/burstable/pod$uid
	within 120 sh -c "[ \"\$(cat $group/${id#*//}/cpu.max)\" = '70000 100000' ]" && file_has "$group/cpu.max" "70000 100000"
}
apparmor() {
	local default='coracle-default (enforce)' mounts='mkdir -p /mnt; mount -t tmpfs x /mnt 2>&- && echo mounted || echo refused'
	printf 'profile smoke-denies flags=(attach_disconnected) {\n file,\n network,\n capability,\n unix,\n signal,\n deny /tmp/forbidden w,\n}\n' | apparmor_parser --replace --skip-cache || return 1
	pod confined 'cat /proc/self/attr/current; echo x 2>&- >/tmp/forbidden || echo refused; echo x >/tmp/other && echo written' 'securityContext: {appArmorProfile: {type: Localhost, localhostProfile: smoke-denies}}'
	pod plain "cat /proc/self/attr/current; $mounts" 'securityContext: {capabilities: {add: [SYS_ADMIN]}, seccompProfile: {type: Unconfined}}'
	pod default "cat /proc/self/attr/current" 'securityContext: {appArmorProfile: {type: RuntimeDefault}}'
	pod loose "cat /proc/self/attr/current" '' 'securityContext: {appArmorProfile: {type: Unconfined}}'
	pod privileged "cat /proc/self/attr/current; $mounts" 'securityContext: {privileged: true}'
	pod unknown 'echo it runs' 'securityContext: {appArmorProfile: {type: Localhost, localhostProfile: smoke-denie}}'
	says confined "smoke-denies (enforce)
refused
written" && says plain "$default
refused" && says default "$default" && says loose unconfined && says privileged "unconfined
mounted" && within 120 waits unknown CreateContainerError 'apparmor profile not found smoke-denie'
}
hugepages() {
	local uid id group
	sysctl -qw vm.nr_hugepages=8 || return 1
	within 120 sh -c "[ \"\$(coracle --kubeconfig $KUBECONFIG get node coracle-vm -o 'jsonpath={.status.allocatable.hugepages-2Mi}')\" = 16Mi ]" || { k get node coracle-vm -o yaml; return 1; }
	pod huge 'sleep 100000' 'resources: {limits: {hugepages-2Mi: 8Mi, memory: 32Mi, cpu: 100m}}
volumeMounts: [{name: pages, mountPath: /pages}]' 'volumes: [{name: pages, emptyDir: {medium: HugePages}}]'
	within 300 phase huge Running || return 1
	uid=$(jsonpath huge '{.metadata.uid}') id=$(jsonpath huge '{.status.containerStatuses[0].containerID}')
	group=/sys/fs/cgroup/kubepods/pod$uid
	file_has "$group/${id#*//}/hugetlb.2MB.max" 8388608 && k exec huge -- grep -q '/pages hugetlbfs .*pagesize=2M' /proc/mounts
}
# The token's volume is on tmpfs, whose ids this kernel cannot map (6.3 can).
user_namespace() {
	pod mapped "id -u; stat -c %u /disk /bin/busybox; awk '{print (\$2 > 0)}' /proc/self/uid_map" 'volumeMounts: [{name: disk, mountPath: /disk}]' 'hostUsers: false
automountServiceAccountToken: false
volumes: [{name: disk, emptyDir: {}}]'
	says mapped "0
0
0
1"
}
unit_tests() {
	local test
	for test in /usr/local/lib/coracle-tests/*; do "$test" >/tmp/unit 2>&1 || { grep -aE "FAILED|Error|error" /tmp/unit | head -20; echo "$test"; return 1; }; done
}

# Longer than any watchdog waits: a daemon that does not feed its own is killed by then.
undisturbed() {
	local since
	for u in apiserver controller-manager scheduler proxy dns; do
		since=$(($(systemctl show -p ActiveEnterTimestampMonotonic --value coracle-$u) / 1000000))
		within 120 sh -c "read -r now rest </proc/uptime; [ \${now%.*} -gt $((since + 45)) ]" && systemctl is-active --quiet coracle-$u || return 1
	done
	! journalctl -b --no-pager -u 'coracle-*' | grep 'Watchdog timeout'
}
lock_held() { systemd-inhibit --list --no-pager | grep -q '^kubelet '; }
delay() { within 60 lock_held && [ "$(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager InhibitDelayMaxUSec)" = "t 240000000" ]; }
# This script holds a lock of its own (coracle-smoke.service): the machine waits until it has seen what it wants to see.
shutdown() {
	GRACE=30 pod last "trap 'echo ended >/said/last; exit 0' TERM; touch /said/up; while :; do sleep 1; done" 'volumeMounts: [{name: said, mountPath: /said}]' 'volumes: [{name: said, hostPath: {path: /var/said, type: DirectoryOrCreate}}]'
	within 300 test -e /var/said/up || return 1
	systemctl poweroff || return 1
	within 200 phase last Failed || return 1
	[ "$(jsonpath last '{.status.reason}')" = Terminated ] && file_has /var/said/last ended || return 1
	[ "$(k get node coracle-vm -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = False ] || return 1
	within 60 sh -c "! systemd-inhibit --list --no-pager | grep -q '^kubelet '"
}
gone() { k delete pod limited hungry confined plain default loose privileged unknown huge mapped --wait=true && within 300 sh -c '! ls -d /sys/fs/cgroup/kubepods/*/pod* /sys/fs/cgroup/kubepods/pod* 2>/dev/null'; }

check "the guest has cgroup version 2 and systemd" version2
check "make up starts the units" up
[ $failed = 0 ] || finish
check "every unit is active" units_active
check "make up again restarts nothing but what changed" up_again
check "a pod runs" run_pod
check "its limits are in its cgroups" limits
check "its log is read" logs
check "a command runs in it" execs
check "it outlives a restart of the kubelet" restart
check "systemd brings a killed kubelet back" killed
check "a container beyond its memory says OOMKilled" oom
check "its limits change in place" resize
check "AppArmor confines as asked, and by default" apparmor
check "huge pages are given and bounded" hugepages
check "root inside is nobody outside" user_namespace
check "a deleted pod leaves no cgroup" gone
check "the tests of cgroups, runtime and logind pass here" unit_tests
check "no daemon is killed by its watchdog" undisturbed
check "the kubelet has logind wait for it" delay
check "pods are ended before the machine is" shutdown
finish
