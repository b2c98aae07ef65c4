/*
 * A simulated keeper: the parent of a host's tasks. It starts an attempt after a little while, lets
 * it run for the time that its command line says, remembers how it ended until told to forget, and
 * lives on when the agent dies. What it really runs is the ground truth that the checker counts.
 *
 * The program of this world: `sim RUN_US EXIT_CODE OUTPUT_BPS [stubborn]`. It writes OUTPUT_BPS
 * bytes a second, ends by itself after RUN_US, and heeds TERM unless stubborn.
 */
#ifndef GODWIT_BENCH_SIM_KEEPER_H
#define GODWIT_BENCH_SIM_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/sim/host.h"
#include "bench/sim/world.h"
#include "proto/base/table.h"
#include "proto/step.h"

struct sim_keeper;

/* An attempt as its keeper knows it. */
struct sim_attempt {
	struct gw_attempt_id id; /* first: the table's key */
	struct sim_keeper *keeper;
	Godwit__AttemptState state;
	bool stubborn;
	bool lease_ended; /* it is ended for that, and told as lost */
	bool declined;    /* its lease was over before it began */
	bool doomed;      /* KILL came while it was starting */
	bool forgotten;   /* to be dropped once it has ended */
	uint32_t signal;
	uint32_t exit_code;
	uint32_t cpu_milli;
	uint32_t device_count;
	uint64_t memory_bytes;
	uint64_t run_us;
	uint64_t output_bps; /* bytes a second */
	uint64_t grace_us;
	uint64_t lease_us;       /* 0: none */
	uint64_t lease_from_us;  /* by the host's monotonic clock */
	uint64_t started_us;     /* true time; 0: it never ran */
	uint64_t ended_us;       /* 0: it runs */
	struct sim_timer life;   /* the next thing to happen to it */
	struct sim_timer kill;   /* KILL after TERM's grace */
	struct sim_timer lease;  /* its end, while there is no agent to see to it */
	struct sim_timer report; /* tells the agent its state */
};

struct sim_keeper_ops {
	/* The ground truth: a process began, or ended; one that could not begin only ends. */
	void (*began)(struct sim_keeper *keeper, const struct sim_attempt *attempt);
	void (*ended)(struct sim_keeper *keeper, const struct sim_attempt *attempt);
};

struct sim_keeper {
	struct sim_host *host;
	const struct sim_keeper_ops *ops;
	struct gw_table attempts; /* of struct sim_attempt */
	struct gw_table fences;   /* tasks whose older attempts are refused */
	struct sim_read *reads;   /* held open */
	bool down;                /* its process is gone: tasks run on, no one sees them end */
	struct sim_errand *errands_first; /* of the agent, for the keeper that comes next */
	struct sim_errand *errands_last;
	uint64_t renewed_us; /* leases count from here, as the agent last said */
	uint32_t cpu_milli_used;
	uint32_t device_used;
	uint64_t memory_bytes_used;
	uint32_t running_count;
	uint64_t spawned_count;
};

void sim_keeper_init(struct sim_keeper *keeper, struct sim_host *host,
		     const struct sim_keeper_ops *ops);
void sim_keeper_deinit(struct sim_keeper *keeper);
/* Carries out SPAWN, KILL, FORGET and STREAM. */
void sim_keeper_effect(struct sim_keeper *keeper, const struct gw_effect *effect);
/* A new agent connects: SPAWNED and EXITED for everything held. */
void sim_keeper_adopt(struct sim_keeper *keeper);
/* The agent says from when leases count, by the host's monotonic clock. */
void sim_keeper_renew(struct sim_keeper *keeper, uint64_t renewed_us);
/* The agent is gone: reads are dropped, tasks live, to the end of their leases. */
void sim_keeper_orphan(struct sim_keeper *keeper);
/* kill -9 of the keeper: what it was about to start never runs; the agent's orders wait. False: it
 * is down already. */
bool sim_keeper_kill(struct sim_keeper *keeper);
/* A new keeper, unless there is one: it ends what still runs, says LOST of it, and takes orders. */
void sim_keeper_revive(struct sim_keeper *keeper);
/* The host reboots: what ran is LOST, what had ended is still on disk. */
void sim_keeper_reboot(struct sim_keeper *keeper);
/* Fills the tasks' part of a sample: usage of what runs. `ret_usage` has room for `usage_max`. */
uint32_t sim_keeper_usage(const struct sim_keeper *keeper, Godwit__TaskUsage *ret_usage,
			  uint32_t usage_max);
/* The byte at this place of a stream: output can be checked wherever it arrives. */
uint8_t sim_output_byte(const struct gw_attempt_id *attempt, uint32_t stream, uint64_t offset);

#endif
