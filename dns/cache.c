/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/cache.h"

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/map.h"

#include <stdio.h>

struct kept {
	struct list by_use; /* the least lately used first */
	char *key;
	int64_t stored_ns, expires_ns;
	size_t len;
	uint8_t message[];
};

struct cache {
	struct map entries;
	struct list by_use;
	size_t bytes;
};

struct cache *cache_new(void) {
	struct cache *cache = xnew(struct cache);
	cache->entries = MAP_INIT(NULL);
	list_init(&cache->by_use);
	return cache;
}

static void drop(struct cache *cache, struct kept *kept) {
	map_remove(&cache->entries, kept->key);
	list_remove(&kept->by_use);
	cache->bytes -= kept->len;
	free(kept->key);
	free(kept);
}

void cache_free(struct cache *cache) {
	if (!cache)
		return;
	while (!list_empty(&cache->by_use))
		drop(cache, list_first(&cache->by_use, struct kept, by_use));
	map_done(&cache->entries);
	free(cache);
}

#define KEY_MAX (DNS_NAME_TEXT_MAX + 32)
static void make_key(const struct dns_question *question, char key[KEY_MAX]) {
	snprintf(key, KEY_MAX, "%u/%u/%d/%s", question->type, question->class, question->dnssec_ok, question->name);
}

/* The shortest TTL of the answer; for a negative one that of its SOA (RFC 2308). 0: not to be kept. */
static uint32_t keep_seconds(const uint8_t *answer, size_t len) {
	struct dns_reader reader;
	struct dns_record record;
	unsigned section;
	if (!dns_reader_init(&reader, answer, len) || (reader.flags & DNS_FLAG_TC))
		return 0;
	int rcode = reader.flags & 0xf, more;
	if (rcode != DNS_NOERROR && rcode != DNS_NXDOMAIN)
		return 0;
	uint32_t shortest = UINT32_MAX;
	while ((more = dns_reader_next(&reader, &record, &section)) == 1)
		if (record.type != DNS_OPT && section < 2)
			shortest = min_of(shortest, record.ttl);
	if (more < 0)
		return 0;
	return shortest == UINT32_MAX ? CACHE_ERROR_TTL : min_of(shortest, (uint32_t)CACHE_TTL_MAX);
}

void cache_put(struct cache *cache, const struct dns_question *question, const uint8_t *answer, size_t len) {
	uint32_t seconds = keep_seconds(answer, len);
	if (!seconds || len > CACHE_BYTES_MAX / 16)
		return;
	char key[KEY_MAX];
	make_key(question, key);
	struct kept *kept = map_get(&cache->entries, key);
	if (kept)
		drop(cache, kept);
	while (!list_empty(&cache->by_use) && (cache->entries.len >= CACHE_ENTRIES_MAX || cache->bytes + len > CACHE_BYTES_MAX))
		drop(cache, list_first(&cache->by_use, struct kept, by_use));
	kept = xmalloc(sizeof(*kept) + len);
	*kept = (struct kept){.key = xstrdup(key), .stored_ns = clock_monotonic_ns(), .len = len};
	kept->expires_ns = kept->stored_ns + (int64_t)seconds * NSEC_PER_SEC;
	memcpy(kept->message, answer, len);
	map_set(&cache->entries, key, kept);
	list_push_back(&cache->by_use, &kept->by_use);
	cache->bytes += len;
}

static void age(uint8_t *message, size_t len, uint32_t seconds) {
	struct dns_reader reader;
	struct dns_record record;
	unsigned section;
	if (!dns_reader_init(&reader, message, len))
		return;
	while (dns_reader_next(&reader, &record, &section) == 1) {
		if (record.type == DNS_OPT)
			continue;
		uint32_t left = record.ttl > seconds ? record.ttl - seconds : 0;
		for (int i = 0; i < 4; i++)
			message[record.ttl_offset + (size_t)i] = (uint8_t)(left >> (24 - 8 * i));
	}
}

size_t cache_get(struct cache *cache, const struct dns_question *question, uint8_t *out, size_t max) {
	char key[KEY_MAX];
	make_key(question, key);
	struct kept *kept = map_get(&cache->entries, key);
	if (!kept || kept->len > max || kept->len < 12u + question->wire_name_len)
		return 0;
	int64_t now = clock_monotonic_ns();
	if (now >= kept->expires_ns) {
		drop(cache, kept);
		return 0;
	}
	list_remove(&kept->by_use);
	list_push_back(&cache->by_use, &kept->by_use);
	memcpy(out, kept->message, kept->len);
	out[0] = (uint8_t)(question->id >> 8);
	out[1] = (uint8_t)question->id;
	memcpy(out + 12, question->wire_name, question->wire_name_len);
	age(out, kept->len, (uint32_t)((now - kept->stored_ns) / NSEC_PER_SEC));
	return kept->len;
}
