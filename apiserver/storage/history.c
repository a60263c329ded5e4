/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The newest events of a collection, from which watches resume and older states are rebuilt. It grows with load and shrinks with time:
 * what is older than KEEP_SECONDS goes, except for a small rest, and never more than KEEP_BYTES of objects are held that the cache itself
 * does not hold any more.
 */
#include "apiserver/storage/internal.h"

#define MAX_EVENTS 131072
#define KEEP_SECONDS 150
#define KEEP_BYTES ((size_t)48 << 20)
/* Kept whatever its age: quiet collections stay resumable. */
#define REST_EVENTS 1024
#define REST_BYTES ((size_t)1 << 20)

struct history_event *history_at(const struct history *history, size_t i)
{
	return &history->ring[(history->head + i) & (history->cap - 1)];
}

/* What only history holds: the state before. A deletion's own entry too. */
static size_t cost(const struct history_event *event)
{
	size_t bytes = event->previous ? event->previous->json->len : 0;

	return sizeof(*event) + bytes + (event->type == STORE_DELETED ? event->entry->json->len : 0);
}

static void drop_first(struct history *history)
{
	struct history_event *event = history_at(history, 0);

	history->floor = event->revision;
	history->bytes -= cost(event);
	entry_unref(event->entry);
	entry_unref(event->previous);
	history->head = (history->head + 1) & (history->cap - 1);
	history->len--;
}

void history_done(struct history *history)
{
	while (history->len)
		drop_first(history);
	free(history->ring);
	*history = (struct history){0};
}

static void resize(struct history *history, size_t cap)
{
	struct history_event *ring = xcalloc(cap, sizeof(*ring));

	for (size_t i = 0; i < history->len; i++)
		ring[i] = *history_at(history, i);
	free(history->ring);
	history->ring = ring;
	history->cap = cap;
	history->head = 0;
}

static uint32_t now_seconds(void)
{
	return (uint32_t)(clock_monotonic_ns() / NSEC_PER_SEC);
}

void history_trim(struct history *history)
{
	uint32_t now = now_seconds();

	while (history->len && (history->len > REST_EVENTS || history->bytes > REST_BYTES) && now - history_at(history, 0)->seconds > KEEP_SECONDS)
		drop_first(history);
	if (history->cap > 64 && history->len < history->cap / 4)
		resize(history, history->cap / 2);
}

void history_shrink(struct history *history)
{
	while (history->len && history->bytes > REST_BYTES)
		drop_first(history);
	if (history->cap > 64 && history->len < history->cap / 4)
		resize(history, history->cap / 2);
}

void history_append(struct history *history, enum store_event_type type, uint64_t revision, struct entry *entry, struct entry *previous)
{
	struct history_event event = {.revision = revision, .entry = entry_ref(entry), .previous = entry_ref(previous), .seconds = now_seconds(), .type = (uint8_t)type};
	size_t max = history->max_events ? history->max_events : MAX_EVENTS;

	while (history->len && (history->len >= max || history->bytes + cost(&event) > KEEP_BYTES))
		drop_first(history);
	if (history->len == history->cap)
		resize(history, history->cap ? history->cap * 2 : 16);
	history->len++;
	*history_at(history, history->len - 1) = event;
	history->bytes += cost(&event);
}

size_t history_after(const struct history *history, uint64_t revision)
{
	size_t low = 0, high = history->len;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (history_at(history, middle)->revision <= revision)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}
