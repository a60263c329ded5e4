/* SPDX-License-Identifier: Apache-2.0 */
/* `create namespace x` and its like: one function and one row a kind. */
#include "cli/commands/create.h"

#include "common/base/clock.h"
#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#define MAX_VALUE (4u << 20)

struct options {
	struct create_options create;
	struct flag_list literals, from_files, env_files, images, tcp, verbs, resources, resource_names, users, groups, service_accounts, rules, hard, audiences, non_resource_urls, annotations;
	char *type, *cert, *key, *docker_server, *docker_username, *docker_password, *docker_email, *cluster_ip, *external_name, *schedule, *from, *restart, *role, *cluster_role;
	char *ingress_class, *default_backend, *selector, *min_available, *max_unavailable, *description, *preemption_policy, *duration, *scopes;
	int64_t replicas, port, value, node_port;
	bool append_hash, global_default;
};
#define O(member) offsetof(struct options, member)
#define STRING(flag, field, text) {flag, 0, FLAG_STRING, O(field), NULL, text, 0, 0}
#define LIST(flag, field, text) {flag, 0, FLAG_STRING_LIST, O(field), NULL, text, 0, 0}
#define ARRAY(flag, field, text) {flag, 0, FLAG_STRING_ARRAY, O(field), NULL, text, 0, 0}

/* ---- building ---- */

static json_t *new_object(const char *api_version, const char *kind, const char *name)
{
	return json_pack("{s:s, s:s, s:{s:s}}", "apiVersion", api_version, "kind", kind, "metadata", "name", name);
}

static json_t *string_array(const struct flag_list *list)
{
	json_t *out = json_array();
	for (size_t i = 0; i < list->len; i++)
		json_array_append_new(out, json_string(list->items[i]));
	return out;
}

/* The one name a generator takes. */
static int name_of(const struct flag_list *args, const char **ret, struct error *err)
{
	if (args->len != 1)
		return cli_usage_error(err, "exactly one NAME is required, got %zu", args->len);
	*ret = args->items[0];
	return 0;
}

static bool is_text(const char *data, size_t len)
{
	json_t *probe = json_stringn(data, len);
	bool text = probe && !memchr(data, 0, len);
	json_decref(probe);
	return text;
}

static json_t *base64(const void *data, size_t len)
{
	autobuf struct buf out = BUF_INIT(2 * MAX_VALUE);
	buf_append_base64(&out, data, len);
	return json_string(out.data ? out.data : "");
}

static int set_entry(json_t *object, const char *key, const char *data, size_t len, bool secret, struct error *err)
{
	json_t *target = cli_make_at(object, !secret && !is_text(data, len) ? "binaryData" : "data");
	if (json_object_get(target, key))
		return error_set(err, EINVAL, "cannot add key %s, another key by that name already exists in Data", key);
	return json_object_set_new(target, key, !secret && is_text(data, len) ? json_stringn(data, len) : base64(data, len));
}

static int add_file(json_t *object, const char *key, const char *path, bool secret, struct error *err)
{
	autofree char *data = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, path, MAX_VALUE, &data, &len, err);
	return rc ? rc : set_entry(object, key, data, len, secret, err);
}

