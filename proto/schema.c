/*
 * YAML events into structs. libyaml's parser gives events over bytes in memory; a small stack of
 * frames, one for each open map or list, knows which table entry the next event must fill. Not a
 * YAML loader: no anchors, no aliases, no tags, no merge keys, one document.
 */
#include "proto/schema.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <yaml.h>

#include "proto/base/check.h"

#define FIELDS_MAX 64u /* entries of one table: a bit set says which were seen */

struct frame {
	const struct gw_schema *field;   /* the MAP, LIST or PAIRS that is open; NULL: the root */
	const char *name;                /* the key it stands under, for errors; NULL: the root */
	const struct gw_schema *fields;  /* of a map */
	uint8_t *base;                   /* a map's struct; otherwise its struct gw_schema_list */
	const struct gw_schema *pending; /* of a map: its key was read, the value comes next */
	const char *pair_name;           /* of pairs written as a map: likewise */
	struct gw_mark mark;             /* where it began */
	struct gw_mark key_mark;         /* of `pending` */
	uint64_t seen;                   /* of a map: bit i: fields[i] was given */
	bool sequence;                   /* pairs written as a list */
};

struct reader {
	struct frame frames[GW_SCHEMA_DEPTH_MAX];
	uint32_t depth;
	bool document_seen;
	bool root_seen;
	const struct gw_schema *root_fields;
	void *root;
	struct gw_arena *arena;
	struct gw_parse_error *error;
};

/* Where the next value goes. */
struct target {
	const struct gw_schema *field;
	const char *name;
	uint8_t *at;         /* the value itself */
	uint8_t *base;       /* the struct that holds it */
	struct gw_mark mark; /* of the value, or of its key for maps and lists */
};

static struct gw_mark mark_of(yaml_mark_t mark)
{
	return (struct gw_mark){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

static int too_large(struct reader *reader, struct gw_mark mark)
{
	return gw_parse_error_set(reader->error, mark, "the whole is too large");
}

int gw_schema_defaults(const struct gw_schema *fields, void *ret_struct, struct gw_arena *arena)
{
	struct {
		const struct gw_schema *field; /* where to go on */
		uint8_t *base;
	} stack[GW_SCHEMA_DEPTH_MAX] = {{fields, ret_struct}};
	struct gw_parse_error error;
	uint32_t depth = 1;

	while (depth > 0) {
		const struct gw_schema *field = stack[depth - 1].field;
		uint8_t *at = stack[depth - 1].base + field->offset;

		if (!field->key) {
			depth--;
			continue;
		}
		stack[depth - 1].field++;
		if (field->type == GW_SCHEMA_MAP) {
			CHECK(depth < GW_SCHEMA_DEPTH_MAX);
			stack[depth].field = field->fields;
			stack[depth++].base = at;
		} else if (field->fallback) {
			int result =
				gw_schema_parse_value(field, field->fallback, arena, at, &error);

			if (result < 0)
				return result;
		}
	}
	return 0;
}

/* What the event found is called in an error. */
static const char *event_noun(const yaml_event_t *event)
{
	if (event->type == YAML_MAPPING_START_EVENT)
		return "a map";
	return event->type == YAML_SEQUENCE_START_EVENT ? "a list" : "a single value";
}

static int unknown_key(struct reader *reader, const struct frame *frame, const char *key,
		       struct gw_mark mark)
{
	const struct gw_schema *nearest = NULL;
	uint32_t nearest_distance = UINT32_MAX;
	char known[300] = "";
	size_t used = 0;

	for (const struct gw_schema *field = frame->fields; field->key; field++) {
		uint32_t distance = gw_text_distance(key, field->key);

		if (field->gone)
			continue;
		if (distance < nearest_distance) {
			nearest = field;
			nearest_distance = distance;
		}
		if (used < sizeof(known))
			used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s",
						 used > 0 ? ", " : "", field->key);
	}
	if (nearest)
		return gw_parse_error_set(reader->error, mark,
					  "unknown key \"%.60s\"; did you mean \"%s\"?", key,
					  nearest->key);
	return gw_parse_error_set(reader->error, mark, "unknown key \"%.60s\"; known here: %s", key,
				  known);
}

static int read_key(struct reader *reader, struct frame *frame, const char *key,
		    struct gw_mark mark)
{
	uint32_t i = 0;

