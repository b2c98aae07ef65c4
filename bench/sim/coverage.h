/*
 * What a run exercised: the faults that struck, those that found their victim broken already, and
 * what came of them. A campaign adds them up: a kind of fault that never had a consequence was not
 * tested by it. Plain data: it crosses a pipe.
 */
#ifndef GODWIT_BENCH_SIM_COVERAGE_H
#define GODWIT_BENCH_SIM_COVERAGE_H

#include <stdint.h>

#include "bench/sim/faults.h"

/* What faults lead to, counted where the world does it. */
enum sim_sight {
	SIM_SAW_CONNECTION_BROKEN,
	SIM_SAW_MESSAGE_LOST, /* in flight when its connection broke, or held by a process killed */
	SIM_SAW_PACKET_RESENT, /* lost, and late for it */
	SIM_SAW_PACKET_DOUBLED,
	SIM_SAW_PACKET_OVERTAKEN,
	SIM_SAW_QUEUE_FULL,    /* of a slow link */
	SIM_SAW_RECORD_LOST,   /* appended, not durable, gone with its process or its power */
	SIM_SAW_TAIL_CUT,      /* a start cut damaged bytes from the journal's end */
	SIM_SAW_START_REFUSED, /* a start refused a journal or a snapshot that is corrupt */
	SIM_SAW_SNAPSHOT_READ, /* a start began from one */
	SIM_SAW_WRITE_REFUSED, /* by a full disk */
	SIM_SAW_SYNC_FAILED,
	SIM_SAW_LOSS_REPORTED,    /* records were lost, and a core said so */
	SIM_SAW_OLD_VERSION_READ, /* a core applied what another version wrote */
	SIM_SAW_TERM_REFUSED,     /* an agent refused an older leader */
	SIM_SAW_ATTEMPT_LOST,     /* declared lost by the scheduler */
	SIM_SAW_TASK_AGAIN,       /* ran once more */
	SIM_SAW_LEASE_ENDED,      /* a task was ended because its lease was over */
	SIM_SAW_REQUEST_REPEATED, /* by a client that heard nothing */
	SIM_SAW_REQUEST_REFUSED,
	SIM_SAW_COUNT,
};

struct sim_coverage {
	uint32_t struck[SIM_FAULT_COUNT];
	uint32_t left[SIM_FAULT_COUNT]; /* alone: the victim was broken already */
	uint64_t seen[SIM_SAW_COUNT];
};

/* The sum of many runs. */
struct sim_coverage_sum {
	uint64_t runs;
	uint64_t struck[SIM_FAULT_COUNT];
	uint64_t left[SIM_FAULT_COUNT];
	uint64_t struck_runs[SIM_FAULT_COUNT]; /* runs in which it struck at least once */
	uint64_t seen[SIM_SAW_COUNT];
	uint64_t seen_runs[SIM_SAW_COUNT];
};

const char *sim_sight_name(enum sim_sight sight);
void sim_coverage_add(struct sim_coverage_sum *sum, const struct sim_coverage *coverage);

#endif
