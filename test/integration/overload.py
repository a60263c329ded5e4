#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""More requests than a server takes at once: they wait in turn, are refused politely, and nobody is starved.

usage: test/integration/overload.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import json, os, signal, sys, threading, time
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import BUILD, Api, check, run, wait_for

CM = "/api/v1/namespaces/default/configmaps"
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
MERGE = "application/merge-patch+json"
BINDING = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "all"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
           "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": n} for n in ("alice", "bob")]}


def level(name, shares, response):
    return {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "PriorityLevelConfiguration", "metadata": {"name": name},
            "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": shares, "limitResponse": response, "lendablePercent": 0, "borrowingLimitPercent": 0}}}


def schema(name, level, user, precedence=500):
    return {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema", "metadata": {"name": name},
            "spec": {"matchingPrecedence": precedence, "priorityLevelConfiguration": {"name": level}, "distinguisherMethod": {"type": "ByUser"},
                     "rules": [{"subjects": [{"kind": "User", "user": {"name": user}}], "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}]}]}}


def metric(api, name, **labels):
    total = 0
    for line in api.call("GET", "/metrics")[1].splitlines():
        if line.startswith(name + "{") and all('%s="%s"' % kv in line for kv in labels.items()):
            total += float(line.rsplit(" ", 1)[1])
    return total


def dump(api, what, query=""):
    """Rows of cells."""
    return [[c.strip() for c in line.split(",")] for line in api.call("GET", "/debug/api_priority_and_fairness/dump_" + what + query)[1].splitlines()]


def condition(api, name):
    return next((c for c in api.get(FLOW + "/flowschemas/" + name).get("status", {}).get("conditions", []) if c["type"] == "Dangling"), {})


def test_classified(site):
    server = site.start_server()
    api, user = server.api, Api(server.port, "usertoken")
    s, o, h = api.call("GET", CM)
    uid = lambda kind, name: api.get(FLOW + "/%s/%s" % (kind, name))["metadata"]["uid"]
    check("administrators are exempt", h["X-Kubernetes-PF-FlowSchema-UID"] == uid("flowschemas", "exempt") and h["X-Kubernetes-PF-PriorityLevel-UID"] == uid("prioritylevelconfigurations", "exempt"), h)
    h = user.call("GET", CM)[2]
    check("users are not", h["X-Kubernetes-PF-FlowSchema-UID"] == uid("flowschemas", "global-default") and h["X-Kubernetes-PF-PriorityLevel-UID"] == uid("prioritylevelconfigurations", "global-default"), h)
    check("schemas say that their level is there", wait_for(lambda: condition(api, "global-default").get("status") == "False"), condition(api, "global-default"))
    api.call("POST", FLOW + "/flowschemas", schema("mine", "none", "alice"))
    got = wait_for(lambda: condition(api, "mine").get("status") == "True" and condition(api, "mine"))
    check("or that it is not", got and got["reason"] == "NotFound", got)
    check("a schema that dangles matches nothing", user.call("GET", CM)[2]["X-Kubernetes-PF-FlowSchema-UID"] == uid("flowschemas", "global-default"))
    api.call("POST", FLOW + "/prioritylevelconfigurations", level("none", 10, {"type": "Reject"}))
    got = wait_for(lambda: condition(api, "mine").get("reason") == "Found")
    check("until its level comes", got and wait_for(lambda: user.call("GET", CM)[2]["X-Kubernetes-PF-FlowSchema-UID"] == uid("flowschemas", "mine")))
    check("limits are told", metric(api, "apiserver_flowcontrol_nominal_limit_seats", priority_level="none") > 0 and metric(api, "apiserver_flowcontrol_dispatched_requests_total", flow_schema="mine") > 0)
    levels = dump(api, "priority_levels")
    check("levels can be looked at, by name", levels[0][:5] == ["PriorityLevelName", "ActiveQueues", "IsIdle", "IsQuiescing", "WaitingRequests"] and [l[0] for l in levels[1:]] == sorted(l[0] for l in levels[1:]), levels)
    check("each with its counts", ["none", "0", "true", "false", "0", "0"] in [l[:6] for l in levels], levels)
    check("so can queues", ["global-default", "127", "0", "0"] in [l[:4] for l in dump(api, "queues")])
    mine = dump(api, "requests", "?includeRequestDetails=1")
    check("and who runs", [l[:4] + l[10:13] for l in mine if l[0] == "exempt"] == [["exempt", "exempt", "-1", "-1", "admin", "get", "/debug/api_priority_and_fairness/dump_requests"]], mine)
    kinds = {t: metric(api, "apiserver_flowcontrol_request_execution_seconds_count", flow_schema="exempt", type=t) for t in ("regular", "watch", "readOnly")}
    check("requests are told from watches", kinds["regular"] > 0 and kinds["watch"] == 0 and kinds["readOnly"] == 0, kinds)
    check("what does not wait has waited no time", metric(api, "apiserver_flowcontrol_request_wait_duration_seconds_bucket", flow_schema="mine", execute="true", le="0") > 0)
    check("how busy a level is, for how long", metric(api, "apiserver_flowcontrol_priority_level_seat_utilization_count", priority_level="exempt") > 1000000)


class Asker(threading.Thread):
    """Writes with one token, one after the other, until told to stop."""

    def __init__(self, port, token, seen):
        super().__init__(daemon=True)
        self.api, self.seen, self.stop = Api(port, token, timeout=60), seen, False

    def run(self):
        n = 0
        while not self.stop:
            n += 1
            s, _, h = self.api.call("POST", CM + "?dryRun=All" if n % 2 else CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}})
            self.seen.append((s, h.get("Retry-After")))


def test_queued(site):
    """A level of two seats while etcd stands still: requests hold their seats, others wait, more are refused; then all is as before."""
    server = site.start_server("--max-requests-inflight", "20", "--max-mutating-requests-inflight", "20")
    api = server.api
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", BINDING)
    api.call("POST", FLOW + "/prioritylevelconfigurations", level("narrow", 12, {"type": "Queue", "queuing": {"queues": 4, "handSize": 2, "queueLengthLimit": 3}}))
    api.call("POST", FLOW + "/flowschemas", schema("narrow", "narrow", "*", 50))
    user = Api(server.port, "usertoken")
    uid = api.get(FLOW + "/flowschemas/narrow")["metadata"]["uid"]
    check("in force", wait_for(lambda: user.call("GET", CM)[2]["X-Kubernetes-PF-FlowSchema-UID"] == uid))
    seats = metric(api, "apiserver_flowcontrol_current_limit_seats", priority_level="narrow")
    check("two seats", seats == 2, seats)
    site.etcd.signal(signal.SIGSTOP)
    results, lock = [], threading.Lock()

    def write(token):
        s, o, h = Api(server.port, token).call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "w-"}})
        with lock:
            results.append((s, h.get("Retry-After"), o if isinstance(o, str) else ""))

    threads = [threading.Thread(target=write, args=("usertoken",)) for _ in range(20)]
    [t.start() for t in threads]
    refused = wait_for(lambda: len(results) >= 12 and list(results), 20)
    check("what finds its queues full is refused", refused and all(r[:2] == (429, "1") and r[2].startswith("Too many requests") for r in refused), refused)
    waiting = metric(api, "apiserver_flowcontrol_current_inqueue_requests", flow_schema="narrow")
    check("the others wait", waiting == 6 and metric(api, "apiserver_flowcontrol_current_executing_requests", flow_schema="narrow") == 2, waiting)
    check("the exempt do not", api.call("GET", "/livez/ping")[0] == 200)
    check("they can be looked at", [l[3] for l in dump(api, "requests") if l[0] == "narrow"].count("-1") == 2 and len([l for l in dump(api, "requests") if l[0] == "narrow"]) == 8, dump(api, "requests"))
    site.etcd.signal(signal.SIGCONT)
    [t.join() for t in threads]
    codes = sorted(r[0] for r in results)
    check("and are served in the end", codes == [201] * 8 + [429] * 12, codes)
    check("no seat is lost", wait_for(lambda: metric(api, "apiserver_flowcontrol_current_executing_requests", flow_schema="narrow") == 0))
    check("refusals are counted", metric(api, "apiserver_flowcontrol_rejected_requests_total", flow_schema="narrow", reason="queue-full") == 12)


