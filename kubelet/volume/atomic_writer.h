/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that a container sees change all at once:
 *
 *	<dir>/key           -> ..data/key          one link for each first path element
 *	<dir>/..data        -> ..2026_01_02_15_04_05.123456789    swapped by rename
 *	<dir>/..2026_.../key   the files
 */
#ifndef CORACLE_KUBELET_ATOMIC_WRITER_H
#define CORACLE_KUBELET_ATOMIC_WRITER_H

#include "common/base/error.h"

#include <sys/types.h>

struct volume_file {
	const char *path; /* relative; no element ".." and no first element that begins with ".." */
	const void *data;
	size_t len;
	mode_t mode;
	uid_t uid; /* (uid_t)-1: leave */
	gid_t gid; /* (gid_t)-1: leave */
};

#define VOLUME_MAX_PATH 4096
#define VOLUME_MAX_FILES 10000

/* Makes `dir` show exactly `files` (paths distinct). Does nothing where it does already. ret_changed may be NULL. One writer a folder. */
int atomic_writer_write(const char *dir, const struct volume_file *files, size_t count, bool *ret_changed, struct error *err);
/* True where the path may be written below a volume's folder. */
bool atomic_writer_path_ok(const char *path);

#endif
