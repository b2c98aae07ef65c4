/*
 * Names, addresses, routes: text from a scenario, no I/O. What the lines build:
 *
 *   host a1 eth0 --veth-- h1 [bridge br0] router a  wan0 --veth-- l0a [wan] l0b --veth-- wan0
 * router b
 *
 * Hosts of a site meet on the bridge, so their traffic never sees the emulator. WAN ends carry no
 * link-local address, join no multicast group and know each other's MAC for good: the kernel then
 * sends nothing of its own over an emulated link, and a packet counted there is one that somebody
 * sent.
 */
#include "bench/wan/topology.h"

#include <stdio.h>
#include <string.h>

#define PREFIX "fd67:6f64:7769"
#define SID_NET 0xe000u
#define LINK_NET 0xf000u
#define NO_LINK 0xffu
#define HOP_COST_US 1u /* of two paths of the same delay the one with fewer hops */

static void find_routes(struct gw_topology *topology)
{
	const struct gw_scenario *scenario = topology->scenario;
	uint32_t cost_us[GW_SCENARIO_SITES_MAX][GW_SCENARIO_SITES_MAX];
	uint32_t count = scenario->sites.count;

	memset(cost_us, 0x3f, sizeof(cost_us)); /* far beyond any path, and sums do not overflow */
	memset(topology->next_link, NO_LINK, sizeof(topology->next_link));
	for (uint32_t i = 0; i < scenario->links.count; i++) {
		const struct gw_scenario_link *link = gw_scenario_link(scenario, i);

		for (uint32_t k = 0; k < 2; k++) {
			uint32_t from = link->sites[k];
			uint32_t to = link->sites[1 - k];

			cost_us[from][to] = (uint32_t)link->params[k].delay_us + HOP_COST_US;
			topology->next_link[from][to] = (uint8_t)i;
		}
	}
	for (uint32_t via = 0; via < count; via++) { /* Floyd-Warshall */
		for (uint32_t cell = 0; cell < count * count; cell++) {
			uint32_t from = cell / count;
			uint32_t to = cell % count;

			if (from == to ||
			    cost_us[from][via] + cost_us[via][to] >= cost_us[from][to])
				continue;
			cost_us[from][to] = cost_us[from][via] + cost_us[via][to];
			topology->next_link[from][to] = topology->next_link[from][via];
		}
	}
}

void gw_topology_init(struct gw_topology *topology, const char *lab,
		      const struct gw_scenario *scenario)
{
	*topology = (struct gw_topology){.lab = lab, .scenario = scenario};
	find_routes(topology);
}

void gw_topology_address(uint32_t site, uint32_t host, char ret_text[GW_LAB_ADDRESS_BYTES])
{
	(void)snprintf(ret_text, GW_LAB_ADDRESS_BYTES, PREFIX ":%x::%x", site + 1,
		       host == GW_LAB_ROUTER ? 0xffff : host);
}

void gw_topology_sid(uint32_t site, uint32_t number, char ret_text[GW_LAB_ADDRESS_BYTES])
{
	(void)snprintf(ret_text, GW_LAB_ADDRESS_BYTES, PREFIX ":%x::%x", SID_NET + site + 1,
		       number);
}

void gw_topology_namespace(const struct gw_topology *topology, uint32_t site, uint32_t host,
			   char ret_name[GW_LAB_NAMESPACE_BYTES])
{
	const char *name = gw_scenario_site(topology->scenario, site)->name;

	if (host == GW_LAB_ROUTER)
		(void)snprintf(ret_name, GW_LAB_NAMESPACE_BYTES, "godwit.%s.%s.router",
			       topology->lab, name);
	else
		(void)snprintf(ret_name, GW_LAB_NAMESPACE_BYTES, "godwit.%s.%s%u", topology->lab,
			       name, host);
}

void gw_topology_wan_namespace(const struct gw_topology *topology,
			       char ret_name[GW_LAB_NAMESPACE_BYTES])
{
	(void)snprintf(ret_name, GW_LAB_NAMESPACE_BYTES, "godwit.%s.wan", topology->lab);
}

void gw_topology_link_name(const struct gw_topology *topology, uint32_t link,
			   char ret_name[2 * GW_SCENARIO_NAME_BYTES_MAX + 2])
{
	const struct gw_scenario_link *entry = gw_scenario_link(topology->scenario, link);

	(void)snprintf(ret_name, 2 * GW_SCENARIO_NAME_BYTES_MAX + 2, "%s-%s",
		       gw_scenario_site(topology->scenario, entry->sites[0])->name,
		       gw_scenario_site(topology->scenario, entry->sites[1])->name);
}

int gw_topology_namespaces(const struct gw_topology *topology, struct gw_buf *lines)
{
	char name[GW_LAB_NAMESPACE_BYTES];
	int error;

	gw_topology_wan_namespace(topology, name);
	error = gw_buf_printf(lines, "netns add %s\n", name);
	for (uint32_t site = 0; site < topology->scenario->sites.count; site++) {
		uint64_t hosts = gw_scenario_site(topology->scenario, site)->hosts;

		gw_topology_namespace(topology, site, GW_LAB_ROUTER, name);
		if (error == 0)
			error = gw_buf_printf(lines, "netns add %s\n", name);
		for (uint32_t host = 1; host <= hosts && error == 0; host++) {
			gw_topology_namespace(topology, site, host, name);
			error = gw_buf_printf(lines, "netns add %s\n", name);
		}
	}
	return error;
}

