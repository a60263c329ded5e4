/* SPDX-License-Identifier: Apache-2.0 */
/* Gives memory back to the system that only a burst, or the start, needed. */
#ifndef CORACLE_BASE_TRIM_H
#define CORACLE_BASE_TRIM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Makes malloc sparing, for a daemon of many threads: two heaps for all of them, and no chunks kept aside for each, which would hold whole pages. The C library
 * takes the latter from the environment alone (GLIBC_TUNABLES): the program starts itself anew with it, once, unless the variable was set by somebody else; it is
 * not left to children. Call first in main. Nothing is done where the program is linked with jemalloc: that is told by its malloc_conf.
 */
void memory_be_sparing(char **argv);
/* Returns free heap to the system. Thread safe; takes a millisecond or few. */
void heap_trim(void);
/*
 * Returns free heap, and lets go of pages of programs and libraries as they stand on disk (what is still used comes back from the
 * page cache). Thread safe; takes a few milliseconds: for quiet moments.
 */
void memory_trim(void);
/* The latter alone: for a process so seldom at work that it need not keep what one round of it reads. Thread safe; some hundred microseconds. */
void memory_trim_files(void);
/*
 * Returns free heap where so much was freed since the last time that it is worth it. To know that, malloc walks all that lies free: milliseconds in a
 * large heap, so it is not for a clock of seconds; memory_look() is. Thread safe. Returns whether it did.
 */
bool memory_tidy(void);
/*
 * For the clock of a daemon that has started, which calls it first thing and then whenever so many milliseconds have passed as it returned: gives back what only
 * the start needed, once that is over, and what bursts leave from then on: within some tens of seconds, at a few per cent of what the process works
 * in all, so that an idle one hardly ever looks. *step begins as 0 and is the clock's to keep; a process has one such clock.
 */
int memory_look(unsigned *step);

struct memory_use {
	size_t resident;  /* bytes */
	size_t anonymous; /* of them those that stand in no file */
};
/* Of this process; zeros where the kernel does not tell. */
struct memory_use memory_use(void);

#endif
