/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/webhook/answer.h"

#include <errno.h>
#include <strings.h>

#define MAX_HEAD (64u << 10)
#define READ_MAX (256u << 10) /* of bytes fed and not understood yet */

void http_answer_init(struct http_answer *answer, size_t max_body) {
	*answer = (struct http_answer){.body = BUF_INIT(max_body), .in = BUF_INIT(READ_MAX)};
}

void http_answer_done(struct http_answer *answer) {
	buf_done(&answer->body);
	buf_done(&answer->in);
}

static int malformed(struct error *err, const char *what) {
	return error_set(err, EBADMSG, "malformed HTTP response: %s", what);
}

/* ---- the head ---- */

struct header {
	const char *name, *value;
	size_t name_len, value_len;
};

static bool header_is(const struct header *h, const char *name) {
	return h->name_len == strlen(name) && strncasecmp(h->name, name, h->name_len) == 0;
}

/* True where one of the values, between commas, is this word. */
static bool header_says(const struct header *h, const char *word) {
	const char *at = h->value, *end = h->value + h->value_len;
	size_t len = strlen(word);
	while (at < end) {
		while (at < end && (*at == ' ' || *at == '\t' || *at == ','))
			at++;
		const char *start = at;
		while (at < end && *at != ',')
			at++;
		size_t n = (size_t)(at - start);
		while (n && (start[n - 1] == ' ' || start[n - 1] == '\t'))
			n--;
		if (n == len && strncasecmp(start, word, len) == 0)
			return true;
	}
	return false;
}

static bool split_header(const char *line, size_t len, struct header *ret) {
	const char *colon = memchr(line, ':', len);
	if (!colon || colon == line)
		return false;
	const char *value = colon + 1, *end = line + len;
	while (value < end && (*value == ' ' || *value == '\t'))
		value++;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*ret = (struct header){line, value, (size_t)(colon - line), (size_t)(end - value)};
	return true;
}

static bool read_length(const struct header *h, size_t *ret) {
	size_t value = 0;
	if (!h->value_len)
		return false;
	for (size_t i = 0; i < h->value_len; i++) {
		char c = h->value[i];
		if (c < '0' || c > '9' || value > (SIZE_MAX - 9) / 10)
			return false;
		value = value * 10 + (size_t)(c - '0');
	}
	*ret = value;
	return true;
}

static int read_status(struct http_answer *a, const char *line, size_t len, struct error *err) {
	if (len < 12 || strncmp(line, "HTTP/1.", 7) != 0 || line[8] != ' ')
		return malformed(err, "no status line");
	int status = 0;
	for (size_t i = 9; i < 12; i++) {
		if (line[i] < '0' || line[i] > '9')
			return malformed(err, "no status code");
		status = status * 10 + (line[i] - '0');
	}
	if (status < 100 || (len > 12 && line[12] != ' '))
		return malformed(err, "no status code");
	a->status = status;
	a->keep = line[7] == '1';
	return 0;
}

/* Lines end in LF, with or without a CR. The line's length without them; *ret_next: where the next begins. */
static const char *line_end(const char *at, const char *end, size_t *ret_len) {
	const char *lf = memchr(at, '\n', (size_t)(end - at));
	if (!lf)
		return NULL;
	size_t len = (size_t)(lf - at);
	*ret_len = len && at[len - 1] == '\r' ? len - 1 : len;
	return lf + 1;
}

/* 1: the head is read and taken off, 0: it is not all there. */
static int read_head(struct http_answer *a, struct error *err) {
	const char *at = a->in.data, *end = at + a->in.len;
	size_t len, length = 0;
	bool chunked = false, has_length = false, first = true;
	for (const char *next; (next = line_end(at, end, &len)); at = next) {
		struct header h;
		if (first) {
			int r = read_status(a, at, len, err);
			if (r < 0)
				return r;
			first = false;
			continue;
		}
		if (len == 0) {
			buf_consume(&a->in, (size_t)(next - a->in.data));
			bool none = a->status == 204 || a->status == 304;
			if (a->status < 200 && a->status != 101)
				a->state = ANSWER_HEAD; /* said on the way: the answer is yet to come */
			else if (chunked && !none)
				a->state = ANSWER_CHUNK_SIZE;
			else if (has_length || none)
				a->state = ANSWER_LENGTH;
			else
				a->state = ANSWER_TO_END;
			a->left = none ? 0 : length;
			return 1;
		}
		if (!split_header(at, len, &h))
			return malformed(err, "no header");
		if (header_is(&h, "Transfer-Encoding")) {
			chunked = header_says(&h, "chunked");
		} else if (header_is(&h, "Content-Length")) {
			size_t again = length;
			if (!read_length(&h, &length) || (has_length && again != length))
				return malformed(err, "bad Content-Length");
			has_length = true;
		} else if (header_is(&h, "Content-Type")) {
			a->text = h.value_len > 5 && strncasecmp(h.value, "text/", 5) == 0;
		} else if (header_is(&h, "Connection")) {
			a->keep = header_says(&h, "close") ? false : a->keep || header_says(&h, "keep-alive");
		}
	}
	a->status = 0;
	return a->in.len > MAX_HEAD ? malformed(err, "its head is too long") : 0;
}