static int wan_wires(const struct gw_topology *topology, uint32_t i, struct gw_buf *lines)
{
	const struct gw_scenario_link *link = gw_scenario_link(topology->scenario, i);
	char router[GW_LAB_NAMESPACE_BYTES];
	char wan[GW_LAB_NAMESPACE_BYTES];
	int error = 0;

	gw_topology_wan_namespace(topology, wan);
	for (uint32_t end = 0; end < 2 && error == 0; end++) {
		gw_topology_namespace(topology, link->sites[end], GW_LAB_ROUTER, router);
		error = gw_buf_printf(lines,
				      "link add name wan%u address 02:67:00:00:%02x:%02x netns %s "
				      "type veth peer name l%u%c netns %s\n",
				      i, i, end + 1, router, i, 'a' + (int)end, wan);
	}
	return error;
}

int gw_topology_wires(const struct gw_topology *topology, struct gw_buf *lines)
{
	char router[GW_LAB_NAMESPACE_BYTES];
	char name[GW_LAB_NAMESPACE_BYTES];
	int error = 0;

	for (uint32_t site = 0; site < topology->scenario->sites.count; site++) {
		uint64_t hosts = gw_scenario_site(topology->scenario, site)->hosts;

		gw_topology_namespace(topology, site, GW_LAB_ROUTER, router);
		for (uint32_t host = 1; host <= hosts && error == 0; host++) {
			gw_topology_namespace(topology, site, host, name);
			error = gw_buf_printf(lines,
					      "link add name eth0 netns %s type veth "
					      "peer name h%u netns %s\n",
					      name, host, router);
		}
	}
	for (uint32_t i = 0; i < topology->scenario->links.count && error == 0; i++)
		error = wan_wires(topology, i, lines);
	return error;
}

int gw_topology_host(uint32_t site, uint32_t host, struct gw_buf *lines)
{
	char address[GW_LAB_ADDRESS_BYTES];
	char router[GW_LAB_ADDRESS_BYTES];

	gw_topology_address(site, host, address);
	gw_topology_address(site, GW_LAB_ROUTER, router);
	return gw_buf_printf(lines,
			     "link set lo up\n"
			     "link set eth0 up\n"
			     "address add %s/64 dev eth0 nodad\n"
			     "route add default via %s dev eth0\n",
			     address, router);
}

static int router_lan(const struct gw_topology *topology, uint32_t site, struct gw_buf *lines)
{
	char address[GW_LAB_ADDRESS_BYTES];
	char sid[GW_LAB_ADDRESS_BYTES];
	char sid_psp[GW_LAB_ADDRESS_BYTES];
	int error;

	gw_topology_address(site, GW_LAB_ROUTER, address);
	gw_topology_sid(site, 1, sid);
	gw_topology_sid(site, 2, sid_psp);
	error = gw_buf_printf(lines, "link set lo up\n"
				     "link add br0 type bridge forward_delay 0 mcast_snooping 0\n");
	for (uint32_t host = 1;
	     host <= gw_scenario_site(topology->scenario, site)->hosts && error == 0; host++)
		error = gw_buf_printf(lines, "link set h%u master br0 up\n", host);
	if (error < 0)
		return error;
	return gw_buf_printf(lines,
			     "link set br0 up\n"
			     "address add %s/64 dev br0 nodad\n"
			     "route add %s/128 encap seg6local action End dev br0\n"
			     "route add %s/128 encap seg6local action End flavors psp dev br0\n",
			     address, sid, sid_psp);
}

static int router_wan_end(uint32_t link, uint32_t end, struct gw_buf *lines)
{
	return gw_buf_printf(lines,
			     "link set wan%u addrgenmode none arp off multicast off\n"
			     "link set wan%u up\n"
			     "address add " PREFIX ":%x::%x/64 dev wan%u nodad\n"
			     "neighbour replace " PREFIX
			     ":%x::%x lladdr 02:67:00:00:%02x:%02x nud permanent dev wan%u\n",
			     link, link, LINK_NET + link + 1, end + 1, link, LINK_NET + link + 1,
			     2 - end, link, 2 - end, link);
}

int gw_topology_router(const struct gw_topology *topology, uint32_t site, struct gw_buf *lines)
{
	const struct gw_scenario *scenario = topology->scenario;
	int error = router_lan(topology, site, lines);

	for (uint32_t i = 0; i < scenario->links.count && error == 0; i++) {
		const struct gw_scenario_link *link = gw_scenario_link(scenario, i);

		if (link->sites[0] == site || link->sites[1] == site)
			error = router_wan_end(i, link->sites[1] == site, lines);
	}
	for (uint32_t to = 0; to < scenario->sites.count && error == 0; to++) {
		uint32_t link = topology->next_link[site][to];
		uint32_t far_end;

		if (link == NO_LINK)
			continue;
		far_end = gw_scenario_link(scenario, link)->sites[0] == site ? 2 : 1;
		error = gw_buf_printf(
			lines,
			"route add " PREFIX ":%x::/64 via " PREFIX ":%x::%x dev wan%u\n"
			"route add " PREFIX ":%x::/64 via " PREFIX ":%x::%x dev wan%u\n",
			to + 1, LINK_NET + link + 1, far_end, link, SID_NET + to + 1,
			LINK_NET + link + 1, far_end, link);
	}
	return error;
}

int gw_topology_wan(const struct gw_topology *topology, struct gw_buf *lines)
{
	int error = 0;

	for (uint32_t i = 0; i < topology->scenario->links.count && error == 0; i++)
		error = gw_buf_printf(lines, "link set l%ua up\nlink set l%ub up\n", i, i);
	return error;
}
