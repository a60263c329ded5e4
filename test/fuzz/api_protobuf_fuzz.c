/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as protobuf, with the envelope: what was read must be written, and read again, the same. */
#include "common/api/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	autounref void *object = NULL, *again = NULL;
	autobuf struct buf first = BUF_INIT(BUF_MAX_DEFAULT), second = BUF_INIT(BUF_MAX_DEFAULT), json = BUF_INIT(BUF_MAX_DEFAULT);
	if (api_decode_protobuf(data, size, &object, NULL) < 0)
		return 0;
	const struct api_type *type = api_type_of(object);
	api_encode_protobuf(type, object, &first);
	if (api_decode_protobuf(first.data, first.len, &again, NULL) < 0)
		abort();
	api_encode_protobuf(type, again, &second);
	if (first.len != second.len || memcmp(first.data, second.data, first.len))
		abort();
	api_encode(object, &json);
	return 0;
}
