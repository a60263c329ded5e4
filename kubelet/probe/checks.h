/* SPDX-License-Identifier: Apache-2.0 */
/* Every kind of check there is; see table.c. */
#ifndef CORACLE_KUBELET_PROBE_CHECKS_H
#define CORACLE_KUBELET_PROBE_CHECKS_H

#include "kubelet/probe/probe.h"

extern const struct probe_check probe_exec, probe_http, probe_tcp, probe_grpc;

#endif
