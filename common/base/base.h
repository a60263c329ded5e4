/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ground everything stands on: attributes, small macros, and the one allocation point.
 *
 * Every allocation of a daemon goes through x*() below, which abort when memory is out. Whoever sizes an
 * allocation from bytes of a peer checks the size against a named maximum first.
 */
#ifndef CORACLE_BASE_BASE_H
#define CORACLE_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define array_len(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr) - offsetof(type, member)))
#define min_of(a, b) ({ __typeof__(a) a_ = (a); __typeof__(b) b_ = (b); a_ < b_ ? a_ : b_; })
#define max_of(a, b) ({ __typeof__(a) c_ = (a); __typeof__(b) d_ = (b); c_ > d_ ? c_ : d_; })

#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define must_check __attribute__((warn_unused_result))
#define unused __attribute__((unused))
#define noreturn __attribute__((noreturn))
#define cleanup(f) __attribute__((cleanup(f)))

/* Gives the value of `var` away and leaves NULL behind, for returning what a cleanup attribute would free. */
#define take_ptr(var) ({ __typeof__(var) taken_ = (var); (var) = NULL; taken_; })
/* The same for a file descriptor; leaves -1. */
#define take_fd(var) ({ int taken_ = (var); (var) = -1; taken_; })

/* Built with a sanitizer that watches the heap: memory is best left to malloc then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/* Allocate; never return NULL, abort the process instead. xcalloc zeroes; sizes that overflow abort. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *ptr, size_t size) __attribute__((returns_nonnull));
void *xreallocarray(void *ptr, size_t count, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *s) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));
void *xmemdup(const void *data, size_t len) __attribute__((malloc, returns_nonnull));
/* Both texts, one behind the other. */
char *xconcat(const char *a, const char *b) __attribute__((returns_nonnull));
char *xprintf(const char *fmt, ...) __attribute__((malloc, returns_nonnull)) printf_like(1, 2);
#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

static inline void cleanup_free(void *p) {
	free(*(void **)p);
}
/* `autofree char *s = ...;` frees s at the end of its scope. */
#define autofree cleanup(cleanup_free)

void cleanup_close(int *fd);
/* `autoclose int fd = ...;` closes fd, where it is not -1, at the end of its scope. */
#define autoclose cleanup(cleanup_close)

/* NULL counts as the empty string. */
static inline bool str_empty(const char *s) {
	return !s || !*s;
}
static inline bool str_equal(const char *a, const char *b) {
	return strcmp(a ? a : "", b ? b : "") == 0;
}
static inline const char *str_or(const char *s, const char *fallback) {
	return str_empty(s) ? fallback : s;
}
bool str_starts_with(const char *s, const char *prefix);
bool str_ends_with(const char *s, const char *suffix);
/* Parses all of `s` as a decimal integer within [min, max]. Returns false, *ret untouched, where it is not one. */
bool str_to_int64(const char *s, int64_t min, int64_t max, int64_t *ret);

#endif
