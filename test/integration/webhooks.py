#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Admission webhooks: what they are shown, what their answers do, and what becomes of requests when they fail.

usage: test/integration/webhooks.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, json, os, subprocess, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from hooks import Hooks, patch
from servers import Watch, check, free_port, run, wait_for

GROUP = "/apis/admissionregistration.k8s.io/v1/"
NS = "/api/v1/namespaces/default/"
MERGE = "application/merge-patch+json"
ALLOW = {"allowed": True}


def rules(*resources, operations=("CREATE", "UPDATE"), group="", version="v1"):
    return [{"operations": list(operations), "apiGroups": [group], "apiVersions": [version], "resources": list(resources)}]


def hook(name, client, rule, **more):
    return dict({"name": name + ".example.com", "clientConfig": client, "rules": rule, "sideEffects": "None", "admissionReviewVersions": ["v1"]}, **more)


def put(api, sort, name, *webhooks):
    s, o, _ = api.call("POST", GROUP + sort + "webhookconfigurations", {"metadata": {"name": name}, "webhooks": list(webhooks)})
    check("configuration " + name, s == 201, o)


def drop(api, sort, name):
    api.call("DELETE", GROUP + sort + "webhookconfigurations/" + name)


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def site_of(site, *args):
    """A server, and hooks with their authorities in the site's folder."""
    hooks = Hooks(site.folder)
    return site.start_server(*args).api, hooks


def test_validate(site):
    api, hooks = site_of(site)
    hooks.handlers["no"] = lambda r: {"allowed": False, "status": {"message": "not that", "code": 418, "reason": "Teapot"}} if (r["object"]["data"] or {}).get("bad") else dict(ALLOW, warnings=["look out"])
    put(api, "validating", "v", hook("v", hooks.client("no"), rules("configmaps")))
    s, o, h = api.call("POST", NS + "configmaps?fieldManager=me&fieldValidation=Warn", config_map("good", a="1"))
    check("what it allows is made", s == 201 and 'look out' in (h["Warning"] or ""), (s, o, h))
    (r,) = hooks.seen("no")
    check("what it was shown", r["kind"] == {"group": "", "version": "v1", "kind": "ConfigMap"} and r["resource"] == {"group": "", "version": "v1", "resource": "configmaps"} and r["requestKind"] == r["kind"] and
          r["requestResource"] == r["resource"] and r["name"] == "good" and r["namespace"] == "default" and r["operation"] == "CREATE" and r["dryRun"] is False and r["oldObject"] is None, r)
    check("by whom, and how", r["userInfo"] == {"username": "admin", "uid": "1", "groups": ["system:masters", "system:authenticated"]} and
          r["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me", "fieldValidation": "Warn"}, r)
    check("the object as it will be", r["object"]["kind"] == "ConfigMap" and r["object"]["data"] == {"a": "1"} and r["object"]["metadata"]["uid"] == o["metadata"]["uid"] and r["object"]["metadata"]["managedFields"][0]["manager"] == "me", r)
    check("its time is told", hooks.queries[0] == "timeout=10s" and hooks.reviews[0]["apiVersion"] == "admission.k8s.io/v1" and hooks.reviews[0]["kind"] == "AdmissionReview", hooks.queries)
    s, o, _ = api.call("POST", NS + "configmaps", config_map("bad", bad="1"))
    check("what it refuses is not", s == 418 and o["message"] == 'admission webhook "v.example.com" denied the request: not that' and o["reason"] == "Teapot" and o["code"] == 418 and o["status"] == "Failure", o)
    s, o, _ = api.call("PATCH", NS + "configmaps/good", {"data": {"bad": "1"}}, MERGE)
    r = hooks.seen("no")[-1]
    check("an update is shown with what it was", s == 418 and r["operation"] == "UPDATE" and r["oldObject"]["data"] == {"a": "1"} and r["object"]["data"] == {"a": "1", "bad": "1"} and r["options"]["kind"] == "UpdateOptions", r)
    s, o, _ = api.call("DELETE", NS + "configmaps/good")
    check("a deletion is not asked for here", s == 200 and len(hooks.seen("no")) == 3, o)
    for status, code, text in ((None, 400, "denied the request without explanation"), ({"reason": "Why"}, 400, "denied the request: Why"), ({"code": 200, "message": "m", "status": "Success"}, 400, "denied the request: m"),
                               ({"code": 403, "message": "m", "details": {"name": "n", "kind": "k", "causes": [{"reason": "r", "message": "c", "field": "f"}]}}, 403, "denied the request: m")):
        hooks.handlers["no"] = lambda r: {"allowed": False, "status": status} if status else {"allowed": False}
        s, o, _ = api.call("POST", NS + "configmaps", config_map("x"))
        check("refused with %s" % status, s == code and o["message"].endswith(text) and o.get("details") == (status or {}).get("details"), o)
    check("one connection served all", hooks.connections == 1, hooks.connections)
    drop(api, "validating", "v")
    s, o, _ = api.call("POST", NS + "configmaps", config_map("x"))
    check("nothing is refused without it", s == 201, o)
    hooks.close()


