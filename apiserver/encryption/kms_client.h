/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of one key service, over a unix socket: gRPC on a thread of its own, whose connection is made when it is needed and again when it breaks. A call waits for the
 * connection within its time.
 */
#ifndef CORACLE_APISERVER_ENCRYPTION_KMS_CLIENT_H
#define CORACLE_APISERVER_ENCRYPTION_KMS_CLIENT_H

#include "apiserver/etcd/grpc.h"

#define KMS_MAX_ANSWER ((size_t)128 << 10)

struct kms_client;
/* `name` is the provider's, in metrics. endpoint: "unix:///run/kms.sock", "unix:///@abstract". */
int kms_client_new(const char *name, const char *endpoint, int64_t timeout_ns, struct kms_client **ret, struct error *err);
/* Calls that are under way end without a word; none may wait in kms_client_ask(). Not from the client's thread. Takes NULL. */
void kms_client_free(struct kms_client *client);
struct loop *kms_client_loop(struct kms_client *client);

/* status is gRPC's; with GRPC_OK there is an answer, valid within the call. */
typedef void (*kms_done)(int status, const char *text, const void *data, size_t len, void *arg);
/* Takes the message over: it begins with room for a frame's header, as etcd_message_begin() leaves it. On the client's thread, as is the callback. */
void kms_client_call(struct kms_client *client, const char *method, struct buf *take_message, kms_done done, void *arg);
/* The same from another thread, which waits; the answer is appended to ret. The status; not GRPC_OK: err says why. */
int kms_client_ask(struct kms_client *client, const char *method, struct buf *take_message, struct buf *ret, struct error *err);

#endif
