/*
 * The link model packet by packet, the lateness histogram, and the scenario reader: arithmetic and
 * text, no namespaces. Shares are held to five standard deviations of a seeded run.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "bench/wan/histogram.h"
#include "bench/wan/link.h"
#include "bench/wan/params.h"
#include "bench/wan/scenario.h"
#include "bench/wan/topology.h"

#define MS 1000000ull /* ns */
#define PACKETS 200000u

static struct gw_link link_of(struct gw_link_params params, uint64_t seed)
{
	struct gw_link link;

	gw_link_init(&link, &params, seed);
	return link;
}

static void rate_and_delay_add_up(void **state)
{
	/* 1500 bytes at 100 Mb/s are on the wire for 120 us. */
	struct gw_link link = link_of((struct gw_link_params){.delay_us = 600,
							      .rate_bps = 100000000,
							      .queue_bytes = 3000},
				      1);

	static const struct {
		uint64_t at_ns;
		enum gw_link_verdict verdict;
		uint64_t due_ns;
	} cases[] = {
		{0, GW_LINK_PASS, 720000},       {0, GW_LINK_PASS, 840000},
		{0, GW_LINK_PASS, 960000},       {0, GW_LINK_QUEUE_FULL, 0},
		{120000, GW_LINK_PASS, 1080000}, {50000, GW_LINK_QUEUE_FULL, 0},
		{2 * MS, GW_LINK_PASS, 2720000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t due_ns = 0;

		assert_int_equal(gw_link_admit(&link, cases[i].at_ns, 1500, &due_ns),
				 cases[i].verdict);
		assert_int_equal(due_ns, cases[i].due_ns);
	}
}

static void a_shorter_delay_keeps_order(void **state)
{
	struct gw_link link = link_of((struct gw_link_params){.delay_us = 1000}, 1);
	const struct gw_link_params nearer = {.delay_us = 100};
	uint64_t first_ns = 0;
	uint64_t second_ns = 0;

	(void)state;
	assert_int_equal(gw_link_admit(&link, 0, 100, &first_ns), GW_LINK_PASS);
	gw_link_set(&link, &nearer);
	assert_int_equal(gw_link_admit(&link, 10, 100, &second_ns), GW_LINK_PASS);
	assert_int_equal(first_ns, MS);
	assert_int_equal(second_ns, MS);
	assert_int_equal(gw_link_admit(&link, 2 * MS, 100, &second_ns), GW_LINK_PASS);
	assert_int_equal(second_ns, 2 * MS + 100000);
}

static void jitter_stays_in_its_bounds(void **state)
{
	struct gw_link link =
		link_of((struct gw_link_params){.delay_us = 1000, .jitter_us = 400}, 7);
	uint64_t least_ns = UINT64_MAX;
	uint64_t most_ns = 0;

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t due_ns = 0;

		assert_int_equal(gw_link_admit(&link, i * MS, 100, &due_ns), GW_LINK_PASS);
		due_ns -= i * MS;
		least_ns = due_ns < least_ns ? due_ns : least_ns;
		most_ns = due_ns > most_ns ? due_ns : most_ns;
	}
	assert_in_range(least_ns, 600000, 610000);
	assert_in_range(most_ns, 1390000, 1400000);
}

/* Lost packets, and how many runs of them. */
static uint32_t lose(struct gw_link *link, uint32_t *ret_bursts)
{
	uint32_t lost = 0;
	bool before = false;

	*ret_bursts = 0;
	for (uint64_t i = 0; i < PACKETS; i++) {
		uint64_t due_ns;
		bool now = gw_link_admit(link, i, 1500, &due_ns) == GW_LINK_LOST;

		lost += now;
		*ret_bursts += now && !before;
		before = now;
	}
	return lost;
}

static void random_loss_is_the_share_asked_for(void **state)
{
	static const uint64_t shares_ppm[] = {0, 100, 10000, 500000, 1000000};

	(void)state;
	for (size_t i = 0; i < sizeof(shares_ppm) / sizeof(shares_ppm[0]); i++) {
		double p = (double)shares_ppm[i] / 1e6;
		struct gw_link link =
			link_of((struct gw_link_params){.loss_ppm = shares_ppm[i]}, 11 + i);
		uint32_t bursts;
		double lost = lose(&link, &bursts);

		assert_true(fabs(lost - p * PACKETS) <= 5 * sqrt(PACKETS * p * (1 - p)));
	}
}

