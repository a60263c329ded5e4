/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/server/rates.h"

#include "common/base/clock.h"
#include "common/base/map.h"

#include <pthread.h>

struct rate {
	uint64_t total, per_second;
	int64_t at, seen;
};

struct rates {
	pthread_mutex_t lock;
	struct map rates; /* key -> struct rate */
};

struct rates *rates_new(void) {
	struct rates *rates = xnew(struct rates);
	pthread_mutex_init(&rates->lock, NULL);
	rates->rates = MAP_INIT(free);
	return rates;
}

void rates_free(struct rates *rates) {
	if (!rates)
		return;
	map_done(&rates->rates);
	pthread_mutex_destroy(&rates->lock);
	free(rates);
}

/* Nothing counts for longer than it takes to overflow: a second of a million cores is 10^15. */
static uint64_t per_second(uint64_t amount, int64_t ns) {
	return ns > 0 ? (uint64_t)((double)amount * (double)NSEC_PER_SEC / (double)ns) : 0;
}

uint64_t rates_look(struct rates *rates, const char *key, uint64_t total, int64_t age_ns, int64_t now_ns) {
	pthread_mutex_lock(&rates->lock);
	struct rate *rate = map_get(&rates->rates, key);
	if (!rate || total < rate->total) {
		if (!rate)
			map_set(&rates->rates, key, rate = xnew(struct rate));
		*rate = (struct rate){.total = total, .per_second = per_second(total, age_ns), .at = now_ns};
	} else if (now_ns - rate->at >= RATES_WINDOW_NS) {
		rate->per_second = per_second(total - rate->total, now_ns - rate->at);
		rate->total = total;
		rate->at = now_ns;
	}
	rate->seen = now_ns;
	uint64_t found = rate->per_second;
	pthread_mutex_unlock(&rates->lock);
	return found;
}

void rates_sweep(struct rates *rates, int64_t now_ns) {
	struct map_entry *e;
	pthread_mutex_lock(&rates->lock);
	for (size_t i = 0; (e = map_next(&rates->rates, &i));)
		if (now_ns - ((struct rate *)e->value)->seen >= RATES_FORGET_NS)
			map_remove(&rates->rates, e->key);
	pthread_mutex_unlock(&rates->lock);
}
