/* SPDX-License-Identifier: Apache-2.0 */
/* One thread a resource: lists, then watches, metadata only. */
#include "controller-manager/gc/gc.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MAX_LINE ((size_t)8 << 20)
#define MAX_PAGE ((size_t)256 << 20)
#define STACK_BYTES ((size_t)256 * 1024)
#define RETRY_FIRST_MS 200
#define RETRY_MOST_MS 10000
#define FAILURES_MOST 5 /* lists that fail, before nobody waits for it any more */
#define ACCEPT_LIST "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
#define ACCEPT_WATCH "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json"
#define LEASES_GATHER_MS 5000
#define WATCH_TIMEOUT_S 540
#define WITHOUT_NAMESPACE "&fieldSelector=metadata.namespace%21%3D"

struct monitor {
	struct gc *gc;
	struct discovered *resource;
	pthread_t thread;
	int cancel_fd;
	bool synced; /* atomic */
	const char *fed_ns; /* a namespace that a shared cache tells of; NULL: none */
	uint32_t round;     /* of lists */
	struct buf line;
	char *version;
};

static void take_version(struct monitor *m, const json_t *metadata)
{
	const char *version = json_string_value(json_object_get(metadata, "resourceVersion"));
	if (str_empty(version))
		return;
	free(m->version);
	m->version = xstrdup(version);
}

static int list_page(struct monitor *m, const char *path, char **token, struct error *err)
{
	autofree char *paged = xprintf("%s?limit=500%s%s%s%s", path, m->fed_ns ? WITHOUT_NAMESPACE : "", str_or(m->fed_ns, ""), str_empty(*token) ? "" : "&continue=", str_or(*token, ""));
	autobuf struct buf body = BUF_INIT(MAX_PAGE);
	struct client_request request = {.method = "GET", .path = paged, .accept = ACCEPT_LIST};
	int r = client_do(m->gc->r->client, &request, &body, NULL, err);
	if (r)
		return r;
	json_error_t at;
	json_t *tree = json_loadb(body.data, body.len, 0, &at);
	if (!tree)
		return error_set(err, EPROTO, "list %s: %s", path, at.text);
	const json_t *items = json_object_get(tree, "items");
	for (size_t i = 0; i < json_array_size(items); i++) {
		const json_t *metadata = json_object_get(json_array_get(items, i), "metadata");
		const char *uid = json_string_value(json_object_get(metadata, "uid"));
		if (!uid)
			continue;
		graph_observe(m->gc, m->resource, metadata);
		graph_mark(m->gc, uid, m->round);
	}
	const json_t *list_meta = json_object_get(tree, "metadata");
	take_version(m, list_meta);
	free(*token);
	*token = xstrdup(str_or(json_string_value(json_object_get(list_meta, "continue")), ""));
	json_decref(tree);
	return 0;
}

static int list_all(struct monitor *m, struct error *err)
{
	autofree char *path = discovered_path(m->resource, NULL, NULL);
	autofree char *token = NULL;
	int r;
	m->round++;
	do
		r = list_page(m, path, &token, err);
	while (!r && !str_empty(token));
	if (r)
		return r;
	graph_forget_unlisted(m->gc, m->resource, m->fed_ns, m->round, true);
	__atomic_store_n(&m->synced, true, __ATOMIC_RELEASE);
	return 0;
}

/* What came after the list counts as listed. */
static void take_changed(struct monitor *m, const json_t *metadata)
{
	const char *uid = json_string_value(json_object_get(metadata, "uid"));
	graph_observe(m->gc, m->resource, metadata);
	if (uid)
		graph_mark(m->gc, uid, m->round);
}

/* One watch event. Returns false where the watch must end and the list be taken again. */
static bool take_event(struct monitor *m, const char *line, size_t len)
{
	json_t *tree = json_loadb(line, len, 0, NULL);
	const char *type = json_string_value(json_object_get(tree, "type"));
	const json_t *metadata = json_object_get(json_object_get(tree, "object"), "metadata");
	bool go_on = tree && type && !str_equal(type, "ERROR");
	if (go_on) {
		const char *uid = json_string_value(json_object_get(metadata, "uid"));
		if (str_equal(type, "DELETED") && uid)
			graph_forget(m->gc, uid);
		else if (!str_equal(type, "BOOKMARK"))
			take_changed(m, metadata);
		take_version(m, metadata);
		if (str_equal(m->resource->plural, "customresourcedefinitions") || str_equal(m->resource->plural, "apiservices"))
			reconciler_add_after(m->gc->r, NULL, DISCOVERY_KEY, NSEC_PER_SEC);
	} else {
		free(m->version);
		m->version = NULL;
	}
	json_decref(tree);
	return go_on;
}

