/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/websocket.h"

#include "common/base/list.h"
#include "common/base/random.h"

#include <errno.h>
#include <gnutls/crypto.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

enum { DEFAULT_MAX = 1 << 20, ACCEPT_MAX = 64, KEY_LEN = 24 };

/* RFC 6455, 1.3 */
static const char guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/* ---- the handshake ---- */

static bool has_token(const char *list, const char *token)
{
	size_t len = strlen(token);
	while (list && *list) {
		list += strspn(list, " \t,");
		size_t n = strcspn(list, ", \t");
		if (n == len && !strncasecmp(list, token, len))
			return true;
		list += n;
	}
	return false;
}

struct token_search {
	const char *header, *token;
	bool found;
};

static void search_header(const char *name, const char *value, void *arg)
{
	struct token_search *search = arg;
	if (!strcasecmp(name, search->header) && has_token(value, search->token))
		search->found = true;
}

static bool header_has_token(const struct http_request *req, const char *header, const char *token)
{
	struct token_search search = {.header = header, .token = token};
	http_header_each(req, search_header, &search);
	return search.found;
}

bool websocket_requested(const struct http_request *req)
{
	return header_has_token(req, "Upgrade", "websocket") && header_has_token(req, "Connection", "Upgrade");
}

bool websocket_offers(const struct http_request *req, const char *protocol)
{
	return header_has_token(req, "Sec-WebSocket-Protocol", protocol);
}

struct choice {
	const char *const *supported;
	const char *chosen;
	bool offered;
};

static void choose(const char *name, const char *value, void *arg)
{
	struct choice *choice = arg;
	if (strcasecmp(name, "Sec-WebSocket-Protocol"))
		return;
	while (!choice->chosen && *(value += strspn(value, " \t,"))) {
		choice->offered = true;
		size_t len = strcspn(value, ", \t");
		for (const char *const *s = choice->supported; !choice->chosen && *s; s++) {
			if (strlen(*s) == len && !strncmp(*s, value, len))
				choice->chosen = *s;
		}
		value += len;
	}
}

const char *websocket_choose(const struct http_request *req, const char *const *supported)
{
	struct choice choice = {.supported = supported};
	http_header_each(req, choose, &choice);
	for (const char *const *s = supported; !choice.offered && !choice.chosen && *s; s++) {
		if (!**s)
			choice.chosen = *s;
	}
	return choice.chosen;
}

static void refuse(struct http_request *req, const char *why, void (*on_open)(int, const void *, size_t, void *), void *arg)
{
	http_add_header(req, "Sec-WebSocket-Version", "13");
	http_respond(req, 400, "text/plain; charset=utf-8", why, strlen(why));
	on_open(-1, NULL, 0, arg);
}

void websocket_upgrade(struct http_request *req, const char *protocol, void (*on_open)(int fd, const void *extra, size_t extra_len, void *arg), void *arg)
{
	const char *key = http_header(req, "Sec-WebSocket-Key");
	if (!websocket_requested(req) || strcmp(http_method(req), "GET") || !key || strlen(key) != KEY_LEN) {
		refuse(req, "bad WebSocket handshake\n", on_open, arg);
		return;
	}
	if (!str_equal(http_header(req, "Sec-WebSocket-Version"), "13")) {
		refuse(req, "WebSocket version is not 13\n", on_open, arg);
		return;
	}
	autobuf struct buf text = BUF_INIT(ACCEPT_MAX + sizeof(guid));
	autobuf struct buf accept = BUF_INIT(ACCEPT_MAX);
	uint8_t digest[20];
	buf_append_str(&text, key);
	buf_append_str(&text, guid);
	gnutls_hash_fast(GNUTLS_DIG_SHA1, text.data, text.len, digest);
	buf_append_base64(&accept, digest, sizeof(digest));
	http_add_header(req, "Sec-WebSocket-Accept", accept.data);
	if (!str_empty(protocol))
		http_add_header(req, "Sec-WebSocket-Protocol", protocol);
	http_upgrade(req, "websocket", on_open, arg);
}

/* ---- messages ---- */

struct message {
	struct list link;
	enum websocket_opcode opcode;
	size_t len;
	uint8_t data[];
};

