/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing images in. skopeo copies from wherever they are into an OCI layout whose blobs are the store's own, so what is here
 * already is not copied again; then the layers are unpacked, and last the record is written.
 */
#include "common/image/internal.h"

#include "common/base/file.h"
#include "common/base/random.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_IMAGES_IN_ARCHIVE 256
#define LAYOUT_NAME "image"

/* ---- from the layout to the store ---- */

static int read_json(const char *path, json_t **ret, size_t *ret_len, struct error *err)
{
	autofree char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, IMAGE_MAX_MANIFEST, &text, &len, err);
	if (r < 0)
		return r;
	json_t *root = json_loadb(text, len, 0, NULL);
	if (!json_is_object(root)) {
		json_decref(root);
		return error_set(err, EINVAL, "%s is not a JSON object", path);
	}
	*ret = root;
	*ret_len = len;
	return 0;
}

/* The parts of a config that containers need; the rest (history, ...) stays in its blob. */
static json_t *trim_config(json_t *config)
{
	static const char *const outer[] = {"os", "architecture", "rootfs"};
	static const char *const inner[] = {"Entrypoint", "Cmd", "Env", "User", "WorkingDir", "StopSignal", "Volumes"};
	json_t *root = json_object(), *parts = json_object();
	for (size_t i = 0; i < array_len(outer); i++)
		if (json_object_get(config, outer[i]))
			json_object_set(root, outer[i], json_object_get(config, outer[i]));
	for (size_t i = 0; i < array_len(inner); i++)
		if (json_object_get(json_object_get(config, "config"), inner[i]))
			json_object_set(parts, inner[i], json_object_get(json_object_get(config, "config"), inner[i]));
	json_object_set_new(root, "config", parts);
	return root;
}

static char **chain_ids(char *const *diff_ids)
{
	size_t n = image_strv_len(diff_ids);
	char **chains = xcalloc(n + 1, sizeof(char *));
	for (size_t i = 0; i < n; i++) {
		if (i == 0) {
			chains[i] = xstrdup(diff_ids[0] + 7);
			continue;
		}
		char hex[65];
		autofree char *text = xprintf("sha256:%s %s", chains[i - 1], diff_ids[i]);
		sha256_hex(text, strlen(text), hex);
		chains[i] = xstrdup(hex);
	}
	return chains;
}

/* What store_import works with, step by step. */
struct import {
	json_t *manifest, *config;
	struct record *record;
	char **diff_ids;
};

static void import_done(struct import *import)
{
	json_decref(import->manifest);
	json_decref(import->config);
	record_free(import->record);
	image_strv_free(import->diff_ids);
}

static int read_manifest(struct image_store *store, const char *layout, struct import *import, struct error *err)
{
	autofree char *index_path = path_join(layout, "index.json", NULL);
	autojson json_t *index = NULL;
	size_t len, config_len;
	int r = read_json(index_path, &index, &len, err);
	if (r < 0)
		return r;
	json_t *first = json_array_get(json_object_get(index, "manifests"), 0);
	const char *digest = json_string_value(json_object_get(first, "digest"));
	if (!digest_valid(digest))
		return error_set(err, EINVAL, "image layout names no manifest");
	autofree char *path = blob_path(store, digest);
	r = read_json(path, &import->manifest, &len, err);
	if (r < 0)
		return r;
	const char *config = json_string_value(json_object_get(json_object_get(import->manifest, "config"), "digest"));
	if (!digest_valid(config))
		return error_set(err, EINVAL, "image manifest names no config");
	autofree char *config_path = blob_path(store, config);
	r = read_json(config_path, &import->config, &config_len, err);
	if (r < 0)
		return r;
	struct wall_time now = clock_wall();
	import->record = xnew(struct record);
	*import->record = (struct record){.id = xstrdup(config), .manifest = xstrdup(digest), .size = len + config_len,
		.loaded_ns = now.sec * NSEC_PER_SEC + now.nsec, .config = trim_config(import->config)};
	return 0;
}

static int read_layers(struct import *import, struct error *err)
{
	struct image_config config = {0};
	int r = config_from_json(import->config, &config, &import->diff_ids, err);
	if (r < 0)
		return r;
	image_config_done(&config);
	json_t *layers = json_object_get(import->manifest, "layers"), *layer;
	if (json_array_size(layers) != image_strv_len(import->diff_ids))
		return error_set(err, EINVAL, "image has %zu layers, its config %zu", json_array_size(layers), image_strv_len(import->diff_ids));
	struct record *record = import->record;
	record->blobs = xcalloc(json_array_size(layers) + 1, sizeof(char *));
	size_t i;
	json_array_foreach(layers, i, layer)
	{
		const char *digest = json_string_value(json_object_get(layer, "digest"));
		if (!digest_valid(digest))
			return error_set(err, EINVAL, "image manifest: layer %zu has no digest", i);
		record->blobs[i] = xstrdup(digest);
		json_int_t size = json_integer_value(json_object_get(layer, "size"));
		record->size += size > 0 ? (uint64_t)size : 0;
	}
	record->chains = chain_ids(import->diff_ids);
	return 0;
}

