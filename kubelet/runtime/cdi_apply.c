/* SPDX-License-Identifier: Apache-2.0 */
/* What a CDI device wants, laid into an OCI configuration. */
#include "kubelet/runtime/cdi.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static const char *text_of(const json_t *object, const char *name) {
	return str_or(json_string_value(json_object_get(object, name)), "");
}

/* Made where it is missing; borrowed. */
static json_t *part(json_t *parent, const char *name, json_t *(*make)(void)) {
	json_t *have = json_object_get(parent, name);
	if (!have || json_is_null(have)) {
		json_object_set_new(parent, name, make());
		have = json_object_get(parent, name);
	}
	return have;
}

/* ---- environment ---- */

static void apply_env(const json_t *list, json_t *process) {
	json_t *env = json_array_size(list) ? part(process, "env", json_array) : NULL, *item, *old;
	size_t i, k;
	json_array_foreach(list, i, item) {
		const char *text = json_string_value(item);
		size_t name = strcspn(text, "=") + 1;
		bool known = false;
		json_array_foreach(env, k, old)
			if (json_is_string(old) && strncmp(json_string_value(old), text, name) == 0) {
				json_array_set(env, k, item);
				known = true;
				break;
			}
		if (!known)
			json_array_append(env, item);
	}
}

/* ---- device nodes ---- */

struct node {
	const char *path, *type;
	int64_t major, minor;
};

/* What is not said is as it is on the host. */
static int look_up(const json_t *json, struct node *ret, struct error *err) {
	const json_t *major_json = json_object_get(json, "major"), *minor_json = json_object_get(json, "minor");
	struct stat st;
	*ret = (struct node){.path = text_of(json, "path"), .type = text_of(json, "type"), .major = json_integer_value(major_json), .minor = json_integer_value(minor_json)};
	const char *host = str_or(text_of(json, "hostPath"), ret->path);
	if (*ret->type && (*ret->type == 'p' || ret->major))
		return 0;
	if (stat(host, &st) < 0)
		return error_set_errno(err, errno, "failed to stat CDI host device \"%s\"", host);
	const char *type = S_ISBLK(st.st_mode) ? "b" : S_ISCHR(st.st_mode) ? "c" : S_ISFIFO(st.st_mode) ? "p" : NULL;
	if (!type)
		return error_set(err, ENODEV, "CDI host device \"%s\" is no device", host);
	if (*ret->type && *ret->type != *type && !(*ret->type == 'u' && *type == 'c'))
		return error_set(err, ENODEV, "CDI device \"%s\": the host's \"%s\" is of type %s, not %s", ret->path, host, type, ret->type);
	if (!*ret->type)
		ret->type = type;
	if (!ret->major && *type != 'p') {
		ret->major = (int64_t)major(st.st_rdev);
		ret->minor = (int64_t)minor(st.st_rdev);
	}
	return 0;
}

static void drop_by(json_t *list, const char *key, const char *value) {
	for (size_t i = json_array_size(list); i-- > 0;)
		if (str_equal(text_of(json_array_get(list, i), key), value))
			json_array_remove(list, i);
}

static int apply_nodes(const json_t *list, json_t *oci, struct error *err) {
	static const char *const kept[] = {"fileMode", "uid", "gid"};
	json_t *linux_part = part(oci, "linux", json_object), *devices = part(linux_part, "devices", json_array), *rules = part(part(linux_part, "resources", json_object), "devices", json_array), *json;
	json_int_t uid = json_integer_value(json_object_get(json_object_get(json_object_get(oci, "process"), "user"), "uid"));
	size_t i;
	json_array_foreach(list, i, json) {
		struct node node;
		int r = look_up(json, &node, err);
		if (r < 0)
			return r;
		json_t *device = json_pack("{s:s,s:s,s:I,s:I}", "path", node.path, "type", node.type, "major", (json_int_t)node.major, "minor", (json_int_t)node.minor);
		for (size_t k = 0; k < array_len(kept); k++)
			if (json_is_integer(json_object_get(json, kept[k])))
				json_object_set(device, kept[k], json_object_get(json, kept[k]));
		/* It is for who runs in the container. */
		if (uid && !json_object_get(device, "uid"))
			json_object_set_new(device, "uid", json_integer(uid));
		drop_by(devices, "path", node.path);
		json_array_append_new(devices, device);
		if (*node.type == 'b' || *node.type == 'c')
			json_array_append_new(rules, json_pack("{s:b,s:s,s:I,s:I,s:s}", "allow", 1, "type", node.type, "major", (json_int_t)node.major, "minor", (json_int_t)node.minor, "access", str_or(text_of(json, "permissions"), "rwm")));
	}
	return 0;
}

