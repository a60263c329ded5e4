/* SPDX-License-Identifier: Apache-2.0 */
/* Zone, server and forwarder together, over real sockets on loopback: one server plays the upstream of another. */
#include "dns/server.h"

#include <arpa/inet.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

static const char *const loopback[] = {"127.0.0.1", NULL};

static struct core_v1_service *make_service(const char *name, const char *cluster_ip, const char *port_name) {
	struct core_v1_service *service = api_new_of(core_v1_service);
	struct arena *arena = api_arena(service);
	service->metadata.name = arena_strdup(arena, name);
	service->metadata.namespace = "shop";
	service->spec.type = "ClusterIP";
	service->spec.cluster_ip = arena_strdup(arena, cluster_ip);
	if (cluster_ip)
		api_string_list_add(arena, &service->spec.cluster_ips, cluster_ip);
	__auto_type port = api_list_add(arena, &service->spec.ports);
	port->name = arena_strdup(arena, port_name);
	port->protocol = "TCP";
	port->port = 80;
	return service;
}

static struct discovery_v1_endpoint_slice *make_slice(size_t count) {
	struct discovery_v1_endpoint_slice *slice = api_new_of(discovery_v1_endpoint_slice);
	struct arena *arena = api_arena(slice);
	slice->address_type = "IPv4";
	__auto_type port = api_list_add(arena, &slice->ports);
	port->name = "http";
	port->protocol = "TCP";
	port->port = api_int32(arena, 8080);
	for (size_t i = 0; i < count; i++) {
		__auto_type endpoint = api_list_add(arena, &slice->endpoints);
		autofree char *address = xprintf("10.1.%zu.%zu", i / 200, i % 200 + 1);
		api_string_list_add(arena, &endpoint->addresses, arena_strdup(arena, address));
		if (i == 0)
			endpoint->hostname = "first";
		if (i == 2)
			endpoint->conditions.ready = api_bool(arena, false);
	}
	return slice;
}

static struct zone *make_zone(void) {
	struct zone *zone = zone_new("Cluster.Local");
	autounref struct core_v1_service *web = make_service("web", "10.96.0.7", "http"), *set = make_service("set", "None", "http"), *out = make_service("out", NULL, "x"),
		*big = make_service("big", "None", "http");
	autounref struct discovery_v1_endpoint_slice *three = make_slice(3), *many = make_slice(200);
	out->spec.type = "ExternalName";
	out->spec.external_name = "Example.ORG.";
	zone_set_service(zone, "shop/web", web, NULL, 0);
	zone_set_service(zone, "shop/set", set, (const struct discovery_v1_endpoint_slice *const[]){three}, 1);
	zone_set_service(zone, "shop/big", big, (const struct discovery_v1_endpoint_slice *const[]){many}, 1);
	zone_set_service(zone, "shop/out", out, NULL, 0);
	zone_set_namespace(zone, "shop", true);
	zone_set_ready(zone);
	return zone;
}

/* What came back, one line a record: "name type data". */
struct answer {
	int rcode;
	bool truncated, authoritative;
	unsigned count;
	char text[16384];
};

static size_t make_query(const char *name, uint16_t type, uint8_t out[512]) {
	const uint8_t header[12] = {0x12, 0x34, 0x01, 0, 0, 1};
	memcpy(out, header, 12);
	size_t at = 12 + dns_name_to_wire(name, out + 12);
	out[at++] = (uint8_t)(type >> 8);
	out[at++] = (uint8_t)type;
	out[at++] = 0;
	out[at++] = 1;
	return at;
}

static void read_answer(const uint8_t *message, size_t len, struct answer *ret) {
	struct dns_reader reader;
	struct dns_record record;
	unsigned section;
	memset(ret, 0, sizeof(*ret));
	assert_true(len >= 12 && message[0] == 0x12 && message[1] == 0x34);
	ret->rcode = message[3] & 0xf;
	ret->truncated = message[2] & 2;
	ret->authoritative = message[2] & 4;
	assert_true(dns_reader_init(&reader, message, len));
	size_t at = 0;
	int more;
	while ((more = dns_reader_next(&reader, &record, &section)) == 1) {
		char data[DNS_NAME_TEXT_MAX] = "", address[64];
		size_t offset = record.data_offset;
		if (section != 0)
			continue;
		ret->count++;
		if (record.type == DNS_A)
			snprintf(data, sizeof(data), "%s", inet_ntop(AF_INET, message + offset, address, sizeof(address)));
		else if (record.type == DNS_SRV)
			offset += 6;
		if (record.type == DNS_CNAME || record.type == DNS_PTR || record.type == DNS_SRV)
			assert_true(dns_read_name(message, len, &offset, data));
		if (at < sizeof(ret->text) - 600)
			at += (size_t)snprintf(ret->text + at, sizeof(ret->text) - at, "%s %u %s\n", record.name, record.type, data);
	}
	assert_int_equal(more, 0);
}

