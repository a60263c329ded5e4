/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/bootstrap/bootstrap.h"
#include "apiserver/bootstrap/rbac.h"
#include "apiserver/request/request.h"
#include "apiserver/servicealloc.h"
#include "apiserver/strategy/strategy.h"
#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/meta_v1.h"
#include "api/rbac_v1.h"
#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>

#define RETRY_SECONDS 2

/* One thread of its own: it may wait for each write, which no request's thread may. */
struct boot {
	struct apiserver *server;
	pthread_t thread;
	bool started;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool answered, stop;
	int errnum;
};
static struct boot boot = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void on_written(int errnum, struct entry *current, void *arg) {
	pthread_mutex_lock(&boot.lock);
	boot.answered = true;
	boot.errnum = errnum;
	pthread_cond_signal(&boot.changed);
	pthread_mutex_unlock(&boot.lock);
}

static int wait_written(void) {
	pthread_mutex_lock(&boot.lock);
	while (!boot.answered && !boot.stop)
		pthread_cond_wait(&boot.changed, &boot.lock);
	int rc = boot.answered ? boot.errnum : -ECANCELED;
	boot.answered = false;
	pthread_mutex_unlock(&boot.lock);
	return rc;
}

static int put(const struct resource *resource, void *object, uint64_t expected) {
	const struct meta_v1_object_meta *meta = api_metadata(object);
	autobuf struct buf value = BUF_INIT(1 << 20);
	int rc = resource_encode_stored(resource, object, &value, NULL);
	if (rc < 0)
		return rc;
	autofree char *key = resource->api->namespaced ? xprintf("%s/%s", meta->namespace, meta->name) : xstrdup(meta->name);
	collection_put(resource->collection, key, value.data, value.len, expected, 0, on_written, NULL);
	return wait_written();
}

static void fill(const struct resource *resource, void *object) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	char uid[37];
	random_uuid(uid);
	meta->uid = arena_strdup(api_arena(object), uid);
	meta->creation_timestamp = api_time_now();
	if (resource->strategy->generation)
		meta->generation = 1;
	if (resource->strategy->prepare_create)
		resource->strategy->prepare_create(NULL, object);
}

/* Creates what is not there; what is there is its owner's. -EEXIST counts as done. */
static int ensure(struct apiserver *server, const char *json, size_t len) {
	void *object;
	autoerror struct error err = {0};
	int rc = api_decode_json_any(json, len, NULL, &object, &err);
	if (rc < 0) {
		log_error("bootstrap object cannot be read", LOG_ERR(&err));
		return 0; /* the table's mistake; trying again would not mend it */
	}
	const struct api_type *type = api_type_of(object);
	const struct resource *resource = registry_by_kind(server->registry, type->group ? type->group : "", type->version, type->kind);
	struct meta_v1_object_meta *meta = api_metadata(object);
	if (resource && resource->collection) {
		void *there = resource_read(resource, meta->namespace, meta->name);
		if (!there) {
			api_default(object);
			fill(resource, object);
			rc = put(resource, object, 0);
		}
		api_unref(there);
	}
	api_unref(object);
	return rc == -EEXIST ? 0 : rc;
}

static int ensure_rbac(struct apiserver *server) {
	int rc = 0;
	for (const struct bootstrap_role *role = bootstrap_roles; role->name && rc == 0; role++) {
		autobuf struct buf json = BUF_INIT(1 << 20);
		bootstrap_role_json(role, &json);
		rc = ensure(server, json.data, json.len);
	}
	for (const struct bootstrap_binding *binding = bootstrap_bindings; binding->name && rc == 0; binding++) {
		autobuf struct buf json = BUF_INIT(1 << 20);
		bootstrap_binding_json(binding, &json);
		rc = ensure(server, json.data, json.len);
	}
	return rc;
}

/* ---- the kubernetes Service and where it leads ---- */

static int ensure_service(struct apiserver *server) {
	char ip[46];
	servicealloc_first_ip(server, ip);
	autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"component\":\"apiserver\",\"provider\":\"kubernetes\"}},"
				      "\"spec\":{\"type\":\"ClusterIP\",\"clusterIP\":\"%s\",\"clusterIPs\":[\"%s\"],\"ipFamilies\":[\"%s\"],\"ipFamilyPolicy\":\"SingleStack\",\"sessionAffinity\":\"None\",\"ports\":[{\"name\":\"https\",\"protocol\":\"TCP\",\"port\":443,\"targetPort\":%u}]}}",
				      ip, ip, strchr(ip, ':') ? "IPv6" : "IPv4", server->port);
	return ensure(server, json, strlen(json));
}

/* Puts `object` where nothing is, or over what is there where it differs in `field`. */
static int converge(const struct resource *resource, void *object, const char *const *fields) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	void *there = resource_read(resource, meta->namespace, meta->name);
	int rc;
	if (!there) {
		fill(resource, object);
		rc = put(resource, object, 0);
	} else {
		bool same = true;
		for (const char *const *f = fields; *f; f++)
			same &= api_field_equal(object, there, *f);
		rc = 0;
		if (!same) {
			void *copy = api_copy(there);
			for (const char *const *f = fields; *f; f++)
				api_field_copy(copy, object, *f);
			rc = put(resource, copy, strtoull(api_metadata(there)->resource_version, NULL, 10));
			api_unref(copy);
		}
	}
	api_unref(there);
	return rc;
}

