/* SPDX-License-Identifier: Apache-2.0 */
/* Mount points as the kernel lists them. */
#ifndef CORACLE_KUBELET_MOUNT_H
#define CORACLE_KUBELET_MOUNT_H

#include "common/base/error.h"

/* True where something is mounted at exactly this path (links in it are not followed). */
bool mount_is_point(const char *path);
/* Makes what is mounted below it appear in other bind mounts of it; where it is no mount point, by a mount of its own. */
int mount_share(const char *path, struct error *err);
/* Unmounts all at and below `dir`, the deepest first. Absent is success. */
int mount_unmount_below(const char *dir, struct error *err);

#endif
