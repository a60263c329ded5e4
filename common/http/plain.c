/* SPDX-License-Identifier: Apache-2.0 */
#include "common/http/plain.h"

#include <strings.h>

/* HEAD is not among them: its answers are shaped by rules of their own. */
static const char *const methods[] = {"GET", "PUT", "POST", "PATCH", "DELETE"};

bool plain_is_token(unsigned char c)
{
	static const bool token[256] = {
		['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true, ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true,
		['^'] = true, ['_'] = true, ['`'] = true, ['|'] = true, ['~'] = true, ['0' ... '9'] = true, ['A' ... 'Z'] = true, ['a' ... 'z'] = true,
	};
	return token[c];
}

bool plain_is_host(const char *host)
{
	return host[strspn(host, "!$%&'()*+,-.0123456789:;=ABCDEFGHIJKLMNOPQRSTUVWXYZ[]_abcdefghijklmnopqrstuvwxyz~")] == '\0';
}

static bool is_visible(unsigned char c)
{
	return c > 0x20 && c < 0x7f;
}

static bool is_text(unsigned char c)
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

size_t plain_head_len(const char *data, size_t len, size_t seen)
{
	size_t from = seen > 3 ? seen - 3 : 0;
	const char *end = len > from ? memmem(data + from, len - from, "\r\n\r\n", 4) : NULL;
	return end ? (size_t)(end - data) + 4 : 0;
}

/* The method at the start, with its blank; 0 where there is none of ours. A shorter text is measured as far as it goes. */
static size_t method_len(const char *data, size_t len)
{
	for (size_t i = 0; i < array_len(methods); i++) {
		size_t n = strlen(methods[i]), has = min_of(len, n);
		if (memcmp(data, methods[i], has) == 0 && (len <= n || data[n] == ' '))
			return n + 1;
	}
	return 0;
}

bool plain_may_begin(const char *data, size_t len)
{
	size_t n = method_len(data, len);
	if (!n || (len > n && data[n] != '/'))
		return false;
	for (size_t i = n; i < len; i++) {
		if (is_visible((unsigned char)data[i]))
			continue;
		static const char version[] = " HTTP/1.1\r\n";
		return memcmp(data + i, version, min_of(len - i, sizeof(version) - 1)) == 0;
	}
	return true;
}

/* Splits the first line. Returns what follows it, or NULL. */
static char *first_line(char *text, size_t len, struct plain_head *head)
{
	static const char version[] = "HTTP/1.1\r\n";
	if (!plain_may_begin(text, len))
		return NULL;
	size_t n = method_len(text, len);
	char *path = text + n, *end = memchr(path, ' ', len - n);
	if (!end || (size_t)(text + len - end) < sizeof(version) || memcmp(end + 1, version, sizeof(version) - 1) != 0)
		return NULL;
	path[-1] = *end = '\0';
	head->method = text;
	head->path = path;
	char *query = memchr(path, '?', (size_t)(end - path));
	head->query = query ? query + 1 : end;
	if (query)
		*query = '\0';
	return end + sizeof(version);
}

/* Cuts the next line off. Returns what follows it, or NULL. */
static char *header_line(char *at, struct header *ret)
{
	char *name = at;
	while (plain_is_token((unsigned char)*at))
		at++;
	if (at == name || *at != ':')
		return NULL;
	*at++ = '\0';
	while (*at == ' ' || *at == '\t')
		at++;
	char *value = at;
	while (is_text((unsigned char)*at))
		at++;
	if (at[0] != '\r' || at[1] != '\n')
		return NULL;
	char *end = at;
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	*ret = (struct header){name, value};
	return at + 2;
}

/* Headers that change how a message is framed or a connection used. */
static bool judge(const struct header *header, struct plain_head *head, bool *host, bool *length)
{
	static const char *const others[] = {"Transfer-Encoding", "Expect", "Upgrade", "Trailer", "Proxy-Connection", "HTTP2-Settings"};
	if (!strchr("CcEeHhPpTtUu", header->name[0]))
		return true;
	for (size_t i = 0; i < array_len(others); i++) {
		if (strcasecmp(header->name, others[i]) == 0)
			return false;
	}
	if (strcasecmp(header->name, "Connection") == 0)
		return strcasecmp(header->value, "keep-alive") == 0;
	if (strcasecmp(header->name, "Host") == 0) {
		bool first = !*host;
		*host = true;
		return first && plain_is_host(header->value);
	}
	if (strcasecmp(header->name, "Content-Length") != 0)
		return true;
	int64_t n;
	for (const char *p = header->value; *p; p++) {
		if (*p < '0' || *p > '9')
			return false;
	}
	if (*length || !str_to_int64(header->value, 0, INT64_MAX, &n))
		return false;
	*length = true;
	head->body_len = (size_t)n;
	return true;
}

bool plain_parse(char *text, size_t len, struct plain_head *ret)
{
	bool host = false, length = false;
	ret->header_count = 0;
	ret->body_len = 0;
	char *at = first_line(text, len, ret), *end = text + len - 2; /* of the empty line */
	while (at && at < end) {
		if (ret->header_count == PLAIN_HEADERS_MAX)
			return false;
		struct header *header = &ret->headers[ret->header_count];
		at = header_line(at, header);
		if (!at || !judge(header, ret, &host, &length))
			return false;
		ret->header_count++;
	}
	return at == end && host;
}
