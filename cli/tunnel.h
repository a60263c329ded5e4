/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection into a pod, as kubectl port-forward makes it: SPDY/3.1 inside the messages of a WebSocket ("SPDY/3.1+portforward.k8s.io"), with
 * a stream for the data and one for an error's text.
 */
#ifndef CORACLE_CLI_TUNNEL_H
#define CORACLE_CLI_TUNNEL_H

#include "common/client/client.h"

/* Carries the socket's bytes to the pod's port and back until both sides have ended. `path`: .../pods/x/portforward. The fd stays the caller's. */
int tunnel_carry(struct client *client, const char *path, int64_t port, int fd, struct error *err);

#endif
