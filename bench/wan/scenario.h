/*
 * A scenario file: the sites of a lab and the emulated links between them.
 *
 *   name: two-sites
 *   seed: 7
 *   sites:
 *     - {name: a, hosts: 2}
 *     - {name: b}
 *   links:
 *     - between: [a, b]
 *       there: {delay: 0.6ms, rate: 1 Gb/s, loss: 0.01 %}
 *       back: {delay: 0.8ms, rate: 1 Gb/s}     # b to a; absent: as there
 *       cuts: [{at: 10s, for: 2s}]             # counted from the lab's start
 */
#ifndef GODWIT_BENCH_WAN_SCENARIO_H
#define GODWIT_BENCH_WAN_SCENARIO_H

#include <stdint.h>

#include "bench/wan/link.h"
#include "proto/schema.h"

#define GW_SCENARIO_SITES_MAX 32u
#define GW_SCENARIO_LINKS_MAX 64u
#define GW_SCENARIO_HOSTS_MAX 64u /* of one site */
#define GW_SCENARIO_NAME_BYTES_MAX 15u
#define GW_LAB_NAME_BYTES_MAX 31u

struct gw_scenario_site {
	const char *name;
	struct gw_mark mark;
	uint64_t hosts;
};

struct gw_scenario_cut {
	uint64_t at_us;
	uint64_t for_us;
};

struct gw_scenario_link {
	struct gw_link_params params[2]; /* there, back */
	struct gw_schema_list between;   /* [2] const char *; then as site indices: */
	struct gw_mark mark;             /* of `between` */
	struct gw_mark there_mark;
	struct gw_mark back_mark;
	uint32_t sites[2];
	struct gw_schema_list cuts; /* struct gw_scenario_cut */
	struct gw_mark cuts_mark;
};

struct gw_scenario {
	const char *name;
	struct gw_mark name_mark;
	uint64_t seed;
	uint64_t emulator_cpu;       /* UINT32_MAX: the kernel chooses */
	struct gw_schema_list sites; /* struct gw_scenario_site */
	struct gw_schema_list links; /* struct gw_scenario_link */
};

extern const struct gw_schema gw_scenario_schema[];

/* Reads and checks a scenario; everything lives in the arena. 0; -EINVAL with ret_error. */
int gw_scenario_parse(struct gw_scenario *scenario, struct gw_arena *arena, const char *text,
		      size_t size, struct gw_parse_error *ret_error);
const struct gw_scenario_site *gw_scenario_site(const struct gw_scenario *scenario, uint32_t i);
const struct gw_scenario_link *gw_scenario_link(const struct gw_scenario *scenario, uint32_t i);
/* A lab's name: letters, digits and '-', at most 31. */
bool gw_lab_name_is_good(const char *name);

#endif
