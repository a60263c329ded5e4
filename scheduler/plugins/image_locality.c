/* SPDX-License-Identifier: Apache-2.0 */
/* Points for nodes that have the pod's images: between 23 MB (not worth it) and 1 GB a container, scaled by how many nodes have the image. */
#include "scheduler/plugins/plugins.h"

#define SMALLEST (23ll << 20)
#define LARGEST_EACH (1000ll << 20)

static bool same_image(const char *have, const char *want) {
	if (str_equal(have, want))
		return true;
	static const char *const prefixes[] = {"docker.io/library/", "docker.io/"};
	bool tagged = strrchr(want, ':') && !strchr(strrchr(want, ':'), '/');
	for (size_t i = 0; i < array_len(prefixes); i++) {
		size_t len = strlen(prefixes[i]), want_len = strlen(want);
		if (strncmp(have, prefixes[i], len) != 0 || strncmp(have + len, want, want_len) != 0)
			continue;
		if (!have[len + want_len] || (!tagged && strcmp(have + len + want_len, ":latest") == 0))
			return true;
	}
	return false;
}

static int64_t image_size(const struct core_v1_node *node, const char *image) {
	for api_list_each (have, &node->status.images)
		for (uint32_t i = 0; i < have->names.len; i++)
			if (same_image(have->names.items[i], image))
				return have->size_bytes;
	return 0;
}

static bool score(struct attempt *attempt, int64_t *points) {
	const struct core_v1_pod_spec *spec = &attempt->pod->pod->spec;
	bool any = false;
	for api_list_each (container, &spec->containers) {
		unsigned nodes = 0;
		int64_t *sizes = arena_calloc(attempt->arena, attempt->cluster->row_count + 1, sizeof(*sizes));
		attempt_each_row (row, attempt) {
			sizes[row] = image_size(attempt->cluster->rows[row].node, str_or(container->image, ""));
			nodes += sizes[row] > 0;
		}
		attempt_each_row (row, attempt)
			points[row] += sizes[row] * nodes / max_of(attempt->cluster->node_count, 1u);
		any |= nodes > 0;
	}
	int64_t largest = LARGEST_EACH * max_of(spec->containers.len, 1u);
	attempt_each_row (row, attempt) {
		int64_t bounded = min_of(max_of(points[row], SMALLEST), largest);
		points[row] = SCORE_MAX * (bounded - SMALLEST) / (largest - SMALLEST);
	}
	return any;
}

const struct plugin image_locality_plugin = {
	.name = "ImageLocality",
	.score = score,
	.weight = 1,
};
