/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_APISERVER_RESOURCEMETRICS_H
#define CORACLE_APISERVER_RESOURCEMETRICS_H

#include "apiserver/request/request.h"

/* get and list of metrics.k8s.io; the request is parsed, authorized and negotiated. */
int resource_metrics_handle(struct request *r, struct error *err);

#endif
