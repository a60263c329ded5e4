/* SPDX-License-Identifier: Apache-2.0 */
/* What the store tells Prometheus, under the names that Kubernetes gives it. */
#include "apiserver/storage/internal.h"

#include "common/base/metrics.h"

#define STATUS_TIMEOUT_MS 5000

static const double request_buckets[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 0};
static const double lease_buckets[] = {10, 50, 100, 500, 1000, 2500, 5000, 0};
static const char *const operation_labels[] = {"operation", "group", "resource", NULL};
static const char *const resource_labels[] = {"group", "resource", NULL};
static const char *const index_labels[] = {"group", "resource", "index", NULL};
static const char *const plain_resource_labels[] = {"resource", NULL};
static const char *const cluster_labels[] = {"storage_cluster_id", NULL};

static const double wait_buckets[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 0};

enum {
	REQUEST_DURATION, REQUESTS, REQUEST_ERRORS, OBJECTS, STORAGE_OBJECTS, SIZE_ESTIMATE, EVENTS_RECEIVED, DECODE_ERRORS, LEASE_OBJECTS, STORAGE_SIZE,
	CACHE_INITIALIZATIONS, CACHE_INIT_EVENTS, CACHE_RECEIVED, CACHE_DISPATCHED, CACHE_VERSION, CACHE_CAPACITY, CACHE_WAIT, LISTS, LIST_FETCHED, LIST_RETURNED,
};
static struct metric metrics[] = {
	[REQUEST_DURATION] = {"etcd_request_duration_seconds", "Etcd request latency in seconds for each operation and object type.", METRIC_HISTOGRAM, operation_labels, request_buckets, NULL},
	[REQUESTS] = {"etcd_requests_total", "Etcd request counts for each operation and object type.", METRIC_COUNTER, operation_labels, NULL, NULL},
	[REQUEST_ERRORS] = {"etcd_request_errors_total", "Etcd failed request counts for each operation and object type.", METRIC_COUNTER, operation_labels, NULL, NULL},
	[OBJECTS] = {"apiserver_resource_objects", "Number of stored objects, split by kind.", METRIC_GAUGE, resource_labels, NULL, NULL},
	[STORAGE_OBJECTS] = {"apiserver_storage_objects", "Number of stored objects, split by kind (deprecated: apiserver_resource_objects).", METRIC_GAUGE, plain_resource_labels, NULL, NULL},
	[SIZE_ESTIMATE] = {"apiserver_resource_size_estimate_bytes", "Size of stored objects, split by kind.", METRIC_GAUGE, resource_labels, NULL, NULL},
	[EVENTS_RECEIVED] = {"apiserver_storage_events_received_total", "Number of etcd events received split by kind.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[DECODE_ERRORS] = {"apiserver_storage_decode_errors_total", "Number of stored objects that could not be decoded, split by kind.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[LEASE_OBJECTS] = {"etcd_lease_object_counts", "Number of objects attached to a single etcd lease.", METRIC_HISTOGRAM, NULL, lease_buckets, NULL},
	[STORAGE_SIZE] = {"apiserver_storage_size_bytes", "Size of the storage database file physically allocated in bytes.", METRIC_GAUGE, cluster_labels, NULL, NULL},
	[CACHE_INITIALIZATIONS] = {"apiserver_watch_cache_initializations_total", "Counter of watch cache initializations broken by resource type.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[CACHE_INIT_EVENTS] = {"apiserver_init_events_total", "Counter of objects that the watch cache was filled with, broken by resource type.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[CACHE_RECEIVED] = {"apiserver_watch_cache_events_received_total", "Counter of events received in watch cache broken by resource type.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[CACHE_DISPATCHED] = {"apiserver_watch_cache_events_dispatched_total", "Counter of events handed to watchers broken by resource type.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[CACHE_VERSION] = {"apiserver_watch_cache_resource_version", "Current resource version of watch cache broken by resource type.", METRIC_GAUGE, resource_labels, NULL, NULL},
	[CACHE_CAPACITY] = {"watch_cache_capacity", "Events that the watch cache has room for, broken by resource type.", METRIC_GAUGE, resource_labels, NULL, NULL},
	[CACHE_WAIT] = {"apiserver_watch_cache_read_wait_seconds", "Histogram of time spent waiting for a watch cache to become fresh.", METRIC_HISTOGRAM, resource_labels, wait_buckets, NULL},
	[LISTS] = {"apiserver_cache_list_total", "Number of LIST requests served from watch cache.", METRIC_COUNTER, index_labels, NULL, NULL},
	[LIST_FETCHED] = {"apiserver_cache_list_fetched_objects_total", "Number of objects read from watch cache in the course of serving a LIST request.", METRIC_COUNTER, index_labels, NULL, NULL},
	[LIST_RETURNED] = {"apiserver_cache_list_returned_objects_total", "Number of objects returned for a LIST request from watch cache.", METRIC_COUNTER, resource_labels, NULL, NULL},
};

struct collection_metrics {
	struct metric_series *duration[METRICS_OPERATIONS], *requests[METRICS_OPERATIONS], *errors[METRICS_OPERATIONS];
	struct metric_series *objects, *storage_objects, *size, *events, *decode_errors;
	struct metric_series *received, *dispatched, *version, *capacity, *wait, *lists, *fetched, *returned;
	char *group, *resource;
};

/* The stores that are open, for the gauges. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list open_stores = LIST_INIT(open_stores);

static void collect_one(struct collection *c)
{
	struct collection_metrics *m = atomic_load(&c->metrics);
	double objects, bytes, version, capacity;

	if (!m)
		return;
	pthread_mutex_lock(&c->lock);
	objects = (double)tree_len(c->tree);
	bytes = (double)c->json_bytes;
	version = (double)c->last_revision;
	capacity = (double)c->history.cap;
	pthread_mutex_unlock(&c->lock);
	metric_set(m->objects, objects);
	metric_set(m->storage_objects, objects);
	metric_set(m->size, bytes);
	metric_set(m->version, version ? version : (double)store_revision(c->store));
	metric_set(m->capacity, capacity);
}

static void on_collect(void *arg)
{
	struct store *store;
	struct map_entry *e;

	pthread_mutex_lock(&open_lock);
	list_for_each (store, &open_stores, open_link) {
		pthread_mutex_lock(&store->apply_lock);
		for (size_t i = 0; (e = map_next(&store->collections, &i));)
			collect_one(e->value);
		pthread_mutex_unlock(&store->apply_lock);
	}
	pthread_mutex_unlock(&open_lock);
}

static void register_once(void)
{
	metrics_register(metrics, array_len(metrics));
	metrics_on_collect(on_collect, NULL);
}

void metrics_open(struct store *store)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, register_once);
	pthread_mutex_lock(&open_lock);
	list_push_back(&open_stores, &store->open_link);
	pthread_mutex_unlock(&open_lock);
}

void metrics_close(struct store *store)
{
	pthread_mutex_lock(&open_lock);
	list_remove(&store->open_link);
	pthread_mutex_unlock(&open_lock);
}

void metrics_free(struct collection_metrics *m)
{
	if (!m)
		return;
	free(m->group);
	free(m->resource);
	free(m);
}

void collection_set_names(struct collection *c, const char *group, const char *resource)
{
	static const char *const operations[METRICS_OPERATIONS] = {"create", "update", "delete"};
	struct collection_metrics *m = xnew(struct collection_metrics);

	for (size_t i = 0; i < METRICS_OPERATIONS; i++) {
		m->duration[i] = metric_label(&metrics[REQUEST_DURATION], operations[i], group, resource);
		m->requests[i] = metric_label(&metrics[REQUESTS], operations[i], group, resource);
		m->errors[i] = metric_label(&metrics[REQUEST_ERRORS], operations[i], group, resource);
	}
	m->group = xstrdup(group);
	m->resource = xstrdup(resource);
	autofree char *group_resource = *group ? xprintf("%s.%s", resource, group) : xstrdup(resource);
	m->objects = metric_label(&metrics[OBJECTS], group, resource);
	m->storage_objects = metric_label(&metrics[STORAGE_OBJECTS], group_resource);
	m->size = metric_label(&metrics[SIZE_ESTIMATE], group, resource);
	m->events = metric_label(&metrics[EVENTS_RECEIVED], group, resource);
	m->decode_errors = metric_label(&metrics[DECODE_ERRORS], group, resource);
	m->received = metric_label(&metrics[CACHE_RECEIVED], group, resource);
	m->dispatched = metric_label(&metrics[CACHE_DISPATCHED], group, resource);
	m->version = metric_label(&metrics[CACHE_VERSION], group, resource);
	m->capacity = metric_label(&metrics[CACHE_CAPACITY], group, resource);
	m->wait = metric_label(&metrics[CACHE_WAIT], group, resource);
	m->lists = metric_label(&metrics[LISTS], group, resource, "");
	m->fetched = metric_label(&metrics[LIST_FETCHED], group, resource, "");
	m->returned = metric_label(&metrics[LIST_RETURNED], group, resource);
	/* Whoever is first; what others may be using already stays. */
	struct collection_metrics *none = NULL;
	if (!atomic_compare_exchange_strong(&c->metrics, &none, m))
		metrics_free(m);
	else if (store_is_loaded(c->store))
		metrics_filled(c);
}

bool metrics_names(const struct collection *c, const char **ret_group, const char **ret_resource)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (m) {
		*ret_group = m->group;
		*ret_resource = m->resource;
	}
	return m != NULL;
}

void metrics_request(struct collection *c, enum metrics_operation operation, int64_t started, bool failed)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (!m)
		return;
	metric_observe(m->duration[operation], (double)(clock_monotonic_ns() - started) / 1e9);
	metric_add(m->requests[operation], 1);
	if (failed)
		metric_add(m->errors[operation], 1);
}

