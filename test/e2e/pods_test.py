# SPDX-License-Identifier: Apache-2.0
"""What a pod may ask for, asked with kubectl. Each test makes its pods together and then looks at what came of them."""

import json
import os

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
  nodeSelector: {kubernetes.io/hostname: %s}
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
    c.apply(RESIZED % ("grows", c.node, "100m", "200m"))
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
    c.apply(RESIZED % ("blocks", c.node, f"{cores * 1000 - 800}m", f"{cores * 1000 - 800}m"))
    ready(c, "blocks")
    expect(resize(c, "grows", {"cpu": "900m"}, {"cpu": "900m"}).returncode == 0, "a resize that must wait")
    c.wait(10, "Deferred", lambda: conditions(c, "grows").get("PodResizePending", {}).get("reason") == "Deferred")
    expect(statuses(c, "grows")["main"]["allocatedResources"]["cpu"] == "150m" and cgroup_values(c, "grows") == (300, 128), "nothing changed yet")
    gone(c, "blocks")
    c.wait(20, "what was deferred", lambda: cgroup_values(c, "grows") == (900, 128))
    c.wait(10, "no condition of it left", lambda: not {"PodResizePending", "PodResizeInProgress"} & set(conditions(c, "grows")))
    r = resize(c, "grows", {"cpu": "1000"}, {"cpu": "1000"})
    expect(r.returncode != 0 and "node didn't have enough allocatable resources: cpu, requested: 1000000" in r.stderr, f"more than the node has is refused: {r.stderr}")
    seen = {e["reason"] for e in c.get("events", "--field-selector", "involvedObject.name=grows")["items"]}
    expect({"ResizeStarted", "ResizeCompleted", "ResizeDeferred"} <= seen, f"events: {seen}")
    gone(c, "grows")


def test_restarts_by_rule(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: by-rule}
spec:
  restartPolicy: Never
  volumes: [{name: d, emptyDir: {}}]
  containers:
  - name: policy
    image: busybox:v1
    restartPolicy: OnFailure
    command: [sh, -c, "test -f /d/a && exit 0; touch /d/a; exit 1"]
    volumeMounts: [{name: d, mountPath: /d}]
  - name: rule
    image: busybox:v1
    restartPolicy: Never
    restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
    command: [sh, -c, "test -f /d/b && exit 3; touch /d/b; exit 42"]
    volumeMounts: [{name: d, mountPath: /d}]
---
apiVersion: v1
kind: Pod
metadata: {name: all-anew}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  volumes: [{name: d, emptyDir: {}}]
  initContainers:
  - {name: init, image: "busybox:v1", command: [sh, -c, "echo init >>/d/log"], volumeMounts: [{name: d, mountPath: /d}]}
  - {name: side, image: "busybox:v1", restartPolicy: Always, command: [sh, -c, "echo side >>/d/log; sleep 1000"], volumeMounts: [{name: d, mountPath: /d}]}
  containers:
  - name: trigger
    image: busybox:v1
    restartPolicy: Never
    restartPolicyRules: [{action: RestartAllContainers, exitCodes: {operator: In, values: [88]}}]
    command: [sh, -c, "while ! grep -q side /d/log; do sleep 0.1; done; echo main >>/d/log; test -f /d/c && sleep 1000; touch /d/c; sleep 0.5; exit 88"]
    volumeMounts: [{name: d, mountPath: /d}]
  - {name: other, image: "busybox:v1", command: [sleep, "1000"]}
