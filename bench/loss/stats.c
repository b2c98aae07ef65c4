/* Statistics of paired blocks; see the header. */
#include "bench/loss/stats.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/prng.h"

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left;
	double b = *(const double *)right;

	return (a > b) - (a < b);
}

/* Of values that are sorted. */
static double quantile(const double *values, size_t count, double p)
{
	double at = p * (double)(count - 1);
	size_t below = (size_t)at;

	if (count == 0)
		return (double)NAN;
	if (below + 1 >= count)
		return values[count - 1];
	return values[below] + (at - (double)below) * (values[below + 1] - values[below]);
}

double gw_stats_percentile(double *values, size_t count, double p)
{
	if (count == 0)
		return (double)NAN;
	qsort(values, count, sizeof(*values), compare);
	return quantile(values, count, p);
}

double gw_stats_mean(const double *values, size_t count)
{
	double sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += values[i];
	return count ? sum / (double)count : (double)NAN;
}

double gw_stats_sd(const double *values, size_t count)
{
	double mean = gw_stats_mean(values, count);
	double sum = 0;

	if (count < 2)
		return 0;
	for (size_t i = 0; i < count; i++)
		sum += (values[i] - mean) * (values[i] - mean);
	return sqrt(sum / (double)(count - 1));
}

/* Mean and median of one resample; `scratch` has room for it. */
static void resample(const double *values, size_t count, struct gw_prng *prng, double *scratch,
		     double *add_mean, double *add_median)
{
	for (size_t i = 0; i < count; i++)
		scratch[i] = values[gw_prng_below(prng, count)];
	*add_mean += gw_stats_mean(scratch, count);
	*add_median += gw_stats_percentile(scratch, count, 0.5);
}

static double median(const double *values, size_t count, double *scratch)
{
	memcpy(scratch, values, count * sizeof(*values));
	return gw_stats_percentile(scratch, count, 0.5);
}

int gw_stats_bootstrap_sum(const double *a, size_t a_count, const double *b, size_t b_count,
			   uint64_t seed, struct gw_estimate *ret)
{
	size_t longest = a_count > b_count ? a_count : b_count;
	double *means;
	double *medians;
	double *scratch;
	struct gw_prng prng;

	if (a_count == 0) {
		*ret = (struct gw_estimate){(double)NAN, (double)NAN, (double)NAN, (double)NAN,
					    (double)NAN, (double)NAN, (double)NAN, 0};
		return 0;
	}
	means = calloc(2 * GW_STATS_RESAMPLES + longest, sizeof(*means));
	if (!means)
		return -ENOMEM;
	medians = means + GW_STATS_RESAMPLES;
	scratch = medians + GW_STATS_RESAMPLES;
	gw_prng_init(&prng, seed);
	for (size_t i = 0; i < GW_STATS_RESAMPLES; i++) {
		resample(a, a_count, &prng, scratch, &means[i], &medians[i]);
		if (b_count > 0)
			resample(b, b_count, &prng, scratch, &means[i], &medians[i]);
	}
	*ret = (struct gw_estimate){
		.mean = gw_stats_mean(a, a_count) + (b_count ? gw_stats_mean(b, b_count) : 0),
		.low = gw_stats_percentile(means, GW_STATS_RESAMPLES, 0.025),
		.high = gw_stats_percentile(means, GW_STATS_RESAMPLES, 0.975),
		.median = median(a, a_count, scratch) + (b_count ? median(b, b_count, scratch) : 0),
		.median_low = gw_stats_percentile(medians, GW_STATS_RESAMPLES, 0.025),
		.median_high = gw_stats_percentile(medians, GW_STATS_RESAMPLES, 0.975),
		.sd = gw_stats_sd(a, a_count),
		.count = a_count,
	};
	free(means);
	return 0;
}

int gw_stats_bootstrap(const double *values, size_t count, uint64_t seed, struct gw_estimate *ret)
{
	return gw_stats_bootstrap_sum(values, count, NULL, 0, seed, ret);
}

static double loss(double log_ratio)
{
	return -100 * expm1(log_ratio);
}

struct gw_estimate gw_stats_loss_percent(const struct gw_estimate *x)
{
	return (struct gw_estimate){.mean = loss(x->mean),
				    .low = loss(x->high),
				    .high = loss(x->low),
				    .median = loss(x->median),
				    .median_low = loss(x->median_high),
				    .median_high = loss(x->median_low),
				    .sd = 100 * x->sd,
				    .count = x->count};
}

struct gw_estimate gw_stats_gain_percent(const struct gw_estimate *x)
{
	return (struct gw_estimate){.mean = -loss(x->mean),
				    .low = -loss(x->low),
				    .high = -loss(x->high),
				    .median = -loss(x->median),
				    .median_low = -loss(x->median_low),
				    .median_high = -loss(x->median_high),
				    .sd = 100 * x->sd,
				    .count = x->count};
}

uint32_t gw_stats_pairs(double sd_points, uint32_t min)
{
	double pairs = ceil(pow(2 * sd_points / 0.5, 2));

	if (!(pairs > min))
		return min;
	return pairs > 1e6 ? 1000000 : (uint32_t)pairs;
}
