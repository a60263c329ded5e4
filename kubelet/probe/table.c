/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/probe/checks.h"

const struct probe_check *const probe_checks[] = {
	&probe_exec,
	&probe_http,
	&probe_tcp,
	&probe_grpc,
};
const size_t probe_check_count = array_len(probe_checks);
