/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/event_correlator.h"

#include "common/base/list.h"
#include "common/base/map.h"

#include <inttypes.h>
#include <stdio.h>

/*
 * What is asked for is long (whole messages), there is much of it, and it is kept for long: so only its digest is. That two digests are the same by chance,
 * 128 bits of them, is less likely than anything that could follow from it.
 */
#define DIGEST_SIZE 33

/* One remembered thing; which of the fields count depends on the table it is in. */
struct entry {
	struct list age;
	char key[DIGEST_SIZE];
	uint8_t message_count;
	union {
		struct event_seen seen;
		struct {
			int64_t last;
			uint64_t *messages; /* hashes of those of alike events */
			double tokens;
		};
	};
};

/* A bounded table that forgets what was used longest ago. */
struct table {
	struct map entries;
	struct list ages; /* the most recent first */
	bool has_seen;
};

struct event_correlator {
	struct table alike, seen, spam;
};

static void digest(const char *text, char ret[DIGEST_SIZE])
{
	size_t len = strlen(text);
	snprintf(ret, DIGEST_SIZE, "%016" PRIx64 "%016" PRIx64, hash_bytes(text, len), hash_fnv64(text, len));
}

static void entry_free(struct table *table, struct entry *entry)
{
	map_remove(&table->entries, entry->key);
	list_remove(&entry->age);
	if (table->has_seen)
		free(entry->seen.name);
	else
		free(entry->messages);
	free(entry);
}

static struct entry *table_get(struct table *table, const char *what, bool *ret_new)
{
	char key[DIGEST_SIZE];
	digest(what, key);
	struct entry *entry = map_get(&table->entries, key);
	*ret_new = !entry;
	if (entry) {
		list_remove(&entry->age);
	} else {
		if (table->entries.len >= EVENT_CACHE_SIZE)
			entry_free(table, list_entry(table->ages.prev, struct entry, age));
		entry = xnew(struct entry);
		memcpy(entry->key, key, sizeof(key));
		if (table->has_seen)
			entry->seen.name = xstrdup("");
		map_set(&table->entries, key, entry);
	}
	list_push_front(&table->ages, &entry->age);
	return entry;
}

static void table_init(struct table *table)
{
	list_init(&table->ages);
}

static void table_done(struct table *table)
{
	while (!list_empty(&table->ages))
		entry_free(table, list_entry(table->ages.next, struct entry, age));
	map_done(&table->entries);
}

struct event_correlator *event_correlator_new(void)
{
	struct event_correlator *correlator = xnew(struct event_correlator);
	table_init(&correlator->alike);
	table_init(&correlator->seen);
	table_init(&correlator->spam);
	correlator->seen.has_seen = true;
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

static void remember(struct entry *entry, uint64_t message)
{
	for (size_t i = 0; i < entry->message_count; i++)
		if (entry->messages[i] == message)
			return;
	entry->messages = xreallocarray(entry->messages, entry->message_count + 1u, sizeof(*entry->messages));
	entry->messages[entry->message_count++] = message;
}

/* True where so many different messages came under one reason that they are told as one. */
static bool is_aggregated(struct event_correlator *correlator, const struct event_facts *facts, const char *alike_key, int64_t now)
{
	bool is_new;
	struct entry *entry = table_get(&correlator->alike, alike_key, &is_new);
	if (!is_new && now - entry->last > EVENT_AGGREGATE_WITHIN_S)
		entry->message_count = 0;
	entry->last = now;
	if (entry->message_count < EVENT_AGGREGATE_AFTER)
		remember(entry, hash_bytes(facts->message, strlen(facts->message)));
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
