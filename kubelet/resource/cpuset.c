/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/cpuset.h"

#include "common/base/buf.h"

#include <ctype.h>
#include <errno.h>

#define WORDS (CPUSET_MAX / 64)

bool cpuset_has(const struct cpuset *set, int cpu) {
	return cpu >= 0 && cpu < CPUSET_MAX && set->words[cpu / 64] >> (cpu % 64) & 1;
}

void cpuset_add(struct cpuset *set, int cpu) {
	if (cpu >= 0 && cpu < CPUSET_MAX)
		set->words[cpu / 64] |= (uint64_t)1 << (cpu % 64);
}

size_t cpuset_count(const struct cpuset *set) {
	size_t count = 0;
	for (size_t i = 0; i < WORDS; i++)
		count += (size_t)__builtin_popcountll(set->words[i]);
	return count;
}

bool cpuset_is_empty(const struct cpuset *set) {
	return cpuset_next(set, -1) < 0;
}

bool cpuset_equal(const struct cpuset *a, const struct cpuset *b) {
	return memcmp(a, b, sizeof(*a)) == 0;
}

bool cpuset_meet(const struct cpuset *a, const struct cpuset *b) {
	for (size_t i = 0; i < WORDS; i++)
		if (a->words[i] & b->words[i])
			return true;
	return false;
}

struct cpuset cpuset_or(const struct cpuset *a, const struct cpuset *b) {
	struct cpuset out;
	for (size_t i = 0; i < WORDS; i++)
		out.words[i] = a->words[i] | b->words[i];
	return out;
}

struct cpuset cpuset_and(const struct cpuset *a, const struct cpuset *b) {
	struct cpuset out;
	for (size_t i = 0; i < WORDS; i++)
		out.words[i] = a->words[i] & b->words[i];
	return out;
}

struct cpuset cpuset_minus(const struct cpuset *a, const struct cpuset *b) {
	struct cpuset out;
	for (size_t i = 0; i < WORDS; i++)
		out.words[i] = a->words[i] & ~b->words[i];
	return out;
}

int cpuset_next(const struct cpuset *set, int after) {
	int cpu = after + 1;
	while (cpu < CPUSET_MAX) {
		uint64_t rest = set->words[cpu / 64] >> (cpu % 64);
		if (rest)
			return cpu + __builtin_ctzll(rest);
		cpu = (cpu / 64 + 1) * 64;
	}
	return -1;
}

static bool read_id(const char **pos, int *ret) {
	const char *p = *pos;
	int64_t id = 0;
	if (!isdigit((unsigned char)*p))
		return false;
	for (; isdigit((unsigned char)*p); p++)
		id = min_of(id * 10 + (*p - '0'), (int64_t)CPUSET_MAX);
	*pos = p;
	*ret = (int)id;
	return true;
}

int cpuset_parse(const char *text, struct cpuset *ret, struct error *err) {
	struct cpuset set = {{0}};
	const char *p = text;
	while (isspace((unsigned char)*p))
		p++;
	while (*p && !isspace((unsigned char)*p)) {
		int from, to;
		bool ok = read_id(&p, &from);
		to = from = ok ? from : 0;
		if (ok && *p == '-') {
			p++;
			ok = read_id(&p, &to) && to >= from;
		}
		/* A comma wants another after it. */
		ok = ok && (!*p || isspace((unsigned char)*p) || (*p == ',' && isdigit((unsigned char)p[1])));
		if (!ok)
			return error_set(err, EINVAL, "\"%s\" is no list of cpus", text);
		if (to >= CPUSET_MAX)
			return error_set(err, ERANGE, "\"%s\" names a cpu past %d", text, CPUSET_MAX - 1);
		for (int cpu = from; cpu <= to; cpu++)
			cpuset_add(&set, cpu);
		p += *p == ',';
	}
	while (isspace((unsigned char)*p))
		p++;
	if (*p)
		return error_set(err, EINVAL, "\"%s\" is no list of cpus", text);
	*ret = set;
	return 0;
}

char *cpuset_format(const struct cpuset *set) {
	struct buf text = BUF_INIT(CPUSET_MAX_TEXT);
	for (int from = cpuset_next(set, -1), to; from >= 0; from = cpuset_next(set, to)) {
		for (to = from; cpuset_has(set, to + 1);)
			to++;
		buf_printf(&text, to > from ? "%s%d-%d" : "%s%d", text.len ? "," : "", from, to);
	}
	return text.len ? buf_take(&text) : xstrdup("");
}
