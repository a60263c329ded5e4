/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NodeRestriction: a kubelet changes its own node, lease, CSINode and slices, and the pods bound to it, and nothing else; it asks for tokens of those pods' accounts
 * alone, for the audiences that they name. In Kubernetes' words.
 */
#include "apiserver/admission/admission.h"
#include "apiserver/authz/authz.h"
#include "api/authentication_v1.h"
#include "api/certificates_v1.h"
#include "api/coordination_v1.h"
#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "api/storage_v1.h"
#include "common/api/codec.h"

#include <errno.h>
#include <gnutls/x509.h>

#define NODE_PREFIX "system:node:"
#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"

/* The node that asks, or NULL where it is no kubelet. */
static const char *asking_node(const struct write *w) {
	const struct user *user = w->r->user;
	if (!user || !str_starts_with(user->name, NODE_PREFIX) || !user_in_group(user, "system:nodes"))
		return NULL;
	return user->name + strlen(NODE_PREFIX);
}

static enum write_operation operation_of(const struct write *w) {
	return w->operation == WRITE_UPDATE && w->created ? WRITE_CREATE : w->operation;
}

static const char *operation_name(enum write_operation operation) {
	return operation == WRITE_CREATE ? "CREATE" : operation == WRITE_UPDATE ? "UPDATE" : operation == WRITE_DELETE ? "DELETE" : "CONNECT";
}

#define REFUSE(w_, ...) error_forbidden(err, (w_)->resource, admission_name(w_), __VA_ARGS__)

/* ---- pods ---- */

static bool container_names(const struct core_v1_container *c, bool secrets) {
	for (uint32_t i = 0; i < c->env.len; i++) {
		const struct core_v1_env_var_source *from = c->env.items[i].value_from;
		if (from && (secrets ? from->secret_key_ref != NULL : from->config_map_key_ref != NULL))
			return true;
	}
	for (uint32_t i = 0; i < c->env_from.len; i++)
		if (secrets ? c->env_from.items[i].secret_ref != NULL : c->env_from.items[i].config_map_ref != NULL)
			return true;
	return false;
}

static bool any_container_names(const struct core_v1_pod_spec *spec, bool secrets) {
	for (uint32_t i = 0; i < spec->containers.len; i++)
		if (container_names(&spec->containers.items[i], secrets))
			return true;
	for (uint32_t i = 0; i < spec->init_containers.len; i++)
		if (container_names(&spec->init_containers.items[i], secrets))
			return true;
	return false;
}

/* Secrets that kinds of volumes name for their own use. */
static bool volume_names_secret(const struct core_v1_volume *v) {
	return v->secret || v->azure_file || (v->cephfs && v->cephfs->secret_ref) || (v->cinder && v->cinder->secret_ref) || (v->flex_volume && v->flex_volume->secret_ref) || (v->rbd && v->rbd->secret_ref) ||
		(v->scale_io && v->scale_io->secret_ref) || (v->iscsi && v->iscsi->secret_ref) || (v->storageos && v->storageos->secret_ref) || (v->csi && v->csi->node_publish_secret_ref);
}

static const char *volume_names(const struct core_v1_volume *v) {
	if (v->csi)
		return "csidrivers (via CSI volumes)";
	if (v->glusterfs)
		return "endpoints (via glusterFS volumes)";
	if (v->persistent_volume_claim)
		return "persistentvolumeclaims";
	if (v->ephemeral)
		return "persistentvolumeclaims (via ephemeral volumes)";
	for (uint32_t i = 0; v->projected && i < v->projected->sources.len; i++) {
		const struct core_v1_volume_projection *s = &v->projected->sources.items[i];
		const char *what = s->service_account_token ? "serviceaccounts (via projected volumes)" : s->cluster_trust_bundle ? "clustertrustbundles (via projected volumes)" :
			s->pod_certificate ? "podcertificaterequests (via projected volumes)" : NULL;
		if (what)
			return what;
	}
	return NULL;
}

