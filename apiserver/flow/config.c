/* SPDX-License-Identifier: Apache-2.0 */
/* From FlowSchemas and PriorityLevelConfigurations to what requests are judged by. */
#include "apiserver/flow/internal.h"
#include "apiserver/worker.h"
#include "common/base/log.h"
#include "common/base/map.h"

#include <errno.h>
#include <math.h>

#define GROUP "flowcontrol.apiserver.k8s.io"
/* What an old envelope of demand still counts for after ten seconds. */
#define SMOOTHING 0.977
/* The widest request of a level takes no more of it. */
#define WIDEST_PART 0.15

/* ---- demand ---- */

void demand_note(struct demand *demand, double value, int64_t now) {
	double passed = (double)(now - demand->changed) / NSEC_PER_SEC;
	demand->area += demand->value * passed;
	demand->squares += demand->value * demand->value * passed;
	demand->changed = now;
	demand->value = value;
	demand->peak = max_of(demand->peak, value);
}

void demand_reset(struct demand *demand, int64_t now, double *ret_mean, double *ret_deviation, double *ret_peak) {
	demand_note(demand, demand->value, now);
	double passed = (double)(now - demand->since) / NSEC_PER_SEC;
	*ret_mean = passed > 0 ? demand->area / passed : demand->value;
	double variance = passed > 0 ? demand->squares / passed - *ret_mean * *ret_mean : 0;
	*ret_deviation = variance > 0 ? sqrt(variance) : 0;
	*ret_peak = demand->peak;
	demand->since = now;
	demand->area = demand->squares = 0;
	demand->peak = demand->value;
}

/* ---- levels ---- */

static struct flow_level *level_new(const char *name) {
	struct flow_level *level = xnew(struct flow_level);
	int64_t now = clock_monotonic_ns();
	level->refs = 1;
	level->name = xstrdup(name);
	level->demand.since = level->demand.changed = now;
	list_init(&level->running);
	flow_metrics_level(level);
	pthread_mutex_init(&level->lock, NULL);
	queueset_init(&level->set, now);
	return level;
}

static struct flow_level *level_ref(struct flow_level *level) {
	__atomic_add_fetch(&level->refs, 1, __ATOMIC_RELAXED);
	return level;
}

static void level_unref(struct flow_level *level) {
	if (__atomic_sub_fetch(&level->refs, 1, __ATOMIC_ACQ_REL))
		return;
	queueset_done(&level->set);
	pthread_mutex_destroy(&level->lock);
	free(level->name);
	free(level);
}

