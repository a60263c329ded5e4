/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/zone.h"

#include "common/base/map.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#define SCHEMA_VERSION "1.1.0" /* of the specification, told at dns-version.<domain> */
#define RECORDS_PER_ANSWER_MAX 256
#define SERVICE_NAMES_MAX 100000

/* One record: whose it is, and its data. SRV, CNAME and PTR keep their target as text, to be compressed or resolved. */
struct record {
	const struct owner *owner;
	uint16_t type;
	uint8_t data[16]; /* A, AAAA: address; SRV: priority, weight, port */
	uint8_t data_len;
	char *target;
};

/* A name of the zone. Names with nothing but names below them exist too (they answer "no data", not "no such name"). */
struct node {
	struct record *items;
	size_t len, cap;
	size_t children;
};

/* What one Service put into the zone, so that it can be taken out again. */
struct owner {
	char *key;
	char **names;
	size_t len, cap;
};

struct zone {
	char *domain;
	pthread_rwlock_t lock;
	struct map nodes;      /* name -> struct node */
	struct map owners;     /* "ns/name" -> struct owner */
	struct map namespaces; /* a set */
	size_t record_count;
	atomic_bool ready;
	atomic_uint rotation; /* so that askers who take the first address spread */
};

static void free_record(struct record *r) {
	free(r->target);
}

static void free_node(void *value) {
	struct node *node = value;
	for (size_t i = 0; i < node->len; i++)
		free_record(&node->items[i]);
	free(node->items);
	free(node);
}

static void free_owner(void *value) {
	struct owner *owner = value;
	for (size_t i = 0; i < owner->len; i++)
		free(owner->names[i]);
	free(owner->names);
	free(owner->key);
	free(owner);
}

struct zone *zone_new(const char *domain) {
	struct zone *zone = xnew(struct zone);
	zone->domain = xstrdup(domain);
	for (char *c = zone->domain; *c; c++)
		*c = (char)tolower((uint8_t)*c);
	pthread_rwlock_init(&zone->lock, NULL);
	zone->nodes = MAP_INIT(free_node);
	zone->owners = MAP_INIT(free_owner);
	zone->namespaces = MAP_INIT(NULL);
	map_set(&zone->nodes, zone->domain, xnew(struct node));
	return zone;
}

void zone_free(struct zone *zone) {
	if (!zone)
		return;
	map_done(&zone->nodes);
	map_done(&zone->owners);
	map_done(&zone->namespaces);
	pthread_rwlock_destroy(&zone->lock);
	free(zone->domain);
	free(zone);
}

/* ---- names in and out; the lock is held for writing ---- */

static const char *parent_of(const char *name) {
	const char *dot = strchr(name, '.');
	return dot ? dot + 1 : NULL;
}

static struct node *make_node(struct zone *zone, const char *name) {
	struct node *node = map_get(&zone->nodes, name);
	if (node)
		return node;
	node = xnew(struct node);
	map_set(&zone->nodes, name, node);
	const char *parent = parent_of(name);
	if (parent && !str_equal(name, zone->domain))
		make_node(zone, parent)->children++;
	return node;
}

static void prune(struct zone *zone, const char *name) {
	while (name && !str_equal(name, zone->domain)) {
		struct node *node = map_get(&zone->nodes, name);
		if (!node || node->len || node->children)
			return;
		const char *parent = parent_of(name);
		map_remove(&zone->nodes, name);
		struct node *above = parent ? map_get(&zone->nodes, parent) : NULL;
		if (above && above->children)
			above->children--;
		name = parent;
	}
}

static void remember_name(struct owner *owner, const char *name) {
	if (owner->len == owner->cap) {
		owner->cap = owner->cap ? owner->cap * 2 : 8;
		owner->names = xreallocarray(owner->names, owner->cap, sizeof(*owner->names));
	}
	owner->names[owner->len++] = xstrdup(name);
}

