/* SPDX-License-Identifier: Apache-2.0 */
/* People and what they ask of the cluster. */
#include "test/sim/sim.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const namespaces[] = {"a", "b", "c"};
static const char *const images[] = {"v1", "v2", "v3", "broken"};

static const char *any_namespace(void)
{
	return namespaces[sim_random(array_len(namespaces))];
}

static const char *any_image(void)
{
	return images[sim_random(sim.steady ? 3 : array_len(images))];
}

static void make(enum cached what, const char *fmt, ...) printf_like(2, 3);
static void make(enum cached what, const char *fmt, ...)
{
	autobuf struct buf json = BUF_INIT(1 << 16);
	autoerror struct error err = {0};
	autounref void *object = NULL;
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&json, fmt, args);
	va_end(args);
	if (api_decode_json(cached_resource(what)->type, json.data, json.len, NULL, &object, &err) < 0)
		sim_fail("a user's object is no object: %s: %s", error_message(&err), json.data);
	const struct meta_v1_object_meta *meta = api_metadata(object);
	if (server_create(collection_for(what), meta->namespace, object, NULL, &err) == 0)
		sim_log("user creates %s %s", cached_resource(what)->plural, json.data);
}

/* Merges a patch into one object of the kind in the namespace, any; false: there is none. */
static const void *any_of(enum cached what, const char *ns)
{
	const struct table *objects = &collection_for(what)->objects;
	size_t start = objects->len ? sim_random(objects->len) : 0;
	for (size_t i = 0; i < objects->len; i++) {
		const void *object = objects->items[(start + i) % objects->len].object;
		if (str_equal(api_metadata(object)->namespace, ns))
			return object;
	}
	return NULL;
}

static void edit(enum cached what, const void *object, const char *fmt, ...) printf_like(3, 4);
static void edit(enum cached what, const void *object, const char *fmt, ...)
{
	if (!object)
		return;
	autounref void *held = api_ref(object);
	const struct meta_v1_object_meta *meta = api_metadata(held);
	autobuf struct buf json = BUF_INIT(1 << 16);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&json, fmt, args);
	va_end(args);
	json_t *patch = json_loadb(json.data, json.len, 0, NULL);
	autoerror struct error err = {0};
	int r = server_patch(collection_for(what), meta->namespace, meta->name, NULL, patch, NULL, &err);
	sim_log("user patches %s %s/%s: %s%s%s", cached_resource(what)->plural, str_or(meta->namespace, ""), meta->name, json.data, r ? ": " : "", r ? error_message(&err) : "");
	json_decref(patch);
}

static void delete(enum cached what, const void *object)
{
	static const char *const policies[] = {"Background", "Foreground", "Orphan", NULL};
	struct client_delete_options options = CLIENT_DELETE_OPTIONS_INIT;
	/* Who changes his mind about dependents that are already being collected cannot know which are left. */
	if (!object || api_metadata(object)->deletion_timestamp.set)
		return;
	autounref void *held = api_ref(object);
	const struct meta_v1_object_meta *meta = api_metadata(held);
	options.propagation = policies[sim_random(sim.steady ? 2 : 4)];
	server_delete(collection_for(what), meta->namespace, meta->name, &options, NULL);
	sim_log("user deletes %s %s/%s %s", cached_resource(what)->plural, str_or(meta->namespace, ""), meta->name, str_or(options.propagation, ""));
}

/* ---- workloads ---- */

#define TEMPLATE "\"template\":{\"metadata\":{\"labels\":{\"app\":\"%s\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}"
/* What the pod's own controllers make for it: a claim of an ephemeral volume, and one of a device. */
#define EXTRAS "\"volumes\":[{\"name\":\"scratch\",\"ephemeral\":{\"volumeClaimTemplate\":{\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}}}]," \
	       "\"resourceClaims\":[{\"name\":\"device\",\"resourceClaimTemplateName\":\"devices\"}],"
#define TEMPLATE_WITH "\"template\":{\"metadata\":{\"labels\":{\"app\":\"%s\"}},\"spec\":{%s\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}"
#define SELECTOR "\"selector\":{\"matchLabels\":{\"app\":\"%s\"}}"

static const char *amount(char out[16])
{
	if (sim_chance(300))
		snprintf(out, 16, "\"%u%%\"", (unsigned)sim_random(4) * 25);
	else
		snprintf(out, 16, "%u", (unsigned)sim_random(3));
	return out;
}

