#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Kills the kubelet with SIGKILL at random points while pods come and go: nothing is lost, what runs is adopted, what was half done is
finished, and nothing of a pod that is gone stays on the machine.

usage: kubelet_restart.py BUILD [TEST...]     KILLS=500 kills more often than the default; SEED=n plays a run again
"""
import os
import random
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import IMAGE, NODE, Failure, Rig, main, wait_until  # noqa: E402

KILLS = int(os.environ.get("KILLS", "40"))
SEED = int(os.environ.get("SEED", str(random.randrange(1 << 30))))
ALIVE = 7          # pods that come and go, at most at once
LONGEST = 0.45     # seconds that a kubelet lives at most


def ids(pod):
    return [(s["containerID"], s["restartCount"]) for s in pod["status"]["containerStatuses"]]


class Churn(threading.Thread):
    """Creates and deletes pods of several kinds until told to stop. wanted: name -> kind of those that are to be there."""

    def __init__(self, rig, rng):
        super().__init__(daemon=True)
        self.rig, self.rng, self.done, self.wanted, self.deleted, self.error, self.count = rig, rng, threading.Event(), {}, [], None, 0

    def make(self):
        name, kind = f"churn-{self.count}", self.rng.choice(["plain", "shared", "once", "volumes", "init", "pair", "hook"])
        self.count += 1
        rig, mount = self.rig, {"volumeMounts": [{"name": "v", "mountPath": "/v"}, {"name": "m", "mountPath": "/m"}]}
        if kind == "plain":
            rig.create(name)
        elif kind == "shared":
            rig.create(name, shareProcessNamespace=True)
        elif kind == "once":
            # Appends a line for each run: a restart of the kubelet must never run it twice.
            rig.create(name, command="", restart="Never", container={"command": ["sh", "-c", f"echo run >>/runs/{name}"], "volumeMounts": [{"name": "runs", "mountPath": "/runs"}]},
                       volumes=[{"name": "runs", "hostPath": {"path": f"{rig.dir}/runs"}}])
        elif kind == "volumes":
            rig.create(name, container=mount, volumes=[{"name": "v", "emptyDir": {}}, {"name": "m", "emptyDir": {"medium": "Memory"}}])
        elif kind == "init":
            rig.create(name, initContainers=[{"name": "first", "image": IMAGE, "command": ["true"]}])
        elif kind == "pair":
            other = {"name": "other", "image": IMAGE, "command": ["sleep", "1000"]}
            rig.create(name, containers=[{"name": "main", "image": IMAGE, "command": ["sleep", "1000"]}, other])
        else:
            rig.create(name, grace=1, container={"lifecycle": {"preStop": {"exec": {"command": ["sleep", "0.2"]}}}})
        self.wanted[name] = kind

    def run(self):
        try:
            while not self.done.is_set():
                if len(self.wanted) < ALIVE and (len(self.wanted) < 2 or self.rng.random() < 0.6):
                    self.make()
                else:
                    name = self.rng.choice(sorted(self.wanted))
                    self.rig.delete(name)
                    del self.wanted[name]
                    self.deleted.append(name)
                self.done.wait(self.rng.random() * 0.25)
        except Exception as e:
            self.error = e


def test_kills_under_churn_lose_and_leak_nothing(rig):
    rng = random.Random(SEED)
    print(f"      {KILLS} kills, SEED={SEED}", flush=True)
    os.makedirs(f"{rig.dir}/runs", exist_ok=True)
    for i in range(3):
        rig.create(f"steady-{i}")
    steady = {f"steady-{i}": ids(rig.wait_phase(f"steady-{i}", "Running")) for i in range(3)}
    churn = Churn(rig, rng)
    churn.start()
    try:
        for _ in range(KILLS):
            time.sleep(rng.random() * LONGEST)
            rig.kill_kubelet()
            rig.start_kubelet()
    finally:
        churn.done.set()
        churn.join()
    if churn.error:
        raise churn.error
    print(f"      {churn.count} pods came, {len(churn.deleted)} went", flush=True)
    for name, kind in churn.wanted.items():
        pod = rig.wait_phase(name, "Succeeded" if kind == "once" else "Running", 60)
        if kind == "once":
            runs = open(f"{rig.dir}/runs/{name}").read().count("run")
            if runs != 1:
                raise Failure(f"{name} ran {runs} times")
        elif any(s["restartCount"] for s in pod["status"]["containerStatuses"]):
            raise Failure(f"{name} was restarted: {pod['status']}")
    rig.wait_gone(*churn.deleted, seconds=60)
    for name in os.listdir(f"{rig.dir}/runs"):
        if open(f"{rig.dir}/runs/{name}").read().count("run") != 1:
            raise Failure(f"{name} ran more than once")
    for name, before in steady.items():
        if ids(rig.pod(name)) != before:
            raise Failure(f"{name} was disturbed: {before} became {ids(rig.pod(name))}")
    for name in list(churn.wanted) + list(steady):
        rig.delete(name)
    rig.wait_gone(*churn.wanted, *steady, seconds=60)
    rig.expect_clean(60)


def test_pods_deleted_while_the_kubelet_is_away_are_cleaned(rig):
    for i in range(3):
        rig.create(f"orphan-{i}", shareProcessNamespace=i == 1)
    for i in range(3):
        rig.wait_phase(f"orphan-{i}", "Running")
    rig.kill_kubelet()
    for i in range(3):
        rig.delete(f"orphan-{i}", grace=0)
    rig.wait_gone(*(f"orphan-{i}" for i in range(3)))
    rig.up()
    rig.expect_clean()


def test_a_pod_that_ended_while_the_kubelet_was_away_is_told(rig):
    os.makedirs(f"{rig.dir}/gate", exist_ok=True)
    rig.create("ends", restart="Never", container={"command": ["sh", "-c", "while [ ! -e /gate/open ]; do sleep 0.05; done; exit 7"], "volumeMounts": [{"name": "g", "mountPath": "/gate"}]},
               volumes=[{"name": "g", "hostPath": {"path": f"{rig.dir}/gate"}}])
    rig.wait_phase("ends", "Running")
    rig.kill_kubelet()
    open(f"{rig.dir}/gate/open", "w").close()
    wait_until(60, "its exit file", lambda: os.listdir(f"{rig.dir}/run/exits"))
    rig.up()
    pod = rig.wait_phase("ends", "Failed")
    if pod["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] != 7:
        raise Failure(f"exit code 7, not {pod['status']}")
    rig.delete("ends")
    rig.wait_gone("ends")
    rig.expect_clean()


def prepare(rig):
    rig.up()


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")], Rig(sys.argv[1] if len(sys.argv) > 1 else "build/gcc"), prepare, sys.argv[2:]))
