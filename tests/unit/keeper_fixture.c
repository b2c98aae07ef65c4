/* Support of the keeper's tests: processes, events, deadlines. */
#include "tests/unit/keeper_fixture.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/wire.h"

static uint64_t now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (!f)
		return -1;
	(void)snprintf(f->folder, sizeof(f->folder), "/tmp/godwit-keeper-XXXXXX");
	if (!mkdtemp(f->folder))
		return -1;
	(void)snprintf(f->state, sizeof(f->state), "%s/state", f->folder);
	(void)snprintf(f->socket, sizeof(f->socket), "%s/socket", f->folder);
	*state = f;
	return 0;
}

void fixture_reap(struct fixture *f)
{
	while (f->keeper > 0 && waitpid(f->keeper, NULL, 0) < 0 && errno == EINTR)
		continue;
	f->keeper = 0;
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	char command[256];

	f->client = gw_keeper_client_free(f->client);
	if (f->keeper > 0)
		(void)kill(f->keeper, SIGTERM);
	fixture_reap(f);
	(void)umount2(f->state, MNT_DETACH); /* one test mounts there */
	(void)snprintf(command, sizeof(command), "rm -rf %s", f->folder);
	if (system(command))
		return -1;
	free(f);
	return 0;
}

static void exec_keeper(const struct fixture *f)
{
	const char *arguments[16] = {"godwit-keeper", "--state",  f->state,     "--socket",
				     f->socket,       "--cgroup", "godwit-test"};
	size_t count = 7;

	for (size_t i = 0; i < 4 && f->extra[i]; i++)
		arguments[count++] = f->extra[i];
	(void)execv(getenv("GODWIT_KEEPER"), (char *const *)(uintptr_t)arguments);
	_exit(127);
}

static bool listens(void *data)
{
	struct fixture *f = data;

	return gw_keeper_client_connect(f->client, f->socket) == 0;
}

void fixture_start(struct fixture *f)
{
	assert_non_null(getenv("GODWIT_KEEPER"));
	f->keeper = fork();
	assert_true(f->keeper >= 0);
	if (f->keeper == 0)
		exec_keeper(f);
	if (!f->client)
		f->client = gw_keeper_client_new();
	assert_non_null(f->client);
	assert_true(fixture_until(listens, f));
	fixture_wait(f, GW_KEEPER_LISTED);
}

void fixture_kill9(struct fixture *f)
{
	assert_int_equal(kill(f->keeper, SIGKILL), 0);
	fixture_reap(f);
}

void fixture_connect(struct fixture *f)
{
	assert_int_equal(gw_keeper_client_connect(f->client, f->socket), 0);
	fixture_wait(f, GW_KEEPER_LISTED);
}

struct gw_attempt_id fixture_id(uint64_t number)
{
	return (struct gw_attempt_id){
		.job = {gw_id_make(7, 1, number)}, .task_index = 3, .attempt = 1};
}

static void take_status(struct fixture *f, const Godwit__KeeperStatus *status)
{
	size_t used = 0;

	f->state_seen = status->task->state;
	f->pid = status->task->pid;
	f->exit_code = status->task->exit_code;
	f->signal = status->task->signal;
	f->oom = status->oom;
	f->not_enforced[0] = '\0';
	for (size_t i = 0; i < status->task->n_not_enforced; i++)
		used += (size_t)snprintf(f->not_enforced + used, sizeof(f->not_enforced) - used,
					 "%s\n", status->task->not_enforced[i]);
	if (!status->task->usage)
		return;
	f->cpu_us = status->task->usage->cpu_user_us + status->task->usage->cpu_system_us;
	f->memory_peak_bytes = status->task->usage->memory_peak_bytes;
	f->output_bytes = status->task->usage->output_bytes;
	f->wall_us = status->task->usage->wall_us;
}

static void take_event(struct fixture *f, const struct gw_keeper_event *event)
{
	f->attempt = event->attempt;
	f->answered = event->request;
	(void)snprintf(f->error, sizeof(f->error), "%s", event->error ? event->error : "");
	if (event->status)
		take_status(f, event->status);
	if (!event->output)
		return;
	f->size = event->output->log->data.len;
	assert_true(f->size <= sizeof(f->bytes));
	if (f->size)
		memcpy(f->bytes, event->output->log->data.data, f->size);
	f->offset = event->output->log->offset;
	f->next_offset = event->output->next_offset;
	f->first_kept_offset = event->output->first_kept_offset;
	f->end_offset = event->output->end_offset;
	f->end = event->output->log->end;
}

