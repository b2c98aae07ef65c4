/* Linear clocks. A boot lasts BOOT_US of monotonic time before anything of ours runs. */
#include "bench/sim/clock.h"

#include "proto/base/check.h"

#define BOOT_US (10 * GW_US_PER_S)
#define MILLION 1000000

__extension__ typedef unsigned __int128 u128;

/* Monotonic microseconds in a million true ones. */
static u128 clock_rate(const struct sim_clock *clock)
{
	return (u128)(MILLION + clock->drift_ppm);
}

void sim_clock_boot(struct sim_clock *clock, uint64_t true_us, struct gw_id boot_id)
{
	clock->from_us = true_us;
	clock->from_mono_us = 0;
	clock->boot_id = boot_id;
}

uint64_t sim_clock_mono(const struct sim_clock *clock, uint64_t true_us)
{
	CHECK(true_us >= clock->from_us);
	return BOOT_US + clock->from_mono_us +
	       (uint64_t)((u128)(true_us - clock->from_us) * clock_rate(clock) / (u128)MILLION);
}

void sim_clock_drift(struct sim_clock *clock, uint64_t true_us, int32_t drift_ppm)
{
	clock->from_mono_us = sim_clock_mono(clock, true_us) - BOOT_US;
	clock->from_us = true_us;
	clock->drift_ppm = drift_ppm;
}

uint64_t sim_clock_true(const struct sim_clock *clock, uint64_t mono_us)
{
	uint64_t base_us = BOOT_US + clock->from_mono_us;
	u128 rate = clock_rate(clock);

	if (mono_us == GW_NEVER_US)
		return GW_NEVER_US;
	if (mono_us <= base_us)
		return clock->from_us;
	return clock->from_us +
	       (uint64_t)(((u128)(mono_us - base_us) * (u128)MILLION + rate - (u128)1) / rate);
}

void sim_clock_now(const struct sim_clock *clock, uint64_t true_us, struct gw_now *ret_now)
{
	ret_now->mono_us = sim_clock_mono(clock, true_us);
	ret_now->wall_us = clock->wall_offset_us + (int64_t)true_us;
	ret_now->wall_error_us = clock->wall_error_us;
	ret_now->boot_id = clock->boot_id;
}