/* --from-file=[key=]path; a folder gives each of its files. */
static int add_from_file(json_t *object, const char *text, bool secret, struct error *err)
{
	const char *equals = strchr(text, '=');
	const char *path = equals ? equals + 1 : text, *slash = strrchr(path, '/');
	struct stat st;
	if (stat(path, &st))
		return error_set_errno(err, errno, "error reading %s", path);
	if (!S_ISDIR(st.st_mode)) {
		autofree char *key = equals ? xstrndup(text, (size_t)(equals - text)) : xstrdup(slash ? slash + 1 : path);
		return add_file(object, key, path, secret, err);
	}
	if (equals)
		return error_set(err, EINVAL, "cannot give a key name for a directory path");
	struct dirent **entries;
	int count = scandir(path, &entries, NULL, alphasort), rc = 0;
	for (int i = 0; i < count; i++) {
		autofree char *full = path_join(path, entries[i]->d_name, NULL);
		if (!rc && !stat(full, &st) && S_ISREG(st.st_mode))
			rc = add_file(object, entries[i]->d_name, full, secret, err);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
	return rc;
}

static int add_literal(json_t *object, const char *text, bool secret, struct error *err)
{
	const char *equals = strchr(text, '=');
	if (!equals || equals == text)
		return error_set(err, EINVAL, "invalid literal source %s, expected key=value", text);
	autofree char *key = xstrndup(text, (size_t)(equals - text));
	return set_entry(object, key, equals + 1, strlen(equals + 1), secret, err);
}

static int add_env_file(json_t *object, const char *path, bool secret, struct error *err)
{
	autofree char *data = NULL;
	char *save;
	int rc = file_read(AT_FDCWD, path, MAX_VALUE, &data, NULL, err);
	for (char *line = rc ? NULL : strtok_r(data, "\r\n", &save); line && !rc; line = strtok_r(NULL, "\r\n", &save)) {
		line += strspn(line, " \t");
		if (!*line || *line == '#')
			continue;
		if (strchr(line, '=')) {
			rc = add_literal(object, line, secret, err);
		} else {
			const char *value = getenv(line);
			if (value)
				rc = set_entry(object, line, value, strlen(value), secret, err);
		}
	}
	return rc;
}

static int add_sources(json_t *object, const struct options *options, bool secret, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < options->from_files.len; i++)
		rc = add_from_file(object, options->from_files.items[i], secret, err);
	for (size_t i = 0; !rc && i < options->env_files.len; i++)
		rc = add_env_file(object, options->env_files.items[i], secret, err);
	for (size_t i = 0; !rc && i < options->literals.len; i++)
		rc = add_literal(object, options->literals.items[i], secret, err);
	return rc;
}

static int finish(struct cli *cli, const struct options *options, json_t *take_object, int rc, struct error *err)
{
	if (!rc)
		return create_generated(cli, &options->create, take_object, err);
	json_decref(take_object);
	return rc;
}

/* ---- the kinds ---- */

static int run_namespace(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	return rc ? rc : finish(cli, arg, new_object("v1", "Namespace", name), 0, err);
}

static int run_service_account(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	return rc ? rc : finish(cli, arg, new_object("v1", "ServiceAccount", name), 0, err);
}

static int run_configmap(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	json_t *object = new_object("v1", "ConfigMap", name);
	return finish(cli, arg, object, add_sources(object, arg, false, err), err);
}

static int run_secret_generic(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	json_t *object = new_object("v1", "Secret", name);
	if (!str_empty(options->type))
		json_object_set_new(object, "type", json_string(options->type));
	return finish(cli, arg, object, add_sources(object, options, true, err), err);
}

static int run_secret_tls(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (str_empty(options->cert) || str_empty(options->key))
		return cli_usage_error(err, "key and cert must be specified");
	json_t *object = new_object("v1", "Secret", name);
	json_object_set_new(object, "type", json_string("kubernetes.io/tls"));
	rc = add_file(object, "tls.crt", options->cert, true, err);
	if (!rc)
		rc = add_file(object, "tls.key", options->key, true, err);
	return finish(cli, options, object, rc, err);
}

static int run_secret_registry(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (!options->from_files.len && (str_empty(options->docker_username) || str_empty(options->docker_password)))
		return cli_usage_error(err, "either --from-file or the combination of --docker-username, --docker-password and --docker-server is required");
	json_t *object = new_object("v1", "Secret", name);
	json_object_set_new(object, "type", json_string("kubernetes.io/dockerconfigjson"));
	if (options->from_files.len) {
		const char *path = options->from_files.items[0], *equals = strchr(path, '=');
		return finish(cli, options, object, add_file(object, ".dockerconfigjson", equals ? equals + 1 : path, true, err), err);
	}
	autofree char *pair = xprintf("%s:%s", options->docker_username, options->docker_password);
	json_t *auth = json_pack("{s:s, s:s, s:o}", "username", options->docker_username, "password", options->docker_password, "auth", base64(pair, strlen(pair)));
	if (!str_empty(options->docker_email))
		json_object_set_new(auth, "email", json_string(options->docker_email));
	json_t *config = json_pack("{s:{s:o}}", "auths", str_or(options->docker_server, "https://index.docker.io/v1/"), auth);
	char *text = json_dumps(config, JSON_COMPACT);
	rc = set_entry(object, ".dockerconfigjson", text, strlen(text), true, err);
	free(text);
	json_decref(config);
	return finish(cli, options, object, rc, err);
}

