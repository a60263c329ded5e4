/* SPDX-License-Identifier: Apache-2.0 */
/* One Service's write: what it is to hold is planned, claimed, and settled afterwards. */
#include "apiserver/services/internal.h"
#include "apiserver/strategy/strategy.h"
#include "api/meta_v1.h"
#include "common/base/random.h"

#include <arpa/inet.h>
#include <errno.h>

/* A Service has at most two addresses, a port for each of its ports, and one for health checks. */
#define MAX_CLAIMS STORE_MAX_GUARDS

struct claim {
	enum claim_kind kind;
	char key[INET6_ADDRSTRLEN];
	const char *name;   /* the Service's, which generateName may change between attempts */
	const char *field;  /* where it was asked for; NULL: chosen */
	struct ip_range range; /* of an address, for the metrics */
	uint64_t revision;  /* of the claim's object; 0: not created yet */
	bool wanted;        /* by the attempt that runs */
	bool lost;          /* somebody else has it, or may have it: not to be taken up again */
};
struct release {
	struct collection *collection;
	const char *key;
	uint64_t revision;
};
struct allocation {
	struct claim items[MAX_CLAIMS];
	size_t len, next;
	struct store_guard guards[MAX_CLAIMS];
	struct release *releases;
	size_t release_count;
};

static struct allocator *allocator_of(const struct write *w) {
	return w->r->server->services;
}

/* ---- what is taken ---- */

static const char *planned_key(enum claim_kind kind, const char *key, char *out) {
	snprintf(out, INET6_ADDRSTRLEN + 2, "%s%s", kind == CLAIM_PORT ? "#" : "", key);
	return out;
}

/* True where nobody holds it; then it is ours to claim, as far as this server's other requests go. */
static bool try_plan(struct allocator *a, struct write *w, enum claim_kind kind, const char *key) {
	char name[INET6_ADDRSTRLEN + 2];
	autoentry struct entry *entry = collection_get(a->claims[kind], key);
	if (entry)
		return false;
	pthread_mutex_lock(&a->lock);
	bool is_free = !map_has(&a->planned, planned_key(kind, key, name));
	if (is_free)
		map_set(&a->planned, name, w);
	pthread_mutex_unlock(&a->lock);
	return is_free;
}

static void forget_plan(struct allocator *a, struct write *w, const struct claim *claim) {
	char name[INET6_ADDRSTRLEN + 2];
	pthread_mutex_lock(&a->lock);
	if (map_get(&a->planned, planned_key(claim->kind, claim->key, name)) == w)
		map_remove(&a->planned, name);
	pthread_mutex_unlock(&a->lock);
}

static struct claim *add_claim(struct write *w, enum claim_kind kind, const char *key, const char *field) {
	struct allocation *al = w->allocation;
	struct claim *claim = &al->items[al->len++];
	*claim = (struct claim){.kind = kind, .name = arena_strdup(w->arena, str_or(api_metadata(w->object)->name, "")), .field = field ? arena_strdup(w->arena, field) : NULL, .wanted = true};
	snprintf(claim->key, sizeof(claim->key), "%s", key);
	return claim;
}

/* One that an earlier attempt of this write has made and this one has not taken up yet. key NULL: any that was chosen, of this family. */
static struct claim *reuse_claim(struct write *w, enum claim_kind kind, const char *key, int family) {
	struct allocation *al = w->allocation;
	for (size_t i = 0; i < al->len; i++) {
		struct claim *c = &al->items[i];
		if (c->wanted || c->lost || c->kind != kind || strcmp(c->name, str_or(api_metadata(w->object)->name, "")) != 0)
			continue;
		if (key ? strcmp(c->key, key) != 0 : c->field || (kind == CLAIM_ADDRESS && (strchr(c->key, ':') ? AF_INET6 : AF_INET) != family))
			continue;
		c->wanted = true;
		return c;
	}
	return NULL;
}

/* Room for one more. */
static int check_room(struct write *w, struct error *err) {
	struct allocation *al = w->allocation;
	return al->len < MAX_CLAIMS ? 0 : error_status(err, 422, "Invalid", "a Service may hold at most %d addresses and ports", MAX_CLAIMS);
}

