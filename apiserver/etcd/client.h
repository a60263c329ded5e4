/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client of etcd: one connection to one of several endpoints, made again by itself with the next endpoint and growing
 * pauses, for ever. Calls may be started from any thread; all callbacks run on the client's own thread, which runs a loop that its
 * owner may use for timers too.
 */
#ifndef CORACLE_APISERVER_ETCD_CLIENT_H
#define CORACLE_APISERVER_ETCD_CLIENT_H

#include "apiserver/etcd/message.h"
#include "common/base/loop.h"

#define ETCD_RANGE "/etcdserverpb.KV/Range"
#define ETCD_TXN "/etcdserverpb.KV/Txn"
#define ETCD_COMPACT "/etcdserverpb.KV/Compact"
#define ETCD_LEASE_GRANT "/etcdserverpb.Lease/LeaseGrant"
#define ETCD_LEASE_KEEPALIVE "/etcdserverpb.Lease/LeaseKeepAlive" /* a stream of which one call takes one answer */
#define ETCD_LEASE_REVOKE "/etcdserverpb.Lease/LeaseRevoke"
#define ETCD_STATUS "/etcdserverpb.Maintenance/Status"

/* Calls that may wait or be in flight at once; etcd_call() refuses further ones with -EBUSY. */
#define ETCD_MAX_CALLS 16384

struct etcd_client;
struct etcd_client_options {
	const char *const *endpoints; /* NULL terminated; copied */
	const char *ca_file, *cert_file, *key_file; /* for https */
};
/* Starts the thread and begins to connect; does not wait for it. -EINVAL where an endpoint or a file is not usable. */
int etcd_client_new(const struct etcd_client_options *options, struct etcd_client **ret, struct error *err);
/* Ends all calls with -ECANCELED (on this thread) once the client's own has stopped; no callback comes afterwards. Not from the client's thread. Takes NULL. */
void etcd_client_free(struct etcd_client *client);
struct loop *etcd_client_loop(struct etcd_client *client);
/* True on the client's thread. */
bool etcd_client_is_current(const struct etcd_client *client);
/* True while connected and answering. Any thread. */
bool etcd_client_healthy(struct etcd_client *client, struct error *err);
/* Whether this etcd answers a progress request only after the events before it (from 3.4.25, 3.5.8 and 3.6). The client's thread. */
bool etcd_client_progress_reliable(const struct etcd_client *client);
/* "3.5.9", or "" before the first connection. The client's thread. */
const char *etcd_client_version(const struct etcd_client *client);

/*
 * errnum: 0 with the answer, valid within the call; or -ESTALE (compacted), -EFBIG (request too large), -ENOSPC, -ENOENT (lease), -EACCES,
 * -EINVAL, -EMSGSIZE (answer too large), -ETIMEDOUT (outcome unknown), -EIO (etcd is away; outcome unknown), -ECANCELED. `text` is etcd's own, or ours.
 */
typedef void (*etcd_done)(int errnum, const char *text, const void *data, size_t len, void *arg);
struct etcd_call_options {
	const char *method;
	int timeout_ms;
	bool idempotent; /* sent again where the connection breaks */
};
/* Takes the message over (begun and ended), whatever comes of it. Waits for a connection within the timeout. -EBUSY: `done` is not called. Any thread. */
int etcd_call(struct etcd_client *client, const struct etcd_call_options *options, struct buf *take_message, etcd_done done, void *arg);

/* ---- watch ---- */

struct etcd_watch;
struct etcd_watch_events {
	/* Events in order, or none: then all up to response->revision were delivered. May repeat events after a reconnection. */
	void (*events)(const struct etcd_watch_response *response, void *arg);
	/* History before this revision is gone; the watch is at its end: free it. */
	void (*compacted)(int64_t compact_revision, void *arg);
	/* etcd has confirmed it, or it is interrupted. */
	void (*live)(bool live, void *arg);
};
/* Watches [key, end) from a revision on, over reconnections. Keys are copied. The client's thread, as for all below. */
struct etcd_watch *etcd_watch_new(struct etcd_client *client, struct etcd_slice key, struct etcd_slice end, int64_t start_revision, const struct etcd_watch_events *events, void *arg);
/* Takes NULL. Safe inside its callbacks. */
void etcd_watch_free(struct etcd_watch *watch);
/* Asks for events() without events, where etcd_client_progress_reliable(). */
void etcd_watch_request_progress(struct etcd_watch *watch);

#endif