/* "docker.io/library/busybox:1.2@sha256:..." -> "busybox" */
static char *container_name(const char *image)
{
	const char *slash = strrchr(image, '/');
	const char *base = slash ? slash + 1 : image;
	return xstrndup(base, strcspn(base, ":@"));
}

static json_t *containers(const struct flag_list *images, const struct flag_list *command)
{
	json_t *out = json_array();
	for (size_t i = 0; i < images->len; i++) {
		autofree char *name = container_name(images->items[i]);
		json_t *container = json_pack("{s:s, s:s}", "name", name, "image", images->items[i]);
		if (command->len)
			json_object_set_new(container, "command", string_array(command));
		json_array_append_new(out, container);
	}
	return out;
}

static int run_deployment(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (!options->images.len)
		return cli_usage_error(err, "required flag(s) \"image\" not set");
	if (options->images.len > 1 && cli->dash_args.len)
		return cli_usage_error(err, "cannot specify multiple --image options and command");
	json_t *object = new_object("apps/v1", "Deployment", name);
	json_object_set_new(cli_make_at(object, "metadata.labels"), "app", json_string(name));
	json_object_set_new(cli_make_at(object, "spec"), "replicas", json_integer(options->replicas));
	json_object_set_new(cli_make_at(object, "spec.selector.matchLabels"), "app", json_string(name));
	json_object_set_new(cli_make_at(object, "spec.template.metadata.labels"), "app", json_string(name));
	json_t *list = containers(&options->images, &cli->dash_args);
	if (options->port >= 0)
		json_object_set_new(json_array_get(list, 0), "ports", json_pack("[{s:I}]", "containerPort", (json_int_t)options->port));
	json_object_set_new(cli_make_at(object, "spec.template.spec"), "containers", list);
	return finish(cli, options, object, 0, err);
}

/* "5678:8080" or "80" or "80:http" as one port of a service. */
static int add_ports(json_t *object, const struct flag_list *tcp, struct error *err)
{
	json_t *ports = json_array();
	json_object_set_new(cli_make_at(object, "spec"), "ports", ports);
	for (size_t i = 0; i < tcp->len; i++) {
		const char *text = tcp->items[i], *colon = strchr(text, ':');
		autofree char *number = xstrndup(text, strcspn(text, ":"));
		int64_t port, target;
		if (!str_to_int64(number, 1, 65535, &port))
			return error_set(err, EINVAL, "invalid port %s", text);
		autofree char *name = xprintf("%s%s%s", number, colon ? "-" : "", colon ? colon + 1 : "");
		json_t *entry = json_pack("{s:s, s:I, s:s}", "name", name, "port", (json_int_t)port, "protocol", "TCP");
		if (colon && !str_to_int64(colon + 1, 1, 65535, &target))
			json_object_set_new(entry, "targetPort", json_string(colon + 1));
		else
			json_object_set_new(entry, "targetPort", json_integer(colon ? target : port));
		json_array_append_new(ports, entry);
	}
	return 0;
}

static int run_service(struct cli *cli, void *arg, const struct flag_list *args, const char *type, bool headless_allowed, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	bool external = str_equal(type, "ExternalName");
	if (!options->tcp.len && !external && !str_equal(options->cluster_ip, "None"))
		return cli_usage_error(err, "at least one tcp port specifier must be provided");
	json_t *object = new_object("v1", "Service", name);
	json_object_set_new(cli_make_at(object, "metadata.labels"), "app", json_string(name));
	json_object_set_new(cli_make_at(object, "spec.selector"), "app", json_string(name));
	json_object_set_new(cli_make_at(object, "spec"), "type", json_string(type));
	if (headless_allowed && !str_empty(options->cluster_ip))
		json_object_set_new(cli_make_at(object, "spec"), "clusterIP", json_string(options->cluster_ip));
	if (external && !str_empty(options->external_name))
		json_object_set_new(cli_make_at(object, "spec"), "externalName", json_string(options->external_name));
	if (options->tcp.len)
		rc = add_ports(object, &options->tcp, err);
	if (!rc && options->node_port)
		json_object_set_new(json_array_get(cli_at(object, "spec.ports"), 0), "nodePort", json_integer(options->node_port));
	return finish(cli, options, object, rc, err);
}

