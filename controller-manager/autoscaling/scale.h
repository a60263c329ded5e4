/* SPDX-License-Identifier: Apache-2.0 */
/* The scale subresource of any kind that has one, built in or custom. */
#ifndef CORACLE_CONTROLLER_MANAGER_SCALE_H
#define CORACLE_CONTROLLER_MANAGER_SCALE_H

#include "controller-manager/controller.h"

#include <jansson.h>

struct scale {
	char *path;           /* of the subresource */
	char *group_resource; /* "deployments.apps" */
	json_t *object;
	int32_t replicas;     /* spec.replicas */
	int32_t current;      /* status.replicas */
	const char *selector; /* status.selector; "" where it has none; in object */
};
void scale_done(struct scale *scale);
#define autoscale cleanup(scale_done)
int scale_read(struct world *world, const char *ns, const char *api_version, const char *kind, const char *name, struct scale *ret, struct error *err);
/* Sets spec.replicas; the server refuses where the target changed meanwhile. */
int scale_write(struct world *world, const struct scale *scale, int32_t replicas, struct error *err);
/* The path prefix of a kind's collection, "/apis/apps/v1/namespaces/x/deployments"; *ret_group_resource "deployments.apps". The caller frees both. */
int scale_find_resource(struct world *world, const char *ns, const char *api_version, const char *kind, char **ret_path, char **ret_group_resource, struct error *err);

#endif
