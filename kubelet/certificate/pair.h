/* SPDX-License-Identifier: Apache-2.0 */
/* A certificate of a node and its key, as PEM: made, asked for, and looked at. Nothing here holds anything; keys are wiped by who frees them. */
#ifndef CORACLE_KUBELET_CERTIFICATE_PAIR_H
#define CORACLE_KUBELET_CERTIFICATE_PAIR_H

#include "common/base/error.h"

#define PAIR_MAX_BYTES (1u << 20)

struct pair {
	char *cert, *key;              /* PEM */
	int64_t not_before, not_after; /* seconds since 1970; not_after is the soonest of the chain */
};
void pair_done(struct pair *pair);

/* An EC key on P-256. The caller frees. */
int pair_make_key(char **ret_key, struct error *err);
/*
 * A request for what names the node, user system:node:<node> in group system:nodes; `names` (NULL, or ended by one): DNS names and textual addresses that it
 * shall serve under. The caller frees.
 */
int pair_make_request(const char *key, const char *node, const char *const *names, char **ret_request, struct error *err);
/* Copies of both, once they are known to belong together. */
int pair_make(const char *cert, const char *key, struct pair *ret, struct error *err);
/* Whether it is this node's, and serves under all the names. */
bool pair_is_for(const struct pair *pair, const char *node, const char *const *names);
bool pair_is_valid(const struct pair *pair, int64_t now);
/* When the next one is asked for: at a random point between 70 and 90 % of its life, so that nodes that came together do not ask together. */
int64_t pair_renew_at(const struct pair *pair);

#endif
