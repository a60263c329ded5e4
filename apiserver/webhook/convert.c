/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/webhook/convert.h"
#include "apiserver/request/render.h"
#include "apiserver/webhook/webhook.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>

#define TIMEOUT_SECONDS 30
#define MAX_KEPT_SETS 256
#define MAX_KEPT_BYTES ((size_t)16 << 20)

struct conversion {
	char *url, *ca;
	size_t ca_len;
	struct webhook_service service; /* its texts are ours */
	bool v1, known;                 /* the version of the review; whether there is one we know */
};

/* ---- configuration ---- */

static char *copy_of(json_t *object, const char *key) {
	const char *text = json_string_value(json_object_get(object, key));
	return text ? xstrdup(text) : NULL;
}

struct conversion *conversion_new(json_t *spec) {
	json_t *hook = json_object_get(spec, "webhook"), *client = json_object_get(hook, "clientConfig"), *service = json_object_get(client, "service"), *versions = json_object_get(hook, "conversionReviewVersions");
	if (!str_equal(json_string_value(json_object_get(spec, "strategy")), "Webhook"))
		return NULL;
	struct conversion *c = xnew(struct conversion);
	c->url = copy_of(client, "url");
	if (service) {
		json_t *port = json_object_get(service, "port");
		c->service = (struct webhook_service){copy_of(service, "namespace"), copy_of(service, "name"), copy_of(service, "path"), port ? (int32_t)json_integer_value(port) : 443};
	}
	const char *bundle = json_string_value(json_object_get(client, "caBundle"));
	if (bundle) {
		uint8_t *data = NULL;
		if (base64_decode(bundle, strlen(bundle), strlen(bundle), &data, &c->ca_len) == 0)
			c->ca = (char *)data;
	}
	for (size_t i = 0; i < json_array_size(versions) && !c->known; i++) {
		const char *version = json_string_value(json_array_get(versions, i));
		c->v1 = str_equal(version, "v1");
		c->known = c->v1 || str_equal(version, "v1beta1");
	}
	return c;
}

static bool says_version(const char *json, size_t len, const struct resource *resource) {
	size_t n;
	const char *text = json_text_find(json, len, "apiVersion", &n);
	autofree char *want = xprintf("\"%s/%s\"", resource->api->group, resource->api->version);
	return text && n == strlen(want) && memcmp(text, want, n) == 0;
}

bool conversion_due(const struct resource *resource, const struct entry *entry) {
	return resource->custom && resource->custom->conversion && !says_version(entry->json->data, entry->json->len, resource);
}

bool conversion_due_to_store(const struct resource *resource) {
	return resource->custom && resource->custom->conversion && resource->type != resource->storage_type;
}

/* ---- what is converted, as long as it is held ---- */

struct converted {
	unsigned refs; /* atomic */
	struct list link; /* of those that are kept for who comes next */
	size_t bytes;
	size_t count;
	struct entry **entries;
	char **keys; /* in `held`; NULL: nothing was due */
};
struct held {
	struct bytes *json;
	unsigned users;
};
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct map held = MAP_INIT(NULL);          /* "entry resource" -> struct held; under lock */
static struct list kept = LIST_INIT(kept);        /* the newest first; under lock */
static size_t kept_sets, kept_bytes;              /* under lock */

static char *key_of(const struct resource *resource, const struct entry *entry) {
	return xprintf("%p %p", (const void *)entry, (const void *)resource->type);
}

struct bytes *conversion_get(const struct resource *resource, const struct entry *entry) {
	if (!conversion_due(resource, entry))
		return bytes_ref(entry->json);
	autofree char *key = key_of(resource, entry);
	pthread_mutex_lock(&lock);
	struct held *h = map_get(&held, key);
	struct bytes *json = h ? bytes_ref(h->json) : NULL;
	pthread_mutex_unlock(&lock);
	return json;
}

