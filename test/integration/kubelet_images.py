#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Images from real registries on loopback (Debian's docker-registry), open and with passwords: policies, secrets, credential files of the node,
mirrors, digests, limits, back-off, collection by disk use, and images that mean harm.

usage: kubelet_images.py BUILD [TEST...]
"""
import base64
import crypt
import hashlib
import http.server
import io
import json
import os
import sys
import tarfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from rig import TOP, Failure, Rig, main, read, sh, wait_until  # noqa: E402

OPEN, CLOSED, SLOW = "127.0.0.1:5000", "127.0.0.1:5001", "127.0.0.1:5002"


def expect(condition, what):
    if not condition:
        raise Failure(str(what))


def registry(rig, port, extra=None):
    name = f"registry-{port}"
    config = {"version": 0.1, "log": {"level": "error"}, "storage": {"filesystem": {"rootdirectory": f"{rig.dir}/{name}"}}, "http": {"addr": f"127.0.0.1:{port}"}}
    config.update(extra or {})
    with open(f"{rig.dir}/{name}.yml", "w") as f:
        json.dump(config, f)
    rig.daemons.append(rig.spawn(name, "docker-registry", "serve", f"{rig.dir}/{name}.yml"))


def push(rig, name, label, creds=None):
    """An image whose /etc/image-label says what it is."""
    tar = f"{rig.dir}/{label}.tar"
    if not os.path.exists(tar):
        sh([f"{TOP}/deploy/busybox-image.sh", tar, "x:y", label])
    copy(f"docker-archive:{tar}", name, creds)


def copy(source, name, creds=None):
    command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"] + (["--dest-creds", creds] if creds else [])
    wait_until(60, f"the registry to take {name}", lambda: sh(command + [source, f"docker://{name}"], check=False).returncode == 0)


def label_of(rig, name):
    """What the pod's image says, by its log."""
    def log():
        status, text = rig.call("GET", f"/containerLogs/default/{name}/main", raw=True, port=10250)
        return status == 200 and text.decode()
    return wait_until(30, "the log", log).strip()


def event(rig, name, reason, message=""):
    """Events are told beside the status, and may be seen after it."""
    wait_until(30, f"an event {reason} {message} about {name}", lambda: [e for e in rig.events(name) if e["reason"] == reason and message in e["message"]])


def show(rig, name, image, policy="IfNotPresent", **spec):
    rig.create(name, image=image, container={"imagePullPolicy": policy, "command": ["sh", "-c", "cat /etc/image-label; exec sleep 1000"]}, **spec)


def done(rig, *names):
    for name in names:
        rig.delete(name, grace=0)
    rig.wait_gone(*names)


