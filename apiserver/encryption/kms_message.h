/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of key services (package v2 of Kubernetes' KMS API) and what is stored of an object sealed with their help (EncryptedObject). What is read stays in place in
 * the bytes that were read; foreign lengths are held to the maxima of Kubernetes.
 */
#ifndef CORACLE_APISERVER_ENCRYPTION_KMS_MESSAGE_H
#define CORACLE_APISERVER_ENCRYPTION_KMS_MESSAGE_H

#include "common/base/buf.h"
#include "common/base/error.h"

#define KMS_STATUS "/v2.KeyManagementService/Status"
#define KMS_ENCRYPT "/v2.KeyManagementService/Encrypt"
#define KMS_DECRYPT "/v2.KeyManagementService/Decrypt"

#define KMS_MAX_KEY_ID ((size_t)1 << 10)
#define KMS_MAX_SOURCE ((size_t)1 << 10)
#define KMS_MAX_ANNOTATIONS ((size_t)32 << 10) /* names and values together */

struct kms_slice {
	const void *data;
	size_t len;
};
struct kms_annotation {
	struct kms_slice name, value;
};
/* What a key service makes of a key, and needs to give it back. */
struct kms_sealed_key {
	struct kms_slice key_id, source;
	struct kms_annotation *annotations; /* owned; by their names, each once */
	size_t annotation_count;
};
void kms_sealed_key_done(struct kms_sealed_key *sealed);
/* Whether Kubernetes would take it: -EBADMSG. */
int kms_sealed_key_check(const struct kms_sealed_key *sealed, struct error *err);

enum kms_source {
	KMS_SOURCE_KEY = 0,  /* the key itself, of AES-GCM */
	KMS_SOURCE_SEED = 1, /* what a key is derived from for each object */
};
struct kms_object {
	struct kms_slice data;
	struct kms_sealed_key sealed;
	enum kms_source type;
};
/* -EBADMSG: nothing is to be freed then. */
int kms_object_read(const void *data, size_t len, struct kms_object *ret, struct error *err);
/* Appends it without its data, which is field 1 and stands before. */
void kms_object_write_rest(struct buf *out, const struct kms_sealed_key *sealed, enum kms_source type);
void kms_object_write_data(struct buf *out, const void *data, size_t len);
/* Names a sealed key and its type among all others. */
void kms_sealed_key_hash(const struct kms_sealed_key *sealed, enum kms_source type, char out[static 65]);

struct kms_status {
	struct kms_slice version, healthz, key_id;
};
/* Readers: -EBADMSG. */
int kms_read_status(const void *data, size_t len, struct kms_status *ret);
int kms_read_encrypted(const void *data, size_t len, struct kms_sealed_key *ret);
int kms_read_decrypted(const void *data, size_t len, struct kms_slice *ret);
/* Writers: the message alone, without gRPC's frame. */
void kms_write_encrypt(struct buf *out, const void *data, size_t len, const char *uid);
void kms_write_decrypt(struct buf *out, const struct kms_sealed_key *sealed, const char *uid);

#endif
