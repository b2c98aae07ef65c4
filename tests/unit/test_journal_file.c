/*
 * The journal of a folder, on a real disk: what was called durable is read back, snapshots supersede
 * segments, a folder that lost or mixed up files is refused with a sentence and left as it is, and a
 * disk that is full, slow or broken is met as the header says. Writes and syncs of the plain path, and
 * fork, are intercepted here, so that they fail when a test wants it.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

#include "proto/base/check.h"
#include "test_journal_fixture.h"
#include "transport/clock.h"
#include "transport/file.h"
#include "transport/journal_file.h"
#include "transport/journal_folder.h"
#include "transport/reactor.h"

#define DEADLINE_US (20 * GW_US_PER_S)

static atomic_llong room = INT64_MAX; /* no file may grow beyond it */
static bool fork_fails;
static atomic_int write_error; /* of each pwrite, positive; 0: as it comes */
static atomic_int sync_error;
static sem_t sync_gate; /* syncs of this process wait for it while they are held */
static pid_t sync_held;

pid_t fork(void)
{
	pid_t (*real)(void);

	if (fork_fails) {
		errno = EAGAIN;
		return -1;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "fork");
	return real();
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	if (write_error != 0 && size > 512) { /* some of it goes through, as on a real disk */
		errno = write_error;
		return -1;
	}
	if (offset + (off_t)size > room) { /* what fits goes through */
		if (offset >= room) {
			errno = ENOSPC;
			return -1;
		}
		size = (size_t)(room - offset);
	}
	return syscall(SYS_pwrite64, fd, bytes, write_error != 0 ? size / 2 : size, offset);
}

int fdatasync(int fd)
{
	if (sync_error != 0) {
		errno = sync_error;
		return -1;
	}
	if (sync_held == getpid())
		(void)sem_wait(&sync_gate);
	return (int)syscall(SYS_fdatasync, fd);
}

struct world {
	struct gw_reactor *reactor;
	char directory[64]; /* removed afterwards, with what is in it */
	char folder[80];    /* the journal */
	struct tally tally;
	struct gw_journal_file *file;
	struct gw_journal *journal;
	struct gw_journal_found found;
	struct gw_fault fault;
	uint64_t appended;
	uint64_t durable;
	int failed;
	char failed_text[2000];
};

static void durable(void *context, uint64_t seq)
{
	struct world *world = context;

	assert_true(seq > world->durable);
	assert_true(seq <= world->appended);
	world->durable = seq;
}

static void failed(void *context, int error, const char *text)
{
	struct world *world = context;

	world->failed = error;
	(void)snprintf(world->failed_text, sizeof(world->failed_text), "%s", text);
}

static int set_up(void **state)
{
	struct world *world = calloc(1, sizeof(*world));
	const char *temporary = getenv("TMPDIR");

	if (!world || gw_reactor_new(&world->reactor) < 0)
		return -1;
	(void)snprintf(world->directory, sizeof(world->directory), "%s/journal-XXXXXX",
		       temporary && strlen(temporary) < 32 ? temporary : "/tmp");
	if (!mkdtemp(world->directory))
		return -1;
	(void)snprintf(world->folder, sizeof(world->folder), "%s/j", world->directory);
	*state = world;
	return 0;
}

