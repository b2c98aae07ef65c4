/* The kind of a message by its name in the .proto file, and the attempt or job that it names. */
#include "bench/sim/transcript.h"

#include <stdio.h>
#include <string.h>

#include "bench/sim/grid.h"
#include "proto/base/limits.h"

static const char *kind_name(const ProtobufCMessageDescriptor *descriptor, int kind)
{
	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		if (descriptor->fields[i].id == (uint32_t)kind)
			return descriptor->fields[i].name;
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
	struct gw_job_id job;
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
		if (gw_wire_read_id(body->submit_reply->job, &job.id))
			sim_format_job(job, id);
		(void)snprintf(ret_text, size, " %s%s", id, body->submit_reply->error);
	}
	if (body->kind_case == GODWIT__BODY__KIND_INVENTORY)
		(void)snprintf(ret_text, size, " of %zu attempts", body->inventory->n_attempts);
	if (body->kind_case == GODWIT__BODY__KIND_REFUSAL)
		(void)snprintf(ret_text, size, " %s", body->refusal->text);
}

static bool repeats(const Godwit__Body *body)
{
	return body->kind_case == GODWIT__BODY__KIND_HEARTBEAT ||
	       body->kind_case == GODWIT__BODY__KIND_HEARTBEAT_REPLY ||
	       body->kind_case == GODWIT__BODY__KIND_JOBS_REQUEST ||
	       body->kind_case == GODWIT__BODY__KIND_JOBS_REPLY;
}

void sim_say_body(struct sim_world *world, const char *who, const char *arrow, const char *other,
		  const Godwit__Body *body)
{
	char text[256];

	if (!world->transcript || repeats(body))
		return;
	detail(body, text, sizeof(text));
	sim_transcribe(world, who, "%s %s %s%s", arrow, other,
		       kind_name(&godwit__body__descriptor, (int)body->kind_case), text);
}

void sim_say_envelope(struct sim_world *world, const char *who, const uint8_t *bytes, size_t size)
{
	static const char *const controls[] = {"data", "HELLO", "WELCOME", "REFUSE"};
	const Godwit__Envelope *envelope;
	struct gw_arena arena;

	if (!world->transcript)
		return;
	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	envelope = gw_wire_decode_envelope(&arena, bytes, size);
	if (envelope && (envelope->control != GODWIT__LINK_CONTROL__LINK_DATA || world->stopped))
		sim_transcribe(world, who,
			       "< link %s of epoch %04x to %04x, sequence %llu, acknowledged %llu",
			       controls[envelope->control % 4],
			       (unsigned)(envelope->epoch & 0xffff),
			       (unsigned)(envelope->peer_epoch & 0xffff),
			       (unsigned long long)envelope->sequence,
			       (unsigned long long)envelope->acknowledged);
	gw_arena_deinit(&arena);
}

static void placed_detail(struct sim_grid *grid, const Godwit__TaskPlaced *placed,
			  struct gw_job_id job, char *ret_text, size_t size)
{
	for (size_t i = 0; i < placed->n_tasks; i++) {
		const Godwit__TaskPlaced__Placed *place = placed->tasks[i];
		struct gw_attempt_id attempt = {job, place->task_index, place->attempt};
		const struct sim_agent *agent = NULL;
		size_t used = strlen(ret_text);
		char text[GW_ID_TEXT_BYTES + 24];
		struct gw_node_id node;

		if (gw_wire_read_id(place->node, &node.id))
			agent = sim_grid_agent(grid, node);
		sim_format_attempt(&attempt, text);
		(void)snprintf(ret_text + used, size - used, "%s%s on %s", i > 0 ? ", " : "", text,
			       agent ? agent->host.name : "an unknown node");
	}
}

void sim_say_record(struct sim_grid *grid, const Godwit__Record *record)
{
	static const char *const changes[] = {"none", "started", "ended", "lost"};
	struct gw_attempt_id attempt;
	struct gw_job_id job;
	char text[512] = "";

	if (!grid->world.transcript)
		return;
	if (record->kind_case == GODWIT__RECORD__KIND_JOB_ACCEPTED &&
	    gw_wire_read_id(record->job_accepted->job, &job.id)) {
		sim_format_job(job, text);
	} else if (record->kind_case == GODWIT__RECORD__KIND_TASK_PLACED &&
		   gw_wire_read_id(record->task_placed->job, &job.id)) {
		placed_detail(grid, record->task_placed, job, text, sizeof(text));
	} else if (record->kind_case == GODWIT__RECORD__KIND_TASK_CHANGED &&
		   gw_wire_read_attempt(record->task_changed->attempt, &attempt)) {
		sim_format_attempt(&attempt, text);
		(void)snprintf(text + strlen(text), sizeof(text) - strlen(text), " %s %s",
			       changes[record->task_changed->change % 4],
			       record->task_changed->error);
	}
	sim_transcribe(&grid->world, "journal", "%s %s",
		       kind_name(&godwit__record__descriptor, (int)record->kind_case), text);
}