def test_wait_limit(site):
    server = site.start_server("--max-requests-inflight", "20", "--max-mutating-requests-inflight", "20", "--request-timeout", "2s")
    api = server.api
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", BINDING)
    api.call("POST", FLOW + "/prioritylevelconfigurations", level("narrow", 6, {"type": "Queue", "queuing": {"queues": 1, "handSize": 1, "queueLengthLimit": 30}}))
    api.call("POST", FLOW + "/flowschemas", schema("narrow", "narrow", "alice"))
    user = Api(server.port, "usertoken")
    uid = api.get(FLOW + "/flowschemas/narrow")["metadata"]["uid"]
    wait_for(lambda: user.call("GET", CM)[2]["X-Kubernetes-PF-FlowSchema-UID"] == uid)
    site.etcd.signal(signal.SIGSTOP)
    codes, lock = [], threading.Lock()

    def write():
        s = Api(server.port, "usertoken").call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "w-"}})[0]
        with lock:
            codes.append(s)

    threads = [threading.Thread(target=write) for _ in range(6)]
    [t.start() for t in threads]
    check("who waits a quarter of the time that requests have is refused", wait_for(lambda: codes.count(429) == 5, 3), codes)
    site.etcd.signal(signal.SIGCONT)
    [t.join() for t in threads]
    check("who runs is not", sorted(codes) == [201] + [429] * 5 or sorted(codes) == [429] * 5 + [504], codes)


