#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the kubelet says and does when what it stands on fails: monitor and runtime, disk, network plugin, image, clock. Each time the pod's
status or events name the reason, and all is well again once the cause is gone.

usage: kubelet_failures.py BUILD [TEST...]
"""
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import IMAGE, Failure, Rig, main, read, sh, wait_until  # noqa: E402

SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
/* The wall clock of one process, moved by as many seconds as a file says. */
int clock_gettime(clockid_t id, struct timespec *t) {
	static int (*real)(clockid_t, struct timespec *);
	if (!real)
		real = dlsym(RTLD_NEXT, "clock_gettime");
	int r = real(id, t);
	char path[4096];
	const char *file = getenv("CLOCK_OFFSET");
	if (id == CLOCK_REALTIME && file) {
		FILE *f = fopen(file, "re");
		long seconds = 0;
		if (f) {
			if (fscanf(f, "%ld", &seconds) != 1)
				seconds = 0;
			fclose(f);
		}
		t->tv_sec += seconds;
	}
	(void)path;
	return r;
}
"""


def write(path, text, mode=0o644):
    with open(path + ".new", "w") as f:
        f.write(text)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)


def flag(rig, name, there):
    path = f"{rig.dir}/{name}"
    if there:
        write(path, "")
    elif os.path.exists(path):
        os.unlink(path)


def last_message(pod):
    """All that the status of the first container says."""
    s = pod["status"]["containerStatuses"][0]
    parts = [s["state"].get("waiting", {}), s["state"].get("terminated", {}), s.get("lastState", {}).get("terminated", {})]
    return " | ".join(f"{p.get('reason', '')}: {p.get('message', '')}" for p in parts if p)


def event(rig, name, reason, text):
    return wait_until(60, f"an event {reason} with \"{text}\" about {name}", lambda: [e for e in rig.events(name) if e["reason"] == reason and text in e["message"]] or
                      print(end="") or (_ for _ in ()).throw(Failure(str([(e["reason"], e["message"]) for e in rig.events(name)]))))


def gone_clean(rig, *names):
    for name in names:
        rig.delete(name)
    rig.wait_gone(*names)
    rig.expect_clean()


def test_monitor_fails(rig):
    flag(rig, "fail-conmon", True)
    rig.create("m")
    pod = rig.wait_pod("m", "a reason", lambda p: "monitor" in last_message(p))
    if "RunContainerError" not in last_message(pod) and "StartError" not in last_message(pod):
        raise Failure(last_message(pod))
    flag(rig, "fail-conmon", False)
    rig.wait_phase("m", "Running")
    gone_clean(rig, "m")


def test_runtime_fails(rig):
    flag(rig, "fail-runc", True)
    rig.create("r")
    rig.create("never", restart="Never")
    rig.wait_pod("r", "runc's own words", lambda p: "the runtime is out of order" in last_message(p))
    rig.wait_phase("never", "Failed")
    flag(rig, "fail-runc", False)
    pod = rig.wait_pod("r", "Ready", lambda p: rig.condition("Ready", p)[0] == "True")
    if pod["status"]["containerStatuses"][0]["restartCount"] < 1:
        raise Failure("the failed start counts")
    gone_clean(rig, "r", "never")


def test_monitor_is_killed(rig):
    rig.create("k")
    rig.wait_phase("k", "Running")
    for pid in rig.inventory()["monitors"]:
        sh(["kill", "-9", str(pid)], check=False)
    pod = rig.wait_pod("k", "a restart", lambda p: p["status"]["containerStatuses"][0]["restartCount"] == 1 and p["status"]["containerStatuses"][0]["state"].get("running"))
    if "monitor was killed" not in last_message(pod):
        raise Failure(last_message(pod))
    gone_clean(rig, "k")


