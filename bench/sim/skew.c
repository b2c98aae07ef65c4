/*
 * The table says what this version added to what goes over the wire; it is begun anew with each
 * release. Fields are found by name, so that a renamed one stops the run rather than slips by.
 */
#include "bench/sim/skew.h"

#include <stdbool.h>

#include "proto/base/check.h"
#include "proto/wire.h"

#define PILE_MAX 64u /* messages waiting to be looked at */

static const struct {
	const ProtobufCMessageDescriptor *message;
	const char *field;
} added[] = {
	{&godwit__body__descriptor, "scheduler_list"},
	{&godwit__node_info__descriptor, "draining_reason"},
	{&godwit__job_spec__descriptor, "disconnect"},
};

static void clear(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
	char *base = (char *)message;

	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		uint32_t *which = (uint32_t *)(void *)(base + field->quantifier_offset);

		if (*which == field->id)
			*which = 0;
	} else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
		*(void **)(void *)(base + field->offset) = NULL;
	} else {
		CHECK(field->type == PROTOBUF_C_TYPE_STRING); /* others as they come */
		*(const char **)(void *)(base + field->offset) = "";
	}
}

static void clear_added(ProtobufCMessage *message)
{
	for (size_t i = 0; i < GW_ARRAY_COUNT(added); i++) {
		const ProtobufCFieldDescriptor *field;

		if (added[i].message != message->descriptor)
			continue;
		field = protobuf_c_message_descriptor_get_field_by_name(added[i].message,
									added[i].field);
		CHECK(field);
		clear(message, field);
	}
}

/* The messages in this one go onto the pile, save repeated ones: nothing was added to those. Returns
 * its new height. */
static size_t pile_up(ProtobufCMessage *message, ProtobufCMessage **pile, size_t height)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		char *base = (char *)message;
		ProtobufCMessage *inner = *(ProtobufCMessage **)(void *)(base + field->offset);
		const uint32_t *which = (const uint32_t *)(void *)(base + field->quantifier_offset);
		bool oneof = field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF;

		if (field->type != PROTOBUF_C_TYPE_MESSAGE ||
		    field->label == PROTOBUF_C_LABEL_REPEATED || (oneof && *which != field->id) ||
		    !inner)
			continue;
		CHECK(height < PILE_MAX);
		pile[height++] = inner;
	}
	return height;
}

void sim_skew_strip(ProtobufCMessage *message)
{
	ProtobufCMessage *pile[PILE_MAX];
	size_t height = 0;

	pile[height++] = message;
	while (height > 0) {
		ProtobufCMessage *top = pile[--height];

		clear_added(top);
		height = pile_up(top, pile, height);
	}
}
