/*
 * From blocks to rows, on synthetic pairs whose answer is known: the loss and its interval, the
 * faster baseline, controls, void blocks, and every reason that forbids a claim.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench/loss/campaign.h"

#define PAIRS 12u
#define SINGLE_RATE 2800.0

static struct gw_campaign *campaign;
static struct gw_ring_client lone; /* both sides of a control */

/* Rates of A around `single`, of B `loss_percent` below A, with a spread of about 0.1 points. */
static struct gw_cell *cell_add(const char *name, double rtt_ms, double loss_percent)
{
	struct gw_cell *cell = &campaign->cells[campaign->cell_count++];
	struct gw_prng prng;

	(void)snprintf(cell->name, sizeof(cell->name), "%s", name);
	cell->rtt_ms = rtt_ms;
	cell->a = (struct gw_side){
		.ring = &campaign->single, .site = "single", .groups = 3, .batch = 102, .scale = 1};
	cell->b = cell->a;
	cell->b.ring = &campaign->cross;
	cell->b.site = "cross";
	cell->b.emulated = true;
	cell->congestion = "bbr";
	cell->pairs_wanted = PAIRS;
	cell->pair_count = PAIRS;
	cell->blocks_run = 2 * PAIRS;
	cell->block_s = 20;
	cell->compared = PAIRS;
	cell->blocks = json_array();
	cell->pairs = calloc(GW_CAMPAIGN_PAIRS_MAX, sizeof(*cell->pairs));
	assert_non_null(cell->pairs);
	gw_prng_init(&prng, (uint64_t)(rtt_ms * 10) + 1);
	for (uint32_t i = 0; i < PAIRS; i++) {
		struct gw_pair *pair = &cell->pairs[i];
		double noise = 0.002 * (gw_prng_unit(&prng) - 0.5);

		for (int k = 0; k < GW_METRIC_COUNT; k++)
			pair->a.metrics[k] = pair->b.metrics[k] = (double)NAN;
		pair->a.metrics[GW_METRIC_RATE] = SINGLE_RATE;
		pair->b.metrics[GW_METRIC_RATE] =
			SINGLE_RATE * (1 - loss_percent / 100) * (1 + noise);
		pair->a.stage_s = pair->b.stage_s = 102 / SINGLE_RATE;
		pair->a.stages_per_core = pair->b.stages_per_core = 2;
		pair->a.rtt_bulk_s = 0.1e-3;
		pair->b.rtt_load_s = rtt_ms * 1e-3;
		pair->b.rtt_bulk_s = 0.1e-3 + rtt_ms * 1e-3;
	}
	return cell;
}

/* Everything that the headline needs beside it, in order. */
static void companions_add(void)
{
	struct gw_cell *cell;

	(void)cell_add("0km", 0, 0.0);
	cell = cell_add("control_1pct", 0, 100 * (1 - 1 / 1.01));
	cell->a.ring = cell->b.ring = &lone;
	cell = cell_add("control_3pct", 0, 100 * (1 - 1 / 1.03));
	cell->a.ring = cell->b.ring = &lone;
	cell = cell_add("control_null", 2.4, 0);
	cell->a.ring = cell->b.ring = &lone;
	cell->a.emulated = true;
	cell = cell_add("240km_real", 2.4, 2.148);
	cell->a.ring = &campaign->single_real;
	cell->a.scale = cell->b.scale = 0;
}

static struct gw_cell *cell_of(const char *name)
{
	for (uint32_t i = 0; i < campaign->cell_count; i++)
		if (strcmp(campaign->cells[i].name, name) == 0)
			return &campaign->cells[i];
	fail_msg("there is no cell %s", name);
	return &campaign->cells[0]; /* never reached */
}

