/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSockets (RFC 6455) over a connection that http_upgrade handed over, or that a client opened: messages in, messages out,
 * nothing blocks. Pings are answered and the closing handshake is made inside. One thread at a time.
 */
#ifndef CORACLE_HTTP_WEBSOCKET_H
#define CORACLE_HTTP_WEBSOCKET_H

#include "common/http/http.h"

struct websocket;

enum websocket_opcode { WEBSOCKET_TEXT = 1, WEBSOCKET_BINARY = 2 };
enum {
	WEBSOCKET_CLOSE_NORMAL = 1000,
	WEBSOCKET_CLOSE_GOING_AWAY = 1001,
	WEBSOCKET_CLOSE_PROTOCOL = 1002,
	WEBSOCKET_CLOSE_TOO_BIG = 1009,
	WEBSOCKET_CLOSE_INTERNAL = 1011,
};

struct websocket_message {
	enum websocket_opcode opcode;
	const uint8_t *data; /* valid until the next call on the websocket */
	size_t len;
};

/* ---- the handshake ---- */

/* How a subprotocol begins that is no protocol but a bearer token, in base64url without padding. */
#define WEBSOCKET_BEARER "base64url.bearer.authorization.k8s.io."

/* True where the request asks to become a WebSocket. */
bool websocket_requested(const struct http_request *req);
/* True where the client offers this subprotocol. */
bool websocket_offers(const struct http_request *req, const char *protocol);
/*
 * The first subprotocol the client offers that is among `supported` (NULL terminated; "" stands for a client that offers none), as an element
 * of `supported`. NULL where there is none: answer 403, as Kubernetes does.
 */
const char *websocket_choose(const struct http_request *req, const char *const *supported);
/*
 * Answers 101 and hands the connection to on_open as http_upgrade does, or answers 400 where the request is no proper handshake (on_open
 * then gets fd -1). `protocol`: the chosen one, NULL or "" for none.
 */
void websocket_upgrade(struct http_request *req, const char *protocol, void (*on_open)(int fd, const void *extra, size_t extra_len, void *arg), void *arg);

/* ---- messages ---- */

struct websocket_options {
	bool client;          /* masks what it sends */
	size_t max_message;   /* bytes; a larger one closes with 1009. 0: 1 MiB */
	size_t max_queued;    /* bytes not yet taken by the peer. 0: 1 MiB */
	const void *extra;    /* bytes already read */
	size_t extra_len;
};

/* Takes the fd, which must not block. */
struct websocket *websocket_new(int fd, const struct websocket_options *options);
/* Closes the fd; takes NULL. */
void websocket_free(struct websocket *ws);
int websocket_fd(const struct websocket *ws);
/*
 * The next whole message: 1; -EAGAIN where there is none yet (wait for the fd to be readable, or writable where websocket_wants_write());
 * -EPIPE once the peer has closed or is gone, -EPROTO or -EMSGSIZE where it broke the rules (it was told; flush, then free).
 */
int websocket_receive(struct websocket *ws, struct websocket_message *ret);
/* Queues one message, made of two parts, and sends what the fd takes. -EAGAIN: queue full, nothing queued; -EPIPE: closed. */
int websocket_send(struct websocket *ws, enum websocket_opcode opcode, const void *head, size_t head_len, const void *data, size_t len);
/* Bytes still queued. */
size_t websocket_queued(const struct websocket *ws);
bool websocket_wants_write(const struct websocket *ws);
/* Sends what the fd takes. 0, -EAGAIN where some is left, -EPIPE. */
int websocket_flush(struct websocket *ws);
/* Starts the closing handshake; what is queued goes first. */
void websocket_close(struct websocket *ws, unsigned code, const char *reason);
/* A ping, for idle connections behind proxies. */
void websocket_ping(struct websocket *ws);

#endif
