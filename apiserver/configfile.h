/* SPDX-License-Identifier: Apache-2.0 */
/* Files of apiserver.config.k8s.io that configure the server: read strictly, their mistakes told with the paths of fields. */
#ifndef CORACLE_APISERVER_CONFIGFILE_H
#define CORACLE_APISERVER_CONFIGFILE_H

#include "common/api/api.h"
#include "common/base/error.h"

#define CONFIGFILE_MAX ((size_t)1 << 20)

/*
 * The one document of a text, YAML or JSON, as an object of `type`: of its kind, and of one of the versions ("apiserver.config.k8s.io/v1"; NULL terminated), all of which are
 * read as `type`. Unknown and doubled fields are errors. Defaults are not set. The caller unrefs.
 */
int configfile_parse(const char *text, size_t len, const struct api_type *type, const char *const *versions, void **ret, struct error *err);
/* The same of a file. */
int configfile_read(const char *path, const struct api_type *type, const char *const *versions, void **ret, struct error *err);
/* What validation found, if anything, as one local error: "invalid <what>: [path: message, ...]". */
int configfile_verdict(struct error *found, const char *what, struct error *err);

#endif