static void each_file(const char *folder, void (*call)(const char *path, void *context),
		      void *context)
{
	struct dirent **names;
	int count = scandir(folder, &names, NULL, alphasort);
	char path[512];

	for (int i = 0; i < count; i++) {
		(void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			call(path, context);
		free(names[i]);
	}
	if (count >= 0)
		free(names);
}

static void unlink_one(const char *path, void *context)
{
	(void)context;
	(void)unlink(path);
}

static int tear_down(void **state)
{
	struct world *world = *state;

	write_error = 0;
	sync_error = 0;
	room = INT64_MAX;
	gw_journal_file_close(world->file);
	each_file(world->folder, unlink_one, NULL);
	(void)rmdir(world->folder);
	(void)rmdir(world->directory);
	gw_reactor_free(world->reactor);
	free(world);
	return 0;
}

static int open_as(struct world *world, bool plain, uint64_t snapshot_bytes)
{
	const struct gw_journal_file_options options = {.reactor = world->reactor,
							.directory = world->folder,
							.snapshot_bytes = snapshot_bytes,
							.plain = plain,
							.durable = durable,
							.failed = failed,
							.context = world};
	int error;

	tally_init(&world->tally, 100000);
	error = gw_journal_file_open(&options, &world->tally.node, &world->file, &world->found,
				     &world->fault);
	if (error == 0) {
		world->journal = gw_journal_file_journal(world->file);
		world->appended = world->found.last_seq;
		world->durable = world->found.last_seq;
		assert_int_equal(world->tally.seq, world->found.last_seq);
		assert_int_equal(world->tally.digest, tally_digest_of(world->found.last_seq));
	}
	return error;
}

static void open_good(struct world *world, bool plain)
{
	if (open_as(world, plain, 0) != 0)
		fail_msg("%s", world->fault.text);
}

static void close_file(struct world *world)
{
	world->file = gw_journal_file_close(world->file);
}

static int append_one(struct world *world)
{
	uint8_t bytes[TALLY_RECORD_BYTES_MAX];
	size_t size = tally_record(world->appended + 1, bytes);
	int error = world->journal->append(world->journal, world->appended + 1, bytes, size);

	if (error == 0) {
		world->appended++;
		assert_int_equal(gw_node_apply(&world->tally.node, world->appended, bytes, size),
				 0);
	}
	return error;
}

static void append(struct world *world, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(append_one(world), 0);
}

static void turn(struct world *world)
{
	assert_int_equal(gw_reactor_turn(world->reactor, gw_clock_mono_us() + GW_US_PER_S), 0);
}

static void settle(struct world *world)
{
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	while (world->durable < world->appended && gw_clock_mono_us() < deadline_us)
		turn(world);
	assert_int_equal(world->durable, world->appended);
}

/* In so many batches. */
static void append_batches(struct world *world, uint32_t batches, uint32_t records)
{
	for (uint32_t i = 0; i < batches; i++) {
		append(world, records);
		settle(world);
	}
}

static void snapshot(struct world *world)
{
	uint64_t before = gw_journal_file_counts(world->file)->snapshots;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), -EALREADY);
	while (gw_journal_file_counts(world->file)->snapshots == before &&
	       gw_clock_mono_us() < deadline_us)
		turn(world);
	assert_int_equal(gw_journal_file_counts(world->file)->snapshots, before + 1);
}

static void path_of(const struct world *world, enum gw_journal_kind kind, uint64_t seq,
		    char ret_path[160])
{
	char name[GW_JOURNAL_NAME_BYTES];

	gw_journal_name(kind, seq, name);
	(void)snprintf(ret_path, 160, "%s/%s", world->folder, name);
}

static bool is_there(const struct world *world, enum gw_journal_kind kind, uint64_t seq)
{
	char path[160];

	path_of(world, kind, seq, path);
	return access(path, F_OK) == 0;
}

/* Flips a bit of the byte at `at`; twice is never. */
static void damage(const struct world *world, enum gw_journal_kind kind, uint64_t seq, off_t at)
{
	char path[160];
	uint8_t byte;
	int fd;

	path_of(world, kind, seq, path);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, at), 1);
	byte ^= 0x40;
	assert_int_equal(syscall(SYS_pwrite64, fd, &byte, 1, at), 1);
	assert_int_equal(close(fd), 0);
}

static void hash_one(const char *path, void *context)
{
	uint64_t *hash = context;
	struct gw_journal_bytes file;

	assert_int_equal(gw_journal_bytes_read(path, false, &file), 0);
	for (size_t i = 0; i < file.size; i++)
		*hash = (*hash ^ file.bytes[i]) * 0x100000001b3u;
	*hash += strlen(path);
	gw_journal_bytes_deinit(&file);
}

