/* Transcripts of jobs: accepted, placed, started, ended; retried, cancelled, gangs whole. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "scheduler/core/check.h"
#include "tests/unit/test_scheduler_fixture.h"

#define RUNNING GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING
#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define FAILED GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START
#define TASK GODWIT__JOB_KIND__JOB_TASK
#define SERVE GODWIT__JOB_KIND__JOB_SERVE

static const Godwit__CancelReply *cancel(struct world *w, const struct gw_peer *user,
					 struct gw_job_id job)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__CancelRequest request = GODWIT__CANCEL_REQUEST__INIT;
	const Godwit__Body *answer;

	request.job = gw_wire_id(&job.id);
	body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	body.cancel_request = &request;
	answer = world_ask(w, user, &body);
	assert_int_equal(answer->kind_case, GODWIT__BODY__KIND_CANCEL_REPLY);
	return answer->cancel_reply;
}

static void runs_to_its_end(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;
	struct gw_attempt_id attempt;
	const Godwit__JobInfo *info;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	assert_true(gw_id_equal(attempt.job.id, job.id));
	assert_int_equal(attempt.attempt, 1);
	assert_string_equal(world_job(w, job)->state, "running");
	assert_string_equal(world_job(w, job)->tasks[0]->state, "placed");
	world_status(w, 0, attempt, RUNNING, 0);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	world_status(w, 0, attempt, EXITED, 0);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_FORGET));
	info = world_job(w, job);
	assert_string_equal(info->state, "succeeded");
	assert_string_equal(info->tasks[0]->state, "succeeded");
	assert_string_equal(info->tasks[0]->node_name, "n0");
	world_status(w, 0, attempt, EXITED, 0); /* said again: forgotten again, nothing else */
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_FORGET));
	assert_string_equal(world_job(w, job)->state, "succeeded");
	world_free(w);
}

static bool has(const Godwit__TaskStart *start, const char *entry)
{
	for (size_t i = 0; i < start->n_environment; i++) {
		if (strcmp(start->environment[i], entry) == 0)
			return true;
	}
	return false;
}

static void a_task_learns_who_it_is(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	const Godwit__Body *body;
	static char own[] = "COLOUR=blue";
	char *environment[] = {own};

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, SERVE, 2);
	spec.spec.n_environment = 1;
	spec.spec.environment = environment;
	(void)world_submit(w, &spec);
	(void)world_started(w, 0);
	body = world_take(w, 0, GODWIT__BODY__KIND_TASK_START);
	assert_non_null(body);
	assert_true(has(body->task_start, "COLOUR=blue"));
	assert_true(has(body->task_start, "GODWIT_JOB=00000007.1.1"));
	assert_true(has(body->task_start, "GODWIT_TASK_INDEX=1"));
	assert_true(has(body->task_start, "GODWIT_TASK_COUNT=2"));
	assert_true(has(body->task_start, "GODWIT_ATTEMPT=1"));
	assert_true(has(body->task_start, "GODWIT_SITE=east"));
	assert_true(has(body->task_start, "GODWIT_NODE=n0"));
	assert_true(has(body->task_start, "GODWIT_PORTS=9001 1"));
	assert_true(has(body->task_start, "GODWIT_PEERS=[10.0.0.1]:9000,[10.0.0.1]:9001"));
	assert_int_equal(body->task_start->lease_us, w->config.lease_us);
	assert_int_equal(body->task_start->lease_from_us, 5001); /* of the heartbeat answered */
	world_free(w);
}

static void limits_are_checked_and_carried(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	static char nofile[] = "nofile=77";
	static char bad[] = "core=0:many";
	char *limits[GW_RLIMITS_MAX + 1] = {bad};
	const Godwit__Body *body;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	spec.spec.n_rlimits = 1;
	spec.spec.rlimits = limits;
	assert_non_null(strstr(world_refusal(w, &spec.spec), "\"core=0:many\" is not of the form"));
	for (size_t i = 0; i <= GW_RLIMITS_MAX; i++)
		limits[i] = nofile;
	spec.spec.n_rlimits = 2;
	assert_string_equal(world_refusal(w, &spec.spec),
			    "the resource limit nofile stands there twice");
	spec.spec.n_rlimits = GW_RLIMITS_MAX + 1;
	assert_string_equal(world_refusal(w, &spec.spec),
			    "17 resource limits are more than the 16 that are taken");
	spec.spec.n_rlimits = 1;
	(void)world_submit(w, &spec);
	body = world_take(w, 0, GODWIT__BODY__KIND_TASK_START);
	assert_non_null(body);
	assert_int_equal(body->task_start->n_rlimits, 1);
	assert_string_equal(body->task_start->rlimits[0], nofile);
	world_free(w);
}

