/* SPDX-License-Identifier: Apache-2.0 */
/* A set of cpus, by value; its text is that of the kernel: "0-3,8". */
#ifndef CORACLE_KUBELET_CPUSET_H
#define CORACLE_KUBELET_CPUSET_H

#include "common/base/error.h"

#define CPUSET_MAX 4096 /* ids lie below it */
#define CPUSET_MAX_TEXT (CPUSET_MAX * 5)

struct cpuset {
	uint64_t words[CPUSET_MAX / 64];
};

/* -EINVAL where the text is no list, -ERANGE where an id is too large; *ret is untouched then. Nothing, or white space, is the empty set. */
int cpuset_parse(const char *text, struct cpuset *ret, struct error *err);
/* The caller frees. */
char *cpuset_format(const struct cpuset *set);

bool cpuset_has(const struct cpuset *set, int cpu);
void cpuset_add(struct cpuset *set, int cpu);
size_t cpuset_count(const struct cpuset *set);
bool cpuset_is_empty(const struct cpuset *set);
bool cpuset_equal(const struct cpuset *a, const struct cpuset *b);
bool cpuset_meet(const struct cpuset *a, const struct cpuset *b);
struct cpuset cpuset_or(const struct cpuset *a, const struct cpuset *b);
struct cpuset cpuset_and(const struct cpuset *a, const struct cpuset *b);
struct cpuset cpuset_minus(const struct cpuset *a, const struct cpuset *b);
/* The least id above `after`; -1: none. */
int cpuset_next(const struct cpuset *set, int after);
#define cpuset_each(cpu, set) (int cpu = cpuset_next((set), -1); cpu >= 0; cpu = cpuset_next((set), cpu))

#endif
