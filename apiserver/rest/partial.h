/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORACLE_APISERVER_PARTIAL_H
#define CORACLE_APISERVER_PARTIAL_H

#include "apiserver/rest/write.h"

/* Rebuilds w->object from what is stored and the part that w->subresource may change; adds causes. False where it is no such subresource. */
bool write_prepare_partial(struct write *w, struct error *causes);

struct certificates_v1_certificate_signing_request;
/* Gives the conditions without times theirs, by those that were before. */
void csr_stamp_conditions(struct certificates_v1_certificate_signing_request *csr, const struct certificates_v1_certificate_signing_request *was);

#endif