static void ask_with(uint16_t port, bool tcp, const char *name, uint16_t type, struct answer *ret) {
	uint8_t message[2 + DNS_MESSAGE_MAX], query[2 + 512];
	size_t len = make_query(name, type, query + 2);
	query[0] = (uint8_t)(len >> 8);
	query[1] = (uint8_t)len;
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_true(send(fd, tcp ? query : query + 2, tcp ? len + 2 : len, 0) > 0);
	size_t have = 0, want = tcp ? 2 : 1;
	while (have < want) {
		struct pollfd ready = {.fd = fd, .events = POLLIN};
		assert_int_equal(poll(&ready, 1, 8000), 1);
		ssize_t n = recv(fd, message + have, sizeof(message) - have, 0);
		assert_true(n > 0);
		have += (size_t)n;
		if (tcp && have >= 2)
			want = 2 + (size_t)(message[0] << 8 | message[1]);
	}
	close(fd);
	read_answer(tcp ? message + 2 : message, tcp ? have - 2 : have, ret);
}

static struct zone *zone, *upstream_zone;
static struct server *server, *upstream;

static void ask(const char *name, uint16_t type, struct answer *ret) {
	ask_with(server_port(server), false, name, type, ret);
}

static int set_up(void **state) {
	autoerror struct error err = {0};
	upstream_zone = zone_new("org");
	autounref struct core_v1_service *example = make_service("x", "192.0.2.99", "p");
	zone_set_service(upstream_zone, "shop/x", example, NULL, 0); /* x.shop.svc.org */
	zone_set_ready(upstream_zone);
	struct server_options options = {.addresses = loopback, .threads = 1, .zone = upstream_zone};
	assert_int_equal(server_start(&options, &upstream, &err), 0);
	zone = make_zone();
	options = (struct server_options){.addresses = loopback, .threads = 2, .zone = zone};
	autofree char *address = xprintf("127.0.0.1:%u", server_port(upstream));
	assert_true(forward_upstreams_add(&options.upstreams, address));
	assert_int_equal(server_start(&options, &server, &err), 0);
	return 0;
}

static int tear_down(void **state) {
	server_stop(server);
	server_stop(upstream);
	zone_free(zone);
	zone_free(upstream_zone);
	return 0;
}

static void services_have_their_address(void **state) {
	struct answer a;
	ask("web.shop.svc.cluster.local", DNS_A, &a);
	assert_int_equal(a.rcode, DNS_NOERROR);
	assert_true(a.authoritative);
	assert_string_equal(a.text, "web.shop.svc.cluster.local 1 10.96.0.7\n");
	ask("WEB.Shop.svc.cluster.LOCAL", DNS_A, &a);
	assert_int_equal(a.count, 1);
	ask("web.shop.svc.cluster.local", DNS_AAAA, &a); /* no data, but a name */
	assert_int_equal(a.rcode, DNS_NOERROR);
	assert_int_equal(a.count, 0);
	ask("svc.cluster.local", DNS_A, &a); /* names with names below exist */
	assert_int_equal(a.rcode, DNS_NOERROR);
	ask("absent.shop.svc.cluster.local", DNS_A, &a);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
}

static void headless_services_have_their_ready_endpoints(void **state) {
	struct answer a;
	ask("set.shop.svc.cluster.local", DNS_A, &a);
	assert_int_equal(a.count, 2);
	assert_non_null(strstr(a.text, "10.1.0.1"));
	assert_non_null(strstr(a.text, "10.1.0.2"));
	ask("first.set.shop.svc.cluster.local", DNS_A, &a);
	assert_string_equal(a.text, "first.set.shop.svc.cluster.local 1 10.1.0.1\n");
	ask("_http._tcp.set.shop.svc.cluster.local", DNS_SRV, &a);
	assert_int_equal(a.count, 2);
	assert_non_null(strstr(a.text, "first.set.shop.svc.cluster.local"));
	assert_non_null(strstr(a.text, "10-1-0-2.set.shop.svc.cluster.local"));
	ask("_http._tcp.web.shop.svc.cluster.local", DNS_SRV, &a);
	assert_string_equal(a.text, "_http._tcp.web.shop.svc.cluster.local 33 web.shop.svc.cluster.local\n");
}

