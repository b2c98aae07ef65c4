/* A task's output through the keeper: much of it, late readers, followers, and both ways of I/O. */
#include <fcntl.h>
#include <poll.h>
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

#include "agent/keeper/output.h"
#include "proto/wire.h"
#include "tests/unit/keeper_fixture.h"

/* --- segments, without processes --- */

struct folder {
	char path[64];
	int fd;
};

static int folder_setup(void **state)
{
	static struct folder folder;

	(void)snprintf(folder.path, sizeof(folder.path), "/tmp/godwit-output-XXXXXX");
	if (!mkdtemp(folder.path))
		return -1;
	folder.fd = open(folder.path, O_RDONLY | O_DIRECTORY);
	*state = &folder;
	return folder.fd < 0 ? -1 : 0;
}

static int folder_teardown(void **state)
{
	struct folder *folder = *state;
	char command[128];

	(void)close(folder->fd);
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder->path);
	return system(command) ? -1 : 0;
}

/* Each byte tells its own offset, mod 251. */
static void append(struct gw_output *output, size_t size)
{
	uint64_t at = output->end_offset;

	while (size > 0) {
		uint8_t bytes[7000];
		uint64_t file_offset;
		size_t room;
		size_t part;
		int fd;

		assert_int_equal(gw_output_place(output, &fd, &file_offset, &room), 0);
		part = size < room ? size : room;
		part = part < sizeof(bytes) ? part : sizeof(bytes);
		for (size_t i = 0; i < part; i++)
			bytes[i] = (uint8_t)((at + i) % 251);
		assert_int_equal(pwrite(fd, bytes, part, (off_t)file_offset), part);
		gw_output_wrote(output, part);
		at += part;
		size -= part;
	}
}

static void check_from(const struct gw_output *output, uint64_t offset)
{
	uint64_t at = offset;

	while (at < output->end_offset) {
		uint8_t bytes[5000];
		uint64_t start;
		ssize_t count = gw_output_read(output, at, bytes, sizeof(bytes), &start);

		assert_true(count > 0);
		if (at < output->first_offset)
			at = output->first_offset;
		assert_int_equal(start, at);
		for (ssize_t i = 0; i < count; i++)
			assert_int_equal(bytes[i], (at + (uint64_t)i) % 251);
		at += (uint64_t)count;
	}
}

static void rotates(void **state)
{
	struct folder *folder = *state;
	struct gw_output output;
	struct gw_output again;
	uint64_t total = 0;

	gw_output_init(&output, folder->fd, 1, GW_OUTPUT_BYTES_MIN);
	for (size_t size = 1; total < 10 * GW_OUTPUT_BYTES_MIN; size = size * 3 + 1) {
		if (size > 100000)
			size = 1;
		append(&output, size);
		total += size;
		assert_int_equal(output.end_offset, total);
		assert_true(gw_output_kept_bytes(&output) <= GW_OUTPUT_BYTES_MIN);
		assert_true(total < GW_OUTPUT_BYTES_MIN ||
			    gw_output_kept_bytes(&output) >=
				    GW_OUTPUT_BYTES_MIN - GW_OUTPUT_BYTES_MIN / GW_OUTPUT_SEGMENTS);
		check_from(&output, output.first_offset);
	}
	check_from(&output, 0); /* begins where the oldest kept byte is */
	gw_output_deinit(&output);
	/* What lies on disk says all. */
	gw_output_init(&again, folder->fd, 1, GW_OUTPUT_BYTES_MIN);
	assert_int_equal(gw_output_load(&again), 0);
	assert_int_equal(again.first_offset, output.first_offset);
	assert_int_equal(again.end_offset, output.end_offset);
	check_from(&again, 0);
	gw_output_deinit(&again);
}

static void takes_up_only_its_own(void **state)
{
	struct folder *folder = *state;
	static const char *const strangers[] = {"1.xyz", "2.0000000000000000", "1.1",
						"1.00000000000000ff", "record"};
	struct gw_output output;

	for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++) {
		int fd = openat(folder->fd, strangers[i], O_WRONLY | O_CREAT, 0600);

		assert_true(fd >= 0);
		assert_int_equal(write(fd, "stranger", 8), 8);
		(void)close(fd);
	}
	gw_output_init(&output, folder->fd, 1, 0);
	assert_int_equal(gw_output_load(&output), 0);
	assert_int_equal(output.end_offset, 0);
	gw_output_deinit(&output);
}

/* --- through a keeper --- */

