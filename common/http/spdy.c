/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/spdy_internal.h"

#include "common/base/cursor.h"
#include "common/base/list.h"

#include <errno.h>
#include <stdio.h>

/* The 8 bytes before every frame. Control: 1 bit set, 15 bits version, 16 bits type; data: 1 bit clear, 31 bits stream. Then flags and a 24-bit length. */
enum {
	FRAME_HEAD = 8,
	VERSION = 3,
	CONTROL_MAX = 64 << 10,
	OUTPUT_MAX = 256 << 20, /* the caller stops producing long before */
	DATA_MAX = 16 << 10,    /* of one frame we send */
	WINDOW_STEP = 32 << 10, /* taken data after which the window is opened again */
	FLAG_FIN = 1,
};
enum frame { SYN_STREAM = 1, SYN_REPLY = 2, RST_STREAM = 3, SETTINGS = 4, PING = 6, GOAWAY = 7, HEADERS = 8, WINDOW_UPDATE = 9 };
enum { GOAWAY_OK = 0, GOAWAY_PROTOCOL_ERROR = 1 };

struct spdy_stream {
	struct spdy *spdy;
	struct list link;
	uint32_t id;
	uint32_t taken;   /* bytes since the window was opened last */
	bool peer_ended, ended;
	bool closed;      /* on_close has run, or is running */
	void *data;
};

struct spdy {
	struct spdy_callbacks callbacks;
	void *arg;
	struct list streams;
	size_t stream_count;
	uint32_t last_id; /* the highest the peer opened */
	uint32_t session_taken;
	bool peer_going, going, failed;
	struct spdy_inflate in;
	z_stream deflate;
	struct buf output;
	struct buf frame;        /* head and, of control frames, the rest, as far as it came */
	uint32_t data_left;      /* of the data frame under way */
	uint32_t data_stream;
	bool data_fin;
};

/* ---- frames out ---- */

static void put_be32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 24);
	at[1] = (uint8_t)(value >> 16);
	at[2] = (uint8_t)(value >> 8);
	at[3] = (uint8_t)value;
}

static void put_head(struct spdy *spdy, uint32_t first, uint8_t flags, size_t len)
{
	uint8_t head[FRAME_HEAD];
	put_be32(head, first);
	put_be32(head + 4, (uint32_t)flags << 24 | (uint32_t)len);
	buf_append(&spdy->output, head, sizeof(head));
}

static void put_control(struct spdy *spdy, enum frame type, uint8_t flags, const uint32_t *words, size_t count, const struct buf *rest)
{
	put_head(spdy, 1u << 31 | VERSION << 16 | type, flags, count * 4 + (rest ? rest->len : 0));
	for (size_t i = 0; i < count; i++) {
		uint8_t raw[4];
		put_be32(raw, words[i]);
		buf_append(&spdy->output, raw, sizeof(raw));
	}
	if (rest)
		buf_append(&spdy->output, rest->data, rest->len);
}

static void put_words(struct spdy *spdy, enum frame type, uint32_t first, uint32_t second)
{
	put_control(spdy, type, 0, (const uint32_t[]){first, second}, 2, NULL);
}

/* ---- streams ---- */

static struct spdy_stream *find(struct spdy *spdy, uint32_t id)
{
	struct spdy_stream *stream;
	list_for_each(stream, &spdy->streams, link) {
		if (stream->id == id)
			return stream;
	}
	return NULL;
}

static void close_stream(struct spdy_stream *stream)
{
	struct spdy *spdy = stream->spdy;
	if (stream->closed)
		return;
	stream->closed = true;
	list_remove(&stream->link);
	spdy->stream_count--;
	spdy->callbacks.on_close(stream, spdy->arg);
	free(stream);
}

static void close_where_ended(struct spdy_stream *stream)
{
	if (stream->ended && stream->peer_ended)
		close_stream(stream);
}

uint32_t spdy_stream_id(const struct spdy_stream *stream)
{
	return stream->id;
}

void spdy_stream_set_data(struct spdy_stream *stream, void *data)
{
	stream->data = data;
}

void *spdy_stream_data(const struct spdy_stream *stream)
{
	return stream->data;
}

void spdy_reply(struct spdy_stream *stream, const struct spdy_header *headers, size_t count)
{
	autobuf struct buf block = BUF_INIT(2 * SPDY_HEADER_BLOCK_MAX);
	spdy_deflate_block(&stream->spdy->deflate, headers, count, &block);
	put_control(stream->spdy, SYN_REPLY, 0, &stream->id, 1, &block);
}

void spdy_send(struct spdy_stream *stream, const void *data, size_t len)
{
	if (stream->ended || stream->closed)
		return;
	for (const uint8_t *at = data; len;) {
		size_t n = min_of(len, (size_t)DATA_MAX);
		put_head(stream->spdy, stream->id, 0, n);
		buf_append(&stream->spdy->output, at, n);
		at += n;
		len -= n;
	}
}