static void add_record(struct zone *zone, struct owner *owner, const char *name, uint16_t type, const void *data, size_t data_len, const char *target) {
	if (strlen(name) > DNS_NAME_MAX - 2 || owner->len >= SERVICE_NAMES_MAX)
		return;
	struct node *node = make_node(zone, name);
	for (size_t i = 0; i < node->len; i++) {
		struct record *have = &node->items[i];
		if (have->owner == owner && have->type == type && have->data_len == data_len && (!data_len || memcmp(have->data, data, data_len) == 0) &&
			str_equal(have->target, target))
			return;
	}
	if (node->len == node->cap) {
		node->cap = node->cap ? node->cap * 2 : 2;
		node->items = xreallocarray(node->items, node->cap, sizeof(*node->items));
	}
	struct record *r = &node->items[node->len++];
	*r = (struct record){.owner = owner, .type = type, .data_len = (uint8_t)data_len, .target = target ? xstrdup(target) : NULL};
	if (data_len)
		memcpy(r->data, data, data_len);
	remember_name(owner, name);
	zone->record_count++;
}

static void remove_owner(struct zone *zone, const char *key) {
	struct owner *owner = map_get(&zone->owners, key);
	if (!owner)
		return;
	for (size_t i = 0; i < owner->len; i++) {
		struct node *node = map_get(&zone->nodes, owner->names[i]);
		size_t kept = 0;
		for (size_t k = 0; node && k < node->len; k++) {
			if (node->items[k].owner != owner) {
				node->items[kept++] = node->items[k];
				continue;
			}
			free_record(&node->items[k]);
			zone->record_count--;
		}
		if (node)
			node->len = kept;
		prune(zone, owner->names[i]);
	}
	map_remove(&zone->owners, key);
}

/* ---- the records of a service ---- */

struct builder {
	struct zone *zone;
	struct owner *owner;
	char *base; /* name.ns.svc.domain */
};

/* "4.3.2.1.in-addr.arpa", or the nibbles of RFC 3596 under ip6.arpa. */
static bool reverse_name(const char *address, char out[128]) {
	uint8_t bytes[16];
	if (inet_pton(AF_INET, address, bytes) == 1) {
		snprintf(out, 128, "%u.%u.%u.%u.in-addr.arpa", bytes[3], bytes[2], bytes[1], bytes[0]);
		return true;
	}
	if (inet_pton(AF_INET6, address, bytes) != 1)
		return false;
	size_t at = 0;
	for (int i = 15; i >= 0; i--)
		at += (size_t)snprintf(out + at, 128 - at, "%x.%x.", bytes[i] & 0xf, bytes[i] >> 4);
	snprintf(out + at, 128 - at, "ip6.arpa");
	return true;
}

static bool add_address(struct builder *b, const char *name, const char *address) {
	uint8_t bytes[16];
	if (inet_pton(AF_INET, address, bytes) == 1)
		add_record(b->zone, b->owner, name, DNS_A, bytes, 4, NULL);
	else if (inet_pton(AF_INET6, address, bytes) == 1)
		add_record(b->zone, b->owner, name, DNS_AAAA, bytes, 16, NULL);
	else
		return false;
	return true;
}

static void add_reverse(struct builder *b, const char *address, const char *name) {
	char reverse[128];
	if (reverse_name(address, reverse))
		add_record(b->zone, b->owner, reverse, DNS_PTR, NULL, 0, name);
}

static void add_srv(struct builder *b, const char *port_name, const char *protocol, int32_t port, const char *target) {
	if (str_empty(port_name) || port < 1 || port > 65535)
		return;
	autofree char *name = xprintf("_%s._%s.%s", port_name, str_or(protocol, "TCP"), b->base);
	for (char *c = name; *c; c++)
		*c = (char)tolower((uint8_t)*c);
	const uint8_t data[6] = {0, 0, 0, 100, (uint8_t)(port >> 8), (uint8_t)port};
	add_record(b->zone, b->owner, name, DNS_SRV, data, sizeof(data), target);
}

static void build_cluster_ip(struct builder *b, const struct core_v1_service *service) {
	const struct core_v1_service_spec *spec = &service->spec;
	for (uint32_t i = 0; i < spec->cluster_ips.len; i++)
		if (add_address(b, b->base, spec->cluster_ips.items[i]))
			add_reverse(b, spec->cluster_ips.items[i], b->base);
	if (!spec->cluster_ips.len && add_address(b, b->base, spec->cluster_ip))
		add_reverse(b, spec->cluster_ip, b->base);
	for api_list_each (port, &spec->ports)
		add_srv(b, port->name, port->protocol, port->port, b->base);
}

