/*
 * Each process takes every n-th seed and says what came of each. When it dies in between, the
 * parent knows the seed, finds what it last wrote to its standard error (a CHECK's sentence) and
 * starts another process behind it.
 */
#include "bench/sim/sweep.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/sim/grid.h"
#include "bench/sim/plan.h"
#include "proto/base/check.h"

#define PLAN_BYTES_MAX (8u << 20)
#define KEY_WORDS_MAX 16u

static uint64_t clock_us(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now); /* cannot fail for these clocks */
	return (uint64_t)now.tv_sec * GW_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

static void read_outcome(const struct sim_grid *grid, struct sim_outcome *ret_outcome)
{
	ret_outcome->hash = grid->world.hash;
	ret_outcome->events = grid->world.event_count;
	ret_outcome->virtual_us = grid->world.now_us;
	ret_outcome->jobs = grid->client.order_count;
	ret_outcome->attempts = grid->check.began_count;
	ret_outcome->again = grid->check.again_count;
	ret_outcome->records = grid->scheduler.journal.told_seq;
	ret_outcome->scans = grid->check.scan_count;
	ret_outcome->coverage = grid->world.coverage;
	for (uint32_t i = 0; i < grid->client.order_count; i++)
		ret_outcome->refused += grid->client.orders[i]->refused;
	for (uint32_t i = 0; i < grid->agent_count; i++)
		ret_outcome->messages += grid->agents[i].session.delivered_count;
	memcpy(ret_outcome->fault, grid->world.fault, sizeof(ret_outcome->fault));
}

struct sim_outcome sim_run(const struct sim_scenario *scenario, uint64_t seed, enum sim_bug bug,
			   FILE *transcript)
{
	struct sim_outcome outcome = {.seed = seed, .finished = true};
	uint64_t began_us = clock_us(CLOCK_MONOTONIC);
	uint64_t cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID);
	struct sim_scenario concrete;
	struct gw_arena arena;
	struct sim_grid *grid;

	gw_arena_init(&arena, PLAN_BYTES_MAX);
	sim_plan_draw(scenario, seed, &arena, &concrete);
	grid = sim_grid_new(&concrete, seed, bug, transcript);
	outcome.good = sim_grid_run(grid);
	read_outcome(grid, &outcome);
	(void)sim_grid_free(grid);
	gw_arena_deinit(&arena);
	outcome.wall_us = clock_us(CLOCK_MONOTONIC) - began_us;
	outcome.cpu_us = clock_us(CLOCK_PROCESS_CPUTIME_ID) - cpu_us;
	return outcome;
}

void sim_fault_key(const char *fault, char ret_key[SIM_KEY_BYTES])
{
	size_t used = 0;

	for (unsigned words = 0; *fault && words < KEY_WORDS_MAX; words++) {
		size_t length = strcspn(fault, " ");
		bool digit = false;

		for (size_t i = 0; i < length; i++)
			digit = digit || isdigit((unsigned char)fault[i]);
		if (!digit && length > 0 && used + length + 2 < SIM_KEY_BYTES) {
			memcpy(ret_key + used, fault, length);
			used += length;
			ret_key[used++] = ' ';
		}
		fault += length;
		fault += strspn(fault, " ");
	}
	ret_key[used > 0 ? used - 1 : 0] = '\0';
}

struct lane {
	pid_t pid; /* 0: done */
	int fd;
	int said;      /* a file in memory with what the process wrote to its standard error */
	uint64_t next; /* seed that it is at, or begins next */
	size_t filled; /* of outcome */
	struct sim_outcome outcome;
};

static bool write_all(int fd, const void *bytes, size_t size)
{
	const char *at = bytes;

	while (size > 0) {
		ssize_t count = write(fd, at, size);

		if (count < 0)
			return false;
		at += count;
		size -= (size_t)count;
	}
	return true;
}

static void run_lane(const struct sim_sweep *sweep, uint64_t from, int fd)
{
	for (uint64_t seed = from; seed <= sweep->last; seed += sweep->process_count) {
		struct sim_outcome outcome;

		(void)alarm(sweep->limit_s); /* SIGALRM ends the process */
		outcome = sim_run(sweep->scenario, seed, sweep->bug, NULL);
		if (!write_all(fd, &outcome, sizeof(outcome)))
			_exit(1); /* the parent is gone */
		if (sweep->last - seed < sweep->process_count)
			break;
	}
	_exit(0);
}

