/* SPDX-License-Identifier: Apache-2.0 */
/*
 * In-place resize of cpu and memory. A spec that asks for something else than the pod was given waits until it fits beside the node's other
 * pods (PodResizePending); what it is given then reaches its control groups (PodResizeInProgress), by a restart where the container wants that.
 *
 * pod->allocated holds what a pod was given for as long as that differs from what its object asks for; given_before what it had until the
 * last decision, until the worker has taken that into account. Both under the pod's lock.
 */
#include "kubelet/pod/resize.h"

#include "common/base/log.h"
#include "common/image/json.h"
#include "kubelet/container/resources.h"
#include "kubelet/resource/managers.h"

#include <errno.h>

#define RETRY_DEFERRED (180 * NSEC_PER_SEC)
#define MAX_EVENT 1024

static const char *const resizable[] = {"cpu", "memory"};

/* ---- comparing ---- */

static bool same_amounts(const struct api_quantity_map *a, const struct api_quantity_map *b) {
	for (size_t i = 0; i < array_len(resizable); i++) {
		const struct quantity *x = api_quantity_get(a, resizable[i]), *y = api_quantity_get(b, resizable[i]);
		if (!x != !y || (x && quantity_compare(x, y) != 0))
			return false;
	}
	return true;
}

static bool same_requirements(const struct core_v1_resource_requirements *a, const struct core_v1_resource_requirements *b) {
	static const struct core_v1_resource_requirements none;
	a = a ? a : &none;
	b = b ? b : &none;
	return same_amounts(&a->requests, &b->requests) && same_amounts(&a->limits, &b->limits);
}

static bool same_containers(const struct core_v1_container_array *a, const struct core_v1_container_array *b) {
	for (uint32_t i = 0; i < a->len && i < b->len; i++)
		if (!same_requirements(&a->items[i].resources, &b->items[i].resources))
			return false;
	return true;
}

bool resize_same(const struct core_v1_pod *a, const struct core_v1_pod *b) {
	return same_containers(&a->spec.containers, &b->spec.containers) && same_containers(&a->spec.init_containers, &b->spec.init_containers) && same_requirements(a->spec.resources, b->spec.resources);
}

/* ---- what it was given ---- */

static void set_requirements(struct core_v1_resource_requirements *to, const struct core_v1_resource_requirements *from, struct arena *arena) {
	struct core_v1_resource_requirements copy = {0};
	api_copy_value(&core_v1_resource_requirements_type, &copy, from, arena);
	*to = copy;
}

static void set_containers(struct core_v1_container_array *to, const struct core_v1_container_array *from, struct arena *arena) {
	for (uint32_t i = 0; i < to->len && i < from->len; i++)
		set_requirements(&to->items[i].resources, &from->items[i].resources, arena);
}

struct core_v1_pod *resize_with(struct core_v1_pod *object, const struct core_v1_pod *given) {
	if (!given || resize_same(object, given))
		return api_ref(object);
	struct core_v1_pod *copy = api_copy(object);
	struct arena *arena = api_arena(copy);
	set_containers(&copy->spec.containers, &given->spec.containers, arena);
	set_containers(&copy->spec.init_containers, &given->spec.init_containers, arena);
	copy->spec.resources = NULL;
	if (given->spec.resources)
		set_requirements(copy->spec.resources = arena_new_type(arena, struct core_v1_resource_requirements), given->spec.resources, arena);
	return copy;
}

static void set_from_status(struct core_v1_container_array *to, const struct core_v1_container_status_array *statuses, struct arena *arena) {
	for (uint32_t i = 0; i < to->len; i++) {
		for api_list_each (status, statuses) {
			if (!str_equal(status->name, to->items[i].name) || !status->resources)
				continue;
			const struct core_v1_resource_requirements given = {.requests = status->allocated_resources, .limits = status->resources->limits, .claims = to->items[i].resources.claims};
			set_requirements(&to->items[i].resources, &given, arena);
		}
	}
}

