/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/file.h"
#include "kubelet/node/node.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#define MAX_TEXT (1u << 20)

static const char *read_line(struct arena *arena, const char *path) {
	autofree char *text = NULL;
	size_t len;
	if (file_read(AT_FDCWD, path, MAX_TEXT, &text, &len, NULL) < 0)
		return "";
	text[strcspn(text, "\n")] = '\0';
	return arena_strdup(arena, text);
}

static const char *os_name(struct arena *arena) {
	autofree char *text = NULL;
	size_t len;
	if (file_read(AT_FDCWD, "/etc/os-release", MAX_TEXT, &text, &len, NULL) < 0)
		return "Linux";
	char *save = NULL;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (!str_starts_with(line, "PRETTY_NAME="))
			continue;
		char *value = line + strlen("PRETTY_NAME=");
		if (*value == '"' || *value == '\'')
			value++;
		value[strcspn(value, "\"'")] = '\0';
		return arena_strdup(arena, value);
	}
	return "Linux";
}

static const char *go_arch(const char *machine) {
	static const char *const rows[][2] = {{"x86_64", "amd64"}, {"aarch64", "arm64"}, {"armv7l", "arm"}, {"ppc64le", "ppc64le"}, {"s390x", "s390x"}, {"riscv64", "riscv64"}};
	for (size_t i = 0; i < array_len(rows); i++)
		if (str_equal(machine, rows[i][0]))
			return rows[i][1];
	return "amd64";
}

void node_info_system(struct kubelet *kubelet, struct arena *arena, struct core_v1_node_system_info *ret) {
	struct utsname uts;
	uname(&uts);
	const char *uuid = read_line(arena, "/sys/class/dmi/id/product_uuid"), *machine = read_line(arena, "/etc/machine-id");
	*ret = (struct core_v1_node_system_info){
		.machine_id = machine,
		.system_uuid = *uuid ? uuid : machine,
		.boot_id = read_line(arena, "/proc/sys/kernel/random/boot_id"),
		.kernel_version = arena_strdup(arena, uts.release),
		.os_image = os_name(arena),
		.container_runtime_version = arena_printf(arena, RUNTIME_NAME "://%s", CORACLE_VERSION),
		.kubelet_version = KUBELET_VERSION,
		.kube_proxy_version = "",
		.operating_system = "linux",
		.architecture = go_arch(uts.machine),
	};
	int64_t swap = node_info_swap();
	if (swap) {
		ret->swap = arena_new_type(arena, struct core_v1_node_swap_status);
		ret->swap->capacity = api_int64(arena, swap);
	}
}

int64_t node_info_memory(void) {
	autofree char *text = NULL;
	size_t len;
	long long kib = 0;
	if (file_read(AT_FDCWD, "/proc/meminfo", MAX_TEXT, &text, &len, NULL) == 0) {
		const char *line = strstr(text, "MemTotal:");
		if (line && sscanf(line, "MemTotal: %lld", &kib) == 1)
			return kib * 1024;
	}
	return 0;
}

int64_t node_info_swap(void) {
	struct sysinfo info;
	return sysinfo(&info) == 0 ? (int64_t)((uint64_t)info.totalswap * info.mem_unit) : 0;
}

static void set(struct arena *arena, struct api_quantity_map *map, const char *key, int64_t value, enum quantity_format format) {
	api_quantity_set(arena, map, key, quantity_of(value, format));
}

