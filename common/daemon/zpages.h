/* SPDX-License-Identifier: Apache-2.0 */
/* /statusz, /flagz and /configz: what runs here, how it was told to, and what it makes of that. Pure: the server that has the pages answers with them. */
#ifndef CORACLE_DAEMON_ZPAGES_H
#define CORACLE_DAEMON_ZPAGES_H

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/flags.h"

#include <jansson.h>

enum zpage_form { ZPAGE_TEXT, ZPAGE_ALPHA, ZPAGE_BETA };

/*
 * Text to people, and to those who name it in Accept a structured form of its kind ("Statusz", "Flagz"), of config.k8s.io/v1alpha1 or v1beta1. False where
 * they take neither: ZPAGE_NOT_ACCEPTABLE is what they are told, with 406.
 */
bool zpage_negotiate(const char *accept, const char *kind, enum zpage_form *ret);
#define ZPAGE_NOT_ACCEPTABLE "only the following media types are accepted: application/json, application/yaml, text/plain"
/* The answer's Content-Type. The caller frees. */
char *zpage_content_type(const char *kind, enum zpage_form form);
/* name: of the component, as Kubernetes calls it. */
void zpage_statusz(struct buf *out, enum zpage_form form, const char *name, struct wall_time started, const char *const *paths, size_t count);
void zpage_flagz(struct buf *out, enum zpage_form form, const char *name, const struct flag *flags, size_t count, const void *options);

/* A flag's value as a configuration file holds it: lists and maps as arrays of texts, or, if joined, as one text with commas. The caller's reference. */
json_t *flag_to_json(const struct flag *flag, bool joined, const void *options);

/* A flag's place in the configuration object: "leaderElection.leaderElect"; "profiles[].schedulerName" in the only item of a list. */
struct config_row {
	const char *path, *flag;
	bool joined; /* a list that is one text there, with commas */
};
#define CONFIG_ROW(path_, flag_) {.path = (path_), .flag = (flag_)}
struct config_page {
	const char *name; /* under which Kubernetes registers it */
	const char *api_version, *kind;
	const struct config_row *rows;
	size_t count;
};
/* The configuration as JSON. Rows whose flag is not among the flags are left out. */
void zpage_configz(struct buf *out, const struct config_page *page, const struct flag *flags, size_t count, const void *options);

#endif
