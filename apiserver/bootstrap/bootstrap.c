/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/bootstrap/bootstrap.h"
#include "apiserver/aggregator/aggregator.h"
#include "apiserver/authn/legacy.h"
#include "apiserver/bootstrap/internal.h"
#include "apiserver/bootstrap/rbac.h"
#include "apiserver/flow/flow.h"
#include "apiserver/request/request.h"
#include "apiserver/services/services.h"
#include "apiserver/worker.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "common/base/file.h"
#include "common/base/log.h"

#include <errno.h>
#include <fcntl.h>

#define RETRY_NS (2 * NSEC_PER_SEC)
#define ROUNDS_A_MINUTE 6

/* ---- what is not there is created; what is there is brought up to date where its owner lets us ---- */

int bootstrap_put(struct worker *worker, const struct resource *resource, void *object) {
	api_default(object);
	worker_fill(resource, object);
	int rc = worker_put_object(worker, resource, object, 0);
	return rc == -EEXIST ? 0 : rc;
}

int bootstrap_converge(struct worker *worker, const struct resource *resource, void *object, const char *const *fields) {
	struct meta_v1_object_meta *meta = api_metadata(object);
	autounref void *there = resource_read(resource, meta->namespace, meta->name);
	if (!there)
		return bootstrap_put(worker, resource, object);
	bool same = true;
	for (const char *const *f = fields; *f; f++)
		same &= api_field_equal(object, there, *f);
	if (same)
		return 0;
	autounref void *copy = api_copy(there);
	for (const char *const *f = fields; *f; f++)
		api_field_copy(copy, object, *f);
	return worker_put_object(worker, resource, copy, worker_revision(there));
}

static int ensure(struct worker *worker, const char *json, size_t len) {
	autounref void *object = NULL;
	autoerror struct error err = {0};
	int rc = api_decode_json_any(json, len, NULL, &object, &err);
	if (rc < 0) {
		log_error("bootstrap object cannot be read", LOG_ERR(&err));
		return 0; /* the table's mistake; trying again would not mend it */
	}
	struct registry *registry = worker_server(worker)->registry;
	const struct api_type *type = api_type_of(object);
	const struct resource *resource = registry_by_kind(registry, type->group ? type->group : "", type->version, type->kind);
	if (!resource || !resource->collection)
		return 0;
	struct meta_v1_object_meta *meta = api_metadata(object);
	autounref void *there = resource_read(resource, meta->namespace, meta->name);
	return there ? bootstrap_reconcile(worker, resource, object, there) : bootstrap_put(worker, resource, object);
}

static int ensure_rbac(struct worker *worker) {
	int rc = 0;
	for (const struct bootstrap_role *role = bootstrap_roles; role->name && rc == 0; role++) {
		autobuf struct buf json = BUF_INIT(1 << 20);
		bootstrap_role_json(role, &json);
		rc = ensure(worker, json.data, json.len);
	}
	for (const struct bootstrap_binding *binding = bootstrap_bindings; binding->name && rc == 0; binding++) {
		autobuf struct buf json = BUF_INIT(1 << 20);
		bootstrap_binding_json(binding, &json);
		rc = ensure(worker, json.data, json.len);
	}
	return rc;
}

/* ---- the ranges of Services, and the first of them ---- */

static int ensure_ranges(struct worker *worker) {
	autobuf struct buf json = BUF_INIT(8 << 10);
	buf_append_str(&json, "{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"ServiceCIDR\",\"metadata\":{\"name\":\"kubernetes\"},\"spec\":{\"cidrs\":[");
	services_ranges_json(worker_server(worker), &json);
	buf_append_str(&json, "]}}");
	int rc = ensure(worker, json.data, json.len);
	/* Once more for its status, which no new object has. */
	return rc < 0 ? rc : ensure(worker, json.data, json.len);
}

static int ensure_service(struct worker *worker) {
	struct apiserver *server = worker_server(worker);
	char ip[46];
	services_first_ip(server, ip);
	autobuf struct buf address = BUF_INIT(8 << 10);
	services_address_json(ip, "default", "kubernetes", &address);
	const struct resource *addresses = registry_find(server->registry, "networking.k8s.io", "v1", "ipaddresses");
	autounref void *there = registry_read(server->registry, "", "services", "default", "kubernetes");
	int rc = there ? 0 : worker_put(worker, addresses->collection, ip, address.data, address.len, 0, 0);
	if (there || (rc < 0 && rc != -EEXIST))
		return rc;
	autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"kubernetes\",\"namespace\":\"default\",\"labels\":{\"component\":\"apiserver\",\"provider\":\"kubernetes\"}},"
				      "\"spec\":{\"type\":\"ClusterIP\",\"clusterIP\":\"%s\",\"ipFamilyPolicy\":\"SingleStack\",\"sessionAffinity\":\"None\",\"ports\":[{\"name\":\"https\",\"protocol\":\"TCP\",\"port\":443,\"targetPort\":%u}]}}",
				      ip, server->port);
	void *object = NULL;
	autoerror struct error why = {0};
	if (api_decode_json_any(json, strlen(json), NULL, &object, &why) < 0)
		return log_error("bootstrap object cannot be read", LOG_ERR(&why)), 0;
	autounref struct core_v1_service *service = object;
	const struct resource *services = registry_find(server->registry, "", "v1", "services");
	api_default(service);
	worker_fill(services, service);
	/* What follows from the address is nobody's. */
	if (!service->spec.cluster_ips.len)
		api_string_list_add(api_arena(service), &service->spec.cluster_ips, service->spec.cluster_ip);
	if (!service->spec.ip_families.len)
		api_string_list_add(api_arena(service), &service->spec.ip_families, strchr(ip, ':') ? "IPv6" : "IPv4");
	rc = worker_put_object(worker, services, service, 0);
	return rc == -EEXIST ? 0 : rc;
}