""")
    c.wait(20, "the policy and rule of a container", lambda: c.get("pod", "by-rule")["status"]["phase"] == "Failed")
    have = {n: (s["restartCount"], s["state"]["terminated"]["exitCode"]) for n, s in statuses(c, "by-rule").items()}
    expect(have == {"policy": (1, 0), "rule": (1, 3)}, f"restarted once each: {have}")
    c.wait(20, "every container to start anew", lambda: {s["restartCount"] for s in [*statuses(c, "all-anew").values(), *statuses(c, "all-anew", "initContainerStatuses").values()]} == {1})
    ready(c, "all-anew")
    expect(run_in(c, "all-anew", "cat /d/log", "trigger").split() == ["init", "side", "main"] * 2, "in order, init containers first")
    expect(statuses(c, "all-anew")["trigger"]["lastState"]["terminated"]["exitCode"] == 88, "what happened before is told")
    c.wait(5, "the condition to pass", lambda: conditions(c, "all-anew")["AllContainersRestarting"]["status"] == "False")
    gone(c, "by-rule", "all-anew")


def test_runtime_classes(c):
    c.apply("""
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: here}
handler: runc
---
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: elsewhere}
handler: vessel
---
apiVersion: v1
kind: Pod
metadata: {name: classed}
spec: {runtimeClassName: here, terminationGracePeriodSeconds: 0, containers: [{name: main, image: "busybox:v1", command: [sleep, "1000"]}]}
---
apiVersion: v1
kind: Pod
metadata: {name: misclassed}
spec: {runtimeClassName: elsewhere, terminationGracePeriodSeconds: 0, containers: [{name: main, image: "busybox:v1", command: [sleep, "1000"]}]}
""")
    ready(c, "classed")
    c.wait(15, "its reason", lambda: any(e["reason"] == "FailedCreatePodSandBox" and "vessel" in e["message"] for e in c.get("events", "--field-selector", "involvedObject.name=misclassed")["items"]))
    expect(statuses(c, "misclassed")["main"]["state"]["waiting"]["reason"] == "ContainerCreating", "it does not run")
    gone(c, "classed", "misclassed")


def test_mounts_show_where_they_are_asked_to(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: mounts}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - {name: maker, image: "busybox:v1", command: [sleep, "1000"], securityContext: {privileged: true}, volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]}
  - {name: sees, image: "busybox:v1", command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v, mountPropagation: HostToContainer}]}
  - {name: blind, image: "busybox:v1", command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v}]}
---
apiVersion: v1
kind: Pod
metadata: {name: alone}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, hostPath: {path: /proc/sys, type: Directory}}]
  containers: [{name: main, image: "busybox:v1", command: [sleep, "1000"], securityContext: {privileged: true}, volumeMounts: [{name: v, mountPath: /v, mountPropagation: Bidirectional}]}]
""")
    ready(c, "mounts")
    run_in(c, "mounts", "mkdir /v/sub && mount -t tmpfs none /v/sub && touch /v/sub/inside", "maker")
    for container, sees in (("maker", True), ("sees", True), ("blind", False)):
        expect((run_in(c, "mounts", "ls /v/sub", container).strip() == "inside") == sees, f"{container} sees the new mount: {sees}")
    # A container that starts later has it too; read only all the way down where that is asked for.
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: readers}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: v, hostPath: {path: "%s", type: Directory}}]
  containers:
  - {name: deep, image: "busybox:v1", command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v, readOnly: true, recursiveReadOnly: Enabled}]}
  - {name: flat, image: "busybox:v1", command: [sleep, "1000"], volumeMounts: [{name: v, mountPath: /v, readOnly: true}]}
