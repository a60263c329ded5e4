/* SPDX-License-Identifier: Apache-2.0 */
/* Where ConfigMaps, Secrets and Services come from: the API through a cache, or a table in tests. */
#ifndef CORACLE_KUBELET_OBJECT_SOURCE_H
#define CORACLE_KUBELET_OBJECT_SOURCE_H

#include "common/client/informer.h"

struct object_source {
	/* A reference to the object. -ENOENT with the server's words (`configmaps "x" not found`) where there is none. */
	int (*get)(struct object_source *source, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err);
	/* Services of a namespace; empty where there is no API. */
	void (*services)(struct object_source *source, const char *ns, struct informer_list *ret);
};

#endif
