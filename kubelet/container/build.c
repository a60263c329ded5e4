/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/build.h"

#include "common/base/file.h"
#include "common/base/random.h"
#include "kubelet/container/env.h"
#include "kubelet/container/expand.h"
#include "kubelet/container/resources.h"
#include "kubelet/device/device.h"
#include "kubelet/node/eviction.h"
#include "kubelet/node/node.h"
#include "kubelet/resource/managers.h"
#include "kubelet/volume/mount.h"
#include "kubelet/volume/subpath.h"
#include "kubelet/volume/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_ARGUMENT (4u << 20) /* bytes of one argument after expansion */
#define HOSTS_PATH "/etc/hosts"

static bool is_true(const bool *b) {
	return b && *b;
}

static int expand_list(const struct api_string_list *list, struct env_list *env, struct arena *arena, const char *const **ret, struct error *err) {
	*ret = NULL;
	if (!list->len)
		return 0;
	const char **out = arena_calloc(arena, list->len + 1, sizeof(*out));
	for (uint32_t i = 0; i < list->len; i++) {
		autobuf struct buf text = BUF_INIT(MAX_ARGUMENT);
		expand_variables(&text, list->items[i] ? list->items[i] : "", env_lookup, env);
		if (buf_failed(&text))
			return error_set(err, E2BIG, "argument %u is too long", i);
		out[i] = arena_strdup(arena, text.data ? text.data : "");
	}
	*ret = out;
	return 0;
}

static const struct core_v1_volume *find_volume(const struct core_v1_pod *pod, const char *name) {
	for api_list_each (volume, &pod->spec.volumes)
		if (str_equal(volume->name, name))
			return volume;
	return NULL;
}

static int mount_sub_path(const struct build_container_input *in, const struct core_v1_volume_mount *mount, size_t index, struct env_list *env, const char **host_path, struct arena *arena, struct error *err) {
	autobuf struct buf expanded = BUF_INIT(4096);
	const char *sub = mount->sub_path;
	if (!str_empty(mount->sub_path_expr)) {
		if (expand_variables(&expanded, mount->sub_path_expr, env_lookup, env) || buf_failed(&expanded))
			return error_set(err, EINVAL, "missing value for %s", mount->sub_path_expr);
		sub = expanded.data ? expanded.data : "";
		if (*sub == '/')
			return error_set(err, EINVAL, "%s must be a relative path", sub);
	}
	if (str_empty(sub))
		return 0;
	autofree char *pod_dir = build_pod_dir(in->kubelet, in->pod->metadata.uid), *number = xprintf("%zu", index);
	autofree char *target = path_join(pod_dir, "volume-subpaths", mount->name, in->container->name, number, NULL);
	/* A restarted container may mean another path by the same expression. */
	int r = subpath_clean(target, err);
	if (r == 0)
		r = subpath_bind(*host_path, sub, target, err);
	if (r < 0) {
		error_context(err, "failed to prepare subPath for volumeMount \"%s\" of container \"%s\"", mount->name, in->container->name);
		return r;
	}
	*host_path = arena_strdup(arena, target);
	return 0;
}

static enum container_mount_propagation propagation(const struct core_v1_volume_mount *mount) {
	if (str_equal(mount->mount_propagation, CORE_V1_MOUNT_PROPAGATION_MODE_BIDIRECTIONAL))
		return MOUNT_BIDIRECTIONAL;
	return str_equal(mount->mount_propagation, CORE_V1_MOUNT_PROPAGATION_MODE_HOST_TO_CONTAINER) ? MOUNT_HOST_TO_CONTAINER : MOUNT_PRIVATE;
}