static int run_service_clusterip(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_service(cli, arg, args, "ClusterIP", true, err);
}
static int run_service_nodeport(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_service(cli, arg, args, "NodePort", false, err);
}
static int run_service_loadbalancer(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_service(cli, arg, args, "LoadBalancer", false, err);
}
static int run_service_externalname(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_service(cli, arg, args, "ExternalName", false, err);
}

static json_t *job_spec(const struct options *options, const char *name, const struct flag_list *command, const char *restart)
{
	json_t *list = containers(&options->images, command);
	if (json_array_size(list))
		json_object_set_new(json_array_get(list, 0), "name", json_string(name));
	return json_pack("{s:{s:{s:o, s:s}}}", "template", "spec", "containers", list, "restartPolicy", restart);
}

/* A job as a CronJob would make it now. */
static int job_from_cronjob(struct cli *cli, const struct options *options, const char *name, struct error *err)
{
	const char *slash = strchr(options->from, '/');
	const struct cli_resource *resource = NULL;
	const char *ns = NULL;
	if (!slash)
		return cli_usage_error(err, "from must be a CronJob: cronjob/NAME");
	int rc = cli_resource_match(cli, arena_strndup(cli->arena, options->from, (size_t)(slash - options->from)), &resource, err);
	if (!rc)
		rc = cli_namespace(cli, &ns, err);
	json_t *cron = NULL;
	if (!rc)
		rc = cli_get_json(cli, cli_path(cli, resource, ns, slash + 1, NULL), &cron, err);
	if (rc)
		return rc;
	json_t *job = new_object("batch/v1", "Job", name);
	json_object_set(job, "spec", cli_at(cron, "spec.jobTemplate.spec"));
	json_t *labels = cli_at(cron, "spec.jobTemplate.metadata.labels"), *annotations = cli_at(cron, "spec.jobTemplate.metadata.annotations");
	if (labels)
		json_object_set(cli_make_at(job, "metadata"), "labels", labels);
	json_object_update(cli_make_at(job, "metadata.annotations"), annotations);
	json_object_set_new(cli_make_at(job, "metadata.annotations"), "cronjob.kubernetes.io/instantiate", json_string("manual"));
	json_object_set_new(cli_make_at(job, "metadata"), "ownerReferences", json_pack("[{s:s, s:s, s:s, s:s, s:b}]", "apiVersion", "batch/v1", "kind", "CronJob", "name", cli_name(cron), "uid", str_or(cli_str_at(cron, "metadata.uid"), ""), "controller", 1));
	json_decref(cron);
	return finish(cli, options, job, 0, err);
}

static int run_job(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (!str_empty(options->from))
		return job_from_cronjob(cli, options, name, err);
	if (!options->images.len)
		return cli_usage_error(err, "either --image or --from must be specified");
	json_t *object = new_object("batch/v1", "Job", name);
	json_object_set_new(object, "spec", job_spec(options, name, &cli->dash_args, "Never"));
	return finish(cli, options, object, 0, err);
}

static int run_cronjob(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (!options->images.len || str_empty(options->schedule))
		return cli_usage_error(err, "required flag(s) \"image\", \"schedule\" not set");
	json_t *object = new_object("batch/v1", "CronJob", name);
	json_object_set_new(cli_make_at(object, "spec"), "schedule", json_string(options->schedule));
	json_object_set_new(cli_make_at(object, "spec.jobTemplate.metadata"), "name", json_string(name));
	json_object_set_new(cli_make_at(object, "spec.jobTemplate"), "spec", job_spec(options, name, &cli->dash_args, str_or(options->restart, "OnFailure")));
	return finish(cli, options, object, 0, err);
}

