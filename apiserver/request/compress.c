/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Large answers go out gzipped to who takes that, at the cheapest level, piece by piece as the socket drains. From the same size on as
 * Kubernetes does it: below, packing costs more than it saves.
 */
#include "apiserver/request/request.h"

#include <stdlib.h>
#include <zlib.h>

#define THRESHOLD ((size_t)128 << 10)
#define PIECE ((size_t)64 << 10)
#define HELD_BACK 2048 /* what fits in here goes out with its length, as Go's server has it */
#define MAX_PENDING 64 /* pieces that are looked at to learn the size; a list's are 64 KiB or more but for the last */

struct piped {
	z_stream z;
	int (*next)(void *arg, struct bytes **ret_part);
	void (*done)(void *arg);
	void *arg;
	struct bytes *pending[MAX_PENDING]; /* pulled already, in order */
	size_t pending_next, pending_len;
	bool packs;
	struct bytes *in; /* what deflate reads now */
	bool source_ended, ended;
};

bool request_takes_gzip(const struct request *r) {
	const char *p = http_header(r->http, "Accept-Encoding");
	while (p && *p) {
		size_t len = strcspn(p, ",");
		const char *token = p + strspn(p, " \t"), *end = p + len;
		size_t name = strcspn(token, ",; \t");
		if (token < end && name == 4 && strncasecmp(token, "gzip", 4) == 0) {
			const char *q = memmem(token, (size_t)(end - token), "q=", 2);
			return !q || strtod(q + 2, NULL) > 0;
		}
		p = *end ? end + 1 : end;
	}
	return false;
}

static void say_gzip(struct request *r) {
	http_add_header(r->http, "Content-Encoding", "gzip");
	if (!r->unvaried)
		http_add_header(r->http, "Vary", "Accept-Encoding");
}

static void start_deflate(z_stream *z) {
	/* 15 + 16: the largest window, with gzip's own header. Memory is all that can fail here. */
	if (deflateInit2(z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		abort();
}

/* The next of what was pulled already, or NULL; ours. */
static struct bytes *next_pending(struct piped *s) {
	return s->pending_next < s->pending_len ? s->pending[s->pending_next++] : NULL;
}

/* Gives deflate the next piece; false where there is none. */
static bool feed(struct piped *s) {
	bytes_unref(s->in);
	s->in = next_pending(s);
	if (!s->in && !s->source_ended && s->next(s->arg, &s->in) <= 0)
		s->source_ended = true;
	if (!s->in)
		return false;
	s->z.next_in = (Bytef *)s->in->data;
	s->z.avail_in = (uInt)s->in->len;
	return true;
}

static int gzip_next(void *arg, struct bytes **ret) {
	struct piped *s = arg;
	if (s->ended)
		return 0;
	char out[PIECE];
	s->z.next_out = (Bytef *)out;
	s->z.avail_out = sizeof(out);
	while (s->z.avail_out && !s->ended) {
		bool last = !s->z.avail_in && !feed(s);
		s->ended = deflate(&s->z, last ? Z_FINISH : Z_NO_FLUSH) == Z_STREAM_END;
	}
	*ret = bytes_new(out, sizeof(out) - s->z.avail_out);
	return 1;
}

/* What was pulled already, and then the rest as it is. */
static int plain_next(void *arg, struct bytes **ret) {
	struct piped *s = arg;
	*ret = next_pending(s);
	return *ret ? 1 : s->next(s->arg, ret);
}

static void gzip_done(void *arg) {
	struct piped *s = arg;
	if (s->packs)
		deflateEnd(&s->z);
	bytes_unref(s->in);
	for (struct bytes *piece; (piece = next_pending(s));)
		bytes_unref(piece);
	if (s->done)
		s->done(s->arg);
	free(s);
}

static void respond_gzip(struct request *r, int code, const char *content_type, struct piped *s) {
	say_gzip(r);
	start_deflate(&s->z);
	s->packs = true;
	http_respond_pull(r->http, code, content_type, -1, gzip_next, gzip_done, s);
}

void request_respond_pull(struct request *r, int code, const char *content_type, int64_t total, int (*next)(void *arg, struct bytes **ret_part), void (*done)(void *arg), void *arg) {
	bool pack = (total < 0 || total > (int64_t)THRESHOLD) && request_takes_gzip(r);
	if (total >= 0 && !pack) {
		http_respond_pull(r->http, code, content_type, total, next, done, arg);
		return;
	}
	struct piped *s = xnew(struct piped);
	s->next = next;
	s->done = done;
	s->arg = arg;
	size_t size = 0, enough = pack ? THRESHOLD : HELD_BACK;
	while (total < 0 && size <= enough && s->pending_len < MAX_PENDING && !s->source_ended) {
		struct bytes *piece = NULL;
		if (next(arg, &piece) <= 0) {
			s->source_ended = true;
			break;
		}
		size += piece->len;
		s->pending[s->pending_len++] = piece;
	}
	if (!s->source_ended) {
		if (pack)
			respond_gzip(r, code, content_type, s);
		else
			http_respond_pull(r->http, code, content_type, -1, plain_next, gzip_done, s);
		return;
	}
	/* All there is, and little. */
	http_respond_bytes(r->http, code, content_type, s->pending, s->pending_len);
	done(arg);
	free(s);
}

void request_respond_large(struct request *r, int code, const char *content_type, struct bytes *take_body) {
	if (take_body->len <= THRESHOLD || !request_takes_gzip(r)) {
		http_respond_bytes(r->http, code, content_type, &take_body, 1);
		return;
	}
	struct piped *s = xnew(struct piped);
	s->source_ended = true;
	s->pending[s->pending_len++] = take_body;
	respond_gzip(r, code, content_type, s);
}
