#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What goes over the wire, to the letter: how answers are framed, what is said of malformed paths, queries, types and bodies, and in which order.

usage: test/integration/wire.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import gzip, json, os, socket, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import check, run

NS = "/api/v1/namespaces/default/"
CM = NS + "configmaps"
PODS = NS + "pods"
APPS = "/apis/apps/v1/namespaces/default/"
MERGE, STRATEGIC, APPLY, JSON_PATCH = "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml", "application/json-patch+json"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def raw(api, text):
    """All that comes back until the connection ends."""
    out = b""
    with socket.create_connection((api.host, api.port), timeout=60) as plain, api.tls.wrap_socket(plain) as s:
        s.sendall(text.encode() if isinstance(text, str) else text)
        while True:
            data = s.recv(65536)
            if not data:
                return out
            out += data


def config_map(name, size=1, **more):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"x": "y" * size}, **more}


def message(o):
    return o.get("message", "") if isinstance(o, dict) else o


def test_framing(site):
    """As Go's server has it: what is more than 2 KiB goes in chunks, what is less with its length."""
    api = site.start_server().api
    api.call("POST", CM, config_map("small"))
    for size, chunked in ((1000, False), (3000, True), (200000, True)):
        name = f"c{size}"
        s, o, h = api.call("POST", CM, config_map(name, size))
        check(f"made, {size}", s == 201 and (h["Transfer-Encoding"] == "chunked") == chunked and (h["Content-Length"] is None) == chunked, h.items())
        s, got, h = api.call("GET", f"{CM}/{name}")
        check(f"read, {size}", s == 200 and got == o and (h["Transfer-Encoding"] == "chunked") == chunked, h.items())
    auth = f"Authorization: Bearer {api.token}\r\n"
    # No chunks for who knows none, and none where nothing comes.
    old = raw(api, f"GET {CM}/c3000 HTTP/1.0\r\nHost: x\r\n{auth}\r\n")
    check("HTTP/1.0", b"chunked" not in old.split(b"\r\n\r\n")[0] and json.loads(old.split(b"\r\n\r\n", 1)[1])["data"]["x"] == "y" * 3000, old[:300])
    # A request behind the other: the first one's end is where it says.
    both = raw(api, f"GET {CM}/c3000 HTTP/1.1\r\nHost: x\r\n{auth}\r\nGET {CM}/small HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{auth}\r\n")
    check("one behind the other", both.count(b"HTTP/1.1 200 OK") == 2 and b"\r\n0\r\n\r\nHTTP/1.1 200" in both, both[:200])
    s, o, h = api.call("GET", CM + "?labelSelector=none", headers=TABLE)
    check("a small table", s == 200 and h["Content-Length"] and o["rows"] == [], (h.items(), o))
    s, o, h = api.call("GET", CM, headers=TABLE)
    check("and one that is not", s == 200 and h["Transfer-Encoding"] == "chunked" and len(o["rows"]) == 4, h.items())


def test_packed_tables(site):
    """Rows of many pieces come whole, packed or not."""
    api = site.start_server().api
    for i in range(60):
        api.call("POST", CM, config_map(f"c{i:02}", 7000))
    at = CM + "?includeObject=Object"
    s, plain, _ = api.call("GET", at, headers=TABLE)
    c = api.connect()
    c.request("GET", at, None, api.headers(dict(TABLE, **{"Accept-Encoding": "gzip"})))
    r = c.getresponse()
    packed = json.loads(gzip.decompress(r.read()))
    c.close()
    check("packed", r.headers["Content-Encoding"] == "gzip" and r.headers["Vary"] == "Accept-Encoding", r.headers.items())
    check("all rows", len(packed["rows"]) == len(plain["rows"]) >= 60 and [r["object"] for r in packed["rows"]] == [r["object"] for r in plain["rows"]], len(packed["rows"]))


