/*
 * Transcripts of a job's disconnect policy: what becomes of an attempt whose node is cut off, what
 * its return means beside a replacement, and what a node's return tells of its host and of records
 * that were lost.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/limits.h"
#include "proto/base/refusal.h"
#include "scheduler/core/check.h"
#include "tests/unit/test_scheduler_fixture.h"

#define RUNNING GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING
#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define LOST GODWIT__ATTEMPT_STATE__ATTEMPT_LOST
#define TASK GODWIT__JOB_KIND__JOB_TASK
#define NEVER GODWIT__REPLACE__REPLACE_NEVER
#define AT_ONCE GODWIT__REPLACE__REPLACE_AT_ONCE
#define ORIGINAL GODWIT__RECONCILE__RECONCILE_KEEP_ORIGINAL
#define LONGEST GODWIT__RECONCILE__RECONCILE_KEEP_LONGEST
#define LEASE_US (60 * GW_US_PER_S)
#define LOST_AFTER_US (20 * GW_US_PER_S)

static struct gw_job_id submit(struct world *w, Godwit__Replace replace,
			       Godwit__Reconcile reconcile)
{
	struct spec spec;

	spec_init(&spec, TASK, 1);
	spec.spec.lease_us = LEASE_US;
	spec.spec.attempts_max = 2;
	spec.disconnect.lost_after_us = LOST_AFTER_US;
	spec.disconnect.replace = replace;
	spec.disconnect.reconcile = reconcile;
	return world_submit(w, &spec);
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

static bool killed(struct world *w, uint32_t node, struct gw_attempt_id attempt)
{
	const Godwit__Body *body = world_take(w, node, GODWIT__BODY__KIND_TASK_KILL);
	struct gw_attempt_id id;

	return body && gw_wire_read_attempt(body->task_kill->attempt, &id) &&
	       gw_attempt_id_equal(id, attempt);
}

static const Godwit__TaskInfo *task_of(struct world *w, struct gw_job_id job)
{
	return world_job(w, job)->tasks[0];
}

static const Godwit__SitesReply *ask_sites(struct world *w)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SitesRequest request = GODWIT__SITES_REQUEST__INIT;
	const Godwit__Body *answer;

	body.kind_case = GODWIT__BODY__KIND_SITES_REQUEST;
	body.sites_request = &request;
	answer = world_ask(w, &w->user, &body);
	assert_non_null(answer);
	return answer->sites_reply;
}

static const char *explanation(struct world *w, struct gw_job_id job)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__ExplainRequest request = GODWIT__EXPLAIN_REQUEST__INIT;
	const Godwit__Body *answer;

	request.job = gw_wire_id(&job.id);
	body.kind_case = GODWIT__BODY__KIND_EXPLAIN_REQUEST;
	body.explain_request = &request;
	answer = world_ask(w, &w->user, &body);
	assert_non_null(answer);
	return answer->explain_reply->text;
}

/* A task whose first attempt is cut off on node 0 and replaced on node 1, in the state given. */
struct doubled {
	struct world *w;
	struct gw_job_id job;
	struct gw_attempt_id first;
	struct gw_attempt_id second;
};

static void doubled_begin(struct doubled *d, Godwit__Reconcile reconcile, bool first_runs,
			  bool second_runs)
{
	struct world *w = world_new(64);

	d->w = w;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	d->job = submit(w, AT_ONCE, reconcile);
	d->first = world_started(w, 0);
	if (first_runs)
		world_status(w, 0, d->first, RUNNING, 0);
	world_down(w, 0);
	world_live(w, LOST_AFTER_US + GW_US_PER_S, 2);
	d->second = world_started(w, 1);
	assert_int_equal(d->second.attempt, 2);
	if (second_runs)
		world_status(w, 1, d->second, RUNNING, 0);
	world_forget_messages(w);
}

