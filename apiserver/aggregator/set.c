/* SPDX-License-Identifier: Apache-2.0 */
/* The APIServices in effect, as the cache has them. */
#include "apiserver/aggregator/internal.h"
#include "apiserver/proxy/kubelet.h"
#include "api/apiregistration_v1.h"
#include "api/core_v1.h"
#include "common/base/log.h"

#include <arpa/inet.h>
#include <errno.h>

typedef struct apiregistration_v1_api_service apiservice_t;

/* ---- one ---- */

struct aggregated *aggregated_ref(struct aggregated *info) {
	__atomic_add_fetch(&info->refs, 1, __ATOMIC_RELAXED);
	return info;
}

void aggregated_unref(struct aggregated *info) {
	if (!info || __atomic_sub_fetch(&info->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(info->name);
	free(info->group);
	free(info->version);
	free(info->ns);
	free(info->service);
	free(info->server_name);
	trust_unref(info->trust);
	free(info);
}

static bool is_available(const apiservice_t *object) {
	for (uint32_t i = 0; i < object->status.conditions.len; i++)
		if (str_equal(object->status.conditions.items[i].type, "Available"))
			return str_equal(object->status.conditions.items[i].status, "True");
	return false;
}

static struct aggregated *make(struct aggregator *a, const apiservice_t *object, const struct aggregated *old) {
	struct aggregated *info = xnew(struct aggregated);
	const struct apiregistration_v1_service_reference *service = object->spec.service;
	*info = (struct aggregated){
		.refs = 1,
		.name = xstrdup(object->metadata.name),
		.group = xstrdup(str_or(object->spec.group, "")),
		.version = xstrdup(str_or(object->spec.version, "")),
		.group_priority = object->spec.group_priority_minimum,
		.version_priority = object->spec.version_priority,
		.available = is_available(object),
	};
	if (!service)
		return info;
	info->ns = xstrdup(str_or(service->namespace, ""));
	info->service = xstrdup(str_or(service->name, ""));
	info->port = service->port ? *service->port : 443;
	info->server_name = xprintf("%s.%s.svc", info->service, info->ns);
	info->trust = trust_get(a->server->options, object->spec.ca_bundle.data, object->spec.ca_bundle.len, object->spec.insecure_skip_tls_verify, old ? old->trust : NULL);
	return info;
}

/* What is remembered of a server that is another now is of no use. */
static bool same_server(const struct aggregated *x, const struct aggregated *y) {
	return x && y && x->service && y->service && strcmp(x->ns, y->ns) == 0 && strcmp(x->service, y->service) == 0 && x->port == y->port && x->trust == y->trust;
}

void told_unref(struct told *told) {
	if (!told || __atomic_sub_fetch(&told->refs, 1, __ATOMIC_ACQ_REL))
		return;
	free(told->resources);
	free(told->swagger);
	map_done(&told->documents);
	free(told);
}

/* ---- all ---- */

/* Under the lock. The place where it is, or belongs. */
static size_t position(const struct aggregator *a, const char *name, bool *ret_there) {
	size_t low = 0, high = a->len;
	while (low < high) {
		size_t middle = (low + high) / 2;
		int order = strcmp(a->members[middle]->info->name, name);
		if (order == 0) {
			*ret_there = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_there = false;
	return low;
}

static struct member *find(const struct aggregator *a, const char *name) {
	bool there;
	size_t at = position(a, name, &there);
	return there ? a->members[at] : NULL;
}

/* Under the lock for writing. */
static void changed(struct aggregator *a) {
	unsigned remotes = 0;
	for (size_t i = 0; i < a->len; i++)
		remotes += a->members[i]->info->service != NULL;
	__atomic_store_n(&a->remotes, remotes, __ATOMIC_RELEASE);
	__atomic_add_fetch(&a->generation, 1, __ATOMIC_ACQ_REL);
}

static void member_free(struct member *member) {
	aggregated_unref(member->info);
	told_unref(member->told);
	free(member);
}

/* Returns whether it is to be looked at: what was seen of it may be true no more. */
static bool put(struct aggregator *a, const apiservice_t *object) {
	/* Only this thread puts and drops: what is found here stays what it is. */
	autoaggregated struct aggregated *old = set_find(a, object->metadata.name);
	struct aggregated *info = make(a, object, old);
	bool there;
	pthread_rwlock_wrlock(&a->lock);
	size_t at = position(a, info->name, &there);
	if (!there) {
		a->members = xreallocarray(a->members, a->len + 1, sizeof(*a->members));
		memmove(a->members + at + 1, a->members + at, (a->len++ - at) * sizeof(*a->members));
		a->members[at] = xnew(struct member);
	}
	struct member *member = a->members[at];
	if (!same_server(old, info)) {
		told_unref(take_ptr(member->told));
		*member->address = '\0';
	}
	struct aggregated *before = member->info;
	member->info = info;
	bool news = info->service ? !same_server(old, info) : !info->available;
	changed(a);
	pthread_rwlock_unlock(&a->lock);
	aggregated_unref(before);
	return news;
}

static void drop(struct aggregator *a, const char *name) {
	struct member *gone = NULL;
	bool there;
	pthread_rwlock_wrlock(&a->lock);
	size_t at = position(a, name, &there);
	if (there) {
		gone = a->members[at];
		memmove(a->members + at, a->members + at + 1, (--a->len - at) * sizeof(*a->members));
		changed(a);
	}
	pthread_rwlock_unlock(&a->lock);
	if (gone)
		member_free(gone);
}

struct aggregated *set_find(struct aggregator *a, const char *name) {
	pthread_rwlock_rdlock(&a->lock);
	struct member *member = find(a, name);
	struct aggregated *info = member ? aggregated_ref(member->info) : NULL;
	pthread_rwlock_unlock(&a->lock);
	return info;
}

struct aggregated *set_find_version(struct aggregator *a, const char *group, const char *version) {
	autofree char *name = xprintf("%s.%s", version, group);
	return set_find(a, name);
}

struct aggregated *set_find_document(struct aggregator *a, const char *key) {
	struct aggregated *info = NULL;
	pthread_rwlock_rdlock(&a->lock);
	for (size_t i = 0; i < a->len && !info; i++)
		if (a->members[i]->info->service && a->members[i]->told && map_has(&a->members[i]->told->documents, key))
			info = aggregated_ref(a->members[i]->info);
	pthread_rwlock_unlock(&a->lock);
	return info;
}

void set_told(struct aggregator *a, const char *name, struct told *take_told) {
	struct told *before = take_told;
	pthread_rwlock_wrlock(&a->lock);
	struct member *member = find(a, name);
	if (member) {
		before = member->told;
		member->told = take_told;
		changed(a);
	}
	pthread_rwlock_unlock(&a->lock);
	told_unref(before);
}

bool set_is_told(struct aggregator *a, const char *name) {
	pthread_rwlock_rdlock(&a->lock);
	struct member *member = find(a, name);
	bool is_told = member && member->told;
	pthread_rwlock_unlock(&a->lock);
	return is_told;
}

void set_address(struct aggregator *a, const char *name, const char *address) {
	pthread_rwlock_wrlock(&a->lock);
	struct member *member = find(a, name);
	if (member)
		snprintf(member->address, sizeof(member->address), "%s", address);
	pthread_rwlock_unlock(&a->lock);
}

uint64_t aggregator_generation(struct aggregator *a) {
	return __atomic_load_n(&a->generation, __ATOMIC_ACQUIRE);
}

void set_refresh_certificate(struct aggregator *a) {
	pthread_rwlock_rdlock(&a->lock);
	size_t count = a->len;
	char **names = xcalloc(count + 1, sizeof(*names));
	for (size_t i = 0; i < count; i++)
		if (a->members[i]->info->trust)
			names[i] = xstrdup(a->members[i]->info->name);
	pthread_rwlock_unlock(&a->lock);
	for (size_t i = 0; i < count; i++) {
		autoaggregated struct aggregated *info = names[i] ? set_find(a, names[i]) : NULL;
		if (info && info->trust) {
			struct trust *fresh = trust_get(a->server->options, info->trust->ca, info->trust->ca_len, !info->trust->verify, info->trust);
			pthread_rwlock_wrlock(&a->lock);
			struct member *member = find(a, names[i]);
			if (fresh != info->trust && member && member->info == info) {
				struct aggregated *copy = xnew(struct aggregated);
				*copy = (struct aggregated){
					.refs = 1, .name = xstrdup(info->name), .group = xstrdup(info->group), .version = xstrdup(info->version), .group_priority = info->group_priority,
					.version_priority = info->version_priority, .ns = xstrdup(info->ns), .service = xstrdup(info->service), .port = info->port,
					.server_name = xstrdup(info->server_name), .trust = trust_ref(fresh), .available = info->available,
				};
				member->info = copy;
				aggregated_unref(info); /* the member's */
			}
			pthread_rwlock_unlock(&a->lock);
			trust_unref(fresh);
		}
		free(names[i]);
	}
	free(names);
}

/* ---- where they are ---- */

/* The address that a Service has within the cluster. */
static int locate_cluster(struct aggregator *a, const struct aggregated *info, struct arena *arena, const char **ret_address, uint16_t *ret_port, struct error *err) {
	autounref struct core_v1_service *service = registry_read(a->server->registry, "", "services", info->ns, info->service);
	if (!service)
		return error_set(err, ENOENT, "service \"%s\" not found", info->service);
	if (str_equal(service->spec.type, "ExternalName"))
		return service_locate(a->server, arena, info->ns, info->service, info->port, ret_address, ret_port, err);
	if (str_empty(service->spec.cluster_ip) || strcmp(service->spec.cluster_ip, "None") == 0)
		return error_set(err, EINVAL, "cannot route to service with ClusterIP \"None\"");
	bool found = false;
	for (uint32_t i = 0; i < service->spec.ports.len; i++)
		found |= service->spec.ports.items[i].port == info->port;
	if (!found)
		return error_set(err, ENOENT, "no service port %d found for service \"%s\"", info->port, info->service);
	*ret_address = arena_strdup(arena, service->spec.cluster_ip);
	*ret_port = (uint16_t)info->port;
	return 0;
}

static bool is_numeric(const char *text) {
	uint8_t address[16];
	return inet_pton(AF_INET, text, address) == 1 || inet_pton(AF_INET6, text, address) == 1;
}

int set_locate(struct aggregator *a, const struct aggregated *info, struct arena *arena, const char **ret_address, uint16_t *ret_port, struct error *err) {
	const char *address;
	uint16_t port;
	int rc = (a->server->options->enable_aggregator_routing ? service_locate(a->server, arena, info->ns, info->service, info->port, &address, &port, err)
								 : locate_cluster(a, info, arena, &address, &port, err));
	if (rc < 0)
		return rc;
	if (!is_numeric(address)) {
		/* A name: what the worker has found for it. */
		pthread_rwlock_rdlock(&a->lock);
		struct member *member = find(a, info->name);
		const char *known = member && *member->address ? arena_strdup(arena, member->address) : NULL;
		pthread_rwlock_unlock(&a->lock);
		if (!known)
			return error_set(err, EADDRNOTAVAIL, "%s", address);
		address = known;
	}
	*ret_address = address;
	*ret_port = port;
	return 0;
}

/* ---- events ---- */

void set_note(struct aggregator *a, const char *name) {
	pthread_mutex_lock(&a->work);
	set_add(&a->dirty, name);
	if (a->wake)
		worker_wake(a->wake);
	pthread_mutex_unlock(&a->work);
}

static void take(struct aggregator *a, struct entry *entry, bool gone) {
	void *object = NULL;
	bool news = gone;
	if (gone) {
		drop(a, entry->name);
	} else if (resource_decode(a->apiservices, entry, &object, NULL) == 0) {
		news = put(a, object);
		api_unref(object);
	}
	if (news)
		set_note(a, entry->name);
}

static void on_apiservice(const struct store_event *event, void *arg) {
	if (event->type != STORE_BOOKMARK)
		take(arg, event->entry, event->type == STORE_DELETED);
}

/* A Service, or what serves it, is not what it was. */
static void note_service(struct aggregator *a, const char *ns, const char *service) {
	char *names[16];
	size_t count = 0;
	if (!service || !__atomic_load_n(&a->remotes, __ATOMIC_ACQUIRE))
		return;
	pthread_rwlock_rdlock(&a->lock);
	for (size_t i = 0; i < a->len && count < array_len(names); i++) {
		const struct aggregated *info = a->members[i]->info;
		if (info->service && strcmp(info->ns, ns) == 0 && strcmp(info->service, service) == 0)
			names[count++] = xstrdup(info->name);
	}
	pthread_rwlock_unlock(&a->lock);
	for (size_t i = 0; i < count; i++) {
		set_note(a, names[i]);
		free(names[i]);
	}
}

static void on_service(const struct store_event *event, void *arg) {
	if (event->type != STORE_BOOKMARK)
		note_service(arg, event->entry->ns, event->entry->name);
}

static void on_slice(const struct store_event *event, void *arg) {
	if (event->type != STORE_BOOKMARK)
		note_service(arg, event->entry->ns, api_map_get(&event->entry->labels, "kubernetes.io/service-name"));
}

void set_follow(struct aggregator *a) {
	struct registry *registry = a->server->registry;
	const struct resource *services = registry_find(registry, "", "v1", "services"), *slices = registry_find(registry, "discovery.k8s.io", "v1", "endpointslices");
	for (bool followed = false; !followed;) {
		autosnapshot struct snapshot *snapshot = collection_snapshot(a->apiservices->collection);
		for (size_t i = 0; i < snapshot->len; i++)
			take(a, snapshot_entry(snapshot, i), false);
		followed = collection_watch(a->apiservices->collection, snapshot->revision, on_apiservice, a, &a->watches[0]) == 0;
	}
	if (services && collection_watch(services->collection, 0, on_service, a, &a->watches[1]) < 0)
		a->watches[1] = NULL;
	if (slices && collection_watch(slices->collection, 0, on_slice, a, &a->watches[2]) < 0)
		a->watches[2] = NULL;
}
