/*
 * A row that could not be measured says why; it is never left out. The large grid runs in a process
 * of its own, so that its peak of memory is its own.
 */
#include "bench/sim/figures.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <jansson.h>

#include "bench/sim/campaign.h"
#include "bench/sim/planted.h"
#include "proto/base/check.h"

#define ARENA_BYTES_MAX (4u << 20)
#define CAMPAIGN_SCENARIO "full"
#define CAMPAIGN_SEEDS 1000u
#define CAMPAIGN_SEEDS_QUICK 100u
#define RUN_LIMIT_S 120u
#define LARGE_SCENARIO "thousand-sites"
#define LARGE_SCENARIO_QUICK "hundred-sites"
#define LARGE_LIMIT_S 3600u
#define LARGE_S_BAR 600.0
#define LARGE_MIB_BAR 4096.0
#define PLANTED_BAR 6

static bool read_scenario(const char *name, struct gw_arena *arena,
			  struct sim_scenario *ret_scenario)
{
	char text[768];

	if (sim_scenario_read(name, arena, ret_scenario, text, sizeof(text)) == 0)
		return true;
	(void)fprintf(stderr, "godwit-sim: %s\n", text);
	return false;
}

/* A row with a bar; `why` instead of a value: it could not be measured, or carries no claim. */
static json_t *row(const char *name, json_t *value, const char *unit, const char *better,
		   json_t *bar, json_t *holds, json_t *beside, const char *why)
{
	json_t *made = json_pack("{s:s,s:o,s:s,s:s,s:o,s:o,s:o,s:i}", "name", name, "value", value,
				 "unit", unit, "better", better, "bar", bar, "holds", holds,
				 "beside", beside, "runs", 1);

	if (made && why)
		(void)json_object_set_new(made, "why", json_string(why)); /* or lacks it */
	return made;
}

static json_t *count_row(const char *name, uint64_t value, const char *unit, const char *better,
			 uint64_t bar, json_t *beside)
{
	bool holds = strcmp(better, "lower") == 0 ? value <= bar : value >= bar;

	return row(name, json_integer((json_int_t)value), unit, better,
		   json_integer((json_int_t)bar), json_boolean(holds), beside, NULL);
}

/* --- seeds --- */

static void add_campaign(const struct sim_figures *figures, const struct sim_scenario *scenario,
			 json_t *rows)
{
	struct sim_campaign_result result;
	struct sim_campaign campaign = {.given = CAMPAIGN_SCENARIO,
					.scenario = scenario,
					.first = 1,
					.last = figures->seed_count,
					.process_count = figures->process_count,
					.limit_s = RUN_LIMIT_S};

	if (campaign.last == 0)
		campaign.last = figures->quick ? CAMPAIGN_SEEDS_QUICK : CAMPAIGN_SEEDS;
	(void)sim_campaign_run(&campaign, true, &result); /* seeds not run are not clean */
	(void)json_array_append_new(
		rows,
		count_row("sim.seeds_clean", result.clean_count, "seeds", "higher", campaign.last,
			  json_pack("[{s:s,s:f},{s:s,s:f}]", "name", "cpu_s_median", "value",
				    (double)result.cpu_us_median / 1e6, "name", "cpu_s_max",
				    "value", (double)result.cpu_us_max / 1e6)));
	(void)json_array_append_new(rows, count_row("sim.seeds_failed", result.failed_count,
						    "seeds", "lower", 0, json_array()));
}

static void add_planted(const struct sim_scenario *scenario, json_t *rows)
{
	json_t *beside = json_array();
	uint64_t found_count = 0;

	for (uint32_t i = 0; i < sim_planted_count && !sim_campaign_stop; i++) {
		struct sim_outcome outcome;
		bool found = sim_planted_hunt(&sim_planted[i], scenario, &outcome);

		(void)fprintf(stderr, "%s: %s %" PRIu64 ": %s\n", sim_planted[i].name,
			      found ? "found with seed" : "NOT FOUND, seed", outcome.seed,
			      outcome.fault);
		found_count += found;
		(void)json_array_append_new(
			beside, json_pack("{s:s,s:I}", "name", sim_planted[i].name, "value",
					  found ? (json_int_t)outcome.seed : -1));
	}
	(void)json_array_append_new(rows, count_row("sim.planted_found", found_count, "bugs",
						    "higher", PLANTED_BAR, beside));
}

