/* SPDX-License-Identifier: Apache-2.0 */
/* The OCI runtime configuration of a container, from its config, its sandbox and its image. */
#include "kubelet/runtime/apparmor.h"
#include "kubelet/runtime/cdi.h"
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define MAX_SECCOMP (1 << 20)
#define MAX_HOST_DEVICES 4096

/* What building needs all over. */
struct builder {
	struct runtime *runtime;
	const struct sandbox *sandbox;
	const struct container *container;
	const struct container_config *config;
	const struct image *image;
	const struct user *user;
	const struct spec_labels *labels;
	pid_t target_pid; /* whose process namespace it joins; 0: none */
	uint64_t capabilities;
};

static void append(json_t *array, const char *text)
{
	json_array_append_new(array, json_string(text));
}

/* ---- process ---- */

static void set_env(json_t *env, const char *pair)
{
	size_t len = strcspn(pair, "=");
	json_t *row;
	size_t i;
	json_array_foreach(env, i, row)
	{
		const char *have = json_string_value(row);
		if (strncmp(have, pair, len) == 0 && have[len] == '=') {
			json_array_set_new(env, i, json_string(pair));
			return;
		}
	}
	append(env, pair);
}

static json_t *make_env(const struct builder *b)
{
	json_t *env = json_array();
	append(env, DEFAULT_PATH);
	if (!str_empty(b->sandbox->hostname)) {
		autofree char *hostname = xprintf("HOSTNAME=%s", b->sandbox->hostname);
		append(env, hostname);
	}
	if (b->config->tty)
		append(env, "TERM=xterm");
	for (size_t i = 0; b->image->config.env[i]; i++)
		set_env(env, b->image->config.env[i]);
	for (size_t i = 0; b->config->env && b->config->env[i]; i++)
		set_env(env, b->config->env[i]);
	return env;
}

/* The pod's command replaces the image's entrypoint and cmd; its args replace cmd alone. */
static json_t *make_args(const struct builder *b)
{
	const struct container_config *config = b->config;
	bool own_command = config->command && config->command[0], own_args = config->args && config->args[0];
	json_t *args = json_array();
	for (size_t i = 0; own_command && config->command[i]; i++)
		append(args, config->command[i]);
	for (size_t i = 0; !own_command && b->image->config.entrypoint[i]; i++)
		append(args, b->image->config.entrypoint[i]);
	for (size_t i = 0; own_args && config->args[i]; i++)
		append(args, config->args[i]);
	for (size_t i = 0; !own_args && !own_command && b->image->config.cmd[i]; i++)
		append(args, b->image->config.cmd[i]);
	return args;
}

static json_t *make_user(const struct user *user)
{
	json_t *groups = json_array();
	for (size_t i = 0; i < user->group_count; i++)
		json_array_append_new(groups, json_integer(user->groups[i]));
	return json_pack("{s:I,s:I,s:o}", "uid", (json_int_t)user->uid, "gid", (json_int_t)user->gid, "additionalGids", groups);
}

static json_t *make_rlimits(const struct container_config *config)
{
	json_t *limits = json_array();
	for (size_t i = 0; i < config->rlimit_count; i++)
		json_array_append_new(limits, json_pack("{s:s,s:I,s:I}", "type", config->rlimits[i].type, "soft", (json_int_t)config->rlimits[i].soft, "hard",
			(json_int_t)config->rlimits[i].hard));
	return limits;
}

static int oom_score(const struct builder *b)
{
	struct runtime *runtime = b->runtime;
	if (b->config->oom_score_adj >= runtime->min_oom_score)
		return b->config->oom_score_adj;
	pthread_mutex_lock(&runtime->lock);
	bool told = runtime->oom_clamp_told;
	runtime->oom_clamp_told = true;
	pthread_mutex_unlock(&runtime->lock);
	if (!told)
		log_warning("oom_score_adj of containers cannot be lowered without CAP_SYS_RESOURCE; using the lowest allowed",
			LOG_INT("wanted", b->config->oom_score_adj), LOG_INT("lowest", runtime->min_oom_score));
	return runtime->min_oom_score;
}

static const char *apparmor_profile(const struct builder *b)
{
	const char *profile = b->config->apparmor_profile;
	if (b->config->privileged || str_equal(profile, "unconfined"))
		return NULL;
	return profile && str_starts_with(profile, "localhost/") ? profile + strlen("localhost/") : apparmor_default_profile();
}

