/*
 * A new session begins with the node's inventory, and that alone makes both sides agree: what the
 * node runs and the scheduler counts on goes on; what the scheduler counts on and the node does not
 * know of is lost; what the node runs and the scheduler does not count on (a stray) is ended, but
 * not before its replacement runs; what ended is recorded. Until it is complete the node gets no
 * commands, so an attempt missing from it can not be one that is still on its way there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define STRAY_GRACE_US (5 * GW_US_PER_S)

void reconcile_begin(struct scheduler *s, struct node *node)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__InventoryRequest request = GODWIT__INVENTORY_REQUEST__INIT;

	strays_of_node(s, node);
	node->reconciled = false;
	node->rebooted = false;
	node->loss_told = false;
	node->inventory++;
	node->inventory_part = 0;
	node->peers_hash = 0;
	body.kind_case = GODWIT__BODY__KIND_INVENTORY_REQUEST;
	body.inventory_request = &request;
	out_send(s, node, &body);
}

static void reconcile_end(struct scheduler *s, struct node *node)
{
	struct task *task = node->tasks;

	node->reconciled = true;
	while (task) {
		struct task *after = task->next;

		if (task->sent && task->inventory != node->inventory)
			task_lost(s, task,
				  node->rebooted ? REBOOTED : "its node no longer knows of it");
		else if (!task->sent || task_kill_wanted(task))
			task_due(s, task);
		task = after;
	}
	node_update(s, node);
	fair_wake(s);
}

void reconcile_part(struct scheduler *s, struct node *node, const Godwit__Inventory *inventory)
{
	if (!node->session || node->reconciled || inventory->part != node->inventory_part)
		return; /* not one that was asked for */
	if (node->inventory_part++ == 0) {
		node_boot(s, node, inventory->boot_id);
		loss_of_term(s, node, inventory->term_seen);
	}
	for (size_t i = 0; i < inventory->n_attempts; i++)
		task_status(s, node, inventory->attempts[i]);
	if (inventory->last)
		reconcile_end(s, node);
}

static void stray_remove(struct scheduler *s, struct stray *stray)
{
	struct node *node = stray->node;

	CHECK(node->stray_count > 0);
	node->stray_count--;
	free(gw_table_remove(&s->strays, &stray->key));
	if (node->stray_count == 0)
		fair_wake(s);
}

void strays_of_node(struct scheduler *s, struct node *node)
{
	uint32_t i = 0;

	while (node->stray_count > 0 && i < s->strays.count) {
		struct stray *stray = s->strays.entries[i];

		if (stray->node == node)
			stray_remove(s, stray); /* the last one moves into its place */
		else
			i++;
	}
}

/* Is there nothing left that this old attempt could stand in for? */
static bool stray_done(const struct task *task, struct gw_attempt_id attempt)
{
	if (!task || task->job->gang || task->job->cancelled)
		return true;
	return task->state != TASK_PLACED || attempt.attempt > task->attempt;
}

static void kill_uncounted(struct scheduler *s, struct node *node, struct gw_attempt_id attempt)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskKill kill = GODWIT__TASK_KILL__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	kill.attempt = &ref;
	kill.grace_us = STRAY_GRACE_US;
	kill.reason = out_text(s, "the scheduler no longer counts on this attempt");
	body.kind_case = GODWIT__BODY__KIND_TASK_KILL;
	body.task_kill = &kill;
	out_send(s, node, &body);
}

static void stray_kill(struct scheduler *s, struct stray *stray)
{
	if (stray->killed || !stray->node->session)
		return;
	stray->killed = true;
	kill_uncounted(s, stray->node, stray->key.attempt);
}

void strays_of_task(struct scheduler *s, const struct task *task)
{
	for (uint32_t i = 0; i < s->strays.count; i++) {
		struct stray *stray = s->strays.entries[i];
		struct gw_attempt_id attempt = stray->key.attempt;

		if (gw_id_equal(attempt.job.id, task->job->id.id) &&
		    attempt.task_index == task->index && stray_done(task, attempt))
			stray_kill(s, stray);
	}
}

/*
 * A given-up attempt that is found alive before anything took its place is taken back: the task is
 * neither lost nor run twice. True: it was.
 */
static bool take_back(struct scheduler *s, struct node *node, struct task *task,
		      const Godwit__TaskStatus *status)
{
	Godwit__Record record = GODWIT__RECORD__INIT;
	Godwit__TaskPlaced placed = GODWIT__TASK_PLACED__INIT;
	Godwit__TaskPlaced__Placed place = GODWIT__TASK_PLACED__PLACED__INIT;
	Godwit__TaskPlaced__Placed *places[] = {&place};
	uint16_t bits = node_device_bits(node, task->devices);

	if (task->state != TASK_WAITING || task->ended || task->node != node || task->job->gang)
		return false;
	if (node->info_bytes && !node_fits(node, &task->job->need, task->port, bits))
		return false;
	place.device_uuids = task_devices(s, task, &place.n_device_uuids);
	place.task_index = task->index;
	place.attempt = task->attempt;
	place.node = gw_wire_id(&node->id.id);
	place.rtt_us = task->rtt_us;
	place.port = task->port;
	place.port_count = task->port_count;
	placed.job = gw_wire_id(&task->job->id.id);
	placed.n_tasks = 1;
	placed.tasks = places;
	record.kind_case = GODWIT__RECORD__KIND_TASK_PLACED;
	record.task_placed = &placed;
	apply_commit(s, &record);
	task->inventory = node->inventory;
	task->sent_us = s->now.mono_us;
	if (status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING)
		apply_task_changed(s, task_attempt(task), GODWIT__TASK_CHANGE__TASK_STARTED, status,
				   NULL);
	task_after(s, task);
	return true;
}