/* --- the large grid --- */

static void keep(const struct sim_outcome *outcome, void *context)
{
	*(struct sim_outcome *)context = *outcome;
}

static double peak_mib(void)
{
	struct rusage usage;

	(void)getrusage(RUSAGE_CHILDREN, &usage); /* cannot fail for this */
	return (double)usage.ru_maxrss / 1024.0;
}

static json_t *large_row(const char *name, double value, const char *unit, double bar, bool quick,
			 const char *fault, json_t *beside)
{
	if (*fault)
		return row(name, json_null(), unit, "lower", json_real(bar), json_null(), beside,
			   fault);
	if (quick)
		return row(name, json_null(), unit, "lower", json_real(bar), json_null(), beside,
			   "the quick run has 100 sites of one node; see beside");
	return row(name, json_real(value), unit, "lower", json_real(bar),
		   json_boolean(value <= bar), beside, NULL);
}

static void add_large(const struct sim_figures *figures, json_t *rows)
{
	const char *name = figures->quick ? LARGE_SCENARIO_QUICK : LARGE_SCENARIO;
	struct sim_outcome outcome = {.fault = "it was not run"};
	struct sim_scenario scenario;
	struct gw_arena arena;
	struct sim_sweep sweep = {.scenario = &scenario,
				  .first = 1,
				  .last = 1,
				  .process_count = 1,
				  .limit_s = LARGE_LIMIT_S,
				  .done = keep,
				  .context = &outcome,
				  .stop = &sim_campaign_stop};
	double wall_s;
	double mib;

	gw_arena_init(&arena, ARENA_BYTES_MAX);
	if (read_scenario(name, &arena, &scenario))
		(void)sim_sweep_run(&sweep); /* the outcome says it */
	gw_arena_deinit(&arena);
	wall_s = (double)outcome.wall_us / 1e6;
	mib = peak_mib();
	(void)json_array_append_new(
		rows,
		large_row("sim.1000sites_hour_s", wall_s, "s", LARGE_S_BAR, figures->quick,
			  outcome.fault,
			  json_pack("[{s:s,s:f},{s:s,s:I},{s:s,s:I}]", "name",
				    figures->quick ? "100sites_hour_s" : "cpu_s", "value",
				    figures->quick ? wall_s : (double)outcome.cpu_us / 1e6, "name",
				    "events", "value", (json_int_t)outcome.events, "name",
				    "attempts", "value", (json_int_t)outcome.attempts)));
	(void)json_array_append_new(
		rows, large_row("sim.1000sites_hour_mib", mib, "MiB", LARGE_MIB_BAR, figures->quick,
				outcome.fault,
				figures->quick ? json_pack("[{s:s,s:f}]", "name",
							   "100sites_hour_mib", "value", mib)
					       : json_array()));
}

int sim_figures_run(const struct sim_figures *figures)
{
	json_t *rows = json_array();
	json_t *large = json_array();
	struct sim_scenario scenario;
	struct gw_arena arena;
	int failed = 1;

	sim_campaign_catch();
	add_large(figures, large); /* first: children's peak of memory is the largest yet */
	gw_arena_init(&arena, ARENA_BYTES_MAX);
	if (read_scenario(CAMPAIGN_SCENARIO, &arena, &scenario)) {
		add_campaign(figures, &scenario, rows);
		add_planted(&scenario, rows);
		(void)json_array_extend(rows, large); /* or lacks them, and the reader sees it */
		failed = json_dumpf(rows, stdout, JSON_INDENT(2)) < 0 || putchar('\n') < 0;
	}
	gw_arena_deinit(&arena);
	json_decref(large);
	json_decref(rows);
	return failed;
}
