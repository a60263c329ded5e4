#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The kubelet's speed and size on a node of its own: node.py BUILD. Prints a table as run.py does; ROWS=running,fifty,many,size chooses."""

import http.client
import json
import os
import signal
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import NODE, PODS, IMAGE, Rig, read  # noqa: E402

IDLE_SECONDS = 60
ROUND_SECONDS = 10  # of the node agent
SETTLE_SECONDS = 15  # the node agent looks every ten seconds, and gives memory back once it was quiet


class Phases(threading.Thread):
    """Watches pods: when each was first seen Running, by name."""

    def __init__(self, rig):
        super().__init__(daemon=True)
        self.running, self.cond, self.live = {}, threading.Condition(), set()
        self.c = http.client.HTTPSConnection("127.0.0.1", 6443, context=rig.tls)
        self.c.request("GET", PODS + "?watch=1", headers={"Authorization": "Bearer rigtoken"})
        self.r = self.c.getresponse()
        self.start()

    def run(self):
        for line in self.r:
            event = json.loads(line)
            name = event["object"]["metadata"]["name"]
            with self.cond:
                if event["type"] == "DELETED":
                    self.live.discard(name)
                else:
                    self.live.add(name)
                    if event["object"]["status"]["phase"] == "Running":
                        self.running.setdefault(name, time.monotonic())
                self.cond.notify_all()

    def wait(self, names, seconds=120):
        with self.cond:
            if not self.cond.wait_for(lambda: all(n in self.running for n in names), seconds):
                raise SystemExit(f"not Running within {seconds} s: {[n for n in names if n not in self.running][:5]}")
            return max(self.running[n] for n in names)

    def wait_gone(self, names, seconds=120):
        with self.cond:
            if not self.cond.wait_for(lambda: not any(n in self.live for n in names), seconds):
                raise SystemExit("pods do not go")


class Poster:
    """One kept connection, so that the client is no part of the measure."""

    def __init__(self, rig):
        self.c, self.used = http.client.HTTPSConnection("127.0.0.1", 6443, context=rig.tls), time.monotonic()

    def call(self, method, path, body=None):
        if time.monotonic() - self.used > ROUND_SECONDS:
            self.c.close()  # the server does not keep one for as long as a measure takes
        self.used = time.monotonic()
        self.c.request(method, path, None if body is None else json.dumps(body), {"Authorization": "Bearer rigtoken", "Content-Type": "application/json"})
        r = self.c.getresponse()
        r.read()
        if r.status >= 300:
            raise SystemExit(f"{method} {path}: {r.status}")

    def create(self, name):
        self.call("POST", PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "nodeName": NODE, "terminationGracePeriodSeconds": 0, "containers": [{"name": "main", "image": IMAGE, "command": ["sleep", "100000"]}]}})

    def delete(self, names):
        for name in names:
            self.call("DELETE", f"{PODS}/{name}?gracePeriodSeconds=0")


def memory_kb(pid, field="VmRSS"):
    text = read(f"/proc/{pid}/smaps_rollup" if field == "Pss" else f"/proc/{pid}/status")
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(field + ":")), 0)


def cpu_seconds(pid):
    """As the scheduler counts it: what runs for microseconds at a time, the clock's ticks see by chance."""
    return sum(int(read(f"/proc/{pid}/task/{task}/schedstat").split()[0]) for task in os.listdir(f"/proc/{pid}/task")) / 1e9


class Awake:
    """Keeps all processors from sleeping, by work that gives way to any other: what wakes up meanwhile finds them fast and its caches as they were."""

    def __enter__(self):
        self.children = []
        for cpu in os.sched_getaffinity(0):
            child = os.fork()
            if child == 0:
                os.sched_setaffinity(0, {cpu})
                os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
                parent = os.getppid()
                while os.getppid() == parent:
                    for _ in range(1 << 20):
                        pass
                os._exit(0)
            self.children.append(child)

    def __exit__(self, *_):
        for child in self.children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


