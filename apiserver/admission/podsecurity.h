/* SPDX-License-Identifier: Apache-2.0 */
/* The Pod Security Standards: what a level forbids a pod, by version. */
#ifndef CORACLE_APISERVER_PODSECURITY_H
#define CORACLE_APISERVER_PODSECURITY_H

#include "api/core_v1.h"
#include "api/meta_v1.h"

enum pod_level { POD_PRIVILEGED, POD_BASELINE, POD_RESTRICTED };
struct pod_policy {
	enum pod_level level;
	int minor; /* of v1.x; INT_MAX: latest */
};

/* Appends what the pod may not, "reason (detail), reason (detail)"; nothing where all is well. `details`: false leaves the parentheses out. */
void podsecurity_judge(const struct pod_policy *policy, const struct meta_v1_object_meta *meta, const struct core_v1_pod_spec *spec, bool details, struct buf *out);

#endif