static void an_array_fills_what_is_free(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;
	struct gw_attempt_id attempt;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 10);
	job = world_submit(w, &spec);
	assert_int_equal(world_job(w, job)->running, 4); /* 4 CPUs */
	assert_int_equal(world_job(w, job)->waiting, 6);
	for (uint32_t i = 0; i < 10; i++) {
		attempt = world_started(w, 0);
		assert_int_equal(attempt.task_index, i);
		world_status(w, 0, attempt, RUNNING, 0);
		world_status(w, 0, attempt, EXITED, 0);
	}
	assert_string_equal(world_job(w, job)->state, "succeeded");
	world_free(w);
}

/* What a keeper remarks on an end is shown, and fails nothing. */
static void a_remark_is_no_failure(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	char remark[] = "output 1 is lost: No space left on device";
	struct gw_attempt_id attempt;
	Godwit__AttemptRef ref;
	struct spec spec;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	gw_wire_attempt(&attempt, &ref);
	status.attempt = &ref;
	status.state = EXITED;
	status.error = remark;
	body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
	body.task_status = &status;
	world_say(w, 0, &body);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	assert_string_equal(world_job(w, job)->tasks[0]->error, remark);
	world_free(w);
}

static void failures_are_tried_again(void **state)
{
	static const struct {
		uint32_t attempts_max;
		Godwit__AttemptState end;
		uint32_t starts;
	} rows[] = {{0, EXITED, 1}, {1, FAILED, 1}, {3, EXITED, 3}, {2, FAILED, 2}};

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct world *w = world_new(64);
		struct spec spec;
		struct gw_job_id job;

		(void)world_add(w, "east");
		spec_init(&spec, TASK, 1);
		spec.spec.attempts_max = rows[i].attempts_max;
		job = world_submit(w, &spec);
		for (uint32_t n = 1; n <= rows[i].starts; n++) {
			struct gw_attempt_id attempt = world_started(w, 0);

			assert_int_equal(attempt.attempt, n);
			world_status(w, 0, attempt, rows[i].end, 3);
		}
		assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
		assert_string_equal(world_job(w, job)->state, "failed");
		assert_int_equal(world_job(w, job)->tasks[0]->exit_code, 3);
		world_free(w);
	}
}

/* A failure that is told again before the next attempt has a place is one failure. */
static void an_end_counts_once(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;
	struct gw_attempt_id attempt;
	uint32_t records;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	spec.spec.attempts_max = 2;
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	w->hold_plans = true;
	world_status(w, 0, attempt, EXITED, 3);
	records = w->record_count;
	world_status(w, 0, attempt, EXITED, 3);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_FORGET));
	world_status(w, 0, attempt, RUNNING, 0); /* nor does it live again */
	assert_int_equal(w->record_count, records);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "waiting");
	world_restart_snapshot(w);
	world_free(w);
}

static void a_running_job_is_cancelled(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;
	struct gw_attempt_id attempts[4];
	const Godwit__Body *kill;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 6);
	spec.spec.grace_us = 7 * GW_US_PER_S;
	job = world_submit(w, &spec);
	for (uint32_t i = 0; i < 4; i++)
		attempts[i] = world_started(w, 0);
	world_status(w, 0, attempts[0], RUNNING, 0);
	assert_string_equal(cancel(w, &w->user, job)->error, "");
	assert_string_equal(world_job(w, job)->state, "ending");
	assert_int_equal(world_job(w, job)->waiting, 0);
	for (uint32_t i = 0; i < 4; i++) {
		kill = world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL);
		assert_non_null(kill);
		assert_int_equal(kill->task_kill->grace_us, 7 * GW_US_PER_S);
		world_status(w, 0, attempts[i],
			     i == 3 ? GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE : EXITED,
			     i == 0 ? 0 : 143);
	}
	assert_string_equal(world_job(w, job)->state, "cancelled");
	assert_int_equal(world_job(w, job)->succeeded, 1); /* it had done its work */
	assert_non_null(strstr(cancel(w, &w->user, job)->error, "cancelled"));
	world_free(w);
}

