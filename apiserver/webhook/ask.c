/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/webhook/ask.h"
#include "common/base/clock.h"
#include "common/base/file.h"
#include "common/base/list.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/random.h"
#include "common/client/client.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#define MAX_ANSWER ((size_t)1 << 20)
#define MAX_KEPT ((size_t)16 << 10)  /* bytes of an answer that is kept */
#define MAX_FLIGHTS 20000            /* questions under way */
#define MAX_TOKEN (64u << 10)

/* What came of a question. Immutable, counted. */
struct answer {
	unsigned refs; /* atomic */
	struct bytes *json; /* NULL: none, as the error says */
	char *error;
	int errnum;
};
struct kept {
	struct list link; /* used last: first */
	struct answer *answer;
	int64_t until_ns;
	char key[65];
};
struct asked {
	unsigned refs; /* atomic */
	struct asked_options options;
	struct client_config config;
	struct call_url url;
	char *own; /* certificate and key, PEM */
	pthread_mutex_t lock; /* guards what follows */
	struct map flights, kept; /* by key */
	struct list recent;
	bool stopped;
};

/* A question of a request, and then its answer. */
struct ask {
	struct ask *next;
	struct asked *asked;
	char key[65];
	bool keep;
	struct bytes *json; /* of the question; NULL once it was answered */
	struct answer *answer;
};

/* Who waits for an answer. */
struct waiter {
	struct waiter *next;
	struct ask *ask;
	void (*fn)(void *arg);
	void *arg;
};
/* A question under way. */
struct flight {
	struct asked *asked;
	char key[65];
	bool keep;
	struct bytes *json;
	struct waiter *waiters; /* under the server's lock */
	unsigned tries;
	int64_t started_ns, backoff_ns;
	struct loop_timer *timer;
	bool pauses; /* until its next try */
};

static void answer_unref(struct answer *answer) {
	if (!answer || __atomic_sub_fetch(&answer->refs, 1, __ATOMIC_ACQ_REL))
		return;
	bytes_unref(answer->json);
	free(answer->error);
	free(answer);
}

static struct answer *answer_ref(struct answer *answer) {
	__atomic_add_fetch(&answer->refs, 1, __ATOMIC_RELAXED);
	return answer;
}

/* ---- asks ---- */

void asks_lack(struct asks *asks, void *take_lacking, void (*start)(struct asks *asks, void (*fn)(void *arg), void *arg), void (*drop)(void *lacking)) {
	if (asks->start)
		asks->drop(asks->lacking);
	asks->start = start;
	asks->lacking = take_lacking;
	asks->drop = drop;
	if (!asks->since_ns)
		asks->since_ns = clock_monotonic_ns();
}

void asks_start(struct asks *asks, void (*fn)(void *arg), void *arg) {
	void (*start)(struct asks *, void (*)(void *), void *) = asks->start;
	asks->start = NULL;
	start(asks, fn, arg);
}

static void ask_free(void *arg) {
	struct ask *ask = arg;
	asked_unref(ask->asked);
	bytes_unref(ask->json);
	answer_unref(ask->answer);
	free(ask);
}

void asks_done(struct asks *asks) {
	if (asks->start)
		asks->drop(asks->lacking);
	for (struct ask *ask = asks->list, *next; ask; ask = next) {
		next = ask->next;
		ask_free(ask);
	}
	*asks = (struct asks){0};
}

/* ---- what is kept ---- */

static void forget_kept(struct asked *asked, struct kept *kept) {
	list_remove(&kept->link);
	map_remove(&asked->kept, kept->key);
	answer_unref(kept->answer);
	free(kept);
}

/* A reference; NULL where none is kept. */
static struct answer *find_kept(struct asked *asked, const char *key) {
	struct answer *answer = NULL;
	pthread_mutex_lock(&asked->lock);
	struct kept *kept = map_get(&asked->kept, key);
	if (kept && kept->until_ns <= clock_monotonic_ns()) {
		forget_kept(asked, kept);
	} else if (kept) {
		list_remove(&kept->link);
		list_push_front(&asked->recent, &kept->link);
		answer = answer_ref(kept->answer);
	}
	pthread_mutex_unlock(&asked->lock);
	return answer;
}

