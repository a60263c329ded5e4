/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/resource/checkpoint.h"

#include "common/base/file.h"

#include <errno.h>
#include <fcntl.h>

int checkpoint_read(const char *path, const char *policy, json_t **ret, struct error *err) {
	autofree char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, CHECKPOINT_MAX, &text, &len, err);
	if (r < 0)
		return r;
	json_t *state = json_loadb(text, len, 0, NULL);
	const char *of = json_string_value(json_object_get(state, "policyName"));
	if (!json_is_object(state))
		r = error_set(err, EBADMSG, "it is no JSON");
	else if (!str_equal(of, policy))
		r = error_set(err, EBADMSG, "configured policy \"%s\" differs from state checkpoint policy \"%s\"", policy, str_or(of, ""));
	if (r < 0)
		json_decref(state);
	else
		*ret = state;
	return r;
}

bool checkpoint_check(const json_t *state, uint32_t sum) {
	const json_t *have = json_object_get(state, "checksum");
	return !have || (json_is_integer(have) && (json_integer_value(have) == 0 || json_integer_value(have) == sum));
}

static int by_text(const void *a, const void *b) {
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **checkpoint_names(const json_t *object) {
	const char **names = xcalloc(json_object_size(object) + 1, sizeof(*names)), *name;
	size_t count = 0;
	json_t *value;
	json_object_foreach((json_t *)object, name, value)
		names[count++] = name;
	if (count)
		qsort(names, count, sizeof(*names), by_text);
	return names;
}

int checkpoint_write(const char *path, const json_t *state, struct error *err) {
	autofree char *text = json_dumps(state, JSON_COMPACT);
	return file_write_durable(AT_FDCWD, path, text, strlen(text), 0600, err);
}

int checkpoint_refuse(const char *path, const char *what, struct error *err) {
	autofree char *why = xstrdup(error_message(err));
	return error_set(err, err && err->errnum ? err->errnum : EBADMSG, "could not restore state from checkpoint: %s, please drain this node and delete the %s manager checkpoint file \"%s\" before restarting Kubelet", why, what, path);
}
