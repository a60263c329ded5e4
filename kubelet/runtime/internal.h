/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of this folder share: sandboxes and containers in memory, and the state files they are kept in.
 *
 *	<root>/sandboxes/<id>/state.json, resolv.conf, hostname
 *	<root>/containers/<id>/state.json, upper/, work/, rootfs/ (mount)
 *	<run>/sandboxes/<id>/{net,ipc,uts,user,pid} (pinned), shm/ (mount)
 *	<run>/containers/<id>/  the bundle: config.json, conmon's fifos, attach socket, pid files
 *	<run>/exits/<id>        exit code, written by conmon
 *	<run>/runc/             runc's own state
 *
 * Locks: an object's `op` (one call at a time on it), then runtime->lock (maps, and every field that may change). The event
 * thread takes only runtime->lock.
 */
#ifndef CORACLE_KUBELET_RUNTIME_INTERNAL_H
#define CORACLE_KUBELET_RUNTIME_INTERNAL_H

#include "common/base/map.h"
#include "common/image/json.h"
#include "kubelet/runtime/runtime.h"
#include "kubelet/runtime/selinux.h"

#include <pthread.h>

#define ID_LEN 64
#define MAX_STATE_FILE (4 << 20)
#define EXIT_WAIT_MS 10000 /* after SIGKILL */

enum namespace_kind { NS_NET, NS_IPC, NS_UTS, NS_USER, NS_PID, NS_KINDS };
extern const char *const namespace_files[NS_KINDS];

/* Kept in state.json by the rows of state.c. Strings are owned. */
struct sandbox {
	char *id;
	char *pod_name, *pod_namespace, *pod_uid, *hostname;
	int64_t attempt;
	bool ready;
	bool host_network, host_pid, host_ipc, share_process_namespace;
	int64_t created_ns;
	char *cgroup_parent, *log_dir, *boot_id;
	int64_t pause_pid, pause_start; /* 0: none; start time in ticks tells a reused pid */
	struct runtime_labels labels, sysctls;
	char *selinux_level;                 /* of its containers; NULL: none */
	json_t *uid_mappings, *gid_mappings; /* in OCI's form; NULL: host users */
	json_t *ports;                       /* of the network, for DEL */
	char **ips;

	unsigned refs; /* under runtime->lock */
	bool removed;
	pthread_mutex_t op;
};

struct container {
	char *id;
	char *sandbox_id, *pod_uid, *name, *image, *image_id, *image_status;
	int64_t attempt;
	int64_t state; /* enum container_state */
	int64_t created_ns, started_ns, finished_ns;
	int64_t exit_code;
	char *reason, *message;
	char *log_path, *cgroup_path, *stop_signal, *boot_id;
	bool tty, stdin_open, stdin_once;
	int64_t uid, gid;
	json_t *groups; /* array of integers */
	int64_t pid, pid_start, conmon_pid, conmon_start;
	struct runtime_labels labels;

	unsigned refs;
	bool removed;
	bool starting;     /* conmon may be there before its pid is known */
	int conmon_pidfd;  /* -1: not watched */
	pthread_mutex_t op;
	pthread_cond_t changed; /* with runtime->lock: state moved */
	pthread_mutex_t size_lock;
	int64_t size_measured_ns; /* of rootfs_bytes */
	uint64_t rootfs_bytes, rootfs_inodes;
	int64_t log_bytes; /* when it was looked at last; of the one thread that rotates */
	int log_watch;     /* that tells the log's next growth; 0: it grows */
};

struct runtime {
	char *root, *run, *runc, *conmon, *seccomp_dir, *log_links_dir, *version;
	char **cdi_dirs; /* NULL terminated */
	char boot_id[40];
	int64_t log_max_bytes;
	int log_max_files;
	struct image_store *images;
	struct network *network;
	struct cgroup_tree *cgroups;
	void (*on_event)(const struct runtime_event *, void *);
	void *on_event_arg;
	int min_oom_score; /* what the kernel lets us set */
	bool oom_clamp_told;
	uint64_t own_capabilities;
	struct selinux *selinux; /* NULL: there is none */

