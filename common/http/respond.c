/* SPDX-License-Identifier: Apache-2.0 */
/* Answers: whole, shared, pulled, and the switch of protocols. Streams are in stream.c. */
#include "common/http/direct.h"
#include "common/http/inject.h"

#include <strings.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

enum {
	PULL_BLOCK = 64 * 1024,
	INJECT_MIN = 128 * 1024,
	/* libmicrohttpd 0.9.75 copies the vector into the connection's pool, and unlocks a mutex it does not hold where that is too small. */
	PARTS_MAX = 64,
};

const char *respond_error_text(int status)
{
	static const struct {
		int status;
		const char *text;
	} texts[] = {
		{400, "bad request\n"},
		{413, "request body is too large\n"},
		{503, "the server is at its limits or going away\n"},
	};
	const char *text = "error\n";
	for (size_t i = 0; i < array_len(texts); i++) {
		if (texts[i].status == status)
			text = texts[i].text;
	}
	return text;
}

struct MHD_Response *respond_error(int status)
{
	const char *text = respond_error_text(status);
	struct MHD_Response *response = MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_PERSISTENT);
	MHD_add_response_header(response, "Content-Type", "text/plain; charset=utf-8");
	return response;
}

void http_add_header(struct http_request *req, const char *name, const char *value)
{
	struct out_header *header = arena_new_type(req->arena, struct out_header);
	header->name = arena_strdup(req->arena, name);
	header->value = arena_strdup(req->arena, value);
	*req->out_headers_end = header;
	req->out_headers_end = &header->next;
}

void http_remove_header(struct http_request *req, const char *name)
{
	struct out_header **at = &req->out_headers;
	while (*at && strcasecmp((*at)->name, name) != 0)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = (*at)->next;
	if (!*at)
		req->out_headers_end = at;
}

void http_set_header(struct http_request *req, const char *name, const char *value)
{
	for (struct out_header *header = req->out_headers; header; header = header->next)
		if (strcasecmp(header->name, name) == 0) {
			header->value = arena_strdup(req->arena, value);
			return;
		}
	http_add_header(req, name, value);
}

/* The server is stopping and has answered already: what was prepared is undone. */
static void drop_answer(struct http_request *req)
{
	struct http_stream *stream = take_ptr(req->stream);
	struct upgrade *upgrade = take_ptr(req->upgrade);
	inject_free(take_ptr(req->inject));
	if (req->response)
		MHD_destroy_response(take_ptr(req->response));
	if (stream)
		stream_closed(stream);
	if (upgrade)
		upgrade_lost(upgrade);
}

void respond_with(struct http_request *req, int status, const char *content_type, struct MHD_Response *response)
{
	if (content_type)
		MHD_add_response_header(response, "Content-Type", content_type);
	for (struct out_header *h = req->out_headers; h; h = h->next)
		MHD_add_response_header(response, h->name, h->value);
	req->status = status;
	req->response = response;
	respond_publish(req);
}

/* Tells the I/O thread. False where the server has stopped, and answered in our place. */
static bool publish(struct http_request *req, enum request_state state)
{
	struct io_thread *thread = req->conn->thread;
	int expected = STATE_RUNNING;
	if (atomic_compare_exchange_strong(&req->state, &expected, state))
		return true;
	/* Held until the resume is told, so that a stopping server never meets a connection that is answered and still suspended. */
	pthread_mutex_lock(&thread->resume_lock);
	expected = STATE_SUSPENDED;
	bool ours = atomic_compare_exchange_strong(&req->state, &expected, state);
	if (ours && req->mhd) {
		thread_resume(thread, req->mhd);
	} else if (ours) {
		atomic_fetch_add(&req->refs, 1);
		thread_answered(thread, req);
	}
	pthread_mutex_unlock(&thread->resume_lock);
	return ours;
}

void respond_publish(struct http_request *req)
{
	if (!publish(req, STATE_ANSWERED))
		drop_answer(req);
	request_unref(req);
}

void http_continue(struct http_request *req, void (*fn)(void *arg), void *arg)
{
	if (req->mhd) {
		fn(arg);
		return;
	}
	req->next = fn;
	req->next_arg = arg;
	atomic_fetch_add(&req->refs, 1); /* it may be over, and the server too, before its thread is told to the end */
	if (!publish(req, STATE_CONTINUED))
		fn(arg);
	request_unref(req);
}

