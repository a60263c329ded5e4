/* SPDX-License-Identifier: Apache-2.0 */
/* A watch in front, a queue of pods that need a look, workers that write. Of a pod that needs nothing only its entry is kept. */
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/client/workqueue.h"
#include "test/hollow/hollow.h"
#include "test/hollow/status.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PAGE_SIZE 500
#define RETRY_MS 500
#define BOUND_PODS "spec.nodeName!="
#define POD_ADDRESS_FIRST 0x0a800000u /* 10.128.0.0/10: a /24 for each node */

struct entry {
	char *uid;
	struct hollow_node *node;
	struct core_v1_pod *latest; /* not yet looked at; NULL: asked for when it is needed */
	struct wall_time seen;      /* when it came to its node */
	struct wall_time told;      /* when it was told to stop */
	uint8_t address;            /* in its node's range; 0: none yet */
	bool is_told;
	uint32_t round;             /* of the last list that had it */
};

struct pods {
	struct client *client;
	const struct hollow_options *options;
	struct nodes *nodes;
	pthread_mutex_t lock;
	struct map entries; /* namespace/name -> entry; under the lock, as are the nodes' addresses */
	uint32_t round;
	struct workqueue *queue;
	struct workers *workers;
	pthread_t watcher;
	int stop_fd;
	bool stopping; /* atomic */
};

/* ---- entries; the lock is held ---- */

static void entry_free(void *value)
{
	struct entry *entry = value;
	if (entry->address)
		entry->node->addresses_taken[entry->address / 64] &= ~(1ULL << entry->address % 64);
	api_unref(entry->latest);
	free(entry->uid);
	free(entry);
}

static void take_address(struct entry *entry)
{
	for (unsigned i = 1; !entry->address && i < 255; i++)
		if (!(entry->node->addresses_taken[i / 64] >> i % 64 & 1)) {
			entry->node->addresses_taken[i / 64] |= 1ULL << i % 64;
			entry->address = (uint8_t)i;
		}
}

static struct entry *entry_of(struct pods *pods, const char *key, const struct core_v1_pod *pod)
{
	struct entry *entry = map_get(&pods->entries, key);
	if (entry && str_equal(entry->uid, pod->metadata.uid))
		return entry;
	struct hollow_node *node = nodes_find(pods->nodes, str_or(pod->spec.node_name, ""));
	if (!node)
		return NULL;
	entry = xnew(struct entry);
	entry->uid = xstrdup(str_or(pod->metadata.uid, ""));
	entry->node = node;
	/* One that ran before this program was started goes on from there. */
	entry->seen = pod->status.start_time.set ? pod->status.start_time.t : clock_wall();
	map_set(&pods->entries, key, entry);
	return entry;
}

/* take_latest: a root object that may be kept, or NULL. */
static void see(struct pods *pods, const struct core_v1_pod *pod, struct core_v1_pod *take_latest)
{
	autofree char *key = xprintf("%s/%s", pod->metadata.namespace, pod->metadata.name);
	pthread_mutex_lock(&pods->lock);
	struct entry *entry = entry_of(pods, key, pod);
	if (entry) {
		entry->round = pods->round;
		api_unref(entry->latest);
		entry->latest = take_latest;
		if (pod->metadata.deletion_timestamp.set && !entry->is_told) {
			entry->is_told = true;
			entry->told = clock_wall();
		}
	}
	pthread_mutex_unlock(&pods->lock);
	if (entry)
		workqueue_add(pods->queue, key);
	else
		api_unref(take_latest);
}

static void forget(struct pods *pods, const struct core_v1_pod *pod)
{
	autofree char *key = xprintf("%s/%s", pod->metadata.namespace, pod->metadata.name);
	pthread_mutex_lock(&pods->lock);
	struct entry *entry = map_get(&pods->entries, key);
	if (entry && str_equal(entry->uid, pod->metadata.uid))
		map_remove(&pods->entries, key);
	pthread_mutex_unlock(&pods->lock);
}

/* ---- one look at one pod ---- */

