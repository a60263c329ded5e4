/* SPDX-License-Identifier: Apache-2.0 */
/* Content negotiation: Accept, pretty, and the transformations of meta.k8s.io. */
#include "apiserver/request/request.h"

#include <strings.h>

#define NOT_ACCEPTABLE "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"

#define WATCH_NOT_ACCEPTABLE "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"

static const struct { const char *name; enum media_type media; } media_types[] = {
	{"application/json", MEDIA_JSON},
	{"application/yaml", MEDIA_YAML},
	{"application/vnd.kubernetes.protobuf", MEDIA_PROTOBUF},
	{"application/x-yaml", MEDIA_YAML},
	{"*/*", MEDIA_JSON},
	{"application/*", MEDIA_JSON},
};

enum media_type media_type_of(const char *content_type) {
	if (str_empty(content_type))
		return MEDIA_JSON;
	size_t len = strcspn(content_type, "; ,");
	for (size_t i = 0; i < array_len(media_types); i++)
		if (strlen(media_types[i].name) == len && strncasecmp(media_types[i].name, content_type, len) == 0)
			return media_types[i].media;
	return MEDIA_OTHER;
}

struct clause {
	char as[64], group[64], version[16], stream[16];
	double q;
};

static void clause_set(struct clause *c, const char *key, size_t key_len, const char *value, size_t value_len) {
	struct { const char *key; char *to; size_t size; } fields[] = {
		{"as", c->as, sizeof(c->as)}, {"g", c->group, sizeof(c->group)}, {"v", c->version, sizeof(c->version)}, {"stream", c->stream, sizeof(c->stream)},
	};
	if (key_len == 1 && *key == 'q') {
		char text[16] = {0};
		memcpy(text, value, min_of(value_len, sizeof(text) - 1));
		c->q = strtod(text, NULL);
	}
	for (size_t i = 0; i < array_len(fields); i++) {
		if (strlen(fields[i].key) != key_len || strncmp(fields[i].key, key, key_len) != 0)
			continue;
		size_t len = min_of(value_len, fields[i].size - 1);
		memcpy(fields[i].to, value, len);
		fields[i].to[len] = '\0';
	}
}

/* Reads "type/sub;k=v;k=v" at p; *end is set past it. */
static enum media_type parse_clause(const char *p, const char **end, struct clause *c) {
	*c = (struct clause){.q = 1};
	while (*p == ' ' || *p == ',')
		p++;
	const char *stop = p + strcspn(p, ",");
	enum media_type media = media_type_of(p == stop ? "?" : p);
	p += strcspn(p, ";,");
	while (p < stop && *p == ';') {
		p++;
		while (*p == ' ')
			p++;
		size_t key_len = strcspn(p, "=;,");
		const char *key = p;
		p += key_len;
		if (*p == '=') {
			size_t value_len = strcspn(++p, ";,");
			clause_set(c, key, key_len, p, value_len);
			p += value_len;
		}
	}
	*end = stop;
	return media;
}

static bool clause_form(const struct request *r, const struct clause *c, bool can_transform, enum response_form *ret) {
	*ret = FORM_OBJECT;
	if (!c->as[0])
		return true;
	if (!can_transform || strcmp(c->group, "meta.k8s.io") != 0 || (strcmp(c->version, "v1") != 0 && strcmp(c->version, "v1beta1") != 0))
		return false;
	if (strcmp(c->as, "Table") == 0)
		*ret = FORM_TABLE;
	else if (strcmp(r->verb, "watch") != 0 && strcmp(c->as, strcmp(r->verb, "list") == 0 || strcmp(r->verb, "deletecollection") == 0 ? "PartialObjectMetadataList" : "PartialObjectMetadata") != 0)
		return false; /* a list is asked for as a list, an object as an object */
	else if (strcmp(c->as, "PartialObjectMetadata") == 0 || strcmp(c->as, "PartialObjectMetadataList") == 0)
		*ret = FORM_PARTIAL;
	else
		return false;
	return true;
}

/* A watch has no YAML form, custom resources and Tables no protobuf form: the next clause may be better. */
static bool media_fits(const struct request *r, enum media_type media, enum response_form form) {
	if (media == MEDIA_YAML && strcmp(r->verb, "watch") == 0)
		return false;
	if (media != MEDIA_PROTOBUF)
		return true;
	return form == FORM_PARTIAL || (form == FORM_OBJECT && !(r->resource && r->resource->custom));
}

static bool wants_pretty(const struct request *r) {
	static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
	const char *pretty = http_query(r->http, "pretty");
	for (size_t i = 0; !str_empty(pretty) && i < array_len(yes); i++)
		if (strcmp(pretty, yes[i]) == 0)
			return true;
	if (!str_empty(pretty))
		return false;
	const char *agent = http_header(r->http, "User-Agent");
	return agent && (str_starts_with(agent, "curl") || str_starts_with(agent, "Wget") || str_starts_with(agent, "Mozilla/5.0"));
}

static int check_include_object(const struct request *r, struct error *err) {
	static const char *const known[] = {"", "Metadata", "Object", "None"};
	const char *value = str_or(http_query(r->http, "includeObject"), "");
	for (size_t i = 0; i < array_len(known); i++)
		if (strcmp(known[i], value) == 0)
			return 0;
	return error_bad_request(err, "Unable to convert to Table as requested: includeObject: Invalid value: \"%s\": must be 'Metadata', 'Object', 'None', or empty", value);
}

int request_negotiate(const struct request *r, bool can_transform, struct negotiated *ret, struct error *err) {
	const char *accept = http_header(r->http, "Accept");
	int rc = 0;
	struct negotiated best = {.media = MEDIA_JSON, .pretty = wants_pretty(r)};
	if (str_empty(accept)) {
		*ret = best;
		return 0;
	}
	double best_q = 0;
	for (const char *p = accept; *p;) {
		struct clause c;
		enum media_type media = parse_clause(p, &p, &c);
		while (*p == ',' || *p == ' ')
			p++;
		enum response_form form;
		if (media == MEDIA_OTHER || c.q <= best_q || !clause_form(r, &c, can_transform, &form) || !media_fits(r, media, form))
			continue;
		best.media = media;
		best.form = form;
		best.beta = form != FORM_OBJECT && strcmp(c.version, "v1beta1") == 0;
		best.stream = strcmp(c.stream, "watch") == 0;
		best_q = c.q;
	}
	if (best_q <= 0)
		return error_status(err, 406, "NotAcceptable", strcmp(r->verb, "watch") == 0 ? WATCH_NOT_ACCEPTABLE : NOT_ACCEPTABLE);
	if (best.form == FORM_TABLE)
		rc = check_include_object(r, err);
	if (rc < 0)
		return rc;
	*ret = best;
	return 0;
}
