/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/log.h"
#include "common/base/map.h"
#include "kubelet/source/source.h"

#include <curl/curl.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define TIMEOUT_SECONDS 10L

struct source_http {
	struct kubelet *kubelet;
	pthread_t thread;
	int stop_fd;
	struct map known;
	bool spoke;
};

static void unref(void *object) {
	api_unref(object);
}

static size_t keep(char *data, size_t size, size_t count, void *arg) {
	buf_append(arg, data, size * count);
	return buf_failed(arg) ? 0 : size * count;
}

static int fetch(const struct kubelet_options *options, struct buf *out, struct error *err) {
	const char *url = options->manifest_url;
	struct curl_slist *headers = NULL;
	long status = 0;
	CURL *curl = curl_easy_init();
	if (!curl)
		return error_set(err, ENOMEM, "curl");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, TIMEOUT_SECONDS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
	for (size_t i = 0; i < options->manifest_url_headers.len; i++)
		headers = curl_slist_append(headers, options->manifest_url_headers.items[i]);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	CURLcode code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	if (code != CURLE_OK)
		return error_set(err, EIO, "%s: %s", url, curl_easy_strerror(code));
	return status == 200 ? 0 : error_set(err, EIO, "%s: status %ld", url, status);
}

static void look(struct source_http *source) {
	const char *url = source->kubelet->options.manifest_url;
	autobuf struct buf body = BUF_INIT(SOURCE_MAX_MANIFEST);
	autoerror struct error err = {0};
	struct map pods = MAP_INIT(unref);
	int r = fetch(&source->kubelet->options, &body, &err);
	if (r == 0)
		r = source_decode(source->kubelet, body.data ? body.data : "", body.len, url, "http", &pods, &err);
	if (r < 0)
		log_error("manifests cannot be read", LOG_ERR(&err));
	else
		source_apply(source->kubelet, &source->known, &pods, "http");
	if (r == 0 && !source->spoke) {
		source->spoke = true;
		source_spoke(source->kubelet);
	}
	map_done(&pods);
}

static void *run(void *arg) {
	struct source_http *source = arg;
	struct pollfd stop = {.fd = source->stop_fd, .events = POLLIN};
	do
		look(source);
	while (poll(&stop, 1, (int)(source->kubelet->options.http_check_frequency_ns / 1000000)) == 0);
	return NULL;
}

struct source_http *source_http_start(struct kubelet *kubelet) {
	if (str_empty(kubelet->options.manifest_url))
		return NULL;
	struct source_http *source = xnew(struct source_http);
	*source = (struct source_http){.kubelet = kubelet, .stop_fd = eventfd(0, EFD_CLOEXEC), .known = MAP_INIT(unref)};
	if (pthread_create(&source->thread, NULL, run, source) != 0)
		abort();
	return source;
}

void source_http_stop(struct source_http *source) {
	uint64_t one = 1;
	if (!source)
		return;
	if (write(source->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(source->thread, NULL);
	cleanup_close(&source->stop_fd);
	map_done(&source->known);
	free(source);
}
