/*
 * The journal of a folder: what was called durable is read back, snapshots supersede segments, and the
 * format of each version stays readable.
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

#include <cmocka.h>

#include "test_journal_world.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/journal_folder.h"

static void records_last(struct world *world, bool plain)
{
	world_open_good(world, plain);
	assert_int_equal(world->found.last_seq, 0);
	assert_true(world->found.plain || !plain);
	world_append(world, 1000); /* one turn, one batch */
	assert_int_equal(world->durable, 0);
	world_settle(world);
	assert_int_equal(gw_journal_file_counts(world->file)->batches, 1);
	world_append_batches(world, 20, 3);
	world_close(world);
	world_open_good(world, plain);
	assert_int_equal(world->found.last_seq, 1060);
	assert_int_equal(world->found.records, 1060);
	assert_int_equal(world->found.cut_bytes, 0);
	assert_int_equal(world->found.version, GW_JOURNAL_VERSION);
	world_append(world, 7); /* closing writes them */
	world_close(world);
	world_open_good(world, !plain);
	assert_int_equal(world->found.last_seq, 1067);
}

static void records_last_through_io_uring(void **state)
{
	records_last(*state, false);
}

static void records_last_through_calls(void **state)
{
	records_last(*state, true);
}

static void snapshots_supersede(void **state)
{
	struct world *world = *state;

	assert_int_equal(world_open_as(world, false, 40000), 0);
	world_append_batches(world, 3, 5);
	assert_false(gw_journal_file_due(world->file));
	world_append_batches(world, 10, 5);
	assert_true(gw_journal_file_due(world->file));
	world_snapshot(world); /* of 65 */
	assert_false(gw_journal_file_due(world->file));
	assert_true(world_is_there(world, GW_JOURNAL_SNAPSHOT, 65));
	assert_true(world_is_there(world, GW_JOURNAL_SEGMENT, 1)); /* no snapshot before it */
	assert_true(world_is_there(world, GW_JOURNAL_SEGMENT, 66));
	world_append_batches(world, 2, 10);
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	world_append(world, 5); /* while the child writes */
	world_close(world);     /* it is given up, and its file removed */
	world_open_good(world, false);
	assert_int_equal(world->found.snapshot_seq, 65);
	assert_int_equal(world->found.last_seq, 90);
	assert_int_equal(world->tally.ballast_taken, 100000);
	world_snapshot(world);                                      /* of 90 */
	assert_false(world_is_there(world, GW_JOURNAL_SEGMENT, 1)); /* 65 holds it */
	assert_true(world_is_there(world, GW_JOURNAL_SNAPSHOT, 65));
	world_append_batches(world, 1, 10);
	world_snapshot(world); /* of 100 */
	assert_false(world_is_there(world, GW_JOURNAL_SNAPSHOT, 65));
	assert_true(world_is_there(world, GW_JOURNAL_SNAPSHOT, 90));
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), -EALREADY);
	world_close(world);
	world_open_good(world, true);
	assert_int_equal(world->found.snapshot_seq, 100);
	assert_int_equal(world->found.records, 0);
	assert_int_equal(world->found.last_seq, 100);
}

/* A snapshot whose records do not last yet has no name, since that would say that they do. */
static void a_snapshot_waits_for_its_records(void **state)
{
	struct world *world = *state;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;
	siginfo_t info;

	assert_int_equal(sem_init(&disk.sync_gate, 0, 0), 0);
	world_open_good(world, true);
	world_append_batches(world, 2, 5);
	disk.sync_held = getpid();
	world_append(world, 5);
	world_turn(world); /* they are in flight */
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       gw_clock_mono_us() < deadline_us)
		world_turn(world); /* until the child was waited for */
	assert_int_equal(errno, ECHILD);
	world_turn(world);
	assert_int_equal(world->durable, 10);
	assert_false(world_is_there(world, GW_JOURNAL_SNAPSHOT, 15));
	disk.sync_held = 0;
	assert_int_equal(sem_post(&disk.sync_gate), 0);
	while (gw_journal_file_counts(world->file)->snapshots == 0 &&
	       gw_clock_mono_us() < deadline_us)
		world_turn(world);
	assert_int_equal(world->durable, 15);
	assert_true(world_is_there(world, GW_JOURNAL_SNAPSHOT, 15));
	assert_true(world_is_there(world, GW_JOURNAL_SEGMENT, 16));
	(void)sem_destroy(&disk.sync_gate);
}

