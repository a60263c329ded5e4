/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libcurl does the calls, by its multi interface on our loop. Its connections are used again by whoever calls the same host with the same file of authorities, and
 * ours are files in memory whose names come again: so each bundle of authorities has a handle, and with it connections, of its own.
 */
#include "apiserver/webhook/call.h"
#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/client/measure.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#define MAX_TRUSTS 64
#define MAX_IDLE 16L   /* connections kept, of each */
#define IDLE_SECONDS 60L

/* Authorities by which servers are judged, and the connections to those. */
struct trust {
	struct list link;
	struct caller *caller;
	unsigned calls;
	void *pem, *own; /* PEM: authorities; the certificate and key that are shown to the servers */
	size_t len, own_len;
	int fd;        /* the file in memory; -1: the system's authorities */
	int own_fd;    /* the same of what is shown; -1: nothing */
	CURLM *multi;
	struct loop_timer *timer;
};
struct call {
	struct list link;
	struct caller *caller;
	struct call_options options; /* host, address, target, ca and body are ours */
	struct trust *trust;
	CURL *easy;
	struct curl_slist *connect_to, *headers;
	struct call_answer answer;
	int64_t began_ns;
	char trouble[CURL_ERROR_SIZE];
};
struct caller {
	struct loop *loop;
	struct list calls, trusts;
	size_t trust_count;
	bool draining;
};

/* ---- the end of a call ---- */

/* A secret. */
static void forget(void *data, size_t len) {
	if (data)
		explicit_bzero(data, len);
	free(data);
}

static size_t max_answer(const struct call *c) {
	return c->options.max_answer ? c->options.max_answer : CALL_MAX_ANSWER;
}

static void call_free(struct call *c) {
	list_remove(&c->link);
	if (c->easy && c->trust)
		curl_multi_remove_handle(c->trust->multi, c->easy);
	if (c->trust)
		c->trust->calls--;
	curl_easy_cleanup(c->easy);
	curl_slist_free_all(c->connect_to);
	curl_slist_free_all(c->headers);
	buf_done(&c->answer.body);
	free((void *)c->options.host);
	free((void *)c->options.address);
	free((void *)c->options.target);
	free((void *)c->options.ca);
	free((void *)c->options.body);
	free((void *)c->options.agent);
	forget((void *)c->options.own, c->options.own_len);
	forget((void *)c->options.authorization, str_or(c->options.authorization, "")[0] ? strlen(c->options.authorization) : 0);
	free(c);
}

static void fail(struct call *c, int errnum, const char *fmt, ...) printf_like(3, 4);
static void fail(struct call *c, int errnum, const char *fmt, ...) {
	autoerror struct error err = {0};
	autobuf struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	error_set(&err, errnum, "%s", str_or(text.data, ""));
	c->options.done(&c->answer, &err, c->options.arg);
	call_free(c);
}

static void fail_connect(struct call *c) {
	const struct call_options *o = &c->options;
	const char *host = str_or(o->address, o->host);
	long failure = 0;
	char first[128];
	curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &failure);
	autofree char *text = xstrdup(failure ? strerror_r((int)failure, first, sizeof(first)) : "connection refused");
	*text = (char)tolower((unsigned char)*text);
	bool six = strchr(host, ':') != NULL;
	fail(c, failure ? (int)failure : EIO, "dial tcp %s%s%s:%u: connect: %s", six ? "[" : "", host, six ? "]" : "", o->address ? o->address_port : o->port, text);
}

/* libcurl says in words alone what is the matter with a certificate. */
static void fail_certificate(struct call *c) {
	static const struct {
		const char *sign, *text;
	} faults[] = {
		{"does not match", "certificate is not valid for the name it was asked for"},
		{"expir", "certificate has expired or is not yet valid"},
		{"not activated", "certificate has expired or is not yet valid"},
		{"", "certificate signed by unknown authority"},
	};
	size_t i = 0;
	while (!strstr(c->trouble, faults[i].sign))
		i++;
	fail(c, EACCES, "tls: failed to verify certificate: x509: %s", faults[i].text);
}

static void measure(const struct call *c, int status) {
	const struct call_options *o = &c->options;
	curl_off_t received = 0;
	curl_easy_getinfo(c->easy, CURLINFO_SIZE_DOWNLOAD_T, &received);
	autofree char *host = xprintf("%s:%u", o->host, o->port);
	client_measure(&(struct client_measure){host, o->body_len ? "POST" : "GET", status, clock_monotonic_ns() - c->began_ns, o->body_len, (uint64_t)received});
}