/* What the pod names must be there before it starts: then it is told apart from a program that cannot be executed. */
static int check_apparmor(const struct builder *b, struct error *err)
{
	const char *profile = apparmor_profile(b);
	if (!profile || !str_starts_with(str_or(b->config->apparmor_profile, ""), "localhost/") || apparmor_is_loaded(APPARMOR_PROFILES, profile))
		return 0;
	int r = error_set(err, EINVAL, "apparmor profile not found %s", profile);
	error_reason(err, "CreateContainerError");
	return r;
}

static json_t *make_process(const struct builder *b)
{
	const struct container_config *config = b->config;
	const char *cwd = str_or(config->working_dir, str_or(b->image->config.working_dir, "/"));
	json_t *caps = json_object();
	static const char *const sets[] = {"bounding", "effective", "permitted"};
	for (size_t i = 0; i < array_len(sets); i++)
		json_object_set_new(caps, sets[i], capabilities_names(b->capabilities));
	json_t *process = json_pack("{s:b,s:o,s:o,s:o,s:s,s:o,s:b,s:i}", "terminal", config->tty, "user", make_user(b->user), "args", make_args(b), "env",
		make_env(b), "cwd", cwd, "capabilities", caps, "noNewPrivileges", config->no_new_privileges, "oomScoreAdj", oom_score(b));
	if (config->rlimit_count)
		json_object_set_new(process, "rlimits", make_rlimits(config));
	const char *apparmor = apparmor_profile(b);
	if (apparmor)
		json_object_set_new(process, "apparmorProfile", json_string(apparmor));
	if (b->labels->process)
		json_object_set_new(process, "selinuxLabel", json_string(b->labels->process));
	return process;
}

/* ---- mounts ---- */

static json_t *mount_row(const char *destination, const char *type, const char *source, const char *options)
{
	json_t *list = json_array();
	while (options && *options) {
		size_t len = strcspn(options, ",");
		json_array_append_new(list, json_stringn(options, len));
		options += len + (options[len] == ',');
	}
	return json_pack("{s:s,s:s,s:s,s:o}", "destination", destination, "type", type, "source", source, "options", list);
}

static bool mounts_over(const struct builder *b, const char *destination)
{
	for (size_t i = 0; i < b->config->mount_count; i++)
		if (strcmp(b->config->mounts[i].container_path, destination) == 0)
			return true;
	return false;
}

static void add_default(const struct builder *b, json_t *mounts, const char *destination, const char *type, const char *source, const char *options)
{
	if (!mounts_over(b, destination))
		json_array_append_new(mounts, mount_row(destination, type, source, options));
}

#define MQUEUE_MAGIC 0x19800202

/* The host's own, with the host's IPC: as it is mounted there, since a mount of our own would be labelled, and with it what the host sees. */
static bool shows_host_queues(const struct builder *b)
{
	struct statfs fs;
	return b->sandbox->host_ipc && statfs("/dev/mqueue", &fs) == 0 && fs.f_type == MQUEUE_MAGIC;
}

static void add_system_mounts(const struct builder *b, json_t *mounts)
{
	bool userns = b->sandbox->uid_mappings != NULL;
	bool writable_sys = b->config->privileged;
	add_default(b, mounts, "/proc", "proc", "proc", "nosuid,noexec,nodev");
	add_default(b, mounts, "/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k");
	add_default(b, mounts, "/dev/pts", "devpts", "devpts", "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5");
	bool bound = shows_host_queues(b);
	add_default(b, mounts, "/dev/mqueue", bound ? "bind" : "mqueue", bound ? "/dev/mqueue" : "mqueue", bound ? "bind,rprivate,nosuid,noexec,nodev" : "nosuid,noexec,nodev");
	/* A new sysfs belongs to the network namespace's owner; in a user namespace the host's network shows the host's. */
	if (userns && b->sandbox->host_network)
		add_default(b, mounts, "/sys", "bind", "/sys", "rbind,nosuid,noexec,nodev,ro");
	else
		add_default(b, mounts, "/sys", "sysfs", "sysfs", writable_sys ? "nosuid,noexec,nodev,rw" : "nosuid,noexec,nodev,ro");
	add_default(b, mounts, "/sys/fs/cgroup", "cgroup", "cgroup", writable_sys ? "nosuid,noexec,nodev,relatime,rw" : "nosuid,noexec,nodev,relatime,ro");
}

