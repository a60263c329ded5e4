#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What a kubelet may read and change, and which tokens it gets: the Node authorizer, and NodeRestriction behind it.

usage: test/integration/node_restriction.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import Api, check, run

NS = "/api/v1/namespaces/default/"
MERGE = "application/merge-patch+json"


def start(site):
    with open(site.tokens, "a") as f:
        f.write('nodetoken,system:node:n1,9,"system:nodes"\n')
    server = site.start_server("--authorization-mode", "Node,RBAC")
    api, node = server.api, Api(server.port, "nodetoken")
    s, o, _ = node.call("POST", "/api/v1/nodes", {"metadata": {"name": "n1", "labels": {"kubernetes.io/hostname": "n1", "x.kubelet.kubernetes.io/a": "b", "mine": "y"}}, "spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]}})
    check("a node makes itself", s == 201, o)
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "default"}})
    return api, node, o["metadata"]["uid"]


def refused(what, answer, text):
    s, o, _ = answer
    check(what, s == 403 and text in o["message"], (s, o))


def pod(name, node="n1", **spec):
    return {"metadata": {"name": name}, "spec": dict({"nodeName": node, "containers": [{"name": "c", "image": "i"}]}, **spec)}


def test_node(site):
    api, node, _ = start(site)
    at = "/api/v1/nodes/n1"
    refused("another node", node.call("POST", "/api/v1/nodes", {"metadata": {"name": "n2"}}), 'node "n1" is not allowed to modify node "n2"')
    api.call("DELETE", at)
    refused("labels of admins", node.call("POST", "/api/v1/nodes", {"metadata": {"name": "n1", "labels": {"node-role.kubernetes.io/x": "", "a.node-restriction.kubernetes.io/b": "", "foo.k8s.io/z": "", "kubernetes.io/os": "linux"}}}),
            'node "n1" is not allowed to set the following labels: a.node-restriction.kubernetes.io/b, foo.k8s.io/z, node-role.kubernetes.io/x')
    node.call("POST", "/api/v1/nodes", {"metadata": {"name": "n1"}, "spec": {"taints": [{"key": "t", "effect": "NoSchedule"}]}})
    api.call("PATCH", at, {"metadata": {"labels": {"node-role.kubernetes.io/x": "y"}}}, MERGE)
    refused("nor do they change them", node.call("PATCH", at, {"metadata": {"labels": {"node-role.kubernetes.io/x": "z"}}}, MERGE), "is not allowed to modify labels: node-role.kubernetes.io/x")
    refused("nor take them away", node.call("PATCH", at, {"metadata": {"labels": {"node-role.kubernetes.io/x": None}}}, MERGE), "is not allowed to modify labels: node-role.kubernetes.io/x")
    refused("taints", node.call("PATCH", at, {"spec": {"taints": [{"key": "u", "effect": "NoSchedule"}]}}, MERGE), 'node "n1" is not allowed to modify taints')
    refused("owners", node.call("PATCH", at, {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u"}]}}, MERGE), 'node "n1" is not allowed to modify ownerReferences')
    s, o, _ = node.call("PATCH", at, {"metadata": {"labels": {"mine": "z", "topology.kubernetes.io/zone": "a"}}}, MERGE)
    check("its own labels", s == 200, o)
    s, o, _ = node.call("PATCH", at + "/status", {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, MERGE)
    check("its status", s == 200, o)
    leases = "/apis/coordination.k8s.io/v1/namespaces/%s/leases"
    refused("another's lease", node.call("POST", leases % "kube-node-lease", {"metadata": {"name": "n2"}}), "can only access node lease with the same name as the requesting node")
    refused("another lease", node.call("POST", leases % "default", {"metadata": {"name": "n1"}}), 'can only access leases in the "kube-node-lease" system namespace')
    check("its own", node.call("POST", leases % "kube-node-lease", {"metadata": {"name": "n1"}})[0] == 201)
    csi = "/apis/storage.k8s.io/v1/csinodes"
    refused("another's drivers", node.call("POST", csi, {"metadata": {"name": "n2"}, "spec": {"drivers": []}}), "can only access CSINode with the same name as the requesting node")
    check("its own drivers", node.call("POST", csi, {"metadata": {"name": "n1"}, "spec": {"drivers": []}})[0] == 201)


def signing_request(site, name):
    key = os.path.join(site.folder, "node.key")
    pem = subprocess.run(["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-subj", "/O=system:nodes/CN=" + name], check=True, capture_output=True).stdout
    return {"metadata": {"generateName": "c-"}, "spec": {"signerName": "kubernetes.io/kube-apiserver-client-kubelet", "usages": ["client auth"], "request": base64.b64encode(pem).decode()}}


def test_pods(site):
    api, node, uid = start(site)
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}, "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid, "controller": True}]}

    def made(name, node_name="n1", owner=None, metadata=None, **spec):
        p = pod(name, node_name, **spec)
        p["metadata"].update(mirror if metadata is None else metadata)
        if owner is not None:
            p["metadata"]["ownerReferences"] = [dict(mirror["ownerReferences"][0], **owner)]
        return node.call("POST", NS + "pods", p)

    refused("pods that are no mirrors", made("p", metadata={}), 'pod does not have "kubernetes.io/config.mirror" annotation, node "n1" can only create mirror pods')
    refused("of another node", made("p", "n2"), 'node "n1" can only create pods with spec.nodeName set to itself')
    refused("without owner", made("p", metadata={"annotations": mirror["annotations"]}), 'node "n1" can only create pods with an owner reference set to itself')
    refused("of another owner", made("p", owner={"name": "n2"}), 'node "n1" can only create pods with an owner reference set to itself')
    refused("that is no controller", made("p", owner={"controller": False}), 'node "n1" can only create pods with a controller owner reference set to itself')
    refused("and lets itself be deleted", made("p", owner={"blockOwnerDeletion": True}), 'node "n1" must not set blockOwnerDeletion on an owner reference')
    refused("or was another", made("p", owner={"uid": "other"}), "node n1 UID mismatch: expected other got " + uid)
    for spec, text in (({"serviceAccountName": "default"}, "serviceaccounts"), ({"imagePullSecrets": [{"name": "s"}]}, "secrets"), ({"volumes": [{"name": "v", "configMap": {"name": "m"}}]}, "configmaps"),
                       ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "m"}}]}, "persistentvolumeclaims"), ({"volumes": [{"name": "v", "csi": {"driver": "d"}}]}, "csidrivers (via CSI volumes)")):
        refused("that names " + text, made("p", **spec), 'node "n1" can not create pods that reference ' + text)
    s, o, _ = made("mirror")
    check("a mirror", s == 201, o)
    refused("changes it no more", node.call("PATCH", NS + "pods/mirror", {"metadata": {"labels": {"a": "b"}}}, MERGE), "")
    for name, at in (("here", "n1"), ("there", "n2")):
        s, o, _ = api.call("POST", NS + "pods", pod(name, at))
        check("pod " + name, s == 201, o)
    status = {"status": {"phase": "Running"}}
    check("its pod's status", node.call("PATCH", NS + "pods/here/status", status, MERGE)[0] == 200)
    refused("another's", node.call("PATCH", NS + "pods/there/status", status, MERGE), 'node "n1" can only update pod status for pods with spec.nodeName set to itself')
    refused("evicts no other's", node.call("POST", NS + "pods/there/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "there"}}), "node n1 can only evict pods with spec.nodeName set to itself")
    refused("deletes no other's", node.call("DELETE", NS + "pods/there"), 'node "n1" can only delete pods with spec.nodeName set to itself')
    s, o, _ = node.call("POST", NS + "pods/here/eviction", {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "here"}})
    check("evicts its own", s == 201, o)
    check("deletes its own", node.call("DELETE", NS + "pods/mirror")[0] == 200)
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    refused("asks for no other's certificate", node.call("POST", requests, signing_request(site, "system:node:n2")), "can only create a node CSR with CN=system:node:n1")
    s, o, _ = node.call("POST", requests, signing_request(site, "system:node:n1"))
    check("but for its own", s == 201, o)
    s, o, _ = api.call("POST", requests, signing_request(site, "someone"), headers={"Impersonate-User": "bob", "Impersonate-Group": "system:masters", "Impersonate-Extra-Color": "red"})
    check("a request tells all of who asks", s == 201 and o["spec"]["username"] == "bob" and o["spec"]["extra"] == {"color": ["red"]}, o)


def test_tokens(site):
    api, node, _ = start(site)
    volumes = [{"name": "t", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}}, {"name": "c", "csi": {"driver": "d.example.com"}},
               {"name": "p", "persistentVolumeClaim": {"claimName": "claim"}}]
    api.call("POST", "/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": "d.example.com"}, "spec": {"tokenRequests": [{"audience": "driver"}], "volumeLifecycleModes": ["Ephemeral"]}})
    api.call("POST", "/apis/storage.k8s.io/v1/csidrivers", {"metadata": {"name": "e.example.com"}, "spec": {"tokenRequests": [{"audience": "claimed"}]}})
    api.call("POST", "/api/v1/persistentvolumes", {"metadata": {"name": "volume"}, "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "csi": {"driver": "e.example.com", "volumeHandle": "h"}}})
    api.call("POST", NS + "persistentvolumeclaims", {"metadata": {"name": "claim"}, "spec": {"volumeName": "volume", "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
    uids = {}
    for name, at in (("here", "n1"), ("there", "n2")):
        s, o, _ = api.call("POST", NS + "pods", pod(name, at, volumes=volumes, automountServiceAccountToken=name == "here"))
        check("pod " + name, s == 201, o)
        uids[name] = o["metadata"]["uid"]

    def token(name="here", audiences=(), uid=None, bound=True, account="default"):
        spec = {"audiences": list(audiences)}
        if bound:
            spec["boundObjectRef"] = {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uids.get(name, "u") if uid is None else uid}
        return node.call("POST", NS + "serviceaccounts/%s/token" % account, {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec})

    for audiences in ((), ("vault",), ("driver",), ("claimed",)):
        s, o, _ = token(audiences=audiences)
        check("a token for %s" % (audiences,), s == 201 and o["status"]["token"], o)
    refused("not bound", token(bound=False), "node requested token not bound to a pod")
    refused("to no uid", token(uid=""), "node requested token with a pod binding without a uid")
    refused("to another uid", token(uid="x"), "the UID in the bound object reference (x) does not match the UID in record. The object might have been deleted and then recreated")
    refused("to another node's pod", token("there"), "node requested token bound to a pod scheduled on a different node")
    check("to none", token("gone")[0] == 404)
    refused("two audiences", token(audiences=("vault", "driver")), "node may only request 0 or 1 audiences")
    refused("an audience that the pod does not name", token(audiences=("other",)), 'serviceaccounts "default" is forbidden: audience "other" not found in pod spec volume, system:node:n1 is not authorized to request tokens for this audience')
    rbac = "/apis/rbac.authorization.k8s.io/v1/"
    api.call("POST", rbac + "clusterroles", {"metadata": {"name": "other"}, "rules": [{"verbs": ["request-serviceaccounts-token-audience"], "apiGroups": [""], "resources": ["other"], "resourceNames": ["default"]}]})
    api.call("POST", rbac + "clusterrolebindings", {"metadata": {"name": "other"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "other"}, "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}]})
    s, o, _ = token(audiences=("other",))
    check("unless it is allowed to", s == 201, o)


def test_reads(site):
    """What a pod on the node uses may be read, whatever way it names it."""
    api, node, _ = start(site)
    volumes = [{"name": "a", "secret": {"secretName": "s1"}}, {"name": "b", "projected": {"sources": [{"secret": {"name": "s2"}}, {"configMap": {"name": "m1"}}]}}, {"name": "c", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s3"}}},
               {"name": "d", "iscsi": {"targetPortal": "1.2.3.4:3260", "iqn": "iqn.2001-04.com.example:x", "lun": 0, "secretRef": {"name": "s4"}}}, {"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}},
               {"name": "f", "persistentVolumeClaim": {"claimName": "c1"}}, {"name": "g", "configMap": {"name": "m2"}}]
    containers = [{"name": "c", "image": "i", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s5", "key": "k"}}}], "envFrom": [{"configMapRef": {"name": "m3"}}]}]
    s, o, _ = api.call("POST", NS + "pods", {"metadata": {"name": "p"}, "spec": {"nodeName": "n1", "automountServiceAccountToken": False, "imagePullSecrets": [{"name": "s6"}], "volumes": volumes, "containers": containers}})
    check("a pod", s == 201, o)
    s, o, _ = api.call("PATCH", NS + "pods/p/ephemeralcontainers", {"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s7", "key": "k"}}}]}]}}, "application/strategic-merge-patch+json")
    check("a container to look into it", s == 200, o)
    for sort, names in (("secrets", "s1 s2 s3 s4 s5 s6 s7"), ("configmaps", "m1 m2 m3"), ("persistentvolumeclaims", "p-e c1")):
        for name in names.split():
            check("reads %s %s" % (sort, name), node.call("GET", NS + sort + "/" + name)[0] == 404)
        refused("not another of " + sort, node.call("GET", NS + sort + "/other"), "no relationship found between node 'n1' and this object")
        refused("nor all " + sort, node.call("GET", NS + sort), "")
    for name, claim in (("v1", "p-e"), ("v2", "c1"), ("v3", "else")):
        api.call("POST", NS + "persistentvolumeclaims", {"metadata": {"name": claim}, "spec": {"volumeName": name, "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}})
        s, o, _ = node.call("GET", "/api/v1/persistentvolumes/" + name)
        check("volume " + name, s == (403 if name == "v3" else 404), (s, o))


run([test_node, test_pods, test_tokens, test_reads])
