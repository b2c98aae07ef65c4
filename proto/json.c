/*
 * Messages as JSON, by their descriptors: what is printed is documented by proto/msg/ and cannot
 * lag behind it. The walk keeps its own stack: messages nest a few levels, never by their own type.
 */
#include "proto/json.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/wire.h"

#define DEPTH_MAX 8u

struct level {
	const ProtobufCMessage *message;
	json_t *object;
	unsigned field;
	size_t index;  /* in a repeated field */
	json_t *array; /* of the repeated field being filled */
};

static json_t *bytes_json(const char *name, ProtobufCBinaryData bytes)
{
	static const char digits[] = "0123456789abcdef";
	char id_text[GW_ID_TEXT_BYTES];
	struct gw_id id;
	json_t *value;
	char *text;

	if (strcmp(name, "job") == 0 && gw_wire_read_id(bytes, &id)) {
		gw_id_format(id, id_text);
		return json_string(id_text);
	}
	text = malloc(2 * bytes.len + 1);
	if (!text)
		return NULL;
	for (size_t i = 0; i < bytes.len; i++) {
		text[2 * i] = digits[bytes.data[i] >> 4];
		text[2 * i + 1] = digits[bytes.data[i] & 15];
	}
	value = json_stringn(text, 2 * bytes.len);
	free(text);
	return value;
}

static json_t *enum_json(const ProtobufCEnumDescriptor *descriptor, int number)
{
	char text[64];

	for (unsigned i = 0; i < descriptor->n_values; i++) {
		if (descriptor->values[i].value != number)
			continue;
		(void)snprintf(text, sizeof(text), "%s", descriptor->values[i].name);
		for (char *at = text; *at; at++)
			*at = (char)tolower((unsigned char)*at);
		return json_string(text);
	}
	return json_integer(number);
}

/* Texts come from afar; what is not UTF-8 is shown as hexadecimal. */
static json_t *text_json(char *text)
{
	json_t *value = json_string(text);
	ProtobufCBinaryData bytes = {strlen(text), (uint8_t *)text};

	return value ? value : bytes_json("", bytes);
}

static json_t *scalar_json(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_integer(*(const int64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_json(field->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return text_json(*(char *const *)at);
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_json(field->name, *(const ProtobufCBinaryData *)at);
	case PROTOBUF_C_TYPE_MESSAGE:
		break;
	}
	return json_null();
}

static size_t element_bytes(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
	case PROTOBUF_C_TYPE_ENUM:
		return 4;
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return 8;
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		break;
	}
	return sizeof(void *);
}

/* A member of a oneof shares its memory with the others: only the one that is set is read. */
static bool is_set(const ProtobufCFieldDescriptor *field, const uint8_t *base)
{
	return !(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) ||
	       *(const uint32_t *)(const void *)(base + field->quantifier_offset) == field->id;
}

/* The next value of the level: where it is, and where its JSON goes. False: the level is done. */
static bool next_value(struct level *level, const ProtobufCFieldDescriptor **ret_field,
		       const void **ret_at)
{
	const ProtobufCMessageDescriptor *descriptor = level->message->descriptor;
	const uint8_t *base = (const uint8_t *)level->message;

	while (level->field < descriptor->n_fields) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[level->field];

		*ret_field = field;
		if (!is_set(field, base)) {
			level->field++;
			continue;
		}
		if (field->label != PROTOBUF_C_LABEL_REPEATED) {
			level->field++;
			level->array = NULL;
			*ret_at = base + field->offset;
			return true;
		}
		if (level->index == 0) {
			level->array = json_array();
			(void)json_object_set_new(level->object, field->name, level->array);
		}
		if (level->index <
		    *(const size_t *)(const void *)(base + field->quantifier_offset)) {
			*ret_at = *(const uint8_t *const *)(const void *)(base + field->offset) +
				  level->index++ * element_bytes(field->type);
			return true;
		}
		level->index = 0;
		level->field++;
	}
	return false;
}

/* A failed jansson call means no memory; the value is then missing, and a NULL root is told by
 * the writer. */
static void put(struct level *level, const ProtobufCFieldDescriptor *field, json_t *value)
{
	if (level->array)
		(void)json_array_append_new(level->array, value);
	else
		(void)json_object_set_new(level->object, field->name, value);
}

json_t *gw_json_message(const ProtobufCMessage *message)
{
	struct level stack[DEPTH_MAX] = {{.message = message, .object = json_object()}};
	json_t *root = stack[0].object;
	uint32_t depth = 1;

	while (depth > 0) {
		struct level *level = &stack[depth - 1];
		const ProtobufCFieldDescriptor *field;
		const ProtobufCMessage *nested;
		const void *at;
		json_t *object;

		if (!next_value(level, &field, &at)) {
			depth--;
			continue;
		}
		nested = field->type == PROTOBUF_C_TYPE_MESSAGE
				 ? *(const ProtobufCMessage *const *)at
				 : NULL;
		if (!nested) {
			put(level, field, scalar_json(field, at));
			continue;
		}
		CHECK(depth < DEPTH_MAX);
		object = json_object();
		put(level, field, object);
		stack[depth++] = (struct level){.message = nested, .object = object};
	}
	return root;
}
