/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request on its way through the steps of server.c. It lives in the HTTP request's arena and ends with the answer.
 */
#ifndef CORACLE_APISERVER_REQUEST_H
#define CORACLE_APISERVER_REQUEST_H

#include "apiserver/apiserver.h"
#include "apiserver/resources.h"
#include "apiserver/webhook/ask.h"

#define PROTOBUF_TYPE "application/vnd.kubernetes.protobuf"

enum media_type { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF, MEDIA_CBOR, MEDIA_OTHER };
enum response_form { FORM_OBJECT, FORM_TABLE, FORM_PARTIAL };

/* What the client accepts, settled. */
struct negotiated {
	enum media_type media;
	enum response_form form;
	bool pretty;
	bool settled;
	bool stream; /* ;stream=watch was asked for */
	bool misfit; /* a list was asked for as an object, or the reverse */
	bool beta;   /* Tables and bare metadata of meta.k8s.io/v1beta1 */
};

/* Who asks. Immutable; lives in the request's arena. */
struct user {
	const char *name;
	const char *uid;
	const char *const *groups; /* NULL terminated */
	struct user_extra { const char *key; const char *const *values; } *extra;
	size_t extra_count;
};
bool user_in_group(const struct user *user, const char *group);

struct flow_request;
struct audit_event;
struct request {
	struct apiserver *server;
	struct http_request *http;
	struct arena *arena;
	int64_t started_ns;
	int64_t deadline_ns;     /* monotonic; 0: it may last */
	const char *method;
	const char *path;        /* as sent */

	/* request/parse.c */
	bool is_resource;
	const char *verb;        /* get, list, watch, create, update, patch, delete, deletecollection; for other paths the lower case method */
	const char *group, *version, *ns, *plural, *name, *subresource;
	bool nameless, too_deep, watch_path; /* pods//log; .../status/x; .../watch/... */
	bool nowhere, old_proxy;             /* //...; .../proxy/...: authorized, never served */
	bool watches_one;          /* .../watch/<resource>/<name>: selected_name is that, whatever the field selector says */
	const char *selected_name; /* of a list, watch or deletecollection: metadata.name= of its field selector; what the authorizer sees as the name */
	const char *rest;        /* what follows proxy/, not decoded; "" where nothing */
	size_t part_count;       /* of path segments */
	const char **parts;

	size_t step;             /* of server.c: that is run */
	struct asks asks;        /* what others were asked */

	const struct user *user;
	const struct user *impersonator; /* who really asks, where impersonated */
	const char *impersonation; /* the verb that let him, where it is bound to what he does: impersonate:<mode>; NULL: none */

	const struct resource *resource;
	const struct api_subresource *sub;
	struct negotiated accept;

	bool dry_run;
	bool unvaried; /* what is said of the answer's encodings is said already, or not at all */
	bool counted_read, counted_write;
	int64_t waited_ns;             /* monotonic; since when it waits for the cache to be fresh */
	int64_t foreign_ns, judged_ns; /* spent in queues and by webhooks one after the other, and by those asked at once; atomic */
	size_t answer_bytes;           /* 0: not known */
	struct flow_request *flow; /* the seats it holds or waits for; NULL: none */
	enum api_validation validation;
	struct api_warning_list warnings;
	const char *field_manager;
	const char *audit_id;
	struct audit_event *audit; /* what is told of it; NULL: nothing */
	const char *fence_lease, *fence_holder; /* request/fence.c: key of the Lease and who must hold it; NULL: not fenced */
};

/* Splits the path into resource, name and so on. Returns 0, or an error for the client. */
int request_parse(struct request *r, struct error *err);
/* dryRun, fieldValidation, fieldManager. */
int request_parse_write_options(struct request *r, struct error *err);
/* A boolean parameter as Kubernetes reads them ("", "true", "1"). */
bool request_flag(const struct request *r, const char *name);

/* What is left of the request's time, at most `most` and at least a moment. */
int request_time_left_ms(const struct request *r, int most);
/*
 * How long a read may wait for the cache: as long as writes do where etcd is to tell how fresh that is, which takes seconds on a slow disk; for a revision that
 * the client names, and that may never come, three seconds, as in Kubernetes.
 */
int request_fresh_ms(const struct request *r, bool named);