static bool on_data(const char *data, size_t len, void *arg)
{
	struct monitor *m = arg;
	while (len) {
		const char *end = memchr(data, '\n', len);
		size_t take = end ? (size_t)(end - data) : len;
		buf_append(&m->line, data, take);
		data += take + (end != NULL);
		len -= take + (end != NULL);
		if (buf_failed(&m->line)) {
			free(m->version);
			m->version = NULL;
			buf_reset(&m->line);
			return false;
		}
		if (!end)
			break;
		bool go_on = !m->line.len || take_event(m, m->line.data, m->line.len);
		buf_reset(&m->line);
		if (!go_on)
			return false;
	}
	return true;
}

static int watch(struct monitor *m, struct error *err)
{
	autofree char *path = discovered_path(m->resource, NULL, NULL);
	autofree char *full = xprintf("%s?watch=true&allowWatchBookmarks=true&resourceVersion=%s&timeoutSeconds=%d%s%s", path, m->version, WATCH_TIMEOUT_S, m->fed_ns ? WITHOUT_NAMESPACE : "", str_or(m->fed_ns, ""));
	struct client_request request = {.method = "GET", .path = full, .accept = ACCEPT_WATCH, .timeout_ms = (WATCH_TIMEOUT_S + 60) * 1000};
	/* Leaders renew theirs all day long, and own nothing. */
	if (str_equal(m->resource->plural, "leases"))
		request.gather_ms = LEASES_GATHER_MS;
	buf_reset(&m->line);
	int r = client_stream(m->gc->r->client, &request, on_data, m, m->cancel_fd, err);
	if (r && (error_is(err, "Expired") || error_is(err, "Gone"))) {
		free(m->version);
		m->version = NULL;
	}
	return r;
}

/* Waits, or returns true at once when the monitor is to end. */
static bool cancelled(struct monitor *m, int wait_ms)
{
	struct pollfd fd = {.fd = m->cancel_fd, .events = POLLIN};
	return poll(&fd, 1, wait_ms) > 0;
}

static void *run(void *arg)
{
	struct monitor *m = arg;
	int wait_ms = 0;
	unsigned failures = 0;
	while (!cancelled(m, wait_ms)) {
		autoerror struct error err = {0};
		int r = m->version ? watch(m, &err) : list_all(m, &err);
		failures = r ? failures + 1 : 0;
		/* A resource that cannot be listed (any more) must not hold up the others; nor one whose own server, behind the API server, is out of order. */
		if (r && (error_is(&err, "NotFound") || error_is(&err, "MethodNotAllowed") || error_is(&err, "Forbidden") || (err.http_code >= 500 && failures >= FAILURES_MOST)))
			__atomic_store_n(&m->synced, true, __ATOMIC_RELEASE);
		wait_ms = !r ? 0 : min_of(max_of(wait_ms * 2, RETRY_FIRST_MS), RETRY_MOST_MS);
	}
	return NULL;
}

static void monitor_free(struct monitor *m, bool forget_objects)
{
	ssize_t ignored = write(m->cancel_fd, &(uint64_t){1}, sizeof(uint64_t));
	(void)ignored;
	pthread_join(m->thread, NULL);
	/* That nobody serves them any more does not say that they are gone. */
	if (forget_objects)
		graph_forget_unlisted(m->gc, m->resource, m->fed_ns, m->round + 1, false);
	close(m->cancel_fd);
	buf_done(&m->line);
	free(m->version);
	free(m);
}

static struct monitor *monitor_new(struct gc *gc, struct discovered *resource, const char *fed_ns)
{
	struct monitor *m = xnew(struct monitor);
	pthread_attr_t attr;
	m->gc = gc;
	m->resource = resource;
	m->fed_ns = fed_ns;
	m->line = BUF_INIT(MAX_LINE);
	m->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	int r = pthread_create(&m->thread, &attr, run, m);
	pthread_attr_destroy(&attr);
	if (r) {
		close(m->cancel_fd);
		free(m);
		return NULL;
	}
	return m;
}

static bool same_resource(const struct discovered *a, const struct discovered *b)
{
	return str_equal(a->group, b->group) && str_equal(a->version, b->version) && str_equal(a->plural, b->plural);
}

