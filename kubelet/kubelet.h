/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parts of the kubelet, as they know each other. Made in main.c's order, read only afterwards: what changes lies inside the parts,
 * each with a lock of its own.
 */
#ifndef CORACLE_KUBELET_KUBELET_H
#define CORACLE_KUBELET_KUBELET_H

#include "api/core_v1.h"
#include "common/client/events.h"
#include "common/client/informer.h"
#include "kubelet/objects/object_source.h"
#include "kubelet/options.h"
#include "kubelet/runtime/runtime.h"

#define KUBELET_MAX_ADDRESSES 2 /* one of each family */
/* Of threads that come and go. The C library keeps 40 MB of stacks for those to come, and of each its last pages stay resident: so few large ones, whose size costs nothing. */
#define KUBELET_THREAD_STACK (4 << 20)

struct pod_manager;
struct status_manager;
struct probe_manager;
struct token_cache;
struct node_agent;
struct eviction;
struct logind;
struct device_manager;
struct resource_managers;
struct certificates;

/* What becomes of the process once it has ended in order. */
enum turn { TURN_NONE, TURN_AGAIN /* begins anew */, TURN_FAILED };

struct kubelet {
	struct kubelet_options options;
	char *node_name;
	char *node_ips[KUBELET_MAX_ADDRESSES];
	size_t node_ip_count;
	int64_t memory_capacity; /* bytes */
	int64_t started;         /* monotonic */

	int silent_sources;      /* of pods; atomic */
	bool shutting_down;      /* the machine does; atomic */
	int64_t burstable_shares; /* cpu shares that the burstable pods' group has; atomic */

	struct certificates *certificates;
	int turn_fd;           /* readable: it is time for `turn`, which is atomic */
	enum turn turn;

	struct client *client; /* NULL in standalone mode, as are informers and recorder */
	struct informer_set *informers;
	struct informer *pod_informer, *node_informer, *service_informer;
	struct client *event_client; /* with a rate of its own */
	struct event_recorder *recorder;

	struct image_store *images;
	struct credential_providers *credentials; /* of registries; NULL: no plugins */
	struct network *network;
	struct cgroup_tree *cgroups;
	struct runtime *runtime;

	struct object_source *objects;
	struct token_cache *tokens;
	struct pod_manager *pods;
	struct status_manager *status;
	struct probe_manager *probes;
	struct rates *rates; /* of the API server of this node */
	struct eviction *eviction;
	struct device_manager *devices;
	struct resource_managers *managers;
	struct node_agent *node;
	struct logind *logind; /* NULL where the machine's shutdown is not waited for */
};

/* An event about an object, where there is an API to tell; logged otherwise. field_path and fmt as event_record's. */
void kubelet_event(struct kubelet *kubelet, const void *object, const char *field_path, const char *type, const char *reason, const char *fmt, ...) printf_like(6, 7);

/* Ends the kubelet; pods run on. Thread safe. */
void kubelet_turn(struct kubelet *kubelet, enum turn turn);

#endif
