/* SPDX-License-Identifier: Apache-2.0 */
/* --audit-webhook-config-file: events are posted as an EventList to the server that a kubeconfig names. */
#include "apiserver/audit/audit.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/client/client.h"

#include <pthread.h>

#define MAX_LIST ((size_t)64 << 20)
#define TRIES 5
#define TIMEOUT_MS 30000

struct audit_webhook {
	struct client *client;
	int64_t backoff_ns;
	pthread_mutex_t lock;
	pthread_cond_t stopped;
	bool stop, broken;
};

int audit_webhook_open(const struct apiserver_options *options, struct audit_webhook **ret, struct error *err) {
	struct client_config config = {0};
	int rc = client_config_load(options->audit_webhook_config_file, NULL, &config, err);
	if (rc < 0)
		return error_context(err, "--audit-webhook-config-file");
	struct audit_webhook *hook = xnew(struct audit_webhook);
	pthread_condattr_t attr;
	pthread_mutex_init(&hook->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&hook->stopped, &attr);
	pthread_condattr_destroy(&attr);
	hook->backoff_ns = options->audit_webhook_initial_backoff;
	config.timeout_ms = TIMEOUT_MS;
	config.qps = 0;
	rc = client_new(&config, &hook->client, err);
	client_config_done(&config);
	if (rc < 0) {
		audit_webhook_close(hook);
		return rc;
	}
	*ret = hook;
	return 0;
}

void audit_webhook_stop(struct audit_webhook *hook) {
	if (!hook)
		return;
	pthread_mutex_lock(&hook->lock);
	hook->stop = true;
	pthread_cond_broadcast(&hook->stopped);
	pthread_mutex_unlock(&hook->lock);
}

void audit_webhook_close(struct audit_webhook *hook) {
	if (!hook)
		return;
	client_free(hook->client);
	pthread_cond_destroy(&hook->stopped);
	pthread_mutex_destroy(&hook->lock);
	free(hook);
}

/* False where the server stops meanwhile. */
static bool pause_for(struct audit_webhook *hook, int64_t ns) {
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	ns += at.tv_nsec;
	at.tv_sec += ns / NSEC_PER_SEC;
	at.tv_nsec = ns % NSEC_PER_SEC;
	pthread_mutex_lock(&hook->lock);
	while (!hook->stop && pthread_cond_timedwait(&hook->stopped, &hook->lock, &at) == 0)
		;
	bool stop = hook->stop;
	pthread_mutex_unlock(&hook->lock);
	return !stop;
}

/* What may be better the next time: no answer, too many, a fault of the server's. */
static bool may_retry(const struct error *err) {
	return !err->http_code || err->http_code == 429 || err->http_code >= 500;
}

int audit_webhook_post(void *arg, struct bytes *const *events, size_t count) {
	struct audit_webhook *hook = arg;
	autobuf struct buf list = BUF_INIT(MAX_LIST + (1 << 20)), answer = BUF_INIT(1 << 20);
	autoerror struct error err = {0};
	buf_append_str(&list, "{\"kind\":\"EventList\",\"apiVersion\":\"audit.k8s.io/v1\",\"metadata\":{},\"items\":[");
	for (size_t i = 0; i < count; i++) {
		if (i)
			buf_append_char(&list, ',');
		buf_append(&list, events[i]->data, events[i]->len);
	}
	buf_append_str(&list, "]}");
	struct client_request request = {.method = "POST", .path = "?timeout=30s", .content_type = "application/json", .accept = "application/json, */*", .body = list.data, .body_len = list.len};
	int64_t wait = hook->backoff_ns;
	int rc = -1;
	for (int i = 0; i < TRIES; i++) {
		int status;
		error_done(&err);
		buf_reset(&answer);
		rc = client_do(hook->client, &request, &answer, &status, &err);
		if (rc == 0 || !may_retry(&err) || i == TRIES - 1 || !pause_for(hook, wait))
			break;
		wait += wait / 2;
	}
	bool told = __atomic_exchange_n(&hook->broken, rc < 0, __ATOMIC_RELAXED);
	if (rc < 0 && !told)
		log_error("audit events cannot be posted to the webhook", LOG_STR("err", error_message(&err)));
	return rc;
}
