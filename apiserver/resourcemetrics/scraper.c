/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/resourcemetrics/scraper.h"

#include "apiserver/proxy/kubelet.h"
#include "apiserver/proxy/fetch.h"
#include "common/base/log.h"
#include "common/base/random.h"

#include "api/apiregistration_v1.h"
#include "api/core_v1.h"

#include <pthread.h>
#include <stdio.h>

#define TICK_NS NSEC_PER_SEC
#define FIRST_GAP_NS (5 * NSEC_PER_SEC)   /* between the first two answers of a node */
#define READ_NS (15 * NSEC_PER_SEC)       /* while somebody reads */
#define IDLE_NS (120 * NSEC_PER_SEC)      /* a node at rest hardly does anything else than answer that */
#define AWAY_NS (60 * NSEC_PER_SEC)       /* between questions to a node that does not answer */
#define READER_GONE_NS (300 * NSEC_PER_SEC)
#define STALE_NS (180 * NSEC_PER_SEC)     /* older usage is not shown */
#define TIMEOUT_NS (10 * NSEC_PER_SEC)
#define MAX_RUNNING 32
#define MAX_ANSWER ((size_t)16 << 20)

/* One node; the loop's thread only, but for `usage`. */
struct target {
	struct scraper *scraper;
	char *name, *address;
	uint16_t port;
	struct fetch *running;
	gnutls_datum_t ticket;
	int64_t answered, wait;    /* monotonic time of the last answer or failure; how long to leave it alone then, 0: as long as readers allow */
	struct sample_set *last;
	struct node_usage *usage;  /* guarded by the scraper's lock */
	int64_t used_at;           /* monotonic time of `usage`; guarded */
	unsigned failures;
	uint64_t round;            /* in which it was last seen among the nodes */
};

struct scraper {
	struct apiserver *server;
	struct loop *loop;
	struct loop_timer *timer;
	pthread_t thread;
	struct map targets;        /* struct target by name; changed by the loop's thread under the lock */
	pthread_mutex_t lock;
	size_t running;
	uint64_t round;
	int64_t last_read;         /* atomic; monotonic */
};

static void target_free(void *arg) {
	struct target *target = arg;
	if (target->running)
		fetch_cancel(target->running);
	gnutls_free(target->ticket.data);
	sample_set_free(target->last);
	node_usage_unref(target->usage);
	free(target->name);
	free(target->address);
	free(target);
}

bool resource_metrics_is_ours(struct apiserver *server) {
	static const char *const versions[] = {"v1", "v1beta1"};
	for (size_t i = 0; i < array_len(versions); i++) {
		char name[64];
		snprintf(name, sizeof(name), "%s.metrics.k8s.io", versions[i]);
		autounref struct apiregistration_v1_api_service *service = registry_read(server->registry, "apiregistration.k8s.io", "apiservices", NULL, name);
		if (service && service->spec.service)
			return false;
	}
	return true;
}

/* ---- one answer ---- */

static int64_t gap(const struct scraper *scraper) {
	int64_t read = __atomic_load_n(&scraper->last_read, __ATOMIC_RELAXED);
	return read && clock_monotonic_ns() - read < READER_GONE_NS ? READ_NS : IDLE_NS;
}

static void take_answer(struct target *target, const struct buf *body) {
	struct scraper *scraper = target->scraper;
	struct sample_set *now = sample_set_parse(body->data ? body->data : "", body->len, clock_wall());
	struct node_usage *usage = node_usage_new(target->last, now);
	bool first = !target->last;
	sample_set_free(target->last);
	target->last = now;
	pthread_mutex_lock(&scraper->lock);
	struct node_usage *old = target->usage;
	target->usage = usage;
	target->used_at = clock_monotonic_ns();
	pthread_mutex_unlock(&scraper->lock);
	node_usage_unref(old);
	target->failures = 0;
	target->answered = clock_monotonic_ns();
	target->wait = first ? FIRST_GAP_NS : 0;
}

/* The first reader after a quiet time need not wait for the end of the long gap. */
static bool is_due(const struct target *target) {
	int64_t wait = target->wait ? target->wait : gap(target->scraper);
	return !target->running && (!target->answered || clock_monotonic_ns() - target->answered >= wait);
}

static void on_answer(int status, const struct buf *body, const struct error *err, void *arg) {
	struct target *target = arg;
	target->running = NULL;
	target->scraper->running--;
	if (status == 200) {
		take_answer(target, body);
		return;
	}
	/* A node that stays away is asked less and less often. */
	if (!target->failures++)
		log_debug(2, "kubelet does not tell what is used", LOG_STR("node", target->name), LOG_INT("status", status), LOG_STR("error", err ? error_message(err) : ""));
	int64_t wait = target->failures > 2 ? AWAY_NS : READ_NS * target->failures;
	target->answered = clock_monotonic_ns();
	target->wait = wait + (int64_t)random_below((uint64_t)wait / 4);
}

