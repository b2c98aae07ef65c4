/* Encoding and bounded decoding of messages. Everything decoded lives in the caller's arena. */
#include "proto/wire.h"

#include <string.h>

#include <protobuf-c/protobuf-c.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"

size_t gw_wire_size(const ProtobufCMessage *message)
{
	return protobuf_c_message_get_packed_size(message);
}

void gw_wire_encode(const ProtobufCMessage *message, uint8_t *ret_bytes)
{
	(void)protobuf_c_message_pack(message, ret_bytes); /* the size is the caller's already */
}

static void *arena_alloc(void *allocator_data, size_t size)
{
	return gw_arena_alloc(allocator_data, size);
}

static void arena_free(void *allocator_data, void *pointer)
{
	(void)allocator_data; /* freed at once with the arena */
	(void)pointer;
}

const void *gw_wire_decode(const ProtobufCMessageDescriptor *descriptor, struct gw_arena *arena,
			   const uint8_t *bytes, size_t size)
{
	ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};

	if (size > GW_MESSAGE_BYTES_MAX)
		return NULL;
	return protobuf_c_message_unpack(descriptor, &allocator, size, bytes);
}

static bool id_or_empty(ProtobufCBinaryData field)
{
	return field.len == 0 || field.len == GW_ID_BYTES;
}

const Godwit__Envelope *gw_wire_decode_envelope(struct gw_arena *arena, const uint8_t *bytes,
						size_t size)
{
	const Godwit__Envelope *envelope =
		gw_wire_decode(&godwit__envelope__descriptor, arena, bytes, size);

	if (!envelope || !id_or_empty(envelope->sender) || !id_or_empty(envelope->tenant) ||
	    !id_or_empty(envelope->trace_id))
		return NULL;
	if (envelope->protocol_min == 0 || envelope->protocol_min > envelope->protocol_max)
		return NULL;
	return envelope;
}

const Godwit__Body *gw_wire_decode_body(struct gw_arena *arena, const uint8_t *bytes, size_t size)
{
	const Godwit__Body *body = gw_wire_decode(&godwit__body__descriptor, arena, bytes, size);

	return body && body->kind_case != GODWIT__BODY__KIND__NOT_SET ? body : NULL;
}

size_t gw_wire_body_size(const Godwit__Body *body)
{
	return gw_wire_size(&body->base);
}

void gw_wire_encode_body(const Godwit__Body *body, uint8_t *ret_bytes)
{
	gw_wire_encode(&body->base, ret_bytes);
}

ProtobufCBinaryData gw_wire_id(const struct gw_id *id)
{
	union {
		const uint8_t *from;
		uint8_t *to;
	} bytes = {.from = id->bytes}; /* protobuf-c has no const in its structs */

	return (ProtobufCBinaryData){.len = GW_ID_BYTES, .data = bytes.to};
}

bool gw_wire_read_id(ProtobufCBinaryData field, struct gw_id *ret_id)
{
	return gw_id_from_bytes(field.data, field.len, ret_id);
}

void gw_wire_attempt(const struct gw_attempt_id *attempt, Godwit__AttemptRef *ret_ref)
{
	Godwit__AttemptRef ref = GODWIT__ATTEMPT_REF__INIT;

	ref.job = gw_wire_id(&attempt->job.id);
	ref.task_index = attempt->task_index;
	ref.attempt = attempt->attempt;
	*ret_ref = ref;
}

bool gw_wire_read_attempt(const Godwit__AttemptRef *ref, struct gw_attempt_id *ret_attempt)
{
	struct gw_attempt_id attempt;

	if (!ref || !gw_wire_read_id(ref->job, &attempt.job.id))
		return false;
	attempt.task_index = ref->task_index;
	attempt.attempt = ref->attempt;
	*ret_attempt = attempt;
	return true;
}