static void never_waits_for_its_node(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id attempt;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	job = submit(w, NEVER, GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	world_down(w, 0);
	world_live(w, 30 * GW_US_PER_S, 2);
	assert_string_equal(task_of(w, job)->state, "running"); /* its lease has not ended */
	world_live(w, 10 * LEASE_US, 2);
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_TASK_START));
	assert_string_equal(task_of(w, job)->state, "unknown");
	assert_non_null(strstr(task_of(w, job)->error, "the job waits for it to come back"));
	assert_non_null(strstr(explanation(w, job),
			       "1 of its tasks are on nodes that nobody hears, "
			       "and are waited for"));
	world_up(w, 0, false);
	inventory_of(w, 0, attempt, RUNNING, 0);
	assert_string_equal(task_of(w, job)->state, "running");
	world_status(w, 0, attempt, EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	world_free(w);
}

static void the_replacement_stays_unless_told_otherwise(void **state)
{
	struct doubled d;

	(void)state;
	doubled_begin(&d, GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT, true, true);
	world_up(d.w, 0, false);
	inventory_of(d.w, 0, d.first, RUNNING, 0);
	assert_true(killed(d.w, 0, d.first));
	world_status(d.w, 0, d.first, EXITED,
		     0); /* in spite of it; its result counts for nothing */
	assert_string_equal(world_job(d.w, d.job)->state, "running");
	world_status(d.w, 1, d.second, EXITED, 0);
	assert_string_equal(world_job(d.w, d.job)->state, "succeeded");
	assert_int_equal(task_of(d.w, d.job)->attempt, 2);
	world_free(d.w);
}

static void the_original_is_kept(void **state)
{
	(void)state;
	for (int restart = 0; restart < 3; restart++) {
		struct doubled d;

		doubled_begin(&d, ORIGINAL, true, true);
		if (restart > 0) {
			if (restart == 1)
				world_restart(d.w);
			else
				world_restart_snapshot(d.w);
			world_up(d.w, 1, false);
			world_info(d.w, 1, 4, 8 * WORLD_GIB);
			inventory_of(d.w, 1, d.second, RUNNING, 0);
		}
		world_up(d.w, 0, false);
		inventory_of(d.w, 0, d.first, RUNNING, 0);
		assert_true(killed(d.w, 1, d.second));
		assert_null(world_take(d.w, 0, GODWIT__BODY__KIND_TASK_KILL));
		assert_int_equal(task_of(d.w, d.job)->attempt, 1);
		world_status(d.w, 1, d.second, EXITED, 0); /* a result too late to count */
		assert_string_equal(world_job(d.w, d.job)->state, "running");
		world_status(d.w, 0, d.first, EXITED, 3);
		assert_true(world_find_start(d.w, &d.first) != UINT32_MAX);
		assert_int_equal(d.first.attempt, 3); /* numbers only grow */
		world_free(d.w);
	}
}

static void the_originals_result_counts_once(void **state)
{
	struct doubled d;

	(void)state;
	doubled_begin(&d, ORIGINAL, true, true);
	world_up(d.w, 0, false);
	inventory_of(d.w, 0, d.first, EXITED, 0);
	assert_true(killed(d.w, 1, d.second));
	assert_non_null(world_take(d.w, 0, GODWIT__BODY__KIND_TASK_FORGET));
	assert_string_equal(world_job(d.w, d.job)->state, "succeeded");
	assert_int_equal(task_of(d.w, d.job)->attempt, 1);
	world_status(d.w, 1, d.second, EXITED, 5);
	assert_non_null(world_take(d.w, 1, GODWIT__BODY__KIND_TASK_FORGET));
	assert_string_equal(world_job(d.w, d.job)->state, "succeeded");
	assert_int_equal(task_of(d.w, d.job)->exit_code, 0);
	world_restart(d.w);
	world_free(d.w);
}

/* The replacement ended first, and that is on record: what comes back is too late. */
static void the_first_result_on_record_counts(void **state)
{
	struct doubled d;

	(void)state;
	doubled_begin(&d, ORIGINAL, true, true);
	world_status(d.w, 1, d.second, EXITED, 0);
	assert_string_equal(world_job(d.w, d.job)->state, "succeeded");
	world_up(d.w, 0, false);
	inventory_of(d.w, 0, d.first, RUNNING, 0);
	assert_true(killed(d.w, 0, d.first));
	assert_int_equal(task_of(d.w, d.job)->attempt, 2);
	world_free(d.w);
}

