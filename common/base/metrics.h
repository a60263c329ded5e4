/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Metrics in Prometheus form. A metric is a row {name, help, kind, label names}; its series are made on first use.
 * Thread safe; counters and gauges are atomic once a series is held.
 */
#ifndef CORACLE_BASE_METRICS_H
#define CORACLE_BASE_METRICS_H

#include "common/base/buf.h"

enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric {
	const char *name;
	const char *help;
	enum metric_kind kind;
	const char *const *labels; /* NULL terminated; NULL: none */
	const double *buckets;     /* upper bounds, ascending, ended by 0 (which may also be the first); histograms only; NULL: Prometheus' defaults */
	struct metric_state *state; /* managed; leave NULL */
};
struct metric_series;

#define METRIC_MAX_SERIES 10000 /* past it, further series share one whose label values are "other" */

/* Once per metric, before it is used; rows are static. */
void metrics_register(struct metric *metrics, size_t count);
/* Label values in the order of `labels`, NULL terminated. The series lives as long as the process. */
struct metric_series *metric_with(struct metric *metric, const char *const *values);
void metric_add(struct metric_series *series, double delta);
void metric_set(struct metric_series *series, double value);
void metric_observe(struct metric_series *series, double value);
/* As that often: of a value that lasted, how many nanoseconds. */
void metric_observe_times(struct metric_series *series, double value, uint64_t times);
double metric_value(struct metric_series *series);
/* What was counted and observed begins at 0 again; gauges tell what is, and stay. */
void metrics_reset(void);
/* Called before each scrape, to bring gauges up to date. */
void metrics_on_collect(void (*fn)(void *arg), void *arg);
/* It is told no more. Before others read or count; the name is copied. */
void metrics_disable(const char *name);
/* Of that label of that metric only these values (with commas between them) are told; all others become "unexpected". Before the metric is used; copied. */
void metrics_allow_label(const char *metric, const char *label, const char *values);
/* Text format 0.0.4 of all registered metrics, process_* and build info included. */
void metrics_write(struct buf *out);

#define metric_label(m, ...) metric_with((m), (const char *const[]){__VA_ARGS__ __VA_OPT__(, ) NULL})

#endif
