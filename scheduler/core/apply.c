/*
 * The only writer of durable state. A record is a decided fact; applying it looks at nothing but
 * the record and the durable state, so that a replay ends where the living scheduler was.
 * apply_commit appends and applies at once; effects that follow carry the record's sequence.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define RECORD_VERSION 1u

static void order_add(struct scheduler *s, struct job *job)
{
	job->order = s->job_order++;
	job->older = s->newest;
	if (s->newest)
		s->newest->newer = job;
	s->newest = job;
}

static void order_remove(struct scheduler *s, struct job *job)
{
	if (job->newer)
		job->newer->older = job->older;
	else
		s->newest = job->older;
	if (job->older)
		job->older->newer = job->newer;
}

/* The oldest ended jobs make room, for one job and its tasks. */
static void evict(struct scheduler *s, uint32_t task_count)
{
	while (s->ended_first &&
	       (s->jobs.count >= s->config.jobs_max || s->task_total + task_count > GW_TASKS_MAX)) {
		struct job *job = s->ended_first;

		s->ended_first = job->ended_next;
		if (!s->ended_first)
			s->ended_last = NULL;
		if (job->nonce_entry)
			free(gw_table_remove(&s->nonces, &job->nonce_entry->key));
		s->task_total -= job->task_count;
		s->task_total_ended -= job->task_count;
		s->ended_count--;
		CHECK(gw_table_remove(&s->jobs, &job->id) == job);
		order_remove(s, job);
		if (gw_id_equal(s->spec_job.id, job->id.id))
			s->spec = NULL;
		job_free(job);
	}
}

/* 0; -ENOMEM. */
static int remember_nonce(struct scheduler *s, struct job *job)
{
	struct nonce *nonce;

	if (gw_id_is_zero(job->nonce))
		return 0;
	nonce = calloc(1, sizeof(*nonce));
	if (!nonce)
		return -ENOMEM;
	nonce->key.owner = job->owner;
	nonce->key.nonce = job->nonce;
	nonce->job = job;
	if (gw_table_add(&s->nonces, nonce) != 0) {
		free(nonce);
		return -EPROTO;
	}
	job->nonce_entry = nonce;
	return 0;
}

static int apply_job(struct scheduler *s, const Godwit__JobAccepted *accepted, int64_t wall_us)
{
	struct gw_job_id id;
	struct user *user;
	struct job *job;

	if (!accepted->spec || !gw_wire_read_id(accepted->job, &id.id) || job_find(s, id) ||
	    accepted->spec->task_count == 0 || accepted->spec->task_count > GW_TASKS_PER_JOB_MAX ||
	    accepted->spec->priority > PRIORITY_MAX)
		return -EPROTO;
	evict(s, accepted->spec->task_count);
	job = job_new(id, accepted->spec);
	if (!job)
		return -ENOMEM;
	(void)gw_wire_read_id(accepted->owner, &job->owner.id); /* absent: zero */
	(void)gw_wire_read_id(accepted->tenant, &job->tenant);
	(void)gw_wire_read_id(accepted->nonce, &job->nonce);
	strncpy(job->owner_name, accepted->owner_name, GW_NAME_BYTES_MAX);
	job->submitted_wall_us = wall_us;
	user = user_find(s, job->owner);
	if (!user || gw_table_add(&s->jobs, job) != 0 || remember_nonce(s, job) != 0)
		return -ENOMEM; /* the process stops: what is half done is never seen */
	order_add(s, job);
	user->waiting += job->task_count;
	s->task_total += job->task_count;
	if (gw_id_counter(id.id) >= s->next_job)
		s->next_job = gw_id_counter(id.id) + 1;
	job_settle(s, job, wall_us);
	return 0;
}

/* "uuid,uuid," or NULL for none. False: no memory. */
static bool join_devices(const Godwit__TaskPlaced__Placed *placed, char **ret_text)
{
	size_t size = 1;
	char *text;

	*ret_text = NULL;
	if (placed->n_device_uuids == 0)
		return true;
	for (size_t i = 0; i < placed->n_device_uuids; i++)
		size += strlen(placed->device_uuids[i]) + 1;
	text = calloc(1, size);
	if (!text)
		return false;
	for (size_t i = 0; i < placed->n_device_uuids; i++) {
		strcat(text, placed->device_uuids[i]);
		strcat(text, ",");
	}
	*ret_text = text;
	return true;
}

/* A place is new for each attempt, except that a given-up attempt found alive is taken back. */
static bool may_place(const struct task *task, const Godwit__TaskPlaced__Placed *placed)
{
	return task->state == TASK_WAITING &&
	       (placed->attempt == task->attempt + 1 ||
		(placed->attempt == task->attempt && task->attempt > 0));
}

