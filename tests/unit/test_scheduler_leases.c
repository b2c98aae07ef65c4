/* Transcripts of silence: unknown, lost, leases, returns, inventories, restarts of either side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "scheduler/core/check.h"
#include "tests/unit/test_scheduler_fixture.h"

#define STARTING GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING
#define RUNNING GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING
#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define LOST GODWIT__ATTEMPT_STATE__ATTEMPT_LOST
#define TASK GODWIT__JOB_KIND__JOB_TASK
#define SERVE GODWIT__JOB_KIND__JOB_SERVE
#define LEASE_US (60 * GW_US_PER_S)
/* The lease, what two clocks may drift apart, and the fixed second. */
#define GIVE_UP_US (LEASE_US + LEASE_US / 1000 + GW_US_PER_S)

static const char *node_state(struct world *w, uint32_t node)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SitesRequest request = GODWIT__SITES_REQUEST__INIT;
	const Godwit__Body *answer;

	body.kind_case = GODWIT__BODY__KIND_SITES_REQUEST;
	body.sites_request = &request;
	answer = world_ask(w, &w->user, &body);
	assert_int_equal(answer->kind_case, GODWIT__BODY__KIND_SITES_REPLY);
	assert_true(node < answer->sites_reply->n_nodes);
	return answer->sites_reply->nodes[node]->state;
}

/* A job of one task with a lease of a minute, running on node 0. */
static struct gw_attempt_id run_one(struct world *w, uint64_t replaced_after_us,
				    struct gw_job_id *ret_job)
{
	struct spec spec;
	struct gw_attempt_id attempt;

	spec_init(&spec, TASK, 1);
	spec.spec.lease_us = LEASE_US;
	spec.disconnect.lost_after_us = replaced_after_us;
	if (replaced_after_us > 0)
		spec.disconnect.replace = GODWIT__REPLACE__REPLACE_AT_ONCE;
	*ret_job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	return attempt;
}

static void inventory_of(struct world *w, uint32_t node, struct gw_attempt_id attempt,
			 Godwit__AttemptState state, uint32_t exit_code)
{
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	Godwit__TaskStatus *list[] = {&status};
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	status.attempt = &ref;
	status.state = state;
	status.exit_code = exit_code;
	world_inventory(w, node, list, 1);
}

static void silence_makes_unknown_then_lost(void **state)
{
	struct world *w = world_new(64);

	(void)state;
	(void)world_add(w, "east");
	assert_string_equal(node_state(w, 0), "up");
	world_pass(w, w->config.unknown_after_us - 1);
	assert_string_equal(node_state(w, 0), "up");
	world_pass(w, 1);
	assert_string_equal(node_state(w, 0), "unknown");
	world_pass(w, w->config.lost_after_us - w->config.unknown_after_us);
	assert_string_equal(node_state(w, 0), "lost");
	world_heartbeat(w, 0);
	assert_string_equal(node_state(w, 0), "up");
	world_down(w, 0);
	assert_string_equal(node_state(w, 0), "unknown");
	world_up(w, 0, true);
	assert_string_equal(node_state(w, 0), "joining");
	world_inventory(w, 0, NULL, 0);
	assert_string_equal(node_state(w, 0), "up");
	world_free(w);
}

/* Heartbeats come, but what the node says it sent on the state channel does not. */
static void a_stalled_state_channel_is_not_health(void **state)
{
	struct world *w = world_new(64);

	(void)state;
	(void)world_add(w, "east");
	w->nodes[0].sent++; /* said, and never arrived */
	world_live(w, w->config.stall_after_us - 2 * GW_US_PER_S, 1);
	assert_string_equal(node_state(w, 0), "up");
	world_live(w, 3 * GW_US_PER_S, 1);
	assert_string_equal(node_state(w, 0), "unknown");
	w->nodes[0].sent--; /* it arrives */
	world_live(w, 2 * GW_US_PER_S, 1);
	assert_string_equal(node_state(w, 0), "up");
	w->nodes[0].received--; /* the other way */
	world_live(w, w->config.stall_after_us + GW_US_PER_S, 1);
	assert_string_equal(node_state(w, 0), "unknown");
	world_free(w);
}

