/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SELinux labels of containers and of what they write, as Kubernetes' runtimes give them. The kernel's side of it is few files of selinuxfs and
 * one extended attribute, read and written here: libselinux would bring a library to every node for what three of its calls do.
 *
 * A label is "user:role:type[:level]". Thread safe: nothing changes once it is open.
 */
#ifndef CORACLE_KUBELET_SELINUX_H
#define CORACLE_KUBELET_SELINUX_H

#include "kubelet/runtime/runtime.h"

struct selinux;

#define SELINUX_LEVELS (1022u * 1021 / 2) /* pairs of categories; the last two categories are those of what no confined container may use */

/* NULL where the kernel has no SELinux, or no policy was loaded into it. `root` stands before each path: "" but in tests. */
struct selinux *selinux_open(const char *root);
/* Takes NULL. Returns NULL. */
struct selinux *selinux_close(struct selinux *selinux);

/* The number-th level of SELINUX_LEVELS: "s0:c0,c1"; NULL where the policy has no levels. The caller frees. */
char *selinux_level(const struct selinux *selinux, uint32_t number);
/*
 * What a container's processes, and its files, are labelled: the policy's default for containers, under what is asked for (`asked` may be NULL), with
 * `level` (may be NULL) where that names none. NULL where the policy knows no containers and nothing was asked for. -EINVAL where the policy does not
 * know what was asked for. The caller frees.
 */
int selinux_process_label(const struct selinux *selinux, const struct container_selinux *asked, const char *level, char **ret, struct error *err);
int selinux_file_label(const struct selinux *selinux, const struct container_selinux *asked, const char *level, char **ret, struct error *err);
/* What files are labelled that all containers may read and none may write, as those of images; NULL where the policy has none. Borrowed. */
const char *selinux_shared_label(const struct selinux *selinux);
/* For processes that nothing confines: spc_t ("super privileged container"); NULL where the policy does not have it. The caller frees. */
char *selinux_unconfined_label(const struct selinux *selinux);

/*
 * Labels a file, or a folder with all below it, itself last. Follows no link, leaves what is mounted below alone; a file system that keeps no
 * labels is success.
 */
int selinux_relabel(const char *path, const char *label, struct error *err);
/* The same for what never changes: where the top is labelled so, all is. */
int selinux_relabel_once(const char *path, const char *label, struct error *err);

#endif
