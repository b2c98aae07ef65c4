/*
 * The invariants of a scheduler's state, for tests and the simulator: no node's cpu, memory,
 * devices or ports are given out twice, every task is in exactly one state and on its lists, the
 * counters agree with the tasks, a gang is placed whole or not at all.
 */
#ifndef GODWIT_SCHEDULER_CORE_CHECK_H
#define GODWIT_SCHEDULER_CORE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/base/id.h"

struct gw_node;

#define GW_CHECK_TEXT_BYTES 256u

/* Goes through everything. False: the first broken invariant in ret_text [GW_CHECK_TEXT_BYTES]. */
bool gw_scheduler_check(const struct gw_node *scheduler, char *ret_text);

struct gw_scheduler_counts {
	uint32_t nodes_up;
	uint32_t jobs_active;
	uint32_t tasks_waiting;
	uint32_t tasks_held; /* placed or running */
	uint32_t tasks_succeeded;
	uint32_t tasks_failed;
	uint32_t tasks_cancelled;
	uint32_t records_lost; /* signs of it */
};

void gw_scheduler_count(const struct gw_node *scheduler, struct gw_scheduler_counts *ret_counts);
/* The attempt now holding a place on this node: true if `attempt` is the task's current one, held
 * there. For a simulator's check that every run is one the scheduler answers for. */
bool gw_scheduler_holds(const struct gw_node *scheduler, struct gw_node_id node,
			struct gw_attempt_id attempt);

#endif
