/*
 * Two witnesses: the journal (what the scheduler decided, once it is durable) and the keepers (what
 * really ran). The cores are asked as well, but never believed alone.
 */
#include "bench/sim/check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/check.h"
#include "bench/sim/grid.h"
#include "bench/sim/transcript.h"
#include "proto/base/check.h"
#include "proto/wire.h"
#include "scheduler/core/check.h"

#define TASKS_MAX 1000000u
#define JOBS_MAX 200000u
#define AGENT_CHECK_EVERY 16u    /* of an agent's steps */
#define REPLAY_RECORDS_MAX 1000u /* a longer journal is replayed at every REPLAY_EVERY-th scan */
#define REPLAY_EVERY 12u

void sim_check_init(struct sim_check *check, struct sim_grid *grid)
{
	*check = (struct sim_check){.grid = grid};
	gw_table_init(&check->tasks, sizeof(((struct sim_task *)0)->key), TASKS_MAX, 3);
	gw_table_init(&check->jobs, sizeof(struct gw_job_id), JOBS_MAX, 4);
	gw_arena_init(&check->arena, GW_DECODE_BYTES_MAX);
}

void sim_check_deinit(struct sim_check *check)
{
	for (uint32_t i = 0; i < check->tasks.count; i++)
		free(check->tasks.entries[i]);
	for (uint32_t i = 0; i < check->jobs.count; i++)
		free(check->jobs.entries[i]);
	gw_table_deinit(&check->tasks);
	gw_table_deinit(&check->jobs);
	gw_arena_deinit(&check->arena);
}

static void make_key(struct gw_job_id job, uint32_t index, uint8_t *ret_key)
{
	memcpy(ret_key, &job, sizeof(job));
	memcpy(ret_key + sizeof(job), &index, sizeof(index));
}

static struct sim_task *find_task(const struct sim_check *check, struct gw_job_id job,
				  uint32_t index)
{
	uint8_t key[sizeof(((struct sim_task *)0)->key)];

	make_key(job, index, key);
	return gw_table_find(&check->tasks, key);
}

const struct sim_task *sim_check_task(const struct sim_check *check, struct gw_job_id job,
				      uint32_t index)
{
	return find_task(check, job, index);
}

static struct sim_task *need_task(struct sim_check *check, struct gw_job_id job, uint32_t index)
{
	struct sim_task *task = find_task(check, job, index);

	if (task)
		return task;
	task = calloc(1, sizeof(*task));
	CHECK(task);
	make_key(job, index, task->key);
	CHECK(gw_table_add(&check->tasks, task) == 0);
	return task;
}

static void read_accepted(struct sim_check *check, uint64_t seq,
			  const Godwit__JobAccepted *accepted)
{
	struct sim_job *job = calloc(1, sizeof(*job));

	CHECK(job);
	if (!gw_wire_read_id(accepted->job, &job->id.id) || !accepted->spec ||
	    gw_table_add(&check->jobs, job) < 0) {
		sim_check_broken(check, "a job is accepted twice, or without an id");
		free(job);
		return;
	}
	job->seq = seq;
	job->task_count = accepted->spec->task_count;
	check->unplaced += job->task_count;
	if (check->unplaced > check->unplaced_max)
		sim_check_broken(check,
				 "a job is accepted, and %" PRIu32
				 " of its user's tasks wait; %" PRIu32 " may",
				 check->unplaced, check->unplaced_max);
	job->at_once = accepted->spec->disconnect &&
		       accepted->spec->disconnect->replace == GODWIT__REPLACE__REPLACE_AT_ONCE;
	job->gang = accepted->spec->kind == GODWIT__JOB_KIND__JOB_SERVE;
}

/* It waits for its first place no more. */
static void settle(struct sim_check *check, struct sim_task *task)
{
	if (task->settled)
		return;
	task->settled = true;
	check->unplaced--;
}

static void read_cancelled(struct sim_check *check, const Godwit__JobCancelled *cancelled)
{
	const struct sim_job *job;
	struct gw_job_id id;

	if (!gw_wire_read_id(cancelled->job, &id.id) || !(job = gw_table_find(&check->jobs, &id))) {
		sim_check_broken(check, "a job is cancelled that was never accepted");
		return;
	}
	for (uint32_t i = 0; i < job->task_count; i++)
		settle(check, need_task(check, id, i));
}

