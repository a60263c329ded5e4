/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/blocks.h"

#include "common/base/base.h"
#include "common/base/list.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

/*
 * A chunk is aligned to its size, so that a block's address tells its chunk; its blocks stand behind its head. Which are free is told there, not in them: the
 * pages of free blocks may be gone.
 */
#define CHUNK ((size_t)128 << 10)
#define PAGE ((uintptr_t)4096)
#define BLOCKS_MAX 136
#define WORDS ((BLOCKS_MAX + 63) / 64)
#define HOARD ((size_t)1 << 20) /* of each size, free and not given back: more of it than that, and than of what is used, is given back at once */

struct chunk {
	struct list link; /* among those with room; alone where it has none */
	unsigned class, live, count;
	uint64_t free[WORDS];
	uint16_t dirty[BLOCKS_MAX]; /* bytes of each free one that are to be zeroed before it is used again */
};
#define HEAD ((sizeof(struct chunk) + 15) & ~(size_t)15)
_Static_assert((CHUNK - HEAD) / BLOCKS_SIZE(0) <= BLOCKS_MAX, "a chunk's head must tell of all its blocks");
_Static_assert(BLOCKS_SIZE(BLOCKS_CLASSES - 1) <= UINT16_MAX, "how much of a block is dirty must fit");

