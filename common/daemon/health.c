/* SPDX-License-Identifier: Apache-2.0 */
/* The health endpoints, word for word as k8s.io/apiserver answers them, since scripts read them. */
#include "common/daemon/health.h"

#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/metrics.h"

#include <pthread.h>

enum { ANSWER_MAX = 64 * 1024, METRICS_MAX = 64 << 20, CHECKS_MAX = 64 };

struct health {
	pthread_mutex_t lock; /* guards count; a check once in stays as it is */
	struct health_check checks[CHECKS_MAX];
	size_t count;
};

static const struct {
	const char *name;
	unsigned in;
} endpoints[] = {{"healthz", HEALTH_HEALTHZ}, {"livez", HEALTH_LIVEZ}, {"readyz", HEALTH_READYZ}};

static bool ping(void *arg, struct error *err)
{
	return true;
}

struct health *health_new(void)
{
	struct health *health = xnew(struct health);
	pthread_mutex_init(&health->lock, NULL);
	health_add(health, &(const struct health_check){.name = "ping", .in = HEALTH_ALL, .fn = ping});
	return health;
}

void health_add(struct health *health, const struct health_check *check)
{
	pthread_mutex_lock(&health->lock);
	if (health->count < CHECKS_MAX)
		health->checks[health->count++] = *check;
	pthread_mutex_unlock(&health->lock);
}

static size_t count_of(struct health *health)
{
	pthread_mutex_lock(&health->lock);
	size_t count = health->count;
	pthread_mutex_unlock(&health->lock);
	return count;
}

void health_free(struct health *health)
{
	if (!health)
		return;
	pthread_mutex_destroy(&health->lock);
	free(health);
}

static bool passes(const struct health_check *check)
{
	autoerror struct error err = {0};
	if (check->fn(check->arg, &err))
		return true;
	log_debug(2, "health check failed", LOG_STR("check", check->name), LOG_ERR(&err));
	return false;
}

bool health_passes(struct health *health, unsigned in)
{
	for (size_t i = 0, count = count_of(health); i < count; i++) {
		if (health->checks[i].in & in && !passes(&health->checks[i]))
			return false;
	}
	return true;
}

static void answer_text(struct http_request *req, int status, const char *text, size_t len)
{
	http_add_header(req, "X-Content-Type-Options", "nosniff");
	http_respond(req, status, "text/plain; charset=utf-8", text, len);
}

static void answer_one(struct health *health, unsigned in, const char *name, struct http_request *req)
{
	for (size_t i = 0, count = count_of(health); i < count; i++) {
		const struct health_check *check = &health->checks[i];
		if (!(check->in & in) || strcmp(check->name, name))
			continue;
		if (passes(check))
			answer_text(req, 200, "ok", 2);
		else
			answer_text(req, 500, "internal server error: reason withheld\n", 39);
		return;
	}
	answer_text(req, 404, "404 page not found\n", 19);
}

static void collect_exclude(const char *name, const char *value, void *arg)
{
	if (!strcmp(name, "exclude"))
		set_add(arg, value);
}

/* The exclusions that named no check: all are in `excluded`, the used ones in `used`. */
static void warn_unknown(struct buf *out, const struct map *excluded, const struct map *used)
{
	const char *separator = "warn: some health checks cannot be excluded: no matches for ";
	struct map_entry *entry;
	for (size_t i = 0; (entry = map_next(excluded, &i));) {
		if (map_has(used, entry->key))
			continue;
		buf_printf(out, "%s\"%s\"", separator, entry->key);
		separator = ",";
	}
	if (separator[0] == ',')
		buf_append_char(out, '\n');
}

static void answer_all(struct health *health, const char *endpoint, unsigned in, struct http_request *req)
{
	automap struct map excluded = MAP_INIT(NULL), used = MAP_INIT(NULL);
	autobuf struct buf out = BUF_INIT(ANSWER_MAX);
	http_query_each(req, collect_exclude, &excluded);
	bool failed = false;
	for (size_t i = 0, count = count_of(health); i < count; i++) {
		const struct health_check *check = &health->checks[i];
		if (!(check->in & in))
			continue;
		if (map_has(&excluded, check->name)) {
			set_add(&used, check->name);
			buf_printf(&out, "[+]%s excluded: ok\n", check->name);
		} else if (passes(check)) {
			buf_printf(&out, "[+]%s ok\n", check->name);
		} else {
			failed = true;
			buf_printf(&out, "[-]%s failed: reason withheld\n", check->name);
		}
	}
	warn_unknown(&out, &excluded, &used);
	buf_printf(&out, "%s check %s\n", endpoint, failed ? "failed" : "passed");
	if (failed)
		answer_text(req, 500, out.data, out.len);
	else if (http_query(req, "verbose"))
		answer_text(req, 200, out.data, out.len);
	else
		answer_text(req, 200, "ok", 2);
}

bool health_answer(struct health *health, struct http_request *req)
{
	const char *path = http_path(req);
	for (size_t i = 0; path[0] == '/' && i < array_len(endpoints); i++) {
		size_t len = strlen(endpoints[i].name);
		if (strncmp(path + 1, endpoints[i].name, len))
			continue;
		const char *rest = path + 1 + len;
		if (!rest[0] || !strcmp(rest, "/"))
			answer_all(health, endpoints[i].name, endpoints[i].in, req);
		else if (rest[0] == '/')
			answer_one(health, endpoints[i].in, rest + 1, req);
		else
			continue;
		return true;
	}
	return false;
}

void metrics_answer(struct http_request *req)
{
	autobuf struct buf out = BUF_INIT(METRICS_MAX);
	metrics_write(&out);
	http_respond(req, 200, "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", out.data, out.len);
}
