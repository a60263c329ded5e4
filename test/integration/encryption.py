#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest: what etcd gets to see, who can read it, and how keys are changed.

usage: test/integration/encryption.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, json, os, subprocess, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import BUILD, Process, Watch, check, run, wait_for

NS = "/api/v1/namespaces/default/"
HEAD = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "EncryptionConfiguration"}


def provider(name, *keys):
    return {name: {"keys": [{"name": k, "secret": base64.b64encode((k * 32)[:32].encode()).decode()} for k in keys]}}


class Config:
    def __init__(self, site, *rules):
        self.path = os.path.join(site.folder, "encryption.yaml")
        self.write(*rules)

    def write(self, *rules):
        """By rename: a half is never read."""
        with open(self.path + ".new", "w") as f:
            json.dump(dict(HEAD, resources=[{"resources": list(r), "providers": list(p)} for r, p in rules]), f)
        os.rename(self.path + ".new", self.path)

    def flags(self, *more):
        return ("--encryption-provider-config", self.path) + more


def stored(site, key):
    """What etcd holds, as bytes."""
    out = site.etcdctl("get", "/registry/" + key, "-w", "json")
    kvs = json.loads(out).get("kvs", [])
    return base64.b64decode(kvs[0]["value"]) if kvs else b""


def secret(name, text="hidden"):
    return {"metadata": {"name": name}, "stringData": {"a": text}}


def value(api, name):
    s, o, _ = api.call("GET", NS + "secrets/" + name)
    return base64.b64decode(o["data"]["a"]).decode() if s == 200 else s


def test_forms(site):
    config = Config(site, (["secrets"], [provider("aescbc", "c"), {"identity": {}}]), (["configmaps"], [provider("secretbox", "b")]), (["*.apps"], [provider("aesgcm", "g")]))
    api = site.start_server(*config.flags()).api
    watch = Watch(api, NS + "secrets?watch=1")
    check("made", api.call("POST", NS + "secrets", secret("s"))[0] == 201 and api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}, "data": {"a": "hidden"}})[0] == 201)
    api.call("POST", "/apis/apps/v1/namespaces/default/controllerrevisions", {"metadata": {"name": "r"}, "revision": 1, "data": {"a": "hidden"}})
    api.call("POST", NS + "serviceaccounts", {"metadata": {"name": "plain"}})
    for key, prefix in (("secrets/default/s", b"k8s:enc:aescbc:v1:c:"), ("configmaps/default/c", b"k8s:enc:secretbox:v1:b:"), ("controllerrevisions/default/r", b"k8s:enc:aesgcm:v1:g:")):
        got = stored(site, key)
        check("in etcd " + key, got.startswith(prefix) and b"hidden" not in got and b"metadata" not in got, got[:40])
    check("what is not named is as it was", stored(site, "serviceaccounts/default/plain").startswith(b"{"))
    check("who asks sees nothing of it", value(api, "s") == "hidden")
    check("nor who watches", wait_for(lambda: [e for e in watch.events if e["object"]["metadata"]["name"] == "s" and "data" in e["object"]]), watch.events)
    s, o, _ = api.call("PATCH", NS + "secrets/s", {"stringData": {"a": "changed"}}, "application/merge-patch+json")
    check("a change", s == 200 and value(api, "s") == "changed" and stored(site, "secrets/default/s").startswith(b"k8s:enc:aescbc:v1:c:"), o)
    other = site.start_server(*config.flags()).api
    check("another server reads it", value(other, "s") == "changed")
    check("it is counted", 'apiserver_storage_transformation_operations_total{transformation_type="to_storage",transformer_prefix="k8s:enc:aescbc:v1:c:",status="OK"}' in api.call("GET", "/metrics")[1])
    check("and goes", api.call("DELETE", NS + "secrets/s")[0] == 200 and stored(site, "secrets/default/s") == b"")


