/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of service accounts: made for TokenRequest, checked against the account and the object they are bound to. */
#include "apiserver/authn/authn.h"
#include "apiserver/authn/legacy.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#include <errno.h>

#define SUBJECT_PREFIX "system:serviceaccount:"
#define CLOCK_SKEW_SECONDS 10

struct signer {
	struct apiserver *server;
	struct jwt_key **keys; /* all that verify; the signing key is among them */
	size_t key_count;
	struct jwt_key *signing; /* borrowed; NULL: none */
	const char **audiences;  /* NULL terminated; borrowed strings */
	const char *issuer;
};

int signer_new(struct apiserver *server, struct signer **ret, struct error *err) {
	const struct apiserver_options *o = server->options;
	struct signer *signer = xnew(struct signer);
	signer->server = server;
	signer->issuer = o->service_account_issuer.len ? o->service_account_issuer.items[0] : "https://kubernetes.default.svc.cluster.local";
	int rc = 0;
	if (!str_empty(o->service_account_signing_key_file)) {
		rc = jwt_keys_load(o->service_account_signing_key_file, &signer->keys, &signer->key_count, err);
		for (size_t i = 0; i < signer->key_count && !signer->signing; i++)
			if (jwt_key_is_private(signer->keys[i]))
				signer->signing = signer->keys[i];
		if (rc == 0 && !signer->signing)
			rc = error_set(err, EINVAL, "--service-account-signing-key-file: holds no private key");
	}
	for (size_t i = 0; rc == 0 && i < o->service_account_key_file.len; i++)
		rc = jwt_keys_load(o->service_account_key_file.items[i], &signer->keys, &signer->key_count, err);
	if (rc < 0) {
		signer_free(signer);
		return rc;
	}
	size_t count = o->api_audiences.len ? o->api_audiences.len : 1;
	signer->audiences = xcalloc(count + 1, sizeof(*signer->audiences));
	for (size_t i = 0; i < count; i++)
		signer->audiences[i] = o->api_audiences.len ? o->api_audiences.items[i] : signer->issuer;
	*ret = signer;
	return 0;
}

void signer_free(struct signer *signer) {
	if (!signer)
		return;
	for (size_t i = 0; i < signer->key_count; i++)
		jwt_key_free(signer->keys[i]);
	free(signer->keys);
	free(signer->audiences);
	free(signer);
}

bool signer_can_sign(const struct signer *signer) {
	return signer && signer->signing;
}

const char *signer_issuer(const struct signer *signer) {
	return signer->issuer;
}

const char *const *signer_audiences(const struct signer *signer) {
	return signer->audiences;
}

void signer_jwks(struct signer *signer, struct buf *out) {
	buf_append_str(out, "{\"keys\":[");
	size_t written = 0;
	for (size_t i = 0; i < signer->key_count; i++) {
		bool seen = false;
		for (size_t n = 0; n < i; n++)
			seen |= strcmp(jwt_key_id(signer->keys[n]), jwt_key_id(signer->keys[i])) == 0;
		if (seen)
			continue;
		if (written++)
			buf_append_char(out, ',');
		jwt_key_jwk(signer->keys[i], out);
	}
	buf_append_str(out, "]}");
}

static json_t *named(const char *name, const char *uid) {
	return json_pack("{s:s, s:s}", "name", name, "uid", str_or(uid, ""));
}

int signer_sign(struct signer *signer, const struct token_request *request, int64_t *ret_expires, char **ret, struct error *err) {
	if (!signer_can_sign(signer))
		return error_status(err, 404, "NotFound", "the server could not find the requested resource");
	int64_t now = clock_wall().sec;
	json_t *audiences = json_array();
	for (const char *const *a = request->audiences; *a; a++)
		json_array_append_new(audiences, json_string(*a));
	char jti[37];
	random_uuid(jti);
	if (request->ret_id)
		memcpy(request->ret_id, jti, sizeof(jti));
	json_t *own = json_pack("{s:s, s:o}", "namespace", request->ns, "serviceaccount", named(request->name, request->uid));
	if (request->node_name)
		json_object_set_new(own, "node", named(request->node_name, request->node_uid));
	if (request->bound_kind) {
		const char *key = strcmp(request->bound_kind, "Pod") == 0 ? "pod" : strcmp(request->bound_kind, "Secret") == 0 ? "secret" : "node";
		json_object_set_new(own, key, named(request->bound_name, request->bound_uid));
	}
	if (request->warn_after)
		json_object_set_new(own, "warnafter", json_integer(now + request->warn_after));
	autofree char *subject = xprintf(SUBJECT_PREFIX "%s:%s", request->ns, request->name);
	json_t *claims = json_pack("{s:o, s:I, s:I, s:s, s:s, s:o, s:I, s:s}", "aud", audiences, "exp", (json_int_t)(now + request->seconds), "iat", (json_int_t)now,
				   "iss", signer->issuer, "jti", jti, "kubernetes.io", own, "nbf", (json_int_t)now, "sub", subject);
	char *text = json_dumps(claims, JSON_COMPACT);
	json_decref(claims);
	int rc = jwt_sign(signer->signing, text, strlen(text), ret, err);
	free(text);
	if (rc == 0)
		*ret_expires = now + request->seconds;
	return rc;
}

