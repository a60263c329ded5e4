/* SPDX-License-Identifier: Apache-2.0 */
#include "test/kms/service.h"
#include "apiserver/encryption/kms_message.h"
#include "common/base/file.h"
#include "common/base/proto.h"
#include "common/base/random.h"
#include "kubelet/grpc/server.h"

#include <errno.h>
#include <fcntl.h>

#define SALT "salt.coracle.io"
#define MAX_FILE 4096

static char *read_word(const char *folder, const char *name, const char *fallback) {
	autofree char *path = path_join(folder, name, NULL);
	char *text;
	size_t len;
	if (file_read(AT_FDCWD, path, MAX_FILE, &text, &len, NULL) < 0)
		return xstrdup(fallback);
	while (len && text[len - 1] == '\n')
		text[--len] = '\0';
	return text;
}

/* There and back. */
static void cover(const char *key_id, struct kms_slice salt, uint8_t *data, size_t len) {
	uint8_t block[32];
	for (size_t at = 0; at < len; at++) {
		if (at % sizeof(block) == 0) {
			autobuf struct buf text = BUF_INIT(MAX_FILE);
			buf_printf(&text, "%s:%zu:", key_id, at);
			buf_append(&text, salt.data, salt.len);
			sha256(text.data, text.len, block);
		}
		data[at] ^= block[at % sizeof(block)];
	}
}

static enum grpc_code tell_status(const char *folder, struct buf *ret) {
	autofree char *key_id = read_word(folder, "key-id", "one"), *health = read_word(folder, "health", "ok");
	proto_put_text(ret, 1, "v2");
	proto_put_text(ret, 2, health);
	proto_put_text(ret, 3, key_id);
	return GRPC_OK;
}

static enum grpc_code encrypt(const char *folder, const void *request, size_t len, struct buf *ret, struct error *err) {
	autofree char *key_id = read_word(folder, "key-id", "one");
	autobuf struct buf entry = BUF_INIT(MAX_FILE);
	struct kms_slice plain;
	uint8_t salt[8], data[KMS_MAX_SOURCE];
	if (kms_read_decrypted(request, len, &plain) < 0 || plain.len > sizeof(data) - 1)
		return error_set(err, EINVAL, "no request"), GRPC_INVALID_ARGUMENT;
	random_bytes(salt, sizeof(salt));
	memcpy(data, plain.data, plain.len);
	data[plain.len] = 0x5a; /* shows whether it was opened by the same key */
	cover(key_id, (struct kms_slice){salt, sizeof(salt)}, data, plain.len + 1);
	proto_put_text(&entry, 1, SALT);
	proto_put_bytes(&entry, 2, salt, sizeof(salt));
	proto_put_bytes(ret, 1, data, plain.len + 1);
	proto_put_text(ret, 2, key_id);
	proto_put_bytes(ret, 3, entry.data, entry.len);
	return GRPC_OK;
}

/* Its fields are those of what is stored, but for their numbers. */
static enum grpc_code decrypt(const char *folder, const void *request, size_t len, struct buf *ret, struct error *err) {
	struct cursor c = cursor_of(request, len);
	struct proto_field field, part;
	struct kms_slice sealed = {"", 0}, salt = {"", 0};
	autofree char *key_id = NULL, *lost = read_word(folder, "lost", "");
	uint8_t data[KMS_MAX_SOURCE];
	while (proto_next(&c, &field)) {
		if (field.number == 1)
			sealed = (struct kms_slice){field.bytes.pos, cursor_left(&field.bytes)};
		else if (field.number == 3)
			key_id = proto_text(&field);
		else if (field.number == 4)
			while (proto_next(&field.bytes, &part))
				if (part.number == 2)
					salt = (struct kms_slice){part.bytes.pos, cursor_left(&part.bytes)};
	}
	if (!key_id || !sealed.len || sealed.len > sizeof(data))
		return error_set(err, EINVAL, "no request"), GRPC_INVALID_ARGUMENT;
	for (char *rest = lost, *line; (line = strsep(&rest, "\n"));)
		if (strcmp(line, key_id) == 0)
			return error_set(err, EINVAL, "key %s is lost", key_id), GRPC_NOT_FOUND;
	memcpy(data, sealed.data, sealed.len);
	cover(key_id, salt, data, sealed.len);
	if (data[sealed.len - 1] != 0x5a)
		return error_set(err, EINVAL, "it was sealed otherwise"), GRPC_INVALID_ARGUMENT;
	proto_put_bytes(ret, 1, data, sealed.len - 1);
	return GRPC_OK;
}

static enum grpc_code handle(const char *method, const void *request, size_t len, struct buf *ret, void *arg, struct error *err) {
	if (strcmp(method, KMS_STATUS) == 0)
		return tell_status(arg, ret);
	if (strcmp(method, KMS_ENCRYPT) == 0)
		return encrypt(arg, request, len, ret, err);
	if (strcmp(method, KMS_DECRYPT) == 0)
		return decrypt(arg, request, len, ret, err);
	return error_set(err, ENOSYS, "unknown method %s", method), GRPC_UNIMPLEMENTED;
}

int kms_service_start(const char *socket, const char *folder, struct grpc_server **ret, struct error *err) {
	return grpc_server_start(socket, handle, (void *)(uintptr_t)folder, ret, err);
}
