/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kubelet finds that was killed at any moment: it adopts what runs, takes back what was half started, and removes what belongs to
 * nothing.
 *
 * A container whose state says "created" never executed its program: the state says "running" before the program is let go. So
 * whatever a start left of it (conmon, a runc that still works, a first process that waits) is ended, and it counts as never made.
 */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "kubelet/volume/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_COMMAND_LINE 16384
#define KILL_WAIT_MS 2000
#define KILL_ROUNDS 16

/* ---- what was written down ---- */

/* After a reboot no namespace is left; without one, a sandbox cannot run anything. */
static bool sandbox_alive(struct runtime *runtime, const struct sandbox *sandbox)
{
	if (!str_equal(sandbox->boot_id, runtime->boot_id))
		return false;
	if (sandbox->pause_pid) {
		autoclose int fd = process_open(sandbox->pause_pid, sandbox->pause_start);
		if (fd < 0)
			return false;
	}
	return true;
}

static void recover_sandbox(struct runtime *runtime, const char *text, size_t len)
{
	struct sandbox *sandbox;
	if (sandbox_parse(text, len, &sandbox, NULL) < 0)
		return;
	if (sandbox->ready && !sandbox_alive(runtime, sandbox)) {
		sandbox->ready = false;
		sandbox_save(runtime, sandbox, false, NULL);
	}
	map_set(&runtime->sandboxes, sandbox->id, sandbox);
}

/* Nobody saw the end: a reboot, or the monitor was killed while we were away. */
static void mark_lost(struct runtime *runtime, struct container *container)
{
	container->state = CONTAINER_EXITED;
	container->exit_code = 255;
	container->finished_ns = wall_ns();
	free(container->reason);
	container->reason = xstrdup("Unknown");
	container_save(runtime, container, false, NULL);
}

static void recover_container(struct runtime *runtime, const char *text, size_t len)
{
	struct container *container;
	if (container_parse(text, len, &container, NULL) < 0)
		return;
	if (!map_has(&runtime->sandboxes, container->sandbox_id)) {
		container_free(container);
		return;
	}
	map_set(&runtime->containers, container->id, container);
}

/* Damaged, or died before its state was written: it never ran, or nobody can say what it was. */
static void forget_leftover(const char *folder, const char *id)
{
	autofree char *all = path_join(folder, id, NULL);
	autoerror struct error err = {0};
	if (mount_unmount_below(all, &err) < 0 || file_remove_all(all, &err) < 0)
		log_warning("left-over stays", LOG_STR("path", all), LOG_ERR(&err));
}

static void each_id(const char *folder, void (*fn)(struct runtime *, const char *folder, const char *id, void *arg), struct runtime *runtime, void *arg)
{
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (*e->d_name != '.')
			fn(runtime, folder, e->d_name, arg);
	if (dir)
		closedir(dir);
}

struct kind {
	struct map *map;
	void (*read)(struct runtime *, const char *text, size_t len);
};

static void recover_one(struct runtime *runtime, const char *folder, const char *id, void *arg)
{
	const struct kind *kind = arg;
	autofree char *path = path_join(folder, id, "state.json", NULL), *text = NULL;
	size_t len;
	if (!id_valid(id))
		return;
	if (file_read(AT_FDCWD, path, MAX_STATE_FILE, &text, &len, NULL) == 0)
		kind->read(runtime, text, len);
	if (!map_has(kind->map, id))
		forget_leftover(folder, id);
}

/* ---- starts that were under way ---- */

static bool is_running(struct runtime *runtime, const char *id)
{
	const struct container *container = map_get(&runtime->containers, id);
	return container && container->state == CONTAINER_RUNNING;
}

static bool is_over(struct runtime *runtime, const char *id)
{
	const struct container *container = map_get(&runtime->containers, id);
	return container && container->state == CONTAINER_EXITED;
}

/* The container that this process starts or watches for us, if it is our conmon, or the runc that it runs; NULL otherwise. The caller frees. */
static char *serves(struct runtime *runtime, pid_t pid)
{
	char path[40], *id = NULL;
	autofree char *line = NULL, *run = xprintf("%s/", runtime->run);
	size_t len;
	bool ours = false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	if (file_read(AT_FDCWD, path, MAX_COMMAND_LINE, &line, &len, NULL) < 0 || (!str_equal(line, runtime->conmon) && !str_equal(line, runtime->runc)))
		return NULL;
	for (size_t pos = 0; pos < len; pos += strlen(line + pos) + 1) {
		ours = ours || strstr(line + pos, run);
		if (!id && id_valid(line + pos))
			id = line + pos;
	}
	return ours && id ? xstrdup(id) : NULL;
}

