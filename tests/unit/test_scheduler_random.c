/*
 * Seeded random lives: users, agents, cuts, reboots and restarts of the scheduler in any order,
 * with the invariants checked after every step. The agents here keep to the protocol (a lease that
 * ends unheard ends its attempts, a kill leaves a tombstone, an end is told until it is forgotten),
 * so that what they run can be held against what the scheduler believes: never two runs of one task
 * within their leases, and at the end nothing is left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/prng.h"
#include "scheduler/core/check.h"
#include "tests/unit/test_scheduler_fixture.h"

#define NODES 6u
#define RUNS_MAX 4096u
#define JOBS_MAX 64u
#define LEASE_US (30 * GW_US_PER_S)
#define STEPS 1500u
#define TASKS_MAX 6u /* of a job */

struct run {
	struct gw_attempt_id attempt;
	Godwit__AttemptState state;
	uint32_t exit_code;
	uint32_t node;
	bool used;
	bool told; /* of its present state, in this session */
	bool declined;
};

struct life {
	struct world *w;
	struct gw_prng prng;
	struct run runs[RUNS_MAX];
	uint32_t run_count;
	bool linked[NODES];  /* a session, as the world has it */
	bool up_told[NODES]; /* and as the scheduler was told */
	uint64_t renewed_us[NODES];
	struct gw_job_id jobs[JOBS_MAX];
	bool doubles[JOBS_MAX]; /* its policy permits them */
	bool gangs[JOBS_MAX];
	uint32_t job_count;
	uint64_t seed;
	uint32_t kept;     /* originals taken back in place of their replacements, in all lives */
	uint32_t declined; /* likewise */
	bool quiet;        /* no new troubles: everything comes to its end */
};

static bool alive(const struct run *run)
{
	return run->used && (run->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING ||
			     run->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING);
}

static uint32_t below(struct life *life, uint32_t bound)
{
	return (uint32_t)gw_prng_below(&life->prng, bound);
}

static struct run *find(struct life *life, uint32_t node, struct gw_attempt_id attempt)
{
	for (uint32_t i = 0; i < life->run_count; i++) {
		struct run *run = &life->runs[i];

		if (run->used && run->node == node && gw_attempt_id_equal(run->attempt, attempt))
			return run;
	}
	return NULL;
}

static struct run *add(struct life *life, uint32_t node, struct gw_attempt_id attempt)
{
	struct run *run = &life->runs[life->run_count++];

	assert_true(life->run_count < RUNS_MAX);
	*run = (struct run){.attempt = attempt, .node = node, .used = true};
	return run;
}

static bool permits_doubles(const struct life *life, struct gw_job_id job)
{
	for (uint32_t i = 0; i < life->job_count; i++) {
		if (gw_id_equal(life->jobs[i].id, job.id))
			return life->doubles[i];
	}
	return false; /* not noted yet: it has just been submitted */
}

/* One run per lease: no task runs twice at a time, unless its job permits it. */
static void check_doubles(const struct life *life)
{
	for (uint32_t i = 0; i < life->run_count; i++) {
		for (uint32_t k = i + 1; k < life->run_count; k++) {
			const struct run *a = &life->runs[i];
			const struct run *b = &life->runs[k];

			if (alive(a) && alive(b) &&
			    a->attempt.task_index == b->attempt.task_index &&
			    gw_id_equal(a->attempt.job.id, b->attempt.job.id) &&
			    !permits_doubles(life, a->attempt.job))
				fail_msg("seed %llu: a task runs twice: attempts %u and %u",
					 (unsigned long long)life->seed, a->attempt.attempt,
					 b->attempt.attempt);
		}
	}
}

static void end(struct run *run, uint32_t exit_code)
{
	run->state = GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED;
	run->exit_code = exit_code;
	run->told = false;
}

static void obey(struct life *life, uint32_t node, const Godwit__Body *body)
{
	struct gw_attempt_id attempt;
	struct run *run;

	if (body->kind_case == GODWIT__BODY__KIND_TASK_START) {
		assert_true(gw_wire_read_attempt(body->task_start->attempt, &attempt));
		if (find(life, node, attempt))
			return; /* a tombstone, or told twice */
		run = add(life, node, attempt);
		run->state = GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING;
		check_doubles(life);
	} else if (body->kind_case == GODWIT__BODY__KIND_TASK_KILL) {
		assert_true(gw_wire_read_attempt(body->task_kill->attempt, &attempt));
		run = find(life, node, attempt);
		if (!run) {
			run = add(life, node, attempt);
			run->state = GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE;
		} else if (alive(run)) {
			end(run, 143);
		}
	} else if (body->kind_case == GODWIT__BODY__KIND_TASK_FORGET) {
		assert_true(gw_wire_read_attempt(body->task_forget->attempt, &attempt));
		run = find(life, node, attempt);
		if (run && !alive(run))
			run->used = false;
	}
}