/* --verb, --resource=deployments.apps/scale, --resource-name as one rule a group. */
static json_t *policy_rules(struct cli *cli, const struct options *options)
{
	json_t *rules = json_array();
	for (size_t i = 0; i < options->resources.len; i++) {
		const char *text = options->resources.items[i], *slash = strchr(text, '/');
		const char *type = arena_strndup(cli->arena, text, slash ? (size_t)(slash - text) : strlen(text));
		const struct cli_resource *resource = NULL;
		const char *group = "", *plural = type;
		if (!str_equal(type, "*") && cli_resource_match(cli, type, &resource, NULL) == 0) {
			group = resource->group;
			plural = resource->plural;
		}
		autofree char *full = xprintf("%s%s", plural, slash ? slash : "");
		json_t *rule = json_pack("{s:[s], s:[s], s:o}", "apiGroups", str_or(group, ""), "resources", full, "verbs", string_array(&options->verbs));
		if (options->resource_names.len)
			json_object_set_new(rule, "resourceNames", string_array(&options->resource_names));
		json_array_append_new(rules, rule);
	}
	if (options->non_resource_urls.len)
		json_array_append_new(rules, json_pack("{s:o, s:o}", "nonResourceURLs", string_array(&options->non_resource_urls), "verbs", string_array(&options->verbs)));
	return rules;
}

static int run_any_role(struct cli *cli, void *arg, const struct flag_list *args, const char *kind, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (!options->verbs.len)
		return cli_usage_error(err, "at least one verb must be specified");
	json_t *object = new_object("rbac.authorization.k8s.io/v1", kind, name);
	json_object_set_new(object, "rules", policy_rules(cli, options));
	return finish(cli, options, object, 0, err);
}

static int run_role(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_any_role(cli, arg, args, "Role", err);
}
static int run_cluster_role(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_any_role(cli, arg, args, "ClusterRole", err);
}

static int run_any_binding(struct cli *cli, void *arg, const struct flag_list *args, const char *kind, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (str_empty(options->role) == str_empty(options->cluster_role))
		return cli_usage_error(err, "exactly one of clusterrole or role must be specified");
	json_t *object = new_object("rbac.authorization.k8s.io/v1", kind, name), *subjects = json_array();
	static const char api_group[] = "rbac.authorization.k8s.io";
	json_object_set_new(object, "roleRef", json_pack("{s:s, s:s, s:s}", "apiGroup", api_group, "kind", str_empty(options->role) ? "ClusterRole" : "Role", "name", str_empty(options->role) ? options->cluster_role : options->role));
	for (size_t i = 0; i < options->users.len; i++)
		json_array_append_new(subjects, json_pack("{s:s, s:s, s:s}", "apiGroup", api_group, "kind", "User", "name", options->users.items[i]));
	for (size_t i = 0; i < options->groups.len; i++)
		json_array_append_new(subjects, json_pack("{s:s, s:s, s:s}", "apiGroup", api_group, "kind", "Group", "name", options->groups.items[i]));
	for (size_t i = 0; i < options->service_accounts.len; i++) {
		const char *text = options->service_accounts.items[i], *colon = strchr(text, ':');
		if (!colon) {
			rc = error_set(err, EINVAL, "serviceaccount must be <namespace>:<name>");
			break;
		}
		json_array_append_new(subjects, json_pack("{s:s, s:s, s:s%}", "kind", "ServiceAccount", "name", colon + 1, "namespace", text, (size_t)(colon - text)));
	}
	json_object_set_new(object, "subjects", subjects);
	return finish(cli, options, object, rc, err);
}

static int run_role_binding(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_any_binding(cli, arg, args, "RoleBinding", err);
}
static int run_cluster_role_binding(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	return run_any_binding(cli, arg, args, "ClusterRoleBinding", err);
}

static int run_quota(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	json_t *object = new_object("v1", "ResourceQuota", name);
	for (size_t i = 0; i < options->hard.len; i++) {
		const char *text = options->hard.items[i], *equals = strchr(text, '=');
		if (equals)
			json_object_setn_new(cli_make_at(object, "spec.hard"), text, (size_t)(equals - text), json_string(equals + 1));
		else
			rc = error_set(err, EINVAL, "Invalid argument syntax %s, expected <resource>=<quantity>", text);
	}
	return finish(cli, options, object, rc, err);
}

