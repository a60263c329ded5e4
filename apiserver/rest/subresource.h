/* SPDX-License-Identifier: Apache-2.0 */
/* Subresources, a row each. */
#ifndef CORACLE_APISERVER_SUBRESOURCE_H
#define CORACLE_APISERVER_SUBRESOURCE_H

#include "apiserver/rest/write.h"

struct subresource_row {
	const char *group, *plural; /* NULL: any */
	const char *name;
	bool stream;                /* no content negotiation: answers in its own form */
	int (*handle)(struct request *r, struct error *err);
};
int subresource_handle(struct request *r, struct error *err);
bool subresource_is_stream(const struct request *r);

int subresource_object(struct request *r, struct error *err);    /* get, update, patch of the object through it */
int subresource_scale(struct request *r, struct error *err);
int subresource_binding(struct request *r, struct error *err);
int subresource_eviction(struct request *r, struct error *err);
int subresource_token(struct request *r, struct error *err);
int subresource_kubelet(struct request *r, struct error *err);   /* proxy/kubelet.c: log, exec, attach, portforward */
int subresource_proxy(struct request *r, struct error *err);     /* proxy/http.c: pods, services, nodes */
struct meta_v1_delete_options;
struct meta_v1_object_meta;
/* POST /namespaces/x/bindings */
int rest_create_binding(struct request *r, struct error *err);
/*
 * Deletes a pod as an eviction does; answers the request. `version`: the one that may go, NULL: as the options say. `failed`: a write's hook, whose
 * owner is `owner`; NULL: the request is answered with the error.
 */
void delete_for_eviction(struct request *r, const struct meta_v1_delete_options *options, const char *version, void (*failed)(struct write *w, const struct error *err), void *owner);
/* What a deletion may ask of the object; NULL: nothing. Returns 0, or a conflict. */
struct delete_preconditions {
	const char *uid, *resource_version;
};
int delete_check_preconditions(const struct write *w, const struct delete_preconditions *wanted, const struct meta_v1_object_meta *meta, struct error *err);

#endif
