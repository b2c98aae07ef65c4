/*
 * Durations in log-linear buckets (16 to each power of two, so a read is at most 1/16 high and
 * never low). Bounded, no allocation: fit for the packet mover's path.
 */
#ifndef GODWIT_BENCH_WAN_HISTOGRAM_H
#define GODWIT_BENCH_WAN_HISTOGRAM_H

#include <stdint.h>

#define GW_HISTOGRAM_BUCKETS (16u * 33u) /* 0 .. 2^36 ns: 68 s; longer ones fall into the last */

struct gw_histogram {
	uint64_t count;
	uint64_t max_ns;
	uint32_t buckets[GW_HISTOGRAM_BUCKETS];
};

void gw_histogram_add(struct gw_histogram *histogram, uint64_t ns);
/* The upper edge of the bucket that holds the share `q` in (0, 1]; 0 when empty. Never above
 * max_ns. */
uint64_t gw_histogram_quantile_ns(const struct gw_histogram *histogram, double q);
/* The largest duration that falls into bucket `i`. */
uint64_t gw_histogram_edge_ns(uint32_t i);

#endif
