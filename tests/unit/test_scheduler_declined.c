/*
 * Starts that a node declines for reasons of its own: no failure of the task's, and no black hole,
 * for the node is given nothing for a while. And where the output of earlier attempts lies.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/limits.h"
#include "scheduler/core/check.h"
#include "tests/unit/test_scheduler_fixture.h"

#define TASK GODWIT__JOB_KIND__JOB_TASK
#define SERVE GODWIT__JOB_KIND__JOB_SERVE

static char silent_keeper[] = "its keeper does not answer";

static void decline(struct world *w, uint32_t node, struct gw_attempt_id attempt)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	status.attempt = &ref;
	status.state = GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START;
	status.declined = true;
	status.error = silent_keeper;
	body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
	body.task_status = &status;
	world_say(w, node, &body);
}

static const Godwit__NodeState *node_of(struct world *w, uint32_t node)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__SitesRequest request = GODWIT__SITES_REQUEST__INIT;
	const Godwit__Body *answer;

	body.kind_case = GODWIT__BODY__KIND_SITES_REQUEST;
	body.sites_request = &request;
	answer = world_ask(w, &w->user, &body);
	assert_non_null(answer);
	return answer->sites_reply->nodes[node];
}

static struct gw_job_id submit(struct world *w, Godwit__JobKind kind, uint32_t count)
{
	struct spec spec;

	spec_init(&spec, kind, count);
	spec.spec.attempts_max = 1;
	return world_submit(w, &spec);
}

static void one_node_declines_and_another_runs_it(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id attempt;
	struct gw_job_id job;
	uint32_t node;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	job = submit(w, TASK, 1);
	node = world_find_start(w, &attempt);
	decline(w, node, attempt);
	assert_non_null(world_take(w, node, GODWIT__BODY__KIND_TASK_FORGET));
	assert_string_equal(node_of(w, node)->state, "draining");
	assert_string_equal(node_of(w, node)->reason, silent_keeper);
	attempt = world_started(w, 1 - node);
	assert_int_equal(attempt.attempt, 2);
	decline(w, node, attempt); /* of another's attempt: nobody's word */
	world_status(w, 1 - node, attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	world_free(w);
}

/* The only node: it is left alone for longer each time, and whatever it says anew ends that. */
static void a_node_that_declines_is_left_alone(void **state)
{
	struct world *w = world_new(64);
	uint64_t waited_us = GW_US_PER_S;
	struct gw_attempt_id attempt;
	const Godwit__JobInfo *info;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	job = submit(w, TASK, 1);
	for (uint32_t i = 1; i <= 20; i++) {
		attempt = world_started(w, 0);
		assert_int_equal(attempt.attempt, i);
		decline(w, 0, attempt);
		info = world_job(w, job);
		assert_string_equal(info->state, "waiting");
		assert_string_equal(info->tasks[0]->error, silent_keeper);
		if (waited_us > GW_US_PER_S) {
			world_live(w, waited_us - GW_US_PER_S, 1);
			assert_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_START));
		}
		world_live(w, GW_US_PER_S, 1);
		waited_us = waited_us < 64 * GW_US_PER_S ? 2 * waited_us : waited_us;
	}
	decline(w, 0, world_started(w, 0));
	assert_non_null(strstr(world_job(w, job)->wait_reason,
			       "; 1 of 1 nodes draining (n0: its keeper does not answer)"));
	world_info(w, 0, 4, 8 * WORLD_GIB);
	attempt = world_started(w, 0);
	assert_int_equal(attempt.attempt, 22);
	world_restart_snapshot(w); /* what it declined is no loss there either */
	world_up(w, 0, false);
	world_info(w, 0, 4, 8 * WORLD_GIB);
	world_inventory(w, 0, NULL, 0);
	attempt = world_started(w, 0);
	assert_int_equal(attempt.attempt, 23);
	world_status(w, 0, attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING, 0);
	world_status(w, 0, attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	(void)submit(w, TASK, 1); /* something ran: the next time is the first again */
	decline(w, 0, world_started(w, 0));
	world_live(w, GW_US_PER_S, 1);
	assert_int_equal(world_started(w, 0).attempt, 2);
	world_free(w);
}

static void a_plain_failure_to_start_counts(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	job = submit(w, TASK, 1);
	world_status(w, 0, world_started(w, 0), GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START, 0);
	assert_string_equal(world_job(w, job)->state, "failed");
	job = submit(w, TASK, 1); /* nor is what runs declined any more */
	for (uint32_t i = 0; i < 2; i++) {
		struct gw_attempt_id attempt = {.job = job, .attempt = 1};

		if (i == 0)
			world_status(w, 0, attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING, 0);
		else
			decline(w, 0, attempt);
	}
	assert_string_equal(world_job(w, job)->state, "failed");
	world_free(w);
}

