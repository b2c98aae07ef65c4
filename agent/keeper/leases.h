/*
 * The last word on leases. An attempt may run to its lease's end unheard; then the scheduler may
 * start its task elsewhere. Ending it in time is the agent's part, a grace before. An agent that is
 * dead, stopped or stuck cannot, so the keeper sees to it: whatever outlives its lease is killed,
 * without grace. The agent says from when leases count, often enough that this never comes early
 * while it is well; a keeper that was stopped itself first hears what was said meanwhile.
 */
#ifndef GODWIT_AGENT_KEEPER_LEASES_H
#define GODWIT_AGENT_KEEPER_LEASES_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/loop.h"

struct gw_attempts;

struct gw_leases {
	struct gw_attempts *attempts;
	void (*hear)(struct gw_leases *leases); /* takes the renewals that wait to be read */
	struct gw_timer timer;                  /* of the first lease to end */
	uint64_t renewed_us; /* mono: leases count from here, if it is later than their own time */
};

void gw_leases_init(struct gw_leases *leases, struct gw_attempts *attempts,
		    void (*hear)(struct gw_leases *leases));
void gw_leases_deinit(struct gw_leases *leases);
/* An agent's word; an older one than is known changes nothing. */
void gw_leases_renew(struct gw_leases *leases, uint64_t renewed_us);
/* True: an attempt with this lease (0: none) from this time (mono; 0: from its start) would begin
 * after its end, when the scheduler may have started its task elsewhere. */
bool gw_leases_over(const struct gw_leases *leases, uint64_t lease_us, uint64_t lease_from_us);
/* An attempt was started: its lease may be the first to end. */
void gw_leases_began(struct gw_leases *leases);

#endif
