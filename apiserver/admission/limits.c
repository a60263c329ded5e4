/* SPDX-License-Identifier: Apache-2.0 */
/* LimitRanger: defaults from the namespace's LimitRanges, then their bounds. */
#include "apiserver/admission/admission.h"
#include "api/core_v1.h"
#include "common/pod/resources.h"

#include <errno.h>

#define MAX_COMPLAINTS 64

struct complaints {
	char *items[MAX_COMPLAINTS];
	size_t len;
};

static void complain(struct complaints *c, const char *fmt, ...) printf_like(2, 3);
static void complain(struct complaints *c, const char *fmt, ...) {
	if (c->len == MAX_COMPLAINTS)
		return;
	struct buf text = BUF_INIT(4096);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	c->items[c->len++] = buf_take(&text);
}

static void each_range(struct write *w, void (*fn)(struct write *w, const struct core_v1_limit_range *range, void *arg), void *arg) {
	const struct resource *ranges = registry_find(w->r->server->registry, "", "v1", "limitranges");
	autosnapshot struct snapshot *snapshot = collection_snapshot(ranges->collection);
	size_t first, end;
	snapshot_namespace(snapshot, w->ns, &first, &end);
	for (size_t i = first; i < end; i++) {
		void *object;
		if (resource_decode(ranges, snapshot_entry(snapshot, i), &object, NULL) < 0)
			continue;
		fn(w, object, arg);
		api_unref(object);
	}
}

/* ---- defaults ---- */

static void fill(struct arena *arena, struct api_quantity_map *to, const struct api_quantity_map *from, struct buf *set) {
	for (uint32_t i = 0; i < from->len; i++) {
		if (api_quantity_get(to, from->items[i].key))
			continue;
		api_quantity_set(arena, to, from->items[i].key, from->items[i].value);
		buf_printf(set, "%s%s", set->len ? ", " : "", from->items[i].key);
	}
}

static void note(struct buf *all, const struct buf *set, const char *what, const char *sort, const char *name) {
	if (set->len)
		buf_printf(all, "%s%s %s for %s %s", all->len ? "; " : "", set->data, what, sort, name);
}

static void default_container(struct arena *arena, struct core_v1_container *c, const char *sort, const struct core_v1_limit_range_item *item, struct buf *all) {
	autobuf struct buf limits = BUF_INIT(4096), requests = BUF_INIT(4096);
	fill(arena, &c->resources.limits, &item->default_, &limits);
	fill(arena, &c->resources.requests, &item->default_request, &requests);
	note(all, &requests, "request", sort, c->name);
	note(all, &limits, "limit", sort, c->name);
}

static void apply_defaults(struct write *w, const struct core_v1_limit_range *range, void *arg) {
	struct core_v1_pod *pod = w->object;
	struct arena *arena = api_arena(pod);
	for (uint32_t i = 0; i < range->spec.limits.len; i++) {
		const struct core_v1_limit_range_item *item = &range->spec.limits.items[i];
		if (!str_equal(item->type, "Container"))
			continue;
		for (uint32_t c = 0; c < pod->spec.containers.len; c++)
			default_container(arena, &pod->spec.containers.items[c], "container", item, arg);
		for (uint32_t c = 0; c < pod->spec.init_containers.len; c++)
			default_container(arena, &pod->spec.init_containers.items[c], "init container", item, arg);
	}
}

static bool is_resize(const struct write *w) {
	return admission_is(w, "", "pods", "resize") && w->operation == WRITE_UPDATE;
}

/* Resources stand fast from the start, but for those of a pod that is resized. */
static bool is_pod(const struct write *w) {
	return is_resize(w) || (admission_is(w, "", "pods", NULL) && (w->operation != WRITE_UPDATE || w->created));
}

static int admit(struct write *w, struct error *err) {
	if (!is_pod(w))
		return 0;
	autobuf struct buf all = BUF_INIT(64 << 10);
	each_range(w, apply_defaults, &all);
	if (all.len) {
		struct arena *arena = api_arena(w->object);
		api_map_set(arena, &api_metadata(w->object)->annotations, "kubernetes.io/limit-ranger", arena_printf(arena, "LimitRanger plugin set: %s", all.data));
	}
	return 0;
}

/* ---- bounds ---- */

static void text_of(const struct quantity *q, char *out) {
	quantity_format(q, out);
}

static void check_min(const char *type, const struct api_quantity_map *min, const struct core_v1_resource_requirements *r, struct complaints *c) {
	for (uint32_t i = 0; i < min->len; i++) {
		const char *name = min->items[i].key;
		const struct quantity *request = api_quantity_get(&r->requests, name), *limit = api_quantity_get(&r->limits, name);
		char bound[64], given[64];
		text_of(&min->items[i].value, bound);
		if (!request) {
			complain(c, "minimum %s usage per %s is %s.  No request is specified", name, type, bound);
		} else if (quantity_compare(request, &min->items[i].value) < 0) {
			text_of(request, given);
			complain(c, "minimum %s usage per %s is %s, but request is %s", name, type, bound, given);
		} else if (limit && quantity_compare(limit, &min->items[i].value) < 0) {
			text_of(limit, given);
			complain(c, "minimum %s usage per %s is %s, but limit is %s", name, type, bound, given);
		}
	}
}