/* ---- the body ---- */

static int take_body(struct http_answer *a, struct error *err) {
	size_t n = a->state == ANSWER_TO_END ? a->in.len : min_of(a->left, a->in.len);
	buf_append(&a->body, a->in.data, n);
	buf_consume(&a->in, n);
	a->left -= a->state == ANSWER_TO_END ? 0 : n;
	return buf_failed(&a->body) ? error_set(err, EFBIG, "response is larger than %zu bytes", a->body.max) : 0;
}

static int read_chunk_size(struct http_answer *a, const char *line, size_t len, struct error *err) {
	size_t value = 0, digits = 0;
	for (; digits < len; digits++) {
		char c = line[digits];
		int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
		if (digit < 0)
			break;
		if (value > SIZE_MAX >> 5)
			return malformed(err, "a chunk is too large");
		value = value * 16 + (size_t)digit;
	}
	if (!digits || (digits < len && line[digits] != ';' && line[digits] != ' ' && line[digits] != '\t'))
		return malformed(err, "no chunk size");
	a->left = value;
	a->state = value ? ANSWER_CHUNK : ANSWER_TRAILER;
	return 0;
}

/* One line of what frames chunks. 1: there was one. */
static int read_framing(struct http_answer *a, struct error *err) {
	size_t len;
	const char *next = a->in.len ? line_end(a->in.data, a->in.data + a->in.len, &len) : NULL;
	if (!next)
		return a->in.len > MAX_HEAD ? malformed(err, "a line is too long") : 0;
	int r = 0;
	if (a->state == ANSWER_CHUNK_SIZE)
		r = read_chunk_size(a, a->in.data, len, err);
	else if (a->state == ANSWER_CHUNK_END)
		r = len ? malformed(err, "a chunk is longer than it said") : (a->state = ANSWER_CHUNK_SIZE, 0);
	else if (len == 0)
		a->state = ANSWER_WHOLE;
	if (r < 0)
		return r;
	buf_consume(&a->in, (size_t)(next - a->in.data));
	return 1;
}

static int step(struct http_answer *a, struct error *err) {
	int r = 0;
	switch (a->state) {
	case ANSWER_HEAD:
		return a->in.len ? read_head(a, err) : 0;
	case ANSWER_LENGTH:
	case ANSWER_CHUNK:
		r = take_body(a, err);
		if (r < 0 || a->left)
			return r;
		a->state = a->state == ANSWER_LENGTH ? ANSWER_WHOLE : ANSWER_CHUNK_END;
		return 1;
	case ANSWER_TO_END:
		return take_body(a, err);
	case ANSWER_CHUNK_SIZE:
	case ANSWER_CHUNK_END:
	case ANSWER_TRAILER:
		return read_framing(a, err);
	case ANSWER_WHOLE:
		break;
	}
	return 0;
}

int http_answer_feed(struct http_answer *a, const void *data, size_t len, struct error *err) {
	const char *at = data;
	while (a->state != ANSWER_WHOLE) {
		size_t n = min_of(len, (size_t)(READ_MAX - MAX_HEAD - 1));
		buf_append(&a->in, at, n);
		if (buf_failed(&a->in))
			return malformed(err, "it is too long");
		at += n;
		len -= n;
		int r = 1;
		while (r > 0 && a->state != ANSWER_WHOLE)
			r = step(a, err);
		if (r < 0)
			return r;
		if (!len)
			break;
	}
	if (a->state == ANSWER_WHOLE && (len || a->in.len))
		a->keep = false; /* it says more than was asked */
	return a->state == ANSWER_WHOLE;
}

int http_answer_close(struct http_answer *a, struct error *err) {
	a->keep = false;
	if (a->state == ANSWER_TO_END)
		a->state = ANSWER_WHOLE;
	return a->state == ANSWER_WHOLE ? 1 : error_set(err, EPIPE, a->status || a->in.len ? "unexpected EOF" : "EOF");
}
