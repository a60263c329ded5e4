/* SPDX-License-Identifier: Apache-2.0 */
/* What must have come true once nothing disturbs any more: what users declared, told truly by every status, and nothing left over. */
#include "test/sim/sim.h"

#include "common/api/selector.h"
#include "controller-manager/job/job.h"

#include "api/discovery_v1.h"
#include "api/resource_v1.h"

#include <stdio.h>

static const struct meta_v1_object_meta *meta_of(const void *object)
{
	return api_metadata(object);
}

#define EACH(var, cache) \
	(size_t i_##var = 0; i_##var < collection_for(cache)->objects.len && ((var) = collection_for(cache)->objects.items[i_##var].object) != NULL; i_##var++)

static int32_t replicas_of(const int32_t *replicas)
{
	return replicas ? *replicas : 1;
}

/* Numbers a status tells against those that are true. */
static void same(const void *object, const char *what, int64_t told, int64_t truth)
{
	if (told != truth)
		sim_fail("settled: %s %s/%s: %s is %lld, should be %lld", api_type_of(object)->kind, str_or(meta_of(object)->namespace, ""), meta_of(object)->name, what,
			(long long)told, (long long)truth);
}

static void count_pods(const char *uid, int32_t *ret_active, int32_t *ret_ready)
{
	const struct core_v1_pod *pod;
	*ret_active = *ret_ready = 0;
	for EACH (pod, CACHED_PODS) {
		bool its = owner_is_controller(&pod->metadata, uid) && pod_is_active(pod);
		*ret_active += its;
		*ret_ready += its && pod_is_ready(pod);
	}
}

static void deployments(void)
{
	const struct apps_v1_deployment *d;
	for EACH (d, CACHED_DEPLOYMENTS) {
		int32_t wanted = replicas_of(d->spec.replicas), active = 0, ready = 0;
		const struct apps_v1_replica_set *rs;
		for EACH (rs, CACHED_REPLICA_SETS) {
			int32_t a, r;
			if (!owner_is_controller(&rs->metadata, d->metadata.uid))
				continue;
			count_pods(rs->metadata.uid, &a, &r);
			active += a;
			ready += r;
		}
		same(d, "observedGeneration", d->status.observed_generation, d->metadata.generation);
		same(d, "number of pods", active, wanted);
		same(d, "number of ready pods", ready, wanted);
		same(d, "status.replicas", d->status.replicas, wanted);
		same(d, "status.updatedReplicas", d->status.updated_replicas, wanted);
		same(d, "status.readyReplicas", d->status.ready_replicas, wanted);
		same(d, "status.availableReplicas", d->status.available_replicas, wanted);
		same(d, "status.unavailableReplicas", d->status.unavailable_replicas, 0);
	}
}

static void replica_sets(void)
{
	const struct apps_v1_replica_set *rs;
	const struct core_v1_replication_controller *rc;
	int32_t active, ready;
	for EACH (rs, CACHED_REPLICA_SETS) {
		count_pods(rs->metadata.uid, &active, &ready);
		same(rs, "observedGeneration", rs->status.observed_generation, rs->metadata.generation);
		same(rs, "number of pods", active, replicas_of(rs->spec.replicas));
		same(rs, "status.replicas", rs->status.replicas, active);
		same(rs, "status.readyReplicas", rs->status.ready_replicas, ready);
		same(rs, "status.availableReplicas", rs->status.available_replicas, ready);
	}
	for EACH (rc, CACHED_REPLICATION_CONTROLLERS) {
		count_pods(rc->metadata.uid, &active, &ready);
		same(rc, "observedGeneration", rc->status.observed_generation, rc->metadata.generation);
		same(rc, "number of pods", active, replicas_of(rc->spec.replicas));
		same(rc, "status.replicas", rc->status.replicas, active);
		same(rc, "status.readyReplicas", rc->status.ready_replicas, ready);
	}
}

static void stateful_sets(void)
{
	const struct apps_v1_stateful_set *set;
	for EACH (set, CACHED_STATEFUL_SETS) {
		int32_t wanted = replicas_of(set->spec.replicas), start = set->spec.ordinals ? set->spec.ordinals->start : 0, active, ready, old = 0;
		const struct apps_v1_rolling_update_stateful_set_strategy *rolling = set->spec.update_strategy.rolling_update;
		int32_t partition = rolling && rolling->partition ? *rolling->partition : 0;
		count_pods(set->metadata.uid, &active, &ready);
		same(set, "observedGeneration", set->status.observed_generation, set->metadata.generation);
		same(set, "number of pods", active, wanted);
		same(set, "number of ready pods", ready, wanted);
		same(set, "status.replicas", set->status.replicas, wanted);
		same(set, "status.readyReplicas", set->status.ready_replicas, wanted);
		same(set, "status.availableReplicas", set->status.available_replicas, wanted);
		for (int32_t i = start; i < start + wanted; i++) {
			char name[300];
			snprintf(name, sizeof(name), "%s-%d", set->metadata.name, i);
			const struct core_v1_pod *pod = server_find(CACHED_PODS, set->metadata.namespace, name);
			same(set, name, pod && owner_is_controller(&pod->metadata, set->metadata.uid), 1);
			old += !str_equal(api_map_get(&pod->metadata.labels, "controller-revision-hash"), set->status.update_revision);
			for (uint32_t j = 0; j < set->spec.volume_claim_templates.len; j++) {
				snprintf(name, sizeof(name), "data-%s-%d", set->metadata.name, i);
				same(set, name, server_find(CACHED_PERSISTENT_VOLUME_CLAIMS, set->metadata.namespace, name) != NULL, 1);
			}
		}
		if (old > max_of(min_of(partition - 0, wanted), 0))
			same(set, "number of pods of an old revision", old, min_of(partition, wanted));
		if (!partition) {
			same(set, "status.updatedReplicas", set->status.updated_replicas, wanted);
			same(set, "currentRevision is updateRevision", str_equal(set->status.current_revision, set->status.update_revision), 1);
		}
	}
}

static void daemon_sets(void)
{
	const struct apps_v1_daemon_set *ds;
	for EACH (ds, CACHED_DAEMON_SETS) {
		const struct core_v1_node *node;
		int32_t nodes = 0, active, ready;
		for EACH (node, CACHED_NODES)
			nodes += api_map_contains(&node->metadata.labels, &ds->spec.template.spec.node_selector);
		count_pods(ds->metadata.uid, &active, &ready);
		same(ds, "observedGeneration", ds->status.observed_generation, ds->metadata.generation);
		same(ds, "number of pods", active, nodes);
		same(ds, "number of ready pods", ready, nodes);
		same(ds, "status.desiredNumberScheduled", ds->status.desired_number_scheduled, nodes);
		same(ds, "status.currentNumberScheduled", ds->status.current_number_scheduled, nodes);
		same(ds, "status.updatedNumberScheduled", ds->status.updated_number_scheduled, nodes);
		same(ds, "status.numberReady", ds->status.number_ready, nodes);
		same(ds, "status.numberAvailable", ds->status.number_available, nodes);
		same(ds, "status.numberMisscheduled", ds->status.number_misscheduled, 0);
	}
}

static void jobs(void)
{
	const struct batch_v1_job *job;
	const struct core_v1_pod *pod;
	for EACH (job, CACHED_JOBS) {
		int32_t active = 0, held = 0;
		bool suspended = job->spec.suspend && *job->spec.suspend, idle = replicas_of(job->spec.parallelism) == 0;
		for EACH (pod, CACHED_PODS) {
			bool its = owner_is_controller(&pod->metadata, job->metadata.uid);
			active += its && pod_is_active(pod);
			held += its && api_string_list_has(&pod->metadata.finalizers, JOB_FINALIZER);
		}
		same(job, "number of active pods", active, 0);
		same(job, "status.active", job->status.active, 0);
		same(job, "number of pods with a finalizer", held, 0);
		same(job, "is finished, suspended or of no parallelism", job_is_finished(job) || suspended || idle, 1);
		same(job, "pods still to be counted", job->status.uncounted_terminated_pods && (job->status.uncounted_terminated_pods->succeeded.len ||
			job->status.uncounted_terminated_pods->failed.len), 0);
		const struct batch_v1_job_condition *complete = job_condition(job, "Complete");
		if (complete && str_equal(complete->status, "True") && job->spec.completions)
			same(job, "status.succeeded", job->status.succeeded, *job->spec.completions);
	}
}

/* Nothing waits to go, and nothing has lost all its owners. */
static void leftovers(void)
{
	for (size_t i = 0; i < server.count; i++) {
		const struct table *objects = &server.collections[i].objects;
		for (size_t j = 0; j < objects->len; j++) {
			const struct meta_v1_object_meta *meta = meta_of(objects->items[j].object);
			if (meta->deletion_timestamp.set)
				sim_fail("settled: %s %s still waits to go (finalizer %s)", server.collections[i].resource->plural, objects->items[j].key,
					meta->finalizers.len ? meta->finalizers.items[0] : "none");
			bool owned = !meta->owner_references.len;
			for (uint32_t k = 0; k < meta->owner_references.len && !owned; k++) {
				const struct meta_v1_owner_reference *ref = &meta->owner_references.items[k];
				for (size_t c = 0; c < server.count && !owned; c++) {
					char key[KEY_SIZE];
					const struct api_resource *resource = server.collections[c].resource;
					const void *owner = str_equal(resource->kind, ref->kind) ?
						table_get(&server.collections[c].objects, key_of(resource->namespaced ? meta->namespace : NULL, ref->name, key)) : NULL;
					owned = owner && str_equal(meta_of(owner)->uid, ref->uid);
				}
			}
			if (!owned)
				sim_fail("settled: %s %s has lost all its owners and is still there", server.collections[i].resource->plural, objects->items[j].key);
		}
	}
}

static void services(void)
{
	const struct core_v1_service *service;
	const struct core_v1_pod *pod;
	const struct discovery_v1_endpoint_slice *slice;
	for EACH (service, CACHED_SERVICES) {
		int32_t ready = 0, in_slices = 0, in_endpoints = 0;
		for EACH (pod, CACHED_PODS)
			ready += str_equal(pod->metadata.namespace, service->metadata.namespace) && api_map_contains(&pod->metadata.labels, &service->spec.selector) &&
				 pod_is_active(pod) && pod_is_ready(pod);
		for EACH (slice, CACHED_ENDPOINT_SLICES) {
			if (!owner_is_controller(&slice->metadata, service->metadata.uid))
				continue;
			for (uint32_t i = 0; i < slice->endpoints.len; i++)
				in_slices += slice->endpoints.items[i].conditions.ready && *slice->endpoints.items[i].conditions.ready;
		}
		const struct core_v1_endpoints *endpoints = server_find(CACHED_ENDPOINTS, service->metadata.namespace, service->metadata.name);
		for (uint32_t i = 0; endpoints && i < endpoints->subsets.len; i++)
			in_endpoints += endpoints->subsets.items[i].addresses.len;
		same(service, "ready endpoints in its slices", in_slices, ready);
		same(service, "addresses in its Endpoints", in_endpoints, ready);
	}
}

static void budgets(void)
{
	const struct policy_v1_pod_disruption_budget *pdb;
	const struct core_v1_pod *pod;
	for EACH (pdb, CACHED_POD_DISRUPTION_BUDGETS) {
		struct selector *selector = NULL;
		int32_t healthy = 0;
		label_selector_from(pdb->spec.selector, &selector, NULL);
		for EACH (pod, CACHED_PODS)
			healthy += str_equal(pod->metadata.namespace, pdb->metadata.namespace) && selector_matches_labels(selector, &pod->metadata.labels) &&
				   pod_is_active(pod) && pod_is_ready(pod);
		selector_free(selector);
		same(pdb, "observedGeneration", pdb->status.observed_generation, pdb->metadata.generation);
		if (pdb->status.conditions.len && !str_equal(pdb->status.conditions.items[0].reason, "SyncFailed"))
			same(pdb, "status.currentHealthy", pdb->status.current_healthy, healthy);
	}
}

/* Each pod that asks for it has its claim of an ephemeral volume, and one device claim that its status names. */
static void claims_of_pods(void)
{
	const struct core_v1_pod *pod;
	const struct resource_v1_resource_claim *claim;
	for EACH (pod, CACHED_PODS) {
		if (!pod->spec.resource_claims.len || !pod_is_active(pod))
			continue;
		autofree char *volume_claim = xprintf("%s-scratch", pod->metadata.name);
		const struct core_v1_persistent_volume_claim *volume = server_find(CACHED_PERSISTENT_VOLUME_CLAIMS, pod->metadata.namespace, volume_claim);
		same(pod, "claim of its ephemeral volume", volume && owner_is_controller(&volume->metadata, pod->metadata.uid), 1);
		if (!server_find(CACHED_RESOURCE_CLAIM_TEMPLATES, pod->metadata.namespace, "devices"))
			continue;
		int32_t made = 0, named = 0;
		for EACH (claim, CACHED_RESOURCE_CLAIMS) {
			bool its = owner_is_controller(&claim->metadata, pod->metadata.uid);
			made += its;
			for api_list_each (status, &pod->status.resource_claim_statuses)
				named += its && str_equal(status->resource_claim_name, claim->metadata.name);
		}
		same(pod, "number of its device claims", made, 1);
		same(pod, "device claim in its status", named, 1);
	}
}

static void namespaces(void)
{
	const struct core_v1_namespace *namespace;
	for EACH (namespace, CACHED_NAMESPACES) {
		same(namespace, "default service account", server_find(CACHED_SERVICE_ACCOUNTS, namespace->metadata.name, "default") != NULL, 1);
		same(namespace, "config map of the root CA", server_find(CACHED_CONFIG_MAPS, namespace->metadata.name, "kube-root-ca.crt") != NULL, 1);
	}
}

void checks_settled(void)
{
	leftovers();
	deployments();
	replica_sets();
	stateful_sets();
	daemon_sets();
	jobs();
	services();
	budgets();
	claims_of_pods();
	namespaces();
}
