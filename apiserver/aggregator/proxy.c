/* SPDX-License-Identifier: Apache-2.0 */
/* A request for a remote server goes on to it, told by whom it is asked. It has been authenticated and authorized here. */
#include "apiserver/aggregator/internal.h"
#include "apiserver/proxy/upstream.h"
#include "apiserver/request/steps.h"
#include "apiserver/timers.h"
#include "common/base/clock.h"

#include <ctype.h>
#include <strings.h>

#define MAX_HEADERS ((size_t)256 << 10)
#define DISCOVERY_NS (5 * NSEC_PER_SEC)
#define NAME_CHARACTERS "!#$&'*+-.^_`|~"

static int answer(struct request *r, int code, const char *text) {
	autofree char *line = xprintf("%s\n", text);
	http_add_header(r->http, "X-Content-Type-Options", "nosniff");
	request_respond_text(r, code, line);
	return REQUEST_TAKEN;
}

static void add_header(struct buf *out, const char *name, const char *value) {
	/* What a token says may be anything. */
	if (!value || strpbrk(value, "\r\n"))
		return;
	buf_printf(out, "%s: %s\r\n", name, value);
}

/* Keys of extra may hold what a header's name may not. */
static void add_extra(struct buf *out, const struct user_extra *extra) {
	autobuf struct buf name = BUF_INIT(MAX_HEADERS);
	buf_append_str(&name, "X-Remote-Extra-");
	for (const char *p = extra->key; *p; p++) {
		if (isalnum((unsigned char)*p) || strchr(NAME_CHARACTERS, *p))
			buf_append_char(&name, *p);
		else
			buf_printf(&name, "%%%02X", (unsigned char)*p);
	}
	for (const char *const *value = extra->values; value && *value; value++)
		add_header(out, name.data, *value);
}

static void add_user(struct buf *out, const struct user *user) {
	add_header(out, "X-Remote-User", user->name);
	if (!str_empty(user->uid))
		add_header(out, "X-Remote-Uid", user->uid);
	for (const char *const *group = user->groups; group && *group; group++)
		add_header(out, "X-Remote-Group", *group);
	for (size_t i = 0; i < user->extra_count; i++)
		add_extra(out, &user->extra[i]);
}

/* Servers that give a group to each other would pass a request round for ever: each says that it came by. */
static bool came_by(const struct request *r) {
	const char *via = http_header(r->http, "Via");
	return via && strstr(via, r->server->identity);
}

static void release(void *arg) {
	aggregated_unref(arg);
}

/* Consumes the reference. */
static int pass_on(struct request *r, struct aggregated *take_info) {
	autoaggregated struct aggregated *info = take_info;
	autoerror struct error why = {0};
	struct upstream_options options = {0};
	if (came_by(r))
		return answer(r, 508, "request was passed round in a loop of aggregated servers");
	if (!info->available)
		return answer(r, 503, "service unavailable");
	if (info->trust->trouble)
		return answer(r, 500, info->trust->trouble);
	if (set_locate(r->server->aggregator, info, r->arena, &options.address, &options.port, &why) < 0)
		return answer(r, 503, "service unavailable");
	autobuf struct buf headers = BUF_INIT(MAX_HEADERS);
	const char *query = http_query_string(r->http), *via = http_header(r->http, "Via");
	add_user(&headers, r->user);
	add_header(&headers, "Audit-ID", r->audit_id);
	buf_printf(&headers, "Via: %s%s1.1 %s\r\n", str_or(via, ""), via ? ", " : "", r->server->identity);
	if (buf_failed(&headers))
		return answer(r, 500, "too much is known of the user");
	options.credentials = info->trust->credentials;
	options.verify = info->trust->verify;
	options.server_name = info->server_name;
	options.method = r->method;
	options.target = arena_printf(r->arena, "%s%s%s", r->path, *query ? "?" : "", query);
	options.reject_redirects = true;
	options.headers = headers.data;
	options.reached = "error trying to reach service: ";
	options.unreachable_code = 503;
	options.plain_errors = true;
	options.deadline_ns = r->deadline_ns;
	if (!r->is_resource && r->part_count == 3)
		options.deadline_ns = min_of(r->deadline_ns ? r->deadline_ns : INT64_MAX, clock_monotonic_ns() + DISCOVERY_NS);
	options.release = release;
	options.release_arg = take_ptr(info);
	upstream_start(timers_loop(r->server->timers), r, &options);
	return REQUEST_TAKEN;
}

/* The remote server of a group and version; NULL: it is this one. */
static struct aggregated *find_remote(struct apiserver *server, const char *group, const char *version) {
	struct aggregator *a = server->aggregator;
	if (!a || !__atomic_load_n(&a->remotes, __ATOMIC_ACQUIRE))
		return NULL;
	struct aggregated *info = set_find_version(a, group, version);
	if (info && !info->service) {
		aggregated_unref(info);
		info = NULL;
	}
	return info;
}

int aggregator_handle(struct request *r, struct error *err) {
	struct aggregated *info = NULL;
	if (r->part_count >= 3 && strcmp(r->parts[0], "apis") == 0)
		info = find_remote(r->server, r->parts[1], r->parts[2]);
	else if (r->part_count >= 2 && strcmp(r->parts[0], "api") == 0)
		info = find_remote(r->server, "", r->parts[1]);
	return info ? pass_on(r, info) : 0;
}

int aggregator_handle_document(struct request *r, const char *key, struct error *err) {
	struct aggregator *a = r->server->aggregator;
	/* What is served here is told of here. */
	const char *group = str_starts_with(key, "apis/") ? key + strlen("apis/") : NULL, *slash = group ? strchr(group, '/') : NULL;
	if (!group || (!slash && registry_has_group(r->server->registry, group, NULL)) || !__atomic_load_n(&a->remotes, __ATOMIC_ACQUIRE))
		return 0;
	struct aggregated *info = set_find_document(a, key);
	return info ? pass_on(r, info) : 0;
}
