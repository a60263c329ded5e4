/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/certificate/internal.h"

#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/http/selfsigned.h"
#include "kubelet/certificate/request.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SELFSIGNED_CERT "kubelet.crt"
#define SELFSIGNED_KEY "kubelet.key"

bool certificates_pause(const struct certificates *certificates, int *ms) {
	struct pollfd stop = {.fd = certificates->stop_fd, .events = POLLIN};
	bool stopped = poll(&stop, 1, *ms) > 0;
	*ms = min_of(*ms * 2, CERTIFICATE_LAST_RETRY_MS);
	return stopped;
}

/* ---- renewal ---- */

/* Sleeps until a point of the wall clock, which may jump over it. True: the kubelet ends. */
static bool sleep_until(const struct certificates *c, int64_t at) {
	autoclose int timer = timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	struct itimerspec when = {.it_value.tv_sec = max_of(at, (int64_t)1)};
	if (timer < 0 || timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL) < 0)
		abort();
	struct pollfd ready[] = {{.fd = c->stop_fd, .events = POLLIN}, {.fd = timer, .events = POLLIN}};
	while (poll(ready, array_len(ready), -1) < 0 && errno == EINTR)
		;
	return ready[0].revents != 0;
}

static const char *const *names_of(const struct renewal *renewal) {
	return renewal->names[0] ? renewal->names : NULL;
}

/* At most once between two of its certificates is it said when the next is due. */
static int64_t due(struct renewal *renewal) {
	const struct kubelet *kubelet = renewal->owner->kubelet;
	if (renewal->given || !renewal->pair.cert || !pair_is_for(&renewal->pair, kubelet->node_name, names_of(renewal)))
		return 0;
	int64_t at = pair_renew_at(&renewal->pair);
	char until[32];
	time_format_rfc3339((struct wall_time){.sec = at}, until);
	log_info("certificate will be renewed", LOG_STR("signer", renewal->signer), LOG_STR("at", until));
	return at;
}

static int take_up(struct kubelet *kubelet, const struct pair *pair, struct error *err) {
	int r = client_set_certificate(kubelet->client, pair->cert, pair->key, err);
	return r < 0 ? r : client_set_certificate(kubelet->event_client, pair->cert, pair->key, err);
}

static int renew(struct renewal *renewal, struct error *err) {
	struct certificates *c = renewal->owner;
	struct kubelet *kubelet = c->kubelet;
	autofree char *key = NULL, *request = NULL, *cert = NULL;
	struct pair fresh = {0};
	size_t use = (size_t)(renewal - c->renewals);
	int r = pair_make_key(&key, err);
	if (r == 0)
		r = pair_make_request(key, kubelet->node_name, names_of(renewal), &request, err);
	if (r == 0)
		r = certificate_request(kubelet->client, &(struct certificate_request){.signer = renewal->signer, .request = request, .wait_seconds = CERTIFICATE_WAIT_SECONDS, .stop_fd = c->stop_fd}, &cert, err);
	if (r == 0)
		r = pair_make(cert, key, &fresh, err);
	if (r == 0 && (r = pair_store_write(kubelet->options.cert_dir, renewal->prefix, &fresh, err)) == 0 && use == USE_CLIENT)
		r = take_up(kubelet, &fresh, err);
	if (key)
		explicit_bzero(key, strlen(key));
	if (r < 0) {
		pair_done(&fresh);
		return r;
	}
	if (renewal->pair.cert)
		certificate_metrics_renewed(use, clock_wall().sec - renewal->pair.not_before);
	pair_done(&renewal->pair);
	renewal->pair = fresh;
	renewal->given = false;
	atomic_store(&renewal->not_after, fresh.not_after);
	return 0;
}

/* The API server answered, and not to say that it has troubles of its own. */
static bool is_refusal(const struct error *err) {
	return err->http_code == 401 || err->http_code == 403 || err->http_code == 404;
}

