/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and recovering, the maps of what there is, and small things all files need. */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/process.h"
#include "common/base/random.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- small things ---- */

char *new_id(void)
{
	uint8_t raw[ID_LEN / 2];
	char *id = xmalloc(ID_LEN + 1);
	random_bytes(raw, sizeof(raw));
	for (size_t i = 0; i < sizeof(raw); i++)
		snprintf(id + 2 * i, 3, "%02x", raw[i]);
	return id;
}

bool id_valid(const char *id)
{
	return id && strlen(id) == ID_LEN && strspn(id, "0123456789abcdef") == ID_LEN;
}

int64_t wall_ns(void)
{
	struct wall_time now = clock_wall();
	return now.sec * NSEC_PER_SEC + now.nsec;
}

struct wall_time wall_from_ns(int64_t ns)
{
	return (struct wall_time){.sec = ns / NSEC_PER_SEC, .nsec = (int32_t)(ns % NSEC_PER_SEC)};
}

int error_reason(struct error *err, const char *reason)
{
	if (!err)
		return 0;
	free(err->reason);
	err->reason = xstrdup(reason);
	return -err->errnum;
}

char *sandbox_root(const struct runtime *runtime, const char *id, const char *file)
{
	return xprintf("%s/sandboxes/%s%s%s", runtime->root, id, file ? "/" : "", str_or(file, ""));
}

char *sandbox_run(const struct runtime *runtime, const char *id, const char *file)
{
	return xprintf("%s/sandboxes/%s%s%s", runtime->run, id, file ? "/" : "", str_or(file, ""));
}

char *container_root(const struct runtime *runtime, const char *id, const char *file)
{
	return xprintf("%s/containers/%s%s%s", runtime->root, id, file ? "/" : "", str_or(file, ""));
}

char *bundle_path(const struct runtime *runtime, const char *id, const char *file)
{
	return xprintf("%s/containers/%s%s%s", runtime->run, id, file ? "/" : "", str_or(file, ""));
}

int64_t process_start_ticks(pid_t pid)
{
	char path[40];
	autofree char *text = NULL;
	size_t len;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (pid <= 0 || file_read(AT_FDCWD, path, 8192, &text, &len, NULL) < 0)
		return 0;
	/* The name, in parentheses, may hold anything; field 3 is the state, field 22 the start time. */
	char *pos = strrchr(text, ')');
	if (!pos || pos[1] != ' ' || pos[2] == 'Z' || pos[2] == 'X')
		return 0;
	for (int field = 2; pos && field < 22; field++)
		pos = strchr(pos + 1, ' ');
	return pos ? strtoll(pos + 1, NULL, 10) : 0;
}

int process_open(int64_t pid, int64_t start_ticks)
{
	if (pid <= 0)
		return -ESRCH;
	autoclose int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
	if (fd < 0)
		return -errno;
	return process_start_ticks((pid_t)pid) == start_ticks ? take_fd(fd) : -ESRCH;
}

/* ---- the maps ---- */

struct sandbox *sandbox_find(struct runtime *runtime, const char *id)
{
	pthread_mutex_lock(&runtime->lock);
	struct sandbox *sandbox = map_get(&runtime->sandboxes, id);
	if (sandbox)
		sandbox->refs++;
	pthread_mutex_unlock(&runtime->lock);
	return sandbox;
}

void sandbox_put(struct runtime *runtime, struct sandbox *sandbox)
{
	pthread_mutex_lock(&runtime->lock);
	bool last = --sandbox->refs == 0;
	pthread_mutex_unlock(&runtime->lock);
	if (last)
		sandbox_free(sandbox);
}

struct container *container_find(struct runtime *runtime, const char *id)
{
	pthread_mutex_lock(&runtime->lock);
	struct container *container = map_get(&runtime->containers, id);
	if (container)
		container->refs++;
	pthread_mutex_unlock(&runtime->lock);
	return container;
}

void container_put(struct runtime *runtime, struct container *container)
{
	pthread_mutex_lock(&runtime->lock);
	bool last = --container->refs == 0;
	pthread_mutex_unlock(&runtime->lock);
	if (last)
		container_free(container);
}

