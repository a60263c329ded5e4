/* SPDX-License-Identifier: Apache-2.0 */
/* Kubeconfig files (kubectl's "clientcmd" format, v1), and the service account that stands in for one inside a pod. */
#include "common/base/file.h"
#include "common/base/random.h"
#include "common/client/internal.h"
#include "common/client/yaml_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <libgen.h>

#define MAX_KUBECONFIG (1u << 20)
#define MAX_FILES 16
#define SERVICE_ACCOUNT_DIR "/var/run/secrets/kubernetes.io/serviceaccount"

/* Several files count as one: what an earlier one names hides the same name of later ones. */
struct kubeconfig {
	json_t *files[MAX_FILES];
	char *dirs[MAX_FILES]; /* relative paths are relative to these */
	size_t len;
};

static void kubeconfig_done(struct kubeconfig *config)
{
	for (size_t i = 0; i < config->len; i++) {
		json_decref(config->files[i]);
		free(config->dirs[i]);
	}
}

static const char *string_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

/* The `inner` of the entry `name` in the list `list`; *ret_dir is that of its file. */
static json_t *find_entry(const struct kubeconfig *config, const char *list, const char *name, const char *inner, const char **ret_dir)
{
	for (size_t f = 0; f < config->len; f++) {
		size_t i;
		json_t *entry;
		json_array_foreach(json_object_get(config->files[f], list), i, entry) {
			if (!str_equal(string_of(entry, "name"), name))
				continue;
			*ret_dir = config->dirs[f];
			return json_object_get(entry, inner);
		}
	}
	return NULL;
}

static char *resolve(const char *dir, const char *path)
{
	return path[0] == '/' || str_empty(dir) ? xstrdup(path) : path_join(dir, path, NULL);
}

/* "<key>-data" as base64, or the file that <key> names. */
static int load_pem(json_t *object, const char *key, const char *dir, char **ret, struct error *err)
{
	autofree char *data_key = xprintf("%s-data", key);
	const char *data = string_of(object, data_key), *path = string_of(object, key);
	if (!str_empty(data)) {
		uint8_t *bytes;
		size_t len;
		if (base64_decode(data, strlen(data), CLIENT_MAX_PEM, &bytes, &len))
			return error_set(err, EINVAL, "%s is not base64", data_key);
		free(*ret);
		*ret = xstrndup((char *)bytes, len);
		explicit_bzero(bytes, len);
		free(bytes);
		return 0;
	}
	if (str_empty(path))
		return 0;
	autofree char *full = resolve(dir, path);
	char *text;
	int rc = file_read(AT_FDCWD, full, CLIENT_MAX_PEM, &text, NULL, err);
	if (rc)
		return error_context(err, "unable to read %s", key);
	free(*ret);
	*ret = text;
	return 0;
}

static void set_string(char **field, const char *value)
{
	if (!str_empty(value)) {
		free(*field);
		*field = xstrdup(value);
	}
}

/* One address, or several with commas between: servers of one cluster, tried in turn. */
static void add_servers(struct client_config *config, const char *text)
{
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, ",");
		if (len) {
			config->servers.items = xreallocarray(config->servers.items, config->servers.len + 1, sizeof(char *));
			config->servers.items[config->servers.len++] = xstrndup(p, len);
		}
		p += len + (p[len] == ',');
	}
}

static int apply_cluster(const struct kubeconfig *from, const char *name, struct client_config *config, struct error *err)
{
	const char *dir;
	json_t *cluster = find_entry(from, "clusters", name, "cluster", &dir);
	if (!cluster)
		return error_set(err, EINVAL, "cluster \"%s\" does not exist", name);
	if (str_empty(string_of(cluster, "server")))
		return error_set(err, EINVAL, "cluster \"%s\" has no server", name);
	add_servers(config, string_of(cluster, "server"));
	config->insecure_skip_verify = json_is_true(json_object_get(cluster, "insecure-skip-tls-verify"));
	set_string(&config->tls_server_name, string_of(cluster, "tls-server-name"));
	return load_pem(cluster, "certificate-authority", dir, &config->ca_pem, err);
}