/* What its keeper keeps of it; NULL: it is not where it was placed last. */
static const struct sim_attempt *kept(const struct sim_check *check, const struct sim_task *task,
				      const struct gw_attempt_id *id)
{
	const struct sim_agent *agent = sim_grid_agent(check->grid, task->node);

	if (!agent || id->attempt != task->attempt_placed)
		return NULL;
	return gw_table_find(&agent->keeper.attempts, id);
}

/* An end counts once, with what its keeper measured. */
static void read_changed(struct sim_check *check, const Godwit__TaskChanged *changed)
{
	const struct sim_attempt *attempt;
	struct gw_attempt_id id;
	struct sim_task *task;
	uint64_t measured_us;

	if (!gw_wire_read_attempt(changed->attempt, &id)) {
		sim_check_broken(check, "an attempt changes that has no name");
		return;
	}
	if (changed->change == GODWIT__TASK_CHANGE__TASK_STARTED)
		return;
	if (changed->change == GODWIT__TASK_CHANGE__TASK_LOST)
		check->grid->world.coverage.seen[SIM_SAW_ATTEMPT_LOST]++;
	task = need_task(check, id.job, id.task_index);
	settle(check, task);
	task->usage_us = changed->usage ? changed->usage->wall_us : 0;
	if (changed->change != GODWIT__TASK_CHANGE__TASK_ENDED)
		return;
	if (id.attempt > 0 && id.attempt == task->attempt_ended)
		sim_check_broken(check, "the end of an attempt is recorded twice");
	task->attempt_ended = id.attempt;
	task->usage_us = changed->usage ? changed->usage->wall_us : 0;
	attempt = kept(check, task, &id);
	if (!attempt || !attempt->started_us ||
	    attempt->state != GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED)
		return;
	check->ends_metered++;
	measured_us = attempt->ended_us - attempt->started_us;
	if (task->usage_us != measured_us)
		sim_check_broken(check,
				 "an attempt that ran for %" PRIu64 " us is recorded with %" PRIu64,
				 measured_us, task->usage_us);
}

/* The keeper of that node has the attempt, in whatever state. */
static bool held_there(const struct sim_check *check, struct gw_job_id job, uint32_t task_index,
		       uint32_t attempt, struct gw_node_id node)
{
	const struct gw_attempt_id id = {.job = job, .task_index = task_index, .attempt = attempt};
	const struct sim_agent *agent = sim_grid_agent(check->grid, node);

	return agent && gw_table_find(&agent->keeper.attempts, &id);
}

static void read_placed(struct sim_check *check, uint64_t seq, const Godwit__TaskPlaced *placed)
{
	const struct sim_job *job;
	struct gw_job_id id;

	if (!gw_wire_read_id(placed->job, &id.id) || !(job = gw_table_find(&check->jobs, &id))) {
		sim_check_broken(check, "a task of a job is placed that was never accepted");
		return;
	}
	if (job->gang && placed->n_tasks != job->task_count)
		sim_check_broken(check, "a gang of %" PRIu32 " is placed with %zu tasks",
				 job->task_count, placed->n_tasks);
	for (size_t i = 0; i < placed->n_tasks; i++) {
		const Godwit__TaskPlaced__Placed *place = placed->tasks[i];
		struct sim_task *task = need_task(check, id, place->task_index);

		struct gw_node_id node;

		if (!gw_wire_read_id(place->node, &node.id) || !sim_grid_agent(check->grid, node))
			sim_check_broken(check, "a task is placed on a node that does not exist");
		/* It was given up, and found after all: where it was. */
		if (place->attempt <= task->attempt_newest &&
		    !held_there(check, id, place->task_index, place->attempt, node))
			sim_check_broken(check,
					 "attempt %" PRIu32 " of a task is placed after attempt "
					 "%" PRIu32 ", and is not there",
					 place->attempt, task->attempt_newest);
		settle(check, task);
		task->seq = seq;
		task->node = node;
		task->attempt_placed = place->attempt;
		if (place->attempt > task->attempt_newest)
			task->attempt_newest = place->attempt;
	}
}

