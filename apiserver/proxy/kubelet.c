/* SPDX-License-Identifier: Apache-2.0 */
/* pods/log, exec, attach and portforward: checked here, done by the kubelet of the pod's node. */
#include "apiserver/proxy/kubelet.h"
#include "apiserver/request/steps.h"
#include "apiserver/rest/body.h"
#include "apiserver/rest/subresource.h"
#include "apiserver/timers.h"
#include "apiserver/validation/validation.h"
#include "api/core_v1.h"
#include "apiserver/rest/query.h"
#include "common/api/json_reader.h"
#include "common/http/websocket.h"

#include <errno.h>

#define DEFAULT_KUBELET_PORT 10250

struct kubelet_client {
	gnutls_certificate_credentials_t credentials, plain;
	bool verify;
};

int kubelet_client_new(struct apiserver *server, struct kubelet_client **ret, struct error *err) {
	const struct apiserver_options *o = server->options;
	struct kubelet_client *client = xnew(struct kubelet_client);
	gnutls_certificate_allocate_credentials(&client->credentials);
	gnutls_certificate_allocate_credentials(&client->plain);
	int rc = 0;
	if (!str_empty(o->kubelet_client_certificate))
		rc = gnutls_certificate_set_x509_key_file(client->credentials, o->kubelet_client_certificate, str_or(o->kubelet_client_key, o->kubelet_client_certificate), GNUTLS_X509_FMT_PEM);
	if (rc >= 0 && !str_empty(o->kubelet_certificate_authority)) {
		rc = gnutls_certificate_set_x509_trust_file(client->credentials, o->kubelet_certificate_authority, GNUTLS_X509_FMT_PEM);
		client->verify = true;
	}
	if (rc < 0) {
		kubelet_client_free(client);
		return error_set(err, EINVAL, "kubelet client certificate: %s", gnutls_strerror(rc));
	}
	*ret = client;
	return 0;
}

void kubelet_client_free(struct kubelet_client *client) {
	if (!client)
		return;
	gnutls_certificate_free_credentials(client->credentials);
	gnutls_certificate_free_credentials(client->plain);
	free(client);
}

gnutls_certificate_credentials_t kubelet_plain_credentials(struct kubelet_client *client) {
	return client->plain;
}

/* The first numeric address by preference: names would have to be looked up, and a node's InternalIP is one. */
static const char *pick_address(const struct core_v1_node *node, const struct flag_list *preferred) {
	for (size_t p = 0; p < preferred->len; p++)
		for (uint32_t i = 0; i < node->status.addresses.len; i++)
			if (str_equal(node->status.addresses.items[i].type, preferred->items[p]) && is_ip_address(node->status.addresses.items[i].address))
				return node->status.addresses.items[i].address;
	return NULL;
}

gnutls_certificate_credentials_t kubelet_credentials(struct kubelet_client *client, bool *ret_verify) {
	*ret_verify = client->verify;
	return client->credentials;
}

const char *kubelet_address(const struct apiserver *server, const struct core_v1_node *node, uint16_t *ret_port) {
	int32_t port = node->status.daemon_endpoints.kubelet_endpoint.port;
	*ret_port = (uint16_t)(port > 0 ? port : DEFAULT_KUBELET_PORT);
	return pick_address(node, &server->options->kubelet_preferred_address_types);
}

int kubelet_locate(struct request *r, const char *name, struct upstream_options *ret, struct error *err) {
	struct core_v1_node *node = registry_read(r->server->registry, "", "nodes", NULL, name);
	if (!node)
		return error_not_found(err, registry_find(r->server->registry, "", "v1", "nodes"), name);
	const char *address = arena_strdup(r->arena, kubelet_address(r->server, node, &ret->port));
	api_unref(node);
	if (!address)
		return error_internal(err, "no preferred addresses found; known addresses: []");
	ret->address = address;
	ret->credentials = r->server->kubelet->credentials;
	ret->verify = r->server->kubelet->verify;
	return 0;
}

