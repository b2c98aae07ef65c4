/*
 * From a seed that fails to a scenario as small as can be found in which the same invariant fails
 * (sim_fault_key tells what is the same): delta debugging over the events (Zeller and Hildebrandt,
 * IEEE TSE 2002), then every number of the scenario towards its least, again and again until
 * nothing can be left out. A change shifts everything that the world draws afterwards, so each
 * candidate may fail with any of a few seeds.
 */
#ifndef GODWIT_BENCH_SIM_SHRINK_H
#define GODWIT_BENCH_SIM_SHRINK_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/sim/sweep.h"

struct sim_shrink {
	const struct sim_scenario *scenario;
	uint64_t seed;
	enum sim_bug bug;
	uint32_t process_count;
	uint32_t limit_s;  /* of one run; 0: none */
	uint32_t runs_max; /* in all */
	FILE *progress;    /* a line for each thing left out; NULL: none */
	const volatile sig_atomic_t *stop;
};

/* 0: ret_scenario is concrete and fails with its own seed as ret_outcome says; it is what was found
 * so far if it was stopped or the runs were used up. 1: the seed does not fail. Negative errno. */
int sim_shrink_run(const struct sim_shrink *shrink, struct gw_arena *arena,
		   struct sim_scenario *ret_scenario, struct sim_outcome *ret_outcome);

#endif
