/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of common/client share and nobody else sees. */
#ifndef CORACLE_CLIENT_INTERNAL_H
#define CORACLE_CLIENT_INTERNAL_H

#include "common/base/buf.h"
#include "common/client/client.h"
#include "common/client/pool.h"

#include <pthread.h>

#define CLIENT_MAX_BODY ((size_t)1 << 30)    /* bytes of one answer */
#define CLIENT_MAX_ERROR_BODY (1u << 20)     /* of an answer that is an error */
#define CLIENT_MAX_EVENT (32u << 20)         /* of one watch event */
#define CLIENT_MAX_TOKEN (64u << 10)
#define CLIENT_MAX_PEM (1u << 20)

struct client {
	struct client_config config;
	struct pool *pool;          /* guarded by lock: another comes with another certificate */
	pthread_mutex_t lock;
	size_t server;              /* index of the one that answered last */
	char *token;                /* of token_file, as last read */
	int64_t token_mtime;        /* ns of the file's clock */
	int64_t token_checked;      /* when its time was looked at last */
	char *fence;                /* NULL: none; guarded by lock */
	double tokens;              /* of the rate limit's bucket */
	int64_t tokens_at;
};

/* Sends, retries, fails over. on_data gets the body of an answer below 400 and returns false to stop; an answer from 400 on becomes err. */
struct client_sink {
	bool (*on_data)(const char *data, size_t len, void *arg);
	void *arg;
};
int client_perform(struct client *client, const struct client_request *request, const struct client_sink *sink, int cancel_fd, bool is_stream, int *ret_status, struct error *err);
/* A connection with TLS made, for curl_easy_send and _recv; the caller cleans it up. *ret_server (borrowed) is whose it is. */
int client_connect(struct client *client, CURL **ret, const char **ret_server, struct error *err);
/* -EINVAL where parts of a user are impersonated, but no user. */
int client_check_impersonation(const struct client_config *config, struct error *err);
/* "Bearer ..." or "Basic ...", or NULL; the caller frees. */
char *client_authorization(struct client *client);
/* The fence, or NULL; the caller frees. */
char *client_fence(struct client *client);
/* The one of now, for a request; the caller puts it back (pool_put). */
struct pool *client_pool(struct client *client);
/* The server to talk to now, and how many there are. */
const char *client_server(struct client *client, size_t attempt);
void client_server_answered(struct client *client, const char *server);

/* Fills err from an answer's Status, or from its code where it has none. Returns the negative errno. */
int client_error_from_answer(struct error *err, int http_code, const char *body, size_t len, int retry_after_seconds);
/* Fills err from a Status object's JSON. */
int client_error_from_status(struct error *err, const char *json, size_t len);

/* Calls on_event for each event of a watch on `path` (with its query); the object as JSON text. See client_watch for the rest. */
typedef bool (*client_event_fn)(const char *type, const char *object, size_t len, void *arg, struct error *err);
int client_watch_raw(struct client *client, const struct client_request *request, client_event_fn on_event, void *arg, int cancel_fd, struct error *err);

/* Cuts a watch's bytes into events; fed with pieces of any size. */
struct watch_frames {
	struct buf pending; /* of an event whose end has not come */
	client_event_fn on_event;
	void *arg;
	bool stopped;
	struct error *err;
	int result;
};
void watch_frames_init(struct watch_frames *frames, client_event_fn on_event, void *arg, struct error *err);
/* False: stop; `result` says why (0: on_event wanted it). */
bool watch_frames_feed(const char *data, size_t len, void *frames);
void watch_frames_done(struct watch_frames *frames);

/*
 * Finds parts of JSON text without decoding it: enough for splitting lists and events. Well-formedness is left to who decodes
 * the part. Returns 0 or -EINVAL where the brackets do not match.
 */
struct json_slice {
	const char *data; /* NULL: not there */
	size_t len;
};
int json_scan_member(const char *json, size_t len, const char *name, struct json_slice *ret);
/*
 * Members of an object, one after the other: start with *pos 0. Returns 1 with a key (without its quotes, as it is written) and *pos at its value, which is to
 * be passed before the next; 0 at the end, *pos behind it; -EINVAL.
 */
int json_scan_next_key(const char *json, size_t len, size_t *pos, struct json_slice *ret);
/* Passes the value at *pos. False: it has no end. */
bool json_scan_value(const char *json, size_t len, size_t *pos, struct json_slice *ret);
/* Elements of an array, one after the other: start with *pos 0. Returns 1 with an element, 0 at the end, -EINVAL. */
int json_scan_next(const char *json, size_t len, size_t *pos, struct json_slice *ret);
/* The text of a string slice without escapes; NULL where it is no such string. The caller frees. */
char *json_scan_string(const struct json_slice *slice);

/* Sends and decodes. type NULL or ret NULL: the answer is read and dropped. */
int client_exchange(struct client *client, const struct client_request *request, const struct api_type *type, void **ret, struct error *err);
/* "a=b" appended with the right separator; value NULL: nothing. */
void client_query(struct buf *path, const char *name, const char *value);
/* Percent-encodes all but unreserved characters. */
void client_escape(struct buf *out, const char *s);

#endif