static bool chance(const char *uid, int64_t percent)
{
	return percent && hash_fnv32(uid, strlen(uid)) % 100 < (uint32_t)percent;
}

static int write_status(struct pods *pods, const struct core_v1_pod *pod, const struct entry *entry, bool stopping, int64_t *ret_next_ms, struct error *err)
{
	char pod_ip[16] = "";
	uint32_t address = POD_ADDRESS_FIRST + (entry->node->index << 8) + entry->address;
	if (pod->spec.host_network)
		snprintf(pod_ip, sizeof(pod_ip), "%s", entry->node->address);
	else if (entry->address)
		snprintf(pod_ip, sizeof(pod_ip), "%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
	struct status_view view = {
		.pod_ip = str_or(pod->status.pod_ip, pod_ip),
		.host_ip = entry->node->address,
		.started = entry->seen,
		.now = clock_wall(),
		.stopping = stopping,
		.fails = chance(entry->uid, pods->options->failure_percent),
		.missing_images = &pods->options->missing_images,
	};
	autobuf struct buf patch = BUF_INIT(1 << 20);
	status_patch(pod, &view, &patch, ret_next_ms);
	if (!patch.len)
		return 0;
	return client_patch(pods->client, &api_pods, pod->metadata.namespace, pod->metadata.name, "status", "application/strategic-merge-patch+json", patch.data, NULL, err);
}

static int stop_pod(struct pods *pods, const struct core_v1_pod *pod, const struct entry *entry, struct error *err)
{
	int64_t grace_ns = pod->metadata.deletion_grace_period_seconds ? *pod->metadata.deletion_grace_period_seconds * NSEC_PER_SEC : 0;
	int64_t left = min_of(pods->options->stop_delay_ns, grace_ns) - time_diff_ns(clock_wall(), entry->told), next;
	if (left > 0)
		return (int)min_of(left / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX);
	/* Who holds it may wait for its end. */
	if (!pods->options->brief_stop || pod->metadata.finalizers.len) {
		int rc = write_status(pods, pod, entry, true, &next, err);
		if (rc)
			return rc;
	}
	if (pod->metadata.deletion_grace_period_seconds && !*pod->metadata.deletion_grace_period_seconds)
		return 0; /* it waits for its finalizers */
	struct client_delete_options options = {.grace_period_seconds = 0, .uid = entry->uid};
	return client_delete(pods->client, &api_pods, pod->metadata.namespace, pod->metadata.name, &options, err);
}

static int serve(struct pods *pods, const struct core_v1_pod *pod, const struct entry *entry, struct error *err)
{
	if (pod->metadata.deletion_timestamp.set)
		return stop_pod(pods, pod, entry, err);
	int64_t next = 0;
	int rc = write_status(pods, pod, entry, false, &next, err);
	return rc ? rc : (int)min_of(next, (int64_t)INT32_MAX);
}

/* What a worker needs of an entry, which may go while it works. *ret_pod NULL: not known here. */
static bool take(struct pods *pods, const char *key, struct entry *ret, struct core_v1_pod **ret_pod)
{
	pthread_mutex_lock(&pods->lock);
	struct entry *entry = map_get(&pods->entries, key);
	if (entry) {
		take_address(entry);
		*ret = *entry;
		ret->uid = xstrdup(entry->uid);
		*ret_pod = take_ptr(entry->latest);
	}
	pthread_mutex_unlock(&pods->lock);
	return entry;
}

static int look_at(const char *key, void *arg, struct error *err)
{
	struct pods *pods = arg;
	struct entry entry;
	autounref struct core_v1_pod *pod = NULL;
	if (__atomic_load_n(&pods->stopping, __ATOMIC_RELAXED) || !take(pods, key, &entry, &pod))
		return 0;
	autofree char *uid = entry.uid;
	int64_t left = pods->options->start_delay_ns - time_diff_ns(clock_wall(), entry.seen);
	if (left > 0 && !entry.is_told)
		return (int)min_of(left / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX);
	autoerror struct error failed = {0};
	int rc = 0;
	if (!pod) {
		const char *slash = strchr(key, '/');
		autofree char *ns = xstrndup(key, (size_t)(slash - key));
		rc = client_get(pods->client, &api_pods, ns, slash + 1, (void **)&pod, &failed);
	}
	if (!rc && str_equal(pod->metadata.uid, uid))
		rc = serve(pods, pod, &entry, &failed);
	/* Gone or another by now: the watch will tell. */
	if (rc < 0 && (failed.http_code == 404 || failed.http_code == 409))
		return 0;
	return rc < 0 ? error_move(err, &failed) : rc;
}

/* ---- the watch ---- */

static bool on_event(const char *type, void *object, void *arg)
{
	struct pods *pods = arg;
	if (str_equal(type, "DELETED"))
		forget(pods, object);
	else if (!str_equal(type, "BOOKMARK"))
		see(pods, object, (struct core_v1_pod *)api_ref(object));
	return true;
}

/* Entries that the list did not have are gone. */
static void drop_unlisted(struct pods *pods)
{
	pthread_mutex_lock(&pods->lock);
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&pods->entries, &pos));)
		if (((struct entry *)e->value)->round != pods->round)
			map_remove(&pods->entries, e->key);
	pthread_mutex_unlock(&pods->lock);
}

