/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/resourcemetrics/samples.h"

#include "apiserver/resourcemetrics/exposition.h"

#include <math.h>
#include <stdio.h>

#define MAX_KEY 600
#define MIN_WINDOW_NS NSEC_PER_SEC /* a shorter one says little */

struct point {
	double cpu, memory; /* seconds, bytes; negative: not said */
	double started;     /* since 1970; 0: not said */
	struct wall_time at;
};
struct raw_container {
	const char *name;
	struct point point;
	struct raw_container *next;
};
struct raw_pod {
	struct raw_container *containers;
};
struct sample_set {
	struct arena *arena;
	struct wall_time read_at;
	struct point node;
	struct map pods; /* "ns/name" -> struct raw_pod, in the arena */
	size_t containers;
};

static struct point *container_point(struct sample_set *set, const struct exposition_sample *sample) {
	const char *ns = exposition_label(sample, "namespace"), *pod = exposition_label(sample, "pod"), *name = exposition_label(sample, "container");
	char key[MAX_KEY];
	if (str_empty(ns) || str_empty(pod) || str_empty(name) || snprintf(key, sizeof(key), "%s/%s", ns, pod) >= (int)sizeof(key))
		return NULL;
	struct raw_pod *raw = map_get(&set->pods, key);
	for (struct raw_container *c = raw ? raw->containers : NULL; c; c = c->next)
		if (strcmp(c->name, name) == 0)
			return &c->point;
	if (set->containers == SAMPLES_MAX_CONTAINERS)
		return NULL;
	set->containers++;
	if (!raw) {
		raw = arena_new_type(set->arena, struct raw_pod);
		map_set(&set->pods, key, raw);
	}
	struct raw_container *c = arena_new_type(set->arena, struct raw_container);
	c->name = arena_strdup(set->arena, name);
	c->point = (struct point){.cpu = -1, .memory = -1, .at = set->read_at};
	c->next = raw->containers;
	raw->containers = c;
	return &c->point;
}

static void take_time(struct point *point, const struct exposition_sample *sample) {
	if (sample->has_time && sample->time_ms > 0)
		point->at = (struct wall_time){sample->time_ms / 1000, (int32_t)(sample->time_ms % 1000) * 1000000};
}

static void take_cpu(struct point *point, const struct exposition_sample *sample) {
	point->cpu = sample->value;
	take_time(point, sample);
}

static void take_memory(struct point *point, const struct exposition_sample *sample) {
	point->memory = sample->value;
}

static void take_start(struct point *point, const struct exposition_sample *sample) {
	point->started = sample->value;
}

static const struct {
	const char *name;
	bool of_node;
	void (*take)(struct point *point, const struct exposition_sample *sample);
} metrics[] = {
	{"node_cpu_usage_seconds_total", true, take_cpu},
	{"node_memory_working_set_bytes", true, take_memory},
	{"container_cpu_usage_seconds_total", false, take_cpu},
	{"container_memory_working_set_bytes", false, take_memory},
	{"container_start_time_seconds", false, take_start},
};

static void on_sample(const struct exposition_sample *sample, void *arg) {
	struct sample_set *set = arg;
	if (!isfinite(sample->value) || sample->value < 0 || sample->value > 1e18)
		return;
	for (size_t i = 0; i < array_len(metrics); i++) {
		if (strcmp(metrics[i].name, sample->name) != 0)
			continue;
		struct point *point = metrics[i].of_node ? &set->node : container_point(set, sample);
		if (point)
			metrics[i].take(point, sample);
		return;
	}
}

struct sample_set *sample_set_parse(const char *text, size_t len, struct wall_time at) {
	struct sample_set *set = xnew(struct sample_set);
	set->arena = arena_new();
	set->read_at = at;
	set->node = (struct point){.cpu = -1, .memory = -1, .at = at};
	set->pods = MAP_INIT(NULL);
	exposition_read(text, len, on_sample, set);
	return set;
}

void sample_set_free(struct sample_set *set) {
	if (!set)
		return;
	map_done(&set->pods);
	arena_free(set->arena);
	free(set);
}

