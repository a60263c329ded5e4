// lib: apiserver
/* SPDX-License-Identifier: Apache-2.0 */
/* Everything a key service may answer, and what may be stored as sealed by one. */
#include "apiserver/encryption/kms_message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct kms_object object, again;
	struct kms_sealed_key sealed;
	struct kms_status status;
	struct kms_slice slice;
	char hash[65], other[65];

	if (kms_read_status(data, size, &status) == 0)
		free(xmemdup(status.key_id.data, status.key_id.len));
	if (kms_read_decrypted(data, size, &slice) == 0)
		free(xmemdup(slice.data, slice.len));
	if (kms_read_encrypted(data, size, &sealed) == 0) {
		(void)kms_sealed_key_check(&sealed, NULL);
		kms_sealed_key_done(&sealed);
	}
	if (kms_object_read(data, size, &object, NULL) == 0) {
		autobuf struct buf text = BUF_INIT(size + (64 << 10));
		kms_object_write_data(&text, object.data.data, object.data.len);
		kms_object_write_rest(&text, &object.sealed, object.type);
		/* What is written is what was read. */
		if (kms_object_read(text.data, text.len, &again, NULL) < 0)
			abort();
		kms_sealed_key_hash(&object.sealed, object.type, hash);
		kms_sealed_key_hash(&again.sealed, again.type, other);
		if (strcmp(hash, other) != 0)
			abort();
		kms_sealed_key_done(&again.sealed);
		kms_sealed_key_done(&object.sealed);
	}
	return 0;
}