""" % f"{c.dir}/var/kubelet/pods/{c.get('pod', 'mounts')['metadata']['uid']}/volumes/kubernetes.io~empty-dir/v")
    ready(c, "readers")
    for container, writes in (("deep", False), ("flat", True)):
        run_in(c, "readers", "! touch /v/top 2>/dev/null", container)
        expect(("yes" in run_in(c, "readers", "touch /v/sub/below 2>/dev/null && echo yes", container, check=False)) == writes, f"{container} writes below: {writes}")
    expect(statuses(c, "readers")["deep"]["volumeMounts"][0]["recursiveReadOnly"] == "Enabled", "as its status says")
    shared = any(line.split()[4] == "/proc" and " shared:" in line for line in open("/proc/self/mountinfo"))
    if not shared:
        why = c.wait(15, "a reason", lambda: statuses(c, "alone")["main"]["state"]["waiting"])
        expect(why["reason"] == "CreateContainerError" and "not a shared mount" in why["message"], f"{why}")
    gone(c, "mounts", "readers", "alone")


def test_identity_and_volumes(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: known}
spec:
  terminationGracePeriodSeconds: 0
  hostname: myhost
  subdomain: sub
  setHostnameAsFQDN: true
  hostAliases: [{ip: 192.0.2.77, hostnames: [foo, bar]}]
  securityContext:
    fsGroup: 2000
    runAsUser: 1000
    runAsGroup: 3000
    supplementalGroups: [4000]
    supplementalGroupsPolicy: Strict
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
    sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: "80"}]
  volumes:
  - {name: disk, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 1Mi}}
  - {name: image, image: {reference: "busybox:v2"}}
  containers:
  - name: main
    image: busybox:v1
    env: [{name: PART, value: expanded}]
    command: [sleep, "1000"]
    volumeMounts:
    - {name: disk, mountPath: /disk}
    - {name: memory, mountPath: /memory}
    - {name: image, mountPath: /image}
    - {name: disk, mountPath: /part, subPathExpr: "a/$(PART)"}
""")
    ready(c, "known")
    for script, want in (
            ("id -u; id -g; id -G", "1000 3000 3000 2000 4000"), ("hostname", "myhost.sub.default.svc.cluster.local"),
            ("tail -n 1 /etc/hosts", "192.0.2.77 foo bar"), ("touch /disk/x && stat -c %g /disk/x; stat -c %A /disk", "2000 drwxrwsrwx"),
            ("cat /image/etc/image-label; touch /image/x 2>/dev/null || echo refused", "v2 refused"), ("touch /part/y; ls /disk/a/expanded", "y"),
            ("cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "80"), ("sed -n 's/^Seccomp:.//p' /proc/self/status", "2"),
            ("stat -c %A /memory", "drwxrwsrwt"),
            ("dd if=/dev/zero of=/memory/big bs=1k count=2000 2>/dev/null; stat -c %s /memory/big", str(1 << 20))):
        out = run_in(c, "known", script).split()
        expect(sorted(out) == sorted(want.split()), f"{script}: {out}")
    user = statuses(c, "known")["main"]["user"]["linux"]
    expect((user["uid"], user["gid"], sorted(user["supplementalGroups"])) == (1000, 3000, [2000, 3000, 4000]), f"the status tells who it is: {user}")
    gone(c, "known")


def test_sidecars_start_in_order_and_end_last(c):
    logs = f"{c.dir}/sidecars"
    os.makedirs(logs)
    os.chmod(logs, 0o777)
    say = "trap 'echo {0} ends >>/d/log; exit 0' {1}; while :; do sleep 0.1; done"
    c.apply(f"""
apiVersion: v1
kind: Pod
metadata: {{name: convoy}}
spec:
  terminationGracePeriodSeconds: 20
  volumes: [{{name: d, hostPath: {{path: "{logs}"}}}}]
  initContainers:
  - name: first
    image: busybox:v1
    restartPolicy: Always
    command: [sh, -c, "echo first starts >>/d/log; (sleep 1; touch /d/up) & {say.format('first', 'TERM')}"]
    startupProbe: {{exec: {{command: [test, -f, /d/up]}}, periodSeconds: 1}}
    volumeMounts: [{{name: d, mountPath: /d}}]
  - {{name: between, image: "busybox:v1", command: [sh, -c, "test -f /d/up && echo between >>/d/log"], volumeMounts: [{{name: d, mountPath: /d}}]}}
  - name: second
    image: busybox:v1
    restartPolicy: Always
    command: [sh, -c, "echo second starts >>/d/log; {say.format('second', 'TERM')}"]
    volumeMounts: [{{name: d, mountPath: /d}}]
  containers:
  - name: main
    image: busybox:v1
    command: [sh, -c, "while ! grep -q second /d/log; do sleep 0.1; done; echo main starts >>/d/log; trap 'sleep 1; echo main ends >>/d/log; exit 0' USR1; while :; do sleep 0.1; done"]
    lifecycle:
      stopSignal: SIGUSR1
      postStart: {{exec: {{command: [sh, -c, "touch /d/hooked"]}}}}
      preStop: {{sleep: {{seconds: 1}}}}
    volumeMounts: [{{name: d, mountPath: /d}}]
  os: {{name: linux}}
""")
    ready(c, "convoy")
    c.wait(10, "its processes", lambda: "main starts" in open(f"{logs}/log").read())
    c.kubectl("delete", "pod", "convoy", "--timeout=30s")
    lines = open(f"{logs}/log").read().splitlines()
    expect(lines == ["first starts", "between", "second starts", "main starts", "main ends", "second ends", "first ends"], f"{lines}")
    expect(os.path.exists(f"{logs}/hooked"), "postStart ran")


def test_static_pods(c):
    manifest = f"{c.dir}/etc/manifests/fixed.yaml"
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: fixed}\nspec: {terminationGracePeriodSeconds: 0, containers: [{name: main, image: 'busybox:v1', command: [sh, -c, 'echo %s; sleep 1000']}]}\n"
    name = f"fixed-{c.node}"

    def says(word):
        return c.kubectl("logs", name, check=False).stdout.strip() == word

    with open(manifest, "w") as f:
        f.write(text % "one")
    c.wait(20, "its mirror to be ready", lambda: conditions(c, name)["Ready"]["status"] == "True" and says("one"))
    mirror = c.get("pod", name)["metadata"]
    expect(mirror["annotations"]["kubernetes.io/config.source"] == "file" and mirror["ownerReferences"][0]["kind"] == "Node", f"a mirror: {mirror}")
    # Deleting the mirror ends nothing: it comes back over the same container.
    container = statuses(c, name)["main"]["containerID"]
    c.kubectl("delete", "pod", name, "--timeout=20s")
    c.wait(20, "the mirror to come back", lambda: c.get("pod", name)["metadata"]["uid"] != mirror["uid"] and statuses(c, name)["main"]["containerID"] == container)
    with open(manifest + ".new", "w") as f:
        f.write(text % "two")
    os.rename(manifest + ".new", manifest)
    c.wait(20, "the change", lambda: says("two"))
    # Taken away and put back while it still ends: the same pod by its uid, which must not be lost.
    container = statuses(c, name)["main"]["containerID"]
    os.rename(manifest, f"{c.dir}/aside.yaml")
    c.wait(20, "its mirror to go", lambda: c.kubectl("get", "pod", name, check=False).returncode != 0)
    os.rename(f"{c.dir}/aside.yaml", manifest)
    c.wait(20, "it to come back", lambda: conditions(c, name)["Ready"]["status"] == "True" and says("two") and statuses(c, name)["main"]["containerID"] != container)
    os.unlink(manifest)
    c.wait(20, "its end", lambda: c.kubectl("get", "pod", name, check=False).returncode != 0)