/* Opening is refused with this error and text, and changes nothing. */
static void refused(struct world *world, int error, const char *text)
{
	struct gw_journal_found found;
	uint64_t before = 0;
	uint64_t after = 0;

	each_file(world->folder, hash_one, &before);
	assert_int_equal(open_as(world, false, 0), error);
	if (!strstr(world->fault.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, world->fault.text);
	world->fault.text[0] = '\0';
	assert_int_equal(gw_journal_file_read(world->folder, NULL, NULL, &found, &world->fault),
			 error);
	assert_non_null(strstr(world->fault.text, text));
	each_file(world->folder, hash_one, &after);
	assert_int_equal(before, after);
	world->file = NULL;
}

static void records_last(struct world *world, bool plain)
{
	open_good(world, plain);
	assert_int_equal(world->found.last_seq, 0);
	assert_true(world->found.plain || !plain);
	append(world, 1000); /* one turn, one batch */
	assert_int_equal(world->durable, 0);
	settle(world);
	assert_int_equal(gw_journal_file_counts(world->file)->batches, 1);
	append_batches(world, 20, 3);
	close_file(world);
	open_good(world, plain);
	assert_int_equal(world->found.last_seq, 1060);
	assert_int_equal(world->found.records, 1060);
	assert_int_equal(world->found.cut_bytes, 0);
	assert_int_equal(world->found.version, GW_JOURNAL_VERSION);
	append(world, 7); /* closing writes them */
	close_file(world);
	open_good(world, !plain);
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

	assert_int_equal(open_as(world, false, 40000), 0);
	append_batches(world, 3, 5);
	assert_false(gw_journal_file_due(world->file));
	append_batches(world, 10, 5);
	assert_true(gw_journal_file_due(world->file));
	snapshot(world); /* of 65 */
	assert_false(gw_journal_file_due(world->file));
	assert_true(is_there(world, GW_JOURNAL_SNAPSHOT, 65));
	assert_true(is_there(world, GW_JOURNAL_SEGMENT, 1)); /* no snapshot before it */
	assert_true(is_there(world, GW_JOURNAL_SEGMENT, 66));
	append_batches(world, 2, 10);
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	append(world, 5);  /* while the child writes */
	close_file(world); /* it is given up, and its file removed */
	open_good(world, false);
	assert_int_equal(world->found.snapshot_seq, 65);
	assert_int_equal(world->found.last_seq, 90);
	assert_int_equal(world->tally.ballast_taken, 100000);
	snapshot(world);                                      /* of 90 */
	assert_false(is_there(world, GW_JOURNAL_SEGMENT, 1)); /* 65 holds it */
	assert_true(is_there(world, GW_JOURNAL_SNAPSHOT, 65));
	append_batches(world, 1, 10);
	snapshot(world); /* of 100 */
	assert_false(is_there(world, GW_JOURNAL_SNAPSHOT, 65));
	assert_true(is_there(world, GW_JOURNAL_SNAPSHOT, 90));
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), -EALREADY);
	close_file(world);
	open_good(world, true);
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

	assert_int_equal(sem_init(&sync_gate, 0, 0), 0);
	open_good(world, true);
	append_batches(world, 2, 5);
	sync_held = getpid();
	append(world, 5);
	turn(world); /* they are in flight */
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	while (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       gw_clock_mono_us() < deadline_us)
		turn(world); /* until the child was waited for */
	assert_int_equal(errno, ECHILD);
	turn(world);
	assert_int_equal(world->durable, 10);
	assert_false(is_there(world, GW_JOURNAL_SNAPSHOT, 15));
	sync_held = 0;
	assert_int_equal(sem_post(&sync_gate), 0);
	while (gw_journal_file_counts(world->file)->snapshots == 0 &&
	       gw_clock_mono_us() < deadline_us)
		turn(world);
	assert_int_equal(world->durable, 15);
	assert_true(is_there(world, GW_JOURNAL_SNAPSHOT, 15));
	assert_true(is_there(world, GW_JOURNAL_SEGMENT, 16));
	(void)sem_destroy(&sync_gate);
}

/* Within a second the last record, too, is declared durable by something behind it. */
static void an_idle_journal_declares(void **state)
{
	struct world *world = *state;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	open_good(world, false);
	append_batches(world, 2, 5);
	assert_int_equal(gw_journal_file_counts(world->file)->batches, 2);
	while (gw_journal_file_counts(world->file)->batches == 2 &&
	       gw_clock_mono_us() < deadline_us)
		turn(world);
	assert_int_equal(gw_journal_file_counts(world->file)->batches, 3);
	damage(world, GW_JOURNAL_SEGMENT, 1, 2 * GW_JOURNAL_BLOCK + 90);
	assert_int_equal(
		gw_journal_file_read(world->folder, NULL, NULL, &world->found, &world->fault),
		-EUCLEAN);
	assert_non_null(strstr(world->fault.text, "all up to 10 was durable"));
}

