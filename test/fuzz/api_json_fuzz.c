/* SPDX-License-Identifier: Apache-2.0 */
/* Objects as JSON: what was written and read again is written the same. The first byte chooses the type. */
#include "api/apiextensions_v1.h"
#include "api/apps_v1.h"
#include "api/autoscaling_v2.h"
#include "api/core_v1.h"
#include "common/api/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static const struct api_type *const types[] = {
		&core_v1_pod_type, &apps_v1_deployment_type, &apiextensions_v1_custom_resource_definition_type, &core_v1_secret_type,
		&core_v1_service_type, &autoscaling_v2_horizontal_pod_autoscaler_type, &core_v1_event_type, NULL,
	};
	autoerror struct error err = {0};
	autounref void *object = NULL, *again = NULL, *copy = NULL;
	autobuf struct buf first = BUF_INIT(BUF_MAX_DEFAULT), second = BUF_INIT(BUF_MAX_DEFAULT);
	struct api_warning_list warnings = {0};
	struct api_decode_options options = {.validation = API_WARN, .warnings = &warnings};
	if (size < 1)
		return 0;
	const struct api_type *type = types[data[0] % array_len(types)];
	const char *text = (const char *)data + 1;
	int r = type ? api_decode_json(type, text, size - 1, &options, &object, &err) : api_decode_json_any(text, size - 1, &options, &object, &err);
	api_warning_list_done(&warnings);
	if (r < 0)
		return 0;
	api_encode(object, &first);
	copy = api_copy(object);
	if (!api_equal(api_type_of(object), object, copy))
		abort();
	if (api_decode_json(api_type_of(object), first.data, first.len, NULL, &again, &err) < 0)
		abort();
	api_encode(again, &second);
	/* Go writes an empty list of schemas as null, which it reads as nothing: the second text is the one that stays. */
	buf_reset(&first);
	api_unref(take_ptr(again));
	if (api_decode_json(api_type_of(object), second.data, second.len, NULL, &again, &err) < 0)
		abort();
	api_encode(again, &first);
	if (first.len != second.len || memcmp(first.data, second.data, first.len))
		abort();
	api_default(object);
	return 0;
}
