/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ServiceCIDRs: says of each that it is ready, and lets one go only when no address of a Service would be left outside of every range.
 */
#include "controller-manager/controller.h"

#include "common/base/ip_range.h"

#include "api/networking_v1.h"

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"
#define LABEL_MANAGED_BY "ipaddress.kubernetes.io/managed-by"
#define MANAGED_BY "ipallocator.k8s.io"
#define READY_MESSAGE "Kubernetes Service CIDR is ready"
#define BLOCKED_MESSAGE "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
/* API servers that have not heard of the deletion may still give out an address meanwhile. */
#define GRACE_SECONDS 10

/* ---- which ranges hold what ---- */

static bool cidr_has_address(const struct networking_v1_service_cidr *cidr, const char *ip)
{
	struct ip_range range;
	for (uint32_t i = 0; i < cidr->spec.cidrs.len; i++)
		if (ip_range_parse(cidr->spec.cidrs.items[i], &range) == 0 && ip_range_contains(&range, ip))
			return true;
	return false;
}

static bool cidr_covers(const struct networking_v1_service_cidr *cidr, const struct ip_range *inner)
{
	struct ip_range range;
	for (uint32_t i = 0; i < cidr->spec.cidrs.len; i++)
		if (ip_range_parse(cidr->spec.cidrs.items[i], &range) == 0 && ip_range_covers(&range, inner))
			return true;
	return false;
}

static bool overlap(const struct networking_v1_service_cidr *a, const struct networking_v1_service_cidr *b)
{
	struct ip_range range;
	for (uint32_t i = 0; i < a->spec.cidrs.len; i++)
		if (ip_range_parse(a->spec.cidrs.items[i], &range) == 0 && cidr_covers(b, &range))
			return true;
	for (uint32_t i = 0; i < b->spec.cidrs.len; i++)
		if (ip_range_parse(b->spec.cidrs.items[i], &range) == 0 && cidr_covers(a, &range))
			return true;
	return false;
}

/* Each of its ranges lies in one of another ServiceCIDR. */
static bool has_parents(const struct networking_v1_service_cidr *cidr, const struct informer_list *all)
{
	for (uint32_t i = 0; i < cidr->spec.cidrs.len; i++) {
		struct ip_range range;
		bool found = false;
		if (ip_range_parse(cidr->spec.cidrs.items[i], &range) < 0)
			continue;
		for (size_t n = 0; n < all->len && !found; n++)
			found = !str_equal(api_metadata(all->items[n])->name, cidr->metadata.name) && cidr_covers(all->items[n], &range);
		if (!found)
			return false;
	}
	return true;
}

static bool is_service_address(const struct networking_v1_ip_address *address)
{
	return str_equal(api_map_get(&address->metadata.labels, LABEL_MANAGED_BY), MANAGED_BY);
}

static bool may_go(struct reconciler *r, const struct networking_v1_service_cidr *cidr)
{
	autolist struct informer_list all = INFORMER_LIST_INIT;
	autolist struct informer_list addresses = INFORMER_LIST_INIT;
	world_list_all(r->world, CACHED_SERVICE_CIDRS, &all);
	if (has_parents(cidr, &all))
		return true;
	world_list_all(r->world, CACHED_IP_ADDRESSES, &addresses);
	for (size_t i = 0; i < addresses.len; i++) {
		const struct networking_v1_ip_address *address = addresses.items[i];
		bool elsewhere = false;
		if (!is_service_address(address) || !cidr_has_address(cidr, address->metadata.name))
			continue;
		for (size_t n = 0; n < all.len && !elsewhere; n++)
			elsewhere = !str_equal(api_metadata(all.items[n])->name, cidr->metadata.name) && cidr_has_address(all.items[n], address->metadata.name);
		if (!elsewhere)
			return false;
	}
	return true;
}

/* ---- writing ---- */

