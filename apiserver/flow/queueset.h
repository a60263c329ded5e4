/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fair queueing of requests over the seats of one priority level: each flow is dealt a hand of queues by its hash and waits in the least loaded of
 * them; seats go to the queue that would be served first if all queues with work were given time in turn ("Analysis and Simulation of a Fair
 * Queueing Algorithm", with seats for bandwidth and guesses of the service time that are put right at its end). As KEP-1040 has it.
 *
 * Knows no clock, no thread and no HTTP: the caller holds a lock over each call and says what time it is.
 */
#ifndef CORACLE_APISERVER_FLOW_QUEUESET_H
#define CORACLE_APISERVER_FLOW_QUEUESET_H

#include "common/base/base.h"
#include "common/base/list.h"

#define QUEUESET_MAX_HAND 15
/* What a request is taken to last until it is known: nothing but the order of the first moments depends on it. */
#define QUEUESET_GUESSED_SECONDS 0.003

/* One request: embedded in what the caller keeps of it. */
struct queued {
	struct list link;    /* in its queue, while it waits; or in the list that dispatch gives */
	struct queue *queue; /* NULL: it never waited in one */
	unsigned seats;
	int64_t arrived, started; /* nanoseconds */
	double arrived_at;        /* progress of the set then */
	enum { QUEUED_NEW, QUEUED_WAITING, QUEUED_EXECUTING, QUEUED_OVER } state;
};

struct queue {
	struct list waiting; /* oldest first */
	unsigned length, executing;
	unsigned seats_in_use, seats_waiting;
	double next_dispatch; /* progress at which its next request would begin, were all served in turn */
};

enum queueset_mode { QUEUESET_REJECT, QUEUESET_QUEUE, QUEUESET_EXEMPT };
struct queueset_config {
	enum queueset_mode mode;
	unsigned queues, hand_size, queue_length; /* of QUEUESET_QUEUE */
};
struct queueset {
	struct queueset_config config;
	unsigned limit; /* seats */
	struct queue **queues;
	size_t queue_count; /* may be more than the configuration says: those with work go once they are empty */
	size_t robin;
	unsigned waiting, executing, seats_in_use, seats_waiting;
	unsigned active; /* queues with work */
	uint64_t enqueued;
	double progress;    /* seat-seconds that each queue with work would have got */
	int64_t updated;
};

void queueset_init(struct queueset *set, int64_t now);
void queueset_done(struct queueset *set);
/* Queues and hand size change for those to come; what waits stays where it is. */
void queueset_configure(struct queueset *set, const struct queueset_config *config);

enum queueset_verdict { QUEUESET_RUN, QUEUESET_WAIT, QUEUESET_FULL, QUEUESET_BUSY };
/*
 * A request arrives. RUN: it holds its seats now. WAIT: it is queued; queueset_dispatch() gives it later. FULL: its queue is full. BUSY: no seats, and
 * the level does not queue. ret_length gets the length of its queue.
 */
enum queueset_verdict queueset_arrive(struct queueset *set, struct queued *request, uint64_t hash, unsigned seats, int64_t now, unsigned *ret_length);
/* Takes out of the queues what may run now, and appends it to `ready`. To be called after each arrival that waits, each end, each change of limit. */
void queueset_dispatch(struct queueset *set, int64_t now, struct list *ready);
/* One that ran has ended. */
void queueset_finish(struct queueset *set, struct queued *request, int64_t now);
/* One that waits does so no more. */
void queueset_withdraw(struct queueset *set, struct queued *request, int64_t now);

/* `hand` different numbers below `deck`, evenly chosen by the hash; the same for the same. hand <= QUEUESET_MAX_HAND and <= deck. */
void shuffle_deal(uint64_t hash, unsigned deck, unsigned hand, unsigned *ret);

/*
 * Divides `total` among classes in proportion to their targets, as far as each one's bounds allow: ret[i] = bounded(ret_fair * target[i]). Where the
 * bounds themselves do not allow it, everyone gets the nearer bound.
 */
struct seat_class {
	double target, lower, upper;
};
void seats_divide(double total, const struct seat_class *classes, size_t count, double *ret, double *ret_fair);

#endif