static json_t *number_or_percent(const char *text)
{
	int64_t number;
	return str_to_int64(text, 0, INT32_MAX, &number) ? json_integer(number) : json_string(text);
}

static int run_pdb(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	if (str_empty(options->min_available) == str_empty(options->max_unavailable))
		return cli_usage_error(err, "one of min-available or max-unavailable must be specified");
	json_t *object = new_object("policy/v1", "PodDisruptionBudget", name);
	bool min = !str_empty(options->min_available);
	json_object_set_new(cli_make_at(object, "spec"), min ? "minAvailable" : "maxUnavailable", number_or_percent(min ? options->min_available : options->max_unavailable));
	for (const char *p = str_or(options->selector, ""); *p;) {
		size_t len = strcspn(p, ","), key = min_of(strcspn(p, "="), len);
		if (key < len)
			json_object_setn_new(cli_make_at(object, "spec.selector.matchLabels"), p, key, json_stringn(p + key + 1, len - key - 1));
		p += len + (p[len] == ',');
	}
	return finish(cli, options, object, rc, err);
}

static int run_priority_class(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	json_t *object = new_object("scheduling.k8s.io/v1", "PriorityClass", name);
	json_object_set_new(object, "value", json_integer(options->value));
	json_object_set_new(object, "globalDefault", json_boolean(options->global_default));
	json_object_set_new(object, "description", json_string(str_or(options->description, "")));
	json_object_set_new(object, "preemptionPolicy", json_string(str_or(options->preemption_policy, "PreemptLowerPriority")));
	return finish(cli, options, object, 0, err);
}

/* host/path=service:port[,tls[=secret]] */
static int add_ingress_rule(json_t *object, const char *text, struct error *err)
{
	size_t host = strcspn(text, "/="), path_end = strcspn(text, "=");
	const char *service = text + path_end + 1, *colon = text[path_end] ? strchr(service, ':') : NULL;
	if (!colon || host > path_end)
		return error_set(err, EINVAL, "rule %s is invalid and should be in format host/path=svcname:svcport[,tls[=secret]]", text);
	size_t port_len = strcspn(colon + 1, ",");
	autofree char *port_text = xstrndup(colon + 1, port_len), *path = xstrndup(text + host, path_end - host);
	size_t path_len = strlen(path);
	bool prefix = path_len && path[path_len - 1] == '*';
	if (prefix)
		path[path_len - 1] = 0;
	int64_t port;
	json_t *port_object = str_to_int64(port_text, 1, 65535, &port) ? json_pack("{s:I}", "number", (json_int_t)port) : json_pack("{s:s}", "name", port_text);
	json_t *rule = json_pack("{s:{s:[{s:{s:{s:s%, s:o}}, s:s, s:s}]}}", "http", "paths", "backend", "service", "name", service, (size_t)(colon - service), "port", port_object, "path", str_or(path, "/"), "pathType", prefix ? "Prefix" : "Exact");
	if (host)
		json_object_set_new(rule, "host", json_stringn(text, host));
	json_t *spec = cli_make_at(object, "spec"), *rules = json_object_get(spec, "rules");
	if (!rules)
		json_object_set_new(spec, "rules", rules = json_array());
	json_array_append_new(rules, rule);
	const char *tls = colon + 1 + port_len;
	if (str_starts_with(tls, ",tls")) {
		json_t *entry = json_pack("{s:[s%]}", "hosts", text, host), *list = json_object_get(spec, "tls");
		if (tls[4] == '=')
			json_object_set_new(entry, "secretName", json_string(tls + 5));
		if (!list)
			json_object_set_new(spec, "tls", list = json_array());
		json_array_append_new(list, entry);
	}
	return 0;
}

static int run_ingress(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL;
	int rc = name_of(args, &name, err);
	if (rc)
		return rc;
	json_t *object = new_object("networking.k8s.io/v1", "Ingress", name);
	if (!str_empty(options->ingress_class))
		json_object_set_new(cli_make_at(object, "spec"), "ingressClassName", json_string(options->ingress_class));
	for (size_t i = 0; !rc && i < options->rules.len; i++)
		rc = add_ingress_rule(object, options->rules.items[i], err);
	return finish(cli, options, object, rc, err);
}

