/*
 * Log reads: a LogRead becomes a STREAM, its OUTPUT a LogData with the same request number. The
 * agent keeps only who asked; a read is lost with its session, and its asker asks again. An attempt
 * that is not in the table may still have output at the keeper, so the keeper decides.
 */
#include <stdio.h>

#include "agent/core/state.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"

#define WAIT_US_MAX (60 * GW_US_PER_S)

/* protobuf-c has no const in its structs. */
static uint8_t *unconst(const uint8_t *bytes)
{
	union {
		const uint8_t *from;
		uint8_t *to;
	} pointer = {.from = bytes};

	return pointer.to;
}

static char *unconst_text(const char *text)
{
	union {
		const char *from;
		char *to;
	} pointer = {.from = text};

	return pointer.to;
}

static void send_log(struct gw_agent *agent, const struct gw_read *read, Godwit__LogData *log,
		     struct gw_effects *effects)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&read->attempt, &ref);
	log->attempt = &ref;
	log->stream = read->number;
	body.kind_case = GODWIT__BODY__KIND_LOG_DATA;
	body.log_data = log;
	body.request = read->request;
	CHECK(gw_agent_send(agent, effects, &body)); /* first of its step: there is room */
}

static void refuse_read(struct gw_agent *agent, const struct gw_read *read, uint64_t offset,
			const char *text, struct gw_effects *effects)
{
	Godwit__LogData log = GODWIT__LOG_DATA__INIT;

	agent->refused++;
	log.offset = offset;
	log.error = unconst_text(text);
	send_log(agent, read, &log, effects);
}

static struct gw_read *find_read(struct gw_agent *agent, uint64_t stream)
{
	for (uint32_t i = 0; i < agent->config.reads_max; i++)
		if (agent->reads[i].stream == stream)
			return &agent->reads[i];
	return NULL;
}

void gw_agent_read_log(struct gw_agent *agent, uint64_t request, const Godwit__LogRead *wanted,
		       struct gw_effects *effects)
{
	struct gw_read read = {.request = request, .number = wanted->stream};
	struct gw_read *slot = find_read(agent, 0);
	struct gw_effect *effect;
	char text[96];

	if (!gw_wire_read_attempt(wanted->attempt, &read.attempt) || read.attempt.attempt == 0) {
		gw_agent_refuse(agent, effects, GW_REFUSAL_MALFORMED, request,
				"a log read names no attempt");
		return;
	}
	if (wanted->stream != 1 && wanted->stream != 2) {
		refuse_read(agent, &read, wanted->offset, "a stream is 1 (stdout) or 2 (stderr)",
			    effects);
		return;
	}
	if (!slot) {
		(void)snprintf(text, sizeof(text), "this node has %u log reads open, its limit",
			       agent->read_count);
		refuse_read(agent, &read, wanted->offset, text, effects);
		return;
	}
	effect = gw_effects_add(effects, GW_EFFECT_STREAM, agent->term_seq);
	CHECK(effect);
	read.stream = ++agent->streams_given;
	*slot = read;
	agent->read_count++;
	effect->stream.stream = read.stream;
	effect->stream.attempt = read.attempt;
	effect->stream.number = read.number;
	effect->stream.offset = wanted->offset;
	effect->stream.bytes_max = wanted->bytes_max;
	if (effect->stream.bytes_max == 0 || effect->stream.bytes_max > GW_LOG_CHUNK_BYTES_MAX)
		effect->stream.bytes_max = GW_LOG_CHUNK_BYTES_MAX;
	effect->stream.wait_us =
		wanted->wait_us < WAIT_US_MAX ? wanted->wait_us : (uint32_t)WAIT_US_MAX;
}

void gw_agent_take_output(struct gw_agent *agent, const struct gw_event *event,
			  struct gw_effects *effects)
{
	Godwit__LogData log = GODWIT__LOG_DATA__INIT;
	struct gw_read *slot = event->output.stream ? find_read(agent, event->output.stream) : NULL;
	struct gw_read read;

	if (!slot) /* its session is gone */
		return;
	CHECK(event->output.size <= GW_LOG_CHUNK_BYTES_MAX);
	CHECK(agent->open);
	read = *slot;
	*slot = (struct gw_read){0};
	agent->read_count--;
	log.offset = event->output.offset;
	log.data.len = event->output.size;
	log.data.data = unconst(event->output.bytes);
	log.end = event->output.end;
	if (event->output.error)
		log.error = unconst_text(event->output.error);
	send_log(agent, &read, &log, effects);
}

void gw_agent_drop_reads(struct gw_agent *agent)
{
	for (uint32_t i = 0; i < agent->config.reads_max; i++)
		agent->reads[i] = (struct gw_read){0};
	agent->read_count = 0;
}
