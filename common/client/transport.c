/* SPDX-License-Identifier: Apache-2.0 */
/* One request over libcurl, with retries, failover and the rate limit. */
#include "common/base/clock.h"
#include "common/client/internal.h"
#include "common/client/measure.h"

#include <errno.h>
#include <stdatomic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <time.h>

#define TIMEOUT_DEFAULT_MS 60000
#define UPLOAD_BUFFER_BYTES 16384L /* the smallest that libcurl takes */
#define STREAM_BUFFER_BYTES 4096L
#define CONNECT_TIMEOUT_MS 10000
#define SILENCE_TIMEOUT_MS 30000 /* a peer that does not acknowledge for so long is gone */
#define MAX_RETRIES 10           /* of answers that ask for one */
#define MAX_CONNECT_RETRIES 2    /* after every server was tried once */
#define MAX_RETRY_AFTER_S 30
#define FIRST_BACKOFF_MS 50

struct transfer {
	struct client *client;
	const struct client_request *request;
	const struct client_sink *sink;
	struct pool *pool;
	CURL *curl;
	struct curl_slist *headers;
	const char *server;
	char *url;
	struct buf error_body;
	int status;
	int retry_after;
	bool delivered; /* some of the body has gone to the sink: no retry any more */
	bool stopped;   /* the sink wanted no more */
	bool gathered;  /* by the server already */
};

/* ---- libcurl's callbacks ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * count;
	long code = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	if (code >= 400) {
		buf_append(&t->error_body, data, len);
		return len;
	}
	t->delivered = true;
	if (t->sink->on_data(data, len, t->sink->arg))
		return len;
	t->stopped = true;
	return 0;
}

/* Warning: 299 - "text" */
static void pass_warning(struct transfer *t, const char *value, size_t len)
{
	const char *start = memchr(value, '"', len);
	if (!start || !t->client->config.on_warning)
		return;
	autobuf struct buf text = BUF_INIT(4096);
	for (const char *p = start + 1; p < value + len && *p != '"'; p++) {
		if (*p == '\\' && p + 1 < value + len)
			p++;
		buf_append_char(&text, *p);
	}
	t->client->config.on_warning(text.data ? text.data : "", t->client->config.warning_arg);
}

static bool header_is(const char *line, size_t len, const char *name, const char **ret_value, size_t *ret_len)
{
	size_t name_len = strlen(name);
	if (len <= name_len || strncasecmp(line, name, name_len) != 0 || line[name_len] != ':')
		return false;
	const char *value = line + name_len + 1;
	size_t left = len - name_len - 1;
	while (left && *value == ' ')
		value++, left--;
	while (left && (value[left - 1] == '\r' || value[left - 1] == '\n' || value[left - 1] == ' '))
		left--;
	*ret_value = value;
	*ret_len = left;
	return true;
}

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t len = size * count, value_len;
	const char *value;
	if (header_is(line, len, "Retry-After", &value, &value_len)) {
		autofree char *text = xstrndup(value, value_len);
		int64_t seconds;
		if (str_to_int64(text, 0, INT32_MAX, &seconds))
			t->retry_after = (int)min_of(seconds, (int64_t)3600);
	} else if (header_is(line, len, CLIENT_LULL_HEADER, &value, &value_len)) {
		t->gathered = true;
	} else if (header_is(line, len, "Warning", &value, &value_len)) {
		pass_warning(t, value, value_len);
	}
	return len;
}

static int on_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
	unsigned timeout = SILENCE_TIMEOUT_MS;
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof(timeout));
	return CURL_SOCKOPT_OK;
}

/* ---- a handle for the request ---- */

static void set_path(CURL *curl, CURLoption option, int fd)
{
	if (fd < 0)
		return;
	char path[32];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	curl_easy_setopt(curl, option, path);
}

