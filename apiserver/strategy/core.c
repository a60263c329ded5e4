/* SPDX-License-Identifier: Apache-2.0 */
/* The kinds of the core group other than pods and services. */
#include "apiserver/rest/write.h"
#include "apiserver/strategy/table.h"
#include "apiserver/validation/validation.h"
#include "api/core_v1.h"
#include "common/api/codec.h"

#include <gnutls/gnutls.h>

/* ---- Namespace ---- */

#define NAMESPACE_FINALIZER "kubernetes"
#define NAME_LABEL "kubernetes.io/metadata.name"

static void namespace_prepare_create(struct request *r, void *object) {
	struct core_v1_namespace *ns = object;
	struct arena *arena = api_arena(object);
	ns->status = (struct core_v1_namespace_status){.phase = "Active"};
	if (!api_string_list_has(&ns->spec.finalizers, NAMESPACE_FINALIZER))
		api_string_list_add(arena, &ns->spec.finalizers, NAMESPACE_FINALIZER);
	if (!str_empty(ns->metadata.name))
		api_map_set(arena, &ns->metadata.labels, NAME_LABEL, ns->metadata.name);
}

static void namespace_prepare_update(struct request *r, void *object, const void *old) {
	struct core_v1_namespace *ns = object;
	api_field_copy(object, old, "spec"); /* its finalizers change through /finalize alone */
	api_field_copy(object, old, "status");
	api_map_set(api_arena(object), &ns->metadata.labels, NAME_LABEL, ns->metadata.name);
}

bool namespace_is_finalized(const void *object) {
	return ((const struct core_v1_namespace *)object)->spec.finalizers.len == 0;
}

void namespace_mark_terminating(struct write *w) {
	((struct core_v1_namespace *)w->object)->status.phase = "Terminating";
	if (namespace_is_finalized(w->object) && api_metadata(w->object)->finalizers.len == 0)
		w->action = WRITE_REMOVE;
}

static const struct strategy namespaces = {
	.group = "", .plural = "namespaces",
	.name = NAME_DNS_LABEL,
	.prepare_create = namespace_prepare_create,
	.prepare_update = namespace_prepare_update,
	.keep_status_on_create = true,
};

/* ---- Secret: stringData is folded into data, as if the client had ---- */

static void secret_normalize(void *object) {
	struct core_v1_secret *secret = object;
	struct arena *arena = api_arena(secret);
	for (uint32_t i = 0; i < secret->string_data.len; i++) {
		const char *key = secret->string_data.items[i].key, *value = secret->string_data.items[i].value;
		__typeof__(secret->data.items) entry = api_map_insert(arena, &secret->data, sizeof(*secret->data.items), key);
		entry->value.data = arena_memdup(arena, value, strlen(value) + 1);
		entry->value.len = (uint32_t)strlen(value);
	}
	secret->string_data = (struct api_string_map){0};
}

static void secret_prepare_update(struct request *r, void *object, const void *old) {
	struct core_v1_secret *secret = object;
	if (str_empty(secret->type))
		secret->type = arena_strdup(api_arena(object), ((const struct core_v1_secret *)old)->type);
}

static gnutls_datum_t secret_datum(const struct core_v1_secret *secret, const char *key) {
	for (uint32_t i = 0; i < secret->data.len; i++)
		if (str_equal(secret->data.items[i].key, key))
			return (gnutls_datum_t){.data = (unsigned char *)secret->data.items[i].value.data, .size = secret->data.items[i].value.len};
	return (gnutls_datum_t){0};
}

static bool has_pem(gnutls_datum_t datum) {
	return datum.size && memmem(datum.data, datum.size, "-----BEGIN ", 11);
}

