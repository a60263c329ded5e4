/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One pod of this node, as its worker sees it. Internal to kubelet/pod.
 *
 * What a worker alone touches needs no lock. What others touch too (object, asked for removal, what wakes it) is under `lock`.
 */
#ifndef CORACLE_KUBELET_POD_H
#define CORACLE_KUBELET_POD_H

#include "common/base/clock.h"
#include "common/base/map.h"
#include "kubelet/container/build.h"
#include "kubelet/pod/manager.h"

#include <pthread.h>

/* A container of the spec: of all three lists, with what the worker remembers of it. */
enum slot_kind { SLOT_INIT, SLOT_SIDECAR, SLOT_MAIN, SLOT_EPHEMERAL };
/* Between pulls that fail. */
struct pull_wait {
	char *image; /* whose pull failed last */
	int64_t backoff_ns, next; /* monotonic: no pull before */
	char *error;
};

struct slot {
	char *name;
	enum slot_kind kind;
	const struct core_v1_container *spec; /* into the object of this sync */
	const struct container_status *now;   /* newest instance in the current sandbox; into the view of this sync; NULL: none */
	const struct container_status *last;  /* the instance before it */

	int64_t backoff_ns;        /* wait before the next restart; 0: none yet */
	int64_t backoff_since;     /* monotonic, of the exit it counts from */
	char *ended_for;           /* id of the instance that `ended_at` (monotonic) is of */
	int64_t ended_at;
	char *backoff_for;         /* id of the instance it was last raised for */
	struct pull_wait pull, volume_pull; /* of its image; of the images that it mounts */
	char *waiting_reason, *waiting_message; /* why it does not run; NULL: nothing to say */
	char *image_id;
	char *resized_for; /* id of the instance that has `resources` */
	struct cgroup_resources resources;
	struct core_v1_pod *actual_of; /* its requirements there are what it has; NULL: what it is given now */
	bool restarts_now; /* was ended to start anew, whatever the policy and without back-off */
};
void slot_wait(struct slot *slot, const char *reason, const char *message);

enum pod_stage {
	POD_NEW,        /* not admitted yet */
	POD_SYNCING,
	POD_ENDING,     /* its containers are being stopped */
	POD_ENDED,      /* nothing runs; what it had is cleaned; logs stay */
	POD_FORGOTTEN,
};

struct pod {
	struct pod_manager *manager;
	struct kubelet *kubelet;
	char *uid, *ns, *name;
	char *source; /* api, file, http */

	pthread_mutex_t lock;
	pthread_cond_t changed;  /* anything below, or an exit */
	struct core_v1_pod *object;
	bool removed;            /* by its source */
	struct core_v1_pod *successor; /* its source has it again: what is made once this one is forgotten (a static pod's uid follows from its text) */
	bool working, pending;   /* a thread runs; it is to look again */
	int cancel_fd;           /* eventfd: readable once the pod is to end, so that a pull gives up */
	int64_t wake_at;         /* monotonic; 0: never */
	uint64_t events;         /* grows with each event, so that none is missed between a look and a wait */
	const struct core_v1_pod_status *status; /* last one made, in `told`, which the status manager shares */
	struct core_v1_pod *told;
	char *_Atomic evict_reason; /* why the kubelet ends it; NULL: it does not. Set once, after what follows it */
	char *evict_message;
	char *evict_disruption;  /* what the condition DisruptionTarget says; NULL: it has none */
	int64_t evict_grace;     /* seconds; < 0: the pod's own */
	struct core_v1_pod *allocated, *given_before; /* resize.c */
	char *resize_reason, *resize_message; /* why it was not given what it asks for */
	bool resizing;           /* was given something else, and may not have it yet */

	/* the worker's own */
	_Atomic enum pod_stage stage; /* set by the worker alone */
	_Atomic bool admitted, adopted_by_restart;
	struct slot *slots;
	size_t slot_count;
	struct map volume_paths;
	bool dirs_made;
	char *ips[NETWORK_MAX_IPS];
	size_t ip_count;
	struct {
		char *told;        /* what failed, as it was told last; NULL: nothing does */
		int64_t told_at, told_wait; /* monotonic; the same is told again after the wait */
		int64_t waits_since;        /* that it has waited for volumes, or said so; 0: it does not */
	} mounts;
	int64_t retry_ns;        /* back-off of what failed last; 0: nothing did */
	bool end_told;
	bool restarting_all;
	int64_t seen_at;         /* monotonic; 0: its start is counted, or was not this kubelet's */
	char *end_phase;         /* set once the pod is over: Failed or Succeeded */
	bool cleaned;
	struct cgroup_resources cgroup_told; /* of the pod's own cgroup */
	struct core_v1_pod *actual_of; /* as in struct slot, of the pod as a whole */
	char *resize_error, *resize_told;
};

/* What the runtime holds of the pod, newest first. */
struct pod_view {
	struct sandbox_status **sandboxes;
	size_t sandbox_count;
	struct container_status **containers;
	size_t container_count;
	const struct sandbox_status *sandbox; /* the newest READY one; NULL: none */
};
int pod_view_load(struct pod *pod, struct pod_view *ret, struct error *err);
void pod_view_done(struct pod_view *view);
#define autoview cleanup(pod_view_done)