/* An endpoint's own label: its hostname, or its address with dashes, as CoreDNS names those without. */
static void endpoint_label(const struct discovery_v1_endpoint *endpoint, const char *address, char out[64]) {
	if (!str_empty(endpoint->hostname)) {
		snprintf(out, 64, "%s", endpoint->hostname);
		return;
	}
	snprintf(out, 64, "%s", address);
	for (char *c = out; *c; c++)
		if (*c == '.' || *c == ':')
			*c = '-';
}

static void build_endpoint(struct builder *b, const struct discovery_v1_endpoint_slice *slice, const struct discovery_v1_endpoint *endpoint, bool not_ready_too) {
	if (endpoint->conditions.ready && !*endpoint->conditions.ready && !not_ready_too)
		return;
	for (uint32_t i = 0; i < endpoint->addresses.len; i++) {
		const char *address = endpoint->addresses.items[i];
		char label[64];
		endpoint_label(endpoint, address, label);
		autofree char *name = xprintf("%s.%s", label, b->base);
		if (!add_address(b, b->base, address))
			continue;
		add_address(b, name, address);
		if (!str_empty(endpoint->hostname))
			add_reverse(b, address, name);
		for api_list_each (port, &slice->ports)
			if (port->port)
				add_srv(b, port->name, port->protocol, *port->port, name);
	}
}

void zone_set_service(struct zone *zone, const char *key, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count) {
	pthread_rwlock_wrlock(&zone->lock);
	remove_owner(zone, key);
	if (service) {
		struct owner *owner = xnew(struct owner);
		owner->key = xstrdup(key);
		map_set(&zone->owners, key, owner);
		struct builder b = {.zone = zone, .owner = owner};
		b.base = xprintf("%s.%s.svc.%s", service->metadata.name, service->metadata.namespace, zone->domain);
		if (str_equal(service->spec.type, "ExternalName")) {
			autofree char *target = xstrdup(str_or(service->spec.external_name, ""));
			size_t len = strlen(target);
			if (len && target[len - 1] == '.')
				target[len - 1] = '\0';
			if (*target)
				add_record(zone, owner, b.base, DNS_CNAME, NULL, 0, target);
		} else if (str_equal(service->spec.cluster_ip, "None")) {
			make_node(zone, b.base); /* exists, be it without endpoints */
			remember_name(owner, b.base);
			for (size_t i = 0; i < slice_count; i++)
				for api_list_each (endpoint, &slices[i]->endpoints)
					build_endpoint(&b, slices[i], endpoint, service->spec.publish_not_ready_addresses);
		} else if (!str_empty(service->spec.cluster_ip)) {
			build_cluster_ip(&b, service);
		}
		free(b.base);
	}
	pthread_rwlock_unlock(&zone->lock);
}

void zone_set_namespace(struct zone *zone, const char *ns, bool exists) {
	pthread_rwlock_wrlock(&zone->lock);
	if (exists)
		set_add(&zone->namespaces, ns);
	else
		map_remove(&zone->namespaces, ns);
	pthread_rwlock_unlock(&zone->lock);
}

void zone_set_ready(struct zone *zone) {
	atomic_store(&zone->ready, true);
}

bool zone_is_ready(const struct zone *zone) {
	return atomic_load(&zone->ready);
}

size_t zone_record_count(struct zone *zone) {
	pthread_rwlock_rdlock(&zone->lock);
	size_t count = zone->record_count;
	pthread_rwlock_unlock(&zone->lock);
	return count;
}

/* ---- answers; the lock is held for reading ---- */

static bool under(const char *name, const char *domain) {
	size_t len = strlen(name), domain_len = strlen(domain);
	return len >= domain_len && strcmp(name + len - domain_len, domain) == 0 && (len == domain_len || name[len - domain_len - 1] == '.');
}

static void write_soa(struct zone *zone, struct dns_writer *writer, unsigned section) {
	uint8_t data[2 * DNS_NAME_MAX + 20];
	autofree char *server = xprintf("ns.dns.%s", zone->domain);
	autofree char *mailbox = xprintf("hostmaster.%s", zone->domain);
	size_t at = dns_name_to_wire(server, data);
	at += dns_name_to_wire(mailbox, data + at);
	const uint32_t numbers[5] = {htonl(1), htonl(7200), htonl(1800), htonl(86400), htonl(ZONE_TTL)}; /* serial refresh retry expire negative-ttl */
	memcpy(data + at, numbers, sizeof(numbers));
	dns_write_record(writer, section, zone->domain, DNS_SOA, ZONE_TTL, data, (uint16_t)(at + sizeof(numbers)));
}

