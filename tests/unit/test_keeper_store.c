/* Fences on a disk that fills up, and on one that does not answer. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/keeper/store.h"
#include "tests/unit/keeper_fixture.h"

#define ENTRY_BYTES 24u

struct list {
	struct gw_attempt_id ids[4];
	size_t count;
};

static char folder[64];

static int setup(void **state)
{
	(void)state;
	(void)snprintf(folder, sizeof(folder), "/tmp/godwit-store-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	(void)snprintf(command, sizeof(command), "rm -rf %s", folder);
	return system(command) ? -1 : 0;
}

static void open_store(struct gw_store *store)
{
	char error[512];

	assert_int_equal(gw_store_open(store, folder, error, sizeof(error)), 0);
}

static void add(void *data, const struct gw_attempt_id *id)
{
	struct list *list = data;

	assert_true(list->count < 4);
	list->ids[list->count++] = *id;
}

/* The largest size of a file stands in for a full disk: a write up to it is cut short. */
static void set_file_bytes_max(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void appends_after_a_short_write(void **state)
{
	struct gw_attempt_id ids[] = {fixture_id(1), fixture_id(2), fixture_id(3)};
	struct gw_store store;
	struct list list = {.count = 0};

	(void)state;
	open_store(&store);
	assert_int_equal(gw_store_fence(&store, &ids[0]), 0);
	set_file_bytes_max(ENTRY_BYTES + 16);
	assert_int_equal(gw_store_fence(&store, &ids[1]), -ENOSPC);
	set_file_bytes_max(RLIM_INFINITY);
	assert_int_equal(gw_store_fence(&store, &ids[2]), 0);
	gw_store_close(&store);

	open_store(&store);
	assert_int_equal(gw_store_each_fence(&store, add, &list), 0);
	assert_int_equal(list.count, 2);
	assert_memory_equal(&list.ids[0], &ids[0], sizeof(ids[0]));
	assert_memory_equal(&list.ids[1], &ids[2], sizeof(ids[2]));
	gw_store_close(&store);
}

/* Fences that cannot be read are not taken for none, and nothing is cut off. */
static void tells_a_read_error(void **state)
{
	struct gw_store store;
	struct list list = {.count = 0};
	int fences_fd;

	(void)state;
	open_store(&store);
	fences_fd = store.fences_fd;
	store.fences_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(store.fences_fd >= 0);
	assert_int_equal(gw_store_each_fence(&store, add, &list), -EISDIR);
	assert_int_equal(close(store.fences_fd), 0);
	store.fences_fd = fences_fd;
	gw_store_close(&store);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(appends_after_a_short_write),
		TEST(tells_a_read_error),
	};

	(void)signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
