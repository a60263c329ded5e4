# SPDX-License-Identifier: Apache-2.0
"""The story that a new user plays with an unmodified kubectl."""

import json
import re
import threading
import time

from cluster import Failure, sh

WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: %(replicas)d
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 3
      containers:
      - name: http
        image: %(image)s
        command: [sh, -c, "mkdir -p /www && hostname >/www/index.html && cp /etc/image-label /www/label && exec httpd -f -p 8080 -h /www"]
        ports: [{containerPort: 8080, name: http}]
        readinessProbe: {httpGet: {path: /label, port: http}, periodSeconds: 1}
"""

# Ends when it is told to: as a container's first process, a plain sleep would not.
OBEYS = "trap exit TERM; sleep 1000 & wait"


def expect(condition, text):
    if not condition:
        raise Failure(text)


def web_pods(c, selector="app=web"):
    return [p for p in c.get("pods", "-l", selector)["items"] if "deletionTimestamp" not in p["metadata"]]


def fetch(c, url, timeout=3):
    return c.inside(["curl", "-sf", "--max-time", str(timeout), url], check=False)


def cluster_ip(c, name):
    return c.get("service", name)["spec"]["clusterIP"]


# What several of these tests play with. Each says what it needs, so that each can be chosen alone; what is there already costs one call.


def web(c, image="busybox:v1"):
    c.apply(WEB % {"replicas": 3, "image": image})
    c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def web_service(c):
    if c.kubectl("get", "service", "web", check=False).returncode != 0:
        c.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    return cluster_ip(c, "web")


def client(c):
    if c.kubectl("get", "pod", "client", check=False).returncode != 0:
        c.kubectl("run", "client", "--image=busybox:v1", "--restart=Never", "--", "sleep", "3600")
    c.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=30s")


def test_deployment_of_three_replicas_becomes_ready(c):
    web(c)
    pods = web_pods(c)
    expect(len(pods) == 3 and all(p["status"]["phase"] == "Running" for p in pods), f"three running pods, not {pods}")


def test_apply_twice_says_unchanged(c):
    web(c)
    out = c.apply(WEB % {"replicas": 3, "image": "busybox:v1"}).stdout
    expect("unchanged" in out, out)


def test_service_spreads_over_all_replicas(c):
    web(c)
    ip = web_service(c)
    c.wait(20, "the service to answer", lambda: fetch(c, f"http://{ip}/").returncode == 0)
    c.wait(20, "three endpoints", lambda: len(c.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"][0]["endpoints"]) == 3)
    seen = set()
    for _ in range(60):
        seen.add(fetch(c, f"http://{ip}/").stdout.strip())
    expect(seen == {p["metadata"]["name"] for p in web_pods(c)}, f"answers from all three pods, not {seen}")


def test_service_by_dns_name_from_another_pod(c):
    web(c)
    web_service(c)
    client(c)
    for name in ("web", "web.default", "web.default.svc.cluster.local"):
        c.wait(15, f"http://{name}/", lambda: c.kubectl("exec", "client", "--", "wget", "-q", "-O", "-", f"http://{name}/").stdout.startswith("web-"))


def test_node_port(c):
    web(c)
    c.kubectl("expose", "deployment", "web", "--name=web-node", "--type=NodePort", "--port=80", "--target-port=8080")
    port = c.get("service", "web-node")["spec"]["ports"][0]["nodePort"]
    c.wait(15, "the node port", lambda: fetch(c, f"http://{c.node_ip}:{port}/").stdout.startswith("web-"))


def test_scale_to_ten_and_back(c):
    web(c)
    c.kubectl("scale", "deployment/web", "--replicas=10")
    c.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
    expect(len(web_pods(c)) == 10, "ten pods")
    c.kubectl("scale", "deployment/web", "--replicas=3")
    c.wait(60, "three pods left", lambda: len(c.get("pods", "-l", "app=web")["items"]) == 3)


class Load:
    """Asks the service all the time, and remembers what did not come back."""

    def __init__(self, c, url):
        self.c, self.url, self.done, self.failures, self.count = c, url, False, [], 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.done:
            r = fetch(self.c, self.url)
            self.count += 1
            if r.returncode != 0:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {r.stderr.strip()}")
            time.sleep(0.02)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.done = True
        self.thread.join()


def test_rollout_without_a_failed_request(c):
    web(c)
    label = f"http://{web_service(c)}/label"
    c.wait(20, "the service to answer", lambda: fetch(c, label).returncode == 0)
    with Load(c, label) as load:
        c.kubectl("set", "image", "deployment/web", "http=busybox:v2")
        c.kubectl("rollout", "status", "deployment/web", "--timeout=90s")
        c.wait(30, "the old pods to be gone", lambda: len(c.get("pods", "-l", "app=web")["items"]) == 3)
    expect(load.count > 20 and not load.failures, f"{len(load.failures)} of {load.count} requests failed: {load.failures[:5]}")
    expect(fetch(c, label).stdout.strip() == "v2", "the new image answers")


def test_bad_image_leaves_the_old_pods_serving(c):
    web(c, "busybox:v2")
    label = f"http://{web_service(c)}/label"
    c.wait(20, "the service to answer", lambda: fetch(c, label).stdout.strip() == "v2")
    c.kubectl("set", "image", "deployment/web", "http=localhost:1/absent:nothing")
    c.wait(30, "a pod that cannot pull", lambda: any(
        s.get("state", {}).get("waiting", {}).get("reason") in ("ErrImagePull", "ImagePullBackOff") for p in web_pods(c) for s in p["status"].get("containerStatuses", [])))
    expect(sum(1 for p in web_pods(c) if any(x["type"] == "Ready" and x["status"] == "True" for x in p["status"]["conditions"])) >= 3, "three old pods stay ready")
    expect(fetch(c, label).stdout.strip() == "v2", "and serve")


def test_rollout_undo(c):
    web(c, "busybox:v2")
    c.kubectl("set", "image", "deployment/web", "http=localhost:1/absent:nothing")
    c.wait(20, "the rollout to begin", lambda: c.get("deployment", "web")["status"].get("updatedReplicas", 0) > 0)
    c.kubectl("rollout", "undo", "deployment/web")
    c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    expect(c.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == "busybox:v2", "back to v2")
    expect("REVISION" in c.kubectl("rollout", "history", "deployment/web").stdout, "a history")


def test_killed_process_is_restarted(c):
    web(c)
    name = web_pods(c)[0]["metadata"]["name"]
    c.kubectl("exec", name, "--", "sh", "-c", "kill -9 -1", check=False)  # all but PID 1
    pod = c.get("pod", name)
    container = pod["status"]["containerStatuses"][0]["containerID"].split("//")[1]
    pids = sh(f"grep -l {container} /proc/[0-9]*/cgroup 2>/dev/null", check=False).stdout.split()
    expect(pids, "the container's processes")
    for path in pids:
        sh(["kill", "-9", path.split("/")[2]], check=False)
    c.wait(40, "a restart", lambda: c.get("pod", name)["status"]["containerStatuses"][0]["restartCount"] >= 1)
    c.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=60s")


def test_deleted_pod_is_replaced(c):
    web(c)
    before = {p["metadata"]["name"] for p in web_pods(c)}
    victim = sorted(before)[0]
    c.kubectl("delete", "pod", victim, "--timeout=60s")
    c.wait(40, "a replacement", lambda: len({p["metadata"]["name"] for p in web_pods(c)} - before) == 1)
    c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_two_containers_share_a_volume_and_localhost(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: pair}
spec:
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: first, image: busybox:v1, command: [sh, -c, "echo from init >/data/init"], volumeMounts: [{name: data, mountPath: /data}]}
  containers:
  - {name: server, image: busybox:v1, command: [sh, -c, "exec httpd -f -p 8000 -h /data"], volumeMounts: [{name: data, mountPath: /data}]}
  - {name: writer, image: busybox:v1, command: [sh, -c, "echo shared >/data/file; exec sleep 3600"], volumeMounts: [{name: data, mountPath: /data}]}
  volumes: [{name: data, emptyDir: {}}]
""")
    c.kubectl("wait", "--for=condition=Ready", "pod/pair", "--timeout=40s")
    for file, text in (("file", "shared"), ("init", "from init")):
        c.wait(10, file, lambda: c.kubectl("exec", "pair", "-c", "writer", "--", "wget", "-q", "-O", "-", f"http://localhost:8000/{file}").stdout.strip() == text)


