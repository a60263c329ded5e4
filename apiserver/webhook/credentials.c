/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/webhook/credentials.h"
#include "common/base/file.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "common/client/yaml_tree.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>

#define MAX_FILE ((size_t)1 << 20)

struct webhook_credentials {
	struct map users; /* struct webhook_credential by name */
	char *current;    /* the user of the current context; NULL: none */
};

static const char *text_of(const json_t *object, const char *key) {
	return json_string_value(json_object_get(object, key));
}

static void credential_free(void *arg) {
	struct webhook_credential *c = arg;
	if (c->own)
		explicit_bzero(c->own, c->own_len);
	free(c->own);
	free(c->authorization);
	free(c->token_file);
	free(c->name);
	free(c);
}

void webhook_credentials_free(struct webhook_credentials *credentials) {
	if (!credentials)
		return;
	map_done(&credentials->users);
	free(credentials->current);
	free(credentials);
}

/* ---- reading ---- */

static char *full_path(const char *folder, const char *path) {
	return *path == '/' ? xstrdup(path) : path_join(folder, path, NULL);
}

/* <key>-data in base64, or the file that <key> names; appended with a line feed. */
static int add_pem(const json_t *user, const char *key, const char *folder, struct buf *out, struct error *err) {
	autofree char *data_key = xconcat(key, "-data"), *text = NULL;
	const char *data = text_of(user, data_key), *path = text_of(user, key);
	size_t len = 0;
	if (!str_empty(data)) {
		uint8_t *bytes;
		if (base64_decode(data, strlen(data), MAX_FILE, &bytes, &len) < 0)
			return error_set(err, EINVAL, "%s is no base64", data_key);
		text = (char *)bytes;
	} else if (!str_empty(path)) {
		autofree char *full = full_path(folder, path);
		int rc = file_read(AT_FDCWD, full, MAX_FILE, &text, &len, err);
		if (rc < 0)
			return rc;
	} else {
		return 0;
	}
	buf_append(out, text, len);
	buf_append_char(out, '\n');
	explicit_bzero(text, len);
	return 1;
}

static int read_certificate(const json_t *user, const char *folder, struct webhook_credential *c, struct error *err) {
	autobuf struct buf pem = BUF_INIT(4 * MAX_FILE);
	int certificate = add_pem(user, "client-certificate", folder, &pem, err), key = certificate < 0 ? 0 : add_pem(user, "client-key", folder, &pem, err);
	if (certificate < 0 || key < 0)
		return -EINVAL;
	if (certificate != key)
		return error_set(err, EINVAL, "it has only one of client-certificate and client-key");
	if (certificate) {
		c->own = xmemdup(pem.data, pem.len);
		c->own_len = pem.len;
		explicit_bzero(pem.data, pem.len);
	}
	return 0;
}

static void read_words(const json_t *user, const char *folder, struct webhook_credential *c) {
	const char *token = text_of(user, "token"), *file = text_of(user, "tokenFile"), *name = text_of(user, "username"), *password = text_of(user, "password");
	if (!str_empty(token))
		c->authorization = xconcat("Bearer ", token);
	if (!str_empty(file))
		c->token_file = full_path(folder, file);
	if (c->authorization || c->token_file || (str_empty(name) && str_empty(password)))
		return;
	autobuf struct buf pair = BUF_INIT(MAX_FILE), coded = BUF_INIT(2 * MAX_FILE);
	buf_printf(&pair, "%s:%s", str_or(name, ""), str_or(password, ""));
	buf_append_str(&coded, "Basic ");
	buf_append_base64(&coded, pair.data, pair.len);
	c->authorization = buf_take(&coded);
}

static int read_user(const json_t *user, const char *folder, struct webhook_credential *c, struct error *err) {
	static const char *const others[] = {"exec", "auth-provider", "as", "as-uid", "as-groups", "as-user-extra"};
	for (size_t i = 0; i < array_len(others); i++)
		if (json_is_true(json_object_get(user, others[i])) || json_object_size(json_object_get(user, others[i])) || json_array_size(json_object_get(user, others[i])) || !str_empty(text_of(user, others[i])))
			return error_set(err, EINVAL, "%s is not served for webhooks", others[i]);
	read_words(user, folder, c);
	return read_certificate(user, folder, c, err);
}

