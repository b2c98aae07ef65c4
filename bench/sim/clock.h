/*
 * A simulated host's clocks: a monotonic one that begins anew at each boot and drifts, and a wall
 * clock that is off by some amount. True time is known to the world alone.
 */
#ifndef GODWIT_BENCH_SIM_CLOCK_H
#define GODWIT_BENCH_SIM_CLOCK_H

#include <stdint.h>

#include "proto/base/time.h"

struct sim_clock {
	uint64_t from_us;       /* true time since which it runs at this rate */
	uint64_t from_mono_us;  /* what it showed then, since the boot */
	int32_t drift_ppm;      /* of the monotonic clock, within +-1000 */
	int64_t wall_offset_us; /* wall_us at true time 0 */
	uint32_t wall_error_us; /* the bound that the host states */
	struct gw_id boot_id;
};

/* The host boots: the monotonic clock begins anew. */
void sim_clock_boot(struct sim_clock *clock, uint64_t true_us, struct gw_id boot_id);
/* It runs at this rate from now on, and goes on from what it shows. */
void sim_clock_drift(struct sim_clock *clock, uint64_t true_us, int32_t drift_ppm);
/* Monotonic time at true time `true_us`, not before from_us. */
uint64_t sim_clock_mono(const struct sim_clock *clock, uint64_t true_us);
/* The earliest true time at which the monotonic clock shows at least `mono_us`; GW_NEVER_US stays.
 */
uint64_t sim_clock_true(const struct sim_clock *clock, uint64_t mono_us);
void sim_clock_now(const struct sim_clock *clock, uint64_t true_us, struct gw_now *ret_now);

#endif
