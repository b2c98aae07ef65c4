/*
 * A task's output, read where it lies: the request goes to the attempt's node under a number of our
 * own, and what comes back under that number answers the client. Nothing is kept here but who
 * asked, and for how long he will wait.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/core/state.h"

static void reply_error(struct scheduler *s, uint64_t request, const char *text)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__LogData data = GODWIT__LOG_DATA__INIT;

	data.error = out_text(s, "%s", text);
	body.kind_case = GODWIT__BODY__KIND_LOG_DATA;
	body.log_data = &data;
	out_reply(s, request, &body);
}

static void log_link(struct node *node, struct log_request *log)
{
	log->node = node;
	log->next = node->logs;
	if (log->next)
		log->next->prev = log;
	node->logs = log;
}

static void log_end(struct scheduler *s, struct log_request *log)
{
	if (log->prev)
		log->prev->next = log->next;
	else
		log->node->logs = log->next;
	if (log->next)
		log->next->prev = log->prev;
	timer_clear(s, &log->timer);
	free(gw_table_remove(&s->logs, &log->number));
}

/* Why the read cannot be passed on to the attempt's node; NULL: it can. */
static const char *check_read(struct scheduler *s, const struct task *task, const struct node *node,
			      uint32_t attempt)
{
	if (!task->node)
		return "the task has not been placed yet: it has no output";
	if (!node && attempt > task->attempt_last)
		return out_text(s, "the task has not had an attempt %u; the latest is %u", attempt,
				task->attempt);
	if (!node)
		return out_text(s,
				"it is not known any more where attempt %u ran, or it was not "
				"begun; the latest is %u",
				attempt, task->attempt);
	if (!node->session)
		return out_text(s, "the output lies on node %s, which is %s", node->name,
				node_state_name(node->state));
	if (s->logs.count >= LOG_REQUESTS_MAX)
		return "too many reads of output are under way; try again in a second";
	return NULL;
}

static void forward(struct scheduler *s, struct gw_attempt_id attempt,
		    const struct log_request *log, const Godwit__LogRead *read)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__LogRead copy = GODWIT__LOG_READ__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	copy.attempt = &ref;
	copy.stream = read->stream;
	copy.offset = read->offset;
	copy.bytes_max =
		read->bytes_max < GW_LOG_CHUNK_BYTES_MAX ? read->bytes_max : GW_LOG_CHUNK_BYTES_MAX;
	copy.wait_us = read->wait_us < LOG_WAIT_US_MAX ? read->wait_us : (uint32_t)LOG_WAIT_US_MAX;
	body.kind_case = GODWIT__BODY__KIND_LOG_READ;
	body.log_read = &copy;
	body.request = log->number;
	out_send(s, log->node, &body);
}

void logs_read(struct scheduler *s, uint64_t request, const struct gw_peer *user,
	       const Godwit__LogRead *read)
{
	struct gw_attempt_id attempt;
	struct log_request *log;
	struct node *node;
	struct task *task;
	const char *error;

	if (!gw_wire_read_attempt(read->attempt, &attempt) || read->stream < 1 ||
	    read->stream > 2) {
		reply_error(s, request, "a read of output names a job, a task and stream 1 or 2");
		return;
	}
	task = task_find(s, attempt);
	if (!task || !query_may_see(user, task->job)) {
		reply_error(s, request, "no such task");
		return;
	}
	if (attempt.attempt == 0)
		attempt.attempt = task->attempt;
	node = attempt_node(task, attempt.attempt);
	error = check_read(s, task, node, attempt.attempt);
	if (error) {
		reply_error(s, request, error);
		return;
	}
	log = calloc(1, sizeof(*log));
	if (!log) {
		out_failed(s, -ENOMEM);
		return;
	}
	log->number = ++s->log_number;
	log->request = request;
	log->timer.kind = TIMER_LOG;
	CHECK(gw_table_add(&s->logs, log) == 0);
	log_link(node, log);
	timer_set(s, &log->timer, s->now.mono_us + LOG_WAIT_US_MAX + LOG_GRACE_US);
	forward(s, attempt, log, read);
}

void logs_data(struct scheduler *s, struct node *node, uint64_t number, const Godwit__LogData *data)
{
	struct log_request *log = gw_table_find(&s->logs, &number);
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__LogData copy = *data;

	copy.base.n_unknown_fields = 0;
	if (!log || log->node != node)
		return; /* the client no longer waits */
	body.kind_case = GODWIT__BODY__KIND_LOG_DATA;
	body.log_data = &copy;
	out_reply(s, log->request, &body);
	log_end(s, log);
}

void logs_refused(struct scheduler *s, struct node *node, uint64_t number, const char *text)
{
	struct log_request *log = gw_table_find(&s->logs, &number);

	if (!log || log->node != node)
		return;
	reply_error(s, log->request, text);
	log_end(s, log);
}

void logs_node_gone(struct scheduler *s, struct node *node)
{
	while (node->logs) {
		reply_error(s, node->logs->request,
			    out_text(s, "node %s fell silent before it answered", node->name));
		log_end(s, node->logs);
	}
}

void logs_timer(struct scheduler *s, struct log_request *log)
{
	reply_error(s, log->request,
		    out_text(s, "node %s did not answer in time", log->node->name));
	log_end(s, log);
}