static size_t write_negative(struct zone *zone, const struct dns_question *question, int rcode, uint8_t *out, size_t max) {
	struct dns_writer writer;
	dns_write_begin(&writer, out, max, question, rcode, true);
	write_soa(zone, &writer, 1);
	return dns_write_end(&writer);
}

static void write_one(struct dns_writer *writer, unsigned section, const char *name, const struct record *r) {
	if (r->target)
		dns_write_name_record(writer, section, name, r->type, ZONE_TTL, r->data, r->data_len, r->target);
	else
		dns_write_record(writer, section, name, r->type, ZONE_TTL, r->data, r->data_len);
}

/* Records of one type, begun at another one each time. Returns how many there are. */
static size_t write_type(struct zone *zone, struct dns_writer *writer, unsigned section, const char *name, const struct node *node, uint16_t type) {
	const struct record *matching[RECORDS_PER_ANSWER_MAX];
	size_t n = 0;
	for (size_t i = 0; i < node->len && n < RECORDS_PER_ANSWER_MAX; i++)
		if (node->items[i].type == type || type == DNS_ANY)
			matching[n++] = &node->items[i];
	size_t first = n > 1 ? atomic_fetch_add_explicit(&zone->rotation, 1, memory_order_relaxed) % n : 0;
	for (size_t i = 0; i < n; i++) {
		const struct record *r = matching[(first + i) % n];
		if (r->type == DNS_SRV && n > 1) { /* CoreDNS shares a weight of 100 among the targets */
			struct record shared = *r;
			shared.data[3] = (uint8_t)max_of((size_t)1, 100 / n);
			write_one(writer, section, name, &shared);
		} else {
			write_one(writer, section, name, r);
		}
	}
	return n;
}

/* Addresses of the targets of SRV records, so that the asker need not ask again. */
static void write_targets(struct zone *zone, struct dns_writer *writer, const struct node *node) {
	for (size_t i = 0; i < node->len && i < RECORDS_PER_ANSWER_MAX; i++) {
		const struct record *r = &node->items[i];
		bool seen = false;
		for (size_t k = 0; k < i && !seen; k++)
			seen = str_equal(node->items[k].target, r->target);
		const struct node *target = r->type == DNS_SRV && !seen ? map_get(&zone->nodes, r->target) : NULL;
		if (!target)
			continue;
		write_type(zone, writer, 2, r->target, target, DNS_A);
		write_type(zone, writer, 2, r->target, target, DNS_AAAA);
	}
}

/* 10-0-0-7.ns.pod.domain: the name says the address; it exists where its namespace does. */
static bool pod_address(struct zone *zone, const char *name, bool *ret_is6, uint8_t out[16]) {
	size_t name_len = strlen(name), domain_len = strlen(zone->domain);
	if (name_len <= domain_len + 5 || strncmp(name + name_len - domain_len - 5, ".pod.", 5) != 0)
		return false;
	const char *dot = strchr(name, '.');
	const char *end = name + name_len - domain_len - 5;
	if (!dot || dot >= end || memchr(dot + 1, '.', (size_t)(end - dot - 1)) || !map_get_len(&zone->namespaces, dot + 1, (size_t)(end - dot - 1)))
		return false;
	char text[64];
	size_t len = (size_t)(dot - name);
	if (len >= sizeof(text))
		return false;
	for (int is6 = 0; is6 < 2; is6++) {
		for (size_t i = 0; i < len; i++)
			text[i] = name[i] == '-' ? (is6 ? ':' : '.') : name[i];
		text[len] = '\0';
		if (inet_pton(is6 ? AF_INET6 : AF_INET, text, out) == 1) {
			*ret_is6 = is6;
			return true;
		}
	}
	return false;
}

