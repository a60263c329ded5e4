/* SPDX-License-Identifier: Apache-2.0 */
#include "common/daemon/guard.h"

#include "common/base/buf.h"

#include <ctype.h>
#include <pthread.h>

enum {
	MAX_REVIEWS = 16,
	REVIEW_TIMEOUT_MS = 5000,
	THREAD_STACK = 256 << 10,
	BODY_MAX = 64 << 10,
};
#define JSON "application/json"

struct guard {
	const struct guard_options *options;
	struct delegated *delegated;
	struct client *tokens, *accesses;
	http_handler serve;
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t idle;
	unsigned running;
};

struct review {
	struct guard *guard;
	struct http_request *req;
};

/* Its own, whoever's configuration it has: a review that takes long is no help to anybody. */
static int open_client(const char *kubeconfig, const struct client_config *own, struct client **ret, struct error *err) {
	struct client_config loaded = {0};
	int rc = str_empty(kubeconfig) ? 0 : client_config_load(kubeconfig, NULL, &loaded, err);
	if (rc < 0)
		return rc;
	struct client_config config = str_empty(kubeconfig) ? *own : loaded; /* copied by client_new */
	config.timeout_ms = REVIEW_TIMEOUT_MS;
	config.qps = 0;
	rc = client_new(&config, ret, err);
	client_config_done(&loaded);
	return rc;
}

int guard_new(const struct guard_options *options, const struct client_config *own, http_handler serve, void *arg, struct guard **ret, struct error *err) {
	struct guard *guard = xnew(struct guard);
	*guard = (struct guard){.options = options, .serve = serve, .arg = arg};
	pthread_mutex_init(&guard->lock, NULL);
	pthread_cond_init(&guard->idle, NULL);
	int rc = open_client(options->authentication_kubeconfig, own, &guard->tokens, err);
	if (rc == 0)
		rc = open_client(options->authorization_kubeconfig, own, &guard->accesses, err);
	if (rc < 0) {
		guard_free(guard);
		return rc;
	}
	const struct delegated_options reviews = {.anonymous = true, .review_tokens = true, .token_ttl_ns = options->token_ttl_ns, .allowed_ttl_ns = options->allowed_ttl_ns, .denied_ttl_ns = options->denied_ttl_ns};
	guard->delegated = delegated_new(guard->tokens, guard->accesses, &reviews);
	*ret = guard;
	return 0;
}

void guard_free(struct guard *guard) {
	if (!guard)
		return;
	pthread_mutex_lock(&guard->lock);
	while (guard->running)
		pthread_cond_wait(&guard->idle, &guard->lock);
	pthread_mutex_unlock(&guard->lock);
	delegated_free(guard->delegated);
	client_free(guard->tokens);
	client_free(guard->accesses);
	pthread_cond_destroy(&guard->idle);
	pthread_mutex_destroy(&guard->lock);
	free(guard);
}

/* The slash at the front may be left out of a pattern. */
static bool matches(const char *pattern, const char *path) {
	pattern += *pattern == '/';
	path += *path == '/';
	size_t len = strlen(pattern);
	return len && pattern[len - 1] == '*' ? strncmp(pattern, path, len - 1) == 0 : str_equal(pattern, path);
}

static bool is_open(const struct guard *guard, const char *path) {
	for (size_t i = 0; i < guard->options->open_paths.len; i++)
		if (matches(guard->options->open_paths.items[i], path))
			return true;
	return false;
}

static void refuse(struct http_request *req, int code, const char *reason, const char *message) {
	autobuf struct buf out = BUF_INIT(BODY_MAX);
	buf_append_str(&out, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Failure\",\"message\":");
	buf_append_json_string(&out, message, strlen(message));
	buf_printf(&out, ",\"reason\":\"%s\",%s\"code\":%d}\n", reason, code == 403 ? "\"details\":{}," : "", code);
	http_respond(req, code, JSON, out.data, out.len);
}

/* Kubernetes' verb for what is no resource. */
static void verb_of(const char *method, char verb[16]) {
	size_t i = 0;
	for (; method[i] && i < 15; i++)
		verb[i] = (char)tolower((unsigned char)method[i]);
	verb[i] = '\0';
}

static void judge(struct guard *guard, struct http_request *req) {
	struct delegated_user who = {0};
	char verb[16];
	if (!delegated_identify(guard->delegated, req, &who)) {
		refuse(req, 401, "Unauthorized", "Unauthorized");
		return;
	}
	verb_of(http_method(req), verb);
	const struct delegated_access access = {.verb = verb, .path = http_path(req)};
	if (delegated_may(guard->delegated, &who, &access)) {
		guard->serve(req, guard->arg);
	} else {
		autofree char *message = xprintf("forbidden: User \"%s\" cannot %s path \"%s\"", who.name, verb, access.path);
		refuse(req, 403, "Forbidden", message);
	}
	delegated_user_done(&who);
}

static void leave(struct guard *guard) {
	pthread_mutex_lock(&guard->lock);
	guard->running--;
	pthread_cond_signal(&guard->idle);
	pthread_mutex_unlock(&guard->lock);
}

static void *run(void *arg) {
	struct review *review = arg;
	struct guard *guard = review->guard;
	judge(guard, review->req);
	free(review);
	leave(guard);
	return NULL;
}

static bool start(struct guard *guard, struct http_request *req) {
	pthread_mutex_lock(&guard->lock);
	bool room = guard->running < MAX_REVIEWS;
	guard->running += room;
	pthread_mutex_unlock(&guard->lock);
	if (!room)
		return false;
	struct review *review = xnew(struct review);
	*review = (struct review){guard, req};
	pthread_attr_t attr;
	pthread_t thread;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, THREAD_STACK);
	bool started = pthread_create(&thread, &attr, run, review) == 0;
	pthread_attr_destroy(&attr);
	if (started)
		return true;
	free(review);
	leave(guard);
	return false;
}

void guard_handle(struct guard *guard, struct http_request *req) {
	if (is_open(guard, http_path(req)))
		guard->serve(req, guard->arg);
	else if (!start(guard, req))
		refuse(req, 503, "ServiceUnavailable", "too many clients wait to be let in");
}
