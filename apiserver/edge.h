/* SPDX-License-Identifier: Apache-2.0 */
/* --cors-allowed-origins and --strict-transport-security-directives. */
#ifndef CORACLE_APISERVER_EDGE_H
#define CORACLE_APISERVER_EDGE_H

#include "apiserver/apiserver.h"

struct edge;
/* NULL in *ret where neither is given. */
int edge_new(const struct apiserver_options *options, struct edge **ret, struct error *err);
/* Takes NULL. */
void edge_free(struct edge *edge);
/* Adds its headers to the answer to come. True: it was a preflight, and has been answered. Takes NULL. */
bool edge_answers(const struct edge *edge, struct http_request *http);

#endif
