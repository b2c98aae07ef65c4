/*
 * Many seeds of a scenario, for a person or a program: failures at once with the command that
 * replays them, then what was exercised. Ends early, with what there is, on SIGINT.
 */
#ifndef GODWIT_BENCH_SIM_CAMPAIGN_H
#define GODWIT_BENCH_SIM_CAMPAIGN_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#include "bench/sim/sweep.h"

#define SIM_CAMPAIGN_SEEDS_MAX 10000000u

struct sim_campaign {
	const char *given; /* the scenario as it was asked for, for the commands that replay */
	const struct sim_scenario *scenario;
	uint64_t first;
	uint64_t last; /* at most SIM_CAMPAIGN_SEEDS_MAX seeds */
	enum sim_bug bug;
	uint32_t process_count;
	uint32_t limit_s; /* of one run; 0: none */
	bool json;
};

struct sim_campaign_result {
	uint64_t clean_count;
	uint64_t failed_count;
	uint64_t cpu_us_median; /* of a seed */
	uint64_t cpu_us_max;
};

/* Set by SIGINT and SIGTERM once sim_campaign_catch was called. */
extern volatile sig_atomic_t sim_campaign_stop;
void sim_campaign_catch(void);

/* Runs them; failures and progress go to stderr, the summary to stdout unless `quiet`. 0; -EINTR:
 * stopped early, the result counts what was done; another negative errno. */
int sim_campaign_run(const struct sim_campaign *campaign, bool quiet,
		     struct sim_campaign_result *ret_result);

#endif
