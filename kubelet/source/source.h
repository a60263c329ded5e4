/* SPDX-License-Identifier: Apache-2.0 */
/* Where pods come from: the API server, a folder or file of manifests, a URL. Each hands its pods to the pod manager. */
#ifndef CORACLE_KUBELET_SOURCE_H
#define CORACLE_KUBELET_SOURCE_H

#include "kubelet/kubelet.h"

#define SOURCE_MAX_MANIFEST (10u << 20) /* bytes of one manifest */

/* Adds the handler to the pod informer; pods that mirror static ones are kept away from the pod manager. */
void source_api_start(struct kubelet *kubelet);

/* Watches --pod-manifest-path by inotify on a thread of its own. NULL where there is no such flag. */
struct source_file *source_file_start(struct kubelet *kubelet);
void source_file_stop(struct source_file *source);

/* Reads --manifest-url now and then. NULL where there is no such flag. */
struct source_http *source_http_start(struct kubelet *kubelet);
void source_http_stop(struct source_http *source);

/*
 * What files and URLs have in common: one or several manifests (Pod, PodList, several YAML documents) become pods with names, uids and annotations
 * of static pods, added to `pods` (uid -> struct core_v1_pod *, referenced). `origin` makes uids distinct. Bad ones are errors.
 */
struct map;
int source_decode(struct kubelet *kubelet, const char *text, size_t len, const char *origin, const char *kind, struct map *pods, struct error *err);
/* -EINVAL where a name or uid is none, as the API server would have said: they become names of folders. */
int source_check_names(const struct core_v1_pod *pod, struct error *err);
/* Sets what is in `pods`, removes from the manager what only `known` has; `known` becomes `pods`. */
void source_apply(struct kubelet *kubelet, struct map *known, struct map *take_pods, const char *kind);

/* One of the sources has told all it knows for the first time; after the last one what nobody knows is orphaned, and ended. */
void source_spoke(struct kubelet *kubelet);

/* Mirrors: keeps one API object for each static pod. No-ops without an API. */
void mirror_ensure(struct kubelet *kubelet, const struct core_v1_pod *pod);
void mirror_delete(struct kubelet *kubelet, const char *ns, const char *name, const char *uid);
bool mirror_is(const struct core_v1_pod *pod);

#endif
