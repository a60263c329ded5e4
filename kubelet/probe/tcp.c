/* SPDX-License-Identifier: Apache-2.0 */
/* tcpSocket: a connection that opens is success. */
#include "kubelet/probe/checks.h"

#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

static bool handles(const struct core_v1_probe_handler *handler) {
	return handler->tcp_socket;
}

static int try_connect(const struct addrinfo *address, int timeout_ms) {
	autoclose int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
		return 0;
	if (errno != EINPROGRESS)
		return -errno;
	struct pollfd ready = {.fd = fd, .events = POLLOUT};
	if (poll(&ready, 1, timeout_ms) <= 0)
		return -ETIMEDOUT;
	int problem = 0;
	socklen_t len = sizeof(problem);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &problem, &len) < 0)
		return -errno;
	return -problem;
}

static enum probe_result run(const struct probe_target *target, struct buf *output) {
	const struct core_v1_tcp_socket_action *action = target->handler->tcp_socket;
	const char *host = str_or(action->host, target->pod_ip);
	char port[16];
	uint16_t number = probe_port(target->container, &action->port);
	if (!number || str_empty(host)) {
		buf_append_str(output, "invalid port or no address");
		return PROBE_UNKNOWN;
	}
	snprintf(port, sizeof(port), "%u", number);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *addresses = NULL;
	if (getaddrinfo(host, port, &hints, &addresses) != 0) {
		buf_printf(output, "dial tcp: lookup %s: no such host", host);
		return PROBE_FAILURE;
	}
	int r = try_connect(addresses, target->timeout_ms);
	freeaddrinfo(addresses);
	if (r < 0)
		buf_printf(output, "dial tcp %s:%s: %s", host, port, r == -ETIMEDOUT ? "i/o timeout" : r == -ECONNREFUSED ? "connect: connection refused" : strerror(-r));
	return r < 0 ? PROBE_FAILURE : PROBE_SUCCESS;
}

const struct probe_check probe_tcp = {.name = "tcp", .handles = handles, .run = run};