static void a_failed_snapshot_is_tried_again_later(void **state)
{
	struct world *world = *state;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	assert_int_equal(open_as(world, true, 4096), 0);
	append_batches(world, 5, 5);
	assert_true(gw_journal_file_due(world->file));
	world->tally.snapshot_error = -ENOSPC;
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	while (gw_journal_file_counts(world->file)->snapshots_failed == 0 &&
	       gw_clock_mono_us() < deadline_us)
		turn(world);
	append_batches(world, 5, 5);
	assert_false(gw_journal_file_due(world->file)); /* not at once */
	assert_int_equal(world->failed, 0);
	world->tally.snapshot_error = 0;
	snapshot(world);
	close_file(world);
	open_good(world, true);
	assert_int_equal(world->found.snapshot_seq, 50);
}

/* No process to be had: tried again later, and not from turn to turn. */
static void a_snapshot_that_is_not_begun_is_tried_again_later(void **state)
{
	struct world *world = *state;

	assert_int_equal(open_as(world, true, 4096), 0);
	append_batches(world, 5, 5);
	fork_fails = true;
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), -EAGAIN);
	fork_fails = false;
	assert_false(gw_journal_file_due(world->file));
	assert_int_equal(gw_journal_file_counts(world->file)->snapshots_failed, 1);
	snapshot(world);
}

/* A snapshot is due after as many bytes as the last one has, also after a restart. */
static void a_large_snapshot_is_not_due_at_once(void **state)
{
	struct world *world = *state;

	assert_int_equal(open_as(world, false, 4096), 0);
	append_batches(world, 2, 5);
	snapshot(world); /* larger than 100,000 bytes */
	append_batches(world, 3, 5);
	assert_false(gw_journal_file_due(world->file));
	close_file(world);
	assert_int_equal(open_as(world, false, 4096), 0);
	assert_false(gw_journal_file_due(world->file));
	append_batches(world, 25, 5);
	assert_true(gw_journal_file_due(world->file));
}

static void mark_path(const struct world *world, char ret_path[160])
{
	(void)snprintf(ret_path, 160, "%s/" GW_JOURNAL_MARK_NAME, world->folder);
}

static void mark_remove(const struct world *world)
{
	char path[160];

	mark_path(world, path);
	assert_int_equal(unlink(path), 0);
}

static uint64_t mark_of(struct world *world)
{
	struct gw_journal_mark mark;

	assert_int_equal(gw_journal_mark_read(world->folder, false, &mark, &world->fault), 0);
	return mark.seq;
}

/* One that is never idle marks what lasts all the same; garbage over it is then no torn tail. */
static void a_busy_journal_marks(void **state)
{
	struct world *world = *state;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;
	uint64_t first;
	char path[160];

	open_good(world, false);
	append_batches(world, 2, 3);
	assert_int_equal(mark_of(world), 0);
	while ((first = mark_of(world)) == 0 && gw_clock_mono_us() < deadline_us)
		append_batches(world, 1, 3);
	while (mark_of(world) == first && gw_clock_mono_us() < deadline_us)
		append_batches(world, 1, 3);
	first = mark_of(world);
	assert_true(first > 6);
	assert_true(first <= world->durable);
	assert_true(gw_journal_file_counts(world->file)->batches == world->durable / 3);
	path_of(world, GW_JOURNAL_SEGMENT, 1, path);
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

	open_good(world, false);
	append_batches(world, 2, 3);
	close_file(world);
	assert_int_equal(mark_of(world), 6);
	open_good(world, false);
	append_batches(world, 2, 3);
	close_file(world);
	assert_int_equal(mark_of(world), 12);
	mark_path(world, path);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(syscall(SYS_pwrite64, fd, "torn", 4, GW_JOURNAL_BLOCK + 32), 4);
	assert_int_equal(mark_of(world), 6);
	open_good(world, false);
	close_file(world);
	assert_int_equal(mark_of(world), 12);
	for (off_t slot = 0; slot < 2; slot++)
		assert_int_equal(syscall(SYS_pwrite64, fd, "torn", 4, slot * GW_JOURNAL_BLOCK), 4);
	refused(world, -EUCLEAN, "durable, which tells how far the records go, is damaged");
	assert_int_equal(ftruncate(fd, 0), 0); /* begun, and not written when the power went */
	open_good(world, false);
	last = world->found.last_seq;
	assert_int_equal(last, 12);
	close_file(world);
	assert_int_equal(close(fd), 0);
	path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(unlink(path), 0); /* and nothing else was there */
	refused(world, -EUCLEAN, "the records end with 0, and all up to 12 was durable");
}

