/* SPDX-License-Identifier: Apache-2.0 */
/*
 * State files. What is kept of a sandbox or container stands once, as rows: reader, writer and destructor follow them.
 */
#include "kubelet/runtime/internal.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

enum field_kind { FIELD_STRING, FIELD_INT, FIELD_BOOL, FIELD_LABELS, FIELD_JSON, FIELD_STRINGS };

struct field {
	const char *name;
	enum field_kind kind;
	size_t offset;
};
#define SANDBOX(n, k) {#n, k, offsetof(struct sandbox, n)}
#define CONTAINER(n, k) {#n, k, offsetof(struct container, n)}

static const struct field sandbox_fields[] = {
	SANDBOX(id, FIELD_STRING),
	SANDBOX(pod_name, FIELD_STRING),
	SANDBOX(pod_namespace, FIELD_STRING),
	SANDBOX(pod_uid, FIELD_STRING),
	SANDBOX(hostname, FIELD_STRING),
	SANDBOX(attempt, FIELD_INT),
	SANDBOX(ready, FIELD_BOOL),
	SANDBOX(host_network, FIELD_BOOL),
	SANDBOX(host_pid, FIELD_BOOL),
	SANDBOX(host_ipc, FIELD_BOOL),
	SANDBOX(share_process_namespace, FIELD_BOOL),
	SANDBOX(created_ns, FIELD_INT),
	SANDBOX(cgroup_parent, FIELD_STRING),
	SANDBOX(log_dir, FIELD_STRING),
	SANDBOX(boot_id, FIELD_STRING),
	SANDBOX(pause_pid, FIELD_INT),
	SANDBOX(pause_start, FIELD_INT),
	SANDBOX(labels, FIELD_LABELS),
	SANDBOX(sysctls, FIELD_LABELS),
	SANDBOX(selinux_level, FIELD_STRING),
	SANDBOX(uid_mappings, FIELD_JSON),
	SANDBOX(gid_mappings, FIELD_JSON),
	SANDBOX(ports, FIELD_JSON),
	SANDBOX(ips, FIELD_STRINGS),
};

static const struct field container_fields[] = {
	CONTAINER(id, FIELD_STRING),
	CONTAINER(sandbox_id, FIELD_STRING),
	CONTAINER(pod_uid, FIELD_STRING),
	CONTAINER(name, FIELD_STRING),
	CONTAINER(image, FIELD_STRING),
	CONTAINER(image_id, FIELD_STRING),
	CONTAINER(image_status, FIELD_STRING),
	CONTAINER(attempt, FIELD_INT),
	CONTAINER(state, FIELD_INT),
	CONTAINER(created_ns, FIELD_INT),
	CONTAINER(started_ns, FIELD_INT),
	CONTAINER(finished_ns, FIELD_INT),
	CONTAINER(exit_code, FIELD_INT),
	CONTAINER(reason, FIELD_STRING),
	CONTAINER(message, FIELD_STRING),
	CONTAINER(log_path, FIELD_STRING),
	CONTAINER(cgroup_path, FIELD_STRING),
	CONTAINER(stop_signal, FIELD_STRING),
	CONTAINER(boot_id, FIELD_STRING),
	CONTAINER(tty, FIELD_BOOL),
	CONTAINER(stdin_open, FIELD_BOOL),
	CONTAINER(stdin_once, FIELD_BOOL),
	CONTAINER(uid, FIELD_INT),
	CONTAINER(gid, FIELD_INT),
	CONTAINER(groups, FIELD_JSON),
	CONTAINER(pid, FIELD_INT),
	CONTAINER(pid_start, FIELD_INT),
	CONTAINER(conmon_pid, FIELD_INT),
	CONTAINER(conmon_start, FIELD_INT),
	CONTAINER(labels, FIELD_LABELS),
};

/* ---- labels ---- */

const char *runtime_label_get(const struct runtime_labels *labels, const char *key)
{
	for (size_t i = 0; i < labels->len; i++)
		if (strcmp(labels->items[i].key, key) == 0)
			return labels->items[i].value;
	return NULL;
}

