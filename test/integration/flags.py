#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What single flags of the API server do: its end, its metrics, the size of audit events; which values are refused, and which refusals know the default.

usage: test/integration/flags.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import json, os, signal, socket, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import Api, Watch, check, run, wait_for

NS = "/api/v1/namespaces/default/"


def test_delay(site):
    """It says that it is leaving, and serves on; asked twice, it goes."""
    server = site.start_server("--shutdown-delay-duration=1h")
    api = server.api
    server.signal(signal.SIGTERM)
    check("/readyz says so", wait_for(lambda: api.call("GET", "/readyz")[0] == 500) and "[-]shutdown failed" in api.call("GET", "/readyz?verbose")[1], api.call("GET", "/readyz?verbose"))
    check("/livez and /healthz do not", api.call("GET", "/livez")[0] == 200 and api.call("GET", "/healthz")[0] == 200)
    check("all is served", api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}})[0] == 201 and api.call("GET", NS + "configmaps/c")[0] == 200)
    check("it is still a member", len(api.get("/api/v1/namespaces/default/endpoints/kubernetes")["subsets"][0]["addresses"]) == 1)
    server.signal(signal.SIGTERM)
    check("the second word", wait_for(lambda: not server.alive()) and server.p.returncode == 0)


def test_retry_after(site):
    """While a watch ends in its own time, what is new is told to come again."""
    server = site.start_server("--shutdown-send-retry-after", "--shutdown-watch-termination-grace-period=1h")
    api = server.api
    watches = [Watch(api, NS + "configmaps?watch=1") for _ in range(3)]
    api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}})
    for w in watches:
        w.wait(1)
    server.signal(signal.SIGTERM)
    check("the first watch is ended at once", wait_for(lambda: any(w.ended for w in watches)))
    s, o, h = Api(server.port).call("GET", NS + "configmaps")
    check("429", s == 429 and h["Retry-After"] == "5" and h["Connection"] == "close" and o == "The apiserver is shutting down, please try again later.\n" and h["Content-Type"].startswith("text/plain"), (s, o, dict(h)))
    check("who asks how it is", Api(server.port).call("GET", "/livez")[0] == 200 and Api(server.port).call("GET", "/readyz")[0] == 500 and Api(server.port).call("GET", "/metrics")[0] == 200)
    check("it is told of no more", wait_for(lambda: not json.loads(site.etcdctl("get", "--prefix", "/registry/masterleases/", "-w", "json")).get("kvs")))
    for w in watches:
        if not w.ended:
            w.r.fp.raw._sock.shutdown(socket.SHUT_RDWR)
    check("with the last watch it ends", wait_for(lambda: not server.alive()) and server.p.returncode == 0, server.text()[-500:])


def test_watches_end(site):
    server = site.start_server("--shutdown-watch-termination-grace-period=2s")
    watches = [Watch(server.api, NS + "configmaps?watch=1") for _ in range(4)]
    server.api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}})
    for w in watches:
        w.wait(1)
    server.signal(signal.SIGTERM)
    check("all come to an end", wait_for(lambda: all(w.ended for w in watches)))
    check("as watches do", all(w.r.isclosed() or w.r.length in (0, None) for w in watches))
    check("nobody is let in meanwhile, and it ends", wait_for(lambda: not server.alive()) and server.p.returncode == 0)


def test_metrics(site):
    manifest = os.path.join(site.folder, "labels.yaml")
    with open(manifest, "w") as f:
        f.write('"apiserver_request_total,verb": "GET,POST"\n"apiserver_request_total,version": "v9"\n')
    api = site.start_server("--disabled-metrics=apiserver_request_duration_seconds,version_info", "--allow-metric-labels-manifest", manifest, "--allow-metric-labels=apiserver_request_total,resource=configmaps",
                            "--show-hidden-metrics-for-version=1.35").api
    api.call("GET", NS + "configmaps/none")
    api.call("DELETE", NS + "secrets/none")
    text = api.call("GET", "/metrics")[1]
    check("those that are not told", "apiserver_request_duration_seconds" not in text and "version_info" not in text)
    rows = [l for l in text.splitlines() if l.startswith("apiserver_request_total{")]
    check("values that may be told", any('resource="configmaps"' in l and 'verb="GET"' in l for l in rows), rows)
    check("and others", any('resource="unexpected"' in l and 'verb="unexpected"' in l for l in rows) and not any('resource="secrets"' in l or 'verb="DELETE"' in l or 'version="v1"' in l for l in rows), rows)


