#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Controllers and API servers of others: autoscalers ask theirs for metrics; namespaces, garbage and quotas see what they serve, and go on where they fail.

usage: test/integration/aggregated_controllers.py BUILD_DIR     prints "N passed, N failed"; exit status 1 where one failed
"""
import os, sys, traceback
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "lib"), os.path.join(HERE, "..", "hollow")]
import servers
from extension import Extension, api_service, flavor, own_address, service_objects
from hollow_cluster import Cluster
from servers import Api, check, finish, wait_for

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
SCALERS = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
V2 = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}


def connect(api, extension, *versions):
    for path, o in zip(("/api/v1/namespaces/kube-public/services", "/apis/discovery.k8s.io/v1/namespaces/kube-public/endpointslices"), service_objects("kube-public", "extension", own_address(), extension.port)):
        s, made, _ = api.call("POST", path, o)
        check("its " + o["kind"], s == 201, made)
    for group, version in versions:
        register(api, extension, group, version)


def register(api, extension, group, version):
    s, made, _ = api.call("POST", SERVICES, api_service(group, version, "kube-public", "extension", extension.ca))
    check("its APIService", s == 201, made)
    check("is available", wait_for(lambda: any(c["status"] == "True" for c in api.get(SERVICES + "/%s.%s" % (version, group)).get("status", {}).get("conditions", []))), api.get(SERVICES + "/%s.%s" % (version, group)))


def deployment(api, name, replicas):
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "web:1", "resources": {"requests": {"cpu": "100m"}}}]}}
    s, o, _ = api.call("POST", DEPLOYMENTS, {"metadata": {"name": name}, "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}})
    check("deployment " + name, s == 201, o)
    check("runs", wait_for(lambda: api.get(DEPLOYMENTS + "/" + name).get("status", {}).get("availableReplicas") == replicas), api.get(DEPLOYMENTS + "/" + name).get("status"))


def scaler(api, name, metric):
    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "minReplicas": 1, "maxReplicas": 9, "metrics": [metric],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}, "scaleUp": {"policies": [{"type": "Pods", "value": 9, "periodSeconds": 1}]}}}
    s, o, _ = api.call("POST", SCALERS, {"metadata": {"name": name}, "spec": spec})
    check("autoscaler " + name, s == 201, o)


def condition(o, kind):
    found = [c for c in o.get("status", {}).get("conditions", []) if c["type"] == kind]
    return found[0] if found else {}


def active(api, name):
    return condition(api.get(SCALERS + "/" + name), "ScalingActive")


def scaled(api, name, replicas):
    return check("%s is scaled to %d" % (name, replicas), wait_for(lambda: api.get(DEPLOYMENTS + "/" + name)["spec"]["replicas"] == replicas), api.get(SCALERS + "/" + name).get("status"))


def play_metrics(api, extension):
    for name in ("pods", "object", "external"):
        deployment(api, name, 2)
    scaler(api, "pods", {"type": "Pods", "pods": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "10"}}})
    scaler(api, "object", {"type": "Object", "object": {"metric": {"name": "requests", "selector": {"matchLabels": {"verb": "get"}}}, "describedObject": {"apiVersion": "v1", "kind": "Service", "name": "front"}, "target": {"type": "AverageValue", "averageValue": "10"}}})
    scaler(api, "external", {"type": "External", "external": {"metric": {"name": "backlog", "selector": {"matchLabels": {"topic": "a"}}}, "target": {"type": "AverageValue", "averageValue": "10"}}})
    said = {"pods": ("FailedGetPodsMetric", "the HPA was unable to compute the replica count: unable to get metric queue: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"),
            "object": ("FailedGetObjectMetric", "the HPA was unable to compute the replica count: unable to get metric requests: Service on default front/unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered"),
            "external": ("FailedGetExternalMetric", "the HPA was unable to compute the replica count: unable to get external metric default/backlog/&LabelSelector{MatchLabels:map[string]string{topic: a,},MatchExpressions:[]LabelSelectorRequirement{},}: "
                         "unable to fetch metrics from external metrics API: the server could not find the requested resource (get backlog.external.metrics.k8s.io)")}
    for name, (reason, message) in said.items():
        check("nobody knows metrics of " + name, wait_for(lambda: active(api, name).get("reason") == reason) and active(api, name)["message"] == message, active(api, name))
    names = [p["metadata"]["name"] for p in api.get("/api/v1/namespaces/default/pods?labelSelector=app%3Dpods")["items"]]
    extension.metrics.update(queue={n: "20" for n in names}, requests={"front": "25"})
    extension.external["backlog"] = ["15", "25"]
    connect(api, extension, ("custom.metrics.k8s.io", "v1beta2"), ("external.metrics.k8s.io", "v1beta1"))
    for name, replicas in (("pods", 4), ("object", 3), ("external", 4)):
        scaled(api, name, replicas)
        check("and says so", wait_for(lambda: active(api, name).get("reason") == "ValidMetricFound"), active(api, name))
    status = api.get(SCALERS + "/external")["status"]["currentMetrics"][0]
    check("the value is told", status["external"]["current"]["averageValue"] in ("20", "10") and status["external"]["metric"]["name"] == "backlog", status)
    asked = [r for r in extension.requests if "/requests" in r["path"]]
    check("as what is asked for", asked and asked[-1]["path"] == "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/services/front/requests" and "metricLabelSelector=verb%3Dget" in asked[-1]["query"], asked[-1:])
    check("by whom", asked[-1]["headers"]["X-Remote-User"] == "system:kube-controller-manager", asked[-1]["headers"].items())
    asked = [r for r in extension.requests if "/queue" in r["path"]]
    check("of all pods", asked and asked[-1]["path"] in ("/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/queue", "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/%2A/queue") and "labelSelector=app%3Dpods" in asked[-1]["query"], asked[-1:])
    extension.external["backlog"] = ["10"]
    scaled(api, "external", 1)
    # An older server.
    api.call("DELETE", SERVICES + "/v1beta2.custom.metrics.k8s.io")
    extension.metric_versions = ["v1beta1"]
    register(api, extension, "custom.metrics.k8s.io", "v1beta1")
    extension.metrics["requests"] = {"front": "55"}
    check("in the older version", wait_for(lambda: [r for r in extension.requests if r["path"] == "/apis/custom.metrics.k8s.io/v1beta1/namespaces/default/services/front/requests"]))
    scaled(api, "object", 6)
    del extension.metrics["requests"]
    check("what it does not know", wait_for(lambda: active(api, "object").get("reason") == "FailedGetObjectMetric") and active(api, "object")["message"].endswith("front/unable to fetch metrics from custom metrics API: the server could not find the metric requests for services"), active(api, "object"))
    extension.broken = True
    check("out of order", wait_for(lambda: active(api, "external").get("message", "").endswith("unable to fetch metrics from external metrics API: the server is currently unable to handle the request (get backlog.external.metrics.k8s.io)")), active(api, "external"))
    extension.broken = False


def play_others(api, extension):
    register(api, extension, "flavors.example.com", "v1")
    flavors = "/apis/flavors.example.com/v1/namespaces/%s/flavors"
    check("is known", wait_for(lambda: any(v["freshness"] == "Current" for g in api.call("GET", "/apis", headers=V2)[1]["items"] if g["metadata"]["name"] == "flavors.example.com" for v in g["versions"])))
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "going"}})
    for i in range(3):
        s, o, _ = api.call("POST", flavors % "going", flavor("going", "f%d" % i))
        check("made", s == 201, o)
    api.call("POST", "/api/v1/namespaces/going/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"count/flavors.flavors.example.com": "5"}}})
    check("a quota counts them", wait_for(lambda: api.get("/api/v1/namespaces/going/resourcequotas/q").get("status", {}).get("used") == {"count/flavors.flavors.example.com": "3"}), api.get("/api/v1/namespaces/going/resourcequotas/q").get("status"))
    api.call("DELETE", "/api/v1/namespaces/going")
    check("a namespace takes them along", wait_for(lambda: api.call("GET", "/api/v1/namespaces/going")[0] == 404) and not [k for k in extension.objects if k[0] == "going"], extension.objects)
    # What a flavor owns goes with it.
    s, o, _ = api.call("POST", flavors % "default", flavor("default", "owner"))
    owner = [{"apiVersion": "flavors.example.com/v1", "kind": "Flavor", "name": "owner", "uid": "uid-owner"}]
    api.call("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "owned", "ownerReferences": owner}})
    check("its watch is on", wait_for(lambda: [r for r in extension.seen("/apis/flavors.example.com/v1/flavors") if "watch" in r["query"]]))
    check("what is owned stays", api.call("GET", "/api/v1/namespaces/default/configmaps/owned")[0] == 200)
    api.call("DELETE", flavors % "default" + "/owner")
    check("as long as its owner", wait_for(lambda: api.call("GET", "/api/v1/namespaces/default/configmaps/owned")[0] == 404))
    # A server that fails holds up nobody else, but namespaces cannot be known to be empty.
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "waits"}})
    api.call("POST", "/api/v1/namespaces/waits/configmaps", {"metadata": {"name": "c"}})
    extension.broken = True
    check("it fails", wait_for(lambda: condition(api.get(SERVICES + "/v1.flavors.example.com"), "Available").get("status") == "False"))
    api.call("DELETE", "/api/v1/namespaces/waits")
    said = wait_for(lambda: condition(api.get("/api/v1/namespaces/waits"), "NamespaceDeletionDiscoveryFailure").get("status") == "True")
    c = condition(api.get("/api/v1/namespaces/waits"), "NamespaceDeletionDiscoveryFailure")
    check("a namespace waits", said and c["reason"] == "DiscoveryFailed" and "unable to retrieve the complete list of server APIs: " in c["message"] and "flavors.example.com/v1: stale GroupVersion discovery: flavors.example.com/v1" in c["message"], c)
    check("empty of all else", wait_for(lambda: api.call("GET", "/api/v1/namespaces/waits/configmaps/c")[0] == 404))
    deployment(api, "collected", 1)
    api.call("DELETE", DEPLOYMENTS + "/collected", {"propagationPolicy": "Background"})
    check("garbage is collected", wait_for(lambda: not api.get("/api/v1/namespaces/default/pods?labelSelector=app%3Dcollected")["items"] and not api.get("/apis/apps/v1/namespaces/default/replicasets?labelSelector=app%3Dcollected")["items"]))
    api.call("POST", "/api/v1/namespaces/default/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"count/configmaps": "50", "count/leases.coordination.k8s.io": "50"}}})
    check("a quota is counted", wait_for(lambda: "count/configmaps" in api.get("/api/v1/namespaces/default/resourcequotas/q").get("status", {}).get("used", {})))
    extension.broken = False
    check("until it is well", wait_for(lambda: api.call("GET", "/api/v1/namespaces/waits")[0] == 404), api.get("/api/v1/namespaces/waits"))


def main():
    cluster = Cluster(servers.BUILD, 3, controllers=["--horizontal-pod-autoscaler-sync-period", "1s", "--horizontal-pod-autoscaler-initial-readiness-delay", "0s"])
    extension = None
    try:
        cluster.up()
        extension = Extension(cluster.dir, "extension.kube-public.svc")
        api = Api(cluster.ports["apiserver"], cluster.token)
        play_metrics(api, extension)
        play_others(api, extension)
    except Exception:
        check("the play", False, traceback.format_exc()[-1500:])
    finally:
        if servers.failed:
            cluster.print_logs()
        if extension:
            extension.close()
        cluster.down()
    finish()


main()