static int start_lane(const struct sim_sweep *sweep, struct lane *lane)
{
	int ends[2];
	int error;

	if (pipe(ends) < 0)
		return -errno;
	lane->said = memfd_create("said", MFD_CLOEXEC);
	lane->pid = lane->said < 0 ? -1 : fork();
	if (lane->pid < 0) {
		error = -errno;
		if (lane->said >= 0)
			(void)close(lane->said); /* unused */
		(void)close(ends[0]);
		(void)close(ends[1]);
		lane->pid = 0;
		return error;
	}
	if (lane->pid == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* or it would only run in vain */
		(void)signal(SIGINT, SIG_IGN);          /* the parent decides */
		(void)dup2(lane->said, STDERR_FILENO);
		(void)close(ends[0]); /* the parent's */
		run_lane(sweep, lane->next, ends[1]);
	}
	(void)close(ends[1]); /* the child's */
	lane->fd = ends[0];
	lane->filled = 0;
	return 0;
}

/* The first line of what the process said, or how it ended. */
static void read_last_words(const struct sim_sweep *sweep, const struct lane *lane, int status,
			    char *ret_text, size_t size)
{
	ssize_t count = pread(lane->said, ret_text, size - 1, 0);

	ret_text[count > 0 ? count : 0] = '\0';
	ret_text[strcspn(ret_text, "\n")] = '\0';
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
		(void)snprintf(ret_text, size, "the run did not come to an end within %u s",
			       sweep->limit_s);
	else if (!*ret_text)
		(void)snprintf(ret_text, size, "the process ended in the middle: %s",
			       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
}

static int reap(struct lane *lane)
{
	int status = 0;

	while (waitpid(lane->pid, &status, 0) < 0 && errno == EINTR)
		;
	lane->pid = 0;
	(void)close(lane->fd); /* read to its end, or not wanted */
	return status;
}

/* The process is gone: either its seeds are done, or it died in the run of `next`. */
static int end_lane(const struct sim_sweep *sweep, struct lane *lane)
{
	int status = reap(lane);
	bool good = WIFEXITED(status) && WEXITSTATUS(status) == 0;

	lane->outcome = (struct sim_outcome){.seed = lane->next};
	if (!good)
		read_last_words(sweep, lane, status, lane->outcome.fault,
				sizeof(lane->outcome.fault));
	(void)close(lane->said); /* read */
	if (good)
		return 0;
	sweep->done(&lane->outcome, sweep->context);
	lane->next += sweep->process_count;
	return lane->next <= sweep->last ? start_lane(sweep, lane) : 0;
}

static int read_lane(const struct sim_sweep *sweep, struct lane *lane)
{
	char *at = (char *)&lane->outcome + lane->filled;
	ssize_t count = read(lane->fd, at, sizeof(lane->outcome) - lane->filled);

	if (count < 0)
		return errno == EINTR ? 0 : -errno;
	if (count == 0)
		return end_lane(sweep, lane);
	lane->filled += (size_t)count;
	if (lane->filled == sizeof(lane->outcome)) {
		lane->filled = 0;
		lane->next = lane->outcome.seed + sweep->process_count;
		sweep->done(&lane->outcome, sweep->context);
	}
	return 0;
}

/* Waits for outcomes and takes them. 1: there is more to come; 0: all done; negative errno. */
static int poll_lanes(const struct sim_sweep *sweep, struct lane *lanes)
{
	struct pollfd fds[SIM_PROCESSES_MAX];
	bool busy = false;

	for (uint32_t i = 0; i < sweep->process_count; i++) {
		fds[i] = (struct pollfd){.fd = lanes[i].pid ? lanes[i].fd : -1, .events = POLLIN};
		busy = busy || lanes[i].pid;
	}
	if (!busy)
		return 0;
	if (poll(fds, sweep->process_count, -1) < 0)
		return errno == EINTR ? 1 : -errno;
	for (uint32_t i = 0; i < sweep->process_count; i++) {
		int result = fds[i].revents ? read_lane(sweep, &lanes[i]) : 0;

		if (result < 0)
			return result;
	}
	return 1;
}

int sim_sweep_run(const struct sim_sweep *sweep)
{
	struct lane *lanes = calloc(sweep->process_count, sizeof(*lanes));
	int result = 1;

	CHECK(sweep->process_count > 0);
	CHECK(sweep->process_count <= SIM_PROCESSES_MAX);
	CHECK(lanes);

	for (uint32_t i = 0; i < sweep->process_count && result == 1; i++) {
		int error = 0;

		lanes[i].next = sweep->first + i;
		if (lanes[i].next <= sweep->last)
			error = start_lane(sweep, &lanes[i]);
		if (error < 0)
			result = error;
	}
	while (result == 1)
		result = sweep->stop && *sweep->stop ? -EINTR : poll_lanes(sweep, lanes);
	for (uint32_t i = 0; i < sweep->process_count; i++) {
		if (lanes[i].pid) {
			(void)kill(lanes[i].pid, SIGKILL); /* ours, and not reaped yet */
			(void)reap(&lanes[i]);
			(void)close(lanes[i].said); /* not wanted */
		}
	}
	free(lanes);
	return result;
}
