/* SPDX-License-Identifier: Apache-2.0 */
/* coracle-controller-manager: flags, the leader's lease, and the life of the controllers. */
#include "common/client/leader.h"
#include "controller-manager/manager.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#define DEFAULT_PORT 10257

struct program {
	struct settings settings;
	struct daemon *daemon;
	struct client *client;
	struct leader *leader;
	struct manager *manager; /* set by the thread that leads, read after it has been joined */
	pthread_mutex_t lock;
	pthread_t worker;
	bool leading, stopping; /* guarded by lock */
};

/* The rows of settings.c and one concurrency flag for each controller that has one. */
static struct flag *collect_flags(size_t *ret_count)
{
	struct flag *flags = xcalloc(settings_flag_count + controller_count, sizeof(struct flag));
	size_t count = settings_flag_count;
	memcpy(flags, settings_flags, settings_flag_count * sizeof(struct flag));
	for (size_t i = 0; i < controller_count; i++) {
		if (!controllers[i]->concurrency_flag)
			continue;
		flags[count++] = (struct flag){
			.name = controllers[i]->concurrency_flag,
			.kind = FLAG_INT,
			.offset = offsetof(struct settings, workers) + i * sizeof(int64_t),
			.min = 0,
			.max = 1000,
			.help = "objects worked on at once; 0: the default",
		};
	}
	*ret_count = count;
	return flags;
}

/* A thread of its own: filling the caches may take long, and the election must go on renewing meanwhile. */
static void *lead(void *arg)
{
	struct program *program = arg;
	program->manager = manager_new(program->client, &program->settings);
	if (manager_start(program->manager, daemon_stop_fd(program->daemon)))
		log_info("controllers are running");
	return NULL;
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
	struct client_config config = {0};
	int r = client_config_load(str_empty(s->kubeconfig) ? NULL : s->kubeconfig, NULL, &config, err);
	if (r)
		return r;
	config.qps = s->kube_api_qps;
	config.burst = (int)s->kube_api_burst;
	free(config.user_agent);
	config.user_agent = xstrdup("coracle-controller-manager/" CORACLE_VERSION);
	if (!str_empty(s->master)) {
		for (size_t i = 0; i < config.servers.len; i++)
			free(config.servers.items[i]);
		config.servers.items = xreallocarray(config.servers.items, 1, sizeof(char *));
		config.servers.items[0] = xstrdup(s->master);
		config.servers.len = 1;
	}
	r = client_new(&config, &program->client, err);
	client_config_done(&config);
	return r;
}

static int run(struct program *program, struct error *err)
{
	struct settings *s = &program->settings;
	int r = manager_check_names(&s->controllers, err);
	r = r ? r : connect_client(program, err);
	if (r)
		return r;
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
		program->leader = leader_start(program->client, &options);
	} else {
		on_started(program);
	}
	/* A standby is ready too: ready to take over. */
	daemon_ready(program->daemon);
	daemon_wait(program->daemon);
	return 0;
}

static void program_done(struct program *program)
{
	pthread_mutex_lock(&program->lock);
	program->stopping = true;
	bool leading = program->leading;
	pthread_mutex_unlock(&program->lock);
	if (leading)
		pthread_join(program->worker, NULL);
	/* Workers end before the lease is given up: the next leader starts with nobody else writing. */
	manager_free(program->manager);
	if (program->leader)
		leader_stop(program->leader);
	client_free(program->client);
}

int main(int argc, char **argv)
{
	struct program program = {.lock = PTHREAD_MUTEX_INITIALIZER};
	size_t flag_count;
	autofree struct flag *flags = collect_flags(&flag_count);
	struct daemon_program row = {"coracle-controller-manager", "Runs the controllers of a cluster.", flags, flag_count,
		offsetof(struct settings, common), DEFAULT_PORT};
	int r = daemon_start(&row, argc, argv, &program.settings, &program.daemon);
	if (r)
		return r > 0 ? r - 1 : 1;
	autoerror struct error err = {0};
	r = run(&program, &err);
	if (r)
		log_error("cannot run", LOG_ERR(&err));
	else
		r = daemon_exit_code(program.daemon);
	program_done(&program);
	daemon_free(program.daemon);
	flags_done(flags, flag_count, &program.settings);
	return r ? 1 : 0;
}
