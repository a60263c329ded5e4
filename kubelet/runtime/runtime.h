/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container runtime: pod sandboxes as pinned namespaces, containers as OCI bundles run by conmon and runc.
 *
 * Everything that must outlive this process is on disk before it is visible: a state file for each sandbox and each
 * container. Containers run on when the kubelet is killed; runtime_open() finds them again, with exits that happened meanwhile.
 *
 * Threads: every call is thread safe and may block (start ~50 ms, stop up to its grace period): call from per-pod worker
 * threads, never from an event loop. Calls on one sandbox or container are serialised inside. Exits arrive as events on the
 * runtime's own thread, which the callback must not hold up: post to a queue and return.
 *
 * What the kubelet's other half does, not this: env and $(VAR) expansion, /etc/hosts, volumes (host paths come in as mounts),
 * image pulls (image.h) and the decision what to restart. What this does: resolv.conf, hostname and /dev/shm of the sandbox,
 * the image's defaults (entrypoint, cmd, env, user, cwd) under what the config says.
 *
 * IDs are 64 hex digits, as CRI runtimes give; status shows them as "coracle://<id>".
 */
#ifndef CORACLE_KUBELET_RUNTIME_H
#define CORACLE_KUBELET_RUNTIME_H

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/image/image.h"
#include "kubelet/cgroup/cgroup.h"
#include "kubelet/network/network.h"

#include <signal.h>

#define RUNTIME_NAME "coracle"
#define RUNTIME_HANDLER "runc" /* of RuntimeClasses */
#define RUNTIME_ROOT_DEFAULT "/var/lib/coracle/runtime"
#define RUNTIME_RUN_DEFAULT "/run/coracle"

struct runtime;

enum runtime_event_kind {
	RUNTIME_CONTAINER_EXITED,
};
struct runtime_event {
	enum runtime_event_kind kind;
	const char *container_id; /* borrowed for the call */
	const char *sandbox_id;
	const char *pod_uid;
	int exit_code; /* details by runtime_container_status() */
};

struct runtime_options {
	const char *root_dir;    /* durable state; NULL: RUNTIME_ROOT_DEFAULT */
	const char *run_dir;     /* pinned namespaces, sockets, exit files, gone after a reboot; NULL: RUNTIME_RUN_DEFAULT */
	const char *runc_path;   /* NULL: found in PATH */
	const char *conmon_path; /* NULL: found in PATH */
	const char *seccomp_dir; /* of Localhost profiles; NULL: /var/lib/kubelet/seccomp */
	const char *const *cdi_dirs; /* folders of CDI files, NULL terminated, the later one wins; NULL: none */
	const char *system_root; /* before the paths of SELinux; NULL: none. For tests */
	const char *log_links_dir; /* where collectors look for containers' logs; NULL: no links */
	int64_t log_max_bytes;   /* --container-log-max-size; 0: 10 MiB */
	int log_max_files;       /* --container-log-max-files; 0: 5 */
	struct image_store *images;   /* all three borrowed: they outlive the runtime */
	struct network *network;
	struct cgroup_tree *cgroups;
	void (*on_event)(const struct runtime_event *event, void *arg);
	void *on_event_arg;
};
/* Recovers what is on disk, then starts the event thread. Exits that happened meanwhile show in the status, and come as events too. */
int runtime_open(const struct runtime_options *options, struct runtime **ret, struct error *err);
/* Stops watching; containers run on. Takes NULL. Returns NULL. */
struct runtime *runtime_close(struct runtime *runtime);
/* "runc 1.1.5" for node status: containerRuntimeVersion is "coracle://<this>". Borrowed. */
const char *runtime_version(struct runtime *runtime);

/*
 * First thing in main(), before flags: where the program was started as a sandbox's pause process, serves as that (reaps
 * zombies, ends on SIGTERM) and does not return. Otherwise returns at once.
 */
void runtime_pause_main(int argc, char *const *argv);

/* Key and value that are kept with a sandbox or container for its user: restart count, spec hash, ... */
struct runtime_label {
	const char *key;
	const char *value;
};
struct runtime_labels { /* owned copy in statuses */
	struct runtime_label *items;
	size_t len;
};
/* NULL where absent. */
const char *runtime_label_get(const struct runtime_labels *labels, const char *key);

/* ---- sandboxes ---- */

struct runtime_id_mapping { /* user namespace: ids inside -> outside */
	uint32_t container_id;
	uint32_t host_id;
	uint32_t size;
};
struct container_selinux { /* seLinuxOptions; what is NULL or empty is as the policy has it for containers */
	const char *user;
	const char *role;
	const char *type;
	const char *level;
};
#define RUNTIME_MAX_ID_MAPPINGS 4
#define RUNTIME_ID_RANGE 65536 /* ids of a sandbox's own, from a multiple of that many; the first range is the host's */

