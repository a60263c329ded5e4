/* SPDX-License-Identifier: Apache-2.0 */
/* What the token controllers ask of Secrets. */
#ifndef CORACLE_CONTROLLER_MANAGER_SECRETS_H
#define CORACLE_CONTROLLER_MANAGER_SECRETS_H

#include "controller-manager/controller.h"

#include "api/core_v1.h"

#define TYPE_SERVICE_ACCOUNT_TOKEN "kubernetes.io/service-account-token"
#define ANNOTATION_ACCOUNT_NAME "kubernetes.io/service-account.name"
#define ANNOTATION_ACCOUNT_UID "kubernetes.io/service-account.uid"
#define TYPE_BOOTSTRAP_TOKEN "bootstrap.kubernetes.io/token"
#define BOOTSTRAP_NAMESPACE "kube-system"
#define BOOTSTRAP_PREFIX "bootstrap-token-"

/* The text of one key in `arena`, up to its first NUL; NULL where it is missing. */
char *secret_text(struct arena *arena, const struct core_v1_secret *secret, const char *key);
bool secret_data_is(const struct core_v1_secret *secret, const char *key, const char *text);
void secret_set_data(struct core_v1_secret *secret, const char *key, const char *text);

/* True where its time is over, or cannot be read; *ret_wait_ms: until then, 0 where it has none. */
bool bootstrap_token_is_expired(const struct core_v1_secret *secret, int *ret_wait_ms);

#endif
