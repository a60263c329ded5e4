/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: who asked for what, and what became of it, a line of JSON (audit.k8s.io/v1 Event) a stage, as the policy of --audit-policy-file asks.
 * All functions do nothing where the request is not to be told of.
 */
#ifndef CORACLE_APISERVER_AUDIT_H
#define CORACLE_APISERVER_AUDIT_H

#include "apiserver/request/request.h"

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_REQUEST_RESPONSE };
enum audit_stage { AUDIT_RECEIVED = 1, AUDIT_STARTED = 2, AUDIT_COMPLETE = 4 };

struct audit;
/* NULL in *ret where neither log nor webhook, or no policy is asked for. */
int audit_start(const struct apiserver_options *options, struct audit **ret, struct error *err);
void audit_stop(struct audit *audit);

/* The step of a request: how much is told of it; its arrival. */
int step_audit(struct request *r, struct error *err);
/* A request that stops at authentication: told of once, when it is answered. */
void audit_unauthenticated(struct request *r);
/* The body was understood as this object: what the path does not say of it is told. */
void audit_object(struct request *r, const void *object);
/* What the authorizer came to. */
void audit_decision(struct request *r, bool allowed, const char *reason);
/* The first of a key holds. A level above that of the request: it is left out. */
void audit_annotate(struct request *r, enum audit_level level, const char *key, const char *value);
/* Whether the answer's body is to be given. */
bool audit_wants_response(const struct request *r);
void audit_response(struct request *r, const char *json, size_t len);
/* The answer is this Status. */
void audit_status(struct request *r, int code, const char *json, size_t len);
/* The answer is this error. */
void audit_error(struct request *r, const struct error *err);
/* The answer is known; called by request_finished. */
void audit_finished(struct request *r, int code);

/* ---- policy.c ---- */
struct audit_policy;
const char *audit_level_name(enum audit_level level);
int audit_policy_read(const char *path, struct audit_policy **ret, struct error *err);
void audit_policy_free(struct audit_policy *policy);
/* By the first rule that fits. *ret_omit: stages left out, or'ed. */
enum audit_level audit_policy_judge(const struct audit_policy *policy, const struct request *r, unsigned *ret_omit, bool *ret_omit_managed);

/* ---- log.c ---- */
struct audit_log;
int audit_log_open(const struct apiserver_options *options, struct audit_log **ret, struct error *err);
void audit_log_close(struct audit_log *log);
/* A line each; of struct audit_backend_options. Any thread. */
int audit_log_write(void *log, struct bytes *const *events, size_t count);

/* ---- webhook.c ---- */
struct audit_webhook;
int audit_webhook_open(const struct apiserver_options *options, struct audit_webhook **ret, struct error *err);
/* Posts under way are not tried again. Takes NULL. */
void audit_webhook_stop(struct audit_webhook *webhook);
void audit_webhook_close(struct audit_webhook *webhook);
/* Of struct audit_backend_options. Blocks. */
int audit_webhook_post(void *webhook, struct bytes *const *events, size_t count);

#endif