/* A token is not stored: it is printed. */
static int run_token(struct cli *cli, void *arg, const struct flag_list *args, struct error *err)
{
	struct options *options = arg;
	const char *name = NULL, *ns = NULL;
	const struct cli_resource *resource = NULL;
	int64_t ns_duration = 0;
	int rc = name_of(args, &name, err);
	if (!rc)
		rc = cli_namespace(cli, &ns, err);
	if (!rc)
		rc = cli_resource_match(cli, "serviceaccounts", &resource, err);
	if (!rc && !str_empty(options->duration) && duration_parse(options->duration, strlen(options->duration), &ns_duration))
		rc = cli_usage_error(err, "invalid duration %s", options->duration);
	if (rc)
		return rc;
	json_t *request = json_pack("{s:s, s:s, s:{}}", "apiVersion", "authentication.k8s.io/v1", "kind", "TokenRequest", "spec"), *answer;
	if (ns_duration)
		json_object_set_new(cli_make_at(request, "spec"), "expirationSeconds", json_integer(ns_duration / NSEC_PER_SEC));
	if (options->audiences.len)
		json_object_set_new(cli_make_at(request, "spec"), "audiences", string_array(&options->audiences));
	rc = cli_call(cli, &(struct cli_call){.method = "POST", .path = cli_path(cli, resource, ns, name, "token"), .body = request}, &answer, err);
	json_decref(request);
	if (rc)
		return rc;
	printf("%s\n", str_or(cli_str_at(answer, "status.token"), ""));
	json_decref(answer);
	return 0;
}

/* ---- rows ---- */

