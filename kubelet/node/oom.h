/* SPDX-License-Identifier: Apache-2.0 */
/* Processes that the kernel ended because the whole machine lacked memory, out of the kernel's log. */
#ifndef CORACLE_KUBELET_OOM_H
#define CORACLE_KUBELET_OOM_H

#include "kubelet/kubelet.h"

/* Opens the kernel's log at its end, for poll(); a negative errno where there is none. */
int oom_open(void);
/* Reads what is new and tells the API by Events of the Node. */
void oom_read(struct kubelet *kubelet, int fd);
/*
 * One record of /dev/kmsg. True where the kernel itself says that the machine's memory, not a group's, was short, and whom it ended. name holds 64 bytes. Open
 * to tests: the name is the process's own choice.
 */
bool oom_parse(const char *record, char *name, int64_t *pid);

#endif
