#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs inside the guest when it is booted with SELinux, on the cluster that smoke.sh left where it ran: labels of containers and volumes, and that they confine.
set -u
here=$(dirname "$(realpath "$0")")
. "$here/lib.sh"

selinuxfs=/sys/fs/selinux
load() {
	mkdir -p /usr/share/containers/selinux
	printf '%s\n' 'process="system_u:system_r:container_t:s0"' 'file="system_u:object_r:container_file_t:s0"' 'ro_file="system_u:object_r:container_ro_file_t:s0"' >/usr/share/containers/selinux/contexts
	mountpoint -q $selinuxfs || mount -t selinuxfs none $selinuxfs || return 1
	{
		seq -f '(category c%g)' 0 1023
		echo "(categoryorder ($(seq -f 'c%g' -s' ' 0 1023)))"
		echo '(sensitivitycategory s0 (range c0 c1023))'
	} >/run/categories.cil
	secilc -c "$(cat $selinuxfs/policyvers)" -o /run/policy -f /dev/null "$here/selinux.cil" /run/categories.cil && cat /run/policy >$selinuxfs/load || return 1
	[ "$(tr -d '\0' </proc/self/attr/current)" = system_u:system_r:kernel_t:s0-s0:c0.c1023 ]
}
node_ready() { [ "$(k get node coracle-vm -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status}')" = True ]; }
cluster() {
	[ -d /etc/coracle ] || up || return 1
	within 900 k get --raw /readyz || return 1
	# One that started before there was a policy knows none.
	systemctl restart coracle-kubelet && within 300 node_ready
	k delete pod --all --wait=true --force --grace-period=0
}
folder() { ls -d /var/lib/coracle/kubelet/pods/"$(jsonpath "$1" '{.metadata.uid}')"; }
labelled() { # path, label
	local have
	have=$(stat -c %C "$1") && [ "$have" = "$2" ] || { echo "$1 is labelled ${have:-not}, should be $2"; return 1; }
}
volumes='volumeMounts: [{name: disk, mountPath: /disk}, {name: memory, mountPath: /memory}, {name: files, mountPath: /files}, {name: part, mountPath: /part, subPath: sub}]'
of_pod='volumes: [{name: disk, emptyDir: {}}, {name: part, emptyDir: {}}, {name: memory, emptyDir: {medium: Memory}}, {name: files, configMap: {name: kube-root-ca.crt}}]'
asked() {
	local dir id root
	pod asked "cat /proc/self/attr/current; echo; sleep 100000" "securityContext: {seLinuxOptions: {type: other_t, level: \"s0:c7,c9\"}}
$volumes" "securityContext: {seLinuxOptions: {level: \"s0:c1,c2\"}}
$of_pod"
	within 200 phase asked Running || { k get pod asked -o yaml; k get events; return 1; }
	within 60 sh -c "[ \"\$(coracle --kubeconfig $KUBECONFIG logs asked | tr -d '\\0')\" = system_u:system_r:other_t:s0:c7,c9 ]" || return 1
	dir=$(folder asked) id=$(jsonpath asked '{.status.containerStatuses[0].containerID}')
	for file in volumes/kubernetes.io~empty-dir/{disk,memory} volumes/kubernetes.io~configmap/files/ca.crt volumes/kubernetes.io~configmap/files/..data/ca.crt etc-hosts; do
		labelled "$dir/$file" system_u:object_r:container_file_t:s0:c7,c9 || return 1
	done
	root=/proc/$(head -n 1 /sys/fs/cgroup/kubepods/*/pod*/"${id#*//}"/cgroup.procs)/root
	for file in / /bin/busybox /part /etc/hosts /etc/resolv.conf /etc/hostname /dev/shm /dev/termination-log /disk; do
		labelled "$root$file" system_u:object_r:container_file_t:s0:c7,c9 || return 1
	done
	[ "$(k exec asked -- cat /proc/self/attr/current | tr -d '\0')" = system_u:system_r:other_t:s0:c7,c9 ]
}
# A level of its own, which all its containers have.
allocated() {
	local first main other
	pod one "cat /proc/self/attr/current; sleep 100000" '' 'initContainers: [{name: first, image: "busybox:latest", imagePullPolicy: IfNotPresent, command: [cat, /proc/self/attr/current]}]'
	pod two "cat /proc/self/attr/current; sleep 100000"
	within 200 phase one Running && within 200 phase two Running || return 1
	first=$(k logs one -c first | tr -d '\0') main=$(k logs one | tr -d '\0') other=$(k logs two | tr -d '\0')
	echo "first $first, main $main, other $other"
	[ "$first" = "$main" ] && [ "$other" != "$main" ] && [[ $main =~ ^system_u:system_r:container_t:s0:c[0-9]+,c[0-9]+$ ]]
}
loose() {
	pod privileged "cat /proc/self/attr/current" 'securityContext: {privileged: true}'
	pod processes "cat /proc/self/attr/current" '' 'hostPID: true'
	pod told "cat /proc/self/attr/current" '' 'hostIPC: true
securityContext: {seLinuxOptions: {level: "s0:c3"}}'
	for name in privileged processes; do
		within 300 phase $name Succeeded && [ "$(k logs $name | tr -d '\0')" = system_u:system_r:spc_t:s0 ] || { k logs $name; return 1; }
	done
	within 300 phase told Succeeded && [ "$(k logs told | tr -d '\0')" = system_u:system_r:container_t:s0:c3 ]
}
# One that only watches over the processes of its pod is confined as they are.
shared() {
	local pause main
	pod shared "cat /proc/self/attr/current; sleep 100000" '' 'shareProcessNamespace: true'
	within 200 phase shared Running || { k get pod shared -o yaml; return 1; }
	main=$(k logs shared | tr -d '\0') pause=$(tr -d '\0' </proc/"$(pgrep -xn pause)"/attr/current)
	echo "pause $pause, main $main"
	[ -n "$main" ] && [ "$pause" = "$main" ]
}
told() { k get events -o 'jsonpath={range .items[*]}{.reason} {.involvedObject.name}: {.message}{"\n"}{end}' | grep -q "$1"; }
refused() {
	pod odd 'echo it runs' 'securityContext: {seLinuxOptions: {type: nobody_t}}'
	pod oddpod 'echo it runs' '' 'securityContext: {seLinuxOptions: {level: "s9"}}'
	within 120 waits odd CreateContainerError 'invalid SELinux label "system_u:system_r:nobody_t' &&
		within 120 told 'FailedCreatePodSandBox oddpod: .*invalid SELinux label "system_u:system_r:container_t:s9"' || { k get events; return 1; }
}
image() {
	pod image "cat /image/etc/group >/dev/null && echo read; sleep 100000" 'volumeMounts: [{name: image, mountPath: /image}]' 'volumes: [{name: image, image: {reference: "busybox:latest", pullPolicy: IfNotPresent}}]'
	within 300 phase image Running && within 60 sh -c "[ \"\$(coracle --kubeconfig $KUBECONFIG logs image)\" = read ]"
}
# What is the pod's own it may read and write; not what is another's, nor what is the host's.
confines() {
	local dir look="for f in /host/secret /others/secret /disk/mine; do cat \$f 2>&- || echo refused; done"
	echo 1 >$selinuxfs/enforce || return 1
	mkdir -p /var/secret && echo secret >/var/secret/secret || return 1
	k exec one -- true && k exec asked -- sh -c 'echo theirs >/disk/secret' || return 1
	dir=$(folder asked)
	local mounts='volumeMounts: [{name: host, mountPath: /host}, {name: others, mountPath: /others}, {name: disk, mountPath: /disk}]'
	local spec="volumes: [{name: disk, emptyDir: {}}, {name: host, hostPath: {path: /var/secret}}, {name: others, hostPath: {path: $dir/volumes/kubernetes.io~empty-dir/disk}}]"
	pod confined "echo mine >/disk/mine; $look" "securityContext: {allowPrivilegeEscalation: false}
$mounts" "$spec"
	pod free "echo mine >/disk/mine; $look" "securityContext: {privileged: true}
$mounts" "$spec"
	says confined "refused
refused
mine" && says free "secret
theirs
mine"
}

check "the kernel takes a policy" load
check "the cluster comes up with the machine" cluster
[ $failed = 0 ] || finish
check "a container and its volumes are labelled as asked" asked
check "pods get levels of their own" allocated
check "privileged containers are not confined" loose
check "the first process of a shared PID namespace is confined" shared
check "labels that the policy does not know are refused" refused
check "image volumes are labelled" image
check "labels confine" confines
systemctl stop coracle-kubelet # else the machine waits for it to end the pods
finish