/* The next event of this kind, of this attempt if one is given. */
static void wait_event(struct fixture *f, enum gw_keeper_event_kind kind,
		       const struct gw_attempt_id *id)
{
	uint64_t deadline_ms = now_ms() + FIXTURE_MS;

	for (;;) {
		struct gw_keeper_event event;
		struct pollfd poll_fd;

		gw_keeper_client_next(f->client, &event);
		if (event.kind == kind && (!id || gw_attempt_id_equal(*id, event.attempt))) {
			take_event(f, &event);
			return;
		}
		if (event.kind == GW_KEEPER_CLOSED)
			fail_msg("the connection was lost: %s", event.error);
		if (event.kind == GW_KEEPER_REFUSED)
			fail_msg("refused: %s", event.error);
		if (event.kind != GW_KEEPER_NONE)
			continue;
		poll_fd.fd = gw_keeper_client_fd(f->client);
		poll_fd.events = POLLIN;
		if (gw_keeper_client_wants_write(f->client))
			poll_fd.events |= POLLOUT;
		if (now_ms() >= deadline_ms)
			fail_msg("no event of kind %d came", (int)kind);
		(void)poll(&poll_fd, 1, 100);
	}
}

void fixture_wait(struct fixture *f, enum gw_keeper_event_kind kind)
{
	wait_event(f, kind, NULL);
}

void fixture_wait_for(struct fixture *f, enum gw_keeper_event_kind kind, struct gw_attempt_id id)
{
	wait_event(f, kind, &id);
}

static void send_script(struct fixture *f, struct gw_attempt_id id, const char *script,
			Godwit__Resources *resources, void (*edit)(Godwit__KeeperSpawn *spawn))
{
	Godwit__KeeperSpawn spawn = GODWIT__KEEPER_SPAWN__INIT;
	Godwit__TaskStart start = GODWIT__TASK_START__INIT;
	Godwit__AttemptRef ref;
	char *arguments[3];
	char shell[] = "sh";
	char option[] = "-c";

	arguments[0] = shell;
	arguments[1] = option;
	arguments[2] = strdup(script);
	gw_wire_attempt(&id, &ref);
	start.attempt = &ref;
	start.arguments = arguments;
	start.n_arguments = 3;
	start.resources = resources;
	spawn.start = &start;
	if (edit)
		edit(&spawn);
	assert_int_equal(gw_keeper_spawn(f->client, ++f->request, &spawn), 0);
	free(arguments[2]);
}

void fixture_spawn(struct fixture *f, struct gw_attempt_id id, const char *script,
		   Godwit__Resources *resources)
{
	send_script(f, id, script, resources, NULL);
	fixture_wait_for(f, GW_KEEPER_SPAWNED, id);
	assert_string_equal(f->error, "");
}

void fixture_send_spawn(struct fixture *f, struct gw_attempt_id id, const char *script,
			void (*edit)(Godwit__KeeperSpawn *spawn))
{
	send_script(f, id, script, NULL, edit);
}

void fixture_read(struct fixture *f, struct gw_attempt_id id, uint32_t stream, uint64_t offset,
		  uint32_t wait_us)
{
	assert_int_equal(
		gw_keeper_read(f->client, ++f->request, &id, stream, offset, 65536, wait_us), 0);
	fixture_wait(f, GW_KEEPER_OUTPUT);
	assert_int_equal(f->answered, f->request);
	assert_true(gw_attempt_id_equal(f->attempt, id));
	assert_string_equal(f->error, "");
}

size_t fixture_output(struct fixture *f, struct gw_attempt_id id, uint32_t stream, uint64_t offset,
		      char *ret_text, size_t size)
{
	size_t used = 0;

	for (;;) {
		fixture_read(f, id, stream, offset, 5000000);
		assert_true(used + f->size < size);
		memcpy(ret_text + used, f->bytes, f->size);
		used += f->size;
		offset = f->next_offset;
		if (f->end)
			break;
	}
	ret_text[used] = '\0';
	return used;
}

bool fixture_until(bool (*condition)(void *data), void *data)
{
	uint64_t deadline_ms = now_ms() + FIXTURE_MS;

	while (!condition(data)) {
		if (now_ms() >= deadline_ms)
			return false;
		(void)poll(NULL, 0, 2);
	}
	return true;
}

bool fixture_gone(pid_t pid)
{
	char path[64];
	char state = 'X';
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	file = fopen(path, "r");
	if (!file)
		return true;
	if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
		state = 'X';
	(void)fclose(file);
	return state == 'Z' || state == 'X';
}

static bool gone(void *data)
{
	return fixture_gone(*(pid_t *)data);
}

bool fixture_wait_gone(pid_t pid)
{
	return fixture_until(gone, &pid);
}
