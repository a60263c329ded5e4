/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/endpoints/endpoints.h"

#include "controller-manager/shared/pods.h"

#include <pthread.h>

/* A pod takes eight bytes here: its name is known by its hash, and conditions tell times in whole seconds. */
struct pod_time {
	uint32_t name, second;
};
struct seen {
	int64_t service;
	size_t count;
	struct pod_time pods[];
};
struct triggers {
	pthread_mutex_t lock;
	struct map services; /* key -> struct seen */
};

struct triggers *triggers_new(void)
{
	struct triggers *triggers = xnew(struct triggers);
	pthread_mutex_init(&triggers->lock, NULL);
	triggers->services = (struct map)MAP_INIT(free);
	return triggers;
}

void triggers_free(struct triggers *triggers)
{
	map_done(&triggers->services);
	pthread_mutex_destroy(&triggers->lock);
	free(triggers);
}

void triggers_forget(struct triggers *triggers, const char *key)
{
	pthread_mutex_lock(&triggers->lock);
	map_remove(&triggers->services, key);
	pthread_mutex_unlock(&triggers->lock);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = ((const struct pod_time *)a)->name, y = ((const struct pod_time *)b)->name;
	return x < y ? -1 : x > y;
}

static int64_t second_of(const struct seen *seen, uint32_t name)
{
	const struct pod_time *found = seen->count ? bsearch(&(struct pod_time){.name = name}, seen->pods, seen->count, sizeof(*seen->pods), compare) : NULL;
	return found ? found->second : 0;
}

static struct seen *look_at(const struct core_v1_service *service, const struct informer_list *pods)
{
	struct seen *seen = xmalloc(sizeof(*seen) + pods->len * sizeof(*seen->pods));
	*seen = (struct seen){.service = service->metadata.creation_timestamp.t.sec};
	for (size_t i = 0; i < pods->len; i++) {
		const struct core_v1_pod *pod = pods->items[i];
		const struct core_v1_pod_condition *ready = pod_condition(pod, "Ready");
		if (ready && ready->last_transition_time.set && ready->last_transition_time.t.sec > 0)
			seen->pods[seen->count++] = (struct pod_time){(uint32_t)hash_bytes(pod->metadata.name, strlen(pod->metadata.name)), (uint32_t)ready->last_transition_time.t.sec};
	}
	if (seen->count)
		qsort(seen->pods, seen->count, sizeof(*seen->pods), compare);
	return seen;
}

bool triggers_look(struct triggers *triggers, const char *key, const struct core_v1_service *service, const struct informer_list *pods, char ret[TRIGGER_TEXT])
{
	struct seen *now = look_at(service, pods);
	int64_t first = 0;
	pthread_mutex_lock(&triggers->lock);
	const struct seen *before = map_get(&triggers->services, key);
	for (size_t i = 0; before && i < now->count; i++)
		if (now->pods[i].second > second_of(before, now->pods[i].name) && (!first || now->pods[i].second < first))
			first = now->pods[i].second;
	if (!before || (now->service > before->service && (!first || now->service < first)))
		first = now->service;
	map_set(&triggers->services, key, now);
	pthread_mutex_unlock(&triggers->lock);
	if (first)
		time_format_rfc3339((struct wall_time){.sec = first}, ret);
	return first != 0;
}

void trigger_annotate(struct arena *arena, struct meta_v1_object_meta *meta, const char *text)
{
	if (text)
		api_map_set(arena, &meta->annotations, ANNOTATION_LAST_CHANGE_TRIGGER_TIME, arena_strdup(arena, text));
	else
		api_map_remove(&meta->annotations, ANNOTATION_LAST_CHANGE_TRIGGER_TIME);
}
