#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Controllers at scale: controllers.py BUILD [NAME ...]. Nodes are hollow (test/hollow). Prints rows as `make bench` does.

Bare writes are what the same work costs a program that knows all it has to write beforehand, against the same API server, in the same run.
"""
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.request

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, f"{TOP}/test/hollow")
from hollow_cluster import Cluster  # noqa: E402

JSON, MERGE, STRATEGIC = "application/json", "application/merge-patch+json", "application/strategic-merge-patch+json"
REPLICAS = int(os.environ.get("REPLICAS", "5000"))
DEPLOYMENTS = int(os.environ.get("DEPLOYMENTS", "2000"))
JOBS = int(os.environ.get("JOBS", "10000"))
OBJECTS = int(os.environ.get("OBJECTS", "20000"))
PODS = int(os.environ.get("CACHED_PODS", "30000"))
IDLE_SECONDS = 40
CONNECTIONS = "16"

CONTAINERS = [{"name": "c", "image": "registry.example/web:1", "env": [{"name": "MODE", "value": "production"}, {"name": "LEVEL", "value": "info"}],
               "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}}, "ports": [{"containerPort": 8080, "name": "http"}]}]


def template(labels, **spec):
    return {"metadata": {"labels": labels}, "spec": dict({"containers": CONTAINERS}, **spec)}


def deployment(name, replicas):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template({"app": name})}}


class Api:
    def __init__(self, cluster):
        self.cluster, self.tls = cluster, ssl._create_unverified_context()

    def call(self, method, path, body=None, ctype=JSON, timeout=300):
        r = urllib.request.Request(self.cluster.url + path, None if body is None else json.dumps(body).encode(), {"Content-Type": ctype, "Authorization": f"Bearer {self.cluster.token}"}, method=method)
        with urllib.request.urlopen(r, context=self.tls, timeout=timeout) as answer:
            return json.load(answer)

    def count(self, path):
        o = self.call("GET", path + ("&" if "?" in path else "?") + "limit=1")
        return len(o["items"]) + o["metadata"].get("remainingItemCount", 0)

    def namespace(self, name):
        self.call("POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        self.until(lambda: self.exists(f"/api/v1/namespaces/{name}/serviceaccounts/default"))

    def exists(self, path):
        try:
            self.call("GET", path)
            return True
        except urllib.error.HTTPError as e:
            if e.code != 404:
                raise
            return False

    def until(self, condition, seconds=600):
        begun = time.monotonic()
        while not condition():
            if time.monotonic() - begun > seconds:
                raise SystemExit("gave up waiting")
            time.sleep(0.02)
        return time.monotonic() - begun

    def writes(self, count, *requests):
        """Seconds of each round."""
        words = [w for method, path, ctype, body in requests for w in (method, path, ctype, json.dumps(body) if body is not None else "")]
        out = subprocess.run([f"{self.cluster.build}/test/bench/writes_bench", self.cluster.kubeconfig, CONNECTIONS, str(count), *words], capture_output=True, text=True)
        lines = [line.split() for line in out.stdout.splitlines()]
        if out.returncode or len(lines) != len(requests) or any(int(failed) for _, failed in lines):
            raise SystemExit(f"writes_bench: {out.stdout} {out.stderr}")
        return [float(seconds) for seconds, _ in lines]


def requests_of(api):
    """Writes the API server has answered, by its own count."""
    r = urllib.request.Request(api.cluster.url + "/metrics", headers={"Authorization": f"Bearer {api.cluster.token}"})
    total = 0
    with urllib.request.urlopen(r, context=api.tls) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("apiserver_request_total") and 'verb="GET"' not in line and 'verb="LIST"' not in line and 'verb="WATCH"' not in line:
                total += float(line.rsplit(" ", 1)[1])
    return int(total)


def cpu_seconds(pid):
    """Of all threads there are now, to the nanosecond: what is nearly idle uses less than a tick of the clock at a time."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{thread}/schedstat") as f:
                total += int(f.read().split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass
    return total / 1e9


def rss_mb(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS:"))


STATUS = {"status": {"phase": "Running", "podIP": "10.128.0.1", "podIPs": [{"ip": "10.128.0.1"}], "hostIP": "10.200.0.1", "conditions": [{"type": t, "status": "True"} for t in ("Initialized", "Ready", "ContainersReady")],
                     "containerStatuses": [{"name": "c", "ready": True, "restartCount": 0, "image": "registry.example/web:1", "imageID": "", "state": {"running": {}}}]}}


def bare_pods(api, ns, count):
    """What `count` pods cost from nothing to running, and from running to gone: the writes of controller, scheduler and kubelet, and no more."""
    pods = f"/api/v1/namespaces/{ns}/pods"
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare-{i}", "labels": {"app": "bare"}}, "spec": {"containers": CONTAINERS}}
    # Nodes of no kubelet: nobody else writes.
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "bare-{i}"}, "target": {"kind": "Node", "name": "nobody-{n}"}}
    gone = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
    pod["spec"]["schedulerName"] = "nobody"
    s = api.writes(count, ("POST", pods, JSON, pod), ("POST", pods + "/bare-{i}/binding", JSON, binding), ("PATCH", pods + "/bare-{i}/status", STRATEGIC, STATUS), ("DELETE", pods + "/bare-{i}", JSON, None),
                   ("DELETE", pods + "/bare-{i}", JSON, gone))
    return sum(s[:3]), sum(s[3:])


