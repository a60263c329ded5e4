/* SPDX-License-Identifier: Apache-2.0 */
/* --authorization-config, or what the flags --authorization-mode and --authorization-webhook-* say in its place: which modes decide, in order. */
#ifndef CORACLE_APISERVER_AUTHZ_CONFIGURATION_H
#define CORACLE_APISERVER_AUTHZ_CONFIGURATION_H

#include "apiserver/apiserver.h"
#include "api/apiserver_v1.h"
#include "common/cel/cel.h"

/* Reads and checks. `types`: those there are, sorted, NULL terminated. The caller unrefs. */
int authz_config_parse(const char *text, size_t len, const char *const *types, struct apiserver_v1_authorization_configuration **ret, struct error *err);
int authz_config_read(const char *path, const char *const *types, struct apiserver_v1_authorization_configuration **ret, struct error *err);
/* What the flags say. */
int authz_config_of_flags(const struct apiserver_options *options, const char *const *types, struct apiserver_v1_authorization_configuration **ret, struct error *err);

/* ---- match conditions ---- */

struct authz_conditions;
/* -EINVAL: one is none; its causes are added to `found` under `at`. *ret NULL where there are none. */
struct path;
void authz_conditions_new(const struct apiserver_v1_webhook_match_condition_array *list, const struct path *at, struct authz_conditions **ret, struct error *found);
void authz_conditions_free(struct authz_conditions *conditions);
/* 1: the review's spec (borrowed) meets all; 0: one is false; negative: one came to an error and none is false. */
int authz_conditions_meet(const struct authz_conditions *conditions, json_t *spec, struct error *err);

#endif
