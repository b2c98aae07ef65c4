/*
 * godwit-sim: the same agents, scheduler and sessions as the daemons run, in virtual time. One run
 * by its seed, many seeds over several processes, a failing seed made small, or the benchmark's
 * rows.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "bench/sim/campaign.h"
#include "bench/sim/figures.h"
#include "bench/sim/plan.h"
#include "bench/sim/planted.h"
#include "bench/sim/shrink.h"
#include "bench/sim/sweep.h"
#include "proto/base/check.h"
#include "proto/base/time.h"
#include "proto/option.h"

#define ARENA_BYTES_MAX (32u << 20)

struct options {
	const char *scenario;
	uint64_t seed; /* 0: the scenario's */
	const char *seeds;
	uint64_t processes;
	uint64_t limit_us;
	uint64_t runs;
	const char *write;
	const char *plant;
	enum sim_bug bug; /* of that name */
	bool shrink;
	bool transcript;
	bool json;
	bool bench;
	bool quick;
};

static json_t *outcome_json(const struct sim_outcome *outcome)
{
	char hash[24];

	(void)snprintf(hash, sizeof(hash), "%016" PRIx64, outcome->hash);
	return json_pack("{s:I,s:b,s:s,s:s,s:I,s:f,s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:I}", "seed",
			 (json_int_t)outcome->seed, "good", outcome->good, "fault", outcome->fault,
			 "hash", hash, "events", (json_int_t)outcome->events, "virtual_s",
			 (double)outcome->virtual_us / 1e6, "wall_s",
			 (double)outcome->wall_us / 1e6, "cpu_s", (double)outcome->cpu_us / 1e6,
			 "jobs", (json_int_t)outcome->jobs, "refused", (json_int_t)outcome->refused,
			 "attempts", (json_int_t)outcome->attempts, "again",
			 (json_int_t)outcome->again, "messages", (json_int_t)outcome->messages,
			 "records", (json_int_t)outcome->records);
}

static int print_json(json_t *value)
{
	int failed = !value || json_dumpf(value, stdout, JSON_INDENT(2)) < 0 || putchar('\n') < 0;

	json_decref(value);
	return failed;
}

static void print_failure(const struct options *options, const struct sim_outcome *outcome)
{
	(void)printf("seed %" PRIu64 ": %s\n  replay: godwit-sim --scenario %s --seed %" PRIu64
		     " --transcript\n",
		     outcome->seed, outcome->fault, options->scenario, outcome->seed);
}

static int run_one(const struct options *options, const struct sim_scenario *scenario)
{
	struct sim_outcome outcome =
		sim_run(scenario, options->seed, options->bug, options->transcript ? stdout : NULL);

	if (options->json) {
		int failed = print_json(outcome_json(&outcome));

		return failed || !outcome.good;
	}
	(void)printf("%s, seed %" PRIu64 ": trace hash %016" PRIx64 "\n", scenario->name,
		     outcome.seed, outcome.hash);
	(void)printf("  %.1f s of virtual time in %.2f s; %" PRIu64 " events, %" PRIu64
		     " messages, %" PRIu64 " records\n",
		     (double)outcome.virtual_us / 1e6, (double)outcome.wall_us / 1e6,
		     outcome.events, outcome.messages, outcome.records);
	(void)printf("  %" PRIu64 " jobs (%" PRIu64 " refused), %" PRIu64 " attempts ran, %" PRIu64
		     " of them not the first of their task\n",
		     outcome.jobs, outcome.refused, outcome.attempts, outcome.again);
	if (!outcome.good)
		print_failure(options, &outcome);
	else
		(void)printf("  all invariants held, in %" PRIu64 " full scans\n", outcome.scans);
	return !outcome.good;
}

/* FIRST..LAST, both included. */
static bool read_seeds(const char *text, uint64_t *ret_first, uint64_t *ret_last)
{
	int end = 0;

	return sscanf(text, "%" SCNu64 "..%" SCNu64 "%n", ret_first, ret_last, &end) == 2 &&
	       text[end] == '\0' && *ret_first <= *ret_last &&
	       *ret_last - *ret_first < SIM_CAMPAIGN_SEEDS_MAX;
}

