/* SPDX-License-Identifier: Apache-2.0 */
/* Whether what is mounted on one side of a bind mount can be seen on the other: the kernel's peer groups, as mountinfo shows them. */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>

#define MAX_MOUNTINFO (16u << 20)

static bool lies_in(const char *path, const char *mount, size_t len)
{
	return strncmp(path, mount, len) == 0 && (path[len] == '/' || !path[len] || (len == 1 && *mount == '/'));
}

static void unescape(char *text)
{
	char *out = text;
	for (; *text; text++) {
		if (*text == '\\' && text[1] >= '0' && text[1] <= '3' && text[2] && text[3]) {
			*out++ = (char)((text[1] - '0') * 64 + (text[2] - '0') * 8 + (text[3] - '0'));
			text += 3;
		} else {
			*out++ = *text;
		}
	}
	*out = 0;
}

int propagation_find(char *table, const char *path, struct propagation *ret)
{
	size_t best = 0;
	char *save = NULL;
	struct propagation found = {0};
	/* The last of those at the longest path lies on top. Fields: id, parent, device, root, mount point, options, tags..., "-". */
	for (char *line = strtok_r(table, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *field = line, *end;
		for (int i = 0; i < 4 && field; i++)
			field = (field = strchr(field, ' ')) ? field + 1 : NULL;
		if (!field || !(end = strchr(field, ' ')))
			continue;
		*end = 0;
		unescape(field);
		size_t len = strlen(field);
		if (len < best || !lies_in(path, field, len))
			continue;
		const char *tags = end + 1, *stop = strstr(tags, " - "), *shared = strstr(tags, " shared:"), *slave = strstr(tags, " master:");
		best = len;
		found = (struct propagation){.mount = field, .shared = shared && stop && shared < stop, .slave = slave && stop && slave < stop};
	}
	if (!best)
		return -ENOENT;
	*ret = found;
	return 0;
}

int propagation_check(const struct container_mount *mount, struct error *err)
{
	char real[PATH_MAX];
	autofree char *table = NULL;
	size_t len;
	struct propagation found;
	if (mount->propagation == MOUNT_PRIVATE || !mount->host_path)
		return 0;
	if (!realpath(mount->host_path, real))
		return error_set_errno(err, errno, "%s", mount->host_path);
	int r = file_read(AT_FDCWD, "/proc/self/mountinfo", MAX_MOUNTINFO, &table, &len, err);
	if (r < 0)
		return r;
	if (propagation_find(table, real, &found) < 0)
		return error_set(err, ENOENT, "path \"%s\" is on no mount", mount->host_path);
	if (mount->propagation == MOUNT_BIDIRECTIONAL && !found.shared)
		return error_set(err, EINVAL, "path \"%s\" is mounted on \"%s\" but it is not a shared mount", mount->host_path, found.mount);
	if (mount->propagation == MOUNT_HOST_TO_CONTAINER && !found.shared && !found.slave)
		return error_set(err, EINVAL, "path \"%s\" is mounted on \"%s\" but it is not a shared or slave mount", mount->host_path, found.mount);
	return 0;
}
