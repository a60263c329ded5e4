/* SPDX-License-Identifier: Apache-2.0 */
/* Pod sandboxes: made, stopped, removed, shown. */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <poll.h>
#include <unistd.h>

#define SHM_OPTIONS "mode=1777,size=64m"
#define MAX_RESOLV (64 << 10)

/* ---- its files ---- */

static void resolv_line(struct buf *out, const char *key, const char *const *values)
{
	if (!values || !values[0])
		return;
	buf_append_str(out, key);
	for (; *values; values++)
		buf_printf(out, " %s", *values);
	buf_append_char(out, '\n');
}

static int write_resolv(struct runtime *runtime, const char *id, const struct sandbox_config *config, struct error *err)
{
	autobuf struct buf text = BUF_INIT(MAX_RESOLV);
	if (!config->dns_servers && !config->dns_searches && !config->dns_options) {
		autofree char *host = NULL;
		size_t len;
		if (file_read(AT_FDCWD, "/etc/resolv.conf", MAX_RESOLV, &host, &len, NULL) == 0)
			buf_append(&text, host, len);
	} else {
		resolv_line(&text, "search", config->dns_searches);
		for (const char *const *server = config->dns_servers; server && *server; server++)
			buf_printf(&text, "nameserver %s\n", *server);
		resolv_line(&text, "options", config->dns_options);
	}
	if (buf_failed(&text))
		return error_set(err, E2BIG, "resolv.conf of more than %d bytes", MAX_RESOLV);
	autofree char *path = sandbox_root(runtime, id, "resolv.conf");
	return file_write(AT_FDCWD, path, str_or(text.data, ""), text.len, 0644, err);
}

static int write_hostname(struct runtime *runtime, const struct sandbox *sandbox, struct error *err)
{
	char host[256] = "";
	gethostname(host, sizeof(host) - 1);
	autofree char *text = xprintf("%s\n", str_or(sandbox->hostname, host)), *path = sandbox_root(runtime, sandbox->id, "hostname");
	return file_write(AT_FDCWD, path, text, strlen(text), 0644, err);
}

static int mount_shm(struct runtime *runtime, const struct sandbox *sandbox, struct error *err)
{
	if (sandbox->host_ipc)
		return 0;
	autofree char *path = sandbox_run(runtime, sandbox->id, "shm");
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make %s", path);
	if (mount("shm", path, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, SHM_OPTIONS) < 0)
		return error_set_errno(err, errno, "mount %s", path);
	return 0;
}

/* ---- its network ---- */

static json_t *ports_to_json(const struct sandbox_config *config)
{
	json_t *array = json_array();
	for (size_t i = 0; i < config->port_count; i++)
		json_array_append_new(array, json_pack("{s:s,s:i,s:i,s:s}", "hostIP", str_or(config->ports[i].host_ip, ""), "hostPort",
			config->ports[i].host_port, "containerPort", config->ports[i].container_port, "protocol", str_or(config->ports[i].protocol, "TCP")));
	return array;
}

static struct network_pod network_pod_of(const struct sandbox *sandbox, const char *netns)
{
	return (struct network_pod){.id = sandbox->id, .name = sandbox->pod_name, .namespace_ = sandbox->pod_namespace, .uid = sandbox->pod_uid, .netns = netns};
}

static int add_network(struct runtime *runtime, struct sandbox *sandbox, const struct sandbox_config *config, struct error *err)
{
	autofree char *netns = sandbox_run(runtime, sandbox->id, namespace_files[NS_NET]);
	struct network_pod pod = network_pod_of(sandbox, netns);
	pod.ports = config->ports;
	pod.port_count = config->port_count;
	pod.ingress_bits_per_second = config->ingress_bits_per_second;
	pod.egress_bits_per_second = config->egress_bits_per_second;
	struct network_result result = {0};
	int r = network_pod_add(runtime->network, &pod, &result, err);
	if (r < 0)
		return error_context(err, "failed to setup network for sandbox \"%s\"", sandbox->id);
	char **ips = xcalloc(result.ip_count + 1, sizeof(char *));
	for (size_t i = 0; i < result.ip_count; i++)
		ips[i] = xstrdup(result.ips[i]);
	network_result_done(&result);
	pthread_mutex_lock(&runtime->lock);
	image_strv_free(sandbox->ips);
	sandbox->ips = ips;
	pthread_mutex_unlock(&runtime->lock);
	return 0;
}

/* ---- making ---- */

