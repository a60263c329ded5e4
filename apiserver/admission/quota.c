/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuota: what a write adds is first charged to the status of every quota it counts against, each by a write of its own; only
 * when all are charged does the write go on. A write that then fails leaves a charge that the quota controller puts right. Quotas that look
 * used up come first, so that what they refuse is charged to none.
 */
#include "apiserver/admission/admission.h"
#include "apiserver/admission/settings.h"
#include "apiserver/admission/usage.h"
#include "apiserver/configfile.h"
#include "apiserver/validation/validation.h"

#include <errno.h>

struct charge {
	struct write *w;               /* waits for us */
	struct api_quantity_map delta; /* in the request's arena */
	const char *names[64];         /* quotas to charge */
	size_t len, next;
};

static void charge_next(struct charge *charge);

static void masked_text(const struct api_quantity_map *values, const struct api_quantity_map *mask, struct buf *out) {
	for (uint32_t i = 0; i < mask->len; i++) {
		char text[64] = "0";
		const struct quantity *q = api_quantity_get(values, mask->items[i].key);
		if (q)
			quantity_format(q, text);
		buf_printf(out, "%s%s=%s", out->len ? "," : "", mask->items[i].key, text);
	}
}

static int exceeded(struct write *w, const struct core_v1_resource_quota *quota, const struct api_quantity_map *over, const struct api_quantity_map *delta, struct error *err) {
	autobuf struct buf requested = BUF_INIT(64 << 10), used = BUF_INIT(64 << 10), limited = BUF_INIT(64 << 10);
	masked_text(delta, over, &requested);
	masked_text(&quota->status.used, over, &used);
	masked_text(&quota->status.hard, over, &limited);
	return error_forbidden(err, w->resource, admission_name(w), "exceeded quota: %s, requested: %s, used: %s, limited: %s", quota->metadata.name, requested.data, used.data, limited.data);
}

/* Whether the delta would pass any of its limits; over: those with what they would be at, may be NULL. */
static bool passes(const struct core_v1_resource_quota *quota, const struct api_quantity_map *delta, struct arena *arena, struct api_quantity_map *over) {
	bool any = false;
	for (uint32_t i = 0; i < delta->len; i++) {
		const char *name = delta->items[i].key;
		const struct quantity *hard = api_quantity_get(&quota->status.hard, name), *used = api_quantity_get(&quota->status.used, name);
		struct quantity total = delta->items[i].value;
		if (used)
			quantity_add(&total, used);
		if (!hard || delta->items[i].value.nano <= 0 || quantity_compare(&total, hard) <= 0)
			continue;
		any = true;
		if (over)
			api_quantity_set(arena, over, name, total);
	}
	return any;
}

/* Adds the delta to the quota's used; refuses where that passes its hard. */
static int make_charged(struct write *q, struct error *err) {
	struct charge *charge = q->owner;
	struct write *w = charge->w;
	if (!q->old) {
		q->action = WRITE_SAME; /* gone meanwhile: nothing to hold it against */
		return 0;
	}
	struct core_v1_resource_quota *quota = q->object = api_copy(q->old);
	struct arena *arena = api_arena(quota);
	struct api_quantity_map over = {0};
	q->track_fields = true;
	if (passes(q->old, &charge->delta, arena, &over))
		return exceeded(w, q->old, &over, &charge->delta, err);
	for (uint32_t i = 0; i < charge->delta.len; i++) {
		const char *name = charge->delta.items[i].key;
		if (!api_quantity_get(&quota->status.hard, name))
			continue;
		struct quantity total = charge->delta.items[i].value;
		const struct quantity *used = api_quantity_get(&quota->status.used, name);
		if (used)
			quantity_add(&total, used);
		api_quantity_set(arena, &quota->status.used, name, total);
	}
	return 0;
}

static void charged(struct write *q, struct entry *entry) {
	struct charge *charge = q->owner;
	write_end(q);
	charge_next(charge);
}

static void charge_failed(struct write *q, const struct error *err) {
	struct charge *charge = q->owner;
	struct error copy = {0};
	error_status(&copy, err->http_code, err->reason, "%s", error_message(err));
	error_details(&copy, err->details_group, err->details_kind, err->details_name);
	write_end(q);
	struct write *w = charge->w;
	w->fresh = true; /* the quota's own write has looked at fresh state */
	write_resume(w, &copy);
	error_done(&copy);
}

