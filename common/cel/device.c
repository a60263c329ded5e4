/* SPDX-License-Identifier: Apache-2.0 */
#include "common/cel/device.h"
#include "common/cel/internal.h"

#include <errno.h>
#include <pthread.h>

/* How large the parts of a device may get, by the API's own bounds. */
#define MAX_DOMAIN 63
#define MAX_NAME 32
#define MAX_DRIVER 63
#define MAX_VALUE 64
#define MAX_PARTS 32

static struct cel_env *environment;
static struct cel_type attribute_type; /* a value of which nothing is known but how large it may be */

static struct cel_type *sized(struct arena *arena, const struct cel_type *type, uint64_t max) {
	struct cel_type *copy = arena_memdup(arena, type, sizeof(*type));
	copy->max_size = max;
	return copy;
}

/* By domain, then by name. */
static const struct cel_type *parts_of(struct arena *arena, const struct cel_type *value, bool any_field) {
	struct cel_type *names = cel_map_of(arena, sized(arena, &cel_string, MAX_NAME), value);
	names->any_field = any_field;
	names->max_size = MAX_PARTS;
	return sized(arena, cel_map_of(arena, sized(arena, &cel_string, MAX_DOMAIN), names), MAX_PARTS);
}

/* For good. */
static void make_environment(void) {
	environment = cel_env_new();
	struct arena *arena = cel_env_arena(environment);
	attribute_type = cel_dyn;
	attribute_type.name = "any";
	attribute_type.max_size = MAX_VALUE;
	const struct cel_field fields[] = {
		{"allowMultipleAllocations", "allowMultipleAllocations", sized(arena, &cel_bool, 1)},
		{"driver", "driver", sized(arena, &cel_string, MAX_DRIVER)},
		{"attributes", "attributes", parts_of(arena, &attribute_type, true)},
		{"capacity", "capacity", parts_of(arena, &type_quantity, false)},
	};
	const struct cel_type *device = cel_object_of(arena, "kubernetes.DRADevice", fields, array_len(fields));
	cel_env_add(environment, "device", device);
	cel_env_allow_bindings(environment);
	cel_env_estimate(environment, device);
}

int device_expression_compile(const char *expression, struct cel_program **ret, struct error *err) {
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	autocel struct cel_program *program = NULL;
	pthread_once(&once, make_environment);
	int r = cel_compile(environment, expression, &program, err);
	if (r < 0)
		return r;
	const struct cel_type *type = cel_program_type(program);
	if (type->kind != CEL_BOOL && !(type->kind == CEL_DYN && str_equal(type->name, "any"))) {
		autobuf struct buf name = BUF_INIT(BUF_MAX_DEFAULT);
		cel_type_append_full(type, &name);
		return error_set(err, EINVAL, "must evaluate to bool or the unknown type, not %s", name.data);
	}
	*ret = take_ptr(program);
	return 0;
}
