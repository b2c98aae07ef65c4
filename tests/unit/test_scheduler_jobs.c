/* Transcripts of jobs: accepted, placed, started, ended; retried, cancelled, refused; gangs whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "tests/unit/test_scheduler_fixture.h"

static void runs_to_its_end(void **state)
{
	struct world *w = world_new(64);
	struct spec spec;
	struct gw_job_id job;
	struct gw_attempt_id attempt;
	const Godwit__Body *body;
	const Godwit__JobInfo *info;

	(void)state;
	(void)world_add(w, "east");
	spec_init(&spec, GODWIT__JOB_KIND__JOB_TASK, 1);
	job = world_submit(w, &spec);
	attempt = world_started(w, 0);
	assert_true(gw_id_equal(attempt.job.id, job.id));
	assert_int_equal(attempt.attempt, 1);
	assert_string_equal(world_job(w, job)->state, "running");
	world_status(w, 0, attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING, 0);
	assert_string_equal(world_job(w, job)->tasks[0]->state, "running");
	world_status(w, 0, attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED, 0);
	body = world_take(w, 0, GODWIT__BODY__KIND_TASK_FORGET);
	assert_non_null(body);
	info = world_job(w, job);
	assert_string_equal(info->state, "succeeded");
	assert_string_equal(info->tasks[0]->state, "succeeded");
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_to_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