static void add_sandbox_mounts(const struct builder *b, json_t *mounts)
{
	const struct runtime *runtime = b->runtime;
	const char *mode = b->config->read_only_rootfs ? "rbind,rprivate,ro" : "rbind,rprivate,rw";
	autofree char *resolv = sandbox_root(runtime, b->sandbox->id, "resolv.conf"), *hostname = sandbox_root(runtime, b->sandbox->id, "hostname");
	autofree char *shm = sandbox_run(runtime, b->sandbox->id, "shm");
	add_default(b, mounts, "/dev/shm", "bind", b->sandbox->host_ipc ? "/dev/shm" : shm, "rbind,rprivate,rw");
	add_default(b, mounts, "/etc/resolv.conf", "bind", resolv, mode);
	add_default(b, mounts, "/etc/hostname", "bind", hostname, mode);
}

static const char *const propagation_option[] = {
	[MOUNT_PRIVATE] = "rprivate",
	[MOUNT_HOST_TO_CONTAINER] = "rslave",
	[MOUNT_BIDIRECTIONAL] = "rshared",
};

static int compare_mounts(const void *a, const void *b)
{
	return strcmp((*(const struct container_mount *const *)a)->container_path, (*(const struct container_mount *const *)b)->container_path);
}

/*
 * Where on the host an image volume's sub path lies. Links of the image stay inside it: the OCI runtime would follow them on the host.
 * The image is mounted read only, so what was resolved stays true.
 */