static bool is_collected(const struct discovered *d)
{
	const uint32_t needed = API_VERB_LIST | API_VERB_WATCH | API_VERB_DELETE;
	return (d->verbs & needed) == needed && !str_equal(d->plural, "events");
}

struct discovered *gc_keep_resource(struct gc *gc, const struct discovered *d)
{
	for (size_t i = 0; i < gc->resource_count; i++)
		if (same_resource(gc->resources[i], d))
			return gc->resources[i];
	struct discovered *copy = xnew(struct discovered);
	*copy = (struct discovered){xstrdup(d->group), xstrdup(d->version), xstrdup(d->plural), xstrdup(d->kind), d->namespaced, d->verbs};
	gc->resources = xreallocarray(gc->resources, gc->resource_count + 1, sizeof(copy));
	gc->resources[gc->resource_count++] = copy;
	return copy;
}

static struct monitor *find_monitor(struct gc *gc, const struct discovered *d)
{
	for (size_t i = 0; i < gc->monitor_count; i++)
		if (same_resource(gc->monitors[i]->resource, d))
			return gc->monitors[i];
	return NULL;
}

static bool is_discovered(const struct discovery *discovery, const struct discovered *d)
{
	for (size_t i = 0; i < discovery->len; i++)
		if (same_resource(&discovery->items[i], d))
			return true;
	return false;
}

int monitors_refresh(struct gc *gc, struct error *err)
{
	cleanup(discovery_done) struct discovery discovery = {0};
	int r = discovery_load(gc->r->world, &discovery, err);
	if (r)
		return r;
	pthread_mutex_lock(&gc->lock);
	for (size_t i = 0; i < discovery.len; i++) {
		struct discovered *resource = gc_keep_resource(gc, &discovery.items[i]);
		const char *fed_ns = NULL;
		bool fed = sources_feed(gc, resource, &fed_ns);
		if (!gc->r->client || !is_collected(resource) || find_monitor(gc, resource) || (fed && !fed_ns))
			continue;
		struct monitor *m = monitor_new(gc, resource, fed_ns);
		if (!m)
			continue;
		gc->monitors = xreallocarray(gc->monitors, gc->monitor_count + 1, sizeof(m));
		gc->monitors[gc->monitor_count++] = m;
	}
	/* Only a complete discovery says that a resource has gone. */
	for (size_t i = 0; i < gc->monitor_count && !discovery.failed_count;) {
		if (is_discovered(&discovery, gc->monitors[i]->resource)) {
			i++;
			continue;
		}
		monitor_free(gc->monitors[i], true);
		gc->monitors[i] = gc->monitors[--gc->monitor_count];
	}
	gc->refreshed = true;
	pthread_mutex_unlock(&gc->lock);
	return 0;
}

bool monitors_synced(struct gc *gc)
{
	pthread_mutex_lock(&gc->lock);
	bool synced = gc->refreshed;
	for (size_t i = 0; i < gc->monitor_count && synced; i++)
		synced = __atomic_load_n(&gc->monitors[i]->synced, __ATOMIC_ACQUIRE);
	pthread_mutex_unlock(&gc->lock);
	return synced;
}

void monitors_stop(struct gc *gc)
{
	/* All are told first: each may be in the middle of a long answer. */
	for (size_t i = 0; i < gc->monitor_count; i++) {
		ssize_t ignored = write(gc->monitors[i]->cancel_fd, &(uint64_t){1}, sizeof(uint64_t));
		(void)ignored;
	}
	for (size_t i = 0; i < gc->monitor_count; i++)
		monitor_free(gc->monitors[i], false);
	free(gc->monitors);
	gc->monitors = NULL;
	gc->monitor_count = 0;
}

struct discovered *gc_resource_of_kind(struct gc *gc, const char *api_version, const char *kind)
{
	const char *slash = strchr(api_version, '/');
	autofree char *group = slash ? xstrndup(api_version, (size_t)(slash - api_version)) : xstrdup("");
	struct discovered *found = NULL;
	pthread_mutex_lock(&gc->lock);
	/* Any version of the group serves the same objects. */
	for (size_t i = 0; i < gc->resource_count && !found; i++)
		if (str_equal(gc->resources[i]->group, group) && str_equal(gc->resources[i]->kind, kind))
			found = gc->resources[i];
	pthread_mutex_unlock(&gc->lock);
	return found;
}