static void addresses_backwards_and_pods(void **state) {
	struct answer a;
	ask("7.0.96.10.in-addr.arpa", DNS_PTR, &a);
	assert_string_equal(a.text, "7.0.96.10.in-addr.arpa 12 web.shop.svc.cluster.local\n");
	ask("1.0.1.10.in-addr.arpa", DNS_PTR, &a);
	assert_non_null(strstr(a.text, "first.set.shop.svc.cluster.local"));
	ask("10-2-3-4.shop.pod.cluster.local", DNS_A, &a);
	assert_string_equal(a.text, "10-2-3-4.shop.pod.cluster.local 1 10.2.3.4\n");
	ask("10-2-3-4.nowhere.pod.cluster.local", DNS_A, &a);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
	ask("10-2-3.shop.pod.cluster.local", DNS_A, &a);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
}

static void what_does_not_fit_comes_over_tcp(void **state) {
	struct answer a;
	ask("big.shop.svc.cluster.local", DNS_A, &a);
	assert_true(a.truncated);
	ask_with(server_port(server), true, "big.shop.svc.cluster.local", DNS_A, &a);
	assert_false(a.truncated);
	assert_int_equal(a.count, 199);
}

static void others_names_are_forwarded_and_cached(void **state) {
	struct answer a;
	for (int i = 0; i < 3; i++) {
		ask("x.shop.svc.org", DNS_A, &a);
		assert_int_equal(a.rcode, DNS_NOERROR);
		assert_string_equal(a.text, "x.shop.svc.org 1 192.0.2.99\n");
	}
	ask("absent.org", DNS_A, &a);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
}

static void external_names_are_followed(void **state) {
	struct answer a;
	autounref struct core_v1_service *out = make_service("far", NULL, "x");
	out->spec.type = "ExternalName";
	out->spec.external_name = "X.shop.svc.ORG.";
	zone_set_service(zone, "shop/far", out, NULL, 0);
	ask("far.shop.svc.cluster.local", DNS_A, &a);
	assert_int_equal(a.count, 2);
	assert_non_null(strstr(a.text, "far.shop.svc.cluster.local 5 x.shop.svc.org"));
	assert_non_null(strstr(a.text, "1 192.0.2.99"));
	ask("far.shop.svc.cluster.local", DNS_CNAME, &a);
	assert_int_equal(a.count, 1);
}

static void gone_services_leave_no_name(void **state) {
	struct answer a;
	size_t before = zone_record_count(zone);
	autounref struct core_v1_service *brief = make_service("brief", "10.96.0.8", "http");
	zone_set_service(zone, "shop/brief", brief, NULL, 0);
	ask("brief.shop.svc.cluster.local", DNS_A, &a);
	assert_int_equal(a.count, 1);
	zone_set_service(zone, "shop/brief", NULL, NULL, 0);
	ask("brief.shop.svc.cluster.local", DNS_A, &a);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
	ask("_http._tcp.brief.shop.svc.cluster.local", DNS_SRV, &a);
	assert_int_equal(a.rcode, DNS_NXDOMAIN);
	assert_int_equal(zone_record_count(zone), before);
}

static void an_empty_cache_says_nothing_wrong(void **state) {
	autoerror struct error err = {0};
	struct zone *empty = zone_new("cluster.local");
	struct server *young = NULL;
	struct server_options options = {.addresses = loopback, .threads = 1, .zone = empty};
	struct answer a;
	assert_int_equal(server_start(&options, &young, &err), 0);
	ask_with(server_port(young), false, "web.shop.svc.cluster.local", DNS_A, &a);
	assert_int_equal(a.rcode, DNS_SERVFAIL);
	server_stop(young);
	zone_free(empty);
}

int main(void) {
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_have_their_address), cmocka_unit_test(headless_services_have_their_ready_endpoints), cmocka_unit_test(addresses_backwards_and_pods),
		cmocka_unit_test(what_does_not_fit_comes_over_tcp), cmocka_unit_test(others_names_are_forwarded_and_cached), cmocka_unit_test(external_names_are_followed),
		cmocka_unit_test(gone_services_leave_no_name), cmocka_unit_test(an_empty_cache_says_nothing_wrong),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
