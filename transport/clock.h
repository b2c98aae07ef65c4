/* The clocks of this host as a gw_now. The only reader of time in the daemons. */
#ifndef GODWIT_TRANSPORT_CLOCK_H
#define GODWIT_TRANSPORT_CLOCK_H

#include "proto/base/time.h"

struct gw_clock {
	struct gw_id boot_id;
	uint32_t wall_error_us; /* as the kernel's clock discipline states it */
	uint64_t error_due_us;  /* mono_us at which it is asked again */
};

/* 0; negative errno: the boot id cannot be read. */
int gw_clock_init(struct gw_clock *clock);
/* CLOCK_BOOTTIME, CLOCK_REALTIME and the error bound (refreshed every 16 s). */
struct gw_now gw_clock_now(struct gw_clock *clock);
/* CLOCK_BOOTTIME alone, in microseconds. */
uint64_t gw_clock_mono_us(void);
int64_t gw_clock_wall_us(void);

#endif
