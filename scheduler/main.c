/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-scheduler: gives pods their nodes. */
#include "common/base/log.h"
#include "common/base/trim.h"
#include "common/client/leader.h"
#include "common/daemon/daemon.h"
#include "scheduler/scheduler.h"

#include <pthread.h>
#include <unistd.h>

struct options {
	struct daemon_options common;
	char *kubeconfig, *scheduler_name, *lock_name, *lock_namespace;
	bool leader_elect;
	int64_t lease_duration, renew_deadline, retry_period, binders;
};

#define FLAG(name, kind, field, fallback, help) {name, 0, kind, offsetof(struct options, field), fallback, help, 0, 0}
static const struct flag flags[] = {
	DAEMON_FLAGS(struct options, common),
	DAEMON_GUARD_FLAGS(struct options, common.guard),
	FLAG("kubeconfig", FLAG_STRING, kubeconfig, NULL, "how to reach the API server"),
	FLAG("scheduler-name", FLAG_STRING, scheduler_name, "default-scheduler", "pods that name this scheduler are placed"),
	FLAG("leader-elect", FLAG_BOOL, leader_elect, "true", "only the holder of a Lease works"),
	FLAG("leader-elect-lease-duration", FLAG_DURATION, lease_duration, "15s", "how long others wait for a holder that does not renew"),
	FLAG("leader-elect-renew-deadline", FLAG_DURATION, renew_deadline, "10s", "how long the holder tries to renew before it gives up"),
	FLAG("leader-elect-retry-period", FLAG_DURATION, retry_period, "2s", "time between tries"),
	FLAG("leader-elect-resource-name", FLAG_STRING, lock_name, "kube-scheduler", "name of the Lease"),
	FLAG("leader-elect-resource-namespace", FLAG_STRING, lock_namespace, "kube-system", "its namespace"),
	{"concurrent-bindings", 0, FLAG_INT, offsetof(struct options, binders), "16", "bindings written at a time", 1, 256},
	DAEMON_FLAG_NO_EFFECT("config"),
	DAEMON_FLAG_NO_EFFECT("leader-elect-resource-lock"), DAEMON_FLAG_NO_EFFECT("feature-gates"), DAEMON_FLAG_NO_EFFECT("kube-api-qps"),
	DAEMON_FLAG_NO_EFFECT("kube-api-burst"), DAEMON_FLAG_NO_EFFECT("profiling"),
};
static const struct config_row config_rows[] = {
	CONFIG_ROW("profiles[].schedulerName", "scheduler-name"),
	CONFIG_ROW("leaderElection.leaderElect", "leader-elect"),
	CONFIG_ROW("leaderElection.leaseDuration", "leader-elect-lease-duration"),
	CONFIG_ROW("leaderElection.renewDeadline", "leader-elect-renew-deadline"),
	CONFIG_ROW("leaderElection.retryPeriod", "leader-elect-retry-period"),
	CONFIG_ROW("leaderElection.resourceName", "leader-elect-resource-name"),
	CONFIG_ROW("leaderElection.resourceNamespace", "leader-elect-resource-namespace"),
	CONFIG_ROW("clientConnection.kubeconfig", "kubeconfig"),
};
static const struct config_page config_page = {"componentconfig", "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration", config_rows, array_len(config_rows)};

static const struct daemon_program program = {
	.name = "coracle-scheduler", .summary = "Gives pods their nodes.", .flags = flags, .flag_count = array_len(flags),
	.common_offset = offsetof(struct options, common), .config = &config_page, .default_port = 10259 | DAEMON_GUARDED,
};

struct run {
	struct daemon *daemon;
	struct scheduler *scheduler;
	pthread_mutex_t lock; /* of what follows: the lease may come while we end */
	pthread_t starter;
	bool starting, over;
};

static void *start(void *arg) {
	struct run *run = arg;
	if (scheduler_start(run->scheduler, daemon_stop_fd(run->daemon)))
		log_info("scheduling");
	return NULL;
}

static void begin(void *arg) {
	struct run *run = arg;
	pthread_mutex_lock(&run->lock);
	if (!run->over)
		run->starting = pthread_create(&run->starter, NULL, start, run) == 0;
	pthread_mutex_unlock(&run->lock);
}

/* A scheduler without the lease must write nothing more: the process ends, and begins anew as one of those that wait. */
static void lost(void *arg) {
	struct run *run = arg;
	log_warning("the lease is lost");
	daemon_stop(run->daemon, 1);
}

static int serve(struct daemon *daemon, const struct options *options, struct error *err) {
	struct client_config config = {0};
	struct client *client = NULL;
	struct leader *leader = NULL;
	int r = client_config_load(options->kubeconfig, NULL, &config, err);
	if (r == 0)
		r = client_new(&config, &client, err);
	if (r == 0)
		r = daemon_guard(daemon, &config, err);
	client_config_done(&config);
	if (r < 0) {
		client_free(client);
		return r;
	}
	struct run run = {.daemon = daemon, .lock = PTHREAD_MUTEX_INITIALIZER};
	run.scheduler = scheduler_new(client, &(struct scheduler_options){.name = options->scheduler_name, .binders = (unsigned)options->binders});
	daemon_ready(daemon);
	if (options->leader_elect) {
		const struct leader_options election = {
			.ns = options->lock_namespace, .name = options->lock_name, .lease_duration_ns = options->lease_duration, .renew_deadline_ns = options->renew_deadline,
			.retry_period_ns = options->retry_period, .release_on_exit = true, .on_started = begin, .on_stopped = lost, .arg = &run,
		};
		leader = leader_start(client, &election);
	} else {
		begin(&run);
	}
	daemon_wait(daemon);
	pthread_mutex_lock(&run.lock);
	run.over = true;
	pthread_mutex_unlock(&run.lock);
	if (run.starting)
		pthread_join(run.starter, NULL);
	scheduler_stop(run.scheduler);
	leader_stop(leader); /* the lease goes last: nobody else may write while we do */
	scheduler_free(run.scheduler);
	client_free(client);
	return 0;
}

int main(int argc, char **argv) {
	memory_be_sparing(argv);
	struct options options = {0};
	struct daemon *daemon = NULL;
	int r = daemon_start(&program, argc, argv, &options, &daemon);
	if (r == 0) {
		autoerror struct error err = {0};
		r = serve(daemon, &options, &err);
		if (r < 0)
			log_error("scheduler does not start", LOG_ERR(&err));
		r = r < 0 ? 1 : daemon_exit_code(daemon);
		daemon_free(daemon);
	} else {
		r = r > 0 ? r - 1 : 1;
	}
	flags_done(flags, array_len(flags), &options);
	return r;
}