/* What else of the API a pod names; NULL: nothing. */
static const char *pod_names(const struct core_v1_pod_spec *spec) {
	bool secrets = spec->image_pull_secrets.len || any_container_names(spec, true), maps = any_container_names(spec, false);
	for (uint32_t i = 0; i < spec->volumes.len; i++) {
		const struct core_v1_volume *v = &spec->volumes.items[i];
		secrets |= volume_names_secret(v);
		maps |= v->config_map != NULL;
		for (uint32_t j = 0; v->projected && j < v->projected->sources.len; j++) {
			secrets |= v->projected->sources.items[j].secret != NULL;
			maps |= v->projected->sources.items[j].config_map != NULL;
		}
	}
	if (!str_empty(spec->service_account_name))
		return "serviceaccounts";
	if (secrets || maps)
		return secrets ? "secrets" : "configmaps";
	if (spec->resource_claims.len)
		return "resourceclaims";
	for (uint32_t i = 0; i < spec->volumes.len; i++)
		if (volume_names(&spec->volumes.items[i]))
			return volume_names(&spec->volumes.items[i]);
	return NULL;
}

static int check_owner(struct write *w, const struct core_v1_pod *pod, const char *node, struct error *err) {
	if (pod->metadata.owner_references.len != 1)
		return REFUSE(w, "node \"%s\" can only create pods with %s owner reference set to itself", node, pod->metadata.owner_references.len ? "a single" : "an");
	const struct meta_v1_owner_reference *owner = &pod->metadata.owner_references.items[0];
	if (!str_equal(owner->api_version, "v1") || !str_equal(owner->kind, "Node") || !str_equal(owner->name, node))
		return REFUSE(w, "node \"%s\" can only create pods with an owner reference set to itself", node);
	if (!owner->controller || !*owner->controller)
		return REFUSE(w, "node \"%s\" can only create pods with a controller owner reference set to itself", node);
	if (owner->block_owner_deletion && *owner->block_owner_deletion)
		return REFUSE(w, "node \"%s\" must not set blockOwnerDeletion on an owner reference", node);
	autounref struct core_v1_node *object = registry_read(w->r->server->registry, "", "nodes", NULL, node);
	if (!object)
		return error_not_found(err, registry_find(w->r->server->registry, "", "v1", "nodes"), node);
	if (!str_equal(owner->uid, object->metadata.uid))
		return REFUSE(w, "node %s UID mismatch: expected %s got %s", node, str_or(owner->uid, ""), str_or(object->metadata.uid, ""));
	return 0;
}

static int check_mirror(struct write *w, const struct core_v1_pod *pod, const char *node, struct error *err) {
	if (!api_map_get(&pod->metadata.annotations, MIRROR_ANNOTATION))
		return REFUSE(w, "pod does not have \"%s\" annotation, node \"%s\" can only create mirror pods", MIRROR_ANNOTATION, node);
	if (!str_equal(pod->spec.node_name, node))
		return REFUSE(w, "node \"%s\" can only create pods with spec.nodeName set to itself", node);
	int rc = check_owner(w, pod, node, err);
	const char *named = rc == 0 ? pod_names(&pod->spec) : NULL;
	return named ? REFUSE(w, "node \"%s\" can not create pods that reference %s", node, named) : rc;
}

static bool same_field(const struct api_type *type, const void *a, const void *b, const char *name) {
	size_t offset;
	const struct api_field *field = api_field_find(type, name, strlen(name), &offset);
	return api_field_same(field, (const char *)a + offset, (const char *)b + offset);
}