	while (frame->fields[i].key && strcmp(frame->fields[i].key, key) != 0)
		i++;
	CHECK(i < FIELDS_MAX);
	if (!frame->fields[i].key)
		return unknown_key(reader, frame, key, mark);
	if (frame->fields[i].gone)
		return gw_parse_error_set(reader->error, mark, "\"%s\" is no key any more: %s", key,
					  frame->fields[i].gone);
	if (frame->seen & 1ull << i)
		return gw_parse_error_set(reader->error, mark, "\"%s\" stands here twice", key);
	frame->seen |= 1ull << i;
	frame->pending = &frame->fields[i];
	frame->key_mark = mark;
	return 0;
}

/* Adds "NAME=value"; a name that is there already is refused. */
static int add_pair(struct reader *reader, struct frame *frame, const char *name,
		    size_t name_length, const char *value, struct gw_mark mark)
{
	struct gw_schema_list *list = (struct gw_schema_list *)(void *)frame->base;
	uint64_t limit = frame->field->max > 0 ? frame->field->max : GW_SCHEMA_ITEMS_MAX;
	size_t size = name_length + strlen(value) + 2;
	char *text = gw_arena_alloc(reader->arena, size);
	const char **item;

	for (uint32_t i = 0; i < list->count; i++) {
		const char *other = ((const char **)list->items)[i];

		if (strncmp(other, name, name_length) == 0 && other[name_length] == '=')
			return gw_parse_error_set(reader->error, mark,
						  "\"%.*s\" stands in \"%s\" twice",
						  (int)name_length, name, frame->name);
	}
	if (list->count >= limit)
		return gw_parse_error_set(reader->error, mark,
					  "\"%s\" has more than %" PRIu64 " entries", frame->name,
					  limit);
	item = text ? gw_schema_list_add(list, sizeof(*item), reader->arena) : NULL;
	if (!item)
		return too_large(reader, mark);
	(void)snprintf(text, size, "%.*s=%s", (int)name_length, name, value);
	*item = text;
	return 0;
}

/* A scalar inside pairs: the name or value of a map's pair, or a whole "NAME=value". */
static int read_pair(struct reader *reader, struct frame *frame, const char *text,
		     struct gw_mark mark)
{
	const char *name = frame->pair_name;
	const char *equals = strchr(text, '=');

	if (frame->sequence) {
		if (!equals || equals == text)
			return gw_parse_error_set(reader->error, mark,
						  "found \"%.60s\" in \"%s\", expected NAME=value",
						  text, frame->name);
		return add_pair(reader, frame, text, (size_t)(equals - text), equals + 1, mark);
	}
	if (name) {
		frame->pair_name = NULL;
		return add_pair(reader, frame, name, strlen(name), text, mark);
	}
	if (*text == '\0' || equals)
		return gw_parse_error_set(reader->error, mark,
					  "\"%.60s\" is no name: it is empty or holds a \"=\"",
					  text);
	frame->pair_name = gw_arena_copy(reader->arena, text, strlen(text) + 1);
	return frame->pair_name ? 0 : too_large(reader, mark);
}

/* A new element of the open list. */
static int list_target(struct reader *reader, struct frame *frame, struct gw_mark mark,
		       struct target *ret_target)
{
	struct gw_schema_list *list = (struct gw_schema_list *)(void *)frame->base;
	const struct gw_schema *field = frame->field;
	uint64_t limit = field->max > 0 ? field->max : GW_SCHEMA_ITEMS_MAX;
	uint8_t *element;

