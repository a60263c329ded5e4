/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RBAC over the roles and bindings in the cache. Their decoded forms are kept here and follow the store's events; a decision
 * walks the cluster's bindings and those of the one namespace under a read lock.
 */
#include "apiserver/authz/authz.h"
#include "api/meta_v1.h"
#include "api/rbac_v1.h"

#include <pthread.h>

enum { ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS, KINDS };
static const char *const plurals[KINDS] = {"roles", "clusterroles", "rolebindings", "clusterrolebindings"};

struct followed {
	struct rbac *rbac;
	const struct resource *resource;
	struct store_watch *watch;
	struct map objects;    /* key -> decoded object */
	struct map namespaces; /* of role bindings: namespace -> struct map * of key -> object (borrowed) */
};

struct rbac {
	pthread_rwlock_t lock;
	struct followed kinds[KINDS];
};

#define RBAC_GROUP "rbac.authorization.k8s.io"

static void unref_value(void *object) {
	api_unref(object);
}

static void free_map(void *arg) {
	map_done(arg);
	free(arg);
}

static void index_remove(struct followed *f, const char *ns, const char *key) {
	struct map *of_namespace = str_empty(ns) ? NULL : map_get(&f->namespaces, ns);
	if (of_namespace) {
		map_remove(of_namespace, key);
		if (!of_namespace->len)
			map_remove(&f->namespaces, ns);
	}
}

static void index_add(struct followed *f, const char *ns, const char *key, void *object) {
	if (str_empty(ns))
		return;
	struct map *of_namespace = map_get(&f->namespaces, ns);
	if (!of_namespace) {
		of_namespace = xnew(struct map);
		*of_namespace = MAP_INIT(NULL);
		map_set(&f->namespaces, ns, of_namespace);
	}
	map_set(of_namespace, key, object);
}

static void apply(struct followed *f, struct entry *entry, bool deleted) {
	void *object = NULL;
	if (!deleted && resource_decode(f->resource, entry, &object, NULL) < 0)
		deleted = true; /* what cannot be read grants nothing */
	pthread_rwlock_wrlock(&f->rbac->lock);
	index_remove(f, entry->ns, entry->key);
	if (deleted) {
		map_remove(&f->objects, entry->key);
	} else {
		map_set(&f->objects, entry->key, object);
		index_add(f, entry->ns, entry->key, object);
	}
	pthread_rwlock_unlock(&f->rbac->lock);
}

static void on_event(const struct store_event *event, void *arg) {
	if (event->type != STORE_BOOKMARK)
		apply(arg, event->entry, event->type == STORE_DELETED);
}

struct rbac *rbac_new(struct apiserver *server) {
	struct rbac *rbac = xnew(struct rbac);
	pthread_rwlock_init(&rbac->lock, NULL);
	for (size_t i = 0; i < KINDS; i++) {
		struct followed *f = &rbac->kinds[i];
		f->rbac = rbac;
		f->objects = MAP_INIT(unref_value);
		f->namespaces = MAP_INIT(free_map);
		f->resource = registry_find(server->registry, RBAC_GROUP, "v1", plurals[i]);
		if (!f->resource)
			continue;
		for (;;) {
			autosnapshot struct snapshot *snapshot = collection_snapshot(f->resource->collection);
			for (size_t n = 0; n < snapshot->len; n++)
				apply(f, snapshot_entry(snapshot, n), false);
			if (collection_watch(f->resource->collection, snapshot->revision, on_event, f, &f->watch) == 0)
				break;
		}
	}
	return rbac;
}

void rbac_free(struct rbac *rbac) {
	if (!rbac)
		return;
	for (size_t i = 0; i < KINDS; i++) {
		if (rbac->kinds[i].watch)
			store_watch_cancel(rbac->kinds[i].watch);
		map_done(&rbac->kinds[i].namespaces);
		map_done(&rbac->kinds[i].objects);
	}
	pthread_rwlock_destroy(&rbac->lock);
	free(rbac);
}

/* ---- rules ---- */

static bool list_has(const struct api_string_list *list, const char *value, const char *wildcard) {
	for (uint32_t i = 0; i < list->len; i++)
		if (strcmp(list->items[i], value) == 0 || strcmp(list->items[i], wildcard) == 0)
			return true;
	return false;
}

