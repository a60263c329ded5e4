/* SPDX-License-Identifier: Apache-2.0 */
/* What the server serves: /api, /apis and below, aggregated and not; OpenAPI; the OpenID documents. */
#ifndef CORACLE_APISERVER_DISCOVERY_H
#define CORACLE_APISERVER_DISCOVERY_H

#include "apiserver/request/request.h"

struct discovery *discovery_new(struct apiserver *server);
void discovery_free(struct discovery *discovery);

int discovery_api(struct request *r, struct error *err);
int discovery_apis(struct request *r, struct error *err);
int discovery_version(struct request *r, struct error *err); /* /api/v1, /apis/<group>, /apis/<group>/<version> */
int discovery_root(struct request *r, struct error *err);
int openapi_v2(struct request *r, struct error *err);
int openapi_v3(struct request *r, struct error *err);
int openid_configuration(struct request *r, struct error *err);
int openid_jwks(struct request *r, struct error *err);

#endif
