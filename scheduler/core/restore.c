/*
 * Takes the pieces that snapshot.c wrote, into a core without history, and checks all that it takes:
 * pieces come from a disk or a store. What is put together from several pieces (the lists) is
 * linked as it comes; with the last piece everything that follows from the rest is worked out, and
 * what does not add up is refused.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

static int take_head(struct scheduler *s, const Godwit__SnapshotHead *head)
{
	if (!head || head->n_epochs > EPOCHS_MAX)
		return -EPROTO;
	s->seq = head->seq;
	s->term = head->term;
	s->epoch = head->epoch;
	s->next_job = head->next_job;
	s->records_lost = head->records_lost;
	strncpy(s->records_lost_text, head->records_lost_text, ERROR_BYTES_MAX);
	for (size_t i = 0; i < head->n_epochs; i++) {
		s->epochs[i].epoch = head->epochs[i]->epoch;
		s->epochs[i].next_job = head->epochs[i]->next_job;
	}
	s->epoch_count = (uint32_t)head->n_epochs;
	return 0;
}

static int take_node(struct scheduler *s, const Godwit__SnapshotNode *from)
{
	struct gw_node_id id;
	struct node *node;

	if (!gw_wire_read_id(from->node, &id.id) || strlen(from->name) > GW_NAME_BYTES_MAX ||
	    strlen(from->provider) > GW_NAME_BYTES_MAX || s->sites.count > 0 || node_find(s, id))
		return -EPROTO;
	node = node_new(s, id);
	if (!node)
		return -ENOMEM;
	strcpy(node->name, from->name);
	strcpy(node->provider, from->provider);
	(void)gw_wire_read_id(from->boot_id, &node->boot_id); /* absent: none yet */
	return 0;
}

static int take_site(struct scheduler *s, const Godwit__SnapshotSite *from)
{
	struct site *site;

	if (strlen(from->name) > GW_NAME_BYTES_MAX || site_find(s, from->name))
		return -EPROTO;
	site = site_admit(s, from->name);
	if (!site)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_nodes; i++) {
		struct node *node;

		if (from->nodes[i] >= s->nodes.count)
			return -EPROTO;
		node = s->nodes.entries[from->nodes[i]];
		if (node->site)
			return -EPROTO;
		site_add(site, node);
	}
	return 0;
}

/* --- jobs ------------------------------------------------------------------------------------ */

static int take_job_head(struct scheduler *s, const Godwit__SnapshotJob *from)
{
	const Godwit__JobSpec *spec;
	struct gw_job_id id;
	struct job *job;

	if (!gw_wire_read_id(from->job, &id.id) || job_find(s, id))
		return -EPROTO;
	s->spec = NULL;
	gw_arena_reset(&s->spec_arena);
	spec = gw_wire_decode(&godwit__job_spec__descriptor, &s->spec_arena, from->spec.data,
			      from->spec.len);
	if (!spec || !job_spec_sound(spec) || spec->task_count > GW_TASKS_MAX - s->task_total)
		return -EPROTO;
	job = job_new(id, spec, from->spec.data, from->spec.len);
	if (!job)
		return -ENOMEM;
	(void)gw_wire_read_id(from->owner, &job->owner.id); /* absent: zero */
	(void)gw_wire_read_id(from->tenant, &job->tenant);
	(void)gw_wire_read_id(from->nonce, &job->nonce);
	strncpy(job->owner_name, from->owner_name, GW_NAME_BYTES_MAX);
	job->submitted_wall_us = from->submitted_wall_us;
	job->ended_wall_us = from->ended_wall_us;
	job->cancelled = from->cancelled;
	job->doomed = from->doomed;
	job->restarting = from->restarting;
	job->failures = from->failures;
	if (job_note_prediction(job, from->prediction) != 0) {
		job_free(job);
		return -ENOMEM;
	}
	return job_add(s, job);
}

/* 0; -ENOMEM. */
static int copy_text(const char *text, char **ret_text)
{
	*ret_text = NULL;
	if (!text || !text[0])
		return 0;
	*ret_text = strdup(text);
	return *ret_text ? 0 : -ENOMEM;
}

static int take_former(const struct scheduler *s, struct task *task,
		       const Godwit__SnapshotFormer *from)
{
	struct former *former;

	if (from->node >= s->nodes.count || from->port > UINT16_MAX ||
	    from->port_count > UINT16_MAX || from->attempt == 0 ||
	    from->attempt > task->attempt_last || from->attempt == task->attempt ||
	    task->job->gang || (!task_held(task) && task->state != TASK_WAITING))
		return -EPROTO;
	former = calloc(1, sizeof(*former));
	if (!former)
		return -ENOMEM;
	task->former = former;
	former->node = s->nodes.entries[from->node];
	former->attempt = from->attempt;
	former->rtt_us = from->rtt_us;
	former->port = (uint16_t)from->port;
	former->port_count = (uint16_t)from->port_count;
	former->started_wall_us = from->started_wall_us;
	return copy_text(from->devices, &former->devices);
}

