/* SPDX-License-Identifier: Apache-2.0 */
/* The start of every daemon, and its end. */
#include "common/daemon/daemon.h"

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/trim.h"
#include "common/daemon/health.h"
#include "common/daemon/notify.h"
#include "common/http/selfsigned.h"

#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum {
	MALLOC_ARENAS = 2, /* threads of ours allocate little and short: an arena for each would only hold memory */
	REQUEST_MAX = 4096,
	CONNECTIONS_MAX = 256,
	BUFFERED_MAX = 64 << 20,
	EXIT_BAD_FLAGS = 2,
	PAGE_MAX = 1 << 20,
};
#define PLAIN_TEXT "text/plain; charset=utf-8"
#define NOT_YET "the server does not let clients in yet\n"
#define OWN_PREFIX "coracle-"

struct daemon {
	const struct daemon_program *program;
	const void *options;
	struct wall_time started;
	struct http_server *server;
	bool plain;
	struct health *health;
	struct selfsigned own; /* kept open: it is read again when the client CA changes */
	pthread_mutex_t lock;  /* guards handler, arg */
	http_handler handler;
	void *arg;
	_Atomic(struct guard *) guard; /* NULL: nobody is let in yet */
	atomic_bool ready;
	atomic_int exit_code;
	int signal_fd, stop_fd;
};

static bool is_guarded(const struct daemon *daemon)
{
	return daemon->program->default_port & DAEMON_GUARDED;
}

