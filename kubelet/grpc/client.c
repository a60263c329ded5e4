/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/grpc/client.h"

#include "kubelet/grpc/message.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define POLL_MS 60000

struct running {
	const struct grpc_call *call;
	struct buf body; /* what is not a whole message yet */
	struct grpc_status status;
	bool refused;
};

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
	struct running *r = arg;
	size_t message, used = 0;
	buf_append(&r->body, data, size * count);
	int found = buf_failed(&r->body) ? -EMSGSIZE : 0;
	while (found == 0 && (found = grpc_unframe(r->body.data + used, r->body.len - used, &message)) == 0) {
		if (!r->call->on_message(r->body.data + used + GRPC_FRAME, message, r->call->arg))
			found = -EBADMSG;
		used += GRPC_FRAME + message;
	}
	if (found != -EAGAIN) {
		r->refused = true;
		return 0;
	}
	memmove(r->body.data, r->body.data + used, r->body.len - used);
	r->body.len -= used;
	return size * count;
}

static bool header_value(const char *data, size_t len, const char *name, char *out, size_t size) {
	size_t skip = strlen(name);
	if (len <= skip || strncasecmp(data, name, skip) != 0)
		return false;
	for (; skip < len && (data[skip] == ' ' || data[skip] == '\t'); skip++)
		;
	snprintf(out, size, "%.*s", (int)min_of(len - skip, size - 1), data + skip);
	out[strcspn(out, "\r\n")] = '\0';
	return true;
}

/* Headers and trailers come alike. */
static size_t on_header(char *data, size_t size, size_t count, void *arg) {
	struct running *r = arg;
	char text[16];
	int64_t status;
	if (header_value(data, size * count, "grpc-status:", text, sizeof(text)) && str_to_int64(text, 0, 255, &status))
		r->status.code = (int)status;
	header_value(data, size * count, "grpc-message:", r->status.message, sizeof(r->status.message));
	return size * count;
}

/* -EAGAIN: it goes on. */
static int step(CURLM *multi, const struct grpc_call *call, CURLcode *ret) {
	int running = 0, left;
	if (curl_multi_perform(multi, &running) != CURLM_OK)
		return -EIO;
	CURLMsg *done = running ? NULL : curl_multi_info_read(multi, &left);
	if (done) {
		*ret = done->data.result;
		return 0;
	}
	struct curl_waitfd extra = {.fd = call->cancel_fd, .events = CURL_WAIT_POLLIN};
	if (curl_multi_poll(multi, &extra, call->cancel_fd >= 0, POLL_MS, NULL) != CURLM_OK)
		return -EIO;
	return extra.revents ? -ECANCELED : -EAGAIN;
}

/* As Go's library prints them. */
static const char *code_name(int code) {
	static const char *const names[] = {
		[GRPC_OK] = "OK",
		[GRPC_CANCELED] = "Canceled",
		[GRPC_UNKNOWN] = "Unknown",
		[GRPC_INVALID_ARGUMENT] = "InvalidArgument",
		[GRPC_DEADLINE_EXCEEDED] = "DeadlineExceeded",
		[GRPC_NOT_FOUND] = "NotFound",
		[GRPC_ALREADY_EXISTS] = "AlreadyExists",
		[GRPC_PERMISSION_DENIED] = "PermissionDenied",
		[GRPC_RESOURCE_EXHAUSTED] = "ResourceExhausted",
		[GRPC_FAILED_PRECONDITION] = "FailedPrecondition",
		[GRPC_ABORTED] = "Aborted",
		[GRPC_OUT_OF_RANGE] = "OutOfRange",
		[GRPC_UNIMPLEMENTED] = "Unimplemented",
		[GRPC_INTERNAL] = "Internal",
		[GRPC_UNAVAILABLE] = "Unavailable",
		[GRPC_DATA_LOSS] = "DataLoss",
		[GRPC_UNAUTHENTICATED] = "Unauthenticated",
	};
	return code >= 0 && code < (int)array_len(names) ? names[code] : names[GRPC_UNKNOWN];
}

static int outcome(const struct running *r, CURL *curl, CURLcode code, struct error *err) {
	const char *peer = r->call->socket ? r->call->socket : r->call->address;
	curl_off_t connected = 0;
	curl_easy_getinfo(curl, CURLINFO_CONNECT_TIME_T, &connected);
	if (code == CURLE_OPERATION_TIMEDOUT && connected)
		return error_set(err, ETIMEDOUT, "%s did not answer in time", r->call->method);
	if (r->refused)
		return error_set(err, EBADMSG, "%s gave an answer that cannot be read", r->call->method);
	if (r->status.code > 0)
		return error_set(err, EREMOTEIO, "rpc error: code = %s desc = %s", code_name(r->status.code), r->status.message);
	if (code != CURLE_OK)
		return error_set(err, ECONNREFUSED, "%s at %s: %s", r->call->method, peer, curl_easy_strerror(code));
	return r->status.code < 0 ? error_set(err, EBADMSG, "%s ended without a status", r->call->method) : 0;
}

int grpc_call(const struct grpc_call *call, struct error *err) {
	CURL *curl = curl_easy_init();
	CURLM *multi = curl_multi_init();
	if (!curl || !multi) {
		curl_easy_cleanup(curl);
		curl_multi_cleanup(multi);
		return error_set(err, ENOMEM, "no handle for a call");
	}
	struct running running = {.call = call, .body = BUF_INIT(GRPC_MAX_MESSAGE + (1u << 20)), .status.code = -1};
	autobuf struct buf request = BUF_INIT(GRPC_MAX_MESSAGE + GRPC_FRAME);
	grpc_frame(&request, call->request ? call->request->data : NULL, call->request ? call->request->len : 0);
	autofree char *url = xprintf("http://%s%s", call->socket ? "localhost" : call->address, call->method);
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/grpc");
	headers = curl_slist_append(headers, "TE: trailers");
	headers = curl_slist_append(headers, "Expect:");
	if (call->user_agent)
		curl_easy_setopt(curl, CURLOPT_USERAGENT, call->user_agent);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	if (call->socket)
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, call->socket);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)request.len);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request.data);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)call->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &running);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &running);
	curl_multi_add_handle(multi, curl);
	CURLcode code = CURLE_OK;
	int r;
	do
		r = step(multi, call, &code);
	while (r == -EAGAIN);
	r = r == 0 ? outcome(&running, curl, code, err) : error_set_errno(err, r, "%s", call->method);
	if (call->ret_status)
		*call->ret_status = running.status;
	curl_multi_remove_handle(multi, curl);
	curl_easy_cleanup(curl);
	curl_multi_cleanup(multi);
	curl_slist_free_all(headers);
	buf_done(&running.body);
	return r;
}

struct single {
	struct buf *out;
	bool seen;
};

static bool take_single(const void *data, size_t len, void *arg) {
	struct single *single = arg;
	if (single->seen)
		return false;
	single->seen = true;
	if (len)
		buf_append(single->out, data, len);
	return !buf_failed(single->out);
}

int grpc_call_unary(const char *socket, const char *method, const struct buf *request, int64_t timeout_ms, struct buf *ret, struct error *err) {
	struct single single = {.out = ret};
	const struct grpc_call call = {.socket = socket, .method = method, .request = request, .timeout_ms = timeout_ms, .cancel_fd = -1, .on_message = take_single, .arg = &single};
	int r = grpc_call(&call, err);
	return r < 0 ? r : single.seen ? 0 : error_set(err, EBADMSG, "%s gave no answer", method);
}