static int take_earlier(const struct scheduler *s, struct task *task,
			const Godwit__SnapshotTask *from)
{
	if (from->n_earlier % 2 != 0 || from->n_earlier > (size_t)2 * EARLIER_MAX)
		return -EPROTO;
	if (from->n_earlier == 0)
		return 0;
	task->earlier = calloc(1, sizeof(*task->earlier));
	if (!task->earlier)
		return -ENOMEM;
	for (size_t i = 0; i < from->n_earlier; i += 2) {
		if (from->earlier[i + 1] >= s->nodes.count)
			return -EPROTO;
		task->earlier->ran[i / 2].attempt = from->earlier[i];
		task->earlier->ran[i / 2].node = s->nodes.entries[from->earlier[i + 1]];
		task->earlier->count++;
	}
	return 0;
}

static int take_task(struct scheduler *s, struct job *job, const Godwit__SnapshotTask *from)
{
	struct task *task;
	int result;
	bool held = from->state == TASK_PLACED || from->state == TASK_RUNNING;

	if (from->index >= job->task_count || from->index < s->restore.task_next ||
	    from->state >= TASK_STATES || from->node > s->nodes.count || from->port > UINT16_MAX ||
	    from->port_count > UINT16_MAX || (from->attempt > 0) != (from->node > 0) ||
	    (from->attempt_last > 0 && from->attempt_last < from->attempt) ||
	    (held && from->attempt == 0))
		return -EPROTO;
	s->restore.task_next = from->index + 1;
	task = &job->tasks[from->index];
	task->state = (uint8_t)from->state;
	task->attempt = from->attempt;
	task->failures = from->failures;
	task->losses = from->losses;
	task->node = from->node > 0 ? s->nodes.entries[from->node - 1] : NULL;
	task->port = (uint16_t)from->port;
	task->port_count = (uint16_t)from->port_count;
	task->rtt_us = from->rtt_us;
	task->exit_code = from->exit_code;
	task->signal = from->signal;
	task->started_wall_us = from->started_wall_us;
	task->unheard = from->unheard;
	task->ended = from->ended;
	task->declined = from->declined;
	task->attempt_last = from->attempt_last > 0 ? from->attempt_last : from->attempt;
	if (from->usage)
		task_note_usage(task, from->usage);
	result = take_earlier(s, task, from);
	if (result == 0 && from->former)
		result = take_former(s, task, from->former);
	if (result != 0)
		return result;
	if (copy_text(from->devices, &task->devices) != 0)
		return -ENOMEM;
	return copy_text(from->error, &task->error);
}

/* `sent` marks a task that is linked: of one that waits it says nothing, and of one that holds a
 * place it is to be set. */
static bool link_waiting(struct job *job, uint32_t first, uint32_t count)
{
	if (first >= job->task_count || count > job->task_count - first)
		return false;
	for (uint32_t i = first; i < first + count; i++) {
		struct task *task = &job->tasks[i];

		if (task->state != TASK_WAITING || task->sent)
			return false;
		task->sent = true;
		task_link_waiting(task);
	}
	return true;
}

static int take_job(struct scheduler *s, const Godwit__SnapshotJob *from)
{
	struct job *job;
	int result;

	if (from->job.len > 0) {
		result = take_job_head(s, from);
		if (result != 0)
			return result;
		s->restore.task_next = 0;
	}
	job = s->newest;
	if (!job || from->n_waiting % 2 != 0)
		return -EPROTO;
	for (size_t i = 0; i < from->n_tasks; i++) {
		result = take_task(s, job, from->tasks[i]);
		if (result != 0)
			return result;
	}
	for (size_t i = 0; i < from->n_waiting; i += 2) {
		if (!link_waiting(job, from->waiting[i], from->waiting[i + 1]))
			return -EPROTO;
	}
	return 0;
}

/* --- lists ----------------------------------------------------------------------------------- */

static struct job *job_at(const struct scheduler *s, uint32_t index)
{
	return index < s->jobs.count ? s->jobs.entries[index] : NULL; /* none was ever removed */
}

/* Counts and state, before the first list: the lists are checked against them. */
static int count_job(struct job *job)
{
	bool linked = job->waiting;
	uint32_t listed = 0;

	for (const struct task *task = job->waiting; task; task = task->next)
		listed++;
	for (uint32_t i = 0; i < job->task_count; i++) {
		struct task *task = &job->tasks[i];

		job->counts[task->state]++;
		if (task->state == TASK_WAITING && !linked)
			task_link_waiting(task);
	}
	if (linked && listed != job->counts[TASK_WAITING])
		return -EPROTO;
	return job_restored(job) ? 0 : -EPROTO;
}

