/* SPDX-License-Identifier: Apache-2.0 */
/* What a plugin is told of the service account of the pod that an image is pulled for: tokenAttributes of CredentialProviderConfig. */
#ifndef CORACLE_KUBELET_CREDENTIAL_ACCOUNT_H
#define CORACLE_KUBELET_CREDENTIAL_ACCOUNT_H

#include "kubelet/credential/provider.h"

struct account_rule {
	char *audience;
	bool required;                /* pods without an account are not asked for */
	bool per_token;               /* an answer is good for one token, not for the account */
	char **needed, **wanted;      /* annotations of the account, NULL terminated: without the first the plugin is not asked */
};
/* json: tokenAttributes. */
int account_rule_read(json_t *json, struct account_rule *ret, struct error *err);
void account_rule_done(struct account_rule *rule);

struct account {
	char *key;    /* tells answers for one account from those for others; "" without an account */
	char *token;  /* NULL without an account */
	json_t *annotations;
};
/* -ENOENT: the plugin has no say for this pod. */
int account_of(const struct account_rule *rule, const struct credential_pod *pod, struct account *ret, struct error *err);
void account_done(struct account *account);
#define autoaccount cleanup(account_done)

#endif
