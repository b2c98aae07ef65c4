/*
 * A lab's addresses, names and routes, worked out from a scenario: the same scenario always gives
 * the same ones. All lie in the ULA prefix fd67:6f64:7769::/48 ("godwi"):
 *   fd67:6f64:7769:S::H      host H (from 1) of site S (from 1, in the file's order)
 *   fd67:6f64:7769:S::ffff   the site's router, on its bridge
 *   fd67:6f64:7769:e000+S::1 the router's SID, End; ::2 End with PSP
 *   fd67:6f64:7769:f000+L::1 and ::2, the two ends of link L
 * Namespaces: godwit.LAB.a1 (a host), godwit.LAB.a.router, godwit.LAB.wan (the emulator).
 * Each function appends lines for `ip -batch`.
 */
#ifndef GODWIT_BENCH_WAN_TOPOLOGY_H
#define GODWIT_BENCH_WAN_TOPOLOGY_H

#include "bench/wan/scenario.h"
#include "proto/base/buf.h"

#define GW_LAB_ADDRESS_BYTES 40u
#define GW_LAB_NAMESPACE_BYTES 80u
#define GW_LAB_ROUTER UINT32_MAX /* instead of a host's number */

struct gw_topology {
	const char *lab;
	const struct gw_scenario *scenario;
	uint8_t next_link[GW_SCENARIO_SITES_MAX][GW_SCENARIO_SITES_MAX]; /* of the shortest path by
									    delay, from site to
									    site; 0xff: none */
};

void gw_topology_init(struct gw_topology *topology, const char *lab,
		      const struct gw_scenario *scenario);
/* `host` from 1, or GW_LAB_ROUTER. */
void gw_topology_address(uint32_t site, uint32_t host, char ret_text[GW_LAB_ADDRESS_BYTES]);
/* `number` 1: End, 2: End with PSP. */
void gw_topology_sid(uint32_t site, uint32_t number, char ret_text[GW_LAB_ADDRESS_BYTES]);
void gw_topology_namespace(const struct gw_topology *topology, uint32_t site, uint32_t host,
			   char ret_name[GW_LAB_NAMESPACE_BYTES]);
void gw_topology_wan_namespace(const struct gw_topology *topology,
			       char ret_name[GW_LAB_NAMESPACE_BYTES]);
void gw_topology_link_name(const struct gw_topology *topology, uint32_t link,
			   char ret_name[2 * GW_SCENARIO_NAME_BYTES_MAX + 2]);

/* 0; -ENOBUFS: past the buffer's limit. */
int gw_topology_namespaces(const struct gw_topology *topology, struct gw_buf *lines);
int gw_topology_wires(const struct gw_topology *topology, struct gw_buf *lines);
int gw_topology_host(uint32_t site, uint32_t host, struct gw_buf *lines);
int gw_topology_router(const struct gw_topology *topology, uint32_t site, struct gw_buf *lines);
int gw_topology_wan(const struct gw_topology *topology, struct gw_buf *lines);

#endif
