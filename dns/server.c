/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/server.h"

#include "common/base/clock.h"
#include "common/base/list.h"
#include "common/base/metrics.h"
#include "dns/cache.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH 32
#define UDP_QUERY_MAX 4096
#define LISTENERS_MAX 8
#define PORT_TRIES 64

struct worker;

struct udp_listener {
	struct worker *worker;
	int fd;
	struct loop_fd *watch;
};

struct tcp_listener {
	struct worker *worker;
	int fd;
	struct loop_fd *watch;
};

struct connection {
	struct list link;
	struct worker *worker;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *idle;
	uint8_t *in;
	size_t have;
	struct buf out;
	unsigned asking; /* questions under way upstream: the connection is freed when the last has come back */
	bool dead;
};

struct worker {
	struct server *server;
	pthread_t thread;
	struct loop *loop;
	struct forwarder *forwarder;
	struct cache *cache;
	struct udp_listener udp[LISTENERS_MAX];
	struct tcp_listener tcp[LISTENERS_MAX];
	size_t listener_count;
	struct list connections;
	unsigned connection_count;
	uint8_t scratch[DNS_MESSAGE_MAX];
};

struct server {
	struct zone *zone;
	struct worker *workers;
	unsigned worker_count;
	uint16_t port;
};

/* Whoever asked, until the answer comes from upstream. */
struct asker {
	struct worker *worker;
	struct dns_question question;
	int udp_fd;
	struct sockaddr_storage from;
	socklen_t from_len;
	struct connection *connection; /* NULL: by UDP */
	bool external;                 /* put a CNAME from question.name to `target` in front */
	char target[DNS_NAME_TEXT_MAX];
};

static const char *const rcode_labels[] = {"proto", "rcode", NULL};
static struct metric dns_metrics[] = {
	{.name = "coredns_dns_responses_total", .help = "Answers by protocol and response code.", .kind = METRIC_COUNTER, .labels = rcode_labels},
	{.name = "coredns_forward_requests_total", .help = "Questions sent to other servers.", .kind = METRIC_COUNTER},
	{.name = "coredns_cache_hits_total", .help = "Answers taken from the cache.", .kind = METRIC_COUNTER},
};

static void count_answer(bool tcp, const uint8_t *message) {
	static const char *const names[16] = {"NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED"};
	metric_add(metric_label(&dns_metrics[0], tcp ? "tcp" : "udp", str_or(names[message[3] & 0xf], "other")), 1);
}

/* ---- TCP connections ---- */

static void connection_close(struct connection *c) {
	if (!c->dead) {
		c->dead = true;
		loop_fd_remove(take_ptr(c->watch));
		loop_timer_free(take_ptr(c->idle));
		close(take_fd(c->fd));
		list_remove(&c->link);
		c->worker->connection_count--;
	}
	if (c->asking)
		return;
	buf_done(&c->out);
	free(c->in);
	free(c);
}

static void connection_flush(struct connection *c) {
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			buf_reset(&c->out);
			loop_timer_arm(c->idle, 0); /* closes it from the loop: callers still hold it */
			return;
		}
		buf_consume(&c->out, (size_t)n);
	}
	loop_fd_set_events(c->watch, c->out.len ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void connection_send(struct connection *c, const uint8_t *message, size_t len) {
	const uint8_t prefix[2] = {(uint8_t)(len >> 8), (uint8_t)len};
	if (c->dead)
		return;
	count_answer(true, message);
	buf_append(&c->out, prefix, 2);
	buf_append(&c->out, message, len);
	if (buf_failed(&c->out)) { /* asks and does not read */
		loop_timer_arm(c->idle, 0);
		return;
	}
	connection_flush(c);
}

/* ---- answering ---- */

static void send_answer(struct asker *asker, const uint8_t *message, size_t len) {
	if (asker->connection) {
		connection_send(asker->connection, message, len);
		return;
	}
	count_answer(false, message);
	sendto(asker->udp_fd, message, len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)&asker->from, asker->from_len);
}

static size_t answer_limit(const struct asker *asker) {
	return asker->connection ? DNS_MESSAGE_MAX : asker->question.udp_size;
}

