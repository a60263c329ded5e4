/* SPDX-License-Identifier: Apache-2.0 */
/* Containers: laid out, removed, shown, resized. Running them is launch.c's. */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_LOG_PATH 4096

/* ---- creating ---- */

struct creation {
	struct runtime *runtime;
	struct sandbox *sandbox;
	const struct container_config *config;
	struct container *container;
	struct image *image;
	struct user user;
	struct spec_labels labels;
};

static struct container *container_from_config(const struct creation *c)
{
	autofree char *id = new_id();
	struct container *container = container_new(id);
	const struct container_config *config = c->config;
	container->sandbox_id = xstrdup(c->sandbox->id);
	container->pod_uid = xstrdup(c->sandbox->pod_uid);
	container->name = xstrdup(str_or(config->name, ""));
	container->image = xstrdup(config->image);
	container->image_id = xstrdup(c->image->id);
	container->image_status = xstrdup(image_status_id(c->image));
	container->attempt = config->attempt;
	container->state = CONTAINER_CREATED;
	container->created_ns = wall_ns();
	const char *log = str_or(config->log_path, "container.log");
	container->log_path = *log == '/' ? xstrdup(log) : path_join(c->sandbox->log_dir, log, NULL);
	container->cgroup_path = xprintf("%s/%s", c->sandbox->cgroup_parent, container->id);
	container->stop_signal = xstrdup(signal_name(signal_number(str_or(config->stop_signal, c->image->config.stop_signal), SIGTERM)));
	container->boot_id = xstrdup(c->runtime->boot_id);
	container->tty = config->tty;
	container->stdin_open = config->stdin_open;
	container->stdin_once = config->stdin_once;
	labels_copy(&container->labels, config->labels, config->label_count);
	return container;
}

/*
 * The mount gives what is in it one label, but what is mapped into memory is the layer's own file, which is looked at too: so each layer is labelled, when it is
 * used first.
 */
static int label_layers(const struct creation *c, const struct image *image, struct error *err)
{
	const char *label = c->labels.files ? selinux_shared_label(c->runtime->selinux) : NULL;
	int r = 0;
	for (size_t i = 0; r == 0 && label && image->layers[i]; i++) {
		autofree char *folder = image_layer_folder(c->runtime->images, image, i);
		r = selinux_relabel_once(folder, label, err);
	}
	return r;
}

/* Image volumes are mounted beside the rootfs; spec.c binds them into place. */
static int mount_image_volumes(const struct creation *c, struct error *err)
{
	for (size_t i = 0; i < c->config->mount_count; i++) {
		const struct container_mount *mount = &c->config->mounts[i];
		if (!mount->image_ref)
			continue;
		if (mount->image_sub_path && (mount->image_sub_path[0] == '/' || strstr(mount->image_sub_path, "..")))
			return error_set(err, EINVAL, "sub path \"%s\" leads outside the image", mount->image_sub_path);
		autoimage struct image *image = NULL;
		int r = image_get(c->runtime->images, mount->image_ref, &image, err);
		if (r < 0)
			return r;
		char name[32];
		snprintf(name, sizeof(name), "image-%zu", i);
		autofree char *target = container_root(c->runtime, c->container->id, name);
		if (mkdir(target, 0755) < 0 && errno != EEXIST)
			return error_set_errno(err, errno, "make %s", target);
		r = image_lease(c->runtime->images, image->id, c->container->id, err);
		if (r == 0)
			r = label_layers(c, image, err);
		if (r == 0)
			r = image_mount(c->runtime->images, image, &(struct image_place){.target = target, .userns_fd = -1, .label = c->labels.files}, err);
		if (r < 0)
			return r;
	}
	return 0;
}

char *container_volume_path(const struct runtime *runtime, const char *id, size_t index)
{
	char name[32];
	snprintf(name, sizeof(name), "volume-%zu", index);
	return container_root(runtime, id, name);
}

