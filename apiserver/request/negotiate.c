/* SPDX-License-Identifier: Apache-2.0 */
/* Content negotiation: Accept, pretty, and the transformations of meta.k8s.io. */
#include "apiserver/request/request.h"

#include <strings.h>

#define MAX_CLAUSES 64

static const char *const served[] = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", NULL};
static const char *const served_lists[] = {
	"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch", NULL,
};
static const char *const served_streams[] = {"application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch", NULL};
static const char *const served_logs[] = {"text/plain", "application/json", "application/yaml", "application/vnd.kubernetes.protobuf", NULL};

enum media_type media_type_of(const char *content_type) {
	static const struct { const char *name; enum media_type media; } media_types[] = {
		{"application/json", MEDIA_JSON}, {"application/yaml", MEDIA_YAML}, {"application/vnd.kubernetes.protobuf", MEDIA_PROTOBUF}, {"application/x-yaml", MEDIA_YAML},
	};
	if (str_empty(content_type))
		return MEDIA_JSON;
	size_t len = strcspn(content_type, "; ");
	for (size_t i = 0; i < array_len(media_types); i++)
		if (strlen(media_types[i].name) == len && strncasecmp(media_types[i].name, content_type, len) == 0)
			return media_types[i].media;
	return MEDIA_OTHER;
}

struct text {
	const char *at;
	size_t len;
};

static struct text trimmed(const char *at, size_t len) {
	while (len && *at == ' ')
		at++, len--;
	while (len && at[len - 1] == ' ')
		len--;
	return (struct text){at, len};
}

static bool is_text(struct text t, const char *want) {
	return strlen(want) == t.len && memcmp(want, t.at, t.len) == 0;
}

/* Up to `stop`, which is passed; what is left goes to *rest. */
static struct text next_part(struct text *rest, char stop) {
	const char *found = memchr(rest->at, stop, rest->len);
	size_t len = found ? (size_t)(found - rest->at) : rest->len;
	struct text part = trimmed(rest->at, len);
	*rest = (struct text){rest->at + len + (found != NULL), rest->len - len - (found != NULL)};
	return part;
}

/* ---- which route: as Kubernetes' router sees the header ---- */

/* Names of types alone count here; wildcards in part do not. */
static bool route_fits(const char *accept, const char *const *produced) {
	struct text rest = {accept, strlen(accept)};
	while (rest.len) {
		struct text clause = next_part(&rest, ','), type = next_part(&clause, ';');
		if (is_text(type, "*/*"))
			return true;
		for (const char *const *p = produced; *p; p++)
			if (is_text(type, *p))
				return true;
	}
	return false;
}

static int refuse(const char *begin, const char *const *types, struct error *err) {
	autobuf struct buf list = BUF_INIT(1024);
	for (const char *const *t = types; *t; t++)
		buf_printf(&list, "%s%s", t == types ? "" : ", ", *t);
	return error_status(err, 406, "NotAcceptable", "%s%s", begin, list.data);
}

int request_check_produced(const struct request *r, const char *const *produced, struct error *err) {
	const char *accept = http_header(r->http, "Accept");
	if (str_empty(accept) || route_fits(accept, produced))
		return 0;
	int rc = refuse("406: Not Acceptable\n\nAvailable representations: ", produced, err);
	if (err)
		err->empty_details = true;
	return rc;
}

int request_check_route(const struct request *r, struct error *err) {
	bool list = strcmp(r->verb, "list") == 0 || (strcmp(r->verb, "watch") == 0 && !r->watches_one);
	bool log = r->is_resource && str_equal(r->subresource, "log");
	return request_check_produced(r, r->is_resource && list ? served_lists : log ? served_logs : served, err);
}

int request_check_consumed(const struct request *r, const char *const *consumed, struct error *err) {
	const char *type = http_header(r->http, "Content-Type");
	if (str_empty(type) || route_fits(type, consumed))
		return 0;
	return error_of_route(err, 415, "UnsupportedMediaType", "415: Unsupported Media Type");
}

int request_check_document(const struct request *r, struct error *err) {
	int rc = request_check_consumed(r, served, err);
	return rc < 0 ? rc : request_check_produced(r, served, err);
}

/* ---- which form: each clause with its parameters ---- */

struct clause {
	struct text type, subtype, params;
	double q;
};

