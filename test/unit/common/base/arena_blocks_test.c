/* SPDX-License-Identifier: Apache-2.0 */
/* The tests of arenas once more, over blocks: under a sanitizer an arena takes malloc's. */
#include "common/base/base.h"
#undef SANITIZED
#define SANITIZED 0
#include "common/base/arena.c"
#include "test/unit/common/base/arena_test.c"
