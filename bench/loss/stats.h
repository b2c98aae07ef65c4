/*
 * Statistics of paired blocks: percentiles, means with a bootstrap interval over pairs, and the
 * number of pairs that a wanted precision needs. Pure; the bootstrap's draws come from a seed.
 */
#ifndef GODWIT_BENCH_LOSS_STATS_H
#define GODWIT_BENCH_LOSS_STATS_H

#include <stddef.h>
#include <stdint.h>

#define GW_STATS_RESAMPLES 10000u

/* A location with its 95 % interval. */
struct gw_estimate {
	double mean;
	double low; /* of the mean */
	double high;
	double median;
	double median_low;
	double median_high;
	double sd; /* of one value */
	size_t count;
};

/* Sorts values[count] in place and gives the p-quantile, p in [0, 1], linear between neighbours
 * (Hyndman and Fan 1996, type 7). NAN for no values. */
double gw_stats_percentile(double *values, size_t count, double p);
double gw_stats_mean(const double *values, size_t count);
double gw_stats_sd(const double *values, size_t count); /* n - 1; 0 below two values */

/* Percentile bootstrap over the values (Efron 1979), GW_STATS_RESAMPLES resamples from `seed`.
 * All NAN for no values. 0, or -ENOMEM. */
int gw_stats_bootstrap(const double *values, size_t count, uint64_t seed, struct gw_estimate *ret);
/* The same for the sum of the means (and of the medians) of two independent sets. */
int gw_stats_bootstrap_sum(const double *a, size_t a_count, const double *b, size_t b_count,
			   uint64_t seed, struct gw_estimate *ret);

/* From log(cross / single) to per cent lost: 100 (1 - e^x); bounds change places. */
struct gw_estimate gw_stats_loss_percent(const struct gw_estimate *log_ratio);
/* From log(cross / single) to per cent more: 100 (e^x - 1). */
struct gw_estimate gw_stats_gain_percent(const struct gw_estimate *log_ratio);

/* Pairs so that the mean of differences with this sd (in points) is known to 0.5 points at two
 * standard errors: ceil((2 sd / 0.5)^2), at least `min`. */
uint32_t gw_stats_pairs(double sd_points, uint32_t min);

#endif
