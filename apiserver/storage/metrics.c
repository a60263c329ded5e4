/* SPDX-License-Identifier: Apache-2.0 */
/* What the store tells Prometheus, under the names that Kubernetes gives it. */
#include "apiserver/storage/internal.h"

#include "common/base/metrics.h"

#define STATUS_TIMEOUT_MS 5000

static const double request_buckets[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 0};
static const double lease_buckets[] = {10, 50, 100, 500, 1000, 2500, 5000, 0};
static const char *const operation_labels[] = {"operation", "group", "resource", NULL};
static const char *const resource_labels[] = {"group", "resource", NULL};
static const char *const plain_resource_labels[] = {"resource", NULL};
static const char *const cluster_labels[] = {"storage_cluster_id", NULL};

enum { REQUEST_DURATION, REQUESTS, REQUEST_ERRORS, OBJECTS, STORAGE_OBJECTS, SIZE_ESTIMATE, EVENTS_RECEIVED, DECODE_ERRORS, LEASE_OBJECTS, STORAGE_SIZE };
static struct metric metrics[] = {
	[REQUEST_DURATION] = {"etcd_request_duration_seconds", "Etcd request latency in seconds for each operation and object type.", METRIC_HISTOGRAM, operation_labels, request_buckets, NULL},
	[REQUESTS] = {"etcd_requests_total", "Etcd request counts for each operation and object type.", METRIC_COUNTER, operation_labels, NULL, NULL},
	[REQUEST_ERRORS] = {"etcd_request_errors_total", "Etcd failed request counts for each operation and object type.", METRIC_COUNTER, operation_labels, NULL, NULL},
	[OBJECTS] = {"apiserver_resource_objects", "Number of stored objects, split by kind.", METRIC_GAUGE, resource_labels, NULL, NULL},
	[STORAGE_OBJECTS] = {"apiserver_storage_objects", "Number of stored objects, split by kind (deprecated: apiserver_resource_objects).", METRIC_GAUGE, plain_resource_labels, NULL, NULL},
	[SIZE_ESTIMATE] = {"apiserver_resource_size_estimate_bytes", "Size of stored objects, split by kind.", METRIC_GAUGE, resource_labels, NULL, NULL},
	[EVENTS_RECEIVED] = {"storage_events_received_total", "Number of etcd events received split by kind.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[DECODE_ERRORS] = {"apiserver_storage_decode_errors_total", "Number of stored objects that could not be decoded, split by kind.", METRIC_COUNTER, resource_labels, NULL, NULL},
	[LEASE_OBJECTS] = {"etcd_lease_object_counts", "Number of objects attached to a single etcd lease.", METRIC_HISTOGRAM, NULL, lease_buckets, NULL},
	[STORAGE_SIZE] = {"apiserver_storage_size_bytes", "Size of the storage database file physically allocated in bytes.", METRIC_GAUGE, cluster_labels, NULL, NULL},
};

struct collection_metrics {
	struct metric_series *duration[METRICS_OPERATIONS], *requests[METRICS_OPERATIONS], *errors[METRICS_OPERATIONS];
	struct metric_series *objects, *storage_objects, *size, *events, *decode_errors;
	char *group, *resource;
};

/* The stores that are open, for the gauges. */
static pthread_mutex_t open_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list open_stores = LIST_INIT(open_stores);

static void collect_one(struct collection *c)
{
	struct collection_metrics *m = atomic_load(&c->metrics);
	double objects, bytes;

	if (!m)
		return;
	pthread_mutex_lock(&c->lock);
	objects = (double)tree_len(c->tree);
	bytes = (double)c->json_bytes;
	pthread_mutex_unlock(&c->lock);
	metric_set(m->objects, objects);
	metric_set(m->storage_objects, objects);
	metric_set(m->size, bytes);
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
	/* Whoever is first; what others may be using already stays. */
	struct collection_metrics *none = NULL;
	if (!atomic_compare_exchange_strong(&c->metrics, &none, m))
		metrics_free(m);
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

	if (m)
		metric_add(m->events, 1);
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
