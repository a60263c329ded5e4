/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of kubelet/certificate share. */
#ifndef CORACLE_KUBELET_CERTIFICATE_INTERNAL_H
#define CORACLE_KUBELET_CERTIFICATE_INTERNAL_H

#include "kubelet/certificate/manager.h"
#include "kubelet/certificate/store.h"

#include <pthread.h>

#define CERTIFICATE_WAIT_SECONDS (15 * 60)
#define CERTIFICATE_MAX_NAMES (KUBELET_MAX_ADDRESSES + 2)
#define CERTIFICATE_FIRST_RETRY_MS 2000
#define CERTIFICATE_LAST_RETRY_MS 32000

enum { USE_CLIENT, USE_SERVING, USES };

struct certificates;
struct renewal {
	struct certificates *owner;
	const char *prefix, *signer;
	const char *names[CERTIFICATE_MAX_NAMES]; /* NULL ended; borrowed */
	struct pair pair;                         /* none yet: empty; the thread's, once it runs */
	bool given;                               /* not out of the store: to be replaced at once */
	_Atomic int64_t not_after;                /* 0: none; for metrics */
	bool runs;
	pthread_t thread;
};

struct certificates {
	struct kubelet *kubelet;
	int stop_fd;
	struct renewal renewals[USES];
	bool boots;
	pthread_t boot;
};

/* Until *ms has passed (which is doubled then, to its bound), or the kubelet ends: true. */
bool certificates_pause(const struct certificates *certificates, int *ms);

/* Whether the file holds a client's certificate and all of it is valid now. Says in the log what is wrong. */
bool bootstrap_is_needed(const struct kubelet_options *options);
void *bootstrap_run(void *certificates);

void certificate_metrics_open(struct certificates *certificates);
void certificate_metrics_failed(size_t use);
/* The one before has lived so long. */
void certificate_metrics_renewed(size_t use, int64_t seconds);

#endif
