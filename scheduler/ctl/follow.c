/*
 * A job's output as it comes, and waiting for its end. Each stream (a task's stdout or stderr) is
 * read by offset with requests that the agent holds while nothing is there; nothing is kept between
 * two of them, so a broken link costs a pause and never a byte. A task that starts again begins
 * a new attempt: its streams are then read from their start.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "scheduler/ctl/ctl.h"
#include "transport/clock.h"

#define LINE_BYTES_MAX 4096u              /* a longer line is cut in two when it is labelled */
#define HOLD_ONE_US (500 * GW_US_PER_MS)  /* a read is held so long while one stream is left */
#define HOLD_MANY_US (100 * GW_US_PER_MS) /* ... while several are, which wait for each other */
#define TURN_US (300 * GW_US_PER_MS)      /* between two looks at the job */
#define LOOK_TASKS_MAX 500u               /* looked through for one that holds a job up */
#define QUIET_LOOKS 8u                    /* then it is asked and said what it waits for */
#define ERRORS_MAX 5                      /* of a stream of an ended job, before it is given up */

struct stream {
	uint32_t task;
	uint32_t number;  /* 1 stdout, 2 stderr */
	uint32_t attempt; /* that the offset belongs to; 0: none answered yet */
	uint64_t offset;
	bool end;
	int errors; /* in a row */
	size_t line_bytes;
	char *line; /* [LINE_BYTES_MAX] a labelled line not yet ended; NULL: not labelled */
};

struct follower {
	struct ctl *ctl;
	const struct ctl_follow_options *options;
	struct stream *streams;
	uint32_t count;
	bool labelled;
	bool broken;         /* the link is, and that was said */
	bool ended;          /* the job has */
	bool refused;        /* a stream told an error in this round */
	bool cancelled;      /* by our ^C */
	uint32_t next_held;  /* the stream whose next read is held */
	uint32_t quiet;      /* looks in a row with nothing new to read before them */
	bool told_why;       /* why a task is not heard, or goes on though it was cancelled */
	char told_wait[256]; /* the reason last told why tasks wait */
	uint64_t gone_bytes; /* of all streams: over-written before they were read */
	uint64_t gone_said;  /* of these, as last said */
	uint64_t gone_said_us;
	char error[256]; /* the last that a stream told */
};

static void turn_pause(void)
{
	const struct timespec pause = {0, TURN_US * 1000};

	(void)nanosleep(&pause, NULL); /* a signal may end it: that is what it is for */
}

static FILE *file_of(const struct follower *follower, const struct stream *stream)
{
	return stream->number == 1 ? follower->options->stdout_file
				   : follower->options->stderr_file;
}

static void flush_line(const struct follower *follower, struct stream *stream)
{
	if (stream->line_bytes == 0)
		return;
	(void)fprintf(file_of(follower, stream), "[%" PRIu32 "] %.*s\n", stream->task,
		      (int)stream->line_bytes, stream->line);
	stream->line_bytes = 0;
}

/* Whole lines only, so that tasks do not write into each other's. */
static void write_labelled(const struct follower *follower, struct stream *stream,
			   const uint8_t *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		if (bytes[i] == '\n' && stream->line_bytes == 0)
			(void)fprintf(file_of(follower, stream), "[%" PRIu32 "]\n", stream->task);
		else if (bytes[i] == '\n')
			flush_line(follower, stream);
		else
			stream->line[stream->line_bytes++] = (char)bytes[i];
		if (stream->line_bytes == LINE_BYTES_MAX)
			flush_line(follower, stream);
	}
}

static bool write_out(struct follower *follower, struct stream *stream, const uint8_t *bytes,
		      size_t size)
{
	FILE *file = file_of(follower, stream);

	if (stream->line)
		write_labelled(follower, stream, bytes, size);
	else
		(void)fwrite(bytes, 1, size, file);
	return fflush(file) == 0 && !ferror(file);
}

/* At most once a second: a flood that outruns this reader has a gap at each read. */
static void say_gone(struct follower *follower, bool at_end)
{
	uint64_t now_us = gw_clock_mono_us();

	if (follower->gone_bytes == follower->gone_said ||
	    (!at_end && follower->gone_said > 0 && now_us - follower->gone_said_us < GW_US_PER_S))
		return;
	(void)fprintf(stderr, "godwit: older bytes of output are gone: %" PRIu64 " in all\n",
		      follower->gone_bytes);
	follower->gone_said = follower->gone_bytes;
	follower->gone_said_us = now_us;
}

