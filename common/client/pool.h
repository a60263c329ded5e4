/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Handles of libcurl with their kept-alive connections. Clients that talk to the same servers as the same TLS peer share one
 * pool, whatever they say of themselves in a request: a process with an account for each of forty controllers keeps no more
 * connections than with one.
 */
#ifndef CORACLE_CLIENT_POOL_H
#define CORACLE_CLIENT_POOL_H

#include "common/client/client.h"

#include <curl/curl.h>

#define POOL_MAX_IDLE 32 /* handles kept */
#define POOL_IDLE_S 30   /* and for how long */

struct pool;
/* The pool for the config: one that there is, or a new one. */
int pool_get(const struct client_config *config, struct pool **ret, struct error *err);
struct pool *pool_ref(struct pool *pool);
void pool_put(struct pool *pool);

/*
 * A transfer is driven by a multi handle of its own, which holds the connections: libcurl's hidden one would keep those of a
 * list open all the while a watch runs on another.
 */
struct pool_handle {
	CURL *curl;
	CURLM *multi;
};
/* A handle that no one else has: a kept one, or a new one. */
struct pool_handle pool_take(struct pool *pool);
/* Reset, and kept where there is room. curl is in no multi then. */
void pool_give_back(struct pool *pool, struct pool_handle handle);
/* How many are kept now. */
size_t pool_idle(struct pool *pool);

/*
 * Closes what any pool of this process has kept for POOL_IDLE_S until `now` (of the monotonic clock). Cheap where there is
 * nothing to do: called with each request and by watches as they wait, so that no thread has to.
 */
void pools_tidy(int64_t now);

/* The TLS peer's files by descriptor, -1 where there is none: this flavour of libcurl takes PEM only by path. */
struct pool_files {
	int ca, cert, key;
};
const struct pool_files *pool_files(const struct pool *pool);

#endif
