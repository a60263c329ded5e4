/* SPDX-License-Identifier: Apache-2.0 */
/* EventRateLimit: no more Events than so many a second of the server, of a namespace, of a user, or of a source about an object. */
#include "apiserver/admission/settings.h"
#include "apiserver/admission/admission.h"
#include "apiserver/configfile.h"
#include "apiserver/validation/validation.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "api/core_v1.h"
#include "api/eventratelimit_v1alpha1.h"

#include <errno.h>
#include <pthread.h>

#define USUAL_BUCKETS 4096
#define MAX_BUCKETS (1 << 20)

enum kind { OF_SERVER, OF_NAMESPACE, OF_USER, OF_SOURCE };
static const char *const kinds[] = {"Server", "Namespace", "User", "SourceAndObject"};

struct bucket {
	struct list by_use;
	char *key;
	double left; /* Events that may come at once */
	int64_t filled_ns;
};
/* Its buckets are those asked for last. */
struct limit {
	enum kind kind;
	double qps, burst;
	size_t most;
	struct map buckets;
	struct list by_use; /* the one asked for last is in front */
};
struct event_limits {
	pthread_mutex_t lock;
	struct limit *items;
	uint32_t len;
};

static void bucket_free(void *arg) {
	struct bucket *b = arg;
	list_remove(&b->by_use);
	free(b->key);
	free(b);
}

void eventrate_free(struct event_limits *limits) {
	for (uint32_t i = 0; limits && i < limits->len; i++)
		map_done(&limits->items[i].buckets);
	if (!limits)
		return;
	pthread_mutex_destroy(&limits->lock);
	free(limits->items);
	free(limits);
}

static enum kind kind_of(const char *type) {
	size_t kind = 0;
	while (kind < array_len(kinds) && !str_equal(kinds[kind], type))
		kind++;
	return (enum kind)kind;
}

static void check(const struct eventratelimit_v1alpha1_configuration *config, struct error *found) {
	static const char *const supported[] = {"Namespace", "Server", "SourceAndObject", "User", NULL};
	if (!config->limits.len)
		invalid_plain(found, &PATH(NULL, "limits"), "null: must not be empty");
	for (uint32_t i = 0; i < config->limits.len; i++) {
		const struct eventratelimit_v1alpha1_limit *l = &config->limits.items[i];
		const struct path each = PATH_INDEX(NULL, "limits", i), *at = &each;
		enum kind kind = kind_of(l->type);
		if (kind == array_len(kinds))
			not_supported(found, AT("type"), str_or(l->type, ""), supported);
		if (l->burst <= 0)
			invalid_int(found, AT("burst"), l->burst, "must be positive");
		if (l->qps <= 0)
			invalid_int(found, AT("qps"), l->qps, "must be positive");
		if (kind != OF_SERVER && (l->cache_size < 0 || l->cache_size > MAX_BUCKETS))
			invalid_int(found, AT("cacheSize"), l->cache_size, l->cache_size < 0 ? "must not be negative" : "must be at most 1048576");
	}
}

int eventrate_read(struct admission_settings *settings, const char *text, size_t len, struct error *err) {
	static const char *const versions[] = {"eventratelimit.admission.k8s.io/v1alpha1", NULL};
	autoerror struct error found = {0};
	void *object;
	int rc = configfile_parse(text, len, &eventratelimit_v1alpha1_configuration_type, versions, &object, err);
	if (rc < 0)
		return rc;
	const struct eventratelimit_v1alpha1_configuration *config = object;
	check(config, &found);
	rc = configfile_verdict(&found, "EventRateLimit configuration", err);
	if (rc == 0) {
		struct event_limits *limits = xnew(struct event_limits);
		pthread_mutex_init(&limits->lock, NULL);
		limits->items = xcalloc(config->limits.len, sizeof(*limits->items));
		for (uint32_t i = 0; i < config->limits.len; i++) {
			const struct eventratelimit_v1alpha1_limit *l = &config->limits.items[i];
			struct limit *limit = &limits->items[limits->len++];
			*limit = (struct limit){.kind = kind_of(l->type), .qps = l->qps, .burst = l->burst, .most = l->cache_size ? (size_t)l->cache_size : USUAL_BUCKETS, .buckets = MAP_INIT(bucket_free)};
			list_init(&limit->by_use);
		}
		eventrate_free(settings->event_limits);
		settings->event_limits = limits;
	}
	api_unref(object);
	return rc;
}

static struct bucket *find_bucket(struct limit *limit, const char *key, int64_t now) {
	struct bucket *b = map_get(&limit->buckets, key);
	if (b) {
		list_remove(&b->by_use);
	} else {
		if (limit->buckets.len >= limit->most)
			map_remove(&limit->buckets, list_entry(limit->by_use.prev, struct bucket, by_use)->key);
		b = xnew(struct bucket);
		*b = (struct bucket){.key = xstrdup(key), .left = limit->burst, .filled_ns = now};
		map_set(&limit->buckets, key, b);
	}
	list_push_front(&limit->by_use, &b->by_use);
	return b;
}

static bool take(struct limit *limit, const char *key, int64_t now) {
	struct bucket *b = find_bucket(limit, key, now);
	b->left += (double)(now - b->filled_ns) / NSEC_PER_SEC * limit->qps;
	b->left = b->left > limit->burst ? limit->burst : b->left;
	b->filled_ns = now;
	if (b->left < 1)
		return false;
	b->left -= 1;
	return true;
}

static const char *key_of(struct write *w, enum kind kind) {
	const struct core_v1_event *event = w->object;
	if (kind == OF_NAMESPACE)
		return str_or(w->ns, "");
	if (kind == OF_USER)
		return str_or(w->r->user->name, "");
	if (kind == OF_SERVER)
		return "";
	const struct core_v1_object_reference *about = &event->involved_object;
	return arena_printf(w->arena, "%s%s%s%s%s%s%s", str_or(event->source.component, ""), str_or(event->source.host, ""), str_or(about->kind, ""), str_or(about->namespace, ""), str_or(about->name, ""), str_or(about->uid, ""), str_or(about->api_version, ""));
}

static int validate(struct write *w, struct error *err) {
	struct event_limits *limits = w->r->server->admission->event_limits;
	if (!limits || w->dry_run || !admission_is(w, "", "events", NULL))
		return 0;
	autobuf struct buf text = BUF_INIT(64 << 10);
	int64_t now = clock_monotonic_ns();
	size_t reached = 0;
	pthread_mutex_lock(&limits->lock);
	for (uint32_t i = 0; i < limits->len; i++) {
		const char *key = key_of(w, limits->items[i].kind);
		if (!take(&limits->items[i], key, now))
			buf_printf(&text, "%slimit reached on type %s for key %s", reached++ ? ", " : "", kinds[limits->items[i].kind], key);
	}
	pthread_mutex_unlock(&limits->lock);
	if (!reached)
		return 0;
	return error_status(err, 429, "TooManyRequests", reached > 1 ? "Too many requests: [%s]" : "Too many requests: %s", text.data);
}

const struct admission_plugin admission_event_rate_limit = {
	.name = "EventRateLimit",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.off_by_default = true,
	.validate = validate,
};
