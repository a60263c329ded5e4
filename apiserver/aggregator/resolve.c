/* SPDX-License-Identifier: Apache-2.0 */
/* The resolver of the C library waits where it likes: a thread of its own calls it, and whoever asked may give it up. */
#include "apiserver/aggregator/internal.h"
#include "common/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>

#define LOOK_NS (20 * NSEC_PER_MSEC)
#define TIMEOUT_NS (5 * NSEC_PER_SEC)

struct lookup {
	unsigned refs; /* atomic: who asks, and the thread */
	bool done;     /* atomic */
	int failure;   /* EAI_* */
	char address[MAX_ADDRESS];
	char name[];
};

static void lookup_unref(struct lookup *l) {
	if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) == 0)
		free(l);
}

static void *look_up(void *arg) {
	struct lookup *l = arg;
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *all = NULL;
	l->failure = getaddrinfo(l->name, NULL, &hints, &all);
	for (struct addrinfo *at = all; at; at = at->ai_next) {
		bool four = at->ai_family == AF_INET;
		if ((four || (at->ai_family == AF_INET6 && !*l->address)) && getnameinfo(at->ai_addr, at->ai_addrlen, l->address, sizeof(l->address), NULL, 0, NI_NUMERICHOST) == 0 && four)
			break;
	}
	if (all)
		freeaddrinfo(all);
	__atomic_store_n(&l->done, true, __ATOMIC_RELEASE);
	lookup_unref(l);
	return NULL;
}

int resolve_name(struct worker *worker, const char *name, char ret[static MAX_ADDRESS], struct error *err) {
	struct lookup *l = xcalloc(1, sizeof(*l) + strlen(name) + 1);
	pthread_t thread;
	l->refs = 2;
	memcpy(l->name, name, strlen(name));
	if (pthread_create(&thread, NULL, look_up, l) != 0) {
		free(l);
		return error_set(err, EAGAIN, "lookup %s: no thread", name);
	}
	pthread_detach(thread);
	/* A wake-up is for the worker's own loop: it comes back to that soon. */
	int64_t end = clock_monotonic_ns() + TIMEOUT_NS;
	while (!__atomic_load_n(&l->done, __ATOMIC_ACQUIRE) && clock_monotonic_ns() < end && worker_sleep(worker, LOOK_NS))
		;
	int rc = 0;
	if (!__atomic_load_n(&l->done, __ATOMIC_ACQUIRE))
		rc = error_set(err, ETIMEDOUT, "dial tcp: lookup %s: i/o timeout", name);
	else if (l->failure || !*l->address)
		rc = error_set(err, ENOENT, "dial tcp: lookup %s: no such host", name);
	else
		memcpy(ret, l->address, MAX_ADDRESS);
	lookup_unref(l);
	return rc;
}
