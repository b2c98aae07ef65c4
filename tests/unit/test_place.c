/* Planners on grids written out: fit, order of sites, rings, budgets, reasons, determinism. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/prng.h"
#include "scheduler/place/plan.h"
#include "scheduler/place/residency.h"

#define GIB (1ull << 30)
#define UNITS 1000000u

/* `node_count` equal nodes in each site, of 4 CPUs, 8 GiB, 8 ports; one request for `task_count`
 * tasks of 1 CPU, 1 GiB, 1 port, allowed everywhere. */
static struct gw_grid *make_grid(uint32_t site_count, uint32_t node_count, uint32_t task_count)
{
	struct gw_grid *grid = gw_grid_new(site_count, site_count * node_count, 1);
	struct gw_request *request;

	assert_non_null(grid);
	for (uint32_t i = 0; i < site_count * node_count; i++) {
		struct gw_grid_node *node = &grid->nodes[i];

		node->id.id = gw_id_make(1, 1, i);
		node->site = i / node_count;
		node->cpu_milli = node->cpu_milli_free = 4000;
		node->memory_bytes = node->memory_bytes_free = 8 * GIB;
		node->slots_free = 100;
		node->port_first = 9000;
		node->port_count = 8;
		strcpy(node->residency, "CN-GZ");
	}
	for (uint32_t i = 0; i < site_count; i++) {
		(void)snprintf(grid->sites[i].name, sizeof(grid->sites[i].name), "s%u", i);
		grid->sites[i].node_first = i * node_count;
		grid->sites[i].node_count = node_count;
	}
	request = &grid->requests[0];
	request->job.id = gw_id_make(1, 1, 1);
	request->need = (struct gw_need){.cpu_milli = 1000, .memory_bytes = GIB, .port_count = 1};
	request->task_count = task_count;
	request->tasks = gw_grid_alloc(grid, task_count, sizeof(*request->tasks));
	for (uint32_t i = 0; i < task_count; i++)
		request->tasks[i] = i;
	request->site_allowed = gw_grid_alloc(grid, site_count, sizeof(bool));
	request->site_held = gw_grid_alloc(grid, site_count, sizeof(uint32_t));
	memset(request->site_allowed, 1, site_count);
	grid->explain = true;
	return grid;
}

static void set_rtt(struct gw_grid *grid, uint32_t a, uint32_t b, uint32_t rtt_us)
{
	grid->rtt_us[a * grid->site_count + b] = rtt_us;
	grid->rtt_us[b * grid->site_count + a] = rtt_us;
}

static struct gw_plan_result *run(struct gw_grid *grid)
{
	struct gw_plan_result *plan = gw_plan_run(grid, UNITS, 1);

	assert_non_null(plan);
	assert_int_equal(plan->job_count, 1);
	return plan;
}

static uint32_t count_in(const struct gw_plan_job *job, uint32_t site)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < job->place_count; i++)
		count += job->places[i].site == site;
	return count;
}

static void residency_is_by_whole_parts(void **state)
{
	static const struct {
		const char *allowed;
		const char *place;
		bool within;
	} rows[] = {
		{"CN", "CN-GZ", true},  {"CN-GZ", "CN-GZ", true}, {"CN-G", "CN-GZ", false},
		{"CN-GZ", "CN", false}, {"DE", "CN-GZ", false},   {"CN", "", false},
		{"", "CN", false},
	};

	(void)state;
	assert_true(gw_residency_allows(NULL, 0, ""));
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++)
		assert_int_equal(gw_residency_allows(&rows[i].allowed, 1, rows[i].place),
				 rows[i].within);
	assert_true(gw_residency_valid("CN"));
	assert_true(gw_residency_valid("CN-GZ"));
	assert_true(gw_residency_valid("FR-2A"));
	assert_false(gw_residency_valid("cn"));
	assert_false(gw_residency_valid("CN-"));
	assert_false(gw_residency_valid("CN-GZSH"));
	assert_false(gw_residency_valid("CNX"));
	assert_false(gw_residency_valid(""));
}

