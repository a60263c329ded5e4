/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who asks, by client certificate or by token (TokenReview), and whether he may (SubjectAccessReview on the node's subresources). Answers are
 * kept for a while, which is configured for what is allowed, what is not, and tokens.
 */
#include "api/authentication_v1.h"
#include "api/authorization_v1.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "kubelet/server/server.h"

#include <errno.h>
#include <pthread.h>
#include <strings.h>

#define MAX_CACHED 4096 /* entries of each cache; past it the cache starts anew */

struct identity {
	char *name;
	char *uid;
	struct flag_list groups;
};

struct cached_token {
	struct identity identity;
	bool good;
	int64_t until;
};

struct cached_access {
	bool allowed;
	int64_t until;
};

struct auth {
	struct kubelet *kubelet;
	pthread_mutex_t lock;
	struct map tokens;   /* sha256 of the token -> struct cached_token */
	struct map accesses; /* what was asked -> struct cached_access */
};

static void identity_done(struct identity *identity) {
	free(identity->name);
	free(identity->uid);
	flag_list_done(&identity->groups);
	*identity = (struct identity){0};
}

static struct identity identity_copy(const struct identity *from) {
	struct identity copy = {.name = xstrdup(from->name), .uid = from->uid ? xstrdup(from->uid) : NULL};
	for (size_t i = 0; i < from->groups.len; i++)
		flag_list_add(&copy.groups, from->groups.items[i]);
	return copy;
}

static void token_free(void *ptr) {
	struct cached_token *token = ptr;
	identity_done(&token->identity);
	free(token);
}

struct auth *auth_new(struct kubelet *kubelet) {
	struct auth *auth = xnew(struct auth);
	auth->kubelet = kubelet;
	auth->tokens = MAP_INIT(token_free);
	auth->accesses = MAP_INIT(free);
	pthread_mutex_init(&auth->lock, NULL);
	return auth;
}

void auth_free(struct auth *auth) {
	if (!auth)
		return;
	map_done(&auth->tokens);
	map_done(&auth->accesses);
	pthread_mutex_destroy(&auth->lock);
	free(auth);
}

/* ---- who ---- */

static void review_token(struct auth *auth, const char *token, struct cached_token *ret) {
	autounref struct authentication_v1_token_review *review = api_new_of(authentication_v1_token_review), *answer = NULL;
	autoerror struct error err = {0};
	review->spec.token = arena_strdup(api_arena(review), token);
	if (client_create(auth->kubelet->client, &api_tokenreviews, NULL, review, (void **)&answer, &err) < 0) {
		log_warning("token cannot be reviewed", LOG_ERR(&err));
		return;
	}
	ret->good = answer->status.authenticated;
	ret->identity = (struct identity){.name = xstrdup(str_or(answer->status.user.username, "")), .uid = str_empty(answer->status.user.uid) ? NULL : xstrdup(answer->status.user.uid)};
	for (uint32_t i = 0; i < answer->status.user.groups.len; i++)
		flag_list_add(&ret->identity.groups, answer->status.user.groups.items[i]);
	ret->until = clock_monotonic_ns() + auth->kubelet->options.token_ttl_ns;
}

static bool identify_token(struct auth *auth, const char *token, struct identity *ret) {
	char key[65];
	bool good = false;
	sha256_hex(token, strlen(token), key);
	pthread_mutex_lock(&auth->lock);
	const struct cached_token *have = map_get(&auth->tokens, key);
	bool fresh = have && have->until > clock_monotonic_ns();
	if (fresh && (good = have->good))
		*ret = identity_copy(&have->identity);
	pthread_mutex_unlock(&auth->lock);
	if (fresh || !auth->kubelet->client || !auth->kubelet->options.token_webhook)
		return good;
	struct cached_token *reviewed = xnew(struct cached_token);
	review_token(auth, token, reviewed);
	if ((good = reviewed->good))
		*ret = identity_copy(&reviewed->identity);
	pthread_mutex_lock(&auth->lock);
	if (auth->tokens.len >= MAX_CACHED)
		map_clear(&auth->tokens);
	map_set(&auth->tokens, key, reviewed);
	pthread_mutex_unlock(&auth->lock);
	return good;
}

static bool identify(struct auth *auth, struct http_request *req, struct identity *ret) {
	const struct http_peer_cert *cert = http_peer_certificate(req);
	const char *authorization = http_header(req, "Authorization");
	if (cert && !str_empty(cert->common_name)) {
		*ret = (struct identity){.name = xstrdup(cert->common_name)};
		for (const char *const *o = cert->organizations; o && *o; o++)
			flag_list_add(&ret->groups, *o);
		flag_list_add(&ret->groups, "system:authenticated");
		return true;
	}
	if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0)
		return identify_token(auth, authorization + 7, ret);
	if (!auth->kubelet->options.anonymous_auth)
		return false;
	*ret = (struct identity){.name = xstrdup("system:anonymous")};
	flag_list_add(&ret->groups, "system:unauthenticated");
	return true;
}

