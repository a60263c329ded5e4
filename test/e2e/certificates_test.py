# SPDX-License-Identifier: Apache-2.0
"""A kubelet that joins with a bootstrap token alone, and how its certificates are renewed. It runs beside the first node's, in its network namespace."""

import base64
import datetime
import os
import signal
import subprocess

from cluster import Failure, sh

NODE = "node-joins"
PORT = 10260
TOKEN_ID, TOKEN_SECRET = "joins1", "0123456789abcdef"
GRANTS = """
apiVersion: v1
kind: Secret
metadata: {name: bootstrap-token-%s, namespace: kube-system}
type: bootstrap.kubernetes.io/token
stringData: {token-id: %s, token-secret: %s, usage-bootstrap-authentication: "true"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-bootstrap}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:bootstrappers}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: system:node-bootstrapper}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-approve-bootstrap}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:bootstrappers}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:certificates.k8s.io:certificatesigningrequests:nodeclient"}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: e2e-approve-renewal}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: system:nodes}]
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient"}
"""
STATIC = """
apiVersion: v1
kind: Pod
metadata: {name: before}
spec: {hostNetwork: true, terminationGracePeriodSeconds: 0, containers: [{name: main, image: "busybox:v1", command: [sh, -c, "echo $$ >/d/pid; exec sleep 4711"], volumeMounts: [{name: d, mountPath: /d}]}],
       volumes: [{name: d, hostPath: {path: %s}}]}
"""
CA_CONF = """
[ca]
default_ca = d
[d]
database = %(dir)s/index.txt
new_certs_dir = %(dir)s
rand_serial = yes
default_md = sha256
unique_subject = no
policy = p
x509_extensions = e
[p]
organizationName = supplied
commonName = supplied
[e]
extendedKeyUsage = clientAuth
"""


def expect(condition, text):
    if not condition:
        raise Failure(text)


class Joining:
    """The kubelet's folders and process."""

    def __init__(self, c):
        self.c, self.dir, self.process, self.ip = c, f"{c.dir}/joins", None, c.node_ip
        self.pki = f"{self.dir}/kubelet/pki"
        for name in ("cni", "ca", "manifests", "seen"):
            os.makedirs(f"{self.dir}/{name}", exist_ok=True)
        ca = base64.b64encode(open(f"{c.dir}/etc/pki/ca.crt", "rb").read()).decode()
        with open(f"{self.dir}/bootstrap.kubeconfig", "w") as f:
            f.write(f"apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: [{{name: x, context: {{cluster: x, user: x}}}}]\nclusters: [{{name: x, cluster: {{server: {c.server}, "
                    f"certificate-authority-data: {ca}}}}}]\nusers: [{{name: x, user: {{token: {TOKEN_ID}.{TOKEN_SECRET}}}}}]\n")
        with open(f"{self.dir}/manifests/before.yaml", "w") as f:
            f.write(STATIC % f"{self.dir}/seen")
        self.command = ["nsenter", f"--net=/run/netns/{c.netns}", f"{c.build}/bin/coracle-kubelet", "--kubeconfig", f"{self.dir}/kubeconfig", "--bootstrap-kubeconfig",
                        f"{self.dir}/bootstrap.kubeconfig", "--rotate-certificates", "--rotate-server-certificates", "--hostname-override", NODE, "--root-dir", f"{self.dir}/kubelet",
                        "--run-dir", f"{self.dir}/run", "--image-root", f"{c.dir}/var/images", "--pod-log-dir", f"{self.dir}/log/pods", "--cni-conf-dir", f"{self.dir}/cni", "--bridge-name",
                        "ce1", "--cgroup-root", f"/{c.id}j", "--client-ca-file", f"{c.dir}/etc/pki/ca.crt", "--port", str(PORT), "--healthz-port", "10261", "--pod-manifest-path",
                        f"{self.dir}/manifests", "--register-with-taints", "e2e/joins=yes:NoSchedule", "--fail-swap-on=false"]

    def start(self):
        with open(f"{self.dir}/log.txt", "ab") as log:
            self.process = subprocess.Popen([*self.command, "--node-ip", self.ip], stdout=log, stderr=subprocess.STDOUT)

    def stop(self):
        if self.process:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def log(self):
        with open(f"{self.dir}/log.txt", errors="replace") as f:
            return f.read()

    def current(self, kind="client"):
        return os.readlink(f"{self.pki}/kubelet-{kind}-current.pem")

    def text(self, kind):
        """Of the current one: two that are made in one second have one name."""
        with open(self.current(kind)) as f:
            return f.read()

    def sign(self, start, end):
        """Puts a certificate of this node, that is good for these days from now, in the place of the current one."""
        d, now = f"{self.dir}/ca", datetime.datetime.now(datetime.timezone.utc)
        with open(f"{d}/conf", "w") as f:
            f.write(CA_CONF % {"dir": d})
        open(f"{d}/index.txt", "w").close()
        at = [(now + datetime.timedelta(days=x)).strftime("%Y%m%d%H%M%SZ") for x in (start, end)]
        pki = f"{self.c.dir}/etc/pki"
        sh(f"openssl ecparam -genkey -name prime256v1 -noout -out {d}/key && openssl req -new -key {d}/key -subj /O=system:nodes/CN=system:node:{NODE} -out {d}/csr && openssl ca -batch "
           f"-config {d}/conf -cert {pki}/ca.crt -keyfile {pki}/ca.key -in {d}/csr -out {d}/crt -notext -startdate {at[0]} -enddate {at[1]} && cat {d}/crt {d}/key >{self.pki}/made.pem && "
           f"ln -sfn {self.pki}/made.pem {self.pki}/kubelet-client-current.pem")

    def wait_renewed(self, what):
        """Another certificate than the one that was made by hand, and the node alive by it."""
        self.c.wait(60, what, lambda: self.current() != f"{self.pki}/made.pem")
        before = self.lease()
        self.c.wait(60, f"the lease to be renewed: {what}", lambda: self.lease() != before)

    def lease(self):
        return self.c.get("lease", NODE, "-n", "kube-node-lease")["spec"]["renewTime"]


