/* Statistics of paired blocks on data whose answer is known, and the pipeline model's own figures.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench/loss/pace.h"
#include "bench/loss/stats.h"
#include "bench/loss/theory.h"
#include "proto/base/prng.h"

static void assert_near(double found, double expected, double within)
{
	if (!(fabs(found - expected) <= within))
		fail_msg("found %.9g, expected %.9g +- %g", found, expected, within);
}

/* A sum of twelve uniforms: close to normal, sd 1 (Irwin-Hall). */
static double normal(struct gw_prng *prng)
{
	double sum = -6;

	for (int i = 0; i < 12; i++)
		sum += gw_prng_unit(prng);
	return sum;
}

static void test_percentiles(void **state)
{
	double values[] = {5, 1, 4, 2, 3};
	double one[] = {7};

	(void)state;
	assert_near(gw_stats_percentile(values, 5, 0.5), 3, 0);
	assert_near(gw_stats_percentile(values, 5, 0), 1, 0);
	assert_near(gw_stats_percentile(values, 5, 1), 5, 0);
	assert_near(gw_stats_percentile(values, 5, 0.9), 4.6, 1e-12);
	assert_near(gw_stats_percentile(one, 1, 0.99), 7, 0);
	assert_true(isnan(gw_stats_percentile(one, 0, 0.5)));
	assert_near(gw_stats_mean(values, 5), 3, 1e-12);
	assert_near(gw_stats_sd(values, 5), sqrt(2.5), 1e-12);
	assert_near(gw_stats_sd(one, 1), 0, 0);
}

/* The interval of n normal values must be about mean +- 1.96 sd / sqrt(n). */
static void test_interval_has_the_right_width(void **state)
{
	double values[400];
	struct gw_estimate e;
	struct gw_prng prng;

	(void)state;
	gw_prng_init(&prng, 11);
	for (int i = 0; i < 400; i++)
		values[i] = 3 + 0.5 * normal(&prng);
	assert_int_equal(gw_stats_bootstrap(values, 400, 1, &e), 0);
	assert_near(e.mean, 3, 0.08);
	assert_near((e.high - e.low) / 2, 1.96 * e.sd / 20, 0.005);
	assert_true(e.low < e.mean && e.mean < e.high);
	assert_true(e.median_low <= e.median && e.median <= e.median_high);
	assert_int_equal(e.count, 400);
}

/* Of 200 campaigns of 12 pairs about 92 % must cover the truth (a percentile bootstrap of few
 * values is known to be a little narrow); far fewer or all of them would be a broken interval. */
static void test_interval_covers(void **state)
{
	uint32_t covered = 0;
	struct gw_prng prng;

	(void)state;
	gw_prng_init(&prng, 5);
	for (uint32_t i = 0; i < 200; i++) {
		double values[12];
		struct gw_estimate e;

		for (int k = 0; k < 12; k++)
			values[k] = -0.02 + 0.003 * normal(&prng);
		assert_int_equal(gw_stats_bootstrap(values, 12, i, &e), 0);
		covered += e.low <= -0.02 && e.high >= -0.02;
	}
	assert_in_range(covered, 170, 198);
}

static void test_same_seed_same_interval(void **state)
{
	const double values[] = {1, 2, 4, 8, 16, 32};
	struct gw_estimate a;
	struct gw_estimate b;
	struct gw_estimate c;

	(void)state;
	assert_int_equal(gw_stats_bootstrap(values, 6, 1, &a), 0);
	assert_int_equal(gw_stats_bootstrap(values, 6, 1, &b), 0);
	assert_int_equal(gw_stats_bootstrap(values, 6, 2, &c), 0);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_near(c.mean, a.mean, 1e-12);
}

/* Two hops of a ratio: the means add, and so do the variances. */
static void test_sum_of_two_sets(void **state)
{
	double a[300];
	double b[300];
	struct gw_estimate sum;
	struct gw_estimate alone;
	struct gw_prng prng;

	(void)state;
	gw_prng_init(&prng, 3);
	for (int i = 0; i < 300; i++) {
		a[i] = normal(&prng);
		b[i] = 10 + normal(&prng);
	}
	assert_int_equal(gw_stats_bootstrap(a, 300, 1, &alone), 0);
	assert_int_equal(gw_stats_bootstrap_sum(a, 300, b, 300, 1, &sum), 0);
	assert_near(sum.mean, gw_stats_mean(a, 300) + gw_stats_mean(b, 300), 1e-12);
	assert_near((sum.high - sum.low) / (alone.high - alone.low), sqrt(2), 0.12);
}

static void test_nothing_gives_nothing(void **state)
{
	struct gw_estimate e;

	(void)state;
	assert_int_equal(gw_stats_bootstrap(NULL, 0, 1, &e), 0);
	assert_true(isnan(e.mean) && isnan(e.low) && isnan(e.high));
	assert_int_equal(e.count, 0);
}

