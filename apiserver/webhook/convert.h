/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Custom resources whose versions a webhook converts (spec.conversion of their definition). Nothing here waits: whoever is about to read entries in a
 * version, or to store an object in one, first asks for the conversions and goes on when they are there. resource_decode() finds them; they stay as long
 * as somebody holds the set.
 */
#ifndef CORACLE_APISERVER_CONVERT_H
#define CORACLE_APISERVER_CONVERT_H

#include "apiserver/custom/custom.h"

struct conversion;
/* Of a definition's spec.conversion; NULL: the versions differ in apiVersion alone. For good, as descriptors are. */
struct conversion *conversion_new(json_t *spec);

/* Whether the entry has to be converted to be seen in the resource's version. */
bool conversion_due(const struct resource *resource, const struct entry *entry);
/* A reference to the entry's JSON in the resource's version; NULL where it is due and nobody holds it. */
struct bytes *conversion_get(const struct resource *resource, const struct entry *entry);
/* Whether an object of the resource's version has to be converted to be stored. */
bool conversion_due_to_store(const struct resource *resource);

struct converted;
void converted_unref(struct converted *set);

/* What conversions end in: a reference to the set, or the error for the client. */
typedef void (*conversion_done)(struct converted *take_set, const struct error *err, void *arg);
/*
 * Converts what is due of the entries, in one call. done is called on a thread where requests go on (the store's where `quick`), never from within.
 * The entries are referenced.
 */
void conversion_start(struct apiserver *server, const struct resource *resource, struct entry *const *entries, size_t count, bool quick, conversion_done done, void *arg);
/* The same, held until the request ends; then go(r) goes on: answers, or returns the error. *ret_taken: it has begun; else nothing is due. */
void conversion_for_request(struct request *r, struct entry *const *entries, size_t count, int (*go)(struct request *r, void *arg, struct error *err), void *arg, bool *ret_taken);
/* One object's JSON in the version that is stored. */
void conversion_to_store(struct write *w, void (*done)(struct write *w, struct bytes *take_json, const struct error *err));

#endif
