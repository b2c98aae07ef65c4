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

/* 0; -ENOMEM. */
static int job_from(struct scheduler *s, struct gw_job_id id, const Godwit__JobSpec *spec,
		    struct job **ret_job)
{
	size_t size = gw_wire_size(&spec->base);
	uint8_t *bytes = gw_arena_alloc(&s->arena, size ? size : 1);

	if (!bytes)
		return -ENOMEM;
	gw_wire_encode(&spec->base, bytes);
	*ret_job = job_new(id, spec, bytes, size);
	return *ret_job ? 0 : -ENOMEM;
}

static int apply_job(struct scheduler *s, const Godwit__JobAccepted *accepted, int64_t wall_us)
{
	struct gw_job_id id;
	struct job *job;
	int result;

	if (!accepted->spec || accepted->jobs_max > GW_JOBS_MAX ||
	    !gw_wire_read_id(accepted->job, &id.id) || job_find(s, id) ||
	    !job_spec_sound(accepted->spec))
		return -EPROTO;
	jobs_evict(s, accepted->jobs_max > 0 ? accepted->jobs_max : GW_JOBS_MAX,
		   accepted->spec->task_count);
	result = job_from(s, id, accepted->spec, &job);
	if (result != 0)
		return result;
	(void)gw_wire_read_id(accepted->owner, &job->owner.id); /* absent: zero */
	(void)gw_wire_read_id(accepted->tenant, &job->tenant);
	(void)gw_wire_read_id(accepted->nonce, &job->nonce);
	strncpy(job->owner_name, accepted->owner_name, GW_NAME_BYTES_MAX);
	job->submitted_wall_us = wall_us;
	job_link_tasks(job);
	result = job_add(s, job);
	if (result != 0)
		return result; /* the process stops: what is half done is never seen */
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
	       (placed->attempt == task->attempt_last + 1 ||
		(placed->attempt == task->attempt && task->attempt > 0 && !task->ended));
}

void former_free(struct task *task)
{
	if (!task->former)
		return;
	free(task->former->devices);
	free(task->former);
	task->former = NULL;
}

/* Before another attempt takes the last one's place: its output may still be asked for. One that was
 * declined has none. 0; -ENOMEM. */
static int remember_earlier(struct task *task)
{
	struct earlier *earlier = task->earlier;

	if (task->attempt == 0 || task->declined)
		return 0;
	if (!earlier)
		earlier = task->earlier = calloc(1, sizeof(*earlier));
	if (!earlier)
		return -ENOMEM;
	if (earlier->count == EARLIER_MAX)
		memmove(&earlier->ran[0], &earlier->ran[1],
			--earlier->count * sizeof(earlier->ran[0]));
	earlier->ran[earlier->count].node = task->node;
	earlier->ran[earlier->count++].attempt = task->attempt;
	return 0;
}

struct node *attempt_node(const struct task *task, uint32_t attempt)
{
	const struct earlier *earlier = task->earlier;

	if (attempt == task->attempt)
		return task->node;
	for (uint32_t i = earlier ? earlier->count : 0; i-- > 0;) {
		if (earlier->ran[i].attempt == attempt)
			return earlier->ran[i].node;
	}
	return NULL;
}

/* Is this given-up attempt to be known again, though another takes its place? The first is: a
 * success that it brings back may count under every policy. */
static bool to_remember(const struct task *task)
{
	const struct job *job = task->job;

	if (!task->unheard || job->gang)
		return false;
	return !task->former || (job->reconcile == GODWIT__RECONCILE__RECONCILE_KEEP_LONGEST &&
				 task->former->started_wall_us == 0);
}

/* What is on record of an attempt's end, when another counts, or it does again. */
static void clear_end(struct task *task)
{
	free(task->error);
	task->error = NULL;
	task->exit_code = 0;
	task->signal = 0;
	task->usage = (struct usage){0};
}

/* Before another attempt takes its place. 0; -ENOMEM. */
static int remember_former(struct task *task)
{
	struct former *former;

	if (!to_remember(task))
		return 0;
	former = calloc(1, sizeof(*former));
	if (!former)
		return -ENOMEM;
	former_free(task);
	former->node = task->node;
	former->attempt = task->attempt;
	former->rtt_us = task->rtt_us;
	former->port = task->port;
	former->port_count = task->port_count;
	former->devices = task->devices;
	former->started_wall_us = task->started_wall_us;
	task->devices = NULL;
	task->former = former;
	return 0;
}