static int impersonate(struct client_config *config, const char *part, const json_t *value, struct error *err)
{
	return !value || json_is_null(value) ? 0 : client_config_impersonate(config, part, json_string_value(value), err);
}

static int impersonate_each(struct client_config *config, const char *part, const json_t *values, struct error *err)
{
	size_t i;
	json_t *value;
	json_array_foreach(values, i, value) {
		int rc = impersonate(config, part, value, err);
		if (rc)
			return rc;
	}
	return 0;
}

/* "as", "as-uid", "as-groups", "as-user-extra". */
static int apply_impersonation(json_t *user, struct client_config *config, struct error *err)
{
	json_t *as = json_object_get(user, "as");
	int rc = json_is_string(as) && !json_string_length(as) ? 0 : impersonate(config, "User", as, err);
	if (!rc)
		rc = impersonate(config, "Uid", json_object_get(user, "as-uid"), err);
	if (!rc)
		rc = impersonate_each(config, "Group", json_object_get(user, "as-groups"), err);
	const char *key;
	json_t *values;
	json_object_foreach(json_object_get(user, "as-user-extra"), key, values) {
		autofree char *part = xprintf("Extra-%s", key);
		rc = rc ? rc : impersonate_each(config, part, values, err);
	}
	return rc;
}

static int apply_user(const struct kubeconfig *from, const char *name, struct client_config *config, struct error *err)
{
	const char *dir;
	if (str_empty(name))
		return 0;
	json_t *user = find_entry(from, "users", name, "user", &dir);
	if (!user)
		return error_set(err, EINVAL, "auth info \"%s\" does not exist", name);
	int rc = load_pem(user, "client-certificate", dir, &config->cert_pem, err);
	if (!rc)
		rc = load_pem(user, "client-key", dir, &config->key_pem, err);
	if (rc)
		return rc;
	if (!config->cert_pem != !config->key_pem)
		return error_set(err, EINVAL, "user \"%s\" has only one of client-certificate and client-key", name);
	set_string(&config->token, string_of(user, "token"));
	const char *token_file = string_of(user, "tokenFile");
	if (!str_empty(token_file))
		config->token_file = resolve(dir, token_file);
	set_string(&config->username, string_of(user, "username"));
	set_string(&config->password, string_of(user, "password"));
	return apply_impersonation(user, config, err);
}

static const char *current_context(const struct kubeconfig *from)
{
	for (size_t i = 0; i < from->len; i++)
		if (!str_empty(string_of(from->files[i], "current-context")))
			return string_of(from->files[i], "current-context");
	return NULL;
}

static int build(const struct kubeconfig *from, const struct client_config_choice *choice, struct client_config *ret, struct error *err)
{
	struct client_config config = {0};
	const char *name = choice && !str_empty(choice->context) ? choice->context : current_context(from), *dir;
	json_t *context = name ? find_entry(from, "contexts", name, "context", &dir) : NULL;
	if (name && !context)
		return error_set(err, EINVAL, "context \"%s\" does not exist", name);
	const char *cluster = choice && !str_empty(choice->cluster) ? choice->cluster : string_of(context, "cluster");
	const char *user = choice && !str_empty(choice->user) ? choice->user : string_of(context, "user");
	if (str_empty(cluster))
		return error_set(err, ENOENT, "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable");
	set_string(&config.default_namespace, string_of(context, "namespace"));
	int rc = apply_cluster(from, cluster, &config, err);
	if (!rc)
		rc = apply_user(from, user, &config, err);
	if (rc) {
		client_config_done(&config);
		error_context(err, "invalid configuration");
		return rc;
	}
	*ret = config;
	return 0;
}

/* A kubeconfig is a mapping; nothing at all counts as an empty one. */
static int add_text(struct kubeconfig *config, const char *text, size_t len, const char *dir, struct error *err)
{
	json_t *tree;
	if (config->len == MAX_FILES)
		return error_set(err, E2BIG, "more than %d kubeconfig files", MAX_FILES);
	int rc = yaml_tree_parse(text, len, &tree, err);
	if (rc)
		return rc;
	if (!json_is_object(tree) && !json_is_null(tree)) {
		json_decref(tree);
		return error_set(err, EINVAL, "it is not a mapping");
	}
	config->files[config->len] = tree;
	config->dirs[config->len++] = dir ? xstrdup(dir) : NULL;
	return 0;
}