static void make_deployment(const char *ns)
{
	char surge[16], unavailable[16], name[8], strategy[160] = "\"type\":\"Recreate\"";
	snprintf(name, sizeof(name), "d%u", (unsigned)sim_random(3));
	if (sim_chance(800))
		snprintf(strategy, sizeof(strategy), "\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"maxSurge\":%s,\"maxUnavailable\":%s}", amount(surge), amount(unavailable));
	make(CACHED_DEPLOYMENTS, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},\"spec\":{\"replicas\":%u,\"minReadySeconds\":%u,\"revisionHistoryLimit\":%u,"
		"\"progressDeadlineSeconds\":60,\"strategy\":{%s}," SELECTOR "," TEMPLATE_WITH "}}",
		name, ns, (unsigned)sim_random(6), sim_chance(300) ? 5 : 0, (unsigned)sim_random(3), strategy, name, name, sim_chance(250) ? EXTRAS : "", any_image());
}

static void make_set(const char *ns)
{
	if (sim_chance(500))
		make(CACHED_REPLICA_SETS, "{\"metadata\":{\"name\":\"r0\",\"namespace\":\"%s\"},\"spec\":{\"replicas\":%u," SELECTOR "," TEMPLATE "}}", ns,
			(unsigned)sim_random(5), "r0", "r0", any_image());
	else
		make(CACHED_REPLICATION_CONTROLLERS, "{\"metadata\":{\"name\":\"rc0\",\"namespace\":\"%s\"},\"spec\":{\"replicas\":%u,\"selector\":{\"app\":\"%s\"}," TEMPLATE "}}",
			ns, (unsigned)sim_random(5), "rc0", "rc0", any_image());
}

static void make_stateful_set(const char *ns)
{
	char name[8];
	snprintf(name, sizeof(name), "s%u", (unsigned)sim_random(2));
	const char *claims = sim_chance(500) ? ",\"volumeClaimTemplates\":[{\"metadata\":{\"name\":\"data\"},\"spec\":{\"accessModes\":[\"ReadWriteOnce\"],"
					       "\"resources\":{\"requests\":{\"storage\":\"1Gi\"}}}}]" : "";
	make(CACHED_STATEFUL_SETS, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},\"spec\":{\"replicas\":%u,\"serviceName\":\"%s\",\"podManagementPolicy\":\"%s\","
		"\"revisionHistoryLimit\":%u,\"ordinals\":{\"start\":%u},\"persistentVolumeClaimRetentionPolicy\":{\"whenDeleted\":\"%s\",\"whenScaled\":\"%s\"},"
		SELECTOR "," TEMPLATE "%s}}",
		name, ns, (unsigned)sim_random(5), name, sim_chance(500) ? "OrderedReady" : "Parallel", (unsigned)sim_random(3), sim_chance(200) ? 2 : 0,
		sim_chance(500) ? "Delete" : "Retain", sim_chance(500) ? "Delete" : "Retain", name, name, any_image(), claims);
}

static void make_daemon_set(const char *ns)
{
	bool surges = sim_chance(400);
	make(CACHED_DAEMON_SETS, "{\"metadata\":{\"name\":\"n0\",\"namespace\":\"%s\"},\"spec\":{\"revisionHistoryLimit\":1,\"updateStrategy\":{\"type\":\"RollingUpdate\","
		"\"rollingUpdate\":{\"maxSurge\":%u,\"maxUnavailable\":%u}}," SELECTOR "," TEMPLATE "}}",
		ns, surges ? 1 + (unsigned)sim_random(2) : 0, surges ? 0 : 1 + (unsigned)sim_random(2), "n0", "n0", any_image());
}

static void make_job(const char *ns)
{
	char name[8], completions[40] = "";
	bool indexed = sim_chance(400);
	snprintf(name, sizeof(name), "j%u", (unsigned)sim_random(4));
	if (indexed || sim_chance(800))
		snprintf(completions, sizeof(completions), "\"completions\":%u,", 1 + (unsigned)sim_random(6));
	make(CACHED_JOBS, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"},\"spec\":{%s\"parallelism\":%u,\"completionMode\":\"%s\",\"backoffLimit\":%u,%s%s%s"
		"\"template\":{\"spec\":{\"restartPolicy\":\"%s\",\"containers\":[{\"name\":\"c\",\"image\":\"v1\"}]}}}}",
		name, ns, completions, 1 + (unsigned)sim_random(4), indexed ? "Indexed" : "NonIndexed", (unsigned)sim_random(7), sim_chance(200) ? "\"suspend\":true," : "",
		sim_chance(200) ? "\"ttlSecondsAfterFinished\":30," : "", sim_chance(300) ? "\"podReplacementPolicy\":\"Failed\"," : "", sim_chance(800) ? "Never" : "OnFailure");
}