def test_fair(site):
    """One client that floods and one that asks now and then, at one narrow level."""
    server = site.start_server("--max-requests-inflight", "20", "--max-mutating-requests-inflight", "20")
    api = server.api
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", BINDING)
    api.call("POST", FLOW + "/prioritylevelconfigurations", level("narrow", 6, {"type": "Queue", "queuing": {"queues": 32, "handSize": 4, "queueLengthLimit": 50}}))
    api.call("POST", FLOW + "/flowschemas", schema("narrow", "narrow", "*", 50))
    mouse = Api(server.port, "robottoken")
    uid = api.get(FLOW + "/flowschemas/narrow")["metadata"]["uid"]
    wait_for(lambda: mouse.call("GET", CM + "/x")[2]["X-Kubernetes-PF-FlowSchema-UID"] == uid)
    seen, asked = [], []
    elephants = [Asker(server.port, "usertoken", seen) for _ in range(24)]
    [e.start() for e in elephants]
    wait_for(lambda: len(seen) > 100)
    for n in range(30):
        asked.append((mouse.call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "m-"}})[0], len(seen)))
    for e in elephants:
        e.stop = True
    [e.join() for e in elephants]
    check("the small one is always served", [s for s, _ in asked] == [201] * 30, asked)
    passed_over = sorted(b[1] - a[1] for a, b in zip(asked, asked[1:]))
    check("and passed over by few", passed_over[len(passed_over) // 2] <= 24, passed_over)
    check("nobody is refused who may wait", all(s == 201 for s, _ in seen), [x for x in seen if x[0] != 201][:3])


def test_without(site):
    """--enable-priority-and-fairness=false: reads and writes apart."""
    server = site.start_server("--enable-priority-and-fairness=false", "--max-requests-inflight", "5", "--max-mutating-requests-inflight", "2")
    api = server.api
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", BINDING)
    site.etcd.signal(signal.SIGSTOP)
    results, lock = [], threading.Lock()

    def write():
        s, o, h = Api(server.port, "usertoken").call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "w-"}})
        with lock:
            results.append((s, h.get("Retry-After")))

    threads = [threading.Thread(target=write) for _ in range(6)]
    [t.start() for t in threads]
    check("too many writes", wait_for(lambda: results.count((429, "1")) == 4, 20), results)
    check("reads have a limit of their own", Api(server.port, "usertoken").call("GET", CM + "?resourceVersion=0")[0] == 200)
    site.etcd.signal(signal.SIGCONT)
    [t.join() for t in threads]
    check("those within it are served", sorted(r[0] for r in results) == [201] * 2 + [429] * 4, results)



