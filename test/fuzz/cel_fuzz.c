/* SPDX-License-Identifier: Apache-2.0 */
/* An expression: parsed, checked and, where it is one, evaluated over some objects. */
#include "common/cel/cel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct cel_env *environment(void) {
	struct cel_env *env = cel_env_new();
	struct arena *arena = cel_env_arena(env);
	struct cel_type *list = cel_list_of(arena, &cel_int);
	list->max_size = 1000;
	cel_env_add(env, "object", &cel_dyn);
	cel_env_add(env, "s", &cel_string);
	cel_env_add(env, "i", &cel_int);
	cel_env_add(env, "l", list);
	cel_env_estimate(env, list);
	cel_env_add(env, "m", cel_map_of(arena, &cel_string, &cel_string));
	cel_env_allow_patches(env);
	return env;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static struct cel_env *env;
	static json_t *object;
	if (size > 4000)
		return 0;
	if (!env) {
		env = environment();
		object = json_loads("{\"metadata\":{\"name\":\"web\",\"labels\":{\"app\":\"x\"}},\"n\":null,\"list\":[\"a\",\"b\"],\"spec\":{\"replicas\":3,\"ratio\":1.5,\"l\":[3,1,2]}}", 0, NULL);
	}
	autofree char *text = xstrndup((const char *)data, size);
	autocel struct cel_program *program = NULL;
	if (cel_compile(env, text, &program, NULL) < 0)
		return 0;
	autorun struct cel_run *run = cel_run_new(20000);
	const struct cel_binding bindings[] = {
		{"object", cel_from_json(run, object, NULL)},
		{"s", cel_from_string(run, "h\303\251llo", 6)},
		{"i", {.kind = CEL_INT, .i = 42}},
		{"l", cel_from_json(run, json_object_get(json_object_get(object, "spec"), "l"), NULL)},
		{"m", cel_from_json(run, json_object_get(json_object_get(object, "metadata"), "labels"), NULL)},
	};
	struct cel_value value;
	autoerror struct error err = {0};
	if (cel_evaluate(program, run, bindings, array_len(bindings), &value, &err) == 0)
		json_decref(cel_to_json(&value));
	return 0;
}