/* kube-system/extension-apiserver-authentication: what aggregated servers trust. */
static int ensure_authentication_config(struct worker *worker) {
	struct apiserver *server = worker_server(worker);
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
		{"requestheader-uid-headers", &o->requestheader_uid_headers},
	};
	for (size_t i = 0; !str_empty(o->requestheader_client_ca_file) && i < array_len(lists); i++) {
		if (lists[i].list == &o->requestheader_uid_headers && !lists[i].list->len)
			continue; /* none are told of */
		json_t *array = json_array();
		for (size_t n = 0; n < lists[i].list->len; n++)
			json_array_append_new(array, json_string(lists[i].list->items[n]));
		char *text = json_dumps(array, JSON_COMPACT);
		api_map_set(arena, &map->data, lists[i].key, text);
		free(text);
		json_decref(array);
	}
	static const char *const data[] = {"data", NULL};
	int rc = bootstrap_converge(worker, registry_find(server->registry, "", "v1", "configmaps"), map, data);
	api_unref(map);
	return rc;
}

/* Since when the use of tokens in Secrets is written down: before that day, no label says nothing. */
static int ensure_token_tracking(struct worker *worker) {
	char today[16];
	legacy_today(today);
	autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"kube-apiserver-legacy-service-account-token-tracking\",\"namespace\":\"kube-system\"},\"data\":{\"since\":\"%s\"}}", today);
	autounref void *there = registry_read(worker_server(worker)->registry, "", "configmaps", "kube-system", "kube-apiserver-legacy-service-account-token-tracking");
	return there ? 0 : ensure(worker, json, strlen(json));
}

/* In order: later ones live in the namespaces of earlier ones. Run again each minute, some of it: somebody may have deleted what must be there. */
static int write_all(struct worker *worker, bool first) {
	int rc = first ? worker_fresh(worker) : 0;
	for (const char *const *json = bootstrap_objects; *json && rc == 0; json++)
		rc = ensure(worker, *json, strlen(*json));
	if (rc == 0 && first)
		rc = ensure_rbac(worker);
	if (rc == 0 && first)
		rc = aggregator_register(worker);
	if (rc == 0)
		rc = ensure_ranges(worker);
	if (rc == 0)
		rc = ensure_service(worker);
	if (rc == 0)
		rc = ensure_authentication_config(worker);
	if (rc == 0)
		rc = ensure_token_tracking(worker);
	return rc;
}

static void run(struct worker *worker, void *arg) {
	struct apiserver *server = arg;
	int rc;
	/* Another server at its start may write the same objects: a lost comparison is looked at again at once. */
	while ((rc = write_all(worker, true)) < 0) {
		if (rc == -ECANCELED)
			return;
		if (rc != -EAGAIN)
			log_warning("bootstrap objects could not be written; trying again", LOG_STR("error", strerror(-rc)));
		if (!worker_sleep(worker, rc == -EAGAIN ? RETRY_NS / 40 : RETRY_NS))
			return;
	}
	services_ready(server);
	flow_ready(server);
	server->membership = membership_start(worker);
	__atomic_store_n(&server->ready, true, __ATOMIC_RELEASE);
	log_info("bootstrap objects are in place");
	for (unsigned round = 1; worker_sleep(worker, MEMBERSHIP_INTERVAL_NS); round++) {
		membership_renew(server->membership);
		rc = round % ROUNDS_A_MINUTE == 0 ? write_all(worker, false) : 0;
		if (rc < 0 && rc != -ECANCELED && rc != -EAGAIN)
			log_warning("bootstrap objects could not be written", LOG_STR("error", strerror(-rc)));
	}
}

void bootstrap_start(struct apiserver *server) {
	server->bootstrap = worker_start(server, run, server);
}

void bootstrap_stop(struct apiserver *server) {
	worker_stop(server->bootstrap);
	server->bootstrap = NULL;
	membership_stop(server->membership);
	server->membership = NULL;
}
