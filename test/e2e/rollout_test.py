# SPDX-License-Identifier: Apache-2.0
"""Deployments that roll when their ConfigMap changes, and go back by themselves when a rollout fails."""

APP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: greeting}
data: {word: hello}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: greeter
  annotations: {coracle.dev/roll-on-change: "true", coracle.dev/rollback-on-failure: "true", coracle.dev/rollback-after-restarts: "1"}
spec:
  replicas: 2
  selector: {matchLabels: {app: greeter}}
  template:
    metadata: {labels: {app: greeter}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: docker.io/library/busybox:v1
        imagePullPolicy: Never
        command: [sh, -c, "echo $WORD; exec sleep 1000"]
        env: [{name: WORD, valueFrom: {configMapKeyRef: {name: greeting, key: word}}}]
"""


def words(c):
    pods = [p for p in c.get("pods", "-l", "app=greeter")["items"] if "deletionTimestamp" not in p["metadata"]]
    return sorted(c.kubectl("logs", p["metadata"]["name"]).stdout.strip() for p in pods)


def condition(c):
    for x in c.get("deployment", "greeter")["status"].get("conditions", []):
        if x["type"] == "RolledBack":
            return x["status"], x["message"]
    return None


def test_rolls_and_rolls_back_by_itself(c):
    c.apply(APP)
    try:
        c.kubectl("rollout", "status", "deployment/greeter", "--timeout=60s", timeout=70)
        c.wait(10, "the good revision is noted", lambda: c.get("deployment", "greeter")["metadata"]["annotations"]["coracle.dev/good-revision"])
        c.wait(10, "the contents are noted", lambda: c.get("deployment", "greeter")["metadata"]["annotations"]["coracle.dev/config-hash"])
        assert words(c) == ["hello", "hello"]
        # The ConfigMap changes: new pods say the new word.
        c.kubectl("patch", "configmap", "greeting", "-p", '{"data":{"word":"goodbye"}}')
        c.wait(60, "new pods with the new word", lambda: words(c) == ["goodbye", "goodbye"])
        assert "ConfigChanged" in c.kubectl("get", "events", "--field-selector", "involvedObject.name=greeter").stdout
        good = c.wait(20, "that is the good revision now", lambda: (lambda a: a["coracle.dev/good-revision"] if "coracle.dev/config-hash" in
                      c.get("deployment", "greeter")["spec"]["template"]["metadata"].get("annotations", {}) else None)(c.get("deployment", "greeter")["metadata"]["annotations"]))
        # A command that fails: back to what worked, and it says why.
        c.kubectl("patch", "deployment", "greeter", "--type=json", "-p", '[{"op":"replace","path":"/spec/template/spec/containers/0/command","value":["false"]}]')
        c.wait(60, "rolled back", lambda: condition(c) and condition(c)[0] == "True")
        assert "crashes" in condition(c)[1], condition(c)
        assert c.get("deployment", "greeter")["spec"]["template"]["spec"]["containers"][0]["command"][0] == "sh"
        c.kubectl("rollout", "status", "deployment/greeter", "--timeout=60s", timeout=70)
        assert words(c) == ["goodbye", "goodbye"], good
        assert "RolledBack" in c.kubectl("get", "events", "--field-selector", "involvedObject.name=greeter").stdout
    finally:
        c.kubectl("delete", "deployment,configmap", "greeter", "greeting", "--wait=false", check=False)
