/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong between claim and Service is put right: a server died after it had claimed, somebody deleted an IPAddress, Services come from a
 * backup or from a Kubernetes that kept its ports elsewhere. Every API server does it, at its start, each minute, and when a claim changes
 * under a living Service; the comparisons of etcd's transactions let one of them win.
 */
#include "apiserver/services/internal.h"
#include "apiserver/worker.h"
#include "api/networking_v1.h"
#include "common/base/log.h"

#include <arpa/inet.h>
#include <errno.h>

#define INTERVAL_NS (60 * NSEC_PER_SEC)
#define RETRY_NS (2 * NSEC_PER_SEC)
#define SETTLE_NS (NSEC_PER_SEC / 2) /* lets what comes in a burst be looked at once */
/* A claim whose Service is not there yet: no request takes longer. */
#define GRACE_SECONDS 60
/* A claim that its Service does not name: its update is on the way. */
#define UPDATE_GRACE_SECONDS 5

struct repair {
	struct allocator *a;
	struct worker *worker; /* the owner's */
	struct worker *self;   /* the same, for the thread and what it started */
	struct store_watch *watches[CLAIM_KINDS];
	uint64_t clean;  /* what all was when there was nothing to do; the worker's, as what follows */
	bool waiting;    /* a claim is too young to judge */
	struct map told; /* "ns/name key" -> event already sent for what cannot be mended; the worker's */
};

/* ---- Services first: what they hold is claimed ---- */

static const struct { const char *component, *action; } voices[] = {
	[CLAIM_ADDRESS] = {"ipallocator-repair-controller", "ClusterIPAllocation"},
	[CLAIM_PORT] = {"portallocator-repair-controller", "PortAllocation"},
};

static void tell(struct repair *repair, enum claim_kind kind, const void *object, const char *reason, const char *text) {
	worker_event(repair->self, object, voices[kind].component, "Warning", reason, voices[kind].action, "%s", text);
}

/* What only its owner can mend is told once. */
static void tell_once(struct repair *repair, enum claim_kind kind, const struct core_v1_service *service, const char *key, const char *reason, const char *text) {
	autofree char *mark = xprintf("%s/%s %s", service->metadata.namespace, service->metadata.name, key);
	if (map_has(&repair->told, mark))
		return;
	set_add(&repair->told, mark);
	log_warning("service holds what it should not", LOG_STR("service", mark), LOG_STR("reason", reason));
	tell(repair, kind, service, reason, text);
}

struct pass {
	struct repair *repair;
	struct core_v1_service *service;
	int rc;
};

static int create_claim(struct repair *repair, const struct core_v1_service *service, enum claim_kind kind, const char *key) {
	autobuf struct buf json = BUF_INIT(8 << 10);
	claim_json(kind, key, service->metadata.namespace, service->metadata.name, &json);
	return worker_put(repair->self, repair->a->claims[kind], key, json.data, json.len, 0, 0);
}

static bool out_of_range(struct pass *pass, enum claim_kind kind, const char *key) {
	struct allocator *a = pass->repair->a;
	autofree char *text = NULL;
	int64_t port;
	if (kind == CLAIM_ADDRESS) {
		if (ranges_contain(a, key))
			return false;
		text = xprintf("Cluster IP [%s]: %s is not within any configured Service CIDR; please recreate service", strchr(key, ':') ? "IPv6" : "IPv4", key);
	} else {
		if (str_to_int64(key, a->port_first, a->port_last, &port))
			return false;
		text = xprintf("Port %s is not within the port range %d-%d; please recreate service", key, a->port_first, a->port_last);
	}
	metrics_repaired(kind, "outOfRange");
	tell_once(pass->repair, kind, pass->service, key, kind == CLAIM_ADDRESS ? "ClusterIPOutOfRange" : "PortOutOfRange", text);
	return true;
}

/* The Service that a claim is for; NULL where it is for none that is there. The caller unrefs. */
static struct core_v1_service *holder_of(struct allocator *a, const struct entry *claim, bool *ret_is_service) {
	struct arena *arena = arena_new();
	const char *ns, *name;
	struct core_v1_service *service = NULL;
	*ret_is_service = claim_parent(claim, arena, &ns, &name);
	if (*ret_is_service)
		service = resource_read(a->services, ns, name);
	arena_free(arena);
	return service;
}

static bool has_labels(const struct entry *claim, const char *key) {
	const char *family = api_map_get(&claim->labels, LABEL_FAMILY), *manager = api_map_get(&claim->labels, LABEL_MANAGED_BY);
	return str_equal(family, strchr(key, ':') ? "IPv6" : "IPv4") && str_equal(manager, MANAGED_BY);
}

