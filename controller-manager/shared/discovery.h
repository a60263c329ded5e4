/* SPDX-License-Identifier: Apache-2.0 */
/* The resources the API server has at the moment, custom ones included, as aggregated discovery tells them. */
#ifndef CORACLE_CONTROLLER_MANAGER_DISCOVERY_H
#define CORACLE_CONTROLLER_MANAGER_DISCOVERY_H

#include "controller-manager/world.h"

struct discovered {
	char *group, *version, *plural, *kind;
	bool namespaced;
	uint32_t verbs; /* API_VERB_* */
};
struct discovery {
	struct discovered *items;
	size_t len;
	char *failed_groups; /* names of groups whose server does not answer; NULL: none */
	size_t failed_count;
};
void discovery_done(struct discovery *discovery);
/* Each resource once, in its preferred version. */
int discovery_load(struct world *world, struct discovery *ret, struct error *err);
/* In every version. */
int discovery_load_all(struct world *world, struct discovery *ret, struct error *err);
/* "/apis/apps/v1/namespaces/x/deployments" and so on; ns NULL: all namespaces, name NULL: the collection. The caller frees. */
char *discovered_path(const struct discovered *resource, const char *ns, const char *name);

/* One object, by its metadata alone. */
struct metadata_item {
	char *ns, *name, *uid;
	size_t finalizer_count;
	char **finalizers;
};
struct metadata_list {
	struct metadata_item *items;
	size_t len;
};
void metadata_list_done(struct metadata_list *list);
/* All objects of a resource in a namespace (NULL: everywhere), pages joined. At most METADATA_LIST_MAX, then -EFBIG. */
int discovered_list(struct world *world, const struct discovered *resource, const char *ns, struct metadata_list *ret, struct error *err);

#endif