/* ---- verification ---- */

static bool issued_by_us(const struct signer *signer, const json_t *claims) {
	const char *issuer = json_string_value(json_object_get(claims, "iss"));
	const struct flag_list *issuers = &signer->server->options->service_account_issuer;
	if (issuer && strcmp(issuer, signer->issuer) == 0)
		return true;
	for (size_t i = 0; issuer && i < issuers->len; i++)
		if (strcmp(issuers->items[i], issuer) == 0)
			return true;
	return false;
}

static const char *claim_string(const json_t *own, const char *object, const char *key) {
	return json_string_value(json_object_get(json_object_get(own, object), key));
}

/* A pod, secret or node that the token is bound to must still be there; one that is being deleted counts for a while. */
static int check_bound(struct signer *signer, const json_t *own, const char *ns, const char *member, const char *plural, struct error *err) {
	const char *name = claim_string(own, member, "name");
	if (!name)
		return 0;
	void *object = registry_read(signer->server->registry, "", plural, ns, name);
	const struct meta_v1_object_meta *meta = object ? api_metadata(object) : NULL;
	bool gone = !meta || !str_equal(meta->uid, claim_string(own, member, "uid")) || (meta->deletion_timestamp.set && meta->deletion_timestamp.t.sec + 60 < clock_wall().sec);
	api_unref(object);
	return gone ? error_set(err, EACCES, "service account token has been invalidated") : 0;
}

static int check_account(struct signer *signer, const json_t *own, const char *ns, const char *name, struct error *err) {
	if (!signer->server->options->service_account_lookup)
		return 0;
	void *account = registry_read(signer->server->registry, "", "serviceaccounts", ns, name);
	const struct meta_v1_object_meta *meta = account ? api_metadata(account) : NULL;
	bool good = meta && str_equal(meta->uid, claim_string(own, "serviceaccount", "uid")) && !(meta->deletion_timestamp.set && meta->deletion_timestamp.t.sec + 60 < clock_wall().sec);
	api_unref(account);
	if (!good)
		return error_set(err, EACCES, "service account %s/%s has been deleted", ns, name);
	int rc = check_bound(signer, own, ns, "pod", "pods", err);
	if (rc == 0)
		rc = check_bound(signer, own, ns, "secret", "secrets", err);
	return rc;
}

static void add_extra(struct arena *arena, struct user *user, const char *key, const char *value) {
	if (str_empty(value))
		return;
	const char **values = arena_calloc(arena, 2, sizeof(*values));
	values[0] = arena_strdup(arena, value);
	user->extra[user->extra_count++] = (struct user_extra){.key = key, .values = values};
}

static struct user *make_user(struct arena *arena, const json_t *claims, const json_t *own, const char *ns, const char *name) {
	struct user *user = arena_new_type(arena, struct user);
	user->name = arena_printf(arena, SUBJECT_PREFIX "%s:%s", ns, name);
	user->uid = arena_strdup(arena, claim_string(own, "serviceaccount", "uid"));
	const char **groups = arena_calloc(arena, 4, sizeof(*groups));
	groups[0] = "system:serviceaccounts";
	groups[1] = arena_printf(arena, "system:serviceaccounts:%s", ns);
	groups[2] = "system:authenticated";
	user->groups = groups;
	user->extra = arena_calloc(arena, 8, sizeof(*user->extra));
	const char *jti = json_string_value(json_object_get(claims, "jti"));
	if (jti)
		add_extra(arena, user, "authentication.kubernetes.io/credential-id", arena_printf(arena, "JTI=%s", jti));
	add_extra(arena, user, "authentication.kubernetes.io/node-name", claim_string(own, "node", "name"));
	add_extra(arena, user, "authentication.kubernetes.io/node-uid", claim_string(own, "node", "uid"));
	add_extra(arena, user, "authentication.kubernetes.io/pod-name", claim_string(own, "pod", "name"));
	add_extra(arena, user, "authentication.kubernetes.io/pod-uid", claim_string(own, "pod", "uid"));
	return user;
}

