/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef CORACLE_APISERVER_FLOW_INTERNAL_H
#define CORACLE_APISERVER_FLOW_INTERNAL_H

#include "apiserver/flow/flow.h"
#include "apiserver/flow/queueset.h"
#include "api/flowcontrol_v1.h"
#include "common/base/clock.h"
#include "common/base/metrics.h"

#include <pthread.h>

/* How much was asked for, over a time. */
struct demand {
	int64_t since, changed;
	double value, area, squares, peak;
	double smoothed;
};
void demand_note(struct demand *demand, double value, int64_t now);
/* Of the time since the last reset; begins a new one. */
void demand_reset(struct demand *demand, int64_t now, double *ret_mean, double *ret_deviation, double *ret_peak);

enum flow_count { FLOW_DISPATCHED, FLOW_REJECTED, FLOW_TIMED_OUT, FLOW_CANCELLED, FLOW_COUNTS };
struct flow_level {
	unsigned refs; /* atomic */
	char *name;
	pthread_mutex_t lock; /* guards what follows */
	struct queueset set;
	struct demand demand;
	struct list running; /* struct flow_request by running */
	struct { unsigned executing, waiting, seats; } stood; /* since the demand changed last */
	struct metric_series *busy_requests, *waiting_requests, *busy_seats, *demanded; /* parts of what there is, for as many nanoseconds */
	uint64_t counts[FLOW_COUNTS];
	bool leaving; /* its object is gone; it lives until its requests have ended */
	/* of the configuration; under the flow's lock as well */
	bool exempt;
	unsigned nominal, lower, upper, max_seats;
	char uid[64];
};

enum flow_distinguisher { FLOW_BY_NOTHING, FLOW_BY_USER, FLOW_BY_NAMESPACE };
struct flow_schema {
	const struct flowcontrol_v1_flow_schema *object; /* referenced */
	struct flow_level *level;                        /* referenced */
	enum flow_distinguisher by;
	struct metric_series *dispatched, *executing, *executing_seats, *waiting, *waiting_seats, *in_use, *waited, *refused, *estimated;
};
/* Immutable once published. Schemas are in the order in which they are tried; the last one matches all. */
struct flow_config {
	unsigned refs; /* atomic */
	struct flow_schema *schemas;
	size_t schema_count;
	struct flow_level **levels; /* referenced */
	size_t level_count;
};
void flow_config_unref(struct flow_config *config);

/* What a request holds; in its arena. */
struct flow_request {
	struct queued queued; /* first */
	struct request *r;
	struct flow_config *config;
	struct flow_schema *schema;
	uint64_t hash;
	const char *distinguisher;
	struct list running;
	bool held;
};

struct worker;
struct flow {
	struct apiserver *server;
	unsigned seats; /* of the whole server */
	int64_t wait_limit;     /* atomic; 0 while the server drains */
	pthread_mutex_t lock; /* guards config and the division of seats */
	struct flow_config *config;
	struct worker *owner;   /* the keeper, for its end */
	struct worker *keeper;  /* atomic; the same, for its wakers; set by itself */
	bool keeps_status; /* atomic */
	struct store_watch *watches[2];
	struct timer *clock;

	pthread_mutex_t ready_lock;
	pthread_cond_t ready_cond;
	struct list ready; /* struct flow_request by queued.link: may run, a thread is to take it */
	bool stop;
	pthread_t threads[2];
	size_t thread_count;
};
/* A reference to what holds now. */
struct flow_config *flow_config_get(struct flow *flow);

/* ---- config.c ---- */

/* Reads all FlowSchemas and levels again. */
void flow_reload(struct flow *flow);
/* Divides the seats by what each level has asked for since the last time. */
void flow_adjust(struct flow *flow);
/* Writes whether the levels that FlowSchemas name are there. 0 or a negative errno. */
int flow_write_status(struct flow *flow, struct worker *worker);

/* ---- flow.c ---- */

/* Gives the level's free seats to those who wait. Its lock is not held. */
void flow_dispatch(struct flow *flow, struct flow_level *level);

/* ---- metrics.c ---- */

void flow_metrics_schema(struct flow_schema *schema);
void flow_metrics_rejected(const struct flow_schema *schema, const char *reason);
void flow_metrics_waited(const struct flow_schema *schema, int64_t ns, bool ran);
void flow_metrics_ended(const struct flow_schema *schema, int64_t ns, bool watch);
void flow_metrics_queued(const struct flow_schema *schema, unsigned length);
void flow_metrics_level(struct flow_level *level);
/* How the level has stood since its demand changed last. Its lock is held. */
void flow_metrics_lasted(const struct flow_level *level, int64_t now);
void flow_metrics_limits(const struct flow_level *level);
void flow_metrics_demand(const struct flow_level *level, double mean, double deviation, double peak, double target, double fair);

#endif
