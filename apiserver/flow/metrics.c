/* SPDX-License-Identifier: Apache-2.0 */
/* apiserver_flowcontrol_*, under Kubernetes' names. */
#include "apiserver/flow/internal.h"

static const char *const by_both[] = {"priority_level", "flow_schema", NULL}, *const by_level[] = {"priority_level", NULL};
static const double wait_buckets[] = {0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 0};
static const double length_buckets[] = {0, 10, 25, 50, 100, 250, 500, 1000, 0}, seat_buckets[] = {1, 2, 4, 8, 16, 32, 64, 100, 0};
static const double request_parts[] = {0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.25, 0.5, 0.75, 1, 0}, demand_parts[] = {0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.7, 2, 2.8, 4, 6, 0};
static const double seat_parts[] = {0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1, 0};
static const char *const by_phase[] = {"phase", "priority_level", NULL};
enum {
	DISPATCHED, REJECTED, WAITING, WAITING_SEATS, EXECUTING, EXECUTING_SEATS, WAITED, EXECUTED, LENGTH, ESTIMATED,
	NOMINAL, LOWER, UPPER, CURRENT, PEAK, MEAN, DEVIATION, SMOOTHED, TARGET, FAIR, IN_USE, LIMIT, REQUEST_PARTS, SEAT_PARTS, DEMAND_PARTS, PROGRESS,
};
#define P "apiserver_flowcontrol_"
static struct metric metrics[] = {
	[DISPATCHED] = {.name = P "dispatched_requests_total", .help = "Number of requests executed by API Priority and Fairness subsystem", .kind = METRIC_COUNTER, .labels = by_both},
	[REJECTED] = {.name = P "rejected_requests_total", .help = "Number of requests rejected by API Priority and Fairness subsystem", .kind = METRIC_COUNTER, .labels = (const char *const[]){"priority_level", "flow_schema", "reason", NULL}},
	[WAITING] = {.name = P "current_inqueue_requests", .help = "Number of requests currently pending in queues of the API Priority and Fairness subsystem", .kind = METRIC_GAUGE, .labels = by_both},
	[WAITING_SEATS] = {.name = P "current_inqueue_seats", .help = "Number of seats currently pending in queues of the API Priority and Fairness subsystem", .kind = METRIC_GAUGE, .labels = by_both},
	[EXECUTING] = {.name = P "current_executing_requests", .help = "Number of requests in initial (for a WATCH) or any (for a non-WATCH) execution stage in the API Priority and Fairness subsystem", .kind = METRIC_GAUGE, .labels = by_both},
	[EXECUTING_SEATS] = {.name = P "current_executing_seats", .help = "Concurrency (number of seats) occupied by the currently executing requests in the API Priority and Fairness subsystem", .kind = METRIC_GAUGE, .labels = by_both},
	[WAITED] = {.name = P "request_wait_duration_seconds", .help = "Length of time a request spent waiting in its queue", .kind = METRIC_HISTOGRAM, .labels = (const char *const[]){"priority_level", "flow_schema", "execute", NULL}, .buckets = wait_buckets},
	[EXECUTED] = {.name = P "request_execution_seconds", .help = "Duration of initial stage (for a WATCH) or any (for a non-WATCH) stage of request execution in the API Priority and Fairness subsystem", .kind = METRIC_HISTOGRAM, .labels = (const char *const[]){"priority_level", "flow_schema", "type", NULL}, .buckets = wait_buckets},
	[LENGTH] = {.name = P "request_queue_length_after_enqueue", .help = "Length of queue in the API Priority and Fairness subsystem, as seen by each request after it is enqueued", .kind = METRIC_HISTOGRAM, .labels = by_both, .buckets = length_buckets},
	[ESTIMATED] = {.name = P "work_estimated_seats", .help = "Number of estimated seats (maximum of initial and final seats) associated with requests in API Priority and Fairness", .kind = METRIC_HISTOGRAM, .labels = by_both, .buckets = seat_buckets},
	[NOMINAL] = {.name = P "nominal_limit_seats", .help = "Nominal number of execution seats configured for each priority level", .kind = METRIC_GAUGE, .labels = by_level},
	[LOWER] = {.name = P "lower_limit_seats", .help = "Configured lower bound on number of execution seats available to each priority level", .kind = METRIC_GAUGE, .labels = by_level},
	[UPPER] = {.name = P "upper_limit_seats", .help = "Configured upper bound on number of execution seats available to each priority level", .kind = METRIC_GAUGE, .labels = by_level},
	[CURRENT] = {.name = P "current_limit_seats", .help = "current derived number of execution seats available to each priority level", .kind = METRIC_GAUGE, .labels = by_level},
	[PEAK] = {.name = P "demand_seats_high_watermark", .help = "High watermark, over last adjustment period, of demand_seats", .kind = METRIC_GAUGE, .labels = by_level},
	[MEAN] = {.name = P "demand_seats_average", .help = "Time-weighted average, over last adjustment period, of demand_seats", .kind = METRIC_GAUGE, .labels = by_level},
	[DEVIATION] = {.name = P "demand_seats_stdev", .help = "Time-weighted standard deviation, over last adjustment period, of demand_seats", .kind = METRIC_GAUGE, .labels = by_level},
	[SMOOTHED] = {.name = P "demand_seats_smoothed", .help = "Smoothed seat demands", .kind = METRIC_GAUGE, .labels = by_level},
	[TARGET] = {.name = P "target_seats", .help = "Seat allocation targets", .kind = METRIC_GAUGE, .labels = by_level},
	[IN_USE] = {.name = P "request_concurrency_in_use", .help = "Concurrency (number of seats) occupied by the currently executing requests; current_executing_seats by its older name", .kind = METRIC_GAUGE, .labels = by_both},
	[LIMIT] = {.name = P "request_concurrency_limit", .help = "Nominal number of execution seats of each priority level; nominal_limit_seats by its older name", .kind = METRIC_GAUGE, .labels = by_level},
	[REQUEST_PARTS] = {.name = P "priority_level_request_utilization", .help = "Observations, for each nanosecond, of the part of what may wait or run that does", .kind = METRIC_HISTOGRAM, .labels = by_phase, .buckets = request_parts},
	[SEAT_PARTS] = {.name = P "priority_level_seat_utilization", .help = "Observations, for each nanosecond, of the part of a priority level's seats that are taken", .kind = METRIC_HISTOGRAM, .labels = by_phase, .buckets = seat_parts},
	[DEMAND_PARTS] = {.name = P "demand_seats", .help = "Observations, for each nanosecond, of the seats asked for as a part of the nominal limit", .kind = METRIC_HISTOGRAM, .labels = by_level, .buckets = demand_parts},
	[PROGRESS] = {.name = P "current_r", .help = "R(time of last change)", .kind = METRIC_GAUGE, .labels = by_level},
	[FAIR] = {.name = P "seat_fair_frac", .help = "Fair fraction of server's concurrency to allocate to each priority level that can use it", .kind = METRIC_GAUGE},
};

