/*
 * Jobs: their table, their life cycle, and the queue of those that want places. A job's state
 * follows from its tasks' counts; the table of allowed next states holds it to that.
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
} states[JOB_STATES] = {
	[JOB_WAITING] = {"waiting",
			 TO(JOB_RUNNING) | TO(JOB_SUCCEEDED) | TO(JOB_FAILED) | TO(JOB_CANCELLED),
			 "all tasks wait; it ends from here when a given-up attempt's end is heard "
			 "late"},
	[JOB_RUNNING] = {"running",
			 TO(JOB_WAITING) | TO(JOB_ENDING) | TO(JOB_SUCCEEDED) | TO(JOB_FAILED) |
				 TO(JOB_CANCELLED),
			 "some task holds a place or has ended, and not all have ended"},
	[JOB_ENDING] = {"ending", TO(JOB_CANCELLED) | TO(JOB_FAILED),
			"cancelled or failed; no task waits, some still hold places"},
	[JOB_SUCCEEDED] = {"succeeded", 0, "every task has succeeded"},
	[JOB_FAILED] = {"failed", 0, "every task has ended, some without success"},
	[JOB_CANCELLED] = {"cancelled", 0, "cancelled, and every task has ended"},
};

const char *job_state_name(enum job_state state)
{
	return states[state].name;
}

bool job_may_follow(enum job_state from, enum job_state to)
{
	return from == to || (states[from].next & TO(to)) != 0;
}

const char *job_invariant(enum job_state state)
{
	return states[state].invariant;
}

bool job_ended(const struct job *job)
{
	return states[job->state].next == 0;
}

static void copy_name(char *ret_name, const char *text)
{
	size_t size = strnlen(text, GW_NAME_BYTES_MAX);

	memcpy(ret_name, text, size);
	ret_name[size] = '\0';
}

static void read_spec(struct job *job, const Godwit__JobSpec *spec)
{
	const Godwit__Resources *need = spec->resources;

	copy_name(job->name, spec->name);
	job->task_count = spec->task_count;
	job->gang = spec->kind == GODWIT__JOB_KIND__JOB_SERVE;
	job->spread = (enum gw_spread)spec->spread;
	job->priority = spec->priority;
	job->attempts_max = spec->attempts_max;
	job->rtt_us_max = spec->rtt_us_max;
	job->lease_us = spec->lease_us;
	if (spec->disconnect) {
		job->lost_after_us = spec->disconnect->lost_after_us;
		job->replace = (uint8_t)spec->disconnect->replace;
		job->reconcile = (uint8_t)spec->disconnect->reconcile;
	}
	job->time_limit_us = spec->time_limit_us;
	job->grace_us = spec->grace_us;
	if (need) {
		job->need.cpu_milli = need->cpu_milli;
		job->need.memory_bytes = need->memory_bytes;
		job->need.device_count = need->device_count;
		job->need.port_count = need->port_count;
	}
	if (spec->model) {
		job->model.stage_us = spec->model->stage_us;
		job->model.micro_batches = spec->model->micro_batches;
		job->model.batch = spec->model->batch;
		job->model.loss_budget_ppm = spec->model->loss_budget_ppm;
	}
}

void job_link_tasks(struct job *job)
{
	for (uint32_t i = 0; i < job->task_count; i++) {
		struct task *task = &job->tasks[i];

		task->prev = i > 0 ? task - 1 : NULL;
		task->next = i + 1 < job->task_count ? task + 1 : NULL;
	}
	job->waiting = job->tasks;
	job->waiting_last = &job->tasks[job->task_count - 1];
	job->counts[TASK_WAITING] = job->task_count;
}

bool job_spec_sound(const Godwit__JobSpec *spec)
{
	return spec->task_count > 0 && spec->task_count <= GW_TASKS_PER_JOB_MAX &&
	       spec->priority <= PRIORITY_MAX;
}

struct job *job_new(struct gw_job_id id, const Godwit__JobSpec *spec, const uint8_t *spec_bytes,
		    size_t spec_size)
{
	struct job *job = calloc(1, sizeof(*job));

	if (!job)
		return NULL;
	CHECK(job_spec_sound(spec));
	job->id = id;
	read_spec(job, spec);
	job->spec_size = spec_size;
	job->spec_bytes = malloc(spec_size ? spec_size : 1);
	job->tasks = calloc(job->task_count, sizeof(*job->tasks));
	if (!job->spec_bytes || !job->tasks) {
		job->task_count = 0;
		job_free(job);
		return NULL;
	}
	memcpy(job->spec_bytes, spec_bytes, spec_size);
	for (uint32_t i = 0; i < job->task_count; i++) {
		job->tasks[i].job = job;
		job->tasks[i].index = i;
		job->tasks[i].timer.kind = TIMER_TASK;
	}
	return job;
}

int job_note_prediction(struct job *job, const Godwit__Prediction *prediction)
{
	char *bottleneck;

	if (!prediction || !prediction->present)
		return 0;
	bottleneck = strdup(prediction->bottleneck);
	if (!bottleneck)
		return -ENOMEM;
	free(job->bottleneck);
	job->bottleneck = bottleneck;
	job->prediction.present = true;
	job->prediction.tokens_per_s = prediction->tokens_per_s;
	job->prediction.single_site_tokens_per_s = prediction->single_site_tokens_per_s;
	job->prediction.tpot_us = prediction->tpot_us;
	job->prediction.loss_ppm = prediction->loss_ppm;
	job->prediction.rtt_us = prediction->rtt_us;
	job->prediction.bottleneck = bottleneck;
	return 0;
}

void job_free(struct job *job)
{
	if (!job)
		return;
	for (uint32_t i = 0; i < job->task_count; i++) {
		free(job->tasks[i].devices);
		free(job->tasks[i].error);
		free(job->tasks[i].earlier);
		former_free(&job->tasks[i]);
	}
	free(job->tasks);
	free(job->spec_bytes);
	free(job->bottleneck);
	free(job->wait_reason);
	free(job);
}

struct job *job_find(const struct scheduler *s, struct gw_job_id id)
{
	return gw_table_find(&s->jobs, &id);
}

const Godwit__JobSpec *job_spec(struct scheduler *s, const struct job *job)
{
	if (s->spec && gw_id_equal(s->spec_job.id, job->id.id))
		return s->spec;
	gw_arena_reset(&s->spec_arena);
	s->spec = gw_wire_decode(&godwit__job_spec__descriptor, &s->spec_arena, job->spec_bytes,
				 job->spec_size);
	s->spec_job = job->id;
	if (!s->spec)
		out_failed(s, -ENOMEM);
	return s->spec;
}

bool job_link_queued(struct scheduler *s, struct job *job)
{
	if (job->queued || !job_wants(job))
		return false;
	share_add(s, job->share, job);
	return true;
}

static enum job_state follow(const struct job *job)
{
	uint32_t held = job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];
	uint32_t waiting = job->counts[TASK_WAITING];

	if (job->cancelled || job->doomed) {
		if (held > 0)
			return JOB_ENDING;
		return job->cancelled ? JOB_CANCELLED : JOB_FAILED;
	}
	if (waiting == job->task_count)
		return JOB_WAITING;
	if (held > 0 || waiting > 0)
		return JOB_RUNNING;
	return job->counts[TASK_SUCCEEDED] == job->task_count ? JOB_SUCCEEDED : JOB_FAILED;
}

/* A gang starts again when its last attempt has ended: those that had succeeded run once more. */
static void gang_settle(struct job *job)
{
	if (!job->restarting || job->counts[TASK_PLACED] + job->counts[TASK_RUNNING] > 0)
		return;
	job->restarting = false;
	for (uint32_t i = 0; i < job->task_count; i++) {
		if (job->tasks[i].state != TASK_WAITING)
			task_set_state(&job->tasks[i], TASK_WAITING);
	}
}

