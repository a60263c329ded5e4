/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe/describe.h"

#include "common/base/clock.h"

#include <ctype.h>

#define MAX_VALUE (1u << 20)
#define MAX_DEPTH 32

/* ---- lines ---- */

static void add_key(struct describe *d, int level, const char *key)
{
	columns_printf(&d->columns, "%*s%s:", level * 2, "", key);
}

void describe_text(struct describe *d, int level, const char *key, const char *value)
{
	add_key(d, level, key);
	columns_add(&d->columns, str_or(value, "<none>"));
	columns_end_row(&d->columns);
}

void describe_printf(struct describe *d, int level, const char *key, const char *fmt, ...)
{
	autobuf struct buf text = BUF_INIT(MAX_VALUE);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	describe_text(d, level, key, text.data);
}

void describe_head(struct describe *d, int level, const char *text)
{
	add_key(d, level, text);
	columns_end_row(&d->columns);
}

void describe_row(struct describe *d, int level, const char *first, ...)
{
	columns_printf(&d->columns, "%*s%s", level * 2, "", first);
	va_list args;
	va_start(args, first);
	for (const char *cell; (cell = va_arg(args, const char *));)
		columns_add(&d->columns, cell);
	va_end(args);
	columns_end_row(&d->columns);
}

static void describe_pairs(struct describe *d, int level, const char *key, json_t *map, const char *separator)
{
	const char *name;
	json_t *value;
	bool first = true;
	json_object_foreach(map, name, value) {
		if (str_equal(name, "kubectl.kubernetes.io/last-applied-configuration"))
			continue;
		if (first)
			add_key(d, level, key);
		else
			columns_add(&d->columns, "");
		columns_printf(&d->columns, "%s%s%s", name, separator, str_or(json_string_value(value), ""));
		columns_end_row(&d->columns);
		first = false;
	}
	if (first)
		describe_text(d, level, key, NULL);
}

void describe_map(struct describe *d, int level, const char *key, json_t *map)
{
	describe_pairs(d, level, key, map, "=");
}

static const char *text_of(struct describe *d, json_t *value)
{
	if (json_is_string(value))
		return json_string_value(value);
	char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
	const char *copy = arena_strdup(d->cli->arena, text);
	free(text);
	return copy;
}

void describe_values(struct describe *d, int level, const char *key, json_t *map)
{
	const char *name;
	json_t *value;
	if (!json_object_size(map))
		return;
	describe_head(d, level, key);
	json_object_foreach(map, name, value)
		describe_text(d, level + 1, name, text_of(d, value));
}

const char *describe_age(struct cli *cli, const char *time)
{
	struct wall_time t;
	char age[32];
	if (str_empty(time) || time_parse_rfc3339(time, strlen(time), &t))
		return "<unknown>";
	duration_format_human(time_diff_ns(clock_wall(), t) / NSEC_PER_SEC, age);
	return arena_strdup(cli->arena, age);
}

void describe_metadata(struct describe *d, json_t *object)
{
	describe_text(d, 0, "Name", cli_name(object));
	if (*cli_ns(object))
		describe_text(d, 0, "Namespace", cli_ns(object));
	describe_map(d, 0, "Labels", cli_at(object, "metadata.labels"));
	describe_pairs(d, 0, "Annotations", cli_at(object, "metadata.annotations"), ": ");
}

/* ---- any value ---- */

/* "clusterIP" -> "Cluster IP" */
static const char *title_of(struct describe *d, const char *key)
{
	char *out = arena_alloc(d->cli->arena, strlen(key) * 2 + 2), *p = out;
	for (size_t i = 0; key[i]; i++) {
		bool up = isupper((unsigned char)key[i]);
		bool starts = up && i && (islower((unsigned char)key[i - 1]) || (key[i + 1] && islower((unsigned char)key[i + 1]) && isupper((unsigned char)key[i - 1])));
		if (starts)
			*p++ = ' ';
		*p++ = i ? key[i] : (char)toupper((unsigned char)key[i]);
	}
	return out;
}

void describe_value(struct describe *d, int level, const char *key, json_t *value)
{
	const char *name;
	size_t i;
	json_t *child;
	if (level > MAX_DEPTH)
		return;
	if (json_is_object(value)) {
		describe_head(d, level, title_of(d, key));
		json_object_foreach(value, name, child)
			describe_value(d, level + 1, name, child);
	} else if (json_is_array(value)) {
		describe_head(d, level, title_of(d, key));
		json_array_foreach(value, i, child) {
			if (!json_is_object(child)) {
				describe_row(d, level + 1, text_of(d, child), NULL);
				continue;
			}
			json_object_foreach(child, name, value)
				describe_value(d, level + 1, name, value);
		}
	} else {
		describe_text(d, level, title_of(d, key), text_of(d, value));
	}
}

