// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* Everything etcd may answer: the framing of gRPC, fed in two pieces, and each message's reader. */
#include "apiserver/etcd/frame.h"
#include "apiserver/etcd/message.h"
#include "apiserver/etcd/transport.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const void *data, size_t len)
{
	struct etcd_range_response range;
	struct etcd_txn_response txn;
	struct etcd_lease_response lease;
	struct etcd_status_response status;
	struct etcd_watch_response watch;
	struct etcd_kv kv;
	struct etcd_event event;

	if (etcd_read_range(data, len, &range) == 0) {
		while (etcd_next_kv(&range.kvs, &kv))
			free(xstrndup(kv.value.data, kv.value.len));
	}
	if (etcd_read_txn(data, len, &txn) == 0 && txn.has_kv)
		free(xstrndup(txn.kv.key.data, txn.kv.key.len));
	(void)etcd_read_lease_grant(data, len, &lease);
	(void)etcd_read_status(data, len, &status);
	if (etcd_read_watch(data, len, &watch) == 0) {
		free(xstrndup(watch.cancel_reason.data, watch.cancel_reason.len));
		while (etcd_next_event(&watch.events, &event))
			free(xstrndup(event.kv.key.data, event.kv.key.len));
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_reader reader = FRAME_READER_INIT(4096);
	const void *message;
	size_t len, half = size / 2;
	char text[16];
	struct endpoint endpoint;

	read_all(data, size);
	for (int i = 0; i < 2; i++) {
		if (frame_reader_add(&reader, data + (i ? half : 0), i ? size - half : half) < 0)
			break;
		while (frame_reader_next(&reader, &message, &len))
			read_all(message, len);
	}
	frame_reader_done(&reader);
	frame_unescape((const char *)data, size, text, sizeof(text));
	autofree char *url = xstrndup((const char *)data, size);
	if (endpoint_parse(url, &endpoint, NULL) == 0)
		endpoint_done(&endpoint);
	return 0;
}
