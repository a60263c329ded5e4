/* SPDX-License-Identifier: Apache-2.0 */
/* From answers that are errors to struct error. */
#include "common/client/internal.h"

#include <errno.h>
#include <jansson.h>

/* What a code means where the answer carries no Status (a proxy in between, a plain text answer). */
static const struct {
	int code;
	const char *reason, *message;
} generic[] = {
	{400, "BadRequest", "the server rejected our request for an unknown reason"},
	{401, "Unauthorized", "the server has asked for the client to provide credentials"},
	{403, "Forbidden", "the server does not allow access to the requested resource"},
	{404, "NotFound", "the server could not find the requested resource"},
	{405, "MethodNotAllowed", "the server does not allow this method on the requested resource"},
	{406, "NotAcceptable", "the server was unable to respond with a content type that the client supports"},
	{409, "Conflict", "the server reported a conflict"},
	{410, "Gone", "the requested resource is no longer available"},
	{413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728"},
	{415, "UnsupportedMediaType", "the body of the request was in an unknown format"},
	{422, "Invalid", "the server rejected our request due to an error in our request"},
	{429, "TooManyRequests", "the server has received too many requests and has asked us to try again later"},
	{500, "InternalError", "an error on the server has prevented the request from succeeding"},
	{503, "ServiceUnavailable", "the server is currently unable to handle the request"},
	{504, "Timeout", "the server was unable to return a response in the time allotted, but may still be processing the request"},
};

static const char *string_of(json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static void add_details(struct error *err, json_t *details)
{
	if (!json_is_object(details))
		return;
	error_details(err, string_of(details, "group"), string_of(details, "kind"), string_of(details, "name"));
	const char *uid = string_of(details, "uid");
	if (uid)
		err->details_uid = xstrdup(uid);
	json_int_t seconds = json_integer_value(json_object_get(details, "retryAfterSeconds"));
	if (seconds > 0 && seconds < 3600)
		err->retry_after_seconds = (int)seconds;
	size_t i;
	json_t *cause;
	json_array_foreach(json_object_get(details, "causes"), i, cause)
		error_cause(err, str_or(string_of(cause, "reason"), ""), str_or(string_of(cause, "field"), ""), "%s", str_or(string_of(cause, "message"), ""));
}

static int from_status(struct error *err, json_t *status, int fallback_code)
{
	int code = (int)json_integer_value(json_object_get(status, "code"));
	if (code < 400 || code > 599)
		code = fallback_code;
	int rc = error_status(err, code, str_or(string_of(status, "reason"), ""), "%s", str_or(string_of(status, "message"), "unknown"));
	if (err)
		add_details(err, json_object_get(status, "details"));
	return rc;
}

int client_error_from_status(struct error *err, const char *json, size_t len)
{
	json_t *status = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	int rc = json_is_object(status) ? from_status(err, status, 500) : error_status(err, 500, "InternalError", "the server sent an error that is not a Status");
	json_decref(status);
	return rc;
}

static int from_code(struct error *err, int code, const char *body, size_t len)
{
	const char *reason = code >= 500 ? "InternalError" : "";
	const char *message = "the server responded with an unexpected status";
	for (size_t i = 0; i < array_len(generic); i++) {
		if (generic[i].code == code) {
			reason = generic[i].reason;
			message = generic[i].message;
		}
	}
	while (len && (body[len - 1] == '\n' || body[len - 1] == ' '))
		len--;
	/* What stands between says these in words of its own, that tell a user nothing. */
	bool printable = len && len <= 1024 && code != 404 && code != 503;
	for (size_t i = 0; printable && i < len; i++)
		printable = (unsigned char)body[i] >= 0x20 || body[i] == '\n' || body[i] == '\t';
	if (printable && body[0] != '<')
		return error_status(err, code, reason, "%.*s", (int)len, body);
	return error_status(err, code, reason, "%s", message);
}

int client_error_from_answer(struct error *err, int http_code, const char *body, size_t len, int retry_after_seconds)
{
	json_t *status = len ? json_loadb(body, len, 0, NULL) : NULL;
	int rc;
	if (json_is_object(status) && str_equal(string_of(status, "kind"), "Status"))
		rc = from_status(err, status, http_code);
	else
		rc = from_code(err, http_code, body ? body : "", len);
	if (err && retry_after_seconds > 0)
		err->retry_after_seconds = retry_after_seconds;
	json_decref(status);
	return rc;
}
