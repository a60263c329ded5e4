#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages of packages.txt that are missing. With "test", those of the tests too. Asks apt only where something lacks.
set -eu
want=${1:-run}
list=$(dirname "$0")/packages.txt
missing=()
while read -r package mark; do
	case $package in '' | '#'*) continue ;; esac
	[ "${mark:-}" = test ] && [ "$want" != test ] && continue
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
done <"$list"
[ ${#missing[@]} -eq 0 ] && exit 0
[ "$(id -u)" = 0 ] || { echo "need root to install: ${missing[*]}" >&2; exit 1; }
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# etcd's package starts a server of its own on port 2379; ours has its own data, port and certificates.
[ -e /usr/sbin/policy-rc.d ] || { printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d; chmod +x /usr/sbin/policy-rc.d; trap 'rm -f /usr/sbin/policy-rc.d' EXIT; }
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
