/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn/legacy.h"
#include "api/core_v1.h"
#include "common/base/log.h"

#include <errno.h>
#include <time.h>

#define CLAIM(name) "kubernetes.io/serviceaccount/" name
#define MAX_SECRET ((size_t)4 << 20)

static const char *claim(const json_t *claims, const char *name) {
	return str_or(json_string_value(json_object_get(claims, name)), "");
}

void legacy_today(char *out) {
	struct tm parts;
	time_t now = clock_wall().sec;
	gmtime_r(&now, &parts);
	strftime(out, 16, "%Y-%m-%d", &parts);
}

static bool holds_token(const struct core_v1_secret *secret, const char *token) {
	for (uint32_t i = 0; i < secret->data.len; i++) {
		const struct api_bytes *value = &secret->data.items[i].value;
		if (strcmp(secret->data.items[i].key, "token") == 0)
			return value->len == strlen(token) && memcmp(value->data, token, value->len) == 0;
	}
	return false;
}

static void on_noted(int errnum, struct entry *current, void *arg) {
	if (errnum && errnum != -EAGAIN)
		log_debug(2, "the day a token was used could not be written", LOG_STR("error", strerror(-errnum)));
}

/* Once a day; whoever loses the race to write it needs not write it. */
static void note_use(const struct resource *secrets, const struct entry *entry, const struct core_v1_secret *secret) {
	char today[16];
	legacy_today(today);
	if (str_equal(api_map_get(&secret->metadata.labels, LEGACY_LAST_USED), today))
		return;
	autounref struct core_v1_secret *copy = api_copy(secret);
	autobuf struct buf json = BUF_INIT(MAX_SECRET);
	api_map_set(api_arena(copy), &copy->metadata.labels, LEGACY_LAST_USED, today);
	if (resource_encode_stored(secrets, copy, &json, NULL) == 0 && !buf_failed(&json))
		collection_put(secrets->collection, entry->key, json.data, json.len, entry->resource_version, 0, on_noted, NULL);
}

static int check_secret(struct apiserver *server, const char *ns, const char *name, const char *token, struct error *err) {
	const struct resource *secrets = registry_find(server->registry, "", "v1", "secrets");
	autofree char *key = xprintf("%s/%s", ns, name);
	autoentry struct entry *entry = collection_get(secrets->collection, key);
	autounref struct core_v1_secret *secret = NULL;
	if (!entry || resource_decode(secrets, entry, (void **)&secret, NULL) < 0 || secret->metadata.deletion_timestamp.set || !holds_token(secret, token))
		return error_set(err, EACCES, "service account token has been invalidated");
	if (api_map_get(&secret->metadata.labels, LEGACY_INVALID_SINCE))
		return error_set(err, EACCES, "the token in secret %s/%s has been marked invalid", ns, name);
	note_use(secrets, entry, secret);
	return 0;
}

int legacy_check(struct apiserver *server, const json_t *claims, const char *token, struct arena *arena, struct user **ret, struct error *err) {
	const char *ns = claim(claims, CLAIM("namespace")), *secret = claim(claims, CLAIM("secret.name")), *name = claim(claims, CLAIM("service-account.name")), *uid = claim(claims, CLAIM("service-account.uid"));
	autofree char *subject = xprintf("system:serviceaccount:%s:%s", ns, name);
	if (!*ns || !*secret || !*name || !*uid || !str_equal(claim(claims, "sub"), subject))
		return error_set(err, EACCES, "malformed claims");
	if (server->options->service_account_lookup) {
		int rc = check_secret(server, ns, secret, token, err);
		if (rc < 0)
			return rc;
		autounref struct core_v1_service_account *account = registry_read(server->registry, "", "serviceaccounts", ns, name);
		if (!account || account->metadata.deletion_timestamp.set || !str_equal(account->metadata.uid, uid))
			return error_set(err, EACCES, "service account %s/%s has been deleted", ns, name);
	}
	struct user *user = arena_new_type(arena, struct user);
	const char **groups = arena_calloc(arena, 4, sizeof(*groups));
	user->name = arena_strdup(arena, subject);
	user->uid = arena_strdup(arena, uid);
	groups[0] = "system:serviceaccounts";
	groups[1] = arena_printf(arena, "system:serviceaccounts:%s", ns);
	groups[2] = "system:authenticated";
	user->groups = groups;
	*ret = user;
	return 1;
}
