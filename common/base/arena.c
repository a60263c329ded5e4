/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/arena.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

/*
 * Blocks in a chain, the newest first; each block doubles the last up to BLOCK_MAX. What does not fit a quarter of a block gets one of its
 * own behind the current one, so that a large string does not waste the rest of the current block.
 */
#define BLOCK_MIN ((size_t)1024 - 64)
#define BLOCK_MAX ((size_t)64 * 1024 - 64)
#define ALIGN ((size_t)16)

struct block {
	struct block *next;
	size_t size;
	size_t used;
	char pad[8];
	char data[] __attribute__((aligned(16)));
};

struct deferred {
	struct deferred *next;
	void (*free_fn)(void *);
	void *ptr;
};

struct arena {
	struct block *blocks;
	struct deferred *deferred;
	size_t next_size;
	size_t total;
};

/* ---- blocks kept for the next arena ---- */

#define SHELVES 5 /* of sizes BLOCK_MIN << shelf */

static struct shelf {
	atomic_flag busy; /* who finds it so does without: nobody waits here */
	struct block *blocks;
	unsigned count;
} shelves[SHELVES] = {[0 ... SHELVES - 1] = {.busy = ATOMIC_FLAG_INIT}};
static atomic_uint shelf_room;

void arena_keep_blocks(unsigned count)
{
	atomic_store(&shelf_room, count);
}

static struct shelf *shelf_take(size_t size)
{
	for (size_t i = 0; i < SHELVES; i++) {
		if (BLOCK_MIN << i == size)
			return !atomic_flag_test_and_set_explicit(&shelves[i].busy, memory_order_acquire) ? &shelves[i] : NULL;
	}
	return NULL;
}

static void shelf_give(struct shelf *shelf)
{
	atomic_flag_clear_explicit(&shelf->busy, memory_order_release);
}

static struct block *block_kept(size_t size)
{
	struct shelf *shelf = atomic_load_explicit(&shelf_room, memory_order_relaxed) ? shelf_take(size) : NULL;
	if (!shelf)
		return NULL;
	struct block *block = shelf->blocks;
	if (block) {
		shelf->blocks = block->next;
		shelf->count--;
	}
	shelf_give(shelf);
	if (block) {
		/* Behind what was used it is zero still. */
		memset(block->data, 0, block->used);
		block->used = 0;
		block->next = NULL;
	}
	return block;
}

static void block_free(struct block *block)
{
	unsigned room = atomic_load_explicit(&shelf_room, memory_order_relaxed);
	struct shelf *shelf = room ? shelf_take(block->size) : NULL;
	bool kept = shelf && shelf->count < room;
	if (kept) {
		block->next = shelf->blocks;
		shelf->blocks = block;
		shelf->count++;
	}
	if (shelf)
		shelf_give(shelf);
	if (!kept)
		free(block);
}

void arena_drop_blocks(void)
{
	for (size_t i = 0; i < SHELVES; i++) {
		struct block *blocks = NULL, *next;
		struct shelf *shelf = shelf_take(BLOCK_MIN << i);
		if (shelf) {
			blocks = take_ptr(shelf->blocks);
			shelf->count = 0;
			shelf_give(shelf);
		}
		for (; blocks; blocks = next) {
			next = blocks->next;
			free(blocks);
		}
	}
}

/* ---- arenas ---- */

static struct block *block_new(struct arena *arena, size_t size)
{
	struct block *block = block_kept(size);
	if (!block)
		block = xcalloc(1, sizeof(*block) + size);
	block->size = size;
	arena->total += sizeof(*block) + size;
	return block;
}

struct arena *arena_new(void)
{
	struct arena *arena = xnew(struct arena);
	arena->next_size = BLOCK_MIN;
	arena->total = sizeof(*arena);
	return arena;
}

struct arena *arena_new_sized(size_t size)
{
	struct arena *arena = arena_new();
	arena->blocks = block_new(arena, size);
	return arena;
}

struct arena *arena_free(struct arena *arena)
{
	if (!arena)
		return NULL;
	for (struct deferred *d = arena->deferred; d; d = d->next)
		d->free_fn(d->ptr);
	for (struct block *block = arena->blocks, *next; block; block = next) {
		next = block->next;
		block_free(block);
	}
	free(arena);
	return NULL;
}

/* Texts are packed; whatever else comes next starts on an aligned address again. */
static void *take(struct arena *arena, size_t size, size_t align)
{
	if (size > SIZE_MAX / 2)
		xcalloc(SIZE_MAX, SIZE_MAX); /* aborts */
	size = max_of(size, (size_t)1);
	struct block *block = arena->blocks;
	size_t start = block ? (block->used + align - 1) & ~(align - 1) : 0;
	if (block && start <= block->size && block->size - start >= size) {
		block->used = start + size;
		return block->data + start;
	}
	if (size > arena->next_size / 4 && block) {
		struct block *own = block_new(arena, size);
		own->used = size;
		own->next = block->next;
		block->next = own;
		return own->data;
	}
	struct block *fresh = block_new(arena, max_of(arena->next_size, size));
	if (arena->next_size < BLOCK_MAX)
		arena->next_size = min_of(arena->next_size * 2, BLOCK_MAX);
	fresh->next = block;
	fresh->used = size;
	arena->blocks = fresh;
	return fresh->data;
}

void *arena_alloc(struct arena *arena, size_t size)
{
	return take(arena, size, ALIGN);
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total))
		total = SIZE_MAX;
	return arena_alloc(arena, total);
}

char *arena_strdup(struct arena *arena, const char *s)
{
	return s ? arena_strndup(arena, s, strlen(s)) : NULL;
}

char *arena_strndup(struct arena *arena, const char *s, size_t len)
{
	char *copy = take(arena, len + 1, 1);
	if (len)
		memcpy(copy, s, len);
	return copy;
}

void *arena_memdup(struct arena *arena, const void *data, size_t len)
{
	void *copy = arena_alloc(arena, len);
	if (len)
		memcpy(copy, data, len);
	return copy;
}

char *arena_vprintf(struct arena *arena, const char *fmt, va_list args)
{
	va_list again;
	fmt = fmt ? fmt : ""; /* or gcc's sanitizer sees a path with NULL */
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		n = 0;
	char *text = take(arena, (size_t)n + 1, 1);
	vsnprintf(text, (size_t)n + 1, fmt, args);
	return text;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *text = arena_vprintf(arena, fmt, args);
	va_end(args);
	return text;
}

void arena_defer(struct arena *arena, void (*free_fn)(void *), void *ptr)
{
	struct deferred *d = arena_new_type(arena, struct deferred);
	d->free_fn = free_fn;
	d->ptr = ptr;
	d->next = arena->deferred;
	arena->deferred = d;
}

size_t arena_size(const struct arena *arena)
{
	return arena->total;
}

size_t arena_used(const struct arena *arena)
{
	size_t used = 0;
	for (const struct block *block = arena->blocks; block; block = block->next)
		used += block->used;
	return used;
}
