/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The objects that a cluster begins with: system namespaces, the kubernetes Service with its endpoints, RBAC's own roles and bindings,
 * priority classes, flow control. They are written as this server's own requests, one after the other, where they are not there yet.
 */
#ifndef CORACLE_APISERVER_BOOTSTRAP_H
#define CORACLE_APISERVER_BOOTSTRAP_H

#include "apiserver/apiserver.h"

/* Starts a thread that writes them and marks the server ready. */
void bootstrap_start(struct apiserver *server);
void bootstrap_stop(struct apiserver *server);

/* Documents in order; NULL terminated. Each is the JSON of one object without metadata but name, namespace, labels, annotations. */
extern const char *const bootstrap_objects[];

#endif
