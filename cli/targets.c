/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/targets.h"

#include "common/api/yaml.h"
#include "common/base/file.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TARGETS 1000000

void cli_targets_done(struct cli_targets *targets)
{
	for (size_t i = 0; i < targets->len; i++)
		json_decref(targets->items[i].object);
	free(targets->items);
	*targets = (struct cli_targets){0};
}

static void add(struct cli_targets *targets, const struct cli_target *target)
{
	if (!(targets->len & (targets->len - 1)))
		targets->items = xreallocarray(targets->items, targets->len ? targets->len * 2 : 1, sizeof(*targets->items));
	targets->items[targets->len++] = *target;
}

/* ---- words ---- */

static int namespace_for(struct cli *cli, const struct cli_resource *resource, bool all_namespaces, const char **ret, struct error *err)
{
	*ret = NULL;
	return resource->namespaced && !all_namespaces ? cli_namespace(cli, ret, err) : 0;
}

static int add_word(struct cli *cli, const char *type, const char *name, bool all_namespaces, struct cli_targets *ret, struct error *err)
{
	struct cli_target target = {.name = name};
	int rc = cli_resource_match(cli, type, &target.resource, err);
	if (!rc)
		rc = namespace_for(cli, target.resource, all_namespaces && !name, &target.ns, err);
	if (!rc)
		add(ret, &target);
	return rc;
}

/* "all" is a category: the resources that carry it. */
static int add_category(struct cli *cli, bool all_namespaces, struct cli_targets *ret, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < api_resource_count; i++) {
		bool in = false;
		for (const char *const *c = api_resources[i].categories; c && *c; c++)
			in |= str_equal(*c, "all");
		if (!in || api_resource_match(api_resources[i].plural) != &api_resources[i])
			continue;
		rc = add_word(cli, api_resources[i].plural, NULL, all_namespaces, ret, err);
	}
	return rc;
}

static int add_types(struct cli *cli, const char *types, const struct flag_list *args, size_t first_name, bool all_namespaces, struct cli_targets *ret, struct error *err)
{
	int rc = 0;
	for (const char *p = types; !rc && *p;) {
		size_t len = strcspn(p, ",");
		const char *type = arena_strndup(cli->arena, p, len);
		if (first_name >= args->len)
			rc = str_equal(type, "all") ? add_category(cli, all_namespaces, ret, err) : add_word(cli, type, NULL, all_namespaces, ret, err);
		for (size_t i = first_name; !rc && i < args->len; i++)
			rc = add_word(cli, type, arena_strdup(cli->arena, args->items[i]), all_namespaces, ret, err);
		p += len + (p[len] == ',');
	}
	return rc;
}

int cli_targets_from_args(struct cli *cli, const struct flag_list *args, size_t first, bool all_namespaces, struct cli_targets *ret, struct error *err)
{
	if (first >= args->len)
		return 0;
	bool slashes = strchr(args->items[first], '/') != NULL;
	if (!slashes)
		return add_types(cli, args->items[first], args, first + 1, all_namespaces, ret, err);
	int rc = 0;
	for (size_t i = first; !rc && i < args->len; i++) {
		const char *slash = strchr(args->items[i], '/');
		if (!slash || !slash[1] || slash == args->items[i] || strchr(slash + 1, '/'))
			return cli_usage_error(err, "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'coracle get resource/<resource_name>' instead of 'coracle get resource resource/<resource_name>'");
		rc = add_word(cli, arena_strndup(cli->arena, args->items[i], (size_t)(slash - args->items[i])), arena_strdup(cli->arena, slash + 1), false, ret, err);
	}
	return rc;
}

/* ---- files ---- */

struct reading {
	const char *source;
	int (*fn)(json_t *object, const char *source, void *arg, struct error *err);
	void *arg;
	struct error *err;
};

static int give(struct reading *reading, json_t *object)
{
	const char *kind = cli_str(object, "kind");
	json_t *items = json_object_get(object, "items");
	if (!kind || !str_ends_with(kind, "List") || !json_is_array(items))
		return reading->fn(object, reading->source, reading->arg, reading->err);
	size_t i;
	json_t *item;
	int rc = 0;
	json_array_foreach(items, i, item) {
		/* Items of a typed list carry their kind in its name. */
		if (!cli_str(item, "kind") && !str_equal(kind, "List")) {
			json_object_set_new(item, "kind", json_stringn(kind, strlen(kind) - 4));
			json_object_set(item, "apiVersion", json_object_get(object, "apiVersion"));
		}
		rc = give(reading, item);
		if (rc)
			break;
	}
	return rc;
}

