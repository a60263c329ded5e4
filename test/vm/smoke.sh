#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs inside the guest, as root, once it is booted: what this machine has and the test machine may not (systemd, cgroup v2) for real.
# Each line is "ok <what>" or "FAILED: <what>"; the last one counts them.
set -u
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin KUBECONFIG=/etc/coracle/admin.kubeconfig
passed=0 failed=0
share=/usr/local/share/coracle

check() { # what, command...
	local what=$1 began=$SECONDS
	shift
	if "$@" >/tmp/out 2>&1; then
		passed=$((passed + 1))
		echo "ok    $what ($((SECONDS - began)) s)"
	else
		failed=$((failed + 1))
		echo "FAILED: $what: $(tail -c 600 /tmp/out)"
	fi
}
within() { # seconds, command...
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ $SECONDS -lt $end ] || return 1
		read -r -t 1 <> <(:) || true
	done
}
k() { coracle --kubeconfig $KUBECONFIG "$@"; }
jsonpath() { k get pod "$1" -o "jsonpath=$2"; }
phase() { [ "$(jsonpath "$1" '{.status.phase}')" = "$2" ]; }
file_has() { [ "$(cat "$1")" = "$2" ] || { echo "$1 has $(cat "$1"), not $2"; return 1; }; }

version2() { [ -f /sys/fs/cgroup/cgroup.controllers ]; }
# Emulated, everything takes its time.
up() { BIN=/usr/local/bin PATIENCE=900 SHUTDOWN_GRACE=240s SHUTDOWN_GRACE_CRITICAL=60s "$share/cluster.sh" up; }
units="etcd apiserver controller-manager scheduler kubelet proxy dns"
main_pids() { for u in $units; do systemctl show -p MainPID --value coracle-$u; done; }
up_again() {
	local before=$(main_pids)
	up || return 1
	[ "$(main_pids)" = "$before" ] || { echo "restarted: $(main_pids), was $before"; return 1; }
	# One that runs with other arguments is.
	kubelet=$(systemctl show -p MainPID --value coracle-kubelet)
	sed -i 's/^\(kubelet: .*\)/\1 --v 1/' /etc/coracle/daemons.conf
	"$share/systemd/install.sh" /etc/coracle/daemons.conf || return 1
	within 300 sh -c "p=\$(systemctl show -p MainPID --value coracle-kubelet); [ \$p != 0 ] && [ \$p != $kubelet ] && systemctl is-active --quiet coracle-kubelet" || return 1
	[ "$(main_pids | wc -l)" = 7 ] && [ "$(main_pids | grep -cxF "$before")" = 6 ] || { echo "$(main_pids), was $before"; return 1; }
}
units_active() { for u in $units; do systemctl is-active --quiet coracle-$u || { echo "coracle-$u is not active"; return 1; }; done; }
run_pod() {
	k apply -f - <<-'POD'
	apiVersion: v1
	kind: Pod
	metadata: {name: limited}
	spec:
	  terminationGracePeriodSeconds: 2
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "echo it runs; trap 'exit 0' TERM; sleep 100000 & wait"]
	    resources: {requests: {cpu: 250m, memory: 32Mi}, limits: {cpu: 500m, memory: 64Mi}}
	POD
	within 600 phase limited Running
}
limits() {
	local uid id group
	uid=$(jsonpath limited '{.metadata.uid}') id=$(jsonpath limited '{.status.containerStatuses[0].containerID}')
	group=/sys/fs/cgroup/kubepods/burstable/pod$uid
	file_has "$group/${id#*//}/memory.max" 67108864 && file_has "$group/${id#*//}/cpu.max" "50000 100000" && file_has "$group/memory.max" 67108864
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
oom() {
	k apply -f - <<-'POD'
	apiVersion: v1
	kind: Pod
	metadata: {name: hungry}
	spec:
	  restartPolicy: Never
	  containers:
	  - {name: main, image: "busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "tail /dev/zero"], resources: {limits: {memory: 16Mi}}}
	POD
	within 600 phase hungry Failed && [ "$(jsonpath hungry '{.status.containerStatuses[0].state.terminated.reason}')" = OOMKilled ]
}
# Longer than any watchdog waits: a daemon that does not feed its own is killed by then.
undisturbed() {
	local since
	for u in apiserver controller-manager scheduler proxy dns; do
		since=$(($(systemctl show -p ActiveEnterTimestampMonotonic --value coracle-$u) / 1000000))
		within 120 sh -c "read -r now rest </proc/uptime; [ \${now%.*} -gt $((since + 45)) ]" && systemctl is-active --quiet coracle-$u || return 1
		[ "$(systemctl show -p NRestarts --value coracle-$u)" = 0 ] || { echo "coracle-$u was restarted"; return 1; }
	done
}
lock_held() { systemd-inhibit --list --no-pager | grep -q '^kubelet '; }
delay() { within 60 lock_held && [ "$(busctl get-property org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager InhibitDelayMaxUSec)" = "t 240000000" ]; }
# This script holds a lock of its own (coracle-smoke.service): the machine waits until it has seen what it wants to see.
shutdown() {
	k apply -f - <<-'POD'
	apiVersion: v1
	kind: Pod
	metadata: {name: last}
	spec:
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "trap 'echo ended >/said/last; exit 0' TERM; touch /said/up; while :; do sleep 1; done"]
	    volumeMounts: [{name: said, mountPath: /said}]
	  volumes: [{name: said, hostPath: {path: /var/said, type: DirectoryOrCreate}}]
	POD
	within 300 test -e /var/said/up || return 1
	systemctl poweroff || return 1
	within 200 phase last Failed || return 1
	[ "$(jsonpath last '{.status.reason}')" = Terminated ] && file_has /var/said/last ended || return 1
	[ "$(k get node coracle-vm -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = False ] || return 1
	within 60 sh -c "! systemd-inhibit --list --no-pager | grep -q '^kubelet '"
}
gone() { k delete pod limited hungry --wait=true && within 300 sh -c '! ls -d /sys/fs/cgroup/kubepods/*/pod* /sys/fs/cgroup/kubepods/pod* 2>/dev/null'; }

finish() {
	[ $failed = 0 ] || { uptime; for u in etcd apiserver scheduler kubelet; do journalctl -b --no-pager -n 25 -u coracle-$u; done; systemctl --no-pager --failed; }
	echo "vm: $passed passed, $failed failed"
	exit 0
}

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
check "a deleted pod leaves no cgroup" gone
check "no daemon is killed by its watchdog" undisturbed
check "the kubelet has logind wait for it" delay
check "pods are ended before the machine is" shutdown
finish
