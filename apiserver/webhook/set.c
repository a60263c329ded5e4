/* SPDX-License-Identifier: Apache-2.0 */
/* Webhook configurations out of the cache, made ready once for each version of them. */
#include "apiserver/webhook/webhook.h"

#include <pthread.h>

#define GROUP "admissionregistration.k8s.io"

void webhook_set_unref(struct webhook_set *set) {
	if (!set || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < set->count; i++) {
		policy_match_done(&set->items[i].match);
		policy_unref(set->items[i].conditions);
		free(set->items[i].key);
	}
	for (size_t i = 0; i < set->object_count; i++)
		api_unref(set->objects[i]);
	free(set->objects);
	free(set->items);
	free(set);
}

/* What mutating and validating webhooks have alike. */
struct common {
	const char *name;
	const struct admissionregistration_v1_webhook_client_config *client;
	const struct admissionregistration_v1_rule_with_operations *rules;
	uint32_t rule_count;
	const char *failure_policy, *match_policy, *side_effects, *reinvocation;
	const struct meta_v1_label_selector *namespaces, *objects;
	const int32_t *timeout;
	const struct api_string_list *versions;
	const struct admissionregistration_v1_match_condition_array *conditions;
};
#define COMMON(w_, reinvocation_) \
	(struct common){(w_)->name, &(w_)->client_config, (w_)->rules.items, (w_)->rules.len, (w_)->failure_policy, (w_)->match_policy, (w_)->side_effects, (reinvocation_), \
		(w_)->namespace_selector, (w_)->object_selector, (w_)->timeout_seconds, &(w_)->admission_review_versions, &(w_)->match_conditions}

static bool same_key_before(const struct webhook_set *set, const char *key) {
	for (size_t i = 0; i < set->count; i++)
		if (strcmp(set->items[i].key, key) == 0)
			return true;
	return false;
}

static void add(struct webhook_set *set, const char *config, const struct common *c) {
	struct webhook hook = {.name = c->name, .config = config, .client = c->client, .review_versions = c->versions};
	if ((c->namespaces && label_selector_from(c->namespaces, &hook.match.namespaces, NULL) < 0) || (c->objects && label_selector_from(c->objects, &hook.match.objects, NULL) < 0)) {
		policy_match_done(&hook.match); /* nobody could have stored it */
		return;
	}
	hook.match.exact = str_equal(c->match_policy, "Exact");
	hook.match.rules = (struct match_rules){.items = c->rule_count ? xcalloc(c->rule_count, sizeof(struct match_rule)) : NULL, .count = c->rule_count};
	for (uint32_t i = 0; i < c->rule_count; i++)
		hook.match.rules.items[i].rule = &c->rules[i];
	hook.conditions = policy_of_conditions(c->conditions);
	hook.ignores_failure = str_equal(c->failure_policy, "Ignore");
	hook.reinvoke = str_equal(c->reinvocation, "IfNeeded");
	hook.dry_run = str_equal(c->side_effects, "None") || str_equal(c->side_effects, "NoneOnDryRun");
	hook.timeout_seconds = c->timeout ? *c->timeout : 10;
	hook.key = xprintf("%s/%s", config, c->name);
	for (unsigned n = 1; same_key_before(set, hook.key); n++) {
		free(hook.key);
		hook.key = xprintf("%s/%s/%u", config, c->name, n);
	}
	set->items = xreallocarray(set->items, set->count + 1, sizeof(*set->items));
	set->items[set->count++] = hook;
}

static struct webhook_set *build(const struct resource *resource, const struct snapshot *snapshot, bool mutating) {
	struct webhook_set *set = xnew(struct webhook_set);
	set->refs = 1;
	set->objects = xcalloc(snapshot->len, sizeof(*set->objects));
	for (size_t i = 0; i < snapshot->len; i++) {
		void *object;
		if (resource_decode(resource, snapshot_entry(snapshot, i), &object, NULL) < 0)
			continue;
		set->objects[set->object_count++] = object;
		if (mutating) {
			const struct admissionregistration_v1_mutating_webhook_configuration *config = object;
			for (uint32_t k = 0; k < config->webhooks.len; k++)
				add(set, config->metadata.name, &COMMON(&config->webhooks.items[k], config->webhooks.items[k].reinvocation_policy));
		} else {
			const struct admissionregistration_v1_validating_webhook_configuration *config = object;
			for (uint32_t k = 0; k < config->webhooks.len; k++)
				add(set, config->metadata.name, &COMMON(&config->webhooks.items[k], NULL));
		}
	}
	return set;
}

struct webhook_set *webhook_set_get(struct apiserver *server, bool mutating) {
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct webhook_set *current[2];
	const struct resource *resource = registry_find(server->registry, GROUP, "v1", mutating ? "mutatingwebhookconfigurations" : "validatingwebhookconfigurations");
	if (!resource)
		return NULL;
	autosnapshot struct snapshot *snapshot = collection_snapshot(resource->collection);
	if (!snapshot->len)
		return NULL;
	uint64_t signature = policy_signature(snapshot);
	pthread_mutex_lock(&lock);
	struct webhook_set *set = current[mutating];
	if (!set || set->signature != signature) {
		set = build(resource, snapshot, mutating);
		set->signature = signature;
		webhook_set_unref(current[mutating]);
		current[mutating] = set;
	}
	__atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
	return set;
}

int webhook_matches(struct judged *j, const struct webhook *hook, struct error *err) {
	int r = policy_matches(j, &hook->match, true, err);
	if (r <= 0)
		return r;
	autoerror struct error why = {0};
	json_t *none = json_null();
	r = policy_conditions(j, hook->conditions, none, &why);
	if (r >= 0)
		return r;
	return hook->ignores_failure ? 0 : error_forbidden(err, j->w->resource, j->w->name, "%s", error_message(&why));
}
