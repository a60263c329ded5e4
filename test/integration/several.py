#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Several API servers on one etcd: they answer alike, know of each other, and begin with the same objects.

usage: test/integration/several.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import json, os, re, signal, socket, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import Api, Watch, check, run, server_ready, wait_for

CM = "/api/v1/namespaces/default/configmaps"
ENDPOINTS = "/api/v1/namespaces/default/endpoints/kubernetes"
SLICE = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
FLOW = "/apis/flowcontrol.apiserver.k8s.io/v1"
MERGE = "application/merge-patch+json"


def members(api):
    endpoints, piece = api.get(ENDPOINTS), api.get(SLICE)
    classic = [a["ip"] for s in endpoints.get("subsets", []) for a in s["addresses"]]
    sliced = [e["addresses"][0] for e in piece.get("endpoints") or []]
    return sorted(classic) if sorted(classic) == sorted(sliced) else (classic, sliced)


def test_side_by_side(site):
    """Both start at once, from an empty etcd, with one folder for their certificate."""
    folder = os.path.join(site.folder, "certificates")
    a, b = (site.start_server(wait=False, cert_dir=folder) for _ in range(2))
    check("both become ready", server_ready(a) and server_ready(b), a.text()[-800:] + b.text()[-800:])
    s, made, _ = a.api.call("POST", CM, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"n": "0"}})
    watch = Watch(b.api, CM + "?watch=1&resourceVersion=" + made["metadata"]["resourceVersion"])
    for n in range(1, 40):
        writer, reader = (a.api, b.api) if n % 2 else (b.api, a.api)
        s, o, _ = writer.call("PATCH", CM + "/x", {"data": {"n": str(n)}}, MERGE)
        got, listed = reader.get(CM + "/x"), reader.get(CM)
        if not check("a write through one is read through the other", got.get("data") == {"n": str(n)} and listed["items"][-1]["data"] == {"n": str(n)}, (n, s, o, got)):
            break
    events = watch.wait(39)
    check("and watched", [e["object"]["data"]["n"] for e in events] == [str(n) for n in range(1, 40)])
    watch.close()
    for path in ("/apis", "/openapi/v3", "/api/v1", RBAC + "/clusterroles?limit=5", "/version"):
        x, y = a.api.get(path), b.api.get(path)
        for o in (x, y):
            isinstance(o, dict) and isinstance(o.get("metadata"), dict) and [o["metadata"].pop(k, None) for k in ("resourceVersion", "continue")]
        check("alike: " + path, x == y, (str(x)[:200], str(y)[:200]))


