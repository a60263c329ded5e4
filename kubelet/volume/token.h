/* SPDX-License-Identifier: Apache-2.0 */
/* Service account tokens of pods by TokenRequest, kept in memory and renewed in time. Thread safe. */
#ifndef CORACLE_KUBELET_TOKEN_H
#define CORACLE_KUBELET_TOKEN_H

#include "api/core_v1.h"
#include "common/client/client.h"

struct token_cache;

/* The client is borrowed. */
struct token_cache *token_cache_new(struct client *client);
/* Takes NULL. */
void token_cache_free(struct token_cache *cache);
/*
 * The pod's token for an audience (NULL or "": the API server's). A token is renewed once four fifths of its life or 24 hours are over; where
 * that fails one that is still good is given. *ret_refresh_ns: nanoseconds until it should be asked for again.
 */
int token_cache_get(struct token_cache *cache, const struct core_v1_pod *pod, const char *audience, int64_t expiration_seconds, char **ret_token, int64_t *ret_refresh_ns, struct error *err);
/* Forgets the tokens of a pod that is gone. */
void token_cache_drop(struct token_cache *cache, const char *pod_uid);

#endif
