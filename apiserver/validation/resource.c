/* SPDX-License-Identifier: Apache-2.0 */
/* Devices: classes, claims and their templates, slices. */
#include "apiserver/validation/validation.h"
#include "common/cel/device.h"
#include "api/resource_v1.h"

#include <arpa/inet.h>
#include <ctype.h>

/* Finds Duplicate at [i] in a list of structs by the text that `key` reads. */
#define check_twice(list, key, at, err) \
	do { \
		automap struct map twice_seen = MAP_INIT(NULL); \
		for (uint32_t i = 0; i < (list).len; i++) \
			if (seen_before(&twice_seen, str_or((list).items[i].key, ""))) \
				duplicate(err, &PATH_INDEX((at)->parent, (at)->name, i), (list).items[i].key); \
	} while (0)

/* Finds Duplicate at list[i].key. */
#define check_twice_in(list, member, name, key_name, at, err) \
	do { \
		automap struct map twice_seen = MAP_INIT(NULL); \
		for (uint32_t twice_i = 0; twice_i < (list).len; twice_i++) \
			if (seen_before(&twice_seen, (list).items[twice_i].member)) \
				duplicate(err, &PATH(&PATH_INDEX(at, name, twice_i), key_name), (list).items[twice_i].member); \
	} while (0)

/* ---- names ---- */

/* [driver domain/]c_identifier. */
static void check_device_key(const char *name, const struct path *at, struct error *err) {
	const char *slash = strchr(name, '/'), *id = slash ? slash + 1 : name;
	if (slash && strchr(id, '/'))
		return;
	if (slash == name) {
		invalid(err, at, "", "the domain must not be empty");
	} else if (slash) {
		autofree char *domain = xstrndup(name, (size_t)(slash - name));
		check_format(format_driver_name, domain, at, err);
	}
	if (slash && !*id) {
		invalid(err, at, "", "the name must not be empty");
		return;
	}
	if (strlen(id) > 32)
		too_long(err, at, 32);
	check_format(format_c_identifier, id, at, err);
}

static void check_attribute_name(const char *name, const struct path *at, struct error *err) {
	check_device_key(name, at, err);
	if (!strchr(name, '/'))
		invalid(err, at, name, "a fully qualified name must be a domain and a name separated by a slash");
}

static void check_pool_name(const char *name, const struct path *at, struct error *err) {
	if (str_empty(name)) {
		required(err, at, NULL);
		return;
	}
	if (strlen(name) > 253)
		too_long(err, at, 253);
	autofree char *copy = xstrdup(name);
	for (char *part = copy, *next; part; part = next) {
		if ((next = strchr(part, '/')))
			*next++ = '\0';
		check_format(format_dns_subdomain, part, at, err);
	}
}

/* A request of the claim, or request/subrequest. */
static bool names_request(const struct resource_v1_device_claim *claim, const char *name) {
	size_t length = strcspn(name, "/");
	/* Of those with one name the last counts. */
	for (uint32_t i = claim->requests.len; i-- > 0;) {
		const struct resource_v1_device_request *request = &claim->requests.items[i];
		if (strlen(str_or(request->name, "")) != length || strncmp(request->name, name, length) != 0)
			continue;
		if (!name[length])
			return true;
		for (uint32_t k = 0; k < request->first_available.len; k++)
			if (str_equal(request->first_available.items[k].name, name + length + 1))
				return true;
		return false;
	}
	return false;
}

static void check_request_name(const struct resource_v1_device_claim *claim, const char *name, const struct path *at, struct error *err) {
	const char *text = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'", *slash = strchr(name, '/');
	if (slash && strchr(slash + 1, '/')) {
		invalid(err, at, name, "%s", text);
		return;
	}
	autofree char *first = xstrndup(name, strcspn(name, "/"));
	check_format(format_dns_label, first, at, err);
	if (slash)
		check_format(format_dns_label, slash + 1, at, err);
	if (claim && !names_request(claim, name))
		invalid(err, at, name, "%s", text);
}

/* The claim around a place: its own for what stands in a spec, that of the whole object for what stands in a status. */
static const struct resource_v1_device_claim *claim_of(const struct path *at) {
	const struct resource_v1_device_claim *claim = path_above(at, &resource_v1_device_claim_type);
	const struct resource_v1_resource_claim *whole = path_above(at, &resource_v1_resource_claim_type);
	return claim ? claim : whole ? &whole->spec.devices : NULL;
}

