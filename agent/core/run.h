/*
 * Attempts on this node: their life cycle as a table, and the bounded set of them. The keeper's
 * word on what happened outranks what was planned here; an end, once told, never becomes a life.
 */
#ifndef GODWIT_AGENT_CORE_RUN_H
#define GODWIT_AGENT_CORE_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "proto/base/buf.h"
#include "proto/base/id.h"
#include "proto/base/table.h"
#include "proto/step.h"

#define GW_RUN_ERROR_BYTES_MAX 255u /* kept of an error text */
#define GW_RUN_NOTES_MAX 8u         /* kept of "not enforced" */

enum gw_run_state {
	GW_RUN_ABSENT,    /* not in the table */
	GW_RUN_STARTING,  /* SPAWN went out, the keeper has not answered */
	GW_RUN_RUNNING,   /* the keeper says so */
	GW_RUN_ENDING,    /* KILL went out */
	GW_RUN_EXITED,    /* ended, with a status */
	GW_RUN_FAILED,    /* could not be started */
	GW_RUN_LOST,      /* its keeper died; nobody knows the status */
	GW_RUN_TOMBSTONE, /* killed before it was ever started: a late START is refused */
	GW_RUN_STATES,
};

enum gw_run_input {
	GW_RUN_START,         /* TaskStart, valid */
	GW_RUN_KILL,          /* TaskKill */
	GW_RUN_SPAWNED,       /* keeper: it runs */
	GW_RUN_NOT_SPAWNED,   /* keeper: it could not be started */
	GW_RUN_KEEPER_EXITED, /* keeper: ended */
	GW_RUN_KEEPER_LOST,   /* keeper: found dead after a restart of the keeper */
	GW_RUN_KEEPER_TOMB,   /* keeper: refused for good, never started */
	GW_RUN_FORGET,        /* TaskForget: the scheduler has the end */
	GW_RUN_LEASE_END,     /* unheard for the length of its lease */
	GW_RUN_INPUTS,
};

/* What a transition asks for; a set. */
#define GW_RUN_DO_SPAWN 1u
#define GW_RUN_DO_KILL 2u
#define GW_RUN_DO_FORGET 4u
#define GW_RUN_DO_STATUS 8u

struct gw_run_transition {
	uint8_t next;    /* enum gw_run_state */
	uint8_t actions; /* GW_RUN_DO_ */
};

struct gw_run_transition gw_run_transition(enum gw_run_state state, enum gw_run_input input);
bool gw_run_alive(enum gw_run_state state); /* starting, running or ending */
bool gw_run_ended(enum gw_run_state state);
const char *gw_run_state_name(enum gw_run_state state);
const char *gw_run_input_name(enum gw_run_input input);
/* The table as Markdown: agent/core/STATES.md. 0; -ENOBUFS; -ENOMEM. */
int gw_run_print_states(struct gw_buf *out);

/*
 * One attempt. Invariants (gw_agent_check): never in state ABSENT while in the table; `due` holds
 * only KILL, FORGET and STATUS and is non-zero exactly while `queued` or, for STATUS alone, while
 * no session is open; FORGET is due only when ended.
 */
struct gw_run {
	struct gw_attempt_id id; /* first: the table's key */
	enum gw_run_state state;
	uint8_t due; /* GW_RUN_DO_, not yet said */
	bool queued;
	bool inventory_due;
	struct gw_run *next_queued;
	uint64_t granted_us; /* mono: the lease counts from here, or from a later renewal */
	uint64_t lease_us;
	uint64_t grace_us;  /* of the KILL due */
	uint64_t spawn_seq; /* its SPAWN waited for this record, and so must what follows it */
	uint32_t pid;
	uint32_t exit_code;
	uint32_t signal;
	bool has_usage;
	bool declined;    /* FAILED, and not by the task's doing */
	bool lease_ended; /* ENDING for that alone */
	Godwit__Usage usage;
	char *error;                   /* NULL: none */
	char *notes[GW_RUN_NOTES_MAX]; /* "memory: why"; [note_count] */
	uint32_t note_count;
};

/* Attempts with something due, in the order in which it fell due. */
struct gw_runs {
	struct gw_table table; /* of struct gw_run */
	struct gw_run *queue_first;
	struct gw_run *queue_last;
	uint32_t alive;
};

void gw_runs_init(struct gw_runs *runs, uint32_t limit, uint64_t hash_key);
void gw_runs_deinit(struct gw_runs *runs);
struct gw_run *gw_runs_find(const struct gw_runs *runs, struct gw_attempt_id id);
/* Another attempt of the same task that forbids starting `id`: alive, or newer. NULL: none. */
const struct gw_run *gw_runs_rival(const struct gw_runs *runs, struct gw_attempt_id id);
/* A new attempt, absent as yet: follow with gw_runs_take. NULL: table full or out of memory. */
struct gw_run *gw_runs_add(struct gw_runs *runs, struct gw_attempt_id id);
/* Applies the input: changes state, notes what is due (but SPAWN, which the caller does at once)
 * and returns the actions. */
uint8_t gw_runs_take(struct gw_runs *runs, struct gw_run *run, enum gw_run_input input);
/* Puts actions on the attempt's list of things to say. */
void gw_runs_due(struct gw_runs *runs, struct gw_run *run, uint8_t actions);
struct gw_run *gw_runs_pop(struct gw_runs *runs); /* takes the first from the queue; NULL: empty */
void gw_runs_remove(struct gw_runs *runs, struct gw_run *run); /* frees it */

/* Texts are cut to GW_RUN_ERROR_BYTES_MAX. 0; -ENOMEM. */
int gw_run_set_error(struct gw_run *run, const char *error);
int gw_run_set_notes(struct gw_run *run, const char *const *notes, size_t count);

/* The status as a message. Everything in it points into `run` and `ret_status`. */
struct gw_run_status {
	Godwit__TaskStatus task;
	Godwit__AttemptRef ref;
};

void gw_run_status(struct gw_run *run, struct gw_run_status *ret_status);

#endif