def test_truncation(site):
    policy, log = os.path.join(site.folder, "policy.yaml"), os.path.join(site.folder, "audit.log")
    with open(policy, "w") as f:
        json.dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": [{"level": "RequestResponse", "resources": [{"resources": ["configmaps"]}]}]}, f)
    server = site.start_server("--audit-policy-file", policy, "--audit-log-path", log, "--audit-log-truncate-enabled", "--audit-log-truncate-max-event-size=2500")
    api = server.api
    api.call("POST", NS + "configmaps", {"metadata": {"name": "small"}})
    api.call("POST", NS + "configmaps", {"metadata": {"name": "large"}, "data": {"a": "x" * 5000}})
    api.call("GET", NS + "configmaps/none?pretty=" + "y" * 5000)

    def events():
        with open(log) as f:
            return [json.loads(l) for l in f]
    check("told", wait_for(lambda: len(events()) >= 2), server.text())
    by_name = {e["objectRef"].get("name", e.get("requestObject", {}).get("metadata", {}).get("name")): e for e in events()}
    check("what is small is whole", "requestObject" in by_name["small"] and "responseObject" in by_name["small"] and "audit.k8s.io/truncated" not in by_name["small"].get("annotations", {}), by_name)
    large = by_name.get("large") or by_name.get(None)
    check("what is large is cut", large and "requestObject" not in large and "responseObject" not in large and large["annotations"]["audit.k8s.io/truncated"] == "true" and large["level"] == "RequestResponse", by_name)
    check("what is too large even so is counted", 'apiserver_audit_error_total{plugin="truncate"} 1' in api.call("GET", "/metrics")[1] and len(events()) == 2)


def test_reconciler(site):
    api = site.start_server("--endpoint-reconciler-type=none", "--livez-grace-period=1h", "--storage-backend=etcd3", "--lease-reuse-duration-seconds=5").api
    check("endpoints are somebody else's", api.call("GET", "/api/v1/namespaces/default/endpoints/kubernetes")[0] == 404 and api.call("GET", "/api/v1/namespaces/default/services/kubernetes")[0] == 200)


def test_values(site):
    """Bad ones are told by their flag; what Kubernetes has by default is taken, though there is nothing else here."""
    for flag, says in (("--goaway-chance=0.5", "goaway-chance"), ("--storage-backend=etcd2", "storage-backend"), ("--show-hidden-metrics-for-version=1.20", "'1.35'"), ("--shutdown-delay-duration=-1s", "shutdown-delay-duration"),
                       ("--livez-grace-period=-1s", "livez-grace-period"), ("--endpoint-reconciler-type=x", "endpoint-reconciler-type"), ("--allow-metric-labels=x=y", "metric,label"), ("--emulated-version=1.33", "emulated-version"),
                       ("--debug-socket-path=/tmp/x", "debug-socket-path"), ("--kubernetes-service-node-port=30000", "kubernetes-service-node-port"), ("--admission-control", "admission-control"), ("--tls-curve-preferences=29", "tls-curve-preferences")):
        bad = site.start_server(flag, wait=False)
        check(flag, wait_for(lambda: not bad.alive()) and bad.p.returncode == 1 and says in bad.text(), bad.text())
    truncated = site.start_server("--audit-log-truncate-enabled", "--audit-log-truncate-max-event-size=0", wait=False)
    check("a size that is none", wait_for(lambda: not truncated.alive()) and "max event size 0" in truncated.text(), truncated.text())
    good = site.start_server("--kubernetes-service-node-port=0", "--egress-selector-config-file=", "--etcd-servers-overrides=[]", "--emulated-version=1.36", "--min-compatibility-version=1.35", "--tls-curve-preferences=", "--debug-socket-path=", "--goaway-chance=0.02")
    check("defaults", good.alive(), good.text())


run([test_delay, test_retry_after, test_watches_end, test_metrics, test_truncation, test_reconciler, test_values])
