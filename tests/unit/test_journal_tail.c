/*
 * Where a journal ends: a torn tail is cut, and what was known to last and is not there, or damaged, or
 * another's, is refused with a sentence and left as it is.
 */
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
#include <xxhash.h>

#include <cmocka.h>

#include "test_journal_world.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/journal_folder.h"

/* One that is never idle marks what lasts all the same; garbage over it is then no torn tail. */
static void a_busy_journal_marks(void **state)
{
	struct world *world = *state;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;
	uint64_t first;
	char path[160];

	world_open_good(world, false);
	world_append_batches(world, 2, 3);
	assert_int_equal(world_mark_of(world), 0);
	while ((first = world_mark_of(world)) == 0 && gw_clock_mono_us() < deadline_us)
		world_append_batches(world, 1, 3);
	while (world_mark_of(world) == first && gw_clock_mono_us() < deadline_us)
		world_append_batches(world, 1, 3);
	first = world_mark_of(world);
	assert_true(first > 6);
	assert_true(first <= world->durable);
	assert_true(gw_journal_file_counts(world->file)->batches == world->durable / 3);
	world_path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(truncate(path, 3 * GW_JOURNAL_BLOCK), 0); /* under the writer's feet */
	assert_int_equal(
		gw_journal_file_read(world->folder, NULL, NULL, &world->found, &world->fault),
		-EUCLEAN);
	assert_non_null(strstr(world->fault.text, "the records end with 6, and all up to"));
}

/* A write of the mark that a crash tore takes back no more than that write. */
static void a_mark_is_damaged(void **state)
{
	struct world *world = *state;
	uint64_t last;
	char path[160];
	int fd;

	world_open_good(world, false);
	world_append_batches(world, 2, 3);
	world_close(world);
	assert_int_equal(world_mark_of(world), 6);
	world_open_good(world, false);
	world_append_batches(world, 2, 3);
	world_close(world);
	assert_int_equal(world_mark_of(world), 12);
	world_mark_path(world, path);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(syscall(SYS_pwrite64, fd, "torn", 4, GW_JOURNAL_BLOCK + 32), 4);
	assert_int_equal(world_mark_of(world), 6);
	world_open_good(world, false);
	world_close(world);
	assert_int_equal(world_mark_of(world), 12);
	for (off_t slot = 0; slot < 2; slot++)
		assert_int_equal(syscall(SYS_pwrite64, fd, "torn", 4, slot * GW_JOURNAL_BLOCK), 4);
	world_refused(world, -EUCLEAN, "durable, which tells how far the records go, is damaged");
	assert_int_equal(ftruncate(fd, 0), 0); /* begun, and not written when the power went */
	world_open_good(world, false);
	last = world->found.last_seq;
	assert_int_equal(last, 12);
	world_close(world);
	assert_int_equal(close(fd), 0);
	world_path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(unlink(path), 0); /* and nothing else was there */
	world_refused(world, -EUCLEAN, "the records end with 0, and all up to 12 was durable");
}

/* The only segment, without a mark and with a header that cannot be read: no crash leaves that. */
static void an_unreadable_journal_is_not_a_new_one(void **state)
{
	struct world *world = *state;
	char path[160];

	world_open_good(world, false);
	world_append(world, 4); /* one batch, which none declares */
	world_close(world);
	world_mark_remove(world);
	world_path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(truncate(path, 2 * GW_JOURNAL_BLOCK), 0);
	world_damage(world, GW_JOURNAL_SEGMENT, 1, 20);
	world_refused(world, -EUCLEAN, "the file header does not fit its checksum");
	assert_int_equal(truncate(path, GW_JOURNAL_BLOCK), 0); /* but it may leave this */
	world_open_good(world, false);
	assert_int_equal(world->found.last_seq, 0);
}

static void a_torn_tail_is_cut(void **state)
{
	struct world *world = *state;
	char path[160];
	struct stat status;

	world_open_good(world, false);
	world_append_batches(world, 4, 3);
	world_close(world);
	world_path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(stat(path, &status), 0);
	/* Header, four batches, and one that declares the last of them. */
	assert_int_equal(status.st_size, 6 * GW_JOURNAL_BLOCK);
	world_damage(world, GW_JOURNAL_SEGMENT, 1, 5 * GW_JOURNAL_BLOCK);
	world_open_good(world, false);
	assert_int_equal(world->found.last_seq, 12);  /* nothing that was durable */
	assert_int_equal(world->found.cut_bytes, 65); /* zeros behind them are not counted */
	world_append_batches(world, 1, 3);
	world_close(world);
	world_open_good(world, false);
	assert_int_equal(world->found.last_seq, 15);
	assert_int_equal(world->found.cut_bytes, 0);
	world_close(world);
	/* Records that were told to last are no torn tail. */
	assert_int_equal(truncate(path, 4 * GW_JOURNAL_BLOCK + 100), 0);
	world_refused(world, -EUCLEAN, "all up to 15 was durable, as the file durable there says");
	world_mark_remove(world); /* as a person may who wants to go on without them */
	world_open_good(world, false);
	assert_int_equal(world->found.last_seq, 9);
	assert_int_equal(world->found.cut_bytes, 100);
}

