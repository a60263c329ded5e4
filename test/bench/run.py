#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Speed and memory, as a table beside the goals and the raw limits measured in the same run: run.py BUILD.

With TARGET=https://host:port and TOKEN=... the same load is laid on any Kubernetes API server instead of ours. CONTROLLERS=0 leaves the controllers out,
which take minutes (test/bench/controllers.py runs them alone).
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

import controllers

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PODS = int(os.environ.get("PODS", "10000"))
MANY = int(os.environ.get("MANY", "100000"))
ROUNDS = 6  # of creates and etcd's own puts, turn by turn: what else the machine does then falls on both alike; the first round warms up
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


def pss_mb(pid):
    """Resident, but pages shared with others counted by their share."""
    with open(f"/proc/{pid}/smaps_rollup") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("Pss:"))


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
        # It listens once it has read all; a whole client at each look would take the processor that it needs.
        while True:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    break
            if time.monotonic() - began > 60 or self.api.poll() is not None:
                raise SystemExit("the API server does not listen: " + open(f"{self.dir}/apiserver.log").read()[-2000:])
            time.sleep(0.002)
        while subprocess.run(["curl", "-skf", "-o", "/dev/null", f"https://127.0.0.1:{self.port}/readyz", "-H", "Authorization: Bearer benchtoken"]).returncode != 0:
            if time.monotonic() - began > 30:
                raise SystemExit("the API server does not become ready: " + open(f"{self.dir}/apiserver.log").read()[-2000:])
            time.sleep(0.005)
        return (time.monotonic() - began) * 1000

    def length(self, path):
        out = subprocess.run(["curl", "-sk", "-o", "/dev/null", "-w", "%{size_download}", "-A", "bench", f"https://127.0.0.1:{self.port}{path}", "-H", "Authorization: Bearer benchtoken"],
                             capture_output=True, text=True, check=True)
        return int(out.stdout)

    def stored_bytes(self, namespace="default"):
        """Of one pod."""
        return self.length(f"/api/v1/namespaces/{namespace}/pods/bench-0")

    def sizes(self):
        """Bytes of one stored pod and of the list of all."""
        return self.stored_bytes(), self.length("/api/v1/namespaces/default/pods?resourceVersion=0")

    def request(self, method, path, body):
        subprocess.run(["curl", "-skf", "-o", "/dev/null", "-X", method, f"https://127.0.0.1:{self.port}{path}", "-H", "Authorization: Bearer benchtoken", "-H", "Content-Type: application/json",
                        "-d", body], check=True)

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


GIVEN_BACK_SECONDS = 25  # after which a daemon has given back what only its start needed: common/base/trim.h
DAEMONS = ("apiserver", "controller-manager", "scheduler", "kubelet", "proxy", "dns")


def steady(pids):
    """Waits until the processes have worked off what they found: less than 2 % of a core in all for a second."""
    def ticks():
        return sum(int(x) for pid in pids for x in open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[11:13])
    before = ticks()
    for _ in range(60):
        time.sleep(1)
        now = ticks()
        if now - before <= 2:
            return
        before = now


