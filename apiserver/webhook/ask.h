/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers that must be asked before a request can go on: of tokens, of access, for keys.
 *
 * Nobody waits for an answer on a thread. Who decides something (an authenticator, an authorizer) decides from what is known; where an answer is lacking, that is noted in the `asks` of the request
 * or write, and whoever runs its steps sees it there (asks_lacking), drops what came of the step, has the answer fetched (asks_start), and runs the step again once it is there. So what
 * runs before that must do no harm when it runs twice. An answer that a request has had stays as it was until the request's end, whatever the cache forgets meanwhile.
 *
 * `struct asked` is a server that a kubeconfig names and that is posted reviews. Equal questions under way at once are asked once; answers are kept for a time.
 */
#ifndef CORACLE_APISERVER_ASK_H
#define CORACLE_APISERVER_ASK_H

#include "apiserver/webhook/call.h"

/* ---- what a request or write asks; used by one thread at a time ---- */

struct asks {
	struct ask *list;  /* what was asked, with answers */
	int64_t since_ns;  /* monotonic: when something was lacking of `from` first; 0: nothing was yet */
	const void *from;  /* of those who keep what all may use, not answers to one question: whom was waited for last */
	void (*start)(struct asks *asks, void (*fn)(void *arg), void *arg); /* NULL: nothing is lacking */
	void *lacking;     /* a reference, that start takes */
	void (*drop)(void *lacking);
};
static inline bool asks_lacking(const struct asks *asks) {
	return asks->start;
}
/* Has fetched what is lacking: fn(arg) is called once, on the loop's thread, maybe before this returns. Until then the asks belong to this module. */
void asks_start(struct asks *asks, void (*fn)(void *arg), void *arg);
/* Notes something that is lacking; takes the reference, drop() frees it where nobody fetches it. */
void asks_lack(struct asks *asks, void *take_lacking, void (*start)(struct asks *asks, void (*fn)(void *arg), void *arg), void (*drop)(void *lacking));
void asks_done(struct asks *asks);

/* ---- a server that is posted reviews ---- */

struct asked;
struct asked_options {
	struct caller *caller;
	struct loop *loop;       /* of the caller */
	const char *what;        /* for messages: "token webhook" */
	const char *kubeconfig;  /* a path; NULL: the service account of the pod this runs in */
	int64_t timeout_ns;      /* of one try */
	int64_t backoff_ns;      /* before the second try, where a server failed; grows by half each time */
	unsigned tries;
	size_t remembered;       /* answers kept at most; the one used last goes last */
	/* How long an answer (JSON with a 2xx code) is kept; 0: not at all. Any thread. */
	int64_t (*keep_ns)(void *arg, const char *json, size_t len);
	/* Told of each try: how it ended ("success", "timeout", "error", "canceled"), its code (0: none) and time. May be NULL. The loop's thread. */
	void (*observe)(void *arg, const char *result, int status, double seconds);
	void *arg;               /* of both; lives as long as the server: */
	void (*free_arg)(void *arg); /* may be NULL */
};
int asked_new(const struct asked_options *options, struct asked **ret, struct error *err);
struct asked *asked_ref(struct asked *asked);
void asked_unref(struct asked *asked);
/* Questions that wait for another try fail once the loop gets to it, later ones at once. Takes NULL. */
void asked_stop(struct asked *asked);

/*
 * The answer to a review, the JSON of which is `json`. 1: *ret is it (a reference); 0: it is not known, and now lacking in `asks`; negative: it could not be had. asks NULL:
 * who asks cannot wait, and gets an error for what is not known. keep: the answer may be kept for others.
 */
int asked_get(struct asked *asked, struct asks *asks, const char *json, size_t len, bool keep, struct bytes **ret, struct error *err);

#endif
