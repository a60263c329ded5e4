/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API client of every daemon and the cli: typed requests over libcurl, kept-alive connections, several servers with
 * failover, retry with back-off on 429 and 5xx where that is safe. Calls block; a client may be used from many threads.
 */
#ifndef CORACLE_CLIENT_CLIENT_H
#define CORACLE_CLIENT_CLIENT_H

#include "common/api/api.h"

/* What a kubeconfig says of one cluster and user. Strings are owned; inline data has been turned into memory. */
struct client_config {
	struct { char **items; size_t len; } servers; /* https://host:port[/prefix] */
	char *ca_pem;                 /* NULL: the system's */
	char *cert_pem, *key_pem;
	char *token;
	char *token_file;             /* re-read when it changes */
	char *username, *password;
	char *tls_server_name;
	bool insecure_skip_verify;
	char *default_namespace;      /* of the context; NULL: default */
	struct { char **items; size_t len; } impersonate; /* header lines; see client_config_impersonate() */
	char *user_agent;             /* NULL: client_user_agent() of this program */
	double qps;                   /* 0: unlimited */
	int burst;
	int timeout_ms;               /* of one request without watch; 0: 60,000 */
	/* Called with the text of each Warning header; on the thread of the request. NULL: they are dropped. */
	void (*on_warning)(const char *text, void *arg);
	void *warning_arg;
};
/* From a kubeconfig file. path NULL: $KUBECONFIG, ~/.kube/config, then the in-cluster service account. context NULL: the current one. */
int client_config_load(const char *path, const char *context, struct client_config *ret, struct error *err);
/* Of the service account of the pod that this runs in. */
int client_config_in_cluster(struct client_config *ret, struct error *err);
/* The same with single parts of the kubeconfig chosen; NULL: as the context says. */
struct client_config_choice {
	const char *context, *cluster, *user;
};
int client_config_load_choice(const char *path, const struct client_config_choice *choice, struct client_config *ret, struct error *err);
/* From a kubeconfig's text; relative paths in it are relative to `dir`. */
int client_config_parse(const char *text, size_t len, const char *dir, const struct client_config_choice *choice, struct client_config *ret, struct error *err);
void client_config_done(struct client_config *config);
/*
 * Whom requests speak for: `part` is "User", "Uid" (a later call replaces these), "Group" or "Extra-" and a key (one more each); the server decides whether they may. -EINVAL
 * where the value cannot stand in a header. client_new() refuses parts without a user.
 */
int client_config_impersonate(struct client_config *config, const char *part, const char *value, struct error *err);
/* Forgets what was said of a part: "Group", or "Extra-" for all extras. */
void client_config_impersonate_no(struct client_config *config, const char *part);

/* name/version; malloc. Our daemons go by the names of Kubernetes' of the same role: managedFields tell who wrote what by them, and tools know those. */
char *client_user_agent(const char *program);

struct client;
/* Copies the config. */
int client_new(const struct client_config *config, struct client **ret, struct error *err);
void client_free(struct client *client);

/*
 * Shows another certificate from the next connection on: those that are kept idle are closed, requests under way end on those they have. Thread safe.
 */
int client_set_certificate(struct client *client, const char *cert_pem, const char *key_pem, struct error *err);
/* Replaces the bearer token. Thread safe. */
void client_set_token(struct client *client, const char *token);
/*
 * From now on writes go with this fence ("namespace/name/identity"): an API server that knows the header refuses them (409 Conflict) where that Lease is held by another. NULL:
 * no more. Thread safe.
 */
void client_set_fence(struct client *client, const char *fence);
#define CLIENT_FENCE_HEADER "Coracle-Fence"

/*
 * Errors carry the server's Status (http_code, reason, message, details). Results are root objects of the resource's
 * type (the caller unrefs); ret may be NULL. ns is NULL for cluster-scoped resources. `subresource` may be NULL.
 */