static const char *annotated_container(const struct core_v1_pod *pod) {
	return api_map_get(&pod->metadata.annotations, "kubectl.kubernetes.io/default-container");
}

static bool has_container(const struct core_v1_pod *pod, const char *name) {
	for (uint32_t i = 0; i < pod->spec.containers.len; i++)
		if (str_equal(pod->spec.containers.items[i].name, name))
			return true;
	for (uint32_t i = 0; i < pod->spec.init_containers.len; i++)
		if (str_equal(pod->spec.init_containers.items[i].name, name))
			return true;
	for (uint32_t i = 0; i < pod->spec.ephemeral_containers.len; i++)
		if (str_equal(pod->spec.ephemeral_containers.items[i].name, name))
			return true;
	return false;
}

/* The container asked for, or the only one. */
static int choose_container(struct request *r, const struct core_v1_pod *pod, const char **ret, struct error *err) {
	const char *name = http_query(r->http, "container");
	if (str_empty(name))
		name = arena_strdup(r->arena, annotated_container(pod));
	if (str_empty(name)) {
		if (pod->spec.containers.len == 1) {
			*ret = arena_strdup(r->arena, pod->spec.containers.items[0].name);
			return 0;
		}
		autobuf struct buf names = BUF_INIT(64 << 10);
		for (uint32_t i = 0; i < pod->spec.containers.len; i++)
			buf_printf(&names, "%s%s", i ? " " : "", pod->spec.containers.items[i].name);
		if (pod->spec.init_containers.len) {
			buf_append_str(&names, "] or one of the init containers: [");
			for (uint32_t i = 0; i < pod->spec.init_containers.len; i++)
				buf_printf(&names, "%s%s", i ? " " : "", pod->spec.init_containers.items[i].name);
		}
		return error_bad_request(err, "a container name must be specified for pod %s, choose one of: [%s]", r->name, names.data ? names.data : "");
	}
	if (!has_container(pod, name))
		return error_bad_request(err, "container %s is not valid for pod %s", name, r->name);
	*ret = name;
	return 0;
}

struct query {
	struct buf *out;
	const char *const *allowed;
};

/* Log options go on under the names they came by; exec's become what kubelets call them. */
static const struct { const char *from, *to; } stream_names[] = {
	{"stdin", "input"}, {"stdout", "output"}, {"stderr", "error"}, {"tty", "tty"}, {"command", "command"},
};
static const char *const log_names[] = {"follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream", NULL};

static void add_pair(struct buf *out, const char *name, const char *value) {
	buf_append_char(out, strchr(out->data, '?') ? '&' : '?');
	http_url_encode(out, name);
	buf_append_char(out, '=');
	http_url_encode(out, value);
}

static void add_log_option(const char *name, const char *value, void *arg) {
	for (const char *const *n = log_names; *n; n++)
		if (strcmp(*n, name) == 0)
			add_pair(arg, name, value);
}

static void add_stream_option(const char *name, const char *value, void *arg) {
	for (size_t i = 0; i < array_len(stream_names); i++) {
		if (strcmp(stream_names[i].from, name) != 0)
			continue;
		bool flag = strcmp(name, "command") != 0;
		if (!flag)
			add_pair(arg, "command", value);
		else if (strcmp(value, "false") != 0 && strcmp(value, "0") != 0)
			add_pair(arg, stream_names[i].to, "1");
	}
}

static void add_port(const char *name, const char *value, void *arg) {
	if (strcmp(name, "ports") == 0)
		add_pair(arg, "port", value);
}

