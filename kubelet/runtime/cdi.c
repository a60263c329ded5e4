/* SPDX-License-Identifier: Apache-2.0 */
/* Which files there are, and which of them has a device. */
#include "kubelet/runtime/cdi.h"

#include "common/base/file.h"
#include "common/base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

struct spec {
	json_t *json;
	size_t folder;
	bool used; /* its own edits are laid in */
};
struct specs {
	struct spec *items;
	size_t len;
};

static void specs_done(struct specs *specs) {
	for (size_t i = 0; i < specs->len; i++)
		json_decref(specs->items[i].json);
	free(specs->items);
}

static void read_file(const char *path, size_t folder, struct specs *to) {
	autofree char *text = NULL;
	autoerror struct error err = {0};
	size_t len;
	json_t *json;
	int r = file_read(AT_FDCWD, path, CDI_MAX_FILE, &text, &len, &err);
	if (r == 0)
		r = cdi_parse(text, len, &json, &err);
	if (r < 0) {
		log_warning("CDI file is skipped", LOG_STR("path", path), LOG_ERR(&err));
		return;
	}
	to->items = xreallocarray(to->items, to->len + 1, sizeof(*to->items));
	to->items[to->len++] = (struct spec){.json = json, .folder = folder};
}

static int is_spec(const struct dirent *entry) {
	return str_ends_with(entry->d_name, ".json") || str_ends_with(entry->d_name, ".yaml");
}

static void read_folder(const char *path, size_t folder, struct specs *to) {
	struct dirent **entries;
	int count = scandir(path, &entries, is_spec, alphasort);
	for (int i = 0; i < count; i++) {
		autofree char *file = path_join(path, entries[i]->d_name, NULL);
		if (i < CDI_MAX_FILES)
			read_file(file, folder, to);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

/* Its entry in the file; NULL: none. */
static json_t *device_in(const struct spec *spec, const char *kind, const char *name) {
	size_t i;
	json_t *device;
	if (!str_equal(json_string_value(json_object_get(spec->json, "kind")), kind))
		return NULL;
	json_array_foreach(json_object_get(spec->json, "devices"), i, device)
		if (str_equal(json_string_value(json_object_get(device, "name")), name))
			return device;
	return NULL;
}

/* The last folder that has it counts, and there it must stand once. */
static int find(const struct specs *specs, const char *qualified, struct spec **ret_spec, json_t **ret, struct error *err) {
	size_t len = strcspn(qualified, "=");
	autofree char *kind = xstrndup(qualified, len);
	struct spec *found = NULL;
	json_t *device = NULL;
	bool twice = false;
	for (size_t i = 0; cdi_is_device(qualified) && i < specs->len; i++) {
		json_t *here = device_in(&specs->items[i], kind, qualified + len + 1);
		if (!here)
			continue;
		twice = found && found->folder == specs->items[i].folder;
		found = &specs->items[i];
		device = here;
	}
	if (!found || twice)
		return error_set(err, ENOENT, twice ? "CDI device injection failed: device %s stands in two files" : "CDI device injection failed: unresolvable CDI devices %s", qualified);
	*ret_spec = found;
	*ret = device;
	return 0;
}

int cdi_inject(const char *const *folders, const char *const *devices, json_t *oci, struct error *err) {
	cleanup(specs_done) struct specs specs = {0};
	for (size_t i = 0; folders && folders[i]; i++)
		read_folder(folders[i], i, &specs);
	int r = 0;
	for (size_t i = 0; r == 0 && devices[i]; i++) {
		struct spec *spec = NULL;
		json_t *device = NULL;
		r = find(&specs, devices[i], &spec, &device, err);
		if (r == 0 && !spec->used)
			r = cdi_apply(json_object_get(spec->json, "containerEdits"), oci, err);
		if (r == 0) {
			spec->used = true;
			r = cdi_apply(json_object_get(device, "containerEdits"), oci, err);
		}
		if (r < 0)
			error_context(err, "CDI device %s", devices[i]);
	}
	return r;
}