static void heartbeats_renew_the_lease(void **state)
{
	struct world *w = world_new(64);
	const Godwit__Body *body;

	(void)state;
	(void)world_add(w, "east");
	world_heartbeat(w, 0);
	body = world_take(w, 0, GODWIT__BODY__KIND_HEARTBEAT_REPLY);
	assert_non_null(body);
	assert_int_equal(body->heartbeat_reply->number, w->nodes[0].heartbeats);
	assert_int_equal(body->heartbeat_reply->sent_mono_us, 5000 + w->nodes[0].heartbeats);
	assert_int_equal(body->heartbeat_reply->lease_us, w->config.lease_us_max);
	assert_int_equal(body->heartbeat_reply->state_received, w->nodes[0].sent);
	world_free(w);
}

/* A start names the heartbeat that its lease counts from; before one it would bind nobody. */
static void nothing_starts_before_a_heartbeat(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	const Godwit__Body *start;

	(void)state;
	(void)world_add(w, "east");
	world_down(w, 0);
	world_up(w, 0, true);
	world_inventory(w, 0, NULL, 0); /* resumed: the old session's heartbeat still counts */
	assert_string_equal(node_state(w, 0), "up");
	world_down(w, 0);
	{
		struct gw_event event = {.kind = GW_EVENT_PEER_UP,
					 .peer_up = {&w->nodes[0].peer, false}};

		w->nodes[0].sent = 0;
		w->nodes[0].received = 0;
		world_step(w, &event);
	}
	world_inventory(w, 0, NULL, 0);
	spec_init(&spec, TASK, 1);
	(void)world_submit(w, &spec);
	assert_string_equal(node_state(w, 0), "joining");
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_heartbeat(w, 0);
	start = world_take(w, 0, GODWIT__BODY__KIND_TASK_START);
	assert_non_null(start);
	assert_int_equal(start->task_start->lease_from_us, 5000 + w->nodes[0].heartbeats);
	world_free(w);
}

static void nothing_is_replaced_before_its_lease_ends(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id first;
	struct gw_attempt_id second;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	first = run_one(w, 0, &job);
	world_live(w, 600 * GW_US_PER_S, 3); /* heard: it may run for ever */
	world_live(w, GIVE_UP_US - GW_US_PER_S, 2);
	assert_string_equal(node_state(w, 0), "unknown");
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_TASK_START));
	world_live(w, 2 * GW_US_PER_S, 2);
	second = world_started(w, 1);
	assert_int_equal(second.attempt, first.attempt + 1);
	assert_string_equal(node_state(w, 0), "lost");
	world_free(w);
}

/* Inventories are numbered by node: that a task was in the second one of the node that it left says
 * nothing of the second one of the node that it went to. */
static void a_lost_start_is_missed_by_the_next_inventory(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	world_down(w, 0);
	world_up(w, 0, false);
	world_inventory(w, 0, NULL, 0); /* its second */
	world_forget_messages(w);
	(void)run_one(w, 0, &job);
	(void)world_add(w, "west");
	world_live(w, GIVE_UP_US + GW_US_PER_S, 2);
	assert_int_equal(world_started(w, 1).attempt, 2); /* and lost on its way */
	world_down(w, 1);
	world_up(w, 1, false);
	world_info(w, 1, 4, 8 * WORLD_GIB);
	world_inventory(w, 1, NULL, 0); /* its second */
	world_heartbeat(w, 1);
	assert_int_equal(world_started(w, 1).attempt, 3);
	world_free(w);
}

static void a_job_may_allow_a_double(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	(void)run_one(w, 20 * GW_US_PER_S, &job);
	world_live(w, 19 * GW_US_PER_S, 2);
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_TASK_START));
	world_live(w, 2 * GW_US_PER_S, 2);
	assert_int_equal(world_started(w, 1).attempt, 2);
	world_free(w);
}