static struct size_class {
	pthread_mutex_t lock;
	struct list roomy; /* chunks with free blocks: those that had one first come first, so that the others may empty */
	size_t chunks, live, dirty; /* dirty: blocks that are free and not zero */
	bool has_empty; /* one is kept, lest a chunk is made and unmade for each block */
} classes[BLOCKS_CLASSES] = {[0 ... BLOCKS_CLASSES - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static char *block_at(const struct chunk *chunk, size_t i)
{
	return (char *)chunk + HEAD + i * BLOCKS_SIZE(chunk->class);
}

static bool bit_get(const uint64_t *words, size_t i)
{
	return words[i / 64] >> i % 64 & 1;
}

static void bit_set(uint64_t *words, size_t i)
{
	words[i / 64] |= 1ull << i % 64;
}

static void bit_clear(uint64_t *words, size_t i)
{
	words[i / 64] &= ~(1ull << i % 64);
}

static struct chunk *chunk_of(void *block)
{
	return (struct chunk *)((uintptr_t)block & ~(uintptr_t)(CHUNK - 1));
}

/* ---- chunks; the lock of the class is held ---- */

static struct chunk *chunk_new(struct size_class *of, unsigned class)
{
	char *at = mmap(NULL, 2 * CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (at == MAP_FAILED)
		xcalloc(SIZE_MAX, SIZE_MAX); /* aborts, and says why */
	size_t before = -(uintptr_t)at & (CHUNK - 1);
	if (before)
		munmap(at, before);
	munmap(at + before + CHUNK, CHUNK - before);
	struct chunk *chunk = (struct chunk *)(at + before);
	chunk->class = class;
	chunk->count = (unsigned)((CHUNK - HEAD) / BLOCKS_SIZE(class));
	for (size_t i = 0; i < chunk->count; i++)
		bit_set(chunk->free, i);
	list_push_front(&of->roomy, &chunk->link);
	of->chunks++;
	return chunk;
}

static void chunk_free(struct size_class *of, struct chunk *chunk)
{
	for (size_t i = 0; i < chunk->count; i++)
		of->dirty -= chunk->dirty[i] != 0;
	list_remove(&chunk->link);
	of->chunks--;
	munmap(chunk, CHUNK);
}

static bool has_room(const struct chunk *chunk)
{
	for (size_t i = 0; i < WORDS; i++)
		if (chunk->free[i])
			return true;
	return false;
}

static size_t first_free(const struct chunk *chunk)
{
	size_t word = 0;
	while (!chunk->free[word])
		word++;
	return word * 64 + (size_t)__builtin_ctzll(chunk->free[word]);
}

/*
 * The whole pages of a run of free blocks, [from, to). A block whose head goes is to be zero all of it: so the end of the one that reaches beyond those pages is
 * zeroed here.
 */
static void run_trim(struct size_class *of, struct chunk *chunk, size_t from, size_t to)
{
	uintptr_t page = ((uintptr_t)block_at(chunk, from) + PAGE - 1) & ~(PAGE - 1), behind = (uintptr_t)block_at(chunk, to) & ~(PAGE - 1);
	bool dirty = false;
	for (size_t i = from; i < to; i++) {
		uintptr_t start = (uintptr_t)block_at(chunk, i), end = (uintptr_t)block_at(chunk, i + 1);
		if (end <= page || start >= behind)
			continue;
		dirty = dirty || chunk->dirty[i];
		if (start < page)
			continue;
		if (end > behind && chunk->dirty[i])
			memset((void *)behind, 0, end - behind);
		of->dirty -= chunk->dirty[i] != 0;
		chunk->dirty[i] = 0;
	}
	if (dirty)
		madvise((void *)page, behind - page, MADV_DONTNEED);
}

static void chunk_trim(struct size_class *of, struct chunk *chunk)
{
	for (size_t from = 0, to; from < chunk->count; from = to + 1) {
		for (to = from; to < chunk->count && bit_get(chunk->free, to); to++)
			;
		run_trim(of, chunk, from, to);
	}
}

static void class_trim(struct size_class *of)
{
	struct chunk *chunk;
	list_for_each (chunk, &of->roomy, link) {
		if (chunk->live)
			chunk_trim(of, chunk);
		else
			chunk_free(of, chunk);
	}
	of->has_empty = false;
}

/* ---- the public side ---- */

static void lock(struct size_class *of)
{
	pthread_mutex_lock(&of->lock);
	if (!of->roomy.next)
		list_init(&of->roomy);
}

void *blocks_take(unsigned class)
{
	struct size_class *of = &classes[class];
	lock(of);
	struct chunk *chunk = list_first(&of->roomy, struct chunk, link);
	if (!chunk)
		chunk = chunk_new(of, class);
	else if (!chunk->live)
		of->has_empty = false;
	size_t i = first_free(chunk), dirty = chunk->dirty[i];
	bit_clear(chunk->free, i);
	chunk->live++;
	of->live++;
	of->dirty -= dirty != 0;
	if (!has_room(chunk)) {
		list_remove(&chunk->link);
		list_init(&chunk->link);
	}
	pthread_mutex_unlock(&of->lock);
	return memset(block_at(chunk, i), 0, dirty);
}

void blocks_put(void *block, size_t dirty)
{
	struct chunk *chunk = chunk_of(block);
	unsigned class = chunk->class;
	struct size_class *of = &classes[class];
	uint32_t i = (uint32_t)((char *)block - (char *)chunk - HEAD) / (uint32_t)BLOCKS_SIZE(class);
	pthread_mutex_lock(&of->lock);
	if (!has_room(chunk))
		list_push_back(&of->roomy, &chunk->link);
	bit_set(chunk->free, i);
	chunk->dirty[i] = (uint16_t)dirty;
	of->dirty += dirty != 0;
	of->live--;
	if (--chunk->live == 0) {
		if (of->has_empty) {
			chunk_free(of, chunk);
		} else {
			of->has_empty = true;
			list_remove(&chunk->link);
			list_push_back(&of->roomy, &chunk->link);
		}
	}
	if (of->dirty > of->live && of->dirty * BLOCKS_SIZE(class) > HOARD)
		class_trim(of);
	pthread_mutex_unlock(&of->lock);
}

void blocks_trim(void)
{
	for (unsigned class = 0; class < BLOCKS_CLASSES; class++) {
		struct size_class *of = &classes[class];
		lock(of);
		class_trim(of);
		pthread_mutex_unlock(&of->lock);
	}
}

struct blocks_count blocks_count(void)
{
	struct blocks_count count = {0};
	for (unsigned class = 0; class < BLOCKS_CLASSES; class++) {
		const struct size_class *of = &classes[class];
		pthread_mutex_lock(&classes[class].lock);
		count.mapped += of->chunks * CHUNK;
		count.used += of->live * BLOCKS_SIZE(class);
		count.dirty += of->dirty * BLOCKS_SIZE(class);
		pthread_mutex_unlock(&classes[class].lock);
	}
	return count;
}