static size_t write_failure(const struct dns_question *question, int rcode, uint8_t *out) {
	struct dns_writer writer;
	dns_write_begin(&writer, out, DNS_UDP_DEFAULT, question, rcode, false);
	return dns_write_end(&writer);
}

/* Writes the upstream's answer anew for the asker: its question, its size, a CNAME in front for an external name. Only the kinds of record whose data we understand are rewritten. */
static size_t rewrite(const struct asker *asker, const uint8_t *answer, size_t len, uint8_t *out) {
	struct dns_writer writer;
	struct dns_reader reader;
	struct dns_record record;
	unsigned section;
	int rcode = answer[3] & 0xf;
	dns_write_begin(&writer, out, answer_limit(asker), &asker->question, asker->external ? DNS_NOERROR : rcode, false);
	if (asker->external)
		dns_write_name_record(&writer, 0, asker->question.name, DNS_CNAME, ZONE_TTL, NULL, 0, asker->target);
	if (dns_reader_init(&reader, answer, len)) {
		while (dns_reader_next(&reader, &record, &section) == 1) {
			char target[DNS_NAME_TEXT_MAX];
			size_t offset = record.data_offset;
			if (section != 0)
				continue;
			if (record.type == DNS_CNAME && dns_read_name(answer, len, &offset, target))
				dns_write_name_record(&writer, 0, record.name, DNS_CNAME, record.ttl, NULL, 0, target);
			else if (record.type == DNS_A || record.type == DNS_AAAA || record.type == DNS_TXT)
				dns_write_record(&writer, 0, record.name, record.type, record.ttl, answer + record.data_offset, record.data_len);
		}
	}
	return dns_write_end(&writer);
}

static void on_upstream(const uint8_t *answer, size_t len, void *arg) {
	struct asker *asker = arg;
	struct worker *worker = asker->worker;
	uint8_t *out = worker->scratch;
	size_t out_len;
	if (len < 12 && !asker->external) {
		out_len = write_failure(&asker->question, DNS_SERVFAIL, out);
	} else if (asker->external) {
		static const uint8_t nothing[12] = {0};
		out_len = rewrite(asker, len ? answer : nothing, len ? len : sizeof(nothing), out);
	} else {
		cache_put(worker->cache, &asker->question, answer, len);
		if (len <= answer_limit(asker) && len <= DNS_MESSAGE_MAX && len >= 12u + asker->question.wire_name_len) {
			memcpy(out, answer, len);
			out[0] = (uint8_t)(asker->question.id >> 8);
			out[1] = (uint8_t)asker->question.id;
			memcpy(out + 12, asker->question.wire_name, asker->question.wire_name_len);
			out_len = len;
		} else {
			out_len = rewrite(asker, answer, len, out);
		}
	}
	send_answer(asker, out, out_len);
	if (asker->connection) {
		asker->connection->asking--;
		if (asker->connection->dead)
			connection_close(asker->connection);
	}
	free(asker);
}

static void forward(const struct asker *from, const char *external_target) {
	struct asker *asker = xmemdup(from, sizeof(*from));
	struct dns_question question = asker->question;
	if (asker->connection)
		asker->connection->asking++;
	if (external_target) {
		asker->external = true;
		snprintf(asker->target, sizeof(asker->target), "%s", external_target);
		snprintf(question.name, sizeof(question.name), "%s", external_target);
		for (char *c = question.name; *c; c++)
			*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
		question.wire_name_len = (uint16_t)dns_name_to_wire(question.name, question.wire_name);
	}
	metric_add(metric_label(&dns_metrics[1]), 1);
	forward_ask(asker->worker->forwarder, &question, on_upstream, asker);
}

static void answer_query(struct asker *asker, const uint8_t *message, size_t len) {
	struct worker *worker = asker->worker;
	int rcode = dns_parse_query(message, len, &asker->question);
	if (rcode < 0)
		return;
	if (rcode != DNS_NOERROR) {
		asker->question.wire_name_len = 0;
		asker->question.edns = false;
		send_answer(asker, worker->scratch, write_failure(&asker->question, rcode, worker->scratch));
		return;
	}
	char target[DNS_NAME_TEXT_MAX];
	size_t out_len = 0;
	switch (zone_answer(worker->server->zone, &asker->question, worker->scratch, answer_limit(asker), &out_len, target)) {
	case ZONE_ANSWERED:
		send_answer(asker, worker->scratch, out_len);
		return;
	case ZONE_EXTERNAL:
		forward(asker, target);
		return;
	case ZONE_NOT_OURS:
		out_len = cache_get(worker->cache, &asker->question, worker->scratch, answer_limit(asker));
		if (!out_len) {
			forward(asker, NULL);
			return;
		}
		metric_add(metric_label(&dns_metrics[2]), 1);
		send_answer(asker, worker->scratch, out_len);
	}
}