static bool parse_clause(struct text part, struct clause *c) {
	struct text name = next_part(&part, ';');
	*c = (struct clause){.type = next_part(&name, '/'), .params = part, .q = 1};
	if (name.len)
		c->subtype = trimmed(name.at, name.len);
	else if (is_text(c->type, "*"))
		c->subtype = c->type;
	else
		return false;
	for (struct text rest = part; rest.len;) {
		struct text value = next_part(&rest, ';'), key = next_part(&value, '=');
		char number[16] = {0};
		if (!is_text(key, "q") || !value.len)
			continue;
		memcpy(number, value.at, min_of(value.len, sizeof(number) - 1));
		c->q = strtod(number, NULL);
	}
	return !memchr(c->subtype.at, '/', c->subtype.len);
}

/* Better ones first, and what is named before what is any; for few clauses this is the order that Go's sort gives. */
static bool goes_before(const struct clause *a, const struct clause *b) {
	return a->q > b->q || (!is_text(a->type, "*") && is_text(b->type, "*")) || (!is_text(a->subtype, "*") && is_text(b->subtype, "*"));
}

static size_t parse_accept(const char *accept, struct clause *clauses) {
	size_t count = 0;
	for (struct text rest = {accept, strlen(accept)}; rest.len && count < MAX_CLAUSES;) {
		if (!parse_clause(next_part(&rest, ','), &clauses[count]))
			continue;
		for (size_t i = count; i > 0 && goes_before(&clauses[i], &clauses[i - 1]); i--) {
			struct clause moved = clauses[i];
			clauses[i] = clauses[i - 1];
			clauses[i - 1] = moved;
		}
		count++;
	}
	return count;
}

struct wanted {
	char as[64], group[64], version[16];
	bool convert, pretty, stream;
};

static void keep(char *to, size_t size, struct text value) {
	size_t len = min_of(value.len, size - 1);
	memcpy(to, value.at, len);
	to[len] = '\0';
}

/* False where a parameter asks for what is not there. */
static bool read_params(struct text params, enum media_type media, struct wanted *w) {
	*w = (struct wanted){0};
	while (params.len) {
		struct text value = next_part(&params, ';'), key = next_part(&value, '=');
		value = trimmed(value.at, value.len);
		if (!value.len || memchr(value.at, '=', value.len))
			continue;
		if (is_text(key, "as"))
			w->convert = true, keep(w->as, sizeof(w->as), value);
		else if (is_text(key, "g"))
			w->convert = true, keep(w->group, sizeof(w->group), value);
		else if (is_text(key, "v"))
			w->convert = true, keep(w->version, sizeof(w->version), value);
		else if (is_text(key, "pretty"))
			w->pretty = is_text(value, "1");
		else if (is_text(key, "sv"))
			return false;
		else if (is_text(key, "stream") && (media == MEDIA_YAML || !is_text(value, "watch")))
			return false;
		else if (is_text(key, "stream"))
			w->stream = true;
	}
	return true;
}

static bool form_of(const struct wanted *w, bool can_transform, enum response_form *ret) {
	*ret = FORM_OBJECT;
	if (!w->convert)
		return true;
	if (!can_transform || strcmp(w->group, "meta.k8s.io") != 0 || (strcmp(w->version, "v1") != 0 && strcmp(w->version, "v1beta1") != 0))
		return false;
	*ret = strcmp(w->as, "Table") == 0 ? FORM_TABLE : FORM_PARTIAL;
	return *ret == FORM_TABLE || strcmp(w->as, "PartialObjectMetadata") == 0 || strcmp(w->as, "PartialObjectMetadataList") == 0;
}

enum answer { ANSWER_OBJECT, ANSWER_STREAM, ANSWER_REFUSAL };

/* Custom resources and Tables have no protobuf form: the next clause may be better. That they are refused has one. */
static bool media_fits(const struct request *r, enum answer answer, enum media_type media, enum response_form form) {
	if (media != MEDIA_PROTOBUF || answer == ANSWER_REFUSAL)
		return true;
	return form == FORM_PARTIAL || (form == FORM_OBJECT && !(r->resource && r->resource->custom));
}