/* ---- addresses ---- */

/* As Kubernetes does: chosen ones come from the upper part, so that the lower stays for those asked for by hand. */
static bool choose_in_range(struct allocator *a, struct write *w, const struct ip_range *range, char *out) {
	struct { uint64_t first, count; } bands[] = {{range->reserved, range->hosts - range->reserved}, {0, range->reserved}};
	for (size_t band = 0; band < array_len(bands); band++) {
		uint64_t count = bands[band].count, start = count ? random_below(count) : 0;
		for (uint64_t i = 0; i < count; i++) {
			/* start + i, wrapped, without passing 64 bits */
			uint64_t at = i < count - start ? start + i : i - (count - start);
			ip_range_address(range, bands[band].first + at, out);
			if (try_plan(a, w, CLAIM_ADDRESS, out))
				return true;
		}
	}
	return false;
}

static int choose_address(struct allocator *a, struct write *w, int family, struct claim **ret, struct error *err) {
	*ret = reuse_claim(w, CLAIM_ADDRESS, NULL, family);
	if (*ret)
		return 0;
	struct ip_range ranges[MAX_RANGES];
	size_t count = ranges_ready(a, family, ranges, MAX_RANGES);
	char text[INET6_ADDRSTRLEN];
	for (size_t i = 0; i < count; i++) {
		if (!choose_in_range(a, w, &ranges[i], text))
			continue;
		*ret = add_claim(w, CLAIM_ADDRESS, text, NULL);
		(*ret)->range = ranges[i];
		return 0;
	}
	metrics_allocated(CLAIM_ADDRESS, count ? &ranges[0] : NULL, false, true);
	return error_internal(err, "failed to allocate a serviceIP: range is full");
}

static int refuse_address(struct error *err, const struct core_v1_service *service, const char *ip, const char *why) {
	autofree char *value = service_addresses_text(&service->spec);
	error_cause(err, "FieldValueInvalid", "spec.clusterIPs", "Invalid value: %s: failed to allocate IP %s: %s", value, ip, why);
	return error_invalid(err, NULL, "Service", service->metadata.name);
}

static int request_address(struct allocator *a, struct write *w, const char *ip, struct error *err) {
	const struct core_v1_service *service = w->object;
	if (reuse_claim(w, CLAIM_ADDRESS, ip, 0))
		return 0;
	int family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	struct ip_range ranges[MAX_RANGES];
	size_t count = ranges_ready(a, family, ranges, MAX_RANGES), in = 0;
	while (in < count && !ip_range_contains(&ranges[in], ip))
		in++;
	if (in == count)
		return refuse_address(err, service, ip, "the provided network does not match the current range");
	if (!ip_range_may_give(&ranges[in], ip)) {
		char text[INET6_ADDRSTRLEN + 4];
		ip_range_text(&ranges[in], text);
		autofree char *why = xprintf("the provided IP (%s) is not in the valid range. The range of valid IPs is %s", ip, text);
		metrics_allocated(CLAIM_ADDRESS, &ranges[in], true, true);
		return refuse_address(err, service, ip, why);
	}
	if (!try_plan(a, w, CLAIM_ADDRESS, ip)) {
		metrics_allocated(CLAIM_ADDRESS, &ranges[in], true, true);
		return refuse_address(err, service, ip, "provided IP is already allocated");
	}
	add_claim(w, CLAIM_ADDRESS, ip, "spec.clusterIPs")->range = ranges[in];
	return 0;
}

static int plan_addresses(struct allocator *a, struct write *w, struct error *err) {
	struct core_v1_service *service = w->object;
	struct core_v1_service_spec *spec = &service->spec;
	struct arena *arena = api_arena(service);
	for (uint32_t i = 0; i < spec->ip_families.len; i++) {
		int rc = check_room(w, err);
		if (rc < 0)
			return rc;
		if (i < spec->cluster_ips.len) {
			if (!service_holds(w->old, CLAIM_ADDRESS, spec->cluster_ips.items[i]))
				rc = request_address(a, w, spec->cluster_ips.items[i], err);
		} else {
			struct claim *claim;
			rc = choose_address(a, w, strcmp(spec->ip_families.items[i], "IPv6") == 0 ? AF_INET6 : AF_INET, &claim, err);
			if (rc == 0)
				api_string_list_add(arena, &spec->cluster_ips, arena_strdup(arena, claim->key));
		}
		if (rc < 0)
			return rc;
	}
	/* One that was given stays, for validation to compare. */
	if (str_empty(spec->cluster_ip))
		spec->cluster_ip = spec->cluster_ips.len ? spec->cluster_ips.items[0] : NULL;
	return 0;
}

