#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What clients of the Kubernetes API see of its REST conventions: who owns which field, what status writes may change, lists, deletes, warnings.

usage: test/integration/rest.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, gzip, http.client, json, os, socket, struct, subprocess, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import Watch, check, run, wait_for

NS = "/api/v1/namespaces/default/"
APPS = "/apis/apps/v1/namespaces/default/"
MERGE, STRATEGIC, APPLY, JSON_PATCH = "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/json-patch+json"


def pod(name, **spec):
    meta = {"generateName": name} if name.endswith("-") else {"name": name}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": dict({"containers": [{"name": "c", "image": "busybox"}]}, **spec)}


def template(**spec):
    return {"metadata": {"labels": {"a": "b"}}, "spec": dict({"containers": [{"name": "c", "image": "one"}]}, **spec)}


def deployment(name, **spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": dict({"selector": {"matchLabels": {"a": "b"}}, "template": template()}, **spec)}


def owned(o, manager, operation="Update", subresource=None):
    """The fields of one manager."""
    for m in o["metadata"].get("managedFields", []):
        if (m["manager"], m["operation"], m.get("subresource")) == (manager, operation, subresource):
            return m["fieldsV1"]
    return None


def causes(o):
    return [(c["field"], c["message"]) for c in o.get("details", {}).get("causes", [])]


def test_ownership(site):
    """A client owns what it wrote, and nothing that defaults of admission or the kind's own rules add."""
    api = site.start_server().api
    who = {"User-Agent": "writer/1.0"}
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    s, o, _ = api.call("POST", NS + "pods", pod("p", serviceAccountName="default"), headers=who)
    spec = owned(o, "writer")["f:spec"]
    check("a pod's spec is owned", s == 201 and "f:containers" in spec and "f:serviceAccountName" in spec and "f:serviceAccount" in spec, o)
    check("what admission adds is not", not {"f:priority", "f:tolerations", "f:preemptionPolicy"} & set(spec), spec)
    check("the old name of the account", o["spec"]["serviceAccount"] == "default", o)
    s, o, _ = api.call("POST", NS + "services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}, headers=who)
    check("nor what is allocated", s == 201 and o["spec"]["clusterIP"] and not {"f:clusterIP", "f:clusterIPs", "f:ipFamilies"} & set(owned(o, "writer")["f:spec"]), o)
    s, o, _ = api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "owned"}}, headers=who)
    check("nor a namespace's finalizers", s == 201 and o["spec"]["finalizers"] == ["kubernetes"] and "f:spec" not in (owned(o, "writer") or {}), o)
    o["spec"]["finalizers"].append("example.com/hold")
    s, o, _ = api.call("PUT", "/api/v1/namespaces/owned/finalize", o, headers=who)
    check("finalizers set through finalize are", s == 200 and "f:finalizers" in (owned(o, "writer", subresource="finalize") or {}).get("f:spec", {}), o)
    s, d, _ = api.call("POST", APPS + "deployments", deployment("d"), headers=who)
    status = {"User-Agent": "reporter/1.0"}
    s, d, _ = api.call("PATCH", APPS + "deployments/d/status", {"status": {"replicas": 2}, "spec": {"replicas": 9}}, MERGE, status)
    check("a status write owns status alone", s == 200 and owned(d, "reporter", subresource="status") == {"f:status": {"f:replicas": {}}}, d)
    del d["status"]
    d["metadata"]["labels"] = {"x": "y"}
    s, d, _ = api.call("PUT", APPS + "deployments/d", d, headers=who)
    check("an update without status takes nothing from who wrote it", s == 200 and d["status"]["replicas"] == 2 and owned(d, "reporter", subresource="status") == {"f:status": {"f:replicas": {}}}, d)


def test_status_metadata(site):
    api = site.start_server().api
    change = {"metadata": {"labels": {"l": "1"}, "annotations": {"a": "1"}}, "status": {"replicas": 1}}
    api.call("POST", APPS + "deployments", deployment("d"))
    s, o, _ = api.call("PATCH", APPS + "deployments/d/status", change, MERGE)
    check("a Deployment's status keeps labels, not annotations", s == 200 and "labels" not in o["metadata"] and o["metadata"]["annotations"] == {"a": "1"}, o)
    api.call("POST", APPS + "replicasets", dict(deployment("r"), kind="ReplicaSet"))
    s, o, _ = api.call("PATCH", APPS + "replicasets/r/status", change, MERGE)
    check("a ReplicaSet's may change both", s == 200 and o["metadata"]["labels"] == {"l": "1"} and o["metadata"]["annotations"] == {"a": "1"}, o)
    api.call("POST", NS + "pods", pod("p"))
    flow = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/"
    s, o, _ = api.call("PATCH", flow + "probes/status", {"metadata": {"annotations": {"a": "1"}}}, MERGE)
    check("a FlowSchema's keeps all metadata", s == 200 and "a" not in o["metadata"].get("annotations", {}), o)


def test_lists(site):
    api = site.start_server().api
    api.call("POST", NS + "configmaps", {"metadata": {"name": "a"}, "data": {"k": "v"}})
    s, o, h = api.call("GET", NS + "configmaps")
    check("items of a list leave their kind to the list", s == 200 and o["kind"] == "ConfigMapList" and set(o["items"][0]) == {"metadata", "data"}, o)
    check("and its length is right", h["Content-Length"] is None or int(h["Content-Length"]) > 0, h)
    big = "x" * 100000
    api.call("POST", NS + "configmaps", {"metadata": {"name": "big"}, "data": {"k": big}})
    s, o, _ = api.call("GET", NS + "configmaps")
    check("large ones too", [set(i) for i in o["items"]] == [{"metadata", "data"}] * 2 and o["items"][1]["data"]["k"] == big, [i["metadata"]["name"] for i in o["items"]])
    s, o, _ = api.call("GET", NS + "configmaps", headers={"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"})
    check("metadata says what it is", o["items"][0]["kind"] == "PartialObjectMetadata", o["items"][0])
    s, o, _ = api.call("GET", "/apis/events.k8s.io/v1/events")
    api.call("POST", NS + "events", {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}, "reason": "r"})
    s, o, _ = api.call("GET", "/apis/events.k8s.io/v1/events")
    check("in another version as well", s == 200 and not {"kind", "apiVersion"} & set(o["items"][0]), o)
    s, o, _ = api.call("DELETE", NS + "configmaps")
    check("and what a deleted collection answers", s == 200 and o["kind"] == "ConfigMapList" and "kind" not in o["items"][0], str(o)[:300])


def test_deletes(site):
    api = site.start_server().api
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    api.call("POST", NS + "pods", pod("p"))
    s, o, _ = api.call("DELETE", NS + "pods/p")
    check("a pod without a node goes at once, and says so", s == 200 and o["kind"] == "Pod" and o["metadata"]["deletionGracePeriodSeconds"] == 0 and "deletionTimestamp" in o["metadata"] and o["metadata"]["generation"] == 2, o)
    check("it is gone", api.call("GET", NS + "pods/p")[0] == 404)
    watch = Watch(api, NS + "pods?watch=1&resourceVersion=" + api.get(NS + "pods")["metadata"]["resourceVersion"])
    api.call("POST", NS + "pods", pod("q", nodeName="n1", terminationGracePeriodSeconds=60))
    s, first, _ = api.call("DELETE", NS + "pods/q")
    s, o, _ = api.call("DELETE", NS + "pods/q?gracePeriodSeconds=90")
    check("a pod that is told to go gets no more time", s == 200 and o == first, o)
    api.call("PATCH", NS + "pods/q/status", {"status": {"phase": "Failed"}}, MERGE)
    s, o, _ = api.call("DELETE", NS + "pods/q")
    check("who names no time takes none away", s == 200 and o["metadata"]["deletionGracePeriodSeconds"] == 60, o)
    s, o, _ = api.call("DELETE", NS + "pods/q?gracePeriodSeconds=40")
    check("it can be cut short", s == 200 and o["metadata"]["deletionGracePeriodSeconds"] == 40 and o["metadata"]["deletionTimestamp"] < first["metadata"]["deletionTimestamp"], o)
    api.call("DELETE", NS + "pods/q?gracePeriodSeconds=0")
    seen = [(e["type"], e["object"]["metadata"].get("deletionGracePeriodSeconds"), e["object"]["metadata"]["generation"]) for e in watch.wait(6)]
    watch.close()
    check("who watches sees its end before it is gone", seen == [("ADDED", None, 1), ("MODIFIED", 60, 2), ("MODIFIED", 60, 2), ("MODIFIED", 40, 2), ("MODIFIED", 0, 2), ("DELETED", 0, 2)], seen)
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "going"}})
    s, o, _ = api.call("DELETE", "/api/v1/namespaces/going")
    check("a namespace is Terminating without grace", s == 200 and o["status"]["phase"] == "Terminating" and "deletionTimestamp" in o["metadata"] and "deletionGracePeriodSeconds" not in o["metadata"], o)
    api.call("POST", NS + "configmaps", {"metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    api.call("DELETE", NS + "configmaps/held")
    s, o, _ = api.call("DELETE", NS + "configmaps/held", {"propagationPolicy": "Foreground"})
    check("a second delete may choose another propagation", s == 200 and o["metadata"]["finalizers"] == ["example.com/hold", "foregroundDeletion"], o)
    s, o, _ = api.call("PATCH", NS + "configmaps/held", {"metadata": {"finalizers": ["example.com/hold", "foregroundDeletion", "example.com/more"]}}, MERGE)
    check("but no client adds a finalizer", s == 422 and causes(o)[0][0] == "metadata.finalizers", o)
    s, o, _ = api.call("PATCH", NS + "configmaps/held", {"metadata": {"finalizers": None}}, MERGE)
    check("the last finalizer goes, and the object with it", s == 200 and "finalizers" not in o["metadata"] and api.call("GET", NS + "configmaps/held")[0] == 404, o)


# What a patch of the ConfigMap "p" may say of the object's identity: type, body, query, status, text of the answer.
IDENTITY = [
    (MERGE, {"apiVersion": "v2"}, "", 422, "patch: Invalid value"), (MERGE, {"kind": "Secret"}, "", 422, "patch: Invalid value"),
    (MERGE, {"kind": None}, "", 200, ""), (MERGE, {"apiVersion": ""}, "", 400, "name must be provided"),
    (STRATEGIC, {"apiVersion": "v2", "kind": "Secret"}, "", 200, ""), (STRATEGIC, "null", "", 200, ""),
    (MERGE, {"metadata": {"uid": "x"}}, "", 422, "metadata.uid"), (MERGE, {"metadata": {"name": "q"}}, "", 400, "does not match the name on the URL"),
    (MERGE, {"metadata": None}, "", 400, "name must be provided"), (MERGE, {"metadata": {"namespace": "kube-system"}}, "", 400, "does not match the namespace"),
    (MERGE, {"metadata": {"resourceVersion": "abc"}}, "", 500, 'parsing "abc": invalid syntax'), (MERGE, {"metadata": {"resourceVersion": "1"}}, "", 409, "has been modified"),
    (MERGE, {"metadata": {"creationTimestamp": "2020-01-01T00:00:00Z"}}, "", 200, ""), (MERGE, {"metadata": {"deletionTimestamp": "2020-01-01T00:00:00Z"}}, "", 422, "metadata.deletionTimestamp"),
    (MERGE, {"metadata": {"deletionGracePeriodSeconds": 5}}, "", 422, "metadata.deletionGracePeriodSeconds"), (MERGE, {}, "?force=", 422, "force"),
    (JSON_PATCH, [{"op": "replace", "path": "/data/new", "value": "x"}], "", 200, '"new":"x"'), (JSON_PATCH, [{"op": "copy", "from": "/data/none", "path": "/data/copied"}], "", 200, '"copied":""'),
    (JSON_PATCH, [{"op": "replace", "path": "/data/a/b", "value": "x"}], "", 422, ""), (JSON_PATCH, [{"op": "move", "from": "/data/none", "path": "/data/c"}], "", 422, ""),
    (JSON_PATCH, [{"op": 5}], "", 400, "jsonPatchOp.op"), (JSON_PATCH, [5], "", 400, "number"), (JSON_PATCH, "null", "", 200, ""),
    (APPLY, {"apiVersion": "v1"}, "?fieldManager=m", 400, "invalid object type: /v1, Kind="), (APPLY, {"apiVersion": "apps/v1", "kind": "Deployment"}, "?fieldManager=m", 400, "invalid object type: apps/v1, Kind=Deployment"),
    (APPLY, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "1"}}, "?fieldManager=m", 409, "has been modified"),
    (APPLY, {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 5}}, "?fieldManager=m", 500, "failed to create typed patch object"),
    (APPLY, "[]", "?fieldManager=m", 400, "error decoding YAML"), (APPLY, {"apiVersion": "v1", "kind": "ConfigMap"}, "?fieldManager=m&force=yes", 200, ""),
]


class Runner(Watch):
    """Plays who runs pods: one that is told to go at once has its status written and is taken away, while whoever told it still waits."""

    def __init__(self, api, path, again=False):
        self.api, self.again, self.made = api, again, []
        super().__init__(api, path)

    def run(self):
        try:
            for line in self.r:
                event = json.loads(line)
                if event["type"] == "MODIFIED" and event["object"]["metadata"].get("deletionGracePeriodSeconds") == 0:
                    path = NS + "pods/" + event["object"]["metadata"]["name"]
                    self.api.call("PATCH", path + "/status", {"status": {"reason": "gone" + event["object"]["metadata"]["resourceVersion"]}}, MERGE)
                    self.api.call("DELETE", path + "?gracePeriodSeconds=0", {"preconditions": {"uid": event["object"]["metadata"]["uid"]}})
                    if self.again:
                        s, o, _ = self.api.call("POST", NS + "pods", pod(event["object"]["metadata"]["name"], nodeName="n1"))
                        self.made += [(o["metadata"]["name"], o["metadata"]["uid"])] if s == 201 else []
        except (OSError, ValueError, http.client.HTTPException):
            pass


def test_deletes_raced(site):
    api = site.start_server().api
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    runners = [Runner(api, NS + "pods?watch=1&resourceVersion=" + api.get(NS + "pods")["metadata"]["resourceVersion"]) for _ in range(2)]
    refused = []
    for i in range(150):
        api.call("POST", NS + "pods", pod("raced%d" % i, nodeName="n1"))
        s, o, _ = api.call("DELETE", NS + "pods/raced%d?gracePeriodSeconds=0" % i)
        if s != 200 or o["kind"] != "Pod" or o["metadata"].get("deletionGracePeriodSeconds") != 0:
            refused.append((s, o))
    for runner in runners:
        runner.close()
    check("who takes a pod away is told so, though its kubelet was quicker", not refused, (len(refused), refused[:1]))
    runner = Runner(api, NS + "pods?watch=1&resourceVersion=" + api.get(NS + "pods")["metadata"]["resourceVersion"], again=True)
    for i in range(100):
        api.call("POST", NS + "pods", pod("anew%d" % i, nodeName="n1"))
        api.call("DELETE", NS + "pods/anew%d?gracePeriodSeconds=0" % i)
    wait_for(lambda: len(runner.made) == 100)
    runner.close()
    there = {(o["metadata"]["name"], o["metadata"]["uid"]) for o in api.get(NS + "pods")["items"]}
    check("but what has its name then is left alone", len(runner.made) == 100 and set(runner.made) <= there, (len(runner.made), set(runner.made) - there))


