/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The messages of etcd's v3 API that the store uses, written and read by hand: protobuf's wire form is so small that a
 * dozen functions replace generated code, and what is read stays in place in the received bytes.
 *
 * Requests are written into a buf that begins with room for gRPC's five byte frame header: etcd_message_begin(), one
 * etcd_write_*(), etcd_message_end(). Readers return 0 or -EBADMSG; the slices they give point into the message.
 */
#ifndef CORACLE_APISERVER_ETCD_MESSAGE_H
#define CORACLE_APISERVER_ETCD_MESSAGE_H

#include "common/base/buf.h"
#include "common/base/cursor.h"

/* The largest message taken from etcd. */
#define ETCD_MAX_MESSAGE ((size_t)256 << 20)
/* The largest request that is tried; etcd itself refuses what is larger than its --max-request-bytes (1.5 MiB by default). */
#define ETCD_MAX_REQUEST ((size_t)32 << 20)
#define ETCD_FRAME_HEADER 5

struct etcd_slice {
	const char *data;
	size_t len;
};
#define ETCD_SLICE(s) ((struct etcd_slice){(s), strlen(s)})

void etcd_message_begin(struct buf *buf);
/* Fills in the frame header. */
void etcd_message_end(struct buf *buf);

struct etcd_range {
	struct etcd_slice key;
	struct etcd_slice end; /* empty: the one key */
	int64_t limit;         /* 0: none */
	int64_t revision;      /* 0: the newest */
	bool keys_only;
	bool count_only;
	bool serializable;
};
void etcd_write_range(struct buf *buf, const struct etcd_range *range);

enum etcd_compare_target { ETCD_COMPARE_VERSION = 0, ETCD_COMPARE_CREATE_REVISION = 1, ETCD_COMPARE_MOD_REVISION = 2 };
enum etcd_operation { ETCD_NOTHING, ETCD_PUT, ETCD_DELETE, ETCD_GET };
/* Another key that must still be at this revision for `then`. */
struct etcd_guard {
	struct etcd_slice key;
	int64_t mod_revision;
};
/* One key: where `target` of it is `expected` (0: absent), and every guard holds, do `then`, else `otherwise`. */
struct etcd_txn {
	struct etcd_slice key;
	enum etcd_compare_target target;
	int64_t expected;
	bool always; /* no comparison */
	enum etcd_operation then;
	enum etcd_operation otherwise;
	struct etcd_slice value; /* of ETCD_PUT */
	int64_t lease;           /* of ETCD_PUT; 0: none */
	const struct etcd_guard *guards;
	size_t guard_count;
};
void etcd_write_txn(struct buf *buf, const struct etcd_txn *txn);
void etcd_write_compaction(struct buf *buf, int64_t revision);
/* id 0: etcd chooses one. */
void etcd_write_lease_grant(struct buf *buf, int64_t ttl_seconds, int64_t id);
/* Of a keep-alive and of a revocation. */
void etcd_write_lease_id(struct buf *buf, int64_t id);
/* Status has no fields. */
void etcd_write_status(struct buf *buf);
struct etcd_watch_create {
	struct etcd_slice key, end;
	int64_t start_revision;
	bool progress_notify;
};
void etcd_write_watch_create(struct buf *buf, const struct etcd_watch_create *create);
void etcd_write_watch_cancel(struct buf *buf, int64_t watch_id);
void etcd_write_watch_progress(struct buf *buf);

struct etcd_kv {
	struct etcd_slice key, value;
	int64_t create_revision, mod_revision, version, lease;
};

struct etcd_range_response {
	int64_t revision;
	int64_t count;
	bool more;
	struct cursor kvs; /* for etcd_next_kv() */
};
int etcd_read_range(const void *data, size_t len, struct etcd_range_response *ret);
/* True while there is one more; afterwards kvs->failed tells whether all was well formed. */
bool etcd_next_kv(struct cursor *kvs, struct etcd_kv *ret);

struct etcd_txn_response {
	int64_t revision;
	bool succeeded;
	int64_t deleted;     /* by ETCD_DELETE */
	bool has_kv;
	struct etcd_kv kv;   /* the first one that ETCD_GET found */
};
int etcd_read_txn(const void *data, size_t len, struct etcd_txn_response *ret);

struct etcd_lease_response {
	int64_t id, ttl;
};
/* Of a grant, and of a keep-alive: there a ttl of 0 says that the lease has gone. */
int etcd_read_lease_grant(const void *data, size_t len, struct etcd_lease_response *ret);

struct etcd_status_response {
	int64_t revision;
	struct etcd_slice version;
	int64_t db_size;
	uint64_t leader;
};
int etcd_read_status(const void *data, size_t len, struct etcd_status_response *ret);

struct etcd_event {
	bool deleted;
	struct etcd_kv kv;
};
struct etcd_watch_response {
	int64_t revision;
	int64_t watch_id;
	bool created, canceled, fragment;
	int64_t compact_revision;
	struct etcd_slice cancel_reason;
	size_t event_count;
	struct cursor events; /* for etcd_next_event() */
};
int etcd_read_watch(const void *data, size_t len, struct etcd_watch_response *ret);
bool etcd_next_event(struct cursor *events, struct etcd_event *ret);

#endif