static int check_claims(struct signer *signer, const json_t *claims, const char *const *audiences, struct arena *arena, struct user **ret, const char *const **ret_audiences, struct error *err) {
	int64_t now = clock_wall().sec;
	if (json_integer_value(json_object_get(claims, "exp")) + CLOCK_SKEW_SECONDS < now)
		return error_set(err, EACCES, "service account token has expired");
	if (json_integer_value(json_object_get(claims, "nbf")) > now + CLOCK_SKEW_SECONDS)
		return error_set(err, EACCES, "service account token is not valid yet");
	if (!audiences || !*audiences)
		audiences = signer->audiences;
	size_t wanted = 0, matched = 0;
	while (audiences[wanted])
		wanted++;
	const char **good = arena_calloc(arena, wanted + 1, sizeof(*good));
	for (size_t i = 0; i < wanted; i++)
		if (jwt_is_for(claims, audiences[i]))
			good[matched++] = arena_strdup(arena, audiences[i]);
	if (!matched)
		return error_set(err, EACCES, "token audiences are invalid for the target audiences");
	const json_t *own = json_object_get(claims, "kubernetes.io");
	const char *ns = json_string_value(json_object_get(own, "namespace"));
	const char *name = claim_string(own, "serviceaccount", "name");
	const char *subject = json_string_value(json_object_get(claims, "sub"));
	autofree char *expected = xprintf(SUBJECT_PREFIX "%s:%s", str_or(ns, ""), str_or(name, ""));
	if (!ns || !name || !str_equal(subject, expected))
		return error_set(err, EACCES, "malformed claims");
	int rc = check_account(signer, own, ns, name, err);
	if (rc < 0)
		return rc;
	*ret = make_user(arena, claims, own, ns, name);
	if (ret_audiences)
		*ret_audiences = good;
	return 1;
}

/* Tokens of Secrets name no audience: they are good for the server's own. */
static int check_legacy(struct signer *signer, const json_t *claims, const char *token, const char *const *audiences, struct arena *arena, struct user **ret, const char *const **ret_audiences, struct error *err) {
	size_t own = 0, matched = 0;
	while (signer->audiences[own])
		own++;
	const char **good = arena_calloc(arena, own + 1, sizeof(*good));
	for (size_t i = 0; i < own; i++) {
		bool wanted = !audiences || !*audiences;
		for (const char *const *a = audiences; !wanted && *a; a++)
			wanted = strcmp(*a, signer->audiences[i]) == 0;
		if (wanted)
			good[matched++] = arena_strdup(arena, signer->audiences[i]);
	}
	if (!matched)
		return error_set(err, EACCES, "token audiences are invalid for the target audiences");
	int rc = legacy_check(signer->server, claims, token, arena, ret, err);
	if (rc == 1 && ret_audiences)
		*ret_audiences = good;
	return rc;
}

/* ---- metrics ---- */

enum { LEGACY, STALE, VALID };
static struct metric metrics[] = {
	[LEGACY] = {.name = "serviceaccount_legacy_tokens_total", .help = "Cumulative legacy service account tokens used.", .kind = METRIC_COUNTER},
	[STALE] = {.name = "serviceaccount_stale_tokens_total", .help = "Cumulative stale projected service account tokens used.", .kind = METRIC_COUNTER},
	[VALID] = {.name = "serviceaccount_valid_tokens_total", .help = "Cumulative valid projected service account tokens used.", .kind = METRIC_COUNTER},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

/* A token past `warnafter` lives on only for clients that do not read theirs again. */
static void count_use(bool legacy, const json_t *claims) {
	json_int_t warn = json_integer_value(json_object_get(json_object_get(claims, "kubernetes.io"), "warnafter"));
	bool stale = warn && clock_wall().sec > warn;
	metric_add(metric_label(&metrics[legacy ? LEGACY : stale ? STALE : VALID]), 1);
}

int signer_verify(struct signer *signer, const char *token, const char *const *audiences, struct arena *arena, struct user **ret, const char *const **ret_audiences, struct error *err) {
	json_t *claims = jwt_peek(token);
	bool legacy = claims && str_equal(json_string_value(json_object_get(claims, "iss")), LEGACY_ISSUER);
	bool ours = legacy || (claims && issued_by_us(signer, claims));
	json_decref(claims);
	if (!ours || !signer->key_count)
		return 0;
	int rc = jwt_verify(signer->keys, signer->key_count, token, &claims, err);
	if (rc < 0)
		return rc;
	if (legacy)
		rc = check_legacy(signer, claims, token, audiences, arena, ret, ret_audiences, err);
	else
		rc = check_claims(signer, claims, audiences, arena, ret, ret_audiences, err);
	if (rc == 1)
		count_use(legacy, claims);
	json_decref(claims);
	return rc;
}
