/* SPDX-License-Identifier: Apache-2.0 */
/* DELETE: preconditions, grace, finalizers, propagation; of one object or of a collection. */
#include "apiserver/rest/write.h"
#include "apiserver/rest/input.h"
#include "apiserver/rest/query.h"
#include "apiserver/rest/subresource.h"
#include "apiserver/strategy/strategy.h"
#include "api/meta_v1.h"

#include <errno.h>

#define FRESH_TIMEOUT_MS 10000

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

struct delete_request {
	int64_t grace; /* -1: not given */
	struct delete_preconditions wanted;
	const char *propagation;
	bool dry_run;
	struct meta_v1_delete_options *options; /* as they came; NULL: of an eviction */
};

static void unref_options(void *arg) {
	api_unref(arg);
}

struct query_options {
	struct meta_v1_delete_options *options;
	struct arena *arena;
};

static void add_dry_run(const char *name, const char *value, void *arg) {
	struct query_options *q = arg;
	if (strcmp(name, "dryRun") == 0)
		api_string_list_add(q->arena, &q->options->dry_run, value);
}

/* A body says it all: what the query says beside it is not heard. */
static int options_of_query(struct request *r, struct meta_v1_delete_options *options, struct error *err) {
	struct arena *arena = api_arena(options);
	const char *grace = http_query(r->http, "gracePeriodSeconds"), *policy = http_query(r->http, "propagationPolicy");
	int64_t seconds;
	if (grace && !str_to_int64(grace, INT64_MIN, INT64_MAX, &seconds))
		return error_bad_number(err, grace);
	if (grace)
		options->grace_period_seconds = api_int64(arena, seconds);
	if (http_query(r->http, "orphanDependents"))
		options->orphan_dependents = api_bool(arena, request_flag(r, "orphanDependents"));
	if (policy)
		options->propagation_policy = arena_strdup(arena, policy);
	if (http_query(r->http, "uid")) {
		options->preconditions = arena_new_type(arena, struct meta_v1_preconditions);
		options->preconditions->uid = arena_strdup(arena, http_query(r->http, "uid"));
	}
	http_query_each(r->http, add_dry_run, &(struct query_options){options, arena});
	return 0;
}

static int check_options(const struct meta_v1_delete_options *options, struct error *err) {
	const char *policy = options->propagation_policy;
	bool known = true;
	if (options->orphan_dependents && policy)
		error_cause(err, "FieldValueInvalid", "propagationPolicy", "Invalid value: \"%s\": orphanDependents and deletionPropagation cannot be both set", policy);
	if (policy && strcmp(policy, "Orphan") != 0 && strcmp(policy, "Background") != 0 && strcmp(policy, "Foreground") != 0)
		error_cause(err, "FieldValueNotSupported", "propagationPolicy", "Unsupported value: \"%s\": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\"", policy);
	for (uint32_t i = 0; i < options->dry_run.len; i++)
		known &= str_equal(options->dry_run.items[i], "All");
	if (!known) {
		autobuf struct buf list = BUF_INIT(64 << 10);
		for (uint32_t i = 0; i < options->dry_run.len; i++) {
			buf_append_char(&list, i ? ',' : '[');
			buf_append_json_string(&list, options->dry_run.items[i], strlen(options->dry_run.items[i]));
		}
		error_cause(err, "FieldValueNotSupported", "dryRun", "Unsupported value: %s]: supported values: \"All\"", list.data);
	}
	return err && error_has_causes(err) ? error_invalid(err, "meta.k8s.io", "DeleteOptions", "") : 0;
}

