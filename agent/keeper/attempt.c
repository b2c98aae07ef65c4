/*
 * One attempt from fork to record. Its end takes several turns of the loop: the child is waited
 * for, then all that it left behind is killed and waited for, then the streams run dry, then the
 * record is written; only then is anybody told.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/attempts.h"
#include "agent/keeper/launch.h"
#include "agent/keeper/orphans.h"
#include "agent/keeper/request.h"
#include "proto/base/check.h"
#include "proto/base/time.h"

#define SWEEP_US_MIN 1000u
#define SWEEP_US_MAX 200000u
#define SWEEP_DEADLINE_US (5 * GW_US_PER_S)
#define RESERVE_BYTES 8192u  /* an exit record with its longest sentences */
#define RETRY_US GW_US_PER_S /* of a record that the disk refused */

static void settle_start(struct gw_attempt *attempt);
static void sweep(struct gw_attempt *attempt);

#define BIT(state) (1u << GODWIT__ATTEMPT_STATE__ATTEMPT_##state)

/* What may follow what; what is absent is an end. */
static const uint32_t next_states[] = {
	[GODWIT__ATTEMPT_STATE__ATTEMPT_UNKNOWN] = BIT(STARTING),
	[GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING] = BIT(RUNNING) | BIT(FAILED_TO_START) | BIT(LOST),
	[GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING] = BIT(EXITED) | BIT(LOST),
};

void gw_attempt_set_state(struct gw_attempt *attempt, Godwit__AttemptState next)
{
	CHECK((size_t)attempt->state < GW_ARRAY_COUNT(next_states));
	CHECK(next_states[attempt->state] & 1u << next);
	attempt->state = next;
}

bool gw_attempt_ended(const struct gw_attempt *attempt)
{
	return attempt->state != GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING &&
	       attempt->state != GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING;
}

void gw_attempt_untouch(struct gw_attempt *attempt)
{
	if (attempt->change)
		TAILQ_REMOVE(&attempt->set->changes, attempt, changes);
	attempt->change = 0;
}

void gw_attempt_touch(struct gw_attempt *attempt)
{
	struct gw_attempts *set = attempt->set;

	gw_attempt_untouch(attempt);
	TAILQ_INSERT_TAIL(&set->changes, attempt, changes);
	attempt->change = ++set->change_last;
	if (set->changed)
		set->changed(set, attempt);
}

void gw_attempt_note_error(struct gw_attempt *attempt, const char *format, ...)
{
	char *earlier = attempt->error;
	char *text;
	va_list arguments;
	int size;

	va_start(arguments, format);
	size = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (size < 0)
		return; /* out of memory: the state says enough */
	attempt->error = text;
	if (earlier && asprintf(&text, "%s; %s", earlier, attempt->error) >= 0) {
		free(attempt->error);
		attempt->error = text;
	}
	free(earlier);
}

void gw_attempt_free(struct gw_attempt *attempt)
{
	struct gw_attempts *set = attempt->set;

	gw_attempt_untouch(attempt);
	gw_loop_cancel(set->loop, &attempt->timer);
	gw_loop_close(set->loop, &attempt->start_pipe);
	for (unsigned i = 0; i < 2; i++)
		gw_output_deinit(&attempt->outputs[i]);
	if (attempt->folder_fd >= 0)
		(void)close(attempt->folder_fd);
	gw_notes_deinit(&attempt->not_enforced);
	free(attempt->error);
	free(attempt);
}

unsigned gw_attempt_kill_all(const struct gw_attempt *attempt)
{
	char name[GW_STORE_NAME_BYTES];

	gw_store_name(&attempt->id, name);
	if (attempt->in_cgroup)
		return gw_cgroup_kill(&attempt->set->cgroup, name);
	return gw_orphans_kill(attempt->pid, name);
}

