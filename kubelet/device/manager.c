/* SPDX-License-Identifier: Apache-2.0 */
#include "common/api/format.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/random.h"
#include "kubelet/device/internal.h"
#include "kubelet/device/pod_resources.h"
#include "kubelet/grpc/server.h"
#include "kubelet/node/node.h"
#include "kubelet/pod/pod.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#define MAX_RESOURCES 64
#define MAX_SAVED (64u << 20)
#define MAX_ANSWER (1u << 20) /* of a plugin, for one container */
#define GONE_AFTER_NS (5 * 60 * NSEC_PER_SEC) /* devices of a plugin that went are told as unhealthy, then as none */

/* ---- what is kept ---- */

static void holding_free(struct holding *h) {
	if (!h)
		return;
	free(h->pod_uid);
	free(h->container);
	free(h->resource);
	for (size_t i = 0; i < h->count; i++)
		free(h->ids[i]);
	free(h->ids);
	free(h->answer);
	free(h);
}

static void resource_free(void *arg) {
	struct resource *resource = arg;
	plugin_unref(resource->plugin);
	device_list_done(&resource->devices);
	free(resource->name);
	free(resource);
}

static struct resource *resource_get(struct device_manager *m, const char *name) {
	struct resource *resource = map_get(&m->resources, name);
	if (resource)
		return resource;
	resource = xnew(struct resource);
	resource->name = xstrdup(name);
	map_set(&m->resources, name, resource);
	return resource;
}

static void holding_add(struct device_manager *m, struct holding *take_holding) {
	m->holdings = xreallocarray(m->holdings, m->holding_count + 1, sizeof(*m->holdings));
	m->holdings[m->holding_count++] = take_holding;
}

/* Those of one pod, or with NULL all of pods that nobody knows. True where there were any. */
static bool drop(struct device_manager *m, const char *pod_uid) {
	size_t kept = 0, before = m->holding_count;
	for (size_t i = 0; i < before; i++) {
		struct holding *h = m->holdings[i];
		if (pod_uid ? str_equal(h->pod_uid, pod_uid) : !pod_manager_knows(m->kubelet->pods, h->pod_uid))
			holding_free(h);
		else
			m->holdings[kept++] = h;
	}
	m->holding_count = kept;
	return kept != before;
}

static int save(struct device_manager *m, struct error *err) {
	json_t *resources = json_array(), *given = json_array();
	struct map_entry *e;
	for (size_t pos = 0; (e = map_next(&m->resources, &pos));)
		json_array_append_new(resources, json_string(e->key));
	for (size_t i = 0; i < m->holding_count; i++) {
		const struct holding *h = m->holdings[i];
		json_t *ids = json_array();
		for (size_t k = 0; k < h->count; k++)
			json_array_append_new(ids, json_string(h->ids[k]));
		json_array_append_new(given, json_pack("{s:s,s:s,s:s,s:o,s:b,s:s}", "pod", h->pod_uid, "container", h->container, "resource", h->resource, "ids", ids, "lent", h->lent, "answer", h->answer));
	}
	json_t *whole = json_pack("{s:o,s:o}", "resources", resources, "given", given);
	autofree char *text = json_dumps(whole, JSON_COMPACT);
	json_decref(whole);
	return file_write_durable(AT_FDCWD, m->state_path, text, strlen(text), 0600, err);
}

static struct holding *holding_from(const json_t *row) {
	const json_t *ids = json_object_get(row, "ids");
	const char *pod = json_string_value(json_object_get(row, "pod")), *container = json_string_value(json_object_get(row, "container"));
	const char *resource = json_string_value(json_object_get(row, "resource")), *answer = json_string_value(json_object_get(row, "answer"));
	if (!pod || !container || !resource || !answer)
		return NULL;
	struct holding *h = xnew(struct holding);
	*h = (struct holding){.pod_uid = xstrdup(pod), .container = xstrdup(container), .resource = xstrdup(resource), .answer = xstrdup(answer), .lent = json_is_true(json_object_get(row, "lent"))};
	h->ids = xcalloc(json_array_size(ids) + 1, sizeof(*h->ids));
	for (size_t i = 0; i < json_array_size(ids); i++)
		if (json_string_value(json_array_get(ids, i)))
			h->ids[h->count++] = xstrdup(json_string_value(json_array_get(ids, i)));
	return h;
}