int client_get(struct client *client, const struct api_resource *resource, const char *ns, const char *name, void **ret, struct error *err);
int client_create(struct client *client, const struct api_resource *resource, const char *ns, const void *object, void **ret, struct error *err);
int client_update(struct client *client, const struct api_resource *resource, const char *ns, const void *object, const char *subresource, void **ret, struct error *err);
/* content_type: application/merge-patch+json, ... */
int client_patch(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const char *subresource, const char *content_type, const char *patch, void **ret, struct error *err);
/* Server-side apply of `patch` in the name of `manager`, which takes over what others hold of those fields. */
int client_apply(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const char *subresource, const char *manager, const char *patch, void **ret, struct error *err);
struct client_delete_options {
	int64_t grace_period_seconds; /* -1: the object's own */
	const char *uid;              /* precondition; NULL: none */
	const char *resource_version; /* precondition; NULL: none */
	const char *propagation;      /* Background, Foreground, Orphan; NULL: the kind's default */
};
#define CLIENT_DELETE_OPTIONS_INIT {.grace_period_seconds = -1}
int client_delete(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const struct client_delete_options *options, struct error *err);
struct client_list_options {
	const char *label_selector, *field_selector, *resource_version, *continue_token;
	int64_t limit;
};
/* ns NULL: all namespaces. The result is the list type's root object. */
int client_list(struct client *client, const struct api_resource *resource, const char *ns, const struct client_list_options *options, void **ret, struct error *err);
/* Posts an object to a subresource (binding, eviction, token): types of request and answer are the caller's. */
int client_post_subresource(struct client *client, const struct api_resource *resource, const char *ns, const char *name, const char *subresource, const void *object, const struct api_type *ret_type, void **ret, struct error *err);

/* Anything else. path begins with '/'. The answer's body is appended to `body`. HTTP errors (>= 400) become err. */
struct client_request {
	const char *method, *path; /* path with its query */
	const char *content_type, *accept;
	const char *body;
	size_t body_len;
	int timeout_ms; /* 0: the config's */
	/* Of a stream: milliseconds in which what comes in is left to gather before it is looked at; it may change while the stream lasts. NULL, 0: none. */
	const _Atomic int *lull_ms;
	int gather_ms; /* of a watch: an API server that knows the header may hold events back for so long, to send them in one piece; 0: none */
};
#define CLIENT_LULL_HEADER "Coracle-Watch-Lull"
int client_do(struct client *client, const struct client_request *request, struct buf *body, int *ret_status, struct error *err);
/* Streams the answer: on_data returns false to stop. Blocks until the end. cancel_fd (or -1) readable: stop. */
int client_stream(struct client *client, const struct client_request *request, bool (*on_data)(const char *data, size_t len, void *arg), void *arg, int cancel_fd, struct error *err);

/* A bidirectional upgraded stream (exec, attach, port-forward): WebSocket to `path`, offering the subprotocols `protocol` ("v5.channel.k8s.io, v4.channel.k8s.io"); *ret_protocol is the chosen one (the caller frees). The fd does not block; websocket_new of common/http/websocket.h takes it. */
int client_websocket(struct client *client, const char *path, const char *protocol, int *ret_fd, char **ret_protocol, struct error *err);

/* The path of a resource or object: /apis/apps/v1/namespaces/x/deployments/y/status. Appends. */
void client_path(struct buf *out, const struct api_resource *resource, const char *ns, const char *name, const char *subresource);

/*
 * Watches. on_event is called with type ADDED, MODIFIED, DELETED, BOOKMARK and a root object (borrowed; ref to keep), until the
 * stream ends (0), fails, or cancel_fd is readable. 410 is an error with reason Expired or Gone.
 */
int client_watch(struct client *client, const struct api_resource *resource, const char *ns, const struct client_list_options *options, bool (*on_event)(const char *type, void *object, void *arg), void *arg, int cancel_fd, struct error *err);

#endif