void gw_attempt_terminate(struct gw_attempt *attempt, uint64_t grace_us)
{
	uint64_t at_us = gw_loop_now_us() + grace_us;

	if (!attempt->has_child)
		return; /* the sweep is on already */
	if (!grace_us) {
		(void)gw_attempt_kill_all(attempt);
	} else if (!attempt->timer.item.position) {
		if (kill(-attempt->pid, SIGTERM)) /* a child so young leads no group yet */
			(void)kill(attempt->pid, SIGTERM);
		(void)kill(-attempt->pid, SIGCONT); /* a stopped one hears it too */
	}
	/* Also after a KILL: something may have been forked meanwhile where there is no freezer. */
	if (!attempt->timer.item.position || at_us < attempt->timer.item.at_us)
		(void)gw_loop_set(attempt->set->loop, &attempt->timer, at_us);
}

void gw_attempt_end_lease(struct gw_attempt *attempt, uint64_t grace_us)
{
	if (!attempt->has_child)
		return; /* it has come to its own end */
	attempt->lease_ended = true;
	gw_attempt_terminate(attempt, grace_us);
}

static void timer_due(struct gw_timer *timer)
{
	struct gw_attempt *attempt = GW_CONTAINER_OF(timer, struct gw_attempt, timer);

	if (attempt->has_child)
		(void)gw_attempt_kill_all(attempt);
	else
		sweep(attempt);
}

/* --- start --- */

static struct gw_attempt *owner(struct gw_pump_stream *stream)
{
	return GW_CONTAINER_OF(stream - (stream->output->number - 1), struct gw_attempt,
			       streams[0]);
}

static void stream_moved(struct gw_pump_stream *stream)
{
	struct gw_attempt *attempt = owner(stream);

	if (attempt->set->moved)
		attempt->set->moved(attempt->set, attempt);
}

static void stream_ended(struct gw_pump_stream *stream)
{
	struct gw_attempt *attempt = owner(stream);

	if (attempt->sweep_us)
		(void)gw_loop_set(attempt->set->loop, &attempt->timer, gw_loop_now_us());
	else
		stream_moved(stream); /* readers learn of the end */
}

static void start_pipe_ready(struct gw_source *source, uint32_t events)
{
	(void)events;
	settle_start(GW_CONTAINER_OF(source, struct gw_attempt, start_pipe));
}

static void settle_start(struct gw_attempt *attempt)
{
	char error[GW_LAUNCH_ERROR_BYTES];
	int outcome = gw_launch_outcome(attempt->start_pipe.fd, error);

	if (outcome == -EAGAIN)
		return;
	gw_loop_close(attempt->set->loop, &attempt->start_pipe);
	if (outcome) {
		attempt->failed = true; /* told when the child is gone */
		gw_attempt_note_error(attempt, "%s", error);
		return;
	}
	gw_attempt_set_state(attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_RUNNING);
	gw_attempt_touch(attempt);
}

static size_t take_rlimits(const Godwit__KeeperSpawn *spawn, struct gw_rlimit *ret_rlimits)
{
	for (size_t i = 0; i < spawn->n_rlimits; i++) {
		const Godwit__KeeperRlimit *asked = spawn->rlimits[i];

		ret_rlimits[i] = (struct gw_rlimit){
			.name = asked->name,
			.resource = gw_rlimit_find(asked->name, strlen(asked->name), NULL),
			.soft = asked->soft,
			.hard = asked->hard,
		};
	}
	return spawn->n_rlimits;
}

static int fork_child(const Godwit__KeeperSpawn *spawn, const char *name, int work_fd,
		      struct gw_launched *ret_launched)
{
	const Godwit__TaskStart *start = spawn->start;
	struct gw_rlimit rlimits[GW_RLIMITS_MAX];
	char **arguments = calloc(start->n_arguments + 1, sizeof(*arguments));
	struct gw_launch launch = {
		.attempt = name,
		.arguments = arguments,
		.environment = start->environment,
		.environment_count = start->n_environment,
		.working_directory = work_fd < 0 ? start->working_directory : NULL,
		.work_fd = work_fd,
		.user = start->user && *start->user ? start->user : NULL,
		.rlimits = rlimits,
		.rlimit_count = take_rlimits(spawn, rlimits),
	};
	int result;

	if (!arguments)
		return -ENOMEM;
	memcpy(arguments, start->arguments, start->n_arguments * sizeof(*arguments));
	result = gw_launch_fork(&launch, ret_launched);
	free(arguments);
	return result;
}

