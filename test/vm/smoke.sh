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
up() { BIN=/usr/local/bin PATIENCE=900 "$share/cluster.sh" up; }
units_active() { for u in etcd apiserver controller-manager scheduler kubelet proxy dns; do systemctl is-active --quiet coracle-$u || { echo "coracle-$u is not active"; return 1; }; done; }
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
check "a pod runs" run_pod
check "its limits are in its cgroups" limits
check "its log is read" logs
check "a command runs in it" execs
check "it outlives a restart of the kubelet" restart
check "systemd brings a killed kubelet back" killed
check "a container beyond its memory says OOMKilled" oom
check "a deleted pod leaves no cgroup" gone
finish
