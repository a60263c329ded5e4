#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who may come in: certificates and authorities that change while the server runs, tokens of issuers elsewhere, servers that are asked.

usage: test/integration/auth.py BUILD_DIR [TEST...]     prints "N passed, N failed"; exit status 1 where one failed
"""
import base64, http.client, json, os, shutil, socket, ssl, subprocess, sys, threading
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "lib"))
from issuer import Https, Issuer, Key, b64
from pki import Authority
from servers import check, run, wait_for

WHOAMI = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


def whoami(server, pair=None, headers=None):
    """The user whom the server takes one for, or the code of its refusal. Headers: a dict, or pairs where one stands there several times."""
    context = ssl._create_unverified_context()
    if pair:
        context.load_cert_chain(*pair)
    c = http.client.HTTPSConnection("127.0.0.1", server.port, context=context, timeout=60)
    try:
        body = json.dumps({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}).encode()
        c.putrequest("POST", WHOAMI)
        for header in [("Content-Type", "application/json"), ("Content-Length", str(len(body)))] + (list(headers.items()) if isinstance(headers, dict) else headers or []):
            c.putheader(*header)
        c.endheaders(body)
        r = c.getresponse()
        body = json.loads(r.read())
        if r.status == 403:
            return {"username": body["message"].split('User "')[1].split('"')[0]}
        return body["status"]["userInfo"] if r.status == 201 else r.status
    finally:
        c.close()


def bearer(server, token):
    return whoami(server, headers={"Authorization": "Bearer " + token})


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


def test_front_proxy(site):
    """All the headers that are named, however often they stand there."""
    proxies, users = Authority(site.folder, "proxies"), Authority(site.folder, "users")
    server = site.start_server("--client-ca-file", users.path, "--requestheader-client-ca-file", proxies.path, "--requestheader-username-headers", "X-Remote-User,X-Other-User", "--requestheader-uid-headers", "X-Remote-Uid",
                               "--requestheader-group-headers", "X-Remote-Group,X-Other-Group", "--requestheader-extra-headers-prefix", "X-Remote-Extra-,X-More-")
    anybody = proxies.issue("anybody", "/CN=anybody", client=True)
    groups = ["g%d" % i for i in range(300)]
    who = whoami(server, anybody, [("X-Remote-User", ""), ("X-Other-User", "remote"), ("X-Remote-Uid", "7"), ("X-Other-Group", "first")] + [("X-Remote-Group", g) for g in groups] +
                 [("X-Remote-Extra-Scope%2FOf", "a"), ("X-Remote-Extra-scope%2fof", "b"), ("X-More-Scope%2Fof", "c"), ("X-More-alone", "d")])
    check("a user as a proxy of any name tells", who == {"username": "remote", "uid": "7", "groups": ["first"] + groups + ["system:authenticated"], "extra": {"scope/of": ["a", "b", "c"], "alone": ["d"]}}, who)
    who = whoami(server, headers=[("Authorization", "Bearer " + server.api.token), ("Impersonate-User", "u")] + [("Impersonate-Group", g) for g in groups] + [("Impersonate-Extra-k", "1"), ("Impersonate-Extra-K", "2")])
    check("and whom a user acts for", who == {"username": "u", "groups": groups + ["system:authenticated"], "extra": {"k": ["1", "2"]}}, who)


def write(path, what):
    """By rename: a half is never read."""
    with open(path + ".new", "w") as f:
        f.write(what if isinstance(what, str) else json.dumps(what))
    os.rename(path + ".new", path)
    return path


def make_issuer(site, *keys):
    authority = Authority(site.folder, "issuers")
    return authority, Issuer(authority.issue("issuer", "/CN=issuer", ["IP:127.0.0.1"]), *keys)


def test_oidc_flags(site):
    one, two, other = Key(site.folder, "one"), Key(site.folder, "two", "ES256"), Key(site.folder, "other")
    authority, issuer = make_issuer(site, one)
    server = site.start_server("--oidc-issuer-url", issuer.url, "--oidc-client-id", "us", "--oidc-ca-file", authority.path, "--oidc-groups-claim", "groups", "--oidc-groups-prefix", "oidc:",
                               "--oidc-required-claim", "org=acme", "--oidc-signing-algs", "RS256,ES256", "--authorization-mode", "AlwaysAllow")
    good = issuer.claims(org="acme", groups=["dev", "ops"], jti="id-1")
    who = wait_for(lambda: isinstance(bearer(server, one.sign(good)), dict) and bearer(server, one.sign(good)))
    check("a token of the issuer", who == {"username": issuer.url + "#jane", "groups": ["oidc:dev", "oidc:ops", "system:authenticated"], "extra": {"authentication.kubernetes.io/credential-id": ["JTI=id-1"]}}, who)
    check("a single group", bearer(server, one.sign(issuer.claims(org="acme", groups="dev")))["groups"] == ["oidc:dev", "system:authenticated"])
    now = good["iat"]
    for what, token in (("signed by a stranger", other.sign(good)), ("by a stranger under its name", other.sign(good, kid="one")), ("for others", one.sign(dict(good, aud="them"))), ("too old", one.sign(dict(good, exp=now - 1))),
                        ("without an end", one.sign({k: v for k, v in good.items() if k != "exp"})), ("of the future", one.sign(dict(good, nbf=now + 1000))), ("of another organization", one.sign(dict(good, org="else"))),
                        ("of none", one.sign(issuer.claims())), ("without its name", one.sign({k: v for k, v in good.items() if k != "sub"})), ("unsigned", b64({"alg": "none"}) + "." + b64(good) + "."),
                        ("by another algorithm", one.sign(good, alg="RS384")), ("changed", one.sign(good).replace(".", ".e", 1)), ("of another issuer", one.sign(dict(good, iss="https://else"))),
                        ("with groups that are none", one.sign(dict(good, groups=[1])))):
        check("refused: " + what, bearer(server, token) == 401, bearer(server, token))
    check("for several, us among them", name(bearer(server, one.sign(dict(good, aud=["them", "us"])))) == issuer.url + "#jane")
    before = issuer.calls.count("/keys")
    issuer.keys = [two]
    check("a new key is fetched when it is met", name(bearer(server, two.sign(good))) == issuer.url + "#jane" and issuer.calls.count("/keys") == before + 1, issuer.calls)
    check("and the old one is gone", bearer(server, one.sign(good)) == 401)
    before, results = issuer.calls.count("/keys"), []
    threads = [threading.Thread(target=lambda: results.append(bearer(server, other.sign(good, kid="k%d" % i)))) for i in range(8)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    check("many strangers at once make few fetches", results == [401] * 8 and issuer.calls.count("/keys") - before <= 4, (results, issuer.calls.count("/keys") - before))
    s, o, _ = server.api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": two.sign(good)}})
    check("reviewed for others", s == 201 and o["status"]["authenticated"] and o["status"]["user"]["username"] == issuer.url + "#jane", o)
    s, o, _ = server.api.call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": other.sign(good)}})
    check("and refused", s == 201 and not o["status"].get("authenticated") and "oidc: verify token" in o["status"]["error"], o)
    issuer.close()


CONFIG = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}


def test_authentication_config(site):
    algs = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]
    keys = [Key(site.folder, alg, alg) for alg in algs]
    authority, issuer = make_issuer(site, *keys)
    path = os.path.join(site.folder, "authentication.yaml")
    with open(authority.path) as f:
        ca = f.read()

    def authenticator(**more):
        return dict({"issuer": {"url": issuer.url, "discoveryURL": issuer.url + "/elsewhere", "audiences": ["us", "you"], "audienceMatchPolicy": "MatchAny", "certificateAuthority": ca},
                     "claimMappings": {"username": {"expression": "'x:' + claims.sub"}, "groups": {"expression": "claims.roles.split(',') + ['all']"}, "uid": {"claim": "id"},
                                       "extra": [{"key": "example.com/team", "valueExpression": "claims.?team.orValue('none')"}, {"key": "example.com/empty", "valueExpression": "''"}]},
                     "claimValidationRules": [{"expression": "claims.exp - claims.iat <= 3600", "message": "too long a life"}, {"claim": "org", "requiredValue": "acme"}],
                     "userValidationRules": [{"expression": "!user.username.startsWith('x:system:')", "message": "reserved"}, {"expression": "user.groups.all(g, g != 'forbidden')"}]}, **more)

    def config(*jwt, anonymous={"enabled": True, "conditions": [{"path": "/livez"}, {"path": "/readyz"}]}):
        return write(path, dict(CONFIG, jwt=list(jwt), anonymous=anonymous))
    server = site.start_server("--authentication-config", config(authenticator()), "--authorization-mode", "AlwaysAllow")
    claims = issuer.claims(aud="you", roles="dev,ops", id="7", org="acme", team="blue")
    wait_for(lambda: isinstance(bearer(server, keys[0].sign(claims)), dict))
    for key in keys:
        who = bearer(server, key.sign(claims))
        check("signed by " + key.alg, who == {"username": "x:jane", "uid": "7", "groups": ["dev", "ops", "all", "system:authenticated"], "extra": {"example.com/team": ["blue"]}}, who)
    for what, change in (("too long a life", {"exp": claims["iat"] + 4000}), ("reserved", {"sub": "system:admin"}), ("a forbidden group", {"roles": "forbidden"}), ("no organization", {"org": 5}), ("no roles", {"roles": 3}), ("an id that is none", {"id": 7})):
        token = keys[0].sign({k: v for k, v in dict(claims, **change).items()})
        check("refused: " + what, bearer(server, token) == 401, bearer(server, token))
    server.api.token = None
    check("without credentials where it is said, and nowhere else", server.api.call("GET", "/livez")[0] == 200 and server.api.call("GET", "/version")[0] == 401)
    server.api.token = "admintoken"
    changed = authenticator()
    changed["claimMappings"]["username"] = {"claim": "sub", "prefix": "new:"}
    config(changed)
    check("read again", wait_for(lambda: name(bearer(server, keys[0].sign(claims))) == "new:jane"), server.text()[-1500:])
    config(authenticator(claimMappings={"username": {}}))
    check("what is wrong is told, and changes nothing", wait_for(lambda: "jwt[0].claimMappings.username: Required value: claim or expression is required" in server.text()) and name(bearer(server, keys[0].sign(claims))) == "new:jane", server.text()[-1500:])
    config(changed, anonymous=None)
    check("nor does another word on those without credentials", wait_for(lambda: "anonymous: Forbidden: changed from initial configuration file" in server.text()))
    config()
    check("down to none", wait_for(lambda: bearer(server, keys[0].sign(claims)) == 401))
    check("reloads are counted", 'automatic_reloads_total{status="success"' in server.api.call("GET", "/metrics")[1] and 'automatic_reloads_total{status="failure"' in server.api.call("GET", "/metrics")[1])
    issuer.ready = False
    config(authenticator())
    check("an issuer that is not there yet", wait_for(lambda: "an issuer of tokens is not known yet" in server.text()))
    issuer.ready = True
    check("is tried again", wait_for(lambda: name(bearer(server, keys[0].sign(claims))) == "x:jane"), server.text()[-1500:])
    issuer.close()


def refusal(site, *args):
    """What a server that does not start says."""
    server = site.start_server(*args, wait=False)
    check("it does not start", wait_for(lambda: not server.alive(), 60))
    server.kill()
    return server.text()


def test_bad_authentication_configs(site):
    path = os.path.join(site.folder, "authentication.yaml")
    good = {"issuer": {"url": "https://a.example.com", "audiences": ["x"]}, "claimMappings": {"username": {"claim": "sub", "prefix": ""}}}

    def jwt(**more):
        return dict(CONFIG, jwt=[dict(good, **more)])
    rows = (("kind: nonsense\n", 'no kind "nonsense" is known'),
            (dict(CONFIG, unknown=1), 'unknown field "unknown"'),
            (dict(CONFIG, jwt=[good, good]), 'jwt[1].issuer.url: Duplicate value: "https://a.example.com"'),
            (jwt(issuer={"url": "http://a", "audiences": ["x"]}), 'jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https'),
            (jwt(issuer={"url": "https://kubernetes.default.svc", "audiences": ["x"]}), "jwt[0].issuer.url: Invalid value: \"https://kubernetes.default.svc\": URL must not overlap with disallowed issuers: [https://kubernetes.default.svc]"),
            (jwt(issuer={"url": "https://u:p@a/?q=1#f", "audiences": []}), "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required"),
            (jwt(issuer={"url": "https://a", "audiences": ["x", "y"]}), 'jwt[0].issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences'),
            (jwt(issuer={"url": "https://a", "audiences": ["x"], "certificateAuthority": "none"}), "jwt[0].issuer.certificateAuthority: Invalid value: \"<omitted>\""),
            (jwt(issuer={"url": "https://a", "audiences": ["x"], "discoveryURL": "https://a/"}), "jwt[0].issuer.discoveryURL: Invalid value: \"https://a/\": discoveryURL must be different from URL"),
            (jwt(claimMappings={"username": {"claim": "sub"}}), "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set"),
            (jwt(claimMappings={"username": {"expression": "claims."}}), "jwt[0].claimMappings.username.expression: Invalid value: \"claims.\": compilation failed: "),
            (jwt(claimMappings={"username": {"expression": "claims.email"}}), "claims.email_verified must be used in"),
            (jwt(claimMappings={"username": {"claim": "sub", "prefix": ""}, "extra": [{"key": "foo", "valueExpression": "''"}]}), 'jwt[0].claimMappings.extra[0].key: Invalid value: "foo": must be a domain-prefixed path'),
            (jwt(claimMappings={"username": {"claim": "sub", "prefix": ""}, "extra": [{"key": "a.k8s.io/foo", "valueExpression": "''"}]}), "k8s.io, kubernetes.io and their subdomains are reserved"),
            (jwt(claimValidationRules=[{"expression": "claims.x"}]), "jwt[0].claimValidationRules[0].expression: Invalid value: \"claims.x\": must evaluate to bool"),
            (jwt(claimValidationRules=[{"claim": "a", "expression": "true"}]), "jwt[0].claimValidationRules[0]: Invalid value: \"a\": claim and expression can't both be set"),
            (jwt(userValidationRules=[{"expression": "user.name == ''"}]), "jwt[0].userValidationRules[0].expression: Invalid value: "),
            (dict(CONFIG, jwt=[], anonymous={"enabled": False, "conditions": [{"path": "/x"}]}), "anonymous.conditions: Invalid value"))
    for what, text in rows:
        said = refusal(site, "--authentication-config", write(path, what))
        # As the log quotes it.
        check("told: " + text, text.replace('"', '\\"') in said, said[-1500:])
    said = refusal(site, "--oidc-issuer-url", "https://a")
    check("flags that belong together", "--oidc-client-id" in said, said[-800:])
    said = refusal(site, "--oidc-issuer-url", "https://a", "--oidc-client-id", "x", "--oidc-signing-algs", "HS256")
    check("algorithms that are none", "unsupported signing alg" in said, said[-800:])
    said = refusal(site, "--oidc-issuer-url", "https://a", "--oidc-client-id", "x", "--authentication-config", write(path, dict(CONFIG, jwt=[])))
    check("flags that exclude each other", "exclude each other" in said, said[-800:])


def kubeconfig(path, url, ca=None, **user):
    return write(path, {"apiVersion": "v1", "kind": "Config", "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "s", "user": "u"}}],
                        "clusters": [{"name": "s", "cluster": dict({"server": url}, **({"certificate-authority": ca} if ca else {}))}], "users": [{"name": "u", "user": user}]})


class Reviewer(Https):
    """Answers reviews by self.review(spec), a status; or (code, anything)."""

    def __init__(self, pair, review):
        super().__init__(pair)
        self.review, self.reviews, self.headers, self.gate = review, [], [], None

    def answer(self, method, path, headers, body):
        o = json.loads(body)
        self.reviews.append(o)
        self.headers.append(dict(headers))
        if self.gate:
            self.gate.wait(60)
        status = self.review(o["spec"])
        return status if isinstance(status, tuple) else (200, {"apiVersion": o["apiVersion"], "kind": o["kind"], "status": status})


def test_token_webhook(site):
    authority = Authority(site.folder, "reviewers")
    users = {"jane": {"authenticated": True, "user": {"username": "jane", "uid": "9", "groups": ["dev"], "extra": {"a": ["b", "c"]}}}, "far": {"authenticated": True, "user": {"username": "far"}, "audiences": ["far"]}, "odd": {"error": "odd token"}}
    flaky = []

    def review(spec):
        token = spec["token"]
        if token == "flaky" and len(flaky) < 2:
            flaky.append(1)
            return 500, {}
        if token == "garbage":
            return 200, b"no json"
        if token == "broken":
            return 403, {}
        return users.get(token if token != "flaky" else "jane", {"authenticated": False})
    reviewer = Reviewer(authority.issue("reviewer", "/CN=reviewer", ["IP:127.0.0.1"]), review)
    path = kubeconfig(os.path.join(site.folder, "reviewer.conf"), reviewer.url + "/authenticate?x=1", authority.path, token="secret")
    server = site.start_server("--authentication-token-webhook-config-file", path, "--authentication-token-webhook-version", "v1", "--authorization-mode", "AlwaysAllow", "--api-audiences", "api")
    who = bearer(server, "jane")
    check("whom the webhook knows", who == {"username": "jane", "uid": "9", "groups": ["dev", "system:authenticated"], "extra": {"a": ["b", "c"]}}, who)
    check("what it was sent", reviewer.reviews[0] == {"kind": "TokenReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {"token": "jane"}, "status": {"user": {}}} and reviewer.calls[0] == "/authenticate?x=1" and
          reviewer.headers[0]["Authorization"] == "Bearer secret", (reviewer.reviews[0], reviewer.headers[0]))
    check("once", name(bearer(server, "jane")) == "jane" and len(reviewer.reviews) == 1, len(reviewer.reviews))
    check("tokens of ours are not shown to it", bearer(server, "usertoken")["username"] == "alice" and len(reviewer.reviews) == 1)
    check("whom it does not know", bearer(server, "nobody") == 401 and bearer(server, "nobody") == 401 and len(reviewer.reviews) == 2)
    check("an error is not kept", bearer(server, "odd") == 401 and bearer(server, "odd") == 401 and len(reviewer.reviews) == 4)
    for what in ("garbage", "broken"):
        check("refused: " + what, bearer(server, what) == 401)
    check("tried again after a fault of its own", name(bearer(server, "flaky")) == "jane" and len(flaky) == 2)
    reviews = "/apis/authentication.k8s.io/v1/tokenreviews"
    s, o, _ = server.api.call("POST", reviews, {"spec": {"token": "far", "audiences": ["far", "near"]}})
    check("for an audience that it names", s == 201 and o["status"].get("audiences") == ["far"] and o["status"]["user"]["username"] == "far" and reviewer.reviews[-1]["spec"]["audiences"] == ["far", "near"], o)
    s, o, _ = server.api.call("POST", reviews, {"spec": {"token": "jane", "audiences": ["api"]}})
    check("for ours, where it names none", s == 201 and o["status"].get("audiences") == ["api"], o)
    s, o, _ = server.api.call("POST", reviews, {"spec": {"token": "jane", "audiences": ["else"]}})
    check("for nobody else", s == 201 and not o["status"].get("authenticated"), o)
    s, o, _ = server.api.call("POST", reviews, {"spec": {"token": "odd"}})
    check("its error is told", o["status"]["error"] == "[invalid bearer token, odd token]", o)
    reviewer.gate = threading.Event()
    results = []
    threads = [threading.Thread(target=lambda: results.append(name(bearer(server, "slow")))) for i in range(20)]
    [t.start() for t in threads]
    wait_for(lambda: reviewer.reviews[-1]["spec"]["token"] == "slow")
    check("others go on while it thinks", all(server.api.call("GET", "/api/v1/namespaces/default")[0] == 200 for _ in range(20)) and not results)
    users["slow"] = {"authenticated": True, "user": {"username": "slow"}}
    reviewer.gate.set()
    [t.join() for t in threads]
    check("and all who waited are answered, by one question", results == ["slow"] * 20 and sum(r["spec"]["token"] == "slow" for r in reviewer.reviews) <= 2, (results, len(reviewer.reviews)))
    reviewer.close()
    check("gone", bearer(server, "unseen") == 401)
    said = refusal(site, "--authentication-token-webhook-config-file", path, "--authentication-token-webhook-version", "v2")
    check("a version that is none", "unsupported authentication webhook version" in said, said[-800:])
    stopping = Reviewer(authority.issue("reviewer", "/CN=reviewer", ["IP:127.0.0.1"]), lambda spec: (500, {}))
    server = site.start_server("--authentication-token-webhook-config-file", kubeconfig(path, stopping.url, authority.path))
    thread = threading.Thread(target=lambda: results.append(bearer(server, "late")))
    thread.start()
    wait_for(lambda: stopping.reviews)
    check("v1beta1 where nobody says otherwise", stopping.reviews[0]["apiVersion"] == "authentication.k8s.io/v1beta1")
    check("a server that waits for it still stops", server.stop() == 0, server.text()[-1500:])
    thread.join()
    stopping.close()


def allow(spec):
    """What most tests' reviewers say: carol may all, dora is denied."""
    if spec["user"] == "dora":
        return {"allowed": False, "denied": True, "reason": "not dora"}
    return {"allowed": spec["user"] == "carol", "reason": "said so"}


