/* SPDX-License-Identifier: Apache-2.0 */
/* How many requests run at once, and what is counted of each. */
#include "apiserver/audit/audit.h"
#include "apiserver/flow/flow.h"
#include "apiserver/memory.h"
#include "apiserver/request/metrics.h"
#include "apiserver/request/steps.h"
#include "common/base/log.h"

/* Streams last; they are not counted against the limits. */
bool request_is_long(const struct request *r) {
	if (strcmp(r->verb, "watch") == 0)
		return true;
	static const char *const long_subresources[] = {"log", "exec", "attach", "portforward", "proxy"};
	for (size_t i = 0; r->subresource && i < array_len(long_subresources); i++)
		if (strcmp(r->subresource, long_subresources[i]) == 0)
			return true;
	return false;
}

/* ---- how long a request may take ---- */

/* ?timeout= shortens it; nothing makes it longer than --request-timeout. */
int step_deadline(struct request *r, struct error *err) {
	int64_t limit = r->server->options->request_timeout, asked;
	if (request_is_long(r))
		return 0;
	const char *text = http_query(r->http, "timeout");
	if (!str_empty(text)) {
		if (duration_parse(text, strlen(text), &asked) < 0) {
			size_t sign = *text == '-' || *text == '+', digits = strspn(text + sign, "0123456789."), unit = strcspn(text + sign + digits, "0123456789.");
			autofree char *unknown = digits && unit ? xprintf("unknown unit \"%.*s\" in duration", (int)unit, text + sign + digits) : NULL;
			return error_bad_request(err, "invalid timeout specified in the request URL - time: %s \"%s\"", unknown ? unknown : digits ? "missing unit in duration" : "invalid duration", text);
		}
		if (asked > 0 && asked < NSEC_PER_MSEC)
			return error_status(err, 504, "Timeout", "Timeout: request did not complete within the allotted timeout");
		if (asked > 0 && (limit <= 0 || asked < limit))
			limit = asked;
	}
	r->deadline_ns = limit > 0 ? r->started_ns + limit : 0;
	return 0;
}

int request_time_left_ms(const struct request *r, int most) {
	if (!r->deadline_ns)
		return most;
	int64_t left = (r->deadline_ns - clock_monotonic_ns()) / NSEC_PER_MSEC;
	return left <= 1 ? 1 : left < most ? (int)left : most;
}

int request_fresh_ms(const struct request *r, bool named) {
	return request_time_left_ms(r, named ? 3000 : 10000);
}

/* ---- how many run at once ---- */

static bool is_read(const struct request *r) {
	return strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
}

static unsigned count_in(struct request *r) {
	bool read = is_read(r);
	*(read ? &r->counted_read : &r->counted_write) = true;
	return __atomic_add_fetch(read ? &r->server->inflight_reads : &r->server->inflight_writes, 1, __ATOMIC_ACQ_REL);
}

void request_admitted(struct request *r) {
	if (!request_is_long(r))
		count_in(r);
}

/* Without priority and fairness: reads and writes have their limits apart, and administrators always get in. */
static int limit_inflight(struct request *r, struct error *err) {
	if (request_is_long(r))
		return 0;
	int64_t max = is_read(r) ? r->server->options->max_requests_inflight : r->server->options->max_mutating_requests_inflight;
	unsigned now = count_in(r);
	if (max == 0 || now <= max || (r->user && user_in_group(r->user, "system:masters")))
		return 0;
	http_add_header(r->http, "Retry-After", "1");
	request_metrics_terminated(r, 429);
	request_respond_text(r, 429, "Too many requests, please try again later.\n");
	return REQUEST_TAKEN;
}

int step_limit(struct request *r, struct error *err) {
	if (!memory_reserve(r)) {
		http_add_header(r->http, "Retry-After", "1");
		request_metrics_terminated(r, 429);
		request_respond_text(r, 429, "Too many requests, please try again later.\n");
		return REQUEST_TAKEN;
	}
	if (!r->server->flow)
		return limit_inflight(r, err);
	if (request_is_long(r) && strcmp(r->verb, "watch") != 0)
		return 0; /* it lasts as long as its user likes */
	int rc = flow_admit(r, err);
	if (rc == 0)
		request_admitted(r);
	return rc;
}

void request_finished(struct request *r, int code) {
	if (r->counted_read)
		__atomic_sub_fetch(&r->server->inflight_reads, 1, __ATOMIC_ACQ_REL);
	if (r->counted_write)
		__atomic_sub_fetch(&r->server->inflight_writes, 1, __ATOMIC_ACQ_REL);
	r->counted_read = r->counted_write = false;
	flow_release(r);
	audit_finished(r, code);
	int64_t took = clock_monotonic_ns() - r->started_ns;
	request_metrics_count(r, code, took);
	log_debug(3, "request", LOG_STR("method", r->method), LOG_STR("path", r->path), LOG_INT("code", code), LOG_INT("us", took / 1000),
		  LOG_STR("user", r->user ? r->user->name : ""), LOG_STR("agent", http_header(r->http, "User-Agent")));
	log_debug(6, "query", LOG_STR("path", r->path), LOG_STR("query", http_query_string(r->http)));
}
