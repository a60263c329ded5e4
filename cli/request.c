/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/request.h"

#include "common/base/clock.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MAX_WATCH_LINE (32u << 20)

const char *cli_str(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

json_t *cli_at(json_t *object, const char *path)
{
	while (object && *path) {
		size_t len = strcspn(path, ".");
		object = json_object_getn(object, path, len);
		path += len + (path[len] == '.');
	}
	return object;
}

const char *cli_str_at(json_t *object, const char *path)
{
	return json_string_value(cli_at(object, path));
}

int64_t cli_int_at(json_t *object, const char *path)
{
	return json_integer_value(cli_at(object, path));
}

const char *cli_name(json_t *object)
{
	return str_or(cli_str_at(object, "metadata.name"), "");
}

const char *cli_ns(json_t *object)
{
	return str_or(cli_str_at(object, "metadata.namespace"), "");
}

json_t *cli_make_at(json_t *object, const char *path)
{
	while (*path) {
		size_t len = strcspn(path, ".");
		json_t *next = json_object_getn(object, path, len);
		if (!json_is_object(next)) {
			next = json_object();
			json_object_setn_new(object, path, len, next);
		}
		object = next;
		path += len + (path[len] == '.');
	}
	return object;
}

/* ---- paths ---- */

static void append_escaped(struct buf *out, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c))
			buf_append_char(out, (char)c);
		else
			buf_printf(out, "%%%02X", c);
	}
}

char *cli_path(struct cli *cli, const struct cli_resource *resource, const char *ns, const char *name, const char *subresource)
{
	autobuf struct buf out = BUF_INIT(64 * 1024);
	if (str_empty(resource->group))
		buf_printf(&out, "/api/%s", resource->version);
	else
		buf_printf(&out, "/apis/%s/%s", resource->group, resource->version);
	if (resource->namespaced && !str_empty(ns)) {
		buf_append_str(&out, "/namespaces/");
		append_escaped(&out, ns);
	}
	buf_printf(&out, "/%s", resource->plural);
	if (!str_empty(name)) {
		buf_append_char(&out, '/');
		append_escaped(&out, name);
	}
	if (!str_empty(subresource))
		buf_printf(&out, "/%s", subresource);
	return arena_strndup(cli->arena, out.data, out.len);
}

char *cli_path_query(struct cli *cli, char *path, const char *name, const char *value)
{
	if (str_empty(value))
		return path;
	autobuf struct buf out = BUF_INIT(256 * 1024);
	buf_printf(&out, "%s%c%s=", path, strchr(path, '?') ? '&' : '?', name);
	append_escaped(&out, value);
	return arena_strndup(cli->arena, out.data, out.len);
}

/* ---- calls ---- */

static void log_call(struct cli *cli, const char *method, const char *path, int status)
{
	if (cli->globals && cli->globals->verbosity >= 6)
		fprintf(stderr, "%s %s -> %d\n", method, path, status);
}

int cli_call(struct cli *cli, const struct cli_call *call, json_t **ret, struct error *err)
{
	struct client *client;
	int rc = cli_client(cli, &client, err);
	if (rc)
		return rc;
	autofree char *text = call->body ? json_dumps(call->body, JSON_COMPACT) : NULL;
	const char *body = text ? text : call->body_text;
	autobuf struct buf answer = BUF_INIT(CLI_MAX_BODY);
	struct client_request request = {.method = call->method, .path = call->path, .content_type = call->content_type, .accept = call->accept, .body = body, .body_len = body ? strlen(body) : 0};
	int status = 0;
	rc = client_do(client, &request, &answer, &status, err);
	log_call(cli, call->method, call->path, status);
	if (rc || !ret)
		return rc;
	json_error_t problem;
	json_t *tree = json_loadb(answer.data ? answer.data : "", answer.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
	if (!tree)
		return error_set(err, EPROTO, "the answer to %s %s is not JSON: %s", call->method, call->path, problem.text);
	*ret = tree;
	return 0;
}

int cli_get_json(struct cli *cli, const char *path, json_t **ret, struct error *err)
{
	return cli_call(cli, &(struct cli_call){.method = "GET", .path = path}, ret, err);
}

/* ---- watches ---- */

struct watch {
	struct buf line;
	bool (*fn)(const char *type, json_t *object, void *arg);
	void *arg;
	bool stopped;
	char *failure; /* text of an ERROR event */
};

static bool take_line(struct watch *watch)
{
	json_t *event = json_loadb(watch->line.data, watch->line.len, 0, NULL);
	const char *type = cli_str(event, "type");
	bool more = true;
	if (str_equal(type, "ERROR")) {
		watch->failure = xstrdup(str_or(cli_str_at(event, "object.message"), "the watch failed"));
		more = false;
	} else if (type && !str_equal(type, "BOOKMARK")) {
		more = watch->fn(type, json_object_get(event, "object"), watch->arg);
	}
	json_decref(event);
	buf_reset(&watch->line);
	return more;
}

static bool on_watch_data(const char *data, size_t len, void *arg)
{
	struct watch *watch = arg;
	while (len) {
		const char *end = memchr(data, '\n', len);
		size_t part = end ? (size_t)(end - data) : len;
		buf_append(&watch->line, data, part);
		if (buf_failed(&watch->line) || (end && watch->line.len && !take_line(watch))) {
			watch->stopped = true;
			return false;
		}
		data += part + (end != NULL);
		len -= part + (end != NULL);
	}
	return true;
}

int cli_watch(struct cli *cli, const char *path, const char *accept, bool (*fn)(const char *type, json_t *object, void *arg), void *arg, int64_t timeout_ms, struct error *err)
{
	struct client *client;
	int rc = cli_client(cli, &client, err);
	if (rc)
		return rc;
	autoclose int timer = -1;
	if (timeout_ms > 0) {
		timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
		struct itimerspec when = {.it_value = {.tv_sec = timeout_ms / 1000, .tv_nsec = timeout_ms % 1000 * NSEC_PER_MSEC}};
		if (timer < 0 || timerfd_settime(timer, 0, &when, NULL))
			return error_set_errno(err, errno, "timerfd");
	}
	struct watch watch = {.line = BUF_INIT(MAX_WATCH_LINE), .fn = fn, .arg = arg};
	struct client_request request = {.method = "GET", .path = path, .accept = accept};
	int64_t begun = clock_monotonic_ns();
	rc = client_stream(client, &request, on_watch_data, &watch, timer, err);
	if (!rc && watch.failure)
		rc = error_set(err, ESTALE, "%s", watch.failure);
	else if (!rc && !watch.stopped && timeout_ms > 0 && clock_monotonic_ns() - begun >= timeout_ms * NSEC_PER_MSEC)
		rc = error_set(err, ETIMEDOUT, "timed out waiting for the condition");
	buf_done(&watch.line);
	free(watch.failure);
	return rc;
}
