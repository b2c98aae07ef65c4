/*
 * godwit-sim: the same agents, scheduler and sessions as the daemons run, in virtual time. One run
 * by its seed, many seeds over several processes, or the benchmark's row.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <jansson.h>

#include "bench/sim/sweep.h"
#include "proto/base/check.h"
#include "proto/base/time.h"
#include "proto/option.h"

#define ARENA_BYTES_MAX (1u << 20)
#define BENCH_SCENARIO "hundred-sites"
#define BENCH_RUNS 3u
#define TOLD_FAILURES_MAX 20u

struct options {
	const char *scenario;
	uint64_t seed;
	const char *seeds;
	uint64_t processes;
	bool transcript;
	bool json;
	bool bench;
	bool quick;
};

static json_t *outcome_json(const struct sim_outcome *outcome)
{
	char hash[24];

	(void)snprintf(hash, sizeof(hash), "%016" PRIx64, outcome->hash);
	return json_pack(
		"{s:I,s:b,s:s,s:s,s:I,s:f,s:f,s:I,s:I,s:I,s:I,s:I,s:I}", "seed",
		(json_int_t)outcome->seed, "good", outcome->good, "fault", outcome->fault, "hash",
		hash, "events", (json_int_t)outcome->events, "virtual_s",
		(double)outcome->virtual_us / 1e6, "wall_s", (double)outcome->wall_us / 1e6, "jobs",
		(json_int_t)outcome->jobs, "refused", (json_int_t)outcome->refused, "attempts",
		(json_int_t)outcome->attempts, "again", (json_int_t)outcome->again, "messages",
		(json_int_t)outcome->messages, "records", (json_int_t)outcome->records);
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
		sim_run(scenario, options->seed, SIM_BUG_NONE, options->transcript ? stdout : NULL);

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

struct tally {
	const struct options *options;
	json_t *list; /* NULL: for people */
	uint64_t good;
	uint64_t bad;
	uint64_t again;
	uint64_t attempts;
	uint64_t hash; /* of all, in whatever order */
};

static void count(const struct sim_outcome *outcome, void *context)
{
	struct tally *tally = context;

	tally->good += outcome->good;
	tally->bad += !outcome->good;
	tally->again += outcome->again;
	tally->attempts += outcome->attempts;
	tally->hash += outcome->hash;
	if (tally->list)
		(void)json_array_append_new(tally->list, outcome_json(outcome)); /* or lacks it */
	else if (!outcome->good && tally->bad <= TOLD_FAILURES_MAX)
		print_failure(tally->options, outcome);
}

static int run_many(const struct options *options, const struct sim_scenario *scenario)
{
	struct tally tally = {.options = options, .list = options->json ? json_array() : NULL};
	struct sim_sweep sweep = {.scenario = scenario,
				  .process_count = (uint32_t)options->processes,
				  .done = count,
				  .context = &tally};
	int end = 0;
	int result;

	if (sscanf(options->seeds, "%" SCNu64 "..%" SCNu64 "%n", &sweep.first, &sweep.last, &end) !=
		    2 ||
	    options->seeds[end] != '\0' || sweep.first > sweep.last) {
		(void)fprintf(stderr, "godwit-sim: --seeds takes FIRST..LAST, not \"%s\"\n",
			      options->seeds);
		return 2;
	}
	(void)fflush(stdout); /* before the forks */
	result = sim_sweep_run(&sweep);
	if (result < 0) {
		(void)fprintf(stderr, "godwit-sim: no process for the seeds: %s\n",
			      strerror(-result));
		return 1;
	}
	if (options->json)
		return print_json(tally.list) || tally.bad > 0;
	(void)printf("%s, seeds %s: %" PRIu64 " good, %" PRIu64 " bad; %" PRIu64
		     " attempts, %" PRIu64 " not the first of their task; hash of all %016" PRIx64
		     "\n",
		     scenario->name, options->seeds, tally.good, tally.bad, tally.attempts,
		     tally.again, tally.hash);
	return tally.bad > 0;
}

static int compare_times(const void *a, const void *b)
{
	uint64_t x = ((const struct sim_outcome *)a)->wall_us;
	uint64_t y = ((const struct sim_outcome *)b)->wall_us;

	return x < y ? -1 : x > y;
}