struct container **running_containers(struct runtime *runtime, bool (*wants)(struct container *container, void *arg), void *arg, size_t *ret_count)
{
	struct container **list = NULL;
	size_t count = 0, pos = 0;
	pthread_mutex_lock(&runtime->lock);
	for (struct map_entry *e; (e = map_next(&runtime->containers, &pos));) {
		struct container *container = e->value;
		if (container->state != CONTAINER_RUNNING || (wants && !wants(container, arg)))
			continue;
		if (!list)
			list = xcalloc(runtime->containers.len, sizeof(*list));
		list[count++] = container;
		container->refs++;
	}
	pthread_mutex_unlock(&runtime->lock);
	*ret_count = count;
	return list;
}

int container_missing(const char *id, struct error *err)
{
	return error_set(err, ENOENT, "container \"%s\" not found", id);
}

static int newest_first(const void *a, const void *b)
{
	const struct container *x = *(struct container *const *)a, *y = *(struct container *const *)b;
	/* The number of the attempt first: the clock may have jumped between two of them. */
	if (x->attempt != y->attempt)
		return x->attempt > y->attempt ? -1 : 1;
	return x->created_ns > y->created_ns ? -1 : x->created_ns < y->created_ns;
}

char **container_ids(struct runtime *runtime, const char *sandbox_id)
{
	pthread_mutex_lock(&runtime->lock);
	struct container **found = xcalloc(runtime->containers.len + 1, sizeof(*found));
	size_t count = 0, pos = 0;
	for (struct map_entry *e; (e = map_next(&runtime->containers, &pos));) {
		struct container *container = e->value;
		if (!sandbox_id || strcmp(container->sandbox_id, sandbox_id) == 0)
			found[count++] = container;
	}
	if (count)
		qsort(found, count, sizeof(*found), newest_first);
	char **ids = xcalloc(count + 1, sizeof(char *));
	for (size_t i = 0; i < count; i++)
		ids[i] = xstrdup(found[i]->id);
	pthread_mutex_unlock(&runtime->lock);
	free(found);
	return ids;
}

/* ---- opening ---- */