def test_order_of_fields(site):
    """Who owns what is told in order, from the first write on."""
    api = site.start_server().api
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"b": "1", "a": "2"}}, "spec": {"containers": [
        {"name": "b", "image": "x", "ports": [{"containerPort": 443}, {"containerPort": 80}]}, {"name": "a", "image": "x"}]}}
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    s, o, _ = api.call("POST", PODS, pod)
    fields = o["metadata"]["managedFields"][0]["fieldsV1"]
    spec = list(fields["f:spec"])
    check("names", s == 201 and list(fields) == ["f:metadata", "f:spec"] and spec == sorted(spec), spec)
    check("keys", list(fields["f:spec"]["f:containers"]) == ['k:{"name":"a"}', 'k:{"name":"b"}'], fields["f:spec"])
    ports = list(fields["f:spec"]["f:containers"]['k:{"name":"b"}']["f:ports"])
    check("numbers by value", [json.loads(p[2:])["containerPort"] for p in ports if p != "."] == [80, 443] and ports[0] == ".", ports)


def test_other_kinds(site):
    api = site.start_server().api
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    for path, body, text in (
            (deployments, config_map("a"), 'ConfigMap in version "v1" cannot be handled as a Deployment: converting (v1.ConfigMap) to (apps.Deployment): unknown conversion'),
            (deployments, {"kind": "ConfigMap"}, 'ConfigMap in version "v1" cannot be handled as a Deployment: no kind "ConfigMap" is registered for version "apps/v1" in scheme "pkg/api/legacyscheme/scheme.go:30"'),
            (deployments, {"Kind": "ConfigMap", "APIVERSION": "v1"}, 'ConfigMap in version "v1" cannot be handled as a Deployment: converting (v1.ConfigMap) to (apps.Deployment): unknown conversion'),
            (deployments, {"apiVersion": "v1", "kind": "Secret", "metadata": []}, 'Secret in version "v1" cannot be handled as a Deployment: json: cannot unmarshal array into Go struct field Secret.metadata of type v1.ObjectMeta'),
            (CM, {"kind": "Table", "apiVersion": "meta.k8s.io/v1"}, 'Table in version "v1" cannot be handled as a ConfigMap: no kind "Table" is registered for version "meta.k8s.io/v1" in scheme "pkg/api/legacyscheme/scheme.go:30"'),
            (CM, {"kind": "Status", "apiVersion": "v1"}, 'Status in version "v1" cannot be handled as a ConfigMap: converting (v1.Status) to (core.ConfigMap): unknown conversion'),
            ("/apis/apiregistration.k8s.io/v1/apiservices", config_map("a"), 'ConfigMap in version "v1" cannot be handled as a APIService: no kind "ConfigMap" is registered for version "v1" in scheme "k8s.io/kube-aggregator/pkg/apiserver/scheme/scheme.go:28"'),
            ("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler"}, "the API version in the data (autoscaling/v1) does not match the expected API version (autoscaling/v2)")):
        s, o, _ = api.call("POST", path, body)
        check(text[:60], s == 400 and message(o) == text, o)
    bytes_ = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x05\n\x03\n\x01a"
    s, o, _ = api.call("POST", deployments, bytes_, "application/vnd.kubernetes.protobuf")
    check("in protobuf too", s == 400 and message(o).endswith("converting (v1.ConfigMap) to (apps.Deployment): unknown conversion"), o)
    for body, why in ((b"k8s\0", "empty body (6b387300)"), (b"k8s\0\n\n\n\x02v1\x12\tConfigMap", "unexpected EOF (6b3873000a0a0a0276311209436f6e6669674d6170)")):
        s, o, _ = api.call("POST", CM, body, "application/vnd.kubernetes.protobuf")
        check(why[:20], s == 400 and message(o) == "the object provided is unrecognized (must be of type ConfigMap): " + why, o)
    s, o, _ = api.call("POST", CM, "a: &a [*a]\n", "application/yaml")
    check("an anchor in itself", s == 400 and "yaml: anchor 'a' value contains itself" in message(o), o)