static int check_pod_status(struct write *w, const char *node, struct error *err) {
	const struct core_v1_pod *old = w->old, *now = w->object;
	if (w->operation != WRITE_UPDATE || !old)
		return REFUSE(w, "unexpected operation \"%s\"", operation_name(w->operation));
	if (!str_equal(old->spec.node_name, node))
		return REFUSE(w, "node \"%s\" can only update pod status for pods with spec.nodeName set to itself", node);
	if (!same_field(&meta_v1_object_meta_type, &old->metadata, &now->metadata, "labels"))
		return REFUSE(w, "node \"%s\" cannot update labels through pod status", node);
	if (!same_field(&core_v1_pod_status_type, &old->status, &now->status, "resourceClaimStatuses"))
		return REFUSE(w, "node \"%s\" cannot update resource claim statues", node);
	if (!same_field(&core_v1_pod_status_type, &old->status, &now->status, "extendedResourceClaimStatus"))
		return REFUSE(w, "node \"%s\" cannot update extended resource claim status", node);
	return 0;
}

static int check_eviction(struct write *w, const char *node, struct error *err) {
	autounref struct core_v1_pod *pod = registry_read(w->r->server->registry, "", "pods", w->ns, w->name);
	if (!pod)
		return error_not_found(err, w->resource, w->name);
	return str_equal(pod->spec.node_name, node) ? 0 : REFUSE(w, "node %s can only evict pods with spec.nodeName set to itself", node);
}

static int check_pod(struct write *w, const char *node, struct error *err) {
	enum write_operation operation = operation_of(w);
	if (str_equal(w->subresource, "status"))
		return check_pod_status(w, node, err);
	if (str_equal(w->subresource, "eviction"))
		return check_eviction(w, node, err);
	if (w->subresource)
		return REFUSE(w, "unexpected pod subresource \"%s\", only 'status' and 'eviction' are allowed", w->subresource);
	if (operation == WRITE_CREATE)
		return check_mirror(w, w->object, node, err);
	if (operation != WRITE_DELETE)
		return REFUSE(w, "unexpected operation \"%s\", node \"%s\" can only create and delete mirror pods", operation_name(operation), node);
	const struct core_v1_pod *pod = w->old;
	return !pod || str_equal(pod->spec.node_name, node) ? 0 : REFUSE(w, "node \"%s\" can only delete pods with spec.nodeName set to itself", node);
}

/* ---- nodes ---- */

/* Whether the label's namespace is this one or beneath it. */
static bool label_beneath(const char *key, const char *namespace) {
	const char *slash = strchr(key, '/');
	size_t len = slash ? (size_t)(slash - key) : 0, n = strlen(namespace);
	return len >= n && strncmp(slash - n, namespace, n) == 0 && (len == n || slash[-(ptrdiff_t)n - 1] == '.');
}

/* Labels of Kubernetes' own namespaces are for admins, but for those that kubelets are known to set. */
static bool is_forbidden_label(const char *key) {
	static const char *const allowed[] = {
		"kubernetes.io/hostname", "kubernetes.io/arch", "kubernetes.io/os", "beta.kubernetes.io/arch", "beta.kubernetes.io/os", "beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type",
		"failure-domain.beta.kubernetes.io/region", "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/region", "topology.kubernetes.io/zone",
	};
	if (label_beneath(key, "node-restriction.kubernetes.io"))
		return true;
	if (!label_beneath(key, "kubernetes.io") && !label_beneath(key, "k8s.io"))
		return false;
	for (size_t i = 0; i < array_len(allowed); i++)
		if (strcmp(allowed[i], key) == 0)
			return false;
	return !label_beneath(key, "kubelet.kubernetes.io") && !label_beneath(key, "node.kubernetes.io");
}

