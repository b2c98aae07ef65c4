/*
 * Arbitrary bytes as a scenario of the simulated grid: an error with a text, or a plan that, once
 * drawn, is written and read as itself. A small one is run as well: whatever strikes and whenever,
 * no core and no part of the world may stop the process. That its invariants hold is for scenarios
 * that make sense.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/sim/plan.h"
#include "bench/sim/sweep.h"
#include "proto/base/check.h"
#include "proto/base/time.h"

#define ARENA_BYTES_MAX (64u << 20)
#define NODES_RUN_MAX 4u
#define EVENTS_RUN_MAX 200u
#define SECONDS_RUN_MAX 20u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *write_text(const struct sim_scenario *scenario, size_t *ret_size)
{
	char *text = NULL;
	FILE *file = open_memstream(&text, ret_size);

	CHECK(file);
	sim_scenario_write(scenario, file);
	CHECK(fclose(file) == 0);
	return text;
}

static void check_written(const struct sim_scenario *drawn, struct gw_arena *arena)
{
	struct sim_scenario back;
	char sentence[768];
	size_t size;
	size_t size_again;
	char *text = write_text(drawn, &size);
	char *again;

	CHECK(sim_scenario_parse("", text, size, arena, &back, sentence, sizeof(sentence)) == 0);
	again = write_text(&back, &size_again);
	CHECK(size == size_again);
	CHECK(memcmp(text, again, size) == 0);
	free(again);
	free(text);
}

static void run_small(struct sim_scenario *drawn)
{
	if (drawn->sites * drawn->nodes > NODES_RUN_MAX || drawn->events.count > EVENTS_RUN_MAX ||
	    drawn->jobs.tasks > 20 || drawn->jobs.every_us < GW_US_PER_S / 10)
		return;
	if (drawn->duration_us > SECONDS_RUN_MAX * GW_US_PER_S)
		drawn->duration_us = SECONDS_RUN_MAX * GW_US_PER_S;
	if (drawn->settle_us > SECONDS_RUN_MAX * GW_US_PER_S)
		drawn->settle_us = SECONDS_RUN_MAX * GW_US_PER_S;
	(void)sim_run(drawn, drawn->seed, SIM_BUG_NONE, NULL); /* that it comes back is enough */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sim_scenario scenario;
	struct sim_scenario drawn;
	struct gw_arena arena;
	char sentence[768] = "";

	gw_arena_init(&arena, ARENA_BYTES_MAX);
	if (sim_scenario_parse("input", (const char *)data, size, &arena, &scenario, sentence,
			       sizeof(sentence)) < 0) {
		CHECK(sentence[0] != '\0');
	} else {
		sim_plan_draw(&scenario, scenario.seed, &arena, &drawn);
		check_written(&drawn, &arena);
		run_small(&drawn);
	}
	gw_arena_deinit(&arena);
	return 0;
}
