/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A key service (the provider kms, apiVersion v2): a program beside this one that seals and opens keys, and never sees an object. Objects are sealed with keys derived from a
 * seed of this process, which is stored with each of them as the service has sealed it; so the service is asked once for a seed, and not for each object.
 *
 * The service is asked for its health, and for the name of its key, at intervals: when that name changes there is a new seed. While it fails, objects are sealed with the
 * seed at hand for a while (`life_ns` from the last good answer), and what was opened before is opened for ever.
 */
#ifndef CORACLE_APISERVER_ENCRYPTION_KMS_H
#define CORACLE_APISERVER_ENCRYPTION_KMS_H

#include "common/base/buf.h"
#include "common/base/error.h"

#define KMS_PREFIX "k8s:enc:kms:v2:"
#define KMS_MAX_KEYS 4096 /* opened keys that are kept; the oldest give way */

struct kms_options {
	const char *name, *endpoint; /* "unix:///run/kms.sock"; copied */
	int64_t timeout_ns;
	const char *server_id;       /* of this API server, for metrics; copied */
	int64_t good_ns, bad_ns;     /* between questions for its health: after a good answer, and after a bad one */
	int64_t life_ns;
	/* What could not be opened may be tried again. On a thread of its own; may be NULL. */
	void (*recovered)(void *arg);
	void *arg;
};
#define KMS_OPTIONS_INIT ((struct kms_options){.good_ns = 20 * NSEC_PER_SEC, .bad_ns = 3 * NSEC_PER_SEC, .life_ns = 180 * NSEC_PER_SEC})

struct kms;
/* Asks it for the first time and waits for the answer: that it is not well, or not there, is no error. */
int kms_new(const struct kms_options *options, struct kms **ret, struct error *err);
/* Nobody may be inside the functions below. Takes NULL. */
void kms_free(struct kms *kms);
/* Any thread, for all below. */

/* Whether its last answer was good; else what was wrong. */
bool kms_check(struct kms *kms, struct error *err);
/* Asks it now and waits for the answer. */
void kms_probe(struct kms *kms);
/* Appends what is to be stored behind the prefix. -ENOKEY. */
int kms_seal(struct kms *kms, const char *about, const void *data, size_t len, struct buf *out, struct error *err);
/* Of what stands behind the prefix. May wait for the service, once for each seed. The mark tells by which key it was sealed. -EBADMSG, -ENOKEY (it may be opened later). */
int kms_open(struct kms *kms, const char *about, const void *data, size_t len, struct buf *out, uint32_t *ret_mark, struct error *err);
/* The mark of what would be sealed now; 0: nothing would be. */
uint32_t kms_mark(struct kms *kms);

#endif
