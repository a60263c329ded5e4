/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/world.h"

#include "controller-manager/shared/owners.h"

#include <errno.h>
#include <stdio.h>

#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/resource_v1.h"

#define METADATA_PATCH_MAX ((size_t)1 << 20)
#define STATUS_PATCH_MAX ((size_t)1 << 20)

static const struct informer_options root_ca_only = {.field_selector = "metadata.name=kube-root-ca.crt"};
static const struct informer_options cluster_info_only = {.ns = "kube-public", .field_selector = "metadata.name=cluster-info"};
/*
 * A lease is renewed every ten seconds and may be late by forty: two or three are nothing (where nodes have less time, the lull is shorter: open_cache), and save a
 * wake-up for each. A thousand nodes say little else all day: of a renewal no more is read than whose it is, and when.
 */
static const char *const unread_of_leases[] = {"meta/v1.ObjectMeta.creationTimestamp", "meta/v1.ObjectMeta.labels",
	"coordination/v1.LeaseSpec.acquireTime", "coordination/v1.LeaseSpec.leaseDurationSeconds", "coordination/v1.LeaseSpec.leaseTransitions", NULL};
static const struct informer_options node_leases_only = {.ns = "kube-node-lease", .lull_ms = 2500, .skip = unread_of_leases, .beat = "spec.renewTime"};

/* What no controller reads of a pod. Pods are many: they are kept packed, and written by patches of what changes. */
static const char *const unread_of_pods[] = {"core/v1.Container.command", "core/v1.Container.args", "core/v1.Container.workingDir", "core/v1.Container.env",
	"core/v1.Container.envFrom", "core/v1.Container.volumeMounts", "core/v1.Container.volumeDevices", "core/v1.Container.livenessProbe",
	"core/v1.Container.readinessProbe", "core/v1.Container.startupProbe", "core/v1.Container.lifecycle", "core/v1.Container.securityContext",
	"core/v1.Container.terminationMessagePath", "core/v1.Container.terminationMessagePolicy", "core/v1.Container.imagePullPolicy", "core/v1.PodSpec.securityContext",
	"core/v1.PodSpec.imagePullSecrets", "core/v1.PodSpec.dnsConfig", "core/v1.PodSpec.dnsPolicy", "core/v1.PodSpec.hostAliases",
	"core/v1.PodSpec.topologySpreadConstraints", "core/v1.PodSpec.enableServiceLinks", "core/v1.PodSpec.schedulerName", "core/v1.PodSpec.preemptionPolicy",
	"core/v1.ContainerStatus.image", "core/v1.ContainerStatus.imageID", "core/v1.ContainerStatus.containerID", "core/v1.ContainerStatus.allocatedResources",
	"core/v1.ContainerStatus.resources", "core/v1.ContainerStatus.volumeMounts", "core/v1.ContainerStatus.user", "core/v1.VolumeSource.projected",
	"core/v1.VolumeSource.configMap", "core/v1.VolumeSource.secret", "core/v1.VolumeSource.downwardAPI", "core/v1.VolumeSource.emptyDir",
	"core/v1.VolumeSource.hostPath", NULL};
static const struct informer_options packed_pods = {.skip = unread_of_pods, .packed = true};