static int set_finalizer(struct reconciler *r, const struct networking_v1_service_cidr *cidr, bool wanted, struct error *err)
{
	if (api_string_list_has(&cidr->metadata.finalizers, FINALIZER) == wanted)
		return 0;
	autounref struct networking_v1_service_cidr *copy = api_copy(cidr);
	struct api_string_list *finalizers = &copy->metadata.finalizers;
	if (wanted)
		api_string_list_add(api_arena(copy), finalizers, FINALIZER);
	for (uint32_t i = 0; i < finalizers->len && !wanted;) {
		if (str_equal(finalizers->items[i], FINALIZER))
			api_list_remove(finalizers, i);
		else
			i++;
	}
	autoerror struct error failed = {0};
	int result = world_update(r->world, CACHED_SERVICE_CIDRS, copy, NULL, &failed);
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

static int set_ready(struct reconciler *r, const struct networking_v1_service_cidr *cidr, bool ready, struct error *err)
{
	const char *status = ready ? "True" : "False", *reason = ready ? "" : "Terminating", *message = ready ? READY_MESSAGE : BLOCKED_MESSAGE;
	for (uint32_t i = 0; i < cidr->status.conditions.len; i++) {
		const struct meta_v1_condition *is = &cidr->status.conditions.items[i];
		if (str_equal(is->type, "Ready") && str_equal(is->status, status) && str_equal(str_or(is->reason, ""), reason) && str_equal(is->message, message))
			return 0;
	}
	struct meta_v1_condition condition = {.type = "Ready", .status = status, .reason = reason, .message = message, .last_transition_time = api_time_now()};
	struct networking_v1_service_cidr_status wanted = {.conditions = {.items = &condition, .len = 1}};
	autoerror struct error failed = {0};
	int result = world_apply_status(r->world, CACHED_SERVICE_CIDRS, cidr->metadata.name, "service-cidr-controller", &networking_v1_service_cidr_status_type, &wanted, &failed);
	if (result && ready && !error_is(&failed, "Conflict"))
		reconciler_event(r, cidr, EVENT_WARNING, "KubernetesServiceCIDRError", "The ServiceCIDR Status can not be set to Ready=True");
	return result && error_is(&failed, "NotFound") ? 0 : error_move(err, &failed);
}

static int reconcile(struct reconciler *r, const char *ns, const char *name, struct error *err)
{
	autounref struct networking_v1_service_cidr *cidr = world_find(r->world, CACHED_SERVICE_CIDRS, NULL, name);
	if (!cidr)
		return 0;
	if (!cidr->metadata.deletion_timestamp.set) {
		int result = set_finalizer(r, cidr, true, err);
		/* The update has moved it on: its event brings us back for the status. */
		return result || !api_string_list_has(&cidr->metadata.finalizers, FINALIZER) ? result : set_ready(r, cidr, true, err);
	}
	if (!may_go(r, cidr))
		return set_ready(r, cidr, false, err);
	struct wall_time when = time_after(cidr->metadata.deletion_timestamp.t, GRACE_SECONDS);
	if (time_diff_ns(when, clock_wall()) > 0)
		return milliseconds_until(when);
	return set_finalizer(r, cidr, false, err);
}

/* ---- what wakes it ---- */

/* One that comes or goes may free others to go, or hold them. */
static void wake_overlapping(struct reconciler *r, const void *object)
{
	autolist struct informer_list all = INFORMER_LIST_INIT;
	reconciler_add(r, NULL, api_metadata(object)->name);
	world_list_all(r->world, CACHED_SERVICE_CIDRS, &all);
	for (size_t i = 0; i < all.len; i++)
		if (overlap(object, all.items[i]))
			reconciler_add(r, NULL, api_metadata(all.items[i])->name);
}

/* Only those on their way out care. */
static void wake_holders(struct reconciler *r, const void *object)
{
	autolist struct informer_list all = INFORMER_LIST_INIT;
	if (!is_service_address(object))
		return;
	world_list_all(r->world, CACHED_SERVICE_CIDRS, &all);
	for (size_t i = 0; i < all.len; i++)
		if (api_metadata(all.items[i])->deletion_timestamp.set && cidr_has_address(all.items[i], api_metadata(object)->name))
			reconciler_add(r, NULL, api_metadata(all.items[i])->name);
}

const struct controller service_cidr_controller = {
	.name = "service-cidr-controller",
	.queue = "ipaddresses",
	.account = "service-cidrs-controller",
	.workers = 5,
	.watches = (const struct controller_watch[]){{.what = CACHED_SERVICE_CIDRS, .wake = wake_overlapping}, {.what = CACHED_IP_ADDRESSES, .wake = wake_holders}, {.what = CACHED_NONE}},
	.reconcile = reconcile,
};
