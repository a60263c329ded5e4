/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/token.h"

#include "api/authentication_v1.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <pthread.h>

#define MAX_TOKEN_AGE (24 * 3600 * NSEC_PER_SEC)
#define RETRY_AFTER (30 * NSEC_PER_SEC)

struct token {
	char *text;
	struct wall_time expires;
	int64_t refresh_at; /* monotonic */
};

struct token_cache {
	struct client *client;
	pthread_mutex_t lock;
	struct map tokens; /* "uid/audience/seconds" -> struct token */
};

static void token_free(void *ptr) {
	struct token *token = ptr;
	if (token->text)
		memset(token->text, 0, strlen(token->text));
	free(token->text);
	free(token);
}

struct token_cache *token_cache_new(struct client *client) {
	struct token_cache *cache = xnew(struct token_cache);
	cache->client = client;
	cache->tokens = MAP_INIT(token_free);
	pthread_mutex_init(&cache->lock, NULL);
	return cache;
}

void token_cache_free(struct token_cache *cache) {
	if (!cache)
		return;
	pthread_mutex_lock(&cache->lock);
	map_done(&cache->tokens);
	pthread_mutex_unlock(&cache->lock);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

static int request(struct token_cache *cache, const struct core_v1_pod *pod, const char *audience, int64_t seconds, struct token **ret, struct error *err) {
	autounref struct authentication_v1_token_request *ask = api_new_of(authentication_v1_token_request);
	autounref struct authentication_v1_token_request *answer = NULL;
	struct arena *arena = api_arena(ask);
	if (!str_empty(audience))
		api_string_list_add(arena, &ask->spec.audiences, audience);
	ask->spec.expiration_seconds = api_int64(arena, seconds);
	ask->spec.bound_object_ref = arena_new_type(arena, struct authentication_v1_bound_object_reference);
	*ask->spec.bound_object_ref = (struct authentication_v1_bound_object_reference){.kind = "Pod", .api_version = "v1", .name = pod->metadata.name, .uid = pod->metadata.uid};
	const char *account = str_or(pod->spec.service_account_name, "default");
	int r = client_post_subresource(cache->client, &api_serviceaccounts, pod->metadata.namespace, account, "token", ask, &authentication_v1_token_request_type, (void **)&answer, err);
	if (r < 0) {
		error_context(err, "failed to fetch token");
		return r;
	}
	struct token *token = xnew(struct token);
	token->text = xstrdup(answer->status.token);
	token->expires = answer->status.expiration_timestamp.t;
	int64_t life = time_diff_ns(token->expires, clock_wall());
	/* A little early by chance, so that many pods do not ask together. */
	int64_t refresh = min_of(life / 5 * 4, MAX_TOKEN_AGE) - (int64_t)random_below(10) * NSEC_PER_SEC;
	token->refresh_at = clock_monotonic_ns() + max_of(refresh, 10 * NSEC_PER_SEC);
	*ret = token;
	return 0;
}

static bool give(const struct token *token, char **ret_token, int64_t *ret_refresh_ns, int64_t refresh_ns) {
	*ret_token = xstrdup(token->text);
	*ret_refresh_ns = refresh_ns;
	return true;
}

/* Where the cached token still serves. */
static bool try_cached(struct token_cache *cache, const char *key, bool even_if_due, char **ret_token, int64_t *ret_refresh_ns) {
	bool found = false;
	pthread_mutex_lock(&cache->lock);
	const struct token *token = map_get(&cache->tokens, key);
	int64_t left = token ? token->refresh_at - clock_monotonic_ns() : 0;
	if (token && left > 0)
		found = give(token, ret_token, ret_refresh_ns, left);
	else if (token && even_if_due && time_diff_ns(token->expires, clock_wall()) > 0)
		found = give(token, ret_token, ret_refresh_ns, RETRY_AFTER);
	pthread_mutex_unlock(&cache->lock);
	return found;
}

int token_cache_get(struct token_cache *cache, const struct core_v1_pod *pod, const char *audience, int64_t seconds, char **ret_token, int64_t *ret_refresh_ns, struct error *err) {
	autofree char *key = xprintf("%s/%s/%lld", pod->metadata.uid, audience ? audience : "", (long long)seconds);
	if (try_cached(cache, key, false, ret_token, ret_refresh_ns))
		return 0;
	struct token *token = NULL;
	int r = request(cache, pod, audience, seconds, &token, err);
	if (r < 0) {
		if (!try_cached(cache, key, true, ret_token, ret_refresh_ns))
			return r;
		error_done(err);
		return 0;
	}
	give(token, ret_token, ret_refresh_ns, token->refresh_at - clock_monotonic_ns());
	pthread_mutex_lock(&cache->lock);
	map_set(&cache->tokens, key, token);
	pthread_mutex_unlock(&cache->lock);
	return 0;
}

void token_cache_drop(struct token_cache *cache, const char *pod_uid) {
	struct map_entry *e;
	size_t len = strlen(pod_uid);
	pthread_mutex_lock(&cache->lock);
	for (size_t i = 0; (e = map_next(&cache->tokens, &i));)
		if (strncmp(e->key, pod_uid, len) == 0 && e->key[len] == '/')
			map_remove(&cache->tokens, e->key);
	pthread_mutex_unlock(&cache->lock);
}