/* ---- usage ---- */

struct node_usage {
	unsigned refs; /* atomic */
	struct arena *arena;
	bool known;
	struct usage node;
	struct map pods; /* "ns/name" -> struct pod_usage, in the arena */
};

static double seconds_of(struct wall_time t) {
	return (double)t.sec + t.nsec / 1e9;
}

/* What was used between two looks; where there was no earlier one, or the counter began anew, since the start. */
static bool point_usage(const struct point *prev, const struct point *now, struct usage *ret) {
	if (now->cpu < 0 || now->memory < 0)
		return false;
	bool restarted = prev && (prev->started != now->started || prev->cpu > now->cpu);
	double cpu = now->cpu;
	int64_t window;
	if (prev && prev->cpu >= 0 && !restarted) {
		cpu -= prev->cpu;
		window = time_diff_ns(now->at, prev->at);
	} else if (now->started > 0 && now->started < seconds_of(now->at)) {
		double age = seconds_of(now->at) - now->started;
		/* An old container that was not looked at before: its whole life says nothing of now. */
		if (!prev && age > 300)
			return false;
		window = (int64_t)(age * 1e9);
	} else {
		return false;
	}
	if (window < MIN_WINDOW_NS)
		return false;
	*ret = (struct usage){.cpu_nano = (uint64_t)(cpu * 1e18 / (double)window), .memory = (uint64_t)now->memory, .at = now->at, .window_ns = window};
	return true;
}

static const struct point *find_point(const struct raw_pod *pod, const char *name) {
	for (const struct raw_container *c = pod ? pod->containers : NULL; c; c = c->next)
		if (strcmp(c->name, name) == 0)
			return &c->point;
	return NULL;
}

static struct pod_usage *pod_usage_new(struct arena *arena, const struct raw_pod *prev, const struct raw_pod *now) {
	size_t count = 0;
	for (const struct raw_container *c = now->containers; c; c = c->next)
		count++;
	struct pod_usage *pod = arena_new_type(arena, struct pod_usage);
	pod->containers = arena_calloc(arena, count, sizeof(*pod->containers));
	pod->count = count;
	/* The list is in reverse of the kubelet's order. */
	for (const struct raw_container *c = now->containers; c; c = c->next) {
		struct container_usage *usage = &pod->containers[--count];
		usage->name = arena_strdup(arena, c->name);
		if (!point_usage(find_point(prev, c->name), &c->point, &usage->usage))
			return NULL;
	}
	return pod;
}

struct node_usage *node_usage_new(const struct sample_set *prev, const struct sample_set *now) {
	struct node_usage *usage = xnew(struct node_usage);
	usage->refs = 1;
	usage->arena = arena_new();
	usage->pods = MAP_INIT(NULL);
	usage->known = point_usage(prev ? &prev->node : NULL, &now->node, &usage->node);
	struct map_entry *entry;
	for (size_t i = 0; (entry = map_next(&now->pods, &i));) {
		struct pod_usage *pod = pod_usage_new(usage->arena, prev ? map_get(&prev->pods, entry->key) : NULL, entry->value);
		if (pod)
			map_set(&usage->pods, entry->key, pod);
	}
	return usage;
}

struct node_usage *node_usage_ref(struct node_usage *usage) {
	if (usage)
		__atomic_add_fetch(&usage->refs, 1, __ATOMIC_RELAXED);
	return usage;
}

void node_usage_unref(struct node_usage *usage) {
	if (!usage || __atomic_sub_fetch(&usage->refs, 1, __ATOMIC_ACQ_REL))
		return;
	map_done(&usage->pods);
	arena_free(usage->arena);
	free(usage);
}

const struct usage *node_usage_node(const struct node_usage *usage) {
	return usage->known ? &usage->node : NULL;
}

const struct pod_usage *node_usage_pod(const struct node_usage *usage, const char *ns, const char *name) {
	char key[MAX_KEY];
	return snprintf(key, sizeof(key), "%s/%s", ns, name) < (int)sizeof(key) ? map_get(&usage->pods, key) : NULL;
}
