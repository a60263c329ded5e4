/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/server.h"

/* The first row whose prefix fits wins. */
const struct route routes[] = {
	{"/healthz", 0, 1, "healthz", true, true, false, route_healthz},
	{"/pods", 0, 0, "pods", true, true, false, route_pods},
	{"/runningpods", 0, 0, "pods", true, false, true, route_running_pods},
	{"/containerLogs", 3, 3, "proxy", false, false, true, route_logs},
	{"/exec", 3, 4, "proxy", false, false, true, route_remote_command},
	{"/attach", 3, 4, "proxy", false, false, true, route_remote_command},
	{"/portForward", 2, 3, "proxy", false, false, true, route_port_forward},
	{"/run", 3, 4, "proxy", false, false, true, route_run},
	{"/stats/summary", 0, 0, "stats", false, true, false, route_stats_summary},
	{"/metrics/resource", 0, 0, "metrics", false, true, false, route_metrics_resource},
	{"/metrics/cadvisor", 0, 0, "metrics", false, true, false, route_metrics_cadvisor},
	{"/metrics/probes", 0, 0, "metrics", false, true, false, route_metrics_probes},
	{"/metrics", 0, 0, "metrics", false, true, false, route_metrics},
	{"/logs", 0, ROUTE_MAX_PARTS, "log", false, false, true, route_node_logs},
	{"/configz", 0, 0, "configz", true, false, false, route_configz},
	{"/flagz", 0, 0, "configz", false, false, false, route_flagz},
	{"/statusz", 0, 0, "statusz", false, false, false, route_statusz},
};
const size_t route_count = array_len(routes);