static void read_lost(struct sim_check *check, const Godwit__RecordsLost *lost)
{
	sim_check_broken(check, "records are said to be lost, and none were: %s", lost->text);
	check->loss_reported = true;
	check->grid->world.coverage.seen[SIM_SAW_LOSS_REPORTED]++;
}

void sim_check_record(struct sim_check *check, uint64_t seq, const uint8_t *bytes, size_t size)
{
	const Godwit__Record *record;

	gw_arena_reset(&check->arena);
	record = gw_wire_decode(&godwit__record__descriptor, &check->arena, bytes, size);
	if (!record) {
		sim_world_fail(&check->grid->world, "record %" PRIu64 " is no record", seq);
		return;
	}
	sim_say_record(check->grid, record);
	if (record->kind_case == GODWIT__RECORD__KIND_JOB_ACCEPTED)
		read_accepted(check, seq, record->job_accepted);
	else if (record->kind_case == GODWIT__RECORD__KIND_TASK_PLACED)
		read_placed(check, seq, record->task_placed);
	else if (record->kind_case == GODWIT__RECORD__KIND_TASK_CHANGED)
		read_changed(check, record->task_changed);
	else if (record->kind_case == GODWIT__RECORD__KIND_RECORDS_LOST)
		read_lost(check, record->records_lost);
	else if (record->kind_case == GODWIT__RECORD__KIND_JOB_CANCELLED)
		read_cancelled(check, record->job_cancelled);
}

/* Had an agent or its keeper seen what the lost records said? Then the loss can be found. */
static bool evidence(const struct sim_check *check, const struct sim_agent *agent, uint64_t seq)
{
	for (uint32_t i = 0; i < agent->keeper.attempts.count; i++) {
		const struct sim_attempt *attempt = agent->keeper.attempts.entries[i];
		const struct sim_job *job = gw_table_find(&check->jobs, &attempt->id.job);
		const struct sim_task *task =
			find_task(check, attempt->id.job, attempt->id.task_index);

		if ((job && job->seq > seq) ||
		    (task && task->seq > seq && task->attempt_placed == attempt->id.attempt))
			return true;
	}
	return false;
}

void sim_check_lost(struct sim_check *check, uint64_t seq)
{
	struct sim_grid *grid = check->grid;

	check->history_lost = true;
	for (uint32_t i = 0; i < grid->agent_count; i++)
		grid->agents[i].saw_lost |= evidence(check, &grid->agents[i], seq);
}

static void check_room(struct sim_check *check, const struct sim_keeper *keeper)
{
	const struct sim_scenario *scenario = check->grid->scenario;

	if (keeper->cpu_milli_used > scenario->cpus * 1000)
		sim_check_broken(check,
				 "%s is oversold: its tasks use %" PRIu32 " of %" PRIu64
				 " thousandths of a CPU",
				 keeper->host->name, keeper->cpu_milli_used, scenario->cpus * 1000);
	if (keeper->memory_bytes_used > scenario->memory_bytes)
		sim_check_broken(
			check,
			"%s is oversold: its tasks use %" PRIu64 " of %" PRIu64 " bytes of memory",
			keeper->host->name, keeper->memory_bytes_used, scenario->memory_bytes);
	if (keeper->device_used > scenario->devices)
		sim_check_broken(check,
				 "%s is oversold: its tasks use %" PRIu32 " of %" PRIu64 " devices",
				 keeper->host->name, keeper->device_used, scenario->devices);
}