/* A lost_after without a word on doubles only waits longer than the lease, never less. */
static void only_consent_replaces_within_the_lease(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	spec_init(&spec, TASK, 1);
	spec.spec.lease_us = LEASE_US;
	spec.disconnect.lost_after_us = LEASE_US; /* less than the lease with its drift */
	(void)world_submit(w, &spec);
	world_status(w, 0, world_started(w, 0), RUNNING, 0);
	world_down(w, 0);
	world_live(w, GIVE_UP_US - GW_US_PER_S, 2);
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_TASK_START));
	world_live(w, 2 * GW_US_PER_S, 2);
	assert_int_equal(world_started(w, 1).attempt, 2);
	world_free(w);
}

/* The old attempt comes back while its replacement is on its way: it is ended only when that runs.
 */
static void work_is_kept_until_its_replacement_runs(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id first;
	struct gw_attempt_id second;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	first = run_one(w, 20 * GW_US_PER_S, &job);
	world_down(w, 0);
	world_live(w, 25 * GW_US_PER_S, 2);
	second = world_started(w, 1);
	world_up(w, 0, false);
	inventory_of(w, 0, first, RUNNING, 0);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_status(w, 1, second, RUNNING, 0);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_status(w, 0, first, EXITED, 143);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_FORGET));
	world_status(w, 1, second, EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	world_free(w);
}

/* Nothing took its place yet: the attempt found alive goes on, and nothing runs twice. */
static void a_lost_attempt_is_taken_back(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id first;

	(void)state;
	(void)world_add(w, "east");
	first = run_one(w, 0, &job);
	world_down(w, 0);
	world_pass(w, GIVE_UP_US + GW_US_PER_S);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "waiting");
	world_up(w, 0, false);
	inventory_of(w, 0, first, RUNNING, 0);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	assert_int_equal(world_job(w, job)->tasks[0]->attempt, 1);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_status(w, 0, first, EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	world_restart(w); /* and the records say the same */
	world_free(w);
}

/* It ended in silence, after it was given up and before anything took its place. */
static void a_late_end_counts(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id first;

	(void)state;
	(void)world_add(w, "east");
	first = run_one(w, 0, &job);
	world_down(w, 0);
	world_pass(w, GIVE_UP_US + GW_US_PER_S);
	world_up(w, 0, false);
	inventory_of(w, 0, first, EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_FORGET));
	world_restart(w);
	world_free(w);
}

static void a_link_lost_for_half_a_minute(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id first;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	first = run_one(w, 0, &job);
	world_down(w, 0);
	world_live(w, 30 * GW_US_PER_S, 2);
	assert_string_equal(node_state(w, 0), "unknown");
	assert_non_null(strstr(world_job(w, job)->tasks[0]->error, "until its lease ends"));
	world_up(w, 0, true);
	inventory_of(w, 0, first, RUNNING, 0);
	assert_string_equal(node_state(w, 0), "up");
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	assert_int_equal(world_job(w, job)->tasks[0]->attempt, 1);
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_TASK_START));
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_free(w);
}

/* What an inventory says, by state, and what follows. */
static void inventories_reconcile(void **state)
{
	static const struct {
		Godwit__AttemptState told; /* UNKNOWN: not in it at all */
		uint32_t exit_code;
		const char *task;
		bool started_again;
	} rows[] = {
		{GODWIT__ATTEMPT_STATE__ATTEMPT_UNKNOWN, 0, "placed", true},
		{STARTING, 0, "running", false},
		{RUNNING, 0, "running", false},
		{EXITED, 0, "succeeded", false},
		{EXITED, 1, "failed", false},
		{LOST, 0, "placed", true},
	};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct world *w = world_new(64);
		struct gw_job_id job;
		struct gw_attempt_id first;

		(void)world_add(w, "east");
		first = run_one(w, 0, &job);
		world_up(w, 0, false); /* a new process of the agent, without a word before */
		assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_INVENTORY_REQUEST));
		world_info(w, 0, 4, 8 * WORLD_GIB);
		if (rows[i].told == GODWIT__ATTEMPT_STATE__ATTEMPT_UNKNOWN)
			world_inventory(w, 0, NULL, 0);
		else
			inventory_of(w, 0, first, rows[i].told, rows[i].exit_code);
		assert_string_equal(world_job(w, job)->tasks[0]->state, rows[i].task);
		if (rows[i].started_again)
			assert_int_equal(world_started(w, 0).attempt, 2);
		assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
		world_free(w);
	}
}

