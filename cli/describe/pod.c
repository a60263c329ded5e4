/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe/describe.h"

static json_t *status_of(json_t *statuses, const char *name)
{
	size_t i;
	json_t *status;
	json_array_foreach(statuses, i, status)
		if (str_equal(cli_str(status, "name"), name))
			return status;
	return NULL;
}

static void write_state(struct describe *d, int level, const char *title, json_t *state)
{
	json_t *waiting = json_object_get(state, "waiting"), *running = json_object_get(state, "running"), *ended = json_object_get(state, "terminated");
	describe_text(d, level, title, running ? "Running" : (ended ? "Terminated" : "Waiting"));
	json_t *detail = running ? running : (ended ? ended : waiting);
	if (cli_str(detail, "reason"))
		describe_text(d, level + 1, "Reason", cli_str(detail, "reason"));
	if (cli_str(detail, "message"))
		describe_text(d, level + 1, "Message", cli_str(detail, "message"));
	if (ended)
		describe_printf(d, level + 1, "Exit Code", "%lld", (long long)cli_int_at(ended, "exitCode"));
	if (cli_str(detail, "startedAt"))
		describe_text(d, level + 1, "Started", cli_str(detail, "startedAt"));
	if (cli_str(detail, "finishedAt"))
		describe_text(d, level + 1, "Finished", cli_str(detail, "finishedAt"));
}

static void write_list(struct describe *d, int level, const char *title, json_t *words)
{
	size_t i;
	json_t *word;
	if (!json_array_size(words))
		return;
	describe_head(d, level, title);
	json_array_foreach(words, i, word)
		describe_row(d, level + 1, str_or(json_string_value(word), ""), NULL);
}

static const char *number_or_text(struct describe *d, json_t *value)
{
	return json_is_string(value) ? json_string_value(value) : arena_printf(d->cli->arena, "%lld", (long long)json_integer_value(value));
}

static void write_probe(struct describe *d, int level, const char *title, json_t *probe)
{
	if (!probe)
		return;
	autobuf struct buf text = BUF_INIT(1 << 20);
	json_t *http = json_object_get(probe, "httpGet"), *tcp = json_object_get(probe, "tcpSocket"), *exec = json_object_get(probe, "exec"), *grpc = json_object_get(probe, "grpc");
	if (http) {
		buf_printf(&text, "http-get %s://%s:%s%s", str_equal(cli_str(http, "scheme"), "HTTPS") ? "https" : "http", str_or(cli_str(http, "host"), ""), number_or_text(d, json_object_get(http, "port")), str_or(cli_str(http, "path"), ""));
	} else if (tcp) {
		buf_printf(&text, "tcp-socket %s:%s", str_or(cli_str(tcp, "host"), ""), number_or_text(d, json_object_get(tcp, "port")));
	} else if (exec) {
		size_t i;
		json_t *word;
		buf_append_str(&text, "exec [");
		json_array_foreach(json_object_get(exec, "command"), i, word)
			buf_printf(&text, "%s%s", i ? " " : "", str_or(json_string_value(word), ""));
		buf_append_char(&text, ']');
	} else if (grpc) {
		buf_printf(&text, "grpc <pod>:%lld %s", (long long)cli_int_at(grpc, "port"), str_or(cli_str(grpc, "service"), ""));
	}
	buf_printf(&text, " delay=%llds timeout=%llds period=%llds #success=%lld #failure=%lld", (long long)cli_int_at(probe, "initialDelaySeconds"), (long long)cli_int_at(probe, "timeoutSeconds"),
		(long long)cli_int_at(probe, "periodSeconds"), (long long)cli_int_at(probe, "successThreshold"), (long long)cli_int_at(probe, "failureThreshold"));
	describe_text(d, level, title, text.data);
}

static void write_env(struct describe *d, int level, json_t *container)
{
	size_t i;
	json_t *env, *from;
	json_array_foreach(json_object_get(container, "envFrom"), i, from) {
		if (!i)
			describe_head(d, level, "Environment Variables from");
		bool secret = json_object_get(from, "secretRef") != NULL;
		describe_row(d, level + 1, str_or(cli_str_at(from, secret ? "secretRef.name" : "configMapRef.name"), ""), secret ? "Secret" : "ConfigMap", NULL);
	}
	if (!json_array_size(json_object_get(container, "env"))) {
		describe_text(d, level, "Environment", NULL);
		return;
	}
	describe_head(d, level, "Environment");
	json_array_foreach(json_object_get(container, "env"), i, env) {
		json_t *source = json_object_get(env, "valueFrom");
		const char *name = str_or(cli_str(env, "name"), "");
		if (json_object_get(source, "secretKeyRef"))
			describe_printf(d, level + 1, name, "<set to the key '%s' in secret '%s'>", str_or(cli_str_at(source, "secretKeyRef.key"), ""), str_or(cli_str_at(source, "secretKeyRef.name"), ""));
		else if (json_object_get(source, "configMapKeyRef"))
			describe_printf(d, level + 1, name, "<set to the key '%s' of config map '%s'>", str_or(cli_str_at(source, "configMapKeyRef.key"), ""), str_or(cli_str_at(source, "configMapKeyRef.name"), ""));
		else if (json_object_get(source, "fieldRef"))
			describe_printf(d, level + 1, name, " (%s:%s)", str_or(cli_str_at(source, "fieldRef.apiVersion"), "v1"), str_or(cli_str_at(source, "fieldRef.fieldPath"), ""));
		else if (json_object_get(source, "resourceFieldRef"))
			describe_text(d, level + 1, name, cli_str_at(source, "resourceFieldRef.resource"));
		else
			describe_text(d, level + 1, name, cli_str(env, "value"));
	}
}

