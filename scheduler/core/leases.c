/*
 * Silence and what follows from it. A node not heard for unknown_after is unknown: nothing new goes
 * there, and what it runs goes on running. An attempt there is given up only when its lease has
 * certainly ended on the node's own clock: the lease counted from the last heartbeat answered (the
 * agent counts from when it sent that heartbeat, which is earlier), plus what two clocks may drift
 * apart meanwhile. What a former scheduler may have granted is covered by counting from this one's
 * start. A job's disconnect policy makes that later, or never; earlier only where it permits a
 * double.
 */
#include <errno.h>
#include <stddef.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

#define DRIFT_FIXED_US GW_US_PER_S

void timer_set(struct scheduler *s, struct timer *timer, uint64_t at_us)
{
	int result;

	if (timer->item.order == 0)
		timer->item.order = ++s->timer_order;
	result = gw_heap_set(&s->timers, &timer->item, at_us);
	if (result != 0)
		out_failed(s, result);
}

void timer_clear(struct scheduler *s, struct timer *timer)
{
	gw_heap_remove(&s->timers, &timer->item);
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t lease_lost_us(const struct scheduler *s, const struct task *task)
{
	const struct node *node = task->node;
	const struct job *job = task->job;
	uint64_t from_us = max_u64(max_u64(task->sent_us, s->started_us), node->answered_us);
	uint64_t ended_us = from_us + job->lease_us +
			    job->lease_us / 1000000 * s->config.drift_ppm + DRIFT_FIXED_US;
	uint64_t wanted_us = max_u64(from_us, node->heard_us) + job->lost_after_us;

	if (job->lost_after_us == 0)
		return ended_us;
	return job->replace == GODWIT__REPLACE__REPLACE_AT_ONCE ? wanted_us
								: max_u64(wanted_us, ended_us);
}

/* Never means: not for silence alone. What is to be ended anyway, or will not be heard again, holds
 * its place and its job no longer than its lease. */
uint64_t lease_give_up_us(const struct scheduler *s, const struct task *task)
{
	const struct job *job = task->job;
	bool over = job->cancelled || job->doomed || job->restarting || task->node->revoked;

	return job->replace == GODWIT__REPLACE__REPLACE_NEVER && !over ? GW_NEVER_US
								       : lease_lost_us(s, task);
}

static void give_up_one(struct scheduler *s, struct task *task)
{
	bool early = task->job->replace == GODWIT__REPLACE__REPLACE_AT_ONCE &&
		     task->job->lost_after_us > 0;

	apply_task_unheard(s, task,
			   early ? "its node was cut off or down: silent for longer than the job's "
				   "lost_after"
				 : "its node was cut off or down: silent for longer than the "
				   "lease");
	task_after(s, task);
}

/* Has the node said by heartbeats more than the state channel brought, for too long? */
static bool stalled(const struct scheduler *s, const struct node *node)
{
	return s->now.mono_us - node->progress_us >= s->config.stall_after_us;
}

/* Gives up what is due on a silent node; returns when the next is, or GW_NEVER_US. */
static uint64_t give_up(struct scheduler *s, struct node *node)
{
	uint64_t next_us = GW_NEVER_US;
	struct task *task = node->tasks;
	bool gave_up = false;

	while (task) {
		struct task *after = task->next;
		uint64_t at_us = lease_give_up_us(s, task);

		if (!task->sent) {
			task_lost(s, task, "its node fell silent before the start was sent");
		} else if (at_us <= s->now.mono_us) {
			give_up_one(s, task);
			gave_up = true;
		} else if (at_us < next_us) {
			next_us = at_us;
		}
		task = after;
	}
	/* A session may outlive the silence. Nothing is placed there before its inventory says what
	 * still runs of what was given up. */
	if (gave_up && node->session)
		reconcile_begin(s, node);
	return next_us;
}

/*
 * Sets the node's silence right and acts on it. One timer a node: while it speaks, for the moment
 * at which it would be unknown; while it is silent, for the next attempt to be given up.
 */
void lease_check(struct scheduler *s, struct node *node)
{
	uint64_t base_us = max_u64(node->heard_us, s->started_us);
	bool silent = s->now.mono_us - base_us >= s->config.unknown_after_us || stalled(s, node);
	uint64_t next_us;

	if (node->revoked)
		silent = true;
	if (silent != node->silent) {
		node->silent = silent;
		node_update(s, node); /* comes back here */
	}
	if (node->declined_until_us != 0 && node->declined_until_us <= s->now.mono_us) {
		node->declined_until_us = 0;
		node_update(s, node); /* comes back here */
	}
	if (!silent && node->session) {
		next_us = min_u64(base_us + s->config.unknown_after_us,
				  node->progress_us + s->config.stall_after_us);
		if (node->declined_until_us != 0)
			next_us = min_u64(next_us, node->declined_until_us);
		timer_set(s, &node->timer, next_us);
		return;
	}
	next_us = give_up(s, node);
	if (node->state == NODE_UNKNOWN && node->task_count == 0 &&
	    s->now.mono_us - base_us < s->config.lost_after_us)
		next_us = base_us + s->config.lost_after_us;
	else if (node->state == NODE_UNKNOWN && node->task_count == 0)
		node->state = NODE_LOST;
	if (next_us == GW_NEVER_US)
		timer_clear(s, &node->timer);
	else
		timer_set(s, &node->timer, next_us);
}

static void answer(struct scheduler *s, struct node *node, const Godwit__Heartbeat *heartbeat)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__HeartbeatReply reply = GODWIT__HEARTBEAT_REPLY__INIT;

	reply.number = heartbeat->number;
	reply.sent_mono_us = heartbeat->sent_mono_us;
	reply.lease_us = s->config.lease_us_max; /* each attempt's own is less */
	reply.state_sequence = node->sent;
	reply.state_received = node->received;
	body.kind_case = GODWIT__BODY__KIND_HEARTBEAT_REPLY;
	body.heartbeat_reply = &reply;
	out_heartbeat(s, node, &body);
	node->answered_us = s->now.mono_us;
	node->heartbeat_mono_us = heartbeat->sent_mono_us;
}

/* The first heartbeat of a session: a start can name, by the node's own clock, when its lease
 * began. Without that a start held up on its way would be obeyed after the attempt was given up. */
static void first_heartbeat(struct scheduler *s, struct node *node)
{
	for (struct task *task = node->tasks; task; task = task->next) {
		if (!task->sent)
			task_due(s, task);
	}
	node_update(s, node);
}

void lease_heartbeat(struct scheduler *s, struct node *node, const Godwit__Heartbeat *heartbeat)
{
	bool first = node->heartbeat_mono_us == 0;

	node_note_back(s, node);
	node->heard_us = s->now.mono_us;
	node->rtt_us = heartbeat->rtt_us;
	if ((heartbeat->state_sequence <= node->received || node->received > node->received_mark) &&
	    (heartbeat->state_received >= node->sent ||
	     heartbeat->state_received > node->sent_mark))
		node->progress_us = s->now.mono_us;
	node->received_mark = node->received;
	node->sent_mark = heartbeat->state_received;
	answer(s, node, heartbeat);
	if (first)
		first_heartbeat(s, node);
	if (node->silent)
		lease_check(s, node);
}
