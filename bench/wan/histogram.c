/* Log-linear histogram, see the header. Bucket of v >= 16: 4 bits after the leading one. */
#include "bench/wan/histogram.h"

static uint32_t bucket_of(uint64_t ns)
{
	uint32_t exponent;
	uint32_t bucket;

	if (ns < 16)
		return (uint32_t)ns;
	exponent = 63u - (uint32_t)__builtin_clzll(ns);
	bucket = 16u * (exponent - 3u) + (uint32_t)(ns >> (exponent - 4u) & 15u);
	return bucket < GW_HISTOGRAM_BUCKETS ? bucket : GW_HISTOGRAM_BUCKETS - 1;
}

uint64_t gw_histogram_edge_ns(uint32_t bucket)
{
	uint32_t exponent;

	if (bucket < 16)
		return bucket;
	exponent = bucket / 16u + 3u;
	return ((16ull + bucket % 16u + 1u) << (exponent - 4u)) - 1;
}

void gw_histogram_add(struct gw_histogram *histogram, uint64_t ns)
{
	histogram->buckets[bucket_of(ns)]++;
	histogram->count++;
	if (ns > histogram->max_ns)
		histogram->max_ns = ns;
}

uint64_t gw_histogram_quantile_ns(const struct gw_histogram *histogram, double q)
{
	double wanted = q * (double)histogram->count;
	uint64_t seen = 0;

	for (uint32_t i = 0; i < GW_HISTOGRAM_BUCKETS; i++) {
		seen += histogram->buckets[i];
		if (seen > 0 && (double)seen >= wanted) {
			uint64_t edge = gw_histogram_edge_ns(i);

			return edge < histogram->max_ns ? edge : histogram->max_ns;
		}
	}
	return histogram->max_ns;
}