def test_configuration_reaches_the_pod(c):
    c.kubectl("create", "configmap", "settings", "--from-literal=color=blue", "--from-literal=size=9")
    c.kubectl("create", "secret", "generic", "hidden", "--from-literal=key=s3cret")
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: configured, labels: {tier: test}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox:v1
    command: [sleep, "3600"]
    env:
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
    - {name: KEY, valueFrom: {secretKeyRef: {name: hidden, key: key}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: BOTH, value: "$(NAME)-$(COLOR)-$$(x)"}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    envFrom: [{configMapRef: {name: settings}, prefix: S_}]
    resources: {limits: {cpu: 250m, memory: 64Mi}}
    volumeMounts:
    - {name: settings, mountPath: /settings}
    - {name: hidden, mountPath: /hidden}
    - {name: about, mountPath: /about}
  volumes:
  - {name: settings, configMap: {name: settings}}
  - {name: hidden, secret: {secretName: hidden, defaultMode: 0400}}
  - {name: about, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: metadata.labels}}]}}
""")
    c.kubectl("wait", "--for=condition=Ready", "pod/configured", "--timeout=40s")
    env = c.kubectl("exec", "configured", "--", "env").stdout
    for line in ("COLOR=blue", "KEY=s3cret", "NAME=configured", "BOTH=configured-blue-$(x)", "CPU=250", "S_size=9", "KUBERNETES_SERVICE_HOST=10.96.0.1"):
        expect(line in env.split("\n"), f"{line} in {env}")
    expect(c.kubectl("exec", "configured", "--", "cat", "/settings/color").stdout == "blue", "the config map's file")
    expect(c.kubectl("exec", "configured", "--", "cat", "/hidden/key").stdout == "s3cret", "the secret's file")
    expect('tier="test"' in c.kubectl("exec", "configured", "--", "cat", "/about/labels").stdout, "labels by downward API")
    token = c.kubectl("exec", "configured", "--", "cat", "/var/run/secrets/kubernetes.io/serviceaccount/token").stdout
    expect(token.count(".") == 2, "a service account token")
    c.kubectl("create", "configmap", "settings", "--from-literal=color=red", "--dry-run=client", "-o", "yaml")
    c.kubectl("patch", "configmap", "settings", "-p", '{"data":{"color":"red"}}')
    c.wait(10, "the change in the running pod", lambda: c.kubectl("exec", "configured", "--", "cat", "/settings/color").stdout == "red")


def test_job_like_pod_succeeds(c):
    c.kubectl("run", "once", "--image=busybox:v1", "--restart=Never", "--", "sh", "-c", "echo done; exit 0")
    c.wait(30, "Succeeded", lambda: c.get("pod", "once")["status"]["phase"] == "Succeeded")
    expect(c.kubectl("logs", "once").stdout == "done\n", "its log")
    c.kubectl("run", "fails", "--image=busybox:v1", "--restart=Never", "--", "sh", "-c", "exit 3")
    c.wait(30, "Failed", lambda: c.get("pod", "fails")["status"]["phase"] == "Failed")
    expect(c.get("pod", "fails")["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 3, "exit code 3")


def test_liveness_probe_restarts(c):
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: lively}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox:v1
    command: [sh, -c, "touch /ok; sleep 3; rm /ok; sleep 3600"]
    livenessProbe: {exec: {command: [cat, /ok]}, periodSeconds: 1, failureThreshold: 1}
""")
    c.wait(40, "a restart", lambda: c.get("pod", "lively")["status"]["containerStatuses"][0]["restartCount"] >= 1)
    c.wait(10, "its event", lambda: any(e["reason"] == "Unhealthy" for e in c.get("events", "--field-selector", "involvedObject.name=lively")["items"]))
    c.kubectl("delete", "pod", "lively", "--wait=false")


