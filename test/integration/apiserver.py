#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The API server against a real etcd, on ports of its own: REST verbs, watches, patches, admission, authorization.

usage: test/integration/apiserver.py BUILD_DIR     prints "N passed, N failed"; exit status 1 where one failed
"""
import http.client, json, os, re, socket, ssl, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import Api, Watch, check, run, wait_for


def config_map(name, data=None, **meta):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": dict(name=name, **meta), "data": data or {}}


def pod(name, **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
            "spec": dict({"containers": [{"name": "c", "image": "busybox"}]}, **spec)}


CM = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def test_crud(api):
    s, o, _ = api.call("POST", CM, config_map("a", {"k": "v"}, labels={"l": "1"}))
    check("create", s == 201 and o["metadata"]["uid"] and o["metadata"]["resourceVersion"].isdigit(), o)
    s, again, _ = api.call("POST", CM, config_map("a"))
    check("create twice", s == 409 and again["reason"] == "AlreadyExists" and again["message"] == 'configmaps "a" already exists', again)
    s, got, _ = api.call("GET", CM + "/a")
    check("get", s == 200 and got == o, got)
    s, e, _ = api.call("GET", CM + "/none")
    check("get none", s == 404 and e["details"] == {"name": "none", "kind": "configmaps"}, e)
    got["data"]["k"] = "w"
    s, u, _ = api.call("PUT", CM + "/a", got)
    check("update", s == 200 and u["data"]["k"] == "w" and int(u["metadata"]["resourceVersion"]) > int(got["metadata"]["resourceVersion"]), u)
    s, c, _ = api.call("PUT", CM + "/a", got)
    check("update of a stale copy", s == 409 and c["reason"] == "Conflict" and "has been modified" in c["message"], c)
    s, same, _ = api.call("PUT", CM + "/a", u)
    check("no-op keeps the revision", s == 200 and same["metadata"]["resourceVersion"] == u["metadata"]["resourceVersion"], same)
    s, g, _ = api.call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "gen-"}})
    check("generateName", s == 201 and g["metadata"]["name"].startswith("gen-") and len(g["metadata"]["name"]) == 9, g)
    s, d, _ = api.call("POST", CM + "?dryRun=All", config_map("dry"))
    check("dry run answers", s == 201, d)
    check("dry run stores nothing", api.call("GET", CM + "/dry")[0] == 404)
    s, e, _ = api.call("DELETE", CM + "/a", {"preconditions": {"uid": "x"}})
    check("delete with a wrong uid", s == 409, e)
    s, e, _ = api.call("DELETE", CM + "/a")
    check("delete", s == 200 and e["status"] == "Success" and e["details"]["uid"] == o["metadata"]["uid"], e)
    s, e, _ = api.call("POST", "/api/v1/namespaces/nowhere/configmaps", config_map("a"))
    check("namespace must exist", s == 404 and e["message"] == 'namespaces "nowhere" not found', e)
    s, e, _ = api.call("POST", CM, config_map("Not_A_Name"))
    check("names are checked", s == 422 and e["reason"] == "Invalid" and e["details"]["causes"][0]["field"] == "metadata.name", e)


def test_finalizers(api):
    api.call("POST", CM, config_map("f", finalizers=["example.com/hold"]))
    s, o, _ = api.call("DELETE", CM + "/f")
    check("a finalizer holds", s == 200 and o["metadata"].get("deletionTimestamp"), o)
    s, o, _ = api.call("PATCH", CM + "/f", {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    check("the last finalizer frees", s == 200 and api.call("GET", CM + "/f")[0] == 404, o)


def test_patch(api):
    api.call("POST", DEPLOYMENTS, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}}})
    s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", [{"op": "replace", "path": "/spec/replicas", "value": 3}], "application/json-patch+json")
    check("JSON patch", s == 200 and o["spec"]["replicas"] == 3 and o["metadata"]["generation"] == 2, o)
    s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", [{"op": "test", "path": "/spec/replicas", "value": 9}], "application/json-patch+json")
    check("JSON patch whose test fails", s == 422, o)
    s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", {"spec": {"template": {"spec": {"containers": [{"name": "s", "image": "two"}]}}}}, "application/strategic-merge-patch+json")
    check("strategic merge by key", s == 200 and sorted(c["name"] for c in o["spec"]["template"]["spec"]["containers"]) == ["c", "s"], o)
    s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", {"metadata": {"labels": {"x": "y"}}}, "application/merge-patch+json")
    check("labels do not move the generation", s == 200 and o["metadata"]["generation"] == 3, o)
    s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", {"metadata": {"annotations": {"x": "y"}}}, "application/merge-patch+json")
    check("a Deployment's annotations do", s == 200 and o["metadata"]["generation"] == 4, o)
    s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d/status", {"spec": {"replicas": 7}, "status": {"replicas": 2}}, "application/merge-patch+json")
    check("status writes status alone", s == 200 and o["spec"]["replicas"] == 3 and o["status"]["replicas"] == 2, o)
    s, o, _ = api.call("GET", DEPLOYMENTS + "/d/scale")
    check("scale", s == 200 and o["kind"] == "Scale" and o["spec"]["replicas"] == 3 and o["status"]["selector"] == "a=b", o)
    o["spec"]["replicas"] = 5
    s, o, _ = api.call("PUT", DEPLOYMENTS + "/d/scale", o)
    check("scale up", s == 200 and api.call("GET", DEPLOYMENTS + "/d")[1]["spec"]["replicas"] == 5, o)
    # What a merging patch does not name stays, whatever form it takes.
    for kind in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
        before = api.call("GET", DEPLOYMENTS + "/d")[1]
        s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", {"metadata": {"annotations": {"kind": kind}}}, kind)
        same = {k: v for k, v in o["metadata"].items() if k not in ("annotations", "generation", "resourceVersion", "managedFields")} == {
            k: v for k, v in before["metadata"].items() if k not in ("annotations", "generation", "resourceVersion", "managedFields")}
        check("a patch leaves the rest " + kind, s == 200 and o["spec"] == before["spec"] and o["status"] == before["status"] and same and o["metadata"]["annotations"]["kind"] == kind and
              len(o["metadata"].get("managedFields", [])) >= len(before["metadata"].get("managedFields", [])), o)
        s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", {"metadata": {"managedFields": [{}]}}, kind)
        check("a patch can reset the managers " + kind, s == 200 and o["spec"] == before["spec"] and (kind.startswith("application/strategic") or not o["metadata"].get("managedFields")), o["metadata"])
        s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d?fieldValidation=Strict", {"spec": {"nonsense": 1}}, kind)
        check("a patch is held to the schema " + kind, s == 422 and "spec.nonsense" in o["message"], o)
    s, o, _ = api.call("PATCH", DEPLOYMENTS + "/d", {"spec": None}, "application/merge-patch+json")
    check("a patch that takes the spec away", s == 422 and any(c["field"].startswith("spec") for c in o["details"]["causes"]), o)
    check("a patch of an unknown type", api.call("PATCH", DEPLOYMENTS + "/d", "{}", "text/plain")[0] == 415)


def test_list(api):
    base = "/api/v1/namespaces/lists/configmaps"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "lists"}})
    for i in range(25):
        api.call("POST", base, config_map("m%02d" % i, labels={"odd": str(i % 2)}))
    s, o, _ = api.call("GET", base)
    check("list", s == 200 and [x["metadata"]["name"] for x in o["items"]] == ["m%02d" % i for i in range(25)], o)
    names, path, revisions = [], base + "?limit=10", set()
    remaining = []
    token = ""
    while True:
        s, o, _ = api.call("GET", path + ("&continue=" + token if token else ""))
        names += [x["metadata"]["name"] for x in o["items"]]
        revisions.add(o["metadata"]["resourceVersion"])
        remaining.append(o["metadata"].get("remainingItemCount"))
        token = o["metadata"].get("continue", "")
        if not token:
            break
        api.call("POST", base, config_map("zz%d" % len(names)))
    check("pages are one view", names == ["m%02d" % i for i in range(25)] and len(revisions) == 1 and remaining == [15, 5, None], (names, revisions, remaining))
    s, o, _ = api.call("GET", base + "?labelSelector=odd%3D1")
    check("label selector", len(o["items"]) == 12, o)
    s, o, _ = api.call("GET", base + "?fieldSelector=metadata.name%3Dm03")
    check("field selector", [x["metadata"]["name"] for x in o["items"]] == ["m03"], o)
    s, o, _ = api.call("GET", base + "?fieldSelector=spec.x%3D1")
    check("unknown field label", s == 400, o)
    s, o, _ = api.call("GET", base + "?resourceVersion=999999999")
    check("a revision of the future", s == 504 and o["reason"] == "Timeout", o)
    s, o, _ = api.call("GET", base, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    check("table", o["kind"] == "Table" and o["columnDefinitions"][0]["name"] == "Name" and o["rows"][0]["cells"][0] == "m00", o)
    s, o, _ = api.call("GET", base, headers={"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"})
    check("metadata only", o["kind"] == "PartialObjectMetadataList" and "data" not in o["items"][0], o)
    s, o, _ = api.call("DELETE", base + "?labelSelector=odd%3D0")
    check("delete a collection", s == 200 and len(api.call("GET", base + "?labelSelector=odd")[1]["items"]) == 12, o)


def test_watch(api):
    base = "/api/v1/namespaces/watches/configmaps"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "watches"}})
    api.call("POST", base, config_map("one", labels={"w": "x"}))
    rv = api.call("GET", base)[1]["metadata"]["resourceVersion"]
    w = Watch(api, base + "?watch=1&labelSelector=w%3Dx&resourceVersion=" + rv)
    initial = Watch(api, base + "?watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=60")
    events = initial.wait(2)
    check("streaming list", [e["type"] for e in events] == ["ADDED", "BOOKMARK"] and events[1]["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"] == "true", events)
    api.call("POST", base, config_map("two", labels={"w": "x"}))
    api.call("PATCH", base + "/two", {"data": {"a": "b"}}, "application/merge-patch+json")
    s, o, _ = api.call("PATCH", base + "/two", {"metadata": {"labels": {"w": "y"}}}, "application/merge-patch+json")
    api.call("PATCH", base + "/two", {"metadata": {"labels": {"w": "x"}}}, "application/merge-patch+json")
    api.call("DELETE", base + "/two")
    events = w.wait(5)
    check("selector transitions", [e["type"] for e in events] == ["ADDED", "MODIFIED", "DELETED", "ADDED", "DELETED"], events)
    check("who left has the revision of the change", len(events) > 2 and events[2]["object"]["metadata"]["resourceVersion"] == o["metadata"]["resourceVersion"], events)
    again = Watch(api, base + "?watch=1&resourceVersion=" + rv).wait(5)
    check("history is replayed", [e["type"] for e in again] == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"], again)
    short = Watch(api, base + "?watch=1&timeoutSeconds=1")
    short.join(60)
    check("timeoutSeconds ends it", not short.is_alive())
    s, e, _ = api.call("GET", base + "?watch=1&sendInitialEvents=true")
    check("streaming list without its match", s == 422, e)


def test_pods(api):
    api.call("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    s, o, _ = api.call("POST", PODS, pod("p"))
    check("pod", s == 201 and o["status"]["phase"] == "Pending" and o["status"]["qosClass"] == "BestEffort" and o["spec"]["serviceAccountName"] == "default" and o["spec"]["priority"] == 0, o)
    s, o, _ = api.call("PUT", PODS + "/p", dict(o, spec=dict(o["spec"], nodeName="x")))
    check("a pod's spec stays", s == 422, o)
    api.call("POST", "/api/v1/nodes", {"metadata": {"name": "n1", "labels": {"topology.kubernetes.io/zone": "east", "topology.kubernetes.io/region": "here", "other": "x"}}})
    s, o, _ = api.call("POST", PODS + "/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}})
    check("binding", s == 201 and api.call("GET", PODS + "/p")[1]["spec"]["nodeName"] == "n1", o)
    topology = {"topology.kubernetes.io/zone": "east", "topology.kubernetes.io/region": "here"}
    check("a bound pod bears its node's place", api.call("GET", PODS + "/p")[1]["metadata"]["labels"].items() >= topology.items() and "other" not in api.call("GET", PODS + "/p")[1]["metadata"]["labels"], api.call("GET", PODS + "/p")[1])
    placed = pod("placed")
    placed["spec"]["nodeName"] = "n1"
    s, o, _ = api.call("POST", PODS, placed)
    check("so does one that is made there", s == 201 and o["metadata"]["labels"].items() >= topology.items(), o)
    api.call("DELETE", PODS + "/placed", {"gracePeriodSeconds": 0})
    s, o, _ = api.call("POST", PODS + "/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n2"}})
    check("binding twice", s == 409, o)
    s, o, _ = api.call("DELETE", PODS + "/p", {"gracePeriodSeconds": 7})
    check("graceful", s == 200 and o["metadata"]["deletionGracePeriodSeconds"] == 7 and o["metadata"]["generation"] == 2, o)
    s, o, _ = api.call("DELETE", PODS + "/p", {"gracePeriodSeconds": 0})
    check("at once", s == 200 and o["kind"] == "Pod" and api.call("GET", PODS + "/p")[0] == 404, o)
    s, o, _ = api.call("POST", PODS, pod("strict", nope=1))
    s2, o2, _ = api.call("POST", PODS + "?fieldValidation=Strict", pod("strict2", nope=1))
    check("strict", s2 == 400 and 'unknown field "spec.nope"' in o2["message"], o2)
    api.call("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "e"}}}})
    body = pod("e")
    body["metadata"]["labels"] = {"app": "e"}
    api.call("POST", PODS, body)
    api.call("PATCH", PODS + "/e/status", {"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}}, "application/merge-patch+json")
    s, o, _ = api.call("POST", PODS + "/e/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "e"}})
    check("eviction asks the budget", s == 429 and o["reason"] == "TooManyRequests", o)
    budget = "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b"
    allowed = {"status": {"observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 3, "desiredHealthy": 1, "conditions": [
        {"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no idea", "lastTransitionTime": "2020-01-01T00:00:00Z"}]}}
    api.call("PATCH", budget + "/status", allowed, "application/merge-patch+json")
    s, o, _ = api.call("POST", PODS + "/e/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "e"}})
    check("and says why it refuses", s == 429 and "failed sync: no idea" in o["details"]["causes"][0]["message"] and o["details"]["causes"][0]["reason"] == "DisruptionBudget", o)
    allowed["status"]["disruptionsAllowed"] = 1
    api.call("PATCH", budget + "/status", allowed, "application/merge-patch+json")
    s, o, _ = api.call("POST", PODS + "/e/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "e"}, "deleteOptions": {"preconditions": {"uid": "other"}}})
    check("a precondition of eviction", s == 409 and "does not match the UID in record" in o["message"] and "conditions" in api.get(PODS + "/e")["status"], o)
    allowed["status"].update(disruptionsAllowed=1, disruptedPods=None)
    api.call("PATCH", budget + "/status", allowed, "application/merge-patch+json")
    watch = Watch(api, PODS + "?watch=1&fieldSelector=metadata.name%3De&resourceVersion=" + api.get(PODS)["metadata"]["resourceVersion"])
    s, o, _ = api.call("POST", PODS + "/e/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "e"}})
    seen = [(e["type"], e["object"]["metadata"].get("deletionGracePeriodSeconds"), [(c["reason"], c["message"]) for c in e["object"]["status"]["conditions"] if c["type"] == "DisruptionTarget"]) for e in watch.wait(3)]
    watch.close()
    why = [("EvictionByEvictionAPI", "Eviction API: evicting")]
    check("a pod says that it is evicted before it goes", s == 201 and seen == [("MODIFIED", None, why), ("MODIFIED", 0, why), ("DELETED", 0, why)], (s, o, seen))
    b = api.get(budget)
    fields = [m for m in b["metadata"]["managedFields"] if m["manager"] == "kube-apiserver"]
    check("the budget is charged, by the server", b["status"]["disruptionsAllowed"] == 0 and "e" in b["status"]["disruptedPods"] and fields and fields[0]["subresource"] == "status" and
          b["status"]["conditions"][0]["reason"] == "InsufficientPods", b)
    api.call("POST", PODS, dict(body, metadata={"name": "f", "labels": {"app": "e"}}))
    s, o, _ = api.call("POST", PODS + "/f/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "f"}, "deleteOptions": {"dryRun": ["All"]}})
    check("a dry run of eviction leaves no trace", s == 201 and not [c for c in api.get(PODS + "/f")["status"].get("conditions", []) if c["type"] == "DisruptionTarget"], o)
    s, o, _ = api.call("POST", PODS + "/f/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "f"}})
    check("a pending pod need not ask", s == 201 and api.call("GET", PODS + "/f")[0] == 404, o)


def test_pod_security(api):
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "strict", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}})
    api.call("POST", "/api/v1/namespaces/strict/serviceaccounts", {"metadata": {"name": "default"}})
    path = "/api/v1/namespaces/strict/pods"
    s, e, _ = api.call("POST", path, pod("a", hostNetwork=True))
    check("pod security", s == 403 and 'violates PodSecurity "restricted:latest": host namespaces (hostNetwork=true), allowPrivilegeEscalation != false' in e["message"], e)
    context = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    s, o, _ = api.call("POST", path, pod("a", containers=[{"name": "c", "image": "x", "securityContext": context}]))
    check("a pod that keeps to it", s == 201, o)


def test_services(api):
    path = "/api/v1/namespaces/default/services"
    s, a, _ = api.call("POST", path, {"metadata": {"name": "s1"}, "spec": {"ports": [{"port": 80}], "type": "NodePort"}})
    check("addresses", s == 201 and a["spec"]["clusterIP"].startswith("10.96.") and 30000 <= a["spec"]["ports"][0]["nodePort"] <= 32767, a)
    s, o, _ = api.call("POST", path, {"metadata": {"name": "s2"}, "spec": {"ports": [{"port": 80}], "clusterIP": a["spec"]["clusterIP"]}})
    check("an address is one service's", s == 422 and "already allocated" in o["message"], o)
    api.call("DELETE", path + "/s1")
    s, o, _ = api.call("POST", path, {"metadata": {"name": "s2"}, "spec": {"ports": [{"port": 80}], "clusterIP": a["spec"]["clusterIP"]}})
    check("and free again after it", s == 201, o)


def test_access(api, user, port):
    s, o, _ = user.call("GET", CM)
    check("forbidden", s == 403 and o["message"] == 'configmaps is forbidden: User "alice" cannot list resource "configmaps" in API group "" in the namespace "default"', o)
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", {"metadata": {"name": "r"}, "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]})
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", {"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]})
    check("allowed by a role", user.call("GET", CM)[0] == 200)
    check("no further", user.call("GET", CM + "/x")[0] == 403)
    s, o, _ = user.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": {"verb": "list", "resource": "configmaps", "namespace": "default"}}})
    check("access review", s == 201 and o["status"]["allowed"] is True, o)
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", {"metadata": {"name": "granter"}, "rules": [{"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]}]})
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", {"metadata": {"name": "granter"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "granter"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]})
    s, o, _ = user.call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", {"metadata": {"name": "up"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]})
    check("nobody grants what they do not hold", s == 403 and "not currently held" in o["message"], o)
    s, o, _ = user.call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", {"metadata": {"name": "same"}, "rules": [{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]})
    check("but what they do", s == 201, o)
    check("unknown token", Api(port, "wrong").call("GET", CM)[0] == 401)
    s, o, _ = Api(port, None).call("GET", CM)
    check("anonymous", s == 403 and "system:anonymous" in o["message"], o)
    s, o, _ = api.call("GET", CM, headers={"Impersonate-User": "bob"})
    check("impersonation", s == 403 and 'User "bob"' in o["message"], o)
    s, o, _ = api.call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {"expirationSeconds": 600}})
    check("token", s == 201 and o["status"]["token"].count(".") == 2, o)
    token = o["status"]["token"]
    s, o, _ = api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}})
    check("token review", o["status"].get("authenticated") and o["status"]["user"]["username"] == "system:serviceaccount:default:default", o)
    api.call("DELETE", "/api/v1/namespaces/default/serviceaccounts/default")
    check("a deleted account's token", Api(port, token).call("GET", CM)[0] == 401)


CRD = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "widgets.example.com"}, "spec": {
    "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"}, "versions": [
        {"name": "v1", "served": True, "storage": True, "subresources": {"status": {}}, "additionalPrinterColumns": [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}],
         "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "required": ["size"], "properties": {
             "size": {"type": "integer", "minimum": 1}, "color": {"type": "string", "default": "red"}}}, "status": {"type": "object", "properties": {"ok": {"type": "boolean"}}}}}}},
        {"name": "v2", "served": True, "storage": False, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}}


def test_custom(api):
    base = "/apis/example.com/v1/namespaces/default/widgets"
    s, o, _ = api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
    check("definition", s == 201 and o["status"] == {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": [v["name"] for v in CRD["spec"]["versions"] if v["storage"]]}, o)
    check("is served", wait_for(lambda: api.call("GET", base)[0] == 200))
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 2, "odd": 1}, "status": {"ok": True}}
    s, o, h = api.call("POST", base, widget)
    check("pruned and defaulted", s == 201 and o["spec"] == {"size": 2, "color": "red"} and "status" not in o and 'unknown field' in (h["Warning"] or ""), (o, h["Warning"]))
    s, e, _ = api.call("POST", base + "?fieldValidation=Strict", dict(widget, metadata={"name": "x"}))
    check("strict", s == 400 and 'unknown field "spec.odd"' in e["message"], e)
    s, e, _ = api.call("PATCH", base + "/w", {"spec": {"size": 0}}, "application/merge-patch+json")
    check("validated by its schema", s == 422 and e["details"]["causes"][0]["field"] == "spec.size", e)
    s, o, _ = api.call("PATCH", base + "/w/status", {"status": {"ok": False}, "spec": {"size": 9}}, "application/merge-patch+json")
    check("status of a custom resource", s == 200 and o["status"] == {"ok": False} and o["spec"]["size"] == 2, o)
    s, o, _ = api.call("GET", "/apis/example.com/v2/namespaces/default/widgets/w")
    check("another version", s == 200 and o["apiVersion"] == "example.com/v2" and o["spec"]["size"] == 2, o)
    s, o, _ = api.call("GET", base, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    check("its columns", [c["name"] for c in o["columnDefinitions"]] == ["Name", "Size"] and o["rows"][0]["cells"] == ["w", 2], o)
    check("no strategic merge", api.call("PATCH", base + "/w", "{}", "application/strategic-merge-patch+json")[0] == 415)
    check("in discovery", any(g["name"] == "example.com" for g in api.call("GET", "/apis")[1]["groups"]))
    s, doc, _ = api.call("GET", "/openapi/v2")
    check("in openapi", doc["definitions"]["com.example.v1.Widget"]["properties"]["spec"]["required"] == ["size"])
    s, o, _ = api.call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com")
    check("its definition goes", s == 200 and o["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"] and o["status"]["conditions"][-1]["reason"] == "InstanceDeletionPending", o)
    check("gone with its definition", wait_for(lambda: api.call("GET", base)[0] == 404))


def test_apply(api):
    path = CM + "/applied?fieldManager="
    body = lambda **data: {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "applied"}, "data": data}
    kind = "application/apply-patch+yaml"
    s, o, _ = api.call("PATCH", path + "one", body(a="1", b="2"), kind)
    check("apply creates", s == 201 and o["data"] == {"a": "1", "b": "2"} and o["metadata"]["managedFields"][0]["manager"] == "one", o)
    s, o, _ = api.call("PATCH", path + "one", body(a="1"), kind)
    check("what is left out goes", s == 200 and o["data"] == {"a": "1"}, o)
    s, e, _ = api.call("PATCH", path + "two", body(a="9"), kind)
    check("conflicts are told", s == 409 and e["details"]["causes"][0]["reason"] == "FieldManagerConflict", e)
    s, o, _ = api.call("PATCH", path + "two&force=true", body(a="9"), kind)
    check("and may be forced", s == 200 and o["data"] == {"a": "9"}, o)
    rv = o["metadata"]["resourceVersion"]
    s, o, _ = api.call("PATCH", path + "two", body(a="9"), kind)
    check("applying the same changes nothing", s == 200 and o["metadata"]["resourceVersion"] == rv, o)
    check("a manager must be named", api.call("PATCH", CM + "/applied", body(), kind)[0] == 422)
    s, o, _ = api.call("PATCH", path + "yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: applied\ndata:\n  yaml: z\n", kind)
    check("YAML", s == 200 and o["data"]["yaml"] == "z", o)


def test_quota(api):
    base = "/api/v1/namespaces/quota"
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "quota"}})
    api.call("POST", base + "/serviceaccounts", {"metadata": {"name": "default"}})
    api.call("POST", base + "/limitranges", {"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "500m"}, "defaultRequest": {"cpu": "100m"}, "max": {"cpu": "1"}}]}})
    api.call("POST", base + "/resourcequotas", {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "1", "requests.cpu": "1"}}})
    api.call("PATCH", base + "/resourcequotas/q/status", {"status": {"hard": {"pods": "1", "requests.cpu": "1"}, "used": {"pods": "0", "requests.cpu": "0"}}}, "application/merge-patch+json")
    s, o, _ = api.call("POST", base + "/pods", pod("a"))
    check("defaults of the range", s == 201 and o["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}, o)
    q = api.get(base + "/resourcequotas/q")
    check("usage is charged", q["status"]["used"] == {"pods": "1", "requests.cpu": "100m"}, q)
    owned = [m["fieldsV1"] for m in q["metadata"]["managedFields"] if m["manager"] == "kube-apiserver" and m["subresource"] == "status"]
    api.call("PATCH", base + "/resourcequotas/q/status", {"status": {"hard": {"pods": "2", "requests.cpu": "1"}}}, "application/merge-patch+json")
    s, o, _ = api.call("POST", base + "/pods?dryRun=All", pod("b"))
    check("a dry run that fits is charged nothing", s == 201 and api.get(base + "/resourcequotas/q")["status"]["used"] == q["status"]["used"], o)
    api.call("PATCH", base + "/resourcequotas/q/status", {"status": {"hard": {"pods": "1", "requests.cpu": "1"}}}, "application/merge-patch+json")
    check("by the server", owned == [{"f:status": {"f:used": {"f:pods": {}, "f:requests.cpu": {}}}}], q)
    s, e, _ = api.call("POST", base + "/pods", pod("b"))
    s2, e2, _ = api.call("POST", base + "/pods?dryRun=All", pod("b"))
    check("a dry run is held to it too", s2 == 403 and e2 == e, e2)
    check("quota", s == 403 and e["message"] == 'pods "b" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1', e)
    # What one quota refuses is charged to none, whichever comes first by name.
    api.call("POST", base + "/resourcequotas", {"metadata": {"name": "a"}, "spec": {"hard": {"pods": "9"}}})
    api.call("PATCH", base + "/resourcequotas/a/status", {"status": {"hard": {"pods": "9"}, "used": {"pods": "1"}}}, "application/merge-patch+json")
    s, e, _ = api.call("POST", base + "/pods", pod("b"))
    used = api.get(base + "/resourcequotas/a")["status"]["used"]
    check("a refusal is charged to no quota", s == 403 and "exceeded quota: q" in e["message"] and used == {"pods": "1"}, used)
    api.call("DELETE", base + "/resourcequotas/a")
    s, e, _ = api.call("POST", base + "/pods", pod("c", containers=[{"name": "c", "image": "x", "resources": {"limits": {"cpu": "2"}}}]))
    check("range", s == 403 and "maximum cpu usage per Container is 1, but limit is 2" in e["message"], e)
    # A pod as a whole is what its init containers are, where that is more.
    api.call("POST", base + "/limitranges", {"metadata": {"name": "whole"}, "spec": {"limits": [{"type": "Pod", "max": {"cpu": "800m"}}]}})
    big = {"name": "i", "image": "x", "resources": {"requests": {"cpu": "100m"}, "limits": {"cpu": "900m"}}}
    s, e, _ = api.call("POST", base + "/pods", pod("d", initContainers=[big]))
    check("range of the whole", s == 403 and "maximum cpu usage per Pod is 800m, but limit is 900m" in e["message"], e)
    api.call("DELETE", base + "/limitranges/whole")
    # What a pod is resized to is bounded as what it is made with.
    def resize(requests, limits):
        resources = {"requests": {"cpu": requests}, "limits": {"cpu": limits}}
        return api.call("PATCH", base + "/pods/a/resize", {"spec": {"containers": [{"name": "c", "resources": resources}]}}, "application/strategic-merge-patch+json")

    s, e, _ = resize("100m", "2")
    check("range of a resize", s == 403 and "maximum cpu usage per Container is 1, but limit is 2" in e["message"], e)
    s, o, _ = resize("200m", "400m")
    check("a resize", s == 200 and o["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "400m"}, "requests": {"cpu": "200m"}}, o)
    check("its usage is charged", api.call("GET", base + "/resourcequotas/q")[1]["status"]["used"]["requests.cpu"] == "200m")
    renamed = json.loads(json.dumps(o))
    renamed["spec"]["containers"][0]["name"] = "other"
    s, e, _ = api.call("PUT", base + "/pods/a/resize", renamed)
    check("a container that a resize renames", s == 422 and "spec.containers[0].name: Forbidden: containers may not be renamed or reordered on resize" in e["message"], e)
    api.call("PATCH", base + "/resourcequotas/q/status", {"status": {"hard": {"pods": "1", "requests.cpu": "500m"}}}, "application/merge-patch+json")
    s, e, _ = resize("600m", "600m")
    check("quota of a resize", s == 403 and "exceeded quota: q, requested: requests.cpu=400m, used: requests.cpu=200m, limited: requests.cpu=500m" in e["message"], e)


def field(number, data):
    """One length-delimited field of a protobuf message; lengths below 16384."""
    data = data.encode() if isinstance(data, str) else data
    n = len(data)
    return bytes([number << 3 | 2]) + (bytes([n]) if n < 128 else bytes([n & 127 | 128, n >> 7])) + data


def envelope(version, kind, message):
    return b"k8s\0" + field(1, field(1, version) + field(2, kind)) + field(2, message)


PROTOBUF = "application/vnd.kubernetes.protobuf"


def raw_get(api, path, accept=PROTOBUF, method="GET", body=None):
    c = api.connect()
    c.request(method, path, body, {"Authorization": "Bearer " + api.token, "Accept": accept, "Content-Type": PROTOBUF})
    return c.getresponse()


def test_protobuf(api):
    body = envelope("v1", "ConfigMap", field(1, field(1, "binary")) + field(2, field(1, "key") + field(2, "value")))
    r = raw_get(api, CM, method="POST", body=body)
    data = r.read()
    check("create from protobuf", r.status == 201 and r.headers["Content-Type"] == PROTOBUF and data.startswith(b"k8s\0") and field(2, "value") in data, data)
    check("what was stored", api.call("GET", CM + "/binary")[1]["data"] == {"key": "value"})
    data = raw_get(api, CM + "?fieldSelector=metadata.name%3Dbinary").read()
    check("list", data.startswith(b"k8s\0" + field(1, field(1, "v1") + field(2, "ConfigMapList"))) and field(1, "key") in data, data)
    r = raw_get(api, CM + "/none")
    check("errors", r.status == 404 and field(2, "Status") in r.read())
    metadata = PROTOBUF + ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
    data = raw_get(api, CM + "/binary", metadata).read()
    check("metadata alone", field(2, "PartialObjectMetadata") in data and b"value" not in data, data)
    for accept, version, kind in ((PROTOBUF + ";stream=watch", "v1", "ConfigMap"), (metadata, "meta.k8s.io/v1", "PartialObjectMetadata")):
        r = raw_get(api, CM + "?watch=1&fieldSelector=metadata.name%3Dbinary", accept)
        frame = r.read(int.from_bytes(r.read(4), "big"))
        check("watch as " + kind, frame.startswith(field(1, "ADDED")) and b"k8s\0" + field(1, field(1, version) + field(2, kind)) in frame, frame)
    r = raw_get(api, CM + "/binary", method="DELETE", body=envelope("apps/v1", "DeleteOptions", b""))
    check("delete with options of another group", r.status == 200, r.read())
    check("the same in JSON", api.call("DELETE", CM + "/binary", {"kind": "DeleteOptions", "apiVersion": "apps/v1"})[0] == 404)
    check("tables have no protobuf", raw_get(api, CM, PROTOBUF + ";as=Table;g=meta.k8s.io;v=v1").status == 406)


def refused_as_too_large(api):
    """The server reads on for a while after its answer, not for ever: a client that is slow to send may get a reset instead of it."""
    try:
        return api.call("POST", CM, b"x" * (4 << 20))[0] == 413
    except (OSError, http.client.HTTPException):
        return False


def samples(api):
    """Of /metrics: name -> [(labels, value)]."""
    out = {}
    for line in api.call("GET", "/metrics")[1].splitlines():
        m = re.match(r"([a-z_0-9]+)(?:\{(.*)\})? (\S+)$", line)
        if m and not line.startswith("#"):
            out.setdefault(m.group(1), []).append((dict(re.findall(r'([a-z_]+)="([^"]*)"', m.group(2) or "")), float(m.group(3))))
    return out


def check_metrics(api):
    """What of requests is counted, under which labels: dashboards ask for them."""
    path = "/api/v1/namespaces/default/configmaps"
    before = samples(api)
    for method, at, body, ctype in (("POST", path, {"metadata": {"name": "counted"}}, "application/json"), ("GET", path + "/counted", None, ""), ("GET", path, None, ""), ("GET", "/api/v1/configmaps", None, ""),
                                    ("PATCH", path + "/counted", {"data": {"a": "b"}}, "application/merge-patch+json"), ("PUT", path + "/counted?dryRun=All", {"metadata": {"name": "counted"}}, "application/json"),
                                    ("PATCH", path + "/counted?fieldManager=m&force=true", {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "c"}}, "application/apply-patch+yaml"), ("DELETE", path + "/counted", None, ""),
                                    ("GET", path + "/counted", None, "")):
        api.call(method, at, body, ctype)
    w = Watch(api, path + "?watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan")
    w.wait(1)
    w.close()
    Api(api.port, "wrong").call("GET", path)
    after = samples(api)

    def grown(metric, **labels):
        value = lambda s: sum(v for l, v in s.get(metric, []) if all(l.get(k) == x for k, x in labels.items()))
        return value(after) - value(before)
    of = dict(group="", version="v1", resource="configmaps", subresource="", component="apiserver")
    for verb, scope, code, dry in (("POST", "resource", "201", ""), ("GET", "resource", "200", ""), ("LIST", "namespace", "200", ""), ("LIST", "cluster", "200", ""), ("PATCH", "resource", "200", ""), ("PUT", "resource", "200", "All"),
                                   ("APPLY", "resource", "200", ""), ("DELETE", "resource", "200", ""), ("GET", "resource", "404", ""), ("WATCH", "namespace", "200", "")):
        check("counted %s %s %s" % (verb, scope, code), grown("apiserver_request_total", verb=verb, scope=scope, code=code, dry_run=dry, **of) == 1, after.get("apiserver_request_total"))
    check("labels", set(after["apiserver_request_total"][0][0]) == {"verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component", "code"})
    check("how long", grown("apiserver_request_duration_seconds_count", verb="LIST", scope="cluster", dry_run="", **of) == 1 and grown("apiserver_request_sli_duration_seconds_count", verb="LIST", scope="cluster", **of) == 1)
    check("not of what only tries", grown("apiserver_request_sli_duration_seconds_count", verb="PUT", **of) == 0 and grown("apiserver_request_duration_seconds_count", verb="PUT", dry_run="All", **of) == 1)
    check("how large", grown("apiserver_response_sizes_count", verb="GET", **of) == 2 and grown("apiserver_response_sizes_sum", verb="LIST", scope="namespace", **of) > 50)
    check("events", grown("apiserver_watch_events_total", resource="configmaps") >= 0 and grown("apiserver_watch_list_duration_seconds_count", resource="configmaps", scope="namespace") == 1)
    check("who", grown("authentication_attempts", result="success") >= 10 and sum(grown("authentication_attempts", result=x) for x in ("failure", "error")) == 1 and grown("authenticated_user_requests", username="admin") >= 10)
    check("whether", grown("authorization_attempts_total", result="allowed") >= 10 and grown("authorization_duration_seconds_count", result="allowed") >= 10)
    check("admission", grown("apiserver_admission_controller_admission_duration_seconds_count", name="NamespaceLifecycle", operation="CREATE", type="admit", rejected="false") >= 1)
    check("admission as a whole", grown("apiserver_admission_step_admission_duration_seconds_count", operation="CREATE", type="admit", rejected="false") >= 1)
    check("bodies", grown("apiserver_request_body_size_bytes_count", group="", resource="configmaps", verb="create") == 1 and grown("field_validation_request_duration_seconds_count", field_validation="") >= 4)
    listed = dict(group="", resource="configmaps")
    check("lists", grown("apiserver_cache_list_total", index="", **listed) == 2 and 2 <= grown("apiserver_cache_list_returned_objects_total", **listed) <= grown("apiserver_cache_list_fetched_objects_total", **listed))
    check("the cache", grown("apiserver_watch_cache_events_received_total", **listed) == grown("apiserver_storage_events_received_total", **listed) == 4 and grown("apiserver_watch_cache_resource_version", **listed) > 0 and
          all(v == 1 for l, v in after["apiserver_watch_cache_initializations_total"] if l["resource"] == "configmaps") and any(v > 0 for _, v in after["watch_cache_capacity"]))
    check("etcd", grown("grpc_client_handled_total", grpc_method="Txn", grpc_service="etcdserverpb.KV", grpc_type="unary", grpc_code="OK") >= 4 and grown("grpc_client_msg_received_total", grpc_method="Watch", grpc_type="bidi_stream") >= 1)
    check("what has not happened yet", after["serviceaccount_legacy_tokens_total"] == [({}, 0.0)] and after["apiserver_audit_event_total"] == [({}, 0.0)])
    check("what it is", after["version_info"][0][0]["emulation"] == "1.36" and ({"name": "ConstrainedImpersonation", "stage": "BETA"}, 1.0) in after["kubernetes_feature_enabled"] and after["process_network_receive_bytes_total"][0][1] > 0)


def test_discovery(api):
    s, o, _ = api.call("GET", "/apis")
    check("groups", o["kind"] == "APIGroupList" and any(g["name"] == "apps" for g in o["groups"]), o)
    check("trailing slash", api.call("GET", "/apis/apps/")[1]["kind"] == "APIGroup")
    for path in ("/api/%zz", "/%"):
        check("a path that cannot be read", api.call("GET", path)[0] == 400, path)
    s, o, h = api.call("GET", "/apis", headers={"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"})
    check("aggregated", o["kind"] == "APIGroupDiscoveryList" and "as=APIGroupDiscoveryList" in h["Content-Type"], h)
    check("version", api.call("GET", "/version")[1]["minor"] == "36")
    s, o, _ = api.call("GET", "/openapi/v3")
    s, doc, _ = api.call("GET", o["paths"]["apis/apps/v1"]["serverRelativeURL"])
    check("openapi v3", "io.k8s.api.apps.v1.Deployment" in doc["components"]["schemas"], s)
    s, doc, h = api.call("GET", "/openapi/v2")
    check("openapi v2", "io.k8s.api.core.v1.Pod" in doc["definitions"] and api.call("GET", "/openapi/v2", headers={"If-None-Match": h["ETag"]})[0] == 304, s)
    check("not there", api.call("GET", "/apis/none/v1/things")[:2] == (404, "404 page not found\n"))
    check("not acceptable", api.call("GET", CM, headers={"Accept": "image/png"})[0] == 406)
    check("too large", wait_for(lambda: refused_as_too_large(api)))
    for path in ("/healthz", "/livez", "/readyz", "/readyz/etcd"):
        check(path, api.call("GET", path)[:2] == (200, "ok"))
    for path, code in (("/healthz/", 404), ("/livez/none", 404), ("/livez/autoregister-completion", 200), ("/readyz/poststarthook/rbac/bootstrap-roles", 200)):
        check(path, api.call("GET", path)[0] == code)
    check("whatever the method", api.call("POST", "/healthz")[:2] == (200, "ok") and api.call("HEAD", "/version")[0] == 405)
    check_metrics(api)
    check("metrics are reset", api.call("DELETE", "/metrics")[1] == "metrics reset\n" and api.call("DELETE", "/metrics/slis")[1] == "metrics reset\n", "")
    left = [value for labels, value in samples(api).get("apiserver_request_total", []) if labels["verb"] == "POST"]
    check("what was counted before is 0", left and not any(left), left)
    slis = api.call("GET", "/metrics/slis")[1]
    check("health as metrics", 'kubernetes_healthcheck{name="etcd",type="livez"} 1\n' in slis and 'kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} ' in slis, slis)
    check("what runs", "apiserver statusz" in api.call("GET", "/statusz", headers={"Accept": "text/plain"})[1])
    s, o, h = api.call("GET", "/statusz", headers={"Accept": "application/json;v=v1beta1;g=config.k8s.io;as=Statusz"})
    check("what runs, as an object", (s, o["kind"], o["apiVersion"]) == (200, "Statusz", "config.k8s.io/v1beta1") and "/livez" in o["paths"] and o["uptimeSeconds"] >= 0, o)
    s, o, h = api.call("GET", "/flagz", headers={"Accept": "application/json;v=v1beta1;g=config.k8s.io;as=Flagz"})
    check("how it was told to", o["flags"]["bind-address"] == "127.0.0.1" and o["flags"]["service-cluster-ip-range"] == "[10.96.0.0/16]" and o["flags"]["etcd-compaction-interval"] == "5m0s" and o["flags"]["anonymous-auth"] == "true", o)
    check("a form they do not have", api.call("GET", "/flagz", headers={"Accept": "application/yaml"})[0] == 406)
    check("who made what is there from the start", all(o["metadata"]["managedFields"][0]["manager"] == "kube-apiserver" for o in api.get("/apis/rbac.authorization.k8s.io/v1/clusterroles")["items"] + [api.get("/api/v1/namespaces/default/services/kubernetes")]))


def test_all(site):
    """One server for all of them; the last sees it go."""
    server = site.start_server()
    api = server.api
    for test in (test_crud, test_finalizers, test_patch, test_list, test_watch, test_pods, test_pod_security, test_services, test_custom, test_apply, test_quota, test_protobuf, test_discovery):
        try:
            test(api)
        except Exception as e:
            check(test.__name__, False, repr(e))
    try:
        test_access(api, Api(server.port, "usertoken"), server.port)
    except Exception as e:
        check("test_access", False, repr(e))
    check("clean exit", server.stop() == 0, server.text()[-1500:])


def test_edges(site):
    """What browsers are told, and which TLS is spoken."""
    server = site.start_server("--cors-allowed-origins=//good\\.example(:|$),^https://other$", "--strict-transport-security-directives=max-age=31536000,includeSubDomains", "--tls-min-version=VersionTLS13")
    api = server.api
    s, _, h = api.call("OPTIONS", "/api/v1/pods", headers={"Origin": "https://good.example:8443", "Authorization": "Bearer nonsense"})
    check("a preflight is answered to whoever asks", s == 204 and h["Access-Control-Allow-Origin"] == "https://good.example:8443" and h["Access-Control-Allow-Methods"] == "POST, GET, OPTIONS, PUT, DELETE, PATCH" and
          h["Access-Control-Allow-Credentials"] == "true" and h["Access-Control-Expose-Headers"] == "Date" and "Authorization" in h["Access-Control-Allow-Headers"], (s, h))
    s, _, h = api.call("GET", "/version", headers={"Origin": "https://other"})
    check("others are told as well", s == 200 and h["Access-Control-Allow-Origin"] == "https://other" and h["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains", h)
    for origin in ("https://good.example.evil", "https://evil", "null"):
        h = api.call("GET", "/version", headers={"Origin": origin})[2]
        check("not who looks like it: " + origin, "Access-Control-Allow-Origin" not in h, h)
    context = ssl._create_unverified_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=20)).close()
        old = True
    except ssl.SSLError:
        old = False
    check("an older TLS than is asked for is not spoken", not old)
    for flag, says in (("--cors-allowed-origins=good.example", "pin to start/end"), ("--strict-transport-security-directives=always", "max-age=SECONDS"), ("--tls-cipher-suites=TLS_ROT13", "TLS_ROT13")):
        bad = site.start_server(flag, wait=False)
        check("refused: " + flag, wait_for(lambda: not bad.alive()) and says in bad.text(), bad.text())


run([test_all, test_edges])
