/* SPDX-License-Identifier: Apache-2.0 */
/* What does not fit is told in the policy's status; types come of discovery and the server's OpenAPI documents. */
#include "test/unit/controller-manager/scenario.h"

#include "api/admissionregistration_v1.h"

extern const struct controller policy_status_controller;

#define RESOURCE(plural, kind, group, version, verbs) \
	"{\"resource\":\"" plural "\",\"scope\":\"Namespaced\",\"responseKind\":{\"group\":\"" group "\",\"version\":\"" version "\",\"kind\":\"" kind "\"},\"verbs\":[" verbs "]}"
#define GROUP(name, ...) "{\"metadata\":{\"name\":\"" name "\"},\"versions\":[" __VA_ARGS__ "]}"
#define VERSION(name, ...) "{\"version\":\"" name "\",\"resources\":[" __VA_ARGS__ "]}"
#define LIST(...) "{\"kind\":\"APIGroupDiscoveryList\",\"items\":[" __VA_ARGS__ "]}"
#define ANY "\"create\",\"get\",\"list\""

#define REF(name) "{\"allOf\":[{\"$ref\":\"#/components/schemas/" name "\"}],\"default\":{}}"
#define TEXT "{\"type\":\"string\"}"
#define OF(group, version, kind) ",\"x-kubernetes-group-version-kind\":[{\"group\":\"" group "\",\"version\":\"" version "\",\"kind\":\"" kind "\"}]"
#define META "\"meta\":{\"type\":\"object\",\"properties\":{\"name\":" TEXT ",\"generateName\":" TEXT ",\"namespace\":" TEXT ",\"labels\":{\"type\":\"object\",\"additionalProperties\":" TEXT "}}}"
#define KIND(group, version, kind, properties) \
	"\"" kind "\":{\"type\":\"object\",\"properties\":{\"kind\":" TEXT ",\"apiVersion\":" TEXT ",\"metadata\":" REF("meta") "," properties "}" OF(group, version, kind) "}"
#define DOCUMENT(...) "{\"components\":{\"schemas\":{" META "," __VA_ARGS__ "}}}"

/* A spec that holds itself, a field of either type, and one of no type at all. */
#define WEB_SPEC \
	"\"spec\":{\"type\":\"object\",\"properties\":{\"replicas\":{\"type\":\"integer\"},\"port\":{\"format\":\"int-or-string\",\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"string\"}]}," \
	"\"cpu\":{\"oneOf\":[{\"type\":\"string\"},{\"type\":\"number\"}]},\"inner\":" REF("spec") "}}"

static const struct {
	const char *path, *body;
} answers[] = {
	{"/api", LIST(GROUP("", VERSION("v1", RESOURCE("configmaps", "ConfigMap", "", "v1", ANY))))},
	{"/apis", LIST(GROUP("shop", VERSION("v2", RESOURCE("webs", "Web", "shop", "v2", ANY)) "," VERSION("v1", RESOURCE("webs", "Web", "shop", "v1", ANY) "," RESOURCE("carts", "Cart", "shop", "v1", ANY))) ","
		GROUP("dark", VERSION("v1", RESOURCE("holes", "Hole", "dark", "v1", ANY) "," RESOURCE("configmaps", "Shadow", "dark", "v1", "\"get\",\"list\""))))},
	{"/openapi/v3/api/v1", DOCUMENT(KIND("", "v1", "ConfigMap", "\"data\":{\"type\":\"object\",\"additionalProperties\":" TEXT "}"))},
	{"/openapi/v3/apis/shop/v1", DOCUMENT(KIND("shop", "v1", "Web", "\"spec\":" REF("spec")) "," KIND("shop", "v1", "Cart", "\"full\":{\"type\":\"boolean\"}") "," WEB_SPEC)},
	{"/openapi/v3/apis/shop/v2", DOCUMENT(KIND("shop", "v2", "Web", "\"size\":{\"type\":\"integer\"}"))},
};

static int answer(struct fake_world *w, const struct client_request *request, struct buf *body, struct error *err)
{
	for (size_t i = 0; i < array_len(answers); i++)
		if (str_equal(request->path, answers[i].path)) {
			buf_append_str(body, answers[i].body);
			return 0;
		}
	return error_status(err, 404, "NotFound", "the server could not find the requested resource");
}

#define RULE(groups, versions, resources) "{\"apiGroups\":[" groups "],\"apiVersions\":[" versions "],\"resources\":[" resources "],\"operations\":[\"*\"]}"
#define WEBS RULE("\"shop\"", "\"v1\"", "\"webs\"")