static void test_loss_turns_bounds_round(void **state)
{
	const struct gw_estimate x = {.mean = log(0.95), .low = log(0.94), .high = log(0.97)};
	struct gw_estimate loss = gw_stats_loss_percent(&x);
	struct gw_estimate gain = gw_stats_gain_percent(&x);

	(void)state;
	assert_near(loss.mean, 5, 1e-9);
	assert_near(loss.low, 3, 1e-9);
	assert_near(loss.high, 6, 1e-9);
	assert_near(gain.mean, -5, 1e-9);
	assert_near(gain.low, -6, 1e-9);
}

static void test_pairs_needed(void **state)
{
	(void)state;
	assert_int_equal(gw_stats_pairs(0, 10), 10);
	assert_int_equal(gw_stats_pairs(0.5, 10), 10);
	assert_int_equal(gw_stats_pairs(1, 10), 16);
	assert_int_equal(gw_stats_pairs(5, 10), 400);
	assert_int_equal(gw_stats_pairs((double)NAN, 10), 10);
}

/* The worked examples of the serving model: m = S = 4, t = 10 ms at R = 2.4, 10, 40 ms. */
static void test_theory(void **state)
{
	struct gw_theory theory = {.stages = 4, .groups = 4, .batch = 1, .stage_s = 0.010};

	(void)state;
	theory.loop_rtt_s = 0.0024;
	assert_near(gw_theory_loss_percent(&theory, 100), 5.66, 0.01);
	theory.loop_rtt_s = 0.010;
	assert_near(gw_theory_loss_percent(&theory, 100), 20, 0.01);
	theory.loop_rtt_s = 0.040;
	assert_near(gw_theory_loss_percent(&theory, 100), 50, 0.01);
	theory.groups = 8; /* m = S + R / t: none lost */
	assert_near(gw_theory_loss_percent(&theory, 100), 0, 1e-9);
	theory.groups = 4;
	assert_near(gw_theory_rtt_at_loss_s(&theory, 100, 20), 0.010, 1e-9);
	assert_near(gw_theory_rtt_at_loss_s(&theory, 200, 20), 0, 0); /* lost at any distance */
}

static const struct gw_accelerator a100 = {.flops_per_s = 312e12,
					   .flops_efficiency = 0.5,
					   .bytes_per_s = 2.04e12,
					   .bytes_efficiency = 0.8,
					   .memory_bytes = 80e9,
					   .overhead_s = 0.001,
					   .hidden = 8192,
					   .ffn = 28672,
					   .kv_width = 1024,
					   .layers_held = 27,
					   .context = 995};

/* Llama-2-70B: 0.856 G parameters and 4,096 B of cache per position in a layer. */
static void test_accelerator(void **state)
{
	struct gw_accelerator small = a100;

	(void)state;
	assert_near(gw_accelerator_weight_bytes(&a100), 2 * 0.8556e9, 1e6);
	assert_near(gw_accelerator_cache_bytes(&a100), 4096.0 * 995, 1);
	assert_near(gw_accelerator_stage_s(&a100, 0, 0), 0.0293, 0.0001);
	assert_near(gw_accelerator_stage_s(&a100, 31, 31) - gw_accelerator_stage_s(&a100, 30, 30),
		    67.4e-6, 0.2e-6);
	/* a prompt of 2,000 tokens is bound by arithmetic */
	assert_near(gw_accelerator_stage_s(&a100, 2000, 1),
		    0.001 + 27 * 2000 * gw_accelerator_flops_per_token(&a100) / 156e12, 1e-9);
	assert_int_equal(gw_accelerator_slots(&a100), 307);
	small.memory_bytes = 40e9;
	assert_int_equal(gw_accelerator_slots(&small), 0);
}

static void test_best_shape(void **state)
{
	struct gw_theory theory = {.stages = 3, .loop_rtt_s = 0.0024};

	(void)state;
	gw_theory_best(&theory, &a100, 307, 256, 16);
	assert_int_equal(theory.groups,
			 3); /* memory is full: a larger m costs more than it hides */
	assert_int_equal(theory.batch, 102);
	theory = (struct gw_theory){.stages = 3, .loop_rtt_s = 0.2};
	gw_theory_best(&theory, &a100, 307, 256, 16);
	assert_true(theory.groups > 3);
	assert_true(theory.groups * theory.batch <= 307);
}

static void test_due_times(void **state)
{
	(void)state;
	assert_int_equal(gw_pace_due_ns(100, 0, 10), 110);   /* idle */
	assert_int_equal(gw_pace_due_ns(100, 105, 10), 115); /* behind another */
	assert_int_equal(gw_pace_due_ns(100, 100, 0), 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_percentiles),
		cmocka_unit_test(test_interval_has_the_right_width),
		cmocka_unit_test(test_interval_covers),
		cmocka_unit_test(test_same_seed_same_interval),
		cmocka_unit_test(test_sum_of_two_sets),
		cmocka_unit_test(test_nothing_gives_nothing),
		cmocka_unit_test(test_loss_turns_bounds_round),
		cmocka_unit_test(test_pairs_needed),
		cmocka_unit_test(test_theory),
		cmocka_unit_test(test_accelerator),
		cmocka_unit_test(test_best_shape),
		cmocka_unit_test(test_due_times),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
