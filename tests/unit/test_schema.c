/* proto/schema: one table of documents and what becomes of them, then values one by one. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/schema.h"

struct point {
	const char *name;
	struct gw_mark name_mark;
	uint64_t delay_us;
};

struct site {
	const char *text;
	struct gw_mark mark;
};

struct inner {
	uint64_t cpu_milli;
	uint64_t memory_bytes;
	bool fast;
};

struct document {
	const char *name;
	struct gw_mark name_mark;
	struct gw_mark inner_mark;
	uint64_t count;
	uint64_t kind;
	uint64_t loss_ppm;
	uint64_t rate_bps;
	double weight;
	struct inner inner;
	struct gw_schema_list points;
	struct gw_schema_list sites;
	struct gw_schema_list env;
};

static const char *const kinds[] = {"task", "serve", NULL};

static const struct gw_schema inner_fields[] = {
	{.key = "cpu",
	 .type = GW_SCHEMA_MILLI,
	 .offset = offsetof(struct inner, cpu_milli),
	 .fallback = "1",
	 .min = 1,
	 .max = 64000},
	{.key = "memory",
	 .type = GW_SCHEMA_BYTES,
	 .offset = offsetof(struct inner, memory_bytes),
	 .required = true},
	{.key = "fast",
	 .type = GW_SCHEMA_BOOL,
	 .offset = offsetof(struct inner, fast),
	 .fallback = "true"},
	{.key = NULL},
};

static const struct gw_schema point_fields[] = {
	{.key = "name",
	 .type = GW_SCHEMA_TEXT,
	 .offset = offsetof(struct point, name),
	 .mark_offset = offsetof(struct point, name_mark),
	 .required = true,
	 .min = 1},
	{.key = "delay",
	 .type = GW_SCHEMA_DURATION,
	 .offset = offsetof(struct point, delay_us),
	 .fallback = "5 ms",
	 .max = 10000000},
	{.key = NULL},
};

static const struct gw_schema point_item = {.type = GW_SCHEMA_MAP, .fields = point_fields};
static const struct gw_schema site_item = {
	.type = GW_SCHEMA_TEXT,
	.offset = offsetof(struct site, text),
	.mark_offset = offsetof(struct site, mark),
	.min = 1,
	.max = 8,
};

static const struct gw_schema fields[] = {
	{.key = "name",
	 .type = GW_SCHEMA_TEXT,
	 .offset = offsetof(struct document, name),
	 .mark_offset = offsetof(struct document, name_mark),
	 .required = true},
	{.key = "count",
	 .type = GW_SCHEMA_COUNT,
	 .offset = offsetof(struct document, count),
	 .fallback = "3",
	 .min = 1,
	 .max = 100},
	{.key = "kind",
	 .type = GW_SCHEMA_CHOICE,
	 .offset = offsetof(struct document, kind),
	 .choices = kinds},
	{.key = "loss", .type = GW_SCHEMA_FRACTION, .offset = offsetof(struct document, loss_ppm)},
	{.key = "rate", .type = GW_SCHEMA_RATE, .offset = offsetof(struct document, rate_bps)},
	{.key = "weight", .type = GW_SCHEMA_REAL, .offset = offsetof(struct document, weight)},
	{.key = "inner",
	 .type = GW_SCHEMA_MAP,
	 .offset = offsetof(struct document, inner),
	 .mark_offset = offsetof(struct document, inner_mark),
	 .fields = inner_fields},
	{.key = "points",
	 .type = GW_SCHEMA_LIST,
	 .offset = offsetof(struct document, points),
	 .item = &point_item,
	 .item_bytes = sizeof(struct point),
	 .max = 4},
	{.key = "sites",
	 .type = GW_SCHEMA_LIST,
	 .offset = offsetof(struct document, sites),
	 .item = &site_item,
	 .item_bytes = sizeof(struct site),
	 .min = 1},
	{.key = "env", .type = GW_SCHEMA_PAIRS, .offset = offsetof(struct document, env), .max = 3},
	{.key = NULL},
};

static int parse(struct gw_arena *arena, const char *text, struct document *ret_document,
		 struct gw_parse_error *ret_error)
{
	memset(ret_document, 0, sizeof(*ret_document));
	return gw_schema_parse(fields, ret_document, arena, text, strlen(text), ret_error);
}

static void test_good(void **state)
{
	static const char text[] = "# a comment\n"
				   "name: \"two words\"\n"
				   "kind: serve\n"
				   "loss: 0.01 %\n"
				   "rate: 1.5 Gb/s\n"
				   "weight: -2.5e1\n"
				   "inner: {cpu: 1.5, memory: 256MiB, fast: no}\n"
				   "points:\n"
				   "  - name: a\n"
				   "    delay: 0.5 ms\n"
				   "  - {name: b}\n"
				   "  - {name: c, delay: 0}\n"
				   "sites: [x, yy]\n"
				   "env:\n"
				   "  A: 1\n"
				   "  B: x=y\n";
	struct gw_parse_error error;
	struct document document;
	struct gw_arena arena;
	const struct point *points;
	const struct site *sites;
	const char *const *env;

	(void)state;
	gw_arena_init(&arena, 65536);
	assert_int_equal(parse(&arena, text, &document, &error), 0);
	assert_string_equal(document.name, "two words");
	assert_int_equal(document.name_mark.line, 2);
	assert_int_equal(document.name_mark.column, 7);
	assert_int_equal(document.inner_mark.line, 7);
	assert_int_equal(document.inner_mark.column, 1);
	assert_int_equal(document.count, 3);
	assert_int_equal(document.kind, 1);
	assert_int_equal(document.loss_ppm, 100);
	assert_int_equal(document.rate_bps, 1500000000);
	assert_true(document.weight > -25.1 && document.weight < -24.9);
	assert_int_equal(document.inner.cpu_milli, 1500);
	assert_int_equal(document.inner.memory_bytes, 256u << 20);
	assert_false(document.inner.fast);
	points = document.points.items;
	assert_int_equal(document.points.count, 3);
	assert_string_equal(points[0].name, "a");
	assert_int_equal(points[0].delay_us, 500);
	assert_int_equal(points[1].delay_us, 5000);
	assert_int_equal(points[1].name_mark.line, 11);
	assert_int_equal(points[2].delay_us, 0);
	sites = document.sites.items;
	assert_int_equal(document.sites.count, 2);
	assert_string_equal(sites[1].text, "yy");
	assert_int_equal(sites[1].mark.column, 12);
	env = document.env.items;
	assert_int_equal(document.env.count, 2);
	assert_string_equal(env[0], "A=1");
	assert_string_equal(env[1], "B=x=y");
	gw_arena_deinit(&arena);
}

static void test_defaults_and_pairs_as_list(void **state)
{
	struct gw_parse_error error;
	struct document document;
	struct gw_arena arena;

	(void)state;
	gw_arena_init(&arena, 65536);
	assert_int_equal(parse(&arena, "name: a\nenv: [A=1, B=]\n", &document, &error), 0);
	assert_int_equal(document.inner.cpu_milli, 1000); /* of a map that is not there */
	assert_true(document.inner.fast);
	assert_int_equal(document.inner_mark.line, 0);
	assert_int_equal(document.points.count, 0);
	assert_string_equal(((const char **)document.env.items)[1], "B=");
	gw_arena_deinit(&arena);
}