static bool resource_listed(const struct api_string_list *list, const char *resource, const char *subresource) {
	char combined[512];
	bool sub = !str_empty(subresource);
	if (sub)
		snprintf(combined, sizeof(combined), "%s/%s", resource, subresource);
	else
		snprintf(combined, sizeof(combined), "%s", resource);
	for (uint32_t i = 0; i < list->len; i++) {
		const char *item = list->items[i];
		if (strcmp(item, "*") == 0 || strcmp(item, combined) == 0)
			return true;
		if (sub && item[0] == '*' && item[1] == '/' && strcmp(item + 2, subresource) == 0)
			return true;
	}
	return false;
}

static bool path_listed(const struct api_string_list *list, const char *path) {
	for (uint32_t i = 0; i < list->len; i++) {
		const char *item = list->items[i];
		size_t len = strlen(item);
		if (strcmp(item, "*") == 0 || strcmp(item, path) == 0)
			return true;
		if (len && item[len - 1] == '*' && strncmp(item, path, len - 1) == 0)
			return true;
	}
	return false;
}

bool rbac_rule_allows(const struct rbac_v1_policy_rule *rule, const struct authz_attributes *a) {
	if (!list_has(&rule->verbs, a->verb, "*"))
		return false;
	if (!a->is_resource)
		return path_listed(&rule->non_resource_urls, str_or(a->path, ""));
	if (!list_has(&rule->api_groups, str_or(a->group, ""), "*") || !resource_listed(&rule->resources, a->resource, a->subresource))
		return false;
	return rule->resource_names.len == 0 || api_string_list_has(&rule->resource_names, str_or(a->name, ""));
}

/* ---- bindings ---- */

static bool subject_is(const struct rbac_v1_subject *subject, const struct user *user, const char *ns) {
	if (strcmp(subject->kind, "User") == 0)
		return strcmp(user->name, subject->name) == 0;
	if (strcmp(subject->kind, "Group") == 0)
		return user_in_group(user, subject->name);
	if (strcmp(subject->kind, "ServiceAccount") != 0)
		return false;
	static const char prefix[] = "system:serviceaccount:";
	if (!str_starts_with(user->name, prefix))
		return false;
	const char *rest = user->name + sizeof(prefix) - 1;
	const char *subject_ns = str_empty(subject->namespace) ? ns : subject->namespace;
	size_t len = strlen(str_or(subject_ns, ""));
	return len && strncmp(rest, subject_ns, len) == 0 && rest[len] == ':' && strcmp(rest + len + 1, subject->name) == 0;
}

struct subjects {
	const struct rbac_v1_subject *items;
	uint32_t len;
};

/* The first of them that the user is; NULL: none. */
static const struct rbac_v1_subject *find_subject(struct subjects subjects, const struct user *user, const char *ns) {
	for (uint32_t i = 0; i < subjects.len; i++)
		if (subject_is(&subjects.items[i], user, ns))
			return &subjects.items[i];
	return NULL;
}

struct rule_visit {
	const struct user *user;
	/* whence the rule at hand is */
	const struct meta_v1_object_meta *binding;
	const struct rbac_v1_role_ref *role;
	const struct rbac_v1_subject *subject;
	bool (*fn)(const struct rbac_v1_policy_rule *rule, void *arg);
	void *arg;
	/* roles that bindings name and that are not there, as texts in the arena; NULL: nobody wants to know */
	struct arena *arena;
	struct api_string_list missing;
};

static void note_missing(struct rule_visit *visit, const char *kind, const char *name) {
	if (!visit->arena)
		return;
	const char *text = arena_printf(visit->arena, "%s.rbac.authorization.k8s.io \"%s\" not found", kind, name);
	if (!api_string_list_has(&visit->missing, text))
		api_string_list_add(visit->arena, &visit->missing, text);
}

/* "RBAC: " and what is missing; "" where nothing is. */
static const char *missing_text(const struct rule_visit *visit, struct arena *arena) {
	const char *all = "";
	for (uint32_t i = 0; i < visit->missing.len; i++)
		all = arena_printf(arena, "%s%s%s", all, i ? ", " : "", visit->missing.items[i]);
	return !*all ? "" : arena_printf(arena, visit->missing.len > 1 ? "RBAC: [%s]" : "RBAC: %s", all);
}