static void finish(struct call *c, CURLcode result) {
	const char *type = NULL;
	long status = 0;
	if (result == CURLE_OK)
		curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
	measure(c, (int)status);
	switch (result) {
	case CURLE_OK:
		curl_easy_getinfo(c->easy, CURLINFO_CONTENT_TYPE, &type);
		c->answer.status = (int)status;
		c->answer.text = type && strncasecmp(type, "text/", strlen("text/")) == 0;
		c->options.done(&c->answer, NULL, c->options.arg);
		call_free(c);
		return;
	case CURLE_OPERATION_TIMEDOUT:
		return fail(c, ETIMEDOUT, "context deadline exceeded");
	case CURLE_COULDNT_CONNECT:
		return fail_connect(c);
	case CURLE_COULDNT_RESOLVE_HOST:
		return fail(c, ENOENT, "dial tcp: lookup %s: no such host", str_or(c->options.address, c->options.host));
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
		return fail_certificate(c);
	case CURLE_GOT_NOTHING:
		return fail(c, EPIPE, "EOF");
	case CURLE_PARTIAL_FILE:
		return fail(c, EPIPE, "unexpected EOF");
	case CURLE_WRITE_ERROR:
		return fail(c, EMSGSIZE, "the answer is longer than %zu bytes", max_answer(c));
	default:
		return fail(c, EIO, "%s", *c->trouble ? c->trouble : curl_easy_strerror(result));
	}
}

/* ---- libcurl on the loop ---- */

static void take_done(struct trust *trust) {
	int left;
	/* What is told may start nothing here: calls begin by a post. */
	for (CURLMsg *message; (message = curl_multi_info_read(trust->multi, &left));) {
		struct call *c = NULL;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&c);
		if (message->msg == CURLMSG_DONE && c)
			finish(c, message->data.result);
	}
}

struct watched {
	struct trust *trust;
	curl_socket_t fd;
	struct loop_fd *watch;
};

static void on_ready(uint32_t events, void *arg) {
	struct watched *w = arg;
	struct trust *trust = w->trust;
	int mask = (events & (EPOLLIN | EPOLLRDHUP) ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0) | (events & (EPOLLERR | EPOLLHUP) ? CURL_CSELECT_ERR : 0), running;
	curl_multi_socket_action(trust->multi, w->fd, mask, &running); /* may free w */
	take_done(trust);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *trust_arg, void *watched_arg) {
	struct trust *trust = trust_arg;
	struct watched *w = watched_arg;
	if (what == CURL_POLL_REMOVE) {
		if (w)
			loop_fd_remove(w->watch);
		free(w);
		curl_multi_assign(trust->multi, fd, NULL);
		return 0;
	}
	uint32_t events = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
	if (w) {
		loop_fd_set_events(w->watch, events);
		return 0;
	}
	w = xnew(struct watched);
	*w = (struct watched){.trust = trust, .fd = fd};
	w->watch = loop_add_fd(trust->caller->loop, fd, events, on_ready, w);
	curl_multi_assign(trust->multi, fd, w);
	return 0;
}

