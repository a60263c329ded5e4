/* SPDX-License-Identifier: Apache-2.0 */
/* grpc: the health checking protocol, grpc.health.v1.Health/Check over plain HTTP/2; SERVING is success. */
#include "kubelet/grpc/client.h"
#include "kubelet/grpc/message.h"
#include "kubelet/probe/checks.h"

#include "common/base/clock.h"

#include <errno.h>

#define SERVING 1
#define MAX_SERVICE 1024
#define FIELD_SERVICE 1
#define FIELD_STATUS 1

static bool handles(const struct core_v1_probe_handler *handler) {
	return handler->grpc;
}

/* HealthCheckResponse{status = 1}; absent is UNKNOWN. */
static bool take_status(const void *data, size_t len, void *arg) {
	struct cursor c = cursor_of(data, len);
	struct proto_field field;
	while (proto_next(&c, &field))
		if (field.number == FIELD_STATUS && field.wire == PROTO_VARINT)
			*(uint64_t *)arg = field.value;
	return !c.failed;
}

static const char *status_name(uint64_t status) {
	static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
	return status < array_len(names) ? names[status] : names[0];
}

static void explain(const char *address, int64_t timeout_ms, int r, const struct grpc_status *status, const struct error *err, struct buf *output) {
	char within[40];
	duration_format(timeout_ms * NSEC_PER_MSEC, within);
	if (r == -ECONNREFUSED)
		buf_printf(output, "timeout: failed to connect service \"%s\" within %s: context deadline exceeded", address, within);
	else if (r == -ETIMEDOUT || status->code == GRPC_DEADLINE_EXCEEDED)
		buf_printf(output, "timeout: health rpc did not complete within %s", within);
	else if (status->code == GRPC_UNIMPLEMENTED)
		buf_printf(output, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): %s", status->message);
	else
		buf_printf(output, "error: health rpc probe failed: %s", error_message(err));
}

static enum probe_result run(const struct probe_target *target, struct buf *output) {
	const struct core_v1_grpc_action *action = target->handler->grpc;
	const char *service = action->service ? action->service : "";
	if (strlen(service) > MAX_SERVICE || str_empty(target->pod_ip)) {
		buf_append_str(output, "service name too long or no address");
		return PROBE_UNKNOWN;
	}
	bool v6 = strchr(target->pod_ip, ':');
	autofree char *address = xprintf("%s%s%s:%d", v6 ? "[" : "", target->pod_ip, v6 ? "]" : "", action->port);
	autobuf struct buf request = BUF_INIT(MAX_SERVICE + 16);
	autoerror struct error err = {0};
	struct grpc_status status = {0};
	uint64_t health = 0;
	proto_put_text(&request, FIELD_SERVICE, service);
	const struct grpc_call call = {.address = address,
				       .method = "/grpc.health.v1.Health/Check",
				       .user_agent = "kube-probe/1.36",
				       .request = &request,
				       .timeout_ms = target->timeout_ms,
				       .cancel_fd = -1,
				       .on_message = take_status,
				       .arg = &health,
				       .ret_status = &status};
	int r = grpc_call(&call, &err);
	if (r < 0)
		explain(address, target->timeout_ms, r, &status, &err, output);
	else if (health != SERVING)
		buf_printf(output, "service unhealthy (responded with \"%s\")", status_name(health));
	return r == 0 && health == SERVING ? PROBE_SUCCESS : PROBE_FAILURE;
}

const struct probe_check probe_grpc = {.name = "grpc", .handles = handles, .run = run};