static void a_failure_that_comes_back_ends_nothing(void **state)
{
	struct doubled d;

	(void)state;
	doubled_begin(&d, ORIGINAL, true, true);
	world_up(d.w, 0, false);
	inventory_of(d.w, 0, d.first, EXITED, 137);
	assert_null(world_take(d.w, 1, GODWIT__BODY__KIND_TASK_KILL));
	assert_int_equal(task_of(d.w, d.job)->attempt, 2);
	assert_string_equal(task_of(d.w, d.job)->state, "running");
	world_free(d.w);
}

static void the_longest_is_the_one_heard_to_run_first(void **state)
{
	static const struct {
		bool first_runs;
		bool second_runs;
		uint32_t kept;
	} rows[] = {{true, true, 1}, {false, true, 2}, {false, false, 1}, {true, false, 1}};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct doubled d;

		doubled_begin(&d, LONGEST, rows[i].first_runs, rows[i].second_runs);
		world_up(d.w, 0, false);
		inventory_of(d.w, 0, d.first, RUNNING, 0);
		assert_int_equal(task_of(d.w, d.job)->attempt, rows[i].kept);
		assert_string_equal(task_of(d.w, d.job)->state, "running");
		if (rows[i].kept == 1)
			assert_true(killed(d.w, 1, d.second));
		else
			assert_true(killed(d.w, 0, d.first));
		world_restart(d.w);
		world_free(d.w);
	}
}

/* The replacement is lost as well, and nothing runs: the original is taken. */
static void an_original_is_kept_when_nothing_else_runs(void **state)
{
	struct doubled d;

	(void)state;
	doubled_begin(&d, ORIGINAL, true, true);
	world_down(d.w, 1);
	world_pass(d.w, LOST_AFTER_US + GW_US_PER_S);
	assert_string_equal(task_of(d.w, d.job)->state, "waiting");
	world_up(d.w, 0, false);
	inventory_of(d.w, 0, d.first, RUNNING, 0);
	assert_int_equal(task_of(d.w, d.job)->attempt, 1);
	assert_string_equal(task_of(d.w, d.job)->state, "running");
	world_up(d.w, 1, false);
	inventory_of(d.w, 1, d.second, RUNNING, 0);
	assert_true(killed(d.w, 1, d.second));
	world_free(d.w);
}

static void policies_that_contradict_are_refused(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;

	(void)state;
	spec_init(&spec, TASK, 1);
	spec.disconnect.replace = AT_ONCE;
	assert_non_null(strstr(world_refusal(w, &spec.spec), "needs lost_after"));
	spec.disconnect.replace = NEVER;
	spec.disconnect.reconcile = ORIGINAL;
	assert_non_null(strstr(world_refusal(w, &spec.spec), "there is one"));
	spec.disconnect.replace = (Godwit__Replace)7;
	assert_non_null(strstr(world_refusal(w, &spec.spec), "none that this version knows"));
	spec_init(&spec, GODWIT__JOB_KIND__JOB_SERVE, 2);
	spec.disconnect.reconcile = LONGEST;
	assert_non_null(strstr(world_refusal(w, &spec.spec), "starts again as a whole"));
	world_free(w);
}

static void a_reboot_is_told_from_a_cut(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id attempt;
	struct gw_job_id job;
	struct spec spec;

	(void)state;
	(void)world_know(w, "east");
	w->nodes[0].boot_id = gw_id_make(4, 4, 1);
	world_up(w, 0, false);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	world_inventory(w, 0, NULL, 0);
	spec_init(&spec, TASK, 1);
	spec.spec.lease_us = LEASE_US;
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	world_down(w, 0);
	world_pass(w, 40 * GW_US_PER_S);
	world_up(w, 0, false); /* cut off, and it runs on */
	inventory_of(w, 0, attempt, RUNNING, 0);
	assert_int_equal(ask_sites(w)->nodes[0]->away_us / GW_US_PER_S, 40);
	assert_false(ask_sites(w)->nodes[0]->rebooted);
	assert_string_equal(task_of(w, job)->state, "running");
	world_restart_snapshot(w); /* which boot it was is on record */
	w->hold_plans = true;
	w->nodes[0].boot_id = gw_id_make(4, 4, 2);
	world_up(w, 0, false);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	world_inventory(w, 0, NULL, 0);
	assert_true(ask_sites(w)->nodes[0]->rebooted);
	assert_string_equal(task_of(w, job)->state, "waiting");
	assert_string_equal(task_of(w, job)->error, "its host was rebooted");
	w->hold_plans = false;
	world_release_plans(w);
	attempt = world_started(w, 0);
	w->nodes[0].boot_id = gw_id_make(4, 4, 3);
	world_up(w, 0, false);
	w->hold_plans = true;
	inventory_of(w, 0, attempt, LOST, 0); /* its keeper's records outlived the boot */
	assert_string_equal(task_of(w, job)->error, "its host was rebooted");
	w->hold_plans = false;
	world_release_plans(w);
	world_started(w, 0);
	world_down(w, 0);
	world_pass(w, 2 * LEASE_US);
	assert_non_null(strstr(task_of(w, job)->error, "cut off or down"));
	world_free(w);
}

