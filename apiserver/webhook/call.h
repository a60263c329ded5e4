/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to servers of others: one POST of JSON (or a GET) over TLS each, on an event loop's thread. Nothing blocks; connections are used again; answers are
 * bounded in size and time. No redirection is followed.
 */
#ifndef CORACLE_APISERVER_CALL_H
#define CORACLE_APISERVER_CALL_H

#include "common/base/buf.h"
#include "common/base/error.h"
#include "common/base/loop.h"

#define CALL_MAX_ANSWER ((size_t)16 << 20)

struct call_answer {
	int status;      /* 0: there was none */
	bool text;       /* its body is said to be text */
	struct buf body; /* NUL terminated */
};
struct caller;
/* The loop must run until caller_drain has returned. */
struct caller *caller_new(struct loop *loop);
/* Calls under way, and later ones, fail. Thread safe; they have all been told when it returns. */
void caller_drain(struct caller *caller);
/* After caller_drain, once nothing runs on the loop any more; it may be gone. Takes NULL. */
void caller_free(struct caller *caller);

struct call_options {
	const char *host;       /* name or address: looked up, told as Host, and what the certificate must be for */
	uint16_t port;
	const char *address;    /* connected to instead, at address_port; NULL */
	uint16_t address_port;
	const char *target;     /* path and query */
	const void *body;
	size_t body_len;
	const void *ca;         /* PEM of the authorities of its certificate; length 0: the system's */
	size_t ca_len;
	int64_t timeout_ns;
	/* What only some need. */
	bool get;               /* no body is sent */
	bool plain;             /* without TLS */
	bool insecure;          /* whoever answers is believed */
	const void *own;        /* PEM of the certificate and key that are shown; length 0: none */
	size_t own_len;
	const char *authorization; /* the header's value; NULL: none */
	const char *agent;      /* User-Agent; NULL: that of admission */
	size_t max_answer;      /* bytes; 0: CALL_MAX_ANSWER */
	/* Called once, on the loop's thread. The answer is borrowed. err set, in words like Go's, where there was none. */
	void (*done)(const struct call_answer *answer, const struct error *err, void *arg);
	void *arg;
};
/* The parts of http(s)://host[:port][/path]; the texts are malloc'ed. -EINVAL: it is no such URL. */
struct call_url {
	char *host, *target; /* target: path and query, "/" where there is none */
	uint16_t port;
	bool plain;          /* http */
};
int call_url_parse(const char *url, struct call_url *ret, struct error *err);
void call_url_done(struct call_url *url);

/* Copies the options. Thread safe. */
void call_start(struct caller *caller, const struct call_options *options);

#endif