static struct stray *stray_add(struct scheduler *s, struct node *node, const struct stray_key *key)
{
	struct stray *stray = gw_table_find(&s->strays, key);

	if (stray)
		return stray;
	stray = calloc(1, sizeof(*stray));
	if (!stray) {
		out_failed(s, -ENOMEM);
		return NULL;
	}
	stray->key = *key;
	stray->node = node;
	if (gw_table_add(&s->strays, stray) != 0) {
		free(stray);
		return NULL; /* past the limit: it is killed without being kept in mind */
	}
	node->stray_count++;
	return stray;
}

static bool is_former(const struct task *task, const struct node *node,
		      struct gw_attempt_id attempt)
{
	const struct former *former = task ? task->former : NULL;

	return former && former->attempt == attempt.attempt && former->node == node;
}

/*
 * Does what a former attempt's node says of it outweigh its replacement? An end counts if it is a
 * success: else the replacement is what is left. A job that keeps its replacement keeps one that
 * runs against a success, and one that has a place against an attempt that goes on.
 */
static bool former_wins(const struct task *task, const struct node *node,
			struct gw_attempt_id attempt, const Godwit__TaskStatus *status)
{
	const struct former *former;
	const struct job *job;
	bool replacement;

	if (!is_former(task, node, attempt) || task->job->cancelled ||
	    (!task_held(task) && task->state != TASK_WAITING))
		return false;
	former = task->former;
	job = task->job;
	replacement = job->reconcile == GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT;
	if (status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED)
		return status->exit_code == 0 && status->signal == 0 &&
		       !(replacement && task->state == TASK_RUNNING);
	if (replacement && task->state != TASK_WAITING)
		return false;
	if (status->state != GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING &&
	    status->state != GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING)
		return false;
	if (node->info_bytes &&
	    !node_fits(node, &job->need, former->port, node_device_bits(node, former->devices)))
		return false;
	return job->reconcile == GODWIT__RECONCILE__RECONCILE_KEEP_ORIGINAL ||
	       task->state != TASK_RUNNING ||
	       (former->started_wall_us != 0 && former->started_wall_us <= task->started_wall_us);
}

/* The former attempt counts from here on, or its end does, and the replacement is ended. */
static void keep_former(struct scheduler *s, struct node *node, struct task *task,
			struct gw_attempt_id attempt, const Godwit__TaskStatus *status)
{
	struct stray_key key;
	struct node *other = task->node;
	bool runs = task_held(task) && task->sent;

	memset(&key, 0, sizeof(key));
	key.attempt = task_attempt(task);
	key.node = other->id;
	if (status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED) {
		apply_task_changed(s, attempt, GODWIT__TASK_CHANGE__TASK_ENDED, status,
				   status->error);
		task_forget(s, node, attempt);
	} else {
		apply_task_kept(s, task);
		if (task->state == TASK_PLACED &&
		    status->state == GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING)
			apply_task_changed(s, attempt, GODWIT__TASK_CHANGE__TASK_STARTED, status,
					   NULL);
		task->inventory = node->inventory;
		task->sent_us = s->now.mono_us;
	}
	task->over_time = false;
	task_after(s, task);
	if (runs) {
		struct stray *stray = stray_add(s, other, &key);

		if (stray)
			stray_kill(s, stray);
		else
			kill_uncounted(s, other, key.attempt);
	}
}

static bool ended(Godwit__AttemptState state)
{
	return state == GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED ||
	       state == GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START ||
	       state == GODWIT__ATTEMPT_STATE__ATTEMPT_LOST ||
	       state == GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE;
}

void stray_report(struct scheduler *s, struct node *node, struct gw_attempt_id attempt,
		  const Godwit__TaskStatus *status)
{
	struct task *task = task_find(s, attempt);
	struct stray_key key;
	struct stray *stray;

	memset(&key, 0, sizeof(key));
	key.attempt = attempt;
	key.node = node->id;
	stray = gw_table_find(&s->strays, &key);
	loss_of_attempt(s, node, attempt);
	if (former_wins(task, node, attempt, status)) {
		if (stray)
			stray_remove(s, stray);
		keep_former(s, node, task, attempt, status);
		return;
	}
	if (ended(status->state)) {
		if (stray)
			stray_remove(s, stray);
		if (is_former(task, node, attempt))
			apply_task_changed(s, attempt, GODWIT__TASK_CHANGE__TASK_LOST, NULL, NULL);
		task_forget(s, node, attempt);
		return;
	}
	if (task && task->attempt == attempt.attempt && take_back(s, node, task, status)) {
		if (stray)
			stray_remove(s, stray);
		return;
	}
	if (!stray)
		stray = stray_add(s, node, &key);
	if (!stray)
		kill_uncounted(s, node, attempt);
	else if (stray_done(task, attempt))
		stray_kill(s, stray);
}
