/* SPDX-License-Identifier: Apache-2.0 */
/* AlwaysAdmit and AlwaysDeny: all there was before other plugins; lists of plugins may still name them. */
#include "apiserver/admission/admission.h"

const struct admission_plugin admission_always_admit = {.name = "AlwaysAdmit", .off_by_default = true};

static int deny(struct write *w, struct error *err) {
	return error_forbidden(err, w->resource, admission_name(w), "admission control is denying all modifications");
}

const struct admission_plugin admission_always_deny = {
	.name = "AlwaysDeny",
	.operations = WRITE_CREATE | WRITE_UPDATE | WRITE_DELETE | WRITE_CONNECT,
	.off_by_default = true,
	.bodies = true,
	.admit = deny,
	.validate = deny,
};
