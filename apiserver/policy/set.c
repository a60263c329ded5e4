/* SPDX-License-Identifier: Apache-2.0 */
/* Policies and bindings out of the cache, compiled once for each version of them. */
#include "apiserver/policy/policy.h"

#include <pthread.h>

/* ---- expressions ---- */

static struct expression compiled(struct expression_scope *scope, enum expression_kind kind, const char *text) {
	struct expression e = {.text = text};
	autoerror struct error err = {0};
	int64_t began = clock_monotonic_ns();
	if (text && expression_compile(scope, kind, text, &e.program, &err) < 0)
		e.error = xstrdup(error_message(&err));
	if (text)
		policy_measure_cel(true, began);
	return e;
}

static void expressions_done(struct expressions *list) {
	for (uint32_t i = 0; i < list->count; i++) {
		cel_program_free(list->items[i].program);
		free(list->items[i].error);
	}
	free(list->items);
}

static struct expressions expressions_of(uint32_t count) {
	return (struct expressions){.items = count ? xcalloc(count, sizeof(struct expression)) : NULL, .count = count};
}

/* ---- policies ---- */

static struct match_rules rules_of(const struct admissionregistration_v1_named_rule_with_operations *items, uint32_t count) {
	struct match_rules rules = {.items = count ? xcalloc(count, sizeof(struct match_rule)) : NULL, .count = count};
	for (uint32_t i = 0; i < count; i++)
		rules.items[i] = (struct match_rule){&items[i].rule_with_operations, items[i].resource_names.len ? &items[i].resource_names : NULL};
	return rules;
}

static int match_init(struct policy_match *match, const struct admissionregistration_v1_match_resources *resources, struct error *err) {
	match->any_resource = !resources || !resources->resource_rules.len;
	if (!resources)
		return 0;
	match->exact = str_equal(resources->match_policy, "Exact");
	match->rules = rules_of(resources->resource_rules.items, resources->resource_rules.len);
	match->excluded = rules_of(resources->exclude_resource_rules.items, resources->exclude_resource_rules.len);
	int r = resources->namespace_selector ? label_selector_from(resources->namespace_selector, &match->namespaces, err) : 0;
	return r < 0 || !resources->object_selector ? r : label_selector_from(resources->object_selector, &match->objects, err);
}

void policy_match_done(struct policy_match *match) {
	free(match->rules.items);
	free(match->excluded.items);
	selector_free(match->namespaces);
	selector_free(match->objects);
}

void policy_unref(struct policy *p) {
	if (!p || __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL))
		return;
	struct expressions *lists[] = {&p->conditions, &p->variables, &p->checks, &p->messages, &p->audits, &p->mutations};
	for (size_t i = 0; i < array_len(lists); i++)
		expressions_done(lists[i]);
	expression_scope_free(p->scope);
	policy_match_done(&p->match);
	api_unref(p->object);
	free(p);
}

/* Conditions know nothing of variables. */
static void compile_shared(struct policy *p, bool mutating) {
	bool params = p->param_kind != NULL;
	struct expression_scope *plain = expression_scope_new(params, false);
	p->conditions = expressions_of(p->condition_list->len);
	for (uint32_t i = 0; i < p->condition_list->len; i++)
		p->conditions.items[i] = compiled(plain, EXPRESSION_CONDITION, p->condition_list->items[i].expression);
	expression_scope_free(plain);
	p->scope = expression_scope_new(params, mutating || p->variable_list->len);
	p->variables = expressions_of(p->variable_list->len);
	for (uint32_t i = 0; i < p->variable_list->len; i++) {
		p->variables.items[i] = compiled(p->scope, EXPRESSION_VARIABLE, p->variable_list->items[i].expression);
		expression_scope_add(p->scope, str_or(p->variable_list->items[i].name, ""), p->variables.items[i].program ? cel_program_type(p->variables.items[i].program) : NULL);
	}
}