def exec_rows(cluster):
    """What a remote program's streams carry: command line, API server, kubelet, container."""
    cluster.kubectl("run", "bench-exec", "--image=busybox:v1", "--image-pull-policy=Never", "--", "sleep", "3600")
    cluster.kubectl("wait", "--for=condition=Ready", "pod/bench-exec", "--timeout=60s")
    command = ["nsenter", f"--net=/run/netns/{cluster.netns}", f"{cluster.build}/bin/coracle", "--kubeconfig", cluster.kubeconfig, "exec", "-i", "bench-exec", "--"]
    megabytes, began = 1000, time.monotonic()
    subprocess.run([*command, "dd", "if=/dev/zero", "bs=1M", f"count={megabytes}"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
    rate = megabytes * 1.048576 / (time.monotonic() - began)
    trips = []
    with subprocess.Popen([*command, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as p:
        for _ in range(500):
            began = time.monotonic()
            p.stdin.write(b"x")
            p.stdout.read(1)
            trips.append((time.monotonic() - began) * 1000)
        p.stdin.close()
    trips.sort()
    return [("exec: bytes out of a container", f"{rate:.0f} MB/s", "100 MB/s"), ("exec: a byte there and back, client included", f"{trips[250]:.2f} ms median, {trips[495]:.2f} ms p99", "0.5 ms added")]


def cluster_rows(build, bench):
    """A whole cluster in a network namespace of its own: what each daemon holds, idle and with the pods stored."""
    sys.path.append(f"{TOP}/test/e2e")
    from cluster import Cluster
    cluster, rows = Cluster(build), []
    try:
        cluster.up()
        pids = {name: cluster.pid_of(name) for name in DAEMONS}
        steady(pids.values())
        time.sleep(GIVEN_BACK_SECONDS)  # what is measured is what stays
        idle, proportional = {name: rss_mb(pid) for name, pid in pids.items()}, sum(pss_mb(pid) for pid in pids.values())
        rows += exec_rows(cluster)
        files = [f"{cluster.dir}/etc/pki/ca.crt", cluster.admin_file("cert"), cluster.admin_file("key")]
        cluster.inside([bench, "https://127.0.0.1:6443", *files, "-", "create", CONNECTIONS, str(PODS), "default"], timeout=600)
        steady(pids.values())
        for name, pid in pids.items():
            rows.append((f"{name} resident, idle / {PODS} pods stored", f"{idle[name]:.1f} / {rss_mb(pid):.1f} MB", ""))
        rows.append(("all daemons and the node agent, idle", f"{proportional:.1f} MB (shared pages counted once; {sum(idle.values()):.1f} MB resident)", "40 MB"))
    finally:
        cluster.down()
    return rows


class Bare:
    """libmicrohttpd alone, with bodies of the same size."""

    def __init__(self, build, pki, object_bytes, list_bytes):
        self.process = subprocess.Popen([f"{build}/test/bench/bare_bench", f"{pki}/apiserver.crt", f"{pki}/apiserver.key", str(object_bytes), str(list_bytes)],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = f"https://127.0.0.1:{self.process.stdout.readline().strip()}"

    def stop(self):
        self.process.stdin.close()
        self.process.wait(10)


def load(bench, target, token, operation, connections, count, namespace="default", first=0):
    """Rate, megabytes a second, median and 99th percentile in ms, failures."""
    out = subprocess.run([bench, target, "-", "-", "-", token, operation, str(connections), str(count), namespace, str(first)], capture_output=True, text=True, timeout=600)
    if not out.stdout:
        raise SystemExit(out.stderr)
    _, rate, mb, p50, p99, failures = out.stdout.split()
    return float(rate), float(mb), float(p50), float(p99), int(failures)


def middle(values):
    return sorted(values)[len(values) // 2]


def create_row(bench, target, token, server):
    """Creates, and etcd's own puts of as many bytes into the same etcd, turn by turn; of both the middle round."""
    count, creates, puts, ratios = PODS // ROUNDS, [], [], []
    for i in range(ROUNDS):
        amount = count if i < ROUNDS - 1 else PODS - count * (ROUNDS - 1)
        if server:
            raw = subprocess.run([f"{server.build}/test/bench/etcd_bench", "raw", f"http://127.0.0.1:{server.etcd_port}", f"/raw-{i}/", str(count), CONNECTIONS,
                                  str(server.stored_bytes() if i else 2000)], capture_output=True, text=True, timeout=300, check=True)
        result = load(bench, target, token, "create", CONNECTIONS, amount, first=i * count)
        if i == 0:
            continue
        creates.append(result)
        if server:
            puts.append(float(raw.stdout.split()[0]))
            ratios.append(result[0] / puts[-1])
    of_puts = f" ({middle(ratios) * 100:.0f} % of etcd's own puts, {middle(puts):.0f} /s; in rounds {min(ratios) * 100:.0f} to {max(ratios) * 100:.0f} %)" if server else ""
    rate, p50, p99, failed = middle([r[0] for r in creates]), middle([r[2] for r in creates]), middle([r[3] for r in creates]), sum(r[4] for r in creates)
    return (f"create {PODS} pods, {CONNECTIONS} connections", f"{rate:.0f} /s{of_puts}, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {failed} failed", "8,000 /s, 65 %")


def many_rows(bench, server, token):
    """With as many objects as the goals name."""
    target = f"https://127.0.0.1:{server.port}"
    server.request("POST", "/api/v1/namespaces", '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"many"}}')
    before = rss_mb(server.api.pid)
    load(bench, target, token, "create", CONNECTIONS, MANY, "many")
    each = (rss_mb(server.api.pid) - before) * 1048576 / MANY
    rows = [(f"apiserver: memory of an object, {MANY} more pods", f"{each:.0f} bytes of {server.stored_bytes('many')}: 1.2 x JSON + {each - 1.2 * server.stored_bytes('many'):.0f}", "1.2 x JSON + 300 bytes")]
    by_label, by_field = load(bench, target, token, "nothing", 1, 100, "many")[2], load(bench, target, token, "nowhere", 1, 100, "many")[2]
    rows.append((f"consistent LIST that matches nothing, {MANY} pods", f"{by_label:.2f} ms by label, {by_field:.2f} ms by field", "5 ms"))
    rows.append((f"apiserver: ready after start, {MANY + PODS} pods", f"{server.restart_api():.0f} ms", "2 s"))
    return rows


def store_rows(build, rows):
    """What etcd and the store give without HTTP."""
    raw = subprocess.run([f"{build}/test/bench/etcd_bench", "10000", CONNECTIONS, "1200"], capture_output=True, text=True, timeout=300).stdout
    for line in raw.splitlines():
        rows.append(("store: " + line.strip(), "", ""))


def main():
    build = os.path.abspath(sys.argv[1])
    bench, rows = f"{build}/test/bench/api_bench", []
    server, bare, target, token = None, None, os.environ.get("TARGET"), os.environ.get("TOKEN", "benchtoken")

    def share(value, limit):
        return f" ({value / limit * 100:.0f} % of the bare limit)" if limit else ""

    try:
        if not target:
            server = Server(build)
            server.up()
            rows.append(("apiserver: ready after start, empty", f"{server.restart_api():.0f} ms", "50 ms"))
            target = f"https://127.0.0.1:{server.port}"
            rows.append(("apiserver resident, empty", f"{rss_mb(server.api.pid):.1f} MB", "10 MB"))
            empty = rss_mb(server.api.pid)
            store_rows(build, rows)
        rows.append(create_row(bench, target, token, server))
        if server:
            rows.append((f"apiserver resident, {PODS} pods", f"{rss_mb(server.api.pid):.1f} MB: {(rss_mb(server.api.pid) - empty) * 1048576 / PODS:.0f} bytes an object of {server.sizes()[0]}",
                         "1.2 x JSON + 300 bytes"))
        rate, _, p50, p99, failures = load(bench, target, token, "status", CONNECTIONS, PODS)
        rows.append((f"patch the status of {PODS} pods, {CONNECTIONS} connections", f"{rate:.0f} /s, p50 {p50:.1f} ms, p99 {p99:.1f} ms, {failures} failed", ""))
        get_rate, _, p50, p99, failures = load(bench, target, token, "get", CONNECTIONS, 100000)
        _, list_mb, _, _, _ = load(bench, target, token, "list", 8, 100)
        bare_get = bare_list = None
        if server:
            object_bytes, list_bytes = server.sizes()
            bare = Bare(build, f"{server.dir}/pki", object_bytes, list_bytes)
            bare_get, _, _, _, _ = load(bench, bare.url, token, "get", CONNECTIONS, 100000)
            _, bare_list, _, _, _ = load(bench, bare.url, token, "list", 8, 100)
        rows.append((f"GET one pod, {CONNECTIONS} connections", f"{get_rate:.0f} /s{share(get_rate, bare_get)}, p50 {p50:.2f} ms, p99 {p99:.2f} ms, {failures} failed", "50,000 /s, 60 %"))
        rows.append((f"LIST {PODS} pods, 8 connections", f"{list_mb:.0f} MB/s{share(list_mb, bare_list)}", "1,200 MB/s, 60 %"))
        if not server:
            rows.append((f"consistent LIST that matches nothing, {PODS} pods", f"{load(bench, target, token, 'nothing', 1, 50)[2]:.2f} ms", "5 ms with 100,000"))
        out = subprocess.run([f"{build}/test/bench/watch_bench", target, token, "1000"], capture_output=True, text=True, timeout=120)
        rows.append(("one event to 1000 watchers", out.stdout.partition("create: ")[2].strip() or out.stderr.strip(), "last 20 ms"))
        if server:
            rows.append(("apiserver resident, after LISTs and watches", f"{rss_mb(server.api.pid):.1f} MB", "130 MB with 31k"))
            rows += many_rows(bench, server, token)
            server.down()
            server = None
            rows += cluster_rows(build, bench)
    finally:
        if bare:
            bare.stop()
        if server:
            server.down()
    if not os.environ.get("TARGET") and os.environ.get("CONTROLLERS", "1") != "0":
        rows += controllers.rows(build)
    width = max(len(r[0]) for r in rows)
    print(f"\n{'what':<{width}}  measured  [goal]")
    for what, value, goal in rows:
        print(f"{what:<{width}}  {value}{'  [' + goal + ']' if goal else ''}")


if __name__ == "__main__":
    main()
