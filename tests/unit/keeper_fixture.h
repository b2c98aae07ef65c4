/* A real keeper in a folder of its own, a client on it, and waiting with deadlines. */
#ifndef GODWIT_TESTS_KEEPER_FIXTURE_H
#define GODWIT_TESTS_KEEPER_FIXTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/client.h"

#define FIXTURE_MS 20000 /* for anything that must come; a machine under load is slow */

struct fixture {
	char folder[64];
	char state[160];
	char socket[108];
	const char *extra[4]; /* more options of the keeper */
	pid_t keeper;
	struct gw_keeper_client *client;
	uint64_t request;
	/* Copies of the last event's parts, which live only until the next call. */
	struct gw_attempt_id attempt;
	uint32_t state_seen; /* Godwit__AttemptState */
	uint32_t pid;
	uint32_t exit_code;
	uint32_t signal;
	uint64_t cpu_us;
	uint64_t memory_peak_bytes;
	uint64_t output_bytes;
	uint64_t wall_us;
	uint64_t answered;
	bool oom;
	char error[512];
	char not_enforced[512]; /* sentences, one a line */
	/* Of OUTPUT. */
	uint8_t bytes[65536];
	size_t size;
	uint64_t offset;
	uint64_t next_offset;
	uint64_t first_kept_offset;
	uint64_t end_offset;
	bool end;
};

/* cmocka setup and teardown; the teardown ends the keeper and removes the folder. */
int fixture_setup(void **state);
int fixture_teardown(void **state);

void fixture_start(struct fixture *f);   /* starts a keeper; waits until it listens; connects */
void fixture_kill9(struct fixture *f);   /* ends it the hard way */
void fixture_reap(struct fixture *f);    /* waits until it is gone */
void fixture_connect(struct fixture *f); /* (again) and until LISTED */

struct gw_attempt_id fixture_id(uint64_t number);
/* Waits for this kind of event (any attempt), keeping the last event's parts. Fails the test at
 * the deadline or when the connection is lost. */
void fixture_wait(struct fixture *f, enum gw_keeper_event_kind kind);
/* The next event that is not an unasked one of another attempt. */
void fixture_wait_for(struct fixture *f, enum gw_keeper_event_kind kind, struct gw_attempt_id id);

/* Spawns sh -c SCRIPT with these resources (NULL: none) and waits until it runs. */
void fixture_spawn(struct fixture *f, struct gw_attempt_id id, const char *script,
		   Godwit__Resources *resources);
/* The same, without waiting; `edit` may change the message first. */
void fixture_send_spawn(struct fixture *f, struct gw_attempt_id id, const char *script,
			void (*edit)(Godwit__KeeperSpawn *spawn));
/* Reads all output of a stream of an ended or running attempt from `offset`, up to `size - 1`
 * bytes, until its end; NUL-terminated. */
size_t fixture_output(struct fixture *f, struct gw_attempt_id id, uint32_t stream, uint64_t offset,
		      char *ret_text, size_t size);
/* One read, into the fixture. */
void fixture_read(struct fixture *f, struct gw_attempt_id id, uint32_t stream, uint64_t offset,
		  uint32_t wait_us);

bool fixture_until(bool (*condition)(void *data), void *data); /* polls; false at the deadline */
bool fixture_gone(pid_t pid);                                  /* no process, or a zombie */
bool fixture_wait_gone(pid_t pid);

#endif