def test_rotation(site):
    """From none to one key, to another, and back: all while it runs, by writing what is there as it is."""
    config = Config(site, (["secrets"], [{"identity": {}}]))
    api = site.start_server(*config.flags("--encryption-provider-config-automatic-reload")).api
    api.call("POST", NS + "secrets", secret("s"))
    check("first as it is", stored(site, "secrets/default/s").startswith(b"{"))

    def rewritten(prefix):
        o = api.get(NS + "secrets/s")
        return api.call("PUT", NS + "secrets/s", o)[0] == 200 and stored(site, "secrets/default/s").startswith(prefix)
    for providers, prefix in (([provider("aescbc", "one"), {"identity": {}}], b"k8s:enc:aescbc:v1:one:"), ([provider("aescbc", "two", "one")], b"k8s:enc:aescbc:v1:two:"),
                              ([provider("secretbox", "box"), provider("aescbc", "two")], b"k8s:enc:secretbox:v1:box:"), ([{"identity": {}}, provider("secretbox", "box")], b"{")):
        config.write((["secrets"], providers))
        check("then with " + prefix.decode(), wait_for(lambda: rewritten(prefix), 15), stored(site, "secrets/default/s")[:40])
        check("and it is read", value(api, "s") == "hidden")
    before = api.get(NS + "secrets/s")["metadata"]["resourceVersion"]
    check("what is stored rightly is not written again", rewritten(b"{") and api.get(NS + "secrets/s")["metadata"]["resourceVersion"] == before)
    with open(config.path, "w") as f:
        f.write("kind: nonsense\n")
    check("what is no configuration changes nothing", wait_for(lambda: 'status="failure"} ' in "".join(l for l in api.call("GET", "/metrics")[1].splitlines() if "automatic_reloads_total" in l), 15) and value(api, "s") == "hidden")


def test_without_key(site):
    """What nobody can read is an error to who asks for it, whichever way; what lies beside it is not touched by that."""
    config = Config(site, (["secrets"], [provider("aesgcm", "g")]))
    server = site.start_server(*config.flags())
    server.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "other"}})
    server.api.call("POST", NS + "secrets", secret("s"))
    server.stop()
    config.write((["secrets"], [provider("aesgcm", "other")]))
    api = site.start_server(*config.flags("--encryption-provider-config-automatic-reload")).api
    missing = "no matching key was found for the provided AES transformer"
    s, o, _ = api.call("GET", NS + "secrets/s")
    check("GET", s == 500 and o["reason"] == "InternalError" and o["message"] == "Internal error occurred: " + missing and o["details"]["causes"] == [{"message": missing}], o)
    for path in ("secrets", "secrets?limit=1", "secrets?labelSelector=a%3Db", "secrets?fieldSelector=metadata.name%3Ds", "secrets?resourceVersion=0"):
        s, o, _ = api.call("GET", NS + path)
        check("LIST " + path, s == 500 and o["message"] == 'Internal error occurred: unable to transform key "/registry/secrets/default/s": ' + missing, o)
    check("LIST of all namespaces", api.call("GET", "/api/v1/secrets")[0] == 500)
    check("another namespace", api.call("GET", "/api/v1/namespaces/other/secrets")[1].get("items") == [])
    check("another name", api.call("GET", NS + "secrets?fieldSelector=metadata.name%3Dt")[0] == 200 and api.call("GET", NS + "secrets/t")[0] == 404)
    s, o, h = api.call("GET", NS + "secrets?watch=1&resourceVersion=1")
    check("a watch", s == 429 and o["reason"] == "TooManyRequests" and h["Retry-After"] == "1", o)
    s, o, _ = api.call("POST", NS + "secrets", secret("s"))
    check("its name is taken", s == 409 and o["reason"] == "AlreadyExists", o)
    check("a change", api.call("PATCH", NS + "secrets/s", {"stringData": {"a": "x"}}, "application/merge-patch+json")[0] == 500)
    check("DELETE", api.call("DELETE", NS + "secrets/s")[0] == 500 and api.call("DELETE", NS + "secrets")[0] == 500 and stored(site, "secrets/default/s") != b"")
    check("others can be made", api.call("POST", NS + "secrets", secret("t"))[0] == 201 and value(api, "t") == "hidden")
    check("and a page before it is told", api.call("GET", "/api/v1/namespaces/default/secrets?limit=1")[0] == 500)
    api.call("POST", NS + "secrets", secret("a"))
    s, o, _ = api.call("GET", NS + "secrets?limit=1")
    check("a page that ends before it", s == 200 and [i["metadata"]["name"] for i in o["items"]] == ["a"], o)
    check("but not the next", api.call("GET", NS + "secrets?limit=1&continue=" + o["metadata"]["continue"])[0] == 500)
    # The key is found again.
    config.write((["secrets"], [provider("aesgcm", "other"), provider("aesgcm", "g")]))
    check("with its key it is read", wait_for(lambda: value(api, "s") == "hidden", 30), value(api, "s"))
    check("and listed", sorted(i["metadata"]["name"] for i in api.get(NS + "secrets").get("items", [])) == ["a", "s", "t"])
    watch = Watch(api, NS + "secrets?watch=1&resourceVersion=" + api.get(NS + "secrets")["metadata"]["resourceVersion"])
    # Somebody breaks one while it is followed.
    site.etcdctl("put", "/registry/secrets/default/t", "nonsense")
    check("who follows is told to read anew", wait_for(lambda: watch.events and watch.events[-1]["type"] == "ERROR" and watch.events[-1]["object"]["code"] == 410, 30), watch.events)
    check("and sees it", api.call("GET", NS + "secrets")[0] == 500 and api.call("GET", NS + "secrets/t")[0] == 500)
    site.etcdctl("del", "/registry/secrets/default/t")
    check("until it is gone", wait_for(lambda: api.call("GET", NS + "secrets")[0] == 200, 30) and api.call("GET", NS + "secrets/t")[0] == 404)


