/* SPDX-License-Identifier: Apache-2.0 */
/* The record of one image: read, written, found by name. */
#include "common/image/internal.h"

#include "common/base/file.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIN_SHORT_ID 12

struct record *record_free(struct record *record)
{
	if (!record)
		return NULL;
	free(record->id);
	image_strv_free(record->tags);
	image_strv_free(record->digests);
	free(record->manifest);
	image_strv_free(record->blobs);
	image_strv_free(record->chains);
	json_decref(record->config);
	free(record);
	return NULL;
}

void record_list_done(struct record_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		record_free(list->items[i]);
	free(list->items);
	*list = (struct record_list){0};
}

static bool valid_hex(const char *s)
{
	size_t n = 0;
	for (; isdigit((unsigned char)s[n]) || (s[n] >= 'a' && s[n] <= 'f'); n++)
		;
	return n == HEX_LEN && !s[n];
}

/* What becomes a path must be nothing but a digest. */
static bool record_valid(const struct record *record)
{
	if (!digest_valid(record->id) || !digest_valid(record->manifest) || !json_is_object(record->config))
		return false;
	for (size_t i = 0; record->blobs[i]; i++)
		if (!digest_valid(record->blobs[i]))
			return false;
	for (size_t i = 0; record->chains[i]; i++)
		if (!valid_hex(record->chains[i]))
			return false;
	return true;
}

int record_parse(const char *json, size_t len, struct record **ret, struct error *err)
{
	autojson json_t *root = len <= MAX_RECORD ? json_loadb(json, len, 0, NULL) : NULL;
	struct record *record = xnew(struct record);
	record->id = xstrdup(str_or(json_string_value(json_object_get(root, "id")), ""));
	record->tags = strv_from_json(json_object_get(root, "tags"));
	record->digests = strv_from_json(json_object_get(root, "digests"));
	record->manifest = xstrdup(str_or(json_string_value(json_object_get(root, "manifest")), ""));
	record->blobs = strv_from_json(json_object_get(root, "blobs"));
	record->chains = strv_from_json(json_object_get(root, "layers"));
	record->size = (uint64_t)json_integer_value(json_object_get(root, "size"));
	record->pinned = json_is_true(json_object_get(root, "pinned"));
	record->loaded_ns = json_integer_value(json_object_get(root, "loadedNs"));
	record->config = json_incref(json_object_get(root, "image"));
	if (!record_valid(record)) {
		record_free(record);
		return error_set(err, EINVAL, "image record is damaged");
	}
	*ret = record;
	return 0;
}

char *record_format(const struct record *record)
{
	autojson json_t *root = json_pack("{s:s,s:o,s:o,s:s,s:o,s:o,s:I,s:b,s:I,s:O}", "id", record->id, "tags", strv_to_json(record->tags), "digests",
		strv_to_json(record->digests), "manifest", record->manifest, "blobs", strv_to_json(record->blobs), "layers",
		strv_to_json(record->chains), "size", (json_int_t)record->size, "pinned", record->pinned, "loadedNs", (json_int_t)record->loaded_ns,
		"image", record->config);
	return json_dumps(root, JSON_COMPACT);
}

static int compare_records(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;
	return strcmp(x->id, y->id);
}

int records_read(struct image_store *store, struct record_list *ret, struct error *err)
{
	autofree char *folder = path_join(store->root, "images", NULL);
	DIR *dir = opendir(folder);
	if (!dir)
		return error_set_errno(err, errno, "open %s", folder);
	struct record_list list = {0};
	for (struct dirent *e; (e = readdir(dir));) {
		autofree char *text = NULL;
		size_t len;
		struct record *record;
		if (!valid_hex(e->d_name) || file_read(dirfd(dir), e->d_name, MAX_RECORD, &text, &len, NULL) < 0 ||
			record_parse(text, len, &record, NULL) < 0)
			continue; /* removed meanwhile, or damaged: then its image is not there */
		list.items = xreallocarray(list.items, list.len + 1, sizeof(*list.items));
		list.items[list.len++] = record;
	}
	closedir(dir);
	if (list.len)
		qsort(list.items, list.len, sizeof(*list.items), compare_records);
	*ret = list;
	return 0;
}

static struct record *find_by_id(const struct record_list *list, const char *reference, bool *ret_ambiguous)
{
	if (str_starts_with(reference, "sha256:"))
		reference += 7;
	size_t len = strlen(reference);
	if (len < MIN_SHORT_ID || len > HEX_LEN || strspn(reference, "0123456789abcdef") != len)
		return NULL;
	struct record *found = NULL;
	for (size_t i = 0; i < list->len; i++) {
		if (strncmp(list->items[i]->id + 7, reference, len) != 0)
			continue;
		if (found && ret_ambiguous)
			*ret_ambiguous = true;
		found = list->items[i];
	}
	return found;
}

