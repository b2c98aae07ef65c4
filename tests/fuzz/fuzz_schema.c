/*
 * Arbitrary bytes as a document for a table that has every type. Whatever comes: 0 or an error with
 * a text; a success must have kept its ranges.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/schema.h"

struct nested {
	uint64_t duration_us;
	struct gw_schema_list texts;
};

struct document {
	const char *text;
	struct gw_mark text_mark;
	bool flag;
	uint64_t count;
	uint64_t milli;
	uint64_t bytes;
	uint64_t rate_bps;
	uint64_t loss_ppm;
	uint64_t choice;
	double real;
	struct nested map;
	struct gw_schema_list list;
	struct gw_schema_list pairs;
};

static const char *const choices[] = {"one", "two", NULL};
static const struct gw_schema text_item = {.type = GW_SCHEMA_TEXT, .max = 20};
static const struct gw_schema nested_fields[] = {
	{.key = "d",
	 .type = GW_SCHEMA_DURATION,
	 .offset = offsetof(struct nested, duration_us),
	 .max = 1000},
	{.key = "l",
	 .type = GW_SCHEMA_LIST,
	 .offset = offsetof(struct nested, texts),
	 .item = &text_item,
	 .item_bytes = sizeof(char *)},
	{.key = NULL},
};
static const struct gw_schema nested_item = {.type = GW_SCHEMA_MAP, .fields = nested_fields};
static const struct gw_schema fields[] = {
	{.key = "t",
	 .type = GW_SCHEMA_TEXT,
	 .offset = offsetof(struct document, text),
	 .mark_offset = offsetof(struct document, text_mark)},
	{.key = "b", .type = GW_SCHEMA_BOOL, .offset = offsetof(struct document, flag)},
	{.key = "n",
	 .type = GW_SCHEMA_COUNT,
	 .offset = offsetof(struct document, count),
	 .fallback = "7",
	 .min = 5,
	 .max = 9},
	{.key = "m", .type = GW_SCHEMA_MILLI, .offset = offsetof(struct document, milli)},
	{.key = "s", .type = GW_SCHEMA_BYTES, .offset = offsetof(struct document, bytes)},
	{.key = "r", .type = GW_SCHEMA_RATE, .offset = offsetof(struct document, rate_bps)},
	{.key = "f", .type = GW_SCHEMA_FRACTION, .offset = offsetof(struct document, loss_ppm)},
	{.key = "c",
	 .type = GW_SCHEMA_CHOICE,
	 .offset = offsetof(struct document, choice),
	 .choices = choices},
	{.key = "d", .type = GW_SCHEMA_REAL, .offset = offsetof(struct document, real)},
	{.key = "map",
	 .type = GW_SCHEMA_MAP,
	 .offset = offsetof(struct document, map),
	 .fields = nested_fields},
	{.key = "list",
	 .type = GW_SCHEMA_LIST,
	 .offset = offsetof(struct document, list),
	 .item = &nested_item,
	 .item_bytes = sizeof(struct nested),
	 .max = 50},
	{.key = "pairs",
	 .type = GW_SCHEMA_PAIRS,
	 .offset = offsetof(struct document, pairs),
	 .max = 50},
	{.key = NULL},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_parse_error error = {0};
	struct document document;
	struct gw_arena arena;
	int result;

	memset(&document, 0, sizeof(document));
	gw_arena_init(&arena, 1u << 20);
	result = gw_schema_parse(fields, &document, &arena, (const char *)data, size, &error);
	if (result < 0) {
		CHECK(error.text[0] != '\0');
	} else {
		const struct nested *items = document.list.items;

		CHECK(document.count >= 5 && document.count <= 9);
		CHECK(document.loss_ppm <= 1000000);
		CHECK(document.choice < 2);
		CHECK(document.list.count <= 50);
		for (uint32_t i = 0; i < document.list.count; i++)
			CHECK(items[i].duration_us <= 1000);
		for (uint32_t i = 0; i < document.pairs.count; i++)
			CHECK(strchr(((char **)document.pairs.items)[i], '=') != NULL);
	}
	gw_arena_deinit(&arena);
	return 0;
}