static void check_max(const char *type, const struct api_quantity_map *max, const struct core_v1_resource_requirements *r, struct complaints *c) {
	for (uint32_t i = 0; i < max->len; i++) {
		const char *name = max->items[i].key;
		const struct quantity *request = api_quantity_get(&r->requests, name), *limit = api_quantity_get(&r->limits, name);
		char bound[64], given[64];
		text_of(&max->items[i].value, bound);
		if (!limit) {
			complain(c, "maximum %s usage per %s is %s.  No limit is specified", name, type, bound);
		} else if (quantity_compare(limit, &max->items[i].value) > 0) {
			text_of(limit, given);
			complain(c, "maximum %s usage per %s is %s, but limit is %s", name, type, bound, given);
		} else if (request && quantity_compare(request, &max->items[i].value) > 0) {
			text_of(request, given);
			complain(c, "maximum %s usage per %s is %s, but request is %s", name, type, bound, given);
		}
	}
}

static void check_ratio(const char *type, const struct api_quantity_map *ratio, const struct core_v1_resource_requirements *r, struct complaints *c) {
	for (uint32_t i = 0; i < ratio->len; i++) {
		const char *name = ratio->items[i].key;
		const struct quantity *request = api_quantity_get(&r->requests, name), *limit = api_quantity_get(&r->limits, name);
		char bound[64];
		text_of(&ratio->items[i].value, bound);
		if (!request || quantity_is_zero(request)) {
			complain(c, "%s max limit to request ratio per %s is %s, but no request is specified or request is 0", name, type, bound);
		} else if (!limit || quantity_is_zero(limit)) {
			complain(c, "%s max limit to request ratio per %s is %s, but no limit is specified or limit is 0", name, type, bound);
		} else {
			double value = (double)limit->nano / (double)request->nano;
			if (value > (double)ratio->items[i].value.nano / 1e9)
				complain(c, "%s max limit to request ratio per %s is %s, but provided ratio is %f", name, type, bound, value);
		}
	}
}

static void check_requirements(const char *type, const struct core_v1_limit_range_item *item, const struct core_v1_resource_requirements *r, struct complaints *c) {
	check_min(type, &item->min, r, c);
	check_max(type, &item->max, r, c);
	check_ratio(type, &item->max_limit_request_ratio, r, c);
}

static void check_pod(struct write *w, const struct core_v1_limit_range_item *item, struct complaints *c) {
	const struct core_v1_pod *pod = w->object;
	if (str_equal(item->type, "Container")) {
		for (uint32_t i = 0; i < pod->spec.containers.len; i++)
			check_requirements("Container", item, &pod->spec.containers.items[i].resources, c);
		for (uint32_t i = 0; i < pod->spec.init_containers.len; i++)
			check_requirements("Container", item, &pod->spec.init_containers.items[i].resources, c);
	} else if (str_equal(item->type, "Pod")) {
		autoarena struct arena *arena = arena_new();
		struct core_v1_resource_requirements total = {0};
		struct core_v1_pod bare = *pod;
		bare.spec.overhead = (struct api_quantity_map){0}; /* is not the user's */
		pod_requests(&bare, arena, &total.requests);
		pod_limits(&bare, arena, &total.limits);
		check_requirements("Pod", item, &total, c);
	}
}

static void check_range(struct write *w, const struct core_v1_limit_range *range, void *arg) {
	for (uint32_t i = 0; i < range->spec.limits.len; i++) {
		const struct core_v1_limit_range_item *item = &range->spec.limits.items[i];
		if (is_pod(w)) {
			check_pod(w, item, arg);
		} else if (str_equal(item->type, "PersistentVolumeClaim")) {
			const struct core_v1_persistent_volume_claim *claim = w->object;
			const struct core_v1_resource_requirements asked = {.requests = claim->spec.resources.requests};
			check_min("PersistentVolumeClaim", &item->min, &asked, arg);
			for (uint32_t m = 0; m < item->max.len; m++) {
				const struct quantity *request = api_quantity_get(&claim->spec.resources.requests, item->max.items[m].key);
				char bound[64], given[64];
				if (!request || quantity_compare(request, &item->max.items[m].value) <= 0)
					continue;
				text_of(&item->max.items[m].value, bound);
				text_of(request, given);
				complain(arg, "maximum %s usage per PersistentVolumeClaim is %s, but request is %s", item->max.items[m].key, bound, given);
			}
		}
	}
}

static int compare_text(const void *a, const void *b) {
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int validate(struct write *w, struct error *err) {
	bool claim = admission_is(w, "", "persistentvolumeclaims", NULL) && (w->operation != WRITE_UPDATE || w->created);
	if (!is_pod(w) && !claim)
		return 0;
	struct complaints c = {0};
	each_range(w, check_range, &c);
	if (!c.len)
		return 0;
	qsort(c.items, c.len, sizeof(*c.items), compare_text);
	autobuf struct buf text = BUF_INIT(64 << 10);
	buf_append_str(&text, c.len > 1 ? "[" : "");
	for (size_t i = 0; i < c.len; i++) {
		buf_printf(&text, "%s%s", i ? ", " : "", c.items[i]);
		free(c.items[i]);
	}
	buf_append_str(&text, c.len > 1 ? "]" : "");
	return error_forbidden(err, w->resource, admission_name(w), "%s", text.data);
}

const struct admission_plugin admission_limit_ranger = {
	.name = "LimitRanger",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.admit = admit,
	.validate = validate,
};
