/* SPDX-License-Identifier: Apache-2.0 */
/* From URL to verb, group, version, namespace, resource, name, subresource. */
#include "apiserver/request/request.h"

#include <ctype.h>
#include <strings.h>

#define MAX_PATH_PARTS 64

/* Segments between slashes, an escaped one too; empty ones in between count, those at the ends do not. */
static int split_path(struct request *r) {
	const char **parts = arena_calloc(r->arena, MAX_PATH_PARTS + 1, sizeof(*parts));
	size_t count = 0, len = strlen(r->path);
	char *path = http_url_decode_any(r->arena, r->path, len, false);
	if (!path) {
		/* That is told before anything of the API is looked at. */
		http_remove_header(r->http, "Audit-Id");
		http_remove_header(r->http, "Cache-Control");
		request_respond_text(r, 400, "400 Bad Request");
		return REQUEST_TAKEN;
	}
	char *p = path + strspn(path, "/"), *end = path + strlen(path);
	while (end > p && end[-1] == '/')
		*--end = '\0';
	while (*p && count < MAX_PATH_PARTS) {
		char *slash = strchr(p, '/');
		parts[count++] = p;
		if (!slash)
			break;
		*slash = '\0';
		p = slash + 1;
	}
	r->parts = parts;
	r->part_count = count;
	return 0;
}

/* The text of the path after `count` segments and one slash, as sent. */
static const char *path_after(const char *path, size_t count) {
	const char *p = path;
	for (size_t i = 0; i < count; i++) {
		while (*p == '/')
			p++;
		p += strcspn(p, "/");
	}
	return *p == '/' ? p + 1 : p;
}

bool request_flag(const struct request *r, const char *name) {
	const char *value = http_query(r->http, name);
	return value && strcasecmp(value, "false") != 0 && strcmp(value, "0") != 0;
}

static const char *verb_of_method(const char *method) {
	static const struct { const char *method, *verb; } verbs[] = {
		{"GET", "get"}, {"HEAD", "get"}, {"POST", "create"}, {"PUT", "update"}, {"PATCH", "patch"}, {"DELETE", "delete"},
	};
	for (size_t i = 0; i < array_len(verbs); i++)
		if (strcmp(verbs[i].method, method) == 0)
			return verbs[i].verb;
	return "";
}