static int apply_placed(struct scheduler *s, const Godwit__TaskPlaced *record, int64_t wall_us)
{
	struct gw_job_id id;
	struct job *job = gw_wire_read_id(record->job, &id.id) ? job_find(s, id) : NULL;

	if (!job || (job->gang && record->n_tasks != job->task_count))
		return -EPROTO;
	for (size_t i = 0; i < record->n_tasks; i++) {
		const Godwit__TaskPlaced__Placed *placed = record->tasks[i];
		struct gw_node_id node_id;
		struct node *node =
			gw_wire_read_id(placed->node, &node_id.id) ? node_find(s, node_id) : NULL;
		struct task *task;

		if (!node || placed->task_index >= job->task_count)
			return -EPROTO;
		task = &job->tasks[placed->task_index];
		if (!may_place(task, placed))
			return -EPROTO;
		free(task->devices);
		if (!join_devices(placed, &task->devices))
			return -ENOMEM;
		task->node = node;
		task->attempt = placed->attempt;
		task->port = (uint16_t)placed->port;
		task->port_count = (uint16_t)placed->port_count;
		task->rtt_us = placed->rtt_us;
		task->sent = true;
		task_set_state(s, task, TASK_PLACED);
	}
	if (record->prediction && record->prediction->present) {
		job->prediction.present = true;
		job->prediction.tokens_per_s = record->prediction->tokens_per_s;
		job->prediction.single_site_tokens_per_s =
			record->prediction->single_site_tokens_per_s;
		job->prediction.tpot_us = record->prediction->tpot_us;
		job->prediction.loss_ppm = record->prediction->loss_ppm;
		job->prediction.rtt_us = record->prediction->rtt_us;
		free(job->bottleneck);
		job->bottleneck = strdup(record->prediction->bottleneck);
		if (!job->bottleneck)
			return -ENOMEM;
		job->prediction.bottleneck = job->bottleneck;
	}
	job_settle(s, job, wall_us);
	return 0;
}

/* The rest of a gang that has no tries left. */
static void cancel_waiting(struct scheduler *s, struct job *job)
{
	while (job->waiting)
		task_set_state(s, job->waiting, TASK_CANCELLED);
}

static void gang_failed(struct scheduler *s, struct task *task, bool counts)
{
	struct job *job = task->job;

	if (job->restarting) {
		task_set_state(s, task, TASK_WAITING); /* killed for the restart, or too late */
		return;
	}
	if (counts)
		job->failures++;
	if (job->failures < job->attempts_max && task->losses < TASK_LOSSES_MAX) {
		job->restarting = true;
		task_set_state(s, task, TASK_WAITING);
		return;
	}
	job->doomed = true;
	task_set_state(s, task, TASK_FAILED);
	cancel_waiting(s, job);
}

static void attempt_failed(struct scheduler *s, struct task *task, bool lost)
{
	struct job *job = task->job;

	if (lost)
		task->losses++;
	else
		task->failures++;
	if (job->cancelled || job->doomed) {
		task_set_state(s, task, TASK_CANCELLED);
	} else if (job->gang) {
		gang_failed(s, task, !lost);
	} else if (task->failures < job->attempts_max && task->losses < TASK_LOSSES_MAX) {
		if (task->state != TASK_WAITING)
			task_set_state(s, task, TASK_WAITING);
	} else {
		task_set_state(s, task, TASK_FAILED);
	}
}

/* 0; -ENOMEM. */
static int note_end(struct task *task, const Godwit__TaskChanged *changed)
{
	free(task->error);
	task->error = NULL;
	if (changed->error && changed->error[0]) {
		task->error = strndup(changed->error, ERROR_BYTES_MAX);
		if (!task->error)
			return -ENOMEM;
	}
	task->exit_code = changed->exit_code;
	task->signal = changed->signal;
	if (changed->usage) {
		const Godwit__Usage *usage = changed->usage;

		task->usage.wall_us = usage->wall_us;
		task->usage.cpu_user_us = usage->cpu_user_us;
		task->usage.cpu_system_us = usage->cpu_system_us;
		task->usage.memory_peak_bytes = usage->memory_peak_bytes;
		task->usage.output_bytes = usage->output_bytes;
	}
	return 0;
}

static int apply_changed(struct scheduler *s, const Godwit__TaskChanged *changed, int64_t wall_us)
{
	struct gw_attempt_id attempt;
	struct task *task =
		gw_wire_read_attempt(changed->attempt, &attempt) ? task_find(s, attempt) : NULL;
	int result = 0;

	if (!task || task->attempt != attempt.attempt)
		return -EPROTO;
	switch (changed->change) {
	case GODWIT__TASK_CHANGE__TASK_STARTED:
		if (task->state != TASK_PLACED)
			return -EPROTO;
		task->started_wall_us = wall_us;
		task_set_state(s, task, TASK_RUNNING);
		break;
	case GODWIT__TASK_CHANGE__TASK_ENDED:
		if (!task_held(task) && task->state != TASK_WAITING)
			return -EPROTO;
		result = note_end(task, changed);
		if (changed->exit_code == 0 && changed->signal == 0 &&
		    (!task->error || changed->remark))
			task_set_state(s, task, TASK_SUCCEEDED);
		else
			attempt_failed(s, task, false);
		break;
	case GODWIT__TASK_CHANGE__TASK_LOST:
		if (!task_held(task))
			return -EPROTO;
		result = note_end(task, changed);
		attempt_failed(s, task, true);
		break;
	case GODWIT__TASK_CHANGE__TASK_CHANGE_NONE:
	case _GODWIT__TASK_CHANGE_IS_INT_SIZE:
		return -EPROTO;
	}
	job_settle(s, task->job, wall_us);
	return result;
}