static void make_cron_job(const char *ns)
{
	static const char *const policies[] = {"Allow", "Forbid", "Replace"};
	make(CACHED_CRON_JOBS, "{\"metadata\":{\"name\":\"c0\",\"namespace\":\"%s\"},\"spec\":{\"schedule\":\"* * * * *\",\"concurrencyPolicy\":\"%s\","
		"\"successfulJobsHistoryLimit\":1,\"failedJobsHistoryLimit\":1,\"jobTemplate\":{\"spec\":{\"template\":{\"spec\":{\"restartPolicy\":\"Never\","
		"\"containers\":[{\"name\":\"c\",\"image\":\"v1\"}]}}}}}}",
		ns, policies[sim_random(3)]);
}

static void make_service(const char *ns)
{
	static const char *const apps[] = {"d0", "d1", "s0", "n0"};
	const char *app = apps[sim_random(array_len(apps))];
	make(CACHED_SERVICES, "{\"metadata\":{\"name\":\"svc-%s\",\"namespace\":\"%s\"},\"spec\":{\"clusterIP\":\"None\",\"selector\":{\"app\":\"%s\"},\"ports\":[{\"port\":80}]}}", app, ns, app);
}

static void make_budget(const char *ns)
{
	const char *app = sim_chance(500) ? "d0" : "s0";
	make(CACHED_POD_DISRUPTION_BUDGETS, "{\"metadata\":{\"name\":\"pdb-%s\",\"namespace\":\"%s\"},\"spec\":{\"%s\":%s," SELECTOR "}}", app, ns,
		sim_chance(500) ? "minAvailable" : "maxUnavailable", sim_chance(300) ? "\"50%\"" : "1", app);
}

static void make_namespace(const char *ns)
{
	make(CACHED_NAMESPACES, "{\"metadata\":{\"name\":\"%s\"}}", ns);
	make(CACHED_RESOURCE_CLAIM_TEMPLATES, "{\"metadata\":{\"name\":\"devices\",\"namespace\":\"%s\"},\"spec\":{\"spec\":{\"devices\":{\"requests\":[{\"name\":\"r\",\"exactly\":{\"deviceClassName\":\"k\"}}]}}}}", ns);
	if (sim_chance(300))
		make(CACHED_RESOURCE_QUOTAS, "{\"metadata\":{\"name\":\"q\",\"namespace\":\"%s\"},\"spec\":{\"hard\":{\"pods\":\"%u\",\"count/jobs.batch\":\"%u\"}}}", ns,
			6 + (unsigned)sim_random(10), 2 + (unsigned)sim_random(4));
}

static void edit_deployment(const char *ns)
{
	const struct apps_v1_deployment *d = any_of(CACHED_DEPLOYMENTS, ns);
	switch (sim_random(6)) {
	case 0:
	case 1:
		edit(CACHED_DEPLOYMENTS, d, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}}}", any_image());
		break;
	case 2:
	case 3:
		edit(CACHED_DEPLOYMENTS, d, "{\"spec\":{\"replicas\":%u}}", (unsigned)sim_random(7));
		break;
	case 4:
		edit(CACHED_DEPLOYMENTS, d, "{\"spec\":{\"paused\":%s}}", d && d->spec.paused ? "false" : "true");
		break;
	default:
		if (sim_chance(500))
			edit(CACHED_DEPLOYMENTS, d, "{\"spec\":{\"replicas\":%u,\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}}}",
				(unsigned)sim_random(7), any_image());
		else
			delete(CACHED_DEPLOYMENTS, d);
	}
}

static void edit_set(const char *ns)
{
	enum cached what = sim_chance(500) ? CACHED_REPLICA_SETS : CACHED_REPLICATION_CONTROLLERS;
	const void *set = any_of(what, ns);
	if (!set || owner_controller(api_metadata(set)))
		return;
	if (sim_chance(700))
		edit(what, set, "{\"spec\":{\"replicas\":%u}}", (unsigned)sim_random(6));
	else
		delete(what, set);
}

