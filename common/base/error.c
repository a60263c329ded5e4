/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/error.h"

#include "common/base/buf.h"

#include <errno.h>
#include <stdio.h>

#define MAX_MESSAGE ((size_t)1 << 20)

void error_done(struct error *err)
{
	if (!err)
		return;
	free(err->reason);
	free(err->message);
	free(err->details_group);
	free(err->details_kind);
	free(err->details_name);
	free(err->details_uid);
	for (size_t i = 0; i < err->cause_count; i++) {
		free(err->causes[i].reason);
		free(err->causes[i].field);
		free(err->causes[i].message);
		free(err->causes[i].place);
	}
	free(err->causes);
	free(err->field_context);
	*err = (struct error){0};
}

static char *format(const char *fmt, va_list args)
{
	char *text = NULL;
	return vasprintf(&text, fmt, args) < 0 ? xstrdup(fmt) : text;
}

/* Replaces what err held. The message is made before that, since it may quote the old one. */
static int set_message(struct error *err, int errnum, char *take_message)
{
	errnum = abs(errnum);
	if (!errnum)
		errnum = EIO;
	if (!err) {
		free(take_message);
		return -errnum;
	}
	error_done(err);
	err->errnum = errnum;
	err->message = take_message;
	return -errnum;
}

int error_set(struct error *err, int errnum, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *message = format(fmt, args);
	va_end(args);
	return set_message(err, errnum, message);
}

int error_set_errno(struct error *err, int errnum, const char *fmt, ...)
{
	char reason[128];
	va_list args;
	va_start(args, fmt);
	autofree char *message = format(fmt, args);
	va_end(args);
	return set_message(err, errnum, xprintf("%s: %s", message, strerror_r(abs(errnum), reason, sizeof(reason))));
}

static int errno_of_status(int http_code, const char *reason)
{
	switch (http_code) {
	case 404:
		return ENOENT;
	case 409:
		return str_equal(reason, "AlreadyExists") ? EEXIST : EAGAIN;
	case 400:
	case 422:
		return EINVAL;
	case 401:
	case 403:
		return EACCES;
	case 410:
		return ESTALE;
	case 429:
	case 503:
		return EBUSY;
	case 504:
		return ETIMEDOUT;
	default:
		return EIO;
	}
}

int error_status(struct error *err, int http_code, const char *reason, const char *fmt, ...)
{
	va_list args;
	va_start(args, fmt);
	char *message = format(fmt, args);
	va_end(args);
	autofree char *copy = reason ? xstrdup(reason) : NULL; /* reason may be the old error's own */
	int r = set_message(err, errno_of_status(http_code, reason), message);
	if (err) {
		err->http_code = http_code;
		err->reason = take_ptr(copy);
	}
	return r;
}

static void replace_text(char **slot, const char *text)
{
	char *copy = text ? xstrdup(text) : NULL;
	free(*slot);
	*slot = copy;
}

void error_details(struct error *err, const char *group, const char *kind, const char *name)
{
	if (!err)
		return;
	replace_text(&err->details_group, group);
	replace_text(&err->details_kind, kind);
	replace_text(&err->details_name, name);
}

int error_context(struct error *err, const char *fmt, ...)
{
	if (!err || !err->errnum)
		return 0;
	va_list args;
	va_start(args, fmt);
	autofree char *context = format(fmt, args);
	va_end(args);
	char *message = xprintf("%s: %s", context, error_message(err));
	free(err->message);
	err->message = message;
	return -err->errnum;
}

void error_cause(struct error *err, const char *reason, const char *field, const char *fmt, ...)
{
	if (!err || err->cause_count >= ERROR_MAX_CAUSES)
		return;
	va_list args;
	va_start(args, fmt);
	char *message = format(fmt, args);
	va_end(args);
	err->causes = xreallocarray(err->causes, err->cause_count + 1, sizeof(*err->causes));
	err->causes[err->cause_count++] = (struct error_cause){
		.reason = xstrdup(str_or(reason, "")),
		.field = xstrdup(str_or(field, "")),
		.message = message,
	};
}

static bool is_beneath(const struct error_cause *cause, const char *field)
{
	size_t len = strlen(field);
	return strncmp(cause->field, field, len) == 0 && (cause->field[len] == '.' || cause->field[len] == '[');
}

void error_place_causes(struct error *err, size_t from, const char *place)
{
	for (size_t i = from; err && i < err->cause_count; i++)
		if (!err->causes[i].place)
			err->causes[i].place = xstrdup(place);
}

void error_move_causes(struct error *err, const char *from, const char *to)
{
	for (size_t i = 0; err && i < err->cause_count; i++) {
		struct error_cause *cause = &err->causes[i];
		if (!is_beneath(cause, from) && strcmp(cause->field, from) != 0)
			continue;
		char *field = xprintf("%s%s", to, cause->field + strlen(from));
		free(cause->field);
		cause->field = field;
	}
}

void error_drop_causes(struct error *err, const char *field, bool self)
{
	size_t kept = 0;
	for (size_t i = 0; err && i < err->cause_count; i++) {
		struct error_cause *cause = &err->causes[i];
		if (!is_beneath(cause, field) && !(self && strcmp(cause->field, field) == 0)) {
			err->causes[kept++] = *cause;
			continue;
		}
		free(cause->reason);
		free(cause->field);
		free(cause->message);
		free(cause->place);
	}
	if (err)
		err->cause_count = kept;
}

static bool cause_is_repeated(const struct error *err, size_t index)
{
	const struct error_cause *cause = &err->causes[index];
	for (size_t i = 0; i < index; i++)
		if (str_equal(err->causes[i].field, cause->field) && str_equal(err->causes[i].message, cause->message))
			return true;
	return false;
}

int error_invalid(struct error *err, const char *group, const char *kind, const char *name)
{
	if (!error_has_causes(err))
		return 0;
	autobuf struct buf text = BUF_INIT(MAX_MESSAGE);
	size_t different = 0;
	for (size_t i = 0; i < err->cause_count; i++)
		different += !cause_is_repeated(err, i);
	buf_printf(&text, "%s%s%s \"%s\" is invalid: %s", kind, str_empty(group) ? "" : ".", str_or(group, ""), str_or(name, ""),
		different > 1 ? "[" : "");
	for (size_t i = 0, shown = 0; i < err->cause_count; i++) {
		if (cause_is_repeated(err, i))
			continue;
		const struct error_cause *cause = &err->causes[i];
		buf_append_str(&text, shown++ ? ", " : "");
		buf_append_str(&text, cause->field);
		buf_append_str(&text, str_empty(cause->field) ? "" : ": ");
		buf_append_str(&text, cause->message);
	}
	buf_append_str(&text, different > 1 ? "]" : "");
	free(err->message);
	err->message = buf_take(&text);
	err->errnum = EINVAL;
	err->http_code = 422;
	replace_text(&err->reason, "Invalid");
	error_details(err, group, kind, name);
	return -EINVAL;
}

int error_move(struct error *to, struct error *from)
{
	if (!from || !from->errnum)
		return 0;
	int r = -from->errnum;
	if (!to) {
		error_done(from);
		return r;
	}
	if (to != from) {
		error_done(to);
		*to = *from;
		*from = (struct error){0};
	}
	return r;
}

bool error_is(const struct error *err, const char *reason)
{
	return err && err->errnum && err->reason && strcmp(err->reason, reason) == 0;
}
