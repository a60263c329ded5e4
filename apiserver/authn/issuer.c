/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/authn/issuer.h"
#include "apiserver/timers.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/token/jwt.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>

#define WELL_KNOWN "/.well-known/openid-configuration"
#define MAX_DOCUMENT ((size_t)1 << 20)
#define FETCH_TIMEOUT_NS (30 * NSEC_PER_SEC)
#define RETRY_NS (10 * NSEC_PER_SEC)
#define LEAST_GAP_NS (1 * NSEC_PER_SEC) /* between two fetches of keys: who sends tokens of unknown keys does not make us hammer the issuer */

/* Immutable, counted. */
struct keys {
	unsigned refs; /* atomic */
	struct jwt_key **items;
	size_t count;
};
struct waiter {
	struct waiter *next;
	void (*fn)(void *arg);
	void *arg;
};
struct issuer {
	unsigned refs; /* atomic */
	struct apiserver *server;
	char *url, *document_url, *ca;
	struct loop_timer *timer; /* the loop's */
	bool started, fetching;   /* the loop's */
	int64_t began_ns;         /* the loop's: of the last fetch of keys */
	pthread_mutex_t lock;     /* guards what follows */
	struct keys *keys;        /* NULL: none yet */
	char *keys_url;           /* NULL: the document was not read yet */
	char *trouble;
	int64_t known_ns;         /* when the last fetch of keys that has ended began; 0: none has */
	struct waiter *waiters;
	bool stopped;
};