def test_failures(site):
    api, hooks = site_of(site)
    body = config_map("f")

    def told(client, answer=None, **more):
        if answer is not None:
            hooks.handlers["a"] = lambda r: answer
        put(api, "validating", "f", hook("f", client, rules("configmaps"), **more))
        s, o, _ = api.call("POST", NS + "configmaps", body)
        drop(api, "validating", "f")
        if s == 201:
            api.call("DELETE", NS + "configmaps/f")
            return 201
        start = 'Internal error occurred: failed calling webhook "f.example.com": '
        check("an internal error of its form", s == 500 and o["reason"] == "InternalError" and o["message"].startswith(start) and o["details"] == {"causes": [{"message": o["message"][len("Internal error occurred: "):]}]}, o)
        return o["message"][len(start):] if isinstance(o, dict) else o

    closed = free_port()
    here = hooks.client("a")
    url = "%s?timeout=10s" % here["url"]
    check("nobody listens", told({"url": "https://127.0.0.1:%d/x" % closed}) == 'failed to call webhook: Post "https://127.0.0.1:%d/x?timeout=10s": dial tcp 127.0.0.1:%d: connect: connection refused' % (closed, closed))
    check("which may be ignored", told({"url": "https://127.0.0.1:%d/x" % closed}, failurePolicy="Ignore") == 201)
    check("no such name", told({"url": "https://nowhere.invalid/x"}, timeoutSeconds=2).startswith("failed to call webhook: Post "))
    check("authorities it is not of", told(hooks.client("a", ca=False), ALLOW) == 'failed to call webhook: Post "%s": tls: failed to verify certificate: x509: certificate signed by unknown authority' % url)
    check("by name", told(hooks.client("a", host="localhost"), ALLOW) == 201)
    check("an error of the server", told(here, (500, "oops\n")) == 'failed to call webhook: an error on the server ("unknown") has prevented the request from succeeding')
    check("and its text", told(hooks.client("plain"), (500, "oops\n")) == 'failed to call webhook: an error on the server ("oops") has prevented the request from succeeding') if hooks.handlers.update(plain=lambda r: (500, "oops\n")) is None else None
    check("not found", told(here, (404, "x")) == "failed to call webhook: the server could not find the requested resource")
    check("no JSON", told(here, (200, "hello")).startswith("failed to call webhook: couldn't get version/kind; json parse error: "))
    check("no response", told(here, {"raw": {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}}) == "received invalid webhook response: webhook response was absent")
    check("another uid", told(here, {"uid": "x", "allowed": True}).startswith('received invalid webhook response: expected response.uid="'))
    check("another kind", told(here, {"raw": {"apiVersion": "v1", "kind": "Pod", "response": {"uid": ""}}}) == 'failed to call webhook: no kind "Pod" is registered for version "v1" in scheme "k8s.io/apiserver/pkg/util/webhook/client.go:71"')
    check("a patch where none may be", told(here, patch({"op": "add", "path": "/data", "value": {}})) == "received invalid webhook response: validating webhook may not return response.patch")
    check("in chunks", told(hooks.client("chunked"), **{"failurePolicy": "Fail"}) == 201 if hooks.handlers.update(chunked=lambda r: dict(ALLOW, auditAnnotations={"a": "b"})) is None else False)
    check("the first version", told(here, ALLOW, admissionReviewVersions=["v2", "v1beta1", "v1"]) == 201 and hooks.reviews[-1]["apiVersion"] == "admission.k8s.io/v1beta1", hooks.reviews[-1])
    gate = threading.Event()
    hooks.handlers["slow"] = lambda r: (gate.wait(30), ALLOW)[1]
    check("too slow", told(hooks.client("slow"), timeoutSeconds=1) == 'failed to call webhook: Post "%s?timeout=1s": context deadline exceeded' % hooks.client("slow")["url"])
    check("too slow, ignored", told(hooks.client("slow"), timeoutSeconds=1, failurePolicy="Ignore") == 201)
    gate.set()
    s, o, _ = api.call("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}})
    service = {"service": {"namespace": "default", "name": "hook", "path": "/a"}, "caBundle": hooks.ca}
    check("a service without endpoints", told(service) == 'failed to call webhook: Post "https://hook.default.svc:443/a?timeout=10s": no endpoints available for service "hook"')
    api.call("DELETE", "/api/v1/namespaces/default/services/hook")
    check("no service", told(service) == 'failed to call webhook: Post "https://hook.default.svc:443/a?timeout=10s": service "hook" not found')
    s, o, _ = api.call("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "hook"}, "spec": {"type": "ExternalName", "externalName": "localhost"}})
    service["service"]["port"] = hooks.port
    check("a service of another name", told(service, ALLOW) == 201)
    put(api, "validating", "side", hook("side", here, rules("configmaps"), sideEffects="NoneOnDryRun"))
    s, o, _ = api.call("POST", NS + "configmaps?dryRun=All", body)
    check("a dry run is told", s == 201 and hooks.seen("a")[-1]["dryRun"] is True and hooks.seen("a")[-1]["options"]["dryRun"] == ["All"], o)
    s, o, _ = api.call("GET", "/metrics")
    check("it is counted", 'apiserver_admission_webhook_rejection_count{error_type="calling_webhook_error",name="f.example.com",operation="CREATE",rejection_code="500",type="validating"}' in o and
          'apiserver_admission_webhook_fail_open_count{name="f.example.com",type="validating"}' in o, [l for l in o.split("\n") if "webhook" in l])
    hooks.close()


def test_mutate(site):
    api, hooks = site_of(site)

    def adds(key, **more):
        hooks.handlers[key] = lambda r: patch({"op": "add", "path": "/data/" + key, "value": ",".join(sorted(r["object"]["data"]))})
        return hook(key, hooks.client(key), rules("configmaps"), **more)

    put(api, "mutating", "b", adds("b2"), adds("b1", reinvocationPolicy="IfNeeded"))
    put(api, "mutating", "a", adds("a", reinvocationPolicy="IfNeeded"))
    s, o, _ = api.call("POST", NS + "configmaps", config_map("m", x="1"))
    check("each sees what the one before made", s == 201 and o["data"] == {"x": "1", "a": "a,b1,b2,x", "b2": "a,x", "b1": "a,b1,b2,x"} or s == 201 and o["data"] == {"x": "1", "a": "a,b1,b2,x", "b2": "a,x", "b1": "a,b2,x"}, o)
    order = [p for p, _ in hooks.requests]
    check("in their order, and again where something came after", order[:4] == ["a", "b2", "b1", "a"], order)
    s, o, _ = api.call("GET", NS + "configmaps/m")
    check("what they made is stored, and nobody's", o["data"]["b2"] == "a,x" and "f:b2" not in str(o["metadata"]["managedFields"]), o)
    drop(api, "mutating", "a")
    drop(api, "mutating", "b")
    hooks.handlers["p"] = lambda r: patch({"op": "replace", "path": "/spec/containers/0/image", "value": "other"}, {"op": "add", "path": "/metadata/labels", "value": {"seen": "yes"}})
    put(api, "mutating", "p", hook("p", hooks.client("p"), rules("pods")))
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    s, o, _ = api.call("POST", NS + "pods", {"metadata": {"generateName": "g-"}, "spec": {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "one"}]}})
    check("a pod is changed", s == 201 and o["spec"]["containers"][0]["image"] == "other" and o["metadata"]["labels"] == {"seen": "yes"} and o["metadata"]["name"].startswith("g-"), o)
    r = hooks.seen("p")[0]
    check("before it has a name", "name" not in r and r["object"]["metadata"]["generateName"] == "g-" and r["object"]["spec"]["restartPolicy"] == "Always", r)
    hooks.handlers["p"] = lambda r: patch({"op": "replace", "path": "/spec/containers/0/name", "value": "NOT A NAME"})
    s, o, _ = api.call("POST", NS + "pods", {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "one"}]}})
    check("what it makes is judged", s == 422 and "spec.containers[0].name" in o["message"], o)
    hooks.handlers["p"] = lambda r: patch({"op": "remove", "path": "/spec/nothing"})
    s, o, _ = api.call("POST", NS + "pods", {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "one"}]}})
    check("a patch that does not fit", s == 500 and o["reason"] == "InternalError" and o["message"].endswith('remove operation does not apply: doc is missing path: "/spec/nothing": missing value'), o)
    hooks.handlers["p"] = lambda r: {"allowed": True, "patch": "aGVsbG8="}
    s, o, _ = api.call("POST", NS + "pods", {"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "one"}]}})
    check("a patch without its type", s == 500 and o["message"].endswith("webhook returned response.patch but not response.patchType"), o)
    drop(api, "mutating", "p")
    hpa = {"metadata": {"name": "h"}, "spec": {"minReplicas": 1, "maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "x", "apiVersion": "apps/v1"}}}
    hooks.handlers["h"] = lambda r: patch({"op": "replace", "path": "/spec/maxReplicas", "value": 7})
    put(api, "mutating", "h", hook("h", hooks.client("h"), rules("horizontalpodautoscalers", group="autoscaling", version="v1")), hook("exact", hooks.client("never"), rules("horizontalpodautoscalers", group="autoscaling", version="v1"), matchPolicy="Exact"))
    s, o, _ = api.call("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", hpa)
    r = hooks.seen("h")[0]
    check("another version of it", s == 201 and o["apiVersion"] == "autoscaling/v2" and o["spec"]["maxReplicas"] == 7 and r["kind"]["version"] == "v1" and r["requestKind"]["version"] == "v2" and r["object"]["apiVersion"] == "autoscaling/v1", (s, o, r))
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "pairs.example.com"},
           "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "pairs", "kind": "Pair"}, "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}, {"name": "v2", "served": True, "storage": False, "schema": schema}]}}
    api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    path = "/apis/example.com/v2/namespaces/default/pairs"
    check("is served", wait_for(lambda: api.call("GET", path)[0] == 200))
    hooks.handlers["c1"] = lambda r: patch({"op": "add", "path": "/data/one", "value": r["object"]["apiVersion"]})
    hooks.handlers["c2"] = lambda r: patch({"op": "add", "path": "/data/two", "value": r["object"]["apiVersion"]})
    put(api, "mutating", "c", hook("c1", hooks.client("c1"), rules("pairs", group="example.com")), hook("c2", hooks.client("c2"), rules("pairs", group="example.com", version="v2")))
    s, o, _ = api.call("POST", path, {"apiVersion": "example.com/v2", "kind": "Pair", "metadata": {"name": "p"}, "data": {}})
    check("a custom resource, in either version", s == 201 and o["apiVersion"] == "example.com/v2" and o["data"] == {"one": "example.com/v1", "two": "example.com/v2"}, o)
    s, o, _ = api.call("PATCH", path + "/p", {"data": {"three": "3"}}, MERGE)
    check("and changed", s == 200 and o["data"] == {"one": "example.com/v1", "two": "example.com/v2", "three": "3"}, o)
    versions = [dict(v, storage=v["name"] == "v2") for v in crd["spec"]["versions"]]
    api.call("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/pairs.example.com", {"spec": {"versions": versions}}, MERGE)
    s, o, _ = api.call("GET", path + "/p")
    check("read in the version that is stored now", s == 200 and o["apiVersion"] == "example.com/v2", o)
    s, o, _ = api.call("PATCH", path + "/p", [{"op": "add", "path": "/dummy", "value": "x"}], "application/json-patch+json")
    check("and changed in it", s == 200 and o["apiVersion"] == "example.com/v2" and o["dummy"] == "x", o)
    check("and in a list", {i["apiVersion"] for i in api.get(path)["items"]} == {"example.com/v2"})
    hooks.close()


