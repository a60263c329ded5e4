/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests as libmicrohttpd brings them: collected whole, given to the handler once, answered now or after a resume.
 * The headers are copied, since the handler may look at them from another thread while the connection is torn down.
 */
#include "common/http/inject.h"
#include "common/http/plain.h"

#include <errno.h>
#include <strings.h>

struct http_request *request_new(struct http_conn *conn, struct MHD_Connection *mhd)
{
	struct http_server *server = conn->thread->server;
	struct http_request *req = xnew(struct http_request);
	atomic_fetch_add(&server->refs, 1);
	req->refs = 1;
	req->server = server;
	req->conn = conn_ref(conn);
	req->mhd = mhd;
	req->arena = arena_new();
	req->body = BUF_INIT(server->options.max_body);
	req->out_headers_end = &req->out_headers;
	list_init(&req->link);
	list_init(&req->answer_link);
	return req;
}

void *request_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct io_thread *thread = cls;
	/* The first request of a connection may come while it is being added. */
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_request *req = request_new(info->socket_context, mhd);
	list_push_back(&thread->requests, &req->link);
	uri = uri ? uri : "";
	/* Proxies may send the absolute form. */
	const char *authority = strstr(uri, "://");
	if (uri[0] != '/' && authority) {
		const char *path = strchr(authority + 3, '/');
		uri = path ? path : "/";
	}
	const char *query = strchr(uri, '?');
	req->path = query ? arena_strndup(req->arena, uri, (size_t)(query - uri)) : arena_strdup(req->arena, uri);
	req->query = query ? arena_strdup(req->arena, query + 1) : "";
	return req;
}

void request_unref(struct http_request *req)
{
	if (!req || atomic_fetch_sub(&req->refs, 1) != 1)
		return;
	if (req->free_data)
		req->free_data(req->data);
	if (req->response)
		MHD_destroy_response(req->response);
	for (size_t i = 0; i < req->part_count; i++)
		bytes_unref(req->parts[i]);
	inject_free(req->inject);
	server_unaccount(req->server, req->accounted);
	buf_done(&req->body);
	arena_free(req->arena);
	conn_unref(req->conn);
	server_unref(req->server);
	free(req);
}

static bool is_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!plain_is_token((unsigned char)name[i]))
			return false;
	}
	return len > 0;
}

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value, size_t value_len)
{
	struct http_request *req = cls;
	req->misnamed |= !is_name(name, name_len);
	struct header *header = &req->headers[req->header_count++];
	header->name = arena_strdup(req->arena, name);
	header->value = arena_strdup(req->arena, value ? value : "");
	return MHD_YES;
}

static enum MHD_Result queue(struct http_request *req, int status, struct MHD_Response *response)
{
	if (atomic_load(&req->server->closing))
		MHD_add_response_header(response, "Connection", "close");
	if (req->inject)
		inject_attach(take_ptr(req->inject), req->conn);
	enum MHD_Result rc = MHD_queue_response(req->mhd, (unsigned)status, response);
	MHD_destroy_response(response);
	return rc;
}

void request_uncount(struct http_request *req)
{
	if (req->counted)
		server_request_end(req->server);
	req->counted = false;
}

void request_leave(struct http_request *req)
{
	list_remove(&req->link);
	req->conn->current = NULL;
	req->conn->request = REQUEST_NONE;
	request_uncount(req);
}

void request_end(struct http_request *req)
{
	if (req->stream)
		stream_closed(take_ptr(req->stream));
	if (req->upgrade)
		upgrade_lost(take_ptr(req->upgrade));
	request_unref(req);
}

/* Puts what was decided before libmicrohttpd. */
static enum MHD_Result queue_answer(struct http_request *req)
{
	if (atomic_load(&req->state) == STATE_CANCELLED)
		return queue(req, 503, respond_error(503));
	if (req->stream || req->upgrade)
		request_uncount(req);
	/* A switch of protocols that libmicrohttpd does not grant: an HTTP/1.0 client. */
	if (req->upgrade && !req->http11)
		return queue(req, 400, respond_error(400));
	struct MHD_Response *response = take_ptr(req->response);
	return response ? queue(req, req->status, response) : MHD_NO;
}

