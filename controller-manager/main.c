/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-controller-manager: flags, the leader's lease, and the life of the controllers. */
#include "common/base/trim.h"
#include "common/client/leader.h"
#include "controller-manager/manager.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define DEFAULT_PORT 10257

struct program {
	struct settings settings;
	struct daemon *daemon;
	struct client_config config;
	struct client *client;
	struct leader *leader;   /* NULL: there is no election */
	struct manager *manager;
	pthread_mutex_t lock;
	pthread_t worker;
	bool leading, stopping; /* guarded by lock */
	int stopped_fd;         /* readable once the controllers have stopped */
};

/* The rows of settings.c and one concurrency flag for each controller that has one. */
static struct flag *collect_flags(size_t *ret_count)
{
	/* Texts of the defaults, which rows point at. */
	static char numbers[array_len(((struct settings *)NULL)->workers)][12];
	struct flag *flags = xcalloc(settings_flag_count + controller_count, sizeof(struct flag));
	size_t count = settings_flag_count;
	memcpy(flags, settings_flags, settings_flag_count * sizeof(struct flag));
	for (size_t i = 0; i < controller_count; i++) {
		if (!controllers[i]->concurrency_flag)
			continue;
		snprintf(numbers[i], sizeof(numbers[i]), "%u", controllers[i]->workers);
		flags[count++] = (struct flag){
			.name = controllers[i]->concurrency_flag,
			.kind = FLAG_INT,
			.fallback = numbers[i],
			.offset = offsetof(struct settings, workers) + i * sizeof(int64_t),
			.min = 0,
			.max = 1000,
			.help = "objects worked on at once; 0: as many as by default",
		};
	}
	*ret_count = count;
	return flags;
}

/* Whoever reads the Events of the lease learns who led when. fence: "<namespace>/<name>/<identity>". */
static void tell_who_leads(struct program *program, const char *fence)
{
	const struct settings *s = &program->settings;
	const char *slash = fence ? strchr(fence, '/') : NULL, *identity = slash ? strchr(slash + 1, '/') : NULL;
	autounref void *lease = NULL;
	autoerror struct error err = {0};
	if (!identity)
		return;
	const struct api_resource *leases = api_resource_find("coordination.k8s.io", "v1", "leases");
	if (client_get(program->client, leases, s->leader_elect_resource_namespace, s->leader_elect_resource_name, &lease, &err) < 0) {
		log_warning("the lease cannot be read", LOG_ERR(&err));
		return;
	}
	autofree char *message = xprintf("%s became leader", identity + 1);
	manager_event(program->manager, lease, EVENT_NORMAL, "LeaderElection", message);
}

/* A thread of its own: filling the caches may take long, and the election must go on renewing meanwhile. */
static void *lead(void *arg)
{
	struct program *program = arg;
	autofree char *fence = program->leader ? leader_fence(program->leader) : NULL;
	if (manager_start(program->manager, fence, daemon_stop_fd(program->daemon))) {
		log_info("controllers are running");
		tell_who_leads(program, fence);
	}
	return NULL;
}

static bool may_write(void *arg)
{
	struct program *program = arg;
	return !program->leader || leader_is_sure(program->leader);
}

static void add_check(const char *name, bool (*check)(void *check_arg, struct error *err), void *check_arg, void *arg)
{
	daemon_add_check(arg, name, false, check, check_arg);
}

static void collect(void *arg)
{
	manager_collect(arg);
}

static void on_started(void *arg)
{
	struct program *program = arg;
	pthread_mutex_lock(&program->lock);
	if (!program->leading && !program->stopping) {
		program->leading = pthread_create(&program->worker, NULL, lead, program) == 0;
		if (!program->leading)
			daemon_stop(program->daemon, 1);
	}
	pthread_mutex_unlock(&program->lock);
}

static void on_stopped(void *arg)
{
	struct program *program = arg;
	pthread_mutex_lock(&program->lock);
	bool stopping = program->stopping;
	pthread_mutex_unlock(&program->lock);
	if (stopping)
		return;
	/* Another may lead already: nothing must be written from here on, not even by a worker that is in the middle of something. */
	log_error("the leader's lease was lost, exiting");
	_exit(1);
}

static void on_new_leader(const char *identity, void *arg)
{
	log_info("new leader", LOG_STR("identity", identity));
}

static int connect_client(struct program *program, struct error *err)
{
	struct settings *s = &program->settings;
	struct client_config *config = &program->config;
	int r = client_config_load(str_empty(s->kubeconfig) ? NULL : s->kubeconfig, NULL, config, err);
	if (r)
		return r;
	config->qps = s->kube_api_qps;
	config->burst = (int)s->kube_api_burst;
	free(config->user_agent);
	config->user_agent = client_user_agent("coracle-controller-manager");
	if (!str_empty(s->master)) {
		for (size_t i = 0; i < config->servers.len; i++)
			free(config->servers.items[i]);
		config->servers.items = xreallocarray(config->servers.items, 1, sizeof(char *));
		config->servers.items[0] = xstrdup(s->master);
		config->servers.len = 1;
	}
	r = client_new(config, &program->client, err);
	return r ? r : daemon_guard(program->daemon, config, err);
}

