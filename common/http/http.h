/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server of every daemon, on libmicrohttpd. TLS stands in front: our acceptor runs GnuTLS sessions on epoll threads
 * and pumps each to a socketpair given to a plain libmicrohttpd daemon, so upgraded connections run at full speed and the
 * client certificate is known here.
 *
 * A request reaches the handler once, whole: headers parsed, body collected (up to max_body). The handler runs on an
 * I/O thread and must not block. It answers at once, or keeps the request and answers later from any thread. Exactly one of
 * http_respond*, http_stream_start or http_upgrade ends each request; after that call `req` may only be used as that call says.
 */
#ifndef CORACLE_HTTP_HTTP_H
#define CORACLE_HTTP_HTTP_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/error.h"

#include <sys/socket.h>

struct http_server;
struct http_request;
struct http_stream;

typedef void (*http_handler)(struct http_request *req, void *arg);

struct http_server_options {
	const char *bind_address;     /* "0.0.0.0", "::", "127.0.0.1"; NULL: all */
	uint16_t port;                /* 0: the kernel chooses, see http_server_port */
	int listen_fd;                /* >= 0: use this socket instead */
	bool tls;
	const char *cert_file, *key_file; /* PEM; re-read when they change on disk */
	bool cert_may_come;           /* where the certificate is not there yet, or is broken: handshakes fail until it is */
	const char *client_ca_file;   /* PEM; NULL: no client certificates asked for. A certificate offered and not signed by it: request goes on with peer_cert NULL */
	const char *client_ca_file_too; /* PEM of a second authority, trusted beside the first; NULL: none */
	char *const *sni;             /* "cert.pem,key.pem:name,*.name" each: certificates for clients who ask for these names, or, without any, for those they are for; re-read too */
	size_t sni_count;
	const char *tls_policy;       /* of http_tls_policy(); NULL: TLS 1.2 and 1.3 with the library's suites */
	unsigned threads;             /* I/O threads; 0: one a core */
	size_t max_body;              /* bytes; larger: 413 */
	bool large_handed;            /* requests with larger bodies reach the handler, without them: see http_body_too_large() */
	const char *too_large_type, *too_large_text; /* what is said then, with a line feed; static; NULL: plain words */
	size_t chunk_over;            /* answers of more bytes go to HTTP/1.1 clients in chunks, without Content-Length; 0: large ones alone */
	size_t max_header_bytes;      /* of what libmicrohttpd reads: 0: 32 KiB, 1 MiB at most; larger: 431. Each such connection holds that much. Of plain requests: 1 MiB, as far as memory_limit goes */
	unsigned max_connections;     /* 0: 20000 */
	size_t memory_limit;          /* bytes buffered in all streams and bodies together; 0: 256 MiB; past it: 503 or cut-off */
	http_handler handler;
	void *arg;
	void (*free_arg)(void *arg);  /* runs once the server and all its requests are gone, and where it did not start; may be NULL */
	/* Told of what the server overcame but an operator should know (a certificate that could not be re-read); may be NULL. Any thread. */
	void (*on_warning)(const char *message, void *arg);
};
#define HTTP_SERVER_OPTIONS_INIT {.listen_fd = -1, .max_body = 3u << 20}

/*
 * What --tls-min-version ("VersionTLS12", "VersionTLS13"; "" or NULL: 1.2) and --tls-cipher-suites (Go's names, NULL or none: all of ours) mean. Older versions and suites
 * without authenticated encryption are known by name and never offered; -EINVAL for other names, and where nothing would be left to offer. The caller frees.
 */
int http_tls_policy(const char *min_version, char *const *suites, size_t count, char **ret, struct error *err);

int http_server_start(const struct http_server_options *options, struct http_server **ret, struct error *err);
uint16_t http_server_port(const struct http_server *server);
/* Stops accepting, lets requests finish for at most grace_ms, cuts the rest, joins threads, frees. Takes NULL. Not from a handler. */
void http_server_stop(struct http_server *server, int grace_ms);
/* From now on each connection is closed after its answer; new ones are accepted. */
void http_server_close_answered(struct http_server *server);
/* Closes the listener and asks keep-alive connections to close after their answer; streams go on. */
void http_server_drain(struct http_server *server);

/* ---- the request; strings live as long as it does ---- */