static int load(struct device_manager *m, struct error *err) {
	autofree char *text = NULL;
	size_t len, i;
	json_t *row;
	int r = file_read(AT_FDCWD, m->state_path, MAX_SAVED, &text, &len, err);
	if (r < 0) {
		if (r == -ENOENT)
			error_done(err);
		return r == -ENOENT ? 0 : r;
	}
	json_t *whole = json_loadb(text, len, 0, NULL);
	if (!whole)
		return error_set(err, EBADMSG, "%s is no JSON", m->state_path);
	json_array_foreach(json_object_get(whole, "resources"), i, row)
		if (json_string_value(row))
			resource_get(m, json_string_value(row));
	json_array_foreach(json_object_get(whole, "given"), i, row) {
		struct holding *h = holding_from(row);
		if (!h)
			continue;
		resource_get(m, h->resource);
		holding_add(m, h);
	}
	json_decref(whole);
	return 0;
}

/* ---- plugins ---- */

/* Their statuses say how the devices are. Manager locked. */
static void wake_holders(struct device_manager *m, const char *resource) {
	for (size_t i = 0; m->kubelet->pods && i < m->holding_count; i++)
		if (str_equal(m->holdings[i]->resource, resource))
			pod_manager_wake(m->kubelet->pods, m->holdings[i]->pod_uid);
}

static void on_devices(struct plugin *plugin, struct device_list *take_devices, void *arg) {
	struct device_manager *m = arg;
	pthread_mutex_lock(&m->lock);
	struct resource *resource = map_get(&m->resources, plugin_resource(plugin));
	bool current = resource && resource->plugin == plugin;
	if (current) {
		device_list_done(&resource->devices);
		resource->devices = *take_devices;
		wake_holders(m, resource->name);
	} else {
		device_list_done(take_devices);
	}
	pthread_mutex_unlock(&m->lock);
	if (current)
		node_agent_wake(m->kubelet->node);
}

static void on_end(struct plugin *plugin, void *arg) {
	struct device_manager *m = arg;
	pthread_mutex_lock(&m->lock);
	struct resource *resource = map_get(&m->resources, plugin_resource(plugin));
	bool current = resource && resource->plugin == plugin && !m->shut;
	if (current) {
		resource->ended_at = clock_monotonic_ns();
		for (size_t i = 0; i < resource->devices.len; i++)
			resource->devices.items[i].healthy = false;
		wake_holders(m, resource->name);
	}
	pthread_mutex_unlock(&m->lock);
	if (current)
		node_agent_wake(m->kubelet->node);
}

static bool is_extended(const char *name) {
	/* As the key of a quota, too, it must be a name. */
	autofree char *of_quota = xprintf("requests.%s", str_or(name, ""));
	struct format_messages messages = {.len = 0};
	format_qualified_name(of_quota, &messages);
	return !str_empty(name) && strchr(name, '/') && !strstr(name, "kubernetes.io/") && !str_starts_with(name, "requests.") && !messages.len;
}

static bool is_file_name(const char *name) {
	return !str_empty(name) && !strchr(name, '/') && !str_equal(name, ".") && !str_equal(name, "..");
}

