/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of the device plugin API, v1beta1. */
#ifndef CORACLE_KUBELET_DEVICE_MESSAGES_H
#define CORACLE_KUBELET_DEVICE_MESSAGES_H

#include "kubelet/device/device.h"
#include "kubelet/grpc/message.h"

#define DEVICE_API_VERSION "v1beta1"
#define DEVICE_MAX_NODES 8      /* NUMA nodes of one device */
#define DEVICE_MAX_DEVICES 65536 /* of one plugin */

struct device_options {
	bool pre_start, preferred;
};
struct device_registration {
	char *version, *endpoint, *resource;
	bool has_options;
	struct device_options options;
};
/* -EBADMSG where it is none. */
int device_registration_read(const void *data, size_t len, struct device_registration *ret);
void device_registration_done(struct device_registration *registration);
int device_options_read(const void *data, size_t len, struct device_options *ret);

struct device {
	char *id;
	bool healthy;
	int64_t nodes[DEVICE_MAX_NODES];
	size_t node_count;
};
struct device_list {
	struct device *items;
	size_t len, cap;
};
void device_list_done(struct device_list *list);
/* An id stands once: what comes later counts. */
int device_list_read(const void *data, size_t len, struct device_list *ret);

/* Requests; ids NULL terminated. */
void device_put_ids(struct buf *out, const char *const *ids);       /* of PreStartContainer */
void device_put_allocate(struct buf *out, const char *const *ids);  /* for one container */
void device_put_preferred(struct buf *out, const char *const *available, const char *const *required, size_t count);
/* The ids of the first container; NULL terminated, free each and the list. */
int device_preferred_read(const void *data, size_t len, char ***ret);
/* Adds what the first container is given. */
int device_allocated_read(const void *data, size_t len, struct arena *arena, struct device_grant *ret, struct error *err);

#endif
