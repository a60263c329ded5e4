/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A thread of the server's own that may wait: for its writes, for the cache, for a time. What no request's thread may do. Whatever waits
 * ends at once with -ECANCELED when the worker is stopped.
 */
#ifndef CORACLE_APISERVER_WORKER_H
#define CORACLE_APISERVER_WORKER_H

#include "apiserver/apiserver.h"

struct worker;
/* Runs `run` on a thread; it returns when its work is done or a wait has told it to end. NULL where there is no thread to be had. */
struct worker *worker_start(struct apiserver *server, void (*run)(struct worker *worker, void *arg), void *arg);
/* Ends its waits, joins, frees. Takes NULL. */
void worker_stop(struct worker *worker);
/* Until it has ended by itself. False where that took longer. */
bool worker_join(struct worker *worker, int64_t timeout_ns);
struct apiserver *worker_server(const struct worker *worker);
bool worker_stopping(struct worker *worker);

/* Until the time has passed or worker_wake() was called since the last sleep. False where it is to end. */
bool worker_sleep(struct worker *worker, int64_t ns);
/* Any thread. */
void worker_wake(struct worker *worker);
/* Until the cache is as fresh as etcd is now. 0 or a negative errno. */
int worker_fresh(struct worker *worker);

/* As collection_put() and collection_delete(), which see; they return the errnum. */
int worker_put(struct worker *worker, struct collection *collection, const char *key, const char *value, size_t len, uint64_t expected, int64_t lease_seconds);
int worker_delete(struct worker *worker, struct collection *collection, const char *key, uint64_t expected);

/* ---- whole objects ---- */

/* Stores the object as it is; expected as for collection_put(). */
int worker_put_object(struct worker *worker, const struct resource *resource, void *object, uint64_t expected);
/* Gives a new object its manager, uid, time and generation, and what its strategy prepares. */
/* Notes in the object's metadata that this manager wrote these fields of its status (fieldsV1, which must outlive the object); where it owns some already, nothing. */
void worker_own_status(void *object, const char *manager, const char *operation, const char *api_version, const char *fields);
void worker_fill(const struct resource *resource, void *object);
/* The Status of an etcd that a deletion or update must meet: the object's resourceVersion as a number. */
uint64_t worker_revision(const void *object);
/* An Event of this server's, about `object`, that goes away by itself; a failure is logged. */
void worker_event(struct worker *worker, const void *object, const char *component, const char *type, const char *reason, const char *action, const char *fmt, ...) printf_like(7, 8);

#endif