static int setup(void **state)
{
	(void)state;
	campaign = calloc(1, sizeof(*campaign));
	assert_non_null(campaign);
	campaign->options.headline_ms = 2.4;
	campaign->options.seed = 1;
	campaign->options.emulator = "lab.sock";
	campaign->limit_mbps = 1000;
	campaign->single.stages = campaign->cross.stages = lone.stages = 3;
	campaign->single_real.stages = 2;
	campaign->single.slots = campaign->cross.slots = 307;
	campaign->rtts_ms[0] = 0;
	campaign->rtts_ms[1] = 2.4;
	campaign->rtts_ms[2] = 10;
	campaign->rtt_count = 3;
	campaign->group_sweep = json_array();
	campaign->other_blocks = json_array();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	for (uint32_t i = 0; i < campaign->cell_count; i++)
		gw_cell_deinit(&campaign->cells[i]);
	json_decref(campaign->group_sweep);
	json_decref(campaign->other_blocks);
	free(campaign);
	return 0;
}

/* The row of that name, borrowed from `rows`. */
static const json_t *row(const json_t *rows, const char *name)
{
	const json_t *one;
	size_t i;

	json_array_foreach(rows, i, one) if (strcmp(json_string_value(json_object_get(one, "name")),
						    name) == 0) return one;
	fail_msg("there is no row %s", name);
	return NULL;
}

static double number(const json_t *object, const char *key)
{
	return json_number_value(json_object_get(object, key));
}

static void assert_near(double found, double expected, double within)
{
	if (!(fabs(found - expected) <= within))
		fail_msg("found %.9g, expected %.9g +- %g", found, expected, within);
}

static void assert_why(const char *name, const char *text)
{
	json_t *rows = gw_report_rows(campaign);
	const json_t *one = row(rows, name);

	assert_true(json_is_false(json_object_get(one, "claim")));
	if (!strstr(json_string_value(json_object_get(one, "why")), text))
		fail_msg("%s: \"%s\" does not say \"%s\"", name,
			 json_string_value(json_object_get(one, "why")), text);
	json_decref(rows);
}

/* t = 102 / 2800 s and R = 2.4 ms: 2.4 / (3 t + 2.4) = 2.148 % by theory. */
static void test_loss_is_read(void **state)
{
	const struct gw_cell *cell = cell_add("240km", 2.4, 2.148);
	json_t *rows;
	const json_t *one;

	(void)state;
	companions_add();
	rows = gw_report_rows(campaign);
	one = row(rows, "loss.240km.percent");
	assert_null(gw_cell_no_claim(campaign, cell));
	assert_near(number(one, "value"), 2.148, 0.06);
	assert_true(number(one, "min") < number(one, "value"));
	assert_true(number(one, "max") > number(one, "value"));
	assert_near(number(one, "max") - number(one, "min"), 0.065, 0.03);
	assert_true(json_is_true(json_object_get(one, "holds")));
	assert_near(number(one, "runs"), PAIRS, 0);
	json_decref(rows);
}

static void test_budget_broken(void **state)
{
	json_t *rows;
	json_t *report;

	(void)state;
	(void)cell_add("0km", 0, 0.0);
	(void)cell_add("240km", 2.4, 2.148);
	(void)cell_add("1000km", 10, 8.383);
	rows = gw_report_rows(campaign);
	report = gw_report_json(campaign, rows);
	/* on the line between (240, 2.148) and (1000, 8.383) */
	assert_near(number(json_object_get(report, "budget"), "broken_at_km"), 587.6, 10);
	/* by theory: R / (3 t + R) = 0.05 at R = 5.752 ms */
	assert_near(number(json_object_get(report, "budget"), "theory_broken_at_km"), 575.2, 1);
	assert_true(json_is_null(json_object_get(row(rows, "loss.1000km.percent"), "holds")));
	json_decref(report);
	json_decref(rows);
}