static int build_target(struct request *r, const struct core_v1_pod *pod, struct buf *out, struct error *err) {
	const char *container = NULL;
	bool forward = strcmp(r->subresource, "portforward") == 0;
	if (!forward) {
		int rc = choose_container(r, pod, &container, err);
		if (rc < 0)
			return rc;
	}
	if (strcmp(r->subresource, "log") == 0) {
		buf_printf(out, "/containerLogs/%s/%s/%s", r->ns, r->name, container);
		http_query_each(r->http, add_log_option, out);
	} else if (forward) {
		buf_printf(out, "/portForward/%s/%s", r->ns, r->name);
		http_query_each(r->http, add_port, out);
	} else {
		buf_printf(out, "/%s/%s/%s/%s", r->subresource, r->ns, r->name, container);
		http_query_each(r->http, add_stream_option, out);
	}
	return 0;
}

struct log_number {
	const char *name;
	int64_t min, value;
	bool given;
};

/* Numbers that are none are told before what is wrong with their values. */
static int read_log_number(struct request *r, struct log_number *n, struct error *err) {
	const char *text = http_query(r->http, n->name);
	n->given = text != NULL;
	return text && !str_to_int64(text, INT64_MIN, INT64_MAX, &n->value) ? error_bad_number(err, text) : 0;
}

static void judge_log_number(const struct log_number *n, struct error *causes) {
	if (n->given && n->value < n->min)
		error_cause(causes, "FieldValueInvalid", n->name, "Invalid value: %lld: must be greater than %s0", (long long)n->value, n->min ? "" : "or equal to ");
}

static int check_log_options(struct request *r, struct error *err) {
	struct log_number since = {"sinceSeconds", .min = 1}, tail = {"tailLines", .min = 0}, limit = {"limitBytes", .min = 1};
	autoerror struct error causes = {0};
	const char *time = http_query(r->http, "sinceTime");
	struct wall_time at;
	int rc = read_log_number(r, &since, err);
	if (rc < 0)
		return rc;
	if (!str_empty(time) && time_parse_rfc3339(time, strlen(time), &at) < 0) {
		autobuf struct buf text = BUF_INIT(4096);
		time_text_explain(time, strlen(time), false, &text);
		return error_bad_request(err, "%s", text.data);
	}
	rc = read_log_number(r, &tail, err);
	if (rc == 0)
		rc = read_log_number(r, &limit, err);
	if (rc < 0)
		return rc;
	judge_log_number(&tail, &causes);
	judge_log_number(&limit, &causes);
	if (since.given && !str_empty(time))
		error_cause(&causes, "FieldValueForbidden", "[]", "Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified");
	judge_log_number(&since, &causes);
	if (http_query(r->http, "stream"))
		error_cause(&causes, "FieldValueForbidden", "stream", "Forbidden: may not be specified");
	if (!error_has_causes(&causes))
		return 0;
	error_invalid(&causes, NULL, "PodLogOptions", r->name);
	return error_move(err, &causes);
}

struct bad_port {
	const char *text;
	bool large;
};

static void find_bad_port(const char *name, const char *value, void *arg) {
	struct bad_port *bad = arg;
	int64_t port;
	bool number = *value && strspn(value, "0123456789") == strlen(value);
	if (strcmp(name, "ports") != 0 || bad->text || (number && str_to_int64(value, 0, UINT16_MAX, &port)))
		return;
	*bad = (struct bad_port){value, number};
}

static int check_ports(struct request *r, struct error *err) {
	struct bad_port bad = {0};
	http_query_each(r->http, find_bad_port, &bad);
	return bad.text ? error_bad_request(err, "cannot convert to []int32: strconv.ParseUint: parsing \"%s\": %s", bad.text, bad.large ? "value out of range" : "invalid syntax") : 0;
}

