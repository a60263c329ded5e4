/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/job/job.h"

#include <stdio.h>

#define MAX_TEXT ((size_t)8 << 20)

void index_set_init(struct index_set *set, int32_t size)
{
	size = size < 0 ? 0 : min_of(size, MAX_INDEXES);
	*set = (struct index_set){.bits = xcalloc((size_t)size / 8 + 1, 1), .size = size};
}

void index_set_done(struct index_set *set)
{
	free(set->bits);
	*set = (struct index_set){0};
}

bool index_set_has(const struct index_set *set, int32_t index)
{
	return index >= 0 && index < set->size && (set->bits[index / 8] >> index % 8 & 1);
}

void index_set_add(struct index_set *set, int32_t index)
{
	if (index < 0 || index >= set->size || index_set_has(set, index))
		return;
	set->bits[index / 8] |= (uint8_t)(1 << index % 8);
	set->count++;
}

void index_set_parse(struct index_set *set, const char *text)
{
	for (const char *p = str_or(text, ""); *p;) {
		size_t len = strcspn(p, ",");
		autofree char *part = xstrndup(p, len);
		char *dash = strchr(part, '-');
		int64_t first, last;
		if (dash)
			*dash = '\0';
		if (str_to_int64(part, 0, INT32_MAX, &first)) {
			last = first;
			if (!dash || str_to_int64(dash + 1, 0, INT32_MAX, &last))
				for (int64_t i = first; i <= last && i < set->size; i++)
					index_set_add(set, (int32_t)i);
		}
		p += len + (p[len] == ',');
	}
}

const char *index_set_format(const struct index_set *set, struct arena *arena)
{
	autobuf struct buf out = BUF_INIT(MAX_TEXT);
	for (int32_t i = 0; i < set->size; i++) {
		if (!index_set_has(set, i))
			continue;
		int32_t last = i;
		while (index_set_has(set, last + 1))
			last++;
		buf_printf(&out, last == i ? "%s%d" : last == i + 1 ? "%s%d,%d" : "%s%d-%d", out.len ? "," : "", i, last);
		i = last;
	}
	return out.len ? arena_strndup(arena, out.data, out.len) : NULL;
}

int32_t job_pod_index(const struct core_v1_pod *pod)
{
	int64_t index;
	return str_to_int64(api_map_get(&pod->metadata.annotations, JOB_INDEX), 0, MAX_INDEXES, &index) ? (int32_t)index : -1;
}