static void keys_unref(struct keys *keys) {
	if (!keys || __atomic_sub_fetch(&keys->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < keys->count; i++)
		jwt_key_free(keys->items[i]);
	free(keys->items);
	free(keys);
}

struct issuer *issuer_ref(struct issuer *issuer) {
	__atomic_add_fetch(&issuer->refs, 1, __ATOMIC_RELAXED);
	return issuer;
}

void issuer_unref(struct issuer *issuer) {
	if (!issuer || __atomic_sub_fetch(&issuer->refs, 1, __ATOMIC_ACQ_REL))
		return;
	keys_unref(issuer->keys);
	free(issuer->url);
	free(issuer->document_url);
	free(issuer->ca);
	free(issuer->keys_url);
	free(issuer->trouble);
	pthread_mutex_destroy(&issuer->lock);
	free(issuer);
}

/* ---- fetching; the loop's thread ---- */

static bool stopped(struct issuer *issuer) {
	pthread_mutex_lock(&issuer->lock);
	bool is = issuer->stopped;
	pthread_mutex_unlock(&issuer->lock);
	return is;
}

static void set_trouble(struct issuer *issuer, const char *text) {
	pthread_mutex_lock(&issuer->lock);
	free(issuer->trouble);
	issuer->trouble = text ? xstrdup(text) : NULL;
	pthread_mutex_unlock(&issuer->lock);
}

/* done(), which is given a reference of the issuer, is called where this succeeds. */
static int fetch(struct issuer *issuer, const char *url, void (*done)(const struct call_answer *answer, const struct error *err, void *arg), struct error *err) {
	struct call_url at;
	int rc = call_url_parse(url, &at, err);
	if (rc < 0)
		return rc;
	call_start(issuer->server->caller, &(struct call_options){
		.host = at.host, .port = at.port, .target = at.target, .plain = at.plain, .get = true, .ca = issuer->ca, .ca_len = issuer->ca ? strlen(issuer->ca) : 0,
		.timeout_ns = FETCH_TIMEOUT_NS, .agent = "kube-apiserver", .max_answer = MAX_DOCUMENT, .done = done, .arg = issuer_ref(issuer),
	});
	call_url_done(&at);
	return 0;
}

static int check_answer(const struct call_answer *answer, const struct error *failed, const char *url, struct error *err) {
	if (failed)
		return error_set(err, failed->errnum, "Get \"%s\": %s", url, error_message(failed));
	return answer->status == 200 ? 0 : error_set(err, EIO, "Get \"%s\": code %d", url, answer->status);
}

static int parse_keys(const struct call_answer *answer, struct keys **ret, struct error *err) {
	struct keys *keys = xnew(struct keys);
	keys->refs = 1;
	int rc = jwt_keys_parse_set(answer->body.data, answer->body.len, &keys->items, &keys->count, err);
	if (rc < 0)
		keys_unref(keys);
	else
		*ret = keys;
	return rc;
}

/* The fetch of keys has ended: whoever waited looks again. */
static void end_fetch(struct issuer *issuer, struct keys *take_keys) {
	pthread_mutex_lock(&issuer->lock);
	struct keys *old = take_keys ? issuer->keys : NULL;
	if (take_keys)
		issuer->keys = take_keys;
	issuer->known_ns = issuer->began_ns;
	issuer->fetching = false;
	struct waiter *waiter = issuer->waiters;
	issuer->waiters = NULL;
	pthread_mutex_unlock(&issuer->lock);
	keys_unref(old);
	for (struct waiter *next; waiter; waiter = next) {
		next = waiter->next;
		waiter->fn(waiter->arg);
		free(waiter);
	}
}

static void on_keys(const struct call_answer *answer, const struct error *failed, void *arg) {
	struct issuer *issuer = arg;
	autoerror struct error err = {0};
	struct keys *keys = NULL;
	if (check_answer(answer, failed, issuer->keys_url, &err) == 0)
		parse_keys(answer, &keys, &err);
	if (err.errnum && err.errnum != ECANCELED)
		log_error("keys of an issuer of tokens could not be fetched", LOG_STR("issuer", issuer->url), LOG_ERR(&err));
	end_fetch(issuer, keys);
	issuer_unref(issuer);
}

static void fetch_keys(struct issuer *issuer) {
	autoerror struct error err = {0};
	issuer->began_ns = clock_monotonic_ns();
	if (fetch(issuer, issuer->keys_url, on_keys, &err) < 0) {
		log_error("keys of an issuer of tokens could not be fetched", LOG_STR("issuer", issuer->url), LOG_ERR(&err));
		end_fetch(issuer, NULL);
	}
}

int issuer_read_document(const char *url, const char *json, size_t len, char **ret_keys_url, struct error *err) {
	json_t *tree = json_loadb(json, len, 0, NULL);
	const char *said = json_string_value(json_object_get(tree, "issuer")), *keys = json_string_value(json_object_get(tree, "jwks_uri"));
	int rc = 0;
	if (!json_is_object(tree))
		rc = error_set(err, EBADMSG, "the discovery document is no object of JSON");
	else if (!str_equal(said, url))
		rc = error_set(err, EBADMSG, "the issuer calls itself \"%s\", not \"%s\"", str_or(said, ""), url);
	else if (str_empty(keys))
		rc = error_set(err, EBADMSG, "the discovery document has no jwks_uri");
	else
		*ret_keys_url = xstrdup(keys);
	json_decref(tree);
	return rc;
}

static void on_document(const struct call_answer *answer, const struct error *failed, void *arg) {
	struct issuer *issuer = arg;
	autoerror struct error err = {0};
	char *keys_url = NULL;
	if (check_answer(answer, failed, issuer->document_url, &err) == 0)
		issuer_read_document(issuer->url, answer->body.data, answer->body.len, &keys_url, &err);
	if (stopped(issuer)) {
		free(keys_url);
	} else if (!keys_url) {
		log_error("an issuer of tokens is not known yet; it is tried again", LOG_STR("issuer", issuer->url), LOG_ERR(&err));
		set_trouble(issuer, error_message(&err));
		loop_timer_arm(issuer->timer, RETRY_NS);
	} else {
		log_info("tokens of an issuer are taken", LOG_STR("issuer", issuer->url));
		pthread_mutex_lock(&issuer->lock);
		issuer->keys_url = keys_url;
		issuer->fetching = true;
		pthread_mutex_unlock(&issuer->lock);
		set_trouble(issuer, NULL);
		fetch_keys(issuer);
	}
	issuer_unref(issuer);
}

static void on_timer(void *arg) {
	struct issuer *issuer = arg;
	autoerror struct error err = {0};
	if (issuer->keys_url)
		fetch_keys(issuer);
	else if (fetch(issuer, issuer->document_url, on_document, &err) < 0)
		log_error("an issuer of tokens cannot be asked", LOG_STR("issuer", issuer->url), LOG_ERR(&err));
}

static void on_start(void *arg) {
	struct issuer *issuer = arg;
	issuer->timer = loop_timer_new(timers_loop(issuer->server->timers), on_timer, issuer);
	on_timer(issuer);
	issuer_unref(issuer);
}

struct issuer *issuer_start(struct apiserver *server, const struct apiserver_v1_issuer *spec) {
	struct issuer *issuer = xnew(struct issuer);
	size_t len = strlen(spec->url);
	*issuer = (struct issuer){.refs = 2, .server = server, .url = xstrdup(spec->url)};
	pthread_mutex_init(&issuer->lock, NULL);
	if (str_empty(spec->discovery_url))
		issuer->document_url = xprintf("%.*s" WELL_KNOWN, (int)(len && spec->url[len - 1] == '/' ? len - 1 : len), spec->url);
	else
		issuer->document_url = xstrdup(spec->discovery_url);
	issuer->ca = str_empty(spec->certificate_authority) ? NULL : xstrdup(spec->certificate_authority);
	issuer->trouble = xprintf("oidc: authenticator for issuer \"%s\" is not initialized", spec->url);
	loop_post(timers_loop(server->timers), on_start, issuer);
	return issuer;
}

static void on_stop(void *arg) {
	struct issuer *issuer = arg;
	loop_timer_free(issuer->timer);
	issuer->timer = NULL;
	end_fetch(issuer, NULL);
}

static void on_stop_later(void *arg) {
	on_stop(arg);
	issuer_unref(arg);
}

void issuer_stop(struct issuer *issuer) {
	if (!issuer)
		return;
	pthread_mutex_lock(&issuer->lock);
	issuer->stopped = true;
	pthread_mutex_unlock(&issuer->lock);
	loop_post(timers_loop(issuer->server->timers), on_stop_later, issuer_ref(issuer));
}

int issuer_healthy(struct issuer *issuer, struct error *err) {
	pthread_mutex_lock(&issuer->lock);
	int rc = issuer->trouble ? error_set(err, ENOTCONN, "oidc: authenticator for issuer \"%s\" is not healthy: %s", issuer->url, issuer->trouble) : 0;
	pthread_mutex_unlock(&issuer->lock);
	return rc;
}

/* ---- fresher keys ---- */

static void on_wanted(void *arg) {
	struct issuer *issuer = arg;
	int64_t left = issuer->began_ns + LEAST_GAP_NS - clock_monotonic_ns();
	if (stopped(issuer) || !issuer->timer)
		end_fetch(issuer, NULL);
	else if (left > 0)
		loop_timer_arm(issuer->timer, left);
	else
		fetch_keys(issuer);
	issuer_unref(issuer);
}

static void start_wait(struct asks *asks, void (*fn)(void *arg), void *arg) {
	struct issuer *issuer = asks->lacking; /* takes over the reference */
	struct waiter *waiter = xnew(struct waiter);
	*waiter = (struct waiter){.fn = fn, .arg = arg};
	asks->lacking = NULL;
	pthread_mutex_lock(&issuer->lock);
	waiter->next = issuer->waiters;
	issuer->waiters = waiter;
	bool begin = !issuer->fetching;
	issuer->fetching = true;
	pthread_mutex_unlock(&issuer->lock);
	if (begin)
		loop_post(timers_loop(issuer->server->timers), on_wanted, issuer);
	else
		issuer_unref(issuer);
}

static void drop(void *lacking) {
	issuer_unref(lacking);
}

int issuer_verify(struct issuer *issuer, const char *token, const struct flag_list *algorithms, struct asks *asks, json_t **ret_claims, struct error *err) {
	pthread_mutex_lock(&issuer->lock);
	struct keys *keys = issuer->keys;
	if (keys)
		__atomic_add_fetch(&keys->refs, 1, __ATOMIC_RELAXED);
	bool known = issuer->keys_url, off = issuer->stopped;
	int64_t known_ns = issuer->known_ns;
	pthread_mutex_unlock(&issuer->lock);
	if (!known)
		return error_set(err, EACCES, "oidc: authenticator not initialized");
	int rc = jwt_verify_by(keys ? keys->items : NULL, keys ? keys->count : 0, algorithms ? (const char *const *)algorithms->items : NULL, algorithms ? algorithms->len : 0, true, token, ret_claims, err);
	keys_unref(keys);
	if (rc == 0)
		return 1;
	bool looked = asks && asks->from == issuer && asks->since_ns <= known_ns;
	if (rc != -ENOKEY || !asks || looked || off)
		return error_context(err, "oidc: verify token: failed to verify signature");
	asks_lack(asks, issuer_ref(issuer), start_wait, drop);
	if (asks->from != issuer)
		asks->since_ns = clock_monotonic_ns();
	asks->from = issuer;
	if (err) {
		error_done(err);
		*err = (struct error){0};
	}
	return 0;
}