static void only_its_tenant_sees_a_job(void **state)
{
	struct world *w = world_new(64);
	struct gw_peer stranger;
	struct gw_peer chief;
	struct spec spec;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	job = world_submit(w, &spec);
	stranger = w->user;
	stranger.node.id = gw_id_make(9, 9, 2);
	stranger.tenant = gw_id_make(8, 8, 2);
	chief = stranger;
	chief.roles = 1u << GODWIT__ROLE__ROLE_OPERATOR;
	assert_string_equal(cancel(w, &stranger, job)->error, "no such job");
	assert_string_equal(world_job(w, job)->state, "running");
	assert_string_equal(cancel(w, &chief, job)->error, "");
	assert_string_equal(world_job(w, job)->state, "ending");
	world_free(w);
}

static void the_same_nonce_is_the_same_job(void **state)
{
	struct world *w = world_new(64);
	struct gw_id nonce = gw_id_make(3, 3, 3);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SubmitRequest request = GODWIT__SUBMIT_REQUEST__INIT;
	struct gw_peer other = w->user;
	struct gw_job_id jobs[4];
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	request.spec = &spec.spec;
	request.nonce = gw_wire_id(&nonce);
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	body.submit_request = &request;
	other.node.id = gw_id_make(9, 9, 77);
	for (uint32_t i = 0; i < 4; i++) {
		const Godwit__Body *answer = world_ask(w, i == 3 ? &other : &w->user, &body);

		assert_true(gw_wire_read_id(answer->submit_reply->job, &jobs[i].id));
		if (i == 1)
			world_restart(w); /* it is remembered as long as the job */
	}
	assert_true(gw_id_equal(jobs[0].id, jobs[1].id));
	assert_true(gw_id_equal(jobs[0].id, jobs[2].id));
	assert_false(gw_id_equal(jobs[0].id, jobs[3].id)); /* another user's nonce is his own */
	world_free(w);
}

static void a_gang_waits_for_all_its_places(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id filler;
	struct gw_job_id gang;
	struct gw_attempt_id attempt;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 2);
	filler = world_submit(w, &spec);
	attempt = world_started(w, 0);
	(void)world_started(w, 0);
	spec_init(&spec, SERVE, 3);
	gang = world_submit(w, &spec);
	assert_int_equal(world_job(w, gang)->waiting, 3);
	assert_non_null(strstr(world_job(w, gang)->wait_reason, "3 places"));
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_status(w, 0, attempt, RUNNING, 0);
	world_status(w, 0, attempt, EXITED, 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_true(gw_id_equal(world_started(w, 0).job.id, gang.id));
	assert_int_equal(world_job(w, filler)->running, 1);
	world_free(w);
}

/* One stage fails: the others are ended, and when all have, the whole gang starts once more. */
static void a_gang_starts_again_whole(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id gang;
	struct gw_attempt_id attempts[3];

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, SERVE, 3);
	spec.spec.attempts_max = 2;
	gang = world_submit(w, &spec);
	for (uint32_t round = 1; round <= 2; round++) {
		for (uint32_t i = 0; i < 3; i++) {
			attempts[i] = world_started(w, 0);
			assert_int_equal(attempts[i].attempt, round);
			world_status(w, 0, attempts[i], RUNNING, 0);
		}
		world_status(w, 0, attempts[0], EXITED, 0); /* done early */
		world_status(w, 0, attempts[1], EXITED, 9);
		assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
		assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
		assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
		world_status(w, 0, attempts[2], EXITED, 143);
	}
	assert_string_equal(world_job(w, gang)->state, "failed");
	assert_string_equal(world_job(w, gang)->tasks[1]->state, "failed");
	assert_string_equal(world_job(w, gang)->tasks[2]->state, "cancelled");
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
	world_free(w);
}

static void a_time_limit_ends_a_task(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;
	struct gw_attempt_id attempt;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	spec.spec.time_limit_us = 30 * GW_US_PER_S;
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	world_live(w, 29 * GW_US_PER_S, 1);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_live(w, 2 * GW_US_PER_S, 1);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_status(w, 0, attempt, EXITED, 0); /* it even ended well: it was too late */
	assert_string_equal(world_job(w, job)->state, "failed");
	assert_non_null(strstr(world_job(w, job)->tasks[0]->error, "time limit"));
	world_free(w);
}

