/* SPDX-License-Identifier: Apache-2.0 */
/*
 * --encryption-provider-config: which objects are encrypted in etcd, and how. An EncryptionConfiguration of apiserver.config.k8s.io/v1 with the providers aescbc, aesgcm,
 * secretbox and identity; the first one writes, all of them read. What none of them reads is an error to whoever asks for it.
 */
#ifndef CORACLE_APISERVER_ENCRYPTION_H
#define CORACLE_APISERVER_ENCRYPTION_H

#include "apiserver/apiserver.h"
#include "apiserver/storage/store.h"

struct encryption;
/* NULL in *ret where none is asked for. The file is read again as it changes, where --encryption-provider-config-automatic-reload says so. */
int encryption_start(const struct apiserver_options *options, struct encryption **ret, struct error *err);
/* After the store is closed. Takes NULL. */
void encryption_stop(struct encryption *encryption);
/* Whom to tell that a key has come. NULL, before it is closed: nobody. Takes NULL for encryption. */
void encryption_set_store(struct encryption *encryption, struct store *store);
/* Fills the store's options. */
void encryption_options(struct encryption *encryption, struct store_transform *ret);

/* ---- config.c ---- */

struct encryption_key {
	const struct cipher *cipher; /* NULL: identity */
	char *prefix;                /* of what is stored; "" */
	uint8_t *key;
	size_t key_len;
};
struct encryption_rule {
	struct api_string_list resources; /* secrets, deployments.apps, *.apps, *., *.* */
	struct encryption_key *keys;      /* in the order in which they are tried */
	size_t key_count;
};
/* Immutable, counted. */
struct encryption_config {
	unsigned refs; /* atomic */
	struct arena *arena;
	struct encryption_rule *rules;
	size_t rule_count;
};
int encryption_config_read(const char *path, struct encryption_config **ret, struct error *err);
int encryption_config_parse(const char *text, size_t len, struct encryption_config **ret, struct error *err);
void encryption_config_unref(struct encryption_config *config);
/* The first rule for objects of that sort; NULL: they are stored as they are. */
const struct encryption_rule *encryption_rule_find(const struct encryption_config *config, const char *group, const char *resource);

#endif
