/*
 * Control groups: v2 on a faked tree (the files that a kernel would make are put there first), v1
 * on a faked tree for its layout, and the limits for real through a keeper on a host with v1.
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
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/keeper/cgroup.h"
#include "tests/unit/keeper_fixture.h"

/* --- faked trees --- */

static int tree_setup(void **state)
{
	static char root[64];

	(void)snprintf(root, sizeof(root), "/tmp/godwit-cgroup-XXXXXX");
	*state = root;
	return mkdtemp(root) ? 0 : -1;
}

static int tree_teardown(void **state)
{
	char command[128];

	(void)snprintf(command, sizeof(command), "rm -rf %s", (char *)*state);
	return system(command) ? -1 : 0;
}

/* Writes a file of the tree, with the folders above it. */
static void put(const char *root, const char *path, const char *text)
{
	char full[512];
	FILE *file;

	(void)snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		(void)mkdir(full, 0755);
		*slash = '/';
	}
	file = fopen(full, "w");
	assert_non_null(file);
	(void)fputs(text, file);
	assert_int_equal(fclose(file), 0);
}

static void assert_file(const char *root, const char *path, const char *expected)
{
	char full[512];
	char text[256];
	FILE *file;

	(void)snprintf(full, sizeof(full), "%s/%s", root, path);
	file = fopen(full, "r");
	assert_non_null(file);
	text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
	(void)fclose(file);
	assert_string_equal(text, expected);
}

static const struct gw_cgroup_limits limits = {
	.cpu_milli = 1500, .memory_bytes = 64 << 20, .process_count = 20};

static void put_v2(const char *root, const char *controllers)
{
	put(root, "cgroup.controllers", "cpuset cpu io memory pids\n");
	put(root, "cgroup.subtree_control", "");
	put(root, "godwit/cgroup.subtree_control", "");
	put(root, "godwit/k/cgroup.subtree_control", "");
	put(root, "godwit/k/cgroup.controllers", controllers);
	put(root, "godwit/k/a/cgroup.procs", "");
	put(root, "godwit/k/a/cgroup.kill", "");
	put(root, "godwit/k/a/cpu.max", "");
	put(root, "godwit/k/a/memory.max", "");
	put(root, "godwit/k/a/memory.swap.max", "");
	put(root, "godwit/k/a/pids.max", "");
}

static void sets_v2_limits(void **state)
{
	const char *root = *state;
	struct gw_cgroup cgroup;
	struct gw_notes notes = {0};

	put_v2(root, "cpu memory pids\n");
	gw_cgroup_init(&cgroup, root, "godwit/k");
	assert_int_equal(cgroup.version, 2);
	gw_cgroup_describe(&cgroup, &notes);
	gw_cgroup_make(&cgroup, "a", &limits, &notes);
	assert_int_equal(notes.count, 0);
	assert_file(root, "godwit/k/a/cpu.max", "150000 100000");
	assert_file(root, "godwit/k/a/memory.max", "67108864");
	assert_file(root, "godwit/k/a/memory.swap.max", "0");
	assert_file(root, "godwit/k/a/pids.max", "20");
	/* Three writes, each over the other: "+cpu", "+memory", "+pids". */
	assert_file(root, "cgroup.subtree_control", "+pidsry");
	assert_file(root, "godwit/k/cgroup.subtree_control", "+pidsry");
	assert_true(gw_cgroup_enter(&cgroup, "a", 4711, &notes));
	assert_int_equal(notes.count, 0);
	assert_file(root, "godwit/k/a/cgroup.procs", "4711");
	gw_cgroup_deinit(&cgroup);
}

static void reads_v2_usage(void **state)
{
	const char *root = *state;
	struct gw_cgroup cgroup;
	struct gw_cgroup_usage usage;

	put_v2(root, "cpu memory pids\n");
	put(root, "godwit/k/a/cpu.stat",
	    "usage_usec 700\nuser_usec 500\nsystem_usec 200\nnr_periods 0\n");
	put(root, "godwit/k/a/memory.peak", "123456\n");
	put(root, "godwit/k/a/memory.events", "low 0\nhigh 0\nmax 9\noom 2\noom_kill 1\n");
	gw_cgroup_init(&cgroup, root, "godwit/k");
	gw_cgroup_usage(&cgroup, "a", &usage);
	assert_true(usage.has_cpu);
	assert_int_equal(usage.cpu_user_us, 500);
	assert_int_equal(usage.cpu_system_us, 200);
	assert_true(usage.has_memory);
	assert_int_equal(usage.memory_peak_bytes, 123456);
	assert_true(usage.oom);
	put(root, "godwit/k/a/memory.events", "oom 2\noom_kill 0\n");
	gw_cgroup_usage(&cgroup, "a", &usage);
	assert_false(usage.oom);
	gw_cgroup_usage(&cgroup, "no-such-group", &usage);
	assert_false(usage.has_cpu);
	assert_false(usage.has_memory);
	gw_cgroup_deinit(&cgroup);
}