static enum grpc_code take_registration(struct device_manager *m, const struct device_registration *reg, struct error *err) {
	if (!str_equal(reg->version, DEVICE_API_VERSION)) {
		error_set(err, EINVAL, "requested API version \"%s\" is not supported by kubelet. Supported versions are [\"" DEVICE_API_VERSION "\"]", str_or(reg->version, ""));
		return GRPC_UNKNOWN;
	}
	if (!is_extended(reg->resource)) {
		error_set(err, EINVAL, "the ResourceName \"%s\" is invalid", str_or(reg->resource, ""));
		return GRPC_UNKNOWN;
	}
	if (!is_file_name(reg->endpoint)) {
		error_set(err, EINVAL, "the Endpoint \"%s\" is no name of a socket beside this one", str_or(reg->endpoint, ""));
		return GRPC_INVALID_ARGUMENT;
	}
	const struct plugin_events events = {.on_devices = on_devices, .on_end = on_end, .arg = m};
	autofree char *socket = path_join(m->kubelet->options.device_plugins_dir, reg->endpoint, NULL);
	pthread_mutex_lock(&m->lock);
	bool room = !m->shut && (map_get(&m->resources, reg->resource) || m->resources.len < MAX_RESOURCES);
	struct plugin *old = NULL;
	if (room) {
		struct resource *resource = resource_get(m, reg->resource);
		old = resource->plugin;
		resource->plugin = plugin_start(socket, reg->resource, &reg->options, &events);
		if (save(m, err) < 0)
			log_warning("devices cannot be kept in mind", LOG_ERR(err));
	}
	pthread_mutex_unlock(&m->lock);
	if (!room) {
		error_set(err, ENOSPC, "too many device plugins");
		return GRPC_RESOURCE_EXHAUSTED;
	}
	if (old) {
		plugin_stop(old);
		plugin_unref(old);
	}
	log_info("device plugin is registered", LOG_STR("resource", reg->resource), LOG_STR("endpoint", reg->endpoint));
	return GRPC_OK;
}

static enum grpc_code on_call(const char *method, const void *request, size_t len, struct buf *ret, void *arg, struct error *err) {
	struct device_registration reg;
	if (!str_equal(method, "/v1beta1.Registration/Register")) {
		error_set(err, ENOSYS, "unknown method %s", method);
		return GRPC_UNIMPLEMENTED;
	}
	if (device_registration_read(request, len, &reg) < 0) {
		error_set(err, EBADMSG, "the request cannot be read");
		return GRPC_INVALID_ARGUMENT;
	}
	enum grpc_code status = take_registration(arg, &reg, err);
	device_registration_done(&reg);
	return status;
}

/* ---- its life ---- */

int device_manager_new(struct kubelet *kubelet, struct device_manager **ret, struct error *err) {
	struct device_manager *m = xnew(struct device_manager);
	m->kubelet = kubelet;
	m->state_path = path_join(kubelet->options.root_dir, "device-allocations.json", NULL);
	m->resources = MAP_INIT(resource_free);
	pthread_mutex_init(&m->lock, NULL);
	int r = load(m, err);
	if (r < 0) {
		device_manager_free(m);
		return r;
	}
	*ret = m;
	return 0;
}

int device_manager_open(struct device_manager *m, struct error *err) {
	const struct kubelet_options *o = &m->kubelet->options;
	autofree char *registration = path_join(o->device_plugins_dir, "kubelet.sock", NULL), *pod_resources = path_join(o->pod_resources_dir, "kubelet.sock", NULL);
	int r = grpc_server_start(registration, on_call, m, &m->registration, err);
	return r < 0 ? r : grpc_server_start(pod_resources, pod_resources_call, m->kubelet, &m->pod_resources, err);
}

void device_manager_shut(struct device_manager *m) {
	if (!m)
		return;
	grpc_server_stop(take_ptr(m->registration));
	grpc_server_stop(take_ptr(m->pod_resources));
	pthread_mutex_lock(&m->lock);
	m->shut = true;
	pthread_mutex_unlock(&m->lock);
	struct map_entry *e;
	for (size_t pos = 0; (e = map_next(&m->resources, &pos));) {
		struct resource *resource = e->value;
		if (resource->plugin)
			plugin_stop(resource->plugin);
	}
}

