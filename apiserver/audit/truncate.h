/* SPDX-License-Identifier: Apache-2.0 */
/* --audit-log-truncate-enabled: what is left of an event that is too large. */
#ifndef CORACLE_APISERVER_AUDIT_TRUNCATE_H
#define CORACLE_APISERVER_AUDIT_TRUNCATE_H

#include "common/base/buf.h"

/* The event without the objects of request and response, with an annotation that says so; itself where it tells of none at its level. The caller unrefs. */
struct bytes *audit_truncate(struct bytes *event);

#endif
