/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ADD, DEL and CHECK over a chain of plugins.
 *
 * The cache file <cache_dir>/<id>.json is written before the first plugin runs, with the configuration and arguments it
 * runs with, and again with the result: so whatever a crash leaves half made, DEL can undo.
 */
#include "kubelet/network/internal.h"

#include "common/base/file.h"
#include "common/base/log.h"
#include "common/base/process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_CACHE (MAX_CONF + 2 * NETWORK_MAX_RESULT)
#define BURST_BITS INT32_MAX
#define FORMER_CALLS_MS 5000

static const char *const default_bin_dirs[] = {"/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni", NULL};
static const char *const default_direct[] = {"10.0.0.0/8", NULL};

/*
 * Plugins of a kubelet that was killed may still be at work, and an ADD that ends after our DEL would leave what nobody removes. Each holds a
 * fifo open: once nobody has it open for writing, all of them are over.
 */
static int await_former_calls(struct network *network, struct error *err)
{
	autofree char *path = path_join(network->cache_dir, "calls", NULL);
	if (mkfifo(path, 0600) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make %s", path);
	autoclose int look = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char byte;
	struct pollfd p = {.fd = look, .events = POLLIN};
	if (look >= 0 && read(look, &byte, 1) < 0 && errno == EAGAIN)
		poll(&p, 1, FORMER_CALLS_MS);
	network->calls_fd = open(path, O_RDWR | O_CLOEXEC);
	return network->calls_fd < 0 ? error_set_errno(err, errno, "open %s", path) : 0;
}

/* Halves of entries, left by a kubelet that was killed while it wrote them. */
static void sweep_temporaries(struct network *network)
{
	DIR *dir = opendir(network->cache_dir);
	for (struct dirent *e; dir && (e = readdir(dir));)
		if (strstr(e->d_name, ".json.tmp"))
			unlinkat(dirfd(dir), e->d_name, 0);
	if (dir)
		closedir(dir);
}

static json_t *cache_read(const struct network *network, const char *id);
static int cache_path(const struct network *network, const char *id, char **ret, struct error *err);

static bool is_unknown(const char *owner, void *arg)
{
	autofree char *path = NULL;
	return cache_path(arg, owner, &path, NULL) < 0 || !file_exists(path);
}

/* What stood when the last kubelet ended: whose ports the host-port table is of, and addresses of sandboxes that nobody knows. */
static void recover(struct network *network)
{
	char **ids;
	if (network_cached_ids(network, &ids, NULL) < 0)
		return;
	for (size_t i = 0; ids[i]; i++) {
		autojson json_t *entry = cache_read(network, ids[i]);
		if (json_is_true(json_object_get(entry, "inProcess")) && json_object_get(entry, "result"))
			host_ports_note(network, ids[i], entry);
		free(ids[i]);
	}
	free(ids);
	int freed = addresses_take(network, is_unknown, network, NULL);
	if (freed > 0)
		log_info("addresses of pods that are gone are free again", LOG_INT("addresses", freed));
}

#define PODS_TABLE "coracle-pods"
#define PORTS_TABLE "coracle-host-ports"
#define MAX_NODE_CHARS 200 /* of the 255 of a table's name */

static char *table_name(const char *base, const char *node)
{
	if (str_empty(node))
		return xstrdup(base);
	char *name = xprintf("%s-%.*s", base, MAX_NODE_CHARS, node);
	for (char *p = name; *p; p++)
		if (!(*p >= 'a' && *p <= 'z') && !(*p >= 'A' && *p <= 'Z') && !(*p >= '0' && *p <= '9') && !strchr("-_.", *p))
			*p = '-';
	return name;
}

/* Of a kubelet that did not name them yet. */
static void drop_unnamed(const struct network_options *options)
{
	autoerror struct error err = {0};
	if (!str_empty(options->node) && (nft_delete_table(PODS_TABLE, &err) < 0 || nft_delete_table(PORTS_TABLE, &err) < 0))
		log_warning("tables of an earlier kubelet stay", LOG_ERR(&err));
}

int network_clean(struct network *network, struct error *err)
{
	int r = nft_delete_table(network->ports_table, err);
	return r < 0 ? r : nft_delete_table(network->pods_table, err);
}

static void free_entry(void *entry)
{
	json_decref(entry);
}

int network_new(const struct network_options *options, struct network **ret, struct error *err)
{
	struct network *network = xnew(struct network);
	network->conf_dir = xstrdup(options->conf_dir ? options->conf_dir : NETWORK_CONF_DIR);
	network->cache_dir = xstrdup(options->cache_dir ? options->cache_dir : NETWORK_CACHE_DIR);
	network->bridge = xstrdup(options->bridge ? options->bridge : "cni0");
	network->ipam_dir = options->ipam_dir ? xstrdup(options->ipam_dir) : NULL;
	network->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : 60000;
	network->pods_table = table_name(PODS_TABLE, options->node);
	network->ports_table = table_name(PORTS_TABLE, options->node);
	drop_unnamed(options);
	pthread_mutex_init(&network->conf_lock, NULL);
	pthread_mutex_init(&network->ports_lock, NULL);
	network->ports = MAP_INIT(free_entry);
	const char *const *dirs = options->bin_dirs ? options->bin_dirs : default_bin_dirs;
	autobuf struct buf path = BUF_INIT(1 << 16);
	for (; *dirs && network->bin_dir_count < MAX_BIN_DIRS; dirs++) {
		network->bin_dirs[network->bin_dir_count++] = xstrdup(*dirs);
		buf_printf(&path, "%s%s", path.len ? ":" : "", *dirs);
	}
	network->bin_path = path.len ? buf_take(&path) : xstrdup("");
	const char *const *direct = options->direct_cidrs ? options->direct_cidrs : default_direct;
	size_t count = 0;
	while (direct[count])
		count++;
	network->direct_cidrs = xcalloc(count + 1, sizeof(char *));
	for (size_t i = 0; i < count; i++)
		network->direct_cidrs[i] = xstrdup(direct[i]);
	network->calls_fd = -1;
	int r = file_mkdir_all(network->cache_dir, 0700, err);
	if (r == 0)
		r = await_former_calls(network, err);
	if (r == 0)
		sweep_temporaries(network);
	if (r == 0)
		recover(network);
	if (r < 0) {
		network_free(network);
		return r;
	}
	*ret = network;
	return 0;
}

struct network *network_free(struct network *network)
{
	if (!network)
		return NULL;
	free(network->conf_dir);
	free(network->cache_dir);
	free(network->bridge);
	free(network->ipam_dir);
	free(network->bin_path);
	free(network->pods_table);
	free(network->ports_table);
	free(network->masquerade_script);
	for (size_t i = 0; i < network->bin_dir_count; i++)
		free(network->bin_dirs[i]);
	for (size_t i = 0; network->direct_cidrs[i]; i++)
		free(network->direct_cidrs[i]);
	free(network->direct_cidrs);
	cleanup_close(&network->calls_fd);
	map_done(&network->ports);
	pthread_mutex_destroy(&network->conf_lock);
	pthread_mutex_destroy(&network->ports_lock);
	free(network);
	return NULL;
}

/* ---- one plugin ---- */

/* What a call hands to every plugin of the chain. */
struct call {
	struct network *network;
	const char *command; /* ADD, DEL, CHECK */
	const char *id;
	const char *netns;   /* "" where gone */
	const char *args;    /* CNI_ARGS */
	bool own;            /* the node's own network: done in process but for limits of bandwidth */
	json_t *conf;        /* the list */
	json_t *arguments;   /* {"portMappings": [...], "bandwidth": {...}} */
};

/* Arguments this plugin says it can take; NULL where none apply. */
static json_t *runtime_config(json_t *plugin, json_t *arguments)
{
	json_t *config = NULL, *enabled;
	const char *name;
	json_object_foreach(json_object_get(plugin, "capabilities"), name, enabled)
	{
		json_t *argument = json_object_get(arguments, name);
		if (!json_is_true(enabled) || !argument)
			continue;
		if (!config)
			config = json_object();
		json_object_set(config, name, argument);
	}
	return config;
}

/*
 * portmap and bandwidth do nothing but hand on what they got where they have no argument: a process each that every pod would pay
 * for. Bandwidth may have its limits in the configuration itself.
 */
static bool is_idle(json_t *plugin, json_t *config)
{
	const char *type = json_string_value(json_object_get(plugin, "type"));
	if (config)
		return false;
	return strcmp(type, "portmap") == 0 ||
	       (strcmp(type, "bandwidth") == 0 && !json_object_get(plugin, "ingressRate") && !json_object_get(plugin, "egressRate"));
}

/* The plugin's own words, where it answered with an error object. */
static int plugin_error(const char *type, const struct buf *out, struct error *from, struct error *err)
{
	autojson json_t *answer = out->len ? json_loadb(out->data, out->len, 0, NULL) : NULL;
	const char *message = json_string_value(json_object_get(answer, "msg"));
	const char *details = json_string_value(json_object_get(answer, "details"));
	if (str_empty(message)) {
		error_context(from, "plugin type=\"%s\" failed", type);
		return error_move(err, from);
	}
	return error_set(err, from->errnum ? from->errnum : EIO, "plugin type=\"%s\" failed: %s%s%s", type, message, str_empty(details) ? "" : ": ",
		str_empty(details) ? "" : details);
}

static int run_plugin(const struct call *call, const char *type, const char *input, struct buf *out, struct error *err)
{
	autofree char *program = conf_find_plugin(call->network, type);
	if (!program)
		return error_set(err, ENOENT, "failed to find plugin \"%s\" in path [%s]", type, call->network->bin_path);
	const char *path = getenv("PATH");
	autofree char *env_command = xprintf("CNI_COMMAND=%s", call->command), *env_id = xprintf("CNI_CONTAINERID=%s", call->id);
	autofree char *env_netns = xprintf("CNI_NETNS=%s", call->netns), *env_args = xprintf("CNI_ARGS=%s", call->args);
	autofree char *env_bin = xprintf("CNI_PATH=%s", call->network->bin_path);
	autofree char *env_path = xprintf("PATH=%s", path ? path : "/usr/sbin:/usr/bin:/sbin:/bin");
	const char *const envp[] = {env_command, env_id, env_netns, env_args, env_bin, env_path, "CNI_IFNAME=" POD_INTERFACE, NULL};
	const char *const argv[] = {program, NULL};
	struct process_options options = PROCESS_OPTIONS_INIT;
	options.argv = argv;
	options.envp = envp;
	options.keep_fds = &call->network->calls_fd;
	options.keep_fd_count = 1;
	options.die_with_parent = true;
	autobuf struct buf errout = BUF_INIT(1 << 16);
	autoerror struct error local = {0};
	int r = process_run(&options, input, strlen(input), out, &errout, call->network->timeout_ms, NULL, &local);
	if (r == -ETIMEDOUT)
		return error_set(err, ETIMEDOUT, "plugin type=\"%s\" did not answer %s within %d ms", type, call->command, call->network->timeout_ms);
	return r < 0 ? plugin_error(type, out, &local, err) : 0;
}

/* Runs plugin `index` of the chain. *result: what the one before gave, replaced by what this gave; may hold NULL. */
static int call_plugin(const struct call *call, size_t index, json_t **result, struct error *err)
{
	json_t *plugin = json_array_get(json_object_get(call->conf, "plugins"), index);
	json_t *config = runtime_config(plugin, call->arguments);
	if (is_idle(plugin, config) || (call->own && !str_equal(json_string_value(json_object_get(plugin, "type")), "bandwidth"))) {
		json_decref(config);
		return 0;
	}
	autojson json_t *input = json_copy(plugin);
	json_object_set(input, "name", json_object_get(call->conf, "name"));
	json_object_set(input, "cniVersion", json_object_get(call->conf, "cniVersion"));
	if (config)
		json_object_set_new(input, "runtimeConfig", config);
	if (*result)
		json_object_set(input, "prevResult", *result);
	autofree char *text = json_dumps(input, JSON_COMPACT);
	autobuf struct buf out = BUF_INIT(NETWORK_MAX_RESULT);
	int r = run_plugin(call, json_string_value(json_object_get(plugin, "type")), text, &out, err);
	if (r < 0 || strcmp(call->command, "ADD") != 0)
		return r;
	json_t *answer = out.len ? json_loadb(out.data, out.len, 0, NULL) : NULL;
	if (!json_is_object(answer)) {
		json_decref(answer);
		return error_set(err, EPROTO, "plugin type=\"%s\" answered ADD without a result", json_string_value(json_object_get(plugin, "type")));
	}
	json_decref(*result);
	*result = answer;
	return 0;
}

/* ---- the cache ---- */

/* IDs become file names. */
static int cache_path(const struct network *network, const char *id, char **ret, struct error *err)
{
	for (const char *c = id; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_')
			return error_set(err, EINVAL, "\"%s\" cannot be a container ID", id);
	if (!*id)
		return error_set(err, EINVAL, "container ID is empty");
	*ret = xprintf("%s/%s.json", network->cache_dir, id);
	return 0;
}

static json_t *make_entry(const struct call *call, json_t *result)
{
	json_t *entry = json_pack("{s:O,s:O,s:s,s:s}", "conf", call->conf, "arguments", call->arguments, "args", call->args, "netns", call->netns);
	if (call->own)
		json_object_set_new(entry, "inProcess", json_true());
	if (result)
		json_object_set(entry, "result", result);
	return entry;
}

static int cache_write(const struct call *call, json_t *entry, bool durable, struct error *err)
{
	autofree char *path = NULL;
	int r = cache_path(call->network, call->id, &path, err);
	if (r < 0)
		return r;
	autofree char *text = json_dumps(entry, JSON_COMPACT);
	if (durable)
		return file_write_durable(AT_FDCWD, path, text, strlen(text), 0600, err);
	/* The second write only adds what is nice to have for DEL; it must be whole, not durable. */
	autofree char *temporary = xprintf("%s.tmp", path);
	r = file_write(AT_FDCWD, temporary, text, strlen(text), 0600, err);
	if (r == 0 && rename(temporary, path) < 0)
		r = error_set_errno(err, errno, "rename %s", temporary);
	return r;
}

/* NULL where nothing is kept. */
static json_t *cache_read(const struct network *network, const char *id)
{
	autofree char *path = NULL, *text = NULL;
	size_t len;
	if (cache_path(network, id, &path, NULL) < 0 || file_read(AT_FDCWD, path, MAX_CACHE, &text, &len, NULL) < 0)
		return NULL;
	json_t *entry = json_loadb(text, len, 0, NULL);
	if (json_is_object(json_object_get(entry, "conf")))
		return entry;
	json_decref(entry);
	return NULL;
}

int network_cached_ids(struct network *network, char ***ret, struct error *err)
{
	DIR *dir = opendir(network->cache_dir);
	if (!dir)
		return error_set_errno(err, errno, "open %s", network->cache_dir);
	char **ids = xcalloc(1, sizeof(*ids));
	size_t count = 0;
	for (struct dirent *e; (e = readdir(dir));) {
		if (e->d_name[0] == '.' || !str_ends_with(e->d_name, ".json"))
			continue;
		ids = xreallocarray(ids, count + 2, sizeof(*ids));
		ids[count++] = xstrndup(e->d_name, strlen(e->d_name) - 5);
		ids[count] = NULL;
	}
	closedir(dir);
	*ret = ids;
	return 0;
}

/* ---- arguments ---- */

static json_t *port_mappings(const struct network_pod *pod)
{
	json_t *list = json_array();
	for (size_t i = 0; i < pod->port_count; i++) {
		const struct network_port *port = &pod->ports[i];
		if (!port->host_port)
			continue;
		char protocol[8];
		snprintf(protocol, sizeof(protocol), "%s", port->protocol ? port->protocol : "TCP");
		for (char *c = protocol; *c; c++)
			*c = (char)tolower((unsigned char)*c);
		json_t *row = json_pack("{s:i,s:i,s:s}", "hostPort", port->host_port, "containerPort", port->container_port, "protocol", protocol);
		if (!str_empty(port->host_ip))
			json_object_set_new(row, "hostIP", json_string(port->host_ip));
		json_array_append_new(list, row);
	}
	return list;
}

static json_t *make_arguments(const struct network_pod *pod)
{
	json_t *arguments = json_object();
	json_t *ports = port_mappings(pod);
	if (json_array_size(ports))
		json_object_set(arguments, "portMappings", ports);
	json_decref(ports);
	if (pod->ingress_bits_per_second || pod->egress_bits_per_second) {
		json_t *bandwidth = json_object();
		if (pod->ingress_bits_per_second) {
			json_object_set_new(bandwidth, "ingressRate", json_integer(pod->ingress_bits_per_second));
			json_object_set_new(bandwidth, "ingressBurst", json_integer(BURST_BITS));
		}
		if (pod->egress_bits_per_second) {
			json_object_set_new(bandwidth, "egressRate", json_integer(pod->egress_bits_per_second));
			json_object_set_new(bandwidth, "egressBurst", json_integer(BURST_BITS));
		}
		json_object_set_new(arguments, "bandwidth", bandwidth);
	}
	return arguments;
}

static char *make_args(const struct network_pod *pod)
{
	return xprintf("IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%s",
		str_or(pod->namespace_, ""), str_or(pod->name, ""), pod->id, str_or(pod->uid, ""));
}

/* ---- the chain ---- */

/* In reverse; all are asked, the first failure is told. */
static int delete_chain(const struct call *call, json_t *result, struct error *err)
{
	size_t count = json_array_size(json_object_get(call->conf, "plugins"));
	int r = 0;
	for (size_t i = count; i-- > 0;) {
		json_t *previous = json_incref(result);
		autoerror struct error local = {0};
		int one = call_plugin(call, i, &previous, &local);
		json_decref(previous);
		if (one < 0 && r == 0)
			r = error_move(err, &local);
	}
	return r;
}

/* Kernel and folder forget together what the own network set up, or the sweep at the start finds it: nothing there need be on disk first. */
static int note_beginning(const struct call *call, struct error *err)
{
	autojson json_t *entry = make_entry(call, NULL);
	return cache_write(call, entry, !call->own, err);
}

static int note_result(const struct call *call, json_t *result, struct error *err)
{
	autojson json_t *entry = make_entry(call, result);
	int r = cache_write(call, entry, false, err);
	return r == 0 && call->own ? host_ports_add(call->network, call->id, entry, err) : r;
}

int network_pod_add(struct network *network, const struct network_pod *pod, struct network_result *ret, struct error *err)
{
	autojson json_t *conf = NULL;
	bool own = false;
	int r = conf_load(network, &conf, &own, err);
	if (r < 0)
		return r;
	autojson json_t *arguments = make_arguments(pod);
	autofree char *args = make_args(pod);
	struct call call = {network, "ADD", pod->id, str_or(pod->netns, ""), args, own, conf, arguments};
	r = note_beginning(&call, err);
	if (r < 0)
		return r;
	json_t *result = NULL;
	size_t count = json_array_size(json_object_get(conf, "plugins"));
	if (own)
		r = in_process_add(network, conf, pod->id, call.netns, &result, err);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = call_plugin(&call, i, &result, err);
	struct network_result parsed = {0};
	if (r == 0) {
		autofree char *text = json_dumps(result, JSON_COMPACT);
		r = network_result_parse(str_or(text, ""), text ? strlen(text) : 0, &parsed, err);
	}
	if (r == 0)
		r = note_result(&call, result, err);
	json_decref(result);
	if (r < 0) {
		network_result_done(&parsed);
		network_pod_del(network, pod, NULL);
		return r;
	}
	*ret = parsed;
	return 0;
}

int network_pod_del(struct network *network, const struct network_pod *pod, struct error *err)
{
	autojson json_t *entry = cache_read(network, pod->id);
	if (!entry)
		return 0;
	struct call call = {network, "DEL", pod->id, str_or(pod->netns, ""), str_or(json_string_value(json_object_get(entry, "args")), ""),
		json_is_true(json_object_get(entry, "inProcess")), json_object_get(entry, "conf"), json_object_get(entry, "arguments")};
	if (*call.netns && access(call.netns, F_OK) < 0)
		call.netns = "";
	int r = delete_chain(&call, json_object_get(entry, "result"), err);
	if (r == 0 && call.own)
		r = in_process_del(network, pod->id, err);
	if (r < 0)
		return r;
	autofree char *path = NULL;
	r = cache_path(network, pod->id, &path, err);
	if (r == 0 && unlink(path) < 0 && errno != ENOENT)
		r = error_set_errno(err, errno, "remove %s", path);
	return r;
}

int network_pod_check(struct network *network, const struct network_pod *pod, struct error *err)
{
	autojson json_t *entry = cache_read(network, pod->id);
	json_t *result = json_object_get(entry, "result");
	if (!result)
		return error_set(err, ENOENT, "pod sandbox %s has no network", pod->id);
	json_t *conf = json_object_get(entry, "conf");
	const char *version = json_string_value(json_object_get(conf, "cniVersion"));
	if (json_is_true(json_object_get(conf, "disableCheck")) || strncmp(str_or(version, "0.2.0"), "0.", 2) == 0)
		if (str_equal(version, "0.4.0") == false || json_is_true(json_object_get(conf, "disableCheck")))
			return 0; /* CHECK came with 0.4.0 */
	struct call call = {network, "CHECK", pod->id, str_or(pod->netns, ""), str_or(json_string_value(json_object_get(entry, "args")), ""),
		json_is_true(json_object_get(entry, "inProcess")), conf, json_object_get(entry, "arguments")};
	int own = call.own ? in_process_check(network, result, pod->id, call.netns, err) : 0;
	if (own < 0)
		return own;
	size_t count = json_array_size(json_object_get(conf, "plugins"));
	for (size_t i = 0; i < count; i++) {
		json_t *previous = json_incref(result);
		int r = call_plugin(&call, i, &previous, err);
		json_decref(previous);
		if (r < 0)
			return r;
	}
	return 0;
}
