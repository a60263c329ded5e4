/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server-side Tables: what `kubectl get` shows. Columns come from the schema; a kind's cells from its function here, one row in
 * table.c. Kinds without one show Name and Created At.
 */
#ifndef CORACLE_APISERVER_PRINTER_H
#define CORACLE_APISERVER_PRINTER_H

#include "apiserver/resources.h"

/* Cells being written: the cell functions put commas between. */
struct cells {
	struct buf *out;
	bool any;
};
void cell_string(struct cells *cells, const char *value);
void cell_printf(struct cells *cells, const char *fmt, ...) printf_like(2, 3);
void cell_int(struct cells *cells, int64_t value);
void cell_bool(struct cells *cells, bool value);
/* Age since a time: "5m", or <unknown>. */
void cell_age(struct cells *cells, const struct api_time *time);
void cell_age_of(struct cells *cells, const void *object);
/* As kubectl writes a time: RFC 3339. */
void cell_time(struct cells *cells, const struct api_time *time);

struct printer {
	const char *group, *plural;
	void (*cells)(const void *object, struct cells *cells);
};
extern const struct printer *const printer_tables[];

const struct api_column *printer_columns(const struct resource *resource, size_t *ret_count);
/* Path of the number by which the rows of a list are ordered; NULL: by name. */
/* Whether the kind has cells of its own; others show name and age. */
bool printer_is_known(const struct resource *resource);
const char *printer_order(const struct resource *resource);
/* Appends the cells of one object, comma separated. */
void printer_cells(const struct resource *resource, const void *object, struct buf *out);

#endif
