/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn/jwt.h"
#include "apiserver/authn/issuer.h"
#include "apiserver/timers.h"
#include "common/base/clock.h"
#include "common/base/file_watch.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>

#define LOOK_NS (100 * NSEC_PER_MSEC)

static struct metric metrics[] = {
	{.name = "apiserver_authentication_config_controller_automatic_reloads_total", .help = "Total number of automatic reloads of authentication configuration split by status and apiserver identity.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"status", "apiserver_id_hash", NULL}},
	{.name = "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds", .help = "Timestamp of the last automatic reload of authentication configuration split by status and apiserver identity.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"status", "apiserver_id_hash", NULL}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

/* A configuration with its issuers. Immutable, counted. */
struct set {
	unsigned refs; /* atomic */
	struct authn_config *config;
	struct issuer **issuers; /* as the configuration's */
};
struct jwt_authn {
	struct apiserver *server;
	struct file_watch *watch;
	const struct flag_list *algorithms; /* NULL: all */
	struct apiserver_v1_authentication_configuration *first; /* whose word on those without credentials holds; NULL: none */
	struct loop_timer *timer; /* the loop's */
	struct set *coming;       /* the loop's: takes over once its issuers are known */
	pthread_mutex_t lock;     /* guards set */
	struct set *set;          /* NULL: none */
};

static struct set *set_new(struct apiserver *server, struct authn_config *take_config) {
	struct set *set = xnew(struct set);
	*set = (struct set){.refs = 1, .config = take_config, .issuers = xcalloc(take_config->count + 1, sizeof(*set->issuers))};
	for (size_t i = 0; i < take_config->count; i++)
		set->issuers[i] = issuer_start(server, &take_config->issuers[i].spec->issuer);
	return set;
}

static void set_unref(struct set *set) {
	if (!set || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < set->config->count; i++)
		issuer_unref(set->issuers[i]);
	free(set->issuers);
	authn_config_unref(set->config);
	free(set);
}

static void set_stop(struct set *take_set) {
	for (size_t i = 0; take_set && i < take_set->config->count; i++)
		issuer_stop(take_set->issuers[i]);
	set_unref(take_set);
}

static void count(struct jwt_authn *jwt, const char *status) {
	char hash[65];
	sha256_hex(jwt->server->identity, strlen(jwt->server->identity), hash);
	autofree char *id = xprintf("sha256:%s", hash);
	metric_add(metric_label(&metrics[0], status, id), 1);
	metric_set(metric_label(&metrics[1], status, id), (double)clock_wall().sec);
}

/* ---- reading the file again; the loop's thread ---- */

static void look(void *arg) {
	struct jwt_authn *jwt = arg;
	for (size_t i = 0; jwt->coming && i < jwt->coming->config->count; i++)
		if (issuer_healthy(jwt->coming->issuers[i], NULL) < 0)
			return loop_timer_arm(jwt->timer, LOOK_NS);
	if (!jwt->coming)
		return;
	pthread_mutex_lock(&jwt->lock);
	struct set *old = jwt->set;
	jwt->set = take_ptr(jwt->coming);
	pthread_mutex_unlock(&jwt->lock);
	set_stop(old);
	count(jwt, "success");
	log_info("the authentication configuration was read again", LOG_STR("path", jwt->server->options->authentication_config));
}

static bool same_anonymous(const struct apiserver_v1_authentication_configuration *a, const struct apiserver_v1_authentication_configuration *b) {
	return api_field_equal(a, b, "anonymous");
}

static void on_change(void *arg) {
	struct jwt_authn *jwt = arg;
	const struct apiserver_options *o = jwt->server->options;
	struct authn_config *config;
	autoerror struct error err = {0};
	/* After the start is done with it. */
	pthread_mutex_lock(&jwt->lock);
	bool ready = jwt->first;
	pthread_mutex_unlock(&jwt->lock);
	if (!ready)
		return;
	int rc = authn_config_read(o->authentication_config, &o->service_account_issuer, &config, &err);
	if (rc == 0 && !same_anonymous(config->object, jwt->first)) {
		rc = error_set(&err, EINVAL, "invalid authentication configuration: anonymous: Forbidden: changed from initial configuration file");
		authn_config_unref(config);
	}
	if (rc < 0) {
		count(jwt, "failure");
		log_error("the authentication configuration stays as it was", LOG_ERR(&err));
		return;
	}
	if (!jwt->timer)
		jwt->timer = loop_timer_new(timers_loop(jwt->server->timers), look, jwt);
	set_stop(jwt->coming);
	jwt->coming = set_new(jwt->server, config);
	look(jwt);
}

/* ---- start and end ---- */

static int check_algorithms(const struct flag_list *list, struct error *err) {
	for (size_t i = 0; i < list->len; i++)
		if (!jwt_is_algorithm(list->items[i]))
			return error_set(err, EINVAL, "oidc: unsupported signing alg: \"%s\"", list->items[i]);
	return 0;
}

int jwt_authn_new(struct apiserver *server, struct jwt_authn **ret, struct error *err) {
	const struct apiserver_options *o = server->options;
	struct authn_config *config = NULL;
	bool file = !str_empty(o->authentication_config);
	int rc = authn_config_of_flags(o, &config, err);
	if (rc == 0 && config)
		rc = check_algorithms(&o->oidc_signing_algs, err);
	struct jwt_authn *jwt = xnew(struct jwt_authn);
	*jwt = (struct jwt_authn){.server = server, .algorithms = file ? NULL : &o->oidc_signing_algs};
	pthread_mutex_init(&jwt->lock, NULL);
	pthread_mutex_lock(&jwt->lock);
	if (rc == 0 && file) {
		/* First watched, then read. */
		jwt->watch = file_watch_start(timers_loop(server->timers), (const char *const[]){o->authentication_config}, 1, on_change, jwt);
		rc = authn_config_read(o->authentication_config, &o->service_account_issuer, &config, err);
	}
	if (rc == 0 && config && file)
		jwt->first = api_ref(config->object);
	if (rc == 0 && config && config->object->anonymous && !o->anonymous_auth)
		rc = error_set(err, EINVAL, "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file");
	if (rc == 0 && config)
		jwt->set = set_new(server, config);
	pthread_mutex_unlock(&jwt->lock);
	if (rc < 0) {
		authn_config_unref(config);
		jwt_authn_free(jwt);
		return rc;
	}
	*ret = jwt;
	return 0;
}

static void on_free(void *arg) {
	struct jwt_authn *jwt = arg;
	loop_timer_free(jwt->timer);
	set_stop(jwt->coming);
	set_stop(jwt->set);
}

/* What issuers had posted before this is done. */
static void settle(void *arg) {
}

void jwt_authn_free(struct jwt_authn *jwt) {
	if (!jwt)
		return;
	file_watch_stop(jwt->watch);
	loop_call(timers_loop(jwt->server->timers), on_free, jwt);
	loop_call(timers_loop(jwt->server->timers), settle, NULL);
	api_unref(jwt->first);
	pthread_mutex_destroy(&jwt->lock);
	free(jwt);
}

const struct apiserver_v1_anonymous_auth_config *jwt_authn_anonymous(const struct jwt_authn *jwt) {
	return jwt->first ? jwt->first->anonymous : NULL;
}

/* ---- tokens ---- */

static int check(struct jwt_authn *jwt, struct set *set, const char *token, struct arena *arena, struct asks *asks, struct user **ret, struct error *err) {
	json_t *claims = jwt_peek(token);
	const char *issuer = json_string_value(json_object_get(claims, "iss"));
	/* As Google called itself before. */
	if (str_equal(issuer, "accounts.google.com"))
		issuer = "https://accounts.google.com";
	size_t i = 0;
	while (issuer && i < set->config->count && !str_equal(set->config->issuers[i].spec->issuer.url, issuer))
		i++;
	bool known = issuer && i < set->config->count;
	json_decref(claims);
	if (!known)
		return 0;
	int rc = issuer_verify(set->issuers[i], token, jwt->algorithms, asks, &claims, err);
	if (rc != 1)
		return rc;
	rc = claims_user(set->config, &set->config->issuers[i], claims, clock_wall().sec, arena, ret, err);
	json_decref(claims);
	return rc;
}

int jwt_authn_check(struct jwt_authn *jwt, const char *token, struct arena *arena, struct asks *asks, struct user **ret, struct error *err) {
	pthread_mutex_lock(&jwt->lock);
	struct set *set = jwt->set;
	if (set)
		__atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&jwt->lock);
	if (!set)
		return 0;
	int rc = check(jwt, set, token, arena, asks, ret, err);
	set_unref(set);
	return rc;
}