void converted_unref(struct converted *set) {
	if (!set || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < set->count; i++) {
		struct held *h = set->keys[i] ? map_get(&held, set->keys[i]) : NULL;
		if (h && --h->users == 0) {
			map_take(&held, set->keys[i]);
			bytes_unref(h->json);
			free(h);
		}
	}
	pthread_mutex_unlock(&lock);
	for (size_t i = 0; i < set->count; i++) {
		entry_unref(set->entries[i]);
		free(set->keys[i]);
	}
	free(set->entries);
	free(set->keys);
	free(set);
}

static struct converted *set_new(struct entry *const *entries, size_t count) {
	struct converted *set = xnew(struct converted);
	*set = (struct converted){.refs = 1, .count = count, .entries = xcalloc(count, sizeof(struct entry *)), .keys = xcalloc(count, sizeof(char *))};
	list_init(&set->link);
	for (size_t i = 0; i < count; i++)
		set->entries[i] = entry_ref(entries[i]);
	return set;
}

/* Holds what is there already; returns how many are not. */
static size_t hold_known(struct converted *set, const struct resource *resource) {
	size_t missing = 0;
	for (size_t i = 0; i < set->count; i++) {
		if (set->keys[i] || !conversion_due(resource, set->entries[i]))
			continue;
		char *key = key_of(resource, set->entries[i]);
		pthread_mutex_lock(&lock);
		struct held *h = map_get(&held, key);
		if (h) {
			h->users++;
			set->keys[i] = key;
		}
		pthread_mutex_unlock(&lock);
		if (!h) {
			free(key);
			missing++;
		}
	}
	return missing;
}

static void hold(struct converted *set, size_t i, const struct resource *resource, const char *json, size_t len) {
	char *key = key_of(resource, set->entries[i]);
	pthread_mutex_lock(&lock);
	struct held *h = map_get(&held, key);
	if (!h) {
		h = xnew(struct held);
		h->json = bytes_new(json, len);
		map_set(&held, key, h);
	}
	h->users++;
	set->keys[i] = key;
	set->bytes += len;
	pthread_mutex_unlock(&lock);
}

/* The newest few are kept: who reads something often reads it again. */
static void keep(struct converted *set) {
	struct converted *old[MAX_KEPT_SETS];
	size_t dropped = 0;
	if (set->bytes > MAX_KEPT_BYTES)
		return;
	pthread_mutex_lock(&lock);
	__atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
	list_push_front(&kept, &set->link);
	kept_sets++;
	kept_bytes += set->bytes;
	while ((kept_sets > MAX_KEPT_SETS || kept_bytes > MAX_KEPT_BYTES) && dropped < array_len(old)) {
		struct converted *last = list_entry(kept.prev, struct converted, link);
		list_remove(&last->link);
		kept_sets--;
		kept_bytes -= last->bytes;
		old[dropped++] = last;
	}
	pthread_mutex_unlock(&lock);
	while (dropped)
		converted_unref(old[--dropped]);
}

/* ---- the call ---- */

struct converting {
	struct apiserver *server;
	const struct resource *resource; /* in whose version, and whose conversion */
	char *from;                      /* group/version, Kind=x, for messages */
	const char *url;                 /* the same; in arena */
	char uid[37];
	json_t *originals;               /* what was sent */
	bool quick;
	struct arena *arena;

	int status;
	struct buf body;
	struct error error;
	void (*end)(struct converting *c, json_t *results); /* results NULL: c->error */

	struct converted *set;
	conversion_done done;
	void *arg;
	struct write *write;
	void (*stored)(struct write *w, struct bytes *take_json, const struct error *err);
};

static void converting_free(struct converting *c) {
	json_decref(c->originals);
	buf_done(&c->body);
	error_done(&c->error);
	arena_free(c->arena);
	free(c->from);
	free(c);
}