/* The upper bound counts, not the mean. */
static void test_bar_is_held_by_the_upper_bound(void **state)
{
	json_t *rows;

	(void)state;
	(void)cell_add("240km", 5.7, 4.96); /* by theory 4.96 */
	companions_add();
	for (uint32_t i = 0; i < PAIRS; i++)
		cell_of("240km_real")->pairs[i].b.metrics[GW_METRIC_RATE] = SINGLE_RATE * 0.9501;
	rows = gw_report_rows(campaign);
	assert_true(number(row(rows, "loss.240km.percent"), "value") < 5);
	assert_true(number(row(rows, "loss.240km.percent"), "max") > 5);
	assert_true(json_is_true(json_object_get(row(rows, "loss.240km.percent"), "claim")));
	assert_true(json_is_false(json_object_get(row(rows, "loss.240km.percent"), "holds")));
	json_decref(rows);
	for (uint32_t i = 0; i < PAIRS; i++)
		cell_of("240km")->pairs[i].b.rtt_load_s = 1e-3;
	assert_why("loss.240km.percent", "off theory");
	rows = gw_report_rows(campaign);
	assert_true(json_is_null(json_object_get(row(rows, "loss.240km.percent"), "holds")));
	json_decref(rows);
}

/* Where the emulator at zero delay is the faster baseline, the loss is stated against it. */
static void test_the_faster_baseline_counts(void **state)
{
	const struct gw_cell *cell = cell_add("240km", 2.4, 2.0);
	struct gw_cell *zero = cell_add("0km", 0, 1.0);

	(void)state;
	assert_near(gw_cell_loss(campaign, cell).mean, 2.0, 0.06);
	for (uint32_t i = 0; i < PAIRS; i++) /* now 1 % faster than plain links */
		zero->pairs[i].b.metrics[GW_METRIC_RATE] = SINGLE_RATE * 1.01;
	assert_near(gw_cell_loss(campaign, cell).mean, 100 * (1 - 0.98 / 1.01), 0.06);
}

static void test_void_blocks_do_not_count(void **state)
{
	struct gw_cell *cell = cell_add("240km", 2.4, 2.148);

	(void)state;
	cell->pairs[3].b.metrics[GW_METRIC_RATE] = 1;
	cell->pairs[3].b.is_void = true;
	cell->blocks_void = 1;
	companions_add();
	assert_near(gw_cell_loss(campaign, cell).mean, 2.148, 0.06);
	assert_int_equal(gw_cell_loss(campaign, cell).count, PAIRS - 1);
	assert_null(gw_cell_no_claim(campaign, cell));
}

static void test_what_forbids_a_claim(void **state)
{
	struct gw_cell *cell = cell_add("240km", 2.4, 2.148);

	(void)state;
	companions_add();
	cell_of("240km_real")->pair_count = 0;
	assert_why("loss.240km.percent", "no REAL figure");
	cell_of("0km")->emulator_unfit = true;
	assert_why("loss.240km.percent", "0km through the emulator");
	cell_of("control_3pct")->pairs_wanted = 2;
	assert_why("loss.240km.percent", "control_3pct, which must stand beside it");
	for (uint32_t i = 0; i < PAIRS; i++)
		cell_of("control_1pct")->pairs[i].b.metrics[GW_METRIC_RATE] *= 0.99;
	assert_why("loss.240km.percent", "control_1pct does not read");
	for (uint32_t i = 0; i < PAIRS; i++)
		cell_of("control_null")->pairs[i].b.metrics[GW_METRIC_RATE] *= 0.996;
	assert_why("loss.240km.percent", "control_null reads");
	cell->pairs[2].b.rtt_bulk_s += 6e-3; /* 0.5 ms in the mean */
	assert_why("loss.240km.percent", "not what was asked for");
	cell->differing = 1;
	assert_why("loss.240km.percent", "tokens differ");
	cell->emulator_unfit = true;
	assert_why("loss.240km.percent", "the link emulator had no real-time priority");
	cell->pairs[5].a.unpinned = true;
	assert_why("loss.240km.percent", "not pinned");
	cell->pairs[4].b.no_fifo = true;
	assert_why("loss.240km.percent", "a stage had no real-time priority");
	cell->blocks_void = 5;
	assert_why("loss.240km.percent", "20 %");
	campaign->pairs_needed = PAIRS + 1;
	assert_why("loss.240km.percent", "pilot");
	cell->pairs_wanted = 9;
	assert_why("loss.240km.percent", "fewer than 10 pairs");
	cell->block_s = 5;
	assert_why("loss.240km.percent", "shorter than 20 s");
	campaign->options.quick = true;
	assert_why("loss.240km.percent", "quick");
	campaign->options.emulator = NULL;
	assert_why("loss.240km.percent", "no link emulator");
	assert_why("loss.0km.percent", "no link emulator");
	assert_why("loss.control_3pct_read", "no link emulator");
	campaign->options.simulate = true;
	assert_why("loss.0km.percent", "simulated");
	for (uint32_t i = 0; i < PAIRS; i++)
		cell->pairs[i].a.is_void = true;
	assert_why("loss.240km.percent", "void");
	cell->failed = "it was not run";
	assert_why("loss.240km.percent", "not run");
}

