/* SPDX-License-Identifier: Apache-2.0 */
/* Names of images, normalised as docker's: registry and path always whole, "latest" where neither tag nor digest is given. */
#include "common/image/internal.h"

#include <ctype.h>
#include <errno.h>

#define MAX_REPOSITORY 255
#define MAX_TAG 128

bool digest_valid(const char *digest)
{
	if (!digest || strncmp(digest, "sha256:", 7) != 0 || strlen(digest) != 7 + HEX_LEN)
		return false;
	for (const char *c = digest + 7; *c; c++)
		if (!isdigit((unsigned char)*c) && (*c < 'a' || *c > 'f'))
			return false;
	return true;
}

static bool valid_tag(const char *tag)
{
	size_t len = strlen(tag);
	if (len == 0 || len > MAX_TAG || tag[0] == '.' || tag[0] == '-')
		return false;
	for (; *tag; tag++)
		if (!isalnum((unsigned char)*tag) && !strchr("_.-", *tag))
			return false;
	return true;
}

/* "name.of.host", "10.0.0.1", "[fd00::1]", each with ":port" or without. */
static bool valid_host(const char *host, size_t len)
{
	const char *end = host + len, *port = NULL;
	bool bracket = len && host[0] == '[';
	const char *name_end = bracket ? memchr(host, ']', len) : memchr(host, ':', len);
	if (bracket && !name_end)
		return false;
	if (bracket)
		name_end++;
	if (name_end && name_end < end) {
		if (*name_end != ':')
			return false;
		port = name_end + 1;
	}
	name_end = name_end ? name_end : end;
	for (const char *c = port; c && c < end; c++)
		if (!isdigit((unsigned char)*c))
			return false;
	if (name_end == host || (bracket && name_end == host + 2) || (port && (port == end || end - port > 5)))
		return false;
	for (const char *c = host + bracket; c < name_end - bracket; c++) {
		bool separator = *c == '.' || *c == '-';
		if (bracket ? !isxdigit((unsigned char)*c) && *c != ':' : !isalnum((unsigned char)*c) && !separator)
			return false;
		if (!bracket && separator && (c == host || c == name_end - 1 || c[1] == '.'))
			return false;
	}
	return true;
}

/* Lower-case letters and digits, with separators ".", "_", "__" or dashes between, never at an end. */
static bool valid_component(const char *s, size_t len)
{
	if (len == 0)
		return false;
	for (size_t i = 0; i < len; i++) {
		bool alnum = islower((unsigned char)s[i]) || isdigit((unsigned char)s[i]);
		if (!alnum && (!strchr("._-", s[i]) || i == 0 || i == len - 1))
			return false;
		if (s[i] == '.' && s[i + 1] == '.' && i + 1 < len)
			return false;
	}
	return true;
}

static bool valid_path(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");
		if (!valid_component(path, len))
			return false;
		path += len;
		if (*path == '/' && !*++path)
			return false;
	}
	return true;
}

/* The first part of a name is a registry where it could not be a path: it has a dot or a port, or is localhost. */
static bool is_registry(const char *first, size_t len)
{
	return memchr(first, '.', len) || memchr(first, ':', len) || (len == 9 && memcmp(first, "localhost", 9) == 0);
}

/* Gives "registry/path", or NULL where it is malformed. */
static char *normalise_repository(const char *name)
{
	const char *slash = strchr(name, '/');
	size_t first = slash ? (size_t)(slash - name) : 0;
	autofree char *whole = NULL;
	if (!slash)
		whole = xprintf("docker.io/library/%s", name);
	else if (!is_registry(name, first))
		whole = xprintf("docker.io/%s", name);
	else if (first == 15 && memcmp(name, "index.docker.io", 15) == 0)
		whole = xprintf("docker.io%s%s", strchr(slash + 1, '/') ? "" : "/library", slash);
	else if (first == 9 && memcmp(name, "docker.io", 9) == 0 && !strchr(slash + 1, '/'))
		whole = xprintf("docker.io/library%s", slash);
	else
		whole = xstrdup(name);
	slash = strchr(whole, '/');
	if (strlen(whole) > MAX_REPOSITORY || !slash[1] || !valid_host(whole, (size_t)(slash - whole)) || !valid_path(slash + 1))
		return NULL;
	return take_ptr(whole);
}

int image_reference_parse(const char *text, struct image_reference *ret, struct error *err)
{
	const char *at = strchr(text, '@');
	autofree char *name = at ? xstrndup(text, (size_t)(at - text)) : xstrdup(text);
	autofree char *digest = at ? xstrdup(at + 1) : NULL;
	autofree char *tag = NULL;
	const char *slash = strrchr(name, '/');
	char *colon = strrchr(name, ':');
	if (colon && (!slash || colon > slash)) {
		tag = xstrdup(colon + 1);
		*colon = 0;
	}
	autofree char *repository = *name ? normalise_repository(name) : NULL;
	if (!repository || (tag && !valid_tag(tag)) || (digest && !digest_valid(digest)))
		return error_set(err, EINVAL, "couldn't parse image reference \"%s\": invalid reference format", text);
	if (!tag && !digest)
		tag = xstrdup("latest");
	*ret = (struct image_reference){.repository = take_ptr(repository), .tag = take_ptr(tag), .digest = take_ptr(digest)};
	return 0;
}

void image_reference_done(struct image_reference *reference)
{
	free(reference->repository);
	free(reference->tag);
	free(reference->digest);
	*reference = (struct image_reference){0};
}

char *image_reference_format(const struct image_reference *reference)
{
	return xprintf("%s%s%s%s%s", reference->repository, reference->tag ? ":" : "", str_or(reference->tag, ""), reference->digest ? "@" : "",
		str_or(reference->digest, ""));
}
