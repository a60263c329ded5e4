/* SPDX-License-Identifier: Apache-2.0 */
#include "common/daemon/daemon.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/http/http.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CHECKS_MAX 32
#define ANSWER_MAX (1u << 16)
#define METRICS_MAX (16u << 20)

struct check {
	const char *name;
	bool ready_only;
	bool (*fn)(void *arg, struct error *err);
	void *arg;
};

struct daemon {
	const struct daemon_program *program;
	struct http_server *server;
	pthread_mutex_t lock; /* checks */
	struct check checks[CHECKS_MAX];
	size_t check_count;
	atomic_bool ready;
	atomic_int exit_code;
	int signal_fd, stop_fd;
};

/* ---- systemd: sd_notify(3)'s protocol is one datagram ---- */

static void notify_systemd(const char *text) {
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = {.sun_family = AF_UNIX};
	if (str_empty(path) || strlen(path) >= sizeof(to.sun_path))
		return;
	memcpy(to.sun_path, path, strlen(path));
	if (to.sun_path[0] == '@')
		to.sun_path[0] = '\0';
	autoclose int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path)));
}

/* Half the watchdog's time, or -1 where there is none. */
static int watchdog_ms(void) {
	int64_t usec;
	const char *text = getenv("WATCHDOG_USEC");
	if (!text || !str_to_int64(text, 1000, INT32_MAX * 1000ll, &usec))
		return -1;
	return (int)(usec / 2000);
}

/* ---- health and metrics ---- */

static bool run_check(struct daemon *daemon, const struct check *check, struct error *err) {
	return check->fn(check->arg, err);
}

static void answer_health(struct daemon *daemon, struct http_request *req, bool readiness) {
	autobuf struct buf out = BUF_INIT(ANSWER_MAX);
	bool good = true, verbose = http_query(req, "verbose") != NULL;
	const char *name = http_path(req) + 1;
	pthread_mutex_lock(&daemon->lock);
	for (size_t i = 0; i < daemon->check_count; i++) {
		const struct check *check = &daemon->checks[i];
		autoerror struct error err = {0};
		if (check->ready_only && !readiness)
			continue;
		bool holds = run_check(daemon, check, &err);
		good &= holds;
		buf_printf(&out, "[%c]%s %s\n", holds ? '+' : '-', check->name, holds ? "ok" : "failed: reason withheld");
	}
	pthread_mutex_unlock(&daemon->lock);
	if (readiness && !atomic_load(&daemon->ready)) {
		good = false;
		buf_append_str(&out, "[-]startup failed: reason withheld\n");
	}
	buf_printf(&out, "%s check %s\n", name, good ? "passed" : "failed");
	if (good && !verbose) {
		http_respond(req, 200, "text/plain; charset=utf-8", "ok", 2);
		return;
	}
	http_respond(req, good ? 200 : 500, "text/plain; charset=utf-8", out.data, out.len);
}

static void handle(struct http_request *req, void *arg) {
	struct daemon *daemon = arg;
	const char *path = http_path(req);
	if (!str_equal(http_method(req), "GET") && !str_equal(http_method(req), "HEAD")) {
		http_respond(req, 405, "text/plain", "method not allowed\n", 19);
	} else if (str_equal(path, "/healthz") || str_equal(path, "/livez")) {
		answer_health(daemon, req, false);
	} else if (str_equal(path, "/readyz")) {
		answer_health(daemon, req, true);
	} else if (str_equal(path, "/metrics")) {
		autobuf struct buf out = BUF_INIT(METRICS_MAX);
		metrics_write(&out);
		http_respond(req, 200, "text/plain; version=0.0.4; charset=utf-8", out.data, out.len);
	} else {
		http_respond(req, 404, "text/plain", "404 page not found\n", 19);
	}
}

static int start_server(struct daemon *daemon, const struct daemon_options *options, struct error *err) {
	int64_t port = options->secure_port < 0 ? daemon->program->default_port : options->secure_port;
	if (!port)
		return 0;
	struct http_server_options server = HTTP_SERVER_OPTIONS_INIT;
	server.bind_address = options->bind_address;
	server.port = (uint16_t)port;
	server.tls = !str_empty(options->tls_cert_file);
	server.cert_file = options->tls_cert_file;
	server.key_file = options->tls_key_file;
	server.threads = 1;
	server.max_body = 4096;
	server.max_connections = 64;
	server.memory_limit = 32u << 20;
	server.handler = handle;
	server.arg = daemon;
	if (!server.tls)
		server.bind_address = "127.0.0.1"; /* plain text is for this machine only */
	return http_server_start(&server, &daemon->server, err);
}

