/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Services together with their EndpointSlices, told in batches: what both the proxy and the DNS server live on. A thread of its own waits for
 * changes, takes all that have come, tells each Service once, then says that the batch is whole.
 */
#ifndef CORACLE_CLIENT_SERVICE_TRACKER_H
#define CORACLE_CLIENT_SERVICE_TRACKER_H

#include "common/client/informer.h"

struct core_v1_service;
struct discovery_v1_endpoint_slice;
struct service_tracker;

struct service_tracker_handler {
	/* The Service as it is now (NULL: gone) with all its slices. Borrowed for the call. */
	void (*on_service)(const char *key, const struct core_v1_service *service, const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count, void *arg);
	/* All changes known so far were told. The first call comes once both informers have their first list, also where there is nothing. */
	void (*on_batch)(void *arg);
	void *arg;
};
/* Takes its informers from `set`: the caller starts the set, waits until it has synced, then starts the tracker; it frees the set before the tracker. */
struct service_tracker *service_tracker_new(struct informer_set *set, const struct service_tracker_handler *handler);
/* Starts the thread. */
void service_tracker_start(struct service_tracker *tracker);
/* Tells every Service anew, as after a change of this node. Thread safe. */
void service_tracker_resync(struct service_tracker *tracker);
/* Joins the thread; the informers must not call any more when it is freed. Takes NULL. */
void service_tracker_stop(struct service_tracker *tracker);
void service_tracker_free(struct service_tracker *tracker);

#endif