/* The answer of one read. Negative: stop. 1: something came; 0: nothing. */
static int take(struct follower *follower, struct stream *stream, const Godwit__LogData *log)
{
	uint32_t attempt = log->attempt ? log->attempt->attempt : 0;

	if (*log->error) {
		(void)snprintf(follower->error, sizeof(follower->error), "%s", log->error);
		stream->errors++;
		follower->refused = true;
		return 0;
	}
	stream->errors = 0;
	if (attempt != stream->attempt) {
		bool again = stream->attempt != 0;

		stream->attempt = attempt;
		if (again) {
			flush_line(follower, stream);
			stream->offset = 0;
			return 1;
		}
	}
	if (log->offset > stream->offset)
		follower->gone_bytes += log->offset - stream->offset;
	say_gone(follower, false);
	if (log->data.len > 0 && !write_out(follower, stream, log->data.data, log->data.len))
		return -EPIPE;
	stream->offset = log->offset + log->data.len;
	stream->end = log->end;
	return log->data.len > 0 || log->end ? 1 : 0;
}

/* Once for each time that the link breaks. */
static void say_broken(bool *broken, int error, const struct gw_fault *fault)
{
	if (!*broken)
		(void)fprintf(stderr, "godwit: %s; trying again\n",
			      error == -ECONNRESET ? "the connection was lost" : fault->text);
	*broken = true;
}

/* True: worth trying again; what was asked for is unchanged there. */
static bool passing(int error)
{
	return error == -ETIMEDOUT || error == -ECONNRESET;
}

static int read_stream(struct follower *follower, struct stream *stream, uint64_t hold_us)
{
	Godwit__LogRead read = GODWIT__LOG_READ__INIT;
	Godwit__AttemptRef ref = GODWIT__ATTEMPT_REF__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	struct gw_fault fault = {""};
	const Godwit__Body *reply;
	int result;

	ref.job = gw_wire_id(&follower->options->job);
	ref.task_index = stream->task;
	ref.attempt = follower->options->attempt;
	read.attempt = &ref;
	read.stream = stream->number;
	read.offset = stream->offset;
	read.bytes_max = GW_LOG_CHUNK_BYTES_MAX;
	read.wait_us = (uint32_t)hold_us;
	request.kind_case = GODWIT__BODY__KIND_LOG_READ;
	request.log_read = &read;
	result = ctl_try(follower->ctl, &request, GODWIT__BODY__KIND_LOG_DATA,
			 hold_us + CTL_REPLY_MARGIN_US, &reply, &fault);
	if (result == -EINTR)
		return 1; /* the caller looks at once what was meant */
	if (passing(result)) {
		say_broken(&follower->broken, result, &fault);
		turn_pause();
		return 0;
	}
	if (result < 0) {
		(void)ctl_fail(follower->ctl->options, "%s.", fault.text);
		return result;
	}
	if (follower->broken)
		(void)fprintf(stderr, "godwit: connected again\n");
	follower->broken = false;
	return take(follower, stream, reply->log_data);
}

/* Reads every open stream once without waiting, then one of them held. As take. */
static int read_all(struct follower *follower, bool hold)
{
	uint32_t open = 0;
	int progress = 0;
	int result;

	for (uint32_t i = 0; i < follower->count; i++)
		open += !follower->streams[i].end;
	for (uint32_t i = 0; i < follower->count && (open > 1 || !hold); i++) {
		if (follower->streams[i].end)
			continue;
		result = read_stream(follower, &follower->streams[i], 0);
		if (result < 0)
			return result;
		progress |= result;
	}
	if (progress || !hold || open == 0)
		return progress;
	do {
		follower->next_held = (follower->next_held + 1) % follower->count;
	} while (follower->streams[follower->next_held].end);
	return read_stream(follower, &follower->streams[follower->next_held],
			   open == 1 ? HOLD_ONE_US : HOLD_MANY_US);
}

/* 0: still there; 1: the job has ended; negative: failed and said so. Links broken are waited for.
 */