static const struct cached_row {
	const char *group, *plural;
	const struct informer_options *options;
	struct {
		const char *name;
		informer_index_fn fn;
	} indexes[3];
} rows[CACHED_COUNT] = {
	[CACHED_PODS] = {.group = "", .plural = "pods", .options = &packed_pods, .indexes = {{INDEX_OWNER, index_owner}, {INDEX_NODE, informer_index_pod_node}, {INDEX_CLAIM, index_claims}}},
	[CACHED_NODES] = {.group = "", .plural = "nodes"},
	[CACHED_NAMESPACES] = {.group = "", .plural = "namespaces"},
	[CACHED_SERVICES] = {.group = "", .plural = "services"},
	[CACHED_ENDPOINTS] = {.group = "", .plural = "endpoints"},
	[CACHED_ENDPOINT_SLICES] = {.group = "discovery.k8s.io", .plural = "endpointslices", .indexes = {{INDEX_SERVICE, index_service}}},
	[CACHED_REPLICATION_CONTROLLERS] = {.group = "", .plural = "replicationcontrollers"},
	[CACHED_SERVICE_ACCOUNTS] = {.group = "", .plural = "serviceaccounts"},
	[CACHED_SECRETS] = {.group = "", .plural = "secrets"},
	[CACHED_ROOT_CA_CONFIG_MAPS] = {.group = "", .plural = "configmaps", .options = &root_ca_only},
	[CACHED_CONFIG_MAPS] = {.group = "", .plural = "configmaps"},
	[CACHED_CLUSTER_INFO] = {.group = "", .plural = "configmaps", .options = &cluster_info_only},
	[CACHED_RESOURCE_QUOTAS] = {.group = "", .plural = "resourcequotas"},
	[CACHED_PERSISTENT_VOLUMES] = {.group = "", .plural = "persistentvolumes"},
	[CACHED_PERSISTENT_VOLUME_CLAIMS] = {.group = "", .plural = "persistentvolumeclaims"},
	[CACHED_DEPLOYMENTS] = {.group = "apps", .plural = "deployments"},
	[CACHED_REPLICA_SETS] = {.group = "apps", .plural = "replicasets", .indexes = {{INDEX_OWNER, index_owner}}},
	[CACHED_STATEFUL_SETS] = {.group = "apps", .plural = "statefulsets"},
	[CACHED_DAEMON_SETS] = {.group = "apps", .plural = "daemonsets"},
	[CACHED_CONTROLLER_REVISIONS] = {.group = "apps", .plural = "controllerrevisions", .indexes = {{INDEX_OWNER, index_owner}}},
	[CACHED_JOBS] = {.group = "batch", .plural = "jobs", .indexes = {{INDEX_OWNER, index_owner}}},
	[CACHED_CRON_JOBS] = {.group = "batch", .plural = "cronjobs"},
	[CACHED_LEASES] = {.group = "coordination.k8s.io", .plural = "leases", .options = &node_leases_only},
	[CACHED_POD_DISRUPTION_BUDGETS] = {.group = "policy", .plural = "poddisruptionbudgets"},
	[CACHED_HORIZONTAL_POD_AUTOSCALERS] = {.group = "autoscaling", .plural = "horizontalpodautoscalers"},
	[CACHED_CERTIFICATE_SIGNING_REQUESTS] = {.group = "certificates.k8s.io", .plural = "certificatesigningrequests"},
	[CACHED_CLUSTER_ROLES] = {.group = "rbac.authorization.k8s.io", .plural = "clusterroles"},
	[CACHED_SERVICE_CIDRS] = {.group = "networking.k8s.io", .plural = "servicecidrs"},
	[CACHED_IP_ADDRESSES] = {.group = "networking.k8s.io", .plural = "ipaddresses"},
	[CACHED_STORAGE_CLASSES] = {.group = "storage.k8s.io", .plural = "storageclasses"},
	[CACHED_VALIDATING_ADMISSION_POLICIES] = {.group = "admissionregistration.k8s.io", .plural = "validatingadmissionpolicies"},
	[CACHED_VOLUME_ATTRIBUTES_CLASSES] = {.group = "storage.k8s.io", .plural = "volumeattributesclasses"},
	[CACHED_RESOURCE_CLAIMS] = {.group = "resource.k8s.io", .plural = "resourceclaims", .indexes = {{INDEX_OWNER, index_owner}, {INDEX_POOL, index_pools}}},
	[CACHED_RESOURCE_CLAIM_TEMPLATES] = {.group = "resource.k8s.io", .plural = "resourceclaimtemplates"},
	[CACHED_RESOURCE_SLICES] = {.group = "resource.k8s.io", .plural = "resourceslices", .indexes = {{INDEX_POOL, index_pools}}},
	[CACHED_VOLUME_ATTACHMENTS] = {.group = "storage.k8s.io", .plural = "volumeattachments"},
};

const struct api_resource *cached_resource(enum cached what)
{
	/* Horizontal autoscalers are worked on as v2, their preferred version. */
	const struct api_resource *resource = api_resource_find(rows[what].group, NULL, rows[what].plural);
	if (!resource)
		abort(); /* a row above names what the schema has not */
	return resource;
}

const struct informer_options *cached_options(enum cached what)
{
	return rows[what].options;
}

void cached_add_indexes(enum cached what, struct informer *informer)
{
	for (size_t i = 0; i < array_len(rows[what].indexes) && rows[what].indexes[i].name; i++)
		informer_add_index(informer, rows[what].indexes[i].name, rows[what].indexes[i].fn);
}

void index_owner(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const struct meta_v1_owner_reference *owner = owner_controller(meta);
	if (owner) {
		emit(owner->uid, emit_arg);
		return;
	}
	char value[512];
	snprintf(value, sizeof(value), "orphan/%s", str_or(meta->namespace, ""));
	emit(value, emit_arg);
}

static void emit_claim(const char *prefix, const struct core_v1_pod *pod, const char *name, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	if (str_empty(name))
		return;
	char value[sizeof("template/") + 512];
	snprintf(value, sizeof(value), "%s%s/%s", prefix, str_or(pod->metadata.namespace, ""), name);
	emit(value, emit_arg);
}