static void on_time(void *arg) {
	struct trust *trust = arg;
	int running;
	curl_multi_socket_action(trust->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	take_done(trust);
}

static int on_timer(CURLM *multi, long after_ms, void *arg) {
	struct trust *trust = arg;
	if (after_ms < 0)
		loop_timer_disarm(trust->timer);
	else
		loop_timer_arm(trust->timer, after_ms * NSEC_PER_MSEC);
	return 0;
}

/* ---- authorities ---- */

static void trust_free(struct trust *trust) {
	list_remove(&trust->link);
	trust->caller->trust_count--;
	curl_multi_cleanup(trust->multi);
	loop_timer_free(trust->timer);
	if (trust->fd >= 0)
		close(trust->fd);
	if (trust->own_fd >= 0)
		close(trust->own_fd);
	free(trust->pem);
	forget(trust->own, trust->own_len);
	free(trust);
}

static int write_file(const void *data, size_t len) {
	int fd = memfd_create("authorities", MFD_CLOEXEC);
	const char *at = data;
	while (fd >= 0 && len) {
		ssize_t n = write(fd, at, len);
		if (n <= 0) {
			close(fd);
			return -1;
		}
		at += n;
		len -= (size_t)n;
	}
	return fd;
}

/* The one not used for longest goes where there are many; not one that is in use. */
static void drop_old(struct caller *caller) {
	for (struct list *link = caller->trusts.prev; caller->trust_count >= MAX_TRUSTS && link != &caller->trusts;) {
		struct trust *old = list_entry(link, struct trust, link);
		link = link->prev;
		if (!old->calls)
			trust_free(old);
	}
}

static bool is_same(const void *a, size_t a_len, const void *b, size_t b_len) {
	return a_len == b_len && (!a_len || memcmp(a, b, a_len) == 0);
}

static void *copy(const void *data, size_t len) {
	void *to = xmalloc(len + 1);
	if (len)
		memcpy(to, data, len);
	return to;
}

/* NULL where no file can be made. */
static struct trust *trust_get(struct caller *caller, const struct call_options *o) {
	struct trust *trust;
	list_for_each (trust, &caller->trusts, link) {
		if (is_same(trust->pem, trust->len, o->ca, o->ca_len) && is_same(trust->own, trust->own_len, o->own, o->own_len)) {
			list_remove(&trust->link);
			list_push_front(&caller->trusts, &trust->link);
			return trust;
		}
	}
	autoclose int fd = o->ca_len ? write_file(o->ca, o->ca_len) : -1, own_fd = o->own_len ? write_file(o->own, o->own_len) : -1;
	CURLM *multi = (o->ca_len && fd < 0) || (o->own_len && own_fd < 0) ? NULL : curl_multi_init();
	if (!multi)
		return NULL;
	drop_old(caller);
	trust = xnew(struct trust);
	*trust = (struct trust){.caller = caller, .len = o->ca_len, .own_len = o->own_len, .fd = take_fd(fd), .own_fd = take_fd(own_fd), .multi = multi, .pem = copy(o->ca, o->ca_len), .own = copy(o->own, o->own_len)};
	trust->timer = loop_timer_new(caller->loop, on_time, trust);
	curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, trust);
	curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(multi, CURLMOPT_TIMERDATA, trust);
	curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, MAX_IDLE);
	list_push_front(&caller->trusts, &trust->link);
	caller->trust_count++;
	return trust;
}

/* ---- starting ---- */

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
	struct call *c = arg;
	if (size * count > max_answer(c) - c->answer.body.len)
		return 0;
	buf_append(&c->answer.body, data, size * count);
	return size * count;
}

static void add_header(struct call *c, const char *name, const char *value) {
	autofree char *line = xprintf("%s:%s%s", name, *value ? " " : "", value);
	c->headers = curl_slist_append(c->headers, line);
	explicit_bzero(line, strlen(line));
}

static void prepare_headers(struct call *c) {
	const struct call_options *o = &c->options;
	if (!o->get)
		add_header(c, "Content-Type", "application/json");
	add_header(c, "Accept", "application/json, */*");
	add_header(c, "User-Agent", str_or(o->agent, "kube-apiserver-admission"));
	if (!o->get)
		add_header(c, "Expect", "");
	if (!str_empty(o->authorization))
		add_header(c, "Authorization", o->authorization);
	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, c->headers);
}

static bool prepare(struct call *c) {
	const struct call_options *o = &c->options;
	CURL *easy = c->easy = curl_easy_init();
	if (!easy)
		return false;
	bool six = strchr(o->host, ':') != NULL;
	autofree char *url = xprintf("%s://%s%s%s:%u%s", o->plain ? "http" : "https", six ? "[" : "", o->host, six ? "]" : "", o->port, o->target);
	if (o->address) {
		bool to_six = strchr(o->address, ':') != NULL;
		autofree char *to = xprintf("::%s%s%s:%u", to_six ? "[" : "", o->address, to_six ? "]" : "", o->address_port);
		c->connect_to = curl_slist_append(NULL, to);
		curl_easy_setopt(easy, CURLOPT_CONNECT_TO, c->connect_to);
	}
	if (c->trust->fd >= 0) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/self/fd/%d", c->trust->fd);
		curl_easy_setopt(easy, CURLOPT_CAINFO, path);
		curl_easy_setopt(easy, CURLOPT_CAPATH, NULL);
	}
	if (c->trust->own_fd >= 0) {
		char path[64];
		snprintf(path, sizeof(path), "/proc/self/fd/%d", c->trust->own_fd);
		curl_easy_setopt(easy, CURLOPT_SSLCERT, path);
		curl_easy_setopt(easy, CURLOPT_SSLKEY, path);
	}
	if (o->insecure) {
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
		curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
	}
	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, o->plain ? "http" : "https");
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)max_of(o->timeout_ns / NSEC_PER_MSEC, (int64_t)1));
	curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, IDLE_SECONDS);
	prepare_headers(c);
	if (!o->get) {
		curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)o->body_len);
		curl_easy_setopt(easy, CURLOPT_POSTFIELDS, o->body);
	}
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, c->trouble);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, c);
	return true;
}

