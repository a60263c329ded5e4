# SPDX-License-Identifier: Apache-2.0
"""Several controller managers: hand-over, a leader that was stopped and goes on, controllers under their own accounts."""

import os
import signal
import subprocess

LEASE = ("lease", "kube-controller-manager", "-n", "kube-system")
SCRAPER = """
apiVersion: v1
kind: ServiceAccount
metadata: {name: measurer, namespace: default}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: measurer}
rules: [{nonResourceURLs: [/metrics], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: measurer}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: measurer}
subjects: [{kind: ServiceAccount, name: measurer, namespace: default}]
"""
APP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec:
  replicas: %d
  selector: {matchLabels: {app: %s}}
  template:
    metadata: {labels: {app: %s}}
    spec:
      nodeSelector: {no: where}
      containers: [{name: main, image: "docker.io/library/busybox:v1", imagePullPolicy: Never, command: [sleep, "1000"]}]
"""


def test_who_may_measure_manager_and_scheduler(c):
    c.apply(SCRAPER)
    c.kubectl("create", "serviceaccount", "unmeasured")
    measurer, nobody = (c.kubectl("create", "token", name).stdout.strip() for name in ("measurer", "unmeasured"))
    admin = ["--cert", c.admin_file("cert"), "--key", c.admin_file("key")]

    def ask(port, path, *how):
        return c.inside(["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", *how, f"https://{c.node_ip}:{port}{path}"]).stdout

    def bearer(token):
        return ["-H", f"Authorization: Bearer {token}"]

    for port in (10257, 10259):
        for path, how, code in (("/healthz", [], "200"), ("/metrics", [], "403"), ("/metrics", bearer("nonsense"), "401"), ("/metrics", bearer(nobody), "403"), ("/metrics", bearer(measurer), "200"),
                                ("/configz", bearer(measurer), "403"), ("/configz", admin, "200"), ("/metrics", admin, "200")):
            got = ask(port, path, *how)
            assert got == code, f"{port}{path} {how}: {code}, not {got}"
    c.kubectl("delete", "clusterrole/measurer", "clusterrolebinding/measurer", "serviceaccount/measurer", "serviceaccount/unmeasured")


class Manager:
    """A controller manager besides the cluster's own."""

    def __init__(self, c, name, *flags):
        self.c, self.log = c, f"{c.dir}/log/{name}.log"
        pki = f"{c.dir}/etc/pki"
        command = ["nsenter", f"--net=/run/netns/{c.netns}", f"{c.build}/bin/coracle-controller-manager", "--kubeconfig", f"{c.dir}/etc/controller-manager.kubeconfig",
                   "--secure-port", "0", "--root-ca-file", f"{pki}/ca.crt", "--service-account-private-key-file", f"{pki}/sa.key",
                   "--cluster-signing-cert-file", f"{pki}/ca.crt", "--cluster-signing-key-file", f"{pki}/ca.key", *flags]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)

    def text(self):
        with open(self.log) as f:
            return f.read()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
        return self.process.wait(timeout=20)


def holder(c):
    return c.get(*LEASE)["spec"].get("holderIdentity", "")


def replicas(c, name):
    return len([p for p in c.get("pods", "-l", f"app={name}")["items"] if "deletionTimestamp" not in p["metadata"]])


def lead(c, manager):
    """Ends the cluster's own leader (its supervisor starts it again, as a standby) and waits until `manager` leads."""
    before = holder(c)
    os.kill(c.pid_of("controller-manager"), signal.SIGTERM)
    c.wait(20, "the other leads", lambda: holder(c) not in ("", before))
    c.wait(20, "its controllers run", lambda: "controllers are running" in manager.text())


