/* SPDX-License-Identifier: Apache-2.0 */
/* A pod's link by netlink: a veth pair, one end on the node's bridge, the other in the pod with its addresses and its way out. */
#include "kubelet/network/internal.h"

#include "common/base/file.h"
#include "common/base/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define MESSAGE_MAX 1024

struct talk {
	struct mnl_socket *socket;
	unsigned sequence;
	union {
		char bytes[MESSAGE_MAX];
		struct nlmsghdr header;
	} message;
	const char *what; /* of the message that is made: for errors */
};

static void talk_done(struct talk *talk)
{
	if (talk->socket)
		mnl_socket_close(talk->socket);
}

/* Speaks to the kernel of a pod's namespace, or the host's where netns is NULL. */
static int talk_open(struct talk *talk, const char *netns, struct error *err)
{
	int fd = netns_socket(netns, AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, err);
	if (fd < 0)
		return fd;
	talk->socket = mnl_socket_fdopen(fd);
	if (!talk->socket) {
		close(fd);
		return error_set(err, ENOMEM, "no netlink socket");
	}
	return mnl_socket_bind(talk->socket, 0, MNL_SOCKET_AUTOPID) < 0 ? error_set_errno(err, errno, "bind a netlink socket") : 0;
}

static struct nlmsghdr *begin(struct talk *talk, const char *what, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *header = mnl_nlmsg_put_header(talk->message.bytes);
	header->nlmsg_type = type;
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	header->nlmsg_seq = ++talk->sequence;
	talk->what = what;
	return header;
}

/* Sends what was begun and waits for the kernel's word. `fine`: an errno that is as good as success; 0: none. */
static int end(struct talk *talk, int fine, struct error *err)
{
	char answer[4096] __attribute__((aligned(8)));
	if (mnl_socket_sendto(talk->socket, &talk->message.header, talk->message.header.nlmsg_len) < 0)
		return error_set_errno(err, errno, "%s", talk->what);
	ssize_t n = mnl_socket_recvfrom(talk->socket, answer, sizeof(answer));
	if (n < 0 || mnl_cb_run(answer, (size_t)n, talk->sequence, mnl_socket_get_portid(talk->socket), NULL, NULL) < 0)
		return errno == fine ? 0 : error_set_errno(err, errno, "%s", talk->what);
	return 0;
}

static struct ifinfomsg *put_link(struct nlmsghdr *header, unsigned up)
{
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
	info->ifi_flags = info->ifi_change = up;
	return info;
}

static int family_of(const char *ip)
{
	return strchr(ip, ':') ? AF_INET6 : AF_INET;
}

static size_t put_ip(struct nlmsghdr *header, uint16_t type, const char *ip)
{
	uint8_t raw[16] = {0};
	size_t len = family_of(ip) == AF_INET ? 4 : 16;
	inet_pton(family_of(ip), ip, raw);
	mnl_attr_put(header, type, len, raw);
	return len;
}