void node_info_capacity(struct kubelet *kubelet, struct arena *arena, struct api_quantity_map *ret) {
	struct statvfs fs;
	uint64_t sizes[CGROUP_MAX_HUGEPAGE_SIZES];
	int64_t cores = sysconf(_SC_NPROCESSORS_ONLN), pods = kubelet->options.max_pods;
	*ret = (struct api_quantity_map){0};
	if (kubelet->options.pods_per_core > 0)
		pods = min_of(pods, kubelet->options.pods_per_core * cores);
	set(arena, ret, "cpu", cores, QUANTITY_DECIMAL_SI);
	set(arena, ret, "memory", kubelet->memory_capacity, QUANTITY_BINARY_SI);
	set(arena, ret, "pods", pods, QUANTITY_DECIMAL_SI);
	if (statvfs(kubelet->options.root_dir, &fs) == 0)
		set(arena, ret, "ephemeral-storage", (int64_t)(fs.f_blocks * fs.f_frsize), QUANTITY_BINARY_SI);
	size_t count = cgroup_hugepage_sizes(sizes, array_len(sizes));
	for (size_t i = 0; i < count; i++) {
		char size[64];
		struct quantity q = quantity_of((int64_t)sizes[i], QUANTITY_BINARY_SI);
		quantity_format(&q, size);
		autofree char *path = xprintf("/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages", (unsigned long long)(sizes[i] >> 10));
		set(arena, ret, arena_printf(arena, "hugepages-%s", size), atoll(read_line(arena, path)) * (int64_t)sizes[i], QUANTITY_BINARY_SI);
	}
}

static void reserve(struct api_quantity_map *map, const struct flag_list *reserved) {
	for (size_t i = 0; i < reserved->len; i++) {
		const char *equal = strchr(reserved->items[i], '=');
		struct quantity q;
		if (!equal || quantity_parse(equal + 1, strlen(equal + 1), &q) < 0)
			continue;
		autofree char *key = xstrndup(reserved->items[i], (size_t)(equal - reserved->items[i]));
		struct quantity *have = api_quantity_get(map, key);
		if (have)
			quantity_sub(have, &q);
		if (have && have->nano < 0)
			have->nano = 0;
	}
}

void node_info_reserved(struct kubelet *kubelet, const struct api_quantity_map *capacity, struct arena *arena, struct api_quantity_map *ret) {
	*ret = (struct api_quantity_map){0};
	for api_list_each (e, capacity)
		api_quantity_set(arena, ret, e->key, e->value);
	reserve(ret, &kubelet->options.kube_reserved);
	reserve(ret, &kubelet->options.system_reserved);
}

void node_info_allocatable(struct kubelet *kubelet, const struct api_quantity_map *capacity, struct arena *arena, struct api_quantity_map *ret) {
	node_info_reserved(kubelet, capacity, arena, ret);
	for (size_t i = 0; i < kubelet->options.eviction_hard.len; i++) {
		const char *rule = kubelet->options.eviction_hard.items[i], *below = strchr(rule, '<');
		const char *key = below && str_starts_with(rule, "memory.available<") ? "memory" : below && str_starts_with(rule, "nodefs.available<") ? "ephemeral-storage" : NULL;
		struct quantity *have = key ? api_quantity_get(ret, key) : NULL;
		int64_t bytes;
		if (!have || !node_threshold_parse(below + 1, quantity_value(have), &bytes))
			continue;
		*have = quantity_of(max_of(quantity_value(have) - bytes, (int64_t)0), QUANTITY_BINARY_SI);
	}
}

static int by_size(const void *a, const void *b) {
	const struct image *x = *(struct image *const *)a, *y = *(struct image *const *)b;
	return x->size < y->size ? 1 : x->size > y->size ? -1 : strcmp(x->id, y->id);
}

void node_info_images(struct kubelet *kubelet, struct arena *arena, struct core_v1_container_image_array *ret) {
	struct image_list list = {0};
	*ret = (struct core_v1_container_image_array){0};
	if (image_list(kubelet->images, &list, NULL) < 0)
		return;
	qsort(list.items, list.len, sizeof(*list.items), by_size);
	for (size_t i = 0; i < list.len && (kubelet->options.node_status_max_images < 0 || i < (size_t)kubelet->options.node_status_max_images); i++) {
		struct core_v1_container_image *image = api_list_add(arena, ret);
		for (char **name = list.items[i]->digests; *name; name++)
			api_string_list_add(arena, &image->names, *name);
		for (char **name = list.items[i]->tags; *name; name++)
			api_string_list_add(arena, &image->names, *name);
		image->size_bytes = (int64_t)list.items[i]->size;
	}
	image_list_done(&list);
}