static void check_request_names(const struct api_string_list *names, const struct path *at, struct error *err) {
	const struct resource_v1_device_claim *claim = claim_of(at);
	for (uint32_t i = 0; i < names->len && names->len <= 32; i++)
		check_request_name(claim, names->items[i], AT_INDEX("requests", i), err);
	check_distinct(names, "requests", at, err);
}

static void check_json_object(const struct api_raw *raw, size_t max, const struct path *at, struct error *err) {
	const char *text = str_or(raw->json, "");
	if (!raw->len || strncmp(text, "null", 4) == 0)
		required(err, at, NULL);
	else if (raw->len > max)
		too_long(err, at, max);
	else if (*text != '{')
		invalid(err, at, "<value omitted>", "must be a valid JSON object");
}

/* ---- claims ---- */

static void check_mode(const char *mode, int64_t count, const struct path *at, struct error *err) {
	if (str_equal(mode, "All") && count != 0)
		invalid_int(err, AT("count"), count, "must not be specified when allocationMode is 'All'");
	else if (str_equal(mode, "ExactCount") && count <= 0)
		invalid_int(err, AT("count"), count, "must be greater than zero");
}

CHECK(resource_v1_exact_device_request, request) {
	check_mode(request->allocation_mode, request->count, at, err);
}

CHECK(resource_v1_device_sub_request, request) {
	check_format(format_dns_label, str_or(request->name, ""), AT("name"), err);
	check_mode(request->allocation_mode, request->count, at, err);
}

CHECK(resource_v1_cel_device_selector, selector) {
	autocel struct cel_program *program = NULL;
	autoerror struct error why = {0};
	const char *text = str_or(selector->expression, "");
	if (strlen(text) > DEVICE_EXPRESSION_LENGTH)
		return;
	if (device_expression_compile(text, &program, &why) < 0)
		invalid(err, AT("expression"), text, "%s", error_message(&why));
	else if (cel_program_max_cost(program) > DEVICE_EXPRESSION_COST)
		forbidden(err, AT("expression"), "too complex, exceeds cost limit");
}

CHECK(resource_v1_device_request, request) {
	check_format(format_dns_label, str_or(request->name, ""), AT("name"), err);
	bool choices = request->first_available.len > 0;
	if (choices && request->exactly) {
		drop_beneath(AT("firstAvailable"), err);
		drop_beneath(AT("exactly"), err);
	}
	if (!choices && !request->exactly)
		required(err, at, "exactly one of `exactly` or `firstAvailable` is required");
	else if (choices && request->exactly)
		invalid_struct(err, at, NULL, "null", "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set");
	if (!request->exactly)
		check_twice(request->first_available, name, AT("firstAvailable"), err);
}

CHECK(resource_v1_device_claim, claim) {
	check_twice(claim->requests, name, AT("requests"), err);
}

CHECK(resource_v1_device_constraint, constraint) {
	check_request_names(&constraint->requests, at, err);
	if (constraint->match_attribute)
		check_attribute_name(constraint->match_attribute, AT("matchAttribute"), err);
	else if (constraint->distinct_attribute)
		check_attribute_name(constraint->distinct_attribute, AT("distinctAttribute"), err);
	else
		required(err, at, "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set");
}

CHECK(resource_v1_device_claim_configuration, config) {
	check_request_names(&config->requests, at, err);
}

CHECK(resource_v1_opaque_device_configuration, config) {
	check_json_object(&config->parameters, 10 * 1024, AT("parameters"), err);
}

CHECK(resource_v1_device_toleration, toleration) {
	if (str_equal(toleration->operator, "Exists") && !str_empty(toleration->value))
		invalid(err, AT("value"), toleration->value, "must be empty for operator `Exists`");
	else if (str_equal(toleration->operator, "Equal"))
		check_format(format_label_value, str_or(toleration->value, ""), AT("value"), err);
}

CHECK(resource_v1_device_class_spec, spec) {
	const char *name = spec->extended_resource_name;
	if (name && (!strchr(name, '/') || resource_is_native(name) || strncmp(name, "requests.", 9) == 0 || format_error(format_qualified_name, name)))
		invalid(err, AT("extendedResourceName"), name, "must be a valid extended resource name");
}

/* ---- what was allocated ---- */

