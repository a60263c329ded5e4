/* SPDX-License-Identifier: Apache-2.0 */
/* What a write counts as against quotas (common/pod/quota.h says what an object does). */
#ifndef CORACLE_APISERVER_USAGE_H
#define CORACLE_APISERVER_USAGE_H

#include "apiserver/rest/write.h"
#include "api/core_v1.h"

/* What the write adds to usage (w->object less w->old), memory of w's arena; zero differences are left out. */
void usage_delta(struct write *w, struct api_quantity_map *ret);
/* What w->object counts as, whatever was there before. */
void usage_whole(struct write *w, struct api_quantity_map *ret);
/* Whether w->object is in a scope; what is neither pod nor claim is in none. */
bool usage_has_scope(struct write *w, const char *scope, const char *operator, const struct api_string_list *values);
/* True where the quota's scopes take in w->object. */
bool usage_in_scope(struct write *w, const struct core_v1_resource_quota *quota);
/* A quota on compute resources demands that pods state them: 403 where one does not. */
int usage_check_required(struct write *w, const struct core_v1_resource_quota *quota, struct error *err);

#endif