/* Under the lock. */
static void keep(struct asked *asked, const char *key, struct answer *answer, int64_t ns) {
	struct kept *old = map_get(&asked->kept, key);
	if (old)
		forget_kept(asked, old);
	while (asked->kept.len >= asked->options.remembered && !list_empty(&asked->recent))
		forget_kept(asked, list_entry(asked->recent.prev, struct kept, link));
	struct kept *kept = xnew(struct kept);
	*kept = (struct kept){.answer = answer_ref(answer), .until_ns = clock_monotonic_ns() + ns};
	memcpy(kept->key, key, sizeof(kept->key));
	map_set(&asked->kept, key, kept);
	list_push_front(&asked->recent, &kept->link);
}

/* ---- a question under way; the loop's thread ---- */

static void finish(struct flight *flight, struct answer *take_answer) {
	struct asked *asked = flight->asked;
	int64_t ns = 0;
	if (take_answer->json && flight->keep && take_answer->json->len <= MAX_KEPT)
		ns = asked->options.keep_ns(asked->options.arg, take_answer->json->data, take_answer->json->len);
	pthread_mutex_lock(&asked->lock);
	map_remove(&asked->flights, flight->key);
	if (ns > 0 && asked->options.remembered)
		keep(asked, flight->key, take_answer, ns);
	struct waiter *waiter = flight->waiters;
	pthread_mutex_unlock(&asked->lock);
	for (struct waiter *next; waiter; waiter = next) {
		next = waiter->next;
		waiter->ask->answer = answer_ref(take_answer);
		waiter->ask->json = bytes_unref(waiter->ask->json);
		waiter->fn(waiter->arg);
		free(waiter);
	}
	answer_unref(take_answer);
	loop_timer_free(flight->timer);
	bytes_unref(flight->json);
	asked_unref(asked);
	free(flight);
}

static void fail(struct flight *flight, int errnum, const char *fmt, ...) printf_like(3, 4);
static void fail(struct flight *flight, int errnum, const char *fmt, ...) {
	struct answer *answer = xnew(struct answer);
	autobuf struct buf text = BUF_INIT(64 << 10);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	answer->refs = 1;
	answer->errnum = errnum;
	answer->error = xstrdup(str_or(text.data, "unknown error"));
	if (errnum != ECANCELED)
		log_error("a server that must be asked gave no answer", LOG_STR("what", flight->asked->options.what), LOG_STR("err", answer->error));
	finish(flight, answer);
}

static void try(void *arg);

static bool stopped(struct asked *asked) {
	pthread_mutex_lock(&asked->lock);
	bool is = asked->stopped;
	pthread_mutex_unlock(&asked->lock);
	return is;
}

/* A fault that may be gone the next time: the server's own, or a connection that was reset. */
static bool try_again(struct flight *flight, int status, int errnum) {
	bool may = status == 429 || status == 500 || status == 504 || errnum == ECONNRESET || errnum == EPIPE;
	if (!may || flight->tries >= flight->asked->options.tries || stopped(flight->asked))
		return false;
	if (!flight->timer)
		flight->timer = loop_timer_new(flight->asked->options.loop, try, flight);
	loop_timer_arm(flight->timer, flight->backoff_ns);
	flight->backoff_ns += flight->backoff_ns / 2;
	flight->pauses = true;
	return true;
}

static void observe(struct flight *flight, const struct call_answer *answer, const struct error *err) {
	const struct asked_options *o = &flight->asked->options;
	const char *result = err && err->errnum == ETIMEDOUT ? "timeout" : err && err->errnum == ECANCELED ? "canceled" : err || answer->status < 200 || answer->status > 206 ? "error" : "success";
	if (!err && answer->status == 504)
		result = "timeout";
	if (o->observe)
		o->observe(o->arg, result, err ? 0 : answer->status, (double)(clock_monotonic_ns() - flight->started_ns) / (double)NSEC_PER_SEC);
}

