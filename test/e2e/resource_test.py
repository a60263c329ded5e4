# SPDX-License-Identifier: Apache-2.0
"""Cpus of their own: the cpu manager's static policy on this machine, with all that shares, a kubelet that is killed, and one that is told otherwise."""

import contextlib
import json
import os
import signal

from cluster import Failure


def expect(condition, text):
    if not condition:
        raise Failure(text)


def ids(text):
    out = set()
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        out |= set(range(int(first), int(last or first) + 1))
    return out


def tell_supervisor(c, conf):
    with open(f"{c.dir}/etc/daemons.conf", "w") as f:
        f.write(conf)
    old = c.pid_of("kubelet")
    with open(f"{c.dir}/run/supervise.pid") as f:
        os.kill(int(f.read()), signal.SIGHUP)
    c.wait(60, "another kubelet", lambda: c.pid_of("kubelet") != old)


def serving(c):
    return c.kubectl("get", "--raw", f"/api/v1/nodes/{c.node}/proxy/configz", check=False).stdout


@contextlib.contextmanager
def kubelet_with(c, flags, state):
    """Another kubelet with these flags too, whose state files are no more; the old one comes back at the end."""
    with open(f"{c.dir}/etc/daemons.conf") as f:
        plain = f.read()
    told = "".join(line + (f" {flags}" if line.startswith("kubelet: ") else "") + "\n" for line in plain.splitlines())
    try:
        for name in state:
            os.unlink(f"{c.dir}/var/kubelet/{name}")
        tell_supervisor(c, told)
        yield
    finally:
        for name in state:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{c.dir}/var/kubelet/{name}")
        tell_supervisor(c, plain)
        c.wait(60, "the kubelet of before", lambda: '"cpuManagerPolicy":"none"' in serving(c))


def allowed(c, pod, container=None):
    where = ["-c", container] if container else []
    out = c.kubectl("exec", pod, *where, "--", "grep", "Cpus_allowed_list", "/proc/1/status").stdout
    return ids(out.split()[1])


def kept(c, name):
    with open(f"{c.dir}/var/kubelet/{name}") as f:
        return json.load(f)


def guaranteed(name, cpu):
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  terminationGracePeriodSeconds: 0
  restartPolicy: Never
  containers:
  - name: main
    image: busybox:v1
    command: [sleep, "1000"]
    resources: {{limits: {{cpu: {cpu}, memory: 32Mi}}}}
"""


def quota(c, pod):
    return c.kubectl("exec", pod, "--", "sh", "-c", "cat /sys/fs/cgroup/cpu.max 2>/dev/null || cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us").stdout.split()[0]


def test_cpus_of_their_own(c):
    online = ids(open("/sys/devices/system/cpu/online").read())
    if len(online) < 2:
        return  # one cpu alone cannot be shared out
    # What is reserved of memory is the 100 MiB below which pods are evicted, and as much for the cluster.
    numa = os.path.exists("/sys/devices/system/node/node0/meminfo")
    flags = "--cpu-manager-policy static --kube-reserved cpu=500m,memory=100Mi --cpu-manager-reconcile-period 1s --topology-manager-policy best-effort"
    flags += " --memory-manager-policy Static --reserved-memory 0:memory=200Mi" if numa else ""
    with kubelet_with(c, flags, ["cpu_manager_state", "memory_manager_state"]):
        c.wait(60, "the kubelet with the policy", lambda: '"cpuManagerPolicy":"static"' in serving(c))
        c.kubectl("run", "sharer", "--image=busybox:v1", "--restart=Never", "--", "sleep", "1000")
        c.kubectl("wait", "--for=condition=Ready", "pod/sharer", "--timeout=60s")
        c.wait(60, "one who shares to have all", lambda: allowed(c, "sharer") == online)
        c.apply(guaranteed("owner", "1"))
        c.kubectl("wait", "--for=condition=Ready", "pod/owner", "--timeout=60s")
        own = allowed(c, "owner")
        expect(len(own) == 1 and min(online) not in own, f"one cpu, and not the one that is reserved: {own}")
        c.wait(60, "the others to leave it", lambda: allowed(c, "sharer") == online - own)
        expect(quota(c, "owner") in ("-1", "max"), "no quota beside it")
        uid = c.get("pod", "owner")["metadata"]["uid"]
        if numa:
            blocks = kept(c, "memory_manager_state")["entries"][uid]["main"]
            expect(blocks[0]["type"] == "memory" and blocks[0]["size"] == 32 << 20 and len(blocks) == 1, f"memory of its own: {blocks}")
            mems = ids(c.kubectl("exec", "owner", "--", "grep", "Mems_allowed_list", "/proc/1/status").stdout.split()[1])
            expect(mems == set(blocks[0]["numaAffinity"]), f"and no other: {mems} {blocks}")
        # In place it stays as it is.
        c.kubectl("patch", "pod", "owner", "--subresource=resize", "--patch", json.dumps({"spec": {"containers": [{"name": "main", "resources": {"requests": {"cpu": "700m"}, "limits": {"cpu": "700m"}}}]}}))
        said = c.wait(60, "the resize to be refused", lambda: [x for x in c.get("pod", "owner")["status"]["conditions"] if x["type"] == "PodResizePending"])
        expect(said[0]["reason"] == "Infeasible" and 'CPU Manager policy "static"' in said[0]["message"], f"as infeasible: {said}")
        # Whoever comes now shares what is left, and there are no more to be had.
        c.kubectl("run", "late", "--image=busybox:v1", "--restart=Never", "--", "sleep", "1000")
        c.kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=60s")
        c.wait(60, "the late one to share", lambda: allowed(c, "late") == online - own)
        old = c.pid_of("kubelet")
        os.kill(old, signal.SIGKILL)
        c.wait(60, "the kubelet to come back", lambda: c.pid_of("kubelet") != old)
        c.wait(60, "it to serve", lambda: serving(c))
        expect(allowed(c, "owner") == own and allowed(c, "sharer") == online - own, "all is as it was")
        state = kept(c, "cpu_manager_state")
        expect(state["policyName"] == "static" and ids(state["defaultCpuSet"]) == online - own, f"its state says so: {state}")
        expect(ids(state["entries"][uid]["main"]) == own, f"and whose they are: {state}")
        metrics = c.kubectl("get", "--raw", f"/api/v1/nodes/{c.node}/proxy/metrics").stdout
        expect("kubelet_cpu_manager_exclusive_cpu_allocation_count 1\n" in metrics, "its metrics count it")
        c.kubectl("delete", "pod", "owner", "--timeout=60s")
        c.wait(60, "the others to come back", lambda: allowed(c, "sharer") == online and allowed(c, "late") == online)
        expect("entries" not in kept(c, "cpu_manager_state") and "entries" not in kept(c, "memory_manager_state"), "nothing is anybody's own any more")
        c.kubectl("delete", "pod", "sharer", "late", "--grace-period=1", "--wait=false")