/* The limit counts over a restart of the scheduler. */
static void a_time_limit_outlives_the_scheduler(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_attempt_id attempt;
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	Godwit__TaskStatus *list[] = {&status};
	Godwit__AttemptRef ref;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 1);
	spec.spec.time_limit_us = 30 * GW_US_PER_S;
	(void)world_submit(w, &spec);
	attempt = world_started(w, 0);
	world_status(w, 0, attempt, RUNNING, 0);
	world_live(w, 20 * GW_US_PER_S, 1);
	world_restart(w);
	world_up(w, 0, false);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	gw_wire_attempt(&attempt, &ref);
	status.attempt = &ref;
	status.state = RUNNING;
	world_inventory(w, 0, list, 1);
	assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_live(w, 11 * GW_US_PER_S, 1);
	assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
	world_free(w);
}

static void priorities_go_first(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id low;
	struct gw_job_id high;

	(void)state;
	w->hold_plans = true;
	(void)world_add(w, "east");
	spec_init(&spec, TASK, 4);
	low = world_submit(w, &spec); /* its plan is under way */
	world_release_plans(w);
	spec.spec.priority = 1;
	low = world_submit(w, &spec); /* waits: the node is full */
	world_release_plans(w);
	spec.spec.priority = 900;
	high = world_submit(w, &spec);
	world_release_plans(w);
	for (uint32_t i = 0; i < 4; i++) {
		struct gw_attempt_id attempt = world_started(w, 0);

		world_status(w, 0, attempt, EXITED, 0);
		world_release_plans(w);
	}
	for (uint32_t i = 0; i < 4; i++)
		assert_true(gw_id_equal(world_started(w, 0).job.id, high.id));
	assert_int_equal(world_job(w, low)->waiting, 4);
	world_free(w);
}

/* The state moved on while the planner worked: nothing of its plan that is no longer true is done.
 */
static void a_stale_plan_is_not_obeyed(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;
	struct gw_job_id gang;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	w->hold_plans = true;
	spec_init(&spec, TASK, 2);
	job = world_submit(w, &spec);
	assert_int_equal(w->plan_count, 1);
	world_info(w, 0, 0, 0); /* both nodes shrink to nothing meanwhile */
	world_info(w, 1, 0, 0);
	world_release_plans(w);
	assert_int_equal(world_job(w, job)->waiting, 2);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	spec_init(&spec, SERVE, 3);
	gang = world_submit(w, &spec);
	world_release_plans(w);
	assert_int_equal(world_job(w, job)->running, 2);
	assert_int_equal(world_job(w, gang)->waiting, 3);
	assert_string_equal(cancel(w, &w->user, gang)->error, "");
	world_release_plans(w);
	assert_string_equal(world_job(w, gang)->state, "cancelled");
	world_free(w);
}

/* A list of two effects still says everything, over many CONTINUEs. */
static void a_small_list_loses_nothing(void **state)
{
	struct world *w = world_new(9); /* out_room wants 8 */
	struct spec spec;
	struct gw_job_id job;

	(void)state;
	for (uint32_t i = 0; i < 20; i++)
		(void)world_add(w, "east");
	spec_init(&spec, TASK, 80);
	job = world_submit(w, &spec);
	assert_int_equal(world_job(w, job)->running, 80);
	for (uint32_t i = 0; i < 80; i++) {
		struct gw_attempt_id attempt;

		assert_true(world_find_start(w, &attempt) != UINT32_MAX);
	}
	assert_string_equal(cancel(w, &w->user, job)->error, "");
	for (uint32_t i = 0; i < 20; i++) {
		for (uint32_t n = 0; n < 4; n++)
			assert_non_null(world_take(w, i, GODWIT__BODY__KIND_TASK_KILL));
	}
	world_free(w);
}

