/* SPDX-License-Identifier: Apache-2.0 */
/* rest_client_*: what a daemon asks of others over HTTP, under the names that client-go gives it. */
#ifndef CORACLE_CLIENT_MEASURE_H
#define CORACLE_CLIENT_MEASURE_H

#include <stddef.h>
#include <stdint.h>

struct client_measure {
	const char *url;    /* of the server or of all: its host and port are told */
	const char *method;
	int status;         /* 0: there was no answer, which is counted as "<error>" */
	int64_t took_ns;    /* -1: not told */
	uint64_t sent, received; /* bytes of the bodies */
};
/* One request that has ended. Any thread. */
void client_measure(const struct client_measure *m);

#endif