def test_deadline(site):
    """Requests end in their time, whatever etcd does; and health says what is wrong."""
    server = site.start_server()
    api = server.api
    s, o, _ = api.call("GET", CM + "?timeout=soon")
    check("no duration", s == 400 and o["message"] == 'invalid timeout specified in the request URL - time: invalid duration "soon"', o)
    check("0 is no limit of one's own", api.call("GET", CM + "?timeout=0s")[0] == 200)
    api.call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}})
    s, text, _ = api.call("GET", "/readyz?verbose")
    check("named checks", s == 200 and "[+]etcd ok\n" in text and "[+]poststarthook/start-service-ip-repair-controllers ok\n" in text and "[+]shutdown ok\n" in text and text.endswith("readyz check passed\n"), text)
    s, text, _ = api.call("GET", "/livez?verbose&exclude=etcd&exclude=nonsense")
    check("excluded", "[+]etcd excluded: ok\n" in text and 'warn: some health checks cannot be excluded: no matches for "nonsense"\n' in text, text)
    check("one alone", api.call("GET", "/livez/ping")[:2] == (200, "ok") and api.call("GET", "/livez/none")[0] == 404)
    site.etcd.signal(signal.SIGSTOP)
    start = time.monotonic()
    s, o, _ = api.call("GET", CM + "/a?timeout=1s")
    took = time.monotonic() - start
    check("a consistent read ends in its time", s == 504 and o["reason"] == "Timeout" and 0.9 < took < 6, (s, took))
    check("so does a list", api.call("GET", CM + "?timeout=500ms")[0] == 504)
    for method, path, body in (("POST", CM, {"metadata": {"name": "b"}}), ("PATCH", CM + "/a", {"data": {"x": "y"}}), ("DELETE", CM + "/a", None)):
        start = time.monotonic()
        s, o, _ = api.call(method, path + "?timeout=1s", body, MERGE if method == "PATCH" else "application/json")
        took = time.monotonic() - start
        check("a write in its time: " + method, s == 504 and o["reason"] == "Timeout" and 0.9 < took < 4.5, (s, o, took))
    check("what needs no etcd is answered", api.call("GET", CM + "/a?resourceVersion=0")[0] == 200)
    site.etcd.signal(signal.SIGCONT)
    check("and all is well again", wait_for(lambda: api.call("GET", CM)[0] == 200))
    site.etcd.kill()
    got = wait_for(lambda: api.call("GET", "/readyz")[0] == 500 and api.call("GET", "/readyz")[1], 15)
    check("without etcd it is not ready", got and "[-]etcd failed: reason withheld\n" in got and got.endswith("readyz check failed\n"), got)
    check("unless etcd is left out", api.call("GET", "/livez?exclude=etcd&exclude=poststarthook/crd-informer-synced")[0] == 200)
    site.start_etcd()
    check("ready with it", wait_for(lambda: api.call("GET", "/readyz")[0] == 200))


