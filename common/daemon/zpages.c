/* SPDX-License-Identifier: Apache-2.0 */
#include "common/daemon/zpages.h"

#include <time.h>

#define VERSION "1.36"
#define MAX_VALUE ((size_t)256 << 10)

bool zpage_negotiate(const char *accept, const char *kind, enum zpage_form *ret)
{
	accept = str_or(accept, "");
	autofree char *as = xprintf("as=%s", kind);
	if (strstr(accept, as) && strstr(accept, "g=config.k8s.io") && strstr(accept, "application/json")) {
		bool beta = strstr(accept, "v=v1beta1");
		if (beta || strstr(accept, "v=v1alpha1")) {
			*ret = beta ? ZPAGE_BETA : ZPAGE_ALPHA;
			return true;
		}
	}
	*ret = ZPAGE_TEXT;
	return !*accept || strstr(accept, "*/*") || strstr(accept, "text/plain") || strstr(accept, "text/*");
}

static const char *version_of(enum zpage_form form)
{
	return form == ZPAGE_BETA ? "v1beta1" : "v1alpha1";
}

char *zpage_content_type(const char *kind, enum zpage_form form)
{
	return form == ZPAGE_TEXT ? xstrdup("text/plain; charset=utf-8") : xprintf("application/json;g=config.k8s.io;v=%s;as=%s", version_of(form), kind);
}

static void begin_text(struct buf *out, const char *name, const char *page)
{
	buf_printf(out, "\n%s %s\nWarning: This endpoint is for people who look for faults: its form may change at any time, no program should read it.\n", name, page);
}

static void begin_json(struct buf *out, const char *name, const char *kind, enum zpage_form form)
{
	buf_printf(out, "{\n  \"kind\": \"%s\",\n  \"apiVersion\": \"config.k8s.io/%s\",\n  \"metadata\": {\n    \"name\": \"%s\"\n  },\n", kind, version_of(form), name);
}

void zpage_statusz(struct buf *out, enum zpage_form form, const char *name, struct wall_time started, const char *const *paths, size_t count)
{
	const time_t start = started.sec;
	int64_t up = clock_wall().sec - started.sec;
	char text[64];
	if (form == ZPAGE_TEXT) {
		struct tm tm;
		begin_text(out, name, "statusz");
		gmtime_r(&start, &tm);
		strftime(text, sizeof(text), "%a %b %e %H:%M:%S UTC %Y", &tm);
		buf_printf(out, "\nStarted  %s\nUp  %lld hr %02lld min %02lld sec\nBinary version  " VERSION "\nEmulation version  " VERSION "\nPaths ", text, (long long)up / 3600, (long long)up / 60 % 60, (long long)up % 60);
		for (size_t i = 0; i < count; i++)
			buf_printf(out, " %s", paths[i]);
		buf_append_char(out, '\n');
		return;
	}
	begin_json(out, name, "Statusz", form);
	time_format_rfc3339(started, text);
	buf_printf(out, "  \"startTime\": \"%s\",\n  \"uptimeSeconds\": %lld,\n  \"goVersion\": \"\",\n  \"binaryVersion\": \"" VERSION "\",\n  \"emulationVersion\": \"" VERSION "\",\n  \"paths\": [", text, (long long)up);
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%s\n    \"%s\"", i ? "," : "", paths[i]);
	buf_append_str(out, "\n  ]\n}");
}

/* By name; of two rows of one name the first is the one that is read. */
static int by_name(const void *a, const void *b)
{
	const struct flag *first = *(const struct flag *const *)a, *second = *(const struct flag *const *)b;
	int order = strcmp(first->name, second->name);
	return order ? order : first < second ? -1 : first > second;
}