/* The first of the types served that the clause names and that can be had so. */
static bool clause_fits(const struct request *r, enum answer answer, const struct clause *c, bool can_transform, struct negotiated *ret, struct wanted *w) {
	static const struct { const char *subtype; enum media_type media; } types[] = {{"json", MEDIA_JSON}, {"yaml", MEDIA_YAML}, {"vnd.kubernetes.protobuf", MEDIA_PROTOBUF}};
	bool any_type = is_text(c->type, "*"), any = is_text(c->subtype, "*");
	for (size_t i = 0; i < array_len(types); i++) {
		if (!(any_type && any) && !(is_text(c->type, "application") && (any || is_text(c->subtype, types[i].subtype))))
			continue;
		ret->media = types[i].media;
		if (read_params(c->params, ret->media, w) && form_of(w, can_transform, &ret->form) && media_fits(r, answer, ret->media, ret->form))
			return true;
	}
	return false;
}

static bool is_about_list(const struct request *r) {
	return strcmp(r->verb, "list") == 0 || strcmp(r->verb, "deletecollection") == 0;
}

/* A list is asked for as a list, an object as an object; a watch as either. */
static bool is_misfit(const struct request *r, const struct wanted *w) {
	return strcmp(r->verb, "watch") != 0 && is_about_list(r) != (strcmp(w->as, "PartialObjectMetadataList") == 0);
}

int request_check_fit(const struct request *r, struct error *err) {
	if (!r->accept.misfit || !r->resource)
		return 0;
	const struct api_resource *api = r->resource->api;
	bool event = str_equal(api->group, "events.k8s.io"); /* whose internal kind is the core's */
	const char *group = str_empty(api->group) || event ? "core" : api->group;
	bool list = is_about_list(r);
	return error_status(err, 406, "NotAcceptable", "you requested PartialObjectMetadata%s, but the requested object is %sa list (*%.*s.%s%s)", list ? "" : "List", list ? "" : "not ", (int)strcspn(group, "."), group, api->kind, list ? "List" : "");
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

/* The best clause that can be had. */
static int choose(const struct request *r, enum answer answer, const char *accept, bool can_transform, struct negotiated *best, struct wanted *w, struct error *err) {
	struct clause clauses[MAX_CLAUSES];
	size_t count = parse_accept(accept, clauses);
	for (size_t i = 0; i < count; i++)
		if (clause_fits(r, answer, &clauses[i], can_transform, best, w)) {
			/* A watch has no YAML form: it is told so, and no further clause is looked at. */
			bool streams = answer != ANSWER_STREAM || best->media != MEDIA_YAML;
			return streams ? 0 : refuse("only the following media types are accepted: ", served_streams, err);
		}
	return refuse("only the following media types are accepted: ", served, err);
}

int request_negotiate_plain(const struct request *r, struct negotiated *ret) {
	const char *accept = http_header(r->http, "Accept");
	struct negotiated best = {.media = MEDIA_JSON, .settled = true, .pretty = wants_pretty(r)};
	struct wanted w = {0};
	int rc = str_empty(accept) ? 0 : choose(r, ANSWER_REFUSAL, accept, false, &best, &w, NULL);
	best.pretty |= w.pretty;
	if (rc == 0)
		*ret = best;
	return rc;
}

int request_negotiate_unrouted(const struct request *r, bool can_transform, struct negotiated *ret, struct error *err) {
	const char *accept = http_header(r->http, "Accept");
	struct negotiated best = {.media = MEDIA_JSON, .settled = true, .pretty = wants_pretty(r)};
	if (str_empty(accept)) {
		*ret = best;
		return 0;
	}
	struct wanted w = {0};
	int rc = choose(r, strcmp(r->verb, "watch") == 0 ? ANSWER_STREAM : ANSWER_OBJECT, accept, can_transform, &best, &w, err);
	if (rc == 0 && best.form == FORM_TABLE)
		rc = check_include_object(r, err);
	if (rc < 0)
		return rc;
	best.pretty |= w.pretty;
	best.stream = w.stream;
	best.misfit = best.form == FORM_PARTIAL && is_misfit(r, &w);
	best.beta = best.form != FORM_OBJECT && strcmp(w.version, "v1beta1") == 0;
	*ret = best;
	return 0;
}

int request_negotiate(const struct request *r, bool can_transform, struct negotiated *ret, struct error *err) {
	int rc = request_check_route(r, err);
	return rc < 0 ? rc : request_negotiate_unrouted(r, can_transform, ret, err);
}
