# SPDX-License-Identifier: Apache-2.0
"""What nodes and pods use: the metrics API as kubectl top and others read it."""

import json

POD = """
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %s}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: "docker.io/library/busybox:v1", imagePullPolicy: Never, command: [sh, -c, "%s"]}
"""


def top(c, *args):
    return [line.split() for line in c.kubectl("top", *args, "--no-headers").stdout.splitlines()]


def test_top_nodes_and_pods(c):
    c.apply(POD % ("busy", "busy", "while true; do :; done"))
    c.apply(POD % ("lazy", "lazy", "sleep 1000"))
    try:
        c.wait(60, "kubectl top node", lambda: top(c, "node", c.node))
        rows = c.wait(90, "kubectl top pod", lambda: len(top(c, "pod", "-l", "app in (busy, lazy)")) == 2 and top(c, "pod", "-l", "app in (busy, lazy)"))
        used = {row[0]: (int(row[1].rstrip("m")), row[2]) for row in rows}
        assert used["busy"][0] > 50 > used["lazy"][0], used
        assert used["lazy"][1].endswith("Mi"), used
        node = top(c, "node", c.node)[0]
        assert int(node[1].rstrip("m")) >= used["busy"][0] // 2 and node[2].endswith("%"), node
        # The objects as programs see them, in both versions, and as a Table.
        for version in ("v1", "v1beta1"):
            raw = json.loads(c.kubectl("get", "--raw", f"/apis/metrics.k8s.io/{version}/namespaces/default/pods/busy").stdout)
            assert raw["kind"] == "PodMetrics" and raw["apiVersion"] == f"metrics.k8s.io/{version}", raw
            assert raw["containers"][0]["name"] == "main" and raw["containers"][0]["usage"]["memory"].endswith("Ki"), raw
            assert raw["metadata"]["labels"] == {"app": "busy"} and raw["window"].endswith("s"), raw
        table = c.kubectl("get", "pods.metrics.k8s.io", "busy").stdout.splitlines()
        assert table[0].split() == ["NAME", "CPU", "MEMORY", "WINDOW"], table
        assert c.kubectl("get", "pods.metrics.k8s.io", "nobody", check=False).stderr.find("NotFound") > 0
        # Whoever may view may read it; nobody may write it.
        assert c.kubectl("auth", "can-i", "list", "pods.metrics.k8s.io", "--as=u", check=False).stdout.strip() == "no"
        c.kubectl("create", "rolebinding", "viewer", "--clusterrole=view", "--user=u")
        c.wait(10, "view reads metrics", lambda: c.kubectl("auth", "can-i", "list", "pods.metrics.k8s.io", "--as=u", check=False).stdout.strip() == "yes")
        assert c.kubectl("delete", "pods.metrics.k8s.io", "busy", check=False).returncode != 0
    finally:
        c.kubectl("delete", "pod", "busy", "lazy", "--wait=false", check=False)
        c.kubectl("delete", "rolebinding", "viewer", check=False)
