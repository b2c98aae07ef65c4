/*
 * One snapshot in a child process: it counts only when the child ended well, whatever became of
 * SIGCHLD; it holds nothing of its parent's open; and the file that goes to etcd is seen to be whole,
 * to the last chunk, or not to be.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "test_journal_fixture.h"
#include "transport/clock.h"
#include "transport/journal_frames.h"
#include "transport/journal_pieces.h"
#include "transport/reactor.h"
#include "transport/replica.h"

#define DEADLINE_US (20 * GW_US_PER_S)
#define BALLAST_BYTES 1000000u /* four chunks */
#define SEQ 7u

struct world {
	struct gw_reactor *reactor;
	char directory[64];
	char kept[80]; /* a second name of the file */
	struct tally tally;
	struct gw_journal_snapshot *snapshot;
	int ends;
	int error;
};

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	const char *temporary = getenv("TMPDIR");

	if (!world || gw_reactor_new(&world->reactor) < 0)
		return -1;
	(void)snprintf(world->directory, sizeof(world->directory), "%s/snapshot-XXXXXX",
		       temporary && strlen(temporary) < 32 ? temporary : "/tmp");
	if (!mkdtemp(world->directory))
		return -1;
	(void)snprintf(world->kept, sizeof(world->kept), "%s/kept", world->directory);
	tally_init(&world->tally, BALLAST_BYTES);
	world->tally.seq = SEQ;
	*state = world;
	return 0;
}

static int tear_down(void **state)
{
	struct world *world = *state;
	int error;

	gw_journal_snapshot_free(world->snapshot);
	(void)unlink(world->kept);
	error = rmdir(world->directory); /* no other file was left in it */
	gw_reactor_free(world->reactor);
	free(world);
	(void)signal(SIGCHLD, SIG_DFL);
	return error;
}

static void done(void *context, int error)
{
	struct world *world = context;

	world->error = error;
	world->ends++;
}

/* Makes one in this form; how it ended. */
static int make(struct world *world, const struct gw_journal_snapshot_form *form)
{
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	world->ends = 0;
	assert_int_equal(gw_journal_snapshot_new(world->reactor, world->directory, SEQ, form,
						 &world->tally.node, done, world, &world->snapshot),
			 0);
	while (world->ends == 0 && gw_clock_mono_us() < deadline_us)
		assert_int_equal(gw_reactor_turn(world->reactor, gw_clock_mono_us() + GW_US_PER_S),
				 0);
	assert_int_equal(world->ends, 1);
	assert_int_equal(gw_journal_snapshot_whole(world->snapshot), world->error == 0);
	return world->error;
}

static void drop(struct world *world)
{
	world->snapshot = gw_journal_snapshot_free(world->snapshot);
}

static void ends_are_known(struct world *world)
{
	const struct gw_journal_header header = {.kind = GW_JOURNAL_SNAPSHOT, .seq = SEQ};
	const struct gw_journal_snapshot_form forms[] = {gw_journal_pieces_form(&header),
							 gw_journal_frames_form};

	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(make(world, &forms[i]), 0);
		assert_true(gw_journal_snapshot_size(world->snapshot) > BALLAST_BYTES);
		drop(world);
		world->tally.snapshot_error = -ENOSPC; /* after all pieces */
		assert_int_equal(make(world, &forms[i]), -ENOSPC);
		world->tally.snapshot_error = 0;
		drop(world);
	}
}

static void an_end_is_known(void **state)
{
	ends_are_known(*state);
}

/* Then the kernel reaps children by itself, and tells nobody how they ended. */
static void an_end_is_known_though_sigchld_was_ignored(void **state)
{
	(void)signal(SIGCHLD, SIG_IGN);
	ends_are_known(*state);
}

static int write_and_die(const void *context, int fd, const struct gw_node *node)
{
	(void)context;
	(void)gw_journal_frames_form.write(NULL, fd, node);
	return -raise(SIGKILL);
}

static int find_damage(const void *context, const char *path)
{
	const off_t *at = context;
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || pwrite(fd, "x", 1, *at) != 1 || close(fd) < 0)
		return -EINVAL;
	return gw_journal_frames_form.check(NULL, path);
}

