/* SPDX-License-Identifier: Apache-2.0 */
/* MutatingAdmissionWebhook: each webhook that an object meets is shown it, one after the other, and may change it or refuse. */
#include "apiserver/admission/admission.h"
#include "apiserver/audit/audit.h"
#include "apiserver/webhook/webhook.h"
#include "common/api/patch/patch.h"

#include <errno.h>

struct passage {
	struct write *w;
	struct webhook_set *set;
	struct judged j;
	struct reinvocation *asked;
	size_t next;
	bool mutated;              /* by the one under way */
	struct webhook_call *call; /* under way */
};

static void over(struct passage *p) {
	reinvocation_end(p->w, p->asked);
	judged_done(&p->j);
	webhook_set_unref(p->set);
}

/* The patched object in the place of the one that was shown. */
static enum webhook_end apply(struct passage *p, json_t *patch, struct error *err) {
	if (json_is_null(p->j.object)) {
		error_internal(err, "admission webhook \"%s\" attempted to modify the object, which is not supported for this operation", p->call->hook->name);
		return WEBHOOK_INTERNAL;
	}
	json_t *patched = NULL, *before = json_incref(p->j.object);
	autoerror struct error why = {0};
	int r = patch_json(before, patch, &patched, &why);
	if (r == 0)
		r = judged_take(&p->j, patched, &why);
	json_decref(patched);
	if (r < 0)
		error_internal(err, "%s", error_message(&why));
	bool same = r < 0 || judged_trees(&p->j, NULL) < 0 || json_equal(before, p->j.object);
	json_decref(before);
	p->mutated = !same;
	if (!same)
		reinvocation_changed(p->w, p->asked);
	return r < 0 ? WEBHOOK_INTERNAL : WEBHOOK_ALLOWED;
}

/* What the audit log is told: of each that was asked, the patch of one that changed something, and who was let pass. */
static void annotate(struct passage *p, bool mutated, bool failed_open) {
	const struct webhook *hook = p->call->hook;
	struct request *r = p->w->r;
	if (!r->audit)
		return;
	autofree char *place = xprintf("round_%d_index_%zu", p->w->admission->again, p->next - 1);
	autofree char *mutation = xprintf("mutation.webhook.admission.k8s.io/%s", place), *patch = xprintf("patch.webhook.admission.k8s.io/%s", place), *open = xprintf("failed-open.%s", mutation);
	json_t *value = json_pack("{s:s, s:s, s:b}", "configuration", hook->config, "webhook", hook->name, "mutated", mutated);
	autofree char *text = json_dumps(value, JSON_COMPACT);
	audit_annotate(r, AUDIT_METADATA, mutation, text);
	json_object_del(value, "mutated");
	if (p->call->patch && !failed_open) {
		json_object_set(value, "patch", p->call->patch);
		json_object_set_new(value, "patchType", json_string("JSONPatch"));
		autofree char *patched = json_dumps(value, JSON_COMPACT);
		audit_annotate(r, AUDIT_REQUEST, patch, patched);
	}
	json_decref(value);
	if (failed_open)
		audit_annotate(r, AUDIT_METADATA, open, hook->name);
}

/* What came of one: negative where the write is refused for it. */
static int concluded(struct passage *p, enum webhook_end end, struct error *why, struct error *err) {
	struct webhook_call *call = p->call;
	const struct webhook *hook = call->hook;
	p->mutated = false;
	if (end == WEBHOOK_ALLOWED && call->patch)
		end = apply(p, call->patch, why);
	webhook_observe(call, p->j.operation, end, why);
	annotate(p, p->mutated, end == WEBHOOK_FAILED && hook->ignores_failure);
	int r = 0;
	if (end == WEBHOOK_FAILED && !hook->ignores_failure)
		r = webhook_call_error(call, end, why, err);
	else if (end != WEBHOOK_ALLOWED && end != WEBHOOK_FAILED)
		r = error_move(err, why);
	if (hook->reinvoke)
		reinvocation_add(p->w, p->asked, hook->key);
	webhook_call_done(call);
	p->call = NULL;
	return r;
}

static int go_on(struct passage *p, struct error *err);

static void resumed(void *arg) {
	struct passage *p = arg;
	autoerror struct error err = {0}, why = {0};
	enum webhook_end end = webhook_call_end(p->call, &why);
	int r = concluded(p, end, &why, &err);
	if (r == 0)
		r = go_on(p, &err);
	if (r == REQUEST_TAKEN)
		return;
	over(p);
	write_resume(p->w, r < 0 ? &err : NULL);
}

static void answered(void *arg) {
	struct passage *p = arg;
	webhook_hop(p->w, resumed, p);
}

/* What a match condition had to know of another is known. */
static void known(void *arg) {
	struct passage *p = arg;
	autoerror struct error err = {0};
	int r = go_on(p, &err);
	if (r == REQUEST_TAKEN)
		return;
	over(p);
	write_resume(p->w, r < 0 ? &err : NULL);
}

static void told(void *arg) {
	struct passage *p = arg;
	webhook_hop(p->w, known, p);
}

/* REQUEST_TAKEN: one is asked; 0: none is left. */
static int go_on(struct passage *p, struct error *err) {
	while (p->next < p->set->count) {
		const struct webhook *hook = &p->set->items[p->next++];
		int r = webhook_matches(&p->j, hook, err);
		if (asks_lacking(&p->w->asks)) {
			p->next--;
			asks_start(&p->w->asks, told, p);
			return REQUEST_TAKEN;
		}
		if (r < 0)
			return r;
		if (r == 0 || !reinvocation_asks(p->w, p->asked, hook->key))
			continue;
		autoerror struct error why = {0};
		enum webhook_end end;
		p->call = webhook_call_new(&p->j, hook, true, answered, p);
		if (webhook_call_start(p->call, &p->j, &end, &why) == 0)
			return REQUEST_TAKEN;
		r = concluded(p, end, &why, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int admit(struct write *w, struct error *err) {
	struct webhook_set *set = webhook_set_get(w->r->server, true);
	if (!set)
		return 0;
	struct passage *p = arena_new_type(w->arena, struct passage);
	if (!judged_init(&p->j, w, false)) {
		webhook_set_unref(set);
		return 0;
	}
	p->w = w;
	p->set = set;
	w->asked = true;
	p->asked = &admission_state(w)->webhooks;
	reinvocation_begin(w, p->asked);
	int r = go_on(p, err);
	if (r != REQUEST_TAKEN)
		over(p);
	return r;
}

const struct admission_plugin admission_mutating_webhook = {
	.name = "MutatingAdmissionWebhook",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE | WRITE_CONNECT,
	.bodies = true,
	.hook = true,
	.admit = admit,
};
