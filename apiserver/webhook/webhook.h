/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission webhooks: which there are (set.c), what they are asked and what their answers mean (review.c), how they are reached (reach.c).
 * The plugins that act on it are in apiserver/admission.
 */
#ifndef CORACLE_APISERVER_WEBHOOK_H
#define CORACLE_APISERVER_WEBHOOK_H

#include "apiserver/policy/policy.h"
#include "apiserver/webhook/call.h"

/* ---- configurations ---- */

struct webhook {
	const char *name;
	const char *config;  /* name of its configuration */
	char *key;           /* config/name, with a count where that is not one */
	const struct admissionregistration_v1_webhook_client_config *client;
	const struct api_string_list *review_versions;
	struct policy_match match;
	struct policy *conditions;
	bool ignores_failure, reinvoke;
	bool dry_run;        /* may be called for one */
	int timeout_seconds;
};
struct webhook_set {
	unsigned refs; /* atomic */
	uint64_t signature;
	struct webhook *items; /* by the configurations' names, then as they stand there */
	size_t count;
	const void **objects;
	size_t object_count;
};
/* Those there are now, NULL where there are none; a reference. Looks at the cache alone. */
struct webhook_set *webhook_set_get(struct apiserver *server, bool mutating);
void webhook_set_unref(struct webhook_set *set);

/* 1: the write is to be shown to it (j->matched is set), 0: not, negative: for the client. */
int webhook_matches(struct judged *j, const struct webhook *hook, struct error *err);

/* ---- how servers are reached ---- */

/* Where a client configuration leads: in arena. */
struct webhook_target {
	const char *host, *address; /* as call_options has them */
	uint16_t port, address_port;
	const char *path;
	const char *url;            /* for messages: without the query */
	const void *ca;
	size_t ca_len;
};
/* Of a service (name NULL: by url). An error in the words of a failed dial. */
struct webhook_service {
	const char *ns, *name, *path;
	int32_t port;
};
int webhook_reach(struct apiserver *server, struct arena *arena, const char *url, const struct webhook_service *service, struct webhook_target *ret, struct error *err);

/* ---- one call ---- */

enum webhook_end {
	WEBHOOK_ALLOWED,
	WEBHOOK_REJECTED, /* by its word: err is what the client is told */
	WEBHOOK_FAILED,   /* it could not be asked, or answered amiss: err says why, without the webhook's name */
	WEBHOOK_INTERNAL, /* err is what the client is told */
};
struct webhook_call {
	struct write *w;
	const struct webhook *hook;
	bool mutating;
	const char *uid;  /* of the review */
	bool v1;          /* its version; else v1beta1 */
	const char *url;
	int64_t started_ns;
	int status;       /* of its answer; 0: none */
	bool text;        /* it is said to be text */
	struct buf body;
	struct error error; /* why there is none */
	void (*done)(void *arg); /* on the loop's thread */
	void *arg;
	/* of the answer */
	json_t *patch;    /* NULL: none */
};
/* In the write's arena; ended by webhook_call_done. */
struct webhook_call *webhook_call_new(struct judged *j, const struct webhook *hook, bool mutating, void (*done)(void *arg), void *arg);
void webhook_call_done(struct webhook_call *call);
/* 0: done will be called; negative, err and *ret_end: it cannot be asked. The write's thread. */
int webhook_call_start(struct webhook_call *call, struct judged *j, enum webhook_end *ret_end, struct error *err);
/* After done: what came of it. Warnings are added to the request. */
enum webhook_end webhook_call_end(struct webhook_call *call, struct error *err);
/* What the client is told where it failed and is not to be ignored. */
int webhook_call_error(const struct webhook_call *call, enum webhook_end end, const struct error *why, struct error *err);
/* Counts it. */
void webhook_observe(const struct webhook_call *call, const char *operation, enum webhook_end end, const struct error *err);

/* Calls fn(arg) on a thread where a write may go on. `quick`: of a batch, on the store's. */
void webhook_hop(struct write *w, void (*fn)(void *arg), void *arg);

#endif
