/* SPDX-License-Identifier: Apache-2.0 */
#include "common/client/beat.h"

#include "common/base/map.h"

#include <string.h>

#define KEY_MAX 600 /* of "namespace/name" */
#define FIRST_CAPACITY 64

/* Cuts values out of the text, in the order in which they stand there, and hashes what is left. */
struct cutter {
	const char *from;
	uint64_t hash;
};

static void cut(struct cutter *c, const char *start, const char *end)
{
	uint64_t piece = hash_bytes(c->from, (size_t)(start - c->from));
	c->hash = ((c->hash << 7 | c->hash >> 57) ^ piece) * 0x9e3779b97f4a7c15ULL;
	c->from = end;
}

static bool is(const struct json_slice *key, const char *name)
{
	return key->len == strlen(name) && memcmp(key->data, name, key->len) == 0;
}

/* A string without escapes, into *ret without its quotes. */
static bool plain(const struct json_slice *value, struct json_slice *ret)
{
	if (value->len < 2 || value->data[0] != '"' || memchr(value->data, '\\', value->len))
		return false;
	*ret = (struct json_slice){.data = value->data + 1, .len = value->len - 2};
	return true;
}

static void cut_slice(struct cutter *c, const struct json_slice *slice)
{
	cut(c, slice->data, slice->data + slice->len);
}

static bool read_metadata(struct cutter *c, struct beat *ret, const struct json_slice *key, const struct json_slice *value)
{
	if (is(key, "name"))
		return plain(value, &ret->name);
	if (is(key, "namespace"))
		return plain(value, &ret->ns);
	if (is(key, "managedFields"))
		cut_slice(c, value);
	if (!is(key, "resourceVersion"))
		return true;
	if (!plain(value, &ret->version))
		return false;
	cut_slice(c, &ret->version);
	return true;
}

/* The members of the object that begins the text; *ret_len: how much of the text it is. member NULL: it is metadata, else `member` is the field. */
static bool read_part(const char *json, size_t len, const char *field, struct cutter *c, struct beat *ret, size_t *ret_len)
{
	struct json_slice key, value;
	size_t pos = 0;
	int more;
	while ((more = json_scan_next_key(json, len, &pos, &key)) == 1) {
		if (!json_scan_value(json, len, &pos, &value))
			return false;
		if (!field && !read_metadata(c, ret, &key, &value))
			return false;
		if (field && is(&key, field)) {
			struct json_slice text;
			if (!plain(&value, &text) || time_parse_rfc3339(text.data, text.len, &ret->time))
				return false;
			cut_slice(c, &text);
		}
	}
	*ret_len = pos;
	return more == 0;
}

bool beat_read(const char *json, size_t len, const char *member, const char *field, struct beat *ret)
{
	struct beat beat = {0};
	struct cutter c = {.from = json};
	struct json_slice key, value;
	size_t pos = 0, part;
	int more;
	while ((more = json_scan_next_key(json, len, &pos, &key)) == 1) {
		bool metadata = is(&key, "metadata"), beats = is(&key, member);
		if (!metadata && !beats) {
			if (!json_scan_value(json, len, &pos, &value))
				return false;
			continue;
		}
		if (!read_part(json + pos, len - pos, metadata ? NULL : field, &c, &beat, &part))
			return false;
		pos += part;
	}
	if (more < 0 || !beat.name.len || !beat.version.len || !beat.time.sec || beat.ns.len + beat.name.len + 1 >= KEY_MAX)
		return false;
	cut(&c, json + len, json + len);
	beat.rest = c.hash;
	*ret = beat;
	return true;
}

/* ---- what was there before: linear probing, removal closes the gap ---- */

void beats_init(struct beats *beats)
{
	*beats = (struct beats){0};
	pthread_mutex_init(&beats->lock, NULL);
}

void beats_done(struct beats *beats)
{
	free(beats->slots);
	pthread_mutex_destroy(&beats->lock);
}