def big_deployment(api, rows):
    ns = "big"
    api.namespace(ns)
    up, down = bare_pods(api, ns, REPLICAS)
    path = f"/apis/apps/v1/namespaces/{ns}/deployments"

    def measured(what, bare, condition):
        seconds = api.until(condition)
        rows.append((what, f"{seconds:.1f} s, {seconds / bare:.2f} x the bare writes ({bare:.1f} s)", "1.5 x"))

    def ready():
        return api.call("GET", path + "/web").get("status", {}).get("availableReplicas", 0) == REPLICAS

    def none():
        return api.count(f"/api/v1/namespaces/{ns}/pods") == 0

    api.call("POST", path, deployment("web", REPLICAS))
    measured(f"deployment of {REPLICAS} created, all available", up, ready)
    api.call("PATCH", path + "/web", {"spec": {"replicas": 0}}, MERGE)
    measured(f"deployment of {REPLICAS} scaled to 0, all gone", down, none)
    api.call("PATCH", path + "/web", {"spec": {"replicas": REPLICAS}}, MERGE)
    api.until(ready)
    api.call("DELETE", path + "/web", {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"})
    measured(f"deployment of {REPLICAS} deleted with its pods", down, none)


def many_deployments(api, rows):
    ns = "many"
    api.namespace(ns)
    path = f"/apis/apps/v1/namespaces/{ns}/deployments"

    def rolled(revision):
        items = api.call("GET", path)["items"]
        return len(items) == DEPLOYMENTS and all(d.get("status", {}).get("availableReplicas") == 1 and d["status"].get("updatedReplicas") == 1 and d["status"].get("replicas") == 1 and
                                                 d["status"].get("observedGeneration") == d["metadata"]["generation"] and d["metadata"]["annotations"].get("deployment.kubernetes.io/revision") == revision for d in items)

    begun, writes = time.monotonic(), requests_of(api)
    api.writes(DEPLOYMENTS, ("POST", path, JSON, deployment("web-{i}", 1)))
    api.until(lambda: rolled("1"))
    rows.append((f"{DEPLOYMENTS} deployments created, all available", f"{time.monotonic() - begun:.1f} s, {(requests_of(api) - writes) / DEPLOYMENTS:.1f} writes each", ""))
    begun, writes = time.monotonic(), requests_of(api)
    api.writes(DEPLOYMENTS, ("PATCH", path + "/web-{i}", STRATEGIC, {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "registry.example/web:2"}]}}}}))
    api.until(lambda: rolled("2"))
    rows.append((f"{DEPLOYMENTS} deployments rolled at once", f"{time.monotonic() - begun:.1f} s, {(requests_of(api) - writes) / DEPLOYMENTS:.1f} writes each", ""))
    api.call("DELETE", path)
    api.until(lambda: api.count(f"/api/v1/namespaces/{ns}/pods") == 0)


def many_jobs(api, rows):
    ns = "jobs"
    api.namespace(ns)
    path = f"/apis/batch/v1/namespaces/{ns}/jobs"
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job-{i}"}, "spec": {"template": {"metadata": {"annotations": {"hollow.coracle.io/run-for": "0s"}}, "spec": {"restartPolicy": "Never", "containers": CONTAINERS}}}}
    begun, writes = time.monotonic(), requests_of(api)
    api.writes(JOBS, ("POST", path, JSON, job))
    posted = time.monotonic() - begun
    api.until(lambda: api.count(path) == JOBS and all(j.get("status", {}).get("succeeded") == 1 and any(c["type"] == "Complete" for c in j["status"].get("conditions", ())) for j in api.call("GET", path)["items"]))
    rows.append((f"{JOBS} jobs of one pod, all complete", f"{time.monotonic() - begun:.1f} s ({posted:.1f} s of it their own creation), {(requests_of(api) - writes) / JOBS:.1f} writes each", ""))
    begun = time.monotonic()
    api.call("DELETE", "/api/v1/namespaces/" + ns)
    api.until(lambda: not api.exists("/api/v1/namespaces/" + ns))
    rows.append((f"their namespace deleted", f"{time.monotonic() - begun:.1f} s", ""))