static int parse_options(struct request *r, struct delete_request *d, struct error *err) {
	*d = (struct delete_request){.grace = -1};
	struct meta_v1_delete_options *options;
	r->validation = API_IGNORE;
	int rc = request_decode_delete_options(r, &options, err);
	if (rc < 0)
		return rc;
	if (!options) {
		options = api_new(&meta_v1_delete_options_type);
		rc = options_of_query(r, options, err);
	}
	if (rc == 0)
		rc = check_options(options, err);
	if (rc == 0) {
		if (options->grace_period_seconds)
			d->grace = *options->grace_period_seconds < 0 ? 1 : *options->grace_period_seconds; /* as Kubernetes reads it */
		d->propagation = arena_strdup(r->arena, options->propagation_policy);
		if (options->orphan_dependents)
			d->propagation = *options->orphan_dependents ? "Orphan" : "Background";
		if (options->preconditions) {
			d->wanted.uid = arena_strdup(r->arena, options->preconditions->uid);
			d->wanted.resource_version = arena_strdup(r->arena, options->preconditions->resource_version);
		}
		r->dry_run = d->dry_run = options->dry_run.len > 0;
		if (!options->propagation_policy && !options->orphan_dependents && r->resource->strategy->delete_warning && !r->subresource)
			request_warn(r, "%s", r->resource->strategy->delete_warning);
	}
	arena_defer(r->arena, unref_options, options);
	d->options = options;
	return rc;
}

static void set_finalizer(struct meta_v1_object_meta *meta, struct arena *arena, const char *name, bool on) {
	size_t kept = 0;
	for (uint32_t i = 0; i < meta->finalizers.len; i++)
		if (strcmp(meta->finalizers.items[i], name) != 0)
			meta->finalizers.items[kept++] = meta->finalizers.items[i];
	meta->finalizers.len = (uint32_t)kept;
	if (on)
		api_string_list_add(arena, &meta->finalizers, name);
}

/* Sets the garbage collector's finalizers as the policy asks. */
static void set_propagation(const struct write *w, const struct delete_request *d, struct meta_v1_object_meta *meta, struct arena *arena) {
	const char *policy = d->propagation;
	if (str_empty(policy)) {
		if (api_string_list_has(&meta->finalizers, FINALIZER_ORPHAN) || api_string_list_has(&meta->finalizers, FINALIZER_FOREGROUND))
			return; /* as decided before */
		policy = str_or(w->strategy->default_propagation, "Background");
	}
	set_finalizer(meta, arena, FINALIZER_ORPHAN, strcmp(policy, "Orphan") == 0);
	set_finalizer(meta, arena, FINALIZER_FOREGROUND, strcmp(policy, "Foreground") == 0);
}

/* Names the kind, where other conflicts name the resource. */
static int precondition_failed(const struct write *w, const char *text, struct error *err) {
	const struct api_resource *api = w->resource->api;
	autofree char *kind = str_empty(api->group) ? xstrdup(api->kind) : xprintf("%s.%s", api->kind, api->group);
	int rc = error_status(err, 409, "Conflict", "Operation cannot be fulfilled on %s \"%s\": %s", kind, w->name, text);
	error_details(err, str_empty(api->group) ? NULL : api->group, api->kind, w->name);
	return rc;
}

int delete_check_preconditions(const struct write *w, const struct delete_preconditions *wanted, const struct meta_v1_object_meta *meta, struct error *err) {
	if (wanted->uid && strcmp(wanted->uid, str_or(meta->uid, "")) != 0) {
		autofree char *text = xprintf("the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", wanted->uid, str_or(meta->uid, ""));
		return precondition_failed(w, text, err);
	}
	if (wanted->resource_version && strcmp(wanted->resource_version, str_or(meta->resource_version, "")) != 0) {
		autofree char *text = xprintf("the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", wanted->resource_version, str_or(meta->resource_version, ""));
		return precondition_failed(w, text, err);
	}
	return 0;
}

/* As Go adds them: in nanoseconds of 64 bits, which wrap. */
static int64_t seconds_of_grace(int64_t grace) {
	return (int64_t)((uint64_t)grace * 1000000000u) / 1000000000;
}