def test_exec_with_terminal(c):
    client(c)
    # script gives kubectl a terminal, so -it is what a person has.
    out = sh(["nsenter", f"--net=/run/netns/{c.netns}", "env", f"KUBECONFIG={c.kubeconfig}", "script", "-qec", "kubectl exec -it client -- sh -c 'tty; stty size; echo typed $((6*7))'",
              "/dev/null"], input="").stdout
    expect("/dev/pts/" in out and "typed 42" in out, out)
    expect(c.kubectl("exec", "client", "--", "sh", "-c", "exit 7", check=False).returncode == 7, "the exit code comes back")
    expect(c.kubectl("exec", "-i", "client", "--", "cat", stdin="through stdin\n").stdout == "through stdin\n", "stdin goes in")


def test_logs_follow(c):
    c.kubectl("run", "talker", "--image=busybox:v1", "--restart=Never", "--", "sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done")
    c.wait(20, "the pod to start", lambda: c.get("pod", "talker")["status"]["phase"] in ("Running", "Succeeded"))
    out = c.kubectl("logs", "-f", "talker", timeout=30).stdout
    expect(out == "".join(f"line {i}\n" for i in range(1, 6)), out)
    expect(c.kubectl("logs", "--tail=2", "talker").stdout == "line 4\nline 5\n", "the tail")