struct websocket {
	int fd;
	struct wslay_event_context *context;
	size_t max_queued;
	struct buf extra;
	size_t extra_pos;
	struct list messages; /* received and not yet given out; bounded by wslay's own buffer once one is there */
	struct message *given;
	int error;            /* of the fd; 0 while it is well */
	/* A close that waits for the messages before it: wslay sends control frames first. */
	bool closing;
	uint16_t close_code;
	size_t close_len;
	uint8_t close_reason[123];
};

static ssize_t on_recv(wslay_event_context_ptr context, uint8_t *data, size_t len, int flags, void *arg)
{
	struct websocket *ws = arg;
	/* One message at a time: what follows waits in the socket, so that a slow consumer slows its peer. */
	if (!list_empty(&ws->messages)) {
		wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
		return -1;
	}
	if (ws->extra_pos < ws->extra.len) {
		size_t n = min_of(len, ws->extra.len - ws->extra_pos);
		memcpy(data, ws->extra.data + ws->extra_pos, n);
		ws->extra_pos += n;
		return (ssize_t)n;
	}
	ssize_t n;
	do
		n = recv(ws->fd, data, len, 0);
	while (n < 0 && errno == EINTR);
	if (n > 0)
		return n;
	bool again = n < 0 && errno == EAGAIN;
	if (!again)
		ws->error = -EPIPE;
	wslay_event_set_error(context, again ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static ssize_t on_send(wslay_event_context_ptr context, const uint8_t *data, size_t len, int flags, void *arg)
{
	struct websocket *ws = arg;
	ssize_t n;
	do
		n = send(ws->fd, data, len, MSG_NOSIGNAL | (flags & WSLAY_MSG_MORE ? MSG_MORE : 0));
	while (n < 0 && errno == EINTR);
	if (n >= 0)
		return n;
	bool again = errno == EAGAIN;
	if (!again)
		ws->error = -EPIPE;
	wslay_event_set_error(context, again ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
	return -1;
}

static int on_mask(wslay_event_context_ptr context, uint8_t *data, size_t len, void *arg)
{
	random_bytes(data, len);
	return 0;
}

static void on_message(wslay_event_context_ptr context, const struct wslay_event_on_msg_recv_arg *in, void *arg)
{
	struct websocket *ws = arg;
	if (in->opcode != WSLAY_TEXT_FRAME && in->opcode != WSLAY_BINARY_FRAME)
		return;
	struct message *message = xmalloc(sizeof(*message) + in->msg_length);
	message->opcode = in->opcode == WSLAY_TEXT_FRAME ? WEBSOCKET_TEXT : WEBSOCKET_BINARY;
	message->len = in->msg_length;
	if (in->msg_length)
		memcpy(message->data, in->msg, in->msg_length);
	list_push_back(&ws->messages, &message->link);
}

struct websocket *websocket_new(int fd, const struct websocket_options *options)
{
	static const struct wslay_event_callbacks callbacks = {
		.recv_callback = on_recv, .send_callback = on_send, .genmask_callback = on_mask, .on_msg_recv_callback = on_message};
	struct websocket *ws = xnew(struct websocket);
	ws->fd = fd;
	ws->max_queued = options->max_queued ? options->max_queued : DEFAULT_MAX;
	ws->extra = BUF_INIT(options->extra_len);
	if (options->extra_len)
		buf_append(&ws->extra, options->extra, options->extra_len);
	list_init(&ws->messages);
	int rc = options->client ? wslay_event_context_client_init(&ws->context, &callbacks, ws) : wslay_event_context_server_init(&ws->context, &callbacks, ws);
	if (rc)
		abort(); /* memory */
	wslay_event_config_set_max_recv_msg_length(ws->context, options->max_message ? options->max_message : DEFAULT_MAX);
	return ws;
}

void websocket_free(struct websocket *ws)
{
	if (!ws)
		return;
	wslay_event_context_free(ws->context);
	struct message *message;
	list_for_each(message, &ws->messages, link)
		free(message);
	free(ws->given);
	buf_done(&ws->extra);
	if (ws->fd >= 0)
		close(ws->fd);
	free(ws);
}

int websocket_fd(const struct websocket *ws)
{
	return ws->fd;
}

static int end_of(struct websocket *ws)
{
	switch (wslay_event_get_status_code_sent(ws->context)) {
	case WSLAY_CODE_PROTOCOL_ERROR:
	case WSLAY_CODE_INVALID_FRAME_PAYLOAD_DATA:
		return -EPROTO;
	case WSLAY_CODE_MESSAGE_TOO_BIG:
		return -EMSGSIZE;
	default:
		return -EPIPE;
	}
}

int websocket_receive(struct websocket *ws, struct websocket_message *ret)
{
	free(ws->given);
	ws->given = NULL;
	if (list_empty(&ws->messages) && !ws->error && wslay_event_want_read(ws->context)) {
		wslay_event_recv(ws->context);
		/* Pongs and the answer to a close. */
		websocket_flush(ws);
	}
	struct message *message = list_first(&ws->messages, struct message, link);
	if (message) {
		list_remove(&message->link);
		ws->given = message;
		*ret = (struct websocket_message){.opcode = message->opcode, .data = message->data, .len = message->len};
		return 1;
	}
	if (ws->error)
		return ws->error;
	return wslay_event_want_read(ws->context) ? -EAGAIN : end_of(ws);
}

size_t websocket_queued(const struct websocket *ws)
{
	return wslay_event_get_queued_msg_length(ws->context);
}

bool websocket_wants_write(const struct websocket *ws)
{
	return !ws->error && (ws->closing || wslay_event_want_write(ws->context));
}

static void queue_close(struct websocket *ws)
{
	if (!ws->closing || ws->error || wslay_event_get_queued_msg_count(ws->context))
		return;
	ws->closing = false;
	wslay_event_queue_close(ws->context, ws->close_code, ws->close_reason, ws->close_len);
}

static void send_queued(struct websocket *ws)
{
	if (!ws->error && wslay_event_want_write(ws->context) && wslay_event_send(ws->context) && !ws->error)
		ws->error = -EPIPE;
}

int websocket_flush(struct websocket *ws)
{
	send_queued(ws);
	if (ws->closing) {
		queue_close(ws);
		send_queued(ws);
	}
	if (ws->error)
		return ws->error;
	return websocket_wants_write(ws) ? -EAGAIN : 0;
}

int websocket_send(struct websocket *ws, enum websocket_opcode opcode, const void *head, size_t head_len, const void *data, size_t len)
{
	if (ws->error || ws->closing || !wslay_event_get_write_enabled(ws->context) || wslay_event_get_close_sent(ws->context))
		return -EPIPE;
	size_t queued = websocket_queued(ws);
	if (queued && (queued >= ws->max_queued || head_len + len > ws->max_queued - queued))
		return -EAGAIN;
	/* wslay copies what it queues. */
	autofree uint8_t *both = NULL;
	if (head_len) {
		both = xmalloc(head_len + len);
		memcpy(both, head, head_len);
		if (len)
			memcpy(both + head_len, data, len);
	}
	struct wslay_event_msg message = {.opcode = opcode == WEBSOCKET_TEXT ? WSLAY_TEXT_FRAME : WSLAY_BINARY_FRAME, .msg = both ? both : data, .msg_length = head_len + len};
	if (wslay_event_queue_msg(ws->context, &message))
		return -EPIPE;
	int rc = websocket_flush(ws);
	return rc == -EPIPE ? rc : 0;
}

void websocket_close(struct websocket *ws, unsigned code, const char *reason)
{
	if (ws->closing || wslay_event_get_close_sent(ws->context))
		return;
	ws->closing = true;
	ws->close_code = (uint16_t)code;
	ws->close_len = reason ? min_of(strlen(reason), sizeof(ws->close_reason)) : 0;
	if (ws->close_len)
		memcpy(ws->close_reason, reason, ws->close_len);
	websocket_flush(ws);
}

void websocket_ping(struct websocket *ws)
{
	struct wslay_event_msg message = {.opcode = WSLAY_PING};
	wslay_event_queue_msg(ws->context, &message);
	websocket_flush(ws);
}
