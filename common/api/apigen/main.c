/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apigen OUTDIR FILE.api... compiles the schema: OUTDIR/<package>.h and .c for each file and OUTDIR/tables.c.
 * With "-" for OUTDIR it only checks. Files whose content would not change keep their time stamp.
 */
#include "common/api/apigen/schema.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void write_if_changed(const char *path, const char *data, size_t len) {
	FILE *old = fopen(path, "re");
	if (old) {
		char *have = malloc(len + 1);
		size_t got = have ? fread(have, 1, len + 1, old) : 0;
		fclose(old);
		bool same = have && got == len && !memcmp(have, data, len);
		free(have);
		if (same)
			return;
	}
	FILE *out = fopen(path, "we");
	if (!out || fwrite(data, 1, len, out) != len || fclose(out))
		complain(path, 0, "%s", strerror(errno));
}

typedef void emit_fn(FILE *out, const struct schema *schema, const struct package *package);

static void emit_tables_for_all(FILE *out, const struct schema *schema, const struct package *package) {
	(void)package;
	emit_tables(out, schema);
}

static void emit_file(const char *dir, const char *name, emit_fn *emit, const struct schema *schema, const struct package *package) {
	char *data = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&data, &len);
	if (!out)
		abort();
	emit(out, schema, package);
	fclose(out);
	if (!schema_errors && strcmp(dir, "-"))
		write_if_changed(format("%s/%s", dir, name), data, len);
	free(data);
}

int main(int argc, char **argv) {
	struct schema schema = {0};
	if (argc < 3) {
		fprintf(stderr, "usage: apigen OUTDIR FILE.api...\n");
		return 2;
	}
	for (int i = 2; i < argc; i++)
		schema_parse(&schema, argv[i]);
	if (!schema_errors)
		schema_resolve(&schema);
	for (size_t i = 0; i < schema.count && !schema_errors; i++) {
		const struct package *p = schema.packages[i];
		emit_file(argv[1], format("%s.h", p->stem), emit_header, &schema, p);
		emit_file(argv[1], format("%s.c", p->stem), emit_source, &schema, p);
	}
	if (!schema_errors)
		emit_file(argv[1], "tables.c", emit_tables_for_all, &schema, NULL);
	return schema_errors ? 1 : 0;
}
