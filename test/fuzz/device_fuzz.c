// lib: kubelet
/* SPDX-License-Identifier: Apache-2.0 */
/* What device plugins send: registrations, lists of devices, answers; the first byte chooses. */
#include "kubelet/device/messages.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_registration(const uint8_t *data, size_t size) {
	struct device_registration registration;
	if (device_registration_read(data, size, &registration) == 0)
		device_registration_done(&registration);
}

static void read_list(const uint8_t *data, size_t size) {
	struct device_list list;
	if (device_list_read(data, size, &list) < 0)
		return;
	for (size_t i = 0; i < list.len; i++)
		if (str_empty(list.items[i].id) || list.items[i].node_count > DEVICE_MAX_NODES)
			abort();
	device_list_done(&list);
}

static void read_preferred(const uint8_t *data, size_t size) {
	char **ids;
	if (device_preferred_read(data, size, &ids) < 0)
		return;
	for (size_t i = 0; ids[i]; i++)
		free(ids[i]);
	free(ids);
}

static void read_allocated(const uint8_t *data, size_t size) {
	autoarena struct arena *arena = arena_new();
	struct device_grant grant = {0};
	if (device_allocated_read(data, size, arena, &grant, NULL) < 0)
		return;
	for (size_t i = 0; i < grant.mount_count; i++)
		if (*grant.mounts[i].container_path != '/' || *grant.mounts[i].host_path != '/')
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static void (*const readers[])(const uint8_t *data, size_t size) = {read_registration, read_list, read_preferred, read_allocated};
	size_t message;
	if (!size)
		return 0;
	readers[data[0] % array_len(readers)](data + 1, size - 1);
	if (grpc_unframe(data, size, &message) == 0 && message > size - GRPC_FRAME)
		abort();
	return 0;
}
