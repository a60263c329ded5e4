# SPDX-License-Identifier: Apache-2.0
"""A real one-node cluster for a test run: own folders, own network namespace, own cgroup subtree, beside whatever else runs here."""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Failure(AssertionError):
    pass


def sh(command, check=True, timeout=120, **kwargs):
    result = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, timeout=timeout, **kwargs)
    if check and result.returncode != 0:
        raise Failure(f"{command}: exit {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result


class Cluster:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.id = f"ce{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="coracle-e2e-")
        self.node = "node-e2e"
        self.node_ip = "192.0.2.10"
        self.netns = self.id
        self.env = dict(os.environ, ETC=f"{self.dir}/etc", VAR=f"{self.dir}/var", LOG=f"{self.dir}/log", RUN=f"{self.dir}/run", BIN=f"{self.build}/bin",
                        NETNS=self.netns, NODE_NAME=self.node, NODE_IP=self.node_ip, CGROUP_ROOT=f"/{self.id}", BRIDGE="ce0", SUPERVISOR="own")
        self.kubeconfig = f"{self.dir}/etc/admin.kubeconfig"

    # An interface that leads nowhere, with a default route stands for the machine's network: nothing leaves the namespace.
    def make_netns(self):
        n = self.netns
        sh(f"ip netns add {n} && ip -n {n} link set lo up && ip -n {n} link add up0 type veth peer name up1 && ip -n {n} addr add {self.node_ip}/24 dev up0 && "
           f"ip -n {n} link set up0 up && ip -n {n} link set up1 up && ip -n {n} route add default via 192.0.2.1 dev up0")

    def up(self):
        self.make_netns()
        self.images = {}
        os.makedirs(f"{self.dir}/var", exist_ok=True)
        result = subprocess.run([f"{TOP}/deploy/cluster.sh", "up"], env=self.env, capture_output=True, text=True, timeout=240)
        if result.returncode != 0:
            raise Failure(f"cluster did not come up:\n{result.stdout}\n{result.stderr}\n{self.tails()}")
        for tag in ("v1", "v2"):
            self.load_image(f"docker.io/library/busybox:{tag}", tag)
        return result.stdout

    def load_image(self, name, label):
        tar = f"{self.dir}/{label}.tar"
        sh([f"{TOP}/deploy/busybox-image.sh", tar, name, label])
        sh([f"{self.build}/bin/coracle", "image", "load", "--root", f"{self.dir}/var/images", tar])

    def down(self, keep=False):
        subprocess.run([f"{TOP}/deploy/cluster.sh", "down"], env=dict(self.env, PURGE="0"), capture_output=True, text=True, timeout=120)
        left = self.leftovers()
        sh(f"ip netns del {self.netns}", check=False)
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        return left

    def leftovers(self):
        """What of this cluster is still there: mounts, processes, cgroups."""
        with open("/proc/self/mountinfo") as f:
            mounts = [line.split()[4] for line in f if f" {self.dir}/" in line]
        processes = [p for p in sh(["ip", "netns", "pids", self.netns], check=False).stdout.split()]
        cgroups = [d for base, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if self.id in base + "/" + d and "kubepods" in base + "/" + d]
        return {"mounts": mounts, "processes": processes, "cgroups": cgroups}

    def tails(self, lines=15):
        out = []
        log = f"{self.dir}/log"
        for name in sorted(os.listdir(log)) if os.path.isdir(log) else []:
            path = f"{log}/{name}"
            if os.path.isfile(path):
                out.append(f"--- {name}\n" + "".join(open(path, errors="replace").readlines()[-lines:]))
        return "\n".join(out)

    def admin_file(self, what):
        """The administrator's certificate or key as a file, for programs that take no kubeconfig."""
        user = json.loads(self.kubectl("config", "view", "--raw", "-o", "json").stdout)["users"][0]["user"]
        field = {"cert": "client-certificate-data", "key": "client-key-data"}[what]
        path = f"{self.dir}/admin.{what}"
        with open(path, "wb") as f:
            f.write(base64.b64decode(user[field]))
        return path

    # ---- inside ----

    def inside(self, command, **kwargs):
        """Runs a command in the cluster's network namespace."""
        words = ["sh", "-c", command] if isinstance(command, str) else list(command)
        return sh(["nsenter", f"--net=/run/netns/{self.netns}"] + words, **kwargs)

    def kubectl(self, *args, check=True, stdin=None, timeout=120):
        env = dict(os.environ, KUBECONFIG=self.kubeconfig, HOME=self.dir)
        return sh(["nsenter", f"--net=/run/netns/{self.netns}", "kubectl", *args], check=check, input=stdin, timeout=timeout, env=env)

    def popen_kubectl(self, *args, **kwargs):
        env = dict(os.environ, KUBECONFIG=self.kubeconfig, HOME=self.dir)
        return subprocess.Popen(["nsenter", f"--net=/run/netns/{self.netns}", "kubectl", *args], env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                **kwargs)

    def get(self, *args):
        return json.loads(self.kubectl("get", *args, "-o", "json").stdout)

    def apply(self, text, *args):
        return self.kubectl("apply", "-f", "-", *args, stdin=text)

    def wait(self, seconds, what, condition):
        """Waits until condition() is true; its last value or exception tells what was seen instead."""
        end = time.monotonic() + seconds
        seen = None
        while time.monotonic() < end:
            try:
                seen = condition()
                if seen:
                    return seen
            except (Failure, KeyError, ValueError, IndexError) as e:
                seen = e
            time.sleep(0.2)
        raise Failure(f"{what}: not within {seconds} s; last seen: {seen}")

    def pid_of(self, daemon):
        """The process of one daemon, by the supervisor's children."""
        with open(f"{self.dir}/run/supervise.pid") as f:
            parent = f.read().strip()
        for line in sh(["ps", "-o", "pid=,args=", "--ppid", parent]).stdout.splitlines():
            pid, _, args = line.strip().partition(" ")
            if args.split()[0].endswith(daemon if daemon == "etcd" else f"coracle-{daemon}"):
                return int(pid)
        raise Failure(f"{daemon} does not run")
