/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/webhook/call.h"
#include "apiserver/webhook/answer.h"
#include "common/base/clock.h"
#include "common/base/list.h"

#include <arpa/inet.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define CHUNK (16u << 10)
#define MAX_ADDRESSES 8
#define MAX_TRUSTS 200
#define MAX_IDLE 64            /* connections kept, in all */
#define IDLE_NS (60 * NSEC_PER_SEC)
#define LOOKUP_STACK (256u << 10)

/* Authorities by which servers are judged; kept, since parsing them costs more than a call. */
struct trust {
	struct list link;
	unsigned refs;
	void *pem;
	size_t len;
	gnutls_certificate_credentials_t credentials;
};

/* An open connection; to `key`: address, port, name and authorities. */
struct connection {
	struct list link; /* idle */
	struct caller *caller;
	char *key;
	struct trust *trust;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *timer; /* while idle */
	gnutls_session_t tls;
	bool used;                /* a call was made on it before */
};

struct address {
	struct sockaddr_storage at;
	socklen_t len;
};

/* A name being looked up, by a thread of its own. */
struct lookup {
	struct list link;  /* of the caller's; under lock */
	unsigned refs;     /* atomic: the call's, the thread's */
	struct loop *loop; /* under lock; NULL: nobody waits for it any more */
	struct call *call; /* the loop's thread alone; NULL: it is over */
	char *host;
	uint16_t port;
	struct address addresses[MAX_ADDRESSES];
	size_t count;
	int result;
};
static pthread_mutex_t lookup_lock = PTHREAD_MUTEX_INITIALIZER;

struct call {
	struct list link;
	struct caller *caller;
	struct call_options options; /* its texts are ours */
	struct buf out;
	size_t sent;
	struct loop_timer *timer;
	struct connection *connection;
	enum { IDLE, LOOKING_UP, CONNECTING, HANDSHAKE, SENDING, READING } state;
	struct address addresses[MAX_ADDRESSES];
	size_t address_count, next_address;
	struct http_answer answer;
	struct lookup *lookup;
};

struct caller {
	struct loop *loop;
	struct list calls, idle, trusts;
	struct list lookups; /* under lookup_lock */
	size_t idle_count, trust_count;
	bool draining;
};

/* ---- authorities ---- */

static void trust_unref(struct trust *trust) {
	if (!trust || --trust->refs)
		return;
	gnutls_certificate_free_credentials(trust->credentials);
	free(trust->pem);
	free(trust);
}

static void trust_drop(struct caller *caller, struct trust *trust) {
	list_remove(&trust->link);
	caller->trust_count--;
	trust_unref(trust);
}

static struct trust *trust_get(struct caller *caller, const void *pem, size_t len) {
	struct trust *known;
	list_for_each (known, &caller->trusts, link) {
		if (known->len == len && (!len || memcmp(known->pem, pem, len) == 0)) {
			list_remove(&known->link);
			list_push_front(&caller->trusts, &known->link);
			known->refs++;
			return known;
		}
	}
	struct trust *trust = xnew(struct trust);
	trust->refs = 2;
	trust->len = len;
	trust->pem = xmalloc(len + 1);
	if (len)
		memcpy(trust->pem, pem, len);
	gnutls_certificate_allocate_credentials(&trust->credentials);
	gnutls_datum_t data = {trust->pem, (unsigned)len};
	/* What cannot be read is trusted as little as what is not there: the call then fails by its certificate. */
	if (len)
		gnutls_certificate_set_x509_trust_mem(trust->credentials, &data, GNUTLS_X509_FMT_PEM);
	else
		gnutls_certificate_set_x509_system_trust(trust->credentials);
	list_push_front(&caller->trusts, &trust->link);
	if (++caller->trust_count > MAX_TRUSTS)
		trust_drop(caller, list_entry(caller->trusts.prev, struct trust, link));
	return trust;
}

/* ---- connections ---- */

static void connection_free(struct connection *c) {
	if (!c)
		return;
	loop_timer_free(c->timer);
	loop_fd_remove(c->watch);
	if (c->tls)
		gnutls_deinit(c->tls);
	if (c->fd >= 0)
		close(c->fd);
	trust_unref(c->trust);
	free(c->key);
	free(c);
}

static void drop_idle(struct connection *c) {
	list_remove(&c->link);
	c->caller->idle_count--;
	connection_free(c);
}

/* What an idle connection says is its end, or nothing that was asked for. */
static void on_idle_ready(uint32_t events, void *arg) {
	drop_idle(arg);
}

static void on_idle_timeout(void *arg) {
	drop_idle(arg);
}

