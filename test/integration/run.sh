#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs every integration script with the programs of a build folder, several at a time: each has ports, folders and a network namespace of its own, and
# mostly waits. Each prints "N passed, N failed" last.
set -u
cd "$(dirname "$0")"
build=$(cd ../..; realpath "$1")
passed=0 failed=0 at_once=3
out=$(mktemp -d)
# What a sanitizer finds in a daemon goes to a file, whoever started it and whatever became of it.
export ASAN_OPTIONS="log_path=$out/sanitizer" UBSAN_OPTIONS="log_path=$out/sanitizer:print_stacktrace=1"
trap 'rm -rf "$out"' EXIT
for script in *.py; do
	while [ "$(jobs -rp | wc -l)" -ge $at_once ]; do wait -n || true; done
	(python3 -W ignore::DeprecationWarning "$script" "$build" >"$out/$script" 2>&1; echo $? >"$out/$script.rc") &
done
wait
for script in *.py; do
	sed "s/^/$script: /" "$out/$script"
	line=$(tail -n 1 "$out/$script")
	if [[ $line =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
		passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
	elif [ "$(cat "$out/$script.rc")" -ne 0 ]; then
		failed=$((failed + 1))
	fi
done
for report in "$out"/sanitizer.*; do
	[ -f "$report" ] || continue
	echo "FAILED: a sanitizer's report"
	head -n 60 "$report"
	failed=$((failed + 1))
done
echo "integration: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