/* ---- may he ---- */

static const char *verb_of(const char *method) {
	static const char *const rows[][2] = {{"POST", "create"}, {"GET", "get"}, {"HEAD", "get"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
	for (size_t i = 0; i < array_len(rows); i++)
		if (str_equal(method, rows[i][0]))
			return rows[i][1];
	return "";
}

static bool review_access(struct auth *auth, const struct identity *who, const char *verb, const char *subresource, int64_t *ret_ttl) {
	autounref struct authorization_v1_subject_access_review *review = api_new_of(authorization_v1_subject_access_review), *answer = NULL;
	autoerror struct error err = {0};
	struct arena *arena = api_arena(review);
	review->spec.user = arena_strdup(arena, who->name);
	review->spec.uid = arena_strdup(arena, who->uid);
	for (size_t i = 0; i < who->groups.len; i++)
		api_string_list_add(arena, &review->spec.groups, who->groups.items[i]);
	review->spec.resource_attributes = arena_new_type(arena, struct authorization_v1_resource_attributes);
	*review->spec.resource_attributes = (struct authorization_v1_resource_attributes){.verb = verb, .version = "v1", .resource = "nodes", .subresource = subresource, .name = auth->kubelet->node_name};
	if (client_create(auth->kubelet->client, &api_subjectaccessreviews, NULL, review, (void **)&answer, &err) < 0) {
		log_warning("access cannot be reviewed", LOG_STR("user", who->name), LOG_ERR(&err));
		*ret_ttl = 0;
		return false;
	}
	*ret_ttl = answer->status.allowed ? auth->kubelet->options.allowed_ttl_ns : auth->kubelet->options.denied_ttl_ns;
	return answer->status.allowed;
}

static bool may(struct auth *auth, const struct identity *who, const char *verb, const char *subresource) {
	autobuf struct buf key = BUF_INIT(1u << 20);
	int64_t ttl;
	buf_printf(&key, "%s\n%s\n%s\n", verb, subresource, who->name);
	for (size_t i = 0; i < who->groups.len; i++) {
		/* The group that has it all needs no question. */
		if (str_equal(who->groups.items[i], "system:masters"))
			return true;
		buf_printf(&key, "%s\n", who->groups.items[i]);
	}
	if (!auth->kubelet->client || buf_failed(&key))
		return false;
	pthread_mutex_lock(&auth->lock);
	const struct cached_access *have = map_get(&auth->accesses, key.data);
	bool fresh = have && have->until > clock_monotonic_ns(), allowed = fresh && have->allowed;
	pthread_mutex_unlock(&auth->lock);
	if (fresh)
		return allowed;
	allowed = review_access(auth, who, verb, subresource, &ttl);
	if (ttl) {
		struct cached_access *access = xnew(struct cached_access);
		*access = (struct cached_access){.allowed = allowed, .until = clock_monotonic_ns() + ttl};
		pthread_mutex_lock(&auth->lock);
		if (auth->accesses.len >= MAX_CACHED)
			map_clear(&auth->accesses);
		map_set(&auth->accesses, key.data, access);
		pthread_mutex_unlock(&auth->lock);
	}
	return allowed;
}

int auth_check(struct auth *auth, struct http_request *req, const struct route *route) {
	struct identity who = {0};
	struct route_request r = {.kubelet = auth->kubelet, .http = req};
	const char *verb = verb_of(http_method(req));
	if (!identify(auth, req, &who)) {
		http_respond(req, 401, "text/plain; charset=utf-8", "Unauthorized", 12);
		return -EACCES;
	}
	/* What was once under "proxy" and has a name of its own now is still allowed by the old one; measurements and logs never were. */
	bool also = route->also_proxy;
	bool allowed = str_equal(auth->kubelet->options.authorization_mode, "AlwaysAllow") || may(auth, &who, verb, route->subresource) || (also && may(auth, &who, verb, "proxy"));
	if (!allowed)
		route_text(&r, 403, "Forbidden (user=%s, verb=%s, resource=nodes, subresource(s)=[%s%s])", who.name, verb, route->subresource, also ? " proxy" : "");
	identity_done(&who);
	return allowed ? 0 : -EPERM;
}
