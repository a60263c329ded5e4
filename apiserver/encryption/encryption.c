/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/encryption.h"
#include "apiserver/encryption/cipher.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/metrics.h"

#include <errno.h>
#include <pthread.h>
#include <sys/stat.h>

#define ENCRYPTED "k8s:enc:"
#define LOOK_SECONDS 1

struct encryption {
	const char *path;
	pthread_mutex_t lock; /* guards config, stop and store */
	struct encryption_config *config;
	pthread_t reloader;
	pthread_cond_t stopping;
	bool reloads, stop;
	struct store *store; /* NULL: not open */
};

static struct metric metrics[] = {
	{.name = "apiserver_storage_transformation_operations_total", .help = "Total number of transformations.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"transformation_type", "transformer_prefix", "status", NULL}},
	{.name = "apiserver_encryption_config_controller_automatic_reloads_total", .help = "Total number of reload successes and failures of encryption configuration.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"status", NULL}},
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
	metric_add(metric_label(&metrics[0], seal ? "to_storage" : "from_storage", key ? key->prefix : "unknown", rc < 0 ? "INTERNAL" : "OK"), 1);
}

/* Tells by which key something was stored; 0: by none. */
static uint32_t mark_of(const struct encryption_key *key) {
	return key->cipher ? (uint32_t)hash_fnv64(key->prefix, strlen(key->prefix)) | 1 : 0;
}

/* ---- of the store ---- */

static int seal(void *arg, const char *group, const char *resource, const char *about, const void *value, size_t len, struct buf *ret) {
	struct encryption_config *config = config_get(arg);
	const struct encryption_rule *rule = encryption_rule_find(config, group, resource);
	int rc = 0;
	if (rule && rule->keys[0].cipher) {
		const struct encryption_key *key = &rule->keys[0];
		buf_append_str(ret, key->prefix);
		rc = key->cipher->seal(key->key, key->key_len, about, value, len, ret);
		count(true, key, rc);
		rc = rc < 0 ? rc : 1;
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
		takes = !rule->keys[i].cipher;
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
	for (size_t i = 0; rule && i < rule->key_count && rc < 0; i++) {
		const struct encryption_key *key = &rule->keys[i];
		if (!key->cipher || !begins(value, len, key->prefix)) {
			if (key->cipher && same_provider(key, value, len))
				missing = strcmp(key->cipher->name, "secretbox") == 0 ? "no matching key was found for the provided Secretbox transformer" : "no matching key was found for the provided AES transformer";
			continue;
		}
		size_t skip = strlen(key->prefix);
		rc = key->cipher->open(key->key, key->key_len, about, (const char *)value + skip, len - skip, ret);
		count(false, key, rc);
		if (rc == 0)
			*ret_mark = mark_of(key);
	}
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
	bool stale = mark != (rule ? mark_of(&rule->keys[0]) : 0);
	encryption_config_unref(config);
	return stale;
}

void encryption_options(struct encryption *encryption, struct store_transform *ret) {
	if (encryption)
		*ret = (struct store_transform){.seal = seal, .open = open_value, .is_stale = is_stale, .arg = encryption};
}

/* ---- reading the file again ---- */

static void reload(struct encryption *e) {
	struct encryption_config *fresh, *old;
	autoerror struct error err = {0};
	int rc = encryption_config_read(e->path, &fresh, &err);
	metric_add(metric_label(&metrics[1], rc < 0 ? "failure" : "success"), 1);
	if (rc < 0) {
		log_error("the encryption configuration stays as it was", LOG_STR("err", error_message(&err)));
		return;
	}
	pthread_mutex_lock(&e->lock);
	old = e->config;
	e->config = fresh;
	if (e->store)
		store_read_again(e->store); /* a key may have come back */
	pthread_mutex_unlock(&e->lock);
	encryption_config_unref(old);
	log_info("the encryption configuration was read again", LOG_STR("path", e->path));
}

/* Mounted volumes swap links, editors rename: the file is looked at, as Kubernetes does it too, not watched. */
static void *keep(void *arg) {
	struct encryption *e = arg;
	struct stat seen = {0}, now;
	(void)stat(e->path, &seen);
	pthread_mutex_lock(&e->lock);
	while (!e->stop) {
		struct timespec at;
		clock_gettime(CLOCK_MONOTONIC, &at);
		at.tv_sec += LOOK_SECONDS;
		pthread_cond_timedwait(&e->stopping, &e->lock, &at);
		if (e->stop || stat(e->path, &now) < 0 || (now.st_mtim.tv_sec == seen.st_mtim.tv_sec && now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec && now.st_ino == seen.st_ino && now.st_size == seen.st_size))
			continue;
		seen = now;
		pthread_mutex_unlock(&e->lock);
		reload(e);
		pthread_mutex_lock(&e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

int encryption_start(const struct apiserver_options *options, struct encryption **ret, struct error *err) {
	*ret = NULL;
	if (str_empty(options->encryption_provider_config))
		return 0;
	struct encryption *e = xnew(struct encryption);
	pthread_condattr_t attr;
	e->path = options->encryption_provider_config;
	pthread_mutex_init(&e->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&e->stopping, &attr);
	pthread_condattr_destroy(&attr);
	*ret = e;
	int rc = encryption_config_read(e->path, &e->config, err);
	if (rc < 0 || !options->encryption_provider_config_automatic_reload)
		return rc;
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
	pthread_cond_destroy(&e->stopping);
	pthread_mutex_destroy(&e->lock);
	free(e);
}
