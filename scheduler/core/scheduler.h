/*
 * The scheduler's core: which job's task runs on which node, and what is known of both. A gw_node
 * (proto/step): events in, effects out, no I/O, no clock. Facts that must survive are records; the
 * rest (liveness, RTT, telemetry, leases' renewals) is soft and comes back from the agents.
 *
 * Peers of role agent speak by MESSAGE; users and operators by SUBMIT, answered by REPLY with the
 * same request handle, at once or later.
 */
#ifndef GODWIT_SCHEDULER_CORE_SCHEDULER_H
#define GODWIT_SCHEDULER_CORE_SCHEDULER_H

#include <stdint.h>

struct gw_node;

struct gw_scheduler_config {
	const char *region; /* copied */
	uint32_t region_id; /* first field of the ids given out */
	uint32_t epoch_min; /* term and epoch (second field of ids) are at least this: a host that
			       keeps no journal counts its starts here, so that no id is ever given
			       out twice, and gives the same number as ROLE's term */
	uint64_t seed;      /* of planners' tie-breaks and hash tables; not a secret */

	uint64_t unknown_after_us; /* silence until a node is unknown */
	uint64_t lost_after_us;    /* silence until a node without attempts is called lost */
	uint64_t stall_after_us; /* a state channel behind its heartbeats for so long is not health
				  */
	uint64_t lease_us;       /* of jobs that state none */
	uint64_t lease_us_max;   /* longest that a job may ask */
	uint32_t drift_ppm;      /* bound on two clocks' difference in rate */

	uint64_t plan_work_units;            /* of one plan (place/plan.h) */
	uint32_t waiting_tasks_per_user_max; /* admission */
	uint32_t jobs_max;                   /* kept, ended ones included: up to GW_JOBS_MAX */
};

/* The defaults; region is "region", to be set with region_id and seed. */
void gw_scheduler_config_defaults(struct gw_scheduler_config *ret_config);
/* A core without history: apply records, then feed START. NULL: out of memory. */
struct gw_node *gw_scheduler_new(const struct gw_scheduler_config *config);

/* Of the newest leader in the durable state, with the epoch of its ids; zeroes: there was none. */
void gw_scheduler_term(const struct gw_node *scheduler, uint64_t *ret_term, uint32_t *ret_epoch);

/* A term later than its own that a node obeys: ROLE with a later one is wanted. 0: none. */
uint64_t gw_scheduler_term_seen(const struct gw_node *scheduler);

/* Prints the life cycles of jobs and tasks (scheduler/core/STATES.md) into ret_text, cut to `size`.
 * Returns the whole length. */
uint32_t gw_scheduler_states(char *ret_text, uint32_t size);

#endif