static json_t *mappings_to_json(const struct runtime_id_mapping *rows, size_t count)
{
	if (count == 0)
		return NULL;
	json_t *array = json_array();
	for (size_t i = 0; i < count; i++)
		json_array_append_new(array, json_pack("{s:I,s:I,s:I}", "containerID", (json_int_t)rows[i].container_id, "hostID", (json_int_t)rows[i].host_id,
			"size", (json_int_t)rows[i].size));
	return array;
}

static bool range_is_free(struct runtime *runtime, json_int_t first)
{
	size_t pos = 0, i;
	json_t *row;
	for (struct map_entry *e; (e = map_next(&runtime->sandboxes, &pos));) {
		const struct sandbox *sandbox = e->value;
		json_array_foreach(sandbox->uid_mappings, i, row)
		{
			json_int_t from = json_integer_value(json_object_get(row, "hostID")), size = json_integer_value(json_object_get(row, "size"));
			if (first < from + size && from < first + RUNTIME_ID_RANGE)
				return false;
		}
	}
	return true;
}

/* A namespace's root is nobody outside it: it must be let through to where its container's root file system is mounted. */
static int check_passage(const struct runtime *runtime, struct error *err)
{
	autofree char *path = xstrdup(runtime->root);
	for (char *slash = path + strlen(path); slash; slash = strrchr(path, '/')) {
		struct stat st;
		*slash = 0;
		if (*path && (stat(path, &st) < 0 || !(st.st_mode & S_IXOTH)))
			return error_set(err, EACCES, "folder %s lets no others pass (mode o+x), as the root of a user namespace must", path);
	}
	return 0;
}

/*
 * Ids for a user namespace. Files keep their owners as the container sees them (mounts are mapped), so the range need not outlive the
 * sandbox. Ranges go round, so that one just given, and not in the map yet, is not given twice.
 */
static int give_range(struct runtime *runtime, struct sandbox *sandbox, struct error *err)
{
	const uint32_t ranges = (uint32_t)(((uint64_t)1 << 32) / RUNTIME_ID_RANGE) - 1; /* the last holds the id that means none */
	struct runtime_id_mapping row = {0, 0, RUNTIME_ID_RANGE};
	pthread_mutex_lock(&runtime->lock);
	for (uint32_t tries = 0; tries < ranges && !row.host_id; tries++) {
		runtime->last_id_range = runtime->last_id_range % (ranges - 1) + 1;
		if (range_is_free(runtime, (json_int_t)runtime->last_id_range * RUNTIME_ID_RANGE))
			row.host_id = runtime->last_id_range * RUNTIME_ID_RANGE;
	}
	pthread_mutex_unlock(&runtime->lock);
	if (!row.host_id)
		return error_set(err, EAGAIN, "no ids are left for a user namespace");
	sandbox->uid_mappings = mappings_to_json(&row, 1);
	sandbox->gid_mappings = mappings_to_json(&row, 1);
	return 0;
}

static bool level_is_free(struct runtime *runtime, const char *level)
{
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&runtime->sandboxes, &pos));)
		if (str_equal(((const struct sandbox *)e->value)->selinux_level, level))
			return false;
	return true;
}

/* The level of SELinux that keeps pods apart. As with ids, levels go round. Refuses what the policy does not know before anything is made. */
static int give_level(struct runtime *runtime, const struct sandbox_config *config, struct sandbox *sandbox, struct error *err)
{
	autofree char *label = NULL, *level = NULL;
	if (!runtime->selinux)
		return 0;
	int r = selinux_process_label(runtime->selinux, config->selinux, NULL, &label, err);
	if (r < 0)
		return r;
	if (config->selinux && !str_empty(config->selinux->level)) {
		sandbox->selinux_level = xstrdup(config->selinux->level);
		return 0;
	}
	pthread_mutex_lock(&runtime->lock);
	for (uint32_t tries = 0; tries < SELINUX_LEVELS; tries++) {
		free(level);
		runtime->last_level = (runtime->last_level + 1) % SELINUX_LEVELS;
		level = selinux_level(runtime->selinux, runtime->last_level);
		if (!level || level_is_free(runtime, level))
			break;
	}
	pthread_mutex_unlock(&runtime->lock);
	sandbox->selinux_level = take_ptr(level);
	return 0;
}

