/* SPDX-License-Identifier: Apache-2.0 */
/* Values of metrics, as the three metrics APIs tell them. All values are in thousandths. */
#ifndef CORACLE_CONTROLLER_MANAGER_METRIC_H
#define CORACLE_CONTROLLER_MANAGER_METRIC_H

#include "controller-manager/world.h"

#include "api/autoscaling_v2.h"

struct metric_value {
	char *pod;            /* NULL where it is of no pod */
	int64_t milli;
	struct wall_time at;
	int64_t window_ns;
};
struct metric_values {
	struct metric_value *items;
	size_t len;
};
void metric_values_done(struct metric_values *values);
#define autovalues cleanup(metric_values_done)
struct metric_value *metric_values_find(const struct metric_values *values, const char *pod);
void metric_values_set(struct metric_values *values, const char *pod, int64_t milli);
void metric_values_remove(struct metric_values *values, const char *pod);

/* What each pod uses of a resource, from metrics.k8s.io: the sum of its containers, or of one. */
int metric_of_resource(struct world *world, const char *ns, const char *selector, const char *resource, const char *container, struct metric_values *ret, struct error *err);
/* One value for each pod, from custom.metrics.k8s.io. */
int metric_of_pods(struct world *world, const char *ns, const char *selector, const struct autoscaling_v2_metric_identifier *metric, struct metric_values *ret, struct error *err);
/* One value of one object (group_resource "ingresses.networking.k8s.io"). */
int metric_of_object(struct world *world, const char *ns, const char *group_resource, const char *name, const struct autoscaling_v2_metric_identifier *metric, int64_t *ret_milli,
	struct error *err);
/* Any number of values, from external.metrics.k8s.io. */
int metric_external(struct world *world, const char *ns, const struct autoscaling_v2_metric_identifier *metric, struct metric_values *ret, struct error *err);

/* "a=b,c in (d)" of a LabelSelector; NULL gives "". The caller frees. */
char *metric_selector_text(const struct meta_v1_label_selector *selector);

#endif
