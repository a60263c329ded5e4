#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Controllers, scheduler and API server together, on nodes that are hollow: what users declare comes true, and goes again.

usage: test/integration/controllers.py BUILD_DIR     prints "N passed, N failed"; exit status 1 where one failed
"""
import json
import os
import signal
import ssl
import sys
import time
import traceback
import urllib.error
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "hollow"))
from hollow_cluster import Cluster  # noqa: E402

passed, failed = 0, 0
MERGE = "application/merge-patch+json"
APPS, BATCH, CORE = "/apis/apps/v1/namespaces/default/", "/apis/batch/v1/namespaces/default/", "/api/v1/namespaces/default/"
tls = ssl._create_unverified_context()


def call(cluster, method, path, body=None, ctype="application/json"):
    r = urllib.request.Request(cluster.url + path, None if body is None else json.dumps(body).encode(), {"Content-Type": ctype, "Authorization": f"Bearer {cluster.token}"}, method=method)
    try:
        with urllib.request.urlopen(r, context=tls, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as e:
        return json.load(e)


def write(cluster, method, path, body=None, ctype="application/json"):
    """What the users do must succeed, or what is looked at later means nothing."""
    answer = call(cluster, method, path, body, ctype)
    if answer.get("kind") == "Status" and answer.get("status") != "Success":
        raise RuntimeError(f"{method} {path}: {answer}")


def check(name, condition, seconds=120):
    """Waits until the condition holds; long, for a machine that does much else."""
    global passed, failed
    end = time.monotonic() + seconds
    while True:
        if condition():
            passed += 1
            return
        if time.monotonic() > end:
            failed += 1
            print("FAILED:", name)
            return
        time.sleep(0.05)


def template(name, **spec):
    return {"metadata": {"labels": {"app": name}}, "spec": dict({"containers": [{"name": "c", "image": "web:1"}]}, **spec)}


def workload(kind, name, replicas=None, **spec):
    body = {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": dict({"selector": {"matchLabels": {"app": name}}, "template": template(name)}, **spec)}
    if replicas is not None:
        body["spec"]["replicas"] = replicas
    return body


def job(name, script, **spec):
    containers = [{"name": "c", "image": "busybox", "command": ["sh", "-c", script]}]
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name}, "spec": dict({"template": {"spec": {"restartPolicy": "Never", "containers": containers}}}, **spec)}


def play(cluster):
    def get(path):
        return call(cluster, "GET", path)

    def status(path, **want):
        have = get(path).get("status", {})
        return all(have.get(k, 0) == v for k, v in want.items())

    def pods(app):
        return get(CORE + "pods?labelSelector=app%3D" + app)["items"]

    def condition(path, kind):
        return any(c["type"] == kind and c["status"] == "True" for c in get(path).get("status", {}).get("conditions", ()))

    write(cluster, "POST", APPS + "deployments", workload("Deployment", "web", 60))
    check("a deployment becomes available", lambda: status(APPS + "deployments/web", availableReplicas=60, updatedReplicas=60))
    check("its pods are spread", lambda: len({p["spec"]["nodeName"] for p in pods("web")}) == 10)
    write(cluster, "PATCH", APPS + "deployments/web", {"spec": {"template": {"metadata": {"annotations": {"v": "2"}}}}}, MERGE)
    check("it rolls", lambda: status(APPS + "deployments/web", availableReplicas=60, updatedReplicas=60, replicas=60, observedGeneration=2))
    write(cluster, "PATCH", APPS + "deployments/web", {"spec": {"replicas": 0}}, MERGE)
    check("it scales to nothing", lambda: not pods("web"))
    write(cluster, "POST", APPS + "daemonsets", workload("DaemonSet", "agent"))
    check("a daemon set is on every node", lambda: status(APPS + "daemonsets/agent", numberAvailable=10, desiredNumberScheduled=10))
    write(cluster, "POST", APPS + "statefulsets", workload("StatefulSet", "db", 3, serviceName="db"))
    check("a stateful set comes up in order", lambda: status(APPS + "statefulsets/db", availableReplicas=3))
    check("under its names", lambda: sorted(p["metadata"]["name"] for p in pods("db")) == ["db-0", "db-1", "db-2"])
    write(cluster, "POST", BATCH + "jobs", job("good", "exit 0", completions=20, parallelism=10))
    check("a job counts its pods exactly", lambda: status(BATCH + "jobs/good", succeeded=20) and condition(BATCH + "jobs/good", "Complete"))
    write(cluster, "POST", BATCH + "jobs", job("bad", "exit 3", backoffLimit=0))
    check("one that fails says so", lambda: condition(BATCH + "jobs/bad", "Failed"))
    write(cluster, "POST", BATCH + "jobs", job("each", "exit 0", completions=5, parallelism=5, completionMode="Indexed"))
    check("an indexed one does each index", lambda: get(BATCH + "jobs/each").get("status", {}).get("completedIndexes") == "0-4")
    write(cluster, "POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
          {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "db"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "db"}}}})
    check("a budget allows one", lambda: status("/apis/policy/v1/namespaces/default/poddisruptionbudgets/db", disruptionsAllowed=1, expectedPods=3, desiredHealthy=2))
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    write(cluster, "POST", budgets, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "agent"}, "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "agent"}}}})
    check("a budget of pods without a scale says so", lambda: any(c["reason"] == "SyncFailed" and c["message"] == "daemonsets.apps does not implement the scale subresource"
                                                                  for c in get(budgets + "/agent").get("status", {}).get("conditions", ())))
    write(cluster, "DELETE", APPS + "daemonsets/agent")
    check("what a deleted owner had is collected", lambda: not pods("agent"))
    write(cluster, "DELETE", APPS + "statefulsets/db?propagationPolicy=Orphan")
    check("or left where asked for", lambda: get(APPS + "statefulsets/db").get("code") == 404 and all(not p["metadata"].get("ownerReferences") for p in pods("db")) and len(pods("db")) == 3)
    write(cluster, "POST", APPS + "statefulsets", workload("StatefulSet", "db", 3, serviceName="db"))
    call(cluster, "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "elsewhere"}})
    foreign = get(APPS + "statefulsets/db")["metadata"]
    write(cluster, "POST", "/api/v1/namespaces/elsewhere/configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
        "name": "lost", "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": foreign["uid"]}]}})
    check("an owner in another namespace is none", lambda: get("/api/v1/namespaces/elsewhere/configmaps/lost").get("code") == 404)
    check("and the dependent said so", lambda: any(e["reason"] == "OwnerRefInvalidNamespace" and e["involvedObject"]["name"] == "lost" for e in get("/api/v1/namespaces/elsewhere/events")["items"]))
    check("and taken in again", lambda: all(p["metadata"].get("ownerReferences") for p in pods("db")) and len(pods("db")) == 3)


def stop_beside_a_silent_server(cluster):
    """The lease cannot be given back, nor any worker's answer be waited for."""
    server, manager = cluster.processes["apiserver"], cluster.processes["controller-manager"]
    server.send_signal(signal.SIGSTOP)
    try:
        manager.terminate()
        check("a manager that is told to stop does not wait for a silent server", lambda: manager.poll() is not None)
        with open(f"{cluster.dir}/controller-manager.log") as f:
            check("and says so", lambda log=f.read(): "did not stop within --controller-shutdown-timeout" in log, 0)
    finally:
        server.send_signal(signal.SIGCONT)


def main():
    global failed
    cluster = Cluster(sys.argv[1] if len(sys.argv) > 1 else "build/gcc", nodes=10, controllers=("--controller-shutdown-timeout=1s",))
    try:
        play(cluster.up())
        stop_beside_a_silent_server(cluster)
    except (Exception, SystemExit):
        failed += 1
        print("FAILED:", traceback.format_exc())
    finally:
        if failed:
            cluster.print_logs()
        cluster.down()
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
