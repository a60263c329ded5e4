/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/map.h"

#include "common/base/random.h"

#include <pthread.h>

/*
 * Linear probing over a power of two of slots, at most three quarters of them in use. A removed slot keeps key NULL with hash REMOVED so that
 * probing goes on past it; a free one has key NULL and hash 0. Hashes of keys are never below 2.
 */
#define REMOVED 1
#define FIRST_CAPACITY 8

static uint64_t seed[2];
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	random_bytes(seed, sizeof(seed));
}

void hash_set_test_seed(uint64_t first, uint64_t second)
{
	pthread_once(&seed_once, make_seed);
	seed[0] = first;
	seed[1] = second;
}

static inline uint64_t rotl(uint64_t x, int n)
{
	return x << n | x >> (64 - n);
}

struct sip {
	uint64_t a, b, c, d;
};

static inline void sip_round(struct sip *s)
{
	s->a += s->b;
	s->b = rotl(s->b, 13) ^ s->a;
	s->a = rotl(s->a, 32);
	s->c += s->d;
	s->d = rotl(s->d, 16) ^ s->c;
	s->a += s->d;
	s->d = rotl(s->d, 21) ^ s->a;
	s->c += s->b;
	s->b = rotl(s->b, 17) ^ s->c;
	s->c = rotl(s->c, 32);
}

/* SipHash-1-3: keyed, so that a peer cannot choose keys that collide. */
uint64_t hash_bytes(const void *data, size_t len)
{
	pthread_once(&seed_once, make_seed);
	const unsigned char *p = data;
	struct sip s = {
		.a = seed[0] ^ 0x736f6d6570736575ULL,
		.b = seed[1] ^ 0x646f72616e646f6dULL,
		.c = seed[0] ^ 0x6c7967656e657261ULL,
		.d = seed[1] ^ 0x7465646279746573ULL,
	};
	uint64_t word, last = (uint64_t)len << 56;
	for (size_t left = len; left >= 8; left -= 8, p += 8) {
		memcpy(&word, p, 8);
		s.d ^= word;
		sip_round(&s);
		s.a ^= word;
	}
	for (size_t i = 0; i < (len & 7); i++)
		last |= (uint64_t)p[i] << (8 * i);
	s.d ^= last;
	sip_round(&s);
	s.a ^= last;
	s.c ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}

uint32_t hash_fnv32(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint32_t hash = 2166136261u;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 16777619u;
	return hash;
}

uint64_t hash_fnv64(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t hash = 14695981039346656037ULL;
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ p[i]) * 1099511628211ULL;
	return hash;
}

static uint64_t key_hash(const char *key, size_t len)
{
	uint64_t hash = hash_bytes(key, len);
	return hash < 2 ? hash + 2 : hash;
}

static struct map_entry *find(const struct map *map, const char *key, size_t len)
{
	if (!map->len)
		return NULL;
	uint64_t hash = key_hash(key, len);
	for (size_t i = hash & (map->cap - 1);; i = (i + 1) & (map->cap - 1)) {
		struct map_entry *slot = &map->slots[i];
		if (slot->key ? slot->hash == hash && strncmp(slot->key, key, len) == 0 && !slot->key[len] : slot->hash != REMOVED)
			return slot->key ? slot : NULL;
	}
}

static void resize(struct map *map, size_t cap)
{
	struct map_entry *old = map->slots;
	size_t old_cap = map->cap;
	map->slots = xcalloc(cap, sizeof(*map->slots));
	map->cap = cap;
	map->tombstones = 0;
	for (size_t i = 0; i < old_cap; i++) {
		if (!old[i].key)
			continue;
		size_t at = old[i].hash & (cap - 1);
		while (map->slots[at].key)
			at = (at + 1) & (cap - 1);
		map->slots[at] = old[i];
	}
	free(old);
}

void map_clear(struct map *map)
{
	for (size_t i = 0; i < map->cap; i++) {
		if (map->slots[i].key) {
			free(map->slots[i].key);
			if (map->free_value)
				map->free_value(map->slots[i].value);
		}
		map->slots[i] = (struct map_entry){0};
	}
	map->len = map->tombstones = 0;
}

void map_done(struct map *map)
{
	map_clear(map);
	free(map->slots);
	map->slots = NULL;
	map->cap = 0;
}

void *map_get_len(const struct map *map, const char *key, size_t len)
{
	struct map_entry *slot = find(map, key, len);
	return slot ? slot->value : NULL;
}

void *map_get(const struct map *map, const char *key)
{
	return map_get_len(map, key, strlen(key));
}

bool map_has(const struct map *map, const char *key)
{
	return find(map, key, strlen(key)) != NULL;
}

void map_set(struct map *map, const char *key, void *value)
{
	size_t len = strlen(key);
	struct map_entry *slot = find(map, key, len);
	if (slot) {
		void *old = slot->value;
		slot->value = value;
		if (map->free_value && old != value)
			map->free_value(old);
		return;
	}
	if ((map->len + map->tombstones + 1) * 4 > map->cap * 3)
		resize(map, !map->cap ? FIRST_CAPACITY : map->len * 2 >= map->cap ? map->cap * 2 : map->cap);
	uint64_t hash = key_hash(key, len);
	size_t at = hash & (map->cap - 1);
	while (map->slots[at].key)
		at = (at + 1) & (map->cap - 1);
	if (map->slots[at].hash == REMOVED)
		map->tombstones--;
	map->slots[at] = (struct map_entry){.key = xstrndup(key, len), .value = value, .hash = hash};
	map->len++;
}

void *map_take(struct map *map, const char *key)
{
	struct map_entry *slot = find(map, key, strlen(key));
	if (!slot)
		return NULL;
	void *value = slot->value;
	free(slot->key);
	*slot = (struct map_entry){.hash = REMOVED};
	map->len--;
	map->tombstones++;
	return value;
}

bool map_remove(struct map *map, const char *key)
{
	if (!map_has(map, key))
		return false;
	void *value = map_take(map, key);
	if (map->free_value)
		map->free_value(value);
	return true;
}

struct map_entry *map_next(const struct map *map, size_t *pos)
{
	while (*pos < map->cap) {
		struct map_entry *slot = &map->slots[(*pos)++];
		if (slot->key)
			return slot;
	}
	return NULL;
}

void set_add(struct map *set, const char *key)
{
	static char present;
	if (!map_has(set, key))
		map_set(set, key, &present);
}
