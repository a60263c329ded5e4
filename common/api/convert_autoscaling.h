/* SPDX-License-Identifier: Apache-2.0 */
/* HorizontalPodAutoscalers as trees, from autoscaling/v1 to v2 and back. v1 keeps in annotations what it has no fields for. */
#ifndef CORACLE_API_CONVERT_AUTOSCALING_H
#define CORACLE_API_CONVERT_AUTOSCALING_H

#include <jansson.h>

#define AUTOSCALER_METRICS "autoscaling.alpha.kubernetes.io/metrics"
#define AUTOSCALER_CURRENT "autoscaling.alpha.kubernetes.io/current-metrics"
#define AUTOSCALER_CONDITIONS "autoscaling.alpha.kubernetes.io/conditions"
#define AUTOSCALER_BEHAVIOR "autoscaling.alpha.kubernetes.io/behavior"

void convert_autoscaler_to_v1(json_t *tree);
/* An annotation that cannot be read counts as none. */
void convert_autoscaler_to_v2(json_t *tree);

#endif
