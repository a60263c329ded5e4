/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-apiserver: reads the flags, starts the server, waits for the signal to end. */
#include "apiserver/admission/admission.h"
#include "apiserver/apiserver.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/loop.h"
#include "common/base/trim.h"
#include "common/daemon/notify.h"

#include <jansson.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>

#define SUMMARY "Serves the Kubernetes API out of etcd."

/* The way to an end: told to readyz, then a while in which all is served, then one in which what runs comes to its end, then the loop's. */
struct farewell {
	struct loop *loop;
	struct loop_timer *timer;
	struct apiserver *server;
	const struct apiserver_options *options;
	unsigned signals;
	bool turned_away;
	int64_t turned_at;
};

#define IDLE_LOOK_NS (20 * NSEC_PER_MSEC) /* requests do not tell their ends to this thread */

static void go_on(void *arg) {
	struct farewell *f = arg;
	const struct apiserver_options *o = f->options;
	int64_t now = clock_monotonic_ns(), grace = o->shutdown_watch_termination_grace_period;
	bool watches;
	if (!f->turned_away) {
		f->turned_away = true;
		f->turned_at = now;
		if (!o->shutdown_send_retry_after && grace <= 0)
			return loop_stop(f->loop);
		apiserver_turn_away(f->server, o->shutdown_send_retry_after, grace);
	}
	bool idle = apiserver_is_idle(f->server, &watches) || now - f->turned_at > o->request_timeout;
	if (idle && (!watches || now - f->turned_at >= grace))
		return loop_stop(f->loop);
	loop_timer_arm(f->timer, IDLE_LOOK_NS);
}

static void on_signal(int signo, void *arg) {
	struct farewell *f = arg;
	if (f->signals++ || !f->server)
		return loop_stop(f->loop); /* asked twice: now */
	log_info("leaving");
	notify_send("STOPPING=1");
	apiserver_leave(f->server);
	loop_timer_arm(f->timer, f->options->shutdown_delay_duration);
}

struct beat {
	struct loop_timer *timer;
	int64_t interval_ns;
};

struct tidier {
	struct loop_timer *timer;
	unsigned step;
};

static void tidy(void *arg) {
	struct tidier *t = arg;
	loop_timer_arm(t->timer, memory_look(&t->step) * NSEC_PER_MSEC);
}

static void beat(void *arg) {
	struct beat *b = arg;
	notify_send("WATCHDOG=1");
	loop_timer_arm(b->timer, b->interval_ns);
}

static void set_gates(const struct apiserver_options *options) {
	autobuf struct buf names = BUF_INIT(64 << 10);
	api_gates_set_defaults();
	for (size_t i = 0; i < options->feature_gates.len; i++) {
		const char *item = options->feature_gates.items[i], *value = strchr(item, '=');
		autofree char *gate = value ? xstrndup(item, (size_t)(value - item)) : xstrdup(item);
		if (!value || !api_gate_set(gate, strcasecmp(value + 1, "true") == 0))
			buf_printf(&names, "%s%s", names.len ? "," : "", item);
	}
	if (names.len)
		log_warning("feature gates have no effect here", LOG_STR("gates", names.data));
	if (!str_empty(options->storage_media_type) && strcmp(options->storage_media_type, "application/json") != 0)
		log_warning("objects are stored as application/json", LOG_STR("asked", options->storage_media_type));
}

static int serve(struct apiserver_options *options) {
	autoerror struct error err = {0};
	struct loop *loop = loop_new();
	struct farewell farewell = {.loop = loop, .options = options};
	farewell.timer = loop_timer_new(loop, go_on, &farewell);
	loop_add_signal(loop, SIGTERM, on_signal, &farewell);
	loop_add_signal(loop, SIGINT, on_signal, &farewell);
	sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
	set_gates(options);
	struct apiserver *server;
	if (apiserver_check_flags(options, &err) < 0 || admission_check_flags(options, &err) < 0 || apiserver_start(options, &server, &err) < 0) {
		log_error("cannot start", LOG_ERR(&err));
		loop_free(loop);
		return 1;
	}
	farewell.server = server;
	notify_send("READY=1");
	struct beat watchdog = {.interval_ns = notify_watchdog_ms() * NSEC_PER_MSEC};
	if (watchdog.interval_ns > 0) {
		watchdog.timer = loop_timer_new(loop, beat, &watchdog);
		loop_timer_arm(watchdog.timer, watchdog.interval_ns);
	}
	struct tidier tidier = {.timer = loop_timer_new(loop, tidy, &tidier)};
	tidy(&tidier);
	loop_run(loop);
	log_info("stopping");
	apiserver_stop(server);
	loop_free(loop);
	return 0;
}

int main(int argc, char **argv) {
	struct apiserver_options options = {0};
	autoerror struct error err = {0};
	/* A request's memory is made on one thread and freed on another, thousands of times a second. Without fast bins, glibc need not sweep them up at each larger piece. */
	mallopt(M_MXFAST, 0);
	/* What is large is mapped by itself and given back when it is freed; left alone, glibc would learn otherwise from the pages of the first load. */
	mallopt(M_MMAP_THRESHOLD, 256 << 10);
	mallopt(M_TRIM_THRESHOLD, 1 << 20);
	/* Hashes are seeded before there are threads. */
	json_object_seed(0);
	if (flags_parse(apiserver_flags, apiserver_flag_count, argc, argv, &options, NULL, &err) < 0) {
		fprintf(stderr, "Error: %s\n", error_message(&err));
		flags_done(apiserver_flags, apiserver_flag_count, &options);
		return 1;
	}
	int status = 0;
	if (options.help) {
		flags_print_help(stdout, "coracle-apiserver", SUMMARY, apiserver_flags, apiserver_flag_count);
	} else if (options.version) {
		printf("Kubernetes v1.36.2 (Coracle %s)\n", CORACLE_VERSION);
	} else {
		log_init(STDERR_FILENO, strcmp(options.logging_format, "json") == 0 ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT, (int)options.v);
		if (!options.etcd_servers.len) {
			log_error("--etcd-servers must be given");
			status = 1;
		} else {
			status = serve(&options);
		}
	}
	flags_done(apiserver_flags, apiserver_flag_count, &options);
	return status;
}
