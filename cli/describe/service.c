/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/describe/describe.h"
#include "cli/pods.h"

/* The ready endpoints of one port over all slices: "10.0.0.1:80,10.0.0.2:80". */
static const char *endpoints_of(struct describe *d, json_t *slices, const char *port_name)
{
	autobuf struct buf out = BUF_INIT(1 << 20);
	size_t i, j, k;
	json_t *slice, *port, *endpoint;
	json_array_foreach(json_object_get(slices, "items"), i, slice)
		json_array_foreach(json_object_get(slice, "ports"), j, port) {
			if (!str_equal(cli_str(port, "name"), port_name))
				continue;
			json_array_foreach(json_object_get(slice, "endpoints"), k, endpoint)
				if (!json_is_false(cli_at(endpoint, "conditions.ready")))
					buf_printf(&out, "%s%s:%lld", out.len ? "," : "", str_or(json_string_value(json_array_get(json_object_get(endpoint, "addresses"), 0)), ""), (long long)cli_int_at(port, "port"));
		}
	return out.len ? arena_strdup(d->cli->arena, out.data) : NULL;
}

static json_t *slices_of(struct describe *d, json_t *service)
{
	const struct cli_resource *slices = NULL;
	json_t *list = NULL;
	if (cli_resource_match(d->cli, "endpointslices.discovery.k8s.io", &slices, NULL))
		return NULL;
	const char *selector = arena_printf(d->cli->arena, "kubernetes.io/service-name=%s", cli_name(service));
	cli_get_json(d->cli, cli_path_query(d->cli, cli_path(d->cli, slices, cli_ns(service), NULL, NULL), "labelSelector", selector), &list, NULL);
	return list;
}

static void write_joined(struct describe *d, const char *key, json_t *words)
{
	autobuf struct buf out = BUF_INIT(65536);
	size_t i;
	json_t *word;
	json_array_foreach(words, i, word)
		buf_printf(&out, "%s%s", i ? "," : "", str_or(json_string_value(word), ""));
	describe_text(d, 0, key, out.data);
}

static void write_port(struct describe *d, json_t *port, json_t *slices)
{
	const char *name = cli_str(port, "name"), *protocol = str_or(cli_str(port, "protocol"), "TCP");
	json_t *target = json_object_get(port, "targetPort");
	describe_printf(d, 0, "Port", "%s  %lld/%s", str_or(name, "<unset>"), (long long)cli_int_at(port, "port"), protocol);
	if (json_is_string(target))
		describe_printf(d, 0, "TargetPort", "%s/%s", json_string_value(target), protocol);
	else
		describe_printf(d, 0, "TargetPort", "%lld/%s", (long long)json_integer_value(target), protocol);
	if (cli_int_at(port, "nodePort"))
		describe_printf(d, 0, "NodePort", "%s  %lld/%s", str_or(name, "<unset>"), (long long)cli_int_at(port, "nodePort"), protocol);
	describe_text(d, 0, "Endpoints", endpoints_of(d, slices, name));
}

static void write_service(struct describe *d, json_t *o)
{
	describe_metadata(d, o);
	describe_text(d, 0, "Selector", cli_selector_of(d->cli, o));
	describe_text(d, 0, "Type", cli_str_at(o, "spec.type"));
	describe_text(d, 0, "IP Family Policy", cli_str_at(o, "spec.ipFamilyPolicy"));
	write_joined(d, "IP Families", cli_at(o, "spec.ipFamilies"));
	describe_text(d, 0, "IP", cli_str_at(o, "spec.clusterIP"));
	write_joined(d, "IPs", cli_at(o, "spec.clusterIPs"));
	if (json_array_size(cli_at(o, "spec.externalIPs")))
		write_joined(d, "External IPs", cli_at(o, "spec.externalIPs"));
	if (cli_str_at(o, "spec.externalName"))
		describe_text(d, 0, "External Name", cli_str_at(o, "spec.externalName"));
	size_t i;
	json_t *port, *ingress, *slices = slices_of(d, o);
	json_array_foreach(cli_at(o, "status.loadBalancer.ingress"), i, ingress)
		describe_text(d, 0, "LoadBalancer Ingress", str_or(cli_str(ingress, "ip"), cli_str(ingress, "hostname")));
	json_array_foreach(cli_at(o, "spec.ports"), i, port)
		write_port(d, port, slices);
	describe_text(d, 0, "Session Affinity", cli_str_at(o, "spec.sessionAffinity"));
	if (cli_str_at(o, "spec.externalTrafficPolicy"))
		describe_text(d, 0, "External Traffic Policy", cli_str_at(o, "spec.externalTrafficPolicy"));
	describe_text(d, 0, "Internal Traffic Policy", cli_str_at(o, "spec.internalTrafficPolicy"));
	json_decref(slices);
}

const struct describe_kind describe_service = {
	.group = "",
	.kind = "Service",
	.write = write_service,
};