struct core_v1_pod *resize_from_status(const struct core_v1_pod *object) {
	struct core_v1_pod *copy = api_copy(object);
	set_from_status(&copy->spec.containers, &object->status.container_statuses, api_arena(copy));
	set_from_status(&copy->spec.init_containers, &object->status.init_container_statuses, api_arena(copy));
	if (object->spec.resources && object->status.resources) {
		const struct core_v1_resource_requirements given = {.requests = object->status.allocated_resources, .limits = object->status.resources->limits};
		set_requirements(copy->spec.resources, &given, api_arena(copy));
	}
	if (!resize_same(object, copy))
		return copy;
	api_unref(copy);
	return NULL;
}

void pod_resize_note(struct pod *pod, const struct core_v1_pod *newer) {
	if (!pod->allocated && !resize_same(pod->object, newer)) {
		pod->allocated = api_ref(pod->object);
	} else if (pod->allocated && resize_same(pod->allocated, newer)) {
		/* What it asked for meanwhile is asked for no more. */
		api_unref(pod->allocated);
		pod->allocated = NULL;
		free(take_ptr(pod->resize_reason));
		free(take_ptr(pod->resize_message));
	}
}

/* ---- deciding ---- */

struct amounts {
	int64_t cpu, memory; /* milli, bytes */
};

static struct amounts amounts_of(const struct core_v1_pod *pod) {
	autoarena struct arena *arena = arena_new();
	struct api_quantity_map requests;
	pod_requests(pod, arena, &requests);
	const struct quantity *cpu = api_quantity_get(&requests, "cpu"), *memory = api_quantity_get(&requests, "memory");
	return (struct amounts){cpu ? quantity_milli_value(cpu) : 0, memory ? quantity_value(memory) : 0};
}

/* One pod that asks for something else than it has. */
struct wish {
	struct core_v1_pod *object; /* as asked */
	struct amounts have, want;
	int32_t priority;
	enum cgroup_qos qos;
	bool waits; /* was put off before */
	bool granted;
	bool differs[2]; /* some container's share of what is in resizable[] */
	const char *reason;
	char *message;
};

struct wishes {
	struct wish *items;
	size_t len;
	struct amounts used, capacity;
};

static bool differ(const struct core_v1_container_array *a, const struct core_v1_container_array *b, const char *resource) {
	for (uint32_t i = 0; i < a->len && i < b->len; i++) {
		const struct quantity *x = api_quantity_get(&a->items[i].resources.requests, resource), *y = api_quantity_get(&b->items[i].resources.requests, resource);
		if (!x != !y || (x && quantity_compare(x, y) != 0))
			return true;
	}
	return false;
}

static void collect(struct pod *pod, const struct core_v1_pod *given, void *arg) {
	struct wishes *wishes = arg;
	struct amounts have = amounts_of(given);
	wishes->used.cpu += have.cpu;
	wishes->used.memory += have.memory;
	if (!pod->allocated || pod->object->metadata.deletion_timestamp.set)
		return;
	wishes->items = xreallocarray(wishes->items, wishes->len + 1, sizeof(*wishes->items));
	wishes->items[wishes->len++] = (struct wish){
		.object = api_ref(pod->object),
		.have = have,
		.want = amounts_of(pod->object),
		.priority = pod->object->spec.priority ? *pod->object->spec.priority : 0,
		.qos = resources_qos(pod->object),
		.waits = pod->resize_reason,
	};
	for (size_t i = 0; i < array_len(resizable); i++)
		wishes->items[wishes->len - 1].differs[i] = differ(&pod->object->spec.containers, &given->spec.containers, resizable[i]) || differ(&pod->object->spec.init_containers, &given->spec.init_containers, resizable[i]);
}

/* Those that give something back first, then by priority, then guaranteed before burstable, then who waits already. */
static int by_precedence(const void *a, const void *b) {
	const struct wish *x = a, *y = b;
	bool grows_x = x->want.cpu > x->have.cpu || x->want.memory > x->have.memory, grows_y = y->want.cpu > y->have.cpu || y->want.memory > y->have.memory;
	if (grows_x != grows_y)
		return grows_x ? 1 : -1;
	if (x->priority != y->priority)
		return x->priority > y->priority ? -1 : 1;
	if (x->qos != y->qos)
		return x->qos < y->qos ? -1 : 1;
	return (int)y->waits - (int)x->waits;
}

