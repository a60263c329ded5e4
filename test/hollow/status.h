/* SPDX-License-Identifier: Apache-2.0 */
/* What a kubelet would say of a pod, worked out from the pod and the time alone. */
#ifndef CORACLE_TEST_HOLLOW_STATUS_H
#define CORACLE_TEST_HOLLOW_STATUS_H

#include "test/hollow/hollow.h"

struct status_view {
	const char *pod_ip, *host_ip;
	struct wall_time started; /* when its containers did */
	struct wall_time now;
	bool stopping;            /* it has been told to stop, and has */
	bool fails;               /* the first attempt of its containers that have an end fails */
	const struct flag_list *missing_images;
};

/*
 * Appends the strategic merge patch of /status that brings the pod's status up to date; nothing where it is. *ret_next_ms is when to look
 * again, 0: only when the pod changes. Pods that have ended stay as they are.
 */
void status_patch(const struct core_v1_pod *pod, const struct status_view *view, struct buf *ret_patch, int64_t *ret_next_ms);
bool status_has_ended(const struct core_v1_pod *pod);

#endif