static const struct {
	const char *text;
	const char *error;
} bad[] = {
	{"", "f:1:1: the key \"name\" is missing"},
	{"---\n", "f:1:1: the key \"name\" is missing"},
	{"count: 2\n", "f:1:1: the key \"name\" is missing"},
	{"just text", "f:1:1: found a single value, expected a map (\"name: ...\")"},
	{"[a]", "f:1:1: found a list, expected a map (\"name: ...\")"},
	{"name: a\nconut: 2\n", "f:2:1: unknown key \"conut\"; did you mean \"count\"?"},
	{"name: a\nzzzzzz: 2\n",
	 "f:2:1: unknown key \"zzzzzz\"; known here: name, count, kind, loss, rate, weight, inner, "
	 "points, sites, env"},
	{"name: a\n<<: {b: c}\n",
	 "f:2:1: unknown key \"<<\"; known here: name, count, kind, loss, rate, weight, inner, "
	 "points, sites, env"},
	{"name: a\nname: b\n", "f:2:1: \"name\" stands here twice"},
	{"name:\n", "f:1:6: \"name\" has no value"},
	{"name: ~\n", "f:1:7: \"name\" has no value"},
	{"name: [a]\n", "f:1:1: \"name\": found a list, expected text"},
	{"name: {a: b}\n", "f:1:1: \"name\": found a map, expected text"},
	{"name: \"a\\0b\"\n", "f:1:7: a text holds a NUL byte"},
	{"name: a\ncount: x\n", "f:2:8: \"count\": found \"x\", expected a whole number"},
	{"name: a\ncount: 1.5\n", "f:2:8: \"count\": found \"1.5\", expected a whole number"},
	{"name: a\ncount: \"\\e[2J\\n\"\n",
	 "f:2:8: \"count\": found \"?[2J?\", expected a whole number"},
	{"name: a\ncount: -1\n", "f:2:8: \"count\": found \"-1\", expected a whole number"},
	{"name: a\ncount: 0\n", "f:2:8: \"count\": found \"0\", expected 1 to 100"},
	{"name: a\ncount: 99999999999999999999999\n",
	 "f:2:8: \"count\": found \"99999999999999999999999\", expected a whole number"},
	{"name: a\nkind: train\n", "f:2:7: \"kind\": found \"train\", expected one of task, serve"},
	{"name: a\nloss: 101 %\n", "f:2:7: \"loss\": found \"101 %\", expected 0 % to 100 %"},
	{"name: a\ninner: {}\n", "f:2:1: \"inner\" lacks the key \"memory\""},
	{"name: a\ninner: 5\n", "f:2:8: \"inner\": found \"5\", expected a map"},
	{"name: a\ninner: {memory: 5}\n",
	 "f:2:17: \"memory\": found \"5\", expected a size: a number and B, KB, MB, GB, TB, KiB, "
	 "MiB, GiB or TiB"},
	{"name: a\ninner: {memory: 1MiB, fast: maybe}\n",
	 "f:2:29: \"fast\": found \"maybe\", expected true or false"},
	{"name: a\npoints: [{name: a, delay: 11 s}]\n",
	 "f:2:27: \"delay\": found \"11 s\", expected 0 to 10 s"},
	{"name: a\npoints: [{delay: 1 s}]\n", "f:2:10: \"points\" lacks the key \"name\""},
	{"name: a\npoints: [a]\n", "f:2:10: \"points\": found \"a\", expected a map"},
	{"name: a\npoints: [{name: a}, {name: b}, {name: c}, {name: d}, {name: e}]\n",
	 "f:2:54: \"points\" has more than 4 entries"},
	{"name: a\nsites: []\n", "f:2:1: \"sites\" has 0 entries, expected at least 1"},
	{"name: a\nsites: x\n", "f:2:8: \"sites\": found \"x\", expected a list"},
	{"name: a\nsites: [\"\"]\n",
	 "f:2:9: \"sites\": found a text of 0 bytes, expected at least 1"},
	{"name: a\nsites: [123456789]\n",
	 "f:2:9: \"sites\": found a text of 9 bytes, expected at most 8"},
	{"name: a\nsites: [[x]]\n", "f:2:9: \"sites\": found a list, expected text"},
	{"name: a\nenv: [A]\n", "f:2:7: found \"A\" in \"env\", expected NAME=value"},
	{"name: a\nenv: {A: [1]}\n", "f:2:10: found a list in \"env\", expected a single value"},
	{"name: a\nenv: {A=: 1}\n", "f:2:7: \"A=\" is no name: it is empty or holds a \"=\""},
	{"name: a\nenv: {A: 1, A: 2}\n", "f:2:16: \"A\" stands in \"env\" twice"},
	{"name: a\nenv: {A: 1, B: 2, C: 3, D: 4}\n", "f:2:28: \"env\" has more than 3 entries"},
	{"name: a\n? [x]\n: y\n", "f:2:3: found a list, expected a key"},
	{"name: &x a\n", "f:1:7: anchors (\"&name\") are not allowed"},
	{"name: *x\n", "f:1:7: aliases (\"*name\") are not allowed"},
	{"name: !!str a\n", "f:1:7: tags (\"!name\") are not allowed"},
	{"name: a\n---\nname: b\n", "f:2:1: a second document begins; one is expected"},
	{"sites: [a\n",
	 "f:2:1: not YAML: while parsing a flow sequence, did not find expected ',' or "
	 "']'"},
	{"name: \xff\n", "f:1:7: not YAML: invalid leading UTF-8 octet"},
	{"\tname: a\n", "f:1:1: not YAML: while scanning for the next token, found character that "
			"cannot start any token"},
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(bad); i++) {
		struct gw_parse_error error;
		struct document document;
		struct gw_arena arena;
		char text[600];

		gw_arena_init(&arena, 65536);
		assert_int_equal(parse(&arena, bad[i].text, &document, &error), -EINVAL);
		gw_parse_error_format(&error, "f", text, sizeof(text));
		if (strcmp(text, bad[i].error) != 0)
			print_error("document %zu: %s\n", i, bad[i].text);
		assert_string_equal(text, bad[i].error);
		gw_arena_deinit(&arena);
	}
}

