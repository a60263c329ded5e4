/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plugins as tables: nodes and the pods on them, a pod to place, and the nodes that can take it. Nodes and pods are lines of words:
 *
 *	n1 cpu=4 memory=8Gi pods=10 example.com/foo=2 label=zone:a taint=key:value:NoSchedule image=web:700 unschedulable
 *	p1 on=n1 cpu=100m memory=1Gi label=app:web ns=other port=8080 ip=10.0.0.1 protocol=UDP owner=u1 going
 *	p2 on=n1 apart=app:web/zone            (required anti-affinity: no pods of these labels in its zone)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/base/buf.h"
#include "scheduler/framework.h"

#include <stdio.h>

struct row {
	const char *name;
	const char *nodes, *pods;
	const char *labels, *spec; /* JSON of the pod to place, without braces */
	const char *fits;          /* names of nodes, in order; "" none */
	const char *best;          /* one of these is chosen; NULL: any of those that fit */
	const char *why;           /* a part of the explanation; NULL: not asked */
	uint32_t helped_by;        /* events that are among those that may help; 0: not asked */
};

static struct cluster cluster;

/* ---- worlds from words ---- */

static char *split(char *word)
{
	char *value = strchr(word, '=');
	if (value)
		*value++ = '\0';
	return value;
}

static void set_label(struct arena *arena, struct api_string_map *labels, char *text)
{
	char *colon = strchr(text, ':');
	assert_non_null(colon);
	*colon = '\0';
	api_map_set(arena, labels, text, colon + 1);
}

static struct quantity quantity_of_text(const char *text)
{
	struct quantity q;
	assert_int_equal(quantity_parse(text, strlen(text), &q), 0);
	return q;
}

static void node_word(struct core_v1_node *node, char *word)
{
	struct arena *arena = api_arena(node);
	char *value = split(word), *rest = NULL;
	if (str_equal(word, "unschedulable")) {
		node->spec.unschedulable = true;
	} else if (str_equal(word, "label")) {
		set_label(arena, &node->metadata.labels, value);
	} else if (str_equal(word, "taint")) {
		struct core_v1_taint *taint = api_list_add(arena, &node->spec.taints);
		taint->key = arena_strdup(arena, strtok_r(value, ":", &rest));
		taint->value = arena_strdup(arena, strtok_r(NULL, ":", &rest));
		taint->effect = arena_strdup(arena, strtok_r(NULL, ":", &rest));
	} else if (str_equal(word, "image")) {
		struct core_v1_container_image *image = api_list_add(arena, &node->status.images);
		char *size = strrchr(value, ':');
		*size++ = '\0';
		api_string_list_add(arena, &image->names, arena_strdup(arena, value));
		image->size_bytes = strtoll(size, NULL, 10) << 20;
	} else {
		api_quantity_set(arena, &node->status.allocatable, word, quantity_of_text(value));
	}
}

static void add_node(char *line)
{
	char *rest = NULL, *word = strtok_r(line, " ", &rest);
	if (!word)
		return;
	autounref struct core_v1_node *node = api_new_of(core_v1_node);
	node->metadata.name = arena_strdup(api_arena(node), word);
	api_map_set(api_arena(node), &node->metadata.labels, "kubernetes.io/hostname", word);
	api_quantity_set(api_arena(node), &node->status.allocatable, "cpu", quantity_of_text("4"));
	api_quantity_set(api_arena(node), &node->status.allocatable, "memory", quantity_of_text("8Gi"));
	api_quantity_set(api_arena(node), &node->status.allocatable, "pods", quantity_of_text("110"));
	while ((word = strtok_r(NULL, " ", &rest)))
		node_word(node, word);
	cluster_set_node(&cluster, node);
}

