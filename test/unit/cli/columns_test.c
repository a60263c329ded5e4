/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/columns.h"
#include "cli/output.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_columns_are_padded_and_the_last_is_not(void **state)
{
	autocolumns struct columns columns = {0};
	autobuf struct buf out = BUF_INIT(4096);
	columns_add(&columns, "NAME");
	columns_add(&columns, "AGE");
	columns_end_row(&columns);
	columns_add(&columns, "a-long-name");
	columns_add(&columns, "5s\nmore");
	columns_end_row(&columns);
	columns_add(&columns, "\xc3\xa4");
	columns_add(&columns, "1");
	columns_end_row(&columns);
	columns_write(&columns, "", 3, &out);
	assert_string_equal(out.data, "NAME          AGE\na-long-name   5s...\n\xc3\xa4             1\n");
}

static const char table[] = "{\"columnDefinitions\":[{\"name\":\"Name\",\"priority\":0},{\"name\":\"Ready\",\"priority\":0},{\"name\":\"Node\",\"priority\":1}],"
	"\"rows\":[{\"cells\":[\"p\",2,null],\"object\":{\"metadata\":{\"namespace\":\"ns\",\"labels\":{\"app\":\"x\",\"b\":\"y\"}}}}]}";

static void expect_table(const struct cli_table_options *options, const char *want)
{
	json_t *tree = json_loads(table, 0, NULL);
	autobuf struct buf out = BUF_INIT(4096);
	cli_table_write(tree, options, &out);
	assert_string_equal(out.data, want);
	json_decref(tree);
}

static void test_tables(void **state)
{
	expect_table(&(struct cli_table_options){0}, "NAME   READY\np      2\n");
	expect_table(&(struct cli_table_options){.no_headers = true, .wide = true}, "p     2     \n");
	expect_table(&(struct cli_table_options){.with_namespace = true, .with_kind = true, .kind = "pod"}, "NAMESPACE   NAME    READY\nns          pod/p   2\n");
	expect_table(&(struct cli_table_options){.show_labels = true, .label_columns = (const char *const[]){"app", NULL}}, "NAME   READY   APP   LABELS\np      2       x     app=x,b=y\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_columns_are_padded_and_the_last_is_not),
		cmocka_unit_test(test_tables),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
