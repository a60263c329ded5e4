/* SPDX-License-Identifier: Apache-2.0 */
/* What a CDI file may hold. */
#include "common/api/yaml.h"
#include "common/image/json.h"
#include "kubelet/runtime/cdi.h"

#include <ctype.h>
#include <errno.h>

#define MAX_DEVICES 65536
#define MAX_CLOS_ID 4095

/* ---- names ---- */

static bool is_name(const char *name, size_t len, const char *others, bool letter_first) {
	if (!len || !(letter_first ? isalpha((unsigned char)name[0]) : isalnum((unsigned char)name[0])) || !isalnum((unsigned char)name[len - 1]))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr(others, name[i]))
			return false;
	return true;
}

/* "vendor.com/class" */
static bool is_kind(const char *kind, size_t len) {
	size_t vendor = strcspn(kind, "/");
	return vendor < len && is_name(kind, vendor, "_-.", true) && is_name(kind + vendor + 1, len - vendor - 1, "_-.", true);
}

bool cdi_is_device(const char *name) {
	size_t kind = strcspn(name, "=");
	return name[kind] && is_kind(name, kind) && is_name(name + kind + 1, strlen(name + kind + 1), "_-.:", false);
}

/* "0.3.0" to "1.x.y" */
static bool is_version(const char *text) {
	int dots = 0;
	if (!text || (*text != '0' && *text != '1') || text[1] != '.')
		return false;
	for (const char *p = text; *p; p++) {
		if (*p == '.' ? p[1] == '.' || !p[1] : !isdigit((unsigned char)*p))
			return false;
		dots += *p == '.';
	}
	return dots == 2;
}

/* ---- the shape ---- */

enum kind { TEXT, NUMBER, BOOL, TEXTS, NUMBERS, TEXT_MAP, OBJECT, OBJECTS };

struct shape;
struct member {
	const char *name;
	enum kind kind;
	const struct shape *of;
	bool needed; /* text that may not be empty */
};
struct shape {
	const struct member *members;
	size_t len;
	/* What else must hold; NULL: nothing. */
	int (*check)(const json_t *value, struct error *err);
};
#define SHAPE(rows, check_fn) {rows, array_len(rows), check_fn}

static const char *text_of(const json_t *object, const char *name) {
	return str_or(json_string_value(json_object_get(object, name)), "");
}

static int check_variables(const json_t *list, struct error *err) {
	size_t i;
	json_t *item;
	json_array_foreach(list, i, item) {
		const char *equal = strchr(json_string_value(item), '=');
		if (!equal || equal == json_string_value(item))
			return error_set(err, EINVAL, "invalid environment variable \"%s\"", json_string_value(item));
	}
	return 0;
}

static int check_node(const json_t *node, struct error *err) {
	const char *type = text_of(node, "type"), *permissions = text_of(node, "permissions");
	if (*type && (type[1] || !strchr("bcup", *type)))
		return error_set(err, EINVAL, "device \"%s\": invalid type \"%s\"", text_of(node, "path"), type);
	if (permissions[strspn(permissions, "rwm")])
		return error_set(err, EINVAL, "device \"%s\": invalid permissions \"%s\"", text_of(node, "path"), permissions);
	return 0;
}

static int check_hook(const json_t *hook, struct error *err) {
	static const char *const names[] = {"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"};
	for (size_t i = 0; i < array_len(names); i++)
		if (str_equal(text_of(hook, "hookName"), names[i]))
			return check_variables(json_object_get(hook, "env"), err);
	return error_set(err, EINVAL, "invalid hook name \"%s\"", text_of(hook, "hookName"));
}

static int check_rdt(const json_t *rdt, struct error *err) {
	const char *id = text_of(rdt, "closID");
	if (strlen(id) > MAX_CLOS_ID || str_equal(id, ".") || str_equal(id, "..") || strpbrk(id, "/\n"))
		return error_set(err, EINVAL, "invalid closID");
	return 0;
}

static int check_edits(const json_t *edits, struct error *err) {
	return check_variables(json_object_get(edits, "env"), err);
}

static const struct member node_members[] = {{"path", TEXT, NULL, true}, {"hostPath", TEXT, NULL, false}, {"type", TEXT, NULL, false}, {"major", NUMBER, NULL, false}, {"minor", NUMBER, NULL, false},
	{"fileMode", NUMBER, NULL, false}, {"permissions", TEXT, NULL, false}, {"uid", NUMBER, NULL, false}, {"gid", NUMBER, NULL, false}};
static const struct member net_members[] = {{"hostInterfaceName", TEXT, NULL, true}, {"name", TEXT, NULL, true}};
static const struct member mount_members[] = {{"hostPath", TEXT, NULL, true}, {"containerPath", TEXT, NULL, true}, {"options", TEXTS, NULL, false}, {"type", TEXT, NULL, false}};
static const struct member hook_members[] = {{"hookName", TEXT, NULL, true}, {"path", TEXT, NULL, true}, {"args", TEXTS, NULL, false}, {"env", TEXTS, NULL, false}, {"timeout", NUMBER, NULL, false}};
static const struct member rdt_members[] = {{"closID", TEXT, NULL, false}, {"l3CacheSchema", TEXT, NULL, false}, {"memBwSchema", TEXT, NULL, false}, {"schemata", TEXTS, NULL, false}, {"enableCMT", BOOL, NULL, false},
	{"enableMBM", BOOL, NULL, false}, {"enableMonitoring", BOOL, NULL, false}};
