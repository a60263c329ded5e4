/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps the kernel's table equal to what the Services ask for. Each Service's elements are remembered; a change sends only the
 * difference. An element that two Services ask for (one external IP twice) belongs to the first and passes on when that one lets go.
 * One thread.
 */
#ifndef CORACLE_PROXY_SYNC_H
#define CORACLE_PROXY_SYNC_H

#include "proxy/model.h"

struct sync;
/* config is copied. Opens the netlink socket in the caller's network namespace. */
int sync_new(const struct ruleset_config *config, struct sync **ret, struct error *err);
void sync_free(struct sync *sync);

/* Takes `rules` as the new elements of Service `key` ("ns/name"); empty: none. Nothing reaches the kernel before sync_commit. */
void sync_set(struct sync *sync, const char *key, struct model_rules *take_rules);
/*
 * Sends what changed in one transaction; the first one, and any after sync_invalidate, replaces the whole table at once. Where the kernel refuses a
 * difference the whole table is written anew. *ret_changed (may be NULL): elements added and removed.
 */
int sync_commit(struct sync *sync, size_t *ret_changed, struct error *err);
/* The kernel's table may not be what we think (somebody flushed it): the next commit replaces it. */
void sync_invalidate(struct sync *sync);
size_t sync_element_count(const struct sync *sync);
/*
 * UDP and SCTP flows that kept an address after it left: called in sync_commit for every endpoint element that was removed or that newly serves
 * an address without one before. key/data as in struct element.
 */
void sync_on_endpoint_change(struct sync *sync, void (*fn)(const struct element *element, bool removed, void *arg), void *arg);

#endif