void sim_check_began(struct sim_keeper *keeper, const struct sim_attempt *attempt)
{
	struct sim_agent *agent = keeper->host->owner;
	struct sim_check *check = &agent->grid->check;
	struct sim_world *world = &check->grid->world;
	struct gw_attempt_id id = attempt->id;
	const struct sim_job *job;
	struct sim_task *task;
	char text[GW_ID_TEXT_BYTES + 24];
	bool twice; /* its policy lets it run on two nodes */

	check->began_count++;
	sim_format_attempt(&id, text);
	sim_trace(world, id.attempt);
	sim_say(world, keeper->host->name, "%s begins to run", text);
	task = need_task(check, id.job, id.task_index);
	if (id.attempt > task->attempt_newest)
		sim_check_broken(check, "%s runs on %s, but no durable record has placed it", text,
				 keeper->host->name);
	else if (id.attempt == task->attempt_placed &&
		 !gw_id_equal(task->node.id, keeper->host->peer.node.id))
		sim_check_broken(check, "%s runs on %s, but was placed elsewhere", text,
				 keeper->host->name);
	job = gw_table_find(&check->jobs, &id.job);
	twice = job && job->at_once;
	if (task->running_count > 0 && !twice)
		sim_check_broken(check,
				 "%s begins while attempt %" PRIu32 " of the same task still runs",
				 text, task->attempt_began);
	if (id.attempt <= task->attempt_began && !twice)
		sim_check_broken(check, "%s begins after attempt %" PRIu32 " of the same task",
				 text, task->attempt_began);
	if (check->grid->scenario->once && task->began_count > 0)
		sim_check_broken(check, "%s is a second run of a task that may run only once",
				 text);
	if (task->began_count > 0) {
		check->again_count++;
		check->grid->world.coverage.seen[SIM_SAW_TASK_AGAIN]++;
	}
	task->attempt_began = id.attempt;
	task->running_count++;
	task->began_count++;
	check_room(check, keeper);
}

void sim_check_ended(struct sim_keeper *keeper, const struct sim_attempt *attempt)
{
	struct sim_agent *agent = keeper->host->owner;
	struct sim_check *check = &agent->grid->check;
	struct sim_task *task = need_task(check, attempt->id.job, attempt->id.task_index);
	bool good = attempt->state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED &&
		    attempt->signal == 0 && attempt->exit_code == 0;

	if (attempt->started_us)
		task->running_count--;
	if (good)
		task->succeeded = true;
	else
		task->failed = true;
}

/* What users are told of an ended attempt's use is what was recorded. */
static void audit(struct sim_check *check, const Godwit__JobInfo *job)
{
	struct gw_job_id id;

	if (!gw_wire_read_id(job->job, &id.id))
		sim_check_broken(check, "a job is told without an id");
	for (size_t i = 0; i < job->n_tasks; i++) {
		const Godwit__TaskInfo *info = job->tasks[i];
		const struct sim_task *task = find_task(check, id, info->task_index);

		if (!task || info->attempt != task->attempt_ended || !info->usage)
			continue;
		check->ends_audited++;
		if (info->usage->wall_us != task->usage_us)
			sim_check_broken(check,
					 "a user is told %" PRIu64 " us of use for attempt %" PRIu32
					 " of task %" PRIu32 " of %s, and %" PRIu64 " is on record",
					 info->usage->wall_us, info->attempt, info->task_index,
					 job->name, task->usage_us);
	}
}

void sim_check_reply(struct sim_check *check, const uint8_t *bytes, size_t size)
{
	const Godwit__Body *body;
	struct gw_job_id id;

	gw_arena_reset(&check->arena);
	body = gw_wire_decode_body(&check->arena, bytes, size);
	if (!body)
		return; /* the client says so */
	if (check->auditing && body->kind_case == GODWIT__BODY__KIND_JOBS_REPLY) {
		for (size_t i = 0; i < body->jobs_reply->n_jobs; i++)
			audit(check, body->jobs_reply->jobs[i]);
	}
	if (body->kind_case == GODWIT__BODY__KIND_SUBMIT_REPLY &&
	    gw_wire_read_id(body->submit_reply->job, &id.id) && !gw_table_find(&check->jobs, &id))
		sim_check_broken(check, "a job is acknowledged before it is durable");
}

void sim_check_agent(struct sim_check *check, const struct sim_host *host)
{
	char text[256];

	if (++check->agent_steps % AGENT_CHECK_EVERY != 0)
		return;
	if (!gw_agent_check(host->node, text, sizeof(text)))
		sim_world_fail(host->world, "%s: %s", host->name, text);
}

