/* SPDX-License-Identifier: Apache-2.0 */
/* What the two versions share inside this folder. */
#ifndef CORACLE_KUBELET_CGROUP_INTERNAL_H
#define CORACLE_KUBELET_CGROUP_INTERNAL_H

#include "kubelet/cgroup/cgroup.h"

#define CGROUP_MAX_HIERARCHIES 24
#define CGROUP_MAX_FILE (1 << 20) /* bytes of one control file */

/* One mounted tree. On version 2 there is one; on version 1 one for each set of controllers. */
struct cgroup_hierarchy {
	char *dir;         /* folder of its root: "/sys/fs/cgroup/cpu" */
	char *controllers; /* ",cpu,cpuacct," for look-ups; "," = tracks processes only */
};

struct cgroup_ops {
	/* What a new group needs before processes may enter it. `path` exists in all hierarchies. */
	int (*prepare)(struct cgroup_tree *tree, const char *path, struct error *err);
	int (*apply)(struct cgroup_tree *tree, const char *path, const struct cgroup_resources *resources, struct error *err);
	/* What cgroup_usage_read() gives; false where the group is not there. read_stats gives all, with that. */
	bool (*read_usage)(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret);
	void (*read_stats)(struct cgroup_tree *tree, const char *path, struct cgroup_stats *ret);
	/* Kills all in one group, its children too, at once; -EOPNOTSUPP: the caller signals one by one. */
	int (*kill)(struct cgroup_tree *tree, const char *path);
};

struct cgroup_tree {
	int version;
	char *root; /* "" or "/x/y": put before the paths that this tree makes */
	bool named; /* the root was asked for by its name */
	struct cgroup_hierarchy hierarchies[CGROUP_MAX_HIERARCHIES];
	size_t hierarchy_count;
	const struct cgroup_ops *ops;
};

extern const struct cgroup_ops cgroup_v1_ops;
extern const struct cgroup_ops cgroup_v2_ops;

/* The hierarchy that has the controller (any on version 2 with it enabled); NULL where none. */
const struct cgroup_hierarchy *cgroup_find(const struct cgroup_tree *tree, const char *controller);
/* Writes `value` to <dir><path>/<file>. */
int cgroup_write(const struct cgroup_hierarchy *h, const char *path, const char *file, const char *value, struct error *err);
int cgroup_write_int(const struct cgroup_hierarchy *h, const char *path, const char *file, int64_t value, struct error *err);
/* The caller frees; NULL where it cannot be read. */
char *cgroup_read(const struct cgroup_hierarchy *h, const char *path, const char *file);
/* One number; "max" is UINT64_MAX; `fallback` where it cannot be read. h may be NULL. */
uint64_t cgroup_read_uint(const struct cgroup_hierarchy *h, const char *path, const char *file, uint64_t fallback);
/* The value of "key value" lines; 0 where absent. text may be NULL. */
uint64_t cgroup_stat_field(const char *text, const char *key);

#endif