/* ---- sockets ---- */

static void on_udp(uint32_t events, void *arg) {
	struct udp_listener *listener = arg;
	static __thread uint8_t buffers[BATCH][UDP_QUERY_MAX];
	struct mmsghdr messages[BATCH];
	struct iovec parts[BATCH];
	struct sockaddr_storage from[BATCH];
	memset(messages, 0, sizeof(messages));
	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){.iov_base = buffers[i], .iov_len = UDP_QUERY_MAX};
		messages[i].msg_hdr = (struct msghdr){.msg_name = &from[i], .msg_namelen = sizeof(from[i]), .msg_iov = &parts[i], .msg_iovlen = 1};
	}
	int n = recvmmsg(listener->fd, messages, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		struct asker asker = {.worker = listener->worker, .udp_fd = listener->fd, .from = from[i], .from_len = messages[i].msg_hdr.msg_namelen};
		answer_query(&asker, buffers[i], messages[i].msg_len);
	}
}

static void on_idle(void *arg) {
	connection_close(arg);
}

static void on_connection(uint32_t events, void *arg) {
	struct connection *c = arg;
	if (events & EPOLLOUT)
		connection_flush(c);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	ssize_t n = recv(c->fd, c->in + c->have, 2 + DNS_MESSAGE_MAX - c->have, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_close(c);
		return;
	}
	c->have += (size_t)n;
	loop_timer_arm(c->idle, SERVER_TCP_IDLE_NS);
	size_t at = 0;
	while (c->have - at >= 2) {
		size_t len = (size_t)(c->in[at] << 8 | c->in[at + 1]);
		if (c->have - at < 2 + len)
			break;
		struct asker asker = {.worker = c->worker, .connection = c};
		answer_query(&asker, c->in + at + 2, len);
		at += 2 + len;
	}
	memmove(c->in, c->in + at, c->have - at);
	c->have -= at;
}

static void on_accept(uint32_t events, void *arg) {
	struct tcp_listener *listener = arg;
	struct worker *worker = listener->worker;
	int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return;
	if (worker->connection_count >= SERVER_TCP_MAX) {
		close(fd);
		return;
	}
	struct connection *c = xnew(struct connection);
	*c = (struct connection){.worker = worker, .fd = fd, .in = xmalloc(2 + DNS_MESSAGE_MAX), .out = BUF_INIT(4 * DNS_MESSAGE_MAX)};
	list_push_back(&worker->connections, &c->link);
	worker->connection_count++;
	c->watch = loop_add_fd(worker->loop, fd, EPOLLIN, on_connection, c);
	c->idle = loop_timer_new(worker->loop, on_idle, c);
	loop_timer_arm(c->idle, SERVER_TCP_IDLE_NS);
}