/* Gilbert-Elliott with all lost while bad: bad share enter / (enter + leave), mean burst 1 / leave,
 * both of them bursts apart by the chain's memory. */
static void bursts_have_the_length_asked_for(void **state)
{
	struct gw_link link = link_of((struct gw_link_params){.burst_enter_ppm = 1000,
							      .burst_leave_ppm = 125000,
							      .burst_loss_ppm = 1000000},
				      5);
	double share = 1000.0 / (1000 + 125000);
	uint32_t bursts;
	double lost = lose(&link, &bursts);

	(void)state;
	assert_true(fabs(lost / PACKETS / share - 1) < 0.25);
	assert_true(fabs(lost / bursts / 8 - 1) < 0.2);
}

static void the_same_seed_loses_the_same_packets(void **state)
{
	const struct gw_link_params params = {.loss_ppm = 50000};
	const struct gw_link_params jittery = {.loss_ppm = 50000,
					       .delay_us = 500,
					       .jitter_us = 300,
					       .reorder_ppm = 1000,
					       .reorder_hold_us = 10};
	struct gw_link plain = link_of(params, 3);
	struct gw_link other = link_of(jittery, 3);

	(void)state;
	for (uint64_t i = 0; i < 10000; i++) {
		uint64_t due_ns;
		bool lost = gw_link_admit(&plain, i, 100, &due_ns) == GW_LINK_LOST;

		assert_int_equal(gw_link_admit(&other, i, 100, &due_ns) == GW_LINK_LOST, lost);
	}
}

static void held_packets_are_overtaken(void **state)
{
	struct gw_link link = link_of((struct gw_link_params){.delay_us = 100,
							      .reorder_ppm = 100000,
							      .reorder_hold_us = 500},
				      9);
	uint64_t last_ns[2] = {0};
	uint32_t held = 0;

	(void)state;
	for (uint64_t i = 0; i < PACKETS; i++) {
		uint64_t due_ns = 0;
		enum gw_link_verdict verdict = gw_link_admit(&link, i * 1000, 100, &due_ns);
		bool is_held = verdict == GW_LINK_HOLD;

		assert_true(is_held || verdict == GW_LINK_PASS);
		assert_int_equal(due_ns, i * 1000 + (is_held ? 600000 : 100000));
		assert_true(due_ns > last_ns[is_held]);
		last_ns[is_held] = due_ns;
		held += is_held;
	}
	assert_true(fabs(held - 0.1 * PACKETS) <= 5 * sqrt(PACKETS * 0.09));
}

static void cuts_begin_and_end(void **state)
{
	struct gw_link link = link_of((struct gw_link_params){0}, 1);
	uint64_t due_ns;

	(void)state;
	assert_int_equal(gw_link_add_cut(&link, 0, (struct gw_link_cut){20, 30}), 0);
	assert_int_equal(gw_link_add_cut(&link, 0, (struct gw_link_cut){5, 10}), 0);
	assert_int_equal(gw_link_add_cut(&link, 0, (struct gw_link_cut){29, 40}), -22);
	assert_int_equal(gw_link_add_cut(&link, 0, (struct gw_link_cut){50, 50}), -22);
	assert_int_equal(gw_link_admit(&link, 4, 100, &due_ns), GW_LINK_PASS);
	assert_int_equal(gw_link_admit(&link, 5, 100, &due_ns), GW_LINK_CUT);
	assert_int_equal(gw_link_admit(&link, 10, 100, &due_ns), GW_LINK_PASS);
	assert_true(gw_link_is_cut(&link, 29));
	assert_false(gw_link_is_cut(&link, 30));
	for (uint64_t i = 0; i < GW_LINK_CUTS_MAX - 2; i++)
		assert_int_equal(
			gw_link_add_cut(&link, 0, (struct gw_link_cut){100 + 2 * i, 101 + 2 * i}),
			0);
	assert_int_equal(gw_link_add_cut(&link, 0, (struct gw_link_cut){900, 901}), -28);
	/* At 35 the first two are over: there is room again. */
	assert_int_equal(gw_link_add_cut(&link, 35, (struct gw_link_cut){900, 901}), 0);
	assert_false(gw_link_is_cut(&link, 5));
	gw_link_clear_cuts(&link);
	assert_false(gw_link_is_cut(&link, 900));
}

