/* SPDX-License-Identifier: Apache-2.0 */
/* What the writing verbs share about what clients send. */
#ifndef CORACLE_APISERVER_INPUT_H
#define CORACLE_APISERVER_INPUT_H

#include "apiserver/rest/write.h"
#include "api/meta_v1.h"

/* The body's namespace against the URL's; fills it in. */
int input_check_namespace(const struct resource *resource, const char *ns, struct meta_v1_object_meta *meta, struct error *err);
/* Namespace and name of the write's object (whose metadata it is) against the URL's. */
int input_check_identity(struct write *w, struct meta_v1_object_meta *meta, struct arena *arena, struct error *err);
/* The resourceVersion that a client sent, where it sent one, against that of what is there. */
int input_check_version(const struct write *w, const char *given, const struct meta_v1_object_meta *old, struct error *err);
/* Refuses a request whose body was more than is taken; who reads a body asks first. */
int request_check_body(const struct request *r, struct error *err);
/* What the body says of a deletion: NULL where there is none. */
int request_decode_delete_options(struct request *r, struct meta_v1_delete_options **ret, struct error *err);
/* A YAML text as JSON; keys that stand twice are judged as fieldValidation asks. */
int request_read_yaml(struct request *r, const char *text, size_t len, struct buf *ret, struct error *err);

#endif
