/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share.
 *
 *   client socket --- http_conn (GnuTLS, pump) --- plain requests (direct.h) ------------ http_request --- handler
 *                          |--- socketpair --- libmicrohttpd: all others ----------------------/
 *                          \--- http_stream (chunks written straight to the session)
 *
 * An io_thread owns its connections and its libmicrohttpd daemon (polled from outside), so all of conn.c and every callback
 * of libmicrohttpd runs on that one thread without locks. Other threads reach in by four doors only: thread_post(),
 * thread_answered(), MHD_resume_connection() and the locked queue of a stream.
 */
#ifndef CORACLE_HTTP_INTERNAL_H
#define CORACLE_HTTP_INTERNAL_H

#include "common/http/http.h"
#include "common/http/plain.h"
#include "common/base/list.h"

#include <gnutls/gnutls.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
	HTTP_IO_BUFFER = 64 * 1024,
	HTTP_MAX_THREADS = 64,
	HTTP_LINGER_BYTES = 8 << 20,  /* read and thrown away after a closing answer, so that the client gets to read it */
	HTTP_DISCARD_BYTES = 16 << 20, /* the same inside a body that is refused */
};
/* Seconds. The kube-apiserver's own: 32 for headers. */
#define HTTP_HANDSHAKE_SECONDS 15
#define HTTP_HEADER_SECONDS 32
#define HTTP_BODY_SECONDS 30 /* in which at least HTTP_BODY_MIN_BYTES must arrive */
#define HTTP_BODY_MIN_BYTES (16 * 1024)
#define HTTP_IDLE_SECONDS 120
#define HTTP_STALL_SECONDS 120 /* a client that reads nothing of an answer */
#define HTTP_LINGER_SECONDS 3

struct io_thread;
struct http_conn;

/* What an epoll event points at. */
struct source {
	void (*fn)(struct source *source, uint32_t events);
};

/* Work handed to an io_thread from elsewhere; runs once a post. */
struct post {
	struct list link;
	void (*fn)(struct io_thread *thread, struct post *post);
};

struct tls_creds;
struct http_tls;

struct io_thread {
	struct http_server *server;
	pthread_t id;
	int epoll_fd;
	int wake_fd;
	struct MHD_Daemon *mhd;
	struct source wake, listener;
	bool mhd_pending;            /* libmicrohttpd has something to do, see start_mhd() */
	struct http_conn *adding;    /* whom MHD_add_connection is being called for */
	struct list conns;
	struct list active;          /* connections to pump in this round */
	struct list expecting;       /* connections whose answer may be there once libmicrohttpd has run */
	struct list freed;           /* connections to free after this round: events may still point at them */
	struct list requests;        /* all that libmicrohttpd has open; this thread only */
	int64_t sweep_at;            /* when the next deadline of a connection may have passed; INT64_MAX: none */
	bool stopping;
	uint8_t *buffer;             /* HTTP_IO_BUFFER */
	struct buf out;              /* where direct.c puts an answer together */
	int64_t date_second;         /* what `date` says */
	char date[32];
	pthread_mutex_t resume_lock; /* held while a suspended connection is answered and resumed */
	pthread_mutex_t lock;        /* guards all below */
	struct list posts;
	struct list answers;         /* direct requests that were answered or continued elsewhere */
	bool resumed; /* a connection of libmicrohttpd is to go on */
	bool woken; /* or awake: it looks at all of this before it sleeps */
};

struct http_server {
	atomic_uint refs; /* the owner's and one of each request and stream */
	struct http_server_options options;
	struct http_tls *tls;
	int listen_fd; /* thread 0's once running */
	int spare_fd;  /* given up to accept and close a connection when descriptors run out */
	uint16_t port;
	struct io_thread *threads;
	unsigned thread_count;
	unsigned next_thread;
	atomic_uint connections;
	atomic_size_t memory;
	atomic_bool draining; /* no more connections */
	atomic_bool closing;  /* each is closed after its answer */
	pthread_mutex_t lock; /* guards open_requests */
	pthread_cond_t idle;
	unsigned open_requests; /* given to the handler and not yet answered to the end; streams and upgrades do not count */
};

enum conn_deadline { DEADLINE_NONE, DEADLINE_HANDSHAKE, DEADLINE_HEADER, DEADLINE_BODY, DEADLINE_IDLE, DEADLINE_STALL, DEADLINE_LINGER };
enum conn_request { REQUEST_NONE, REQUEST_BODY, REQUEST_HANDLED };

struct pending {
	uint8_t *data;
	size_t len, pos;
};