void zpage_flagz(struct buf *out, enum zpage_form form, const char *name, const struct flag *flags, size_t count, const void *options)
{
	autofree const struct flag **sorted = xcalloc(count + 1, sizeof(*sorted));
	for (size_t i = 0; i < count; i++)
		sorted[i] = &flags[i];
	qsort(sorted, count, sizeof(*sorted), by_name);
	if (form == ZPAGE_TEXT) {
		begin_text(out, name, "flagz");
	} else {
		begin_json(out, name, "Flagz", form);
		buf_append_str(out, "  \"flags\": {");
	}
	for (size_t i = 0; i < count; i++) {
		autobuf struct buf value = BUF_INIT(MAX_VALUE);
		if (i && str_equal(sorted[i]->name, sorted[i - 1]->name))
			continue;
		flag_format(sorted[i], options, &value);
		if (form == ZPAGE_TEXT) {
			buf_printf(out, "%s=%s\n", sorted[i]->name, str_or(value.data, ""));
			continue;
		}
		buf_printf(out, "%s\n    \"%s\": ", i ? "," : "", sorted[i]->name);
		buf_append_json_string(out, str_or(value.data, ""), value.len);
	}
	if (form != ZPAGE_TEXT)
		buf_append_str(out, "\n  }\n}");
}

/* ---- configuration ---- */

static json_t *join(const struct flag_list *list)
{
	autobuf struct buf text = BUF_INIT(MAX_VALUE);
	for (size_t i = 0; i < list->len; i++)
		buf_printf(&text, "%s%s", i ? "," : "", list->items[i]);
	return json_string(str_or(text.data, ""));
}

json_t *flag_to_json(const struct flag *flag, bool joined, const void *options)
{
	const void *at = (const char *)options + flag->offset;
	autobuf struct buf text = BUF_INIT(MAX_VALUE);
	switch (flag->kind) {
	case FLAG_BOOL:
		return json_boolean(*(const bool *)at);
	case FLAG_INT:
		return json_integer(*(const int64_t *)at);
	case FLAG_DOUBLE:
		return json_real(*(const double *)at);
	case FLAG_STRING_LIST:
	case FLAG_STRING_ARRAY:
	case FLAG_STRING_MAP: {
		const struct flag_list *list = at;
		if (joined)
			return join(list);
		json_t *items = json_array();
		for (size_t i = 0; i < list->len; i++)
			json_array_append_new(items, json_string(list->items[i]));
		return items;
	}
	default:
		flag_format(flag, options, &text);
		return json_string(str_or(text.data, ""));
	}
}

/* The object that the next part of a path leads to. */
static json_t *step_into(json_t *from, const char *name, size_t len)
{
	bool list = len > 2 && strncmp(name + len - 2, "[]", 2) == 0;
	autofree char *key = xstrndup(name, list ? len - 2 : len);
	json_t *there = json_object_get(from, key);
	if (!there) {
		there = list ? json_array() : json_object();
		json_object_set_new(from, key, there);
		if (list)
			json_array_append_new(there, json_object());
	}
	return list ? json_array_get(there, 0) : there;
}

void zpage_configz(struct buf *out, const struct config_page *page, const struct flag *flags, size_t count, const void *options)
{
	json_t *all = json_object(), *config = json_object();
	json_object_set_new(all, page->name, config);
	json_object_set_new(config, "kind", json_string(page->kind));
	json_object_set_new(config, "apiVersion", json_string(page->api_version));
	for (size_t i = 0; i < page->count; i++) {
		const struct flag *flag = NULL;
		for (size_t j = 0; j < count && !flag; j++)
			if (str_equal(flags[j].name, page->rows[i].flag) && flags[j].kind != FLAG_IGNORED && flags[j].kind != FLAG_REFUSED)
				flag = &flags[j];
		json_t *at = config;
		const char *path = page->rows[i].path;
		if (!flag)
			continue;
		for (const char *dot; (dot = strchr(path, '.')); path = dot + 1)
			at = step_into(at, path, (size_t)(dot - path));
		json_object_set_new(at, path, flag_to_json(flag, page->rows[i].joined, options));
	}
	autofree char *text = json_dumps(all, JSON_COMPACT | JSON_REAL_PRECISION(6));
	json_decref(all);
	buf_append_str(out, str_or(text, "{}"));
}