static bool is_loopback(const struct sockaddr *address)
{
	if (address->sa_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
	if (address->sa_family != AF_INET6)
		return false;
	const struct in6_addr *in6 = &((const struct sockaddr_in6 *)address)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(in6) || (IN6_IS_ADDR_V4MAPPED(in6) && in6->s6_addr[12] == 127);
}

/* What is not for everybody who reaches the port: how the daemon was set up, and where it asks for TLS its metrics. */
static bool may_read(struct daemon *daemon, struct http_request *req, bool metrics)
{
	if (is_guarded(daemon) || (metrics && daemon->plain) || is_loopback(http_peer_address(req)) || http_peer_certificate(req))
		return true;
	http_respond(req, 401, PLAIN_TEXT, "Unauthorized\n", 13);
	return false;
}

static void answer_page(struct daemon *daemon, struct http_request *req, const char *kind)
{
	const struct daemon_program *program = daemon->program;
	static const char *const paths[] = {"/configz", "/flagz", "/healthz", "/livez", "/metrics", "/readyz", "/statusz"};
	bool statusz = str_equal(kind, "Statusz"), no_config = !program->config;
	enum zpage_form form;
	if (!zpage_negotiate(http_header(req, "Accept"), kind, &form)) {
		http_respond(req, 406, PLAIN_TEXT, ZPAGE_NOT_ACCEPTABLE "\n", sizeof(ZPAGE_NOT_ACCEPTABLE));
		return;
	}
	autobuf struct buf out = BUF_INIT(PAGE_MAX);
	autofree char *type = zpage_content_type(kind, form), *name = xprintf("kube-%s", program->name + (str_starts_with(program->name, OWN_PREFIX) ? strlen(OWN_PREFIX) : 0));
	if (statusz)
		zpage_statusz(&out, form, name, daemon->started, paths + no_config, array_len(paths) - no_config);
	else
		zpage_flagz(&out, form, name, program->flags, program->flag_count, daemon->options);
	http_respond(req, 200, type, out.data, out.len);
}

static void answer_config(struct daemon *daemon, struct http_request *req)
{
	autobuf struct buf out = BUF_INIT(PAGE_MAX);
	zpage_configz(&out, daemon->program->config, daemon->program->flags, daemon->program->flag_count, daemon->options);
	http_respond(req, 200, "application/json", out.data, out.len);
}

/* True where it was one of the pages that are the same for all. */
static bool answer_own(struct daemon *daemon, struct http_request *req)
{
	const char *path = http_path(req);
	bool metrics = str_equal(path, "/metrics"), statusz = str_equal(path, "/statusz"), flagz = str_equal(path, "/flagz"), config = daemon->program->config && str_equal(path, "/configz");
	if (!metrics && !statusz && !flagz && !config)
		return false;
	if (!may_read(daemon, req, metrics))
		return true;
	if (metrics)
		metrics_answer(req);
	else if (config)
		answer_config(daemon, req);
	else
		answer_page(daemon, req, statusz ? "Statusz" : "Flagz");
	return true;
}

static void serve(struct http_request *req, void *arg)
{
	struct daemon *daemon = arg;
	if (health_answer(daemon->health, req))
		return;
	if (answer_own(daemon, req))
		return;
	pthread_mutex_lock(&daemon->lock);
	http_handler handler = daemon->handler;
	void *handler_arg = daemon->arg;
	pthread_mutex_unlock(&daemon->lock);
	if (handler)
		handler(req, handler_arg);
	else
		http_respond(req, 404, PLAIN_TEXT, "404 page not found\n", 19);
}

static void handle(struct http_request *req, void *arg)
{
	struct daemon *daemon = arg;
	if (!is_guarded(daemon)) {
		serve(req, daemon);
		return;
	}
	struct guard *guard = atomic_load(&daemon->guard);
	if (guard)
		guard_handle(guard, req);
	else
		http_respond(req, 503, PLAIN_TEXT, NOT_YET, sizeof(NOT_YET) - 1);
}

int daemon_guard(struct daemon *daemon, const struct client_config *own, struct error *err)
{
	const struct daemon_options *common = (const void *)((const char *)daemon->options + daemon->program->common_offset);
	struct guard *guard;
	int rc = guard_new(&common->guard, own, serve, daemon, &guard, err);
	if (rc == 0)
		atomic_store(&daemon->guard, guard);
	return rc;
}

static void on_warning(const char *message, void *arg)
{
	log_warning("health server", LOG_STR("message", message));
}

static int start_server(struct daemon *daemon, const struct daemon_options *common, struct error *err)
{
	int64_t port = common->secure_port < 0 ? daemon->program->default_port & UINT16_MAX : common->secure_port;
	if (!port)
		return 0;
	struct http_server_options options = HTTP_SERVER_OPTIONS_INIT;
	bool all = str_empty(common->bind_address) || str_equal(common->bind_address, "::");
	options.bind_address = all ? NULL : common->bind_address;
	options.port = (uint16_t)port;
	options.tls = !daemon->plain;
	options.cert_file = common->tls_cert_file;
	options.key_file = common->tls_key_file;
	options.client_ca_file = common->client_ca_file;
	autofree char *policy = NULL;
	int rc = http_tls_policy(common->tls_min_version, common->tls_cipher_suites.items, common->tls_cipher_suites.len, &policy, err);
	if (rc < 0)
		return rc;
	options.tls_policy = policy;
	options.threads = 1;
	options.max_body = REQUEST_MAX;
	options.max_connections = CONNECTIONS_MAX;
	options.memory_limit = BUFFERED_MAX;
	options.handler = handle;
	options.arg = daemon;
	options.on_warning = on_warning;
	if (options.tls && str_empty(common->tls_cert_file) && str_empty(common->tls_key_file)) {
		rc = selfsigned_make(&daemon->own, err);
		if (rc < 0)
			return rc;
		options.cert_file = daemon->own.cert_path;
		options.key_file = daemon->own.key_path;
	}
	return http_server_start(&options, &daemon->server, err);
}

static bool asks_for(const char *arg, const char *name)
{
	size_t len = strlen(name);
	return !strncmp(arg, name, len) && (!arg[len] || !strcmp(arg + len, "=true"));
}

/* Prints what --help and --version ask for. Returns true where one was there. */
static bool answered_by_text(const struct daemon_program *program, int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--"); i++) {
		if (asks_for(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			flags_print_help(stdout, program->name, program->summary, program->flags, program->flag_count);
			return true;
		}
		if (asks_for(argv[i], "--version")) {
			printf("%s %s (Kubernetes v1.36)\n", program->name, CORACLE_VERSION);
			return true;
		}
	}
	return false;
}

static int parse(const struct daemon_program *program, int argc, char **argv, void *options, struct error *err)
{
	const struct daemon_options *common = (const void *)((const char *)options + program->common_offset);
	int rc = flags_parse(program->flags, program->flag_count, argc, argv, options, NULL, err);
	if (rc < 0)
		return rc;
	bool json = str_equal(common->logging_format, "json");
	if (!json && !str_empty(common->logging_format) && strcmp(common->logging_format, "text"))
		return error_set(err, EINVAL, "invalid argument \"%s\" for \"--logging-format\" flag: must be text or json", common->logging_format);
	log_init(STDERR_FILENO, json ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, (int)common->verbosity);
	return 0;
}

/* Returns the set of signals that are now blocked, to be read from a descriptor. */
static sigset_t prepare_process(void)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	struct rlimit files;
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	mallopt(M_ARENA_MAX, MALLOC_ARENAS);
	return set;
}

static bool is_ready(void *arg, struct error *err)
{
	struct daemon *daemon = arg;
	if (!atomic_load(&daemon->ready))
		error_set(err, EAGAIN, "start-up is not over");
	return atomic_load(&daemon->ready);
}

