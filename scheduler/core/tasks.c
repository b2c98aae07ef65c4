/*
 * Tasks: their life cycle, the commands that follow from it, and what agents say of attempts.
 * Commands (start, kill) are not queued as such: a task that has one to give stands in the due
 * list, and what is said is read from its state when there is room to say it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define TO(state) (1u << (state))

static const struct {
	const char *name;
	uint32_t next; /* bit set */
	const char *invariant;
} states[TASK_STATES] = {
	[TASK_WAITING] = {"waiting",
			  TO(TASK_PLACED) | TO(TASK_SUCCEEDED) | TO(TASK_FAILED) |
				  TO(TASK_CANCELLED),
			  "no attempt holds a place; it stands in its job's waiting list"},
	[TASK_PLACED] = {"placed",
			 TO(TASK_RUNNING) | TO(TASK_WAITING) | TO(TASK_SUCCEEDED) |
				 TO(TASK_FAILED) | TO(TASK_CANCELLED),
			 "its attempt's resources are on its node's account"},
	[TASK_RUNNING] = {"running",
			  TO(TASK_WAITING) | TO(TASK_SUCCEEDED) | TO(TASK_FAILED) |
				  TO(TASK_CANCELLED),
			  "as placed, and the node has said that it runs"},
	[TASK_SUCCEEDED] = {"succeeded", TO(TASK_WAITING),
			    "an attempt ended with exit 0; back to waiting only if its gang starts "
			    "again"},
	[TASK_FAILED] = {"failed", 0, "its last attempt failed and no try is left"},
	[TASK_CANCELLED] = {"cancelled", 0, "its job was cancelled, or its gang has failed"},
};

const char *task_state_name(enum task_state state)
{
	return states[state].name;
}

bool task_may_follow(enum task_state from, enum task_state to)
{
	return (states[from].next & TO(to)) != 0;
}

const char *task_invariant(enum task_state state)
{
	return states[state].invariant;
}

bool task_held(const struct task *task)
{
	return task->state == TASK_PLACED || task->state == TASK_RUNNING;
}

bool task_kill_wanted(const struct task *task)
{
	const struct job *job = task->job;

	return task_held(task) &&
	       (job->cancelled || job->doomed || job->restarting || task->over_time);
}

struct gw_attempt_id task_attempt(const struct task *task)
{
	return (struct gw_attempt_id){
		.job = task->job->id, .task_index = task->index, .attempt = task->attempt};
}

struct task *task_find(const struct scheduler *s, struct gw_attempt_id attempt)
{
	struct job *job = job_find(s, attempt.job);

	return job && attempt.task_index < job->task_count ? &job->tasks[attempt.task_index] : NULL;
}

static void list_remove(struct task **first, struct task **last, struct task *task)
{
	if (task->prev)
		task->prev->next = task->next;
	else
		*first = task->next;
	if (task->next)
		task->next->prev = task->prev;
	else if (last)
		*last = task->prev;
	task->next = NULL;
	task->prev = NULL;
}

static void leave(struct task *task)
{
	struct job *job = task->job;

	if (task->state == TASK_WAITING) {
		list_remove(&job->waiting, &job->waiting_last, task);
		job->share->user->waiting--;
	} else if (task_held(task)) {
		list_remove(&task->node->tasks, NULL, task);
		node_account(task->node, task, false);
		share_account(job->share, &job->need, false);
	}
	job->counts[task->state]--;
}

void task_link_waiting(struct task *task)
{
	struct job *job = task->job;

	task->prev = job->waiting_last;
	if (job->waiting_last)
		job->waiting_last->next = task;
	else
		job->waiting = task;
	job->waiting_last = task;
}

void task_link_held(struct task *task)
{
	task->next = task->node->tasks;
	if (task->next)
		task->next->prev = task;
	task->node->tasks = task;
	node_account(task->node, task, true);
	share_account(task->job->share, &task->job->need, true);
}

void task_note_usage(struct task *task, const Godwit__Usage *usage)
{
	task->usage.wall_us = usage->wall_us;
	task->usage.cpu_user_us = usage->cpu_user_us;
	task->usage.cpu_system_us = usage->cpu_system_us;
	task->usage.memory_peak_bytes = usage->memory_peak_bytes;
	task->usage.output_bytes = usage->output_bytes;
}

void task_usage(const struct task *task, Godwit__Usage *ret_usage)
{
	godwit__usage__init(ret_usage);
	ret_usage->wall_us = task->usage.wall_us;
	ret_usage->cpu_user_us = task->usage.cpu_user_us;
	ret_usage->cpu_system_us = task->usage.cpu_system_us;
	ret_usage->memory_peak_bytes = task->usage.memory_peak_bytes;
	ret_usage->output_bytes = task->usage.output_bytes;
}