int store_import(struct image_store *store, const char *layout, char *const *tags, const char *digest_name, struct image **ret, struct error *err)
{
	struct import import = {0};
	int r = read_manifest(store, layout, &import, err);
	if (r == 0)
		r = read_layers(&import, err);
	for (size_t i = 0; r == 0 && import.diff_ids[i]; i++)
		r = layer_unpack(store, import.record->chains, i, import.record->blobs[i], import.diff_ids[i], err);
	if (r == 0) {
		import.record->tags = strv_copy(tags);
		import.record->digests = xcalloc(1, sizeof(char *));
		if (digest_name)
			strv_add(&import.record->digests, digest_name);
		r = record_add(store, import.record, err);
	}
	if (r == 0 && ret)
		r = image_get(store, import.record->id, ret, err);
	import_done(&import);
	return r;
}

/* ---- archives ---- */

enum source_kind { SOURCE_NONE, SOURCE_DOCKER, SOURCE_OCI };

struct source {
	enum source_kind kind;
	bool is_folder;
	json_t *listing; /* manifest.json of docker, index.json of OCI */
};

/* The two listings stand at the top of the archive, in any order; docker's is preferred: it has the names. */
static int inspect_archive(const char *path, struct source *ret, struct error *err)
{
	struct archive *archive = archive_read_new();
	archive_read_support_filter_all(archive);
	archive_read_support_format_tar(archive);
	if (archive_read_open_filename(archive, path, 128 << 10) != ARCHIVE_OK) {
		int r = error_set(err, archive_errno(archive) > 0 ? archive_errno(archive) : EINVAL, "open %s: %s", path,
			str_or(archive_error_string(archive), "not an archive"));
		archive_read_free(archive);
		return r;
	}
	struct archive_entry *entry;
	json_t *docker = NULL, *oci = NULL;
	int r;
	while (!docker && ((r = archive_read_next_header(archive, &entry)) == ARCHIVE_OK || r == ARCHIVE_WARN)) {
		const char *name = archive_entry_pathname(entry);
		if (name && strncmp(name, "./", 2) == 0)
			name += 2;
		bool is_docker = str_equal(name, "manifest.json"), is_oci = str_equal(name, "index.json");
		int64_t size = archive_entry_size(entry);
		if ((!is_docker && !is_oci) || size <= 0 || size > IMAGE_MAX_MANIFEST)
			continue;
		autofree char *text = xmalloc((size_t)size);
		if (archive_read_data(archive, text, (size_t)size) != size)
			continue;
		json_t **slot = is_docker ? &docker : &oci;
		json_decref(*slot);
		*slot = json_loadb(text, (size_t)size, 0, NULL);
	}
	archive_read_free(archive);
	if (docker)
		*ret = (struct source){.kind = SOURCE_DOCKER, .listing = json_incref(docker)};
	else if (oci)
		*ret = (struct source){.kind = SOURCE_OCI, .listing = json_incref(oci)};
	bool found = docker || oci;
	json_decref(docker);
	json_decref(oci);
	return found ? 0 : error_set(err, EINVAL, "%s is neither a docker nor an OCI archive", path);
}

static int inspect_source(const char *path, struct source *ret, struct error *err)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return error_set_errno(err, errno, "open %s", path);
	if (!S_ISDIR(st.st_mode))
		return inspect_archive(path, ret, err);
	autofree char *index = path_join(path, "index.json", NULL);
	json_t *listing = NULL;
	size_t len;
	int r = read_json(index, &listing, &len, err);
	if (r == 0)
		*ret = (struct source){.kind = SOURCE_OCI, .is_folder = true, .listing = listing};
	return r;
}

static void add_tag(char ***tags, const char *name)
{
	struct image_reference reference;
	if (str_empty(name) || image_reference_parse(name, &reference, NULL) < 0)
		return;
	if (reference.tag) {
		free(reference.digest);
		reference.digest = NULL;
		autofree char *whole = image_reference_format(&reference);
		if (!strv_has(*tags, whole))
			strv_add(tags, whole);
	}
	image_reference_done(&reference);
}

