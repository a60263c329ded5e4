/* SPDX-License-Identifier: Apache-2.0 */
/* httpGet: any status from 200 to 399 is success; a redirect to another host is not followed and counts as success. */
#include "kubelet/probe/checks.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <strings.h>

#define MAX_REDIRECTS 10

static bool handles(const struct core_v1_probe_handler *handler) {
	return handler->http_get;
}

static size_t keep(char *data, size_t size, size_t count, void *arg) {
	struct buf *out = arg;
	size_t room = out->max - out->len;
	buf_append(out, data, min_of(size * count, room));
	return size * count;
}

static struct curl_slist *headers_of(const struct core_v1_http_get_action *action) {
	struct curl_slist *list = NULL;
	bool agent = false, accept = false;
	for api_list_each (header, &action->http_headers) {
		autofree char *line = str_empty(header->value) ? xprintf("%s;", header->name) : xprintf("%s: %s", header->name, header->value);
		agent = agent || strcasecmp(header->name, "User-Agent") == 0;
		accept = accept || strcasecmp(header->name, "Accept") == 0;
		if (accept && strcasecmp(header->name, "Accept") == 0 && str_empty(header->value)) {
			free(line);
			line = xstrdup("Accept:"); /* an empty value takes the header away */
		}
		list = curl_slist_append(list, line);
	}
	if (!agent)
		list = curl_slist_append(list, "User-Agent: kube-probe/1.36");
	if (!accept)
		list = curl_slist_append(list, "Accept: */*");
	return list;
}

static bool same_host(const char *a, const char *b) {
	bool same = false;
	char *host_a = NULL, *host_b = NULL;
	CURLU *url_a = curl_url(), *url_b = curl_url();
	if (!curl_url_set(url_a, CURLUPART_URL, a, 0) && !curl_url_set(url_b, CURLUPART_URL, b, 0) && !curl_url_get(url_a, CURLUPART_HOST, &host_a, 0) && !curl_url_get(url_b, CURLUPART_HOST, &host_b, 0))
		same = strcasecmp(host_a, host_b) == 0;
	curl_free(host_a);
	curl_free(host_b);
	curl_url_cleanup(url_a);
	curl_url_cleanup(url_b);
	return same;
}

/* In the words of Go's client, which operators know and dashboards look for. */
static void explain(CURL *curl, const char *url, const char *address, CURLcode code, struct buf *output) {
	long number = 0;
	curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &number);
	buf_reset(output);
	buf_printf(output, "Get \"%s\": ", url);
	if (code == CURLE_OPERATION_TIMEDOUT)
		buf_append_str(output, "context deadline exceeded (Client.Timeout exceeded while awaiting headers)");
	else if (code == CURLE_COULDNT_CONNECT && number)
		buf_printf(output, "dial tcp %s: connect: %s", address, number == ECONNREFUSED ? "connection refused" : number == EHOSTUNREACH ? "no route to host" : strerror((int)number));
	else if (code == CURLE_GOT_NOTHING)
		buf_append_str(output, "EOF");
	else
		buf_append_str(output, curl_easy_strerror(code));
}

static enum probe_result judge(CURL *curl, const char *url, const char *address, struct buf *output) {
	long status = 0;
	for (int i = 0; i <= MAX_REDIRECTS; i++) {
		buf_reset(output);
		CURLcode code = curl_easy_perform(curl);
		if (code != CURLE_OK && code != CURLE_WRITE_ERROR) {
			explain(curl, url, address, code, output);
			return PROBE_FAILURE;
		}
		char *next = NULL;
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
		curl_easy_getinfo(curl, CURLINFO_REDIRECT_URL, &next);
		if (status < 300 || status >= 400 || !next || !same_host(url, next))
			break;
		autofree char *copy = xstrdup(next);
		curl_easy_setopt(curl, CURLOPT_URL, copy);
	}
	if (status >= 200 && status < 400)
		return PROBE_SUCCESS;
	buf_reset(output);
	buf_printf(output, "HTTP probe failed with statuscode: %ld", status);
	return PROBE_FAILURE;
}

static enum probe_result run(const struct probe_target *target, struct buf *output) {
	const struct core_v1_http_get_action *action = target->handler->http_get;
	const char *host = str_or(action->host, target->pod_ip), *path = action->path ? action->path : "";
	uint16_t port = probe_port(target->container, &action->port);
	CURL *curl = curl_easy_init();
	if (!curl || !port || str_empty(host)) {
		curl_easy_cleanup(curl);
		buf_append_str(output, "invalid port or no address");
		return PROBE_UNKNOWN;
	}
	bool https = str_equal(action->scheme, CORE_V1_URI_SCHEME_HTTPS), v6 = strchr(host, ':');
	autofree char *address = xprintf("%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", port), *url = xprintf("%s://%s%s%s", https ? "https" : "http", address, *path == '/' ? "" : "/", path);
	struct curl_slist *headers = headers_of(action);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)target->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, output);
	enum probe_result result = judge(curl, url, address, output);
	curl_slist_free_all(headers);
	curl_easy_cleanup(curl);
	return result;
}

const struct probe_check probe_http = {.name = "http", .handles = handles, .run = run};