static void mend_held(enum claim_kind kind, const char *key, void *arg) {
	struct pass *pass = arg;
	struct repair *repair = pass->repair;
	const struct core_v1_service *service = pass->service;
	const char *reason = kind == CLAIM_ADDRESS ? "ClusterIPNotAllocated" : "PortNotAllocated";
	if (pass->rc < 0 || out_of_range(pass, kind, key))
		return;
	autoentry struct entry *claim = collection_get(repair->a->claims[kind], key);
	autofree char *text = kind == CLAIM_ADDRESS ? xprintf("Cluster IP [%s]: %s is not allocated; repairing", strchr(key, ':') ? "IPv6" : "IPv4", key)
						     : xprintf("Port %s is not allocated; repairing", key);
	if (claim) {
		bool is_service;
		autounref struct core_v1_service *holder = holder_of(repair->a, claim, &is_service);
		bool ours = holder && str_equal(holder->metadata.namespace, service->metadata.namespace) && str_equal(holder->metadata.name, service->metadata.name);
		if (ours && (kind == CLAIM_PORT || has_labels(claim, key)))
			return;
		if (holder && !ours && service_holds(holder, kind, key)) {
			autofree char *twice = kind == CLAIM_ADDRESS ? xprintf("Cluster IP [%s]:%s was assigned to multiple services; please recreate service", strchr(key, ':') ? "IPv6" : "IPv4", key)
								     : xprintf("Port %s was assigned to multiple services; please recreate service", key);
			metrics_repaired(kind, "duplicate");
			tell_once(repair, kind, service, key, kind == CLAIM_ADDRESS ? "ClusterIPAlreadyAllocated" : "PortAlreadyAllocated", twice);
			return;
		}
		/* For something else, or for a Service that does not hold it: that claim gives way. */
		int rc = worker_delete(repair->self, repair->a->claims[kind], key, claim->resource_version);
		if (rc < 0) {
			pass->rc = rc == -EAGAIN || rc == -ENOENT ? 0 : rc;
			return;
		}
	}
	int rc = create_claim(repair, service, kind, key);
	if (rc == 0) {
		metrics_repaired(kind, "repair");
		log_warning("claimed what a service holds", LOG_STR("namespace", service->metadata.namespace), LOG_STR("service", service->metadata.name), LOG_STR("key", key));
		tell(repair, kind, service, reason, text);
	} else if (rc != -EEXIST) {
		pass->rc = rc;
	}
}

/* Whether all that the Service holds is claimed, from its text alone: nearly always it is. */
static int mend_service(struct repair *repair, struct entry *entry) {
	void *object;
	if (resource_decode(repair->a->services, entry, &object, NULL) < 0)
		return 0;
	struct pass pass = {.repair = repair, .service = object};
	service_each_held(object, mend_held, &pass);
	api_unref(object);
	return pass.rc;
}

/* ---- then claims: each is held ---- */

