#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Device plugins: what they offer is the node's capacity, who asks gets devices with all that goes with them, nothing is given twice though the
kubelet is killed, and monitors see who has what.

usage: kubelet_devices.py BUILD [TEST...]
"""
import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "lib"))
from rig import IMAGE, Failure, Rig, main, read, sh, wait_until  # noqa: E402

THING = "example.com/thing"


def expect(condition, what):
    if not condition:
        raise Failure(str(what))


class Plugin:
    def __init__(self, rig, resource=THING):
        # Debian's own, which has Debian's grpcio, whatever else is called python3 here.
        self.p = subprocess.Popen(["/usr/bin/python3", os.path.join(HERE, "lib", "device_plugin.py"), f"{rig.dir}/kubelet/device-plugins", resource, f"{rig.dir}/kubelet/pod-resources/kubelet.sock"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def do(self, what, **args):
        self.p.stdin.write(json.dumps(dict(args, do=what)) + "\n")
        self.p.stdin.flush()
        line = self.p.stdout.readline()
        if not line:
            raise Failure("the plugin is gone")
        return json.loads(line)

    def kill(self):
        self.p.kill()
        self.p.wait()


def device(name, health="Healthy", nodes=()):
    return {"id": name, "health": health, "nodes": list(nodes)}


def offered(rig, capacity, allocatable, resource=THING):
    def look():
        status = rig.node()["status"]
        return (status["capacity"].get(resource), status["allocatable"].get(resource)) == (str(capacity), str(allocatable)) or Failure(str(status["capacity"]) + str(status["allocatable"]))
    wait_until(60, f"{resource}: {allocatable} of {capacity}", lambda: look() is True)


def asks(rig, name, count, command="env; cat /from-plugin/file; ls -l /dev/thing; head -c 4 /dev/thing | wc -c; sleep 1000", **spec):
    rig.create(name, container={"resources": {"limits": {THING: str(count)}}, "env": [{"name": "OWN", "value": "spec"}], "command": ["sh", "-c", command]}, **spec)


def says(rig, name, text):
    def log():
        status, out = rig.call("GET", f"/containerLogs/default/{name}/main", raw=True, port=10250)
        return status == 200 and text in out.decode() and out.decode()
    return wait_until(60, f"{name} to say {text}", log)


def things(rig, name):
    return next(line.split("=", 1)[1].split(",") for line in says(rig, name, "THINGS=").splitlines() if line.startswith("THINGS="))


def health(pod):
    """Of each device that the container has."""
    told = pod["status"]["containerStatuses"][0].get("allocatedResourcesStatus", [])
    return {r["resourceID"]: r["health"] for status in told if status["name"] == THING for r in status["resources"]}


def done(rig, *names):
    for name in names:
        rig.delete(name, grace=0)
    rig.wait_gone(*names)
    rig.expect_clean()  # only then it has no device any more


def test_devices_are_offered_and_given(rig):
    p = rig.plugin
    offered(rig, 4, 3)
    p.do("calls")
    p.do("set", preferred=["d2", "d0"])
    asks(rig, "two", 2)
    rig.wait_phase("two", "Running")
    said = says(rig, "two", "\n4\n")
    expect(sorted(things(rig, "two")) == ["d0", "d2"], "what the plugin prefers")
    expect("OWN=spec" in said and "from the host" in said and "/dev/thing" in said, said)
    calls = p.do("calls")["calls"]
    expect([c[0] for c in calls] == ["GetPreferredAllocation", "Allocate", "PreStartContainer"], calls)
    expect(sorted(calls[0][1]) == ["d0", "d1", "d2"] and calls[0][3] == [2] and sorted(calls[2][1]) == ["d0", "d2"], calls)
    asks(rig, "beyond", 2)
    pod = rig.wait_phase("beyond", "Failed")
    expect(pod["status"]["reason"] == f"OutOf{THING}", pod["status"])
    asks(rig, "one", 1)
    rig.wait_phase("one", "Running")
    expect(things(rig, "one") == ["d1"], "the last healthy one")
    # How they are is told, and when it changes.
    every = [device("d0", nodes=[0]), device("d1", nodes=[0, 1]), device("d2"), device("bad", "Unhealthy")]
    expect(health(rig.pod("two")) == {"d0": "Healthy", "d2": "Healthy"}, rig.pod("two")["status"])
    p.do("set", devices=[device("d0", "Unhealthy", nodes=[0])] + every[1:])
    rig.wait_pod("two", "an unhealthy device", lambda pod: health(pod) == {"d0": "Unhealthy", "d2": "Healthy"})
    expect(health(rig.pod("one")) == {"d1": "Healthy"}, "another's is not")
    p.do("set", devices=every)
    rig.wait_pod("two", "a healthy device again", lambda pod: health(pod) == {"d0": "Healthy", "d2": "Healthy"})
    done(rig, "two", "beyond", "one")


def test_monitors_see_who_has_what(rig):
    p = rig.plugin
    rig.create("plain")
    asks(rig, "has", 1)
    for name in ("plain", "has"):
        rig.wait_phase(name, "Running")
    name = things(rig, "has")[0]
    nodes = {"d0": [0], "d1": [0, 1], "d2": []}
    pods = p.do("list")["pods"]
    expect(pods["default/plain"] == {"main": []} and pods["default/has"] == {"main": [[THING, [name], nodes[name]]]}, pods)
    expect(p.do("get", name="has", namespace="default")["pods"] == {"default/has": pods["default/has"]}, "one pod")
    expect("pod none in namespace default not found" in p.do("get", name="none", namespace="default")["error"], "no such pod")
    expect(p.do("allocatable")["devices"] == [[THING, [d], nodes[d]] for d in ("d0", "d1", "d2")], "all that is healthy")
    done(rig, "plain", "has")


def test_monitors_see_cpus_and_memory(rig):
    p = rig.plugin
    shared = [n for n in range(os.cpu_count()) if n != 0]
    all_of_it = p.do("allocatable")
    expect(all_of_it["cpus"] == shared, f"all cpus but the reserved one: {all_of_it}")
    numa = sorted(int(n[4:]) for n in os.listdir("/sys/devices/system/node") if n[4:].isdigit()) if os.path.isdir("/sys/devices/system/node") else []
    expect(bool([m for m in all_of_it["memory"] if m[0] == "memory"]) == bool(numa) or not rig.flags.get("memory-manager-policy"), f"memory by node, where there are nodes: {all_of_it}")
    rig.create("alone", container={"resources": {"limits": {"cpu": "1", "memory": "64Mi", THING: "1"}}})
    rig.create("shares")
    for name in ("alone", "shares"):
        rig.wait_phase(name, "Running")
    have = p.do("list")["kept"]
    expect(have["default/shares"]["main"] == {"cpus": [], "memory": []}, f"nothing of its own: {have}")
    mine = have["default/alone"]["main"]
    expect(len(mine["cpus"]) == 1 and mine["cpus"][0] in shared, f"one cpu of its own: {have}")
    if numa and rig.flags.get("memory-manager-policy"):
        expect([m[:2] for m in mine["memory"] if m[0] == "memory"] == [["memory", 64 << 20]] and set(mine["memory"][0][2]) <= set(numa), f"its memory, and where: {have}")
    expect(p.do("get", name="alone", namespace="default")["kept"] == {"default/alone": have["default/alone"]}, "the same of one pod")
    done(rig, "alone", "shares")


def test_init_containers_lend_theirs(rig):
    rig.create("lends", container={"resources": {"limits": {THING: "3"}}, "command": ["sh", "-c", "env; sleep 1000"]},
               initContainers=[{"name": "first", "image": IMAGE, "command": ["true"], "resources": {"limits": {THING: "2"}}}])
    rig.wait_phase("lends", "Running")
    expect(sorted(things(rig, "lends")) == ["d0", "d1", "d2"], "two that were lent, and one more")
    done(rig, "lends")


def test_a_killed_kubelet_gives_nothing_twice(rig):
    p = rig.plugin
    asks(rig, "keeps", 2)
    rig.wait_phase("keeps", "Running")
    before = things(rig, "keeps")
    rig.kill_kubelet()
    rig.up()
    offered(rig, 0, 0)
    # It restarts with what it had, though the plugin did not come back yet.
    for pid in rig.inventory()["processes"]:
        sh(["kill", "-9", str(pid)], check=False)
    rig.wait_pod("keeps", "a restart", lambda pod: pod["status"]["containerStatuses"][0]["restartCount"] == 1 and pod["status"]["containerStatuses"][0]["state"].get("running"))
    expect(things(rig, "keeps") == before, "the same devices")
    asks(rig, "early", 1)
    pod = rig.wait_phase("early", "Failed")
    expect(pod["status"]["reason"] in ("UnexpectedAdmissionError", f"OutOf{THING}"), pod["status"])
    expect(p.do("register")["error"] is None, "it registers again")
    offered(rig, 4, 3)
    asks(rig, "other", 1)
    rig.wait_phase("other", "Running")
    expect(things(rig, "other")[0] not in before, "another device")
    rig.kill_kubelet()
    for name in ("early", "other", "keeps"):
        rig.delete(name, grace=0)
    rig.wait_gone("early", "other", "keeps")
    rig.up()
    rig.expect_clean()
    expect(p.do("register")["error"] is None, "and again")
    offered(rig, 4, 3)
    # What a pod had that went meanwhile is free.
    asks(rig, "all", 3)
    rig.wait_phase("all", "Running")
    done(rig, "all")


CDI = """
cdiVersion: 0.6.0
kind: example.com/cdi
containerEdits: {{env: [FOR_ALL=yes], mounts: [{{hostPath: {dir}/kubelet/shown, containerPath: /by-cdi, options: [ro, rbind]}}]}}
devices:
- {{name: one, containerEdits: {{env: [BY_CDI=one], deviceNodes: [{{path: /dev/by-cdi, hostPath: /dev/zero, permissions: rw}}], additionalGids: [4711]}}}}
"""


def test_cdi_devices(rig):
    p = rig.plugin
    with open(f"{rig.dir}/cdi/file.yaml", "w") as f:
        f.write(CDI.format(dir=rig.dir))
    p.do("set", cdi=["example.com/cdi=one"])
    asks(rig, "by-cdi", 1, command="env; cat /by-cdi/file; touch /by-cdi/x || echo read only; head -c 3 /dev/by-cdi | wc -c; id -G; echo end; sleep 1000", securityContext={"runAsUser": 1000})
    rig.wait_phase("by-cdi", "Running")
    said = says(rig, "by-cdi", "\nend\n").splitlines()
    expect({"BY_CDI=one", "FOR_ALL=yes", "OWN=spec", "from the host", "read only", "3"} <= set(said) and "4711" in said[-2].split(), said)
    p.do("set", cdi=["example.com/cdi=none"])
    asks(rig, "nowhere", 1)
    rig.wait_pod("nowhere", "a device that is in no file", lambda pod: "unresolvable CDI devices example.com/cdi=none" in str(pod["status"]))
    p.do("set")
    done(rig, "by-cdi", "nowhere")


def test_plugins_that_fail(rig):
    p = rig.plugin
    p.do("set", fail="out of order 100 %")
    asks(rig, "refused", 1)
    pod = rig.wait_phase("refused", "Failed")
    expect(pod["status"]["reason"] == "UnexpectedAdmissionError" and "out of order 100 %" in pod["status"]["message"].replace("%25", "%"), pod["status"])
    p.do("set", fail=None)
    done(rig, "refused")
    for args, text in (({"version": "v1alpha"}, "is not supported by kubelet"), ({"resource": "thing"}, "is invalid"), ({"resource": "kubernetes.io/thing"}, "is invalid"),
                       ({"endpoint": "../else.sock"}, "no name of a socket")):
        answer = p.do("register", **args)
        expect(text in str(answer["error"]), f"{args}: {answer}")
    errors = p.do("nonsense")["errors"]
    expect("UNIMPLEMENTED" in errors[0] and "INVALID_ARGUMENT" in errors[1], errors)
    offered(rig, 4, 3)
    p.do("set", devices=[device("d0", "Unhealthy"), device("d1")])
    offered(rig, 2, 1)
    p.kill()
    offered(rig, 2, 0)
    expect(rig.kubelet.poll() is None, "the kubelet lives")


def prepare(rig):
    os.makedirs(f"{rig.dir}/kubelet/shown")
    os.makedirs(f"{rig.dir}/cdi")
    rig.flags["cdi-spec-dirs"] = f"{rig.dir}/cdi"
    with open(f"{rig.dir}/kubelet/shown/file", "w") as f:
        f.write("from the host\n")
    rig.flags["node-status-update-frequency"] = "1s"
    rig.flags.update({"cpu-manager-policy": "static", "reserved-cpus": "0"})
    if os.path.isdir("/sys/devices/system/node/node0"):
        rig.flags.update({"memory-manager-policy": "Static", "system-reserved": "memory=99Mi", "reserved-memory": "0:memory=100Mi"})
    rig.up()
    rig.plugin = Plugin(rig)
    rig.daemons.append(rig.plugin.p)
    rig.plugin.do("set", devices=[device("d0", nodes=[0]), device("d1", nodes=[0, 1]), device("d2"), device("bad", "Unhealthy")])
    answer = rig.plugin.do("register")
    expect(answer["error"] is None, answer)


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")], Rig(sys.argv[1] if len(sys.argv) > 1 else "build/gcc"), prepare, sys.argv[2:]))
