// lib: kubelet
/* SPDX-License-Identifier: Apache-2.0 */
/* CDI files: what is accepted can be laid into a configuration, and leaves it one. */
#include "kubelet/runtime/cdi.h"

#include "common/image/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void lay_in(const json_t *edits) {
	autojson json_t *oci = json_pack("{s:{s:{s:i},s:[s]},s:[{s:s}],s:{s:{s:[]}}}", "process", "user", "uid", 1000, "env", "PATH=/bin", "mounts", "destination", "/proc", "linux", "resources", "devices");
	cdi_apply(edits, oci, NULL);
	autofree char *text = json_dumps(oci, JSON_COMPACT);
	if (!text || !json_is_array(json_object_get(oci, "mounts")) || !json_is_array(json_object_get(json_object_get(oci, "process"), "env")))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	autojson json_t *file = NULL;
	size_t i;
	json_t *device;
	if (cdi_parse((const char *)data, size, &file, NULL) < 0)
		return 0;
	lay_in(json_object_get(file, "containerEdits"));
	json_array_foreach(json_object_get(file, "devices"), i, device) {
		autofree char *name = xprintf("%s=%s", json_string_value(json_object_get(file, "kind")), json_string_value(json_object_get(device, "name")));
		if (!cdi_is_device(name))
			abort();
		lay_in(json_object_get(device, "containerEdits"));
	}
	return 0;
}
