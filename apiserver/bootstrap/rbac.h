/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_APISERVER_BOOTSTRAP_RBAC_H
#define CORACLE_APISERVER_BOOTSTRAP_RBAC_H

#include "common/base/buf.h"

struct bootstrap_role {
	const char *ns;          /* NULL: a ClusterRole */
	const char *name;
	const char *aggregate_to; /* comma separated: admin, edit, view */
	const char *aggregates;  /* the labels it is aggregated from; NULL: none */
	const char *const *rules; /* NULL terminated */
};
struct bootstrap_binding {
	const char *ns; /* NULL: a ClusterRoleBinding */
	const char *name, *role_kind, *role;
	const char *subjects; /* u=user,g=group,s=namespace/account */
};
/* Each ended by a row without a name. */
extern const struct bootstrap_role bootstrap_roles[];
extern const struct bootstrap_binding bootstrap_bindings[];

void bootstrap_role_json(const struct bootstrap_role *role, struct buf *out);
void bootstrap_binding_json(const struct bootstrap_binding *binding, struct buf *out);

#endif
