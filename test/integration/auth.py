#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may come in: certificates and authorities that change while the server runs.

usage: test/integration/auth.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import http.client, json, os, shutil, socket, ssl, sys
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from pki import Authority
from servers import check, run, wait_for

WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def whoami(server, pair=None, headers=None):
    """The user whom the server takes one for, or the code of its refusal."""
    context = ssl._create_unverified_context()
    if pair:
        context.load_cert_chain(*pair)
    c = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=60)
    try:
        c.request("POST", WHOAMI, json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}), dict({"Content-Type": "application/json"}, **(headers or {})))
        r = c.getresponse()
        body = json.loads(r.read())
        if r.status == 403:
            return {"username": body["message"].split('User "')[1].split('"')[0]}
        return body["status"]["userInfo"] if r.status == 201 else r.status
    finally:
        c.close()


def name(who):
    return who["username"] if isinstance(who, dict) else who


def certificate(server, asked=None):
    context = ssl._create_unverified_context()
    with context.wrap_socket(socket.create_connection(("127.0.0.1", server.port), timeout=60), server_hostname=asked) as s:
        return s.getpeercert(True)


def place(source, target):
    shutil.copy(source, target + ".new")
    os.rename(target + ".new", target)


def test_reload(site):
    old, new = Authority(site.folder, "old"), Authority(site.folder, "new")
    proxies = Authority(site.folder, "proxies")
    users_ca, proxy_ca = os.path.join(site.folder, "users-ca.pem"), os.path.join(site.folder, "proxy-ca.pem")
    place(old.path, users_ca)
    place(proxies.path, proxy_ca)
    cert, key = old.issue("serving", "/CN=serving", ["DNS:serving", "IP:127.0.0.1"])
    special, special_key = old.issue("special", "/CN=special.example.com", ["DNS:special.example.com"])
    server = site.start_server("--tls-cert-file", cert, "--tls-private-key-file", key, "--tls-sni-cert-key", special + "," + special_key, "--client-ca-file", users_ca, "--requestheader-client-ca-file", proxy_ca,
                               "--requestheader-allowed-names", "front", "--anonymous-auth=true")
    jane, john = old.issue("jane", "/O=dev/CN=jane", client=True), new.issue("john", "/O=dev/CN=john", client=True)
    front, impostor = proxies.issue("front", "/CN=front", client=True), old.issue("impostor", "/CN=front", client=True)
    vouched = {"X-Remote-User": "remote", "X-Remote-Group": "far"}
    check("of the authority that is known", name(whoami(server, jane)) == "jane" and name(whoami(server, john)) == "system:anonymous", (whoami(server, jane), whoami(server, john)))
    check("a front proxy vouches for another", name(whoami(server, front, vouched)) == "remote", whoami(server, front, vouched))
    check("a user of its name does not", name(whoami(server, impostor, vouched)) == "front", whoami(server, impostor, vouched))
    place(new.path, users_ca)
    check("another authority of users", wait_for(lambda: name(whoami(server, john)) == "john" and name(whoami(server, jane)) == "system:anonymous"), (whoami(server, jane), whoami(server, john)))
    place(old.path, proxy_ca)
    check("another authority of front proxies", wait_for(lambda: name(whoami(server, impostor, vouched)) == "remote" and name(whoami(server, front, vouched)) == "system:anonymous"), whoami(server, front, vouched))
    with open(users_ca + ".new", "w") as f:
        f.write("no certificate\n")
    os.rename(users_ca + ".new", users_ca)
    check("one that is broken is told of", wait_for(lambda: "the authorities of clients stay as they were" in server.text() and "certificates stay as they were" in server.text()), server.text()[-1000:])
    check("and leaves the old one", name(whoami(server, john)) == "john" and name(whoami(server, impostor, vouched)) == "remote")
    place(new.path, users_ca)
    first, asked = certificate(server), certificate(server, "special.example.com")
    check("a certificate by its name", first != asked and certificate(server, "other.example.com") == first)
    old.issue("serving", "/CN=serving", ["DNS:serving", "IP:127.0.0.1"])
    check("another certificate to serve with", wait_for(lambda: certificate(server) != first))
    old.issue("special", "/CN=special.example.com", ["DNS:special.example.com"])
    check("and by name", wait_for(lambda: certificate(server, "special.example.com") != asked))


if __name__ == "__main__":
    run([test_reload])
