/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ConfigMaps and Secrets that this node's pods refer to, each watched alone (a node may read no others), and the cluster's services. Thread
 * safe.
 */
#ifndef CORACLE_KUBELET_OBJECT_CACHE_H
#define CORACLE_KUBELET_OBJECT_CACHE_H

#include "kubelet/kubelet.h"

struct object_source *object_cache_new(struct kubelet *kubelet);
/* Takes NULL. */
void object_cache_free(struct object_source *source);
/* Stops watching what no pod refers to any more. May block. */
void object_cache_sweep(struct object_source *source);

/* A source without anything, for standalone mode. */
struct object_source *object_source_none(void);

#endif
