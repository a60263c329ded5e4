/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the kubelet's parts in their order, and takes them apart in the reverse. */
#ifndef CORACLE_KUBELET_PARTS_H
#define CORACLE_KUBELET_PARTS_H

#include "kubelet/kubelet.h"

/* Node's name and addresses, folders, images, cgroups, network, runtime. What they find running runs on. */
int kubelet_parts_open(struct kubelet *kubelet, struct error *err);
/* Client, informers, pod manager, probes, status, node agent: pods may come after this. */
int kubelet_parts_start(struct kubelet *kubelet, bool waits, struct error *err);
/* Takes what is there. Containers run on. */
void kubelet_parts_close(struct kubelet *kubelet);
/* --cleanup: ends every pod of this kubelet and removes what it left on the machine. */
int kubelet_cleanup(struct kubelet *kubelet, struct error *err);

#endif