static void compile_validating(struct policy *p, const struct admissionregistration_v1_validating_admission_policy_spec *spec) {
	p->checks = expressions_of(spec->validations.len);
	p->messages = expressions_of(spec->validations.len);
	for (uint32_t i = 0; i < spec->validations.len; i++) {
		const struct admissionregistration_v1_validation *v = &spec->validations.items[i];
		p->checks.items[i] = compiled(p->scope, EXPRESSION_CONDITION, v->expression);
		p->messages.items[i] = compiled(p->scope, EXPRESSION_MESSAGE, str_empty(v->message_expression) ? NULL : v->message_expression);
	}
	p->audits = expressions_of(spec->audit_annotations.len);
	for (uint32_t i = 0; i < spec->audit_annotations.len; i++)
		p->audits.items[i] = compiled(p->scope, EXPRESSION_AUDIT, spec->audit_annotations.items[i].value_expression);
}

static void compile_mutating(struct policy *p, const struct admissionregistration_v1_mutating_admission_policy_spec *spec) {
	p->mutations = expressions_of(spec->mutations.len);
	for (uint32_t i = 0; i < spec->mutations.len; i++) {
		const struct admissionregistration_v1_mutation *m = &spec->mutations.items[i];
		bool json = str_equal(m->patch_type, "JSONPatch");
		p->mutations.items[i] = compiled(p->scope, json ? EXPRESSION_JSON_PATCH : EXPRESSION_APPLY, json ? (m->json_patch ? m->json_patch->expression : "") : (m->apply_configuration ? m->apply_configuration->expression : ""));
	}
}

#define SHARED(p_, policy_) \
	do { \
		(p_)->name = (policy_)->metadata.name; \
		(p_)->uid = str_or((policy_)->metadata.uid, ""); \
		(p_)->param_kind = (policy_)->spec.param_kind; \
		(p_)->ignores_failure = str_equal((policy_)->spec.failure_policy, "Ignore"); \
		(p_)->condition_list = &(policy_)->spec.match_conditions; \
		(p_)->variable_list = &(policy_)->spec.variables; \
		constraints = (policy_)->spec.match_constraints; \
	} while (0)

/* Takes the object. NULL where its selectors are none, which nobody could have stored. */
static struct policy *policy_new(const void *take_object, uint64_t version, bool mutating) {
	struct policy *p = xnew(struct policy);
	const struct admissionregistration_v1_match_resources *constraints;
	p->refs = 1;
	p->version = version;
	p->object = take_object;
	if (mutating)
		SHARED(p, (const struct admissionregistration_v1_mutating_admission_policy *)take_object);
	else
		SHARED(p, (const struct admissionregistration_v1_validating_admission_policy *)take_object);
	if (match_init(&p->match, constraints, NULL) < 0) {
		policy_unref(p);
		return NULL;
	}
	compile_shared(p, mutating);
	if (mutating)
		compile_mutating(p, &((const struct admissionregistration_v1_mutating_admission_policy *)take_object)->spec);
	else
		compile_validating(p, &((const struct admissionregistration_v1_validating_admission_policy *)take_object)->spec);
	return p;
}

struct policy *policy_of_conditions(const struct admissionregistration_v1_match_condition_array *list) {
	static const struct admissionregistration_v1_variable_array none;
	struct policy *p = xnew(struct policy);
	*p = (struct policy){.refs = 1, .name = "", .uid = "", .condition_list = list, .variable_list = &none};
	compile_shared(p, false);
	return p;
}

/* ---- sets ---- */

void policy_set_unref(struct policy_set *set) {
	if (!set || __atomic_sub_fetch(&set->refs, 1, __ATOMIC_ACQ_REL))
		return;
	for (size_t i = 0; i < set->count; i++) {
		struct policy_hook *hook = &set->hooks[i];
		for (size_t k = 0; k < hook->count; k++) {
			policy_match_done(&hook->bindings[k].match);
			api_unref(hook->bindings[k].object);
		}
		free(hook->bindings);
		policy_unref(hook->policy);
	}
	free(set->hooks);
	free(set);
}

uint64_t policy_signature(const struct snapshot *snapshot) {
	uint64_t signature = snapshot->len + 1;
	struct snapshot_scan scan = snapshot_scan_over(snapshot, 0, snapshot->len, 0);
	for (const struct entry *entry; (entry = snapshot_scan_next(&scan));)
		signature = (signature ^ entry->resource_version) * 0x9e3779b97f4a7c15u;
	return signature;
}