void metrics_event(struct collection *c)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (!m)
		return;
	metric_add(m->events, 1);
	metric_add(m->received, 1);
}

void metrics_dispatched(struct collection *c, size_t watches)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (m)
		metric_add(m->dispatched, (double)watches);
}

void metrics_filled(struct collection *c)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (!m)
		return;
	metric_add(metric_label(&metrics[CACHE_INITIALIZATIONS], m->group, m->resource), 1);
	pthread_mutex_lock(&c->lock);
	size_t held = tree_len(c->tree);
	pthread_mutex_unlock(&c->lock);
	metric_add(metric_label(&metrics[CACHE_INIT_EVENTS], m->group, m->resource), (double)held);
}

void collection_count_list(struct collection *c, size_t read, size_t returned)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (!m)
		return;
	metric_add(m->lists, 1);
	metric_add(m->fetched, (double)read);
	metric_add(m->returned, (double)returned);
}

void collection_count_wait(struct collection *c, int64_t ns)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (m)
		metric_observe(m->wait, (double)ns / 1e9);
}

void metrics_undecodable(struct collection *c)
{
	struct collection_metrics *m = atomic_load(&c->metrics);

	if (m)
		metric_add(m->decode_errors, 1);
}

void metrics_lease(unsigned keys)
{
	metric_observe(metric_with(&metrics[LEASE_OBJECTS], NULL), keys);
}

static void on_status(int errnum, const char *text, const void *data, size_t len, void *arg)
{
	struct etcd_status_response response;

	if (errnum == 0 && etcd_read_status(data, len, &response) == 0)
		metric_set(metric_label(&metrics[STORAGE_SIZE], "etcd-0"), (double)response.db_size);
}

void metrics_ask_size(struct store *store)
{
	struct buf request = BUF_INIT(64);

	etcd_message_begin(&request);
	etcd_write_status(&request);
	etcd_message_end(&request);
	(void)etcd_call(store->etcd, &(struct etcd_call_options){.method = ETCD_STATUS, .timeout_ms = STATUS_TIMEOUT_MS, .idempotent = true}, &request, on_status, store);
}
