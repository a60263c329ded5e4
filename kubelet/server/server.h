/* SPDX-License-Identifier: Apache-2.0 */
/* The kubelet's own API: health, pods, logs, streams into containers, measurements. */
#ifndef CORACLE_KUBELET_SERVER_H
#define CORACLE_KUBELET_SERVER_H

#include "kubelet/kubelet.h"

struct kubelet_server;

/* Opens the ports of the options. */
int kubelet_server_start(struct kubelet *kubelet, struct kubelet_server **ret, struct error *err);
/* Takes NULL. */
void kubelet_server_stop(struct kubelet_server *server);

#endif