static void enter_cgroup(struct gw_attempt *attempt, const Godwit__Resources *resources,
			 const char *name)
{
	struct gw_cgroup_limits limits = {0};

	if (resources) {
		limits.cpu_milli = resources->cpu_milli;
		limits.memory_bytes = resources->memory_bytes;
		limits.process_count = resources->process_count;
	}
	attempt->memory_limit_bytes = limits.memory_bytes;
	gw_cgroup_make(&attempt->set->cgroup, name, &limits, &attempt->not_enforced);
	attempt->in_cgroup =
		gw_cgroup_enter(&attempt->set->cgroup, name, attempt->pid, &attempt->not_enforced);
}

/* The record could not be written: the waiting child goes without a trace. */
static void abandon(const struct gw_attempt *attempt, const char *name,
		    struct gw_launched *launched)
{
	(void)kill(launched->pid, SIGKILL);
	while (waitpid(launched->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	gw_launch_go(launched, false);
	(void)close(launched->error_fd);
	(void)close(launched->output_fds[0]);
	(void)close(launched->output_fds[1]);
	(void)gw_cgroup_remove(&attempt->set->cgroup, name);
}

static void attach(struct gw_attempt *attempt, const struct gw_launched *launched)
{
	struct gw_attempts *set = attempt->set;
	int result;

	attempt->start_pipe = (struct gw_source){launched->error_fd, start_pipe_ready};
	result = gw_loop_add(set->loop, &attempt->start_pipe, EPOLLIN);
	if (result) /* it is read when the child ends, too */
		gw_attempt_note_error(attempt, "its start cannot be watched: %s",
				      strerrordesc_np(-result));
	for (unsigned i = 0; i < 2; i++) {
		struct gw_pump_stream *stream = &attempt->streams[i];

		stream->moved = stream_moved;
		stream->ended = stream_ended;
		result = gw_pump_start(&set->pump, stream, launched->output_fds[i],
				       &attempt->outputs[i]);
		if (result)
			gw_attempt_note_error(attempt, "output %u is lost: %s", i + 1,
					      strerrordesc_np(-result));
	}
}

static int make_folders(struct gw_attempt *attempt, const Godwit__TaskStart *start,
			int *ret_work_fd)
{
	struct gw_attempts *set = attempt->set;

	attempt->folder_fd = gw_store_make(&set->store, &attempt->id);
	if (attempt->folder_fd < 0)
		return attempt->folder_fd;
	for (unsigned i = 0; i < 2; i++)
		gw_output_init(&attempt->outputs[i], attempt->folder_fd, i + 1,
			       attempt->output_bytes_max);
	*ret_work_fd = -1;
	if (start->working_directory && *start->working_directory)
		return 0;
	*ret_work_fd = gw_store_make_work(&set->store, &attempt->id);
	return *ret_work_fd < 0 ? *ret_work_fd : 0;
}

int gw_attempt_begin(struct gw_attempt *attempt, const Godwit__KeeperSpawn *spawn, char *ret_error)
{
	char name[GW_STORE_NAME_BYTES];
	struct gw_launched launched;
	int work_fd;
	int result;

	gw_store_name(&attempt->id, name);
	attempt->folder_fd = attempt->start_pipe.fd = -1;
	attempt->streams[0].pipe.fd = attempt->streams[1].pipe.fd = -1;
	attempt->timer.due = timer_due;
	gw_attempt_set_state(attempt, GODWIT__ATTEMPT_STATE__ATTEMPT_STARTING);
	attempt->boot_id = attempt->set->boot_id;
	attempt->started_us = gw_loop_now_us();
	attempt->started_wall_us = gw_loop_wall_us();
	attempt->output_bytes_max = spawn->start->output_bytes_max;
	attempt->grace_us =
		spawn->start->grace_us ? spawn->start->grace_us : GW_ATTEMPTS_GRACE_US_DEFAULT;
	attempt->lease_us = spawn->start->lease_us;
	attempt->lease_from_us =
		spawn->start->lease_from_us ? spawn->start->lease_from_us : attempt->started_us;
	godwit__usage__init(&attempt->usage);
	result = make_folders(attempt, spawn->start, &work_fd);
	if (!result) {
		result = fork_child(spawn, name, work_fd, &launched);
		if (work_fd >= 0)
			(void)close(work_fd);
	}
	if (!result) {
		attempt->pid = launched.pid;
		attempt->start_ticks = gw_orphans_start_ticks(launched.pid);
		enter_cgroup(attempt, spawn->start->resources, name);
		result = gw_attempt_write(attempt);
		if (!result)
			result = gw_store_reserve(attempt->folder_fd, RESERVE_BYTES);
		if (result)
			abandon(attempt, name, &launched);
	}
	if (result) {
		(void)snprintf(ret_error, GW_ATTEMPTS_ERROR_BYTES, "the task cannot be started: %s",
			       strerrordesc_np(-result));
		return result;
	}
	attempt->has_child = true;
	attach(attempt, &launched);
	gw_launch_go(&launched, true);
	return 0;
}

/* --- end --- */

static Godwit__AttemptState end_state(const struct gw_attempt *attempt)
{
	if (attempt->failed)
		return GODWIT__ATTEMPT_STATE__ATTEMPT_FAILED_TO_START;
	return attempt->lease_ended ? GODWIT__ATTEMPT_STATE__ATTEMPT_LOST
				    : GODWIT__ATTEMPT_STATE__ATTEMPT_EXITED;
}

/* The record must be durable before anybody is told; until the disk takes it, nobody is. 0;
 * negative errno, and it is tried again. */
static int finish(struct gw_attempt *attempt)
{
	struct gw_attempts *set = attempt->set;
	Godwit__AttemptState before = attempt->state;
	int result;

	attempt->usage.output_bytes = 0;
	for (unsigned i = 0; i < 2; i++) {
		attempt->usage.output_bytes +=
			attempt->outputs[i].end_offset + attempt->outputs[i].lost_bytes;
		gw_output_deinit(&attempt->outputs[i]);
	}
	gw_attempt_set_state(attempt, end_state(attempt));
	result = gw_attempt_write(attempt);
	if (result == -ENOENT) { /* its folder was removed: told, for it will never be kept */
		gw_attempt_note_error(attempt, "its record and output were removed while it ran");
		(void)fprintf(stderr, "an attempt ended whose folder was removed\n");
		result = 0;
	}
	if (result) {
		attempt->state = before; /* nobody was told, so it has not happened */
		(void)gw_loop_set(set->loop, &attempt->timer, gw_loop_now_us() + RETRY_US);
		return result;
	}
	(void)close(attempt->folder_fd);
	attempt->folder_fd = -1;
	set->running_count--;
	gw_attempts_trim(set);
	gw_attempt_touch(attempt);
	if (set->running_count == 0 && (set->stopping || gw_store_gone(&set->store)))
		set->loop->stop = true; /* a keeper without its folder makes room for another */
	return 0;
}

static void read_usage(struct gw_attempt *attempt, const char *name)
{
	struct gw_cgroup_usage group;

	gw_cgroup_usage(&attempt->set->cgroup, name, &group);
	if (group.has_cpu) {
		attempt->usage.cpu_user_us = group.cpu_user_us;
		attempt->usage.cpu_system_us = group.cpu_system_us;
	}
	if (group.has_memory)
		attempt->usage.memory_peak_bytes = group.memory_peak_bytes;
	if (group.oom && !attempt->oom) {
		attempt->oom = true;
		gw_attempt_note_error(attempt, "it ran into its memory limit of %" PRIu64 " bytes",
				      attempt->memory_limit_bytes);
	}
}

static void note_lost_output(struct gw_attempt *attempt)
{
	uint64_t lost_bytes = attempt->outputs[0].lost_bytes + attempt->outputs[1].lost_bytes;

	if (lost_bytes)
		gw_attempt_note_error(attempt,
				      "%" PRIu64 " bytes of its output could not be written",
				      lost_bytes);
}

static void try_to_finish(struct gw_attempt *attempt, const char *name)
{
	bool first = !attempt->finishing;
	int result;

	if (first)
		note_lost_output(attempt);
	attempt->finishing = true;
	result = finish(attempt);
	if (result && first)
		(void)fprintf(stderr, "the end of %s cannot be written down, trying again: %s\n",
			      name, strerrordesc_np(-result));
}

/* Kills what is left, and comes again until nothing is: no process, no group, no open stream. */
static void sweep(struct gw_attempt *attempt)
{
	struct gw_attempts *set = attempt->set;
	uint64_t now_us = gw_loop_now_us();
	char name[GW_STORE_NAME_BYTES];
	bool streams = attempt->streams[0].pipe.fd >= 0 || attempt->streams[1].pipe.fd >= 0;
	bool late = now_us >= attempt->sweep_deadline_us;
	unsigned remaining = 0;

	gw_store_name(&attempt->id, name);
	if (!attempt->swept) {
		remaining = gw_attempt_kill_all(attempt);
		if (attempt->in_cgroup)
			read_usage(attempt, name);
		attempt->swept = remaining == 0 && !gw_cgroup_remove(&set->cgroup, name);
		if (!attempt->swept && late) {
			gw_attempt_note_error(attempt, "%u of its processes did not end",
					      remaining);
			attempt->swept = true;
		}
	}
	if (attempt->swept && !streams) {
		try_to_finish(attempt, name);
		return;
	}
	if (attempt->swept && late)
		for (unsigned i = 0; i < 2; i++)
			gw_pump_stop(&attempt->streams[i]); /* held open by a process that hid */
	attempt->sweep_us =
		attempt->sweep_us * 2 > SWEEP_US_MAX ? SWEEP_US_MAX : attempt->sweep_us * 2;
	(void)gw_loop_set(set->loop, &attempt->timer, now_us + attempt->sweep_us);
}

void gw_attempt_exited(struct gw_attempt *attempt, int status, const struct rusage *usage)
{
	struct gw_attempts *set = attempt->set;
	Godwit__Usage *total = &attempt->usage;

	if (attempt->start_pipe.fd >= 0)
		settle_start(attempt); /* the child is gone: its pipe has said all */
	attempt->has_child = false;
	if (attempt->lease_ended)
		gw_attempt_note_error(attempt, "its lease ended");
	attempt->ended_wall_us = gw_loop_wall_us();
	attempt->exit_code = WIFEXITED(status) ? (uint32_t)WEXITSTATUS(status) : 0;
	attempt->signal = WIFSIGNALED(status) ? (uint32_t)WTERMSIG(status) : 0;
	total->wall_us = gw_loop_now_us() - attempt->started_us;
	total->cpu_user_us =
		(uint64_t)usage->ru_utime.tv_sec * GW_US_PER_S + (uint64_t)usage->ru_utime.tv_usec;
	total->cpu_system_us =
		(uint64_t)usage->ru_stime.tv_sec * GW_US_PER_S + (uint64_t)usage->ru_stime.tv_usec;
	total->memory_peak_bytes = (uint64_t)usage->ru_maxrss * 1024;
	attempt->sweep_us = SWEEP_US_MIN;
	attempt->sweep_deadline_us = gw_loop_now_us() + SWEEP_DEADLINE_US;
	gw_loop_cancel(set->loop, &attempt->timer);
	sweep(attempt);
}

ssize_t gw_attempt_read(const struct gw_attempt *attempt, uint32_t stream, uint64_t offset,
			uint8_t *ret_bytes, size_t size, uint64_t *ret_offset)
{
	struct gw_output output = attempt->outputs[stream - 1];
	ssize_t count;

	if (attempt->folder_fd < 0)
		output.folder_fd = gw_store_open_attempt(&attempt->set->store, &attempt->id);
	if (output.folder_fd < 0)
		return output.folder_fd;
	count = gw_output_read(&output, offset, ret_bytes, size, ret_offset);
	if (attempt->folder_fd < 0)
		(void)close(output.folder_fd);
	return count;
}

const struct gw_output *gw_attempt_output(const struct gw_attempt *attempt, uint32_t stream,
					  bool *ret_closed)
{
	CHECK(stream >= 1);
	CHECK(stream <= 2);
	*ret_closed = gw_attempt_ended(attempt) || attempt->streams[stream - 1].pipe.fd < 0;
	return &attempt->outputs[stream - 1];
}
