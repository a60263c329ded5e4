/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe/describe.h"

extern const struct describe_kind describe_deployment, describe_node, describe_pod, describe_service;

const struct describe_kind *const describe_kinds[] = {
	&describe_pod,
	&describe_node,
	&describe_deployment,
	&describe_service,
	NULL,
};
