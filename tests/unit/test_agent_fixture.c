#include "tests/unit/test_agent_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/core/check.h"
#include "proto/base/limits.h"

struct gw_attempt_id fixture_attempt(uint64_t job, uint32_t attempt)
{
	return (struct gw_attempt_id){.job = {gw_id_make(1, 1, job)}, .attempt = attempt};
}

void fixture_init(struct fixture *fixture, uint32_t capacity)
{
	*fixture = (struct fixture){.config = gw_agent_config_default(), .term = 1};
	fixture->now.mono_us = 1000 * GW_US_PER_S;
	fixture->now.wall_us = 1700000000ll * (int64_t)GW_US_PER_S;
	fixture->now.boot_id = gw_id_make(7, 7, 7);
	fixture->scheduler.node.id = gw_id_make(9, 9, 9);
	fixture->config.scheduler = fixture->scheduler.node;
	fixture->config.hash_key = 42;
	assert_int_equal(gw_effects_init(&fixture->effects, capacity, 4u << 20), 0);
	gw_buf_init(&fixture->lines, 1u << 20);
	gw_buf_init(&fixture->journal, 16u << 20);
	gw_arena_init(&fixture->arena, GW_DECODE_BYTES_MAX);
	fixture->node = gw_agent_new(&fixture->config);
	assert_non_null(fixture->node);
}

static void drop_held(struct fixture *fixture)
{
	for (uint32_t i = 0; i < fixture->held_count; i++)
		free(fixture->held[i].bytes);
	fixture->held_count = 0;
}

void fixture_deinit(struct fixture *fixture)
{
	gw_node_free(fixture->node);
	drop_held(fixture);
	gw_effects_deinit(&fixture->effects);
	gw_buf_deinit(&fixture->lines);
	gw_buf_deinit(&fixture->journal);
	gw_arena_deinit(&fixture->arena);
}

void fixture_restart(struct fixture *fixture)
{
	size_t from = 0;

	gw_node_free(fixture->node);
	drop_held(fixture);
	fixture->node = gw_agent_new(&fixture->config);
	assert_non_null(fixture->node);
	fixture->record_count = (uint32_t)fixture->durable_seq;
	for (uint32_t i = 0; i < fixture->record_count; i++) {
		assert_int_equal(gw_node_apply(fixture->node, i + 1, fixture->journal.bytes + from,
					       fixture->ends[i] - from),
				 0);
		from = fixture->ends[i];
	}
	fixture->journal.size = from;
	/* What was told is known still. */
	assert_true(gw_agent_memory(fixture->node).term >= fixture->told_term);
}

static void append(struct fixture *fixture, const struct gw_effect *effect)
{
	assert_int_equal(effect->append.seq, fixture->record_count + 1);
	assert_true(effect->append.seq <= gw_node_seq(fixture->node));
	assert_true(fixture->record_count < FIXTURE_RECORDS_MAX);
	assert_int_equal(
		gw_buf_append(&fixture->journal, effect->append.bytes, effect->append.size), 0);
	fixture->ends[fixture->record_count++] = fixture->journal.size;
	if (!fixture->slow)
		fixture->durable_seq = fixture->record_count;
}

static void print_attempt(struct gw_buf *out, const Godwit__AttemptRef *ref)
{
	struct gw_attempt_id id;

	if (gw_wire_read_attempt(ref, &id))
		assert_int_equal(gw_buf_printf(out, " %llu/%u/%u",
					       (unsigned long long)gw_id_counter(id.job.id),
					       id.task_index, id.attempt),
				 0);
}

static void print_status(struct gw_buf *out, const Godwit__TaskStatus *status)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(
		&godwit__attempt_state__descriptor, status->state);
	int r = 0;

	print_attempt(out, status->attempt);
	assert_non_null(value);
	r |= gw_buf_printf(out, " %s", value->name + strlen("ATTEMPT_"));
	if (status->exit_code)
		r |= gw_buf_printf(out, " exit=%u", status->exit_code);
	if (status->declined)
		r |= gw_buf_printf(out, " declined");
	if (status->error[0])
		r |= gw_buf_printf(out, " (%s)", status->error);
	for (size_t i = 0; i < status->n_not_enforced; i++)
		r |= gw_buf_printf(out, " [%s]", status->not_enforced[i]);
	assert_int_equal(r, 0);
}

