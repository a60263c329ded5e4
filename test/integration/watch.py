#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Watches: over WebSocket too, with bookmarks, ends, errors; readers that stall; a thousand on one resource.

usage: test/integration/watch.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, http.client, json, os, resource, socket, ssl, struct, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import Watch, check, run, wait_for

CM = "/api/v1/namespaces/default/configmaps"
MERGE = "application/merge-patch+json"


def config_map(name, **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


class Socket:
    """The client's side of a WebSocket, by hand."""

    def __init__(self, api, path, headers=("Origin: https://localhost",), token=True):
        raw = socket.create_connection(("127.0.0.1", api.port), timeout=10)
        self.s = ssl._create_unverified_context().wrap_socket(raw)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = ["GET %s HTTP/1.1" % path, "Host: x", *(["Authorization: Bearer " + api.token] if token else []), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + key, *headers]
        self.s.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        self.data = b""
        while b"\r\n\r\n" not in self.data:
            piece = self.s.recv(65536)
            if not piece:
                break
            self.data += piece
        head, _, self.data = self.data.partition(b"\r\n\r\n")
        self.status = int(head.split(b" ")[1])
        self.headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in head.decode().split("\r\n")[1:])}

    def need(self, n):
        while len(self.data) < n:
            piece = self.s.recv(65536)
            if not piece:
                raise EOFError
            self.data += piece
        out, self.data = self.data[:n], self.data[n:]
        return out

    def message(self):
        """(opcode, bytes) of the next message; None at the end."""
        try:
            whole = b""
            while True:
                a, b = self.need(2)
                length = b & 127
                length = struct.unpack(">H", self.need(2))[0] if length == 126 else struct.unpack(">Q", self.need(8))[0] if length == 127 else length
                whole += self.need(length)
                opcode = a & 15 or opcode
                if a & 128:
                    return opcode, whole
        except (EOFError, OSError):
            return None

    def event(self):
        m = self.message()
        return json.loads(m[1]) if m and m[0] == 1 else m

    def send(self, opcode, data=b""):
        mask = os.urandom(4)
        self.s.sendall(bytes([128 | opcode, 128 | len(data)]) + mask + bytes(c ^ mask[i % 4] for i, c in enumerate(data)))