static void quantiles_are_never_low_and_little_high(void **state)
{
	struct gw_histogram histogram = {0};

	(void)state;
	assert_int_equal(gw_histogram_quantile_ns(&histogram, 0.99), 0);
	for (uint64_t i = 1; i <= 100000; i++)
		gw_histogram_add(&histogram, i * 10);
	assert_in_range(gw_histogram_quantile_ns(&histogram, 0.5), 500000, 500000 * 17 / 16);
	assert_in_range(gw_histogram_quantile_ns(&histogram, 0.99), 990000, 990000 * 17 / 16);
	assert_int_equal(gw_histogram_quantile_ns(&histogram, 1), 1000000);
	gw_histogram_add(&histogram, UINT64_MAX);
	assert_int_equal(histogram.max_ns, UINT64_MAX);
	assert_in_range(gw_histogram_quantile_ns(&histogram, 0.5), 500000, 500000 * 17 / 16);
}

static int parse(const char *text, struct gw_scenario *scenario, struct gw_arena *arena,
		 char *ret_text, size_t size)
{
	struct gw_parse_error fault = {0};
	int error = gw_scenario_parse(scenario, arena, text, strlen(text), &fault);

	gw_parse_error_format(&fault, "s.yaml", ret_text, size);
	return error;
}

static void bad_scenarios_are_refused_with_their_place(void **state)
{
	static const struct {
		const char *text;
		const char *expected;
	} cases[] = {
		{"name: x\nsites: [{name: a}]\nwhat: 1\n", "s.yaml:3:1: "},
		{"name: x/y\nsites: [{name: a}]\n", "is no lab name"},
		{"name: x\nsites: [{name: a1}]\n", "s.yaml:2:16: 'a1' is no site name"},
		{"name: x\nsites: [{name: wan}]\n", "is no site name"},
		{"name: x\nsites: [{name: a}, {name: a}]\n", "stands twice"},
		{"name: x\nsites: [{name: a, hosts: 65}]\n", "s.yaml:2:"},
		{"name: x\nsites: [{name: a}, {name: b}]\nlinks:\n  - between: [a, c]\n"
		 "    there: {delay: 1ms}\n",
		 "s.yaml:4:5: there is no site 'c'"},
		{"name: x\nsites: [{name: a}]\nlinks: [{between: [a, a], there: {delay: 1ms}}]\n",
		 "to itself"},
		{"name: x\nsites: [{name: a}, {name: b}]\nlinks:\n"
		 "  - {between: [a, b], there: {delay: 1ms}}\n"
		 "  - {between: [b, a], there: {delay: 1ms}}\n",
		 "have a link already"},
		{"name: x\nsites: [{name: a}, {name: b}]\nlinks:\n"
		 "  - {between: [a, b], there: {delay: 1ms, jitter: 2ms}}\n",
		 "s.yaml:4:23: the jitter is above the delay"},
		{"name: x\nsites: [{name: a}, {name: b}]\nlinks:\n"
		 "  - {between: [a, b], there: {burst_enter: 1%}}\n",
		 "bursts begin but never end"},
		{"name: x\nsites: [{name: a}, {name: b}]\nlinks:\n"
		 "  - {between: [a, b], there: {delay: 11s}}\n",
		 "s.yaml:4:"},
		{"name: x\nsites: [{name: a}, {name: b}]\nlinks:\n"
		 "  - {between: [a, b], there: {}, cuts: [{at: 1s, for: 2s}, {at: 2s, for: 1s}]}\n",
		 "cut 2 is empty or overlaps"},
	};
	struct gw_scenario scenario;
	struct gw_arena arena;
	char text[768];

	(void)state;
	gw_arena_init(&arena, 1u << 20);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(parse(cases[i].text, &scenario, &arena, text, sizeof(text)) < 0);
		if (!strstr(text, cases[i].expected))
			fail_msg("case %zu: '%s' does not hold '%s'", i, text, cases[i].expected);
	}
	gw_arena_deinit(&arena);
}