def secret(rig, name, registry_name, user, password):
    auth = base64.b64encode(f"{user}:{password}".encode()).decode()
    text = json.dumps({"auths": {registry_name: {"auth": auth}}})
    rig.must("POST", "/api/v1/namespaces/default/secrets", {"metadata": {"name": name}, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": base64.b64encode(text.encode()).decode()}})


def fails(rig, name, first, later=None, text="", seconds=60):
    """The reasons that a container waits for, one after the other."""
    seen = {}

    def look(pod):
        reason, message = rig.waiting(pod)
        seen[reason] = message
        if f": {first}: " in message:  # of the back-off: the first reason went by too quickly
            seen.setdefault(first, message)
        return first in seen and (not later or later in seen)
    rig.wait_pod(name, f"{first} {later or ''}", look, seconds)
    expect(any(text in m for m in seen.values()), f"\"{text}\" in {seen}")


def test_policies(rig):
    push(rig, f"{OPEN}/app:v1", "one")
    show(rig, "a", f"{OPEN}/app:v1")
    rig.wait_phase("a", "Running")
    expect(label_of(rig, "a") == "one", "the image that was pushed")
    status = rig.pod("a")["status"]["containerStatuses"][0]
    expect(status["imageID"].startswith(f"{OPEN}/app@sha256:"), status)
    event(rig, "a", "Pulling")
    event(rig, "a", "Pulled")
    push(rig, f"{OPEN}/app:v1", "two")  # the tag moves
    show(rig, "b", f"{OPEN}/app:v1")
    show(rig, "c", f"{OPEN}/app:v1", "Always")
    show(rig, "d", status["imageID"])  # by digest: what it was
    show(rig, "never", f"{OPEN}/app:other", "Never")
    for name, want in (("b", "one"), ("c", "two"), ("d", "one")):
        rig.wait_phase(name, "Running")
        expect(label_of(rig, name) == want, f"{name} runs {label_of(rig, name)}")
    fails(rig, "never", "ErrImageNeverPull", text="is not present with pull policy of Never")
    event(rig, "never", "Failed", "Error: ErrImageNeverPull")
    done(rig, "a", "b", "c", "d", "never")


def test_images_as_volumes(rig):
    push(rig, f"{OPEN}/app:v1", "one")
    push(rig, f"{OPEN}/data:v1", "first")

    def mount(name, reference, **volume):
        rig.create(name, image=f"{OPEN}/app:v1", container={"volumeMounts": [{"name": "data", "mountPath": "/data"}], "command": ["sh", "-c", "cat /data/etc/image-label; exec sleep 1000"]},
                   volumes=[{"name": "data", "image": dict({"reference": reference}, **volume)}])
    mount("reads", f"{OPEN}/data:v1")
    rig.wait_phase("reads", "Running")
    expect(label_of(rig, "reads") == "first", "the image that is mounted")
    event(rig, "reads", "Pulled", f"{OPEN}/data:v1")
    expect(f"{OPEN}/app@" in rig.pod("reads")["status"]["containerStatuses"][0]["imageID"], "the container's own image is told")
    mount("never", f"{OPEN}/nothing:v1", pullPolicy="Never")
    mount("late", f"{OPEN}/late:v1")
    fails(rig, "never", "ErrImageNeverPull", text="nothing:v1")
    fails(rig, "late", "ErrImagePull", "ImagePullBackOff", f"{OPEN}/late:v1")
    event(rig, "late", "Failed", "Error: ImagePullBackOff")
    push(rig, f"{OPEN}/late:v1", "late")
    rig.wait_phase("late", "Running", 120)
    done(rig, "reads", "never", "late")


def test_credentials_by_a_plugin(rig):
    push(rig, f"{CLOSED}/plugged:v1", "plugged", "user:s3cret")
    plugins = f"{rig.dir}/plugins"
    os.makedirs(plugins)
    answer = {"kind": "CredentialProviderResponse", "apiVersion": "credentialprovider.kubelet.k8s.io/v1", "cacheKeyType": "Registry", "auth": {CLOSED: {"username": "user", "password": "s3cret"}}}
    with open(f"{plugins}/knows", "w") as f:
        f.write(f"#!/bin/sh\ncat >{plugins}/asked\ncat <<'E'\n{json.dumps(answer)}\nE\n")
    os.chmod(f"{plugins}/knows", 0o755)
    with open(f"{plugins}/config", "w") as f:
        json.dump({"kind": "CredentialProviderConfig", "apiVersion": "kubelet.config.k8s.io/v1", "providers": [
            {"name": "knows", "matchImages": [CLOSED], "defaultCacheDuration": "1h", "apiVersion": "credentialprovider.kubelet.k8s.io/v1"}]}, f)
    rig.restart_kubelet(**{"image-credential-provider-config": f"{plugins}/config", "image-credential-provider-bin-dir": plugins})
    show(rig, "plugged", f"{CLOSED}/plugged:v1")
    rig.wait_phase("plugged", "Running")
    with open(f"{plugins}/asked") as f:
        expect(json.load(f)["image"] == f"{CLOSED}/plugged", "the plugin was asked for the image")
    # A secret that is wrong does not stand in the way of what the node knows.
    secret(rig, "mistaken", CLOSED, "user", "wrong")
    show(rig, "both", f"{CLOSED}/plugged:v1", "Always", imagePullSecrets=[{"name": "mistaken"}])
    rig.wait_phase("both", "Running")
    done(rig, "plugged", "both")
    rig.restart_kubelet(**{"image-credential-provider-config": None, "image-credential-provider-bin-dir": None})


def test_bad_names_and_absent_images(rig):
    show(rig, "bad", "Not_A/Name:v1:v2")
    show(rig, "absent", f"{OPEN}/nothing:here")
    show(rig, "unreachable", "127.0.0.1:1/x:y")
    show(rig, "digest", f"{OPEN}/app@sha256:" + "0" * 64)
    fails(rig, "bad", "InvalidImageName")
    event(rig, "bad", "Failed", "Error: InvalidImageName")
    fails(rig, "absent", "ErrImagePull", "ImagePullBackOff", f"{OPEN}/nothing:here")
    fails(rig, "unreachable", "RegistryUnavailable", "ImagePullBackOff", "refused")
    fails(rig, "digest", "ErrImagePull", "ImagePullBackOff")
    event(rig, "absent", "BackOff")
    event(rig, "absent", "Failed", "Error: ErrImagePull")
    event(rig, "absent", "Failed", "Error: ImagePullBackOff")
    # The image appears: the next pull, when its turn comes, takes it.
    push(rig, f"{OPEN}/nothing:here", "one")
    rig.wait_phase("absent", "Running", 120)
    done(rig, "bad", "absent", "unreachable", "digest")


def test_secrets_and_credentials_of_the_node(rig):
    push(rig, f"{CLOSED}/locked:v1", "locked", "user:s3cret")
    secret(rig, "wrong", CLOSED, "user", "wrong")
    secret(rig, "right", CLOSED, "user", "s3cret")
    show(rig, "anonymous", f"{CLOSED}/locked:v1")
    fails(rig, "anonymous", "ErrImagePull")
    show(rig, "denied", f"{CLOSED}/locked:v1", imagePullSecrets=[{"name": "wrong"}])
    fails(rig, "denied", "ErrImagePull", "ImagePullBackOff")
    # The wrong one first: the next is tried.
    show(rig, "second", f"{CLOSED}/locked:v1", imagePullSecrets=[{"name": "wrong"}, {"name": "absent"}, {"name": "right"}])
    rig.wait_phase("second", "Running")
    expect(label_of(rig, "second") == "locked", "the locked image")
    event(rig, "second", "FailedToRetrieveImagePullSecret")
    for pid in [rig.kubelet.pid]:
        expect("s3cret" not in read(f"/proc/{pid}/cmdline") and "s3cret" not in read(f"{rig.dir}/kubelet.log"), "no secret in the log")
    # What came by a secret is there for who could have pulled it, whatever the policy: by the same secret, by another with the same in it, not by none.
    rig.wait_pod("anonymous", "still without", lambda p: rig.waiting(p)[0] in ("ErrImagePull", "ImagePullBackOff"))
    secret(rig, "alike", CLOSED, "user", "s3cret")
    for name in ("right", "alike"):
        show(rig, f"by-{name}", f"{CLOSED}/locked:v1", imagePullSecrets=[{"name": name}])
        rig.wait_phase(f"by-{name}", "Running")
        event(rig, f"by-{name}", "Pulled", "already present on machine and can be accessed by the pod")
    show(rig, "none", f"{CLOSED}/locked:v1")
    fails(rig, "none", "ErrImagePull")
    show(rig, "none-never", f"{CLOSED}/locked:v1", policy="Never")
    fails(rig, "none-never", "ErrImageNeverPull")
    show(rig, "wrong-never", f"{CLOSED}/locked:v1", policy="Never", imagePullSecrets=[{"name": "wrong"}])
    fails(rig, "wrong-never", "ErrImageNeverPull")
    # Who was killed knows it still.
    rig.restart_kubelet()
    rig.wait_phase("by-right", "Running")
    show(rig, "never", f"{CLOSED}/locked:v1", policy="Never")
    fails(rig, "never", "ErrImageNeverPull")
    show(rig, "right-never", f"{CLOSED}/locked:v1", policy="Never", imagePullSecrets=[{"name": "alike"}])
    rig.wait_phase("right-never", "Running")
    records = [json.loads(read(f"{rig.dir}/kubelet/image_manager/pulled/{name}")) for name in os.listdir(f"{rig.dir}/kubelet/image_manager/pulled")]
    known = [r["credentialMapping"][f"{CLOSED}/locked"] for r in records if f"{CLOSED}/locked" in r["credentialMapping"]]
    expect([[s["name"] for s in k["kubernetesSecrets"]] for k in known] == [["right"]], known)
    expect("s3cret" not in str(records) and not os.listdir(f"{rig.dir}/kubelet/image_manager/pulling"), "hashes alone, and no pull half done")
    done(rig, "by-right", "by-alike", "none", "none-never", "wrong-never", "never", "right-never")
    push(rig, f"{CLOSED}/by-node:v1", "one", "user:s3cret")
    with open(f"{rig.dir}/kubelet/config.json", "w") as f:
        json.dump({"auths": {CLOSED: {"auth": base64.b64encode(b"user:s3cret").decode()}}}, f)
    show(rig, "by-node", f"{CLOSED}/by-node:v1")
    rig.wait_phase("by-node", "Running")
    os.unlink(f"{rig.dir}/kubelet/config.json")
    done(rig, "anonymous", "denied", "second", "by-node")
    # Only now is nobody trying again.
    wait_until(30, "no credentials to stay on disk", lambda: not os.listdir(f"{rig.dir}/images/tmp"))


def test_mirror(rig):
    push(rig, f"{OPEN}/mirrored/app:v1", "one")
    show(rig, "mirror", "registry.invalid/app:v1")
    rig.wait_phase("mirror", "Running")
    expect(rig.pod("mirror")["status"]["containerStatuses"][0]["image"] == "registry.invalid/app:v1", "under its own name")
    done(rig, "mirror")


class Slow(http.server.BaseHTTPRequestHandler):
    """A registry that holds every request until two have met, and each for a while longer, and then knows nothing."""
    lock, met, now, most, seen = threading.Lock(), threading.Event(), 0, 0, 0

    def do_GET(self):
        with Slow.lock:
            Slow.now += 1
            Slow.seen += "/manifests/" in self.path
            Slow.most = max(Slow.most, Slow.now)
            if Slow.now == 2:
                Slow.met.set()
        Slow.met.wait(30)
        time.sleep(0.3)
        with Slow.lock:
            Slow.now -= 1
        if self.path.rstrip("/") == "/v2":
            self.send_response(200)
        else:
            self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def test_most_pulls_at_a_time(rig):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 5002), Slow)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rig.restart_kubelet(**{"max-parallel-image-pulls": "2"})
    try:
        for i in range(6):
            show(rig, f"many-{i}", f"{SLOW}/image-{i}:v1")
        for i in range(6):
            fails(rig, f"many-{i}", "ErrImagePull", seconds=90)
        expect(Slow.seen >= 6 and Slow.most == 2, f"{Slow.most} at a time, {Slow.seen} in all")
        done(rig, *(f"many-{i}" for i in range(6)))
    finally:
        rig.restart_kubelet(**{"max-parallel-image-pulls": None})
        server.shutdown()


