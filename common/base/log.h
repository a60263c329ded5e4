/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structured logs: one line an event, a message and key/value pairs, as text (klog's form) or JSON.
 * Only daemons log; libraries return errors. Thread safe; a line is written with one write(2). Never pass a secret.
 *
 *	log_info("pod started", LOG_STR("pod", key), LOG_INT("restarts", n));
 */
#ifndef CORACLE_BASE_LOG_H
#define CORACLE_BASE_LOG_H

#include "common/base/base.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

struct log_field {
	const char *key;
	const char *str; /* used where is_int is false; NULL prints as "" */
	int64_t num;
	bool is_int;
};
#define LOG_STR(k, v) ((struct log_field){.key = (k), .str = (v)})
#define LOG_INT(k, v) ((struct log_field){.key = (k), .num = (int64_t)(v), .is_int = true})
#define LOG_ERR(err) LOG_STR("err", error_message(err))

/* Call once before threads start. fd stays the caller's. verbosity is --v. */
void log_init(int fd, enum log_format format, int verbosity);
/* Another --v, at any time. */
void log_set_verbosity(int verbosity);
/* True where --v is at least `verbosity`. Cheap. */
bool log_v(int verbosity);
void log_write(enum log_level level, const char *file, int line, const char *message, const struct log_field *fields, size_t count);

#define log_at(level, message, ...)                                                                                    \
	log_write((level), __FILE__, __LINE__, (message), (const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}}, \
		  sizeof((const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){0}}) / sizeof(struct log_field) - 1)
#define log_error(message, ...) log_at(LOG_LEVEL_ERROR, message __VA_OPT__(, ) __VA_ARGS__)
#define log_warning(message, ...) log_at(LOG_LEVEL_WARNING, message __VA_OPT__(, ) __VA_ARGS__)
#define log_info(message, ...) log_at(LOG_LEVEL_INFO, message __VA_OPT__(, ) __VA_ARGS__)
/* Only where --v is at least `verbosity`. */
#define log_debug(verbosity, message, ...)                                            \
	do {                                                                          \
		if (log_v(verbosity))                                                 \
			log_at(LOG_LEVEL_INFO, message __VA_OPT__(, ) __VA_ARGS__);   \
	} while (0)

#endif
