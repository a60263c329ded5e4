#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The official clients of Go and JavaScript, unmodified, against one API server: every check of test/clients counts.

usage: test/integration/clients.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import check, run

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
READY = os.path.join(TOP, "build/clients")


def play(site, language, least, *argv):
    """Runs a client and counts its checks, of which there are at least so many: one that ends early has failed."""
    skipped = os.path.join(READY, language + ".skipped")
    if os.path.exists(skipped):
        with open(skipped) as f:
            print("SKIPPED: the %s client: %s" % (language, f.read().strip()))
        return
    server = site.start_server()
    out = os.path.join(site.folder, language + ".out")
    with open(out, "w") as f:
        try:
            rc = subprocess.run([*argv, "https://127.0.0.1:%d" % server.port, "admintoken"], stdout=f, stderr=subprocess.STDOUT, timeout=600).returncode
        except subprocess.TimeoutExpired:
            rc = "none within its time"
    with open(out, errors="replace") as f:
        lines = f.read().splitlines()
    ok, bad = [l for l in lines if l.startswith("ok ")], [l for l in lines if l.startswith("FAILED: ")]
    for line in ok:
        check(line[3:], True)
    for line in bad:
        check("%s: %s" % (language, line[8:]), False)
    if not bad:
        check(language + " plays to its end", rc == 0 and len(ok) >= least, "exit status %s, %d checks; %s" % (rc, len(ok), "\n".join(lines[-20:])))
    check("the server outlives the %s client" % language, server.alive(), server.text()[-2000:])


def test_go(site):
    play(site, "go", 120, os.path.join(READY, "go/client"))


def test_javascript(site):
    play(site, "js", 55, os.path.join(READY, "js/node"), os.path.join(READY, "js/client.mjs"))


installed = subprocess.run([os.path.join(TOP, "test/clients/install.sh")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
check("the clients are built", installed.returncode == 0, installed.stdout.decode("utf-8", "replace")[-4000:])
run([test_go, test_javascript])