static void *renewal_run(void *arg) {
	struct renewal *renewal = arg;
	struct certificates *c = renewal->owner;
	bool is_client = renewal == &c->renewals[USE_CLIENT];
	while (!sleep_until(c, due(renewal))) {
		int pause = CERTIFICATE_FIRST_RETRY_MS, r;
		for (;;) {
			autoerror struct error err = {0};
			r = renew(renewal, &err);
			if (r == 0 || r == -ECANCELED)
				break;
			certificate_metrics_failed((size_t)(renewal - c->renewals));
			log_error("certificate cannot be renewed", LOG_STR("signer", renewal->signer), LOG_ERR(&err));
			/* Who starts the kubelet again, or the bootstrap token, may bring another. */
			if (is_client && is_refusal(&err) && !pair_is_valid(&renewal->pair, clock_wall().sec)) {
				log_error("certificate of this node has expired, and the API server takes it no more");
				kubelet_turn(c->kubelet, TURN_FAILED);
				return NULL;
			}
			if (certificates_pause(c, &pause))
				return NULL;
		}
		if (r < 0)
			return NULL;
		log_info("certificate renewed", LOG_STR("signer", renewal->signer));
		/* One whose life is nearly over as it comes is no reason to ask without a pause. */
		pause = CERTIFICATE_FIRST_RETRY_MS;
		if (certificates_pause(c, &pause))
			return NULL;
	}
	return NULL;
}

static void start(struct renewal *renewal) {
	pthread_attr_t attr;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, KUBELET_THREAD_STACK);
	renewal->runs = pthread_create(&renewal->thread, &attr, renewal_run, renewal) == 0;
	pthread_attr_destroy(&attr);
	if (!renewal->runs)
		log_error("no thread to renew a certificate", LOG_STR("signer", renewal->signer));
}

/* ---- what the rest of the kubelet asks for ---- */

int certificates_open(struct kubelet *kubelet, bool *ret_waits, struct error *err) {
	struct certificates *c = xnew(struct certificates);
	c->kubelet = kubelet;
	c->stop_fd = eventfd(0, EFD_CLOEXEC);
	c->renewals[USE_CLIENT] = (struct renewal){.owner = c, .prefix = CERTIFICATE_CLIENT_PREFIX, .signer = SIGNER_KUBELET_CLIENT};
	c->renewals[USE_SERVING] = (struct renewal){.owner = c, .prefix = CERTIFICATE_SERVING_PREFIX, .signer = SIGNER_KUBELET_SERVING};
	size_t count = 0;
	const char **names = c->renewals[USE_SERVING].names;
	names[count++] = kubelet->node_name;
	for (size_t i = 0; i < kubelet->node_ip_count; i++)
		names[count++] = kubelet->node_ips[i];
	kubelet->certificates = c;
	certificate_metrics_open(c);
	*ret_waits = bootstrap_is_needed(&kubelet->options);
	if (!*ret_waits)
		return 0;
	if (pthread_create(&c->boot, NULL, bootstrap_run, c) != 0)
		return error_set_errno(err, EAGAIN, "no thread to ask for a certificate");
	c->boots = true;
	return 0;
}

void certificates_choose(struct certificates *c, struct client_config *config) {
	const struct kubelet_options *o = &c->kubelet->options;
	struct renewal *renewal = &c->renewals[USE_CLIENT];
	autoerror struct error err = {0};
	if (!o->rotate_certificates)
		return;
	int r = pair_store_read(o->cert_dir, renewal->prefix, &renewal->pair, &err);
	if (r < 0 && r != -ENOENT)
		log_warning("certificate cannot be read", LOG_STR("dir", o->cert_dir), LOG_ERR(&err));
	if (r == 0 && pair_is_valid(&renewal->pair, clock_wall().sec)) {
		free(config->cert_pem);
		if (config->key_pem)
			explicit_bzero(config->key_pem, strlen(config->key_pem));
		free(config->key_pem);
		config->cert_pem = xstrdup(renewal->pair.cert);
		config->key_pem = xstrdup(renewal->pair.key);
	} else {
		pair_done(&renewal->pair);
		renewal->given = true;
		if (config->cert_pem && config->key_pem)
			pair_make(config->cert_pem, config->key_pem, &renewal->pair, NULL);
	}
	atomic_store(&renewal->not_after, renewal->pair.not_after);
}

