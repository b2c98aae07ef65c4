/* The kind of a message by its name in the .proto file, and the attempt or job that it names. */
#include "bench/sim/transcript.h"

#include <stdio.h>
#include <string.h>

static const char *kind_name(const Godwit__Body *body)
{
	for (unsigned i = 0; i < godwit__body__descriptor.n_fields; i++) {
		if (godwit__body__descriptor.fields[i].id == (uint32_t)body->kind_case)
			return godwit__body__descriptor.fields[i].name;
	}
	return "nothing";
}

static const Godwit__AttemptRef *attempt_of(const Godwit__Body *body)
{
	if (body->kind_case == GODWIT__BODY__KIND_TASK_START)
		return body->task_start->attempt;
	if (body->kind_case == GODWIT__BODY__KIND_TASK_KILL)
		return body->task_kill->attempt;
	if (body->kind_case == GODWIT__BODY__KIND_TASK_STATUS)
		return body->task_status->attempt;
	if (body->kind_case == GODWIT__BODY__KIND_TASK_FORGET)
		return body->task_forget->attempt;
	if (body->kind_case == GODWIT__BODY__KIND_LOG_READ)
		return body->log_read->attempt;
	return NULL;
}

static void detail(const Godwit__Body *body, char *ret_text, size_t size)
{
	static const char *const states[] = {"unknown",         "starting", "running",  "exited",
					     "failed to start", "lost",     "tombstone"};
	struct gw_attempt_id attempt;
	struct gw_id job;
	char id[GW_ID_TEXT_BYTES + 24];

	ret_text[0] = '\0';
	if (gw_wire_read_attempt(attempt_of(body), &attempt)) {
		sim_format_attempt(&attempt, id);
		(void)snprintf(ret_text, size, " %s", id); /* fits */
	}
	if (body->kind_case == GODWIT__BODY__KIND_TASK_STATUS && body->task_status->state < 7)
		(void)snprintf(ret_text + strlen(ret_text), size - strlen(ret_text), " %s",
			       states[body->task_status->state]);
	if (body->kind_case == GODWIT__BODY__KIND_SUBMIT_REPLY) {
		id[0] = '\0';
		if (gw_wire_read_id(body->submit_reply->job, &job))
			gw_id_format(job, id);
		(void)snprintf(ret_text, size, " %s%s", id, body->submit_reply->error);
	}
	if (body->kind_case == GODWIT__BODY__KIND_INVENTORY)
		(void)snprintf(ret_text, size, " of %zu attempts", body->inventory->n_attempts);
	if (body->kind_case == GODWIT__BODY__KIND_REFUSAL)
		(void)snprintf(ret_text, size, " %s", body->refusal->text);
}

void sim_say_body(struct sim_world *world, const char *who, const char *arrow, const char *other,
		  const Godwit__Body *body)
{
	char text[256];

	if (!world->transcript || body->kind_case == GODWIT__BODY__KIND_HEARTBEAT ||
	    body->kind_case == GODWIT__BODY__KIND_HEARTBEAT_REPLY)
		return;
	detail(body, text, sizeof(text));
	sim_transcribe(world, who, "%s %s %s%s", arrow, other, kind_name(body), text);
}
