/*
 * Sequences of events into the agent's core, under its invariants. The input is read as steps: a
 * byte below EVENT_FIRST is the length of a body from an authenticated scheduler, which follows; the
 * others are the events below. Records last when the input says so; a crash takes what does not, and
 * the effects that waited for it. After every step:
 *  - the core's own invariants hold;
 *  - nothing waits for a record that was not made, and records are numbered without a gap.
 * After every crash: the term that anything was done under is known still, and so is a lease, if
 * anything was started. Snapshot and records give the same state as records alone.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/core/agent.h"
#include "agent/core/check.h"
#include "proto/base/buf.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define ATTEMPTS_MAX 8u
#define RECORDS_MAX 4096u
#define HELD_MAX 1024u
#define EVENT_FIRST 0xf0u

enum step_kind {
	STEP_CRASH = EVENT_FIRST,
	STEP_DURABLE,
	STEP_SPAWNED,
	STEP_EXITED,
	STEP_DOWN,
	STEP_UP,
	STEP_RESUME,
	STEP_NEXT_TERM,
	STEP_OLD_TERM,
	STEP_MINUTE,
	STEP_HOUR,
	STEP_SNAPSHOT,
	STEP_SAMPLE,
	STEP_OUTPUT,
	STEP_HEARD, /* the last heartbeat is answered */
	STEP_STOP,
};

struct held {
	uint64_t after_seq;
	uint64_t term;
	enum gw_effect_kind kind;
	struct gw_attempt_id attempt;
};

/* What the keeper holds. */
struct kept {
	struct gw_attempt_id attempt;
	bool ended;
};

struct world {
	struct gw_agent_config config;
	struct gw_peer peer;
	struct gw_node *node;
	struct gw_effects effects;
	struct gw_now now;
	uint64_t term;      /* of the leader that speaks */
	uint64_t term_last; /* of the newest leader */
	uint64_t told_term; /* highest under which anything was done */
	bool spawned;       /* anything was, since the journal's begin */
	uint64_t heartbeat;
	uint64_t stream;
	struct gw_buf journal;
	size_t ends[RECORDS_MAX]; /* [count] */
	uint64_t count;
	uint64_t durable;
	struct held held[HELD_MAX]; /* [held_count] */
	uint32_t held_count;
	struct kept kept[ATTEMPTS_MAX]; /* [kept_count] */
	uint32_t kept_count;
};

static struct kept *find_kept(struct world *world, struct gw_attempt_id id)
{
	for (uint32_t i = 0; i < world->kept_count; i++)
		if (gw_attempt_id_equal(world->kept[i].attempt, id))
			return &world->kept[i];
	return NULL;
}

static void forget(struct world *world, struct gw_attempt_id id)
{
	struct kept *kept = find_kept(world, id);

	if (kept && kept->ended) /* another is the keeper's to refuse */
		*kept = world->kept[--world->kept_count];
}

static void carry_out(struct world *world, const struct held *effect)
{
	if (effect->term > world->told_term)
		world->told_term = effect->term;
	if (effect->kind == GW_EFFECT_SPAWN) {
		struct kept *kept = find_kept(world, effect->attempt);

		CHECK(!kept || kept->ended);
		world->spawned = true;
		if (!kept && world->kept_count < ATTEMPTS_MAX)
			world->kept[world->kept_count++] =
				(struct kept){.attempt = effect->attempt};
	} else if (effect->kind == GW_EFFECT_FORGET) {
		forget(world, effect->attempt);
	}
}

static void append(struct world *world, const struct gw_effect *effect)
{
	CHECK(effect->append.seq == world->count + 1);
	CHECK(world->count < RECORDS_MAX);
	CHECK(gw_buf_append(&world->journal, effect->append.bytes, effect->append.size) == 0);
	world->ends[world->count++] = world->journal.size;
}

static void take_effect(struct world *world, const struct gw_effect *effect)
{
	struct held held = {.after_seq = effect->after_seq,
			    .term = gw_agent_memory(world->node).term,
			    .kind = effect->kind};

	CHECK(effect->after_seq <= gw_node_seq(world->node));
	if (effect->kind == GW_EFFECT_APPEND) {
		append(world, effect);
		return;
	}
	if (effect->kind == GW_EFFECT_SEND && effect->send.channel == GW_CHANNEL_HEARTBEAT) {
		world->heartbeat++;
		return;
	}
	if (effect->kind == GW_EFFECT_SPAWN)
		held.attempt = effect->spawn.attempt;
	if (effect->kind == GW_EFFECT_FORGET)
		held.attempt = effect->forget.attempt;
	if (effect->kind == GW_EFFECT_STREAM)
		world->stream = effect->stream.stream;
	if (effect->after_seq <= world->durable)
		carry_out(world, &held);
	else if (world->held_count < HELD_MAX)
		world->held[world->held_count++] = held;
}

