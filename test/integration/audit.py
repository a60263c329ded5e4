#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The audit log: what is told of which request.

usage: test/integration/audit.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import json, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from hooks import Hooks, patch
from servers import Api, Watch, check, run, wait_for

NS = "/api/v1/namespaces/default/"
GROUP = "/apis/admissionregistration.k8s.io/v1/"
POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: None, nonResourceURLs: ["/readyz*", "/livez"]}
- {level: None, users: ["system:apiserver"]}
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, namespaces: [default], resources: [{group: "", resources: [configmaps]}], omitManagedFields: true}
- {level: Request, verbs: [create], resources: [{group: "", resources: ["serviceaccounts/token"]}]}
- {level: Metadata, resources: [{group: "", resources: [namespaces]}], omitStages: [ResponseStarted]}
- {level: Metadata, resources: [{group: apps}], verbs: [watch], omitStages: []}
- {level: Metadata, nonResourceURLs: ["/version"]}
"""


class Log:
    def __init__(self, site, policy=POLICY):
        self.path, self.policy = os.path.join(site.folder, "audit.log"), os.path.join(site.folder, "policy.yaml")
        with open(self.policy, "w") as f:
            f.write(policy)

    def flags(self, *more):
        return ("--audit-policy-file", self.policy, "--audit-log-path", self.path) + more

    def events(self, **wanted):
        with open(self.path) as f:
            events = [json.loads(line) for line in f]
        return [e for e in events if all(e.get(k) == v for k, v in wanted.items())]


def test_events(site):
    log = Log(site)
    api = site.start_server(*log.flags()).api
    api.call("POST", NS + "configmaps?fieldManager=me", {"metadata": {"name": "c"}, "data": {"a": "1"}}, headers={"User-Agent": "test/1", "Audit-ID": "abc", "X-Forwarded-For": "1.2.3.4, nonsense"})
    (e,) = log.events(auditID="abc")
    check("its head", (e["kind"], e["apiVersion"], e["level"], e["stage"], e["requestURI"], e["verb"], e["userAgent"]) == ("Event", "audit.k8s.io/v1", "RequestResponse", "ResponseComplete", NS + "configmaps?fieldManager=me", "create", "test/1"), e)
    check("who and whence", e["user"] == {"username": "admin", "uid": "1", "groups": ["system:masters", "system:authenticated"]} and e["sourceIPs"] == ["1.2.3.4", "127.0.0.1"], e)
    check("of what", e["objectRef"] == {"resource": "configmaps", "namespace": "default", "name": "c", "apiVersion": "v1"}, e)
    check("what came of it", e["responseStatus"] == {"metadata": {}, "code": 201} and e["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}, e)
    check("both bodies", e["requestObject"]["data"] == {"a": "1"} and e["responseObject"]["metadata"]["uid"] and "managedFields" not in e["responseObject"]["metadata"], e)
    check("and when", e["requestReceivedTimestamp"] <= e["stageTimestamp"], e)
    api.call("POST", NS + "secrets", {"metadata": {"name": "s"}, "stringData": {"a": "hidden"}})
    e = log.events(requestURI=NS + "secrets")[0]
    check("no bodies of secrets", e["level"] == "Metadata" and "requestObject" not in e and "hidden" not in json.dumps(e) and e["objectRef"]["name"] == "s", e)
    api.call("GET", NS + "configmaps/nope")
    e = log.events(requestURI=NS + "configmaps/nope")[0]
    check("an error", e["responseStatus"]["code"] == 404 and e["responseStatus"]["reason"] == "NotFound" and e["responseStatus"]["status"] == "Failure" and e["responseObject"]["kind"] == "Status", e)
    api.call("GET", NS + "configmaps")
    e = log.events(requestURI=NS + "configmaps", verb="list")[0]
    check("a list", [i["metadata"]["name"] for i in e["responseObject"]["items"]] == ["c"], e)
    api.call("GET", NS + "configmaps", headers={"Authorization": "Bearer usertoken"})
    e = log.events(requestURI=NS + "configmaps", verb="list")[1]
    check("who may not", e["responseStatus"]["code"] == 403 and e["annotations"]["authorization.k8s.io/decision"] == "forbid" and e["user"]["username"] == "alice", e)
    api.call("GET", "/api/v1/namespaces/default", headers={"Impersonate-User": "bob"})
    e = log.events(requestURI="/api/v1/namespaces/default")[0]
    check("who speaks for another", e["user"]["username"] == "admin" and e["impersonatedUser"] == {"username": "bob", "groups": ["system:authenticated"]}, e)
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    api.call("POST", NS + "serviceaccounts/default/token", {"spec": {"audiences": ["x"]}})
    check("a subresource alone", not log.events(requestURI=NS + "serviceaccounts") and log.events(requestURI=NS + "serviceaccounts/default/token")[0]["requestObject"]["spec"] == {"audiences": ["x"], "expirationSeconds": 3600, "boundObjectRef": None})
    api.call("GET", "/version")
    check("paths", log.events(requestURI="/version") and not [e for e in log.events() if "readyz" in e["requestURI"]])
    watch = Watch(api, "/apis/apps/v1/deployments?watch=1&timeoutSeconds=1")
    check("a watch begins", wait_for(lambda: log.events(verb="watch", stage="ResponseStarted")))
    check("and ends", wait_for(lambda: [e for e in log.events(verb="watch", stage="ResponseComplete") if e["responseStatus"]["code"] == 200]), watch.events)


def test_annotations(site):
    log = Log(site, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Request, resources: [{group: '', resources: [configmaps]}]}]\n")
    api = site.start_server(*log.flags()).api
    hooks = Hooks(site.folder)
    hooks.handlers["m"] = lambda r: dict(patch({"op": "add", "path": "/data/m", "value": "1"}), auditAnnotations={"why": "so"})
    base = {"rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}], "sideEffects": "None", "admissionReviewVersions": ["v1"]}
    api.call("POST", GROUP + "mutatingwebhookconfigurations", {"metadata": {"name": "conf"}, "webhooks": [dict(base, name="m.example.com", clientConfig=hooks.client("m")), dict(base, name="gone.example.com", failurePolicy="Ignore", clientConfig={"url": "https://127.0.0.1:1/x"})]})
    spec = {"matchConstraints": {"resourceRules": [dict(base["rules"][0])]}, "validations": [{"expression": "false", "message": "never"}], "auditAnnotations": [{"key": "seen", "valueExpression": "'in ' + object.metadata.namespace"}]}
    api.call("POST", GROUP + "validatingadmissionpolicies", {"metadata": {"name": "p"}, "spec": spec})
    api.call("POST", GROUP + "validatingadmissionpolicybindings", {"metadata": {"name": "b"}, "spec": {"policyName": "p", "validationActions": ["Audit"]}})
    s, o, _ = api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    check("it is made", s == 201, o)
    received, e = log.events(requestURI=NS + "configmaps")
    a = e["annotations"]
    check("its arrival says less", received["stage"] == "RequestReceived" and "annotations" not in received and "responseStatus" not in received, received)
    check("what a webhook says", a["m.example.com/why"] == "so" and json.loads(a["mutation.webhook.admission.k8s.io/round_0_index_0"]) == {"configuration": "conf", "webhook": "m.example.com", "mutated": True}, a)
    check("and does", json.loads(a["patch.webhook.admission.k8s.io/round_0_index_0"])["patch"] == [{"op": "add", "path": "/data/m", "value": "1"}], a)
    check("who was let pass", a["failed-open.mutation.webhook.admission.k8s.io/round_0_index_1"] == "gone.example.com", a)
    check("what a policy says", a["p/seen"] == "in default" and json.loads(a["validation.policy.admission.k8s.io/validation_failure"]) == [{"message": "never", "policy": "p", "binding": "b", "expressionIndex": 0, "validationActions": ["Audit"]}], a)
    hooks.close()


def test_files(site):
    log = Log(site, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse, resources: [{group: '', resources: [configmaps]}]}]\n")
    api = site.start_server(*log.flags("--audit-log-maxsize=1", "--audit-log-maxbackup=2")).api
    for i in range(12):
        api.call("POST", NS + "configmaps", {"metadata": {"name": "c%d" % i}, "data": {"a": "x" * 300000}})
    names = sorted(n for n in os.listdir(site.folder) if n.startswith("audit"))
    check("files are turned over, few are kept", len(names) == 3 and "audit.log" in names and all(n.endswith(".log") for n in names), names)
    check("each is bounded and whole", all(os.path.getsize(os.path.join(site.folder, n)) <= 1 << 20 for n in names) and log.events()[-1]["objectRef"]["name"] == "c11", names)
    with open(log.policy, "w") as f:
        f.write("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: []\n")
    server = site.start_server(*log.flags(), wait=False)
    check("a policy without rules is none", wait_for(lambda: not server.alive()) and "0 rules" in server.text(), server.text())


def test_strangers(site):
    log = Log(site, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]\n")
    api = site.start_server(*log.flags()).api
    api.call("GET", NS + "configmaps", headers={"Authorization": "Bearer nonsense", "Audit-ID": "who"})
    told = log.events(auditID="who")
    check("who is nobody is told of, once", [(e["stage"], e["user"], e["responseStatus"]["code"], e["responseStatus"]["reason"]) for e in told] == [("ResponseStarted", {}, 401, "Unauthorized")], told)
    check("and what he asked for", told[0]["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}, told)
    api.call("POST", NS + "configmaps", {"metadata": {"name": "f"}}, headers={"Authorization": "Bearer usertoken", "Audit-ID": "may-not"})
    e = log.events(auditID="may-not")[-1]
    check("what may not be made is not looked at", "name" not in e["objectRef"] and "requestObject" not in e, e)
    api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}}, headers={"Audit-ID": "made", "X-Real-Ip": "5.6.7.8"})
    e = log.events(auditID="made")[-1]
    check("a body says its kind", (e["requestObject"]["kind"], e["requestObject"]["apiVersion"]) == ("ConfigMap", "v1") and e["sourceIPs"] == ["5.6.7.8", "127.0.0.1"], e)
    api.call("DELETE", NS + "configmaps/c", headers={"Audit-ID": "gone"})
    e = log.events(auditID="gone")[-1]
    check("what a Status says", e["responseStatus"] == dict(e["responseStatus"], status="Success", code=200) and e["responseStatus"]["details"]["name"] == "c", e)
    api.call("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {"metadata": {"name": "b"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]})
    why = 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "cluster-admin" to User "alice"'
    check("who may, and why", wait_for(lambda: api.call("GET", NS + "configmaps", headers={"Authorization": "Bearer usertoken", "Audit-ID": "may"})[0] == 200) and log.events(auditID="may")[-1]["annotations"]["authorization.k8s.io/reason"] == why)
    review = api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", {"spec": {"user": "alice", "resourceAttributes": {"verb": "list", "resource": "pods"}}})[1]
    check("as a review says", review["status"] == {"allowed": True, "reason": why}, review)


def test_batches(site):
    """By way of a queue, to the file and to a server."""
    log = Log(site, "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata, resources: [{group: '', resources: [configmaps]}]}]\n")
    hooks = Hooks(site.folder)
    hooks.handlers["audit"] = lambda _: (500 if len(hooks.reviews) == 1 else 200, "{}")
    config = os.path.join(site.folder, "audit.kubeconfig")
    with open(config, "w") as f:
        json.dump({"apiVersion": "v1", "kind": "Config", "clusters": [{"name": "a", "cluster": {"server": "https://127.0.0.1:%d/audit" % hooks.port, "certificate-authority-data": hooks.ca}}], "users": [{"name": "a", "user": {}}],
                   "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], "current-context": "a"}, f)
    server = site.start_server(*log.flags("--audit-log-mode=batch", "--audit-webhook-config-file=" + config, "--audit-webhook-batch-max-size=10", "--audit-webhook-batch-max-wait=200ms", "--audit-webhook-initial-backoff=10ms"))
    for i in range(25):
        server.api.call("POST", NS + "configmaps", {"metadata": {"name": "c%d" % i}})
    names = ["c%d" % i for i in range(25)]
    check("the file has all, in order", wait_for(lambda: [e["objectRef"]["name"] for e in log.events(verb="create")] == names))
    def posted():
        # The first was refused, and came again.
        return [e["objectRef"]["name"] for r in hooks.reviews[1:] for e in r["items"] if e["verb"] == "create"]
    check("so has the server", wait_for(lambda: posted() == names, 20), posted())
    check("in lists of no more than was asked for", all(r["kind"] == "EventList" and r["apiVersion"] == "audit.k8s.io/v1" and 0 < len(r["items"]) <= 10 for r in hooks.reviews) and hooks.reviews[0] == hooks.reviews[1], hooks.reviews)
    metrics = server.api.call("GET", "/metrics")[1]
    check("all is counted", 'apiserver_audit_level_total{level="Metadata"}' in metrics and "apiserver_audit_event_total" in metrics and 'apiserver_audit_error_total{plugin="webhook"}' not in metrics)
    hooks.close()
    bad = site.start_server(*log.flags("--audit-log-mode=sometimes"), wait=False)
    check("a mode that is none", wait_for(lambda: not bad.alive()) and "invalid audit mode" in bad.text(), bad.text())


def test_strict(site):
    """What cannot be told does not happen, where the mode says so: no disk can be written in /dev/full."""
    policy = os.path.join(site.folder, "policy.yaml")
    with open(policy, "w") as f:
        f.write("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- {level: None, nonResourceURLs: [\"/readyz*\"]}\n- {level: Metadata, users: [admin]}\n")
    for mode, code in (("blocking", 201), ("blocking-strict", 500)):
        api = site.start_server("--audit-policy-file", policy, "--audit-log-path", "/dev/full", "--audit-log-mode", mode).api
        s, o, h = api.call("POST", NS + "configmaps?fieldManager=a%26b&pretty=false", {"metadata": {"name": mode}})
        check(mode, s == code, (s, o))
    check("the answer", o == 'Internal Server Error: "%sconfigmaps?fieldManager=a%%26b&amp;pretty=false": failed to store audit event\n' % NS and h["Content-Type"] == "text/plain; charset=utf-8" and h["X-Content-Type-Options"] == "nosniff", (o, h))
    robot = Api(api.port, "usertoken")
    check("nothing was done", robot.call("GET", NS + "configmaps/" + mode)[0] == 403 and site.etcdctl("get", "/registry/configmaps/default/" + mode) == "")


run([test_events, test_annotations, test_files, test_strangers, test_batches, test_strict])
