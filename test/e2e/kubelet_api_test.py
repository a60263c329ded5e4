# SPDX-License-Identifier: Apache-2.0
"""The kubelet's own API: who may ask, what it measures, and logs with their options; and pods that come from a URL."""

import json
import os
import re
import subprocess
import time

from cluster import Failure, sh


def expect(condition, text):
    if not condition:
        raise Failure(text)


def ask(c, path, token=None, port=10250):
    header = ["-H", f"Authorization: Bearer {token}"] if token else []
    return c.inside(["curl", "-sk", "--max-time", "10", *header, "-w", "\n%{http_code}", f"https://{c.node_ip}:{port}{path}"]).stdout.rsplit("\n", 1)


def raw(c, path):
    return c.kubectl("get", "--raw", f"/api/v1/nodes/{c.node}/proxy{path}").stdout


def series(text):
    """name -> list of (labels, value) of a Prometheus text; fails on what Prometheus would not take."""
    out, typed = {}, set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            name = line.split()[2]
            expect(name not in typed, f"{name} is declared twice")
            typed.add(name)
        elif line and not line.startswith("#"):
            m = re.fullmatch(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?', line)
            expect(m, f"a line Prometheus would refuse: {line}")
            labels = dict(re.findall(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"', m[2] or ""))
            out.setdefault(m[1], []).append((labels, float(m[3])))
    return out


def value(have, name, **labels):
    found = [v for have_labels, v in have.get(name, []) if all(have_labels.get(k) == v for k, v in labels.items())]
    expect(len(found) == 1, f"one {name}{labels}, not {len(found)}")
    return found[0]


def test_who_may_ask_the_kubelet(c):
    c.apply("""
apiVersion: v1
kind: ServiceAccount
metadata: {name: scraper}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: scraper}
rules: [{apiGroups: [""], resources: [nodes/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: scraper}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: scraper}
subjects: [{kind: ServiceAccount, name: scraper, namespace: default}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: proxy}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: proxy}
rules: [{apiGroups: [""], resources: [nodes/proxy], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: proxy}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: proxy}
subjects: [{kind: ServiceAccount, name: proxy, namespace: default}]
""")
    c.kubectl("create", "serviceaccount", "nobody")
    scraper, proxy, nobody = (c.kubectl("create", "token", name).stdout.strip() for name in ("scraper", "proxy", "nobody"))
    for path, token, code in (
            ("/metrics", None, "401"), ("/metrics", "nonsense", "401"), ("/metrics", nobody, "403"), ("/metrics", scraper, "200"), ("/metrics/cadvisor", scraper, "200"),
            ("/stats/summary", scraper, "403"), ("/pods", scraper, "403"), ("/exec/default/x/y?command=id&output=1", scraper, "403"), ("/nothing", scraper, "404"),
            ("/pods", proxy, "200"), ("/configz", proxy, "200"), ("/metrics", proxy, "403"), ("/statusz", proxy, "403"), ("/logs/", proxy, "403")):
        got = ask(c, path, token)
        expect(got[1] == code, f"{path} by {token and token[:8]}: {code}, not {got}")
    certificate = c.inside(["curl", "-sk", "--cert", c.admin_file("cert"), "--key", c.admin_file("key"), "-o", "/dev/null", "-w", "%{http_code}", f"https://{c.node_ip}:10250/pods"]).stdout
    expect(certificate == "200", f"an administrator's certificate: {certificate}")


def test_measurements(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: measured}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:v1
    command: [sh, -c, "x=$(head -c 3000000 /dev/zero | tr '\\\\0' a); while :; do :; sleep 0.01; done"]
    resources: {limits: {cpu: 50m, memory: 64Mi}}
    readinessProbe: {exec: {command: ["true"]}, periodSeconds: 1}
""")
    c.kubectl("wait", "--for=condition=Ready", "pod/measured", "--timeout=30s")
    mine = {"pod": "measured", "container": "main", "namespace": "default"}
    # With so little of a core it takes its memory when it comes to it.
    cadvisor = c.wait(60, "some use of cpu and memory", lambda: (m := series(raw(c, "/metrics/cadvisor"))) and value(m, "container_cpu_usage_seconds_total", **mine) > 0 and
                      value(m, "container_memory_working_set_bytes", **mine) > 1 << 20 and m)
    expect(value(cadvisor, "container_spec_memory_limit_bytes", **mine) == 64 << 20 and value(cadvisor, "container_spec_cpu_quota", **mine) == 5000, "its limits")
    expect(value(cadvisor, "container_cpu_cfs_periods_total", **mine) > 0, "its periods")
    expect(value(cadvisor, "container_network_receive_bytes_total", pod="measured", interface="eth0") >= 0, "its network")
    expect(value(cadvisor, "container_memory_working_set_bytes", id="/") > 1 << 20 and value(cadvisor, "machine_cpu_cores") == os.cpu_count(), "the machine's")
    resource = series(raw(c, "/metrics/resource"))
    for name in ("container_cpu_usage_seconds_total", "container_memory_working_set_bytes", "container_start_time_seconds", "pod_memory_working_set_bytes"):
        expect(value(resource, name, pod="measured") > 0, name)
    expect(value(resource, "node_memory_working_set_bytes") > 0 and value(resource, "resource_scrape_error") == 0, "the node's")
    own = series(raw(c, "/metrics"))
    expect(value(own, "kubelet_node_name", node=c.node) == 1 and value(own, "kubelet_running_pods") >= 1 and value(own, "kubelet_running_containers", container_state="running") >= 1, "what runs")
    expect(value(own, "kubelet_started_pods_total") >= 1 and value(own, "kubelet_pod_start_duration_seconds_count") >= 1 and value(own, "kubelet_runtime_operations_total", operation_type="start_container") >= 1, "what it did")
    probes = c.wait(10, "probes", lambda: series(raw(c, "/metrics/probes")).get("prober_probe_total"))
    expect(any(labels["pod"] == "measured" and labels["probe_type"] == "Readiness" and labels["result"] == "successful" and v >= 1 for labels, v in probes), f"{probes}")
    summary = json.loads(raw(c, "/stats/summary"))
    pod = [p for p in summary["pods"] if p["podRef"]["name"] == "measured"][0]
    expect(pod["containers"][0]["memory"]["workingSetBytes"] > 1 << 20 and pod["network"]["name"] == "eth0" and pod["cpu"]["usageCoreNanoSeconds"] > 0, f"{pod}")
    expect(pod["containers"][0]["cpu"]["usageNanoCores"] >= 0 and pod["process_stats"]["process_count"] >= 1, f"{pod}")
    expect(0 < pod["ephemeral-storage"]["inodesUsed"] < 1000 and "kube-api-access" in str([v["name"] for v in pod["volume"]]), f"{pod}")
    node = summary["node"]
    expect(node["fs"]["capacityBytes"] > 0 and node["network"]["interfaces"] and node["runtime"]["containerFs"]["capacityBytes"] > 0, "the node's own")
    expect([s["name"] for s in node["systemContainers"]] == ["kubelet", "runtime", "pods"] and node["systemContainers"][0]["cpu"]["usageCoreNanoSeconds"] > 0, node["systemContainers"])
    expect(node["rlimit"]["maxpid"] > node["rlimit"]["curproc"] > 0 and "swapUsageBytes" in node["swap"], "the node's limits")
    counted = os.path.exists("/proc/pressure/io")
    expect(("psi" in node["cpu"], "psi" in node["memory"], "psi" in node.get("io", {})) == (counted,) * 3, "what the machine waited for, where the kernel counts it")
    expect(not counted or (node["cpu"]["psi"]["some"]["total"] > 0 and value(cadvisor, "container_pressure_cpu_waiting_seconds_total", id="/") > 0), f"{node['cpu']}")
    brief = json.loads(raw(c, "/stats/summary?only_cpu_and_memory=true"))
    pod = [p for p in brief["pods"] if p["podRef"]["name"] == "measured"][0]
    expect(sorted(pod) == ["containers", "cpu", "memory", "podRef", "startTime"] and "fs" not in brief["node"], f"{pod}")
    c.kubectl("delete", "pod", "measured", "--wait=false")


def test_logs_and_their_options(c):
    c.kubectl("run", "speaker", "--image=busybox:v1", "--command", "--", "sh", "-c",
              "if [ -f /dev/shm/again ]; then echo second run; sleep 1000; fi; touch /dev/shm/again; for i in 1 2 3 4 5; do echo out $i; done; echo err >&2; sleep 2; echo late; exit 1")
    c.wait(30, "its second run", lambda: c.get("pod", "speaker")["status"]["containerStatuses"][0]["restartCount"] == 1)

    def logs(*args):
        return c.kubectl("logs", "speaker", *args).stdout

    c.wait(10, "the new log", lambda: logs() == "second run\n")
    first = logs("-p").splitlines()
    expect(sorted(first) == sorted([*(f"out {i}" for i in range(1, 6)), "err", "late"]), f"the run before: {first}")
    expect(logs("-p", "--tail=1") == "late\n" and logs("-p", "--limit-bytes=3") == "out" and logs("-p", "--tail=0") == "", "its tail, its first bytes")
    stamped = logs("-p", "--timestamps").splitlines()
    expect(all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) ", line) for line in stamped), f"{stamped}")
    since = [line.split()[0] for line in stamped if line.endswith("late")][0]
    expect(logs("-p", f"--since-time={since}") == "late\n", "since a time")
    expect(logs("-p", "--since=1000s").count("\n") == 7, "since a while ago")
    r = c.kubectl("logs", "speaker", "-c", "absent", check=False)
    expect(r.returncode != 0 and "container absent is not valid for pod speaker" in r.stderr, r.stderr)
    c.kubectl("delete", "pod", "speaker", "--grace-period=1", "--wait=false")


def test_pods_from_a_url(c):
    """A kubelet of its own, without an API server, that asks a web server for its pods."""
    where = f"{c.dir}/alone"
    os.makedirs(f"{where}/www")
    manifest = "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: default}\nspec: {terminationGracePeriodSeconds: 0, hostNetwork: true, containers: [{name: main, image: 'busybox:v1', command: [sh, -c, 'echo %s; sleep 1000']}]}\n"
    with open(f"{where}/www/pods", "w") as f:
        f.write(manifest % "first")
    inside = ["nsenter", f"--net=/run/netns/{c.netns}"]
    server = subprocess.Popen([*inside, "busybox", "httpd", "-f", "-p", "127.0.0.1:8123", "-h", f"{where}/www"])
    command = [*inside, f"{c.build}/bin/coracle-kubelet", "--manifest-url", "http://127.0.0.1:8123/pods", "--http-check-frequency", "1s", "--hostname-override", "alone", "--node-ip", c.node_ip, "--root-dir",
               f"{where}/kubelet", "--run-dir", f"{where}/run", "--image-root", f"{c.dir}/var/images", "--pod-log-dir", f"{where}/logs", "--cgroup-root", f"/{c.id}/alone", "--cni-conf-dir", f"{where}/cni",
               "--bridge-name", "ce1", "--port", "0", "--healthz-port", "0", "--pod-manifest-path", f"{where}/none", "--fail-swap-on=false"]
    kubelet = subprocess.Popen(command, stdout=open(f"{where}/log", "w"), stderr=subprocess.STDOUT)

    def says(word):
        return any(word in open(os.path.join(base, f)).read() for base, _, files in os.walk(f"{where}/logs") for f in files)

    try:
        c.wait(20, f"the pod; {where}/log", lambda: says("first"))
        with open(f"{where}/www/pods", "w") as f:
            f.write(manifest % "second")
        c.wait(20, "its change", lambda: says("second") and not says("first"))
        # A server that is away ends nothing.
        server.kill()
        server.wait()
        time.sleep(1.5)
        expect(says("second"), "it stays while the server is away")
    finally:
        server.kill()
        kubelet.terminate()
        kubelet.wait(20)
        cleaned = sh([*command, "--cleanup"], check=False)
    expect(cleaned.returncode == 0, f"the kubelet cleans up after itself: exit {cleaned.returncode} {cleaned.stderr}")
