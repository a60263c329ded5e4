/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hollow nodes: one process that answers the API as up to a thousand kubelets would, and runs nothing. Nodes are registered, their
 * leases renewed, and what a kubelet would write of each pod bound to them is written; nothing listens on their ports.
 *
 * What a pod's status should be is a pure function of the pod and of how long it "runs" (status.h), so nothing is kept of a pod but a
 * few words. One watch serves all nodes.
 */
#ifndef CORACLE_TEST_HOLLOW_HOLLOW_H
#define CORACLE_TEST_HOLLOW_HOLLOW_H

#include "common/base/flags.h"
#include "common/client/client.h"
#include "common/daemon/daemon.h"

#include "api/core_v1.h"

struct hollow_options {
	struct daemon_options common;
	char *kubeconfig;
	int64_t node_count;
	char *node_prefix;
	char *cpu, *memory, *pods, *storage; /* what each node offers, as quantities */
	int64_t zones;                       /* nodes are spread over so many; 0: no zone label */
	int64_t lease_interval_ns, heartbeat_interval_ns;
	int64_t silent_nodes, silent_after_ns; /* the first so many nodes fall silent then */
	int64_t workers;
	int64_t start_delay_ns, stop_delay_ns;
	int64_t failure_percent;   /* of pods with an end: those whose first attempt fails */
	struct flag_list missing_images; /* images whose name holds one of these cannot be pulled */
	bool brief_stop;           /* no last status before a pod goes that no finalizer holds */
};

struct hollow_node {
	char *name;
	char address[16];
	uint32_t index;
	bool registered;
	bool heard;                   /* the heartbeat below was written once */
	int64_t heartbeat_ns;         /* of the last one */
	int64_t renewed_ns;           /* its lease, last */
	uint64_t addresses_taken[4];  /* bits of the node's 256 pod addresses */
};

struct hollow;
struct nodes;
struct pods;

/* Registers all nodes, then renews their leases until nodes_free. Returns 0 once all are registered. */
int nodes_start(struct client *client, const struct hollow_options *options, int cancel_fd, struct nodes **ret, struct error *err);
void nodes_free(struct nodes *nodes);
/* NULL where the node is not ours. */
struct hollow_node *nodes_find(struct nodes *nodes, const char *name);

/* Follows pods until pods_free. */
struct pods *pods_start(struct client *client, const struct hollow_options *options, struct nodes *nodes);
void pods_free(struct pods *pods);

#endif
