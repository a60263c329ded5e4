/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Blocks of five sizes, apart from malloc's heap. What is large and lives for a moment (an object while it is read) would leave the heap full of holes
 * between what is small and stays: none of them usable for something larger, and no page of them free. Blocks stand in chunks of their own, of which free
 * pages can be given back one by one. All functions are thread safe.
 */
#ifndef CORACLE_BASE_BLOCKS_H
#define CORACLE_BASE_BLOCKS_H

#include <stddef.h>

#define BLOCKS_CLASSES 5
/* Bytes of a block of each class. No powers of two: the beginnings of all would fall into the same few lines of the processor's cache. */
#define BLOCKS_SIZE(class) (((size_t)960 << (class)) + 32)

/* A block, zeroed, aligned to 16 bytes. Aborts where memory is out, as malloc's wrappers do. */
void *blocks_take(unsigned class) __attribute__((returns_nonnull));
/* dirty: behind so many bytes it is zero still. */
void blocks_put(void *block, size_t dirty);
/* Gives the pages of free blocks back to the system. */
void blocks_trim(void);
struct blocks_count {
	size_t mapped; /* bytes of chunks */
	size_t used;   /* of blocks in use */
	size_t dirty;  /* of free blocks that may have pages */
};
struct blocks_count blocks_count(void);

#endif
