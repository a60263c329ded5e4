/* SPDX-License-Identifier: Apache-2.0 */
/* serviceaccounts/x/token: TokenRequest. */
#include "apiserver/audit/audit.h"
#include "apiserver/authn/authn.h"
#include "apiserver/rest/body.h"
#include "apiserver/rest/input.h"
#include "apiserver/rest/subresource.h"
#include "api/authentication_v1.h"
#include "api/core_v1.h"

#include <errno.h>

#define MIN_SECONDS 600
#define MAX_SECONDS (1LL << 32)
/* A pod's default token asks for an hour and seven seconds: such clients may be old, so it lives a year and warns after the hour. */
#define POD_DEFAULT_SECONDS 3607
#define EXTENDED_SECONDS (365LL * 24 * 3600)

static int bind_to(struct request *r, const struct authentication_v1_bound_object_reference *ref, struct token_request *t, struct error *err) {
	if (!ref || str_empty(ref->kind))
		return 0;
	const char *plural = strcmp(ref->kind, "Pod") == 0 ? "pods" : strcmp(ref->kind, "Secret") == 0 ? "secrets" : strcmp(ref->kind, "Node") == 0 ? "nodes" : NULL;
	if (!plural || !str_equal(ref->api_version, "v1"))
		return error_bad_request(err, "cannot bind token to object of type %s%s, Kind=%s", strchr(str_or(ref->api_version, ""), '/') ? "" : "/", str_or(ref->api_version, ""), ref->kind);
	const struct resource *resource = registry_find(r->server->registry, "", "v1", plural);
	void *object = resource_read(resource, r->ns, ref->name);
	if (!object)
		return error_not_found(err, resource, str_or(ref->name, ""));
	const struct meta_v1_object_meta *meta = api_metadata(object);
	int rc = 0;
	if (!str_empty(ref->uid) && !str_equal(ref->uid, meta->uid)) {
		autofree char *text = xprintf("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref->uid);
		rc = error_conflict(err, resource, ref->name, text);
	}
	t->bound_kind = ref->kind;
	t->bound_name = ref->name;
	t->bound_uid = arena_strdup(r->arena, meta->uid);
	if (rc == 0 && strcmp(ref->kind, "Pod") == 0) {
		const struct core_v1_pod *pod = object;
		if (!str_equal(str_or(pod->spec.service_account_name, "default"), r->name))
			rc = error_bad_request(err, "cannot bind token for serviceaccount \"%s\" to pod running with different serviceaccount name.", r->name);
		if (!str_empty(pod->spec.node_name)) {
			t->node_name = arena_strdup(r->arena, pod->spec.node_name);
			void *node = registry_read(r->server->registry, "", "nodes", NULL, pod->spec.node_name);
			t->node_uid = node ? arena_strdup(r->arena, api_metadata(node)->uid) : NULL;
			api_unref(node);
		}
	}
	api_unref(object);
	return rc;
}

static int issue(struct request *r, struct authentication_v1_token_request *request, const char *account_uid, struct error *err) {
	struct signer *signer = authn_signer(r->server->authn);
	struct arena *arena = api_arena(request);
	int64_t seconds = request->spec.expiration_seconds ? *request->spec.expiration_seconds : 3600;
	if (!str_empty(request->metadata.uid) && strcmp(request->metadata.uid, account_uid) != 0) {
		int rc = error_status(err, 409, "Conflict", "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"%s\": the UID in the token request (%s) does not match the UID of the service account (%s)", r->name, request->metadata.uid, account_uid);
		error_details(err, "authentication.k8s.io", "TokenRequest", r->name);
		return rc;
	}
	request->metadata.name = arena_strdup(arena, r->name);
	request->metadata.uid = arena_strdup(arena, account_uid);
	request->metadata.creation_timestamp = api_time_now();
	if (seconds < MIN_SECONDS || seconds > MAX_SECONDS) {
		error_cause(err, "FieldValueInvalid", "spec.expirationSeconds", "Invalid value: %lld: %s", (long long)seconds, seconds < MIN_SECONDS ? "may not specify a duration less than 10 minutes" : "may not specify a duration larger than 2^32 seconds");
		return error_invalid(err, "authentication.k8s.io", "TokenRequest", "");
	}
	int64_t max = r->server->options->service_account_max_token_expiration / NSEC_PER_SEC;
	if (max > 0 && seconds > max)
		seconds = max;
	const char **audiences = arena_calloc(arena, request->spec.audiences.len + 1, sizeof(*audiences));
	for (uint32_t i = 0; i < request->spec.audiences.len; i++)
		audiences[i] = request->spec.audiences.items[i];
	struct token_request t = {.ns = r->ns, .name = r->name, .uid = account_uid, .seconds = seconds};
	t.audiences = request->spec.audiences.len ? audiences : signer_audiences(signer);
	int rc = bind_to(r, request->spec.bound_object_ref, &t, err);
	if (rc < 0)
		return rc;
	if (t.bound_kind && strcmp(t.bound_kind, "Pod") == 0 && seconds == POD_DEFAULT_SECONDS && r->server->options->service_account_extend_token_expiration && !request->spec.audiences.len) {
		t.seconds = EXTENDED_SECONDS;
		t.warn_after = POD_DEFAULT_SECONDS;
	}
	int64_t expires;
	char *token;
	char id[37];
	t.ret_id = id;
	rc = signer_sign(signer, &t, &expires, &token, err);
	if (rc < 0)
		return rc;
	audit_annotate(r, AUDIT_METADATA, "authentication.kubernetes.io/issued-credential-id", arena_printf(arena, "JTI=%s", id));
	if (!request->spec.audiences.len)
		for (const char *const *a = t.audiences; *a; a++)
			api_string_list_add(arena, &request->spec.audiences, *a);
	request->spec.expiration_seconds = api_int64(arena, seconds);
	request->status.token = arena_strdup(arena, token);
	request->status.expiration_timestamp = (struct api_time){.t = {.sec = t.warn_after ? expires - t.seconds + t.warn_after : expires}, .set = true};
	memset(token, 0, strlen(token));
	free(token);
	return 0;
}

static int answer(struct request *r, void *input, struct error *err) {
	struct authentication_v1_token_request *request = input;
	int rc;
	if (!str_empty(request->metadata.name) && strcmp(request->metadata.name, r->name) != 0) {
		error_cause(err, "FieldValueInvalid", "metadata.name", "Invalid value: \"%s\": must match the service account name if specified", request->metadata.name);
		rc = error_invalid(err, "authentication.k8s.io", "TokenRequest", r->name);
		api_unref(input);
		return rc;
	}
	void *account = resource_read(r->resource, r->ns, r->name);
	if (!account) {
		rc = error_not_found(err, r->resource, r->name);
	} else {
		rc = issue(r, input, api_metadata(account)->uid, err);
		api_unref(account);
	}
	if (rc == 0)
		request_respond_object(r, 201, &authentication_v1_token_request_type, input);
	api_unref(input);
	return rc < 0 ? rc : REQUEST_TAKEN;
}

int subresource_token(struct request *r, struct error *err) {
	int rc = request_parse_write_options(r, err);
	void *input;
	if (rc == 0)
		rc = request_decode_body(r, &authentication_v1_token_request_type, &input, err);
	if (rc < 0)
		return rc;
	api_default(input);
	rc = input_check_namespace(r->resource, r->ns, &((struct authentication_v1_token_request *)input)->metadata, err);
	if (rc < 0) {
		api_unref(input);
		return rc;
	}
	write_sent_fields(r, "authentication.k8s.io/v1", "token", input);
	return body_admit(r, &(struct body_admission){r->resource, r->name, "token", WRITE_CREATE, answer}, input);
}
