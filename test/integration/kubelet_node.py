#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Node object and the machine's shutdown: what is reserved, enforced and told; what others write stays; pods end by priority.

usage: kubelet_node.py BUILD [TEST...]
"""
import gzip
import http.client
import json
import os
import signal
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import IMAGE, KUBELET_PORT, NODE, NODE_IP, Failure, Rig, main, read, wait_until  # noqa: E402

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
    features = node["status"]["declaredFeatures"]
    expect(features == sorted(features) and "RestartAllContainersOnContainerExits" in features and "InPlacePodLevelResourcesVerticalScaling" in features, features)
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
    # Until the node says so, the next kubelet takes no more than it says.
    wait_until(60, "thirty pods allocatable", lambda: rig.node()["status"]["allocatable"]["pods"] == "30")


def test_critical_pods_make_themselves_room(rig):
    cpu = rig.node()["status"]["allocatable"]["cpu"]
    left = int(cpu[:-1]) if cpu.endswith("m") else int(cpu) * 1000
    part = left // 12
    folder = f"{rig.dir}/manifests"
    os.makedirs(folder, exist_ok=True)
    rig.restart_kubelet(**{"pod-manifest-path": folder})

    def asks(milli, **more):
        return {"resources": {"requests": {"cpu": f"{milli}m"}, **more}}

    rig.create("spared", container=asks(2 * part, limits={"cpu": f"{2 * part}m", "memory": "20Mi"}))
    rig.create("large", container=asks(6 * part))
    rig.create("small", container=asks(part))
    for name in ("spared", "large", "small"):
        rig.wait_phase(name, "Running")
    fixed = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "fixed"}, "spec": {"terminationGracePeriodSeconds": 0, "containers": [
        {"name": "main", "image": IMAGE, "command": ["sleep", "1000"], **asks(5 * part)}]}}
    with open(f"{folder}/fixed.json", "w") as f:
        json.dump(fixed, f)
    pod = rig.wait_pod("large", "ended for it", lambda p: p["status"]["phase"] == "Failed")
    expect(pod["status"]["reason"] == "Preempting" and pod["status"]["message"] == "Preempted in order to admit critical pod", pod["status"])
    expect(rig.condition("DisruptionTarget", pod) == ("True", "TerminationByKubelet"), pod["status"]["conditions"])
    wait_until(60, "the event", lambda: "Preempting" in [e["reason"] for e in rig.events("large")])
    rig.wait_phase(f"fixed-{NODE}", "Running")
    for name in ("spared", "small"):
        expect(rig.pod(name)["status"]["phase"] == "Running", f"{name} was spared")
    expect(b'kubelet_preemptions{preemption_signal="cpu"} 1' in rig.call("GET", "/metrics", raw=True, port=KUBELET_PORT)[1], "it is counted")
    # More than there is: nobody is ended for nothing.
    fixed["metadata"]["name"] = "vast"
    fixed["spec"]["containers"][0].update(asks(left + 1))
    with open(f"{folder}/vast.json", "w") as f:
        json.dump(fixed, f)
    pod = rig.wait_phase(f"vast-{NODE}", "Failed")
    expect(pod["status"]["reason"] == "UnexpectedAdmissionError" and "no set of running pods found to reclaim resources: [(res: cpu, q: " in pod["status"]["message"], pod["status"])
    for name in ("spared", "small"):
        expect(rig.pod(name)["status"]["phase"] == "Running", f"{name} was spared")
    for name in ("fixed", "vast"):
        os.unlink(f"{folder}/{name}.json")
    rig.delete("large"), rig.delete("small"), rig.delete("spared")
    rig.wait_gone("spared", "large", "small", f"fixed-{NODE}", f"vast-{NODE}")
    rig.flags.pop("pod-manifest-path")
    rig.restart_kubelet()


def test_events_of_the_node(rig):
    def count(reason):
        return sum(e.get("count", 1) for e in rig.must("GET", "/api/v1/events")["items"] if e["involvedObject"]["kind"] == "Node" and e["reason"] == reason and e["source"]["component"] == "kubelet")

    for reason in ("Starting", "NodeAllocatableEnforced", "NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID", "NodeReady"):
        wait_until(60, f"an event {reason}", lambda: count(reason) >= 1)
    for unschedulable, reason in ((True, "NodeNotSchedulable"), (False, "NodeSchedulable")):
        rig.must("PATCH", f"/api/v1/nodes/{NODE}", {"spec": {"unschedulable": unschedulable}}, MERGE)
        wait_until(60, f"an event {reason}", lambda: count(reason) == 1)
    expect(count("Rebooted") == 0, "nobody did")
    starts, ready = count("Starting"), count("NodeReady")
    rig.kill_kubelet()
    rig.must("PATCH", STATUS, {"status": {"nodeInfo": dict(rig.node()["status"]["nodeInfo"], bootID="another")}}, MERGE)
    rig.start_kubelet()
    wait_until(60, "an event Rebooted", lambda: count("Rebooted") == 1)
    wait_until(60, "another start", lambda: count("Starting") == starts + 1)
    wait_until(60, "its new status", lambda: rig.node()["status"]["nodeInfo"]["bootID"] != "another")
    expect(count("NodeReady") == ready, "what is as it was is not told again")


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


def test_logs_of_the_node(rig):
    logs = f"{rig.dir}/var-log"
    os.makedirs(f"{logs}/sub/service")
    for path, text in (("plain.log", "plain\n"), ("sub/<b>&.txt", "odd\n"), ("service.log", "of the service\n"), ("big", "x" * 300000), ("../outside", "secret\n")):
        with open(f"{logs}/{path}", "w") as f:
            f.write(text)
    os.makedirs(f"{logs}/other")
    with open(f"{logs}/other/other.log", "w") as f:
        f.write("of the other\n")
    os.symlink(f"{rig.dir}/outside", f"{logs}/away")
    os.symlink(f"{logs}/plain.log", f"{logs}/here")
    rig.restart_kubelet(**{"system-log-dir": logs})

    def get(path):
        status, text = rig.call("GET", f"/logs/{path}", raw=True, port=10250)
        return status, text.decode()
    status, page = get("")
    expect(status == 200 and '<a href="plain.log">plain.log</a>' in page and '<a href="sub/">sub/</a>' in page, page)
    expect('<a href="%3Cb%3E&.txt">&lt;b&gt;&amp;.txt</a>' in get("sub/")[1], get("sub/"))
    expect(get("plain.log") == (200, "plain\n") and get("here") == (200, "plain\n") and get("sub/%3Cb%3E&.txt") == (200, "odd\n"), "files")
    expect(get("big")[1] == "x" * 300000, "a larger one")
    for path in ("none", "away", "../outside", "sub/../../outside", "%2e%2e/outside"):
        expect(get(path)[0] == 404, f"{path}: {get(path)}")
    expect("plain.log" in get("?query=service")[1], "not asked for services, unless that is switched on")
    rig.restart_kubelet(**{"enable-system-log-query": "true"})
    expect(get("?query=service") == (200, "of the service\n") and get("?query=other")[1] == "of the other\n", get("?query=service"))
    expect(get("?query=none")[1] == "\nlog not found for none\n" and get("?query=/plain.log") == (200, "plain\n"), get("?query=none"))
    expect("try without specifying options" in get("?query=service&tailLines=3")[1], "no options for files")
    for query, want in (("query=", 400), ("query=a&sinceTime=yesterday", 400), ("query=a%3Breboot", 406), ("query=a&query=/b", 406), ("tailLines=3", 406), ("query=a&tailLines=-1", 406), ("query=a&boot=1", 406),
                        ("query=a&query=b&query=c&query=d&query=e", 406), ("query=../outside", 404)):
        expect(get("?" + query)[0] == want, f"{query}: {get('?' + query)}")
    rig.restart_kubelet(**{"enable-system-log-handler": "false"})
    expect(get("")[0] == 405, "switched off")
    rig.restart_kubelet(**{"enable-system-log-handler": None, "enable-system-log-query": None, "system-log-dir": None})


class Follower(threading.Thread):
    """Follows a container's log and keeps its lines."""

    def __init__(self, rig, name):
        super().__init__(daemon=True)
        self.lines = []
        self.c = http.client.HTTPSConnection("127.0.0.1", 10250, context=rig.tls, timeout=60)
        self.c.request("GET", f"/containerLogs/default/{name}/main?follow=true")
        self.r = self.c.getresponse()
        self.start()

    def run(self):
        for line in self.r:
            self.lines.append(line.decode().strip())
            if self.lines[-1] == "end":
                return


