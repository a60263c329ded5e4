/* SPDX-License-Identifier: Apache-2.0 */
/* run and expose: objects made from a few flags. */
#include "cli/commands/commands.h"
#include "cli/commands/create.h"
#include "cli/pods.h"
#include "cli/targets.h"

#include "common/base/clock.h"

#include <errno.h>
#include <stdio.h>

struct options {
	struct create_options create;
	char *image, *port, *restart, *labels, *pull_policy, *overrides, *service_account;
	char *name, *target_port, *protocol, *type, *cluster_ip, *external_ip, *session_affinity, *selector;
	struct flag_list env, annotations, files;
	bool use_stdin, tty, rm, attach, command, quiet, privileged, recursive;
};
#define O(member) offsetof(struct options, member)

static const struct flag run_flags[] = {
	CREATE_FLAGS(struct options),
	{"image", 0, FLAG_STRING, O(image), NULL, "The image to run", 0, 0},
	{"port", 0, FLAG_STRING, O(port), NULL, "The port that this container exposes", 0, 0},
	{"env", 0, FLAG_STRING_ARRAY, O(env), NULL, "NAME=VALUE for the environment", 0, 0},
	{"labels", 'l', FLAG_STRING, O(labels), NULL, "Labels of the pod, with commas between", 0, 0},
	{"annotations", 0, FLAG_STRING_ARRAY, O(annotations), NULL, "Annotations of the pod", 0, 0},
	{"restart", 0, FLAG_STRING, O(restart), "Always", "Always, OnFailure or Never", 0, 0},
	{"image-pull-policy", 0, FLAG_STRING, O(pull_policy), NULL, "Always, IfNotPresent or Never", 0, 0},
	{"stdin", 'i', FLAG_BOOL, O(use_stdin), NULL, "Keep stdin open", 0, 0},
	{"tty", 't', FLAG_BOOL, O(tty), NULL, "Give the container a TTY", 0, 0},
	{"attach", 0, FLAG_BOOL, O(attach), NULL, "Attach once it runs", 0, 0},
	{"rm", 0, FLAG_BOOL, O(rm), NULL, "Delete the pod when it ends", 0, 0},
	{"command", 0, FLAG_BOOL, O(command), NULL, "What stands behind -- is the command, not its arguments", 0, 0},
	{"privileged", 0, FLAG_BOOL, O(privileged), NULL, "Run in privileged mode", 0, 0},
	{"quiet", 'q', FLAG_BOOL, O(quiet), NULL, "Suppress prompt messages", 0, 0},
	{"overrides", 0, FLAG_STRING, O(overrides), NULL, "JSON merged into the pod", 0, 0},
	{"pod-running-timeout", 0, FLAG_IGNORED, 0, NULL, NULL, 0, 0},
};
static const struct flag expose_flags[] = {
	CREATE_FLAGS(struct options),
	{"filename", 'f', FLAG_STRING_LIST, O(files), NULL, "Files that name what to expose", 0, 0},
	{"recursive", 'R', FLAG_BOOL, O(recursive), NULL, "Process the folder used in -f recursively", 0, 0},
	{"name", 0, FLAG_STRING, O(name), NULL, "Name of the service", 0, 0},
	{"port", 0, FLAG_STRING, O(port), NULL, "Port of the service", 0, 0},
	{"target-port", 0, FLAG_STRING, O(target_port), NULL, "Port of the pods", 0, 0},
	{"protocol", 0, FLAG_STRING, O(protocol), "TCP", "TCP, UDP or SCTP", 0, 0},
	{"type", 0, FLAG_STRING, O(type), NULL, "ClusterIP, NodePort, LoadBalancer or ExternalName", 0, 0},
	{"cluster-ip", 0, FLAG_STRING, O(cluster_ip), NULL, "Address; None: headless", 0, 0},
	{"external-ip", 0, FLAG_STRING, O(external_ip), NULL, "Further address to accept for", 0, 0},
	{"session-affinity", 0, FLAG_STRING, O(session_affinity), NULL, "None or ClientIP", 0, 0},
	{"selector", 0, FLAG_STRING, O(selector), NULL, "Labels of the pods, with commas between", 0, 0},
	{"labels", 'l', FLAG_STRING, O(labels), NULL, "Labels of the service, with commas between", 0, 0},
};

