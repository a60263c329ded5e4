/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/query.h"
#include "common/base/random.h"

#include <errno.h>

#define MAX_CONTINUE_TOKEN 4096

/* ---- continue tokens ---- */

/* No key has a character before this one: what begins with a key and it comes right after that key. */
#define AFTER_KEY '\x01'

char *continue_encode(int64_t revision, const char *last_key, const char *prefix) {
	const char *relative = str_starts_with(last_key, prefix) ? last_key + strlen(prefix) : last_key;
	size_t len = strlen(relative);
	if (len && relative[len - 1] == AFTER_KEY)
		len--;
	autobuf struct buf json = BUF_INIT(64 << 10);
	buf_append_str(&json, "{\"v\":\"meta.k8s.io/v1\",\"rv\":");
	buf_append_int(&json, revision);
	buf_append_str(&json, ",\"start\":");
	buf_append_json_string(&json, relative, len);
	json.len--; /* the quote */
	buf_append_str(&json, "\\u0000\"}");
	return base64url_encode(json.data, json.len);
}

static int bad_token(struct error *err, const char *fmt, ...) printf_like(2, 3);
static int bad_token(struct error *err, const char *fmt, ...) {
	autobuf struct buf why = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&why, fmt, args);
	va_end(args);
	return error_bad_request(err, "invalid continue token: continue key is not valid%.*s", (int)why.len, why.len ? (const char *)why.data : "");
}

/* Where the text stops being base64 of the URL's alphabet. */
static size_t base64_fault(const char *text) {
	size_t len = strlen(text), good = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
	return good < len ? good : len - 1;
}

/* Relative keys are taken below their prefix alone. */
static bool is_clean_key(const char *key) {
	for (const char *part = key + (*key == '/');;) {
		size_t len = strcspn(part, "/");
		if (!len || (len == 1 && *part == '.') || (len == 2 && part[0] == '.' && part[1] == '.'))
			return false;
		if (!part[len])
			return true;
		part += len + 1;
	}
}

static int continue_read(json_t *tree, const char *prefix, uint64_t *ret_revision, bool *ret_any_revision, char **ret_start, struct error *err) {
	const char *version = str_or(json_string_value(json_object_get(tree, "v")), "");
	json_t *rv = json_object_get(tree, "rv"), *from = json_object_get(tree, "start");
	if (rv && !json_is_integer(rv))
		return bad_token(err, ": json: cannot unmarshal %s into Go struct field continueToken.rv of type int64", json_is_string(rv) ? "string" : json_is_object(rv) ? "object" : json_is_array(rv) ? "array" : json_is_boolean(rv) ? "bool" : "number");
	if (strcmp(version, "meta.k8s.io/v1") != 0)
		return bad_token(err, ": server does not recognize this encoded version %s", version);
	if (!json_integer_value(rv))
		return bad_token(err, ": incorrect encoded start resourceVersion (version meta.k8s.io/v1)");
	if (!json_string_length(from))
		return bad_token(err, ": encoded start key empty (version meta.k8s.io/v1)");
	size_t len = json_string_length(from);
	autofree char *start = xmalloc(len + 1);
	memcpy(start, json_string_value(from), len + 1);
	for (size_t i = 0; i < len; i++)
		start[i] = start[i] ? start[i] : AFTER_KEY;
	if (!is_clean_key(start))
		return bad_token(err, ": %s", json_string_value(from));
	*ret_any_revision = json_integer_value(rv) < 0;
	*ret_revision = *ret_any_revision ? 0 : (uint64_t)json_integer_value(rv);
	*ret_start = xprintf("%s%s", prefix, start + (*start == '/'));
	return 0;
}

int continue_decode(const char *token, const char *prefix, uint64_t *ret_revision, bool *ret_any_revision, char **ret_start, struct error *err) {
	autofree uint8_t *data = NULL;
	size_t len;
	if (!*token || strlen(token) > MAX_CONTINUE_TOKEN)
		return bad_token(err, "%s", "");
	if (base64_decode(token, strlen(token), MAX_CONTINUE_TOKEN, &data, &len) < 0)
		return bad_token(err, ": illegal base64 data at input byte %zu", base64_fault(token));
	json_t *tree = json_loadb((const char *)data, len, JSON_ALLOW_NUL, NULL);
	char odd[2] = {len && data[0] > ' ' && data[0] < 0x7f ? (char)data[0] : 0};
	int rc = json_is_object(tree)	? continue_read(tree, prefix, ret_revision, ret_any_revision, ret_start, err)
		 : !tree && *odd && !strchr("{[\"tfn-0123456789", *odd) ? bad_token(err, ": invalid character '%s' looking for beginning of value", odd)
								       : bad_token(err, ": the token is no JSON object%s", "");
	json_decref(tree);
	return rc;
}

