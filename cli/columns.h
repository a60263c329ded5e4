/* SPDX-License-Identifier: Apache-2.0 */
/* Text in columns, aligned as kubectl aligns it: at least six wide, three blanks between, nothing behind the last. */
#ifndef CORACLE_CLI_COLUMNS_H
#define CORACLE_CLI_COLUMNS_H

#include "common/base/buf.h"

struct columns {
	char **cells;   /* row by row */
	size_t *ends;   /* index behind the last cell of each row */
	size_t cell_count, row_count;
};
void columns_done(struct columns *columns);
#define autocolumns cleanup(columns_done)
/* Adds a cell to the row under way; cut at the first line end. */
void columns_add(struct columns *columns, const char *text);
void columns_printf(struct columns *columns, const char *fmt, ...) printf_like(2, 3);
void columns_end_row(struct columns *columns);
/* Appends all rows, each begun with `indent`; padding: blanks between. Empties it. */
void columns_write(struct columns *columns, const char *indent, int padding, struct buf *out);

#endif
