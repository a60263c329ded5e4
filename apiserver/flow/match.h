/* SPDX-License-Identifier: Apache-2.0 */
/* Which requests a FlowSchema is about. */
#ifndef CORACLE_APISERVER_FLOW_MATCH_H
#define CORACLE_APISERVER_FLOW_MATCH_H

#include "apiserver/request/request.h"
#include "api/flowcontrol_v1.h"

bool flow_schema_matches(const struct flowcontrol_v1_flow_schema *schema, const struct request *r);

#endif
