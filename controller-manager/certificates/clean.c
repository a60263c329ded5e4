/* SPDX-License-Identifier: Apache-2.0 */
/* Removes certificate requests that are over: an hour after they were approved, denied or had failed, a day while nobody has decided. */
#include "controller-manager/controller.h"

#include "api/certificates_v1.h"

#define DECIDED_SECONDS 3600
#define PENDING_SECONDS 86400

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct certificates_v1_certificate_signing_request *csr = world_find(r->world, CACHED_CERTIFICATE_SIGNING_REQUESTS, NULL, name);
	if (!csr)
		return 0;
	struct wall_time due = time_after(csr->metadata.creation_timestamp.t, PENDING_SECONDS);
	for (uint32_t i = 0; i < csr->status.conditions.len; i++) {
		const struct certificates_v1_certificate_signing_request_condition *condition = &csr->status.conditions.items[i];
		/* An approved one is kept until it is issued, or its day is over; what others note decides nothing. */
		bool decided = str_equal(condition->type, "Approved") ? csr->status.certificate.len > 0 : str_equal(condition->type, "Denied") || str_equal(condition->type, "Failed");
		if (!decided)
			continue;
		struct wall_time then = time_after(condition->last_update_time.t, DECIDED_SECONDS);
		if (time_diff_ns(then, due) < 0)
			due = then;
	}
	if (time_diff_ns(due, clock_wall()) > 0)
		return milliseconds_until(due);
	return world_delete(r->world, CACHED_CERTIFICATE_SIGNING_REQUESTS, csr, NULL, err);
}

const struct controller csr_cleaner_controller = {
	.name = "certificatesigningrequest-cleaner-controller",
	.account = "certificate-controller",
	.alias = "csrcleaner",
	.workers = 1,
	.watches = (const struct controller_watch[]){{.what = CACHED_CERTIFICATE_SIGNING_REQUESTS}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
