/*
 * The only user of protobuf-c's functions. Others fill and read the generated structs
 * (GODWIT__X__INIT initialises one) and come here for bytes. Decoding is bounded: bytes by the
 * caller's arena, so a hostile message gives an error and never a crash or much memory. Protobuf is
 * not canonical: whatever is signed or hashed is kept as the bytes that came and is never encoded
 * again.
 */
#ifndef GODWIT_PROTO_WIRE_H
#define GODWIT_PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <enrolment.pb-c.h>
#include <envelope.pb-c.h>
#include <inventory.pb-c.h>
#include <job.pb-c.h>
#include <record.pb-c.h>
#include <snapshot.pb-c.h>
#include <task.pb-c.h>
#include <telemetry.pb-c.h>

#include "proto/base/arena.h"
#include "proto/base/id.h"

/* Any message. The size in bytes when encoded; `ret_bytes` has room for that many. */
size_t gw_wire_size(const ProtobufCMessage *message);
void gw_wire_encode(const ProtobufCMessage *message, uint8_t *ret_bytes);

/*
 * Decodes `size` bytes as a message of this descriptor into the arena, where it stays until the
 * arena is reset. NULL: malformed, or larger than the arena's limit when unfolded.
 */
const void *gw_wire_decode(const ProtobufCMessageDescriptor *descriptor, struct gw_arena *arena,
			   const uint8_t *bytes, size_t size);

/* The envelope and the body, with their types; same results as above. An envelope's ids must have
 * 16 bytes (or be empty), and its protocol range must be a range, or it is malformed. */
const Godwit__Envelope *gw_wire_decode_envelope(struct gw_arena *arena, const uint8_t *bytes,
						size_t size);
/* A body without a kind is malformed. */
const Godwit__Body *gw_wire_decode_body(struct gw_arena *arena, const uint8_t *bytes, size_t size);
size_t gw_wire_body_size(const Godwit__Body *body);
void gw_wire_encode_body(const Godwit__Body *body, uint8_t *ret_bytes);

/* Bytes fields and ids. The field points at `id`, which must outlive it. */
ProtobufCBinaryData gw_wire_id(const struct gw_id *id);
/* False unless the field has exactly 16 bytes. */
bool gw_wire_read_id(ProtobufCBinaryData field, struct gw_id *ret_id);
/* Attempt references: `ret_ref` is initialised and points at `attempt->job`. */
void gw_wire_attempt(const struct gw_attempt_id *attempt, Godwit__AttemptRef *ret_ref);
/* False: NULL, or a job id that is not 16 bytes. */
bool gw_wire_read_attempt(const Godwit__AttemptRef *ref, struct gw_attempt_id *ret_attempt);

#endif