def test_full_disk(rig):
    rig.create("d0")
    rig.wait_phase("d0", "Running")
    filler = f"{rig.dir}/kubelet/filler"
    with open(filler, "wb") as f:
        try:
            while True:
                f.write(b"\0" * 65536)
                f.flush()
        except OSError:
            pass
    for i in range(40):  # inodes' and folders' last pages
        try:
            write(f"{filler}-{i}", "x" * 4096)
        except OSError:
            break
    rig.create("d1", container={"volumeMounts": [{"name": "c", "mountPath": "/c"}]}, volumes=[{"name": "c", "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}}])
    wait_until(60, "events that say so", lambda: [e for e in rig.events("d1") if "No space left" in e["message"] or "no space left" in e["message"]])
    if rig.pod("d1")["status"]["phase"] != "Pending" or rig.pod("d0")["status"]["phase"] != "Running":
        raise Failure("the new pod is Pending, the old one runs on")
    rig.delete("d0")
    rig.wait_gone("d0")
    for name in os.listdir(f"{rig.dir}/kubelet"):
        if name.startswith("filler"):
            os.unlink(f"{rig.dir}/kubelet/{name}")
    rig.wait_phase("d1", "Running")
    gone_clean(rig, "d1")


def test_network_plugin_hangs(rig):
    # A user's configuration, which comes while the node runs by its own; it has the same plugins, addresses and bridge.
    shutil.copy(f"{rig.dir}/cni/10-coracle.conflist", f"{rig.dir}/cni/20-user.conflist")
    flag(rig, "hang-cni", True)
    rig.create("n")
    rig.create("n2")
    event(rig, "n", "FailedCreatePodSandBox", "did not answer")
    rig.delete("n2")
    rig.wait_gone("n2")
    # Killed while a plugin hangs: the next one must neither wait for it nor leave what it made.
    rig.kill_kubelet()
    rig.up()
    flag(rig, "hang-cni", False)
    rig.wait_phase("n", "Running")
    os.unlink(f"{rig.dir}/cni/20-user.conflist")
    rig.create("own")
    rig.wait_phase("own", "Running")
    gone_clean(rig, "n", "own")


def test_image_vanishes(rig):
    rig.create("i")
    rig.wait_phase("i", "Running")
    records = f"{rig.dir}/images/images"
    os.rename(records, records + ".away")
    os.mkdir(records)
    for pid in rig.inventory()["processes"]:
        sh(["kill", "-9", str(pid)], check=False)
    try:
        pod = rig.wait_pod("i", "ErrImagePull", lambda p: rig.waiting(p)[0] in ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable"))
        rig.wait_pod("i", "ImagePullBackOff", lambda p: rig.waiting(p)[0] == "ImagePullBackOff")
    finally:
        os.rmdir(records)
        os.rename(records + ".away", records)
        os.utime(records)
    pod = rig.wait_pod("i", "a restart", lambda p: p["status"]["containerStatuses"][0]["state"].get("running"))
    if pod["status"]["containerStatuses"][0]["restartCount"] != 1:
        raise Failure("one restart")
    gone_clean(rig, "i")


def test_clock_jumps(rig):
    shim, offset = f"{rig.dir}/shim.so", f"{rig.dir}/offset"
    with open(f"{rig.dir}/shim.c", "w") as f:
        f.write(SHIM)
    sh(["gcc", "-shared", "-fPIC", "-O1", "-o", shim, f"{rig.dir}/shim.c", "-ldl"])
    write(offset, "0")
    rig.kill_kubelet(15)
    rig.up(env={"LD_PRELOAD": shim, "CLOCK_OFFSET": offset, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})
    rig.create("steady")
    rig.create("crash", container={"command": ["sh", "-c", "exit 1"]})
    rig.create("probed", container={"readinessProbe": {"exec": {"command": ["true"]}, "periodSeconds": 1}})
    before = rig.wait_phase("steady", "Running")["status"]["containerStatuses"]
    for seconds in ("-7200", "90000"):
        write(offset, seconds)
        count = rig.wait_pod("crash", "a first end", lambda p: p["status"].get("containerStatuses"))["status"]["containerStatuses"][0]["restartCount"]
        rig.wait_pod("crash", f"restarts with the clock at {seconds}", lambda p: p["status"]["containerStatuses"][0]["restartCount"] >= count + 2)
        rig.create(f"new{seconds}")
        rig.wait_phase(f"new{seconds}", "Running")
        renewed = rig.must("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-rig")["spec"]["renewTime"]
        wait_until(60, "the lease to be renewed", lambda: rig.must("GET", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-rig")["spec"]["renewTime"] != renewed)
    rig.wait_pod("probed", "Ready", lambda p: rig.condition("Ready", p)[0] == "True")
    if rig.pod("steady")["status"]["containerStatuses"] != before:
        raise Failure(f"the running pod is left alone: {before} became {rig.pod('steady')['status']['containerStatuses']}")
    rig.kill_kubelet(15)
    rig.up()
    gone_clean(rig, "steady", "crash", "probed", "new-7200", "new90000")


def test_strayed_cgroups(rig):
    """What a runtime that outlived its time makes, in one hierarchy or in all, goes; what a pod has stays."""
    rig.create("steady")
    uid = rig.wait_phase("steady", "Running")["metadata"]["uid"]
    tops = [base for base, dirs, _ in os.walk("/sys/fs/cgroup") if base.endswith(f"/{rig.id}/kubepods")]
    stray = [f"{tops[0]}/besteffort/pod11111111-2222-4333-8444-555555555555/of-nobody", f"{tops[-1]}/pod11111111-2222-4333-8444-666666666666"]
    for path in stray:
        os.makedirs(path)
    wait_until(30, "strayed cgroups to go", lambda: not any(os.path.exists(path) for path in stray))
    if not all(os.path.isdir(f"{top}/besteffort/pod{uid}") for top in tops):
        raise Failure("the running pod lost a cgroup")
    gone_clean(rig, "steady")


def prepare(rig):
    os.makedirs(f"{rig.dir}/kubelet")
    sh(["mount", "-t", "tmpfs", "-o", "size=24m", "root-of-kubelet", f"{rig.dir}/kubelet"])
    rig.own_mounts.append(f"{rig.dir}/kubelet")
    for name, fail in (("conmon", "exit 1"), ("runc", "case \"$*\" in *--version*) ;; *) echo 'the runtime is out of order' >&2; exit 1;; esac")):
        path = sh(["which", name]).stdout.strip()
        write(f"{rig.dir}/{name}", f"#!/bin/sh\nif [ -e {rig.dir}/fail-{name} ]; then {fail}; fi\nexec {path} \"$@\"\n", 0o755)
        rig.flags[name] = f"{rig.dir}/{name}"
    # The first plugin of the chain hangs while a file is there, whatever it is asked; its child holds on, too.
    os.makedirs(f"{rig.dir}/plugins")
    folder = next(d for d in ("/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni") if os.path.exists(f"{d}/bridge"))
    for plugin in os.listdir(folder):
        os.symlink(f"{folder}/{plugin}", f"{rig.dir}/plugins/{plugin}")
    real = os.readlink(f"{rig.dir}/plugins/bridge")
    os.unlink(f"{rig.dir}/plugins/bridge")
    write(f"{rig.dir}/plugins/bridge", f"#!/bin/sh\nif [ -e {rig.dir}/hang-cni ] && [ \"$CNI_COMMAND\" = ADD ]; then sleep 1000; fi\nexec {real}\n", 0o755)
    rig.flags.update({"cni-bin-dir": f"{rig.dir}/plugins", "runtime-request-timeout": "4s", "max-container-restart-period": "2s", "node-lease-duration-seconds": "8"})
    rig.up()


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")], Rig(sys.argv[1] if len(sys.argv) > 1 else "build/gcc"), prepare, sys.argv[2:]))
