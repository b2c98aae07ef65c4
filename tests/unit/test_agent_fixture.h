/* An agent core in virtual time: feeds it events, writes what it wants done as lines of text. */
#ifndef GODWIT_TESTS_UNIT_TEST_AGENT_FIXTURE_H
#define GODWIT_TESTS_UNIT_TEST_AGENT_FIXTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/core/agent.h"
#include "proto/base/buf.h"
#include "proto/step.h"

#define FIXTURE_RECORDS_MAX 65536u
#define FIXTURE_HELD_MAX 4096u

/* An effect that waits for its record. */
struct fixture_held {
	struct gw_effect effect;
	uint64_t term; /* that the agent knew when it said so */
	uint8_t *bytes;
};

struct fixture {
	struct gw_agent_config config;
	struct gw_node *node;
	struct gw_effects effects;
	struct gw_now now;
	struct gw_peer scheduler;
	uint64_t term;
	struct gw_buf lines; /* since the last expect */
	bool slow;           /* records last by fixture_durable only; else at once */
	struct gw_buf journal;
	size_t ends[FIXTURE_RECORDS_MAX]; /* [record_count] of the records in journal */
	uint32_t record_count;
	uint64_t durable_seq;
	struct fixture_held held[FIXTURE_HELD_MAX];
	uint32_t held_count;
	uint64_t told_term; /* highest of what was carried out */
	struct gw_arena arena;
	/* Called for each effect before it is written down; may be NULL. */
	void (*see)(void *context, const struct gw_effect *effect, const Godwit__Body *body);
	void *context;
};

/* The effects list has room for `capacity` effects: small ones make CONTINUE necessary. */
void fixture_init(struct fixture *fixture, uint32_t capacity);
void fixture_deinit(struct fixture *fixture);
/* A new agent over what lasts of the old one's journal, as after kill -9. */
void fixture_restart(struct fixture *fixture);
/* All records last now: what waited for them is carried out, and the core is told. */
void fixture_durable(struct fixture *fixture);
/* Steps, and continues until nothing more is due; checks the invariants after each step. */
void fixture_step(struct fixture *fixture, struct gw_event event);
/* What was said since the last call is exactly this. */
void fixture_expect_at(struct fixture *fixture, const char *lines, const char *file, int line);
#define fixture_expect(fixture, lines) fixture_expect_at(fixture, lines, __FILE__, __LINE__)

/* Events. Time passes only by fixture_pass, which ticks whenever the core wants to wake. */
void fixture_begin(struct fixture *fixture); /* START */
void fixture_pass(struct fixture *fixture, uint64_t us);
void fixture_up(struct fixture *fixture, bool resumed);
void fixture_down(struct fixture *fixture);
void fixture_message(struct fixture *fixture, const Godwit__Body *body);
void fixture_reply(struct fixture *fixture, uint64_t number, uint64_t lease_us);
void fixture_start(struct fixture *fixture, struct gw_attempt_id attempt, uint64_t lease_us);
void fixture_kill(struct fixture *fixture, struct gw_attempt_id attempt);
void fixture_forget(struct fixture *fixture, struct gw_attempt_id attempt);
void fixture_ask_inventory(struct fixture *fixture);
void fixture_spawned(struct fixture *fixture, struct gw_attempt_id attempt, const char *error);
/* The keeper, or the agent's shell, does not start it, and not by the task's doing. */
void fixture_declined(struct fixture *fixture, struct gw_attempt_id attempt, const char *error);
void fixture_exited(struct fixture *fixture, struct gw_attempt_id attempt,
		    Godwit__AttemptState state, uint32_t exit_code);

/* Attempt `attempt` of task 0 of job `job`. */
struct gw_attempt_id fixture_attempt(uint64_t job, uint32_t attempt);

#endif