/* One client. Only its io_thread touches it, except peer and certificate, which are fixed once the handshake is over. */
struct http_conn {
	struct source sock_source, pair_source;
	struct io_thread *thread;
	struct list link, active_link, expecting_link;
	struct post post;
	atomic_uint refs;
	int sock, pair; /* -1: closed */
	gnutls_session_t tls; /* NULL: plain */
	struct tls_creds *creds;
	struct sockaddr_storage peer;
	struct http_peer_cert *certificate;
	struct pending in, out; /* taken from one side, not yet accepted by the other */
	struct pending ahead;   /* ciphertext read and not yet asked for by GnuTLS */
	struct pending rest;    /* from the server side, behind the body of the first inject */
	struct list injects;    /* see inject.h */
	struct http_request *current; /* a direct request under way */
	struct buf held;        /* direct: what has come and was not taken yet; counted against the budget */
	size_t held_seen, held_need; /* of it: no head ends before; the whole request is so long (0: not known) */
	uint64_t delivered;     /* bytes of the server side passed on */
	struct http_stream *stream; /* set by libmicrohttpd's side once the head of the answer is on its way */
	enum conn_deadline deadline_kind;
	int64_t deadline;
	enum conn_request request;
	size_t body_seen, body_checked;
	size_t lingered;
	bool active;
	bool direct;          /* requests are read here and not by libmicrohttpd, see direct.h; there is no pair then */
	bool closing;         /* direct: no more requests are taken */
	bool handshaking;
	bool tls_blocked;     /* GnuTLS holds an encrypted record the socket did not take */
	bool readable, writable, pair_readable, pair_writable;
	bool starved;         /* GnuTLS asked for more than there was */
	bool drained;         /* the socket gave less than was asked for: nothing more until the next event */
	bool want_pair_write; /* EPOLLOUT is asked for on pair */
	bool client_eof;      /* the client sends no more */
	bool sock_ending, pair_ending; /* an end was announced behind what is still to be read: read up to it */
	bool pair_shut;       /* and the other side was told */
	bool pair_eof;        /* the server side sends no more */
	bool pair_gone;       /* ... and reads no more */
	bool write_shut;      /* and the client was told */
	bool streaming;       /* stream is fed to the client directly; the pair is gone */
	bool upgraded;
	bool aborted;         /* the body of an answer failed in the middle: close without a proper end */
	bool dead;
};

enum request_state { STATE_RUNNING, STATE_SUSPENDED, STATE_CONTINUED, STATE_ANSWERED, STATE_CANCELLED };
struct out_header {
	struct out_header *next;
	const char *name, *value;
};

struct http_request {
	atomic_uint refs; /* libmicrohttpd's side (direct.c in its place) and, from the handler call to its answer, the handler's */
	atomic_int state;
	struct list link;
	struct list answer_link; /* in thread->answers */
	void (*next)(void *arg); /* of a direct request that was continued */
	void *next_arg;
	struct http_server *server;
	struct http_conn *conn;
	struct MHD_Connection *mhd; /* NULL: a direct request */
	struct arena *arena;
	const char *method, *path, *query;
	bool http11, keep_length, large;
	bool started, handed, counted, done;
	struct header *headers, *params;
	size_t header_count, param_count;
	bool params_parsed;
	struct buf body;
	size_t accounted;
	bool misnamed;   /* a header is, by what is no name */
	int refused;     /* status that answers in place of the handler */
	size_t discarded;
	struct out_header *out_headers, **out_headers_end;
	/* the answer */
	struct MHD_Response *response;
	const char *content_type; /* of a direct one; so are the parts */
	struct bytes **parts;
	size_t part_count;
	int status;
	struct http_stream *stream;
	struct upgrade *upgrade;
	struct inject *inject;
	void *data;
	void (*free_data)(void *);
};

/* server.c */
void server_unref(struct http_server *server);
/* Counts bytes held against memory_limit; false, and nothing counted, where that passes it. */
bool server_account(struct http_server *server, size_t len);
void server_unaccount(struct http_server *server, size_t len);
void server_request_begin(struct http_server *server);
void server_request_end(struct http_server *server);
void server_warn(struct http_server *server, const char *message);

/* thread.c */
int thread_start(struct io_thread *thread, struct http_server *server, struct error *err);
/* Runs post->fn on the thread. A post that is still queued must not be posted again. Thread safe. */
void thread_post(struct io_thread *thread, struct post *post);
/* Has the thread write the answer, or go on with the request; takes a reference. Thread safe. */
void thread_answered(struct io_thread *thread, struct http_request *req);
/* MHD_resume_connection from any thread. */
void thread_resume(struct io_thread *thread, struct MHD_Connection *mhd);
int thread_watch(struct io_thread *thread, int fd, uint32_t events, struct source *source);
/* Ends that and closes the descriptor. Closing alone is not enough: a child that was forked and has not come to its exec holds a copy, and with it the watch would live on. */
void thread_unwatch(struct io_thread *thread, int fd);
void thread_activate(struct io_thread *thread, struct http_conn *conn);
/* Closes all that is open; the thread ends soon after. */
void thread_stop(struct io_thread *thread);
void thread_free(struct io_thread *thread);

