/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/client/workqueue.h"

#include <errno.h>
#include <pthread.h>

struct workers {
	struct workqueue *queue;
	int (*reconcile)(const char *key, void *arg, struct error *err);
	void *arg;
	unsigned count;
	pthread_t threads[];
};

/* A lost race with another writer is settled by the retry, and is no news to an operator. */
static bool error_is_routine(const struct error *err)
{
	return error_is(err, "Conflict") || (error_is(err, "NotFound") && err->http_code == 404);
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

static void *worker_run(void *arg)
{
	struct workers *workers = arg;
	for (char *key; (key = workqueue_get(workers->queue));) {
		work_on(workers, key);
		workqueue_done(workers->queue, key);
		free(key);
	}
	return NULL;
}

struct workers *workers_start(struct workqueue *queue, unsigned count, int (*reconcile)(const char *key, void *arg, struct error *err), void *arg)
{
	struct workers *workers = xcalloc(1, sizeof(*workers) + count * sizeof(pthread_t));
	workers->queue = queue;
	workers->reconcile = reconcile;
	workers->arg = arg;
	for (; workers->count < count; workers->count++) {
		/* As with memory: a daemon that cannot have its threads cannot do its work. */
		if (pthread_create(&workers->threads[workers->count], NULL, worker_run, workers))
			abort();
	}
	return workers;
}

void workers_stop(struct workers *workers)
{
	if (!workers)
		return;
	workqueue_shutdown(workers->queue);
	for (unsigned i = 0; i < workers->count; i++)
		pthread_join(workers->threads[i], NULL);
	free(workers);
}