/* "a=b,c=d" */
static int set_pairs(json_t *map, const char *text, struct error *err)
{
	for (const char *p = str_or(text, ""); *p;) {
		size_t len = strcspn(p, ","), key = min_of(strcspn(p, "="), len);
		if (key == len)
			return error_set(err, EINVAL, "invalid label spec: %s", text);
		json_object_setn_new(map, p, key, json_stringn(p + key + 1, len - key - 1));
		p += len + (p[len] == ',');
	}
	return 0;
}

static json_t *words(const struct flag_list *list, size_t first)
{
	json_t *out = json_array();
	for (size_t i = first; i < list->len; i++)
		json_array_append_new(out, json_string(list->items[i]));
	return out;
}

static int make_container(struct cli *cli, const struct options *options, const char *name, json_t **ret, struct error *err)
{
	json_t *c = json_pack("{s:s, s:s}", "name", name, "image", options->image), *env = json_array();
	int64_t port;
	*ret = c;
	for (size_t i = 0; i < options->env.len; i++) {
		size_t len = strcspn(options->env.items[i], "=");
		const char *value = options->env.items[i] + len;
		json_array_append_new(env, json_pack("{s:s%, s:s}", "name", options->env.items[i], len, "value", *value ? value + 1 : ""));
	}
	if (json_array_size(env))
		json_object_set(c, "env", env);
	json_decref(env);
	if (!str_empty(options->port)) {
		if (!str_to_int64(options->port, 1, 65535, &port))
			return error_set(err, EINVAL, "invalid port %s", options->port);
		json_object_set_new(c, "ports", json_pack("[{s:I}]", "containerPort", (json_int_t)port));
	}
	if (cli->dash_args.len)
		json_object_set_new(c, options->command ? "command" : "args", words(&cli->dash_args, 0));
	if (!str_empty(options->pull_policy))
		json_object_set_new(c, "imagePullPolicy", json_string(options->pull_policy));
	if (options->use_stdin) {
		json_object_set_new(c, "stdin", json_true());
		json_object_set_new(c, "stdinOnce", json_true());
	}
	if (options->tty)
		json_object_set_new(c, "tty", json_true());
	if (options->privileged)
		json_object_set_new(cli_make_at(c, "securityContext"), "privileged", json_true());
	return 0;
}

/* Objects are merged, everything else replaces. */
static void merge(json_t *into, json_t *from)
{
	const char *key;
	json_t *value;
	json_object_foreach(from, key, value) {
		json_t *mine = json_object_get(into, key);
		if (json_is_object(mine) && json_is_object(value))
			merge(mine, value);
		else
			json_object_set(into, key, value);
	}
}

static bool on_pod(const char *type, json_t *object, void *arg)
{
	json_t **last = arg;
	json_decref(*last);
	*last = json_incref(object);
	return str_equal(cli_str_at(object, "status.phase"), "Pending");
}

/* Waits until the pod runs (or has ended), then joins it or prints what it said. */
static int join_pod(struct cli *cli, const struct options *options, const struct cli_target *target, struct error *err)
{
	json_t *pod = NULL;
	char *path = cli_path_query(cli, cli_path(cli, target->resource, target->ns, NULL, NULL), "fieldSelector", arena_printf(cli->arena, "metadata.name=%s", target->name));
	path = cli_path_query(cli, path, "watch", "true");
	int rc = cli_watch(cli, path, NULL, on_pod, &pod, 60000, err);
	if (!rc && pod && str_equal(cli_str_at(pod, "status.phase"), "Running")) {
		if (!options->quiet && options->use_stdin)
			fprintf(stderr, "If you don't see a command prompt, try pressing enter.\n");
		rc = remote_session(cli, pod, "attach", NULL, NULL, options->use_stdin, options->tty, options->quiet, err);
	} else if (!rc) {
		struct client *client;
		autobuf struct buf log = BUF_INIT(256 << 20);
		struct client_request request = {.method = "GET", .path = cli_path(cli, target->resource, target->ns, target->name, "log"), .accept = "*/*"};
		rc = cli_client(cli, &client, err);
		if (!rc)
			rc = client_do(client, &request, &log, NULL, err);
		if (!rc)
			cli_print(&log);
	}
	json_decref(pod);
	return rc;
}

