/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/trim.h"

#include "common/base/base.h"
#include "common/base/blocks.h"
#include "common/base/clock.h"
#include "common/base/file.h"

#include <fcntl.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ARENAS 2
#define MAX_MAPS (4u << 20)
#define WORTH_TRIMMING ((size_t)1 << 20)
#define WORTH_TRIMMING_BLOCKS ((size_t)512 << 10)
#define START_MS 10000 /* then first lists are read and first connections made */
#define TIDY_MS 10000
/*
 * To learn what lies free malloc walks all of it, a cache miss for each chunk: with 30,000 pods cached that is milliseconds, more than an idle daemon uses
 * otherwise. What a burst frees is freed by work, though, and what a process has worked its clock tells for nothing: a look is worth its cost once the
 * process has worked so many times as long. An idle daemon looks every few minutes then, one that was busy a moment ago at once. And caches let go of
 * what nobody asks for any more when all is still: so after a burst, and after the start, some looks follow, ever further apart.
 */
#define WORK_PER_LOOK 40
#define LOOKS_FOLLOW 8 /* so many ticks: at the first of them, the second, the fourth and the last */
#define FILES_FOLLOW 4 /* from this tick on they let go of the pages of programs too */
#define WORTH_LOOKING ((size_t)1 << 20) /* so much came or went: worth it in any case */
#define WORTH_LOOKING_FILES ((size_t)4 << 20) /* of all pages; those of programs come back by themselves as they are used: some are no burst */

/* Of jemalloc, in programs that are linked with it. */
extern int mallctl(const char *name, void *old, size_t *old_len, void *new, size_t new_len) __attribute__((weak));
#define PURGE_ALL "arena.4096.purge" /* 4096: MALLCTL_ARENAS_ALL */

void memory_be_sparing(char **argv)
{
	if (mallctl)
		return; /* told by malloc_conf of the program */
	static const char name[] = "GLIBC_TUNABLES", wanted[] = "glibc.malloc.tcache_count=0";
	const char *set = getenv(name);
	char self[PATH_MAX];
	if (set && str_equal(set, wanted)) {
		unsetenv(name);
	} else if (!set && !SANITIZED) {
		/* By its own path, of which the kernel takes the name of the process. */
		ssize_t len = readlink("/proc/self/exe", self, sizeof(self));
		if (len > 0 && (size_t)len < sizeof(self) && setenv(name, wanted, 1) == 0) {
			self[len] = '\0';
			execv(self, argv);
			unsetenv(name); /* an upgrade took the file away: without it, then */
		}
	}
	mallopt(M_ARENA_MAX, ARENAS);
}

/*
 * What of a mapping's entry in smaps matters. A private mapping of a file that nobody may write to, and of which no page is a copy, holds
 * what the file holds: code and constants. What a loader has written to (relocated data, made read only afterwards) has copies, and must
 * never be let go of.
 */
struct mapping {
	unsigned long from, to;
	bool is_file;
};

static bool read_header(const char *line, struct mapping *ret)
{
	unsigned long inode;
	char permissions[5];
	if (sscanf(line, "%lx-%lx %4s %*x %*x:%*x %lu", &ret->from, &ret->to, permissions, &inode) != 4)
		return false;
	ret->is_file = inode && permissions[0] == 'r' && permissions[1] == '-' && permissions[3] == 'p';
	return true;
}

static void malloc_give_back(void)
{
	if (mallctl)
		mallctl(PURGE_ALL, NULL, NULL, NULL, 0);
	else
		malloc_trim(0);
}

void heap_trim(void)
{
	blocks_trim();
	malloc_give_back();
}