static void print_body(struct gw_buf *out, const Godwit__Body *body)
{
	int r = 0;

	switch ((int)body->kind_case) {
	case GODWIT__BODY__KIND_HEARTBEAT:
		r = gw_buf_printf(out, "heartbeat %llu",
				  (unsigned long long)body->heartbeat->number);
		break;
	case GODWIT__BODY__KIND_TASK_STATUS:
		r = gw_buf_printf(out, "status");
		print_status(out, body->task_status);
		break;
	case GODWIT__BODY__KIND_INVENTORY:
		r = gw_buf_printf(out, "inventory part=%u count=%zu%s", body->inventory->part,
				  body->inventory->n_attempts,
				  body->inventory->last ? " last" : "");
		for (size_t i = 0; i < body->inventory->n_attempts && i < 4; i++) {
			r |= gw_buf_printf(out, " ;");
			print_status(out, body->inventory->attempts[i]);
		}
		break;
	case GODWIT__BODY__KIND_REFUSAL:
		r = gw_buf_printf(out, "refusal %u (%s)", body->refusal->code, body->refusal->text);
		break;
	case GODWIT__BODY__KIND_NODE_INFO:
		r = gw_buf_printf(out, "info version=%llu%s",
				  (unsigned long long)body->node_info->capacity_version,
				  body->node_info->draining ? " draining" : "");
		break;
	case GODWIT__BODY__KIND_LOG_DATA:
		r = gw_buf_printf(out, "log request=%llu", (unsigned long long)body->request);
		print_attempt(out, body->log_data->attempt);
		r |= gw_buf_printf(
			out, " at=%llu \"%.*s\"%s%s", (unsigned long long)body->log_data->offset,
			(int)body->log_data->data.len, (const char *)body->log_data->data.data,
			body->log_data->end ? " end " : "", body->log_data->error);
		break;
	default:
		r = gw_buf_printf(out, "%s",
				  godwit__body__descriptor
					  .fields[protobuf_c_message_descriptor_get_field(
							  &godwit__body__descriptor,
							  (unsigned)body->kind_case) -
						  godwit__body__descriptor.fields]
					  .name);
	}
	assert_int_equal(r, 0);
}

static const Godwit__Body *body_of(struct fixture *fixture, const struct gw_effect *effect)
{
	const Godwit__Body *body;

	gw_arena_reset(&fixture->arena);
	body = gw_wire_decode_body(&fixture->arena, effect->send.bytes, effect->send.size);
	assert_non_null(body);
	return body;
}

static void print_order(struct gw_buf *out, const char *name, struct gw_attempt_id id)
{
	assert_int_equal(gw_buf_printf(out, "%s %llu/%u/%u", name,
				       (unsigned long long)gw_id_counter(id.job.id), id.task_index,
				       id.attempt),
			 0);
}

static void write_down(struct fixture *fixture, const struct gw_effect *effect)
{
	struct gw_buf *out = &fixture->lines;
	const Godwit__Body *body = NULL;

	if (effect->kind == GW_EFFECT_SEND)
		body = body_of(fixture, effect);
	if (fixture->see)
		fixture->see(fixture->context, effect, body);
	switch ((int)effect->kind) {
	case GW_EFFECT_SEND:
		assert_int_equal(effect->send.channel == GW_CHANNEL_HEARTBEAT,
				 body->kind_case == GODWIT__BODY__KIND_HEARTBEAT);
		print_body(out, body);
		break;
	case GW_EFFECT_SPAWN:
		print_order(out, "SPAWN", effect->spawn.attempt);
		break;
	case GW_EFFECT_KILL:
		print_order(out, effect->kill.lease_ended ? "END LEASE" : "KILL",
			    effect->kill.attempt);
		break;
	case GW_EFFECT_FORGET:
		print_order(out, "FORGET", effect->forget.attempt);
		break;
	case GW_EFFECT_STREAM:
		print_order(out, "STREAM", effect->stream.attempt);
		assert_int_equal(gw_buf_printf(out, " handle=%llu max=%u",
					       (unsigned long long)effect->stream.stream,
					       effect->stream.bytes_max),
				 0);
		break;
	case GW_EFFECT_PROBE:
		assert_int_equal(gw_buf_printf(out, "PROBE"), 0);
		break;
	default:
		fail_msg("an agent asked for effect %d", (int)effect->kind);
	}
	assert_int_equal(gw_buf_append(out, "\n", 1), 0);
}

