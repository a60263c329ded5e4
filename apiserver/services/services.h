/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cluster IPs and node ports of Services, never given out twice, whichever API server gives them.
 *
 * What a Service holds is claimed by an object of its own before the Service is stored: an IPAddress for an address, a key below
 * ranges/servicenodeports for a port. That etcd creates such a key only where it is not there is the lock; and the Service is stored only while
 * its claims are what they were when they were made (guards of the transaction), so that a server which has slept through the clean-up of its
 * claims cannot store a Service that holds what somebody else has got meanwhile.
 *
 *	plan      fills in families, addresses and ports from the cache; nothing is written (all of a dry run)
 *	claim     right before the Service is stored: creates the claims; a chosen one that somebody else took starts the write over
 *	settle    afterwards: gives back what the stored Service does not hold; nothing where the outcome is not known
 *	repair    each minute, and when claims change under us: gives back what nobody holds, claims again what is held without claim
 */
#ifndef CORACLE_APISERVER_SERVICES_H
#define CORACLE_APISERVER_SERVICES_H

#include "apiserver/rest/write.h"

int services_start(struct apiserver *server, struct error *err);
void services_stop(struct apiserver *server);
/* The first objects are written: starts the repair. */
void services_ready(struct apiserver *server);

/* The kubernetes Service's address: the first of the first range. Text of at least 46 bytes. */
void services_first_ip(struct apiserver *server, char *out);
/* "10.0.0.0/24" or two with a comma between: the ranges that the flags give, in JSON strings. */
void services_ranges_json(struct apiserver *server, struct buf *out);
/* The stored form of a claim on an address. */
void services_address_json(const char *ip, const char *ns, const char *name, struct buf *out);

/* Hooks of the services' strategy. */
void service_prepare_create(struct request *r, void *object);
void service_prepare_update(struct request *r, void *object, const void *old);
int service_plan(struct write *w, struct error *err);
void service_claim(struct write *w);
void service_settle(struct write *w, enum write_outcome outcome);

#endif