__attribute__((constructor)) static void register_metrics(void) {
	metrics_register(metrics, array_len(metrics));
}

static struct metric_series *of_both(unsigned which, const struct flow_schema *schema) {
	return metric_label(&metrics[which], schema->level->name, schema->object->metadata.name);
}

void flow_metrics_schema(struct flow_schema *schema) {
	schema->dispatched = of_both(DISPATCHED, schema);
	schema->waiting = of_both(WAITING, schema);
	schema->waiting_seats = of_both(WAITING_SEATS, schema);
	schema->executing = of_both(EXECUTING, schema);
	schema->executing_seats = of_both(EXECUTING_SEATS, schema);
	schema->in_use = of_both(IN_USE, schema);
	schema->estimated = of_both(ESTIMATED, schema);
	schema->waited = metric_label(&metrics[WAITED], schema->level->name, schema->object->metadata.name, "true");
	schema->refused = metric_label(&metrics[WAITED], schema->level->name, schema->object->metadata.name, "false");
}

void flow_metrics_rejected(const struct flow_schema *schema, const char *reason) {
	metric_add(metric_label(&metrics[REJECTED], schema->level->name, schema->object->metadata.name, reason), 1);
}

void flow_metrics_waited(const struct flow_schema *schema, int64_t ns, bool ran) {
	metric_observe(ran ? schema->waited : schema->refused, (double)ns / NSEC_PER_SEC);
}

void flow_metrics_ended(const struct flow_schema *schema, int64_t ns, bool watch) {
	metric_observe(metric_label(&metrics[EXECUTED], schema->level->name, schema->object->metadata.name, watch ? "watch" : "regular"), (double)ns / NSEC_PER_SEC);
}

void flow_metrics_queued(const struct flow_schema *schema, unsigned length) {
	metric_observe(of_both(LENGTH, schema), length);
}

void flow_metrics_level(struct flow_level *level) {
	level->busy_requests = metric_label(&metrics[REQUEST_PARTS], "executing", level->name);
	level->waiting_requests = metric_label(&metrics[REQUEST_PARTS], "waiting", level->name);
	level->busy_seats = metric_label(&metrics[SEAT_PARTS], "executing", level->name);
	level->demanded = metric_label(&metrics[DEMAND_PARTS], level->name);
}

static void lasted(struct metric_series *series, double part, double of, uint64_t ns) {
	metric_observe_times(series, part / max_of(of, 1.0), ns);
}

void flow_metrics_lasted(const struct flow_level *level, int64_t now) {
	const struct queueset *set = &level->set;
	uint64_t ns = now > level->demand.changed ? (uint64_t)(now - level->demand.changed) : 0;
	lasted(level->busy_requests, level->stood.executing, set->limit, ns);
	lasted(level->waiting_requests, level->stood.waiting, (double)set->config.queues * set->config.queue_length, ns);
	lasted(level->busy_seats, level->stood.seats, set->limit, ns);
	lasted(level->demanded, level->demand.value, level->nominal, ns);
}

void flow_metrics_limits(const struct flow_level *level) {
	metric_set(metric_label(&metrics[NOMINAL], level->name), level->nominal);
	metric_set(metric_label(&metrics[LOWER], level->name), level->lower);
	metric_set(metric_label(&metrics[UPPER], level->name), level->upper);
	metric_set(metric_label(&metrics[CURRENT], level->name), level->set.limit);
	metric_set(metric_label(&metrics[LIMIT], level->name), level->nominal);
}

void flow_metrics_demand(const struct flow_level *level, double mean, double deviation, double peak, double target, double fair) {
	metric_set(metric_label(&metrics[MEAN], level->name), mean);
	metric_set(metric_label(&metrics[DEVIATION], level->name), deviation);
	metric_set(metric_label(&metrics[PEAK], level->name), peak);
	metric_set(metric_label(&metrics[SMOOTHED], level->name), level->demand.smoothed);
	metric_set(metric_label(&metrics[TARGET], level->name), target);
	metric_set(metric_label(&metrics[CURRENT], level->name), level->set.limit);
	metric_set(metric_label(&metrics[FAIR]), fair);
	metric_set(metric_label(&metrics[PROGRESS], level->name), level->set.progress);
}