static void step(struct world *world, struct gw_event event)
{
	char text[256];
	bool more = true;

	while (more) {
		event.now = world->now;
		CHECK(gw_node_step(world->node, &event, &world->effects) == 0);
		CHECK(gw_agent_check(world->node, text, sizeof(text)));
		for (uint32_t i = 0; i < world->effects.count; i++)
			take_effect(world, &world->effects.list[i]);
		CHECK(gw_node_seq(world->node) == world->count);
		more = world->effects.more;
		gw_effects_clear(&world->effects);
		event = (struct gw_event){.kind = GW_EVENT_CONTINUE};
	}
}

/* A body of the input, or one made here. */
static void deliver(struct world *world, const Godwit__Body *body, bool heartbeat)
{
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};

	event.message.peer = &world->peer;
	event.message.channel = heartbeat ? GW_CHANNEL_HEARTBEAT : GW_CHANNEL_STATE;
	event.message.body = body;
	event.message.term = world->term;
	step(world, event);
}

static void deliver_bytes(struct world *world, const uint8_t *bytes, size_t size)
{
	const Godwit__Body *body;
	struct gw_arena arena;

	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	body = gw_wire_decode_body(&arena, bytes, size);
	if (body)
		deliver(world, body, size % 7 == 0);
	gw_arena_deinit(&arena);
}

static void hear(struct world *world)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__HeartbeatReply reply = GODWIT__HEARTBEAT_REPLY__INIT;

	reply.number = world->heartbeat;
	reply.lease_us = 60 * GW_US_PER_S;
	body.kind_case = GODWIT__BODY__KIND_HEARTBEAT_REPLY;
	body.heartbeat_reply = &reply;
	deliver(world, &body, true);
}

static void last(struct world *world)
{
	struct gw_event event = {.kind = GW_EVENT_DURABLE, .durable.seq = world->count};

	world->durable = world->count;
	for (uint32_t i = 0; i < world->held_count; i++)
		carry_out(world, &world->held[i]);
	world->held_count = 0;
	step(world, event);
}

static void open_session(struct world *world, bool resumed)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_UP,
				 .peer_up = {.peer = &world->peer, .resumed = resumed}};

	step(world, event);
}

static void close_session(struct world *world)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_DOWN,
				 .peer_down = {.node = world->peer.node, .reason = "cut"}};

	step(world, event);
}

static void tell_attempt(struct world *world, struct kept *kept, bool ended)
{
	Godwit__Usage usage = GODWIT__USAGE__INIT;
	struct gw_event event = {.kind = GW_EVENT_SPAWNED, .spawned = {.pid = 7}};

	kept->ended = kept->ended || ended;
	if (kept->ended) {
		event.kind = GW_EVENT_EXITED;
		event.exited.state = GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED;
		event.exited.usage = &usage;
		event.exited.attempt = kept->attempt;
	} else {
		event.spawned.attempt = kept->attempt;
	}
	step(world, event);
}

/* Records after_seq + 1 to seq into the node. */
static struct gw_node *replay(const struct world *world, uint64_t after_seq, uint64_t seq,
			      struct gw_node *node)
{
	size_t from = after_seq ? world->ends[after_seq - 1] : 0;

	CHECK(node);
	for (uint64_t i = after_seq; i < seq; i++) {
		CHECK(gw_node_apply(node, i + 1, world->journal.bytes + from,
				    world->ends[i] - from) == 0);
		from = world->ends[i];
	}
	return node;
}

static void crash(struct world *world)
{
	gw_node_free(world->node);
	world->count = world->durable;
	world->journal.size = world->count ? world->ends[world->count - 1] : 0;
	world->held_count = 0;
	world->heartbeat = 0;
	world->stream = 0;
	world->node = replay(world, 0, world->count, gw_agent_new(&world->config));
	CHECK(gw_agent_memory(world->node).term >= world->told_term);
	CHECK(!world->spawned || gw_agent_memory(world->node).lease_us > 0);
	for (uint32_t i = 0; i < world->kept_count; i++)
		tell_attempt(world, &world->kept[i], false);
	step(world, (struct gw_event){.kind = GW_EVENT_START});
	open_session(world, false);
}

