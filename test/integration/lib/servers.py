# SPDX-License-Identifier: Apache-2.0
"""What integration tests share: an etcd and API servers of one's own, on ports of one's own, a plain HTTPS client, watches, a count of checks.

A test is a function that takes a Site; run(...) calls them one after the other and prints "N passed, N failed".
"""
import http.client, json, os, random, shutil, signal, socket, ssl, subprocess, sys, tempfile, threading, time, traceback

BUILD = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else "build/gcc")
passed, failed = 0, 0


def check(name, good, info=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print("FAILED:", name, str(info)[:800])
    return bool(good)


def free_port():
    """Below the range from which the kernel gives connections theirs, so that it is still free when it is used."""
    while True:
        with socket.socket() as s:
            port = random.randrange(12000, 30000)
            try:
                s.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def wait_for(condition, seconds=60, pause=0.02):
    """What condition() gives once it is true; its last value where it never is. The time is for a machine that does much else."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(pause)


class Api:
    """One API server's client. Each thread keeps a connection of its own."""

    def __init__(self, port, token="admintoken", host="127.0.0.1", timeout=60):
        self.port, self.token, self.host, self.timeout = port, token, host, timeout
        self.tls = ssl._create_unverified_context()
        self.local = threading.local()

    def connect(self, timeout=None):
        return http.client.HTTPSConnection(self.host, self.port, context=self.tls, timeout=timeout or self.timeout)

    def headers(self, more=None):
        h = {"Authorization": "Bearer " + self.token} if self.token else {}
        h.update(more or {})
        return h

    def call(self, method, path, body=None, ctype="application/json", headers=None):
        h = self.headers(headers)
        if body is not None:
            h["Content-Type"] = ctype
            body = body if isinstance(body, (str, bytes)) else json.dumps(body)
        for attempt in (0, 1):
            c = getattr(self.local, "connection", None)
            fresh = c is None
            if fresh:
                c = self.local.connection = self.connect()
            try:
                c.request(method, path, body, h)
                r = c.getresponse()
                data = r.read()
                break
            except (OSError, http.client.HTTPException):
                c.close()
                self.local.connection = None
                # A kept connection may have been closed meanwhile: once more, where asking twice does no harm.
                if fresh or method != "GET" or attempt:
                    raise
        try:
            return r.status, json.loads(data), r.headers
        except ValueError:
            return r.status, data.decode("utf-8", "replace"), r.headers

    def get(self, path):
        return self.call("GET", path)[1]


class Watch(threading.Thread):
    """Collects the events of a watch until it ends."""

    def __init__(self, api, path):
        super().__init__(daemon=True)
        self.events, self.cond, self.ended = [], threading.Condition(), False
        self.c = api.connect()
        self.c.request("GET", path, headers=api.headers())
        self.r = self.c.getresponse()
        self.start()

    def run(self):
        try:
            for line in self.r:
                with self.cond:
                    self.events.append(json.loads(line))
                    self.cond.notify_all()
        except Exception:
            pass
        with self.cond:
            self.ended = True
            self.cond.notify_all()

    def wait(self, n, seconds=60):
        with self.cond:
            self.cond.wait_for(lambda: len(self.events) >= n or self.ended, seconds)
            return list(self.events)

    def close(self):
        try:
            self.c.sock and self.c.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.join(5)
        self.c.close()


class Process:
    def __init__(self, site, name, argv):
        self.log = os.path.join(site.folder, name + ".log")
        with open(self.log, "a") as out:
            self.p = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT)

    def alive(self):
        return self.p.poll() is None

    def signal(self, number):
        self.p.send_signal(number)
        if number == signal.SIGSTOP:
            # It goes on until one of its threads gets to see the signal.
            wait_for(self.stopped, 10, 0.001)

    def stopped(self):
        for task in os.listdir("/proc/%d/task" % self.p.pid):
            with open("/proc/%d/task/%s/stat" % (self.p.pid, task)) as f:
                if f.read().rsplit(")", 1)[1].split()[0] not in "Tt":
                    return False
        return True

    def stop(self, seconds=60):
        """The exit status after SIGTERM; None where it had to be killed."""
        if self.alive():
            self.p.send_signal(signal.SIGCONT)
            self.p.send_signal(signal.SIGTERM)
        try:
            return self.p.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def kill(self):
        if self.alive():
            self.p.kill()
        self.p.wait()

    def text(self):
        with open(self.log, errors="replace") as f:
            return f.read()

    def memory(self, field="VmRSS"):
        """In bytes."""
        with open("/proc/%d/status" % self.p.pid) as f:
            for line in f:
                if line.startswith(field):
                    return int(line.split()[1]) << 10


