/* SPDX-License-Identifier: Apache-2.0 */
/* postStart and preStop. */
#include "kubelet/pod/pod.h"
#include "kubelet/probe/probe.h"

#include <errno.h>

#define HOOK_OUTPUT 10240

static int run_sleep(struct pod *pod, const char *container_id, int64_t seconds, int64_t deadline_ms) {
	int64_t until = clock_monotonic_ns() + min_of(seconds * 1000, deadline_ms) * NSEC_PER_MSEC;
	/* Ends early where the container ends. */
	for (;;) {
		uint64_t events = pod_events(pod);
		if (!pod_manager_container_running(pod->manager, pod->uid, container_id) || !pod_wait_event(pod, events, until))
			break;
	}
	return 0;
}

int pod_run_hook(struct pod *pod, const struct core_v1_container *container, const struct core_v1_lifecycle_handler *handler, const char *container_id, int64_t deadline_ms, struct error *err) {
	if (handler->sleep)
		return run_sleep(pod, container_id, handler->sleep->seconds, deadline_ms);
	const struct core_v1_probe_handler as_probe = {.exec = handler->exec, .http_get = handler->http_get, .tcp_socket = handler->tcp_socket};
	const struct probe_target target = {
		.kubelet = pod->kubelet,
		.container = container,
		.handler = &as_probe,
		.container_id = container_id,
		.pod_ip = pod->ip_count ? pod->ips[0] : "",
		.timeout_ms = (int)min_of(max_of(deadline_ms, (int64_t)1), (int64_t)INT32_MAX),
	};
	autobuf struct buf output = BUF_INIT(HOOK_OUTPUT);
	enum probe_result result = probe_run(&target, &output);
	/* A hook's HTTP request only has to be answered, with any status. */
	if (result == PROBE_SUCCESS || (handler->http_get && output.data && str_starts_with(output.data, "HTTP probe failed with statuscode")))
		return 0;
	return error_set(err, EIO, "%s", output.data ? output.data : "");
}
