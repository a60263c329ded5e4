#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Node object and the machine's shutdown: what is reserved, enforced and told; what others write stays; pods end by priority.

usage: kubelet_node.py BUILD [TEST...]
"""
import json
import os
import signal
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import NODE, NODE_IP, Failure, Rig, main, read, wait_until  # noqa: E402

STATUS = f"/api/v1/nodes/{NODE}/status"
MERGE = "application/merge-patch+json"


def expect(condition, what):
    if not condition:
        raise Failure(str(what))


def cgroup_file(rig, path, v1, v2):
    """A number of one of our groups, whichever version this machine has."""
    for base, name in ((f"/sys/fs/cgroup/{v1[0]}", v1[1]), ("/sys/fs/cgroup", v2)):
        text = read(f"{base}/{rig.id}/{path}/{name}").strip()
        if text:
            return text
    raise Failure(f"no {v1} or {v2} for {path}")


def test_capacity_allocatable_and_facts(rig):
    node = rig.node()
    capacity, allocatable = node["status"]["capacity"], node["status"]["allocatable"]
    expect(int(capacity["cpu"]) == os.cpu_count() and allocatable["cpu"] == f"{os.cpu_count() * 1000 - 350}m", allocatable)
    kib = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal:"))
    expect(capacity["memory"] == f"{kib}Ki", capacity)
    expect(int(allocatable["memory"][:-2]) == kib - (200 + 100 + 50) * 1024, allocatable)
    expect(capacity["pods"] == "30" and allocatable["pods"] == "30", capacity)
    expect("ephemeral-storage" in capacity, capacity)
    addresses = {(a["type"], a["address"]) for a in node["status"]["addresses"]}
    expect(addresses == {("InternalIP", NODE_IP), ("Hostname", NODE)}, addresses)
    info = node["status"]["nodeInfo"]
    for field in ("kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion", "operatingSystem", "architecture", "bootID", "machineID", "systemUUID"):
        expect(info.get(field), f"{field} in {info}")
    expect(info["containerRuntimeVersion"].startswith("coracle://") and info["kubeletVersion"].startswith("v1."), info)
    expect({c["type"]: c["status"] for c in node["status"]["conditions"]} == {"MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True"}, node["status"]["conditions"])
    expect(any("busybox:rig" in n for i in node["status"]["images"] for n in i["names"]), node["status"]["images"])
    expect({"key": "example.com/new", "value": "yes", "effect": "NoSchedule"} in node["spec"]["taints"], node["spec"])
    expect(node["metadata"]["labels"]["zone"] == "a" and node["metadata"]["labels"]["kubernetes.io/hostname"] == NODE, node["metadata"]["labels"])


def test_limits_of_all_pods_are_enforced(rig):
    kib = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal:"))
    limit = int(cgroup_file(rig, "kubepods", ("memory", "memory.limit_in_bytes"), "memory.max"))
    expect(limit == (kib - 300 * 1024) * 1024, f"kubepods has {limit}")
    rig.create("burst", container={"resources": {"requests": {"cpu": "500m"}}})
    rig.wait_phase("burst", "Running")
    wait_until(60, "the burstable pods' shares", lambda: cgroup_file(rig, "kubepods/burstable", ("cpu", "cpu.shares"), "cpu.weight") in ("512", "20"))
    expect(cgroup_file(rig, "kubepods/besteffort", ("cpu", "cpu.shares"), "cpu.weight") in ("2", "1"), "best effort has the least")
    rig.delete("burst")
    rig.wait_gone("burst")


def test_what_others_write_stays(rig):
    rig.must("PATCH", STATUS, {"status": {"capacity": {"example.com/device": "3"}, "allocatable": {"example.com/device": "3"}}}, MERGE)
    rig.must("PATCH", STATUS, {"status": {"conditions": [{"type": "example.com/Custom", "status": "True", "reason": "X", "lastHeartbeatTime": None, "lastTransitionTime": None}]}},
             "application/strategic-merge-patch+json")
    rig.must("PATCH", f"/api/v1/nodes/{NODE}", {"metadata": {"annotations": {"x": "y"}, "labels": {"mine": "1"}}}, MERGE)
    rig.restart_kubelet()
    beat = {c["type"]: c for c in rig.node()["status"]["conditions"]}["Ready"]["lastHeartbeatTime"]
    wait_until(60, "a heartbeat", lambda: {c["type"]: c for c in rig.node()["status"]["conditions"]}["Ready"]["lastHeartbeatTime"] != beat)
    node = rig.node()
    expect(node["status"]["capacity"].get("example.com/device") == "3" and node["status"]["allocatable"].get("example.com/device") == "3", node["status"]["capacity"])
    expect(rig.condition("example.com/Custom")[0] == "True", node["status"]["conditions"])
    expect(node["metadata"]["annotations"].get("x") == "y" and node["metadata"]["labels"].get("mine") == "1", node["metadata"])
    rig.create("device", container={"resources": {"limits": {"example.com/device": "2"}}})
    rig.wait_phase("device", "Running")
    rig.create("too-many", container={"resources": {"limits": {"example.com/device": "2"}}})
    pod = rig.wait_phase("too-many", "Failed")
    expect(pod["status"]["reason"] == "OutOfexample.com/device", pod["status"])
    rig.delete("device")
    rig.delete("too-many")
    rig.wait_gone("device", "too-many")


def test_most_pods(rig):
    rig.restart_kubelet(**{"max-pods": "2"})
    wait_until(60, "two pods allocatable", lambda: rig.node()["status"]["allocatable"]["pods"] == "2")
    for i in range(2):
        rig.create(f"fits-{i}")
        rig.wait_phase(f"fits-{i}", "Running")
    rig.create("beyond")
    expect(rig.wait_phase("beyond", "Failed")["status"]["reason"] == "OutOfpods", "OutOfpods")
    for name in ("fits-0", "fits-1", "beyond"):
        rig.delete(name)
    rig.wait_gone("fits-0", "fits-1", "beyond")
    rig.restart_kubelet(**{"max-pods": "30"})


def test_lease(rig):
    path = f"/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/{NODE}"
    lease = rig.must("GET", path)
    expect(lease["spec"]["holderIdentity"] == NODE and lease["spec"]["leaseDurationSeconds"] == 8, lease)
    expect(lease["metadata"]["ownerReferences"][0]["uid"] == rig.node()["metadata"]["uid"], lease)
    wait_until(60, "a renewal", lambda: rig.must("GET", path)["spec"]["renewTime"] != lease["spec"]["renewTime"])


def test_configuration_file(rig):
    with open(f"{rig.dir}/config.yaml", "w") as f:
        json.dump({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "maxPods": 77, "kubeReserved": {"cpu": "100m"}, "evictionHard": {"memory.available": "10Mi"},
                   "nodeStatusUpdateFrequency": "1s", "registerWithTaints": [{"key": "a", "effect": "NoSchedule"}], "podPidsLimit": 99, "containerLogMaxSize": "1Mi", "shutdownGracePeriod": "30s",
                   "crashLoopBackOff": {"maxContainerRestartPeriod": "3s"}}, f)
    saved = dict(rig.flags)
    for flag in ("max-pods", "kube-reserved", "system-reserved", "eviction-hard"):
        rig.flags.pop(flag, None)
    rig.restart_kubelet(config=f"{rig.dir}/config.yaml", **{"max-pods": None, "eviction-hard": None})
    wait_until(60, "its fields to count", lambda: rig.node()["status"]["allocatable"]["pods"] == "77" and rig.node()["status"]["allocatable"]["cpu"] == f"{os.cpu_count() * 1000 - 100}m")
    rig.create("few")
    rig.wait_phase("few", "Running")
    uid = rig.pod("few")["metadata"]["uid"]
    expect(cgroup_file(rig, f"kubepods/besteffort/pod{uid}", ("pids", "pids.max"), "pids.max") == "99", "podPidsLimit")
    rig.delete("few")
    rig.wait_gone("few")
    rig.kill_kubelet(signal.SIGTERM)
    rig.flags = saved
    rig.up()


def test_the_machine_shuts_down(rig):
    rig.restart_kubelet(**{"shutdown-grace-period": "8s", "shutdown-grace-period-critical-pods": "4s", "shutdown-signal-is-machine": "true"})
    os.makedirs(f"{rig.dir}/said", exist_ok=True)
    for name, extra in (("plain", {}), ("stubborn", {}), ("critical", {"priorityClassName": "system-node-critical"})):
        trap = "" if name == "stubborn" else f"date +%s >/said/{name}; exit 0"
        rig.create(name, grace=60, container={"command": ["sh", "-c", f"trap '{trap}' TERM; touch /said/up-{name}; while :; do sleep 0.1; done"], "volumeMounts": [{"name": "said", "mountPath": "/said"}]},
                   volumes=[{"name": "said", "hostPath": {"path": f"{rig.dir}/said"}}], **extra)
    for name in ("plain", "stubborn", "critical"):
        rig.wait_phase(name, "Running")
        wait_until(60, f"{name} to listen", lambda: os.path.exists(f"{rig.dir}/said/up-{name}"))
    rig.kubelet.send_signal(signal.SIGTERM)
    wait_until(8, "the node to be not Ready", lambda: rig.condition("Ready") == ("False", "KubeletNotReady"))
    rig.create("late")
    pod = rig.wait_phase("late", "Failed", 10)
    expect(pod["status"]["reason"] == "NodeShutdown", pod["status"])
    rig.kubelet.wait(30)
    for name in ("plain", "stubborn", "critical"):
        pod = rig.pod(name)
        expect(pod["status"]["phase"] == "Failed" and pod["status"]["reason"] == "Terminated" and pod["status"]["message"] == "Pod was terminated in response to imminent node shutdown.", pod["status"])
        expect(rig.condition("DisruptionTarget", pod) == ("True", "TerminationByKubelet"), pod["status"]["conditions"])
    expect(float(read(f"{rig.dir}/said/critical")) - float(read(f"{rig.dir}/said/plain")) > 2, "critical pods end after the others had their time")
    expect(not rig.inventory()["processes"], "nothing runs any more")
    rig.flags.pop("shutdown-signal-is-machine")
    rig.up()
    for name in ("plain", "stubborn", "critical"):
        expect(rig.pod(name)["status"]["phase"] == "Failed", "it stays so after the restart")
        rig.delete(name, grace=0)
    rig.delete("late", grace=0)
    rig.wait_gone("plain", "stubborn", "critical", "late")
    rig.expect_clean()


def prepare(rig):
    rig.flags.update({"kube-reserved": "cpu=250m,memory=200Mi", "system-reserved": "cpu=100m,memory=100Mi", "eviction-hard": "memory.available<50Mi", "max-pods": "30", "node-labels": "zone=a",
                      "register-with-taints": "example.com/new=yes:NoSchedule", "node-status-update-frequency": "1s", "node-status-report-frequency": "2s", "node-lease-duration-seconds": "8"})
    rig.up()


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")], Rig(sys.argv[1] if len(sys.argv) > 1 else "build/gcc"), prepare, sys.argv[2:]))