static int run_many(const struct options *options, const struct sim_scenario *scenario)
{
	struct sim_campaign_result outcome;
	struct sim_campaign campaign = {.given = options->scenario,
					.scenario = scenario,
					.bug = options->bug,
					.process_count = (uint32_t)options->processes,
					.limit_s = (uint32_t)(options->limit_us / GW_US_PER_S),
					.json = options->json};
	int result;

	if (!read_seeds(options->seeds, &campaign.first, &campaign.last)) {
		(void)fprintf(stderr,
			      "godwit-sim: --seeds takes FIRST..LAST, at most %u of them, not "
			      "\"%s\"\n",
			      SIM_CAMPAIGN_SEEDS_MAX, options->seeds);
		return 2;
	}
	sim_campaign_catch();
	result = sim_campaign_run(&campaign, false, &outcome);
	if (result < 0 && result != -EINTR)
		(void)fprintf(stderr, "godwit-sim: the seeds could not be run: %s\n",
			      strerror(-result));
	return result < 0 || outcome.failed_count > 0;
}

/* To --write's file, or stdout without one. The exit code. */
static int write_scenario(const struct options *options, const struct sim_scenario *scenario)
{
	FILE *file = options->write ? fopen(options->write, "we") : stdout;
	bool good = file != NULL;

	if (file) {
		sim_scenario_write(scenario, file);
		good = !ferror(file);
		good = (file == stdout ? fflush(file) : fclose(file)) == 0 && good;
	}
	if (!good)
		(void)fprintf(stderr, "godwit-sim: %s could not be written: %s\n",
			      options->write ? options->write : "the scenario", strerror(errno));
	return !good;
}

static int run_write(const struct options *options, const struct sim_scenario *scenario,
		     struct gw_arena *arena)
{
	struct sim_scenario concrete;

	sim_plan_draw(scenario, options->seed, arena, &concrete);
	return write_scenario(options, &concrete);
}

static int run_shrink(const struct options *options, const struct sim_scenario *scenario,
		      struct gw_arena *arena)
{
	struct sim_shrink shrink = {.scenario = scenario,
				    .seed = options->seed,
				    .bug = options->bug,
				    .process_count = (uint32_t)options->processes,
				    .limit_s = (uint32_t)(options->limit_us / GW_US_PER_S),
				    .runs_max = (uint32_t)options->runs,
				    .progress = stderr,
				    .stop = &sim_campaign_stop};
	struct sim_scenario small;
	struct sim_outcome outcome;
	char about[400];
	int result;

	sim_campaign_catch();
	result = sim_shrink_run(&shrink, arena, &small, &outcome);
	if (result != 0) {
		(void)fprintf(stderr, "godwit-sim: %s\n",
			      result > 0 ? "this seed does not fail, so there is nothing to shrink"
					 : strerror(-result));
		return 1;
	}
	(void)snprintf(about, sizeof(about), "seed %" PRIu64 " of %.64s: %.300s", options->seed,
		       scenario->name, outcome.fault); /* cut is fine */
	small.about = about;
	(void)fprintf(stderr, "%s\nreplay: godwit-sim --scenario %s --transcript%s%s\n",
		      outcome.fault, options->write ? options->write : "FILE",
		      options->plant ? " --plant " : "", options->plant ? options->plant : "");
	return write_scenario(options, &small);
}

static int run_bench(const struct options *options)
{
	struct sim_figures figures = {.quick = options->quick,
				      .process_count = (uint32_t)options->processes};
	uint64_t first = 1;

	if (options->seeds &&
	    (!read_seeds(options->seeds, &first, &figures.seed_count) || first != 1)) {
		(void)fprintf(stderr, "godwit-sim: --bench takes --seeds 1..LAST, not \"%s\"\n",
			      options->seeds);
		return 2;
	}
	return sim_figures_run(&figures);
}

static int run_scenario(struct options *options, const struct sim_scenario *scenario,
			struct gw_arena *arena)
{
	if (options->seed == 0)
		options->seed = scenario->seed;
	if (options->shrink)
		return run_shrink(options, scenario, arena);
	if (options->write)
		return run_write(options, scenario, arena);
	if (options->seeds)
		return run_many(options, scenario);
	return run_one(options, scenario);
}

static int run(const struct gw_command *command, void *given, int operand_count, char **operands)
{
	struct options *options = given;
	const struct sim_planted *planted = NULL;
	struct sim_scenario scenario;
	struct gw_arena arena;
	char text[768];
	int result = 2;

	(void)command;
	(void)operand_count;
	(void)operands;
	if (options->bench)
		return run_bench(options);
	if (options->plant && !(planted = sim_planted_find(options->plant))) {
		(void)fprintf(stderr,
			      "godwit-sim: no planted bug \"%s\"; there are:", options->plant);
		for (uint32_t i = 0; i < sim_planted_count; i++)
			(void)fprintf(stderr, " %s", sim_planted[i].name);
		(void)fputc('\n', stderr);
		return 2;
	}
	options->bug = planted ? planted->bug : SIM_BUG_NONE;
	gw_arena_init(&arena, ARENA_BYTES_MAX);
	if (sim_scenario_read(options->scenario, &arena, &scenario, text, sizeof(text)) < 0)
		(void)fprintf(stderr, "godwit-sim: %s\n", text);
	else
		result = run_scenario(options, &scenario, &arena);
	gw_arena_deinit(&arena);
	return result;
}