/* Lists of lists are the only way to go deeper than the tables. */
static void test_depth(void **state)
{
	static struct gw_schema lists[GW_SCHEMA_DEPTH_MAX + 1];
	static const struct gw_schema end;
	struct gw_schema root[2] = {lists[0], end};
	struct gw_schema_list list = {0};
	struct gw_parse_error error;
	struct gw_arena arena;

	(void)state;
	for (size_t i = 0; i <= GW_SCHEMA_DEPTH_MAX; i++)
		lists[i] = (struct gw_schema){.type = GW_SCHEMA_LIST,
					      .item = &lists[i < GW_SCHEMA_DEPTH_MAX ? i + 1 : i],
					      .item_bytes = sizeof(struct gw_schema_list)};
	root[0] = lists[0];
	root[0].key = "a";
	gw_arena_init(&arena, 65536);
	assert_int_equal(gw_schema_parse(root, &list, &arena, "a: [[[[[[[]]]]]]]", 17, &error), 0);
	assert_int_equal(gw_schema_parse(root, &list, &arena, "a: [[[[[[[[]]]]]]]]", 19, &error),
			 -EINVAL);
	assert_string_equal(error.text, "nested more than 8 levels deep");
	gw_arena_deinit(&arena);
}

/* A small arena ends a large document with a sentence. */
static void test_arena_bound(void **state)
{
	struct gw_parse_error error;
	struct document document;
	struct gw_arena arena;

	(void)state;
	for (size_t limit = 0; limit < 512; limit += 16) {
		int result;

		gw_arena_init(&arena, limit);
		result = parse(&arena, "name: abc\nsites: [a, b, c]\nenv: {A: 1, B: 2}\n",
			       &document, &error);
		assert_true(result == 0 || result == -EINVAL);
		if (limit == 0)
			assert_string_equal(error.text, "\"name\": the whole is too large");
		if (limit > 400)
			assert_int_equal(result, 0);
		gw_arena_deinit(&arena);
	}
}