/* ---- mounts ---- */

static size_t depth(const json_t *mount) {
	size_t count = 0;
	for (const char *p = text_of(mount, "destination"); *p; p++)
		count += *p == '/' && p[1];
	return count;
}

/* What lies deeper comes later; otherwise the order stays. */
static void sort_mounts(json_t *mounts) {
	for (size_t i = 1; i < json_array_size(mounts); i++) {
		json_t *mount = json_array_get(mounts, i);
		size_t to = i;
		while (to > 0 && depth(json_array_get(mounts, to - 1)) > depth(mount))
			to--;
		if (to == i)
			continue;
		json_incref(mount);
		json_array_remove(mounts, i);
		json_array_insert_new(mounts, to, mount);
	}
}

static void apply_mounts(const json_t *list, json_t *oci) {
	json_t *mounts, *json;
	size_t i;
	if (!json_array_size(list))
		return;
	mounts = part(oci, "mounts", json_array);
	json_array_foreach(list, i, json) {
		const json_t *options = json_object_get(json, "options");
		json_t *mount = json_pack("{s:s,s:s}", "destination", text_of(json, "containerPath"), "source", text_of(json, "hostPath"));
		if (*text_of(json, "type"))
			json_object_set_new(mount, "type", json_string(text_of(json, "type")));
		json_object_set_new(mount, "options", json_is_array(options) ? json_copy((json_t *)options) : json_array());
		drop_by(mounts, "destination", text_of(json, "containerPath"));
		json_array_append_new(mounts, mount);
	}
	sort_mounts(mounts);
}

/* ---- the rest ---- */

static void apply_hooks(const json_t *list, json_t *oci) {
	static const char *const kept[] = {"path", "args", "env", "timeout"};
	json_t *json;
	size_t i;
	json_array_foreach(list, i, json) {
		json_t *hook = json_object();
		for (size_t k = 0; k < array_len(kept); k++)
			if (json_object_get(json, kept[k]) && !json_is_null(json_object_get(json, kept[k])))
				json_object_set(hook, kept[k], json_object_get(json, kept[k]));
		json_array_append_new(part(part(oci, "hooks", json_object), text_of(json, "hookName"), json_array), hook);
	}
}

static void apply_groups(const json_t *list, json_t *process) {
	json_t *groups, *gid, *have;
	size_t i, k;
	json_array_foreach(list, i, gid) {
		bool known = json_integer_value(gid) == 0;
		groups = part(part(process, "user", json_object), "additionalGids", json_array);
		json_array_foreach(groups, k, have)
			known = known || json_integer_value(have) == json_integer_value(gid);
		if (!known)
			json_array_append(groups, gid);
	}
}

int cdi_apply(const json_t *edits, json_t *oci, struct error *err) {
	json_t *process = part(oci, "process", json_object);
	const json_t *rdt = json_object_get(edits, "intelRdt"), *nodes = json_object_get(edits, "deviceNodes");
	if (json_array_size(json_object_get(edits, "netDevices")))
		return error_set(err, ENOTSUP, "network devices of CDI cannot be moved into a container");
	apply_env(json_object_get(edits, "env"), process);
	apply_mounts(json_object_get(edits, "mounts"), oci);
	apply_hooks(json_object_get(edits, "hooks"), oci);
	apply_groups(json_object_get(edits, "additionalGids"), process);
	if (json_is_object(rdt))
		json_object_set_new(part(oci, "linux", json_object), "intelRdt", json_copy((json_t *)rdt));
	return json_array_size(nodes) ? apply_nodes(nodes, oci, err) : 0;
}