void spdy_end(struct spdy_stream *stream)
{
	if (stream->ended || stream->closed)
		return;
	stream->ended = true;
	put_head(stream->spdy, stream->id, FLAG_FIN, 0);
	close_where_ended(stream);
}

void spdy_reset(struct spdy_stream *stream, enum spdy_reset status)
{
	if (stream->closed)
		return;
	put_words(stream->spdy, RST_STREAM, stream->id, status);
	close_stream(stream);
}

/* ---- frames in ---- */

static int fail(struct spdy *spdy, int rc)
{
	if (!spdy->failed)
		put_words(spdy, GOAWAY, spdy->last_id, GOAWAY_PROTOCOL_ERROR);
	spdy->failed = true;
	return rc;
}

static int on_syn_stream(struct spdy *spdy, struct cursor *c, uint8_t flags)
{
	uint32_t id = cursor_be32(c) & INT32_MAX;
	cursor_take(c, 4 + 2); /* the associated stream, priority, slot */
	if (c->failed || !id || !(id & 1))
		return -EPROTO;
	/* The block is taken in any case: the compression of the next ones depends on it. */
	int rc = spdy_inflate_block(&spdy->in, c->pos, cursor_left(c));
	if (rc < 0)
		return rc;
	if (id <= spdy->last_id) {
		put_words(spdy, RST_STREAM, id, SPDY_PROTOCOL_ERROR);
		return 0;
	}
	spdy->last_id = id;
	if (spdy->stream_count >= SPDY_MAX_STREAMS || spdy->going) {
		put_words(spdy, RST_STREAM, id, SPDY_REFUSED_STREAM);
		return 0;
	}
	struct spdy_stream *stream = xnew(struct spdy_stream);
	stream->spdy = spdy;
	stream->id = id;
	list_push_back(&spdy->streams, &stream->link);
	spdy->stream_count++;
	stream->peer_ended = flags & FLAG_FIN;
	spdy->callbacks.on_stream(stream, spdy->in.headers, spdy->in.count, spdy->arg);
	/* The callback may have reset it. */
	stream = flags & FLAG_FIN ? find(spdy, id) : NULL;
	if (stream)
		spdy->callbacks.on_end(stream, spdy->arg);
	return 0;
}

static void end_of_peer(struct spdy *spdy, uint32_t id)
{
	struct spdy_stream *stream = find(spdy, id);
	if (!stream || stream->peer_ended)
		return;
	stream->peer_ended = true;
	spdy->callbacks.on_end(stream, spdy->arg);
	stream = find(spdy, id);
	if (stream)
		close_where_ended(stream);
}

static int on_headers(struct spdy *spdy, struct cursor *c, uint8_t flags)
{
	uint32_t id = cursor_be32(c) & INT32_MAX;
	if (c->failed)
		return -EPROTO;
	int rc = spdy_inflate_block(&spdy->in, c->pos, cursor_left(c));
	if (rc == 0 && flags & FLAG_FIN)
		end_of_peer(spdy, id);
	return rc;
}

static int on_rst_stream(struct spdy *spdy, struct cursor *c)
{
	uint32_t id = cursor_be32(c) & INT32_MAX;
	cursor_be32(c);
	if (c->failed)
		return -EPROTO;
	struct spdy_stream *stream = find(spdy, id);
	if (stream)
		close_stream(stream);
	return 0;
}

static int on_ping(struct spdy *spdy, struct cursor *c)
{
	uint32_t id = cursor_be32(c);
	if (c->failed)
		return -EPROTO;
	/* An even one would be the answer to ours, and we send none. */
	if (id & 1)
		put_control(spdy, PING, 0, &id, 1, NULL);
	return 0;
}

static int on_control(struct spdy *spdy, const uint8_t *frame, size_t len)
{
	struct cursor c = cursor_of(frame, len);
	uint32_t first = cursor_be32(&c), second = cursor_be32(&c);
	uint8_t flags = (uint8_t)(second >> 24);
	if ((first >> 16 & INT16_MAX) != VERSION)
		return -EPROTO;
	switch (first & UINT16_MAX) {
	case SYN_STREAM:
		return on_syn_stream(spdy, &c, flags);
	case SYN_REPLY: /* to a stream of ours, of which there are none */
		return -EPROTO;
	case HEADERS:
		return on_headers(spdy, &c, flags);
	case RST_STREAM:
		return on_rst_stream(spdy, &c);
	case PING:
		return on_ping(spdy, &c);
	case GOAWAY:
		spdy->peer_going = true;
		return 0;
	case SETTINGS:
	case WINDOW_UPDATE:
	default:
		return 0; /* unknown types are to be ignored */
	}
}

