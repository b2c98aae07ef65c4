/*
 * Campaigns: plans that are drawn, written and read; a hundred seeds of everything that can break;
 * planted bugs that must be found; what once failed and may not again; a failing seed made small.
 */
#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/sim/plan.h"
#include "bench/sim/planted.h"
#include "bench/sim/shrink.h"
#include "bench/sim/sweep.h"
#include "proto/base/check.h"
#include "proto/base/time.h"

#define FULL_SEEDS 100u
#define PLAN_SEEDS 20u
#define PROCESSES 2u
#define REGRESSION_SEEDS 10u
#define SMALL_NODES 100u
#define LIMIT_S 120u

static struct gw_arena arena;

static struct sim_scenario read_scenario(const char *name)
{
	struct sim_scenario scenario;
	char text[768];

	if (sim_scenario_read(name, &arena, &scenario, text, sizeof(text)) < 0)
		fail_msg("%s", text);
	return scenario;
}

/* --- plans --- */

static char *written(const struct sim_scenario *scenario, size_t *ret_size)
{
	char *text = NULL;
	FILE *file = open_memstream(&text, ret_size);

	assert_non_null(file);
	sim_scenario_write(scenario, file);
	assert_int_equal(fclose(file), 0);
	return text;
}

/* What was drawn and written reads as the same text, and runs as if it had not been written. */
static void test_plans_are_written_and_read(void **state)
{
	struct sim_scenario full = read_scenario("full");

	(void)state;
	for (uint64_t seed = 1; seed <= PLAN_SEEDS; seed++) {
		struct sim_scenario drawn;
		struct sim_scenario back;
		char sentence[768];
		size_t size;
		size_t size_again;
		char *text;
		char *again;

		sim_plan_draw(&full, seed, &arena, &drawn);
		text = written(&drawn, &size);
		if (sim_scenario_parse("plan", text, size, &arena, &back, sentence,
				       sizeof(sentence)) < 0)
			fail_msg("seed %" PRIu64 ": %s\n%s", seed, sentence, text);
		again = written(&back, &size_again);
		assert_string_equal(text, again);
		assert_int_equal(back.seed, seed);
		if (seed <= 3)
			assert_true(sim_run(&full, seed, SIM_BUG_NONE, NULL).hash ==
				    sim_run(&back, back.seed, SIM_BUG_NONE, NULL).hash);
		free(again);
		free(text);
	}
}

/* Over the seeds, a swarm has each kind of fault, and leaves each out. */
static void test_swarm_varies(void **state)
{
	struct sim_scenario full = read_scenario("full");
	uint32_t with[SIM_FAULT_COUNT] = {0};

	(void)state;
	assert_true(full.swarm);
	for (uint64_t seed = 1; seed <= FULL_SEEDS; seed++) {
		bool has[SIM_FAULT_COUNT] = {false};
		const struct sim_fault_event *events;
		struct sim_scenario drawn;

		sim_plan_draw(&full, seed, &arena, &drawn);
		events = drawn.events.items;
		assert_int_equal(drawn.faults.count, 0);
		assert_true(sim_plan_load_ppm(&drawn) <= SIM_LOAD_PPM_MAX);
		for (uint32_t i = 0; i < drawn.events.count; i++) {
			assert_true(
				sim_fault_fits(&events[i], drawn.sites, drawn.sites * drawn.nodes));
			assert_true(i == 0 || events[i - 1].at_us <= events[i].at_us);
			has[events[i].kind] = true;
		}
		for (unsigned kind = 0; kind < SIM_FAULT_COUNT; kind++)
			with[kind] += has[kind];
	}
	for (unsigned kind = 0; kind < SIM_FAULT_COUNT; kind++) {
		bool damages = sim_fault_class((enum sim_fault_kind)kind)->damages;

		assert_in_range(with[kind], damages ? 1 : FULL_SEEDS / 4,
				FULL_SEEDS - FULL_SEEDS / 4);
	}
}

