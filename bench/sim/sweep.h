/*
 * Runs of a scenario: one, or one for each of many seeds over several processes. A run that ends
 * its process (a CHECK in a core) is a failed run like any other, with the same replay.
 */
#ifndef GODWIT_BENCH_SIM_SWEEP_H
#define GODWIT_BENCH_SIM_SWEEP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/sim/host.h"
#include "bench/sim/scenario.h"

#define SIM_PROCESSES_MAX 16u

/* What a run came to. Plain data: it crosses a pipe. */
struct sim_outcome {
	uint64_t seed;
	bool good;
	bool finished; /* false: its process died */
	uint64_t hash;
	uint64_t events;
	uint64_t virtual_us; /* until all rested, or until the fault */
	uint64_t wall_us;
	uint64_t jobs;
	uint64_t refused;
	uint64_t attempts; /* that really ran */
	uint64_t again;    /* of them, after a task's first */
	uint64_t messages;
	uint64_t records;
	uint64_t scans;
	char fault[512];
};

/* One run, in this process. */
struct sim_outcome sim_run(const struct sim_scenario *scenario, uint64_t seed, enum sim_bug bug,
			   FILE *transcript);

struct sim_sweep {
	const struct sim_scenario *scenario;
	uint64_t first;
	uint64_t last;
	enum sim_bug bug;
	uint32_t process_count;                                         /* 1 to SIM_PROCESSES_MAX */
	void (*done)(const struct sim_outcome *outcome, void *context); /* in any order of seeds */
	void *context;
};

/* 0; negative errno: no process or pipe could be had. */
int sim_sweep_run(const struct sim_sweep *sweep);

#endif