static void write_mounts(struct describe *d, int level, json_t *mounts)
{
	size_t i;
	json_t *mount;
	if (!json_array_size(mounts)) {
		describe_text(d, level, "Mounts", NULL);
		return;
	}
	describe_head(d, level, "Mounts");
	json_array_foreach(mounts, i, mount) {
		bool read_only = json_is_true(json_object_get(mount, "readOnly"));
		const char *sub = cli_str(mount, "subPath");
		describe_row(d, level + 1, arena_printf(d->cli->arena, "%s from %s (%s%s%s)", str_or(cli_str(mount, "mountPath"), ""), str_or(cli_str(mount, "name"), ""), read_only ? "ro" : "rw", sub ? ",path=" : "", str_or(sub, "")), NULL);
	}
}

static void write_container(struct describe *d, int level, json_t *c, json_t *status)
{
	autobuf struct buf ports = BUF_INIT(65536);
	size_t i;
	json_t *port;
	describe_head(d, level, str_or(cli_str(c, "name"), ""));
	if (status)
		describe_text(d, level + 1, "Container ID", cli_str(status, "containerID"));
	describe_text(d, level + 1, "Image", cli_str(c, "image"));
	if (status)
		describe_text(d, level + 1, "Image ID", cli_str(status, "imageID"));
	json_array_foreach(json_object_get(c, "ports"), i, port)
		buf_printf(&ports, "%s%lld/%s", i ? ", " : "", (long long)cli_int_at(port, "containerPort"), str_or(cli_str(port, "protocol"), "TCP"));
	describe_text(d, level + 1, "Port", ports.data);
	write_list(d, level + 1, "Command", json_object_get(c, "command"));
	write_list(d, level + 1, "Args", json_object_get(c, "args"));
	if (status) {
		write_state(d, level + 1, "State", json_object_get(status, "state"));
		if (json_object_size(json_object_get(status, "lastState")))
			write_state(d, level + 1, "Last State", json_object_get(status, "lastState"));
		describe_text(d, level + 1, "Ready", json_is_true(json_object_get(status, "ready")) ? "True" : "False");
		describe_printf(d, level + 1, "Restart Count", "%lld", (long long)cli_int_at(status, "restartCount"));
	}
	describe_values(d, level + 1, "Limits", cli_at(c, "resources.limits"));
	describe_values(d, level + 1, "Requests", cli_at(c, "resources.requests"));
	write_probe(d, level + 1, "Liveness", json_object_get(c, "livenessProbe"));
	write_probe(d, level + 1, "Readiness", json_object_get(c, "readinessProbe"));
	write_probe(d, level + 1, "Startup", json_object_get(c, "startupProbe"));
	write_env(d, level + 1, c);
	write_mounts(d, level + 1, json_object_get(c, "volumeMounts"));
}

void describe_containers(struct describe *d, int level, const char *title, json_t *containers, json_t *statuses)
{
	size_t i;
	json_t *c;
	if (!json_array_size(containers))
		return;
	describe_head(d, level, title);
	json_array_foreach(containers, i, c)
		write_container(d, level + 1, c, status_of(statuses, cli_str(c, "name")));
}

void describe_volumes(struct describe *d, int level, json_t *volumes)
{
	size_t i;
	json_t *volume, *value;
	const char *key;
	if (!json_array_size(volumes)) {
		describe_text(d, level, "Volumes", NULL);
		return;
	}
	describe_head(d, level, "Volumes");
	json_array_foreach(volumes, i, volume) {
		describe_head(d, level + 1, str_or(cli_str(volume, "name"), ""));
		json_object_foreach(volume, key, value)
			if (!str_equal(key, "name"))
				describe_value(d, level + 2, key, value);
	}
}