static bool fits(struct wish *wish, const char *resource, int64_t have, int64_t want, int64_t used, int64_t capacity) {
	if (want <= have || want + used - have <= capacity)
		return true;
	if (want > capacity) {
		wish->reason = "Infeasible";
		wish->message = xprintf("Node didn't have enough capacity: %s, requested: %lld, capacity: %lld", resource, (long long)want, (long long)capacity);
	} else {
		wish->reason = "Deferred";
		wish->message = xprintf("Node didn't have enough resource: %s, requested: %lld, used: %lld, capacity: %lld", resource, (long long)want, (long long)(used - have), (long long)capacity);
	}
	return false;
}

/* What a manager gave to a Guaranteed pod for its own stays as it is. */
static bool is_bound(struct kubelet *kubelet, struct wish *wish) {
	static const char *const managers[] = {"CPU", "Memory"};
	for (size_t i = 0; wish->qos == CGROUP_GUARANTEED && i < array_len(resizable); i++) {
		const char *policy = wish->differs[i] ? resource_managers_binds(kubelet->managers, resizable[i]) : NULL;
		if (!policy)
			continue;
		wish->reason = "Infeasible";
		wish->message = xprintf("Resize is infeasible for Guaranteed Pods alongside %s Manager policy \"%s\"", managers[i], policy);
		return true;
	}
	return false;
}

static void decide(struct kubelet *kubelet, struct wishes *wishes) {
	if (wishes->len)
		qsort(wishes->items, wishes->len, sizeof(*wishes->items), by_precedence);
	for (size_t i = 0; i < wishes->len; i++) {
		struct wish *w = &wishes->items[i];
		w->granted = !is_bound(kubelet, w) && fits(w, "cpu", w->have.cpu, w->want.cpu, wishes->used.cpu, wishes->capacity.cpu) && fits(w, "memory", w->have.memory, w->want.memory, wishes->used.memory, wishes->capacity.memory);
		if (!w->granted)
			continue;
		wishes->used.cpu += w->want.cpu - w->have.cpu;
		wishes->used.memory += w->want.memory - w->have.memory;
	}
}

static void apply(struct pod *pod, const struct core_v1_pod *given, void *arg) {
	const struct wishes *wishes = arg;
	for (size_t i = 0; i < wishes->len; i++) {
		const struct wish *w = &wishes->items[i];
		/* One that asks for something else again by now is decided upon anew. */
		if (!str_equal(pod->uid, w->object->metadata.uid) || !pod->allocated || !resize_same(pod->object, w->object))
			continue;
		free(take_ptr(pod->resize_reason));
		free(take_ptr(pod->resize_message));
		if (!w->granted) {
			pod->resize_reason = xstrdup(w->reason);
			pod->resize_message = xstrdup(w->message);
			continue;
		}
		if (pod->given_before)
			api_unref(pod->allocated);
		else
			pod->given_before = pod->allocated;
		pod->allocated = NULL;
		pod->resizing = true;
	}
}

void pod_resize_decide(struct pod_manager *manager, struct kubelet *kubelet, const struct pod *self) {
	struct wishes wishes = {.capacity = {INT64_MAX / 2, INT64_MAX / 2}};
	autounref struct core_v1_node *node = kubelet->node_informer ? informer_find(kubelet->node_informer, NULL, kubelet->node_name) : NULL;
	if (node) {
		const struct quantity *cpu = api_quantity_get(&node->status.allocatable, "cpu"), *memory = api_quantity_get(&node->status.allocatable, "memory");
		wishes.capacity = (struct amounts){cpu ? quantity_milli_value(cpu) : 0, memory ? quantity_value(memory) : 0};
	}
	pthread_mutex_t *lock = pod_manager_admission_lock(manager);
	pthread_mutex_lock(lock);
	pod_manager_each_active(manager, collect, &wishes);
	decide(kubelet, &wishes);
	if (wishes.len)
		pod_manager_each_active(manager, apply, &wishes);
	pthread_mutex_unlock(lock);
	for (size_t i = 0; i < wishes.len; i++) {
		struct wish *w = &wishes.items[i];
		if (w->granted && !(self && str_equal(self->uid, w->object->metadata.uid)))
			pod_manager_wake(manager, w->object->metadata.uid);
		api_unref(w->object);
		free(w->message);
	}
	free(wishes.items);
}

