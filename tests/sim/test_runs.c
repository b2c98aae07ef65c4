/*
 * Whole runs: one seed, one hash; the promises about killed agents and lost links over 200 seeds;
 * golden traces.
 *
 *	test_sim_runs            the tests
 *	test_sim_runs --renew    writes tests/golden/sim.txt anew: after a change of behaviour that
 *	                         is meant, and only then. The diff belongs into the same commit.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/sim/sweep.h"
#include "proto/base/check.h"
#include "proto/base/time.h"

#define SEEDS 200u

static struct gw_arena arena;

static struct sim_scenario read_scenario(const char *name)
{
	struct sim_scenario scenario;
	char text[768];

	if (sim_scenario_read(name, &arena, &scenario, text, sizeof(text)) < 0)
		fail_msg("%s", text);
	return scenario;
}

static struct sim_outcome run_good(const struct sim_scenario *scenario, uint64_t seed)
{
	struct sim_outcome outcome = sim_run(scenario, seed, SIM_BUG_NONE, NULL);

	if (!outcome.good)
		fail_msg("seed %" PRIu64 ": %s\n  replay: godwit-sim --scenario %s --seed %" PRIu64
			 " --transcript",
			 seed, outcome.fault, scenario->name, seed);
	return outcome;
}

static void test_same_seed_same_hash(void **state)
{
	struct sim_scenario scenario = read_scenario("mixed");

	(void)state;
	for (uint64_t seed = 1; seed <= 3; seed++) {
		struct sim_outcome first = run_good(&scenario, seed);
		struct sim_outcome again = run_good(&scenario, seed);
		struct sim_outcome other = run_good(&scenario, seed + 1000);

		assert_true(first.hash == again.hash);
		assert_int_equal(first.events, again.events);
		assert_true(first.hash != other.hash);
	}
}

/* A task is neither lost nor run twice: the scenarios say `once`, so a second run is a fault, and
 * so is a task that did not come to the end that its process came to. */
static void run_seeds(const char *name)
{
	struct sim_scenario scenario = read_scenario(name);
	uint64_t attempts = 0;

	assert_true(scenario.once);
	for (uint64_t seed = 1; seed <= SEEDS; seed++) {
		struct sim_outcome outcome = run_good(&scenario, seed);

		assert_int_equal(outcome.again, 0);
		attempts += outcome.attempts;
	}
	assert_true(attempts > (uint64_t)5 * SEEDS); /* something was at stake */
}

static void test_agent_killed(void **state)
{
	(void)state;
	run_seeds("agent-killed");
}

static void test_link_lost(void **state)
{
	(void)state;
	run_seeds("link-lost-30s");
}

/* A task moves to another node only when its run on the first is over, whatever breaks. */
static void test_leases(void **state)
{
	struct sim_scenario scenario = read_scenario("lease-ends");
	uint64_t again = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= SEEDS; seed++)
		again += run_good(&scenario, seed).again;
	assert_true(again > SEEDS); /* leases did end */
}

/* Everything at once, in three tempers. */
static void test_all_faults(void **state)
{
	static const char *const names[] = {"mixed", "storm", "killed-fast"};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(names); i++) {
		struct sim_scenario scenario = read_scenario(names[i]);

		for (uint64_t seed = 1; seed <= SEEDS / 4; seed++)
			(void)run_good(&scenario, seed);
	}
}

static void test_hundred_sites(void **state)
{
	struct sim_scenario scenario = read_scenario("hundred-sites");
	struct sim_outcome outcome;

	(void)state;
	scenario.duration_us = 2 * 60 * GW_US_PER_S;
	outcome = run_good(&scenario, 1);
	assert_true(outcome.attempts > 20);
	assert_true(outcome.messages > 10000);
}

static void test_scenarios_are_checked(void **state)
{
	struct sim_scenario scenario;
	char text[768];

	(void)state;
	assert_true(sim_scenario_read("no-such", &arena, &scenario, text, sizeof(text)) < 0);
	assert_non_null(strstr(text, "no-such"));
}