static const struct {
	enum gw_schema_type type;
	const char *text;
	int64_t value;     /* -1: refused */
	const char *shown; /* by gw_schema_format */
} values[] = {
	{GW_SCHEMA_COUNT, "0", 0, "0"},
	{GW_SCHEMA_COUNT, "007", 7, "7"},
	{GW_SCHEMA_COUNT, "", -1, NULL},
	{GW_SCHEMA_COUNT, "1 s", -1, NULL},
	{GW_SCHEMA_COUNT, "+1", -1, NULL},
	{GW_SCHEMA_MILLI, "1.5", 1500, "1.5"},
	{GW_SCHEMA_MILLI, "0.001", 1, "0.001"},
	{GW_SCHEMA_MILLI, "0.0001", -1, NULL},
	{GW_SCHEMA_MILLI, "100", 100000, "100"},
	{GW_SCHEMA_DURATION, "90 s", 90000000, "90 s"},
	{GW_SCHEMA_DURATION, "1.5min", 90000000, "90 s"},
	{GW_SCHEMA_DURATION, "24 h", 86400000000, "1 d"},
	{GW_SCHEMA_DURATION, "0", 0, "0"},
	{GW_SCHEMA_DURATION, "1", -1, NULL},
	{GW_SCHEMA_DURATION, "1 S", -1, NULL},
	{GW_SCHEMA_DURATION, "1. s", -1, NULL},
	{GW_SCHEMA_DURATION, ".5 s", -1, NULL},
	{GW_SCHEMA_DURATION, "0.1 us", -1, NULL},
	{GW_SCHEMA_DURATION, "0.0000001 s", -1, NULL},
	{GW_SCHEMA_DURATION, "999999999999 d", -1, NULL},
	{GW_SCHEMA_BYTES, "1 KB", 1000, "1 KB"},
	{GW_SCHEMA_BYTES, "1KiB", 1024, "1 KiB"},
	{GW_SCHEMA_BYTES, "1.5 GiB", 1610612736, "1536 MiB"},
	{GW_SCHEMA_BYTES, "16777216 TiB", -1, NULL},
	{GW_SCHEMA_BYTES, "8388607 TiB", 9223370937343148032, "8388607 TiB"},
	{GW_SCHEMA_RATE, "100 Mb/s", 100000000, "100 Mb/s"},
	{GW_SCHEMA_RATE, "100 MB/s", -1, NULL},
	{GW_SCHEMA_FRACTION, "0.01 %", 100, "0.01 %"},
	{GW_SCHEMA_FRACTION, "0.0001", 100, "0.01 %"},
	{GW_SCHEMA_FRACTION, "1", 1000000, "100 %"},
	{GW_SCHEMA_FRACTION, "1.1", -1, NULL},
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(values); i++) {
		const struct gw_schema field = {.type = values[i].type};
		struct gw_parse_error error;
		uint64_t value = 0;
		char shown[64];
		int result = gw_schema_parse_value(&field, values[i].text, NULL, &value, &error);

		if (result != (values[i].value < 0 ? -EINVAL : 0))
			print_error("value %zu: \"%s\"\n", i, values[i].text);
		assert_int_equal(result, values[i].value < 0 ? -EINVAL : 0);
		if (result < 0)
			continue;
		assert_int_equal(value, values[i].value);
		gw_schema_format(&field, value, shown, sizeof(shown));
		assert_string_equal(shown, values[i].shown);
	}
}