static int list_pods(struct pods *pods, char **ret_version, struct error *err)
{
	autofree char *token = NULL;
	pods->round++;
	do {
		autounref struct core_v1_pod_list *list = NULL;
		struct client_list_options options = {.field_selector = BOUND_PODS, .limit = PAGE_SIZE, .continue_token = token};
		int rc = client_list(pods->client, &api_pods, NULL, &options, (void **)&list, err);
		if (rc)
			return rc;
		for api_list_each (pod, &list->items)
			see(pods, pod, NULL);
		free(token);
		token = str_empty(list->metadata.continue_) ? NULL : xstrdup(list->metadata.continue_);
		free(*ret_version);
		*ret_version = xstrdup(str_or(list->metadata.resource_version, ""));
	} while (token);
	drop_unlisted(pods);
	return 0;
}

/* Lists, then watches; a watch that ends is followed by a new list, which costs nothing as long as that is rare. */
static void *watch_pods(void *arg)
{
	struct pods *pods = arg;
	struct pollfd stop = {.fd = pods->stop_fd, .events = POLLIN};
	int wait_ms = 0;
	while (poll(&stop, 1, wait_ms) == 0) {
		autoerror struct error err = {0};
		autofree char *version = NULL;
		int rc = list_pods(pods, &version, &err);
		if (!rc) {
			struct client_list_options options = {.field_selector = BOUND_PODS, .resource_version = version};
			rc = client_watch(pods->client, &api_pods, NULL, &options, on_event, pods, pods->stop_fd, &err);
		}
		if (rc)
			log_warning("pods cannot be watched", LOG_ERR(&err));
		wait_ms = rc ? RETRY_MS : 0;
	}
	return NULL;
}

/* ---- life ---- */

struct pods *pods_start(struct client *client, const struct hollow_options *options, struct nodes *nodes)
{
	struct pods *pods = xnew(struct pods);
	pods->client = client;
	pods->options = options;
	pods->nodes = nodes;
	pods->entries = MAP_INIT(entry_free);
	pthread_mutex_init(&pods->lock, NULL);
	pods->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pods->queue = workqueue_new(&(struct workqueue_options){.name = "pods", .max_delay_ns = 5 * NSEC_PER_SEC});
	pods->workers = workers_start(pods->queue, (unsigned)options->workers, look_at, pods);
	if (pods->stop_fd < 0 || pthread_create(&pods->watcher, NULL, watch_pods, pods))
		abort();
	return pods;
}

void pods_free(struct pods *pods)
{
	if (!pods)
		return;
	__atomic_store_n(&pods->stopping, true, __ATOMIC_RELAXED);
	eventfd_write(pods->stop_fd, 1);
	pthread_join(pods->watcher, NULL);
	workers_stop(pods->workers);
	workqueue_free(pods->queue);
	map_done(&pods->entries);
	pthread_mutex_destroy(&pods->lock);
	close(pods->stop_fd);
	free(pods);
}
