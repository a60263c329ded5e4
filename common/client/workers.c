/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/client/workqueue.h"

#include <errno.h>
#include <pthread.h>

#define LINGER_NS (5 * NSEC_PER_SEC)

/*
 * A thread waits for the next key; as many more as there are keys under work live while they last, and a moment longer, since making a thread for each key of a
 * trickle costs more than the key. So a manager of forty queues idles cheaply.
 */
struct worker {
	struct workers *workers;
	pthread_t thread;
	enum { WORKER_NONE, WORKER_RUNS, WORKER_OVER } state;
};

struct workers {
	struct workqueue *queue;
	int (*reconcile)(const char *key, void *arg, struct error *err);
	void *arg;
	pthread_mutex_t lock;
	unsigned idle, running; /* under lock, as the states below */
	bool stopping;          /* under lock: no more threads */
	unsigned limit;
	struct worker items[];
};

/* A lost race with another writer is settled by the retry, and is no news to an operator. */
static bool error_is_routine(const struct error *err)
{
	return error_is(err, "Conflict") || error_is(err, "AlreadyExists") || (error_is(err, "NotFound") && err->http_code == 404);
}

void workqueue_settle(struct workqueue *queue, const char *key, int result)
{
	if (result < 0) {
		workqueue_add_rate_limited(queue, key);
		return;
	}
	workqueue_forget(queue, key);
	if (result > 0)
		workqueue_add_after(queue, key, result * NSEC_PER_MSEC);
}

static void work_on(struct workers *workers, const char *key)
{
	autoerror struct error err = {0};
	int result = workers->reconcile(key, workers->arg, &err);
	if (result < 0) {
		if (!err.errnum)
			error_set_errno(&err, result, "reconcile");
		if (error_is_routine(&err))
			log_debug(2, "Reconciling failed, will retry", LOG_STR("key", key), LOG_ERR(&err));
		else
			log_error("Reconciling failed, will retry", LOG_STR("key", key), LOG_INT("retries", workqueue_retries(workers->queue, key)), LOG_ERR(&err));
	}
	workqueue_settle(workers->queue, key, result);
}

static void *worker_run(void *arg);

/* Under the lock. Returns false where a thread cannot be had. */
static bool start_one(struct workers *workers)
{
	struct worker *free_place = NULL;
	for (unsigned i = 0; i < workers->limit && !free_place && !workers->stopping; i++)
		if (workers->items[i].state != WORKER_RUNS)
			free_place = &workers->items[i];
	if (!free_place)
		return false;
	if (free_place->state == WORKER_OVER)
		pthread_join(free_place->thread, NULL);
	free_place->state = WORKER_NONE;
	free_place->workers = workers;
	if (pthread_create(&free_place->thread, NULL, worker_run, free_place))
		return false;
	free_place->state = WORKER_RUNS;
	workers->running++;
	workers->idle++;
	return true;
}

/* The next key; NULL: this worker is over, since the queue is or another one waits already. */
static char *next_key(struct worker *worker)
{
	struct workers *workers = worker->workers;
	char *key = workqueue_get_within(workers->queue, LINGER_NS);
	pthread_mutex_lock(&workers->lock);
	bool wait = !key && workers->idle <= 1;
	if (!key && !wait) {
		workers->idle--;
		workers->running--;
		worker->state = WORKER_OVER;
	}
	pthread_mutex_unlock(&workers->lock);
	if (wait)
		key = workqueue_get(workers->queue);
	if (!key)
		return NULL;
	pthread_mutex_lock(&workers->lock);
	if (--workers->idle == 0)
		start_one(workers); /* where none can be had the keys wait for this one */
	pthread_mutex_unlock(&workers->lock);
	return key;
}

static void *worker_run(void *arg)
{
	struct worker *worker = arg;
	struct workers *workers = worker->workers;
	for (char *key; (key = next_key(worker));) {
		work_on(workers, key);
		workqueue_done(workers->queue, key);
		free(key);
		pthread_mutex_lock(&workers->lock);
		workers->idle++;
		pthread_mutex_unlock(&workers->lock);
	}
	return NULL;
}

struct workers *workers_start(struct workqueue *queue, unsigned count, int (*reconcile)(const char *key, void *arg, struct error *err), void *arg)
{
	struct workers *workers = xcalloc(1, sizeof(*workers) + count * sizeof(struct worker));
	workers->queue = queue;
	workers->reconcile = reconcile;
	workers->arg = arg;
	workers->limit = count;
	pthread_mutex_init(&workers->lock, NULL);
	pthread_mutex_lock(&workers->lock);
	/* As with memory: a daemon that cannot have a thread cannot do its work. */
	if (!start_one(workers))
		abort();
	pthread_mutex_unlock(&workers->lock);
	return workers;
}

void workers_stop(struct workers *workers)
{
	if (!workers)
		return;
	workqueue_shutdown(workers->queue);
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->limit; i++) {
		pthread_mutex_lock(&workers->lock);
		bool any = workers->items[i].state != WORKER_NONE;
		pthread_mutex_unlock(&workers->lock);
		if (any)
			pthread_join(workers->items[i].thread, NULL);
	}
	pthread_mutex_destroy(&workers->lock);
	free(workers);
}
