/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/kms.h"
#include "apiserver/encryption/envelope.h"
#include "apiserver/encryption/kms_client.h"
#include "apiserver/etcd/message.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/map.h"
#include "common/base/metrics.h"
#include "common/base/random.h"

#include <errno.h>
#include <pthread.h>

#define KEY_LIFE_NS (24 * 3600 * NSEC_PER_SEC) /* of an opened key that nothing is read with */
#define RETRY_LEAST_NS (3 * NSEC_PER_SEC)
#define RETRY_MOST_NS (300 * NSEC_PER_SEC)
#define MAX_FAILURES 1024
#define MAX_REQUEST ((size_t)128 << 10)

static const char *const used_labels[] = {"apiserver_id_hash", "key_id_hash", "provider_name", "transformation_type", NULL};
enum { USED, USED_AT, STATUS_AT, INVALID_ID, CACHED, FILL, MISSES };
static struct metric metrics[] = {
	[USED] = {.name = "apiserver_envelope_encryption_key_id_hash_total", .help = "How often a key of a key service was used, by its hashed name.", .kind = METRIC_COUNTER, .labels = used_labels},
	[USED_AT] = {.name = "apiserver_envelope_encryption_key_id_hash_last_timestamp_seconds", .help = "When a key of a key service was used last.", .kind = METRIC_GAUGE, .labels = used_labels},
	[STATUS_AT] = {.name = "apiserver_envelope_encryption_key_id_hash_status_last_timestamp_seconds", .help = "When a key service named that key as its own last.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"apiserver_id_hash", "key_id_hash", "provider_name", NULL}},
	[INVALID_ID] = {.name = "apiserver_envelope_encryption_invalid_key_id_from_status_total", .help = "How often a key service named a key in a way that is none.", .kind = METRIC_COUNTER, .labels = (const char *const[]){"error", "provider_name", NULL}},
	[CACHED] = {.name = "apiserver_envelope_encryption_dek_source_cache_size", .help = "Keys that a key service has opened, and that are kept.", .kind = METRIC_GAUGE, .labels = (const char *const[]){"provider_name", NULL}},
	[FILL] = {.name = "apiserver_envelope_encryption_dek_cache_fill_percent", .help = "Of the first version of key services, which is not spoken here.", .kind = METRIC_GAUGE},
	[MISSES] = {.name = "apiserver_storage_envelope_transformation_cache_misses_total", .help = "How often a key service was asked to open a key.", .kind = METRIC_COUNTER},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
	metric_set(metric_label(&metrics[FILL]), 0);
	metric_add(metric_label(&metrics[MISSES]), 0);
}

/* An opened key or seed. Immutable, counted, but for `used`. */
struct dek {
	unsigned refs; /* atomic */
	enum kms_source type;
	uint8_t *key;
	size_t len;
	uint32_t mark;
	char key_hash[sizeof("sha256:") + 64];
	int64_t used; /* atomic */
	struct metric_series *count, *at; /* of reading */
};

/* What is sealed with: a seed and what is stored of it. Immutable, counted. */
struct seed {
	unsigned refs; /* atomic */
	uint8_t bytes[ENVELOPE_SEED];
	char *key_id;
	uint32_t mark;
	struct buf rest; /* of each object, behind its data */
	struct metric_series *count, *at; /* of writing */
};

struct kms {
	char *name, *server_hash;
	struct kms_options options;
	struct kms_client *client;

	pthread_mutex_t lock; /* of all down to the next gap */
	pthread_cond_t answered;
	uint64_t probes; /* that have ended */
	bool healthy;
	char *trouble;
	struct seed *seed; /* NULL: none yet */
	int64_t seed_until;
	struct map deks;     /* by the hash of their sealed form */
	struct map failures; /* keys that could not be opened, and why: not asked for again until the next try */