static int count_jobs(struct scheduler *s)
{
	int result = 0;

	if (s->restore.counted)
		return 0;
	s->restore.counted = true;
	for (uint32_t i = 0; i < s->jobs.count && result == 0; i++)
		result = count_job(s->jobs.entries[i]);
	return result;
}

static int take_held(struct scheduler *s, const Godwit__SnapshotHeld *from)
{
	struct node *node;

	if (from->node >= s->nodes.count || from->n_jobs != from->n_tasks)
		return -EPROTO;
	node = s->nodes.entries[from->node];
	if (node->tasks)
		return -EPROTO;
	for (size_t i = from->n_jobs; i-- > 0;) { /* each goes to the head */
		struct job *job = job_at(s, from->jobs[i]);
		struct task *task;

		if (!job || from->tasks[i] >= job->task_count)
			return -EPROTO;
		task = &job->tasks[from->tasks[i]];
		if (!task_held(task) || task->node != node || task->sent)
			return -EPROTO;
		task->sent = true;
		task_link_held(task);
		s->restore.held++;
	}
	return 0;
}

static int take_lists(struct scheduler *s, const Godwit__Snapshot *piece)
{
	int result = 0;

	if (piece->n_ended + piece->n_queued + piece->n_held > 0 || piece->last)
		result = count_jobs(s);
	for (size_t i = 0; i < piece->n_ended && result == 0; i++) {
		struct job *job = job_at(s, piece->ended[i]);

		result = job && job_link_ended(s, job) ? 0 : -EPROTO;
	}
	for (size_t i = 0; i < piece->n_queued && result == 0; i++) {
		struct job *job = job_at(s, piece->queued[i]);

		result = job && job_link_queued(s, job) ? 0 : -EPROTO;
	}
	for (size_t i = 0; i < piece->n_held && result == 0; i++)
		result = take_held(s, piece->held[i]);
	return result;
}

/* Does every job and task stand in the lists in which it belongs? */
static int finish(struct scheduler *s)
{
	uint32_t ended = 0;
	uint64_t held = 0;

	for (uint32_t i = 0; i < s->nodes.count; i++) {
		const struct node *node = s->nodes.entries[i];

		if (!node->site)
			return -EPROTO;
	}
	for (uint32_t i = 0; i < s->jobs.count; i++) {
		const struct job *job = s->jobs.entries[i];

		ended += job_ended(job);
		held += job->counts[TASK_PLACED] + job->counts[TASK_RUNNING];
		if (job->queued != job_wants(job))
			return -EPROTO;
	}
	return ended == s->ended_count && held == s->restore.held ? 0 : -EPROTO;
}

static int take_who(struct scheduler *s, const Godwit__Snapshot *piece)
{
	int result = 0;

	for (size_t i = 0; i < piece->n_nodes && result == 0; i++)
		result = take_node(s, piece->nodes[i]);
	for (size_t i = 0; i < piece->n_sites && result == 0; i++)
		result = take_site(s, piece->sites[i]);
	for (size_t i = 0; i < piece->n_revoked && result == 0; i++) {
		struct gw_node_id id;

		result = gw_wire_read_id(piece->revoked[i], &id.id) ? node_revoke(s, id) : -EPROTO;
	}
	return result;
}

static int take_piece(struct scheduler *s, const Godwit__Snapshot *piece)
{
	int result = 0;

	if (piece->version != SNAPSHOT_VERSION || piece->part != s->restore.part ||
	    (piece->part > 0) != (piece->head == NULL) ||
	    (s->restore.counted && (piece->n_jobs > 0 || piece->n_nodes > 0)))
		return -EPROTO;
	s->restore.part++;
	if (piece->part == 0)
		result = take_head(s, piece->head);
	if (result == 0)
		result = take_who(s, piece);
	for (size_t i = 0; i < piece->n_jobs && result == 0; i++)
		result = take_job(s, piece->jobs[i]);
	if (result == 0)
		result = take_lists(s, piece);
	if (result != 0 || !piece->last)
		return result;
	s->restore.open = false;
	return finish(s);
}

int restore_piece(struct gw_node *node, const uint8_t *bytes, size_t size)
{
	struct scheduler *s = (struct scheduler *)node;
	const Godwit__Snapshot *piece;
	int result = -EPROTO;

	CHECK(!s->started);
	if (s->restore.part == 0 && s->seq == 0)
		s->restore.open = true; /* until the last piece has come */
	piece = gw_wire_decode(&godwit__snapshot__descriptor, &s->arena, bytes, size);
	if (piece && s->restore.open)
		result = take_piece(s, piece);
	if (result != 0)
		s->restore.part = UINT32_MAX; /* no other piece goes on with what is half taken */
	gw_arena_reset(&s->arena);
	return result;
}
