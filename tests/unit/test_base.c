/* The containers of floor 0: tables of cases first, then seeded comparisons with a naive model. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/base/arena.h"
#include "proto/base/buf.h"
#include "proto/base/check.h"
#include "proto/base/heap.h"
#include "proto/base/id.h"
#include "proto/base/prng.h"
#include "proto/base/table.h"

static void ids_have_two_text_forms(void **state)
{
	static const struct {
		const char *text;
		const char *as; /* NULL: not an id */
	} rows[] = {
		{"00000001.2.3", "00000001.2.3"},
		{"1.2.3", "00000001.2.3"},
		{"ffffffff.4294967295.18446744073709551615",
		 "ffffffff.4294967295.18446744073709551615"},
		{"17", "00000000.0.17"},
		{"0", "00000000.0.0"},
		{"", NULL},
		{"1.2", NULL},
		{"1.2.3.4", NULL},
		{"1..3", NULL},
		{".2.3", NULL},
		{"1.2.", NULL},
		{"1.x.3", NULL},
		{"g.2.3", NULL},
		{"100000000.2.3", NULL},
		{"1.4294967296.3", NULL},
		{"1.2.18446744073709551616", NULL},
		{"-1", NULL},
		{" 1", NULL},
		{"0x1", NULL},
	};

	char text[GW_ID_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < GW_ARRAY_COUNT(rows); i++) {
		struct gw_id id;

		if (gw_id_parse(rows[i].text, &id) != (rows[i].as != NULL))
			fail_msg("\"%s\"", rows[i].text);
		if (!rows[i].as)
			continue;
		gw_id_format(id, text);
		assert_string_equal(text, rows[i].as);
	}
}

static void ids_in_hexadecimal(void **state)
{
	char text[GW_ID_TEXT_BYTES];
	struct gw_id id = gw_id_make(0x01020304, 0x05060708, 0x090a0b0c0d0e0f10);
	struct gw_id back;

	(void)state;
	gw_id_format_hex(id, text);
	assert_string_equal(text, "0102030405060708090a0b0c0d0e0f10");
	assert_true(gw_id_parse_hex(text, &back));
	assert_true(gw_id_equal(id, back));
	assert_true(gw_id_counter(id) == 0x090a0b0c0d0e0f10);
	assert_false(gw_id_parse_hex("0102030405060708090a0b0c0d0e0f1", &back));
	assert_false(gw_id_parse_hex("0102030405060708090a0b0c0d0e0f100", &back));
	assert_false(gw_id_parse_hex("0102030405060708090A0b0c0d0e0f10", &back));
	assert_false(gw_id_parse_hex("", &back));
	assert_false(gw_id_from_bytes(id.bytes, 15, &back));
	assert_true(gw_id_is_zero(gw_id_make(0, 0, 0)));
	assert_false(gw_id_is_zero(gw_id_make(0, 0, 1)));
	assert_true(gw_id_compare(gw_id_make(1, 1, 2), gw_id_make(1, 1, 256)) < 0);
}

static void buffers_keep_their_limit(void **state)
{
	struct gw_buf buf;

	(void)state;
	gw_buf_init(&buf, 10);
	assert_int_equal(gw_buf_append(&buf, "hello", 5), 0);
	assert_int_equal(gw_buf_printf(&buf, "%d", 12345), 0);
	assert_int_equal(buf.size, 10);
	assert_int_equal(gw_buf_append(&buf, "x", 1), -ENOBUFS);
	assert_int_equal(gw_buf_printf(&buf, "x"), -ENOBUFS);
	assert_null(gw_buf_grow(&buf, 1));
	assert_null(gw_buf_grow(&buf, SIZE_MAX));
	assert_memory_equal(buf.bytes, "hello12345", 11); /* a NUL follows */
	gw_buf_consume(&buf, 5);
	assert_int_equal(buf.size, 5);
	assert_memory_equal(buf.bytes, "12345", 5);
	assert_non_null(gw_buf_grow(&buf, 5));
	gw_buf_consume(&buf, 10);
	assert_int_equal(buf.size, 0);
	assert_int_equal(gw_buf_append(&buf, NULL, 0), 0);
	gw_buf_deinit(&buf);
	assert_null(buf.bytes);
	gw_buf_deinit(NULL);
}