static void tell_inventory(struct life *life, uint32_t node)
{
	static Godwit__TaskStatus statuses[RUNS_MAX];
	static Godwit__AttemptRef refs[RUNS_MAX];
	static Godwit__TaskStatus *list[RUNS_MAX];
	size_t count = 0;

	for (uint32_t i = 0; i < life->run_count; i++) {
		struct run *run = &life->runs[i];

		if (!run->used || run->node != node)
			continue;
		godwit__task_status__init(&statuses[count]);
		gw_wire_attempt(&run->attempt, &refs[count]);
		statuses[count].attempt = &refs[count];
		statuses[count].state = run->state;
		statuses[count].exit_code = run->exit_code;
		statuses[count].declined = run->declined;
		list[count] = &statuses[count];
		run->told = true;
		count++;
	}
	world_inventory(life->w, node, list, count);
}

/* The node hears what was said to it, in order. */
static void hear(struct life *life, uint32_t node)
{
	static const Godwit__Body__KindCase kinds[] = {
		GODWIT__BODY__KIND_INVENTORY_REQUEST, GODWIT__BODY__KIND_TASK_START,
		GODWIT__BODY__KIND_TASK_KILL, GODWIT__BODY__KIND_TASK_FORGET};

	for (size_t i = 0; i < GW_ARRAY_COUNT(kinds); i++) {
		const Godwit__Body *body;

		while ((body = world_take(life->w, node, kinds[i]))) {
			if (kinds[i] == GODWIT__BODY__KIND_INVENTORY_REQUEST)
				tell_inventory(life, node);
			else
				obey(life, node, body);
		}
	}
}

static void drop_messages(struct life *life, uint32_t node)
{
	static const Godwit__Body__KindCase kinds[] = {
		GODWIT__BODY__KIND_INVENTORY_REQUEST, GODWIT__BODY__KIND_TASK_START,
		GODWIT__BODY__KIND_TASK_KILL, GODWIT__BODY__KIND_TASK_FORGET};

	for (size_t i = 0; i < GW_ARRAY_COUNT(kinds); i++) {
		while (world_take(life->w, node, kinds[i]))
			;
	}
}

static void connect(struct life *life, uint32_t node)
{
	if (life->linked[node])
		return;
	drop_messages(life, node);
	life->linked[node] = true;
	life->up_told[node] = true;
	world_up(life->w, node, false);
	life->renewed_us[node] = life->w->now.mono_us;
	world_info(life->w, node, 4, 8 * WORLD_GIB);
	hear(life, node);
}

static void cut(struct life *life, uint32_t node)
{
	if (!life->linked[node])
		return;
	life->linked[node] = false;
	drop_messages(life, node);
	if (below(life, 2) == 0) { /* else the scheduler learns it by silence alone */
		world_down(life->w, node);
		life->up_told[node] = false;
	}
}

/* All that ran is gone, and nobody remembers it. */
static void reboot(struct life *life, uint32_t node)
{
	cut(life, node);
	for (uint32_t i = 0; i < life->run_count; i++) {
		if (life->runs[i].node == node)
			life->runs[i].used = false;
	}
}

static void live(struct life *life, uint64_t duration_us)
{
	for (uint64_t passed_us = 0; passed_us < duration_us; passed_us += GW_US_PER_S) {
		world_pass(life->w, GW_US_PER_S);
		for (uint32_t i = 0; i < NODES; i++) {
			if (life->linked[i]) {
				world_heartbeat(life->w, i);
				life->renewed_us[i] = life->w->now.mono_us;
				hear(life, i);
			}
		}
		for (uint32_t i = 0; i < life->run_count; i++) {
			struct run *run = &life->runs[i];

			if (alive(run) &&
			    life->w->now.mono_us - life->renewed_us[run->node] >= LEASE_US)
				end(run, 137);
		}
		world_forget_messages(life->w);
	}
}

