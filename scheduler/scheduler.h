/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scheduler: informers feed the cluster's picture and the queue; one thread tries pods one after the other; a few threads carry out what was
 * decided (bindings, conditions, events), so that a decision never waits for the API server.
 */
#ifndef CORACLE_SCHEDULER_SCHEDULER_H
#define CORACLE_SCHEDULER_SCHEDULER_H

#include "common/client/client.h"

struct scheduler;
struct scheduler_options {
	const char *name;   /* pods with this spec.schedulerName are ours */
	unsigned binders;   /* threads that write */
};
struct scheduler *scheduler_new(struct client *client, const struct scheduler_options *options);
/* Starts informers and threads; returns once the caches are filled, or false where cancel_fd became readable first. */
bool scheduler_start(struct scheduler *scheduler, int cancel_fd);
/* Joins all threads. */
void scheduler_stop(struct scheduler *scheduler);
void scheduler_free(struct scheduler *scheduler);

#endif
