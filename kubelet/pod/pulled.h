/* SPDX-License-Identifier: Apache-2.0 */
/*
 * With whose credentials images were pulled: an image that came to the node by one pod's secret is not there for pods that could not have pulled it. Kept in
 * Kubernetes' own form below <root-dir>/image_manager. Images that nobody pulled, but loaded, are for all, unless the configuration says otherwise. Thread safe.
 */
#ifndef CORACLE_KUBELET_POD_PULLED_H
#define CORACLE_KUBELET_POD_PULLED_H

#include "kubelet/kubelet.h"

#include <jansson.h>

/*
 * What a pod brings: {"kubernetesSecrets": [{"uid", "namespace", "name", "credentialHash"}], "kubernetesServiceAccounts": [{"namespace", "name"}]}, each list where there is
 * something in it. An empty object: nothing but what the node has.
 */

/* Whether a pod that brings this may use the image that is here; false: it has to be pulled. name: as the pod has it. repository: without tag. */
bool pulled_allows(struct kubelet *kubelet, const char *name, const char *repository, const char *id, json_t *brings);
/* Before a pull: from now on the image counts as pulled, by nobody known yet. */
int pulled_intend(struct kubelet *kubelet, const char *name, struct error *err);
/* After it. id: NULL where it failed; used: what was pulled with, in the same form. */
void pulled_end(struct kubelet *kubelet, const char *name, const char *repository, const char *id, json_t *used);
/* Forgets images that are gone. */
void pulled_prune(struct kubelet *kubelet);
/* False where the text is no policy of verification. */
bool pulled_policy_is_known(const char *policy);

#endif
