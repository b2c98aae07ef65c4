/*
 * The agent's side of the keeper's socket. Non-blocking: put gw_keeper_client_fd() into the
 * reactor for reading, and for writing while gw_keeper_client_wants_write(); call
 * gw_keeper_client_next() until it gives GW_KEEPER_NONE whenever the descriptor is ready.
 *
 *	start:	gw_keeper_start (starter.h: a keeper runs, the same one as before if it lives),
 *		gw_keeper_client_new, gw_keeper_client_connect
 *	run:	HELLO, then SPAWNED or EXITED for each attempt that the keeper holds, LISTED; then
 *		SPAWNED and EXITED as things happen, and an answer to every request
 *	stop:	gw_keeper_client_free; tasks and keeper live on. After GW_KEEPER_CLOSED connect
 *		again: what happened in between is told, nothing is told twice as new work.
 *
 * An EXITED is said again at every connect until acknowledged or forgotten.
 */
#ifndef GODWIT_AGENT_KEEPER_CLIENT_H
#define GODWIT_AGENT_KEEPER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <keeper.pb-c.h>

#include "proto/base/id.h"

struct gw_keeper_client;

/* Whether somebody listens there. */
bool gw_keeper_answers(const char *socket);

/* NULL: out of memory. */
struct gw_keeper_client *gw_keeper_client_new(void);
struct gw_keeper_client *gw_keeper_client_free(struct gw_keeper_client *client); /* gives NULL */

/* Connects (again) and queues the hello. 0; negative errno: nobody listens there. */
int gw_keeper_client_connect(struct gw_keeper_client *client, const char *socket);
int gw_keeper_client_fd(const struct gw_keeper_client *client); /* -1: not connected */
bool gw_keeper_client_wants_write(const struct gw_keeper_client *client);

/*
 * Requests. `request` is the caller's handle, echoed in the answering event (0 is kept for what is
 * said unasked). 0; -ENOTCONN; -EMSGSIZE: larger than a datagram may be; -ENOBUFS: more than 4 MiB
 * wait for the keeper.
 */
int gw_keeper_spawn(struct gw_keeper_client *client, uint64_t request,
		    const Godwit__KeeperSpawn *spawn);
/* The same, from the encoded TaskStart that a SPAWN effect carries. Also -EPROTO: not a TaskStart,
 * or one with resource limits that are none. */
int gw_keeper_spawn_bytes(struct gw_keeper_client *client, uint64_t request, const uint8_t *bytes,
			  size_t size);
int gw_keeper_kill(struct gw_keeper_client *client, uint64_t request,
		   const struct gw_attempt_id *attempt, uint64_t grace_us, bool lease_ended);
/* Of stream 1 (stdout) or 2 (stderr); held back up to wait_us while there is nothing to tell. */
int gw_keeper_read(struct gw_keeper_client *client, uint64_t request,
		   const struct gw_attempt_id *attempt, uint32_t stream, uint64_t offset,
		   uint32_t bytes_max, uint32_t wait_us);
/* The exit is noted durably here. With `forget` (the FORGET effect) everything of it goes. */
int gw_keeper_acknowledge(struct gw_keeper_client *client, uint64_t request,
			  const struct gw_attempt_id *attempt, bool forget);
/* Asks for the state of all attempts that were not acknowledged, running ones with their usage so
 * far: telemetry. Answered by an event each, then LISTED, all with `request`; changes meanwhile are
 * told unasked beside it. */
int gw_keeper_list(struct gw_keeper_client *client, uint64_t request);

/* Says from when leases count (CLOCK_BOOTTIME; 0: nothing was renewed yet). The keeper ends what
 * outlives its lease. */
int gw_keeper_renew(struct gw_keeper_client *client, uint64_t request, uint64_t renewed_us);

enum gw_keeper_event_kind {
	GW_KEEPER_NONE,    /* nothing more now */
	GW_KEEPER_NOTED,   /* an attempt is just being started, said in a list or in answer to a
			      spawn or kill: SPAWNED follows, unasked */
	GW_KEEPER_HELLO,   /* the keeper speaks our protocol */
	GW_KEEPER_SPAWNED, /* an attempt runs, or could not be started (then `error`) */
	GW_KEEPER_EXITED,  /* ended, lost, or a tombstone: see status->task->state */
	GW_KEEPER_OUTPUT,  /* answer to a read */
	GW_KEEPER_LISTED,  /* all attempts were told; also the answer to a forget or renew */
	GW_KEEPER_REFUSED, /* answer to a request that cannot be: `error` */
	GW_KEEPER_CLOSED,  /* the keeper is gone or talks nonsense: `error`; connect again */
};

/* Pointers are valid until the next call on this client. */
struct gw_keeper_event {
	enum gw_keeper_event_kind kind;
	uint64_t request;                   /* the request answered, or 0 */
	struct gw_attempt_id attempt;       /* SPAWNED, EXITED, OUTPUT */
	const Godwit__KeeperStatus *status; /* SPAWNED, EXITED; its task is never NULL */
	const Godwit__KeeperOutput *output; /* OUTPUT; its log is never NULL */
	const Godwit__KeeperHello *hello;   /* HELLO */
	const char *error;                  /* a sentence, or NULL */
};

/* Sends what waits, then gives the next event; ret_event->kind is GW_KEEPER_NONE when there is
 * none. */
void gw_keeper_client_next(struct gw_keeper_client *client, struct gw_keeper_event *ret_event);

#endif