static void check_conditions(const struct api_string_list *conditions, const struct api_string_list *failures, const struct path *at, struct error *err) {
	check_distinct(conditions, "bindingConditions", at, err);
	check_distinct(failures, "bindingFailureConditions", at, err);
	for (uint32_t i = 0; i < failures->len; i++)
		if (api_string_list_has(conditions, failures->items[i]))
			invalid(err, AT_INDEX("bindingFailureConditions", i), failures->items[i], "bindingFailureConditions must not overlap with bindingConditions");
	if (conditions->len && !failures->len)
		invalid_list(err, AT("bindingFailureConditions"), failures, "bindingFailureConditions are required to use bindingConditions");
	else if (failures->len && !conditions->len)
		invalid_list(err, AT("bindingConditions"), conditions, "bindingConditions are required to use bindingFailureConditions");
}

CHECK(resource_v1_device_request_allocation_result, result) {
	check_format(format_dns_label, str_or(result->device, ""), AT("device"), err);
	check_request_name(claim_of(at), str_or(result->request, ""), AT("request"), err);
	check_pool_name(result->pool, AT("pool"), err);
	check_conditions(&result->binding_conditions, &result->binding_failure_conditions, at, err);
}

CHECK(resource_v1_device_allocation_configuration, config) {
	check_request_names(&config->requests, at, err);
}

CHECK(resource_v1_network_device_data, data) {
	check_distinct(&data->ips, "ips", at, err);
	for (uint32_t i = 0; i < data->ips.len && data->ips.len <= 16; i++) {
		const char *ip = data->ips.items[i], *slash = strchr(ip, '/');
		autofree char *address = xstrndup(ip, strcspn(ip, "/"));
		unsigned char bytes[16];
		char form[INET6_ADDRSTRLEN];
		int family = is_ipv6_address(address) ? AF_INET6 : AF_INET;
		int64_t bits;
		if (!slash || !is_ip_address(address) || !str_to_int64(slash + 1, 0, family == AF_INET6 ? 128 : 32, &bits))
			invalid(err, AT_INDEX("ips", i), ip, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)");
		else if (inet_pton(family, address, bytes) == 1 && inet_ntop(family, bytes, form, sizeof(form)) && strcmp(form, address) != 0)
			invalid(err, AT_INDEX("ips", i), ip, "must be in canonical form (\"%s%s\")", form, slash);
	}
}

static char *device_id(const char *driver, const char *pool, const char *device, const char *share) {
	return xprintf("%s/%s/%s%s%s", str_or(driver, ""), str_or(pool, ""), str_or(device, ""), share ? "/" : "", str_or(share, ""));
}

CHECK(resource_v1_allocated_device_status, device) {
	const struct resource_v1_resource_claim_status *status = path_above(at, &resource_v1_resource_claim_status_type);
	check_pool_name(device->pool, AT("pool"), err);
	check_format(format_dns_label, str_or(device->device, ""), AT("device"), err);
	check_twice_in(device->conditions, type, "conditions", "type", at, err);
	if (device->data.len)
		check_json_object(&device->data, 10 * 1024, AT("data"), err);
	for (uint32_t i = 0; status && status->allocation && i < status->allocation->devices.results.len; i++) {
		const struct resource_v1_device_request_allocation_result *r = &status->allocation->devices.results.items[i];
		if (str_equal(r->driver, device->driver) && str_equal(r->pool, device->pool) && str_equal(r->device, device->device) && str_equal(str_or(r->share_id, ""), str_or(device->share_id, "")))
			return;
	}
	autofree char *id = device_id(device->driver, device->pool, device->device, device->share_id);
	invalid(err, at, id, "must be an allocated device in the claim");
}

static bool reserved_before(const struct resource_v1_resource_claim_status *old, const struct resource_v1_resource_claim_consumer_reference *user) {
	for (uint32_t i = 0; i < old->reserved_for.len; i++)
		if (api_equal(&resource_v1_resource_claim_consumer_reference_type, &old->reserved_for.items[i], user))
			return true;
	return false;
}

CHECK(resource_v1_resource_claim, claim) {
	/* What nobody may change is not judged again. */
	if (old)
		drop_beneath(AT("spec"), err);
}

