/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an object counts as against ResourceQuotas, and which quota's scopes take it in. Admission charges by these and the controller counts by
 * them: where the two differed, usage would drift. Maps are added to; memory from `arena`. Any thread.
 */
#ifndef CORACLE_POD_QUOTA_H
#define CORACLE_POD_QUOTA_H

#include "api/core_v1.h"
#include "api/resource_v1.h"

/* Any sum here: n of `name`. */
void quota_add_count(struct arena *arena, struct api_quantity_map *usage, const char *name, int64_t n);
/* Neither counts "count/pods": that goes for pods that have ended, too. These hold what a pod has until it ends. */
bool quota_pod_has_ended(const struct core_v1_pod *pod);
void quota_pod_usage(struct arena *arena, const struct core_v1_pod *pod, struct api_quantity_map *usage);
void quota_service_usage(struct arena *arena, const struct core_v1_service *service, struct api_quantity_map *usage);
void quota_claim_usage(struct arena *arena, const struct core_v1_persistent_volume_claim *claim, struct api_quantity_map *usage);

/* The devices it may come to hold of each class, at most. */
void quota_resource_claim_usage(struct arena *arena, const struct resource_v1_resource_claim *claim, struct api_quantity_map *usage);
#define QUOTA_RESOURCE_CLAIMS "count/resourceclaims.resource.k8s.io"
#define QUOTA_DEVICES ".deviceclass.resource.k8s.io/devices" /* behind the name of a class */

bool quota_has_scopes(const struct core_v1_resource_quota *quota);
/* True for a quota without scopes. Objects other than pods and claims are in no scope. */
bool quota_takes_pod(const struct core_v1_resource_quota *quota, const struct core_v1_pod *pod);
bool quota_takes_claim(const struct core_v1_resource_quota *quota, const struct core_v1_persistent_volume_claim *claim);

/* Whether an object is in one scope, as a selector of scopes says it. */
bool quota_pod_in_scope(const struct core_v1_pod *pod, const char *scope, const char *operator, const struct api_string_list *values);
bool quota_claim_in_scope(const struct core_v1_persistent_volume_claim *claim, const char *scope, const char *operator, const struct api_string_list *values);

#endif