static void dry_run_and_explain(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SubmitRequest request = GODWIT__SUBMIT_REQUEST__INIT;
	Godwit__ExplainRequest explain = GODWIT__EXPLAIN_REQUEST__INIT;
	const Godwit__Body *answer;
	struct gw_job_id job;
	struct spec spec;
	uint32_t records;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	spec_init(&spec, SERVE, 4);
	spec.spec.model = &spec.model;
	spec.model.stage_us = 1000;
	spec.model.micro_batches = 4;
	spec.model.batch = 2;
	request.spec = &spec.spec;
	request.dry_run = true;
	body.kind_case = GODWIT__BODY__KIND_SUBMIT_REQUEST;
	body.submit_request = &request;
	records = w->record_count;
	answer = world_ask(w, &w->user, &body);
	assert_string_equal(answer->submit_reply->error, "");
	assert_int_equal(answer->submit_reply->n_placements, 4);
	assert_true(answer->submit_reply->prediction->present);
	assert_int_equal(answer->submit_reply->n_verdicts, 2);
	assert_int_equal(w->record_count, records); /* nothing was decided */

	spec_init(&spec, TASK, 9);
	job = world_submit(w, &spec);
	assert_int_equal(world_job(w, job)->waiting, 1);
	explain.job = gw_wire_id(&job.id);
	body.kind_case = GODWIT__BODY__KIND_EXPLAIN_REQUEST;
	body.explain_request = &explain;
	answer = world_ask(w, &w->user, &body);
	assert_int_equal(answer->kind_case, GODWIT__BODY__KIND_EXPLAIN_REPLY);
	assert_string_equal(answer->explain_reply->error, "");
	assert_non_null(strstr(answer->explain_reply->text, "1 of 9 tasks wait"));
	assert_int_equal(answer->explain_reply->n_verdicts, 2);
	assert_non_null(strstr(answer->explain_reply->verdicts[0]->reason, "CPUs"));
	world_free(w);
}

static bool has_variable(const Godwit__TaskStart *start, const char *variable)
{
	for (size_t i = 0; i < start->n_environment; i++) {
		if (strcmp(start->environment[i], variable) == 0)
			return true;
	}
	return false;
}

/* A framework takes the devices that CUDA_VISIBLE_DEVICES names, whatever the job itself said. */
static void a_task_learns_its_devices(void **state)
{
	static char type[] = "h100";
	static char names[3][8] = {"GPU-a", "GPU-b", "GPU-c"};
	static char own[] = "CUDA_VISIBLE_DEVICES=GPU-z";
	char *environment[] = {own};
	Godwit__Device devices[3];
	Godwit__Device *list[] = {&devices[0], &devices[1], &devices[2]};
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;
	struct world *w = world_new(64);
	const Godwit__TaskStart *start;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	for (uint32_t i = 0; i < 3; i++) {
		godwit__device__init(list[i]);
		devices[i].type = type;
		devices[i].uuid = names[i];
	}
	info.cpu_count = 4;
	info.memory_bytes = 8 * WORLD_GIB;
	info.port_first = 9000;
	info.port_count = 10;
	info.n_devices = 3;
	info.devices = list;
	body.kind_case = GODWIT__BODY__KIND_NODE_INFO;
	body.node_info = &info;
	world_say(w, 0, &body);
	spec_init(&spec, TASK, 1);
	spec.resources.device_count = 2;
	spec.spec.n_environment = 1;
	spec.spec.environment = environment;
	(void)world_submit(w, &spec);
	start = world_take(w, 0, GODWIT__BODY__KIND_TASK_START)->task_start;
	assert_int_equal(start->n_device_uuids, 2);
	assert_true(has_variable(start, "GODWIT_DEVICES=GPU-a,GPU-b"));
	assert_string_equal(start->environment[0], own); /* a later one wins */
	assert_true(has_variable(start, "CUDA_VISIBLE_DEVICES=GPU-a,GPU-b"));
	world_free(w);
}

static void lists_are_newest_first_after_evictions(void **state)
{
	static char names[][2] = {"a", "b", "c", "d"};
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__JobsRequest request = GODWIT__JOBS_REQUEST__INIT;
	Godwit__CancelRequest cancel = GODWIT__CANCEL_REQUEST__INIT;
	const Godwit__JobsReply *reply;
	struct gw_job_id jobs[4];
	struct spec spec;

	(void)state;
	w->config.jobs_max = 3;
	world_restart(w);
	for (uint32_t i = 0; i < 4; i++) {
		spec_init(&spec, TASK, 1);
		spec.spec.name = names[i];
		jobs[i] = world_submit(w, &spec); /* the fourth takes the first one's room */
		cancel.job = gw_wire_id(&jobs[0].id);
		body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
		body.cancel_request = &cancel;
		if (i == 0)
			(void)world_ask(w, &w->user, &body);
	}
	body.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	body.jobs_request = &request;
	reply = world_ask(w, &w->user, &body)->jobs_reply;
	assert_int_equal(reply->n_jobs, 3);
	for (uint32_t i = 0; i < 3; i++)
		assert_string_equal(reply->jobs[i]->name, names[3 - i]);
	w->config.jobs_max = 4; /* a replay keeps what was kept */
	world_restart(w);
	world_free(w);
}

