/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/openapi/content.h"
#include "apiserver/request/steps.h"

#include <errno.h>

void content_add_time(struct request *r, const char *header, time_t at, const char *zone) {
	struct tm tm;
	char text[64];
	size_t len = strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S ", gmtime_r(&at, &tm));
	snprintf(text + len, sizeof(text) - len, "%s", zone);
	http_add_header(r->http, header, text);
}

/* -1: no time. */
static time_t read_time(const char *text) {
	struct tm tm = {0};
	const char *end = str_empty(text) ? NULL : strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	return end && !*end ? timegm(&tm) : -1;
}

bool content_tag_listed(const char *list, const char *etag) {
	for (const char *p = list; *p;) {
		p += strspn(p, " \t,");
		if (*p == '*')
			return true;
		if (p[0] == 'W' && p[1] == '/')
			p += 2;
		const char *end = *p == '"' ? strchr(p + 1, '"') : NULL;
		if (!end)
			return false;
		size_t len = (size_t)(end + 1 - p);
		if (etag && strlen(etag) == len && memcmp(p, etag, len) == 0)
			return true;
		p = end + 1;
	}
	return false;
}

static bool read_number(const char *text, size_t len, size_t *ret) {
	int64_t value;
	char digits[24] = {0};
	if (!len || len >= sizeof(digits) || strspn(text, "0123456789") < len)
		return false;
	memcpy(digits, text, len);
	if (!str_to_int64(digits, 0, INT64_MAX, &value))
		return false;
	*ret = (size_t)value;
	return true;
}

int content_range(const char *range, size_t size, size_t *ret_start, size_t *ret_len) {
	static const char unit[] = "bytes=";
	size_t start, last;
	if (str_empty(range))
		return 0;
	if (!str_starts_with(range, unit))
		return -EINVAL;
	const char *p = range + strlen(unit), *dash = strchr(p, '-');
	/* Of several parts the whole is made. */
	if (strchr(p, ','))
		return 0;
	if (!dash)
		return -EINVAL;
	if (dash == p) {
		if (!read_number(dash + 1, strlen(dash + 1), &last))
			return -EINVAL;
		*ret_len = min_of(last, size);
		*ret_start = size - *ret_len;
		return *ret_len ? 1 : -ERANGE;
	}
	if (!read_number(p, (size_t)(dash - p), &start))
		return -EINVAL;
	last = size ? size - 1 : 0;
	if (dash[1] && (!read_number(dash + 1, strlen(dash + 1), &last) || last < start))
		return -EINVAL;
	if (start >= size)
		return -ERANGE;
	*ret_start = start;
	*ret_len = min_of(last, size - 1) - start + 1;
	return 1;
}

/* What the conditions come to: 0 to go on, 304 or 412. */
static int judge(const struct request *r, const struct content *c) {
	const char *match = http_header(r->http, "If-Match"), *none = http_header(r->http, "If-None-Match");
	time_t unmodified = read_time(http_header(r->http, "If-Unmodified-Since")), since = read_time(http_header(r->http, "If-Modified-Since"));
	bool read = strcmp(r->method, "GET") == 0 || strcmp(r->method, "HEAD") == 0;
	if (!str_empty(match)) {
		if (!content_tag_listed(match, c->etag))
			return 412;
	} else if (unmodified >= 0 && c->modified > unmodified) {
		return 412;
	}
	if (!str_empty(none)) {
		if (content_tag_listed(none, c->etag))
			return read ? 304 : 412;
	} else if (read && since >= 0 && c->modified <= since) {
		return 304;
	}
	return 0;
}

/* A part is asked for of the document as it was: where it is another by now, all of it is told. */
static bool range_holds(const struct request *r, const struct content *c) {
	const char *condition = http_header(r->http, "If-Range");
	if (str_empty(condition))
		return true;
	return *condition == '"' ? str_equal(condition, c->etag) : read_time(condition) == c->modified;
}

static void respond_bare(struct request *r, int code, const char *type) {
	request_finished(r, code);
	http_respond(r->http, code, type, "", 0);
}

static void say_what(struct request *r, const struct content *c) {
	if (c->etag)
		http_add_header(r->http, "ETag", c->etag);
	content_add_time(r, "Last-Modified", c->modified, "GMT");
}

static void refuse_range(struct request *r, int fault, size_t size) {
	if (fault == -ERANGE) {
		autofree char *whole = xprintf("bytes */%zu", size);
		http_add_header(r->http, "Content-Range", whole);
	}
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	request_respond_text(r, 416, fault == -ERANGE ? "invalid range: failed to overlap\n" : "invalid range\n");
}

void content_respond(struct request *r, const struct content *c, struct bytes *take_body) {
	autobytes struct bytes *body = take_body;
	int code = judge(r, c);
	if (code == 304) {
		if (c->etag)
			http_add_header(r->http, "ETag", c->etag);
		if (!c->undated)
			content_add_time(r, "Last-Modified", c->modified, "GMT");
		respond_bare(r, 304, NULL);
		return;
	}
	if (code) {
		say_what(r, c);
		respond_bare(r, code, c->etag ? c->type : NULL);
		return;
	}
	size_t start = 0, len = body->len;
	int part = range_holds(r, c) ? content_range(http_header(r->http, "Range"), body->len, &start, &len) : 0;
	if (part < 0) {
		refuse_range(r, part, body->len);
		return;
	}
	say_what(r, c);
	http_add_header(r->http, "Accept-Ranges", "bytes");
	if (part == 0 && c->packs) {
		r->unvaried = true;
		request_finished(r, 200);
		http_keep_length(r->http);
		request_respond_large(r, 200, c->type, take_ptr(body));
		return;
	}
	struct bytes *piece = part ? bytes_new(body->data + start, len) : take_ptr(body);
	if (part) {
		autofree char *where = xprintf("bytes %zu-%zu/%zu", start, start + len - 1, body->len);
		http_add_header(r->http, "Content-Range", where);
	}
	request_finished(r, part ? 206 : 200);
	http_keep_length(r->http);
	http_respond_bytes(r->http, part ? 206 : 200, c->type, &piece, 1);
}