/* Within a second the last record, too, is declared durable by something behind it. */
static void an_idle_journal_declares(void **state)
{
	struct world *world = *state;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	world_open_good(world, false);
	world_append_batches(world, 2, 5);
	assert_int_equal(gw_journal_file_counts(world->file)->batches, 2);
	while (gw_journal_file_counts(world->file)->batches == 2 &&
	       gw_clock_mono_us() < deadline_us)
		world_turn(world);
	assert_int_equal(gw_journal_file_counts(world->file)->batches, 3);
	world_damage(world, GW_JOURNAL_SEGMENT, 1, 2 * GW_JOURNAL_BLOCK + 90);
	assert_int_equal(
		gw_journal_file_read(world->folder, NULL, NULL, &world->found, &world->fault),
		-EUCLEAN);
	assert_non_null(strstr(world->fault.text, "all up to 10 was durable"));
}

static void a_failed_snapshot_is_tried_again_later(void **state)
{
	struct world *world = *state;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	assert_int_equal(world_open_as(world, true, 4096), 0);
	world_append_batches(world, 5, 5);
	assert_true(gw_journal_file_due(world->file));
	world->tally.snapshot_error = -ENOSPC;
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	while (gw_journal_file_counts(world->file)->snapshots_failed == 0 &&
	       gw_clock_mono_us() < deadline_us)
		world_turn(world);
	world_append_batches(world, 5, 5);
	assert_false(gw_journal_file_due(world->file)); /* not at once */
	assert_int_equal(world->failed, 0);
	world->tally.snapshot_error = 0;
	world_snapshot(world);
	world_close(world);
	world_open_good(world, true);
	assert_int_equal(world->found.snapshot_seq, 50);
}

/* No process to be had: tried again later, and not from turn to turn. */
static void a_snapshot_that_is_not_begun_is_tried_again_later(void **state)
{
	struct world *world = *state;

	assert_int_equal(world_open_as(world, true, 4096), 0);
	world_append_batches(world, 5, 5);
	disk.fork_fails = true;
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), -EAGAIN);
	disk.fork_fails = false;
	assert_false(gw_journal_file_due(world->file));
	assert_int_equal(gw_journal_file_counts(world->file)->snapshots_failed, 1);
	world_snapshot(world);
}

/* A snapshot is due after as many bytes as the last one has, also after a restart. */
static void a_large_snapshot_is_not_due_at_once(void **state)
{
	struct world *world = *state;

	assert_int_equal(world_open_as(world, false, 4096), 0);
	world_append_batches(world, 2, 5);
	world_snapshot(world); /* larger than 100,000 bytes */
	world_append_batches(world, 3, 5);
	assert_false(gw_journal_file_due(world->file));
	world_close(world);
	assert_int_equal(world_open_as(world, false, 4096), 0);
	assert_false(gw_journal_file_due(world->file));
	world_append_batches(world, 25, 5);
	assert_true(gw_journal_file_due(world->file));
}

static void copy_one(const char *path, void *context)
{
	struct world *world = context;
	struct gw_journal_bytes file;
	char to[160];

	assert_int_equal(gw_journal_bytes_read(path, false, &file), 0);
	(void)snprintf(to, sizeof(to), "%s/%s", world->folder, strrchr(path, '/') + 1);
	assert_int_equal(gw_file_write(to, 0600, false, file.bytes, file.size, &world->fault), 0);
	gw_journal_bytes_deinit(&file);
}