class Site:
    """An etcd and the API servers on it, in a folder that goes away."""

    def __init__(self, ranges="10.96.0.0/16"):
        self.folder = tempfile.mkdtemp(prefix="coracle-test-")
        self.ranges, self.servers, self.etcd, self.count = ranges, [], None, 0
        self.key = os.path.join(self.folder, "sa.key")
        subprocess.run(["openssl", "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", self.key], check=True, stderr=subprocess.DEVNULL)
        self.tokens = os.path.join(self.folder, "tokens")
        with open(self.tokens, "w") as f:
            f.write('admintoken,admin,1,"system:masters"\nusertoken,alice,2\nrobottoken,bob,3,"robots"\n')
        self.etcd_port, self.peer_port = free_port(), free_port()
        self.etcd_url = "http://127.0.0.1:%d" % self.etcd_port
        self.start_etcd()

    def start_etcd(self):
        peer = "http://127.0.0.1:%d" % self.peer_port
        self.etcd = Process(self, "etcd", [os.environ.get("TEST_ETCD", "etcd"), "--data-dir", os.path.join(self.folder, "etcd"), "--listen-client-urls", self.etcd_url,
                                          "--advertise-client-urls", self.etcd_url, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                                          "--initial-cluster", "default=" + peer, "--unsafe-no-fsync"])

    def etcdctl(self, *args, stdin=None):
        env = dict(os.environ, ETCDCTL_API="3")
        return subprocess.run(["etcdctl", "--endpoints", self.etcd_url, *args], check=True, env=env, input=stdin.encode() if stdin else None, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30).stdout.decode()

    def start_server(self, *args, advertise=None, port=None, wait=True, cert_dir=None, build=BUILD, etcd_url=None):
        """One more API server; its `api` speaks to it."""
        self.count += 1
        name = "apiserver-%d" % self.count
        port = port or free_port()
        folder = cert_dir or os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        server = Process(self, name, [os.path.join(build, "bin/coracle-apiserver"), "--etcd-servers", etcd_url or self.etcd_url, "--secure-port", str(port), "--bind-address", "127.0.0.1",
                                      "--advertise-address", advertise or "127.0.0.%d" % self.count, "--cert-dir", folder, "--token-auth-file", self.tokens, "--service-account-signing-key-file", self.key,
                                      "--service-account-key-file", self.key, "--service-account-issuer", "https://kubernetes.default.svc", "--service-cluster-ip-range", self.ranges, *args])
        server.port, server.api = port, Api(port)
        self.servers.append(server)
        if wait and not server_ready(server):
            check("server becomes ready", False, server.text()[-2000:])
        return server

    def close(self):
        for p in self.servers + [self.etcd]:
            p.signal(signal.SIGCONT) if p.alive() else None
            p.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def server_ready(server, seconds=60):
    def ready():
        if not server.alive():
            return True
        try:
            return server.api.call("GET", "/readyz")[0] == 200
        except (OSError, http.client.HTTPException):
            return False
    return wait_for(ready, seconds) and server.alive()


def run_some(tests, site_args=None):
    """Each test with a Site of its own."""
    for test in tests:
        site = Site(**(site_args or {}))
        before = failed
        try:
            test(site)
        except Exception:
            check(test.__name__, False, traceback.format_exc()[-1500:])
        finally:
            if failed > before:
                for server in site.servers:
                    print("---", server.log, "\n" + server.text()[-2500:])
            site.close()


def finish():
    print("%d passed, %d failed" % (passed, failed))
    sys.exit(1 if failed else 0)


def run(tests, site_args=None):
    """All of them, or those that are named after the build folder on the command line."""
    run_some([t for t in tests if len(sys.argv) < 3 or t.__name__ in sys.argv[2:]], site_args)
    finish()
