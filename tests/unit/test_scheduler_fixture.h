/*
 * A scheduler's core without a host: a test says what happens and takes what was said. Plans run at
 * once unless held back; every record is kept, so that a test can restart the core by replay; the
 * invariants are checked after every step.
 */
#ifndef GODWIT_TESTS_UNIT_TEST_SCHEDULER_FIXTURE_H
#define GODWIT_TESTS_UNIT_TEST_SCHEDULER_FIXTURE_H

#include "proto/step.h"
#include "scheduler/core/scheduler.h"

#define WORLD_NODES_MAX 2048u
#define WORLD_GIB (1ull << 30)

struct message {
	struct gw_node_id node;
	uint64_t request; /* of a reply; 0: a message to a node */
	uint64_t after_seq;
	uint8_t *bytes;
	size_t size;
};

struct held_plan {
	uint64_t plan;
	void *result;
};

struct world_node {
	struct gw_peer peer;
	char name[24];
	char site[64];
	uint64_t heartbeats;
	struct gw_id boot_id; /* told with its inventory; zero: not told */
	uint64_t term_seen;
	uint64_t sent; /* state bodies of this session */
	uint64_t received;
};

struct world {
	struct gw_scheduler_config config;
	struct gw_node *core;
	struct gw_effects effects;
	struct gw_now now;
	struct message *records; /* the journal */
	uint32_t record_count;
	struct message *messages; /* said and not yet taken */
	uint32_t message_count;
	struct held_plan plans[64];
	uint32_t plan_count;
	bool hold_plans;
	uint32_t revoked_count; /* REVOKE effects */
	uint64_t request;
	struct world_node nodes[WORLD_NODES_MAX];
	uint32_t node_count;
	struct gw_peer user;
	struct gw_arena arena; /* of what was taken, until the world ends */
};

struct world *world_new(uint32_t effects_capacity);
void world_free(struct world *w);
void world_step(struct world *w, struct gw_event *event);
/* Lets time pass, with ticks where the core asks for them. Nobody speaks meanwhile. */
void world_pass(struct world *w, uint64_t duration_us);
/* The same, with a heartbeat of these nodes (bit set) every second. */
void world_live(struct world *w, uint64_t duration_us, uint64_t nodes);
void world_release_plans(struct world *w);
/* The core is freed and a new one made from the journal; START is fed. */
void world_restart(struct world *w);
/* The same, from a snapshot of the core as it is now. */
void world_restart_snapshot(struct world *w);
/* The same, from a snapshot of the first `records` of the journal and the records after it. */
void world_restart_from(struct world *w, uint32_t records);

/* A node of the site, of 4 CPUs, 8 GiB and ports 9000-9009, connected and with nothing running. */
uint32_t world_add(struct world *w, const char *site);
/* The node's certificate only, without a session. */
uint32_t world_know(struct world *w, const char *site);
void world_up(struct world *w, uint32_t node, bool resumed);
void world_down(struct world *w, uint32_t node);
void world_info(struct world *w, uint32_t node, uint32_t cpu_count, uint64_t memory_bytes);
void world_inventory(struct world *w, uint32_t node, Godwit__TaskStatus **list, size_t count);
void world_heartbeat(struct world *w, uint32_t node);
void world_rtt(struct world *w, uint32_t from, uint32_t to, uint32_t rtt_us);
void world_say(struct world *w, uint32_t node, const Godwit__Body *body);
/* What became of an attempt: state, and for EXITED its exit code. */
void world_status(struct world *w, uint32_t node, struct gw_attempt_id attempt,
		  Godwit__AttemptState state, uint32_t exit_code);

/* Oldest message of this kind to the node (or, with a NULL node, any) and forgets it; NULL: none.
 */
const Godwit__Body *world_take(struct world *w, uint32_t node, Godwit__Body__KindCase kind);
void world_forget_messages(struct world *w);
/* Asks as `user` and returns the answer, or NULL if none came yet. */
const Godwit__Body *world_ask(struct world *w, const struct gw_peer *user, Godwit__Body *body);
const Godwit__Body *world_answer(struct world *w, uint64_t request);

/* A spec of `count` tasks of 1 CPU and 1 GiB with one port. */
struct spec {
	Godwit__JobSpec spec;
	Godwit__Resources resources;
	Godwit__ServeModel model;
	Godwit__DisconnectPolicy disconnect;
	char *arguments[2];
};

void spec_init(struct spec *spec, Godwit__JobKind kind, uint32_t count);
/* Submits; the job's id, or fails the test with the refusal. */
struct gw_job_id world_submit(struct world *w, struct spec *spec);
/* Submits; the sentence of refusal, or NULL. */
const char *world_refusal(struct world *w, const Godwit__JobSpec *spec);
/* Takes the next start sent to the node; fails if there is none. */
struct gw_attempt_id world_started(struct world *w, uint32_t node);
/* Which node got a start (its attempt in ret_attempt); UINT32_MAX: none. */
uint32_t world_find_start(struct world *w, struct gw_attempt_id *ret_attempt);
const Godwit__JobInfo *world_job(struct world *w, struct gw_job_id job);

#endif
