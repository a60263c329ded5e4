/* SPDX-License-Identifier: Apache-2.0 */
/* The order of a request: server.c runs these one after the other, as its table lists them. */
#ifndef CORACLE_APISERVER_STEPS_H
#define CORACLE_APISERVER_STEPS_H

#include "apiserver/request/request.h"

/* Each returns 0 (go on), REQUEST_TAKEN (answered, or kept to be answered later), or a negative errno with err set. */
typedef int (*request_step)(struct request *r, struct error *err);

int step_parse(struct request *r, struct error *err);
int step_deadline(struct request *r, struct error *err);
int step_authenticate(struct request *r, struct error *err);
int step_impersonate(struct request *r, struct error *err);
int step_limit(struct request *r, struct error *err);
int step_authorize(struct request *r, struct error *err);
int step_fence(struct request *r, struct error *err);
/*
 * Looks at the Lease of a fenced request once more. 0: it is not fenced; 1: its sender holds the Lease, and goes on holding it for as long as the Lease stays as
 * *ret_guard says; or the error for the client.
 */
int fence_look(struct request *r, struct store_guard *ret_guard, struct error *err);
int step_dispatch(struct request *r, struct error *err);

/* Entry point: the HTTP server's handler. */
void request_handle(struct http_request *http, void *arg);
/* Whether it may last: a watch, or a stream of bytes. */
bool request_is_long(const struct request *r);
/* It runs now: counted as in flight until it is finished. */
void request_admitted(struct request *r);
/* Goes on after the step that kept it waiting (limit). Any thread. */
void request_continue(struct request *r);
/* Bookkeeping (metrics, in-flight counts, log) when the answer is known. Once a request. */
void request_finished(struct request *r, int code);

#endif