	pthread_mutex_t lock;
	struct map sandboxes, containers;
	uint32_t last_id_range; /* given to a user namespace */
	uint32_t last_level;    /* of SELinux, given to a sandbox */
	int epoll_fd, inotify_fd, stop_fd, pause_fd;
	int logs_fd; /* inotify on logs that do not grow; -1: all are looked at each time */
	pthread_t event_thread;
	bool event_thread_runs;
};

/* ---- launch.c, for tests ---- */
/* What of an OCI runtime's complaint somebody wants to read: of logrus' lines (time="..." level=error msg="...") the last message, of other text all of it. The caller frees. */
char *runc_message(const char *text);

/* ---- log_links.c ---- */
/* Of one that runs; without a place for links, or a pod's name among its labels: nothing. */
void log_link_make(const struct runtime *runtime, const struct container *container);
void log_link_remove(const struct runtime *runtime, const struct container *container);
/* Removes links of containers that are gone, with their logs, while nobody looked. Before the runtime is used. */
void log_links_sweep(const struct runtime *runtime);

/* ---- state.c ---- */
struct sandbox *sandbox_new(const char *id);
struct container *container_new(const char *id);
void sandbox_free(struct sandbox *sandbox);
void container_free(struct container *container);
int sandbox_save(struct runtime *runtime, const struct sandbox *sandbox, bool durable, struct error *err);
int container_save(struct runtime *runtime, const struct container *container, bool durable, struct error *err);
int sandbox_parse(const char *text, size_t len, struct sandbox **ret, struct error *err);
int container_parse(const char *text, size_t len, struct container **ret, struct error *err);
void labels_copy(struct runtime_labels *to, const struct runtime_label *items, size_t len);
void labels_done(struct runtime_labels *labels);
/* Adds or replaces. */
void labels_set(struct runtime_labels *labels, const char *key, const char *value);

/* ---- runtime.c: the maps. A found object is referenced; give it back with _put. ---- */
struct sandbox *sandbox_find(struct runtime *runtime, const char *id);
void sandbox_put(struct runtime *runtime, struct sandbox *sandbox);
struct container *container_find(struct runtime *runtime, const char *id);
void container_put(struct runtime *runtime, struct container *container);
/* Those that run and that `wants` (NULL: all; called with runtime->lock held) says yes to; each referenced, the caller frees the list. */
struct container **running_containers(struct runtime *runtime, bool (*wants)(struct container *container, void *arg), void *arg, size_t *ret_count);
int container_missing(const char *id, struct error *err);
/* IDs of a sandbox's containers (NULL: of all), newest first; NULL terminated, free each and the list. */
char **container_ids(struct runtime *runtime, const char *sandbox_id);
char *new_id(void);
bool id_valid(const char *id);
int64_t wall_ns(void);
struct wall_time wall_from_ns(int64_t ns);
int error_reason(struct error *err, const char *reason);
/* recover.c: reads what is on disk; after the watches are made, before the event thread runs. */
void runtime_recover(struct runtime *runtime);

/* container.c: unmounts and deletes all that is on disk of a container, however far its making came. */
int container_take_away(struct runtime *runtime, const struct container *container, struct error *err);

/* ---- paths; the caller frees ---- */
char *sandbox_root(const struct runtime *runtime, const char *id, const char *file);
char *sandbox_run(const struct runtime *runtime, const char *id, const char *file);
char *container_root(const struct runtime *runtime, const char *id, const char *file);
/* Where the index-th mount's view with mapped ids stands, in a user namespace. */
char *container_volume_path(const struct runtime *runtime, const char *id, size_t index);
char *bundle_path(const struct runtime *runtime, const char *id, const char *file);