class Reference(threading.Thread):
    """The same work once a round, for as long as a measure takes: what it costs tells how machines, and moments of one, compare."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seconds, self.rounds, self.stop = 0.0, 0, threading.Event()
        self.paths = [f"/proc/sys/{folder}/{name}" for folder in ("kernel", "vm", "fs") for name in sorted(os.listdir(f"/proc/sys/{folder}"))]
        self.memory = bytearray(1 << 20)
        self.start()

    def run(self):
        while not self.stop.wait(ROUND_SECONDS):
            before = time.thread_time()
            for path in self.paths:
                os.path.exists(path)
            for at in range(0, len(self.memory), 64):
                self.memory[at] = 1
            self.seconds += time.thread_time() - before
            self.rounds += 1

    def end(self):
        self.stop.set()
        self.join()
        return self.seconds / max(self.rounds, 1)


def idle(pid):
    """What share of a core the process takes, and what the reference took a round meanwhile."""
    reference, before = Reference(), cpu_seconds(pid)
    time.sleep(IDLE_SECONDS)  # the measure itself: what it does when nothing happens
    used = cpu_seconds(pid) - before
    return used / IDLE_SECONDS * 100, reference.end()


def together(poster, phases, prefix, count):
    names = [f"{prefix}-{i}" for i in range(count)]
    began = time.monotonic()
    for name in names:
        poster.create(name)
    return names, phases.wait(names, 300) - began


def main():
    wanted = os.environ.get("ROWS", "running,fifty,many,size").split(",")
    rig, rows = Rig(sys.argv[1]), []
    try:
        rig.up()
        poster, phases = Poster(rig), Phases(rig)
        rows.append(("kubelet resident, no pods", f"{memory_kb(rig.kubelet.pid) / 1024:.1f} MB", ""))
        if "running" in wanted:
            times, names = [], []
            for i in range(25):
                began = time.monotonic()
                poster.create(f"one-{i}")
                times.append((phases.wait([f"one-{i}"]) - began) * 1000)
                names.append(f"one-{i}")
            rows.append(("POST to Running, median of 25", f"{statistics.median(times):.0f} ms (best {min(times):.0f})", "100 ms"))
            poster.delete(names)
            phases.wait_gone(names)
        if "fifty" in wanted:
            names, took = together(poster, phases, "fifty", 50)
            rows.append(("50 pods together, last one Running", f"{took:.2f} s", "2.5 s"))
            began = time.monotonic()
            poster.delete(names)
            phases.wait_gone(names)
            rows.append(("50 pods deleted, last one gone", f"{time.monotonic() - began:.2f} s", ""))
        if "many" in wanted:
            names, took = together(poster, phases, "many", 200)
            rows.append(("200 pods together, last one Running", f"{took:.2f} s", "12 s"))
            poster.delete(names)
            phases.wait_gone(names)
        if "size" in wanted:
            names, _ = together(poster, phases, "hundred", 100)
            time.sleep(SETTLE_SECONDS)
            pid = rig.kubelet.pid
            share, cold = idle(pid)
            rows.append(("kubelet resident, 100 pods", f"{memory_kb(pid) / 1024:.1f} MB (anonymous {memory_kb(pid, 'RssAnon') / 1024:.1f} MB, {len(os.listdir(f'/proc/{pid}/task'))} threads)", "10 MB"))
            with Awake():
                awake, hot = idle(pid)
            rows.append(("kubelet idle, 100 pods", f"{share:.2f} % of a core", "0.2 %"))
            rows.append(("the same on processors kept awake", f"{awake:.2f} % of a core", ""))
            rows.append(("fixed work after a rest", f"{cold / hot:.1f} x of that on processors kept awake ({hot * 1000:.1f} ms)", ""))
            monitors = [p for p in rig.inventory()["monitors"]]
            rows.append(("per container: conmon", f"{sum(memory_kb(p, 'Pss') for p in monitors) / 1024 / max(len(monitors), 1):.2f} MB", "1.5 MB"))
            if os.environ.get("HOLD"):
                input(f"kubelet {pid}; enter to go on")
            poster.delete(names)
            phases.wait_gone(names)
            time.sleep(SETTLE_SECONDS)
            rows.append(("kubelet resident, after them", f"{memory_kb(pid) / 1024:.1f} MB", ""))
    finally:
        rig.down()
    width = max(len(r[0]) for r in rows)
    print(f"\n{'what':<{width}}  measured  [goal]")
    for what, value, goal in rows:
        print(f"{what:<{width}}  {value}{'  [' + goal + ']' if goal else ''}")


if __name__ == "__main__":
    main()
