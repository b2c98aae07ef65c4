/*
 * Each kind of fault bites: a run with nothing but faults of this kind has another trace than the
 * run without, leaves the mark that is this kind's own, and breaks no invariant.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/sim/grid.h"
#include "proto/base/check.h"

#define FAULTS 12u
#define NO_SIGHT SIM_SAW_COUNT

static const struct {
	enum sim_fault_kind kind;
	uint64_t amount;
	uint64_t lasts_us;
	enum sim_sight sight; /* that only it leaves in a run that is calm otherwise */
} kinds[] = {
	{SIM_FAULT_LINK_CUT, 1, 5000000, SIM_SAW_CONNECTION_BROKEN},
	{SIM_FAULT_LINK_CUT_OUT, 1, 5000000, SIM_SAW_CONNECTION_BROKEN},
	{SIM_FAULT_LINK_CUT_IN, 1, 5000000, SIM_SAW_CONNECTION_BROKEN},
	{SIM_FAULT_DELAY_SPIKE, 500000, 5000000, NO_SIGHT},
	{SIM_FAULT_SLOW_RATE, 3000, 20000000, SIM_SAW_QUEUE_FULL},
	{SIM_FAULT_LOSS_BURST, 300000, 5000000, SIM_SAW_PACKET_RESENT},
	{SIM_FAULT_DUPLICATION, 500000, 5000000, SIM_SAW_PACKET_DOUBLED},
	{SIM_FAULT_REORDERING, 500000, 5000000, SIM_SAW_PACKET_OVERTAKEN},
	{SIM_FAULT_CONNECTION_LOST, 3, 0, SIM_SAW_CONNECTION_BROKEN},
	{SIM_FAULT_AGENT_KILLED, 0, 2000000, SIM_SAW_CONNECTION_BROKEN},
	{SIM_FAULT_KEEPER_KILLED, 0, 1000000, SIM_SAW_ATTEMPT_LOST},
	{SIM_FAULT_SCHEDULER_KILLED, 0, 2000000, SIM_SAW_CONNECTION_BROKEN},
	{SIM_FAULT_HOST_REBOOT, 0, 2000000, SIM_SAW_ATTEMPT_LOST},
	{SIM_FAULT_POWER_CUT, 0, 2000000, SIM_SAW_ATTEMPT_LOST},
	{SIM_FAULT_STOPPED, 0, 8000000, NO_SIGHT},
	{SIM_FAULT_SLOW_CPU, 20000, 5000000, NO_SIGHT},
	{SIM_FAULT_CLOCK_FORWARD, 5000000, 0, NO_SIGHT},
	{SIM_FAULT_CLOCK_BACK, 5000000, 0, NO_SIGHT},
	{SIM_FAULT_CLOCK_FAST, 400, 5000000, NO_SIGHT},
	{SIM_FAULT_CLOCK_SLOW, 400, 5000000, NO_SIGHT},
	{SIM_FAULT_DISK_SLOW, 2000000, 5000000, NO_SIGHT},
	{SIM_FAULT_DISK_FULL, 0, 5000000, SIM_SAW_WRITE_REFUSED},
	{SIM_FAULT_DISK_SYNC_FAILS, 0, 5000000, SIM_SAW_SYNC_FAILED},
	{SIM_FAULT_DISK_SYNC_LIES, 0, 60000000, NO_SIGHT}, /* a power cut shows it, below */
	{SIM_FAULT_DISK_MISDIRECTED, 4096, 60000000, NO_SIGHT},
	{SIM_FAULT_DISK_BIT_ROT, 3000, 0, NO_SIGHT},
	{SIM_FAULT_VERSION_OLD, 0, 5000000, SIM_SAW_CONNECTION_BROKEN},
};

static void fill_scenario(struct sim_scenario *scenario)
{
	*scenario = (struct sim_scenario){
		.name = "faults",
		.about = "",
		.duration_us = 60 * GW_US_PER_S,
		.settle_us = 600 * GW_US_PER_S,
		.sites = 2,
		.nodes = 1,
		.cpus = 8,
		.memory_bytes = 64ull << 30,
		.spread_km = 1000,
		.jitter_us = 1000,
		.write_us = 5000,
		.plan_us = 10000,
		.jobs = {.every_us = 2 * GW_US_PER_S,
			 .tasks = 3,
			 .run_min_us = GW_US_PER_S,
			 .run_max_us = 20 * GW_US_PER_S,
			 .cpu_milli = 2000,
			 .memory_bytes = 1 << 20,
			 .lease_us = 60 * GW_US_PER_S,
			 .grace_us = GW_US_PER_S,
			 .attempts = 2},
	};
}

struct result {
	uint64_t hash;
	struct sim_coverage coverage;
};