static int add_mount(const struct build_container_input *in, const struct core_v1_volume_mount *mount, size_t index, struct env_list *env, struct arena *arena, struct container_mount *ret, struct error *err) {
	const struct core_v1_volume *volume = find_volume(in->pod, mount->name);
	const struct volume_plugin *plugin = volume ? volume_plugin_find(volume) : NULL;
	const char *path = map_get(in->volume_paths, mount->name);
	if (!plugin || !path)
		return error_set(err, ENOENT, "volume \"%s\" is not set up", mount->name);
	*ret = (struct container_mount){
		.container_path = *mount->mount_path == '/' ? mount->mount_path : arena_printf(arena, "/%s", mount->mount_path),
		.read_only = mount->read_only || plugin->read_only,
		.recursive_read_only = !str_empty(mount->recursive_read_only) && !str_equal(mount->recursive_read_only, CORE_V1_RECURSIVE_READ_ONLY_MODE_DISABLED),
		.propagation = propagation(mount),
	};
	if (volume->image) {
		ret->image_ref = volume->image->reference;
		ret->image_sub_path = str_empty(mount->sub_path) ? NULL : mount->sub_path;
		return 0;
	}
	ret->relabel = plugin->relabel;
	/* A hostPath is shared or not as the host has it; a volume of the pod's own can be made so. */
	int r = ret->propagation == MOUNT_PRIVATE || volume->host_path ? 0 : mount_share(path, err);
	if (r == 0)
		r = mount_sub_path(in, mount, index, env, &path, arena, err);
	if (r == 0)
		ret->host_path = arena_strdup(arena, path);
	return r;
}

/* The file a container leaves its last words in. Its host path is kept as a label. */
static int make_termination_file(const struct build_container_input *in, struct arena *arena, const char **ret, struct error *err) {
	char suffix[9];
	random_name_suffix(suffix, 8);
	autofree char *pod_dir = build_pod_dir(in->kubelet, in->pod->metadata.uid), *dir = path_join(pod_dir, "containers", in->container->name, NULL), *path = path_join(dir, suffix, NULL);
	int r = file_mkdir_all(dir, 0750, err);
	if (r < 0)
		return r;
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	/* Any user of the container may write it, whatever our umask. */
	if (fd < 0 || fchmod(fd, 0666) < 0)
		return error_set_errno(err, errno, "create %s", path);
	*ret = arena_strdup(arena, path);
	return 0;
}

static bool mounts_at(const struct core_v1_container *container, const char *path) {
	for api_list_each (mount, &container->volume_mounts)
		if (str_equal(mount->mount_path, path))
			return true;
	return false;
}

static int build_mounts(const struct build_container_input *in, struct env_list *env, struct arena *arena, struct container_config *ret, const char **ret_termination, struct error *err) {
	const struct core_v1_container *c = in->container;
	struct container_mount *mounts = arena_calloc(arena, c->volume_mounts.len + 2, sizeof(*mounts));
	size_t count = 0;
	for (uint32_t i = 0; i < c->volume_mounts.len; i++) {
		int r = add_mount(in, &c->volume_mounts.items[i], i, env, arena, &mounts[count++], err);
		if (r < 0)
			return r;
	}
	if (!mounts_at(c, HOSTS_PATH)) {
		autofree char *pod_dir = build_pod_dir(in->kubelet, in->pod->metadata.uid), *path = path_join(pod_dir, "etc-hosts", NULL);
		mounts[count++] = (struct container_mount){.host_path = arena_strdup(arena, path), .container_path = HOSTS_PATH, .relabel = true};
	}
	if (!str_empty(c->termination_message_path)) {
		int r = make_termination_file(in, arena, ret_termination, err);
		if (r < 0)
			return r;
		mounts[count++] = (struct container_mount){.host_path = *ret_termination, .container_path = c->termination_message_path, .relabel = true};
	}
	ret->mounts = mounts;
	ret->mount_count = count;
	return 0;
}

static void set_seccomp(const struct core_v1_seccomp_profile *of_container, const struct core_v1_seccomp_profile *of_pod, bool confined, struct container_config *ret) {
	const struct core_v1_seccomp_profile *profile = of_container ? of_container : of_pod;
	if (ret->privileged)
		return;
	if (!profile) {
		if (confined)
			ret->seccomp = SECCOMP_RUNTIME_DEFAULT;
		return;
	}
	if (str_equal(profile->type, CORE_V1_SECCOMP_PROFILE_TYPE_RUNTIME_DEFAULT))
		ret->seccomp = SECCOMP_RUNTIME_DEFAULT;
	if (str_equal(profile->type, CORE_V1_SECCOMP_PROFILE_TYPE_LOCALHOST)) {
		ret->seccomp = SECCOMP_LOCALHOST;
		ret->seccomp_profile = profile->localhost_profile;
	}
}

