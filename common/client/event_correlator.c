/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/event_correlator.h"

#include "common/base/list.h"
#include "common/base/map.h"

/*
 * What is asked for is long (whole messages), there is much of it, and it is kept for long: so only its digest is. That two digests are the same by chance,
 * 128 bits of them, is less likely than anything that could follow from it.
 *
 * Entries stand in blocks of their own: each strewn among what comes and goes would hold a page of it.
 */
#define BLOCK_ENTRIES 64
#define MIN_BUCKETS 64

struct digest {
	uint64_t high, low;
};

/* One remembered thing; which of the fields count depends on the table it is in. */
struct entry {
	struct list age;
	struct entry *next; /* in its bucket, or among those that are free */
	struct digest key;
	union {
		struct event_seen seen;
		struct {
			int64_t last;
			double tokens;
		};
		struct {
			int64_t last_alike;
			uint32_t messages[EVENT_AGGREGATE_AFTER]; /* parts of the hashes of those of alike events */
			uint8_t message_count;
		};
	};
};

struct block {
	struct block *next;
	struct entry entries[BLOCK_ENTRIES];
};

/* A bounded table that forgets what was used longest ago. */
struct table {
	struct entry **buckets; /* a power of two of them */
	size_t bucket_count, len;
	struct list ages; /* the most recent first */
	struct block *blocks;
	struct entry *free;
};

struct event_correlator {
	struct table alike, seen, spam;
};

static struct digest digest_of(const char *text)
{
	size_t len = strlen(text);
	return (struct digest){hash_bytes(text, len), hash_fnv64(text, len)};
}

static struct entry **bucket_of(struct table *table, const struct digest *key)
{
	return &table->buckets[key->high & (table->bucket_count - 1)];
}

static struct entry *entry_take(struct table *table)
{
	if (!table->free) {
		struct block *block = xnew(struct block);
		block->next = table->blocks;
		table->blocks = block;
		for (size_t i = 0; i < BLOCK_ENTRIES; i++) {
			block->entries[i].next = table->free;
			table->free = &block->entries[i];
		}
	}
	struct entry *entry = table->free;
	table->free = entry->next;
	*entry = (struct entry){.next = NULL};
	return entry;
}

static void forget_oldest(struct table *table)
{
	struct entry *entry = list_entry(table->ages.prev, struct entry, age), **at = bucket_of(table, &entry->key);
	while (*at != entry)
		at = &(*at)->next;
	*at = entry->next;
	list_remove(&entry->age);
	entry->next = table->free;
	table->free = entry;
	table->len--;
}

static void grow(struct table *table)
{
	struct entry **old = table->buckets;
	size_t count = table->bucket_count;
	table->bucket_count = count ? count * 2 : MIN_BUCKETS;
	table->buckets = xcalloc(table->bucket_count, sizeof(struct entry *));
	for (size_t i = 0; i < count; i++) {
		for (struct entry *entry = old[i], *next; entry; entry = next) {
			struct entry **bucket = bucket_of(table, &entry->key);
			next = entry->next;
			entry->next = *bucket;
			*bucket = entry;
		}
	}
	free(old);
}

static struct entry *table_get(struct table *table, const char *what, bool *ret_new)
{
	const struct digest key = digest_of(what);
	if (table->len >= table->bucket_count)
		grow(table);
	struct entry *entry = *bucket_of(table, &key);
	while (entry && (entry->key.high != key.high || entry->key.low != key.low))
		entry = entry->next;
	*ret_new = !entry;
	if (entry) {
		list_remove(&entry->age);
	} else {
		if (table->len >= EVENT_CACHE_SIZE)
			forget_oldest(table);
		entry = entry_take(table);
		entry->key = key;
		struct entry **bucket = bucket_of(table, &key);
		entry->next = *bucket;
		*bucket = entry;
		table->len++;
	}
	list_push_front(&table->ages, &entry->age);
	return entry;
}

static void table_done(struct table *table)
{
	for (struct block *block = table->blocks, *next; block; block = next) {
		next = block->next;
		free(block);
	}
	free(table->buckets);
}

struct event_correlator *event_correlator_new(void)
{
	struct event_correlator *correlator = xnew(struct event_correlator);
	list_init(&correlator->alike.ages);
	list_init(&correlator->seen.ages);
	list_init(&correlator->spam.ages);
	return correlator;
}

void event_correlator_free(struct event_correlator *correlator)
{
	if (!correlator)
		return;
	table_done(&correlator->alike);
	table_done(&correlator->seen);
	table_done(&correlator->spam);
	free(correlator);
}

static bool is_spam(struct event_correlator *correlator, const struct event_facts *facts, int64_t now)
{
	autofree char *key = xprintf("%s\x1f%s", facts->source, facts->object);
	bool is_new;
	struct entry *entry = table_get(&correlator->spam, key, &is_new);
	if (is_new)
		entry->tokens = EVENT_SPAM_BURST;
	else
		entry->tokens = min_of((double)EVENT_SPAM_BURST, entry->tokens + (double)(now - entry->last) / EVENT_SPAM_REFILL_S);
	entry->last = now;
	if (entry->tokens < 1)
		return true;
	entry->tokens -= 1;
	return false;
}

static void remember(struct entry *entry, uint32_t message)
{
	for (size_t i = 0; i < entry->message_count; i++)
		if (entry->messages[i] == message)
			return;
	entry->messages[entry->message_count++] = message;
}

/* True where so many different messages came under one reason that they are told as one. */
static bool is_aggregated(struct event_correlator *correlator, const struct event_facts *facts, const char *alike_key, int64_t now)
{
	bool is_new;
	struct entry *entry = table_get(&correlator->alike, alike_key, &is_new);
	if (!is_new && now - entry->last_alike > EVENT_AGGREGATE_WITHIN_S)
		entry->message_count = 0;
	entry->last_alike = now;
	if (entry->message_count < EVENT_AGGREGATE_AFTER)
		remember(entry, (uint32_t)hash_bytes(facts->message, strlen(facts->message)));
	return entry->message_count >= EVENT_AGGREGATE_AFTER;
}

bool event_correlate(struct event_correlator *correlator, const struct event_facts *facts, int64_t now_s, struct event_seen **ret)
{
	autofree char *alike_key = xprintf("%s\x1f%s\x1f%s\x1f%s", facts->source, facts->object, facts->type, facts->reason);
	bool aggregated = is_aggregated(correlator, facts, alike_key, now_s);
	autofree char *exact_key = aggregated ? xprintf("%s\x1f*", alike_key) : xprintf("%s\x1f%s\x1f%s", alike_key, str_or(facts->field_path, ""), facts->message);
	bool is_new;
	struct entry *entry = table_get(&correlator->seen, exact_key, &is_new);
	if (is_new) {
		entry->seen.first = now_s;
		entry->seen.aggregated = aggregated;
	}
	entry->seen.count++;
	if (is_spam(correlator, facts, now_s))
		return false;
	*ret = &entry->seen;
	return true;
}
