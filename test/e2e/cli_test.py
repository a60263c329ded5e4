# SPDX-License-Identifier: Apache-2.0
"""The project's own command line: the verbs of kubectl by `coracle`, against the same cluster."""

import os
import re
import subprocess
import threading

from cluster import Failure

NS = ("-n", "cli")
APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: app, namespace: cli}
spec:
  replicas: 1
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: "busybox:v1", command: [sh, -c, "echo hello from $HOSTNAME; mkdir /www; echo served >/www/index.html; exec httpd -f -p 8080 -h /www"]}]
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: cli}
data: {level: info}
"""


def expect(condition, what):
    if not condition:
        raise Failure(str(what))


def command(c, *args):
    return ["nsenter", f"--net=/run/netns/{c.netns}", f"{c.build}/bin/coracle", *args]


def coracle(c, *args, stdin=None, code=0):
    """What it prints where it ends as expected; both streams where it fails as expected."""
    r = subprocess.run(command(c, *args), env=dict(os.environ, KUBECONFIG=c.kubeconfig, HOME=c.dir), input=stdin, capture_output=True, text=True, timeout=120)
    expect(r.returncode == code, f"coracle {' '.join(args)}: ended with {r.returncode}: {r.stdout}{r.stderr}")
    return r.stdout if code == 0 else r.stdout + r.stderr


def deploy(c):
    """What all tests here work on; each may run alone."""
    if c.kubectl("get", "namespace", "cli", check=False).returncode:
        coracle(c, "create", "namespace", "cli")
        c.wait(20, "the namespace has its account", lambda: c.kubectl("get", "serviceaccount", "default", *NS, check=False).returncode == 0)
    coracle(c, "apply", "-f", "-", stdin=APP)
    expect("successfully rolled out" in coracle(c, "rollout", "status", "deployment/app", "--timeout=60s", *NS), "rollout status")


def pod(c):
    return coracle(c, "get", "pods", "-l", "app=app", "-o", "jsonpath={.items[0].metadata.name}", *NS).strip()


def test_coracle_deploys_changes_and_takes_away(c):
    deploy(c)
    expect("deployment.apps/app unchanged" in coracle(c, "apply", "-f", "-", stdin=APP), "apply knows what is there")
    expect("configmap/settings configured" in coracle(c, "apply", "-f", "-", stdin=APP.replace("level: info", "level: debug")), "apply changes")
    expect("serverside-applied" in coracle(c, "apply", "--server-side", "--field-manager", "other", "-f", "-", stdin="{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: cli}, data: {more: '1'}}"), "server-side apply")
    expect("conflict" in coracle(c, "apply", "--server-side", "--field-manager", "other", "-f", "-", stdin="{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: cli}, data: {level: x}}", code=1), "a conflict is told")
    expect("service/app exposed" in coracle(c, "expose", "deployment", "app", "--port=80", "--target-port=8080", *NS), "expose")
    coracle(c, "scale", "deployment/app", "--replicas=2", *NS)
    coracle(c, "wait", "deployment/app", "--for=jsonpath={.status.availableReplicas}=2", "--timeout=60s", *NS)
    coracle(c, "label", "deployment", "app", "tier=front", *NS)
    coracle(c, "annotate", "deployment", "app", "note=a word", *NS)
    coracle(c, "patch", "configmap", "settings", "-p", '{"data":{"level":"warn"}}', *NS)
    app = c.get("deployment", "app", *NS)
    expect(app["metadata"]["labels"]["tier"] == "front" and app["metadata"]["annotations"]["note"] == "a word" and app["spec"]["replicas"] == 2, app)
    expect(c.get("configmap", "settings", *NS)["data"] == {"level": "warn", "more": "1"}, "patch and applies")
    # The tables are the server's: both command lines print the same.
    for what in (("deployments",), ("services", "-o", "wide"), ("configmap", "settings", "-o", "json"), ("configmap", "settings", "-o", "name"), ("pods", "-l", "app=app", "--no-headers", "-o", "custom-columns=N:.metadata.name")):
        ours, theirs = coracle(c, "get", *what, *NS), c.kubectl("get", *what, *NS).stdout
        expect(re.sub(r"\d+m?s", "T", ours) == re.sub(r"\d+m?s", "T", theirs), f"{what}: {ours} {theirs}")
    described = coracle(c, "describe", "deployment", "app", *NS)
    expect("Replicas:" in described and "ScalingReplicaSet" in described, described)
    coracle(c, "rollout", "restart", "deployment/app", *NS)
    coracle(c, "rollout", "status", "deployment/app", "--timeout=60s", *NS)
    expect("2" in coracle(c, "rollout", "history", "deployment/app", *NS), "history")
    coracle(c, "delete", "configmap", "settings", *NS)
    expect("not found" in coracle(c, "get", "configmap", "settings", *NS, code=1), "what is gone")


def test_coracle_reaches_into_pods(c):
    deploy(c)
    c.wait(30, "one generation of pods", lambda: len(c.get("pods", "-l", "app=app", *NS)["items"]) == c.get("deployment", "app", *NS)["spec"]["replicas"])
    name = pod(c)
    expect(f"hello from {name}" in coracle(c, "logs", name, *NS), "logs")
    expect(coracle(c, "exec", name, *NS, "--", "cat", "/www/index.html") == "served\n", "exec")
    coracle(c, "exec", name, *NS, "--", "sh", "-c", "exit 7", code=7)
    expect(coracle(c, "exec", "-i", name, *NS, "--", "cat", stdin="through\n") == "through\n", "exec -i")
    source = f"{c.dir}/cli-file"
    with open(source, "wb") as f:
        f.write(os.urandom(300000))
    coracle(c, "cp", source, f"cli/{name}:/tmp/file")
    coracle(c, "cp", f"cli/{name}:/tmp/file", f"{source}-back")
    with open(source, "rb") as a, open(f"{source}-back", "rb") as b:
        expect(a.read() == b.read(), "cp there and back")
    forward = subprocess.Popen(command(c, "port-forward", f"pod/{name}", "18080:8080", *NS), env=dict(os.environ, KUBECONFIG=c.kubeconfig, HOME=c.dir), stdout=subprocess.PIPE, text=True)
    clock = threading.Timer(60, forward.kill)  # the pipe then ends
    clock.start()
    try:
        expect("18080" in forward.stdout.readline(), "port-forward tells that it listens")
        expect(c.inside(["curl", "-sf", "http://127.0.0.1:18080/"]).stdout == "served\n", "port-forward")
    finally:
        clock.cancel()
        forward.terminate()
        forward.wait(20)


def test_coracle_speaks_for_others(c):
    deploy(c)
    name = pod(c)
    said = coracle(c, "auth", "whoami", "-o", "json", "--as", "anna", "--as-uid", "7", "--as-group", "painters", "--as-group", "a b", "--as-user-extra", "from/where=the hills")
    for part in ('"anna"', '"7"', '"painters"', '"a b"', '"from/where"', '"the hills"'):
        expect(part in said, f"{part}: {said}")
    # Requests and upgraded connections alike.
    expect("Forbidden" in coracle(c, "get", "pods", "--as", "anna", *NS, code=1), "anna may not list")
    expect('User "anna" cannot' in coracle(c, "exec", name, "--as", "anna", *NS, "--", "true", code=1), "anna may not exec")
    expect(coracle(c, "exec", name, "--as", "anna", "--as-group", "system:masters", *NS, "--", "echo", "in") == "in\n", "her group may")
    expect("no user" in coracle(c, "get", "pods", "--as-group", "system:masters", *NS, code=1), "groups of nobody")
    coracle(c, "delete", "namespace", "cli", "--wait=false")
