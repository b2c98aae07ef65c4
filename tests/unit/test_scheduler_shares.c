/* Fair shares between users, and what a plan looks at. Plans are held back and counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "scheduler/place/plan.h"
#include "tests/unit/test_scheduler_fixture.h"

#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define TASK GODWIT__JOB_KIND__JOB_TASK

static struct gw_job_id submit_as(struct world *w, uint64_t user, uint32_t count)
{
	struct spec spec;

	w->user.node.id = gw_id_make(9, 9, user);
	spec_init(&spec, TASK, count);
	return world_submit(w, &spec);
}

/* The job whose task got the place that the end of `attempt` has left. */
static struct gw_job_id next_after(struct world *w, struct gw_attempt_id attempt)
{
	struct gw_attempt_id started;

	world_forget_messages(w);
	world_status(w, 0, attempt, EXITED, 0);
	started = world_started(w, 0);
	return started.job;
}

static void a_flood_does_not_delay_another(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id attempt;
	struct gw_job_id single;

	(void)state;
	(void)world_add(w, "east"); /* four places */
	for (uint32_t i = 0; i < 500; i++)
		(void)submit_as(w, 1, 1);
	(void)submit_as(w, 1, 50000);
	attempt = world_started(w, 0);
	single = submit_as(w, 2, 1);
	assert_true(gw_id_equal(next_after(w, attempt).id, single.id));
	world_free(w);
}

static void places_are_shared_evenly(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id mine;
	struct gw_job_id other;

	(void)state;
	w->hold_plans = true;
	for (uint32_t i = 0; i < 2; i++)
		(void)world_add(w, "east"); /* eight places */
	mine = submit_as(w, 1, 2000);
	other = submit_as(w, 2, 3);
	w->hold_plans = false;
	world_release_plans(w);
	/* The first plan held the first job alone. As its tasks end, the other user's go first. */
	assert_int_equal(world_job(w, mine)->running, 8);
	for (uint32_t i = 0; i < 3; i++) {
		struct gw_attempt_id attempt = {.job = mine, .task_index = i, .attempt = 1};
		uint32_t node = memcmp(world_job(w, mine)->tasks[i]->node.data,
				       w->nodes[0].peer.node.id.bytes, GW_ID_BYTES) != 0;

		world_status(w, node, attempt, EXITED, 0);
	}
	assert_int_equal(world_job(w, other)->running, 3);
	assert_int_equal(world_job(w, mine)->running, 5);
	world_free(w);
}

static uint32_t jobs_planned(const struct world *w)
{
	const struct gw_plan_result *plan;

	assert_int_equal(w->plan_count, 1);
	plan = w->plans[0].result;
	return plan->job_count;
}

/* With a long queue of what does not fit, a new job costs a plan of itself; an end costs one of the
 * head of the queue. */
static void a_new_job_is_planned_by_itself(void **state)
{
	struct world *w = world_new(64);
	struct gw_attempt_id attempt;

	(void)state;
	(void)world_add(w, "east");
	for (uint32_t i = 0; i < 300; i++)
		(void)submit_as(w, 1 + i % 3, 1);
	attempt = world_started(w, 0);
	w->hold_plans = true;
	(void)submit_as(w, 1, 1);
	assert_int_equal(jobs_planned(w), 1);
	(void)submit_as(w, 2, 1);
	assert_int_equal(jobs_planned(w), 1); /* the same plan: one at a time */
	world_status(w, 0, attempt, EXITED, 0);
	w->hold_plans = false;
	world_release_plans(w);
	assert_int_equal(w->plan_count, 0);
	w->hold_plans = true;
	world_status(w, 0, world_started(w, 0), EXITED, 0);
	assert_int_equal(jobs_planned(w), 3 * (GW_GRID_REQUESTS_MAX / 3));
	world_free(w);
}

/* Behind more jobs than a plan looks at, none of which fits, stands one that does; and capacity
 * changes during each plan. The flood is the user's own, then another's. */
static void what_fits_is_found_behind_what_does_not(void **state)
{
	(void)state;
	for (uint64_t user = 1; user <= 2; user++) {
		struct world *w = world_new(64);
		struct gw_attempt_id attempt;
		struct gw_job_id small;
		struct spec spec;
		uint32_t plans = 0;

		(void)world_add(w, "east");
		(void)submit_as(w, 1, 1);
		attempt = world_started(w, 0); /* what is left is too small for the flood */
		spec_init(&spec, TASK, 1);
		spec.resources.memory_bytes = 8 * WORLD_GIB;
		for (uint32_t i = 0; i < 300; i++)
			(void)world_submit(w, &spec);
		w->hold_plans = true;
		world_info(w, 0, 4, 8 * WORLD_GIB);
		small = submit_as(w, user, 1);
		while (world_job(w, small)->running == 0) {
			struct held_plan held = w->plans[0];
			struct gw_event event = {.kind = GW_EVENT_PLANNED,
						 .planned = {held.plan, held.result}};

			assert_int_equal(w->plan_count, 1);
			assert_true(plans++ < 12);
			world_info(w, 0, 4, 8 * WORLD_GIB);
			w->plan_count = 0;
			world_step(w, &event);
		}
		assert_true(user == 1 || plans <= 2);
		world_status(w, 0, attempt, EXITED, 0);
		world_free(w);
	}
}

