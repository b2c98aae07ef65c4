/* Lives that end in the middle: the agent's, the keeper's, the disk's good will. */
#include <errno.h>
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
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/keeper/protocol.h"
#include "agent/keeper/starter.h"
#include "proto/base/time.h"
#include "proto/wire.h"
#include "tests/unit/keeper_fixture.h"

#define EXITED GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED
#define LOST GODWIT__ATTEMPT_STATE__ATTEMPT_LOST
#define RUNNING GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING

/* An agent of its own, so that it can be killed. Tells over the pipe when the task runs. */
static void be_agent(struct fixture *f, struct gw_attempt_id id, int ready_fd)
{
	f->client = gw_keeper_client_new();
	if (gw_keeper_client_connect(f->client, f->socket))
		_exit(1);
	fixture_wait(f, GW_KEEPER_LISTED);
	fixture_spawn(f, id, "mkfifo fifo; echo before; read line < fifo; echo $line", NULL);
	/* A read that is held open when this agent dies. */
	(void)gw_keeper_read(f->client, 77, &id, 1, 100, 100, 60000000);
	(void)!write(ready_fd, "r", 1);
	for (;;)
		(void)pause();
}

static void outlives_its_agent(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(1);
	char path[256];
	char text[256];
	int ready[2];
	char byte;
	pid_t agent;
	uint32_t pid;
	int fd;

	fixture_start(f);
	assert_int_equal(pipe(ready), 0);
	agent = fork();
	assert_true(agent >= 0);
	if (agent == 0) {
		(void)close(ready[0]);
		be_agent(f, id, ready[1]);
	}
	(void)close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(kill(agent, SIGKILL), 0);
	(void)waitpid(agent, NULL, 0);
	(void)close(ready[0]);
	/* The next agent hears of the task at connect, and it is the same one. */
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	pid = f->pid;
	assert_int_equal(f->state_seen, RUNNING);
	assert_false(fixture_gone((pid_t)pid));
	(void)snprintf(path, sizeof(path), "%s/work/00000007000000010000000000000001.3.1/fifo",
		       f->state);
	fixture_read(f, id, 1, 0, 5000000); /* the FIFO is there */
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "after\n", 6), 6);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	(void)close(fd);
	assert_int_equal(f->pid, pid);
	(void)fixture_output(f, id, 1, 0, text, sizeof(text));
	assert_string_equal(text, "before\nafter\n");
}

static void set_short_lease(Godwit__KeeperSpawn *spawn)
{
	spawn->start->lease_us = 1;
}

static void set_long_lease(Godwit__KeeperSpawn *spawn)
{
	spawn->start->lease_us = 3600 * GW_US_PER_S;
}

static void set_past_lease(Godwit__KeeperSpawn *spawn)
{
	spawn->start->lease_us = 1;
	spawn->start->lease_from_us = 1;
}

/* An agent that was stopped hands a start on when its task may run elsewhere already. */
static void refuses_a_start_after_its_lease(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(1);

	fixture_start(f);
	fixture_send_spawn(f, id, "exec sleep 1000", set_past_lease);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	assert_int_equal(f->state_seen, GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START);
	assert_string_equal(f->error, "its lease was over when it came to be started");
}

/* Whoever is connected, or nobody: what outlives its lease is ended. */
static void ends_leases(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id brief = fixture_id(1);
	struct gw_attempt_id lasting = fixture_id(2);

	fixture_start(f);
	fixture_send_spawn(f, lasting, "exec sleep 1000", set_long_lease);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, lasting);
	assert_int_equal(gw_keeper_renew(f->client, ++f->request, 0), 0);
	fixture_wait(f, GW_KEEPER_LISTED);
	fixture_send_spawn(f, brief, "exec sleep 1000", set_short_lease);
	fixture_wait_for(f, GW_KEEPER_EXITED, brief);
	assert_int_equal(f->signal, SIGKILL);
	assert_int_equal(f->state_seen, LOST);
	assert_string_equal(f->error, "its lease ended");
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &lasting, 0, false), 0);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, lasting); /* it was running until now */
	fixture_wait_for(f, GW_KEEPER_EXITED, lasting);
	assert_int_equal(f->state_seen, EXITED);
}