joining = None


def joined(c):
    """The node, joined; each test can be chosen alone."""
    global joining
    if joining:
        return joining
    joining = j = Joining(c)
    j.start()
    # Without the token nothing comes, but static pods run, as on any node whose API server is away.
    c.wait(30, "a static pod", lambda: os.path.exists(f"{j.dir}/seen/pid"))
    c.wait(30, "the token to be refused", lambda: "no certificate of this node yet" in j.log())
    pid = open(f"{j.dir}/seen/pid").read()
    c.apply(GRANTS % (TOKEN_ID, TOKEN_ID, TOKEN_SECRET))
    c.wait(90, "the node to be Ready", lambda: any(x["type"] == "Ready" and x["status"] == "True" for x in c.get("node", NODE)["status"]["conditions"]))
    c.wait(20, "the static pod to be told of", lambda: c.get("pod", f"before-{NODE}")["status"]["phase"] == "Running")
    expect(c.get("pod", f"before-{NODE}")["status"]["containerStatuses"][0]["restartCount"] == 0 and open(f"{j.dir}/seen/pid").read() == pid, "it ran on all the while")
    return j


def serving_requests(c):
    return [r for r in c.get("certificatesigningrequests")["items"] if r["spec"]["signerName"] == "kubernetes.io/kubelet-serving" and r["spec"]["username"] == f"system:node:{NODE}"]


def pending(c):
    return [r for r in serving_requests(c) if not r.get("status")]


def healthz(c):
    return c.kubectl("get", "--raw", f"/api/v1/nodes/{NODE}:{PORT}/proxy/healthz", check=False)


def test_node_joins_with_a_token(c):
    j = joined(c)
    pem = j.current()
    expect(os.path.dirname(pem) == j.pki and os.stat(pem).st_mode & 0o777 == 0o600, f"a link to a file that others cannot read: {pem}")
    text = open(f"{j.dir}/kubeconfig").read()
    expect(f"{j.pki}/kubelet-client-current.pem" in text and TOKEN_SECRET not in text, f"the kubeconfig names the certificate, not the token: {text}")
    expect(not os.path.exists(f"{j.pki}/kubelet-client.key.tmp"), "the key that waited is gone")
    request = next(r for r in c.get("certificatesigningrequests")["items"] if r["metadata"]["name"].startswith("node-csr-"))
    expect(request["spec"]["username"] == f"system:bootstrap:{TOKEN_ID}" and request["spec"]["signerName"] == "kubernetes.io/kube-apiserver-client-kubelet", f"{request['spec']}")


def test_serving_certificate_is_approved_by_people(c):
    j = joined(c)
    names = [r["metadata"]["name"] for r in c.wait(30, "a request", lambda: pending(c))]
    expect(healthz(c).returncode != 0, "nothing is served without a certificate")
    c.kubectl("certificate", "approve", *names)
    c.wait(30, "the API server to reach the node, by that certificate", lambda: healthz(c).stdout == "ok")
    old = j.text("server")
    # Another address is another certificate.
    j.stop()
    j.ip = "192.0.2.99"
    j.start()
    request = c.wait(60, "a request for the new address", lambda: pending(c))[0]
    said = sh(["openssl", "req", "-noout", "-text"], input=base64.b64decode(request["spec"]["request"]).decode()).stdout
    expect("IP Address:192.0.2.99" in said and f"DNS:{NODE}" in said, f"names of the request: {said}")
    c.kubectl("certificate", "approve", request["metadata"]["name"])
    c.wait(30, "the new one", lambda: j.text("server") != old)
    j.stop()
    j.ip = c.node_ip
    j.start()


def test_client_certificate_is_renewed_in_time(c):
    j = joined(c)
    j.stop()
    j.sign(-10, 1)
    j.start()
    j.wait_renewed("a certificate past 90 % of its life is renewed")
    expect("certificate renewed" in j.log(), "by renewal")


def test_expired_or_broken_files_are_no_dead_end(c):
    j = joined(c)
    for what, breaks in (("an expired certificate", lambda: j.sign(-10, -1)),
                         ("a kubeconfig that is none", lambda: (j.sign(-1, 10), open(f"{j.dir}/kubeconfig", "w").write("{"))),
                         ("a certificate that is none", lambda: (j.sign(-1, 10), open(f"{j.pki}/made.pem", "w").write("no PEM\n")))):
        j.stop()
        breaks()
        j.start()
        j.wait_renewed(f"{what} is replaced by the token")


def finish(c):
    if not joining:
        return
    j = joining
    j.stop()
    sh([*j.command, "--node-ip", j.ip, "--cleanup"])
    sh(f"find /sys/fs/cgroup -depth -type d \\( -path '*/{c.id}j' -o -path '*/{c.id}j/*' \\) -exec rmdir {{}} +", check=False)
    c.kubectl("delete", "node", NODE, "--ignore-not-found")
    c.kubectl("delete", "clusterrolebinding", "e2e-bootstrap", "e2e-approve-bootstrap", "e2e-approve-renewal", "--ignore-not-found")
    c.kubectl("delete", "secret", "-n", "kube-system", f"bootstrap-token-{TOKEN_ID}", "--ignore-not-found")
    c.inside("ip link del ce1", check=False)
