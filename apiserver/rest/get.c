/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/rest/query.h"
#include "apiserver/rest/write.h"
#include "apiserver/webhook/convert.h"

#include <errno.h>

static int answer_converted(struct request *r, void *entry, struct error *err) {
	request_respond_entry(r, 200, entry);
	return REQUEST_TAKEN;
}

static int answer(struct request *r, struct error *err) {
	char *key = resource_key(r->arena, r->resource, str_or(r->ns, ""), r->name);
	autoentry struct entry *entry = collection_get(r->resource->collection, key);
	if (!entry) {
		int rc = collection_check_key(r->resource->collection, key, err);
		return rc < 0 ? rc : error_not_found(err, r->resource, r->name);
	}
	bool taken;
	conversion_for_request(r, &entry, 1, answer_converted, entry, &taken);
	if (!taken)
		request_respond_entry(r, 200, entry);
	return REQUEST_TAKEN;
}

static void proceed(struct request *r, int errnum) {
	autoerror struct error err = {0};
	int rc;
	const char *rv = http_query(r->http, "resourceVersion");
	if (errnum == -ETIMEDOUT && !str_empty(rv) && strcmp(rv, "0") != 0) {
		rc = error_status(&err, 504, "Timeout", "Timeout: Too large resource version: %s, current: %llu", rv, (unsigned long long)store_revision(r->server->store));
		error_cause(&err, "ResourceVersionTooLarge", NULL, "Too large resource version");
		err.retry_after_seconds = 1;
	} else if (errnum < 0)
		rc = error_status(&err, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
	else
		rc = answer(r, &err);
	if (rc < 0)
		request_fail(r, &err);
}

static void go_on(void *arg) {
	proceed(arg, 0);
}

static void on_fresh(int errnum, void *arg) {
	struct request *r = arg;

	collection_count_wait(r->resource->collection, clock_monotonic_ns() - r->waited_ns);
	/* The store's thread has the other readers to tell. */
	if (errnum == 0 && request_takes_stored_bytes(r))
		http_continue(r->http, go_on, r);
	else
		proceed(r, errnum);
}

int rest_get(struct request *r, struct error *err) {
	if (http_query(r->http, "export") && request_flag(r, "export"))
		return error_bad_request(err, "the export parameter, deprecated since v1.14, is no longer supported");
	const char *rv = http_query(r->http, "resourceVersion");
	uint64_t revision = 0;
	int rc = str_empty(rv) ? 0 : error_of_version(rv, &revision, "resourceVersion: Invalid value: ", err);
	if (rc < 0)
		return rc;
	if (str_empty(rv) ? store_fresh(r->server->store) : store_revision(r->server->store) >= revision)
		return answer(r, err);
	r->waited_ns = clock_monotonic_ns();
	if (request_takes_stored_bytes(r))
		store_wait_quick(r->server->store, revision, request_fresh_ms(r, revision), on_fresh, r);
	else
		store_wait(r->server->store, revision, request_fresh_ms(r, revision), on_fresh, r);
	return REQUEST_TAKEN;
}
