/* Encoding and bounded decoding: what goes in comes out, and hostile bytes give NULL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/limits.h"
#include "proto/base/prng.h"
#include "proto/step.h"
#include "proto/wire.h"

static Godwit__Envelope example(const struct gw_id *id)
{
	static uint8_t body[] = "opaque";
	Godwit__Envelope envelope = GODWIT__ENVELOPE__INIT;

	envelope.sender = gw_wire_id(id);
	envelope.tenant = gw_wire_id(id);
	envelope.protocol_min = 1;
	envelope.protocol_max = 3;
	envelope.term = 5;
	envelope.epoch = UINT64_MAX;
	envelope.sequence = 1ull << 40;
	envelope.sent_wall_us = -1;
	envelope.body = (ProtobufCBinaryData){sizeof(body), body};
	return envelope;
}

static size_t encode(const ProtobufCMessage *message, uint8_t *bytes, size_t capacity)
{
	size_t size = gw_wire_size(message);

	assert_true(size <= capacity);
	gw_wire_encode(message, bytes);
	return size;
}

static void an_envelope_comes_back(void **state)
{
	struct gw_id id = gw_id_make(1, 2, 3);
	Godwit__Envelope envelope = example(&id);
	const Godwit__Envelope *got;
	struct gw_arena arena;
	struct gw_id sender;
	uint8_t bytes[256];
	size_t size = encode(&envelope.base, bytes, sizeof(bytes));

	(void)state;
	gw_arena_init(&arena, 4096);
	got = gw_wire_decode_envelope(&arena, bytes, size);
	assert_non_null(got);
	assert_true(gw_wire_read_id(got->sender, &sender));
	assert_true(gw_id_equal(sender, id));
	assert_true(got->epoch == UINT64_MAX);
	assert_true(got->sequence == 1ull << 40);
	assert_true(got->sent_wall_us == -1);
	assert_int_equal(got->protocol_max, 3);
	assert_memory_equal(got->body.data, "opaque", 7);
	assert_int_equal(got->trace_id.len, 0);
	gw_arena_deinit(&arena);
}

static void malformed_envelopes_are_refused(void **state)
{
	struct gw_id id = gw_id_make(1, 2, 3);
	struct gw_arena arena;
	uint8_t bytes[256];

	(void)state;
	gw_arena_init(&arena, 4096);
	for (int i = 0; i < 7; i++) {
		Godwit__Envelope envelope = example(&id);
		size_t size;

		if (i == 1)
			envelope.protocol_min = 0;
		if (i == 2)
			envelope.protocol_min = 4;
		if (i == 3)
			envelope.sender.len = 15;
		if (i == 4)
			envelope.tenant.len = 1;
		if (i == 5)
			envelope.trace_id = (ProtobufCBinaryData){3, bytes};
		size = encode(&envelope.base, bytes, sizeof(bytes));
		if (i == 6)
			bytes[size++] = 0x08; /* a field's tag without its value */
		gw_arena_reset(&arena);
		assert_int_equal(gw_wire_decode_envelope(&arena, bytes, size) != NULL, i == 0);
	}
	assert_null(gw_wire_decode_envelope(&arena, bytes, GW_MESSAGE_BYTES_MAX + 1));
	gw_arena_deinit(&arena);
}

/* No prefix reads past its end (a sanitizer's business) and none that cuts a field is taken. */
static void prefixes_are_refused(void **state)
{
	struct gw_id id = gw_id_make(1, 2, 3);
	Godwit__Envelope envelope = example(&id);
	struct gw_arena arena;
	uint8_t bytes[256];
	size_t size = encode(&envelope.base, bytes, sizeof(bytes));
	uint32_t taken = 0;

	(void)state;
	gw_arena_init(&arena, 4096);
	for (size_t i = 0; i < size; i++) {
		uint8_t *exact = malloc(i ? i : 1);

		assert_non_null(exact);
		memcpy(exact, bytes, i);
		gw_arena_reset(&arena);
		taken += gw_wire_decode_envelope(&arena, exact, i) != NULL;
		free(exact);
	}
	assert_true(taken <= 5); /* those that end between two fields, past the protocol range */
	gw_arena_deinit(&arena);
}

static void a_body_needs_a_kind(void **state)
{
	Godwit__Body body = GODWIT__BODY__INIT;
	Godwit__VersionRequest request = GODWIT__VERSION_REQUEST__INIT;
	struct gw_arena arena;
	uint8_t bytes[64];

	(void)state;
	gw_arena_init(&arena, 4096);
	body.request = 7;
	assert_null(gw_wire_decode_body(&arena, bytes, encode(&body.base, bytes, sizeof(bytes))));
	assert_null(gw_wire_decode_body(&arena, bytes, 0));
	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &request;
	assert_int_equal(gw_wire_body_size(&body), gw_wire_size(&body.base));
	gw_wire_encode_body(&body, bytes);
	assert_int_equal(gw_wire_decode_body(&arena, bytes, gw_wire_body_size(&body))->request, 7);
	gw_arena_deinit(&arena);
}

