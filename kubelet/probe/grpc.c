/* SPDX-License-Identifier: Apache-2.0 */
/* grpc: the health checking protocol, grpc.health.v1.Health/Check over plain HTTP/2; SERVING is success. */
#include "common/base/cursor.h"
#include "kubelet/probe/checks.h"

#include <curl/curl.h>
#include <stdio.h>
#include <strings.h>

#define SERVING 1
#define MAX_SERVICE 1024

static bool handles(const struct core_v1_probe_handler *handler) {
	return handler->grpc;
}

struct answer {
	struct buf body;
	int grpc_status; /* -1: not told */
	char message[256];
};

static size_t on_body(char *data, size_t size, size_t count, void *arg) {
	struct answer *answer = arg;
	buf_append(&answer->body, data, size * count);
	return size * count;
}

/* Headers and trailers come alike. */
static size_t on_header(char *data, size_t size, size_t count, void *arg) {
	struct answer *answer = arg;
	size_t len = size * count;
	if (len > 12 && strncasecmp(data, "grpc-status:", 12) == 0) {
		autofree char *text = xstrndup(data + 12, len - 12);
		int64_t status;
		char *value = text + strspn(text, " \t");
		value[strcspn(value, "\r\n ")] = '\0';
		if (str_to_int64(value, 0, 255, &status))
			answer->grpc_status = (int)status;
	} else if (len > 13 && strncasecmp(data, "grpc-message:", 13) == 0) {
		snprintf(answer->message, sizeof(answer->message), "%.*s", (int)min_of(len - 13, sizeof(answer->message) - 1), data + 13);
		answer->message[strcspn(answer->message, "\r\n")] = '\0';
	}
	return len;
}

/* HealthCheckRequest{service = 1} in gRPC's frame: a flag and the length. */
static size_t frame_request(const char *service, uint8_t out[MAX_SERVICE + 16]) {
	size_t len = strlen(service), n = 5;
	if (len) {
		out[n++] = 0x0a;
		if (len > 127)
			out[n++] = (uint8_t)(len | 0x80);
		out[n++] = (uint8_t)(len > 127 ? len >> 7 : len);
		memcpy(out + n, service, len);
		n += len;
	}
	memset(out, 0, 3);
	out[3] = (uint8_t)((n - 5) >> 8);
	out[4] = (uint8_t)(n - 5);
	return n;
}

/* HealthCheckResponse{status = 1}; absent is UNKNOWN. */
static int parse_status(const struct buf *body) {
	struct cursor c = cursor_of(body->data, body->len);
	int status = 0;
	cursor_u8(&c);
	cursor_be32(&c);
	while (!c.failed && cursor_left(&c)) {
		uint64_t tag = cursor_varint(&c);
		if ((tag & 7) == 0) {
			uint64_t value = cursor_varint(&c);
			status = tag >> 3 == 1 ? (int)value : status;
		} else if ((tag & 7) == 2) {
			cursor_take(&c, cursor_varint(&c));
		} else {
			break;
		}
	}
	return c.failed ? 0 : status;
}

static enum probe_result run(const struct probe_target *target, struct buf *output) {
	const struct core_v1_grpc_action *action = target->handler->grpc;
	const char *service = action->service ? action->service : "";
	CURL *curl = curl_easy_init();
	if (!curl || strlen(service) > MAX_SERVICE || str_empty(target->pod_ip)) {
		curl_easy_cleanup(curl);
		buf_append_str(output, "service name too long or no address");
		return PROBE_UNKNOWN;
	}
	uint8_t request[MAX_SERVICE + 16];
	struct answer answer = {.body = BUF_INIT(PROBE_MAX_OUTPUT), .grpc_status = -1};
	bool v6 = strchr(target->pod_ip, ':');
	autofree char *url = xprintf("http://%s%s%s:%d/grpc.health.v1.Health/Check", v6 ? "[" : "", target->pod_ip, v6 ? "]" : "", action->port);
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/grpc");
	headers = curl_slist_append(headers, "TE: trailers");
	headers = curl_slist_append(headers, "User-Agent: kube-probe/1.36");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POST, 1L);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)frame_request(service, request));
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)target->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, &answer);
	CURLcode code = curl_easy_perform(curl);
	int status = parse_status(&answer.body);
	bool serving = code == CURLE_OK && answer.grpc_status == 0 && status == SERVING;
	if (code == CURLE_OPERATION_TIMEDOUT)
		buf_printf(output, "timeout: failed to connect service \"%s:%d\" within %dms: context deadline exceeded", target->pod_ip, action->port, target->timeout_ms);
	else if (code != CURLE_OK)
		buf_printf(output, "error: %s", curl_easy_strerror(code));
	else if (answer.grpc_status == 12)
		buf_append_str(output, "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)");
	else if (answer.grpc_status != 0)
		buf_printf(output, "error: health rpc probe failed: %s", answer.message);
	else if (!serving)
		buf_printf(output, "service unhealthy (responded with \"%s\")", status == 2 ? "NOT_SERVING" : status == 3 ? "SERVICE_UNKNOWN" : "UNKNOWN");
	buf_done(&answer.body);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return serving ? PROBE_SUCCESS : PROBE_FAILURE;
}

const struct probe_check probe_grpc = {.name = "grpc", .handles = handles, .run = run};