/* A gang begins again whole; as often as it takes, for nothing in it has failed or was lost. */
static void a_declined_gang_begins_again(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	job = submit(w, SERVE, 3);
	for (uint32_t round = 1; round <= 20; round++) {
		struct gw_attempt_id attempts[3];

		for (uint32_t i = 0; i < 3; i++) {
			attempts[i] = world_started(w, 0);
			assert_int_equal(attempts[i].attempt, round);
		}
		world_status(w, 0, attempts[0], GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING, 0);
		decline(w, 0, attempts[1]);
		assert_non_null(world_take(w, 0, GODWIT__BODY__KIND_TASK_KILL));
		assert_string_equal(world_job(w, job)->state, "running");
		world_status(w, 0, attempts[0], GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 143);
		decline(w, 0, attempts[2]); /* it was on its way too */
		assert_string_equal(world_job(w, job)->state, "waiting");
		world_forget_messages(w);
		world_info(w, 0, 4, 8 * WORLD_GIB);
	}
	for (uint32_t i = 0; i < 3; i++)
		world_status(w, 0, world_started(w, 0), GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 0);
	assert_string_equal(world_job(w, job)->state, "succeeded");
	world_free(w);
}

static void a_cancelled_one_may_be_declined(void **state)
{
	struct world *w = world_new(64);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__CancelRequest request = GODWIT__CANCEL_REQUEST__INIT;
	struct gw_attempt_id attempt;
	struct gw_job_id job;

	(void)state;
	(void)world_add(w, "east");
	job = submit(w, TASK, 1);
	attempt = world_started(w, 0);
	request.job = gw_wire_id(&job.id);
	body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	body.cancel_request = &request;
	(void)world_ask(w, &w->user, &body);
	decline(w, 0, attempt);
	assert_string_equal(world_job(w, job)->state, "cancelled");
	world_free(w);
}

/* The answer that comes at once, or NULL: the read was passed on to a node. */
static const Godwit__LogData *read_log(struct world *w, struct gw_job_id job, uint32_t number)
{
	struct gw_attempt_id attempt = {.job = job, .attempt = number};
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__LogRead read = GODWIT__LOG_READ__INIT;
	Godwit__AttemptRef ref;
	const Godwit__Body *answer;

	gw_wire_attempt(&attempt, &ref);
	read.attempt = &ref;
	read.stream = 1;
	body.kind_case = GODWIT__BODY__KIND_LOG_READ;
	body.log_read = &read;
	answer = world_ask(w, &w->user, &body);
	return answer ? answer->log_data : NULL;
}

static void expect_read(struct world *w, uint32_t node, struct gw_job_id job, uint32_t asked,
			uint32_t expected)
{
	const Godwit__Body *body;

	assert_null(read_log(w, job, asked));
	body = world_take(w, node, GODWIT__BODY__KIND_LOG_READ);
	assert_non_null(body);
	assert_int_equal(body->log_read->attempt->attempt, expected);
}

static void output_of_earlier_attempts_is_found(void **state)
{
	struct world *w = world_new(64);
	uint32_t nodes[13] = {0};
	struct gw_attempt_id attempt;
	struct gw_job_id job;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	(void)world_add(w, "west");
	spec_init(&spec, TASK, 1);
	spec.spec.attempts_max = 20;
	job = world_submit(w, &spec);
	for (uint32_t i = 1; i <= 12; i++) {
		nodes[i] = world_find_start(w, &attempt);
		assert_int_equal(attempt.attempt, i);
		if (i == 11) {
			decline(w, nodes[i], attempt);
			world_info(w, 1 - nodes[i], 4, 8 * WORLD_GIB);
		} else if (i < 12) {
			world_info(w, nodes[i], i % 2, 8 * WORLD_GIB); /* to and fro */
			world_info(w, 1 - nodes[i], 4, 8 * WORLD_GIB);
			world_status(w, nodes[i], attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED,
				     1);
		}
	}
	for (uint32_t round = 0; round < 2; round++) {
		expect_read(w, nodes[12], job, 0, 12);
		for (uint32_t i = 3; i <= 10; i++) /* the last eight that were begun */
			expect_read(w, nodes[i], job, i, i);
		assert_non_null(strstr(read_log(w, job, 2)->error, "not known any more"));
		assert_non_null(strstr(read_log(w, job, 11)->error, "not begun"));
		assert_non_null(strstr(read_log(w, job, 13)->error, "has not had an attempt 13"));
		if (round == 0)
			world_restart_snapshot(w);
		for (uint32_t i = 0; i < 2; i++)
			world_up(w, i, false);
		world_forget_messages(w);
	}
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_node_declines_and_another_runs_it),
		cmocka_unit_test(a_node_that_declines_is_left_alone),
		cmocka_unit_test(a_plain_failure_to_start_counts),
		cmocka_unit_test(a_declined_gang_begins_again),
		cmocka_unit_test(a_cancelled_one_may_be_declined),
		cmocka_unit_test(output_of_earlier_attempts_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
