/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scalar types of the schema that C has not: quantities, int-or-string, times, raw JSON, string maps.
 * They stand inside the generated structs; what they point at belongs to the object's arena.
 */
#ifndef CORACLE_API_SCALAR_H
#define CORACLE_API_SCALAR_H

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/error.h"

/*
 * resource.Quantity: an exact decimal with the family of suffixes it is written with. The value is
 * unscaled * 10^scale, held in 128 bits, which covers what Kubernetes can store (2^63-1 with nano precision; larger is
 * capped, finer is rounded up). `text` keeps the canonical spelling once it is known (may be NULL after arithmetic).
 */
enum quantity_format { QUANTITY_DECIMAL_SI, QUANTITY_BINARY_SI, QUANTITY_DECIMAL_EXPONENT };
struct quantity {
	__int128 nano;       /* value * 10^9 */
	uint8_t format;      /* enum quantity_format */
	bool set;            /* false: the zero Quantity{}; encodes as "0" */
};
/* Follows resource.ParseQuantity. Returns 0 or -EINVAL. */
int quantity_parse(const char *s, size_t len, struct quantity *ret);
/* Canonical form, as Kubernetes prints it; out >= 64 bytes. Returns the length. */
size_t quantity_format(const struct quantity *q, char *out);
int quantity_compare(const struct quantity *a, const struct quantity *b);
/* a += b and a -= b; the format of a zero `a` becomes b's. */
void quantity_add(struct quantity *a, const struct quantity *b);
void quantity_sub(struct quantity *a, const struct quantity *b);
static inline bool quantity_is_zero(const struct quantity *q) {
	return q->nano == 0;
}
/* Rounded up, saturating to int64, as Value() and MilliValue() do. */
int64_t quantity_value(const struct quantity *q);
int64_t quantity_milli_value(const struct quantity *q);
struct quantity quantity_of(int64_t value, enum quantity_format format);
struct quantity quantity_of_milli(int64_t milli, enum quantity_format format);

struct int_or_string {
	const char *str; /* not NULL: it is the string */
	int32_t num;
};
/* A number or "25%" of total; rounds up or down. Returns 0 or -EINVAL. */
int int_or_string_scaled(const struct int_or_string *v, int total, bool round_up, int *ret);

/* metav1.Time and MicroTime; unset encodes as null (or is left out). */
struct api_time {
	struct wall_time t;
	bool set;
};
struct api_time api_time_now(void);       /* whole seconds, as metav1.Now() survives storage */
struct api_time api_time_now_micro(void); /* microseconds */

/* metav1.Duration, "1h30m". */
struct api_duration {
	int64_t ns;
};

/* RawExtension, FieldsV1, JSON: checked JSON text as it came. json NULL: absent. */
struct api_raw {
	const char *json;
	uint32_t len;
};

/* []byte, base64 in JSON. data NULL: absent. */
struct api_bytes {
	uint8_t *data;
	uint32_t len;
};

/* map[string]string, sorted by key. */
struct api_string_map_entry {
	const char *key;
	const char *value;
};
struct api_string_map {
	struct api_string_map_entry *items;
	uint32_t len, cap;
};
/* []string */
struct api_string_list {
	const char **items;
	uint32_t len, cap;
};
/* map[string]resource.Quantity (ResourceList and the like), sorted by key. */
struct api_quantity_map_entry {
	const char *key;
	struct quantity value;
};
struct api_quantity_map {
	struct api_quantity_map_entry *items;
	uint32_t len, cap;
};

/* The other lists and maps of scalars. */
struct api_bool_list {
	bool *items;
	uint32_t len, cap;
};
struct api_int32_list {
	int32_t *items;
	uint32_t len, cap;
};
struct api_int64_list {
	int64_t *items;
	uint32_t len, cap;
};
struct api_quantity_list {
	struct quantity *items;
	uint32_t len, cap;
};
struct api_raw_list {
	struct api_raw *items;
	uint32_t len, cap;
};
struct api_bytes_map_entry {
	const char *key;
	struct api_bytes value;
};
struct api_bytes_map {
	struct api_bytes_map_entry *items;
	uint32_t len, cap;
};
struct api_time_map_entry {
	const char *key;
	struct api_time value;
};
struct api_time_map {
	struct api_time_map_entry *items;
	uint32_t len, cap;
};

/* NULL where absent. */
const char *api_map_get(const struct api_string_map *map, const char *key);
/* Copies key and value into the arena. */
void api_map_set(struct arena *arena, struct api_string_map *map, const char *key, const char *value);
/* Adds copies of all pairs. */
void api_copy_string_map(struct arena *arena, struct api_string_map *to, const struct api_string_map *from);
bool api_map_remove(struct api_string_map *map, const char *key);
bool api_map_equal(const struct api_string_map *a, const struct api_string_map *b);
/* True where every pair of `selector` is in `labels`: an empty selector matches all. */
bool api_map_contains(const struct api_string_map *labels, const struct api_string_map *selector);
void api_string_list_add(struct arena *arena, struct api_string_list *list, const char *s);
bool api_string_list_has(const struct api_string_list *list, const char *s);
/* NULL where absent. */
struct quantity *api_quantity_get(const struct api_quantity_map *map, const char *key);
void api_quantity_set(struct arena *arena, struct api_quantity_map *map, const char *key, struct quantity value);
/* To what is there; sets it where nothing is. */
void api_quantity_add(struct arena *arena, struct api_quantity_map *map, const char *key, const struct quantity *more);

#endif