/* ---- parsing ---- */

/* The names that events.k8s.io gives to the stored core/v1 fields. */
static const struct { const char *label, *stored; } field_aliases[] = {
	{"reportingController", "reportingComponent"},
	{"spec.host", "spec.nodeName"},
};

static bool field_is_alias(const char *key) {
	for (size_t i = 0; i < array_len(field_aliases); i++)
		if (strcmp(field_aliases[i].label, key) == 0)
			return true;
	return str_starts_with(key, "regarding.");
}

int error_bad_number(struct error *err, const char *text) {
	const char *digits = *text == '-' || *text == '+' ? text + 1 : text;
	bool number = *digits && strspn(digits, "0123456789") == strlen(digits);
	return error_bad_request(err, "strconv.ParseInt: parsing \"%s\": %s", text, number ? "value out of range" : "invalid syntax");
}

int error_of_version(const char *text, uint64_t *ret, const char *where, struct error *err) {
	bool number = *text && strspn(text, "0123456789") == strlen(text);
	char *end;
	errno = 0;
	unsigned long long value = number ? strtoull(text, &end, 10) : 0;
	if (!number || errno == ERANGE) {
		autofree char *prefix = where ? xprintf("%s\"%s\": ", where, text) : xstrdup("");
		return error_status(err, 500, "", "%sstrconv.ParseUint: parsing \"%s\": %s", prefix, text, number ? "value out of range" : "invalid syntax");
	}
	*ret = min_of(value, (unsigned long long)INT64_MAX);
	return 0;
}

static bool label_known(const char *key, void *arg) {
	const struct resource *resource = arg;
	if (strcmp(key, "metadata.name") == 0 || strcmp(key, "metadata.namespace") == 0)
		return true;
	for (const char *const *label = resource->api->field_selectors; label && *label; label++)
		if (strcmp(*label, key) == 0)
			return true;
	return false;
}

struct unknown_label {
	const struct resource *resource;
	const char *key;
};

static bool find_unknown(const char *key, void *arg) {
	struct unknown_label *unknown = arg;
	if (label_known(key, (void *)unknown->resource))
		return true;
	unknown->key = key;
	return false;
}

