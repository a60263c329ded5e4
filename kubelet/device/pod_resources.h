/* SPDX-License-Identifier: Apache-2.0 */
/* Who has which device, for monitors: the service v1.PodResourcesLister. */
#ifndef CORACLE_KUBELET_POD_RESOURCES_H
#define CORACLE_KUBELET_POD_RESOURCES_H

#include "kubelet/grpc/server.h"

/* arg: the kubelet. */
enum grpc_code pod_resources_call(const char *method, const void *request, size_t len, struct buf *ret, void *arg, struct error *err);

#endif