/* A heartbeat says nothing that a term bears on, so it alone never waits. */
static void carry_out(struct fixture *fixture, const struct gw_effect *effect, uint64_t term)
{
	bool heartbeat =
		effect->kind == GW_EFFECT_SEND && effect->send.channel == GW_CHANNEL_HEARTBEAT;

	if (!heartbeat && term > fixture->told_term)
		fixture->told_term = term;
	write_down(fixture, effect);
}

static void hold(struct fixture *fixture, const struct gw_effect *effect, uint64_t term)
{
	struct fixture_held *held = &fixture->held[fixture->held_count++];
	const uint8_t **bytes;
	size_t size;

	assert_true(fixture->held_count <= FIXTURE_HELD_MAX);
	*held = (struct fixture_held){.effect = *effect, .term = term};
	bytes = gw_effect_bytes(&held->effect, &size);
	if (!bytes)
		return;
	held->bytes = malloc(size + 1);
	assert_non_null(held->bytes);
	memcpy(held->bytes, *bytes, size);
	*bytes = held->bytes;
}

static void take_effects(struct fixture *fixture)
{
	uint64_t term = gw_agent_memory(fixture->node).term;

	for (uint32_t i = 0; i < fixture->effects.count; i++) {
		const struct gw_effect *effect = &fixture->effects.list[i];

		assert_true(effect->after_seq <= gw_node_seq(fixture->node));
		if (effect->kind == GW_EFFECT_APPEND)
			append(fixture, effect);
		else if (effect->after_seq > fixture->durable_seq)
			hold(fixture, effect, term);
		else
			carry_out(fixture, effect, term);
	}
}

void fixture_durable(struct fixture *fixture)
{
	struct gw_event event = {.kind = GW_EVENT_DURABLE};

	fixture->durable_seq = fixture->record_count;
	for (uint32_t i = 0; i < fixture->held_count; i++)
		carry_out(fixture, &fixture->held[i].effect, fixture->held[i].term);
	drop_held(fixture);
	event.durable.seq = fixture->durable_seq;
	fixture_step(fixture, event);
}

void fixture_step(struct fixture *fixture, struct gw_event event)
{
	char text[256];

	event.now = fixture->now;
	do {
		assert_int_equal(gw_node_step(fixture->node, &event, &fixture->effects), 0);
		take_effects(fixture);
		if (!gw_agent_check(fixture->node, text, sizeof(text)))
			fail_msg("broken invariant: %s", text);
		event = (struct gw_event){.kind = GW_EVENT_CONTINUE, .now = fixture->now};
		if (!fixture->effects.more)
			break;
		gw_effects_clear(&fixture->effects);
	} while (true);
	gw_effects_clear(&fixture->effects);
}

void fixture_expect_at(struct fixture *fixture, const char *lines, const char *file, int line)
{
	assert_int_equal(gw_buf_append(&fixture->lines, "", 1), 0);
	_assert_string_equal((const char *)fixture->lines.bytes, lines, file, line);
	gw_buf_consume(&fixture->lines, fixture->lines.size);
}

void fixture_begin(struct fixture *fixture)
{
	fixture_step(fixture, (struct gw_event){.kind = GW_EVENT_START});
}

void fixture_pass(struct fixture *fixture, uint64_t us)
{
	uint64_t until_us = fixture->now.mono_us + us;

	while (fixture->now.mono_us < until_us) {
		uint64_t wake_us = gw_node_wake_us(fixture->node);
		uint64_t next_us = wake_us < until_us ? wake_us : until_us;

		if (next_us < fixture->now.mono_us)
			next_us = fixture->now.mono_us;
		fixture->now.wall_us += (int64_t)(next_us - fixture->now.mono_us);
		fixture->now.mono_us = next_us;
		if (wake_us <= until_us)
			fixture_step(fixture, (struct gw_event){.kind = GW_EVENT_TICK});
	}
}