static int on_document(const char *json, size_t len, void *arg)
{
	struct reading *reading = arg;
	json_error_t problem;
	json_t *object = json_loadb(json, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &problem);
	if (!object)
		return error_set(reading->err, EINVAL, "error parsing %s: %s", reading->source, problem.text);
	int rc = 0;
	if (json_is_object(object))
		rc = give(reading, object);
	else if (!json_is_null(object))
		rc = error_set(reading->err, EINVAL, "error parsing %s: it holds something that is no object", reading->source);
	json_decref(object);
	return rc;
}

static int read_text(struct reading *reading, const char *text, size_t len)
{
	int rc = yaml_to_json(text, len, on_document, reading, reading->err);
	if (rc && reading->err && !reading->err->http_code && str_starts_with(error_message(reading->err), "yaml:"))
		error_context(reading->err, "error parsing %s", reading->source);
	return rc;
}

static int read_fd(struct reading *reading, int fd)
{
	autobuf struct buf text = BUF_INIT(CLI_MAX_FILE);
	while (buf_reserve(&text, 65536)) {
		ssize_t n = read(fd, text.data + text.len, 65536);
		if (n < 0)
			return error_set_errno(reading->err, errno, "read %s", reading->source);
		if (n == 0)
			return read_text(reading, text.data, text.len);
		text.len += (size_t)n;
	}
	return error_set(reading->err, EFBIG, "%s is larger than %u bytes", reading->source, CLI_MAX_FILE);
}

static size_t append_download(char *data, size_t size, size_t count, void *arg)
{
	buf_append(arg, data, size * count);
	return buf_failed(arg) ? 0 : size * count;
}

static int read_url(struct reading *reading, const char *url)
{
	autobuf struct buf text = BUF_INIT(CLI_MAX_FILE);
	CURL *curl = curl_easy_init();
	if (!curl)
		abort();
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 5L);
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, append_download);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &text);
	CURLcode result = curl_easy_perform(curl);
	curl_easy_cleanup(curl);
	if (result != CURLE_OK)
		return error_set(reading->err, EIO, "unable to read URL \"%s\": %s", url, curl_easy_strerror(result));
	return read_text(reading, text.data ? text.data : "", text.len);
}

static bool is_manifest(const char *name)
{
	return str_ends_with(name, ".yaml") || str_ends_with(name, ".yml") || str_ends_with(name, ".json");
}

static int read_path(struct reading *reading, const char *path, bool recursive);