/* What a node knows that no record can have told: attempts, and a term. */
static void lost_records_are_found(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;
	struct gw_attempt_id attempt;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	inventory_of(w, 0, attempt, RUNNING, 0);
	world_restart(w); /* the epoch of that job is a closed one now */
	world_up(w, 0, false);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	inventory_of(w, 0, attempt, RUNNING, 0);
	assert_int_equal(ask_sites(w)->records_lost, 0);
	attempt.job.id = gw_id_make(8, 1, 50); /* of another region */
	world_status(w, 0, attempt, RUNNING, 0);
	assert_int_equal(ask_sites(w)->records_lost, 0);
	world_forget_messages(w);
	attempt.job.id = gw_id_make(7, 1, gw_id_counter(job.id) + 1); /* never given in its epoch */
	world_status(w, 0, attempt, RUNNING, 0);
	assert_int_equal(ask_sites(w)->records_lost, 1);
	assert_non_null(strstr(ask_sites(w)->records_lost_text, "no record of"));
	assert_true(killed(w, 0, attempt));
	world_status(w, 0, attempt, RUNNING, 0); /* one for each session */
	assert_int_equal(ask_sites(w)->records_lost, 1);
	for (uint32_t i = 0; i < 2; i++) { /* an epoch never begun; an attempt never made */
		attempt.job = i == 0 ? (struct gw_job_id){gw_id_make(7, 9, 1)} : job;
		attempt.attempt = i == 0 ? 1 : 2;
		world_up(w, 0, false);
		inventory_of(w, 0, attempt, RUNNING, 0);
		assert_int_equal(ask_sites(w)->records_lost, 2 + i);
	}
	w->nodes[0].term_seen = 1000;
	world_up(w, 0, false);
	world_inventory(w, 0, NULL, 0);
	assert_int_equal(ask_sites(w)->records_lost, 4);
	assert_non_null(strstr(ask_sites(w)->records_lost_text, "term 1000"));
	world_restart_snapshot(w);
	assert_int_equal(ask_sites(w)->records_lost, 4);
	world_free(w);
}

/* A node that obeys a later leader takes nothing from this one until it leads in a later term. */
static void a_later_term_is_begun_where_nodes_obey_one(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__Refusal refusal = GODWIT__REFUSAL__INIT;
	struct gw_event role = {.kind = GW_EVENT_ROLE, .role = {.leader = true}};
	uint64_t term;
	uint32_t epoch;

	(void)state;
	(void)world_know(w, "east");
	world_up(w, 0, false);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_INVENTORY_REQUEST));
	body.kind_case = GODWIT__BODY__KIND_REFUSAL;
	body.refusal = &refusal;
	refusal.code = GW_REFUSAL_TERM;
	refusal.term = UINT64_MAX; /* no leader ever had it */
	world_say(w, 0, &body);
	assert_int_equal(gw_scheduler_term_seen(w->core), 0);
	refusal.term = 40;
	world_say(w, 0, &body);
	assert_int_equal(gw_scheduler_term_seen(w->core), 40);
	assert_int_equal(ask_sites(w)->records_lost, 1);
	assert_non_null(strstr(ask_sites(w)->records_lost_text, "a leader of term 40"));
	gw_scheduler_term(w->core, &term, &epoch);
	role.role.term = 41;
	world_step(w, &role);
	assert_int_equal(gw_scheduler_term_seen(w->core), 0);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_INVENTORY_REQUEST));
	gw_scheduler_term(w->core, &term, &epoch);
	assert_int_equal(term, 41);
	world_say(w, 0, &body); /* on its way since before */
	assert_int_equal(gw_scheduler_term_seen(w->core), 0);
	assert_int_equal(ask_sites(w)->records_lost, 1);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	world_inventory(w, 0, NULL, 0);
	world_heartbeat(w, 0);
	assert_string_equal(ask_sites(w)->nodes[0]->state, "up");
	world_free(w);
}