def test_identity(site):
    """Who an object is does not change, whatever a patch says; an apply says it always."""
    api = site.start_server().api
    api.call("POST", NS + "configmaps", {"metadata": {"name": "p"}, "data": {"a": "1"}})
    for kind, body, query, code, text in IDENTITY:
        s, o, _ = api.call("PATCH", NS + "configmaps/p" + query, body, kind)
        check("patch %s %s" % (kind, body), s == code and text in json.dumps(o, separators=(",", ":")).replace('\\"', '"') and (s != 200 or (o["kind"], o["apiVersion"]) == ("ConfigMap", "v1")), (s, o))
    s, o, _ = api.call("PATCH", NS + "configmaps/none?fieldManager=m", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"uid": "x"}}, APPLY)
    check("an apply to an object that has gone", s == 409 and "uid mismatch" in o["message"], o)
    s, o, _ = api.call("PUT", NS + "configmaps/p", {"metadata": {"name": "p", "resourceVersion": "abc"}})
    check("an update of no revision", s == 500 and o["message"] == 'strconv.ParseUint: parsing "abc": invalid syntax' and "reason" not in o, o)
    check("a dry run makes nothing twice", api.call("POST", NS + "configmaps?dryRun=All", {"metadata": {"name": "p"}})[0] == 409)
    s, o, _ = api.call("POST", NS + "configmaps", {"metadata": {"name": "ending", "deletionGracePeriodSeconds": 5, "deletionTimestamp": "2020-01-01T00:00:00Z", "labels": {"a": "b"}}})
    check("nobody makes what is ending", s == 201 and "deletionTimestamp" not in o["metadata"] and list(o["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]) == ["f:labels"], o)
    s, o, h = api.call("POST", NS + "configmaps", '{"x":1,"x":2,"metadata":{"name":"w"}}')
    check("a warning is said once", s == 201 and h.get_all("Warning").count('299 - "unknown field \\"x\\""') == 1, h.get_all("Warning"))
    s, o, _ = api.call("DELETE", NS + "configmaps/w", {"preconditions": {"resourceVersion": ""}})
    check("a precondition that says nothing is none", s == 409, o)


def test_unconditional(site):
    api = site.start_server().api
    pdb = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}}
    path = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    api.call("POST", path, pdb)
    for suffix in ("", "/status"):
        s, o, _ = api.call("PUT", path + "/b" + suffix, pdb)
        check("a budget wants a resourceVersion " + suffix, s == 422 and causes(o) == [("metadata.resourceVersion", "Invalid value: 0: must be specified for an update")] and o["message"].startswith('poddisruptionbudgets.policy "b" is invalid'), o)
    api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}})
    s, o, _ = api.call("PUT", NS + "configmaps/c", {"metadata": {"name": "c"}, "data": {"k": "v"}})
    check("a ConfigMap does not", s == 200 and o["data"] == {"k": "v"}, o)


def test_warnings(site):
    api = site.start_server().api
    want = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    s, o, h = api.call("POST", NS + "endpoints", {"metadata": {"name": "e"}})
    check("a write of a deprecated kind", s == 201 and h.get_all("Warning") == [want], h)
    for path in ("endpoints/e", "endpoints", "endpoints?watch=true&timeoutSeconds=1", "endpoints/none"):
        s, o, h = api.call("GET", NS + path)
        check("and a read: " + path, h.get_all("Warning") == [want], (s, h.get_all("Warning")))
    check("others do not warn", api.call("GET", NS + "configmaps")[2].get_all("Warning") is None)
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    s, o, _ = api.call("POST", NS + "pods", pod("gen-", runtimeClassName="none"))
    check("a refusal of what has no name yet", s == 403 and o["message"].startswith('pods "gen-" is forbidden: pod rejected: RuntimeClass "none" not found') and o["details"]["name"] == "gen-", o)
    for kind, body, text in (
            ("pods", pod("w", volumes=[{"name": "v", "projected": {"sources": [{}]}}]), 'volume "v" (Projected) has no sources provided'),
            ("secrets", {"metadata": {"name": "t"}, "type": "kubernetes.io/tls", "stringData": {"tls.crt": "a", "tls.key": "b"}}, "tls: failed to find any PEM data in certificate input")):
        s, o, h = api.call("POST", NS + kind + "?dryRun=All", body)
        check("odd " + kind, s == 201 and h.get_all("Warning") == ['299 - "%s"' % text.replace('"', '\\"')], (o, h.get_all("Warning")))
    s, o, h = api.call("POST", NS + "secrets", {"metadata": {"name": "t"}, "type": "kubernetes.io/tls"})
    check("who is refused is not warned", s == 422 and h.get_all("Warning") is None, h.get_all("Warning"))
    schema = {"type": "object", "properties": {"a": {"type": "string", "format": "date-time"}, "b": {"type": "array", "items": {"type": "string", "format": "odd"}}, "c": {"type": "integer", "format": "int16"}}}
    s, o, h = api.call("POST", CRDS, {"metadata": {"name": "ts.w.example.com"}, "spec": {"group": "w.example.com", "scope": "Cluster", "names": {"plural": "ts", "kind": "T"}, "versions": [
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}]}})
    check("formats that nobody looks at", s == 201 and sorted(h.get_all("Warning") or []) == ['299 - "unrecognized format \\"int16\\""', '299 - "unrecognized format \\"odd\\""'], (o, h.get_all("Warning")))
    api.call("POST", NS + "services", {"metadata": {"name": "out"}, "spec": {"type": "ClusterIP", "ports": [{"port": 1}]}})
    s, o, _ = api.call("PATCH", NS + "services/out", {"spec": {"type": "ExternalName", "externalName": "a.b", "clusterIP": "", "clusterIPs": None}}, MERGE)
    check("a name outside has no traffic inside", s == 200 and "internalTrafficPolicy" not in o["spec"], o)
    hashes = {r["name"]: r.get("storageVersionHash") for r in api.get("/apis/apiextensions.k8s.io/v1")["resources"]}
    check("the hash of what is stored", hashes["customresourcedefinitions"] == "jfWCUB31mvA=", hashes)


CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def define(api, kind, schema, **version):
    plural = kind.lower() + "s"
    s, o, _ = api.call("POST", CRDS, {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": plural + ".example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": [
            dict({"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}, **version)]}})
    check("definition of " + kind, s == 201, o)
    path = "/apis/example.com/v1/namespaces/default/" + plural
    wait_for(lambda: api.call("GET", path)[0] == 200)
    return path, lambda name, **rest: dict({"apiVersion": "example.com/v1", "kind": kind, "metadata": {"name": name}}, **rest)


def test_custom(site):
    api = site.start_server().api
    path, thing = define(api, "Open", {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}})
    s, o, h = api.call("POST", path + "?fieldValidation=Strict", thing("a", a={"b": [{"c": "d"}]}, z=None, spec={"n": 1}))
    check("an open root keeps what it does not know", s == 201 and o["a"] == {"b": [{"c": "d"}]} and o["z"] is None and h["Warning"] is None, o)
    check("stored so", api.get(path + "/a") == o)
    s, o, _ = api.call("PATCH", path + "/a", {"a": None, "more": 1}, MERGE)
    check("patched so", s == 200 and "a" not in o and o["more"] == 1 and o["metadata"]["generation"] == 2, o)
    s, o, _ = api.call("PATCH", path + "/a", {"metadata": {"labels": {"l": "1"}}}, MERGE)
    check("labels are no change of what it is", s == 200 and o["metadata"]["generation"] == 2, o)
    s, o, _ = api.call("PATCH", path + "/b?fieldManager=m", thing("b", odd={"x": 1}), APPLY)
    check("applied so", s == 201 and o["odd"] == {"x": 1}, o)
    s, e, _ = api.call("POST", path + "?fieldValidation=Strict", '{"apiVersion":"example.com/v1","kind":"Open","metadata":{"name":"c"},"x":1,"x":2}')
    check("members given twice", s == 400 and 'duplicate field "x"' in e["message"], e)
    schema = {"type": "object", "description": "A closed thing.", "properties": {"spec": {"type": "object", "properties": {"cron": {"type": "string", "pattern": "^(\\d+|\\*)(\\s+(\\d+|\\*)){4}$"}}}, "status": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}}
    closed, shut = define(api, "Closed", schema, subresources={"status": {}})
    s, e, _ = api.call("POST", closed + "?fieldValidation=Strict", shut("a", odd=1))
    check("a closed root does not", s == 400 and 'unknown field "odd"' in e["message"], e)
    s, o, h = api.call("POST", closed, shut("a", odd=1, spec={"cron": "5 * * * *"}, status={"ok": True}))
    check("it drops them with a warning", s == 201 and "odd" not in o and "status" not in o and h["Warning"] == '299 - "unknown field \\"odd\\""', (o, h["Warning"]))
    s, e, _ = api.call("POST", closed, shut("b", spec={"cron": "now"}))
    check("a pattern with classes", s == 422 and causes(e)[0][0] == "spec.cron", e)
    s, o, _ = api.call("PATCH", closed + "/a/status", {"status": {"ok": True}, "spec": {"cron": "* * * * *"}, "metadata": {"labels": {"l": "1"}}}, MERGE)
    check("status alone, without a new generation", s == 200 and o["status"] == {"ok": True} and o["spec"]["cron"] == "5 * * * *" and "labels" not in o["metadata"] and o["metadata"]["generation"] == 1, o)
    s, o, _ = api.call("PATCH", closed + "/a", {"status": {"ok": False}, "spec": {"cron": "* * * * *"}}, MERGE)
    check("the rest without status", s == 200 and o["status"] == {"ok": True} and o["metadata"]["generation"] == 2, o)
    definitions = api.get("/openapi/v2")["definitions"]
    check("v2 says nothing of what is open", definitions["com.example.v1.Open"] == {"type": "object", "x-kubernetes-group-version-kind": [{"group": "example.com", "kind": "Open", "version": "v1"}]}, definitions["com.example.v1.Open"])
    check("and all of what is closed", set(definitions["com.example.v1.Closed"]["properties"]) == {"apiVersion", "kind", "metadata", "spec", "status"}, definitions["com.example.v1.Closed"])


def raw(api, path, **headers):
    c = api.connect()
    c.request("GET", path, headers=api.headers(headers))
    r = c.getresponse()
    data = r.read()
    c.close()
    return r, data


def conditions_of(o):
    return {c["type"]: (c["status"], c["reason"]) for c in o["status"]["conditions"] or []}


def test_definitions(site):
    api = site.start_server().api

    def definition(plural, kind, **names):
        return {"metadata": {"name": plural + ".example.com"}, "spec": {"group": "example.com", "scope": "Namespaced", "names": dict(names, plural=plural, kind=kind), "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}

    def comes_to(plural, **conditions):
        return check("%s comes to %s" % (plural, conditions), wait_for(lambda: conditions.items() <= conditions_of(api.get(CRDS + "/%s.example.com" % plural)).items()), api.get(CRDS + "/%s.example.com" % plural))

    watch = Watch(api, CRDS + "?watch=1&fieldSelector=metadata.name%3Dones.example.com")
    s, o, _ = api.call("POST", CRDS, definition("ones", "One", shortNames=["o"], categories=["all"]))
    check("nothing is accepted yet", s == 201 and o["status"] == {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]}, o)
    watch.wait(3)
    seen = watch.events[:3]
    check("its life in events", [(e["type"], conditions_of(e["object"])) for e in seen] == [("ADDED", {}), ("MODIFIED", {"NamesAccepted": ("True", "NoConflicts"), "Established": ("False", "Installing")}),
                                                                                          ("MODIFIED", {"NamesAccepted": ("True", "NoConflicts"), "Established": ("True", "InitialNamesAccepted")})], seen)
    names = seen[2]["object"]["status"]["acceptedNames"]
    check("names that were accepted", names == {"plural": "ones", "singular": "one", "kind": "One", "listKind": "OneList", "shortNames": ["o"], "categories": ["all"]}, names)
    owners = [(m["manager"], m.get("subresource")) for m in seen[2]["object"]["metadata"]["managedFields"]]
    check("the status is the server's", ("kube-apiserver", "status") in owners, owners)
    for plural, kind, more, reason, text in (("twos", "One", {"singular": "two", "listKind": "TwoList"}, "KindConflict", '"One" is already in use'), ("threes", "Three", {"shortNames": ["t", "o", "ones"]}, "ShortNamesConflict", '["o" is already in use, "ones" is already in use]'),
                                             ("fours", "Four", {"singular": "one"}, "SingularConflict", '"one" is already in use'), ("fives", "Five", {"listKind": "OneList"}, "ListKindConflict", '"OneList" is already in use')):
        api.call("POST", CRDS, definition(plural, kind, **more))
        comes_to(plural, NamesAccepted=("False", reason), Established=("False", "NotAccepted"))
        o = api.get(CRDS + "/%s.example.com" % plural)
        check("who has it", [c["message"] for c in o["status"]["conditions"] if c["type"] == "NamesAccepted"] == [text] and o["status"]["acceptedNames"]["plural"] == plural, o["status"])
        check("not served", api.call("GET", "/apis/example.com/v1/namespaces/default/" + plural)[0] == 404)
    resources = {r["name"]: r for r in api.get("/apis/example.com/v1")["resources"]}
    check("in discovery", list(resources) == ["ones"] and resources["ones"]["verbs"] == ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"], resources)
    api.call("PATCH", CRDS + "/ones.example.com", {"spec": {"names": {"shortNames": ["uno"]}}}, MERGE)
    comes_to("threes", NamesAccepted=("False", "ShortNamesConflict"))
    api.call("PATCH", CRDS + "/threes.example.com", {"spec": {"names": {"shortNames": ["t", "o"]}}}, MERGE)
    comes_to("threes", NamesAccepted=("True", "NoConflicts"), Established=("True", "InitialNamesAccepted"))

    ones = "/apis/example.com/v1/namespaces/default/ones"
    api.call("POST", ones, {"apiVersion": "example.com/v1", "kind": "One", "metadata": {"name": "held", "finalizers": ["example.com/hold"]}})
    api.call("POST", ones, {"apiVersion": "example.com/v1", "kind": "One", "metadata": {"name": "free"}})
    s, o, _ = api.call("DELETE", CRDS + "/ones.example.com")
    check("deleted, but there", s == 200 and o["kind"] == "CustomResourceDefinition" and "deletionTimestamp" in o["metadata"] and conditions_of(o)["Terminating"] == ("True", "InstanceDeletionPending"), o)
    comes_to("ones", Terminating=("True", "InstanceDeletionInProgress"))
    check("what is free goes", wait_for(lambda: api.call("GET", ones + "/free")[0] == 404))
    o = wait_for(lambda: (lambda held: held if "deletionTimestamp" in held["metadata"] else None)(api.get(ones + "/held")))
    check("what is held is asked to", o and o["metadata"]["deletionGracePeriodSeconds"] == 0 and o["metadata"]["generation"] == 2, o)
    s, e, _ = api.call("POST", ones, {"apiVersion": "example.com/v1", "kind": "One", "metadata": {"name": "new"}})
    verbs = [r["verbs"] for r in api.get("/apis/example.com/v1")["resources"] if r["name"] == "ones"]
    check("what it can be asked meanwhile", verbs == [["delete", "deletecollection", "get", "list", "watch"]], verbs)
    check("nothing new is made", s == 403 and e["message"] == 'ones.example.com "new" is forbidden: create not allowed while custom resource definition is terminating', e)
    s, o, _ = api.call("PATCH", ones + "/held", {"metadata": {"finalizers": None}}, MERGE)
    check("the last is let go", s == 200, o)
    check("and so is the definition", wait_for(lambda: api.call("GET", CRDS + "/ones.example.com")[0] == 404))
    check("served no more", api.call("GET", ones)[0] == 404)
    comes_to("twos", Established=("True", "InitialNamesAccepted"))
    comes_to("fives", NamesAccepted=("True", "NoConflicts"))


def test_as_there(site):
    """Small things that clients written for the original can tell apart."""
    api = site.start_server().api
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    pod = {"metadata": {"name": "p"}, "spec": {"automountServiceAccountToken": False, "nodeName": "away", "containers": [{"name": "c", "image": "i"}]}}
    check("a pod", api.call("POST", NS + "pods", pod)[0] == 201)
    for query, code, text in (("tailLines=-1", 422, 'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0'), ("limitBytes=0", 422, 'PodLogOptions "p" is invalid: limitBytes: Invalid value: 0: must be greater than 0'),
                              ("sinceSeconds=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'), ("sinceTime=x", 400, 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'), ("", 404, 'pods "away" not found')):
        s, o, _ = api.call("GET", NS + "pods/p/log?" + query)
        check("a log with " + query, s == code and o["message"] == text, o)
    s, o, _ = api.call("POST", NS + "pods/p/exec?command=a&container=b")
    check("an exec in no container", s == 400 and o["message"] == "container b is not valid for pod p", o)
    s, o, _ = api.call("PATCH", NS + "pods/p/status?fieldManager=k", {"status": {"podIP": "10.0.0.9"}}, MERGE)
    owned = [m["fieldsV1"]["f:status"] for m in o["metadata"]["managedFields"] if m["manager"] == "k"]
    check("who gives the address gives the addresses", owned == [{"f:podIP": {}, "f:podIPs": {".": {}, 'k:{"ip":"10.0.0.9"}': {".": {}, "f:ip": {}}}}], owned)
    s, o, _ = api.call("POST", NS + "pods?dryRun=All&fieldValidation=Strict", '{"metadata":{"name":"q"},"spec":{"containers":[{"name":"c","image":"i"}]},"odd":1,"odd":2}')
    check("a mistake made twice is told once", s == 400 and o["message"].count('unknown field "odd"') == 1, o)
    s, o, _ = api.call("PATCH", NS + "pods/q?fieldManager=m&fieldValidation=Ignore", {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i", "odd": 1}, {"name": "c", "image": "i"}]}}, APPLY)
    check("what is wrong in an apply is told together", s == 500 and o["message"] == 'failed to create typed patch object (/q; /v1, Kind=Pod): errors:\n  .spec.containers[name="c"].odd: field not declared in schema\n  .spec.containers: duplicate entries for key [name="c"]', (s, o))
    for name in "abc":
        api.call("POST", NS + "configmaps", {"metadata": {"name": name}})
    o = api.get(NS + "configmaps?limit=1&resourceVersion=0")
    check("any state comes whole", len(o["items"]) >= 3 and "continue" not in o["metadata"], o["metadata"])
    check("a state of now in pages", len(api.get(NS + "configmaps?limit=1")["items"]) == 1)
    s, o, _ = api.call("GET", NS + "configmaps?continue=abc")
    check("no token", s == 400 and o["message"].endswith("invalid character 'i' looking for beginning of value"), o)
    applied = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "z", "labels": {"a": "b"}}, "data": {"a": "b"}}
    api.call("PATCH", NS + "configmaps/z?fieldManager=m", applied, APPLY)
    s, o, _ = api.call("PATCH", NS + "configmaps/z?fieldManager=m", dict(applied, metadata={"name": "z"}), APPLY)
    check("the last of one's metadata goes alone", s == 200 and o["metadata"]["name"] == "z" and "labels" not in o["metadata"] and o["data"] == {"a": "b"}, o)
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    s, o, _ = api.call("GET", "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas", headers=table)
    order = [row["cells"][2] for row in o["rows"]]
    check("flow schemas by precedence", order == sorted(order) and len(order) > 5, order)
    s, o, _ = api.call("GET", "/api/v1/componentstatuses", headers=table)
    check("columns of components", [c["name"] for c in o["columnDefinitions"]] == ["Name", "Status", "Message", "Error"] and ["etcd-0", "Healthy", "ok", ""] in [row["cells"] for row in o["rows"]], o)
    check("components", api.get("/api/v1/componentstatuses")["items"] == [{"metadata": {"name": "etcd-0"}, "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]}])

    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}, {"name": "c", "port": 81, "protocol": "UDP"}]
    api.call("POST", NS + "services", {"metadata": {"name": "s"}, "spec": {"ports": ports}})
    s, o, _ = api.call("PATCH", NS + "services/s", {"spec": {"ports": [{"port": 81, "name": "d"}, {"port": 90, "name": "e"}]}}, "application/strategic-merge-patch+json")
    check("ports of one number stay apart", s == 200 and [(x["name"], x["port"], x["protocol"]) for x in o["spec"]["ports"]] == [("a", 80, "TCP"), ("d", 81, "TCP"), ("c", 81, "UDP"), ("e", 90, "TCP")], o)

    deployments = "/apis/apps/v1/namespaces/default/deployments"
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "c"}}, "spec": {"volumes": [{"persistentVolumeClaim": {}}], "containers": [{"volumeMounts": [{"name": "v"}]}]}}}
    s, o, _ = api.call("POST", deployments, {"metadata": {"name": "d"}, "spec": spec})
    told = [c[0] for c in causes(o)]
    check("causes in order", s == 422 and told[:4] == ["spec.template.metadata.labels", "spec.template.spec.volumes[0].persistentVolumeClaim.claimName", "spec.template.spec.volumes[0].name", "spec.template.spec.containers[0].name"], told)
    daemon = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    s, o, _ = api.call("POST", "/apis/apps/v1/namespaces/default/daemonsets", daemon)
    check("the count of templates is its sender's", o["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"] == {"f:annotations": {".": {}, "f:deprecated.daemonset.template.generation": {}}}, o["metadata"])
    hooks = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    api.call("POST", hooks, {"metadata": {"name": "w"}, "webhooks": []})
    s, o, _ = api.call("PATCH", hooks + "/w", {"webhooks": [], "metadata": {"labels": {"a": "b"}}}, MERGE)
    check("an empty list is a change", o["metadata"]["generation"] == 2, o)
    check("and none is not", api.call("PATCH", hooks + "/w", {"metadata": {"labels": {"a": "c"}}}, MERGE)[1]["metadata"]["generation"] == 2)


def test_gzip(site):
    api = site.start_server().api
    for i in range(20):
        api.call("POST", NS + "configmaps", {"metadata": {"name": "c%02d" % i}, "data": {"k": "x" * 7000}})
    api.call("POST", NS + "configmaps", {"metadata": {"name": "large"}, "data": {"k": "y" * 200000}})
    api.call("POST", NS + "secrets", {"metadata": {"name": "small"}})
    whole = "application/json"
    for path, accept in ((NS + "configmaps", whole), (NS + "configmaps/large", whole), (NS + "configmaps", "application/vnd.kubernetes.protobuf"), (NS + "configmaps?includeObject=Object", "application/json;as=Table;v=v1;g=meta.k8s.io"),
                         (NS + "configmaps", "application/yaml"), ("/openapi/v2", whole)):
        table = "Table" in accept # its ages run on
        plain, want = raw(api, path, Accept=accept)
        r, data = raw(api, path, Accept=accept, **{"Accept-Encoding": "br, gzip;q=0.8"})
        check("a large answer is packed: %s as %s" % (path, accept), r.getheader("Content-Encoding") == "gzip" and "Accept-Encoding" in (r.getheader("Vary") or "") and len(data) < len(want) / 4 and (table or gzip.decompress(data) == want),
              (r.status, r.getheaders(), len(data), len(want)))
        check("only for who takes it", plain.getheader("Content-Encoding") is None)
    for path, encoding in ((NS + "secrets", "gzip"), (NS + "configmaps/c00", "gzip"), (NS + "configmaps", "gzip;q=0"), (NS + "configmaps", "deflate"), (NS + "secrets?includeObject=None", "gzip")):
        r, data = raw(api, path, **{"Accept-Encoding": encoding})
        check("not packed: %s for %s" % (path, encoding), r.getheader("Content-Encoding") is None and json.loads(data)["kind"], r.getheaders())


def test_options(site):
    api = site.start_server().api
    api.call("POST", NS + "configmaps", {"metadata": {"name": "a"}, "data": {"k": "v"}})
    a = NS + "configmaps/a"
    rv = api.get(a)["metadata"]["resourceVersion"]
    s, o, h = api.call("GET", NS + "configmaps?watch=1&timeoutSeconds=1&resourceVersion=99999999")
    check("a watch from the future", s == 200 and not o, (s, o))
    s, o, h = api.call("GET", NS + "configmaps?resourceVersionMatch=Exact&resourceVersion=99999999")
    check("exactly the future", s == 504 and "Too large" in o["message"] and h["Retry-After"] == "1", o)
    s, o, h = api.call("GET", a + "?resourceVersion=99999999")
    check("a revision of the future", s == 504 and o["message"].startswith("Timeout: Too large resource version: 99999999, current: ") and o["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge" and h["Retry-After"] == "1", o)
    for query, body, field in (("?dryRun=x", None, "dryRun"), ("", {"dryRun": ["Some"]}, "dryRun"), ("", {"propagationPolicy": "Foo"}, "propagationPolicy"), ("", {"orphanDependents": True, "propagationPolicy": "Orphan"}, "propagationPolicy")):
        s, o, _ = api.call("DELETE", a + query, body)
        check("delete options are checked: %s %s" % (query, body), s == 422 and [c["field"] for c in o["details"]["causes"]] == [field] and o["details"]["kind"] == "DeleteOptions", o)
    for query, body, code, message in (
            ("?gracePeriodSeconds=", None, 400, 'strconv.ParseInt: parsing "": invalid syntax'), ("?propagationPolicy=", None, 422, "propagationPolicy: Unsupported value"), ("?orphanDependents=1&propagationPolicy=Orphan", None, 422, "cannot be both set"),
            ("?dryRun=All&dryRun=x", None, 422, 'Unsupported value: ["All","x"]'), ("", "[]", 400, "couldn't get version/kind; json parse error: json: cannot unmarshal array"), ("", "x", 400, "couldn't get version/kind; json parse error: invalid character 'x'"),
            ("", {"gracePeriodSeconds": "x"}, 400, "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"), ("", {"apiVersion": "a/b/c"}, 400, "unexpected GroupVersion string: a/b/c"),
            ("", {"kind": "Foo"}, 400, 'no kind "Foo" is registered for version "meta.k8s.io/v1" in scheme "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27"'), ("", {"propagationPolicy": ""}, 422, "propagationPolicy: Unsupported value"),
            ("?propagationPolicy=Foo&gracePeriodSeconds=x", {"dryRun": ["All"]}, 200, None)):
        s, o, _ = api.call("DELETE", a + query, body)
        check("delete options: %s %s" % (query, body), s == code and (not message or message in o["message"]), o)
    check("nothing was deleted", api.get(a)["metadata"]["resourceVersion"] == rv)
    api.call("POST", NS + "configmaps", {"metadata": {"name": "bodied"}})
    check("a body counts alone", api.call("DELETE", NS + "configmaps/bodied?dryRun=All", {})[0] == 200 and api.call("GET", NS + "configmaps/bodied")[0] == 404)
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    graced = {"metadata": {"name": "graced"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}], "terminationGracePeriodSeconds": (1 << 63) - 1}}
    for grace, year in ((None, time.gmtime(time.time() - 1).tm_year), ((1 << 63) - 1, time.gmtime(time.time() - 1).tm_year), (9223372037, 1734), (0, None)):
        api.call("POST", NS + "pods", graced)
        s, o, _ = api.call("DELETE", NS + "pods/graced", None if grace is None else {"gracePeriodSeconds": grace})
        check("a grace of %s" % grace, s == 200 and (year is None or o["metadata"]["deletionTimestamp"].startswith("%d-" % year)), o)
        api.call("DELETE", NS + "pods/graced?gracePeriodSeconds=0")
    check("less than nothing is a second", api.call("DELETE", a + "?gracePeriodSeconds=-1&dryRun=All")[0] == 200)
    for query, kind in (("fieldManager=" + "x" * 200, "CreateOptions"), ("fieldManager=a%0Ab", "CreateOptions"), ("fieldValidation=Foo", "CreateOptions"), ("dryRun=Some", "CreateOptions")):
        s, o, _ = api.call("POST", NS + "configmaps?" + query, {"metadata": {"name": "b"}})
        check("create options are checked: " + query[:20], s == 422 and o["details"]["kind"] == kind, o)
    s, o, _ = api.call("PUT", a + "?dryRun=All", {"metadata": {"name": "a"}, "data": {"k": "w"}})
    check("a dry run of an unconditional update tells the revision it is of", s == 200 and o["data"] == {"k": "w"} and o["metadata"]["resourceVersion"] == rv, o)
    s, o, _ = api.call("POST", NS + "configmaps", {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}})
    check("another kind", s == 400 and o["message"].startswith('Pod in version "v1" cannot be handled as a ConfigMap'), o)
    s, o, _ = api.call("PATCH", a, {"kind": "Secret"}, MERGE)
    check("a patch cannot make it another", s == 422 and o["details"]["causes"][0]["field"] == "patch" and api.get(a)["kind"] == "ConfigMap", o)
    s, o, _ = api.call("PATCH", a + "?fieldManager=m", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}, APPLY)
    check("nor can apply", s == 400 and "invalid object type" in o["message"] and api.get(a)["kind"] == "ConfigMap", o)
    s, o, _ = api.call("PATCH", a, {"data": {"k": 5}}, MERGE)
    check("what a patch makes has to fit", s == 422 and "cannot unmarshal number" in o["message"] and o["details"]["causes"][0]["field"] == "patch", o)


def test_expiry(site):
    """etcd forgets a revision, and every API server with it: a list that began before goes on from now, with a token that says so."""
    first, second = site.start_server("--etcd-compaction-interval", "1s").api, site.start_server("--etcd-compaction-interval", "1s").api
    for i in range(6):
        first.call("POST", NS + "podtemplates", {"metadata": {"name": "t%d" % i}, "template": template()})
    path = NS + "podtemplates?limit=2"
    page = first.get(path)
    token, rv = page["metadata"]["continue"], page["metadata"]["resourceVersion"]
    for api in (first, second):
        s, o, _ = api.call("GET", path + "&continue=" + token)
        check("the next page of the same view", s == 200 and o["metadata"]["resourceVersion"] == rv, o)
    first.call("POST", NS + "podtemplates", {"metadata": {"name": "t9"}, "template": template()})
    for api in (first, second):
        expired = wait_for(lambda: api.call("GET", path + "&continue=" + token)[0] == 410, 30, 0.2)
        s, o, _ = api.call("GET", path + "&continue=" + token)
        check("expired, with a token to go on", expired and s == 410 and o["reason"] == "Expired" and o["metadata"]["continue"], o)
        s, o, _ = api.call("GET", path + "&continue=" + o["metadata"]["continue"])
        check("the rest as it is now", s == 200 and [i["metadata"]["name"] for i in o["items"]] == ["t2", "t3"] and o["metadata"]["remainingItemCount"] == 3 and int(o["metadata"]["resourceVersion"]) > int(rv), o)
        s, o, _ = api.call("GET", NS + "podtemplates?resourceVersionMatch=Exact&resourceVersion=" + rv)
        check("the old state itself is gone", s == 410 and o["reason"] == "Expired", o)


def fields(data):
    """The fields of one protobuf message: number -> values."""
    out, i = {}, 0

    def varint():
        nonlocal i
        value = shift = 0
        while True:
            byte = data[i]
            i += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value
    while i < len(data):
        tag = varint()
        if tag & 7 == 2:
            n = varint()
            value = data[i:i + n]
            i += n
        elif tag & 7 == 1:
            value = data[i:i + 8]
            i += 8
        else:
            value = varint()
        out.setdefault(tag >> 3, []).append(value)
    return out


def named(messages):
    return {fields(m)[1][0].decode(): fields(m)[2][0] for m in messages}


def test_openapi(site):
    api = site.start_server().api
    define(api, "Gadget", {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "number", "minimum": 0.5, "multipleOf": 2}, "m": {"type": "object", "additionalProperties": {"type": "string"}}}}}})
    wait_for(lambda: "com.example.v1.Gadget" in api.get("/openapi/v2")["definitions"])
    document = api.get("/openapi/v2")
    r, data = raw(api, "/openapi/v2", Accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf")
    check("v2 in protobuf", r.status == 200 and r.getheader("Content-Type") == "application/com.github.proto-openapi.spec.v2.v1.0+protobuf" and r.getheader("ETag"), r.getheaders())
    top = fields(data)
    check("its version and title", top[1] == [b"2.0"] and fields(top[2][0])[1] == [b"Kubernetes"], top.get(1))
    definitions = named(fields(top[9][0])[1])
    check("all its definitions", set(definitions) == set(document["definitions"]), len(definitions))
    pod = fields(definitions["io.k8s.api.core.v1.Pod"])
    check("a kind's description, type and members", pod[4][0].decode() == document["definitions"]["io.k8s.api.core.v1.Pod"]["description"] and fields(pod[22][0])[1] == [b"object"] and
          set(named(fields(pod[25][0])[1])) == {"apiVersion", "kind", "metadata", "spec", "status"}, pod.keys())
    spec = fields(named(fields(pod[25][0])[1])["spec"])
    check("references", spec[1] == [b"#/definitions/io.k8s.api.core.v1.PodSpec"], spec)
    extensions = named(pod[31])
    check("extensions", json.loads(fields(extensions["x-kubernetes-group-version-kind"])[2][0]) == [{"group": "", "kind": "Pod", "version": "v1"}], extensions)
    gadget = named(fields(fields(named(fields(fields(definitions["com.example.v1.Gadget"])[25][0])[1])["spec"])[25][0])[1])
    number, mapping = fields(gadget["n"]), fields(gadget["m"])
    check("numbers and maps", struct.unpack("<d", number[9][0])[0] == 0.5 and struct.unpack("<d", number[6][0])[0] == 2 and fields(fields(fields(mapping[21][0])[1][0])[22][0])[1] == [b"string"], number)
    paths = named(fields(top[8][0])[2])
    get = fields(fields(paths["/api/v1/namespaces/{namespace}/pods"])[2][0])
    check("parameters, told once", set(named(fields(top[10][0])[1])) == set(document["parameters"]) and b"#/parameters/limit" in [fields(fields(p)[2][0])[1][0] for p in get[8]], get.get(8))
    check("paths and operations", set(paths) == set(document["paths"]) and get[5][0].decode() == document["paths"]["/api/v1/namespaces/{namespace}/pods"]["get"]["operationId"], get)
    check("JSON where that comes first", raw(api, "/openapi/v2", Accept="application/json, application/com.github.proto-openapi.spec.v2@v1.0+protobuf")[0].getheader("Content-Type") == "application/json")
    tag = r.getheader("ETag")
    r = raw(api, "/openapi/v2", Accept="application/com.github.proto-openapi.spec.v2@v1.0+protobuf", **{"If-None-Match": tag})[0]
    check("unchanged", r.status == 304 and r.getheader("ETag") == tag and not r.getheader("Content-Type") and not r.getheader("Last-Modified"), r.getheaders())
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    tag = raw(api, "/apis", Accept=aggregated)[0].getheader("ETag")
    r = raw(api, "/apis", Accept=aggregated, **{"If-None-Match": tag})[0]
    check("nor the groups", r.status == 304 and r.getheader("ETag") == tag and not r.getheader("Content-Type"), r.getheaders())


def references(value):
    """Every $ref below."""
    if isinstance(value, dict):
        return [v for k, v in value.items() if k == "$ref" and isinstance(v, str)] + [r for v in value.values() for r in references(v)]
    return [r for v in value for r in references(v)] if isinstance(value, list) else []


def at(document, reference):
    for part in reference.split("/")[1:]:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def test_openapi_v3(site):
    api = site.start_server().api
    define(api, "Gizmo", {"type": "object", "properties": {"spec": {"type": "object", "properties": {"port": {"x-kubernetes-int-or-string": True}}}}}, subresources={"status": {}})
    wait_for(lambda: "apis/example.com/v1" in json.loads(raw(api, "/openapi/v3")[1])["paths"])
    r, data = raw(api, "/openapi/v3")
    index = json.loads(data)["paths"]
    check("the index", r.status == 200 and r.getheader("Content-Type") == "text/plain; charset=utf-8" and {"api", "api/v1", "apis", "apis/apps", "apis/apps/v1", "version", "openid/v1/jwks"} <= set(index) and
          list(index) == sorted(index) and "apis/example.com" not in index, list(index)[:9])
    documents = {key: api.get(entry["serverRelativeURL"]) for key, entry in index.items()}
    check("every reference leads to a schema", not [(k, x) for k, d in documents.items() for x in references(d) if at(d, x) is None])
    discover = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    for group in [g for path in ("/api", "/apis") for g in api.call("GET", path, headers=discover)[1]["items"]]:
        name = group["metadata"].get("name", "")
        for version in group["versions"]:
            key = ("apis/" + name + "/" if name else "api/") + version["version"]
            for resource in version["resources"]:
                told = {o["x-kubernetes-action"] for p, item in documents[key]["paths"].items() for m, o in item.items() if m != "parameters" and
                        o.get("x-kubernetes-group-version-kind", {}).get("kind") == resource["responseKind"]["kind"] and "/" + resource["resource"] in p}
                verbs = {{"create": "post", "update": "put"}.get(v, v) for v in resource["verbs"]} - (set() if not key.startswith("apis/example") else {"watch"})
                check("%s: operations of %s" % (key, resource["resource"]), verbs <= told, (verbs, told))
    one = documents["api/v1"]["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    check("what all operations take stands with the path", [p["name"] for p in one["parameters"]] == ["name", "namespace", "pretty"] and "parameters" not in one["get"] and
          [p["name"] for p in one["patch"]["parameters"]] == ["dryRun", "fieldManager", "fieldValidation", "force"], one["parameters"])
    check("answers by code and form", set(one["put"]["responses"]) == {"200", "201", "401"} and set(one["get"]["responses"]["200"]["content"]) == {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"} and
          one["delete"]["responses"]["202"]["content"]["application/json"]["schema"]["$ref"].endswith("core.v1.Pod"), one["put"]["responses"].keys())
    run_in = documents["api/v1"]["paths"]["/api/v1/namespaces/{namespace}/pods/{name}/exec"]
    check("options of a connection", set(run_in) == {"get", "post", "parameters"} and [p["name"] for p in run_in["parameters"]] == ["command", "container", "name", "namespace", "stderr", "stdin", "stdout", "tty"], run_in["parameters"])
    gizmo = documents["apis/example.com/v1"]
    check("a custom resource", gizmo["info"]["title"] == "Kubernetes CRD Swagger" and gizmo["components"]["schemas"]["com.example.v1.Gizmo"]["properties"]["spec"]["properties"]["port"]["anyOf"] == [{"type": "integer"}, {"type": "string"}] and
          "strategic" not in json.dumps(gizmo), gizmo["info"])
    written = ("Pod Deployment StatefulSet DaemonSet ReplicaSet ReplicationController Job CronJob HorizontalPodAutoscaler Service Endpoints EndpointSlice Ingress IngressClass NetworkPolicy ConfigMap Secret "
               "PersistentVolume PersistentVolumeClaim StorageClass VolumeAttributesClass CSIDriver Role RoleBinding ClusterRole ClusterRoleBinding ServiceAccount PodDisruptionBudget ResourceQuota LimitRange "
               "Namespace PriorityClass RuntimeClass Lease CustomResourceDefinition ValidatingAdmissionPolicy ValidatingWebhookConfiguration FlowSchema ResourceClaim").split()
    schemas = {name: schema for d in documents.values() for name, schema in d["components"].get("schemas", {}).items()}
    reached, ahead = set(), [name for name in schemas if name.split(".")[-1] in written]
    while ahead:
        name = ahead.pop()
        if name not in reached and not name.endswith("Status"):
            reached.add(name)
            ahead += [r.split("/")[-1] for r in references({k: v for k, v in schemas[name].get("properties", {}).items() if k != "status"})]
    silent = [name + "." + field for name in reached for field, schema in schemas[name].get("properties", {}).items() if "description" not in schema and field != "status"]
    check("all that people write is described", len(reached) > 300 and silent == [], (len(reached), sorted(silent)[:20]))
    url = index["apis/apps/v1"]["serverRelativeURL"]
    r, _ = raw(api, url)
    check("what the hash names may be kept", r.getheader("Cache-Control") == "public, immutable" and r.getheader("Expires", "").endswith(" UTC") and r.getheader("ETag") == '"%s"' % url.split("=")[1], r.getheaders())
    r, data = raw(api, "/openapi/v3/apis/apps/v1?hash=OLD")
    check("an old hash leads to the new", r.status == 301 and r.getheader("Location") == url and data == b"", (r.status, r.getheaders()))
    for accept in ("application/com.github.proto-openapi.spec.v3.v1.0+protobuf", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf", "application/json;q=0.5, application/com.github.proto-openapi.spec.v3.v1.0+protobuf"):
        r, data = raw(api, url, Accept=accept)
        top = fields(data)
        check("in protobuf: " + accept, r.status == 200 and r.getheader("Content-Type") == "application/com.github.proto-openapi.spec.v3.v1.0+protobuf" and r.getheader("ETag") == '"%s"' % url.split("=")[1] and
              r.getheader("Cache-Control") == "public, immutable" and top[1] == [b"3.0.0"] and set(named(fields(top[4][0])[1])) == set(documents["apis/apps/v1"]["paths"]), r.getheaders())
    for path in (url, "/openapi/v2"):
        r, data = raw(api, path, Accept="text/html")
        check("no other form: " + path, r.status == 406 and data == b"" and r.getheader("Vary") == ("Accept" if path == url else "Accept-Encoding, Accept"), (r.status, data[:80]))
    check("no other may be kept", raw(api, "/openapi/v3/apis/apps/v1")[0].getheader("Cache-Control") == "no-cache, private")
    for path in ("/openapi/v3/", "/openapi/v3/v2", "/openapi/v3/apis/none/v1", "/openapi/v3/api/v1/pods"):
        r, data = raw(api, path)
        check("not there: " + path, r.status == 404 and data == b"", (r.status, data[:80]))
    document = api.get("/openapi/v2")
    check("every reference of v2 leads somewhere", not [x for x in references(document) if at(document, x) is None] and "watch" in document["parameters"])
    define(api, "Gimmick", {"type": "object"})
    wait_for(lambda: json.loads(raw(api, "/openapi/v3")[1])["paths"]["apis/example.com/v1"] != index["apis/example.com/v1"])
    after = json.loads(raw(api, "/openapi/v3")[1])["paths"]
    check("only what changed has another hash", [k for k in after if after[k] != index.get(k)] == ["apis/example.com/v1"], after.get("apis/example.com/v1"))
    crd = {"metadata": {"name": "tiny-crds.tiny-things.example.com"}, "spec": {"group": "tiny-things.example.com", "scope": "Namespaced", "names": {"plural": "tiny-crds", "kind": "tiny-2-crd"}, "versions": [
        {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}
    check("one with dashes", api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)[0] == 201)
    wait_for(lambda: "apis/tiny-things.example.com/v1" in json.loads(raw(api, "/openapi/v3")[1])["paths"])
    tiny = api.get("/openapi/v3/apis/tiny-things.example.com/v1")["paths"]
    one, everywhere = tiny["/apis/tiny-things.example.com/v1/namespaces/{namespace}/tiny-crds/{name}"], tiny["/apis/tiny-things.example.com/v1/tiny-crds"]
    check("identifiers have none", one["get"]["operationId"] == "readTinyThingsExampleComV1Namespacedtiny2Crd" and one["get"]["tags"] == ["tinyThingsExampleCom_v1"] and
          everywhere["get"]["operationId"] == "listTinyThingsExampleComV1Tiny2CrdForAllNamespaces", (one["get"]["operationId"], everywhere["get"]["operationId"]))


def test_claim_ref(site):
    """The type of a volume's claimRef is owned as a whole elsewhere; here each of its fields has an owner of its own."""
    api = site.start_server().api
    path = "/api/v1/persistentvolumes/ours"
    volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "ours"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}
    s, o, _ = api.call("PATCH", path + "?fieldManager=a", dict(volume, spec=dict(volume["spec"], claimRef={"name": "c", "namespace": "default"})), "application/apply-patch+yaml")
    check("applied", s == 201, o)
    s, o, _ = api.call("PATCH", path + "?fieldManager=b", {"spec": {"claimRef": {"uid": "u"}}}, MERGE)
    owned = {m["manager"]: sorted(m["fieldsV1"]["f:spec"]["f:claimRef"]) for m in o["metadata"]["managedFields"]}
    check("each field has its owner", s == 200 and owned == {"a": ["f:name", "f:namespace"], "b": ["f:uid"]}, owned)


def test_headers(site):
    api = site.start_server().api
    api.call("POST", NS + "configmaps", {"metadata": {"name": "a"}})
    ids = set()
    for path in (NS + "configmaps/a", NS + "configmaps", NS + "configmaps/none", NS + "configmaps?watch=true&timeoutSeconds=1"):
        h = api.call("GET", path)[2]
        check("private and named: " + path, h.get_all("Cache-Control") == ["no-cache, private"] and len(h["Audit-Id"]) == 36, dict(h))
        ids.add(h["Audit-Id"])
    check("each by another name", len(ids) == 4, ids)
    check("or by the client's", api.call("GET", "/version", headers={"Audit-ID": "mine"})[2]["Audit-Id"] == "mine")


def test_yaml(site):
    api = site.start_server().api
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: %s\ndata:\n  a: '1'\n  a: '2'\n"
    warning = 'line 7: key "a" already set in map'
    for method, path, ctype in (("POST", NS + "configmaps?", "application/yaml"), ("PATCH", NS + "configmaps/{}?fieldManager=m&", APPLY)):
        s, o, h = api.call(method, path.format("strict") + "fieldValidation=Strict", text % "strict", ctype)
        check("a key twice is refused by who is strict: " + method, s == 400 and warning in o["message"], o)
        s, o, h = api.call(method, path.format("warn" + method.lower()) + "x=", text % ("warn" + method.lower()), ctype)
        check("told by default: " + method, s == 201 and o["data"] == {"a": "2"} and h["Warning"] == '299 - "%s"' % warning.replace('"', '\\"'), (o, h["Warning"]))
        s, o, h = api.call(method, path.format("ignore" + method.lower()) + "fieldValidation=Ignore", text % ("ignore" + method.lower()), ctype)
        check("and else passed over: " + method, s == 201 and o["data"] == {"a": "2"} and h["Warning"] is None, (o, h["Warning"]))
    r, data = raw(api, NS + "configmaps?watch=1", Accept="application/yaml")
    check("there is no watch in YAML, and that is said in YAML", r.status == 406 and r.getheader("Content-Type") == "application/yaml" and b"reason: NotAcceptable" in data, data)
    s, o, _ = api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "admintoken"}})
    check("a review says for which audience", s == 201 and o["status"]["audiences"] == ["https://kubernetes.default.svc"], o)


def test_reviews(site):
    """What is asked is answered as an object: whose field managers are told, whose metadata is checked, which is filled in."""
    api = site.start_server().api
    authz = "/apis/authorization.k8s.io/v1/"
    owned = lambda o: [(m["manager"], m["operation"], m["apiVersion"], m.get("subresource"), m["fieldsV1"]) for m in o["metadata"].get("managedFields", [])]
    s, o, _ = api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews?fieldManager=m", {"metadata": {"namespace": "said-in-vain"}, "spec": {"token": "unknown"}})
    check("a token that nobody knows", s == 201 and o["status"] == {"user": {}, "error": "invalid bearer token"} and "namespace" not in o["metadata"], o)
    check("the sender's fields", owned(o) == [("m", "Update", "authentication.k8s.io/v1", None, {"f:spec": {"f:token": {}}})], o)
    attributes = {"verb": "get", "resource": "pods", "namespace": "default"}
    s, o, _ = api.call("POST", authz + "selfsubjectaccessreviews?fieldManager=m", {"spec": {"resourceAttributes": attributes}})
    check("of an access review", s == 201 and owned(o)[0][4] == {"f:spec": {"f:resourceAttributes": {".": {}, "f:namespace": {}, "f:resource": {}, "f:verb": {}}}}, o)
    for path, kind in ((authz + "selfsubjectaccessreviews", ""), (authz + "subjectaccessreviews", ""), (authz + "namespaces/default/localsubjectaccessreviews", " except for namespace")):
        s, o, _ = api.call("POST", path, {"metadata": {"labels": {"a": "b"}}, "spec": {"user": "u", "resourceAttributes": attributes}})
        check("metadata of no use: " + path, s == 422 and [(f, m.startswith('Invalid value: {') and m.endswith(": must be empty" + kind)) for f, m in causes(o)] == [("metadata", True)], o)
    s, o, _ = api.call("POST", authz + "namespaces/default/localsubjectaccessreviews", {"metadata": {"namespace": "other"}, "spec": {"user": "u", "resourceAttributes": attributes}})
    check("another namespace", s == 400 and "does not match the namespace" in o["message"], o)
    s, o, _ = api.call("POST", authz + "selfsubjectrulesreviews", {"metadata": {"name": "x"}, "spec": {"namespace": "default"}})
    everything = [r for r in o["status"]["resourceRules"] if r["resources"] == ["*"] and r["verbs"] == ["*"]]
    check("rules are an answer of their own", s == 201 and o["metadata"] == {} and o["spec"] == {} and len(everything) == 1 and o["status"]["incomplete"] is False, o)
    account = api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "asker"}})[1]["metadata"]
    token = NS + "serviceaccounts/asker/token?fieldManager=m"
    s, o, _ = api.call("POST", token, {"spec": {"expirationSeconds": 700}})
    check("a token's request is filled in", s == 201 and o["metadata"]["uid"] == account["uid"] and o["metadata"]["name"] == "asker" and
          owned(o) == [("m", "Update", "authentication.k8s.io/v1", "token", {"f:spec": {"f:expirationSeconds": {}}})], o)
    s, o, _ = api.call("POST", token, {"metadata": {"name": "other"}, "spec": {}})
    check("for another account", s == 422 and causes(o) == [("metadata.name", 'Invalid value: "other": must match the service account name if specified')], o)
    s, o, _ = api.call("POST", token, {"metadata": {"uid": "other"}, "spec": {}})
    check("for one that was before", s == 409 and o["details"] == {"group": "authentication.k8s.io", "kind": "TokenRequest", "name": "asker"}, o)
    for path, body in ((authz + "localsubjectaccessreviews", {"metadata": {"namespace": "other"}, "spec": {"user": "u", "resourceAttributes": attributes}}),
                       ("/api/v1/bindings", {"metadata": {"name": "p", "namespace": "other"}, "target": {"name": "n"}})):
        s, o, _ = api.call("POST", path, body)
        check("what is of a namespace is not asked without one: " + path, s == 404 and o["message"] == "the server could not find the requested resource", (s, o))