/* The only segment, without a mark and with a header that cannot be read: no crash leaves that. */
static void an_unreadable_journal_is_not_a_new_one(void **state)
{
	struct world *world = *state;
	char path[160];

	open_good(world, false);
	append(world, 4); /* one batch, which none declares */
	close_file(world);
	mark_remove(world);
	path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(truncate(path, 2 * GW_JOURNAL_BLOCK), 0);
	damage(world, GW_JOURNAL_SEGMENT, 1, 20);
	refused(world, -EUCLEAN, "the file header does not fit its checksum");
	assert_int_equal(truncate(path, GW_JOURNAL_BLOCK), 0); /* but it may leave this */
	open_good(world, false);
	assert_int_equal(world->found.last_seq, 0);
}

static void a_torn_tail_is_cut(void **state)
{
	struct world *world = *state;
	char path[160];
	struct stat status;

	open_good(world, false);
	append_batches(world, 4, 3);
	close_file(world);
	path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(stat(path, &status), 0);
	/* Header, four batches, and one that declares the last of them. */
	assert_int_equal(status.st_size, 6 * GW_JOURNAL_BLOCK);
	damage(world, GW_JOURNAL_SEGMENT, 1, 5 * GW_JOURNAL_BLOCK);
	open_good(world, false);
	assert_int_equal(world->found.last_seq, 12);  /* nothing that was durable */
	assert_int_equal(world->found.cut_bytes, 65); /* zeros behind them are not counted */
	append_batches(world, 1, 3);
	close_file(world);
	open_good(world, false);
	assert_int_equal(world->found.last_seq, 15);
	assert_int_equal(world->found.cut_bytes, 0);
	close_file(world);
	/* Records that were told to last are no torn tail. */
	assert_int_equal(truncate(path, 4 * GW_JOURNAL_BLOCK + 100), 0);
	refused(world, -EUCLEAN, "all up to 15 was durable, as the file durable there says");
	mark_remove(world); /* as a person may who wants to go on without them */
	open_good(world, false);
	assert_int_equal(world->found.last_seq, 9);
	assert_int_equal(world->found.cut_bytes, 100);
}

static void damage_is_refused(void **state)
{
	struct world *world = *state;
	char from[160];
	char to[160];

	open_good(world, false);
	append_batches(world, 4, 3);
	close_file(world);
	damage(world, GW_JOURNAL_SEGMENT, 1, 4 * GW_JOURNAL_BLOCK + 90); /* the last records */
	refused(world, -EUCLEAN, "segment-00000000000000000001 is damaged at offset 16384");
	damage(world, GW_JOURNAL_SEGMENT, 1, 4 * GW_JOURNAL_BLOCK + 90); /* mended */
	damage(world, GW_JOURNAL_SEGMENT, 1, 17);
	refused(world, -EUCLEAN, "all up to 12 was durable");
	damage(world, GW_JOURNAL_SEGMENT, 1, 17);
	open_good(world, false);
	snapshot(world); /* of 12 */
	append_batches(world, 4, 3);
	snapshot(world); /* of 24; segment 1 goes, 13 stays for snapshot 12 */
	append_batches(world, 4, 3);
	close_file(world);
	path_of(world, GW_JOURNAL_SEGMENT, 13, from);
	path_of(world, GW_JOURNAL_SEGMENT, 14, to);
	assert_int_equal(rename(from, to), 0); /* not needed while snapshot 24 is whole */
	open_good(world, false);
	close_file(world);
	damage(world, GW_JOURNAL_SNAPSHOT, 24, GW_JOURNAL_BLOCK + 100);
	refused(world, -EUCLEAN, "none holds record 13");
	assert_int_equal(rename(to, from), 0);
	open_good(world, false); /* from the older snapshot */
	assert_int_equal(world->found.snapshot_seq, 12);
	assert_int_equal(world->found.damaged_snapshots, 1);
	assert_int_equal(world->found.last_seq, 36);
	close_file(world);
	damage(world, GW_JOURNAL_SNAPSHOT, 12, GW_JOURNAL_BLOCK + 100);
	refused(world, -EUCLEAN, "though the snapshot was finished");
	damage(world, GW_JOURNAL_SNAPSHOT, 12, GW_JOURNAL_BLOCK + 100);
	path_of(world, GW_JOURNAL_SEGMENT, 25, from);
	assert_int_equal(unlink(from), 0); /* the last is gone: its snapshot tells of no more */
	refused(world, -EUCLEAN, "the records end with 24, and all up to 36 was durable");
	mark_remove(world);
	open_good(world, false);
	assert_int_equal(world->found.last_seq, 24);
	close_file(world);
	path_of(world, GW_JOURNAL_SEGMENT, 13, from);
	assert_int_equal(truncate(from, 4 * GW_JOURNAL_BLOCK), 0);
	/* Snapshot 24 is damaged, but its name still says what there was. */
	refused(world, -EUCLEAN, "all up to 24 was durable");
	assert_int_equal(unlink(from), 0);
	refused(world, -EUCLEAN, "none holds record 13");
}