/* One piece of memory for all of them: they live as long as a container does, and a node has thousands. */
void labels_copy(struct runtime_labels *to, const struct runtime_label *items, size_t len)
{
	size_t size = (len + 1) * sizeof(*items);
	for (size_t i = 0; i < len; i++)
		size += strlen(items[i].key) + strlen(str_or(items[i].value, "")) + 2;
	struct runtime_label *copy = xmalloc(size);
	char *at = (char *)(copy + len + 1);
	for (size_t i = 0; i < len; i++) {
		copy[i].key = at;
		at = stpcpy(at, items[i].key) + 1;
		copy[i].value = at;
		at = stpcpy(at, str_or(items[i].value, "")) + 1;
	}
	*to = (struct runtime_labels){copy, len};
}

void labels_done(struct runtime_labels *labels)
{
	free(labels->items);
	*labels = (struct runtime_labels){0};
}

void labels_set(struct runtime_labels *labels, const char *key, const char *value)
{
	struct runtime_labels old = *labels;
	autofree struct runtime_label *items = xcalloc(old.len + 1, sizeof(*items));
	size_t at = 0;
	for (size_t i = 0; i < old.len; i++)
		items[i] = old.items[i];
	while (at < old.len && strcmp(items[at].key, key) != 0)
		at++;
	items[at] = (struct runtime_label){key, value};
	labels_copy(labels, items, max_of(old.len, at + 1));
	labels_done(&old);
}

static json_t *labels_to_json(const struct runtime_labels *labels)
{
	json_t *object = json_object();
	for (size_t i = 0; i < labels->len; i++)
		json_object_set_new(object, labels->items[i].key, json_string(labels->items[i].value));
	return object;
}

static void labels_from_json(json_t *object, struct runtime_labels *ret)
{
	const char *key;
	json_t *value;
	json_object_foreach(object, key, value) if (json_is_string(value)) labels_set(ret, key, json_string_value(value));
}

/* ---- rows ---- */

static json_t *strings_to_json(char *const *list)
{
	json_t *array = json_array();
	for (size_t i = 0; list && list[i]; i++)
		json_array_append_new(array, json_string(list[i]));
	return array;
}

static char **strings_from_json(json_t *array)
{
	size_t n = json_array_size(array), out = 0;
	char **list = xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++)
		if (json_is_string(json_array_get(array, i)))
			list[out++] = xstrdup(json_string_value(json_array_get(array, i)));
	return list;
}

static json_t *field_to_json(const struct field *field, const void *object)
{
	const void *at = (const char *)object + field->offset;
	switch (field->kind) {
	case FIELD_STRING:
		return *(char *const *)at ? json_string(*(char *const *)at) : NULL;
	case FIELD_INT:
		return json_integer(*(const int64_t *)at);
	case FIELD_BOOL:
		return json_boolean(*(const bool *)at);
	case FIELD_LABELS:
		return labels_to_json(at);
	case FIELD_JSON:
		return json_incref(*(json_t *const *)at);
	case FIELD_STRINGS:
		return strings_to_json(*(char **const *)at);
	}
	return NULL;
}

static void field_from_json(const struct field *field, json_t *value, void *object)
{
	void *at = (char *)object + field->offset;
	switch (field->kind) {
	case FIELD_STRING:
		if (json_is_string(value)) {
			free(*(char **)at);
			*(char **)at = xstrdup(json_string_value(value));
		}
		break;
	case FIELD_INT:
		*(int64_t *)at = json_integer_value(value);
		break;
	case FIELD_BOOL:
		*(bool *)at = json_is_true(value);
		break;
	case FIELD_LABELS:
		labels_from_json(value, at);
		break;
	case FIELD_JSON:
		*(json_t **)at = json_incref(value);
		break;
	case FIELD_STRINGS:
		*(char ***)at = strings_from_json(value);
		break;
	}
}

static void fields_done(const struct field *fields, size_t count, void *object)
{
	for (size_t i = 0; i < count; i++) {
		void *at = (char *)object + fields[i].offset;
		switch (fields[i].kind) {
		case FIELD_STRING:
			free(*(char **)at);
			break;
		case FIELD_LABELS:
			labels_done(at);
			break;
		case FIELD_JSON:
			json_decref(*(json_t **)at);
			break;
		case FIELD_STRINGS:
			image_strv_free(*(char ***)at);
			break;
		case FIELD_INT:
		case FIELD_BOOL:
			break;
		}
	}
}