static char *find_program(const char *given, const char *name)
{
	if (given)
		return xstrdup(given);
	static const char *const folders[] = {"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/libexec/podman"};
	for (size_t i = 0; i < array_len(folders); i++) {
		char *path = path_join(folders[i], name, NULL);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return xstrdup(name);
}

static void read_version(struct runtime *runtime)
{
	const char *const argv[] = {runtime->runc, "--version", NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	autobuf struct buf out = BUF_INIT(4096), errout = BUF_INIT(4096);
	char version[64] = "unknown";
	if (process_run(&options, NULL, 0, &out, &errout, 5000, NULL, NULL) == 0 && out.data)
		sscanf(out.data, "runc version %63s", version);
	runtime->version = xprintf("runc %s", version);
}

/* Without CAP_SYS_RESOURCE the kernel refuses a score below our own. */
static void read_own_limits(struct runtime *runtime)
{
	autofree char *status = NULL, *score = NULL;
	size_t len;
	unsigned long long mask = 0;
	if (file_read(AT_FDCWD, "/proc/self/status", 65536, &status, &len, NULL) == 0) {
		char *line = strstr(status, "CapBnd:");
		if (line)
			sscanf(line, "CapBnd: %llx", &mask);
	}
	runtime->own_capabilities = mask;
	runtime->min_oom_score = -1000;
	if (!(mask & (1ULL << CAP_SYS_RESOURCE)) && file_read(AT_FDCWD, "/proc/self/oom_score_adj", 32, &score, &len, NULL) == 0)
		runtime->min_oom_score = (int)strtol(score, NULL, 10);
}

static int make_folders(struct runtime *runtime, struct error *err)
{
	static const char *const roots[] = {"sandboxes", "containers"};
	static const char *const runs[] = {"sandboxes", "containers", "exits", "runc"};
	for (size_t i = 0; i < array_len(roots) + array_len(runs); i++) {
		bool in_root = i < array_len(roots);
		autofree char *path = path_join(in_root ? runtime->root : runtime->run, in_root ? roots[i] : runs[i - array_len(roots)], NULL);
		int r = file_mkdir_all(path, 0711, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static char **copy_strings(const char *const *list) {
	size_t count = 0;
	while (list && list[count])
		count++;
	char **out = xcalloc(count + 1, sizeof(*out));
	for (size_t i = 0; i < count; i++)
		out[i] = xstrdup(list[i]);
	return out;
}

int runtime_open(const struct runtime_options *options, struct runtime **ret, struct error *err)
{
	struct runtime *runtime = xnew(struct runtime);
	*runtime = (struct runtime){
		.root = xstrdup(options->root_dir ? options->root_dir : RUNTIME_ROOT_DEFAULT),
		.run = xstrdup(options->run_dir ? options->run_dir : RUNTIME_RUN_DEFAULT),
		.runc = find_program(options->runc_path, "runc"),
		.conmon = find_program(options->conmon_path, "conmon"),
		.cdi_dirs = copy_strings(options->cdi_dirs),
		.seccomp_dir = xstrdup(options->seccomp_dir ? options->seccomp_dir : "/var/lib/kubelet/seccomp"),
		.log_links_dir = options->log_links_dir ? xstrdup(options->log_links_dir) : NULL,
		.log_max_bytes = options->log_max_bytes > 0 ? options->log_max_bytes : 10 << 20,
		.log_max_files = options->log_max_files > 1 ? options->log_max_files : 5,
		.images = options->images,
		.network = options->network,
		.cgroups = options->cgroups,
		.on_event = options->on_event,
		.on_event_arg = options->on_event_arg,
		.sandboxes = MAP_INIT(NULL),
		.containers = MAP_INIT(NULL),
		.epoll_fd = -1,
		.inotify_fd = -1,
		.stop_fd = -1,
		.pause_fd = -1,
		.logs_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK),
		.selinux = selinux_open(str_or(options->system_root, "")),
		.last_level = (uint32_t)random_below(SELINUX_LEVELS),
	};
	pthread_mutex_init(&runtime->lock, NULL);
	autofree char *boot = NULL;
	size_t len;
	if (file_read(AT_FDCWD, "/proc/sys/kernel/random/boot_id", 64, &boot, &len, NULL) == 0)
		snprintf(runtime->boot_id, sizeof(runtime->boot_id), "%.36s", boot);
	read_own_limits(runtime);
	read_version(runtime);
	int r = make_folders(runtime, err);
	if (r == 0)
		r = events_start(runtime, err);
	if (r < 0) {
		runtime_close(runtime);
		return r;
	}
	*ret = runtime;
	return 0;
}

struct runtime *runtime_close(struct runtime *runtime)
{
	if (!runtime)
		return NULL;
	events_stop(runtime);
	size_t pos = 0;
	for (struct map_entry *e; (e = map_next(&runtime->containers, &pos));)
		container_free(e->value);
	pos = 0;
	for (struct map_entry *e; (e = map_next(&runtime->sandboxes, &pos));)
		sandbox_free(e->value);
	map_done(&runtime->containers);
	map_done(&runtime->sandboxes);
	cleanup_close(&runtime->pause_fd);
	cleanup_close(&runtime->logs_fd);
	pthread_mutex_destroy(&runtime->lock);
	free(runtime->root);
	free(runtime->run);
	free(runtime->runc);
	free(runtime->conmon);
	free(runtime->seccomp_dir);
	for (size_t i = 0; runtime->cdi_dirs && runtime->cdi_dirs[i]; i++)
		free(runtime->cdi_dirs[i]);
	free(runtime->cdi_dirs);
	free(runtime->log_links_dir);
	free(runtime->version);
	selinux_close(runtime->selinux);
	free(runtime);
	return NULL;
}

const char *runtime_version(struct runtime *runtime)
{
	return runtime->version;
}
