/* SPDX-License-Identifier: Apache-2.0 */
/* Who a container runs as: numbers from the config, or names looked up in the image's own passwd and group files. */
#include "kubelet/runtime/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_PASSWD (4 << 20)
#define MAX_GROUPS 1024

/* Reads a file of the image; links stay inside its root. NULL where there is none, or it is no sensible file. */
static char *read_inside(const char *rootfs, const char *path)
{
	autoclose int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS};
	autoclose int fd = root < 0 ? -1 : (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > MAX_PASSWD)
		return NULL;
	char *text = xmalloc((size_t)st.st_size + 1);
	size_t len = 0;
	for (ssize_t n; len < (size_t)st.st_size && (n = read(fd, text + len, (size_t)st.st_size - len)) > 0;)
		len += (size_t)n;
	text[len] = 0;
	return text;
}

/* Splits "a:b:c" in place; returns how many fields there were. */
static size_t split_fields(char *line, char **fields, size_t max)
{
	size_t n = 0;
	while (line && n < max) {
		fields[n++] = line;
		line = strchr(line, ':');
		if (line)
			*line++ = 0;
	}
	return n;
}

struct passwd_entry {
	bool found;
	char name[256];
	int64_t uid, gid;
};

/* By name, or where name is NULL by uid. */
static struct passwd_entry passwd_find(const char *rootfs, const char *name, int64_t uid)
{
	struct passwd_entry entry = {0};
	autofree char *text = read_inside(rootfs, "etc/passwd");
	char *save = NULL, *fields[4];
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		int64_t row_uid, row_gid;
		if (split_fields(line, fields, 4) < 4 || !str_to_int64(fields[2], 0, UINT32_MAX, &row_uid))
			continue;
		char *end = strchr(fields[3], ':');
		if (end)
			*end = 0;
		if (!str_to_int64(fields[3], 0, UINT32_MAX, &row_gid))
			continue;
		if (name ? strcmp(fields[0], name) != 0 : row_uid != uid)
			continue;
		entry = (struct passwd_entry){.found = true, .uid = row_uid, .gid = row_gid};
		snprintf(entry.name, sizeof(entry.name), "%s", fields[0]);
		break;
	}
	return entry;
}

static void add_group(struct user *user, int64_t gid)
{
	for (size_t i = 0; i < user->group_count; i++)
		if (user->groups[i] == (gid_t)gid)
			return;
	if (user->group_count == MAX_GROUPS)
		return;
	user->groups = xreallocarray(user->groups, user->group_count + 1, sizeof(*user->groups));
	user->groups[user->group_count++] = (gid_t)gid;
}

static bool lists_member(char *members, const char *name)
{
	char *save = NULL;
	for (char *member = strtok_r(members, ",", &save); member; member = strtok_r(NULL, ",", &save))
		if (strcmp(member, name) == 0)
			return true;
	return false;
}

/* Groups of /etc/group that name the user; or, with wanted, only the number of that group. */
static bool group_scan(const char *rootfs, const char *member, const char *wanted, struct user *user, int64_t *ret_gid)
{
	autofree char *text = read_inside(rootfs, "etc/group");
	char *save = NULL, *fields[4];
	for (char *line = text ? strtok_r(text, "\n", &save) : NULL; line; line = strtok_r(NULL, "\n", &save)) {
		int64_t gid;
		size_t n = split_fields(line, fields, 4);
		if (n < 3 || !str_to_int64(fields[2], 0, UINT32_MAX, &gid))
			continue;
		if (wanted && strcmp(fields[0], wanted) == 0) {
			*ret_gid = gid;
			return true;
		}
		if (!wanted && member && *member && n == 4 && lists_member(fields[3], member))
			add_group(user, gid);
	}
	return false;
}

/* "1000", "app", "1000:2000", "app:group" as images write it. */
static int resolve_text(const char *rootfs, const char *text, struct passwd_entry *ret, bool *ret_has_gid, struct error *err)
{
	const char *colon = strchr(text, ':');
	autofree char *name = colon ? xstrndup(text, (size_t)(colon - text)) : xstrdup(text);
	int64_t number;
	*ret_has_gid = false;
	if (!*name) {
		*ret = passwd_find(rootfs, NULL, 0);
	} else if (str_to_int64(name, 0, UINT32_MAX, &number)) {
		*ret = passwd_find(rootfs, NULL, number);
		ret->uid = number;
	} else {
		*ret = passwd_find(rootfs, name, 0);
		if (!ret->found)
			return error_set(err, EINVAL, "unable to find user %s: no matching entries in passwd file", name);
	}
	if (!colon || !colon[1])
		return 0;
	*ret_has_gid = true;
	if (str_to_int64(colon + 1, 0, UINT32_MAX, &number)) {
		ret->gid = number;
		return 0;
	}
	return group_scan(rootfs, NULL, colon + 1, NULL, &ret->gid)
		       ? 0
		       : error_set(err, EINVAL, "unable to find group %s: no matching entries in group file", colon + 1);
}

int user_resolve(const char *rootfs, const struct container_config *config, const char *image_user, struct user *ret, struct error *err)
{
	struct passwd_entry entry = {0};
	bool has_gid = false;
	int r = 0;
	if (config->has_run_as_user) {
		if (config->run_as_user < 0 || config->run_as_user > UINT32_MAX)
			return error_set(err, EINVAL, "user id %lld is out of range", (long long)config->run_as_user);
		entry = passwd_find(rootfs, NULL, config->run_as_user);
		entry.uid = config->run_as_user;
	} else {
		r = resolve_text(rootfs, !str_empty(config->run_as_username) ? config->run_as_username : str_or(image_user, ""), &entry, &has_gid, err);
	}
	if (r < 0)
		return r;
	if (config->has_run_as_group)
		entry.gid = config->run_as_group;
	if (entry.gid < 0 || entry.gid > UINT32_MAX)
		return error_set(err, EINVAL, "group id %lld is out of range", (long long)entry.gid);
	struct user user = {.uid = (uid_t)entry.uid, .gid = (gid_t)entry.gid};
	add_group(&user, entry.gid);
	/* The image's before the pod's, as the status of a pod shows them. */
	if (!config->strict_groups && entry.found)
		group_scan(rootfs, entry.name, NULL, &user, NULL);
	for (size_t i = 0; i < config->supplemental_group_count; i++)
		add_group(&user, config->supplemental_groups[i]);
	*ret = user;
	return 0;
}
