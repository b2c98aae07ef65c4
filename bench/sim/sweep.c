/*
 * Each process takes every n-th seed. It says that it begins a seed and what came of it; when it
 * dies in between, the parent knows the seed and starts another process behind it.
 */
#include "bench/sim/sweep.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench/sim/grid.h"
#include "proto/base/check.h"

static uint64_t clock_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail for this clock */
	return (uint64_t)now.tv_sec * GW_US_PER_S + (uint64_t)now.tv_nsec / 1000;
}

struct sim_outcome sim_run(const struct sim_scenario *scenario, uint64_t seed, enum sim_bug bug,
			   FILE *transcript)
{
	struct sim_outcome outcome = {.seed = seed, .finished = true};
	uint64_t began_us = clock_us();
	struct sim_grid *grid = sim_grid_new(scenario, seed, bug, transcript);

	outcome.good = sim_grid_run(grid);
	outcome.wall_us = clock_us() - began_us;
	outcome.hash = grid->world.hash;
	outcome.events = grid->world.event_count;
	outcome.virtual_us = grid->world.now_us;
	outcome.jobs = grid->client.order_count;
	outcome.attempts = grid->check.began_count;
	outcome.again = grid->check.again_count;
	outcome.records = grid->scheduler.journal.count;
	outcome.scans = grid->check.scan_count;
	for (uint32_t i = 0; i < grid->client.order_count; i++)
		outcome.refused += grid->client.orders[i]->refused;
	for (uint32_t i = 0; i < grid->agent_count; i++)
		outcome.messages += grid->agents[i].session.delivered_count;
	memcpy(outcome.fault, grid->world.fault, sizeof(outcome.fault));
	(void)sim_grid_free(grid);
	return outcome;
}

struct lane {
	pid_t pid; /* 0: done */
	int fd;
	uint64_t next; /* seed that it is at, or begins next */
	size_t filled; /* of outcome */
	struct sim_outcome outcome;
};

static void run_lane(const struct sim_sweep *sweep, uint64_t from, int fd)
{
	for (uint64_t seed = from; seed <= sweep->last; seed += sweep->process_count) {
		struct sim_outcome outcome = sim_run(sweep->scenario, seed, sweep->bug, NULL);

		if (write(fd, &outcome, sizeof(outcome)) != (ssize_t)sizeof(outcome))
			_exit(1); /* the parent is gone */
		if (sweep->last - seed < sweep->process_count)
			break;
	}
	_exit(0);
}

static int start_lane(const struct sim_sweep *sweep, struct lane *lane)
{
	int ends[2];

	if (pipe(ends) < 0)
		return -errno;
	lane->pid = fork();
	if (lane->pid < 0) {
		int error = -errno;

		(void)close(ends[0]); /* unused */
		(void)close(ends[1]);
		lane->pid = 0;
		return error;
	}
	if (lane->pid == 0) {
		(void)close(ends[0]); /* the parent's */
		run_lane(sweep, lane->next, ends[1]);
	}
	(void)close(ends[1]); /* the child's */
	lane->fd = ends[0];
	lane->filled = 0;
	return 0;
}

/* The process is gone: either its seeds are done, or it died in the run of `next`. */
static int end_lane(const struct sim_sweep *sweep, struct lane *lane)
{
	int status = 0;

	(void)close(lane->fd); /* read to its end */
	while (waitpid(lane->pid, &status, 0) < 0 && errno == EINTR)
		;
	lane->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	lane->outcome = (struct sim_outcome){.seed = lane->next};
	(void)snprintf(lane->outcome.fault, sizeof(lane->outcome.fault),
		       "the process ended in the middle: %s",
		       WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit");
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

int sim_sweep_run(const struct sim_sweep *sweep)
{
	struct lane *lanes = calloc(sweep->process_count, sizeof(*lanes));
	struct pollfd fds[SIM_PROCESSES_MAX];
	int result = 0;

	CHECK(sweep->process_count > 0);
	CHECK(sweep->process_count <= SIM_PROCESSES_MAX);
	CHECK(lanes);

	for (uint32_t i = 0; i < sweep->process_count && result == 0; i++) {
		lanes[i].next = sweep->first + i;
		if (lanes[i].next <= sweep->last)
			result = start_lane(sweep, &lanes[i]);
	}
	for (;;) {
		bool busy = false;

		for (uint32_t i = 0; i < sweep->process_count; i++) {
			fds[i] = (struct pollfd){.fd = lanes[i].pid ? lanes[i].fd : -1,
						 .events = POLLIN};
			busy = busy || lanes[i].pid;
		}
		if (!busy)
			break;
		if (poll(fds, sweep->process_count, -1) < 0)
			continue; /* a signal */
		for (uint32_t i = 0; i < sweep->process_count; i++) {
			if (lanes[i].pid && fds[i].revents) {
				int error = read_lane(sweep, &lanes[i]);

				if (error < 0) {
					lanes[i].pid = 0; /* its pipe cannot be read */
					result = error;
				}
			}
		}
	}
	free(lanes);
	return result;
}