static void damage_is_refused(void **state)
{
	struct world *world = *state;
	char from[160];
	char to[160];

	world_open_good(world, false);
	world_append_batches(world, 4, 3);
	world_close(world);
	world_damage(world, GW_JOURNAL_SEGMENT, 1,
		     4 * GW_JOURNAL_BLOCK + 90); /* the last records */
	world_refused(world, -EUCLEAN, "segment-00000000000000000001 is damaged at offset 16384");
	world_damage(world, GW_JOURNAL_SEGMENT, 1, 4 * GW_JOURNAL_BLOCK + 90); /* mended */
	world_damage(world, GW_JOURNAL_SEGMENT, 1, 17);
	world_refused(world, -EUCLEAN, "all up to 12 was durable");
	world_damage(world, GW_JOURNAL_SEGMENT, 1, 17);
	world_open_good(world, false);
	world_snapshot(world); /* of 12 */
	world_append_batches(world, 4, 3);
	world_snapshot(world); /* of 24; segment 1 goes, 13 stays for snapshot 12 */
	world_append_batches(world, 4, 3);
	world_close(world);
	world_path_of(world, GW_JOURNAL_SEGMENT, 13, from);
	world_path_of(world, GW_JOURNAL_SEGMENT, 14, to);
	assert_int_equal(rename(from, to), 0); /* not needed while snapshot 24 is whole */
	world_open_good(world, false);
	world_close(world);
	world_damage(world, GW_JOURNAL_SNAPSHOT, 24, GW_JOURNAL_BLOCK + 100);
	world_refused(world, -EUCLEAN, "none holds record 13");
	assert_int_equal(rename(to, from), 0);
	world_open_good(world, false); /* from the older snapshot */
	assert_int_equal(world->found.snapshot_seq, 12);
	assert_int_equal(world->found.damaged_snapshots, 1);
	assert_int_equal(world->found.last_seq, 36);
	world_close(world);
	world_damage(world, GW_JOURNAL_SNAPSHOT, 12, GW_JOURNAL_BLOCK + 100);
	world_refused(world, -EUCLEAN, "though the snapshot was finished");
	world_damage(world, GW_JOURNAL_SNAPSHOT, 12, GW_JOURNAL_BLOCK + 100);
	world_path_of(world, GW_JOURNAL_SEGMENT, 25, from);
	assert_int_equal(unlink(from), 0); /* the last is gone: its snapshot tells of no more */
	world_refused(world, -EUCLEAN, "the records end with 24, and all up to 36 was durable");
	world_mark_remove(world);
	world_open_good(world, false);
	assert_int_equal(world->found.last_seq, 24);
	world_close(world);
	world_path_of(world, GW_JOURNAL_SEGMENT, 13, from);
	assert_int_equal(truncate(from, 4 * GW_JOURNAL_BLOCK), 0);
	/* Snapshot 24 is damaged, but its name still says what there was. */
	world_refused(world, -EUCLEAN, "all up to 24 was durable");
	assert_int_equal(unlink(from), 0);
	world_refused(world, -EUCLEAN, "none holds record 13");
}

static struct gw_journal_id own_id(const struct world *world)
{
	struct gw_journal_bytes file;
	struct gw_journal_id id;
	char path[160];

	world_path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(gw_journal_bytes_read(path, false, &file), 0);
	memcpy(id.id.bytes, file.bytes + 16, GW_ID_BYTES);
	gw_journal_bytes_deinit(&file);
	return id;
}

static void foreign_files_are_refused(void **state)
{
	struct world *world = *state;
	struct gw_buf block;
	const struct gw_journal_header foreign = {
		.id = {{.bytes = "another journal"}}, .kind = GW_JOURNAL_SEGMENT, .seq = 13};
	struct gw_journal_header own = {.kind = GW_JOURNAL_SEGMENT};
	uint64_t sum;
	char path[160];

	world_open_good(world, false);
	world_append_batches(world, 4, 3);
	world_close(world);
	gw_buf_init(&block, GW_JOURNAL_BLOCK);
	own.seq = 8; /* a segment from the middle of another: of this journal, and in the way */
	own.id = own_id(world);
	assert_int_equal(gw_journal_header_encode(&own, &block), 0);
	world_path_of(world, GW_JOURNAL_SEGMENT, 8, path);
	assert_int_equal(gw_file_write(path, 0600, false, block.bytes, block.size, &world->fault),
			 0);
	world_refused(world, -EUCLEAN, "goes on to 12, and another begins with 8");
	assert_int_equal(unlink(path), 0);
	block.size = 0;
	assert_int_equal(gw_journal_header_encode(&foreign, &block), 0);
	world_path_of(world, GW_JOURNAL_SEGMENT, 13, path);
	assert_int_equal(gw_file_write(path, 0600, false, block.bytes, block.size, &world->fault),
			 0);
	world_refused(world, -EUCLEAN, "belongs to another journal");
	/* A later version, whose header keeps its form. */
	block.bytes[8] = GW_JOURNAL_VERSION + 1;
	sum = XXH3_64bits(block.bytes, 56);
	memcpy(block.bytes + 56, &sum, sizeof(sum));
	assert_int_equal(gw_file_write(path, 0600, false, block.bytes, block.size, &world->fault),
			 0);
	world_refused(world, -EUCLEAN, "a newer one wrote it");
	gw_buf_deinit(&block);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_busy_journal_marks, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(a_mark_is_damaged, world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(an_unreadable_journal_is_not_a_new_one,
						world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(a_torn_tail_is_cut, world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(damage_is_refused, world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(foreign_files_are_refused, world_set_up,
						world_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