#define COMMAND(var, word, other, help, fn, ...)                                                                   \
	static const struct flag var##_flags[] = {CREATE_FLAGS(struct options) __VA_OPT__(, ) __VA_ARGS__};        \
	static const struct cli_command var = {.name = word, .alias = other, .usage = "NAME [flags]", .summary = help, \
		.flags = var##_flags, .flag_count = array_len(var##_flags), .options_size = sizeof(struct options), .run = fn}

#define SOURCES ARRAY("from-literal", literals, "key=value to put in"), LIST("from-file", from_files, "[key=]file or folder to put in"), LIST("from-env-file", env_files, "File of key=value lines to put in")

COMMAND(generate_namespace, "namespace", "ns", "Create a namespace", run_namespace);
COMMAND(generate_service_account, "serviceaccount", "sa", "Create a service account", run_service_account);
COMMAND(generate_configmap, "configmap", "cm", "Create a config map from files, folders or literals", run_configmap, SOURCES);
COMMAND(generate_secret_generic, "generic", NULL, "Create a secret from files, folders or literals", run_secret_generic, SOURCES, STRING("type", type, "Type of the secret"));
COMMAND(generate_secret_tls, "tls", NULL, "Create a TLS secret", run_secret_tls, STRING("cert", cert, "Certificate file"), STRING("key", key, "Key file"));
COMMAND(generate_secret_registry, "docker-registry", NULL, "Create a secret for a registry", run_secret_registry, STRING("docker-server", docker_server, "Server"), STRING("docker-username", docker_username, "User"), STRING("docker-password", docker_password, "Password"), STRING("docker-email", docker_email, "Email"), LIST("from-file", from_files, "A docker config.json"));
COMMAND(generate_deployment, "deployment", "deploy", "Create a deployment", run_deployment, LIST("image", images, "Image to run; may be repeated"), {"replicas", 'r', FLAG_INT, O(replicas), "1", "Number of replicas", 0, INT32_MAX}, {"port", 0, FLAG_INT, O(port), "-1", "Port that the container exposes", -1, 65535});
COMMAND(generate_service_clusterip, "clusterip", NULL, "Create a ClusterIP service", run_service_clusterip, LIST("tcp", tcp, "port[:targetPort]"), STRING("clusterip", cluster_ip, "Address; None: headless"));
COMMAND(generate_service_nodeport, "nodeport", NULL, "Create a NodePort service", run_service_nodeport, LIST("tcp", tcp, "port[:targetPort]"), {"node-port", 0, FLAG_INT, O(node_port), NULL, "Port on each node", 0, 65535});
COMMAND(generate_service_loadbalancer, "loadbalancer", NULL, "Create a LoadBalancer service", run_service_loadbalancer, LIST("tcp", tcp, "port[:targetPort]"));
COMMAND(generate_service_externalname, "externalname", NULL, "Create an ExternalName service", run_service_externalname, LIST("tcp", tcp, "port[:targetPort]"), STRING("external-name", external_name, "Name it stands for"));
COMMAND(generate_job, "job", NULL, "Create a job", run_job, LIST("image", images, "Image to run"), STRING("from", from, "cronjob/NAME to make it from"));
COMMAND(generate_cronjob, "cronjob", "cj", "Create a cron job", run_cronjob, LIST("image", images, "Image to run"), STRING("schedule", schedule, "Schedule in cron format"), STRING("restart", restart, "OnFailure or Never"));
COMMAND(generate_role, "role", NULL, "Create a role", run_role, LIST("verb", verbs, "Verb"), LIST("resource", resources, "Resource"), LIST("resource-name", resource_names, "Name of an object"));
COMMAND(generate_cluster_role, "clusterrole", NULL, "Create a cluster role", run_cluster_role, LIST("verb", verbs, "Verb"), LIST("resource", resources, "Resource"), LIST("resource-name", resource_names, "Name of an object"), LIST("non-resource-url", non_resource_urls, "Path"));
COMMAND(generate_role_binding, "rolebinding", NULL, "Create a role binding", run_role_binding, STRING("role", role, "Role"), STRING("clusterrole", cluster_role, "Cluster role"), LIST("user", users, "User"), LIST("group", groups, "Group"), LIST("serviceaccount", service_accounts, "namespace:name"));
COMMAND(generate_cluster_role_binding, "clusterrolebinding", NULL, "Create a cluster role binding", run_cluster_role_binding, STRING("clusterrole", cluster_role, "Cluster role"), LIST("user", users, "User"), LIST("group", groups, "Group"), LIST("serviceaccount", service_accounts, "namespace:name"));
COMMAND(generate_quota, "quota", "resourcequota", "Create a quota", run_quota, LIST("hard", hard, "resource=quantity"));
COMMAND(generate_pdb, "poddisruptionbudget", "pdb", "Create a pod disruption budget", run_pdb, STRING("selector", selector, "Labels of the pods"), STRING("min-available", min_available, "Number or percentage"), STRING("max-unavailable", max_unavailable, "Number or percentage"));
COMMAND(generate_priority_class, "priorityclass", "pc", "Create a priority class", run_priority_class, {"value", 0, FLAG_INT, O(value), "0", "Priority", INT32_MIN, INT32_MAX}, {"global-default", 0, FLAG_BOOL, O(global_default), NULL, "Use it where none is named", 0, 0}, STRING("description", description, "What it is for"), STRING("preemption-policy", preemption_policy, "PreemptLowerPriority or Never"));
COMMAND(generate_ingress, "ingress", "ing", "Create an ingress", run_ingress, ARRAY("rule", rules, "host/path=service:port[,tls[=secret]]"), STRING("class", ingress_class, "Class"));
COMMAND(generate_token, "token", NULL, "Request a token of a service account", run_token, STRING("duration", duration, "How long it is to last"), LIST("audience", audiences, "Audience"));

static const struct cli_command generate_secret = {.name = "secret", .summary = "Create a secret", .children = (const struct cli_command *const[]){&generate_secret_generic, &generate_secret_tls, &generate_secret_registry, NULL}};
static const struct cli_command generate_service = {.name = "service", .alias = "svc", .summary = "Create a service", .children = (const struct cli_command *const[]){&generate_service_clusterip, &generate_service_nodeport, &generate_service_loadbalancer, &generate_service_externalname, NULL}};

const struct cli_command *const create_generators[] = {
	&generate_namespace, &generate_configmap, &generate_secret, &generate_service_account, &generate_deployment, &generate_service, &generate_job,
	&generate_cronjob, &generate_role, &generate_role_binding, &generate_cluster_role, &generate_cluster_role_binding, &generate_quota, &generate_pdb,
	&generate_priority_class, &generate_ingress, &generate_token, NULL,
};
