#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Encryption at rest: what etcd gets to see, who can read it, and how keys are changed.

usage: test/integration/encryption.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, json, os, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from servers import Watch, check, run, wait_for

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
    check("what is no configuration changes nothing", wait_for(lambda: 'automatic_reloads_total{status="failure"} ' in api.call("GET", "/metrics")[1], 15) and value(api, "s") == "hidden")


def test_without_key(site):
    config = Config(site, (["secrets"], [provider("aesgcm", "g")]))
    server = site.start_server(*config.flags())
    server.api.call("POST", NS + "secrets", secret("s"))
    server.stop()
    config.write((["secrets"], [provider("aesgcm", "other")]))
    api = site.start_server(*config.flags()).api
    check("without its key it is not there, and the server is", value(api, "s") == 404 and api.call("GET", NS + "secrets")[0] == 200)
    config.write((["secrets"], [{"rot13": {}}]))
    bad = site.start_server(*config.flags(), wait=False)
    check("a provider that is none", wait_for(lambda: not bad.alive()) and "rot13" in bad.text(), bad.text())


run([test_forms, test_rotation, test_without_key])