def test_leader_hands_over(c):
    # It looks at the lease by itself only every two minutes: what makes it take over is that it sees the lease given up.
    manager = Manager(c, "second", "--leader-elect-lease-duration=300s", "--leader-elect-renew-deadline=240s", "--leader-elect-retry-period=120s")
    try:
        c.wait(20, "it is a standby", lambda: "new leader" in manager.text())
        lead(c, manager)
        told = f"{holder(c)} became leader"
        c.wait(20, "an Event says so", lambda: [e for e in c.get("events", "-n", "kube-system")["items"] if e["reason"] == "LeaderElection" and e["message"] == told])
        c.apply(APP % ("handed", 3, "handed", "handed"))
        c.wait(20, "it works", lambda: replicas(c, "handed") == 3)
    finally:
        code = manager.stop()
        c.kubectl("delete", "deployment", "handed", "--wait=false", check=False)
    assert code == 0, manager.text()
    c.wait(20, "the cluster's own leads again", lambda: holder(c))


def test_stopped_leader_writes_nothing_after_another_leads(c):
    manager = Manager(c, "stopped", "--leader-elect-lease-duration=3s", "--leader-elect-renew-deadline=2s", "--leader-elect-retry-period=500ms")
    try:
        c.wait(20, "it is a standby", lambda: "new leader" in manager.text())
        lead(c, manager)
        old = holder(c)
        # In the middle of its work.
        c.apply(APP % ("storm", 40, "storm", "storm"))
        manager.process.send_signal(signal.SIGSTOP)
        c.wait(30, "another leads", lambda: holder(c) not in ("", old))
        c.wait(30, "all pods are there", lambda: replicas(c, "storm") == 40)
        manager.process.send_signal(signal.SIGCONT)
        assert manager.process.wait(timeout=20) == 1, manager.text()
        assert "lease was lost" in manager.text(), manager.text()
        assert replicas(c, "storm") == 40
        sets = [s for s in c.get("replicasets", "-l", "app=storm")["items"]]
        assert len(sets) == 1, sets
        # What it may have had on the way is refused by the API server: the fence names a holder that is none.
        cert = f"{c.dir}/etc/pki"
        write = ("curl -s -o /dev/null -w '%{http_code}' --cacert " + cert + "/ca.crt --cert " + c.admin_file("cert") + " --key " + c.admin_file("key") +
                 " -H 'Content-Type: application/json' -H 'Coracle-Fence: kube-system/kube-controller-manager/%s' -d '{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"fenced\"}}'"
                 " https://127.0.0.1:6443/api/v1/namespaces/default/configmaps")
        assert c.inside(write.replace("%s", old)).stdout == "409"
        assert c.kubectl("get", "configmap", "fenced", check=False).returncode != 0
        assert c.inside(write.replace("%s", holder(c))).stdout == "201"
    finally:
        manager.stop()
        c.kubectl("delete", "deployment", "storm", "--wait=false", check=False)
        c.kubectl("delete", "configmap", "fenced", "--ignore-not-found", check=False)
    c.wait(30, "storm is gone", lambda: replicas(c, "storm") == 0)


WORK = """
apiVersion: v1
kind: Namespace
metadata: {name: accounts}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: accounts, labels: {app: d}, annotations: {coracle.dev/rollback-on-failure: "true", coracle.dev/roll-on-change: "true"}}
spec:
  selector: {matchLabels: {app: d}}
  template:
    metadata: {labels: {app: d}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "docker.io/library/busybox:v1", imagePullPolicy: Never, command: [sleep, "1000"], resources: {requests: {cpu: 1m}}}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: s, namespace: accounts}
spec:
  serviceName: s
  selector: {matchLabels: {app: s}}
  template:
    metadata: {labels: {app: s}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "docker.io/library/busybox:v1", imagePullPolicy: Never, command: [sleep, "1000"]}]}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: e, namespace: accounts}
spec:
  selector: {matchLabels: {app: e}}
  template:
    metadata: {labels: {app: e}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "docker.io/library/busybox:v1", imagePullPolicy: Never, command: [sleep, "1000"]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: j, namespace: accounts}
spec: {ttlSecondsAfterFinished: 1, template: {spec: {restartPolicy: Never, containers: [{name: c, image: "docker.io/library/busybox:v1", imagePullPolicy: Never, command: ["true"]}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: k, namespace: accounts}
spec: {schedule: "* * * * *", suspend: true, jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: "docker.io/library/busybox:v1"}]}}}}}
---
apiVersion: v1
kind: ReplicationController
metadata: {name: r, namespace: accounts}
spec: {replicas: 1, selector: {app: r}, template: {metadata: {labels: {app: r}}, spec: {terminationGracePeriodSeconds: 0, containers: [{name: c, image: "docker.io/library/busybox:v1", imagePullPolicy: Never, command: [sleep, "1000"]}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: d, namespace: accounts}
spec: {selector: {app: d}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: manual, namespace: accounts}
spec: {ports: [{port: 80}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: manual, namespace: accounts}
subsets: [{addresses: [{ip: 192.0.2.77}], ports: [{port: 80}]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: d, namespace: accounts}
spec: {minAvailable: 1, selector: {matchLabels: {app: d}}}
---
apiVersion: v1
kind: ResourceQuota
metadata: {name: q, namespace: accounts}
spec: {hard: {pods: "20", count/deployments.apps: "5"}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: d, namespace: accounts}
spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}, minReplicas: 2, maxReplicas: 3}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: p, namespace: accounts}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}
---
apiVersion: v1
kind: Secret
metadata: {name: t, namespace: accounts, annotations: {kubernetes.io/service-account.name: default}}
type: kubernetes.io/service-account-token
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: accounts-sum}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {sum: accounts}}]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: accounts-part, labels: {sum: accounts}}
rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]
"""

