/* SPDX-License-Identifier: Apache-2.0 */
/* The file of --encryption-provider-config. */
#include "apiserver/encryption/cipher.h"
#include "apiserver/encryption/encryption.h"
#include "apiserver/encryption/kms.h"
#include "apiserver/configfile.h"
#include "apiserver/validation/validation.h"
#include "api/apiserver_v1.h"
#include "common/base/arena.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/random.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>

#define MAX_CONFIG CONFIGFILE_MAX
#define KMS_TIMEOUT_NS (3 * NSEC_PER_SEC)
#define WHAT "encryption configuration"

void encryption_config_unref(struct encryption_config *config) {
	if (!config || __atomic_sub_fetch(&config->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < config->rule_count; i++)
		for (size_t k = 0; k < config->rules[i].key_count; k++) {
			struct encryption_key *key = &config->rules[i].keys[k];
			kms_free(key->kms);
			if (key->key)
				explicit_bzero(key->key, key->key_len);
		}
	arena_free(config->arena);
	free(config);
}

int encryption_config_start(struct encryption_config *config, const char *server_id, void (*recovered)(void *arg), void *arg, struct error *err) {
	int rc = 0;
	for (size_t i = 0; i < config->rule_count; i++)
		for (size_t k = 0; rc == 0 && k < config->rules[i].key_count; k++) {
			struct encryption_key *key = &config->rules[i].keys[k];
			struct kms_options options = KMS_OPTIONS_INIT;
			if (!key->is_kms)
				continue;
			options.name = key->name;
			options.endpoint = key->endpoint;
			options.timeout_ns = key->timeout_ns;
			options.server_id = server_id;
			options.recovered = recovered;
			options.arg = arg;
			rc = kms_new(&options, &key->kms, err);
		}
	return rc;
}

/* ---- what is wrong with it ---- */

/* "secrets", "deployments.apps": what stands before the first dot, and behind it. */
struct group_resource {
	const char *group;
	size_t len; /* of the resource */
};

static struct group_resource split(const char *name) {
	const char *dot = strchr(name, '.');
	return (struct group_resource){dot ? dot + 1 : "", dot ? (size_t)(dot - name) : strlen(name)};
}

static bool is_any(const char *name, struct group_resource gr) {
	return gr.len == 1 && *name == '*';
}

static bool is_everything(const char *name) {
	return strcmp(name, "*.*") == 0;
}

static void check_overlap(const struct api_string_list *names, const struct path *path, struct error *found) {
	bool twice = false, overlap = false;
	for (uint32_t i = 0; i < names->len; i++)
		for (uint32_t k = 0; k < names->len; k++) {
			const char *a = str_or(names->items[i], ""), *b = str_or(names->items[k], "");
			struct group_resource x = split(a), y = split(b);
			bool same_group = strcmp(x.group, y.group) == 0;
			if (i == k)
				continue;
			if (!twice && same_group && x.len == y.len && memcmp(a, b, x.len) == 0)
				twice = true;
			else
				overlap |= is_everything(a) || (same_group && (is_any(a, x) || is_any(b, y)));
		}
	if (twice)
		invalid_list(found, path, names, "the same resource cannot be specified multiple times");
	if (overlap)
		invalid_list(found, path, names, "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked");
}

static void check_name(const char *name, const struct path *path, struct error *found) {
	static const char *const none[] = {"apiserveripinfo", "serviceipallocations", "servicenodeportallocations"};
	struct group_resource gr = split(name);
	for (const char *p = name; *p; p++)
		if (isupper((unsigned char)*p))
			return invalid(found, path, name, "resource name should not contain capital letters");
	if (strcmp(name, "*") == 0)
		return invalid(found, path, name, "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources");
	for (size_t i = 0; i < array_len(none); i++)
		if (strcmp(name, none[i]) == 0)
			return invalid(found, path, name, "resources which do not have REST API/s cannot be encrypted");
	if (strcmp(gr.group, "events.k8s.io") == 0)
		return invalid(found, path, name, "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file");
	if (strcmp(gr.group, "extensions") == 0)
		return invalid(found, path, name, "'extensions' group has been removed and cannot be used for encryption");
	if (strcmp(gr.group, "*") == 0 && !is_any(name, gr))
		return invalid(found, path, name, "encrypting the same resource across groups is not supported");
}

static void check_keys(const struct apiserver_v1_keys_configuration *list, bool box, const struct path *at, struct error *found) {
	if (!list->keys.len)
		return required(found, AT("keys"), "at least one keys is required");
	for (uint32_t i = 0; i < list->keys.len; i++) {
		const struct apiserver_v1_encryption_key *key = &list->keys.items[i];
		const struct path item = PATH_INDEX(at, "keys", i), secret = PATH(&item, "secret");
		autofree uint8_t *bytes = NULL;
		size_t len = 0;
		if (str_empty(key->name))
			required(found, &PATH(&item, "name"), "name is a mandatory field for a key");
		if (str_empty(key->secret)) {
			required(found, &secret, "secret is a mandatory field for a key");
			continue;
		}
		if (base64_decode(key->secret, strlen(key->secret), MAX_CONFIG, &bytes, &len) < 0)
			invalid(found, &secret, "REDACTED", "secrets must be base64 encoded");
		else if (!cipher_find(box ? "secretbox" : "aesgcm")->takes_key(len))
			invalid(found, &secret, "REDACTED", "secret is not of the expected length, got %zu, expected one of %s", len, box ? "[32]" : "[16 24 32]");
		if (bytes)
			explicit_bzero(bytes, len);
	}
}

static const char *kms_version(const struct apiserver_v1_kms_configuration *kms) {
	return str_empty(kms->api_version) ? "v1" : kms->api_version;
}

static void check_endpoint(const char *endpoint, const struct path *path, struct error *found) {
	static const char unix_scheme[] = "unix://";
	if (str_empty(endpoint))
		return invalid(found, path, "", "endpoint is a mandatory field for a kms");
	size_t scheme = strcspn(endpoint, ":/");
	if (endpoint[scheme] != ':')
		scheme = 0;
	if (scheme != 4 || strncmp(endpoint, "unix", 4) != 0)
		return invalid(found, path, endpoint, "unsupported scheme \"%.*s\" for KMS provider, only unix is supported", (int)scheme, endpoint);
	if (!str_starts_with(endpoint, unix_scheme) || endpoint[strlen(unix_scheme)] != '/')
		invalid(found, path, endpoint, "invalid endpoint for kms provider, error: it names no socket by an absolute path");
}

static void check_kms(const struct apiserver_v1_kms_configuration *kms, struct map *names, const struct path *at, struct error *found) {
	const char *version = kms_version(kms), *name = str_or(kms->name, "");
	bool second = strcmp(version, "v1") != 0;
	if (!*name)
		required(found, AT("name"), "name is a mandatory field for a provider");
	if (second && strchr(name, ':'))
		invalid(found, AT("name"), name, "invalid KMS provider name %s, must not contain ':'", name);
	if (seen_before(names, name) && second)
		invalid(found, AT("name"), name, "duplicate KMS provider name %s, names must be unique", name);
	if (kms->timeout && kms->timeout->ns <= 0) {
		char text[40];
		duration_format(kms->timeout->ns, text);
		invalid(found, AT("timeout"), text, "timeout should be a positive value");
	}
	check_endpoint(kms->endpoint, AT("endpoint"), found);
	if (second && kms->cachesize)
		invalid_int(found, AT("cachesize"), *kms->cachesize, "cachesize is not supported in v2");
	if (!second && kms->cachesize && *kms->cachesize == 0)
		invalid_int(found, AT("cachesize"), 0, "cachesize should be a positive value, or negative to disable");
	if (second && strcmp(version, "v2") != 0)
		invalid(found, AT("apiVersion"), version, "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported");
}

static void check_provider(const struct apiserver_v1_provider_configuration *p, struct map *names, const struct path *at, struct error *found) {
	int count = (p->kms != NULL) + (p->aesgcm != NULL) + (p->aescbc != NULL) + (p->secretbox != NULL) + (p->identity != NULL);
	if (count == 0)
		invalid_plain(found, at, "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity");
	if (count > 1)
		invalid_plain(found, at, "more than one provider specified in a single element, should split into different list elements");
	if (p->kms)
		check_kms(p->kms, names, AT("kms"), found);
	else if (p->aesgcm)
		check_keys(p->aesgcm, false, AT("aesgcm"), found);
	else if (p->aescbc)
		check_keys(p->aescbc, false, AT("aescbc"), found);
	else if (p->secretbox)
		check_keys(p->secretbox, true, AT("secretbox"), found);
}

static void check_rules(const struct apiserver_v1_resource_configuration_array *rules, struct error *found) {
	automap struct map names = MAP_INIT(NULL);
	if (!rules->len)
		required(found, &PATH(NULL, "resources"), "at least one resources is required");
	for (uint32_t i = 0; i < rules->len; i++) {
		const struct apiserver_v1_resource_configuration *rule = &rules->items[i];
		const struct path item = PATH_INDEX(NULL, "resources", i), *at = &item, resources = PATH(at, "resources"), providers = PATH(at, "providers");
		autofree char *no_resource = xprintf("at least one resources[%u].resources is required", i), *no_provider = xprintf("at least one resources[%u].providers is required", i);
		if (!rule->resources.len)
			required(found, &resources, no_resource);
		check_overlap(&rule->resources, &resources, found);
		for (uint32_t n = 0; n < rule->resources.len; n++)
			check_name(str_or(rule->resources.items[n], ""), AT_INDEX("resources", n), found);
		if (!rule->providers.len)
			required(found, &providers, no_provider);
		for (uint32_t n = 0; n < rule->providers.len; n++)
			check_provider(&rule->providers.items[n], &names, AT_INDEX("providers", n), found);
	}
}

/* ---- what it says ---- */

static void take_keys(struct encryption_config *config, struct encryption_rule *rule, const char *cipher, const struct apiserver_v1_keys_configuration *list) {
	for (uint32_t i = 0; i < list->keys.len; i++) {
		const struct apiserver_v1_encryption_key *from = &list->keys.items[i];
		struct encryption_key *key = &rule->keys[rule->key_count++];
		autofree uint8_t *bytes = NULL;
		base64_decode(from->secret, strlen(from->secret), MAX_CONFIG, &bytes, &key->key_len);
		key->cipher = cipher_find(cipher);
		key->prefix = arena_printf(config->arena, "k8s:enc:%s:v1:%s:", cipher, from->name);
		key->key = arena_memdup(config->arena, bytes, key->key_len);
		explicit_bzero(bytes, key->key_len);
		explicit_bzero((char *)(uintptr_t)from->secret, strlen(from->secret)); /* our own copy */
	}
}

static void take_kms(struct encryption_config *config, struct encryption_rule *rule, const struct apiserver_v1_kms_configuration *from) {
	rule->keys[rule->key_count++] = (struct encryption_key){
		.is_kms = true,
		.prefix = arena_printf(config->arena, KMS_PREFIX "%s:", from->name),
		.name = arena_strdup(config->arena, from->name),
		.endpoint = arena_strdup(config->arena, from->endpoint),
		.timeout_ns = from->timeout ? from->timeout->ns : KMS_TIMEOUT_NS,
	};
	config->has_kms = true;
}

/* Whether an earlier rule leaves nothing to this one. */
static int check_mask(const struct encryption_config *config, const char *name, struct error *err) {
	struct group_resource gr = split(name);
	for (size_t i = 0; i < config->rule_count; i++)
		for (uint32_t k = 0; k < config->rules[i].resources.len; k++) {
			const char *earlier = config->rules[i].resources.items[k];
			struct group_resource other = split(earlier);
			if (is_everything(earlier) || (is_any(earlier, other) && strcmp(other.group, gr.group) == 0))
				return error_set(err, EINVAL, "resource \"%s\" is masked by earlier rule \"%s\"", name, earlier);
		}
	return 0;
}

static int take_rule(struct encryption_config *config, const struct apiserver_v1_resource_configuration *from, struct error *err) {
	struct encryption_rule *rule = &config->rules[config->rule_count];
	size_t count = 0;
	for (uint32_t i = 0; i < from->resources.len; i++) {
		const char *name = str_or(from->resources.items[i], "");
		int rc = check_mask(config, name, err);
		if (rc < 0)
			return rc;
		api_string_list_add(config->arena, &rule->resources, name);
	}
	for (uint32_t i = 0; i < from->providers.len; i++) {
		const struct apiserver_v1_provider_configuration *p = &from->providers.items[i];
		const struct apiserver_v1_keys_configuration *keys = p->aesgcm ? p->aesgcm : p->aescbc ? p->aescbc : p->secretbox;
		count += keys ? keys->keys.len : 1;
	}
	rule->keys = arena_calloc(config->arena, count, sizeof(*rule->keys));
	config->rule_count++;
	for (uint32_t i = 0; i < from->providers.len; i++) {
		const struct apiserver_v1_provider_configuration *p = &from->providers.items[i];
		if (p->kms && strcmp(kms_version(p->kms), "v1") == 0)
			return error_set(err, EINVAL, "KMSv1 is deprecated, and not spoken here: use KMSv2 instead (resources[%zu].providers[%u].kms.apiVersion: v2)", config->rule_count - 1, i);
		if (p->kms)
			take_kms(config, rule, p->kms);
		else if (p->aesgcm)
			take_keys(config, rule, "aesgcm", p->aesgcm);
		else if (p->aescbc)
			take_keys(config, rule, "aescbc", p->aescbc);
		else if (p->secretbox)
			take_keys(config, rule, "secretbox", p->secretbox);
		else
			rule->keys[rule->key_count++].prefix = arena_strdup(config->arena, "");
	}
	return 0;
}

static int take_rules(const struct apiserver_v1_resource_configuration_array *rules, struct encryption_config **ret, struct error *err) {
	autoerror struct error found = {0};
	int rc = 0;
	check_rules(rules, &found);
	if (configfile_verdict(&found, WHAT, err) < 0)
		return -EINVAL;
	struct encryption_config *config = xnew(struct encryption_config);
	config->refs = 1;
	config->arena = arena_new();
	config->rules = arena_calloc(config->arena, rules->len, sizeof(*config->rules));
	for (uint32_t i = 0; rc == 0 && i < rules->len; i++)
		rc = take_rule(config, &rules->items[i], err);
	if (rc < 0)
		encryption_config_unref(config);
	else
		*ret = config;
	return rc;
}

int encryption_config_parse(const char *text, size_t len, struct encryption_config **ret, struct error *err) {
	static const char *const versions[] = {"apiserver.config.k8s.io/v1", NULL}, *const old[] = {"v1", NULL};
	const struct apiserver_v1_resource_configuration_array *rules = NULL;
	autoerror struct error why = {0};
	void *object;
	int rc = configfile_parse(text, len, &apiserver_v1_encryption_configuration_type, versions, &object, err);
	if (rc == 0)
		rules = &((struct apiserver_v1_encryption_configuration *)object)->resources;
	else if (configfile_parse(text, len, &apiserver_v1_encryption_config_type, old, &object, &why) == 0)
		rules = &((struct apiserver_v1_encryption_config *)object)->resources;
	if (!rules)
		return rc;
	rc = take_rules(rules, ret, err);
	api_unref(object);
	if (rc == 0) {
		memcpy((*ret)->hash, "sha256:", 7);
		sha256_hex(text, len, (*ret)->hash + 7);
	}
	return rc;
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