/* The former attempt becomes the one that counts. It holds no place yet. 0; -ENOMEM. */
static int adopt_former(struct task *task)
{
	struct former *former = task->former;

	if (remember_earlier(task) != 0)
		return -ENOMEM;
	if (task_held(task))
		task_set_state(task, TASK_WAITING);
	task->node = former->node;
	task->attempt = former->attempt;
	task->rtt_us = former->rtt_us;
	task->port = former->port;
	task->port_count = former->port_count;
	task->started_wall_us = former->started_wall_us;
	free(task->devices);
	task->devices = former->devices;
	former->devices = NULL;
	former_free(task);
	clear_end(task);
	task->unheard = false;
	task->ended = false;
	task->declined = false;
	task->sent = true;
	return 0;
}

static bool may_adopt(const struct task *task, uint32_t attempt)
{
	return task->former && task->former->attempt == attempt &&
	       (task_held(task) || task->state == TASK_WAITING);
}

static int apply_kept(struct scheduler *s, const Godwit__AttemptKept *kept, int64_t wall_us)
{
	struct gw_attempt_id attempt;
	struct task *task =
		gw_wire_read_attempt(kept->attempt, &attempt) ? task_find(s, attempt) : NULL;

	if (!task || !may_adopt(task, attempt.attempt))
		return -EPROTO;
	if (adopt_former(task) != 0)
		return -ENOMEM;
	task_set_state(task, TASK_PLACED);
	if (task->started_wall_us != 0)
		task_set_state(task, TASK_RUNNING);
	job_settle(s, task->job, wall_us);
	return 0;
}

static int apply_records_lost(struct scheduler *s, const Godwit__RecordsLost *lost)
{
	s->records_lost++;
	memset(s->records_lost_text, 0, sizeof(s->records_lost_text));
	strncpy(s->records_lost_text, lost->text, ERROR_BYTES_MAX);
	return 0;
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
		if (placed->attempt != task->attempt) {
			if (remember_earlier(task) != 0 || remember_former(task) != 0)
				return -ENOMEM;
			task->attempt_last = placed->attempt;
			task->started_wall_us = 0;
		}
		free(task->devices);
		if (!join_devices(placed, &task->devices))
			return -ENOMEM;
		clear_end(task);
		task->unheard = false;
		task->ended = false;
		task->declined = false;
		task->node = node;
		task->attempt = placed->attempt;
		task->port = (uint16_t)placed->port;
		task->port_count = (uint16_t)placed->port_count;
		task->rtt_us = placed->rtt_us;
		task->sent = true;
		task_set_state(task, TASK_PLACED);
	}
	if (job_note_prediction(job, record->prediction) != 0)
		return -ENOMEM;
	job_settle(s, job, wall_us);
	return 0;
}

/* The rest of a gang that has no tries left. */
static void cancel_waiting(struct job *job)
{
	while (job->waiting) {
		former_free(job->waiting);
		task_set_state(job->waiting, TASK_CANCELLED);
	}
}

static void gang_failed(struct task *task, bool counts)
{
	struct job *job = task->job;

	if (job->restarting) {
		task_set_state(task, TASK_WAITING); /* killed for the restart, or too late */
		return;
	}
	if (counts)
		job->failures++;
	if (job->failures < job->attempts_max && task->losses < TASK_LOSSES_MAX) {
		job->restarting = true;
		task_set_state(task, TASK_WAITING);
		return;
	}
	job->doomed = true;
	task_set_state(task, TASK_FAILED);
	cancel_waiting(job);
}

static void attempt_failed(struct task *task, bool lost)
{
	struct job *job = task->job;

	if (job->restarting)
		; /* ended for the sake of its gang: no fault of its own */
	else if (lost)
		task->losses++;
	else
		task->failures++;
	if (job->cancelled || job->doomed) {
		task_set_state(task, TASK_CANCELLED);
	} else if (job->gang) {
		gang_failed(task, !lost);
	} else if (task->failures < job->attempts_max && task->losses < TASK_LOSSES_MAX) {
		if (task->state != TASK_WAITING)
			task_set_state(task, TASK_WAITING);
	} else {
		task_set_state(task, TASK_FAILED);
	}
}

/* Neither a failure nor a loss. Of a gang all begin again. */
static void attempt_declined(struct task *task)
{
	struct job *job = task->job;

	task->ended = true;
	task->declined = true;
	if (job->cancelled || job->doomed) {
		task_set_state(task, TASK_CANCELLED);
		return;
	}
	job->restarting = job->gang;
	task_set_state(task, TASK_WAITING);
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
	if (changed->usage)
		task_note_usage(task, changed->usage);
	else /* not that of the attempt before */
		task->usage = (struct usage){0};
	return 0;
}

