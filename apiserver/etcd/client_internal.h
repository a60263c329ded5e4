/* SPDX-License-Identifier: Apache-2.0 */
/* What the client's two files share. */
#ifndef CORACLE_APISERVER_ETCD_CLIENT_INTERNAL_H
#define CORACLE_APISERVER_ETCD_CLIENT_INTERNAL_H

#include "apiserver/etcd/client.h"
#include "apiserver/etcd/grpc.h"
#include "common/base/list.h"

#include <pthread.h>

struct etcd_client {
	struct loop *loop;
	pthread_t thread;
	bool thread_started;

	struct endpoint *endpoints;
	size_t endpoint_count, endpoint_next;
	struct transport_tls *tls;

	struct grpc_connection *connection;
	bool ready; /* connected, and Status has answered */
	bool slow;  /* some call waits for long */
	struct buf status_request;
	struct loop_timer *reconnect, *keepalive;
	int64_t connect_deadline;
	int64_t backoff_ns;
	size_t failures; /* in a row */
	bool ping_sent;
	int64_t ping_sent_at;
	bool progress_reliable;
	char version[24];

	struct list waiting; /* for a connection */
	struct list flying;
	struct list watches;
	struct loop_timer *deadlines;
	bool deadlines_armed;

	/* What other threads see. */
	pthread_mutex_t lock;
	struct list posted;
	bool wake_posted;
	bool stopping;
	unsigned calls; /* not yet ended */
	bool healthy;
	char trouble[256];
};

/* After the connection is ready, or has gone. */
void etcd_watch_connect(struct etcd_watch *watch);
void etcd_watch_disconnect(struct etcd_watch *watch);
struct etcd_watch *etcd_watch_of(struct list *link);
/* Drops the connection and tries the next endpoint. */
void etcd_client_reconnect(struct etcd_client *client, const char *why);

#endif
