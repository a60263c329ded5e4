/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share. */
#ifndef CORACLE_APISERVER_AGGREGATOR_INTERNAL_H
#define CORACLE_APISERVER_AGGREGATOR_INTERNAL_H

#include "apiserver/aggregator/aggregator.h"
#include "apiserver/aggregator/told.h"
#include "apiserver/worker.h"
#include "common/base/list.h"
#include "common/base/map.h"

#include <gnutls/gnutls.h>
#include <pthread.h>

#define APISERVICES_GROUP "apiregistration.k8s.io"
#define AUTOMANAGED "kube-aggregator.kubernetes.io/automanaged"
#define MAX_ADDRESS 64

/* By what a server is known, and we to it. Immutable, counted. */
struct trust {
	unsigned refs; /* atomic */
	gnutls_certificate_credentials_t credentials;
	bool verify;
	char *trouble; /* why there is none; NULL: there is */
	void *ca;
	size_t ca_len;
	int64_t certificate_at; /* when the file of our certificate was changed */
};
/* `old`, or NULL, is taken again where it says the same. */
struct trust *trust_get(const struct apiserver_options *options, const void *ca, size_t ca_len, bool insecure, struct trust *old);
struct trust *trust_ref(struct trust *trust);
void trust_unref(struct trust *trust);

/* An APIService in one state. Immutable, counted. */
struct aggregated {
	unsigned refs; /* atomic */
	char *name, *group, *version;
	int32_t group_priority, version_priority;
	char *ns, *service; /* service NULL: local */
	int32_t port;
	char *server_name;
	struct trust *trust; /* NULL: local */
	bool available;
};
struct aggregated *aggregated_ref(struct aggregated *info);
void aggregated_unref(struct aggregated *info);
static inline void cleanup_aggregated(struct aggregated **info) {
	aggregated_unref(*info);
}
#define autoaggregated cleanup(cleanup_aggregated)

/* What a remote server has told, all or nothing of it. Immutable, counted. */
struct told {
	unsigned refs; /* atomic */
	bool current;
	char *resources;          /* NULL: none known */
	struct map documents;     /* of OpenAPI v3: key -> where */
	char *swagger;            /* OpenAPI v2; NULL: not known */
	size_t swagger_len;
};
void told_unref(struct told *told);

/* What goes beside an APIService. Members under the set's lock, but for those of the worker. */
struct member {
	struct aggregated *info;
	struct told *told;          /* NULL: nothing yet */
	char address[MAX_ADDRESS];  /* numeric, where its service is another name */
};

struct aggregator {
	struct apiserver *server;
	const struct resource *apiservices;
	pthread_rwlock_t lock;      /* of members, their number and what they hold */
	struct member **members;    /* by name */
	size_t len;
	unsigned remotes;           /* atomic */
	uint64_t generation;        /* atomic */
	struct store_watch *watches[3];

	pthread_mutex_t work;
	struct worker *wake;        /* under work; NULL: none */
	struct map dirty;           /* names to be looked at; under work */
	bool definitions;           /* under work */
	struct list answers;        /* under work: struct question */

	/* The loop's. */
	struct list asked;

	/* The worker's. */
	struct worker *worker;
	struct map cares;           /* name -> struct care */
};

/* ---- set.c ---- */
void set_follow(struct aggregator *a);
/* A reference, or NULL. */
struct aggregated *set_find(struct aggregator *a, const char *name);
struct aggregated *set_find_version(struct aggregator *a, const char *group, const char *version);
/* Who has a document of OpenAPI v3. */
struct aggregated *set_find_document(struct aggregator *a, const char *key);
/* Takes `told`. */
void set_told(struct aggregator *a, const char *name, struct told *take_told);
/* Whether anything has been told of the server that is meant now. */
bool set_is_told(struct aggregator *a, const char *name);
void set_address(struct aggregator *a, const char *name, const char *address);
/* Where to reach it: 0, or why not. Texts in the arena. */
int set_locate(struct aggregator *a, const struct aggregated *info, struct arena *arena, const char **ret_address, uint16_t *ret_port, struct error *err);
/* To be looked at soon. */
void set_note(struct aggregator *a, const char *name);
/* Where our own certificate has changed: it is read anew for all. */
void set_refresh_certificate(struct aggregator *a);

/* ---- register.c ---- */
/* The APIServices of custom resources, as they are defined now. */
int register_definitions(struct worker *worker);

/* ---- care.c: the worker ---- */
void care_run(struct worker *worker, void *arg);
void care_done(struct aggregator *a);

/* ---- ask.c: questions to remote servers ---- */
enum step { STEP_CHECK, STEP_GROUPS, STEP_VERSION, STEP_DOCUMENTS, STEP_SWAGGER, STEP_COUNT };
struct fetch;
struct question {
	struct list link;
	struct aggregator *aggregator;
	struct aggregated *info;
	enum step step;
	char *address, *path;
	uint16_t port;
	struct fetch *fetch;
	/* The answer. */
	int status;                 /* 0: none, see trouble */
	char *trouble;
	char type[256];             /* Content-Type */
	char *body;
	size_t body_len;
};
/* The answer comes to `answers`, and the worker is woken. */
void ask_start(struct aggregator *a, struct aggregated *info, enum step step, const char *address, uint16_t port);
void question_free(struct question *question);
/* Ends all that are under way. */
void ask_drain(struct aggregator *a);

/* ---- resolve.c ---- */
/* The first address of a name, IPv4 before IPv6. Waits for at most some seconds, and no longer than the worker runs. */
int resolve_name(struct worker *worker, const char *name, char ret[static MAX_ADDRESS], struct error *err);

#endif
