/*
 * All attempts that this keeper knows: what runs, what ended and is not forgotten yet, and the
 * fences that keep late commands from starting anything again. The life of one:
 *
 *	STARTING -> RUNNING -> EXITED           (told once all its processes are gone, its output is
 *	         -> FAILED_TO_START              on disk and its record is durable)
 *	STARTING or RUNNING, keeper gone -> LOST (found by the next keeper, processes ended)
 *	STARTING or RUNNING, lease over -> LOST  (ended for that, by its agent or here)
 *	EXITED, FAILED_TO_START, LOST -> forgotten, a fence stays
 *	never seen, killed -> a fence: TOMBSTONE
 *
 * Changes stand in one list, in order; whoever listens remembers how far it came, so a slow
 * listener costs nothing and misses nothing but states that were overtaken.
 */
#ifndef GODWIT_AGENT_KEEPER_ATTEMPTS_H
#define GODWIT_AGENT_KEEPER_ATTEMPTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/types.h>

#include <keeper.pb-c.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/loop.h"
#include "agent/keeper/output.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/store.h"
#include "proto/base/id.h"
#include "proto/base/table.h"

struct gw_server;

#define GW_ATTEMPTS_ERROR_BYTES 256u
#define GW_ATTEMPTS_GRACE_US_DEFAULT 10000000ull

/*
 * Invariants: `pid` names a child that was not waited for while `has_child`; `folder_fd` is open
 * while the attempt is not ended; an ended attempt has no child, no open stream and no timer, and
 * its record is durable.
 */
struct gw_attempt {
	struct gw_attempt_id id; /* first: the key of the table */
	Godwit__AttemptState state;
	TAILQ_ENTRY(gw_attempt) changes;
	uint64_t change; /* number of its last change; 0: not in the list */
	struct gw_attempts *set;

	pid_t pid;
	bool has_child;
	bool in_cgroup;
	bool failed; /* exec did not come to pass; `error` says why */
	bool oom;
	bool lease_ended; /* it was ended for that: LOST, whatever its exit code */
	bool finishing;   /* only the record is missing */
	bool swept;       /* nothing of it runs any more, or it would not end */
	uint64_t start_ticks;
	uint64_t started_us; /* mono */
	int64_t started_wall_us;
	int64_t ended_wall_us;
	uint64_t grace_us;
	uint64_t lease_us;      /* 0: none */
	uint64_t lease_from_us; /* mono */
	uint64_t memory_limit_bytes;
	uint64_t acknowledged_order; /* 0: not acknowledged */
	uint64_t output_bytes_max;
	uint32_t exit_code;
	uint32_t signal;
	Godwit__Usage usage;
	struct gw_id boot_id;
	struct gw_notes not_enforced;
	char *error;

	int folder_fd;
	struct gw_source start_pipe; /* how exec went */
	struct gw_pump_stream streams[2];
	struct gw_output outputs[2];
	struct gw_timer timer; /* KILL after grace; then the sweep for what remains */
	uint64_t sweep_us;     /* pause before the next sweep; 0: not sweeping */
	uint64_t sweep_deadline_us;
};

TAILQ_HEAD(gw_attempt_list, gw_attempt);

struct gw_attempts {
	struct gw_loop *loop;
	struct gw_store store;
	struct gw_cgroup cgroup;
	struct gw_pump pump;
	struct gw_table attempts;
	struct gw_table fences;
	struct gw_attempt_list changes; /* of those not acknowledged; oldest change first */
	uint64_t change_last;
	uint64_t order_last;     /* of acknowledgements and fences */
	uint64_t kept_bytes_max; /* of ended attempts' output, all together */
	uint32_t running_count;  /* not ended */
	bool stopping;           /* starts nothing more; the loop stops when nothing runs */
	struct gw_id boot_id;
	uint32_t fences_written;    /* entries in the store's file */
	struct gw_server *listener; /* told of changes and of new output */
	void (*changed)(struct gw_attempts *set, struct gw_attempt *attempt);
	void (*moved)(struct gw_attempts *set, struct gw_attempt *attempt);
};

struct gw_attempts_options {
	const char *state;
	const char *cgroup_root;
	const char *cgroup_parent; /* group below the root that holds the keeper's; NULL: none */
	enum gw_pump_mode pump_mode;
	uint64_t kept_bytes_max;
};

/*
 * Opens the folder, takes up what an earlier keeper left (ending its processes), and is ready.
 * 0; negative errno with a sentence in ret_error [GW_ATTEMPTS_ERROR_BYTES].
 */
int gw_attempts_init(struct gw_attempts *set, struct gw_loop *loop,
		     const struct gw_attempts_options *options, char *ret_error);
