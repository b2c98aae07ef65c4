/*
 * The moment that an event carries into a core. Cores read no clock; leases and timeouts count
 * mono_us, policy windows use wall_us with its error. Durable state never holds mono_us.
 */
#ifndef GODWIT_PROTO_BASE_TIME_H
#define GODWIT_PROTO_BASE_TIME_H

#include <stdint.h>

#include "proto/base/id.h"

#define GW_US_PER_MS 1000ull
#define GW_US_PER_S 1000000ull
#define GW_NEVER_US UINT64_MAX

struct gw_now {
	uint64_t mono_us;       /* CLOCK_BOOTTIME: counts through suspend */
	int64_t wall_us;        /* since 1970-01-01 UTC */
	uint32_t wall_error_us; /* bound on wall_us's error; UINT32_MAX: unknown */
	struct gw_id boot_id;   /* of the host's boot: mono_us of two boots do not compare */
};

#endif