static void a_scenario_is_read(void **state)
{
	static const char good[] = "name: demo\nseed: 9\n"
				   "sites: [{name: a, hosts: 2}, {name: b}, {name: c}]\n"
				   "links:\n"
				   "  - between: [a, b]\n"
				   "    there: {delay: 0.6ms, rate: 1Gb/s, loss: 0.01%}\n"
				   "    back: {delay: 0.8ms}\n"
				   "  - between: [b, c]\n"
				   "    there: {delay: 1ms, rate: 10Mb/s}\n";
	struct gw_scenario scenario;
	struct gw_topology topology;
	struct gw_arena arena;
	const struct gw_scenario_link *link;
	char text[768];
	char address[GW_LAB_ADDRESS_BYTES];

	(void)state;
	gw_arena_init(&arena, 1u << 20);
	assert_int_equal(parse(good, &scenario, &arena, text, sizeof(text)), 0);
	link = gw_scenario_link(&scenario, 0);
	assert_int_equal(link->params[0].delay_us, 600);
	assert_int_equal(link->params[0].loss_ppm, 100);
	assert_int_equal(link->params[0].queue_bytes, 625000);
	assert_int_equal(link->params[1].delay_us, 800);
	assert_int_equal(link->params[1].rate_bps, 0);
	link = gw_scenario_link(&scenario, 1);
	assert_int_equal(link->params[1].delay_us, 1000);
	assert_int_equal(link->params[1].queue_bytes, 65536);
	gw_topology_init(&topology, "demo", &scenario);
	assert_int_equal(topology.next_link[0][2], 0); /* a reaches c over b */
	assert_int_equal(topology.next_link[2][0], 1);
	gw_topology_address(0, 2, address);
	assert_string_equal(address, "fd67:6f64:7769:1::2");
	gw_topology_sid(1, 1, address);
	assert_string_equal(address, "fd67:6f64:7769:e002::1");
	gw_arena_deinit(&arena);
}

static void parameters_survive_json(void **state)
{
	const struct gw_link_params asked = {
		.delay_us = 1200, .rate_bps = 500000000, .queue_bytes = 100000, .loss_ppm = 100};
	struct gw_link_params read = {.delay_us = 9, .burst_leave_ppm = 7};
	struct gw_parse_error fault;
	json_t *object = gw_params_to_json(&asked);

	(void)state;
	assert_null(gw_params_from_json(object, &read));
	assert_memory_equal(&read, &asked, sizeof(asked));
	assert_int_equal(gw_params_set_text(object, "loss=1.5%", &fault), 0);
	assert_int_equal(gw_params_set_text(object, "delay=2ms", &fault), 0);
	assert_true(gw_params_set_text(object, "delay=-2ms", &fault) < 0);
	assert_true(gw_params_set_text(object, "speed=2", &fault) < 0);
	assert_true(gw_params_set_text(object, "delay", &fault) < 0);
	assert_null(gw_params_from_json(object, &read));
	assert_int_equal(read.loss_ppm, 15000);
	assert_int_equal(read.delay_us, 2000);
	assert_int_equal(read.rate_bps, 500000000);
	json_object_set_new(object, "loss_ppm", json_integer(1000001));
	assert_non_null(gw_params_from_json(object, &read));
	json_object_set_new(object, "loss_ppm", json_string("1"));
	assert_non_null(gw_params_from_json(object, &read));
	json_decref(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rate_and_delay_add_up),
		cmocka_unit_test(a_shorter_delay_keeps_order),
		cmocka_unit_test(jitter_stays_in_its_bounds),
		cmocka_unit_test(random_loss_is_the_share_asked_for),
		cmocka_unit_test(bursts_have_the_length_asked_for),
		cmocka_unit_test(the_same_seed_loses_the_same_packets),
		cmocka_unit_test(held_packets_are_overtaken),
		cmocka_unit_test(cuts_begin_and_end),
		cmocka_unit_test(quantiles_are_never_low_and_little_high),
		cmocka_unit_test(bad_scenarios_are_refused_with_their_place),
		cmocka_unit_test(a_scenario_is_read),
		cmocka_unit_test(parameters_survive_json),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
