#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# systemd's side of the cluster.
#   install.sh DAEMONS.CONF           write units and their arguments from the lines of the file, start them
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
	while read -r line; do
		case $line in '' | '#'*) continue ;; esac
		name=${line%%: *} command=${line#*: }
		program=${command%% *}
		[ "$name" = etcd ] || prefix=$(dirname "$(dirname "$program")")
		printf 'ARGS=%s\n' "${command#* }" >"$etc/$name.env"
	done <"$conf"
	write_units "$units" "$prefix"
	systemctl daemon-reload
	for name in $names; do systemctl enable --quiet "coracle-$name.service"; done
	# --no-block: each waits for the ones before it by itself
	for name in $names; do systemctl restart --no-block "coracle-$name.service"; done
	;;
esac