static void connection_keep(struct connection *c) {
	struct caller *caller = c->caller;
	loop_fd_remove(c->watch);
	c->watch = loop_add_fd(caller->loop, c->fd, EPOLLIN | EPOLLRDHUP, on_idle_ready, c);
	c->timer = loop_timer_new(caller->loop, on_idle_timeout, c);
	loop_timer_arm(c->timer, IDLE_NS);
	c->used = true;
	list_push_front(&caller->idle, &c->link);
	if (++caller->idle_count > MAX_IDLE)
		drop_idle(list_entry(caller->idle.prev, struct connection, link));
}

static struct connection *connection_take(struct caller *caller, const char *key, const struct trust *trust) {
	struct connection *c;
	list_for_each (c, &caller->idle, link) {
		if (c->trust != trust || strcmp(c->key, key) != 0)
			continue;
		list_remove(&c->link);
		caller->idle_count--;
		loop_timer_free(take_ptr(c->timer));
		loop_fd_remove(take_ptr(c->watch));
		return c;
	}
	return NULL;
}

/* ---- the end of a call ---- */

static void lookup_unref(struct lookup *l) {
	if (!l || __atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
		return;
	pthread_mutex_lock(&lookup_lock);
	list_remove(&l->link);
	pthread_mutex_unlock(&lookup_lock);
	free(l->host);
	free(l);
}

static void call_free(struct call *c) {
	list_remove(&c->link);
	if (c->lookup)
		c->lookup->call = NULL;
	lookup_unref(c->lookup);
	loop_timer_free(c->timer);
	connection_free(c->connection);
	http_answer_done(&c->answer);
	buf_done(&c->out);
	free((void *)c->options.host);
	free((void *)c->options.address);
	free((void *)c->options.target);
	free((void *)c->options.ca);
	free(c);
}

static void finish(struct call *c, const struct error *err) {
	loop_timer_free(take_ptr(c->timer));
	c->options.done(&c->answer, err, c->options.arg);
	call_free(c);
}

static void fail(struct call *c, int errnum, const char *fmt, ...) printf_like(3, 4);
static void fail(struct call *c, int errnum, const char *fmt, ...) {
	autoerror struct error err = {0};
	autobuf struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	error_set(&err, errnum, "%s", text.data);
	c->answer.status = 0;
	finish(c, &err);
}

static void on_timeout(void *arg) {
	fail(arg, ETIMEDOUT, "context deadline exceeded");
}

static void begin(struct call *c, bool fresh);

/* A connection kept from before may have been closed as this call began: that is no answer to it. */
static bool try_anew(struct call *c) {
	if (!c->connection->used || c->answer.status || c->answer.in.len)
		return false;
	connection_free(take_ptr(c->connection));
	c->sent = 0;
	begin(c, true);
	return true;
}

static void broken(struct call *c, const char *why) {
	if (!try_anew(c))
		fail(c, EPIPE, "%s", why);
}

static void answered(struct call *c) {
	struct connection *connection = take_ptr(c->connection);
	if (c->answer.keep && !c->caller->draining)
		connection_keep(connection);
	else
		connection_free(connection);
	finish(c, NULL);
}

/* ---- bytes ---- */

static ssize_t receive(struct call *c, void *data, size_t len) {
	ssize_t n = gnutls_record_recv(c->connection->tls, data, len);
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	return n >= 0 ? n : gnutls_error_is_fatal((int)n) ? -EIO : -EAGAIN;
}

static void read_answer(struct call *c) {
	char chunk[CHUNK];
	for (;;) {
		autoerror struct error err = {0};
		ssize_t n = receive(c, chunk, sizeof(chunk));
		if (n == -EAGAIN)
			return;
		if (n == -EIO) {
			broken(c, "read: connection reset by peer");
			return;
		}
		int r = n ? http_answer_feed(&c->answer, chunk, (size_t)n, &err) : http_answer_close(&c->answer, &err);
		if (r > 0) {
			answered(c);
			return;
		}
		if (r < 0) {
			if (n == 0)
				broken(c, error_message(&err));
			else
				fail(c, EBADMSG, "net/http: HTTP/1.x transport connection broken: %s", error_message(&err));
			return;
		}
	}
}

static void send_request(struct call *c) {
	while (c->sent < c->out.len) {
		ssize_t n = gnutls_record_send(c->connection->tls, c->out.data + c->sent, min_of(c->out.len - c->sent, (size_t)CHUNK));
		if (n < 0 && !gnutls_error_is_fatal((int)n))
			return;
		if (n <= 0) {
			broken(c, "write: broken pipe");
			return;
		}
		c->sent += (size_t)n;
	}
	c->state = READING;
	loop_fd_set_events(c->connection->watch, EPOLLIN);
	read_answer(c); /* TLS may have it already */
}

/* ---- TLS ---- */

static const struct {
	unsigned status;
	const char *text;
} certificate_faults[] = {
	{GNUTLS_CERT_SIGNER_NOT_FOUND, "x509: certificate signed by unknown authority"},
	{GNUTLS_CERT_EXPIRED, "x509: certificate has expired or is not yet valid"},
	{GNUTLS_CERT_NOT_ACTIVATED, "x509: certificate has expired or is not yet valid"},
	{GNUTLS_CERT_UNEXPECTED_OWNER, "x509: certificate is not valid for the name it was asked for"},
	{GNUTLS_CERT_REVOKED, "x509: certificate was revoked"},
};

static void refused_certificate(struct call *c) {
	unsigned status = gnutls_session_get_verify_cert_status(c->connection->tls);
	const char *text = "x509: certificate cannot be verified";
	for (size_t i = 0; i < array_len(certificate_faults); i++)
		if (status & certificate_faults[i].status) {
			text = certificate_faults[i].text;
			break;
		}
	fail(c, EACCES, "tls: failed to verify certificate: %s", text);
}

static void handshake(struct call *c) {
	int rc = gnutls_handshake(c->connection->tls);
	if (rc == GNUTLS_E_SUCCESS) {
		c->state = SENDING;
		loop_fd_set_events(c->connection->watch, EPOLLOUT);
		send_request(c);
	} else if (rc == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
		refused_certificate(c);
	} else if (gnutls_error_is_fatal(rc)) {
		bool closed = rc == GNUTLS_E_PREMATURE_TERMINATION;
		fail(c, EIO, closed ? "EOF" : "tls: %s", gnutls_strerror(rc));
	} else {
		loop_fd_set_events(c->connection->watch, gnutls_record_get_direction(c->connection->tls) ? EPOLLOUT : EPOLLIN);
	}
}

static bool is_address(const char *host) {
	struct in6_addr any;
	return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static bool open_tls(struct call *c) {
	static const gnutls_datum_t protocol = {(unsigned char *)"http/1.1", 8};
	struct connection *connection = c->connection;
	if (gnutls_init(&connection->tls, GNUTLS_CLIENT | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL) < 0)
		return false;
	gnutls_set_default_priority(connection->tls);
	gnutls_credentials_set(connection->tls, GNUTLS_CRD_CERTIFICATE, connection->trust->credentials);
	gnutls_session_set_verify_cert(connection->tls, c->options.host, 0);
	gnutls_alpn_set_protocols(connection->tls, &protocol, 1, 0);
	if (!is_address(c->options.host))
		gnutls_server_name_set(connection->tls, GNUTLS_NAME_DNS, c->options.host, strlen(c->options.host));
	gnutls_transport_set_int(connection->tls, connection->fd);
	return true;
}

/* ---- connecting ---- */

static void connect_next(struct call *c, int last_errnum);

static void connected(struct call *c) {
	int failure = 0;
	socklen_t len = sizeof(failure);
	getsockopt(c->connection->fd, SOL_SOCKET, SO_ERROR, &failure, &len);
	if (failure) {
		connect_next(c, failure);
	} else if (open_tls(c)) {
		c->state = HANDSHAKE;
		handshake(c);
	} else {
		fail(c, EIO, "tls: no session can be made");
	}
}

static void on_ready(uint32_t events, void *arg) {
	struct call *c = arg;
	switch (c->state) {
	case CONNECTING:
		connected(c);
		return;
	case HANDSHAKE:
		handshake(c);
		return;
	case SENDING:
		send_request(c);
		return;
	case READING:
		read_answer(c);
		return;
	case IDLE:
	case LOOKING_UP:
		return;
	}
}

static char *connection_key(const struct call *c) {
	const struct call_options *o = &c->options;
	return xprintf("%s %u %s %u", o->host, o->port, str_or(o->address, ""), o->address_port);
}

static char *address_text(const struct address *a) {
	char text[INET6_ADDRSTRLEN] = "";
	bool six = a->at.ss_family == AF_INET6;
	const struct sockaddr_in *four = (const void *)&a->at;
	const struct sockaddr_in6 *long_one = (const void *)&a->at;
	inet_ntop(a->at.ss_family, six ? (const void *)&long_one->sin6_addr : (const void *)&four->sin_addr, text, sizeof(text));
	return xprintf(six ? "[%s]:%u" : "%s:%u", text, ntohs(six ? long_one->sin6_port : four->sin_port));
}

/* The next of its addresses; where there is none left, the failure of the last is told. */
static void connect_next(struct call *c, int errnum) {
	while (c->next_address < c->address_count) {
		struct address *a = &c->addresses[c->next_address++];
		struct connection *connection = c->connection;
		loop_fd_remove(take_ptr(connection->watch));
		if (connection->fd >= 0)
			close(connection->fd);
		connection->fd = socket(a->at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		if (connection->fd < 0 || (connect(connection->fd, (struct sockaddr *)&a->at, a->len) < 0 && errno != EINPROGRESS)) {
			errnum = errno;
			continue;
		}
		setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
		c->state = CONNECTING;
		connection->watch = loop_add_fd(c->caller->loop, connection->fd, EPOLLOUT, on_ready, c);
		return;
	}
	autofree char *at = c->address_count ? address_text(&c->addresses[c->address_count - 1]) : xstrdup("");
	char first[128];
	const char *text = strerror_r(errnum, first, sizeof(first));
	autofree char *lower = xstrdup(text);
	if (*lower >= 'A' && *lower <= 'Z')
		*lower = (char)(*lower - 'A' + 'a');
	fail(c, errnum ? errnum : EIO, "dial tcp %s: connect: %s", at, lower);
}

static void connect_first(struct call *c, struct trust *take_trust) {
	struct connection *connection = xnew(struct connection);
	*connection = (struct connection){.caller = c->caller, .key = connection_key(c), .trust = take_trust, .fd = -1};
	list_init(&connection->link);
	c->connection = connection;
	c->next_address = 0;
	connect_next(c, 0);
}

/* ---- names ---- */

static const char *target_host(const struct call *c) {
	return c->options.address ? c->options.address : c->options.host;
}

static uint16_t target_port(const struct call *c) {
	return c->options.address ? c->options.address_port : c->options.port;
}

static void add_address(struct address *list, size_t *count, const struct sockaddr *at, socklen_t len) {
	if (*count == MAX_ADDRESSES || len > sizeof(list->at))
		return;
	struct address *a = &list[(*count)++];
	memcpy(&a->at, at, len);
	a->len = len;
}

static bool add_numeric(struct call *c, const char *text, uint16_t port) {
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	if (inet_pton(AF_INET, text, &four.sin_addr) == 1)
		add_address(c->addresses, &c->address_count, (struct sockaddr *)&four, sizeof(four));
	else if (inet_pton(AF_INET6, text, &six.sin6_addr) == 1)
		add_address(c->addresses, &c->address_count, (struct sockaddr *)&six, sizeof(six));
	else
		return false;
	return true;
}

static struct trust *trust_of(struct call *c) {
	return trust_get(c->caller, c->options.ca, c->options.ca_len);
}

static void on_looked_up(void *arg) {
	struct lookup *l = arg;
	struct call *c = l->call;
	if (c) {
		lookup_unref(take_ptr(c->lookup));
		l->call = NULL;
		c->state = IDLE;
		memcpy(c->addresses, l->addresses, sizeof(c->addresses));
		c->address_count = l->count;
		if (l->count)
			connect_first(c, trust_of(c));
		else
			fail(c, ENOENT, "dial tcp: lookup %s: %s", l->host, l->result == EAI_NONAME ? "no such host" : gai_strerror(l->result));
	}
	lookup_unref(l);
}

/* The resolver waits, and cannot be told to stop: whoever asked may be gone when it is done. */
static void *look_up(void *arg) {
	struct lookup *l = arg;
	char port[8];
	snprintf(port, sizeof(port), "%u", l->port);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG | AI_NUMERICSERV}, *found = NULL;
	l->result = getaddrinfo(l->host, port, &hints, &found);
	for (struct addrinfo *a = found; a; a = a->ai_next)
		add_address(l->addresses, &l->count, a->ai_addr, a->ai_addrlen);
	if (found)
		freeaddrinfo(found);
	pthread_mutex_lock(&lookup_lock);
	bool wanted = l->loop != NULL;
	if (wanted)
		loop_post(l->loop, on_looked_up, l);
	pthread_mutex_unlock(&lookup_lock);
	if (!wanted)
		lookup_unref(l);
	return NULL;
}

static bool start_lookup(struct call *c) {
	struct lookup *l = xnew(struct lookup);
	pthread_t thread;
	pthread_attr_t attr;
	*l = (struct lookup){.refs = 2, .loop = c->caller->loop, .call = c, .host = xstrdup(target_host(c)), .port = target_port(c)};
	pthread_mutex_lock(&lookup_lock);
	list_push_back(&c->caller->lookups, &l->link);
	pthread_mutex_unlock(&lookup_lock);
	c->lookup = l;
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, LOOKUP_STACK);
	int rc = pthread_create(&thread, &attr, look_up, l);
	pthread_attr_destroy(&attr);
	if (rc)
		lookup_unref(l);
	return rc == 0;
}

/* ---- starting ---- */

static void begin(struct call *c, bool fresh) {
	struct trust *trust = trust_of(c);
	autofree char *key = connection_key(c);
	c->connection = fresh ? NULL : connection_take(c->caller, key, trust);
	if (c->connection) {
		trust_unref(trust);
		c->state = SENDING;
		c->connection->watch = loop_add_fd(c->caller->loop, c->connection->fd, EPOLLOUT, on_ready, c);
		send_request(c);
		return;
	}
	c->address_count = 0;
	if (add_numeric(c, target_host(c), target_port(c))) {
		connect_first(c, trust);
		return;
	}
	trust_unref(trust);
	c->state = LOOKING_UP;
	if (!start_lookup(c)) {
		c->state = IDLE;
		fail(c, EAGAIN, "dial tcp: lookup %s: no thread for it", target_host(c));
	}
}

static void on_start(void *arg) {
	struct call *c = arg;
	list_push_back(&c->caller->calls, &c->link);
	if (c->caller->draining) {
		fail(c, ECANCELED, "context canceled");
		return;
	}
	c->timer = loop_timer_new(c->caller->loop, on_timeout, c);
	loop_timer_arm(c->timer, max_of(c->options.timeout_ns, (int64_t)1));
	begin(c, false);
}

void call_start(struct caller *caller, const struct call_options *options) {
	struct call *c = xnew(struct call);
	c->caller = caller;
	c->options = *options;
	c->options.host = xstrdup(options->host);
	c->options.address = options->address ? xstrdup(options->address) : NULL;
	c->options.target = xstrdup(options->target);
	c->options.body = NULL;
	void *ca = options->ca_len ? xmalloc(options->ca_len) : NULL;
	if (ca)
		memcpy(ca, options->ca, options->ca_len);
	c->options.ca = ca;
	list_init(&c->link);
	http_answer_init(&c->answer, CALL_MAX_ANSWER);
	c->out = BUF_INIT(BUF_MAX_DEFAULT);
	bool six = strchr(options->host, ':') != NULL;
	buf_printf(&c->out, "POST %s HTTP/1.1\r\nHost: %s%s%s:%u\r\nUser-Agent: kube-apiserver-admission\r\nContent-Length: %zu\r\nAccept: application/json, */*\r\nContent-Type: application/json\r\n\r\n", options->target,
		   six ? "[" : "", options->host, six ? "]" : "", options->port, options->body_len);
	buf_append(&c->out, options->body, options->body_len);
	loop_post(caller->loop, on_start, c);
}

/* ---- the caller ---- */

struct caller *caller_new(struct loop *loop) {
	struct caller *caller = xnew(struct caller);
	caller->loop = loop;
	list_init(&caller->calls);
	list_init(&caller->idle);
	list_init(&caller->trusts);
	list_init(&caller->lookups);
	return caller;
}

struct drain {
	struct caller *caller;
	sem_t done;
};

static void on_drain(void *arg) {
	struct drain *drain = arg;
	struct call *c;
	drain->caller->draining = true;
	list_for_each (c, &drain->caller->calls, link)
		fail(c, ECANCELED, "context canceled");
	while (!list_empty(&drain->caller->idle))
		drop_idle(list_first(&drain->caller->idle, struct connection, link));
	sem_post(&drain->done);
}

void caller_drain(struct caller *caller) {
	struct drain drain = {.caller = caller};
	if (!caller)
		return;
	sem_init(&drain.done, 0, 0);
	loop_post(caller->loop, on_drain, &drain);
	while (sem_wait(&drain.done) < 0 && errno == EINTR)
		;
	sem_destroy(&drain.done);
}

void caller_free(struct caller *caller) {
	if (!caller)
		return;
	pthread_mutex_lock(&lookup_lock);
	while (!list_empty(&caller->lookups)) {
		struct lookup *l = list_first(&caller->lookups, struct lookup, link);
		l->loop = NULL;
		list_remove(&l->link);
	}
	pthread_mutex_unlock(&lookup_lock);
	while (!list_empty(&caller->trusts))
		trust_drop(caller, list_first(&caller->trusts, struct trust, link));
	free(caller);
}
