/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers of others as a part of this one (apiregistration.k8s.io): whoever asks for a group and version that an APIService gives to a Service is passed on
 * to that, and what it serves is told of in discovery and OpenAPI as if it were served here.
 *
 * What is in effect is a set of immutable, counted descriptions, one for each APIService, replaced as events come. Any thread, where nothing else is said.
 */
#ifndef CORACLE_APISERVER_AGGREGATOR_H
#define CORACLE_APISERVER_AGGREGATOR_H

#include "apiserver/request/request.h"

struct aggregator;
/* Before anything is registered or defined. */
struct aggregator *aggregator_new(struct apiserver *server);
/* Follows the APIServices, and begins to look after them. */
int aggregator_start(struct aggregator *aggregator, struct error *err);
/* While timers and store are there still. Takes NULL. */
void aggregator_stop(struct aggregator *aggregator);
void aggregator_free(struct aggregator *aggregator);

/* Custom resources are served otherwise than before: their APIServices follow. */
void aggregator_note_definitions(struct aggregator *aggregator);
/* The APIServices of what is built in, as they are to be when the server starts. On the bootstrap's worker. */
struct worker;
int aggregator_register(struct worker *worker);
/* Grows with every change of what is told below. */
uint64_t aggregator_generation(struct aggregator *aggregator);

/* ---- requests ---- */

/* 0: it is for this server itself. */
int aggregator_handle(struct request *r, struct error *err);

/* ---- what is told of them ---- */

/* A group and version, as an APIService has it. */
struct aggregated_version {
	const char *group, *version;
	int32_t group_priority, version_priority;
	bool remote;
	bool current;           /* of a remote one: its server has told what it serves */
	const char *resources;  /* JSON array of APIResourceDiscovery; NULL: not known */
};
/* In no order. fn may not call back; what it is given is good during the call. */
void aggregator_each(struct aggregator *aggregator, void (*fn)(const struct aggregated_version *version, void *arg), void *arg);
/* Priorities of what has no APIService (yet). */
void aggregator_default_priorities(const char *group, const char *version, bool custom, int32_t *ret_group, int32_t *ret_version);
/* Documents of OpenAPI v3 that other servers have: their keys ("apis/g/v") and where they say that they are. */
void aggregator_each_document(struct aggregator *aggregator, void (*fn)(const char *key, const char *url, void *arg), void *arg);
/* Passes a request for such a document on. 0: nobody else has it. */
int aggregator_handle_document(struct request *r, const char *key, struct error *err);
/* OpenAPI v2 of remote servers, each of its group and version alone: a JSON object with "paths" and the "definitions" that those lead to. */
void aggregator_each_swagger(struct aggregator *aggregator, void (*fn)(const char *group, const char *version, const char *json, size_t len, void *arg), void *arg);

#endif