static void keep_apart(struct core_v1_pod *pod, char *value)
{
	struct arena *arena = api_arena(pod);
	char *slash = strchr(value, '/');
	*slash++ = '\0';
	pod->spec.affinity = arena_new_type(arena, struct core_v1_affinity);
	pod->spec.affinity->pod_anti_affinity = arena_new_type(arena, struct core_v1_pod_anti_affinity);
	struct core_v1_pod_affinity_term *term = api_list_add(arena, &pod->spec.affinity->pod_anti_affinity->required_during_scheduling_ignored_during_execution);
	term->topology_key = arena_strdup(arena, slash);
	term->label_selector = arena_new_type(arena, struct meta_v1_label_selector);
	set_label(arena, &term->label_selector->match_labels, value);
}

static const char *pod_word(struct core_v1_pod *pod, char *word, const char *node)
{
	struct arena *arena = api_arena(pod);
	struct core_v1_container *container = &pod->spec.containers.items[0];
	struct core_v1_container_port *port = container->ports.items;
	char *value = split(word);
	if (str_equal(word, "on")) {
		return pod->spec.node_name = arena_strdup(arena, value);
	} else if (str_equal(word, "label")) {
		set_label(arena, &pod->metadata.labels, value);
	} else if (str_equal(word, "ns")) {
		pod->metadata.namespace = arena_strdup(arena, value);
	} else if (str_equal(word, "port")) {
		port = api_list_add(arena, &container->ports);
		port->host_port = (int32_t)strtol(value, NULL, 10);
	} else if (str_equal(word, "ip")) {
		port->host_ip = arena_strdup(arena, value);
	} else if (str_equal(word, "protocol")) {
		port->protocol = arena_strdup(arena, value);
	} else if (str_equal(word, "owner")) {
		struct meta_v1_owner_reference *owner = api_list_add(arena, &pod->metadata.owner_references);
		owner->uid = arena_strdup(arena, value);
		owner->controller = api_bool(arena, true);
	} else if (str_equal(word, "apart")) {
		keep_apart(pod, value);
	} else if (str_equal(word, "going")) {
		pod->metadata.deletion_timestamp = api_time_now();
	} else {
		api_quantity_set(arena, &container->resources.requests, word, quantity_of_text(value));
	}
	return node;
}

static void add_pod(char *line)
{
	char *rest = NULL, *word = strtok_r(line, " ", &rest);
	const char *node = NULL;
	if (!word)
		return;
	autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
	pod->metadata.name = arena_strdup(api_arena(pod), word);
	pod->metadata.namespace = "default";
	((struct core_v1_container *)api_list_add(api_arena(pod), &pod->spec.containers))->name = "c";
	while ((word = strtok_r(NULL, " ", &rest)))
		node = pod_word(pod, word, node);
	cluster_add_pod(&cluster, pod, node, false);
}