def test_watch(c):
    watch = c.popen_kubectl("get", "configmaps", "-w", "-o", "name")
    time.sleep(1)
    c.kubectl("create", "configmap", "watched", "--from-literal=a=b")
    c.kubectl("delete", "configmap", "watched")
    time.sleep(1)
    watch.kill()
    out = watch.communicate()[0]
    expect(out.count("configmap/watched") == 2, out)


def test_kubectl_reads_well(c):
    web(c)
    client(c)
    expect(re.search(r"web\s+3/3\s+3\s+3", c.kubectl("get", "deployment", "web").stdout), "READY column of deployments")
    expect(re.search(r"NAME\s+STATUS\s+ROLES\s+AGE\s+VERSION", c.kubectl("get", "nodes").stdout), "columns of nodes")
    described = c.kubectl("describe", "deployment", "web").stdout
    expect("StrategyType:" in described and "ScalingReplicaSet" in described, described)
    expect("Restart Count:" in c.kubectl("describe", "pod", "client").stdout, "describe pod")
    expect("Allocatable:" in c.kubectl("describe", "node", c.node).stdout, "describe node")
    expect("FIELD" in c.kubectl("explain", "deployment.spec.replicas").stdout or "replicas" in c.kubectl("explain", "deployment.spec.replicas").stdout, "explain")
    expect("deployments" in c.kubectl("api-resources").stdout, "api-resources")


def test_edit(c):
    web(c)
    env = f"KUBE_EDITOR='sed -i s/replicas:.3/replicas:\\ 2/'"
    out = c.inside(f"{env} KUBECONFIG={c.kubeconfig} kubectl edit deployment web")
    expect("edited" in out.stdout, out.stdout)
    c.wait(40, "two replicas", lambda: c.get("deployment", "web")["status"].get("readyReplicas") == 2)
    c.kubectl("scale", "deployment/web", "--replicas=3")
    c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_unschedulable_pod_says_why(c):
    c.kubectl("run", "giant", "--image=busybox:v1", "--overrides", '{"spec":{"containers":[{"name":"giant","image":"busybox:v1","resources":{"requests":{"cpu":"1000"}}}]}}')
    c.wait(15, "FailedScheduling", lambda: any("Insufficient cpu" in e["message"] for e in c.get("events", "--field-selector", "involvedObject.name=giant")["items"]
                                               if e["reason"] == "FailedScheduling"))
    expect(c.get("pod", "giant")["status"]["phase"] == "Pending", "it stays Pending")
    c.kubectl("delete", "pod", "giant")