static int image_volume_path(const struct builder *b, size_t index, const char *sub_path, char **ret, struct error *err)
{
	char name[32], link[32], resolved[PATH_MAX];
	snprintf(name, sizeof(name), "image-%zu", index);
	autofree char *base = container_root(b->runtime, b->container->id, name);
	if (str_empty(sub_path)) {
		*ret = take_ptr(base);
		return 0;
	}
	autoclose int root = open(base, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct open_how how = {.flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	autoclose int fd = root < 0 ? -1 : (int)syscall(SYS_openat2, root, sub_path, &how, sizeof(how));
	if (fd < 0)
		return error_set_errno(err, errno, "sub path \"%s\" of the image volume", sub_path);
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t len = readlink(link, resolved, sizeof(resolved) - 1);
	if (len <= 0)
		return error_set_errno(err, errno, "sub path \"%s\" of the image volume", sub_path);
	resolved[len] = 0;
	*ret = xstrdup(resolved);
	return 0;
}

/* By path, so that one inside another comes after it. */
static int add_config_mounts(const struct builder *b, json_t *mounts, struct error *err)
{
	size_t count = b->config->mount_count;
	autofree const struct container_mount **sorted = xcalloc(count + 1, sizeof(*sorted));
	for (size_t i = 0; i < count; i++)
		sorted[i] = &b->config->mounts[i];
	qsort(sorted, count, sizeof(*sorted), compare_mounts);
	for (size_t i = 0; i < count; i++) {
		const struct container_mount *mount = sorted[i];
		if (str_empty(mount->container_path) || mount->container_path[0] != '/')
			return error_set(err, EINVAL, "mount path \"%s\" is not absolute", str_or(mount->container_path, ""));
		int r = propagation_check(mount, err);
		if (r < 0) {
			error_reason(err, "CreateContainerError");
			return r;
		}
		if (!mount->host_path && !mount->image_ref) {
			json_array_append_new(mounts, mount_row(mount->container_path, "tmpfs", "tmpfs", mount->read_only ? "nosuid,nodev,ro" : "nosuid,nodev"));
			continue;
		}
		autofree char *prepared = NULL;
		if (mount->image_ref) { /* mounted by the caller, at the place that follows from the mount's own */
			r = image_volume_path(b, (size_t)(mount - b->config->mounts), mount->image_sub_path, &prepared, err);
			if (r < 0)
				return r;
		}
		else if (b->sandbox->uid_mappings) /* a view of it with mapped ids, mounted by the caller too */
			prepared = container_volume_path(b->runtime, b->container->id, (size_t)(mount - b->config->mounts));
		bool read_only = mount->read_only || mount->image_ref;
		autofree char *options = xprintf("rbind,%s,%s%s", propagation_option[mount->propagation], read_only ? "ro" : "rw",
			mount->recursive_read_only ? ",rro" : "");
		json_array_append_new(mounts, mount_row(mount->container_path, "bind", prepared ? prepared : mount->host_path, options));
	}
	return 0;
}

/* ---- linux ---- */

static void add_namespace(const struct builder *b, json_t *list, const char *type, enum namespace_kind kind)
{
	autofree char *path = sandbox_run(b->runtime, b->sandbox->id, namespace_files[kind]);
	json_array_append_new(list, json_pack("{s:s,s:s}", "type", type, "path", path));
}

static json_t *make_namespaces(const struct builder *b)
{
	const struct sandbox *sandbox = b->sandbox;
	json_t *list = json_array();
	json_array_append_new(list, json_pack("{s:s}", "type", "mount"));
	if (sandbox->share_process_namespace && !sandbox->host_pid)
		add_namespace(b, list, "pid", NS_PID);
	else if (b->target_pid && !sandbox->host_pid)
		json_array_append_new(list, json_pack("{s:s,s:o}", "type", "pid", "path", json_sprintf("/proc/%d/ns/pid", (int)b->target_pid)));
	else if (!sandbox->host_pid)
		json_array_append_new(list, json_pack("{s:s}", "type", "pid"));
	if (!sandbox->host_network) {
		add_namespace(b, list, "network", NS_NET);
		add_namespace(b, list, "uts", NS_UTS);
	}
	if (!sandbox->host_ipc)
		add_namespace(b, list, "ipc", NS_IPC);
	if (sandbox->uid_mappings)
		add_namespace(b, list, "user", NS_USER);
	if (cgroup_version(b->runtime->cgroups) == 2 && !b->config->privileged)
		json_array_append_new(list, json_pack("{s:s}", "type", "cgroup"));
	return list;
}

json_t *spec_resources(const struct cgroup_resources *res)
{
	json_t *root = json_object(), *cpu = json_object(), *memory = json_object();
	if (res->cpu_shares > 0)
		json_object_set_new(cpu, "shares", json_integer(res->cpu_shares));
	if (res->cpu_quota_us) {
		json_object_set_new(cpu, "quota", json_integer(res->cpu_quota_us));
		json_object_set_new(cpu, "period", json_integer(res->cpu_period_us > 0 ? res->cpu_period_us : 100000));
	}
	if (!str_empty(res->cpuset_cpus))
		json_object_set_new(cpu, "cpus", json_string(res->cpuset_cpus));
	if (!str_empty(res->cpuset_mems))
		json_object_set_new(cpu, "mems", json_string(res->cpuset_mems));
	if (res->memory_limit)
		json_object_set_new(memory, "limit", json_integer(res->memory_limit));
	if (res->memory_limit > 0 && (res->no_swap || res->swap_limit > 0))
		json_object_set_new(memory, "swap", json_integer(res->memory_limit + (res->no_swap ? 0 : res->swap_limit)));
	if (json_object_size(cpu))
		json_object_set(root, "cpu", cpu);
	if (json_object_size(memory))
		json_object_set(root, "memory", memory);
	json_decref(cpu);
	json_decref(memory);
	if (res->pids_limit)
		json_object_set_new(root, "pids", json_pack("{s:I}", "limit", (json_int_t)res->pids_limit));
	json_t *huge = json_array();
	for (size_t i = 0; i < res->hugepage_count; i++) {
		uint64_t size = res->hugepages[i].page_size;
		int shift = size >= 1 << 30 ? 30 : size >= 1 << 20 ? 20 : 10;
		autofree char *name = xprintf("%llu%s", (unsigned long long)(size >> shift), shift == 30 ? "GB" : shift == 20 ? "MB" : "KB");
		json_array_append_new(huge, json_pack("{s:s,s:I}", "pageSize", name, "limit", (json_int_t)res->hugepages[i].limit));
	}
	if (json_array_size(huge))
		json_object_set(root, "hugepageLimits", huge);
	json_decref(huge);
	/* What only v2 has goes as it is named there. */
	bool swap_alone = (res->no_swap || res->swap_limit > 0) && res->memory_limit < 0;
	if (res->memory_min > 0 || res->memory_high > 0 || res->oom_group || swap_alone) {
		json_t *unified = json_object();
		if (res->oom_group)
			json_object_set_new(unified, "memory.oom.group", json_string("1"));
		if (swap_alone)
			json_object_set_new(unified, "memory.swap.max", json_sprintf("%lld", (long long)(res->no_swap ? 0 : res->swap_limit)));
		if (res->memory_min > 0)
			json_object_set_new(unified, "memory.min", json_sprintf("%lld", (long long)res->memory_min));
		if (res->memory_high > 0)
			json_object_set_new(unified, "memory.high", json_sprintf("%lld", (long long)res->memory_high));
		json_object_set_new(root, "unified", unified);
	}
	return root;
}

/* One device node of the host, for linux.devices and the device cgroup. */
static int add_device(json_t *devices, json_t *rules, const char *host_path, const char *container_path, const char *permissions, struct error *err)
{
	struct stat st;
	if (stat(host_path, &st) < 0)
		return error_set_errno(err, errno, "device %s", host_path);
	if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
		return error_set(err, ENODEV, "%s is not a device", host_path);
	const char *type = S_ISCHR(st.st_mode) ? "c" : "b";
	int number_major = (int)major(st.st_rdev), number_minor = (int)minor(st.st_rdev);
	json_array_append_new(devices, json_pack("{s:s,s:s,s:i,s:i,s:i,s:i,s:i}", "path", container_path, "type", type, "major", number_major, "minor",
		number_minor, "fileMode", (int)(st.st_mode & 07777), "uid", (int)st.st_uid, "gid", (int)st.st_gid));
	if (rules)
		json_array_append_new(rules, json_pack("{s:b,s:s,s:i,s:i,s:s}", "allow", 1, "type", type, "major", number_major, "minor", number_minor,
			"access", permissions));
	return 0;
}

/* Every device node of the host's /dev, for privileged containers; folders that the container mounts itself are left out. */
static void add_host_devices(json_t *devices, const char *folder, int depth)
{
	static const char *const skipped[] = {"pts", "shm", "mqueue", "fd", "hugepages", "console", "ptmx", "stdin", "stdout", "stderr"};
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir)) && json_array_size(devices) < MAX_HOST_DEVICES;) {
		bool skip = e->d_name[0] == '.';
		for (size_t i = 0; depth == 0 && i < array_len(skipped); i++)
			skip = skip || strcmp(e->d_name, skipped[i]) == 0;
		if (skip || e->d_type == DT_LNK)
			continue;
		autofree char *path = path_join(folder, e->d_name, NULL);
		if (e->d_type == DT_DIR && depth < 4)
			add_host_devices(devices, path, depth + 1);
		else if (e->d_type == DT_CHR || e->d_type == DT_BLK)
			add_device(devices, NULL, path, path, "rwm", NULL);
	}
	if (dir)
		closedir(dir);
}