#define REPLACEMENT GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT

/* Where a job keeps its replacement: a success is worth more than one that does not run. */
static void a_success_counts_unless_the_replacement_runs(void **state)
{
	struct doubled d;

	(void)state;
	doubled_begin(&d, REPLACEMENT, true, false);
	world_up(d.w, 0, false);
	inventory_of(d.w, 0, d.first, RUNNING,
		     0); /* it has a replacement, and goes on till that runs */
	assert_null(world_take(d.w, 0, GODWIT__BODY__KIND_TASK_KILL));
	assert_int_equal(task_of(d.w, d.job)->attempt, 2);
	world_status(d.w, 0, d.first, EXITED, 0);
	assert_string_equal(world_job(d.w, d.job)->state, "succeeded");
	assert_true(killed(d.w, 1, d.second));
	world_restart(d.w);
	world_free(d.w);
	for (int ended = 0; ended < 2; ended++) { /* the replacement is given up as well */
		doubled_begin(&d, REPLACEMENT, true, true);
		world_down(d.w, 1);
		world_pass(d.w, LOST_AFTER_US + GW_US_PER_S);
		assert_string_equal(task_of(d.w, d.job)->state, "waiting");
		world_restart_snapshot(d.w);
		world_up(d.w, 0, false);
		inventory_of(d.w, 0, d.first, ended ? EXITED : RUNNING, 0);
		assert_string_equal(task_of(d.w, d.job)->state, ended ? "succeeded" : "running");
		assert_int_equal(task_of(d.w, d.job)->attempt, 1);
		assert_null(strstr(task_of(d.w, d.job)->error, "cut off"));
		world_free(d.w);
	}
}

/* What is known to be over is not waited for: the next one that is given up takes its place. */
static void a_former_attempt_is_forgotten_when_it_is_over(void **state)
{
	struct gw_attempt_id third;
	struct doubled d;

	(void)state;
	doubled_begin(&d, ORIGINAL, true, true);
	world_up(d.w, 0, false);
	inventory_of(d.w, 0, d.first, EXITED, 1);
	world_restart(d.w);
	world_up(d.w, 0, false);
	world_info(d.w, 0, 4, 8 * WORLD_GIB);
	inventory_of(d.w, 0, d.first, EXITED, 1);
	world_live(d.w, LEASE_US + LOST_AFTER_US, 1);
	third = world_started(d.w, 0);
	assert_int_equal(third.attempt, 3);
	world_status(d.w, 0, third, RUNNING, 0);
	world_up(d.w, 1, false);
	inventory_of(d.w, 1, d.second, RUNNING, 0);
	assert_true(killed(d.w, 0, third));
	assert_int_equal(task_of(d.w, d.job)->attempt, 2);
	world_free(d.w);
}

/* It says that it is replaced for no silence, not that it lasts for ever. */
static void never_does_not_outlive_its_job(void **state)
{
	(void)state;
	for (int late = 0; late < 2; late++) {
		struct world *w = world_new(64);
		Godwit__Body body = GODWIT__BODY__INIT;
		Godwit__CancelRequest cancel = GODWIT__CANCEL_REQUEST__INIT;
		struct gw_attempt_id attempt;
		struct gw_job_id job;

		(void)world_add(w, "east");
		job = submit(w, NEVER, REPLACEMENT);
		attempt = world_started(w, 0);
		world_status(w, 0, attempt, RUNNING, 0);
		world_down(w, 0);
		world_pass(w, late ? 10 * LEASE_US : GW_US_PER_S);
		cancel.job = gw_wire_id(&job.id);
		body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
		body.cancel_request = &cancel;
		(void)world_ask(w, &w->user, &body);
		if (!late) {
			world_pass(w, LEASE_US / 2);
			assert_string_equal(world_job(w, job)->state, "ending");
			world_pass(w, LEASE_US);
		}
		assert_string_equal(world_job(w, job)->state, "cancelled");
		world_free(w);
	}
}