/* A pair that no server can use is stored, but told of. */
static void secret_warn(struct request *r, const void *object, const void *old) {
	const struct core_v1_secret *secret = object;
	if (!str_equal(secret->type, "kubernetes.io/tls"))
		return;
	gnutls_datum_t cert = secret_datum(secret, "tls.crt"), key = secret_datum(secret, "tls.key");
	gnutls_certificate_credentials_t pair = NULL;
	if (!has_pem(cert)) {
		request_warn(r, "tls: failed to find any PEM data in certificate input");
	} else if (!has_pem(key)) {
		request_warn(r, "tls: failed to find any PEM data in key input");
	} else if (gnutls_certificate_allocate_credentials(&pair) == 0) {
		int rc = gnutls_certificate_set_x509_key_mem(pair, &cert, &key, GNUTLS_X509_FMT_PEM);
		if (rc == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
			request_warn(r, "tls: private key does not match public key");
		else if (rc < 0)
			request_warn(r, "tls: failed to parse the pair: %s", gnutls_strerror(rc));
		gnutls_certificate_free_credentials(pair);
	}
}

static const struct strategy secrets = {
	.group = "", .plural = "secrets",
	.warn = secret_warn,
	.normalize = secret_normalize,
	.prepare_update = secret_prepare_update,
};

/* Of its secrets an account keeps the names alone. */
static void keep_secret_names(void *object) {
	struct core_v1_service_account *account = object;
	for (uint32_t i = 0; i < account->secrets.len; i++)
		account->secrets.items[i] = (struct core_v1_object_reference){.name = account->secrets.items[i].name};
}

static void account_prepare_create(struct request *r, void *object) {
	keep_secret_names(object);
}

static void account_prepare_update(struct request *r, void *object, const void *old) {
	keep_secret_names(object);
}

static const struct strategy service_accounts = {.group = "", .plural = "serviceaccounts", .prepare_create = account_prepare_create, .prepare_update = account_prepare_update};
static const struct strategy config_maps = {.group = "", .plural = "configmaps"};

/* ---- Node: what a plain update may not change is kept ---- */

/* podCIDR is the first of podCIDRs; the older field wins. */
static void node_follow_cidr(struct core_v1_node *node) {
	struct core_v1_node_spec *spec = &node->spec;
	const char *first = spec->pod_cidrs.len ? spec->pod_cidrs.items[0] : NULL;
	if (str_empty(spec->pod_cidr) && first) {
		spec->pod_cidr = first;
	} else if (!str_empty(spec->pod_cidr) && !str_equal(spec->pod_cidr, first)) {
		spec->pod_cidrs = (struct api_string_list){0};
		api_string_list_add(api_arena(node), &spec->pod_cidrs, spec->pod_cidr);
	}
}

static void node_prepare_create(struct request *r, void *object) {
	struct core_v1_node *node = object;
	/* Kubelets are not configured through the API any more. */
	node->spec.config_source = NULL;
	node->status.config = NULL;
	node_follow_cidr(object);
}

static void node_prepare_update(struct request *r, void *object, const void *old) {
	struct core_v1_node *node = object;
	const struct core_v1_node *before = old;
	if (!before->spec.config_source)
		node->spec.config_source = NULL;
	node_follow_cidr(node);
}

static void node_prepare_status(struct request *r, void *object, const void *old) {
	struct core_v1_node *node = object;
	api_field_copy(object, old, "spec");
	if (!((const struct core_v1_node *)old)->status.config)
		node->status.config = NULL;
}

static void node_normalize(void *object) {
	node_follow_cidr(object);
}

static const struct strategy nodes = {.group = "", .plural = "nodes", .normalize = node_normalize, .prepare_create = node_prepare_create, .prepare_update = node_prepare_update, .prepare_status = node_prepare_status, .keep_status_on_create = true};

/* ---- volumes ---- */

static bool is_claim_or_snapshot(const struct core_v1_typed_local_object_reference *source) {
	return str_empty(source->api_group) ? str_equal(source->kind, "PersistentVolumeClaim") : str_equal(source->api_group, "snapshot.storage.k8s.io") && str_equal(source->kind, "VolumeSnapshot");
}

/* What is no claim or snapshot cannot stand in dataSource alone, as of old; dataSource and dataSourceRef say the same. Other namespaces are behind a gate that is closed. */
static void follow_data_source(struct core_v1_persistent_volume_claim *claim, const struct core_v1_persistent_volume_claim *old) {
	struct arena *arena = api_arena(claim);
	struct core_v1_persistent_volume_claim_spec *spec = &claim->spec;
	if (spec->data_source_ref && !str_empty(spec->data_source_ref->namespace) && !(old && old->spec.data_source_ref))
		spec->data_source_ref = NULL;
	struct core_v1_typed_local_object_reference *source = spec->data_source;
	struct core_v1_typed_object_reference *ref = spec->data_source_ref;
	if (source && !ref && !(old && old->spec.data_source) && !is_claim_or_snapshot(source))
		source = spec->data_source = NULL;
	if (source && !ref) {
		ref = spec->data_source_ref = arena_new_type(arena, struct core_v1_typed_object_reference);
		*ref = (struct core_v1_typed_object_reference){.api_group = source->api_group, .kind = source->kind, .name = source->name};
	} else if (ref && !source && str_empty(ref->namespace)) {
		source = spec->data_source = arena_new_type(arena, struct core_v1_typed_local_object_reference);
		*source = (struct core_v1_typed_local_object_reference){.api_group = ref->api_group, .kind = ref->kind, .name = ref->name};
	}
}

static void claim_prepare_create(struct request *r, void *object) {
	struct core_v1_persistent_volume_claim *claim = object;
	claim->status.phase = "Pending";
	follow_data_source(claim, NULL);
}

static void claim_prepare_update(struct request *r, void *object, const void *old) {
	follow_data_source(object, old);
}

static const struct strategy claims = {.group = "", .plural = "persistentvolumeclaims", .prepare_create = claim_prepare_create, .prepare_update = claim_prepare_update};

static void volume_prepare_create(struct request *r, void *object) {
	struct core_v1_persistent_volume *volume = object;
	volume->status = (struct core_v1_persistent_volume_status){.phase = "Pending", .last_phase_transition_time = api_time_now()};
}

static void volume_prepare_status(struct request *r, void *object, const void *old) {
	struct core_v1_persistent_volume *volume = object;
	const struct core_v1_persistent_volume *before = old;
	api_field_copy(object, old, "spec");
	if (!str_equal(volume->status.phase, before->status.phase) && !volume->status.last_phase_transition_time.set)
		volume->status.last_phase_transition_time = api_time_now();
}

static const struct strategy volumes = {.group = "", .plural = "persistentvolumes", .prepare_create = volume_prepare_create, .prepare_status = volume_prepare_status};

/* ---- small ones ---- */

static const struct strategy events = {.group = "", .plural = "events", .name = NAME_PATH_SEGMENT, .any_finalizer = true, .allow_create_on_update = true};
static const struct strategy events_k8s = {.group = "events.k8s.io", .plural = "events", .free_prefix = true, .allow_create_on_update = true};
static const struct strategy limit_ranges = {.group = "", .plural = "limitranges", .names_itself = true, .allow_create_on_update = true};

static const struct strategy resource_quotas = {.group = "", .plural = "resourcequotas", .free_prefix = true};
static const struct strategy endpoints = {.group = "", .plural = "endpoints", .allow_create_on_update = true, .deprecated = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"};
static const struct strategy component_statuses = {.group = "", .plural = "componentstatuses", .deprecated = "v1 ComponentStatus is deprecated in v1.19+"};
static bool template_changed(const void *object, const void *old) {
	return !api_field_equal(object, old, "template");
}
static const struct strategy pod_templates = {.group = "", .plural = "podtemplates", .free_prefix = true, .generation = true, .generation_changed = template_changed};

const struct strategy *const strategies_core[] = {
	&namespaces, &secrets, &config_maps, &service_accounts, &nodes, &claims, &volumes, &events, &events_k8s, &limit_ranges, &resource_quotas, &endpoints, &component_statuses, &pod_templates, NULL,
};