void index_claims(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	const struct core_v1_pod *pod = object;
	for api_list_each (claim, &pod->spec.resource_claims) {
		emit_claim("", pod, claim->resource_claim_name, emit, emit_arg);
		emit_claim("template/", pod, claim->resource_claim_template_name, emit, emit_arg);
	}
	for api_list_each (made, &pod->status.resource_claim_statuses)
		emit_claim("", pod, made->resource_claim_name, emit, emit_arg);
	if (pod->status.extended_resource_claim_status)
		emit_claim("", pod, pod->status.extended_resource_claim_status->resource_claim_name, emit, emit_arg);
}

static void emit_pool(const char *driver, const char *pool, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	char value[512];
	snprintf(value, sizeof(value), "%s/%s", str_or(driver, ""), str_or(pool, ""));
	emit(value, emit_arg);
}

static bool is_same_pool(const struct resource_v1_device_request_allocation_result *a, const struct resource_v1_device_request_allocation_result *b)
{
	return str_equal(a->driver, b->driver) && str_equal(a->pool, b->pool);
}

void index_pools(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	if (api_type_of(object) == &resource_v1_resource_slice_type) {
		const struct resource_v1_resource_slice *slice = object;
		emit_pool(slice->spec.driver, slice->spec.pool.name, emit, emit_arg);
		return;
	}
	const struct resource_v1_resource_claim *claim = object;
	const struct resource_v1_device_request_allocation_result *last = NULL;
	if (claim->status.allocation)
		for api_list_each (held, &claim->status.allocation->devices.results) {
			if (!last || !is_same_pool(last, held))
				emit_pool(held->driver, held->pool, emit, emit_arg);
			last = held;
		}
}

void index_service(const void *object, void (*emit)(const char *value, void *emit_arg), void *emit_arg)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const char *service = api_map_get(&meta->labels, DISCOVERY_LABEL_SERVICE_NAME);
	if (!service)
		return;
	char value[512];
	snprintf(value, sizeof(value), "%s/%s", str_or(meta->namespace, ""), service);
	emit(value, emit_arg);
}

void *world_find(struct world *world, enum cached what, const char *ns, const char *name)
{
	return world->ops->find(world, what, ns, name);
}

void world_list_all(struct world *world, enum cached what, struct informer_list *ret)
{
	world->ops->list(world, what, NULL, NULL, ret);
}

void world_list_namespace(struct world *world, enum cached what, const char *ns, struct informer_list *ret)
{
	world->ops->list(world, what, INFORMER_INDEX_NAMESPACE, ns, ret);
}

void world_list_index(struct world *world, enum cached what, const char *index, const char *value, struct informer_list *ret)
{
	world->ops->list(world, what, index, value, ret);
}

bool world_last_beat(struct world *world, enum cached what, const char *ns, const char *name, struct informer_beat *ret)
{
	return world->ops->last_beat && world->ops->last_beat(world, what, ns, name, ret);
}

uint64_t world_version(struct world *world, enum cached what)
{
	return world->ops->version(world, what);
}

int world_get(struct world *world, enum cached what, const char *ns, const char *name, void **ret, struct error *err)
{
	return world->ops->get(world, cached_resource(what), ns, name, ret, err);
}

bool write_is_uncertain(const struct error *err)
{
	return err->errnum && (err->http_code < 400 || err->http_code >= 500 || err->http_code == 408);
}

int world_write(struct world *world, const struct write *write, void **ret, struct error *err)
{
	return world->ops->write(world, write, ret, err);
}

static int write_object(struct world *world, enum cached what, enum write_verb verb, const char *subresource, const void *object, void **ret,
	struct error *err)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const struct api_resource *resource = cached_resource(what);
	struct write write = {.verb = verb,
		.resource = resource,
		.ns = resource->namespaced ? meta->namespace : NULL,
		.name = meta->name,
		.subresource = subresource,
		.object = object};
	return world_write(world, &write, ret, err);
}

int world_create(struct world *world, enum cached what, const void *object, void **ret, struct error *err)
{
	return write_object(world, what, WRITE_CREATE, NULL, object, ret, err);
}

int world_update(struct world *world, enum cached what, const void *object, void **ret, struct error *err)
{
	return write_object(world, what, WRITE_UPDATE, NULL, object, ret, err);
}

int world_update_status(struct world *world, enum cached what, const void *object, void **ret, struct error *err)
{
	return write_object(world, what, WRITE_UPDATE, "status", object, ret, err);
}