static struct sandbox *sandbox_from_config(const struct runtime *runtime, const struct sandbox_config *config)
{
	autofree char *id = new_id();
	struct sandbox *sandbox = sandbox_new(id);
	sandbox->pod_name = xstrdup(str_or(config->pod_name, ""));
	sandbox->pod_namespace = xstrdup(str_or(config->pod_namespace, ""));
	sandbox->pod_uid = xstrdup(str_or(config->pod_uid, ""));
	sandbox->hostname = config->hostname ? xstrdup(config->hostname) : NULL;
	sandbox->attempt = config->attempt;
	sandbox->host_network = config->host_network;
	sandbox->host_pid = config->host_pid;
	sandbox->host_ipc = config->host_ipc;
	sandbox->share_process_namespace = config->share_process_namespace && !config->host_pid;
	sandbox->created_ns = wall_ns();
	sandbox->cgroup_parent = xstrdup(config->cgroup_parent);
	sandbox->log_dir = xstrdup(config->log_dir);
	sandbox->boot_id = xstrdup(runtime->boot_id);
	sandbox->uid_mappings = mappings_to_json(config->uid_mappings, min_of(config->uid_mapping_count, (size_t)RUNTIME_MAX_ID_MAPPINGS));
	sandbox->gid_mappings = mappings_to_json(config->gid_mappings, min_of(config->gid_mapping_count, (size_t)RUNTIME_MAX_ID_MAPPINGS));
	sandbox->ports = ports_to_json(config);
	labels_copy(&sandbox->labels, config->labels, config->label_count);
	labels_copy(&sandbox->sysctls, config->sysctls, config->sysctl_count);
	if (sandbox->host_network && !sandbox->hostname) {
		char host[256] = "";
		gethostname(host, sizeof(host) - 1);
		sandbox->hostname = xstrdup(host);
	}
	return sandbox;
}

static int flags_of(const struct sandbox *sandbox)
{
	int flags = 0;
	if (!sandbox->host_network)
		flags |= CLONE_NEWNET | CLONE_NEWUTS;
	if (!sandbox->host_ipc)
		flags |= CLONE_NEWIPC;
	if (sandbox->uid_mappings)
		flags |= CLONE_NEWUSER;
	if (sandbox->share_process_namespace)
		flags |= CLONE_NEWPID;
	return flags;
}

static int make_parts(struct runtime *runtime, struct sandbox *sandbox, const struct sandbox_config *config, struct error *err)
{
	int flags = flags_of(sandbox), r = 0;
	pid_t pause = 0;
	autofree char *label = NULL;
	if (runtime->selinux)
		r = selinux_process_label(runtime->selinux, config->selinux, sandbox->selinux_level, &label, err);
	if (r == 0 && flags)
		r = namespaces_pin(runtime, sandbox, flags, label, &pause, err);
	sandbox->pause_pid = pause;
	sandbox->pause_start = pause ? process_start_ticks(pause) : 0;
	if (r == 0)
		r = mount_shm(runtime, sandbox, err);
	if (r == 0)
		r = write_resolv(runtime, sandbox->id, config, err);
	if (r == 0)
		r = write_hostname(runtime, sandbox, err);
	if (r == 0)
		r = file_mkdir_all(sandbox->log_dir, 0755, err);
	if (r == 0 && !sandbox->host_network)
		r = add_network(runtime, sandbox, config, err);
	return r;
}

static int check_config(const struct sandbox_config *config, struct error *err)
{
	if (str_empty(config->cgroup_parent) || str_empty(config->log_dir) || *config->log_dir != '/')
		return error_set(err, EINVAL, "a sandbox needs a cgroup and an absolute log folder");
	if (config->hostname && strlen(config->hostname) > 64)
		return error_set(err, EINVAL, "host name \"%s\" has more than 64 characters", config->hostname);
	if ((config->uid_mapping_count > 0) != (config->gid_mapping_count > 0))
		return error_set(err, EINVAL, "a user namespace needs mappings of users and groups");
	return 0;
}

