/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/base.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* The one place where running out of memory is decided: nothing useful can be done, and half-done is worse. */
static noreturn void out_of_memory(void)
{
	static const char text[] = "fatal: out of memory\n";
	ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)ignored;
	abort();
}

void *xmalloc(size_t size)
{
	void *p = malloc(size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

/* glibc's calloc never takes from the thread's own cache of small pieces; malloc does. */
#define SMALL 1024

void *xcalloc(size_t count, size_t size)
{
	size_t total;
	if (!__builtin_mul_overflow(count, size, &total) && total <= SMALL)
		return memset(xmalloc(total), 0, total);
	void *p = calloc(count, size);
	if (!p)
		out_of_memory();
	return p;
}

void *xrealloc(void *ptr, size_t size)
{
	void *p = realloc(ptr, size ? size : 1);
	if (!p)
		out_of_memory();
	return p;
}

void *xreallocarray(void *ptr, size_t count, size_t size)
{
	size_t total;
	if (__builtin_mul_overflow(count, size, &total))
		out_of_memory();
	return xrealloc(ptr, total);
}

char *xstrdup(const char *s)
{
	return xmemdup(s, strlen(s) + 1);
}

char *xstrndup(const char *s, size_t len)
{
	len = strnlen(s, len);
	char *copy = xmalloc(len + 1);
	memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

void *xmemdup(const void *data, size_t len)
{
	void *copy = xmalloc(len);
	if (len)
		memcpy(copy, data, len);
	return copy;
}

char *xconcat(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	char *both = xmalloc(a_len + b_len + 1);
	memcpy(both, a, a_len);
	memcpy(both + a_len, b, b_len + 1);
	return both;
}

char *xprintf(const char *fmt, ...)
{
	va_list args;
	char *text = NULL;
	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		out_of_memory();
	return text;
}

void cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

bool str_starts_with(const char *s, const char *prefix)
{
	return s && strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_ends_with(const char *s, const char *suffix)
{
	if (!s)
		return false;
	size_t len = strlen(s), suffix_len = strlen(suffix);
	return len >= suffix_len && memcmp(s + len - suffix_len, suffix, suffix_len) == 0;
}

bool str_to_int64(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	if (!s)
		return false;
	const char *digits = s + (*s == '-' || *s == '+');
	if (!*digits || strspn(digits, "0123456789") != strlen(digits))
		return false;
	errno = 0;
	long long value = strtoll(s, NULL, 10);
	if (errno == ERANGE || value < min || value > max)
		return false;
	*ret = value;
	return true;
}
