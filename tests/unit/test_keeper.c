/* godwit-keeper with real processes: the life of an attempt, from spawn to exit record. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/base/check.h"
#include "proto/wire.h"
#include "tests/unit/keeper_fixture.h"

#define RUNNING GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING
#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define FAILED GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START
#define TOMBSTONE GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE

static void tells_status_and_output(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(1);
	char text[4096];

	fixture_start(f);
	fixture_spawn(f, id, "echo to stdout; echo to stderr >&2; exit 7", NULL);
	assert_true(f->pid > 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, EXITED);
	assert_int_equal(f->exit_code, 7);
	assert_int_equal(f->signal, 0);
	assert_int_equal(f->output_bytes, 20);
	assert_true(f->wall_us > 0);
	assert_true(f->memory_peak_bytes > 0);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_string_equal(text, "to stdout\n");
	(void)fixture_output(f, id, 2, 3, text, sizeof(text));
	assert_string_equal(text, "stderr\n");
}

static void tells_the_signal(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(2);

	fixture_start(f);
	fixture_spawn(f, id, "kill -SEGV $$", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->signal, SIGSEGV);
	assert_int_equal(f->exit_code, 0);
}

/* --- what the task finds --- */

static void set_details(Godwit__KeeperSpawn *spawn)
{
	static char colour[] = "COLOUR=blue";
	static char mark[] = "GODWIT_KEEPER_ATTEMPT=mine";
	static char *environment[] = {colour, mark};
	static Godwit__KeeperRlimit nofile;
	static Godwit__KeeperRlimit *rlimits[] = {&nofile};
	static char name[] = "nofile";

	godwit__keeper_rlimit__init(&nofile);
	nofile.name = name;
	nofile.soft = 99;
	nofile.hard = 100;
	spawn->rlimits = rlimits;
	spawn->n_rlimits = 1;
	spawn->start->environment = environment;
	spawn->start->n_environment = 2;
}

static void gives_what_was_asked(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(3);
	char expected[512];
	char text[4096];

	fixture_start(f);
	(void)setenv("FROM_THE_KEEPER", "must not be seen", 1);
	fixture_send_spawn(
		f, id,
		"echo $COLOUR $GODWIT_KEEPER_ATTEMPT ${FROM_THE_KEEPER:-clean}; ulimit -n; "
		"ulimit -Hn; pwd; "
		"ls /proc/self/fd | tr '\\n' ' '; ps -o pgid=,sid= $$ | tr -d ' \\n'; "
		"echo; echo $$$$; cat",
		set_details);
	fixture_wait_for(f, GW_KEEPER_EXITED, id); /* cat ends: stdin is empty */
	assert_int_equal(f->exit_code, 0);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	(void)snprintf(expected, sizeof(expected),
		       "blue 00000007000000010000000000000003.3.1 clean\n99\n100\n"
		       "%s/work/00000007000000010000000000000003.3.1\n0 1 2 3 %u%u\n%u%u\n",
		       f->state, f->pid, f->pid, f->pid, f->pid);
	assert_string_equal(text, expected);
}

