/* SPDX-License-Identifier: Apache-2.0 */
/* /healthz, /livez, /readyz and /metrics as answers of any server: the daemons' own (daemon.h), the kubelet's. */
#ifndef CORACLE_DAEMON_HEALTH_H
#define CORACLE_DAEMON_HEALTH_H

#include "common/http/http.h"

struct health;

enum { HEALTH_HEALTHZ = 1, HEALTH_LIVEZ = 2, HEALTH_READYZ = 4, HEALTH_ALL = 7 };

struct health_check {
	const char *name;
	unsigned in;  /* HEALTH_*, or'ed */
	/* Returns false, with an error, where it does not hold. Runs on an I/O thread: must not block. The error is logged at --v=2, never shown. */
	bool (*fn)(void *arg, struct error *err);
	void *arg;
};

/* Begins with "ping", which always passes. Thread safe. */
struct health *health_new(void);
/* Names are borrowed. */
void health_add(struct health *health, const struct health_check *check);
void health_free(struct health *health);
/* True where all checks of these endpoints (HEALTH_*) pass. */
bool health_passes(struct health *health, unsigned in);
/* Answers /healthz, /livez, /readyz, /<endpoint>/<check>, with ?verbose and ?exclude=; false, the request untouched, where the path is another. */
bool health_answer(struct health *health, struct http_request *req);
/* Answers with all metrics in text format. */
void metrics_answer(struct http_request *req);

#endif
