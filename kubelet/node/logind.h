/* SPDX-License-Identifier: Apache-2.0 */
/*
 * logind's delay lock: the machine's shutdown waits until we have let go, and we are told when it begins
 * (org.freedesktop.login1(5): Inhibit, PrepareForShutdown, InhibitDelayMaxUSec).
 */
#ifndef CORACLE_KUBELET_NODE_LOGIND_H
#define CORACLE_KUBELET_NODE_LOGIND_H

#include "common/base/base.h"
#include "common/base/error.h"

struct logind_options {
	int64_t delay_ns;     /* how long the shutdown must be able to wait; logind's own limit is raised to it */
	const char *conf_dir; /* where that is written */
	int retry_ms;         /* after which what could not be had is asked for again */
	/* On our thread, while the lock is held: true, the machine shuts down; when it returns the lock is let go. False: it does not after all. */
	void (*on_prepare)(bool shuts_down, void *arg);
	void *arg;
};

struct logind;
/* Starts the thread; it asks again for what it could not get. -ENOSYS where there is no libsystemd. */
int logind_start(const struct logind_options *options, struct logind **ret, struct error *err);
/* Lets go and joins; waits for an on_prepare that runs. Takes NULL. */
void logind_stop(struct logind *logind);

#endif