static uint64_t key_of(const char *ns, size_t ns_len, const char *name, size_t name_len)
{
	char text[KEY_MAX];
	if (ns_len + name_len + 1 >= KEY_MAX)
		return 0;
	memcpy(text, ns, ns_len);
	text[ns_len] = '/';
	memcpy(text + ns_len + 1, name, name_len);
	return hash_bytes(text, ns_len + 1 + name_len) | 1;
}

static size_t home_of(const struct beats *beats, uint64_t key)
{
	return (size_t)(key >> 1) & (beats->cap - 1);
}

/* Where it stands, or would. There is a free slot. */
static struct beat_slot *slot_of(const struct beats *beats, uint64_t key)
{
	size_t at = home_of(beats, key);
	while (beats->slots[at].key && beats->slots[at].key != key)
		at = (at + 1) & (beats->cap - 1);
	return &beats->slots[at];
}

static struct beat_slot *find(const struct beats *beats, uint64_t key)
{
	struct beat_slot *slot = beats->cap && key ? slot_of(beats, key) : NULL;
	return slot && slot->key ? slot : NULL;
}

static void grow(struct beats *beats)
{
	struct beats old = *beats;
	beats->cap = old.cap ? old.cap * 2 : FIRST_CAPACITY;
	beats->slots = xcalloc(beats->cap, sizeof(*beats->slots));
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i].key)
			*slot_of(beats, old.slots[i].key) = old.slots[i];
	free(old.slots);
}

static bool same_time(struct wall_time a, struct wall_time b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

bool beats_take(struct beats *beats, const struct beat *beat, int64_t now_ns)
{
	uint64_t key = key_of(str_or(beat->ns.data, ""), beat->ns.len, beat->name.data, beat->name.len);
	pthread_mutex_lock(&beats->lock);
	struct beat_slot *slot = find(beats, key);
	bool same = slot && slot->rest == beat->rest;
	if (same && !same_time(slot->noted, beat->time)) {
		slot->noted = beat->time;
		slot->last = (struct informer_beat){.time = beat->time, .seen_ns = now_ns};
	}
	if (!same) {
		if (!slot && (beats->len + 1) * 4 > beats->cap * 3)
			grow(beats);
		if (!slot) {
			slot = slot_of(beats, key);
			beats->len++;
		}
		*slot = (struct beat_slot){.key = key, .rest = beat->rest, .noted = beat->time};
	}
	pthread_mutex_unlock(&beats->lock);
	return same;
}

bool beats_last(struct beats *beats, const char *ns, const char *name, struct informer_beat *ret)
{
	pthread_mutex_lock(&beats->lock);
	const struct beat_slot *slot = find(beats, key_of(str_or(ns, ""), strlen(str_or(ns, "")), name, strlen(name)));
	bool there = slot && slot->last.seen_ns;
	if (there)
		*ret = slot->last;
	pthread_mutex_unlock(&beats->lock);
	return there;
}

void beats_forget(struct beats *beats, const char *ns, const char *name)
{
	pthread_mutex_lock(&beats->lock);
	struct beat_slot *hole = find(beats, key_of(str_or(ns, ""), strlen(str_or(ns, "")), name, strlen(name)));
	if (hole) {
		size_t gap = (size_t)(hole - beats->slots), mask = beats->cap - 1;
		hole->key = 0;
		beats->len--;
		for (size_t at = (gap + 1) & mask; beats->slots[at].key; at = (at + 1) & mask) {
			if (((at - home_of(beats, beats->slots[at].key)) & mask) < ((at - gap) & mask))
				continue;
			beats->slots[gap] = beats->slots[at];
			beats->slots[at].key = 0;
			gap = at;
		}
	}
	pthread_mutex_unlock(&beats->lock);
}

void beats_clear(struct beats *beats)
{
	pthread_mutex_lock(&beats->lock);
	free(beats->slots);
	beats->slots = NULL;
	beats->len = beats->cap = 0;
	pthread_mutex_unlock(&beats->lock);
}
