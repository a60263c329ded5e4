/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the scheduler knows: nodes as columns (one array of int64 for each resource), and the pods on them. Kept up to date by informers and by
 * assumptions: a pod that was given a node counts there at once, though the API server has not said so yet.
 *
 * Not thread safe: whoever calls holds the scheduler's lock.
 */
#ifndef CORACLE_SCHEDULER_CLUSTER_H
#define CORACLE_SCHEDULER_CLUSTER_H

#include "common/base/list.h"
#include "common/base/map.h"

#include "api/core_v1.h"

#define NO_NODE UINT32_MAX

/* Resources are numbered; the first are the same everywhere. cpu in thousandths, all else in units. */
enum { RESOURCE_CPU, RESOURCE_MEMORY, RESOURCE_EPHEMERAL, RESOURCE_PODS, RESOURCE_FIRST_EXTENDED };
#define RESOURCES_MAX 256

struct resource_request {
	uint16_t id;
	int64_t amount;
};

struct host_port {
	const char *protocol, *ip;
	int32_t port;
};

/* What counts of a pod, computed once. Pods on nodes that are alike, as those of one ReplicaSet are, share it. */
struct pod_facts {
	struct core_v1_pod *pod; /* a reference; of a shared one a copy that holds namespace, labels, owners and what the pod asks for, and no more */
	struct arena *arena;     /* what follows lives here */
	uint64_t hash;           /* of a shared one */
	size_t users;            /* pods on nodes that share it; 0: it is its maker's alone */
	const char *owner_uid;   /* of its controller; NULL: none */
	int32_t priority;
	struct resource_request *requests;
	size_t request_count;
	int64_t score_cpu, score_memory; /* requests, or what a pod without any is taken for (100m, 200 MB) */
	struct host_port *ports;
	size_t port_count;
	bool has_affinity, has_anti_affinity; /* required terms between pods */
};

/* A pod that has a node. */
struct pod_info {
	struct pod_facts *facts; /* shared */
	char *key;               /* ns/name */
	uint32_t node;           /* NO_NODE: the node it has is not known (yet, or any more) */
	char *node_name;         /* that node's name; NULL where the node is known */
	bool assumed;
	bool going; /* it is being deleted */
	struct list on_node;  /* node's pods */
	struct list of_owner; /* pods of the same controller */
	struct list anti;     /* pods with required anti-affinity, while on a node */
};

struct node_row {
	struct core_v1_node *node; /* a reference; NULL: a free row */
	struct list pods;
	size_t pod_count;
};

struct resource_column {
	char *name;
	int64_t *allocatable, *requested; /* by node */
};

struct cluster {
	struct node_row *rows;
	uint32_t row_count, row_cap; /* rows below row_count may be free */
	uint32_t node_count;
	struct resource_column columns[RESOURCES_MAX];
	uint16_t column_count;
	int64_t *score_cpu, *score_memory; /* requested for scoring, by node */
	int64_t *zones;     /* number of the node's zone, by node; 0: it names none */
	struct map zone_numbers; /* zone -> its number */
	struct map by_name; /* node name -> row + 1 */
	struct map pods;    /* key -> struct pod_info */
	struct map facts;   /* hash in hexadecimal -> struct pod_facts that are shared */
	struct map owners;  /* controller uid -> struct owner_pods */
	struct list anti_affine;
	struct map namespaces; /* name -> struct core_v1_namespace reference */
};

struct owner_pods {
	struct list pods;
	/* Once it has many: how many of them stand on each node, so that nobody has to count. NULL before. */
	uint32_t *by_row, row_cap;
	size_t count;
};
#define OWNER_COUNTED_FROM 64

void cluster_init(struct cluster *cluster);
void cluster_done(struct cluster *cluster);

/* Adds or replaces. Takes its own reference. */
void cluster_set_node(struct cluster *cluster, struct core_v1_node *node);
/* Pods on it are kept, uncounted, until they go or the node comes back. */
void cluster_remove_node(struct cluster *cluster, const char *name);
uint32_t cluster_find_node(const struct cluster *cluster, const char *name);
/* The number of a resource by name, made on first use; RESOURCES_MAX where there are too many. */
uint16_t cluster_resource_id(struct cluster *cluster, const char *name);

/* Computes what is needed of a pod that looks for a node. Takes its own reference. */
struct pod_facts *pod_facts_new(struct cluster *cluster, struct core_v1_pod *pod);
void pod_facts_free(struct pod_facts *facts);
/* Counts the pod on a node, in place of what was counted under its key. Returns whether it counts for anything else than it did. */
bool cluster_add_pod(struct cluster *cluster, const struct core_v1_pod *pod, const char *node_name, bool assumed);
void cluster_remove_pod(struct cluster *cluster, const char *key);
struct pod_info *cluster_find_pod(const struct cluster *cluster, const char *key);
const struct core_v1_namespace *cluster_namespace(const struct cluster *cluster, const char *name);
void cluster_set_namespace(struct cluster *cluster, const char *name, struct core_v1_namespace *ns);

/* for (row = 0; row < cluster->row_count; row++) if (cluster->rows[row].node) ... */
#define cluster_each_row(row, cluster)                               \
	for (uint32_t row = 0; row < (cluster)->row_count; row++)      \
		if ((cluster)->rows[row].node)

#endif