static int apply_changed(struct scheduler *s, const Godwit__TaskChanged *changed, int64_t wall_us)
{
	struct gw_attempt_id attempt;
	struct task *task =
		gw_wire_read_attempt(changed->attempt, &attempt) ? task_find(s, attempt) : NULL;
	int result = 0;

	if (!task)
		return -EPROTO;
	if (task->attempt != attempt.attempt) {
		if (!may_adopt(task, attempt.attempt))
			return -EPROTO;
		if (changed->change == GODWIT__TASK_CHANGE__TASK_LOST) {
			former_free(task); /* it is over, and brings nothing back */
			return 0;
		}
		if (changed->change != GODWIT__TASK_CHANGE__TASK_ENDED)
			return -EPROTO;
		if (adopt_former(task) != 0) /* what it has brought back counts */
			return -ENOMEM;
	}
	switch (changed->change) {
	case GODWIT__TASK_CHANGE__TASK_STARTED:
		if (task->state != TASK_PLACED)
			return -EPROTO;
		if (task->started_wall_us == 0) /* else it was taken back, and runs since then */
			task->started_wall_us = wall_us;
		task_set_state(task, TASK_RUNNING);
		break;
	case GODWIT__TASK_CHANGE__TASK_ENDED:
		if ((!task_held(task) && task->state != TASK_WAITING) || task->ended)
			return -EPROTO;
		result = note_end(task, changed);
		task->unheard = false;
		task->ended = true;
		if (changed->exit_code == 0 && changed->signal == 0 &&
		    (!task->error || changed->remark))
			task_set_state(task, TASK_SUCCEEDED);
		else
			attempt_failed(task, false);
		break;
	case GODWIT__TASK_CHANGE__TASK_LOST:
		if (!task_held(task))
			return -EPROTO;
		result = note_end(task, changed);
		task->unheard = changed->unheard;
		attempt_failed(task, true);
		break;
	case GODWIT__TASK_CHANGE__TASK_DECLINED:
		if (task->state != TASK_PLACED)
			return -EPROTO;
		result = note_end(task, changed);
		attempt_declined(task);
		break;
	case GODWIT__TASK_CHANGE__TASK_CHANGE_NONE:
	case _GODWIT__TASK_CHANGE_IS_INT_SIZE:
		return -EPROTO;
	}
	if (task->state == TASK_SUCCEEDED || task->state == TASK_FAILED ||
	    task->state == TASK_CANCELLED)
		former_free(task);
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
	cancel_waiting(job);
	job_settle(s, job, wall_us);
	return 0;
}

static int apply_revoked(struct scheduler *s, const Godwit__NodeRevoked *record)
{
	struct gw_node_id id;

	return gw_wire_read_id(record->node, &id.id) ? node_revoke(s, id) : -EPROTO;
}

static int apply_record(struct scheduler *s, uint64_t seq, const Godwit__Record *record)
{
	int64_t wall_us = record->at_wall_us;

	if (record->version != RECORD_VERSION || seq != s->seq + 1 || s->restore.open)
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
	case GODWIT__RECORD__KIND_ATTEMPT_KEPT:
		return apply_kept(s, record->attempt_kept, wall_us);
	case GODWIT__RECORD__KIND_RECORDS_LOST:
		return apply_records_lost(s, record->records_lost);
	case GODWIT__RECORD__KIND_TERM_STARTED:
		epoch_close(s);
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

void apply_task_kept(struct scheduler *s, struct task *task)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__AttemptKept kept = GODWIT__ATTEMPT_KEPT__INIT;
	struct gw_attempt_id attempt = task_attempt(task);
	Godwit__AttemptRef ref;

	attempt.attempt = task->former->attempt;
	gw_wire_attempt(&attempt, &ref);
	kept.attempt = &ref;
	record.kind_case = GODWIT__RECORD__KIND_ATTEMPT_KEPT;
	record.attempt_kept = &kept;
	apply_commit(s, &record);
}

void apply_task_unheard(struct scheduler *s, struct task *task, const char *error)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__TaskChanged changed = GODWIT__TASK_CHANGED__INIT;
	struct gw_attempt_id attempt = task_attempt(task);
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	changed.attempt = &ref;
	changed.change = GODWIT__TASK_CHANGE__TASK_LOST;
	changed.error = unconst(error);
	changed.unheard = true;
	record.kind_case = GODWIT__RECORD__KIND_TASK_CHANGED;
	record.task_changed = &changed;
	apply_commit(s, &record);
}

void apply_task_changed(struct scheduler *s, struct gw_attempt_id attempt,
			Godwit__TaskChange change, const Godwit__TaskStatus *status,
			const char *error)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__TaskChanged changed = GODWIT__TASK_CHANGED__INIT;
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