static int make_deleted(struct write *w, struct error *err) {
	const struct delete_request *d = w->arg;
	if (!w->old)
		return error_not_found(err, w->resource, w->name);
	const struct meta_v1_object_meta *old = api_metadata(w->old);
	int rc = delete_check_preconditions(w, &d->wanted, old, err);
	if (rc < 0)
		return rc;
	w->object = api_copy(w->old);
	struct meta_v1_object_meta *meta = api_metadata(w->object);
	struct arena *arena = api_arena(w->object);
	int64_t grace = d->grace;
	bool told = meta->deletion_timestamp.set && meta->deletion_grace_period_seconds && *meta->deletion_grace_period_seconds > 0;
	if (w->strategy->graceful_delete && told) {
		/* Already on its way: the time that was given can only be cut short, by who says how much. */
		if (grace < 0 || grace >= *meta->deletion_grace_period_seconds) {
			w->action = WRITE_SAME;
			return 0;
		}
	} else if (w->strategy->graceful_delete) {
		w->strategy->graceful_delete(w->old, &grace);
	}
	bool graceful = w->strategy->graceful_delete && grace > 0;
	/* Webhooks are shown the grace that is given; of a collection, what was asked for. */
	if (w->strategy->graceful_delete && d->options && !w->quick)
		d->options->grace_period_seconds = api_int64(api_arena(d->options), grace);
	if (!graceful)
		grace = 0;
	if (w->strategy->mark_deleted && !meta->deletion_timestamp.set) {
		w->strategy->mark_deleted(w->object);
		return 0;
	}
	set_propagation(w, d, meta, arena);
	bool namespace = strcmp(w->resource->api->plural, "namespaces") == 0 && str_empty(w->resource->api->group);
	if (!graceful && meta->finalizers.len == 0 && !namespace)
		w->action = WRITE_REMOVE;
	/* Kinds without grace are simply gone; a pod's last state says how it was told to go. */
	if (w->action == WRITE_REMOVE && !w->strategy->graceful_delete)
		return 0;
	bool first = !meta->deletion_timestamp.set;
	if (first || told) {
		struct api_time now = api_time_now(), at = now;
		if (told)
			at.t.sec = meta->deletion_timestamp.t.sec - seconds_of_grace(*meta->deletion_grace_period_seconds);
		at.t.sec += seconds_of_grace(grace);
		if (told && at.t.sec < now.t.sec) {
			/* Its time is over already: it is told to go now, and whoever runs it still gets to see that. */
			at = now;
			grace = grace > 0 ? 1 : 0;
		}
		meta->deletion_timestamp = at;
		meta->deletion_grace_period_seconds = namespace ? NULL : api_int64(arena, grace);
		if (first && meta->generation > 0)
			meta->generation++;
		/* Who watches sees how it was told to go before it is gone. */
		w->put_before_remove = w->action == WRITE_REMOVE;
	}
	if (!graceful && !namespace && !meta->deletion_grace_period_seconds)
		meta->deletion_grace_period_seconds = api_int64(arena, 0);
	if (namespace)
		namespace_mark_terminating(w);
	return 0;
}

bool rest_delete_answers_object(const struct resource *resource) {
	static const char *const kinds[] = {
		"pods", "services", "podtemplates", "persistentvolumes", "persistentvolumeclaims", "resourcequotas", "serviceaccounts",
		"storageclasses", "csidrivers", "csinodes", "volumeattachments", "volumeattributesclasses",
		"resourceclaims", "resourceclaimtemplates", "resourceslices", "deviceclasses", "devicetaintrules",
	};
	for (size_t i = 0; i < array_len(kinds); i++)
		if (strcmp(kinds[i], resource->api->plural) == 0)
			return true;
	return false;
}

static void answer_deleted(struct write *w, struct entry *entry) {
	struct request *r = w->r;
	if (w->action == WRITE_REMOVE && !rest_delete_answers_object(w->resource)) {
		const struct meta_v1_object_meta *meta = api_metadata(w->old);
		char *name = arena_strdup(r->arena, meta->name), *uid = arena_strdup(r->arena, meta->uid);
		write_end(w);
		request_respond_success(r, name, uid);
		return;
	}
	if (w->action == WRITE_REMOVE && w->strategy->graceful_delete && w->object) {
		void *object = api_ref(w->object);
		if (entry)
			api_metadata(object)->resource_version = arena_printf(api_arena(object), "%llu", (unsigned long long)entry->resource_version);
		write_end(w);
		request_respond_object(r, 200, r->resource->type, object);
		api_unref(object);
		return;
	}
	write_respond(w, entry);
}

