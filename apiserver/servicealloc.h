/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cluster IPs and node ports of Services. What is taken is known from the Services in the cache, followed by watch, plus what
 * requests now on their way have taken. So nothing but the Services themselves is stored.
 */
#ifndef CORACLE_APISERVER_SERVICEALLOC_H
#define CORACLE_APISERVER_SERVICEALLOC_H

#include "apiserver/request/request.h"

int servicealloc_start(struct apiserver *server, struct error *err);
void servicealloc_stop(struct apiserver *server);
/* The first address of the first range: the kubernetes Service's. Text of at least 46 bytes. */
void servicealloc_first_ip(struct apiserver *server, char *out);

/* Hooks of the services' strategy. */
void service_prepare_update(struct request *r, void *object, const void *old);
int service_allocate(struct request *r, void *object, const void *old, struct error *err);
void service_release(struct request *r, const void *object, const void *kept);

#endif
