/* SPDX-License-Identifier: Apache-2.0 */
/* jansson with our cleanup attribute: its own json_auto_t does not go with base.h's cleanup(). */
#ifndef CORACLE_IMAGE_JSON_H
#define CORACLE_IMAGE_JSON_H

#include "common/base/base.h"

#include <jansson.h>

/* `autojson json_t *x = ...;` drops the reference at the end of its scope. */
#define autojson cleanup(json_decrefp)

#endif