def test_continue_tokens(site):
    """Tokens are those of Kubernetes, so that a list goes on through another server, of whatever make."""
    api = site.start_server().api
    maps = NS + "configmaps?labelSelector=of%3Dpages&limit=2"
    for name in "abcde":
        api.call("POST", NS + "configmaps", {"metadata": {"name": name, "labels": {"of": "pages"}}})
    names = lambda o: [i["metadata"]["name"] for i in o["items"]]
    _, page, _ = api.call("GET", maps)
    token = page["metadata"]["continue"]
    told = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    check("a token", told == {"v": "meta.k8s.io/v1", "rv": int(page["metadata"]["resourceVersion"]), "start": "b\0"} and "=" not in token, told)
    api.call("POST", NS + "configmaps", {"metadata": {"name": "b-later", "labels": {"of": "pages"}}})

    def go_on(**change):
        text = json.dumps(dict(told, **change)).encode()
        return api.call("GET", maps + "&continue=" + base64.urlsafe_b64encode(text).decode().rstrip("="))

    for change, want in (({}, ["c", "d"]), ({"start": "/b\0"}, ["c", "d"]), ({"start": "b"}, ["b", "c"]), ({"rv": -1}, ["b-later", "c"])):
        s, o, _ = go_on(**change)
        check("goes on: %s" % change, s == 200 and names(o) == want, o)
    for change, code, words in (({"rv": 0}, 400, ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)"), ({"start": ""}, 400, ": encoded start key empty (version meta.k8s.io/v1)"),
                                ({"v": "meta.k8s.io/v2"}, 400, ": server does not recognize this encoded version meta.k8s.io/v2"), ({"start": "/../x"}, 400, "continue key is not valid: /../x"),
                                ({"rv": "1"}, 400, "cannot unmarshal string into Go struct field continueToken.rv of type int64"), ({"rv": 1 << 40}, 504, "Too large resource version: 1099511627776, current: ")):
        s, o, h = go_on(**change)
        check("refused: %s" % change, s == code and words in o["message"] and (code == 400) == o["message"].startswith("invalid continue token: ") and h["Retry-After"] == ("1" if code == 504 else None), o)
    s, o, _ = api.call("GET", maps + "&continue=abc!")
    check("no token", s == 400 and o["message"].endswith("illegal base64 data at input byte 3"), o)
    s, o, _ = api.call("GET", maps + "&resourceVersion=1&continue=" + token)
    check("with a revision of another", s == 400 and o["message"] == "specifying resource version is not allowed when using continue", o)