static int parse_fields(struct request *r, struct list_query *query, struct error *err) {
	const char *text = str_or(http_query(r->http, "fieldSelector"), "");
	autofree char *one = r->watches_one ? xprintf("metadata.name=%s%s%s", r->selected_name, *text ? "," : "", text) : NULL;
	if (one)
		text = one;
	if (!*text)
		return 0;
	int rc = field_selector_parse(text, &query->fields, err);
	if (rc < 0)
		return error_bad_request(err, "%s", error_message(err));
	struct unknown_label unknown = {.resource = r->resource};
	selector_each_key(query->fields, find_unknown, &unknown);
	if (unknown.key) {
		bool plain = !r->resource->custom; /* the kind adds nothing to what all have */
		for (const char *const *label = r->resource->api->field_selectors; label && *label; label++)
			plain &= str_starts_with(*label, "metadata.");
		autofree char *key = xstrdup(unknown.key);
		return plain ? error_bad_request(err, "\"%s\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"", key)
			     : error_bad_request(err, "field label not supported: %s", key);
	}
	const char *name = selector_exact(query->fields, "metadata.name");
	if (!str_empty(name))
		query->only_name = xstrdup(name);
	const char *ns = selector_exact(query->fields, "metadata.namespace");
	if (!str_empty(ns) && !query->prefix[0] && r->resource->api->namespaced) {
		free(query->prefix);
		query->prefix = xprintf("%s/", ns);
	}
	return 0;
}

static void forbid(struct error *err, const char *field, const char *why) {
	error_cause(err, "FieldValueForbidden", field, "Forbidden: %s", why);
}

static void check_watch_options(const char *match, bool initial, bool continued, struct error *err) {
	bool fits = strcmp(match, "NotOlderThan") == 0;
	if (initial && !fits)
		forbid(err, "resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
	if (!*match)
		return;
	if (!initial)
		forbid(err, "resourceVersionMatch", "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
	if (!fits)
		error_cause(err, "FieldValueNotSupported", "resourceVersionMatch", "Unsupported value: \"%s\": supported values: \"NotOlderThan\"", match);
	if (continued)
		forbid(err, "resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
}

static void check_list_options(const char *match, const char *rv, bool initial, bool continued, struct error *err) {
	bool exact = strcmp(match, "Exact") == 0;
	if (*match && !*rv)
		forbid(err, "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided");
	if (*match && continued)
		forbid(err, "resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided");
	if (*match && !exact && strcmp(match, "NotOlderThan") != 0)
		error_cause(err, "FieldValueNotSupported", "resourceVersionMatch", "Unsupported value: \"%s\": supported values: \"Exact\", \"NotOlderThan\", \"\"", match);
	if (exact && strcmp(rv, "0") == 0)
		forbid(err, "resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
	if (initial)
		forbid(err, "sendInitialEvents", "sendInitialEvents is forbidden for list");
}

static int parse_version(struct request *r, struct list_query *query, bool watch, struct error *err) {
	const char *rv = str_or(http_query(r->http, "resourceVersion"), ""), *match = str_or(http_query(r->http, "resourceVersionMatch"), "");
	bool continued = !str_empty(http_query(r->http, "continue")), of_watch = watch || request_flag(r, "watch");
	autoerror struct error wrong = {0};
	query->initial_given = http_query(r->http, "sendInitialEvents") != NULL;
	/* Who does not say where to begin begins with what there is, and is told where that ends, if bookmarks are wanted. */
	bool implied = of_watch && !query->initial_given && !*match && (!*rv || strcmp(rv, "0") == 0);
	if (of_watch)
		check_watch_options(implied ? "NotOlderThan" : match, query->initial_given || implied, continued, &wrong);
	else
		check_list_options(match, rv, query->initial_given, continued, &wrong);
	if (error_has_causes(&wrong)) {
		error_invalid(&wrong, "meta.k8s.io", "ListOptions", "");
		return error_move(err, &wrong);
	}
	if (*rv) {
		int rc = error_of_version(rv, &query->rv, watch ? "resourceVersion: Invalid value: " : "invalid resource version: resourceVersion: Invalid value: ", err);
		if (rc < 0)
			return watch ? rc : error_bad_request(err, "%s", error_message(err));
		query->rv_given = true;
	}
	if (watch)
		query->send_initial_events = implied || (query->initial_given && request_flag(r, "sendInitialEvents"));
	else if (strcmp(match, "Exact") == 0)
		query->match = RV_EXACT;
	else if (strcmp(match, "NotOlderThan") == 0)
		query->match = RV_NOT_OLDER;
	return 0;
}

static int parse_all(struct request *r, struct list_query *query, struct error *err) {
	bool watch = strcmp(r->verb, "watch") == 0;
	query->prefix = r->resource->api->namespaced && !str_empty(r->ns) ? xprintf("%s/", r->ns) : xstrdup("");
	const char *labels = http_query(r->http, "labelSelector");
	if (!str_empty(labels)) {
		int rc = label_selector_parse(labels, &query->labels, err);
		if (rc < 0)
			return error_bad_request(err, "%s", error_message(err));
		if (selector_is_empty(query->labels)) {
			selector_free(query->labels);
			query->labels = NULL;
		}
	}
	int rc = parse_fields(r, query, err);
	if (rc < 0)
		return rc;
	const char *limit = http_query(r->http, "limit");
	if (limit && !str_to_int64(limit, INT64_MIN, INT64_MAX, &query->limit))
		return error_bad_number(err, limit);
	const char *timeout = http_query(r->http, "timeoutSeconds");
	int64_t seconds;
	if (timeout) {
		if (!str_to_int64(timeout, INT64_MIN, INT64_MAX, &seconds))
			return error_bad_number(err, timeout);
		query->over = seconds < 0;
		if (seconds > 0)
			query->timeout_ns = min_of(seconds, (int64_t)INT32_MAX) * NSEC_PER_SEC;
	}
	query->allow_bookmarks = request_flag(r, "allowWatchBookmarks");
	const char *token = http_query(r->http, "continue");
	if (!str_empty(token) && !watch)
		query->continue_token = xstrdup(token);
	rc = parse_version(r, query, watch, err);
	/* What any state answers is answered at once: Kubernetes cuts no pages then, but of Events, which it does not keep at hand. */
	bool whole = query->rv_given && !query->rv && query->match != RV_EXACT && !query->continue_token && strcmp(r->plural, "events") != 0;
	if (rc == 0 && whole && strcmp(r->verb, "list") == 0)
		query->limit = 0;
	return rc;
}

static void demand_label(const char *key, const char *value, void *arg) {
	*(uint64_t *)arg |= entry_label_mark(key, value);
}

static void demand_field(const char *key, const char *value, void *arg) {
	if (value && !field_is_alias(key))
		*(uint64_t *)arg |= entry_field_mark(key, value);
}

int list_query_parse(struct request *r, struct list_query **ret, struct error *err) {
	struct list_query *query = xnew(struct list_query);
	int rc = parse_all(r, query, err);
	if (rc < 0) {
		list_query_free(query);
		return rc;
	}
	selector_each_demand(query->labels, demand_label, &query->marks);
	selector_each_demand(query->fields, demand_field, &query->marks);
	*ret = query;
	return 0;
}

void list_query_free(struct list_query *query) {
	if (!query)
		return;
	selector_free(query->labels);
	selector_free(query->fields);
	free(query->prefix);
	free(query->only_name);
	free(query->continue_token);
	free(query);
}

/* ---- matching ---- */

bool list_query_is_exact(const struct list_query *query) {
	return query->match == RV_EXACT || (query->limit > 0 && query->rv_given && query->rv > 0 && query->match == RV_UNSET);
}

bool list_query_selects_all(const struct list_query *query) {
	return !query->labels && !query->fields;
}

static const char *field_of(const char *key, void *arg) {
	const struct entry *entry = arg;
	if (strcmp(key, "metadata.name") == 0)
		return entry->name;
	if (strcmp(key, "metadata.namespace") == 0)
		return entry->ns;
	const char *value = api_map_get(&entry->fields, key);
	if (value)
		return value;
	for (size_t i = 0; i < array_len(field_aliases); i++)
		if (strcmp(field_aliases[i].label, key) == 0)
			return api_map_get(&entry->fields, field_aliases[i].stored);
	if (str_starts_with(key, "regarding.")) {
		char stored[128];
		snprintf(stored, sizeof(stored), "involvedObject.%s", key + strlen("regarding."));
		return api_map_get(&entry->fields, stored);
	}
	return NULL;
}

bool list_query_matches(const struct list_query *query, const struct entry *entry) {
	if (query->prefix[0] && !str_starts_with(entry->key, query->prefix))
		return false;
	if (query->only_name && strcmp(entry->name, query->only_name) != 0)
		return false;
	if (query->labels && !selector_matches_labels(query->labels, &entry->labels))
		return false;
	return !query->fields || selector_matches(query->fields, field_of, (void *)entry);
}

void list_select(const struct list_query *query, const struct snapshot *snapshot, struct entry ***ret, size_t *ret_len) {
	size_t first = 0, end = snapshot->len;
	if (query->prefix[0])
		snapshot_range(snapshot, query->prefix, &first, &end);
	struct entry **entries = xcalloc(end - first + 1, sizeof(*entries));
	size_t len = 0;
	struct snapshot_scan scan = snapshot_scan_over(snapshot, first, end, query->marks);
	for (struct entry *entry; (entry = snapshot_scan_next(&scan));)
		if (list_query_matches(query, entry))
			entries[len++] = entry_ref(entry);
	*ret = entries;
	*ret_len = len;
}

/* ---- freshness ---- */

struct waiting {
	struct request *r;
	struct list_query *query;
	int (*fn)(struct request *r, struct list_query *query, struct error *err);
};

static void on_fresh(int errnum, void *arg) {
	struct waiting *waiting = arg;
	struct request *r = waiting->r;
	struct list_query *query = waiting->query;
	autoerror struct error err = {0};
	int rc;
	collection_count_wait(r->resource->collection, clock_monotonic_ns() - r->waited_ns);
	bool future = errnum == 0 && list_query_is_exact(query) && store_revision(r->server->store) < query->rv;
	if (future || (errnum == -ETIMEDOUT && query->rv)) {
		rc = error_status(&err, 504, "Timeout", "Timeout: Too large resource version: %llu, current: %llu", (unsigned long long)query->rv, (unsigned long long)store_revision(r->server->store));
		error_cause(&err, "ResourceVersionTooLarge", NULL, "Too large resource version");
		err.retry_after_seconds = 1;
		/* A watch that is to begin with a list has begun: it is told so there. */
		if (query->send_initial_events) {
			query->refusal = &err;
			autoerror struct error failed = {0};
			rc = waiting->fn(r, query, &failed);
			if (rc < 0)
				request_fail(r, &failed);
			list_query_free(query);
			return;
		}
	} else if (errnum < 0) {
		rc = error_status(&err, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
	} else {
		rc = waiting->fn(r, query, &err);
	}
	list_query_free(query);
	if (rc < 0)
		request_fail(r, &err);
}

int list_when_fresh(struct request *r, struct list_query *query, int (*fn)(struct request *r, struct list_query *query, struct error *err), struct error *err) {
	/* "0" and a revision reached already are answered from what is here; so is a continued list, which says its own revision. */
	bool now = (query->rv_given && store_revision(r->server->store) >= query->rv) || query->continue_token;
	if (now) {
		int rc = fn(r, query, err);
		list_query_free(query);
		return rc;
	}
	struct waiting *waiting = arena_new_type(r->arena, struct waiting);
	*waiting = (struct waiting){r, query, fn};
	/* Exactly one that is yet to come is asked of etcd, not waited for. */
	uint64_t revision = query->rv_given && !list_query_is_exact(query) ? query->rv : 0;
	r->waited_ns = clock_monotonic_ns();
	store_wait(r->server->store, revision, request_fresh_ms(r, revision), on_fresh, waiting);
	return REQUEST_TAKEN;
}
