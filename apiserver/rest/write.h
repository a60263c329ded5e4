/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One write of one object on its way into the store:
 *
 *	make -> mutating admission -> prepare -> validate -> validating admission -> store -> done
 *
 * The object it starts from comes from the cache; where that makes it fail, or where the store says it changed meanwhile, the
 * write starts over from the fresh state. Nothing waits: an admission plugin may keep the write and go on with write_resume(),
 * and the store answers by callback. A write belongs to one thread at a time.
 */
#ifndef CORACLE_APISERVER_WRITE_H
#define CORACLE_APISERVER_WRITE_H

#include "apiserver/request/request.h"

enum write_operation { WRITE_CREATE = 1, WRITE_UPDATE = 2, WRITE_DELETE = 4, WRITE_CONNECT = 8 };
enum write_action {
	WRITE_PUT,    /* store w->object */
	WRITE_REMOVE, /* take the key away */
	WRITE_SAME,   /* nothing to do: answer with what is there */
};

/* How a write ended, as far as is known. */
enum write_outcome { WRITE_STORED, WRITE_NOT_STORED, WRITE_UNKNOWN };
/* What came of claiming: go on, start the write over, or fail with the error. */
enum claim_result { CLAIM_DONE, CLAIM_AGAIN, CLAIM_REFUSED };

struct allocation;
struct admission_state;
struct write;
/* A subresource whose body is of a kind of its own: what webhooks and policies see in the object's place. */
struct write_body {
	const struct api_type *type;
	/* The body as a new object, made of the object that is written; NULL: w->object is the body, and nothing is stored (write_admit). */
	void *(*show)(const void *object);
	/* Makes the write what a changed body says. NULL with show NULL. */
	int (*take)(struct write *w, const void *body, struct error *err);
};

struct write {
	struct request *r;
	const struct resource *resource;
	const struct strategy *strategy;
	struct arena *arena;
	enum write_operation operation;
	const char *subresource;      /* NULL: the object itself */
	const char *ns, *name;
	char *key;
	bool dry_run;
	/*
	 * Builds w->object (mutable, count 1) from w->old (NULL where there is nothing) and sets w->action; run again on each attempt.
	 * Returns 0 or an error for the client.
	 */
	int (*make)(struct write *w, struct error *err);
	/* The answer: the entry is what is stored now (the last state of one removed); borrowed. NULL on a dry run: then w->object. */
	void (*done)(struct write *w, struct entry *entry);
	/* NULL: the request is answered with the error. */
	void (*failed)(struct write *w, const struct error *err);
	void *input;                  /* the caller's; an api object here is unreffed with the write */
	void *arg;
	void *owner;                  /* of a batch of writes */
	const char *manager;          /* whose fields are what is written; NULL: the request's field manager */
	bool skip_admission;          /* the server's own writes */
	bool skip_hooks;              /* webhooks and policies have seen what led to it */
	const struct write_body *body; /* NULL: the object itself is written */
	void (*admitted)(struct write *w); /* write_admit's end */
	bool skip_validation;         /* a subresource whose own handler has prepared and checked the change */
	int64_t lease_seconds;

	/* below: of the running attempt */
	struct entry *current;        /* referenced */
	const void *old;              /* referenced */
	void *object;
	enum write_action action;
	bool created;
	bool quick; /* all of it runs on the store's thread */
	bool fresh;                   /* current is known to be no older than the request */
	bool track_fields;            /* managedFields are to be brought up to date with what make made */
	bool remove_after_update;     /* the last finalizer of a deleted object went */
	bool put_before_remove;       /* the last state of what is removed is stored first: to be done */
	struct entry *marked;         /* what was so stored, referenced; NULL: nothing was. It outlives the attempt */
	struct bytes *stored;         /* the object in the version that is stored, as a webhook made it; NULL: none did */
	bool asked;                   /* others were asked: not again about the same */
	unsigned attempts;
	size_t next_plugin;
	int64_t admission_ns; /* monotonic; when the plugins of the phase began */
	enum { WRITE_MUTATE, WRITE_CHECK, WRITE_VALIDATE, WRITE_STORE } phase;
	struct admission_state *admission; /* what admission plugins remember of the attempt; NULL: nothing yet */
	const void *options;          /* DeleteOptions of a delete, for webhooks; may be NULL */
	struct asks asks;             /* what others were asked by admission */