#define VALUE(name, kind, member, line)                                                            \
	.value = {.key = name,                                                                     \
		  .type = kind,                                                                    \
		  .offset = offsetof(struct options, member),                                      \
		  .help = line}

static const struct gw_option option_table[] = {
	{.value = {.key = "scenario",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct options, scenario),
		   .fallback = "mixed",
		   .help = "a YAML file, or a built-in scenario's name"},
	 .letter = 's',
	 .argument = "NAME"},
	{.value = {.key = "seed",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct options, seed),
		   .help = "of the one run; 0: as the scenario says, or 1"},
	 .argument = "N"},
	{VALUE("seeds", GW_SCHEMA_TEXT, seeds, "run each of these instead, both ends included"),
	 .argument = "A..B"},
	{.value = {.key = "processes",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct options, processes),
		   .fallback = "1",
		   .min = 1,
		   .max = SIM_PROCESSES_MAX,
		   .help = "how many at a time"},
	 .letter = 'j',
	 .argument = "N"},
	{.value = {.key = "limit",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct options, limit_us),
		   .fallback = "120 s",
		   .max = 86400ull * 1000000,
		   .help = "of many runs, one that takes longer has failed; 0: none"},
	 .argument = "TIME"},
	{VALUE("shrink", GW_SCHEMA_BOOL, shrink,
	       "make the scenario as small as it can be while the same invariant fails")},
	{.value = {.key = "runs",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct options, runs),
		   .fallback = "2000",
		   .min = 1,
		   .max = UINT32_MAX,
		   .help = "with --shrink: at most so many"},
	 .argument = "N"},
	{VALUE("write", GW_SCHEMA_TEXT, write,
	       "write the seed's concrete scenario, or the shrunk one, every fault an event"),
	 .argument = "FILE"},
	{VALUE("plant", GW_SCHEMA_TEXT, plant, "run with this bug, to see it found"),
	 .argument = "BUG"},
	{VALUE("transcript", GW_SCHEMA_BOOL, transcript, "write what happens, a line each")},
	{VALUE("json", GW_SCHEMA_BOOL, json, "results as one JSON value")},
	{VALUE("bench", GW_SCHEMA_BOOL, bench,
	       "the benchmark's rows, as JSON; --seeds 1..LAST of the full plan")},
	{VALUE("quick", GW_SCHEMA_BOOL, quick, "with --bench: within 50 s")},
	{.value = {.key = NULL}},
};

static const char *const details[] = {
	"Runs the agent's core, the scheduler's core and the session logic, the same code as in "
	"the "
	"daemons, in virtual time over a simulated WAN, and holds them to the grid's invariants. "
	"The "
	"seed decides everything: the same seed gives the same trace hash.",
	"Built-in scenarios: full (everything that can break), mixed, storm, lease-ends, "
	"killed-fast, agent-killed, link-lost-30s, hundred-sites, thousand-sites. A transcript has "
	"a line for each thing that happens; `grep` finds those of a host or a job.",
	NULL,
};

static const struct gw_example examples[] = {
	{"godwit-sim --scenario mixed --seeds 1..200 -j 2", "two hundred seeds, two at a time"},
	{"godwit-sim --scenario agent-killed --seed 7 --transcript", "see one run"},
	{"godwit-sim --scenario full --seed 7 --shrink --write small.yaml",
	 "the least that still fails"},
	{"godwit-sim --scenario small.yaml --transcript", "and what happens in it"},
	{NULL, NULL},
};

static const struct gw_command commands[] = {
	{.name = "godwit-sim",
	 .summary = "run the grid in virtual time",
	 .options = option_table,
	 .details = details,
	 .examples = examples,
	 .run = run,
	 .options_bytes = sizeof(struct options)},
	{.name = NULL},
};

static const char *const exit_codes[] = {"0 all invariants held", "1 one did not", "2 wrong usage",
					 NULL};

static const struct gw_program program = {
	.name = "godwit-sim",
	.summary = "run the grid in virtual time",
	.commands = commands,
	.exit_codes = exit_codes,
	.section = 1,
};

int main(int argc, char **argv)
{
	return gw_program_main(&program, argc, argv);
}