static int run_pod(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	if (args->len < 1)
		return cli_usage_error(err, "NAME is required for run");
	if (str_empty(options->image))
		return cli_usage_error(err, "required flag(s) \"image\" not set");
	for (size_t i = 1; i < args->len; i++)
		flag_list_add(&cli->dash_args, args->items[i]);
	bool joins = options->attach || options->use_stdin || options->tty;
	if (options->rm && !joins)
		return cli_usage_error(err, "--rm should only be used for attached containers");
	const char *name = args->items[0], *ns = NULL;
	json_t *container = NULL, *pod = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Pod", "metadata", "name", name);
	int rc = make_container(cli, options, name, &container, err);
	json_object_set_new(pod, "spec", json_pack("{s:[o], s:s}", "containers", container, "restartPolicy", options->restart));
	json_t *labels = cli_make_at(pod, "metadata.labels");
	if (str_empty(options->labels))
		json_object_set_new(labels, "run", json_string(name));
	else if (!rc)
		rc = set_pairs(labels, options->labels, err);
	for (size_t i = 0; !rc && i < options->annotations.len; i++)
		rc = set_pairs(cli_make_at(pod, "metadata.annotations"), options->annotations.items[i], err);
	if (!rc && !str_empty(options->overrides)) {
		json_t *overrides = json_loads(options->overrides, 0, NULL);
		if (!json_is_object(overrides))
			rc = error_set(err, EINVAL, "--overrides is not a JSON object");
		else
			merge(pod, overrides);
		json_decref(overrides);
	}
	if (rc) {
		json_decref(pod);
		return rc;
	}
	struct cli_target target = {.name = name};
	rc = cli_resource_match(cli, "pods", &target.resource, err);
	if (!rc)
		rc = cli_namespace(cli, &ns, err);
	target.ns = ns;
	/* Who attaches wants to see the program's words only. */
	if (!rc && joins && str_equal(options->create.dry_run, "none")) {
		json_t *result = NULL;
		rc = cli_call(cli, &(struct cli_call){.method = "POST", .path = cli_path(cli, target.resource, ns, NULL, NULL), .body = pod}, &result, err);
		json_decref(result);
		json_decref(pod);
	} else if (!rc) {
		return create_generated(cli, &options->create, pod, err);
	} else {
		json_decref(pod);
	}
	if (!rc)
		rc = join_pod(cli, options, &target, err);
	if (options->rm) {
		if (cli_call(cli, &(struct cli_call){.method = "DELETE", .path = cli_path(cli, target.resource, ns, name, NULL)}, NULL, NULL) == 0 && !options->quiet)
			printf("pod \"%s\" deleted\n", name);
	}
	return rc;
}

/* ---- expose ---- */

static void add_port(json_t *ports, int64_t port, const char *target, const char *protocol, const char *name)
{
	int64_t number;
	json_t *entry = json_pack("{s:I, s:s}", "port", (json_int_t)port, "protocol", protocol);
	json_object_set_new(entry, "targetPort", str_empty(target) ? json_integer(port) : (str_to_int64(target, 1, 65535, &number) ? json_integer(number) : json_string(target)));
	if (name)
		json_object_set_new(entry, "name", json_string(name));
	json_array_append_new(ports, entry);
}

/* Without --port: what the containers say they expose. */
static void ports_of_template(struct cli *cli, json_t *pod_spec, json_t *ports)
{
	size_t i, j, count = 0;
	json_t *container, *port;
	json_array_foreach(json_object_get(pod_spec, "containers"), i, container)
		count += json_array_size(json_object_get(container, "ports"));
	json_array_foreach(json_object_get(pod_spec, "containers"), i, container)
		json_array_foreach(json_object_get(container, "ports"), j, port) {
			int64_t number = cli_int_at(port, "containerPort");
			add_port(ports, number, NULL, str_or(cli_str(port, "protocol"), "TCP"), count > 1 ? arena_printf(cli->arena, "port-%zu", json_array_size(ports) + 1) : NULL);
		}
}