static void write_tolerations(struct describe *d, json_t *tolerations)
{
	size_t i;
	json_t *t;
	json_array_foreach(tolerations, i, t) {
		autobuf struct buf text = BUF_INIT(65536);
		const char *value = cli_str(t, "value"), *effect = cli_str(t, "effect"), *op = cli_str(t, "operator");
		buf_printf(&text, "%s%s%s%s%s", str_or(cli_str(t, "key"), ""), value ? "=" : "", str_or(value, ""), effect ? ":" : "", str_or(effect, ""));
		if (str_equal(op, "Exists"))
			buf_append_str(&text, " op=Exists");
		if (json_object_get(t, "tolerationSeconds"))
			buf_printf(&text, " for %llds", (long long)cli_int_at(t, "tolerationSeconds"));
		if (i)
			describe_row(d, 0, "", text.data, NULL);
		else
			describe_text(d, 0, "Tolerations", text.data);
	}
}

static void write_pod(struct describe *d, json_t *pod)
{
	describe_text(d, 0, "Name", cli_name(pod));
	describe_text(d, 0, "Namespace", cli_ns(pod));
	if (cli_at(pod, "spec.priority"))
		describe_printf(d, 0, "Priority", "%lld", (long long)cli_int_at(pod, "spec.priority"));
	if (cli_str_at(pod, "spec.priorityClassName"))
		describe_text(d, 0, "Priority Class Name", cli_str_at(pod, "spec.priorityClassName"));
	describe_text(d, 0, "Service Account", str_or(cli_str_at(pod, "spec.serviceAccountName"), "default"));
	describe_printf(d, 0, "Node", "%s%s%s", str_or(cli_str_at(pod, "spec.nodeName"), "<none>"), cli_str_at(pod, "status.hostIP") ? "/" : "", str_or(cli_str_at(pod, "status.hostIP"), ""));
	if (cli_str_at(pod, "status.startTime"))
		describe_text(d, 0, "Start Time", cli_str_at(pod, "status.startTime"));
	describe_map(d, 0, "Labels", cli_at(pod, "metadata.labels"));
	describe_map(d, 0, "Annotations", cli_at(pod, "metadata.annotations"));
	const char *deleted = cli_str_at(pod, "metadata.deletionTimestamp");
	if (deleted)
		describe_printf(d, 0, "Status", "Terminating (lasts %s)", describe_age(d->cli, deleted));
	else
		describe_text(d, 0, "Status", cli_str_at(pod, "status.phase"));
	if (cli_str_at(pod, "status.reason"))
		describe_text(d, 0, "Reason", cli_str_at(pod, "status.reason"));
	if (cli_str_at(pod, "status.message"))
		describe_text(d, 0, "Message", cli_str_at(pod, "status.message"));
	describe_text(d, 0, "IP", cli_str_at(pod, "status.podIP"));
	describe_head(d, 0, "IPs");
	size_t i;
	json_t *ip, *owner;
	json_array_foreach(cli_at(pod, "status.podIPs"), i, ip)
		describe_text(d, 1, "IP", cli_str(ip, "ip"));
	json_array_foreach(cli_at(pod, "metadata.ownerReferences"), i, owner)
		if (json_is_true(json_object_get(owner, "controller")))
			describe_printf(d, 0, "Controlled By", "%s/%s", str_or(cli_str(owner, "kind"), ""), str_or(cli_str(owner, "name"), ""));
	describe_containers(d, 0, "Init Containers", cli_at(pod, "spec.initContainers"), cli_at(pod, "status.initContainerStatuses"));
	describe_containers(d, 0, "Containers", cli_at(pod, "spec.containers"), cli_at(pod, "status.containerStatuses"));
	describe_containers(d, 0, "Ephemeral Containers", cli_at(pod, "spec.ephemeralContainers"), cli_at(pod, "status.ephemeralContainerStatuses"));
	describe_conditions(d, cli_at(pod, "status.conditions"), false);
	describe_volumes(d, 0, cli_at(pod, "spec.volumes"));
	describe_text(d, 0, "QoS Class", cli_str_at(pod, "status.qosClass"));
	describe_map(d, 0, "Node-Selectors", cli_at(pod, "spec.nodeSelector"));
	write_tolerations(d, cli_at(pod, "spec.tolerations"));
}

void describe_pod_template(struct describe *d, json_t *template)
{
	describe_head(d, 0, "Pod Template");
	describe_map(d, 1, "Labels", cli_at(template, "metadata.labels"));
	if (json_object_size(cli_at(template, "metadata.annotations")))
		describe_map(d, 1, "Annotations", cli_at(template, "metadata.annotations"));
	if (cli_str_at(template, "spec.serviceAccountName"))
		describe_text(d, 1, "Service Account", cli_str_at(template, "spec.serviceAccountName"));
	describe_containers(d, 1, "Init Containers", cli_at(template, "spec.initContainers"), NULL);
	describe_containers(d, 1, "Containers", cli_at(template, "spec.containers"), NULL);
	describe_volumes(d, 1, cli_at(template, "spec.volumes"));
	describe_map(d, 1, "Node-Selectors", cli_at(template, "spec.nodeSelector"));
}

const struct describe_kind describe_pod = {
	.group = "",
	.kind = "Pod",
	.write = write_pod,
};