static int ensure_endpoints(struct apiserver *server) {
	const char *ip = server->advertise_address;
	autofree char *endpoints = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Endpoints\",\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"endpointslice.kubernetes.io/skip-mirror\":\"true\"}},"
					   "\"subsets\":[{\"addresses\":[{\"ip\":\"%s\"}],\"ports\":[{\"name\":\"https\",\"port\":%u,\"protocol\":\"TCP\"}]}]}", ip, server->port);
	autofree char *slice = xprintf("{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/service-name\":\"kubernetes\"}},"
				       "\"addressType\":\"%s\",\"endpoints\":[{\"addresses\":[\"%s\"],\"conditions\":{\"ready\":true}}],\"ports\":[{\"name\":\"https\",\"port\":%u,\"protocol\":\"TCP\"}]}", strchr(ip, ':') ? "IPv6" : "IPv4", ip, server->port);
	static const char *const subsets[] = {"subsets", NULL}, *const slices[] = {"endpoints", "ports", "addressType", NULL};
	void *object;
	int rc = api_decode_json(&core_v1_endpoints_type, endpoints, strlen(endpoints), NULL, &object, NULL);
	if (rc == 0) {
		rc = converge(registry_find(server->registry, "", "v1", "endpoints"), object, subsets);
		api_unref(object);
	}
	if (rc == 0)
		rc = api_decode_json(&discovery_v1_endpoint_slice_type, slice, strlen(slice), NULL, &object, NULL);
	if (rc == 0) {
		rc = converge(registry_find(server->registry, "discovery.k8s.io", "v1", "endpointslices"), object, slices);
		api_unref(object);
	}
	return rc;
}

/* kube-system/extension-apiserver-authentication: what aggregated servers trust. */
static int ensure_authentication_config(struct apiserver *server) {
	const struct apiserver_options *o = server->options;
	struct core_v1_config_map *map = api_new_of(core_v1_config_map);
	struct arena *arena = api_arena(map);
	map->metadata.name = "extension-apiserver-authentication";
	map->metadata.namespace = "kube-system";
	struct { const char *key, *path; } files[] = {{"client-ca-file", o->client_ca_file}, {"requestheader-client-ca-file", o->requestheader_client_ca_file}};
	for (size_t i = 0; i < array_len(files); i++) {
		autofree char *text = NULL;
		size_t len;
		if (!str_empty(files[i].path) && file_read(AT_FDCWD, files[i].path, 1 << 20, &text, &len, NULL) == 0)
			api_map_set(arena, &map->data, files[i].key, text);
	}
	const struct { const char *key; const struct flag_list *list; } lists[] = {
		{"requestheader-allowed-names", &o->requestheader_allowed_names},
		{"requestheader-extra-headers-prefix", &o->requestheader_extra_headers_prefix},
		{"requestheader-group-headers", &o->requestheader_group_headers},
		{"requestheader-username-headers", &o->requestheader_username_headers},
	};
	for (size_t i = 0; !str_empty(o->requestheader_client_ca_file) && i < array_len(lists); i++) {
		json_t *array = json_array();
		for (size_t n = 0; n < lists[i].list->len; n++)
			json_array_append_new(array, json_string(lists[i].list->items[n]));
		char *text = json_dumps(array, JSON_COMPACT);
		api_map_set(arena, &map->data, lists[i].key, text);
		free(text);
		json_decref(array);
	}
	static const char *const data[] = {"data", NULL};
	int rc = converge(registry_find(server->registry, "", "v1", "configmaps"), map, data);
	api_unref(map);
	return rc;
}

static int write_all(struct apiserver *server) {
	int rc = 0;
	for (const char *const *json = bootstrap_objects; *json && rc == 0; json++)
		rc = ensure(server, *json, strlen(*json));
	if (rc == 0)
		rc = ensure_rbac(server);
	if (rc == 0)
		rc = ensure_service(server);
	if (rc == 0)
		rc = ensure_endpoints(server);
	if (rc == 0)
		rc = ensure_authentication_config(server);
	return rc;
}

static void *run(void *arg) {
	struct apiserver *server = arg;
	for (;;) {
		int rc = write_all(server);
		if (rc == 0) {
			__atomic_store_n(&server->ready, true, __ATOMIC_RELEASE);
			log_info("bootstrap objects are in place");
			return NULL;
		}
		if (rc != -ECANCELED)
			log_warning("bootstrap objects could not be written; trying again", LOG_STR("error", strerror(-rc)));
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec += RETRY_SECONDS;
		pthread_mutex_lock(&boot.lock);
		while (!boot.stop && pthread_cond_timedwait(&boot.changed, &boot.lock, &until) != ETIMEDOUT)
			;
		bool stop = boot.stop;
		pthread_mutex_unlock(&boot.lock);
		if (stop)
			return NULL;
	}
}

void bootstrap_start(struct apiserver *server) {
	boot.server = server;
	boot.started = pthread_create(&boot.thread, NULL, run, server) == 0;
}

void bootstrap_stop(struct apiserver *server) {
	if (!boot.started)
		return;
	pthread_mutex_lock(&boot.lock);
	boot.stop = true;
	pthread_cond_signal(&boot.changed);
	pthread_mutex_unlock(&boot.lock);
	pthread_join(boot.thread, NULL);
	boot.started = false;
}