def test_environment_from_a_file(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: env-file}
spec:
  restartPolicy: Never
  volumes: [{name: d, emptyDir: {}}]
  initContainers:
  - {name: write, image: "busybox:v1", command: [sh, -c, "echo \\"KEY='from the file'\\" >/d/env"], volumeMounts: [{name: d, mountPath: /d}]}
  containers:
  - name: main
    image: busybox:v1
    command: [sh, -c, 'echo "$KEY/$NONE"']
    env:
    - {name: KEY, valueFrom: {fileKeyRef: {volumeName: d, path: env, key: KEY}}}
    - {name: NONE, valueFrom: {fileKeyRef: {volumeName: d, path: env, key: NONE, optional: true}}}
""")
    c.wait(20, "its end", lambda: c.get("pod", "env-file")["status"]["phase"] == "Succeeded")
    out = c.kubectl("logs", "env-file", "-c", "main").stdout
    expect(out == "from the file/\n", out)
    gone(c, "env-file")


def test_negative_grace_is_the_shortest(c):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hasty"}, "spec": {"terminationGracePeriodSeconds": -1, "containers": [{"name": "main", "image": "busybox:v1", "command": ["sleep", "1000"]}]}}
    c.apply(json.dumps(pod))
    expect(c.get("pod", "hasty")["spec"]["terminationGracePeriodSeconds"] == 1, "one second")
    ready(c, "hasty")
    c.kubectl("patch", "pod", "hasty", "-p", '{"spec":{"terminationGracePeriodSeconds":-1}}')
    c.kubectl("delete", "pod", "hasty", "--timeout=20s")


def test_kernel_parameters_that_are_not_safe(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: meddles}
spec:
  nodeName: %s
  securityContext: {sysctls: [{name: kernel.msgmax, value: "65536"}]}
  containers: [{name: main, image: "busybox:v1", command: [sleep, "1000"]}]
""" % c.node)
    status = c.wait(15, "its rejection", lambda: (s := c.get("pod", "meddles")["status"])["phase"] == "Failed" and s)
    expect(status["reason"] == "SysctlForbidden" and '"kernel.msgmax" not allowlisted' in status["message"], f"{status}")
    gone(c, "meddles")