void flow_config_unref(struct flow_config *config) {
	if (!config || __atomic_sub_fetch(&config->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < config->schema_count; i++) {
		api_unref(config->schemas[i].object);
		level_unref(config->schemas[i].level);
	}
	for (size_t i = 0; i < config->level_count; i++)
		level_unref(config->levels[i]);
	free(config->schemas);
	free(config->levels);
	free(config);
}

static struct flow_level *find_level(const struct flow_config *config, const char *name) {
	for (size_t i = 0; config && i < config->level_count; i++)
		if (str_equal(config->levels[i]->name, name))
			return config->levels[i];
	return NULL;
}

static double shares_of(const struct flowcontrol_v1_priority_level_configuration_spec *spec) {
	const int32_t *shares = str_equal(spec->type, "Exempt") ? (spec->exempt ? spec->exempt->nominal_concurrency_shares : NULL) : spec->limited ? spec->limited->nominal_concurrency_shares : NULL;
	return shares ? *shares : str_equal(spec->type, "Exempt") ? 0 : 30;
}

static void set_level(struct flow *flow, struct flow_level *level, const struct flowcontrol_v1_priority_level_configuration *object, double all_shares) {
	const struct flowcontrol_v1_priority_level_configuration_spec *spec = &object->spec;
	const struct flowcontrol_v1_limited_priority_level_configuration *limited = spec->limited;
	struct queueset_config config = {.mode = QUEUESET_REJECT};
	bool exempt = str_equal(spec->type, "Exempt");
	const int32_t *lendable = exempt ? (spec->exempt ? spec->exempt->lendable_percent : NULL) : limited ? limited->lendable_percent : NULL;
	if (exempt) {
		config.mode = QUEUESET_EXEMPT;
	} else if (limited && str_equal(limited->limit_response.type, "Queue")) {
		const struct flowcontrol_v1_queuing_configuration *queuing = limited->limit_response.queuing;
		config = (struct queueset_config){.mode = QUEUESET_QUEUE, .queues = queuing ? (unsigned)max_of(queuing->queues, 1) : 64, .hand_size = queuing ? (unsigned)max_of(queuing->hand_size, 1) : 8,
			.queue_length = queuing ? (unsigned)max_of(queuing->queue_length_limit, 1) : 50};
		config.queues = min_of(config.queues, 100000u);
	}
	pthread_mutex_lock(&level->lock);
	bool fresh = !level->nominal && !level->upper;
	level->exempt = exempt;
	level->leaving = false;
	level->nominal = (unsigned)ceil(flow->seats * shares_of(spec) / max_of(all_shares, 1.0));
	level->lower = level->nominal - (unsigned)lround(level->nominal * (lendable ? *lendable : 0) / 100.0);
	level->upper = limited && limited->borrowing_limit_percent ? level->nominal + (unsigned)lround(level->nominal * (double)*limited->borrowing_limit_percent / 100.0) : UINT16_MAX * 16u;
	level->max_seats = (unsigned)max_of(ceil(level->nominal * WIDEST_PART), 1.0);
	if (fresh)
		level->demand.smoothed = level->nominal;
	unsigned limit = fresh ? level->nominal : min_of(level->set.limit, level->upper);
	level->set.limit = max_of(level->lower, limit);
	snprintf(level->uid, sizeof(level->uid), "%s", str_or(object->metadata.uid, ""));
	queueset_configure(&level->set, &config);
	flow_metrics_limits(level);
	pthread_mutex_unlock(&level->lock);
}

/* ---- schemas ---- */

static int compare_schemas(const void *a, const void *b) {
	const struct flowcontrol_v1_flow_schema *x = ((const struct flow_schema *)a)->object, *y = ((const struct flow_schema *)b)->object;
	if (x->spec.matching_precedence != y->spec.matching_precedence)
		return x->spec.matching_precedence < y->spec.matching_precedence ? -1 : 1;
	return strcmp(x->metadata.name, y->metadata.name);
}

static void add_schema(struct flow_config *config, const struct flowcontrol_v1_flow_schema *object) {
	struct flow_level *level = find_level(config, object->spec.priority_level_configuration.name);
	if (!level)
		return; /* it dangles: nothing matches it */
	const struct flowcontrol_v1_flow_distinguisher_method *method = object->spec.distinguisher_method;
	struct flow_schema *schema = &config->schemas[config->schema_count++];
	*schema = (struct flow_schema){.object = api_ref(object), .level = level_ref(level)};
	schema->by = !method ? FLOW_BY_NOTHING : str_equal(method->type, "ByUser") ? FLOW_BY_USER : str_equal(method->type, "ByNamespace") ? FLOW_BY_NAMESPACE : FLOW_BY_NOTHING;
	flow_metrics_schema(schema);
}

/* What must be there whatever etcd holds. */
static const char mandatory_levels[][600] = {
	"{\"kind\":\"PriorityLevelConfiguration\",\"apiVersion\":\"" GROUP "/v1\",\"metadata\":{\"name\":\"exempt\"},\"spec\":{\"type\":\"Exempt\"}}",
	"{\"kind\":\"PriorityLevelConfiguration\",\"apiVersion\":\"" GROUP "/v1\",\"metadata\":{\"name\":\"catch-all\"},\"spec\":{\"type\":\"Limited\",\"limited\":{\"nominalConcurrencyShares\":5,\"limitResponse\":{\"type\":\"Reject\"}}}}",
};
#define ALL "[{\"kind\":\"Group\",\"group\":{\"name\":\"%s\"}}],\"resourceRules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"],\"clusterScope\":true,\"namespaces\":[\"*\"]}],\"nonResourceRules\":[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]"
static const struct { const char *name, *group; int precedence; } mandatory_schemas[] = {{"exempt", "system:masters", 1}, {"catch-all", "*", 10000}};

static void *decode(const struct api_type *type, const char *json) {
	void *object = NULL;
	if (api_decode_json(type, json, strlen(json), NULL, &object, NULL) < 0)
		abort(); /* our own text */
	api_default(object);
	return object;
}

struct objects {
	void **items; /* referenced */
	size_t len;
};

static void read_all(struct flow *flow, const char *plural, struct objects *ret) {
	const struct resource *resource = registry_find(flow->server->registry, GROUP, "v1", plural);
	*ret = (struct objects){0};
	if (!resource)
		return;
	autosnapshot struct snapshot *snapshot = collection_snapshot(resource->collection);
	ret->items = xcalloc(snapshot->len + 2, sizeof(*ret->items));
	for (size_t i = 0; i < snapshot->len; i++)
		if (resource_decode(resource, snapshot_entry(snapshot, i), &ret->items[ret->len], NULL) == 0)
			ret->len++;
}

static bool has_name(const struct objects *objects, const char *name) {
	for (size_t i = 0; i < objects->len; i++)
		if (str_equal(api_metadata(objects->items[i])->name, name))
			return true;
	return false;
}

static void free_all(struct objects *objects) {
	for (size_t i = 0; i < objects->len; i++)
		api_unref(objects->items[i]);
	free(objects->items);
}

struct flow_config *flow_config_get(struct flow *flow) {
	pthread_mutex_lock(&flow->lock);
	struct flow_config *config = flow->config;
	__atomic_add_fetch(&config->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&flow->lock);
	return config;
}

/* The level as it was, with what waits in it. */
static struct flow_level *keep_level(struct flow *flow, const char *name) {
	struct flow_level *old = find_level(flow->config, name);
	return old ? level_ref(old) : level_new(name);
}

void flow_reload(struct flow *flow) {
	struct objects levels, schemas;
	struct flow_config *config = xnew(struct flow_config);
	read_all(flow, "prioritylevelconfigurations", &levels);
	read_all(flow, "flowschemas", &schemas);
	for (size_t i = 0; i < array_len(mandatory_levels); i++) {
		void *object = decode(&flowcontrol_v1_priority_level_configuration_type, mandatory_levels[i]);
		if (has_name(&levels, api_metadata(object)->name))
			api_unref(object);
		else
			levels.items[levels.len++] = object;
	}
	for (size_t i = 0; i < array_len(mandatory_schemas); i++) {
		if (has_name(&schemas, mandatory_schemas[i].name))
			continue;
		autofree char *json = xprintf("{\"kind\":\"FlowSchema\",\"apiVersion\":\"" GROUP "/v1\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"matchingPrecedence\":%d,\"priorityLevelConfiguration\":{\"name\":\"%s\"},\"rules\":[{\"subjects\":" ALL "}]}}",
			mandatory_schemas[i].name, mandatory_schemas[i].precedence, mandatory_schemas[i].name, mandatory_schemas[i].group);
		schemas.items[schemas.len++] = decode(&flowcontrol_v1_flow_schema_type, json);
	}
	double shares = 0;
	for (size_t i = 0; i < levels.len; i++)
		shares += shares_of(&((struct flowcontrol_v1_priority_level_configuration *)levels.items[i])->spec);
	config->refs = 1;
	config->levels = xcalloc(levels.len + 1, sizeof(*config->levels));
	config->schemas = xcalloc(schemas.len + 1, sizeof(*config->schemas));
	pthread_mutex_lock(&flow->lock);
	for (size_t i = 0; i < levels.len; i++) {
		config->levels[config->level_count] = keep_level(flow, api_metadata(levels.items[i])->name);
		set_level(flow, config->levels[config->level_count++], levels.items[i], shares);
	}
	for (size_t i = 0; i < schemas.len; i++)
		add_schema(config, schemas.items[i]);
	qsort(config->schemas, config->schema_count, sizeof(*config->schemas), compare_schemas);
	struct flow_config *old = flow->config;
	for (size_t i = 0; old && i < old->level_count; i++) {
		if (find_level(config, old->levels[i]->name))
			continue;
		pthread_mutex_lock(&old->levels[i]->lock);
		old->levels[i]->leaving = true;
		pthread_mutex_unlock(&old->levels[i]->lock);
	}
	flow->config = config;
	pthread_mutex_unlock(&flow->lock);
	flow_config_unref(old);
	free_all(&levels);
	free_all(&schemas);
	/* Limits may have grown. */
	struct flow_config *now = flow_config_get(flow);
	for (size_t i = 0; i < now->level_count; i++)
		flow_dispatch(flow, now->levels[i]);
	flow_config_unref(now);
}

/* ---- borrowing ---- */

void flow_adjust(struct flow *flow) {
	struct flow_config *config = flow_config_get(flow);
	struct seat_class *classes = xcalloc(config->level_count + 1, sizeof(*classes));
	struct measure { double mean, deviation, peak; } *measures = xcalloc(config->level_count + 1, sizeof(*measures));
	double *seats = xcalloc(config->level_count + 1, sizeof(*seats)), fair = 0, total = 0;
	size_t count = 0;
	int64_t now = clock_monotonic_ns();
	for (size_t i = 0; i < config->level_count; i++) {
		struct flow_level *level = config->levels[i];
		struct measure *m = &measures[i];
		pthread_mutex_lock(&level->lock);
		demand_reset(&level->demand, now, &m->mean, &m->deviation, &m->peak);
		double envelope = m->mean + m->deviation;
		level->demand.smoothed = max_of(envelope, SMOOTHING * level->demand.smoothed + (1 - SMOOTHING) * envelope);
		total += level->nominal;
		if (level->exempt) {
			/* It takes what it needs; the others share what is left. */
			level->set.limit = max_of(level->lower, (unsigned)m->peak);
			total -= level->set.limit;
		} else {
			double least = min_of((double)level->nominal, m->peak);
			least = max_of((double)level->lower, least);
			classes[count++] = (struct seat_class){.target = max_of(least, level->demand.smoothed), .lower = least, .upper = level->upper};
		}
		pthread_mutex_unlock(&level->lock);
	}
	seats_divide(max_of(total, 0.0), classes, count, seats, &fair);
	for (size_t i = 0, n = 0; i < config->level_count; i++) {
		struct flow_level *level = config->levels[i];
		pthread_mutex_lock(&level->lock);
		double target = level->exempt ? level->set.limit : classes[n].target;
		if (!level->exempt)
			level->set.limit = (unsigned)lround(seats[n++]);
		flow_metrics_demand(level, measures[i].mean, measures[i].deviation, measures[i].peak, target, fair);
		pthread_mutex_unlock(&level->lock);
		flow_dispatch(flow, level);
	}
	free(classes);
	free(measures);
	free(seats);
	flow_config_unref(config);
}

/* ---- status ---- */

#define OWNED "{\"f:status\":{\"f:conditions\":{\"k:{\\\"type\\\":\\\"Dangling\\\"}\":{\".\":{},\"f:lastTransitionTime\":{},\"f:message\":{},\"f:reason\":{},\"f:status\":{},\"f:type\":{}}}}}"

static int write_condition(struct worker *worker, const struct resource *resource, const struct flowcontrol_v1_flow_schema *schema, bool dangling) {
	const char *level = str_or(schema->spec.priority_level_configuration.name, "");
	const char *status = dangling ? "True" : "False", *reason = dangling ? "NotFound" : "Found";
	autofree char *message = dangling ? xprintf("This FlowSchema references the PriorityLevelConfiguration object named \"%s\" but there is no such object", level)
					  : xprintf("This FlowSchema references the PriorityLevelConfiguration object named \"%s\" and it exists", level);
	autounref struct flowcontrol_v1_flow_schema *copy = api_copy(schema);
	struct arena *arena = api_arena(copy);
	struct flowcontrol_v1_flow_schema_condition *condition = NULL;
	for (uint32_t i = 0; i < copy->status.conditions.len; i++)
		if (str_equal(copy->status.conditions.items[i].type, "Dangling"))
			condition = &copy->status.conditions.items[i];
	if (condition && str_equal(condition->status, status) && str_equal(condition->reason, reason) && str_equal(condition->message, message))
		return 0;
	bool turned = !condition || !str_equal(condition->status, status);
	if (!condition)
		condition = api_list_add(arena, &copy->status.conditions);
	condition->type = "Dangling";
	condition->status = status;
	condition->reason = reason;
	condition->message = arena_strdup(arena, message);
	if (turned)
		condition->last_transition_time = api_time_now();
	worker_own_status(copy, "api-priority-and-fairness-config-consumer-v1", "Apply", GROUP "/v1", OWNED);
	int rc = worker_put_object(worker, resource, copy, worker_revision(schema));
	return rc == -EAGAIN || rc == -ENOENT ? 0 : rc; /* its event brings us back */
}

int flow_write_status(struct flow *flow, struct worker *worker) {
	const struct resource *resource = registry_find(flow->server->registry, GROUP, "v1", "flowschemas");
	struct objects levels, schemas;
	int rc = 0;
	if (!resource)
		return 0;
	read_all(flow, "prioritylevelconfigurations", &levels);
	read_all(flow, "flowschemas", &schemas);
	for (size_t i = 0; i < schemas.len && rc == 0; i++) {
		const struct flowcontrol_v1_flow_schema *schema = schemas.items[i];
		rc = write_condition(worker, resource, schema, !has_name(&levels, schema->spec.priority_level_configuration.name));
	}
	free_all(&levels);
	free_all(&schemas);
	return rc;
}