static void enter(struct task *task)
{
	struct job *job = task->job;

	job->counts[task->state]++;
	if (task->state == TASK_WAITING) {
		task_link_waiting(task);
		job->share->user->waiting++;
	} else if (task_held(task)) {
		task_link_held(task);
	}
}

void task_set_state(struct task *task, enum task_state state)
{
	CHECK(task_may_follow((enum task_state)task->state, state));
	leave(task);
	task->state = (uint8_t)state;
	enter(task);
}

void task_due(struct scheduler *s, struct task *task)
{
	if (task->due)
		return;
	task->due = true;
	task->due_next = NULL;
	if (s->due_last)
		s->due_last->due_next = task;
	else
		s->due_first = task;
	s->due_last = task;
}

void tasks_due_kills(struct scheduler *s, struct job *job)
{
	if (job->counts[TASK_PLACED] + job->counts[TASK_RUNNING] == 0)
		return;
	for (uint32_t i = 0; i < job->task_count; i++) {
		if (task_kill_wanted(&job->tasks[i]))
			task_due(s, &job->tasks[i]);
	}
}

static void kill_send(struct scheduler *s, struct node *node, struct gw_attempt_id attempt,
		      uint64_t grace_us, const char *reason)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskKill kill = GODWIT__TASK_KILL__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	kill.attempt = &ref;
	kill.grace_us = grace_us;
	kill.reason = out_text(s, "%s", reason);
	body.kind_case = GODWIT__BODY__KIND_TASK_KILL;
	body.task_kill = &kill;
	out_send(s, node, &body);
}

static const char *kill_reason(const struct task *task)
{
	if (task->job->cancelled)
		return "the job was cancelled";
	if (task->over_time)
		return "the job's time limit was reached";
	return "another task of its gang ended";
}

/*
 * Says what a due task has to say, if its node can hear it; otherwise the inventory, which begins
 * the node's next session, brings it up again. A task whose start has not left and that is to be
 * killed is lost at once: nobody can run it.
 */
static void run_due(struct scheduler *s, struct task *task)
{
	struct node *node = task->node;

	if (!task_held(task))
		return;
	if (task_kill_wanted(task) && (node->silent || !node->session))
		lease_check(s, node); /* the attempt may be due to be given up, or sooner */
	if (!task_held(task) || !node->session || !node->reconciled)
		return;
	if (task_kill_wanted(task)) {
		if (task->sent)
			kill_send(s, node, task_attempt(task), task->job->grace_us,
				  kill_reason(task));
		else
			task_lost(s, task, "it was ended before it was started");
	} else if (!task->sent && node->heartbeat_mono_us != 0) {
		start_send(s, task);
		task->sent = true;
	}
}

void tasks_run_due(struct scheduler *s)
{
	while (s->due_first && s->error == 0 && out_room(s)) {
		struct task *task = s->due_first;

		s->due_first = task->due_next;
		if (!s->due_first)
			s->due_last = NULL;
		task->due = false;
		task->due_next = NULL;
		run_due(s, task);
		/* Its messages are encoded in the step's arena, and a large job has many. */
		gw_arena_reset(&s->arena);
	}
}

void task_timer(struct scheduler *s, struct task *task)
{
	if (task->state != TASK_RUNNING || task->over_time)
		return;
	task->over_time = true;
	task_due(s, task);
}

static void timer_begin(struct scheduler *s, struct task *task)
{
	uint64_t limit_us = task->job->time_limit_us;
	int64_t ran_us = s->now.wall_us - task->started_wall_us;

	if (limit_us == 0)
		return;
	if (ran_us > 0)
		limit_us -= limit_us < (uint64_t)ran_us ? limit_us : (uint64_t)ran_us;
	timer_set(s, &task->timer, s->now.mono_us + limit_us);
}

void task_timer_resume(struct scheduler *s, struct task *task)
{
	if (task->state == TASK_RUNNING)
		timer_begin(s, task);
}

void task_after(struct scheduler *s, struct task *task)
{
	struct job *job = task->job;

	if (task->state == TASK_RUNNING) {
		timer_begin(s, task);
	} else {
		timer_clear(s, &task->timer);
		fair_wake(s);
	}
	if (!task_held(task))
		task->over_time = false;
	if (s->strays.count > 0)
		strays_of_task(s, task);
	if (job->cancelled || job->doomed || job->restarting)
		tasks_due_kills(s, job);
}