def test_readiness_gates(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: gated}
spec:
  terminationGracePeriodSeconds: 0
  readinessGates: [{conditionType: "example.com/gate"}]
  resources: {limits: {memory: 64Mi, cpu: 500m}}
  containers:
  - name: main
    image: busybox:v1
    command: [sh, -c, "echo $MEMORY $CPU; sleep 1000"]
    env:
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
""")
    c.wait(15, "its containers", lambda: conditions(c, "gated")["ContainersReady"]["status"] == "True")
    expect(conditions(c, "gated")["Ready"]["reason"] == "ReadinessGatesNotReady", "not ready without the gate")
    for status in ("True", "False"):
        c.kubectl("patch", "pod", "gated", "--subresource=status", "-p", json.dumps({"status": {"conditions": [{"type": "example.com/gate", "status": status}]}}))
        c.wait(10, f"Ready to be {status}", lambda: conditions(c, "gated")["Ready"]["status"] == status)
    expect(c.kubectl("logs", "gated").stdout.split() == [str(64 << 20), "500"], "a container without limits is told the pod's")
    gone(c, "gated")


def test_volumes_that_fail_are_told_and_outlived(c):
    c.kubectl("create", "configmap", "passing", "--from-literal=a=1")
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: outlives}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: files, configMap: {name: passing}}]
  containers:
  - name: main
    image: busybox:v1
    command: [sh, -c, "until [ -e /tmp/go ]; do sleep 0.1; done; exit 3"]
    volumeMounts: [{name: files, mountPath: /files}]
---
apiVersion: v1
kind: Pod
metadata: {name: waits}
spec:
  terminationGracePeriodSeconds: 0
  volumes: [{name: one, configMap: {name: nothing}}, {name: two, secret: {secretName: nothing}}, {name: three, emptyDir: {}}]
  containers: [{name: main, image: "busybox:v1", command: [sleep, "1000"]}]
""")
    ready(c, "outlives")

    def told(pod, text):
        return [e for e in c.get("events", "--field-selector", f"involvedObject.name={pod},reason=FailedMount")["items"] if text in e["message"]]

    # Each volume that fails, and again while it does.
    for text in ('MountVolume.SetUp failed for volume "one" : configmap "nothing" not found', 'MountVolume.SetUp failed for volume "two" : secret "nothing" not found'):
        c.wait(30, f"{text}, more than once", lambda t=text: sum(e["count"] for e in told("waits", t)) > 1)
    c.kubectl("delete", "configmap", "passing")
    c.wait(30, "its loss is told", lambda: told("outlives", 'configmap "passing" not found'))
    run_in(c, "outlives", "touch /tmp/go")
    c.wait(30, "it runs again without", lambda: statuses(c, "outlives")["main"]["restartCount"] == 1 and statuses(c, "outlives")["main"]["ready"])
    expect(run_in(c, "outlives", "cat /files/a; touch /files/b 2>/dev/null || echo refused") == "1refused\n", "with the files it had, which it cannot write to")
    gone(c, "outlives", "waits")
