/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/encryption/kms_message.h"
#include "common/api/codec.h"
#include "common/api/format.h"
#include "common/base/proto.h"
#include "common/base/random.h"

#include <errno.h>
#include <stdlib.h>

/* The shortest name of an annotation has three characters, so there are no more of them. */
#define MAX_ANNOTATIONS (KMS_MAX_ANNOTATIONS / 3)

static int malformed(struct error *err) {
	return error_set(err, EBADMSG, "it is no message of a key service");
}

static struct kms_slice slice_of(const struct proto_field *field) {
	return (struct kms_slice){field->bytes.pos, cursor_left(&field->bytes)};
}

static bool is_utf8(struct kms_slice s) {
	const unsigned char *p = s.data;
	for (size_t left = s.len; left;) {
		size_t n = api_utf8_length(p, left);
		if (!n)
			return false;
		p += n;
		left -= n;
	}
	return true;
}

static int compare(struct kms_slice a, struct kms_slice b) {
	size_t n = min_of(a.len, b.len);
	int order = n ? memcmp(a.data, b.data, n) : 0;
	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_name(const void *a, const void *b) {
	const struct kms_annotation *x = a, *y = b;
	int order = compare(x->name, y->name);
	/* Of one that stands twice the last one counts, as with any map: by where they lie. */
	return order ? order : x->value.data < y->value.data ? -1 : x->value.data > y->value.data;
}

/* ---- reading ---- */

static bool read_annotation(struct kms_sealed_key *sealed, size_t *cap, struct cursor entry) {
	struct kms_annotation a = {{"", 0}, {"", 0}};
	struct proto_field field;
	while (proto_next(&entry, &field)) {
		if (field.wire == PROTO_BYTES && field.number == 1)
			a.name = slice_of(&field);
		else if (field.wire == PROTO_BYTES && field.number == 2)
			a.value = slice_of(&field);
	}
	if (entry.failed || !is_utf8(a.name) || sealed->annotation_count == MAX_ANNOTATIONS)
		return false;
	if (sealed->annotation_count == *cap) {
		*cap = *cap ? 2 * *cap : 4;
		sealed->annotations = xrealloc(sealed->annotations, *cap * sizeof(a));
	}
	sealed->annotations[sealed->annotation_count++] = a;
	return true;
}

static void sort_annotations(struct kms_sealed_key *sealed) {
	size_t n = 0;
	if (sealed->annotation_count)
		qsort(sealed->annotations, sealed->annotation_count, sizeof(*sealed->annotations), by_name);
	for (size_t i = 0; i < sealed->annotation_count; i++) {
		if (i + 1 == sealed->annotation_count || compare(sealed->annotations[i].name, sealed->annotations[i + 1].name) != 0)
			sealed->annotations[n++] = sealed->annotations[i];
	}
	sealed->annotation_count = n;
}

void kms_sealed_key_done(struct kms_sealed_key *sealed) {
	free(sealed->annotations);
	*sealed = (struct kms_sealed_key){0};
}

int kms_object_read(const void *data, size_t len, struct kms_object *ret, struct error *err) {
	struct kms_object o = {{"", 0}, .sealed = {.key_id = {"", 0}, .source = {"", 0}}};
	struct cursor c = cursor_of(data, len);
	struct proto_field field;
	size_t cap = 0;
	uint64_t type = KMS_SOURCE_KEY;
	bool good = true;
	while (good && proto_next(&c, &field)) {
		if (field.number == 5 && field.wire == PROTO_VARINT)
			type = field.value;
		if (field.wire != PROTO_BYTES)
			continue;
		switch (field.number) {
		case 1: o.data = slice_of(&field); break;
		case 2: o.sealed.key_id = slice_of(&field); break;
		case 3: o.sealed.source = slice_of(&field); break;
		case 4: good = read_annotation(&o.sealed, &cap, field.bytes); break;
		default: break;
		}
	}
	sort_annotations(&o.sealed);
	int rc = good && !c.failed && is_utf8(o.sealed.key_id) ? 0 : malformed(err);
	if (rc == 0 && type > KMS_SOURCE_SEED)
		rc = error_set(err, EBADMSG, "unknown encryptedDEKSourceType: %llu", (unsigned long long)type);
	if (rc == 0 && !o.data.len)
		rc = error_set(err, EBADMSG, "encrypted data is empty");
	if (rc == 0)
		rc = kms_sealed_key_check(&o.sealed, err);
	o.type = (enum kms_source)type;
	if (rc < 0)
		kms_sealed_key_done(&o.sealed);
	else
		*ret = o;
	return rc;
}

int kms_read_status(const void *data, size_t len, struct kms_status *ret) {
	struct kms_status s = {{"", 0}, {"", 0}, {"", 0}};
	struct kms_slice *const fields[] = {NULL, &s.version, &s.healthz, &s.key_id};
	struct cursor c = cursor_of(data, len);
	struct proto_field field;
	while (proto_next(&c, &field))
		if (field.wire == PROTO_BYTES && field.number < array_len(fields))
			*fields[field.number] = slice_of(&field);
	if (c.failed || !is_utf8(s.version) || !is_utf8(s.healthz) || !is_utf8(s.key_id))
		return -EBADMSG;
	*ret = s;
	return 0;
}

int kms_read_encrypted(const void *data, size_t len, struct kms_sealed_key *ret) {
	struct kms_sealed_key sealed = {.key_id = {"", 0}, .source = {"", 0}};
	struct cursor c = cursor_of(data, len);
	struct proto_field field;
	size_t cap = 0;
	bool good = true;
	while (good && proto_next(&c, &field)) {
		if (field.wire != PROTO_BYTES)
			continue;
		switch (field.number) {
		case 1: sealed.source = slice_of(&field); break;
		case 2: sealed.key_id = slice_of(&field); break;
		case 3: good = read_annotation(&sealed, &cap, field.bytes); break;
		default: break;
		}
	}
	sort_annotations(&sealed);
	if (!good || c.failed || !is_utf8(sealed.key_id)) {
		kms_sealed_key_done(&sealed);
		return -EBADMSG;
	}
	*ret = sealed;
	return 0;
}

int kms_read_decrypted(const void *data, size_t len, struct kms_slice *ret) {
	struct kms_slice s = {"", 0};
	struct cursor c = cursor_of(data, len);
	struct proto_field field;
	while (proto_next(&c, &field))
		if (field.wire == PROTO_BYTES && field.number == 1)
			s = slice_of(&field);
	if (c.failed)
		return -EBADMSG;
	*ret = s;
	return 0;
}

/* ---- checks ---- */

/* Two labels or more; a dot may end it. */
static bool is_domain(struct kms_slice name) {
	autofree char *text = xstrndup(name.data, name.len);
	size_t len = strlen(text);
	if (len != name.len)
		return false;
	if (len && text[len - 1] == '.')
		text[--len] = '\0';
	for (const char *label = text; label; label = strchr(label, '.') ? strchr(label, '.') + 1 : NULL)
		if (strcspn(label, ".") > 63)
			return false;
	return strchr(text, '.') && !format_error(format_dns_subdomain, text);
}

int kms_sealed_key_check(const struct kms_sealed_key *sealed, struct error *err) {
	size_t total = 0;
	if (!sealed->source.len)
		return error_set(err, EBADMSG, "failed to validate encrypted DEK source: encrypted DEK source is empty");
	if (sealed->source.len > KMS_MAX_SOURCE)
		return error_set(err, EBADMSG, "failed to validate encrypted DEK source: encrypted DEK source is %zu bytes, which exceeds the max size of %zu", sealed->source.len, KMS_MAX_SOURCE);
	if (!sealed->key_id.len)
		return error_set(err, EBADMSG, "failed to validate key id: keyID is empty");
	if (sealed->key_id.len > KMS_MAX_KEY_ID)
		return error_set(err, EBADMSG, "failed to validate key id: keyID is %zu bytes, which exceeds the max size of %zu", sealed->key_id.len, KMS_MAX_KEY_ID);
	for (size_t i = 0; i < sealed->annotation_count; i++) {
		const struct kms_annotation *a = &sealed->annotations[i];
		if (!is_domain(a->name))
			return error_set(err, EBADMSG, "failed to validate annotations: \"%.*s\" is no domain with at least two segments separated by dots", (int)min_of(a->name.len, (size_t)253), (const char *)a->name.data);
		total += a->name.len + a->value.len;
	}
	if (total > KMS_MAX_ANNOTATIONS)
		return error_set(err, EBADMSG, "failed to validate annotations: total size of annotations is %zu, which exceeds the max size of %zu", total, KMS_MAX_ANNOTATIONS);
	return 0;
}

/* ---- writing ---- */

static void write_slice(struct buf *out, uint32_t field, struct kms_slice s) {
	if (s.len)
		proto_put_bytes(out, field, s.data, s.len);
}

static void write_annotations(struct buf *out, uint32_t field, const struct kms_sealed_key *sealed) {
	for (size_t i = 0; i < sealed->annotation_count; i++) {
		const struct kms_annotation *a = &sealed->annotations[i];
		autobuf struct buf entry = BUF_INIT(2 * KMS_MAX_ANNOTATIONS);
		proto_put_bytes(&entry, 1, a->name.data, a->name.len);
		proto_put_bytes(&entry, 2, a->value.data, a->value.len);
		proto_put_bytes(out, field, entry.data, entry.len);
	}
}

void kms_object_write_data(struct buf *out, const void *data, size_t len) {
	proto_put_bytes(out, 1, data, len);
}

void kms_object_write_rest(struct buf *out, const struct kms_sealed_key *sealed, enum kms_source type) {
	write_slice(out, 2, sealed->key_id);
	write_slice(out, 3, sealed->source);
	write_annotations(out, 4, sealed);
	proto_put_number(out, 5, type);
}

void kms_sealed_key_hash(const struct kms_sealed_key *sealed, enum kms_source type, char out[static 65]) {
	autobuf struct buf text = BUF_INIT(4 * KMS_MAX_ANNOTATIONS);
	/* Each part tells its length, so no two of them write the same. */
	kms_object_write_rest(&text, sealed, type);
	sha256_hex(text.data, text.len, out);
}

void kms_write_encrypt(struct buf *out, const void *data, size_t len, const char *uid) {
	write_slice(out, 1, (struct kms_slice){data, len});
	proto_put_text(out, 2, uid);
}

void kms_write_decrypt(struct buf *out, const struct kms_sealed_key *sealed, const char *uid) {
	write_slice(out, 1, sealed->source);
	proto_put_text(out, 2, uid);
	write_slice(out, 3, sealed->key_id);
	write_annotations(out, 4, sealed);
}