static void a_bad_end_is_no_snapshot(void **state)
{
	struct world *world = *state;
	static const off_t places[] = {0, 300000, BALLAST_BYTES, BALLAST_BYTES + 4000};
	struct gw_journal_snapshot_form form = gw_journal_frames_form;

	form.write = write_and_die;
	assert_int_equal(make(world, &form), -EOWNERDEAD);
	drop(world);
	form = (struct gw_journal_snapshot_form){.write = gw_journal_frames_form.write,
						 .check = find_damage};
	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		form.context = &places[i];
		assert_int_equal(make(world, &form), -EUCLEAN);
		drop(world);
	}
}

static int find_open(const void *context, int fd, const struct gw_node *node)
{
	const int *ends = context;

	(void)fd;
	(void)node;
	return fcntl(ends[0], F_GETFD) < 0 && fcntl(ends[1], F_GETFD) < 0 ? 0 : -EBUSY;
}

static int find_nothing(const void *context, const char *path)
{
	(void)context;
	(void)path;
	return 0;
}

static void a_child_holds_nothing_open(void **state)
{
	struct world *world = *state;
	int ends[2];
	const struct gw_journal_snapshot_form form = {
		.write = find_open, .check = find_nothing, .context = ends};

	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	ends[1] = fcntl(ends[1], F_DUPFD, 900); /* however many there are */
	assert_true(ends[1] >= 900);
	/* The file takes the lowest number, which must not pass for an inherited one. */
	ends[0] = fcntl(ends[0], F_DUPFD, 800);
	assert_true(ends[0] >= 800);
	assert_int_equal(make(world, &form), 0);
	assert_int_equal(close(ends[0]) | close(ends[1]), 0);
}

static size_t chunk_of(const struct gw_journal_frames *frames)
{
	uint64_t left = frames->size - frames->read;

	return left < GW_REPLICA_CHUNK_BYTES ? (size_t)left : GW_REPLICA_CHUNK_BYTES;
}

/* Reads all of it and gives the pieces to a core. 0, or the error of the last chunk. */
static int read_frames(const struct world *world, struct tally *tally)
{
	struct gw_journal_frames frames;
	struct gw_store_bytes left;
	struct gw_store_bytes piece;
	size_t stated;
	uint8_t *bytes;
	int error = gw_journal_frames_open(world->kept, &frames);

	if (error < 0)
		return error;
	bytes = malloc(frames.size);
	assert_non_null(bytes);
	while (error == 0 && frames.read < frames.size)
		error = gw_journal_frames_read(&frames, bytes + frames.read, chunk_of(&frames));
	assert_int_equal(frames.read, frames.size); /* the last chunk tells */
	left = (struct gw_store_bytes){.bytes = bytes, .size = frames.size};
	while (error == 0 && left.size > 0) {
		assert_true(gw_layout_read_frame(left, 1u << 20, &piece, &stated));
		assert_int_equal(gw_node_restore(&tally->node, piece.bytes, piece.size), 0);
		left.bytes += GW_LAYOUT_FRAME_BYTES + piece.size;
		left.size -= GW_LAYOUT_FRAME_BYTES + piece.size;
	}
	free(bytes);
	gw_journal_frames_close(&frames);
	return error;
}

static void frames_are_whole_or_not(void **state)
{
	struct world *world = *state;
	struct tally tally;
	struct stat status;
	uint8_t byte;
	int fd;

	assert_int_equal(make(world, &gw_journal_frames_form), 0);
	assert_int_equal(link(gw_journal_snapshot_path(world->snapshot), world->kept), 0);
	drop(world);
	tally_init(&tally, 0);
	assert_int_equal(read_frames(world, &tally), 0);
	assert_int_equal(tally.seq, SEQ);
	assert_int_equal(tally.ballast_taken, BALLAST_BYTES);
	fd = open(world->kept, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, 400000), 1);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 400000), 1);
	assert_int_equal(read_frames(world, &tally), -EUCLEAN);
	byte ^= 1;
	assert_int_equal(pwrite(fd, &byte, 1, 400000), 1);
	tally_init(&tally, 0);
	assert_int_equal(read_frames(world, &tally), 0);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(ftruncate(fd, status.st_size - 1), 0);
	assert_int_equal(read_frames(world, &tally), -EUCLEAN);
	assert_int_equal(ftruncate(fd, 10), 0);
	assert_int_equal(read_frames(world, &tally), -EUCLEAN);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_end_is_known, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_end_is_known_though_sigchld_was_ignored, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_bad_end_is_no_snapshot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_child_holds_nothing_open, set_up, tear_down),
		cmocka_unit_test_setup_teardown(frames_are_whole_or_not, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