def test_options(site):
    """All that is wrong with what the query says is told together, and before the body is read."""
    api = site.start_server().api
    api.call("POST", CM, config_map("a"))
    fields = lambda o: [c["field"] for c in o.get("details", {}).get("causes", [])]
    s, o, _ = api.call("PATCH", CM + "/a?dryRun=x&fieldValidation=y", "{", APPLY)
    check("an apply", s == 422 and o["details"]["kind"] == "PatchOptions" and fields(o) == ["fieldManager", "dryRun", "fieldValidation"], o)
    s, o, _ = api.call("PATCH", CM + "/a?force=true&fieldManager=a%00b", {}, MERGE)
    check("a patch that is none", s == 422 and fields(o) == ["force", "fieldManager"] and o["details"]["causes"][1]["message"] == 'Invalid value: "a\\x00b": invalid character U+0000 (at position 1)', o)
    s, o, _ = api.call("POST", CM + "?dryRun=All&dryRun=", config_map("b"))
    check("all values count", s == 422 and message(o).endswith('dryRun: Unsupported value: ["All",""]: supported values: "All"'), o)
    s, o, _ = api.call("GET", PODS + "?resourceVersionMatch=x&sendInitialEvents=true")
    check("a list", s == 422 and fields(o) == ["resourceVersionMatch", "resourceVersionMatch", "sendInitialEvents"], o)
    s, o, _ = api.call("GET", PODS + "?watch=1&resourceVersionMatch=x&continue=y")
    check("a watch", s == 422 and fields(o) == ["resourceVersionMatch"] * 3, o)
    s, o, _ = api.call("GET", CM + "/a?export=1")
    check("exports", s == 400 and "export parameter" in message(o), o)
    s, o, _ = api.call("DELETE", CM + "/a?uid=x")
    check("a precondition in the query", s == 409 and "the UID in the precondition (x)" in message(o), o)