/* Whether what the client accepts names a type that the path is served in. Returns 0 or 406. */
int request_check_route(const struct request *r, struct error *err);
/* The same for a path of its own, by the types (NULL terminated) that it is served in, and that a body might have; 415 for the latter. */
int request_check_produced(const struct request *r, const char *const *produced, struct error *err);
int request_check_consumed(const struct request *r, const char *const *consumed, struct error *err);
/* Both for a document of the API that is no resource. */
int request_check_document(const struct request *r, struct error *err);
/* Settles what to answer with. `table` and `partial` tell what the endpoint can do. Returns 0 or 406. */
int request_negotiate(const struct request *r, bool can_transform, struct negotiated *ret, struct error *err);
/* The same where the path has no route of its own that looks at types first. */
int request_negotiate_unrouted(const struct request *r, bool can_transform, struct negotiated *ret, struct error *err);
/* The same for what has one form, whatever is made of others. */
int request_negotiate_plain(const struct request *r, struct negotiated *ret);
/* Once it is known that there is something to answer with: 406 where it was asked for as what it is not. */
int request_check_fit(const struct request *r, struct error *err);
enum media_type media_type_of(const char *content_type);

/* ---- answers; each ends the request ---- */

/* A Status with the error's code, reason, details and causes. */
void request_fail(struct request *r, const struct error *err);
/* An object, encoded as negotiated. Borrows it. */
void request_respond_object(struct request *r, int code, const struct api_type *type, const void *object);
/* A stored object, as negotiated; the bytes themselves where they fit. */
/* True where an entry is answered with its bytes as they are stored: that takes no time. */
bool request_takes_stored_bytes(const struct request *r);
void request_respond_entry(struct request *r, int code, struct entry *entry);
void request_respond_json(struct request *r, int code, const char *json, size_t len);
/* The JSON of an object of that type, in the encoding settled: as it is, YAML or protobuf. */
void request_respond_encoded(struct request *r, int code, const struct api_type *type, const char *json, size_t len);
/* The same of a Status. */
void request_respond_status(struct request *r, int code, const char *json, size_t len);
void request_respond_text(struct request *r, int code, const char *text);
/* A 500 of what stands before the API itself, in plain text that quotes the request. */
void request_respond_internal_text(struct request *r, const char *why);
/* Status Success, as deletions answer. */
void request_respond_success(struct request *r, const char *name, const char *uid);
/* Adds the warnings collected as headers. Called by the functions above. */
void request_add_warnings(struct request *r);
/* As http_respond_bytes and http_respond_pull, gzipped where the body is large and the client takes that (request/compress.c). */
bool request_takes_gzip(const struct request *r);
void request_respond_large(struct request *r, int code, const char *content_type, struct bytes *take_body);
void request_respond_pull(struct request *r, int code, const char *content_type, int64_t total, int (*next)(void *arg, struct bytes **ret_part), void (*done)(void *arg), void *arg);
void request_warn(struct request *r, const char *fmt, ...) printf_like(2, 3);

/* Writes the JSON of a Status for the error. */
void status_encode(const struct error *err, struct buf *out);

/* ---- bodies ---- */

/* The body as an object of `type`: JSON, YAML or protobuf by Content-Type. Defaults are not set. The caller unrefs. */
int request_decode_body(struct request *r, const struct api_type *type, void **ret, struct error *err);
/* The same once more, of a body that was good: without a word of what was warned of. */
int request_decode_body_again(struct request *r, const struct api_type *type, void **ret, struct error *err);

/* ---- common errors ---- */
int error_not_found(struct error *err, const struct resource *resource, const char *name);
int error_already_exists(struct error *err, const struct resource *resource, const char *name);
int error_conflict(struct error *err, const struct resource *resource, const char *name, const char *message);
int error_forbidden(struct error *err, const struct resource *resource, const char *name, const char *fmt, ...) printf_like(4, 5);
int error_bad_request(struct error *err, const char *fmt, ...) printf_like(2, 3);
int error_internal(struct error *err, const char *fmt, ...) printf_like(2, 3);
int error_method_not_allowed(struct error *err);
/* 404 of a path beneath a group that is served. */
int error_not_served(struct error *err);
/* An error told from the route alone. */
int error_of_route(struct error *err, int code, const char *reason, const char *message);
#define CONFLICT_MODIFIED "the object has been modified; please apply your changes to the latest version and try again"

/* What a handler or step returns where the request was answered or kept. */
#define REQUEST_TAKEN 1

#endif
