/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API servers on one etcd know of each other by keys that go away with their server: masterleases/<address>, each renewed every ten seconds for fifteen.
 * Whoever sees one come or go brings the endpoints of the kubernetes Service up to date. Beside it a Lease in kube-system tells the cluster who
 * the servers are.
 */
#include "apiserver/bootstrap/internal.h"
#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "common/base/log.h"
#include "common/base/random.h"

#include <errno.h>
#include <unistd.h>

#define LEASE_SECONDS 15
#define IDENTITY_SECONDS 3600
#define IDENTITY_LABEL "apiserver.kubernetes.io/identity"
#define LAST_WORDS_NS (2 * NSEC_PER_SEC)

struct membership {
	struct apiserver *server;
	struct worker *worker;     /* who renews */
	struct collection *members;
	struct store_watch *watch;
	char holder[128];          /* of the Lease: the identity and this life of it */
	unsigned renewals;
	int64_t forgot_at;         /* when Leases of the dead were last looked for */
};

/* The value is what Kubernetes keeps there; its generation makes each renewal a change. */
static int renew_key(struct membership *m) {
	const char *ip = m->server->advertise_address;
	autofree char *json = xprintf("{\"kind\":\"Endpoints\",\"apiVersion\":\"v1\",\"metadata\":{\"generation\":%u},\"subsets\":[{\"addresses\":[{\"ip\":\"%s\"}]}]}", ++m->renewals, ip);
	int rc = -EAGAIN;
	for (unsigned i = 0; i < 3 && (rc == -EAGAIN || rc == -EEXIST); i++) {
		autoentry struct entry *there = collection_get(m->members, ip);
		rc = worker_put(m->worker, m->members, ip, json, strlen(json), there ? there->resource_version : 0, LEASE_SECONDS);
	}
	return rc;
}

/* ---- endpoints ---- */

static int reconcile_endpoints(struct membership *m, struct worker *worker, bool leaving) {
	struct apiserver *server = m->server;
	autosnapshot struct snapshot *members = collection_snapshot(m->members);
	if (!members->len && !leaving)
		return 0; /* our own must be there: what says otherwise is not to be trusted */
	struct core_v1_endpoints *endpoints = api_new_of(core_v1_endpoints);
	struct discovery_v1_endpoint_slice *slice = api_new_of(discovery_v1_endpoint_slice);
	struct arena *arena = api_arena(endpoints), *slice_arena = api_arena(slice);
	endpoints->metadata.name = slice->metadata.name = "kubernetes";
	endpoints->metadata.namespace = slice->metadata.namespace = "default";
	api_map_set(arena, &endpoints->metadata.labels, "endpointslice.kubernetes.io/skip-mirror", "true");
	api_map_set(slice_arena, &slice->metadata.labels, "kubernetes.io/service-name", "kubernetes");
	bool v6 = members->len > 0;
	for (size_t i = 0; i < members->len; i++)
		v6 &= strchr(snapshot_entry(members, i)->key, ':') != NULL;
	slice->address_type = v6 ? "IPv6" : "IPv4";
	if (members->len) {
		struct core_v1_endpoint_subset *subset = api_list_add(arena, &endpoints->subsets);
		*(struct core_v1_endpoint_port *)api_list_add(arena, &subset->ports) = (struct core_v1_endpoint_port){.name = "https", .port = server->port, .protocol = "TCP"};
		*(struct discovery_v1_endpoint_port *)api_list_add(slice_arena, &slice->ports) = (struct discovery_v1_endpoint_port){.name = "https", .port = api_int32(slice_arena, server->port), .protocol = "TCP"};
		for (size_t i = 0; i < members->len; i++) {
			const char *ip = snapshot_entry(members, i)->key;
			((struct core_v1_endpoint_address *)api_list_add(arena, &subset->addresses))->ip = ip;
			if ((strchr(ip, ':') != NULL) != v6)
				continue;
			struct discovery_v1_endpoint *endpoint = api_list_add(slice_arena, &slice->endpoints);
			api_string_list_add(slice_arena, &endpoint->addresses, ip);
			endpoint->conditions.ready = api_bool(slice_arena, true);
		}
	}
	static const char *const fields[] = {"subsets", NULL}, *const slice_fields[] = {"endpoints", "ports", NULL};
	int rc = bootstrap_converge(worker, registry_find(server->registry, "", "v1", "endpoints"), endpoints, fields);
	const struct resource *slices = registry_find(server->registry, "discovery.k8s.io", "v1", "endpointslices");
	autounref struct discovery_v1_endpoint_slice *there = resource_read(slices, "default", "kubernetes");
	/* The type of addresses never changes: a new slice then. */
	if (rc == 0 && there && !str_equal(there->address_type, slice->address_type))
		rc = worker_delete(worker, slices->collection, "default/kubernetes", 0);
	if (rc == 0)
		rc = bootstrap_converge(worker, slices, slice, slice_fields);
	api_unref(endpoints);
	api_unref(slice);
	return rc;
}

static int settle_endpoints(struct membership *m, struct worker *worker, bool leaving) {
	int rc = -EAGAIN;
	if (str_equal(m->server->options->endpoint_reconciler_type, "none"))
		return 0;
	/* Other servers see the same members and write the same endpoints: whoever loses looks again. */
	for (unsigned i = 0; i < 5 && rc == -EAGAIN; i++)
		rc = reconcile_endpoints(m, worker, leaving);
	return rc;
}