static int drop_claim(struct repair *repair, enum claim_kind kind, struct entry *claim, const char *reason, const char *text) {
	int rc = worker_delete(repair->self, repair->a->claims[kind], claim->key, claim->resource_version);
	if (rc == -EAGAIN || rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	metrics_repaired(kind, "leak");
	log_warning("gave back what no service holds", LOG_STR("key", claim->key));
	void *object;
	if (kind == CLAIM_ADDRESS && resource_decode(repair->a->addresses, claim, &object, NULL) == 0) {
		worker_event(repair->self, object, voices[kind].component, "Warning", reason, "IPAddressAllocation", "%s", text);
		api_unref(object);
	}
	return 0;
}

static int mend_claim(struct repair *repair, enum claim_kind kind, struct entry *claim) {
	if (kind == CLAIM_ADDRESS && !str_equal(api_map_get(&claim->labels, LABEL_MANAGED_BY), MANAGED_BY))
		return 0; /* somebody else's, who may have his reasons */
	bool is_service;
	autounref struct core_v1_service *holder = holder_of(repair->a, claim, &is_service);
	if (holder && service_holds(holder, kind, claim->key))
		return 0;
	struct arena *arena = arena_new();
	int64_t age = claim_age(claim, arena);
	const char *ns = "", *name = "";
	claim_parent(claim, arena, &ns, &name);
	autofree char *text = NULL;
	int rc = 0;
	if (!is_service) {
		text = xprintf("IPAddress %s appears to have been modified, not referencing a Service: cleaning up", claim->key);
		rc = drop_claim(repair, kind, claim, "IPAddressNotAllocated", text);
	} else if (!holder && age >= GRACE_SECONDS) {
		text = xprintf("IPAddress: %s for Service %s/%s appears to have leaked: cleaning up", claim->key, ns, name);
		rc = drop_claim(repair, kind, claim, "IPAddressNotAllocated", text);
	} else if (holder && age >= (str_equal(holder->spec.type, "ExternalName") ? GRACE_SECONDS : UPDATE_GRACE_SECONDS)) {
		text = xprintf("IPAddress: %s for Service %s/%s has a wrong reference; cleaning up", claim->key, ns, name);
		rc = drop_claim(repair, kind, claim, "IPAddressWrongReference", text);
	}
	else
		repair->waiting = true;
	arena_free(arena);
	return rc;
}

/* ---- passes ---- */

/* Changes whenever a Service or claim does. */
static uint64_t fingerprint(const struct snapshot *snapshot) {
	uint64_t sum = snapshot->len;
	for (size_t i = 0; i < snapshot->len; i++)
		sum += snapshot_entry(snapshot, i)->resource_version * 0x9e3779b97f4a7c15ull;
	return sum;
}

static int mend_all(struct repair *repair) {
	int rc = worker_fresh(repair->self);
	if (rc < 0)
		return rc;
	autosnapshot struct snapshot *services = collection_snapshot(repair->a->services->collection);
	autosnapshot struct snapshot *cidrs = collection_snapshot(repair->a->cidrs->collection);
	autosnapshot struct snapshot *addresses = collection_snapshot(repair->a->claims[CLAIM_ADDRESS]);
	autosnapshot struct snapshot *ports = collection_snapshot(repair->a->claims[CLAIM_PORT]);
	const struct snapshot *claims[] = {[CLAIM_ADDRESS] = addresses, [CLAIM_PORT] = ports};
	uint64_t all = fingerprint(services) + 3 * fingerprint(cidrs) + 5 * fingerprint(addresses) + 7 * fingerprint(ports);
	if (repair->clean == all && !repair->waiting)
		return 0;
	repair->waiting = false;
	for (size_t i = 0; i < services->len && rc == 0 && !worker_stopping(repair->self); i++)
		rc = mend_service(repair, snapshot_entry(services, i));
	for (enum claim_kind kind = 0; kind < CLAIM_KINDS && rc == 0; kind++)
		for (size_t i = 0; i < claims[kind]->len && rc == 0 && !worker_stopping(repair->self); i++)
			rc = mend_claim(repair, kind, snapshot_entry(claims[kind], i));
	if (rc == 0)
		repair->clean = all; /* where something was mended, the next look sees another state */
	return rc;
}

/* A claim went or changed that a Service still holds. In the usual course the Service is gone first. */
static void on_event(const struct store_event *event, void *arg) {
	struct repair *repair = arg;
	if (event->type != STORE_DELETED && event->type != STORE_MODIFIED)
		return;
	const struct entry *before = event->type == STORE_DELETED ? event->entry : event->previous;
	struct arena *arena = arena_new();
	const char *ns, *name;
	if (before && claim_parent(before, arena, &ns, &name)) {
		autoentry struct entry *service = collection_get(repair->a->services->collection, arena_printf(arena, "%s/%s", ns, name));
		if (service)
			worker_wake(repair->self);
	}
	arena_free(arena);
}

static void run(struct worker *worker, void *arg) {
	struct repair *repair = arg;
	repair->self = worker;
	for (enum claim_kind kind = 0; kind < CLAIM_KINDS; kind++)
		if (collection_watch(repair->a->claims[kind], 0, on_event, repair, &repair->watches[kind]) < 0)
			repair->watches[kind] = NULL;
	int64_t pause = 0;
	do {
		int rc = mend_all(repair);
		if (rc < 0 && rc != -ECANCELED)
			log_warning("allocations could not be repaired; trying again", LOG_STR("error", strerror(-rc)));
		pause = rc < 0 ? RETRY_NS : INTERVAL_NS;
	} while (worker_sleep(worker, pause) && worker_sleep(worker, SETTLE_NS));
	for (enum claim_kind kind = 0; kind < CLAIM_KINDS; kind++)
		if (repair->watches[kind])
			store_watch_cancel(repair->watches[kind]);
}

struct repair *repair_start(struct allocator *a) {
	struct repair *repair = xnew(struct repair);
	*repair = (struct repair){.a = a, .told = MAP_INIT(NULL)};
	repair->worker = worker_start(a->server, run, repair);
	return repair;
}

void repair_stop(struct repair *repair) {
	if (!repair)
		return;
	worker_stop(repair->worker);
	map_done(&repair->told);
	free(repair);
}