static struct write *delete_new(struct request *r, const struct delete_request *d) {
	struct write *w = write_new(r, WRITE_DELETE);
	w->make = make_deleted;
	w->arg = (void *)d;
	w->options = d->options;
	w->done = answer_deleted;
	return w;
}

static void answer_evicted(struct write *w, struct entry *entry) {
	struct request *r = w->r;
	write_end(w);
	static const char text[] = "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"metadata\":{},\"status\":\"Success\",\"code\":201}";
	request_respond_status(r, 201, text, sizeof(text) - 1);
}

void delete_for_eviction(struct request *r, const struct meta_v1_delete_options *options, const char *version, void (*failed)(struct write *w, const struct error *err), void *owner) {
	struct delete_request *d = arena_new_type(r->arena, struct delete_request);
	*d = (struct delete_request){.grace = options && options->grace_period_seconds ? *options->grace_period_seconds : -1, .dry_run = r->dry_run};
	if (options && options->preconditions)
		d->wanted = (struct delete_preconditions){options->preconditions->uid, options->preconditions->resource_version};
	if (version)
		d->wanted.resource_version = version;
	d->propagation = options ? options->propagation_policy : NULL;
	struct write *w = delete_new(r, d);
	w->subresource = NULL;
	w->skip_hooks = true;
	w->done = answer_evicted;
	w->failed = failed;
	w->owner = owner;
	write_start(w);
}

int rest_delete(struct request *r, struct error *err) {
	struct delete_request *d = arena_new_type(r->arena, struct delete_request);
	int rc = parse_options(r, d, err);
	if (rc < 0)
		return rc;
	write_start(delete_new(r, d));
	return REQUEST_TAKEN;
}

/* ---- collections ---- */

/*
 * The objects of a collection are deleted in order, as many at a time as --delete-collection-workers allows: etcd promises no order among several, so that
 * who watches sees the collection's order only where it is one. That is kept for so few that nobody waits for it; a namespace of ten thousands is not to
 * take minutes for it. All of it runs on the store's thread, where writes are called back anyway, so that those under way share the request without locks.
 */
#define IN_ORDER 100
#define AT_ONCE 16

struct delete_batch {
	struct request *r;
	struct delete_request *options;
	struct entry **entries; /* referenced */
	size_t len, next, flying;
	bool pumping;
	struct error error;     /* the first; nothing is begun after it */
	uint64_t revision;
	char *continue_token;   /* NULL: no more was chosen; in the request's arena */
	int64_t remaining;
};

static void batch_finish(struct delete_batch *batch) {
	struct request *r = batch->r;
	if (!batch->error.errnum) {
		list_respond_entries(r, batch->entries, batch->len, batch->revision, batch->continue_token, batch->remaining);
		return;
	}
	autoerror struct error err = {0};
	error_move(&err, &batch->error);
	for (size_t i = 0; i < batch->len; i++)
		entry_unref(batch->entries[i]);
	free(batch->entries);
	request_fail(r, &err);
}

static void batch_pump(struct delete_batch *batch);

static void batch_done(struct write *w, struct entry *entry) {
	struct delete_batch *batch = w->owner;
	write_end(w);
	batch->flying--;
	batch_pump(batch);
}

static void batch_failed(struct write *w, const struct error *err) {
	struct delete_batch *batch = w->owner;
	/* Gone meanwhile is as good as deleted. */
	if (err->http_code != 404 && !batch->error.errnum)
		error_status(&batch->error, err->http_code, err->reason, "%s", error_message(err));
	write_end(w);
	batch->flying--;
	batch_pump(batch);
}

