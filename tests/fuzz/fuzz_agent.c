/*
 * Arbitrary bodies from an authenticated scheduler to the agent's core: pieces of the input, each
 * behind a byte that says its length, become messages on the state or the heartbeat channel. The
 * core may refuse; its invariants hold after every step.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "agent/core/agent.h"
#include "agent/core/check.h"
#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/step.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct world {
	struct gw_node *node;
	struct gw_effects effects;
	struct gw_now now;
};

static void step(struct world *world, struct gw_event event)
{
	char text[256];

	do {
		event.now = world->now;
		CHECK(gw_node_step(world->node, &event, &world->effects) == 0);
		CHECK(gw_agent_check(world->node, text, sizeof(text)));
		event = (struct gw_event){.kind = GW_EVENT_CONTINUE};
		if (!world->effects.more)
			break;
		gw_effects_clear(&world->effects);
	} while (true);
	gw_effects_clear(&world->effects);
}

static void deliver(struct world *world, const struct gw_peer *peer, const uint8_t *bytes,
		    size_t size, bool heartbeat)
{
	struct gw_event event = {.kind = GW_EVENT_MESSAGE};
	struct gw_arena arena;

	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	event.message.peer = peer;
	event.message.channel = heartbeat ? GW_CHANNEL_HEARTBEAT : GW_CHANNEL_STATE;
	event.message.body = gw_wire_decode_body(&arena, bytes, size);
	if (event.message.body)
		step(world, event);
	gw_arena_deinit(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct gw_agent_config config = gw_agent_config_default();
	struct gw_peer peer = {.node = {gw_id_make(9, 9, 9)}};
	struct world world = {.now.mono_us = 1000 * GW_US_PER_S};
	struct gw_event up = {.kind = GW_EVENT_PEER_UP};

	config.scheduler = peer.node;
	config.attempts_max = 8;
	config.reads_max = 4;
	world.node = gw_agent_new(&config);
	CHECK(world.node);
	CHECK(gw_effects_init(&world.effects, 4, 4u << 20) == 0);
	up.peer_up.peer = &peer;
	step(&world, (struct gw_event){.kind = GW_EVENT_START});
	step(&world, up);
	for (size_t at = 0; at < size;) {
		size_t length = bytes[at++];
		size_t rest = size - at;

		length = length < rest ? length : rest;
		deliver(&world, &peer, bytes + at, length, length % 7 == 0);
		at += length;
		world.now.mono_us += GW_US_PER_S / 3;
		step(&world, (struct gw_event){.kind = GW_EVENT_TICK});
	}
	gw_node_free(world.node);
	gw_effects_deinit(&world.effects);
	return 0;
}
