#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# All tests: lint; unit tests and fuzz replays under ASan+UBSan, the threaded ones under TSan; integration and end to end, the daemons under ASan+UBSan. Each suite closes
# with "<suite>: N passed, N failed"; the last line sums them up, and what failed stands once more right before it.
set -u
cd "$(dirname "$0")/.."
export LC_ALL=C.UTF-8
unset MAKEFLAGS MFLAGS MAKELEVEL # each suite has all cores, whoever called us
jobs=$(nproc) passed=0 failed=0
faults=$(mktemp)
trap 'rm -f "$faults"' EXIT
suite() { # name, command...
	local name=$1 log rc line
	shift
	log=$(mktemp)
	echo "== $name"
	"$@" 2>&1 | tee "$log"
	rc=${PIPESTATUS[0]}
	line=$(grep -oE "^[a-z0-9-]+: [0-9]+ passed, [0-9]+ failed" "$log" | tail -n 1)
	if [ -n "$line" ]; then
		passed=$((passed + $(sed -E 's/.*: ([0-9]+) passed.*/\1/' <<<"$line")))
		failed=$((failed + $(sed -E 's/.* ([0-9]+) failed.*/\1/' <<<"$line")))
		[ "$rc" -eq 0 ] || [ "$(sed -E 's/.* ([0-9]+) failed.*/\1/' <<<"$line")" -gt 0 ] || failed=$((failed + 1))
	else
		[ "$rc" -eq 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
	fi
	# Where only the end of a long output is kept, what failed must be in it.
	[ "$rc" -eq 0 ] || { echo "-- $name"; grep -aE -A 12 "^([A-Za-z0-9_]+\.py: )?(FAIL|ERROR)" "$log" | head -n 200; } >>"$faults"
	rm -f "$log"
}

[ "$(id -u)" = 0 ] || { echo "make check needs root: its clusters make namespaces, mounts and rules of their own"; exit 1; }
deploy/install-packages.sh test || exit 1
test/install-clients.sh || exit 1
suite build make -s -j"$jobs" all
suite lint test/lint/lint.sh
suite unit make -s -j"$jobs" SANITIZE=1 unit
suite threads make -s -j"$jobs" SANITIZE=thread threads
suite integration make -s SANITIZE=1 integration
suite e2e make -s SANITIZE=1 e2e
echo
[ ! -s "$faults" ] || { echo "== what failed"; cut -c 1-1000 "$faults"; echo; }
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