bool memory_tidy(void)
{
	/* What was returned already still counts as free, so only what came on top of it tells. Two at once do no harm. */
	static size_t left;
	bool of_blocks = blocks_count().dirty > WORTH_TRIMMING_BLOCKS;
	if (of_blocks)
		blocks_trim();
	if (mallctl) {
		/* It knows its free pages, and has nothing to walk but those. */
		malloc_give_back();
		return true;
	}
	size_t last = __atomic_load_n(&left, __ATOMIC_RELAXED), now = mallinfo2().fordblks;
	bool worth_trimming = now > last + WORTH_TRIMMING;
	if (worth_trimming) {
		malloc_trim(0);
		now = mallinfo2().fordblks;
	}
	if (worth_trimming || now < last)
		__atomic_store_n(&left, now, __ATOMIC_RELAXED);
	return worth_trimming || of_blocks;
}

void memory_trim_files(void)
{
	autofree char *maps = NULL;
	size_t len;
	if (file_read(AT_FDCWD, "/proc/self/smaps", MAX_MAPS, &maps, &len, NULL) < 0)
		return;
	struct mapping mapping = {0};
	char *save = NULL;
	for (char *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		unsigned long kib;
		if (sscanf(line, "Anonymous: %lu kB", &kib) == 1) {
			if (kib == 0 && mapping.is_file)
				madvise((void *)mapping.from, mapping.to - mapping.from, MADV_DONTNEED);
		} else {
			read_header(line, &mapping);
		}
	}
}

void memory_trim(void)
{
	heap_trim();
	memory_trim_files();
}

static int64_t worked_ns(clockid_t clock)
{
	struct timespec t;
	return clock_gettime(clock, &t) == 0 ? t.tv_sec * NSEC_PER_SEC + t.tv_nsec : 0;
}

static bool has_moved(const struct memory_use *last, const struct memory_use *now)
{
	return now->anonymous > last->anonymous + WORTH_LOOKING || last->anonymous > now->anonymous + WORTH_LOOKING || now->resident > last->resident + WORTH_LOOKING_FILES;
}

/* *step: 1: the start is not over; 2: something came or went at the last look; from 3 on it counts the ticks since. */
int memory_look(unsigned *step)
{
	/* As it was at the last look, and what that took. */
	static struct memory_use seen;
	static int64_t worked, cost;
	if (*step == 0) {
		*step = 1;
		return START_MS;
	}
	struct memory_use now = memory_use();
	bool moved = *step > 1 && has_moved(&seen, &now);
	if (*step < 3 && !moved) {
		/* The start, or a burst, is over: what it alone ran and read goes too. */
		memory_trim();
		seen = memory_use();
		*step = 3;
		return TIDY_MS;
	}
	if (moved)
		*step = 2;
	unsigned still = *step - 2;
	if (*step < LOOKS_FOLLOW + 3 && !moved)
		++*step;
	bool follows = still <= LOOKS_FOLLOW && (still & (still - 1)) == 0;
	if (!moved && !follows && worked_ns(CLOCK_PROCESS_CPUTIME_ID) - worked < WORK_PER_LOOK * cost)
		return TIDY_MS;
	int64_t begun = worked_ns(CLOCK_THREAD_CPUTIME_ID);
	bool gave = memory_tidy(), long_still = follows && still >= FILES_FOLLOW;
	if (long_still)
		memory_trim_files(); /* a burst that paused was taken for over, and brought its pages back when it went on */
	if (gave || long_still)
		now = memory_use();
	cost = worked_ns(CLOCK_THREAD_CPUTIME_ID) - begun;
	worked = worked_ns(CLOCK_PROCESS_CPUTIME_ID);
	seen = now;
	return TIDY_MS;
}

struct memory_use memory_use(void)
{
	autofree char *text = NULL;
	size_t len;
	unsigned long resident, shared;
	if (file_read(AT_FDCWD, "/proc/self/statm", PATH_MAX, &text, &len, NULL) < 0 || sscanf(text, "%*u %lu %lu", &resident, &shared) != 2 || shared > resident)
		return (struct memory_use){0};
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	return (struct memory_use){.resident = resident * page, .anonymous = (resident - shared) * page};
}
