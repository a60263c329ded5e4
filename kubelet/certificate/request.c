/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/certificate/request.h"

#include "api/certificates_v1.h"
#include "common/base/clock.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define RETRY_MS 2000

struct waiting {
	const char *uid;
	char *cert;
	int result;
	struct error *err;
};

/* True: it is decided. */
static bool look(struct waiting *w, const struct certificates_v1_certificate_signing_request *csr) {
	bool approved = false;
	if (!str_equal(csr->metadata.uid, w->uid)) {
		w->result = error_set(w->err, EACCES, "certificate request %s was replaced by another", csr->metadata.name);
		return true;
	}
	for (uint32_t i = 0; i < csr->status.conditions.len; i++) {
		const struct certificates_v1_certificate_signing_request_condition *c = &csr->status.conditions.items[i];
		approved = approved || str_equal(c->type, CERTIFICATES_V1_REQUEST_CONDITION_TYPE_APPROVED);
		if (str_equal(c->type, CERTIFICATES_V1_REQUEST_CONDITION_TYPE_DENIED) || str_equal(c->type, CERTIFICATES_V1_REQUEST_CONDITION_TYPE_FAILED)) {
			w->result = error_set(w->err, EACCES, "certificate request %s: %s, reason %s: %s", csr->metadata.name, c->type, str_or(c->reason, ""), str_or(c->message, ""));
			return true;
		}
	}
	if (!approved || !csr->status.certificate.len)
		return false;
	w->cert = xstrndup((const char *)csr->status.certificate.data, csr->status.certificate.len);
	return true;
}

static bool on_event(const char *type, void *object, void *arg) {
	struct waiting *w = arg;
	if (str_equal(type, "BOOKMARK"))
		return true;
	if (str_equal(type, "DELETED")) {
		const struct certificates_v1_certificate_signing_request *csr = object;
		w->result = error_set(w->err, EACCES, "certificate request %s was deleted", csr->metadata.name);
		return false;
	}
	return !look(w, object);
}

/* One descriptor for "enough": the end of the time, or the stop. */
static int enough_fd(const struct certificate_request *request, int *ret_timer) {
	int epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	struct itimerspec at = {.it_value.tv_sec = request->wait_seconds};
	if (epoll < 0 || timer < 0)
		abort();
	timerfd_settime(timer, 0, &at, NULL);
	epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN});
	if (request->stop_fd >= 0)
		epoll_ctl(epoll, EPOLL_CTL_ADD, request->stop_fd, &(struct epoll_event){.events = EPOLLIN});
	*ret_timer = timer;
	return epoll;
}

static bool is_readable(int fd, int ms) {
	struct pollfd p = {.fd = fd, .events = POLLIN};
	return fd >= 0 && poll(&p, 1, ms) > 0;
}

static int wait_for(struct client *client, const struct certificate_request *request, const char *name, const char *uid, char **ret_cert, struct error *err) {
	struct waiting w = {.uid = uid, .err = err};
	autofree char *field = xprintf("metadata.name=%s", name);
	autoclose int timer = -1, enough = enough_fd(request, &timer);
	while (!w.cert && w.result == 0 && !is_readable(enough, 0)) {
		autounref struct certificates_v1_certificate_signing_request_list *list = NULL;
		autoerror struct error problem = {0};
		struct client_list_options options = {.field_selector = field};
		int r = client_list(client, &api_certificatesigningrequests, NULL, &options, (void **)&list, &problem);
		if (r == 0 && list->items.len == 0)
			return error_set(err, EACCES, "certificate request %s was deleted", name);
		if (r == 0 && !look(&w, &list->items.items[0])) {
			options.resource_version = list->metadata.resource_version;
			r = client_watch(client, &api_certificatesigningrequests, NULL, &options, on_event, &w, enough, &problem);
		}
		if (r < 0 && !w.cert && w.result == 0)
			is_readable(enough, RETRY_MS); /* the API server is away for a moment; a watch that ends is begun anew at once */
	}
	if (w.result < 0)
		return w.result;
	if (!w.cert)
		return is_readable(request->stop_fd, 0) ? error_set(err, ECANCELED, "the kubelet ends") : error_set(err, ETIMEDOUT, "certificate request %s was not signed within %d s", name, request->wait_seconds);
	*ret_cert = w.cert;
	return 0;
}

static struct certificates_v1_certificate_signing_request *make_object(const struct certificate_request *request) {
	static const char *const usages[] = {CERTIFICATES_V1_KEY_USAGE_DIGITAL_SIGNATURE, CERTIFICATES_V1_KEY_USAGE_CLIENT_AUTH, CERTIFICATES_V1_KEY_USAGE_SERVER_AUTH};
	struct certificates_v1_certificate_signing_request *csr = api_new_of(certificates_v1_certificate_signing_request);
	struct arena *arena = api_arena(csr);
	if (request->name)
		csr->metadata.name = arena_strdup(arena, request->name);
	else
		csr->metadata.generate_name = "csr-";
	csr->spec.signer_name = arena_strdup(arena, request->signer);
	csr->spec.request.data = arena_memdup(arena, request->request, strlen(request->request));
	csr->spec.request.len = (uint32_t)strlen(request->request);
	api_string_list_add(arena, &csr->spec.usages, usages[0]);
	api_string_list_add(arena, &csr->spec.usages, usages[str_equal(request->signer, SIGNER_KUBELET_SERVING) ? 2 : 1]);
	return csr;
}

int certificate_request(struct client *client, const struct certificate_request *request, char **ret_cert, struct error *err) {
	autounref struct certificates_v1_certificate_signing_request *csr = make_object(request), *made = NULL;
	autoerror struct error problem = {0};
	int r = client_create(client, &api_certificatesigningrequests, NULL, csr, (void **)&made, &problem);
	if (r < 0 && request->name && str_equal(problem.reason, "AlreadyExists")) {
		r = client_get(client, &api_certificatesigningrequests, NULL, request->name, (void **)&made, err);
		if (r == 0 && !str_equal(made->spec.signer_name, request->signer))
			return error_set(err, EACCES, "certificate request %s is there already, for signer %s", request->name, made->spec.signer_name);
	} else if (r < 0) {
		return error_move(err, &problem);
	}
	return r < 0 ? r : wait_for(client, request, made->metadata.name, made->metadata.uid, ret_cert, err);
}
