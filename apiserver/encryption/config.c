/* SPDX-License-Identifier: Apache-2.0 */
/* The file of --encryption-provider-config. */
#include "apiserver/encryption/cipher.h"
#include "apiserver/encryption/encryption.h"
#include "common/api/yaml.h"
#include "common/base/arena.h"
#include "common/base/file.h"
#include "common/base/random.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#define MAX_CONFIG (1u << 20)

void encryption_config_unref(struct encryption_config *config) {
	if (!config || __atomic_sub_fetch(&config->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < config->rule_count; i++)
		for (size_t k = 0; k < config->rules[i].key_count; k++)
			if (config->rules[i].keys[k].key)
				explicit_bzero(config->rules[i].keys[k].key, config->rules[i].keys[k].key_len);
	arena_free(config->arena);
	free(config);
}

/* ---- what it says ---- */

static const char *text_of(const json_t *object, const char *key) {
	return str_or(json_string_value(json_object_get(object, key)), "");
}

static int read_key(struct arena *arena, const struct cipher *cipher, const json_t *json, struct encryption_key *ret, struct error *err) {
	const char *name = text_of(json, "name"), *secret = text_of(json, "secret");
	autofree uint8_t *key = NULL;
	size_t len;
	if (!*name || strchr(name, ':'))
		return error_set(err, EINVAL, "a key of %s has no name, or one with a colon", cipher->name);
	if (base64_decode(secret, strlen(secret), 1024, &key, &len) < 0 || !cipher->takes_key(len)) {
		if (key)
			explicit_bzero(key, len);
		return error_set(err, EINVAL, "the secret of key %s of %s is not a key of %s in base64", name, cipher->name, strcmp(cipher->name, "secretbox") == 0 ? "32 bytes" : "16, 24 or 32 bytes");
	}
	*ret = (struct encryption_key){.cipher = cipher, .prefix = arena_printf(arena, "k8s:enc:%s:v1:%s:", cipher->name, name), .key = arena_memdup(arena, key, len), .key_len = len};
	explicit_bzero(key, len);
	return 0;
}

static void add_key(struct encryption_rule *rule, struct arena *arena, const struct encryption_key *key) {
	struct encryption_key *keys = arena_calloc(arena, rule->key_count + 1, sizeof(*keys));
	if (rule->key_count)
		memcpy(keys, rule->keys, rule->key_count * sizeof(*keys));
	keys[rule->key_count++] = *key;
	rule->keys = keys;
}

static int read_provider(struct arena *arena, json_t *json, struct encryption_rule *rule, struct error *err) {
	void *iter = json_object_iter(json);
	const char *name = iter ? json_object_iter_key(iter) : "";
	size_t i;
	json_t *item;
	if (json_object_size(json) != 1)
		return error_set(err, EINVAL, "each provider is an element of its own");
	if (strcmp(name, "identity") == 0) {
		add_key(rule, arena, &(struct encryption_key){.prefix = arena_strdup(arena, "")});
		return 0;
	}
	const struct cipher *cipher = cipher_find(name);
	if (!cipher)
		return error_set(err, EINVAL, "provider %s is not known here: aescbc, aesgcm, secretbox and identity are", name);
	json_t *keys = json_object_get(json_object_iter_value(iter), "keys");
	if (!json_array_size(keys))
		return error_set(err, EINVAL, "at least one key of %s is required", name);
	json_array_foreach(keys, i, item) {
		struct encryption_key key;
		int rc = read_key(arena, cipher, item, &key, err);
		if (rc < 0)
			return rc;
		add_key(rule, arena, &key);
	}
	return 0;
}

static int read_resource(const char *name, struct error *err) {
	if (!*name || strcmp(name, "*") == 0)
		return error_set(err, EINVAL, "resource \"%s\": use '*.' for all resources of the core group, or '*.*' for all", name);
	for (const char *p = name; *p; p++)
		if (isupper((unsigned char)*p))
			return error_set(err, EINVAL, "resource %s has capital letters", name);
	return 0;
}

static int read_rule(struct arena *arena, json_t *json, struct encryption_rule *rule, struct error *err) {
	json_t *resources = json_object_get(json, "resources"), *providers = json_object_get(json, "providers"), *item;
	size_t i;
	int rc = 0;
	if (!json_array_size(resources) || !json_array_size(providers))
		return error_set(err, EINVAL, "at least one resource and one provider are required");
	json_array_foreach(resources, i, item) {
		const char *name = str_or(json_string_value(item), "");
		rc = read_resource(name, err);
		if (rc < 0)
			return rc;
		api_string_list_add(arena, &rule->resources, name);
	}
	json_array_foreach(providers, i, item) {
		rc = read_provider(arena, item, rule, err);
		if (rc < 0)
			return rc;
	}
	return rc;
}

int encryption_config_parse(const char *text, size_t len, struct encryption_config **ret, struct error *err) {
	autobuf struct buf json = BUF_INIT(MAX_CONFIG * 2);
	size_t i;
	json_t *item;
	int rc = yaml_to_json_one(text, len, &json, err);
	if (rc < 0)
		return rc;
	json_t *tree = json_loadb(json.data, json.len, 0, NULL), *rules = json_object_get(tree, "resources");
	struct encryption_config *config = xnew(struct encryption_config);
	config->refs = 1;
	config->arena = arena_new();
	config->rules = arena_calloc(config->arena, json_array_size(rules) + 1, sizeof(*config->rules));
	if (strcmp(text_of(tree, "kind"), "EncryptionConfiguration") != 0 || (strcmp(text_of(tree, "apiVersion"), "apiserver.config.k8s.io/v1") != 0 && strcmp(text_of(tree, "apiVersion"), "v1") != 0))
		rc = error_set(err, EINVAL, "it is no EncryptionConfiguration of apiserver.config.k8s.io/v1");
	else if (!json_array_size(rules))
		rc = error_set(err, EINVAL, "at least one resource is required");
	json_array_foreach(rules, i, item) {
		rc = rc < 0 ? rc : read_rule(config->arena, item, &config->rules[i], err);
		config->rule_count++;
	}
	json_decref(tree);
	explicit_bzero(json.data, json.len);
	if (rc < 0) {
		encryption_config_unref(config);
		return rc;
	}
	*ret = config;
	return 0;
}

int encryption_config_read(const char *path, struct encryption_config **ret, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	int rc = file_read(AT_FDCWD, path, MAX_CONFIG, &text, &len, err);
	if (rc < 0)
		return rc;
	rc = encryption_config_parse(text, len, ret, err);
	explicit_bzero(text, len);
	return rc < 0 ? error_context(err, "encryption configuration %s", path) : 0;
}

/* ---- what it means ---- */

/* secrets, deployments.apps; *.apps and *. of a group; *.* */
static bool names(const char *spec, const char *group, const char *resource) {
	const char *dot = strchr(spec, '.'), *of = dot ? dot + 1 : "";
	size_t len = dot ? (size_t)(dot - spec) : strlen(spec);
	bool any = len == 1 && *spec == '*';
	if (any && strcmp(of, "*") == 0)
		return true;
	return strcmp(of, group) == 0 && (any || (strlen(resource) == len && strncmp(spec, resource, len) == 0));
}

const struct encryption_rule *encryption_rule_find(const struct encryption_config *config, const char *group, const char *resource) {
	for (size_t i = 0; i < config->rule_count; i++)
		for (uint32_t k = 0; k < config->rules[i].resources.len; k++)
			if (names(config->rules[i].resources.items[k], group, resource))
				return &config->rules[i];
	return NULL;
}
