/* SPDX-License-Identifier: Apache-2.0 */
#include "common/daemon/delegated.h"

#include "api/authentication_v1.h"
#include "api/authorization_v1.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <pthread.h>
#include <strings.h>

#define MAX_CACHED 4096 /* entries of each cache; past it the cache starts anew */
#define MAX_KEY (1u << 20)

struct cached_token {
	struct delegated_user user;
	bool good;
	int64_t until;
};

struct cached_access {
	bool allowed;
	int64_t until;
};

struct delegated {
	struct client *token_client, *access_client;
	struct delegated_options options;
	pthread_mutex_t lock;
	struct map tokens;   /* sha256 of the token -> struct cached_token */
	struct map accesses; /* what was asked -> struct cached_access */
};

void delegated_user_done(struct delegated_user *user) {
	free(user->name);
	free(user->uid);
	flag_list_done(&user->groups);
	*user = (struct delegated_user){0};
}

static struct delegated_user user_copy(const struct delegated_user *from) {
	struct delegated_user copy = {.name = xstrdup(from->name), .uid = from->uid ? xstrdup(from->uid) : NULL};
	for (size_t i = 0; i < from->groups.len; i++)
		flag_list_add(&copy.groups, from->groups.items[i]);
	return copy;
}

static void token_free(void *ptr) {
	struct cached_token *token = ptr;
	delegated_user_done(&token->user);
	free(token);
}

struct delegated *delegated_new(struct client *tokens, struct client *accesses, const struct delegated_options *options) {
	struct delegated *delegated = xnew(struct delegated);
	delegated->token_client = tokens;
	delegated->access_client = accesses;
	delegated->options = *options;
	delegated->tokens = MAP_INIT(token_free);
	delegated->accesses = MAP_INIT(free);
	pthread_mutex_init(&delegated->lock, NULL);
	return delegated;
}

void delegated_free(struct delegated *delegated) {
	if (!delegated)
		return;
	map_done(&delegated->tokens);
	map_done(&delegated->accesses);
	pthread_mutex_destroy(&delegated->lock);
	free(delegated);
}

/* ---- who ---- */

static void review_token(struct delegated *delegated, const char *token, struct cached_token *ret) {
	autounref struct authentication_v1_token_review *review = api_new_of(authentication_v1_token_review), *answer = NULL;
	autoerror struct error err = {0};
	review->spec.token = arena_strdup(api_arena(review), token);
	if (client_create(delegated->token_client, &api_tokenreviews, NULL, review, (void **)&answer, &err) < 0) {
		log_warning("token cannot be reviewed", LOG_ERR(&err));
		return;
	}
	ret->good = answer->status.authenticated;
	ret->user = (struct delegated_user){.name = xstrdup(str_or(answer->status.user.username, "")), .uid = str_empty(answer->status.user.uid) ? NULL : xstrdup(answer->status.user.uid)};
	for (uint32_t i = 0; i < answer->status.user.groups.len; i++)
		flag_list_add(&ret->user.groups, answer->status.user.groups.items[i]);
	ret->until = clock_monotonic_ns() + delegated->options.token_ttl_ns;
}

static bool identify_token(struct delegated *delegated, const char *token, struct delegated_user *ret_user) {
	char key[65];
	bool good = false;
	sha256_hex(token, strlen(token), key);
	pthread_mutex_lock(&delegated->lock);
	const struct cached_token *have = map_get(&delegated->tokens, key);
	bool fresh = have && have->until > clock_monotonic_ns();
	if (fresh && (good = have->good))
		*ret_user = user_copy(&have->user);
	pthread_mutex_unlock(&delegated->lock);
	if (fresh || !delegated->token_client || !delegated->options.review_tokens)
		return good;
	struct cached_token *reviewed = xnew(struct cached_token);
	review_token(delegated, token, reviewed);
	if ((good = reviewed->good))
		*ret_user = user_copy(&reviewed->user);
	pthread_mutex_lock(&delegated->lock);
	if (delegated->tokens.len >= MAX_CACHED)
		map_clear(&delegated->tokens);
	map_set(&delegated->tokens, key, reviewed);
	pthread_mutex_unlock(&delegated->lock);
	return good;
}

