/* SPDX-License-Identifier: Apache-2.0 */
/* A gRPC server on a unix socket, whose calls are one message and one answer. A thread for each connection, and the calls of one on it, one after the other. */
#ifndef CORACLE_KUBELET_GRPC_SERVER_H
#define CORACLE_KUBELET_GRPC_SERVER_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "kubelet/grpc/message.h"

#define GRPC_MAX_CONNECTIONS 32 /* at once, of one server */

/* method: "/v1beta1.Registration/Register". Appends the answer's message to `ret`, or says why not in err. May block. */
typedef enum grpc_code (*grpc_handler)(const char *method, const void *request, size_t len, struct buf *ret, void *arg, struct error *err);

struct grpc_server;
/* Makes the socket's folder where it is missing, takes away a socket that was left there, listens. */
int grpc_server_start(const char *socket, grpc_handler handler, void *arg, struct grpc_server **ret, struct error *err);
/* Closes all connections, waits for calls that run, removes the socket. Takes NULL. */
void grpc_server_stop(struct grpc_server *server);

#endif
