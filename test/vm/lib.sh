#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the checks in the guest share. Each line is "ok <what>" or "FAILED: <what>"; the last one counts them.
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
# Emulated, everything takes its time.
up() { BIN=/usr/local/bin PATIENCE=900 SHUTDOWN_GRACE=240s SHUTDOWN_GRACE_CRITICAL=60s "$share/cluster.sh" up; }
k() { coracle --kubeconfig $KUBECONFIG "$@"; }
jsonpath() { k get pod "$1" -o "jsonpath=$2"; }
phase() { [ "$(jsonpath "$1" '{.status.phase}')" = "$2" ]; }
file_has() { [ "$(cat "$1")" = "$2" ] || { echo "$1 has $(cat "$1"), not $2"; return 1; }; }

# A pod of one container that runs a script (one line); then, where given, more lines of the container and of the pod's spec.
pod() { # name, script, container, spec
	k apply -f - <<-POD
	apiVersion: v1
	kind: Pod
	metadata: {name: $1}
	spec:
	  restartPolicy: Never
	  terminationGracePeriodSeconds: ${GRACE:-2}
	$(printf '%s' "${4:-}" | sed 's/^/  /')
	  containers:
	  - name: main
	    image: busybox:latest
	    imagePullPolicy: IfNotPresent
	    command: [sh, -c]
	    args:
	    - |
	      $2
	$(printf '%s' "${3:-}" | sed 's/^/    /')
	POD
}
# Waits until a pod that was made to end has, and compares what it printed.
says() { # name, text
	within 300 sh -c "coracle --kubeconfig $KUBECONFIG get pod $1 -o 'jsonpath={.status.phase}' | grep -qE 'Succeeded|Failed'" || return 1
	[ "$(k logs "$1")" = "$2" ] || { echo "$1 says $(k logs "$1"), not $2"; k get pod "$1" -o yaml; return 1; }
}
waits() { # name, reason, part of the message
	case "$(jsonpath "$1" '{.status.containerStatuses[0].state.waiting.reason}: {.status.containerStatuses[0].state.waiting.message}')" in
	"$2: "*"$3"*) ;;
	*) k get pod "$1" -o yaml; return 1;;
	esac
}
finish() {
	[ $failed = 0 ] || { uptime; for u in etcd apiserver scheduler kubelet; do journalctl -b --no-pager -n 25 -u coracle-$u; done; systemctl --no-pager --failed; }
	echo "vm: $passed passed, $failed failed"
	exit 0
}
