/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/forward.h"

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#define TRY_NS (1500 * NSEC_PER_MSEC)
#define TRIES_MAX 3

struct pending {
	struct list link;
	struct forwarder *forwarder;
	struct dns_question question;
	uint16_t id;
	size_t upstream; /* index */
	unsigned tries;
	bool tcp;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *timer;
	uint8_t *buffer; /* TCP: what came so far */
	size_t have;
	uint8_t query[2 + 12 + DNS_NAME_MAX + 4 + 11]; /* with TCP's length in front */
	size_t query_len;
	size_t sent;
	void (*done)(const uint8_t *answer, size_t len, void *arg);
	void *arg;
};

struct forwarder {
	struct loop *loop;
	struct forward_upstreams upstreams;
	struct list pending;
	size_t pending_count;
	size_t preferred; /* the upstream that answered last */
};

bool forward_upstreams_add(struct forward_upstreams *upstreams, const char *text) {
	char address[64];
	int64_t port = 53;
	const char *end = strrchr(text, ':');
	bool bracket = *text == '[';
	if (bracket || (end && strchr(text, ':') == end)) {
		const char *close = bracket ? strchr(text, ']') : end;
		if (!close || (bracket && close[1] == ':' ? !str_to_int64(close + 2, 1, 65535, &port) : !bracket && !str_to_int64(end + 1, 1, 65535, &port)))
			return false;
		size_t len = (size_t)(close - text) - bracket;
		if (len >= sizeof(address))
			return false;
		memcpy(address, text + bracket, len);
		address[len] = '\0';
	} else if (strlen(text) < sizeof(address)) {
		memcpy(address, text, strlen(text) + 1);
	} else {
		return false;
	}
	if (upstreams->len == FORWARD_UPSTREAMS_MAX)
		return false;
	struct sockaddr_storage *out = &upstreams->items[upstreams->len];
	memset(out, 0, sizeof(*out));
	struct sockaddr_in *in4 = (struct sockaddr_in *)(void *)out;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)out;
	if (inet_pton(AF_INET, address, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)port);
	} else if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
	} else {
		return false;
	}
	upstreams->len++;
	return true;
}

void forward_upstreams_read(struct forward_upstreams *upstreams, const char *resolv_conf_text, const char *const *own) {
	autofree char *text = xstrdup(resolv_conf_text);
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *words = NULL;
		char *keyword = strtok_r(line, " \t\r", &words);
		char *address = keyword ? strtok_r(NULL, " \t\r", &words) : NULL;
		bool is_own = false;
		if (!address || !str_equal(keyword, "nameserver"))
			continue;
		for (size_t i = 0; own && own[i]; i++)
			is_own |= str_equal(own[i], address);
		if (!is_own)
			forward_upstreams_add(upstreams, address);
	}
}

struct forwarder *forwarder_new(struct loop *loop, const struct forward_upstreams *upstreams) {
	struct forwarder *forwarder = xnew(struct forwarder);
	forwarder->loop = loop;
	forwarder->upstreams = *upstreams;
	list_init(&forwarder->pending);
	return forwarder;
}

static void hang_up(struct pending *p) {
	loop_fd_remove(take_ptr(p->watch));
	if (p->fd >= 0)
		close(take_fd(p->fd));
	free(take_ptr(p->buffer));
	p->have = p->sent = 0;
}

static void finish(struct pending *p, const uint8_t *answer, size_t len) {
	struct forwarder *forwarder = p->forwarder;
	if (len)
		forwarder->preferred = p->upstream;
	p->done(answer, len, p->arg);
	list_remove(&p->link);
	forwarder->pending_count--;
	hang_up(p);
	loop_timer_free(p->timer);
	free(p);
}

void forwarder_free(struct forwarder *forwarder) {
	if (!forwarder)
		return;
	while (!list_empty(&forwarder->pending))
		finish(list_first(&forwarder->pending, struct pending, link), NULL, 0);
	free(forwarder);
}

static void make_query(struct pending *p) {
	uint8_t *m = p->query + 2;
	const struct dns_question *q = &p->question;
	random_bytes(&p->id, sizeof(p->id));
	memset(m, 0, 12);
	m[0] = (uint8_t)(p->id >> 8);
	m[1] = (uint8_t)p->id;
	m[2] = DNS_FLAG_RD >> 8;
	m[5] = 1;
	m[11] = 1;
	size_t at = 12;
	memcpy(m + at, q->wire_name, q->wire_name_len);
	at += q->wire_name_len;
	const uint8_t tail[4] = {(uint8_t)(q->type >> 8), (uint8_t)q->type, (uint8_t)(q->class >> 8), (uint8_t)q->class};
	memcpy(m + at, tail, 4);
	at += 4;
	const uint8_t opt[11] = {0, 0, DNS_OPT, DNS_UDP_MAX >> 8, DNS_UDP_MAX & 0xff, 0, 0, q->dnssec_ok ? 0x80 : 0, 0, 0, 0};
	memcpy(m + at, opt, sizeof(opt));
	at += sizeof(opt);
	p->query[0] = (uint8_t)(at >> 8);
	p->query[1] = (uint8_t)at;
	p->query_len = at + 2;
}