static void an_unknown_attempt_is_ended(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id ghost = {
		.job.id = gw_id_make(7, 0, 99), .task_index = 3, .attempt = 1};
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	world_up(w, 0, false);
	inventory_of(w, 0, ghost, RUNNING, 0);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	/* Until it has ended its resources are not known to be free. */
	spec_init(&spec, TASK, 1);
	(void)world_submit(w, &spec);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_status(w, 0, ghost, EXITED, 143);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_FORGET));
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_free(w);
}

/* Parts come in order; commands wait for the last. */
static void a_long_inventory_comes_in_parts(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Inventory inventory = GODWIT__INVENTORY__INIT;
	struct gw_job_id job;
	struct gw_attempt_id first;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	first = run_one(w, 0, &job);
	world_up(w, 0, false);
	spec_init(&spec, TASK, 1);
	(void)world_submit(w, &spec);
	body.kind_case = GODWIT__BODY__KIND_INVENTORY;
	body.inventory = &inventory;
	inventory.part = 1; /* not asked for in this order */
	inventory.last = true;
	world_say(w, 0, &body);
	assert_string_equal(node_state(w, 0), "joining");
	inventory.part = 0;
	inventory.last = false;
	world_say(w, 0, &body);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	{
		Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
		Godwit__TaskStatus *list[] = {&status};
		Godwit__AttemptRef ref;

		gw_wire_attempt(&first, &ref);
		status.attempt = &ref;
		status.state = RUNNING;
		inventory.n_attempts = 1;
		inventory.attempts = list;
		inventory.part = 1;
		inventory.last = true;
		world_say(w, 0, &body);
	}
	assert_string_equal(node_state(w, 0), "up");
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_free(w);
}

/* A kill that could not be sent is sent when the node is back. */
static void a_kill_waits_for_the_node(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__CancelRequest request = GODWIT__CANCEL_REQUEST__INIT;
	struct gw_job_id job;
	struct gw_attempt_id first;

	(void)state;
	(void)world_add(w, "east");
	first = run_one(w, 0, &job);
	world_down(w, 0);
	request.job = gw_wire_id(&job.id);
	body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	body.cancel_request = &request;
	(void)world_ask(w, &w->user, &body);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	assert_string_equal(world_job(w, job)->state, "ending");
	world_up(w, 0, false);
	inventory_of(w, 0, first, RUNNING, 0);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_status(w, 0, first, EXITED, 143);
	assert_string_equal(world_job(w, job)->state, "cancelled");
	world_free(w);
}

/* A start that never left is no reason to wait for a lease. */
static void an_unsent_start_is_given_up_at_once(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	w->hold_plans = true;
	spec_init(&spec, TASK, 8);
	job = world_submit(w, &spec);
	world_down(w, 1);
	world_release_plans(w); /* says that four go to node 1: no longer true */
	world_release_plans(w);
	assert_int_equal(world_job(w, job)->running, 4);
	assert_int_equal(world_job(w, job)->waiting, 4);
	world_free(w);
}

/* A restarted scheduler gives nobody up before the longest lease that it may have granted. */
static void a_restart_gives_everybody_a_lease(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id first;

	(void)state;
	(void)world_add(w, "east");
	first = run_one(w, 0, &job);
	world_live(w, 300 * GW_US_PER_S, 1);
	world_restart(w);
	assert_string_equal(node_state(w, 0), "unknown");
	world_pass(w, GIVE_UP_US - GW_US_PER_S);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	world_up(w, 0, false);
	inventory_of(w, 0, first, RUNNING, 0);
	world_live(w, 300 * GW_US_PER_S, 1);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	world_restart(w);
	world_pass(w, GIVE_UP_US + GW_US_PER_S);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "waiting");
	world_free(w);
}