/* By tag, or by repository and digest; a digest decides where both are given. */
static struct record *find_by_name(const struct record_list *list, const char *reference)
{
	struct image_reference name;
	if (image_reference_parse(reference, &name, NULL) < 0)
		return NULL;
	autofree char *wanted = name.digest ? xprintf("%s@%s", name.repository, name.digest) : xprintf("%s:%s", name.repository, name.tag);
	struct record *found = NULL;
	for (size_t i = 0; !found && i < list->len; i++)
		if (strv_has(name.digest ? list->items[i]->digests : list->items[i]->tags, wanted))
			found = list->items[i];
	image_reference_done(&name);
	return found;
}

struct record *records_find(const struct record_list *list, const char *reference, bool *ret_ambiguous)
{
	bool ambiguous = false;
	struct record *found = find_by_id(list, reference, &ambiguous);
	if (!found)
		found = find_by_name(list, reference);
	if (ret_ambiguous)
		*ret_ambiguous = ambiguous;
	return ambiguous ? NULL : found;
}

int record_save(struct image_store *store, const struct record *record, struct error *err)
{
	autofree char *path = xprintf("%s/images/%s", store->root, record->id + 7);
	autofree char *text = record_format(record);
	return file_write_durable(AT_FDCWD, path, text, strlen(text), 0644, err);
}

/* Takes names away from the images that have them now. */
static int move_names(struct image_store *store, struct record_list *list, const struct record *to, struct error *err)
{
	for (size_t i = 0; i < list->len; i++) {
		struct record *other = list->items[i];
		if (strcmp(other->id, to->id) == 0)
			continue;
		size_t before = image_strv_len(other->tags);
		for (size_t t = 0; to->tags[t]; t++)
			strv_remove(other->tags, to->tags[t]);
		if (image_strv_len(other->tags) == before)
			continue;
		int r = record_save(store, other, err);
		if (r < 0)
			return r;
	}
	return 0;
}

int record_add(struct image_store *store, const struct record *record, struct error *err)
{
	autoclose int lock = -1;
	int r = store_lock(store, true, &lock, err);
	if (r < 0)
		return r;
	struct record_list list;
	r = records_read(store, &list, err);
	if (r < 0)
		return r;
	struct record *there = records_find(&list, record->id, NULL);
	if (there) {
		for (size_t i = 0; record->tags[i]; i++)
			if (!strv_has(there->tags, record->tags[i]))
				strv_add(&there->tags, record->tags[i]);
		for (size_t i = 0; record->digests[i]; i++)
			if (!strv_has(there->digests, record->digests[i]))
				strv_add(&there->digests, record->digests[i]);
	}
	r = record_save(store, there ? there : record, err);
	if (r == 0)
		r = move_names(store, &list, record, err);
	record_list_done(&list);
	return r;
}

struct image *record_to_image(struct image_store *store, const struct record *record)
{
	struct image *image = xnew(struct image);
	image->id = xstrdup(record->id);
	image->tags = strv_copy(record->tags);
	image->digests = strv_copy(record->digests);
	image->layers = strv_copy(record->chains);
	image->size = record->size;
	image->pinned = record->pinned;
	image->loaded = (struct wall_time){.sec = record->loaded_ns / NSEC_PER_SEC, .nsec = (int32_t)(record->loaded_ns % NSEC_PER_SEC)};
	image->last_used = image->loaded;
	autofree char *path = xprintf("images/%s", record->id + 7);
	struct stat st;
	if (fstatat(store->root_fd, path, &st, 0) == 0)
		image->last_used = (struct wall_time){.sec = st.st_mtim.tv_sec, .nsec = (int32_t)st.st_mtim.tv_nsec};
	if (config_from_json(record->config, &image->config, NULL, NULL) < 0)
		return image_free(image);
	return image;
}

struct image *image_free(struct image *image)
{
	if (!image)
		return NULL;
	free(image->id);
	image_strv_free(image->tags);
	image_strv_free(image->digests);
	image_strv_free(image->layers);
	image_config_done(&image->config);
	free(image);
	return NULL;
}

void image_list_done(struct image_list *list)
{
	for (size_t i = 0; i < list->len; i++)
		image_free(list->items[i]);
	free(list->items);
	*list = (struct image_list){0};
}

const char *image_status_id(const struct image *image)
{
	return image->digests[0] ? image->digests[0] : image->id;
}