static void edit_stateful_set(const char *ns)
{
	const struct apps_v1_stateful_set *set = any_of(CACHED_STATEFUL_SETS, ns);
	switch (sim_random(5)) {
	case 0:
	case 1:
		edit(CACHED_STATEFUL_SETS, set, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}}}", any_image());
		break;
	case 2:
		edit(CACHED_STATEFUL_SETS, set, "{\"spec\":{\"replicas\":%u}}", (unsigned)sim_random(6));
		break;
	case 3:
		edit(CACHED_STATEFUL_SETS, set, "{\"spec\":{\"updateStrategy\":{\"type\":\"RollingUpdate\",\"rollingUpdate\":{\"partition\":%u}}}}", (unsigned)sim_random(3));
		break;
	default:
		if (sim_chance(400))
			delete(CACHED_STATEFUL_SETS, set);
	}
}

static void edit_daemon_set(const char *ns)
{
	const struct apps_v1_daemon_set *ds = any_of(CACHED_DAEMON_SETS, ns);
	switch (sim_random(4)) {
	case 0:
	case 1:
		edit(CACHED_DAEMON_SETS, ds, "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"%s\"}]}}}}", any_image());
		break;
	case 2:
		edit(CACHED_DAEMON_SETS, ds, "{\"spec\":{\"template\":{\"spec\":{\"nodeSelector\":%s}}}}", sim_chance(500) ? "{\"disk\":\"ssd\"}" : "null");
		break;
	default:
		if (sim_chance(400))
			delete(CACHED_DAEMON_SETS, ds);
	}
}

static void edit_job(const char *ns)
{
	const struct batch_v1_job *job = any_of(CACHED_JOBS, ns);
	switch (sim_random(4)) {
	case 0:
		edit(CACHED_JOBS, job, "{\"spec\":{\"suspend\":%s}}", job && job->spec.suspend && *job->spec.suspend ? "false" : "true");
		break;
	case 1:
		edit(CACHED_JOBS, job, "{\"spec\":{\"parallelism\":%u}}", (unsigned)sim_random(5));
		break;
	case 2:
		delete(CACHED_JOBS, job);
		break;
	default:
		if (sim_chance(300))
			delete(CACHED_CRON_JOBS, any_of(CACHED_CRON_JOBS, ns));
	}
}

/* Three that own each other in a ring, one of which may be deleted: none of them keeps the others, or the namespace, from going. */
static void make_ring(const char *ns)
{
	static const char *const names[] = {"ring0", "ring1", "ring2"};
	for (size_t i = 0; i < array_len(names); i++)
		make(CACHED_CONFIG_MAPS, "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"%s\"}}", names[i], ns);
	for (size_t i = 0; i < array_len(names); i++) {
		const struct core_v1_config_map *map = server_find(CACHED_CONFIG_MAPS, ns, names[i]), *owner = server_find(CACHED_CONFIG_MAPS, ns, names[(i + 1) % array_len(names)]);
		if (map && owner && !map->metadata.owner_references.len && !map->metadata.deletion_timestamp.set)
			edit(CACHED_CONFIG_MAPS, map, "{\"metadata\":{\"ownerReferences\":[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"%s\",\"uid\":\"%s\",\"blockOwnerDeletion\":true}]}}",
				owner->metadata.name, owner->metadata.uid);
	}
	if (sim_chance(500))
		delete(CACHED_CONFIG_MAPS, server_find(CACHED_CONFIG_MAPS, ns, names[sim_random(array_len(names))]));
}

/* What users do to pods behind the controllers' backs. */
static void meddle(const char *ns)
{
	const struct core_v1_pod *pod = any_of(CACHED_PODS, ns);
	struct client_delete_options options = CLIENT_DELETE_OPTIONS_INIT;
	autounref struct core_v1_pod *held = pod ? api_ref(pod) : NULL;
	static const char *const apps[] = {"d0", "r0", "rc0"};
	if (!held)
		return;
	switch (sim_random(4)) {
	case 0:
		sim_log("user deletes pod %s/%s", ns, held->metadata.name);
		server_delete(collection_for(CACHED_PODS), ns, held->metadata.name, &options, NULL);
		break;
	case 1:
		sim_log("user evicts pod %s/%s", ns, held->metadata.name);
		server_evict(ns, held->metadata.name, NULL);
		break;
	case 2:
		edit(CACHED_PODS, pod, "{\"metadata\":{\"labels\":{\"app\":\"%s\"}}}", sim_chance(500) ? "quarantine" : str_or(api_map_get(&pod->metadata.labels, "was"), apps[sim_random(3)]));
		break;
	default:
		make(CACHED_PODS, "{\"metadata\":{\"name\":\"stray%u\",\"namespace\":\"%s\",\"labels\":{\"app\":\"%s\",\"by\":\"user\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"v1\"}]}}",
			(unsigned)sim_random(3), ns, apps[sim_random(array_len(apps))]);
	}
}

