# SPDX-License-Identifier: Apache-2.0
"""What a program on the official Python client does: typed objects, watches, patches, exec, errors."""

import sys
import threading

from kubernetes import client, config, watch
from kubernetes.client.rest import ApiException
from kubernetes.stream import stream

config.load_kube_config(sys.argv[1])
core, apps = client.CoreV1Api(), client.AppsV1Api()
NS = "py"

assert client.VersionApi().get_code().git_version.startswith("v1.36")
core.create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NS)))

seen = []
watching = threading.Event()
core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="first")))


def follow():
    for event in watch.Watch().stream(core.list_namespaced_config_map, NS, timeout_seconds=20):
        if event["object"].metadata.name == "first":
            watching.set()
        if event["object"].metadata.name == "m":
            seen.append(event["type"])
            if event["type"] == "DELETED":
                return


watcher = threading.Thread(target=follow)
watcher.start()
assert watching.wait(20)

made = core.create_namespaced_config_map(NS, client.V1ConfigMap(metadata=client.V1ObjectMeta(name="m"), data={"a": "1"}))
assert made.metadata.uid and made.metadata.resource_version
core.patch_namespaced_config_map("m", NS, {"data": {"b": "2"}})
m = core.read_namespaced_config_map("m", NS)
assert m.data == {"a": "1", "b": "2"}
m.data["a"] = "3"
newer = core.replace_namespaced_config_map("m", NS, m)
try:
    core.replace_namespaced_config_map("m", NS, m)  # its resourceVersion is old by now
    raise SystemExit("a stale update was taken")
except ApiException as e:
    assert e.status == 409, e
assert newer.data["a"] == "3"
core.delete_namespaced_config_map("m", NS)
watcher.join(25)
assert seen == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"], seen

try:
    core.read_namespaced_pod("absent", NS)
    raise SystemExit("an absent pod was found")
except ApiException as e:
    assert e.status == 404 and e.reason

labels = {"app": "py"}
apps.create_namespaced_deployment(NS, client.V1Deployment(
    metadata=client.V1ObjectMeta(name="d"),
    spec=client.V1DeploymentSpec(replicas=2, selector=client.V1LabelSelector(match_labels=labels), template=client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(termination_grace_period_seconds=1, containers=[client.V1Container(name="c", image="busybox:v1", command=["sh", "-c", "echo line; sleep 1000"])])))))
for event in watch.Watch().stream(apps.list_namespaced_deployment, NS, timeout_seconds=60):
    if event["object"].status.ready_replicas == 2:
        break
else:
    raise SystemExit("the deployment did not become ready")
pods = core.list_namespaced_pod(NS, label_selector="app=py", limit=1)
assert len(pods.items) == 1 and pods.metadata._continue
pod = pods.items[0].metadata.name
assert stream(core.connect_get_namespaced_pod_exec, pod, NS, command=["echo", "hello"], stdout=True, stderr=True, stdin=False, tty=False) == "hello\n"

# Logs in the messages of a WebSocket, whole and as they come; some of them first say that they are on their way.
import base64  # noqa: E402
import websocket  # noqa: E402
configuration = core.api_client.configuration
tls = {"ca_certs": configuration.ssl_ca_cert, "certfile": configuration.cert_file, "keyfile": configuration.key_file}
for protocol, decode in (("binary.k8s.io", bytes), ("base64.binary.k8s.io", base64.b64decode)):
    for follow in ("", "?follow=true"):
        url = f"{configuration.host.replace('https', 'wss')}/api/v1/namespaces/{NS}/pods/{pod}/log{follow}"
        ws = websocket.create_connection(url, sslopt=tls, subprotocols=[protocol], timeout=20)
        assert ws.getsubprotocol() == protocol
        text = b""
        while not text.endswith(b"\n"):
            opcode, data = ws.recv_data()
            assert opcode in (websocket.ABNF.OPCODE_BINARY, websocket.ABNF.OPCODE_TEXT), opcode
            text += decode(data)
        assert text == b"line\n", text
        if not follow:
            assert ws.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE
        ws.close()

apps.patch_namespaced_deployment_scale("d", NS, {"spec": {"replicas": 1}})
assert apps.read_namespaced_deployment_scale("d", NS).spec.replicas == 1
core.delete_namespace(NS)
print("ok")
