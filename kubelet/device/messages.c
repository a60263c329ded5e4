/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/device/messages.h"

#include "common/base/map.h"
#include "kubelet/runtime/cdi.h"

#include <errno.h>

static int end(const struct cursor *c) {
	return c->failed ? -EBADMSG : 0;
}

static void set_text(char **at, const struct proto_field *field) {
	free(*at);
	*at = proto_text(field);
}

/* ---- registering ---- */

static int read_options(struct cursor c, struct device_options *ret) {
	struct proto_field f;
	while (proto_next(&c, &f)) {
		if (f.number == 1)
			ret->pre_start = f.value;
		else if (f.number == 2)
			ret->preferred = f.value;
	}
	return end(&c);
}

int device_options_read(const void *data, size_t len, struct device_options *ret) {
	*ret = (struct device_options){0};
	return read_options(cursor_of(data, len), ret);
}

void device_registration_done(struct device_registration *registration) {
	free(registration->version);
	free(registration->endpoint);
	free(registration->resource);
}

int device_registration_read(const void *data, size_t len, struct device_registration *ret) {
	struct cursor c = cursor_of(data, len);
	struct proto_field f;
	int r = 0;
	*ret = (struct device_registration){0};
	while (r == 0 && proto_next(&c, &f)) {
		if (f.number == 1)
			set_text(&ret->version, &f);
		else if (f.number == 2)
			set_text(&ret->endpoint, &f);
		else if (f.number == 3)
			set_text(&ret->resource, &f);
		else if (f.number == 4)
			r = (ret->has_options = true, read_options(f.bytes, &ret->options));
	}
	r = r < 0 ? r : end(&c);
	if (r < 0)
		device_registration_done(ret);
	return r;
}

/* ---- devices ---- */

void device_list_done(struct device_list *list) {
	for (size_t i = 0; i < list->len; i++)
		free(list->items[i].id);
	free(list->items);
	*list = (struct device_list){0};
}

static int read_topology(struct cursor c, struct device *ret) {
	struct proto_field f, node;
	while (proto_next(&c, &f)) {
		if (f.number != 1 || f.wire != PROTO_BYTES || ret->node_count == DEVICE_MAX_NODES)
			continue;
		int64_t id = 0; /* the first one is not written */
		while (proto_next(&f.bytes, &node))
			id = node.number == 1 ? (int64_t)node.value : id;
		if (f.bytes.failed)
			return -EBADMSG;
		ret->nodes[ret->node_count++] = id;
	}
	return end(&c);
}

static int read_device(struct cursor c, struct device *ret) {
	struct proto_field f;
	int r = 0;
	while (r == 0 && proto_next(&c, &f)) {
		if (f.number == 1) {
			set_text(&ret->id, &f);
		} else if (f.number == 2) {
			autofree char *health = proto_text(&f);
			ret->healthy = str_equal(health, "Healthy");
		} else if (f.number == 3 && f.wire == PROTO_BYTES) {
			r = read_topology(f.bytes, ret);
		}
	}
	return r < 0 ? r : end(&c);
}

int device_list_read(const void *data, size_t len, struct device_list *ret) {
	struct cursor c = cursor_of(data, len);
	automap struct map seen = MAP_INIT(NULL);
	struct proto_field f;
	int r = 0;
	*ret = (struct device_list){0};
	while (r == 0 && proto_next(&c, &f)) {
		struct device device = {0};
		if (f.number != 1 || f.wire != PROTO_BYTES)
			continue;
		r = read_device(f.bytes, &device);
		if (r == 0 && (str_empty(device.id) || ret->len == DEVICE_MAX_DEVICES))
			r = -EBADMSG;
		if (r < 0) {
			free(device.id);
			break;
		}
		size_t at = (size_t)(uintptr_t)map_get(&seen, device.id);
		if (at) {
			free(ret->items[at - 1].id);
			ret->items[at - 1] = device;
			continue;
		}
		if (ret->len == ret->cap)
			ret->items = xreallocarray(ret->items, ret->cap = ret->cap ? ret->cap * 2 : 8, sizeof(*ret->items));
		ret->items[ret->len++] = device;
		map_set(&seen, device.id, (void *)(uintptr_t)ret->len);
	}
	r = r < 0 ? r : end(&c);
	if (r < 0)
		device_list_done(ret);
	return r;
}

/* ---- allocating ---- */

static void put_list(struct buf *out, uint32_t field, const char *const *ids) {
	for (size_t i = 0; ids && ids[i]; i++)
		proto_put_bytes(out, field, ids[i], strlen(ids[i]));
}

void device_put_ids(struct buf *out, const char *const *ids) {
	put_list(out, 1, ids);
}

void device_put_allocate(struct buf *out, const char *const *ids) {
	autobuf struct buf one = BUF_INIT(GRPC_MAX_MESSAGE);
	put_list(&one, 1, ids);
	proto_put_bytes(out, 1, one.data, one.len);
}