CHECK(resource_v1_resource_claim_status, status) {
	const struct resource_v1_resource_claim *claim = c->object;
	check_twice(status->reserved_for, uid, AT("reservedFor"), err);
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < status->devices.len; i++) {
		const struct resource_v1_allocated_device_status *d = &status->devices.items[i];
		autofree char *id = device_id(d->driver, d->pool, d->device, d->share_id);
		if (seen_before(&seen, id))
			duplicate(err, AT_INDEX("devices", i), id);
	}
	if (status->reserved_for.len && !status->allocation)
		forbidden(err, AT("reservedFor"), "may not be specified when `allocated` is not set");
	for (uint32_t i = 0; old && status->allocation && claim->metadata.deletion_timestamp.set && i < status->reserved_for.len; i++)
		if (!reserved_before(old, &status->reserved_for.items[i])) {
			forbidden(err, AT("reservedFor"), "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set");
			break;
		}
	if (old && old->allocation && status->allocation)
		check_fixed(&resource_v1_resource_claim_status_type, status, old, "allocation", at, err);
}

/* ---- slices ---- */

/* The ways to say where devices are: the names of those set go to `set`, "`a`, `b`"; the count is returned. */
static unsigned check_places(const char *node, const char *empty, const struct core_v1_node_selector *selector, const bool *all, struct buf *set, const struct path *at, struct error *err) {
	unsigned count = 0;
	if (node && !*node)
		invalid(err, AT("nodeName"), node, "%s", empty);
	else if (node)
		check_format(format_dns_subdomain, node, AT("nodeName"), err), count++, buf_append_str(set, "`nodeName`");
	if (selector)
		buf_printf(set, "%s`nodeSelector`", count++ ? ", " : "");
	if (all && !*all)
		invalid_bool(err, AT("allNodes"), false, "must be either unset or set to true");
	else if (all)
		buf_printf(set, "%s`allNodes`", count++ ? ", " : "");
	return count;
}

static void check_policy_values(const struct resource_v1_device_capacity *capacity, const struct path *at, struct error *err) {
	const struct resource_v1_capacity_request_policy *policy = capacity->request_policy;
	struct path values = PATH(at, "validValues");
	char most[64];
	quantity_format(&capacity->value, most);
	if (policy->valid_values.len > 10) {
		too_many(err, &values, policy->valid_values.len, 10);
		return;
	}
	bool found = false;
	automap struct map seen = MAP_INIT(NULL);
	for (uint32_t i = 0; i < policy->valid_values.len; i++) {
		const struct quantity *value = &policy->valid_values.items[i];
		struct path here = PATH_INDEX(at, "validValues", i);
		char text[64], whole[32];
		quantity_format(value, text);
		/* Told apart by their whole parts. */
		snprintf(whole, sizeof(whole), "%lld", (long long)quantity_value(value));
		if (i && quantity_compare(value, value - 1) < 0)
			invalid_quantity(err, &here, value, "values must be sorted in ascending order");
		if (quantity_compare(value, &capacity->value) > 0)
			invalid_quantity(err, &here, value, "option is larger than capacity value: %s", most);
		found |= quantity_compare(value, &policy->default_) == 0;
		if (seen_before(&seen, whole))
			duplicate(err, &here, whole);
	}
	if (!found)
		invalid_quantity(err, &values, &policy->default_, "default value is not valid according to the requestPolicy");
}

static void check_policy_step(const struct quantity *value, const struct resource_v1_capacity_request_policy_range *range, const struct path *at, struct error *err) {
	__int128 from = value->nano - range->min.nano;
	if (range->step.nano && from % range->step.nano != 0) {
		char step[64], least[64];
		quantity_format(&range->step, step);
		quantity_format(&range->min, least);
		invalid_quantity(err, AT("step"), value, "value is not a multiple of a given step (%s) from (%s)", step, least);
	}
}

static void check_policy_range(const struct resource_v1_device_capacity *capacity, const struct path *at, struct error *err) {
	const struct resource_v1_capacity_request_policy_range *range = capacity->request_policy->valid_range;
	const struct quantity *def = &capacity->request_policy->default_, *min = &range->min, *max = range->max.set ? &range->max : NULL;
	if (!min->set) {
		required(err, AT("min"), "required when validRange is defined");
		return;
	}
	/* Each pair that must not fall: what is larger, than what, where, whose value is shown, and how it is said. */
	const struct {
		const struct quantity *left, *right, *shown, *told;
		const char *field, *text;
	} rules[] = {
		{min, &capacity->value, min, &capacity->value, "min", "min is larger than capacity value"},
		{min, def, def, min, "min", "default is less than min"},
		{min, max, min, max, "max", "min is larger than max"},
		{max, &capacity->value, max, &capacity->value, "max", "max is larger than capacity value"},
		{def, max, def, max, "max", "default is more than max"},
	};
	for (size_t i = 0; i < array_len(rules); i++)
		if (rules[i].left && rules[i].right && quantity_compare(rules[i].left, rules[i].right) > 0) {
			char text[64];
			quantity_format(rules[i].told, text);
			invalid_quantity(err, AT(rules[i].field), rules[i].shown, "%s: %s", rules[i].text, text);
		}
	if (range->step.set) {
		check_policy_step(def, range, at, err);
		if (max)
			check_policy_step(max, range, at, err);
	}
}

