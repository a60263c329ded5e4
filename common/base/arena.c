/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/arena.h"

#include "common/base/blocks.h"

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

/* ---- blocks ---- */

/*
 * The class of blocks.h that has blocks of just this size; BLOCKS_CLASSES: none. Under a sanitizer all come from malloc: who reads beyond one, or after its end, is
 * found out.
 */
static unsigned class_of(size_t size)
{
	unsigned class = SANITIZED ? BLOCKS_CLASSES : 0;
	while (class < BLOCKS_CLASSES && BLOCK_MIN << class != size)
		class++;
	return class;
}

static struct block *block_new(struct arena *arena, size_t size)
{
	unsigned class = class_of(size);
	struct block *block;

	_Static_assert(sizeof(*block) + (BLOCK_MIN << 1) == BLOCKS_SIZE(1), "a usual block must be one of those kept apart");
	block = class < BLOCKS_CLASSES ? blocks_take(class) : xcalloc(1, sizeof(*block) + size);
	block->size = size;
	arena->total += sizeof(*block) + size;
	return block;
}

static void block_free(struct block *block)
{
	if (class_of(block->size) < BLOCKS_CLASSES)
		blocks_put(block, sizeof(*block) + block->used);
	else
		free(block);
}

/* ---- arenas ---- */

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