def test_logs_are_rotated(rig):
    rig.restart_kubelet(**{"container-log-max-size": "50Ki", "container-log-max-files": "3", "container-log-monitor-interval": "1s"})
    # Batches, so that it is rotated while it is written and read, and until an older log was compressed, however slow the machine is.
    os.makedirs(f"{rig.dir}/say", exist_ok=True)
    rig.create("talks", volumes=[{"name": "say", "hostPath": {"path": f"{rig.dir}/say"}}], container={"volumeMounts": [{"name": "say", "mountPath": "/say"}], "command": ["sh", "-c",
               "i=0; until [ -e /say/enough ]; do echo number $i; i=$((i+1)); [ $((i % 300)) -ne 0 ] || sleep 0.3; done; echo end; sleep 1000"]})
    rig.wait_phase("talks", "Running")
    follower = Follower(rig, "talks")
    folder = f"{rig.dir}/pods-log/default_talks_{rig.pod('talks')['metadata']['uid']}/main"
    most = {"files": 0}

    def compressed():
        most["files"] = max(most["files"], len([f for f in os.listdir(folder) if not f.endswith(".tmp")]))
        return [f for f in os.listdir(folder) if f.endswith(".gz")]
    wait_until(120, "an older one to be compressed", compressed)
    open(f"{rig.dir}/say/enough", "w").close()
    wait_until(120, "the follower to see the end", lambda: compressed() and not follower.is_alive())
    files = sorted(os.listdir(folder))
    expect(follower.lines == [f"number {i}" for i in range(len(follower.lines) - 1)] + ["end"], f"each line once, though it was rotated: {len(follower.lines)}, {follower.lines[:2]}, {follower.lines[-2:]}")
    expect(2 < most["files"] <= 3 and "0.log" in files, f"{most} {files}")
    for name in files:
        if name.endswith(".gz"):
            with gzip.open(f"{folder}/{name}", "rt") as f:
                text = f.read().splitlines()
            expect(len(text) > 100 and all(" stdout F number " in line for line in text), text[:2])
    status, text = rig.call("GET", "/containerLogs/default/talks/main?tailLines=1", raw=True, port=10250)
    expect(text == b"end\n", text)
    rig.delete("talks", grace=0)
    rig.wait_gone("talks")
    rig.restart_kubelet(**{"container-log-max-size": None, "container-log-max-files": None, "container-log-monitor-interval": None})


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