bool job_wants(const struct job *job)
{
	return job->counts[TASK_WAITING] > 0 && !job->restarting &&
	       (!job->gang || job->counts[TASK_WAITING] == job->task_count);
}

bool job_link_ended(struct scheduler *s, struct job *job)
{
	if (!job_ended(job) || job->ended_next || s->ended_last == job)
		return false;
	if (s->ended_last)
		s->ended_last->ended_next = job;
	else
		s->ended_first = job;
	s->ended_last = job;
	s->ended_count++;
	s->task_total_ended += job->task_count;
	return true;
}

void job_settle(struct scheduler *s, struct job *job, int64_t wall_us)
{
	enum job_state next;

	gang_settle(job);
	next = follow(job);
	CHECK(job_may_follow(job->state, next));
	if (job->state != next) {
		job->state = (uint8_t)next;
		if (job_ended(job)) {
			job->ended_wall_us = wall_us;
			CHECK(job_link_ended(s, job));
		}
	}
	if (job_wants(job))
		(void)job_link_queued(s, job); /* it may stand there already */
	else
		share_remove(s, job->share, job);
}

/* --- the table ------------------------------------------------------------------------------- */

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

void jobs_evict(struct scheduler *s, uint32_t jobs_max, uint32_t task_count)
{
	while (s->ended_first &&
	       (s->jobs.count >= jobs_max || s->task_total + task_count > GW_TASKS_MAX)) {
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
		share_unref(s, job->share);
		if (gw_id_equal(s->spec_job.id, job->id.id))
			s->spec = NULL;
		job_free(job);
	}
}

/* 0; -ENOMEM; -EPROTO: the nonce is another job's. */
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

int job_add(struct scheduler *s, struct job *job)
{
	if (gw_table_add(&s->jobs, job) != 0) {
		job_free(job);
		return -ENOMEM;
	}
	order_add(s, job);
	job->share = share_ref(s, job->owner, job->priority);
	if (!job->share)
		return -ENOMEM;
	job->share->user->waiting += job->counts[TASK_WAITING];
	s->task_total += job->task_count;
	return remember_nonce(s, job);
}

bool job_restored(struct job *job)
{
	uint32_t held = job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];
	uint32_t waiting = job->counts[TASK_WAITING];

	if (((job->cancelled || job->doomed) && waiting > 0) ||
	    (job->restarting && (!job->gang || held == 0)) ||
	    (job->gang && held > 0 && waiting > 0 && !job->restarting))
		return false;
	job->share->user->waiting += waiting;
	job->state = (uint8_t)follow(job);
	return true;
}
