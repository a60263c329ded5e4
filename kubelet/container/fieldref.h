/* SPDX-License-Identifier: Apache-2.0 */
/* The downward API: fields of a pod and resources of its containers as text, for environment variables and files. */
#ifndef CORACLE_KUBELET_FIELDREF_H
#define CORACLE_KUBELET_FIELDREF_H

#include "api/core_v1.h"
#include "common/base/map.h"

/* What is known of a pod besides its spec; all borrowed, NULL or 0 where not known yet. */
struct pod_facts {
	const char *const *host_ips;
	size_t host_ip_count;
	const char *const *pod_ips;
	size_t pod_ip_count;
	const char *node_name;
	const struct api_quantity_map *allocatable; /* of the node */
	const struct map *volume_paths; /* name -> where it is on the host */
};

/* Appends the field's value: metadata.name, metadata.labels['x'], status.podIP, ... -EINVAL where the path is not one. */
int fieldref_value(const struct core_v1_pod *pod, const struct pod_facts *facts, const char *path, struct buf *out, struct error *err);
/* Appends the value of limits.cpu, requests.memory, ... of the selector's container or of `container`, in units of the divisor, rounded up. */
int fieldref_resource(const struct core_v1_pod *pod, const struct pod_facts *facts, const struct core_v1_container *container, const struct core_v1_resource_field_selector *selector, struct buf *out, struct error *err);
/* Appends Go's %q of the text. */
void fieldref_quote(struct buf *out, const char *text);
/* Container or init container of that name; NULL where there is none. */
const struct core_v1_container *fieldref_container(const struct core_v1_pod *pod, const char *name);

#endif