void device_manager_free(struct device_manager *m) {
	if (!m)
		return;
	map_done(&m->resources);
	for (size_t i = 0; i < m->holding_count; i++)
		holding_free(m->holdings[i]);
	free(m->holdings);
	free(m->state_path);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

/* ---- what there is ---- */

void device_manager_capacity(struct device_manager *m, struct arena *arena, struct api_quantity_map *capacity, struct api_quantity_map *allocatable) {
	if (!m)
		return;
	int64_t now = clock_monotonic_ns();
	pthread_mutex_lock(&m->lock);
	struct map_entry *e;
	for (size_t pos = 0; (e = map_next(&m->resources, &pos));) {
		const struct resource *resource = e->value;
		int64_t healthy = 0, all = (int64_t)resource->devices.len;
		for (size_t i = 0; i < resource->devices.len; i++)
			healthy += resource->devices.items[i].healthy;
		if (resource->ended_at && !healthy && now - resource->ended_at >= GONE_AFTER_NS)
			all = 0;
		const char *name = arena_strdup(arena, resource->name);
		api_quantity_set(arena, capacity, name, quantity_of(all, QUANTITY_DECIMAL_SI));
		api_quantity_set(arena, allocatable, name, quantity_of(healthy, QUANTITY_DECIMAL_SI));
	}
	pthread_mutex_unlock(&m->lock);
}

static const struct device *find_device(const struct device_manager *m, const char *resource_name, const char *id) {
	const struct resource *resource = map_get(&m->resources, resource_name);
	for (size_t i = 0; resource && i < resource->devices.len; i++)
		if (str_equal(resource->devices.items[i].id, id))
			return &resource->devices.items[i];
	return NULL;
}

void device_manager_each(struct device_manager *m, const char *pod_uid, const char *container, void (*fn)(const struct device_seen *seen, void *arg), void *arg) {
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	for (size_t i = 0; pod_uid && i < m->holding_count; i++) {
		const struct holding *h = m->holdings[i];
		for (size_t k = 0; k < h->count && str_equal(h->pod_uid, pod_uid) && str_equal(h->container, container); k++) {
			const struct device *device = find_device(m, h->resource, h->ids[k]);
			fn(&(struct device_seen){.resource = h->resource, .id = h->ids[k], .nodes = device ? device->nodes : NULL, .node_count = device ? device->node_count : 0, .unhealthy = device && !device->healthy}, arg);
		}
	}
	struct map_entry *e;
	for (size_t pos = 0; !pod_uid && (e = map_next(&m->resources, &pos));) {
		const struct resource *resource = e->value;
		for (size_t i = 0; i < resource->devices.len; i++) {
			const struct device *device = &resource->devices.items[i];
			if (device->healthy)
				fn(&(struct device_seen){.resource = resource->name, .id = device->id, .nodes = device->nodes, .node_count = device->node_count}, arg);
		}
	}
	pthread_mutex_unlock(&m->lock);
}

/* ---- giving ---- */

/* One container's wish for one resource, while it is dealt with. */
struct wish {
	const struct core_v1_pod *pod;
	const struct core_v1_container *container;
	const char *resource;
	int64_t count;
	bool lends;
	uint64_t nodes; /* NUMA nodes it should be on; 0: any */
	/* NULL terminated, copies; the first `near_count` of the available are where they should be */
	char **chosen, **available;
	size_t chosen_count, available_count, near_count;
	struct plugin *plugin;
};

static void strings_free(char **list) {
	for (size_t i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

static void choose(struct wish *w, const char *id) {
	for (size_t i = 0; i < w->chosen_count; i++)
		if (str_equal(w->chosen[i], id))
			return;
	if ((int64_t)w->chosen_count < w->count)
		w->chosen[w->chosen_count++] = xstrdup(id);
}

static void wish_done(struct wish *w) {
	strings_free(w->chosen);
	strings_free(w->available);
	plugin_unref(w->plugin);
}

bool device_is_among(char *const *ids, const char *id) {
	for (size_t i = 0; ids && ids[i]; i++)
		if (str_equal(ids[i], id))
			return true;
	return false;
}

bool device_is_taken(const struct device_manager *m, const char *resource, const char *id, const char *pod) {
	for (size_t i = 0; i < m->holding_count; i++) {
		const struct holding *h = m->holdings[i];
		if (str_equal(h->resource, resource) && device_is_among(h->ids, id) && !(h->lent && str_equal(h->pod_uid, pod)))
			return true;
	}
	return false;
}

static struct holding *find_holding(const struct device_manager *m, const char *pod, const char *container, const char *resource) {
	for (size_t i = 0; i < m->holding_count; i++)
		if (str_equal(m->holdings[i]->pod_uid, pod) && str_equal(m->holdings[i]->container, container) && str_equal(m->holdings[i]->resource, resource))
			return m->holdings[i];
	return NULL;
}

/* What init containers lend is taken first; then what is free and healthy may be had. Locked. */
static int look_around(struct device_manager *m, struct wish *w, struct error *err) {
	const char *uid = w->pod->metadata.uid;
	const struct resource *resource = map_get(&m->resources, w->resource);
	w->chosen = xcalloc((size_t)w->count + 1, sizeof(*w->chosen));
	w->available = xcalloc(resource->devices.len + 1, sizeof(*w->available));
	for (size_t i = 0; i < m->holding_count; i++) {
		const struct holding *h = m->holdings[i];
		for (size_t k = 0; h->lent && str_equal(h->pod_uid, uid) && str_equal(h->resource, w->resource) && k < h->count; k++)
			if (!device_is_taken(m, w->resource, h->ids[k], uid))
				choose(w, h->ids[k]);
	}
	bool has_place = w->nodes && device_has_place(resource);
	/* The near ones first, those last that do not say where they are. */
	for (int distance = 0; distance <= 2; distance++) {
		for (size_t i = 0; i < resource->devices.len; i++) {
			const struct device *device = &resource->devices.items[i];
			if (device->healthy && (has_place ? device_distance(device, w->nodes) : 2) == distance && !device_is_taken(m, w->resource, device->id, uid) && !device_is_among(w->chosen, device->id))
				w->available[w->available_count++] = xstrdup(device->id);
		}
		if (distance == 0)
			w->near_count = w->available_count;
	}
	if (w->count - (int64_t)w->chosen_count > (int64_t)w->available_count)
		return error_set(err, EPERM, "requested number of devices unavailable for %s. Requested: %lld, Available: %zu", w->resource, (long long)(w->count - (int64_t)w->chosen_count), w->available_count);
	w->plugin = plugin_ref(resource->plugin);
	return w->plugin ? 0 : error_set(err, EPERM, "can't allocate unregistered device %s", w->resource);
}

/* The plugin may know which go together: of the first `offered` of what is available. */
static int ask_preferred(struct wish *w, size_t offered, struct error *err) {
	size_t needed = (size_t)w->count - w->chosen_count;
	if (!plugin_options(w->plugin).preferred || !needed || offered <= needed)
		return 0;
	char **preferred = NULL, **all = xcalloc(offered + w->chosen_count + 1, sizeof(*all));
	size_t count = 0;
	for (size_t i = 0; i < w->chosen_count; i++)
		all[count++] = w->chosen[i];
	for (size_t i = 0; i < offered; i++)
		if (!device_is_among(w->chosen, w->available[i]))
			all[count++] = w->available[i];
	int r = plugin_preferred(w->plugin, (const char *const *)all, (const char *const *)w->chosen, (size_t)w->count, &preferred, err);
	for (size_t i = 0; r == 0 && preferred[i]; i++)
		if (device_is_among(all, preferred[i]))
			choose(w, preferred[i]);
	free(all);
	strings_free(preferred);
	return r;
}

/* Those that are where they should be go before the plugin's wishes. */
static int choose_all(struct wish *w, struct error *err) {
	bool all_near = (size_t)w->count - w->chosen_count < w->near_count;
	for (size_t i = 0; !all_near && i < w->near_count; i++)
		choose(w, w->available[i]);
	int r = ask_preferred(w, all_near ? w->near_count : w->available_count, err);
	for (size_t i = 0; r == 0 && i < w->available_count; i++)
		choose(w, w->available[i]);
	return r;
}

static int fulfil(struct device_manager *m, struct wish *w, struct error *err) {
	autobuf struct buf answer = BUF_INIT(MAX_ANSWER), text = BUF_INIT(MAX_ANSWER * 2);
	autoarena struct arena *arena = arena_new();
	struct device_grant probe = {0};
	pthread_mutex_lock(&m->lock);
	int r = look_around(m, w, err);
	pthread_mutex_unlock(&m->lock);
	if (r == 0)
		r = choose_all(w, err);
	if (r == 0)
		r = plugin_allocate(w->plugin, (const char *const *)w->chosen, &answer, err);
	if (r == 0)
		r = device_allocated_read(answer.data, answer.len, arena, &probe, err);
	if (r < 0)
		return r;
	buf_append_base64(&text, answer.data, answer.len);
	struct holding *h = xnew(struct holding);
	*h = (struct holding){.pod_uid = xstrdup(w->pod->metadata.uid), .container = xstrdup(w->container->name), .resource = xstrdup(w->resource), .ids = take_ptr(w->chosen), .count = w->chosen_count, .lent = w->lends,
			      .answer = xstrdup(text.data ? text.data : "")};
	pthread_mutex_lock(&m->lock);
	holding_add(m, h);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

int device_manager_allocate(struct device_manager *m, const struct core_v1_pod *pod, const struct core_v1_container *container, bool lends, uint64_t nodes, bool *changed, struct error *err) {
	int r = 0;
	for (uint32_t i = 0; m && r == 0 && i < container->resources.limits.len; i++) {
		const char *name = container->resources.limits.items[i].key;
		struct wish wish = {.pod = pod, .container = container, .resource = name, .count = quantity_value(&container->resources.limits.items[i].value), .lends = lends, .nodes = nodes};
		pthread_mutex_lock(&m->lock);
		bool ours = map_get(&m->resources, name), have = ours && find_holding(m, pod->metadata.uid, container->name, name);
		pthread_mutex_unlock(&m->lock);
		if (!ours || have || wish.count <= 0 || wish.count > DEVICE_MAX_DEVICES)
			continue;
		*changed = true;
		r = fulfil(m, &wish, err);
		wish_done(&wish);
	}
	return r;
}

int device_manager_keep(struct device_manager *m, struct error *err) {
	pthread_mutex_lock(&m->lock);
	int r = save(m, err);
	pthread_mutex_unlock(&m->lock);
	return r;
}

static void forget(struct device_manager *m, const char *pod_uid) {
	autoerror struct error err = {0};
	if (!m)
		return;
	pthread_mutex_lock(&m->lock);
	if (m->holding_count && drop(m, pod_uid) && save(m, &err) < 0)
		log_warning("devices that were given back cannot be kept in mind", LOG_ERR(&err));
	pthread_mutex_unlock(&m->lock);
}

void device_manager_release(struct device_manager *m, const char *pod_uid) {
	forget(m, pod_uid);
}

void device_manager_tidy(struct device_manager *m) {
	forget(m, NULL);
}

/* ---- laying them into a container ---- */

static int add_answer(const char *answer, struct arena *arena, struct device_grant *ret, struct error *err) {
	uint8_t *data = NULL;
	size_t len;
	if (base64_decode(answer, strlen(answer), MAX_ANSWER, &data, &len) < 0)
		return error_set(err, EBADMSG, "what a device plugin said is spoilt");
	int r = device_allocated_read(data, len, arena, ret, err);
	free(data);
	return r;
}

int device_manager_grant(struct device_manager *m, const struct core_v1_pod *pod, const char *container, struct arena *arena, struct device_grant *ret, struct error *err) {
	*ret = (struct device_grant){0};
	if (!m)
		return 0;
	int r = 0;
	for (size_t at = 0;; at++) {
		/* The list may change while a plugin is asked: by position among this container's own, which does not. */
		size_t found = 0;
		struct plugin *plugin = NULL;
		char **ids = NULL;
		pthread_mutex_lock(&m->lock);
		const struct holding *h = NULL;
		for (size_t i = 0; i < m->holding_count && !h; i++)
			if (str_equal(m->holdings[i]->pod_uid, pod->metadata.uid) && str_equal(m->holdings[i]->container, container) && found++ == at)
				h = m->holdings[i];
		if (h) {
			const struct resource *resource = map_get(&m->resources, h->resource);
			r = add_answer(h->answer, arena, ret, err);
			if (resource && resource->plugin && plugin_options(resource->plugin).pre_start) {
				plugin = plugin_ref(resource->plugin);
				ids = xcalloc(h->count + 1, sizeof(*ids));
				for (size_t i = 0; i < h->count; i++)
					ids[i] = xstrdup(h->ids[i]);
			}
		}
		pthread_mutex_unlock(&m->lock);
		if (r == 0 && plugin && (r = plugin_pre_start(plugin, (const char *const *)ids, err)) < 0)
			error_context(err, "device plugin PreStartContainer rpc failed with err");
		plugin_unref(plugin);
		strings_free(ids);
		if (!h || r < 0)
			return r;
	}
}
