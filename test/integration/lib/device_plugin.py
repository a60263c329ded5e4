#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A device plugin for tests, on Google's own gRPC: device_plugin.py FOLDER RESOURCE POD_RESOURCES_SOCKET.

Reads commands from its standard input, a JSON object a line, and answers each by a line. What the kubelet calls is kept, and told by {"do": "calls"}.
"""
import json
import os
import sys
import threading
from concurrent import futures

import grpc

FOLDER, RESOURCE, MONITOR = sys.argv[1:4]
SOCKET = f"{FOLDER}/test-{os.getpid()}.sock"


# ---- protobuf by hand: a message is a list of (field, int or bytes) ----

def varint(n):
    out = b""
    while n > 0x7F:
        out, n = out + bytes([n & 0x7F | 0x80]), n >> 7
    return out + bytes([n])


def encode(*fields):
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number << 3) + varint(value)
        else:
            value = value.encode() if isinstance(value, str) else value
            out += varint(number << 3 | 2) + varint(len(value)) + value
    return out


def decode(data):
    at, fields = 0, []

    def number():
        nonlocal at
        shift = value = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 0x80:
                return value
    while at < len(data):
        tag = number()
        value = number()
        if tag & 7 == 2:
            value, at = data[at:at + value], at + value
        fields.append((tag >> 3, value))
    return fields


def get(message, field):
    return [v for f, v in decode(message) if f == field]


def texts(message, field):
    return [v.decode() for v in get(message, field)]


# ---- the plugin ----

class Plugin(grpc.GenericRpcHandler):
    def __init__(self):
        self.devices, self.changed, self.calls, self.preferred, self.fail, self.cdi = [], threading.Condition(), [], [], None, []

    def service(self, details):
        name = details.method.rsplit("/", 1)[1]
        if name == "ListAndWatch":
            return grpc.unary_stream_rpc_method_handler(self.list_and_watch)
        return grpc.unary_unary_rpc_method_handler({"Allocate": self.allocate, "GetPreferredAllocation": self.prefer, "PreStartContainer": self.pre_start}[name])

    def list_and_watch(self, request, context):
        seen = None
        context.add_callback(self.wake)
        while context.is_active():
            with self.changed:
                self.changed.wait_for(lambda: self.devices is not seen or not context.is_active())
                seen = self.devices
            yield encode(*((1, encode((1, d["id"]), (2, d["health"]), (3, encode(*((1, encode((1, n)) if n else b"") for n in d.get("nodes", [])))))) for d in seen))

    def wake(self):
        with self.changed:
            self.changed.notify_all()

    def allocate(self, request, context):
        ids = texts(get(request, 1)[0], 1)
        self.calls.append(["Allocate", ids])
        if self.fail:
            context.abort(grpc.StatusCode.INTERNAL, self.fail)
        folder = os.path.dirname(FOLDER)
        return encode((1, encode((1, encode((1, "THINGS"), (2, ",".join(ids)))), (1, encode((1, "OWN"), (2, "plugin"))), (2, encode((1, "/from-plugin"), (2, f"{folder}/shown"), (3, 1))),
                                 (3, encode((1, "/dev/thing"), (2, "/dev/zero"), (3, "rw"))), (4, encode((1, "a"), (2, "b"))), *((5, encode((1, name))) for name in self.cdi))))

    def prefer(self, request, context):
        one = get(request, 1)[0]
        self.calls.append(["GetPreferredAllocation", texts(one, 1), texts(one, 2), get(one, 3)])
        return encode((1, encode(*((1, i) for i in self.preferred))))

    def pre_start(self, request, context):
        self.calls.append(["PreStartContainer", texts(request, 1)])
        return b""


def call(socket, method, request):
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        try:
            return channel.unary_unary(method)(request, timeout=20), None
        except grpc.RpcError as e:
            return b"", f"{e.code().name}: {e.details()}"


def devices_of(message, field):
    return sorted([[texts(d, 1)[0], texts(d, 2), [get(n, 1)[0] if get(n, 1) else 0 for t in get(d, 3) for n in get(t, 1)]] for d in get(message, field)], key=str)


def pods(answer):
    return {f"{texts(p, 2)[0]}/{texts(p, 1)[0]}": {texts(c, 1)[0]: devices_of(c, 2) for c in get(p, 3)} for p in get(answer, 1)}


def numbers(packed):
    """Of the fields of a list of numbers, each with several in one."""
    return [n for piece in packed for n in unpack(piece)]


def unpack(piece):
    value = shift = 0
    for byte in piece:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            yield value
            value = shift = 0


def memory_of(message, field):
    return sorted([texts(m, 1)[0], get(m, 2)[0], [get(n, 1)[0] if get(n, 1) else 0 for t in get(m, 3) for n in get(t, 1)]] for m in get(message, field))


def kept(answer):
    """Cpus and memory that containers have alone."""
    return {f"{texts(p, 2)[0]}/{texts(p, 1)[0]}": {texts(c, 1)[0]: {"cpus": numbers(get(c, 3)), "memory": memory_of(c, 4)} for c in get(p, 3)} for p in get(answer, 1)}


def main():
    plugin = Plugin()

    def serve():
        # Whoever starts anew takes away what stood in the folder.
        server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[plugin])
        server.add_insecure_port(f"unix:{SOCKET}")
        server.start()
        return server
    server = serve()
    for line in sys.stdin:
        c = json.loads(line)
        answer = {}
        if c["do"] == "register":
            if not os.path.exists(SOCKET):
                server.stop(None)
                server = serve()
            request = encode((1, c.get("version", "v1beta1")), (2, c.get("endpoint", os.path.basename(SOCKET))), (3, c.get("resource", RESOURCE)), (4, encode((1, 1), (2, 1))))
            answer["error"] = call(f"{FOLDER}/kubelet.sock", "/v1beta1.Registration/Register", request)[1]
        elif c["do"] == "set":
            plugin.preferred, plugin.fail, plugin.cdi = c.get("preferred", plugin.preferred), c.get("fail"), c.get("cdi", [])
            if "devices" in c:
                with plugin.changed:
                    plugin.devices = c["devices"]
                    plugin.changed.notify_all()
        elif c["do"] == "calls":
            answer["calls"], plugin.calls = plugin.calls, []
        elif c["do"] == "list":
            found = call(MONITOR, "/v1.PodResourcesLister/List", b"")[0]
            answer["pods"], answer["kept"] = pods(found), kept(found)
        elif c["do"] == "get":
            found, answer["error"] = call(MONITOR, "/v1.PodResourcesLister/Get", encode((1, c["name"]), (2, c["namespace"])))
            answer["pods"], answer["kept"] = pods(found), kept(found)
        elif c["do"] == "allocatable":
            found = call(MONITOR, "/v1.PodResourcesLister/GetAllocatableResources", b"")[0]
            answer["devices"], answer["cpus"], answer["memory"] = devices_of(found, 1), numbers(get(found, 2)), memory_of(found, 3)
        elif c["do"] == "nonsense":
            answer["errors"] = [call(f"{FOLDER}/kubelet.sock", "/v1beta1.Registration/Else", b"")[1], call(f"{FOLDER}/kubelet.sock", "/v1beta1.Registration/Register", b"\xff\xff\xff")[1]]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
