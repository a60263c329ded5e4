/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exec and attach, whatever the wire: a session of the runtime on one side, channels of a client on the other. One thread pumps both by
 * poll(2); nothing is kept beyond REMOTE_MAX_QUEUED on either side, the faster side waits.
 */
#ifndef CORACLE_KUBELET_REMOTE_H
#define CORACLE_KUBELET_REMOTE_H

#include "common/base/buf.h"
#include "common/http/channels.h"
#include "kubelet/kubelet.h"

#define REMOTE_MAX_QUEUED (1u << 20)
#define REMOTE_CHUNK 32768

struct remote {
	struct kubelet *kubelet;
	char *container_id;
	bool attach;
	struct stream_options options; /* argv is owned */
	struct stream_session *session;
	const struct remote_wire *wire;
	void *wire_data;
	struct buf to_stdin; /* not yet taken by the command */
	bool stdin_ended;    /* the client sends no more */
	bool peer_gone;
	bool plain_errors;   /* v1 to v3: text on the error channel instead of a Status */
};

/* A client's side. */
struct remote_wire {
	int (*fd)(void *wire);
	bool (*wants_write)(void *wire);
	size_t (*queued)(void *wire);
	/* Reads and writes what it can; hands what came to remote_input(), remote_resize(), remote_input_end(). Negative: the client is gone. */
	int (*step)(void *wire, short revents);
	void (*send)(void *wire, enum channel channel, const void *data, size_t len);
	void (*close_channel)(void *wire, enum channel channel);
	/* Sends what is left within a bounded time, closes, frees. */
	void (*finish)(void *wire);
};

void remote_input(struct remote *remote, const void *data, size_t len);
void remote_input_end(struct remote *remote);
void remote_resize(struct remote *remote, unsigned columns, unsigned rows);
/* Starts the session and pumps until it ends; frees all. */
void remote_run(struct remote *remote);
void remote_free(struct remote *remote);

/* Waits until fd is ready for events, at most timeout_ms. False past it. */
bool remote_wait_fd(int fd, short events, int timeout_ms);

/* remote_websocket.c, remote_spdy.c: take the connection of an upgraded request and run it. */
void remote_serve_websocket(struct remote *remote, int fd, const void *extra, size_t extra_len, const char *protocol);
void remote_serve_spdy(struct remote *remote, int fd, const void *extra, size_t extra_len, const char *protocol);

#endif
