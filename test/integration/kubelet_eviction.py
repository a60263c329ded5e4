#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Eviction under node pressure: hard and soft thresholds on disk, inodes and memory, in Kubernetes' order; what goes before pods; who is let in.

The kubelet's root is a small tmpfs, and the pods together have little memory, so that pressure is made without touching the machine's own.

usage: kubelet_eviction.py BUILD [TEST...]
"""
import calendar
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import Failure, Rig, main, sh, wait_until  # noqa: E402

SIZE = 96 << 20
CAPACITY = next(int(line.split()[1]) * 1024 for line in open("/proc/meminfo") if line.startswith("MemTotal:"))


def expect(condition, what):
    if not condition:
        raise Failure(str(what))


def writer(megabytes, path="/v/file"):
    return f"dd if=/dev/zero of={path} bs=1M count={megabytes} 2>/dev/null; touch /tmp/done; sleep 1000"


def volume(rig, name, megabytes, **kwargs):
    medium = kwargs.pop("medium", "")
    container = {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "readinessProbe": {"exec": {"command": ["test", "-e", "/tmp/done"]}, "periodSeconds": 1},
                 "command": ["sh", "-c", writer(megabytes)]}
    container.update(kwargs.pop("container", {}))
    rig.create(name, container=container, volumes=[{"name": "v", "emptyDir": {"medium": medium} if medium else {}}], **kwargs)


def ready(rig, name):
    return rig.wait_pod(name, "Ready", lambda p: rig.condition("Ready", p)[0] == "True")


def evicted(rig, name, *texts):
    pod = rig.wait_pod(name, "evicted", lambda p: p["status"]["phase"] == "Failed" and p["status"].get("reason") == "Evicted")
    for text in texts:
        expect(text in pod["status"]["message"], f"\"{text}\" in \"{pod['status']['message']}\"")
    expect(rig.condition("DisruptionTarget", pod) == ("True", "TerminationByKubelet"), pod["status"]["conditions"])
    wait_until(60, "an event Evicted", lambda: "Evicted" in [e["reason"] for e in rig.events(name)])
    return pod


def pressure(rig, kind, value, seconds=40):
    wait_until(seconds, f"{kind} {value}", lambda: rig.condition(kind)[0] == value)


def done(rig, *names):
    for name in names:
        rig.delete(name, grace=0)
    rig.wait_gone(*names)
    rig.expect_clean()  # what they had on disk, too


def relieved(rig, kind):
    """Pressure lasts so long here that no test can miss it: a kubelet that starts anew knows of none."""
    expect(rig.condition(kind)[0] == "True", f"{kind} stays for its time")
    rig.restart_kubelet()
    pressure(rig, kind, "False")


def moment(rig, kind, of):
    """When a condition became what it is, in seconds."""
    at = next(c["lastTransitionTime"] for c in of["status"]["conditions"] if c["type"] == kind)
    return calendar.timegm(time.strptime(at, "%Y-%m-%dT%H:%M:%SZ"))


def free_mb(rig):
    fs = os.statvfs(f"{rig.dir}/kubelet")
    return fs.f_bavail * fs.f_frsize / (1 << 20)


def test_disk_pressure_evicts_in_order(rig):
    volume(rig, "modest", 1)
    volume(rig, "critical", 22, priorityClassName="system-node-critical")
    volume(rig, "within", 12, container={"resources": {"requests": {"ephemeral-storage": "50Mi"}}})
    for name in ("modest", "critical", "within"):
        ready(rig, name)
    expect(rig.condition("DiskPressure")[0] == "False", "no pressure yet")
    volume(rig, "greedy", 45)
    evicted(rig, "greedy", "The node was low on resource: ephemeral-storage. ", "Threshold quantity: 30Mi, available: ")
    pressure(rig, "DiskPressure", "True")
    expect(rig.condition("DiskPressure")[1] == "KubeletHasDiskPressure", "its reason")
    rig.create("late")
    pod = rig.wait_phase("late", "Failed")
    expect(pod["status"]["reason"] == "Evicted" and "The node had condition: [DiskPressure]. " in pod["status"]["message"], pod["status"])
    rig.create("late-critical", priorityClassName="system-node-critical")
    rig.wait_phase("late-critical", "Running")
    relieved(rig, "DiskPressure")
    for name in ("modest", "critical", "within"):
        expect(rig.pod(name)["status"]["phase"] == "Running", f"{name} was spared")
    wait_until(60, "the node's event", lambda: "EvictionThresholdMet" in [e["reason"] for e in rig.must("GET", "/api/v1/events")["items"]])
    done(rig, "modest", "critical", "within", "greedy", "late", "late-critical")


def test_dead_containers_go_before_pods(rig):
    rig.create("dead", restart="Never", container={"command": ["sh", "-c", "dd if=/dev/zero of=/big bs=1M count=45 2>/dev/null; echo said"]})
    rig.wait_phase("dead", "Succeeded")
    # Whoever starts a container anywhere on the machine holds copies of all mounts for a moment.
    holder = subprocess.Popen(["unshare", "--mount", "--propagation", "private", "sleep", "1000"])
    try:
        wait_until(30, "the copies", lambda: os.readlink(f"/proc/{holder.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt"))
        volume(rig, "lives", 30)
        ready(rig, "lives")
        pressure(rig, "DiskPressure", "True")
        wait_until(30, "the dead container's files to go", lambda: free_mb(rig) > 55)
    finally:
        holder.kill()
        holder.wait()
    relieved(rig, "DiskPressure")
    expect(rig.pod("lives")["status"]["phase"] == "Running", "the living pod is spared")
    expect(rig.pod("dead")["status"]["phase"] == "Succeeded", "the dead one's status stays")
    status, log = rig.call("GET", "/containerLogs/default/dead/main", raw=True, port=10250)
    expect(log == b"said\n", f"and its log: {status} {log}")
    done(rig, "dead", "lives")


def test_inodes(rig):
    rig.create("files", container={"volumeMounts": [{"name": "v", "mountPath": "/v"}], "command": ["sh", "-c", "i=0; while [ $i -lt 3000 ]; do : >/v/$i; i=$((i+1)); done; sleep 1000"]},
               volumes=[{"name": "v", "emptyDir": {}}])
    evicted(rig, "files", "The node was low on resource: inodes. ")
    done(rig, "files")
    pressure(rig, "DiskPressure", "True")
    relieved(rig, "DiskPressure")


def test_memory_pressure(rig):
    volume(rig, "asked", 40, medium="Memory", container={"resources": {"requests": {"memory": "100Mi"}}})
    ready(rig, "asked")
    volume(rig, "hog", 172, medium="Memory")
    evicted(rig, "hog", "The node was low on resource: memory. ", "Container main was using ", "request is 0, has larger consumption of memory. ")
    pressure(rig, "MemoryPressure", "True")
    rig.create("effortless", tolerations=[])
    pod = rig.wait_phase("effortless", "Failed")
    expect("The node had condition: [MemoryPressure]. " in pod["status"]["message"], pod["status"])
    rig.create("asks", container={"resources": {"requests": {"memory": "1Mi"}}})
    rig.wait_phase("asks", "Running")
    expect(rig.pod("asked")["status"]["phase"] == "Running", "the one within its request is spared")
    relieved(rig, "MemoryPressure")
    done(rig, "asked", "hog", "effortless", "asks")


def test_soft_threshold_waits_and_gives_grace(rig):
    rig.restart_kubelet(**{"eviction-hard": "memory.available<1Mi", "eviction-soft": "nodefs.available<60Mi", "eviction-soft-grace-period": "nodefs.available=4s", "eviction-minimum-reclaim": "nodefs.available=5Mi",
                           "eviction-max-pod-grace-period": "20", "eviction-pressure-transition-period": "3s"})
    volume(rig, "first", 20, grace=30, container={"command": ["sh", "-c", "trap 'sleep 1; echo ended >/v/../log; exit 0' TERM; " + writer(20) + " & wait $!"]})
    ready(rig, "first")
    volume(rig, "second", 40)
    pressure(rig, "DiskPressure", "True")
    node = rig.node()
    pod = evicted(rig, "second", "Threshold quantity: 60Mi")
    waited = moment(rig, "DisruptionTarget", pod) - moment(rig, "DiskPressure", node)
    expect(waited >= 3, f"not before its time, of which the last second may be cut off: {waited} s")
    expect(rig.pod("first")["status"]["phase"] == "Running", "one was enough")
    pressure(rig, "DiskPressure", "False")
    done(rig, "first", "second")
    rig.expect_clean()


def test_bad_thresholds_are_refused(rig):
    for flags, text in (({"eviction-hard": "memory.free<1Mi"}, "unknown signal"), ({"eviction-soft": "nodefs.available<1Mi"}, "grace period must be specified"),
                        ({"eviction-hard": "memory.available<lots"}, "neither a quantity nor a percentage")):
        saved = dict(rig.flags)
        rig.flags.update(flags)
        rig.flags.setdefault("eviction-soft-grace-period", None)
        if "eviction-soft" in flags:
            rig.flags["eviction-soft-grace-period"] = None
        p = sh(rig.kubelet_command() + ["--port=0", "--healthz-port=0", f"--run-dir={rig.dir}/run2", f"--root-dir={rig.dir}/kubelet2"], check=False, timeout=20)
        rig.flags = saved
        expect(p.returncode == 1 and text in p.stderr, f"{flags}: {p.returncode} {p.stderr}")


def prepare(rig):
    os.makedirs(f"{rig.dir}/kubelet")
    sh(["mount", "-t", "tmpfs", "-o", f"size={SIZE},nr_inodes=4000", "root-of-kubelet", f"{rig.dir}/kubelet"])
    rig.own_mounts.append(f"{rig.dir}/kubelet")
    rig.flags.update({"eviction-hard": "memory.available<60Mi,nodefs.available<30Mi,nodefs.inodesFree<1500", "eviction-pressure-transition-period": "10m", "node-status-update-frequency": "500ms",
                      "kube-reserved": f"memory={CAPACITY - (260 << 20)}"})
    rig.up()


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")], Rig(sys.argv[1] if len(sys.argv) > 1 else "build/gcc"), prepare, sys.argv[2:]))
