# SPDX-License-Identifier: Apache-2.0
"""The official Python client against the same cluster. It runs in the cluster's network namespace, in the tests' virtual environment."""

import os
import subprocess

from cluster import Failure, TOP

PROGRAM = os.path.join(TOP, "test/e2e/python_client.py")


def test_official_python_client(c):
    python = os.environ.get("TEST_PYTHON", "python3")
    r = subprocess.run(["nsenter", f"--net=/run/netns/{c.netns}", python, PROGRAM, c.kubeconfig], capture_output=True, text=True, timeout=120)
    if r.returncode != 0:
        raise Failure(r.stdout[-3000:] + r.stderr[-3000:])