/* An agent ends it in time, and the keeper that finds the record says why. */
static void tells_why_a_lease_was_ended(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(1);

	fixture_start(f);
	fixture_spawn(f, id, "trap 'exit 0' TERM; while :; do sleep 0.01; done", NULL);
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 60 * GW_US_PER_S, true), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, LOST);
	fixture_kill9(f);
	fixture_start(f);
	fixture_send_spawn(f, id, "echo doubled", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, LOST);
	assert_string_equal(f->error, "its lease ended");
}

static bool is_stopped(void *data)
{
	const struct fixture *f = data;
	char path[64];
	char text[512] = "";
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", f->keeper);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	(void)fclose(file);
	return strstr(text, ") T ") != NULL;
}

/* A keeper that was stopped finds a lease over, and its renewal last of much that was said. */
static void hears_before_it_ends_a_lease(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(1);

	fixture_start(f);
	assert_int_equal(kill(f->keeper, SIGSTOP), 0);
	assert_true(fixture_until(is_stopped, f));
	fixture_send_spawn(f, id, "exec sleep 1000", set_short_lease);
	for (int i = 0; i < 40; i++)
		assert_int_equal(gw_keeper_renew(f->client, ++f->request, 0), 0);
	assert_int_equal(gw_keeper_renew(f->client, ++f->request, UINT64_MAX / 2), 0);
	assert_int_equal(kill(f->keeper, SIGCONT), 0);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 0, false), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, EXITED);
	assert_string_equal(f->error, "");
}

/* A renewal counts for leases that began before it, and for nobody longer than it says. */
static void renews_leases(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(1);
	struct timespec now;
	uint64_t now_us;

	fixture_start(f);
	assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &now), 0);
	now_us = (uint64_t)now.tv_sec * GW_US_PER_S + (uint64_t)now.tv_nsec / 1000;
	assert_int_equal(gw_keeper_renew(f->client, ++f->request, now_us + 3600 * GW_US_PER_S), 0);
	fixture_wait(f, GW_KEEPER_LISTED);
	fixture_send_spawn(f, id, "exec sleep 1000", set_short_lease);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	f->client = gw_keeper_client_free(f->client); /* the agent dies */
	f->client = gw_keeper_client_new();
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	assert_int_equal(f->state_seen, RUNNING);
}

/* A connection that hears of no attempt before the end of the list. */
static void check_nothing_told(struct fixture *f)
{
	struct gw_keeper_event event;

	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	do {
		gw_keeper_client_next(f->client, &event);
		assert_int_not_equal(event.kind, GW_KEEPER_EXITED);
		assert_int_not_equal(event.kind, GW_KEEPER_CLOSED);
	} while (event.kind != GW_KEEPER_LISTED);
}

static void tells_an_exit_until_it_is_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(2);
	char path[256];

	fixture_start(f);
	fixture_spawn(f, id, "exit 5", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
		fixture_wait_for(f, GW_KEEPER_EXITED, id);
		assert_int_equal(f->exit_code, 5);
	}
	fixture_kill9(f); /* the record was durable before it was told */
	fixture_start(f);
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, EXITED);
	assert_int_equal(f->exit_code, 5);
	fixture_wait(f, GW_KEEPER_LISTED);
	assert_int_equal(gw_keeper_acknowledge(f->client, ++f->request, &id, false), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	check_nothing_told(f);
	fixture_kill9(f);
	fixture_start(f);
	check_nothing_told(f);
	fixture_read(f, id, 1, 0, 0); /* yet its output is there */
	assert_true(f->end);
	assert_int_equal(gw_keeper_acknowledge(f->client, ++f->request, &id, true), 0);
	fixture_wait(f, GW_KEEPER_LISTED);
	assert_int_equal(f->answered, f->request);
	(void)snprintf(path, sizeof(path), "%s/attempts/00000007000000010000000000000002.3.1",
		       f->state);
	assert_int_equal(access(path, F_OK), -1);
	/* Forgotten, yet not to be started again. */
	fixture_send_spawn(f, id, "true", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE);
	/* Forgetting twice is no error. */
	assert_int_equal(gw_keeper_acknowledge(f->client, ++f->request, &id, true), 0);
	fixture_wait(f, GW_KEEPER_LISTED);
}

