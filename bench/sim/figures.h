/* The benchmark's rows: many seeds, planted bugs, and how large a grid fits into how much. */
#ifndef GODWIT_BENCH_SIM_FIGURES_H
#define GODWIT_BENCH_SIM_FIGURES_H

#include <stdbool.h>
#include <stdint.h>

struct sim_figures {
	bool quick;          /* the small grid instead of the large one */
	uint64_t seed_count; /* of the full plan, from 1 on; 0: as many as fit */
	uint32_t process_count;
};

/* Runs them and prints the rows as one JSON array; progress goes to stderr. The exit code. */
int sim_figures_run(const struct sim_figures *figures);

#endif
