/*
 * The simulated grid: sites on a plane, nodes with agent and keeper, one scheduler, one client, and
 * the faults that were set. It gives each host its core and carries out the effects that only
 * a daemon knows: telemetry, probes, planners.
 */
#ifndef GODWIT_BENCH_SIM_GRID_H
#define GODWIT_BENCH_SIM_GRID_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/core/agent.h"
#include "bench/sim/check.h"
#include "bench/sim/client.h"
#include "bench/sim/faults.h"
#include "bench/sim/host.h"
#include "bench/sim/keeper.h"
#include "bench/sim/link.h"
#include "bench/sim/scenario.h"
#include "bench/sim/session.h"
#include "bench/sim/world.h"

struct sim_site {
	struct sim_path path; /* its WAN link, to the scheduler's site */
	int64_t x_km;
	int64_t y_km;
	char name[16];
};

struct sim_agent {
	struct sim_host host; /* first */
	struct sim_keeper keeper;
	struct sim_session session;
	struct sim_grid *grid;
	struct sim_site *site;
	uint32_t number;
	bool saw_lost;         /* it or its keeper knows of records that the scheduler lost */
	uint64_t told_us;      /* renewal that the keeper heard of last */
	uint64_t info_version; /* NodeInfo is told when the process or the boot is new */
	struct sim_timer sample;
	struct sim_timer observe;
	uint64_t probe_generation;
	uint32_t *probes; /* [probe_count] numbers of agents */
	uint32_t probe_count;
};

/* A fault waiting for its time, or under way. */
struct sim_fault {
	struct sim_timer timer; /* its beginning, then its end */
	struct sim_grid *grid;
	struct sim_fault *next;
	struct sim_fault_event event;
	bool under_way;
};

struct sim_plan {
	struct sim_timer timer;
	struct sim_grid *grid;
	struct sim_plan *next;
	uint64_t plan;
	void *result;
};

struct sim_grid {
	const struct sim_scenario *scenario;
	uint64_t seed;
	struct sim_world world;
	struct sim_shared shared;
	struct sim_host scheduler;
	struct sim_plan *plans;   /* run, not yet delivered */
	struct sim_agent *agents; /* [agent_count] */
	uint32_t agent_count;
	struct sim_site *sites; /* [site_count] */
	uint32_t site_count;
	struct sim_fault *faults;
	struct sim_client client;
	struct sim_check check;
	struct sim_timer scan;
};

/* Builds the grid of a concrete scenario, which must outlive it; `transcript` may be NULL. Never
 * NULL. */
struct sim_grid *sim_grid_new(const struct sim_scenario *scenario, uint64_t seed, enum sim_bug bug,
			      FILE *transcript);
struct sim_grid *sim_grid_free(struct sim_grid *grid); /* gives NULL */
/* Runs the scenario, lets everything come to rest and checks the end. True: all invariants held;
 * false: world.fault says which did not. */
bool sim_grid_run(struct sim_grid *grid);

/* Agents whose journal is damaged: they stay down. */
uint32_t sim_grid_refused(const struct sim_grid *grid);
/* The agent of this node; NULL: none. */
struct sim_agent *sim_grid_agent(struct sim_grid *grid, struct gw_node_id node);

#endif