static void refuses_to_forget_what_runs(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(3);
	struct gw_keeper_event event;

	fixture_start(f);
	fixture_spawn(f, id, "exec sleep 1000", NULL);
	assert_int_equal(gw_keeper_acknowledge(f->client, 9, &id, true), 0);
	do
		gw_keeper_client_next(f->client, &event);
	while (event.kind == GW_KEEPER_NONE);
	assert_int_equal(event.kind, GW_KEEPER_REFUSED);
	assert_int_equal(event.request, 9);
	assert_string_equal(event.error, "this attempt has not ended yet");
}

/* --- the keeper's end --- */

static void finds_orphans(struct fixture *f, struct gw_attempt_id id)
{
	pid_t pids[2];
	char text[256];

	fixture_start(f);
	fixture_spawn(f, id,
		      "setsid sleep 1000 & echo $!; trap '' HUP PIPE TERM; "
		      "while :; do sleep 0.05; done",
		      NULL);
	pids[0] = (pid_t)f->pid;
	fixture_read(f, id, 1, 0, 5000000);
	assert_int_equal(sscanf((const char *)f->bytes, "%d", &pids[1]), 1);
	fixture_kill9(f);
	assert_false(fixture_gone(pids[0]));
	fixture_start(f);
	/* It listens only once they are ended. */
	for (int i = 0; i < 2; i++)
		assert_true(fixture_gone(pids[i]));
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, LOST);
	assert_string_equal(f->error, "lost with the keeper that ran it");
	(void)fixture_output(f, id, 1, 0, text, sizeof(text)); /* its output is still there */
	assert_int_equal(strtol(text, NULL, 10), pids[1]);
	fixture_send_spawn(f, id, "echo doubled", NULL); /* never a second time */
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, LOST);
	fixture_kill9(f); /* the next one tells the same */
	fixture_start(f);
	fixture_send_spawn(f, id, "echo doubled", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, LOST);
	assert_string_equal(f->error, "lost with the keeper that ran it");
}

static void ends_orphans_in_cgroups(void **state)
{
	finds_orphans(*state, fixture_id(4));
}

static void ends_orphans_without_cgroups(void **state)
{
	struct fixture *f = *state;

	f->extra[0] = "--cgroup";
	f->extra[1] = "none";
	finds_orphans(f, fixture_id(5));
}

static void tells_a_damaged_record_as_lost(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(6);
	char path[256];

	fixture_start(f);
	fixture_spawn(f, id, "exit 0", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	fixture_kill9(f);
	(void)snprintf(path, sizeof(path),
		       "%s/attempts/00000007000000010000000000000006.3.1/record", f->state);
	assert_int_equal(truncate(path, 11), 0);
	fixture_start(f);
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->state_seen, LOST);
	assert_non_null(strstr(f->error, "its record is damaged"));
}

/* Writes the attempt's record anew as if it had run before the host rebooted. */
static void age_record(const struct fixture *f, const char *name)
{
	uint8_t bytes[4096];
	uint8_t boot[GW_ID_BYTES] = {1, 2, 3};
	struct gw_arena arena;

	union {
		const void *from;
		Godwit__KeeperRecord *to; /* ours: it lies in the arena */
	} record;

	char path[256];
	size_t size;
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s/attempts/%s/record", f->state, name);
	file = fopen(path, "r+");
	assert_non_null(file);
	size = fread(bytes, 1, sizeof(bytes), file);
	gw_arena_init(&arena, 65536);
	record.from = gw_wire_decode(&godwit__keeper_record__descriptor, &arena, bytes, size);
	assert_non_null(record.from);
	record.to->status->boot_id = (ProtobufCBinaryData){sizeof(boot), boot};
	assert_int_equal(gw_wire_size(&record.to->base), size);
	gw_wire_encode(&record.to->base, bytes);
	rewind(file);
	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	gw_arena_deinit(&arena);
}

