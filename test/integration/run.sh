#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every integration script with the programs of a build folder; each prints "N passed, N failed" last.
set -u
cd "$(dirname "$0")"
build=$(cd ../..; realpath "$1")
passed=0 failed=0
for script in *.py; do
	out=$(python3 "$script" "$build" 2>&1)
	rc=$?
	echo "$out" | sed "s/^/$script: /"
	line=$(tail -n 1 <<<"$out")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
	elif [ "$rc" -ne 0 ]; then
		failed=$((failed + 1))
	fi
done
echo "integration: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