def test_plain_refused(site):
    """Where only sealed values are to be taken, nobody gets one in that is not."""
    config = Config(site, (["secrets"], [provider("secretbox", "b")]))
    api = site.start_server(*config.flags()).api
    site.etcdctl("put", "/registry/secrets/default/s", json.dumps({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "s", "namespace": "default", "uid": "u"}}))
    check("a plain one", wait_for(lambda: api.call("GET", NS + "secrets/s")[0] == 500, 30) and "no matching prefix found" in api.call("GET", NS + "secrets/s")[1]["message"])


def put(site, key, data):
    subprocess.run(["etcdctl", "--endpoints", site.etcd_url, "put", "/registry/" + key], input=data, check=True, env=dict(os.environ, ETCDCTL_API="3"), stdout=subprocess.DEVNULL)


def aescbc(key, data):
    iv = os.urandom(16)
    sealed = subprocess.run(["openssl", "enc", "-aes-256-cbc", "-K", (key * 32)[:32].encode().hex(), "-iv", iv.hex()], input=data, check=True, stdout=subprocess.PIPE).stdout
    return b"k8s:enc:aescbc:v1:" + key.encode() + b":" + iv + sealed


def test_protobuf(site):
    """As Kubernetes stores: protobuf, sealed or not. It is read, and written anew with the first write."""
    config = Config(site, (["secrets"], [provider("aescbc", "c"), {"identity": {}}]))
    server = site.start_server(*config.flags())
    objects = {"secrets/default/s": NS + "secrets", "configmaps/default/c": NS + "configmaps", "deployments/default/d": "/apis/apps/v1/namespaces/default/deployments"}
    pod = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    bodies = {"secrets/default/s": secret("s"), "configmaps/default/c": {"metadata": {"name": "c", "labels": {"a": "b"}}, "data": {"a": "b"}},
              "deployments/default/d": {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": pod}}}
    before = {}
    for key, path in objects.items():
        check("made", server.api.call("POST", path, bodies[key])[0] == 201)
        o = server.api.get(path + "/" + key.rsplit("/", 1)[1])
        c = server.api.connect()
        c.request("GET", path + "/" + key.rsplit("/", 1)[1], headers=server.api.headers({"Accept": "application/vnd.kubernetes.protobuf"}))
        data = c.getresponse().read()
        check("in protobuf " + key, data.startswith(b"k8s\0"), data[:20])
        put(site, key, aescbc("c", data) if key.startswith("secrets") else data)
        before[key] = o
    put(site, "secrets/default/plain", data.replace(b"k8s\0", b"k8s\0\xff"))  # no envelope at all
    same = lambda o, p: {k: v for k, v in o["metadata"].items() if k != "resourceVersion"} == {k: v for k, v in p["metadata"].items() if k != "resourceVersion"} and {k: v for k, v in o.items() if k != "metadata"} == {k: v for k, v in p.items() if k != "metadata"}
    for when, api in (("as it comes", server.api), ("when all is read", site.start_server(*config.flags()).api)):
        for key, path in objects.items():
            one = path + "/" + key.rsplit("/", 1)[1]
            s, o, _ = api.call("GET", one)
            check("%s %s" % (key, when), s == 200 and same(o, before[key]), o)
        check("found by its labels " + when, [i["metadata"]["name"] for i in api.get(NS + "configmaps?labelSelector=a%3Db").get("items", [])] == ["c"])
        check("what is damaged " + when, api.call("GET", NS + "secrets/plain")[0] == 500 and api.call("GET", NS + "secrets")[0] == 500)
    for key, path in objects.items():
        one = path + "/" + key.rsplit("/", 1)[1]
        check("written as it is " + key, api.call("PUT", one, api.get(one))[0] == 200)
        now = stored(site, key)
        check("it is ours then " + key, now.startswith(b"k8s:enc:aescbc:v1:c:" if key.startswith("secrets") else b"{"), now[:30])
        check("and the same " + key, same(api.get(one), before[key]))
        rv = api.get(one)["metadata"]["resourceVersion"]
        check("and not written again " + key, api.call("PUT", one, api.get(one))[1]["metadata"]["resourceVersion"] == rv)


def test_old_definition(site):
    """Definitions of custom resources are kept by Kubernetes in a version that it no longer serves."""
    server = site.start_server()
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}
    old = {"kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1beta1", "metadata": {"name": "widgets.example.com", "uid": "11111111-1111-1111-1111-111111111111", "creationTimestamp": "2026-01-01T00:00:00Z"},
           "spec": {"group": "example.com", "version": "v1", "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}, "scope": "Namespaced", "validation": schema,
                    "subresources": {"status": {}}, "versions": [{"name": "v1", "served": True, "storage": True}], "additionalPrinterColumns": [{"name": "Size", "type": "integer", "JSONPath": ".spec.size"}],
                    "conversion": {"strategy": "None"}, "preserveUnknownFields": False},
           "status": {"conditions": [{"type": t, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "r", "message": "m"} for t in ("NamesAccepted", "Established")], "acceptedNames": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}, "storedVersions": ["v1"]}}
    put(site, "apiextensions.k8s.io/customresourcedefinitions/widgets.example.com", json.dumps(old, separators=(",", ":")).encode())
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com"
    got = wait_for(lambda: server.api.get(path).get("spec"), 30) or {}
    version = (got.get("versions") or [{}])[0]
    check("its schema", version.get("schema") == schema and version.get("subresources") == {"status": {}} and "validation" not in got, got)
    check("its columns", version.get("additionalPrinterColumns") == [{"name": "Size", "type": "integer", "jsonPath": ".spec.size"}], got)
    check("its objects", wait_for(lambda: server.api.call("POST", "/apis/example.com/v1/namespaces/default/widgets", {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}})[0] in (201, 409), 10), (server.api.call("POST", "/apis/example.com/v1/namespaces/default/widgets", {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}), server.api.get(path)))


