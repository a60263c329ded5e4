/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An arena: many small allocations that live and die together. An API object owns one; freeing the object is
 * one call. Not thread safe: one owner at a time; once published, what it holds is read only.
 */
#ifndef CORACLE_BASE_ARENA_H
#define CORACLE_BASE_ARENA_H

#include "common/base/base.h"

#include <stdarg.h>

struct arena;

/* A new, empty arena; the first block is made on the first allocation. */
struct arena *arena_new(void);
/* One whose first block holds `size` bytes. */
struct arena *arena_new_sized(size_t size);
/* Takes NULL. Returns NULL. */
struct arena *arena_free(struct arena *arena);
static inline void cleanup_arena(struct arena **arena) {
	*arena = arena_free(*arena);
}
#define autoarena cleanup(cleanup_arena)

/* Zeroed, aligned to 16 bytes. A size of 0 gives a unique valid pointer. */
void *arena_alloc(struct arena *arena, size_t size) __attribute__((returns_nonnull));
/* `count` elements of `size` bytes, zeroed; aborts where the product overflows. */
void *arena_calloc(struct arena *arena, size_t count, size_t size) __attribute__((returns_nonnull));
/* NULL in, NULL out. */
char *arena_strdup(struct arena *arena, const char *s);
char *arena_strndup(struct arena *arena, const char *s, size_t len) __attribute__((returns_nonnull));
void *arena_memdup(struct arena *arena, const void *data, size_t len) __attribute__((returns_nonnull));
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((returns_nonnull)) printf_like(2, 3);
char *arena_vprintf(struct arena *arena, const char *fmt, va_list args) __attribute__((returns_nonnull)) printf_like(2, 0);
/* Calls free_fn(ptr) when the arena is freed, the last registered first. */
void arena_defer(struct arena *arena, void (*free_fn)(void *), void *ptr);
/* Bytes taken from the allocator, for accounting. */
size_t arena_size(const struct arena *arena);
/* Bytes given out, with what lies between them to align them. */
size_t arena_used(const struct arena *arena);

#define arena_new_type(arena, type) ((type *)arena_alloc((arena), sizeof(type)))

#endif
