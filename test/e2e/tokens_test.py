# SPDX-License-Identifier: Apache-2.0
"""Secrets that let somebody in: tokens of service accounts, and bootstrap tokens with the signed cluster-info."""

import base64
import hashlib
import hmac
import json

ACCOUNT = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot}
---
apiVersion: v1
kind: Secret
metadata: {name: robot-token, annotations: {kubernetes.io/service-account.name: robot}}
type: kubernetes.io/service-account-token
"""
BOOTSTRAP = """
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-abcdef, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData: {token-id: abcdef, token-secret: 0123456789abcdef, usage-bootstrap-signing: "true", usage-bootstrap-authentication: "true", expiration: "%s"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: cluster-info, namespace: kube-public}
data: {kubeconfig: "some content"}
"""


def whoami(c, token):
    """By TokenReview: kubectl's own certificate would win over --token."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    status = json.loads(c.kubectl("create", "--validate=false", "-f", "-", "-o", "json", stdin=json.dumps(review)).stdout)["status"]
    return status["user"]["username"] if status.get("authenticated") else None


def test_token_secret_of_an_account(c):
    c.apply(ACCOUNT)
    try:
        data = c.wait(20, "the token", lambda: c.get("secret", "robot-token")["data"]["token"] and c.get("secret", "robot-token")["data"])
        token = base64.b64decode(data["token"]).decode()
        assert b"BEGIN CERTIFICATE" in base64.b64decode(data["ca.crt"]) and base64.b64decode(data["namespace"]) == b"default"
        assert whoami(c, token) == "system:serviceaccount:default:robot"
        c.wait(10, "the day of use", lambda: c.get("secret", "robot-token")["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"])
        c.kubectl("delete", "serviceaccount", "robot")
        c.wait(20, "the Secret goes with its account", lambda: c.kubectl("get", "secret", "robot-token", check=False).returncode != 0)
        assert whoami(c, token) is None
    finally:
        c.kubectl("delete", "serviceaccount,secret", "robot", "robot-token", "--ignore-not-found", check=False)


def test_bootstrap_token_signs_and_expires(c):
    c.apply(BOOTSTRAP % "2099-01-01T00:00:00Z")
    try:
        signature = c.wait(20, "the signature", lambda: c.get("configmap", "cluster-info", "-n", "kube-public")["data"]["jws-kubeconfig-abcdef"])
        header, _, mac = signature.split(".")
        content = base64.urlsafe_b64encode(b"some content").rstrip(b"=").decode()
        expected = base64.urlsafe_b64encode(hmac.new(b"0123456789abcdef", f"{header}.{content}".encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
        assert mac == expected
        assert whoami(c, "abcdef.0123456789abcdef") == "system:bootstrap:abcdef"
        c.apply(BOOTSTRAP % "2000-01-01T00:00:00Z")
        c.wait(20, "the token is deleted", lambda: c.kubectl("get", "secret", "-n", "kube-system", "bootstrap-token-abcdef", check=False).returncode != 0)
        c.wait(20, "the signature is gone", lambda: "jws-kubeconfig-abcdef" not in c.get("configmap", "cluster-info", "-n", "kube-public")["data"])
    finally:
        c.kubectl("delete", "secret", "-n", "kube-system", "bootstrap-token-abcdef", "--ignore-not-found", check=False)
        c.kubectl("delete", "configmap", "-n", "kube-public", "cluster-info", "--ignore-not-found", check=False)
