/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/write.h"
#include "apiserver/admission/admission.h"
#include "apiserver/custom/custom.h"
#include "apiserver/request/steps.h"
#include "apiserver/strategy/strategy.h"
#include "apiserver/webhook/convert.h"
#include "apiserver/webhook/webhook.h"
#include "api/meta_v1.h"
#include "common/api/convert.h"

#include <errno.h>
#include <limits.h>

#define MAX_ATTEMPTS 24
#define FRESH_TIMEOUT_MS 10000
#define USUAL_SIZE 4000   /* of a new object, stored */
#define USUAL_GROWTH 1000 /* of one that is changed */

static void write_run(struct write *w);
static void write_attempt(struct write *w);

struct write *write_new(struct request *r, enum write_operation operation) {
	struct write *w = arena_new_type(r->arena, struct write);
	w->r = r;
	w->arena = r->arena;
	w->resource = r->resource;
	w->strategy = r->resource->strategy;
	w->operation = operation;
	w->subresource = r->subresource;
	w->ns = str_or(r->ns, "");
	w->name = r->name;
	w->dry_run = r->dry_run;
	w->done = write_respond;
	return w;
}

static void drop_attempt(struct write *w) {
	api_unref(w->old);
	api_unref(w->object);
	w->old = NULL;
	w->object = NULL;
	w->created = false;
	w->track_fields = false;
	w->remove_after_update = false;
	w->put_before_remove = false;
	w->asked = false;
	w->stored = bytes_unref(w->stored);
}

static void set_current(struct write *w, struct entry *entry) {
	struct entry *old = w->current;
	w->current = entry ? entry_ref(entry) : NULL;
	entry_unref(old);
}

void write_end(struct write *w) {
	drop_attempt(w);
	set_current(w, NULL);
	entry_unref(w->marked);
	w->marked = NULL;
	void *input = w->input;
	w->input = NULL;
	api_unref(input);
	asks_done(&w->asks);
}

/* ---- the end: what was claimed is settled before anybody is told ---- */

void write_settled(struct write *w) {
	w->settled(w);
}

static void settle(struct write *w, enum write_outcome outcome, void (*then)(struct write *w)) {
	w->settled = then;
	if (!w->admitted && w->strategy->settle)
		w->strategy->settle(w, outcome);
	else
		then(w);
}

static void tell_failure(struct write *w) {
	autoerror struct error err = {0};
	error_move(&err, &w->failure);
	if (w->failed) {
		w->failed(w, &err);
		return;
	}
	struct request *r = w->r;
	write_end(w);
	request_fail(r, &err);
}

/* Takes the error. */
static void write_fail(struct write *w, enum write_outcome outcome, struct error *err) {
	error_move(&w->failure, err);
	settle(w, outcome, tell_failure);
}

/* Who wrote in one version is answered in it. */
static void result_converted(struct converted *take_set, const struct error *err, void *arg) {
	struct write *w = arg;
	struct entry *entry = take_ptr(w->result);
	if (take_set) {
		w->done(w, entry);
	} else {
		error_status(&w->failure, err->http_code, err->reason, "%s", error_message(err));
		tell_failure(w);
	}
	entry_unref(entry);
	converted_unref(take_set);
}

static void tell_success(struct write *w) {
	struct entry *entry = w->result;
	if (entry && conversion_due(w->resource, entry)) {
		conversion_start(w->r->server, w->resource, &entry, 1, w->quick, result_converted, w);
		return;
	}
	w->result = NULL;
	w->done(w, entry);
	entry_unref(entry);
}

static void write_succeed(struct write *w, enum write_outcome outcome, struct entry *entry) {
	w->result = entry ? entry_ref(entry) : NULL;
	settle(w, outcome, tell_success);
}

/* What nothing was stored of, as it would be seen by way of the version that is stored. */
static void *as_shown(const struct write *w) {
	const struct resource *resource = w->resource;
	autounref void *stored = NULL;
	void *shown = NULL;
	if (resource->custom || resource_is_identity(resource) || api_convert(w->object, resource->storage_type, &stored, NULL) < 0)
		return api_ref(w->object);
	api_default(stored);
	return api_convert(stored, resource->type, &shown, NULL) == 0 ? shown : api_ref(w->object);
}