static int add_address(struct talk *talk, int link, const struct pod_address *address, const char *ip, struct error *err)
{
	bool v6 = address->range.family == AF_INET6;
	struct nlmsghdr *header = begin(talk, "set an address", RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
	struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
	info->ifa_family = (uint8_t)address->range.family;
	info->ifa_prefixlen = (uint8_t)address->range.bits;
	info->ifa_index = (unsigned)link;
	put_ip(header, IFA_LOCAL, ip);
	put_ip(header, IFA_ADDRESS, ip);
	if (v6) {
		mnl_attr_put_u32(header, IFA_FLAGS, IFA_F_NODAD); /* given out once: nothing to ask for, and no second to wait */
	} else if (address->range.bits < 31) {
		uint8_t raw[4];
		memcpy(raw, address->range.base, sizeof(raw));
		for (unsigned bit = address->range.bits; bit < 32; bit++)
			raw[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		mnl_attr_put(header, IFA_BROADCAST, sizeof(raw), raw);
	}
	return end(talk, EEXIST, err);
}

static int add_default_route(struct talk *talk, int link, const struct pod_address *address, struct error *err)
{
	struct nlmsghdr *header = begin(talk, "set the default route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
	struct rtmsg *info = mnl_nlmsg_put_extra_header(header, sizeof(*info));
	info->rtm_family = (uint8_t)address->range.family;
	info->rtm_table = RT_TABLE_MAIN;
	info->rtm_protocol = RTPROT_BOOT;
	info->rtm_type = RTN_UNICAST;
	put_ip(header, RTA_GATEWAY, address->gateway);
	mnl_attr_put_u32(header, RTA_OIF, (uint32_t)link);
	return end(talk, EEXIST, err);
}

static int raise_link(struct talk *talk, const char *name, struct error *err)
{
	struct nlmsghdr *header = begin(talk, "bring up a link", RTM_NEWLINK, 0);
	put_link(header, IFF_UP);
	mnl_attr_put_strz(header, IFLA_IFNAME, name);
	return end(talk, 0, err);
}

/* ---- the bridge ---- */

static void want_setting(const char *path, const char *value)
{
	autofree char *now = NULL;
	size_t len;
	if (file_read(AT_FDCWD, path, 64, &now, &len, NULL) == 0 && strncmp(now, value, strlen(value)) != 0)
		file_write(AT_FDCWD, path, value, strlen(value), 0, NULL); /* a read-only /proc: nothing to be done */
}

static void set_of_link(const char *link, const char *family, const char *name, const char *value)
{
	autofree char *path = xprintf("/proc/sys/net/%s/conf/%s/%s", family, link, name);
	want_setting(path, value);
}

static int make_bridge(struct talk *talk, const char *name, struct error *err)
{
	/* An address of its own: else it takes the least of its ports', and neighbours lose it as pods come and go. */
	uint8_t mac[6] = {0x0a, 0x58};
	random_bytes(mac + 2, 4);
	struct nlmsghdr *header = begin(talk, "make the bridge of pods", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	put_link(header, 0);
	mnl_attr_put_strz(header, IFLA_IFNAME, name);
	mnl_attr_put(header, IFLA_ADDRESS, sizeof(mac), mac);
	struct nlattr *kind = mnl_attr_nest_start(header, IFLA_LINKINFO);
	mnl_attr_put_strz(header, IFLA_INFO_KIND, "bridge");
	mnl_attr_nest_end(header, kind);
	return end(talk, EEXIST, err);
}

/* Whatever is there already stays; what an administrator took away comes back with the next pod. */
static int ensure_bridge(struct talk *talk, const char *name, const struct pod_address *addresses, size_t count, struct error *err)
{
	int r = 0;
	if (!if_nametoindex(name)) {
		r = make_bridge(talk, name, err);
		if (r == 0)
			set_of_link(name, "ipv6", "accept_ra", "0"); /* its routes are ours to set */
	}
	if (r == 0)
		r = raise_link(talk, name, err);
	int link = (int)if_nametoindex(name);
	for (size_t i = 0; r == 0 && i < count; i++) {
		bool v6 = addresses[i].range.family == AF_INET6;
		if (v6)
			set_of_link(name, "ipv6", "disable_ipv6", "0");
		want_setting(v6 ? "/proc/sys/net/ipv6/conf/all/forwarding" : "/proc/sys/net/ipv4/ip_forward", "1");
		r = add_address(talk, link, &addresses[i], addresses[i].gateway, err);
	}
	return r < 0 ? error_context(err, "bridge %s", name) : r;
}

/* ---- the pair ---- */

void links_host_name(const char *id, char name[IF_NAMESIZE])
{
	snprintf(name, IF_NAMESIZE, "veth%.11s", id);
}

static int make_pair(struct talk *talk, const char *name, int bridge, int netns, const struct pod_address *address, struct error *err)
{
	/* Told from the IP address: who gets that next has the hardware address that neighbours remember. */
	uint8_t mac[6] = {0x0a, 0x58}, raw[16] = {0};
	inet_pton(address->range.family, address->ip, raw);
	memcpy(mac + 2, address->range.family == AF_INET ? raw : raw + 12, 4);
	struct nlmsghdr *header = begin(talk, "make the pod's link", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
	put_link(header, IFF_UP);
	mnl_attr_put_strz(header, IFLA_IFNAME, name);
	mnl_attr_put_u32(header, IFLA_MASTER, (uint32_t)bridge);
	struct nlattr *kind = mnl_attr_nest_start(header, IFLA_LINKINFO);
	mnl_attr_put_strz(header, IFLA_INFO_KIND, "veth");
	struct nlattr *data = mnl_attr_nest_start(header, IFLA_INFO_DATA);
	struct nlattr *peer = mnl_attr_nest_start(header, VETH_INFO_PEER);
	put_link(header, 0); /* not up: it has no other end yet */
	mnl_attr_put_strz(header, IFLA_IFNAME, POD_INTERFACE);
	mnl_attr_put(header, IFLA_ADDRESS, sizeof(mac), mac);
	mnl_attr_put_u32(header, IFLA_NET_NS_FD, (uint32_t)netns);
	mnl_attr_nest_end(header, peer);
	mnl_attr_nest_end(header, data);
	mnl_attr_nest_end(header, kind);
	return end(talk, 0, err);
}

/* A pod reaches itself by way of a Service or a host port: the bridge must send out where it came in. */
static int set_hairpin(struct talk *talk, const char *name, struct error *err)
{
	struct nlmsghdr *header = begin(talk, "set the port's hairpin mode", RTM_NEWLINK, 0);
	put_link(header, 0);
	mnl_attr_put_strz(header, IFLA_IFNAME, name);
	struct nlattr *kind = mnl_attr_nest_start(header, IFLA_LINKINFO);
	mnl_attr_put_strz(header, IFLA_INFO_SLAVE_KIND, "bridge");
	struct nlattr *data = mnl_attr_nest_start(header, IFLA_INFO_SLAVE_DATA);
	mnl_attr_put_u8(header, IFLA_BRPORT_MODE, 1);
	mnl_attr_nest_end(header, data);
	mnl_attr_nest_end(header, kind);
	return end(talk, 0, err);
}

static int pod_link(struct talk *talk, struct error *err)
{
	struct ifreq request = {.ifr_name = POD_INTERFACE};
	return ioctl(mnl_socket_get_fd(talk->socket), SIOCGIFINDEX, &request) < 0 ? error_set_errno(err, errno, "find " POD_INTERFACE) : request.ifr_ifindex;
}

static int configure_pod(const char *netns, const struct pod_address *addresses, size_t count, struct error *err)
{
	struct talk talk cleanup(talk_done) = {0};
	int r = talk_open(&talk, netns, err);
	int link = r < 0 ? r : pod_link(&talk, err);
	if (link < 0)
		return link;
	r = raise_link(&talk, POD_INTERFACE, err);
	for (size_t i = 0; r == 0 && i < count; i++) {
		if (addresses[i].range.family == AF_INET6)
			netns_setting(netns, "/proc/sys/net/ipv6/conf/" POD_INTERFACE "/disable_ipv6", "0");
		r = add_address(&talk, link, &addresses[i], addresses[i].ip, err);
		if (r == 0)
			r = add_default_route(&talk, link, &addresses[i], err);
	}
	return r;
}

int links_add(const struct network *network, const char *id, const char *netns, const struct pod_address *addresses, size_t count, struct error *err)
{
	struct talk host cleanup(talk_done) = {.sequence = (unsigned)time(NULL)};
	char name[IF_NAMESIZE];
	links_host_name(id, name);
	autoclose int fd = open(netns, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return error_set_errno(err, errno, "open network namespace %s", netns);
	int r = talk_open(&host, NULL, err);
	if (r == 0)
		r = ensure_bridge(&host, network->bridge, addresses, count, err);
	if (r == 0)
		r = make_pair(&host, name, (int)if_nametoindex(network->bridge), fd, &addresses[0], err);
	if (r == 0)
		r = set_hairpin(&host, name, err);
	return r == 0 ? configure_pod(netns, addresses, count, err) : r;
}

int links_remove(const char *id, struct error *err)
{
	struct talk host cleanup(talk_done) = {0};
	char name[IF_NAMESIZE];
	links_host_name(id, name);
	int r = talk_open(&host, NULL, err);
	if (r < 0)
		return r;
	struct nlmsghdr *header = begin(&host, "remove the pod's link", RTM_DELLINK, 0);
	put_link(header, 0);
	mnl_attr_put_strz(header, IFLA_IFNAME, name);
	return end(&host, ENODEV, err);
}

int links_check(const char *id, const char *netns, struct error *err)
{
	struct talk pod cleanup(talk_done) = {0};
	char name[IF_NAMESIZE];
	links_host_name(id, name);
	if (!if_nametoindex(name))
		return error_set(err, ENODEV, "link %s is gone", name);
	int r = talk_open(&pod, netns, err);
	int link = r < 0 ? r : pod_link(&pod, err);
	return min_of(link, 0);
}

void links_let_localhost(const struct network *network)
{
	set_of_link(network->bridge, "ipv4", "route_localnet", "1");
}
