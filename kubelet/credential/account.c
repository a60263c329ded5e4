/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/credential/account.h"

#include "common/base/random.h"

#include <errno.h>

static void free_strings(char **list) {
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static bool has(char *const *list, const char *text) {
	for (size_t i = 0; list && list[i]; i++)
		if (str_equal(list[i], text))
			return true;
	return false;
}

/* Keys of annotations, each once. */
static int read_keys(json_t *json, const char *field, char **const others, char ***ret, struct error *err) {
	json_t *list = json_object_get(json, field);
	*ret = xcalloc(json_array_size(list) + 1, sizeof(char *));
	for (size_t i = 0; i < json_array_size(list); i++) {
		const char *key = json_string_value(json_array_get(list, i));
		if (str_empty(key) || has(*ret, key) || has(others, key))
			return error_set(err, EINVAL, "tokenAttributes.%s: \"%s\" is empty, or stands there twice", field, str_or(key, ""));
		(*ret)[i] = xstrdup(key);
	}
	return 0;
}

int account_rule_read(json_t *json, struct account_rule *ret, struct error *err) {
	const char *audience = json_string_value(json_object_get(json, "serviceAccountTokenAudience")), *cache = json_string_value(json_object_get(json, "cacheType"));
	json_t *required = json_object_get(json, "requireServiceAccount");
	if (str_empty(audience))
		return error_set(err, EINVAL, "tokenAttributes.serviceAccountTokenAudience is required");
	if (!json_is_boolean(required))
		return error_set(err, EINVAL, "tokenAttributes.requireServiceAccount is required");
	if (!str_equal(cache, "Token") && !str_equal(cache, "ServiceAccount"))
		return error_set(err, EINVAL, "tokenAttributes.cacheType: want ServiceAccount or Token");
	ret->audience = xstrdup(audience);
	ret->required = json_is_true(required);
	ret->per_token = str_equal(cache, "Token");
	int r = read_keys(json, "requiredServiceAccountAnnotationKeys", NULL, &ret->needed, err);
	if (r == 0)
		r = read_keys(json, "optionalServiceAccountAnnotationKeys", ret->needed, &ret->wanted, err);
	if (r == 0 && ret->needed[0] && !ret->required)
		r = error_set(err, EINVAL, "tokenAttributes.requiredServiceAccountAnnotationKeys: want requireServiceAccount");
	return r;
}

void account_rule_done(struct account_rule *rule) {
	free(rule->audience);
	free_strings(rule->needed);
	free_strings(rule->wanted);
	*rule = (struct account_rule){0};
}

static int add_annotations(char *const *keys, bool needed, const struct core_v1_service_account *account, json_t *out, struct error *err) {
	for (size_t i = 0; keys[i]; i++) {
		const char *value = api_map_get(&account->metadata.annotations, keys[i]);
		if (value)
			json_object_set_new(out, keys[i], json_string(value));
		else if (needed)
			return error_set(err, ENOENT, "required annotation %s not found", keys[i]);
	}
	return 0;
}

/* A hash, as it holds a token where that counts. */
static char *key_of(const struct account_rule *rule, const struct core_v1_service_account *account, const struct account *a) {
	autofree char *annotations = json_dumps(a->annotations, JSON_COMPACT | JSON_SORT_KEYS);
	autofree char *text = xprintf("%s/%s/%s/%s/%s", account->metadata.namespace, account->metadata.name, account->metadata.uid, annotations, rule->per_token ? a->token : "");
	char hex[65];
	sha256_hex(text, strlen(text), hex);
	memset(text, 0, strlen(text));
	return xstrdup(hex);
}

int account_of(const struct account_rule *rule, const struct credential_pod *pod, struct account *ret, struct error *err) {
	autounref struct core_v1_service_account *account = NULL;
	autoaccount struct account a = {0};
	if (!rule->audience || ((!pod || str_empty(pod->account)) && !rule->required)) {
		*ret = (struct account){.key = xstrdup("")};
		return 0;
	}
	if (!pod || str_empty(pod->account))
		return error_set(err, ENOENT, "the pod has no service account");
	int r = pod->read_account(pod, &account, err);
	if (r < 0) {
		error_context(err, "service account \"%s\"", pod->account);
		return r == -ENOENT ? -EIO : r;
	}
	a.annotations = json_object();
	r = add_annotations(rule->needed, true, account, a.annotations, err);
	if (r == 0)
		r = add_annotations(rule->wanted, false, account, a.annotations, err);
	if (r == 0)
		r = pod->get_token(pod, rule->audience, &a.token, err);
	if (r < 0)
		return r;
	a.key = key_of(rule, account, &a);
	*ret = a;
	a = (struct account){0};
	return 0;
}

void account_done(struct account *account) {
	if (account->token)
		memset(account->token, 0, strlen(account->token));
	free(account->token);
	free(account->key);
	json_decref(account->annotations);
	*account = (struct account){0};
}