void write_respond(struct write *w, struct entry *entry) {
	struct request *r = w->r;
	int code = w->created ? 201 : 200;
	/* With its last finalizer it went: the client sees what it wrote. */
	if (entry && !(w->remove_after_update && w->object)) {
		write_end(w);
		request_respond_entry(r, code, entry);
		return;
	}
	void *object = as_shown(w);
	write_end(w);
	request_respond_object(r, code, r->resource->type, object);
	api_unref(object);
}

/* ---- starting over ---- */

static void on_fresh(int errnum, void *arg) {
	struct write *w = arg;
	if (errnum < 0) {
		autoerror struct error err = {0};
		error_status(&err, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
		write_fail(w, WRITE_NOT_STORED, &err);
		return;
	}
	autoentry struct entry *entry = w->operation == WRITE_CREATE ? NULL : collection_get(w->resource->collection, w->key);
	if (w->failed_revision && entry && entry->resource_version == w->failed_revision) {
		write_fail(w, WRITE_NOT_STORED, &w->failure);
		return;
	}
	w->failed_revision = 0;
	error_done(&w->failure);
	set_current(w, entry);
	w->fresh = true;
	write_attempt(w);
}

/* An error that may be due to a cache that has not caught up yet. */
static bool may_be_stale(const struct write *w, const struct error *err) {
	return !w->fresh && (!w->asked || w->current) && (err->http_code == 404 || err->http_code == 409 || err->http_code == 403 || err->http_code == 422);
}

static void attempt_failed(struct write *w, struct error *err) {
	if (may_be_stale(w, err)) {
		if (w->asked) {
			w->failed_revision = w->current->resource_version;
			error_move(&w->failure, err);
		}
		drop_attempt(w);
		int left = request_time_left_ms(w->r, FRESH_TIMEOUT_MS);
		if (w->quick)
			store_wait_quick(w->r->server->store, 0, left, on_fresh, w);
		else
			store_wait(w->r->server->store, 0, left, on_fresh, w);
		return;
	}
	write_fail(w, WRITE_NOT_STORED, err);
}

/* ---- storing ---- */

int write_store_error(struct write *w, int errnum, struct error *err) {
	switch (errnum) {
	case -EFBIG:
		return error_status(err, 413, "RequestEntityTooLarge", "etcdserver: request is too large");
	case -EBUSY:
		error_status(err, 429, "TooManyRequests", "too many requests, please try again later.");
		err->retry_after_seconds = 1;
		return -EBUSY;
	case -ENOSPC:
		return error_internal(err, "etcdserver: mvcc: database space exceeded");
	case -ENOKEY:
		return error_internal(err, "there is no key to encrypt it with: the key service is not healthy");
	case -ETIMEDOUT:
		return error_status(err, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
	default:
		return error_internal(err, "etcdserver: no leader or no connection");
	}
}

/* Something changed meanwhile: from the state that is there now. */
static void start_over(struct write *w, struct entry *current) {
	autoerror struct error err = {0};
	if (w->marked && (!current || current->create_revision != w->marked->create_revision)) {
		/* Whoever runs it took it away once it was marked: that is what was asked for. What has its name now is another. */
		write_succeed(w, WRITE_STORED, w->marked);
		return;
	}
	if (++w->attempts >= MAX_ATTEMPTS) {
		error_conflict(&err, w->resource, w->object ? api_metadata(w->object)->name : w->name, CONFLICT_MODIFIED);
		write_fail(w, WRITE_NOT_STORED, &err);
		return;
	}
	set_current(w, current);
	w->fresh = true;
	write_attempt(w);
}

static void remove_now(struct write *w);

static void on_stored(int errnum, struct entry *current, void *arg) {
	struct write *w = arg;
	autoerror struct error err = {0};
	switch (errnum) {
	case 0:
		if (w->put_before_remove) {
			w->put_before_remove = false;
			entry_unref(w->marked);
			w->marked = entry_ref(current);
			set_current(w, current);
			remove_now(w);
			return;
		}
		write_succeed(w, WRITE_STORED, current);
		return;
	case -ESTALE:
		w->guards_failed = true;
		start_over(w, current);
		return;
	case -EEXIST:
		if (w->operation == WRITE_CREATE) {
			/* A generated name that is taken: try another. */
			if (w->name == NULL && ++w->attempts < 8) {
				write_attempt(w);
				return;
			}
			error_already_exists(&err, w->resource, w->object ? api_metadata(w->object)->name : w->name);
			write_fail(w, WRITE_NOT_STORED, &err);
			return;
		}
		__attribute__((fallthrough));
	case -EAGAIN:
		start_over(w, current);
		return;
	case -ENOENT:
		start_over(w, NULL);
		return;
	}
	write_store_error(w, errnum, &err);
	write_fail(w, errnum == -EFBIG || errnum == -EBUSY || errnum == -ENOSPC || errnum == -ENOKEY ? WRITE_NOT_STORED : WRITE_UNKNOWN, &err);
}

/* True where the stored form would be what is stored already. */
static bool unchanged(struct write *w, const struct buf *value) {
	if (!w->old || w->created || (w->current && collection_is_stale(w->resource->collection, w->current)))
		return false;
	if (w->stored) {
		autobuf struct buf then = BUF_INIT(BUF_MAX_DEFAULT), now = BUF_INIT(BUF_MAX_DEFAULT);
		api_encode(w->old, &then);
		api_encode(w->object, &now);
		return then.len == now.len && memcmp(then.data, now.data, now.len) == 0;
	}
	autobuf struct buf before = BUF_INIT(BUF_MAX_DEFAULT);
	void *old = api_copy(w->old);
	int rc = resource_encode_stored(w->resource, old, &before, NULL);
	api_unref(old);
	return rc == 0 && before.len == value->len && memcmp(before.data, value->data, value->len) == 0;
}

/* What is stored of w->object. */
static int encode_stored(struct write *w, struct buf *out, struct error *err) {
	if (!w->stored)
		return resource_encode_stored(w->resource, w->object, out, err);
	buf_append(out, w->stored->data, w->stored->len);
	return 0;
}

/* A write may take no longer than who asks for it waits. */
static int time_left(const struct write *w) {
	return request_time_left_ms(w->r, INT_MAX);
}

static void write_put(struct write *w) {
	autobuf struct buf value = BUF_INIT(BUF_MAX_DEFAULT);
	autoerror struct error err = {0};
	uint64_t expected = w->current && !w->created ? w->current->resource_version : 0;
	if (encode_stored(w, &value, &err) < 0)
		write_fail(w, WRITE_NOT_STORED, &err);
	else if (w->guard_count)
		collection_put_guarded(w->resource->collection, w->key, value.data, value.len, expected, w->guards, w->guard_count, time_left(w), on_stored, w);
	else
		collection_put(w->resource->collection, w->key, value.data, value.len, expected, w->lease_seconds, on_stored, w);
}

void write_claimed(struct write *w, enum claim_result result, struct error *err) {
	if (result == CLAIM_DONE) {
		write_put(w);
	} else if (result == CLAIM_AGAIN) {
		autoentry struct entry *current = w->current ? entry_ref(w->current) : NULL;
		start_over(w, current);
	} else {
		write_fail(w, WRITE_NOT_STORED, err);
	}
}

/* What its sender may only write while it leads: the fence is one more guard. */
static void send_put(struct write *w, const struct buf *value, const struct store_guard *fence, size_t fenced) {
	struct collection *collection = w->resource->collection;
	uint64_t expected = w->current && !w->created ? w->current->resource_version : 0;
	if (!w->lease_seconds)
		collection_put_guarded(collection, w->key, value->data, value->len, expected, fence, fenced, time_left(w), on_stored, w);
	else
		collection_put(collection, w->key, value->data, value->len, expected, w->lease_seconds, on_stored, w);
}

static void send_delete(struct write *w, const struct store_guard *fence, size_t fenced) {
	collection_delete_guarded(w->resource->collection, w->key, w->current->resource_version, fence, fenced, time_left(w), on_stored, w);
}

/* The last state of what goes is stored: now it goes. */
static void remove_now(struct write *w) {
	autoerror struct error err = {0};
	struct store_guard fence;
	int fenced = fence_look(w->r, &fence, &err);
	if (fenced < 0)
		write_fail(w, WRITE_STORED, &err);
	else
		send_delete(w, &fence, (size_t)fenced);
}

static void write_store(struct write *w);

/* What is kept is judged by the schema of the version that is kept. */
static void on_converted_to_store(struct write *w, struct bytes *take_json, const struct error *err) {
	autobytes struct bytes *json = take_json;
	autoerror struct error why = {0};
	void *stored;
	if (!json) {
		error_status(&why, err->http_code, err->reason, "%s", error_message(err));
		write_fail(w, WRITE_NOT_STORED, &why);
		return;
	}
	if (api_decode_json(w->resource->storage_type, json->data, json->len, &(struct api_decode_options){.validation = API_IGNORE}, &stored, &why) < 0) {
		write_fail(w, WRITE_NOT_STORED, &why);
		return;
	}
	autobuf struct buf text = BUF_INIT(BUF_MAX_DEFAULT);
	custom_process(NULL, &custom_of_type(w->resource->storage_type)->resource, stored, NULL);
	api_encode(stored, &text);
	api_unref(stored);
	w->stored = buf_to_bytes(&text);
	write_store(w);
}

static void write_store(struct write *w) {
	if (w->action == WRITE_PUT && !w->stored && conversion_due_to_store(w->resource)) {
		conversion_to_store(w, on_converted_to_store);
		return;
	}
	struct collection *collection = w->resource->collection;
	if (w->r->deadline_ns && clock_monotonic_ns() > w->r->deadline_ns) {
		/* Who asked has been told, or has gone: nothing is begun for him any more. */
		autoerror struct error late = {0};
		error_status(&late, 504, "Timeout", "Timeout: request did not complete within requested timeout - context deadline exceeded");
		write_fail(w, WRITE_NOT_STORED, &late);
		return;
	}
	autoerror struct error err = {0};
	struct store_guard fence;
	int fenced = fence_look(w->r, &fence, &err);
	if (fenced < 0) {
		write_fail(w, WRITE_NOT_STORED, &err);
		return;
	}
	if (w->action == WRITE_REMOVE && (!w->put_before_remove || w->dry_run)) {
		if (w->dry_run)
			write_succeed(w, WRITE_NOT_STORED, w->current);
		else
			send_delete(w, &fence, (size_t)fenced);
		return;
	}
	autobuf struct buf value = BUF_INIT(BUF_MAX_DEFAULT);
	buf_reserve(&value, w->current ? w->current->json->len + USUAL_GROWTH : USUAL_SIZE);
	if (encode_stored(w, &value, &err) < 0) {
		write_fail(w, WRITE_NOT_STORED, &err);
		return;
	}
	if (w->put_before_remove) {
		send_put(w, &value, &fence, (size_t)fenced);
		return;
	}
	if (unchanged(w, &value) && !w->remove_after_update) {
		write_succeed(w, WRITE_NOT_STORED, w->current);
		return;
	}
	if (w->dry_run) {
		autoentry struct entry *there = w->created ? collection_get(collection, w->key) : NULL;
		if (there)
			on_stored(-EEXIST, there, w);
		else
			write_succeed(w, WRITE_NOT_STORED, NULL);
		return;
	}
	if (w->remove_after_update) {
		w->action = WRITE_REMOVE;
		send_delete(w, &fence, (size_t)fenced);
		return;
	}
	w->guard_count = 0;
	if (w->strategy->claim && !w->subresource) {
		w->strategy->claim(w);
		return;
	}
	send_put(w, &value, &fence, (size_t)fenced);
}

/* ---- the phases ---- */

static int check(struct write *w, struct error *err) {
	if (w->action != WRITE_PUT || w->admitted)
		return 0;
	int rc = w->created ? write_prepare_create(w, err) : write_prepare_update(w, err);
	if (rc < 0)
		return rc;
	if (w->strategy->plan && !w->subresource) {
		rc = w->strategy->plan(w, err);
		if (rc < 0)
			return rc;
	}
	return write_validate(w, err);
}

static void go_on(void *arg) {
	write_resume(arg, NULL);
}

static void on_answered(void *arg) {
	webhook_hop(arg, go_on, arg);
}

void write_ask(struct write *w) {
	asks_start(&w->asks, on_answered, w);
}

static void write_run(struct write *w) {
	autoerror struct error err = {0};
	for (;;) {
		int rc = 0;
		if (w->phase == WRITE_STORE) {
			if (w->admitted)
				w->admitted(w);
			else
				write_store(w);
			return;
		}
		if (w->phase == WRITE_CHECK) {
			rc = check(w, &err);
			/* Checked anew once others have said whether the user may. */
			if (asks_lacking(&w->asks)) {
				write_ask(w);
				return;
			}
			w->phase = WRITE_VALIDATE;
			w->next_plugin = 0;
		} else {
			bool mutate = w->phase == WRITE_MUTATE;
			rc = w->skip_admission ? 0 : admission_run(w, mutate, &err);
			if (rc == REQUEST_TAKEN)
				return;
			w->phase = mutate ? WRITE_CHECK : WRITE_STORE;
		}
		if (rc < 0) {
			attempt_failed(w, &err);
			return;
		}
	}
}

void write_resume(struct write *w, struct error *err) {
	if (err && err->errnum)
		attempt_failed(w, err);
	else
		write_run(w);
}

static void unref_set(void *arg) {
	converted_unref(arg);
}

static void current_converted(struct converted *take_set, const struct error *err, void *arg) {
	struct write *w = arg;
	if (!take_set) {
		autoerror struct error why = {0};
		error_status(&why, err->http_code, err->reason, "%s", error_message(err));
		write_fail(w, WRITE_NOT_STORED, &why);
		return;
	}
	arena_defer(w->arena, unref_set, take_set); /* its entry stays while it is held, and is found again */
	write_attempt(w);
}

static void write_attempt(struct write *w) {
	autoerror struct error err = {0};
	drop_attempt(w);
	if (w->current && conversion_due(w->resource, w->current)) {
		autobytes struct bytes *known = conversion_get(w->resource, w->current);
		if (!known) {
			conversion_start(w->r->server, w->resource, &w->current, 1, w->quick, current_converted, w);
			return;
		}
	}
	w->action = WRITE_PUT;
	w->phase = WRITE_MUTATE;
	w->next_plugin = 0;
	w->admission = NULL;
	if (!w->current && w->operation != WRITE_CREATE && w->key && collection_check_key(w->resource->collection, w->key, &err) < 0) {
		write_fail(w, WRITE_NOT_STORED, &err);
		return;
	}
	if (w->current) {
		void *old;
		if (resource_decode(w->resource, w->current, &old, &err) < 0) {
			error_context(&err, "stored object cannot be read");
			write_fail(w, WRITE_NOT_STORED, &err);
			return;
		}
		w->old = old;
	}
	if (w->make(w, &err) < 0) {
		attempt_failed(w, &err);
		return;
	}
	if (w->resource->custom && w->object && w->operation != WRITE_DELETE && custom_process(w->attempts ? NULL : w->r, w->resource, w->object, &err) < 0) {
		write_fail(w, WRITE_NOT_STORED, &err);
		return;
	}
	if (w->action == WRITE_SAME) {
		write_succeed(w, WRITE_NOT_STORED, w->current);
		return;
	}
	if (w->strategy->normalize && w->object && w->operation != WRITE_DELETE)
		w->strategy->normalize(w->object);
	/* What the client wrote is its own, and nothing that admission or the kind's own rules add to it. */
	if (w->track_fields && write_track_fields(w, &err) < 0) {
		write_fail(w, WRITE_NOT_STORED, &err);
		return;
	}
	write_run(w);
}

void write_admit(struct write *w) {
	w->phase = WRITE_MUTATE;
	w->next_plugin = 0;
	w->fresh = true; /* there is nothing to make it from anew */
	write_run(w);
}

void write_start(struct write *w) {
	if (w->name && w->operation != WRITE_CREATE) {
		w->key = resource_key(w->arena, w->resource, w->ns, w->name);
		w->current = collection_get(w->resource->collection, w->key);
	}
	write_attempt(w);
}
