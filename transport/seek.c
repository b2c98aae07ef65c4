/* The pace of a search for the leader; the numbers stand in the header. */
#include "transport/seek.h"

#include "proto/base/check.h"
#include "proto/base/time.h"

#define TRY_US_MIN (300 * GW_US_PER_MS)
#define TRY_US_MAX (10 * GW_US_PER_S)
#define OPENINGS_PER_TRY 3u /* a path's delay varies, and a packet may be lost */
#define DOUBLINGS_MAX 5u
#define PAUSE_US_MIN (100 * GW_US_PER_MS)
#define PAUSE_US_MAX (5 * GW_US_PER_S)
#define LOOKED_PER_PAUSE 4u

static uint64_t within(uint64_t value, uint64_t min, uint64_t max)
{
	if (value < min)
		return min;
	return value > max ? max : value;
}

void gw_seek_init(struct gw_seek *seek, uint32_t count, uint64_t seed, uint64_t now_us)
{
	CHECK(count > 0);
	*seek = (struct gw_seek){.count = count};
	gw_prng_init(&seek->jitter, seed);
	gw_seek_begin(seek, now_us);
}

void gw_seek_begin(struct gw_seek *seek, uint64_t now_us)
{
	seek->tries = 0;
	seek->since_us = now_us;
	seek->began_us = now_us;
}

uint64_t gw_seek_until_us(const struct gw_seek *seek)
{
	uint64_t try_us = within(OPENINGS_PER_TRY * seek->opening_us, TRY_US_MIN, TRY_US_MAX);
	uint32_t rounds = seek->tries / seek->count;

	try_us <<= rounds < DOUBLINGS_MAX ? rounds : DOUBLINGS_MAX;
	return seek->began_us + within(try_us, TRY_US_MIN, TRY_US_MAX);
}

uint64_t gw_seek_next(struct gw_seek *seek, uint64_t now_us)
{
	uint64_t pause_us = 0;

	seek->at = (seek->at + 1) % seek->count;
	seek->tries++;
	if (seek->tries % seek->count == 0) {
		pause_us = within((now_us - seek->since_us) / LOOKED_PER_PAUSE, PAUSE_US_MIN,
				  PAUSE_US_MAX);
		pause_us -= gw_prng_below(&seek->jitter, pause_us / 2);
	}
	seek->began_us = now_us + pause_us;
	return seek->began_us;
}

void gw_seek_answered(struct gw_seek *seek, uint64_t now_us)
{
	CHECK(now_us >= seek->began_us);
	seek->opening_us = now_us - seek->began_us;
	seek->tries = 0;
}