static void write_generic(struct describe *d, json_t *object)
{
	static const char *const hidden[] = {"apiVersion", "kind", "metadata"};
	describe_metadata(d, object);
	describe_text(d, 0, "API Version", cli_str(object, "apiVersion"));
	describe_text(d, 0, "Kind", cli_str(object, "kind"));
	describe_head(d, 0, "Metadata");
	describe_text(d, 1, "Creation Timestamp", cli_str_at(object, "metadata.creationTimestamp"));
	if (cli_int_at(object, "metadata.generation"))
		describe_printf(d, 1, "Generation", "%lld", (long long)cli_int_at(object, "metadata.generation"));
	static const char *const kept[] = {"deletionTimestamp", "finalizers", "ownerReferences"};
	for (size_t i = 0; i < array_len(kept); i++)
		if (json_object_get(json_object_get(object, "metadata"), kept[i]))
			describe_value(d, 1, kept[i], json_object_get(json_object_get(object, "metadata"), kept[i]));
	describe_text(d, 1, "Resource Version", cli_str_at(object, "metadata.resourceVersion"));
	describe_text(d, 1, "UID", cli_str_at(object, "metadata.uid"));
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value) {
		bool skip = false;
		for (size_t i = 0; i < array_len(hidden); i++)
			skip |= str_equal(key, hidden[i]);
		if (!skip)
			describe_value(d, 0, key, value);
	}
}

void describe_conditions(struct describe *d, json_t *conditions, bool with_times)
{
	size_t i;
	json_t *c;
	if (!json_array_size(conditions))
		return;
	describe_head(d, 0, "Conditions");
	if (with_times)
		describe_row(d, 1, "Type", "Status", "LastHeartbeatTime", "LastTransitionTime", "Reason", "Message", NULL);
	else
		describe_row(d, 1, "Type", "Status", "Reason", NULL);
	json_array_foreach(conditions, i, c) {
		const char *type = str_or(cli_str(c, "type"), ""), *status = str_or(cli_str(c, "status"), ""), *reason = str_or(cli_str(c, "reason"), "");
		if (with_times)
			describe_row(d, 1, type, status, str_or(cli_str(c, "lastHeartbeatTime"), "<unknown>"), str_or(cli_str(c, "lastTransitionTime"), "<unknown>"), reason, str_or(cli_str(c, "message"), ""), NULL);
		else
			describe_row(d, 1, type, status, reason, NULL);
	}
}

/* ---- events ---- */

static void event_row(struct describe *d, json_t *event)
{
	const char *last = str_or(cli_str(event, "lastTimestamp"), str_or(cli_str_at(event, "series.lastObservedTime"), str_or(cli_str(event, "eventTime"), cli_str_at(event, "metadata.creationTimestamp"))));
	int64_t count = max_of(cli_int_at(event, "count"), cli_int_at(event, "series.count"));
	const char *age = describe_age(d->cli, last);
	if (count > 1)
		age = arena_printf(d->cli->arena, "%s (x%lld over %s)", age, (long long)count, describe_age(d->cli, str_or(cli_str(event, "firstTimestamp"), last)));
	describe_row(d, 1, str_or(cli_str(event, "type"), ""), str_or(cli_str(event, "reason"), ""), age, str_or(cli_str_at(event, "source.component"), str_or(cli_str(event, "reportingComponent"), "")), str_or(cli_str(event, "message"), ""), NULL);
}

static void write_events(struct describe *d, json_t *object)
{
	const struct cli_resource *events = NULL;
	json_t *list, *event;
	if (cli_resource_match(d->cli, "events", &events, NULL))
		return;
	autobuf struct buf selector = BUF_INIT(4096);
	bool node = str_equal(cli_str(object, "kind"), "Node");
	/* Kubelets name a node by its name where others give its uid. */
	buf_printf(&selector, "involvedObject.name=%s,involvedObject.kind=%s", cli_name(object), str_or(cli_str(object, "kind"), ""));
	if (!node)
		buf_printf(&selector, ",involvedObject.uid=%s", str_or(cli_str_at(object, "metadata.uid"), ""));
	char *path = cli_path(d->cli, events, *cli_ns(object) ? cli_ns(object) : NULL, NULL, NULL);
	if (cli_get_json(d->cli, cli_path_query(d->cli, path, "fieldSelector", selector.data), &list, NULL))
		return;
	size_t i;
	json_t *items = json_object_get(list, "items");
	if (!json_array_size(items)) {
		describe_text(d, 0, "Events", NULL);
	} else {
		describe_head(d, 0, "Events");
		describe_row(d, 1, "Type", "Reason", "Age", "From", "Message", NULL);
		describe_row(d, 1, "----", "------", "----", "----", "-------", NULL);
		json_array_foreach(items, i, event)
			event_row(d, event);
	}
	json_decref(list);
}

void describe_object(struct cli *cli, const struct cli_resource *resource, json_t *object, bool with_events, struct buf *out)
{
	struct describe d = {.cli = cli};
	void (*write)(struct describe *d, json_t *object) = write_generic;
	for (const struct describe_kind *const *kind = describe_kinds; *kind; kind++)
		if (str_equal((*kind)->kind, resource->kind) && str_equal((*kind)->group, resource->group))
			write = (*kind)->write;
	write(&d, object);
	columns_write(&d.columns, "", 2, out);
	if (with_events) {
		write_events(&d, object);
		columns_write(&d.columns, "", 2, out);
	}
}