/* What was sent is refused by this server, not by its handler. */
static enum MHD_Result refuse(struct http_request *req, int status)
{
	const struct http_server_options *o = &req->server->options;
	if (status != 413 || !o->too_large_text)
		return queue(req, status, respond_error(status));
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(o->too_large_text), (void *)(uintptr_t)o->too_large_text, MHD_RESPMEM_PERSISTENT);
	if (response) {
		MHD_add_response_header(response, "Content-Type", o->too_large_type);
		MHD_add_response_header(response, "Cache-Control", "no-cache, private");
	}
	return response ? queue(req, status, response) : MHD_NO;
}

static size_t count_headers(const struct http_request *req, const char *name)
{
	size_t count = 0;
	for (size_t i = 0; i < req->header_count; i++)
		count += strcasecmp(req->headers[i].name, name) == 0;
	return count;
}

/* Where a request may go: a path, all of the server, or an address with a scheme. */
static bool is_target(const char *path)
{
	return (*path == '/' || !strcmp(path, "*") || strstr(path, "://")) && !strchr(path, ' ');
}

/* What is framed or addressed in a way that others on its path may understand differently is not served; libmicrohttpd would. The status, and the words of Go's server; 0: it is well. */
static int judge(const struct http_request *req, const char **ret_text)
{
	const char *encoding = http_header(req, "Transfer-Encoding"), *expect = http_header(req, "Expect"), *host = http_header(req, "Host");
	const struct {
		bool wrong;
		int status;
		const char *text;
	} faults[] = {
		{!is_name(req->method, strlen(req->method)), 400, "400 Bad Request"},
		{!is_target(req->path), 400, "400 Bad Request"},
		{req->misnamed, 400, "400 Bad Request: invalid header name"},
		{count_headers(req, "Host") > 1 || count_headers(req, "Content-Length") > 1 || count_headers(req, "Transfer-Encoding") > 1, 400, "400 Bad Request"},
		{req->http11 && !host, 400, "400 Bad Request: missing required Host header"},
		{host && !plain_is_host(host), 400, "400 Bad Request: malformed Host header"},
		{encoding && strcasecmp(encoding, "chunked") != 0, 501, "Unsupported transfer encoding"},
		{!str_empty(expect) && strcasecmp(expect, "100-continue") != 0, 417, ""},
	};
	for (size_t i = 0; i < array_len(faults); i++) {
		if (faults[i].wrong) {
			*ret_text = faults[i].text;
			return faults[i].status;
		}
	}
	return 0;
}

static enum MHD_Result turn_down(struct http_request *req, int status, const char *text)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
	if (!response)
		return MHD_NO;
	if (*text)
		MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
	MHD_add_response_header(response, "Connection", "close");
	return queue(req, status, response);
}

static enum MHD_Result hand_over(struct http_request *req);

static enum MHD_Result too_large(struct http_request *req)
{
	req->refused = 413;
	return hand_over(req);
}

static enum MHD_Result begin(struct http_request *req, const char *method, const char *version)
{
	req->started = true;
	req->method = arena_strdup(req->arena, method);
	req->http11 = strcmp(version, "HTTP/1.0") != 0 && strcmp(version, "HTTP/0.9") != 0;
	req->conn->request = REQUEST_BODY;
	req->conn->body_seen = req->conn->body_checked = 0;
	int count = MHD_get_connection_values(req->mhd, MHD_HEADER_KIND, NULL, NULL);
	req->headers = arena_calloc(req->arena, (size_t)max_of(count, 1), sizeof(*req->headers));
	MHD_get_connection_values_n(req->mhd, MHD_HEADER_KIND, take_header, req);
	const char *text;
	int fault = judge(req, &text);
	if (fault)
		return turn_down(req, fault, text);
	const char *length = http_header(req, "Content-Length");
	int64_t announced;
	if (length && !http_header(req, "Transfer-Encoding") && str_to_int64(length, 0, INT64_MAX, &announced) && (uint64_t)announced > req->body.max)
		return too_large(req); /* before "100 Continue" invites the body */
	return MHD_YES;
}