static int failed(struct converting *c, const char *fmt, ...) printf_like(2, 3);
static int failed(struct converting *c, const char *fmt, ...) {
	autobuf struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	return error_status(&c->error, 500, "", "conversion webhook for %s %s", c->from, text.data);
}

/* What a converter may change of the metadata: labels and annotations. */
static int restore_metadata(struct converting *c, json_t *original, json_t *converted) {
	static const char *const open[] = {"labels", "annotations"};
	json_t *theirs = json_object_get(converted, "metadata"), *ours = json_deep_copy(json_object_get(original, "metadata"));
	if (!json_is_object(theirs)) {
		json_decref(ours);
		return failed(c, theirs ? "returned invalid metadata: invalid metadata in converted object" : "returned invalid metadata: missing metadata in converted object");
	}
	for (size_t i = 0; i < array_len(open); i++) {
		json_t *field = json_object_get(theirs, open[i]), *value;
		const char *key;
		if (!field || json_is_null(field)) {
			json_object_del(ours, open[i]);
			continue;
		}
		json_object_foreach(field, key, value)
			if (!json_is_string(value)) {
				json_decref(ours);
				return failed(c, "returned invalid metadata: metadata.%s[%s] must be a string in converted object", open[i], key);
			}
		json_object_set(ours, open[i], field);
	}
	json_object_set_new(converted, "metadata", ours);
	return 0;
}

static int check_converted(struct converting *c, json_t *original, json_t *converted) {
	static const char *const same[] = {"name", "namespace", "uid"};
	autofree char *want = xprintf("%s/%s", c->resource->api->group, c->resource->api->version);
	const char *version = json_string_value(json_object_get(converted, "apiVersion")), *kind = json_string_value(json_object_get(converted, "kind"));
	if (!str_equal(version, want))
		return failed(c, "returned invalid object at index 0: invalid groupVersion (expected %s, received %s)", want, str_or(version, ""));
	if (!str_equal(kind, c->resource->api->kind))
		return failed(c, "returned invalid object at index 0: invalid kind (expected %s, received %s)", c->resource->api->kind, str_or(kind, ""));
	json_t *theirs = json_object_get(converted, "metadata"), *ours = json_object_get(original, "metadata");
	for (size_t i = 0; json_is_object(theirs) && i < array_len(same); i++) {
		const char *a = str_or(json_string_value(json_object_get(ours, same[i])), ""), *b = str_or(json_string_value(json_object_get(theirs, same[i])), "");
		if (strcmp(a, b) != 0)
			return failed(c, "returned invalid object: must have the same %s: %s != %s", same[i], b, a);
	}
	return restore_metadata(c, original, converted);
}

/* The converted objects out of the answer; NULL: c->error. */
static json_t *read_answer(struct converting *c) {
	const struct conversion *conversion = c->resource->custom->conversion;
	if (c->error.errnum) {
		autoerror struct error why = {0};
		error_move(&why, &c->error);
		failed(c, "failed: %s", error_message(&why));
		return NULL;
	}
	json_error_t where;
	json_t *tree = json_loadb(c->body.data ? c->body.data : "", c->body.len, 0, &where), *response = json_object_get(tree, "response"), *result = json_object_get(response, "result"), *objects = json_object_get(response, "convertedObjects");
	const char *message = json_string_value(json_object_get(result, "message")), *status = json_string_value(json_object_get(result, "status"));
	json_t *taken = NULL;
	int r = 0;
	if (c->status < 200 || c->status > 206)
		r = failed(c, "failed: the server responded with the status code %d", c->status);
	else if (!tree)
		r = failed(c, "failed: couldn't get version/kind; json parse error: %s", where.text);
	else if (!json_is_object(response))
		r = failed(c, "failed: no response provided");
	else if (conversion->v1 && !str_equal(json_string_value(json_object_get(response, "uid")), c->uid))
		r = failed(c, "failed: expected response.uid=\"%s\", got \"%s\"", c->uid, str_or(json_string_value(json_object_get(response, "uid")), ""));
	else if (!str_equal(status, "Success"))
		r = str_empty(message) ? failed(c, "failed: response.result.status was '%s', not 'Success'", str_or(status, "")) : failed(c, "failed: %s", message);
	else if (json_array_size(objects) != json_array_size(c->originals))
		r = failed(c, "returned %zu objects, expected %zu", json_array_size(objects), json_array_size(c->originals));
	for (size_t i = 0; r == 0 && i < json_array_size(objects); i++)
		r = check_converted(c, json_array_get(c->originals, i), json_array_get(objects, i));
	if (r == 0)
		taken = json_incref(objects);
	json_decref(tree);
	return taken;
}

