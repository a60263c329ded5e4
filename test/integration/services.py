#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Cluster IPs and node ports: chosen, asked for, given back, repaired, and never given out twice by two API servers on one etcd.

usage: test/integration/services.py BUILD_DIR     prints "N passed, N failed"; exit status 1 where one failed
"""
import json, os, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import check, wait_for

SERVICES = "/api/v1/namespaces/default/services"
ADDRESSES = "/apis/networking.k8s.io/v1/ipaddresses"
CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"


def service(name, **spec):
    meta = {"generateName": name} if name.endswith("-") else {"name": name}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": dict({"ports": [{"port": 80}], "selector": {"a": "b"}}, **spec)}


def create(api, name, **spec):
    return api.call("POST", SERVICES, service(name, **spec))[:2]


def addresses(api):
    return {i["metadata"]["name"]: i for i in api.get(ADDRESSES)["items"]}


def ports(site):
    out = site.etcdctl("get", "--prefix", "/registry/ranges/servicenodeports/", "--keys-only")
    return {line.rsplit("/", 1)[1] for line in out.split() if line}


def reason(o):
    return o.get("reason"), [(c["field"], c["message"]) for c in o.get("details", {}).get("causes", [])]


def test_addresses(site):
    api = site.start_server().api
    default = api.get(CIDRS + "/kubernetes")
    check("the default ServiceCIDR", default["spec"]["cidrs"] == ["10.96.0.0/16"] and default["status"]["conditions"][0]["status"] == "True", default)
    first = addresses(api)["10.96.0.1"]
    check("the first address", first["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "kubernetes"}, first)
    s, o = create(api, "a")
    ip = o["spec"]["clusterIP"]
    a = addresses(api).get(ip, {})
    check("an IPAddress for each", s == 201 and a["spec"]["parentRef"]["name"] == "a" and a["metadata"]["labels"] == {
        "ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}, a)
    check("chosen from the upper band", ip.split(".")[2] != "0", ip)
    check("families", o["spec"]["ipFamilies"] == ["IPv4"] and o["spec"]["ipFamilyPolicy"] == "SingleStack" and o["spec"]["clusterIPs"] == [ip], o)
    s, o = create(api, "b", clusterIP="10.96.0.77")
    check("asked for", s == 201 and o["spec"]["clusterIPs"] == ["10.96.0.77"], o)
    s, o = create(api, "c", clusterIP="10.96.0.77")
    check("taken", s == 422 and reason(o) == ("Invalid", [("spec.clusterIPs", 'Invalid value: ["10.96.0.77"]: failed to allocate IP 10.96.0.77: provided IP is already allocated')]), o)
    s, o = create(api, "c", clusterIP="10.97.0.1")
    check("out of range", s == 422 and "the provided network does not match the current range" in o["message"], o)
    s, o = create(api, "c", clusterIP="10.96.255.255")
    check("broadcast", s == 422 and "is not in the valid range. The range of valid IPs is 10.96.0.0/16" in o["message"], o)
    s, o = create(api, "c", clusterIP="10.96.0.300")
    check("no address", s == 422 and o["details"]["causes"][0]["field"].startswith("spec.clusterIPs"), o)
    s, o = create(api, "c", ipFamilies=["IPv6"])
    check("no such family", s == 422 and reason(o)[1] == [("spec.ipFamilies[0]", 'Invalid value: "IPv6": not configured on this cluster')], o)
    s, o = create(api, "c", ipFamilyPolicy="RequireDualStack")
    check("no second stack", s == 422 and reason(o)[1][0] == ("spec.ipFamilyPolicy", 'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services'), o)
    held = set(addresses(api))
    s, o, _ = api.call("POST", SERVICES + "?dryRun=All", service("dry", type="NodePort", clusterIP="10.96.0.78"))
    check("a dry run takes nothing", s == 201 and o["spec"]["ports"][0]["nodePort"] and set(addresses(api)) == held and not ports(site), o)
    s, o = create(api, "dry", clusterIP="10.96.0.78")
    check("and leaves it free", s == 201, o)
    s, o = create(api, "b", clusterIP="10.96.0.79")
    check("a failed create gives back", s == 409 and "10.96.0.79" not in addresses(api), o)
    s, o = create(api, "bad_name", clusterIP="10.96.0.79")
    check("so does an invalid one", s == 422 and "10.96.0.79" not in addresses(api), o)
    s, o = create(api, "headless", clusterIP="None")
    check("headless", s == 201 and o["spec"]["clusterIPs"] == ["None"] and o["spec"]["ipFamilies"] == ["IPv4"], o)
    s, o, _ = api.call("POST", SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "free"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}})
    check("headless without selector", s == 201 and o["spec"]["ipFamilies"] == ["IPv4", "IPv6"] and o["spec"]["ipFamilyPolicy"] == "RequireDualStack", o)
    s, o = create(api, "outside", type="ExternalName", externalName="example.com", ports=[])
    check("ExternalName", s == 201 and "clusterIP" not in o["spec"], o)
    s, o, _ = api.call("PATCH", SERVICES + "/b", {"spec": {"type": "ExternalName", "externalName": "example.com"}}, "application/merge-patch+json")
    check("to ExternalName gives back", s == 200 and "clusterIP" not in o["spec"] and "10.96.0.77" not in addresses(api), o)
    s, o, _ = api.call("PATCH", SERVICES + "/b", {"spec": {"type": "ClusterIP", "externalName": None}}, "application/merge-patch+json")
    check("from ExternalName gets one", s == 200 and addresses(api)[o["spec"]["clusterIP"]]["spec"]["parentRef"]["name"] == "b", o)
    s, o, _ = api.call("PATCH", SERVICES + "/b", {"spec": {"clusterIP": "10.96.0.99"}}, "application/merge-patch+json")
    check("an address does not change", s == 422 and "10.96.0.99" not in addresses(api), o)
    check("delete gives back at once", api.call("DELETE", SERVICES + "/a")[0] == 200 and ip not in addresses(api))
    s, o = create(api, "again", clusterIP=ip)
    check("for the next", s == 201, o)
    api.call("PATCH", SERVICES + "/again", {"metadata": {"finalizers": ["example.com/hold"]}}, "application/merge-patch+json")
    api.call("DELETE", SERVICES + "/again")
    check("held by a finalizer", ip in addresses(api))
    api.call("PATCH", SERVICES + "/again", {"metadata": {"finalizers": None}}, "application/merge-patch+json")
    check("until it is gone", ip not in addresses(api))


def test_ports(site):
    api = site.start_server("--service-node-port-range", "30000-30099").api
    s, o = create(api, "n", type="NodePort", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 53}, {"name": "c", "port": 53, "protocol": "UDP"}])
    got = [p["nodePort"] for p in o["spec"]["ports"]]
    check("chosen", s == 201 and len(set(got)) == 2 and got[1] == got[2] and all(30016 <= p <= 30099 for p in got), o)
    check("claimed", ports(site) == {str(p) for p in got}, ports(site))
    s, o = create(api, "m", type="NodePort", ports=[{"port": 1, "nodePort": got[0]}])
    check("taken", s == 422 and reason(o)[1] == [("spec.ports[0].nodePort", "Invalid value: %d: provided port is already allocated" % got[0])], o)
    s, o = create(api, "m", type="NodePort", ports=[{"port": 1, "nodePort": 29999}])
    check("out of range", s == 422 and "provided port is not in the valid range. The range of valid ports is 30000-30099" in o["message"], o)
    s, o = create(api, "m", type="NodePort", ports=[{"name": "a", "port": 1, "nodePort": 30001}, {"name": "b", "port": 2, "nodePort": 30001, "protocol": "UDP"}])
    check("one number for two ports", s == 422, o)
    s, o = create(api, "lb", type="LoadBalancer", externalTrafficPolicy="Local", ports=[{"port": 1, "nodePort": 30003}])
    health = o["spec"].get("healthCheckNodePort")
    check("health check port", s == 201 and health and {str(health), "30003"} <= ports(site), o)
    s, o, _ = api.call("PATCH", SERVICES + "/lb", {"spec": {"externalTrafficPolicy": "Cluster"}}, "application/merge-patch+json")
    check("goes with the policy", s == 200 and "healthCheckNodePort" not in o["spec"] and str(health) not in ports(site), o)
    s, o = create(api, "none", type="LoadBalancer", allocateLoadBalancerNodePorts=False, ports=[{"port": 1}])
    check("a load balancer without", s == 201 and "nodePort" not in o["spec"]["ports"][0], o)
    s, o, _ = api.call("GET", SERVICES + "/n")
    o["spec"]["ports"] = [{"name": "a", "port": 81}]
    s, o, _ = api.call("PUT", SERVICES + "/n", o)
    check("kept by name, dropped ones given back", s == 200 and o["spec"]["ports"][0]["nodePort"] == got[0] and str(got[1]) not in ports(site), (o, ports(site)))
    s, o, _ = api.call("PATCH", SERVICES + "/n", {"spec": {"type": "ClusterIP"}}, "application/merge-patch+json")
    check("given back with the type", s == 200 and "nodePort" not in o["spec"]["ports"][0] and str(got[0]) not in ports(site), o)
    api.call("DELETE", SERVICES + "/lb")
    check("and with the service", not ports(site), ports(site))
    made = [create(api, "full-", type="NodePort")[0] for _ in range(101)]
    check("until none is left", made == [201] * 100 + [500], made)


def test_ranges(site):
    api = site.start_server().api
    s, o, _ = api.call("POST", CIDRS, {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR", "metadata": {"name": "more"}, "spec": {"cidrs": ["172.30.0.0/24"]}})
    check("a second range", s == 201, o)
    s, o = create(api, "early", clusterIP="172.30.0.5")
    check("gives nothing before it is ready", s == 422, o)
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "x", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}}
    s, o, _ = api.call("PATCH", CIDRS + "/more/status", ready, "application/merge-patch+json")
    check("made ready", s == 200 and o["status"]["conditions"][0]["status"] == "True", o)
    s, o = create(api, "later", clusterIP="172.30.0.5")
    check("gives afterwards", s == 201 and "172.30.0.5" in addresses(api), o)


def test_small_range(site):
    api = site.start_server().api
    made = [create(api, "s-")[0] for _ in range(14)]
    check("a full range", made == [201] * 13 + [500], made)
    check("holds each address once", len(addresses(api)) == 14)


def test_dual_stack(site):
    api = site.start_server().api
    s, o = create(api, "d", ipFamilyPolicy="PreferDualStack")
    four, six = o["spec"]["clusterIPs"]
    check("two stacks", s == 201 and o["spec"]["ipFamilies"] == ["IPv4", "IPv6"] and six.startswith("fd00:1234::") and {four, six} <= set(addresses(api)), o)
    check("label of the sixth", addresses(api)[six]["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"] == "IPv6")
    s, o, _ = api.call("PATCH", SERVICES + "/d", {"spec": {"ipFamilyPolicy": "SingleStack"}}, "application/merge-patch+json")
    check("down to one", s == 200 and o["spec"]["clusterIPs"] == [four] and six not in addresses(api), o)
    s, o, _ = api.call("PATCH", SERVICES + "/d", {"spec": {"ipFamilyPolicy": "RequireDualStack"}}, "application/merge-patch+json")
    check("and up again", s == 200 and o["spec"]["clusterIPs"][0] == four and o["spec"]["clusterIPs"][1] in addresses(api), o)
    s, o = create(api, "e", ipFamilies=["IPv6"])
    check("the sixth alone", s == 201 and ":" in o["spec"]["clusterIP"] and o["spec"]["ipFamilyPolicy"] == "SingleStack", o)
    s, o = create(api, "f", clusterIP="fd00:1234::7", clusterIPs=["fd00:1234::7", "10.96.0.9"], ipFamilyPolicy="RequireDualStack")
    check("both asked for", s == 201 and o["spec"]["ipFamilies"] == ["IPv6", "IPv4"], o)
    api.call("DELETE", SERVICES + "/f")
    check("both given back", not {"fd00:1234::7", "10.96.0.9"} & set(addresses(api)))


def test_two_servers(site):
    """The same few addresses and ports through two servers at once."""
    servers = [site.start_server("--service-node-port-range", "30000-30063") for _ in range(2)]
    results, lock = [], threading.Lock()

    def work(api, n):
        for i in range(30):
            s, o = create(api, "t-", type="NodePort")
            with lock:
                results.append((s, o))
            if s == 201 and (n + i) % 3 == 0:
                api.call("DELETE", SERVICES + "/" + o["metadata"]["name"])

    threads = [threading.Thread(target=work, args=(servers[n % 2].api, n)) for n in range(6)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    live = [i for i in servers[0].api.get(SERVICES)["items"] if i["metadata"]["name"] != "kubernetes"]
    ips = [i["spec"]["clusterIP"] for i in live]
    nodes = [i["spec"]["ports"][0]["nodePort"] for i in live]
    check("made some", len([1 for s, _ in results if s == 201]) >= 64, [s for s, _ in results])
    check("no address twice", len(set(ips)) == len(ips), ips)
    check("no port twice", len(set(nodes)) == len(nodes), nodes)
    check("addresses are held by what lives", set(addresses(servers[1].api)) == set(ips) | {"10.96.0.1"})
    check("so are ports", ports(site) == {str(p) for p in nodes}, ports(site) ^ {str(p) for p in nodes})
    one = {}

    def race(api):
        s, o = create(api, "r-", clusterIP="10.96.0.200", type="NodePort", ports=[{"port": 1}])
        with lock:
            one.setdefault(s, []).append(o)

    threads = [threading.Thread(target=race, args=(servers[n % 2].api,)) for n in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check("one of eight gets the address", len(one.get(201, [])) == 1 and len(one.get(422, [])) == 7 or len(live) == 64, {k: len(v) for k, v in one.items()})


def test_repair(site):
    server = site.start_server()
    api = server.api
    s, o = create(api, "keep", type="NodePort")
    ip, port = o["spec"]["clusterIP"], o["spec"]["ports"][0]["nodePort"]
    api.call("DELETE", ADDRESSES + "/" + ip)
    got = wait_for(lambda: addresses(api).get(ip))
    check("a lost IPAddress comes back", got and got["spec"]["parentRef"]["name"] == "keep", got)
    events = [e for e in wait_for(lambda: api.get("/api/v1/namespaces/default/events")["items"]) if e["reason"] == "ClusterIPNotAllocated"]
    check("and an Event says so", events and events[0]["involvedObject"]["name"] == "keep" and events[0]["reportingComponent"] == "ipallocator-repair-controller", events)
    site.etcdctl("del", "/registry/ranges/servicenodeports/%d" % port)
    check("so does a port", wait_for(lambda: str(port) in ports(site)))
    # What a server leaves behind that dies between claim and Service.
    leak = dict(addresses(api)[ip], metadata={"name": "10.96.7.7", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": got["metadata"]["labels"]})
    leak["spec"] = {"parentRef": {"resource": "services", "namespace": "default", "name": "never-was"}}
    site.etcdctl("put", "/registry/ipaddresses/10.96.7.7", stdin=json.dumps(leak))
    site.etcdctl("put", "/registry/ranges/servicenodeports/31999", stdin=json.dumps(dict(leak, metadata={"name": "31999", "creationTimestamp": "2026-01-01T00:00:00Z"})))
    young = dict(leak, metadata=dict(leak["metadata"], name="10.96.7.8", creationTimestamp="2099-01-01T00:00:00Z"))
    site.etcdctl("put", "/registry/ipaddresses/10.96.7.8", stdin=json.dumps(young))
    foreign = dict(leak, metadata={"name": "10.96.7.9", "creationTimestamp": "2026-01-01T00:00:00Z"}, spec={"parentRef": {"group": "gateway.networking.k8s.io", "resource": "gateways", "namespace": "x", "name": "y"}})
    site.etcdctl("put", "/registry/ipaddresses/10.96.7.9", stdin=json.dumps(foreign))
    check("a server stops", server.stop() == 0, server.text()[-500:])
    api = site.start_server().api
    check("a leaked address is given back at the start", wait_for(lambda: "10.96.7.7" not in addresses(api)))
    check("a leaked port too", wait_for(lambda: "31999" not in ports(site)))
    check("what may be on its way stays", "10.96.7.8" in addresses(api) and ip in addresses(api) and str(port) in ports(site))
    check("what is another's stays", "10.96.7.9" in addresses(api))


if __name__ == "__main__":
    import servers
    groups = [((test_addresses, test_ports, test_ranges, test_two_servers, test_repair), {}), ((test_small_range,), {"ranges": "10.96.0.0/28"}), ((test_dual_stack,), {"ranges": "10.96.0.0/16,fd00:1234::/108"})]
    if len(sys.argv) > 2:
        groups = [([t for t in tests if t.__name__ in sys.argv[2:]], args) for tests, args in groups]
    for tests, args in groups:
        servers.run_some(tests, args)
    servers.finish()