void fixture_up(struct fixture *fixture, bool resumed)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_UP};

	event.peer_up.peer = &fixture->scheduler;
	event.peer_up.resumed = resumed;
	fixture_step(fixture, event);
}

void fixture_down(struct fixture *fixture)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_DOWN};

	event.peer_down.node = fixture->scheduler.node;
	event.peer_down.reason = "cut";
	fixture_step(fixture, event);
}

static void deliver(struct fixture *fixture, const Godwit__Body *body, enum gw_channel channel)
{
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};

	event.message.peer = &fixture->scheduler;
	event.message.channel = channel;
	event.message.body = body;
	event.message.term = fixture->term;
	fixture_step(fixture, event);
}

void fixture_message(struct fixture *fixture, const Godwit__Body *body)
{
	deliver(fixture, body, GW_CHANNEL_STATE);
}

void fixture_reply(struct fixture *fixture, uint64_t number, uint64_t lease_us)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__HeartbeatReply reply = GODWIT__HEARTBEAT_REPLY__INIT;

	reply.number = number;
	reply.lease_us = lease_us;
	reply.sent_mono_us = UINT64_MAX; /* a liar's echo must not matter */
	body.kind_case = GODWIT__BODY__KIND_HEARTBEAT_REPLY;
	body.heartbeat_reply = &reply;
	deliver(fixture, &body, GW_CHANNEL_HEARTBEAT);
}

void fixture_start(struct fixture *fixture, struct gw_attempt_id attempt, uint64_t lease_us)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskStart start = GODWIT__TASK_START__INIT;
	Godwit__AttemptRef ref;
	char program[] = "/bin/true";
	char *arguments[] = {program};

	gw_wire_attempt(&attempt, &ref);
	start.attempt = &ref;
	start.n_arguments = 1;
	start.arguments = arguments;
	start.lease_us = lease_us;
	body.kind_case = GODWIT__BODY__KIND_TASK_START;
	body.task_start = &start;
	fixture_message(fixture, &body);
}

void fixture_kill(struct fixture *fixture, struct gw_attempt_id attempt)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskKill kill = GODWIT__TASK_KILL__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	kill.attempt = &ref;
	body.kind_case = GODWIT__BODY__KIND_TASK_KILL;
	body.task_kill = &kill;
	fixture_message(fixture, &body);
}

void fixture_forget(struct fixture *fixture, struct gw_attempt_id attempt)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__TaskForget forget = GODWIT__TASK_FORGET__INIT;
	Godwit__AttemptRef ref;

	gw_wire_attempt(&attempt, &ref);
	forget.attempt = &ref;
	body.kind_case = GODWIT__BODY__KIND_TASK_FORGET;
	body.task_forget = &forget;
	fixture_message(fixture, &body);
}

void fixture_ask_inventory(struct fixture *fixture)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__InventoryRequest request = GODWIT__INVENTORY_REQUEST__INIT;

	body.kind_case = GODWIT__BODY__KIND_INVENTORY_REQUEST;
	body.inventory_request = &request;
	fixture_message(fixture, &body);
}

void fixture_spawned(struct fixture *fixture, struct gw_attempt_id attempt, const char *error)
{
	struct gw_event event = {.kind = GW_EVENT_SPAWNED};

	event.spawned.attempt = attempt;
	event.spawned.pid = 4711;
	event.spawned.error = error;
	fixture_step(fixture, event);
}

void fixture_declined(struct fixture *fixture, struct gw_attempt_id attempt, const char *error)
{
	struct gw_event event = {.kind = GW_EVENT_SPAWNED};

	event.spawned.attempt = attempt;
	event.spawned.error = error;
	event.spawned.declined = true;
	fixture_step(fixture, event);
}

void fixture_exited(struct fixture *fixture, struct gw_attempt_id attempt,
		    Godwit__AttemptState state, uint32_t exit_code)
{
	Godwit__Usage usage = GODWIT__USAGE__INIT;
	struct gw_event event = {.kind = GW_EVENT_EXITED};

	event.exited.attempt = attempt;
	event.exited.state = state;
	event.exited.exit_code = exit_code;
	event.exited.usage = &usage;
	fixture_step(fixture, event);
}
