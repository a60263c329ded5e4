# SPDX-License-Identifier: Apache-2.0
"""What a pod may ask for, asked with kubectl. Each test makes its pods together and then looks at what came of them."""

import os
import re
import time

from cluster import Failure, sh


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