struct sandbox_config {
	const char *pod_name;
	const char *pod_namespace;
	const char *pod_uid;
	const char *hostname;      /* NULL with host_network: the host's */
	uint32_t attempt;
	bool host_network;
	bool host_pid;
	bool host_ipc;
	bool share_process_namespace; /* starts the pause process as PID 1 */
	bool user_namespace;       /* hostUsers: false: a user namespace with RUNTIME_ID_RANGE ids that no other sandbox has, unless mappings are given */
	struct runtime_id_mapping uid_mappings[RUNTIME_MAX_ID_MAPPINGS];
	size_t uid_mapping_count;
	struct runtime_id_mapping gid_mappings[RUNTIME_MAX_ID_MAPPINGS];
	size_t gid_mapping_count;
	const char *cgroup_parent; /* cgroup_pod_path(), made by the caller with the pod's limits */
	const char *log_dir;       /* /var/log/pods/<ns>_<name>_<uid>; made where missing */
	const char *const *dns_servers;  /* NULL terminated each; all NULL: the host's resolv.conf is copied */
	const char *const *dns_searches;
	const char *const *dns_options;
	const struct container_selinux *selinux; /* NULL: nothing is asked for. Without a level it gets one that no other sandbox has, for all its containers */
	const struct runtime_label *sysctls; /* namespaced ones; set in the sandbox's namespaces */
	size_t sysctl_count;
	const struct network_port *ports;
	size_t port_count;
	int64_t ingress_bits_per_second;
	int64_t egress_bits_per_second;
	const struct runtime_label *labels;
	size_t label_count;
};

enum sandbox_state { SANDBOX_READY, SANDBOX_NOT_READY };

struct sandbox_status {
	char *id;
	char *pod_name;
	char *pod_namespace;
	char *pod_uid;
	uint32_t attempt;
	enum sandbox_state state;
	struct wall_time created;
	struct network_result network; /* no IPs with host_network */
	char *netns;                   /* NULL with host_network */
	char *cgroup_parent;
	char *log_dir;
	bool host_network;
	struct runtime_labels labels;
};
void sandbox_status_free(struct sandbox_status *status);

/* Makes and pins namespaces, adds the network. On failure nothing is left. ret_id: the caller frees. */
int runtime_sandbox_start(struct runtime *runtime, const struct sandbox_config *config, char **ret_id, struct error *err);
/* Kills its containers, takes the network down. State NOT_READY. Idempotent, -ENOENT where unknown. */
int runtime_sandbox_stop(struct runtime *runtime, const char *id, struct error *err);
/* Stops it, removes its containers, forgets it. Unknown is success. */
int runtime_sandbox_remove(struct runtime *runtime, const char *id, struct error *err);
/* The caller frees. -ENOENT where unknown. READY only while its namespaces (and pause process) are there: false after a reboot. */
int runtime_sandbox_status(struct runtime *runtime, const char *id, struct sandbox_status **ret, struct error *err);
/* All, or those of one pod where pod_uid is not NULL; newest first. Free each and the array. */
int runtime_sandbox_list(struct runtime *runtime, const char *pod_uid, struct sandbox_status ***ret, size_t *ret_count, struct error *err);

/* ---- containers ---- */

enum container_mount_propagation { MOUNT_PRIVATE, MOUNT_HOST_TO_CONTAINER, MOUNT_BIDIRECTIONAL };
struct container_mount {
	const char *host_path;      /* NULL: a tmpfs. In a user namespace owners are shown as they are on the host: 0 is root in both */
	const char *container_path; /* absolute; made in the root where missing */
	bool read_only;
	bool recursive_read_only;
	enum container_mount_propagation propagation;
	bool relabel;               /* the pod's own: where there is SELinux, all in it gets the label of the container's files */
	const char *image_ref;      /* an image volume: host_path is NULL, the image is mounted read only */
	const char *image_sub_path; /* NULL: all */
};
struct container_device {
	const char *host_path;
	const char *container_path; /* NULL: the same */
	const char *permissions;    /* "rwm" */
};
enum seccomp_kind { SECCOMP_UNCONFINED, SECCOMP_RUNTIME_DEFAULT, SECCOMP_LOCALHOST };
struct container_rlimit {
	const char *type; /* "RLIMIT_NOFILE" */
	uint64_t soft, hard;
};