static void never_does_not_wait_for_a_revoked_node(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__RevokeRequest revoke = GODWIT__REVOKE_REQUEST__INIT;
	struct gw_peer chief = w->user;
	struct gw_job_id job;
	char name[] = "n0";

	(void)state;
	(void)world_add(w, "east");
	job = submit(w, NEVER, REPLACEMENT);
	world_status(w, 0, world_started(w, 0), RUNNING, 0);
	(void)world_add(w, "west");
	chief.roles |= 1u << GODWIT__ROLE__ROLE_OPERATOR;
	revoke.node = name;
	body.kind_case = GODWIT__BODY__KIND_REVOKE_REQUEST;
	body.revoke_request = &revoke;
	assert_string_equal(world_ask(w, &chief, &body)->revoke_reply->error, "");
	world_live(w, LEASE_US / 2, 2);
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_TASK_START));
	world_live(w, LEASE_US, 2);
	assert_int_equal(world_started(w, 1).attempt, 2);
	assert_int_equal(task_of(w, job)->attempt, 2);
	world_free(w);
}

/* Taken back, an attempt goes on with what it had: its start, its time limit, its RTT. */
static void what_is_taken_back_began_when_it_began(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id attempt;
	struct gw_job_id job;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	spec.spec.lease_us = LEASE_US;
	spec.spec.time_limit_us = 2 * LEASE_US;
	spec.spec.attempts_max = 1;
	spec.disconnect.lost_after_us = LOST_AFTER_US;
	spec.disconnect.replace = AT_ONCE;
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	world_down(w, 0);
	world_pass(w, LEASE_US);
	assert_string_equal(task_of(w, job)->state, "waiting");
	assert_non_null(strstr(task_of(w, job)->error, "cut off"));
	world_up(w, 0, false);
	inventory_of(w, 0, attempt, RUNNING, 0);
	assert_string_equal(task_of(w, job)->state, "running");
	assert_string_equal(task_of(w, job)->error, "");
	world_live(w, LEASE_US - GW_US_PER_S, 1);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_live(w, 2 * GW_US_PER_S, 1);
	assert_true(killed(w, 0, attempt));
	world_free(w);
}

/* The agent stood still, its connection did not: no new session brings an inventory. */
static void silence_within_a_session_is_reconciled(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id first;
	struct gw_attempt_id second;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	job = submit(w, AT_ONCE, ORIGINAL);
	first = world_started(w, 0);
	world_status(w, 0, first, RUNNING, 0);
	(void)world_add(w, "west");
	world_live(w, LOST_AFTER_US + GW_US_PER_S, 2);
	second = world_started(w, 1);
	assert_int_equal(second.attempt, 2);
	world_status(w, 1, second, RUNNING, 0);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_INVENTORY_REQUEST));
	world_heartbeat(w, 0);
	assert_string_equal(ask_sites(w)->nodes[0]->state, "joining");
	inventory_of(w, 0, first, RUNNING, 0);
	assert_true(killed(w, 1, second));
	assert_int_equal(task_of(w, job)->attempt, 1);
	assert_int_equal(ask_sites(w)->nodes[0]->away_us / GW_US_PER_S,
			 LOST_AFTER_US / GW_US_PER_S + 1);
	world_free(w);
}

