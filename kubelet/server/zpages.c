/* SPDX-License-Identifier: Apache-2.0 */
/* /configz, /flagz and /statusz: how this kubelet was set up, and since when it runs. */
#include "kubelet/server/server.h"

#include "common/daemon/zpages.h"

#define COMPONENT "kubelet"
#define MAX_PAGE (1u << 20)

void route_configz(struct route_request *r) {
	autofree char *config = kubelet_options_config(&r->kubelet->options), *text = xprintf("{\"kubeletconfig\":%s}", config);
	http_respond(r->http, 200, "application/json", text, strlen(text));
}

static bool negotiate(struct route_request *r, const char *kind, enum zpage_form *ret) {
	bool good = zpage_negotiate(http_header(r->http, "Accept"), kind, ret);
	if (!good)
		route_text(r, 406, ZPAGE_NOT_ACCEPTABLE);
	return good;
}

void route_flagz(struct route_request *r) {
	enum zpage_form form;
	if (!negotiate(r, "Flagz", &form))
		return;
	autobuf struct buf out = BUF_INIT(MAX_PAGE);
	autofree char *type = zpage_content_type("Flagz", form);
	size_t count;
	const struct flag *flags = kubelet_options_flags(&count);
	zpage_flagz(&out, form, COMPONENT, flags, count, &r->kubelet->options);
	route_answer(r, type, &out);
}

void route_statusz(struct route_request *r) {
	enum zpage_form form;
	const char *paths[64];
	size_t count = min_of(route_count, array_len(paths));
	if (!negotiate(r, "Statusz", &form))
		return;
	for (size_t i = 0; i < count; i++)
		paths[i] = routes[i].prefix;
	autobuf struct buf out = BUF_INIT(MAX_PAGE);
	autofree char *type = zpage_content_type("Statusz", form);
	struct wall_time started = clock_wall();
	started.sec -= (clock_monotonic_ns() - r->kubelet->started) / NSEC_PER_SEC;
	zpage_statusz(&out, form, COMPONENT, started, paths, count);
	route_answer(r, type, &out);
}
