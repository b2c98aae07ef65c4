/*
 * Drawing a plan: what a seed makes of a scenario. The result is concrete, every fault an explicit
 * event, so that it can be written, read back, replayed and shrunk. It has a generator of its own:
 * what the world draws does not depend on whether its faults were drawn or read.
 *
 * With `swarm`, a seed leaves out each kind of fault by a coin and draws how strong, many and large
 * the rest is (swarm testing: Groce et al., ISSTA 2012): a plan that has everything in it every
 * time never lets one thing happen undisturbed.
 */
#ifndef GODWIT_BENCH_SIM_PLAN_H
#define GODWIT_BENCH_SIM_PLAN_H

#include <stdint.h>

#include "bench/sim/scenario.h"
#include "proto/base/arena.h"

/* The arena has room for the events (at most SIM_EVENTS_MAX). A scenario that is concrete already
 * comes back as it is. */
void sim_plan_draw(const struct sim_scenario *scenario, uint64_t seed, struct gw_arena *arena,
		   struct sim_scenario *ret_concrete);

/* What the jobs ask of the grid, in ppm of all its CPUs, were nothing to break. A grid that has more
 * to do than it can settles only when its backlog is done: SIM_LOAD_PPM_MAX is what the time to
 * settle allows for. */
uint64_t sim_plan_load_ppm(const struct sim_scenario *scenario);

#define SIM_LOAD_PPM_MAX 1300000u

#endif