static void test_real_must_agree(void **state)
{
	struct gw_cell *real;
	json_t *rows;

	(void)state;
	(void)cell_add("240km", 2.4, 2.148);
	companions_add();
	real = cell_of("240km_real");
	rows = gw_report_rows(campaign);
	assert_true(json_is_true(json_object_get(row(rows, "loss.240km.percent"), "claim")));
	assert_near(number(row(rows, "loss.240km.real_percent"), "value"), 2.148, 0.06);
	json_decref(rows);
	for (uint32_t i = 0; i < PAIRS; i++)
		real->pairs[i].b.metrics[GW_METRIC_RATE] *= 0.97;
	assert_why("loss.240km.percent", "disagree");
	/* a slower stage in the blocks across explains a loss; it does not make the two agree */
	for (uint32_t i = 0; i < PAIRS; i++)
		real->pairs[i].b.stage_s *= 1 / 0.97;
	assert_why("loss.240km.percent", "disagree");
}

/* The emulator's links must be within what its self-test proved on this host. */
static void test_link_rate_is_proved(void **state)
{
	struct gw_cell *cell = cell_add("240km", 2.4, 2.148);
	json_t *block = json_pack("{s:[{s:[{s:{s:I}}]}]}", "links", "directions", "params",
				  "rate_bps", (json_int_t)1000000000);

	(void)state;
	companions_add();
	(void)json_array_append_new(cell->blocks, block);
	assert_null(gw_cell_no_claim(campaign, cell));
	campaign->limit_mbps = 500;
	assert_why("loss.240km.percent", "above what the emulator proved");
	campaign->limit_mbps = (double)NAN;
	assert_why("loss.240km.percent", "run ./bench/run wan first");
}

static void test_controls(void **state)
{
	json_t *rows;

	(void)state;
	companions_add();
	for (uint32_t i = 0; i < PAIRS; i++)
		cell_of("control_3pct")->pairs[i].b.metrics[GW_METRIC_RATE] *= 1.03 / 1.037;
	rows = gw_report_rows(campaign);
	assert_true(json_is_null(json_object_get(row(rows, "loss.control_1pct_read"), "bar")));
	assert_near(number(row(rows, "loss.control_1pct_read"), "value"), 1, 0.06);
	assert_true(json_is_true(json_object_get(row(rows, "loss.control_1pct_read"), "holds")));
	assert_near(number(row(rows, "loss.control_3pct_read"), "value"), 3.7, 0.06);
	assert_true(json_is_false(json_object_get(row(rows, "loss.control_3pct_read"), "holds")));
	assert_near(number(row(rows, "loss.control_null_points"), "value"), 0, 0.06);
	json_decref(rows);
}

static void test_serving_rows(void **state)
{
	struct gw_cell *cell = cell_add("240km_serve", 2.4, 0);
	json_t *rows;

	(void)state;
	cell->kind = GW_CELL_SERVE;
	for (uint32_t i = 0; i < PAIRS; i++)
		for (int k = GW_METRIC_TTFT_MEAN; k < GW_METRIC_COUNT; k++) {
			cell->pairs[i].a.metrics[k] = 100 + i;
			cell->pairs[i].b.metrics[k] = 102 + 1.02 * i;
		}
	rows = gw_report_rows(campaign);
	assert_near(number(row(rows, "loss.240km.ttft_inflation_percent"), "value"), 2, 1e-9);
	assert_near(number(row(rows, "loss.240km.tpot_inflation_percent"), "value"), 2, 1e-9);
	json_decref(rows);
}