/* --- golden traces: "scenario seed hash transcript's hash" a line --- */

static const struct {
	const char *scenario;
	uint64_t seed;
} golden[] = {
	{"agent-killed", 1}, {"link-lost-30s", 1}, {"lease-ends", 1}, {"killed-fast", 1},
	{"one-way-cuts", 1}, {"power-cuts", 1},    {"bad-clocks", 1}, {"bad-disks", 1},
	{"upgrades", 1},     {"mixed", 1},         {"storm", 1},      {"full", 3},
};

struct trace {
	uint64_t hash;
	uint64_t transcript_hash; /* FNV-1a */
};

static struct trace trace_of(size_t i)
{
	struct sim_scenario scenario = read_scenario(golden[i].scenario);
	struct trace trace = {.transcript_hash = 14695981039346656037ull};
	struct sim_outcome outcome;
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);

	assert_non_null(file);
	outcome = sim_run(&scenario, golden[i].seed, SIM_BUG_NONE, file);
	assert_int_equal(fclose(file), 0);
	if (!outcome.good)
		fail_msg("%s, seed %" PRIu64 ": %s", scenario.name, golden[i].seed, outcome.fault);
	trace.hash = outcome.hash;
	for (size_t k = 0; k < size; k++)
		trace.transcript_hash =
			(trace.transcript_hash ^ (uint8_t)text[k]) * 1099511628211ull;
	free(text);
	return trace;
}

static void test_golden(void **state)
{
	FILE *file = fopen(GODWIT_GOLDEN "/sim.txt", "re");
	char name[64];
	uint64_t seed;
	struct trace written;

	(void)state;
	assert_non_null(file);
	for (size_t i = 0; i < GW_ARRAY_COUNT(golden); i++) {
		struct trace trace = trace_of(i);

		assert_int_equal(fscanf(file, "%63s %" SCNu64 " %" SCNx64 " %" SCNx64, name, &seed,
					&written.hash, &written.transcript_hash),
				 4);
		assert_string_equal(name, golden[i].scenario);
		assert_int_equal(seed, golden[i].seed);
		if (trace.hash != written.hash || trace.transcript_hash != written.transcript_hash)
			fail_msg("%s, seed %" PRIu64 ": %016" PRIx64 " %016" PRIx64
				 ", golden %016" PRIx64 " %016" PRIx64
				 "; if behaviour was meant to change: test_sim_runs --renew",
				 name, seed, trace.hash, trace.transcript_hash, written.hash,
				 written.transcript_hash);
	}
	(void)fclose(file); /* only read */
}

static int renew(void)
{
	FILE *file = fopen(GODWIT_GOLDEN "/sim.txt", "we");

	if (!file)
		return 1;
	for (size_t i = 0; i < GW_ARRAY_COUNT(golden); i++) {
		struct trace trace = trace_of(i);

		(void)fprintf(file, "%s %" PRIu64 " %016" PRIx64 " %016" PRIx64 "\n",
			      golden[i].scenario, golden[i].seed, trace.hash,
			      trace.transcript_hash);
	}
	return fclose(file) != 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scenarios_are_checked),
		cmocka_unit_test(test_same_seed_same_hash),
		cmocka_unit_test(test_agent_killed),
		cmocka_unit_test(test_link_lost),
		cmocka_unit_test(test_leases),
		cmocka_unit_test(test_all_faults),
		cmocka_unit_test(test_hundred_sites),
		cmocka_unit_test(test_golden),
	};
	int result;

	gw_arena_init(&arena, 64u << 20);
	if (argc == 2 && strcmp(argv[1], "--renew") == 0)
		result = renew();
	else
		result = cmocka_run_group_tests(tests, NULL, NULL);
	gw_arena_deinit(&arena);
	return result;
}