/* A view of `source`, and of what is mounted below it, at `target`: owners on disk are what the container sees, not their mapped ids. */
static int mount_mapped(const char *source, const char *target, int userns, struct error *err)
{
	struct stat st;
	autoclose int tree = (int)syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (tree < 0 || fstat(tree, &st) < 0)
		return error_set_errno(err, errno, "open %s", source);
	struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint64_t)userns};
	if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr)) < 0)
		return error_set_errno(err, errno, "map ids of %s (its file system may not know how)", source);
	autoclose int made = S_ISDIR(st.st_mode) ? -1 : open(target, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (S_ISDIR(st.st_mode) ? mkdir(target, 0700) < 0 && errno != EEXIST : made < 0)
		return error_set_errno(err, errno, "make %s", target);
	if (syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return error_set_errno(err, errno, "mount %s at %s", source, target);
	return 0;
}

static int mount_volumes(const struct creation *c, struct error *err)
{
	if (!c->sandbox->uid_mappings)
		return 0;
	autofree char *path = sandbox_run(c->runtime, c->sandbox->id, namespace_files[NS_USER]);
	autoclose int userns = open(path, O_RDONLY | O_CLOEXEC);
	if (userns < 0)
		return error_set_errno(err, errno, "user namespace %s", path);
	for (size_t i = 0; i < c->config->mount_count; i++) {
		autofree char *target = container_volume_path(c->runtime, c->container->id, i);
		int r = c->config->mounts[i].host_path ? mount_mapped(c->config->mounts[i].host_path, target, userns, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static int64_t mapped_root(json_t *mappings)
{
	json_t *row;
	size_t i;
	json_array_foreach(mappings, i, row) if (json_integer_value(json_object_get(row, "containerID")) == 0) return json_integer_value(json_object_get(row, "hostID"));
	return 0;
}

static int mount_rootfs(const struct creation *c, struct error *err)
{
	struct runtime *runtime = c->runtime;
	const char *id = c->container->id;
	autofree char *rootfs = container_root(runtime, id, "rootfs"), *upper = container_root(runtime, id, "upper"), *work = container_root(runtime, id, "work");
	if (mkdir(rootfs, 0755) < 0 || mkdir(upper, 0755) < 0)
		return error_set_errno(err, errno, "make %s", rootfs);
	autoclose int userns = -1;
	if (c->sandbox->uid_mappings) {
		autofree char *path = sandbox_run(runtime, c->sandbox->id, namespace_files[NS_USER]);
		userns = open(path, O_RDONLY | O_CLOEXEC);
		if (userns < 0 || chown(upper, (uid_t)mapped_root(c->sandbox->uid_mappings), (gid_t)mapped_root(c->sandbox->gid_mappings)) < 0)
			return error_set_errno(err, errno, "user namespace %s", path);
	}
	int r = label_layers(c, c->image, err);
	if (r < 0)
		return r;
	const struct image_place place = {.target = rootfs, .upper = upper, .work = work, .userns_fd = userns, .label = c->labels.files};
	return image_mount(runtime->images, c->image, &place, err);
}

static int resolve_user(const struct creation *c, struct user *ret, struct error *err)
{
	autofree char *rootfs = container_root(c->runtime, c->container->id, "rootfs");
	int r = user_resolve(rootfs, c->config, c->image->config.user, ret, err);
	if (r < 0) {
		error_reason(err, "CreateContainerConfigError");
		return r;
	}
	if (c->config->run_as_non_root && ret->uid == 0) {
		error_set(err, EPERM, "%s (pod: \"%s_%s(%s)\", container: %s)",
			c->config->has_run_as_user ? "container's runAsUser breaks non-root policy" : "container has runAsNonRoot and image will run as root",
			c->sandbox->pod_name, c->sandbox->pod_namespace, c->sandbox->pod_uid, c->container->name);
		error_reason(err, "CreateContainerConfigError");
		return -EPERM;
	}
	struct container *container = c->container;
	container->uid = ret->uid;
	container->gid = ret->gid;
	container->groups = json_array();
	for (size_t i = 0; i < ret->group_count; i++)
		json_array_append_new(container->groups, json_integer(ret->groups[i]));
	return 0;
}

static int target_process(const struct creation *c, pid_t *ret, struct error *err)
{
	pthread_mutex_lock(&c->runtime->lock);
	const struct container *target = map_get(&c->runtime->containers, c->config->target_id);
	bool runs = target && target->state == CONTAINER_RUNNING && str_equal(target->sandbox_id, c->sandbox->id);
	if (runs)
		*ret = (pid_t)target->pid;
	pthread_mutex_unlock(&c->runtime->lock);
	return runs ? 0 : error_set(err, ESRCH, "target container \"%s\" is not running", c->config->target_id);
}

static int write_bundle(const struct creation *c, const struct user *user, struct error *err)
{
	autojson json_t *spec = NULL;
	pid_t target = 0;
	int r = c->config->target_id ? target_process(c, &target, err) : 0;
	if (r == 0)
		r = spec_make(c->runtime, c->sandbox, c->container, c->config, c->image, user, &c->labels, target, &spec, err);
	if (r < 0) {
		if (err && !err->reason)
			error_reason(err, "CreateContainerConfigError");
		return r;
	}
	autofree char *text = json_dumps(spec, JSON_COMPACT), *path = bundle_path(c->runtime, c->container->id, "config.json");
	return file_write(AT_FDCWD, path, text, strlen(text), 0600, err);
}

/* The log's folder, and nothing else, is made here: the log itself is conmon's. */
static int make_log_folder(const struct container *container, struct error *err)
{
	autofree char *folder = xstrdup(container->log_path);
	char *slash = strrchr(folder, '/');
	*slash = 0;
	return strlen(folder) ? file_mkdir_all(folder, 0755, err) : 0;
}

/* A container that shares the host's processes or its IPC, and was not asked to be confined all the same, would be of no use confined. */
static int make_labels(struct creation *c, struct error *err)
{
	const struct selinux *selinux = c->runtime->selinux;
	const struct container_config *config = c->config;
	if (!selinux)
		return 0;
	int r = selinux_file_label(selinux, config->selinux, c->sandbox->selinux_level, &c->labels.files, err);
	if (r == 0 && (config->privileged || (!config->selinux && (c->sandbox->host_pid || c->sandbox->host_ipc))))
		c->labels.process = selinux_unconfined_label(selinux);
	else if (r == 0)
		r = selinux_process_label(selinux, config->selinux, c->sandbox->selinux_level, &c->labels.process, err);
	return r;
}

/* Each container labels what it shares with its pod, as whose it is last: those with labels of their own must agree on a level. */
static int relabel(const struct creation *c, struct error *err)
{
	if (!c->labels.files)
		return 0;
	int r = 0;
	for (size_t i = 0; r == 0 && i < c->config->mount_count; i++)
		if (c->config->mounts[i].relabel && c->config->mounts[i].host_path)
			r = selinux_relabel(c->config->mounts[i].host_path, c->labels.files, err);
	autofree char *shm = sandbox_run(c->runtime, c->sandbox->id, "shm"), *resolv = sandbox_root(c->runtime, c->sandbox->id, "resolv.conf"), *hostname = sandbox_root(c->runtime, c->sandbox->id, "hostname");
	if (r == 0 && !c->sandbox->host_ipc)
		r = selinux_relabel(shm, c->labels.files, err);
	if (r == 0)
		r = selinux_relabel(resolv, c->labels.files, err);
	return r == 0 ? selinux_relabel(hostname, c->labels.files, err) : r;
}

static int lay_out(struct creation *c, struct error *err)
{
	struct runtime *runtime = c->runtime;
	const char *id = c->container->id;
	autofree char *root = container_root(runtime, id, NULL), *bundle = bundle_path(runtime, id, NULL);
	if (mkdir(root, 0711) < 0)
		return error_set_errno(err, errno, "make %s", root);
	if (mkdir(bundle, 0700) < 0)
		return error_set_errno(err, errno, "make %s", bundle);
	struct user user = {0};
	int r = make_labels(c, err);
	if (r == 0)
		r = image_lease(runtime->images, c->image->id, id, err);
	if (r == 0)
		r = mount_rootfs(c, err);
	if (r == 0)
		r = mount_image_volumes(c, err);
	if (r == 0)
		r = relabel(c, err);
	if (r == 0)
		r = mount_volumes(c, err);
	if (r == 0)
		r = resolve_user(c, &user, err);
	if (r == 0)
		r = write_bundle(c, &user, err);
	if (r == 0)
		r = make_log_folder(c->container, err);
	free(user.groups);
	return r == 0 ? container_save(runtime, c->container, true, err) : r;
}

/*
 * What the container wrote. Every start of a container anywhere on the machine copies all mounts for a moment, and a copy of the overlay holds
 * the files that are removed below it: but what is full now needs its space now.
 */
static void drop_files(struct runtime *runtime, const struct container *container)
{
	autofree char *rootfs = container_root(runtime, container->id, "rootfs"), *upper = container_root(runtime, container->id, "upper");
	umount2(rootfs, MNT_DETACH);
	file_empty_all(upper);
}

int container_take_away(struct runtime *runtime, const struct container *container, struct error *err)
{
	autofree char *root = container_root(runtime, container->id, NULL), *bundle = bundle_path(runtime, container->id, NULL);
	autofree char *exit = xprintf("%s/exits/%s", runtime->run, container->id);
	drop_files(runtime, container);
	for (size_t i = 0; i < 1024; i++) {
		char name[32];
		snprintf(name, sizeof(name), "image-%zu", i);
		autofree char *image = container_root(runtime, container->id, name), *volume = container_volume_path(runtime, container->id, i);
		if (!file_exists(image) && !file_exists(volume) && i >= 64)
			break;
		umount2(image, MNT_DETACH);
		umount2(volume, MNT_DETACH);
	}
	unlink(exit);
	file_remove_all(bundle, NULL);
	int r = file_remove_all(root, err);
	image_release(runtime->images, container->image_id, container->id, NULL);
	return r;
}

static int find_image(const struct creation *c, struct image **ret, struct error *err)
{
	int r = image_get(c->runtime->images, c->config->image, ret, err);
	if (r < 0)
		error_reason(err, r == -ENOENT ? "ErrImageNeverPull" : "CreateContainerError");
	return r;
}

static int create_locked(struct creation *c, char **ret_id, struct error *err)
{
	if (c->sandbox->removed || !c->sandbox->ready)
		return error_set(err, EINVAL, "sandbox \"%s\" is not ready", c->sandbox->id);
	int r = find_image(c, &c->image, err);
	if (r < 0)
		return r;
	c->container = container_from_config(c);
	r = lay_out(c, err);
	free(c->labels.process);
	free(c->labels.files);
	image_free(c->image);
	if (r < 0) {
		if (err && !err->reason)
			error_reason(err, "CreateContainerError");
		container_take_away(c->runtime, c->container, NULL);
		container_free(c->container);
		return r;
	}
	*ret_id = xstrdup(c->container->id);
	pthread_mutex_lock(&c->runtime->lock);
	map_set(&c->runtime->containers, c->container->id, c->container);
	pthread_mutex_unlock(&c->runtime->lock);
	return 0;
}

int runtime_container_create(struct runtime *runtime, const char *sandbox_id, const struct container_config *config, char **ret_id, struct error *err)
{
	if (config->log_path && (strstr(config->log_path, "..") || strlen(config->log_path) > MAX_LOG_PATH))
		return error_set(err, EINVAL, "log path \"%s\" is not allowed", config->log_path);
	struct creation c = {.runtime = runtime, .config = config, .sandbox = sandbox_find(runtime, sandbox_id)};
	if (!c.sandbox)
		return error_set(err, ENOENT, "sandbox \"%s\" not found", sandbox_id);
	pthread_mutex_lock(&c.sandbox->op);
	int r = create_locked(&c, ret_id, err);
	pthread_mutex_unlock(&c.sandbox->op);
	sandbox_put(runtime, c.sandbox);
	return r;
}

/* ---- removing ---- */

int runtime_container_remove(struct runtime *runtime, const char *id, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return 0;
	pthread_mutex_lock(&container->op);
	int r = container->removed ? 0 : container_end(runtime, container, 0, err);
	if (r == 0 && !container->removed) {
		container_reap(runtime, container);
		r = container_take_away(runtime, container, err);
	}
	if (r == 0 && !container->removed) {
		log_link_remove(runtime, container);
		container->removed = true;
		pthread_mutex_lock(&runtime->lock);
		map_take(&runtime->containers, id);
		container->refs--; /* the map's */
		pthread_mutex_unlock(&runtime->lock);
	}
	pthread_mutex_unlock(&container->op);
	container_put(runtime, container);
	return r;
}

/* ---- shedding ---- */

static void shed(struct runtime *runtime, struct container *container)
{
	autofree char *upper = container_root(runtime, container->id, "upper"), *work = container_root(runtime, container->id, "work");
	pthread_mutex_lock(&runtime->lock);
	bool over = container->state == CONTAINER_EXITED;
	pthread_mutex_unlock(&runtime->lock);
	if (!over || container->removed)
		return;
	drop_files(runtime, container);
	file_remove_all(work, NULL);
	file_remove_all(upper, NULL);
	pthread_mutex_lock(&container->size_lock);
	container->size_measured_ns = 0;
	pthread_mutex_unlock(&container->size_lock);
}

void runtime_reclaim(struct runtime *runtime)
{
	char **ids = container_ids(runtime, NULL);
	for (size_t i = 0; ids[i]; i++) {
		struct container *container = container_find(runtime, ids[i]);
		if (!container)
			continue;
		pthread_mutex_lock(&container->op);
		shed(runtime, container);
		pthread_mutex_unlock(&container->op);
		container_put(runtime, container);
	}
	image_strv_free(ids);
}

/* ---- showing ---- */

static const char *const reasons[] = {"Completed", "Error", "OOMKilled", "StartError", "Unknown"};

static const char *static_reason(const char *reason)
{
	for (size_t i = 0; reason && i < array_len(reasons); i++)
		if (strcmp(reason, reasons[i]) == 0)
			return reasons[i];
	return reason ? "Error" : NULL;
}

static struct container_status *status_of(struct runtime *runtime, const struct container *container)
{
	struct container_status *status = xnew(struct container_status);
	*status = (struct container_status){
		.id = xstrdup(container->id),
		.sandbox_id = xstrdup(container->sandbox_id),
		.pod_uid = xstrdup(str_or(container->pod_uid, "")),
		.name = xstrdup(str_or(container->name, "")),
		.attempt = (uint32_t)container->attempt,
		.image = xstrdup(str_or(container->image, "")),
		.image_id = xstrdup(str_or(container->image_status, container->image_id)),
		.state = (enum container_state)container->state,
		.pid = container->state == CONTAINER_RUNNING ? (pid_t)container->pid : 0,
		.created = wall_from_ns(container->created_ns),
		.started = wall_from_ns(container->started_ns),
		.finished = wall_from_ns(container->finished_ns),
		.exit_code = (int)container->exit_code,
		.reason = container->state == CONTAINER_EXITED ? static_reason(container->reason) : NULL,
		.message = container->message ? xstrdup(container->message) : NULL,
		.log_path = xstrdup(container->log_path),
		.cgroup_path = xstrdup(container->cgroup_path),
		.rootfs = container_root(runtime, container->id, "rootfs"),
		.tty = container->tty,
		.stdin_open = container->stdin_open,
		.stdin_once = container->stdin_once,
		.uid = (uid_t)container->uid,
		.gid = (gid_t)container->gid,
		.group_count = json_array_size(container->groups),
		.stop_signal = xstrdup(str_or(container->stop_signal, "SIGTERM")),
	};
	status->groups = xcalloc(status->group_count + 1, sizeof(gid_t));
	for (size_t i = 0; i < status->group_count; i++)
		status->groups[i] = (gid_t)json_integer_value(json_array_get(container->groups, i));
	labels_copy(&status->labels, container->labels.items, container->labels.len);
	return status;
}

void container_status_free(struct container_status *status)
{
	if (!status)
		return;
	free(status->id);
	free(status->sandbox_id);
	free(status->pod_uid);
	free(status->name);
	free(status->image);
	free(status->image_id);
	free(status->message);
	free(status->log_path);
	free(status->cgroup_path);
	free(status->rootfs);
	free(status->groups);
	free(status->stop_signal);
	labels_done(&status->labels);
	free(status);
}

int runtime_container_status(struct runtime *runtime, const char *id, struct container_status **ret, struct error *err)
{
	pthread_mutex_lock(&runtime->lock);
	struct container *container = map_get(&runtime->containers, id);
	struct container_status *status = container ? status_of(runtime, container) : NULL;
	pthread_mutex_unlock(&runtime->lock);
	if (!status)
		return container_missing(id, err);
	*ret = status;
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct container_status *x = *(struct container_status *const *)a, *y = *(struct container_status *const *)b;
	/* The clock may have jumped between two attempts. */
	if (x->attempt != y->attempt)
		return x->attempt > y->attempt ? -1 : 1;
	int64_t d = time_diff_ns(y->created, x->created);
	return d < 0 ? -1 : d > 0;
}

int runtime_container_list(struct runtime *runtime, const char *sandbox_id, const char *pod_uid, struct container_status ***ret, size_t *ret_count,
	struct error *err)
{
	pthread_mutex_lock(&runtime->lock);
	struct container_status **list = xcalloc(runtime->containers.len + 1, sizeof(*list));
	size_t count = 0, pos = 0;
	for (struct map_entry *e; (e = map_next(&runtime->containers, &pos));) {
		struct container *container = e->value;
		if ((!sandbox_id || str_equal(container->sandbox_id, sandbox_id)) && (!pod_uid || str_equal(container->pod_uid, pod_uid)))
			list[count++] = status_of(runtime, container);
	}
	pthread_mutex_unlock(&runtime->lock);
	if (count)
		qsort(list, count, sizeof(*list), newest_first);
	*ret = list;
	*ret_count = count;
	return 0;
}

/* ---- changing ---- */

/* A container not started yet gets its limits from the bundle. */
static int update_bundle(struct runtime *runtime, const struct container *container, const struct cgroup_resources *resources, struct error *err)
{
	autofree char *path = bundle_path(runtime, container->id, "config.json"), *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, MAX_STATE_FILE, &text, &len, err);
	if (r < 0)
		return r;
	autojson json_t *spec = json_loadb(text, len, 0, NULL), *fresh = spec_resources(resources);
	json_t *now = json_object_get(json_object_get(spec, "linux"), "resources"), *part;
	if (!json_is_object(now))
		return error_set(err, EINVAL, "%s is damaged", path);
	const char *key;
	json_object_foreach(fresh, key, part)
	{
		if (json_is_object(part) && json_is_object(json_object_get(now, key)))
			json_object_update(json_object_get(now, key), part);
		else
			json_object_set(now, key, part);
	}
	autofree char *out = json_dumps(spec, JSON_COMPACT);
	return file_write(AT_FDCWD, path, out, strlen(out), 0600, err);
}

int runtime_container_update(struct runtime *runtime, const char *id, const struct cgroup_resources *resources, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	pthread_mutex_lock(&container->op);
	int r;
	if (container->removed || container->state == CONTAINER_EXITED)
		r = error_set(err, ESRCH, "container \"%s\" is not running", id);
	else if (container->state == CONTAINER_CREATED)
		r = update_bundle(runtime, container, resources, err);
	else
		r = cgroup_update(runtime->cgroups, container->cgroup_path, resources, err);
	pthread_mutex_unlock(&container->op);
	container_put(runtime, container);
	return r;
}

int runtime_container_set_label(struct runtime *runtime, const char *id, const char *key, const char *value, struct error *err)
{
	struct container *container = container_find(runtime, id);
	if (!container)
		return container_missing(id, err);
	pthread_mutex_lock(&container->op);
	int r = 0;
	if (!container->removed) {
		pthread_mutex_lock(&runtime->lock);
		labels_set(&container->labels, key, value);
		r = container_save(runtime, container, true, err);
		pthread_mutex_unlock(&runtime->lock);
	}
	pthread_mutex_unlock(&container->op);
	container_put(runtime, container);
	return r;
}