/* A folder given as a device stands for the nodes in it. */
static int add_config_device(const struct container_device *device, json_t *devices, json_t *rules, struct error *err)
{
	struct stat st;
	const char *target = str_or(device->container_path, device->host_path), *permissions = str_or(device->permissions, "rwm");
	if (stat(device->host_path, &st) < 0 || !S_ISDIR(st.st_mode))
		return add_device(devices, rules, device->host_path, target, permissions, err);
	DIR *dir = opendir(device->host_path);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		autofree char *from = path_join(device->host_path, e->d_name, NULL), *to = path_join(target, e->d_name, NULL);
		if (e->d_type == DT_CHR || e->d_type == DT_BLK)
			add_device(devices, rules, from, to, permissions, NULL);
	}
	if (dir)
		closedir(dir);
	return 0;
}

static int make_devices(const struct builder *b, json_t *linux_part, json_t *resources, struct error *err)
{
	json_t *devices = json_array(), *rules = json_array();
	json_array_append_new(rules, json_pack("{s:b,s:s}", "allow", b->config->privileged, "access", "rwm"));
	int r = 0;
	if (b->config->privileged)
		add_host_devices(devices, "/dev", 0);
	for (size_t i = 0; r == 0 && i < b->config->device_count; i++)
		r = add_config_device(&b->config->devices[i], devices, rules, err);
	json_object_set_new(linux_part, "devices", devices);
	json_object_set_new(resources, "devices", rules);
	return r;
}

static int make_seccomp(const struct builder *b, json_t *linux_part, struct error *err)
{
	if (b->config->privileged || b->config->seccomp == SECCOMP_UNCONFINED)
		return 0;
	if (b->config->seccomp == SECCOMP_RUNTIME_DEFAULT) {
		json_object_set_new(linux_part, "seccomp", seccomp_profile(b->capabilities));
		return 0;
	}
	const char *name = str_or(b->config->seccomp_profile, "");
	if (!*name || *name == '/' || strstr(name, ".."))
		return error_set(err, EINVAL, "seccomp profile \"%s\" is not a path below %s", name, b->runtime->seccomp_dir);
	autofree char *path = path_join(b->runtime->seccomp_dir, name, NULL), *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, MAX_SECCOMP, &text, &len, err);
	if (r < 0)
		return error_context(err, "seccomp profile");
	json_t *profile = json_loadb(text, len, 0, NULL);
	if (!json_is_object(profile)) {
		json_decref(profile);
		return error_set(err, EINVAL, "seccomp profile %s is not a JSON object", path);
	}
	json_object_set_new(linux_part, "seccomp", profile);
	return 0;
}