/* What a reboot ended is told apart from what a keeper's death ended. */
static void tells_a_reboot(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id ids[2] = {fixture_id(7), fixture_id(8)};

	fixture_start(f);
	for (int i = 0; i < 2; i++)
		fixture_spawn(f, ids[i], "exec sleep 1000", NULL);
	fixture_kill9(f);
	age_record(f, "00000007000000010000000000000007.3.1");
	fixture_start(f);
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	for (int i = 0; i < 2; i++) {
		fixture_wait(f, GW_KEEPER_EXITED);
		assert_int_equal(f->state_seen, LOST);
		assert_string_equal(f->error, gw_attempt_id_equal(f->attempt, ids[0])
						      ? "host rebooted"
						      : "lost with the keeper that ran it");
	}
}

/* --- the folder --- */

static void remove_state(const struct fixture *f)
{
	char command[256];

	(void)snprintf(command, sizeof(command), "rm -rf %s", f->state);
	assert_int_equal(system(command), 0);
}

/* A keeper whose folder was removed can keep nothing more: it tells what it has, and ends. */
static void ends_without_its_folder(struct fixture *f, bool told_to)
{
	struct gw_attempt_id id = fixture_id(9);

	fixture_start(f);
	fixture_spawn(f, id, "trap 'exit 5' TERM; while :; do sleep 0.05; done", NULL);
	remove_state(f);
	assert_int_equal(kill(told_to ? f->keeper : (pid_t)f->pid, SIGTERM), 0);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->exit_code, 5);
	assert_non_null(strstr(f->error, "its record and output were removed while it ran"));
	fixture_wait(f, GW_KEEPER_CLOSED);
	fixture_reap(f);
}

static void stops_without_its_folder(void **state)
{
	ends_without_its_folder(*state, true);
}

static void makes_room_for_a_keeper_with_a_folder(void **state)
{
	ends_without_its_folder(*state, false);
}

/* What nobody has noted stays, whatever its size; new work is what is refused. */
static void refuses_work_before_it_drops_results(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id late = fixture_id(24);
	struct gw_attempt_id noted = fixture_id(20);
	char text[8];

	f->extra[0] = "--output-total";
	f->extra[1] = "2500 KB";
	fixture_start(f);
	for (uint64_t i = 20; i < 23; i++) {
		fixture_spawn(f, fixture_id(i), "head -c 999999 /dev/zero; echo", NULL);
		fixture_wait_for(f, GW_KEEPER_EXITED, fixture_id(i));
	}
	fixture_send_spawn(f, late, "true", NULL);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, late);
	assert_int_equal(f->state_seen, GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START);
	assert_string_equal(f->error, "3000000 bytes of output of ended attempts wait to be "
				      "acknowledged; this keeper keeps 2500000");
	for (uint64_t i = 20; i < 23; i++) {
		fixture_read(f, fixture_id(i), 1, 999999, 0);
		assert_int_equal(f->size, 1);
	}
	assert_int_equal(gw_keeper_acknowledge(f->client, ++f->request, &noted, false), 0);
	fixture_send_spawn(f, late, "echo late", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, late);
	(void)fixture_output(f, late, 1, 0, text, sizeof(text));
	assert_string_equal(text, "late\n");
}

