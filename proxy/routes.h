/* SPDX-License-Identifier: Apache-2.0 */
/* Routes to the pods of other nodes: each node's pod ranges by way of its address. Ours carry a protocol number of their own, so others' are left alone. */
#ifndef CORACLE_PROXY_ROUTES_H
#define CORACLE_PROXY_ROUTES_H

#include "common/base/error.h"

#define ROUTES_PROTOCOL 0xc0 /* rtm_protocol of the routes we keep */

struct route_wish {
	const char *destination; /* "10.244.1.0/24" */
	const char *gateway;     /* "192.0.2.7" */
};
/*
 * Makes our routes be exactly these: adds what lacks, removes what is no longer wished. A gateway that no link reaches is skipped and counted in
 * *ret_unreachable (another way, such as an overlay, must carry it). wishes empty: removes all of ours.
 */
int routes_apply(const struct route_wish *wishes, size_t count, size_t *ret_unreachable, struct error *err);

#endif
