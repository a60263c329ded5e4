/* SPDX-License-Identifier: Apache-2.0 */
/* A container's environment: service links, envFrom, env with its references, in Kubernetes' order of precedence. */
#ifndef CORACLE_KUBELET_ENV_H
#define CORACLE_KUBELET_ENV_H

#include "kubelet/container/fieldref.h"
#include "kubelet/objects/object_source.h"

#define ENV_MAX_VARIABLES 100000
#define ENV_MAX_VALUE (4u << 20) /* bytes of one value */

/* Ordered; a name stands once. Strings live in the arena. */
struct env_list {
	struct env_item {
		const char *name;
		const char *value;
	} *items;
	size_t len, cap;
	struct arena *arena;
};
void env_set(struct env_list *list, const char *name, const char *value);
const char *env_get(const struct env_list *list, const char *name);
/* Usable as expand_lookup with a struct env_list. */
const char *env_lookup(const char *name, void *list);
/* "NAME=value" strings, NULL terminated, in the arena. */
const char *const *env_strings(const struct env_list *list);

/* The variables of services: HOST, PORT and docker-style links. */
void env_add_services(struct env_list *list, const struct informer_list *services, bool only_kubernetes);

/* -ENOENT or -EINVAL, with a message as status shows under CreateContainerConfigError, where something referred to is not there. */
int env_build(const struct core_v1_pod *pod, const struct core_v1_container *container, const struct pod_facts *facts, struct object_source *objects, struct arena *arena, struct env_list *ret, struct error *err);

#endif