bool delegated_identify(struct delegated *delegated, struct http_request *req, struct delegated_user *ret_user) {
	const struct http_peer_cert *cert = http_peer_certificate(req);
	const char *authorization = http_header(req, "Authorization");
	if (cert && !str_empty(cert->common_name)) {
		*ret_user = (struct delegated_user){.name = xstrdup(cert->common_name)};
		for (const char *const *o = cert->organizations; o && *o; o++)
			flag_list_add(&ret_user->groups, *o);
		flag_list_add(&ret_user->groups, "system:authenticated");
		return true;
	}
	if (authorization && strncasecmp(authorization, "Bearer ", 7) == 0)
		return identify_token(delegated, authorization + 7, ret_user);
	if (!delegated->options.anonymous)
		return false;
	*ret_user = (struct delegated_user){.name = xstrdup("system:anonymous")};
	flag_list_add(&ret_user->groups, "system:unauthenticated");
	return true;
}

/* ---- may he ---- */

const char *delegated_verb(const char *method) {
	static const char *const rows[][2] = {{"POST", "create"}, {"GET", "get"}, {"HEAD", "get"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"}};
	for (size_t i = 0; i < array_len(rows); i++)
		if (str_equal(method, rows[i][0]))
			return rows[i][1];
	return "";
}

static bool review_access(struct delegated *delegated, const struct delegated_user *who, const struct delegated_access *access, int64_t *ret_ttl) {
	autounref struct authorization_v1_subject_access_review *review = api_new_of(authorization_v1_subject_access_review), *answer = NULL;
	autoerror struct error err = {0};
	struct arena *arena = api_arena(review);
	review->spec.user = arena_strdup(arena, who->name);
	review->spec.uid = arena_strdup(arena, who->uid);
	for (size_t i = 0; i < who->groups.len; i++)
		api_string_list_add(arena, &review->spec.groups, who->groups.items[i]);
	if (access->path) {
		review->spec.non_resource_attributes = arena_new_type(arena, struct authorization_v1_non_resource_attributes);
		*review->spec.non_resource_attributes = (struct authorization_v1_non_resource_attributes){.verb = access->verb, .path = access->path};
	} else {
		review->spec.resource_attributes = arena_new_type(arena, struct authorization_v1_resource_attributes);
		*review->spec.resource_attributes = (struct authorization_v1_resource_attributes){.verb = access->verb, .version = "v1", .resource = access->resource, .subresource = access->subresource, .name = access->name};
	}
	if (client_create(delegated->access_client, &api_subjectaccessreviews, NULL, review, (void **)&answer, &err) < 0) {
		log_warning("access cannot be reviewed", LOG_STR("user", who->name), LOG_ERR(&err));
		*ret_ttl = 0;
		return false;
	}
	*ret_ttl = answer->status.allowed ? delegated->options.allowed_ttl_ns : delegated->options.denied_ttl_ns;
	return answer->status.allowed;
}

/* With its length: no text of one part can look like two. */
static void append_part(struct buf *key, const char *part) {
	buf_printf(key, "%zu:%s", strlen(part), part);
}

bool delegated_may(struct delegated *delegated, const struct delegated_user *who, const struct delegated_access *access) {
	autobuf struct buf key = BUF_INIT(MAX_KEY);
	int64_t ttl;
	const char *parts[] = {access->verb, access->path, access->resource, access->subresource, access->name, who->name, who->uid};
	for (size_t i = 0; i < array_len(parts); i++)
		append_part(&key, str_or(parts[i], ""));
	for (size_t i = 0; i < who->groups.len; i++) {
		/* The group that has it all needs no question. */
		if (str_equal(who->groups.items[i], "system:masters"))
			return true;
		append_part(&key, who->groups.items[i]);
	}
	if (!delegated->access_client || buf_failed(&key))
		return false;
	pthread_mutex_lock(&delegated->lock);
	const struct cached_access *have = map_get(&delegated->accesses, key.data);
	bool fresh = have && have->until > clock_monotonic_ns(), allowed = fresh && have->allowed;
	pthread_mutex_unlock(&delegated->lock);
	if (fresh)
		return allowed;
	allowed = review_access(delegated, who, access, &ttl);
	if (ttl) {
		struct cached_access *answer = xnew(struct cached_access);
		*answer = (struct cached_access){.allowed = allowed, .until = clock_monotonic_ns() + ttl};
		pthread_mutex_lock(&delegated->lock);
		if (delegated->accesses.len >= MAX_CACHED)
			map_clear(&delegated->accesses);
		map_set(&delegated->accesses, key.data, answer);
		pthread_mutex_unlock(&delegated->lock);
	}
	return allowed;
}
