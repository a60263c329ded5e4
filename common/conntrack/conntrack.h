/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP flows live in conntrack as long as packets come, so a client of a vanished endpoint would talk to nobody for ever. Entries are
 * collected and removed in one pass over the kernel's table.
 */
#ifndef CORACLE_CONNTRACK_H
#define CORACLE_CONNTRACK_H

#include "common/base/error.h"

struct conntrack;
struct conntrack *conntrack_new(void);
void conntrack_free(struct conntrack *conntrack);
/*
 * Remembers to remove UDP flows whose original destination is address:port (address all zero: any) and whose answers come from `endpoint` (NULL: flows
 * that were not redirected at all, begun while the service had no endpoints). family is AF_INET or AF_INET6, port in network order.
 */
void conntrack_add(struct conntrack *conntrack, int family, const uint8_t address[16], uint16_t port, const uint8_t *endpoint);
/* Removes them, and forgets. *ret_removed may be NULL. */
int conntrack_run(struct conntrack *conntrack, size_t *ret_removed, struct error *err);

#endif
