/* SPDX-License-Identifier: Apache-2.0 */
/* What browsers are told, before anybody is asked who he is: which other sites may use this server, and that it is never to be spoken to without TLS. */
#include "apiserver/edge.h"
#include "common/base/regex.h"

#include <errno.h>

struct edge {
	struct regex **origins;
	size_t origin_count;
	char *transport; /* the value of Strict-Transport-Security; NULL: none */
};

void edge_free(struct edge *edge) {
	if (!edge)
		return;
	for (size_t i = 0; i < edge->origin_count; i++)
		regex_free(edge->origins[i]);
	free(edge->origins);
	free(edge->transport);
	free(edge);
}

/* A pattern that does not hold on to both ends of the host would let in whoever has the name in his own (CVE-2022-1996). */
static int add_origin(struct edge *edge, const char *pattern, struct error *err) {
	if (!*pattern)
		return error_set(err, EINVAL, "--cors-allowed-origins: empty value");
	if (!(strchr(pattern, '^') || strstr(pattern, "//")) || !strpbrk(pattern, "$:"))
		return error_set(err, EINVAL, "--cors-allowed-origins: %s: regular expression does not pin to start/end of host in the origin header", pattern);
	autofree char *why = NULL;
	struct regex *regex = regex_new(pattern, &why);
	if (!regex)
		return error_set(err, EINVAL, "--cors-allowed-origins: %s: %s", pattern, str_or(why, ""));
	edge->origins[edge->origin_count++] = regex;
	return 0;
}

static int add_directive(struct buf *out, const char *directive, struct error *err) {
	const char *age = str_starts_with(directive, "max-age=") ? directive + strlen("max-age=") : NULL;
	bool known = strcmp(directive, "includeSubDomains") == 0 || strcmp(directive, "preload") == 0 || (age && *age && age[strspn(age, "0123456789")] == '\0');
	if (!known)
		return error_set(err, EINVAL, "--strict-transport-security-directives: %s is none of max-age=SECONDS, includeSubDomains, preload", directive);
	if (out->len)
		buf_append_str(out, "; ");
	buf_append_str(out, directive);
	return 0;
}

int edge_new(const struct apiserver_options *options, struct edge **ret, struct error *err) {
	const struct flag_list *origins = &options->cors_allowed_origins, *directives = &options->strict_transport_security_directives;
	autobuf struct buf transport = BUF_INIT(4096);
	int rc = 0;
	*ret = NULL;
	if (!origins->len && !directives->len)
		return 0;
	struct edge *edge = xnew(struct edge);
	edge->origins = xcalloc(origins->len + 1, sizeof(*edge->origins));
	for (size_t i = 0; i < origins->len && rc == 0; i++)
		rc = add_origin(edge, origins->items[i], err);
	for (size_t i = 0; i < directives->len && rc == 0; i++)
		rc = add_directive(&transport, directives->items[i], err);
	if (rc < 0) {
		edge_free(edge);
		return rc;
	}
	edge->transport = transport.len ? xstrdup(transport.data) : NULL;
	*ret = edge;
	return 0;
}

static bool is_allowed(const struct edge *edge, const char *origin) {
	for (size_t i = 0; i < edge->origin_count; i++)
		if (regex_search(edge->origins[i], origin, strlen(origin)))
			return true;
	return false;
}

bool edge_answers(const struct edge *edge, struct http_request *http) {
	static const char *const headers[][2] = {
		{"Access-Control-Allow-Methods", "POST, GET, OPTIONS, PUT, DELETE, PATCH"},
		{"Access-Control-Allow-Headers", "Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token, Authorization, X-Requested-With, If-Modified-Since"},
		{"Access-Control-Expose-Headers", "Date"},
		{"Access-Control-Allow-Credentials", "true"},
	};
	const char *origin = edge ? http_header(http, "Origin") : NULL;
	if (edge && edge->transport)
		http_add_header(http, "Strict-Transport-Security", edge->transport);
	if (str_empty(origin) || !is_allowed(edge, origin))
		return false;
	http_add_header(http, "Access-Control-Allow-Origin", origin);
	for (size_t i = 0; i < array_len(headers); i++)
		http_add_header(http, headers[i][0], headers[i][1]);
	if (strcmp(http_method(http), "OPTIONS") != 0)
		return false;
	http_respond(http, 204, NULL, "", 0);
	return true;
}
