# SPDX-License-Identifier: Apache-2.0
"""HorizontalPodAutoscalers on real load, with nothing installed."""

APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: burner}
spec:
  replicas: 1
  selector: {matchLabels: {app: burner}}
  template:
    metadata: {labels: {app: burner}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: main
        image: docker.io/library/busybox:v1
        imagePullPolicy: Never
        command: [sh, -c, "while true; do :; done"]
        resources: {requests: {cpu: 10m}}
"""
AUTOSCALER = """
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: burner}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: burner}
  minReplicas: 1
  maxReplicas: %d
  behavior: {scaleDown: {stabilizationWindowSeconds: 0}}
  metrics:
  - {type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: %d}}}
"""


def conditions(c):
    return {x["type"]: x["status"] + " " + x["reason"] for x in c.get("hpa", "burner")["status"]["conditions"]}


def test_autoscaler_follows_the_load(c):
    c.apply(APP)
    c.apply(AUTOSCALER % (3, 50))
    try:
        # It uses far more than it asks for: up to the most allowed.
        c.wait(120, "scaled up", lambda: c.get("deployment", "burner")["spec"]["replicas"] == 3)
        c.wait(60, "conditions", lambda: conditions(c)["ScalingActive"] == "True ValidMetricFound" and conditions(c)["ScalingLimited"].startswith("True"))
        assert "SuccessfulRescale" in c.kubectl("get", "events", "--field-selector", "involvedObject.name=burner").stdout
        shown = c.kubectl("get", "hpa", "burner").stdout
        assert "/50%" in shown and "<unknown>" not in shown, shown
        # A new bound holds at once.
        c.apply(AUTOSCALER % (2, 50))
        c.wait(10, "scaled down", lambda: c.get("deployment", "burner")["spec"]["replicas"] == 2)
    finally:
        c.kubectl("delete", "hpa,deployment", "burner", "--wait=false", check=False)


def test_autoscaler_says_what_it_lacks(c):
    c.apply(AUTOSCALER.replace("name: burner}\n  minReplicas", "name: nobody}\n  minReplicas") % (3, 50))
    try:
        c.wait(30, "FailedGetScale", lambda: conditions(c)["AbleToScale"] == "False FailedGetScale")
    finally:
        c.kubectl("delete", "hpa", "burner", check=False)
