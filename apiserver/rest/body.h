/* SPDX-License-Identifier: Apache-2.0 */
/* Subresources whose body is of a kind of its own, and connections: admission sees the body before anything is done. */
#ifndef CORACLE_APISERVER_BODY_H
#define CORACLE_APISERVER_BODY_H

#include "apiserver/rest/write.h"

struct body_admission {
	const struct resource *resource;
	const char *name, *subresource; /* live as long as the request; NULL: none */
	enum write_operation operation; /* WRITE_CREATE or WRITE_CONNECT */
	/* Goes on with the body, perhaps changed, which it takes. As handlers: answers, or returns the error. */
	int (*go)(struct request *r, void *take_body, struct error *err);
};
/* The body is an object that the call takes. REQUEST_TAKEN: go was or will be called, perhaps on another thread, or the request was refused. */
int body_admit(struct request *r, const struct body_admission *admission, void *take_body);

#endif