static bool batch_has_more(const struct delete_batch *batch) {
	return batch->next < batch->len && !batch->error.errnum;
}

static size_t batch_workers(const struct delete_batch *batch) {
	int64_t asked = batch->r->server->options->delete_collection_workers;
	return asked ? (size_t)asked : batch->len <= IN_ORDER ? 1 : AT_ONCE;
}

static void batch_pump(struct delete_batch *batch) {
	if (batch->pumping)
		return; /* a write that ended at once: the loop below goes on */
	batch->pumping = true;
	while (batch_has_more(batch) && batch->flying < batch_workers(batch)) {
		struct entry *entry = batch->entries[batch->next++];
		struct write *w = delete_new(batch->r, batch->options);
		w->ns = entry->ns;
		w->name = entry->name;
		w->owner = batch;
		w->quick = true;
		w->done = batch_done;
		w->failed = batch_failed;
		batch->flying++;
		write_start(w);
	}
	batch->pumping = false;
	if (!batch->flying && !batch_has_more(batch))
		batch_finish(batch);
}

static void batch_begin(int errnum, void *arg) {
	struct delete_batch *batch = arg;
	if (errnum < 0)
		error_status(&batch->error, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
	batch_pump(batch);
}

/* A page where one is asked for: no more is deleted, and a token tells where to go on. */
static int choose_page(struct request *r, const struct list_query *query, struct delete_batch *batch, struct error *err) {
	uint64_t revision;
	bool any;
	autofree char *start = NULL;
	size_t first = 0;
	batch->remaining = -1;
	if (query->continue_token) {
		int rc = continue_decode(query->continue_token, query->prefix, &revision, &any, &start, err);
		if (rc < 0)
			return rc;
		while (first < batch->len && strcmp(batch->entries[first]->key, start) < 0)
			entry_unref(batch->entries[first++]);
		batch->len -= first;
		memmove(batch->entries, batch->entries + first, batch->len * sizeof(*batch->entries));
	}
	if (query->limit <= 0 || batch->len <= (size_t)query->limit)
		return 0;
	autofree char *token = continue_encode((int64_t)batch->revision, batch->entries[query->limit - 1]->key, query->prefix);
	batch->continue_token = arena_strdup(r->arena, token);
	if (list_query_selects_all(query))
		batch->remaining = (int64_t)batch->len - query->limit;
	while (batch->len > (size_t)query->limit)
		entry_unref(batch->entries[--batch->len]);
	return 0;
}

static int start_collection(struct request *r, struct list_query *query, struct error *err) {
	struct delete_batch *batch = arena_new_type(r->arena, struct delete_batch);
	batch->r = r;
	batch->options = query->arg;
	int rc = list_check_readable(r, query, NULL, NULL, err);
	if (rc < 0)
		return rc;
	autosnapshot struct snapshot *snapshot = collection_snapshot(r->resource->collection);
	batch->revision = snapshot->revision;
	list_select(query, snapshot, &batch->entries, &batch->len);
	rc = choose_page(r, query, batch, err);
	if (rc < 0) {
		while (batch->len)
			entry_unref(batch->entries[--batch->len]);
		free(batch->entries);
		return rc;
	}
	/* A revision that is there already: to get onto the store's thread. */
	store_wait_quick(r->server->store, 1, request_time_left_ms(r, FRESH_TIMEOUT_MS), batch_begin, batch);
	return REQUEST_TAKEN;
}

int rest_delete_collection(struct request *r, struct error *err) {
	/* Nobody deletes of all namespaces at once. */
	if (r->resource->api->namespaced && str_empty(r->ns))
		return error_method_not_allowed(err);
	struct delete_request *d = arena_new_type(r->arena, struct delete_request);
	int rc = parse_options(r, d, err);
	if (rc < 0)
		return rc;
	struct list_query *query;
	rc = list_query_parse(r, &query, err);
	if (rc < 0)
		return rc;
	query->arg = d;
	return list_when_fresh(r, query, start_collection, err);
}