/* ---- ports ---- */

static int refuse_port(struct error *err, const struct core_v1_service *service, const char *field, int port, const char *why) {
	error_cause(err, "FieldValueInvalid", field, "Invalid value: %d: %s", port, why);
	return error_invalid(err, NULL, "Service", service->metadata.name);
}

static int choose_port(struct allocator *a, struct write *w, int32_t *ret, struct error *err) {
	struct claim *claim = reuse_claim(w, CLAIM_PORT, NULL, 0);
	int64_t port;
	if (claim) {
		if (str_to_int64(claim->key, 1, 65535, &port))
			*ret = (int32_t)port;
		return 0;
	}
	uint64_t size = (uint64_t)(a->port_last - a->port_first + 1), reserved = band_reserved(size, 16, 128, 32);
	struct { uint64_t first, count; } bands[] = {{reserved, size - reserved}, {0, reserved}};
	for (size_t band = 0; band < array_len(bands); band++) {
		uint64_t count = bands[band].count, start = count ? random_below(count) : 0;
		for (uint64_t i = 0; i < count; i++) {
			char text[16];
			*ret = a->port_first + (int32_t)(bands[band].first + (start + i) % count);
			snprintf(text, sizeof(text), "%d", *ret);
			if (!try_plan(a, w, CLAIM_PORT, text))
				continue;
			add_claim(w, CLAIM_PORT, text, NULL);
			return 0;
		}
	}
	*ret = 0;
	metrics_allocated(CLAIM_PORT, NULL, false, true);
	return error_internal(err, "failed to allocate a nodePort: range is full");
}

static int request_port(struct allocator *a, struct write *w, int32_t port, const char *field, struct error *err) {
	char text[16];
	snprintf(text, sizeof(text), "%d", port);
	if (reuse_claim(w, CLAIM_PORT, text, 0))
		return 0;
	/* Kubernetes does not look at the range when it only tries. */
	if (!w->dry_run && (port < a->port_first || port > a->port_last)) {
		autofree char *why = xprintf("provided port is not in the valid range. The range of valid ports is %d-%d", a->port_first, a->port_last);
		metrics_allocated(CLAIM_PORT, NULL, true, true);
		return refuse_port(err, w->object, field, port, why);
	}
	if (!try_plan(a, w, CLAIM_PORT, text)) {
		metrics_allocated(CLAIM_PORT, NULL, true, true);
		return refuse_port(err, w->object, field, port, "provided port is already allocated");
	}
	add_claim(w, CLAIM_PORT, text, field);
	return 0;
}

static bool gets_ports(const struct core_v1_service_spec *spec) {
	if (str_equal(spec->type, "NodePort"))
		return true;
	return str_equal(spec->type, "LoadBalancer") && (!spec->allocate_load_balancer_node_ports || *spec->allocate_load_balancer_node_ports);
}

/* On creation TCP and UDP of one port share a node port: the one asked for, wherever it stands, else one that is chosen. */
static int32_t shared_port(const struct core_v1_service_spec *spec, uint32_t index, uint32_t *ret_first) {
	int32_t found = 0;
	for (uint32_t i = 0; i < spec->ports.len; i++) {
		if (spec->ports.items[i].port != spec->ports.items[index].port)
			continue;
		*ret_first = min_of(*ret_first, i);
		if (!found)
			found = spec->ports.items[i].node_port;
	}
	return found;
}