static void a_description_that_is_not_taken_is_refused(void **state)
{
	static char label[17 << 10];
	char *labels[] = {label};
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;
	struct world *w = world_new(64);
	const Godwit__Body *answer;

	(void)state;
	(void)world_add(w, "east");
	memset(label, 'x', sizeof(label) - 1);
	info.n_labels = 1;
	info.labels = labels;
	body.kind_case = GODWIT__BODY__KIND_NODE_INFO;
	body.node_info = &info;
	world_say(w, 0, &body);
	answer = world_take(w, 0, GODWIT__BODY__KIND_REFUSAL);
	assert_non_null(answer);
	assert_non_null(strstr(answer->refusal->text, "at most 16384"));
	label[1 << 10] = '\0'; /* it fits, but is no label that a job can ask for */
	world_say(w, 0, &body);
	answer = world_take(w, 0, GODWIT__BODY__KIND_REFUSAL);
	assert_non_null(answer);
	assert_non_null(strstr(answer->refusal->text, "will not be placed"));
	world_free(w);
}

/* Whether the scheduler takes a job whose command has so many bytes. */
static bool takes(struct world *w, Godwit__JobKind kind, uint32_t count, uint32_t bytes)
{
	static char argument[GW_START_BYTES_MAX + 1];
	struct spec spec;
	const char *refusal;

	memset(argument, 'x', bytes);
	argument[bytes] = '\0';
	spec_init(&spec, kind, count);
	spec.arguments[1] = argument;
	spec.spec.n_arguments = 2;
	refusal = world_refusal(w, &spec.spec);
	if (refusal)
		assert_non_null(strstr(refusal, "put the rest in a file"));
	return !refusal;
}

/* The largest start that is admitted is one that a node takes; for a gang its peers count too. */
static void what_is_admitted_can_be_started(void **state)
{
	const Godwit__JobKind kinds[] = {TASK, SERVE};
	const uint32_t counts[] = {1, 4};

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct world *w = world_new(64);
		uint32_t bytes = GW_START_BYTES_MAX;
		const Godwit__Body *body;

		(void)world_add(w, "east");
		while (!takes(w, kinds[i], counts[i], bytes))
			bytes -= 256;
		assert_true(bytes > GW_START_BYTES_MAX - 8192);
		body = world_take(w, 0, GODWIT__BODY__KIND_TASK_START);
		assert_non_null(body);
		assert_int_equal(strlen(body->task_start->arguments[1]), bytes);
		assert_true(gw_wire_size(&body->task_start->base) <= GW_START_BYTES_MAX);
		assert_true(body->task_start->n_environment <= GW_ENV_OWN_MAX);
		assert_false(takes(w, SERVE, 1024, bytes));
		world_free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_to_its_end),
		cmocka_unit_test(a_task_learns_who_it_is),
		cmocka_unit_test(limits_are_checked_and_carried),
		cmocka_unit_test(an_array_fills_what_is_free),
		cmocka_unit_test(a_remark_is_no_failure),
		cmocka_unit_test(failures_are_tried_again),
		cmocka_unit_test(an_end_counts_once),
		cmocka_unit_test(a_running_job_is_cancelled),
		cmocka_unit_test(only_its_tenant_sees_a_job),
		cmocka_unit_test(the_same_nonce_is_the_same_job),
		cmocka_unit_test(a_gang_waits_for_all_its_places),
		cmocka_unit_test(a_gang_starts_again_whole),
		cmocka_unit_test(a_time_limit_ends_a_task),
		cmocka_unit_test(a_time_limit_outlives_the_scheduler),
		cmocka_unit_test(priorities_go_first),
		cmocka_unit_test(a_stale_plan_is_not_obeyed),
		cmocka_unit_test(a_small_list_loses_nothing),
		cmocka_unit_test(dry_run_and_explain),
		cmocka_unit_test(what_is_admitted_can_be_started),
		cmocka_unit_test(a_task_learns_its_devices),
		cmocka_unit_test(a_description_that_is_not_taken_is_refused),
		cmocka_unit_test(lists_are_newest_first_after_evictions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