/* Brings slots in line with the object and points them at the view. */
void pod_slots_update(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view);
struct slot *pod_slot(struct pod *pod, const char *name);
/* "name_ns(uid)", as messages show pods; the caller frees. */
char *pod_display(const struct pod *pod);
/* "spec.containers{x}"; the caller frees. */
char *slot_field_path(const struct slot *slot);
bool pod_restarts_after(const struct core_v1_pod *object, const struct slot *slot, int exit_code);
bool pod_restarts_all_after(const struct slot *slot, int exit_code);
/* Facts of the pod for downward API and hosts; arrays point into pod and kubelet. */
void pod_facts_get(struct pod *pod, struct pod_facts *ret);
/* Whether it is to end: deleted, removed, evicted, or over. */
bool pod_is_ending(struct pod *pod);

/* volumes.c: brings the pod's volumes into being or up to date, and tells what fails. *ret_again: nanoseconds until it wants to be called again; 0: no wish. */
int pod_set_volumes(struct pod *pod, const struct core_v1_pod *object, int64_t *ret_again);
/* sync.c: one look at the pod. Gives the monotonic time of the next look, 0 for none. */
int64_t pod_sync(struct pod *pod);

/*
 * restart_all.c: where a container ended under a RestartAllContainers rule, ends all others at once and counts what ran as the run before:
 * the pod then starts anew in its sandbox, init containers first. True where it did; the view is to be loaded again.
 */
bool pod_restart_all(struct pod *pod, struct core_v1_pod *object, const struct pod_view *view);
bool pod_may_restart_all(const struct core_v1_pod *object);

/* start.c: starts one container, blocking. Sets slot's waiting reason where it fails. */
int pod_start_container(struct pod *pod, struct core_v1_pod *object, struct slot *slot, const struct pod_view *view);

/*
 * image.c: the container's image, its ID in slot->image_id, and then those of the image volumes that it mounts; -EAGAIN with slot's waiting
 * reason set otherwise.
 */
int pod_ensure_images(struct pod *pod, struct core_v1_pod *object, struct slot *slot);
/* When a pull that failed may be tried again, monotonic; 0: none failed. */
int64_t slot_pull_next(const struct slot *slot);

/* The rate of pulls from registries, of all pods together; starts as {0}, the caller locks. */
struct image_rate {
	bool began;
	double saved;
	int64_t at;
};
int64_t image_rate_wait_ns(struct image_rate *rate, int64_t qps, int64_t burst, int64_t now);

/* kill.c: preStop, stop signal, SIGKILL. grace < 0: the pod's own, which may shrink meanwhile. message: of the Killing event. */
void pod_kill_container(struct pod *pod, struct core_v1_pod *object, const struct container_status *status, int64_t grace, const char *message);
/* All that run, sidecars last in reverse order. */
void pod_kill_all(struct pod *pod, struct core_v1_pod *object, const struct pod_view *view);
/* Seconds a pod that ends is given. */
int64_t pod_grace_seconds(struct pod *pod);

/* manager.c: waits until something happened since `events` was read, or until `deadline` (monotonic). False past it. */
uint64_t pod_events(struct pod *pod);
bool pod_wait_event(struct pod *pod, uint64_t events, int64_t deadline);

/* hooks.c: 0, or negative with the message of the event. deadline_ms of the whole. */
int pod_run_hook(struct pod *pod, const struct core_v1_container *container, const struct core_v1_lifecycle_handler *handler, const char *container_id, int64_t deadline_ms, struct error *err);

/* admission.c: -EPERM with the error's reason and message where the pod cannot run on this node. */
int pod_admit(struct pod *pod, const struct core_v1_pod *object, struct error *err);

/* status.c: makes the status of this moment, keeps it in the pod and hands it to the status manager. */
void pod_status_update(struct pod *pod, const struct core_v1_pod *object, const struct pod_view *view);
const char *pod_phase(const struct core_v1_pod *object, const struct core_v1_pod_status *status, bool is_over);

/* manager.c */
bool pod_manager_knows(struct pod_manager *manager, const char *uid);
/* Whether what no source knows was looked for once, after all had spoken: from then on, who is not known is an orphan. */
void pod_manager_set_ready(struct pod_manager *manager);
bool pod_manager_is_ready(struct pod_manager *manager);
struct kubelet *pod_manager_kubelet(struct pod_manager *manager);
/* Around what a thread of its own does with the manager, so that nobody frees it meanwhile. */
void pod_manager_work_begin(struct pod_manager *manager);
void pod_manager_work_end(struct pod_manager *manager);
void pod_free(struct pod *pod);
/* Calls fn for every pod that is admitted and not over, with the object whose resources it was given; under the manager's and the pod's lock. */
void pod_manager_each_active(struct pod_manager *manager, void (*fn)(struct pod *pod, const struct core_v1_pod *given, void *arg), void *arg);
pthread_mutex_t *pod_manager_admission_lock(struct pod_manager *manager);
/* Bounds how many containers are set up at once. */
void pod_manager_start_begin(struct pod_manager *manager);
void pod_manager_start_end(struct pod_manager *manager);

#endif