int runtime_sandbox_start(struct runtime *runtime, const struct sandbox_config *config, char **ret_id, struct error *err)
{
	int r = check_config(config, err);
	if (r < 0)
		return r;
	struct sandbox *sandbox = sandbox_from_config(runtime, config);
	autofree char *root = sandbox_root(runtime, sandbox->id, NULL), *run = sandbox_run(runtime, sandbox->id, NULL), *id = xstrdup(sandbox->id);
	r = give_level(runtime, config, sandbox, err);
	if (r == 0 && config->user_namespace && !sandbox->uid_mappings) {
		r = check_passage(runtime, err);
		if (r == 0)
			r = give_range(runtime, sandbox, err);
	}
	if (r == 0)
		r = file_mkdir_all(root, 0711, err);
	if (r == 0)
		r = file_mkdir_all(run, 0711, err);
	/* On disk before anything exists outside: whatever a crash leaves, removing this sandbox takes away. */
	if (r == 0)
		r = sandbox_save(runtime, sandbox, true, err);
	if (r < 0) {
		file_remove_all(root, NULL);
		file_remove_all(run, NULL);
		sandbox_free(sandbox);
		return r;
	}
	pthread_mutex_lock(&runtime->lock);
	map_set(&runtime->sandboxes, sandbox->id, sandbox);
	pthread_mutex_unlock(&runtime->lock);
	r = make_parts(runtime, sandbox, config, err);
	if (r == 0) {
		pthread_mutex_lock(&runtime->lock);
		sandbox->ready = true;
		pthread_mutex_unlock(&runtime->lock);
		r = sandbox_save(runtime, sandbox, false, err);
	}
	if (r < 0) {
		runtime_sandbox_remove(runtime, id, NULL);
		return r;
	}
	*ret_id = take_ptr(id);
	return 0;
}

/* ---- ending ---- */

static void end_pause(struct sandbox *sandbox)
{
	autoclose int fd = process_open(sandbox->pause_pid, sandbox->pause_start);
	if (fd >= 0) {
		syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0);
		struct pollfd p = {.fd = fd, .events = POLLIN};
		poll(&p, 1, 2000);
	}
	if (sandbox->pause_pid > 0)
		waitpid((pid_t)sandbox->pause_pid, NULL, WNOHANG); /* ours only until we were restarted */
	sandbox->pause_pid = 0;
}

static int stop_parts(struct runtime *runtime, struct sandbox *sandbox, struct error *err)
{
	char **ids = container_ids(runtime, sandbox->id);
	int r = 0;
	for (size_t i = 0; ids[i]; i++) {
		int one = runtime_container_stop(runtime, ids[i], 0, r == 0 ? err : NULL);
		if (one < 0 && one != -ENOENT && r == 0)
			r = one;
	}
	image_strv_free(ids);
	end_pause(sandbox);
	if (sandbox->share_process_namespace) {
		/* A kubelet that died before it had written the pause process down left it here. */
		autofree char *pause = xprintf("%s/pause", sandbox->cgroup_parent);
		cgroup_kill(runtime->cgroups, pause, NULL);
	}
	autofree char *netns = sandbox_run(runtime, sandbox->id, namespace_files[NS_NET]);
	struct network_pod pod = network_pod_of(sandbox, file_exists(netns) ? netns : NULL);
	if (r == 0 && !sandbox->host_network)
		r = network_pod_del(runtime->network, &pod, err);
	if (r < 0)
		return r;
	namespaces_unpin(runtime, sandbox->id);
	autofree char *shm = sandbox_run(runtime, sandbox->id, "shm");
	while (umount2(shm, MNT_DETACH) == 0)
		;
	pthread_mutex_lock(&runtime->lock);
	sandbox->ready = false;
	pthread_mutex_unlock(&runtime->lock);
	return sandbox_save(runtime, sandbox, false, err);
}

int runtime_sandbox_stop(struct runtime *runtime, const char *id, struct error *err)
{
	struct sandbox *sandbox = sandbox_find(runtime, id);
	if (!sandbox)
		return error_set(err, ENOENT, "sandbox \"%s\" not found", id);
	pthread_mutex_lock(&sandbox->op);
	int r = sandbox->removed ? 0 : stop_parts(runtime, sandbox, err);
	pthread_mutex_unlock(&sandbox->op);
	sandbox_put(runtime, sandbox);
	return r;
}

static int remove_parts(struct runtime *runtime, struct sandbox *sandbox, struct error *err)
{
	int r = stop_parts(runtime, sandbox, err);
	char **ids = container_ids(runtime, sandbox->id);
	for (size_t i = 0; r == 0 && ids[i]; i++)
		r = runtime_container_remove(runtime, ids[i], err);
	image_strv_free(ids);
	autofree char *root = sandbox_root(runtime, sandbox->id, NULL), *run = sandbox_run(runtime, sandbox->id, NULL);
	autofree char *pause = xprintf("%s/pause", sandbox->cgroup_parent);
	if (r == 0 && sandbox->share_process_namespace)
		cgroup_remove(runtime->cgroups, pause, NULL);
	if (r == 0)
		r = file_remove_all(run, err);
	return r == 0 ? file_remove_all(root, err) : r;
}