static int plan_port(struct allocator *a, struct write *w, uint32_t index, struct error *err) {
	struct core_v1_service *service = w->object;
	struct core_v1_service_port *port = &service->spec.ports.items[index];
	char text[16];
	autofree char *field = xprintf("spec.ports[%u].nodePort", index);
	int32_t asked = port->node_port;
	if (!w->old) {
		uint32_t first = index;
		int32_t shared = shared_port(&service->spec, index, &first);
		if (first < index && (!port->node_port || port->node_port == shared)) {
			port->node_port = shared;
			return 0;
		}
		port->node_port = asked ? asked : shared;
	} else if (asked) {
		snprintf(text, sizeof(text), "%d", asked);
		for (uint32_t i = 0; i < index; i++)
			if (service->spec.ports.items[i].node_port == asked)
				return 0;
		if (service_holds(w->old, CLAIM_PORT, text))
			return 0;
	}
	return port->node_port ? request_port(a, w, port->node_port, field, err) : choose_port(a, w, &port->node_port, err);
}

static int plan_ports(struct allocator *a, struct write *w, struct error *err) {
	struct core_v1_service *service = w->object;
	struct core_v1_service_spec *spec = &service->spec;
	bool any = str_equal(spec->type, "NodePort") || str_equal(spec->type, "LoadBalancer");
	int rc = 0;
	for (uint32_t i = 0; any && i < spec->ports.len && rc == 0; i++) {
		rc = check_room(w, err);
		if (rc == 0 && (gets_ports(spec) || spec->ports.items[i].node_port))
			rc = plan_port(a, w, i, err);
	}
	if (rc < 0 || !service_wants_health_port(spec))
		return rc;
	rc = check_room(w, err);
	if (rc < 0)
		return rc;
	char text[16];
	snprintf(text, sizeof(text), "%d", spec->health_check_node_port);
	if (!spec->health_check_node_port)
		return choose_port(a, w, &spec->health_check_node_port, err);
	return service_holds(w->old, CLAIM_PORT, text) ? 0 : request_port(a, w, spec->health_check_node_port, "spec.healthCheckNodePort", err);
}

int service_plan(struct write *w, struct error *err) {
	struct allocator *a = allocator_of(w);
	if (w->operation == WRITE_DELETE)
		return 0;
	if (!w->allocation)
		w->allocation = arena_new_type(w->arena, struct allocation);
	for (size_t i = 0; i < w->allocation->len; i++) {
		w->allocation->items[i].wanted = false;
		w->allocation->items[i].lost |= w->guards_failed;
	}
	w->guards_failed = false;
	struct core_v1_service *service = w->object;
	int rc = service_fill_families(a, service, w->old, err);
	if (rc == 0 && service_wants_address(&service->spec))
		rc = plan_addresses(a, w, err);
	if (rc == 0)
		rc = plan_ports(a, w, err);
	return rc;
}

/* ---- claiming ---- */

static void claim_next(struct write *w);

static void refuse_taken(struct write *w, const struct claim *claim) {
	autoerror struct error err = {0};
	if (claim->kind == CLAIM_ADDRESS) {
		refuse_address(&err, w->object, claim->key, "provided IP is already allocated");
	} else {
		int64_t port = 0;
		str_to_int64(claim->key, 1, 65535, &port);
		refuse_port(&err, w->object, claim->field, (int)port, "provided port is already allocated");
	}
	write_claimed(w, CLAIM_REFUSED, &err);
}

static void on_claimed(int errnum, struct entry *current, void *arg) {
	struct write *w = arg;
	struct allocator *a = allocator_of(w);
	struct claim *claim = &w->allocation->items[w->allocation->next];
	if (errnum == 0) {
		claim->revision = current->resource_version;
		forget_plan(a, w, claim); /* the cache has it now */
		metrics_allocated(claim->kind, &claim->range, claim->field != NULL, false);
		w->allocation->next++;
		claim_next(w);
		return;
	}
	if (errnum != -EEXIST) {
		/* Whether it was created is not known perhaps: the repair finds it. */
		autoerror struct error err = {0};
		write_store_error(w, errnum, &err);
		claim->lost = true;
		write_claimed(w, CLAIM_REFUSED, &err);
		return;
	}
	metrics_allocated(claim->kind, &claim->range, claim->field != NULL, true);
	claim->lost = true;
	if (claim->field)
		refuse_taken(w, claim);
	else
		write_claimed(w, CLAIM_AGAIN, NULL); /* another server was faster: choose anew. It stays planned until the end, so that it is not chosen again. */
}

