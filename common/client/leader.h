/* SPDX-License-Identifier: Apache-2.0 */
/* Leader election on a Lease of coordination.k8s.io/v1, compatible with client-go's. */
#ifndef CORACLE_CLIENT_LEADER_H
#define CORACLE_CLIENT_LEADER_H

#include "common/client/client.h"

struct leader_options {
	const char *ns, *name;      /* of the Lease */
	const char *identity;       /* NULL: hostname_uuid */
	int64_t lease_duration_ns;  /* 0: 15 s */
	int64_t renew_deadline_ns;  /* 0: 10 s */
	int64_t retry_period_ns;    /* 0: 2 s */
	bool release_on_exit;
	void (*on_started)(void *arg);           /* on the election's thread */
	void (*on_stopped)(void *arg);           /* lost, or released; the daemon then exits */
	void (*on_new_leader)(const char *identity, void *arg);
	void *arg;
};
struct leader;
struct leader *leader_start(struct client *client, const struct leader_options *options);
bool leader_is_leading(struct leader *leader);
/*
 * True while nobody else can lead: the last renewal is younger than the deadline for one. Ask before each write; and let the server ask too, by
 * client_set_fence(): between this answer and the write the process may be stopped for any time.
 */
bool leader_is_sure(struct leader *leader);
/* "namespace/name/identity", for client_set_fence(); the caller frees. */
char *leader_fence(const struct leader *leader);
/* Releases the lease where asked to, joins, frees. */
void leader_stop(struct leader *leader);

#endif
