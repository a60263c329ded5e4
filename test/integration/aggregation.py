#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""API servers of others as a part of ours: what is registered, passed on, found and told, and what becomes of it when they fail.

usage: test/integration/aggregation.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, http.client, json, os, socket, ssl, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from extension import Extension, api_service, flavor, own_address, service_objects
from servers import Api, Watch, check, free_port, run, wait_for

SERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
FLAVORS = "/apis/flavors.example.com/v1/namespaces/default/flavors"
NAME = "v1.flavors.example.com"
V2 = {"Accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
MERGE = "application/merge-patch+json"


def available(api, name=NAME):
    s, o, _ = api.call("GET", SERVICES + "/" + name)
    found = [c for c in o.get("status", {}).get("conditions", []) if c["type"] == "Available"]
    return found[0] if found else {}


def becomes(api, status, reason, name=NAME):
    return wait_for(lambda: available(api, name).get("status") == status and available(api, name)["reason"] == reason)


def told(api):
    """The group's versions in aggregated discovery."""
    items = [g for g in api.call("GET", "/apis", headers=V2)[1]["items"] if g["metadata"]["name"] == "flavors.example.com"]
    return items[0]["versions"] if items else []


def site_of(site, *args, **more):
    extension = Extension(site.folder, "extension.kube-public.svc")
    proxy = ["--proxy-client-cert-file", os.path.join(site.folder, "proxy.pem"), "--proxy-client-key-file", os.path.join(site.folder, "proxy.key")]
    return site.start_server(*proxy, *args).api, extension


def connect(api, extension, ns="kube-public", name="extension", **spec):
    for path, o in zip(("/api/v1/namespaces/%s/services", "/apis/discovery.k8s.io/v1/namespaces/%s/endpointslices"), service_objects(ns, name, own_address(), extension.port)):
        s, made, _ = api.call("POST", path % ns, o)
        check("its " + o["kind"], s == 201, made)
    s, made, _ = api.call("POST", SERVICES, api_service("flavors.example.com", "v1", ns, name, extension.ca, **spec))
    check("its APIService", s == 201, made)


def test_registered(site):
    server = site.start_server()
    api = server.api
    items = {i["metadata"]["name"]: i for i in api.get(SERVICES)["items"]}
    apps = items["v1.apps"]
    check("what is built in is registered", apps["spec"] == {"group": "apps", "version": "v1", "groupPriorityMinimum": 17800, "versionPriority": 15} and
          apps["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "onstart"} and "v1." in items and items["v2.autoscaling"]["spec"]["versionPriority"] == 30, apps)
    c = apps["status"]["conditions"]
    check("and available", [(x["type"], x["status"], x["reason"], x["message"]) for x in c] == [("Available", "True", "Local", "Local APIServices are always available")], c)
    check("but not the registrations", not any(n.endswith("apiregistration.k8s.io") for n in items), list(items))
    s, o, _ = api.call("PATCH", SERVICES + "/v1.apps", {"spec": {"versionPriority": 7}}, MERGE)
    s, _, _ = api.call("DELETE", SERVICES + "/v1.batch")
    check("who deletes one has it so", s == 200 and api.call("GET", SERVICES + "/v1.batch")[0] == 404 and api.call("GET", "/apis/batch/v1")[0] == 200)
    api.call("POST", SERVICES, {"metadata": {"name": "v9.apps", "labels": {"kube-aggregator.kubernetes.io/automanaged": "onstart"}}, "spec": {"group": "apps", "version": "v9", "groupPriorityMinimum": 1, "versionPriority": 1}})
    s, o, _ = api.call("GET", SERVICES + "/v9.apps")
    check("a local one is available at once", o["status"]["conditions"][0]["reason"] == "Local", o)
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    crd = {"metadata": {"name": "pairs.example.org"}, "spec": {"group": "example.org", "scope": "Namespaced", "names": {"plural": "pairs", "kind": "Pair"}, "versions": [
        {"name": "v1", "served": True, "storage": True, "schema": schema}, {"name": "v2beta1", "served": True, "storage": False, "schema": schema}]}}
    api.call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    check("custom resources are registered", wait_for(lambda: api.call("GET", SERVICES + "/v2beta1.example.org")[0] == 200 and api.call("GET", SERVICES + "/v1.example.org")[0] == 200))
    o = api.get(SERVICES + "/v1.example.org")
    check("as such", o["spec"] == {"group": "example.org", "version": "v1", "groupPriorityMinimum": 1000, "versionPriority": 100} and o["metadata"]["labels"] == {"kube-aggregator.kubernetes.io/automanaged": "true"}, o)
    api.call("DELETE", SERVICES + "/v1.example.org")
    api.call("PATCH", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/pairs.example.org", {"metadata": {"labels": {"x": "y"}}}, MERGE)
    check("and registered again", wait_for(lambda: api.call("GET", SERVICES + "/v1.example.org")[0] == 200))
    api.call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/pairs.example.org")
    check("until they go", wait_for(lambda: api.call("GET", SERVICES + "/v1.example.org")[0] == 404 and api.call("GET", SERVICES + "/v2beta1.example.org")[0] == 404))
    s, o, h = api.call("GET", SERVICES, headers={"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"})
    row = [r["cells"] for r in o["rows"] if r["cells"][0] == "v1.apps"]
    check("as kubectl shows them", [c["name"] for c in o["columnDefinitions"]] == ["Name", "Service", "Available", "Age"] and row[0][1:3] == ["Local", "True"], row)
    metrics = api.call("GET", SERVICES + "/v1beta1.metrics.k8s.io")[1]
    check("metrics are ours", metrics["status"]["conditions"][0]["reason"] == "Local", metrics)
    own = dict(metrics["spec"], service={"namespace": "kube-system", "name": "metrics-server"}, insecureSkipTLSVerify=True)
    s, o, _ = api.call("PATCH", SERVICES + "/v1beta1.metrics.k8s.io", {"spec": own}, MERGE)
    check("until somebody brings a server", s == 200 and becomes(api, "False", "ServiceNotFound", "v1beta1.metrics.k8s.io"), o)
    server.stop()
    api = site.start_server().api
    check("a start brings back what should be", api.call("GET", SERVICES + "/v1.batch")[0] == 200 and api.get(SERVICES + "/v1.apps")["spec"]["versionPriority"] == 15 and api.call("GET", SERVICES + "/v9.apps")[0] == 404)
    check("and takes no server away", api.get(SERVICES + "/v1beta1.metrics.k8s.io")["spec"]["service"]["name"] == "metrics-server")


def test_status(site):
    api = site.start_server().api
    s, o, _ = api.call("POST", SERVICES, dict(api_service("a.example.com", "v1", "default", "none"), status={"conditions": [{"type": "Available", "status": "True"}]}))
    check("nobody brings a status along", s == 201 and "conditions" not in o.get("status", {}), o)
    check("no service", becomes(api, "False", "ServiceNotFound", "v1.a.example.com"))
    c = available(api, "v1.a.example.com")
    check("in these words", c["message"] == 'service/none in "default" is not present', c)
    s, o, _ = api.call("PATCH", SERVICES + "/v1.a.example.com/status", {"status": {"conditions": [{"type": "Mine", "status": "True", "reason": "R", "message": "m", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}, "spec": {"versionPriority": 3}, "metadata": {"labels": {"no": "no"}}}, MERGE)
    check("status alone is written by that", s == 200 and o["spec"]["versionPriority"] == 15 and "labels" not in o["metadata"] and o["status"]["conditions"][0]["type"] == "Mine", o)
    s, o, _ = api.call("GET", SERVICES + "/v1.a.example.com/status")
    o["status"]["conditions"].append({"type": "Other", "status": "False"})
    s, o, _ = api.call("PUT", SERVICES + "/v1.a.example.com/status", o)
    check("and by PUT", s in (200, 409), o)
    s, o, _ = api.call("POST", SERVICES, {"metadata": {"name": "v1.b.example.com"}, "spec": {"group": "c.example.com", "version": "v1", "groupPriorityMinimum": 0, "versionPriority": 1001, "service": {"name": "x", "namespace": "y"}, "caBundle": "WA==", "insecureSkipTLSVerify": True}})
    check("is validated", s == 422 and {c["field"] for c in o["details"]["causes"]} == {"metadata.name", "spec.groupPriorityMinimum", "spec.versionPriority", "spec.insecureSkipTLSVerify"}, o)
    s, o, _ = api.call("DELETE", SERVICES + "?labelSelector=nothing%3Dhere")
    check("as a collection", s == 200, o)
    api.call("PATCH", SERVICES + "/v1.a.example.com", {"spec": {"service": None, "insecureSkipTLSVerify": False}}, MERGE)
    check("local again", becomes(api, "True", "Local", "v1.a.example.com"))
    groups = [g["name"] for g in api.get("/apis")["groups"]]
    check("and listed", groups[:3] == ["apiregistration.k8s.io", "apps", "events.k8s.io"] and "a.example.com" in groups, groups)


def test_conditions(site):
    api, extension = site_of(site)
    api.call("POST", SERVICES, api_service("flavors.example.com", "v1", "kube-public", "extension", extension.ca))
    check("no service", becomes(api, "False", "ServiceNotFound"))
    s, o, h = api.call("GET", FLAVORS)
    check("it is not available", s == 503 and o == "service unavailable\n" and h["Content-Type"].startswith("text/plain"), (s, o))
    check("and told to be stale", told(api) == [{"version": "v1", "freshness": "Stale"}], told(api))
    check("in the list of groups all the same", any(g["name"] == "flavors.example.com" for g in api.get("/apis")["groups"]))
    service, endpoints = service_objects("kube-public", "extension", own_address(), extension.port)
    slices = "/apis/discovery.k8s.io/v1/namespaces/kube-public/endpointslices"
    service["spec"]["ports"][0]["port"] = 444
    api.call("POST", "/api/v1/namespaces/kube-public/services", service)
    check("another port", becomes(api, "False", "ServicePortError") and available(api)["message"] == 'service/extension in "kube-public" is not listening on port 443', available(api))
    api.call("PATCH", "/api/v1/namespaces/kube-public/services/extension", [{"op": "replace", "path": "/spec/ports/0/port", "value": 443}], "application/json-patch+json")
    check("no slices", becomes(api, "False", "EndpointsNotFound") and available(api)["message"] == 'cannot find endpointslices for service/extension in "kube-public"', available(api))
    endpoints["endpoints"][0]["conditions"]["ready"] = False
    api.call("POST", slices, endpoints)
    check("none is ready", becomes(api, "False", "MissingEndpoints") and available(api)["message"] == 'endpointslices for service/extension in "kube-public" have no addresses with port name "https"', available(api))
    extension.broken = True
    api.call("PATCH", slices + "/extension-1", {"endpoints": [{"addresses": [own_address()], "conditions": {"ready": True}}]}, MERGE)
    url = "https://%s:%d/apis/flavors.example.com/v1" % (own_address(), extension.port)
    check("it fails", becomes(api, "False", "FailedDiscoveryCheck") and available(api)["message"] == "failing or missing response from %s: bad status from %s: 500" % (url, url), available(api))
    extension.broken = False
    check("it does well", becomes(api, "True", "Passed") and available(api)["message"] == "all checks passed", available(api))
    since = available(api)["lastTransitionTime"]
    check("and is known", wait_for(lambda: told(api) and told(api)[0]["freshness"] == "Current"), told(api))
    api.call("PATCH", SERVICES + "/" + NAME, {"spec": {"caBundle": None}}, MERGE)
    check("an authority nobody knows", becomes(api, "False", "FailedDiscoveryCheck") and "certificate signed by unknown authority" in available(api)["message"], available(api))
    api.call("PATCH", SERVICES + "/" + NAME, {"spec": {"insecureSkipTLSVerify": True}}, MERGE)
    check("that nobody asks for", becomes(api, "True", "Passed"), available(api))
    s, o, _ = api.call("GET", "/metrics")
    check("it is counted", 'aggregator_unavailable_apiservice{name="%s"} 0' % NAME in o and 'aggregator_unavailable_apiservice_total{name="%s",reason="FailedDiscoveryCheck"} 1' % NAME in o, [l for l in o.split("\n") if "aggregator" in l])
    extension.close()
    api.call("PATCH", SERVICES + "/" + NAME, {"spec": {"service": {"port": 8443}}}, MERGE)
    check("of a port that is not there", becomes(api, "False", "ServicePortError"), available(api))
    api.call("DELETE", SERVICES + "/" + NAME)
    check("and forgotten", told(api) == [] and api.call("GET", FLAVORS)[0] == 404, api.call("GET", FLAVORS))
    check("since then it had been", since)


def test_passed_on(site):
    api, extension = site_of(site)
    connect(api, extension)
    check("available", becomes(api, "True", "Passed"), available(api))
    s, o, _ = api.call("POST", FLAVORS + "?fieldManager=me&dryRun=", flavor("default", "one"))
    check("made", s == 201 and o["metadata"]["uid"] == "uid-one", (s, o))
    r = extension.seen(FLAVORS)[-1]
    h = r["headers"]
    check("as it was sent", r["method"] == "POST" and r["query"] == "fieldManager=me&dryRun=" and json.loads(r["body"]) == flavor("default", "one") and h["Content-Type"] == "application/json", r)
    check("by whom", h.get_all("X-Remote-User") == ["admin"] and h.get_all("X-Remote-Group") == ["system:masters", "system:authenticated"] and h["X-Remote-Uid"] == "1" and h["Authorization"] is None, h.items())
    check("with our certificate", ((("commonName", "proxy"),),) == r["certificate"]["subject"], r["certificate"])
    api.call("GET", FLAVORS + "/one", headers={"X-Remote-User": "evil", "X-Remote-Group": "system:masters", "X-Remote-Extra-A": "b", "X-Remote-Uid": "0", "Impersonate-User": "alice", "Impersonate-Extra-Some%2fThing": "x", "Impersonate-Uid": "u7"})
    check("nobody is told of headers from outside", not extension.seen(FLAVORS + "/one"), "alice may not")
    rules = [{"apiGroups": ["flavors.example.com"], "resources": ["flavors"], "verbs": ["get", "list"]}]
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": "flavors"}, "rules": rules})
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {"metadata": {"name": "flavors"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "flavors"}, "subjects": [{"kind": "User", "name": "alice", "apiGroup": "rbac.authorization.k8s.io"}]})
    s, o, _ = api.call("GET", FLAVORS + "/one", headers={"X-Remote-User": "evil", "X-Remote-Extra-A": "b", "X-Remote-Uid": "0", "Impersonate-User": "alice", "Impersonate-Extra-Some%2fThing": "x", "Impersonate-Uid": "u7"})
    h = extension.seen(FLAVORS + "/one")[-1]["headers"]
    check("but of whom is spoken for", s == 200 and h.get_all("X-Remote-User") == ["alice"] and h["X-Remote-Uid"] == "u7" and h["X-Remote-Extra-some%2Fthing"] == "x" and h["X-Remote-Extra-A"] is None and not [k for k in h if k.startswith("Impersonate")], (s, h.items()))
    alice = Api(api.port, "usertoken")
    s, o, _ = alice.call("DELETE", FLAVORS + "/one")
    check("rights are judged here", s == 403 and o["message"] == 'flavors.flavors.example.com "one" is forbidden: User "alice" cannot delete resource "flavors" in API group "flavors.example.com" in the namespace "default"', o)
    check("and who nobody knows", Api(api.port, "nonsense").call("GET", FLAVORS)[0] == 401)
    watch = Watch(api, FLAVORS + "?watch=1&resourceVersion=0")
    watch.wait(1)
    s, o, _ = api.call("PATCH", FLAVORS + "/one", {"spec": {"taste": "sour"}}, MERGE)
    check("changed", s == 200 and o["spec"] == {"taste": "sour"} and extension.seen(FLAVORS + "/one")[-1]["headers"]["Content-Type"] == MERGE, o)
    s, o, _ = api.call("PUT", FLAVORS + "/one", flavor("default", "one", "bitter"))
    check("replaced", s == 200 and o["spec"] == {"taste": "bitter"}, o)
    s, o, _ = api.call("DELETE", FLAVORS + "/one")
    check("deleted", s == 200, o)
    events = watch.wait(4)
    check("all that is watched", [(e["type"], e["object"]["spec"]["taste"]) for e in events] == [("ADDED", "sweet"), ("MODIFIED", "sour"), ("MODIFIED", "bitter"), ("DELETED", "bitter")], events)
    extension.aborted.clear()
    s = api.tls.wrap_socket(socket.create_connection(("127.0.0.1", api.port), 60))
    s.sendall(("GET %s?watch=1&resourceVersion=5 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer admintoken\r\n\r\n" % FLAVORS).encode())
    check("a watch begins at once", s.recv(12) == b"HTTP/1.1 200")
    s.close()
    check("whoever goes is gone there too", extension.aborted.wait(60))
    s, o, _ = api.call("GET", FLAVORS + "/one")
    check("its errors are its own", s == 404 and o["message"] == 'flavors.flavors.example.com "one" not found', o)
    s, o, h = api.call("GET", FLAVORS + "/redirect")
    check("nobody is sent elsewhere", s == 502 and o == "the backend attempted to redirect this request, which is not permitted" and h["Location"] is None, (s, o, h.items()))
    s, o, _ = api.call("GET", FLAVORS + "/large")
    check("a large answer", s == 200 and len(o["spec"]["taste"]) == 12 << 20)
    body = flavor("default", "big", "y" * (2 << 20))
    s, o, _ = api.call("POST", FLAVORS, body)
    check("a large request", s == 201 and extension.objects["default", "big"]["spec"]["taste"] == body["spec"]["taste"], str(o)[:100])
    s, o, _ = api.call("GET", FLAVORS + "/cut")
    check("an answer that breaks off", s == 503 and o == "error trying to reach service: unexpected EOF\n", (s, o))
    for name in ("torn", "garbled"):
        try:
            seen = api.call("GET", FLAVORS + "/" + name)[0]
        except (http.client.IncompleteRead, ConnectionError, ssl.SSLError) as e:
            seen = e
        check("one that breaks off behind its beginning is not taken for whole: " + name, isinstance(seen, Exception), seen)
    s, o, h = api.call("HEAD", FLAVORS + "/big")
    check("only its head", s == 200 and int(h["Content-Length"] or 0) >= 0, h.items())
    slow = []
    thread = threading.Thread(target=lambda: slow.append(api.call("GET", FLAVORS + "/slow?timeout=1s")))
    thread.start()
    thread.join(60)
    check("one that takes too long", slow and slow[0][0] == 504 and slow[0][1]["reason"] == "Timeout" and slow[0][1]["message"] == "Timeout: request did not complete within the allotted timeout", slow)
    extension.gate.set()
    s, o, _ = api.call("GET", "/apis/flavors.example.com/v1/nothing")
    check("what is not there", s == 404 and o["reason"] == "NotFound", o)
    s, o, _ = api.call("GET", "/apis/flavors.example.com/v1")
    check("its resources", s == 200 and [r["name"] for r in o["resources"]] == ["flavors", "flavors/status"], o)
    s, o, _ = api.call("GET", FLAVORS, headers={"Via": "1.1 other, 1.1 " + extension.seen(FLAVORS)[-1]["headers"]["Via"].split()[-1]})
    check("a loop is caught", s == 508, (s, o))
    before = len(extension.seen(FLAVORS + "/a%2Fb"))
    api.call("GET", FLAVORS + "/a%2Fb?x=%20&y=a+b")
    seen = extension.seen(FLAVORS + "/a%2Fb")
    check("paths go as they are", len(seen) == before + 1 and seen[-1]["query"] == "x=%20&y=a+b", seen)


def test_upgrades(site):
    api, extension = site_of(site)
    connect(api, extension)
    check("available", becomes(api, "True", "Passed"), available(api))
    s = api.tls.wrap_socket(socket.create_connection(("127.0.0.1", api.port), 60))
    s.sendall(("POST %s/one/exec?command=x HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer admintoken\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\nContent-Length: 0\r\n\r\n" % FLAVORS).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        more = s.recv(1)
        if not more:
            break
        head += more
    check("a stream is opened", head.startswith(b"HTTP/1.1 101") and b"upgrade: spdy/3.1" in head.lower(), head)
    s.sendall(b"hello")
    got = b""
    while len(got) < 5:
        got += s.recv(5 - len(got))
    check("and runs both ways", got == b"HELLO", got)
    r = extension.seen(FLAVORS + "/one/exec")[-1]
    check("of whom it is", r["headers"]["X-Remote-User"] == "admin" and r["headers"]["X-Stream-Protocol-Version"] == "v4.channel.k8s.io" and r["query"] == "command=x", r["headers"].items())
    s.close()


def test_found(site):
    api, extension = site_of(site)
    connect(api, extension)
    check("available", becomes(api, "True", "Passed"), available(api))
    check("its resources are known", wait_for(lambda: told(api) and told(api)[0]["freshness"] == "Current" and "resources" in told(api)[0]), told(api))
    (v,) = told(api)
    check("as it tells them", v["resources"][0]["resource"] == "flavors" and v["resources"][0]["shortNames"] == ["flv"] and v["resources"][0]["subresources"][0]["subresource"] == "status", v)
    order = [g["metadata"]["name"] for g in api.call("GET", "/apis", headers=V2)[1]["items"]]
    check("before what is less", order.index("flavors.example.com") == order.index("metrics.k8s.io") - 1 and order[0] == "apiregistration.k8s.io", order)
    s, o, _ = api.call("GET", "/apis/flavors.example.com")
    check("the group", s == 200 and o["preferredVersion"] == {"groupVersion": "flavors.example.com/v1", "version": "v1"} and len(o["versions"]) == 1, o)
    check("among all", {"name": "flavors.example.com", "versions": o["versions"], "preferredVersion": o["preferredVersion"]} in api.get("/apis")["groups"])
    check("among the paths", "/apis/flavors.example.com/v1" in api.get("/")["paths"])
    check("documents", wait_for(lambda: "apis/flavors.example.com/v1" in api.get("/openapi/v3")["paths"]))
    index = api.get("/openapi/v3")["paths"]
    url = index["apis/flavors.example.com/v1"]["serverRelativeURL"]
    check("under their own hash", url == "/openapi/v3/apis/flavors.example.com/v1?hash=ABC" and "/openapi/v3/version?hash=D" != index["version"]["serverRelativeURL"], index["version"])
    s, o, _ = api.call("GET", url)
    check("are passed on", s == 200 and "com.example.flavors.v1.Flavor" in o["components"]["schemas"], o)
    s, o, _ = api.call("GET", index["apis/flavors.example.com"]["serverRelativeURL"])
    check("of the group too", s == 200 and o["paths"] == {"/apis/flavors.example.com/": {}}, (s, o))
    check("ours are ours", api.get("/openapi/v3/apis/apps")["info"]["title"] == "Kubernetes" and api.call("GET", "/openapi/v3/apis/nobody")[0] == 404)
    o = api.get("/openapi/v2")
    d = o["definitions"]
    path = "/apis/flavors.example.com/v1/namespaces/{namespace}/flavors/{name}"
    check("and one of all", path in o["paths"] and o["paths"][path]["get"]["responses"]["200"]["schema"] == {"$ref": "#/definitions/com.example.flavors.v1.Flavor"} and "/version/" in o["paths"] and o["paths"]["/version/"]["get"]["operationId"] == "getCodeVersion", list(o["paths"])[-3:])
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    check("where one name means one thing", d["com.example.flavors.v1.Flavor"]["properties"]["metadata"] == {"$ref": "#/definitions/" + meta + "_v2"} and "in other words" in str(d[meta + "_v2"]) and "in other words" not in str(d[meta]) and "com.example.flavors.v1.Unused" not in d, d["com.example.flavors.v1.Flavor"])
    extension.legacy = True
    api.call("PATCH", SERVICES + "/" + NAME, {"spec": {"versionPriority": 20, "insecureSkipTLSVerify": True, "caBundle": None}}, MERGE)
    check("also in the older form", wait_for(lambda: told(api) and told(api)[0]["freshness"] == "Current" and [r for r in extension.seen("/apis") if r["headers"]["Accept"].startswith("application/json;g=")] and told(api)[0] == v), (told(api), v))
    extension.broken = True
    api.call("PATCH", SERVICES + "/" + NAME, {"spec": {"insecureSkipTLSVerify": False, "caBundle": extension.ca}}, MERGE)
    check("stale where it fails", wait_for(lambda: told(api) == [{"version": "v1", "freshness": "Stale"}]), told(api))
    extension.broken = False


def test_trusted(site):
    """What a server of others is told of whom to trust, and that we trust the same."""
    Extension(site.folder, "x").close()
    ca = os.path.join(site.folder, "extension-ca.pem")
    api = site.start_server("--client-ca-file", ca, "--requestheader-client-ca-file", ca, "--requestheader-allowed-names", "proxy", "--requestheader-username-headers", "X-Remote-User",
                            "--requestheader-uid-headers", "X-Remote-Uid", "--requestheader-group-headers", "X-Remote-Group", "--requestheader-extra-headers-prefix", "X-Remote-Extra-").api
    data = api.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")["data"]
    with open(ca) as f:
        pem = f.read()
    check("it stands there", data == {"client-ca-file": pem, "requestheader-client-ca-file": pem, "requestheader-allowed-names": '["proxy"]', "requestheader-username-headers": '["X-Remote-User"]', "requestheader-uid-headers": '["X-Remote-Uid"]',
                                      "requestheader-group-headers": '["X-Remote-Group"]', "requestheader-extra-headers-prefix": '["X-Remote-Extra-"]'}, data)
    front = Api(api.port, None)
    front.tls.load_cert_chain(os.path.join(site.folder, "proxy.pem"), os.path.join(site.folder, "proxy.key"))
    s, o, _ = front.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}, headers={"X-Remote-User": "carol", "X-Remote-Uid": "u9", "X-Remote-Group": "system:masters", "X-Remote-Extra-Color": "red"})
    who = o.get("status", {}).get("userInfo")
    check("who it speaks for", s == 201 and who["username"] == "carol" and who["uid"] == "u9" and "system:masters" in who["groups"] and who["extra"] == {"color": ["red"]}, o)


def test_routes(site):
    api, extension = site_of(site, "--enable-aggregator-routing=false")
    s, o, _ = api.call("POST", "/api/v1/namespaces/kube-public/services", {"metadata": {"name": "extension"}, "spec": {"type": "ExternalName", "externalName": "localhost"}})
    api.call("POST", SERVICES, api_service("flavors.example.com", "v1", "kube-public", "extension", extension.ca, service={"namespace": "kube-public", "name": "extension", "port": extension.port}))
    check("a service by another name", becomes(api, "True", "Passed"), available(api))
    s, o, _ = api.call("GET", FLAVORS)
    check("is reached", s == 200 and o["kind"] == "FlavorList", o)
    api.call("PATCH", "/api/v1/namespaces/kube-public/services/extension", {"spec": {"externalName": "nowhere.invalid"}}, MERGE)
    check("one that is nowhere", becomes(api, "False", "FailedDiscoveryCheck") and "nowhere.invalid" in available(api)["message"], available(api))
    api.call("DELETE", "/api/v1/namespaces/kube-public/services/extension")
    service, endpoints = service_objects("kube-public", "extension", own_address(), extension.port)
    service["spec"]["clusterIP"] = "None"
    api.call("POST", "/api/v1/namespaces/kube-public/services", service)
    api.call("POST", "/apis/discovery.k8s.io/v1/namespaces/kube-public/endpointslices", endpoints)
    api.call("PATCH", SERVICES + "/" + NAME, {"spec": {"service": {"port": 443}}}, MERGE)
    check("cluster addresses are asked for", wait_for(lambda: available(api).get("message") == 'cannot route to service with ClusterIP "None"'), available(api))


if __name__ == "__main__":
    run([test_registered, test_status, test_conditions, test_passed_on, test_upgrades, test_found, test_trusted, test_routes])
