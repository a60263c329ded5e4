/* SPDX-License-Identifier: Apache-2.0 */
#include "fake_world.h"

#include "controller-manager/manager.h"

extern const struct controller service_lb_controller;

static void add_node(const char *name, const char *addresses, const char *ready, const char *labels)
{
	autofree char *json = xprintf(
		"{\"apiVersion\":\"v1\",\"kind\":\"Node\",\"metadata\":{\"name\":\"%s\",\"labels\":{%s}},\"status\":{\"addresses\":[%s],\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\"}]}}", name, labels,
		addresses, ready);
	fake_add(json);
}

static void add_service(const char *spec)
{
	autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"s\",\"namespace\":\"n\"},\"spec\":{%s,\"ports\":[{\"port\":80}]}}", spec);
	fake_add(json);
}

static const char *given(void)
{
	static char text[200];
	const struct core_v1_service *service = fake_live(CACHED_SERVICES, "n", "s");
	text[0] = '\0';
	for (uint32_t i = 0; i < service->status.load_balancer.ingress.len; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i ? " " : "", service->status.load_balancer.ingress.items[i].ip);
	return text;
}

#define INTERNAL(ip) "{\"type\":\"InternalIP\",\"address\":\"" ip "\"}"
#define EXTERNAL(ip) "{\"type\":\"ExternalIP\",\"address\":\"" ip "\"}"

static void test_addresses(void **state)
{
	static const struct {
		const char *spec, *given;
	} rows[] = {
		{"\"type\":\"LoadBalancer\"", "192.0.2.2 198.51.100.1"},
		{"\"type\":\"LoadBalancer\",\"ipFamilies\":[\"IPv6\",\"IPv4\"]", "2001:db8::2 192.0.2.2 198.51.100.1"},
		{"\"type\":\"LoadBalancer\",\"loadBalancerClass\":\"example.com/other\"", ""},
		{"\"type\":\"NodePort\"", ""},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		fake_teardown(state);
		fake_setup(state);
		struct reconciler r = fake_reconciler(&service_lb_controller);
		add_node("b", INTERNAL("192.0.2.2") "," INTERNAL("2001:db8::2"), "True", "");
		add_node("a", INTERNAL("192.0.2.1") "," EXTERNAL("198.51.100.1"), "True", "");
		add_node("down", INTERNAL("192.0.2.3"), "False", "");
		add_node("kept-out", INTERNAL("192.0.2.4"), "True", "\"node.kubernetes.io/exclude-from-external-load-balancers\":\"\"");
		add_service(rows[i].spec);
		fake_reconcile_all(&r, CACHED_SERVICES);
		assert_string_equal(given(), rows[i].given);
		size_t writes = fake.writes;
		fake_reconcile_all(&r, CACHED_SERVICES);
		assert_int_equal(fake.writes, writes);
		/* No load balancer any more: no addresses any more. */
		if (!i) {
			fake_edit(CACHED_SERVICES, "n", "s", NULL, "{\"spec\":{\"type\":\"ClusterIP\"}}");
			fake_reconcile_all(&r, CACHED_SERVICES);
			assert_string_equal(given(), "");
		}
		fake_reconciler_done(&r);
	}
}

/* Which controllers --controllers asks for. */
static void test_names(void **state)
{
	static const struct {
		const char *wanted[3];
		bool lb, hpa, valid;
	} rows[] = {
		{{"*"}, false, true, true},
		{{"*", "service-lb-controller"}, true, true, true},
		{{"*", "service", "-horizontalpodautoscaling"}, true, false, true},
		{{"horizontal-pod-autoscaler-controller"}, false, true, true},
		{{"-horizontal-pod-autoscaler-controller", "*"}, false, false, true},
		{{"*", "-attachdetach"}, false, true, true},
		{{"*", "no-such-controller"}, false, true, false},
	};
	for (size_t i = 0; i < array_len(rows); i++) {
		struct flag_list list = {.items = (char **)rows[i].wanted};
		autoerror struct error err = {0};
		while (list.len < 3 && rows[i].wanted[list.len])
			list.len++;
		extern const struct controller horizontal_pod_autoscaler_controller;
		assert_int_equal(controller_is_enabled(&service_lb_controller, &list), rows[i].lb);
		assert_int_equal(controller_is_enabled(&horizontal_pod_autoscaler_controller, &list), rows[i].hpa);
		assert_int_equal(manager_check_names(&list, &err) == 0, rows[i].valid);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_addresses, fake_setup, fake_teardown),
		cmocka_unit_test_setup_teardown(test_names, fake_setup, fake_teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
