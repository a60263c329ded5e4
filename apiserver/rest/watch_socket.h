/* SPDX-License-Identifier: Apache-2.0 */
/* A watch's answer over a WebSocket: each event a message. Used as an http_stream is; what the client sends is ignored. */
#ifndef CORACLE_APISERVER_WATCH_SOCKET_H
#define CORACLE_APISERVER_WATCH_SOCKET_H

#include "common/base/loop.h"
#include "common/http/http.h"

struct watch_socket;
/*
 * What Kubernetes asks of the handshake for a watch: an Origin that is a URI, and one subprotocol at most, which it takes whatever it is. 0, or the
 * status that refuses it. *ret_protocol lives as long as the request; "": none.
 */
int watch_socket_judge(struct http_request *req, const char **ret_protocol);
/*
 * Answers the handshake with that protocol. `text`: text frames, else binary ones without their first `skip` bytes. on_close runs once, on the loop's thread; on_drain each
 * time all was taken. The caller holds a reference. A client that leaves more than max_queued bytes unread is cut off.
 */
struct watch_socket *watch_socket_start(struct http_request *req, const char *protocol, struct loop *loop, bool text, size_t skip, size_t max_queued, void (*on_close)(void *arg), void *arg);
/* These three: any thread. */
bool watch_socket_send(struct watch_socket *socket, struct bytes *bytes);
size_t watch_socket_queued(struct watch_socket *socket);
/* Closes properly once all is sent. */
void watch_socket_end(struct watch_socket *socket);
void watch_socket_on_drain(struct watch_socket *socket, void (*fn)(void *arg), void *arg);
/* Cuts all off and waits until they are gone; the HTTP server has stopped, the loops have not. */
void watch_sockets_close(void);
void watch_socket_unref(struct watch_socket *socket);

#endif