def test_pods_subresources(site):
    """Bindings, evictions and scales: what they refuse, and in whose words."""
    api = site.start_server("--disable-admission-plugins=ServiceAccount").api
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    api.call("POST", NS + "pods", pod)
    for body, code, message in (({"target": {"kind": "Node", "name": "n"}}, 400, "name in URL does not match name in Binding object"),
                                ({"metadata": {"name": "p"}, "target": {"kind": "Foo", "name": "n"}}, 500, 'target.kind: Unsupported value: "Foo": supported values: "Node", "<empty>"'),
                                ({"metadata": {"name": "p"}, "target": {}}, 500, "target.name: Required value")):
        s, o, _ = api.call("POST", NS + "pods/p/binding", body)
        check("a binding: %s" % body, s == code and o["message"] == message, o)
    evict = NS + "pods/p/eviction"
    for body, code in (({}, 400), ({"metadata": {"name": "other"}}, 400), ({"metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["Foo"]}}, 422), ({"apiVersion": "policy/v2", "kind": "Eviction", "metadata": {"name": "p"}}, 400),
                       ({"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": "p"}, "deleteOptions": {"dryRun": ["All"]}}, 201), ({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}, 201)):
        s, o, _ = api.call("POST", evict, body)
        check("an eviction: %s" % body, s == code, o)
    check("the last did it", api.call("GET", NS + "pods/p")[0] == 404)
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    labels = {"a": "b"}
    api.call("POST", deployments + "?fieldManager=maker", {"metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod["spec"]}}})
    scale = deployments + "/d/scale?fieldManager=scaler"
    wanted = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": 9}}
    s, o, _ = api.call("PATCH", scale, wanted, APPLY)
    check("an applied scale meets the owner", s == 409 and o["details"]["causes"] == [{"reason": "FieldManagerConflict", "message": 'conflict with "maker" using autoscaling/v1', "field": ".spec.replicas"}], o)
    s, o, _ = api.call("PATCH", scale + "&force=true", wanted, APPLY)
    check("and takes it by force", s == 200 and o["spec"]["replicas"] == 9 and o["kind"] == "Scale", o)
    owners = {m["manager"]: m for m in api.get(deployments + "/d")["metadata"]["managedFields"]}
    check("as its owner", owners["scaler"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}} and owners["scaler"]["operation"] == "Apply" and owners["scaler"]["subresource"] == "scale" and "f:replicas" not in owners["maker"]["fieldsV1"]["f:spec"], owners)
    s, o, _ = api.call("PATCH", scale, dict(wanted, spec={"replicas": 3}), APPLY)
    check("its own it may change", s == 200 and o["spec"]["replicas"] == 3, o)
    s, o, _ = api.call("PUT", scale, dict(wanted, metadata={"name": "other"}))
    check("a scale of another", s == 400 and o["message"] == "the name of the object (other) does not match the name on the URL (d)", o)
    s, o, _ = api.call("GET", deployments + "/d/scale", headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})
    check("a scale's Table", s == 200 and [c["name"] for c in o["columnDefinitions"]] == ["Name", "Desired", "Available", "Age"] and o["rows"][0]["cells"][:3] == ["d", 3, 0] and o["rows"][0]["object"]["kind"] == "PartialObjectMetadata", o)
    s, o, _ = api.call("GET", deployments + "/d/scale", headers={"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"})
    check("its bare metadata", s == 200 and o["kind"] == "PartialObjectMetadata" and o["metadata"]["name"] == "d" and "spec" not in o, o)
    for path in ("/api/v1/configmaps", "/apis/apps/v1/deployments"):
        check("of all namespaces nobody deletes: " + path, api.call("DELETE", path)[0] == 405)
    for name in "abc":
        api.call("POST", NS + "configmaps", {"metadata": {"name": "page-" + name, "labels": {"page": "yes"}}})
    s, o, _ = api.call("DELETE", NS + "configmaps?labelSelector=page&limit=2")
    check("a page of deletions", s == 200 and [i["metadata"]["name"] for i in o["items"]] == ["page-a", "page-b"] and o["metadata"]["continue"], o)
    s, o, _ = api.call("DELETE", NS + "configmaps?labelSelector=page&limit=2&continue=" + o["metadata"]["continue"])
    check("and the last", s == 200 and [i["metadata"]["name"] for i in o["items"]] == ["page-c"] and "continue" not in o["metadata"], o)


def test_custom_versions(site):
    """Two versions of a kind: which is preferred, which goes, what is selected by; and what a structural schema refuses."""
    api = site.start_server().api
    spec = {"type": "object", "required": ["n"], "properties": {
        "n": {"type": "integer"}, "color": {"type": "string", "default": "red"}, "opt": {"type": "array", "items": {"type": "string"}}, "nul": {"type": "string", "nullable": True},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "required": ["k"], "properties": {"k": {"type": "string"}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}, "ios": {"x-kubernetes-int-or-string": True}, "date": {"type": "string", "format": "date-time"},
        "emb": {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
        "one": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}}, "oneOf": [{"required": ["a"]}, {"required": ["b"]}]}}}
    v1 = {"name": "v1", "served": True, "storage": True, "selectableFields": [{"jsonPath": ".spec.color"}], "additionalPrinterColumns": [{"name": "N", "type": "integer", "jsonPath": ".spec.n"}],
          "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}}
    loose = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": "v1alpha1", "served": True, "storage": False, "deprecated": True, "schema": loose}, v1, {"name": "v2", "served": True, "storage": False, "schema": loose},
                {"name": "v1beta1", "served": True, "storage": False, "deprecated": True, "deprecationWarning": "use another", "schema": loose}]
    api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", {"metadata": {"name": "parts.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced", "names": {"plural": "parts", "kind": "Part"}, "versions": versions}})
    base = "/apis/example.org/%s/namespaces/default/parts"
    parts = base % "v1"
    wait_for(lambda: api.call("GET", parts)[0] == 200)
    group = api.get("/apis/example.org")
    check("versions by preference", [v["version"] for v in group["versions"]] == ["v2", "v1", "v1beta1", "v1alpha1"] and group["preferredVersion"]["version"] == "v2", group)
    for version, warning in (("v1alpha1", "example.org/v1alpha1 Part is deprecated; use example.org/v2 Part"), ("v1beta1", "use another"), ("v1", None)):
        h = api.call("GET", base % version)[2]
        check("a version that goes: " + version, h["Warning"] == ('299 - "%s"' % warning if warning else None), h["Warning"])
    part = lambda spec, **more: dict({"apiVersion": "example.org/v1", "kind": "Part", "metadata": {"name": "p"}, "spec": spec}, **more)
    for spec, field, words in (({"n": None}, "spec.n", "Required value"), (None, None, None), ({"n": 1, "opt": None}, None, None), ({"n": 1, "nul": None}, None, None),
                               ({"n": 1, "list": [{"k": "a"}, {"k": "b"}, {"k": "a"}]}, "spec.list[2]", 'Duplicate value: {"k":"a"}'), ({"n": 1, "set": ["a", "a"]}, "spec.set[1]", 'Duplicate value: "a"'),
                               ({"n": 1, "ios": True}, "spec.ios", 'Invalid value: "boolean": spec.ios in body must be of type integer,string: "boolean"'), ({"n": 1, "date": "x"}, "spec.date", 'Invalid value: "x": spec.date in body must be of type date-time: "x"'),
                               ({"n": 1, "emb": {"kind": "Pod"}}, "spec.emb.apiVersion", "Required value"), ({"n": 1, "one": {"a": "x", "b": "y"}}, "<nil>", 'Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives'),
                               ({"n": 1, "one": {}}, "<nil>", 'Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid'), ({"n": 12345678901234567890}, "spec.n", 'Invalid value: "number": spec.n in body must be of type integer: "number"')):
        s, o, _ = api.call("POST", parts + "?dryRun=All", part(spec))
        check("a part: %s" % spec, s == 201 and "opt" not in (o.get("spec") or {}) if not field else s == 422 and causes(o)[0] == (field, words), o)
    s, o, h = api.call("POST", parts + "?dryRun=All", part({"n": 1, "emb": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "z", "foo": "bar"}}}))
    check("metadata within is pruned", s == 201 and o["spec"]["emb"]["metadata"] == {"name": "z"} and h["Warning"] == '299 - "unknown field \\"spec.emb.metadata.foo\\""', (o, h["Warning"]))
    for body, code, words in ((part({"n": 1}, kind="Other"), 422, 'Other.example.org "p" is invalid: kind: Invalid value: "Other": must be Part'), (part({"n": 1}, apiVersion="example.org/v2"), 400, "the API version in the data (example.org/v2) does not match the expected API version (example.org/v1)"),
                              ({"kind": "Part"}, 400, "the API version in the data () does not match the expected API version (example.org/v1)"), ({"apiVersion": "example.org/v1"}, 400, "the object provided is unrecognized (must be of type Part): Object 'Kind' is missing in ")):
        s, o, _ = api.call("POST", parts, body)
        check("a head: %s" % words, s == code and o["message"].startswith(words), o)
    api.call("POST", parts, part({"n": 1}))
    api.call("POST", parts, part({"n": 1, "color": "blue"}, metadata={"name": "q"}))
    for selector, want in (("spec.color=red", ["p"]), ("spec.color=blue", ["q"]), ("spec.color!=red", ["q"])):
        check("by what one version selects by: " + selector, [i["metadata"]["name"] for i in api.get(parts + "?fieldSelector=" + selector)["items"]] == want)
    s, o, _ = api.call("POST", base % "v2", {"apiVersion": "example.org/v2", "kind": "Part", "metadata": {"name": "r"}, "spec": {"n": 3}, "extra": 1})
    check("what the stored version does not know is not kept", s == 201 and o["spec"] == {"n": 3, "color": "red"} and "extra" not in o and o["apiVersion"] == "example.org/v2", o)
    o = api.call("GET", parts, headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})[1]
    check("a column without a description", o["columnDefinitions"][1]["description"] == "Custom resource definition column (in JSONPath format): .spec.n", o["columnDefinitions"])