uint16_t daemon_port(const struct daemon *daemon) {
	return daemon->server ? http_server_port(daemon->server) : 0;
}

/* ---- life ---- */

/* Prints what --help and --version ask for. Returns true where one was there. */
static bool answered_by_text(const struct daemon_program *program, int argc, char **argv) {
	for (int i = 1; i < argc; i++) {
		if (str_equal(argv[i], "--help") || str_equal(argv[i], "-h")) {
			flags_print_help(stdout, program->name, program->summary, program->flags, program->flag_count);
			return true;
		}
		if (str_equal(argv[i], "--version") || str_equal(argv[i], "--version=true")) {
			printf("%s %s (Kubernetes v1.36)\n", program->name, CORACLE_VERSION);
			return true;
		}
	}
	return false;
}

int daemon_start(const struct daemon_program *program, int argc, char **argv, void *options, struct daemon **ret) {
	autoerror struct error err = {0};
	if (answered_by_text(program, argc, argv))
		return 1;
	if (flags_parse(program->flags, program->flag_count, argc, argv, options, NULL, &err) < 0) {
		fprintf(stderr, "%s: %s\n", program->name, error_message(&err));
		return 1 + 2;
	}
	const struct daemon_options *common = (const void *)((const char *)options + program->common_offset);
	log_init(STDERR_FILENO, str_equal(common->logging_format, "json") ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, (int)common->verbosity);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	struct daemon *daemon = xnew(struct daemon);
	daemon->program = program;
	pthread_mutex_init(&daemon->lock, NULL);
	daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	daemon->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int r = start_server(daemon, common, &err);
	if (r < 0) {
		log_error("health server does not start", LOG_ERR(&err));
		daemon_free(daemon);
		return r;
	}
	log_info("starting", LOG_STR("program", program->name), LOG_STR("version", CORACLE_VERSION));
	*ret = daemon;
	return 0;
}

void daemon_free(struct daemon *daemon) {
	if (!daemon)
		return;
	http_server_stop(daemon->server, 0);
	close(daemon->signal_fd);
	close(daemon->stop_fd);
	pthread_mutex_destroy(&daemon->lock);
	free(daemon);
}

void daemon_add_check(struct daemon *daemon, const char *name, bool ready_only, bool (*fn)(void *arg, struct error *err), void *arg) {
	pthread_mutex_lock(&daemon->lock);
	if (daemon->check_count < CHECKS_MAX)
		daemon->checks[daemon->check_count++] = (struct check){name, ready_only, fn, arg};
	pthread_mutex_unlock(&daemon->lock);
}

void daemon_ready(struct daemon *daemon) {
	atomic_store(&daemon->ready, true);
	notify_systemd("READY=1\n");
	log_info("ready", LOG_STR("program", daemon->program->name));
}

void daemon_wait(struct daemon *daemon) {
	int beat = watchdog_ms();
	struct pollfd fds[2] = {{.fd = daemon->signal_fd, .events = POLLIN}, {.fd = daemon->stop_fd, .events = POLLIN}};
	for (;;) {
		int n = poll(fds, 2, beat);
		if (beat > 0)
			notify_systemd("WATCHDOG=1\n");
		if (n > 0)
			break;
		if (n < 0 && errno != EINTR)
			break;
	}
	atomic_store(&daemon->ready, false);
	notify_systemd("STOPPING=1\n");
	struct signalfd_siginfo info;
	if (read(daemon->signal_fd, &info, sizeof(info)) == sizeof(info))
		log_info("stopping", LOG_INT("signal", info.ssi_signo));
	uint64_t one = 1;
	if (write(daemon->stop_fd, &one, sizeof(one)) < 0)
		log_warning("stop not told", LOG_INT("errno", errno));
}

void daemon_stop(struct daemon *daemon, int exit_code) {
	uint64_t one = 1;
	atomic_store(&daemon->exit_code, exit_code);
	if (write(daemon->stop_fd, &one, sizeof(one)) < 0)
		log_warning("stop not told", LOG_INT("errno", errno));
}

int daemon_exit_code(const struct daemon *daemon) {
	return atomic_load(&daemon->exit_code);
}

int daemon_stop_fd(const struct daemon *daemon) {
	return daemon->stop_fd;
}