static const struct {
	const char *rules, *more; /* of the spec */
	const char *expression, *message;
	const char *warning;      /* the first, without the names of types' numbers; NULL: none */
	const char *field;        /* that it is about */
} rows[] = {
	{WEBS, "", "object.spec.replicas > 1 && object.metadata.namespace == 'x'", NULL, NULL, NULL},
	{WEBS, "", "object.spec.replicaz > 1", NULL, "shop/v1, Kind=Web: ERROR: <input>:1:12: undefined field 'replicaz'\n | object.spec.replicaz > 1\n | ...........^\n", "expression"},
	{WEBS, "", "oldObject.spec.replicas > 'a'", NULL,
		"shop/v1, Kind=Web: ERROR: <input>:1:25: found no matching overload for '_>_' applied to '(int, string)'\n | oldObject.spec.replicas > 'a'\n | ........................^\n", "expression"},
	{WEBS, "", "object.spec.port == 1 && object.spec.port.foo == 2", NULL, NULL, NULL},
	{WEBS, "", "object.spec.cpu == '1'", NULL, "shop/v1, Kind=Web: ERROR: <input>:1:12: undefined field 'cpu'\n | object.spec.cpu == '1'\n | ...........^\n", "expression"},
	{WEBS, "", "object.spec.inner.replicas == 1", NULL, "shop/v1, Kind=Web: ERROR: <input>:1:18: undefined field 'replicas'\n | object.spec.inner.replicas == 1\n | .................^\n", "expression"},
	{WEBS, "", "true", "object.nope", "shop/v1, Kind=Web: ERROR: <input>:1:7: undefined field 'nope'\n | object.nope\n | ......^\n", "messageExpression"},
	{WEBS, ",\"variables\":[{\"name\":\"r\",\"expression\":\"object.spec.replicas\"},{\"name\":\"bad\",\"expression\":\"object.nope\"}]", "variables.bad == 1 && variables.r == 'x'", NULL,
		"shop/v1, Kind=Web: ERROR: <input>:1:35: found no matching overload for '_==_' applied to '(int, string)'\n | variables.bad == 1 && variables.r == 'x'\n | ..................................^\n", "expression"},
	{WEBS, ",\"paramKind\":{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\"}", "params.data.x == 'y' && params.foo", NULL,
		"shop/v1, Kind=Web: ERROR: <input>:1:31: undefined field 'foo'\n | params.data.x == 'y' && params.foo\n | ..............................^\n", "expression"},
	{WEBS, ",\"paramKind\":{\"apiVersion\":\"gone/v1\",\"kind\":\"Gone\"}", "params.foo == 1", NULL, NULL, NULL},
	/* Of several kinds each that it does not fit, in order. */
	{RULE("\"shop\"", "\"v2\",\"v1\"", "\"webs\",\"carts\""), "", "object.full", NULL,
		"shop/v1, Kind=Web: ERROR: <input>:1:7: undefined field 'full'\n | object.full\n | ......^\n\nshop/v2, Kind=Web: ERROR: <input>:1:7: undefined field 'full'\n | object.full\n | ......^\n", "expression"},
	/* No group: of any; but not what nobody can write. */
	{RULE("\"\"", "\"v1\"", "\"carts\",\"configmaps\""), "", "object.data.x == 'y'", NULL, "shop/v1, Kind=Cart: ERROR: <input>:1:7: undefined field 'data'\n | object.data.x == 'y'\n | ......^\n", "expression"},
	/* Not looked into. */
	{RULE("\"*\"", "\"v1\"", "\"webs\""), "", "object.nope", NULL, NULL, NULL},
	{RULE("\"shop\"", "\"*\"", "\"webs\""), "", "object.nope", NULL, NULL, NULL},
	{RULE("\"shop\"", "\"v1\"", "\"*\",\"webs/status\""), "", "object.nope", NULL, NULL, NULL},
	{RULE("\"dark\"", "\"v1\"", "\"holes\""), "", "object.nope", NULL, NULL, NULL},
};

static void mistakes_are_told(void **state)
{
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_setup(state);
		print_message("  %s\n", rows[i].expression);
		fake.request = answer;
		autofree char *message = rows[i].message ? xprintf(",\"messageExpression\":\"%s\"", rows[i].message) : xstrdup("");
		autofree char *policy = xprintf("{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"ValidatingAdmissionPolicy\",\"metadata\":{\"name\":\"p\",\"generation\":3},"
						"\"spec\":{\"matchConstraints\":{\"resourceRules\":[%s]},\"validations\":[{\"expression\":\"true\"},{\"expression\":\"%s\"%s}]%s}}",
			rows[i].rules, rows[i].expression, message, rows[i].more);
		scenario_put(policy);
		struct reconciler r = fake_reconciler(&policy_status_controller);
		autoerror struct error err = {0};
		if (policy_status_controller.reconcile(&r, NULL, "p", &err) < 0)
			fail_msg("%s", error_message(&err));
		const struct admissionregistration_v1_validating_admission_policy *live = fake_live(CACHED_VALIDATING_ADMISSION_POLICIES, NULL, "p");
		assert_int_equal(live->status.observed_generation, 3);
		assert_string_equal(fake.log.data, "patch validatingadmissionpolicies/status p\n");
		assert_non_null(live->status.type_checking);
		assert_int_equal(live->status.type_checking->expression_warnings.len, rows[i].warning ? 1 : 0);
		if (rows[i].warning) {
			autofree char *field = xprintf("spec.validations[1].%s", rows[i].field);
			assert_string_equal(live->status.type_checking->expression_warnings.items[0].warning, rows[i].warning);
			assert_string_equal(live->status.type_checking->expression_warnings.items[0].field_ref, field);
		}
		fake_reconciler_done(&r);
		fake_teardown(state);
	}
}

static int fail_all(struct fake_world *w, const struct client_request *request, struct buf *body, struct error *err)
{
	return error_status(err, 503, "ServiceUnavailable", "not now");
}

/* A server that does not answer is asked again: it is no reason to say that all is well. */
static void silence_is_no_answer(void **state)
{
	fake_setup(state);
	fake.request = fail_all;
	scenario_put("{\"apiVersion\":\"admissionregistration.k8s.io/v1\",\"kind\":\"ValidatingAdmissionPolicy\",\"metadata\":{\"name\":\"p\"},\"spec\":{\"matchConstraints\":{\"resourceRules\":[" WEBS "]},"
		     "\"validations\":[{\"expression\":\"object.nope\"}]}}");
	struct reconciler r = fake_reconciler(&policy_status_controller);
	assert_true(policy_status_controller.reconcile(&r, NULL, "p", NULL) < 0);
	assert_int_equal(fake.writes, 0);
	fake_reconciler_done(&r);
	fake_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(mistakes_are_told), cmocka_unit_test(silence_is_no_answer)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
