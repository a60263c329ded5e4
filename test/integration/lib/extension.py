# SPDX-License-Identifier: Apache-2.0
"""A small API server of others, as an APIService names one: flavors.example.com/v1 out of a dictionary, and the metrics APIs that autoscalers ask."""
import base64, copy, http.server, json, os, queue, re, socket, ssl, struct, subprocess, threading, time, urllib.parse

GROUP, VERSION = "flavors.example.com", "v1"
VERBS = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def own_address():
    """An address of this machine that is not of the loopback: endpoints may not be there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect(("203.0.113.1", 9))
        return s.getsockname()[0]


def make_certificates(folder, *names):
    """extension-ca.pem with a server for these names, and proxy.pem with proxy.key: a client, of the same authority."""
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    with open(os.path.join(folder, "extension-names"), "w") as f:
        f.write("subjectAltName=" + ",".join("DNS:" + n for n in names) + "\nbasicConstraints=CA:FALSE\n")
    for name in ("extension-ca", "extension", "proxy"):
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", name + ".key")
    openssl("req", "-x509", "-new", "-key", "extension-ca.key", "-subj", "/CN=extension", "-days", "2", "-out", "extension-ca.pem")
    for name, more in (("extension", ["-extfile", "extension-names"]), ("proxy", [])):
        openssl("req", "-new", "-key", name + ".key", "-subj", "/CN=" + name, "-out", name + ".csr")
        openssl("x509", "-req", "-in", name + ".csr", "-CA", "extension-ca.pem", "-CAkey", "extension-ca.key", "-CAcreateserial", "-days", "2", *more, "-out", name + ".pem")


def resource_list():
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP + "/" + VERSION, "resources": [
        {"name": "flavors", "singularName": "flavor", "namespaced": True, "kind": "Flavor", "verbs": VERBS, "shortNames": ["flv"], "categories": ["all"]},
        {"name": "flavors/status", "singularName": "", "namespaced": True, "kind": "Flavor", "verbs": ["get", "patch", "update"]}]}


def discovery():
    kind = {"group": "", "version": "", "kind": "Flavor"}
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": [{"metadata": {"name": GROUP}, "versions": [{"version": VERSION, "freshness": "Current", "resources": [
        {"resource": "flavors", "responseKind": kind, "scope": "Namespaced", "singularResource": "flavor", "verbs": VERBS, "shortNames": ["flv"], "categories": ["all"],
         "subresources": [{"subresource": "status", "responseKind": kind, "verbs": ["get", "patch", "update"]}]}]}]}]}


def schemas(prefix):
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    return {"com.example.flavors.v1.Flavor": {"type": "object", "description": "A flavor of something.", "x-kubernetes-group-version-kind": [{"group": GROUP, "version": VERSION, "kind": "Flavor"}],
                                              "properties": {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"$ref": prefix + meta},
                                                             "spec": {"type": "object", "description": "How it tastes.", "properties": {"taste": {"type": "string", "description": "In one word."}}}}},
            meta: {"type": "object", "properties": {"name": {"type": "string", "description": "in other words"}}},
            "com.example.flavors.v1.Unused": {"type": "object"}}


def document(v2):
    prefix = "#/definitions/" if v2 else "#/components/schemas/"
    ref = {"$ref": prefix + "com.example.flavors.v1.Flavor"}
    answer = {"200": {"description": "OK", "schema": ref}} if v2 else {"200": {"description": "OK", "content": {"application/json": {"schema": ref}}}}
    paths = {"/apis/%s/%s/namespaces/{namespace}/flavors/{name}" % (GROUP, VERSION): {"get": {"operationId": "readFlavor", "responses": answer, "x-kubernetes-action": "get", "x-kubernetes-group-version-kind": {"group": GROUP, "version": VERSION, "kind": "Flavor"}}},
             "/version/": {"get": {"operationId": "itsVersion", "responses": {"200": {"description": "OK"}}}}}
    if v2:
        return {"swagger": "2.0", "info": {"title": "flavors", "version": "1"}, "paths": paths, "definitions": schemas(prefix)}
    return {"openapi": "3.0.0", "info": {"title": "flavors", "version": "1"}, "paths": paths, "components": {"schemas": schemas(prefix)}}


class Extension:
    """Knobs: legacy (no aggregated discovery), broken (every answer is 500), gate (an Event that GET .../slow waits for)."""

    def __init__(self, folder, *names, host="0.0.0.0", certificates=True):
        if certificates:
            make_certificates(folder, *names)
        self.requests, self.objects, self.watchers, self.revision = [], {}, [], 1
        self.legacy, self.broken, self.gate, self.aborted = False, False, threading.Event(), threading.Event()
        self.metrics, self.external, self.lock = {}, {}, threading.Lock()
        self.metric_versions = ["v1beta2"]
        extension = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, code, body, ctype="application/json", **headers):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(code)
                self.send_header("Content-Type", ctype)
                self.send_header("Content-Length", str(len(data)))
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def status(self, code, reason, message):
                self.answer(code, {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})

            def serve(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length) if length else b""
                path, _, query = self.path.partition("?")
                with extension.lock:
                    extension.requests.append({"method": self.command, "path": path, "query": query, "headers": self.headers, "body": body, "certificate": self.connection.getpeercert()})
                if extension.broken:
                    return self.status(500, "InternalError", "broken")
                if path == "/apis" and not extension.legacy and "as=APIGroupDiscoveryList" in (self.headers["Accept"] or ""):
                    return self.answer(200, discovery(), AGGREGATED)
                if path == "/apis/%s/%s" % (GROUP, VERSION):
                    return self.answer(200, resource_list())
                if path == "/openapi/v2":
                    return self.answer(200, document(True))
                if path == "/openapi/v3":
                    key = "apis/%s/%s" % (GROUP, VERSION)
                    return self.answer(200, {"paths": {key: {"serverRelativeURL": "/openapi/v3/%s?hash=ABC" % key}, "apis/" + GROUP: {"serverRelativeURL": "/openapi/v3/apis/%s?hash=E" % GROUP},
                                                       "version": {"serverRelativeURL": "/openapi/v3/version?hash=D"}}})
                if path == "/openapi/v3/apis/" + GROUP:
                    return self.answer(200, {"openapi": "3.0.0", "paths": {"/apis/%s/" % GROUP: {}}})
                if path == "/openapi/v3/apis/%s/%s" % (GROUP, VERSION):
                    return self.answer(200, document(False))
                for group in ("custom.metrics.k8s.io", "external.metrics.k8s.io"):
                    if path.startswith("/apis/%s/" % group):
                        return self.serve_metrics(group, path[len("/apis/%s/" % group):].split("/"), urllib.parse.parse_qs(query))
                m = re.fullmatch(r"/apis/%s/%s(?:/namespaces/([^/]+))?/flavors(?:/([^/]+))?(?:/([^/]+))?" % (re.escape(GROUP), VERSION), path)
                if not m:
                    return self.status(404, "NotFound", "the server could not find the requested resource")
                self.serve_flavors(*m.groups(), urllib.parse.parse_qs(query), body)

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = lambda self: self.serve()

            def serve_metrics(self, group, rest, query):
                version, rest = rest[0], rest[1:]
                known = extension.metric_versions if group.startswith("custom") else ["v1beta1"]
                if version not in known:
                    return self.status(404, "NotFound", "the server could not find the requested resource")
                if not rest:
                    return self.answer(200, {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group + "/" + version, "resources": []})
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                if group.startswith("external"):
                    items = [{"metricName": rest[2], "metricLabels": {}, "timestamp": now, "value": v} for v in extension.external.get(rest[2], [])]
                    return self.answer(200, {"kind": "ExternalMetricValueList", "apiVersion": group + "/" + version, "metadata": {}, "items": items})
                resource, name, metric = (rest[2], urllib.parse.unquote(rest[3]), rest[4]) if len(rest) == 5 else ("namespaces", rest[1], rest[3])
                if metric not in extension.metrics:
                    return self.status(404, "NotFound", "the server could not find the metric %s for %s" % (metric, resource))
                items = [{"describedObject": {"kind": resource, "namespace": rest[1], "name": n}, "metric": {"name": metric}, "metricName": metric, "timestamp": now, "value": v}
                         for n, v in extension.metrics[metric].items() if name in ("*", n)]
                self.answer(200, {"kind": "MetricValueList", "apiVersion": group + "/" + version, "metadata": {}, "items": items})

            def serve_flavors(self, ns, name, sub, query, body):
                if name == "slow":
                    extension.gate.wait(60)
                    return self.answer(200, flavor(ns or "", "slow"))
                if name == "redirect":
                    return self.answer(302, b"", Location="https://%s/apis/elsewhere" % self.headers["Host"])
                if name == "large":
                    return self.answer(200, {"kind": "Flavor", "spec": {"taste": "x" * (12 << 20)}})
                if name in ("torn", "garbled"):
                    self.send_response(200)
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    self.wfile.write(b"100000\r\n" + b"x" * (1 << 20) + (b"\r\nzz\r\n0\r\n\r\n" if name == "garbled" else b"\r\n10\r\nxx"))
                    self.close_connection = True
                    return None
                if name == "cut":
                    self.send_response(200)
                    self.send_header("Content-Length", "100")
                    self.end_headers()
                    self.wfile.write(b"{")
                    self.close_connection = True
                    return None
                if sub == "exec":
                    return self.upgrade()
                with extension.lock:
                    if self.command == "POST":
                        made = json.loads(body)
                        return self.answer(201, extension.put(ns, made["metadata"]["name"], made, "ADDED"))
                    if name is None and query.get("watch"):
                        events = queue.Queue()
                        for (n, _), o in sorted(extension.objects.items()):
                            if (not ns or n == ns) and query.get("resourceVersion", ["0"]) in (["0"], ["x"]):
                                events.put({"type": "ADDED", "object": o})
                        extension.watchers.append((ns, events))
                    else:
                        events = None
                if events is not None:
                    return self.watch(events)
                with extension.lock:
                    if name is None:
                        chosen = [o for (n, _), o in sorted(extension.objects.items()) if not ns or n == ns]
                        if self.command == "DELETE":
                            for o in chosen:
                                extension.drop(o["metadata"]["namespace"], o["metadata"]["name"])
                        return self.answer(200, {"kind": "FlavorList", "apiVersion": GROUP + "/" + VERSION, "metadata": {"resourceVersion": str(extension.revision)}, "items": chosen})
                    there = extension.objects.get((ns, name))
                    if there is None:
                        return self.status(404, "NotFound", 'flavors.%s "%s" not found' % (GROUP, name))
                    if self.command == "DELETE":
                        return self.answer(200, extension.drop(ns, name))
                    if self.command in ("PUT", "PATCH"):
                        new = copy.deepcopy(there) if self.command == "PATCH" else {}
                        new.update({k: v for k, v in json.loads(body).items() if k != "metadata"})
                        new["metadata"] = there["metadata"]
                        return self.answer(200, extension.put(ns, name, new, "MODIFIED"))
                    return self.answer(200, there)

            def watch(self, events):
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.flush()
                try:
                    while True:
                        try:
                            event = events.get(timeout=0.2)
                        except queue.Empty:
                            event = None
                        if event:
                            line = json.dumps(event).encode() + b"\n"
                            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                        elif self.gone():
                            break
                except OSError:
                    pass
                extension.aborted.set()
                self.close_connection = True

            def gone(self):
                self.connection.setblocking(False)
                try:
                    return self.connection.recv(1) == b""
                except (ssl.SSLWantReadError, BlockingIOError):
                    return False
                finally:
                    self.connection.setblocking(True)

            def upgrade(self):
                self.send_response(101)
                self.send_header("Connection", "Upgrade")
                self.send_header("Upgrade", self.headers["Upgrade"])
                self.end_headers()
                self.wfile.flush()
                while True:
                    data = self.rfile.read1(4096)
                    if not data:
                        break
                    self.wfile.write(data.upper())
                    self.wfile.flush()
                self.close_connection = True

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                s, at = self.socket.accept()
                return context.wrap_socket(s, server_side=True, do_handshake_on_connect=False), at

            def handle_error(self, request, at):
                pass

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(os.path.join(folder, "extension.pem"), os.path.join(folder, "extension.key"))
        context.load_verify_locations(os.path.join(folder, "extension-ca.pem"))
        context.verify_mode = ssl.CERT_OPTIONAL
        self.server = Server((host, 0), Handler)
        self.port = self.server.server_address[1]
        with open(os.path.join(folder, "extension-ca.pem"), "rb") as f:
            self.ca = base64.b64encode(f.read()).decode()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def tell(self, ns, event):
        self.watchers = [w for w in self.watchers if w]
        for of, events in self.watchers:
            if not of or of == ns:
                events.put(event)

    def put(self, ns, name, o, sort):
        self.revision += 1
        o.update(kind="Flavor", apiVersion=GROUP + "/" + VERSION)
        o["metadata"] = dict(o["metadata"], namespace=ns, name=name, resourceVersion=str(self.revision), uid="uid-" + name, creationTimestamp="2026-01-01T00:00:00Z")
        self.objects[ns, name] = o
        self.tell(ns, {"type": sort, "object": o})
        return o

    def drop(self, ns, name):
        self.revision += 1
        o = self.objects.pop((ns, name))
        o["metadata"]["resourceVersion"] = str(self.revision)
        self.tell(ns, {"type": "DELETED", "object": o})
        return o

    def seen(self, path):
        with self.lock:
            return [r for r in self.requests if r["path"] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def flavor(ns, name, taste="sweet"):
    return {"apiVersion": GROUP + "/" + VERSION, "kind": "Flavor", "metadata": {"name": name, "namespace": ns}, "spec": {"taste": taste}}


def service_objects(ns, name, address, port):
    """A Service without selector, and the slice behind it."""
    return ({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": ns}, "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]}},
            {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": name + "-1", "namespace": ns, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
             "ports": [{"name": "https", "port": port, "protocol": "TCP"}], "endpoints": [{"addresses": [address], "conditions": {"ready": True}}]})


def api_service(group, version, ns, name, ca=None, **spec):
    more = {"caBundle": ca} if ca else {"insecureSkipTLSVerify": True}
    return {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": version + "." + group},
            "spec": dict({"group": group, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 15, "service": {"namespace": ns, "name": name}}, **more, **spec)}