/* As an agent asks for it: from the bytes of a TaskStart. */
static void limits_come_from_the_start(void **state)
{
	static char nofile[] = "nofile=77:99";
	static char core[] = "core=0";
	static char bad[] = "patience=1";
	static char shell[] = "sh";
	static char option[] = "-c";
	static char script[] = "ulimit -n; ulimit -Hn; ulimit -c";
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(31);
	Godwit__TaskStart start = GODWIT__TASK_START__INIT;
	char *arguments[] = {shell, option, script};
	char *rlimits[] = {nofile, core};
	Godwit__AttemptRef ref;
	uint8_t bytes[512];
	char text[64];

	fixture_start(f);
	gw_wire_attempt(&id, &ref);
	start.attempt = &ref;
	start.arguments = arguments;
	start.n_arguments = GW_ARRAY_COUNT(arguments);
	start.rlimits = rlimits;
	start.n_rlimits = GW_ARRAY_COUNT(rlimits);
	assert_true(gw_wire_size(&start.base) <= sizeof(bytes));
	gw_wire_encode(&start.base, bytes);
	assert_int_equal(
		gw_keeper_spawn_bytes(f->client, ++f->request, bytes, gw_wire_size(&start.base)),
		0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_string_equal(text, "77\n99\n0\n");
	rlimits[0] = bad;
	gw_wire_encode(&start.base, bytes);
	assert_int_equal(
		gw_keeper_spawn_bytes(f->client, ++f->request, bytes, gw_wire_size(&start.base)),
		-EPROTO);
}

/* Limits are set with the user's own rights: root's are not lent to raise them. */
static void set_priority_limit(Godwit__KeeperSpawn *spawn)
{
	static Godwit__KeeperRlimit rtprio;
	static Godwit__KeeperRlimit *rlimits[] = {&rtprio};
	static char name[] = "rtprio";
	static char user[] = "nobody";

	godwit__keeper_rlimit__init(&rtprio);
	rtprio.name = name;
	rtprio.soft = 99;
	rtprio.hard = 99;
	spawn->rlimits = rlimits;
	spawn->n_rlimits = 1;
	spawn->start->user = user;
}

static void a_user_raises_no_limit(void **state)
{
	struct rlimit own;
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(32);

	if (geteuid() != 0 || getrlimit(RLIMIT_RTPRIO, &own) || own.rlim_max >= 99)
		skip();
	assert_int_equal(chmod(f->folder, 0711), 0);
	fixture_start(f);
	fixture_send_spawn(f, id, "true", set_priority_limit);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	assert_int_equal(f->state_seen, FAILED);
	assert_string_equal(f->error,
			    "the resource limit rtprio cannot be set: Operation not permitted");
}

static void set_user(Godwit__KeeperSpawn *spawn)
{
	static char user[] = "nobody";

	spawn->start->user = user;
}

static void runs_as_another_user(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(4);
	char text[4096];

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->folder, 0711), 0);
	fixture_start(f);
	fixture_send_spawn(f, id,
			   "id -un; id -Gn; echo here > file; cat $PWD/file; "
			   "ls ../../attempts 2>/dev/null || echo closed; echo $USER",
			   set_user);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_string_equal(text, "nobody\nnogroup\nhere\nclosed\nnobody\n");
}

/* --- starts that fail --- */

static void set_no_program(Godwit__KeeperSpawn *spawn)
{
	static char program[] = "/no/such/program";
	static char *arguments[] = {program};

	spawn->start->arguments = arguments;
	spawn->start->n_arguments = 1;
}

static void set_not_executable(Godwit__KeeperSpawn *spawn)
{
	static char program[] = "/etc/passwd";
	static char *arguments[] = {program};

	spawn->start->arguments = arguments;
	spawn->start->n_arguments = 1;
}

static void set_no_user(Godwit__KeeperSpawn *spawn)
{
	static char user[] = "nobody-of-this-name";

	spawn->start->user = user;
}

static void set_no_folder(Godwit__KeeperSpawn *spawn)
{
	static char folder[] = "/no/such/folder";

	spawn->start->working_directory = folder;
}

static void set_dots(Godwit__KeeperSpawn *spawn)
{
	static char folder[] = "/tmp/../etc";

	spawn->start->working_directory = folder;
}

static void set_no_arguments(Godwit__KeeperSpawn *spawn)
{
	spawn->start->n_arguments = 0;
}

static void set_bad_rlimit(Godwit__KeeperSpawn *spawn)
{
	static Godwit__KeeperRlimit bad;
	static Godwit__KeeperRlimit *rlimits[] = {&bad};
	static char name[] = "patience";

	godwit__keeper_rlimit__init(&bad);
	bad.name = name;
	spawn->rlimits = rlimits;
	spawn->n_rlimits = 1;
}