void task_lost(struct scheduler *s, struct task *task, const char *why)
{
	apply_task_changed(s, task_attempt(task), GODWIT__TASK_CHANGE__TASK_LOST, NULL, why);
	task_after(s, task);
}

void task_forget(struct scheduler *s, struct node *node, struct gw_attempt_id attempt)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskForget forget = GODWIT__TASK_FORGET__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	forget.attempt = &ref;
	body.kind_case = GODWIT__BODY__KIND_TASK_FORGET;
	body.task_forget = &forget;
	out_send(s, node, &body);
}

static void note_limits(struct scheduler *s, struct node *node, const Godwit__TaskStatus *status)
{
	size_t size = 1;
	char *text;

	if (status->n_not_enforced == 0 || status->n_not_enforced > NOTES_MAX)
		return;
	for (size_t i = 0; i < status->n_not_enforced; i++)
		size += strnlen(status->not_enforced[i], NOTE_BYTES_MAX) + 1;
	text = calloc(1, size);
	if (!text) {
		out_failed(s, -ENOMEM);
		return;
	}
	for (size_t i = 0; i < status->n_not_enforced; i++) {
		strncat(text, status->not_enforced[i], NOTE_BYTES_MAX);
		strcat(text, "\n");
	}
	free(node->not_enforced);
	node->not_enforced = text;
}

/* Not the task's failure. Its node is left alone for a while: there it would be declined again. */
static void status_declined(struct scheduler *s, struct task *task,
			    const Godwit__TaskStatus *status)
{
	struct gw_attempt_id attempt = task_attempt(task);
	struct node *node = task->node;
	const char *why = status->error[0] ? status->error : "its node gives no reason";

	apply_task_changed(s, attempt, GODWIT__TASK_CHANGE__TASK_DECLINED, status, why);
	task_forget(s, node, attempt);
	node_declined(s, node, why);
	task_after(s, task);
}

static void status_ended(struct scheduler *s, struct task *task, const Godwit__TaskStatus *status)
{
	struct gw_attempt_id attempt = task_attempt(task);
	const char *error = status->error;

	if (status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_LOST ||
	    status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE) {
		if (task->node->rebooted)
			error = REBOOTED;
		else if (!error || !error[0])
			error = "its keeper is gone";
		apply_task_changed(s, attempt, GODWIT__TASK_CHANGE__TASK_LOST, status, error);
	} else {
		if (task->over_time)
			error = "killed: the job's time limit was reached";
		else if (status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START &&
			 (!error || !error[0]))
			error = "it could not be started";
		apply_task_changed(s, attempt, GODWIT__TASK_CHANGE__TASK_ENDED, status, error);
	}
	task_forget(s, task->node, attempt);
	task_after(s, task);
}

/* An end that is heard only after the attempt was given up counts, if nothing else was begun. One
 * that is on record is said again until it is forgotten, and counts once. */
static bool counts_still(const struct task *task, const struct node *node,
			 struct gw_attempt_id attempt, const Godwit__TaskStatus *status)
{
	return task->state == TASK_WAITING && !task->ended && task->attempt == attempt.attempt &&
	       task->node == node && !task->job->gang &&
	       status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED;
}

void task_status(struct scheduler *s, struct node *node, const Godwit__TaskStatus *status)
{
	struct gw_attempt_id attempt;
	struct task *task;

	if (!gw_wire_read_attempt(status->attempt, &attempt))
		return; /* names nothing that could be answered */
	note_limits(s, node, status);
	task = task_find(s, attempt);
	if (!task || task->attempt != attempt.attempt || task->node != node ||
	    (!task_held(task) && !counts_still(task, node, attempt, status))) {
		stray_report(s, node, attempt, status);
		return;
	}
	task->inventory = node->inventory;
	task->sent = true;
	switch (status->state) {
	case GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING:
		if (task->state != TASK_PLACED)
			break;
		apply_task_changed(s, attempt, GODWIT__TASK_CHANGE__TASK_STARTED, status, NULL);
		node->declined_us = 0;
		task_after(s, task);
		break;
	case GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START:
		if (status->declined && task->state == TASK_PLACED) {
			status_declined(s, task, status);
			break;
		}
		status_ended(s, task, status);
		break;
	case GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED:
	case GODWIT__ATTEMPT_STATE__ATTEMPT_LOST:
	case GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE:
		status_ended(s, task, status);
		break;
	case GODWIT__ATTEMPT_STATE__ATTEMPT_UNKNOWN:
	case GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING:
	case _GODWIT__ATTEMPT_STATE_IS_INT_SIZE:
		break;
	}
}