def test_who(site):
    """Who asks: what is no bearer's token says nothing, and nobody cannot be impersonated in part."""
    api = site.start_server().api
    for header, code in (("Basic eDp5", 403), ("", 403), ("Bearer", 403), ("Bearer  admintoken", 403), ("Bearer wrong", 401), ("bearer admintoken", 200)):
        s, o, _ = api.call("GET", NS + "configmaps", headers={"Authorization": header})
        check("Authorization: %r" % header, s == code and (code != 403 or 'User "system:anonymous" cannot list' in o["message"]), o)
    s, o, _ = api.call("GET", "/nope", headers={"Authorization": "Basic eDp5"})
    check("a path is no detail", s == 403 and o["details"] == {}, o)
    for headers, who in (({"Impersonate-Uid": "1"}, '&user.DefaultInfo{Name:"", UID:"1", Groups:[]string(nil), Extra:map[string][]string(nil)}'), ({"Impersonate-Group": "x"}, '&user.DefaultInfo{Name:"", UID:"", Groups:[]string{"x"}, Extra:map[string][]string(nil)}'),
                         ({"Impersonate-Extra-foo": "b"}, '&user.DefaultInfo{Name:"", UID:"", Groups:[]string(nil), Extra:map[string][]string{"foo":[]string{"b"}}}')):
        s, o, _ = api.call("GET", NS + "configmaps", headers=headers)
        check("nobody: %s" % headers, s == 400 and o["message"] == "requested %s without impersonating a user name" % who, o)


def test_refused(site):
    """Who may not is told so in an answer that no browser takes for something else; a name that cannot be proxied to is none."""
    api = site.start_server().api
    for headers, code in (({"Authorization": "Bearer admintoken", "Impersonate-User": "bob"}, 403), ({"Authorization": "Bearer admintoken", "Impersonate-Group": "g"}, 400)):
        s, o, h = api.call("GET", NS + "configmaps", headers=headers)
        check("refused: %s" % headers, s == code and h.get_all("X-Content-Type-Options") == ["nosniff"], (s, dict(h)))
    check("what is not there", api.call("GET", NS + "configmaps/none")[2]["X-Content-Type-Options"] is None)
    for name in ("a:b:c:d", "foo:x:80", ":", "::", "a::"):
        s, o, _ = api.call("GET", NS + "pods/%s/proxy/" % name)
        check("no destination: " + name, s == 400 and o["message"] == 'invalid pod request "%s"' % name, o)
    s, o, _ = api.call("GET", "/api/v1/componentstatuses/x")
    check("no component", s == 404 and o["message"] == 'componentstatus "x" not found' and o["details"] == {"name": "x", "kind": "componentstatus"}, o)


def outer_address():
    """An address of this machine that is not the loopback's; None where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.201", 9))  # sends nothing
            return s.getsockname()[0]
        except OSError:
            return None


def test_destinations(site):
    """Who may name addresses cannot have the API server go where only it can: not to itself, and of a Service only to its pods."""
    api = site.start_server().api
    api.call("POST", "/api/v1/nodes", {"metadata": {"name": "n"}})
    listener = socket.create_server(("0.0.0.0", 0))
    port, asked = listener.getsockname()[1], []

    def serve():
        while True:
            try:
                c, _ = listener.accept()
            except OSError:
                return
            with c:
                asked.append(c.recv(65536).split(b" ")[1].decode())
                c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n\r\nhere")

    threading.Thread(target=serve, daemon=True).start()
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    s, o, _ = api.call("POST", NS + "pods", {"metadata": {"name": "p"}, "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i", "ports": [{"containerPort": port}]}]}})
    check("a pod", s == 201, o)
    api.call("POST", NS + "services", {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})

    def endpoints(address, **target):
        api.call("DELETE", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/s")
        s, o, _ = api.call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices", {"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": "s"}}, "addressType": "IPv4", "ports": [{"name": "", "port": port}],
                           "endpoints": [{"addresses": [address], "conditions": {"ready": True}, **target}]})
        check("a slice", s == 201, o)

    def stand(ip):
        api.call("PATCH", NS + "pods/p/status", {"status": {"podIP": ip, "podIPs": [{"ip": ip}]}}, MERGE)
        api.call("PATCH", "/api/v1/nodes/n/status", {"status": {"addresses": [{"type": "InternalIP", "address": ip}], "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}}, MERGE)

    for ip in ("127.0.0.1", "127.9.9.9", "169.254.169.254", "0.0.0.0", "224.0.0.1", "::1", "fe80::1", "::ffff:127.0.0.1"):
        stand(ip)
        for what in (NS + "pods/p", "/api/v1/nodes/n"):
            s, o, _ = api.call("GET", what + "/proxy/x")
            check("%s at %s" % (what, ip), s == 400 and "address not allowed" in str(o), o)
    here = outer_address()
    if here:
        stand(here)
        endpoints(here)
        s, o, _ = api.call("GET", NS + "services/s/proxy/none")
        check("an endpoint that is no pod", s == 503 and o["message"] == 'no endpoints available for service "s"', o)
        endpoints("10.9.9.9", targetRef={"kind": "Pod", "name": "p", "namespace": "default"})
        check("nor has its address", api.call("GET", NS + "services/s/proxy/wrong")[0] == 503)
        endpoints(here, targetRef={"kind": "Pod", "name": "p", "namespace": "other"})
        check("nor is of its namespace", api.call("GET", NS + "services/s/proxy/other")[0] == 503)
        endpoints(here, targetRef={"kind": "Pod", "name": "p", "namespace": "default"})
        for what in ("pods/p", "services/s"):
            s, o, _ = api.call("GET", NS + what + "/proxy/" + what)
            check("what may be reached is: " + what, s == 200 and o == "here", o)
        check("and nothing else was", asked == ["/pods/p", "/services/s"], asked)
    listener.close()


def test_bodies(site):
    """What is no object, and how an answer is asked for that cannot be had."""
    api = site.start_server().api
    maps = NS + "configmaps?dryRun=All"
    bad = "the object provided is unrecognized (must be of type ConfigMap): "
    for ctype, body, message in (
            ("application/json", "[]", bad + "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (5b5d)"),
            ("application/json", '{"kind":"Pod","apiVersion":"v1"}', 'Pod in version "v1" cannot be handled as a ConfigMap: converting (v1.Pod) to (core.ConfigMap): unknown conversion'),
            ("application/json", '{"kind":"ConfigMap","apiVersion":"v2"}', 'ConfigMap in version "v2" cannot be handled as a ConfigMap: no kind "ConfigMap" is registered for version "v2" in scheme "pkg/api/legacyscheme/scheme.go:30"'),
            ("application/vnd.kubernetes.protobuf", '{"metadata":{"name":"of thirty characters and more"}}', bad + 'provided data does not appear to be a protobuf message, expected prefix [107 56 115 0] ({"metadata":{"name":"of thirty ...)')):
        s, o, _ = api.call("POST", maps, body, ctype)
        check("a body: %s" % body, s == 400 and o["message"] == message, o)
    for body, message in (("a: [", bad + "yaml: line 1: did not find expected node content (613a205b)"), ("a: b: c", bad + "yaml: mapping values are not allowed in this context (613a20623a2063)"),
                          ("- a", bad + "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" } (2d2061)"),
                          ("a: 1\na: 2", 'ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:\n  line 2: key "a" already set in map, unknown field "a"')):
        s, o, _ = api.call("POST", maps + "&fieldValidation=Strict", body, "application/yaml")
        check("YAML: %s" % body, s == 400 and o["message"] == message, o)
    s, o, _ = api.call("POST", maps, "metadata: {name: first}\n---\n[", "application/yaml")
    check("the first of the documents", s == 201 and o["metadata"]["name"] == "first", o)
    for data, fault in (("YQ==", None), ("Y\nWFh\n", None), ("YQ", 0), ("YWFhY", 4), ("YQ=", 3), ("YQ=a", 2), ("YQ==YQ==", 4), ("Y-_h", 1), ("=YQ", 0)):
        s, o, _ = api.call("POST", maps, {"metadata": {"name": "b"}, "binaryData": {"a": data}})
        check("bytes: %r" % data, s == 201 if fault is None else s == 400 and o["message"].endswith("illegal base64 data at input byte %d" % fault), o)
    for body, message in (({"data": {"a": 5}}, "cannot unmarshal number into Go struct field ConfigMap.data of type string"), ({"metadata": {"name": "t", "creationTimestamp": 5}}, "cannot unmarshal number into Go struct field ObjectMeta.metadata.creationTimestamp of type string"),
                          ({"kind": 5}, bad + "couldn't get version/kind; json parse error: json: cannot unmarshal number into Go struct field .kind of type string ({\"kind\": 5})"), ({"apiVersion": "a/b/c"}, bad + "unexpected GroupVersion string: a/b/c ({\"apiVersion\": \"a/b/c\"})")):
        s, o, _ = api.call("POST", maps, body)
        check("a body: %s" % body, s == 400 and o["message"].endswith(message), o)
    for ctype in ("*/*", "application/json,text/plain", "text/plain"):
        check("a body of %s" % ctype, api.call("POST", maps, "{}", ctype)[0] == 415)
    api.call("POST", NS + "configmaps", {"metadata": {"name": "p"}})
    for ctype, body, message in (("json-patch", "{", "error decoding patch: unexpected end of JSON input"), ("merge-patch", "x", "error decoding patch: invalid character 'x' looking for beginning of value"),
                                 ("merge-patch", "[5]", "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"), ("strategic-merge-patch", "5", "json: cannot unmarshal number into Go value of type map[string]interface {}"),
                                 ("strategic-merge-patch", "{}}", "invalid character '}' after top-level value")):
        s, o, _ = api.call("PATCH", NS + "configmaps/p", body, "application/%s+json" % ctype)
        check("no patch: %s %s" % (ctype, body), s == 400 and o["message"] == message, o)
        check("nor of what is not there", api.call("PATCH", NS + "configmaps/q", body, "application/%s+json" % ctype)[0] == 404)
    s, o, _ = api.call("POST", NS + "configmaps?dryRun=", {"metadata": {"name": "m"}})
    check("an empty dryRun", s == 422 and causes(o) == [("dryRun", 'Unsupported value: [""]: supported values: "All"')], o)
    for path, form, code in ((NS + "configmaps", "PartialObjectMetadata", 406), (NS + "configmaps", "PartialObjectMetadataList", 200), ("/api/v1/namespaces/default", "PartialObjectMetadataList", 406), ("/api/v1/namespaces/default", "PartialObjectMetadata", 200)):
        check("%s as %s" % (path, form), api.call("GET", path, headers={"Accept": "application/json;as=%s;g=meta.k8s.io;v=v1" % form})[0] == code)
    for form, none in (("as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", None), ("", [])):
        s, o, _ = api.call("GET", NS + "configmaps?labelSelector=nobody", headers={"Accept": "application/json;" + form})
        check("a list of nothing %s" % form, s == 200 and o["items"] == none, o)
    for accept, code in (("text/html", 406), ("application/yaml", 406), ("application/json", 200), ("application/vnd.kubernetes.protobuf,application/json", 200), ("*/*", 200)):
        check("the version as " + accept, api.call("GET", "/version", headers={"Accept": accept})[0] == code)


def test_watch_from_nowhere(site):
    """A watch that does not say where to begin is a streaming list: who takes bookmarks is told where what there is ends."""
    api = site.start_server().api
    api.call("POST", NS + "configmaps", {"metadata": {"name": "w"}})
    maps = NS + "configmaps?watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dw"
    for query, want in (("", ["ADDED"]), ("&allowWatchBookmarks=true", ["ADDED", "BOOKMARK"]), ("&allowWatchBookmarks=true&resourceVersion=0", ["ADDED", "BOOKMARK"]), ("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", ["ADDED"]),
                        ("&sendInitialEvents=false&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", [])):
        events = [json.loads(line) for line in raw(api, maps + query)[1].decode().split("\n") if line]
        check("a watch%s" % query, [e["type"] for e in events] == want and (want[-1:] != ["BOOKMARK"] or events[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}), events)
    # Its time may be over before it begins, or what it is to begin with may lie ahead: told in the stream, where it has begun.
    rv = api.call("GET", NS + "configmaps")[1]["metadata"]["resourceVersion"]
    over = NS + "configmaps?watch=1&timeoutSeconds=-1&fieldSelector=metadata.name%3Dw"
    for query, want in (("", ["ERROR"]), ("&resourceVersion=0", ["ADDED"]), ("&resourceVersion=" + rv, []), ("&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", [])):
        events = [json.loads(line) for line in raw(api, over + query)[1].decode().split("\n") if line]
        check("a watch whose time is over%s" % query, [e["type"] for e in events] == want and (want != ["ERROR"] or events[0]["object"]["code"] == 500), events)
    r, body = raw(api, maps + "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&resourceVersion=999999999")
    e = json.loads(body)
    check("a streaming list of the future", r.status == 200 and e["type"] == "ERROR" and e["object"]["code"] == 504 and e["object"]["details"]["retryAfterSeconds"] == 1, (r.status, e))
    # The last bookmark comes before the end, where anything happened since.
    api.call("POST", NS + "configmaps", {"metadata": {"name": "elsewhere"}})
    events = [json.loads(line) for line in raw(api, NS + "configmaps?watch=1&timeoutSeconds=3&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dw&resourceVersion=" + rv)[1].decode().split("\n") if line]
    check("a bookmark before the end", [e["type"] for e in events] == ["BOOKMARK"] and int(events[0]["object"]["metadata"]["resourceVersion"]) > int(rv), events)
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    events = [json.loads(line) for line in raw(api, maps + "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true", **table)[1].decode().split("\n") if line]
    rows = [e["object"]["rows"] for e in events]
    check("a bookmark as a table", [e["type"] for e in events] == ["ADDED", "BOOKMARK"] and rows[1][0]["cells"] == ["", 0, "<unknown>"] and rows[1][0]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
          and rows[1][0]["object"]["metadata"]["resourceVersion"] == events[1]["object"]["metadata"]["resourceVersion"] and events[1]["object"]["columnDefinitions"] is None, events)
    s, o, _ = api.call("GET", NS + "configmaps?includeObject=None", headers=table)
    check("rows without their objects", s == 200 and all(r["object"] is None for r in o["rows"]), o)
    # With one worker, which is the default, a collection goes in its order.
    for i in range(30):
        api.call("POST", NS + "configmaps", {"metadata": {"name": "order%02d" % (29 - i), "labels": {"order": "x"}}})
    rv = api.call("GET", NS + "configmaps")[1]["metadata"]["resourceVersion"]
    api.call("DELETE", NS + "configmaps?labelSelector=order")
    gone = [json.loads(line)["object"]["metadata"]["name"] for line in raw(api, NS + "configmaps?watch=1&timeoutSeconds=1&labelSelector=order&resourceVersion=" + rv)[1].decode().split("\n") if line]
    check("a collection goes in order", gone == ["order%02d" % i for i in range(30)], gone)
    for query, count in (("&continue=x", 1), ("&resourceVersion=5&resourceVersionMatch=Exact", 2)):
        s, o, _ = api.call("GET", maps + query)
        check("no watch%s" % query, s == 422 and [c[0] for c in causes(o)] == ["resourceVersionMatch"] * count, o)


def test_cells(site):
    """Cells of Tables are of Kubernetes' types; an IPAddress has one more, its age, than it has columns, there as here."""
    api = site.start_server().api
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    hpa = {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 5, "metrics": [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}, {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "10"}}}]}
    external = dict(hpa, metrics=[{"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "10"}}}])
    for path, body, at, want in ((NS + "events", {"metadata": {"name": "t"}, "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"}, "reason": "R", "message": "m", "count": 3}, 8, [3, "t"]),
                                 ("/apis/apps/v1/namespaces/default/controllerrevisions", {"metadata": {"name": "t"}, "revision": 4, "data": {"a": 1}}, 2, [4]),
                                 ("/apis/batch/v1/namespaces/default/cronjobs", {"metadata": {"name": "t"}, "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": pod}}}}, 3, ["False", 0]),
                                 ("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", {"metadata": {"name": "t"}, "spec": hpa}, 2, ["cpu: <unknown>/50%, <unknown>/10", "1", 5, 0]),
                                 ("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", {"metadata": {"name": "u"}, "spec": external}, 2, ["<unknown>/10 (avg)", "1", 5, 0]),
                                 ("/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations", {"metadata": {"name": "t"}, "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}}}}, 2, [5, "<none>"]),
                                 ("/apis/networking.k8s.io/v1/ipaddresses", {"metadata": {"name": "10.96.77.7"}, "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "s"}}}, 1, ["services/default/s"])):
        s, o, _ = api.call("POST", path, body)
        check("made: " + path, s == 201, o)
        row = api.call("GET", path + "/" + body["metadata"]["name"], headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})[1]
        check("its cells: " + path, row["rows"][0]["cells"][at:at + len(want)] == want and len(row["rows"][0]["cells"]) == len(row["columnDefinitions"]) + path.endswith("ipaddresses"), row["rows"])
    api.call("POST", "/api/v1/nodes", {"metadata": {"name": "t"}})
    api.call("PATCH", "/api/v1/nodes/t/status", {"status": {"nodeInfo": {"kernelVersion": "6.1", "architecture": "arm64"}}}, MERGE)
    row = api.call("GET", "/api/v1/nodes/t", headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"})[1]["rows"][0]["cells"]
    check("a node's kernel is told with what it is made for", row[-3:] == ["<unknown>", "6.1 (arm64)", "<unknown>"], row)
    for path in ("/api/v1/nodes", "/api/v1/namespaces"):
        s, o, _ = api.call("GET", path + "?fieldSelector=spec.foo%3Dx")
        check("no such field: " + path, s == 400 and o["message"] == "field label not supported: spec.foo", o)
    table = {"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    at = "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolic"
    rules = {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}]}
    mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}
    s, o, _ = api.call("POST", at + "ies", {"metadata": {"name": "t"}, "spec": {"matchConstraints": rules, "reinvocationPolicy": "Never", "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"}, "mutations": [mutation, mutation]}})
    check("made: a policy", s == 201, o)
    row = api.call("GET", at + "ies/t", headers=table)[1]
    check("its cells", row["rows"][0]["cells"][:3] == ["t", 2, "v1/ConfigMap"] and len(row["columnDefinitions"]) == 4, row["rows"])
    s, o, _ = api.call("POST", at + "ybindings", {"metadata": {"name": "b"}, "spec": {"policyName": "t", "paramRef": {"name": "c", "namespace": "n", "parameterNotFoundAction": "Deny"}}})
    check("made: its binding", s == 201, o)
    row = api.call("GET", at + "ybindings/b", headers=table)[1]
    check("its cells", row["rows"][0]["cells"][:3] == ["b", "t", "n/c"] and len(row["columnDefinitions"]) == 4, row["rows"])
    for gv in ["/api/v1"] + ["/apis/" + g["preferredVersion"]["groupVersion"] for g in api.get("/apis")["groups"] if g["name"] != "metrics.k8s.io"]:
        for resource in [x for x in api.get(gv)["resources"] if "/" not in x["name"] and "list" in x["verbs"]]:
            s, o, _ = api.call("GET", gv + "/" + resource["name"], headers=table)
            check("columns are told of: " + resource["name"], s != 200 or all(c["description"] for c in o["columnDefinitions"]), (s, o.get("columnDefinitions")))


def test_pod_security(site):
    """What a level forbids, by version; what is only told of; what labels may say; and the pods of a namespace that gets stricter."""
    api = site.start_server("--disable-admission-plugins=ServiceAccount").api
    label = "pod-security.kubernetes.io/"
    for name, labels in (("restricted", {"enforce": "restricted"}), ("baseline", {"enforce": "baseline", "enforce-version": "v1.30", "warn": "privileged"}), ("old", {"enforce": "restricted", "enforce-version": "v1.18"}), ("told", {"warn": "restricted"})):
        s, o, _ = api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": {label + k: v for k, v in labels.items()}}})
        check("a namespace: " + name, s == 201, o)
    good = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}

    def judge(ns, own=None, pod=None, **more):
        contexts = {"securityContext": dict(good, **own)} if own is not None else {}
        spec = dict({"containers": [dict({"name": "c", "image": "i"}, **contexts, **more.pop("container", {}))]}, **more)
        if pod:
            spec["securityContext"] = pod
        return api.call("POST", "/api/v1/namespaces/%s/pods?dryRun=All" % ns, {"metadata": {"name": "p"}, "spec": spec})

    prefix = 'pods "p" is forbidden: violates PodSecurity "%s": '
    plain = 'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"]), ' \
            'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
    for args, more, violation in (
            (("restricted",), {}, plain), (("restricted", {}), {}, None), (("restricted", {"runAsUser": 0}), {}, 'runAsUser=0 (container "c" must not set runAsUser=0)'),
            (("restricted", {"runAsNonRoot": False}), {}, 'runAsNonRoot != true (container "c" must not set securityContext.runAsNonRoot=false)'),
            (("restricted", {"runAsNonRoot": False, "runAsUser": 0}), {"hostUsers": False}, None),
            (("restricted", {"capabilities": {"drop": ["ALL"], "add": ["SYS_TIME", "CHOWN"]}}), {}, 'unrestricted capabilities (container "c" must not include "CHOWN", "SYS_TIME" in securityContext.capabilities.add)'),
            (("restricted", {}), {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}, {"name": "n", "nfs": {"server": "s", "path": "/"}}]}, 'restricted volume types (volumes "v", "n" use restricted volume types "hostPath", "nfs")'),
            (("restricted", {}), {"container": {"livenessProbe": {"httpGet": {"port": 80, "host": "x"}}}}, 'probe or lifecycle host (container "c" uses probe or lifecycle host "x")'),
            (("baseline",), {}, None), (("baseline",), {"container": {"livenessProbe": {"httpGet": {"port": 80, "host": "x"}}}}, None),
            (("baseline",), {"hostNetwork": True, "hostPID": True}, "host namespaces (hostNetwork=true, hostPID=true)"),
            (("baseline",), {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}, 'hostPath volumes (volume "v")'),
            (("baseline", None, {"seLinuxOptions": {"type": "foo", "user": "u"}}), {}, 'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "foo"; user may not be set)'),
            (("baseline", None, {"seLinuxOptions": {"type": "container_engine_t"}}), {}, 'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "container_engine_t")'),
            (("baseline", None, {"appArmorProfile": {"type": "Unconfined"}}), {}, 'forbidden AppArmor profile (pod must not set AppArmor profile type to "Unconfined")'),
            (("baseline", None, {"seccompProfile": {"type": "Unconfined"}}), {}, 'seccompProfile (pod must not set securityContext.seccompProfile.type to "Unconfined")'),
            (("baseline", None, {"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]}), {}, "forbidden sysctls (net.ipv4.tcp_rmem)"),
            (("baseline",), {"container": {"ports": [{"containerPort": 80, "hostPort": 80}, {"containerPort": 81, "hostPort": 443}]}, "hostNetwork": False}, 'hostPort (container "c" uses hostPorts 443, 80)'),
            (("baseline", {"privileged": True, "allowPrivilegeEscalation": True}), {}, 'privileged (container "c" must not set securityContext.privileged=true)'),
            (("old",), {"container": {"securityContext": {"runAsNonRoot": True}}}, 'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)')):
        s, o, h = judge(*args, **more)
        version = {"restricted": "restricted:latest", "baseline": "baseline:v1.30", "old": "restricted:v1.18"}[args[0]]
        check("a pod in %s: %s" % (args, more), s == 201 if not violation else s == 403 and o["message"] == prefix % version + violation, o)
    s, o, h = judge("told")
    check("told of", s == 201 and h["Warning"] == '299 - "would violate PodSecurity \\"restricted:latest\\": %s"' % plain.replace('"', '\\"'), h["Warning"])
    labels = {"a": "b"}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}}
    for ns, told in (("restricted", True), ("told", True), ("baseline", False)):
        s, o, h = api.call("POST", "/apis/apps/v1/namespaces/%s/deployments" % ns, deployment)
        check("a workload's template in " + ns, s == 201 and bool(h["Warning"]) == told and (not told or "would violate PodSecurity" in h["Warning"]), h["Warning"])
    s, o, _ = api.call("PATCH", "/api/v1/namespaces/told", {"metadata": {"labels": {label + "enforce": "foo", label + "warn-version": "x"}}}, MERGE)
    check("labels that say nothing", s == 422 and causes(o) == [("metadata.labels[%senforce]" % label, 'Invalid value: "foo": must be one of privileged, baseline, restricted'), ("metadata.labels[%swarn-version]" % label, 'Invalid value: "x": must be "latest" or "v1.x"')], o)
    for name in ("p1", "p2", "p3"):
        api.call("POST", "/api/v1/namespaces/told/pods", {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], "hostPID": name == "p3"}})
    s, o, h = api.call("PATCH", "/api/v1/namespaces/told?dryRun=All", {"metadata": {"labels": {label + "enforce": "restricted"}}}, MERGE)
    warnings = h.get_all("Warning")
    check("a stricter namespace", s == 200 and len(warnings) == 3 and warnings[0] == '299 - "existing pods in namespace \\"told\\" violate the new PodSecurity enforce level \\"restricted:latest\\""' and
          warnings[1] == '299 - "p1 (and 1 other pod): allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"' and warnings[2].startswith('299 - "p3: host namespaces, allow'), warnings)