static void charge_next(struct charge *charge) {
	struct write *w = charge->w;
	if (charge->next == charge->len) {
		write_resume(w, NULL);
		return;
	}
	struct write *q = write_new(w->r, WRITE_UPDATE);
	q->resource = registry_find(w->r->server->registry, "", "v1", "resourcequotas");
	q->strategy = q->resource->strategy;
	q->subresource = "status";
	q->ns = w->ns;
	q->name = charge->names[charge->next++];
	q->skip_admission = true;
	q->skip_validation = true;
	q->manager = "kube-apiserver";
	q->owner = charge;
	q->make = make_charged;
	q->done = charged;
	q->failed = charge_failed;
	write_start(q);
}

/* Which quotas of the namespace, those from first to end of the snapshot, the write counts against. */
static int find_quotas(struct charge *charge, const struct resource *quotas, const struct snapshot *snapshot, size_t first, size_t end, struct error *err) {
	struct write *w = charge->w;
	int rc = 0;
	for (size_t i = first; i < end && rc == 0; i++) {
		void *object;
		if (resource_decode(quotas, snapshot_entry(snapshot, i), &object, NULL) < 0)
			continue;
		const struct core_v1_resource_quota *quota = object;
		bool counts = false;
		if (usage_in_scope(w, quota)) {
			rc = usage_check_required(w, quota, err);
			/* What its status does not bound yet, it does not bound. */
			for (uint32_t n = 0; n < charge->delta.len && rc == 0; n++) {
				const char *name = charge->delta.items[n].key;
				bool hard = api_quantity_get(&quota->status.hard, name) != NULL;
				counts |= hard;
				if (hard && !api_quantity_get(&quota->status.used, name))
					rc = error_forbidden(err, w->resource, admission_name(w), "status unknown for quota: %s, resources: %s", quota->metadata.name, name);
			}
		}
		if (counts && rc == 0 && charge->len < array_len(charge->names)) {
			size_t at = passes(quota, &charge->delta, w->arena, NULL) ? 0 : charge->len;
			memmove(&charge->names[at + 1], &charge->names[at], (charge->len - at) * sizeof(charge->names[0]));
			charge->names[at] = arena_strdup(w->arena, quota->metadata.name);
			charge->len++;
		}
		api_unref(object);
	}
	return rc;
}

/* ---- what is limited by default ---- */

int quota_read(struct admission_settings *settings, const char *text, size_t len, struct error *err) {
	static const char *const now[] = {"apiserver.config.k8s.io/v1", NULL}, *const before[] = {"resourcequota.admission.k8s.io/v1beta1", "resourcequota.admission.k8s.io/v1alpha1", NULL};
	autoerror struct error why = {0}, found = {0};
	void *object;
	int rc = configfile_parse(text, len, &resourcequota_v1_resource_quota_configuration_type, now, &object, err);
	if (rc == 0)
		settings->limited = &((struct resourcequota_v1_resource_quota_configuration *)object)->limited_resources;
	else if (configfile_parse(text, len, &resourcequota_v1_configuration_type, before, &object, &why) == 0)
		settings->limited = &((struct resourcequota_v1_configuration *)object)->limited_resources;
	else
		return rc;
	api_unref(settings->quota);
	settings->quota = object;
	for (uint32_t i = 0; i < settings->limited->len; i++)
		if (str_empty(settings->limited->items[i].resource))
			required(&found, &PATH(&PATH_INDEX(NULL, "limitedResources", i), "resource"), "");
	return configfile_verdict(&found, "ResourceQuotaConfiguration", err);
}

/* Whether a quota that is for the write bounds it. */
static bool is_covered(struct write *w, const struct resource *quotas, const struct snapshot *snapshot, size_t first, size_t end, const char *name) {
	bool covered = false;
	for (size_t i = first; i < end && !covered; i++) {
		void *object;
		if (resource_decode(quotas, snapshot_entry(snapshot, i), &object, NULL) < 0)
			continue;
		const struct core_v1_resource_quota *quota = object;
		covered = usage_in_scope(w, quota) && api_quantity_get(&quota->status.hard, name);
		api_unref(object);
	}
	return covered;
}

/* Whether some quota asks for that scope, and the object is in it as that quota says. */
static bool is_scope_covered(struct write *w, const struct resource *quotas, const struct snapshot *snapshot, size_t first, size_t end, const char *scope) {
	bool covered = false;
	for (size_t i = first; i < end && !covered; i++) {
		void *object;
		if (resource_decode(quotas, snapshot_entry(snapshot, i), &object, NULL) < 0)
			continue;
		const struct core_v1_resource_quota_spec *spec = &((struct core_v1_resource_quota *)object)->spec;
		for (uint32_t n = 0; n < spec->scopes.len; n++)
			covered |= str_equal(spec->scopes.items[n], scope) && usage_has_scope(w, scope, "Exists", NULL);
		for (uint32_t n = 0; spec->scope_selector && n < spec->scope_selector->match_expressions.len; n++) {
			const struct core_v1_scoped_resource_selector_requirement *e = &spec->scope_selector->match_expressions.items[n];
			covered |= str_equal(e->scope_name, scope) && usage_has_scope(w, scope, e->operator, &e->values);
		}
		api_unref(object);
	}
	return covered;
}