int runtime_sandbox_remove(struct runtime *runtime, const char *id, struct error *err)
{
	struct sandbox *sandbox = sandbox_find(runtime, id);
	if (!sandbox)
		return 0;
	pthread_mutex_lock(&sandbox->op);
	int r = sandbox->removed ? 0 : remove_parts(runtime, sandbox, err);
	if (r == 0 && !sandbox->removed) {
		sandbox->removed = true;
		pthread_mutex_lock(&runtime->lock);
		map_take(&runtime->sandboxes, id);
		sandbox->refs--; /* the map's */
		pthread_mutex_unlock(&runtime->lock);
	}
	pthread_mutex_unlock(&sandbox->op);
	sandbox_put(runtime, sandbox);
	return r;
}

/* ---- showing ---- */

static struct sandbox_status *status_of(struct runtime *runtime, const struct sandbox *sandbox)
{
	struct sandbox_status *status = xnew(struct sandbox_status);
	*status = (struct sandbox_status){
		.id = xstrdup(sandbox->id),
		.pod_name = xstrdup(str_or(sandbox->pod_name, "")),
		.pod_namespace = xstrdup(str_or(sandbox->pod_namespace, "")),
		.pod_uid = xstrdup(str_or(sandbox->pod_uid, "")),
		.attempt = (uint32_t)sandbox->attempt,
		.state = sandbox->ready ? SANDBOX_READY : SANDBOX_NOT_READY,
		.created = wall_from_ns(sandbox->created_ns),
		.netns = sandbox->host_network ? NULL : sandbox_run(runtime, sandbox->id, namespace_files[NS_NET]),
		.cgroup_parent = xstrdup(sandbox->cgroup_parent),
		.log_dir = xstrdup(sandbox->log_dir),
		.host_network = sandbox->host_network,
	};
	for (size_t i = 0; sandbox->ips && sandbox->ips[i] && i < NETWORK_MAX_IPS; i++)
		status->network.ips[status->network.ip_count++] = xstrdup(sandbox->ips[i]);
	labels_copy(&status->labels, sandbox->labels.items, sandbox->labels.len);
	return status;
}

void sandbox_status_free(struct sandbox_status *status)
{
	if (!status)
		return;
	free(status->id);
	free(status->pod_name);
	free(status->pod_namespace);
	free(status->pod_uid);
	free(status->netns);
	free(status->cgroup_parent);
	free(status->log_dir);
	network_result_done(&status->network);
	labels_done(&status->labels);
	free(status);
}

int runtime_sandbox_status(struct runtime *runtime, const char *id, struct sandbox_status **ret, struct error *err)
{
	pthread_mutex_lock(&runtime->lock);
	struct sandbox *sandbox = map_get(&runtime->sandboxes, id);
	struct sandbox_status *status = sandbox ? status_of(runtime, sandbox) : NULL;
	pthread_mutex_unlock(&runtime->lock);
	if (!status)
		return error_set(err, ENOENT, "sandbox \"%s\" not found", id);
	*ret = status;
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct sandbox_status *x = *(struct sandbox_status *const *)a, *y = *(struct sandbox_status *const *)b;
	/* The clock may have jumped between two attempts. */
	if (x->attempt != y->attempt)
		return x->attempt > y->attempt ? -1 : 1;
	int64_t d = time_diff_ns(y->created, x->created);
	return d < 0 ? -1 : d > 0;
}

int runtime_sandbox_list(struct runtime *runtime, const char *pod_uid, struct sandbox_status ***ret, size_t *ret_count, struct error *err)
{
	pthread_mutex_lock(&runtime->lock);
	struct sandbox_status **list = xcalloc(runtime->sandboxes.len + 1, sizeof(*list));
	size_t count = 0, pos = 0;
	for (struct map_entry *e; (e = map_next(&runtime->sandboxes, &pos));) {
		struct sandbox *sandbox = e->value;
		if (!pod_uid || str_equal(sandbox->pod_uid, pod_uid))
			list[count++] = status_of(runtime, sandbox);
	}
	pthread_mutex_unlock(&runtime->lock);
	if (count)
		qsort(list, count, sizeof(*list), newest_first);
	*ret = list;
	*ret_count = count;
	return 0;
}