static void ports_come_in_runs(void **state)
{
	uint64_t used[GW_GRID_PORT_WORDS] = {0};

	(void)state;
	assert_int_equal(gw_ports_find(used, 8, 3), 0);
	gw_ports_set(used, 2, 1, true);
	assert_int_equal(gw_ports_find(used, 8, 2), 0);
	assert_int_equal(gw_ports_find(used, 8, 3), 3);
	assert_int_equal(gw_ports_find(used, 8, 6), -1);
	gw_ports_set(used, 62, 4, true); /* over a word's edge */
	assert_false(gw_ports_free(used, 65, 1));
	assert_true(gw_ports_free(used, 66, 1));
	assert_int_equal(gw_ports_find(used, GW_GRID_PORTS_MAX, GW_GRID_PORTS_MAX), -1);
	gw_ports_set(used, 62, 4, false);
	assert_true(gw_ports_free(used, 60, 10));
}

static void a_task_takes_what_it_needs(void **state)
{
	struct gw_grid *grid = make_grid(1, 1, 1);
	struct gw_grid_node *node = &grid->nodes[0];
	struct gw_need need = {.cpu_milli = 1500,
			       .memory_bytes = GIB,
			       .device_count = 2,
			       .device_type = 7,
			       .port_count = 2};
	uint16_t port;
	uint16_t devices;

	(void)state;
	node->device_count = 4;
	node->devices_free = 0xf;
	node->device_types[0] = 5;
	node->device_types[1] = node->device_types[2] = node->device_types[3] = 7;
	assert_true(gw_grid_take(node, &need, &port, &devices));
	assert_int_equal(port, 9000);
	assert_int_equal(devices, 0x6); /* the first two of that type */
	assert_int_equal(node->cpu_milli_free, 2500);
	assert_false(gw_grid_take(node, &need, &port, &devices)); /* one such device is left */
	need.device_count = 1;
	assert_true(gw_grid_take(node, &need, &port, &devices));
	assert_int_equal(port, 9002);
	assert_int_equal(devices, 0x8);
	need.device_type = GW_DEVICE_TYPE_ANY;
	need.cpu_milli = 1001;
	assert_false(gw_grid_take(node, &need, &port, &devices)); /* cpu */
	assert_int_equal(node->devices_free, 0x1);
	gw_grid_free(grid);
}

/* Why not: each constraint alone keeps the tasks off, and is the reason given. */
static void every_misfit_has_its_sentence(void **state)
{
	static const struct {
		enum gw_misfit misfit;
		const char *words;
	} rows[] = {
		{GW_MISFIT_SITE, "does not allow"},
		{GW_MISFIT_RESIDENCY, "lies in CN-GZ"},
		{GW_MISFIT_LABEL, "labels"},
		{GW_MISFIT_STATE, "1 silent"},
		{GW_MISFIT_DEVICE, "such devices"},
		{GW_MISFIT_MEMORY, "GiB of memory"},
		{GW_MISFIT_CPU, "CPUs"},
		{GW_MISFIT_PORT, "ports in a row"},
		{GW_MISFIT_SLOT, "as many tasks as"},
		{GW_MISFIT_NONE, "1 of 1 tasks go here"},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		static const char *elsewhere[] = {"DE"};
		static uint32_t label = 3;
		struct gw_grid *grid = make_grid(1, 1, 1);
		struct gw_request *request = &grid->requests[0];
		struct gw_grid_node *node = &grid->nodes[0];
		struct gw_plan_result *plan;

		request->site_allowed[0] = rows[i].misfit != GW_MISFIT_SITE;
		request->residency = elsewhere;
		request->residency_count = rows[i].misfit == GW_MISFIT_RESIDENCY;
		request->labels = &label;
		request->label_count = rows[i].misfit == GW_MISFIT_LABEL;
		node->state = rows[i].misfit == GW_MISFIT_STATE ? GW_GRID_SILENT : GW_GRID_READY;
		request->need.device_count = rows[i].misfit == GW_MISFIT_DEVICE;
		request->need.memory_bytes = rows[i].misfit == GW_MISFIT_MEMORY ? 9 * GIB : GIB;
		request->need.cpu_milli = rows[i].misfit == GW_MISFIT_CPU ? 4001 : 1000;
		request->need.port_count = rows[i].misfit == GW_MISFIT_PORT ? 9 : 1;
		node->slots_free = rows[i].misfit == GW_MISFIT_SLOT ? 0 : 1;
		assert_int_equal(gw_grid_misfit(grid, request, 0), rows[i].misfit);
		plan = run(grid);
		assert_int_equal(plan->jobs[0].place_count, rows[i].misfit == GW_MISFIT_NONE);
		assert_non_null(strstr(plan->jobs[0].verdicts[0].reason, rows[i].words));
		gw_plan_free(plan);
	}
}