static int save(const struct field *fields, size_t count, const void *object, const char *path, bool durable, struct error *err)
{
	autojson json_t *root = json_object();
	for (size_t i = 0; i < count; i++) {
		json_t *value = field_to_json(&fields[i], object);
		if (value)
			json_object_set_new(root, fields[i].name, value);
	}
	autofree char *text = json_dumps(root, JSON_COMPACT);
	if (!text)
		return error_set(err, EILSEQ, "state holds text that is not UTF-8");
	if (durable)
		return file_write_durable(AT_FDCWD, path, text, strlen(text), 0600, err);
	/* Whole, but not waited for: after a crash of the machine nothing of it would be true any more. */
	autofree char *temporary = xprintf("%s.tmp", path);
	int r = file_write(AT_FDCWD, temporary, text, strlen(text), 0600, err);
	if (r == 0 && rename(temporary, path) < 0)
		r = error_set_errno(err, errno, "rename %s", temporary);
	return r;
}

static int parse(const struct field *fields, size_t count, const char *text, size_t len, void *object, struct error *err)
{
	autojson json_t *root = len <= MAX_STATE_FILE ? json_loadb(text, len, 0, NULL) : NULL;
	if (!json_is_object(root))
		return error_set(err, EINVAL, "state is not a JSON object");
	for (size_t i = 0; i < count; i++) {
		json_t *value = json_object_get(root, fields[i].name);
		if (value)
			field_from_json(&fields[i], value, object);
	}
	return 0;
}

/* ---- objects ---- */

struct sandbox *sandbox_new(const char *id)
{
	struct sandbox *sandbox = xnew(struct sandbox);
	sandbox->id = xstrdup(id);
	sandbox->refs = 1;
	pthread_mutex_init(&sandbox->op, NULL);
	return sandbox;
}

void sandbox_free(struct sandbox *sandbox)
{
	fields_done(sandbox_fields, array_len(sandbox_fields), sandbox);
	pthread_mutex_destroy(&sandbox->op);
	free(sandbox);
}

struct container *container_new(const char *id)
{
	struct container *container = xnew(struct container);
	container->id = xstrdup(id);
	container->refs = 1;
	container->conmon_pidfd = -1;
	pthread_mutex_init(&container->op, NULL);
	pthread_mutex_init(&container->size_lock, NULL);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&container->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return container;
}

void container_free(struct container *container)
{
	fields_done(container_fields, array_len(container_fields), container);
	cleanup_close(&container->conmon_pidfd);
	pthread_mutex_destroy(&container->op);
	pthread_mutex_destroy(&container->size_lock);
	pthread_cond_destroy(&container->changed);
	free(container);
}

int sandbox_save(struct runtime *runtime, const struct sandbox *sandbox, bool durable, struct error *err)
{
	autofree char *path = sandbox_root(runtime, sandbox->id, "state.json");
	return save(sandbox_fields, array_len(sandbox_fields), sandbox, path, durable, err);
}

int container_save(struct runtime *runtime, const struct container *container, bool durable, struct error *err)
{
	autofree char *path = container_root(runtime, container->id, "state.json");
	return save(container_fields, array_len(container_fields), container, path, durable, err);
}

int sandbox_parse(const char *text, size_t len, struct sandbox **ret, struct error *err)
{
	struct sandbox *sandbox = sandbox_new("");
	int r = parse(sandbox_fields, array_len(sandbox_fields), text, len, sandbox, err);
	if (r == 0 && (!id_valid(sandbox->id) || !sandbox->cgroup_parent || !sandbox->log_dir))
		r = error_set(err, EINVAL, "state of a sandbox is incomplete");
	if (r < 0)
		sandbox_free(sandbox);
	else
		*ret = sandbox;
	return r;
}

int container_parse(const char *text, size_t len, struct container **ret, struct error *err)
{
	struct container *container = container_new("");
	int r = parse(container_fields, array_len(container_fields), text, len, container, err);
	if (r == 0 && (!id_valid(container->id) || !container->sandbox_id || !container->image_id || !container->cgroup_path || !container->log_path))
		r = error_set(err, EINVAL, "state of a container is incomplete");
	if (r < 0)
		container_free(container);
	else
		*ret = container;
	return r;
}
