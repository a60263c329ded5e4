/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Delegated authentication and authorization, as Kubernetes' daemons have it: who asks is told by a client certificate that the HTTP server has checked, or by a
 * bearer token that the API server reviews (TokenReview); whether he may, by a SubjectAccessReview. Answers are kept for a while. Thread safe; a call blocks
 * while the API server is asked, so it does not belong on an I/O thread.
 */
#ifndef CORACLE_DAEMON_DELEGATED_H
#define CORACLE_DAEMON_DELEGATED_H

#include "common/base/flags.h"
#include "common/client/client.h"
#include "common/http/http.h"

struct delegated_options {
	bool anonymous;     /* who says nothing of himself is system:anonymous, and may do what he may */
	bool review_tokens; /* else no token is good */
	int64_t token_ttl_ns, allowed_ttl_ns, denied_ttl_ns; /* how long an answer is believed; 0: not at all */
};

struct delegated_user {
	char *name, *uid; /* uid may be NULL */
	struct flag_list groups;
};
void delegated_user_done(struct delegated_user *user);

/* What somebody wants: a resource, or where `path` is set, that. Unset parts are NULL. */
struct delegated_access {
	const char *verb, *resource, *subresource, *name, *path;
};

struct delegated;
/* Who is asked about tokens and about permissions, borrowed. NULL: nobody can be asked, so only certificates tell who it is, and only system:masters may. */
struct delegated *delegated_new(struct client *tokens, struct client *accesses, const struct delegated_options *options);
void delegated_free(struct delegated *delegated);
/* False where the request proves nothing, or something that is not true: 401. Else the caller frees *ret_user. */
bool delegated_identify(struct delegated *delegated, struct http_request *req, struct delegated_user *ret_user);
/* The group system:masters may all. False too where the API server cannot be asked; that is logged. */
bool delegated_may(struct delegated *delegated, const struct delegated_user *user, const struct delegated_access *access);
/* Kubernetes' verb of an HTTP method; "" where it has none. */
const char *delegated_verb(const char *method);

#endif