def test_matching(site):
    api, hooks = site_of(site)
    hooks.handlers["m"] = lambda r: {"allowed": False, "status": {"code": 422, "message": "no"}}
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "marked", "labels": {"mark": "yes"}}})

    def outcome(path=NS + "configmaps", verb="POST", body=None, rule=None, **more):
        put(api, "validating", "m", hook("m", hooks.client("m"), rules("configmaps") if rule is None else rule, **more))
        s, o, _ = api.call(verb, path, body or {"metadata": {"name": "probe", "labels": {"l": "1"}}})
        if s == 201:
            api.call("DELETE", path + "/probe")
        drop(api, "validating", "m")
        return "refused" if s == 422 else (s, o)[0]

    marked = {"matchLabels": {"mark": "yes"}}
    check("by resource", outcome() == "refused")
    check("not by another", outcome(rule=rules("pods")) == 201)
    check("without rules nothing", outcome(rule=[]) == 201)
    check("by the namespace", outcome(NS.replace("default", "marked") + "configmaps", namespaceSelector=marked) == "refused" and outcome(namespaceSelector=marked) == 201)
    check("by labels", outcome(objectSelector={"matchLabels": {"l": "1"}}) == "refused" and outcome(objectSelector={"matchLabels": {"l": "2"}}) == 201)
    check("by scope", outcome(rule=[dict(rules("configmaps")[0], scope="Cluster")]) == 201)
    check("by a condition", outcome(matchConditions=[{"name": "c", "expression": "object.metadata.name == 'other'"}]) == 201 and outcome(matchConditions=[{"name": "c", "expression": "object.metadata.name == 'probe'"}]) == "refused")
    check("a condition that fails", outcome(matchConditions=[{"name": "c", "expression": "object.nope == 'x'"}]) == 403)
    check("ignored", outcome(matchConditions=[{"name": "c", "expression": "object.nope == 'x'"}], failurePolicy="Ignore") == 201)
    check("never by its like", outcome(GROUP + "validatingwebhookconfigurations", rule=rules("*", group="*", version="*")) == 201)
    hooks.close()