/* A megabyte of two-byte elements unfolds thirty-fold and more: the arena says no. */
static void unfolding_is_bounded(void **state)
{
	size_t size = GW_MESSAGE_BYTES_MAX;
	uint8_t *bytes = malloc(size);
	struct gw_arena arena;

	(void)state;
	assert_non_null(bytes);
	for (size_t i = 0; i + 1 < size; i += 2) {
		bytes[i] = 0x0a; /* Inventory.attempts, an empty TaskStatus */
		bytes[i + 1] = 0;
	}
	gw_arena_init(&arena, GW_DECODE_BYTES_MAX);
	assert_null(gw_wire_decode(&godwit__inventory__descriptor, &arena, bytes, size));
	assert_true(arena.used_bytes <= GW_DECODE_BYTES_MAX);
	gw_arena_reset(&arena);
	assert_non_null(gw_wire_decode(&godwit__inventory__descriptor, &arena, bytes, 64));
	gw_arena_deinit(&arena);
	free(bytes);
}

static void attempts_come_back(void **state)
{
	struct gw_attempt_id attempt = {{gw_id_make(1, 2, 3)}, 4, 5};
	struct gw_attempt_id got;
	Godwit__AttemptRef ref;

	(void)state;
	gw_wire_attempt(&attempt, &ref);
	assert_true(gw_wire_read_attempt(&ref, &got));
	assert_true(gw_attempt_id_equal(attempt, got));
	ref.job.len = 15;
	assert_false(gw_wire_read_attempt(&ref, &got));
	assert_false(gw_wire_read_attempt(NULL, &got));
}

/* Random bytes and random damage: an answer each time, and never more memory than the limit. */
static void damage_never_crashes(void **state)
{
	struct gw_id id = gw_id_make(1, 2, 3);
	Godwit__Envelope envelope = example(&id);
	struct gw_arena arena;
	struct gw_prng prng;
	uint8_t good[256];
	uint8_t bytes[256];
	size_t size = encode(&envelope.base, good, sizeof(good));

	(void)state;
	gw_prng_init(&prng, 5);
	gw_arena_init(&arena, 64 << 10);
	for (int i = 0; i < 50000; i++) {
		memcpy(bytes, good, size);
		for (uint64_t j = gw_prng_below(&prng, 8); j > 0; j--)
			bytes[gw_prng_below(&prng, size)] = (uint8_t)gw_prng_next(&prng);
		gw_arena_reset(&arena);
		(void)gw_wire_decode_envelope(&arena, bytes, size); /* NULL or not: it came back */
		(void)gw_wire_decode_body(&arena, bytes, gw_prng_below(&prng, size));
		assert_true(arena.used_bytes <= arena.limit_bytes);
	}
	gw_arena_deinit(&arena);
}

/* The effects list of the seam: a full one takes nothing, and says that there is more. */
static void full_effects_say_so(void **state)
{
	Godwit__VersionRequest request = GODWIT__VERSION_REQUEST__INIT;
	Godwit__Body body = GODWIT__BODY__INIT;
	struct gw_node_id peer = {{{1}}};
	struct gw_effects effects;

	(void)state;
	body.kind_case = GODWIT__BODY__KIND_VERSION_REQUEST;
	body.version_request = &request;
	assert_int_equal(gw_effects_init(&effects, 2, GW_MESSAGE_BYTES_MAX + 4096), 0);
	assert_true(gw_effects_room(&effects, 2));
	assert_false(gw_effects_room(&effects, 3));
	assert_true(gw_effects_send(&effects, peer, GW_CHANNEL_STATE, 9, &body));
	assert_true(gw_effects_reply(&effects, 5, 0, &body));
	assert_false(effects.more);
	assert_false(gw_effects_reply(&effects, 6, 0, &body));
	assert_true(effects.more);
	assert_int_equal(effects.count, 2);
	assert_int_equal(effects.list[0].kind, GW_EFFECT_SEND);
	assert_int_equal(effects.list[0].after_seq, 9);
	assert_int_equal(effects.list[1].reply.request, 5);
	gw_effects_clear(&effects);
	assert_false(effects.more);
	assert_true(gw_effects_room(&effects, 2));
	gw_effects_deinit(&effects);
	gw_effects_deinit(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_envelope_comes_back),
		cmocka_unit_test(malformed_envelopes_are_refused),
		cmocka_unit_test(prefixes_are_refused),
		cmocka_unit_test(a_body_needs_a_kind),
		cmocka_unit_test(unfolding_is_bounded),
		cmocka_unit_test(attempts_come_back),
		cmocka_unit_test(damage_never_crashes),
		cmocka_unit_test(full_effects_say_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
