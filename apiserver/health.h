/* SPDX-License-Identifier: Apache-2.0 */
/* /healthz, /livez, /readyz with named checks, /metrics, /version. */
#ifndef CORACLE_APISERVER_HEALTH_H
#define CORACLE_APISERVER_HEALTH_H

#include "apiserver/request/request.h"

void health_start(struct apiserver *server);
int health_handle(struct request *r, struct error *err);
int metrics_handle(struct request *r, struct error *err);
int version_handle(struct request *r, struct error *err);

#endif