static struct gw_journal_id own_id(const struct world *world)
{
	struct gw_journal_bytes file;
	struct gw_journal_id id;
	char path[160];

	path_of(world, GW_JOURNAL_SEGMENT, 1, path);
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

	open_good(world, false);
	append_batches(world, 4, 3);
	close_file(world);
	gw_buf_init(&block, GW_JOURNAL_BLOCK);
	own.seq = 8; /* a segment from the middle of another: of this journal, and in the way */
	own.id = own_id(world);
	assert_int_equal(gw_journal_header_encode(&own, &block), 0);
	path_of(world, GW_JOURNAL_SEGMENT, 8, path);
	assert_int_equal(gw_file_write(path, 0600, false, block.bytes, block.size, &world->fault),
			 0);
	refused(world, -EUCLEAN, "goes on to 12, and another begins with 8");
	assert_int_equal(unlink(path), 0);
	block.size = 0;
	assert_int_equal(gw_journal_header_encode(&foreign, &block), 0);
	path_of(world, GW_JOURNAL_SEGMENT, 13, path);
	assert_int_equal(gw_file_write(path, 0600, false, block.bytes, block.size, &world->fault),
			 0);
	refused(world, -EUCLEAN, "belongs to another journal");
	/* A later version, whose header keeps its form. */
	block.bytes[8] = GW_JOURNAL_VERSION + 1;
	sum = XXH3_64bits(block.bytes, 56);
	memcpy(block.bytes + 56, &sum, sizeof(sum));
	assert_int_equal(gw_file_write(path, 0600, false, block.bytes, block.size, &world->fault),
			 0);
	refused(world, -EUCLEAN, "a newer one wrote it");
	gw_buf_deinit(&block);
}

static void a_full_disk_is_waited_for(void **state)
{
	struct world *world = *state;
	const char *text;

	open_good(world, true);
	append_batches(world, 2, 3);
	write_error = ENOSPC;
	append(world, 3);
	while (!world->journal->stalled(world->journal, gw_clock_mono_us()))
		turn(world);
	text = world->journal->stalled(world->journal, gw_clock_mono_us());
	assert_non_null(strstr(text, "is full"));
	assert_non_null(strstr(text, world->folder));
	append(world, 2); /* what is under way goes on */
	assert_int_equal(world->durable, 6);
	write_error = 0;
	settle(world); /* within a second */
	assert_null(world->journal->stalled(world->journal, gw_clock_mono_us()));
	assert_int_equal(world->failed, 0);
	close_file(world);
	open_good(world, false);
	assert_int_equal(world->found.last_seq, 11);
}

/* The new segment cannot be begun: records wait for it and do not go to the old one. */
static void a_disk_full_at_a_new_segment(void **state)
{
	struct world *world = *state;

	assert_int_equal(open_as(world, true, 4096), 0);
	append_batches(world, 5, 5);
	write_error = ENOSPC;
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	append(world, 3);
	while (!world->journal->stalled(world->journal, gw_clock_mono_us()))
		turn(world);
	append(world, 2);
	assert_int_equal(world->durable, 25);
	write_error = 0;
	settle(world);
	assert_int_equal(world->failed, 0);
	close_file(world);
	open_good(world, false);
	assert_int_equal(world->found.last_seq, 30);
}