/* Copies one image into a layout of its own, then imports it. */
static int load_one(struct image_store *store, const char *source, char *const *tags, struct image_list *loaded, struct error *err)
{
	autofree char *temp = NULL;
	int r = store_make_temp(store, &temp, err);
	if (r < 0)
		return r;
	autofree char *layout = path_join(temp, "layout", NULL), *target = xprintf("oci:%s:" LAYOUT_NAME, layout);
	autofree char *blobs = path_join(store->root, "blobs", NULL);
	/* What is on this disk needs no signature to be trusted, and no compression. */
	const char *const argv[] = {"skopeo", "--insecure-policy", "--tmpdir", temp, "copy", "-q", "--dest-shared-blob-dir", blobs,
		"--dest-oci-accept-uncompressed-layers", source, target, NULL};
	r = skopeo_run(argv, NULL, NULL, NULL, NULL, err);
	struct image *image = NULL;
	if (r == 0)
		r = store_import(store, layout, tags, NULL, &image, err);
	file_remove_all(temp, NULL);
	if (r < 0)
		return error_context(err, "load %s", source);
	loaded->items = xreallocarray(loaded->items, loaded->len + 1, sizeof(*loaded->items));
	loaded->items[loaded->len++] = image;
	return 0;
}

static int load_docker(struct image_store *store, const char *path, const char *name, json_t *listing, struct image_list *loaded, struct error *err)
{
	size_t i, t;
	json_t *row, *tag;
	json_array_foreach(listing, i, row)
	{
		char **tags = xcalloc(1, sizeof(char *));
		json_array_foreach(json_object_get(row, "RepoTags"), t, tag) add_tag(&tags, json_string_value(tag));
		if (!tags[0])
			add_tag(&tags, name);
		autofree char *source = xprintf("docker-archive:%s:@%zu", path, i);
		int r = load_one(store, source, tags, loaded, err);
		image_strv_free(tags);
		if (r < 0)
			return r;
	}
	return 0;
}

/* An OCI index may name its images by a whole name (as containerd and buildkit write) or by a tag only. */
static int load_oci(struct image_store *store, const char *path, const char *name, bool is_folder, json_t *listing, struct image_list *loaded,
	struct error *err)
{
	json_t *manifests = json_object_get(listing, "manifests"), *row;
	bool single = json_array_size(manifests) == 1;
	size_t i;
	json_array_foreach(manifests, i, row)
	{
		json_t *annotations = json_object_get(row, "annotations");
		const char *ref = json_string_value(json_object_get(annotations, "org.opencontainers.image.ref.name"));
		const char *full = json_string_value(json_object_get(annotations, "io.containerd.image.name"));
		if (!single && str_empty(ref))
			return error_set(err, EINVAL, "%s holds several images, and number %zu has no name", path, i);
		char **tags = xcalloc(1, sizeof(char *));
		if (!str_empty(full))
			add_tag(&tags, full);
		else if (!str_empty(ref) && strpbrk(ref, "/:"))
			add_tag(&tags, ref);
		if (!tags[0])
			add_tag(&tags, name);
		autofree char *source = xprintf("%s:%s%s%s", is_folder ? "oci" : "oci-archive", path, single ? "" : ":", single ? "" : ref);
		int r = load_one(store, source, tags, loaded, err);
		image_strv_free(tags);
		if (r < 0)
			return r;
	}
	return 0;
}

int image_load(struct image_store *store, const char *path, const char *name, struct image_list *ret, struct error *err)
{
	struct image_reference checked;
	if (name) {
		int r = image_reference_parse(name, &checked, err);
		if (r < 0)
			return r;
		image_reference_done(&checked);
	}
	autofree char *absolute = realpath(path, NULL);
	if (!absolute)
		return error_set_errno(err, errno, "open %s", path);
	if (strchr(absolute, ':'))
		return error_set(err, EINVAL, "the archive's path must not have a colon: %s", absolute);
	struct source source = {0};
	int r = inspect_source(absolute, &source, err);
	if (r < 0)
		return r;
	json_t *rows = source.kind == SOURCE_DOCKER ? source.listing : json_object_get(source.listing, "manifests");
	struct image_list loaded = {0};
	autoclose int content = -1;
	if (json_array_size(rows) == 0 || json_array_size(rows) > MAX_IMAGES_IN_ARCHIVE)
		r = error_set(err, EINVAL, "%s holds %zu images, want 1 to %d", path, json_array_size(rows), MAX_IMAGES_IN_ARCHIVE);
	if (r == 0)
		r = store_lock_content(store, false, true, &content, err);
	if (r == 0)
		r = source.kind == SOURCE_DOCKER ? load_docker(store, absolute, name, source.listing, &loaded, err)
						 : load_oci(store, absolute, name, source.is_folder, source.listing, &loaded, err);
	json_decref(source.listing);
	if (r < 0 || !ret)
		image_list_done(&loaded);
	else
		*ret = loaded;
	return r;
}