def test_websocket(site):
    server = site.start_server()
    api = server.api
    s, first, _ = api.call("POST", CM, config_map("a", v="1"))
    ws = Socket(api, CM + "?watch=1&fieldSelector=metadata.name%3Da")
    check("handshake", ws.status == 101 and not {"cache-control", "sec-websocket-protocol"} & set(ws.headers), (ws.status, ws.headers))
    e = ws.event()
    check("what is there first", e["type"] == "ADDED" and e["object"]["data"] == {"v": "1"}, e)
    api.call("PATCH", CM + "/a", {"data": {"v": "2"}}, MERGE)
    api.call("POST", CM, config_map("other"))
    api.call("DELETE", CM + "/a")
    kinds = [ws.event() for _ in range(2)]
    check("each event a message", [(e["type"], e["object"]["metadata"]["name"]) for e in kinds] == [("MODIFIED", "a"), ("DELETED", "a")], kinds)
    ws.send(9, b"hello")
    m = ws.message()
    check("pings are answered", m == (10, b"hello"), m)
    ws.send(1, b"ignored")
    ws.send(8, struct.pack(">H", 1000))
    check("the client may close", (ws.message() or (8,))[0] == 8)
    ws = Socket(api, CM + "?watch=1&resourceVersion=%s&timeoutSeconds=1" % first["metadata"]["resourceVersion"])
    got = [ws.event() for _ in range(3)]
    check("from a revision", [e["type"] for e in got] == ["MODIFIED", "ADDED", "DELETED"], got)
    m = ws.message()
    check("timeoutSeconds closes properly", m and m[0] == 8, m)
    ws = Socket(api, CM + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
    seen = []
    while not seen or seen[-1]["type"] != "BOOKMARK":
        seen.append(ws.event())
    check("a streamed list", seen[-1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"} and "other" in [e["object"]["metadata"].get("name") for e in seen], seen[-1])
    late = site.start_server()  # knows nothing of what was before it
    ws = Socket(late.api, CM + "?watch=1&resourceVersion=1")
    e = ws.event()
    check("too old", e["type"] == "ERROR" and e["object"]["code"] == 410 and e["object"]["reason"] == "Expired" and ws.message()[0] == 8, e)
    ws = Socket(api, CM + "?watch=1", ["Origin: https://localhost", "Accept: application/vnd.kubernetes.protobuf;stream=watch"])
    opcode, data = ws.message()
    check("protobuf in binary messages", opcode == 2 and data.startswith(b"\x0a\x05ADDED\x12"), data[:40])
    # One protocol is taken, whatever it is; a token is none. Browsers say where they come from, and others have to.
    bearer = "base64url.bearer.authorization.k8s.io." + base64.urlsafe_b64encode(api.token.encode()).decode().rstrip("=")
    origin = "Origin: https://localhost"
    for offered, token, want in (("foo", True, (101, "foo")), ("foo, bar", True, (400, None)), ("foo, " + bearer, False, (101, "foo")), (bearer + ",foo", False, (101, "foo")), (bearer, False, (401, None)), (bearer + "," + bearer + ",foo", False, (401, None)), ("base64url.bearer.authorization.k8s.io.!!!,foo", False, (401, None)),
                                  ("base64url.bearer.authorization.k8s.io.,foo", False, (403, None)), ("foo," + bearer, True, (400, None))):
        ws = Socket(api, CM + "?watch=1", [origin, "Sec-WebSocket-Protocol: " + offered], token)
        check("protocols %s" % offered, (ws.status, ws.headers.get("sec-websocket-protocol")) == want, (ws.status, ws.headers))
    check("no origin, or none that is one", [Socket(api, CM + "?watch=1", h).status for h in ([], ["Origin: ::"], ["Origin: null"])] == [403] * 3)
    check("without rights it is no WebSocket", Socket(type(api)(api.port, "usertoken"), CM + "?watch=1").status == 403)
    open_ones = [Socket(api, CM + "?watch=1") for _ in range(5)]
    check("a server that stops ends them", server.stop() == 0 and all(w.message() is not None and (w.message() or w.message() is None) for w in open_ones), server.text()[-300:])


def test_ends(site):
    api = site.start_server().api
    s, o, _ = api.call("POST", CM, config_map("a", v="1"))
    w = Watch(site.start_server().api, CM + "?watch=1&resourceVersion=1")  # a server that knows nothing of what was before it
    e = w.wait(1)
    check("410 is an event", e and e[0]["type"] == "ERROR" and e[0]["object"]["code"] == 410 and e[0]["object"]["kind"] == "Status", e)
    check("and the last", wait_for(lambda: w.ended))
    start = time.monotonic()
    w = Watch(api, CM + "?watch=1&timeoutSeconds=1&resourceVersion=" + o["metadata"]["resourceVersion"])
    check("timeoutSeconds ends it", wait_for(lambda: w.ended) and time.monotonic() - start >= 0.9 and not w.events)
    # A bookmark tells how far a quiet watch has come: all of it with the streamed list, later ones about once a minute.
    w = Watch(api, CM + "?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=metadata.name%3Dnone")
    e = w.wait(1)
    newest = int(api.get(CM)["metadata"]["resourceVersion"])
    check("a bookmark where nothing matches", len(e) == 1 and e[0]["type"] == "BOOKMARK" and int(e[0]["object"]["metadata"]["resourceVersion"]) >= int(o["metadata"]["resourceVersion"]) and newest, e)
    # Another comes soon after it, where more happened; all that a kind always shows is in them.
    api.call("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": "elsewhere"}})
    e = w.wait(2)
    check("a second bookmark", len(e) == 2 and e[1]["type"] == "BOOKMARK" and "annotations" not in e[1]["object"]["metadata"] and int(e[1]["object"]["metadata"]["resourceVersion"]) > int(e[0]["object"]["metadata"]["resourceVersion"]), e)
    w = Watch(api, "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&labelSelector=none")
    e = w.wait(1)
    check("an empty object tells of it", e and {k: v for k, v in e[0]["object"].items() if k != "metadata"} == {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": None}, "status": {}}, e)
    # What ended in order leaves its connection to the next.
    c = http.client.HTTPSConnection("127.0.0.1", api.port, context=ssl._create_unverified_context(), timeout=30)
    sockets, closing = set(), []
    for path in (CM + "?watch=1&timeoutSeconds=1", CM + "?watch=1&timeoutSeconds=-1&resourceVersion=1", CM, CM + "?watch=1&resourceVersion=99999999&timeoutSeconds=1", CM):
        c.request("GET", path, headers={"Authorization": "Bearer " + api.token})
        sockets.add(c.sock)
        r = c.getresponse()
        r.read()
        closing.append(r.getheader("Connection"))
    check("a connection outlives its watches", len(sockets) == 1 and closing == [None] * 5, (sockets, closing))
    s, o, _ = api.call("GET", CM + "?watch=1&sendInitialEvents=true")
    check("the streamed list needs its match", s == 422, o)


def test_definitions(site):
    """Who follows custom resources begins anew where their definition changes, and is told of no more once it goes."""
    api = site.start_server().api
    crds, name = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", "parts.example.org"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": v, "served": True, "storage": v == "v1", "schema": schema} for v in ("v1", "v2")]
    crd = {"metadata": {"name": name}, "spec": {"group": "example.org", "scope": "Namespaced", "names": {"plural": "parts", "kind": "Part"}, "versions": versions}}
    parts = "/apis/example.org/%s/namespaces/default/parts"
    api.call("POST", crds, crd)
    wait_for(lambda: api.call("GET", parts % "v2")[0] == 200)
    api.call("POST", parts % "v1", {"apiVersion": "example.org/v1", "kind": "Part", "metadata": {"name": "a"}})
    first, second = Watch(api, parts % "v1" + "?watch=1"), Watch(api, parts % "v2" + "?watch=1")
    ws = Socket(api, parts % "v1" + "?watch=1")
    check("what is there", [w.wait(1)[0]["type"] for w in (first, second)] == ["ADDED"] * 2 and ws.event()["type"] == "ADDED")
    # Words about it are no change of it.
    api.call("PATCH", crds + "/" + name, {"metadata": {"labels": {"a": "b"}}}, MERGE)
    api.call("PATCH", parts % "v1" + "/a", {"x": 1}, MERGE)
    check("a label ends nothing", [w.wait(2)[1]["type"] for w in (first, second)] == ["MODIFIED"] * 2 and ws.event()["type"] == "MODIFIED" and not first.ended)
    api.call("PATCH", crds + "/" + name, {"spec": {"versions": [versions[0], dict(versions[1], served=False)]}}, MERGE)
    check("a change ends those of all versions", wait_for(lambda: first.ended and second.ended) and len(first.events) == 2 and len(second.events) == 2, (first.events, second.events))
    m = ws.message()
    check("in order, over a WebSocket too", m and m[0] == 8, m)
    check("one is served no more", api.call("GET", parts % "v2")[0] == 404)
    again = Watch(api, parts % "v1" + "?watch=1&resourceVersion=" + first.events[0]["object"]["metadata"]["resourceVersion"])
    check("it goes on from where it was", again.wait(1)[0]["type"] == "MODIFIED", again.events)
    api.call("DELETE", crds + "/" + name)
    check("its end comes after that of its objects", wait_for(lambda: again.ended) and [e["type"] for e in again.events] == ["MODIFIED", "DELETED"], again.events)


def test_stalled(site):
    """Readers that do not read are cut off; the others do not notice, and the server's memory stays bounded."""
    server = site.start_server()
    api = server.api
    api.call("POST", CM, config_map("a", v="0"))
    stalled = []
    for _ in range(2):
        c = api.connect()
        c.request("GET", CM + "?watch=1", headers=api.headers())
        stalled.append(c)
    sockets = [Socket(api, CM + "?watch=1")]
    reader = Watch(api, CM + "?watch=1")
    big = "x" * (900 << 10)
    for n in range(1, 51):
        api.call("PATCH", CM + "/a", {"data": {"v": str(n), "big": big}}, MERGE)
    events = reader.wait(52, 20)
    values = [e["object"]["data"]["v"] for e in events if e["object"]["metadata"]["name"] == "a"]
    check("a reader sees all", values == [str(n) for n in range(51)], len(values))

    def was_cut(read):
        try:
            while True:
                if not read():
                    return True
        except OSError:
            return True

    check("the stalled are cut off", all(was_cut(lambda: c.sock.recv(1 << 20)) for c in stalled))
    check("over WebSocket too", all(was_cut(lambda: w.s.recv(1 << 20)) for w in sockets))
    check("the others go on", api.call("PATCH", CM + "/a", {"data": {"v": "last", "big": None}}, MERGE)[0] == 200 and wait_for(lambda: reader.events[-1]["object"]["data"]["v"] == "last"))
    check("within bounds", server.memory("VmHWM") < 600 << 20, server.memory("VmHWM") >> 20)


def test_thousand(site):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
    server = site.start_server()
    api, watchers = server.api, []
    for i in range(1000):
        c = api.connect()
        c.request("GET", CM + "?watch=1&resourceVersion=0&fieldSelector=metadata.name%3Da", headers=api.headers())
        watchers.append(c)
    for n in range(8):
        api.call("POST" if n == 0 else "PATCH", CM if n == 0 else CM + "/a", config_map("a", v="0") if n == 0 else {"data": {"v": str(n)}}, "application/json" if n == 0 else MERGE)
    good, revisions = 0, set()
    answers = [c.getresponse() for c in watchers]
    for r in answers:
        events = [json.loads(r.readline()) for _ in range(8)]
        good += [e["object"]["data"]["v"] for e in events] == [str(n) for n in range(8)]
        revisions.add(tuple(e["object"]["metadata"]["resourceVersion"] for e in events))
    check("all thousand see all in order", good == 1000 and len(revisions) == 1, (good, len(revisions)))
    check("counted", any(l.startswith("apiserver_longrunning_requests{") and 'resource="configmaps"' in l and l.endswith(" 1000") for l in api.call("GET", "/metrics")[1].splitlines()), [l for l in api.call("GET", "/metrics")[1].splitlines() if "longrunning" in l])
    [c.close() for c in watchers]


def test_old_paths(site):
    """Paths that began with watch/, one object's too: whoever still uses them sees what they name."""
    api = site.start_server().api
    one, all_of_them = Watch(api, CM.replace("/v1/", "/v1/watch/") + "/mine"), Watch(api, CM.replace("/v1/", "/v1/watch/"))
    for name in ("other", "mine"):
        api.call("POST", CM, {"metadata": {"name": name}})
    names = [e["object"]["metadata"]["name"] for e in all_of_them.wait(2)][-2:]
    check("a collection", names == ["other", "mine"], names)
    events = [(e["type"], e["object"]["metadata"]["name"]) for e in one.wait(1)]
    check("one object", events == [("ADDED", "mine")], events)
    check("no part of one", [api.call(m, "/api/v1/watch/namespaces/default/pods/p/status")[0] for m in ("GET", "POST")] == [404, 404])
    one.close()
    all_of_them.close()


def test_lull(site):
    """A client that is in no hurry gets what happens in one piece, no later than it said, and before the end."""
    api = site.start_server().api

    def watch(lull_ms, seconds):
        c = api.connect()
        c.request("GET", CM + "?watch=1&resourceVersion=%s&timeoutSeconds=%d" % (api.get(CM)["metadata"]["resourceVersion"], seconds), headers=api.headers({"Coracle-Watch-Lull": str(lull_ms)}))
        return c, c.getresponse()

    def lines(piece):
        return [json.loads(line)["object"]["metadata"]["name"] for line in piece.splitlines()]

    c, r = watch(5000, 3)
    check("the client is told", r.getheader("Coracle-Watch-Lull") == "5000", r.headers)
    for name in ("a", "b", "c"):
        api.call("POST", CM, config_map(name))
    pieces = [r.read1(65536), r.read1(65536)]
    check("one piece, then the end", lines(pieces[0]) == ["a", "b", "c"] and pieces[1] == b"", pieces)
    c.close()
    c, r = watch(100, 600)
    for name in ("d", "e"):
        api.call("POST", CM, config_map(name))
        check("it comes without an end", lines(r.read1(65536)) == [name])
    c.close()
    c, r = watch(5000, 600)
    for name in ("f", "g"):
        api.call("POST", CM, config_map(name, v="x" * 300000))
    check("much does not wait", lines(r.readline()) == ["f"] and lines(r.readline()) == ["g"])
    c.close()
    c, r = watch(1000000, 600)
    api.call("POST", CM, config_map("h"))
    check("a lull that makes no sense is none", lines(r.readline()) == ["h"])
    c.close()


run([test_lull, test_websocket, test_ends, test_definitions, test_old_paths, test_stalled, test_thousand])