/* ---- telling ---- */

static json_t *summary_of(const struct core_v1_container_array *containers) {
	json_t *list = json_array();
	for api_list_each (c, containers)
		json_array_append_new(list, json_pack("{s:s,s:o}", "name", c->name, "resources", api_to_json(&core_v1_resource_requirements_type, &c->resources)));
	return list;
}

/* An event with the resources in question; the same one is told once. */
static void tell(struct pod *pod, const struct core_v1_pod *object, const char *type, const char *reason, const char *what, const char *problem) {
	autofree char *key = xprintf("%s/%lld/%s", reason, (long long)object->metadata.generation, str_or(problem, ""));
	if (str_equal(pod->resize_told, key))
		return;
	free(pod->resize_told);
	pod->resize_told = take_ptr(key);
	autojson json_t *summary = json_object();
	if (object->spec.init_containers.len)
		json_object_set_new(summary, "initContainers", summary_of(&object->spec.init_containers));
	json_object_set_new(summary, "containers", summary_of(&object->spec.containers));
	json_object_set_new(summary, "generation", json_integer(object->metadata.generation));
	if (problem)
		json_object_set_new(summary, "error", json_string(problem));
	autofree char *text = json_dumps(summary, JSON_COMPACT);
	kubelet_event(pod->kubelet, object, NULL, type, reason, "%s: %.*s", what, MAX_EVENT - (int)strlen(what) - 2, text);
}

bool pod_resize_look(struct pod *pod, struct core_v1_pod *object, int64_t *ret_retry_ns) {
	pthread_mutex_lock(&pod->lock);
	bool differs = pod->allocated && pod->admitted;
	pthread_mutex_unlock(&pod->lock);
	if (differs)
		pod_resize_decide(pod->manager, pod->kubelet, pod);
	pthread_mutex_lock(&pod->lock);
	autofree char *reason = pod->resize_reason ? xstrdup(pod->resize_reason) : NULL, *message = pod->resize_message ? xstrdup(pod->resize_message) : NULL;
	struct core_v1_pod *before = take_ptr(pod->given_before);
	pthread_mutex_unlock(&pod->lock);
	if (reason) {
		autofree char *event = xprintf("Resize%s", reason), *what = xprintf("Pod resize %s", reason);
		tell(pod, object, "Warning", event, what, message);
		*ret_retry_ns = RETRY_DEFERRED;
	}
	if (!before)
		return false;
	/* What runs has what it was given before, until it is told. */
	for (size_t i = 0; i < pod->slot_count; i++)
		if (!pod->slots[i].actual_of)
			pod->slots[i].actual_of = api_ref(before);
	if (!pod->actual_of)
		pod->actual_of = api_ref(before);
	api_unref(before);
	free(take_ptr(pod->resize_error));
	tell(pod, object, "Normal", "ResizeStarted", "Pod resize started", NULL);
	return true;
}

/* ---- doing ---- */

void slot_resize_done(struct slot *slot) {
	api_unref(slot->actual_of);
	slot->actual_of = NULL;
}

/* A container with cpus of its own is not held back beside. */
static void container_cgroup(struct pod *pod, const struct core_v1_pod *object, const struct core_v1_container *container, struct cgroup_resources *ret) {
	resources_container_cgroup(object, container, ret);
	resource_managers_unlimit(pod->kubelet->managers, object, container, ret);
}

void pod_resize_started(struct pod *pod, const struct core_v1_pod *object, struct slot *slot, const char *id) {
	slot_resize_done(slot);
	free(slot->resized_for);
	slot->resized_for = xstrdup(id);
	container_cgroup(pod, object, slot->spec, &slot->resources);
}

static bool restarts_for(const struct core_v1_container *spec, const char *resource) {
	for api_list_each (policy, &spec->resize_policy)
		if (str_equal(policy->resource_name, resource))
			return str_equal(policy->restart_policy, CORE_V1_RESOURCE_RESIZE_RESTART_POLICY_RESTART_CONTAINER);
	return false;
}

