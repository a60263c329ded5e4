# SPDX-License-Identifier: Apache-2.0
"""Two nodes: pods reach each other and Services across them, and kubectl reaches into pods of either. The second node comes with the first test
that needs it, and goes with the last."""

from cluster import Failure

SET = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: everywhere}
spec:
  selector: {matchLabels: {app: everywhere}}
  template:
    metadata: {labels: {app: everywhere}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: http
        image: busybox:v1
        env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
        command: [sh, -c, "mkdir /www && echo $NODE >/www/index.html && echo serving on $NODE && exec httpd -f -p 8080 -h /www"]
        readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: everywhere}
spec: {selector: {app: everywhere}, type: NodePort, ports: [{port: 80, targetPort: 8080}]}
"""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def two_nodes(c):
    node = c.nodes[1] if len(c.nodes) > 1 else c.add_node()
    c.apply(SET)
    c.kubectl("rollout", "status", "daemonset/everywhere", "--timeout=60s")
    return node


def test_pods_of_two_nodes_reach_each_other(c):
    node = two_nodes(c)
    pods = {p["spec"]["nodeName"]: p for p in c.get("pods", "-l", "app=everywhere")["items"]}
    expect(set(pods) == {c.node, node.name}, f"a pod on each node, not {set(pods)}")
    for here in pods.values():
        for there, pod in pods.items():
            out = c.kubectl("exec", here["metadata"]["name"], "--", "wget", "-q", "-O", "-", f"http://{pod['status']['podIP']}:8080/").stdout.strip()
            expect(out == there, f"{there} answers {here['metadata']['name']}, not {out}")
            expect(c.kubectl("logs", pod["metadata"]["name"]).stdout == f"serving on {there}\n", "the log")


def test_services_span_nodes(c):
    two_nodes(c)
    both = {n.name for n in c.nodes}
    pods = {p["spec"]["nodeName"]: p["metadata"]["name"] for p in c.get("pods", "-l", "app=everywhere")["items"]}
    service = c.get("service", "everywhere")["spec"]
    # By name and address from a pod of each node, by node port at each node.
    for pod in pods.values():
        seen = set()
        c.wait(15, f"both nodes to answer {pod}", lambda: seen.add(c.kubectl("exec", pod, "--", "wget", "-q", "-O", "-", "http://everywhere/").stdout.strip()) or seen == both)
    for node in c.nodes:
        seen = set()
        c.wait(15, f"both nodes to answer at {node.ip}", lambda: seen.add(
            c.inside(["curl", "-sf", "--max-time", "3", f"http://{node.ip}:{service['ports'][0]['nodePort']}/"]).stdout.strip()) or seen == both)


def test_node_goes(c):
    finish(c, two_nodes(c))


def finish(c, node=None):
    node = node or (c.nodes[1] if len(c.nodes) > 1 else None)
    if not node:
        return
    c.kubectl("drain", node.name, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=30s")
    c.kubectl("delete", "daemonset,service", "everywhere", "--timeout=30s")
    c.wait(30, "its pods to go", lambda: not c.get("pods", "-l", "app=everywhere")["items"])
    c.remove_node()
    expect([n["metadata"]["name"] for n in c.get("nodes")["items"]] == [c.node], "one node left")