static int look(struct ctl *ctl, const struct gw_id *id, bool with_tasks, bool *broken,
		const Godwit__JobInfo **ret_job)
{
	Godwit__JobsRequest jobs = GODWIT__JOBS_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	struct gw_fault fault = {""};
	const Godwit__Body *reply;
	int result;

	jobs.job = gw_wire_id(id);
	jobs.with_tasks = with_tasks;
	jobs.count_max = with_tasks ? LOOK_TASKS_MAX : 1;
	request.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	request.jobs_request = &jobs;
	*ret_job = NULL;
	result = ctl_try(ctl, &request, GODWIT__BODY__KIND_JOBS_REPLY, ctl->options->timeout_us,
			 &reply, &fault);
	if (result == -EINTR)
		return 0; /* as in read_stream */
	if (passing(result)) {
		say_broken(broken, result, &fault);
		return 0;
	}
	if (result < 0) {
		(void)ctl_fail(ctl->options, "%s.", fault.text);
		return result;
	}
	*broken = false;
	if (*reply->jobs_reply->error || reply->jobs_reply->n_jobs != 1) {
		(void)ctl_fail(ctl->options, "the scheduler no longer knows this job: %s.",
			       *reply->jobs_reply->error
				       ? reply->jobs_reply->error
				       : "it ended, and made room for newer ones");
		return -ENOENT;
	}
	*ret_job = reply->jobs_reply->jobs[0];
	return ctl_job_ended(*ret_job) ? 1 : 0;
}

/* What ^C means now. 0: go on; otherwise leave with this code. */
static int heed_interrupts(struct follower *follower)
{
	unsigned count = ctl_interrupts();
	int result;

	if (count == 0)
		return 0;
	if (!follower->options->cancels || count > 1)
		return CTL_EXIT_INTERRUPTED;
	if (!follower->cancelled) {
		(void)fprintf(stderr, "godwit: cancelling the job; ^C again leaves at once\n");
		follower->cancelled = true;
		result = ctl_cancel(follower->ctl, &follower->options->job);
		return result != 0 && ctl_interrupted() ? CTL_EXIT_INTERRUPTED : result;
	}
	return 0;
}

/*
 * Nothing more comes, except perhaps from streams that told an error: those are asked a few times
 * more, where output ever came or was waited for. True: ask again later.
 */
static bool ask_again(struct follower *follower)
{
	bool again = false;

	for (uint32_t i = 0; i < follower->count; i++) {
		struct stream *stream = &follower->streams[i];
		bool was_there = stream->attempt > 0;
		int errors_max = was_there && follower->options->follow ? ERRORS_MAX : 1;

		if (stream->end || stream->errors == 0)
			continue;
		if (stream->errors < errors_max) {
			again = true;
			continue;
		}
		stream->end = true;
		if (was_there || !follower->options->follow)
			(void)fprintf(stderr, "godwit: task %" PRIu32 ", %s: %s\n", stream->task,
				      stream->number == 1 ? "stdout" : "stderr", follower->error);
	}
	return again;
}

/* Once for each silence: a task whose node is not heard shows nothing, and a cancelled one stays until
 * its lease is over. */
static void say_unheard(struct follower *follower, const Godwit__JobInfo *job)
{
	bool unheard = false;

	for (size_t i = 0; i < job->n_tasks && !unheard; i++) {
		const Godwit__TaskInfo *task = job->tasks[i];
		bool held =
			strcmp(task->state, "running") == 0 || strcmp(task->state, "placed") == 0;

		unheard = held && *task->error;
		if (unheard && !follower->told_why)
			(void)fprintf(stderr, "godwit: task %" PRIu32 " on %s: %s%s\n",
				      task->task_index, task->node_name, task->error,
				      follower->cancelled ? "; ^C again leaves at once" : "");
	}
	follower->told_why = unheard;
}

/* Each reason once, when nothing has come for a while. */
static void say_why_waiting(struct follower *follower, const Godwit__JobInfo *job)
{
	char reason[sizeof(follower->told_wait)];

	if (job->n_tasks > 0) /* they were asked for */
		say_unheard(follower, job);
	(void)snprintf(reason, sizeof(reason), "%s", job->wait_reason);
	ctl_clean(reason);
	if (follower->quiet < QUIET_LOOKS || !*reason || strcmp(reason, follower->told_wait) == 0)
		return;
	(void)fprintf(stderr, "godwit: %" PRIu32 " of %" PRIu32 " tasks wait: %s\n", job->waiting,
		      job->task_count, reason);
	memcpy(follower->told_wait, reason, sizeof(reason));
}

