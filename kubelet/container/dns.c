/* SPDX-License-Identifier: Apache-2.0 */
#include "kubelet/container/dns.h"

static bool list_has(const char *const *list, size_t len, const char *s) {
	for (size_t i = 0; i < len; i++)
		if (str_equal(list[i], s))
			return true;
	return false;
}

bool dns_add_server(struct dns_config *config, const char *server) {
	if (list_has(config->servers, config->server_count, server))
		return true;
	if (config->server_count == DNS_MAX_NAMESERVERS)
		return false;
	config->servers[config->server_count++] = server;
	return true;
}

bool dns_add_search(struct dns_config *config, const char *search) {
	if (list_has(config->searches, config->search_count, search))
		return true;
	size_t chars = strlen(search);
	for (size_t i = 0; i < config->search_count; i++)
		chars += strlen(config->searches[i]) + 1;
	if (config->search_count == DNS_MAX_SEARCHES || chars > DNS_MAX_SEARCH_CHARS)
		return false;
	config->searches[config->search_count++] = search;
	return true;
}

bool dns_set_option(struct dns_config *config, struct arena *arena, const char *name, const char *value) {
	const char *text = value ? arena_printf(arena, "%s:%s", name, value) : arena_strdup(arena, name);
	size_t len = strlen(name);
	for (size_t i = 0; i < config->option_count; i++) {
		const char *have = config->options[i];
		if (strncmp(have, name, len) == 0 && (!have[len] || have[len] == ':')) {
			config->options[i] = text;
			return true;
		}
	}
	if (config->option_count == DNS_MAX_OPTIONS)
		return false;
	config->options[config->option_count++] = text;
	return true;
}

static void parse_line(char *line, struct arena *arena, struct dns_config *ret) {
	char *save = NULL;
	const char *keyword = strtok_r(line, " \t\r", &save);
	if (!keyword || *keyword == '#' || *keyword == ';')
		return;
	if (str_equal(keyword, "nameserver")) {
		const char *server = strtok_r(NULL, " \t\r", &save);
		if (server)
			dns_add_server(ret, arena_strdup(arena, server));
	} else if (str_equal(keyword, "search") || str_equal(keyword, "domain")) {
		/* The last search line wins, as the resolver has it. */
		ret->search_count = 0;
		memset(ret->searches, 0, sizeof(ret->searches));
		for (const char *s; (s = strtok_r(NULL, " \t\r", &save));)
			if (!str_equal(s, "."))
				dns_add_search(ret, arena_strdup(arena, s));
	} else if (str_equal(keyword, "options")) {
		for (const char *s; (s = strtok_r(NULL, " \t\r", &save));)
			if (ret->option_count < DNS_MAX_OPTIONS)
				ret->options[ret->option_count++] = arena_strdup(arena, s);
	}
}

void dns_parse_resolv_conf(const char *text, struct arena *arena, struct dns_config *ret) {
	char *copy = arena_strdup(arena, text), *save = NULL;
	*ret = (struct dns_config){0};
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		parse_line(line, arena, ret);
}

void dns_cluster_first(const char *const *cluster_servers, size_t count, const char *ns, const char *cluster_domain, const struct dns_config *host, struct arena *arena, struct dns_config *ret) {
	*ret = (struct dns_config){0};
	for (size_t i = 0; i < count; i++)
		dns_add_server(ret, cluster_servers[i]);
	if (!str_empty(cluster_domain)) {
		dns_add_search(ret, arena_printf(arena, "%s.svc.%s", ns, cluster_domain));
		dns_add_search(ret, arena_printf(arena, "svc.%s", cluster_domain));
		dns_add_search(ret, arena_strdup(arena, cluster_domain));
	}
	for (size_t i = 0; host && i < host->search_count; i++)
		dns_add_search(ret, host->searches[i]);
	dns_set_option(ret, arena, "ndots", "5");
}