static void on_answer(const struct call_answer *answer, const struct error *err, void *arg) {
	struct flight *flight = arg;
	observe(flight, answer, err);
	if (err) {
		if (!try_again(flight, 0, err->errnum))
			fail(flight, err->errnum, "Post \"%s://%s:%u%s\": %s", flight->asked->url.plain ? "http" : "https", flight->asked->url.host, flight->asked->url.port, flight->asked->url.target, error_message(err));
		return;
	}
	if (answer->status < 200 || answer->status > 206) {
		if (!try_again(flight, answer->status, 0))
			fail(flight, EIO, "the server answered with code %d", answer->status);
		return;
	}
	struct answer *good = xnew(struct answer);
	good->refs = 1;
	good->json = buf_to_bytes(&answer->body);
	finish(flight, good);
}

/* "Bearer ..." or "Basic ..."; the caller frees. */
static char *authorization(const struct client_config *config) {
	if (config->token_file) {
		autofree char *text = NULL;
		if (file_read(AT_FDCWD, config->token_file, MAX_TOKEN, &text, NULL, NULL) < 0)
			return NULL;
		text[strcspn(text, " \r\n\t")] = '\0';
		return xprintf("Bearer %s", text);
	}
	if (config->token)
		return xprintf("Bearer %s", config->token);
	if (!config->username)
		return NULL;
	autofree char *pair = xprintf("%s:%s", config->username, str_or(config->password, ""));
	autobuf struct buf out = BUF_INIT(64 << 10);
	buf_append_str(&out, "Basic ");
	buf_append_base64(&out, pair, strlen(pair));
	return buf_take(&out);
}

static void try(void *arg) {
	struct flight *flight = arg;
	struct asked *asked = flight->asked;
	if (stopped(asked))
		return fail(flight, ECANCELED, "context canceled");
	flight->pauses = false;
	flight->tries++;
	flight->started_ns = clock_monotonic_ns();
	autofree char *header = authorization(&asked->config);
	call_start(asked->options.caller, &(struct call_options){
		.host = str_or(asked->config.tls_server_name, asked->url.host), .port = asked->url.port, .address = asked->config.tls_server_name ? asked->url.host : NULL, .address_port = asked->url.port,
		.target = asked->url.target, .body = flight->json->data, .body_len = flight->json->len, .ca = asked->config.ca_pem, .ca_len = asked->config.ca_pem ? strlen(asked->config.ca_pem) : 0,
		.timeout_ns = asked->options.timeout_ns, .plain = asked->url.plain, .insecure = asked->config.insecure_skip_verify, .own = asked->own, .own_len = asked->own ? strlen(asked->own) : 0,
		.authorization = header, .agent = "kube-apiserver", .max_answer = MAX_ANSWER, .done = on_answer, .arg = flight,
	});
	if (header)
		explicit_bzero(header, strlen(header));
}

static void start_ask(struct asks *asks, void (*fn)(void *arg), void *arg) {
	struct ask *ask = asks->lacking;
	struct asked *asked = ask->asked;
	struct waiter *waiter = xnew(struct waiter);
	struct flight *fresh = NULL;
	*waiter = (struct waiter){.ask = ask, .fn = fn, .arg = arg};
	asks->lacking = NULL;
	ask->next = asks->list;
	asks->list = ask;
	pthread_mutex_lock(&asked->lock);
	struct flight *flight = map_get(&asked->flights, ask->key);
	if (!flight) {
		flight = fresh = xnew(struct flight);
		*fresh = (struct flight){.asked = asked_ref(asked), .keep = ask->keep, .json = bytes_ref(ask->json), .backoff_ns = asked->options.backoff_ns};
		memcpy(fresh->key, ask->key, sizeof(fresh->key));
		map_set(&asked->flights, ask->key, fresh);
	}
	waiter->next = flight->waiters;
	flight->waiters = waiter;
	pthread_mutex_unlock(&asked->lock);
	if (fresh)
		loop_post(asked->options.loop, try, fresh);
}

/* ---- asking ---- */

static int tell(const struct answer *answer, struct bytes **ret, struct error *err) {
	if (!answer->json)
		return error_set(err, answer->errnum, "%s", answer->error);
	*ret = bytes_ref(answer->json);
	return 1;
}

