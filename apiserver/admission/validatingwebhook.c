/* SPDX-License-Identifier: Apache-2.0 */
/* ValidatingAdmissionWebhook: all webhooks that an object meets are shown it at the same time, and any may refuse. */
#include "apiserver/admission/admission.h"
#include "apiserver/audit/audit.h"
#include "apiserver/webhook/webhook.h"

#include <errno.h>

struct poll {
	struct write *w;
	struct webhook_set *set;
	struct judged j;
	struct asked {
		struct poll *poll;
		struct webhook_call *call;
		const struct resource *matched;
		bool started;
		enum webhook_end end; /* where it was not */
		struct error why;
	} *items;
	size_t count;
	unsigned waiting; /* atomic */
};

static void over(struct poll *p) {
	for (size_t i = 0; i < p->count; i++) {
		webhook_call_done(p->items[i].call);
		error_done(&p->items[i].why);
	}
	judged_done(&p->j);
	webhook_set_unref(p->set);
}

/* All have answered: the first that refuses is told. */
static int conclude(struct poll *p, struct error *err) {
	int r = 0;
	for (size_t i = 0; i < p->count; i++) {
		struct asked *a = &p->items[i];
		enum webhook_end end = a->started ? webhook_call_end(a->call, &a->why) : a->end;
		webhook_observe(a->call, p->j.operation, end, &a->why);
		if (end == WEBHOOK_FAILED && a->call->hook->ignores_failure) {
			autofree char *key = xprintf("failed-open.validating.webhook.admission.k8s.io/round_0_index_%zu", i);
			audit_annotate(p->w->r, AUDIT_METADATA, key, a->call->hook->name);
		}
		if (r < 0 || end == WEBHOOK_ALLOWED || (end == WEBHOOK_FAILED && a->call->hook->ignores_failure))
			continue;
		r = end == WEBHOOK_FAILED ? webhook_call_error(a->call, end, &a->why, err) : error_move(err, &a->why);
	}
	over(p);
	return r;
}

static void resumed(void *arg) {
	struct poll *p = arg;
	struct write *w = p->w;
	autoerror struct error err = {0};
	int r = conclude(p, &err);
	write_resume(w, r < 0 ? &err : NULL);
}

static void answered(void *arg) {
	struct asked *a = arg;
	if (__atomic_sub_fetch(&a->poll->waiting, 1, __ATOMIC_ACQ_REL) == 0)
		webhook_hop(a->poll->w, resumed, a->poll);
}

static int find(struct poll *p, struct error *err) {
	p->items = arena_calloc(p->w->arena, p->set->count, sizeof(*p->items));
	for (size_t i = 0; i < p->set->count; i++) {
		const struct webhook *hook = &p->set->items[i];
		int r = webhook_matches(&p->j, hook, err);
		if (asks_lacking(&p->w->asks))
			return -EAGAIN; /* nobody was asked yet: all of it is run again */
		if (r < 0)
			return r;
		if (r == 0)
			continue;
		struct asked *a = &p->items[p->count++];
		*a = (struct asked){.poll = p, .call = webhook_call_new(&p->j, hook, false, answered, a), .matched = p->j.matched};
	}
	return 0;
}

static int ask(struct poll *p, struct error *err) {
	int r = find(p, err);
	if (r < 0 || !p->count) {
		over(p);
		return r;
	}
	/* One more than are asked: who is quick does not end it while others are yet to be asked. */
	__atomic_store_n(&p->waiting, (unsigned)p->count + 1, __ATOMIC_RELEASE);
	unsigned not_started = 1;
	for (size_t i = 0; i < p->count; i++) {
		struct asked *a = &p->items[i];
		p->j.matched = a->matched;
		a->started = true; /* before it may be answered */
		if (webhook_call_start(a->call, &p->j, &a->end, &a->why) < 0) {
			a->started = false;
			not_started++;
		}
	}
	if (__atomic_sub_fetch(&p->waiting, not_started, __ATOMIC_ACQ_REL))
		return REQUEST_TAKEN;
	return conclude(p, err);
}

static int validate(struct write *w, struct error *err) {
	struct webhook_set *set = webhook_set_get(w->r->server, false);
	if (!set)
		return 0;
	struct poll *p = arena_new_type(w->arena, struct poll);
	if (!judged_init(&p->j, w, false)) {
		webhook_set_unref(set);
		return 0;
	}
	p->w = w;
	p->set = set;
	w->asked = true;
	return ask(p, err);
}

const struct admission_plugin admission_validating_webhook = {
	.name = "ValidatingAdmissionWebhook",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE | WRITE_CONNECT,
	.bodies = true,
	.hook = true,
	.validate = validate,
};
