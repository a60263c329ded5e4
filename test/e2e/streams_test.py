# SPDX-License-Identifier: Apache-2.0
"""exec, cp, port-forward and terminals, by WebSocket as kubectl has it and by SPDY as it had it before."""

import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from cluster import Failure

WAYS = {"websocket": {}, "spdy": {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}}


def expect(condition, text):
    if not condition:
        raise Failure(text)


def kubectl(c, way, *args, **kwargs):
    env = dict(os.environ, KUBECONFIG=c.kubeconfig, HOME=c.dir, **WAYS[way])
    return subprocess.run(["nsenter", f"--net=/run/netns/{c.netns}", "kubectl", *args], env=env, capture_output=True, timeout=60, **kwargs)


def popen(c, way, *args, **kwargs):
    env = dict(os.environ, KUBECONFIG=c.kubeconfig, HOME=c.dir, TERM="xterm", **WAYS[way])
    return subprocess.Popen(["nsenter", f"--net=/run/netns/{c.netns}", "kubectl", *args], env=env, **kwargs)


def streams(c):
    """The pod that all of these tests talk to."""
    c.apply("""
apiVersion: v1
kind: Pod
metadata: {name: streams}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: main, image: "busybox:v1", command: [sh, -c, "mkdir /www; echo served >/www/index.html; exec httpd -f -p 8080 -h /www"]}]
""")
    c.kubectl("wait", "--for=condition=Ready", "pod/streams", "--timeout=30s")


def finish(c):
    c.kubectl("delete", "pod", "streams", "--wait=false", "--ignore-not-found")


def test_exec_and_cp_carry_every_byte(c):
    streams(c)
    data = os.urandom(3 << 20)
    digest = hashlib.md5(data).hexdigest()
    for way in WAYS:
        r = kubectl(c, way, "exec", "-i", "streams", "--", "md5sum", input=data)
        expect(r.stdout.split()[0].decode() == digest, f"{way}: what went in: {r}")
        r = kubectl(c, way, "exec", "-i", "streams", "--", "sh", "-c", "cat; echo to stderr >&2; exit 9", input=data)
        expect(r.stdout == data and b"to stderr" in r.stderr and r.returncode == 9, f"{way}: what came out: {len(r.stdout)} bytes, {r.stderr}, {r.returncode}")
        with open(f"{c.dir}/sent", "wb") as f:
            f.write(data)
        kubectl(c, way, "cp", f"{c.dir}/sent", f"streams:/tmp/{way}", check=True)
        kubectl(c, way, "cp", f"streams:/tmp/{way}", f"{c.dir}/back-{way}", check=True)
        with open(f"{c.dir}/back-{way}", "rb") as f:
            expect(f.read() == data, f"{way}: the copy of a copy")


def test_port_forward(c):
    streams(c)
    for way in WAYS:
        forward = popen(c, way, "port-forward", "pod/streams", ":8080", ":1", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        try:
            ports = []
            while len(ports) < 2:
                m = re.search(r"127\.0\.0\.1:(\d+) ->", forward.stdout.readline())
                if m:
                    ports.append(m[1])
            for _ in range(3):
                got = c.inside(["curl", "-sf", "--max-time", "5", f"http://127.0.0.1:{ports[0]}/"]).stdout
                expect(got == "served\n", f"{way}: {got}")
            # Nobody listens there: that connection ends, the others go on.
            expect(c.inside(["curl", "-s", "--max-time", "5", f"http://127.0.0.1:{ports[1]}/"], check=False).returncode != 0, f"{way}: a port that is closed")
        finally:
            forward.send_signal(signal.SIGINT)
            forward.communicate(timeout=10)


def read_until(fd, word, seconds=15):
    seen, end = b"", time.monotonic() + seconds
    while word not in seen:
        if not select.select([fd], [], [], max(0, end - time.monotonic()))[0]:
            raise Failure(f"no {word} in {seen}")
        try:
            chunk = os.read(fd, 4096)
        except OSError:
            chunk = b""
        if not chunk:
            raise Failure(f"ended without {word}: {seen}")
        seen += chunk
    return seen


def test_terminals_are_resized(c):
    streams(c)
    for way in WAYS:
        ours, theirs = pty.openpty()
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
        shell = popen(c, way, "exec", "-it", "streams", "--", "sh", stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
        os.close(theirs)
        try:
            os.write(ours, b"while [ \"$(stty size)\" != '31 97' ]; do sleep 0.1; done; echo si''zed\n")
            read_until(ours, b"sized")
            fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 12, 34, 0, 0))
            os.write(ours, b"while [ \"$(stty size)\" != '12 34' ]; do sleep 0.1; done; echo re''sized\n")
            read_until(ours, b"resized")
            os.write(ours, b"\x03exit 4\n")  # an interrupt is the shell's, not kubectl's
            expect(shell.wait(15) == 4, f"{way}: its exit code")
        finally:
            shell.kill()
            os.close(ours)