static void on_thread(int errnum, void *arg) {
	struct converting *c = arg;
	json_t *results = read_answer(c);
	if (!results)
		log_warning("conversion webhook", LOG_STR("error", error_message(&c->error)));
	c->end(c, results);
	json_decref(results);
	converting_free(c);
}

static void go_on(struct converting *c) {
	struct store *store = c->server->store;
	if (c->quick)
		store_wait_quick(store, 1, TIMEOUT_SECONDS * 1000, on_thread, c);
	else
		store_wait(store, 1, TIMEOUT_SECONDS * 1000, on_thread, c);
}

static void on_answer(const struct call_answer *answer, const struct error *err, void *arg) {
	struct converting *c = arg;
	c->status = answer->status;
	if (err)
		error_set(&c->error, err->errnum, "Post \"%s?timeout=%ds\": %s", c->url, TIMEOUT_SECONDS, error_message(err));
	else
		buf_append(&c->body, answer->body.data, answer->body.len);
	go_on(c);
}

/* Takes the trees to convert. */
static void call(struct converting *c, json_t *take_objects) {
	const struct conversion *conversion = c->resource->custom->conversion;
	struct webhook_target target = {.ca = conversion->ca, .ca_len = conversion->ca_len};
	c->originals = take_objects;
	c->arena = arena_new();
	c->body = BUF_INIT(CALL_MAX_ANSWER);
	random_uuid(c->uid);
	json_t *first = json_array_get(take_objects, 0);
	c->from = xprintf("%s, Kind=%s", str_or(json_string_value(json_object_get(first, "apiVersion")), ""), c->resource->api->kind);
	autofree char *version = xprintf("%s/%s", c->resource->api->group, c->resource->api->version);
	json_t *review = json_pack("{s:s, s:s, s:{s:s, s:s, s:O}}", "kind", "ConversionReview", "apiVersion", conversion->v1 ? "apiextensions.k8s.io/v1" : "apiextensions.k8s.io/v1beta1", "request", "uid", c->uid, "desiredAPIVersion", version, "objects", take_objects);
	autofree char *text = json_dumps(review, JSON_COMPACT);
	json_decref(review);
	autoerror struct error err = {0};
	int r = conversion->known && text ? webhook_reach(c->server, c->arena, conversion->url, &conversion->service, &target, &err) : error_set(&err, EINVAL, "does not support any review version that is known");
	c->url = target.url;
	if (r < 0) {
		if (target.url)
			error_set(&c->error, EIO, "Post \"%s?timeout=%ds\": %s", target.url, TIMEOUT_SECONDS, error_message(&err));
		else
			error_move(&c->error, &err);
		go_on(c);
		return;
	}
	call_start(c->server->caller, &(struct call_options){
		.host = target.host, .port = target.port, .address = target.address, .address_port = target.address_port, .target = arena_printf(c->arena, "%s?timeout=%ds", target.path, TIMEOUT_SECONDS), .body = text, .body_len = strlen(text),
		.ca = target.ca, .ca_len = target.ca_len, .timeout_ns = TIMEOUT_SECONDS * NSEC_PER_SEC, .done = on_answer, .arg = c,
	});
}

/* ---- entries ---- */