static enum MHD_Result take_body(struct http_request *req, const char *data, size_t len)
{
	req->conn->body_seen += len;
	if (!req->refused && len > req->body.max - req->body.len)
		req->refused = 413;
	if (!req->refused && !server_account(req->server, len))
		req->refused = 503;
	if (!req->refused) {
		req->accounted += len;
		buf_append(&req->body, data, len);
		return MHD_YES;
	}
	/* libmicrohttpd takes no answer in the middle of a body: read on, within bounds. */
	server_unaccount(req->server, req->accounted);
	req->accounted = 0;
	size_t max = req->body.max;
	buf_done(&req->body);
	req->body = BUF_INIT(max);
	req->discarded += len;
	return req->discarded > HTTP_DISCARD_BYTES ? MHD_NO : MHD_YES;
}

static enum MHD_Result hand_over(struct http_request *req)
{
	req->handed = true;
	req->conn->request = REQUEST_HANDLED;
	req->large = req->refused == 413 && req->server->options.large_handed;
	if (req->refused && !req->large)
		return refuse(req, req->refused);
	req->counted = true;
	server_request_begin(req->server);
	atomic_fetch_add(&req->refs, 1);
	req->server->options.handler(req, req->server->options.arg);
	if (atomic_load(&req->state) == STATE_ANSWERED)
		return queue_answer(req);
	MHD_suspend_connection(req->mhd);
	int expected = STATE_RUNNING;
	if (!atomic_compare_exchange_strong(&req->state, &expected, STATE_SUSPENDED))
		thread_resume(req->conn->thread, req->mhd); /* answered by another thread just now */
	return MHD_YES;
}

enum MHD_Result request_on_access(void *cls, struct MHD_Connection *mhd, const char *url, const char *method, const char *version, const char *upload_data,
	size_t *upload_data_size, void **con_cls)
{
	struct http_request *req = *con_cls;
	if (!req->started)
		return begin(req, method, version);
	if (*upload_data_size) {
		size_t len = *upload_data_size;
		*upload_data_size = 0;
		return take_body(req, upload_data, len);
	}
	if (!req->handed)
		return hand_over(req);
	int state = atomic_load(&req->state);
	if (state == STATE_ANSWERED || state == STATE_CANCELLED)
		return queue_answer(req);
	return MHD_NO;
}

void request_on_completed(void *cls, struct MHD_Connection *mhd, void **con_cls, enum MHD_RequestTerminationCode code)
{
	struct http_request *req = *con_cls;
	if (!req)
		return;
	*con_cls = NULL;
	request_leave(req);
	request_end(req);
}

void request_cancel(struct http_request *req)
{
	struct io_thread *thread = req->conn->thread;
	pthread_mutex_lock(&thread->resume_lock);
	int expected = STATE_SUSPENDED;
	if (atomic_compare_exchange_strong(&req->state, &expected, STATE_CANCELLED))
		thread_resume(thread, req->mhd);
	pthread_mutex_unlock(&thread->resume_lock);
}

const char *http_method(const struct http_request *req)
{
	return req->method;
}

const char *http_path(const struct http_request *req)
{
	return req->path;
}

const char *http_query_string(const struct http_request *req)
{
	return req->query;
}

const char *http_header(const struct http_request *req, const char *name)
{
	for (size_t i = 0; i < req->header_count; i++) {
		if (!strcasecmp(req->headers[i].name, name))
			return req->headers[i].value;
	}
	return NULL;
}

void http_header_each(const struct http_request *req, void (*fn)(const char *name, const char *value, void *arg), void *arg)
{
	for (size_t i = 0; i < req->header_count; i++)
		fn(req->headers[i].name, req->headers[i].value, arg);
}

const char *http_body(const struct http_request *req, size_t *ret_len)
{
	if (ret_len)
		*ret_len = req->body.len;
	return req->body.len ? req->body.data : "";
}

bool http_body_too_large(const struct http_request *req)
{
	return req->large;
}

const struct sockaddr *http_peer_address(const struct http_request *req)
{
	return (const struct sockaddr *)&req->conn->peer;
}

const struct http_peer_cert *http_peer_certificate(const struct http_request *req)
{
	return req->conn->certificate;
}

void http_set_data(struct http_request *req, void *data, void (*free_fn)(void *))
{
	req->data = data;
	req->free_data = free_fn;
}

void *http_data(const struct http_request *req)
{
	return req->data;
}

struct arena *http_arena(struct http_request *req)
{
	return req->arena;
}
