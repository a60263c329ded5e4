/* SPDX-License-Identifier: Apache-2.0 */
/* From a client configuration to an address: a ready endpoint of a service, as requests are proxied to one; or what a URL names. */
#include "apiserver/webhook/webhook.h"
#include "apiserver/proxy/kubelet.h"

#include <errno.h>

static int reach_service(struct apiserver *server, struct arena *arena, const struct webhook_service *s, struct webhook_target *ret, struct error *err) {
	int32_t port = s->port ? s->port : 443;
	ret->host = arena_printf(arena, "%s.%s.svc", s->name, s->ns);
	ret->port = (uint16_t)port;
	ret->path = str_empty(s->path) ? "/" : s->path;
	ret->url = arena_printf(arena, "https://%s:%d%s", ret->host, port, ret->path);
	return service_locate(server, arena, s->ns, s->name, port, &ret->address, &ret->address_port, err);
}

static int reach_url(struct arena *arena, const char *url, struct webhook_target *ret, struct error *err) {
	static const char scheme[] = "https://";
	if (!url || strncmp(url, scheme, sizeof(scheme) - 1) != 0)
		return error_set(err, EINVAL, "webhook configuration must have either service or URL");
	const char *host = url + sizeof(scheme) - 1, *path = strchr(host, '/');
	const char *end = path ? path : host + strlen(host), *host_end = end;
	int64_t port = 443;
	for (const char *p = end; p > host && p[-1] != ']'; p--) {
		if (p[-1] != ':')
			continue;
		host_end = p - 1;
		autofree char *digits = xstrndup(p, (size_t)(end - p));
		if (*digits && !str_to_int64(digits, 1, 65535, &port))
			return error_set(err, EINVAL, "dial tcp: address %s: invalid port", host);
		break;
	}
	if (host < host_end && *host == '[' && host_end[-1] == ']') {
		host++;
		host_end--;
	}
	if (host == host_end)
		return error_set(err, EINVAL, "http: no Host in request URL");
	ret->host = arena_strndup(arena, host, (size_t)(host_end - host));
	ret->port = (uint16_t)port;
	ret->path = path ? arena_strdup(arena, path) : "/";
	ret->url = path ? arena_strdup(arena, url) : arena_printf(arena, "%s/", url);
	return 0;
}

int webhook_reach(struct apiserver *server, struct arena *arena, const char *url, const struct webhook_service *service, struct webhook_target *ret, struct error *err) {
	return service && service->name ? reach_service(server, arena, service, ret, err) : reach_url(arena, url, ret, err);
}