void sim_check_scan(struct sim_check *check)
{
	struct sim_grid *grid = check->grid;
	char text[GW_CHECK_TEXT_BYTES];

	check->scan_count++;
	if (grid->scheduler.node && !gw_scheduler_check(grid->scheduler.node, text))
		sim_world_fail(&grid->world, "scheduler: %s", text);
	if (grid->scheduler.journal.last_seq <= REPLAY_RECORDS_MAX ||
	    check->scan_count % REPLAY_EVERY == 0)
		sim_host_check_replay(&grid->scheduler);
	for (uint32_t i = 0; i < grid->agent_count; i++) {
		struct sim_agent *agent = &grid->agents[i];

		if (agent->host.node && !gw_agent_check(agent->host.node, text, sizeof(text)))
			sim_world_fail(&grid->world, "%s: %s", agent->host.name, text);
		check_room(check, &agent->keeper);
	}
}

static void check_keeper_rest(struct sim_check *check, const struct sim_agent *agent)
{
	char text[GW_ID_TEXT_BYTES + 24];
	const struct sim_attempt *attempt;

	if (agent->keeper.running_count > 0)
		sim_check_broken(check, "%s still runs %" PRIu32 " tasks that no one waits for",
				 agent->host.name, agent->keeper.running_count);
	if (agent->keeper.attempts.count == 0)
		return;
	attempt = agent->keeper.attempts.entries[0];
	sim_format_attempt(&attempt->id, text);
	sim_check_broken(check, "%s never forgets %s, though its end should be known",
			 agent->host.name, text);
}

/* What was lost with the only copy of its records, and could be found, is on record. */
static void check_losses(struct sim_check *check)
{
	const struct sim_grid *grid = check->grid;

	for (uint32_t i = 0; i < grid->agent_count && !check->loss_reported; i++) {
		const struct sim_agent *agent = &grid->agents[i];

		if (agent->saw_lost && !agent->host.refused)
			sim_world_fail(&check->grid->world,
				       "records of the scheduler were lost, %s knows attempts of "
				       "them, and nobody says so",
				       agent->host.name);
	}
}

/* The scheduler's own word, and what it should be now that nothing is left to do. */
static void check_scheduler_rest(struct sim_check *check, uint32_t refused)
{
	struct sim_grid *grid = check->grid;
	struct gw_scheduler_counts counts;

	if (!grid->scheduler.node) {
		sim_world_fail(&grid->world, "the scheduler did not come back");
		return;
	}
	sim_host_check_replay(&grid->scheduler);
	gw_scheduler_count(grid->scheduler.node, &counts);
	if (counts.nodes_up + refused != grid->agent_count)
		sim_world_fail(&grid->world, "only %" PRIu32 " of %" PRIu32 " nodes came back",
			       counts.nodes_up, grid->agent_count - refused);
	if (refused == 0 && (counts.tasks_held > 0 || counts.tasks_waiting > 0))
		sim_check_broken(check,
				 "the scheduler still counts %" PRIu32
				 " tasks that hold a place and %" PRIu32 " that wait",
				 counts.tasks_held, counts.tasks_waiting);
}

void sim_check_rest(struct sim_check *check)
{
	struct sim_grid *grid = check->grid;
	char text[400];
	const char *undone = sim_client_undone(&grid->client, text, sizeof(text));
	uint32_t refused = sim_grid_refused(grid);

	sim_check_scan(check);
	/* A scheduler that refuses to start has given its answer. */
	if (grid->scheduler.refused)
		return;
	/* The tasks of a node that stays away wait for the ends of their leases. */
	if (undone && refused == 0)
		sim_check_broken(check, "not settled %llu s after the last fault: %s",
				 grid->scenario->settle_us / GW_US_PER_S, undone);
	check_scheduler_rest(check, refused);
	check_losses(check);
	check->auditing = true;
	sim_client_audit(&grid->client);
	for (uint32_t i = 0; i < grid->agent_count; i++) {
		if (!grid->agents[i].host.refused)
			check_keeper_rest(check, &grid->agents[i]);
	}
	for (uint32_t i = 0; i < check->tasks.count && refused == 0; i++) {
		const struct sim_task *task = check->tasks.entries[i];

		if (task->running_count > 0)
			sim_check_broken(check, "a process runs that no keeper knows");
	}
}