/* An answer counts only with our id, our question, and from the address we asked (the socket is connected). */
static bool is_answer(const struct pending *p, const uint8_t *m, size_t len) {
	size_t offset = 12;
	char name[DNS_NAME_TEXT_MAX];
	if (len < 12 || m[0] != (uint8_t)(p->id >> 8) || m[1] != (uint8_t)p->id || !(m[2] & 0x80) || m[4] != 0 || m[5] != 1)
		return false;
	return dns_read_name(m, len, &offset, name) && offset + 4 <= len && str_equal(name, p->question.name) &&
		(m[offset] << 8 | m[offset + 1]) == p->question.type;
}

static void try_upstream(struct pending *p);

static void next_try(struct pending *p) {
	hang_up(p);
	if (++p->tries >= TRIES_MAX || !p->forwarder->upstreams.len) {
		finish(p, NULL, 0);
		return;
	}
	p->tcp = false;
	p->upstream = (p->upstream + 1) % p->forwarder->upstreams.len;
	try_upstream(p);
}

static void on_timer(void *arg) {
	next_try(arg);
}

static void on_udp(uint32_t events, void *arg) {
	struct pending *p = arg;
	uint8_t answer[4096];
	ssize_t len = recv(p->fd, answer, sizeof(answer), MSG_DONTWAIT);
	if (len < 0) {
		if (errno != EAGAIN && errno != EINTR)
			next_try(p); /* port unreachable: do not wait for the time-out */
		return;
	}
	if (!is_answer(p, answer, (size_t)len))
		return; /* a forgery, or late: the true one may still come */
	if (answer[2] & (DNS_FLAG_TC >> 8)) {
		hang_up(p);
		p->tcp = true;
		try_upstream(p);
		return;
	}
	int rcode = answer[3] & 0xf;
	if ((rcode == DNS_SERVFAIL || rcode == DNS_REFUSED) && p->tries + 1 < TRIES_MAX && p->forwarder->upstreams.len > 1) {
		next_try(p);
		return;
	}
	finish(p, answer, (size_t)len);
}

static void on_tcp(uint32_t events, void *arg) {
	struct pending *p = arg;
	if (p->sent < p->query_len) {
		ssize_t n = send(p->fd, p->query + p->sent, p->query_len - p->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			next_try(p);
			return;
		}
		p->sent += n > 0 ? (size_t)n : 0;
		if (p->sent == p->query_len)
			loop_fd_set_events(p->watch, EPOLLIN);
		return;
	}
	if (!p->buffer)
		p->buffer = xmalloc(2 + DNS_MESSAGE_MAX);
	size_t want = p->have < 2 ? 2 : 2 + (size_t)(p->buffer[0] << 8 | p->buffer[1]);
	ssize_t n = recv(p->fd, p->buffer + p->have, want - p->have, MSG_DONTWAIT);
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		next_try(p);
		return;
	}
	p->have += n > 0 ? (size_t)n : 0;
	if (p->have < 2)
		return;
	size_t len = (size_t)(p->buffer[0] << 8 | p->buffer[1]);
	if (p->have < 2 + len)
		return;
	if (!is_answer(p, p->buffer + 2, len)) {
		next_try(p);
		return;
	}
	finish(p, p->buffer + 2, len);
}

static void try_upstream(struct pending *p) {
	const struct sockaddr_storage *to = &p->forwarder->upstreams.items[p->upstream];
	socklen_t len = to->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
	make_query(p);
	loop_timer_arm(p->timer, TRY_NS);
	p->fd = socket(to->ss_family, (p->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || (connect(p->fd, (const struct sockaddr *)to, len) < 0 && errno != EINPROGRESS))
		return; /* the timer goes on to the next: never call back from inside, the depth would not be bounded */
	if (p->tcp) {
		p->watch = loop_add_fd(p->forwarder->loop, p->fd, EPOLLOUT, on_tcp, p);
		return;
	}
	if (send(p->fd, p->query + 2, p->query_len - 2, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		p->watch = loop_add_fd(p->forwarder->loop, p->fd, EPOLLIN, on_udp, p);
}

void forward_ask(struct forwarder *forwarder, const struct dns_question *question, void (*done)(const uint8_t *answer, size_t len, void *arg), void *arg) {
	if (!forwarder->upstreams.len || forwarder->pending_count >= FORWARD_PENDING_MAX) {
		done(NULL, 0, arg);
		return;
	}
	struct pending *p = xnew(struct pending);
	*p = (struct pending){.forwarder = forwarder, .question = *question, .upstream = forwarder->preferred % forwarder->upstreams.len, .fd = -1, .done = done, .arg = arg};
	list_push_back(&forwarder->pending, &p->link);
	forwarder->pending_count++;
	p->timer = loop_timer_new(forwarder->loop, on_timer, p);
	try_upstream(p);
}