static void test_wrong_scenarios_are_refused(void **state)
{
	static const struct {
		const char *text;
		const char *sentence;
	} wrong[] = {
		{"name: x\nfaults: [{kind: lik-cut}]\n", "link-cut"},
		{"name: x\nfaults: [{kind: link-cut, lasts_min: 2 s, lasts_max: 1 s}]\n", "above"},
		{"name: x\nfaults: [{kind: agent-killed, amount_min: 1}]\n", "no amount"},
		{"name: x\nfaults: [{kind: delay-spike, amount_max: 5}]\n", "5"},
		{"name: x\nevents: [{kind: link-cut, target: 3}]\n", "no target 3"},
		{"name: x\nevents: [{kind: agent-killed, target: 0}]\n", "no target 0"},
		{"name: x\nswarm: true\nevents: [{kind: link-cut}]\n", "swarm"},
		{"name: x\njobs: {run_min: 2 s, run_max: 1 s}\n", "run_min"},
		{"name: x\nduration: 10 ms\n", "duration"},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(wrong); i++) {
		struct sim_scenario scenario;
		char sentence[768] = "accepted";

		(void)sim_scenario_parse("wrong", wrong[i].text, strlen(wrong[i].text), &arena,
					 &scenario, sentence, sizeof(sentence));
		if (!strstr(sentence, wrong[i].sentence))
			fail_msg("%s: \"%s\" does not say \"%s\"", wrong[i].text, sentence,
				 wrong[i].sentence);
	}
}

/* --- many seeds --- */

struct seen {
	const char *scenario;
	uint32_t good_count;
	uint32_t bad_count;
	struct sim_outcome last_bad;
	struct sim_coverage_sum coverage;
};

static void see(const struct sim_outcome *outcome, void *context)
{
	struct seen *seen = context;

	seen->good_count += outcome->good;
	seen->bad_count += !outcome->good;
	sim_coverage_add(&seen->coverage, &outcome->coverage);
	if (outcome->good)
		return;
	seen->last_bad = *outcome;
	print_message("seed %" PRIu64 ": %s\n  replay: godwit-sim --scenario %s --seed %" PRIu64
		      " --transcript\n",
		      outcome->seed, outcome->fault, seen->scenario, outcome->seed);
}

/* Everything that can break, with both cores; and all of it did. */
static void test_full(void **state)
{
	struct sim_scenario full = read_scenario("full");
	struct seen seen = {.scenario = "full"};
	struct sim_sweep sweep = {.scenario = &full,
				  .first = 1,
				  .last = FULL_SEEDS,
				  .process_count = PROCESSES,
				  .limit_s = LIMIT_S,
				  .done = see,
				  .context = &seen};

	(void)state;
	assert_int_equal(sim_sweep_run(&sweep), 0);
	assert_int_equal(seen.bad_count, 0);
	assert_int_equal(seen.good_count, FULL_SEEDS);
	for (unsigned kind = 0; kind < SIM_FAULT_COUNT; kind++) {
		if (seen.coverage.struck[kind] == 0)
			fail_msg("no %s struck", sim_fault_name((enum sim_fault_kind)kind));
	}
}

/* A scenario in which something failed once. What the world draws shifts with every change of it,
 * so some seeds are tried of one that is small. */
static void replay(const char *path)
{
	struct sim_scenario scenario = read_scenario(path);
	uint64_t seeds = scenario.sites * scenario.nodes > SMALL_NODES ? 1 : REGRESSION_SEEDS;

	for (uint64_t seed = scenario.seed; seed < scenario.seed + seeds; seed++) {
		struct sim_outcome outcome = sim_run(&scenario, seed, SIM_BUG_NONE, NULL);

		if (!outcome.good)
			fail_msg("%s, seed %" PRIu64 ": %s", path, seed, outcome.fault);
	}
}

static void test_regressions(void **state)
{
	static const char folder[] = GODWIT_SIM_SCENARIOS "/regressions";
	struct dirent **entries;
	int count = scandir(folder, &entries, NULL, alphasort);
	uint32_t run_count = 0;

	(void)state;
	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		char path[512];

		(void)snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.') {
			replay(path);
			run_count++;
		}
		free(entries[i]);
	}
	free(entries);
	assert_true(run_count > 0);
}

/* --- the checker can fail --- */

static void test_planted_bugs_are_found(void **state)
{
	struct sim_scenario full = read_scenario("full");
	uint32_t missed = 0;

	(void)state;
	for (uint32_t i = 0; i < sim_planted_count; i++) {
		struct sim_outcome outcome;
		bool found = sim_planted_hunt(&sim_planted[i], &full, &outcome);

		print_message("%s, %s: %s %" PRIu64 ": %s\n", sim_planted[i].name,
			      sim_planted[i].about, found ? "found with seed" : "MISSED, seed",
			      outcome.seed, outcome.fault);
		missed += !found;
	}
	assert_int_equal(missed, 0);
}

