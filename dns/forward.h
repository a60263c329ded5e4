/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks other servers what the cluster does not know. Each question goes out on a socket of its own, so from a port nobody can guess, with an id of
 * its own; over TCP where the answer did not fit. One loop, one thread.
 */
#ifndef CORACLE_DNS_FORWARD_H
#define CORACLE_DNS_FORWARD_H

#include "common/base/loop.h"
#include "dns/wire.h"

#include <sys/socket.h>

#define FORWARD_PENDING_MAX 4096 /* questions under way, per thread; further ones are answered SERVFAIL */
#define FORWARD_UPSTREAMS_MAX 8

struct forwarder;
struct forward_upstreams {
	struct sockaddr_storage items[FORWARD_UPSTREAMS_MAX];
	size_t len;
};
/* Adds "1.2.3.4", "1.2.3.4:5353" or "[::1]:53". Returns false where it is none. */
bool forward_upstreams_add(struct forward_upstreams *upstreams, const char *text);
/* The nameserver lines of a resolv.conf. Addresses in `own` (NULL terminated; NULL: none) are left out: asking oneself would loop. */
void forward_upstreams_read(struct forward_upstreams *upstreams, const char *resolv_conf_text, const char *const *own);

struct forwarder *forwarder_new(struct loop *loop, const struct forward_upstreams *upstreams);
void forwarder_free(struct forwarder *forwarder);
/*
 * Asks for name/type. done gets the answer as the upstream gave it (its id is not the asker's), or len 0 where none came from any of them within five seconds. It is always called once, perhaps
 * before this returns.
 */
void forward_ask(struct forwarder *forwarder, const struct dns_question *question, void (*done)(const uint8_t *answer, size_t len, void *arg), void *arg);

#endif
