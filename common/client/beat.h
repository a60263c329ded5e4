/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects that beat: they change all day long in one field, a time, as leases do. Told apart from other changes by the bytes of the event, without decoding it:
 * what else stands in the object must be what stood there the last time.
 */
#ifndef CORACLE_CLIENT_BEAT_H
#define CORACLE_CLIENT_BEAT_H

#include "common/client/informer.h"
#include "common/client/internal.h"

#include <pthread.h>

/* One state of an object. Slices of its JSON text, those of strings without their quotes. */
struct beat {
	struct json_slice ns, name, version;
	struct wall_time time; /* that of the field */
	uint64_t rest;         /* hash of all else, managedFields left out */
};

/*
 * Reads {"metadata":{...},<member>:{<field>:"..."}}. False where it is not of that form (escapes in what is cut out among them): then the object is to be
 * decoded, and whoever does that says what is wrong with it.
 */
bool beat_read(const char *json, size_t len, const char *member, const char *field, struct beat *ret);

/* By 64 bits of a seeded hash of the key, in one array: with a thousand of them, what is looked at seldom is slow to reach. */
struct beat_slot {
	uint64_t key; /* 0: free */
	uint64_t rest;
	struct informer_beat last; /* seen_ns 0: none since the rest was noted */
	struct wall_time noted;
};
struct beats {
	pthread_mutex_t lock;
	struct beat_slot *slots;
	size_t len, cap;
};
void beats_init(struct beats *beats);
void beats_done(struct beats *beats);
/* Whether the rest is as it was: then its time is taken as seen now, where it is another one. If not, the rest is noted. */
bool beats_take(struct beats *beats, const struct beat *beat, int64_t now_ns);
/* False: none since the object was last taken as a whole. */
bool beats_last(struct beats *beats, const char *ns, const char *name, struct informer_beat *ret);
/* Of an object that goes, and of all. */
void beats_forget(struct beats *beats, const char *ns, const char *name);
void beats_clear(struct beats *beats);

#endif
