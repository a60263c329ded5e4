/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is particular to a kind, as a row: how to prepare and check its objects on their way into the store. Every hook may be
 * NULL. Rows stand in table.c; kinds that need no more than the general rules have none and share strategy_default.
 */
#ifndef CORACLE_APISERVER_STRATEGY_H
#define CORACLE_APISERVER_STRATEGY_H

#include "apiserver/rest/write.h"
#include "common/api/api.h"
#include "common/base/error.h"

enum name_rule { NAME_DNS_SUBDOMAIN, NAME_DNS_LABEL, NAME_DNS_1035_LABEL, NAME_PATH_SEGMENT, NAME_IP_ADDRESS, NAME_ANY };

/* What a write through /status leaves as it was, besides the spec. */
enum status_keeps { STATUS_KEEPS_LABELS = 1, STATUS_KEEPS_OWNERS = 2, STATUS_KEEPS_METADATA = 4 };

/* Paths ("f:status/f:conditions") that a write of the object ("") or a subresource cannot change, and so nobody comes to own by it. */
struct reset_fields {
	const char *subresource; /* NULL: end of the list */
	const char *const *paths; /* NULL terminated */
};

struct path;
struct strategy {
	const char *group, *plural;
	enum name_rule name;
	bool any_finalizer;              /* also names that are neither Kubernetes' own nor qualified */
	bool free_prefix;                /* generateName is held to the rule of names when it is used, not by later updates */
	bool prefix_unchecked;           /* nor when it is used: the name that comes of it is */
	bool metadata_last;              /* of a new object it is looked at only where nothing else is wrong */
	bool names_itself;               /* a new object without name gets one */
	bool generation;                 /* metadata.generation counts changes of spec */
	bool generation_from_zero;       /* a new object has none */
	bool allow_create_on_update;     /* PUT of what is not there creates it */
	bool no_unconditional_update;    /* PUT must carry resourceVersion */
	bool keep_status_on_create;      /* .status is not a subresource's alone */
	unsigned status_keeps;           /* enum status_keeps, or'ed */
	const struct reset_fields *reset_fields; /* NULL: status by the object, the rest by status */
	const char *deprecated;          /* said in a Warning header to whoever asks; NULL: not */
	const char *delete_warning;      /* said to who deletes and leaves that to the default; NULL: nothing */
	const char *default_propagation; /* where a delete does not say: "Background" (NULL), "Orphan" */
	/* Adds causes where a new object's name (or generateName) is not what the rest of the object makes it. NULL: the rule of names is all. */
	void (*check_name)(const void *object, const char *name, const struct path *at, struct error *err);
	bool checks_name_again; /* on updates too */
	/* Sets what clients may not; runs after the general rules. */
	void (*normalize)(void *object); /* what was sent, before anybody sees it or is told to own it */
	void (*prepare_create)(struct request *r, void *object);
	void (*prepare_update)(struct request *r, void *object, const void *old);
	/* Through a subresource such as status; NULL: everything but status and metadata comes from old. */
	void (*prepare_status)(struct request *r, void *object, const void *old);
	/* What else a write of status does then; may be NULL. */
	void (*after_status)(struct request *r, void *object, const void *old);
	/*
	 * Adds causes where the user may not write what the object says. Told ahead of what is wrong with the object, on an update behind its metadata. Runs again where authorization lacks
	 * the answer of another (w->asks).
	 */
	void (*authorize)(struct write *w, struct error *causes);
	/* Add causes to err (error_cause). old is NULL on create. */
	void (*validate)(const void *object, const void *old, struct error *err);
	void (*validate_status)(const void *object, const void *old, struct error *err);
	/*
	 * Things taken for the object (addresses, ports). `plan` chooses them and fills them in, before the object is validated; nothing is written.
	 * `claim` makes them the object's, right before it is stored, and ends in write_claimed(); not on a dry run. `settle` gives back what the
	 * object does not hold after all, or no more, and ends in write_settled(). All three or none.
	 */
	int (*plan)(struct write *w, struct error *err);
	void (*claim)(struct write *w);
	void (*settle)(struct write *w, enum write_outcome outcome);
	/* Grace period in seconds that a delete gets; *grace comes in as asked for (-1: not). Returns false where it is to be deleted at once. */
	bool (*graceful_delete)(const void *object, int64_t *grace);
	/* What becomes of an object by its first delete, other than by the rules of all: it is stored as this leaves it, and stays. */
	void (*mark_deleted)(void *object);
	/* Warnings for the client. */
	void (*warn)(struct request *r, const void *object, const void *old);
	/* True where an update without a change of spec may happen still; e.g. to bump generation for another field. */
	bool (*generation_changed)(const void *object, const void *old);
};

const struct strategy *strategy_find(const char *group, const char *plural);

#endif