/* A process that dies or does not end is a failed run of its seed, and the others go on. */
static void test_a_run_that_dies(void **state)
{
	struct sim_fault_event nowhere = {.kind = SIM_FAULT_AGENT_KILLED, .target = 99};
	struct sim_scenario scenario = read_scenario("agent-killed");
	struct seen seen = {.scenario = "test"};
	struct sim_sweep sweep = {.scenario = &scenario,
				  .first = 1,
				  .last = 3,
				  .process_count = PROCESSES,
				  .limit_s = LIMIT_S,
				  .done = see,
				  .context = &seen};

	(void)state;
	scenario.faults.count = 0;
	scenario.events = (struct gw_schema_list){.items = &nowhere, .count = 1};
	assert_int_equal(sim_sweep_run(&sweep), 0);
	assert_int_equal(seen.bad_count, 3);
	assert_non_null(strstr(seen.last_bad.fault, "broken invariant"));

	scenario = read_scenario("thousand-sites");
	sweep.last = 1;
	sweep.limit_s = 1;
	seen.bad_count = 0;
	assert_int_equal(sim_sweep_run(&sweep), 0);
	assert_int_equal(seen.bad_count, 1);
	assert_non_null(strstr(seen.last_bad.fault, "within 1 s"));
}

static void test_keys(void **state)
{
	char one[SIM_KEY_BYTES];
	char same[SIM_KEY_BYTES];
	char other[SIM_KEY_BYTES];

	(void)state;
	sim_fault_key("s1n1 is oversold: its tasks use 5000 of 4000 thousandths", one);
	sim_fault_key("s17n3 is oversold: its tasks use 4001 of 4000 thousandths", same);
	sim_fault_key("1.3/0#2 begins while attempt 1 of the same task still runs", other);
	assert_string_equal(one, same);
	assert_string_not_equal(one, other);
	assert_string_equal(one, "is oversold: its tasks use of thousandths");
}

/* A bug that needs a fault to show is shrunk to hardly more than that. */
static void test_shrink(void **state)
{
	const struct sim_planted *planted = sim_planted_find("keeper-forgets");
	struct sim_scenario full = read_scenario("full");
	struct sim_shrink shrink = {.scenario = &full,
				    .bug = planted->bug,
				    .process_count = 1,
				    .limit_s = LIMIT_S,
				    .runs_max = 400};
	struct sim_outcome found;
	struct sim_outcome outcome;
	struct sim_scenario small;
	struct sim_scenario drawn;

	(void)state;
	assert_true(sim_planted_hunt(planted, &full, &found));
	shrink.seed = found.seed;
	assert_int_equal(sim_shrink_run(&shrink, &arena, &small, &outcome), 0);
	sim_plan_draw(&full, found.seed, &arena, &drawn);
	print_message("%" PRIu32 " events and %" PRIu64 " nodes, of %" PRIu32 " and %" PRIu64 "\n",
		      small.events.count, small.sites * small.nodes, drawn.events.count,
		      drawn.sites * drawn.nodes);
	assert_true(small.events.count * 4 < drawn.events.count);
	outcome = sim_run(&small, small.seed, planted->bug, NULL);
	assert_false(outcome.good);
	assert_non_null(strstr(outcome.fault, planted->sentence));

	shrink.bug = SIM_BUG_NONE;
	assert_int_equal(sim_shrink_run(&shrink, &arena, &small, &outcome), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wrong_scenarios_are_refused),
		cmocka_unit_test(test_keys),
		cmocka_unit_test(test_plans_are_written_and_read),
		cmocka_unit_test(test_swarm_varies),
		cmocka_unit_test(test_a_run_that_dies),
		cmocka_unit_test(test_regressions),
		cmocka_unit_test(test_full),
		cmocka_unit_test(test_planted_bugs_are_found),
		cmocka_unit_test(test_shrink),
	};
	int result;

	gw_arena_init(&arena, 256u << 20);
	result = cmocka_run_group_tests(tests, NULL, NULL);
	gw_arena_deinit(&arena);
	return result;
}
