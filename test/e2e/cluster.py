# SPDX-License-Identifier: Apache-2.0
"""A real cluster for a test run: own folders, own network namespaces, own cgroup subtrees, beside whatever else runs here."""

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


class Node:
    """One machine of the cluster: a network namespace with an interface up0, and the folders and daemons of one node."""

    def __init__(self, cluster, index):
        self.cluster = cluster
        self.name = cluster.node if index == 0 else f"node-{index + 1}"
        self.ip = f"192.0.2.{10 + index}"
        self.netns = cluster.id if index == 0 else f"{cluster.id}n{index + 1}"
        self.dir = cluster.dir if index == 0 else f"{cluster.dir}/{self.name}"
        self.cgroup = f"/{cluster.id}" if index == 0 else f"/{cluster.id}n{index + 1}"
        self.env = dict(os.environ, ETC=f"{self.dir}/etc", VAR=f"{self.dir}/var", LOG=f"{self.dir}/log", RUN=f"{self.dir}/run", BIN=f"{cluster.build}/bin",
                        NETNS=self.netns, NODE_NAME=self.name, NODE_IP=self.ip, CGROUP_ROOT=self.cgroup, BRIDGE="ce0", SUPERVISOR="own", FEATURE_GATES="ContainerStopSignals=true,MaxUnavailableStatefulSet=true")
        if index > 0:
            self.env["SERVER"] = cluster.server

    # An interface that leads nowhere, with a default route stands for the machine's network: nothing leaves the namespace.
    def make_netns(self):
        n = self.netns
        sh(f"ip netns add {n} && ip -n {n} link set lo up && ip -n {n} link add up0 type veth peer name up1 && ip -n {n} addr add {self.ip}/24 dev up0 && "
           f"ip -n {n} link set up0 up && ip -n {n} link set up1 up && ip -n {n} route add default via 192.0.2.1 dev up0")

    def plug_in(self, switch, port):
        """Moves the far end of up0 to the bridge that joins the nodes."""
        sh(f"ip -n {self.netns} link set up1 netns {switch} name {port} && ip -n {switch} link set {port} master sw0 up")

    def write_certs(self):
        shutil.copytree(f"{self.cluster.dir}/etc/pki", f"{self.dir}/etc/pki")
        sh([f"{self.cluster.build}/bin/coracle", "certs", "init", "--dir", f"{self.dir}/etc/pki", "--kubeconfig-dir", f"{self.dir}/etc", "--server",
            self.cluster.server, "--node", self.name, "--node-ip", self.ip])

    def up(self):
        os.makedirs(f"{self.dir}/var", exist_ok=True)
        result = subprocess.run([f"{TOP}/deploy/cluster.sh", "up"], env=self.env, capture_output=True, text=True, timeout=240)
        if result.returncode != 0:
            raise Failure(f"node {self.name} did not come up:\n{result.stdout}\n{result.stderr}\n{self.tails()}")
        return result.stdout

    def load_image(self, tar):
        sh([f"{self.cluster.build}/bin/coracle", "image", "load", "--root", f"{self.dir}/var/images", tar])

    def down(self):
        subprocess.run([f"{TOP}/deploy/cluster.sh", "down"], env=dict(self.env, PURGE="0"), capture_output=True, text=True, timeout=120)

    def remove_cgroup(self):
        """The root that only this node's pods had; what still holds something stays, for leftovers() to tell."""
        sh(f"find /sys/fs/cgroup -depth -type d \\( -path '*{self.cgroup}' -o -path '*{self.cgroup}/*' \\) -exec rmdir {{}} +", check=False)

    def tails(self, lines=15):
        out = []
        log = f"{self.dir}/log"
        for name in sorted(os.listdir(log)) if os.path.isdir(log) else []:
            path = f"{log}/{name}"
            if os.path.isfile(path):
                out.append(f"--- {self.name}: {name}\n" + "".join(open(path, errors="replace").readlines()[-lines:]))
        return "\n".join(out)