/* The zeros in advance find no room: the records do not wait for them. */
static void a_nearly_full_disk_takes_the_records(void **state)
{
	struct world *world = *state;
	struct stat status;
	char path[160];

	open_good(world, true);
	room = 20 * GW_JOURNAL_BLOCK;
	for (int i = 0; i < 10; i++) {
		append(world, 3);
		while (world->durable < world->appended) {
			turn(world);
			assert_null(world->journal->stalled(world->journal, gw_clock_mono_us()));
		}
	}
	path_of(world, GW_JOURNAL_SEGMENT, 1, path);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_size,
			 11 * GW_JOURNAL_BLOCK); /* and it is not filled with them */
	close_file(world);
	open_good(world, true);
	assert_int_equal(world->found.last_seq, 30);
}

static void broken(struct world *world, atomic_int *which)
{
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	open_good(world, true);
	append_batches(world, 2, 3);
	*which = EIO;
	append(world, 3);
	while (world->failed == 0 && gw_clock_mono_us() < deadline_us)
		turn(world);
	assert_int_equal(world->failed, -EIO);
	assert_non_null(strstr(world->failed_text, "start again"));
	*which = 0; /* a disk that recovers is not believed */
	assert_int_equal(append_one(world), -EIO);
	turn(world);
	assert_int_equal(world->durable, 6);
	assert_non_null(world->journal->stalled(world->journal, gw_clock_mono_us()));
	close_file(world);
	open_good(world, false);
	assert_true(world->found.last_seq >= 6);
	world->failed = 0;
}

static void a_failed_sync_is_the_end(void **state)
{
	broken(*state, &sync_error);
}

static void a_failed_write_is_the_end(void **state)
{
	broken(*state, &write_error);
}

static void a_slow_disk_is_told(void **state)
{
	struct world *world = *state;
	static const uint8_t large[GW_JOURNAL_RECORD_BYTES_MAX];
	uint64_t now_us;
	uint64_t seq = 3;
	int error;

	open_good(world, true);
	append(world, 3);
	now_us = gw_clock_mono_us();
	assert_null(world->journal->stalled(world->journal, now_us));
	assert_non_null(strstr(
		world->journal->stalled(world->journal, now_us + 2 * GW_JOURNAL_SLOW_US), "slow"));
	settle(world);
	assert_null(world->journal->stalled(world->journal, now_us + 2 * GW_JOURNAL_SLOW_US));
	while ((error = world->journal->append(world->journal, seq + 1, large, sizeof(large))) == 0)
		seq++;
	assert_int_equal(error, -ENOBUFS);
	assert_int_equal(seq - 3, GW_JOURNAL_QUEUE_BYTES_MAX / (sizeof(large) + 4));
	assert_non_null(strstr(world->journal->stalled(world->journal, now_us), "MiB"));
	world->appended = seq;
	settle(world);
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
	each_file(folder, copy_one, world);
	open_good(world, false);
	assert_int_equal(world->found.version, 1);
	assert_int_equal(world->found.snapshot_seq, 60);
	assert_int_equal(world->found.records, 10);
	assert_int_equal(world->found.last_seq, 70);
	assert_int_equal(world->tally.ballast_taken, 12000);
	append_batches(world, 2, 5);
	snapshot(world);
	close_file(world);
	damage(world, GW_JOURNAL_SNAPSHOT, 80, 5000); /* back to what that program wrote */
	open_good(world, false);
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
		cmocka_unit_test_setup_teardown(records_last_through_io_uring, set_up, tear_down),
		cmocka_unit_test_setup_teardown(records_last_through_calls, set_up, tear_down),
		cmocka_unit_test_setup_teardown(snapshots_supersede, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failed_snapshot_is_tried_again_later, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_snapshot_waits_for_its_records, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(an_idle_journal_declares, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_snapshot_that_is_not_begun_is_tried_again_later,
						set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_large_snapshot_is_not_due_at_once, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_busy_journal_marks, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_mark_is_damaged, set_up, tear_down),
		cmocka_unit_test_setup_teardown(an_unreadable_journal_is_not_a_new_one, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_nearly_full_disk_takes_the_records, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(a_torn_tail_is_cut, set_up, tear_down),
		cmocka_unit_test_setup_teardown(damage_is_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(foreign_files_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_full_disk_is_waited_for, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_disk_full_at_a_new_segment, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failed_sync_is_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_failed_write_is_the_end, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_slow_disk_is_told, set_up, tear_down),
		cmocka_unit_test_setup_teardown(version_1_is_read, set_up, tear_down),
		cmocka_unit_test_setup_teardown(version_1_is_written, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