static void arrays_stay_near(void **state)
{
	struct gw_grid *grid = make_grid(3, 2, 12);
	struct gw_plan_result *plan;

	(void)state;
	grid->nodes[0].cpu_milli_free = 0; /* site 0 has room for 4, the others for 8 */
	set_rtt(grid, 0, 1, 1000);
	set_rtt(grid, 0, 2, 9000);
	set_rtt(grid, 1, 2, 5000);
	plan = run(grid);
	/* The roomiest first (1 before 2), then the nearest to it. */
	assert_int_equal(plan->jobs[0].place_count, 12);
	assert_int_equal(count_in(&plan->jobs[0], 1), 8);
	assert_int_equal(count_in(&plan->jobs[0], 0), 4);
	gw_plan_free(plan);
}

static void the_smallest_site_that_fits(void **state)
{
	struct gw_grid *grid = make_grid(3, 2, 4);
	struct gw_plan_result *plan;

	(void)state;
	grid->nodes[2].cpu_milli_free = 0; /* site 1 has room for exactly 4 */
	plan = run(grid);
	assert_int_equal(count_in(&plan->jobs[0], 1), 4);
	gw_plan_free(plan);
}

static void spreads(void **state)
{
	static const struct {
		enum gw_spread spread;
		uint32_t tasks;
		uint32_t placed;
		uint32_t sites;
	} rows[] = {
		{GW_SPREAD_NONE, 30, 24, 3}, {GW_SPREAD_PACK, 30, 8, 1}, {GW_SPREAD_SITE, 30, 3, 3},
		{GW_SPREAD_NODE, 30, 6, 3},  {GW_SPREAD_SITE, 2, 2, 2},  {GW_SPREAD_NODE, 2, 2, 1},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct gw_grid *grid = make_grid(3, 2, rows[i].tasks);
		struct gw_plan_result *plan;
		uint32_t sites = 0;

		grid->requests[0].spread = rows[i].spread;
		plan = run(grid);
		for (uint32_t site = 0; site < 3; site++)
			sites += count_in(&plan->jobs[0], site) > 0;
		assert_int_equal(plan->jobs[0].place_count, rows[i].placed);
		assert_int_equal(sites, rows[i].sites);
		gw_plan_free(plan);
	}
}

static void held_places_count(void **state)
{
	struct gw_grid *grid = make_grid(3, 1, 3);
	struct gw_plan_result *plan;

	(void)state;
	grid->requests[0].spread = GW_SPREAD_SITE;
	grid->requests[0].site_held[1] = 1;
	plan = run(grid);
	assert_int_equal(plan->jobs[0].place_count, 2);
	assert_int_equal(count_in(&plan->jobs[0], 1), 0);
	assert_non_null(strstr(plan->jobs[0].verdicts[1].reason, "no two in a site"));
	gw_plan_free(plan);

	grid = make_grid(3, 1, 3);
	grid->requests[0].spread = GW_SPREAD_PACK;
	grid->requests[0].site_held[2] = 1;
	plan = run(grid);
	assert_int_equal(count_in(&plan->jobs[0], 2), 3);
	gw_plan_free(plan);
}

static void an_rtt_limit_binds_all_pairs(void **state)
{
	struct gw_grid *grid = make_grid(4, 1, 12);
	struct gw_plan_result *plan;

	(void)state;
	/* 0 is near 1 and 2, which are far from each other; 1 and 3 are near each other. */
	set_rtt(grid, 0, 1, 1000);
	set_rtt(grid, 0, 2, 1000);
	set_rtt(grid, 1, 2, 9000);
	set_rtt(grid, 1, 3, 1000);
	set_rtt(grid, 0, 3, 1500);
	set_rtt(grid, 2, 3, 9000);
	grid->requests[0].rtt_us_max = 2000;
	plan = run(grid);
	assert_int_equal(plan->jobs[0].place_count, 12); /* 0, 1 and 3 */
	assert_int_equal(count_in(&plan->jobs[0], 2), 0);
	gw_plan_free(plan);

	grid = make_grid(2, 1, 8); /* a distance that nobody has measured is no promise */
	grid->requests[0].rtt_us_max = 2000;
	plan = run(grid);
	assert_int_equal(plan->jobs[0].place_count, 4);
	gw_plan_free(plan);
}

