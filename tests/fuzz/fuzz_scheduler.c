/*
 * Sequences of events into the scheduler's core. The input is pieces: a byte that says who speaks
 * (or what happens), two of length, and a body, which may be anything. The core may refuse; its
 * invariants hold after every step, a replay of its records gives the same state, and so does a
 * snapshot. A snapshot that was damaged is refused, or makes a state that holds the invariants.
 */
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/step.h"
#include "scheduler/core/check.h"
#include "scheduler/core/scheduler.h"
#include "scheduler/place/plan.h"

#define NODES 3u
#define PLANS_MAX 64u
#define RECORDS_MAX 4096u
#define PIECES_MAX 256u
#define SNAPSHOT_PIECES_MAX 64u

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct record {
	uint8_t *bytes;
	size_t size;
};

struct world {
	struct gw_scheduler_config config;
	struct gw_node *node;
	struct gw_effects effects;
	struct gw_now now;
	struct gw_peer agents[NODES];
	struct gw_peer user;
	struct gw_peer chief;
	uint64_t request;
	struct gw_event planned[PLANS_MAX];
	uint32_t planned_count;
	struct record records[RECORDS_MAX];
	uint32_t record_count;
	struct record pieces[SNAPSHOT_PIECES_MAX];
	uint32_t piece_count;
};

static void keep(struct record *record, const uint8_t *bytes, size_t size)
{
	record->bytes = malloc(size + 1);
	CHECK(record->bytes);
	memcpy(record->bytes, bytes, size);
	record->size = size;
}

static void carry_out(struct world *world, const struct gw_effect *effect)
{
	if (effect->kind == GW_EFFECT_APPEND) {
		CHECK(world->record_count + 1 < RECORDS_MAX);
		keep(&world->records[world->record_count++], effect->append.bytes,
		     effect->append.size);
	} else if (effect->kind == GW_EFFECT_PLAN) {
		struct gw_event *event = &world->planned[world->planned_count++];

		CHECK(world->planned_count < PLANS_MAX);
		*event = (struct gw_event){.kind = GW_EVENT_PLANNED};
		event->planned.plan = effect->plan.plan;
		event->planned.result = effect->plan.run(effect->plan.snapshot, 10000, 1);
	}
}

static void step_once(struct world *world, struct gw_event event)
{
	char text[GW_CHECK_TEXT_BYTES];
	bool more = true;

	while (more) {
		event.now = world->now;
		gw_effects_clear(&world->effects);
		CHECK(gw_node_step(world->node, &event, &world->effects) == 0);
		CHECK(gw_scheduler_check(world->node, text));
		for (uint32_t i = 0; i < world->effects.count; i++)
			carry_out(world, &world->effects.list[i]);
		more = world->effects.more;
		event = (struct gw_event){.kind = GW_EVENT_CONTINUE};
	}
}

static void step(struct world *world, struct gw_event event)
{
	step_once(world, event);
	while (world->planned_count > 0)
		step_once(world, world->planned[--world->planned_count]);
}

static void connect(struct world *world, uint32_t node)
{
	struct gw_event event = {.kind = GW_EVENT_PEER_UP};

	event.peer_up.peer = &world->agents[node];
	step(world, event);
}

static void pass(struct world *world, uint64_t duration_us)
{
	world->now.mono_us += duration_us;
	world->now.wall_us += (int64_t)duration_us;
	step(world, (struct gw_event){.kind = GW_EVENT_TICK});
}

static void speak(struct world *world, uint8_t who, const Godwit__Body *body)
{
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};

	if (who >= 2 * NODES) {
		event.kind = GW_EVENT_SUBMIT;
		event.submit.request = ++world->request;
		event.submit.user = who == 2 * NODES ? &world->user : &world->chief;
		event.submit.body = body;
	} else {
		event.message.peer = &world->agents[who % NODES];
		event.message.channel = who < NODES ? GW_CHANNEL_STATE : GW_CHANNEL_HEARTBEAT;
		event.message.body = body;
	}
	step(world, event);
}

static void role(struct world *world, bool leader, uint64_t term)
{
	struct gw_event event = {.kind = GW_EVENT_ROLE};

	event.role.leader = leader;
	event.role.term = term;
	step(world, event);
}

static int take_piece(void *context, const uint8_t *bytes, size_t size)
{
	struct world *world = context;

	CHECK(world->piece_count < SNAPSHOT_PIECES_MAX);
	keep(&world->pieces[world->piece_count++], bytes, size);
	return 0;
}

static void take_snapshot(struct world *world)
{
	world->piece_count = 0;
	CHECK(gw_node_snapshot(world->node, take_piece, world) == 0);
}

static struct gw_node *core_new(const struct world *world)
{
	struct gw_node *node = gw_scheduler_new(&world->config);

	CHECK(node);
	return node;
}

/* 0, or the first error. The pieces go. */
static int restore(struct world *world, struct gw_node *node)
{
	int result = 0;

	for (uint32_t i = 0; i < world->piece_count; i++) {
		if (result == 0)
			result = gw_node_restore(node, world->pieces[i].bytes,
						 world->pieces[i].size);
		free(world->pieces[i].bytes);
	}
	world->piece_count = 0;
	return result;
}

static void restart_from_snapshot(struct world *world)
{
	struct gw_node *node = core_new(world);

	take_snapshot(world);
	CHECK(restore(world, node) == 0);
	CHECK(gw_node_digest(node) == gw_node_digest(world->node));
	gw_node_free(world->node);
	world->node = node;
	step(world, (struct gw_event){.kind = GW_EVENT_START});
	role(world, true, 1);
}