def test_slow_clients(site):
    """Clients that send their request drop by drop do not keep others from theirs."""
    server = site.start_server()
    import socket, ssl
    slow = []
    for i in range(100):
        s = ssl._create_unverified_context().wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        s.sendall(b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{" % CM.encode() if i % 2 else b"GET / HTTP/1.1\r\nHost: ")
        slow.append(s)
    check("others are served", all(server.api.call("GET", CM)[0] == 200 for _ in range(20)))
    check("slow ones hold no seats", metric(server.api, "apiserver_flowcontrol_current_executing_requests") <= 1)
    [s.close() for s in slow]


class Flood(threading.Thread):
    """Asks for the same again and again, and counts what it is told."""

    def __init__(self, port, ask, codes):
        super().__init__(daemon=True)
        self.api, self.ask, self.codes, self.stop = Api(port, timeout=20), ask, codes, False

    def run(self):
        while not self.stop:
            try:
                code = self.ask(self.api)
            except Exception as e:
                code = type(e).__name__
            self.codes[code] = self.codes.get(code, 0) + 1


def stalled(api, path):
    """Asks, and never reads the answer."""
    c = api.connect()
    c.request("GET", path, headers=api.headers())
    return c


def stalled_watch(api):
    return stalled(api, CM + "?watch=1")


def test_memory_limit(site):
    """Big writes, LISTs and watchers that do not read, far beyond the limit: the server sheds, stays below, and lives."""
    limit = 64 << 20
    # The address sanitizer's own memory would count too.
    server = site.start_server("--memory-limit", "64Mi", build=BUILD.removesuffix("-asan"))
    api, big = server.api, "x" * (700 << 10)
    codes = [{} for _ in range(4)]

    made = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "big-"}, "data": {"v": big}}).encode()
    changed = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "same"}, "data": {"v": big, "n": "%s"}})

    def ask(a, method, path, body=None, accept="application/json"):
        """The code alone: what is large is not looked at."""
        c = getattr(a.local, "raw", None) or a.connect()
        a.local.raw = None
        c.request(method, path, body, a.headers({"Content-Type": "application/json", "Accept": accept}))
        r = c.getresponse()
        while r.read(1 << 20):
            pass
        a.local.raw = c
        return r.status

    def write(a):
        return ask(a, "POST", CM, made)

    def update(a):
        return ask(a, "PUT", CM + "/same", (changed % time.time()).encode())

    def tables(a):
        return ask(a, "GET", CM, accept="application/json;as=Table;v=v1;g=meta.k8s.io")

    def lists(a):
        return ask(a, "GET", CM)

    api.call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "same"}})
    watches = [stalled_watch(api) for _ in range(30)]
    # Readers of large lists that do not read on: each may hold no copy of an object.
    api.call("POST", CM, made)
    watches += [stalled(api, CM) for _ in range(60)]
    floods = [Flood(server.port, ask, codes[i]) for i, ask in enumerate((write, update, tables, lists)) for _ in range(5)]
    [f.start() for f in floods]
    shed = wait_for(lambda: all(c.get(429, 0) > 2 for c in codes[:2]), 20)
    peak, until = 0, time.time() + 3
    while time.time() < until and server.alive():
        peak = max(peak, server.memory())
        time.sleep(0.02)
    for f in floods:
        f.stop = True
    [f.join(20) for f in floods]
    check("it sheds writes", shed, codes)
    check("it lives", server.alive(), server.text()[-500:])
    peak = server.memory("VmHWM")
    check("it stays below the limit", peak <= limit, (peak >> 20, codes))
    check("reads still work", lists(api) == 200 or wait_for(lambda: lists(api) == 200), codes)
    check("health is told all the time", api.call("GET", "/readyz")[0] == 200)
    [c.close() for c in watches]
    check("refusals are counted", "coracle_apiserver_memory_refusals_total" in api.call("GET", "/metrics")[1])
    # Where room is made, writes are taken again.
    wait_for(lambda: api.call("DELETE", CM)[0] == 200)
    check("with room again it takes writes", wait_for(lambda: write(api) == 201), (server.memory() >> 20))


run([test_classified, test_queued, test_wait_limit, test_fair, test_without, test_deadline, test_slow_clients, test_memory_limit])