class Cluster:
    def __init__(self, build):
        self.build = os.path.abspath(build)
        self.id = f"ce{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="coracle-e2e-")
        os.chmod(self.dir, 0o711)  # the root of a user namespace must come through
        self.node = "node-e2e"
        self.node_ip = "192.0.2.10"
        self.server = f"https://{self.node_ip}:6443"
        self.nodes = [Node(self, 0)]
        self.netns = self.nodes[0].netns
        self.env = self.nodes[0].env
        self.kubeconfig = f"{self.dir}/etc/admin.kubeconfig"
        self.switch = None
        self.tars = []

    def up(self):
        self.nodes[0].make_netns()
        out = self.nodes[0].up()
        for tag in ("v1", "v2"):
            self.load_image(f"docker.io/library/busybox:{tag}", tag)
        return out

    def add_node(self):
        """One more node, joined to the others by a bridge in a namespace of its own; with the same images. Gives it once it is Ready."""
        node = Node(self, len(self.nodes))
        if not self.switch:
            self.switch = f"{self.id}sw"
            sh(f"ip netns add {self.switch} && ip -n {self.switch} link set lo up && ip -n {self.switch} link add sw0 type bridge && "
               f"ip -n {self.switch} addr add 192.0.2.1/24 dev sw0 && ip -n {self.switch} link set sw0 up")
            self.nodes[0].plug_in(self.switch, "port0")
        node.make_netns()
        node.plug_in(self.switch, f"port{len(self.nodes)}")
        self.nodes.append(node)
        node.write_certs()
        node.up()
        for tar in self.tars:
            node.load_image(tar)
        return node

    def remove_node(self):
        """Stops the node that was added last, and takes it from the cluster."""
        node = self.nodes.pop()
        node.down()
        self.kubectl("delete", "node", node.name)
        left = self.leftovers([node])
        node.remove_cgroup()
        sh(f"ip netns del {node.netns}")
        shutil.rmtree(node.dir, ignore_errors=True)  # the next one may have its name
        if any(left.values()):
            raise Failure(f"node {node.name} left {left}")

    def load_image(self, name, label):
        tar = f"{self.dir}/{label}.tar"
        sh([f"{TOP}/deploy/busybox-image.sh", tar, name, label])
        self.load_tar(tar)

    def load_tar(self, tar):
        """Loads an image on every node, those to come too."""
        self.tars.append(tar)
        for node in self.nodes:
            node.load_image(tar)

    def down(self, keep=False):
        for node in reversed(self.nodes):
            node.down()
        left = self.leftovers()
        for node in self.nodes:
            node.remove_cgroup()
        for netns in [n.netns for n in self.nodes] + ([self.switch] if self.switch else []):
            sh(f"ip netns del {netns}", check=False)
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)
        return left

    def leftovers(self, nodes=None):
        """What of these nodes, or of the whole cluster, is still there: mounts, processes, cgroups."""
        whole, nodes = nodes is None, nodes or self.nodes
        with open("/proc/self/mountinfo") as f:
            mounts = [line.split()[4] for line in f if any(f" {d}/" in line for d in ([self.dir] if whole else [n.dir for n in nodes]))]
        processes = [p for n in nodes for p in sh(["ip", "netns", "pids", n.netns], check=False).stdout.split()]
        cgroups = [f"{base}/{d}" for base, dirs, _ in os.walk("/sys/fs/cgroup") for d in dirs if any(f"{n.cgroup}/" in f"{base}/{d}/" for n in nodes)]
        return {"mounts": mounts, "processes": processes, "cgroups": cgroups}

    def tails(self, lines=15):
        return "\n".join(n.tails(lines) for n in self.nodes)

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
        """The process of one daemon, as the supervisor says."""
        with open(f"{self.dir}/run/supervise.pid.daemons") as f:
            for line in f:
                name, _, pid = line.strip().partition(" ")
                if name == daemon:
                    return int(pid)
        raise Failure(f"{daemon} does not run")
