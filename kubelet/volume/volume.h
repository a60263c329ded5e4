/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes of pods. A type is one file that ends in one const struct volume_plugin, listed in table.c. Types that need a
 * controller's or driver's help (persistent volumes, CSI) add a row of the same shape: setup() mounts below the folder it is given.
 *
 *	<pod dir>/volumes/kubernetes.io~empty-dir/<volume name>
 */
#ifndef CORACLE_KUBELET_VOLUME_H
#define CORACLE_KUBELET_VOLUME_H

#include "api/core_v1.h"
#include "common/base/map.h"
#include "kubelet/container/fieldref.h"
#include "kubelet/objects/object_source.h"
#include "kubelet/volume/token.h"

/* What a plugin may know of its pod. All borrowed, but for refresh_after_ns. */
struct volume_pod {
	const struct core_v1_pod *pod;
	const char *pod_dir;
	const struct pod_facts *facts;
	struct object_source *objects;
	struct token_cache *tokens; /* NULL: no API */
	int64_t memory_limit;       /* bytes a Memory emptyDir may take at most; 0: no limit */
	void (*failed)(const struct core_v1_volume *volume, const struct error *err, void *arg); /* told of each volume that failed, as the FailedMount event words it; may be NULL */
	void *failed_arg;
	int64_t refresh_after_ns;   /* out: setup wants to be called again then; 0: no wish. Plugins lower it by volume_refresh_after(). */
};
void volume_refresh_after(struct volume_pod *pod, int64_t ns);

struct volume_plugin {
	const char *name; /* "kubernetes.io/empty-dir" */
	bool (*handles)(const struct core_v1_volume *volume);
	/*
	 * Brings the volume into being or up to date; idempotent. `dir` is there already, but for plugins without_dir. *ret_path gets what
	 * containers mount (the caller frees); NULL for what the runtime mounts by itself.
	 */
	int (*setup)(struct volume_pod *pod, const struct core_v1_volume *volume, const char *dir, char **ret_path, struct error *err);
	bool without_dir; /* lives elsewhere: the pod's folder holds nothing of it */
	bool read_only;   /* containers may not write to it, whatever their mounts say */
	bool relabel;     /* the pod's alone: where there is SELinux, what is in it takes the label of its containers' files */
	bool live;        /* what it shows can change: setup runs at each sync */
};
extern const struct volume_plugin *const volume_plugins[];
extern const size_t volume_plugin_count;

const struct volume_plugin *volume_plugin_find(const struct core_v1_volume *volume);

/*
 * Sets up every volume of the pod, whether others fail or not. Paths are added to `paths` (volume name -> char *, owned by the map); those already in it are set
 * up again only where live. Fails where one was never set up, with the first such error: one that only cannot be brought up to date stays as it is.
 */
int volumes_setup(struct volume_pod *pod, struct map *paths, struct error *err);
/* Unmounts and removes all volumes below the pod's folder. Absent is success. */
int volumes_teardown(const char *pod_dir, struct error *err);
/* The pod's fsGroup on all of a volume's files, by its change policy. Nothing where it has none. */
int volume_set_ownership(const struct core_v1_pod *pod, const char *path, struct error *err);
/* -1 where the pod has none. */
gid_t volume_fs_group(const struct core_v1_pod *pod);

#endif