	/* of all attempts: what was claimed for the object (strategy hooks plan, claim, settle) */
	struct allocation *allocation;
	const struct store_guard *guards; /* claims that must still stand when the object is stored */
	size_t guard_count;
	bool guards_failed;           /* they did not: nothing claimed before may be relied on */
	struct entry *result;         /* referenced; while the write settles */
	struct error failure;
	uint64_t failed_revision;     /* of what failed and is told, unless it has changed since; 0: nothing did */
	void (*settled)(struct write *w);
};

/* In r's arena; fields from the request. */
struct write *write_new(struct request *r, enum write_operation operation);
/* Starts it; ends in done or failed, perhaps on another thread, and is then gone. */
void write_start(struct write *w);
/*
 * Admission alone, of what nobody stores: w->object, of w->body's type, is given by the caller. Ends in w->admitted, which answers and calls write_end,
 * or in failed; perhaps on another thread.
 */
void write_admit(struct write *w);
/* Goes on after an admission plugin kept the write: err NULL, or the reason to refuse. Any thread. */
void write_resume(struct write *w, struct error *err);
/* Asks others for what w->asks lacks, and resumes the write once they have answered. */
void write_ask(struct write *w);

/* What the hook `claim` ends in, at once or later; takes err. */
void write_claimed(struct write *w, enum claim_result result, struct error *err);
/* What the hook `settle` ends in. */
void write_settled(struct write *w);
/* The error for a client where the store refused with this errnum. */
int write_store_error(struct write *w, int errnum, struct error *err);

/* Frees what the write holds (its memory itself is the request's). Called by done and failed hooks before they answer. */
void write_end(struct write *w);
/* Answers with the entry (200, or 201 where created). */
void write_respond(struct write *w, struct entry *entry);

/* ---- general rules, shared by the verbs (rest/metadata.c) ---- */
int write_prepare_create(struct write *w, struct error *err);
int write_prepare_update(struct write *w, struct error *err);
int write_validate(struct write *w, struct error *err);
/* A new object of the server's own: what it says is the manager's (rest/apply.c). */
void write_own_fields(const struct resource *resource, void *object, const char *manager);
/* An object that is answered, not stored: what it says is the sender's. `subresource` "": none. */
void write_sent_fields(const struct request *r, const char *api_version, const char *subresource, void *object);
/* Brings metadata.managedFields of w->object up to date with what the request changed (rest/apply.c). */
int write_track_fields(struct write *w, struct error *err);

/* Namespaces (strategy/core.c): are gone once their spec has no finalizers; are marked when deletion begins. */
bool namespace_is_finalized(const void *object);
void namespace_mark_terminating(struct write *w);

/* Handlers of the verbs; each ends the request or keeps it. */
int rest_get(struct request *r, struct error *err);
int rest_list(struct request *r, struct error *err);
int rest_watch(struct request *r, struct error *err);
/* Watches that are open. */
size_t watches_open(void);
/* Ends them as their time-outs would, one after the other within `over_ns`. */
void watches_end(int64_t over_ns);
int rest_create(struct request *r, struct error *err);
int rest_update(struct request *r, struct error *err);
int rest_patch(struct request *r, struct error *err);
int rest_delete(struct request *r, struct error *err);
/* Whether the kind answers a deletion with the object where it is gone at once, and not with a Status. */
bool rest_delete_answers_object(const struct resource *resource);
int rest_delete_collection(struct request *r, struct error *err);

#endif