/* Few units end the search for a better start, not the placing of what was found. */
static void an_rtt_search_leaves_units_to_place(void **state)
{
	(void)state;
	for (uint32_t units = 24; units < 1000; units += 7) {
		struct gw_grid *grid = make_grid(8, 1, 12); /* 8 units look at all nodes */
		struct gw_plan_result *plan;

		grid->requests[0].rtt_us_max = 2000; /* no distance is known: one site at best */
		plan = gw_plan_run(grid, units, 1);
		assert_non_null(plan);
		assert_int_equal(plan->jobs[0].place_count, 4);
		gw_plan_free(plan);
	}
}

/* FIGURES of the model: utilisation min(1, m t / (S t + R)). */
static void predictions(void **state)
{
	static const struct {
		uint32_t stages, stage_us, micro_batches, rtt_us;
		double loss_percent;
	} rows[] = {
		{4, 10000, 4, 0, 0},       {4, 10000, 4, 2400, 5.66}, {4, 10000, 4, 10000, 20},
		{4, 10000, 4, 40000, 50},  {4, 10000, 5, 2400, 0},    {4, 10000, 8, 40000, 0},
		{2, 20000, 2, 2400, 5.66}, {3, 10000, 4, 20000, 20},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct gw_serve_model model = {.stage_us = rows[i].stage_us,
					       .micro_batches = rows[i].micro_batches,
					       .batch = 8};
		struct gw_prediction got = gw_predict(&model, rows[i].stages, rows[i].rtt_us);

		assert_true(got.present);
		assert_true(got.loss_ppm / 1e4 > rows[i].loss_percent - 0.01);
		assert_true(got.loss_ppm / 1e4 < rows[i].loss_percent + 0.01);
	}
}

static struct gw_grid *make_gang(uint32_t site_count, uint32_t node_count, uint32_t stages)
{
	struct gw_grid *grid = make_grid(site_count, node_count, stages);

	grid->requests[0].gang = true;
	grid->requests[0].model = (struct gw_serve_model){
		.stage_us = 10000, .micro_batches = stages, .batch = 8, .loss_budget_ppm = 50000};
	return grid;
}

static void a_pipeline_stays_in_one_site(void **state)
{
	struct gw_grid *grid = make_gang(3, 1, 4);
	struct gw_plan_result *plan = run(grid);

	(void)state;
	assert_int_equal(plan->jobs[0].place_count, 4);
	assert_int_equal(count_in(&plan->jobs[0], plan->jobs[0].places[0].site), 4);
	assert_true(plan->jobs[0].prediction.present);
	assert_int_equal(plan->jobs[0].prediction.rtt_us, 0);
	gw_plan_free(plan);
}

static void a_pipeline_is_whole_or_nothing(void **state)
{
	struct gw_grid *grid = make_gang(2, 1, 9);
	struct gw_plan_result *plan;

	(void)state;
	set_rtt(grid, 0, 1, 10);
	plan = run(grid);
	assert_int_equal(plan->jobs[0].place_count, 0);
	assert_non_null(strstr(plan->jobs[0].reason, "needs 9 places at once and 8 are free"));
	gw_plan_free(plan);
}

static void a_loop_within_the_budget(void **state)
{
	static const struct {
		uint32_t rtt_us;
		enum gw_spread spread;
		bool placed;
	} rows[] = {
		{3000, GW_SPREAD_NONE, true}, /* 80 / 83 ms: 3.6 % */
		{5000, GW_SPREAD_NONE, false},
		{5000, GW_SPREAD_PACK, false},
		{UINT32_MAX, GW_SPREAD_NONE, false},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct gw_grid *grid = make_gang(2, 1, 8);
		struct gw_plan_result *plan;

		set_rtt(grid, 0, 1, rows[i].rtt_us);
		grid->requests[0].spread = rows[i].spread;
		plan = run(grid);
		assert_int_equal(plan->jobs[0].place_count, rows[i].placed ? 8 : 0);
		assert_int_equal(plan->jobs[0].reason[0] == '\0', rows[i].placed);
		if (rows[i].placed)
			assert_int_equal(plan->jobs[0].prediction.rtt_us, rows[i].rtt_us);
		gw_plan_free(plan);
	}
}

/* Consecutive stages share a site, so the loop crosses the WAN once for each site. */
static void stages_of_a_site_stand_together(void **state)
{
	struct gw_grid *grid = make_gang(2, 1, 8);
	struct gw_plan_result *plan;
	uint32_t crossings = 0;

	(void)state;
	set_rtt(grid, 0, 1, 100);
	plan = run(grid);
	assert_int_equal(plan->jobs[0].place_count, 8);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(plan->jobs[0].places[i].task_index, i);
		crossings += plan->jobs[0].places[i].site != plan->jobs[0].places[(i + 1) % 8].site;
	}
	assert_int_equal(crossings, 2);
	gw_plan_free(plan);
}