static void ask(struct target *target) {
	struct fetch_options options = {
		.address = target->address,
		.port = target->port,
		.path = "/metrics/resource",
		.ticket = &target->ticket,
		.timeout_ns = TIMEOUT_NS,
		.max_body = MAX_ANSWER,
		.done = on_answer,
		.arg = target,
	};
	options.credentials = kubelet_credentials(target->scraper->server->kubelet, &options.verify);
	target->scraper->running++;
	target->running = fetch_start(target->scraper->loop, &options);
}

/* ---- which nodes there are ---- */

static void look_at_node(struct scraper *scraper, struct entry *entry) {
	const struct resource *nodes = registry_find(scraper->server->registry, "", "v1", "nodes");
	struct target *target = map_get(&scraper->targets, entry->name);
	/* Only what is about to be asked needs its address. */
	if (target && !is_due(target)) {
		target->round = scraper->round;
		return;
	}
	autounref struct core_v1_node *node = NULL;
	uint16_t port;
	if (resource_decode(nodes, entry, (void **)&node, NULL) < 0)
		return;
	const char *address = kubelet_address(scraper->server, node, &port);
	if (!address)
		return;
	if (!target) {
		target = xnew(struct target);
		target->scraper = scraper;
		target->name = xstrdup(entry->name);
		pthread_mutex_lock(&scraper->lock);
		map_set(&scraper->targets, entry->name, target);
		pthread_mutex_unlock(&scraper->lock);
	}
	target->round = scraper->round;
	if (!str_equal(target->address, address)) {
		free(target->address);
		target->address = xstrdup(address);
	}
	target->port = port;
}

static void drop_gone(struct scraper *scraper) {
	struct map_entry *entry;
	pthread_mutex_lock(&scraper->lock);
	for (size_t i = 0; (entry = map_next(&scraper->targets, &i));) {
		struct target *target = entry->value;
		if (target->round == scraper->round || target->running)
			continue;
		map_remove(&scraper->targets, target->name);
		target_free(target);
	}
	pthread_mutex_unlock(&scraper->lock);
}

static void on_tick(void *arg) {
	struct scraper *scraper = arg;
	const struct resource *nodes = registry_find(scraper->server->registry, "", "v1", "nodes");
	loop_timer_arm(scraper->timer, TICK_NS);
	if (!__atomic_load_n(&scraper->server->ready, __ATOMIC_ACQUIRE) || !nodes || !nodes->collection || !resource_metrics_is_ours(scraper->server))
		return;
	autosnapshot struct snapshot *snapshot = collection_snapshot(nodes->collection);
	scraper->round++;
	for (size_t i = 0; i < snapshot->len; i++)
		look_at_node(scraper, snapshot_entry(snapshot, i));
	drop_gone(scraper);
	struct map_entry *entry;
	for (size_t i = 0; scraper->running < MAX_RUNNING && (entry = map_next(&scraper->targets, &i));) {
		struct target *target = entry->value;
		if (target->address && is_due(target))
			ask(target);
	}
}

/* ---- life ---- */

static void *run(void *arg) {
	struct scraper *scraper = arg;
	loop_run(scraper->loop);
	return NULL;
}

static void stop(void *arg) {
	loop_stop(((struct scraper *)arg)->loop);
}

int scraper_start(struct apiserver *server, struct scraper **ret, struct error *err) {
	struct scraper *scraper = xnew(struct scraper);
	scraper->server = server;
	scraper->loop = loop_new();
	scraper->targets = MAP_INIT(NULL);
	pthread_mutex_init(&scraper->lock, NULL);
	scraper->timer = loop_timer_new(scraper->loop, on_tick, scraper);
	loop_timer_arm(scraper->timer, TICK_NS);
	int rc = pthread_create(&scraper->thread, NULL, run, scraper);
	if (rc) {
		loop_free(scraper->loop);
		pthread_mutex_destroy(&scraper->lock);
		free(scraper);
		return error_set_errno(err, rc, "start the thread that asks kubelets");
	}
	*ret = scraper;
	return 0;
}

void scraper_stop(struct scraper *scraper) {
	if (!scraper)
		return;
	loop_post(scraper->loop, stop, scraper);
	pthread_join(scraper->thread, NULL);
	struct map_entry *entry;
	for (size_t i = 0; (entry = map_next(&scraper->targets, &i));)
		target_free(entry->value);
	map_done(&scraper->targets);
	loop_timer_free(scraper->timer);
	loop_free(scraper->loop);
	pthread_mutex_destroy(&scraper->lock);
	free(scraper);
}

struct node_usage *scraper_usage(struct scraper *scraper, const char *node) {
	int64_t now = clock_monotonic_ns();
	__atomic_store_n(&scraper->last_read, now, __ATOMIC_RELAXED);
	pthread_mutex_lock(&scraper->lock);
	const struct target *target = map_get(&scraper->targets, node);
	struct node_usage *usage = target && target->usage && now - target->used_at < STALE_NS ? node_usage_ref(target->usage) : NULL;
	pthread_mutex_unlock(&scraper->lock);
	return usage;
}
