/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"

#define MIN_WIDTH 6
#define MAX_CELL (1u << 20)

void columns_done(struct columns *columns)
{
	for (size_t i = 0; i < columns->cell_count; i++)
		free(columns->cells[i]);
	free(columns->cells);
	free(columns->ends);
	*columns = (struct columns){0};
}

static void add_taken(struct columns *columns, char *cell)
{
	if (!(columns->cell_count & (columns->cell_count - 1)))
		columns->cells = xreallocarray(columns->cells, columns->cell_count ? columns->cell_count * 2 : 1, sizeof(char *));
	columns->cells[columns->cell_count++] = cell;
}

void columns_add(struct columns *columns, const char *text)
{
	text = text ? text : "";
	size_t len = strcspn(text, "\r\n\f");
	add_taken(columns, text[len] ? xprintf("%.*s...", (int)min_of(len, (size_t)MAX_CELL), text) : xstrdup(text));
}

void columns_printf(struct columns *columns, const char *fmt, ...)
{
	autobuf struct buf text = BUF_INIT(MAX_CELL);
	va_list args;
	va_start(args, fmt);
	buf_vprintf(&text, fmt, args);
	va_end(args);
	columns_add(columns, text.data);
}

void columns_end_row(struct columns *columns)
{
	if (!(columns->row_count & (columns->row_count - 1)))
		columns->ends = xreallocarray(columns->ends, columns->row_count ? columns->row_count * 2 : 1, sizeof(size_t));
	columns->ends[columns->row_count++] = columns->cell_count;
}

/* Characters, not bytes. */
static size_t width_of(const char *s)
{
	size_t width = 0;
	for (; *s; s++)
		width += ((unsigned char)*s & 0xc0) != 0x80;
	return width;
}

/* Width of column `column`: of its cells that have a neighbour to the right. */
static size_t column_width(const struct columns *columns, size_t column, int padding)
{
	size_t width = 0, start = 0;
	for (size_t row = 0; row < columns->row_count; start = columns->ends[row++])
		if (start + column + 1 < columns->ends[row])
			width = max_of(width, width_of(columns->cells[start + column]));
	return max_of(width + (size_t)padding, (size_t)MIN_WIDTH);
}

void columns_write(struct columns *columns, const char *indent, int padding, struct buf *out)
{
	size_t count = 0, start = 0;
	for (size_t row = 0; row < columns->row_count; start = columns->ends[row++])
		count = max_of(count, columns->ends[row] - start);
	autofree size_t *widths = xcalloc(count, sizeof(size_t));
	for (size_t i = 0; i < count; i++)
		widths[i] = column_width(columns, i, padding);
	start = 0;
	for (size_t row = 0; row < columns->row_count; start = columns->ends[row++]) {
		buf_append_str(out, indent);
		for (size_t i = start; i < columns->ends[row]; i++) {
			buf_append_str(out, columns->cells[i]);
			if (i + 1 < columns->ends[row])
				buf_printf(out, "%*s", (int)(widths[i - start] - width_of(columns->cells[i])), "");
		}
		buf_append_char(out, '\n');
	}
	columns_done(columns);
}
