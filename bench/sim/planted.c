#include "bench/sim/planted.h"

#include <string.h>

#include "proto/base/check.h"

const struct sim_planted sim_planted[] = {
	{SIM_BUG_EARLY_EFFECTS, "early-effects", "a host tells what is not durable yet",
	 "is acknowledged before it is durable"},
	{SIM_BUG_NO_SYNC, "no-sync", "a journal calls durable what it did not sync",
	 "records that were durable are lost"},
	{SIM_BUG_JOURNAL_HOLE, "journal-hole", "a record is left out at a restart", "replay"},
	{SIM_BUG_KEEPER_FORGETS, "keeper-forgets", "a keeper loses an attempt that runs",
	 "of the same task still runs"},
	{SIM_BUG_SLOW_CLOCK, "slow-clock", "clocks are slower than leases allow for",
	 "of the same task"},
	{SIM_BUG_WRONG_EXIT, "wrong-exit", "a keeper says that all went well, however it ended",
	 "is said to have succeeded"},
};

const uint32_t sim_planted_count = GW_ARRAY_COUNT(sim_planted);

const struct sim_planted *sim_planted_find(const char *name)
{
	for (uint32_t i = 0; i < sim_planted_count; i++) {
		if (strcmp(sim_planted[i].name, name) == 0)
			return &sim_planted[i];
	}
	return NULL;
}

struct hunt {
	const struct sim_planted *planted;
	struct sim_outcome outcome;
	volatile sig_atomic_t found;
};

static void look(const struct sim_outcome *outcome, void *context)
{
	struct hunt *hunt = context;

	if (hunt->found || !strstr(outcome->fault, hunt->planted->sentence))
		return;
	hunt->outcome = *outcome;
	hunt->found = 1;
}

bool sim_planted_hunt(const struct sim_planted *planted, const struct sim_scenario *scenario,
		      struct sim_outcome *ret_outcome)
{
	struct hunt hunt = {.planted = planted, .outcome = {.good = true}};
	struct sim_sweep sweep = {.scenario = scenario,
				  .first = 1,
				  .last = SIM_PLANTED_SEEDS,
				  .bug = planted->bug,
				  .process_count = 1,
				  .limit_s = 60,
				  .done = look,
				  .context = &hunt,
				  .stop = &hunt.found};

	(void)sim_sweep_run(&sweep); /* what it could not run it did not find */
	*ret_outcome = hunt.outcome;
	return hunt.found;
}
