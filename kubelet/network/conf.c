/* SPDX-License-Identifier: Apache-2.0 */
/* Network configurations: finding and checking the folder's first, and writing our own default. */
#include "kubelet/network/internal.h"

#include "common/base/file.h"
#include "common/base/process.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* A plugin's type is a program's name, never a path. */
static bool valid_type(const char *type)
{
	return !str_empty(type) && !strchr(type, '/') && strcmp(type, "..") != 0 && strcmp(type, ".") != 0;
}

int conf_parse(const char *json, size_t len, json_t **ret, struct error *err)
{
	json_error_t where;
	autojson json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where);
	if (!json_is_object(root))
		return error_set(err, EINVAL, "not a JSON object: %s", root ? "other type" : where.text);
	autojson json_t *list = NULL;
	if (json_is_array(json_object_get(root, "plugins"))) {
		list = json_incref(root);
	} else { /* a single plugin's configuration: the old form */
		list = json_object();
		json_object_set(list, "name", json_object_get(root, "name"));
		if (json_object_get(root, "cniVersion"))
			json_object_set(list, "cniVersion", json_object_get(root, "cniVersion"));
		json_object_set_new(list, "plugins", json_pack("[O]", root));
	}
	json_t *plugins = json_object_get(list, "plugins"), *plugin;
	if (str_empty(json_string_value(json_object_get(list, "name"))))
		return error_set(err, EINVAL, "network has no name");
	if (json_array_size(plugins) == 0 || json_array_size(plugins) > MAX_PLUGINS)
		return error_set(err, EINVAL, "network has %zu plugins, want 1 to %d", json_array_size(plugins), MAX_PLUGINS);
	size_t i;
	json_array_foreach(plugins, i, plugin)
		if (!json_is_object(plugin) || !valid_type(json_string_value(json_object_get(plugin, "type"))))
			return error_set(err, EINVAL, "plugin %zu has no type", i);
	if (!json_is_string(json_object_get(list, "cniVersion")))
		json_object_set_new(list, "cniVersion", json_string("0.2.0"));
	*ret = take_ptr(list);
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int is_conf(const struct dirent *e)
{
	return e->d_name[0] != '.' && (str_ends_with(e->d_name, ".conflist") || str_ends_with(e->d_name, ".conf") || str_ends_with(e->d_name, ".json"));
}

static size_t list_confs(const char *folder, char ***ret)
{
	char **names = NULL;
	size_t count = 0;
	DIR *dir = opendir(folder);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		if (!is_conf(e))
			continue;
		names = xreallocarray(names, count + 1, sizeof(*names));
		names[count++] = xstrdup(e->d_name);
	}
	if (dir)
		closedir(dir);
	if (count)
		qsort(names, count, sizeof(*names), compare_names);
	*ret = names;
	return count;
}

static int load_one(const struct network *network, const char *name, json_t **ret, struct error *err)
{
	autofree char *path = path_join(network->conf_dir, name, NULL);
	autofree char *text = NULL;
	size_t len;
	int r = file_read(AT_FDCWD, path, MAX_CONF, &text, &len, err);
	if (r == 0)
		r = conf_parse(text, len, ret, err);
	return r < 0 ? error_context(err, "network configuration %s", path) : r;
}

int conf_load(const struct network *network, json_t **ret, bool *ret_own, struct error *err)
{
	char **names;
	size_t count = list_confs(network->conf_dir, &names);
	int r = error_set(err, ENOENT, "cni plugin not initialized");
	/* A broken file does not hide a good one after it; alone, it is what to tell. Ours never stands in for one of somebody else's. */
	for (size_t i = 0; r < 0 && i < count; i++) {
		bool own = strcmp(names[i], OWN_CONFLIST) == 0;
		autoerror struct error local = {0};
		if (own && count > 1)
			continue;
		r = load_one(network, names[i], ret, &local);
		if (r < 0)
			r = error_move(err, &local);
		else if (ret_own)
			*ret_own = own;
	}
	for (size_t i = 0; i < count; i++)
		free(names[i]);
	free(names);
	if (r == 0 && err)
		error_done(err);
	return r;
}