static int open_socket(const char *address, uint16_t port, int type, uint16_t *ret_port, struct error *err) {
	struct sockaddr_storage at = {0};
	struct sockaddr_in *in4 = (struct sockaddr_in *)(void *)&at;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&at;
	socklen_t len;
	if (inet_pton(AF_INET, address, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons(port);
		len = sizeof(*in4);
	} else if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		len = sizeof(*in6);
	} else {
		return error_set(err, EINVAL, "\"%s\" is no address to listen on", address);
	}
	autoclose int fd = socket(at.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int on = 1;
	if (fd < 0)
		return error_set_errno(err, errno, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (at.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, len) < 0 || (type == SOCK_STREAM && listen(fd, 128) < 0))
		return error_set_errno(err, errno, "listen on %s port %u", address, port);
	if (getsockname(fd, (struct sockaddr *)&at, &len) == 0)
		*ret_port = ntohs(at.ss_family == AF_INET6 ? in6->sin6_port : in4->sin_port);
	return take_fd(fd);
}

/*
 * A UDP and a TCP socket of the same port. Where the kernel is to choose (port 0), it chooses for UDP alone, and that number may be somebody's TCP connection: then again
 * with another.
 */
static int open_pair(const char *address, uint16_t port, uint16_t *ret_port, int *ret_udp, int *ret_tcp, struct error *err) {
	for (int left = port ? 0 : PORT_TRIES;; left--) {
		int udp = open_socket(address, port, SOCK_DGRAM, ret_port, err);
		if (udp < 0)
			return udp;
		int tcp = open_socket(address, *ret_port, SOCK_STREAM, ret_port, err);
		if (tcp >= 0) {
			*ret_udp = udp;
			*ret_tcp = tcp;
			return 0;
		}
		close(udp);
		if (tcp != -EADDRINUSE || left == 0)
			return tcp;
		error_done(err);
	}
}

static int worker_listen(struct worker *worker, const char *const *addresses, uint16_t port, struct error *err) {
	for (size_t i = 0; addresses[i]; i++) {
		if (worker->listener_count == LISTENERS_MAX)
			return error_set(err, E2BIG, "more than %d addresses to listen on", LISTENERS_MAX);
		uint16_t chosen = port;
		int udp, tcp, r = open_pair(addresses[i], port, &chosen, &udp, &tcp, err);
		if (r < 0)
			return r;
		worker->server->port = chosen;
		size_t n = worker->listener_count++;
		worker->udp[n] = (struct udp_listener){.worker = worker, .fd = udp};
		worker->tcp[n] = (struct tcp_listener){.worker = worker, .fd = tcp};
		worker->udp[n].watch = loop_add_fd(worker->loop, udp, EPOLLIN, on_udp, &worker->udp[n]);
		worker->tcp[n].watch = loop_add_fd(worker->loop, tcp, EPOLLIN, on_accept, &worker->tcp[n]);
	}
	return 0;
}

static void worker_done(struct worker *worker) {
	forwarder_free(worker->forwarder);
	while (!list_empty(&worker->connections))
		connection_close(list_first(&worker->connections, struct connection, link));
	for (size_t i = 0; i < worker->listener_count; i++) {
		loop_fd_remove(worker->udp[i].watch);
		loop_fd_remove(worker->tcp[i].watch);
		close(worker->udp[i].fd);
		close(worker->tcp[i].fd);
	}
	cache_free(worker->cache);
	loop_free(worker->loop);
}

static void *worker_run(void *arg) {
	loop_run(((struct worker *)arg)->loop);
	return NULL;
}

int server_start(const struct server_options *options, struct server **ret, struct error *err) {
	static atomic_flag registered = ATOMIC_FLAG_INIT;
	if (!atomic_flag_test_and_set(&registered))
		metrics_register(dns_metrics, array_len(dns_metrics));
	struct server *server = xnew(struct server);
	server->zone = options->zone;
	server->workers = xcalloc(options->threads, sizeof(*server->workers));
	int r = 0;
	unsigned made = 0;
	for (; made < options->threads && r == 0; made++) {
		struct worker *worker = &server->workers[made];
		worker->server = server;
		worker->loop = loop_new();
		worker->cache = cache_new();
		worker->forwarder = forwarder_new(worker->loop, &options->upstreams);
		list_init(&worker->connections);
		r = worker_listen(worker, options->addresses, made ? server->port : options->port, err);
	}
	if (r < 0) {
		for (unsigned i = 0; i < made; i++)
			worker_done(&server->workers[i]);
		free(server->workers);
		free(server);
		return r;
	}
	for (; server->worker_count < made; server->worker_count++)
		if (pthread_create(&server->workers[server->worker_count].thread, NULL, worker_run, &server->workers[server->worker_count]) != 0)
			abort();
	*ret = server;
	return 0;
}

uint16_t server_port(const struct server *server) {
	return server->port;
}

void server_stop(struct server *server) {
	if (!server)
		return;
	for (unsigned i = 0; i < server->worker_count; i++) {
		loop_stop(server->workers[i].loop);
		pthread_join(server->workers[i].thread, NULL);
		worker_done(&server->workers[i]);
	}
	free(server->workers);
	free(server);
}