/* All borrowed for the call. Zero is the default of a plain container without security context. */
struct container_config {
	const char *name;
	uint32_t attempt;       /* restart count: part of the log's name by custom, not used here */
	const char *image;      /* reference or ID; must be in the store */
	const char *const *command; /* NULL terminated; NULL: the image's entrypoint (and its cmd, unless args are given) */
	const char *const *args;    /* NULL: the image's cmd, unless command is given */
	const char *const *env;     /* "NAME=value", over the image's */
	const char *working_dir;    /* NULL: the image's */
	const struct container_mount *mounts;
	size_t mount_count;
	const struct container_device *devices;
	size_t device_count;
	const char *const *cdi_devices; /* "vendor.com/class=name", NULL terminated; NULL: none */
	const char *target_id;      /* a running container of the sandbox whose process namespace it joins; NULL: none */
	bool stdin_open;
	bool stdin_once;
	bool tty;
	const char *log_path;   /* absolute, or relative to the sandbox's log_dir: "<name>/<attempt>.log" */

	bool has_run_as_user;   /* else run_as_username, else the image's user */
	int64_t run_as_user;
	const char *run_as_username;
	bool has_run_as_group;
	int64_t run_as_group;
	const int64_t *supplemental_groups; /* fsGroup too */
	size_t supplemental_group_count;
	bool strict_groups;     /* supplementalGroupsPolicy: Strict: not those of the image's /etc/group */
	bool run_as_non_root;   /* refuse, with reason CreateContainerConfigError, where the user comes out as 0 */

	bool privileged;
	const char *const *add_capabilities;  /* "NET_ADMIN", "ALL"; NULL terminated */
	const char *const *drop_capabilities;
	bool read_only_rootfs;
	bool no_new_privileges;
	bool unmasked_proc;     /* procMount: Unmasked */
	enum seccomp_kind seccomp;
	const char *seccomp_profile;  /* LOCALHOST: path below seccomp_dir */
	const char *apparmor_profile; /* "runtime/default", "unconfined", "localhost/<name>"; NULL: runtime/default where there is AppArmor */
	const struct container_selinux *selinux; /* of the container, else of its pod; NULL: nothing is asked for. Ignored where there is no SELinux */
	const struct container_rlimit *rlimits;
	size_t rlimit_count;

	struct cgroup_resources resources;
	int oom_score_adj;      /* raised to what the kernel lets us set; said once in the log */
	const char *stop_signal; /* lifecycle.stopSignal; NULL: the image's */
	const struct runtime_label *labels;
	size_t label_count;
};

enum container_state { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED };

struct container_status {
	char *id;
	char *sandbox_id;
	char *pod_uid;
	char *name;
	uint32_t attempt;
	char *image;    /* as the config named it */
	char *image_id; /* image_status_id() at creation */
	enum container_state state;
	pid_t pid;      /* 0 unless running */
	struct wall_time created, started, finished; /* sec 0: not yet */
	int exit_code;  /* 128 + signal where a signal ended it */
	int exit_signal; /* 0: none */
	const char *reason; /* "Completed", "Error", "OOMKilled", "StartError", "Unknown" (nobody saw the end: code 255); NULL unless exited */
	char *message;  /* why it could not start; else NULL */
	char *log_path; /* absolute */
	char *cgroup_path;
	char *rootfs;   /* where it is mounted on the host */
	bool tty, stdin_open, stdin_once;
	uid_t uid;      /* as resolved: status.containerStatuses[].user.linux */
	gid_t gid;
	gid_t *groups;
	size_t group_count;
	char *stop_signal; /* effective: "SIGTERM" */
	struct runtime_labels labels;
};
void container_status_free(struct container_status *status);

/*
 * Lays out root file system and bundle. Errors carry a reason: CreateContainerConfigError (image's user unknown, root
 * though run_as_non_root, missing seccomp profile), CreateContainerError, ErrImageNeverPull where the image is absent.
 */
int runtime_container_create(struct runtime *runtime, const char *sandbox_id, const struct container_config *config, char **ret_id, struct error *err);
/* Runs it. Fails with reason RunContainerError and runc's message (executable not found, ...); the container is then EXITED with code 128 and reason StartError. */
int runtime_container_start(struct runtime *runtime, const char *id, struct error *err);
/* Stop signal, SIGKILL after grace_ms (0: at once), waits for the end. Not running is success. */
int runtime_container_stop(struct runtime *runtime, const char *id, int64_t grace_ms, struct error *err);
int runtime_container_signal(struct runtime *runtime, const char *id, int signal, struct error *err);
/* Kills where it runs, unmounts, deletes all but the log. Unknown is success. */
int runtime_container_remove(struct runtime *runtime, const char *id, struct error *err);
int runtime_container_status(struct runtime *runtime, const char *id, struct container_status **ret, struct error *err);
/* All, or of one sandbox, or of one pod (either may be NULL); newest first. Free each and the array. */
int runtime_container_list(struct runtime *runtime, const char *sandbox_id, const char *pod_uid, struct container_status ***ret, size_t *ret_count, struct error *err);
/* In-place resize of a running (or created) container. */
int runtime_container_update(struct runtime *runtime, const char *id, const struct cgroup_resources *resources, struct error *err);
/* Changes a label durably. */
int runtime_container_set_label(struct runtime *runtime, const char *id, const char *key, const char *value, struct error *err);