static void set_apparmor(const struct core_v1_app_armor_profile *of_container, const struct core_v1_app_armor_profile *of_pod, struct arena *arena, struct container_config *ret) {
	const struct core_v1_app_armor_profile *profile = of_container ? of_container : of_pod;
	if (ret->privileged)
		ret->apparmor_profile = "unconfined";
	else if (!profile)
		ret->apparmor_profile = NULL;
	else if (str_equal(profile->type, CORE_V1_APP_ARMOR_PROFILE_TYPE_UNCONFINED))
		ret->apparmor_profile = "unconfined";
	else if (str_equal(profile->type, CORE_V1_APP_ARMOR_PROFILE_TYPE_RUNTIME_DEFAULT))
		ret->apparmor_profile = "runtime/default";
	else
		ret->apparmor_profile = arena_printf(arena, "localhost/%s", profile->localhost_profile ? profile->localhost_profile : "");
}

const struct container_selinux *build_selinux(const struct core_v1_se_linux_options *options, struct arena *arena) {
	if (!options)
		return NULL;
	const struct container_selinux row = {options->user, options->role, options->type, options->level};
	return arena_memdup(arena, &row, sizeof(row));
}

static const char *const *strings(const struct api_string_list *list, struct arena *arena) {
	const char **out = arena_calloc(arena, list->len + 1, sizeof(*out));
	for (uint32_t i = 0; i < list->len; i++)
		out[i] = list->items[i];
	return out;
}

static void set_groups(const struct core_v1_pod_security_context *p, struct arena *arena, struct container_config *ret) {
	int64_t *groups = arena_calloc(arena, p->supplemental_groups.len + 1, sizeof(*groups));
	size_t count = 0;
	if (p->fs_group)
		groups[count++] = *p->fs_group;
	for api_list_each (group, &p->supplemental_groups)
		groups[count++] = *group;
	ret->supplemental_groups = groups;
	ret->supplemental_group_count = count;
	ret->strict_groups = str_equal(p->supplemental_groups_policy, CORE_V1_SUPPLEMENTAL_GROUPS_POLICY_STRICT);
}

/* confined: a container that says nothing of seccomp gets the default profile. */
static void build_security(const struct core_v1_pod *pod, const struct core_v1_container *container, bool confined, struct arena *arena, struct container_config *ret) {
	static const struct core_v1_security_context none;
	static const struct core_v1_pod_security_context pod_none;
	const struct core_v1_security_context *c = container->security_context ? container->security_context : &none;
	const struct core_v1_pod_security_context *p = pod->spec.security_context ? pod->spec.security_context : &pod_none;
	const int64_t *user = c->run_as_user ? c->run_as_user : p->run_as_user, *group = c->run_as_group ? c->run_as_group : p->run_as_group;
	const bool *non_root = c->run_as_non_root ? c->run_as_non_root : p->run_as_non_root;
	ret->has_run_as_user = user;
	ret->run_as_user = user ? *user : 0;
	ret->has_run_as_group = group;
	ret->run_as_group = group ? *group : 0;
	ret->run_as_non_root = is_true(non_root);
	set_groups(p, arena, ret);
	ret->privileged = is_true(c->privileged);
	if (c->capabilities) {
		ret->add_capabilities = strings(&c->capabilities->add, arena);
		ret->drop_capabilities = strings(&c->capabilities->drop, arena);
	}
	ret->read_only_rootfs = is_true(c->read_only_root_filesystem);
	ret->no_new_privileges = c->allow_privilege_escalation && !*c->allow_privilege_escalation;
	ret->unmasked_proc = str_equal(c->proc_mount, CORE_V1_PROC_MOUNT_TYPE_UNMASKED);
	set_seccomp(c->seccomp_profile, p->seccomp_profile, confined, ret);
	set_apparmor(c->app_armor_profile, p->app_armor_profile, arena, ret);
	ret->selinux = build_selinux(c->se_linux_options ? c->se_linux_options : p->se_linux_options, arena);
}

static void build_labels(const struct build_container_input *in, const char *termination, struct arena *arena, struct container_config *ret) {
	const struct runtime_label rows[] = {
		{LABEL_KIND, in->kind},
		{LABEL_TERMINATION_FILE, termination ? termination : ""},
		{LABEL_TERMINATION_POLICY, str_or(in->container->termination_message_policy, CORE_V1_TERMINATION_MESSAGE_POLICY_FILE)},
		{"io.kubernetes.container.name", in->container->name},
		{"io.kubernetes.pod.name", in->pod->metadata.name},
		{"io.kubernetes.pod.namespace", in->pod->metadata.namespace},
		{"io.kubernetes.pod.uid", in->pod->metadata.uid},
	};
	ret->labels = arena_memdup(arena, rows, sizeof(rows));
	ret->label_count = array_len(rows);
}