static void claim_next(struct write *w) {
	struct allocator *a = allocator_of(w);
	struct allocation *al = w->allocation;
	while (al->next < al->len && (!al->items[al->next].wanted || al->items[al->next].revision))
		al->next++;
	if (al->next < al->len) {
		const struct claim *claim = &al->items[al->next];
		autobuf struct buf json = BUF_INIT(8 << 10);
		claim_json(claim->kind, claim->key, w->ns, claim->name, &json);
		collection_put(a->claims[claim->kind], claim->key, json.data, json.len, 0, 0, on_claimed, w);
		return;
	}
	w->guard_count = 0;
	for (size_t i = 0; i < al->len; i++)
		if (al->items[i].wanted)
			al->guards[w->guard_count++] = (struct store_guard){a->claims[al->items[i].kind], al->items[i].key, al->items[i].revision};
	w->guards = al->guards;
	write_claimed(w, CLAIM_DONE, NULL);
}

void service_claim(struct write *w) {
	if (!w->allocation) {
		write_claimed(w, CLAIM_DONE, NULL);
		return;
	}
	w->allocation->next = 0;
	claim_next(w);
}

/* ---- settling ---- */

struct settling {
	struct write *w;
	const struct core_v1_service *kept;
	const char *ns, *name;
};

static void count_held(enum claim_kind kind, const char *key, void *arg) {
	++*(size_t *)arg;
}

/* revision 0: as it may be then. */
static void add_release(struct write *w, struct collection *collection, const char *key, uint64_t revision) {
	struct allocation *al = w->allocation;
	al->releases[al->release_count++] = (struct release){collection, arena_strdup(w->arena, key), revision};
}

/* What the old state held and the new one does not; where the claim is really this Service's. */
static void release_old(enum claim_kind kind, const char *key, void *arg) {
	struct settling *s = arg;
	if (service_holds(s->kept, kind, key))
		return;
	autoentry struct entry *entry = collection_get(allocator_of(s->w)->claims[kind], key);
	const char *ns, *name;
	if (entry && claim_parent(entry, s->w->arena, &ns, &name) && strcmp(ns, s->ns) == 0 && strcmp(name, s->name) == 0)
		add_release(s->w, allocator_of(s->w)->claims[kind], key, entry->resource_version);
}

static void release_next(struct write *w);

static void on_released(int errnum, struct entry *current, void *arg) {
	release_next(arg); /* what could not be given back, the repair will find */
}

static void release_next(struct write *w) {
	struct allocation *al = w->allocation;
	if (al->next == al->release_count) {
		write_settled(w);
		return;
	}
	const struct release *release = &al->releases[al->next++];
	collection_delete(release->collection, release->key, release->revision, on_released, w);
}

void service_settle(struct write *w, enum write_outcome outcome) {
	struct allocator *a = allocator_of(w);
	if (!w->allocation)
		w->allocation = arena_new_type(w->arena, struct allocation);
	struct allocation *al = w->allocation;
	const struct core_v1_service *old = w->old;
	bool removed = outcome == WRITE_STORED && w->action == WRITE_REMOVE;
	size_t most = al->len + 1;
	service_each_held(old, count_held, &most);
	al->releases = arena_calloc(w->arena, most, sizeof(*al->releases));
	al->release_count = 0;
	struct settling s = {.w = w, .kept = outcome == WRITE_STORED && !removed ? w->object : NULL};
	for (size_t i = 0; i < al->len; i++) {
		struct claim *claim = &al->items[i];
		forget_plan(a, w, claim);
		/* Of what was perhaps stored nothing is given back: the repair looks once it is known. */
		bool held = claim->wanted && outcome != WRITE_NOT_STORED;
		if (claim->revision && !held)
			add_release(w, a->claims[claim->kind], claim->key, claim->revision);
	}
	if (outcome == WRITE_STORED && old) {
		s.ns = old->metadata.namespace;
		s.name = old->metadata.name;
		service_each_held(old, release_old, &s);
	}
	/* A new Service of the same name must not find the old one's endpoints. */
	if (removed && old)
		add_release(w, a->endpoints, w->key, 0);
	al->len = 0;
	al->next = 0;
	release_next(w);
}
