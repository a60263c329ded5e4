/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Admission plugins, a row each in table.c, run in that order: all mutating hooks first, later all validating ones.
 * A hook returns 0, an error for the client, or REQUEST_TAKEN where it keeps the write and calls write_resume() later.
 */
#ifndef CORACLE_APISERVER_ADMISSION_H
#define CORACLE_APISERVER_ADMISSION_H

#include "apiserver/rest/write.h"

struct admission_plugin {
	const char *name;
	unsigned operations; /* enum write_operation, or'ed */
	bool off_by_default;
	bool bodies;         /* sees bodies of subresources too */
	bool hook;           /* a webhook or policy: does not see twice what has passed it */
	int (*admit)(struct write *w, struct error *err);
	int (*validate)(struct write *w, struct error *err);
};
extern const struct admission_plugin *const admission_plugins[];
extern const size_t admission_plugin_count;

/*
 * Who changes objects and wants to be asked again where others change them later: the whole chain of mutating plugins then runs once more, and of those
 * who remember here only they whom something came after.
 */
struct reinvocation {
	uint64_t output; /* digest of the object when they were last done */
	struct reinvoked {
		const char *key;
		bool invoked, required;
	} *items; /* in the write's arena */
	size_t len, cap;
};
struct admission_state {
	bool again, wanted; /* the chain runs once more; it is to */
	struct reinvocation policies, webhooks;
};
struct admission_state *admission_state(struct write *w);
void reinvocation_begin(struct write *w, struct reinvocation *r);
/* The object was changed by one of them. */
void reinvocation_changed(struct write *w, struct reinvocation *r);
/* This one wants to know of later changes. */
void reinvocation_add(struct write *w, struct reinvocation *r, const char *key);
/* Whether this one is asked: always in the first round. */
bool reinvocation_asks(struct write *w, const struct reinvocation *r, const char *key);
void reinvocation_end(struct write *w, struct reinvocation *r);

/* Runs the plugins of one phase from w->next_plugin on. */
int admission_run(struct write *w, bool mutate, struct error *err);
/* Refuses plugins named by flags that are not there, or both on and off. */
int admission_check_flags(const struct apiserver_options *options, struct error *err);

/* A bit for each place in the table: what the flags, or their silence, have turned off. */
uint64_t admission_disabled(const struct apiserver_options *options);
/* Whether it is on: by its flags, or by default. */
bool admission_is_enabled(const struct apiserver_options *options, const char *name);

/* True where the write is of this resource (and subresource; NULL: the object itself). */
bool admission_is(const struct write *w, const char *group, const char *plural, const char *subresource);

/* The object's name for messages, or what it will begin with where it is yet to be generated. */
const char *admission_name(const struct write *w);

/* storage.c: the newest object of a class kind that one of the annotations (the other may be NULL) marks as default, by name where the times are equal; in the arena, or NULL. */
char *admission_default_class(struct apiserver *server, const char *group, const char *plural, const char *annotation, const char *other_annotation, struct arena *arena);

#define ADMISSION_PLUGIN(name) extern const struct admission_plugin name
ADMISSION_PLUGIN(admission_pod_node_selector);
ADMISSION_PLUGIN(admission_pod_toleration_restriction);
ADMISSION_PLUGIN(admission_event_rate_limit);
ADMISSION_PLUGIN(admission_always_admit);
ADMISSION_PLUGIN(admission_always_deny);
ADMISSION_PLUGIN(admission_namespace_provision);
ADMISSION_PLUGIN(admission_namespace_exists);
ADMISSION_PLUGIN(admission_hard_anti_affinity);
ADMISSION_PLUGIN(admission_always_pull_images);
ADMISSION_PLUGIN(admission_extended_resource_toleration);
ADMISSION_PLUGIN(admission_owner_references);
ADMISSION_PLUGIN(admission_claim_resize);
ADMISSION_PLUGIN(admission_certificate_approval);
ADMISSION_PLUGIN(admission_certificate_signing);
ADMISSION_PLUGIN(admission_certificate_subject);
ADMISSION_PLUGIN(admission_default_ingress_class);
ADMISSION_PLUGIN(admission_deny_external_ips);
ADMISSION_PLUGIN(admission_namespace_lifecycle);
ADMISSION_PLUGIN(admission_service_account);
ADMISSION_PLUGIN(admission_limit_ranger);
ADMISSION_PLUGIN(admission_resource_quota);
ADMISSION_PLUGIN(admission_default_toleration_seconds);
ADMISSION_PLUGIN(admission_priority);
ADMISSION_PLUGIN(admission_runtime_class);
ADMISSION_PLUGIN(admission_default_storage_class);
ADMISSION_PLUGIN(admission_escalation);
ADMISSION_PLUGIN(admission_pod_security);
ADMISSION_PLUGIN(admission_taint_nodes);
ADMISSION_PLUGIN(admission_node_restriction);
ADMISSION_PLUGIN(admission_storage_protection);
ADMISSION_PLUGIN(admission_pod_resize);
ADMISSION_PLUGIN(admission_pod_topology_labels);
ADMISSION_PLUGIN(admission_mutating_policy);
ADMISSION_PLUGIN(admission_mutating_webhook);
ADMISSION_PLUGIN(admission_validating_policy);
ADMISSION_PLUGIN(admission_validating_webhook);

#endif