static void tell(struct life *life, const struct run *run)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStatus status = GODWIT__TASK_STATUS__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&run->attempt, &ref);
	status.attempt = &ref;
	status.state = run->state;
	status.exit_code = run->exit_code;
	status.declined = run->declined;
	body.kind_case = GODWIT__BODY__KIND_TASK_STATUS;
	body.task_status = &status;
	world_say(life->w, run->node, &body);
}

static void progress(struct life *life)
{
	for (uint32_t i = 0; i < life->run_count; i++) {
		struct run *run = &life->runs[i];

		if (!run->used || (!life->quiet && below(life, 3) > 0))
			continue;
		if (run->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING && !life->quiet &&
		    below(life, 10) == 0) {
			run->state = GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START;
			run->declined = true;
			run->told = false;
		} else if (run->state == GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING) {
			run->state = GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING;
			run->told = false;
		} else if (alive(run) && run->told && (life->quiet || below(life, 4) == 0)) {
			end(run, below(life, 5) == 0);
		}
		if (!life->linked[run->node] || run->told)
			continue;
		run->told = true;
		tell(life, run);
		hear(life, run->node);
	}
	for (uint32_t i = 0; i < NODES; i++) {
		if (life->linked[i])
			hear(life, i);
	}
}

static void choose_policy(struct life *life, struct spec *spec)
{
	Godwit__DisconnectPolicy *policy = &spec->disconnect;

	policy->replace = (Godwit__Replace)below(life, 3);
	if (policy->replace == GODWIT__REPLACE__REPLACE_AT_ONCE || below(life, 2))
		policy->lost_after_us = (6 + below(life, 10)) * GW_US_PER_S;
	if (policy->replace != GODWIT__REPLACE__REPLACE_NEVER &&
	    spec->spec.kind == GODWIT__JOB_KIND__JOB_TASK)
		policy->reconcile = (Godwit__Reconcile)below(life, 3);
}

/* Of each task of a batch, one success is on record at most. */
static void check_results(struct life *life)
{
	struct gw_arena arena;
	uint32_t successes[JOBS_MAX][TASKS_MAX] = {{0}};

	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	for (uint32_t i = 0; i < life->w->record_count; i++) {
		const Godwit__Record *record =
			gw_wire_decode(&godwit__record__descriptor, &arena,
				       life->w->records[i].bytes, life->w->records[i].size);
		const Godwit__TaskChanged *changed =
			record->kind_case == GODWIT__RECORD__KIND_TASK_CHANGED
				? record->task_changed
				: NULL;

		life->kept += record->kind_case == GODWIT__RECORD__KIND_ATTEMPT_KEPT;
		life->declined += changed && changed->change == GODWIT__TASK_CHANGE__TASK_DECLINED;
		for (uint32_t k = 0; changed && k < life->job_count; k++) {
			if (changed->change == GODWIT__TASK_CHANGE__TASK_ENDED &&
			    changed->exit_code == 0 && (!changed->error[0] || changed->remark) &&
			    !life->gangs[k] &&
			    memcmp(changed->attempt->job.data, life->jobs[k].id.bytes,
				   GW_ID_BYTES) == 0)
				successes[k][changed->attempt->task_index]++;
		}
		gw_arena_reset(&arena);
	}
	gw_arena_deinit(&arena);
	for (uint32_t k = 0; k < life->job_count; k++) {
		for (uint32_t i = 0; i < TASKS_MAX; i++) {
			if (successes[k][i] > 1)
				fail_msg("seed %llu: task %u of a job has succeeded %u times",
					 (unsigned long long)life->seed, i, successes[k][i]);
		}
	}
}

static void submit(struct life *life)
{
	char names[3][8] = {"east", "west", "south"};
	char *sites[] = {names[0], names[1], names[2]};
	struct spec spec;

	if (life->job_count == JOBS_MAX)
		return;
	spec_init(&spec, below(life, 3) ? GODWIT__JOB_KIND__JOB_TASK : GODWIT__JOB_KIND__JOB_SERVE,
		  1 + below(life, TASKS_MAX));
	spec.spec.lease_us = LEASE_US;
	spec.spec.attempts_max = 1 + below(life, 4);
	spec.spec.priority = below(life, 3) * 100;
	spec.spec.spread = (Godwit__Spread)below(life, 4);
	if (spec.spec.spread == GODWIT__SPREAD__SPREAD_SITE && spec.spec.task_count > 3)
		spec.spec.task_count = 3;
	spec.resources.cpu_milli = 500 + below(life, 800); /* six fit a site */
	spec.resources.port_count = below(life, 3);
	if (spec.spec.spread <= GODWIT__SPREAD__SPREAD_PACK && below(life, 4) == 0) {
		spec.spec.n_sites = 1;
		spec.spec.sites = &sites[below(life, 3)];
	}
	if (below(life, 6) == 0)
		spec.spec.time_limit_us = 10 * GW_US_PER_S;
	choose_policy(life, &spec);
	life->gangs[life->job_count] = spec.spec.kind == GODWIT__JOB_KIND__JOB_SERVE;
	life->doubles[life->job_count] =
		spec.disconnect.replace == GODWIT__REPLACE__REPLACE_AT_ONCE;
	life->jobs[life->job_count++] = world_submit(life->w, &spec);
}

