#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The audit log: what is told of which request.

usage: test/integration/audit.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import json, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from hooks import Hooks, patch
from servers import Watch, check, run, wait_for

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


run([test_events, test_annotations, test_files])