/* Every order of `count` sites, by Heap's method without recursion; the shortest loop. */
static uint64_t shortest_loop(const struct gw_grid *grid, uint32_t count)
{
	uint32_t order[8] = {0, 1, 2, 3, 4, 5, 6, 7};
	uint32_t counter[8] = {0};
	uint64_t best = UINT64_MAX;
	uint32_t i = 0;

	for (;;) {
		uint64_t length = 0;

		for (uint32_t k = 0; k < count; k++)
			length += gw_grid_rtt_us(grid, order[k], order[(k + 1) % count]);
		if (length < best)
			best = length;
		while (i < count && counter[i] >= i)
			counter[i++] = 0;
		if (i == count)
			return best;
		{
			uint32_t from = i % 2 ? counter[i] : 0;
			uint32_t kept = order[from];

			order[from] = order[i];
			order[i] = kept;
		}
		counter[i]++;
		i = 0;
	}
}

static void the_shortest_ring_is_found(void **state)
{
	struct gw_prng prng;

	(void)state;
	gw_prng_init(&prng, 42);
	for (uint32_t round = 0; round < 50; round++) {
		struct gw_grid *grid = make_gang(7, 1, 7);
		struct gw_plan_result *plan;
		uint64_t best;

		grid->requests[0].spread = GW_SPREAD_SITE;
		for (uint32_t a = 0; a < 7; a++) {
			for (uint32_t b = 0; b < a; b++)
				set_rtt(grid, a, b, 100 + (uint32_t)gw_prng_below(&prng, 40000));
		}
		best = shortest_loop(grid, 7);
		plan = run(grid);
		assert_int_equal(plan->jobs[0].place_count, 7);
		assert_int_equal(plan->jobs[0].places[0].rtt_us, best / 2);
		gw_plan_free(plan);
	}
}

static bool same_plan(const struct gw_plan_result *a, const struct gw_plan_result *b)
{
	if (a->jobs[0].place_count != b->jobs[0].place_count)
		return false;
	for (uint32_t i = 0; i < a->jobs[0].place_count; i++) {
		const struct gw_plan_place *x = &a->jobs[0].places[i];
		const struct gw_plan_place *y = &b->jobs[0].places[i];

		if (!gw_id_equal(x->node.id, y->node.id) || x->port != y->port)
			return false;
	}
	return true;
}

/* Same seed and units: same plan. Few units: an end in bounded time, marked unfinished. */
static void plans_are_a_function_of_seed_and_units(void **state)
{
	(void)state;
	for (uint32_t units = 1; units < 5000; units = units * 3 + 1) {
		struct gw_plan_result *plans[2];

		for (uint32_t i = 0; i < 2; i++) {
			struct gw_grid *grid = make_gang(6, 2, 20);

			grid->requests[0].gang = units % 2;
			for (uint32_t a = 0; a < 6; a++) {
				for (uint32_t b = 0; b < a; b++)
					set_rtt(grid, a, b, 50 + a * 7 + b);
			}
			plans[i] = gw_plan_run(grid, units, 99);
			assert_non_null(plans[i]);
		}
		assert_true(same_plan(plans[0], plans[1]));
		if (units == 1)
			assert_true(plans[0]->jobs[0].unfinished);
		gw_plan_free(plans[0]);
		gw_plan_free(plans[1]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(residency_is_by_whole_parts),
		cmocka_unit_test(ports_come_in_runs),
		cmocka_unit_test(a_task_takes_what_it_needs),
		cmocka_unit_test(every_misfit_has_its_sentence),
		cmocka_unit_test(arrays_stay_near),
		cmocka_unit_test(the_smallest_site_that_fits),
		cmocka_unit_test(spreads),
		cmocka_unit_test(held_places_count),
		cmocka_unit_test(an_rtt_limit_binds_all_pairs),
		cmocka_unit_test(an_rtt_search_leaves_units_to_place),
		cmocka_unit_test(predictions),
		cmocka_unit_test(a_pipeline_stays_in_one_site),
		cmocka_unit_test(a_pipeline_is_whole_or_nothing),
		cmocka_unit_test(a_loop_within_the_budget),
		cmocka_unit_test(stages_of_a_site_stand_together),
		cmocka_unit_test(the_shortest_ring_is_found),
		cmocka_unit_test(plans_are_a_function_of_seed_and_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