/* ---- who we are ---- */

static bool is_expired(const struct coordination_v1_lease *lease) {
	if (!lease->spec.renew_time.set || !lease->spec.lease_duration_seconds)
		return true;
	return clock_wall().sec > lease->spec.renew_time.t.sec + *lease->spec.lease_duration_seconds;
}

static int renew_identity(struct membership *m) {
	struct apiserver *server = m->server;
	struct worker *worker = m->worker;
	const struct resource *leases = registry_find(server->registry, "coordination.k8s.io", "v1", "leases");
	if (!leases)
		return 0;
	struct coordination_v1_lease *there = resource_read(leases, "kube-system", server->identity);
	autounref struct coordination_v1_lease *lease = there ? api_copy(there) : api_new_of(coordination_v1_lease);
	struct arena *arena = api_arena(lease);
	uint64_t revision = there ? worker_revision(there) : 0;
	api_unref(there);
	char host[256] = "";
	gethostname(host, sizeof(host) - 1);
	lease->metadata.name = server->identity;
	lease->metadata.namespace = "kube-system";
	api_map_set(arena, &lease->metadata.labels, IDENTITY_LABEL, "kube-apiserver");
	api_map_set(arena, &lease->metadata.labels, "kubernetes.io/hostname", host);
	bool bare = strchr(server->advertise_address, ':');
	api_map_set(arena, &lease->metadata.annotations, "kubernetes.io/peer-advertise-address", arena_printf(arena, bare ? "[%s]:%u" : "%s:%u", server->advertise_address, server->port));
	lease->spec.holder_identity = m->holder;
	lease->spec.lease_duration_seconds = api_int32(arena, IDENTITY_SECONDS);
	lease->spec.renew_time = api_time_now();
	if (revision)
		return worker_put_object(worker, leases, lease, revision);
	worker_fill(leases, lease);
	return worker_put_object(worker, leases, lease, 0);
}

/* Leases of servers that have not been seen for an hour. */
static void forget_others(struct membership *m) {
	const struct resource *leases = registry_find(m->server->registry, "coordination.k8s.io", "v1", "leases");
	if (!leases)
		return;
	autosnapshot struct snapshot *all = collection_snapshot(leases->collection);
	size_t first, end;
	snapshot_range(all, "kube-system/", &first, &end);
	for (size_t i = first; i < end; i++) {
		struct entry *entry = snapshot_entry(all, i);
		if (!str_equal(api_map_get(&entry->labels, IDENTITY_LABEL), "kube-apiserver"))
			continue;
		void *lease;
		if (resource_decode(leases, entry, &lease, NULL) < 0)
			continue;
		if (is_expired(lease))
			worker_delete(m->worker, leases->collection, entry->key, entry->resource_version);
		api_unref(lease);
	}
}

/* ---- the life of a member ---- */

static void on_event(const struct store_event *event, void *arg) {
	/* A renewal changes nothing; one that is new or gone does. */
	if (event->type == STORE_ADDED || event->type == STORE_DELETED)
		worker_wake(arg);
}

struct membership *membership_start(struct worker *worker) {
	struct membership *m = xnew(struct membership);
	struct apiserver *server = worker_server(worker);
	char uuid[37];
	random_uuid(uuid);
	*m = (struct membership){.server = server, .worker = worker, .members = store_collection(server->store, "masterleases", false, NULL, NULL)};
	snprintf(m->holder, sizeof(m->holder), "%s_%s", server->identity, uuid);
	if (collection_watch(m->members, 0, on_event, worker, &m->watch) < 0)
		m->watch = NULL;
	membership_renew(m);
	return m;
}

void membership_renew(struct membership *m) {
	struct { const char *what; int rc; } steps[] = {
		{"renew this server's key", renew_key(m)},
		{"bring the kubernetes endpoints up to date", settle_endpoints(m, m->worker, false)},
		{"renew this server's Lease", renew_identity(m)},
	};
	for (size_t i = 0; i < array_len(steps); i++)
		if (steps[i].rc < 0 && steps[i].rc != -ECANCELED && steps[i].rc != -EAGAIN)
			log_warning("cannot keep the membership", LOG_STR("step", steps[i].what), LOG_STR("error", strerror(-steps[i].rc)));
	int64_t now = clock_monotonic_ns();
	if (!m->forgot_at || now - m->forgot_at > IDENTITY_SECONDS * NSEC_PER_SEC) {
		m->forgot_at = now;
		forget_others(m);
	}
}

static void leave(struct worker *worker, void *arg) {
	struct membership *m = arg;
	worker_delete(worker, m->members, m->server->advertise_address, 0);
	settle_endpoints(m, worker, true);
}

void membership_stop(struct membership *m) {
	if (!m)
		return;
	if (m->watch)
		store_watch_cancel(m->watch);
	/* A thread of its own, so that an etcd which does not answer holds nobody up for long. */
	struct worker *worker = worker_start(m->server, leave, m);
	if (worker)
		worker_join(worker, LAST_WORDS_NS);
	worker_stop(worker);
	free(m);
}