static int name_order(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int read_dir(struct reading *reading, const char *dir, bool recursive)
{
	struct dirent **entries;
	int count = scandir(dir, &entries, NULL, name_order), rc = 0;
	if (count < 0)
		return error_set_errno(reading->err, errno, "open %s", dir);
	for (int i = 0; i < count; i++) {
		const char *name = entries[i]->d_name;
		autofree char *path = path_join(dir, name, NULL);
		struct stat st;
		bool is_dir = !stat(path, &st) && S_ISDIR(st.st_mode);
		if (!rc && !str_equal(name, ".") && !str_equal(name, "..") && (is_dir ? recursive : is_manifest(name)))
			rc = read_path(reading, path, recursive);
		free(entries[i]);
	}
	free(entries);
	return rc;
}

static int read_path(struct reading *reading, const char *path, bool recursive)
{
	struct stat st;
	if (stat(path, &st)) {
		if (errno == ENOENT)
			return error_set(reading->err, ENOENT, "the path \"%s\" does not exist", path);
		return error_set_errno(reading->err, errno, "open %s", path);
	}
	if (S_ISDIR(st.st_mode))
		return read_dir(reading, path, recursive);
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(reading->err, errno, "open %s", path);
	const char *before = reading->source;
	reading->source = path;
	int rc = read_fd(reading, fd);
	reading->source = before;
	return rc;
}

int cli_read_files(struct cli *cli, const struct flag_list *files, bool recursive, int (*fn)(json_t *object, const char *source, void *arg, struct error *err), void *arg, struct error *err)
{
	int rc = 0;
	for (size_t i = 0; !rc && i < files->len; i++) {
		const char *file = files->items[i];
		struct reading reading = {.source = str_equal(file, "-") ? "STDIN" : file, .fn = fn, .arg = arg, .err = err};
		if (str_equal(file, "-"))
			rc = read_fd(&reading, STDIN_FILENO);
		else if (str_starts_with(file, "http://") || str_starts_with(file, "https://"))
			rc = read_url(&reading, file);
		else
			rc = read_path(&reading, file, recursive);
	}
	return rc;
}

struct collect {
	struct cli *cli;
	struct cli_targets *targets;
};

static int add_object(json_t *object, const char *source, void *arg, struct error *err)
{
	struct collect *collect = arg;
	struct cli *cli = collect->cli;
	if (collect->targets->len >= MAX_TARGETS)
		return error_set(err, E2BIG, "more than %d objects", MAX_TARGETS);
	if (str_empty(cli_str(object, "kind")))
		return error_set(err, EINVAL, "error validating \"%s\": error validating data: kind not set", source);
	if (str_empty(cli_str(object, "apiVersion")))
		return error_set(err, EINVAL, "error validating \"%s\": error validating data: apiVersion not set", source);
	struct cli_target target = {.name = arena_strdup(cli->arena, cli_str_at(object, "metadata.name")), .source = arena_strdup(cli->arena, source)};
	int rc = cli_resource_by_kind(cli, cli_str(object, "apiVersion"), cli_str(object, "kind"), &target.resource, err);
	if (rc) {
		error_context(err, "resource mapping not found for name: \"%s\" namespace: \"%s\" from \"%s\"", cli_name(object), cli_ns(object), source);
		return rc;
	}
	if (target.resource->namespaced) {
		const char *ns;
		rc = cli_namespace(cli, &ns, err);
		if (rc)
			return rc;
		const char *own = cli_str_at(object, "metadata.namespace");
		if (!str_empty(own) && cli_flag_given(cli, "namespace") && !str_equal(own, ns))
			return error_set(err, EINVAL, "the namespace from the provided object \"%s\" does not match the namespace \"%s\". You must pass '--namespace=%s' to perform this operation.", own, ns, own);
		target.ns = arena_strdup(cli->arena, str_or(own, ns));
		json_object_set_new(cli_make_at(object, "metadata"), "namespace", json_string(target.ns));
	}
	target.object = json_incref(object);
	add(collect->targets, &target);
	return 0;
}

int cli_targets_from_files(struct cli *cli, const struct flag_list *files, bool recursive, struct cli_targets *ret, struct error *err)
{
	struct collect collect = {.cli = cli, .targets = ret};
	return cli_read_files(cli, files, recursive, add_object, &collect, err);
}

/* ---- what they are on the server ---- */

const char *cli_target_display(struct cli *cli, const struct cli_target *target)
{
	return arena_printf(cli->arena, "%s/%s", cli_display_name(cli, target->resource), str_or(target->name, ""));
}

int cli_target_get(struct cli *cli, const struct cli_target *target, json_t **ret, struct error *err)
{
	return cli_get_json(cli, cli_path(cli, target->resource, target->ns, target->name, NULL), ret, err);
}

static int expand_one(struct cli *cli, const struct cli_target *from, const char *label_selector, const char *field_selector, struct cli_targets *ret, struct error *err)
{
	char *path = cli_path(cli, from->resource, from->ns, NULL, NULL);
	path = cli_path_query(cli, path, "labelSelector", label_selector);
	path = cli_path_query(cli, path, "fieldSelector", field_selector);
	json_t *list, *item;
	size_t i;
	int rc = cli_get_json(cli, path, &list, err);
	if (rc)
		return rc;
	json_array_foreach(json_object_get(list, "items"), i, item) {
		struct cli_target target = *from;
		target.name = arena_strdup(cli->arena, cli_name(item));
		target.ns = from->resource->namespaced ? arena_strdup(cli->arena, cli_ns(item)) : NULL;
		add(ret, &target);
	}
	json_decref(list);
	return 0;
}

int cli_targets_expand(struct cli *cli, struct cli_targets *targets, const char *label_selector, const char *field_selector, struct error *err)
{
	struct cli_targets out = {0};
	int rc = 0;
	for (size_t i = 0; !rc && i < targets->len; i++) {
		if (targets->items[i].name) {
			struct cli_target target = targets->items[i];
			json_incref(target.object);
			add(&out, &target);
		} else {
			rc = expand_one(cli, &targets->items[i], label_selector, field_selector, &out, err);
		}
	}
	cli_targets_done(targets);
	*targets = out;
	return rc;
}