def test_times(site):
    api = site.start_server().api
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases?dryRun=All"
    for text, why in (("2024-01-01T00:00:00.123456Z", None), ("2024-01-01T00:00:00.123456+02:00", None), ("2024-01-01T00:00:00Z", 'cannot parse "Z" as ".000000"'), ("2024-01-01T00:00:00.1Z", 'cannot parse ".1Z" as ".000000"'),
                      ("2024-01-01T00:00:00.123456789Z", 'cannot parse "789Z" as "Z07:00"'), ("2024-13-01T00:00:00.123456Z", ": month out of range"), ("2024-02-30T00:00:00.123456Z", ": day out of range"),
                      ("2024-01-01T25:00:00.123456Z", ": hour out of range"), ("2024-01-01", 'cannot parse "" as "T"'), ("2024-01-01T05:01:00.123456Zz", ': extra text: "z"'), ("x", 'cannot parse "x" as "2006"')):
        s, o, _ = api.call("POST", leases, {"metadata": {"name": "l"}, "spec": {"renewTime": text}})
        check("a time to the microsecond: " + text, s == 201 if not why else s == 400 and o["message"].endswith(why), o)
    for text, why in (("2024-01-01T00:00:00Z", None), ("2024-01-01T00:00:00.5Z", None), ("2024-01-01 00:00:00Z", 'cannot parse " 00:00:00Z" as "T"'), ("2024-01-01T00:00:00", 'cannot parse "" as "Z07:00"')):
        s, o, _ = api.call("POST", NS + "configmaps?dryRun=All", {"metadata": {"name": "l", "creationTimestamp": text}})
        check("a time: " + text, s == 201 if not why else s == 400 and o["message"].endswith(why), o)