def layer(entries):
    """(name, type, link or content) as a tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, what in entries:
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o755
            data = b""
            if kind == tarfile.REGTYPE:
                data = what
                info.size = len(data)
            elif kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = what
            elif kind in (tarfile.BLKTYPE, tarfile.CHRTYPE):
                info.devmajor, info.devminor = what
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def push_layers(rig, name, *layers):
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(x).hexdigest() for x in layers]}}).encode()
    path = f"{rig.dir}/evil.tar"
    with tarfile.open(path, "w") as tar:
        files = [("config.json", config)] + [(f"{i}.tar", x) for i, x in enumerate(layers)]
        files.append(("manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["evil:v1"], "Layers": [f"{i}.tar" for i in range(len(layers))]}]).encode()))
        for file, data in files:
            info = tarfile.TarInfo(file)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    copy(f"docker-archive:{path}", name)


def test_images_that_mean_harm(rig):
    canary = f"{rig.dir}/canary"
    os.makedirs(canary)
    with open(f"{canary}/secret", "w") as f:
        f.write("untouched")
    with open("/bin/busybox", "rb") as f:
        base = [("bin", tarfile.DIRTYPE, None), ("bin/busybox", tarfile.REGTYPE, f.read()), ("bin/sh", tarfile.SYMTYPE, "busybox"), ("bin/sleep", tarfile.SYMTYPE, "busybox"), ("bin/cat", tarfile.SYMTYPE, "busybox")]
    up = "../" * 20 + canary[1:]
    evil = {
        "dotdot": [(f"{up}/a", tarfile.REGTYPE, b"x")],
        "absolute": [(f"{canary}/b", tarfile.REGTYPE, b"x")],
        "through-link": [("link", tarfile.SYMTYPE, canary), ("link/c", tarfile.REGTYPE, b"x")],
        "through-dotdot": [("link", tarfile.SYMTYPE, up), ("link/d", tarfile.REGTYPE, b"x"), ("link/secret", tarfile.REGTYPE, b"x")],
        "hard-link": [("hl", tarfile.LNKTYPE, f"{canary}/secret"), ("hl", tarfile.REGTYPE, b"x")],
        "hard-link-up": [("hl", tarfile.LNKTYPE, f"{up}/secret"), ("hl", tarfile.REGTYPE, b"x")],
        "link-to-link": [("l", tarfile.SYMTYPE, canary), ("hl", tarfile.LNKTYPE, "l/secret"), ("hl", tarfile.REGTYPE, b"x")],
        "whiteout": [("link", tarfile.SYMTYPE, canary), ("link/.wh.secret", tarfile.REGTYPE, b""), (f"{up}/.wh.secret", tarfile.REGTYPE, b""), (".wh...", tarfile.REGTYPE, b""), (".wh..", tarfile.REGTYPE, b"")],
        "opaque": [("link", tarfile.SYMTYPE, canary), ("link/.wh..wh..opq", tarfile.REGTYPE, b"")],
        "device": [("disk", tarfile.BLKTYPE, (254, 0)), ("mem", tarfile.CHRTYPE, (1, 1))],
    }
    for name, entries in evil.items():
        push_layers(rig, f"{OPEN}/{name}:v1", layer(base), layer(entries))
        rig.create(name, image=f"{OPEN}/{name}:v1", container={"command": ["sh", "-c", "cat /disk /mem >/dev/null && echo OPEN; exec sleep 1000"]})
    for name in evil:
        pod = rig.wait_pod(name, "an end of it", lambda p: p["status"]["phase"] == "Running" or rig.waiting(p)[0] in ("ErrImagePull", "ImagePullBackOff", "CreateContainerError"), 60)
        if pod["status"]["phase"] != "Running":
            expect(len(rig.waiting(pod)[1]) > 20, f"{name}: a clear reason, not {rig.waiting(pod)}")
    expect(os.listdir(canary) == ["secret"] and read(f"{canary}/secret") == "untouched" and os.stat(f"{canary}/secret").st_nlink == 1, f"nothing outside was touched: {os.listdir(canary)}")
    expect("OPEN" not in (label_of(rig, "device") if rig.pod("device")["status"]["phase"] == "Running" else ""), "no device of the host opens")
    expect(rig.kubelet.poll() is None, "the kubelet lives")
    done(rig, *evil)


def test_collection_by_disk_use(rig):
    """Its images on a small file system: beyond the high mark the longest unused go, down to the low one; what is used or pinned stays."""
    os.makedirs(f"{rig.dir}/small")
    sh(["mount", "-t", "tmpfs", "-o", "size=100m", "images", f"{rig.dir}/small"])
    rig.own_mounts.append(f"{rig.dir}/small")
    cli = [f"{rig.build}/bin/coracle", "image"]
    rig.restart_kubelet(**{"image-root": f"{rig.dir}/small", "image-gc-high-threshold": "60", "image-gc-low-threshold": "35", "minimum-image-ttl-duration": "1s", "node-status-update-frequency": "500ms"})
    blob = os.urandom(6 << 20)
    for i, name in enumerate(("pinned", "used", "old", "newer", "newest")):
        push_layers(rig, f"{OPEN}/{name}:v1", layer([("bin", tarfile.DIRTYPE, None), ("bin/busybox", tarfile.REGTYPE, open("/bin/busybox", "rb").read()), ("bin/sleep", tarfile.SYMTYPE, "busybox"), ("fill", tarfile.REGTYPE, bytes([i]) + blob)]))

    def names():
        rows = [line.split() for line in sh(cli + ["list", "--root", f"{rig.dir}/small"]).stdout.splitlines()[1:]]
        return {f"{row[0].split('/')[-1]}:{row[1]}" for row in rows}
    rig.create("uses", image=f"{OPEN}/used:v1", container={"command": ["sleep", "1000"]})
    rig.wait_phase("uses", "Running")
    sh(cli + ["pull", "--root", f"{rig.dir}/small", "--insecure-registry", f"{OPEN}/pinned:v1"])
    sh(cli + ["pin", "--root", f"{rig.dir}/small", f"{OPEN}/pinned:v1"])
    sh(cli + ["pull", "--root", f"{rig.dir}/small", "--insecure-registry", f"{OPEN}/old:v1"])
    for name in ("newer", "newest"):
        sh(cli + ["pull", "--root", f"{rig.dir}/small", "--insecure-registry", f"{OPEN}/{name}:v1"])
        if "old:v1" not in names():
            break
    wait_until(60, "the oldest to be collected", lambda: "old:v1" not in names())
    left = names()
    expect("pinned:v1" in left and "used:v1" in left, left)
    done(rig, "uses")
    rig.restart_kubelet(**{"image-root": f"{rig.dir}/images", "image-gc-high-threshold": "100"})


def prepare(rig):
    registry(rig, 5000)
    with open(f"{rig.dir}/htpasswd", "w") as f:
        f.write("user:" + crypt.crypt("s3cret", crypt.mksalt(crypt.METHOD_BLOWFISH, rounds=16)) + "\n")
    registry(rig, 5001, {"auth": {"htpasswd": {"realm": "rig", "path": f"{rig.dir}/htpasswd"}}})
    os.makedirs(f"{rig.dir}/.config/containers")
    with open(f"{rig.dir}/.config/containers/registries.conf", "w") as f:
        f.write(f'[[registry]]\nprefix = "registry.invalid"\nlocation = "registry.invalid"\n[[registry.mirror]]\nlocation = "{OPEN}/mirrored"\ninsecure = true\n')
    os.environ["HOME"] = rig.dir
    rig.flags["insecure-registries"] = f"{OPEN},{CLOSED},{SLOW}"
    rig.up()


if __name__ == "__main__":
    sys.exit(main([v for k, v in list(globals().items()) if k.startswith("test_")], Rig(sys.argv[1] if len(sys.argv) > 1 else "build/gcc"), prepare, sys.argv[2:]))