int webhook_credentials_parse(const char *text, size_t len, const char *folder, struct webhook_credentials **ret, struct error *err) {
	json_t *tree, *item;
	size_t i;
	int rc = yaml_tree_parse(text, len, &tree, err);
	if (rc < 0)
		return rc;
	struct webhook_credentials *credentials = xnew(struct webhook_credentials);
	credentials->users = MAP_INIT(credential_free);
	if (!json_is_object(tree) || (text_of(tree, "kind") && strcmp(text_of(tree, "kind"), "Config") != 0))
		rc = error_set(err, EINVAL, "it is no kubeconfig");
	json_array_foreach(json_object_get(tree, "users"), i, item) {
		const char *name = text_of(item, "name");
		if (rc < 0 || !name || map_has(&credentials->users, name))
			continue;
		struct webhook_credential *c = xnew(struct webhook_credential);
		c->name = xstrdup(name);
		map_set(&credentials->users, name, c);
		rc = read_user(json_object_get(item, "user"), folder, c, err);
		if (rc < 0)
			error_context(err, "user \"%s\"", name);
	}
	const char *current = text_of(tree, "current-context");
	json_array_foreach(json_object_get(tree, "contexts"), i, item)
		if (!str_empty(current) && str_equal(text_of(item, "name"), current) && !credentials->current && !str_empty(text_of(json_object_get(item, "context"), "user")))
			credentials->current = xstrdup(text_of(json_object_get(item, "context"), "user"));
	json_decref(tree);
	if (rc < 0)
		webhook_credentials_free(credentials);
	else
		*ret = credentials;
	return rc;
}

int webhook_credentials_read(const char *path, struct webhook_credentials **ret, struct error *err) {
	autofree char *text = NULL, *copy = xstrdup(path);
	size_t len;
	int rc = file_read(AT_FDCWD, path, MAX_FILE, &text, &len, err);
	if (rc == 0)
		rc = webhook_credentials_parse(text, len, dirname(copy), ret, err);
	return rc < 0 ? error_context(err, "kubeconfig %s", path) : 0;
}

/* ---- who it is ---- */

/* The name itself, or with a star for its first labels: the longest that is left first. */
static const struct webhook_credential *find_name(const struct webhook_credentials *credentials, const char *name) {
	const struct webhook_credential *c = map_get(&credentials->users, name);
	for (const char *dot = strchr(name, '.'); !c && dot; dot = strchr(dot + 1, '.')) {
		autofree char *starred = xconcat("*", dot);
		c = map_get(&credentials->users, starred);
	}
	return c;
}

const struct webhook_credential *webhook_credentials_find(const struct webhook_credentials *credentials, const char *host, uint16_t port) {
	if (!credentials)
		return NULL;
	autofree char *target = xprintf(strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port);
	const struct webhook_credential *c = find_name(credentials, target);
	if (!c && port == 443)
		c = find_name(credentials, host);
	if (!c)
		c = map_get(&credentials->users, "*");
	return c || !credentials->current ? c : map_get(&credentials->users, credentials->current);
}

int webhook_credential_authorization(const struct webhook_credential *c, char **ret, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	*ret = NULL;
	if (!c)
		return 0;
	if (!c->token_file) {
		*ret = c->authorization ? xstrdup(c->authorization) : NULL;
		return 0;
	}
	/* A file has the last word, as long as it can be read. */
	int rc = file_read(AT_FDCWD, c->token_file, MAX_FILE, &text, &len, err);
	if (rc < 0 && !c->authorization)
		return rc;
	if (rc == 0)
		for (; len && strchr(" \t\r\n", text[len - 1]); text[--len] = '\0')
			;
	*ret = rc == 0 ? xconcat("Bearer ", text) : xstrdup(c->authorization);
	return 0;
}
