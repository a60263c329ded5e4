/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s) {
	char *out = s;
	for (; *s; s++) {
		if (*s == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] && s[3]) {
			*out++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 3;
		} else {
			*out++ = *s;
		}
	}
	*out = '\0';
}

/* The mount point of a line of mountinfo, unescaped in place; NULL: the line has none. */
static char *mount_point(char *line) {
	for (int i = 0; i < 4 && line; i++)
		line = (line = strchr(line, ' ')) ? line + 1 : NULL;
	char *end = line ? strchr(line, ' ') : NULL;
	if (!end)
		return NULL;
	*end = '\0';
	unescape(line);
	return line;
}

static void close_file(FILE **file) {
	if (*file)
		fclose(*file);
}

/* Mount points at or below `dir` in the order of mounting; free each and the list. Line by line: the table of a full node is large, and many pods end at once. */
static size_t list_below(const char *dir, char ***ret) {
	cleanup(close_file) FILE *table = fopen("/proc/self/mountinfo", "re");
	autofree char *line = NULL;
	size_t line_cap = 0, count = 0, cap = 0, dir_len = strlen(dir);
	*ret = NULL;
	while (table && getline(&line, &line_cap, table) > 0) {
		const char *point = mount_point(line);
		if (!point || strncmp(point, dir, dir_len) != 0 || (point[dir_len] && point[dir_len] != '/'))
			continue;
		if (count == cap)
			*ret = xreallocarray(*ret, cap = cap ? cap * 2 : 8, sizeof(char *));
		(*ret)[count++] = xstrdup(point);
	}
	return count;
}

bool mount_is_point(const char *path) {
	struct stat st, parent;
	if (lstat(path, &st) < 0)
		return false;
	autofree char *up = xprintf("%s/..", path);
	/* Another device than the folder above says so at once; a bind mount within one device does not. */
	if (S_ISDIR(st.st_mode) && lstat(up, &parent) == 0 && parent.st_dev != st.st_dev)
		return true;
	char **list;
	size_t count = list_below(path, &list);
	bool found = false;
	for (size_t i = 0; i < count; i++) {
		found = found || str_equal(list[i], path);
		free(list[i]);
	}
	free(list);
	return found;
}

int mount_share(const char *path, struct error *err) {
	if (!mount_is_point(path) && mount(path, path, NULL, MS_BIND, NULL) < 0)
		return error_set_errno(err, errno, "bind %s", path);
	/* Shared already is success. */
	return mount(NULL, path, NULL, MS_SHARED, NULL) < 0 ? error_set_errno(err, errno, "share %s", path) : 0;
}

int mount_unmount_below(const char *dir, struct error *err) {
	char **list;
	int failed = 0;
	size_t count = list_below(dir, &list);
	for (size_t i = count; i-- > 0;) {
		if (!failed && umount2(list[i], UMOUNT_NOFOLLOW | MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
			failed = error_set_errno(err, errno, "unmount %s", list[i]);
		free(list[i]);
	}
	free(list);
	return failed;
}