static struct policy *known_policy(const struct policy_set *before, const struct entry *entry) {
	for (size_t i = 0; before && i < before->count; i++) {
		struct policy *p = before->hooks[i].policy;
		if (p->version == entry->resource_version && strcmp(p->uid, entry->uid) == 0) {
			__atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED);
			return p;
		}
	}
	return NULL;
}

/* A binding and the name of its policy; false where it cannot be read. */
static bool read_binding(const struct resource *resource, const struct entry *entry, bool mutating, struct policy_binding *ret, const char **ret_policy) {
	void *object;
	const struct admissionregistration_v1_match_resources *resources;
	if (resource_decode(resource, entry, &object, NULL) < 0)
		return false;
	*ret = (struct policy_binding){.object = object};
	if (mutating) {
		const struct admissionregistration_v1_mutating_admission_policy_binding *b = object;
		ret->name = b->metadata.name;
		ret->param_ref = b->spec.param_ref;
		resources = b->spec.match_resources;
		*ret_policy = b->spec.policy_name;
	} else {
		const struct admissionregistration_v1_validating_admission_policy_binding *b = object;
		ret->name = b->metadata.name;
		ret->param_ref = b->spec.param_ref;
		resources = b->spec.match_resources;
		*ret_policy = b->spec.policy_name;
	}
	if (match_init(&ret->match, resources, NULL) == 0)
		return true;
	policy_match_done(&ret->match);
	api_unref(object);
	return false;
}

static struct policy_set *build(const struct resource *policies, const struct snapshot *policy_list, const struct resource *bindings, const struct snapshot *binding_list, bool mutating, const struct policy_set *before) {
	struct policy_set *set = xnew(struct policy_set);
	set->refs = 1;
	set->hooks = xcalloc(policy_list->len, sizeof(*set->hooks));
	for (size_t i = 0; i < binding_list->len; i++) {
		struct policy_binding binding;
		const char *name;
		if (!read_binding(bindings, snapshot_entry(binding_list, i), mutating, &binding, &name))
			continue;
		size_t k = 0;
		while (k < set->count && !str_equal(set->hooks[k].policy->name, name))
			k++;
		struct entry *entry = k == set->count ? snapshot_get(policy_list, str_or(name, "")) : NULL;
		if (entry) {
			void *object;
			struct policy *p = known_policy(before, entry);
			if (!p && resource_decode(policies, entry, &object, NULL) == 0)
				p = policy_new(object, entry->resource_version, mutating);
			if (p)
				set->hooks[set->count++].policy = p;
		}
		if (k == set->count) {
			policy_match_done(&binding.match);
			api_unref(binding.object);
			continue;
		}
		struct policy_hook *hook = &set->hooks[k];
		hook->bindings = xreallocarray(hook->bindings, hook->count + 1, sizeof(*hook->bindings));
		hook->bindings[hook->count++] = binding;
	}
	return set;
}

struct policy_set *policy_set_get(struct apiserver *server, bool mutating) {
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static struct policy_set *current[2];
	const struct resource *policies = registry_find(server->registry, "admissionregistration.k8s.io", "v1", mutating ? "mutatingadmissionpolicies" : "validatingadmissionpolicies");
	const struct resource *bindings = registry_find(server->registry, "admissionregistration.k8s.io", "v1", mutating ? "mutatingadmissionpolicybindings" : "validatingadmissionpolicybindings");
	if (!policies || !bindings)
		return NULL;
	autosnapshot struct snapshot *binding_list = collection_snapshot(bindings->collection);
	if (!binding_list->len)
		return NULL;
	autosnapshot struct snapshot *policy_list = collection_snapshot(policies->collection);
	if (!policy_list->len)
		return NULL;
	uint64_t signature = policy_signature(policy_list) ^ policy_signature(binding_list) * 31;
	pthread_mutex_lock(&lock);
	struct policy_set *set = current[mutating];
	if (!set || set->signature != signature) {
		set = build(policies, policy_list, bindings, binding_list, mutating, current[mutating]);
		set->signature = signature;
		policy_set_unref(current[mutating]);
		current[mutating] = set;
	}
	__atomic_add_fetch(&set->refs, 1, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&lock);
	return set;
}