/* The output of an attempt that was acknowledged is there beside that of the one after it. */
static void keeps_earlier_attempts(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id ids[2] = {fixture_id(25), fixture_id(25)};
	char script[32];
	char text[16];

	fixture_start(f);
	for (uint32_t i = 0; i < 2; i++) {
		ids[i].attempt = i + 1;
		(void)snprintf(script, sizeof(script), "echo this is %u", i + 1);
		fixture_spawn(f, ids[i], script, NULL);
		fixture_wait_for(f, GW_KEEPER_EXITED, ids[i]);
		assert_int_equal(gw_keeper_acknowledge(f->client, ++f->request, &ids[i], false), 0);
		fixture_wait_for(f, GW_KEEPER_EXITED, ids[i]);
	}
	for (uint32_t i = 0; i < 2; i++) {
		(void)fixture_output(f, ids[i], 1, 0, text, sizeof(text));
		assert_memory_equal(text, "this is ", 8);
		assert_int_equal(text[8], '1' + (int)i);
	}
}

static void drops_acknowledged_output_first(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id ids[3] = {fixture_id(10), fixture_id(11), fixture_id(12)};
	char path[256];

	f->extra[0] = "--output-total";
	f->extra[1] = "2500 KB";
	fixture_start(f);
	for (int i = 0; i < 3; i++) {
		fixture_spawn(f, ids[i], "head -c 1000000 /dev/zero", NULL);
		fixture_wait_for(f, GW_KEEPER_EXITED, ids[i]);
		if (i == 1)
			assert_int_equal(
				gw_keeper_acknowledge(f->client, ++f->request, &ids[1], false), 0);
	}
	/* Three do not fit: the second, the only one noted by anybody, had to go. */
	for (int i = 0; i < 3; i++) {
		(void)snprintf(path, sizeof(path),
			       "%s/attempts/0000000700000001000000000000000%c.3.1", f->state,
			       "abc"[i]);
		assert_int_equal(access(path, F_OK), i == 1 ? -1 : 0);
	}
}

