# SPDX-License-Identifier: Apache-2.0
"""An issuer of OpenID tokens over TLS, and a server that is posted reviews; keys and signatures by openssl."""
import base64, http.server, json, os, re, ssl, subprocess, threading, time


def b64(data):
    return base64.urlsafe_b64encode(data if isinstance(data, bytes) else json.dumps(data).encode()).rstrip(b"=").decode()


class Https:
    """Answers by self.answer(method, path, headers, body) -> (code, what is dumped as JSON)."""

    def __init__(self, pair):
        self.calls, self.closed = [], False
        site = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if site.closed:  # whoever kept a connection
                    self.close_connection = True
                    return
                site.calls.append(self.path)
                code, answer = site.answer(self.command, self.path, self.headers, body)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)
            do_GET = do_POST = answer

            def log_message(self, *args):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self):
                s, at = self.socket.accept()
                return context.wrap_socket(s, server_side=True, do_handshake_on_connect=False) if pair else s, at

            def handle_error(self, request, at):
                pass

        if pair:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = "%s://127.0.0.1:%d" % ("https" if pair else "http", self.server.server_address[1])
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.closed = True
        self.server.shutdown()
        self.server.server_close()


class Key:
    """RS, PS or ES with 256, 384 or 512."""

    def __init__(self, folder, kid, alg="RS256"):
        self.kid, self.alg, self.path = kid, alg, os.path.join(folder, "jwt-%s.pem" % kid)
        curve = {"ES256": "prime256v1", "ES384": "secp384r1", "ES512": "secp521r1"}.get(alg)
        self.half = {"ES256": 32, "ES384": 48, "ES512": 66}.get(alg, 0)
        make = ["ecparam", "-genkey", "-name", curve, "-noout"] if curve else ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]
        subprocess.run(["openssl", *make, "-out", self.path], check=True, stderr=subprocess.DEVNULL)

    def jwk(self):
        out = subprocess.run(["openssl", "pkey", "-in", self.path, "-noout", "-text"], check=True, stdout=subprocess.PIPE).stdout.decode()
        def number(name):
            digits = re.search(name + r":\s*((?:\s*[0-9a-f]{2}:?)+)", out).group(1)
            return bytes.fromhex(re.sub(r"[^0-9a-f]", "", digits))
        if self.half:
            point = number("pub")[1:]
            return {"kty": "EC", "use": "sig", "kid": self.kid, "crv": {32: "P-256", 48: "P-384", 66: "P-521"}[self.half], "x": b64(point[:self.half]), "y": b64(point[self.half:])}
        return {"kty": "RSA", "use": "sig", "kid": self.kid, "n": b64(number("modulus").lstrip(b"\0")), "e": "AQAB"}

    def sign(self, claims, **header):
        text = b64(dict({"alg": self.alg, "kid": self.kid}, **header)) + "." + b64(claims)
        pss = ["-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:digest"] if self.alg[0] == "P" else []
        signature = subprocess.run(["openssl", "dgst", "-sha" + self.alg[2:], "-sign", self.path, *pss], input=text.encode(), check=True, stdout=subprocess.PIPE).stdout
        if self.half:
            at = 2 if signature[1] < 128 else 3
            parts = []
            for _ in "rs":
                n = signature[at + 1]
                parts.append(int.from_bytes(signature[at + 2:at + 2 + n], "big").to_bytes(self.half, "big"))
                at += 2 + n
            signature = b"".join(parts)
        return text + "." + b64(signature)


class Issuer(Https):
    def __init__(self, pair, *keys):
        super().__init__(pair)
        self.keys, self.ready, self.document = list(keys), True, {}

    def answer(self, method, path, headers, body):
        if path.endswith("/.well-known/openid-configuration") or path == "/elsewhere":
            return (200, dict({"issuer": self.url, "jwks_uri": self.url + "/keys"}, **self.document)) if self.ready else (503, {})
        if path == "/keys":
            return 200, {"keys": [{"kty": "oct", "k": "AA", "kid": "other"}] + [k.jwk() for k in self.keys]}
        return 404, {}

    def claims(self, **more):
        now = int(time.time())
        return dict({"iss": self.url, "aud": "us", "sub": "jane", "iat": now, "exp": now + 600}, **more)
