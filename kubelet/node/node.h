/* SPDX-License-Identifier: Apache-2.0 */
/* The node's object: made at the start, its status and lease kept up; what others write in it stays. */
#ifndef CORACLE_KUBELET_NODE_H
#define CORACLE_KUBELET_NODE_H

#include "kubelet/kubelet.h"

#define KUBELET_VERSION "v1.36.0"

/* Makes or completes the Node, starts the thread. In standalone mode it only gives the network its addresses. */
struct node_agent *node_agent_start(struct kubelet *kubelet);
/* Joins. Takes NULL. */
void node_agent_stop(struct node_agent *agent);
/* Looks at the node's state now. Thread safe. */
void node_agent_wake(struct node_agent *agent);

/* info.c: facts of the machine, into the node's arena. */
void node_info_system(struct kubelet *kubelet, struct arena *arena, struct core_v1_node_system_info *ret);
void node_info_capacity(struct kubelet *kubelet, struct arena *arena, struct api_quantity_map *ret);
/* Capacity less what is reserved and the hard eviction threshold of memory. */
void node_info_allocatable(struct kubelet *kubelet, const struct api_quantity_map *capacity, struct arena *arena, struct api_quantity_map *ret);
/* Capacity less what is reserved: what all pods together may use. */
void node_info_reserved(struct kubelet *kubelet, const struct api_quantity_map *capacity, struct arena *arena, struct api_quantity_map *ret);
void node_info_images(struct kubelet *kubelet, struct arena *arena, struct core_v1_container_image_array *ret);
/* Bytes of memory the machine has. */
int64_t node_info_memory(void);
/* Bytes of swap it has. */
int64_t node_info_swap(void);
/* Processes that the kernel allows at once. */
int64_t node_info_max_pids(void);

/* Whether a file like /proc/swaps names an area of swap, of whatever kind. */
bool node_machine_swaps(const char *path);
/* machine.c: refuses a machine that is not as the options want it; then this process's bounds and its place in the order of who is ended for memory. */
int node_machine_prepare(const struct kubelet_options *options, int cgroup_version, struct error *err);

/* allocatable.c: limits of the groups that hold all pods, and the shares of the burstable ones among them. */
void node_allocatable_enforce(struct kubelet *kubelet);
void node_qos_update(struct kubelet *kubelet);

/* shutdown.c */
/* Whether pods are to be ended before this process ends: the machine shuts down, and a grace period is configured. */
bool node_shutdown_due(struct kubelet *kubelet);
/* Ends all pods, those of low priority first, each group within its time; tells the API. Blocks. */
void node_shutdown(struct kubelet *kubelet);
/* Has logind wait for that, and begins when it tells; kubelet->logind is to be stopped before its parts are. */
void node_shutdown_watch(struct kubelet *kubelet);
/* True once that has begun: no pod is let in. Thread safe. */
bool node_shuts_down(struct kubelet *kubelet);

/* signals.c */
/* "100Mi" or "10%" of a whole; false where it is neither. */
bool node_threshold_parse(const char *text, int64_t whole, int64_t *ret);

/* storage.c: the pods whose local storage has limits; to be asked anew when pods changed. Free with informer_list_done(). */
void node_storage_limited(struct kubelet *kubelet, struct informer_list *ret);
/* Evicts those of them that take more than their limits allow. Walks their folders. */
void node_storage_enforce(struct kubelet *kubelet, const struct informer_list *limited);
/* Adds what stands in a folder, of its own file system, the folder counted. */
void node_storage_folder(const char *path, int64_t *bytes, int64_t *inodes);
/* Adds what the pod's emptyDir volumes take on disk. */
void node_storage_volumes(struct kubelet *kubelet, const struct core_v1_pod *pod, int64_t *bytes, int64_t *inodes);

/* status.c: a new node object with the status of this moment, conditions' times taken over from `old` (may be NULL). */
struct core_v1_node *node_status_make(struct kubelet *kubelet, const struct core_v1_node *old);
/* Strategic merge patch from `have` to `want`; NULL where only heartbeat times differ and `force` is not set. The caller frees. */
char *node_status_patch(const struct core_v1_node *have, const struct core_v1_node *want, bool force);

/* tell.c: Events of the Node: the start, a reboot, conditions that turned, cordoning. */
#define NODE_TOLD_CONDITIONS 4
struct node_told {
	bool is_new; /* the Node was made by this process; the caller's to set, the rest begins as zeros */
	bool started, unschedulable, conditions[NODE_TOLD_CONDITIONS];
};
/* have: as the API has it, now: as it is. Each is told once. */
void node_tell(struct kubelet *kubelet, struct node_told *told, const struct core_v1_node *have, const struct core_v1_node *now);

/* register.c: blocks until the Node is there, or stop_fd is readable. *ret_made: it was not there before. */
bool node_register(struct kubelet *kubelet, int stop_fd, bool *ret_made);
/* lease.c: one renewal. *last: the lease as it was written last, so that it need not be read first; NULL where it is not known. The caller's to unref. */
struct coordination_v1_lease;
int node_lease_renew(struct kubelet *kubelet, struct coordination_v1_lease **last, struct error *err);

#endif
