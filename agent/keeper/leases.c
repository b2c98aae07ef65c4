/* One timer for the first lease to end; when it comes, all attempts are looked at. */
#include "agent/keeper/leases.h"

#include "agent/keeper/attempts.h"
#include "proto/base/time.h"

/* mono_us; GW_NEVER_US: it has none, or is over. */
static uint64_t lease_end_us(const struct gw_leases *leases, const struct gw_attempt *attempt)
{
	uint64_t from_us = attempt->lease_from_us;

	if (attempt->lease_us == 0 || gw_attempt_ended(attempt))
		return GW_NEVER_US;
	if (leases->renewed_us > from_us)
		from_us = leases->renewed_us;
	return attempt->lease_us < GW_NEVER_US - from_us ? from_us + attempt->lease_us
							 : GW_NEVER_US;
}

/* Ends what is past its lease, and waits for the next. */
static void check(struct gw_timer *timer)
{
	struct gw_leases *leases = GW_CONTAINER_OF(timer, struct gw_leases, timer);
	struct gw_attempts *attempts = leases->attempts;
	uint64_t now_us = gw_loop_now_us();
	uint64_t next_us = GW_NEVER_US;

	for (uint32_t i = 0; i < attempts->attempts.count; i++) {
		struct gw_attempt *attempt = attempts->attempts.entries[i];
		uint64_t end_us = lease_end_us(leases, attempt);

		if (end_us > now_us)
			next_us = end_us < next_us ? end_us : next_us;
		else
			gw_attempt_terminate(attempt, 0);
	}
	gw_loop_cancel(attempts->loop, &leases->timer);
	/* No place for a timer: the loop keeps more than there are users of it. */
	if (next_us != GW_NEVER_US)
		(void)gw_loop_set(attempts->loop, &leases->timer, next_us);
}

void gw_leases_init(struct gw_leases *leases, struct gw_attempts *attempts)
{
	*leases = (struct gw_leases){.attempts = attempts, .timer = {.due = check}};
}

void gw_leases_deinit(struct gw_leases *leases)
{
	gw_loop_cancel(leases->attempts->loop, &leases->timer);
}

void gw_leases_renew(struct gw_leases *leases, uint64_t renewed_us)
{
	if (renewed_us > leases->renewed_us)
		leases->renewed_us = renewed_us;
	check(&leases->timer);
}

void gw_leases_began(struct gw_leases *leases)
{
	check(&leases->timer);
}
