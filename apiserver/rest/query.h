/* SPDX-License-Identifier: Apache-2.0 */
/* What a list, watch or deletecollection asks for, and the choosing of entries by it. */
#ifndef CORACLE_APISERVER_QUERY_H
#define CORACLE_APISERVER_QUERY_H

#include "apiserver/request/render.h"
#include "common/api/selector.h"

enum rv_match { RV_UNSET, RV_EXACT, RV_NOT_OLDER };

/* Allocated on its own: a watch keeps it after the request is over. */
struct list_query {
	char *prefix;            /* "ns/" or "" */
	char *only_name;         /* metadata.name= of the field selector; NULL: any */
	struct selector *labels; /* NULL: all */
	struct selector *fields;
	uint64_t marks;          /* of what both demand: see entry_marks() */
	int64_t limit;           /* 0: none */
	bool rv_given;
	uint64_t rv;
	enum rv_match match;
	char *continue_token;
	/* watch */
	bool send_initial_events, allow_bookmarks, initial_given;
	int64_t timeout_ns;
	bool over;               /* its time is less than none */
	const struct error *refusal; /* a watch begins only to tell this; NULL: it follows */
	void *arg;               /* the caller's */
};
int list_query_parse(struct request *r, struct list_query **ret, struct error *err);
/* 400 for a parameter that is no 64-bit number, as Go says it. */
int error_bad_number(struct error *err, const char *text);
/* A resourceVersion, at most INT64_MAX; 500 for what is none, as Go says it after `where` and the quoted text (NULL: after nothing). */
int error_of_version(const char *text, uint64_t *ret, const char *where, struct error *err);
void list_query_free(struct list_query *query);

/* True where the state of that very revision is asked for. */
bool list_query_is_exact(const struct list_query *query);
bool list_query_selects_all(const struct list_query *query);
bool list_query_matches(const struct list_query *query, const struct entry *entry);
/* The references of all that match within the prefix; the array is the caller's to free. */
void list_select(const struct list_query *query, const struct snapshot *snapshot, struct entry ***ret, size_t *ret_len);

/* Calls fn once the cache is as fresh as the query's resourceVersion asks; at once where it is already. fn may run on another thread; its error is answered. Takes the query (fn does not). */
int list_when_fresh(struct request *r, struct list_query *query, int (*fn)(struct request *r, struct list_query *query, struct error *err), struct error *err);

/* Fails where an object that cannot be read is among those asked for, from key `from` (NULL: the first) to `last` (NULL: all). */
int list_check_readable(const struct request *r, const struct list_query *query, const char *from, const char *last, struct error *err);

/* Answers with a list of entries; takes their references and the array (from malloc). continue_token NULL: it is whole; remaining -1: not said. */
void list_respond_entries(struct request *r, struct entry **entries, size_t len, uint64_t revision, const char *continue_token, int64_t remaining);

/* Continue tokens: opaque to clients; base64 of JSON {"v":"meta.k8s.io/v1","rv":5,"start":"ns/name\u0000"} as the Go server's. */
/* revision -1: whatever is there then. What follows is to begin after `last_key`, which may also be what continue_decode() gave. */
char *continue_encode(int64_t revision, const char *last_key, const char *prefix);
/* start is a bound of the keys to begin at, relative to the collection. */
int continue_decode(const char *token, const char *prefix, uint64_t *ret_revision, bool *ret_any_revision, char **ret_start, struct error *err);

#endif