static void test_reals(void **state)
{
	static const char *const refused[] = {"", "nan", "inf", "0x10", " 1", "1 ", "1e999", "--1"};
	const struct gw_schema field = {.type = GW_SCHEMA_REAL, .max = 10};
	struct gw_parse_error error;
	double value;

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(refused); i++)
		assert_int_equal(gw_schema_parse_value(&field, refused[i], NULL, &value, &error),
				 -EINVAL);
	assert_int_equal(gw_schema_parse_value(&field, "10.5", NULL, &value, &error), -EINVAL);
	assert_string_equal(error.text, "found \"10.5\", expected 0 to 10");
	assert_int_equal(gw_schema_parse_value(&field, "2.5", NULL, &value, &error), 0);
	assert_true(value > 2.49 && value < 2.51);
}

static void test_distance(void **state)
{
	(void)state;
	assert_int_equal(gw_text_distance("lease", "lease"), 0);
	assert_int_equal(gw_text_distance("leese", "lease"), 1);
	assert_int_equal(gw_text_distance("replace-after", "replace_after"), 1);
	assert_int_equal(gw_text_distance("cup", "cpu"), 2);
	assert_int_equal(gw_text_distance("xyz", "memory"), UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_defaults_and_pairs_as_list),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_arena_bound),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_reals),
		cmocka_unit_test(test_distance),
	};

	return cmocka_run_group_tests_name("schema", tests, NULL, NULL);
}