void certificates_start(struct certificates *c) {
	const struct kubelet_options *o = &c->kubelet->options;
	struct renewal *serving = &c->renewals[USE_SERVING];
	if (!c->kubelet->client)
		return;
	if (o->rotate_certificates)
		start(&c->renewals[USE_CLIENT]);
	if (!o->serving_bootstrap)
		return;
	/* Not asked for while it cannot be told for which address. */
	if (!serving->names[1]) {
		log_warning("no certificate to serve with is asked for: the node has no address");
		return;
	}
	autoerror struct error err = {0};
	int r = pair_store_read(o->cert_dir, serving->prefix, &serving->pair, &err);
	if (r < 0 && r != -ENOENT)
		log_warning("certificate to serve with cannot be read", LOG_STR("dir", o->cert_dir), LOG_ERR(&err));
	atomic_store(&serving->not_after, serving->pair.not_after);
	start(serving);
}

static void replace(char **field, char *take_text) {
	free(*field);
	*field = take_text;
}

/* A certificate that it signs for itself, kept over restarts as long as it is of use. */
static int self_signed(struct kubelet *kubelet, struct error *err) {
	struct kubelet_options *o = &kubelet->options;
	autofree char *cert_path = path_join(o->cert_dir, SELFSIGNED_CERT, NULL), *key_path = path_join(o->cert_dir, SELFSIGNED_KEY, NULL), *cert = NULL, *key = NULL;
	struct pair pair = {0};
	bool usable = pair_read_files(cert_path, key_path, &pair, NULL) == 0 && pair_is_valid(&pair, clock_wall().sec);
	pair_done(&pair);
	if (!usable) {
		const char *addresses[KUBELET_MAX_ADDRESSES + 3] = {"127.0.0.1", "::1"};
		for (size_t i = 0; i < kubelet->node_ip_count; i++)
			addresses[2 + i] = kubelet->node_ips[i];
		int r = file_mkdir_all(o->cert_dir, 0755, err);
		if (r == 0)
			r = selfsigned_pem(kubelet->node_name, addresses, &cert, &key, err);
		if (r == 0)
			r = file_write_durable(AT_FDCWD, key_path, key, strlen(key), 0600, err);
		if (r == 0)
			r = file_write_durable(AT_FDCWD, cert_path, cert, strlen(cert), 0644, err);
		if (key)
			explicit_bzero(key, strlen(key));
		if (r < 0)
			return r;
	}
	replace(&o->tls_cert_file, xstrdup(cert_path));
	replace(&o->tls_key_file, xstrdup(key_path));
	return 0;
}

int certificates_serve(struct kubelet *kubelet, struct error *err) {
	struct kubelet_options *o = &kubelet->options;
	if (!o->serving_bootstrap)
		return str_empty(o->tls_cert_file) ? self_signed(kubelet, err) : 0;
	autofree char *current = pair_store_path(o->cert_dir, CERTIFICATE_SERVING_PREFIX);
	struct pair given = {0}, kept = {0};
	int r = file_mkdir_all(o->cert_dir, 0755, err);
	/* A pair that was given serves until the first of its own has come. */
	if (r == 0 && !str_empty(o->tls_cert_file) && !str_empty(o->tls_key_file) && pair_store_read(o->cert_dir, CERTIFICATE_SERVING_PREFIX, &kept, NULL) < 0 &&
	    pair_read_files(o->tls_cert_file, o->tls_key_file, &given, NULL) == 0 && pair_is_valid(&given, clock_wall().sec))
		r = pair_store_write(o->cert_dir, CERTIFICATE_SERVING_PREFIX, &given, err);
	pair_done(&given);
	pair_done(&kept);
	replace(&o->tls_cert_file, xstrdup(current));
	replace(&o->tls_key_file, xstrdup(current));
	return r;
}

void certificates_stop(struct certificates *c) {
	if (!c)
		return;
	eventfd_write(c->stop_fd, 1);
	if (c->boots)
		pthread_join(c->boot, NULL);
	c->boots = false;
	for (size_t i = 0; i < USES; i++) {
		if (c->renewals[i].runs)
			pthread_join(c->renewals[i].thread, NULL);
		c->renewals[i].runs = false;
	}
}

void certificates_free(struct certificates *c) {
	if (!c)
		return;
	certificates_stop(c);
	for (size_t i = 0; i < USES; i++)
		pair_done(&c->renewals[i].pair);
	close(c->stop_fd);
	free(c);
}
