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
	k apply -f - <<-'POD'
	apiVersion: v1
	kind: Pod
	metadata: {name: hungry}
	spec:
	  restartPolicy: Never
	  containers:
	  - {name: main, image: "busybox:latest", imagePullPolicy: IfNotPresent, command: [sh, -c, "tail /dev/zero; sleep 100000"], resources: {limits: {memory: 16Mi}}}
	POD
	within 600 phase hungry Failed && [ "$(jsonpath hungry '{.status.containerStatuses[0].state.terminated.reason}')" = OOMKilled ]
}
resize() {
	local uid id group
	k patch pod limited --subresource=resize -p '{"spec":{"containers":[{"name":"main","resources":{"limits":{"cpu":"700m"}}}]}}' || return 1
	uid=$(jsonpath limited '{.metadata.uid}') id=$(jsonpath limited '{.status.containerStatuses[0].containerID}')
	group=/sys/fs/cgroup/kubepods/burstable/pod$uid
	within 120 sh -c "[ \"\$(cat $group/${id#*//}/cpu.max)\" = '70000 100000' ]" && file_has "$group/cpu.max" "70000 100000"
}
# A pod that says "done" where its script ends well, by what it printed.
says() { # name, text
	within 300 sh -c "coracle --kubeconfig $KUBECONFIG get pod $1 -o 'jsonpath={.status.phase}' | grep -qE 'Succeeded|Failed'" || return 1
	[ "$(k logs "$1")" = "$2" ] || { echo "$1 says $(k logs "$1"), not $2"; k get pod "$1" -o yaml; return 1; }
}
apparmor() {
	local default='coracle-default (enforce)'
	printf 'profile smoke-denies flags=(attach_disconnected) {\n file,\n network,\n capability,\n unix,\n signal,\n deny /tmp/forbidden w,\n}\n' | apparmor_parser --replace --skip-cache || return 1
	k apply -f - <<-'POD'
	apiVersion: v1
	kind: Pod
	metadata: {name: confined}
	spec:
	  restartPolicy: Never
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "cat /proc/self/attr/current; echo x 2>&- >/tmp/forbidden || echo refused; echo x >/tmp/other && echo written"]
	    securityContext: {appArmorProfile: {type: Localhost, localhostProfile: smoke-denies}}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: plain}
	spec:
	  restartPolicy: Never
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "cat /proc/self/attr/current; mount -t tmpfs x /mnt 2>&- || echo refused"]
	    securityContext: {capabilities: {add: [SYS_ADMIN]}, seccompProfile: {type: Unconfined}}
	---
	apiVersion: v1
	kind: Pod
	metadata: {name: privileged}
	spec:
	  restartPolicy: Never
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "cat /proc/self/attr/current; mkdir -p /mnt; mount -t tmpfs x /mnt && echo mounted"]
	    securityContext: {privileged: true}
	POD
	says confined "smoke-denies (enforce)
refused
written" && says plain "$default
refused" && says privileged "unconfined
mounted"
}
hugepages() {
	local uid id group
	sysctl -qw vm.nr_hugepages=8 || return 1
	within 120 sh -c "[ \"\$(coracle --kubeconfig $KUBECONFIG get node coracle-vm -o 'jsonpath={.status.allocatable.hugepages-2Mi}')\" = 16Mi ]" || { k get node coracle-vm -o yaml; return 1; }
	k apply -f - <<-'POD'
	apiVersion: v1
	kind: Pod
	metadata: {name: huge}
	spec:
	  terminationGracePeriodSeconds: 0
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sleep, "100000"]
	    resources: {limits: {hugepages-2Mi: 8Mi, memory: 32Mi, cpu: 100m}}
	    volumeMounts: [{name: pages, mountPath: /pages}]
	  volumes: [{name: pages, emptyDir: {medium: HugePages}}]
	POD
	within 300 phase huge Running || return 1
	uid=$(jsonpath huge '{.metadata.uid}') id=$(jsonpath huge '{.status.containerStatuses[0].containerID}')
	group=/sys/fs/cgroup/kubepods/pod$uid
	file_has "$group/${id#*//}/hugetlb.2MB.max" 8388608 && k exec huge -- grep -q '/pages hugetlbfs .*pagesize=2M' /proc/mounts
}
user_namespace() {
	k apply -f - <<-'POD'
	apiVersion: v1
	kind: Pod
	metadata: {name: mapped}
	spec:
	  hostUsers: false
	  restartPolicy: Never
	  automountServiceAccountToken: false # on tmpfs, whose ids this kernel cannot map (6.3 can)
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c, "id -u; stat -c %u /disk /bin/busybox; awk '{print ($2 > 0)}' /proc/self/uid_map"]
	    volumeMounts: [{name: disk, mountPath: /disk}]
	  volumes: [{name: disk, emptyDir: {}}]
	POD
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
gone() { k delete pod limited hungry confined plain privileged huge mapped --wait=true && within 300 sh -c '! ls -d /sys/fs/cgroup/kubepods/*/pod* /sys/fs/cgroup/kubepods/pod* 2>/dev/null'; }

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
