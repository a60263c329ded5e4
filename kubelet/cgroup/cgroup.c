/* SPDX-License-Identifier: Apache-2.0 */
/* Finding the tree, making, listing and removing groups: what both versions do the same way. */
#include "kubelet/cgroup/internal.h"

#include "common/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#define REMOVE_WAIT_MS 2000
#define KILL_ROUNDS 8

/* ---- files ---- */

static int group_path(char *out, size_t size, const struct cgroup_hierarchy *h, const char *path, const char *file)
{
	int n = snprintf(out, size, "%s%s%s%s", h->dir, path, file ? "/" : "", file ? file : "");
	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int cgroup_write(const struct cgroup_hierarchy *h, const char *path, const char *file, const char *value, struct error *err)
{
	char name[PATH_MAX];
	int r = group_path(name, sizeof(name), h, path, file);
	if (r < 0)
		return error_set_errno(err, r, "cgroup %s", path);
	autoclose int fd = open(name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open %s", name);
	size_t len = strlen(value);
	if (write(fd, value, len) != (ssize_t)len)
		return error_set_errno(err, errno, "write \"%s\" to %s", value, name);
	return 0;
}

int cgroup_write_int(const struct cgroup_hierarchy *h, const char *path, const char *file, int64_t value, struct error *err)
{
	char text[24];
	snprintf(text, sizeof(text), "%lld", (long long)value);
	return cgroup_write(h, path, file, text, err);
}

char *cgroup_read(const struct cgroup_hierarchy *h, const char *path, const char *file)
{
	char name[PATH_MAX];
	if (!h || group_path(name, sizeof(name), h, path, file) < 0)
		return NULL;
	/* They are read by the hundred, and nearly all are short: one read tells, for where half of it stayed empty there was no next line. */
	char page[4096], *data = NULL;
	size_t len;
	autoclose int fd = open(name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, page, sizeof(page));
	if (n < 0)
		return NULL;
	if (n <= (ssize_t)sizeof(page) / 2)
		return xstrndup(page, (size_t)n);
	if (file_read(AT_FDCWD, name, CGROUP_MAX_FILE, &data, &len, NULL) < 0)
		return NULL;
	return data;
}

uint64_t cgroup_read_uint(const struct cgroup_hierarchy *h, const char *path, const char *file, uint64_t fallback)
{
	autofree char *text = cgroup_read(h, path, file);
	if (!text)
		return fallback;
	if (strncmp(text, "max", 3) == 0)
		return UINT64_MAX;
	char *end;
	errno = 0;
	uint64_t value = strtoull(text, &end, 10);
	return end == text || errno ? fallback : value;
}

uint64_t cgroup_stat_field(const char *text, const char *key)
{
	size_t len = strlen(key);
	for (const char *line = text; line && *line;) {
		if (strncmp(line, key, len) == 0 && line[len] == ' ')
			return strtoull(line + len + 1, NULL, 10);
		line = strchr(line, '\n');
		if (line)
			line++;
	}
	return 0;
}

/* ---- finding the tree ---- */

static bool has_controller(const struct cgroup_hierarchy *h, const char *controller)
{
	autofree char *needle = xprintf(",%s,", controller);
	return strstr(h->controllers, needle) != NULL;
}

const struct cgroup_hierarchy *cgroup_find(const struct cgroup_tree *tree, const char *controller)
{
	for (size_t i = 0; i < tree->hierarchy_count; i++)
		if (has_controller(&tree->hierarchies[i], controller))
			return &tree->hierarchies[i];
	return NULL;
}

bool cgroup_has_controller(const struct cgroup_tree *tree, const char *controller)
{
	return cgroup_find(tree, controller) != NULL;
}

bool cgroup_limits_swap(const struct cgroup_tree *tree)
{
	autofree char *pods = cgroup_qos_path(tree, CGROUP_GUARANTEED);
	const struct cgroup_hierarchy *h = cgroup_find(tree, "memory");
	autofree char *value = tree->version == 2 && h ? cgroup_read(h, pods, "memory.swap.max") : NULL;
	return value;
}

static void add_hierarchy(struct cgroup_tree *tree, char *take_dir, char *take_controllers)
{
	if (tree->hierarchy_count == CGROUP_MAX_HIERARCHIES) {
		free(take_dir);
		free(take_controllers);
		return;
	}
	tree->hierarchies[tree->hierarchy_count++] = (struct cgroup_hierarchy){.dir = take_dir, .controllers = take_controllers};
}

/* Version 1: every real folder in the mount is a hierarchy and tells its controllers by its name; links are aliases. */
static int find_v1(struct cgroup_tree *tree, const char *mount, struct error *err)
{
	DIR *dir = opendir(mount);
	if (!dir)
		return error_set_errno(err, errno, "open %s", mount);
	for (struct dirent *e; (e = readdir(dir));) {
		char probe[PATH_MAX];
		struct stat st;
		if (e->d_name[0] == '.' || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
			continue;
		snprintf(probe, sizeof(probe), "%s/%s/cgroup.procs", mount, e->d_name);
		if (access(probe, F_OK) < 0)
			continue;
		bool tracks_only = strcmp(e->d_name, "systemd") == 0 || strcmp(e->d_name, "unified") == 0;
		add_hierarchy(tree, path_join(mount, e->d_name, NULL), tracks_only ? xstrdup(",") : xprintf(",%s,", e->d_name));
	}
	closedir(dir);
	if (!cgroup_find(tree, "memory") || !cgroup_find(tree, "cpu"))
		return error_set(err, ENOTSUP, "%s holds no cgroup hierarchies with cpu and memory", mount);
	return 0;
}

static int find_v2(struct cgroup_tree *tree, const char *mount, struct error *err)
{
	struct cgroup_hierarchy top = {.dir = (char *)mount};
	autofree char *text = cgroup_read(&top, "", "cgroup.controllers");
	if (!text)
		return error_set(err, EIO, "cannot read %s/cgroup.controllers", mount);
	autobuf struct buf list = BUF_INIT(CGROUP_MAX_FILE);
	buf_append_char(&list, ',');
	char *save = NULL;
	for (char *name = strtok_r(text, " \n", &save); name; name = strtok_r(NULL, " \n", &save)) {
		buf_append_str(&list, name);
		buf_append_char(&list, ',');
	}
	add_hierarchy(tree, xstrdup(mount), buf_take(&list));
	return 0;
}

static bool is_v2(const char *mount)
{
	autofree char *file = path_join(mount, "cgroup.controllers", NULL);
	return access(file, F_OK) == 0;
}

/* Our own group, where the memory controller (or the one tree) counts us. */
static char *own_group(const struct cgroup_tree *tree)
{
	autofree char *text = NULL;
	size_t len;
	if (file_read(AT_FDCWD, "/proc/self/cgroup", CGROUP_MAX_FILE, &text, &len, NULL) < 0)
		return NULL;
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!path)
			continue;
		*path++ = 0;
		controllers++;
		if (tree->version == 2 ? *controllers == 0 : strstr(controllers, "memory") != NULL)
			return strcmp(path, "/") == 0 ? xstrdup("") : xstrdup(path);
	}
	return NULL;
}

static bool can_make(struct cgroup_tree *tree, const char *root)
{
	autofree char *path = xprintf("%s/kubepods", root);
	return cgroup_create(tree, path, NULL, NULL) == 0;
}

static int choose_root(struct cgroup_tree *tree, const char *wanted, struct error *err)
{
	if (!str_empty(wanted) && strcmp(wanted, "/") != 0) {
		if (*wanted != '/' || strstr(wanted, ".."))
			return error_set(err, EINVAL, "cgroup root \"%s\" is not an absolute path", wanted);
		tree->root = xstrdup(wanted);
		tree->named = true;
		for (size_t n = strlen(tree->root); n > 1 && tree->root[n - 1] == '/';)
			tree->root[--n] = 0;
		return cgroup_create(tree, tree->root, NULL, err);
	}
	tree->root = xstrdup("");
	if (can_make(tree, ""))
		return 0;
	char *own = own_group(tree);
	if (own && *own && can_make(tree, own)) {
		free(tree->root);
		tree->root = own;
		return 0;
	}
	free(own);
	return error_set(err, EROFS, "no cgroup that may be written: neither the top nor our own");
}

int cgroup_open(const struct cgroup_options *options, struct cgroup_tree **ret, struct error *err)
{
	const char *mount = options && options->mount ? options->mount : "/sys/fs/cgroup";
	struct cgroup_tree *tree = xnew(struct cgroup_tree);
	tree->version = is_v2(mount) ? 2 : 1;
	tree->ops = tree->version == 2 ? &cgroup_v2_ops : &cgroup_v1_ops;
	int r = tree->version == 2 ? find_v2(tree, mount, err) : find_v1(tree, mount, err);
	if (r == 0)
		r = choose_root(tree, options ? options->root : NULL, err);
	if (r < 0) {
		cgroup_close(tree);
		return r;
	}
	*ret = tree;
	return 0;
}

struct cgroup_tree *cgroup_close(struct cgroup_tree *tree)
{
	if (!tree)
		return NULL;
	for (size_t i = 0; i < tree->hierarchy_count; i++) {
		free(tree->hierarchies[i].dir);
		free(tree->hierarchies[i].controllers);
	}
	free(tree->root);
	free(tree);
	return NULL;
}

int cgroup_version(const struct cgroup_tree *tree)
{
	return tree->version;
}

/* ---- names and numbers ---- */

static const char *const qos_folder[] = {
	[CGROUP_GUARANTEED] = "",
	[CGROUP_BURSTABLE] = "/burstable",
	[CGROUP_BESTEFFORT] = "/besteffort",
};

char *cgroup_qos_path(const struct cgroup_tree *tree, enum cgroup_qos qos)
{
	return xprintf("%s/kubepods%s", tree->root, qos_folder[qos]);
}

char *cgroup_monitors_path(const struct cgroup_tree *tree)
{
	return xprintf("%s/coracle-monitors", tree->root);
}

char *cgroup_pod_path(const struct cgroup_tree *tree, enum cgroup_qos qos, const char *uid)
{
	return xprintf("%s/kubepods%s/pod%s", tree->root, qos_folder[qos], uid);
}

int64_t cgroup_milli_cpu_to_shares(int64_t milli_cpu)
{
	/* 1024 shares a CPU; the kernel takes 2 to 262144. */
	if (milli_cpu <= 0)
		return 2;
	int64_t shares = milli_cpu * 1024 / 1000;
	return shares < 2 ? 2 : min_of(shares, (int64_t)262144);
}

int64_t cgroup_milli_cpu_to_quota_us(int64_t milli_cpu, int64_t period_us)
{
	if (milli_cpu <= 0)
		return 0;
	int64_t quota = milli_cpu * (period_us > 0 ? period_us : 100000) / 1000;
	return max_of(quota, (int64_t)1000); /* the kernel refuses less than a millisecond */
}

int64_t cgroup_shares_to_weight(int64_t shares)
{
	if (shares <= 0)
		return 0;
	shares = max_of(shares, (int64_t)2);
	shares = min_of(shares, (int64_t)262144);
	return 1 + (shares - 2) * 9999 / 262142;
}

/* ---- making and removing ---- */

static int make_in(const struct cgroup_hierarchy *h, const char *path, struct error *err)
{
	char name[PATH_MAX];
	int r = group_path(name, sizeof(name), h, path, NULL);
	if (r < 0)
		return error_set_errno(err, r, "cgroup %s", path);
	if (mkdir(name, 0755) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make cgroup %s", name);
	return 0;
}

int cgroup_create(struct cgroup_tree *tree, const char *path, const struct cgroup_resources *resources, struct error *err)
{
	if (*path != '/' || strstr(path, "/../"))
		return error_set(err, EINVAL, "cgroup path \"%s\" is not absolute", path);
	/* Level by level: a controller is enabled, and cpuset filled, from the top down. */
	for (const char *end = path; end;) {
		end = strchr(end + 1, '/');
		autofree char *part = end ? xstrndup(path, (size_t)(end - path)) : xstrdup(path);
		if (strlen(part) < 2)
			continue;
		for (size_t i = 0; i < tree->hierarchy_count; i++) {
			int r = make_in(&tree->hierarchies[i], part, err);
			if (r < 0)
				return r;
		}
		int r = tree->ops->prepare(tree, part, err);
		if (r < 0)
			return r;
	}
	return resources ? tree->ops->apply(tree, path, resources, err) : 0;
}

int cgroup_update(struct cgroup_tree *tree, const char *path, const struct cgroup_resources *resources, struct error *err)
{
	return tree->ops->apply(tree, path, resources, err);
}

bool cgroup_exists(struct cgroup_tree *tree, const char *path)
{
	const struct cgroup_hierarchy *h = cgroup_find(tree, "memory");
	char name[PATH_MAX];
	return h && group_path(name, sizeof(name), h, path, NULL) == 0 && access(name, F_OK) == 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names of child groups in one hierarchy. */
static char **children_in(const struct cgroup_hierarchy *h, const char *path, size_t *ret_count)
{
	char name[PATH_MAX];
	char **names = xcalloc(1, sizeof(*names));
	size_t count = 0;
	*ret_count = 0;
	DIR *dir = group_path(name, sizeof(name), h, path, NULL) < 0 ? NULL : opendir(name);
	if (!dir)
		return names;
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		names = xreallocarray(names, count + 2, sizeof(*names));
		names[count++] = xstrdup(e->d_name);
		names[count] = NULL;
	}
	closedir(dir);
	*ret_count = count;
	return names;
}

static void free_names(char **names)
{
	for (size_t i = 0; names[i]; i++)
		free(names[i]);
	free(names);
}

static bool has_name(char **names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

int cgroup_children(struct cgroup_tree *tree, const char *path, char ***ret, struct error *err)
{
	char **names = xcalloc(1, sizeof(*names));
	size_t count = 0;
	for (size_t i = 0; i < tree->hierarchy_count; i++) {
		size_t here;
		char **found = children_in(&tree->hierarchies[i], path, &here);
		names = xreallocarray(names, count + here + 1, sizeof(*names));
		for (size_t j = 0; j < here; j++) {
			if (has_name(names, count, found[j]))
				free(found[j]);
			else
				names[count++] = found[j];
		}
		names[count] = NULL;
		free(found);
	}
	if (count)
		qsort(names, count, sizeof(*names), compare_names);
	*ret = names;
	return 0;
}

uint64_t cgroup_child_count(struct cgroup_tree *tree, const char *path)
{
	uint64_t sum = 0;
	for (size_t i = 0; i < tree->hierarchy_count; i++) {
		char name[PATH_MAX];
		struct stat st;
		if (group_path(name, sizeof(name), &tree->hierarchies[i], path, NULL) == 0 && stat(name, &st) == 0)
			sum += st.st_nlink;
	}
	return sum;
}

int cgroup_attach(struct cgroup_tree *tree, const char *path, pid_t pid, struct error *err)
{
	for (size_t i = 0; i < tree->hierarchy_count; i++) {
		int r = cgroup_write_int(&tree->hierarchies[i], path, "cgroup.procs", pid, err);
		if (r < 0)
			return r;
	}
	return 0;
}

struct pid_set {
	pid_t *pids;
	size_t count;
};

static void collect_pids(const struct cgroup_hierarchy *h, const char *path, struct pid_set *set)
{
	autofree char *text = cgroup_read(h, path, "cgroup.procs");
	for (char *pos = text; pos && *pos;) {
		char *end;
		long pid = strtol(pos, &end, 10);
		if (end == pos)
			break;
		/* 0 is a process of another PID namespace; to kill() it would be our own process group. */
		if (pid > 0) {
			set->pids = xreallocarray(set->pids, set->count + 1, sizeof(*set->pids));
			set->pids[set->count++] = (pid_t)pid;
		}
		pos = *end ? end + 1 : end;
	}
	size_t count;
	char **names = children_in(h, path, &count);
	for (size_t i = 0; i < count; i++) {
		autofree char *child = xprintf("%s/%s", path, names[i]);
		collect_pids(h, child, set);
	}
	free_names(names);
}

/* Whoever joined the group in any of the hierarchies: one that was killed half way through joining or leaving is in some of them only. */
static void collect_all_pids(struct cgroup_tree *tree, const char *path, struct pid_set *set)
{
	for (size_t i = 0; i < tree->hierarchy_count; i++)
		collect_pids(&tree->hierarchies[i], path, set);
}

int cgroup_pids(struct cgroup_tree *tree, const char *path, pid_t **ret_pids, size_t *ret_count, struct error *err)
{
	const struct cgroup_hierarchy *h = cgroup_find(tree, "memory");
	struct pid_set set = {0};
	collect_pids(h ? h : &tree->hierarchies[0], path, &set);
	*ret_pids = set.pids;
	*ret_count = set.count;
	return 0;
}

int cgroup_kill(struct cgroup_tree *tree, const char *path, struct error *err)
{
	if (tree->ops->kill(tree, path) == 0)
		return 0;
	/* One by one; again while new ones were forked meanwhile. */
	size_t before = 0;
	for (int round = 0; round < KILL_ROUNDS; round++) {
		struct pid_set set = {0};
		collect_all_pids(tree, path, &set);
		for (size_t i = 0; i < set.count; i++)
			kill(set.pids[i], SIGKILL);
		free(set.pids);
		if (set.count == 0 || (round && set.count <= before))
			break;
		before = set.count;
	}
	return 0;
}

/* Waits for the end of all that is in the group, by pidfd: no polling of rmdir. */
static void wait_empty(struct cgroup_tree *tree, const char *path)
{
	int64_t deadline = clock_monotonic_ns() + REMOVE_WAIT_MS * NSEC_PER_MSEC;
	struct pid_set set = {0};
	collect_all_pids(tree, path, &set);
	for (size_t i = 0; i < set.count; i++) {
		autoclose int fd = (int)syscall(SYS_pidfd_open, set.pids[i], 0);
		if (fd < 0)
			continue;
		int64_t left = (deadline - clock_monotonic_ns()) / NSEC_PER_MSEC;
		struct pollfd p = {.fd = fd, .events = POLLIN};
		poll(&p, 1, left > 0 ? (int)left : 0);
	}
	free(set.pids);
}

static int remove_in(const struct cgroup_hierarchy *h, const char *path)
{
	size_t count;
	char **names = children_in(h, path, &count);
	for (size_t i = 0; i < count; i++) {
		autofree char *child = xprintf("%s/%s", path, names[i]);
		remove_in(h, child);
	}
	free_names(names);
	char name[PATH_MAX];
	int r = group_path(name, sizeof(name), h, path, NULL);
	if (r < 0)
		return r;
	return rmdir(name) < 0 && errno != ENOENT ? -errno : 0;
}

static int remove_everywhere(struct cgroup_tree *tree, const char *path)
{
	int failed = 0;
	for (size_t i = 0; i < tree->hierarchy_count; i++) {
		int r = remove_in(&tree->hierarchies[i], path);
		failed = r < 0 ? r : failed;
	}
	return failed;
}

int cgroup_remove(struct cgroup_tree *tree, const char *path, struct error *err)
{
	if (*path != '/' || !path[1])
		return error_set(err, EINVAL, "will not remove the root cgroup");
	int failed = 0;
	for (int attempt = 0; attempt < 3; attempt++) {
		failed = remove_everywhere(tree, path);
		if (failed != -EBUSY)
			break;
		cgroup_kill(tree, path, NULL);
		wait_empty(tree, path);
	}
	return failed < 0 ? error_set_errno(err, failed, "remove cgroup %s", path) : 0;
}

int cgroup_leave(struct cgroup_tree *tree, struct error *err)
{
	autofree char *pods = cgroup_qos_path(tree, CGROUP_GUARANTEED), *monitors = cgroup_monitors_path(tree);
	const char *const ours[] = {pods, monitors};
	for (size_t i = 0; i < array_len(ours); i++) {
		wait_empty(tree, ours[i]);
		int r = remove_everywhere(tree, ours[i]);
		if (r < 0)
			return error_set_errno(err, r, "remove cgroup %s", ours[i]);
	}
	for (size_t i = 0; tree->named && i < tree->hierarchy_count; i++) {
		char name[PATH_MAX];
		if (group_path(name, sizeof(name), &tree->hierarchies[i], tree->root, NULL) == 0 && rmdir(name) < 0 && errno != ENOENT && errno != EBUSY && errno != ENOTEMPTY)
			return error_set_errno(err, errno, "remove cgroup %s", name);
	}
	return 0;
}

/* ---- reading ---- */

static const char *stats_begin(const char *path, struct cgroup_stats *ret)
{
	*ret = (struct cgroup_stats){.time = clock_wall(), .memory_limit = UINT64_MAX, .pids_limit = UINT64_MAX};
	return strcmp(path, "/") == 0 ? "" : path;
}

static int stats_absent(const char *path, struct error *err)
{
	return error_set(err, ENOENT, "cgroup %s does not exist", path);
}

int cgroup_stats_read(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret, struct error *err)
{
	struct cgroup_stats stats;
	path = stats_begin(path, &stats);
	if (*path && !cgroup_exists(tree, path))
		return stats_absent(path, err);
	tree->ops->read_stats(tree, path, &stats);
	*ret = stats;
	return 0;
}

int cgroup_usage_read(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret, struct error *err)
{
	struct cgroup_stats stats;
	path = stats_begin(path, &stats);
	if (!tree->ops->read_usage(tree, path, &stats) && *path)
		return stats_absent(path, err);
	*ret = stats;
	return 0;
}

static int compare_sizes(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return x < y ? -1 : x > y;
}

size_t cgroup_hugepage_sizes(uint64_t *out, size_t max)
{
	DIR *dir = opendir("/sys/kernel/mm/hugepages");
	size_t count = 0;
	if (!dir)
		return 0;
	for (struct dirent *e; count < max && (e = readdir(dir));) {
		unsigned long long kib;
		if (sscanf(e->d_name, "hugepages-%llukB", &kib) == 1)
			out[count++] = kib << 10;
	}
	closedir(dir);
	qsort(out, count, sizeof(*out), compare_sizes);
	return count;
}
