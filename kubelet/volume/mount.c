/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/volume/mount.h"

#include "common/base/file.h"

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

/* Mount points at or below `dir` in the order of mounting; free each and the list. */
static size_t list_below(const char *dir, char ***ret) {
	autofree char *table = NULL;
	size_t len, count = 0, cap = 0, dir_len = strlen(dir);
	*ret = NULL;
	if (file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNT_MAX_TABLE, &table, &len, NULL) < 0)
		return 0;
	char *save = NULL;
	for (char *line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *field = line;
		for (int i = 0; i < 4 && field; i++)
			field = (field = strchr(field, ' ')) ? field + 1 : NULL;
		char *end = field ? strchr(field, ' ') : NULL;
		if (!end)
			continue;
		*end = '\0';
		unescape(field);
		if (strncmp(field, dir, dir_len) != 0 || (field[dir_len] && field[dir_len] != '/'))
			continue;
		if (count == cap)
			*ret = xreallocarray(*ret, cap = cap ? cap * 2 : 8, sizeof(char *));
		(*ret)[count++] = xstrdup(field);
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
