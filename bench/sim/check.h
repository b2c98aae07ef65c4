/*
 * The invariants, held against what the keepers really run and what the journal really keeps. Cheap
 * ones after every event, all of them now and then and at the end. The first one broken stops the
 * world with a sentence.
 */
#ifndef GODWIT_BENCH_SIM_CHECK_H
#define GODWIT_BENCH_SIM_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/sim/keeper.h"
#include "proto/base/arena.h"
#include "proto/base/table.h"
#include "proto/step.h"

struct sim_grid;

/* A task as the world knows it. */
struct sim_task {
	uint8_t key[20];         /* first: job id, index */
	uint32_t attempt_newest; /* that a durable record placed */
	uint32_t attempt_placed; /* last: a former one may be placed again */
	uint64_t seq;            /* of that record */
	struct gw_node_id node;  /* where */
	uint32_t attempt_began;  /* newest that really ran */
	uint32_t running_count;
	uint32_t began_count;
	uint32_t attempt_ended; /* newest whose end is recorded */
	uint64_t usage_us;      /* wall time recorded for it */
	bool settled;           /* it waits for a first place no more */
	bool succeeded;         /* an attempt ran to its end and gave 0 */
	bool failed;            /* an attempt ran to its end and gave something else */
};

struct sim_job {
	struct gw_job_id id; /* first: the key */
	uint64_t seq;        /* of the record that accepted it */
	uint32_t task_count;
	bool gang;
	bool at_once; /* a task of it may run twice, on nodes that do not hear of each other */
};

struct sim_check {
	struct sim_grid *grid;
	struct gw_table tasks; /* of struct sim_task */
	struct gw_table jobs;  /* of struct sim_job: those with a durable record */
	uint32_t unplaced;     /* tasks that wait for their first place */
	uint32_t unplaced_max; /* a user may have waiting */
	uint64_t ends_metered; /* compared with what a keeper measured */
	uint64_t ends_audited; /* and with what users are told */
	bool auditing;         /* nothing moves any more: what is told must be what is on record */
	bool loss_reported;    /* the scheduler has it on record that records were lost */
	bool history_lost;     /* the scheduler's journal lied or was damaged, and went on */
	uint64_t scan_count;
	uint64_t began_count;
	uint64_t again_count; /* of them, attempts after a task's first */
	uint64_t agent_steps;
	struct gw_arena arena; /* of one record */
};

/* Breaks an invariant that rests on the scheduler's records: not once some of them were lost with
 * their only copy. What is demanded then is in sim_check_rest. */
#define sim_check_broken(check, ...)                                                               \
	do {                                                                                       \
		if (!(check)->history_lost)                                                        \
			sim_world_fail(&(check)->grid->world, __VA_ARGS__);                        \
	} while (0)

void sim_check_init(struct sim_check *check, struct sim_grid *grid);
void sim_check_deinit(struct sim_check *check);

/* A record of the scheduler's is durable. */
void sim_check_record(struct sim_check *check, uint64_t seq, const uint8_t *bytes, size_t size);
/* The scheduler started without the records after `seq` that were. */
void sim_check_lost(struct sim_check *check, uint64_t seq);
/* Of a keeper: a process began or ended. */
void sim_check_began(struct sim_keeper *keeper, const struct sim_attempt *attempt);
void sim_check_ended(struct sim_keeper *keeper, const struct sim_attempt *attempt);
/* The scheduler answers a client: what it acknowledges must be durable. */
void sim_check_reply(struct sim_check *check, const uint8_t *bytes, size_t size);
/* After a step of the scheduler or an agent: the core's own invariants, when they are cheap. */
void sim_check_agent(struct sim_check *check, const struct sim_host *host);
/* Everything that can be looked at while things are moving. */
void sim_check_scan(struct sim_check *check);
/* Everything has had its time: nothing runs, nothing waits, nothing is lost. */
void sim_check_rest(struct sim_check *check);
/* The world's word on a task; NULL: it never was placed. */
const struct sim_task *sim_check_task(const struct sim_check *check, struct gw_job_id job,
				      uint32_t index);

#endif