const char *http_method(const struct http_request *req);
/* The path as sent, before '?', not decoded. */
const char *http_path(const struct http_request *req);
/* What follows '?', not decoded; "" where none. */
const char *http_query_string(const struct http_request *req);
/* Decoded value of the first such parameter; NULL where absent, "" where it has no value. */
const char *http_query(const struct http_request *req, const char *name);
/* Calls fn for every parameter in order. */
void http_query_each(const struct http_request *req, void (*fn)(const char *name, const char *value, void *arg), void *arg);
/* Case-insensitive; the first where there are several; NULL where absent. */
const char *http_header(const struct http_request *req, const char *name);
void http_header_each(const struct http_request *req, void (*fn)(const char *name, const char *value, void *arg), void *arg);
const char *http_body(const struct http_request *req, size_t *ret_len);
/* There was more than max_body: what came of it is gone, and the connection ends with the answer. */
bool http_body_too_large(const struct http_request *req);
const struct sockaddr *http_peer_address(const struct http_request *req);
/* The verified client certificate, or NULL. common_name and organizations (NULL terminated) are its subject's; der is the whole. */
struct http_peer_cert {
	const char *common_name;
	const char *const *organizations;
	const uint8_t *der;
	size_t der_len;
	int64_t not_after; /* seconds since 1970 */
};
const struct http_peer_cert *http_peer_certificate(const struct http_request *req);
/* A place for the handler's own data; free_fn runs when the request is over. */
void http_set_data(struct http_request *req, void *data, void (*free_fn)(void *));
void *http_data(const struct http_request *req);
/* Memory that lives as long as the request. */
struct arena *http_arena(struct http_request *req);

/* ---- answers ---- */

/* Adds a header to the answer to come; copied. */
void http_add_header(struct http_request *req, const char *name, const char *value);
/* Takes one back, where it was added. */
void http_remove_header(struct http_request *req, const char *name);
/* The answer tells its length however long it is, where it is known when it begins. */
void http_keep_length(struct http_request *req);
/* In the place of the one of that name, where one was added. */
void http_set_header(struct http_request *req, const char *name, const char *value);
/*
 * Goes on with a request whose handler has returned without an answer: fn runs once, on the thread of the request's connection where it is read there, so it
 * must be as short as a handler; otherwise, and where the server has stopped (then what fn answers is dropped), at once on the caller's. fn may answer or wait again.
 * By then the request may be gone: the caller touches it no more. Thread safe.
 */
void http_continue(struct http_request *req, void (*fn)(void *arg), void *arg);
/* Answers with a copy of the body. */
void http_respond(struct http_request *req, int status, const char *content_type, const void *body, size_t len);
/* Answers with shared bytes, without a copy. Several parts are sent one after the other (LIST: head, objects, tail). Takes one reference of each.
 * A body of 128 KiB or more goes to HTTP/1.1 clients in chunks, past libmicrohttpd. */
void http_respond_bytes(struct http_request *req, int status, const char *content_type, struct bytes **parts, size_t count);
/*
 * Answers with a body pulled as the socket drains: next(arg, &part) gives the next piece (a reference to keep) and returns 1, or 0 at
 * the end. Called on an I/O thread; must not block. total < 0: length unknown. Chunked where that is so, or from 128 KiB on. done(arg) always runs once.
 */
void http_respond_pull(struct http_request *req, int status, const char *content_type, int64_t total, int (*next)(void *arg, struct bytes **ret_part), void (*done)(void *arg), void *arg);

/*
 * A chunked answer fed from any thread as things happen (watches, log -f). on_close runs once, when the client is gone, has been cut off or
 * the stream was ended (maybe before http_stream_start has returned: the client may be gone already); afterwards the stream may be sent to no more, and is freed with the last http_stream_unref (the starter holds one).
 */
struct http_stream *http_stream_start(struct http_request *req, int status, const char *content_type, size_t max_buffered, void (*on_close)(void *arg), void *arg);
/* Queues shared bytes (takes its own reference). Returns false where the stream is closed, or where the queue would pass max_buffered: then the client is cut off. Thread safe. */
bool http_stream_send(struct http_stream *stream, struct bytes *bytes);
/* Bytes queued and not yet taken by the socket: for producers that can wait (on_drain) instead of being cut off. */
size_t http_stream_queued(struct http_stream *stream);
/* Calls fn on an I/O thread each time the queue has become empty. */
void http_stream_on_drain(struct http_stream *stream, void (*fn)(void *arg), void *arg);
/* Ends the body properly once all is sent; the connection goes on with the next request where it is read past libmicrohttpd. */
void http_stream_end(struct http_stream *stream);
/* The same, but the client is told that something lacks: its connection is cut behind what was sent, without the mark of an end. */
void http_stream_tear(struct http_stream *stream);
void http_stream_unref(struct http_stream *stream);

/*
 * 101: the connection becomes a plain byte stream for `on_upgrade(fd, extra, arg)`, which owns fd (a non-blocking stream socket,
 * already decrypted where TLS is in front) and first consumes `extra` (bytes read past the request). headers as added before.
 * Runs exactly once; where the client was lost before the switch, or speaks HTTP/1.0, fd is -1 and only `arg` is to be freed.
 */
void http_upgrade(struct http_request *req, const char *protocol, void (*on_upgrade)(int fd, const void *extra, size_t extra_len, void *arg), void *arg);

/* Decodes %xx (and '+' in queries) into the arena. NULL where malformed, or where it would hold a NUL. */
char *http_url_decode(struct arena *arena, const char *s, size_t len, bool plus_is_space);
/* The same, but a NUL becomes the bytes C0 80, which are no text either. So are values of http_query() decoded. */
char *http_url_decode_any(struct arena *arena, const char *s, size_t len, bool plus_is_space);
/* Encodes all but unreserved characters. */
void http_url_encode(struct buf *out, const char *s);

#endif