static void set_tls(struct transfer *t)
{
	const struct client *client = t->client;
	const struct pool_files *files = pool_files(t->pool);
	/* Without this the system's hundred and more authorities are read for each connection: 8 MB. */
	if (files->ca >= 0 || client->config.insecure_skip_verify) {
		curl_easy_setopt(t->curl, CURLOPT_CAPATH, NULL);
		curl_easy_setopt(t->curl, CURLOPT_CAINFO, NULL);
	}
	set_path(t->curl, CURLOPT_CAINFO, files->ca);
	if (files->cert >= 0 && files->key >= 0) {
		set_path(t->curl, CURLOPT_SSLCERT, files->cert);
		set_path(t->curl, CURLOPT_SSLKEY, files->key);
	}
	if (client->config.insecure_skip_verify) {
		curl_easy_setopt(t->curl, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(t->curl, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	curl_easy_setopt(t->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static void add_line(struct transfer *t, const char *line)
{
	struct curl_slist *list = curl_slist_append(t->headers, line);
	if (!list)
		abort();
	t->headers = list;
}

static void add_header(struct transfer *t, const char *name, const char *value)
{
	if (str_empty(value))
		return;
	autofree char *line = xprintf("%s: %s", name, value);
	add_line(t, line);
	explicit_bzero(line, strlen(line));
}

static void set_headers(struct transfer *t)
{
	const struct client_request *request = t->request;
	add_header(t, "Accept", str_or(request->accept, "application/json"));
	if (request->body)
		add_header(t, "Content-Type", str_or(request->content_type, "application/json"));
	add_header(t, "User-Agent", t->client->config.user_agent);
	for (size_t i = 0; i < t->client->config.impersonate.len; i++)
		add_line(t, t->client->config.impersonate.items[i]);
	autofree char *authorization = client_authorization(t->client);
	add_header(t, "Authorization", authorization);
	if (!str_equal(request->method, "GET") && !str_equal(request->method, "HEAD")) {
		autofree char *fence = client_fence(t->client);
		add_header(t, CLIENT_FENCE_HEADER, fence);
	}
	if (request->gather_ms) {
		char text[16];
		snprintf(text, sizeof(text), "%d", request->gather_ms);
		add_header(t, CLIENT_LULL_HEADER, text);
	}
	add_line(t, "Expect:");
	curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, t->headers);
}

static void set_method(struct transfer *t)
{
	const struct client_request *request = t->request;
	if (request->body) {
		curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, request->body);
		curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
	} else if (str_equal(request->method, "HEAD")) {
		curl_easy_setopt(t->curl, CURLOPT_NOBODY, 1L);
	} else if (str_equal(request->method, "POST")) {
		curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, "");
		curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE, 0L);
	}
	curl_easy_setopt(t->curl, CURLOPT_CUSTOMREQUEST, request->method);
}

/* "https://host:port/prefix" -> the parts; false where it is no such URL. */
static bool split_server(const char *server, const char **ret_host, size_t *ret_host_len, const char **ret_port, size_t *ret_port_len)
{
	const char *host = strstr(server, "://");
	if (!host)
		return false;
	host += 3;
	size_t len = strcspn(host, "/");
	const char *close = *host == '[' ? memchr(host, ']', len) : NULL;
	size_t host_len = close ? (size_t)(close + 1 - host) : min_of(len, strcspn(host, ":"));
	*ret_host = host;
	*ret_host_len = host_len;
	*ret_port = host_len < len ? host + host_len + 1 : NULL;
	*ret_port_len = host_len < len ? len - host_len - 1 : 0;
	return true;
}

static bool is_loopback(const char *host, size_t len)
{
	return (len == 9 && !strncmp(host, "localhost", 9)) || (len > 4 && !strncmp(host, "127.", 4)) || (len == 5 && !strncmp(host, "[::1]", 5));
}

/* tls-server-name: the name asked for and checked differs from the address that is dialled. */
static void set_url(struct transfer *t, struct curl_slist **ret_connect_to)
{
	const char *server = t->server, *host, *port;
	size_t host_len, port_len;
	size_t len = strlen(server);
	while (len && server[len - 1] == '/')
		len--;
	const char *name = t->client->config.tls_server_name;
	bool split = split_server(server, &host, &host_len, &port, &port_len);
	if (split && is_loopback(host, host_len))
		curl_easy_setopt(t->curl, CURLOPT_NOPROXY, "*");
	if (split && !str_empty(name)) {
		const char *rest = host + strcspn(host, "/");
		size_t rest_len = rest < server + len ? (size_t)(server + len - rest) : 0;
		const char *number = port ? port : "443";
		int number_len = port ? (int)port_len : 3;
		t->url = xprintf("%.*s%s:%.*s%.*s%s", (int)(host - server), server, name, number_len, number, (int)rest_len, rest, t->request->path);
		autofree char *to = xprintf("%s:%.*s:%.*s:%.*s", name, number_len, number, (int)host_len, host, number_len, number);
		*ret_connect_to = curl_slist_append(NULL, to);
		curl_easy_setopt(t->curl, CURLOPT_CONNECT_TO, *ret_connect_to);
	} else {
		t->url = xprintf("%.*s%s", (int)len, server, t->request->path);
	}
	curl_easy_setopt(t->curl, CURLOPT_URL, t->url);
}

static void set_times(struct transfer *t, bool is_stream)
{
	long timeout = t->request->timeout_ms ? t->request->timeout_ms : (t->client->config.timeout_ms ? t->client->config.timeout_ms : TIMEOUT_DEFAULT_MS);
	curl_easy_setopt(t->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT_MS);
	if (!is_stream || t->request->timeout_ms)
		curl_easy_setopt(t->curl, CURLOPT_TIMEOUT_MS, timeout);
	/* Each open watch holds one, for a request of a few hundred bytes; the default is four times that. */
	curl_easy_setopt(t->curl, CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER_BYTES);
	if (is_stream)
		curl_easy_setopt(t->curl, CURLOPT_BUFFERSIZE, STREAM_BUFFER_BYTES);
	curl_easy_setopt(t->curl, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(t->curl, CURLOPT_TCP_KEEPIDLE, 20L);
	curl_easy_setopt(t->curl, CURLOPT_TCP_KEEPINTVL, 10L);
	curl_easy_setopt(t->curl, CURLOPT_TCP_NODELAY, 1L);
	curl_easy_setopt(t->curl, CURLOPT_SOCKOPTFUNCTION, on_socket);
	curl_easy_setopt(t->curl, CURLOPT_NOSIGNAL, 1L);
}

/* ---- performing ---- */

/* Runs the transfer. It can be given up at any time: readiness of cancel_fd (or -1) wakes it. */
static CURLcode perform_cancellable(struct transfer *t, CURLM *multi, int cancel_fd, bool *ret_cancelled)
{
	if (curl_multi_add_handle(multi, t->curl) != CURLM_OK)
		abort();
	CURLcode result = CURLE_OK;
	int running = 1;
	while (curl_multi_perform(multi, &running) == CURLM_OK && running) {
		struct curl_waitfd cancel = {.fd = cancel_fd, .events = CURL_WAIT_POLLIN};
		if (curl_multi_poll(multi, cancel_fd >= 0 ? &cancel : NULL, cancel_fd >= 0, 60000, NULL) != CURLM_OK)
			break;
		pools_tidy(clock_monotonic_ns()); /* a watch waits at most a minute: this is the timer of handles that nobody uses */
		struct pollfd now = {.fd = cancel_fd, .events = POLLIN};
		if (cancel_fd >= 0 && poll(&now, 1, 0) > 0) {
			*ret_cancelled = true;
			break;
		}
		int lull = t->request->lull_ms && !t->gathered ? atomic_load_explicit(t->request->lull_ms, memory_order_relaxed) : 0;
		if (lull && poll(&now, 1, lull) > 0) {
			*ret_cancelled = true;
			break;
		}
	}
	int left;
	for (CURLMsg *message; (message = curl_multi_info_read(multi, &left));)
		if (message->msg == CURLMSG_DONE)
			result = message->data.result;
	if (running && !*ret_cancelled)
		result = CURLE_RECV_ERROR;
	curl_multi_remove_handle(multi, t->curl); /* what was not read to its end is closed */
	return result;
}

static CURLcode perform_once(struct transfer *t, int cancel_fd, bool is_stream, bool *ret_cancelled)
{
	struct curl_slist *connect_to = NULL;
	t->pool = client_pool(t->client);
	struct pool_handle handle = pool_take(t->pool);
	t->curl = handle.curl;
	t->status = t->retry_after = 0;
	t->gathered = false;
	buf_reset(&t->error_body);
	set_url(t, &connect_to);
	set_method(t);
	set_headers(t);
	set_tls(t);
	set_times(t, is_stream);
	curl_easy_setopt(t->curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(t->curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(t->curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(t->curl, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(t->curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(t->curl, CURLOPT_HEADERDATA, t);
	int64_t began = clock_monotonic_ns();
	CURLcode result = perform_cancellable(t, handle.multi, cancel_fd, ret_cancelled);
	long code = 0;
	curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &code);
	t->status = (int)code;
	curl_off_t sent = 0, received = 0;
	curl_easy_getinfo(t->curl, CURLINFO_SIZE_UPLOAD_T, &sent);
	curl_easy_getinfo(t->curl, CURLINFO_SIZE_DOWNLOAD_T, &received);
	/* A stream lasts as long as somebody listens: how long says nothing about the server. */
	client_measure(&(struct client_measure){t->server, t->request->method, t->status, is_stream ? -1 : clock_monotonic_ns() - began, (uint64_t)sent, (uint64_t)received});
	pool_give_back(t->pool, handle);
	pool_put(t->pool);
	t->curl = NULL;
	curl_slist_free_all(t->headers);
	t->headers = NULL;
	curl_slist_free_all(connect_to);
	free(t->url);
	t->url = NULL;
	return result;
}

/* Waits out `ms`. Returns false where cancel_fd became readable. */
static bool wait_ms(int64_t ms, int cancel_fd)
{
	struct pollfd cancel = {.fd = cancel_fd, .events = POLLIN};
	return poll(&cancel, 1, (int)ms) <= 0;
}

/* Takes one token of the bucket, waiting where it is empty. */
static bool wait_for_rate(struct client *client, int cancel_fd)
{
	double qps = client->config.qps;
	if (qps <= 0)
		return true;
	double burst = max_of(client->config.burst, 1);
	pthread_mutex_lock(&client->lock);
	int64_t now = clock_monotonic_ns();
	client->tokens = min_of(burst, client->tokens + (double)(now - client->tokens_at) / NSEC_PER_SEC * qps);
	client->tokens_at = now;
	client->tokens -= 1;
	double debt = -client->tokens;
	pthread_mutex_unlock(&client->lock);
	return debt <= 0 || wait_ms((int64_t)(debt / qps * 1000) + 1, cancel_fd);
}

static int transport_error(const struct transfer *t, CURLcode result, struct error *err)
{
	static const struct {
		CURLcode code;
		int errnum;
	} known[] = {
		{CURLE_COULDNT_CONNECT, ECONNREFUSED}, {CURLE_COULDNT_RESOLVE_HOST, EHOSTUNREACH}, {CURLE_OPERATION_TIMEDOUT, ETIMEDOUT},
		{CURLE_PEER_FAILED_VERIFICATION, EACCES}, {CURLE_SSL_CERTPROBLEM, EACCES}, {CURLE_SSL_CONNECT_ERROR, EPROTO},
		{CURLE_GOT_NOTHING, ECONNRESET}, {CURLE_SEND_ERROR, ECONNRESET}, {CURLE_RECV_ERROR, ECONNRESET}, {CURLE_PARTIAL_FILE, ECONNRESET},
	};
	int errnum = EIO;
	for (size_t i = 0; i < array_len(known); i++)
		if (known[i].code == result)
			errnum = known[i].errnum;
	const char *method = t->request->method;
	return error_set(err, errnum, "%s %s%.*s: %s", method, t->server, (int)strcspn(t->request->path, "?"), t->request->path, curl_easy_strerror(result));
}

struct attempts {
	size_t server;    /* added to the index of the preferred one */
	size_t connects;  /* failed for want of a connection */
	size_t answers;   /* answers that asked to come again */
};

/* Milliseconds until the next try, or -1 where the result stands. */
static int64_t next_try(const struct transfer *t, CURLcode result, struct attempts *attempts)
{
	bool reads = str_equal(t->request->method, "GET") || str_equal(t->request->method, "HEAD");
	size_t servers = t->client->config.servers.len;
	if (t->delivered)
		return -1;
	if (result != CURLE_OK) {
		/* Not connected: nothing was asked. Connection lost: only a read can be asked again. */
		bool unasked = result == CURLE_COULDNT_CONNECT || result == CURLE_COULDNT_RESOLVE_HOST || (result == CURLE_SSL_CONNECT_ERROR && servers > 1);
		bool lost = result == CURLE_GOT_NOTHING || result == CURLE_RECV_ERROR || result == CURLE_SEND_ERROR;
		if ((!unasked && !(lost && reads)) || attempts->connects + 1 >= servers + MAX_CONNECT_RETRIES)
			return -1;
		attempts->server++;
		attempts->connects++;
		return attempts->connects < servers ? 0 : FIRST_BACKOFF_MS << (attempts->connects - servers);
	}
	bool asked = t->retry_after > 0 && (t->status == 429 || t->status >= 500);
	bool busy = reads && t->status == 503;
	if ((!asked && !busy) || attempts->answers >= (asked ? MAX_RETRIES : 3))
		return -1;
	attempts->answers++;
	if (busy)
		attempts->server++;
	return asked ? min_of(t->retry_after, MAX_RETRY_AFTER_S) * 1000LL : FIRST_BACKOFF_MS << attempts->answers;
}

int client_perform(struct client *client, const struct client_request *request, const struct client_sink *sink, int cancel_fd, bool is_stream, int *ret_status, struct error *err)
{
	struct transfer t = {.client = client, .request = request, .sink = sink, .error_body = BUF_INIT(CLIENT_MAX_ERROR_BODY)};
	struct attempts attempts = {0};
	CURLcode result = CURLE_OK;
	bool cancelled = false;
	for (int64_t delay = 0; delay >= 0 && !cancelled;) {
		if (!wait_for_rate(client, cancel_fd)) {
			cancelled = true;
			break;
		}
		t.server = client_server(client, attempts.server);
		result = perform_once(&t, cancel_fd, is_stream, &cancelled);
		if (result == CURLE_OK && t.status && t.status < 500)
			client_server_answered(client, t.server);
		delay = cancelled || t.stopped ? -1 : next_try(&t, result, &attempts);
		if (delay > 0 && !wait_ms(delay, cancel_fd))
			cancelled = true;
	}
	int rc = 0;
	if (cancelled || t.stopped)
		rc = 0;
	else if (result != CURLE_OK)
		rc = transport_error(&t, result, err);
	else if (t.status >= 400)
		rc = client_error_from_answer(err, t.status, t.error_body.data, t.error_body.len, t.retry_after);
	if (ret_status)
		*ret_status = t.status;
	buf_done(&t.error_body);
	return rc;
}

int client_connect(struct client *client, CURL **ret, const char **ret_server, struct error *err)
{
	struct client_request request = {.method = "GET", .path = "/"};
	struct transfer t = {.client = client, .request = &request, .pool = client_pool(client)};
	CURLcode result = CURLE_COULDNT_CONNECT;
	for (size_t attempt = 0; attempt < client->config.servers.len && result != CURLE_OK; attempt++) {
		struct curl_slist *connect_to = NULL;
		t.server = client_server(client, attempt);
		t.curl = curl_easy_init();
		if (!t.curl)
			abort();
		set_url(&t, &connect_to);
		set_tls(&t);
		set_times(&t, true);
		curl_easy_setopt(t.curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
		curl_easy_setopt(t.curl, CURLOPT_CONNECT_ONLY, 1L);
		result = curl_easy_perform(t.curl);
		curl_easy_setopt(t.curl, CURLOPT_CONNECT_TO, NULL);
		curl_slist_free_all(connect_to);
		free(t.url);
		t.url = NULL;
		if (result != CURLE_OK)
			curl_easy_cleanup(t.curl);
	}
	pool_put(t.pool);
	if (result != CURLE_OK)
		return transport_error(&t, result, err);
	*ret = t.curl;
	*ret_server = t.server;
	return 0;
}

struct body_sink {
	struct buf *body;
	bool overflow;
};

static bool append_body(const char *data, size_t len, void *arg)
{
	struct body_sink *sink = arg;
	if (!sink->body)
		return true;
	buf_append(sink->body, data, len);
	sink->overflow = buf_failed(sink->body);
	return !sink->overflow;
}

int client_do(struct client *client, const struct client_request *request, struct buf *body, int *ret_status, struct error *err)
{
	struct body_sink state = {.body = body};
	struct client_sink sink = {.on_data = append_body, .arg = &state};
	int rc = client_perform(client, request, &sink, -1, false, ret_status, err);
	if (!rc && state.overflow)
		rc = error_set(err, EFBIG, "the answer to %s %s is larger than %zu bytes", request->method, request->path, body->max);
	return rc;
}

int client_stream(struct client *client, const struct client_request *request, bool (*on_data)(const char *data, size_t len, void *arg), void *arg, int cancel_fd, struct error *err)
{
	struct client_sink sink = {.on_data = on_data, .arg = arg};
	return client_perform(client, request, &sink, cancel_fd, true, NULL, err);
}