/* ---- processes ---- */
/* Start time of a process in clock ticks, 0 where it is gone. */
int64_t process_start_ticks(pid_t pid);
/* A pidfd for exactly that process; -ESRCH where it is gone. */
int process_open(int64_t pid, int64_t start_ticks);

/* ---- namespaces.c ---- */
/*
 * Makes the namespaces `flags` (CLONE_NEW*) with a short-lived child, pins each under the sandbox's run folder; where a pause process is
 * asked for, the child stays as that. ret_pause: its pid, 0 without.
 */
int namespaces_pin(struct runtime *runtime, const struct sandbox *sandbox, int flags, const char *pause_label, pid_t *ret_pause, struct error *err);
void namespaces_unpin(struct runtime *runtime, const char *sandbox_id);

/* ---- user.c ---- */
struct user {
	uid_t uid;
	gid_t gid;
	gid_t *groups;
	size_t group_count;
};
/* Who the container runs as, from its config and the image's passwd and group files. */
int user_resolve(const char *rootfs, const struct container_config *config, const char *image_user, struct user *ret, struct error *err);

/* ---- spec.c ---- */
struct spec_labels { /* of SELinux; NULL: none */
	char *process, *files;
};
/* The OCI config.json. target_pid: a process whose PID namespace the container joins; 0: none. */
int spec_make(struct runtime *runtime, const struct sandbox *sandbox, const struct container *container, const struct container_config *config,
	const struct image *image, const struct user *user, const struct spec_labels *labels, pid_t target_pid, json_t **ret, struct error *err);
/* The OCI form of limits; `spec` may be NULL where none. */
json_t *spec_resources(const struct cgroup_resources *resources);
/* Capability names of a mask, as an array; and the mask of add/drop lists on the default set. */
uint64_t capabilities_of(const struct container_config *config, uint64_t own);
json_t *capabilities_names(uint64_t mask);
/* linux.seccomp for a container with these capabilities; NULL: none (unconfined). */
json_t *seccomp_profile(uint64_t capabilities);

/* ---- propagation.c ---- */
struct propagation {
	const char *mount; /* into the table */
	bool shared, slave;
};
/* The mount of a mountinfo table that an absolute path without links lies on; takes the table apart. -ENOENT: none. */
int propagation_find(char *table, const char *path, struct propagation *ret);
/* Whether the host's mount can do what a container's mount asks for. */
int propagation_check(const struct container_mount *mount, struct error *err);

/* ---- events.c ---- */
int events_start(struct runtime *runtime, struct error *err);
void events_stop(struct runtime *runtime);
/* Begins to watch the container's conmon. */
void events_watch(struct runtime *runtime, struct container *container);
/* Reads the exit file where there is one and moves the state; true where the container is over. monitor_gone: conmon no longer runs. */
bool container_note_exit(struct runtime *runtime, struct container *container, bool monitor_gone);
/* Waits for the end; false past the time. */
bool container_wait_exit(struct runtime *runtime, struct container *container, int64_t timeout_ms);

/* ---- launch.c ---- */
/* Removes what runc and the kernel hold of an ended container. Idempotent. */
void container_reap(struct runtime *runtime, struct container *container);
/* Signal, grace, SIGKILL; waits for the end. Takes no lock for longer than a look. */
int container_end(struct runtime *runtime, struct container *container, int64_t grace_ms, struct error *err);
/* Puts the container's monitor where no pod's limit and no restart of ours reaches it. */
void container_place_monitor(struct runtime *runtime, const struct container *container);
/* Lets the created container's first process execute its program. -ENOENT where it was let go before. */
int container_release(struct runtime *runtime, const struct container *container, struct error *err);
/* The same for a container that an earlier kubelet started, which may have died before or after it let the process go. */
int container_release_again(struct runtime *runtime, const struct container *container);
int container_control(struct runtime *runtime, const char *id, const char *fifo, const char *message, struct error *err);
int signal_number(const char *name, int fallback);
const char *signal_name(int number);

#endif