static int add_file(struct kubeconfig *config, const char *path, bool must_exist, struct error *err)
{
	autofree char *text = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, path, MAX_KUBECONFIG, &text, &len, err);
	if (rc == -ENOENT && !must_exist) {
		if (err)
			error_done(err), *err = (struct error){0};
		return 0;
	}
	if (rc)
		return rc;
	autofree char *copy = xstrdup(path);
	rc = add_text(config, text, len, dirname(copy), err);
	if (rc)
		error_context(err, "error loading config file \"%s\"", path);
	explicit_bzero(text, len);
	return rc;
}

static int add_default_files(struct kubeconfig *config, struct error *err)
{
	const char *list = getenv("KUBECONFIG"), *home = getenv("HOME");
	if (str_empty(list)) {
		autofree char *path = path_join(str_or(home, "/root"), ".kube/config", NULL);
		return add_file(config, path, false, err);
	}
	int rc = 0;
	for (const char *p = list; !rc && *p;) {
		size_t len = strcspn(p, ":");
		autofree char *path = xstrndup(p, len);
		if (len)
			rc = add_file(config, path, false, err);
		p += len + (p[len] == ':');
	}
	return rc;
}

int client_config_in_cluster(struct client_config *ret, struct error *err)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST"), *port = getenv("KUBERNETES_SERVICE_PORT");
	if (str_empty(host) || str_empty(port) || !file_exists(SERVICE_ACCOUNT_DIR "/token"))
		return error_set(err, ENOENT, "invalid configuration: no configuration has been provided, try setting KUBERNETES_MASTER environment variable");
	struct client_config config = {0};
	autofree char *server = xprintf(strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host, port);
	int rc = file_read(AT_FDCWD, SERVICE_ACCOUNT_DIR "/ca.crt", CLIENT_MAX_PEM, &config.ca_pem, NULL, err);
	if (rc)
		return rc;
	file_read(AT_FDCWD, SERVICE_ACCOUNT_DIR "/namespace", 4096, &config.default_namespace, NULL, NULL);
	add_servers(&config, server);
	config.token_file = xstrdup(SERVICE_ACCOUNT_DIR "/token");
	*ret = config;
	return 0;
}

int client_config_load_choice(const char *path, const struct client_config_choice *choice, struct client_config *ret, struct error *err)
{
	struct kubeconfig config = {0};
	int rc = str_empty(path) ? add_default_files(&config, err) : add_file(&config, path, true, err);
	bool nothing = !rc && str_empty(path) && (!config.len || json_object_size(config.files[0]) == 0);
	if (nothing)
		rc = client_config_in_cluster(ret, err);
	else if (!rc)
		rc = build(&config, choice, ret, err);
	kubeconfig_done(&config);
	return rc;
}

int client_config_load(const char *path, const char *context, struct client_config *ret, struct error *err)
{
	return client_config_load_choice(path, &(struct client_config_choice){.context = context}, ret, err);
}

int client_config_parse(const char *text, size_t len, const char *dir, const struct client_config_choice *choice, struct client_config *ret, struct error *err)
{
	struct kubeconfig config = {0};
	int rc = add_text(&config, text, len, dir, err);
	if (!rc)
		rc = build(&config, choice, ret, err);
	kubeconfig_done(&config);
	return rc;
}

static void free_secret(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void client_config_done(struct client_config *config)
{
	for (size_t i = 0; i < config->servers.len; i++)
		free(config->servers.items[i]);
	free(config->servers.items);
	free(config->ca_pem);
	free(config->cert_pem);
	free_secret(config->key_pem);
	free_secret(config->token);
	free(config->token_file);
	free(config->username);
	free_secret(config->password);
	free(config->tls_server_name);
	free(config->default_namespace);
	for (size_t i = 0; i < config->impersonate.len; i++)
		free(config->impersonate.items[i]);
	free(config->impersonate.items);
	free(config->user_agent);
	*config = (struct client_config){0};
}
