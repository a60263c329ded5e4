// lib: dns
/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever a stranger sends: as a query it is answered within bounds, as an upstream's answer it is read, kept and aged. */
#include "dns/cache.h"
#include "dns/zone.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
	static struct zone *zone;
	static struct cache *cache;
	static uint8_t out[DNS_MESSAGE_MAX];
	if (!zone) {
		zone = zone_new("cluster.local");
		autounref struct core_v1_service *service = api_new_of(core_v1_service);
		service->metadata.name = "a";
		service->metadata.namespace = "b";
		service->spec.cluster_ip = "10.0.0.1";
		zone_set_service(zone, "b/a", service, NULL, 0);
		zone_set_namespace(zone, "b", true);
		zone_set_ready(zone);
		cache = cache_new();
	}
	struct dns_question question;
	char target[DNS_NAME_TEXT_MAX];
	size_t len = 0;
	int rcode = dns_parse_query(data, size, &question);
	if (rcode == DNS_NOERROR) {
		if (zone_answer(zone, &question, out, question.udp_size, &len, target) == ZONE_ANSWERED && (len < 12 || len > question.udp_size))
			__builtin_trap();
		uint8_t wire[DNS_NAME_MAX];
		if (!dns_name_to_wire(question.name, wire) && question.name[0])
			__builtin_trap(); /* a name that was read can be written */
		cache_put(cache, &question, data, size);
		cache_get(cache, &question, out, sizeof(out));
	}
	struct dns_reader reader;
	struct dns_record record;
	unsigned section;
	if (dns_reader_init(&reader, data, size))
		while (dns_reader_next(&reader, &record, &section) == 1)
			if (record.data_offset + record.data_len > size)
				__builtin_trap();
	return 0;
}
