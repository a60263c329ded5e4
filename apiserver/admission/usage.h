/* SPDX-License-Identifier: Apache-2.0 */
/* What a write counts as against quotas (common/pod/quota.h says what an object does). */
#ifndef CORACLE_APISERVER_USAGE_H
#define CORACLE_APISERVER_USAGE_H

#include "apiserver/rest/write.h"
#include "api/core_v1.h"

/* What the write adds to usage (w->object less w->old), memory of w's arena; zero differences are left out. */
void usage_delta(struct write *w, struct api_quantity_map *ret);
/* True where the quota's scopes take in w->object. */
bool usage_in_scope(struct write *w, const struct core_v1_resource_quota *quota);
/* A quota on compute resources demands that pods state them: 403 where one does not. */
int usage_check_required(struct write *w, const struct core_v1_resource_quota *quota, struct error *err);

#endif