def users_of(site, *names):
    with open(site.tokens, "a") as f:
        for n in names:
            f.write('%stoken,%s,u-%s,"grp"\n' % (n, n, n))


def as_user(server, user, method, path, body=None, **headers):
    return server.api.call(method, path, body, headers=dict({"Authorization": "Bearer %stoken" % user}, **headers))


NS = "/api/v1/namespaces/default/"


def test_authorization_webhook(site):
    authority = Authority(site.folder, "reviewers")
    users_of(site, "carol", "dora", "eve", "fred")
    reviewer = Reviewer(authority.issue("reviewer", "/CN=reviewer", ["IP:127.0.0.1"]), allow)
    path = kubeconfig(os.path.join(site.folder, "authz.conf"), reviewer.url + "/authorize", authority.path)
    server = site.start_server("--authorization-mode", "RBAC,Webhook", "--authorization-webhook-config-file", path, "--authorization-webhook-version", "v1")
    s, o, _ = as_user(server, "carol", "GET", NS + "pods?labelSelector=a%3Db,c+in+(d,e),!f&fieldSelector=spec.nodeName%3Dn,status.phase!%3DRunning")
    check("whom the webhook allows", s == 200, o)
    r = reviewer.reviews[0]
    check("what it was sent", r["apiVersion"] == "authorization.k8s.io/v1" and r["kind"] == "SubjectAccessReview" and r["spec"]["user"] == "carol" and r["spec"]["uid"] == "u-carol" and r["spec"]["groups"] == ["grp", "system:authenticated"] and
          {k: v for k, v in r["spec"]["resourceAttributes"].items() if "Selector" not in k} == {"namespace": "default", "verb": "list", "version": "v1", "resource": "pods"}, r)
    check("with what is selected", r["spec"]["resourceAttributes"]["fieldSelector"] == {"requirements": [{"key": "spec.nodeName", "operator": "In", "values": ["n"]}, {"key": "status.phase", "operator": "NotIn", "values": ["Running"]}]} and
          sorted(r["spec"]["resourceAttributes"]["labelSelector"]["requirements"], key=lambda q: q["key"]) == [{"key": "a", "operator": "In", "values": ["b"]}, {"key": "c", "operator": "In", "values": ["d", "e"]}, {"key": "f", "operator": "DoesNotExist"}], r["spec"]["resourceAttributes"])
    before = len(reviewer.reviews)
    check("once", as_user(server, "carol", "GET", NS + "secrets")[0] == 200 and as_user(server, "carol", "GET", NS + "secrets")[0] == 200 and len(reviewer.reviews) == before + 1)
    s, o, _ = as_user(server, "dora", "GET", NS + "pods")
    check("whom it denies", s == 403 and o["message"].endswith(": not dora"), o)
    s, o, _ = as_user(server, "eve", "GET", NS + "pods")
    check("on whom it has no opinion", s == 403 and "said so" in o["message"], o)
    check("a path", as_user(server, "carol", "GET", "/logs")[0] == 404 and reviewer.reviews[-1]["spec"]["nonResourceAttributes"] == {"path": "/logs", "verb": "get"}, reviewer.reviews[-1])
    check("whom roles allow is not asked for", server.api.call("GET", NS + "pods")[0] == 200 and all(r["spec"]["user"] != "admin" for r in reviewer.reviews))
    review = "/apis/authorization.k8s.io/v1/"
    s, o, _ = server.api.call("POST", review + "subjectaccessreviews", {"spec": {"user": "carol", "extra": {"x": ["y"]}, "resourceAttributes": {"verb": "get", "resource": "widgets", "fieldSelector": {"rawSelector": "a=b"}}}})
    check("reviewed for others", s == 201 and o["status"] == {"allowed": True, "reason": "said so"} and reviewer.reviews[-1]["spec"]["extra"] == {"x": ["y"]} and
          reviewer.reviews[-1]["spec"]["resourceAttributes"]["fieldSelector"] == {"requirements": [{"key": "a", "operator": "In", "values": ["b"]}]}, (o, reviewer.reviews[-1]))
    s, o, _ = server.api.call("POST", review + "subjectaccessreviews", {"spec": {"user": "dora", "resourceAttributes": {"verb": "get", "resource": "widgets"}}})
    check("denied for others", s == 201 and o["status"] == {"allowed": False, "denied": True, "reason": "not dora"}, o)
    for selector, path, text in (({"fieldSelector": {}}, "fieldSelector.requirements", "Required value: when spec.resourceAttributes.fieldSelector is specified, requirements or rawSelector is required"),
                                 ({"labelSelector": {"rawSelector": "a", "requirements": [{"key": "a", "operator": "Exists"}]}}, "labelSelector.rawSelector", 'Invalid value: "a": may not specified at the same time as requirements'),
                                 ({"fieldSelector": {"requirements": [{"key": "", "operator": "Else"}]}}, "fieldSelector.requirements[0].key", "Required value: must be specified"),
                                 ({"labelSelector": {"requirements": [{"key": "a", "operator": "In"}]}}, "labelSelector.requirements[0].values", "Required value: must be specified when `operator` is 'In' or 'NotIn'"),
                                 ({"fieldSelector": {"requirements": [{"key": "a", "operator": "Exists", "values": ["x"]}]}}, "fieldSelector.requirements[0].values", "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'")):
        s, o, _ = server.api.call("POST", review + "subjectaccessreviews", {"spec": {"user": "carol", "resourceAttributes": dict({"verb": "list", "resource": "pods"}, **selector)}})
        check("selectors that are none", s == 422 and [(c["field"], c["message"]) for c in o["details"]["causes"]] == [("spec.resourceAttributes." + path, text)], o)
    s, o, _ = as_user(server, "carol", "POST", review + "selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
    check("not all rules are known", o["status"]["incomplete"] and o["status"]["evaluationError"] == "webhook authorizer does not support user rule resolution", o)
    s, o, _ = as_user(server, "carol", "GET", NS + "pods", **{"Impersonate-User": "eve"})
    check("acting for another", s == 403 and "impersonate:user-info" in [r["spec"].get("resourceAttributes", {}).get("verb") for r in reviewer.reviews if r["spec"]["user"] == "carol"] and 'User "eve"' in o["message"], o)
    s, o, _ = as_user(server, "carol", "POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": "wide"}, "rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods", "nodes"]}]})
    check("rules that are held by the webhook's word", s == 201, o)
    for sort, kind in (("validating", "ValidatingAdmissionPolicy"), ("mutating", "MutatingAdmissionPolicy")):
        spec = {"failurePolicy": "Fail", "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}]}}
        if sort == "validating":
            spec["validations"] = [{"expression": "authorizer.group('').resource('widgets').check('mark').allowed()", "message": "may not mark"}]
        else:
            spec.update(reinvocationPolicy="Never", mutations=[{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{data: {'n': string(int(object.data['n']) + 1)}}"}},
                                                               {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{data: {'may': string(authorizer.group('').resource('gadgets').check('mark').allowed())}}"}}])
        api = "/apis/admissionregistration.k8s.io/v1/" + sort + "admissionpolicies"
        s, o, _ = server.api.call("POST", api, {"metadata": {"name": sort}, "spec": spec})
        s2, o2, _ = server.api.call("POST", api.replace("policies", "policybindings"), {"metadata": {"name": sort}, "spec": dict({"policyName": sort}, **({"validationActions": ["Deny"]} if sort == "validating" else {}))})
        check("a policy " + sort, s == 201 and s2 == 201, (o, o2))

    def made(user, name):
        return as_user(server, user, "POST", NS + "configmaps", {"metadata": {"name": name}, "data": {"n": "1"}})
    wait_for(lambda: "may" in (made("carol", "probe-%d" % len(reviewer.reviews))[1].get("data") or {}))
    s, o, _ = made("carol", "marked")
    check("a policy asks it, and what it made before that is made once", s == 201 and o["data"] == {"n": "2", "may": "true"}, o)
    reviewer.review = lambda spec: {"allowed": spec.get("resourceAttributes", {}).get("verb") != "mark"}
    s, o, _ = made("fred", "unmarked")
    check("and refuses by it", s == 422 and "may not mark" in o["message"], o)
    reviewer.review, reviewer.gate, results = allow, threading.Event(), []
    threads = [threading.Thread(target=lambda: results.append(as_user(server, "carol", "GET", NS + "endpoints")[0])) for i in range(10)]
    [t.start() for t in threads]
    wait_for(lambda: reviewer.reviews[-1]["spec"].get("resourceAttributes", {}).get("resource") == "endpoints")
    check("others go on while it thinks", all(server.api.call("GET", NS + "pods")[0] == 200 for _ in range(20)) and not results)
    reviewer.gate.set()
    [t.join() for t in threads]
    check("and all are answered", results == [200] * 10, results)
    check("it is counted", 'apiserver_authorization_decisions_total{type="Webhook",name="webhook",decision="allowed"}' in server.api.call("GET", "/metrics")[1])
    reviewer.close()
    check("gone, it has no opinion", as_user(server, "carol", "GET", NS + "replicationcontrollers")[0] == 403)


def test_authorization_config(site):
    authority = Authority(site.folder, "reviewers")
    users_of(site, "carol", "dora", "eve")
    reviewers = [Reviewer(authority.issue("reviewer", "/CN=reviewer", ["IP:127.0.0.1"]), allow) for _ in range(2)]
    files = [kubeconfig(os.path.join(site.folder, "authz%d.conf" % i), r.url, authority.path) for i, r in enumerate(reviewers)]
    path = os.path.join(site.folder, "authorization.yaml")

    def hook(name, i, **more):
        return {"type": "Webhook", "name": name, "webhook": dict({"timeout": "3s", "subjectAccessReviewVersion": "v1", "matchConditionSubjectAccessReviewVersion": "v1", "failurePolicy": "Deny",
                                                                "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": files[i]}}, **more)}
    rbac, node = {"type": "RBAC", "name": "rbac"}, {"type": "Node", "name": "node"}

    def config(*authorizers):
        return write(path, {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration", "authorizers": list(authorizers)})
    only_secrets = [{"expression": "has(request.resourceAttributes)"}, {"expression": "request.resourceAttributes.resource == 'secrets'"}, {"expression": "!('system:masters' in request.groups)"}]
    server = site.start_server("--authorization-config", config(hook("first", 0, matchConditions=only_secrets, cacheAuthorizedRequests=False, subjectAccessReviewVersion="v1beta1"), node, rbac, hook("second", 1, failurePolicy="NoOpinion")))
    check("the first is asked for what its conditions tell", as_user(server, "carol", "GET", NS + "secrets")[0] == 200 and len(reviewers[0].reviews) == 1 and reviewers[0].reviews[0]["spec"]["group"] == ["grp", "system:authenticated"], reviewers[0].reviews)
    check("each time, where it is not to be kept", as_user(server, "carol", "GET", NS + "secrets")[0] == 200 and len(reviewers[0].reviews) == 2)
    check("and not else", as_user(server, "carol", "GET", NS + "pods")[0] == 200 and len(reviewers[0].reviews) == 2 and reviewers[1].reviews[-1]["spec"]["resourceAttributes"]["resource"] == "pods")
    reviewers[0].close()
    check("gone, it denies", as_user(server, "carol", "GET", NS + "secrets")[0] == 403)
    config(node, rbac, hook("second", 1))
    check("read again", wait_for(lambda: as_user(server, "carol", "GET", NS + "secrets")[0] == 200), server.text()[-800:])
    config(node, hook("second", 1))
    check("what must stay must stay", wait_for(lambda: "missing required types: [RBAC]" in server.text()) and as_user(server, "carol", "GET", NS + "secrets")[0] == 200)
    reviewers[1].close()
    for authorizers, text in (([], "authorizers: Required value: at least one authorization mode must be defined"), ([rbac, rbac], 'authorizers[1].type: Duplicate value: "RBAC"'), ([{"type": "Else", "name": "x"}], 'authorizers[0].type: Unsupported value: "Else"'),
                              ([{"type": "RBAC", "name": "other"}], "expected name rbac for authorizer RBAC instead of other"), ([{"type": "Webhook", "name": "w"}], "authorizers[0].webhook: Required value: required when type=Webhook"),
                              ([hook("w", 0, timeout="31s")], 'authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s'), ([hook("w", 0, failurePolicy="Perhaps")], 'authorizers[0].failurePolicy: Unsupported value: "Perhaps"'),
                              ([hook("w", 0, connectionInfo={"type": "KubeConfigFile", "kubeConfigFile": "/nonexistent"})], "authorizers[0].connectionInfo.kubeConfigFile: Invalid value"),
                              ([hook("w", 0, matchConditions=[{"expression": "request.user"}])], "must evaluate to bool but got string"), ([hook("w", 0, matchConditions=[{"expression": "request.nobody == ''"}])], "authorizers[0].matchConditions[0].expression: Invalid value"),
                              ([hook("UPPER", 0)], "authorizers[0].name: Invalid value")):
        said = refusal(site, "--authorization-config", config(*authorizers))
        check("told: " + text, text.replace('"', '\\"') in said, said[-900:])
    for args, text in ((("--authorization-mode", "Webhook"), "Webhook's authorization config file not passed"), (("--authorization-mode", "Else"), "is not a valid mode"), (("--authorization-mode", "RBAC,RBAC"), "more than once"),
                       (("--authorization-config", config(rbac), "--authorization-mode", "RBAC"), "can not be specified when")):
        said = refusal(site, *args)
        check("told: " + text, text in said, said[-900:])


def test_abac(site):
    users_of(site, "carol", "dora", "eve")
    path = write(os.path.join(site.folder, "policy.jsonl"), """# who may what
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "carol", "namespace": "*", "resource": "*", "apiGroup": "*"}}
{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"group": "grp", "namespace": "default", "resource": "pods", "readonly": true}}

{"apiVersion": "abac.authorization.kubernetes.io/v1beta1", "kind": "Policy", "spec": {"user": "*", "nonResourcePath": "/version*", "readonly": true}}
{"user": "eve", "resource": "secrets", "namespace": "kube-system"}
""")
    server = site.start_server("--authorization-mode", "ABAC", "--authorization-policy-file", path)
    for user, method, target, code in (("carol", "GET", "/apis/apps/v1/deployments", 200), ("dora", "GET", NS + "pods", 200), ("dora", "GET", NS + "secrets", 403), ("dora", "POST", NS + "pods", 403), ("dora", "GET", "/api/v1/pods", 403),
                                       ("dora", "GET", "/version", 200), ("dora", "GET", "/apis", 403), ("eve", "GET", "/api/v1/namespaces/kube-system/secrets", 200), ("eve", "GET", NS + "secrets", 403), ("carol", "GET", "/apis", 403)):
        s, o, _ = as_user(server, user, method, target, {} if method == "POST" else None)
        check("%s %s %s" % (user, method, target), s == code, (s, o))
    s, o, _ = as_user(server, "dora", "GET", NS + "secrets")
    check("why not", o["message"].endswith(": No policy matched."), o)
    s, o, _ = as_user(server, "carol", "POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", {"spec": {"namespace": "default"}})
    check("rules are told", s == 201 and {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]} in o["status"]["resourceRules"] and {"verbs": ["get", "list", "watch"], "apiGroups": [""], "resources": ["pods"]} in o["status"]["resourceRules"] and not o["status"]["incomplete"], o)
    for text, said in (("{", "line 1"), ('{"apiVersion": "v1", "kind": "Policy"}', "it is no Policy of"), ("[]", "it is no object")):
        got = refusal(site, "--authorization-mode", "ABAC", "--authorization-policy-file", write(path, text + "\n"))
        check("told: " + said, said in got, got[-600:])


def test_admission_config(site):
    users_of(site, "carol")
    path, own = os.path.join(site.folder, "admission.yaml"), os.path.join(site.folder, "podsecurity.yaml")
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration"}

    def security(**more):
        return dict({"apiVersion": "pod-security.admission.config.k8s.io/v1", "kind": "PodSecurityConfiguration"}, **more)

    def plugins(*list):
        return write(path, dict(head, plugins=list))
    write(own, security(defaults={"enforce": "baseline", "enforce-version": "latest", "warn": "restricted"}, exemptions={"namespaces": ["kube-system"], "usernames": ["carol"], "runtimeClasses": ["special"]}))
    server = site.start_server("--admission-control-config-file", plugins({"name": "PodSecurity", "path": "podsecurity.yaml"}, {"name": "Nobody", "configuration": {}}), "--authorization-mode", "AlwaysAllow", "--disable-admission-plugins", "ServiceAccount,RuntimeClass")
    server.api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "open", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}})

    def pod(name, host=True, **more):
        return {"metadata": {"name": name}, "spec": dict({"hostNetwork": host, "containers": [{"name": "c", "image": "i"}]}, **more)}
    s, o, _ = server.api.call("POST", NS + "pods", pod("a"))
    check("what the default forbids", s == 403 and 'violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)' in o["message"], o)
    s, o, h = server.api.call("POST", NS + "pods", pod("b", False))
    check("what it warns of", s == 201 and 'would violate PodSecurity \\"restricted:latest\\"' in (h["Warning"] or ""), (o, h))
    check("labels say otherwise", server.api.call("POST", "/api/v1/namespaces/open/pods", pod("c"))[0] == 201)
    check("an exempt namespace", server.api.call("POST", "/api/v1/namespaces/kube-system/pods", pod("d"))[0] == 201)
    check("an exempt user", as_user(server, "carol", "POST", NS + "pods", pod("e"))[0] == 201)
    check("an exempt class of runtimes", server.api.call("POST", NS + "pods", pod("f", runtimeClassName="special"))[0] == 201)
    for list, text in (([{"name": "PodSecurity", "path": "/nonexistent"}], "/nonexistent"),
                       ([{"name": "PodSecurity", "configuration": security(defaults={"enforce": "strict", "warn-version": "v2.0"})}], 'defaults.enforce: Invalid value: "strict": must be one of privileged, baseline, restricted'),
                       ([{"name": "PodSecurity", "configuration": security(exemptions={"namespaces": ["A"]})}], 'exemptions.namespaces[0]: Invalid value: "A"'),
                       ([{"name": "PodSecurity", "configuration": security(exemptions={"usernames": ["a", "a"]})}], 'exemptions.usernames[1]: Duplicate value: "a"'), ([{"name": "PodSecurity", "configuration": security(unknown=1)}], 'unknown field "unknown"')):
        said = refusal(site, "--admission-control-config-file", plugins(*list))
        check("told: " + text, text.replace('"', '\\"') in said, said[-900:])


def test_impersonation(site):
    users_of(site, "carol", "dora", "eve")
    log = os.path.join(site.folder, "audit.log")
    policy = write(os.path.join(site.folder, "audit.yaml"), {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [{"level": "Metadata"}]})
    server = site.start_server("--audit-policy-file", policy, "--audit-log-path", log)
    api = "/apis/rbac.authorization.k8s.io/v1/clusterrole"

    def grant(user, *rules, name=None):
        name = name or user
        server.api.call("POST", api + "s", {"metadata": {"name": name}, "rules": [dict(zip(("verbs", "apiGroups", "resources", "resourceNames"), r)) for r in rules]})
        s, o, _ = server.api.call("POST", api + "bindings", {"metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}]})
        check("granted " + name, s == 201, o)
    auth = ["authentication.k8s.io"]
    grant("carol", (["impersonate:user-info"], auth, ["users"], ["eve", "system:anonymous"]), (["impersonate:user-info"], auth, ["groups"], ["readers"]), (["impersonate:user-info"], auth, ["userextras/example.com/a"], ["b"]), (["impersonate:user-info"], auth, ["uids"], ["7"]),
          (["impersonate-on:user-info:list"], [""], ["pods"]), (["impersonate:serviceaccount"], auth, ["serviceaccounts"], ["robot"]), (["impersonate-on:serviceaccount:get"], [""], ["configmaps"]), (["impersonate:arbitrary-node"], auth, ["nodes"], ["n1"]),
          (["impersonate-on:arbitrary-node:get"], [""], ["nodes"]))
    grant("eve", (["list", "get"], [""], ["pods"]))
    grant("system:serviceaccount:default:robot", (["get"], [""], ["configmaps"]), name="robot")
    grant("dora", (["impersonate"], [""], ["users"], ["eve"]))
    wait_for(lambda: as_user(server, "eve", "GET", NS + "pods")[0] == 200)

    def acting(user, whom, method="GET", path=NS + "pods", **headers):
        return as_user(server, user, method, path, **dict({"Impersonate-User": whom}, **headers))
    check("acting for another in what is let", wait_for(lambda: acting("carol", "eve")[0] == 200), acting("carol", "eve"))
    s, o, _ = acting("carol", "eve", path=NS + "pods/x")
    check("and in nothing else", s == 403 and o["message"] == 'pods "x" is forbidden: User "carol" cannot impersonate-on:user-info:get resource "pods" in API group "" in the namespace "default"', o)
    s, o, _ = acting("carol", "dora")
    check("nor for others", s == 403 and o["message"] == 'users.authentication.k8s.io "dora" is forbidden: User "carol" cannot impersonate:user-info resource "users" in API group "authentication.k8s.io" at the cluster scope', o)
    check("with groups, an identity and more", acting("carol", "eve", **{"Impersonate-Group": "readers", "Impersonate-Uid": "7", "Impersonate-Extra-Example.com%2Fa": "b"})[0] == 200)
    s, o, _ = acting("carol", "eve", **{"Impersonate-Group": "system:masters"})
    check("never as a master", s == 403 and o["message"].endswith(": impersonating the system:masters group is not allowed"), o)
    s, o, _ = acting("carol", "eve", **{"Impersonate-Extra-plain": "b"})
    check("nor with any key", s == 403 and "impersonating an invalid key in extra is not allowed" in o["message"], o)
    check("for a service account", acting("carol", "system:serviceaccount:default:robot", path=NS + "configmaps/none")[0] == 404, acting("carol", "system:serviceaccount:default:robot", path=NS + "configmaps/none"))
    check("for a node", acting("carol", "system:node:n1", path="/api/v1/nodes/n1")[0] == 404, acting("carol", "system:node:n1", path="/api/v1/nodes/n1"))
    check("but not with groups", acting("carol", "system:node:n1", path="/api/v1/nodes/n1", **{"Impersonate-Group": "readers"})[0] == 403)
    check("as of old, whatever is done", acting("dora", "eve")[0] == 200 and acting("dora", "eve", path=NS + "pods/x")[0] == 404)
    events = [json.loads(line) for line in open(log)]
    check("the audit log tells how", any(e["user"]["username"] == "carol" and e.get("authenticationMetadata") == {"impersonationConstraint": "impersonate:user-info"} and e["impersonatedUser"]["username"] == "eve" for e in events) and
          all("authenticationMetadata" not in e for e in events if e["user"]["username"] == "dora"))
    server = site.start_server("--feature-gates", "ConstrainedImpersonation=false")
    s, o, _ = acting("carol", "eve")
    check("where it is closed, only as of old", s == 403 and o["message"] == 'users "eve" is forbidden: User "carol" cannot impersonate resource "users" in API group "" at the cluster scope' and acting("dora", "eve")[0] == 200, o)


if __name__ == "__main__":
    run([test_impersonation, test_admission_config, test_authorization_webhook, test_authorization_config, test_abac, test_reload, test_front_proxy, test_oidc_flags, test_authentication_config, test_bad_authentication_configs, test_token_webhook])