void http_respond(struct http_request *req, int status, const char *content_type, const void *body, size_t len)
{
	if (!req->mhd) {
		struct bytes *part = bytes_new(len ? body : "", len);
		direct_respond(req, status, content_type, &part, 1);
		return;
	}
	if (respond_is_chunk(req, status, len)) {
		struct bytes *part = bytes_new(body, len);
		http_respond_bytes(req, status, content_type, &part, 1);
		return;
	}
	respond_with(req, status, content_type, MHD_create_response_from_buffer(len, (void *)(len ? body : ""), MHD_RESPMEM_MUST_COPY));
}

struct MHD_Response *respond_unsized(struct http_request *req, size_t block, MHD_ContentReaderCallback reader, void *cls, MHD_ContentReaderFreeCallback done)
{
	if (strcmp(req->method, "HEAD"))
		return MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, block, reader, cls, done);
	/* libmicrohttpd would end even the chunked body that HEAD does not have. */
	if (done)
		done(cls);
	return MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
}

struct pull {
	struct http_request *req;
	int (*next)(void *arg, struct bytes **ret_part);
	void (*done)(void *arg);
	void *arg;
	struct bytes *part;
	size_t pos;
	int64_t total;
	bool end;
};

static ssize_t pull_read(void *cls, uint64_t pos, char *buf, size_t max)
{
	struct pull *pull = cls;
	size_t n = 0;
	while (n < max && !pull->end) {
		if (!pull->part) {
			pull->pos = 0;
			if (pull->next(pull->arg, &pull->part) <= 0) {
				pull->part = NULL;
				pull->end = true;
			}
			continue;
		}
		size_t take = min_of(max - n, pull->part->len - pull->pos);
		memcpy(buf + n, pull->part->data + pull->pos, take);
		n += take;
		pull->pos += take;
		if (pull->pos == pull->part->len)
			pull->part = bytes_unref(pull->part);
	}
	if (n)
		return (ssize_t)n;
	if (pull->total < 0)
		return MHD_CONTENT_READER_END_OF_STREAM;
	/* Less than was promised: only a broken connection tells the client. */
	pull->req->conn->aborted = true;
	thread_activate(pull->req->conn->thread, pull->req->conn);
	return MHD_CONTENT_READER_END_WITH_ERROR;
}

static void pull_free(void *cls)
{
	struct pull *pull = cls;
	bytes_unref(pull->part);
	if (pull->done)
		pull->done(pull->arg);
	free(pull);
}

/* Chunks are for HTTP/1.1; a small body of known length gets its Content-Length. */
bool respond_may_chunk(const struct http_request *req, int status, int64_t total)
{
	bool large = total < 0 || (total >= INJECT_MIN && !req->keep_length);
	return large && req->http11 && strcmp(req->method, "HEAD") && status >= 200 && status != 204 && status != 304;
}

bool respond_is_chunk(const struct http_request *req, int status, size_t len)
{
	size_t over = req->server->options.chunk_over;
	return over && len > over && !req->keep_length && respond_may_chunk(req, status, -1);
}

void http_keep_length(struct http_request *req)
{
	req->keep_length = true;
}

void http_respond_pull(struct http_request *req, int status, const char *content_type, int64_t total, int (*next)(void *arg, struct bytes **ret_part),
	void (*done)(void *arg), void *arg)
{
	if (!req->mhd) {
		req->inject = inject_new(req->server, total, next, done, arg);
		direct_respond(req, status, content_type, NULL, 0);
		return;
	}
	if (respond_may_chunk(req, status, total) || respond_is_chunk(req, status, (size_t)total)) {
		struct MHD_Response *response = MHD_create_response_from_buffer(0, (void *)"", MHD_RESPMEM_PERSISTENT);
		MHD_add_response_header(response, "Transfer-Encoding", "chunked");
		req->inject = inject_new(req->server, total, next, done, arg);
		respond_with(req, status, content_type, response);
		return;
	}
	struct pull *pull = xnew(struct pull);
	*pull = (struct pull){.req = req, .next = next, .done = done, .arg = arg, .total = total};
	respond_with(req, status, content_type, total < 0 ? respond_unsized(req, PULL_BLOCK, pull_read, pull, pull_free) :
		MHD_create_response_from_callback((uint64_t)total, PULL_BLOCK, pull_read, pull, pull_free));
}

