/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subPath of a volume mount, safe against a container that swaps folders for links: the path is walked with openat2 beneath the
 * volume's root, and what was found is bind mounted by its file descriptor at a place no container can write to.
 */
#ifndef CORACLE_KUBELET_SUBPATH_H
#define CORACLE_KUBELET_SUBPATH_H

#include "common/base/error.h"

/*
 * Resolves `subpath` beneath `volume` (made as a folder where missing, with the volume's mode) and bind mounts it at `target`, which this
 * call makes. Where something is mounted at target already it stays. `root_only`: refuse where the result is outside. -EINVAL for "..", absolute or escaping paths.
 */
int subpath_bind(const char *volume, const char *subpath, const char *target, struct error *err);
/* Unmounts and removes all below `dir`. Absent is success. */
int subpath_clean(const char *dir, struct error *err);

#endif
