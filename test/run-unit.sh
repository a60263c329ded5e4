#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs unit test programs and, after "--", fuzz replays over their corpora. Closes with "unit: N passed, N failed".
set -u
build=$1; shift
passed=0 failed=0 replay=0
export CMOCKA_MESSAGE_OUTPUT=stdout
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
for t in "$@"; do
	if [ "$t" = -- ]; then replay=1; continue; fi
	log=$t.log
	if [ $replay = 1 ]; then
		name=$(basename "$t" _fuzz)
		if timeout 120 "$t" "test/fuzz/corpus/$name" >"$log" 2>&1; then passed=$((passed + 1)); else
			failed=$((failed + 1)); echo "FAIL  fuzz replay $name"; tail -n 40 "$log"; fi
		continue
	fi
	timeout 300 "$t" >"$log" 2>&1; rc=$?
	ok=$(grep -c '^\[       OK \]' "$log"); bad=$(grep -c '^\[  FAILED  \] [^0-9]' "$log")
	if [ $rc -ne 0 ]; then
		[ "$bad" -eq 0 ] && bad=1
		echo "FAIL  ${t#"$build"/} (exit $rc)"; tail -n 60 "$log"
	elif [ "$ok" -eq 0 ]; then
		bad=1; echo "FAIL  ${t#"$build"/}: ran no test"
	fi
	passed=$((passed + ok)); failed=$((failed + bad))
done
echo "unit: $passed passed, $failed failed"
[ $failed -eq 0 ]
