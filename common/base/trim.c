/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/trim.h"

#include "common/base/base.h"
#include "common/base/file.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdio.h>
#include <sys/mman.h>

#define ARENAS 2
#define MAX_MAPS (4u << 20)

void memory_few_arenas(void)
{
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

void memory_trim(void)
{
	autofree char *maps = NULL;
	size_t len;
	malloc_trim(0);
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