static void entries_converted(struct converting *c, json_t *results) {
	struct converted *set = c->set;
	if (!results) {
		converted_unref(set);
		c->done(NULL, &c->error, c->arg);
		return;
	}
	size_t next = 0;
	for (size_t i = 0; i < set->count; i++) {
		if (set->keys[i] || !conversion_due(c->resource, set->entries[i]))
			continue;
		char *text = json_dumps(json_array_get(results, next++), JSON_COMPACT);
		hold(set, i, c->resource, text, strlen(text));
		free(text);
	}
	keep(set);
	c->done(set, NULL, c->arg);
}

static void all_known(int errnum, void *arg) {
	struct converting *c = arg;
	c->done(c->set, NULL, c->arg);
	free(c);
}

void conversion_start(struct apiserver *server, const struct resource *resource, struct entry *const *entries, size_t count, bool quick, conversion_done done, void *arg) {
	struct converting *c = xnew(struct converting);
	*c = (struct converting){.server = server, .resource = resource, .quick = quick, .end = entries_converted, .set = set_new(entries, count), .done = done, .arg = arg};
	size_t missing = hold_known(c->set, resource);
	if (!missing) {
		if (quick)
			store_wait_quick(server->store, 1, TIMEOUT_SECONDS * 1000, all_known, c);
		else
			store_wait(server->store, 1, TIMEOUT_SECONDS * 1000, all_known, c);
		return;
	}
	json_t *objects = json_array();
	for (size_t i = 0; i < count; i++) {
		if (c->set->keys[i] || !conversion_due(resource, entries[i]))
			continue;
		json_t *tree = json_loadb(entries[i]->json->data, entries[i]->json->len, 0, NULL);
		json_array_append_new(objects, tree ? tree : json_object());
	}
	call(c, objects);
}

/* ---- of a request ---- */

struct held_request {
	struct request *r;
	int (*go)(struct request *r, void *arg, struct error *err);
	void *arg;
};

static void unref_set(void *arg) {
	converted_unref(arg);
}

static void request_goes_on(struct converted *take_set, const struct error *why, void *arg) {
	struct held_request *h = arg;
	struct request *r = h->r;
	if (!take_set) {
		request_fail(r, why);
		return;
	}
	autoerror struct error err = {0};
	arena_defer(r->arena, unref_set, take_set);
	if (h->go(r, h->arg, &err) < 0)
		request_fail(r, &err);
}

void conversion_for_request(struct request *r, struct entry *const *entries, size_t count, int (*go)(struct request *r, void *arg, struct error *err), void *arg, bool *ret_taken) {
	bool due = false;
	for (size_t i = 0; i < count && !due; i++)
		due = conversion_due(r->resource, entries[i]);
	*ret_taken = due;
	if (!due)
		return;
	struct held_request *h = arena_new_type(r->arena, struct held_request);
	*h = (struct held_request){r, go, arg};
	conversion_start(r->server, r->resource, entries, count, false, request_goes_on, h);
}

/* ---- objects ---- */

static void object_converted(struct converting *c, json_t *results) {
	char *text = results ? json_dumps(json_array_get(results, 0), JSON_COMPACT) : NULL;
	c->stored(c->write, text ? bytes_new(text, strlen(text)) : NULL, text ? NULL : &c->error);
	free(text);
}

void conversion_to_store(struct write *w, void (*done)(struct write *w, struct bytes *take_json, const struct error *err)) {
	struct converting *c = xnew(struct converting);
	*c = (struct converting){.server = w->r->server, .resource = &custom_of_type(w->resource->storage_type)->resource, .quick = w->quick, .end = object_converted, .write = w, .stored = done};
	json_t *objects = json_array();
	json_t *tree = api_to_json(api_type_of(w->object), w->object);
	json_object_del(json_object_get(tree, "metadata"), "resourceVersion");
	json_array_append_new(objects, tree);
	call(c, objects);
}
