/* SPDX-License-Identifier: Apache-2.0 */
/* /healthz, /livez, /readyz with named checks, /metrics and /metrics/slis, /version. */
#ifndef CORACLE_APISERVER_HEALTH_H
#define CORACLE_APISERVER_HEALTH_H

#include "apiserver/request/request.h"

void health_start(struct apiserver *server);
int health_handle(struct request *r, struct error *err);
/* How each check last went, and how often it went so. */
int slis_handle(struct request *r, struct error *err);
int metrics_handle(struct request *r, struct error *err);
int version_handle(struct request *r, struct error *err);

#endif