static void on_start(void *arg) {
	struct call *c = arg;
	list_push_back(&c->caller->calls, &c->link);
	if (c->caller->draining)
		return fail(c, ECANCELED, "context canceled");
	c->trust = trust_get(c->caller, &c->options);
	if (!c->trust)
		return fail(c, EMFILE, "no file for the authorities");
	c->trust->calls++;
	c->began_ns = clock_monotonic_ns();
	if (!prepare(c) || curl_multi_add_handle(c->trust->multi, c->easy) != CURLM_OK)
		fail(c, ENOMEM, "no connection can be prepared");
}

void call_start(struct caller *caller, const struct call_options *options) {
	struct call *c = xnew(struct call);
	c->caller = caller;
	c->options = *options;
	c->options.host = xstrdup(options->host);
	c->options.address = options->address ? xstrdup(options->address) : NULL;
	c->options.target = xstrdup(options->target);
	c->options.body = copy(options->body, options->body_len);
	c->options.ca = copy(options->ca, options->ca_len);
	c->options.own = copy(options->own, options->own_len);
	c->options.authorization = options->authorization ? xstrdup(options->authorization) : NULL;
	c->options.agent = options->agent ? xstrdup(options->agent) : NULL;
	c->answer.body = BUF_INIT(max_answer(c) + 1);
	buf_append(&c->answer.body, "", 0);
	list_init(&c->link);
	loop_post(caller->loop, on_start, c);
}

/* ---- URLs ---- */

void call_url_done(struct call_url *url) {
	free(url->host);
	free(url->target);
	*url = (struct call_url){0};
}

int call_url_parse(const char *url, struct call_url *ret, struct error *err) {
	bool plain = str_starts_with(url, "http://");
	if (!plain && !str_starts_with(url, "https://"))
		return error_set(err, EINVAL, "\"%s\" is no URL of http or https", url);
	const char *host = strstr(url, "://") + 3, *end = host + strcspn(host, "/?#"), *colon = NULL;
	for (const char *p = host; p < end; p++)
		colon = *p == ':' ? p : *p == ']' ? NULL : colon;
	int64_t port = plain ? 80 : 443;
	autofree char *digits = colon ? xstrndup(colon + 1, (size_t)(end - colon - 1)) : NULL;
	if (digits && !str_to_int64(digits, 1, 65535, &port))
		return error_set(err, EINVAL, "\"%s\" has no good port", url);
	size_t len = (size_t)((colon ? colon : end) - host);
	if (len > 2 && *host == '[' && host[len - 1] == ']') {
		host++;
		len -= 2;
	}
	bool good = len > 0;
	for (size_t i = 0; i < len; i++)
		good &= (unsigned char)host[i] > ' ' && !strchr("@[]\\^{}|\"<>`", host[i]);
	for (const char *p = end; *p; p++)
		good &= (unsigned char)*p > ' ' && *p != 0x7f;
	if (!good)
		return error_set(err, EINVAL, "\"%s\" is no good URL", url);
	size_t target = strcspn(end, "#");
	*ret = (struct call_url){.host = xstrndup(host, len), .target = *end == '/' ? xstrndup(end, target) : xprintf("/%.*s", (int)target, end), .port = (uint16_t)port, .plain = plain};
	return 0;
}

/* ---- the caller ---- */

struct caller *caller_new(struct loop *loop) {
	struct caller *caller = xnew(struct caller);
	caller->loop = loop;
	list_init(&caller->calls);
	list_init(&caller->trusts);
	return caller;
}

static void on_drain(void *arg) {
	struct caller *caller = arg;
	struct call *c;
	caller->draining = true;
	list_for_each (c, &caller->calls, link)
		fail(c, ECANCELED, "context canceled");
	while (!list_empty(&caller->trusts))
		trust_free(list_first(&caller->trusts, struct trust, link));
}

void caller_drain(struct caller *caller) {
	if (caller)
		loop_call(caller->loop, on_drain, caller);
}

void caller_free(struct caller *caller) {
	free(caller);
}