static void kill_and_wait(pid_t pid)
{
	autoclose int fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0 || syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0) < 0)
		return;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	poll(&p, 1, KILL_WAIT_MS);
}

/* Ends every helper of a container that does not run: the next one is looked for until there is none, for they make each other. */
static void end_half_starts(struct runtime *runtime)
{
	bool found = true;
	for (int round = 0; found && round < KILL_ROUNDS; round++) {
		DIR *proc = opendir("/proc");
		found = false;
		for (struct dirent *e; proc && (e = readdir(proc));) {
			int64_t pid;
			if (!str_to_int64(e->d_name, 2, INT32_MAX, &pid) || pid == getpid())
				continue;
			autofree char *id = serves(runtime, (pid_t)pid);
			/* The monitor of one that is over ends by itself, and may still have to write its log. */
			if (!id || is_running(runtime, id) || is_over(runtime, id))
				continue;
			kill_and_wait((pid_t)pid);
			found = true;
		}
		if (proc)
			closedir(proc);
	}
}

static void settle_containers(struct runtime *runtime)
{
	char **ids = container_ids(runtime, NULL);
	for (size_t i = 0; ids[i]; i++) {
		struct container *container = map_get(&runtime->containers, ids[i]);
		if (container->state == CONTAINER_CREATED) {
			autoerror struct error err = {0};
			container_reap(runtime, container);
			if (container_take_away(runtime, container, &err) < 0)
				log_warning("half-made container stays", LOG_STR("container", container->name), LOG_STR("id", container->id), LOG_ERR(&err));
			map_take(&runtime->containers, ids[i]);
			container_free(container);
		} else if (container->state == CONTAINER_RUNNING && !str_equal(container->boot_id, runtime->boot_id)) {
			mark_lost(runtime, container);
		} else if (container->state == CONTAINER_RUNNING) {
			container_release_again(runtime, container);
			container_place_monitor(runtime, container);
			events_watch(runtime, container);
		} else {
			container_reap(runtime, container); /* where we were killed just after its end */
		}
	}
	image_strv_free(ids);
}

/* ---- what belongs to nothing ---- */

static void sweep_one(struct runtime *runtime, const char *folder, const char *id, void *arg)
{
	/* An exit file under way is named <id>.<something>. */
	autofree char *name = xstrndup(id, min_of(strlen(id), (size_t)ID_LEN));
	if (id_valid(name) && !map_has(arg, name))
		forget_leftover(folder, id);
}

static void sweep(struct runtime *runtime, const char *name, struct map *known)
{
	autofree char *folder = path_join(runtime->run, name, NULL);
	each_id(folder, sweep_one, runtime, known);
}

static void sweep_networks(struct runtime *runtime)
{
	char **ids = NULL;
	if (network_cached_ids(runtime->network, &ids, NULL) < 0)
		return;
	for (size_t i = 0; ids[i]; i++) {
		autoerror struct error err = {0};
		const struct network_pod pod = {.id = ids[i]};
		if (id_valid(ids[i]) && !map_has(&runtime->sandboxes, ids[i]) && network_pod_del(runtime->network, &pod, &err) < 0)
			log_warning("left-over network stays", LOG_STR("sandbox", ids[i]), LOG_ERR(&err));
	}
	image_strv_free(ids);
}

static bool keep_lease(const char *user, void *arg)
{
	struct runtime *runtime = arg;
	return !id_valid(user) || map_has(&runtime->containers, user);
}

void runtime_recover(struct runtime *runtime)
{
	autofree char *sandboxes = path_join(runtime->root, "sandboxes", NULL), *containers = path_join(runtime->root, "containers", NULL);
	struct kind sandbox = {&runtime->sandboxes, recover_sandbox}, container = {&runtime->containers, recover_container};
	each_id(sandboxes, recover_one, runtime, &sandbox);
	each_id(containers, recover_one, runtime, &container);
	log_links_sweep(runtime);
	end_half_starts(runtime);
	settle_containers(runtime);
	sweep(runtime, "sandboxes", &runtime->sandboxes);
	sweep(runtime, "containers", &runtime->containers);
	sweep(runtime, "exits", &runtime->containers);
	sweep(runtime, "runc", &runtime->containers);
	if (runtime->network)
		sweep_networks(runtime);
	image_release_stale(runtime->images, keep_lease, runtime, NULL);
}