def test_members(site):
    a = site.start_server()
    check("one member", members(a.api) == ["127.0.0.1"], members(a.api))
    b = site.start_server()
    check("two", wait_for(lambda: members(a.api) == ["127.0.0.1", "127.0.0.2"]), members(a.api))
    check("its keys are Kubernetes' own", set(site.etcdctl("get", "--prefix", "/registry/masterleases/", "--keys-only").split()) == {"/registry/masterleases/127.0.0.1", "/registry/masterleases/127.0.0.2"})
    leases = [l for l in a.api.get("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?labelSelector=apiserver.kubernetes.io/identity%3Dkube-apiserver")["items"]]
    check("Leases tell who they are", len(leases) == 2 and all(l["spec"]["holderIdentity"].startswith(l["metadata"]["name"] + "_") and l["spec"]["leaseDurationSeconds"] == 3600 for l in leases), leases)
    addresses = sorted(l["metadata"]["annotations"]["kubernetes.io/peer-advertise-address"] for l in leases)
    check("and where", addresses == ["127.0.0.1:%d" % a.port, "127.0.0.2:%d" % b.port] and all(re.fullmatch("apiserver-[a-z2-7]{26}", l["metadata"]["name"]) for l in leases), leases)
    # Somebody writes nonsense into the endpoints: they are put right with the next renewal at the latest.
    service = a.api.get("/api/v1/namespaces/default/services/kubernetes")
    check("the service", service["spec"]["clusterIP"] == "10.96.0.1" and service["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}, service)
    check("one leaves", b.stop() == 0 and wait_for(lambda: members(a.api) == ["127.0.0.1"]), members(a.api))
    c = site.start_server()
    check("another comes", wait_for(lambda: members(a.api) == ["127.0.0.1", "127.0.0.3"]), members(a.api))
    c.kill()
    key = json.loads(site.etcdctl("get", "-w", "json", "/registry/masterleases/127.0.0.3"))["kvs"][0]
    life = json.loads(site.etcdctl("lease", "timetolive", "-w", "json", "%x" % key["lease"]))
    check("its key has a lease", 0 < life["ttl"] <= 15, life)
    site.etcdctl("lease", "revoke", "%x" % key["lease"])  # as it ends by itself, sooner
    check("one that dies is taken out when its lease ends", wait_for(lambda: members(a.api) == ["127.0.0.1"]), members(a.api))
    a.api.call("DELETE", ENDPOINTS)
    check("deleted endpoints come back", wait_for(lambda: members(a.api) == ["127.0.0.1"]))


class Road(threading.Thread):
    """A way to etcd that can be closed: what is sent meanwhile waits, and arrives later."""

    def __init__(self, url):
        super().__init__(daemon=True)
        host, port = url.split("//")[1].rsplit(":", 1)
        self.to, self.open, self.waiting = (host, int(port)), threading.Event(), b""
        self.open.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = "http://127.0.0.1:%d" % self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            near, _ = self.listener.accept()
            try:
                far = socket.create_connection(self.to)
            except OSError:  # etcd is not there yet: who came comes again
                near.close()
                continue
            for source, sink, held in ((near, far, True), (far, near, False)):
                threading.Thread(target=self.carry, args=(source, sink, held), daemon=True).start()

    def carry(self, source, sink, held):
        try:
            while data := source.recv(65536):
                if held and not self.open.is_set():
                    self.waiting += data
                    self.open.wait()
                sink.sendall(data)
        except OSError:
            pass
        sink.close()


def test_fence_holds_on_the_way_to_etcd(site):
    """A leader's write was looked at and is on its way when another takes the lease: it must not be done."""
    road = Road(site.etcd_url)
    a, b = site.start_server(etcd_url=road.url), site.start_server()
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "there"}, "data": {"n": "0"}}
    fence = {"Coracle-Fence": "default/lead/old"}
    b.api.call("POST", leases, {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lead"}, "spec": {"holderIdentity": "old"}})
    b.api.call("POST", CM, config_map)
    check("a write of the holder", wait_for(lambda: a.api.call("PATCH", CM + "/there", {"data": {"n": "1"}}, MERGE, fence)[0] == 200))
    check("and while it renews", all(a.api.call("PATCH", leases + "/lead", {"spec": {"leaseTransitions": n}}, MERGE, fence)[0] == 200 and
                                     a.api.call("PATCH", CM + "/there", {"data": {"n": str(n)}}, MERGE, fence)[0] == 200 for n in range(2, 30)))
    for what, mark, *request in (("create", b"late", "POST", CM, dict(config_map, metadata={"name": "late"}), "application/json", fence),
                                 ("patch", b"mended", "PATCH", CM + "/there", {"data": {"n": "mended"}}, MERGE, fence),
                                 ("delete", b"configmaps/default/there", "DELETE", CM + "/there", None, None, fence)):
        b.api.call("PATCH", leases + "/lead", {"spec": {"holderIdentity": "old"}}, MERGE)
        check("it leads (%s)" % what, wait_for(lambda: a.api.get(leases + "/lead")["spec"]["holderIdentity"] == "old"))
        before = b.api.get(CM + "/there")
        road.waiting = b""
        road.open.clear()
        answer = []
        sent = threading.Thread(target=lambda: answer.append(Api(a.port).call(*request)[0]))
        sent.start()
        check("the %s is on its way" % what, wait_for(lambda: mark in road.waiting))
        check("another leads", b.api.call("PATCH", leases + "/lead", {"spec": {"holderIdentity": "new"}}, MERGE)[0] == 200)
        road.open.set()
        sent.join()
        check("the %s is refused" % what, answer == [409], answer)
        check("and was not done", b.api.call("GET", CM + "/late")[0] == 404 and b.api.get(CM + "/there") == before)
    check("the new one writes", a.api.call("DELETE", CM + "/there", headers={"Coracle-Fence": "default/lead/new"})[0] == 200)


def test_reconciled_at_start(site):
    a = site.start_server()
    api = a.api
    role, kept = RBAC + "/clusterroles/system:basic-user", RBAC + "/clusterroles/system:discovery"
    before = api.get(role)["rules"]
    api.call("PATCH", role, {"rules": before[:1] + [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["extras"]}]}, MERGE)
    api.call("PATCH", kept, {"rules": None, "metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}}, MERGE)
    binding = RBAC + "/clusterrolebindings/system:basic-user"
    api.call("PATCH", binding, {"subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "extra"}]}, MERGE)
    api.call("DELETE", RBAC + "/clusterroles/view")
    api.call("DELETE", "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")
    flow, own, mandatory = FLOW + "/flowschemas/service-accounts", FLOW + "/flowschemas/global-default", FLOW + "/flowschemas/catch-all"
    api.call("PATCH", flow, {"spec": {"matchingPrecedence": 8000}}, MERGE)
    api.call("PATCH", own, {"spec": {"matchingPrecedence": 9800}, "metadata": {"annotations": {"apf.kubernetes.io/autoupdate-spec": "false"}}}, MERGE)
    api.call("PATCH", FLOW + "/prioritylevelconfigurations/workload-low", {"spec": {"limited": {"nominalConcurrencyShares": 7}}}, MERGE)
    a.stop()
    api = site.start_server().api
    rules = api.get(role)["rules"]
    check("missing permissions come back, others stay", all(r in rules for r in before) and any(r["apiGroups"] == ["example.com"] for r in rules), rules)
    check("not where the owner says no", not api.get(kept).get("rules"))
    subjects = [s["name"] for s in api.get(binding)["subjects"]]
    check("missing subjects come back", subjects == ["extra", "system:authenticated"], subjects)
    check("deleted ones too", api.call("GET", RBAC + "/clusterroles/view")[0] == 200 and api.call("GET", "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical")[0] == 200)
    check("flow schemas get their spec back", api.get(flow)["spec"]["matchingPrecedence"] == 9000)
    check("unless they are the operator's", api.get(own)["spec"]["matchingPrecedence"] == 9800)
    check("so do priority levels", api.get(FLOW + "/prioritylevelconfigurations/workload-low")["spec"]["limited"]["nominalConcurrencyShares"] == 100)
    unchanged = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in api.get(RBAC + "/clusterroles")["items"]}
    api = site.start_server().api
    again = {o["metadata"]["name"]: o["metadata"]["resourceVersion"] for o in api.get(RBAC + "/clusterroles")["items"]}
    check("a start that finds all in place writes nothing", unchanged == again, [n for n in again if again[n] != unchanged.get(n)])


run([test_side_by_side, test_members, test_fence_holds_on_the_way_to_etcd, test_reconciled_at_start])
