/* One timer for the first lease to end; when it comes, all attempts are looked at. */
#include "agent/keeper/leases.h"

#include "agent/keeper/attempts.h"
#include "proto/base/time.h"

/* mono_us at which a lease of this length from this time ends, with all renewals heard. */
static uint64_t end_us_of(const struct gw_leases *leases, uint64_t lease_us, uint64_t from_us)
{
	if (leases->renewed_us > from_us)
		from_us = leases->renewed_us;
	return lease_us < GW_NEVER_US - from_us ? from_us + lease_us : GW_NEVER_US;
}

/* mono_us; GW_NEVER_US: it has none, or is ended already. */
static uint64_t lease_end_us(const struct gw_leases *leases, const struct gw_attempt *attempt)
{
	if (attempt->lease_us == 0 || attempt->lease_ended || !attempt->has_child)
		return GW_NEVER_US;
	return end_us_of(leases, attempt->lease_us, attempt->lease_from_us);
}

/* Waits for the first lease to end, which may be in the past: nothing is ended here, in the middle
 * of what a client says. */
static void arm(struct gw_leases *leases)
{
	struct gw_attempts *attempts = leases->attempts;
	uint64_t next_us = GW_NEVER_US;

	for (uint32_t i = 0; i < attempts->attempts.count; i++) {
		uint64_t end_us = lease_end_us(leases, attempts->attempts.entries[i]);

		if (end_us < next_us)
			next_us = end_us;
	}
	gw_loop_cancel(attempts->loop, &leases->timer);
	/* No place for a timer: the loop keeps more than there are users of it. */
	if (next_us != GW_NEVER_US)
		(void)gw_loop_set(attempts->loop, &leases->timer, next_us);
}

static void due(struct gw_timer *timer)
{
	struct gw_leases *leases = GW_CONTAINER_OF(timer, struct gw_leases, timer);
	struct gw_attempts *attempts = leases->attempts;
	uint64_t now_us;

	leases->hear(leases);
	now_us = gw_loop_now_us();
	for (uint32_t i = 0; i < attempts->attempts.count; i++) {
		struct gw_attempt *attempt = attempts->attempts.entries[i];

		if (lease_end_us(leases, attempt) <= now_us)
			gw_attempt_end_lease(attempt, 0);
	}
	arm(leases);
}

void gw_leases_init(struct gw_leases *leases, struct gw_attempts *attempts,
		    void (*hear)(struct gw_leases *leases))
{
	*leases = (struct gw_leases){.attempts = attempts, .hear = hear, .timer = {.due = due}};
}

void gw_leases_deinit(struct gw_leases *leases)
{
	gw_loop_cancel(leases->attempts->loop, &leases->timer);
}

void gw_leases_renew(struct gw_leases *leases, uint64_t renewed_us)
{
	if (renewed_us > leases->renewed_us)
		leases->renewed_us = renewed_us;
	arm(leases);
}

bool gw_leases_over(const struct gw_leases *leases, uint64_t lease_us, uint64_t lease_from_us)
{
	return lease_us > 0 && lease_from_us > 0 &&
	       end_us_of(leases, lease_us, lease_from_us) <= gw_loop_now_us();
}

void gw_leases_began(struct gw_leases *leases)
{
	arm(leases);
}