/* conn.c */
/* Gives libmicrohttpd its end of a fresh socketpair. */
int conn_open_pair(struct http_conn *conn);
/* Takes the socket. */
void conn_start(struct io_thread *thread, int sock, const struct sockaddr_storage *peer);
void conn_run(struct http_conn *conn);
/* Reads from the client into its thread's buffer. 0: it sends no more, which is noted; -EAGAIN: nothing now; other failures: the connection is closed. */
ssize_t conn_receive(struct http_conn *conn);
void conn_close(struct http_conn *conn);
void conn_check_deadline(struct http_conn *conn, int64_t now);
/* Something was given to the client: how long it may take over that, or over its next request. */
void conn_written(struct http_conn *conn);
void conn_set_deadline(struct http_conn *conn, enum conn_deadline kind, int seconds);
struct http_conn *conn_ref(struct http_conn *conn);
void conn_unref(struct http_conn *conn);
/* transport.c: what reaches the client; -EAGAIN, -EPIPE for all other failures, 0 for the end */
ssize_t transport_recv(struct http_conn *conn, void *data, size_t len);
/* GnuTLS reads through this. */
ssize_t transport_pull(gnutls_transport_ptr_t ptr, void *data, size_t len);
ssize_t transport_send(struct http_conn *conn, const void *data, size_t len);
void transport_shutdown_write(struct http_conn *conn);
/* Sends all it can and keeps a copy of the rest in conn->out, which must be empty. False where the connection is lost. */
bool conn_write(struct http_conn *conn, const void *data, size_t len);
/* The same where something may wait in conn->out already. */
bool conn_append(struct http_conn *conn, const void *data, size_t len);
void pending_keep(struct pending *pending, const void *data, size_t len);
void pending_clear(struct pending *pending);
static inline bool pending_empty(const struct pending *pending) {
	return pending->pos == pending->len;
}

/* tls.c */
int tls_new(struct http_server *server, struct http_tls **ret, struct error *err);
void tls_free(struct http_tls *tls);
/* Has the thread watch the files. */
void tls_watch(struct http_tls *tls, struct io_thread *thread);
int tls_session_start(struct http_tls *tls, struct http_conn *conn);
/* After the handshake: the verified certificate of the peer into conn, where there is one. */
void tls_read_certificate(struct http_conn *conn);
void tls_creds_unref(struct tls_creds *creds);

/* request.c: libmicrohttpd's callbacks */
void *request_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd);
enum MHD_Result request_on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version, const char *upload_data,
				  size_t *upload_data_size, void **con_cls);
void request_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode code);
/* A request of the connection, with one reference. Nothing of it is read yet. */
struct http_request *request_new(struct http_conn *conn, struct MHD_Connection *mhd);
void request_unref(struct http_request *req);
/* It is under way no more: the connection and the server are told. */
void request_leave(struct http_request *req);
/* It is over: what it still holds of a stream or an upgrade is lost, and the server side's reference goes. */
void request_end(struct http_request *req);
/* It does not hold up the end of the server any more. */
void request_uncount(struct http_request *req);
/* Answers 503 in place of a handler that still holds the request; what the handler answers later is dropped. */
void request_cancel(struct http_request *req);

/* respond.c */
/* Whether a body of `total` bytes (negative: unknown) goes out in chunks, pulled as the socket drains. */
/* Whether a small body that is all there goes out as a chunk, and how: in the place of its length. */
bool respond_is_chunk(const struct http_request *req, int status, size_t len);
bool respond_may_chunk(const struct http_request *req, int status, int64_t total);
const char *respond_error_text(int status);
struct MHD_Response *respond_error(int status);
/* Makes the answer known that the request holds. Takes the handler's reference of it. */
void respond_publish(struct http_request *req);
/* Makes the answer known. Takes response, and the handler's reference of req. */
void respond_with(struct http_request *req, int status, const char *content_type, struct MHD_Response *response);
/* A body of unknown length, which HEAD does not get. */
struct MHD_Response *respond_unsized(struct http_request *req, size_t block, MHD_ContentReaderCallback reader, void *cls, MHD_ContentReaderFreeCallback done);
/* The client was lost before the switch of protocols. */
void upgrade_lost(struct upgrade *upgrade);

/* stream.c */
/* The connection is the stream's to write to: the head of the answer is out, or is the last that libmicrohttpd writes. */
void stream_attach(struct http_stream *stream);
/* Feeds the client what is queued; on the connection's thread. False where the connection is to be closed. */
bool stream_pump(struct http_stream *stream, struct http_conn *conn);
/* The client is gone, or will never get the stream. I/O thread. */
void stream_closed(struct http_stream *stream);

#endif
