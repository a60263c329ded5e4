#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What of STYLE.md a script can check. Prints one line a finding, closes with "lint: N findings".
set -u
cd "$(dirname "$0")/../.."
n=0
finding() { echo "lint: $*"; n=$((n + 1)); }
sources() { git ls-files -- '*.c' '*.h'; }

# Include direction: base sees base, common sees common, a daemon sees itself and common.
while IFS=: read -r file _ line; do
	inc=$(sed -E 's/.*#include "([^"]+)".*/\1/' <<<"$line")
	top=${file%%/*} inctop=${inc%%/*}
	case $file in
	test/* | common/api/apigen/*) continue ;;
	common/base/*) [[ $inc == common/base/* ]] || finding "$file includes $inc: common/base stands on nothing" ;;
	common/*) [[ $inc == common/* || $inc == api/* || $inc != */* ]] || finding "$file includes $inc: common must not know a daemon" ;;
	*) [[ $inctop == common || $inctop == api || $inctop == "$top" || $inc != */* || -e $(dirname "$file")/$inc || $inctop == gen ]] || finding "$file includes $inc: a daemon includes only itself and common" ;;
	esac
done < <(sources | xargs grep -nE '^#include "' /dev/null)

# Functions that cannot be used safely, or that break a house rule.
banned='(^|[^_a-zA-Z0-9.>])(gets|strcpy|strcat|sprintf|vsprintf|strtok|alloca|system|popen|tmpnam|mktemp|setlocale|rand|srand|atoi|atol|sleep|usleep|signal)[[:space:]]*\('
while IFS= read -r hit; do finding "banned function: $hit"; done < <(sources | grep -v '^test/' | xargs grep -nE "$banned" | grep -vE '^[^:]+:[0-9]+:\s*(/?\*|//)' | grep -vE '"[^"]*(sleep|system|signal)[^"]*"' )

# Raw allocation outside common/base (an arena's, jansson's and libraries' own are theirs).
while IFS= read -r hit; do finding "use x*alloc or an arena: $hit"; done < <(sources | grep -vE '^(test/|common/base/|common/api/apigen/)' | xargs grep -nE '(^|[^_a-zA-Z0-9.>])(malloc|calloc|realloc|strdup|strndup|asprintf)[[:space:]]*\(' | grep -vE '^[^:]+:[0-9]+:\s*(/?\*|//)')

# Sizes and licence lines.
while IFS= read -r f; do
	lines=$(wc -l <"$f")
	[ "$lines" -gt 1500 ] && finding "$f has $lines lines: split it before 1,500"
	if [ "$lines" -gt 800 ] && ! head -n 12 "$f" | grep -qi 'past 800'; then finding "$f has $lines lines and its head gives no reason (\"past 800 lines because ...\")"; fi
	head -n 1 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || head -n 2 "$f" | grep -q 'SPDX-License-Identifier' || finding "$f lacks its SPDX line"
done < <(sources)

# A row for every plugin file: each folder with a table.c names every other file of it that ends in an ops row.
while IFS= read -r table; do
	dir=$(dirname "$table")
	for f in "$dir"/*.c; do
		base=$(basename "$f" .c)
		[ "$base" = table ] && continue
		row=$(grep -oE '^const struct [a-z_]+ [a-z_0-9]+ = \{' "$f" | tail -n 1 | awk '{print $4}')
		[ -z "$row" ] || grep -qw "$row" "$table" || finding "$f defines $row, which $table does not list"
	done
done < <(git ls-files -- '*/table.c')

# Every folder of sources says what it is.
while IFS= read -r d; do [ -f "$d/README.md" ] || finding "$d has no README.md"; done < <(sources | grep -v '^test/' | xargs -n1 dirname | sort -u)

# Left-overs, and words that must not be in a repository.
while IFS= read -r hit; do finding "left open: $hit"; done < <(sources | grep -v '^test/lint' | xargs grep -nE '(TODO|FIXME|(^|[^X])XXX([^X]|$))')
[ -z "$(git ls-files -- '*.orig' '*.rej')" ] || finding "patch left-overs are committed"

echo "lint: $n findings"
[ $n -eq 0 ]
