/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/encryption.h"
#include "apiserver/encryption/cipher.h"
#include "apiserver/encryption/kms.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#define ENCRYPTED "k8s:enc:"
#define LOOK_NS NSEC_PER_SEC
#define LONGEST_PAUSE_NS (60 * NSEC_PER_SEC) /* after a file that could not be taken */
/* New key services have that long at least to be well, and else the old ones stay. */
#define WELL_NS (10 * NSEC_PER_SEC)
#define WELL_LOOK_NS (100 * NSEC_PER_MSEC)

struct encryption {
	const char *path;
	char *server_id, server_hash[sizeof("sha256:") + 64];
	pthread_mutex_t lock; /* guards config, stop and store */
	struct encryption_config *config;
	pthread_t reloader;
	pthread_cond_t stopping;
	bool asks_reload, has_kms, reloads, stop;
	struct store *store; /* NULL: not open */
};

enum { OPERATIONS, RELOADS, RELOADED_AT, CONFIG_INFO };
static struct metric metrics[] = {
	[OPERATIONS] = {.name = "apiserver_storage_transformation_operations_total", .help = "Total number of transformations.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"transformation_type", "transformer_prefix", "status", NULL}},
	[RELOADS] = {.name = "apiserver_encryption_config_controller_automatic_reloads_total", .help = "Total number of reload successes and failures of encryption configuration.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"apiserver_id_hash", "status", NULL}},
	[RELOADED_AT] = {.name = "apiserver_encryption_config_controller_automatic_reload_last_timestamp_seconds", .help = "When the encryption configuration was read again last, with that outcome.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"apiserver_id_hash", "status", NULL}},
	[CONFIG_INFO] = {.name = "apiserver_encryption_config_controller_last_config_info", .help = "The hash of the encryption configuration in effect.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"apiserver_id_hash", "hash", NULL}},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static struct encryption_config *config_get(struct encryption *e) {
	pthread_mutex_lock(&e->lock);
	struct encryption_config *config = e->config;
	__atomic_add_fetch(&config->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&e->lock);
	return config;
}

static void count(bool seal, const struct encryption_key *key, int rc) {
	metric_add(metric_label(&metrics[OPERATIONS], seal ? "to_storage" : "from_storage", key ? key->prefix : "unknown", rc < 0 ? "INTERNAL" : "OK"), 1);
}

/* Tells by which key something was stored; 0: by none. */
static uint32_t mark_of(const struct encryption_key *key) {
	if (key->is_kms)
		return kms_mark(key->kms);
	return key->cipher ? (uint32_t)hash_fnv64(key->prefix, strlen(key->prefix)) | 1 : 0;
}

/* ---- of the store ---- */

static int seal(void *arg, const char *group, const char *resource, const char *about, const void *value, size_t len, struct buf *ret, struct error *err) {
	struct encryption_config *config = config_get(arg);
	const struct encryption_rule *rule = encryption_rule_find(config, group, resource);
	int rc = 0;
	if (rule && !encryption_key_is_identity(&rule->keys[0])) {
		const struct encryption_key *key = &rule->keys[0];
		buf_append_str(ret, key->prefix);
		if (key->is_kms)
			rc = kms_seal(key->kms, about, value, len, ret, err);
		else if (key->cipher->seal(key->key, key->key_len, about, value, len, ret) < 0)
			rc = error_set(err, ENOKEY, "provider %s does not seal", key->cipher->name);
		count(true, key, rc);
		rc = rc < 0 ? -ENOKEY : 1;
	}
	encryption_config_unref(config);
	return rc;
}

static bool begins(const void *value, size_t len, const char *prefix) {
	size_t n = strlen(prefix);
	return len >= n && memcmp(value, prefix, n) == 0;
}

/* Without the provider identity only what is sealed is taken: who can write etcd must not be able to put in what nobody has sealed. */
static bool takes_plain(const struct encryption_rule *rule) {
	bool takes = !rule;
	for (size_t i = 0; rule && i < rule->key_count && !takes; i++)
		takes = encryption_key_is_identity(&rule->keys[i]);
	return takes;
}

/* Whether it is the provider of that key, whatever the key, that has sealed it. */
static bool same_provider(const struct encryption_key *key, const void *value, size_t len) {
	char prefix[64];
	snprintf(prefix, sizeof(prefix), ENCRYPTED "%s:v1:", key->cipher->name);
	return begins(value, len, prefix);
}

/* Two keys of one name may be there, of which the one that fits reads. */
static int open_with(const struct encryption_rule *rule, const char *about, const void *value, size_t len, struct buf *ret, uint32_t *ret_mark, struct error *err) {
	const char *missing = rule ? "no matching prefix found" : "identity transformer tried to read encrypted data";
	int rc = -ENOKEY;
	bool told = false;
	for (size_t i = 0; rule && i < rule->key_count && rc < 0; i++) {
		const struct encryption_key *key = &rule->keys[i];
		if (encryption_key_is_identity(key) || !begins(value, len, key->prefix)) {
			if (key->cipher && same_provider(key, value, len))
				missing = strcmp(key->cipher->name, "secretbox") == 0 ? "no matching key was found for the provided Secretbox transformer" : "no matching key was found for the provided AES transformer";
			continue;
		}
		size_t skip = strlen(key->prefix);
		if (key->is_kms) {
			rc = kms_open(key->kms, about, (const char *)value + skip, len - skip, ret, ret_mark, err);
			told = rc < 0;
		} else {
			rc = key->cipher->open(key->key, key->key_len, about, (const char *)value + skip, len - skip, ret);
			if (rc == 0)
				*ret_mark = mark_of(key);
		}
		count(false, key, rc);
	}
	if (told)
		return rc;
	if (rc == -ENOKEY)
		return error_set(err, ENOKEY, "%s", missing);
	return rc < 0 ? error_set(err, EBADMSG, "it was sealed with another key of that name, or changed since") : 1;
}

static int open_value(void *arg, const char *group, const char *resource, const char *about, const void *value, size_t len, struct buf *ret, uint32_t *ret_mark, struct error *err) {
	*ret_mark = 0;
	struct encryption_config *config = config_get(arg);
	const struct encryption_rule *rule = encryption_rule_find(config, group, resource);
	int rc = 0;
	if (begins(value, len, ENCRYPTED))
		rc = open_with(rule, about, value, len, ret, ret_mark, err);
	else if (!takes_plain(rule))
		rc = error_set(err, ENOKEY, "no matching prefix found");
	if (rc == -ENOKEY)
		count(false, NULL, rc);
	encryption_config_unref(config);
	return rc;
}

static bool is_stale(void *arg, const char *group, const char *resource, uint32_t mark) {
	struct encryption_config *config = config_get(arg);
	const struct encryption_rule *rule = encryption_rule_find(config, group, resource);
	uint32_t now = rule ? mark_of(&rule->keys[0]) : 0;
	bool unknown = rule && rule->keys[0].is_kms && !now; /* its key service has named none yet */
	bool stale = mark != now && !unknown;
	encryption_config_unref(config);
	return stale;
}

void encryption_options(struct encryption *encryption, struct store_transform *ret) {
	if (encryption)
		*ret = (struct store_transform){.seal = seal, .open = open_value, .is_stale = is_stale, .arg = encryption};
}

/* ---- health ---- */

bool encryption_is_checked(const struct encryption *e) {
	return e && (e->asks_reload || e->has_kms);
}

static bool config_check(const struct encryption_config *config, struct error *err) {
	for (size_t i = 0; i < config->rule_count; i++)
		for (size_t k = 0; k < config->rules[i].key_count; k++)
			if (config->rules[i].keys[k].is_kms && !kms_check(config->rules[i].keys[k].kms, err))
				return false;
	return true;
}

bool encryption_check(struct encryption *e, struct error *err) {
	if (!e)
		return true;
	struct encryption_config *config = config_get(e);
	bool good = config_check(config, err);
	encryption_config_unref(config);
	return good;
}

/* On the thread of a key service. */
static void recovered(void *arg) {
	struct encryption *e = arg;
	pthread_mutex_lock(&e->lock);
	if (e->store)
		store_read_again(e->store);
	pthread_mutex_unlock(&e->lock);
}

/* ---- reading the file again ---- */

/* The lock is held. False: it is to stop. */
static bool pause_for(struct encryption *e, int64_t ns) {
	struct timespec at;
	clock_gettime(CLOCK_MONOTONIC, &at);
	int64_t until = at.tv_sec * NSEC_PER_SEC + at.tv_nsec + ns;
	at = (struct timespec){.tv_sec = until / NSEC_PER_SEC, .tv_nsec = until % NSEC_PER_SEC};
	while (!e->stop && pthread_cond_timedwait(&e->stopping, &e->lock, &at) == 0)
		;
	return !e->stop;
}

/* Waits until all key services of what is new are well. */
static int await_health(struct encryption *e, const struct encryption_config *config, struct error *err) {
	int64_t sum = 0, until;
	for (size_t i = 0; i < config->rule_count; i++)
		for (size_t k = 0; k < config->rules[i].key_count; k++)
			sum += config->rules[i].keys[k].is_kms ? config->rules[i].keys[k].timeout_ns : 0;
	until = clock_monotonic_ns() + max_of(2 * sum, (int64_t)WELL_NS);
	while (!config_check(config, err)) {
		pthread_mutex_lock(&e->lock);
		bool on = pause_for(e, WELL_LOOK_NS);
		pthread_mutex_unlock(&e->lock);
		if (!on || clock_monotonic_ns() > until)
			return error_context(err, "health check for new transformers failed");
		for (size_t i = 0; i < config->rule_count; i++)
			for (size_t k = 0; k < config->rules[i].key_count; k++)
				if (config->rules[i].keys[k].is_kms)
					kms_probe(config->rules[i].keys[k].kms);
	}
	return 0;
}

static void tell_hash(const struct encryption *e, const struct encryption_config *old, const struct encryption_config *now) {
	if (old)
		metric_set(metric_label(&metrics[CONFIG_INFO], e->server_hash, old->hash), 0);
	metric_set(metric_label(&metrics[CONFIG_INFO], e->server_hash, now->hash), 1);
}

static int take_file(struct encryption *e, bool *ret_same, struct error *err) {
	struct encryption_config *fresh, *old;
	int rc = encryption_config_read(e->path, &fresh, err);
	if (rc < 0)
		return rc;
	*ret_same = strcmp(fresh->hash, e->config->hash) == 0; /* only this thread changes it */
	if (!*ret_same) {
		rc = encryption_config_start(fresh, e->server_id, recovered, e, err);
		if (rc == 0)
			rc = await_health(e, fresh, err);
	}
	if (rc < 0 || *ret_same) {
		encryption_config_unref(fresh);
		return rc;
	}
	tell_hash(e, e->config, fresh);
	pthread_mutex_lock(&e->lock);
	old = e->config;
	e->config = fresh;
	if (e->store)
		store_read_again(e->store); /* a key may have come back */
	pthread_mutex_unlock(&e->lock);
	encryption_config_unref(old);
	return 0;
}

static int reload(struct encryption *e) {
	autoerror struct error err = {0};
	bool same = false;
	int rc = take_file(e, &same, &err);
	if (same)
		return rc;
	const char *outcome = rc < 0 ? "failure" : "success";
	metric_add(metric_label(&metrics[RELOADS], e->server_hash, outcome), 1);
	metric_set(metric_label(&metrics[RELOADED_AT], e->server_hash, outcome), (double)clock_wall().sec);
	if (rc < 0)
		log_error("the encryption configuration stays as it was", LOG_STR("err", error_message(&err)));
	else
		log_info("the encryption configuration was read again", LOG_STR("path", e->path));
	return rc;
}

static bool same_file(const struct stat *a, const struct stat *b) {
	return a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ino == b->st_ino && a->st_size == b->st_size;
}

/* Mounted volumes swap links, editors rename: the file is looked at, as Kubernetes does it too, not watched. One that could not be taken is tried again, though it be the same. */
static void *keep(void *arg) {
	struct encryption *e = arg;
	struct stat seen = {0}, now;
	int64_t pause = LOOK_NS, retry_at = INT64_MAX;
	(void)stat(e->path, &seen);
	pthread_mutex_lock(&e->lock);
	while (pause_for(e, LOOK_NS)) {
		bool there = stat(e->path, &now) == 0, changed = there && !same_file(&now, &seen);
		if (!changed && clock_monotonic_ns() < retry_at)
			continue;
		if (there)
			seen = now;
		pthread_mutex_unlock(&e->lock);
		bool failed = reload(e) < 0;
		pause = !failed || changed ? LOOK_NS : min_of(2 * pause, LONGEST_PAUSE_NS);
		retry_at = failed ? clock_monotonic_ns() + pause : INT64_MAX;
		pthread_mutex_lock(&e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

int encryption_start(const struct apiserver_options *options, const char *server_id, struct encryption **ret, struct error *err) {
	*ret = NULL;
	if (str_empty(options->encryption_provider_config))
		return options->encryption_provider_config_automatic_reload ? error_set(err, EINVAL, "--encryption-provider-config-automatic-reload must be set with --encryption-provider-config") : 0;
	struct encryption *e = xnew(struct encryption);
	pthread_condattr_t attr;
	e->path = options->encryption_provider_config;
	e->server_id = xstrdup(server_id);
	memcpy(e->server_hash, "sha256:", 7);
	sha256_hex(server_id, strlen(server_id), e->server_hash + 7);
	e->asks_reload = options->encryption_provider_config_automatic_reload;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->stopping, &attr);
	pthread_condattr_destroy(&attr);
	*ret = e;
	int rc = encryption_config_read(e->path, &e->config, err);
	if (rc == 0)
		rc = encryption_config_start(e->config, server_id, recovered, e, err);
	if (rc < 0)
		return rc;
	e->has_kms = e->config->has_kms;
	tell_hash(e, NULL, e->config);
	if (!e->asks_reload)
		return 0;
	rc = pthread_create(&e->reloader, NULL, keep, e);
	e->reloads = rc == 0;
	return rc ? error_set_errno(err, rc, "start a thread for the encryption configuration") : 0;
}

void encryption_set_store(struct encryption *e, struct store *store) {
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->store = store;
	pthread_mutex_unlock(&e->lock);
}

void encryption_stop(struct encryption *e) {
	if (!e)
		return;
	pthread_mutex_lock(&e->lock);
	e->stop = true;
	pthread_cond_signal(&e->stopping);
	pthread_mutex_unlock(&e->lock);
	if (e->reloads)
		pthread_join(e->reloader, NULL);
	encryption_config_unref(e->config);
	free(e->server_id);
	pthread_cond_destroy(&e->stopping);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