static int compare_keys(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those that differ and may not, in order: "a, b"; NULL: none. */
static char *forbidden_changes(struct arena *arena, const struct api_string_map *now, const struct api_string_map *old) {
	const struct api_string_map none = {0}, *maps[] = {now, old ? old : &none};
	const char **keys = arena_calloc(arena, now->len + maps[1]->len + 1, sizeof(*keys));
	size_t count = 0;
	for (int m = 0; m < 2; m++)
		for (uint32_t i = 0; i < maps[m]->len; i++) {
			const char *key = maps[m]->items[i].key, *there = api_map_get(maps[!m], key);
			if (is_forbidden_label(key) && (!there || (m == 0 && strcmp(there, maps[m]->items[i].value) != 0)))
				keys[count++] = key;
		}
	qsort(keys, count, sizeof(*keys), compare_keys);
	char *text = NULL;
	for (size_t i = 0; i < count; i++)
		text = text ? arena_printf(arena, "%s, %s", text, keys[i]) : arena_strdup(arena, keys[i]);
	return text;
}

static int check_node(struct write *w, const char *node, struct error *err) {
	enum write_operation operation = operation_of(w);
	const char *name = operation == WRITE_CREATE ? api_metadata(w->object)->name : w->name;
	const struct core_v1_node *now = w->object, *old = w->old;
	if (!str_equal(name, node))
		return REFUSE(w, "node \"%s\" is not allowed to modify node \"%s\"", node, str_or(name, ""));
	if (operation == WRITE_CREATE) {
		const char *labels = forbidden_changes(w->arena, &now->metadata.labels, NULL);
		if (now->spec.config_source)
			return REFUSE(w, "node \"%s\" is not allowed to create pods with a non-nil configSource", node);
		return labels ? REFUSE(w, "node \"%s\" is not allowed to set the following labels: %s", node, labels) : 0;
	}
	if (operation != WRITE_UPDATE || !old)
		return 0;
	if (now->spec.config_source && !same_field(&core_v1_node_spec_type, &now->spec, &old->spec, "configSource"))
		return REFUSE(w, "node \"%s\" is not allowed to update configSource to a new non-nil configSource", node);
	if (!same_field(&core_v1_node_spec_type, &now->spec, &old->spec, "taints"))
		return REFUSE(w, "node \"%s\" is not allowed to modify taints", node);
	if (!same_field(&meta_v1_object_meta_type, &now->metadata, &old->metadata, "ownerReferences"))
		return REFUSE(w, "node \"%s\" is not allowed to modify ownerReferences", node);
	const char *labels = forbidden_changes(w->arena, &now->metadata.labels, &old->metadata.labels);
	return labels ? REFUSE(w, "is not allowed to modify labels: %s", labels) : 0;
}

/* ---- tokens ---- */

/* The CSI driver that serves what was once in the tree. */
#define MIGRATED(source_) \
	((source_)->aws_elastic_block_store ? "ebs.csi.aws.com" : (source_)->gce_persistent_disk ? "pd.csi.storage.gke.io" : (source_)->cinder ? "cinder.csi.openstack.org" : (source_)->azure_disk ? "disk.csi.azure.com" : \
	 (source_)->azure_file ? "file.csi.azure.com" : (source_)->vsphere_volume ? "csi.vsphere.vmware.com" : (source_)->portworx_volume ? "pxd.portworx.com" : NULL)

static const char *driver_of_claim(struct write *w, const char *claim_name) {
	struct registry *registry = w->r->server->registry;
	autounref struct core_v1_persistent_volume_claim *claim = registry_read(registry, "", "persistentvolumeclaims", w->ns, claim_name);
	autounref struct core_v1_persistent_volume *volume = claim && !str_empty(claim->spec.volume_name) ? registry_read(registry, "", "persistentvolumes", NULL, claim->spec.volume_name) : NULL;
	if (!volume)
		return NULL;
	const char *driver = volume->spec.csi ? volume->spec.csi->driver : MIGRATED(&volume->spec);
	return driver ? arena_strdup(w->arena, driver) : NULL;
}

static bool driver_asks_for(struct write *w, const char *driver, const char *audience) {
	autounref struct storage_v1_csi_driver *object = registry_read(w->r->server->registry, "storage.k8s.io", "csidrivers", NULL, driver);
	for (uint32_t i = 0; object && i < object->spec.token_requests.len; i++)
		if (str_equal(object->spec.token_requests.items[i].audience, audience))
			return true;
	return false;
}

/* Whether the pod has a volume for which a token of this audience is needed. */
static bool pod_wants_audience(struct write *w, const struct core_v1_pod *pod, const char *audience) {
	for (uint32_t i = 0; i < pod->spec.volumes.len; i++) {
		const struct core_v1_volume *v = &pod->spec.volumes.items[i];
		for (uint32_t j = 0; v->projected && j < v->projected->sources.len; j++) {
			const struct core_v1_service_account_token_projection *token = v->projected->sources.items[j].service_account_token;
			if (token && str_equal(token->audience, audience))
				return true;
		}
		const char *driver = v->ephemeral && v->ephemeral->volume_claim_template ? driver_of_claim(w, arena_printf(w->arena, "%s-%s", pod->metadata.name, v->name)) :
			v->persistent_volume_claim ? driver_of_claim(w, v->persistent_volume_claim->claim_name) : v->csi ? v->csi->driver : MIGRATED(v);
		if (driver && driver_asks_for(w, driver, audience))
			return true;
	}
	return false;
}

static int check_audience(struct write *w, const struct authentication_v1_token_request *request, const struct core_v1_pod *pod, struct error *err) {
	const char *audience = request->spec.audiences.len ? request->spec.audiences.items[0] : "", *reason = NULL;
	if (request->spec.audiences.len > 1)
		return REFUSE(w, "node may only request 0 or 1 audiences");
	if (pod_wants_audience(w, pod, audience))
		return 0;
	const struct authz_attributes attributes = {.user = w->r->user, .verb = "request-serviceaccounts-token-audience", .is_resource = true, .group = "", .version = "v1", .ns = w->ns, .resource = audience, .name = w->name};
	if (authz_decide(w->r->server->authz, &attributes, &w->asks, w->arena, &reason) == AUTHZ_ALLOW)
		return 0;
	return REFUSE(w, "audience \"%s\" not found in pod spec volume, %s is not authorized to request tokens for this audience", audience, w->r->user->name);
}

static int check_token(struct write *w, const char *node, struct error *err) {
	const struct authentication_v1_token_request *request = w->object;
	const struct authentication_v1_bound_object_reference *ref = request->spec.bound_object_ref;
	if (!ref || !str_equal(ref->api_version, "v1") || !str_equal(ref->kind, "Pod") || str_empty(ref->name))
		return REFUSE(w, "node requested token not bound to a pod");
	if (str_empty(ref->uid))
		return REFUSE(w, "node requested token with a pod binding without a uid");
	autounref struct core_v1_pod *pod = registry_read(w->r->server->registry, "", "pods", w->ns, ref->name);
	if (!pod)
		return error_not_found(err, registry_find(w->r->server->registry, "", "v1", "pods"), ref->name);
	if (!str_equal(ref->uid, pod->metadata.uid))
		return REFUSE(w, "the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref->uid);
	if (!str_equal(pod->spec.node_name, node))
		return REFUSE(w, "node requested token bound to a pod scheduled on a different node");
	return check_audience(w, request, pod, err);
}

/* ---- the rest ---- */

static int check_claim(struct write *w, const char *node, struct error *err) {
	if (!str_equal(w->subresource, "status"))
		return REFUSE(w, "may only update PVC status");
	if (w->operation != WRITE_UPDATE || !w->old)
		return REFUSE(w, "unexpected operation \"%s\"", operation_name(w->operation));
	autounref struct core_v1_persistent_volume_claim *old = api_copy(w->old), *now = api_copy(w->object);
	struct core_v1_persistent_volume_claim *both[] = {old, now};
	for (size_t i = 0; i < array_len(both); i++) {
		struct core_v1_persistent_volume_claim *claim = both[i];
		claim->metadata.resource_version = NULL;
		claim->metadata.managed_fields = (struct meta_v1_managed_fields_entry_array){0};
		memset(&claim->status.capacity, 0, sizeof(claim->status.capacity));
		memset(&claim->status.conditions, 0, sizeof(claim->status.conditions));
		memset(&claim->status.allocated_resources, 0, sizeof(claim->status.allocated_resources));
		memset(&claim->status.allocated_resource_statuses, 0, sizeof(claim->status.allocated_resource_statuses));
	}
	return api_equal(&core_v1_persistent_volume_claim_type, old, now) ? 0 : REFUSE(w, "node \"%s\" is not allowed to update fields other than status.quantity and status.conditions", node);
}

static const char *object_name(const struct write *w) {
	return operation_of(w) == WRITE_CREATE ? api_metadata(w->object)->name : w->name;
}

static int check_lease(struct write *w, const char *node, struct error *err) {
	if (!str_equal(w->ns, "kube-node-lease"))
		return REFUSE(w, "can only access leases in the \"kube-node-lease\" system namespace");
	return str_equal(object_name(w), node) ? 0 : REFUSE(w, "can only access node lease with the same name as the requesting node");
}

static int check_csi_node(struct write *w, const char *node, struct error *err) {
	return str_equal(object_name(w), node) ? 0 : REFUSE(w, "can only access CSINode with the same name as the requesting node");
}

static int check_slice(struct write *w, const char *node, struct error *err) {
	enum write_operation operation = operation_of(w);
	const struct resource_v1_resource_slice *slice = operation == WRITE_CREATE ? w->object : operation == WRITE_DELETE ? w->old : NULL;
	if (!slice || str_equal(slice->spec.node_name, node))
		return 0;
	return REFUSE(w, "can only %s ResourceSlice with the same NodeName as the requesting node", operation == WRITE_CREATE ? "create" : "delete");
}

/* The common name that the certificate is asked for; false where it is no request. */
static bool common_name_of(const struct api_bytes *request, char *out, size_t size) {
	gnutls_x509_crq_t crq;
	const gnutls_datum_t pem = {(unsigned char *)request->data, (unsigned)request->len};
	if (gnutls_x509_crq_init(&crq) < 0)
		return false;
	int code = gnutls_x509_crq_import(crq, &pem, GNUTLS_X509_FMT_PEM);
	*out = '\0';
	if (code >= 0 && gnutls_x509_crq_get_dn_by_oid(crq, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &size) < 0)
		*out = '\0';
	gnutls_x509_crq_deinit(crq);
	return code >= 0;
}

static int check_signing_request(struct write *w, const char *node, struct error *err) {
	const struct certificates_v1_certificate_signing_request *csr = w->object;
	char name[512];
	if (operation_of(w) != WRITE_CREATE || w->subresource || (!str_equal(csr->spec.signer_name, "kubernetes.io/kubelet-serving") && !str_equal(csr->spec.signer_name, "kubernetes.io/kube-apiserver-client-kubelet")))
		return 0;
	if (!common_name_of(&csr->spec.request, name, sizeof(name)))
		return REFUSE(w, "unable to parse csr: PEM block type must be CERTIFICATE REQUEST");
	return str_starts_with(name, NODE_PREFIX) && str_equal(name + strlen(NODE_PREFIX), node) ? 0 : REFUSE(w, "can only create a node CSR with CN=system:node:%s", node);
}

static const struct {
	const char *group, *plural;
	int (*check)(struct write *w, const char *node, struct error *err);
} checks[] = {
	{"", "pods", check_pod},
	{"", "nodes", check_node},
	{"", "persistentvolumeclaims", check_claim},
	{"coordination.k8s.io", "leases", check_lease},
	{"storage.k8s.io", "csinodes", check_csi_node},
	{"resource.k8s.io", "resourceslices", check_slice},
	{"certificates.k8s.io", "certificatesigningrequests", check_signing_request},
};

static int admit(struct write *w, struct error *err) {
	const char *node = asking_node(w);
	if (!node)
		return 0;
	if (!*node)
		return REFUSE(w, "could not determine node from user \"%s\"", w->r->user->name);
	if (admission_is(w, "", "serviceaccounts", "token"))
		return check_token(w, node, err);
	for (size_t i = 0; i < array_len(checks); i++)
		if (admission_is(w, checks[i].group, checks[i].plural, w->subresource))
			return checks[i].check(w, node, err);
	return 0;
}

const struct admission_plugin admission_node_restriction = {
	.name = "NodeRestriction",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE,
	.bodies = true,
	.admit = admit,
};