def test_pod_that_cannot_run_says_so(c):
    c.kubectl("run", "confused", "--image=busybox:v1", "--restart=Never", "--", "/no/such/program")
    c.wait(30, "a reason", lambda: any(
        (s["state"].get("terminated") or s["state"].get("waiting") or {}).get("reason") in ("StartError", "RunContainerError", "ContainerCannotRun")
        for s in c.get("pod", "confused")["status"].get("containerStatuses", [])))
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: lacking}
spec:
  containers: [{name: main, image: busybox:v1, envFrom: [{configMapRef: {name: not-there}}]}]
""")
    c.wait(20, "CreateContainerConfigError", lambda: c.get("pod", "lacking")["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == "CreateContainerConfigError")
    c.kubectl("delete", "pod", "lacking", "confused", "--wait=false")


def test_namespace_deletion_takes_all_with_it(c):
    c.kubectl("create", "namespace", "short")
    c.wait(10, "the default service account", lambda: c.kubectl("-n", "short", "get", "serviceaccount", "default", check=False).returncode == 0)
    c.kubectl("-n", "short", "create", "deployment", "d", "--image=busybox:v1", "--", "sh", "-c", OBEYS)
    c.kubectl("-n", "short", "create", "configmap", "x", "--from-literal=a=b")
    c.kubectl("delete", "namespace", "short", "--timeout=90s")
    expect(c.kubectl("get", "namespace", "short", check=False).returncode != 0, "it is gone")


def test_garbage_collection(c):
    c.kubectl("create", "deployment", "gone", "--image=busybox:v1", "--", "sh", "-c", OBEYS)
    c.wait(20, "its pod", lambda: len(web_pods(c, "app=gone")) == 1)
    c.kubectl("delete", "deployment", "gone")
    c.wait(60, "its replica set and pod to go", lambda: not c.get("replicasets", "-l", "app=gone")["items"] and not c.get("pods", "-l", "app=gone")["items"])


def test_statuses_of_bad_requests(c):
    for args, want in (
            (("get", "pod", "absent"), "NotFound"), (("get", "widgets"), "the server doesn't have a resource type"),
            (("create", "namespace", "Bad_Name"), "Invalid"), (("-n", "absent", "create", "configmap", "x"), "not found")):
        r = c.kubectl(*args, check=False)
        expect(r.returncode != 0 and want.lower() in r.stderr.lower(), f"{args}: {r.stderr}")
    r = c.kubectl("apply", "-f", "-", check=False, stdin="apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: bad}\nspec: {replicas: -1, selector: {matchLabels: {a: b}}, "
                  "template: {metadata: {labels: {a: c}}, spec: {containers: [{name: X, image: busybox:v1}]}}}\n")
    for path in ("spec.replicas", "spec.template.metadata.labels", "spec.template.spec.containers[0].name"):
        expect(path in r.stderr, f"{path} named in {r.stderr}")


DAEMONS = ("kubelet", "apiserver", "scheduler", "controller-manager", "proxy", "dns", "etcd")


def test_killed_daemons_come_back_and_nothing_is_lost(c):
    web(c)
    ip = web_service(c)
    c.wait(30, "the old pods to be gone", lambda: len(c.get("pods", "-l", "app=web")["items"]) == 3)
    started = {p["metadata"]["name"]: [s["state"]["running"]["startedAt"] for s in p["status"]["containerStatuses"]] for p in web_pods(c)}
    restarts = {p["metadata"]["name"]: [s["restartCount"] for s in p["status"]["containerStatuses"]] for p in web_pods(c)}
    acknowledged = []
    stop = threading.Event()

    def write():
        n = 0
        while not stop.is_set():
            n += 1
            r = c.kubectl("create", "configmap", f"ack-{n}", f"--from-literal=n={n}", check=False, timeout=60)
            if r.returncode == 0:
                acknowledged.append(n)
            else:
                time.sleep(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for daemon in DAEMONS:
            old = c.pid_of(daemon)
            sh(["kill", "-9", str(old)])
            c.wait(20, f"{daemon} to come back", lambda: c.pid_of(daemon) != old)
            c.wait(40, "the API to answer", lambda: c.kubectl("get", "--raw", "/readyz", check=False, timeout=10).returncode == 0)
    finally:
        stop.set()
        writer.join()
    expect(len(acknowledged) > 5, f"some writes in between, not {len(acknowledged)}")
    have = {m["metadata"]["name"] for m in c.get("configmaps")["items"]}
    lost = [n for n in acknowledged if f"ack-{n}" not in have]
    expect(not lost, f"acknowledged and lost: {lost}")
    c.wait(40, "the node to be Ready", lambda: any(x["type"] == "Ready" and x["status"] == "True" for x in c.get("node", c.node)["status"]["conditions"]))
    now = {p["metadata"]["name"]: [s["state"]["running"]["startedAt"] for s in p["status"]["containerStatuses"]] for p in web_pods(c)}
    expect(now == started, f"no container was disturbed: {started} became {now}")
    expect({p["metadata"]["name"]: [s["restartCount"] for s in p["status"]["containerStatuses"]] for p in web_pods(c)} == restarts, "nor restarted")
    c.wait(20, "the service to answer still", lambda: fetch(c, f"http://{ip}/").stdout.startswith("web-"))
    c.kubectl("scale", "deployment/web", "--replicas=4")
    c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")


def test_etcd_away_for_ten_seconds(c):
    web(c)
    ip = web_service(c)
    c.wait(20, "the service to answer", lambda: fetch(c, f"http://{ip}/").returncode == 0)
    etcd = c.pid_of("etcd")
    sh(["kill", "-STOP", str(etcd)])
    try:
        started = time.monotonic()
        status = c.inside(["curl", "-sk", "--max-time", "30", "--cert", c.admin_file("cert"), "--key", c.admin_file("key"), "-X", "POST", "-H",
                           "Content-Type: application/json", "-d", json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "while-away"}}),
                           "-w", "\n%{http_code}", "https://127.0.0.1:6443/api/v1/namespaces/default/configmaps"], check=False, timeout=60).stdout
        expect(re.search(r"\n5\d\d$", status), f"a 5xx answer: {status}")
        body = json.loads(status.rsplit("\n", 1)[0])
        # Kubernetes' own lacks its kind, where it is the request's whole time that is over.
        expect(body["status"] == "Failure" and body["reason"] and body["code"] // 100 == 5, f"with a Status: {body}")
        time.sleep(max(0, 10 - (time.monotonic() - started)))
    finally:
        sh(["kill", "-CONT", str(etcd)])
    c.wait(30, "everything to go on", lambda: c.kubectl("create", "configmap", "after-etcd", "--from-literal=a=b", check=False, timeout=10).returncode == 0)
    expect(fetch(c, f"http://{ip}/").stdout.startswith("web-"), "the service served all along")


def test_up_again_is_harmless(c):
    # One that lost its lease with etcd away is started again after a moment.
    before = c.wait(30, "all daemons to run", lambda: {d: c.pid_of(d) for d in DAEMONS})
    out = sh([f"{__import__('cluster').TOP}/deploy/cluster.sh", "up"], env=c.env, timeout=120).stdout
    expect("The cluster is up" in out, out)
    expect({d: c.pid_of(d) for d in DAEMONS} == before, "no daemon was restarted")