def test_gates(site):
    """Fields behind gates are dropped, as Kubernetes leaves these closed, until the operator opens them."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"os": {"name": "linux"}, "containers": [{"name": "c", "image": "i", "lifecycle": {"stopSignal": "SIGUSR1", "preStop": {"sleep": {"seconds": 1}}}}]}}
    wanted = {"metadata": {"name": "s"}, "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": template, "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2, "partition": 1}}}}
    for gates, rolling, signal in ([], {"partition": 1}, None), (["--feature-gates=ContainerStopSignals=true,MaxUnavailableStatefulSet=true"], {"partition": 1, "maxUnavailable": 2}, "SIGUSR1"):
        s, o, _ = site.start_server(*gates).api.call("POST", "/apis/apps/v1/namespaces/default/statefulsets?dryRun=All", wanted)
        check("with %s" % gates, s == 201 and o["spec"]["updateStrategy"]["rollingUpdate"] == rolling and o["spec"]["template"]["spec"]["containers"][0]["lifecycle"].get("stopSignal") == signal, o)


def test_answers(site):
    """Codes and words that are told from the request alone: forms asked for, numbers that are none, paths that are not served."""
    api = site.start_server().api
    maps = NS + "configmaps"
    api.call("POST", maps, {"metadata": {"name": "m"}, "data": {"a": "b", "c": "d"}})
    table = "application/json;as=Table;g=meta.k8s.io;v=%s"
    for version in ("v1", "v1beta1"):
        want = "meta.k8s.io/" + version
        for path in (maps, maps + "/m"):
            s, o, _ = api.call("GET", path, headers={"Accept": table % version})
            check("a Table of %s: %s" % (version, path), s == 200 and o["apiVersion"] == want and o["rows"][0]["object"]["apiVersion"] == want and o["rows"][0]["cells"][1] == 2, o)
        s, o, _ = api.call("GET", maps, headers={"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=" + version})
        check("bare metadata of " + version, s == 200 and o["apiVersion"] == want and o["items"][0]["apiVersion"] == want, o)
    s, o, _ = api.call("GET", maps + "?includeObject=Bogus", headers={"Accept": table % "v1"})
    check("an unknown includeObject", s == 400 and "includeObject: Invalid value" in o["message"], o)
    s, o, _ = api.call("GET", maps + "?watch=1&timeoutSeconds=1", headers={"Accept": "application/yaml"})
    check("a watch has no YAML", s == 406 and "stream=watch" in str(o), o)
    # What it cannot be for another reason is told as for any request; YAML ends the search.
    for accept, streams in ((table % "v2", False), ("application/json;stream=x", False), ("application/yaml, application/json", True)):
        s, o, _ = api.call("GET", maps + "?watch=1&timeoutSeconds=1", headers={"Accept": accept})
        check("a watch as " + accept, s == 406 and ("stream=watch" in str(o)) == streams, o)
    partial = "application/json;as=PartialObjectMetadata%s;g=meta.k8s.io;v=v1"
    routed = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf"
    streams = ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    for accept, path, code, want in (
            ("application/*", "/m", 406, routed), ("application/JSON", "", 406, routed + streams), ("a/b", "/m", 406, routed), ("a/b, */*;q=0.1", "/m", 200, "ConfigMap"),
            ("application/json;q=0", "/m", 200, "ConfigMap"), ("*/*, application/yaml;q=0.5", "/none", 404, "kind: Status"), ("application/json;sv=1", "/m", 406, "only the following"),
            ("application/json;stream=x", "/m", 406, "only the following"), ("application/yaml;stream=watch", "/m", 406, "only the following"), (partial % "List", "/m", 406, "is not a list (*core.ConfigMap)"),
            (partial % "", "", 406, "is a list (*core.ConfigMapList)"), (partial % "List", "/none", 404, "not found"), (table % "v1" + ", application/yaml", "/none", 404, "kind: Status"),
            (table % "v2", "/m", 406, "only the following"), ("application/json;pretty=1", "/m", 200, "ConfigMap")):
        s, o, _ = api.call("GET", maps + path, headers={"Accept": accept})
        check("accept %s of %s" % (accept, path), s == code and want in (o.get("message", o["kind"]) if isinstance(o, dict) else o), (s, o))
    for path, code, want in (
            (maps + "/%2e%2e", 400, "may not be '..'"), (maps + "/a%25", 400, "may not contain '%'"), (maps + "/m%2Fstatus", 404, "could not find"), (maps + "//status", 404, "could not find"),
            ("/api/v1//namespaces", 404, "could not find"), ("/api/v1/namespaces//configmaps", 200, "ConfigMapList"), (maps + "/", 200, "ConfigMapList"), ("//api/v1", 404, "page not found"), (maps + "?limit=", 400, "strconv"),
            (maps + "?timeout=5", 400, "missing unit"),
            (NS + "pods//log", 400, "name must be provided"), (NS + "pods/x/log/y", 404, "could not find"), ("/apis/apps/v1/namespaces/default/deployments/x/scale/y", 404, "could not find"), ("/api//", 200, "APIVersions"),
            ("/version/x", 404, "could not find"), ("/api/v1/watch", 500, 'Internal Server Error: "/api/v1/watch": failed to create RequestInfo: unable to determine kind and namespace from url, /api/v1/watch\n'),
            ("/apis/apps/v1/watch/", 500, "unable to determine kind"), ("/api/v1/%zz", 400, "400 Bad Request")):
        s, o, _ = api.call("GET", path)
        check("path " + path, s == code and want in (o.get("message", o["kind"]) if isinstance(o, dict) else o), (s, o))
    for method, path, code, want in (
            ("POST", "/apis/apps", 200, "APIGroup"), ("POST", "/apis/apps/v1", 405, "method"), ("POST", "/apis/apps/v2", 404, "could not find"), ("POST", "/apis/nope/v1", 404, "404 page not found"), ("POST", "/api/v2", 404, "could not find"),
            ("POST", maps + "/..", 405, "method"), ("PUT", "/api/v1/watch/namespaces/default/pods/x", 405, "method"), ("PUT", NS + "pods/x/log/y", 404, "could not find"), ("POST", NS + "pods//log", 405, "method"),
            ("HEAD", "/api//", 405, ""), ("POST", "/openapi/v3/none", 404, "")):
        s, o, _ = api.call(method, path)
        check("%s %s" % (method, path), s == code and want in (o.get("message", o["kind"]) if isinstance(o, dict) else o), (s, o))
    s, o, h = api.call("GET", maps + "?timeout=1ns")
    check("out of time", s == 504 and h["Content-Type"] == "text/plain; charset=utf-8" and o == {"metadata": {}, "status": "Failure", "message": "Timeout: request did not complete within the allotted timeout", "reason": "Timeout", "details": {}, "code": 504}, (o, h))
    api.call("POST", maps, {"metadata": {"name": "often"}})
    s, o, _ = api.call("PUT", maps + "/often", {"metadata": {"name": "often", "labels": {"a b": "c"}, "finalizers": ["bad"]}})
    fields = [c["field"] for c in o["details"]["causes"]]
    check("what is wrong with metadata is told as often as it is looked at", s == 422 and fields.count("metadata.labels") == 4 and fields.count("metadata.finalizers[0]") == 2 and o["message"].count("metadata.labels") == 1, o)
    paths = api.get("/")["paths"]
    check("paths in their order", paths == sorted(paths) and "/apis/apps/v1" in paths, paths)
    check("OPTIONS of a proxy", api.call("OPTIONS", NS + "services/none/proxy/")[0] == 404)
    check("TRACE of a proxy", api.call("TRACE", NS + "services/none/proxy/")[0] == 405)
    s, o, h = api.call("GET", maps + "/none", headers={"Accept": "application/yaml"})
    check("a Status in YAML", s == 404 and h["Content-Type"] == "application/yaml" and "reason: NotFound" in str(o), (h["Content-Type"], o))
    for query, code in (("limit=x", 400), ("timeoutSeconds=x", 400), ("resourceVersion=x", 400), ("watch=1&resourceVersion=x", 500), ("limit=9223372036854775808", 400)):
        s, o, _ = api.call("GET", maps + "?" + query)
        check("no number: " + query, s == code and "strconv.Parse" in o["message"], o)
    s, o, _ = api.call("GET", maps + "?watch=1&sendInitialEvents=1&resourceVersionMatch=Exact")
    check("both mistakes of a streaming list", s == 422 and len(causes(o)) == 2, o)
    check("HEAD of an object", api.call("HEAD", maps + "/m")[0] == 405)
    check("HEAD of a path", api.call("HEAD", "/healthz")[0] == 200)
    for path in ("/api/v1/nope", "/api/v2", "/apis/apps/v2/deployments", NS + "nodes", maps + "/m/nope"):
        s, o, _ = api.call("GET", path)
        check("not served: " + path, s == 404 and o["reason"] == "NotFound" and o["details"] == {}, o)
    s, o, _ = api.call("GET", "/apis/example.com/v1/things")
    check("nor known", s == 404 and o == "404 page not found\n", o)
    check("nobody keeps an answer", api.call("GET", "/version")[2]["Cache-Control"] == "no-cache, private")
    s, o, _ = api.call("PATCH", maps + "/m?force=true", {}, MERGE)
    check("force is of apply", s == 422 and causes(o)[0][0] == "force", o)
    s, o, _ = api.call("PATCH", maps + "/m", "{}", "text/plain")
    check("a patch of no known form", s == 415 and o["details"] == {}, o)
    s, o, _ = api.call("PUT", maps + "/m", {"metadata": {"name": "m", "uid": "other"}})
    check("another's uid", s == 409 and "StorageError: invalid object, Code: 4, Key: /registry/configmaps/default/m, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: other, " in o["message"], o)
    s, o, _ = api.call("DELETE", maps + "/m", {"preconditions": {"uid": "other"}})
    check("a precondition names the kind", s == 409 and o["details"] == {"name": "m", "kind": "ConfigMap"}, o)
    s, o, _ = api.call("GET", "/api/v1/nodes/none/proxy/x")
    check("a proxy to no node", s == 404 and o["details"]["kind"] == "nodes", o)
    for path, kind, word in (("/api", "APIVersions", "v1"), ("/apis", "APIGroupList", "apps/v1"), ("/apis/apps", "APIGroup", "apps/v1"), ("/api/v1", "APIResourceList", "configmaps"), ("/apis/apps/v1", "APIResourceList", "deployments")):
        s, o, h = api.call("GET", path, headers={"Accept": "application/yaml"})
        check("discovery in YAML: " + path, s == 200 and h["Content-Type"] == "application/yaml" and "kind: %s\n" % kind in o and word in o, o)
        s, o, h = api.call("GET", path, headers={"Accept": "application/vnd.kubernetes.protobuf,application/json"})
        check("and in protobuf: " + path, s == 200 and h["Content-Type"] == "application/vnd.kubernetes.protobuf" and o.startswith("k8s\0") and kind in o and word in o, o)
    reviews = "/apis/authorization.k8s.io/v1/"
    s, o, _ = api.call("POST", reviews + "subjectaccessreviews", {"spec": {}})
    check("a review of nothing by nobody", s == 422 and [c[0] for c in causes(o)] == ["spec.resourceAttributes", "spec.user"], o)
    s, o, _ = api.call("POST", reviews + "selfsubjectaccessreviews", {"spec": {"resourceAttributes": {"verb": "get"}, "nonResourceAttributes": {"path": "/x", "verb": "get"}}})
    check("a review of two things", s == 422 and causes(o) == [("spec.nonResourceAttributes", 'Invalid value: {"Path":"/x","Verb":"get"}: cannot be specified in combination with resourceAttributes')], o)
    s, o, _ = api.call("POST", reviews + "namespaces/default/localsubjectaccessreviews", {"spec": {"user": "u", "resourceAttributes": {"verb": "get", "namespace": "other"}}})
    check("a local review of elsewhere", s == 422 and causes(o)[0][0] == "spec.resourceAttributes.namespace", o)
    s, o, _ = api.call("POST", NS + "services", {"metadata": {"name": "two"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.77", "clusterIPs": ["10.96.0.78"]}})
    check("addresses that differ", s == 422 and ("spec.clusterIPs", 'Invalid value: ["10.96.0.78"]: first value must match `clusterIP`') in causes(o), o)
    crd = {"metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "kind": "Thing"}, "versions": [{"name": "v1", "served": True, "storage": True, "schema": {
        "openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "default": {"a": "x"}, "properties": {"a": {"type": "integer", "default": 1}, "b": {"type": "string", "default": 5}}}}}}}]}}
    s, o, _ = api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    check("defaults that their schema refuses", s == 422 and [c[0].rsplit("openAPIV3Schema.", 1)[1] for c in causes(o)] == ["properties[spec].default.a", "properties[spec].properties[b].default"], o)


def test_signing_decisions(site):
    """/status leaves the decisions where they stand and refuses to add or take away one; a condition that says what it said has not passed over."""
    api = site.start_server().api
    pem = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", os.path.join(site.folder, "csr.key"), "-subj", "/CN=x"], check=True, capture_output=True).stdout
    at = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    s, o, _ = api.call("POST", at, {"metadata": {"name": "c"}, "spec": {"signerName": "example.com/x", "usages": ["client auth"], "request": base64.b64encode(pem).decode()}})
    check("made", s == 201, o)
    types = lambda o: [c["type"] for c in o["status"]["conditions"]]
    o["status"] = {"conditions": [{"type": "Other", "status": "True", "reason": "a"}, {"type": "Approved", "status": "True", "reason": "b"}]}
    o["metadata"]["labels"] = {"seen": "yes"}
    s, o, _ = api.call("PUT", at + "/c/approval", o)
    check("approved", s == 200 and types(o) == ["Other", "Approved"] and o["metadata"]["labels"] == {"seen": "yes"}, o)
    was = o["status"]["conditions"]
    s, o, _ = api.call("PATCH", at + "/c/status", {"metadata": {"annotations": {"a": "b"}}}, MERGE)
    check("in its place", s == 200 and o["status"]["conditions"] == was, o)
    s, o, _ = api.call("PATCH", at + "/c/status", {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "mine"}, {"type": "Other", "status": "True", "reason": "c"}]}}, MERGE)
    check("as it was, where the client has it", s == 200 and types(o) == ["Approved", "Other"] and o["status"]["conditions"][0] == was[1], o)
    check("no new time", o["status"]["conditions"][1]["lastTransitionTime"] == was[0]["lastTransitionTime"], o)
    s, o, _ = api.call("PATCH", at + "/c/status", {"status": {"conditions": [{"type": "Other", "status": "True"}]}}, MERGE)
    check("none taken away", s == 422 and o["details"]["causes"][0]["field"] == "status.conditions", o)
    s, o, _ = api.call("PATCH", at + "/c/status", {"status": {"conditions": was + [{"type": "Denied", "status": "True"}]}}, MERGE)
    check("none added", s == 422, o)


def test_custom_values(site):
    """Values of a custom resource: scale's paths, a status judged alone, what stays as it was, and a patch that leaves what nobody knows."""
    api = site.start_server().api
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}, "old": {"type": "string"}, "other": {"type": "integer"}}, "required": ["n"]},
                                               "status": {"type": "object", "properties": {"n": {"type": "integer"}, "text": {"type": "string", "maxLength": 2}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}, "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}}}
    crd = {"metadata": {"name": "wheels.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced", "names": {"plural": "wheels", "kind": "Wheel"}, "versions": [version]}}
    s, o, _ = api.call("POST", CRDS, crd)
    check("defined", s == 201, o)
    wheels = "/apis/example.org/v1/namespaces/default/wheels"
    wait_for(lambda: api.call("GET", wheels)[0] == 200)
    wheel = lambda **spec: {"apiVersion": "example.org/v1", "kind": "Wheel", "metadata": {"name": "w"}, "spec": spec}
    for n, words in ((-1, "Invalid value: -1: should be a non-negative integer"), (1 << 31, "Invalid value: 2147483648: should be less than or equal to 2147483647")):
        s, o, _ = api.call("POST", wheels, wheel(n=n))
        check("a scale of %d" % n, s == 422 and causes(o) == [(".spec.n", words)], o)
    s, o, _ = api.call("POST", wheels, wheel(n=1, old="long"))
    check("made", s == 201, o)
    s, o, _ = api.call("PATCH", wheels + "/w?fieldValidation=Strict", {"spec": {"nobody": 1}}, MERGE)
    check("a patch with what nobody knows", s == 422 and causes(o)[0][0] == "patch" and 'strict decoding error: unknown field "spec.nobody"' in causes(o)[0][1], o)
    s, o, _ = api.call("PUT", wheels + "/w?fieldValidation=Strict", wheel(n=1, nobody=1))
    check("an object with it", s == 400 and 'unknown field "spec.nobody"' in o["message"], o)
    crd = api.get(CRDS + "/wheels.example.org")
    properties = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["old"]["maxLength"] = 2
    s, o, _ = api.call("PUT", CRDS + "/wheels.example.org", crd)
    check("a schema that asks for more", s == 200, o)
    wait_for(lambda: api.call("POST", wheels + "?dryRun=All", dict(wheel(n=1, old="long"), metadata={"name": "x"}))[0] == 422)
    s, o, _ = api.call("PATCH", wheels + "/w", {"spec": {"other": 2}}, MERGE)
    check("what was there may stay", s == 200, o)
    s, o, _ = api.call("PATCH", wheels + "/w", {"spec": {"old": "longer"}}, MERGE)
    check("but not change", s == 422 and [c[0] for c in causes(o)] == ["spec.old"], o)
    s, o, _ = api.call("PATCH", wheels + "/w/status", {"status": {"n": -1, "text": "abc"}}, MERGE)
    check("a status alone", s == 422 and [c[0] for c in causes(o)] == ["status.text", ".status.n"], o)


run([test_ownership, test_signing_decisions, test_status_metadata, test_lists, test_deletes, test_deletes_raced, test_identity, test_unconditional, test_warnings, test_custom, test_custom_values, test_definitions, test_as_there, test_gzip, test_options, test_expiry, test_openapi, test_openapi_v3, test_claim_ref, test_headers, test_yaml, test_reviews, test_continue_tokens, test_pods_subresources, test_custom_versions, test_who, test_refused, test_destinations, test_bodies, test_watch_from_nowhere, test_cells, test_pod_security, test_times, test_gates, test_answers])
