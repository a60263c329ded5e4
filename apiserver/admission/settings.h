/* SPDX-License-Identifier: Apache-2.0 */
/* --admission-control-config-file: what plugins are told by their operator. */
#ifndef CORACLE_APISERVER_ADMISSION_SETTINGS_H
#define CORACLE_APISERVER_ADMISSION_SETTINGS_H

#include "apiserver/apiserver.h"
#include "common/base/map.h"
#include "api/apiserver_v1.h"
#include "api/resourcequota_v1.h"

struct event_limits;
struct webhook_credentials;
struct podtolerationrestriction_v1alpha1_configuration;

/* Immutable, but for what the limits count. */
struct admission_settings {
	struct apiserver_v1_pod_security_configuration *pod_security; /* NULL: nothing was said */
	struct podtolerationrestriction_v1alpha1_configuration *tolerations; /* the same */
	struct map node_selectors; /* selectors by namespace, or clusterDefaultNodeSelector */
	struct event_limits *event_limits; /* NULL: none */
	struct webhook_credentials *mutating, *validating; /* how webhooks are told who asks; NULL: they are not */
	void *quota; /* what owns the limited resources below; NULL: none */
	const struct resourcequota_v1_limited_resource_array *limited;
};
/* Reads and checks the file; *ret is never NULL on success. */
int admission_settings_new(const struct apiserver_options *options, struct admission_settings **ret, struct error *err);
void admission_settings_free(struct admission_settings *settings);
/* The same of a text; paths in it are relative to `folder`. What is said to plugins that are not enabled is not looked at; options NULL: all are. */
int admission_settings_parse(const struct apiserver_options *options, const char *text, size_t len, const char *folder, struct admission_settings **ret, struct error *err);
/* podsecurity.c: what is wrong in it, as causes. */
void podsecurity_check_settings(const struct apiserver_v1_pod_security_configuration *config, struct error *found);

/* What each plugin reads of its own configuration. */
int nodeselector_read(struct admission_settings *settings, const char *text, size_t len, struct error *err);
int tolerations_read(struct admission_settings *settings, const char *text, size_t len, struct error *err);
int quota_read(struct admission_settings *settings, const char *text, size_t len, struct error *err);
int eventrate_read(struct admission_settings *settings, const char *text, size_t len, struct error *err);
void eventrate_free(struct event_limits *limits);

#endif