static void arenas_keep_their_limit(void **state)
{
	struct gw_arena arena;
	uint8_t *last = NULL;
	size_t count = 0;

	(void)state;
	gw_arena_init(&arena, 64 << 10);
	for (uint8_t *at; (at = gw_arena_alloc(&arena, 100)); count++) {
		assert_true((uintptr_t)at % 16 == 0);
		memset(at, (int)count, 100); /* a sanitizer sees an overlap with a block's end */
		if (last)
			assert_int_equal(last[99], (uint8_t)(count - 1));
		last = at;
	}
	assert_int_equal(count, (64 << 10) / 112);
	assert_true(arena.used_bytes <= arena.limit_bytes);
	assert_null(gw_arena_alloc(&arena, SIZE_MAX));
	assert_null(gw_arena_alloc(&arena, SIZE_MAX - 8));
	gw_arena_reset(&arena);
	assert_int_equal(arena.used_bytes, 0);
	assert_non_null(gw_arena_alloc(&arena, 64 << 10));
	assert_null(gw_arena_alloc(&arena, 1));
	gw_arena_reset(&arena);
	assert_memory_equal(gw_arena_copy(&arena, "abc", 4), "abc", 4);
	assert_non_null(gw_arena_copy(&arena, NULL, 0));
	gw_arena_deinit(&arena);
	gw_arena_deinit(&arena);
	gw_arena_deinit(NULL);
}

/* The reference output of xoshiro256** seeded by splitmix64 from 0, computed by the authors' code.
 */
static void prng_is_the_published_one(void **state)
{
	struct gw_prng prng;
	struct gw_prng again;
	uint32_t buckets[7] = {0};
	uint32_t hits = 0;

	(void)state;
	gw_prng_init(&prng, 0);
	assert_true(gw_prng_next(&prng) == 0x99ec5f36cb75f2b4ull);
	assert_true(gw_prng_next(&prng) == 0xbf6e1f784956452aull);
	assert_true(gw_prng_next(&prng) == 0x1a5f849d4933e6e0ull);
	gw_prng_init(&prng, 42);
	gw_prng_init(&again, 42);
	for (int i = 0; i < 70000; i++) {
		uint64_t value = gw_prng_below(&prng, 7);

		assert_true(value < 7);
		assert_true(gw_prng_below(&again, 7) == value);
		buckets[value]++;
		hits += gw_prng_chance_ppm(&prng, 10000);
		(void)gw_prng_chance_ppm(&again, 10000);
	}
	for (size_t i = 0; i < 7; i++) /* 5 sigma of 10,000 */
		assert_true(buckets[i] > 9500 && buckets[i] < 10500);
	assert_true(hits > 560 && hits < 840);
	for (int i = 0; i < 1000; i++) {
		double unit = gw_prng_unit(&prng);

		assert_true(unit >= 0 && unit < 1);
	}
	assert_true(gw_prng_below(&prng, 1) == 0);
	assert_false(gw_prng_chance_ppm(&prng, 0));
	assert_true(gw_prng_chance_ppm(&prng, 1000000));
}

struct entry {
	uint32_t key;
	uint32_t value;
};

