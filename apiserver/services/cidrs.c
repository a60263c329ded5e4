/* SPDX-License-Identifier: Apache-2.0 */
/* The ranges, as ServiceCIDRs declare them. A range gives out addresses while one of its ServiceCIDRs is ready and not going away. */
#include "apiserver/services/internal.h"
#include "api/networking_v1.h"

#define DEFAULT_CIDR "kubernetes"

static bool is_ready(const struct networking_v1_service_cidr *cidr) {
	if (cidr->metadata.deletion_timestamp.set)
		return false;
	for (uint32_t i = 0; i < cidr->status.conditions.len; i++)
		if (str_equal(cidr->status.conditions.items[i].type, "Ready"))
			return str_equal(cidr->status.conditions.items[i].status, "True");
	return false;
}

struct ranges {
	struct ip_range items[MAX_RANGES];
	bool ready[MAX_RANGES];
	size_t len;
};

static void add_range(struct ranges *ranges, const struct ip_range *range, bool ready) {
	for (size_t i = 0; i < ranges->len; i++)
		if (ranges->items[i].family == range->family && ranges->items[i].bits == range->bits && memcmp(ranges->items[i].base, range->base, sizeof(range->base)) == 0) {
			ranges->ready[i] |= ready;
			return;
		}
	if (ranges->len == MAX_RANGES)
		return;
	ranges->items[ranges->len] = *range;
	ranges->ready[ranges->len++] = ready;
}

/* The first one is told apart by nothing but its age: those of the default ServiceCIDR come first, then by name, so that all servers agree. */
static void add_cidr(struct allocator *a, struct ranges *ranges, struct entry *entry) {
	void *object;
	if (resource_decode(a->cidrs, entry, &object, NULL) < 0)
		return;
	const struct networking_v1_service_cidr *cidr = object;
	struct ip_range range;
	for (uint32_t i = 0; i < cidr->spec.cidrs.len; i++)
		if (ip_range_parse(cidr->spec.cidrs.items[i], &range) == 0)
			add_range(ranges, &range, is_ready(cidr));
	api_unref(object);
}

void ranges_refresh(struct allocator *a) {
	autosnapshot struct snapshot *snapshot = collection_snapshot(a->cidrs->collection);
	uint64_t newest = snapshot->len;
	for (size_t i = 0; i < snapshot->len; i++)
		newest += snapshot_entry(snapshot, i)->resource_version;
	pthread_mutex_lock(&a->lock);
	bool known = a->ranges_revision == newest + 1;
	pthread_mutex_unlock(&a->lock);
	if (known)
		return;
	struct ranges ranges = {0};
	struct entry *first = snapshot_get(snapshot, DEFAULT_CIDR);
	if (first)
		add_cidr(a, &ranges, first);
	/* Until the first server has written it down, the flags say what it will hold. */
	for (size_t i = 0; !first && i < a->primary_count; i++)
		add_range(&ranges, &a->primary[i], true);
	for (size_t i = 0; i < snapshot->len; i++)
		if (snapshot_entry(snapshot, i) != first)
			add_cidr(a, &ranges, snapshot_entry(snapshot, i));
	pthread_mutex_lock(&a->lock);
	a->range_count = a->ready_count = 0;
	for (int wanted = 1; wanted >= 0; wanted--)
		for (size_t i = 0; i < ranges.len; i++)
			if (ranges.ready[i] == (bool)wanted) {
				a->ranges[a->range_count++] = ranges.items[i];
				a->ready_count += (size_t)wanted;
			}
	a->ranges_revision = newest + 1;
	pthread_mutex_unlock(&a->lock);
}

size_t ranges_ready(struct allocator *a, int family, struct ip_range *ret, size_t max) {
	ranges_refresh(a);
	size_t count = 0;
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < a->ready_count && count < max; i++)
		if (a->ranges[i].family == family)
			ret[count++] = a->ranges[i];
	pthread_mutex_unlock(&a->lock);
	return count;
}

bool ranges_contain(struct allocator *a, const char *ip) {
	ranges_refresh(a);
	bool found = false;
	pthread_mutex_lock(&a->lock);
	for (size_t i = 0; i < a->range_count && !found; i++)
		found = ip_range_contains(&a->ranges[i], ip);
	pthread_mutex_unlock(&a->lock);
	return found;
}
