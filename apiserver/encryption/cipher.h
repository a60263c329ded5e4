/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one key makes of an object's bytes what is stored, and back: in the forms of Kubernetes' providers aescbc, aesgcm and secretbox, so that either server reads what
 * the other wrote. What precedes these bytes in etcd (k8s:enc:<provider>:v1:<key>:) is the caller's.
 */
#ifndef CORACLE_APISERVER_ENCRYPTION_CIPHER_H
#define CORACLE_APISERVER_ENCRYPTION_CIPHER_H

#include "common/base/buf.h"

#define CIPHER_MAX_KEY 32

struct cipher {
	const char *name;         /* of the provider */
	bool (*takes_key)(size_t len);
	/* Appends to out. `about` is what the bytes are bound to: their key in etcd. 0, or negative: nothing was appended. */
	int (*seal)(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out);
	/* Negative: it was not sealed with this key, or somebody has changed it. */
	int (*open)(const uint8_t *key, size_t key_len, const char *about, const void *data, size_t len, struct buf *out);
};
/* NULL: there is none of that name. */
const struct cipher *cipher_find(const char *name);

#endif
