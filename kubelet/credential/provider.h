/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Programs on the node that know the credentials of registries, as clouds hand them out: exec plugins by CredentialProviderConfig and
 * credentialprovider.kubelet.k8s.io. Thread safe.
 */
#ifndef CORACLE_KUBELET_CREDENTIAL_PROVIDER_H
#define CORACLE_KUBELET_CREDENTIAL_PROVIDER_H

#include "api/core_v1.h"
#include "common/base/error.h"

#include <jansson.h>

struct credential_providers;
/* config: the file; programs: the folder of the plugins, which must be there. */
int credential_providers_new(const char *config, const char *programs, struct credential_providers **ret, struct error *err);
/* Takes NULL. */
void credential_providers_free(struct credential_providers *providers);
/* The pod that an image is pulled for, for plugins that want a token of its service account. */
struct credential_pod {
	const char *account; /* "" or NULL: it has none, as static pods */
	int (*read_account)(const struct credential_pod *pod, struct core_v1_service_account **ret, struct error *err);
	int (*get_token)(const struct credential_pod *pod, const char *audience, char **ret, struct error *err);
	void *arg;
};
/*
 * Asks those whose images this one is among, or remembers what they said. image: "registry/path", no tag. Adds what fits it to `auths`, the "auths" of a docker
 * config, unless there is one for the registry. pod may be NULL: without account. A plugin that fails is logged, and has no say. Blocks for as long as plugins take, a minute each at most.
 */
void credential_providers_add(struct credential_providers *providers, const char *image, const struct credential_pod *pod, json_t *auths);
/* Whether some plugin is told of pods' service accounts: what it knows may be good for those alone. */
bool credential_providers_ask_for_accounts(const struct credential_providers *providers);
/* True where the image is among those of a pattern: "*.registry.io:8080/path", each part of the host by itself. Open to tests. */
bool credential_pattern_matches(const char *pattern, const char *image);

#endif
