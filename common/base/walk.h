/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees that somebody else writes meanwhile, and may have made as deep as he likes: walked with few descriptors and little stack, following no
 * link, leaving out what is mounted below.
 */
#ifndef CORACLE_BASE_WALK_H
#define CORACLE_BASE_WALK_H

#include "common/base/error.h"

#include <sys/stat.h>

#define WALK_MAX_DEPTH (1u << 20)

/* fd: the entry itself, whatever takes its name meanwhile; -1 for what is no folder, unless the walk opens all. */
typedef int walk_visit(int fd, const struct stat *st, void *arg, struct error *err);
/*
 * Calls `visit` with each entry, a folder after what is in it, the top last, until one fails: its error is given with the entry's path. open_all: files and links
 * are opened too (O_PATH). -ESTALE: folders were moved about while it walked; -ELOOP: deeper than WALK_MAX_DEPTH.
 */
int walk_tree(const char *path, bool open_all, walk_visit *visit, void *arg, struct error *err);

#endif
