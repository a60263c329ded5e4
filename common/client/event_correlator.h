/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of an event before it is sent, as client-go's correlator decides: alike events of one object are merged
 * past ten in ten minutes, one seen before only counts up, and an object that floods is cut off. Not thread safe.
 */
#ifndef CORACLE_CLIENT_EVENT_CORRELATOR_H
#define CORACLE_CLIENT_EVENT_CORRELATOR_H

#include "common/base/base.h"

#define EVENT_CACHE_SIZE 4096
#define EVENT_AGGREGATE_AFTER 10
#define EVENT_AGGREGATE_WITHIN_S 600
#define EVENT_SPAM_BURST 25
#define EVENT_SPAM_REFILL_S 300

struct event_correlator;
struct event_correlator *event_correlator_new(void);
void event_correlator_free(struct event_correlator *correlator);

/* What an event is about, as texts. */
struct event_facts {
	const char *source;     /* component and host */
	const char *object;     /* kind, namespace, name, uid, apiVersion */
	const char *field_path;
	const char *type, *reason, *message;
};
/* An event as it stands on the server, shared by those alike. */
struct event_seen {
	uint64_t made; /* what the name of the Event object ends in; 0 where none was made yet */
	int64_t count; /* occurrences, this one included */
	bool aggregated;
	int64_t first; /* seconds since 1970 */
};
/* Returns false where it is to be dropped. *ret is the correlator's, to be updated (made) once the event is written; valid until the next call. */
bool event_correlate(struct event_correlator *correlator, const struct event_facts *facts, int64_t now_s, struct event_seen **ret);

#endif