def test_logs(site):
    """What logs and connections are asked for is judged before the pod is looked for."""
    api = site.start_server().api
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    api.call("POST", PODS, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
    for query, code, text in (("tailLines=x", 400, 'strconv.ParseInt: parsing "x": invalid syntax'), ("tailLines=", 400, 'strconv.ParseInt: parsing "": invalid syntax'), ("sinceSeconds=0", 422, "must be greater than 0"),
                              ("tailLines=-1", 422, "must be greater than or equal to 0"), ("limitBytes=99999999999999999999", 400, "value out of range"), ("stream=", 422, "stream: Forbidden"), ("sinceTime=x", 400, "parsing time")):
        for name in ("p", "none"):
            s, o, _ = api.call("GET", f"{PODS}/{name}/log?{query}")
            check(f"{query} of {name}", s == code and text in message(o), o)
    s, o, h = api.call("GET", PODS + "/p/log")
    check("a pod that no node has", s == 204 and o == "" and h["Content-Type"] is None, (s, o, h.items()))
    s, o, _ = api.call("GET", PODS + "/p/log", headers={"Accept": "text/plain"})
    check("logs have an object's forms", s == 406 and message(o).startswith("only the following media types are accepted"), o)
    s, o, _ = api.call("GET", PODS + "/p/log", headers={"Accept": "image/png"})
    check("and a route's", s == 406 and "Available representations: text/plain, application/json" in message(o), o)
    for ports, why in (("x", "invalid syntax"), ("70000", "value out of range"), ("1&ports=", "invalid syntax")):
        s, o, _ = api.call("POST", f"{PODS}/none/portforward?ports={ports}")
        check(f"port {ports}", s == 400 and message(o).startswith("cannot convert to []int32: strconv.ParseUint") and message(o).endswith(why), o)


def test_duplicates(site):
    """Keys that stand twice in a patch are told, or refused."""
    api = site.start_server().api
    api.call("POST", CM, config_map("a"))
    twice = '{"metadata":{"labels":{"a":"1","a":"2"}},"data":{"k":"1","k":"2"},"bogus":1}'
    for kind in (MERGE, STRATEGIC):
        s, o, h = api.call("PATCH", CM + "/a", twice, kind)
        check(f"warned of, {kind}", s == 200 and h.get_all("Warning") == ['299 - "duplicate field \\"metadata.labels.a\\""', '299 - "duplicate field \\"data.k\\""', '299 - "unknown field \\"bogus\\""'] and o["data"]["k"] == "2", h.get_all("Warning"))
        s, o, h = api.call("PATCH", CM + "/a?fieldValidation=Strict", twice, kind)
        check(f"refused, {kind}", s == 422 and 'strict decoding error: duplicate field "metadata.labels.a", duplicate field "data.k", unknown field "bogus"' in message(o), o)
        s, o, h = api.call("PATCH", CM + "/a?fieldValidation=Ignore", twice, kind)
        check(f"or not heard, {kind}", s == 200 and not h["Warning"], h.items())
    s, o, h = api.call("PATCH", CM + "/a", '[{"op":"add","path":"/data/z","value":"1","value":"2","x":1}]', JSON_PATCH)
    check("JSON patches", s == 200 and h.get_all("Warning") == ['299 - "json patch duplicate field \\"[0].value\\""', '299 - "json patch unknown field \\"[0].x\\""'], h.get_all("Warning"))
    s, o, _ = api.call("PATCH", CM + "/a", b'{"data":{"k":"a\xff"}}', MERGE)
    check("what is no UTF-8 is replaced", s == 200 and o["data"]["k"] == "a\ufffd", o)


def test_too_large(site):
    """A body that is too large is told to who may send one, after its type was looked at."""
    api = site.start_server().api
    large = b'"' + b"x" * (3 << 20) + b'"'
    s, o, _ = api.call("POST", CM, large, headers={"Authorization": "Bearer wrong"})
    check("not before who sends it is known", s == 401, o)
    s, o, _ = api.call("PATCH", CM + "/a", large, "text/plain")
    check("nor its type", s == 415, o)
    for method, path, kind in (("POST", CM, "application/json"), ("PUT", CM + "/a", "application/json"), ("PATCH", CM + "/a", MERGE), ("DELETE", CM + "/a", "application/json"), ("POST", NS + "pods/p/eviction", "application/json")):
        s, o, _ = api.call(method, path, large, kind)
        check(f"{method} {path}", s == 413 and o["reason"] == "RequestEntityTooLarge" and message(o) == "Request entity too large: limit is 3145728", o)
    head = f"POST {CM} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {api.token}\r\n"
    chunks = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
    check("in chunks too", raw(api, (head + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n").encode() + chunks * 4 + b"0\r\n\r\n").startswith(b"HTTP/1.1 413 "))
    answer = raw(api, head + "Expect: 100-continue\r\nContent-Length: 5000000\r\n\r\n")
    check("it is not even invited", answer.startswith(b"HTTP/1.1 413 "), answer[:100])


def test_paths(site):
    api = site.start_server().api
    s, o, _ = api.call("GET", PODS + "/a%00b")
    check("a NUL is a character", s == 404 and message(o) == 'pods "a\\x00b" not found' and o["details"]["name"] == "a\0b", o)
    for sent, shown in (("%22", '\\"'), ("a%0Ab", "a\\nb"), ("%ff", "\\xff"), ("%C3%A9", "\u00e9"), ("%5C%01", "\\\\\\x01")):
        s, o, _ = api.call("GET", f"{PODS}/{sent}")
        check(f"{sent} as Go quotes it", s == 404 and message(o) == f'pods "{shown}" not found', o)
    for line in ("G(T /livez", "GET livez", "GET /a b"):
        answer = raw(api, line + " HTTP/1.1\r\nHost: x\r\n\r\n")
        check(f"no request: {line}", answer.startswith(b"HTTP/1.1 400 ") and answer.endswith(b"\r\n\r\n400 Bad Request"), answer)
    s, o, h = api.call("GET", PODS + "/%zz")
    check("what cannot be read", s == 400 and o == "400 Bad Request" and not h["Audit-Id"] and not h["Cache-Control"], (o, h.items()))
    for path in ("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews/x", NS + "bindings/x", "/apis/authentication.k8s.io/v1/tokenreviews/x"):
        for method in ("GET", "POST", "DELETE", "HEAD", "OPTIONS"):
            s, o, _ = api.call(method, path, {} if method == "POST" else None)
            check(f"nothing is below {path}, {method}", s == 404, (s, o))
    for accept, path, code in (("text/plain", "/openid/v1/jwks", 406), ("application/json", "/openid/v1/jwks", 406), ("application/jwk-set+json", "/openid/v1/jwks", 200), ("*/*", "/openid/v1/jwks", 200),
                               ("text/plain", "/.well-known/openid-configuration", 406), ("application/json", "/.well-known/openid-configuration", 200),
                               ("image/png", "/apis/nosuch", 404), ("image/png", "/apis/apps/v9", 404), ("image/png", "/api/v2", 404), ("application/*", "/apis", 200), ("application/*", "/apis/apps", 200),
                               ("application/*", "/apis/apps/v1", 406), ("image/png", PODS + "/..", 406), ("image/png", "/version", 406)):
        s, o, h = api.call("GET", path, headers={"Accept": accept})
        check(f"{path} as {accept}", s == code and (code != 406 or h["Cache-Control"] == "no-cache, private"), (s, o))
    for path in ("/version", "/api", "/api/v1", "/apis/apps/v1"):
        check(f"{path} of a body of another kind", api.call("GET", path, headers={"Content-Type": "image/png"})[0] == 415)
    check("but that is none of a group's business", api.call("GET", "/apis/apps", headers={"Content-Type": "image/png"})[0] == 200)


def test_documents(site):
    """OpenAPI documents are files: with a length, in part, and not again where they are known."""
    api = site.start_server().api
    for path in ("/openapi/v2", "/openapi/v3/apis/apps/v1", "/openapi/v3"):
        s, o, h = api.call("GET", path)
        size, etag, made = int(h["Content-Length"]), h["ETag"], h["Last-Modified"]
        check(f"{path} whole", s == 200 and size > 2048 and h["Accept-Ranges"] == "bytes" and bool(etag) == (path != "/openapi/v3"), h.items())
        s, o, h = api.call("GET", path, headers={"Range": "bytes=1-4"})
        check(f"{path} in part", s == 206 and len(o) == 4 and h["Content-Range"] == f"bytes 1-4/{size}", (o, h.items()))
        s, o, h = api.call("GET", path, headers={"Range": f"bytes={size}-"})
        check(f"{path} beyond its end", s == 416 and o == "invalid range: failed to overlap\n" and h["Content-Range"] == f"bytes */{size}", (o, h.items()))
        check(f"{path}, no range", api.call("GET", path, headers={"Range": "lines=1"})[0] == 416)
        check(f"{path} of before", api.call("GET", path, headers={"Range": "bytes=1-4", "If-Range": '"old"'})[0] == 200)
        for known in ([{"If-None-Match": '"a", W/' + etag}] if etag else []) + [{"If-None-Match": "*"}, {"If-Modified-Since": "Mon, 01 Jan 2090 00:00:00 GMT"}]:
            s, o, h = api.call("GET", path, headers=known)
            check(f"{path} known by {known}", s == 304 and o == "" and h["Content-Type"] is None, h.items())
        for old in ({"If-Match": '"x"'}, {"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}):
            check(f"{path} only if {old}", api.call("GET", path, headers=old)[0] == 412)
    s, o, h = api.call("GET", "/openapi/v3/apis/apps/v1", headers={"Accept-Encoding": "gzip"})
    check("v3 goes as it is", s == 200 and h["Content-Encoding"] is None and h.get_all("Vary") == ["Accept"], h.items())


def test_aggregated_discovery(site):
    api = site.start_server().api
    form = ";g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    s, whole, h = api.call("GET", "/apis", headers={"Accept": "application/json" + form})
    check("in JSON", s == 200 and whole["kind"] == "APIGroupDiscoveryList" and h["Content-Type"] == "application/json" + form, h.items())
    s, o, h = api.call("GET", "/apis", headers={"Accept": "application/yaml" + form})
    check("in YAML", s == 200 and o.startswith("apiVersion: apidiscovery.k8s.io/v2\n") and h["Content-Type"] == "application/yaml" + form, h.items())
    s, o, h = api.call("GET", "/api", headers={"Accept": "application/vnd.kubernetes.protobuf" + form})
    check("in protobuf", s == 200 and o.startswith("k8s\0") and "apidiscovery.k8s.io/v2" in o and h["Content-Type"] == "application/vnd.kubernetes.protobuf" + form, h.items())
    old = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
    check("not as it was", api.call("GET", "/apis", headers={"Accept": old})[0] == 406)
    s, o, _ = api.call("GET", "/apis", headers={"Accept": old + ",application/json"})
    check("or in the old way", s == 200 and o["kind"] == "APIGroupList", o)
    check("nor behind a slash", api.call("GET", "/apis/", headers={"Accept": "application/json" + form})[0] == 406)


def test_debug(site):
    server = site.start_server()
    api = server.api
    s, o, h = api.call("GET", "/debug/pprof")
    check("the index is behind a slash", s == 302 and h["Location"] == "/debug/pprof/", h.items())
    check("it is there", "cmdline" in api.call("GET", "/debug/pprof/")[1])
    check("the command line", "--secure-port\0" in api.call("GET", "/debug/pprof/cmdline")[1])
    s, o, h = api.call("GET", "/debug/pprof/heap")
    check("no profile", s == 404 and o == "Unknown profile\n" and h["X-Go-Pprof"] == "1", h.items())
    check("what is logged", api.call("PUT", "/debug/flags/v", "4", "text/plain")[:2] == (200, "successfully set klog.logging.verbosity to 4\n"))
    check("is a number", api.call("PUT", "/debug/flags/v", "x", "text/plain")[:2] == (400, 'strconv.ParseUint: parsing "x": invalid syntax\n'))
    check("and is only set", api.call("GET", "/debug/flags/v")[:2] == (406, "unsupported http method\n"))
    closed = site.start_server("--profiling=false").api
    check("nothing of it where it is not wanted", {closed.call("GET", p)[0] for p in ("/debug/pprof", "/debug/pprof/cmdline", "/debug/flags", "/debug/flags/v")} == {404})


def test_empty_lists(site):
    """As Go has it, some lists without items have none at all."""
    api = site.start_server().api
    partial = {"Accept": "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"}
    none = "?labelSelector=none"
    check("metadata alone", api.call("GET", CM + none, headers=partial)[1]["items"] is None)
    check("rows with cells of their kind", api.call("GET", CM + none, headers=TABLE)[1]["rows"] == [])
    check("rows of kinds that have none", api.call("GET", NS + "limitranges" + none, headers=TABLE)[1]["rows"] is None)
    check("items", api.call("GET", CM + none)[1]["items"] == [])


def test_authorization(site):
    """Who is refused hears of what the path says, served or not."""
    api = site.start_server().api
    who = {"Impersonate-User": "bob"}
    for path, text in (("//api/v1/pods", 'pods is forbidden: User "bob" cannot list resource "pods"'), ("/api/v1/proxy/nodes/x", 'nodes "x" is forbidden: User "bob" cannot proxy resource "nodes"'),
                       ("/api/v1//pods", 'forbidden: User "bob" cannot get resource ""')):
        s, o, _ = api.call("GET", path, headers=who)
        check(path, s == 403 and message(o).startswith(text), o)
        check(path + " is not there", api.call("GET", path)[0] == 404)


def test_patch_errors(site):
    """A merge that makes no object is told with all that it made."""
    api = site.start_server().api
    api.call("POST", CM, config_map("a"))
    s, o, _ = api.call("PATCH", CM + "/a", {"apiVersion": "v2", "kind": "ConfigMap"}, MERGE)
    api.call("PATCH", CM + "/a", {"metadata": {"labels": {"z": "1"}}}, MERGE)
    told = lambda path, body, kind: json.loads(message(api.call("PATCH", CM + "/a" + path, body, kind)[1]).split("Invalid value: ", 1)[1].rsplit(": strict", 1)[0].rsplit(": unable", 1)[0])
    for body, kind in (({"bogus": 1}, MERGE), ([{"op": "add", "path": "/bogus", "value": 1}], JSON_PATCH)):
        text = told("?fieldValidation=Strict", body, kind)
        meta = list(json.loads(text)["metadata"])
        check(f"sorted where {kind} touched it, as it was elsewhere", text.startswith('{"apiVersion":') and meta[0] == "name" and meta[-1] == "managedFields", text)
    text = told("?fieldValidation=Strict", {"metadata": {"bogus": 1}}, MERGE)
    check("a part that was touched", list(json.loads(text)["metadata"])[:2] == ["bogus", "creationTimestamp"], text)
    for body, code, end in (({"data": []}, 422, "cannot restore map from slice"), ({"data": {"a": 1}}, 422, "cannot convert int64 to string"), ({"immutable": "x"}, 422, "unrecognized type: bool"), ({"metadata": []}, 422, "cannot restore struct from: slice"),
                            ({"binaryData": {"a": 1}}, 422, "cannot restore slice from int64"), ({"$patch": "x"}, 500, "unknown patch type: x in map: map[$patch:x]"),
                            ({"metadata": {"finalizers": ["a/b"], "$setElementOrder/finalizers": ["c/d"]}}, 500, "The order in patch list:\n[a/b]\n doesn't match $setElementOrder list:\n[c/d]\n")):
        s, o, _ = api.call("PATCH", CM + "/a", body, STRATEGIC)
        check(f"a strategic merge: {end}", s == code and message(o).endswith(end), o)
    service = lambda ports: {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}
    for ports, end in (("x", ".spec.ports: expected list, got &{x}"), ({"a": 1}, ".spec.ports: expected list, got &{map[a:1]}"), ([None], ".spec.ports: element 0: associative list with keys may not have a null element"), (["x"], ".spec.ports: element 0: associative list with keys may not have non-map elements")):
        s, o, _ = api.call("PATCH", NS + "services/s?fieldManager=m", service(ports), APPLY)
        check(f"an apply: {end}", s == 500 and message(o).endswith(end), o)
    s, o, _ = api.call("PATCH", CM + "/a", {"apiVersion": "v2", "kind": "ConfigMap"}, MERGE)
    check("all of it", s == 422 and '\\"data\\":{\\"x\\":\\"y\\"}' in message(o), o)


def test_deprecated(site):
    """Said with what the path serves, and nowhere else."""
    api = site.start_server().api
    warned = lambda method, path, headers=None: api.call(method, path, {} if method in ("POST", "PUT") else None, headers=headers)[2]["Warning"]
    old = '299 - "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"'
    for method, path in (("GET", "endpoints"), ("GET", "endpoints/x"), ("POST", "endpoints"), ("PUT", "endpoints/x"), ("DELETE", "endpoints/x"), ("DELETE", "endpoints?labelSelector=none")):
        check(f"{method} {path}", warned(method, NS + path) == old)
    for method, path in (("OPTIONS", "endpoints"), ("HEAD", "endpoints"), ("PUT", "endpoints"), ("POST", "endpoints/x")):
        check(f"not {method} {path}", warned(method, NS + path) is None)
    check("not where no route is", warned("GET", NS + "endpoints", {"Accept": "image/png"}) is None)
    check("component statuses", warned("GET", "/api/v1/componentstatuses") == '299 - "v1 ComponentStatus is deprecated in v1.19+"')
    s, o, h = api.call("GET", "/api/v1/componentstatuses?watch=1")
    check("which cannot be watched", s == 405 and message(o) == 'watch is not supported on resources of kind "componentstatuses"' and h["Warning"], o)


def test_orphans(site):
    """Who deletes Jobs and ReplicationControllers and does not say more leaves their pods alone, for the sake of clients of before; of Jobs that is told."""
    api = site.start_server().api
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}
    jobs, held = "/apis/batch/v1/namespaces/default/jobs", {"finalizers": ["example.com/hold"]}
    for name in "ab":
        api.call("POST", jobs, {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, **held}, "spec": {"suspend": True, "template": template}})
    s, o, h = api.call("DELETE", jobs + "/a")
    check("a Job", s == 200 and o["metadata"]["finalizers"] == ["example.com/hold", "orphan"] and (h["Warning"] or "").startswith('299 - "child pods are preserved by default when jobs are deleted;'), (o, h["Warning"]))
    s, o, h = api.call("DELETE", jobs + "/b?propagationPolicy=Background")
    check("told otherwise", s == 200 and o["metadata"]["finalizers"] == ["example.com/hold"] and h["Warning"] is None, (o, h["Warning"]))
    check("all of them", api.call("DELETE", jobs + "?labelSelector=none")[2]["Warning"] is not None)
    del template["spec"]["restartPolicy"]
    api.call("POST", NS + "replicationcontrollers", {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r", **held}, "spec": {"replicas": 0, "template": template}})
    s, o, h = api.call("DELETE", NS + "replicationcontrollers/r")
    check("a ReplicationController", s == 200 and o["metadata"]["finalizers"] == ["example.com/hold", "orphan"] and h["Warning"] is None, (o, h["Warning"]))
    api.call("POST", APPS + "replicasets", {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "r", **held}, "spec": {"replicas": 0, "selector": {"matchLabels": {"a": "b"}}, "template": template}})
    s, o, h = api.call("DELETE", APPS + "replicasets/r")
    check("but no ReplicaSet", s == 200 and o["metadata"]["finalizers"] == ["example.com/hold"], o)


run([test_orphans, test_framing, test_packed_tables, test_order_of_fields, test_other_kinds, test_options, test_logs, test_duplicates, test_too_large, test_paths, test_documents, test_aggregated_discovery, test_debug, test_empty_lists, test_authorization, test_patch_errors, test_deprecated])