static void cancel_one(struct life *life)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__CancelRequest request = GODWIT__CANCEL_REQUEST__INIT;

	if (life->job_count == 0)
		return;
	request.job = gw_wire_id(&life->jobs[below(life, life->job_count)].id);
	body.kind_case = GODWIT__BODY__KIND_CANCEL_REQUEST;
	body.cancel_request = &request;
	(void)world_ask(life->w, &life->w->user, &body);
}

static void restart(struct life *life)
{
	uint32_t how = below(life, 3);

	if (how == 0)
		world_restart(life->w);
	else if (how == 1)
		world_restart_snapshot(life->w);
	else
		world_restart_from(life->w, below(life, life->w->record_count + 1));
	for (uint32_t i = 0; i < NODES; i++) {
		life->linked[i] = false;
		life->up_told[i] = false;
	}
}

static void one_thing(struct life *life)
{
	uint32_t node = below(life, NODES);
	uint32_t what = below(life, 100);

	if (what < 12)
		submit(life);
	else if (what < 14)
		cancel_one(life);
	else if (what < 60)
		progress(life);
	else if (what < 63)
		cut(life, node);
	else if (what < 75)
		connect(life, node);
	else if (what < 76)
		reboot(life, node);
	else if (what < 77)
		restart(life);
	else if (what < 80)
		live(life, below(life, 45) * GW_US_PER_S);
	else if (what < 85)
		life->w->hold_plans = !life->w->hold_plans;
	else if (what < 90)
		world_release_plans(life->w);
	else
		live(life, GW_US_PER_S);
}

static void come_to_rest(struct life *life)
{
	struct gw_scheduler_counts counts;

	life->quiet = true;
	life->w->hold_plans = false;
	world_release_plans(life->w);
	for (uint32_t round = 0; round < 400; round++) {
		for (uint32_t i = 0; i < NODES; i++)
			connect(life, i);
		progress(life);
		live(life, GW_US_PER_S);
		gw_scheduler_count(life->w->core, &counts);
		if (counts.tasks_waiting + counts.tasks_held == 0)
			break;
	}
	if (counts.tasks_waiting + counts.tasks_held != 0)
		fail_msg("seed %llu: %u tasks wait and %u hold places for ever",
			 (unsigned long long)life->seed, counts.tasks_waiting, counts.tasks_held);
	assert_int_equal(counts.jobs_active, 0);
	check_results(life);
	for (uint32_t i = 0; i < life->run_count; i++) {
		if (alive(&life->runs[i]))
			fail_msg("seed %llu: an attempt runs that nobody counts on",
				 (unsigned long long)life->seed);
	}
}

static void any_life_keeps_the_invariants(void **state)
{
	struct life *life = calloc(1, sizeof(*life));
	static const char *const sites[] = {"east", "west", "south"};

	(void)state;
	assert_non_null(life);
	for (uint64_t seed = 1; seed <= 40; seed++) {
		uint32_t kept = life->kept;
		uint32_t declined = life->declined;

		memset(life, 0, sizeof(*life));
		life->kept = kept;
		life->declined = declined;
		life->seed = seed;
		gw_prng_init(&life->prng, seed);
		life->w = world_new(seed % 2 ? 64 : 12);
		for (uint32_t i = 0; i < NODES; i++) {
			(void)world_know(life->w, sites[i % 3]);
			connect(life, i);
		}
		for (uint32_t step = 0; step < STEPS; step++)
			one_thing(life);
		come_to_rest(life);
		world_restart_from(life->w, below(life, life->w->record_count + 1));
		world_restart(life->w); /* digests are compared there */
		world_free(life->w);
	}
	assert_true(life->kept > 0); /* else these lives are too tame */
	assert_true(life->declined > 0);
	free(life);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_life_keeps_the_invariants),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