static bool is_limited(const struct resourcequota_v1_limited_resource *limited, const char *name) {
	for (uint32_t i = 0; i < limited->match_contains.len; i++)
		if (strstr(name, limited->match_contains.items[i]))
			return true;
	return false;
}

static int compare_texts(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* What the operator has said is not to be had without a quota. */
static int check_limited(struct write *w, const struct resource *quotas, const struct snapshot *snapshot, size_t first, size_t end, struct error *err) {
	const struct resourcequota_v1_limited_resource_array *limited = w->r->server->admission->limited;
	struct api_quantity_map usage = {0};
	struct api_string_list names = {0};
	autobuf struct buf text = BUF_INIT(64 << 10);
	usage_whole(w, &usage);
	for (uint32_t i = 0; i < limited->len; i++) {
		const struct resourcequota_v1_limited_resource *l = &limited->items[i];
		if (strcmp(l->resource, w->resource->api->plural) != 0 || strcmp(str_or(l->api_group, ""), resource_group(w->resource)) != 0)
			continue;
		for (uint32_t n = 0; n < usage.len; n++) {
			const char *name = usage.items[n].key;
			if (usage.items[n].value.nano > 0 && is_limited(l, name) && !api_string_list_has(&names, name) && !is_covered(w, quotas, snapshot, first, end, name))
				api_string_list_add(w->arena, &names, name);
		}
	}
	if (names.len) {
		qsort(names.items, names.len, sizeof(*names.items), compare_texts);
		for (uint32_t i = 0; i < names.len; i++)
			buf_printf(&text, "%s%s", i ? "," : "", names.items[i]);
		return error_forbidden(err, w->resource, admission_name(w), "insufficient quota to consume: %s", text.data);
	}
	for (uint32_t i = 0; i < limited->len; i++)
		for (uint32_t n = 0; n < limited->items[i].match_scopes.len; n++) {
			const struct core_v1_scoped_resource_selector_requirement *e = &limited->items[i].match_scopes.items[n];
			if (!usage_has_scope(w, e->scope_name, e->operator, &e->values) || is_scope_covered(w, quotas, snapshot, first, end, e->scope_name))
				continue;
			buf_printf(&text, "%s{%s %s [", text.len ? " " : "", e->scope_name, e->operator);
			for (uint32_t v = 0; v < e->values.len; v++)
				buf_printf(&text, "%s%s", v ? " " : "", e->values.items[v]);
			buf_append_str(&text, "]}");
		}
	/* This one is no refusal of Kubernetes', but a failure. */
	return text.len ? error_status(err, 500, "", "insufficient quota to match these scopes: [%s]", text.data) : 0;
}

static int validate(struct write *w, struct error *err) {
	bool counts = !w->subresource || (admission_is(w, "", "pods", "resize") && w->operation == WRITE_UPDATE); /* what a pod is resized to is used */
	if (!w->resource->api->namespaced || !counts)
		return 0;
	const struct resource *quotas = registry_find(w->r->server->registry, "", "v1", "resourcequotas");
	autosnapshot struct snapshot *snapshot = collection_snapshot(quotas->collection);
	size_t first, end;
	snapshot_namespace(snapshot, w->ns, &first, &end);
	bool limited = w->r->server->admission->limited && w->r->server->admission->limited->len;
	if (first == end && !limited)
		return 0; /* as nearly everywhere */
	struct charge *charge = arena_new_type(w->arena, struct charge);
	charge->w = w;
	usage_delta(w, &charge->delta);
	if (!charge->delta.len)
		return 0;
	int rc = find_quotas(charge, quotas, snapshot, first, end, err);
	if (rc == 0 && limited)
		rc = check_limited(w, quotas, snapshot, first, end, err);
	if (rc < 0 || !charge->len)
		return rc;
	charge_next(charge);
	return REQUEST_TAKEN;
}

const struct admission_plugin admission_resource_quota = {
	.name = "ResourceQuota",
	.operations = WRITE_CREATE | WRITE_UPDATE,
	.validate = validate,
};
