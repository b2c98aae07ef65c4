/* A disk that is full, nearly full, slow or broken is met as transport/journal_file.h says. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_journal_world.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/journal_folder.h"

static void a_full_disk_is_waited_for(void **state)
{
	struct world *world = *state;
	const char *text;

	world_open_good(world, true);
	world_append_batches(world, 2, 3);
	disk.write_error = ENOSPC;
	world_append(world, 3);
	while (!world->journal->stalled(world->journal, gw_clock_mono_us()))
		world_turn(world);
	text = world->journal->stalled(world->journal, gw_clock_mono_us());
	assert_non_null(strstr(text, "is full"));
	assert_non_null(strstr(text, world->folder));
	world_append(world, 2); /* what is under way goes on */
	assert_int_equal(world->durable, 6);
	disk.write_error = 0;
	world_settle(world); /* within a second */
	assert_null(world->journal->stalled(world->journal, gw_clock_mono_us()));
	assert_int_equal(world->failed, 0);
	world_close(world);
	world_open_good(world, false);
	assert_int_equal(world->found.last_seq, 11);
}

/* The new segment cannot be begun: records wait for it and do not go to the old one. */
static void a_disk_full_at_a_new_segment(void **state)
{
	struct world *world = *state;

	assert_int_equal(world_open_as(world, true, 4096), 0);
	world_append_batches(world, 5, 5);
	disk.write_error = ENOSPC;
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	world_append(world, 3);
	while (!world->journal->stalled(world->journal, gw_clock_mono_us()))
		world_turn(world);
	world_append(world, 2);
	assert_int_equal(world->durable, 25);
	disk.write_error = 0;
	world_settle(world);
	assert_int_equal(world->failed, 0);
	world_close(world);
	world_open_good(world, false);
	assert_int_equal(world->found.last_seq, 30);
}

/* The zeros in advance find no room: the records do not wait for them. */
static void a_nearly_full_disk_takes_the_records(void **state)
{
	struct world *world = *state;
	struct stat status;
	char path[160];

	world_open_good(world, true);
	disk.room = 20 * GW_JOURNAL_BLOCK;
	for (int i = 0; i < 10; i++) {
		world_append(world, 3);
		while (world->durable < world->appended) {
			world_turn(world);
			assert_null(world->journal->stalled(world->journal, gw_clock_mono_us()));
		}
	}
	world_path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size,
			 11 * GW_JOURNAL_BLOCK); /* and it is not filled with them */
	world_close(world);
	world_open_good(world, true);
	assert_int_equal(world->found.last_seq, 30);
}

static void broken(struct world *world, atomic_int *which)
{
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	world_open_good(world, true);
	world_append_batches(world, 2, 3);
	*which = EIO;
	world_append(world, 3);
	while (world->failed == 0 && gw_clock_mono_us() < deadline_us)
		world_turn(world);
	assert_int_equal(world->failed, -EIO);
	assert_non_null(strstr(world->failed_text, "start again"));
	*which = 0; /* a disk that recovers is not believed */
	assert_int_equal(world_append_one(world), -EIO);
	world_turn(world);
	assert_int_equal(world->durable, 6);
	assert_non_null(world->journal->stalled(world->journal, gw_clock_mono_us()));
	world_close(world);
	world_open_good(world, false);
	assert_true(world->found.last_seq >= 6);
	world->failed = 0;
}

static void a_failed_sync_is_the_end(void **state)
{
	broken(*state, &disk.sync_error);
}

static void a_failed_write_is_the_end(void **state)
{
	broken(*state, &disk.write_error);
}

static void a_slow_disk_is_told(void **state)
{
	struct world *world = *state;
	static const uint8_t large[GW_JOURNAL_RECORD_BYTES_MAX];
	uint64_t now_us;
	uint64_t seq = 3;
	int error;

	world_open_good(world, true);
	world_append(world, 3);
	now_us = gw_clock_mono_us();
	assert_null(world->journal->stalled(world->journal, now_us));
	assert_non_null(strstr(
		world->journal->stalled(world->journal, now_us + 2 * GW_JOURNAL_SLOW_US), "slow"));
	world_settle(world);
	assert_null(world->journal->stalled(world->journal, now_us + 2 * GW_JOURNAL_SLOW_US));
	while ((error = world->journal->append(world->journal, seq + 1, large, sizeof(large))) == 0)
		seq++;
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(seq - 3, GW_JOURNAL_QUEUE_BYTES_MAX / (sizeof(large) + 4));
	assert_non_null(strstr(world->journal->stalled(world->journal, now_us), "MiB"));
	world->appended = seq;
	world_settle(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_full_disk_is_waited_for, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(a_disk_full_at_a_new_segment, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(a_nearly_full_disk_takes_the_records, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(a_failed_sync_is_the_end, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(a_failed_write_is_the_end, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(a_slow_disk_is_told, world_set_up, world_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
