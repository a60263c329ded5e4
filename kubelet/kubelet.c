/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/kubelet.h"

#include "common/base/log.h"

#include <stdarg.h>

#define MAX_EVENT_MESSAGE 4096

void kubelet_event(struct kubelet *kubelet, const void *object, const char *field_path, const char *type, const char *reason, const char *fmt, ...) {
	autobuf struct buf message = BUF_INIT(MAX_EVENT_MESSAGE * 4);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&message, fmt, args);
	va_end(args);
	const char *text = message.data ? message.data : "";
	const struct meta_v1_object_meta *meta = api_metadata(object);
	log_debug(kubelet->recorder ? 2 : 0, "event", LOG_STR("object", meta ? meta->name : ""), LOG_STR("namespace", meta ? meta->namespace : ""), LOG_STR("field", field_path), LOG_STR("type", type), LOG_STR("reason", reason), LOG_STR("message", text));
	if (kubelet->recorder)
		event_record(kubelet->recorder, object, field_path, type, reason, "%s", text);
}