class KeyService:
    """Beside the servers of a site: what its folder's files say it does (test/kms/service.h)."""

    def __init__(self, site, name):
        self.site, self.name, self.folder = site, name, os.path.join(site.folder, "kms-" + name)
        self.socket = os.path.join(self.folder, "socket")
        os.makedirs(self.folder)
        self.start()

    def start(self):
        self.process = Process(self.site, "kms-" + self.name, [os.path.join(BUILD, "test/kms/coracle-kms"), self.socket, self.folder])
        self.site.servers.append(self.process)
        wait_for(lambda: os.path.exists(self.socket))

    def stop(self):
        self.process.stop()
        self.site.servers.remove(self.process)

    def say(self, file, text):
        with open(os.path.join(self.folder, file), "w") as f:
            f.write(text)

    def provider(self, name=None):
        return {"kms": {"apiVersion": "v2", "name": name or self.name, "endpoint": "unix://" + self.socket}}


def answers(server):
    try:
        return server.alive() and server.api.call("GET", "/livez/ping")[0] == 200
    except OSError:
        return False


def test_key_service(site):
    """A key that this server never sees; its seed, told to another server; another key; a service that is away."""
    service = KeyService(site, "mock")
    config = Config(site, (["secrets"], [service.provider(), {"identity": {}}]))
    flags = config.flags("--encryption-provider-config-automatic-reload")
    first = site.start_server(*flags)
    api = first.api
    check("made", api.call("POST", NS + "secrets", secret("s"))[0] == 201)
    got = stored(site, "secrets/default/s")
    check("in etcd", got.startswith(b"k8s:enc:kms:v2:mock:") and b"hidden" not in got and b"one" in got, got)
    check("read", value(api, "s") == "hidden")
    check("healthy", api.call("GET", "/healthz/kms-providers")[0] == 200 and "[+]kms-providers ok" in api.call("GET", "/readyz?verbose")[1])
    other = site.start_server(*flags)
    check("another server reads it", value(other.api, "s") == "hidden")
    other.api.call("POST", NS + "secrets", secret("t"))
    check("and this one that of the other", value(api, "t") == "hidden")
    metrics = api.call("GET", "/metrics")[1]
    for name, labels in (("kms_operations_latency_seconds_count", 'grpc_status_code="OK",method_name="/v2.KeyManagementService/Decrypt",provider_name="mock"} 1'), ("dek_source_cache_size", 'provider_name="mock"} 2'),
                         ("key_id_hash_total", 'provider_name="mock",transformation_type="to_storage"} 1'), ("key_id_hash_status_last_timestamp_seconds", 'provider_name="mock"} ')):
        check("metric " + name, any(l.startswith("apiserver_envelope_encryption_" + name) and labels in l for l in metrics.splitlines()), [l for l in metrics.splitlines() if name in l])
    # Another key: what is written from then on is sealed with it, and what is there is written anew though it be the same.
    service.say("key-id", "two")
    config.write((["secrets"], [service.provider()]))
    check("the file is taken", wait_for(lambda: 'status="success"} 1' in "".join(l for l in api.call("GET", "/metrics")[1].splitlines() if "automatic_reloads_total" in l), 60))
    o = api.get(NS + "secrets/s")
    check("written as it is", api.call("PUT", NS + "secrets/s", o)[0] == 200 and b"two" in stored(site, "secrets/default/s") and value(api, "s") == "hidden", stored(site, "secrets/default/s"))
    before = api.get(NS + "secrets/s")["metadata"]["resourceVersion"]
    check("and not once more", api.call("PUT", NS + "secrets/s", api.get(NS + "secrets/s"))[0] == 200 and api.get(NS + "secrets/s")["metadata"]["resourceVersion"] == before)
    check("the other server follows", wait_for(lambda: value(other.api, "s") == "hidden", 60))
    # A file whose key service is not there changes nothing.
    nobody = {"kms": dict(service.provider("nobody")["kms"], endpoint="unix:///nobody/here", timeout="100ms")}
    config.write((["secrets"], [nobody, service.provider()]))
    check("it is refused", wait_for(lambda: 'status="failure"}' in api.call("GET", "/metrics")[1], 60))
    check("and all goes on", api.call("POST", NS + "secrets", secret("u"))[0] == 201 and b"kms:v2:mock:" in stored(site, "secrets/default/u"))
    config.write((["secrets"], [service.provider()]))
    first.stop()
    other.stop()
    # Without the service there is nothing to be had of what it sealed, and nothing is stored; it comes back by itself.
    service.stop()
    last = site.start_server(*flags, wait=False)
    api = last.api
    check("it starts", wait_for(lambda: answers(last)), last.text())
    check("and is not ready", api.call("GET", "/readyz/kms-providers")[0] == 500 and api.call("GET", "/readyz")[0] == 500)
    s, o, _ = api.call("GET", NS + "secrets/s")
    check("GET", s == 500 and o["reason"] == "InternalError" and "failed to decrypt DEK" in o["message"], o)
    s, o, _ = api.call("POST", NS + "secrets", secret("v"))
    check("POST", s == 500 and o["reason"] == "InternalError" and stored(site, "secrets/default/v") == b"", o)
    check("what is not sealed", api.call("POST", NS + "configmaps", {"metadata": {"name": "c"}})[0] == 201)
    service.start()
    check("it is well again", wait_for(lambda: api.call("GET", "/readyz")[0] == 200))
    check("and reads", wait_for(lambda: value(api, "s") == "hidden"), value(api, "s"))
    check("and writes", api.call("POST", NS + "secrets", secret("v"))[0] == 201)


def test_no_provider(site):
    config = Config(site, (["secrets"], [{"rot13": {}}]))
    bad = site.start_server(*config.flags(), wait=False)
    check("a provider that is none", wait_for(lambda: not bad.alive()) and "rot13" in bad.text(), bad.text())


run([test_forms, test_rotation, test_without_key, test_plain_refused, test_protobuf, test_old_definition, test_key_service, test_no_provider])
