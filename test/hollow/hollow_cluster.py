#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A control plane with hollow nodes, in a folder and on ports of its own, for the length of one command:

    hollow_cluster.py BUILD [--nodes N] [--keep] [--hollow="FLAGS"] [--controllers="FLAGS"] -- COMMAND ...

runs COMMAND with KUBECONFIG set, and $CLUSTER the folder of logs and certificates. Benches import Cluster.
"""
import argparse
import os
import random
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time


def free_ports(count):
    """Ports that are all free, below the range from which the kernel gives connections theirs."""
    ports = []
    while len(ports) < count:
        with socket.socket() as s:
            port = random.randrange(12000, 30000)
            try:
                s.bind(("127.0.0.1", port))
                ports += [port] if port not in ports else []
            except OSError:
                pass
    return ports


class Cluster:
    """etcd, API server, controller-manager, scheduler and hollow nodes. Parts that are left out are not started."""

    def __init__(self, build, nodes=3, parts=("controller-manager", "scheduler", "hollow"), hollow=(), controllers=(), apiserver=()):
        self.build, self.nodes, self.parts = os.path.abspath(build), nodes, parts
        self.extra = {"hollow": list(hollow), "controller-manager": list(controllers), "apiserver": list(apiserver)}
        self.dir = tempfile.mkdtemp(prefix="coracle-hollow-")
        self.processes = {}
        self.ports = dict(zip(("etcd", "peer", "apiserver", "controller-manager", "scheduler"), free_ports(5)))
        self.kubeconfig = f"{self.dir}/admin.kubeconfig"
        self.url = f"https://127.0.0.1:{self.ports['apiserver']}"
        self.token = "hollowtoken"

    def bin(self, name):
        return f"{self.build}/test/hollow/coracle-hollow" if name == "hollow" else f"{self.build}/bin/coracle-{name}"

    def start(self, name, *command):
        with open(f"{self.dir}/{name}.log", "a") as log:
            self.processes[name] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        return self.processes[name]

    def wait(self, what, seconds, condition):
        end = time.monotonic() + seconds
        while not condition():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise SystemExit(f"{name} ended with {process.returncode}: " + open(f"{self.dir}/{name}.log").read()[-2000:])
            if time.monotonic() > end:
                raise SystemExit(f"gave up waiting for {what}, see {self.dir}")
            time.sleep(0.01)

    def answers(self, path, text=""):
        r = subprocess.run(["curl", "-sk", "-m", "5", "-H", f"Authorization: Bearer {self.token}", self.url + path], capture_output=True, text=True)
        return r.returncode == 0 and text in r.stdout

    def up(self):
        # Whoever is told to stop takes all its parts along.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        d, pki, p = self.dir, f"{self.dir}/pki", self.ports
        etcd, peer = f"http://127.0.0.1:{p['etcd']}", f"http://127.0.0.1:{p['peer']}"
        self.start("etcd", "etcd", "--data-dir", f"{d}/etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                   "--initial-cluster", f"default={peer}", "--log-outputs", "stderr", "--logger", "zap", "--quota-backend-bytes", "8589934592", "--unsafe-no-fsync" if self.no_fsync() else "--pre-vote=false")
        subprocess.run([f"{self.build}/bin/coracle", "certs", "init", "--dir", pki, "--kubeconfig-dir", d, "--server", self.url, "--node", "hollow", "--node-ip", "127.0.0.1", "--service-ip", "10.96.0.1",
                        "--cluster-domain", "cluster.local", "--san", "127.0.0.1"], check=True, stdout=subprocess.DEVNULL)
        with open(f"{d}/tokens.csv", "w") as f:
            f.write(f"{self.token},admin,1,system:masters\n")
        self.apiserver_command = [
            self.bin("apiserver"), "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", str(p["apiserver"]), "--advertise-address", "127.0.0.1",
            "--tls-cert-file", f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key", "--client-ca-file", f"{pki}/ca.crt", "--token-auth-file", f"{d}/tokens.csv",
            "--service-account-issuer", "https://kubernetes.default.svc.cluster.local", "--service-account-key-file", f"{pki}/sa.pub", "--service-account-signing-key-file", f"{pki}/sa.key",
            "--service-cluster-ip-range", "10.96.0.0/16", "--authorization-mode", "Node,RBAC", *self.extra["apiserver"]]
        self.start("apiserver", *self.apiserver_command)
        self.wait("the API server", 120, lambda: self.answers("/readyz", "ok"))
        if "controller-manager" in self.parts:
            self.start_controller_manager()
        if "scheduler" in self.parts:
            self.start("scheduler", self.bin("scheduler"), "--kubeconfig", f"{d}/scheduler.kubeconfig", "--bind-address", "127.0.0.1", "--secure-port", str(p["scheduler"]))
        if "hollow" in self.parts:
            self.start("hollow", self.bin("hollow"), "--kubeconfig", self.kubeconfig, "--nodes", str(self.nodes), *self.extra["hollow"])
            self.wait("the nodes", 120, lambda: "registered" in open(f"{d}/hollow.log").read())
        if "controller-manager" in self.parts:
            self.wait("the service account", 120, lambda: self.answers("/api/v1/namespaces/default/serviceaccounts/default", '"default"'))
        return self

    @staticmethod
    def no_fsync():
        """Only newer etcd can leave fsync out, which a throw-away store may."""
        return "unsafe-no-fsync" in subprocess.run(["etcd", "--help"], capture_output=True, text=True).stdout

    def start_controller_manager(self):
        d, pki = self.dir, f"{self.dir}/pki"
        return self.start("controller-manager", self.bin("controller-manager"), "--kubeconfig", f"{d}/controller-manager.kubeconfig", "--bind-address", "127.0.0.1",
                          "--secure-port", str(self.ports["controller-manager"]), "--service-account-private-key-file", f"{pki}/sa.key", "--root-ca-file", f"{pki}/ca.crt", "--cluster-signing-cert-file", f"{pki}/ca.crt",
                          "--cluster-signing-key-file", f"{pki}/ca.key", "--allocate-node-cidrs", "--cluster-cidr", "10.128.0.0/10", "--service-cluster-ip-range", "10.96.0.0/16", *self.extra["controller-manager"])

    def print_logs(self):
        """The end of each part's log, for a test that failed."""
        for name, process in self.processes.items():
            with open(f"{self.dir}/{name}.log", errors="replace") as f:
                print(f"--- {name}, {'runs' if process.poll() is None else f'ended with {process.returncode}'}\n{f.read()[-3000:]}")

    def down(self, keep=False):
        for process in reversed(list(self.processes.values())):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not keep:
            shutil.rmtree(self.dir, ignore_errors=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("build")
    p.add_argument("--nodes", type=int, default=3)
    p.add_argument("--hollow", default="", help="flags for coracle-hollow")
    p.add_argument("--controllers", default="", help="flags for the controller-manager")
    p.add_argument("--apiserver", default="", help="flags for the API server")
    p.add_argument("--keep", action="store_true", help="leave the folder of logs")
    p.add_argument("command", nargs="+")
    args = p.parse_args()
    cluster = Cluster(args.build, args.nodes, hollow=shlex.split(args.hollow), controllers=shlex.split(args.controllers), apiserver=shlex.split(args.apiserver))
    try:
        cluster.up()
        return subprocess.run(args.command, env=dict(os.environ, KUBECONFIG=cluster.kubeconfig, CLUSTER=cluster.dir)).returncode
    finally:
        if args.keep:
            print("kept", cluster.dir, file=sys.stderr)
        cluster.down(args.keep)


if __name__ == "__main__":
    sys.exit(main())
