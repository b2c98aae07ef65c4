/*
 * Transcripts of a job's disconnect policy: what becomes of an attempt whose node is cut off, what
 * its return means beside a replacement, and what a node's return tells of its host and of records
 * that were lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