def test_bodies(site):
    """Deletions, connections, and subresources that are kinds of their own."""
    api, hooks = site_of(site)
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    pod = {"metadata": {"name": "p"}, "spec": {"automountServiceAccountToken": False, "containers": [{"name": "c", "image": "one"}]}}
    s, o, _ = api.call("POST", NS + "pods", pod)
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "one"}]}}
    api.call("POST", "/apis/apps/v1/namespaces/default/deployments", {"metadata": {"name": "d"}, "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}})
    seen = []
    hooks.handlers["all"] = lambda r: (seen.append(r), {"allowed": not no[0], "status": {"message": "no", "code": 403}})[1]
    no = [True]
    put(api, "validating", "all", hook("all", hooks.client("all"), rules("*/*", operations=["*"], group="*", version="*")))

    def refused(name, s, o, kind, operation, resource, sub, options=None):
        r = seen[-1] if seen else {}
        check(name, s == 403 and o["message"] == 'admission webhook "all.example.com" denied the request: no', (s, o))
        check(name + ": as what", len(seen) == 1 and (r["kind"]["kind"], r["operation"], r["resource"]["resource"], r.get("subResource")) == (kind, operation, resource, sub) and (r["options"] or {}).get("kind") == options, seen)
        seen.clear()
        return r

    s, o, _ = api.call("POST", NS + "pods/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}})
    r = refused("a binding", s, o, "Binding", "CREATE", "pods", "binding", "CreateOptions")
    check("and its object", r["object"]["kind"] == "Binding" and r["object"]["target"]["name"] == "n" and r["name"] == "p" and r["oldObject"] is None, r)
    s, o, _ = api.call("POST", NS + "pods/p/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}})
    r = refused("an eviction", s, o, "Eviction", "CREATE", "pods", "eviction", "CreateOptions")
    check("in its group", r["kind"] == {"group": "policy", "version": "v1", "kind": "Eviction"}, r)
    s, o, _ = api.call("POST", NS + "serviceaccounts/default/token", {"spec": {"audiences": ["x"]}})
    refused("a token", s, o, "TokenRequest", "CREATE", "serviceaccounts", "token", "CreateOptions")
    s, o, _ = api.call("PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", {"spec": {"replicas": 5}}, MERGE)
    r = refused("a scale", s, o, "Scale", "UPDATE", "deployments", "scale", "UpdateOptions")
    check("new and old", r["object"]["spec"]["replicas"] == 5 and r["oldObject"]["spec"]["replicas"] == 2 and r["kind"]["group"] == "autoscaling", r)
    s, o, _ = api.call("POST", NS + "pods/p/exec?command=ls&command=-l&stdout=true&container=c", None)
    r = refused("an exec", s, o, "PodExecOptions", "CONNECT", "pods", "exec")
    check("and what is asked for", r["object"] == {"kind": "PodExecOptions", "apiVersion": "v1", "stdout": True, "container": "c", "command": ["ls", "-l"]} and r["options"] is None, r)
    s, o, _ = api.call("GET", NS + "services/nothing/proxy/x/y")
    r = refused("a proxied request", s, o, "ServiceProxyOptions", "CONNECT", "services", "proxy")
    check("and its path", r["object"]["path"] == "/x/y", r)
    s, o, _ = api.call("PATCH", NS + "pods/p/status", {"status": {"message": "m"}}, MERGE)
    refused("a status", s, o, "Pod", "UPDATE", "pods", "status", "UpdateOptions")
    s, o, _ = api.call("DELETE", NS + "pods/p?gracePeriodSeconds=3")
    r = refused("a deletion", s, o, "Pod", "DELETE", "pods", None, "DeleteOptions")
    check("of what", r["object"] is None and r["oldObject"]["metadata"]["name"] == "p" and r["options"]["gracePeriodSeconds"] == 0 and r["name"] == "p", r)
    s, o, _ = api.call("DELETE", NS + "pods")
    r = refused("a collection's", s, o, "Pod", "DELETE", "pods", None, "DeleteOptions")
    check("which names nobody", "name" not in r and r["oldObject"]["metadata"]["name"] == "p", r)
    s, o, _ = api.call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}})
    refused("a review", s, o, "SelfSubjectAccessReview", "CREATE", "selfsubjectaccessreviews", None, "CreateOptions")
    no[0] = False
    for n in range(40):
        api.call("POST", NS + "configmaps", {"metadata": {"name": "c%d" % n}})
    s, o, _ = api.call("DELETE", NS + "configmaps")
    check("many are deleted, each asked for", s == 200 and api.get(NS + "configmaps")["items"] == [] and len([r for r in seen if r["operation"] == "DELETE"]) == 40, o)
    s, o, _ = api.call("POST", NS + "pods/p/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}})
    check("what is allowed is done", s == 201 and [r for r in seen if r["resource"]["resource"] == "pods"][-1]["subResource"] == "eviction", o)
    drop(api, "validating", "all")
    hooks.handlers["scale"] = lambda r: patch({"op": "replace", "path": "/spec/replicas", "value": 3})
    put(api, "mutating", "scale", hook("scale", hooks.client("scale"), rules("deployments/scale", group="apps")))
    s, o, _ = api.call("PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", {"spec": {"replicas": 5}}, MERGE)
    check("a scale is changed", s == 200 and o["spec"]["replicas"] == 3 and api.get("/apis/apps/v1/namespaces/default/deployments/d")["spec"]["replicas"] == 3, o)
    policy = {"matchConstraints": {"resourceRules": rules("deployments/scale", group="apps")}, "validations": [{"expression": "object.kind == 'Scale' && object.spec.replicas < 3 && oldObject.spec.replicas < 9", "message": "scaled"}]}
    api.call("POST", GROUP + "validatingadmissionpolicies", {"metadata": {"name": "s"}, "spec": policy})
    api.call("POST", GROUP + "validatingadmissionpolicybindings", {"metadata": {"name": "s"}, "spec": {"policyName": "s", "validationActions": ["Deny"]}})
    s, o, _ = api.call("PATCH", "/apis/apps/v1/namespaces/default/deployments/d/scale", {"spec": {"replicas": 1}}, MERGE)
    check("a policy sees what the webhook made of it", s == 422 and o["message"].endswith("scaled"), o)
    hooks.close()


def test_many(site):
    """Requests at the same time, through webhooks that come and go, and a server that stops meanwhile."""
    hooks = Hooks(site.folder)
    server = site.start_server()
    api = server.api
    hooks.handlers["v"] = lambda r: ALLOW
    hooks.handlers["m"] = lambda r: patch({"op": "add", "path": "/data/m", "value": "1"})
    put(api, "validating", "v", *[hook("v%d" % i, hooks.client("v"), rules("configmaps")) for i in range(5)])
    put(api, "mutating", "m", hook("m", hooks.client("m"), rules("configmaps")))
    made = []

    def make(n):
        for i in range(20):
            s, o, _ = api.call("POST", NS + "configmaps", config_map("c-%d-%d" % (n, i), a="1"))
            made.append(s == 201 and o["data"].get("m") == "1")

    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check("all are made, each changed", made == [True] * 160, made.count(False))
    gate = threading.Event()
    hooks.handlers["v"] = lambda r: (gate.wait(60), ALLOW)[1]
    ended = []

    def late():
        try:
            ended.append(api.call("POST", NS + "configmaps", config_map("late", a="1"))[0])
        except Exception as e:
            ended.append(e)

    t = threading.Thread(target=late)
    before = len(hooks.seen("v"))
    t.start()
    check("one is asked", wait_for(lambda: len(hooks.seen("v")) == before + 5))
    check("who stops waits for nobody", server.stop(30) == 0)
    gate.set()
    t.join()
    check("and who waited is told", ended and ended[0] != 201, ended)
    hooks.close()


def convert(request):
    """v1 has spec.both = "a:b", v2 has spec.first and spec.second."""
    out = []
    for o in request["objects"]:
        o = json.loads(json.dumps(o))
        if o["apiVersion"] != request["desiredAPIVersion"]:
            o["apiVersion"] = request["desiredAPIVersion"]
            if o["apiVersion"].endswith("/v2"):
                o["spec"]["first"], o["spec"]["second"] = o["spec"].pop("both").split(":")
            else:
                o["spec"]["both"] = "%s:%s" % (o["spec"].pop("first"), o["spec"].pop("second"))
            o["metadata"].setdefault("labels", {})["converted"] = "yes"
            o["metadata"].pop("creationTimestamp", None)
        out.append(o)
    return {"convertedObjects": out, "result": {"status": "Success"}}


def test_convert(site):
    api, hooks = site_of(site)
    hooks.handlers["convert"] = convert
    text = {"type": "string"}

    def version(name, fields, storage):
        return {"name": name, "served": True, "storage": storage, "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {f: text for f in fields}}}}}}

    def versions(storage):
        return [version("v1", ["both"], storage == "v1"), version("v2", ["first", "second"], storage == "v2")]

    crd = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "pairs.example.com"},
           "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "pairs", "kind": "Pair"}, "versions": versions("v1"),
                    "conversion": {"strategy": "Webhook", "webhook": {"clientConfig": hooks.client("convert"), "conversionReviewVersions": ["v1"]}}}}
    s, o, _ = api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    check("the definition", s == 201, o)
    one, two = "/apis/example.com/v1/namespaces/default/pairs", "/apis/example.com/v2/namespaces/default/pairs"
    check("is served", wait_for(lambda: api.call("GET", one)[0] == 200 and api.call("GET", two)[0] == 200))

    def pair(version, name, **spec):
        return {"apiVersion": "example.com/" + version, "kind": "Pair", "metadata": {"name": name}, "spec": spec}

    s, o, _ = api.call("POST", one, pair("v1", "a", both="x:y"))
    check("made in the version that is stored", s == 201 and o["spec"] == {"both": "x:y"} and not hooks.seen("convert"), o)
    start = o["metadata"]["resourceVersion"]
    uid = o["metadata"]["uid"]
    watch = Watch(api, two + "?watch=1&resourceVersion=" + start)
    first = Watch(api, two + "?watch=1")
    s, o, _ = api.call("GET", two + "/a")
    check("read in the other", s == 200 and o["apiVersion"] == "example.com/v2" and o["spec"] == {"first": "x", "second": "y"} and o["metadata"]["uid"] == uid and o["metadata"]["labels"] == {"converted": "yes"} and "creationTimestamp" in o["metadata"], o)
    r = hooks.reviews[-1]
    check("by a review", r["kind"] == "ConversionReview" and r["apiVersion"] == "apiextensions.k8s.io/v1" and r["request"]["desiredAPIVersion"] == "example.com/v2" and r["request"]["objects"][0]["spec"] == {"both": "x:y"} and hooks.queries[-1] == "timeout=30s", (r, hooks.queries[-1]))
    s, o, _ = api.call("POST", two, pair("v2", "b", first="p", second="q"))
    check("made in the other", s == 201 and o["spec"] == {"first": "p", "second": "q"} and o["apiVersion"] == "example.com/v2", o)
    s, o, _ = api.call("GET", one + "/b")
    check("and stored in its own", s == 200 and o["spec"] == {"both": "p:q"}, o)
    s, o, _ = api.call("PATCH", two + "/a", {"spec": {"second": "z"}}, MERGE)
    check("changed in the other", s == 200 and o["spec"] == {"first": "x", "second": "z"} and o["metadata"]["generation"] == 2, o)
    s, o, _ = api.call("PATCH", two + "/a", {"spec": {"second": "z"}}, MERGE)
    check("to what it is", s == 200 and o["metadata"]["generation"] == 2, o)
    s, o, _ = api.call("GET", two)
    check("a list", s == 200 and [i["spec"] for i in o["items"]] == [{"first": "x", "second": "z"}, {"first": "p", "second": "q"}] and {i["apiVersion"] for i in o["items"]} == {"example.com/v2"}, o)
    s, o, _ = api.call("GET", two, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    check("as a table", s == 200 and [row["cells"][0] for row in o["rows"]] == ["a", "b"], o)
    events = watch.wait(2)
    check("a watch tells all in its version", [(e["type"], e["object"]["metadata"]["name"], e["object"].get("spec")) for e in events[:2]] == [("ADDED", "b", {"first": "p", "second": "q"}), ("MODIFIED", "a", {"first": "x", "second": "z"})], events)
    crd["spec"]["versions"] = versions("v2")
    s, o, _ = api.call("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/pairs.example.com", {"spec": {"versions": crd["spec"]["versions"]}}, MERGE)
    check("another version is stored from now on", s == 200, o)
    # A watch ends where its definition changes.
    watch.close()
    watch = Watch(api, two + "?watch=1&resourceVersion=" + api.get(two)["metadata"]["resourceVersion"])

    s, o, _ = api.call("POST", two, pair("v2", "c", first="1", second="2"))
    check("made in it", s == 201, o)
    for path, specs in ((one, [{"both": "x:z"}, {"both": "p:q"}, {"both": "1:2"}]), (two, [{"first": "x", "second": "z"}, {"first": "p", "second": "q"}, {"first": "1", "second": "2"}])):
        s, o, _ = api.call("GET", path)
        check("a list of both " + path, s == 200 and [i["spec"] for i in o["items"]] == specs, o)
    s, o, _ = api.call("DELETE", two + "/b")
    check("deleted in the other", s == 200, o)
    events = watch.wait(2)
    check("so does one of since then", [(e["type"], e["object"]["metadata"]["name"], e["object"].get("spec")) for e in events[:2]] == [("ADDED", "c", {"first": "1", "second": "2"}), ("DELETED", "b", {"first": "p", "second": "q"})], events)
    events = first.wait(1)
    check("and what was there", events[0]["type"] == "ADDED" and events[0]["object"]["spec"] == {"first": "x", "second": "y"}, events)
    hooks.handlers["convert"] = lambda r: {"convertedObjects": [], "result": {"status": "Failed", "message": "cannot"}}
    s, o, _ = api.call("POST", two, pair("v2", "d", first="1", second="2"))
    s, o, _ = api.call("GET", one + "/d")
    check("a failure is told", s == 500 and o["message"] == "conversion webhook for example.com/v2, Kind=Pair failed: cannot", o)
    s, o, _ = api.call("POST", one, pair("v1", "e", both="1:2"))
    check("to who writes too", s == 500 and o["message"] == "conversion webhook for example.com/v1, Kind=Pair failed: cannot", o)
    hooks.handlers["convert"] = lambda r: dict(convert(r), convertedObjects=[])
    s, o, _ = api.call("GET", one + "/d")
    check("too few", s == 500 and o["message"] == "conversion webhook for example.com/v2, Kind=Pair returned 0 objects, expected 1", o)
    hooks.handlers["convert"] = lambda r: {"convertedObjects": r["objects"], "result": {"status": "Success"}}
    s, o, _ = api.call("GET", one + "/d")
    check("the wrong version", s == 500 and o["message"] == "conversion webhook for example.com/v2, Kind=Pair returned invalid object at index 0: invalid groupVersion (expected example.com/v1, received example.com/v2)", o)
    hooks.handlers["convert"] = convert
    for n in range(30):
        api.call("POST", two, pair("v2", "m%d" % n, first="1", second="2"))
    s, o, _ = api.call("DELETE", one)
    check("a collection is deleted", s == 200 and api.get(one)["items"] == [], o)
    hooks.close()


def test_credentials(site):
    """Who this server is to each webhook: by the users of a kubeconfig, which are named by servers."""
    hooks = Hooks(site.folder)
    hooks.handlers["v"] = lambda r: ALLOW
    hooks.handlers["m"] = lambda r: ALLOW
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, cwd=site.folder, stderr=subprocess.DEVNULL)
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "me.key", "-subj", "/CN=me", "-out", "me.csr")
    openssl("x509", "-req", "-in", "me.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-out", "me.pem")
    token = os.path.join(site.folder, "token")
    with open(token, "w") as f:
        f.write("first\n")
    names = {"v.yaml": [("127.0.0.1:%d" % hooks.port, {"client-certificate": "me.pem", "client-key": "me.key"}), ("*", {"token": "star"})],
             "m.yaml": [("127.0.0.2:%d" % hooks.port, {"token": "no"}), ("*.0.0.1:%d" % hooks.port, {"username": "u", "password": "p:w"}), ("localhost", {"token": "no"}), ("current", {"tokenFile": "token"})]}
    for name, users in names.items():
        with open(os.path.join(site.folder, name), "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "users": [{"name": n, "user": u} for n, u in users], "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "x", "user": "current"}}]}, f)
    plugin = lambda name, file: {"name": name, "configuration": {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration", "kubeConfigFile": file}}
    config = os.path.join(site.folder, "admission.json")

    def configure(*plugins):
        with open(config, "w") as f:
            json.dump({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}, f)
    configure(plugin("ValidatingAdmissionWebhook", os.path.join(site.folder, "v.yaml")), plugin("MutatingAdmissionWebhook", os.path.join(site.folder, "m.yaml")))
    api = site.start_server("--admission-control-config-file", config).api

    def shown(sort, path, host="127.0.0.1"):
        hooks.shown.clear()
        put(api, sort, "w", hook("w", hooks.client(path, host), rules("configmaps")))
        s, o, _ = api.call("POST", NS + "configmaps?dryRun=All", config_map("c"))
        drop(api, sort, "w")
        return hooks.shown[0] if s == 201 and hooks.shown else (s, o)
    got = shown("validating", "v")
    check("a certificate", got[0] is None and got[1] and (("commonName", "me"),) in got[1]["subject"], got)
    check("a token for all others", shown("validating", "v", "localhost") == ("Bearer star", None))
    check("a name and a password", shown("mutating", "m") == ("Basic " + base64.b64encode(b"u:p:w").decode(), None))
    check("who is current", shown("mutating", "m", "localhost") == ("Bearer first", None))
    with open(token, "w") as f:
        f.write("second")
    check("a token's file is read again", shown("mutating", "m", "localhost") == ("Bearer second", None))
    for text, says in (({"kubeConfigFile": "v.yaml"}, "kubeConfigFile: Invalid value"), ({"kubeConfigFile": "/none"}, "/none"), ({"kubeConfigFile": "", "staticManifestsDir": "/x"}, "staticManifestsDir: Forbidden"), ({"kubeconfig": ""}, "unknown field")):
        configure({"name": "ValidatingAdmissionWebhook", "configuration": dict({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "WebhookAdmissionConfiguration"}, **text)})
        bad = site.start_server("--admission-control-config-file", config, wait=False)
        check("refused: " + says, wait_for(lambda: not bad.alive()) and says in bad.text(), bad.text())
    hooks.close()


run([test_validate, test_failures, test_mutate, test_matching, test_bodies, test_convert, test_many, test_credentials])