N = ("-n", "accounts")


def test_controllers_act_under_their_own_accounts(c):
    manager = Manager(c, "accounts", "--use-service-account-credentials", "--leader-elect-lease-duration=300s", "--leader-elect-renew-deadline=240s", "--leader-elect-retry-period=120s")
    try:
        c.wait(20, "it is a standby", lambda: "new leader" in manager.text())
        lead(c, manager)
        c.apply(WORK)
        done = [
            ("the Deployment, scaled by its autoscaler", lambda: c.get("deployment", "d", *N)["status"]["readyReplicas"] == 2),
            ("the StatefulSet", lambda: c.get("statefulset", "s", *N)["status"]["readyReplicas"] == 1),
            ("the DaemonSet", lambda: c.get("daemonset", "e", *N)["status"]["numberReady"] == 1),
            ("the ReplicationController", lambda: c.get("rc", "r", *N)["status"]["readyReplicas"] == 1),
            ("the Job, gone after its time", lambda: c.kubectl("get", "job", "j", *N, check=False).returncode != 0),
            ("EndpointSlices", lambda: len(c.get("endpointslices", "-l", "kubernetes.io/service-name=d", *N)["items"][0]["endpoints"]) == 2),
            ("mirrored EndpointSlices", lambda: c.get("endpointslices", "-l", "kubernetes.io/service-name=manual", *N)["items"][0]["endpoints"]),
            ("Endpoints", lambda: len(c.get("endpoints", "d", *N)["subsets"][0]["addresses"]) == 2),
            ("the budget", lambda: c.get("pdb", "d", *N)["status"]["currentHealthy"] == 2),
            ("the quota", lambda: c.get("quota", "q", *N)["status"]["used"]["count/deployments.apps"] == "1"),
            ("the claim's finalizer", lambda: "kubernetes.io/pvc-protection" in c.get("pvc", "p", *N)["metadata"]["finalizers"]),
            ("the token", lambda: c.get("secret", "t", *N)["data"]["token"]),
            ("the sum of roles", lambda: c.get("clusterrole", "accounts-sum")["rules"]),
            ("what is good", lambda: c.get("deployment", "d", *N)["metadata"]["annotations"]["coracle.dev/good-revision"]),
        ]
        for what, condition in done:
            c.wait(60, what, condition)
        c.kubectl("delete", "namespace", "accounts", "--wait=false")
        c.wait(60, "the namespace is gone", lambda: c.kubectl("get", "namespace", "accounts", check=False).returncode != 0)
        refused = [line for line in manager.text().splitlines() if "forbidden: User" in line]
        assert not refused, "\n".join(refused[:10])
    finally:
        manager.stop()
        c.kubectl("delete", "clusterrole", "accounts-sum", "accounts-part", "--ignore-not-found", check=False)
        c.kubectl("delete", "namespace", "accounts", "--ignore-not-found", "--wait=false", check=False)