static void says_why_a_start_failed(void **state)
{
	static const struct {
		void (*edit)(Godwit__KeeperSpawn *spawn);
		const char *sentence;
		bool kept; /* it got as far as a process */
	} rows[] = {
		{set_no_program, "/no/such/program: no such program", true},
		{set_not_executable, "/etc/passwd cannot be run: Permission denied", true},
		{set_no_user, "there is no user \"nobody-of-this-name\" on this host", true},
		{set_no_folder,
		 "the working folder /no/such/folder cannot be entered: No such file or directory",
		 true},
		{set_dots, "the working folder's path may not contain \"..\"", false},
		{set_no_arguments, "a task needs a program to run", false},
		{set_bad_rlimit, "resource limit 1 has a name that setrlimit(2) does not know",
		 false},
	};
	struct fixture *f = *state;

	fixture_start(f);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct gw_attempt_id id = fixture_id(100 + i);

		fixture_send_spawn(f, id, "true", rows[i].edit);
		fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
		assert_int_equal(f->state_seen, FAILED);
		assert_string_equal(f->error, rows[i].sentence);
		if (!rows[i].kept)
			continue;
		/* The same again: the answer is on record, nothing is tried anew. */
		fixture_send_spawn(f, id, "true", NULL);
		fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
		assert_int_equal(f->state_seen, FAILED);
		assert_string_equal(f->error, rows[i].sentence);
	}
}

/* --- idempotence --- */

static void starts_an_attempt_once(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(5);
	char text[256];
	uint32_t pid;

	fixture_start(f);
	fixture_spawn(f, id, "trap 'exit 0' USR1; echo once; while :; do sleep 0.01; done", NULL);
	fixture_read(f, id, 1, 0, 5000000); /* the trap is set */
	pid = f->pid;
	fixture_spawn(f, id, "echo twice", NULL);
	assert_int_equal(f->pid, pid);
	assert_int_equal(f->state_seen, RUNNING);
	assert_int_equal(kill((pid_t)pid, SIGUSR1), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	fixture_send_spawn(f, id, "echo thrice", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->pid, pid);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_string_equal(text, "once\n");
}

static void refuses_a_start_after_its_kill(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(6);
	struct gw_attempt_id next = id;

	fixture_start(f);
	id.attempt = 2;
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 0, false), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, TOMBSTONE);
	for (int round = 0; round < 2; round++) {
		fixture_send_spawn(f, id, "true", NULL);
		fixture_wait_for(f, GW_KEEPER_EXITED, id);
		assert_int_equal(f->state_seen, TOMBSTONE);
		assert_non_null(strstr(f->error, "is not started again"));
		next.attempt = 1; /* older than the one that was killed */
		fixture_send_spawn(f, next, "true", NULL);
		fixture_wait_for(f, GW_KEEPER_EXITED, next);
		assert_int_equal(f->state_seen, TOMBSTONE);
		fixture_kill9(f); /* a tombstone outlives the keeper */
		fixture_start(f);
	}
	next.attempt = 3;
	fixture_spawn(f, next, "true", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, next);
	assert_int_equal(f->state_seen, EXITED);
}

static void tells_usage_so_far(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(14);

	fixture_start(f);
	fixture_spawn(f, id, "echo begun; while :; do :; done", NULL);
	do {
		assert_int_equal(gw_keeper_list(f->client, ++f->request), 0);
		fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	} while (f->cpu_us == 0 || f->output_bytes == 0);
	assert_int_equal(f->answered, f->request);
	assert_int_equal(f->output_bytes, 6);
	assert_true(f->wall_us > 0);
	fixture_wait(f, GW_KEEPER_LISTED);
	assert_int_equal(f->answered, f->request);
}

/* --- ending --- */

static void ends_gently(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(7);
	char text[256];

	fixture_start(f);
	fixture_spawn(f, id,
		      "trap 'echo asked; exit 9' TERM; echo ready; while :; do sleep 1 & "
		      "wait; done",
		      NULL);
	fixture_read(f, id, 1, 0, 5000000); /* the trap is set */
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 60000000, false), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->exit_code, 9);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_string_equal(text, "ready\nasked\n");
}

