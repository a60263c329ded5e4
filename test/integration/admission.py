#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Admission plugins that an operator turns on or off, and those that hold signing requests, claims and Ingresses to what the cluster says.

usage: test/integration/admission.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, json, os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import check, run, wait_for

NS = "/api/v1/namespaces/default/"
RBAC = "/apis/rbac.authorization.k8s.io/v1/clusterrole"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def users_of(site, *names):
    with open(site.tokens, "a") as f:
        for n in names:
            f.write('%stoken,%s,u-%s,"grp"\n' % (n, n, n))


def as_user(server, user, method, path, body=None, **more):
    return server.api.call(method, path, body, headers={"Authorization": "Bearer %stoken" % user}, **more)


def grant(server, user, *rules):
    """Rules: (verbs, groups, resources[, names])."""
    server.api.call("POST", RBAC + "s", {"metadata": {"name": user}, "rules": [dict(zip(("verbs", "apiGroups", "resources", "resourceNames"), r)) for r in rules]})
    server.api.call("POST", RBAC + "bindings", {"metadata": {"name": user}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
    review = {"spec": {"user": user, "resourceAttributes": {"verb": rules[-1][0][-1], "group": rules[-1][1][0], "resource": rules[-1][2][0], "name": rules[-1][3][0] if len(rules[-1]) > 3 else ""}}}
    check("granted " + user, wait_for(lambda: server.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)[1]["status"]["allowed"]))


def pod(name, meta=None, container=None, **spec):
    return {"metadata": dict({"name": name}, **(meta or {})), "spec": dict({"containers": [dict({"name": "c", "image": "example.com/i:1", "imagePullPolicy": "Never"}, **(container or {}))]}, **spec)}


def signing_request(site, name, signer, subject="/O=some/CN=somebody"):
    key, out = os.path.join(site.folder, name + ".key"), os.path.join(site.folder, name + ".csr")
    subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", out, "-subj", subject], check=True, capture_output=True)
    return {"metadata": {"name": name}, "spec": {"request": base64.b64encode(open(out, "rb").read()).decode(), "signerName": signer, "usages": ["client auth"]}}


def test_signing_requests(site):
    users_of(site, "carol", "dora", "eve")
    server = site.start_server("--authorization-mode", "RBAC")
    group, kind = ["certificates.k8s.io"], "certificatesigningrequests"
    decide = (["get", "update", "patch"], group, [kind, kind + "/approval", kind + "/status"])
    grant(server, "carol", decide, (["approve"], group, ["signers"], ["example.com/a"]))
    grant(server, "dora", decide, (["sign"], group, ["signers"], ["example.com/*"]))
    grant(server, "eve", decide)
    s, made, _ = server.api.call("POST", REQUESTS, signing_request(site, "one", "example.com/a"))
    check("made", s == 201, made)
    approved = {"status": {"conditions": [{"type": "Approved", "status": "True", "reason": "r", "message": "m"}]}}

    def merge(user, what, body):
        return as_user(server, user, "PATCH", REQUESTS + "/one/" + what, body, ctype="application/merge-patch+json")
    for user in "eve", "dora":
        s, o, _ = merge(user, "approval", approved)
        check(user + " may not approve", s == 403 and o["message"] == 'certificatesigningrequests.certificates.k8s.io "one" is forbidden: user not permitted to approve requests with signerName "example.com/a"', o)
    s, o, _ = merge("carol", "approval", approved)
    check("who holds the verb on the signer approves", s == 200 and o["status"]["conditions"][0]["type"] == "Approved", o)
    failed = {"status": {"conditions": o["status"]["conditions"] + [{"type": "Failed", "status": "True", "reason": "r", "message": "m"}]}}
    s, o, _ = merge("carol", "status", failed)
    check("but does not sign", s == 403 and o["message"].endswith(': user not permitted to sign requests with signerName "example.com/a"'), o)
    check("a status that says what it said is anybody's", merge("eve", "status", {"metadata": {"annotations": {"a": "b"}}})[0] == 200)
    s, o, _ = merge("dora", "status", failed)
    check("who holds it on the domain's signers does", s == 200 and len(o["status"]["conditions"]) == 2, o)
    s, o, _ = server.api.call("POST", REQUESTS, signing_request(site, "two", "kubernetes.io/kube-apiserver-client", "/O=some/O=system:masters/CN=somebody"))
    check("nobody asks to be a master", s == 403 and o["message"].endswith(": use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"), o)
    check("others may come", server.api.call("POST", REQUESTS, signing_request(site, "three", "kubernetes.io/kube-apiserver-client", "/O=system:mastersx/CN=somebody"))[0] == 201)


def test_claims(site):
    server = site.start_server()
    for name, grows in ("fixed", False), ("grows", True):
        server.api.call("POST", "/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": name}, "provisioner": "example.com/p", "allowVolumeExpansion": grows})

    def resized(name):
        return server.api.call("PATCH", NS + "persistentvolumeclaims/" + name, {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}, ctype="application/merge-patch+json")
    for name in "fixed", "grows":
        s, o, _ = server.api.call("POST", NS + "persistentvolumeclaims", {"metadata": {"name": name}, "spec": {"storageClassName": name, "volumeName": "v-" + name, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        check("a claim", s == 201, o)
        s, o, _ = resized(name)
        check("one that is not bound stays", s in (403, 422), (s, o))
        server.api.call("PATCH", NS + "persistentvolumeclaims/%s/status" % name, {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"]}}, ctype="application/merge-patch+json")
    s, o, _ = resized("fixed")
    check("its class does not let it grow", s == 403 and o["message"] == 'persistentvolumeclaims "fixed" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize', o)
    s, o, _ = resized("grows")
    check("its class does", s == 200 and o["spec"]["resources"]["requests"]["storage"] == "2Gi", o)


def causes(answer):
    return [(c["field"], c["reason"]) for c in answer.get("details", {}).get("causes", [])]


def test_device_claims(site):
    """What was allocated, and how the devices fare, is written by who may: by subresources that only authorization knows."""
    users_of(site, "carol", "dora", "eve", "finn")
    server = site.start_server("--authorization-mode", "RBAC")
    group, write = ["resource.k8s.io"], ["get", "update", "patch"]
    status = (write, group, ["resourceclaims/status"])
    grant(server, "carol", status)
    grant(server, "dora", status, (write, group, ["resourceclaims/binding"]))
    grant(server, "eve", status, (["arbitrary-node:patch"], group, ["resourceclaims/driver"], ["a.b"]))
    claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims"
    spec = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}}
    s, o, _ = server.api.call("POST", claims, {"metadata": {"name": "x"}, "spec": spec})
    check("a claim", s == 201, o)

    def merge(user, body):
        s, o, _ = as_user(server, user, "PATCH", claims + "/x/status", {"status": body}, ctype="application/merge-patch+json")
        return s, causes(o), o.get("message")
    device = {"driver": "a.b", "pool": "p", "device": "d"}
    allocation = {"allocation": {"devices": {"results": [dict(device, request="r")]}}}
    s, why, text = merge("carol", allocation)
    check("not who may write the status alone", s == 422 and why == [("status.allocation", "FieldValueForbidden")] and 'requires resource=\\"resourceclaims/binding\\", verb=\\"patch\\"' in json.dumps(text) and 'User "carol" cannot patch' in text, (s, why, text))
    check("but what changes nothing", merge("carol", {})[0] == 200)
    s, why, text = merge("dora", allocation)
    check("who may bind", s == 200, (s, why, text))
    seen = {"devices": [dict(device, networkData={"interfaceName": "eth0"})]}
    s, why, text = merge("dora", seen)
    check("not the devices", s == 422 and why == [("status.devices", "FieldValueForbidden")], (s, why, text))
    s, why, text = merge("eve", {"devices": seen["devices"] + [dict(device, driver="c.d")]})
    check("only of the driver", s == 422 and ("status.devices", "FieldValueForbidden") in why and 'resourceclaims.resource.k8s.io "c.d" is forbidden' in text, (s, why, text))
    s, why, text = merge("eve", seen)
    check("who speaks for the driver", s == 200, (s, why, text))

    admin = {"devices": {"requests": [{"name": "q", "exactly": {"deviceClassName": "c"}}, {"name": "r", "exactly": {"deviceClassName": "c", "adminAccess": True}}]}}
    made = lambda name: server.api.call("POST", claims, {"metadata": {"name": name}, "spec": admin})
    templates = claims.replace("resourceclaims", "resourceclaimtemplates")
    for what, (s, o, _) in (("a claim", made("y")), ("a template", server.api.call("POST", templates, {"metadata": {"name": "t"}, "spec": {"spec": admin}}))):
        check("no access for administrators here: " + what, s == 422 and causes(o) == [("spec.devices.requests[1].adminAccess", "FieldValueForbidden")], o)
    server.api.call("PATCH", "/api/v1/namespaces/default", {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}, ctype="application/merge-patch+json")
    check("but where the namespace says so", wait_for(lambda: made("z")[0] == 201))

    server.api.call("POST", RBAC + "bindings", {"metadata": {"name": "lost"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "gone"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "finn"}]})
    lost = 'RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found'
    check("a binding to nothing is told", wait_for(lambda: as_user(server, "finn", "GET", NS + "pods")[1].get("message", "").endswith(": " + lost)))
    review = {"spec": {"user": "finn", "resourceAttributes": {"verb": "get", "resource": "pods", "fieldSelector": {"requirements": [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "a", "operator": "Odd"}]}, "labelSelector": {"rawSelector": "a b"}}}}
    s, o, _ = server.api.call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", review)
    check("and in a review, with what it cannot look at", o.get("status") == {"allowed": False, "reason": lost, "evaluationError": "spec.resourceAttributes.fieldSelector partially ignored due to parse error; spec.resourceAttributes.labelSelector ignored due to parse error"}, o)


def test_ingress_class(site):
    server = site.start_server()
    at, classes = "/apis/networking.k8s.io/v1/namespaces/default/ingresses", "/apis/networking.k8s.io/v1/ingressclasses"

    def made(name, meta=None, **spec):
        s, o, _ = server.api.call("POST", at, {"metadata": dict({"name": name}, **(meta or {})), "spec": dict({"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}, **spec)})
        return o.get("spec", o).get("ingressClassName")
    check("without a default", made("a") is None)
    for name, default in ("other", "false"), ("main", "true"):
        server.api.call("POST", classes, {"metadata": {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": default}}, "spec": {"controller": "example.com/c"}})
    check("with one", made("b") == "main")
    check("what is asked for stays", made("c", ingressClassName="other") == "other" and made("d", {"annotations": {"kubernetes.io/ingress.class": "x"}}) is None)


def test_optional(site):
    server = site.start_server("--enable-admission-plugins", "AlwaysPullImages,LimitPodHardAntiAffinityTopology,DenyServiceExternalIPs,ExtendedResourceToleration,NamespaceAutoProvision,NamespaceExists,AlwaysAdmit", "--disable-admission-plugins", "ServiceAccount,ClusterTrustBundleAttest")
    s, o, _ = server.api.call("POST", NS + "pods", pod("pulled", initContainers=[{"name": "i", "image": "j"}], volumes=[{"name": "v", "image": {"reference": "k", "pullPolicy": "Never"}}]))
    check("every image is pulled", s == 201 and o["spec"]["containers"][0]["imagePullPolicy"] == o["spec"]["initContainers"][0]["imagePullPolicy"] == o["spec"]["volumes"][0]["image"]["pullPolicy"] == "Always", o)
    asked = {"example.com/b": "1", "example.com/a": "1", "cpu": "1"}
    s, o, _ = server.api.call("POST", NS + "pods", pod("extended", container={"resources": {"limits": asked}}, tolerations=[{"key": "example.com/b", "operator": "Exists", "effect": "NoSchedule"}]))
    got = [t for t in o["spec"]["tolerations"] if t["effect"] == "NoSchedule"]
    check("nodes with its devices are tolerated", s == 201 and got == [{"key": "example.com/" + n, "operator": "Exists", "effect": "NoSchedule"} for n in "ba"], o)

    def apart(name, key):
        return server.api.call("POST", NS + "pods", pod(name, affinity={"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": key, "labelSelector": {"matchLabels": {"a": "b"}}}]}}))
    s, o, _ = apart("zone", "topology.kubernetes.io/zone")
    check("no pod claims a zone", s == 403 and o["message"] == 'pods "zone" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey topology.kubernetes.io/zone but only key kubernetes.io/hostname is allowed', o)
    check("a node it may", apart("node", "kubernetes.io/hostname")[0] == 201)
    s, o, _ = server.api.call("POST", NS + "services", {"metadata": {"name": "s"}, "spec": {"externalIPs": ["192.0.2.1"], "ports": [{"port": 80}]}})
    check("no addresses from outside", s == 403 and o["message"] == 'services "s" is forbidden: Use of external IPs is denied by admission control', o)
    s, o, _ = server.api.call("POST", "/api/v1/namespaces/fresh/configmaps?dryRun=All", {"metadata": {"name": "a"}})
    check("a dry run makes no namespace", s == 404 and server.api.call("GET", "/api/v1/namespaces/fresh")[0] == 404, o)
    s, o, _ = server.api.call("POST", "/api/v1/namespaces/fresh/configmaps", {"metadata": {"name": "a"}})
    check("a namespace is made with what is in it", s == 201, o)
    s, o, _ = server.api.call("GET", "/api/v1/namespaces/fresh")
    check("whole", s == 200 and o["metadata"]["labels"] == {"kubernetes.io/metadata.name": "fresh"} and o["spec"]["finalizers"] == ["kubernetes"] and o["status"]["phase"] == "Active", o)
    check("one that cannot be named is not", server.api.call("POST", "/api/v1/namespaces/Bad_Name/configmaps", {"metadata": {"name": "a"}})[0] == 403)
    server = site.start_server("--enable-admission-plugins=AlwaysDeny")
    s, o, _ = server.api.call("POST", NS + "configmaps", {"metadata": {"name": "x"}})
    check("all is denied", s == 403 and o["message"] == 'configmaps "x" is forbidden: admission control is denying all modifications', o)


def test_owners(site):
    users_of(site, "carol", "dora")
    server = site.start_server("--authorization-mode", "RBAC", "--enable-admission-plugins=OwnerReferencesPermissionEnforcement")
    grant(server, "carol", (["get", "create", "update", "patch"], [""], ["configmaps"]))
    grant(server, "dora", (["get", "create", "update", "patch", "delete"], [""], ["configmaps"]), (["update"], [""], ["configmaps/finalizers"], ["owner"]))

    def owner(blocking=None, **more):
        ref = dict({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "u-1"}, **more)
        return dict(ref, blockOwnerDeletion=blocking) if blocking is not None else ref

    def write(user, name, *refs, method="POST"):
        body = {"metadata": {"name": name, "ownerReferences": list(refs)}}
        return as_user(server, user, method, NS + "configmaps" + ("/" + name if method == "PUT" else ""), body)[:2]
    check("a new object may be anybody's", write("carol", "a", owner())[0] == 201)
    s, o = write("carol", "b", owner(True))
    check("that its owner waits for it is not for her to say", s == 403 and o["message"].startswith('configmaps "b" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can\'t set finalizers on: '), o)
    s, o = write("carol", "c", owner(True, kind="Nothing"))
    check("an owner of no kind", s == 403 and 'cannot find RESTMapping for APIVersion v1 Kind Nothing: no matches for kind "Nothing" in version "v1"' in o["message"], o)
    s, o = write("carol", "a", owner(), owner(uid="u-2", name="other"), method="PUT")
    check("who cannot delete gives to nobody", s == 403 and "cannot set an ownerRef on a resource you can't delete: " in o["message"], o)
    check("what stays is free", write("carol", "a", owner(), method="PUT")[0] == 200)
    check("who can, does", write("dora", "a", owner(True), method="PUT")[0] == 200)
    s, o = write("dora", "a", owner(True), owner(True, uid="u-2", name="other"), method="PUT")
    check("for owners that are hers", s == 403, o)


def configured(site, *plugins):
    path = os.path.join(site.folder, "admission.json")
    with open(path, "w") as f:
        json.dump({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": list(plugins)}, f)
    return ["--admission-control-config-file", path]


def namespace(server, name, **annotations):
    s, o, _ = server.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name, "annotations": {"scheduler.alpha.kubernetes.io/" + k.replace("_", "-"): v for k, v in annotations.items()}}})
    check("namespace " + name, s == 201, o)
    return "/api/v1/namespaces/%s/pods" % name


def test_node_selectors(site):
    path = os.path.join(site.folder, "selectors.yaml")
    with open(path, "w") as f:
        f.write("podNodeSelectorPluginConfig:\n  clusterDefaultNodeSelector: zone=a, tier = back\n  listed: zone=a,tier=back,disk=fast\n")
    server = site.start_server("--enable-admission-plugins=PodNodeSelector", "--disable-admission-plugins=ServiceAccount", *configured(site, {"name": "PodNodeSelector", "path": "selectors.yaml"}))
    listed, own, bad = namespace(server, "listed"), namespace(server, "own", node_selector="zone=b"), namespace(server, "bad", node_selector="zone")

    def placed(at, **selector):
        s, o, _ = server.api.call("POST", at, dict(pod("x", nodeSelector=selector), metadata={"generateName": "x"}))
        return o["spec"]["nodeSelector"] if s == 201 else (s, o["message"])
    check("the cluster's default", placed(NS + "pods", disk="slow") == {"zone": "a", "tier": "back", "disk": "slow"}, placed(NS + "pods", disk="slow"))
    check("the namespace's own", placed(own) == {"zone": "b"}, placed(own))
    check("what goes against it", placed(own, zone="c")[0] == 403 and placed(own, zone="c")[1].endswith("pod node label selector conflicts with its namespace node label selector"), placed(own, zone="c"))
    check("what is listed", placed(listed, disk="fast") == {"zone": "a", "tier": "back", "disk": "fast"}, placed(listed, disk="fast"))
    check("what is not", placed(listed, disk="slow")[0] == 403 and placed(listed, disk="slow")[1].endswith("pod node label selector labels conflict with its namespace whitelist"), placed(listed, disk="slow"))
    check("what is no selector", placed(bad) == (500, "invalid selector: [zone]"), placed(bad))


def test_tolerations(site):
    config = {"apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration", "default": [{"key": "a", "operator": "Exists"}],
              "whitelist": [{"key": "a", "operator": "Exists"}, {"key": "b", "operator": "Equal", "value": "1", "effect": "NoExecute", "tolerationSeconds": 60}, {"operator": "Exists", "effect": "NoSchedule"}]}
    server = site.start_server("--enable-admission-plugins=PodTolerationRestriction", "--disable-admission-plugins=ServiceAccount,DefaultTolerationSeconds", *configured(site, {"name": "PodTolerationRestriction", "configuration": config}))
    own = namespace(server, "own", defaultTolerations='[{"key":"c","operator":"Equal","value":"1","effect":"NoExecute"}]', tolerationsWhitelist="")
    none, bad = namespace(server, "none", defaultTolerations=""), namespace(server, "bad", defaultTolerations='[],"nodeName":"n"')

    def tolerated(at, *given, **container):
        s, o, _ = server.api.call("POST", at, dict(pod("x", tolerations=list(given), container=container), metadata={"generateName": "x"}))
        return o["spec"].get("tolerations", []) if s == 201 else (s, o["message"])
    check("the cluster's default", tolerated(NS + "pods") == [{"key": "a", "operator": "Exists"}], tolerated(NS + "pods"))
    check("takes in what it covers", tolerated(NS + "pods", {"key": "a", "operator": "Exists", "effect": "NoExecute"}) == [{"key": "a", "operator": "Exists"}])
    b = {"key": "b", "operator": "Equal", "value": "1", "effect": "NoExecute", "tolerationSeconds": 60}
    check("what is listed", b in tolerated(NS + "pods", b), tolerated(NS + "pods", b))
    for wrong in dict(b, tolerationSeconds=61), dict(b, value="2"), {"operator": "Exists", "effect": "NoExecute"}, {"key": "b", "operator": "Exists", "effect": "NoExecute"}:
        got = tolerated(NS + "pods", wrong)
        check("what is not: %s" % wrong, got == (500, "pod tolerations (possibly merged with namespace default tolerations) conflict with its cluster whitelist"), got)
    pressed = tolerated(none, resources={"requests": {"memory": "1Mi"}})
    check("who asks for memory bears that it is short", pressed == [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}], pressed)
    check("a namespace without", tolerated(none) == [], tolerated(none))
    check("the namespace's own, where an empty list lets in all", tolerated(own, {"key": "z", "operator": "Exists"}) == [{"key": "z", "operator": "Exists"}, {"key": "c", "operator": "Equal", "value": "1", "effect": "NoExecute"}], tolerated(own, {"key": "z", "operator": "Exists"}))
    check("what is no list", tolerated(bad)[0] == 500 and "defaultTolerations" in tolerated(bad)[1], tolerated(bad))


def test_limited(site):
    """What is not to be had without a quota."""
    limited = [{"resource": "configmaps", "matchContains": ["configmaps"]}, {"resource": "pods", "matchContains": ["requests.cpu"], "matchScopes": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]},
               {"apiGroup": "apps", "resource": "controllerrevisions", "matchContains": ["none"]}]
    quota_config = {"name": "ResourceQuota", "configuration": {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration", "limitedResources": limited}}
    server = site.start_server("--disable-admission-plugins=ServiceAccount", *configured(site, quota_config))
    api = server.api
    api.call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 5})

    def made(what, body):
        s, o, _ = api.call("POST", NS + what, body)
        return s if s == 201 else (s, o.get("reason"), o["message"])

    def quota(name, hard, **spec):
        check("quota", made("resourcequotas", {"metadata": {"name": name}, "spec": dict({"hard": hard}, **spec)}) == 201)
        s, o, _ = api.call("PATCH", NS + "resourcequotas/%s/status" % name, {"status": {"hard": hard, "used": {k: "0" for k in hard}}}, "application/merge-patch+json")
        check("its status", s == 200, o)
    configmap = lambda n: {"metadata": {"name": n}}
    got = made("configmaps", configmap("a"))
    check("without a quota", got == (403, "Forbidden", 'configmaps "a" is forbidden: insufficient quota to consume: configmaps,count/configmaps'), got)
    check("what is not limited", made("secrets", {"metadata": {"name": "s"}}) == 201)
    quota("some", {"configmaps": "5"})
    got = made("configmaps", configmap("a"))
    check("not all of it", got == (403, "Forbidden", 'configmaps "a" is forbidden: insufficient quota to consume: count/configmaps'), got)
    quota("all", {"configmaps": "5", "count/configmaps": "5"})
    got = wait_for(lambda: made("configmaps", configmap("a")) in (201,), 10) and made("configmaps", configmap("b"))
    check("with a quota", got == 201, got)
    check("what asks for nothing", made("pods", pod("free")) == 201)
    got = made("pods", pod("cpu", container={"resources": {"requests": {"cpu": "1"}}}))
    check("a pod's", got == (403, "Forbidden", 'pods "cpu" is forbidden: insufficient quota to consume: requests.cpu'), got)
    got = made("pods", pod("high", priorityClassName="high"))
    check("a scope", got == (500, None, "insufficient quota to match these scopes: [{PriorityClass In [high]}]"), got)
    quota("prior", {"pods": "5"}, scopeSelector={"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}]})
    got = wait_for(lambda: made("pods", pod("high", priorityClassName="high")) == 201, 10)
    check("a quota of that scope", got, made("pods", pod("high", priorityClassName="high")))


def test_limited_refused(site):
    refuses(site, "limitedResources[0].resource: Required value", *configured(site, {"name": "ResourceQuota", "configuration": {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "ResourceQuotaConfiguration", "limitedResources": [{"matchContains": ["x"]}]}}))
    # What is said to plugins that are off, or that there are not, is nobody's business.
    server = site.start_server("--disable-admission-plugins=ResourceQuota", *configured(site, {"name": "ResourceQuota", "configuration": {"kind": "Nonsense"}}, {"name": "NoSuchPlugin", "configuration": {}}))
    check("it starts", server.alive(), server.text())


def test_event_rates(site):
    users_of(site, "carol", "dora")

    def limits(*rows):
        return {"name": "EventRateLimit", "configuration": {"apiVersion": "eventratelimit.admission.k8s.io/v1alpha1", "kind": "Configuration", "limits": list(rows)}}
    hour = {"qps": 1, "burst": 3}
    server = site.start_server("--authorization-mode=AlwaysAllow", "--enable-admission-plugins=EventRateLimit", *configured(site, limits({"type": "User", "qps": 1, "burst": 100}, {"type": "SourceAndObject", "qps": 1, "burst": 1, "cacheSize": 2})))

    def sent(user, about, query=""):
        s, o, _ = as_user(server, user, "POST", NS + "events" + query, {"metadata": {"generateName": "e"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": about}, "source": {"component": "c"}, "reason": "r"})
        return s, o.get("message"), o.get("reason")
    # A bucket fills by one a second: of many at once most are refused, however slow the machine.
    got = [sent("carol", "a") for _ in range(60)]
    check("one about an object", got[0][0] == 201, got[0])
    refused = [g for g in got if g[0] != 201]
    check("no more at once", refused and set(refused) == {(429, "Too many requests: limit reached on type SourceAndObject for key cPoddefaulta", "TooManyRequests")}, refused[:1])
    check("a dry run counts for nothing", all(sent("carol", "a", "?dryRun=All")[0] == 201 for _ in range(5)))
    check("others are not held up", [sent("carol", n)[0] for n in "bc"] == [201, 201])
    check("one whose bucket had to go begins anew", sent("carol", "a")[0] == 201)
    s, o, _ = server.api.call("POST", "/apis/events.k8s.io/v1/namespaces/default/events", {"metadata": {"name": "n"}, "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal", "regarding": {"kind": "Pod", "namespace": "default", "name": "a"}})
    check("Events of the other group are not its business", s == 201, o)
    for rows, said in (([], "limits: Invalid value: null: must not be empty"), ([dict(hour, type="Planet")], 'limits[0].type: Unsupported value: "Planet"'), ([dict(hour, type="User", burst=0, cacheSize=-1)], "limits[0].burst: Invalid value: 0: must be positive, limits[0].cacheSize: Invalid value: -1: must not be negative")):
        refuses(site, said, "--enable-admission-plugins=EventRateLimit", *configured(site, limits(*rows)))
    refuses(site, 'couldn\'t init admission plugin "EventRateLimit"', "--enable-admission-plugins=EventRateLimit")
    refuses(site, "podNodeSelectorPluginConfig[a]: must be a string", "--enable-admission-plugins=PodNodeSelector", *configured(site, {"name": "PodNodeSelector", "configuration": {"podNodeSelectorPluginConfig": {"a": 1}}}))
    refuses(site, 'unknown field "whitelists"', "--enable-admission-plugins=PodTolerationRestriction", *configured(site, {"name": "PodTolerationRestriction", "configuration": {"apiVersion": "podtolerationrestriction.admission.k8s.io/v1alpha1", "kind": "Configuration", "whitelists": []}}))


def refuses(site, said, *flags):
    server = site.start_server(*flags, wait=False)
    check("it does not start", wait_for(lambda: not server.alive(), 60))
    server.kill()
    check("told: " + said, said.replace('"', '\\"') in server.text(), server.text()[-600:])


def test_flags(site):
    for flags, said in ((["--enable-admission-plugins=NoSuch"], 'enable-admission-plugins plugin "NoSuch" is unknown'), (["--disable-admission-plugins=NoSuch"], 'disable-admission-plugins plugin "NoSuch" is unknown'),
                        (["--enable-admission-plugins=Priority", "--disable-admission-plugins=Priority"], "[Priority] in enable-admission-plugins and disable-admission-plugins overlapped"),
                        (["--admission-control=Priority"], "name plugins by --enable-admission-plugins and --disable-admission-plugins"),
                        (["--enable-admission-plugins=ImagePolicyWebhook"], 'plugin "ImagePolicyWebhook" is not served here')):
        refuses(site, said, *flags)


if __name__ == "__main__":
    run([test_signing_requests, test_claims, test_device_claims, test_ingress_class, test_optional, test_owners, test_node_selectors, test_tolerations, test_event_rates, test_limited, test_limited_refused, test_flags])