static int make_service(struct cli *cli, const struct options *options, const struct cli_target *target, json_t *object, json_t **ret, struct error *err)
{
	json_t *service = json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", "v1", "kind", "Service", "metadata", "name", str_or(options->name, target->name));
	json_t *spec = cli_make_at(service, "spec"), *ports = json_array(), *selector = cli_make_at(service, "spec.selector");
	bool is_pod = str_equal(target->resource->kind, "Pod"), is_service = str_equal(target->resource->kind, "Service");
	json_t *from = is_pod ? cli_at(object, "metadata.labels") : cli_at(object, "spec.selector.matchLabels");
	int rc = 0;
	*ret = service;
	json_object_set_new(spec, "ports", ports);
	if (!str_empty(options->selector))
		rc = set_pairs(selector, options->selector, err);
	else
		json_object_update(selector, from ? from : cli_at(object, "spec.selector"));
	if (!rc && !json_object_size(selector))
		rc = error_set(err, EINVAL, "couldn't retrieve selectors via --selector flag or introspection: the %s has no labels and cannot be exposed", cli_display_name(cli, target->resource));
	if (!rc && !str_empty(options->labels))
		rc = set_pairs(cli_make_at(service, "metadata.labels"), options->labels, err);
	else if (json_object_size(cli_at(object, "metadata.labels")))
		json_object_update(cli_make_at(service, "metadata.labels"), cli_at(object, "metadata.labels"));
	for (const char *p = str_or(options->port, ""); !rc && *p;) {
		size_t len = strcspn(p, ",");
		autofree char *text = xstrndup(p, len);
		int64_t port;
		if (!str_to_int64(text, 1, 65535, &port))
			return error_set(err, EINVAL, "invalid port %s", text);
		bool several = strchr(options->port, ',') != NULL;
		add_port(ports, port, options->target_port, options->protocol, several ? arena_printf(cli->arena, "port-%zu", json_array_size(ports) + 1) : NULL);
		p += len + (p[len] == ',');
	}
	if (!rc && str_empty(options->port) && is_service)
		json_array_extend(ports, cli_at(object, "spec.ports"));
	else if (!rc && str_empty(options->port))
		ports_of_template(cli, is_pod ? json_object_get(object, "spec") : cli_at(object, "spec.template.spec"), ports);
	if (!rc && !json_array_size(ports))
		rc = error_set(err, EINVAL, "couldn't find port via --port flag or introspection");
	const struct {
		const char *key, *value;
	} texts[] = {{"type", options->type}, {"clusterIP", options->cluster_ip}, {"sessionAffinity", options->session_affinity}};
	for (size_t i = 0; i < array_len(texts); i++)
		if (!str_empty(texts[i].value))
			json_object_set_new(spec, texts[i].key, json_string(texts[i].value));
	if (!str_empty(options->external_ip))
		json_object_set_new(spec, "externalIPs", json_pack("[s]", options->external_ip));
	return rc;
}

static int expose_one(struct cli *cli, const struct cli_target *target, void *arg, struct error *err)
{
	struct options *options = arg;
	json_t *object, *service = NULL;
	const struct cli_resource *services = NULL;
	int rc = cli_target_get(cli, target, &object, err);
	if (rc)
		return rc;
	rc = make_service(cli, options, target, object, &service, err);
	json_decref(object);
	if (!rc)
		rc = cli_resource_match(cli, "services", &services, err);
	if (rc) {
		json_decref(service);
		return rc;
	}
	struct cli_output output = {.show_managed_fields = options->create.show_managed_fields};
	rc = cli_output_parse(cli, options->create.output, &output, err);
	json_object_set_new(cli_make_at(service, "metadata"), "namespace", json_string(target->ns));
	json_t *result = NULL;
	bool dry = str_equal(options->create.dry_run, "client");
	if (!rc && !dry)
		rc = cli_call(cli, &(struct cli_call){.method = "POST", .path = cli_path(cli, services, target->ns, NULL, NULL), .body = service}, &result, err);
	if (!rc)
		rc = cli_output_result(cli, &output, services, dry ? service : result, dry ? "exposed (dry run)" : "exposed", err);
	json_decref(service);
	json_decref(result);
	return rc;
}

static int run_expose(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	autotargets struct cli_targets targets = {0};
	int rc = options->files.len ? cli_targets_from_files(cli, &options->files, options->recursive, &targets, err) : cli_targets_from_args(cli, args, 0, false, &targets, err);
	if (!rc && (!targets.len || !targets.items[0].name))
		rc = cli_usage_error(err, "you must provide one or more resources by argument or filename");
	return rc ? rc : cli_targets_each(cli, &targets, NULL, expose_one, options, err);
}

const struct cli_command command_run = {.name = "run", .usage = "NAME --image=IMAGE [--env=\"K=V\"] [--port=PORT] [flags] [-- COMMAND] [args...]", .summary = "Run a particular image on the cluster", .flags = run_flags, .flag_count = array_len(run_flags), .options_size = sizeof(struct options), .run = run_pod};
const struct cli_command command_expose = {.name = "expose", .usage = "(-f FILENAME | TYPE NAME) [--port=PORT]", .summary = "Expose a resource as a new service", .flags = expose_flags, .flag_count = array_len(expose_flags), .options_size = sizeof(struct options), .run = run_expose};
