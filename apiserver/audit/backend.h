/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What takes audit events: the log, the webhook. Kubernetes' modes: "blocking" hands an event over before the request goes on, "batch" keeps it in a queue from
 * which a thread takes many at once, and drops it where that is full; "blocking-strict" is blocking, where no request goes on whose coming cannot be told.
 */
#ifndef CORACLE_APISERVER_AUDIT_BACKEND_H
#define CORACLE_APISERVER_AUDIT_BACKEND_H

#include "common/base/buf.h"
#include "common/base/error.h"

struct audit_backend;
struct audit_backend_options {
	const char *name;      /* in metrics: log, webhook */
	bool batch, strict;
	size_t buffer_size;    /* events that wait at most; with batch */
	size_t batch_size;     /* events of one call at most; at least 1 */
	int64_t batch_wait_ns; /* how long fewer wait for more */
	size_t max_event, max_bytes; /* an event that is larger loses the objects in it, or is dropped; more of them go in several calls; 0: none is too large */
	double qps;            /* batches a second; 0: any number */
	int64_t burst;
	/* Events as JSON, without line feeds. Not 0: they are lost. From any thread where not batch, from one otherwise. */
	int (*process)(void *arg, struct bytes *const *events, size_t count);
	void *arg;
};
/* In *ret also where it fails: to be stopped. */
int audit_backend_start(const struct audit_backend_options *options, struct audit_backend **ret, struct error *err);
/* False where it is lost, and must not be. Any thread. */
bool audit_backend_tell(struct audit_backend *backend, struct bytes *event);
/* Gives away all that waits, and frees. Takes NULL. */
void audit_backend_stop(struct audit_backend *backend);

#endif
