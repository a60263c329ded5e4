/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn/tokenwebhook.h"
#include "apiserver/timers.h"
#include "api/authentication_v1.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <errno.h>

#define TIMEOUT_NS (30 * NSEC_PER_SEC)
#define BACKOFF_NS (500 * NSEC_PER_MSEC)
#define TRIES 5
#define REMEMBERED 4096
#define MAX_REVIEW ((size_t)1 << 20)

struct token_webhook {
	struct asked *asked;
	struct loop *loop;
	const char *version;
	int64_t keep_ns;
};

static struct metric metrics[] = {
	{.name = "apiserver_delegated_authn_request_total", .help = "Number of HTTP requests partitioned by status code.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"code", NULL}},
	{.name = "apiserver_delegated_authn_request_duration_seconds", .help = "Request latency in seconds. Broken down by status code.", .kind = METRIC_HISTOGRAM, .labels = (const char *const[]){"code", NULL}, .buckets = (const double[]){0.25, 0.5, 0.7, 1, 1.5, 3, 5, 10, 0}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static void observe(void *arg, const char *result, int status, double seconds) {
	char code[16] = "<error>";
	if (status)
		snprintf(code, sizeof(code), "%d", status);
	metric_add(metric_label(&metrics[0], code), 1);
	metric_observe(metric_label(&metrics[1], code), seconds);
}

/* ---- answers ---- */

/* Takes either version: both look alike. */
static int read_review(const char *json, size_t len, struct authentication_v1_token_review **ret, struct error *err) {
	json_t *tree = json_loadb(json, len, 0, NULL);
	const char *version = json_string_value(json_object_get(tree, "apiVersion")), *kind = json_string_value(json_object_get(tree, "kind"));
	void *object;
	int rc = 0;
	if (!json_is_object(tree) || (kind && strcmp(kind, "TokenReview") != 0) || (version && strcmp(version, "authentication.k8s.io/v1") != 0 && strcmp(version, "authentication.k8s.io/v1beta1") != 0))
		rc = error_set(err, EBADMSG, "the token webhook's answer is no TokenReview");
	if (rc == 0) {
		json_object_del(tree, "apiVersion");
		rc = api_from_json(&authentication_v1_token_review_type, tree, NULL, &object, err);
	}
	json_decref(tree);
	if (rc == 0)
		*ret = object;
	return rc;
}

/* What is no answer, or tells of an error, may be another the next time. */
static int64_t keep_ns(void *arg, const char *json, size_t len) {
	const struct token_webhook *hook = arg;
	struct authentication_v1_token_review *review;
	if (read_review(json, len, &review, NULL) < 0)
		return 0;
	bool keep = str_empty(review->status.error);
	api_unref(review);
	return keep ? hook->keep_ns : 0;
}

static void make_review(const struct token_webhook *hook, const char *token, const char *const *audiences, struct buf *out) {
	buf_printf(out, "{\"kind\":\"TokenReview\",\"apiVersion\":\"authentication.k8s.io/%s\",\"metadata\":{},\"spec\":{\"token\":", hook->version);
	buf_append_json_string(out, token, strlen(token));
	for (size_t i = 0; audiences && audiences[i]; i++) {
		buf_append_str(out, i ? "," : ",\"audiences\":[");
		buf_append_json_string(out, audiences[i], strlen(audiences[i]));
	}
	buf_append_str(out, audiences && *audiences ? "]},\"status\":{\"user\":{}}}" : "},\"status\":{\"user\":{}}}");
}

static bool among(const char *const *list, const char *text) {
	for (; list && *list; list++)
		if (strcmp(*list, text) == 0)
			return true;
	return false;
}

/* Those of `audiences` that the token is for; NULL: none. */
static const char *const *meant(const struct api_string_list *said, const char *const *audiences, const char *const *implicit, struct arena *arena) {
	size_t wanted = 0, len = 0;
	while (audiences[wanted])
		wanted++;
	const char **good = arena_calloc(arena, wanted + 1, sizeof(*good));
	for (size_t i = 0; i < wanted; i++) {
		bool is = !said->len && among(implicit, audiences[i]);
		for (uint32_t n = 0; n < said->len; n++)
			is |= str_equal(said->items[n], audiences[i]);
		if (is)
			good[len++] = arena_strdup(arena, audiences[i]);
	}
	return len ? good : NULL;
}

static const char *const *texts(const struct api_string_list *list, struct arena *arena) {
	const char **copy = arena_calloc(arena, list->len + 1, sizeof(*copy));
	for (uint32_t i = 0; i < list->len; i++)
		copy[i] = arena_strdup(arena, list->items[i]);
	return copy;
}

static struct user *user_of(const struct authentication_v1_user_info *info, struct arena *arena) {
	struct user *user = arena_new_type(arena, struct user);
	user->name = arena_strdup(arena, str_or(info->username, ""));
	user->uid = arena_strdup(arena, str_or(info->uid, ""));
	user->groups = texts(&info->groups, arena);
	user->extra = arena_calloc(arena, info->extra.len + 1, sizeof(*user->extra));
	for (uint32_t i = 0; i < info->extra.len; i++)
		user->extra[user->extra_count++] = (struct user_extra){.key = arena_strdup(arena, info->extra.items[i].key), .values = texts(&info->extra.items[i].value.list, arena)};
	return user;
}

int token_webhook_check(struct token_webhook *hook, const char *token, const char *const *audiences, const char *const *implicit, struct arena *arena, struct asks *asks, struct user **ret, const char *const **ret_audiences, struct error *err) {
	autobuf struct buf json = BUF_INIT(MAX_REVIEW);
	autobytes struct bytes *answer = NULL;
	struct authentication_v1_token_review *review;
	*ret_audiences = NULL;
	make_review(hook, token, audiences, &json);
	if (buf_failed(&json))
		return error_set(err, EMSGSIZE, "the token is too long");
	int rc = asked_get(hook->asked, asks, json.data, json.len, hook->keep_ns > 0, &answer, err);
	if (rc <= 0)
		return rc;
	rc = read_review(answer->data, answer->len, &review, err);
	if (rc < 0)
		return rc;
	bool limited = audiences && *audiences;
	const char *const *good = limited ? meant(&review->status.audiences, audiences, implicit, arena) : NULL;
	if (limited && !good)
		rc = 0;
	else if (!review->status.authenticated)
		rc = str_empty(review->status.error) ? 0 : error_set(err, EACCES, "%s", review->status.error);
	else
		rc = 1;
	if (rc == 1) {
		*ret = user_of(&review->status.user, arena);
		*ret_audiences = good;
	}
	api_unref(review);
	return rc;
}

/* ---- start and end ---- */

int token_webhook_new(struct apiserver *server, struct token_webhook **ret, struct error *err) {
	const struct apiserver_options *o = server->options;
	*ret = NULL;
	if (str_empty(o->authentication_token_webhook_config_file))
		return 0;
	if (!str_equal(o->authentication_token_webhook_version, "v1") && !str_equal(o->authentication_token_webhook_version, "v1beta1"))
		return error_set(err, EINVAL, "unsupported authentication webhook version \"%s\", supported versions are \"v1\", \"v1beta1\"", o->authentication_token_webhook_version);
	struct token_webhook *hook = xnew(struct token_webhook);
	*hook = (struct token_webhook){.loop = timers_loop(server->timers), .version = o->authentication_token_webhook_version, .keep_ns = o->authentication_token_webhook_cache_ttl};
	const struct asked_options options = {
		.caller = server->caller, .loop = timers_loop(server->timers), .what = "token webhook", .kubeconfig = o->authentication_token_webhook_config_file, .timeout_ns = TIMEOUT_NS, .backoff_ns = BACKOFF_NS,
		.tries = TRIES, .remembered = REMEMBERED, .keep_ns = keep_ns, .observe = observe, .arg = hook,
	};
	int rc = asked_new(&options, &hook->asked, err);
	if (rc < 0) {
		free(hook);
		return error_context(err, "--authentication-token-webhook-config-file");
	}
	*ret = hook;
	return 0;
}

/* What was posted before has been done. */
static void settle(void *arg) {
}

void token_webhook_free(struct token_webhook *hook) {
	if (!hook)
		return;
	asked_stop(hook->asked);
	loop_call(hook->loop, settle, NULL);
	asked_unref(hook->asked);
	free(hook);
}
