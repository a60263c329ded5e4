/* SPDX-License-Identifier: Apache-2.0 */
/* The objects that stand for what is held. */
#include "apiserver/services/internal.h"
#include "apiserver/request/render.h"
#include "common/base/random.h"

bool claim_parent(const struct entry *entry, struct arena *arena, const char **ret_ns, const char **ret_name) {
	static const char *const paths[] = {"spec.parentRef.group", "spec.parentRef.resource", "spec.parentRef.namespace", "spec.parentRef.name"};
	struct json_text found[array_len(paths)];
	char *values[array_len(paths)];
	json_text_find_all(entry->json->data, entry->json->len, paths, array_len(paths), found);
	for (size_t i = 0; i < array_len(paths); i++)
		values[i] = json_text_value(arena, found[i].data, found[i].len);
	if (!str_empty(values[0]) || !str_equal(values[1], "services") || str_empty(values[2]) || str_empty(values[3]))
		return false;
	*ret_ns = values[2];
	*ret_name = values[3];
	return true;
}

int64_t claim_age(const struct entry *entry, struct arena *arena) {
	const char *text = json_text_string(arena, entry->json->data, entry->json->len, "metadata.creationTimestamp");
	struct wall_time then;
	if (!text || time_parse_rfc3339(text, strlen(text), &then) < 0)
		return INT64_MAX;
	return clock_wall().sec - then.sec;
}

/* What the server says of an address, and so owns. */
#define OWNED "{\"f:metadata\":{\"f:labels\":{\".\":{},\"f:" LABEL_FAMILY "\":{},\"f:" LABEL_MANAGED_BY "\":{}}},\"f:spec\":{\"f:parentRef\":{\".\":{},\"f:name\":{},\"f:namespace\":{},\"f:resource\":{}}}}"

void claim_json(enum claim_kind kind, const char *key, const char *ns, const char *name, struct buf *out) {
	char uid[37], now[32];
	random_uuid(uid);
	time_format_rfc3339(clock_wall(), now);
	/* Keys, namespaces and names of Services are of letters, digits, dots, colons and dashes: nothing to escape. */
	if (kind == CLAIM_ADDRESS)
		buf_printf(out, "{\"kind\":\"IPAddress\",\"apiVersion\":\"networking.k8s.io/v1\",\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"creationTimestamp\":\"%s\",\"labels\":{\"" LABEL_FAMILY "\":\"%s\",\"" LABEL_MANAGED_BY "\":\"" MANAGED_BY "\"},"
			"\"managedFields\":[{\"manager\":\"kube-apiserver\",\"operation\":\"Update\",\"apiVersion\":\"networking.k8s.io/v1\",\"time\":\"%s\",\"fieldsType\":\"FieldsV1\",\"fieldsV1\":" OWNED "}]}",
			key, uid, now, strchr(key, ':') ? "IPv6" : "IPv4", now);
	else
		buf_printf(out, "{\"kind\":\"NodePort\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"%s\",\"uid\":\"%s\",\"creationTimestamp\":\"%s\"}", key, uid, now);
	buf_printf(out, ",\"spec\":{\"parentRef\":{\"resource\":\"services\",\"namespace\":\"%s\",\"name\":\"%s\"}}}", ns, name);
}

void services_address_json(const char *ip, const char *ns, const char *name, struct buf *out) {
	claim_json(CLAIM_ADDRESS, ip, ns, name, out);
}
