/* SPDX-License-Identifier: Apache-2.0 */
/* Gives memory back to the system that only a burst, or the start, needed. */
#ifndef CORACLE_BASE_TRIM_H
#define CORACLE_BASE_TRIM_H

/* Few arenas for malloc: call before threads start. A daemon of many short threads otherwise keeps a heap for each. */
void memory_few_arenas(void);
/*
 * Returns free heap, and lets go of pages of programs and libraries as they stand on disk (what is still used comes back from the
 * page cache). Thread safe; takes a few milliseconds: for quiet moments.
 */
void memory_trim(void);

#endif