/* Until the job has ended and every stream with it. */
static int follow(struct follower *follower)
{
	const Godwit__JobInfo *job;

	for (;;) {
		bool last = follower->ended || !follower->options->follow;
		int result = heed_interrupts(follower);

		if (result != 0)
			return result;
		follower->refused = false;
		result = read_all(follower, !last);
		if (result < 0)
			return 1;
		follower->quiet = result > 0 ? 0 : follower->quiet + 1;
		if (result > 0 || follower->broken)
			continue;
		if (last && !ask_again(follower))
			return 0;
		if (follower->refused)
			turn_pause();
		if (last)
			continue;
		result = look(follower->ctl, &follower->options->job,
			      follower->cancelled || follower->quiet % QUIET_LOOKS == 0,
			      &follower->broken, &job);
		if (result < 0)
			return 1;
		follower->ended = result > 0;
		if (job && !follower->ended)
			say_why_waiting(follower, job);
	}
}

static bool add_stream(struct follower *follower, uint32_t task, uint32_t number)
{
	struct stream *stream = &follower->streams[follower->count];

	*stream = (struct stream){.task = task, .number = number};
	if (follower->labelled) {
		stream->line = gw_arena_alloc(&follower->ctl->arena, LINE_BYTES_MAX);
		if (!stream->line)
			return false;
	}
	follower->count++;
	return true;
}

int ctl_follow(struct ctl *ctl, const struct ctl_follow_options *options)
{
	struct follower follower = {.ctl = ctl, .options = options};
	uint32_t streams =
		options->task_count * (uint32_t)(options->stdout_wanted + options->stderr_wanted);
	int result;

	if (options->task_count > CTL_FOLLOWED_MAX)
		return ctl_fail(
			ctl->options,
			"the output of more than %u tasks at once is too much; name one with "
			"--task.",
			CTL_FOLLOWED_MAX);
	follower.labelled = options->task_count > 1;
	follower.streams = gw_arena_alloc(&ctl->arena, (streams + 1) * sizeof(*follower.streams));
	for (uint32_t i = 0; follower.streams && i < options->task_count; i++) {
		if ((options->stdout_wanted &&
		     !add_stream(&follower, options->task_first + i, 1)) ||
		    (options->stderr_wanted && !add_stream(&follower, options->task_first + i, 2)))
			follower.streams = NULL;
	}
	if (!follower.streams)
		return ctl_fail(ctl->options, "out of memory");
	result = follow(&follower);
	say_gone(&follower, true);
	for (uint32_t i = 0; i < follower.count; i++)
		flush_line(&follower, &follower.streams[i]);
	return result;
}

/* One line on a terminal, redrawn; otherwise a line whenever something has changed. */
static void show_progress(const Godwit__JobInfo *job, char *last, size_t size)
{
	bool terminal = ctl_is_terminal(stderr);
	char text[200];

	(void)snprintf(text, sizeof(text),
		       "%s %s: %" PRIu32 " waiting, %" PRIu32 " running, %" PRIu32
		       " succeeded, %" PRIu32 " failed, %" PRIu32 " cancelled",
		       job->name, job->state, job->waiting, job->running, job->succeeded,
		       job->failed, ctl_job_cancelled(job));
	if (terminal)
		(void)fprintf(stderr, "\r\033[K%s, %s", text,
			      ctl_since(job->submitted_wall_us).text);
	else if (strcmp(text, last) != 0)
		(void)fprintf(stderr, "%s\n", text);
	(void)snprintf(last, size, "%s", text);
}

int ctl_wait(struct ctl *ctl, const struct gw_id *id)
{
	const Godwit__JobInfo *job;
	char last[200] = "";
	bool broken = false;
	int result = 0;

	while (result == 0 && ctl_interrupts() == 0) {
		result = look(ctl, id, false, &broken, &job);
		if (job)
			show_progress(job, last, sizeof(last));
		if (result == 0)
			turn_pause();
	}
	if (*last && ctl_is_terminal(stderr))
		(void)fprintf(stderr, "\n");
	if (result == 0) {
		(void)fprintf(stderr, "godwit: left; the job goes on\n");
		return CTL_EXIT_INTERRUPTED;
	}
	return result < 0 ? 1 : 0;
}
