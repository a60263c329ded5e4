/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"
#include "common/base/trim.h"
#include "common/daemon/notify.h"
#include "kubelet/certificate/manager.h"
#include "kubelet/node/node.h"
#include "kubelet/parts.h"
#include "kubelet/pod/manager.h"
#include "kubelet/server/server.h"
#include "kubelet/source/source.h"

#include <curl/curl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

static void block_signals(sigset_t *set) {
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigprocmask(SIG_BLOCK, set, NULL);
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
}

void kubelet_turn(struct kubelet *kubelet, enum turn turn) {
	__atomic_store_n(&kubelet->turn, turn, __ATOMIC_RELEASE);
	eventfd_write(kubelet->turn_fd, 1);
}

/* Ready when a signal has come, or a turn. */
static int open_end(const struct kubelet *kubelet, int signals) {
	int end = epoll_create1(EPOLL_CLOEXEC);
	if (end < 0)
		abort();
	epoll_ctl(end, EPOLL_CTL_ADD, signals, &(struct epoll_event){.events = EPOLLIN});
	epoll_ctl(end, EPOLL_CTL_ADD, kubelet->turn_fd, &(struct epoll_event){.events = EPOLLIN});
	return end;
}

/* Feeds systemd's watchdog until the file descriptor has something. */
static void wait_for(int fd) {
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	while (poll(&ready, 1, notify_watchdog_ms()) == 0)
		notify_send("WATCHDOG=1");
}

struct ending {
	struct kubelet *kubelet;
	int done_fd;
};

static void *end_pods(void *arg) {
	struct ending *ending = arg;
	node_shutdown(ending->kubelet);
	eventfd_write(ending->done_fd, 1);
	return NULL;
}

/* That may take longer than the watchdog waits. */
static void shut_down(struct kubelet *kubelet) {
	autoclose int done = eventfd(0, EFD_CLOEXEC);
	struct ending ending = {kubelet, done};
	pthread_t thread;
	if (pthread_create(&thread, NULL, end_pods, &ending) != 0) {
		node_shutdown(kubelet);
		return;
	}
	wait_for(done);
	pthread_join(thread, NULL);
}

static int run(struct kubelet *kubelet, const sigset_t *signals, struct error *err) {
	struct kubelet_server *server = NULL;
	bool waits = false;
	int r = kubelet_parts_open(kubelet, err);
	if (r == 0 && kubelet->options.cleanup)
		return kubelet_cleanup(kubelet, err);
	if (r == 0)
		r = certificates_open(kubelet, &waits, err);
	if (r == 0)
		r = kubelet_parts_start(kubelet, waits, err);
	if (r == 0)
		r = certificates_serve(kubelet, err);
	if (r == 0)
		r = kubelet_server_start(kubelet, &server, err);
	if (r < 0)
		return r;
	/* The API, or without it the folder, and the URL. While a certificate is waited for the API is silent: nothing counts as left over. */
	kubelet->silent_sources = str_empty(kubelet->options.manifest_url) ? 1 : 2;
	struct source_file *files = source_file_start(kubelet);
	struct source_http *urls = source_http_start(kubelet);
	autoclose int stop = signalfd(-1, signals, SFD_CLOEXEC), end = open_end(kubelet, stop);
	log_info("kubelet runs", LOG_STR("node", kubelet->node_name), LOG_STR("address", kubelet->node_ips[0]), LOG_INT("port", kubelet->options.port));
	notify_send("READY=1");
	if (!waits && (!kubelet->informers || informer_set_wait_synced(kubelet->informers, end)))
		source_spoke(kubelet);
	wait_for(end);
	if (!kubelet->turn && node_shutdown_due(kubelet))
		shut_down(kubelet);
	log_info(node_shuts_down(kubelet) ? "kubelet ends, after its pods" : "kubelet ends; containers run on");
	notify_send("STOPPING=1");
	source_http_stop(urls);
	source_file_stop(files);
	kubelet_server_stop(server);
	return 0;
}

/*
 * Read by jemalloc before all else. One arena, and nothing kept aside for threads, of which most work seldom; free pages go back a second after the last use
 * of them.
 */
extern const char *malloc_conf;
const char *malloc_conf = "narenas:1,tcache:false,dirty_decay_ms:1000,muzzy_decay_ms:0,oversize_threshold:0";

/* In the same process, so that who watches over it need not start another. Returns only where that fails: then it is for them. */
static void begin_anew(char **argv) {
	char self[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (len > 0) {
		self[len] = '\0';
		execv(self, argv);
	}
}

int main(int argc, char **argv) {
	struct kubelet kubelet = {.turn_fd = eventfd(0, EFD_CLOEXEC)};
	autoerror struct error err = {0};
	sigset_t signals;
	runtime_pause_main(argc, argv);
	memory_be_sparing(argv);
	if (kubelet_options_load(argc, argv, &kubelet.options, &err) < 0) {
		fprintf(stderr, "coracle-kubelet: %s\n", error_message(&err));
		return 2;
	}
	if (kubelet.options.help || kubelet.options.version) {
		if (kubelet.options.help)
			kubelet_options_print_help(stdout);
		else
			printf("Kubernetes v1.36.0 (Coracle %s)\n", CORACLE_VERSION);
		kubelet_options_done(&kubelet.options);
		return 0;
	}
	umask(0);
	block_signals(&signals);
	json_object_seed(0);
	curl_global_init(CURL_GLOBAL_DEFAULT);
	log_init(STDERR_FILENO, str_equal(kubelet.options.logging_format, "json") ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, (int)kubelet.options.verbosity);
	int r = run(&kubelet, &signals, &err);
	if (r < 0)
		log_error("kubelet cannot run", LOG_ERR(&err));
	kubelet_parts_close(&kubelet);
	kubelet_options_done(&kubelet.options);
	if (kubelet.turn == TURN_AGAIN)
		begin_anew(argv);
	return r < 0 || kubelet.turn ? 1 : 0;
}