/* 50 MB from a task whose reader takes its time: the task must not wait for the reader, and every
 * byte that is still kept must be right. Each line is its own number in 9 digits. */
#define LINES 5000000u
#define LINE_BYTES 10u

static void set_output_max(Godwit__KeeperSpawn *spawn)
{
	spawn->start->output_bytes_max = 8 << 20;
}

static void set_output_least(Godwit__KeeperSpawn *spawn)
{
	spawn->start->output_bytes_max = 1 << 20;
}

static void check_lines(const struct fixture *f)
{
	for (size_t i = 0; i < f->size; i++) {
		uint64_t at = f->offset + i;
		char line[LINE_BYTES + 1];

		(void)snprintf(line, sizeof(line), "%09u\n", (unsigned)(at / LINE_BYTES));
		if (f->bytes[i] != (uint8_t)line[at % LINE_BYTES])
			fail_msg("byte %zu of %zu at %llu is wrong", i, f->size,
				 (unsigned long long)f->offset);
	}
}

static void keeps_up(struct fixture *f, struct gw_attempt_id id)
{
	uint64_t offset = 0;
	uint64_t skipped = 0;
	char quick[64];

	fixture_start(f);
	fixture_send_spawn(f, id,
			   "awk 'BEGIN { for (i = 0; i < 5000000; i++) printf \"%09d\\n\", i }'",
			   set_output_max);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	/* The slow reader: one look while it writes, and beside it another task is served. */
	fixture_read(f, id, 1, 0, 5000000);
	check_lines(f);
	fixture_spawn(f, fixture_id(99), "echo quick", NULL);
	(void)fixture_output(f, fixture_id(99), 1, 0, quick, sizeof(quick));
	assert_string_equal(quick, "quick\n");
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->exit_code, 0);
	assert_int_equal(f->output_bytes, (uint64_t)LINES * LINE_BYTES);
	do {
		fixture_read(f, id, 1, offset, 0);
		assert_true(f->offset >= offset);
		skipped += f->offset - offset;
		check_lines(f);
		assert_int_equal(f->next_offset, f->offset + f->size);
		offset = f->next_offset;
	} while (!f->end);
	assert_int_equal(offset, (uint64_t)LINES * LINE_BYTES);
	assert_int_equal(f->end_offset, offset);
	assert_int_equal(skipped, f->first_kept_offset);
	assert_true(offset - f->first_kept_offset <= 8 << 20);
	assert_true(offset - f->first_kept_offset >= 6 << 20);
}

static void keeps_up_by_uring(void **state)
{
	struct fixture *f = *state;

	f->extra[0] = "--io";
	f->extra[1] = "uring";
	keeps_up(f, fixture_id(1));
}

static void keeps_up_by_hand(void **state)
{
	struct fixture *f = *state;

	f->extra[0] = "--io";
	f->extra[1] = "plain";
	keeps_up(f, fixture_id(2));
}

static uint64_t resident_kib(pid_t pid)
{
	unsigned long long kib = 0;
	char path[64];
	char line[128];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "VmHWM: %llu", &kib) == 1)
			break;
	(void)fclose(file);
	return kib;
}

/* A client that asks for more than its socket holds and reads nothing of it. */
static struct gw_keeper_client *slow_reader(const struct fixture *f, struct gw_attempt_id id)
{
	struct gw_keeper_client *client = gw_keeper_client_new();

	assert_non_null(client);
	assert_int_equal(gw_keeper_client_connect(client, f->socket), 0);
	for (uint32_t i = 1; i <= 64; i++)
		assert_int_equal(gw_keeper_read(client, i, &id, 1, 0, 65536, 60000000), 0);
	return client;
}

/* A million lines as fast as a task can, with a reader that never reads: the task is not held up,
 * the newest lines are kept, and the keeper stays small. */
static void takes_a_million_lines(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(6);
	struct gw_keeper_client *slow;

	fixture_start(f);
	fixture_send_spawn(f, id,
			   "awk 'BEGIN { for (i = 0; i < 1000000; i++) printf \"%09d\\n\", i }'",
			   set_output_least);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	slow = slow_reader(f, id);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->exit_code, 0);
	assert_int_equal(f->output_bytes, 1000000u * LINE_BYTES);
	fixture_read(f, id, 1, 1000000u * LINE_BYTES - 20000, 0);
	check_lines(f);
	assert_int_equal(f->next_offset, 1000000u * LINE_BYTES);
	assert_true(f->end_offset - f->first_kept_offset <= 1 << 20);
	assert_true(f->end_offset - f->first_kept_offset >= 3 << 18);
	if (!getenv("GODWIT_SANITIZED"))
		assert_in_range(resident_kib(f->keeper), 1, 6 << 10);
	(void)gw_keeper_client_free(slow);
}

