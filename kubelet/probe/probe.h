/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Probes. A kind of check is one file that ends in one const struct probe_check, listed in table.c. The manager runs every probe
 * of every running container at its period on a small pool of threads, counts successes and failures, and tells the pod's worker when
 * a result turns. Thread safe.
 */
#ifndef CORACLE_KUBELET_PROBE_H
#define CORACLE_KUBELET_PROBE_H

#include "api/core_v1.h"
#include "kubelet/kubelet.h"

enum probe_kind { PROBE_STARTUP, PROBE_LIVENESS, PROBE_READINESS, PROBE_KINDS };
enum probe_result { PROBE_NONE, PROBE_UNKNOWN, PROBE_SUCCESS, PROBE_FAILURE };

/* One run of a check. */
struct probe_target {
	struct kubelet *kubelet;
	const struct core_v1_container *container;
	const struct core_v1_probe_handler *handler;
	const char *container_id;
	const char *pod_ip;
	int timeout_ms;
};
#define PROBE_MAX_OUTPUT 10240 /* bytes of an answer that are kept */

struct probe_check {
	const char *name;
	bool (*handles)(const struct core_v1_probe_handler *handler);
	/* PROBE_UNKNOWN where the check itself could not be made. `output` gets what it said. */
	enum probe_result (*run)(const struct probe_target *target, struct buf *output);
};
extern const struct probe_check *const probe_checks[];
extern const size_t probe_check_count;

/* Runs the handler's check once; blocks for at most its timeout. Used by lifecycle hooks too. */
enum probe_result probe_run(const struct probe_target *target, struct buf *output);
/* A port by number or by the name of one of the container's ports; 0 where there is none. */
uint16_t probe_port(const struct core_v1_container *container, const struct int_or_string *port);

struct probe_manager *probe_manager_new(struct kubelet *kubelet);
/* Takes NULL. Waits for probes that run, and begins no more. The manager may still be asked, and told of containers. Called by the one who frees it. */
void probe_manager_stop(struct probe_manager *manager);
/* Takes NULL. No worker of a pod may be left that asks it. */
void probe_manager_free(struct probe_manager *manager);
/*
 * Starts the probes of a running container, unless they run for this very instance. `pod` is referenced. was_ready, was_started:
 * what the API knew of this instance, so that a restart of the kubelet changes nothing.
 */
void probe_manager_add(struct probe_manager *manager, struct core_v1_pod *pod, const struct core_v1_container *container, const char *container_id, const char *pod_ip, struct wall_time started, bool was_ready, bool was_started);
/* container NULL: all of the pod. only_health: startup and liveness, as when a pod is being ended. */
void probe_manager_remove(struct probe_manager *manager, const char *pod_uid, const char *container, bool only_health);
/* PROBE_NONE where the container has no such probe. */
enum probe_result probe_manager_result(struct probe_manager *manager, const char *pod_uid, const char *container, const char *container_id, enum probe_kind kind);

/* prober_probe_total of the probes there are. */
void probe_manager_write_metrics(struct probe_manager *manager, struct buf *out);

#endif