/* What plugins give with the devices that the container has; the spec's own variables come before theirs. */
static int add_devices(const struct build_container_input *in, struct env_list *env, struct arena *arena, struct container_config *ret, struct error *err) {
	struct device_grant grant;
	int r = device_manager_grant(in->kubelet->devices, in->pod, in->container->name, arena, &grant, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < grant.env_count; i++)
		if (!env_get(env, grant.envs[i].key))
			env_set(env, grant.envs[i].key, grant.envs[i].value);
	if (grant.mount_count) {
		struct container_mount *mounts = arena_calloc(arena, grant.mount_count + ret->mount_count, sizeof(*mounts));
		memcpy(mounts, grant.mounts, grant.mount_count * sizeof(*mounts));
		if (ret->mount_count)
			memcpy(mounts + grant.mount_count, ret->mounts, ret->mount_count * sizeof(*mounts));
		ret->mounts = mounts;
		ret->mount_count += grant.mount_count;
	}
	if (grant.cdi_count) {
		const char **names = arena_calloc(arena, grant.cdi_count + 1, sizeof(*names));
		memcpy(names, grant.cdi_devices, grant.cdi_count * sizeof(*names));
		ret->cdi_devices = names;
	}
	ret->devices = grant.devices;
	ret->device_count = grant.device_count;
	return 0;
}

int build_container(const struct build_container_input *in, struct arena *arena, struct container_config *ret, struct error *err) {
	const struct core_v1_container *c = in->container;
	struct container_config config = {.name = c->name, .attempt = in->attempt, .image = in->image_id, .target_id = in->target_id, .stdin_open = c->stdin, .stdin_once = c->stdin_once, .tty = c->tty};
	struct env_list env;
	const char *termination = NULL;
	int r = env_build(in->pod, c, in->facts, in->kubelet->objects, arena, &env, err);
	if (r == 0)
		r = expand_list(&c->command, &env, arena, &config.command, err);
	if (r == 0)
		r = expand_list(&c->args, &env, arena, &config.args, err);
	if (r == 0)
		r = build_mounts(in, &env, arena, &config, &termination, err);
	if (r < 0)
		return r;
	/* Every container knows its own name; the spec may say otherwise. */
	const char *hostname, *domain;
	build_hostname(in->kubelet, in->pod, arena, &hostname, &domain);
	if (!in->pod->spec.host_network && !env_get(&env, "HOSTNAME"))
		env_set(&env, "HOSTNAME", hostname);
	r = add_devices(in, &env, arena, &config, err);
	if (r < 0)
		return r;
	config.env = env_strings(&env);
	config.working_dir = str_empty(c->working_dir) ? NULL : c->working_dir;
	config.log_path = arena_printf(arena, "%s/%u.log", c->name, in->attempt);
	build_security(in->pod, c, in->kubelet->options.seccomp_default, arena, &config);
	resources_container_cgroup(in->pod, c, &config.resources);
	if (!cgroup_has_controller(in->kubelet->cgroups, "hugetlb"))
		config.resources.hugepage_count = 0;
	config.resources.no_swap = cgroup_limits_swap(in->kubelet->cgroups);
	if (config.resources.no_swap && str_equal(in->kubelet->options.swap_behavior, "LimitedSwap") && !eviction_is_critical(in->pod))
		config.resources.swap_limit = resources_swap(in->pod, c, in->kubelet->memory_capacity, node_info_swap());
	config.resources.no_swap = config.resources.no_swap && !config.resources.swap_limit;
	config.resources.oom_group = cgroup_version(in->kubelet->cgroups) == 2 && !in->kubelet->options.single_process_oom_kill;
	if (!in->kubelet->options.cpu_cfs_quota)
		config.resources.cpu_quota_us = -1;
	resource_managers_fill(in->kubelet->managers, in->pod, c, arena, &config.resources);
	config.oom_score_adj = resources_oom_score_adj(in->pod, c, in->kubelet->memory_capacity);
	config.stop_signal = c->lifecycle && !str_empty(c->lifecycle->stop_signal) ? c->lifecycle->stop_signal : NULL;
	build_labels(in, termination, arena, &config);
	*ret = config;
	return 0;
}
