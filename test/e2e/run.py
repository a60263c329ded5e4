#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""End-to-end tests: run.py BUILD [NAME...]. Each test_* function of the *_test.py files gets the cluster, then the file's finish(), where it has one. Closes with
"e2e: N passed, N failed". REVERSE=1 turns the order round: a test that needs another's work shows."""

import importlib.util
import os
import shutil
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from cluster import Cluster, Failure  # noqa: E402


def load_tests(names):
    here = os.path.dirname(os.path.abspath(__file__))
    for file in sorted(f for f in os.listdir(here) if f.endswith("_test.py")):
        spec = importlib.util.spec_from_file_location(file[:-3], os.path.join(here, file))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        tests = [(f"{file[:-8]}: {name[5:].replace('_', ' ')}", function) for name, function in vars(module).items()  # in the order they stand in the file
                 if name.startswith("test_") and (not names or any(n in f"{file}:{name}" for n in names))]
        yield from reversed(tests) if os.environ.get("REVERSE") else tests
        if tests and hasattr(module, "finish"):
            yield f"{file[:-8]}: what its tests shared goes", module.finish


def main():
    build, names = sys.argv[1], sys.argv[2:]
    passed = failed = 0
    # What a sanitizer finds in a daemon goes to a file, whoever started it and whatever became of it.
    reports = tempfile.mkdtemp(prefix="coracle-reports-")
    os.environ["ASAN_OPTIONS"], os.environ["UBSAN_OPTIONS"] = f"log_path={reports}/sanitizer", f"log_path={reports}/sanitizer:print_stacktrace=1"
    os.environ["TSAN_OPTIONS"] = f"log_path={reports}/sanitizer exitcode=0 report_thread_leaks=0"  # a manager that lost its lease leaves at once
    cluster = Cluster(build)
    try:
        started = time.monotonic()
        cluster.up()
        print(f"ok    the cluster comes up ({time.monotonic() - started:.1f} s)", flush=True)
        passed += 1
        for name, function in load_tests(names):
            started = time.monotonic()
            try:
                function(cluster)
                passed += 1
                print(f"ok    {name} ({time.monotonic() - started:.1f} s)", flush=True)
            except Exception as e:
                failed += 1
                print(f"FAIL  {name} ({time.monotonic() - started:.1f} s)", flush=True)
                print("      " + (str(e) if isinstance(e, Failure) else traceback.format_exc()).replace("\n", "\n      "), flush=True)
    except Exception as e:
        failed += 1
        print(f"FAIL  the cluster: {e if isinstance(e, Failure) else traceback.format_exc()}", flush=True)
    finally:
        if failed:
            print(cluster.tails(), flush=True)
        left = cluster.down(keep=bool(os.environ.get("KEEP")))
        if any(left.values()):
            failed += 1
            print(f"FAIL  the cluster leaves nothing behind: {left}")
        else:
            passed += 1
            print("ok    the cluster leaves nothing behind")
    for name in os.listdir(reports):
        failed += 1
        with open(f"{reports}/{name}", errors="replace") as f:
            print(f"FAIL  a sanitizer's report:\n{f.read(6000)}")
    shutil.rmtree(reports)
    print(f"e2e: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