/* A table beside an array that is searched: the same answers through 20,000 calls. */
static void tables_find_what_is_there(void **state)
{
	enum { KEYS = 300, LIMIT = 200 };
	struct entry *there[KEYS] = {0};
	struct gw_table table;
	struct gw_prng prng;
	uint32_t count = 0;

	(void)state;
	gw_table_init(&table, sizeof(uint32_t), LIMIT, 7);
	gw_prng_init(&prng, 11);
	for (int i = 0; i < 20000; i++) {
		uint32_t key = (uint32_t)gw_prng_below(&prng, KEYS);

		if (gw_prng_chance_ppm(&prng, 600000)) {
			struct entry *entry = calloc(1, sizeof(*entry));
			int expected = there[key] ? -EEXIST : count == LIMIT ? -ENOBUFS : 0;

			assert_non_null(entry);
			entry->key = key;
			assert_int_equal(gw_table_add(&table, entry), expected);
			if (expected == 0) {
				there[key] = entry;
				count++;
			} else {
				free(entry);
			}
		} else {
			assert_ptr_equal(gw_table_remove(&table, &key), there[key]);
			count -= there[key] != NULL;
			free(there[key]);
			there[key] = NULL;
		}
		assert_int_equal(table.count, count);
		key = (uint32_t)gw_prng_below(&prng, KEYS);
		assert_ptr_equal(gw_table_find(&table, &key), there[key]);
	}
	for (uint32_t i = 0; i < table.count; i++)
		assert_ptr_equal(table.entries[i], there[((struct entry *)table.entries[i])->key]);
	for (uint32_t key = 0; key < KEYS; key++)
		assert_ptr_equal(gw_table_find(&table, &key), there[key]);
	gw_table_deinit(&table);
	for (uint32_t key = 0; key < KEYS; key++)
		free(there[key]);
}

static void empty_tables_answer(void **state)
{
	struct gw_table table;
	uint32_t key = 1;

	(void)state;
	gw_table_init(&table, sizeof(key), 1, 0);
	assert_null(gw_table_find(&table, &key));
	assert_null(gw_table_remove(&table, &key));
	gw_table_deinit(&table);
	gw_table_deinit(NULL);
}

/* Out come the earliest, ties by order, through moves and removals. */
static void heaps_give_the_earliest(void **state)
{
	enum { ITEMS = 200 };
	struct gw_heap_item items[ITEMS] = {0};
	struct gw_heap heap;
	struct gw_prng prng;

	(void)state;
	gw_heap_init(&heap, ITEMS);
	gw_prng_init(&prng, 3);
	for (uint64_t i = 0; i < ITEMS; i++)
		items[i].order = i;
	for (int i = 0; i < 20000; i++) {
		struct gw_heap_item *item = &items[gw_prng_below(&prng, ITEMS)];
		const struct gw_heap_item *first = NULL;

		if (gw_prng_chance_ppm(&prng, 300000))
			gw_heap_remove(&heap, item);
		else
			assert_int_equal(gw_heap_set(&heap, item, gw_prng_below(&prng, 50)), 0);
		for (size_t j = 0; j < ITEMS; j++) {
			if (items[j].position == 0)
				continue;
			if (!first || items[j].at_us < first->at_us)
				first = &items[j]; /* the lowest order of equal times comes first */
		}
		assert_ptr_equal(gw_heap_first(&heap), first);
	}
	gw_heap_deinit(&heap);
}

static void heaps_keep_their_limit(void **state)
{
	struct gw_heap_item items[3] = {0};
	struct gw_heap heap;

	(void)state;
	gw_heap_init(&heap, 2);
	assert_null(gw_heap_first(&heap));
	assert_int_equal(gw_heap_set(&heap, &items[0], 5), 0);
	assert_int_equal(gw_heap_set(&heap, &items[1], 4), 0);
	assert_int_equal(gw_heap_set(&heap, &items[2], 3), -ENOBUFS);
	assert_int_equal(gw_heap_set(&heap, &items[0], 1), 0); /* a move needs no room */
	assert_ptr_equal(gw_heap_first(&heap), &items[0]);
	gw_heap_remove(&heap, &items[2]);
	assert_int_equal(heap.count, 2);
	gw_heap_deinit(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ids_have_two_text_forms),
		cmocka_unit_test(ids_in_hexadecimal),
		cmocka_unit_test(buffers_keep_their_limit),
		cmocka_unit_test(arenas_keep_their_limit),
		cmocka_unit_test(prng_is_the_published_one),
		cmocka_unit_test(tables_find_what_is_there),
		cmocka_unit_test(empty_tables_answer),
		cmocka_unit_test(heaps_give_the_earliest),
		cmocka_unit_test(heaps_keep_their_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
