/*
 * Bugs planted on purpose, each of another kind: what shows that the checker can fail. They exist
 * in the simulated hosts, keepers and checks alone; no daemon has them.
 */
#ifndef GODWIT_BENCH_SIM_PLANTED_H
#define GODWIT_BENCH_SIM_PLANTED_H

#include <stdint.h>

#include "bench/sim/sweep.h"

#define SIM_PLANTED_SEEDS 200u /* within which each is to be found */

struct sim_planted {
	enum sim_bug bug;
	const char *name;
	const char *about;
	const char *sentence; /* part of what the checker must say of it */
};

extern const struct sim_planted sim_planted[];
extern const uint32_t sim_planted_count;

/* By name; NULL: none. */
const struct sim_planted *sim_planted_find(const char *name);

/* Looks for the bug with seeds 1 to SIM_PLANTED_SEEDS of the scenario, by one process. True: the
 * first seed that fails with the bug's own sentence is ret_outcome's. */
bool sim_planted_hunt(const struct sim_planted *planted, const struct sim_scenario *scenario,
		      struct sim_outcome *ret_outcome);

#endif
