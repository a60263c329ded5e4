/* SPDX-License-Identifier: Apache-2.0 */
/* What the answers of remote servers mean (told.c, swagger.c). They are foreign bytes: whatever does not fit is left out. */
#ifndef CORACLE_APISERVER_TOLD_H
#define CORACLE_APISERVER_TOLD_H

#include "common/base/map.h"

/* The resources of a group and version out of an APIGroupDiscoveryList or APIResourceList; NULL: not in it. The caller frees. */
char *told_resources_of_groups(const char *json, size_t len, const char *group, const char *version);
char *told_resources_of_version(const char *json, size_t len);
/* The parts of an OpenAPI v2 document that are about the group and version: "paths", and "definitions" that those lead to. The caller frees; NULL: none. */
char *told_swagger(const char *json, size_t len, const char *group, const char *version);
/* Adds the documents of the group and version that an index of OpenAPI v3 names: key -> where, malloced. */
void told_documents(const char *json, size_t len, const char *group, const char *version, struct map *ret);

#endif