	if (list->count >= limit)
		return gw_parse_error_set(reader->error, mark,
					  "\"%s\" has more than %" PRIu64 " entries", frame->name,
					  limit);
	element = gw_schema_list_add(list, field->item_bytes, reader->arena);
	if (!element)
		return too_large(reader, mark);
	if (field->item->type == GW_SCHEMA_MAP &&
	    gw_schema_defaults(field->item->fields, element + field->item->offset, reader->arena) <
		    0)
		return too_large(reader, mark);
	*ret_target = (struct target){
		.field = field->item,
		.name = frame->name,
		.at = element + field->item->offset,
		.base = element,
		.mark = mark,
	};
	return 0;
}

/* The table entry that the coming value fills, with its mark stored. */
static int next_target(struct reader *reader, const yaml_event_t *event, struct target *ret_target)
{
	struct frame *frame = &reader->frames[reader->depth - 1];
	struct gw_mark mark = mark_of(event->start_mark);
	int result = 0;

	if (frame->fields) {
		const struct gw_schema *field = frame->pending;

		if (!field)
			return gw_parse_error_set(reader->error, mark, "found %s, expected a key",
						  event_noun(event));
		frame->pending = NULL;
		*ret_target = (struct target){
			.field = field,
			.name = field->key,
			.at = frame->base + field->offset,
			.base = frame->base,
			.mark = event->type == YAML_SCALAR_EVENT ? mark : frame->key_mark,
		};
	} else if (frame->field->type == GW_SCHEMA_PAIRS) {
		return gw_parse_error_set(reader->error, mark,
					  "found %s in \"%s\", expected a single value",
					  event_noun(event), frame->name);
	} else {
		result = list_target(reader, frame, mark, ret_target);
	}
	if (result == 0 && ret_target->field->mark_offset > 0)
		memcpy(ret_target->base + ret_target->field->mark_offset, &ret_target->mark,
		       sizeof(ret_target->mark));
	return result;
}

static bool is_null(const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;

	return event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (*text == '\0' || strcmp(text, "~") == 0 || strcmp(text, "null") == 0);
}

static int read_value(struct reader *reader, const yaml_event_t *event)
{
	const char *text = (const char *)event->data.scalar.value;
	struct gw_parse_error error;
	struct target target;
	int result = next_target(reader, event, &target);

	if (result < 0)
		return result;
	if (is_null(event))
		return gw_parse_error_set(reader->error, target.mark, "\"%s\" has no value",
					  target.name);
	result = gw_schema_parse_value(target.field, text, reader->arena, target.at, &error);
	if (result < 0)
		return gw_parse_error_set(reader->error, target.mark, "\"%s\": %.440s", target.name,
					  error.text);
	return 0;
}

static int push(struct reader *reader, const yaml_event_t *event, struct target target)
{
	struct frame *frame;

	if (reader->depth == GW_SCHEMA_DEPTH_MAX)
		return gw_parse_error_set(reader->error, target.mark,
					  "nested more than %u levels deep", GW_SCHEMA_DEPTH_MAX);
	frame = &reader->frames[reader->depth++];
	*frame = (struct frame){
		.field = target.field,
		.name = target.name,
		.base = target.at,
		.mark = target.mark,
		.sequence = event->type == YAML_SEQUENCE_START_EVENT,
	};
	if (!target.field)
		frame->fields = reader->root_fields;
	else if (target.field->type == GW_SCHEMA_MAP)
		frame->fields = target.field->fields;
	return 0;
}

static int open_root(struct reader *reader, const yaml_event_t *event)
{
	struct target root = {.at = reader->root, .mark = mark_of(event->start_mark)};

	reader->root_seen = true;
	if (event->type != YAML_MAPPING_START_EVENT)
		return gw_parse_error_set(reader->error, root.mark,
					  "found %s, expected a map (\"%s: ...\")",
					  event_noun(event), reader->root_fields[0].key);
	return push(reader, event, root);
}

static int read_open(struct reader *reader, const yaml_event_t *event)
{
	bool map = event->type == YAML_MAPPING_START_EVENT;
	char expected[200];
	struct target target;
	int result;

	if (reader->depth == 0)
		return open_root(reader, event);
	result = next_target(reader, event, &target);
	if (result < 0)
		return result;
	if (target.field->type == GW_SCHEMA_PAIRS ||
	    target.field->type == (map ? GW_SCHEMA_MAP : GW_SCHEMA_LIST))
		return push(reader, event, target);
	gw_schema_describe(target.field, expected, sizeof(expected));
	return gw_parse_error_set(reader->error, target.mark, "\"%s\": found %s, expected %s",
				  target.name, event_noun(event), expected);
}

/* A map ends: everything required must have been given. */
static int close_map(struct reader *reader, const struct frame *frame)
{
	for (uint32_t i = 0; frame->fields[i].key; i++) {
		if (!frame->fields[i].required || frame->seen & 1ull << i)
			continue;
		if (frame->name)
			return gw_parse_error_set(reader->error, frame->mark,
						  "\"%s\" lacks the key \"%s\"", frame->name,
						  frame->fields[i].key);
		return gw_parse_error_set(reader->error, frame->mark, "the key \"%s\" is missing",
					  frame->fields[i].key);
	}
	return 0;
}

static int read_close(struct reader *reader)
{
	const struct frame *frame = &reader->frames[--reader->depth];
	const struct gw_schema_list *list = (const struct gw_schema_list *)(void *)frame->base;

	if (frame->fields)
		return close_map(reader, frame);
	if (list->count < frame->field->min)
		return gw_parse_error_set(reader->error, frame->mark,
					  "\"%s\" has %" PRIu32
					  " entries, expected at least %" PRIu64,
					  frame->name, list->count, frame->field->min);
	return 0;
}

static int read_scalar(struct reader *reader, const yaml_event_t *event)
{
	struct frame *frame = reader->depth > 0 ? &reader->frames[reader->depth - 1] : NULL;
	const char *text = (const char *)event->data.scalar.value;
	struct gw_mark mark = mark_of(event->start_mark);

	if (strlen(text) != event->data.scalar.length)
		return gw_parse_error_set(reader->error, mark, "a text holds a NUL byte");
	if (!frame && *text == '\0')
		return 0; /* an empty document: as an empty map */
	if (!frame)
		return open_root(reader, event);
	if (frame->fields && !frame->pending)
		return read_key(reader, frame, text, mark);
	if (frame->field && frame->field->type == GW_SCHEMA_PAIRS)
		return read_pair(reader, frame, text, mark);
	return read_value(reader, event);
}

/* Anchors, aliases and tags: a file that uses them says more than it shows. */
static int refuse_indirection(struct reader *reader, const yaml_event_t *event)
{
	struct gw_mark mark = mark_of(event->start_mark);
	const yaml_char_t *anchor = NULL;
	const yaml_char_t *tag = NULL;

	if (event->type == YAML_ALIAS_EVENT)
		return gw_parse_error_set(reader->error, mark,
					  "aliases (\"*name\") are not allowed");
	if (event->type == YAML_SCALAR_EVENT) {
		anchor = event->data.scalar.anchor;
		tag = event->data.scalar.tag;
	} else if (event->type == YAML_SEQUENCE_START_EVENT) {
		anchor = event->data.sequence_start.anchor;
		tag = event->data.sequence_start.tag;
	} else if (event->type == YAML_MAPPING_START_EVENT) {
		anchor = event->data.mapping_start.anchor;
		tag = event->data.mapping_start.tag;
	}
	if (anchor)
		return gw_parse_error_set(reader->error, mark,
					  "anchors (\"&name\") are not allowed");
	if (tag)
		return gw_parse_error_set(reader->error, mark, "tags (\"!name\") are not allowed");
	return 0;
}

static int read_event(struct reader *reader, const yaml_event_t *event)
{
	int result = refuse_indirection(reader, event);

	if (result < 0)
		return result;
	switch (event->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (reader->document_seen)
			return gw_parse_error_set(reader->error, mark_of(event->start_mark),
						  "a second document begins; one is expected");
		reader->document_seen = true;
		return 0;
	case YAML_SCALAR_EVENT:
		return read_scalar(reader, event);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return read_open(reader, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return read_close(reader);
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
	case YAML_ALIAS_EVENT:
		return 0;
	}
	return 0;
}

/* libyaml's own complaint. Errors of the byte reader carry an offset only. */
static int yaml_error(struct reader *reader, const yaml_parser_t *parser, const char *text,
		      size_t size)
{
	struct gw_mark mark = mark_of(parser->problem_mark);

	if (parser->error == YAML_MEMORY_ERROR)
		return gw_parse_error_set(reader->error, (struct gw_mark){0, 0}, "out of memory");
	if (parser->error == YAML_READER_ERROR) {
		size_t end = parser->problem_offset < size ? parser->problem_offset : size;

		mark = (struct gw_mark){1, 1};
		for (size_t i = 0; i < end; i++) {
			mark.column = text[i] == '\n' ? 1 : mark.column + 1;
			mark.line += text[i] == '\n';
		}
	}
	return gw_parse_error_set(
		reader->error, mark, "not YAML: %s%s%s", parser->context ? parser->context : "",
		parser->context ? ", " : "", parser->problem ? parser->problem : "unreadable");
}

static int read_document(struct reader *reader, const char *text, size_t size)
{
	yaml_parser_t parser;
	int result = 0;
	bool end = false;

	if (!yaml_parser_initialize(&parser))
		return gw_parse_error_set(reader->error, (struct gw_mark){0, 0}, "out of memory");
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
	while (result == 0 && !end) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			result = yaml_error(reader, &parser, text, size);
			break;
		}
		end = event.type == YAML_STREAM_END_EVENT;
		result = read_event(reader, &event);
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	return result;
}

int gw_schema_parse(const struct gw_schema *fields, void *ret_struct, struct gw_arena *arena,
		    const char *text, size_t size, struct gw_parse_error *ret_error)
{
	struct reader reader = {
		.root_fields = fields,
		.root = ret_struct,
		.arena = arena,
		.error = ret_error,
	};
	struct frame empty = {.fields = fields, .mark = {1, 1}};
	int result = gw_schema_defaults(fields, ret_struct, arena);

	if (result < 0)
		return too_large(&reader, empty.mark);
	result = read_document(&reader, text, size);
	if (result == 0 && !reader.root_seen)
		result = close_map(&reader, &empty);
	return result;
}