void gw_attempts_deinit(struct gw_attempts *set);

struct gw_attempt *gw_attempts_find(const struct gw_attempts *set, const struct gw_attempt_id *id);
/* Whether a fence keeps this attempt from starting here. */
bool gw_attempts_fenced(const struct gw_attempts *set, const struct gw_attempt_id *id);

/* 0: ret_attempt is the new or the earlier one of this id. -ESTALE: fenced. Others: not started,
 * nothing kept. ret_error [GW_ATTEMPTS_ERROR_BYTES] has a sentence. `spawn` was checked. */
int gw_attempts_spawn(struct gw_attempts *set, const struct gw_attempt_id *id,
		      const Godwit__KeeperSpawn *spawn, struct gw_attempt **ret_attempt,
		      char *ret_error);
/* TERM now, KILL after grace_us (0: KILL now). Not known: fenced from now on. 0; negative errno
 * when the fence could not be made durable. `lease_ended`: nobody ordered it. */
int gw_attempts_kill(struct gw_attempts *set, const struct gw_attempt_id *id, uint64_t grace_us,
		     bool lease_ended);
/* 0; -ENOENT: not known; -EBUSY: not ended; others: of the disk. With `forget` it is gone. */
int gw_attempts_acknowledge(struct gw_attempts *set, const struct gw_attempt_id *id, bool forget);
/* SIGCHLD: waits for all children that ended. */
void gw_attempts_reap(struct gw_attempts *set);
/* TERM to all that runs, with the grace of each; the loop stops once all has ended. */
void gw_attempts_stop(struct gw_attempts *set);

/* --- one attempt (attempt.c) --- */

/* Starts a zeroed attempt with its id and set. 0; negative errno with a sentence, nothing left
 * running. */
int gw_attempt_begin(struct gw_attempt *attempt, const Godwit__KeeperSpawn *spawn, char *ret_error);
/* Its child ended: `status` and `usage` as wait4 gave them. */
void gw_attempt_exited(struct gw_attempt *attempt, int status, const struct rusage *usage);
void gw_attempt_terminate(struct gw_attempt *attempt, uint64_t grace_us);
/* The same, for its lease. */
void gw_attempt_end_lease(struct gw_attempt *attempt, uint64_t grace_us);
/* SIGKILL to all of it; gives the number of processes that were there. */
unsigned gw_attempt_kill_all(const struct gw_attempt *attempt);
/* Closes and frees; the child, if any, is not touched. */
void gw_attempt_free(struct gw_attempt *attempt);
/* A change that the table of states does not have is a broken invariant. */
void gw_attempt_set_state(struct gw_attempt *attempt, Godwit__AttemptState next);
/* Adds a sentence to the attempt's error. */
void gw_attempt_note_error(struct gw_attempt *attempt, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Puts the attempt at the end of the list of changes and tells. */
void gw_attempt_touch(struct gw_attempt *attempt);
/* Takes it out of the list: it was acknowledged, and is told only when asked for. */
void gw_attempt_untouch(struct gw_attempt *attempt);
/* Forgets acknowledged attempts, oldest first, while ended ones keep more output than allowed. */
void gw_attempts_trim(struct gw_attempts *set);
bool gw_attempt_ended(const struct gw_attempt *attempt);
/* Output of stream 1 or 2; the stream's end was written if it is `closed`. */
const struct gw_output *gw_attempt_output(const struct gw_attempt *attempt, uint32_t stream,
					  bool *ret_closed);
/* Reads output also of an ended attempt, whose folder is closed. As gw_output_read. */
ssize_t gw_attempt_read(const struct gw_attempt *attempt, uint32_t stream, uint64_t offset,
			uint8_t *ret_bytes, size_t size, uint64_t *ret_offset);

/* --- as messages (record.c) --- */

/* An attempt's state as a message that points into it. */
struct gw_attempt_status {
	Godwit__KeeperStatus status;
	Godwit__TaskStatus task;
	Godwit__AttemptRef ref;
	Godwit__Usage usage;
};

/* Running attempts with their usage so far when `live` (it reads a few files). */
void gw_attempt_status(const struct gw_attempt *attempt, bool live,
		       struct gw_attempt_status *ret_status);
/* Writes the record durably. 0; negative errno. */
int gw_attempt_write(const struct gw_attempt *attempt);
/* Fills a zeroed attempt with its id, set and folder from its record. 0; -ENOENT: there is none;
 * -EPROTO: it is damaged; others: of the disk. */
int gw_attempt_load(struct gw_attempt *attempt);

#endif