/* Data taken is window given back, of the stream and of the session. */
static void open_windows(struct spdy *spdy, struct spdy_stream *stream, uint32_t len)
{
	spdy->session_taken += len;
	if (spdy->session_taken >= WINDOW_STEP) {
		put_words(spdy, WINDOW_UPDATE, 0, spdy->session_taken);
		spdy->session_taken = 0;
	}
	if (!stream || stream->peer_ended)
		return;
	stream->taken += len;
	if (stream->taken >= WINDOW_STEP) {
		put_words(spdy, WINDOW_UPDATE, stream->id, stream->taken);
		stream->taken = 0;
	}
}

static void on_data(struct spdy *spdy, const uint8_t *data, size_t len)
{
	uint32_t id = spdy->data_stream;
	spdy->data_left -= (uint32_t)len;
	bool last = !spdy->data_left && spdy->data_fin;
	struct spdy_stream *stream = find(spdy, id);
	if (stream && !stream->peer_ended && len)
		spdy->callbacks.on_data(stream, data, len, spdy->arg);
	open_windows(spdy, find(spdy, id), (uint32_t)len);
	if (last)
		end_of_peer(spdy, id);
}

/* Starts the data frame whose head is in `frame`. */
static int begin_data(struct spdy *spdy, uint32_t first, uint32_t second)
{
	if (!first)
		return -EPROTO;
	spdy->data_stream = first;
	spdy->data_fin = second >> 24 & FLAG_FIN;
	spdy->data_left = second & 0xffffff;
	if (!find(spdy, first) && first > spdy->last_id)
		put_words(spdy, RST_STREAM, first, SPDY_INVALID_STREAM);
	if (!spdy->data_left)
		on_data(spdy, NULL, 0);
	return 0;
}

/* Collects into `frame` up to `want` bytes; true once they are there. */
static bool collect(struct spdy *spdy, const uint8_t **data, size_t *len, size_t want)
{
	size_t n = min_of(want - spdy->frame.len, *len);
	buf_append(&spdy->frame, *data, n);
	*data += n;
	*len -= n;
	return spdy->frame.len == want;
}

static int take_frame(struct spdy *spdy, const uint8_t **data, size_t *len)
{
	if (spdy->frame.len < FRAME_HEAD && !collect(spdy, data, len, FRAME_HEAD))
		return 0;
	struct cursor c = cursor_of(spdy->frame.data, FRAME_HEAD);
	uint32_t first = cursor_be32(&c), second = cursor_be32(&c);
	int rc;
	if (first >> 31) {
		size_t want = FRAME_HEAD + (second & 0xffffff);
		if (want > CONTROL_MAX)
			return -EMSGSIZE;
		if (spdy->frame.len < want && !collect(spdy, data, len, want))
			return 0;
		rc = on_control(spdy, (const uint8_t *)spdy->frame.data, want);
	} else {
		rc = begin_data(spdy, first, second);
	}
	buf_reset(&spdy->frame);
	return rc;
}

int spdy_feed(struct spdy *spdy, const void *data, size_t len)
{
	const uint8_t *at = data;
	while (len && !spdy->failed) {
		if (spdy->data_left) {
			size_t n = min_of(len, (size_t)spdy->data_left);
			on_data(spdy, at, n);
			at += n;
			len -= n;
			continue;
		}
		int rc = take_frame(spdy, &at, &len);
		if (rc < 0)
			return fail(spdy, rc);
	}
	if (buf_failed(&spdy->output))
		return fail(spdy, -EMSGSIZE);
	return spdy->failed ? -EPROTO : 0;
}

/* ---- the session ---- */

struct spdy *spdy_new(const struct spdy_callbacks *callbacks, void *arg)
{
	struct spdy *spdy = xnew(struct spdy);
	spdy->callbacks = *callbacks;
	spdy->arg = arg;
	list_init(&spdy->streams);
	spdy->output = BUF_INIT(OUTPUT_MAX);
	spdy->frame = BUF_INIT(CONTROL_MAX);
	spdy_inflate_init(&spdy->in);
	spdy_deflate_init(&spdy->deflate);
	return spdy;
}

void spdy_free(struct spdy *spdy)
{
	if (!spdy)
		return;
	while (!list_empty(&spdy->streams))
		close_stream(list_first(&spdy->streams, struct spdy_stream, link));
	spdy_inflate_done(&spdy->in);
	deflateEnd(&spdy->deflate);
	buf_done(&spdy->output);
	buf_done(&spdy->frame);
	free(spdy);
}

struct buf *spdy_output(struct spdy *spdy)
{
	return &spdy->output;
}

bool spdy_is_going_away(const struct spdy *spdy)
{
	return spdy->peer_going;
}

void spdy_go_away(struct spdy *spdy)
{
	if (spdy->going)
		return;
	spdy->going = true;
	put_words(spdy, GOAWAY, spdy->last_id, GOAWAY_OK);
}