/* More chatty streams than there are buffers to share. */
static void serves_many_chatty_tasks(void **state)
{
	struct fixture *f = *state;
	uint32_t exited = 0;

	fixture_start(f);
	for (uint64_t i = 0; i < 12; i++)
		fixture_send_spawn(f, fixture_id(10 + i),
				   "head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2",
				   NULL);
	while (exited < 12) {
		fixture_wait(f, GW_KEEPER_EXITED);
		assert_int_equal(f->output_bytes, 5000000);
		exited++;
	}
}

static void follows(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(3);
	char fifo[256];
	uint64_t first;
	int fd;

	fixture_start(f);
	(void)snprintf(fifo, sizeof(fifo), "%s/work/%s/fifo", f->state,
		       "00000007000000010000000000000003.3.1");
	fixture_spawn(f, id, "mkfifo fifo; echo begun; cat fifo", NULL);
	fixture_read(f, id, 1, 0, 5000000);
	assert_int_equal(f->size, 6);
	/* Nothing there: a wait that ends in vain, and says so. */
	fixture_read(f, id, 1, 6, 50000);
	assert_int_equal(f->size, 0);
	assert_false(f->end);
	assert_int_equal(f->next_offset, 6);
	/* Two waits at once, answered by one line. */
	first = ++f->request;
	assert_int_equal(gw_keeper_read(f->client, first, &id, 1, 6, 100, 60000000), 0);
	assert_int_equal(gw_keeper_read(f->client, ++f->request, &id, 1, 8, 100, 60000000), 0);
	fd = open(fifo, O_WRONLY);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "a line\n", 7), 7);
	fixture_wait(f, GW_KEEPER_OUTPUT);
	assert_int_equal(f->answered, first);
	assert_memory_equal(f->bytes, "a line\n", 7);
	fixture_wait(f, GW_KEEPER_OUTPUT);
	assert_int_equal(f->answered, first + 1);
	assert_memory_equal(f->bytes, "line\n", 5);
	/* And a wait that the end of the task answers. */
	assert_int_equal(gw_keeper_read(f->client, ++f->request, &id, 1, 13, 100, 60000000), 0);
	(void)close(fd);
	fixture_wait(f, GW_KEEPER_OUTPUT);
	assert_int_equal(f->size, 0);
	assert_true(f->end);
}

static void bounds_its_waiters(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(4);
	struct gw_keeper_event event;

	fixture_start(f);
	fixture_spawn(f, id, "exec sleep 1000", NULL);
	for (uint32_t i = 0; i < 65; i++)
		assert_int_equal(gw_keeper_read(f->client, 1000 + i, &id, 1, 0, 10, 60000000), 0);
	do
		gw_keeper_client_next(f->client, &event);
	while (event.kind == GW_KEEPER_NONE);
	assert_int_equal(event.kind, GW_KEEPER_REFUSED);
	assert_int_equal(event.request, 1064);
	assert_non_null(strstr(event.error, "too many reads are held open"));
	/* They go with their client, and there is room again. */
	fixture_connect(f);
	assert_int_equal(gw_keeper_read(f->client, 2000, &id, 1, 0, 10, 1000), 0);
	fixture_wait(f, GW_KEEPER_OUTPUT);
	assert_int_equal(f->answered, 2000);
}

/* A process that hid from everything holds the pipe: the end comes all the same, after a while. */
static void does_not_wait_for_a_hidden_writer(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(5);
	char text[64];
	int pid;

	f->extra[0] = "--cgroup";
	f->extra[1] = "none";
	fixture_start(f);
	fixture_spawn(f, id, "(env -i setsid sh -c 'echo $$; exec sleep 1000' &); sleep 0.3", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_true(f->wall_us < 5000000);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_int_equal(sscanf(text, "%d", &pid), 1);
	(void)kill(pid, SIGKILL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(rotates, folder_setup, folder_teardown),
		cmocka_unit_test_setup_teardown(takes_up_only_its_own, folder_setup,
						folder_teardown),
		TEST(takes_a_million_lines),
		TEST(keeps_up_by_uring),
		TEST(keeps_up_by_hand),
		TEST(serves_many_chatty_tasks),
		TEST(follows),
		TEST(bounds_its_waiters),
		TEST(does_not_wait_for_a_hidden_writer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
