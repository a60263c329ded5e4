/* SPDX-License-Identifier: Apache-2.0 */
#include "controller-manager/tokens/secrets.h"

static const struct api_bytes *find_data(const struct core_v1_secret *secret, const char *key)
{
	for (uint32_t i = 0; i < secret->data.len; i++)
		if (str_equal(secret->data.items[i].key, key))
			return &secret->data.items[i].value;
	return NULL;
}

char *secret_text(struct arena *arena, const struct core_v1_secret *secret, const char *key)
{
	const struct api_bytes *data = find_data(secret, key);
	if (!data || !data->data)
		return NULL;
	return arena_strndup(arena, (const char *)data->data, strnlen((const char *)data->data, data->len));
}

bool secret_data_is(const struct core_v1_secret *secret, const char *key, const char *text)
{
	const struct api_bytes *data = find_data(secret, key);
	return data && data->data && data->len == strlen(text) && memcmp(data->data, text, data->len) == 0;
}

/* Maps are sorted by key. */
void secret_set_data(struct core_v1_secret *secret, const char *key, const char *text)
{
	struct arena *arena = api_arena(secret);
	struct api_bytes value = {.data = arena_memdup(arena, text, strlen(text)), .len = (uint32_t)strlen(text)};
	uint32_t at = 0;
	while (at < secret->data.len && strcmp(secret->data.items[at].key, key) < 0)
		at++;
	if (at < secret->data.len && str_equal(secret->data.items[at].key, key)) {
		secret->data.items[at].value = value;
		return;
	}
	(void)api_list_add(arena, &secret->data);
	memmove(&secret->data.items[at + 1], &secret->data.items[at], (secret->data.len - 1 - at) * sizeof(secret->data.items[0]));
	secret->data.items[at] = (struct api_bytes_map_entry){.key = arena_strdup(arena, key), .value = value};
}

bool bootstrap_token_is_expired(const struct core_v1_secret *secret, int *ret_wait_ms)
{
	autoarena struct arena *arena = arena_new();
	const char *text = secret_text(arena, secret, "expiration");
	struct wall_time expires;
	*ret_wait_ms = 0;
	if (str_empty(text))
		return false;
	if (time_parse_rfc3339(text, strlen(text), &expires) < 0 || time_diff_ns(expires, clock_wall()) <= 0)
		return true;
	*ret_wait_ms = milliseconds_until(expires);
	return false;
}
