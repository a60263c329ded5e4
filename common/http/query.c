/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters of a query, decoded on first use. As Go's url.ParseQuery, one that is malformed is left out, and ';' separates nothing. */
#include "common/http/internal.h"

static void parse_parameter(struct http_request *req, const char *s, size_t len)
{
	if (!len || memchr(s, ';', len))
		return;
	const char *equals = memchr(s, '=', len);
	size_t name_len = equals ? (size_t)(equals - s) : len;
	char *name = http_url_decode_any(req->arena, s, name_len, true);
	char *value = equals ? http_url_decode_any(req->arena, equals + 1, len - name_len - 1, true) : arena_strdup(req->arena, "");
	if (name && value)
		req->params[req->param_count++] = (struct header){.name = name, .value = value};
}

static void parse(struct http_request *req)
{
	req->params_parsed = true;
	size_t most = 1;
	for (const char *p = req->query; *p; p++)
		most += *p == '&';
	req->params = arena_calloc(req->arena, most, sizeof(*req->params));
	const char *s = req->query;
	while (*s) {
		size_t len = strcspn(s, "&");
		parse_parameter(req, s, len);
		s += len + (s[len] == '&');
	}
}

const char *http_query(const struct http_request *req, const char *name)
{
	/* Decoding is kept: the request stays the same to all who look at it. */
	if (!req->params_parsed)
		parse((struct http_request *)req);
	for (size_t i = 0; i < req->param_count; i++) {
		if (!strcmp(req->params[i].name, name))
			return req->params[i].value;
	}
	return NULL;
}

void http_query_each(const struct http_request *req, void (*fn)(const char *name, const char *value, void *arg), void *arg)
{
	if (!req->params_parsed)
		parse((struct http_request *)req);
	for (size_t i = 0; i < req->param_count; i++)
		fn(req->params[i].name, req->params[i].value, arg);
}
