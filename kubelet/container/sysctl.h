/* SPDX-License-Identifier: Apache-2.0 */
/* Which kernel parameters a pod may set for itself. */
#ifndef CORACLE_KUBELET_SYSCTL_H
#define CORACLE_KUBELET_SYSCTL_H

#include "api/core_v1.h"
#include "common/base/flags.h"

/* The name with dots between its parts, however it was written ("net/ipv4/conf/eth0.1/x" keeps the dot of a part as a slash); in the arena. */
const char *sysctl_normalize(struct arena *arena, const char *name);
/*
 * -EPERM with a message where one is neither safe nor allowed on this node (`allowed`: names, or prefixes that end in '*'), or would change the
 * host's own. Safe are those that touch nobody else.
 */
int sysctl_check(const struct core_v1_pod *pod, const struct flag_list *allowed, struct error *err);

#endif