void device_put_preferred(struct buf *out, const char *const *available, const char *const *required, size_t count) {
	autobuf struct buf one = BUF_INIT(GRPC_MAX_MESSAGE);
	put_list(&one, 1, available);
	put_list(&one, 2, required);
	proto_put_number(&one, 3, count);
	proto_put_bytes(out, 1, one.data, one.len);
}

/* The first container's part of an answer, which has one for each container. */
static int first_part(const void *data, size_t len, struct cursor *ret) {
	struct cursor c = cursor_of(data, len);
	struct proto_field f;
	while (proto_next(&c, &f)) {
		if (f.number == 1 && f.wire == PROTO_BYTES) {
			*ret = f.bytes;
			return 0;
		}
	}
	return -EBADMSG;
}

int device_preferred_read(const void *data, size_t len, char ***ret) {
	struct cursor c;
	struct proto_field f;
	char **ids = xcalloc(1, sizeof(*ids));
	size_t count = 0;
	int r = first_part(data, len, &c);
	while (r == 0 && count < DEVICE_MAX_DEVICES && proto_next(&c, &f)) {
		char *id = f.number == 1 ? proto_text(&f) : NULL;
		if (!id)
			continue;
		ids = xreallocarray(ids, count + 2, sizeof(*ids));
		ids[count++] = id;
		ids[count] = NULL;
	}
	r = r < 0 ? r : end(&c);
	if (r == 0) {
		*ret = ids;
		return 0;
	}
	for (size_t i = 0; i < count; i++)
		free(ids[i]);
	free(ids);
	return r;
}

static const char *text_in(struct arena *arena, const struct proto_field *field) {
	autofree char *text = proto_text(field);
	return arena_strdup(arena, str_or(text, ""));
}

static int read_entry(struct cursor c, struct arena *arena, struct runtime_label *ret) {
	struct proto_field f;
	*ret = (struct runtime_label){"", ""};
	while (proto_next(&c, &f)) {
		if (f.number == 1)
			ret->key = text_in(arena, &f);
		else if (f.number == 2)
			ret->value = text_in(arena, &f);
	}
	return c.failed || !*ret->key ? -EBADMSG : 0;
}

/* What mounts and devices have alike: the path inside, the path outside, and a third field that each reads its own way. */
struct place {
	const char *inside, *outside;
	struct proto_field third; /* number 0: absent */
};

static int read_place(struct cursor c, struct arena *arena, struct place *ret) {
	struct proto_field f;
	*ret = (struct place){0};
	while (proto_next(&c, &f)) {
		if (f.number == 1)
			ret->inside = text_in(arena, &f);
		else if (f.number == 2)
			ret->outside = text_in(arena, &f);
		else if (f.number == 3)
			ret->third = f;
	}
	return c.failed || str_empty(ret->inside) || *ret->inside != '/' || str_empty(ret->outside) || *ret->outside != '/' ? -EBADMSG : 0;
}

static int read_mount(struct cursor c, struct arena *arena, struct container_mount *ret) {
	struct place place;
	int r = read_place(c, arena, &place);
	*ret = (struct container_mount){.container_path = place.inside, .host_path = place.outside, .read_only = place.third.value};
	return r;
}

static int read_node(struct cursor c, struct arena *arena, struct container_device *ret) {
	struct place place;
	int r = read_place(c, arena, &place);
	const char *permissions = place.third.number ? text_in(arena, &place.third) : NULL;
	*ret = (struct container_device){.container_path = place.inside, .host_path = place.outside, .permissions = str_empty(permissions) ? NULL : permissions};
	return r;
}

#define ADD(arena, list, count) ({ \
	void *grown_ = arena_calloc(arena, (count) + 1, sizeof(*(list))); \
	if (count) \
		memcpy(grown_, list, (count) * sizeof(*(list))); \
	(list) = grown_; \
	&(list)[(count)++]; \
})

static int read_cdi_device(struct cursor c, struct arena *arena, const char **ret) {
	struct proto_field f;
	*ret = "";
	while (proto_next(&c, &f))
		if (f.number == 1)
			*ret = text_in(arena, &f);
	return c.failed || !cdi_is_device(*ret) ? -EBADMSG : 0;
}

int device_allocated_read(const void *data, size_t len, struct arena *arena, struct device_grant *ret, struct error *err) {
	struct cursor c;
	struct proto_field f;
	int r = first_part(data, len, &c);
	while (r == 0 && proto_next(&c, &f)) {
		if (f.wire != PROTO_BYTES)
			continue;
		if (f.number == 1)
			r = read_entry(f.bytes, arena, ADD(arena, ret->envs, ret->env_count));
		else if (f.number == 2)
			r = read_mount(f.bytes, arena, ADD(arena, ret->mounts, ret->mount_count));
		else if (f.number == 3)
			r = read_node(f.bytes, arena, ADD(arena, ret->devices, ret->device_count));
		else if (f.number == 5)
			r = read_cdi_device(f.bytes, arena, ADD(arena, ret->cdi_devices, ret->cdi_count));
	}
	return r < 0 || c.failed ? error_set(err, EBADMSG, "the device plugin's answer cannot be read") : 0;
}
