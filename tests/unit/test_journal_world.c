/* A journal on a disk that obeys; see the header. */
#include "test_journal_world.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/clock.h"

struct disk disk = {.room = INT64_MAX};

pid_t fork(void)
{
	pid_t (*real)(void);

	if (disk.fork_fails) {
		errno = EAGAIN;
		return -1;
	}
	*(void **)&real = dlsym(RTLD_NEXT, "fork");
	return real();
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
	if (disk.write_error != 0 && size > 512) { /* some of it goes through, as on a real disk */
		errno = disk.write_error;
		return -1;
	}
	if (offset + (off_t)size > disk.room) { /* what fits goes through */
		if (offset >= disk.room) {
			errno = ENOSPC;
			return -1;
		}
		size = (size_t)(disk.room - offset);
	}
	return syscall(SYS_pwrite64, fd, bytes, disk.write_error != 0 ? size / 2 : size, offset);
}

int fdatasync(int fd)
{
	if (disk.sync_error != 0) {
		errno = disk.sync_error;
		return -1;
	}
	if (disk.sync_held == getpid())
		(void)sem_wait(&disk.sync_gate);
	return (int)syscall(SYS_fdatasync, fd);
}

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

int world_set_up(void **state)
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

void world_each_file(const char *folder, void (*call)(const char *path, void *context),
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

int world_tear_down(void **state)
{
	struct world *world = *state;

	disk.write_error = 0;
	disk.sync_error = 0;
	disk.room = INT64_MAX;
	gw_journal_file_close(world->file);
	world_each_file(world->folder, unlink_one, NULL);
	(void)rmdir(world->folder);
	(void)rmdir(world->directory);
	gw_reactor_free(world->reactor);
	free(world);
	return 0;
}

int world_open_as(struct world *world, bool plain, uint64_t snapshot_bytes)
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

void world_open_good(struct world *world, bool plain)
{
	if (world_open_as(world, plain, 0) != 0)
		fail_msg("%s", world->fault.text);
}

void world_close(struct world *world)
{
	world->file = gw_journal_file_close(world->file);
}

int world_append_one(struct world *world)
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

void world_append(struct world *world, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(world_append_one(world), 0);
}

void world_turn(struct world *world)
{
	assert_int_equal(gw_reactor_turn(world->reactor, gw_clock_mono_us() + GW_US_PER_S), 0);
}

void world_settle(struct world *world)
{
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	while (world->durable < world->appended && gw_clock_mono_us() < deadline_us)
		world_turn(world);
	assert_int_equal(world->durable, world->appended);
}

/* In so many batches. */
void world_append_batches(struct world *world, uint32_t batches, uint32_t records)
{
	for (uint32_t i = 0; i < batches; i++) {
		world_append(world, records);
		world_settle(world);
	}
}

void world_snapshot(struct world *world)
{
	uint64_t before = gw_journal_file_counts(world->file)->snapshots;
	uint64_t deadline_us = gw_clock_mono_us() + DEADLINE_US;

	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), 0);
	assert_int_equal(gw_journal_file_snapshot(world->file, &world->tally.node), -EALREADY);
	while (gw_journal_file_counts(world->file)->snapshots == before &&
	       gw_clock_mono_us() < deadline_us)
		world_turn(world);
	assert_int_equal(gw_journal_file_counts(world->file)->snapshots, before + 1);
}

void world_path_of(const struct world *world, enum gw_journal_kind kind, uint64_t seq,
		   char ret_path[160])
{
	char name[GW_JOURNAL_NAME_BYTES];

	gw_journal_name(kind, seq, name);
	(void)snprintf(ret_path, 160, "%s/%s", world->folder, name);
}

bool world_is_there(const struct world *world, enum gw_journal_kind kind, uint64_t seq)
{
	char path[160];

	world_path_of(world, kind, seq, path);
	return access(path, F_OK) == 0;
}

/* Flips a bit of the byte at `at`; twice is never. */
void world_damage(const struct world *world, enum gw_journal_kind kind, uint64_t seq, off_t at)
{
	char path[160];
	uint8_t byte;
	int fd;

	world_path_of(world, kind, seq, path);
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
void world_refused(struct world *world, int error, const char *text)
{
	struct gw_journal_found found;
	uint64_t before = 0;
	uint64_t after = 0;

	world_each_file(world->folder, hash_one, &before);
	assert_int_equal(world_open_as(world, false, 0), error);
	if (!strstr(world->fault.text, text))
		fail_msg("\"%s\" is not in \"%s\"", text, world->fault.text);
	world->fault.text[0] = '\0';
	assert_int_equal(gw_journal_file_read(world->folder, NULL, NULL, &found, &world->fault),
			 error);
	assert_non_null(strstr(world->fault.text, text));
	world_each_file(world->folder, hash_one, &after);
	assert_int_equal(before, after);
	world->file = NULL;
}

void world_mark_path(const struct world *world, char ret_path[160])
{
	(void)snprintf(ret_path, 160, "%s/" GW_JOURNAL_MARK_NAME, world->folder);
}

void world_mark_remove(const struct world *world)
{
	char path[160];

	world_mark_path(world, path);
	assert_int_equal(unlink(path), 0);
}

uint64_t world_mark_of(struct world *world)
{
	struct gw_journal_mark mark;

	assert_int_equal(gw_journal_mark_read(world->folder, false, &mark, &world->fault), 0);
	return mark.seq;
}