static void each_line(const char *text, void (*add)(char *line))
{
	autofree char *copy = xstrdup(str_or(text, ""));
	char *rest = NULL;
	for (char *line = strtok_r(copy, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
		add(line);
}

static struct core_v1_pod *pod_to_place(const struct row *row)
{
	autofree char *json = xprintf("{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"new\",\"namespace\":\"default\",\"labels\":{%s}},\"spec\":{%s%s}}", str_or(row->labels, ""),
		strstr(str_or(row->spec, ""), "\"containers\"") ? "" : str_empty(row->spec) ? "\"containers\":[{\"name\":\"c\",\"image\":\"web\"}]" : "\"containers\":[{\"name\":\"c\",\"image\":\"web\"}],", str_or(row->spec, ""));
	struct error err = {0};
	void *pod;
	if (api_decode_json_any(json, strlen(json), NULL, &pod, &err))
		fail_msg("%s: %s", row->name, error_message(&err));
	api_default(pod);
	return pod;
}

static void play(const struct row *row)
{
	print_message("  %s\n", row->name);
	cluster_init(&cluster);
	each_line(row->nodes, add_node);
	each_line(row->pods, add_pod);
	autounref struct core_v1_pod *pod = pod_to_place(row);
	struct pod_facts *facts = pod_facts_new(&cluster, pod);
	autoarena struct arena *arena = arena_new();
	struct attempt attempt = {.cluster = &cluster, .pod = facts, .arena = arena};
	uint32_t chosen = attempt_run(&attempt);
	autobuf struct buf fits = BUF_INIT(1 << 16);
	buf_append_str(&fits, "");
	cluster_each_row (r, &cluster)
		if (!attempt.reasons[r])
			buf_printf(&fits, "%s%s", fits.len ? " " : "", cluster.rows[r].node->metadata.name);
	if (!str_equal(fits.data, row->fits))
		fail_msg("%s: fits \"%s\": %s", row->name, str_or(fits.data, ""), attempt_explain(&attempt));
	assert_int_equal(chosen == NO_NODE, str_empty(row->fits));
	const char *name = chosen == NO_NODE ? "" : cluster.rows[chosen].node->metadata.name;
	autofree char *best = xprintf(" %s ", str_or(row->best, row->fits)), *word = xprintf(" %s ", name);
	if (chosen != NO_NODE && !strstr(best, word))
		fail_msg("%s: chose %s", row->name, name);
	if (row->why && !strstr(attempt_explain(&attempt), row->why))
		fail_msg("%s: %s", row->name, attempt_explain(&attempt));
	if (row->helped_by)
		assert_int_equal(attempt_helping_events(&attempt) & row->helped_by, row->helped_by);
	pod_facts_free(facts);
	cluster_done(&cluster);
}

#define WANTS(list) "\"containers\":[{\"name\":\"c\",\"image\":\"web\",\"resources\":{\"requests\":{" list "}}}]"
#define PORT(port, more) "\"containers\":[{\"name\":\"c\",\"ports\":[{\"containerPort\":1,\"hostPort\":" port more "}]}]"
#define REQUIRED(terms) "\"affinity\":{\"nodeAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":{\"nodeSelectorTerms\":[" terms "]}}}"
#define EXPRESSION(key, operator, values) "{\"matchExpressions\":[{\"key\":\"" key "\",\"operator\":\"" operator "\",\"values\":[" values "]}]}"
#define TERM(labels, topology, more) "{\"labelSelector\":{\"matchLabels\":{" labels "}},\"topologyKey\":\"" topology "\"" more "}"
#define TOGETHER(term) "\"affinity\":{\"podAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[" term "]}}"
#define APART(term) "\"affinity\":{\"podAntiAffinity\":{\"requiredDuringSchedulingIgnoredDuringExecution\":[" term "]}}"
#define SPREAD(skew, key, unsatisfiable, more) "\"topologySpreadConstraints\":[{\"maxSkew\":" skew ",\"topologyKey\":\"" key "\",\"whenUnsatisfiable\":\"" unsatisfiable "\",\"labelSelector\":{\"matchLabels\":{\"app\":\"web\"}}" more "}]"
#define WEB "\"app\":\"web\""
#define ZONES "n1 label=zone:a\nn2 label=zone:a\nn3 label=zone:b"

static const struct row rows[] = {
	{.name = "no node", .fits = "", .why = "no nodes available to schedule pods"},
	{.name = "any node", .nodes = "n1\nn2", .fits = "n1 n2"},

	/* NodeUnschedulable, NodeName */
	{.name = "a cordoned node", .nodes = "n1 unschedulable\nn2", .fits = "n2"},
	{.name = "cordons are told", .nodes = "n1 unschedulable", .fits = "", .why = "1 node(s) were unschedulable", .helped_by = EVENT_NODE_TAINT},
	{.name = "a cordon may be tolerated", .nodes = "n1 unschedulable", .spec = "\"tolerations\":[{\"key\":\"node.kubernetes.io/unschedulable\",\"operator\":\"Exists\"}]", .fits = "n1"},

	/* TaintToleration */
	{.name = "a taint", .nodes = "n1 taint=k:v:NoSchedule\nn2 taint=k:v:NoExecute\nn3 taint=k:v:PreferNoSchedule", .fits = "n3"},
	{.name = "taints are told", .nodes = "n1 taint=k:v:NoSchedule", .fits = "", .why = "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}.", .helped_by = EVENT_NODE_TAINT},
	{.name = "tolerated by value", .nodes = "n1 taint=k:v:NoSchedule\nn2 taint=k:w:NoSchedule", .spec = "\"tolerations\":[{\"key\":\"k\",\"value\":\"v\"}]", .fits = "n1"},
	{.name = "tolerated by key", .nodes = "n1 taint=k:v:NoSchedule\nn2 taint=l:v:NoSchedule", .spec = "\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\"}]", .fits = "n1"},
	{.name = "tolerated whatever it is", .nodes = "n1 taint=k:v:NoSchedule\nn2 taint=l:v:NoExecute", .spec = "\"tolerations\":[{\"operator\":\"Exists\"}]", .fits = "n1 n2"},
	{.name = "only of one effect", .nodes = "n1 taint=k:v:NoSchedule\nn2 taint=k:v:NoExecute", .spec = "\"tolerations\":[{\"key\":\"k\",\"operator\":\"Exists\",\"effect\":\"NoExecute\"}]", .fits = "n2"},
	{.name = "those that would rather not come last", .nodes = "n1 taint=k:v:PreferNoSchedule\nn2", .fits = "n1 n2", .best = "n2"},

	/* NodeAffinity */
	{.name = "a node selector", .nodes = ZONES, .spec = "\"nodeSelector\":{\"zone\":\"b\"}", .fits = "n3"},
	{.name = "selectors are told", .nodes = ZONES, .spec = "\"nodeSelector\":{\"zone\":\"c\"}", .fits = "", .why = "3 node(s) didn't match Pod's node affinity/selector", .helped_by = EVENT_NODE_LABEL},
	{.name = "In", .nodes = ZONES, .spec = REQUIRED(EXPRESSION("zone", "In", "\"b\",\"c\"")), .fits = "n3"},
	{.name = "NotIn", .nodes = ZONES "\nn4", .spec = REQUIRED(EXPRESSION("zone", "NotIn", "\"a\"")), .fits = "n3 n4"},
	{.name = "Exists", .nodes = ZONES "\nn4", .spec = REQUIRED(EXPRESSION("zone", "Exists", "")), .fits = "n1 n2 n3"},
	{.name = "DoesNotExist", .nodes = ZONES "\nn4", .spec = REQUIRED(EXPRESSION("zone", "DoesNotExist", "")), .fits = "n4"},
	{.name = "Gt", .nodes = "n1 label=gen:3\nn2 label=gen:7\nn3 label=gen:x\nn4", .spec = REQUIRED(EXPRESSION("gen", "Gt", "\"5\"")), .fits = "n2"},
	{.name = "Lt", .nodes = "n1 label=gen:3\nn2 label=gen:7", .spec = REQUIRED(EXPRESSION("gen", "Lt", "\"5\"")), .fits = "n1"},
	{.name = "one of several terms", .nodes = ZONES, .spec = REQUIRED(EXPRESSION("zone", "In", "\"b\"") ",{\"matchFields\":[{\"key\":\"metadata.name\",\"operator\":\"In\",\"values\":[\"n1\"]}]}"), .fits = "n1 n3"},
	{.name = "a term that says nothing selects nothing", .nodes = ZONES, .spec = REQUIRED("{}"), .fits = ""},
	{.name = "preferred ones come first", .nodes = ZONES, .spec = "\"affinity\":{\"nodeAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":50,\"preference\":" EXPRESSION("zone", "In", "\"b\"") "}]}}", .fits = "n1 n2 n3", .best = "n3"},

	/* NodePorts */
	{.name = "a port that is taken", .nodes = "n1\nn2", .pods = "p on=n1 port=80", .spec = PORT("80", ""), .fits = "n2"},
	{.name = "ports are told", .nodes = "n1", .pods = "p on=n1 port=80", .spec = PORT("80", ""), .fits = "", .why = "1 node(s) didn't have free ports for the requested pod ports", .helped_by = EVENT_POD_DELETE},
	{.name = "another protocol", .nodes = "n1", .pods = "p on=n1 port=80 protocol=UDP", .spec = PORT("80", ""), .fits = "n1"},
	{.name = "another address", .nodes = "n1", .pods = "p on=n1 port=80 ip=10.0.0.1", .spec = PORT("80", ",\"hostIP\":\"10.0.0.2\""), .fits = "n1"},
	{.name = "one address and all", .nodes = "n1", .pods = "p on=n1 port=80 ip=10.0.0.1", .spec = PORT("80", ""), .fits = ""},
	{.name = "all and one address", .nodes = "n1", .pods = "p on=n1 port=80", .spec = PORT("80", ",\"hostIP\":\"10.0.0.2\""), .fits = ""},

	/* NodeResourcesFit */
	{.name = "enough cpu", .nodes = "n1 cpu=1\nn2 cpu=2", .pods = "p on=n2 cpu=500m", .spec = WANTS("\"cpu\":\"1500m\""), .fits = "n2"},
	{.name = "what lacks is told", .nodes = "n1 cpu=1", .spec = WANTS("\"cpu\":\"2\",\"memory\":\"16Gi\""), .fits = "", .why = "Insufficient cpu", .helped_by = EVENT_POD_DELETE | EVENT_NODE_ALLOCATABLE},
	{.name = "enough memory", .nodes = "n1 memory=1Gi\nn2 memory=4Gi", .spec = WANTS("\"memory\":\"2Gi\""), .fits = "n2"},
	{.name = "room for one pod more", .nodes = "n1 pods=1\nn2 pods=2", .pods = "p on=n1\nq on=n2", .fits = "n2"},
	{.name = "too many pods are told", .nodes = "n1 pods=1", .pods = "p on=n1", .fits = "", .why = "1 Too many pods"},
	{.name = "extended resources", .nodes = "n1\nn2 example.com/foo=2\nn3 example.com/foo=2", .pods = "p on=n3 example.com/foo=1", .spec = WANTS("\"example.com/foo\":\"2\""), .fits = "n2"},
	{.name = "the largest init container counts", .nodes = "n1 cpu=1\nn2 cpu=3", .spec = "\"initContainers\":[{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"2\"}}}]," WANTS("\"cpu\":\"500m\""), .fits = "n2"},
	{.name = "but is over when the others run", .nodes = "n1 cpu=2", .spec = "\"initContainers\":[{\"name\":\"i\",\"resources\":{\"requests\":{\"cpu\":\"1500m\"}}}]," WANTS("\"cpu\":\"1\""), .fits = "n1"},
	{.name = "a sidecar runs beside them", .nodes = "n1 cpu=2", .spec = "\"initContainers\":[{\"name\":\"i\",\"restartPolicy\":\"Always\",\"resources\":{\"requests\":{\"cpu\":\"1500m\"}}}]," WANTS("\"cpu\":\"1\""), .fits = ""},
	{.name = "overhead is added", .nodes = "n1 cpu=1", .spec = "\"overhead\":{\"cpu\":\"100m\"}," WANTS("\"cpu\":\"950m\""), .fits = ""},
	{.name = "the emptier node comes first", .nodes = "n1\nn2", .pods = "p on=n1 cpu=2 memory=4Gi", .spec = WANTS("\"cpu\":\"1\",\"memory\":\"2Gi\""), .fits = "n1 n2", .best = "n2"},
	{.name = "and the balanced one", .nodes = "n1\nn2", .pods = "p on=n1 cpu=3 memory=1Gi\nq on=n2 cpu=1500m memory=4Gi", .spec = WANTS("\"cpu\":\"100m\",\"memory\":\"200Mi\""), .fits = "n1 n2", .best = "n2"},

	/* InterPodAffinity */
	{.name = "with others", .nodes = ZONES, .pods = "p on=n1 label=app:db", .spec = TOGETHER(TERM("\"app\":\"db\"", "zone", "")), .fits = "n1 n2"},
	{.name = "with nobody there", .nodes = ZONES, .spec = TOGETHER(TERM("\"app\":\"db\"", "zone", "")), .fits = "", .why = "node(s) didn't match pod affinity rules", .helped_by = EVENT_POD_ADD},
	{.name = "the first of a flock starts it", .nodes = ZONES, .labels = WEB, .spec = TOGETHER(TERM(WEB, "zone", "")), .fits = "n1 n2 n3"},
	{.name = "others elsewhere do not count", .nodes = ZONES, .pods = "p on=n1 label=app:db ns=other", .spec = TOGETHER(TERM("\"app\":\"db\"", "zone", "")), .fits = ""},
	{.name = "unless they are meant", .nodes = ZONES, .pods = "p on=n3 label=app:db ns=other", .spec = TOGETHER(TERM("\"app\":\"db\"", "zone", ",\"namespaces\":[\"other\"]")), .fits = "n3"},
	{.name = "away from others", .nodes = ZONES, .pods = "p on=n1 label=app:db", .spec = APART(TERM("\"app\":\"db\"", "zone", "")), .fits = "n3", .why = "node(s) didn't match pod anti-affinity rules"},
	{.name = "others keep away from it", .nodes = ZONES, .pods = "p on=n3 apart=app:web/zone", .labels = WEB, .fits = "n1 n2", .why = "node(s) didn't satisfy existing pods anti-affinity rules"},
	{.name = "and not from what they do not mean", .nodes = ZONES, .pods = "p on=n3 apart=app:mail/zone", .labels = WEB, .fits = "n1 n2 n3"},
	{.name = "rather with others", .nodes = ZONES, .pods = "p on=n3 label=app:db", .spec = "\"affinity\":{\"podAffinity\":{\"preferredDuringSchedulingIgnoredDuringExecution\":[{\"weight\":100,\"podAffinityTerm\":" TERM("\"app\":\"db\"", "zone", "") "}]}}", .fits = "n1 n2 n3", .best = "n3"},

	/* PodTopologySpread */
	{.name = "spread evenly", .nodes = ZONES, .pods = "p on=n1 label=app:web", .labels = WEB, .spec = SPREAD("1", "zone", "DoNotSchedule", ""), .fits = "n3", .why = "node(s) didn't match pod topology spread constraints"},
	{.name = "within the skew", .nodes = ZONES, .pods = "p on=n1 label=app:web", .labels = WEB, .spec = SPREAD("2", "zone", "DoNotSchedule", ""), .fits = "n1 n2 n3"},
	{.name = "a node without the label is out", .nodes = ZONES "\nn4", .labels = WEB, .spec = SPREAD("1", "zone", "DoNotSchedule", ""), .fits = "n1 n2 n3", .why = "missing required label"},
	{.name = "going pods do not count", .nodes = ZONES, .pods = "p on=n1 label=app:web going", .labels = WEB, .spec = SPREAD("1", "zone", "DoNotSchedule", ""), .fits = "n1 n2 n3"},
	{.name = "too few domains: those that lack count as empty", .nodes = ZONES, .pods = "p on=n1 label=app:web\nq on=n3 label=app:web", .labels = WEB, .spec = SPREAD("1", "zone", "DoNotSchedule", ",\"minDomains\":3"), .fits = ""},
	{.name = "rather evenly", .nodes = ZONES, .pods = "p on=n1 label=app:web", .labels = WEB, .spec = SPREAD("1", "zone", "ScheduleAnyway", ""), .fits = "n1 n2 n3", .best = "n3"},

	/* ImageLocality */
	{.name = "where the image is", .nodes = "n1\nn2 image=docker.io/library/web:latest:900", .fits = "n1 n2", .best = "n2"},
};

static void plugins_judge_nodes(void **state)
{
	for (size_t i = 0; i < array_len(rows); i++)
		play(&rows[i]);
}

static void spread_pods(const char *nodes, size_t node_count, int pods)
{
	cluster_init(&cluster);
	each_line(nodes, add_node);
	autofree int *on = xcalloc(node_count, sizeof(int));
	for (int i = 0; i < pods; i++) {
		autofree char *name = xprintf("p%d", i);
		char owner[] = "owner=u1";
		autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
		pod->metadata.name = arena_strdup(api_arena(pod), name);
		pod->metadata.namespace = "default";
		((struct core_v1_container *)api_list_add(api_arena(pod), &pod->spec.containers))->name = "c";
		pod_word(pod, owner, NULL);
		struct pod_facts *facts = pod_facts_new(&cluster, pod);
		autoarena struct arena *arena = arena_new();
		struct attempt attempt = {.cluster = &cluster, .pod = facts, .arena = arena};
		uint32_t row = attempt_run(&attempt);
		assert_int_not_equal(row, NO_NODE);
		on[row]++;
		cluster_add_pod(&cluster, pod, cluster.rows[row].node->metadata.name, true);
		pod_facts_free(facts);
		/* One of the earlier ones goes now and then. */
		if (i % 10 == 9) {
			autofree char *key = xprintf("default/p%d", i - 5);
			on[cluster_find_pod(&cluster, key)->node]--;
			cluster_remove_pod(&cluster, key);
		}
	}
	/* The last to go may have left the node that had one less already. */
	for (size_t i = 1; i < node_count; i++)
		assert_in_range(on[i] - on[0] + 2, 0, 4);
	const struct owner_pods *owner = map_get(&cluster.owners, "u1");
	assert_int_equal(owner->by_row != NULL, pods >= OWNER_COUNTED_FROM);
	for (size_t i = 0; i < node_count && owner->by_row; i++)
		assert_int_equal(owner->by_row[i], on[i]);
	cluster_done(&cluster);
}

static void pods_of_one_controller_are_spread(void **state)
{
	spread_pods("n1\nn2\nn3", 3, 9);
	spread_pods("n1 label=topology.kubernetes.io/zone:a\nn2 label=topology.kubernetes.io/zone:a\nn3 label=topology.kubernetes.io/zone:b\nn4 label=topology.kubernetes.io/zone:b", 4, 250);
}

static void zones_share_alike(void **state)
{
	cluster_init(&cluster);
	each_line("n1 label=topology.kubernetes.io/zone:a\nn2 label=topology.kubernetes.io/zone:a\nn3 label=topology.kubernetes.io/zone:b", add_node);
	each_line("p on=n1 owner=u1\nq on=n1 owner=u2", add_pod);
	char owner[] = "owner=u1";
	autounref struct core_v1_pod *pod = api_new_of(core_v1_pod);
	pod->metadata.name = "new";
	pod->metadata.namespace = "default";
	((struct core_v1_container *)api_list_add(api_arena(pod), &pod->spec.containers))->name = "c";
	pod_word(pod, owner, NULL);
	struct pod_facts *facts = pod_facts_new(&cluster, pod);
	autoarena struct arena *arena = arena_new();
	struct attempt attempt = {.cluster = &cluster, .pod = facts, .arena = arena};
	assert_int_equal(attempt_run(&attempt), cluster_find_node(&cluster, "n3"));
	assert_true(attempt.scores[cluster_find_node(&cluster, "n2")] > attempt.scores[cluster_find_node(&cluster, "n1")]);
	pod_facts_free(facts);
	cluster_done(&cluster);
}

static struct core_v1_pod *small_pod(const char *name, const char *more)
{
	autofree char *words = xprintf("owner=u1 %s", more);
	struct core_v1_pod *pod = api_new_of(core_v1_pod);
	pod->metadata.name = arena_strdup(api_arena(pod), name);
	pod->metadata.namespace = "default";
	((struct core_v1_container *)api_list_add(api_arena(pod), &pod->spec.containers))->name = "c";
	for (char *save = NULL, *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save))
		pod_word(pod, word, NULL);
	return pod;
}

static const struct pod_facts *facts_of(const char *key)
{
	return cluster_find_pod(&cluster, key)->facts;
}

static void pods_that_are_alike_share_what_counts(void **state)
{
	cluster_init(&cluster);
	each_line("n1\nn2", add_node);
	autounref struct core_v1_pod *a = small_pod("a", "label=app:web"), *b = small_pod("b", "label=app:web"), *c = small_pod("c", "label=app:mail");
	assert_true(cluster_add_pod(&cluster, a, "n1", true));
	assert_true(cluster_add_pod(&cluster, b, "n2", false));
	assert_true(cluster_add_pod(&cluster, c, "n2", false));
	assert_ptr_equal(facts_of("default/a"), facts_of("default/b"));
	assert_ptr_not_equal(facts_of("default/a"), facts_of("default/c"));
	assert_int_equal(facts_of("default/a")->users, 2);
	assert_ptr_not_equal(facts_of("default/a")->pod, a); /* the object itself is not kept */
	/* Another status is of no concern; that it goes is, and so is another label. */
	autounref struct core_v1_pod *seen = api_copy(a), *going = api_copy(a), *relabeled = api_copy(b);
	seen->status.phase = "Running";
	assert_false(cluster_add_pod(&cluster, seen, "n1", false));
	assert_false(cluster_find_pod(&cluster, "default/a")->assumed);
	going->metadata.deletion_timestamp = api_time_now();
	assert_true(cluster_add_pod(&cluster, going, "n1", false));
	assert_true(cluster_find_pod(&cluster, "default/a")->going);
	api_map_set(api_arena(relabeled), &relabeled->metadata.labels, "app", "mail");
	assert_true(cluster_add_pod(&cluster, relabeled, "n2", false));
	assert_ptr_equal(facts_of("default/b"), facts_of("default/c"));
	assert_int_equal(facts_of("default/a")->users, 1);
	/* A node that goes and comes back finds its pods again. */
	cluster_remove_node(&cluster, "n2");
	assert_int_equal(cluster_find_pod(&cluster, "default/b")->node, NO_NODE);
	each_line("n2", add_node);
	assert_int_equal(cluster.rows[cluster_find_node(&cluster, "n2")].pod_count, 2);
	cluster_remove_pod(&cluster, "default/a");
	assert_int_equal(cluster.facts.len, 1);
	cluster_done(&cluster);
}

/* What is counted on a node is what stands there, whatever came and went in which order. */
static void counts_follow_pods_and_nodes(void **state)
{
	cluster_init(&cluster);
	each_line("a on=n1 cpu=1", add_pod); /* heard of before its node */
	each_line("n1\nn2", add_node);
	uint32_t n1 = cluster_find_node(&cluster, "n1");
	assert_int_equal(cluster.columns[RESOURCE_CPU].requested[n1], 1000);
	each_line("b on=n1 cpu=500m memory=1Gi", add_pod);
	assert_int_equal(cluster.columns[RESOURCE_CPU].requested[n1], 1500);
	assert_int_equal(cluster.columns[RESOURCE_PODS].requested[n1], 2);
	each_line("b on=n2 cpu=500m", add_pod); /* told anew, of another node */
	assert_int_equal(cluster.columns[RESOURCE_CPU].requested[n1], 1000);
	assert_int_equal(cluster.columns[RESOURCE_MEMORY].requested[n1], 0);
	cluster_remove_node(&cluster, "n1");
	assert_int_equal(cluster_find_node(&cluster, "n1"), NO_NODE);
	each_line("n1", add_node);
	n1 = cluster_find_node(&cluster, "n1");
	assert_int_equal(cluster.columns[RESOURCE_CPU].requested[n1], 1000);
	cluster_remove_pod(&cluster, "default/a");
	assert_int_equal(cluster.columns[RESOURCE_CPU].requested[n1], 0);
	assert_int_equal(cluster.rows[n1].pod_count, 0);
	for (int i = 0; i < 100; i++) {
		autofree char *line = xprintf("m%d cpu=%d", i, i + 1);
		add_node(line);
	}
	assert_int_equal(cluster.columns[RESOURCE_CPU].allocatable[cluster_find_node(&cluster, "m99")], 100000);
	assert_int_equal(cluster.columns[RESOURCE_CPU].requested[cluster_find_node(&cluster, "n2")], 500);
	cluster_done(&cluster);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plugins_judge_nodes),
		cmocka_unit_test(pods_of_one_controller_are_spread),
		cmocka_unit_test(zones_share_alike),
		cmocka_unit_test(pods_that_are_alike_share_what_counts),
		cmocka_unit_test(counts_follow_pods_and_nodes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
