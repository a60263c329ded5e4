/* SPDX-License-Identifier: Apache-2.0 */
/* Publishes the cluster's CA as ConfigMap kube-root-ca.crt in every namespace, so that pods can check the API server. */
#include "common/base/file.h"
#include "controller-manager/controller.h"

#include "api/core_v1.h"

#include <fcntl.h>
#include <pthread.h>

#define CONFIG_MAP_NAME "kube-root-ca.crt"
#define DATA_KEY "ca.crt"
#define ANNOTATION_DESCRIPTION "kubernetes.io/description"
#define DESCRIPTION \
	"Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or " \
	"kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."
#define MAX_CA_BYTES ((size_t)1 << 20)

struct state {
	pthread_mutex_t lock;
	char *ca; /* read once; NULL: not yet */
};

static void *state_new(void)
{
	struct state *state = xnew(struct state);
	pthread_mutex_init(&state->lock, NULL);
	return state;
}

static void state_free(void *arg)
{
	struct state *state = arg;
	pthread_mutex_destroy(&state->lock);
	free(state->ca);
	free(state);
}

static bool enabled(const struct settings *settings)
{
	return !str_empty(settings->root_ca_file);
}

static int read_ca(struct reconciler *r, struct error *err)
{
	struct state *state = r->state;
	int result = 0;
	pthread_mutex_lock(&state->lock);
	if (!state->ca)
		result = file_read(AT_FDCWD, r->world->settings->root_ca_file, MAX_CA_BYTES, &state->ca, NULL, err);
	pthread_mutex_unlock(&state->lock);
	return result;
}

static void fill(struct core_v1_config_map *map, const char *ca)
{
	struct arena *arena = api_arena(map);
	map->data = (struct api_string_map){0};
	api_map_set(arena, &map->data, DATA_KEY, ca);
	api_map_set(arena, &map->metadata.annotations, ANNOTATION_DESCRIPTION, DESCRIPTION);
}

static bool is_right(const struct core_v1_config_map *map, const char *ca)
{
	return map->data.len == 1 && !map->binary_data.len && str_equal(api_map_get(&map->data, DATA_KEY), ca) &&
	       str_equal(api_map_get(&map->metadata.annotations, ANNOTATION_DESCRIPTION), DESCRIPTION);
}

static const double latency_buckets[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 0};
static const char *const code_label[] = {"code", NULL};
static struct metric metrics[] = {
	{.name = "root_ca_cert_publisher_sync_total", .help = "Namespaces whose copy of the CA was looked after.", .kind = METRIC_COUNTER, .labels = code_label},
	{.name = "root_ca_cert_publisher_sync_duration_seconds", .help = "How long that took.", .kind = METRIC_HISTOGRAM, .labels = code_label, .buckets = latency_buckets},
};

static int publish(struct reconciler *r, const char *name, struct error *err)
{
	autounref struct core_v1_namespace *namespace = world_find(r->world, CACHED_NAMESPACES, NULL, name);
	if (!namespace || namespace->metadata.deletion_timestamp.set || str_equal(namespace->status.phase, CORE_V1_NAMESPACE_PHASE_TERMINATING))
		return 0;
	int result = read_ca(r, err);
	if (result)
		return result;
	const char *ca = ((struct state *)r->state)->ca;
	autounref struct core_v1_config_map *found = world_find(r->world, CACHED_ROOT_CA_CONFIG_MAPS, name, CONFIG_MAP_NAME);
	autoerror struct error failed = {0};
	if (found && is_right(found, ca))
		return 0;
	if (found) {
		autounref struct core_v1_config_map *copy = api_copy(found);
		fill(copy, ca);
		copy->binary_data.len = 0;
		return world_update(r->world, CACHED_ROOT_CA_CONFIG_MAPS, copy, NULL, err);
	}
	autounref struct core_v1_config_map *map = api_new_of(core_v1_config_map);
	map->metadata.name = CONFIG_MAP_NAME;
	map->metadata.namespace = arena_strdup(api_arena(map), name);
	fill(map, ca);
	result = world_create(r->world, CACHED_ROOT_CA_CONFIG_MAPS, map, NULL, &failed);
	if (result == 0 || error_is(&failed, "AlreadyExists") || error_is(&failed, "NotFound"))
		return 0;
	for (size_t i = 0; i < failed.cause_count; i++)
		if (str_equal(failed.causes[i].reason, META_V1_CAUSE_TYPE_NAMESPACE_TERMINATING))
			return 0;
	return error_move(err, &failed);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	int64_t start = clock_monotonic_ns();
	autoerror struct error failed = {0};
	char code[16];
	int result = publish(r, name, &failed);
	snprintf(code, sizeof(code), "%d", !result ? 200 : failed.http_code ? failed.http_code : 500);
	metric_add(metric_label(&metrics[0], code), 1);
	metric_observe(metric_label(&metrics[1], code), (double)(clock_monotonic_ns() - start) / NSEC_PER_SEC);
	return result ? error_move(err, &failed) : 0;
}

static void wake_by_map(struct reconciler *r, const void *object)
{
	const struct core_v1_config_map *map = object;
	if (str_equal(map->metadata.name, CONFIG_MAP_NAME))
		reconciler_add(r, NULL, map->metadata.namespace);
}

const struct controller root_ca_publisher_controller = {
	.name = "root-ca-certificate-publisher-controller",
	.queue = "root_ca_cert_publisher",
	.account = "root-ca-cert-publisher",
	.alias = "root-ca-cert-publisher",
	.workers = 1,
	.metrics = metrics,
	.metric_count = array_len(metrics),
	.enabled = enabled,
	.watches = (const struct controller_watch[]){{.what = CACHED_NAMESPACES}, {.what = CACHED_ROOT_CA_CONFIG_MAPS, .wake = wake_by_map}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
	.state_new = state_new,
	.state_free = state_free,
};