struct parts {
	size_t count, next;
	struct bytes *bytes[];
};

static void parts_free(void *cls)
{
	struct parts *parts = cls;
	for (size_t i = 0; i < parts->count; i++)
		bytes_unref(parts->bytes[i]);
	free(parts);
}

static int parts_next(void *arg, struct bytes **ret)
{
	struct parts *parts = arg;
	if (parts->next == parts->count)
		return 0;
	*ret = bytes_ref(parts->bytes[parts->next++]);
	return 1;
}

void http_respond_bytes(struct http_request *req, int status, const char *content_type, struct bytes **parts, size_t count)
{
	int64_t sum = 0;
	for (size_t i = 0; i < count; i++)
		sum += (int64_t)parts[i]->len;
	if (!req->mhd && !respond_may_chunk(req, status, sum)) {
		direct_respond(req, status, content_type, parts, count);
		return;
	}
	struct parts *kept = xmalloc(sizeof(*kept) + count * sizeof(kept->bytes[0]));
	struct MHD_IoVec iov[PARTS_MAX];
	kept->count = count;
	kept->next = 0;
	for (size_t i = 0; i < count; i++) {
		kept->bytes[i] = parts[i];
		if (i < PARTS_MAX)
			iov[i] = (struct MHD_IoVec){.iov_base = parts[i]->data, .iov_len = parts[i]->len};
	}
	if (count > PARTS_MAX || respond_may_chunk(req, status, sum) || respond_is_chunk(req, status, (size_t)sum))
		http_respond_pull(req, status, content_type, sum, parts_next, parts_free, kept);
	else
		respond_with(req, status, content_type, MHD_create_response_from_iovec(iov, (unsigned)count, parts_free, kept));
}

struct upgrade {
	struct http_request *req;
	void (*fn)(int fd, const void *extra, size_t extra_len, void *arg);
	void *arg;
};

void upgrade_lost(struct upgrade *upgrade)
{
	upgrade->fn(-1, NULL, 0, upgrade->arg);
	free(upgrade);
}

/*
 * libmicrohttpd is done with the connection: the new owner gets its end of the pair as a duplicate, and libmicrohttpd's own is
 * closed at once, or it would keep its memory for as long as the upgraded connection lives.
 */
static void on_upgraded(void *cls, struct MHD_Connection *mhd, void *req_cls, const char *extra, size_t extra_len, MHD_socket sock,
	struct MHD_UpgradeResponseHandle *handle)
{
	struct upgrade *upgrade = cls;
	struct http_request *req = upgrade->req;
	req->upgrade = NULL;
	req->conn->upgraded = true;
	int fd = req->conn->dead ? -1 : fcntl(sock, F_DUPFD_CLOEXEC, 3);
	upgrade->fn(fd, extra, fd < 0 ? 0 : extra_len, upgrade->arg);
	free(upgrade);
	/* Freed here, not when libmicrohttpd tells of the end: it does that with its locks held. */
	if (req->free_data)
		req->free_data(take_ptr(req->data));
	req->free_data = NULL;
	MHD_upgrade_action(handle, MHD_UPGRADE_ACTION_CLOSE);
	req->conn->thread->mhd_pending = true;
}

void http_upgrade(struct http_request *req, const char *protocol, void (*on_upgrade)(int fd, const void *extra, size_t extra_len, void *arg), void *arg)
{
	struct upgrade *upgrade = xnew(struct upgrade);
	*upgrade = (struct upgrade){.req = req, .fn = on_upgrade, .arg = arg};
	if (!req->mhd) {
		req->upgrade = upgrade;
		direct_respond(req, 101, NULL, NULL, 0);
		return;
	}
	struct MHD_Response *response = MHD_create_response_for_upgrade(on_upgraded, upgrade);
	MHD_add_response_header(response, "Upgrade", protocol);
	req->upgrade = upgrade;
	respond_with(req, 101, NULL, response);
}
