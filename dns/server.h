/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DNS server's threads: each has its own UDP and TCP socket on the same port (SO_REUSEPORT), its own cache and its own questions upstream, so they
 * share only the zone.
 */
#ifndef CORACLE_DNS_SERVER_H
#define CORACLE_DNS_SERVER_H

#include "dns/forward.h"
#include "dns/zone.h"

#define SERVER_TCP_MAX 256            /* connections per thread */
#define SERVER_TCP_IDLE_NS (10 * NSEC_PER_SEC)

struct server;
struct server_options {
	const char *const *addresses; /* NULL terminated */
	uint16_t port;                /* 0: the kernel chooses (tests; one thread only) */
	unsigned threads;
	struct zone *zone;            /* borrowed */
	struct forward_upstreams upstreams;
};
int server_start(const struct server_options *options, struct server **ret, struct error *err);
uint16_t server_port(const struct server *server);
/* Takes NULL. Joins the threads. */
void server_stop(struct server *server);

#endif