static struct result run(const struct sim_fault_event *events, size_t count)
{
	struct sim_scenario scenario;
	struct result result;
	struct sim_grid *grid;

	fill_scenario(&scenario);
	grid = sim_grid_new(&scenario, 1, SIM_BUG_NONE, NULL);
	sim_faults_set(grid, events, count);
	if (!sim_grid_run(grid))
		fail_msg("%s: %s", count ? sim_fault_name(events[0].kind) : "calm",
			 grid->world.fault);
	result.hash = grid->world.hash;
	result.coverage = grid->world.coverage;
	(void)sim_grid_free(grid);
	return result;
}

static uint64_t target_of(enum sim_fault_kind kind, unsigned i)
{
	switch (sim_fault_class(kind)->scope) {
	case SIM_SCOPE_SITE:
		return i % 2;
	case SIM_SCOPE_AGENT:
		return 1 + i % 2;
	case SIM_SCOPE_HOST:
		return i % 3;
	case SIM_SCOPE_SCHEDULER:
		break;
	}
	return 0;
}

static void test_every_kind_bites(void **state)
{
	struct result calm = run(NULL, 0);

	(void)state;
	assert_int_equal(GW_ARRAY_COUNT(kinds), SIM_FAULT_COUNT);
	for (size_t k = 0; k < GW_ARRAY_COUNT(kinds); k++) {
		struct sim_fault_event events[FAULTS];
		struct result result;

		assert_int_equal(kinds[k].kind, k);
		for (unsigned i = 0; i < FAULTS; i++)
			events[i] = (struct sim_fault_event){.kind = kinds[k].kind,
							     .at_us = (4 + 4 * (uint64_t)i) *
								      GW_US_PER_S,
							     .lasts_us = kinds[k].lasts_us,
							     .target = target_of(kinds[k].kind, i),
							     .amount = kinds[k].amount};
		result = run(events, FAULTS);
		assert_true(result.coverage.struck[k] > 0);
		/* A disk that lies or lost a bit shows it only to who reads it again. */
		if (!sim_fault_class(kinds[k].kind)->damages &&
		    kinds[k].kind != SIM_FAULT_DISK_FULL && result.hash == calm.hash)
			fail_msg("%s changes nothing", sim_fault_name(kinds[k].kind));
		if (kinds[k].sight == NO_SIGHT)
			continue;
		assert_int_equal(calm.coverage.seen[kinds[k].sight], 0);
		if (result.coverage.seen[kinds[k].sight] == 0)
			fail_msg("%s leaves no mark", sim_fault_name(kinds[k].kind));
	}
}

/* The scheduler refuses to start, or lacks records that were durable. */
static bool notices(const struct sim_fault_event *events, size_t count, uint64_t seed)
{
	struct sim_scenario scenario;
	struct sim_grid *grid;
	bool noticed;

	fill_scenario(&scenario);
	grid = sim_grid_new(&scenario, seed, SIM_BUG_NONE, NULL);
	sim_faults_set(grid, events, count);
	if (!sim_grid_run(grid))
		fail_msg("seed %u: %s", (unsigned)seed, grid->world.fault);
	noticed = grid->scheduler.refused || grid->check.history_lost;
	(void)sim_grid_free(grid);
	return noticed;
}

/* What the scheduler's disk did shows when it starts again: it refuses, or lacks records. */
static void test_damage_shows(void **state)
{
	static const struct {
		enum sim_fault_kind kind;
		uint64_t amount;
		uint64_t at_us; /* the power cut comes at 30.05 s */
	} cases[] = {
		{SIM_FAULT_DISK_SYNC_LIES, 0, 20000000},
		{SIM_FAULT_DISK_MISDIRECTED, 4096, 25000000},
		{SIM_FAULT_DISK_BIT_ROT, 4096ull * 8 + 100, 25000000}, /* in the first batch */
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(cases); i++) {
		struct sim_fault_event events[] = {
			{.kind = cases[i].kind,
			 .at_us = cases[i].at_us,
			 .lasts_us = 60 * GW_US_PER_S,
			 .amount = cases[i].amount},
			{.kind = SIM_FAULT_POWER_CUT, .at_us = 30050000, .lasts_us = GW_US_PER_S},
		};
		uint32_t noticed = 0; /* a power cut may spare it all */

		for (uint64_t seed = 1; seed <= 10; seed++)
			noticed += notices(events, GW_ARRAY_COUNT(events), seed);
		if (noticed < 3)
			fail_msg("%s: noticed in %u of 10 seeds", sim_fault_name(cases[i].kind),
				 (unsigned)noticed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_kind_bites),
		cmocka_unit_test(test_damage_shows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
