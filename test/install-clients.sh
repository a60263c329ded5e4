#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kubectl and the official clients, where they are missing: Python's in a virtual environment under build/, those of test/clients as their own script says.
set -eu
cd "$(dirname "$0")/.."
command -v kubectl >/dev/null || { export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq --no-install-recommends kubernetes-client >/dev/null; }
venv=build/python
[ -x $venv/bin/python ] && $venv/bin/python -c 'import kubernetes, yaml' 2>/dev/null || {
	rm -rf $venv
	python3 -m venv $venv
	$venv/bin/pip install -q --disable-pip-version-check kubernetes
}
test/clients/install.sh