static int run(struct program *program, struct error *err)
{
	struct settings *s = &program->settings;
	int r = manager_check_names(&s->controllers, err);
	r = r ? r : manager_check_settings(s, err);
	r = r ? r : connect_client(program, err);
	if (r)
		return r;
	program->manager = manager_new(&(struct manager_options){.client = program->client, .config = &program->config, .settings = s, .may_write = may_write, .arg = program});
	manager_each_check(program->manager, add_check, program->daemon);
	metrics_on_collect(collect, program->manager);
	/* A standby fills its caches too: it takes over in the time of a request. */
	manager_warm(program->manager);
	if (s->leader_elect) {
		struct leader_options options = {.ns = s->leader_elect_resource_namespace,
			.name = s->leader_elect_resource_name,
			.lease_duration_ns = s->leader_elect_lease_duration,
			.renew_deadline_ns = s->leader_elect_renew_deadline,
			.retry_period_ns = s->leader_elect_retry_period,
			.release_on_exit = true,
			.on_started = on_started,
			.on_stopped = on_stopped,
			.on_new_leader = on_new_leader,
			.arg = program};
		/* Under the lock: whoever is told that it leads finds the leader here. */
		pthread_mutex_lock(&program->lock);
		program->leader = leader_start(program->client, &options);
		pthread_mutex_unlock(&program->lock);
	} else {
		on_started(program);
	}
	/* A standby is ready too: ready to take over. */
	daemon_ready(program->daemon);
	daemon_wait(program->daemon);
	return 0;
}

/* A worker may wait for an answer that does not come. Its lease runs out then, instead of being handed over; the fence sees to it that nothing is written late. */
static void *limit_stop(void *arg)
{
	struct program *program = arg;
	struct pollfd stopped = {.fd = program->stopped_fd, .events = POLLIN};
	int64_t end = clock_monotonic_ns() + program->settings.controller_shutdown_timeout;
	int r;
	do
		r = poll(&stopped, 1, (int)min_of(max_of(end - clock_monotonic_ns(), (int64_t)0) / NSEC_PER_MSEC + 1, (int64_t)INT32_MAX));
	while (r < 0 && errno == EINTR);
	if (r == 0) {
		log_error("the controllers did not stop within --controller-shutdown-timeout, exiting");
		_exit(1);
	}
	return NULL;
}

/* Hands the lease over. */
static void program_stop(struct program *program)
{
	pthread_t limit;
	program->stopped_fd = eventfd(0, EFD_CLOEXEC);
	bool limited = program->stopped_fd >= 0 && pthread_create(&limit, NULL, limit_stop, program) == 0;
	pthread_mutex_lock(&program->lock);
	program->stopping = true;
	bool leading = program->leading;
	pthread_mutex_unlock(&program->lock);
	if (leading)
		pthread_join(program->worker, NULL);
	/* Workers end before the lease is given up, so the next leader starts with nobody else writing; all else comes after, so that it starts at once. */
	if (program->manager)
		manager_stop(program->manager);
	if (program->leader)
		leader_stop(program->leader);
	if (limited) {
		eventfd_write(program->stopped_fd, 1);
		pthread_join(limit, NULL);
	}
	if (program->stopped_fd >= 0)
		close(program->stopped_fd);
}

static void program_done(struct program *program)
{
	manager_free(program->manager);
	client_free(program->client);
	client_config_done(&program->config);
}

int main(int argc, char **argv)
{
	memory_be_sparing(argv);
	struct program program = {.lock = PTHREAD_MUTEX_INITIALIZER};
	size_t flag_count;
	autofree struct flag *flags = collect_flags(&flag_count);
	const struct config_page page = {"kubecontrollermanager.config.k8s.io", "kubecontrollermanager.config.k8s.io/v1alpha1", "KubeControllerManagerConfiguration", settings_config_rows, settings_config_count};
	struct daemon_program row = {"coracle-controller-manager", "Runs the controllers of a cluster.", flags, flag_count,
		offsetof(struct settings, common), &page, DEFAULT_PORT | DAEMON_GUARDED};
	int r = daemon_start(&row, argc, argv, &program.settings, &program.daemon);
	if (r)
		return r > 0 ? r - 1 : 1;
	autoerror struct error err = {0};
	r = run(&program, &err);
	if (r)
		log_error("cannot run", LOG_ERR(&err));
	else
		r = daemon_exit_code(program.daemon);
	program_stop(&program);
	/* Its health checks look at the manager. */
	daemon_free(program.daemon);
	program_done(&program);
	flags_done(flags, flag_count, &program.settings);
	return r ? 1 : 0;
}
