/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/runtime/log_files.h"

#include "common/base/clock.h"
#include "common/base/file.h"

#include <dirent.h>
#include <stdio.h>
#include <time.h>

static int oldest_first(const void *a, const void *b)
{
	return strcmp(((const struct log_file *)a)->stamp, ((const struct log_file *)b)->stamp);
}

void log_files_list(const char *log, struct log_files *ret)
{
	autofree char *folder = xstrdup(log);
	char *slash = strrchr(folder, '/');
	*slash = 0;
	autofree char *prefix = xprintf("%s.", slash + 1);
	*ret = (struct log_files){0};
	DIR *dir = opendir(*folder ? folder : "/");
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (!str_starts_with(e->d_name, prefix) || str_ends_with(e->d_name, ".tmp"))
			continue;
		struct log_file file = {.path = path_join(*folder ? folder : "/", e->d_name, NULL), .compressed = str_ends_with(e->d_name, ".gz")};
		const char *stamp = e->d_name + strlen(prefix);
		snprintf(file.stamp, sizeof(file.stamp), "%.*s", (int)strcspn(stamp, "."), stamp);
		ret->items = xreallocarray(ret->items, ret->len + 1, sizeof(*ret->items));
		ret->items[ret->len++] = file;
	}
	if (dir)
		closedir(dir);
	if (ret->len)
		qsort(ret->items, ret->len, sizeof(*ret->items), oldest_first);
}

void log_files_done(struct log_files *files)
{
	for (size_t i = 0; i < files->len; i++)
		free(files->items[i].path);
	free(files->items);
	*files = (struct log_files){0};
}

char *log_files_name(const char *log)
{
	time_t seconds = clock_wall().sec;
	struct tm parts;
	char stamp[LOG_STAMP_LEN];
	gmtime_r(&seconds, &parts);
	strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &parts);
	return xprintf("%s.%s", log, stamp);
}