int asked_get(struct asked *asked, struct asks *asks, const char *json, size_t len, bool keep_it, struct bytes **ret, struct error *err) {
	char key[65];
	sha256_hex(json, len, key);
	for (struct ask *ask = asks ? asks->list : NULL; ask; ask = ask->next)
		if (ask->asked == asked && strcmp(ask->key, key) == 0)
			return tell(ask->answer, ret, err);
	struct answer *kept = find_kept(asked, key);
	if (kept) {
		int rc = tell(kept, ret, err);
		answer_unref(kept);
		return rc;
	}
	pthread_mutex_lock(&asked->lock);
	bool off = asked->stopped;
	size_t flights = asked->flights.len;
	pthread_mutex_unlock(&asked->lock);
	if (off)
		return error_set(err, ECANCELED, "context canceled");
	if (!asks)
		return error_set(err, EWOULDBLOCK, "the %s cannot be asked here", asked->options.what);
	if (flights >= MAX_FLIGHTS)
		return error_set(err, EBUSY, "the %s is asked too much at once", asked->options.what);
	struct ask *ask = xnew(struct ask);
	*ask = (struct ask){.asked = asked_ref(asked), .keep = keep_it, .json = bytes_new(json, len)};
	memcpy(ask->key, key, sizeof(key));
	asks_lack(asks, ask, start_ask, ask_free);
	return 0;
}

/* ---- the server ---- */

int asked_new(const struct asked_options *options, struct asked **ret, struct error *err) {
	struct asked *asked = xnew(struct asked);
	*asked = (struct asked){.refs = 1, .options = *options};
	pthread_mutex_init(&asked->lock, NULL);
	list_init(&asked->recent);
	int rc = options->kubeconfig ? client_config_load(options->kubeconfig, NULL, &asked->config, err) : client_config_in_cluster(&asked->config, err);
	if (rc == 0)
		rc = call_url_parse(asked->config.servers.len ? asked->config.servers.items[0] : "", &asked->url, err);
	if (rc < 0) {
		asked->options.free_arg = NULL; /* the caller's still */
		asked_unref(asked);
		return rc;
	}
	if (asked->config.cert_pem)
		asked->own = xprintf("%s\n%s", asked->config.cert_pem, asked->config.key_pem);
	*ret = asked;
	return 0;
}

struct asked *asked_ref(struct asked *asked) {
	__atomic_add_fetch(&asked->refs, 1, __ATOMIC_RELAXED);
	return asked;
}

void asked_unref(struct asked *asked) {
	if (!asked || __atomic_sub_fetch(&asked->refs, 1, __ATOMIC_ACQ_REL))
		return;
	while (!list_empty(&asked->recent))
		forget_kept(asked, list_first(&asked->recent, struct kept, link));
	map_done(&asked->kept);
	map_done(&asked->flights);
	client_config_done(&asked->config);
	if (asked->own)
		explicit_bzero(asked->own, strlen(asked->own));
	free(asked->own);
	call_url_done(&asked->url);
	if (asked->options.free_arg)
		asked->options.free_arg(asked->options.arg);
	pthread_mutex_destroy(&asked->lock);
	free(asked);
}

/* Those between two tries end now: their time would not come any more. */
static void end_pauses(void *arg) {
	struct asked *asked = arg;
	for (;;) {
		struct flight *paused = NULL;
		struct map_entry *e;
		pthread_mutex_lock(&asked->lock);
		for (size_t i = 0; !paused && (e = map_next(&asked->flights, &i));) {
			struct flight *flight = e->value;
			paused = flight->pauses ? flight : NULL;
		}
		pthread_mutex_unlock(&asked->lock);
		if (!paused)
			break;
		fail(paused, ECANCELED, "context canceled");
	}
	asked_unref(asked);
}

void asked_stop(struct asked *asked) {
	if (!asked)
		return;
	pthread_mutex_lock(&asked->lock);
	asked->stopped = true;
	pthread_mutex_unlock(&asked->lock);
	loop_post(asked->options.loop, end_pauses, asked_ref(asked));
}
