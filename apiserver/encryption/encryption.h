/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --encryption-provider-config: which objects are encrypted in etcd, and how. An EncryptionConfiguration of apiserver.config.k8s.io/v1 with the providers aescbc, aesgcm,
 * secretbox, kms (version 2) and identity; the first one writes, all of them read. What none of them reads is an error to whoever asks for it.
 */
#ifndef CORACLE_APISERVER_ENCRYPTION_H
#define CORACLE_APISERVER_ENCRYPTION_H

#include "apiserver/apiserver.h"
#include "apiserver/storage/store.h"

struct encryption;
/* NULL in *ret where none is asked for. The file is read again as it changes, where --encryption-provider-config-automatic-reload says so. */
int encryption_start(const struct apiserver_options *options, const char *server_id, struct encryption **ret, struct error *err);
/* After the store is closed. Takes NULL. */
void encryption_stop(struct encryption *encryption);
/* Whom to tell that a key has come. NULL, before it is closed: nobody. Takes NULL for encryption. */
void encryption_set_store(struct encryption *encryption, struct store *store);
/* Fills the store's options. */
void encryption_options(struct encryption *encryption, struct store_transform *ret);

/* Whether all key services that are asked are well; else what is wrong. Takes NULL. Any thread. */
bool encryption_check(struct encryption *encryption, struct error *err);
/* Whether there is something to check: key services, or a file that may bring some. Takes NULL. */
bool encryption_is_checked(const struct encryption *encryption);

/* ---- config.c ---- */

struct encryption_key {
	const struct cipher *cipher; /* of a key that stands in the file */
	char *prefix;                /* of what is stored; "" */
	uint8_t *key;
	size_t key_len;
	bool is_kms;                 /* a key service */
	char *name, *endpoint;       /* of it */
	int64_t timeout_ns;
	struct kms *kms;             /* NULL: not started */
};
struct encryption_rule {
	struct api_string_list resources; /* secrets, deployments.apps, *.apps, *., *.* */
	struct encryption_key *keys;      /* in the order in which they are tried */
	size_t key_count;
};
/* Immutable once it is started, counted. */
struct encryption_config {
	unsigned refs; /* atomic */
	struct arena *arena;
	struct encryption_rule *rules;
	size_t rule_count;
	bool has_kms;
	char hash[sizeof("sha256:") + 64]; /* of the text */
};
static inline bool encryption_key_is_identity(const struct encryption_key *key) {
	return !key->cipher && !key->is_kms;
}
/* Reads it and judges it, as Kubernetes does: all that is wrong is told, by the paths of fields. */
int encryption_config_read(const char *path, struct encryption_config **ret, struct error *err);
int encryption_config_parse(const char *text, size_t len, struct encryption_config **ret, struct error *err);
/* Starts what speaks to its key services, each asked once. Once. `recovered` is that of kms.h. */
int encryption_config_start(struct encryption_config *config, const char *server_id, void (*recovered)(void *arg), void *arg, struct error *err);
/* Stops it with the last reference. Not from recovered(). Takes NULL. */
void encryption_config_unref(struct encryption_config *config);
/* The first rule for objects of that sort; NULL: they are stored as they are. */
const struct encryption_rule *encryption_rule_find(const struct encryption_config *config, const char *group, const char *resource);

#endif