static int pass_on(struct request *r, void *take_options, struct error *err) {
	api_unref(take_options);
	struct core_v1_pod *pod = resource_read(r->resource, r->ns, r->name);
	if (!pod)
		return error_not_found(err, r->resource, r->name);
	bool log = strcmp(r->subresource, "log") == 0, messages = log && websocket_requested(r->http);
	autobuf struct buf target = BUF_INIT(256 << 10);
	int rc = build_target(r, pod, &target, err);
	const char *node = arena_strdup(r->arena, str_or(pod->spec.node_name, ""));
	api_unref(pod);
	if (rc < 0)
		return rc;
	if (str_empty(node)) {
		/* Logs of a pod that no node has are empty; the rest cannot be. */
		if (log) {
			request_finished(r, 204);
			http_respond(r->http, 204, NULL, "", 0);
			return REQUEST_TAKEN;
		}
		return error_bad_request(err, "pod %s does not have a host assigned", r->name);
	}
	struct upstream_options options = {.method = log ? "GET" : r->method, .target = target.data, .errors_as_status = true, .unreachable_code = 500};
	rc = kubelet_locate(r, node, &options, err);
	if (rc == -ENOENT) /* as Kubernetes has it: the name is the node's, the kind the pod's */
		return error_not_found(err, r->resource, node);
	if (rc < 0)
		return rc;
	if (!log && !http_header(r->http, "Upgrade"))
		return error_bad_request(err, "Upgrade request required");
	if (messages && !(options.messages = websocket_choose(r->http, upstream_message_protocols)))
		return error_bad_request(err, "none of the WebSocket protocols asked for is known for logs");
	options.reached = arena_printf(r->arena, "error dialing backend: ");
	if (log)
		options.reached = arena_printf(r->arena, "Get \"https://%s:%u%s\": ", options.address, options.port, target.data);
	upstream_start(timers_loop(r->server->timers), r, &options);
	return REQUEST_TAKEN;
}

/* ---- admission ---- */

static void add_command(const char *name, const char *value, void *arg) {
	struct core_v1_pod_exec_options *options = arg;
	if (strcmp(name, "command") == 0)
		api_string_list_add(api_arena(options), &options->command, value);
}

static void add_forwarded(const char *name, const char *value, void *arg) {
	struct core_v1_pod_port_forward_options *options = arg;
	int64_t port;
	if (strcmp(name, "ports") == 0 && str_to_int64(value, INT32_MIN, INT32_MAX, &port))
		*(int32_t *)api_list_add(api_arena(options), &options->ports) = (int32_t)port;
}

/* What a connection is asked for, as an object of its own. */
#define STREAMS(options_, r_) \
	do { \
		(options_)->stdin = request_flag((r_), "stdin"); \
		(options_)->stdout = request_flag((r_), "stdout"); \
		(options_)->stderr = request_flag((r_), "stderr"); \
		(options_)->tty = request_flag((r_), "tty"); \
		(options_)->container = arena_strdup(api_arena(options_), http_query((r_)->http, "container")); \
	} while (0)

static void *connection_options(struct request *r) {
	if (strcmp(r->subresource, "exec") == 0) {
		struct core_v1_pod_exec_options *options = api_new_of(core_v1_pod_exec_options);
		STREAMS(options, r);
		http_query_each(r->http, add_command, options);
		return options;
	}
	if (strcmp(r->subresource, "attach") == 0) {
		struct core_v1_pod_attach_options *options = api_new_of(core_v1_pod_attach_options);
		STREAMS(options, r);
		return options;
	}
	struct core_v1_pod_port_forward_options *options = api_new_of(core_v1_pod_port_forward_options);
	http_query_each(r->http, add_forwarded, options);
	return options;
}

int subresource_kubelet(struct request *r, struct error *err) {
	bool log = strcmp(r->subresource, "log") == 0;
	int rc = log ? check_log_options(r, err) : strcmp(r->subresource, "portforward") == 0 ? check_ports(r, err) : 0;
	if (rc < 0)
		return rc;
	if (log)
		return pass_on(r, NULL, err); /* a read */
	return body_admit(r, &(struct body_admission){r->resource, r->name, r->subresource, WRITE_CONNECT, pass_on}, connection_options(r));
}
