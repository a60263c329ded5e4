/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One error object, filled where things go wrong, given context on the way up, untouched on success.
 *
 * Functions that can fail return 0 or a negative errno and take `struct error *err` last; err may be NULL where
 * the caller does not care. An error that is to reach an API client carries the HTTP code and the reason of a
 * Kubernetes Status; validation adds one cause for every mistake found.
 */
#ifndef CORACLE_BASE_ERROR_H
#define CORACLE_BASE_ERROR_H

#include "common/base/base.h"

#include <stdarg.h>

struct error_cause {
	char *reason;  /* FieldValueInvalid, FieldValueRequired, ... */
	char *field;   /* spec.containers[0].name */
	char *message; /* as it stands in Status.details.causes[].message */
	char *place;   /* the field beside whose causes it is told; NULL: its own */
};

struct error {
	int errnum;          /* positive errno; 0 = no error */
	int http_code;       /* 0 where the error is local */
	char *reason;        /* reason of the Status: NotFound, Invalid, ...; NULL where local */
	char *message;       /* whole sentence; never NULL once set */
	char *details_group; /* Status.details, where known */
	char *details_kind;
	char *details_name;
	char *details_uid;
	bool empty_details;  /* Status.details is shown though nothing stands in it */
	int retry_after_seconds;
	struct error_cause *causes;
	size_t cause_count;
	char *field_context; /* managed by error_field_push/pop */
};

#define ERROR_MAX_CAUSES 128

void error_done(struct error *err);
/* `autoerror struct error err = {0};` */
#define autoerror cleanup(error_done)

/* Sets a local error. `errnum` is negative or positive. Returns -errnum, so: return error_set(err, EINVAL, "..."). An error already set is replaced. */
int error_set(struct error *err, int errnum, const char *fmt, ...) printf_like(3, 4);
/* Sets an error from errno-style `errnum` with strerror appended: "open /x: No such file or directory". */
int error_set_errno(struct error *err, int errnum, const char *fmt, ...) printf_like(3, 4);
/* Sets an error for an API client; errno follows from the code (404 ENOENT, 409 EEXIST for AlreadyExists else EAGAIN, 400/422 EINVAL, 401/403 EACCES, 410 ESTALE, 429/503 EBUSY, 504 ETIMEDOUT, else EIO). Returns the negative errno. */
int error_status(struct error *err, int http_code, const char *reason, const char *fmt, ...) printf_like(4, 5);
/* The object that Status.details names. NULL leaves a part out. */
void error_details(struct error *err, const char *group, const char *kind, const char *name);
/* Puts "context: " before the message. Does nothing where no error is set. Returns -errnum. */
int error_context(struct error *err, const char *fmt, ...) printf_like(2, 3);
/* Adds one cause; past ERROR_MAX_CAUSES further ones are dropped. Does not set the error itself: see error_invalid(). */
void error_cause(struct error *err, const char *reason, const char *field, const char *fmt, ...) printf_like(4, 5);
/* Forgets the causes of what is beneath the field: its members and items; `self`: its own too. */
void error_drop_causes(struct error *err, const char *field, bool self);
/* Tells the causes from the one of that index on where those of another field are told. Those that have a place keep it. */
void error_place_causes(struct error *err, size_t from, const char *place);
/* Tells the causes of one field, and of what is beneath it, as if they were of another. */
void error_move_causes(struct error *err, const char *from, const char *to);
/* True once a cause was added. */
static inline bool error_has_causes(const struct error *err) {
	return err && err->cause_count;
}
/* Turns collected causes into the 422 Invalid of Kubernetes: `Kind.group "name" is invalid: [field: text, ...]`. Returns -EINVAL, or 0 where there are none. */
int error_invalid(struct error *err, const char *group, const char *kind, const char *name);
/* Moves `from` into `to` (which is replaced); `from` is empty afterwards. Returns -errnum. */
int error_move(struct error *to, struct error *from);
static inline const char *error_message(const struct error *err) {
	return err && err->message ? err->message : "unknown error";
}
/* True where the error carries this Status reason. */
bool error_is(const struct error *err, const char *reason);

#endif
