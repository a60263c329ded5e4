/* SPDX-License-Identifier: Apache-2.0 */
/* One device plugin that registered: its stream of devices on a thread of its own, and the calls to it. */
#ifndef CORACLE_KUBELET_DEVICE_PLUGIN_H
#define CORACLE_KUBELET_DEVICE_PLUGIN_H

#include "kubelet/device/messages.h"

struct plugin;
struct plugin_events {
	/* On the plugin's thread. Takes the devices. */
	void (*on_devices)(struct plugin *plugin, struct device_list *take_devices, void *arg);
	void (*on_end)(struct plugin *plugin, void *arg); /* its stream ended: never called after plugin_free() began */
	void *arg;
};
/* Counted: one for the caller. */
struct plugin *plugin_start(const char *socket, const char *resource, const struct device_options *options, const struct plugin_events *events);
struct plugin *plugin_ref(struct plugin *plugin);
void plugin_unref(struct plugin *plugin);
/* Ends the stream and waits for it; not on the plugin's own thread. */
void plugin_stop(struct plugin *plugin);
const char *plugin_resource(const struct plugin *plugin);
struct device_options plugin_options(const struct plugin *plugin);

/* Calls, that block. ids NULL terminated. */
int plugin_allocate(struct plugin *plugin, const char *const *ids, struct buf *ret, struct error *err);
int plugin_preferred(struct plugin *plugin, const char *const *available, const char *const *required, size_t count, char ***ret, struct error *err);
int plugin_pre_start(struct plugin *plugin, const char *const *ids, struct error *err);

#endif
