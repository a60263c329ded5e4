# SPDX-License-Identifier: Apache-2.0
"""What a pod may ask for, asked with kubectl. Each test makes its pods together and then looks at what came of them."""

import json

from cluster import Failure


def expect(condition, text):
    if not condition:
        raise Failure(text)


def ready(c, *names, timeout=30):
    c.kubectl("wait", "--for=condition=Ready", *[f"pod/{n}" for n in names], f"--timeout={timeout}s", timeout=timeout + 10)


def run_in(c, pod, script, container=None, check=True):
    return c.kubectl("exec", pod, *(["-c", container] if container else []), "--", "sh", "-c", script, check=check).stdout


def gone(c, *names):
    c.kubectl("delete", "pod", *names, "--grace-period=1", "--wait=false")


def statuses(c, pod, kind="containerStatuses"):
    return {s["name"]: s for s in c.get("pod", pod)["status"].get(kind, [])}


def test_user_namespaces(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: mapped}
spec:
  hostUsers: false
  terminationGracePeriodSeconds: 0
  volumes: [{name: disk, emptyDir: {}}, {name: ca, configMap: {name: kube-root-ca.crt}}]
  containers:
  - name: main
    image: busybox:v1
    command: [sleep, "1000"]
    securityContext: {procMount: Unmasked, capabilities: {add: [SYS_ADMIN]}}
    volumeMounts: [{name: disk, mountPath: /disk}, {name: ca, mountPath: /ca}]
""")
    ready(c, "mapped")
    inside, outside, size = run_in(c, "mapped", "cat /proc/self/uid_map").split()
    expect(inside == "0" and int(outside) % 65536 == 0 and int(outside) > 0 and size == "65536", f"a range of its own: {inside} {outside} {size}")
    out = run_in(c, "mapped", "id -u; touch /disk/x && stat -c %u /disk/x; stat -Lc %u /ca/ca.crt; mount -t tmpfs none /mnt 2>/dev/null || mkdir -p /mnt && mount -t tmpfs none /mnt && echo mounted")
    expect(out.split() == ["0", "0", "0", "mounted"], f"root inside, owner of its volumes, may mount: {out}")
    expect(" /proc/kcore " not in run_in(c, "mapped", "cat /proc/self/mounts"), "nothing of /proc is masked")
    gone(c, "mapped")


def test_debugging_and_attaching(c):
    c.kubectl("run", "patient", "--image=busybox:v1", "--restart=Never", "--", "sleep", "4321")
    ready(c, "patient")
    # Another container's processes are seen only where it is the target.
    for args, sees in ((["--target=patient"], True), ([], False)):
        c.kubectl("debug", "patient", "--image=busybox:v2", f"--container=d{len(args)}", "--profile=general", *args, "--", "ps")
        done = c.wait(20, "the debug container to end", lambda: statuses(c, "patient", "ephemeralContainerStatuses")[f"d{len(args)}"]["state"].get("terminated"))
        expect(done["exitCode"] == 0, f"{done}")
        expect(("sleep 4321" in c.kubectl("logs", "patient", "-c", f"d{len(args)}").stdout) == sees, f"sees the pod's processes: {sees}")
    # The end of an attachment is no outcome: that is the container's, in its status.
    c.kubectl("run", "attended", "--image=busybox:v1", "--restart=Never", "-i", "--", "sh", "-c", "read line; echo got $line; exit 5", stdin="word\n", check=False)
    c.wait(10, "the exit code", lambda: statuses(c, "attended")["attended"]["state"]["terminated"]["exitCode"] == 5)
    c.kubectl("run", "asked", "--image=busybox:v1", "--restart=Never", "--stdin", "--command", "--attach=false", "--", "sh", "-c", "read line; echo got $line; exit 5")
    ready(c, "asked")
    r = c.kubectl("attach", "-i", "asked", stdin="word\n", check=False)
    expect(r.returncode == 0 and "got word" in r.stdout, f"{r.returncode}: {r.stdout}{r.stderr}")
    gone(c, "patient", "attended", "asked")


RESIZED = """
apiVersion: v1
kind: Pod
metadata: {name: %s}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:v1
    command: [sleep, "1000"]
    resizePolicy: [{resourceName: memory, restartPolicy: RestartContainer}]
    resources: {requests: {cpu: %s, memory: 32Mi}, limits: {cpu: %s, memory: 64Mi}}
"""


def cgroup_values(c, pod):
    """cpu quota in thousandths of a core and memory limit, as the container sees them."""
    v1 = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/memory/memory.limit_in_bytes"
    out = run_in(c, pod, f"if [ -f /sys/fs/cgroup/cpu.max ]; then cut -d' ' -f1 /sys/fs/cgroup/cpu.max; cat /sys/fs/cgroup/memory.max; else {v1}; fi").split()
    return int(out[0]) // 100, int(out[1]) >> 20


def resize(c, pod, requests=None, limits=None):
    resources = {k: v for k, v in (("requests", requests), ("limits", limits)) if v}
    return c.kubectl("patch", "pod", pod, "--subresource=resize", "-p", json.dumps({"spec": {"containers": [{"name": "main", "resources": resources}]}}), check=False)


def conditions(c, pod):
    return {x["type"]: x for x in c.get("pod", pod)["status"]["conditions"]}


def test_resize_in_place(c):
    cores = int(c.get("node", c.node)["status"]["allocatable"]["cpu"])
    c.apply(RESIZED % ("grows", "100m", "200m"))
    ready(c, "grows")
    expect(cgroup_values(c, "grows") == (200, 64), f"as asked at first: {cgroup_values(c, 'grows')}")
    # cpu changes under the running process, memory by the restart that its policy asks for.
    expect(resize(c, "grows", {"cpu": "150m"}, {"cpu": "300m"}).returncode == 0, "a resize of cpu")
    c.wait(10, "the new quota", lambda: cgroup_values(c, "grows") == (300, 64))
    status = c.wait(10, "the status to follow", lambda: (s := statuses(c, "grows")["main"])["resources"]["limits"]["cpu"] == "300m" and s)
    expect(status["restartCount"] == 0 and status["allocatedResources"]["cpu"] == "150m", f"without a restart: {status}")
    resize(c, "grows", None, {"memory": "128Mi"})
    c.wait(15, "a restart with the new limit", lambda: statuses(c, "grows")["main"]["restartCount"] == 1 and cgroup_values(c, "grows") == (300, 128))
    # What does not fit beside the others waits until they go; what they have meanwhile stays.
    c.apply(RESIZED % ("blocks", f"{cores * 1000 - 800}m", f"{cores * 1000 - 800}m"))
    ready(c, "blocks")
    expect(resize(c, "grows", {"cpu": "900m"}, {"cpu": "900m"}).returncode == 0, "a resize that must wait")
    c.wait(10, "Deferred", lambda: conditions(c, "grows").get("PodResizePending", {}).get("reason") == "Deferred")
    expect(statuses(c, "grows")["main"]["allocatedResources"]["cpu"] == "150m" and cgroup_values(c, "grows") == (300, 128), "nothing changed yet")
    gone(c, "blocks")
    c.wait(20, "what was deferred", lambda: cgroup_values(c, "grows") == (900, 128))
    c.wait(10, "no condition of it left", lambda: not {"PodResizePending", "PodResizeInProgress"} & set(conditions(c, "grows")))
    seen = {e["reason"] for e in c.get("events", "--field-selector", "involvedObject.name=grows")["items"]}
    expect({"ResizeStarted", "ResizeCompleted", "ResizeDeferred"} <= seen, f"events: {seen}")
    gone(c, "grows")
