/*
 * Arbitrary bytes as an envelope, as a body, and as what a peer sends in an open session, on both
 * channels. Whatever comes: an answer, within the arena's limit, and a session that still carries
 * an honest body afterwards.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/wire.h"
#include "transport/link.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct gw_node_id node(uint8_t number)
{
	struct gw_node_id id = {0};

	id.id.bytes[0] = number;
	return id;
}

/* Hands everything that one link has to say to the other; returns the bodies that came out. */
static uint32_t carry(struct gw_link *from, struct gw_link *to, const struct gw_now *now,
		      struct gw_arena *arena)
{
	struct gw_link_delivery delivery;
	uint32_t bodies = 0;
	struct gw_buf out;

	gw_buf_init(&out, GW_MESSAGE_BYTES_MAX);
	while (gw_link_next(from, now, &out)) {
		gw_arena_reset(arena);
		bodies += gw_link_receive(to, now, arena, out.bytes, out.size, &delivery) ==
			  GW_LINK_BODY;
		out.size = 0;
	}
	gw_buf_deinit(&out);
	return bodies;
}

static void in_a_session(struct gw_arena *arena, const uint8_t *bytes, size_t size)
{
	struct gw_link_options options = {
		.self = node(1), .peer = node(2), .epoch = 1, .client = true};
	struct gw_now now = {.mono_us = 1};
	struct gw_link_delivery delivery;
	struct gw_link *client = gw_link_new(&options);
	enum gw_link_result result;
	struct gw_link *server;
	uint32_t bodies = 0;

	options = (struct gw_link_options){.self = node(2), .peer = node(1), .epoch = 2};
	server = gw_link_new(&options);
	CHECK(client);
	CHECK(server);
	gw_link_connected(client, &now);
	gw_link_connected(server, &now);
	(void)carry(client, server, &now, arena);
	(void)carry(server, client, &now, arena);
	CHECK(gw_link_is_open(client));
	gw_arena_reset(arena);
	(void)gw_link_receive_heartbeat(server, &now, arena, bytes, size, &delivery);
	gw_arena_reset(arena);
	result = gw_link_receive(server, &now, arena, bytes, size, &delivery);
	CHECK(arena->used_bytes <= arena->limit_bytes);
	if (result == GW_LINK_BODY)
		goto out; /* in the client's name: its own next body is now a duplicate */
	/* It may have been a good HELLO of another epoch, or a refusal: the client connects again.
	 */
	gw_link_connected(client, &now);
	for (int i = 0; i < 3; i++) {
		(void)carry(client, server, &now, arena);
		(void)carry(server, client, &now, arena);
	}
	CHECK(gw_link_send(client, &now, 0, (const uint8_t *)"x", 1) == GW_LINK_QUEUED);
	for (int i = 0; i < 3; i++) {
		bodies += carry(client, server, &now, arena);
		(void)carry(server, client, &now, arena);
	}
	CHECK(bodies == 1);
out:
	gw_link_free(client);
	gw_link_free(server);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	const Godwit__Envelope *envelope;
	struct gw_arena arena;

	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	envelope = gw_wire_decode_envelope(&arena, bytes, size);
	if (envelope) {
		CHECK(envelope->protocol_min > 0);
		CHECK(envelope->protocol_min <= envelope->protocol_max);
		(void)gw_wire_decode_body(&arena, envelope->body.data, envelope->body.len);
	}
	(void)gw_wire_decode_body(&arena, bytes, size);
	CHECK(arena.used_bytes <= arena.limit_bytes);
	in_a_session(&arena, bytes, size);
	gw_arena_deinit(&arena);
	return 0;
}