/* ---- streams ---- */

struct stream_options {
	const char *const *argv; /* exec only; NULL terminated */
	bool tty;
	bool want_stdin;
	bool want_stdout;
	bool want_stderr; /* never with tty */
};
/*
 * A command in a container, or an attachment to one. The fds belong to the session; blocking, CLOEXEC. With tty all
 * three are one pseudo terminal: read stdout_fd (EIO = end), write stdin_fd. A session may be used by one reader and one
 * writer thread at once.
 */
struct stream_session {
	int stdin_fd;  /* -1: none. Close through stream_session_close_stdin(). */
	int stdout_fd; /* -1: none */
	int stderr_fd;
	int done_fd;   /* readable once it ended: then stream_session_wait() does not block */
};
/* Starts a command in a running container; -ENOENT unknown, -ESRCH not running. */
int runtime_exec(struct runtime *runtime, const char *id, const struct stream_options *options, struct stream_session **ret, struct error *err);
/* Attaches to what the container's first process reads and writes; tty of the options is ignored: the container's counts. */
int runtime_attach(struct runtime *runtime, const char *id, const struct stream_options *options, struct stream_session **ret, struct error *err);
void stream_session_close_stdin(struct stream_session *session);
int stream_session_resize(struct stream_session *session, uint16_t columns, uint16_t rows, struct error *err);
/* -ETIMEDOUT past timeout_ms (-1: for ever). Exit code of the command (126/127 not startable, with runc's message in err and 0 returned), or for an attachment of the container where it ended, else 0. */
int stream_session_wait(struct stream_session *session, int timeout_ms, int *ret_exit_code, struct error *err);
/* Kills the command where it still runs; detaches from the container. Takes NULL. */
void stream_session_free(struct stream_session *session);

/* For probes and hooks: runs to the end, at most buf->max bytes of both streams together in `out`; kills it and gives -ETIMEDOUT past timeout_ms. */
int runtime_exec_sync(struct runtime *runtime, const char *id, const char *const *argv, int timeout_ms, struct buf *out, int *ret_exit_code, struct error *err);

/* ---- logs ---- */

/* Where the log passed log_max_bytes: renames it <path>.<time>, compresses older ones, drops those past log_max_files, reopens (log_files.h). */
int runtime_container_rotate_log(struct runtime *runtime, const char *id, bool force, struct error *err);
/* The same for all that run; call now and then. What fails is logged. */
void runtime_rotate_logs(struct runtime *runtime);

/* ---- measurements ---- */

struct container_usage {
	struct cgroup_stats cgroup;
	uint64_t rootfs_bytes;  /* written by the container; walks its upper folder at most once in ten seconds */
	uint64_t rootfs_inodes;
	uint64_t log_bytes;     /* rotated ones too */
	uint64_t log_inodes;
};
/* What is looked at; the rest stays zero. Some files of each container's cgroup, and a walk over what it wrote, are most of the work of a node at rest. */
#define CONTAINER_USAGE_CGROUP (1u << 0)
#define CONTAINER_USAGE_DISK (1u << 1)
#define CONTAINER_USAGE_ALL (CONTAINER_USAGE_CGROUP | CONTAINER_USAGE_DISK)
int runtime_container_usage(struct runtime *runtime, const char *id, unsigned parts, struct container_usage *ret, struct error *err);
struct container_load {
	const char *pod_uid, *name; /* borrowed for the call */
	struct wall_time started;
	const struct cgroup_stats *usage; /* as cgroup_usage_read() gives it */
};
/* Calls fn for each container that runs and has a cgroup, in no order. For those who ask every few seconds: nothing is copied. */
void runtime_each_load(struct runtime *runtime, void (*fn)(const struct container_load *load, void *arg), void *arg);
/* Deletes what ended containers wrote; their states and logs stay. */
void runtime_reclaim(struct runtime *runtime);

/* The default seccomp profile as runc takes it (linux.seccomp), a const JSON text; for tests and fuzzers. */
const char *runtime_seccomp_default(void);

#endif