static const char *lower(struct arena *arena, const char *s) {
	char *copy = arena_strdup(arena, s);
	for (char *p = copy; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return copy;
}

/* "metadata.name=x" among the field selector's terms: the name that the request is about. */
static const char *name_of_selector(struct request *r) {
	const char *text = http_query(r->http, "fieldSelector");
	static const char key[] = "metadata.name=";
	for (const char *p = text; p && *p;) {
		size_t len = strcspn(p, ",");
		if (len > sizeof(key) - 1 && strncmp(p, key, sizeof(key) - 1) == 0) {
			const char *value = p + sizeof(key) - 1;
			if (*value == '=')
				value++;
			return arena_strndup(r->arena, value, len - (size_t)(value - p));
		}
		p += len;
		if (*p)
			p++;
	}
	return NULL;
}

static void parse_namespaced(struct request *r, size_t *i) {
	if (*i >= r->part_count || strcmp(r->parts[*i], "namespaces") != 0)
		return;
	if (*i + 1 >= r->part_count)
		return; /* the collection of namespaces */
	r->ns = r->parts[*i + 1];
	/* namespaces/x, namespaces/x/status, namespaces/x/finalize are about the namespace itself. */
	bool itself = *i + 2 >= r->part_count ||
		      (*i + 3 == r->part_count && (strcmp(r->parts[*i + 2], "status") == 0 || strcmp(r->parts[*i + 2], "finalize") == 0));
	if (!itself)
		*i += 2;
}

int request_parse(struct request *r, struct error *err) {
	/* A path that cannot be read is answered, counted and logged like any other. */
	r->rest = "";
	r->verb = lower(r->arena, r->method);
	int rc = split_path(r);
	if (rc)
		return rc;
	/* A resource must follow. */
	bool core = r->part_count == 3 && strcmp(r->parts[0], "api") == 0, grouped = r->part_count == 4 && strcmp(r->parts[0], "apis") == 0;
	if ((core || grouped) && strcmp(r->parts[r->part_count - 1], "watch") == 0) {
		autofree char *why = xprintf("failed to create RequestInfo: unable to determine kind and namespace from url, %s", r->path);
		http_remove_header(r->http, "Cache-Control");
		request_respond_internal_text(r, why);
		return REQUEST_TAKEN;
	}
	/* What begins with nothing is nowhere. */
	r->nowhere = str_starts_with(r->path, "//");
	size_t i;
	if (r->part_count >= 3 && strcmp(r->parts[0], "api") == 0) {
		r->group = "";
		r->version = r->parts[1];
		i = 2;
	} else if (r->part_count >= 4 && strcmp(r->parts[0], "apis") == 0) {
		r->group = r->parts[1];
		r->version = r->parts[2];
		i = 3;
	} else {
		return 0;
	}
	r->is_resource = true;
	r->verb = verb_of_method(r->method);
	/* A verb of before, which who authorizes still hears of. */
	r->old_proxy = strcmp(r->parts[i], "proxy") == 0 && r->part_count > i + 1;
	if (r->old_proxy) {
		r->verb = "proxy";
		i++;
	}
	bool old_watch = false;
	if (strcmp(r->parts[i], "watch") == 0 && r->part_count > i + 1) {
		old_watch = true;
		i++;
	}
	parse_namespaced(r, &i);
	r->plural = r->parts[i++];
	if (i < r->part_count)
		r->name = r->parts[i++];
	if (i < r->part_count)
		r->subresource = r->parts[i++];
	r->nameless = r->name && !*r->name && r->subresource && *r->subresource;
	if (((r->name && !*r->name) && !r->nameless) || (r->subresource && !*r->subresource))
		r->plural = "";
	r->too_deep = i < r->part_count && r->subresource && strcmp(r->subresource, "proxy") != 0;
	r->watch_path = old_watch;
	if (i < r->part_count || (r->subresource && strcmp(r->subresource, "proxy") == 0))
		r->rest = path_after(r->path, i);
	if (!r->name && strcmp(r->verb, "get") == 0)
		r->verb = request_flag(r, "watch") ? "watch" : "list";
	else if (!r->name && strcmp(r->verb, "delete") == 0)
		r->verb = "deletecollection";
	if (old_watch && (strcmp(r->verb, "get") == 0 || strcmp(r->verb, "list") == 0)) {
		r->verb = "watch";
		r->watches_one = r->name && !r->subresource;
	}
	if (r->watches_one) {
		r->selected_name = r->name;
		r->name = NULL;
		return 0;
	}
	/* GET of one name with ?watch is not a watch but a get, as the Go server has it since 1.11. */
	if (!r->name && (strcmp(r->verb, "list") == 0 || strcmp(r->verb, "watch") == 0 || strcmp(r->verb, "deletecollection") == 0)) {
		const char *name = name_of_selector(r);
		if (!str_empty(name) && !strchr(name, '/'))
			r->selected_name = name;
	}
	return 0;
}

static const char *options_kind(const struct request *r) {
	return strcmp(r->verb, "create") == 0 ? "CreateOptions" : strcmp(r->verb, "patch") == 0 ? "PatchOptions" : "UpdateOptions";
}

static void check_field_validation(struct request *r, struct error *err) {
	const char *value = str_or(http_query(r->http, "fieldValidation"), "");
	r->validation = API_WARN;
	if (strcmp(value, "Ignore") == 0)
		r->validation = API_IGNORE;
	else if (strcmp(value, "Strict") == 0)
		r->validation = API_STRICT;
	else if (*value && strcmp(value, "Warn") != 0)
		error_cause(err, "FieldValueNotSupported", "fieldValidation", "Unsupported value: \"%s\": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\"", value);
}

struct dry_run {
	struct buf list; /* of all that was given */
	bool given, other;
};

static void add_dry_run(const char *name, const char *value, void *arg) {
	struct dry_run *d = arg;
	if (strcmp(name, "dryRun") != 0)
		return;
	d->given = true;
	d->other |= strcmp(value, "All") != 0;
	buf_append_char(&d->list, d->list.len ? ',' : '[');
	buf_append_json_string(&d->list, value, strlen(value));
}

static void check_dry_run(struct request *r, struct error *err) {
	struct dry_run d = {.list = BUF_INIT(64 << 10)};
	http_query_each(r->http, add_dry_run, &d);
	r->dry_run = d.given;
	if (d.other)
		error_cause(err, "FieldValueNotSupported", "dryRun", "Unsupported value: %s]: supported values: \"All\"", d.list.data);
	buf_done(&d.list);
}

static void check_field_manager(struct request *r, struct error *err) {
	const char *name = r->field_manager = str_or(http_query(r->http, "fieldManager"), "");
	if (strlen(name) > 128)
		error_cause(err, "FieldValueTooLong", "fieldManager", "Too long: may not be more than 128 bytes");
	for (const char *p = name; *p; p++) {
		bool nul = str_starts_with(p, "\xc0\x80");
		if (nul || (unsigned char)*p < 0x20 || *p == 0x7f)
			error_cause(err, "FieldValueInvalid", "fieldManager", "Invalid value: \"%s\": invalid character U+%04X (at position %zu)", name, nul ? 0 : (unsigned char)*p, (size_t)(p - name));
		p += nul;
	}
	if (*name)
		return;
	/* The first word of the user agent, as the Go server guesses it. */
	const char *agent = str_or(http_header(r->http, "User-Agent"), "unknown");
	r->field_manager = arena_strndup(r->arena, agent, strcspn(agent, "/ "));
}

int request_parse_write_options(struct request *r, struct error *err) {
	autoerror struct error wrong = {0};
	bool patch = strcmp(r->verb, "patch") == 0, apply = patch && str_starts_with(str_or(http_header(r->http, "Content-Type"), ""), "application/apply-patch+yaml");
	if (apply && str_empty(http_query(r->http, "fieldManager")))
		error_cause(&wrong, "FieldValueRequired", "fieldManager", "Required value: is required for apply patch");
	if (patch && !apply && http_query(r->http, "force"))
		error_cause(&wrong, "FieldValueForbidden", "force", "Forbidden: may not be specified for non-apply patch");
	check_field_manager(r, &wrong);
	check_dry_run(r, &wrong);
	check_field_validation(r, &wrong);
	if (!error_has_causes(&wrong))
		return 0;
	error_invalid(&wrong, "meta.k8s.io", options_kind(r), "");
	return error_move(err, &wrong);
}

bool user_in_group(const struct user *user, const char *group) {
	for (const char *const *g = user->groups; g && *g; g++)
		if (strcmp(*g, group) == 0)
			return true;
	return false;
}