/* A scheduler that was stopped for longer than any lease has heard nobody, by its own fault. */
static void its_own_deafness_is_no_silence(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id attempt;
	struct gw_job_id job;
	struct gw_event tick = {.kind = GW_EVENT_TICK};

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	job = submit(w, AT_ONCE, REPLACEMENT);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	world_live(w, 10 * GW_US_PER_S, 3);
	w->now.mono_us += 3 * LEASE_US;
	w->now.wall_us += (int64_t)(3 * LEASE_US);
	world_step(w, &tick);
	assert_string_equal(ask_sites(w)->nodes[0]->state, "up");
	world_heartbeat(w, 1);
	assert_int_equal(ask_sites(w)->nodes[1]->away_us, 0);
	world_live(w, LOST_AFTER_US / 2, 2); /* the other one is silent indeed */
	assert_string_equal(ask_sites(w)->nodes[0]->state, "unknown");
	assert_null(world_take(w, 1, GODWIT__BODY__KIND_TASK_START));
	world_live(w, LOST_AFTER_US, 2);
	assert_int_equal(world_started(w, 1).attempt, 2);
	assert_string_equal(task_of(w, job)->error, "");
	world_free(w);
}

/* --- snapshots that contradict themselves ------------------------------------------------------ */

struct forged {
	struct gw_node *core;
	int kind;
	int result;
};

static void forge(Godwit__SnapshotTask *task, int kind)
{
	if (kind == 1)
		task->attempt_last = task->attempt - 1;
	else if (kind == 2)
		task->former->attempt = task->attempt + 1;
	else if (kind == 3)
		task->former->attempt = task->attempt;
	else if (kind == 4)
		task->former->attempt = 0;
	else if (kind == 5)
		task->state = 3; /* succeeded */
}

static int restore_forged(void *context, const uint8_t *bytes, size_t size)
{
	static uint8_t copy[GW_MESSAGE_BYTES_MAX];
	struct forged *forged = context;
	struct gw_arena arena;
	const Godwit__Snapshot *piece;

	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	piece = gw_wire_decode(&godwit__snapshot__descriptor, &arena, bytes, size);
	assert_non_null(piece);
	for (size_t i = 0; i < piece->n_jobs; i++) {
		if (piece->jobs[i]->n_tasks > 0 && piece->jobs[i]->tasks[0]->former)
			forge(piece->jobs[i]->tasks[0], forged->kind);
	}
	size = gw_wire_size(&piece->base);
	gw_wire_encode(&piece->base, copy);
	gw_arena_deinit(&arena);
	if (forged->result == 0)
		forged->result = gw_node_restore(forged->core, copy, size);
	return 0;
}

static void attempts_that_cannot_be_are_not_restored(void **state)
{
	struct doubled d;

	(void)state;
	doubled_begin(&d, ORIGINAL, true, true);
	for (int kind = 0; kind <= 5; kind++) {
		struct forged forged = {.core = gw_scheduler_new(&d.w->config), .kind = kind};

		assert_non_null(forged.core);
		assert_int_equal(gw_node_snapshot(d.w->core, restore_forged, &forged), 0);
		assert_int_equal(forged.result, kind == 0 ? 0 : -EPROTO);
		gw_node_free(forged.core);
	}
	world_free(d.w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(never_waits_for_its_node),
		cmocka_unit_test(the_replacement_stays_unless_told_otherwise),
		cmocka_unit_test(the_original_is_kept),
		cmocka_unit_test(the_originals_result_counts_once),
		cmocka_unit_test(the_first_result_on_record_counts),
		cmocka_unit_test(a_failure_that_comes_back_ends_nothing),
		cmocka_unit_test(the_longest_is_the_one_heard_to_run_first),
		cmocka_unit_test(an_original_is_kept_when_nothing_else_runs),
		cmocka_unit_test(policies_that_contradict_are_refused),
		cmocka_unit_test(a_reboot_is_told_from_a_cut),
		cmocka_unit_test(lost_records_are_found),
		cmocka_unit_test(a_later_term_is_begun_where_nodes_obey_one),
		cmocka_unit_test(a_success_counts_unless_the_replacement_runs),
		cmocka_unit_test(a_former_attempt_is_forgotten_when_it_is_over),
		cmocka_unit_test(never_does_not_outlive_its_job),
		cmocka_unit_test(never_does_not_wait_for_a_revoked_node),
		cmocka_unit_test(what_is_taken_back_began_when_it_began),
		cmocka_unit_test(silence_within_a_session_is_reconciled),
		cmocka_unit_test(its_own_deafness_is_no_silence),
		cmocka_unit_test(attempts_that_cannot_be_are_not_restored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