CHECK(resource_v1_device_capacity, capacity) {
	const struct resource_v1_device *device = path_above(at, &resource_v1_device_type);
	const struct resource_v1_capacity_request_policy *policy = capacity->request_policy;
	struct path here = PATH(at, "requestPolicy");
	if (!policy)
		return;
	bool shared = device && device->allow_multiple_allocations && *device->allow_multiple_allocations;
	if (!shared)
		forbidden(err, &here, "allowMultipleAllocations must be true");
	else if (policy->valid_values.len && policy->valid_range)
		forbidden(err, &here, "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the same time");
	else if (!policy->default_.set && (policy->valid_values.len || policy->valid_range))
		required(err, &PATH(&here, "default"), policy->valid_values.len ? "required when validValues is defined" : "required when validRange is defined");
	else if (policy->valid_values.len)
		check_policy_values(capacity, &here, err);
	else if (policy->valid_range)
		check_policy_range(capacity, &PATH(&here, "validRange"), err);
}

/* Identifiers between dots, of digits, letters and hyphens; `numbers`: those of digits only have no leading zero. Returns where they end. */
static const char *skip_identifiers(const char *p, bool numbers, unsigned *count) {
	for (*count = 0;; p++) {
		const char *from = p;
		while (isalnum((unsigned char)*p) || *p == '-')
			p++;
		size_t length = (size_t)(p - from);
		if (!length || (numbers && length > 1 && *from == '0' && strspn(from, "0123456789") >= length))
			return NULL;
		++*count;
		if (*p != '.')
			return p;
	}
}

static bool is_semver(const char *text) {
	unsigned count;
	size_t core = strcspn(text, "-+");
	autofree char *numbers = xstrndup(text, core);
	const char *end = skip_identifiers(numbers, true, &count), *p = text + core;
	if (!end || *end || count != 3 || strspn(numbers, "0123456789.") != core)
		return false;
	if (*p == '-' && !(p = skip_identifiers(p + 1, true, &count)))
		return false;
	if (*p == '+' && !(p = skip_identifiers(p + 1, false, &count)))
		return false;
	return !*p;
}

CHECK(resource_v1_device_attribute, attribute) {
	unsigned set = (attribute->int_ != NULL) + (attribute->bool_ != NULL) + (attribute->string != NULL) + (attribute->version != NULL) + (attribute->ints.len > 0) + (attribute->bools.len > 0) + (attribute->strings.len > 0) +
		(attribute->versions.len > 0);
	if (attribute->version && !is_semver(attribute->version))
		invalid(err, AT("version"), attribute->version, "must be a string compatible with semver.org spec 2.0.0");
	if (!set)
		invalid(err, at, "", "exactly one value must be specified");
	else if (set > 1)
		invalid_struct(err, at, &resource_v1_device_attribute_type, attribute, "exactly one value must be specified");
}

CHECK(resource_v1_device_taint, taint) {
	check_format(format_qualified_name, str_or(taint->key, ""), AT("key"), err);
}

static void check_counter_names(const struct resource_v1_counter_map *counters, const struct path *at, struct error *err) {
	for (uint32_t i = 0; i < counters->len && counters->len <= 32; i++)
		check_format(format_dns_label, counters->items[i].key, AT("counters"), err);
}

CHECK(resource_v1_counter_set, set) {
	check_counter_names(&set->counters, at, err);
}

CHECK(resource_v1_device_counter_consumption, consumption) {
	check_counter_names(&consumption->counters, at, err);
}

