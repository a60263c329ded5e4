/* SPDX-License-Identifier: Apache-2.0 */
/* Whom requests speak for, kept as the header lines that say so: both transports send them as they are. */
#include "common/client/internal.h"

#include <errno.h>
#include <stdio.h>

#define PREFIX "Impersonate-"
#define MAX_LINES 256
#define MAX_LINE 8192

/* Keys of extras may hold any bytes, names of headers may not: the rest is percent-encoded (Kubernetes' user impersonation). */
static void append_part(struct buf *out, const char *part)
{
	static const char plain[] = "!#$&'*+-.^_`|~";
	for (; *part; part++) {
		unsigned char c = (unsigned char)*part;
		bool letter = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
		buf_printf(out, letter || strchr(plain, c) ? "%c" : "%%%02X", c);
	}
}

static bool fits_a_header(const char *value)
{
	for (; *value; value++)
		if ((unsigned char)*value < ' ' || *value == 0x7f)
			return false;
	return true;
}

/* Of whole names, but "Extra-" stands for all that begin so. */
static bool is_part(const char *line, const char *part)
{
	size_t len = strlen(part);
	line += strlen(PREFIX);
	return strncasecmp(line, part, len) == 0 && (line[len] == ':' || (len && part[len - 1] == '-'));
}

void client_config_impersonate_no(struct client_config *config, const char *part)
{
	size_t kept = 0;
	for (size_t i = 0; i < config->impersonate.len; i++) {
		if (is_part(config->impersonate.items[i], part))
			free(config->impersonate.items[i]);
		else
			config->impersonate.items[kept++] = config->impersonate.items[i];
	}
	config->impersonate.len = kept;
}

int client_config_impersonate(struct client_config *config, const char *part, const char *value, struct error *err)
{
	if (str_empty(value) || !fits_a_header(value))
		return error_set(err, EINVAL, "nobody can be impersonated whose %s is empty or holds control characters", part);
	autobuf struct buf line = BUF_INIT(MAX_LINE);
	buf_append_str(&line, PREFIX);
	append_part(&line, part);
	buf_printf(&line, ": %s", value);
	if (buf_failed(&line) || config->impersonate.len >= MAX_LINES)
		return error_set(err, E2BIG, "too much is impersonated");
	if (str_equal(part, "User") || str_equal(part, "Uid"))
		client_config_impersonate_no(config, part);
	config->impersonate.items = xreallocarray(config->impersonate.items, config->impersonate.len + 1, sizeof(char *));
	config->impersonate.items[config->impersonate.len++] = xstrdup(line.data);
	return 0;
}

int client_check_impersonation(const struct client_config *config, struct error *err)
{
	for (size_t i = 0; i < config->impersonate.len; i++)
		if (is_part(config->impersonate.items[i], "User"))
			return 0;
	if (!config->impersonate.len)
		return 0;
	return error_set(err, EINVAL, "a uid, groups or extra of a user are impersonated, but no user");
}