void users_start(void)
{
	static const char *const system[] = {"kube-system", "kube-node-lease", "default"};
	for (size_t i = 0; i < array_len(system); i++)
		make(CACHED_NAMESPACES, "{\"metadata\":{\"name\":\"%s\"}}", system[i]);
	for (size_t i = 0; i < array_len(namespaces); i++)
		make_namespace(namespaces[i]);
}

static const struct action {
	void (*act)(const char *ns);
	unsigned weight;
	bool unsteady;
} actions[] = {
	{make_deployment, 10, false}, {make_set, 4, false}, {make_stateful_set, 6, false}, {make_daemon_set, 3, false}, {make_job, 10, false},
	{make_cron_job, 2, false}, {make_service, 4, false}, {make_budget, 3, false}, {make_namespace, 3, false}, {make_ring, 2, false}, {edit_deployment, 24, false}, {edit_set, 6, false},
	{edit_stateful_set, 12, false}, {edit_daemon_set, 6, false}, {edit_job, 8, false}, {meddle, 16, true},
};

void users_act(void)
{
	unsigned total = 0;
	if (sim_chance(4)) {
		delete(CACHED_NAMESPACES, server_find(CACHED_NAMESPACES, NULL, any_namespace()));
		return;
	}
	for (size_t i = 0; i < array_len(actions); i++)
		total += actions[i].weight;
	uint64_t pick = sim_random(total);
	for (size_t i = 0; i < array_len(actions); i++) {
		if (pick < actions[i].weight) {
			if (!(actions[i].unsteady && sim.steady))
				actions[i].act(any_namespace());
			return;
		}
		pick -= actions[i].weight;
	}
}

static void edit_all(enum cached what, const char *patch)
{
	struct table *objects = &collection_for(what)->objects;
	for (size_t i = 0; i < objects->len; i++)
		edit(what, objects->items[i].object, "%s", patch);
}

static void delete_all(enum cached what)
{
	struct table *objects = &collection_for(what)->objects;
	for (size_t i = objects->len; i--;)
		delete(what, objects->items[i].object);
}

/* Pods that users have renamed or made by hand stand in the way of those whose names they have. */
void users_mend(void)
{
	struct client_delete_options options = CLIENT_DELETE_OPTIONS_INIT;
	struct table *pods = &collection_for(CACHED_PODS)->objects;
	for (size_t i = pods->len; i--;) {
		autounref struct core_v1_pod *pod = api_ref(pods->items[i].object);
		const char *app = api_map_get(&pod->metadata.labels, "app");
		/* An ordered StatefulSet does not get past a pod of a broken template by itself. */
		const struct meta_v1_owner_reference *owner = owner_controller(&pod->metadata);
		bool stuck = owner && str_equal(owner->kind, "StatefulSet") && str_equal(pod->spec.containers.items[0].image, "broken");
		if (pod->metadata.deletion_timestamp.set)
			continue;
		if ((app && stuck) || (app && !(str_starts_with(pod->metadata.name, app) && pod->metadata.name[strlen(app)] == '-')))
			server_delete(collection_for(CACHED_PODS), pod->metadata.namespace, pod->metadata.name, &options, NULL);
	}
}

void users_leave(void)
{
	static const char good[] = "{\"spec\":{\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"v9\"}]}}}}";
	delete_all(CACHED_RESOURCE_QUOTAS);
	edit_all(CACHED_DEPLOYMENTS, "{\"spec\":{\"paused\":false,\"template\":{\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"v9\"}]}}}}");
	edit_all(CACHED_STATEFUL_SETS, "{\"spec\":{\"updateStrategy\":{\"rollingUpdate\":{\"partition\":0}}}}");
	edit_all(CACHED_STATEFUL_SETS, good);
	edit_all(CACHED_DAEMON_SETS, good);
	users_mend();
	edit_all(CACHED_CRON_JOBS, "{\"spec\":{\"suspend\":true}}");
}