static int apply_cancelled(struct scheduler *s, const Godwit__JobCancelled *cancelled,
			   int64_t wall_us)
{
	struct gw_job_id id;
	struct job *job = gw_wire_read_id(cancelled->job, &id.id) ? job_find(s, id) : NULL;

	if (!job || job_ended(job))
		return -EPROTO;
	job->cancelled = true;
	job->restarting = false;
	cancel_waiting(s, job);
	job_settle(s, job, wall_us);
	return 0;
}

static int apply_revoked(struct scheduler *s, const Godwit__NodeRevoked *record)
{
	struct revoked *revoked = calloc(1, sizeof(*revoked));
	struct node *node;

	if (!revoked)
		return -ENOMEM;
	if (!gw_wire_read_id(record->node, &revoked->id.id) ||
	    gw_table_add(&s->revoked, revoked) != 0) {
		free(revoked);
		return -EPROTO;
	}
	node = node_find(s, revoked->id);
	if (node)
		node->revoked = true;
	return 0;
}

static int apply_record(struct scheduler *s, uint64_t seq, const Godwit__Record *record)
{
	int64_t wall_us = record->at_wall_us;

	if (record->version != RECORD_VERSION || seq != s->seq + 1)
		return -EPROTO;
	s->seq = seq;
	switch (record->kind_case) {
	case GODWIT__RECORD__KIND_JOB_ACCEPTED:
		return apply_job(s, record->job_accepted, wall_us);
	case GODWIT__RECORD__KIND_TASK_PLACED:
		return apply_placed(s, record->task_placed, wall_us);
	case GODWIT__RECORD__KIND_TASK_CHANGED:
		return apply_changed(s, record->task_changed, wall_us);
	case GODWIT__RECORD__KIND_JOB_CANCELLED:
		return apply_cancelled(s, record->job_cancelled, wall_us);
	case GODWIT__RECORD__KIND_NODE_ADMITTED:
		return node_admit(s, record->node_admitted) ? 0 : -ENOMEM;
	case GODWIT__RECORD__KIND_NODE_REVOKED:
		return apply_revoked(s, record->node_revoked);
	case GODWIT__RECORD__KIND_TERM_STARTED:
		s->term = record->term_started->term;
		s->epoch = record->term_started->epoch;
		s->next_job = 1;
		return 0;
	case GODWIT__RECORD__KIND__NOT_SET:
	case _GODWIT__RECORD__KIND__CASE_IS_INT_SIZE:
		break;
	}
	return -EPROTO;
}

int apply_bytes(struct gw_node *node, uint64_t seq, const uint8_t *bytes, size_t size)
{
	struct scheduler *s = (struct scheduler *)node;
	const Godwit__Record *record;
	int result;

	CHECK(!s->started);
	record = gw_wire_decode(&godwit__record__descriptor, &s->arena, bytes, size);
	result = record ? apply_record(s, seq, record) : -EPROTO;
	gw_arena_reset(&s->arena);
	return result;
}

void apply_commit(struct scheduler *s, Godwit__Record *record)
{
	size_t size;
	uint8_t *bytes;
	int result;

	record->version = RECORD_VERSION;
	record->at_wall_us = s->now.wall_us;
	size = gw_wire_size(&record->base);
	CHECK(size <= GW_MESSAGE_BYTES_MAX);
	bytes = gw_arena_alloc(&s->arena, size);
	if (!bytes) {
		out_failed(s, -ENOMEM);
		return;
	}
	gw_wire_encode(&record->base, bytes);
	out_append(s, s->seq + 1, bytes, size);
	result = apply_record(s, s->seq + 1, record);
	CHECK(result != -EPROTO); /* a record that we made ourselves */
	if (result != 0)
		out_failed(s, result);
}

void apply_task_changed(struct scheduler *s, struct task *task, Godwit__TaskChange change,
			const Godwit__TaskStatus *status, const char *error)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__TaskChanged changed = GODWIT__TASK_CHANGED__INIT;
	struct gw_attempt_id attempt = task_attempt(task);
	Godwit__AttemptRef ref;
	Godwit__Usage usage;

	gw_wire_attempt(&attempt, &ref);
	changed.attempt = &ref;
	changed.change = change;
	if (error && error[0])
		changed.error = out_text(s, "%.*s", (int)ERROR_BYTES_MAX, error);
	if (status) {
		changed.exit_code = status->exit_code;
		changed.signal = status->signal;
		/* Not where the scheduler has an error of its own to tell. */
		changed.remark = status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED &&
				 error == status->error;
	}
	if (status && status->usage) {
		usage = *status->usage;
		usage.base.n_unknown_fields = 0; /* a record holds what we know, and decodes */
		changed.usage = &usage;
	}
	record.kind_case = GODWIT__RECORD__KIND_TASK_CHANGED;
	record.task_changed = &changed;
	apply_commit(s, &record);
}