static void cancel(struct world *w, struct gw_job_id job)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__CancelRequest request = GODWIT__CANCEL_REQUEST__INIT;

	request.job = gw_wire_id(&job.id);
	body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	body.cancel_request = &request;
	(void)world_ask(w, &w->user, &body);
}

/* All that a user waits for goes while the plans look at its head once more; then comes a job. */
static void a_job_after_an_emptied_queue_is_planned(void **state)
{
	struct world *w = world_new(64);
	struct gw_job_id jobs[4];
	struct gw_attempt_id attempt;
	struct held_plan held;
	struct gw_event event;
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	(void)submit_as(w, 1, 1);
	(void)world_started(w, 0); /* what is left is too small for the others */
	w->hold_plans = true;
	spec_init(&spec, TASK, GW_GRID_TASKS_MAX); /* each fills a plan */
	spec.resources.memory_bytes = 8 * WORLD_GIB;
	for (uint32_t i = 0; i < 4; i++)
		jobs[i] = world_submit(w, &spec);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(w->plan_count, 1);
		held = w->plans[0];
		w->plan_count = 0;
		event = (struct gw_event){.kind = GW_EVENT_PLANNED,
					  .planned = {held.plan, held.result}};
		if (i == 1)
			world_info(w, 0, 4, 8 * WORLD_GIB); /* capacity has changed */
		world_step(w, &event);
	}
	for (uint32_t i = 0; i < 4; i++)
		cancel(w, jobs[i]);
	w->hold_plans = false;
	jobs[0] = submit_as(w, 1, 1);
	world_release_plans(w);
	attempt = world_started(w, 0);
	assert_true(gw_id_equal(attempt.job.id, jobs[0].id));
	world_free(w);
}

/* Two large arrays get half of a plan each. */
static void a_plan_is_cut_between_users(void **state)
{
	struct world *w = world_new(64);
	const struct gw_plan_result *plan;

	(void)state;
	(void)world_add(w, "east");
	w->hold_plans = true;
	(void)submit_as(w, 1, 1); /* a plan is under way */
	(void)submit_as(w, 1, 5000);
	(void)submit_as(w, 2, 5000);
	{
		struct held_plan first = w->plans[0];
		struct gw_event event = {.kind = GW_EVENT_PLANNED,
					 .planned = {first.plan, first.result}};

		w->plan_count = 0;
		world_step(w, &event);
	}
	assert_int_equal(jobs_planned(w), 2);
	plan = w->plans[0].result;
	assert_non_null(strstr(plan->jobs[0].reason, "of 512 waiting"));
	assert_non_null(strstr(plan->jobs[1].reason, "of 512 waiting"));
	world_free(w);
}

/* A node may change what it says of itself for ever: what nobody says any more is forgotten. */
static void labels_go_with_their_nodes(void **state)
{
	struct world *w = world_new(64);
	char text[32];
	char *labels[] = {text};
	struct spec spec;

	(void)state;
	(void)world_add(w, "east");
	for (uint32_t i = 0; i < 70000; i++) { /* more than are ever kept */
		Godwit__Body body = GODWIT__BODY__INIT;
		Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;

		(void)snprintf(text, sizeof(text), "turn=%u", i);
		info.cpu_count = 4;
		info.memory_bytes = 8 * WORLD_GIB;
		info.n_labels = 1;
		info.labels = labels;
		info.port_first = 9000;
		info.port_count = 10;
		body.kind_case = GODWIT__BODY__KIND_NODE_INFO;
		body.node_info = &info;
		world_say(w, 0, &body);
		assert_null(world_take(w, 0, GODWIT__BODY__KIND_REFUSAL));
	}
	spec_init(&spec, TASK, 1);
	spec.spec.n_labels = 1;
	spec.spec.labels = labels;
	(void)world_submit(w, &spec);
	(void)world_started(w, 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_flood_does_not_delay_another),
		cmocka_unit_test(places_are_shared_evenly),
		cmocka_unit_test(a_new_job_is_planned_by_itself),
		cmocka_unit_test(what_fits_is_found_behind_what_does_not),
		cmocka_unit_test(a_job_after_an_emptied_queue_is_planned),
		cmocka_unit_test(a_plan_is_cut_between_users),
		cmocka_unit_test(labels_go_with_their_nodes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
