# SPDX-License-Identifier: Apache-2.0
"""A node for tests: etcd, API server and one kubelet that the test starts, kills and configures itself, in folders, a cgroup and a network
namespace of their own. No scheduler and no controllers: pods are born with a node name. The whole test process lives in the namespace."""

import ctypes
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import traceback

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PODS = "/api/v1/namespaces/default/pods"
NODE = "node-rig"
NODE_IP = "192.0.2.20"
API_PORT, ETCD_PORT, KUBELET_PORT = 6443, 2379, 10250
IMAGE = "127.0.0.1:1/busybox:rig"  # a pull is refused at once


class Failure(AssertionError):
    pass


def sh(command, check=True, timeout=120, **kwargs):
    result = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, timeout=timeout, **kwargs)
    if check and result.returncode != 0:
        raise Failure(f"{command}: exit {result.returncode}\n{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result


def wait_until(seconds, what, condition):
    """The condition's first true value; what it last said is told where it never was."""
    end, seen = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            seen = condition()
            if seen:
                return seen
        except (Failure, OSError, http.client.HTTPException, KeyError, IndexError, TypeError) as e:
            seen = repr(e)
        time.sleep(0.03)
    raise Failure(f"{what}: not within {seconds} s; last seen: {str(seen)[:1500]}")


def read(path, fallback=""):
    try:
        with open(path, errors="replace") as f:
            return f.read()
    except OSError:
        return fallback


def processes_with(text):
    """Process IDs whose command line holds the text."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid() and text in read(f"/proc/{name}/cmdline").replace("\0", " "):
            found.append(int(name))
    return found


class Rig:
    def __init__(self, build, api=True, **flags):
        self.build = os.path.abspath(build)
        self.id = f"cn{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="coracle-node-")
        self.flags = dict(flags)
        self.kubelet = None
        self.daemons = []
        self.own_mounts = []
        self.tls = ssl._create_unverified_context()
        self.make_netns()
        self.make_image(IMAGE)
        if api:
            self.start_api()

    # ---- ground ----

    def make_netns(self):
        n = self.id
        sh(f"ip netns add {n} && ip -n {n} link set lo up && ip -n {n} link add up0 type veth peer name up1 && ip -n {n} addr add {NODE_IP}/24 dev up0 && "
           f"ip -n {n} link set up0 up && ip -n {n} link set up1 up && ip -n {n} route add default via 192.0.2.1 dev up0")
        with open(f"/run/netns/{n}") as f:
            if ctypes.CDLL(None, use_errno=True).setns(f.fileno(), 0x40000000) != 0:
                raise Failure("cannot enter the network namespace")
        sh("sysctl -qw net.ipv4.ip_forward=1", check=False)

    def make_image(self, name, root=None):
        tar = f"{self.dir}/image.tar"
        sh([f"{TOP}/deploy/busybox-image.sh", tar, name, "rig"])
        sh([f"{self.build}/bin/coracle", "image", "load", "--root", root or f"{self.dir}/images", tar])

    def spawn(self, name, *command, env=None):
        log = open(f"{self.dir}/{name}.log", "ab")
        p = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=env)
        log.close()
        return p

    def start_api(self):
        etcd, peer, pki = f"http://127.0.0.1:{ETCD_PORT}", "http://127.0.0.1:2380", f"{self.dir}/pki"
        self.daemons.append(self.spawn("etcd", "etcd", "--data-dir", f"{self.dir}/etcd", "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer,
                                       "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--unsafe-no-fsync", "--log-level", "error"))
        sh([f"{self.build}/bin/coracle", "certs", "init", "--dir", pki, "--kubeconfig-dir", self.dir, "--server", f"https://127.0.0.1:{API_PORT}", "--node", NODE, "--node-ip", NODE_IP,
            "--service-ip", "10.96.0.1", "--cluster-domain", "cluster.local", "--san", "127.0.0.1"])
        with open(f"{self.dir}/tokens.csv", "w") as f:
            f.write("rigtoken,admin,1,system:masters\n")
        self.daemons.append(self.spawn(
            "apiserver", f"{self.build}/bin/coracle-apiserver", "--etcd-servers", etcd, "--feature-gates", "ContainerStopSignals=true,MaxUnavailableStatefulSet=true", "--bind-address", "127.0.0.1", "--secure-port", str(API_PORT), "--tls-cert-file",
            f"{pki}/apiserver.crt", "--tls-private-key-file", f"{pki}/apiserver.key", "--client-ca-file", f"{pki}/ca.crt", "--token-auth-file", f"{self.dir}/tokens.csv",
            "--disable-admission-plugins", "ServiceAccount", "--authorization-mode", "AlwaysAllow", "--service-account-issuer", "https://rig", "--service-account-key-file",
            f"{pki}/sa.pub", "--service-account-signing-key-file", f"{pki}/sa.key"))
        self.kubeconfig = f"{self.dir}/rig.kubeconfig"
        with open(self.kubeconfig, "w") as f:
            json.dump({"apiVersion": "v1", "kind": "Config", "current-context": "rig", "contexts": [{"name": "rig", "context": {"cluster": "rig", "user": "rig"}}],
                       "clusters": [{"name": "rig", "cluster": {"server": f"https://127.0.0.1:{API_PORT}", "certificate-authority": f"{pki}/ca.crt"}}],
                       "users": [{"name": "rig", "user": {"token": "rigtoken"}}]}, f)
        wait_until(60, "the API server", lambda: self.call("GET", "/readyz", raw=True)[0] == 200)

    # ---- the API ----

    def call(self, method, path, body=None, ctype="application/json", raw=False, port=API_PORT):
        c = http.client.HTTPSConnection("127.0.0.1", port, context=self.tls, timeout=20)
        try:
            headers = {"Authorization": "Bearer rigtoken"} if port == API_PORT else {}
            if body is not None:
                headers["Content-Type"] = ctype
            c.request(method, path, None if body is None else json.dumps(body), headers)
            r = c.getresponse()
            data = r.read()
            return r.status, data if raw else json.loads(data)
        finally:
            c.close()

    def must(self, method, path, body=None, ctype="application/json"):
        status, answer = self.call(method, path, body, ctype)
        if status >= 300:
            raise Failure(f"{method} {path}: {status} {str(answer)[:600]}")
        return answer

    def pod(self, name):
        status, answer = self.call("GET", f"{PODS}/{name}")
        return answer if status == 200 else None

    def pods(self):
        return self.must("GET", PODS)["items"]

    def node(self):
        return self.must("GET", f"/api/v1/nodes/{NODE}")

    def condition(self, kind, of=None):
        """(status, reason) of a condition of the node, or of an object that is given."""
        for c in (of or self.node())["status"].get("conditions", []):
            if c["type"] == kind:
                return c["status"], c.get("reason", "")
        return None, None

    def events(self, name):
        return [e for e in self.must("GET", "/api/v1/namespaces/default/events")["items"] if e["involvedObject"]["name"] == name]

    def create(self, name, command="sleep 1000", grace=0, restart="Always", image=IMAGE, container=None, labels=None, annotations=None, **spec):
        c = {"name": "main", "image": image, "command": ["sh", "-c", "trap 'exit 0' TERM; " + command + " & wait $!"]}
        c.update(container or {})
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels or {}, "annotations": annotations or {}},
                "spec": dict({"nodeName": NODE, "restartPolicy": restart, "terminationGracePeriodSeconds": grace, "containers": [c], "tolerations": [{"operator": "Exists"}]}, **spec)}
        return self.must("POST", PODS, body)

    def delete(self, name, grace=None):
        self.call("DELETE", f"{PODS}/{name}" + (f"?gracePeriodSeconds={grace}" if grace is not None else ""))

    def wait_phase(self, name, phase, seconds=60):
        phases = phase if isinstance(phase, tuple) else (phase,)
        return self.wait_pod(name, f"phase {phase}", lambda p: p["status"]["phase"] in phases, seconds)

    def wait_pod(self, name, what, test, seconds=60):
        seen = {}

        def look():
            seen["pod"] = self.pod(name)
            return seen["pod"] and test(seen["pod"])
        try:
            wait_until(seconds, f"pod {name}: {what}", look)
        except Failure as e:
            status = (seen.get("pod") or {}).get("status")
            raise Failure(f"{e}\nstatus: {json.dumps(status)[:2500]}\nevents: {[(x['reason'], x['message'][:200]) for x in self.events(name)][-12:]}") from None
        return seen["pod"]

    def wait_gone(self, *names, seconds=60):
        for name in names:
            wait_until(seconds, f"pod {name} to be gone", lambda: self.call("GET", f"{PODS}/{name}")[0] == 404)

    def waiting(self, pod):
        """(reason, message) of the first container that waits."""
        for s in pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", []):
            w = s["state"].get("waiting")
            if w:
                return w.get("reason", ""), w.get("message", "")
        return "", ""

    # ---- the kubelet ----

    def kubelet_command(self):
        flags = {"kubeconfig": self.kubeconfig, "hostname-override": NODE, "node-ip": NODE_IP, "root-dir": f"{self.dir}/kubelet", "run-dir": f"{self.dir}/run", "image-root": f"{self.dir}/images",
                 "pod-log-dir": f"{self.dir}/pods-log", "cni-conf-dir": f"{self.dir}/cni", "cgroup-root": f"/{self.id}", "bridge-name": "cnrig0", "pod-cidr": "10.77.0.0/16",
                 "port": str(KUBELET_PORT), "healthz-port": "10248", "authorization-mode": "AlwaysAllow", "anonymous-auth": "true", "authentication-token-webhook": "false",
                 "resolv-conf": "/dev/null", "max-pods": "500",
                 # However full this machine's disk and memory are: pods and images stay, unless a test says otherwise.
                 "eviction-hard": "memory.available<1Mi", "image-gc-high-threshold": "100", "fail-swap-on": "false"}
        flags.update(self.flags)
        return [f"{self.build}/bin/coracle-kubelet"] + [f"--{k}={v}" for k, v in flags.items() if v is not None]

    def start_kubelet(self, env=None):
        self.kubelet = self.spawn("kubelet", *self.kubelet_command(), env=dict(os.environ, **env) if env else None)

    def healthy(self):
        c = http.client.HTTPConnection("127.0.0.1", 10248, timeout=5)
        try:
            c.request("GET", "/healthz")
            return c.getresponse().status == 200
        finally:
            c.close()

    def up(self, env=None):
        self.start_kubelet(env)
        wait_until(60, "the node to be Ready", lambda: self.condition("Ready")[0] == "True" and self.healthy())

    def kill_kubelet(self, signo=signal.SIGKILL):
        self.kubelet.send_signal(signo)
        return self.kubelet.wait(60)

    def restart_kubelet(self, **flags):
        self.kill_kubelet(signal.SIGTERM)
        self.flags.update(flags)
        self.up()

    # ---- what is on the machine ----

    def inventory(self):
        """All that pods leave on a machine while they are there; empty lists where nothing is."""
        with open("/proc/self/mountinfo") as f:
            mounts = [line.split()[4] for line in f if f" {self.dir}/" in line and line.split()[4] not in self.own_mounts]
        links = [x["ifname"] for x in json.loads(sh(["ip", "-j", "link"]).stdout) if x["ifname"].startswith("veth")]
        ipam = []
        for base, _, files in os.walk(f"{self.dir}/kubelet/cni/ipam"):
            ipam += [f for f in files if f[0].isdigit()]
        cgroups = []
        for base, dirs, _ in os.walk("/sys/fs/cgroup"):
            if f"/{self.id}/kubepods" in base:
                cgroups += [f"{base}/{d}" for d in dirs if d not in ("burstable", "besteffort")]
        listing = {name: os.listdir(path) if os.path.isdir(path) else [] for name, path in (
            ("bundles", f"{self.dir}/run/containers"), ("sandboxes", f"{self.dir}/run/sandboxes"), ("exits", f"{self.dir}/run/exits"), ("runc", f"{self.dir}/run/runc"),
            ("containers", f"{self.dir}/kubelet/runtime/containers"), ("states", f"{self.dir}/kubelet/runtime/sandboxes"), ("results", f"{self.dir}/kubelet/cni/results"),
            ("pod folders", f"{self.dir}/kubelet/pods"), ("log folders", f"{self.dir}/pods-log"), ("leases", f"{self.dir}/images/leases"), ("downloads", f"{self.dir}/images/tmp"))}
        listing["results"] = [f for f in listing["results"] if f != "calls"]
        monitors = [p for p in processes_with(f"{self.dir}/run/exits")]
        inside = []
        for base, _, _ in os.walk("/sys/fs/cgroup"):
            if f"/{self.id}/kubepods" in base:
                inside += read(f"{base}/cgroup.procs").split()
        return dict(listing, mounts=mounts, links=links, addresses=ipam, cgroups=cgroups, monitors=monitors, processes=sorted(set(inside)))

    def leftovers(self):
        return {k: v for k, v in self.inventory().items() if v}

    def expect_clean(self, seconds=60):
        wait_until(seconds, "nothing to be left on the machine", lambda: not self.leftovers() or (_ for _ in ()).throw(Failure(str(self.leftovers()))))

    def tail(self, name="kubelet", lines=8):
        return "".join(f"    {line}\n" for line in read(f"{self.dir}/{name}.log").splitlines()[-lines:])

    def groups(self):
        """Its cgroups, those of monitors and the root itself too, in every hierarchy; parents first."""
        return [base for base, _, _ in os.walk("/sys/fs/cgroup") if f"/{self.id}/" in f"{base}/"]

    def down(self):
        """Ends all; gives the cgroups that the kubelet's own cleanup left."""
        if self.kubelet and self.kubelet.poll() is None:
            self.kill_kubelet(signal.SIGTERM)
        if self.kubelet and not hasattr(self, "no_cleanup"):
            subprocess.run(self.kubelet_command() + ["--cleanup"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120)
        left = self.groups()
        for p in reversed(self.daemons):
            p.kill()
            p.wait()
        for pid in processes_with(self.dir + "/"):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        for _ in range(50):
            pids = self.inventory()["processes"]
            if not pids:
                break
            for pid in pids:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except OSError:
                    pass
            time.sleep(0.05)
        with open("/proc/self/mountinfo") as f:
            for target in sorted((line.split()[4] for line in f if f" {self.dir}/" in line), reverse=True):
                sh(["umount", "-l", target], check=False)
        for group in reversed(self.groups()):
            try:
                os.rmdir(group)
            except OSError:
                pass
        sh(["ip", "netns", "del", self.id], check=False)
        if not os.environ.get("KEEP"):
            shutil.rmtree(self.dir, ignore_errors=True)
        return left


def main(tests, rig, prepare, names):
    """Runs test(rig) for each; the last line is what test/integration/run.sh adds up."""
    passed = failed = 0
    try:
        prepare(rig)
        for test in tests:
            if names and not any(n in test.__name__ for n in names):
                continue
            began = time.monotonic()
            try:
                test(rig)
                passed += 1
                print(f"ok    {test.__name__[5:].replace('_', ' ')} ({time.monotonic() - began:.1f} s)", flush=True)
            except Exception as e:
                failed += 1
                text = str(e) if isinstance(e, Failure) else traceback.format_exc()
                print(f"FAILED: {test.__name__[5:].replace('_', ' ')} ({time.monotonic() - began:.1f} s): {text}\n{rig.tail()}", flush=True)
    except Exception:
        failed += 1
        print(f"FAILED: {traceback.format_exc()}\n{rig.tail()}", flush=True)
    finally:
        left = rig.down()
        if left:
            failed += 1
            print(f"FAILED: cgroups are left: {left}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0