CHECK(resource_v1_device, device) {
	const struct resource_v1_resource_slice_spec *spec = path_above(at, &resource_v1_resource_slice_spec_type);
	bool each = spec && spec->per_device_node_selection && *spec->per_device_node_selection;
	size_t sizes = (size_t)device->attributes.len + device->capacity.len;
	check_format(format_dns_label, str_or(device->name, ""), AT("name"), err);
	if (sizes > 32)
		invalid_int(err, at, (int64_t)sizes, "the total number of attributes and capacities must not exceed 32");
	for (uint32_t i = 0; i < device->attributes.len; i++)
		check_device_key(device->attributes.items[i].key, AT("attributes"), err);
	for (uint32_t i = 0; i < device->capacity.len; i++)
		check_device_key(device->capacity.items[i].key, AT("capacity"), err);
	check_twice(device->consumes_counters, counter_set, AT("consumesCounters"), err);
	check_conditions(&device->binding_conditions, &device->binding_failure_conditions, at, err);
	if (!each)
		drop_beneath(AT("nodeSelector"), err);
	if (!each && (device->node_name || device->node_selector || device->all_nodes)) {
		invalid_struct(err, at, NULL, "null", "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec");
	} else if (each) {
		const char *text = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec";
		autobuf struct buf set = BUF_INIT(1024);
		unsigned places = check_places(device->node_name, "must not be empty", device->node_selector, device->all_nodes, &set, at, err);
		autofree char *shown = xprintf("{%s}", str_or(set.data, ""));
		if (!places)
			required(err, at, text);
		else if (places > 1)
			invalid(err, at, shown, "%s", text);
	}
}

CHECK(resource_v1_resource_pool, pool) {
	check_pool_name(pool->name, AT("name"), err);
	if (pool->resource_slice_count <= 0)
		invalid_int(err, AT("resourceSliceCount"), pool->resource_slice_count, "must be greater than zero");
	if (pool->generation < 0)
		invalid_int(err, AT("generation"), pool->generation, "must be greater than or equal to zero");
}

CHECK(resource_v1_resource_slice_spec, spec) {
	const char *text = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
	autobuf struct buf set = BUF_INIT(1024);
	unsigned places = check_places(spec->node_name, "must be either unset or set to a non-empty string", spec->node_selector, spec->all_nodes, &set, at, err);
	if (spec->node_selector && spec->node_selector->node_selector_terms.len != 1)
		invalid_plain(err, &PATH(AT("nodeSelector"), "nodeSelectorTerms"), "must have exactly one node selector term");
	if (spec->per_device_node_selection && !*spec->per_device_node_selection)
		invalid_bool(err, AT("perDeviceNodeSelection"), false, "must be either unset or set to true");
	else if (spec->per_device_node_selection)
		buf_printf(&set, "%s`perDeviceNodeSelection`", places++ ? ", " : "");
	autofree char *shown = xprintf("{%s}", str_or(set.data, ""));
	if (!places)
		required(err, at, text);
	else if (places > 1)
		invalid(err, at, shown, "%s, but multiple fields are set", text);
	/* A list that is there counts, if empty. */
	if (spec->shared_counters.items && spec->devices.items)
		invalid(err, at, "", "only one of `sharedCounters` or `devices` is allowed");
	size_t most = 128;
	for (uint32_t i = 0; i < spec->devices.len; i++)
		if (spec->devices.items[i].taints.len || spec->devices.items[i].consumes_counters.len)
			most = 64;
	if (spec->devices.len > most)
		too_many(err, AT("devices"), spec->devices.len, most);
	check_twice(spec->devices, name, AT("devices"), err);
	check_twice(spec->shared_counters, name, AT("sharedCounters"), err);
}

CHECK(resource_v1_resource_claim_template_spec, spec) {
	check_template_meta(&spec->metadata, AT("metadata"), err);
}

const struct checker checkers_resource[] = {
	ROW(resource_v1_resource_claim_template_spec),
	ROW(resource_v1_allocated_device_status),
	ROW(resource_v1_counter_set),
	ROW(resource_v1_device),
	ROW(resource_v1_device_allocation_configuration),
	ROW(resource_v1_device_attribute),
	ROW(resource_v1_device_capacity),
	ROW(resource_v1_device_claim),
	ROW(resource_v1_device_claim_configuration),
	ROW(resource_v1_device_class_spec),
	ROW(resource_v1_device_constraint),
	ROW(resource_v1_device_counter_consumption),
	ROW(resource_v1_cel_device_selector), ROW(resource_v1_device_request),
	ROW(resource_v1_device_request_allocation_result),
	ROW(resource_v1_device_sub_request),
	ROW(resource_v1_device_taint),
	ROW(resource_v1_device_toleration),
	ROW(resource_v1_exact_device_request),
	ROW(resource_v1_network_device_data),
	ROW(resource_v1_opaque_device_configuration),
	ROW(resource_v1_resource_claim), ROW(resource_v1_resource_claim_status),
	ROW(resource_v1_resource_pool),
	ROW(resource_v1_resource_slice_spec),
	{0},
};