int daemon_start(const struct daemon_program *program, int argc, char **argv, void *options, struct daemon **ret)
{
	autoerror struct error err = {0};
	if (answered_by_text(program, argc, argv))
		return 1;
	if (parse(program, argc, argv, options, &err) < 0) {
		fprintf(stderr, "%s: %s\n", program->name, error_message(&err));
		return 1 + EXIT_BAD_FLAGS;
	}
	sigset_t set = prepare_process();
	struct daemon *daemon = xnew(struct daemon);
	daemon->program = program;
	daemon->options = options;
	daemon->started = clock_wall();
	daemon->plain = program->default_port & DAEMON_PLAIN;
	daemon->own = (struct selfsigned)SELFSIGNED_INIT;
	daemon->health = health_new();
	health_add(daemon->health, &(const struct health_check){.name = "startup", .in = HEALTH_READYZ, .fn = is_ready, .arg = daemon});
	pthread_mutex_init(&daemon->lock, NULL);
	daemon->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	daemon->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int rc = start_server(daemon, (const void *)((const char *)options + program->common_offset), &err);
	if (rc < 0) {
		log_error("the health server does not start", LOG_ERR(&err));
		daemon_free(daemon);
		return rc;
	}
	log_info("starting", LOG_STR("program", program->name), LOG_STR("version", CORACLE_VERSION));
	*ret = daemon;
	return 0;
}

void daemon_free(struct daemon *daemon)
{
	if (!daemon)
		return;
	http_server_stop(daemon->server, 0);
	guard_free(daemon->guard);
	selfsigned_done(&daemon->own);
	health_free(daemon->health);
	if (daemon->signal_fd >= 0)
		close(daemon->signal_fd);
	if (daemon->stop_fd >= 0)
		close(daemon->stop_fd);
	pthread_mutex_destroy(&daemon->lock);
	free(daemon);
}

void daemon_add_check(struct daemon *daemon, const char *name, bool ready_only, bool (*fn)(void *arg, struct error *err), void *arg)
{
	health_add(daemon->health, &(const struct health_check){.name = name, .in = ready_only ? HEALTH_READYZ : HEALTH_ALL, .fn = fn, .arg = arg});
}

void daemon_handle(struct daemon *daemon, http_handler handler, void *arg)
{
	pthread_mutex_lock(&daemon->lock);
	daemon->handler = handler;
	daemon->arg = arg;
	pthread_mutex_unlock(&daemon->lock);
}

void daemon_ready(struct daemon *daemon)
{
	atomic_store(&daemon->ready, true);
	notify_send("READY=1");
	log_info("ready", LOG_STR("program", daemon->program->name));
}

/* The second signal means now. */
static void on_second_signal(int signo)
{
	_exit(1);
}

static void beat(struct daemon *daemon)
{
	if (health_passes(daemon->health, HEALTH_LIVEZ))
		notify_send("WATCHDOG=1");
	else
		log_error("live checks fail: the watchdog is not fed", LOG_STR("program", daemon->program->name));
}

static void end_wait(struct daemon *daemon)
{
	atomic_store(&daemon->ready, false);
	notify_send("STOPPING=1");
	struct signalfd_siginfo info;
	if (read(daemon->signal_fd, &info, sizeof(info)) == sizeof(info))
		log_info("stopping", LOG_STR("signal", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT"));
	eventfd_write(daemon->stop_fd, 1);
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_second_signal}, NULL);
	sigaction(SIGINT, &(struct sigaction){.sa_handler = on_second_signal}, NULL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

void daemon_wait(struct daemon *daemon)
{
	const int64_t interval = notify_watchdog_ms() * NSEC_PER_MSEC;
	unsigned step = 0;
	int64_t now = clock_monotonic_ns(), next_look = now + memory_look(&step) * NSEC_PER_MSEC, next_beat = interval > 0 ? now + interval : INT64_MAX;
	struct pollfd fds[2] = {{.fd = daemon->signal_fd, .events = POLLIN}, {.fd = daemon->stop_fd, .events = POLLIN}};
	for (;;) {
		int64_t left = max_of(min_of(next_look, next_beat) - now, (int64_t)0);
		int n = poll(fds, array_len(fds), (int)((left + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC));
		if (n > 0 || (n < 0 && errno != EINTR))
			break;
		now = clock_monotonic_ns();
		if (now >= next_beat) {
			beat(daemon);
			next_beat = now + interval;
		}
		if (now >= next_look)
			next_look = now + memory_look(&step) * NSEC_PER_MSEC;
	}
	end_wait(daemon);
}

void daemon_stop(struct daemon *daemon, int exit_code)
{
	atomic_store(&daemon->exit_code, exit_code);
	eventfd_write(daemon->stop_fd, 1);
}

int daemon_exit_code(const struct daemon *daemon)
{
	return atomic_load(&daemon->exit_code);
}

int daemon_stop_fd(const struct daemon *daemon)
{
	return daemon->stop_fd;
}

uint16_t daemon_port(const struct daemon *daemon)
{
	return daemon->server ? http_server_port(daemon->server) : 0;
}