static const struct core_v1_container *find_container(const struct core_v1_pod *pod, const char *name) {
	const struct core_v1_container_array *lists[] = {&pod->spec.containers, &pod->spec.init_containers};
	for (size_t i = 0; i < array_len(lists); i++)
		for api_list_each (c, lists[i])
			if (str_equal(c->name, name))
				return c;
	return NULL;
}

const struct core_v1_resource_requirements *slot_actual(const struct slot *slot) {
	const struct core_v1_container *before = slot->actual_of ? find_container(slot->actual_of, slot->name) : NULL;
	return before ? &before->resources : &slot->spec->resources;
}

static bool cpu_differs(const struct cgroup_resources *a, const struct cgroup_resources *b) {
	return a->cpu_shares != b->cpu_shares || a->cpu_quota_us != b->cpu_quota_us;
}

/* -1 is no limit. */
static int64_t larger_limit(int64_t a, int64_t b) {
	return a < 0 || b < 0 ? -1 : max_of(a, b);
}

static int check_memory(struct pod *pod, const char *path, const char *what, int64_t have, int64_t want, struct error *err) {
	struct cgroup_stats stats;
	if (want <= 0 || (have > 0 && want >= have) || cgroup_stats_read(pod->kubelet->cgroups, path, &stats, NULL) < 0 || stats.memory_usage <= (uint64_t)want)
		return 0;
	return error_set(err, EBUSY, "attempting to set %s memory limit (%lld) below current usage (%llu)", what, (long long)want, (unsigned long long)stats.memory_usage);
}

/* What a running container has to be told; false: nothing. An adopted one has what it was given. */
static bool container_differs(struct pod *pod, const struct core_v1_pod *object, struct slot *slot, struct cgroup_resources *ret) {
	if (slot->kind == SLOT_EPHEMERAL || !slot->now || slot->now->state != CONTAINER_RUNNING)
		return false;
	if (!str_equal(slot->resized_for, slot->now->id)) {
		struct core_v1_container had = *slot->spec;
		had.resources = *slot_actual(slot);
		free(slot->resized_for);
		slot->resized_for = xstrdup(slot->now->id);
		container_cgroup(pod, object, &had, &slot->resources);
	}
	container_cgroup(pod, object, slot->spec, ret);
	return cpu_differs(ret, &slot->resources) || ret->memory_limit != slot->resources.memory_limit;
}

static bool must_restart(const struct slot *slot, const struct cgroup_resources *want) {
	return (cpu_differs(want, &slot->resources) && restarts_for(slot->spec, "cpu")) || (want->memory_limit != slot->resources.memory_limit && restarts_for(slot->spec, "memory"));
}

static int check_all(struct pod *pod, struct core_v1_pod *object, const char *cgroup, const struct cgroup_resources *of_pod, struct error *err) {
	struct cgroup_resources want;
	bool any_restarts = false;
	for (size_t i = 0; i < pod->slot_count; i++) {
		struct slot *slot = &pod->slots[i];
		autofree char *what = xprintf("container \"%s\"", slot->name);
		if (!container_differs(pod, object, slot, &want))
			continue;
		if (must_restart(slot, &want)) {
			any_restarts = true; /* it gives up what it uses */
			continue;
		}
		int r = check_memory(pod, slot->now->cgroup_path, what, slot->resources.memory_limit, want.memory_limit, err);
		if (r < 0)
			return r;
	}
	return any_restarts ? 0 : check_memory(pod, cgroup, "pod", pod->cgroup_told.memory_limit, of_pod->memory_limit, err);
}

static int tell_pod(struct pod *pod, const char *cgroup, const struct cgroup_resources *want, struct error *err) {
	int r = cgroup_update(pod->kubelet->cgroups, cgroup, want, err);
	if (r == 0)
		pod->cgroup_told = *want;
	return r;
}

