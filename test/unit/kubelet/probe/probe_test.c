/* SPDX-License-Identifier: Apache-2.0 */
/* What checks find, and the words they say it in, over loopback. */
#include "kubelet/grpc/server.h"
#include "kubelet/probe/checks.h"

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#define SAY_MAX 256

/* A port on which nobody accepts what comes; closed, it refuses. */
static int open_port(uint16_t *ret_port) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static void expect(const struct probe_check *check, const struct core_v1_probe_handler *handler, int timeout_ms, enum probe_result result, const char *fmt, uint16_t port) {
	static const struct core_v1_container container;
	const struct probe_target target = {.container = &container, .handler = handler, .pod_ip = "127.0.0.1", .timeout_ms = timeout_ms};
	autobuf struct buf output = BUF_INIT(PROBE_MAX_OUTPUT);
	char said[SAY_MAX];
	assert_int_equal(check->run(&target, &output), result);
	buf_append_char(&output, '\0');
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(said, sizeof(said), fmt, port, port);
#pragma GCC diagnostic pop
	assert_string_equal(output.data, said);
}

static void test_refused(void **state) {
	uint16_t port;
	close(open_port(&port));
	struct core_v1_http_get_action http = {.port = {.num = port}, .path = "/x"};
	struct core_v1_tcp_socket_action tcp = {.port = {.num = port}};
	struct core_v1_grpc_action grpc = {.port = port};
	expect(&probe_http, &(struct core_v1_probe_handler){.http_get = &http}, 5000, PROBE_FAILURE, "Get \"http://127.0.0.1:%u/x\": dial tcp 127.0.0.1:%u: connect: connection refused", port);
	expect(&probe_tcp, &(struct core_v1_probe_handler){.tcp_socket = &tcp}, 5000, PROBE_FAILURE, "dial tcp 127.0.0.1:%u: connect: connection refused", port);
	expect(&probe_grpc, &(struct core_v1_probe_handler){.grpc = &grpc}, 5000, PROBE_FAILURE, "timeout: failed to connect service \"127.0.0.1:%u\" within 5s: context deadline exceeded", port);
}

static void test_silent(void **state) {
	uint16_t port;
	autoclose int fd = open_port(&port);
	struct core_v1_http_get_action http = {.port = {.num = port}, .path = "/x"};
	struct core_v1_tcp_socket_action tcp = {.port = {.num = port}};
	struct core_v1_grpc_action grpc = {.port = port};
	expect(&probe_http, &(struct core_v1_probe_handler){.http_get = &http}, 200, PROBE_FAILURE, "Get \"http://127.0.0.1:%u/x\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)", port);
	expect(&probe_tcp, &(struct core_v1_probe_handler){.tcp_socket = &tcp}, 5000, PROBE_SUCCESS, "", port);
	expect(&probe_grpc, &(struct core_v1_probe_handler){.grpc = &grpc}, 200, PROBE_FAILURE, "timeout: health rpc did not complete within 200ms", port);
}

/* ---- a health service, on a socket that a thread relays to ---- */

static char folder[64], socket_path[96];

static enum grpc_code answer(const char *method, const void *request, size_t len, struct buf *ret, void *arg, struct error *err) {
	struct cursor c = cursor_of(request, len);
	struct proto_field field;
	autofree char *service = proto_next(&c, &field) ? proto_text(&field) : xstrdup("");
	assert_string_equal(method, "/grpc.health.v1.Health/Check");
	if (str_equal(service, "absent")) {
		error_set(err, 2, "unknown service");
		return GRPC_NOT_FOUND;
	}
	if (str_equal(service, "none")) {
		error_set(err, 2, "unknown method");
		return GRPC_UNIMPLEMENTED;
	}
	proto_put_number(ret, 1, str_equal(service, "sick") ? 2 : 1);
	return GRPC_OK;
}

static bool pump(int from, int to) {
	char bytes[4096];
	ssize_t n = read(from, bytes, sizeof(bytes));
	return n > 0 && write(to, bytes, (size_t)n) == n;
}

/* One connection after the other, until the port is closed. */
static void *relay(void *arg) {
	int port = *(int *)arg, outside;
	while ((outside = accept(port, NULL, NULL)) >= 0) {
		struct sockaddr_un address = {.sun_family = AF_UNIX};
		snprintf(address.sun_path, sizeof(address.sun_path), "%s", socket_path);
		int inside = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		bool open = connect(inside, (struct sockaddr *)&address, sizeof(address)) == 0;
		while (open) {
			struct pollfd fds[] = {{.fd = outside, .events = POLLIN}, {.fd = inside, .events = POLLIN}};
			open = poll(fds, 2, -1) > 0 && (!fds[0].revents || pump(outside, inside)) && (!fds[1].revents || pump(inside, outside));
		}
		close(inside);
		close(outside);
	}
	return NULL;
}

static void test_grpc_health(void **state) {
	static const struct { const char *service; enum probe_result result; const char *said; } rows[] = {
		{NULL, PROBE_SUCCESS, ""},
		{"well", PROBE_SUCCESS, ""},
		{"sick", PROBE_FAILURE, "service unhealthy (responded with \"NOT_SERVING\")"},
		{"absent", PROBE_FAILURE, "error: health rpc probe failed: rpc error: code = NotFound desc = unknown service"},
		{"none", PROBE_FAILURE, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): unknown method"},
	};
	struct grpc_server *server;
	pthread_t thread;
	uint16_t port;
	snprintf(folder, sizeof(folder), "/tmp/probe-test-XXXXXX");
	assert_non_null(mkdtemp(folder));
	snprintf(socket_path, sizeof(socket_path), "%s/health.sock", folder);
	assert_int_equal(grpc_server_start(socket_path, answer, NULL, &server, NULL), 0);
	int fd = open_port(&port);
	assert_int_equal(pthread_create(&thread, NULL, relay, &fd), 0);
	for (size_t i = 0; i < array_len(rows); i++) {
		struct core_v1_grpc_action action = {.port = port, .service = rows[i].service};
		expect(&probe_grpc, &(struct core_v1_probe_handler){.grpc = &action}, 20000, rows[i].result, rows[i].said, port);
	}
	shutdown(fd, SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd);
	grpc_server_stop(server);
	rmdir(folder);
}

int main(void) {
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused), cmocka_unit_test(test_silent), cmocka_unit_test(test_grpc_health)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