static int restore(void *context, const uint8_t *bytes, size_t size)
{
	return gw_node_restore(context, bytes, size);
}

/* A twin from a snapshot taken in the middle of the journal and the records after it. */
static void check_snapshot(const struct world *world)
{
	uint64_t half = world->count / 2;
	struct gw_node *whole = replay(world, 0, half, gw_agent_new(&world->config));
	struct gw_node *twin = gw_agent_new(&world->config);

	CHECK(twin);
	if (half > 0)
		CHECK(gw_node_snapshot(whole, restore, twin) == 0);
	(void)replay(world, half, world->count, twin);
	CHECK(gw_node_digest(twin) == gw_node_digest(world->node));
	gw_node_free(whole);
	gw_node_free(twin);
}

static void sample(struct world *world)
{
	Godwit__Telemetry telemetry = GODWIT__TELEMETRY__INIT;
	Godwit__NodeInfo info = GODWIT__NODE_INFO__INIT;
	struct gw_event event = {.kind = GW_EVENT_SAMPLE};

	info.cpu_count = (uint32_t)(world->count % 3);
	event.sample.telemetry = &telemetry;
	event.sample.info = &info;
	step(world, event);
}

static void answer_stream(struct world *world)
{
	struct gw_event event = {.kind = GW_EVENT_OUTPUT,
				 .output = {.stream = world->stream, .end = true}};

	event.output.bytes = (const uint8_t *)"";
	step(world, event);
}

static void pass(struct world *world, uint64_t us)
{
	world->now.mono_us += us;
	step(world, (struct gw_event){.kind = GW_EVENT_TICK});
}

static void event(struct world *world, enum step_kind kind)
{
	struct kept *kept =
		world->kept_count ? &world->kept[world->now.mono_us % world->kept_count] : NULL;

	switch (kind) {
	case STEP_CRASH:
		crash(world);
		break;
	case STEP_DURABLE:
		last(world);
		break;
	case STEP_SPAWNED:
	case STEP_EXITED:
		if (kept)
			tell_attempt(world, kept, kind == STEP_EXITED);
		break;
	case STEP_DOWN:
		close_session(world);
		break;
	case STEP_UP:
	case STEP_RESUME:
		open_session(world, kind == STEP_RESUME);
		break;
	case STEP_NEXT_TERM:
		world->term = ++world->term_last;
		break;
	case STEP_OLD_TERM:
		world->term = world->term_last / 2;
		break;
	case STEP_MINUTE:
		pass(world, 61 * GW_US_PER_S);
		break;
	case STEP_HOUR:
		pass(world, 3600 * GW_US_PER_S);
		break;
	case STEP_SNAPSHOT:
		check_snapshot(world);
		break;
	case STEP_SAMPLE:
		sample(world);
		break;
	case STEP_OUTPUT:
		answer_stream(world);
		break;
	case STEP_HEARD:
		hear(world);
		break;
	case STEP_STOP:
		step(world, (struct gw_event){.kind = GW_EVENT_STOP});
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	static struct world world; /* larger than a frame should be */

	memset(&world, 0, sizeof(world));
	world.now.mono_us = 1000 * GW_US_PER_S;
	world.now.boot_id = gw_id_make(1, 1, 1);
	world.peer.node.id = gw_id_make(9, 9, 9);
	world.config = gw_agent_config_default();
	world.config.scheduler = world.peer.node;
	world.config.attempts_max = ATTEMPTS_MAX;
	world.config.reads_max = 4;
	gw_buf_init(&world.journal, 1u << 20);
	world.node = gw_agent_new(&world.config);
	CHECK(world.node);
	CHECK(gw_effects_init(&world.effects, 4, 4u << 20) == 0);
	step(&world, (struct gw_event){.kind = GW_EVENT_START});
	open_session(&world, false);
	for (size_t at = 0; at < size && world.count < RECORDS_MAX - 8;) {
		size_t length = bytes[at++];
		size_t rest = size - at;

		if (length >= EVENT_FIRST) {
			event(&world, (enum step_kind)length);
			continue;
		}
		length = length < rest ? length : rest;
		deliver_bytes(&world, bytes + at, length);
		at += length;
		pass(&world, GW_US_PER_S / 3);
	}
	check_snapshot(&world);
	gw_node_free(world.node);
	gw_effects_deinit(&world.effects);
	gw_buf_deinit(&world.journal);
	return 0;
}