static void drop_plans(const struct gw_effects *effects)
{
	for (uint32_t i = 0; i < effects->count; i++) {
		const struct gw_effect *effect = &effects->list[i];

		if (effect->kind == GW_EFFECT_PLAN)
			gw_plan_free(effect->plan.run(effect->plan.snapshot, 1, 1));
	}
}

/* Some bytes of a snapshot are others: pairs of a place and a value. */
static void restore_damaged(struct world *world, const uint8_t *bytes, size_t size)
{
	struct gw_event start = {.kind = GW_EVENT_START, .now = world->now};
	struct gw_node *node = core_new(world);
	char text[GW_CHECK_TEXT_BYTES];
	struct record *record;
	int result;

	take_snapshot(world);
	for (; size >= 3; bytes += 3, size -= 3) {
		record = &world->pieces[bytes[0] % world->piece_count];
		record->bytes[(bytes[0] + 256u * bytes[1]) % record->size] ^= bytes[2];
	}
	if (restore(world, node) == 0) {
		CHECK(gw_scheduler_check(node, text));
		gw_effects_clear(&world->effects);
		result = gw_node_step(node, &start, &world->effects);
		CHECK(result == 0 || result == -EPROTO); /* the last piece was not marked so */
		CHECK(gw_scheduler_check(node, text));
		drop_plans(&world->effects);
	}
	gw_node_free(node);
}

/* One piece: 0-2 a node's state channel, 3-5 its heartbeats, 6 a user, 7 an operator, 8-10 a node
 * connects, 11-13 its link is cut, 14 time passes, 15 a role, 16 a restart, 17 a damaged snapshot.
 */
static void piece(struct world *world, uint8_t who, const uint8_t *bytes, size_t size)
{
	struct gw_event down = {.kind = GW_EVENT_PEER_DOWN};
	const Godwit__Body *body;
	struct gw_arena arena;

	if (who == 17) {
		restore_damaged(world, bytes, size);
	} else if (who == 16) {
		restart_from_snapshot(world);
	} else if (who == 15) {
		role(world, size % 2 == 0, size);
	} else if (who == 14) {
		pass(world, (size + 1) * (size + 1) * GW_US_PER_MS * 100);
	} else if (who >= 11) {
		down.peer_down.node = world->agents[who - 11].node;
		down.peer_down.reason = "cut";
		step(world, down);
	} else if (who >= 8) {
		connect(world, who - 8);
	} else {
		gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
		body = gw_wire_decode_body(&arena, bytes, size);
		if (body)
			speak(world, who, body);
		gw_arena_deinit(&arena);
	}
}

static void begin(struct world *world)
{
	static const char *const names[NODES] = {"n0", "n1", "n2"};
	static const char *const sites[NODES] = {"east", "west", "east"};

	world->now.mono_us = 1000 * GW_US_PER_S;
	gw_scheduler_config_defaults(&world->config);
	world->config.region_id = 7;
	world->config.seed = 1;
	world->config.waiting_tasks_per_user_max = 500; /* small, so that inputs stay quick */
	world->node = gw_scheduler_new(&world->config);
	CHECK(world->node);
	CHECK(gw_effects_init(&world->effects, 32, 2 * GW_MESSAGE_BYTES_MAX) == 0);
	for (uint32_t i = 0; i < NODES; i++) {
		world->agents[i] = (struct gw_peer){.node = {gw_id_make(1, 1, i + 1)},
						    .roles = 1u << GODWIT__ROLE__ROLE_AGENT,
						    .name = names[i],
						    .site = sites[i],
						    .region = "test",
						    .provider = "acme"};
	}
	world->user = (struct gw_peer){.node = {gw_id_make(9, 9, 1)},
				       .tenant = gw_id_make(8, 8, 1),
				       .roles = 1u << GODWIT__ROLE__ROLE_USER,
				       .name = "ada",
				       .site = "",
				       .region = "test",
				       .provider = ""};
	world->chief = world->user;
	world->chief.node.id = gw_id_make(9, 9, 2);
	world->chief.roles = 1u << GODWIT__ROLE__ROLE_OPERATOR;
	step(world, (struct gw_event){.kind = GW_EVENT_START});
	role(world, true, 1);
	for (uint32_t i = 0; i < NODES; i++)
		connect(world, i);
}

static void end(struct world *world)
{
	uint64_t digest = gw_node_digest(world->node);

	gw_node_free(world->node);
	world->node = gw_scheduler_new(&world->config);
	CHECK(world->node);
	for (uint32_t i = 0; i < world->record_count; i++) {
		struct record *record = &world->records[i];

		CHECK(gw_node_apply(world->node, i + 1, record->bytes, record->size) == 0);
		free(record->bytes);
	}
	CHECK(gw_node_digest(world->node) == digest);
	gw_node_free(world->node);
	gw_effects_deinit(&world->effects);
	free(world);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct world *world = calloc(1, sizeof(*world));
	uint32_t pieces = 0;

	CHECK(world);
	begin(world);
	while (size >= 3 && pieces++ < PIECES_MAX && world->record_count < RECORDS_MAX / 4) {
		size_t length = (size_t)bytes[1] | (size_t)bytes[2] << 8;

		length = length < size - 3 ? length : size - 3;
		piece(world, bytes[0] % 18, bytes + 3, length);
		bytes += 3 + length;
		size -= 3 + length;
	}
	end(world);
	return 0;
}