static void append_list(struct buf *out, const char *name, bool empty, const struct api_type *type, const void *list)
{
	buf_printf(out, ",\"%s\":", name);
	if (empty)
		buf_append_str(out, "null");
	else if (!type)
		for (uint32_t i = 0; i < ((const struct api_string_list *)list)->len; i++) {
			const char *text = ((const struct api_string_list *)list)->items[i];
			buf_append_char(out, i ? ',' : '[');
			buf_append_json_string(out, text, strlen(text));
		}
	else
		for (uint32_t i = 0; i < ((const struct meta_v1_owner_reference_array *)list)->len; i++) {
			buf_append_char(out, i ? ',' : '[');
			api_encode_json(type, &((const struct meta_v1_owner_reference_array *)list)->items[i], out);
		}
	if (!empty)
		buf_append_char(out, ']');
}

int world_update_metadata(struct world *world, enum cached what, const void *changed, void **ret, struct error *err)
{
	const struct meta_v1_object_meta *meta = api_metadata(changed);
	autobuf struct buf patch = BUF_INIT(METADATA_PATCH_MAX);
	buf_append_str(&patch, "{\"metadata\":{\"uid\":");
	buf_append_json_string(&patch, str_or(meta->uid, ""), strlen(str_or(meta->uid, "")));
	buf_append_str(&patch, ",\"resourceVersion\":");
	buf_append_json_string(&patch, str_or(meta->resource_version, ""), strlen(str_or(meta->resource_version, "")));
	append_list(&patch, "ownerReferences", !meta->owner_references.len, &meta_v1_owner_reference_type, &meta->owner_references);
	append_list(&patch, "finalizers", !meta->finalizers.len, NULL, &meta->finalizers);
	buf_append_str(&patch, "}}");
	if (buf_failed(&patch))
		return error_set(err, EFBIG, "owner references and finalizers of %s are too long", meta->name);
	struct write write = {.verb = WRITE_PATCH,
		.resource = cached_resource(what),
		.ns = meta->namespace,
		.name = meta->name,
		.content_type = "application/merge-patch+json",
		.patch = patch.data};
	return world_write(world, &write, ret, err);
}

int world_merge_patch(struct world *world, enum cached what, const char *ns, const char *name, const char *subresource, const char *patch,
	struct error *err)
{
	struct write write = {.verb = WRITE_PATCH,
		.resource = cached_resource(what),
		.ns = ns,
		.name = name,
		.subresource = subresource,
		.content_type = "application/merge-patch+json",
		.patch = patch};
	return world_write(world, &write, NULL, err);
}

int world_apply_status(struct world *world, enum cached what, const char *name, const char *manager, const struct api_type *type, const void *status, struct error *err)
{
	const struct api_resource *resource = cached_resource(what);
	autobuf struct buf patch = BUF_INIT(STATUS_PATCH_MAX);
	buf_printf(&patch, "{\"apiVersion\":\"%s%s%s\",\"kind\":\"%s\",\"metadata\":{\"name\":", resource->group, *resource->group ? "/" : "", resource->version, resource->kind);
	buf_append_json_string(&patch, name, strlen(name));
	buf_append_str(&patch, "},\"status\":");
	api_encode_json(type, status, &patch);
	buf_append_char(&patch, '}');
	if (buf_failed(&patch))
		return error_set(err, EFBIG, "the status of %s %s is too long", resource->kind, name);
	struct write write = {.verb = WRITE_PATCH,
		.resource = resource,
		.name = name,
		.subresource = "status",
		.content_type = "application/apply-patch+yaml",
		.patch = patch.data,
		.manager = manager};
	return world_write(world, &write, NULL, err);
}

int world_delete(struct world *world, enum cached what, const void *object, const char *propagation, struct error *err)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	const struct api_resource *resource = cached_resource(what);
	struct write write = {.verb = WRITE_DELETE,
		.resource = resource,
		.ns = resource->namespaced ? meta->namespace : NULL,
		.name = meta->name,
		.delete_options = CLIENT_DELETE_OPTIONS_INIT};
	write.delete_options.uid = str_empty(meta->uid) ? NULL : meta->uid;
	write.delete_options.propagation = propagation;
	autoerror struct error failed = {0};
	int r = world_write(world, &write, NULL, &failed);
	/* Gone, or another object of that name by now: what was to be deleted is. */
	if (r == 0 || error_is(&failed, "NotFound") || error_is(&failed, "Conflict"))
		return 0;
	return error_move(err, &failed);
}

void world_event(struct world *world, const char *component, const void *object, const char *type, const char *reason, const char *fmt, ...)
{
	autobuf struct buf message = BUF_INIT(4096);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&message, fmt, args);
	va_end(args);
	world->ops->event(world, component, object, type, reason, message.data ? message.data : "");
}

uint64_t object_version(const void *object)
{
	const struct meta_v1_object_meta *meta = api_metadata(object);
	int64_t version = 0;
	str_to_int64(meta ? meta->resource_version : NULL, 0, INT64_MAX, &version);
	return (uint64_t)version;
}
