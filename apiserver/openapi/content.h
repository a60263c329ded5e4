/* SPDX-License-Identifier: Apache-2.0 */
/* Documents as files of the web: whole, in part, or only where they have changed, as RFC 9110 has it and Go's server does it. */
#ifndef CORACLE_APISERVER_OPENAPI_CONTENT_H
#define CORACLE_APISERVER_OPENAPI_CONTENT_H

#include "apiserver/request/request.h"

#include <time.h>

struct content {
	const char *type;
	const char *etag; /* with its quotes; NULL: none */
	time_t modified;
	bool packs;       /* gzip for who takes it, where the whole is asked for */
	bool undated;     /* an answer that nothing has changed does not say since when */
};

/* Ends the request. Takes the body. */
void content_respond(struct request *r, const struct content *content, struct bytes *take_body);
/* "Mon, 30 Nov 2026 08:02:22 GMT" or with another name of the same zone. */
void content_add_time(struct request *r, const char *header, time_t at, const char *zone);

/* What a Range asks of a body: 1 with *ret_start and *ret_len, 0 for the whole, -ERANGE for what is behind the end, -EINVAL for what is none. */
int content_range(const char *range, size_t size, size_t *ret_start, size_t *ret_len);
/* Whether a list of tags, or "*", names this one; weak tags count as well. */
bool content_tag_listed(const char *list, const char *etag);

#endif