	/* The client's thread. */
	struct loop_timer *timer, *retry;
	bool probing;
	int64_t probe_started;
	char *version, *status_key;
	uint8_t fresh[ENVELOPE_SEED];
	struct buf errors;
	unsigned error_count;
	int64_t retry_ns;
	bool retry_armed;
};

static void hash_of(const void *data, size_t len, char out[static sizeof("sha256:") + 64]) {
	memcpy(out, "sha256:", 7);
	sha256_hex(data, len, out + 7);
}

static double now_seconds(void) {
	struct wall_time now = clock_wall();
	return (double)now.sec + now.nsec / 1e9;
}

static void tally(struct metric_series *count, struct metric_series *at) {
	metric_add(count, 1);
	metric_set(at, now_seconds());
}

static uint32_t mark_of(const struct kms *kms, const void *key_id, size_t len, enum kms_source type) {
	autobuf struct buf text = BUF_INIT(2 * KMS_MAX_KEY_ID);
	buf_printf(&text, "%s:%d:", kms->name, type);
	buf_append(&text, key_id, len);
	return (uint32_t)hash_fnv64(text.data, text.len) | 1;
}

/* ---- keys ---- */

static void dek_unref(void *arg) {
	struct dek *dek = arg;
	if (!dek || __atomic_sub_fetch(&dek->refs, 1, __ATOMIC_ACQ_REL))
		return;
	explicit_bzero(dek->key, dek->len);
	free(dek->key);
	free(dek);
}

static struct dek *dek_new(const struct kms *kms, const struct kms_sealed_key *sealed, enum kms_source type, const void *key, size_t len) {
	struct dek *dek = xnew(struct dek);
	*dek = (struct dek){.refs = 1, .type = type, .key = xmemdup(key, len), .len = len, .mark = mark_of(kms, sealed->key_id.data, sealed->key_id.len, type), .used = clock_monotonic_ns()};
	hash_of(sealed->key_id.data, sealed->key_id.len, dek->key_hash);
	dek->count = metric_label(&metrics[USED], kms->server_hash, dek->key_hash, kms->name, "from_storage");
	dek->at = metric_label(&metrics[USED_AT], kms->server_hash, dek->key_hash, kms->name, "from_storage");
	return dek;
}

static void seed_unref(struct seed *seed) {
	if (!seed || __atomic_sub_fetch(&seed->refs, 1, __ATOMIC_ACQ_REL))
		return;
	explicit_bzero(seed->bytes, sizeof(seed->bytes));
	buf_done(&seed->rest);
	free(seed->key_id);
	free(seed);
}

/* What nothing was read with for long goes, and the oldest where there are too many. The lock is held. */
static void make_room(struct kms *kms) {
	struct map_entry *e;
	const char *oldest = NULL;
	int64_t least = INT64_MAX, now = clock_monotonic_ns();
	for (size_t i = 0; (e = map_next(&kms->deks, &i));) {
		struct dek *dek = e->value;
		int64_t used = __atomic_load_n(&dek->used, __ATOMIC_RELAXED);
		if (used + KEY_LIFE_NS < now) {
			map_remove(&kms->deks, e->key);
		} else if (used < least) {
			least = used;
			oldest = e->key;
		}
	}
	if (kms->deks.len >= KMS_MAX_KEYS && oldest)
		map_remove(&kms->deks, oldest);
}

/* Takes over a reference. The lock is held. */
static void keep_dek(struct kms *kms, const char *hash, struct dek *dek) {
	make_room(kms);
	map_set(&kms->deks, hash, dek);
	metric_set(metric_label(&metrics[CACHED], kms->name), (double)kms->deks.len);
}

/* ---- another try ---- */

/* On the client's thread, as all that asks for health. */
static void try_again(void *arg) {
	struct kms *kms = arg;
	kms->retry_armed = false;
	pthread_mutex_lock(&kms->lock);
	bool any = kms->failures.len > 0, healthy = kms->healthy;
	if (healthy)
		map_clear(&kms->failures);
	pthread_mutex_unlock(&kms->lock);
	if (!any)
		kms->retry_ns = RETRY_LEAST_NS;
	if (!any || !healthy)
		return; /* who is not well is tried once it is */
	kms->retry_ns = min_of(2 * kms->retry_ns, RETRY_MOST_NS);
	if (kms->options.recovered)
		kms->options.recovered(kms->options.arg);
}

static void arm_retry(void *arg) {
	struct kms *kms = arg;
	if (kms->retry_armed)
		return;
	kms->retry_armed = true;
	loop_timer_arm(kms->retry, kms->retry_ns);
}

/* ---- health ---- */

static void probe(void *arg);

static void add_error(struct kms *kms, const char *fmt, ...) printf_like(2, 3);
static void add_error(struct kms *kms, const char *fmt, ...) {
	va_list args;
	va_start(args, fmt);
	buf_append_str(&kms->errors, kms->error_count++ ? ", " : "");
	buf_vprintf(&kms->errors, fmt, args);
	va_end(args);
}

static void probe_ended(struct kms *kms) {
	bool good = kms->error_count == 0, many = kms->error_count > 1;
	autofree char *trouble = good ? NULL : xprintf("%s%s%s", many ? "[" : "", str_or(kms->errors.data, ""), many ? "]" : "");
	buf_reset(&kms->errors);
	kms->error_count = 0;
	kms->probing = false;
	pthread_mutex_lock(&kms->lock);
	bool first = kms->probes == 0, changed = first || kms->healthy != good;
	kms->healthy = good;
	free(kms->trouble);
	kms->trouble = trouble ? xstrdup(trouble) : NULL;
	kms->probes++;
	pthread_cond_broadcast(&kms->answered);
	pthread_mutex_unlock(&kms->lock);
	loop_timer_arm(kms->timer, good ? kms->options.good_ns : kms->options.bad_ns);
	if (changed && !good)
		log_warning("a key service is not well", LOG_STR("name", kms->name), LOG_STR("err", trouble));
	else if (changed && !first)
		log_info("a key service is well again", LOG_STR("name", kms->name));
	if (good && changed && !first) {
		kms->retry_ns = RETRY_LEAST_NS;
		try_again(kms);
	}
}

/* From the beginning of the question on: what was sealed before it may have been answered already. */
static int64_t seed_end(const struct kms *kms) {
	return kms->probe_started + kms->options.life_ns;
}

static void take_seed(struct kms *kms, const struct kms_sealed_key *sealed) {
	struct seed *seed = xnew(struct seed), *old;
	char hash[65], key_hash[sizeof("sha256:") + 64];
	*seed = (struct seed){.refs = 1, .key_id = xstrndup(sealed->key_id.data, sealed->key_id.len), .mark = mark_of(kms, sealed->key_id.data, sealed->key_id.len, KMS_SOURCE_SEED), .rest = BUF_INIT(MAX_REQUEST)};
	memcpy(seed->bytes, kms->fresh, sizeof(seed->bytes));
	kms_object_write_rest(&seed->rest, sealed, KMS_SOURCE_SEED);
	hash_of(sealed->key_id.data, sealed->key_id.len, key_hash);
	seed->count = metric_label(&metrics[USED], kms->server_hash, key_hash, kms->name, "to_storage");
	seed->at = metric_label(&metrics[USED_AT], kms->server_hash, key_hash, kms->name, "to_storage");
	kms_sealed_key_hash(sealed, KMS_SOURCE_SEED, hash);
	struct dek *dek = dek_new(kms, sealed, KMS_SOURCE_SEED, kms->fresh, sizeof(kms->fresh));
	pthread_mutex_lock(&kms->lock);
	old = kms->seed;
	kms->seed = seed;
	kms->seed_until = seed_end(kms);
	keep_dek(kms, hash, dek);
	pthread_mutex_unlock(&kms->lock);
	if (old)
		log_info("the key of a key service has changed", LOG_STR("name", kms->name));
	seed_unref(old);
}

static void on_encrypted(int status, const char *text, const void *data, size_t len, void *arg) {
	struct kms *kms = arg;
	struct kms_sealed_key sealed = {0};
	autoerror struct error why = {0};
	if (status != GRPC_OK)
		add_error(kms, "failed to rotate DEK: failed to encrypt DEK, error: rpc error: code = %s desc = %s", grpc_status_name(status), text);
	else if (len > KMS_MAX_ANSWER || kms_read_encrypted(data, len, &sealed) < 0)
		add_error(kms, "failed to rotate DEK: the answer is no message of a key service");
	else if (kms_sealed_key_check(&sealed, &why) < 0)
		add_error(kms, "failed to rotate DEK: %s", error_message(&why));
	else if (sealed.key_id.len != strlen(kms->status_key) || memcmp(sealed.key_id.data, kms->status_key, sealed.key_id.len) != 0)
		add_error(kms, "failed to rotate DEK: it sealed with another key than it names as its own");
	else
		take_seed(kms, &sealed);
	kms_sealed_key_done(&sealed);
	explicit_bzero(kms->fresh, sizeof(kms->fresh));
	probe_ended(kms);
}

static void message_begin(struct buf *message) {
	*message = BUF_INIT(MAX_REQUEST);
	etcd_message_begin(message);
}

/* The seed at hand where its key is still that of the service, or a new one. True: a call is under way. */
static bool renew_seed(struct kms *kms, struct kms_slice key_id) {
	struct buf message;
	char uid[37];
	pthread_mutex_lock(&kms->lock);
	bool same = kms->seed && strlen(kms->seed->key_id) == key_id.len && memcmp(kms->seed->key_id, key_id.data, key_id.len) == 0;
	if (same)
		kms->seed_until = seed_end(kms);
	pthread_mutex_unlock(&kms->lock);
	if (same)
		return false;
	free(kms->status_key);
	kms->status_key = xstrndup(key_id.data, key_id.len);
	random_bytes(kms->fresh, sizeof(kms->fresh));
	random_uuid(uid);
	message_begin(&message);
	kms_write_encrypt(&message, kms->fresh, sizeof(kms->fresh), uid);
	etcd_message_end(&message);
	kms_client_call(kms->client, KMS_ENCRYPT, &message, on_encrypted, kms);
	return true;
}

#define TEXT(slice_) (int)min_of((slice_).len, (size_t)1024), (const char *)(slice_).data

static void check_version(struct kms *kms, struct kms_slice version) {
	autofree char *text = xstrndup(version.data, version.len);
	if (strcmp(text, "v2") != 0 && strcmp(text, "v2beta1") != 0)
		return add_error(kms, "expected KMSv2 API version v2, got %.*s", TEXT(version));
	if (!kms->version)
		kms->version = take_ptr(text);
	else if (strcmp(kms->version, text) != 0)
		add_error(kms, "KMSv2 API version should not change after the initial status response version %s, got %s", kms->version, text);
}

static void on_status(int status, const char *text, const void *data, size_t len, void *arg) {
	struct kms *kms = arg;
	struct kms_status s;
	char hash[sizeof("sha256:") + 64];
	if (status != GRPC_OK || len > KMS_MAX_ANSWER || kms_read_status(data, len, &s) < 0) {
		if (status != GRPC_OK)
			add_error(kms, "failed to perform status section of the healthz check for KMS Provider %s, error: rpc error: code = %s desc = %s", kms->name, grpc_status_name(status), text);
		else
			add_error(kms, "the status of KMS Provider %s is no message of a key service", kms->name);
		return probe_ended(kms);
	}
	if (s.healthz.len != 2 || memcmp(s.healthz.data, "ok", 2) != 0)
		add_error(kms, "got unexpected healthz status: %.*s", TEXT(s.healthz));
	check_version(kms, s.version);
	if (!s.key_id.len || s.key_id.len > KMS_MAX_KEY_ID || memchr(s.key_id.data, '\0', s.key_id.len)) {
		metric_add(metric_label(&metrics[INVALID_ID], s.key_id.len ? "too_long" : "empty", kms->name), 1);
		add_error(kms, s.key_id.len ? "its keyID is too long, or no text" : "keyID is empty");
		return probe_ended(kms);
	}
	hash_of(s.key_id.data, s.key_id.len, hash);
	metric_set(metric_label(&metrics[STATUS_AT], kms->server_hash, hash, kms->name), now_seconds());
	if (!renew_seed(kms, s.key_id))
		probe_ended(kms);
}

static void probe(void *arg) {
	struct kms *kms = arg;
	struct buf message;
	if (kms->probing)
		return;
	kms->probing = true;
	kms->probe_started = clock_monotonic_ns();
	message_begin(&message);
	etcd_message_end(&message);
	kms_client_call(kms->client, KMS_STATUS, &message, on_status, kms);
}

bool kms_check(struct kms *kms, struct error *err) {
	pthread_mutex_lock(&kms->lock);
	bool healthy = kms->healthy;
	if (!healthy)
		error_set(err, EAGAIN, "kmsv2 Provider %s is not healthy, error: %s", kms->name, str_or(kms->trouble, "it was not asked yet"));
	pthread_mutex_unlock(&kms->lock);
	return healthy;
}

void kms_probe(struct kms *kms) {
	loop_post(kms_client_loop(kms->client), probe, kms);
	pthread_mutex_lock(&kms->lock);
	for (uint64_t before = kms->probes; kms->probes == before;)
		pthread_cond_wait(&kms->answered, &kms->lock);
	pthread_mutex_unlock(&kms->lock);
}

/* ---- sealing and opening ---- */

uint32_t kms_mark(struct kms *kms) {
	pthread_mutex_lock(&kms->lock);
	uint32_t mark = kms->seed ? kms->seed->mark : 0;
	pthread_mutex_unlock(&kms->lock);
	return mark;
}

int kms_seal(struct kms *kms, const char *about, const void *data, size_t len, struct buf *out, struct error *err) {
	autobuf struct buf sealed = BUF_INIT(out->max);
	pthread_mutex_lock(&kms->lock);
	struct seed *seed = kms->seed;
	bool over = seed && kms->seed_until < clock_monotonic_ns();
	if (seed && !over)
		__atomic_add_fetch(&seed->refs, 1, __ATOMIC_RELAXED);
	if (!seed)
		error_set(err, ENOKEY, "key service %s has given no key yet: %s", kms->name, str_or(kms->trouble, "it was not asked yet"));
	else if (over)
		error_set(err, ENOKEY, "the key of key service %s has expired: %s", kms->name, str_or(kms->trouble, "it does not answer"));
	pthread_mutex_unlock(&kms->lock);
	if (!seed || over)
		return -ENOKEY;
	int rc = envelope_seal(seed->bytes, about, data, len, &sealed);
	if (rc == 0) {
		kms_object_write_data(out, sealed.data, sealed.len);
		buf_append(out, seed->rest.data, seed->rest.len);
		tally(seed->count, seed->at);
	} else {
		rc = error_set(err, ENOKEY, "the TLS library does not seal");
	}
	seed_unref(seed);
	return rc;
}

/* Why a key is not asked for now, or nothing. The lock is held. */
static const char *known_failure(struct kms *kms, const char *hash) {
	const char *failure = map_get(&kms->failures, hash);
	return failure ? failure : kms->healthy ? NULL : str_or(kms->trouble, "it was not asked yet");
}

static void note_failure(struct kms *kms, const char *hash, const char *why) {
	pthread_mutex_lock(&kms->lock);
	if (kms->failures.len < MAX_FAILURES)
		map_set(&kms->failures, hash, xstrdup(why));
	pthread_mutex_unlock(&kms->lock);
	loop_post(kms_client_loop(kms->client), arm_retry, kms);
}

/* The key of an object, from the service where it is not here. NULL: err says why. The caller unrefs. */
static struct dek *find_dek(struct kms *kms, const struct kms_object *object, struct error *err) {
	char hash[65], uid[37];
	autobuf struct buf answer = BUF_INIT(KMS_MAX_ANSWER + 1);
	struct buf message;
	struct kms_slice key;
	kms_sealed_key_hash(&object->sealed, object->type, hash);
	pthread_mutex_lock(&kms->lock);
	struct dek *dek = map_get(&kms->deks, hash);
	if (dek)
		__atomic_add_fetch(&dek->refs, 1, __ATOMIC_RELAXED);
	const char *failure = dek ? NULL : known_failure(kms, hash);
	if (failure)
		error_set(err, ENOKEY, "failed to decrypt DEK, error: %s", failure);
	pthread_mutex_unlock(&kms->lock);
	if (failure)
		note_failure(kms, hash, error_message(err) + strlen("failed to decrypt DEK, error: "));
	if (dek || failure)
		return dek;
	metric_add(metric_label(&metrics[MISSES]), 1);
	random_uuid(uid);
	message_begin(&message);
	kms_write_decrypt(&message, &object->sealed, uid);
	etcd_message_end(&message);
	autoerror struct error why = {0};
	int status = kms_client_ask(kms->client, KMS_DECRYPT, &message, &answer, &why);
	if (status == GRPC_OK && (kms_read_decrypted(answer.data, answer.len, &key) < 0 || !envelope_takes_key(object->type, key.len)))
		status = (error_set(&why, EBADMSG, "what it has opened is no key"), GRPC_INTERNAL);
	if (status != GRPC_OK) {
		note_failure(kms, hash, error_message(&why));
		error_set(err, ENOKEY, "failed to decrypt DEK, error: %s", error_message(&why));
	} else {
		dek = dek_new(kms, &object->sealed, object->type, key.data, key.len);
		dek->refs = 2;
		pthread_mutex_lock(&kms->lock);
		keep_dek(kms, hash, dek);
		pthread_mutex_unlock(&kms->lock);
	}
	if (answer.len)
		explicit_bzero(answer.data, answer.len);
	return dek;
}

int kms_open(struct kms *kms, const char *about, const void *data, size_t len, struct buf *out, uint32_t *ret_mark, struct error *err) {
	struct kms_object object;
	int rc = kms_object_read(data, len, &object, err);
	if (rc < 0)
		return rc;
	struct dek *dek = find_dek(kms, &object, err);
	rc = -ENOKEY;
	if (dek) {
		__atomic_store_n(&dek->used, clock_monotonic_ns(), __ATOMIC_RELAXED);
		tally(dek->count, dek->at);
		rc = envelope_open(dek->type, dek->key, dek->len, about, object.data.data, object.data.len, out);
		*ret_mark = dek->mark;
		if (rc < 0)
			error_set(err, EBADMSG, "cipher: message authentication failed");
	}
	dek_unref(dek);
	kms_sealed_key_done(&object.sealed);
	return rc;
}

/* ---- start and stop ---- */

static void make_timers(void *arg) {
	struct kms *kms = arg;
	kms->timer = loop_timer_new(kms_client_loop(kms->client), probe, kms);
	kms->retry = loop_timer_new(kms_client_loop(kms->client), try_again, kms);
}

int kms_new(const struct kms_options *options, struct kms **ret, struct error *err) {
	struct kms *kms = xnew(struct kms);
	char hash[sizeof("sha256:") + 64];
	*kms = (struct kms){.name = xstrdup(options->name), .options = *options, .errors = BUF_INIT(64 << 10), .retry_ns = RETRY_LEAST_NS, .deks = MAP_INIT(dek_unref), .failures = MAP_INIT(free)};
	hash_of(options->server_id, strlen(options->server_id), hash);
	kms->server_hash = xstrdup(hash);
	pthread_mutex_init(&kms->lock, NULL);
	pthread_cond_init(&kms->answered, NULL);
	int rc = kms_client_new(options->name, options->endpoint, options->timeout_ns, &kms->client, err);
	if (rc < 0) {
		kms_free(kms);
		return rc;
	}
	*ret = kms;
	loop_call(kms_client_loop(kms->client), make_timers, kms);
	kms_probe(kms);
	return 0;
}

void kms_free(struct kms *kms) {
	if (!kms)
		return;
	kms_client_free(kms->client); /* and with its loop the timers */
	seed_unref(kms->seed);
	map_done(&kms->deks);
	map_done(&kms->failures);
	pthread_cond_destroy(&kms->answered);
	pthread_mutex_destroy(&kms->lock);
	explicit_bzero(kms->fresh, sizeof(kms->fresh));
	buf_done(&kms->errors);
	free(kms->trouble);
	free(kms->version);
	free(kms->status_key);
	free(kms->server_hash);
	free(kms->name);
	free(kms);
}
