/* SPDX-License-Identifier: Apache-2.0 */
/* What is counted of requests, under Kubernetes' names and labels. */
#ifndef CORACLE_APISERVER_REQUEST_METRICS_H
#define CORACLE_APISERVER_REQUEST_METRICS_H

#include "apiserver/request/request.h"

/* Once a request, when its answer is known. */
void request_metrics_count(struct request *r, int code, int64_t took_ns);
/* How large the answer is, before that. */
void request_metrics_size(struct request *r, size_t len);
/* Time that is not the server's own: in a queue, in a webhook (of those asked at once the longest counts). Any thread. */
void request_metrics_waited(struct request *r, int64_t ns);
void request_metrics_asked(struct request *r, int64_t ns, bool one_by_one);
/* A request that was ended for the server's sake: shed, or past its time. */
void request_metrics_terminated(const struct request *r, int code);
/* WATCH, LIST, APPLY, CONNECT, ...; static. */
const char *request_metrics_verb(const struct request *r);
/* resource, namespace, cluster or ""; static. */
const char *request_metrics_scope(const struct request *r);

/* Of authentication and authorization, with how long they took. Results as Kubernetes names them. */
enum authentication_result { AUTHENTICATION_SUCCESS, AUTHENTICATION_FAILURE, AUTHENTICATION_ERROR };
void request_metrics_authenticated(enum authentication_result result, const char *user, int64_t ns);
/* Seconds until the client's certificate ends. */
void request_metrics_certificate(int64_t seconds);
enum authorization_result { AUTHORIZATION_ALLOWED, AUTHORIZATION_DENIED, AUTHORIZATION_NO_OPINION };
void request_metrics_authorized(enum authorization_result result, int64_t ns);

#endif