/* The scheduler dies between the record of a placement and its start. */
static void a_start_lost_with_the_scheduler_is_made_up(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	job = world_submit(w, &spec);
	world_restart(w); /* forgets the start */
	assert_string_equal(world_job(w, job)->tasks[0]->state, "placed");
	world_up(w, 0, false);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	world_inventory(w, 0, NULL, 0);
	assert_int_equal(world_started(w, 0).attempt, 2);
	world_free(w);
}

/* The node of one stage is gone for good: the gang starts again elsewhere, after the lease. */
static void a_gang_survives_a_node(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id gang;
	struct gw_attempt_id attempts[4];
	uint32_t nodes[4];

	(void)state;
	for (uint32_t i = 0; i < 3; i++)
		(void)world_add(w, "east");
	spec_init(&spec, SERVE, 2);
	spec.spec.spread = GODWIT__SPREAD__SPREAD_NODE;
	spec.spec.lease_us = LEASE_US;
	gang = world_submit(w, &spec);
	for (uint32_t i = 0; i < 2; i++) {
		nodes[i] = world_find_start(w, &attempts[i]);
		assert_true(nodes[i] != UINT32_MAX);
		world_status(w, nodes[i], attempts[i], RUNNING, 0);
	}
	world_live(w, GIVE_UP_US - GW_US_PER_S, 7ull & ~(1ull << nodes[0]));
	assert_null(world_take(w, nodes[1], GODWIT__BODY__KIND_TASK_KILL));
	world_live(w, 2 * GW_US_PER_S, 7ull & ~(1ull << nodes[0]));
	assert_non_null(world_take(w, nodes[1], GODWIT__BODY__KIND_TASK_KILL));
	assert_int_equal(world_find_start(w, &attempts[2]), UINT32_MAX);
	world_status(w, nodes[1], attempts[1], EXITED, 143);
	for (uint32_t i = 2; i < 4; i++) {
		nodes[i] = world_find_start(w, &attempts[i]);
		assert_true(nodes[i] != UINT32_MAX && nodes[i] != nodes[0]);
		assert_int_equal(attempts[i].attempt, 2);
	}
	assert_int_equal(world_job(w, gang)->running, 2);
	world_free(w);
}

static void draining_takes_nothing_new(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;
	struct gw_job_id job;
	struct gw_attempt_id first;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	first = run_one(w, 0, &job);
	info.cpu_count = 4;
	info.memory_bytes = 8 * WORLD_GIB;
	info.port_first = 9000;
	info.port_count = 10;
	info.draining = true;
	body.kind_case = GODWIT__BODY__KIND_NODE_INFO;
	body.node_info = &info;
	world_say(w, 0, &body);
	assert_string_equal(node_state(w, 0), "draining");
	spec_init(&spec, TASK, 1);
	(void)world_submit(w, &spec);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_status(w, 0, first, EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	info.draining = false;
	world_say(w, 0, &body);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(silence_makes_unknown_then_lost),
		cmocka_unit_test(a_stalled_state_channel_is_not_health),
		cmocka_unit_test(heartbeats_renew_the_lease),
		cmocka_unit_test(nothing_starts_before_a_heartbeat),
		cmocka_unit_test(nothing_is_replaced_before_its_lease_ends),
		cmocka_unit_test(a_job_may_allow_a_double),
		cmocka_unit_test(a_lost_start_is_missed_by_the_next_inventory),
		cmocka_unit_test(only_consent_replaces_within_the_lease),
		cmocka_unit_test(work_is_kept_until_its_replacement_runs),
		cmocka_unit_test(a_lost_attempt_is_taken_back),
		cmocka_unit_test(a_late_end_counts),
		cmocka_unit_test(a_link_lost_for_half_a_minute),
		cmocka_unit_test(inventories_reconcile),
		cmocka_unit_test(an_unknown_attempt_is_ended),
		cmocka_unit_test(a_long_inventory_comes_in_parts),
		cmocka_unit_test(a_kill_waits_for_the_node),
		cmocka_unit_test(an_unsent_start_is_given_up_at_once),
		cmocka_unit_test(a_restart_gives_everybody_a_lease),
		cmocka_unit_test(a_start_lost_with_the_scheduler_is_made_up),
		cmocka_unit_test(a_gang_survives_a_node),
		cmocka_unit_test(draining_takes_nothing_new),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