static void says_what_v2_does_not_hand_down(void **state)
{
	const char *root = *state;
	struct gw_cgroup cgroup;
	struct gw_notes notes = {0};

	put_v2(root, "cpuset pids\n"); /* "cpu" is no word of it */
	gw_cgroup_init(&cgroup, root, "godwit/k");
	gw_cgroup_make(&cgroup, "a", &limits, &notes);
	assert_int_equal(notes.count, 2);
	assert_string_equal(notes.texts[0], "cpu: this cgroup is not handed that controller");
	assert_string_equal(notes.texts[1], "memory: this cgroup is not handed that controller");
	assert_file(root, "godwit/k/a/cpu.max", "");
	gw_notes_deinit(&notes);
	gw_cgroup_deinit(&cgroup);
}

/* The kernel's v2 kill is one write; processes still listed are killed one by one as well. */
static void kills_a_v2_group(void **state)
{
	const char *root = *state;
	struct gw_cgroup cgroup;
	char list[32];
	int status;
	pid_t pid;

	put_v2(root, "cpu memory pids\n");
	gw_cgroup_init(&cgroup, root, "godwit/k");
	assert_int_equal(gw_cgroup_kill(&cgroup, "a"), 0);
	assert_file(root, "godwit/k/a/cgroup.kill", "1");
	pid = fork();
	if (pid == 0)
		for (;;)
			(void)pause();
	(void)snprintf(list, sizeof(list), "%d\n", pid);
	put(root, "godwit/k/a/cgroup.procs", list);
	assert_int_equal(gw_cgroup_kill(&cgroup, "a"), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(WTERMSIG(status), SIGKILL);
	gw_cgroup_deinit(&cgroup);
}

static void sets_v1_limits(void **state)
{
	const char *root = *state;
	struct gw_cgroup cgroup;
	struct gw_notes notes = {0};

	put(root, "cpu/cgroup.procs", "");
	put(root, "memory/cgroup.procs", "");
	put(root, "cpu/godwit/k/a/cpu.cfs_period_us", "");
	put(root, "cpu/godwit/k/a/cpu.cfs_quota_us", "");
	put(root, "memory/godwit/k/a/memory.limit_in_bytes", "");
	gw_cgroup_init(&cgroup, root, "godwit/k");
	assert_int_equal(cgroup.version, 1);
	gw_cgroup_make(&cgroup, "a", &limits, &notes);
	assert_file(root, "cpu/godwit/k/a/cpu.cfs_period_us", "100000");
	assert_file(root, "cpu/godwit/k/a/cpu.cfs_quota_us", "150000");
	assert_file(root, "memory/godwit/k/a/memory.limit_in_bytes", "67108864");
	assert_int_equal(notes.count, 1); /* no pids controller in this tree */
	assert_string_equal(notes.texts[0], "pids: this host has no such cgroup controller");
	gw_notes_deinit(&notes);
	/* A file that is not there is a limit that is not held. */
	gw_cgroup_make(&cgroup, "b", &limits, &notes);
	assert_int_equal(notes.count, 3);
	assert_string_equal(notes.texts[1], "memory: memory.limit_in_bytes cannot be set: "
					    "No such file or directory");
	gw_notes_deinit(&notes);
	gw_cgroup_deinit(&cgroup);
}

/* A process that one controller takes and another does not runs without the other's limit. */
static void says_what_is_not_entered(void **state)
{
	const char *root = *state;
	struct gw_cgroup cgroup;
	struct gw_notes notes = {0};

	put(root, "cpu/cgroup.procs", "");
	put(root, "memory/cgroup.procs", "");
	put(root, "cpu/godwit/k/a/cgroup.procs", "");
	gw_cgroup_init(&cgroup, root, "godwit/k");
	assert_true(gw_cgroup_enter(&cgroup, "a", 4711, &notes));
	assert_file(root, "cpu/godwit/k/a/cgroup.procs", "4711");
	assert_int_equal(notes.count, 1);
	assert_string_equal(notes.texts[0],
			    "memory: its group cannot be entered: No such file or directory");
	gw_notes_deinit(&notes);
	gw_cgroup_deinit(&cgroup);
}

static void does_without(void **state)
{
	const char *root = *state;
	struct gw_cgroup cgroup;
	struct gw_notes notes = {0};

	gw_cgroup_init(&cgroup, root, "godwit/k");
	assert_int_equal(cgroup.version, 0);
	gw_cgroup_make(&cgroup, "a", &limits, &notes);
	assert_int_equal(notes.count, 3);
	assert_string_equal(notes.texts[0], "cpu: no cgroups are mounted");
	assert_false(gw_cgroup_enter(&cgroup, "a", getpid(), &notes));
	assert_int_equal(notes.count, 3);
	assert_int_equal(gw_cgroup_kill(&cgroup, "a"), 0);
	assert_int_equal(gw_cgroup_remove(&cgroup, "a"), 0);
	gw_notes_deinit(&notes);
	gw_cgroup_deinit(&cgroup);
}

/* --- for real --- */

/* Spawns with limits; skips where this host does not hold them. */
static void spawn_limited(struct fixture *f, struct gw_attempt_id id, const char *script,
			  Godwit__Resources *resources)
{
	fixture_start(f);
	fixture_spawn(f, id, script, resources);
	if (f->not_enforced[0]) {
		print_message("not enforced here: %s", f->not_enforced);
		skip();
	}
}

static void ends_a_memory_hog(void **state)
{
	struct fixture *f = *state;
	Godwit__Resources resources = GODWIT__RESOURCES__INIT;

	resources.memory_bytes = 32 << 20;
	/* dd needs a buffer of 200 MB; the shell above it lives on and says what happened. */
	spawn_limited(f, fixture_id(1), "dd if=/dev/zero of=/dev/null bs=200M count=1; exit $?",
		      &resources);
	fixture_wait_for(f, GW_KEEPER_EXITED, fixture_id(1));
	assert_int_equal(f->exit_code, 128 + SIGKILL);
	assert_true(f->oom);
	assert_string_equal(f->error, "it ran into its memory limit of 33554432 bytes");
	assert_in_range(f->memory_peak_bytes, 16 << 20, 32 << 20);
}

static void holds_the_number_of_processes(void **state)
{
	struct fixture *f = *state;
	Godwit__Resources resources = GODWIT__RESOURCES__INIT;
	char text[4096];

	resources.process_count = 5;
	spawn_limited(f, fixture_id(2), "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all",
		      &resources);
	fixture_wait_for(f, GW_KEEPER_EXITED, fixture_id(2));
	assert_int_not_equal(f->exit_code, 0);
	(void)fixture_output(f, fixture_id(2), 2, 0, text, sizeof(text));
	assert_non_null(strcasestr(text, "cannot fork"));
}

static void holds_the_share_of_a_cpu(void **state)
{
	struct fixture *f = *state;
	Godwit__Resources resources = GODWIT__RESOURCES__INIT;

	resources.cpu_milli = 200;
	/* Two spinners for a second of wall time. */
	spawn_limited(f, fixture_id(3),
		      "timeout 1 sh -c 'while :; do :; done' & timeout 1 sh -c 'while :; do :; "
		      "done'; wait",
		      &resources);
	fixture_wait_for(f, GW_KEEPER_EXITED, fixture_id(3));
	assert_true(f->wall_us >= 1000000);
	assert_true(f->cpu_us > 0);
	/* A fifth, and a period or two of the kernel's own bookkeeping. */
	assert_true(f->cpu_us <= f->wall_us / 5 + 100000);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
#define TREE(name) cmocka_unit_test_setup_teardown(name, tree_setup, tree_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TREE(sets_v2_limits),
		TREE(reads_v2_usage),
		TREE(says_what_v2_does_not_hand_down),
		TREE(kills_a_v2_group),
		TREE(sets_v1_limits),
		TREE(says_what_is_not_entered),
		TREE(does_without),
		TEST(ends_a_memory_hog),
		TEST(holds_the_number_of_processes),
		TEST(holds_the_share_of_a_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