/* Runs a keeper that cannot start; gives its exit code and what it said. */
static int run_refused(const char *folder, const char *socket, char *ret_text, size_t size)
{
	int fds[2];
	int status;
	ssize_t count;
	size_t used = 0;
	pid_t pid;

	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		(void)dup2(fds[1], 2);
		(void)execl(getenv("GODWIT_KEEPER"), "godwit-keeper", "--state", folder, "--socket",
			    socket, (char *)NULL);
		_exit(127);
	}
	(void)close(fds[1]);
	while (used + 1 < size && (count = read(fds[0], ret_text + used, size - 1 - used)) > 0)
		used += (size_t)count;
	ret_text[used] = '\0';
	(void)close(fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void refuses_a_folder_that_is_not_its_own(void **state)
{
	struct fixture *f = *state;
	char path[512];
	char text[1024];

	assert_int_equal(mkdir(f->state, 0755), 0);
	assert_int_equal(run_refused(f->state, f->socket, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "closed to others"));
	(void)snprintf(path, sizeof(path), "%s/no/such/place", f->folder);
	assert_int_equal(run_refused(path, f->socket, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "cannot be made"));
	(void)snprintf(path, sizeof(path), "%s/file", f->folder);
	assert_true(close(open(path, O_WRONLY | O_CREAT, 0600)) == 0);
	assert_int_equal(run_refused(path, f->socket, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "cannot be opened"));
	assert_int_equal(chmod(f->state, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/no/socket/here", f->folder);
	assert_int_equal(run_refused(f->state, path, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "no socket at"));
}

static void is_alone_in_its_folder(void **state)
{
	struct fixture *f = *state;
	char text[1024];

	fixture_start(f);
	assert_int_equal(run_refused(f->state, f->socket, text, sizeof(text)), GW_KEEPER_EXIT_HELD);
	assert_non_null(strstr(text, "held by another keeper"));
	fixture_spawn(f, fixture_id(20), "true", NULL); /* and the first one was not disturbed */
}

/* --- very many tombstones --- */

#define KILLS (2u * GW_KEEPER_FENCES_MAX + 50u)
#define KILLS_BEFORE (KILLS - 100u)

/* As a keeper leaves them: job, task and attempt, 24 bytes each. */
static void put_fences(const struct fixture *f)
{
	char path[256];
	FILE *file;

	assert_int_equal(mkdir(f->state, 0700), 0);
	(void)snprintf(path, sizeof(path), "%s/fences", f->state);
	file = fopen(path, "w");
	assert_non_null(file);
	for (uint32_t i = 0; i < KILLS_BEFORE; i++) {
		struct gw_attempt_id id = fixture_id(i);
		static const uint8_t rest[8] = {0, 0, 0, 3, 0, 0, 0, 1};

		assert_int_equal(fwrite(&id.job, GW_ID_BYTES, 1, file), 1);
		assert_int_equal(fwrite(rest, sizeof(rest), 1, file), 1);
	}
	assert_int_equal(fputs("torn", file) < 0, 0);
	assert_int_equal(fclose(file), 0);
}

static void forgets_the_oldest_tombstones(void **state)
{
	struct fixture *f = *state;
	char path[256];
	struct stat stat_now;

	put_fences(f);
	fixture_start(f);
	for (uint32_t i = KILLS_BEFORE; i < KILLS; i++) {
		struct gw_attempt_id id = fixture_id(i);

		assert_int_equal(gw_keeper_kill(f->client, ++f->request, &id, 0, false), 0);
		fixture_wait_for(f, GW_KEEPER_EXITED, id);
	}
	(void)snprintf(path, sizeof(path), "%s/fences", f->state);
	for (uint32_t round = 0; round < 2; round++) {
		struct gw_attempt_id kept = fixture_id(KILLS - GW_KEEPER_FENCES_MAX);
		struct gw_attempt_id gone = fixture_id(round);

		assert_int_equal(stat(path, &stat_now), 0);
		assert_in_range(stat_now.st_size, 24 * GW_KEEPER_FENCES_MAX,
				25 * GW_KEEPER_FENCES_MAX); /* it was written anew */
		fixture_send_spawn(f, kept, "true", NULL);
		fixture_wait_for(f, GW_KEEPER_EXITED, kept);
		assert_int_equal(f->state_seen, GODWIT__ATTEMPT_STATE__ATTEMPT_TOMBSTONE);
		fixture_spawn(f, gone, "true", NULL);
		fixture_kill9(f);
		fixture_start(f);
	}
}

/* --- a disk that is full --- */

static bool mount_small(const struct fixture *f)
{
	assert_int_equal(mkdir(f->state, 0700), 0);
	return mount("tmpfs", f->state, "tmpfs", 0, "size=1M,mode=700") == 0;
}

/* Output is lost and counted, the task goes on, and its exit record has its place. */
static void survives_a_full_disk(void **state)
{
	struct fixture *f = *state;
	struct gw_attempt_id id = fixture_id(30);

	if (!mount_small(f)) {
		print_message("no right to mount a small file system\n");
		skip();
	}
	fixture_start(f);
	fixture_spawn(f, id, "head -c 5000000 /dev/zero; echo $? >&2; exit 4", NULL);
	fixture_wait_for(f, GW_KEEPER_EXITED, id);
	assert_int_equal(f->exit_code, 4);
	assert_int_equal(f->output_bytes, 5000002);
	assert_non_null(strstr(f->error, "bytes of its output could not be written"));
	fixture_send_spawn(f, fixture_id(31), "true", NULL);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, fixture_id(31));
	assert_int_equal(f->state_seen, GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START);
	assert_string_equal(f->error, "the task cannot be started: No space left on device");
	/* Room is made by forgetting, and the same attempt starts now. */
	assert_int_equal(gw_keeper_acknowledge(f->client, ++f->request, &id, true), 0);
	fixture_wait(f, GW_KEEPER_LISTED);
	do {
		fixture_send_spawn(f, fixture_id(31), "exit 6", NULL);
		fixture_wait_for(f, GW_KEEPER_SPAWNED, fixture_id(31));
	} while (f->error[0]); /* the removal is at work */
	fixture_wait_for(f, GW_KEEPER_EXITED, fixture_id(31));
	assert_int_equal(f->exit_code, 6);
}

static bool closed(void *data)
{
	struct gw_keeper_event event;

	gw_keeper_client_next(data, &event);
	return event.kind == GW_KEEPER_CLOSED;
}

#define STARTERS 4

/* A keeper that does not come up holds its starter for as long as that allows, and is ended. */
static void gives_up_on_a_hanging_keeper(void **state)
{
	struct fixture *f = *state;
	char path[512];
	char error[512];
	const struct gw_keeper_options options = {
		.program = path, .state = f->state, .socket = f->socket, .start_limit_us = 50000};
	FILE *file;

	(void)snprintf(path, sizeof(path), "%s.hangs", f->socket);
	file = fopen(path, "w");
	assert_non_null(file);
	(void)fputs("#!/bin/sh\nexec sleep 100000\n", file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, 0700), 0);
	assert_int_equal(gw_keeper_start(&options, error, sizeof(error)), -EIO);
	assert_memory_equal(error, "the keeper did not start", 24);
	assert_int_equal(unlink(path), 0);
}

static void starts_detached(void **state)
{
	struct fixture *f = *state;
	struct gw_keeper_options options = {
		.program = getenv("GODWIT_KEEPER"), .state = f->state, .socket = f->socket};
	const struct gw_keeper_options hopeless = {
		.program = options.program, .state = "/no/such/place", .socket = f->socket};
	struct gw_keeper_event event = {0};
	char error[256];
	pid_t starters[STARTERS];
	int status;
	pid_t pid;

	assert_int_not_equal(gw_keeper_start(&hopeless, error, sizeof(error)), 0);
	assert_non_null(strstr(error, "/no/such/place cannot be made"));
	for (int i = 0; i < STARTERS; i++) { /* all at once, and one keeper comes of it */
		starters[i] = fork();
		if (starters[i] == 0)
			_exit(gw_keeper_start(&options, error, sizeof(error)) ? 1 : 0);
	}
	for (int i = 0; i < STARTERS; i++) {
		assert_int_equal(waitpid(starters[i], &status, 0), starters[i]);
		assert_int_equal(status, 0);
	}
	assert_int_equal(gw_keeper_start(&options, error, sizeof(error)), 0); /* the same one */
	f->client = gw_keeper_client_new();
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	while (event.kind != GW_KEEPER_HELLO)
		gw_keeper_client_next(f->client, &event);
	pid = (pid_t)event.hello->pid;
	assert_int_equal(getsid(pid), pid);
	assert_int_equal(event.hello->boot_id.len, 16);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_true(fixture_until(closed, f->client));
	assert_true(fixture_wait_gone(pid));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(outlives_its_agent),
		TEST(refuses_a_start_after_its_lease),
		TEST(ends_leases),
		TEST(tells_why_a_lease_was_ended),
		TEST(hears_before_it_ends_a_lease),
		TEST(renews_leases),
		TEST(tells_an_exit_until_it_is_acknowledged),
		TEST(refuses_to_forget_what_runs),
		TEST(ends_orphans_in_cgroups),
		TEST(ends_orphans_without_cgroups),
		TEST(tells_a_damaged_record_as_lost),
		TEST(tells_a_reboot),
		TEST(stops_without_its_folder),
		TEST(makes_room_for_a_keeper_with_a_folder),
		TEST(refuses_work_before_it_drops_results),
		TEST(keeps_earlier_attempts),
		TEST(drops_acknowledged_output_first),
		TEST(refuses_a_folder_that_is_not_its_own),
		TEST(is_alone_in_its_folder),
		TEST(forgets_the_oldest_tombstones),
		TEST(survives_a_full_disk),
		TEST(gives_up_on_a_hanging_keeper),
		TEST(starts_detached),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