char *conf_find_plugin(const struct network *network, const char *type)
{
	for (size_t i = 0; i < network->bin_dir_count; i++) {
		char *path = path_join(network->bin_dirs[i], type, NULL);
		if (access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

int network_ready(struct network *network, struct error *err)
{
	autojson json_t *conf = NULL;
	autoerror struct error local = {0};
	bool own = false;
	int r = conf_load(network, &conf, &own, &local);
	json_t *plugin;
	size_t i;
	json_array_foreach(json_object_get(conf, "plugins"), i, plugin)
	{
		if (own)
			break; /* done in process */
		const char *type = json_string_value(json_object_get(plugin, "type"));
		autofree char *program = conf_find_plugin(network, type);
		if (!program && r == 0)
			r = error_set(&local, ENOENT, "cni plugin \"%s\" not found in %s", type, network->bin_path);
	}
	if (r == 0)
		return 0;
	return error_set(err, -r,
		"container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: %s",
		error_message(&local));
}

/* ---- the default ---- */

static bool is_ipv6(const char *cidr)
{
	return strchr(cidr, ':') != NULL;
}

static int check_cidr(const char *cidr, struct error *err)
{
	uint8_t raw[16];
	const char *slash = strchr(cidr, '/');
	int64_t prefix;
	autofree char *address = xstrndup(cidr, slash ? (size_t)(slash - cidr) : strlen(cidr));
	bool ok = slash && inet_pton(is_ipv6(cidr) ? AF_INET6 : AF_INET, address, raw) == 1 &&
		  str_to_int64(slash + 1, 0, is_ipv6(cidr) ? 128 : 32, &prefix);
	return ok ? 0 : error_set(err, EINVAL, "pod CIDR \"%s\" is not one", cidr);
}

static json_t *default_conf(const struct network *network, const char *const *cidrs, size_t count)
{
	json_t *ranges = json_array(), *ipam;
	for (size_t i = 0; i < count; i++)
		json_array_append_new(ranges, json_pack("[{s:s}]", "subnet", cidrs[i]));
	ipam = json_pack("{s:s,s:o}", "type", "host-local", "ranges", ranges);
	if (network->ipam_dir)
		json_object_set_new(ipam, "dataDir", json_string(network->ipam_dir));
	json_t *bridge = json_pack("{s:s,s:s,s:b,s:b,s:b,s:b,s:o}", "type", "bridge", "bridge", network->bridge, "isGateway", 1,
		"isDefaultGateway", 1, "ipMasq", 0, "hairpinMode", 1, "ipam", ipam);
	json_t *portmap = json_pack("{s:s,s:b,s:{s:b}}", "type", "portmap", "snat", 1, "capabilities", "portMappings", 1);
	json_t *bandwidth = json_pack("{s:s,s:{s:b}}", "type", "bandwidth", "capabilities", "bandwidth", 1);
	return json_pack("{s:s,s:s,s:[o,o,o]}", "cniVersion", "1.0.0", "name", OWN_NAME, "plugins", bridge, portmap, bandwidth);
}

/*
 * An answer between two pods of this bridge must pass the host's connection tracking, or the translation of a Service's address is not
 * undone: the bridge would hand it over below IP.
 */
static void track_bridged(void)
{
	static const char *const files[] = {"/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"};
	if (!file_exists(files[0])) {
		const char *const argv[] = {"modprobe", "br_netfilter", NULL};
		struct process_options options = PROCESS_OPTIONS_INIT;
		options.argv = argv;
		autobuf struct buf out = BUF_INIT(4096), errout = BUF_INIT(4096);
		process_run(&options, NULL, 0, &out, &errout, 5000, NULL, NULL);
	}
	for (size_t i = 0; i < array_len(files); i++)
		file_write(AT_FDCWD, files[i], "1", 1, 0, NULL); /* a kernel without it, or a read-only /proc: nothing to be done */
}

int network_set_pod_cidrs(struct network *network, const char *const *cidrs, size_t count, struct error *err)
{
	if (count == 0)
		return error_set(err, EINVAL, "no pod CIDR");
	for (size_t i = 0; i < count; i++) {
		int r = check_cidr(cidrs[i], err);
		if (r < 0)
			return r;
	}
	char **names;
	bool others = false;
	size_t found = list_confs(network->conf_dir, &names);
	for (size_t i = 0; i < found; i++) {
		others = others || strcmp(names[i], OWN_CONFLIST) != 0;
		free(names[i]);
	}
	free(names);
	if (others)
		return 0; /* somebody else's network: his to configure */

	autojson json_t *conf = default_conf(network, cidrs, count);
	autofree char *text = json_dumps(conf, JSON_INDENT(2));
	autofree char *path = path_join(network->conf_dir, OWN_CONFLIST, NULL);
	autofree char *now = NULL;
	size_t len;
	pthread_mutex_lock(&network->conf_lock);
	int r = 0;
	if (file_read(AT_FDCWD, path, MAX_CONF, &now, &len, NULL) < 0 || !str_equal(now, text)) {
		r = file_mkdir_all(network->conf_dir, 0755, err);
		if (r == 0)
			r = file_write_durable(AT_FDCWD, path, text, strlen(text), 0644, err);
	}
	if (r == 0)
		r = masquerade_set(network, cidrs, count, err);
	if (r > 0)
		track_bridged();
	pthread_mutex_unlock(&network->conf_lock);
	return r < 0 ? r : host_ports_keep(network, err);
}