/* One container; true where it was ended, to be started anew. */
static bool tell_container(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const struct cgroup_resources *want, int *ret, struct error *err) {
	if (must_restart(slot, want)) {
		autofree char *message = xprintf("Container %s resize requires restart, will be restarted", slot->name);
		pod_kill_container(pod, object, slot->now, -1, message);
		slot->restarts_now = true;
		return true;
	}
	struct cgroup_resources only = {.cpu_shares = want->cpu_shares, .cpu_quota_us = want->cpu_quota_us, .cpu_period_us = want->cpu_period_us, .memory_limit = want->memory_limit};
	*ret = runtime_container_update(pod->kubelet->runtime, slot->now->id, &only, err);
	if (*ret == 0) {
		slot->resources = *want;
		slot_resize_done(slot);
	}
	return false;
}

static int do_resize(struct pod *pod, struct core_v1_pod *object, const char *cgroup, bool *ret_ended, struct error *err) {
	struct cgroup_resources all, of_pod, room, want;
	resources_pod_cgroup(object, &all);
	resource_managers_unlimit(pod->kubelet->managers, object, NULL, &all);
	of_pod = (struct cgroup_resources){.cpu_shares = all.cpu_shares, .cpu_quota_us = all.cpu_quota_us, .cpu_period_us = all.cpu_period_us, .memory_limit = all.memory_limit};
	int r = check_all(pod, object, cgroup, &of_pod, err);
	if (r < 0)
		return r;
	/* Room first: a container's limit may never exceed its pod's. */
	room = of_pod;
	room.cpu_quota_us = larger_limit(of_pod.cpu_quota_us, pod->cgroup_told.cpu_quota_us);
	room.memory_limit = larger_limit(of_pod.memory_limit, pod->cgroup_told.memory_limit);
	if (cpu_differs(&room, &pod->cgroup_told) || room.memory_limit != pod->cgroup_told.memory_limit)
		r = tell_pod(pod, cgroup, &room, err);
	for (size_t i = 0; r == 0 && i < pod->slot_count; i++)
		if (container_differs(pod, object, &pod->slots[i], &want))
			*ret_ended = tell_container(pod, object, &pod->slots[i], &want, &r, err) || *ret_ended;
	if (r == 0 && (cpu_differs(&of_pod, &pod->cgroup_told) || of_pod.memory_limit != pod->cgroup_told.memory_limit))
		r = tell_pod(pod, cgroup, &of_pod, err);
	return r;
}

int pod_resize_do(struct pod *pod, struct core_v1_pod *object, const char *cgroup, bool *ret_ended) {
	autoerror struct error err = {0};
	*ret_ended = false;
	if (do_resize(pod, object, cgroup, ret_ended, &err) < 0) {
		log_warning("pod cannot be resized", LOG_STR("pod", pod->name), LOG_STR("namespace", pod->ns), LOG_ERR(&err));
		tell(pod, object, "Warning", "ResizeError", "Pod resize error", error_message(&err));
		free(pod->resize_error);
		pod->resize_error = xstrdup(error_message(&err));
		return -EAGAIN;
	}
	free(take_ptr(pod->resize_error));
	api_unref(pod->actual_of);
	pod->actual_of = NULL;
	return 0;
}

void pod_resize_finish(struct pod *pod, const struct core_v1_pod *object) {
	struct cgroup_resources want;
	pthread_mutex_lock(&pod->lock);
	bool resizing = pod->resizing;
	pthread_mutex_unlock(&pod->lock);
	for (size_t i = 0; i < pod->slot_count; i++)
		if (container_differs(pod, object, &pod->slots[i], &want))
			return;
	/* What does not run has nothing, and would start with what it is given. */
	for (size_t i = 0; i < pod->slot_count && !pod->resize_error; i++)
		slot_resize_done(&pod->slots[i]);
	if (!resizing || pod->resize_error)
		return;
	pthread_mutex_lock(&pod->lock);
	pod->resizing = false;
	pthread_mutex_unlock(&pod->lock);
	tell(pod, object, "Normal", "ResizeCompleted", "Pod resize completed", NULL);
}

void pod_resize_free(struct pod *pod) {
	api_unref(pod->allocated);
	api_unref(pod->given_before);
	api_unref(pod->actual_of);
	free(pod->resize_reason);
	free(pod->resize_message);
	free(pod->resize_error);
	free(pod->resize_told);
}
