/*
 * Leases while there is no agent. An attempt may run to its lease's end unheard; then the scheduler
 * may start its task elsewhere. Ending it in time is the agent's part, which knows of renewals. An
 * agent that is dead cannot, so the keeper does it then: whatever outlives its lease is killed,
 * without grace, for the agent would have given it before. With an agent there is nothing to do.
 */
#ifndef GODWIT_AGENT_KEEPER_LEASES_H
#define GODWIT_AGENT_KEEPER_LEASES_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/keeper/loop.h"

struct gw_attempts;

struct gw_leases {
	struct gw_attempts *attempts;
	struct gw_timer timer; /* of the first lease to end; not set while an agent is there */
	uint64_t renewed_us; /* mono: leases count from here, if it is later than their own time */
};

void gw_leases_init(struct gw_leases *leases, struct gw_attempts *attempts);
void gw_leases_deinit(struct gw_leases *leases);
/* An agent's word; an older one than is known changes nothing. */
void gw_leases_renew(struct gw_leases *leases, uint64_t renewed_us);
/* The last agent is gone (true), or one is there. */
void gw_leases_watch(struct gw_leases *leases, bool watch);

#endif