def big_namespace(api, rows):
    ns = "full"
    api.namespace(ns)
    path = f"/api/v1/namespaces/{ns}/configmaps"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map-{i}"}, "data": {"key": "value"}}
    made, bare = api.writes(OBJECTS, ("POST", path, JSON, body), ("DELETE", path + "/map-{i}", JSON, None))
    api.writes(OBJECTS, ("POST", path, JSON, body))
    begun = time.monotonic()
    api.call("DELETE", "/api/v1/namespaces/" + ns)
    api.until(lambda: not api.exists("/api/v1/namespaces/" + ns))
    seconds = time.monotonic() - begun
    rows.append((f"namespace of {OBJECTS} objects deleted", f"{seconds:.1f} s, {seconds / bare:.2f} x the bare deletes ({bare:.1f} s)", ""))


def idle(api, rows):
    ns = "idle"
    api.namespace(ns)
    sets = 10
    for i in range(sets):
        api.call("POST", f"/apis/apps/v1/namespaces/{ns}/deployments", deployment(f"idle-{i}", PODS // sets))
    api.until(lambda: sum(d.get("status", {}).get("availableReplicas", 0) for d in api.call("GET", f"/apis/apps/v1/namespaces/{ns}/deployments")["items"]) == PODS // sets * sets)
    time.sleep(15)  # daemons look every ten for what a burst has left
    for name in ("controller-manager", "scheduler", "apiserver", "hollow"):
        rows.append((f"{name} resident, {PODS} pods cached, after making them", f"{rss_mb(api.cluster.processes[name].pid):.1f} MB", ""))
    manager = api.cluster.processes["controller-manager"]
    manager.terminate()
    manager.wait()
    manager = api.cluster.start_controller_manager()
    settle(api)
    pids = {name: api.cluster.processes[name].pid for name in ("controller-manager", "scheduler")}
    # What nobody can do without who hears the leases of all nodes: a program that reads them and does nothing else, at the same time.
    reader = subprocess.Popen(["curl", "-skN", "-o", "/dev/null", "-H", f"Authorization: Bearer {api.cluster.token}", "-H", "Coracle-Watch-Lull: 2500",
                               api.cluster.url + "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases?watch=1"])
    try:
        time.sleep(5)
        pids["reader"] = reader.pid
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        time.sleep(IDLE_SECONDS)
        share = {name: (cpu_seconds(pid) - before[name]) / IDLE_SECONDS * 100 for name, pid in pids.items()}
    finally:
        reader.kill()
        reader.wait()
    rows.append((f"controller-manager resident, {PODS} pods cached, freshly started", f"{rss_mb(manager.pid):.1f} MB", "60 MB"))
    rows.append((f"controller-manager idle, {PODS} pods, {api.cluster.nodes} nodes renewing leases", f"{share['controller-manager']:.2f} % of a core, {share['controller-manager'] / share['reader']:.1f} x a program that only reads their leases ({share['reader']:.2f} %)", "0.2 %"))
    rows.append(("scheduler idle", f"{share['scheduler']:.2f} % of a core", ""))


def keys_queued(api):
    """What the manager's controllers were told to look at, ever."""
    r = urllib.request.Request(f"https://127.0.0.1:{api.cluster.ports['controller-manager']}/metrics", headers={"Authorization": f"Bearer {api.cluster.token}"})
    try:
        with urllib.request.urlopen(r, context=api.tls) as answer:
            return sum(float(line.rsplit(" ", 1)[1]) for line in answer.read().decode().splitlines() if line.startswith("workqueue_adds_total"))
    except OSError:
        return None  # not up yet


def settle(api):
    """Until all that was found at the start is looked at, and nodes that were late for all the work before are well again: for half a minute hardly a key is queued."""
    calm, last, begun = 0, None, time.monotonic()
    while calm < 3:
        if time.monotonic() - begun > 600:
            raise SystemExit("the manager does not settle")
        time.sleep(10)
        now = keys_queued(api)
        calm = calm + 1 if None not in (now, last) and now - last <= 50 else 0
        last = now


PARTS = {"big-deployment": big_deployment, "many-deployments": many_deployments, "many-jobs": many_jobs, "big-namespace": big_namespace, "idle": idle}


class Told(list):
    """Rows, each printed as soon as it is known."""

    def append(self, row):
        what, value, goal = row
        print(f"{what}  {value}{'  [' + goal + ']' if goal else ''}", flush=True)
        super().append(row)


def rows(build, names=None, nodes=int(os.environ.get("NODES", "1000")), out=None):
    out = [] if out is None else out
    for name in names or PARTS:
        cluster = Cluster(build, nodes, hollow=("--brief-stop",))
        try:
            PARTS[name](Api(cluster.up()), out)
        finally:
            cluster.down()
    return out


def main():
    rows(os.path.abspath(sys.argv[1]), sys.argv[2:], out=Told())


if __name__ == "__main__":
    main()