/* A journal that a program of format version 1 left (journal_writer fixture), opened by this one:
 * whatever the version written today, this one stays readable. */
static void version_1_is_read(void **state)
{
	struct world *world = *state;
	const char *golden = getenv("GODWIT_GOLDEN");
	char folder[512];

	assert_non_null(golden);
	(void)snprintf(folder, sizeof(folder), "%s/journal/v1", golden);
	assert_int_equal(mkdir(world->folder, 0700), 0);
	world_each_file(folder, copy_one, world);
	world_open_good(world, false);
	assert_int_equal(world->found.version, 1);
	assert_int_equal(world->found.snapshot_seq, 60);
	assert_int_equal(world->found.records, 10);
	assert_int_equal(world->found.last_seq, 70);
	assert_int_equal(world->tally.ballast_taken, 12000);
	world_append_batches(world, 2, 5);
	world_snapshot(world);
	world_close(world);
	world_damage(world, GW_JOURNAL_SNAPSHOT, 80, 5000); /* back to what that program wrote */
	world_open_good(world, false);
	assert_int_equal(world->found.snapshot_seq, 60);
	assert_int_equal(world->found.last_seq, 80);
}

/* And this program writes version 1 to the byte, so that one of then reads what it wrote. */
static void version_1_is_written(void **state)
{
	char path[512];
	uint8_t bytes[TALLY_RECORD_BYTES_MAX];
	struct gw_journal_header header = {.kind = GW_JOURNAL_SEGMENT, .seq = 61};
	struct gw_journal_encoder encoder;
	struct gw_journal_bytes file;
	struct gw_buf buf;

	(void)state;
	(void)snprintf(path, sizeof(path), "%s/journal/v1/segment-00000000000000000061",
		       getenv("GODWIT_GOLDEN"));
	assert_int_equal(gw_journal_bytes_read(path, false, &file), 0);
	memcpy(header.id.id.bytes, file.bytes + 16, GW_ID_BYTES); /* drawn at random */
	gw_buf_init(&buf, GW_JOURNAL_BUF_BYTES_MAX);
	assert_int_equal(gw_journal_header_encode(&header, &buf), 0);
	gw_journal_encoder_init(&encoder, &header, GW_JOURNAL_BLOCK, 61);
	/* With the new segment's name, and with the snapshot's. */
	assert_int_equal(gw_journal_encode_seal(&encoder, &buf, 60), 0);
	assert_int_equal(gw_journal_encode_seal(&encoder, &buf, 60), 0);
	for (uint64_t first = 61; first < 71; first += 5) {
		for (uint64_t seq = first; seq < first + 5; seq++)
			assert_int_equal(gw_journal_encode_record(&encoder, &buf, bytes,
								  tally_record(seq, bytes)),
					 0);
		assert_int_equal(gw_journal_encode_seal(&encoder, &buf, first - 1), 0);
	}
	assert_int_equal(gw_journal_encode_seal(&encoder, &buf, 70), 0); /* the close */
	assert_int_equal(buf.size, file.size);
	assert_memory_equal(buf.bytes, file.bytes, buf.size);
	gw_buf_deinit(&buf);
	gw_journal_bytes_deinit(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(records_last_through_io_uring, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(records_last_through_calls, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(snapshots_supersede, world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(a_snapshot_waits_for_its_records, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(an_idle_journal_declares, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(a_failed_snapshot_is_tried_again_later,
						world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(a_snapshot_that_is_not_begun_is_tried_again_later,
						world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(a_large_snapshot_is_not_due_at_once, world_set_up,
						world_tear_down),
		cmocka_unit_test_setup_teardown(version_1_is_read, world_set_up, world_tear_down),
		cmocka_unit_test_setup_teardown(version_1_is_written, world_set_up,
						world_tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
