# SPDX-License-Identifier: Apache-2.0
"""A webhook server over TLS, with authorities of its own."""
import base64, http.server, json, os, ssl, subprocess, threading


def make_certificates(folder):
    """ca.pem, server.pem and server.key, good for localhost, 127.0.0.1 and the service hook of the namespace default."""
    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, cwd=folder, stderr=subprocess.DEVNULL)
    with open(os.path.join(folder, "names"), "w") as f:
        f.write("subjectAltName=DNS:localhost,IP:127.0.0.1,DNS:hook.default.svc\nbasicConstraints=CA:FALSE\n")
    for name in ("ca", "server"):
        openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", name + ".key")
    openssl("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=hooks", "-days", "2", "-out", "ca.pem")
    openssl("req", "-new", "-key", "server.key", "-subj", "/CN=hook", "-out", "server.csr")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem")


class Hooks:
    """Answers POST /x with what handlers["x"] makes of the review's request: a dict is the response, (code, text) is sent as it is."""

    def __init__(self, folder, host="127.0.0.1"):
        make_certificates(folder)
        self.handlers, self.requests, self.reviews, self.queries, self.connections, self.host = {}, [], [], [], 0, host
        self.shown = []  # Authorization, and the certificate shown, of each request
        hooks = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                hooks.connections += 1

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                path, _, query = self.path[1:].partition("?")
                hooks.requests.append((path, body.get("request")))
                hooks.reviews.append(body)
                hooks.queries.append(query)
                hooks.shown.append((self.headers["Authorization"], self.connection.getpeercert() or None))
                answer = hooks.handlers[path](body.get("request"))
                code = 200
                if isinstance(answer, tuple):
                    code, text = answer
                else:
                    review = {"apiVersion": body["apiVersion"], "kind": body["kind"], "response": dict({"uid": body["request"]["uid"]}, **answer)} if "raw" not in answer else answer["raw"]
                    text = json.dumps(review)
                data = text.encode()
                self.send_response(code)
                self.send_header("Content-Type", "text/plain; charset=utf-8" if path == "plain" else "application/json")
                if path.startswith("chunked"):
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    for i in range(0, len(data), 7):
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(data[i:i + 7]), data[i:i + 7]))
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    self.wfile.write(data)

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
        context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(os.path.join(folder, "ca.pem"))
        self.server = Server((host, 0), Handler)
        self.port = self.server.server_address[1]
        with open(os.path.join(folder, "ca.pem"), "rb") as f:
            self.ca = base64.b64encode(f.read()).decode()
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def client(self, path, host="127.0.0.1", ca=True):
        return dict({"url": "https://%s:%d/%s" % (host, self.port, path)}, **({"caBundle": self.ca} if ca else {}))

    def seen(self, path):
        return [r for p, r in self.requests if p == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def patch(*operations):
    return {"allowed": True, "patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(list(operations)).encode()).decode()}