static const struct shape node_shape = SHAPE(node_members, check_node), net_shape = SHAPE(net_members, NULL), mount_shape = SHAPE(mount_members, NULL), hook_shape = SHAPE(hook_members, check_hook),
			  rdt_shape = SHAPE(rdt_members, check_rdt);
static const struct member edit_members[] = {{"env", TEXTS, NULL, false}, {"deviceNodes", OBJECTS, &node_shape, false}, {"netDevices", OBJECTS, &net_shape, false}, {"hooks", OBJECTS, &hook_shape, false},
	{"mounts", OBJECTS, &mount_shape, false}, {"intelRdt", OBJECT, &rdt_shape, false}, {"additionalGids", NUMBERS, NULL, false}};
static const struct shape edit_shape = SHAPE(edit_members, check_edits);

static int check_device(const json_t *device, struct error *err) {
	const char *name = text_of(device, "name");
	if (!is_name(name, strlen(name), "_-.:", false))
		return error_set(err, EINVAL, "invalid device name \"%s\"", name);
	return json_object_size(json_object_get(device, "containerEdits")) ? 0 : error_set(err, EINVAL, "invalid device \"%s\", empty device edits", name);
}

static int check_file(const json_t *file, struct error *err) {
	const json_t *devices = json_object_get(file, "devices");
	const char *kind = text_of(file, "kind"), *version = text_of(file, "cdiVersion");
	if (!is_version(version))
		return error_set(err, EINVAL, "invalid version \"%s\"", version);
	if (!is_kind(kind, strlen(kind)))
		return error_set(err, EINVAL, "invalid kind \"%s\"", kind);
	if (!json_array_size(devices) || json_array_size(devices) > MAX_DEVICES)
		return error_set(err, EINVAL, "want one device at least, and no more than %d", MAX_DEVICES);
	autojson json_t *names = json_object();
	size_t i;
	json_t *device;
	json_array_foreach(devices, i, device)
		json_object_set_new(names, text_of(device, "name"), json_null());
	return json_object_size(names) == json_array_size(devices) ? 0 : error_set(err, EINVAL, "a device stands twice");
}

static const struct member device_members[] = {{"name", TEXT, NULL, true}, {"annotations", TEXT_MAP, NULL, false}, {"containerEdits", OBJECT, &edit_shape, false}};
static const struct shape device_shape = SHAPE(device_members, check_device);
static const struct member file_members[] = {{"cdiVersion", TEXT, NULL, true}, {"kind", TEXT, NULL, true}, {"annotations", TEXT_MAP, NULL, false}, {"devices", OBJECTS, &device_shape, false}, {"containerEdits", OBJECT, &edit_shape, false}};
static const struct shape file_shape = SHAPE(file_members, check_file);

/* ---- holding a value against it ---- */

static int check_object(const json_t *value, const struct shape *shape, struct error *err);

static bool is_plain(const json_t *value, enum kind kind) {
	return kind == TEXT ? json_is_string(value) : kind == BOOL ? json_is_boolean(value) : json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) <= UINT32_MAX;
}

static int check_list(const json_t *list, const struct member *member, struct error *err) {
	size_t i;
	json_t *item;
	bool fits = json_is_array(list);
	int r = 0;
	json_array_foreach(list, i, item) {
		if (member->kind == OBJECTS)
			r = r < 0 ? r : check_object(item, member->of, err);
		else
			fits = fits && is_plain(item, member->kind == TEXTS ? TEXT : NUMBER);
	}
	return r < 0 || fits ? r : error_set(err, EINVAL, "invalid list");
}

static int check_texts(const json_t *map, struct error *err) {
	const char *key;
	json_t *item;
	bool fits = json_is_object(map);
	json_object_foreach((json_t *)map, key, item)
		fits = fits && json_is_string(item);
	return fits ? 0 : error_set(err, EINVAL, "invalid map");
}

static int check_member(const json_t *value, const struct member *member, struct error *err) {
	switch (member->kind) {
	case TEXT:
	case NUMBER:
	case BOOL:
		return is_plain(value, member->kind) ? 0 : error_set(err, EINVAL, "invalid value");
	case TEXTS:
	case NUMBERS:
	case OBJECTS:
		return check_list(value, member, err);
	case TEXT_MAP:
		return check_texts(value, err);
	case OBJECT:
		return check_object(value, member->of, err);
	}
	return 0;
}

static int check_object(const json_t *value, const struct shape *shape, struct error *err) {
	const char *key;
	json_t *item;
	if (!json_is_object(value))
		return error_set(err, EINVAL, "want an object");
	json_object_foreach((json_t *)value, key, item) {
		const struct member *member = NULL;
		for (size_t i = 0; i < shape->len && !member; i++)
			if (str_equal(shape->members[i].name, key))
				member = &shape->members[i];
		if (!member)
			return error_set(err, EINVAL, "unknown field \"%s\"", key);
		/* What is null is not there. */
		int r = json_is_null(item) ? 0 : check_member(item, member, err);
		if (r < 0)
			return error_context(err, "%s", key);
	}
	for (size_t i = 0; i < shape->len; i++)
		if (shape->members[i].needed && !*text_of(value, shape->members[i].name))
			return error_set(err, EINVAL, "no %s", shape->members[i].name);
	return shape->check ? shape->check(value, err) : 0;
}

int cdi_parse(const char *text, size_t len, json_t **ret, struct error *err) {
	json_t *json = NULL;
	int r = yaml_load(text, len, &json, err);
	if (r == 0)
		r = check_object(json, &file_shape, err);
	if (r < 0)
		json_decref(json);
	else
		*ret = json;
	return r;
}