static void ends_the_stubborn_after_the_grace(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(8);

	fixture_start(f);
	fixture_spawn(f, id, "trap '' TERM; echo ready; while :; do sleep 1; done", NULL);
	fixture_read(f, id, 1, 0, 5000000);
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 300000, false), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->signal, SIGKILL);
	assert_true(f->wall_us >= 300000);
}

static void ends_at_once_without_grace(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(9);

	fixture_start(f);
	fixture_spawn(f, id, "trap '' TERM; echo ready; while :; do sleep 1; done", NULL);
	fixture_read(f, id, 1, 0, 5000000);
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 60000000, false), 0);
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 0, false), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->signal, SIGKILL);
}

/* A child in the background, one that left the session, and one that left it as a daemon does. */
#define FAMILY                                                                                     \
	"sleep 1000 & echo $!; setsid sleep 1000 & echo $!; "                                      \
	"(setsid sh -c 'echo $$; exec sleep 1000' &) ; sleep 0.2; "

static void leaves_nobody_behind(struct fixture *f, struct gw_attempt_id id, const char *script,
				 bool with_kill)
{
	char text[256];
	pid_t pids[3];
	int count;

	fixture_start(f);
	fixture_spawn(f, id, script, NULL);
	if (with_kill) {
		do
			fixture_read(f, id, 1, 0, 5000000);
		while (!memmem(f->bytes, f->size, "end", 3));
		assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 0, false), 0);
	}
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_string_equal(f->error, "");
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	count = sscanf(text, "%d %d %d", &pids[0], &pids[1], &pids[2]);
	assert_int_equal(count, 3);
	/* Nobody waits here: EXITED was not to be told before they were gone. */
	for (int i = 0; i < count; i++)
		assert_true(fixture_gone(pids[i]));
}

static void leaves_nobody_behind_in_a_cgroup(void **state)
{
	leaves_nobody_behind(*state, fixture_id(10), FAMILY "exit 0", false);
}

static void leaves_nobody_behind_after_a_kill(void **state)
{
	leaves_nobody_behind(*state, fixture_id(11), FAMILY "echo end; sleep 1000", true);
}

static void leaves_nobody_behind_without_cgroups(void **state)
{
	struct fixture *f = *state;

	f->extra[0] = "--cgroup";
	f->extra[1] = "none";
	leaves_nobody_behind(f, fixture_id(12), FAMILY "exit 0", false);
}

static void ends_its_tasks_before_itself(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(13);
	pid_t pid;

	fixture_start(f);
	fixture_spawn(f, id, "exec sleep 1000", NULL);
	pid = (pid_t)f->pid;
	assert_int_equal(kill(f->keeper, SIGTERM), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->signal, SIGTERM);
	assert_true(fixture_gone(pid));
	fixture_wait(f, GW_KEEPER_CLOSED);
	fixture_reap(f);
	fixture_start(f); /* and it is on record */
	fixture_send_spawn(f, id, "true", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->signal, SIGTERM);
}

static void runs_many(void **state)
{
	struct fixture *f = *state;
	uint32_t exited = 0;

	fixture_start(f);
	for (uint64_t i = 0; i < 60; i++)
		fixture_send_spawn(f, fixture_id(1000 + i), "echo $$; exit 3", NULL);
	while (exited < 60) {
		fixture_wait(f, GW_KEEPER_EXITED);
		assert_int_equal(f->exit_code, 3);
		exited++;
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tells_status_and_output),
		TEST(tells_the_signal),
		TEST(gives_what_was_asked),
		TEST(limits_come_from_the_start),
		TEST(a_user_raises_no_limit),
		TEST(runs_as_another_user),
		TEST(says_why_a_start_failed),
		TEST(starts_an_attempt_once),
		TEST(refuses_a_start_after_its_kill),
		TEST(tells_usage_so_far),
		TEST(ends_gently),
		TEST(ends_the_stubborn_after_the_grace),
		TEST(ends_at_once_without_grace),
		TEST(leaves_nobody_behind_in_a_cgroup),
		TEST(leaves_nobody_behind_after_a_kill),
		TEST(leaves_nobody_behind_without_cgroups),
		TEST(ends_its_tasks_before_itself),
		TEST(runs_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
