/* The pace of a search for the leader, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "proto/base/time.h"
#include "transport/seek.h"

#define MS GW_US_PER_MS

static void tries_in_turn(void **state)
{
	struct gw_seek seek;
	uint64_t now_us = 1000 * MS;

	(void)state;
	gw_seek_init(&seek, 3, 1, now_us);
	assert_int_equal(seek.at, 0);
	assert_int_equal(gw_seek_until_us(&seek), now_us + 300 * MS);
	/* Within a round one follows the other at once. */
	for (uint32_t i = 1; i <= 2; i++) {
		now_us = gw_seek_until_us(&seek);
		assert_int_equal(gw_seek_next(&seek, now_us), now_us);
		assert_int_equal(seek.at, i);
		assert_int_equal(gw_seek_until_us(&seek), now_us + 300 * MS);
	}
	/* Then there is a pause, and the next round's tries last twice as long. */
	now_us = gw_seek_until_us(&seek);
	assert_true(gw_seek_next(&seek, now_us) > now_us);
	assert_int_equal(seek.at, 0);
	assert_int_equal(gw_seek_until_us(&seek), seek.began_us + 600 * MS);
}

/* Refused at once everywhere: what a round costs is its pause, and that is in proportion to the
 * time spent looking, within bounds, for any seed. */
static void pauses_are_in_proportion(void **state)
{
	(void)state;
	for (uint64_t seed = 0; seed < 200; seed++) {
		uint64_t now_us = 5000 * MS;
		const uint64_t since_us = now_us;
		struct gw_seek seek;
		uint32_t tries = 0;

		gw_seek_init(&seek, 2, seed, now_us);
		while (now_us < since_us + 600000 * MS) {
			uint64_t looked_us = now_us - since_us;
			uint64_t pause_us = gw_seek_next(&seek, now_us) - now_us;
			uint64_t most_us = looked_us / 4 > 100 * MS ? looked_us / 4 : 100 * MS;

			if (most_us > 5000 * MS)
				most_us = 5000 * MS;
			if (++tries % 2 == 0 ? pause_us > most_us || pause_us < most_us / 2
					     : pause_us != 0)
				fail_msg("seed %llu: a pause of %llu us after %llu us",
					 (unsigned long long)seed, (unsigned long long)pause_us,
					 (unsigned long long)looked_us);
			now_us = seek.began_us;
		}
		assert_in_range(tries, 2 * 120, 2 * 300); /* in ten minutes */
	}
}

static void jitter_follows_the_seed(void **state)
{
	uint64_t firsts[3];

	(void)state;
	for (uint64_t i = 0; i < 3; i++) {
		struct gw_seek seek;

		gw_seek_init(&seek, 1, i == 2 ? 0 : i, 0);
		firsts[i] = gw_seek_next(&seek, 0);
	}
	assert_true(firsts[0] != firsts[1]);
	assert_int_equal(firsts[0], firsts[2]);
}

/* What answered is kept and tried first; a long path gets longer tries from the start. */
static void learns_from_an_answer(void **state)
{
	uint64_t now_us = 1000 * MS;
	struct gw_seek seek;

	(void)state;
	gw_seek_init(&seek, 2, 1, now_us);
	now_us = gw_seek_next(&seek, now_us);
	now_us += 250 * MS;
	gw_seek_answered(&seek, now_us);
	assert_int_equal(seek.at, 1);
	now_us += 60000 * MS;
	gw_seek_begin(&seek, now_us);
	assert_int_equal(seek.at, 1);
	assert_int_equal(gw_seek_until_us(&seek), now_us + 750 * MS);
}

/* Whatever happened before, a try ends. */
static void tries_are_bounded(void **state)
{
	struct gw_seek seek;
	uint64_t now_us = 0;

	(void)state;
	gw_seek_init(&seek, 8, 1, now_us);
	gw_seek_answered(&seek, 3600000 * MS);
	gw_seek_begin(&seek, now_us);
	for (uint32_t i = 0; i < 1000; i++) {
		assert_in_range(gw_seek_until_us(&seek) - seek.began_us, 300 * MS, 10000 * MS);
		now_us = gw_seek_next(&seek, gw_seek_until_us(&seek));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tries_in_turn),
		cmocka_unit_test(pauses_are_in_proportion),
		cmocka_unit_test(jitter_follows_the_seed),
		cmocka_unit_test(learns_from_an_answer),
		cmocka_unit_test(tries_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
