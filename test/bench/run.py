#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed and memory, as a table beside the goals and the raw limits measured in the same run: run.py BUILD.

With TARGET=https://host:port and TOKEN=... the same load is laid on any Kubernetes API server instead of ours.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PODS = int(os.environ.get("PODS", "10000"))
CONNECTIONS = os.environ.get("CONNECTIONS", "64")


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
    return 0.0


class Server:
    """etcd and our API server, in a folder of their own."""

    def __init__(self, build):
        self.build, self.dir = build, tempfile.mkdtemp(prefix="coracle-bench-")
        self.processes = []
        self.etcd_port, self.peer_port, self.port = free_port(), free_port(), free_port()

    def start(self, name, *command):
        log = open(f"{self.dir}/{name}.log", "w")
        p = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        self.processes.append(p)
        return p

    def up(self):
        etcd = f"http://127.0.0.1:{self.etcd_port}"
        peer = f"http://127.0.0.1:{self.peer_port}"
        self.start("etcd", "etcd", "--data-dir", f"{self.dir}/etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer,
                   "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--log-outputs", "stderr", "--quota-backend-bytes", "8589934592")
        pki = f"{self.dir}/pki"
        subprocess.run([f"{self.build}/bin/coracle", "certs", "init", "--dir", pki, "--kubeconfig-dir", self.dir, "--server", f"https://127.0.0.1:{self.port}", "--node", "bench",
                        "--node-ip", "127.0.0.1", "--service-ip", "10.96.0.1", "--cluster-domain", "cluster.local", "--san", "127.0.0.1"], check=True, stdout=subprocess.DEVNULL)
        with open(f"{self.dir}/tokens.csv", "w") as f:
            f.write("benchtoken,admin,1,system:masters\n")
        time.sleep(1.0)
        self.command = [f"{self.build}/bin/coracle-apiserver", "--etcd-servers", etcd, "--bind-address", "127.0.0.1", "--secure-port", str(self.port), "--tls-cert-file",
                        f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key", "--client-ca-file", f"{pki}/ca.crt", "--token-auth-file", f"{self.dir}/tokens.csv",
                        "--disable-admission-plugins", "ServiceAccount", "--service-account-issuer", "https://bench", "--service-account-key-file", f"{pki}/sa.pub", "--service-account-signing-key-file", f"{pki}/sa.key"]
        return self.start_api()

    def start_api(self):
        began = time.monotonic()
        self.api = self.start("apiserver", *self.command)
        while subprocess.run(["curl", "-skf", "-o", "/dev/null", f"https://127.0.0.1:{self.port}/readyz", "-H", "Authorization: Bearer benchtoken"]).returncode != 0:
            if time.monotonic() - began > 30:
                raise SystemExit("the API server does not become ready: " + open(f"{self.dir}/apiserver.log").read()[-2000:])
            time.sleep(0.005)
        return (time.monotonic() - began) * 1000

    def restart_api(self):
        self.api.terminate()
        self.api.wait()
        return self.start_api()

    def down(self):
        for p in reversed(self.processes):
            if p.poll() is None:
                p.send_signal(signal.SIGTERM)
                try:
                    p.wait(10)
                except subprocess.TimeoutExpired:
                    p.kill()
        shutil.rmtree(self.dir, ignore_errors=True)


def main():
    build = os.path.abspath(sys.argv[1])
    bench, rows = f"{build}/test/bench/api_bench", []
    server, target, token = None, os.environ.get("TARGET"), os.environ.get("TOKEN", "benchtoken")
    try:
        if not target:
            server = Server(build)
            rows.append(("apiserver: ready after start, empty", f"{server.up():.0f} ms", "50 ms"))
            target = f"https://127.0.0.1:{server.port}"
            rows.append(("apiserver resident, empty", f"{rss_mb(server.api.pid):.1f} MB", "10 MB"))

        def load(operation, connections, count):
            out = subprocess.run([bench, target, "-", "-", "-", token, operation, str(connections), str(count), "default"], capture_output=True, text=True, timeout=600)
            if not out.stdout:
                raise SystemExit(out.stderr)
            _, rate, mb, p50, p99, failures = out.stdout.split()
            return float(rate), float(mb), float(p50), float(p99), int(failures)

        puts = None
        if server:
            raw = subprocess.run([f"{build}/test/bench/etcd_bench", "10000", CONNECTIONS, "1200"], capture_output=True, text=True, timeout=300).stdout
            for line in raw.splitlines():
                rows.append(("store: " + line.strip(), "", ""))
                if "raw transactions" in line and "cold" not in line:
                    numbers = [float(w) for w in line.replace(",", "").split() if w.replace(".", "", 1).isdigit()]
                    puts = max(numbers) if numbers else None
        rate, _, p50, p99, failures = load("create", CONNECTIONS, PODS)
        share = f" ({rate / puts * 100:.0f} % of etcd's own puts)" if puts else ""
        rows.append((f"create {PODS} pods, {CONNECTIONS} connections", f"{rate:.0f} /s{share}, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {failures} failed", "8,000 /s, 65 %"))
        if server:
            rows.append((f"apiserver resident, {PODS} pods", f"{rss_mb(server.api.pid):.1f} MB", ""))
        rate, mb, p50, p99, failures = load("get", CONNECTIONS, 100000)
        rows.append((f"GET one pod, {CONNECTIONS} connections", f"{rate:.0f} /s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {failures} failed", "50,000 /s"))
        rate, mb, p50, p99, failures = load("list", 8, 100)
        rows.append((f"LIST {PODS} pods, 8 connections", f"{mb:.0f} MB/s", "1,200 MB/s"))
        rate, _, p50, _, _ = load("nothing", 1, 50)
        rows.append(("consistent LIST that matches nothing", f"{p50:.2f} ms", "5 ms"))
        if server:
            rows.append(("apiserver resident, after LISTs", f"{rss_mb(server.api.pid):.1f} MB", "130 MB with 31k"))
            rows.append((f"apiserver: ready after start, {PODS} pods", f"{server.restart_api():.0f} ms", "2 s with 100k"))
    finally:
        if server:
            server.down()
    width = max(len(r[0]) for r in rows)
    print(f"\n{'what':<{width}}  measured  [goal]")
    for what, value, goal in rows:
        print(f"{what:<{width}}  {value}{'  [' + goal + ']' if goal else ''}")


if __name__ == "__main__":
    main()