static void test_host_accounts(void **state)
{
	struct gw_host_snapshot from = {
		.wall_s = 10, .user_s = 100, .stages_s = 50, .agents_s = 30, .cores = 2};
	struct gw_host_snapshot to = from;
	struct gw_host_delta delta;

	(void)state;
	to.wall_s += 20;
	to.user_s += 6;
	to.stages_s += 5;
	to.agents_s += 0.5;
	to.steal_s += 0.1;
	delta = gw_host_delta(&from, &to);
	assert_near(delta.foreign_percent, 2.5, 1e-9);
	assert_near(delta.steal_percent, 0.25, 1e-9);
	assert_near(delta.stages_s, 5, 1e-9);
	assert_near(delta.user_s, 6, 1e-9);
	assert_near(delta.steal_s, 0.1, 1e-9);
	assert_near(delta.idle_s, 0, 1e-9);
	to.agents_s = 1; /* an agent has ended: never more foreign time than there was in all */
	delta = gw_host_delta(&from, &to);
	assert_near(delta.foreign_percent, 5, 1e-9);
}

/* No ring is up: what was chosen says so, the rest that it was not chosen. */
static void test_chosen_cells(void **state)
{
	static const volatile bool interrupted = false;

	(void)state;
	campaign->interrupted = &interrupted;
	campaign->single.client.fd = campaign->cross.client.fd = -1;
	campaign->cross_twin.client.fd = -1;
	campaign->single_real.client.fd = campaign->cross_real.client.fd = -1;
	campaign->options.quick = true;
	campaign->options.budget_us = 60000000;
	campaign->options.congestion = "bbr";
	campaign->options.cells = "240km,control_null";
	assert_int_equal(gw_cells_run(campaign), 0);
	assert_string_equal(gw_campaign_cell(campaign, "240km")->failed,
			    "the ring that it needs was not given");
	assert_string_equal(gw_campaign_cell(campaign, "control_null")->failed,
			    "the ring that it needs was not given");
	assert_why("loss.0km.percent", "not chosen");
	assert_why("loss.control_1pct_read", "not chosen");
}

static void test_a_cell_that_does_not_exist(void **state)
{
	static const volatile bool interrupted = false;

	(void)state;
	campaign->interrupted = &interrupted;
	campaign->options.quick = true;
	campaign->options.congestion = "bbr";
	campaign->options.cells = "240km,24km";
	assert_true(gw_cells_run(campaign) < 0);
	assert_non_null(strstr(campaign->error, "'24km'"));
	assert_why("loss.0km.percent", "not chosen");
}

/* A figure that was not measured is there, null, with a why. */
static void test_no_row_is_left_out(void **state)
{
	static const char *const names[] = {"loss.0km.percent",
					    "loss.100km.percent",
					    "loss.240km.percent",
					    "loss.500km.percent",
					    "loss.1000km.percent",
					    "loss.2000km.percent",
					    "loss.240km.ttft_inflation_percent",
					    "loss.240km.tpot_inflation_percent",
					    "loss.tokens_identical",
					    "loss.control_null_points",
					    "loss.control_1pct_read",
					    "loss.control_3pct_read",
					    "loss.240km.real_percent",
					    "loss.240km.lossy_percent"};
	json_t *rows = gw_report_rows(campaign);

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const json_t *one = row(rows, names[i]);

		assert_true(json_is_null(json_object_get(one, "value")));
		assert_true(json_string_length(json_object_get(one, "why")) > 0);
	}
	json_decref(rows);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_loss_is_read),
		TEST(test_budget_broken),
		TEST(test_bar_is_held_by_the_upper_bound),
		TEST(test_the_faster_baseline_counts),
		TEST(test_void_blocks_do_not_count),
		TEST(test_what_forbids_a_claim),
		TEST(test_real_must_agree),
		TEST(test_link_rate_is_proved),
		TEST(test_controls),
		TEST(test_serving_rows),
		TEST(test_host_accounts),
		TEST(test_chosen_cells),
		TEST(test_a_cell_that_does_not_exist),
		TEST(test_no_row_is_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