static bool answer_special(struct zone *zone, const struct dns_question *question, uint8_t *out, size_t max, size_t *ret_len) {
	struct dns_writer writer;
	bool is6;
	uint8_t address[16];
	autofree char *version = xprintf("dns-version.%s", zone->domain);
	dns_write_begin(&writer, out, max, question, DNS_NOERROR, true);
	if (str_equal(question->name, version)) {
		static const char text[] = "\x05" SCHEMA_VERSION;
		if (question->type == DNS_TXT || question->type == DNS_ANY)
			dns_write_record(&writer, 0, question->name, DNS_TXT, ZONE_TTL, text, sizeof(text) - 1);
	} else if (str_equal(question->name, zone->domain)) {
		if (question->type == DNS_NS || question->type == DNS_ANY) {
			autofree char *server = xprintf("ns.dns.%s", zone->domain);
			dns_write_name_record(&writer, 0, question->name, DNS_NS, ZONE_TTL, NULL, 0, server);
		}
		if (question->type == DNS_SOA)
			write_soa(zone, &writer, 0);
	} else if (pod_address(zone, question->name, &is6, address)) {
		if (question->type == (is6 ? DNS_AAAA : DNS_A) || question->type == DNS_ANY)
			dns_write_record(&writer, 0, question->name, is6 ? DNS_AAAA : DNS_A, ZONE_TTL, address, is6 ? 16 : 4);
	} else {
		return false;
	}
	if (!writer.counts[0])
		write_soa(zone, &writer, 1);
	*ret_len = dns_write_end(&writer);
	return true;
}

static const struct record *cname_of(const struct node *node) {
	for (size_t i = 0; i < node->len; i++)
		if (node->items[i].type == DNS_CNAME)
			return &node->items[i];
	return NULL;
}

static enum zone_result answer_node(struct zone *zone, const struct dns_question *question, const struct node *node, uint8_t *out, size_t max, size_t *ret_len, char *ret_target) {
	struct dns_writer writer;
	const struct record *cname = cname_of(node);
	dns_write_begin(&writer, out, max, question, DNS_NOERROR, true);
	if (cname && question->type != DNS_CNAME && question->type != DNS_ANY) {
		const struct node *target = under(cname->target, zone->domain) ? map_get(&zone->nodes, cname->target) : NULL;
		if (!under(cname->target, zone->domain)) {
			snprintf(ret_target, DNS_NAME_TEXT_MAX, "%s", cname->target);
			return ZONE_EXTERNAL;
		}
		write_one(&writer, 0, question->name, cname);
		if (target)
			write_type(zone, &writer, 0, cname->target, target, question->type);
	} else if (write_type(zone, &writer, 0, question->name, node, question->type) == 0) {
		write_soa(zone, &writer, 1);
	} else if (question->type == DNS_SRV) {
		write_targets(zone, &writer, node);
	}
	*ret_len = dns_write_end(&writer);
	return ZONE_ANSWERED;
}

static enum zone_result answer_locked(struct zone *zone, const struct dns_question *question, uint8_t *out, size_t max, size_t *ret_len, char *ret_target) {
	const struct node *node = map_get(&zone->nodes, question->name);
	bool ours = under(question->name, zone->domain);
	if (!ours && !(node && node->len)) /* addresses backwards that are no service's belong to others */
		return ZONE_NOT_OURS;
	if (node && node->len)
		return answer_node(zone, question, node, out, max, ret_len, ret_target);
	if (answer_special(zone, question, out, max, ret_len))
		return ZONE_ANSWERED;
	*ret_len = write_negative(zone, question, node ? DNS_NOERROR : DNS_NXDOMAIN, out, max);
	return ZONE_ANSWERED;
}

enum zone_result zone_answer(struct zone *zone, const struct dns_question *question, uint8_t *out, size_t max, size_t *ret_len, char *ret_target) {
	if (question->class != DNS_IN)
		return ZONE_NOT_OURS;
	if (!zone_is_ready(zone)) {
		if (!under(question->name, zone->domain))
			return ZONE_NOT_OURS;
		struct dns_writer writer;
		dns_write_begin(&writer, out, max, question, DNS_SERVFAIL, false);
		*ret_len = dns_write_end(&writer);
		return ZONE_ANSWERED;
	}
	pthread_rwlock_rdlock(&zone->lock);
	enum zone_result result = answer_locked(zone, question, out, max, ret_len, ret_target);
	pthread_rwlock_unlock(&zone->lock);
	return result;
}
