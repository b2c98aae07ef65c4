/*
 * Runs of a scenario: one, or one for each of many seeds over several processes. A run that ends
 * its process (a CHECK in a core) or does not end by itself is a failed run like any other, with
 * the same replay.
 */
#ifndef GODWIT_BENCH_SIM_SWEEP_H
#define GODWIT_BENCH_SIM_SWEEP_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "bench/sim/coverage.h"
#include "bench/sim/host.h"
#include "bench/sim/scenario.h"

#define SIM_PROCESSES_MAX 16u
#define SIM_KEY_BYTES 160u

/* What a run came to. Plain data: it crosses a pipe. */
struct sim_outcome {
	uint64_t seed;
	bool good;
	bool finished; /* false: its process died, or was killed because it took too long */
	uint64_t hash;
	uint64_t events;
	uint64_t virtual_us; /* until all rested, or until the fault */
	uint64_t wall_us;
	uint64_t cpu_us;
	uint64_t jobs;
	uint64_t refused;
	uint64_t attempts; /* that really ran */
	uint64_t again;    /* of them, after a task's first */
	uint64_t messages;
	uint64_t records;
	uint64_t scans;
	struct sim_coverage coverage;
	char fault[512];
};

/* One run, in this process: what the seed makes of the scenario (plan.h). */
struct sim_outcome sim_run(const struct sim_scenario *scenario, uint64_t seed, enum sim_bug bug,
			   FILE *transcript);

/* What two sentences have in common when they speak of the same invariant: words with a digit, and
 * so names, times and numbers, are left out. */
void sim_fault_key(const char *fault, char ret_key[SIM_KEY_BYTES]);

struct sim_sweep {
	const struct sim_scenario *scenario;
	uint64_t first;
	uint64_t last;
	enum sim_bug bug;
	uint32_t process_count; /* 1 to SIM_PROCESSES_MAX */
	uint32_t limit_s;       /* a run that takes longer is killed; 0: none */
	void (*done)(const struct sim_outcome *outcome, void *context); /* in any order of seeds */
	void *context;
	const volatile sig_atomic_t *stop; /* not 0: end early; NULL: never */
};

/* 0; -EINTR: stopped; another negative errno: no process or pipe could be had. No child is left. */
int sim_sweep_run(const struct sim_sweep *sweep);

#endif