/* Returns false where fn asked to stop. */
static bool visit_role(struct rbac *rbac, const struct rbac_v1_role_ref *ref, const char *ns, struct rule_visit *visit) {
	visit->role = ref;
	const struct rbac_v1_policy_rule *rules = NULL;
	uint32_t len = 0;
	if (strcmp(ref->kind, "ClusterRole") == 0) {
		const struct rbac_v1_cluster_role *role = map_get(&rbac->kinds[CLUSTER_ROLES].objects, ref->name);
		if (role) {
			rules = role->rules.items;
			len = role->rules.len;
		} else {
			note_missing(visit, "clusterrole", ref->name);
		}
	} else if (strcmp(ref->kind, "Role") == 0) {
		autofree char *key = xprintf("%s/%s", ns, ref->name);
		const struct rbac_v1_role *role = str_empty(ns) ? NULL : map_get(&rbac->kinds[ROLES].objects, key);
		if (role) {
			rules = role->rules.items;
			len = role->rules.len;
		} else {
			note_missing(visit, "role", ref->name);
		}
	}
	for (uint32_t i = 0; i < len; i++)
		if (!visit->fn(&rules[i], visit->arg))
			return false;
	return true;
}

static bool visit_binding(struct rbac *rbac, const struct meta_v1_object_meta *binding, struct subjects subjects, const struct rbac_v1_role_ref *role, const char *ns, struct rule_visit *visit) {
	visit->binding = binding;
	visit->subject = find_subject(subjects, visit->user, ns);
	return !visit->subject || visit_role(rbac, role, ns, visit);
}

static void visit_rules(struct rbac *rbac, const char *ns, struct rule_visit *visit) {
	pthread_rwlock_rdlock(&rbac->lock);
	struct map_entry *e;
	bool more = true;
	for (size_t i = 0; more && (e = map_next(&rbac->kinds[CLUSTER_ROLE_BINDINGS].objects, &i));) {
		const struct rbac_v1_cluster_role_binding *binding = e->value;
		more = visit_binding(rbac, &binding->metadata, (struct subjects){binding->subjects.items, binding->subjects.len}, &binding->role_ref, "", visit);
	}
	struct map *of_namespace = str_empty(ns) ? NULL : map_get(&rbac->kinds[ROLE_BINDINGS].namespaces, ns);
	for (size_t i = 0; more && of_namespace && (e = map_next(of_namespace, &i));) {
		const struct rbac_v1_role_binding *binding = e->value;
		more = visit_binding(rbac, &binding->metadata, (struct subjects){binding->subjects.items, binding->subjects.len}, &binding->role_ref, ns, visit);
	}
	pthread_rwlock_unlock(&rbac->lock);
}

void rbac_each_rule(struct rbac *rbac, const struct user *user, const char *ns, bool (*fn)(const struct rbac_v1_policy_rule *rule, void *arg), void *arg) {
	struct rule_visit visit = {.user = user, .fn = fn, .arg = arg};
	visit_rules(rbac, ns, &visit);
}

struct decision {
	struct rule_visit visit;
	const struct authz_attributes *a;
	struct arena *arena;
	const char *reason; /* NULL: it is not allowed */
};

/* As clients see it in reviews, and auditors in their log. */
static const char *reason_of(const struct rule_visit *visit, struct arena *arena) {
	const struct meta_v1_object_meta *binding = visit->binding;
	const struct rbac_v1_subject *subject = visit->subject;
	bool account = strcmp(subject->kind, "ServiceAccount") == 0, local = !str_empty(binding->namespace);
	const char *ns = !account ? "" : str_empty(subject->namespace) ? str_or(binding->namespace, "") : subject->namespace;
	return arena_printf(arena, "RBAC: allowed by %sRoleBinding \"%s%s%s\" of %s \"%s\" to %s \"%s%s%s\"", local ? "" : "Cluster", binding->name, local ? "/" : "", local ? binding->namespace : "", visit->role->kind,
		visit->role->name, subject->kind, subject->name, account ? "/" : "", ns);
}

static bool try_rule(const struct rbac_v1_policy_rule *rule, void *arg) {
	struct decision *d = arg;
	if (rbac_rule_allows(rule, d->a))
		d->reason = reason_of(&d->visit, d->arena);
	return !d->reason;
}

enum authz_decision rbac_decide(struct rbac *rbac, const struct authz_attributes *a, struct arena *arena, const char **ret_reason) {
	struct decision d = {.a = a, .arena = arena};
	d.visit = (struct rule_visit){.user = a->user, .fn = try_rule, .arg = &d, .arena = arena};
	visit_rules(rbac, a->is_resource ? str_or(a->ns, "") : "", &d.visit);
	if (!d.reason) {
		*ret_reason = missing_text(&d.visit, arena);
		return AUTHZ_NO_OPINION;
	}
	*ret_reason = d.reason;
	return AUTHZ_ALLOW;
}
