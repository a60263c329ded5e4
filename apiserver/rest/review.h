/* SPDX-License-Identifier: Apache-2.0 */
/* Kinds that are asked, not stored: access and token reviews, bindings, component statuses. */
#ifndef CORACLE_APISERVER_REVIEW_H
#define CORACLE_APISERVER_REVIEW_H

#include "apiserver/request/request.h"

int review_handle(struct request *r, struct error *err);
/* review_selectors.c: causes for what is wrong with the selectors of a review; NULL: there are none. */
struct authorization_v1_resource_attributes;
/* What of them authorization cannot look at, as the status of a review tells it, in the arena; NULL: nothing. */
const char *review_ignored_selectors(const struct authorization_v1_resource_attributes *attributes, struct arena *arena);
void review_check_selectors(const struct authorization_v1_resource_attributes *attributes, struct error *err);
/* componentstatus.c */
int component_statuses_handle(struct request *r, struct error *err);

#endif
