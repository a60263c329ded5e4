/* SPDX-License-Identifier: Apache-2.0 */
/* Links that collectors of logs follow: /var/log/containers/<pod>_<namespace>_<container>-<id>.log, as every node of Kubernetes has them. */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define SUFFIX ".log"
#define MAX_STEM (255 - (sizeof(SUFFIX) - 1)) /* of what a file system takes as a name */

static char *link_path(const struct runtime *runtime, const struct container *container)
{
	const char *pod = runtime_label_get(&container->labels, "io.kubernetes.pod.name"), *ns = runtime_label_get(&container->labels, "io.kubernetes.pod.namespace");
	if (!runtime->log_links_dir || !pod || !ns)
		return NULL;
	autofree char *stem = xprintf("%s_%s_%s-%s", pod, ns, container->name, container->id), *name = xprintf("%.*s" SUFFIX, (int)MAX_STEM, stem);
	return path_join(runtime->log_links_dir, name, NULL);
}

void log_link_make(const struct runtime *runtime, const struct container *container)
{
	autofree char *path = link_path(runtime, container);
	if (path && symlink(container->log_path, path) < 0 && errno != EEXIST)
		log_warning("log cannot be linked", LOG_STR("path", path), LOG_STR("err", strerror(errno)));
}

void log_link_remove(const struct runtime *runtime, const struct container *container)
{
	autofree char *path = link_path(runtime, container);
	if (path)
		unlink(path);
}

/* The end of the ID that the name holds; NULL where it is no name of ours. */
static const char *id_in(const char *name)
{
	const char *dash = strrchr(name, '-');
	return dash && str_ends_with(name, SUFFIX) ? dash + 1 : NULL;
}

static bool is_known(const struct runtime *runtime, const char *id)
{
	autofree char *whole = xstrndup(id, strlen(id) - strlen(SUFFIX));
	return map_has(&runtime->containers, whole);
}

void log_links_sweep(const struct runtime *runtime)
{
	DIR *dir = runtime->log_links_dir ? opendir(runtime->log_links_dir) : NULL;
	for (struct dirent *e; dir && (e = readdir(dir));) {
		const char *id = e->d_type == DT_LNK ? id_in(e->d_name) : NULL;
		/* Those of another runtime on this machine lead somewhere, or are its own to remove. */
		if (id && !is_known(runtime, id) && faccessat(dirfd(dir), e->d_name, F_OK, 0) < 0 && errno == ENOENT)
			unlinkat(dirfd(dir), e->d_name, 0);
	}
	if (dir)
		closedir(dir);
}
