#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# systemd's side of the cluster.
#   install.sh DAEMONS.CONF           write units and their arguments from the lines of the file, start them; restarts only those that changed
#   install.sh --units DESTDIR PREFIX only lay the units down (make install)
#   install.sh --remove               stop and remove them
set -eu
here=$(cd "$(dirname "$0")" && pwd)
units=/etc/systemd/system
names="etcd apiserver controller-manager scheduler kubelet proxy dns"

write_units() { # destination prefix
	mkdir -p "$1"
	for name in $names; do sed "s#@PREFIX@#$2#" "$here/coracle-$name.service.in" >"$1/coracle-$name.service"; done
}
# What a daemon runs: its unit, its arguments, its program.
sum() { cat "$units/coracle-$1.service" "$etc/$1.env" "$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$units/coracle-$1.service" 2>/dev/null)" 2>/dev/null | sha256sum; }

case ${1:-} in
--units)
	write_units "$2/lib/systemd/system" "$3"
	[ -n "$2" ] || [ ! -d /run/systemd/system ] || systemctl daemon-reload
	;;
--remove)
	for name in dns proxy kubelet scheduler controller-manager apiserver etcd; do
		systemctl disable --now "coracle-$name.service" 2>/dev/null || true
		rm -f "$units/coracle-$name.service"
	done
	systemctl daemon-reload
	;;
*)
	conf=$1 etc=$(dirname "$1") prefix=
	here_names=
	while read -r line; do
		case $line in '' | '#'*) continue ;; esac
		name=${line%%: *} command=${line#*: }
		program=${command%% *}
		[ "$name" = etcd ] || prefix=$(dirname "$(dirname "$program")")
		printf 'ARGS=%s\n' "${command#* }" >"$etc/$name.env"
		here_names="$here_names $name"
	done <"$conf"
	names=$here_names
	write_units "$units" "$prefix"
	systemctl daemon-reload
	# --no-block: each waits for the ones before it by itself. What runs as it should is let be.
	for name in $names; do
		systemctl enable --quiet "coracle-$name.service"
		if systemctl is-active --quiet "coracle-$name.service" && [ "$(sum "$name")" = "$(cat "$etc/$name.runs" 2>/dev/null)" ]; then continue; fi
		sum "$name" >"$etc/$name.runs"
		systemctl restart --no-block "coracle-$name.service"
	done
	;;
esac
