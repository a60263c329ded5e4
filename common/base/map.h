/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash map from strings to pointers (open addressing, keys copied, seeded hash). Not thread safe.
 * Iteration order is not defined; sort keys where order matters.
 */
#ifndef CORACLE_BASE_MAP_H
#define CORACLE_BASE_MAP_H

#include "common/base/base.h"

struct map_entry {
	char *key; /* NULL: free slot */
	void *value;
	uint64_t hash;
};
struct map {
	struct map_entry *slots;
	size_t len;
	size_t cap;
	size_t tombstones;
	void (*free_value)(void *); /* called for values replaced, removed or left at map_done; NULL: values are borrowed */
};
#define MAP_INIT(free_fn) ((struct map){.free_value = (free_fn)})

void map_done(struct map *map);
#define automap cleanup(map_done)
/* Empties it. */
void map_clear(struct map *map);
/* NULL where absent. */
void *map_get(const struct map *map, const char *key);
void *map_get_len(const struct map *map, const char *key, size_t len);
bool map_has(const struct map *map, const char *key);
/* Adds or replaces. */
void map_set(struct map *map, const char *key, void *value);
/* Returns the old value to the caller without freeing it; NULL where absent. */
void *map_take(struct map *map, const char *key);
/* Returns true where the key was there. */
bool map_remove(struct map *map, const char *key);
/* for (size_t i = 0; (e = map_next(&map, &i));) ... ; the map must not change meanwhile, except by removing the current key. */
struct map_entry *map_next(const struct map *map, size_t *pos);

/* A set of strings is a map whose values do not matter. */
void set_add(struct map *set, const char *key);

/* Makes the hash, and so the order of iteration, the same in every run: for a simulator that replays. Before the first map is filled. */
void hash_set_test_seed(uint64_t first, uint64_t second);
/* Seeded 64-bit hash, for tables that a peer may fill. */
uint64_t hash_bytes(const void *data, size_t len);
/* FNV-1a: stable over time and machines, for names and labels. */
uint32_t hash_fnv32(const void *data, size_t len);
uint64_t hash_fnv64(const void *data, size_t len);

#endif