static json_t *bench_row(const struct sim_outcome *outcomes, uint32_t runs, const char *why)
{
	const struct sim_outcome *median = &outcomes[runs / 2];
	double wall_s = (double)median->wall_us / 1e6;
	struct rusage usage;

	(void)getrusage(RUSAGE_SELF, &usage); /* cannot fail for this */
	if (why)
		return json_pack("{s:s,s:n,s:s,s:s,s:s}", "name", "sim.100sites_hour_s", "value",
				 "unit", "s", "better", "lower", "why", why);
	return json_pack(
		"{s:s,s:f,s:s,s:s,s:n,s:n,s:[{s:s,s:f},{s:s,s:I},{s:s,s:f},{s:s,s:I},{s:s,s:I}],"
		"s:f,s:f,s:i}",
		"name", "sim.100sites_hour_s", "value", wall_s, "unit", "s", "better", "lower",
		"bar", "holds", "beside", "name", "events_per_s", "value",
		(double)median->events / wall_s, "name", "events", "value",
		(json_int_t)median->events, "name", "peak_rss_mib", "value",
		(double)usage.ru_maxrss / 1024.0, "name", "messages", "value",
		(json_int_t)median->messages, "name", "attempts", "value",
		(json_int_t)median->attempts, "min", (double)outcomes[0].wall_us / 1e6, "max",
		(double)outcomes[runs - 1].wall_us / 1e6, "runs", (int)runs);
}

/* Wall time of the same run, several times: the seed is fixed, so the work is the same. */
static int run_bench(const struct options *options, const struct sim_scenario *scenario)
{
	struct sim_outcome outcomes[BENCH_RUNS];
	uint32_t runs = options->quick ? 1 : BENCH_RUNS;
	const char *why = NULL;

	for (uint32_t i = 0; i < runs; i++) {
		outcomes[i] = sim_run(scenario, options->seed, SIM_BUG_NONE, NULL);
		(void)fprintf(stderr, "run %" PRIu32 ": %.2f s\n", i + 1,
			      (double)outcomes[i].wall_us / 1e6);
		if (!outcomes[i].good)
			why = outcomes[i].fault;
		else if (outcomes[i].hash != outcomes[0].hash)
			why = "the same seed gave two trace hashes";
	}
	qsort(outcomes, runs, sizeof(outcomes[0]), compare_times);
	return print_json(json_pack("[o]", bench_row(outcomes, runs, why)));
}

static int run(const struct gw_command *command, void *given, int operand_count, char **operands)
{
	struct options *options = given;
	struct sim_scenario scenario;
	struct gw_arena arena;
	char text[768];
	int result;

	(void)command;
	(void)operand_count;
	(void)operands;
	if (options->bench)
		options->scenario = BENCH_SCENARIO;
	gw_arena_init(&arena, ARENA_BYTES_MAX);
	if (sim_scenario_read(options->scenario, &arena, &scenario, text, sizeof(text)) < 0) {
		(void)fprintf(stderr, "godwit-sim: %s\n", text);
		result = 2;
	} else if (options->bench) {
		result = run_bench(options, &scenario);
	} else if (options->seeds) {
		result = run_many(options, &scenario);
	} else {
		result = run_one(options, &scenario);
	}
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
		   .fallback = "1",
		   .help = "of the one run"},
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
	{VALUE("transcript", GW_SCHEMA_BOOL, transcript, "write what happens, a line each")},
	{VALUE("json", GW_SCHEMA_BOOL, json, "results as one JSON value")},
	{VALUE("bench", GW_SCHEMA_BOOL, bench, "time 100 sites for an hour: a benchmark's row")},
	{VALUE("quick", GW_SCHEMA_BOOL, quick, "with --bench: once instead of three times")},
	{.value = {.key = NULL}},
};

static const char *const details[] = {
	"Runs the agent's core, the scheduler's core and the session logic, the same code as in "
	"the "
	"daemons, in virtual time over a simulated WAN, and holds them to the grid's invariants. "
	"The "
	"seed decides everything: the same seed gives the same trace hash.",
	"Built-in scenarios: agent-killed, link-lost-30s, lease-ends, killed-fast, mixed, storm, "
	"hundred-sites.",
	NULL,
};

static const struct gw_example examples[] = {
	{"godwit-sim --scenario mixed --seeds 1..200 -j 2", "two hundred seeds, two at a time"},
	{"godwit-sim --scenario agent-killed --seed 7 --transcript", "see one run"},
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