static void make_paths(const struct builder *b, json_t *linux_part)
{
	static const char *const masked[] = {"/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap"};
	static const char *const read_only[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
	if (b->config->privileged || b->config->unmasked_proc)
		return;
	json_t *hide = json_array(), *lock = json_array();
	for (size_t i = 0; i < array_len(masked); i++)
		append(hide, masked[i]);
	for (size_t i = 0; i < array_len(read_only); i++)
		append(lock, read_only[i]);
	json_object_set_new(linux_part, "maskedPaths", hide);
	json_object_set_new(linux_part, "readonlyPaths", lock);
}

/* Privileged containers see what is mounted on the host later only where a mount asks for it: then the root must let it in. */
static const char *root_propagation(const struct container_config *config)
{
	const char *propagation = NULL;
	for (size_t i = 0; i < config->mount_count; i++) {
		if (config->mounts[i].propagation == MOUNT_BIDIRECTIONAL)
			return "rshared";
		if (config->mounts[i].propagation == MOUNT_HOST_TO_CONTAINER)
			propagation = "rslave";
	}
	return propagation;
}

static int make_linux(const struct builder *b, json_t **ret, struct error *err)
{
	json_t *resources = spec_resources(&b->config->resources);
	json_t *part = json_pack("{s:s,s:o,s:o}", "cgroupsPath", b->container->cgroup_path, "namespaces", make_namespaces(b), "resources", resources);
	if (b->sandbox->uid_mappings) {
		json_object_set(part, "uidMappings", b->sandbox->uid_mappings);
		json_object_set(part, "gidMappings", b->sandbox->gid_mappings);
	}
	if (b->sandbox->sysctls.len) {
		json_t *sysctls = json_object();
		for (size_t i = 0; i < b->sandbox->sysctls.len; i++)
			json_object_set_new(sysctls, b->sandbox->sysctls.items[i].key, json_string(b->sandbox->sysctls.items[i].value));
		json_object_set_new(part, "sysctl", sysctls);
	}
	if (root_propagation(b->config))
		json_object_set_new(part, "rootfsPropagation", json_string(root_propagation(b->config)));
	if (b->labels->files)
		json_object_set_new(part, "mountLabel", json_string(b->labels->files));
	make_paths(b, part);
	int r = make_devices(b, part, resources, err);
	if (r == 0)
		r = make_seccomp(b, part, err);
	if (r < 0)
		json_decref(part);
	else
		*ret = part;
	return r;
}

int spec_make(struct runtime *runtime, const struct sandbox *sandbox, const struct container *container, const struct container_config *config,
	const struct image *image, const struct user *user, const struct spec_labels *labels, pid_t target_pid, json_t **ret, struct error *err)
{
	struct builder b = {runtime, sandbox, container, config, image, user, labels, target_pid, capabilities_of(config, sandbox->uid_mappings ? ~(uint64_t)0 : runtime->own_capabilities)};
	autojson json_t *mounts = json_array(), *process = make_process(&b);
	json_t *linux_part = NULL;
	if (!process)
		return error_set(err, EILSEQ, "command, arguments or environment are not UTF-8");
	if (json_array_size(json_object_get(process, "args")) == 0)
		return error_set(err, EINVAL, "no command specified");
	add_system_mounts(&b, mounts);
	add_sandbox_mounts(&b, mounts);
	int r = check_apparmor(&b, err);
	if (r == 0)
		r = add_config_mounts(&b, mounts, err);
	if (r == 0)
		r = make_linux(&b, &linux_part, err);
	if (r < 0)
		return r;
	autofree char *rootfs = container_root(runtime, container->id, "rootfs");
	/* The host name is that of the pinned namespace already. */
	json_t *spec = json_pack("{s:s,s:O,s:{s:s,s:b},s:O,s:o}", "ociVersion", "1.0.2", "process", process, "root", "path", rootfs, "readonly",
		config->read_only_rootfs, "mounts", mounts, "linux", linux_part);
	if (!spec)
		return error_set(err, EILSEQ, "container configuration is not UTF-8");
	r = config->cdi_devices ? cdi_inject((const char *const *)runtime->cdi_dirs, config->cdi_devices, spec, err) : 0;
	if (r < 0)
		json_decref(spec);
	else
		*ret = spec;
	return r;
}
