/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/device/plugin.h"

#include "common/base/log.h"
#include "kubelet/grpc/client.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define METHOD(name) "/v1beta1.DevicePlugin/" name
#define ALLOCATE_MS 60000
#define PRE_START_MS 30000

struct plugin {
	char *socket, *resource;
	struct device_options options;
	struct plugin_events events;
	pthread_t thread;
	int stop_fd;
	atomic_uint refs;
};

static bool take_devices(const void *data, size_t len, void *arg) {
	struct plugin *plugin = arg;
	struct device_list list;
	if (device_list_read(data, len, &list) < 0)
		return false;
	plugin->events.on_devices(plugin, &list, plugin->events.arg);
	return true;
}

static void *watch(void *arg) {
	struct plugin *plugin = arg;
	autoerror struct error err = {0};
	const struct grpc_call call = {.socket = plugin->socket, .method = METHOD("ListAndWatch"), .cancel_fd = plugin->stop_fd, .on_message = take_devices, .arg = plugin};
	if (grpc_call(&call, &err) < 0)
		log_warning("device plugin went away", LOG_STR("resource", plugin->resource), LOG_ERR(&err));
	else
		log_warning("device plugin ended its list", LOG_STR("resource", plugin->resource));
	plugin->events.on_end(plugin, plugin->events.arg);
	return NULL;
}

struct plugin *plugin_start(const char *socket, const char *resource, const struct device_options *options, const struct plugin_events *events) {
	struct plugin *plugin = xnew(struct plugin);
	*plugin = (struct plugin){.socket = xstrdup(socket), .resource = xstrdup(resource), .options = *options, .events = *events, .stop_fd = eventfd(0, EFD_CLOEXEC)};
	atomic_init(&plugin->refs, 1);
	if (plugin->stop_fd < 0 || pthread_create(&plugin->thread, NULL, watch, plugin) != 0)
		abort();
	return plugin;
}

struct plugin *plugin_ref(struct plugin *plugin) {
	if (plugin)
		atomic_fetch_add(&plugin->refs, 1);
	return plugin;
}

void plugin_unref(struct plugin *plugin) {
	if (!plugin || atomic_fetch_sub(&plugin->refs, 1) != 1)
		return;
	close(plugin->stop_fd);
	free(plugin->socket);
	free(plugin->resource);
	free(plugin);
}

void plugin_stop(struct plugin *plugin) {
	uint64_t one = 1;
	if (write(plugin->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort();
	pthread_join(plugin->thread, NULL);
}

const char *plugin_resource(const struct plugin *plugin) {
	return plugin->resource;
}

struct device_options plugin_options(const struct plugin *plugin) {
	return plugin->options;
}

int plugin_allocate(struct plugin *plugin, const char *const *ids, struct buf *ret, struct error *err) {
	autobuf struct buf request = BUF_INIT(GRPC_MAX_MESSAGE);
	device_put_allocate(&request, ids);
	return grpc_call_unary(plugin->socket, METHOD("Allocate"), &request, ALLOCATE_MS, ret, err);
}

int plugin_preferred(struct plugin *plugin, const char *const *available, const char *const *required, size_t count, char ***ret, struct error *err) {
	autobuf struct buf request = BUF_INIT(GRPC_MAX_MESSAGE), answer = BUF_INIT(GRPC_MAX_MESSAGE);
	device_put_preferred(&request, available, required, count);
	int r = grpc_call_unary(plugin->socket, METHOD("GetPreferredAllocation"), &request, ALLOCATE_MS, &answer, err);
	if (r < 0)
		return r;
	r = device_preferred_read(answer.data, answer.len, ret);
	return r < 0 ? error_set_errno(err, r, "the preferred devices cannot be read") : 0;
}

int plugin_pre_start(struct plugin *plugin, const char *const *ids, struct error *err) {
	autobuf struct buf request = BUF_INIT(GRPC_MAX_MESSAGE), answer = BUF_INIT(GRPC_MAX_MESSAGE);
	device_put_ids(&request, ids);
	return grpc_call_unary(plugin->socket, METHOD("PreStartContainer"), &request, PRE_START_MS, &answer, err);
}
