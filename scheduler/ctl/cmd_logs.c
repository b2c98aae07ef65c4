/* godwit logs: the output of a job's tasks. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "scheduler/ctl/ctl.h"

struct logs_options {
	struct ctl_options common;
	bool follow;
	bool stderr_wanted;
	uint64_t task;
	uint64_t attempt;
	struct gw_mark task_mark;
};

static const struct gw_option option[] = {
	{.value = {.key = "attempt",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct logs_options, attempt),
		   .min = 1,
		   .max = UINT32_MAX,
		   .help = "an earlier attempt of the one task, as long as its node keeps it; the "
			   "latest if absent"},
	 .letter = 'a',
	 .argument = "ATTEMPT"},
	{.value = {.key = "follow",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct logs_options, follow),
		   .help = "go on until the job has ended"},
	 .letter = 'f'},
	{.value = {.key = "stderr",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct logs_options, stderr_wanted),
		   .help = "the tasks' stderr instead of their stdout"},
	 .letter = 'e'},
	{.value = {.key = "task",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct logs_options, task),
		   .mark_offset = offsetof(struct logs_options, task_mark),
		   .max = GW_TASKS_PER_JOB_MAX - 1,
		   .help = "one task; all if absent"},
	 .letter = 't',
	 .argument = "TASK"},
	{.value = {.key = NULL}},
};

/* With --json the output is collected and printed as one text. */
static int collect(struct ctl *ctl, struct ctl_follow_options *output)
{
	char *text = NULL;
	size_t size = 0;
	FILE *file = open_memstream(&text, &size);
	json_t *value;
	int code;

	if (!file)
		return ctl_fail(ctl->options, "out of memory");
	output->stdout_file = file;
	output->stderr_file = file;
	code = ctl_follow(ctl, output);
	if (fclose(file) != 0 && code == 0)
		code = ctl_fail(ctl->options, "out of memory");
	value = json_stringn(text, size);
	if (code == 0 && !value)
		code = ctl_fail(ctl->options,
				"the output is not UTF-8 and cannot be JSON; leave out --json.");
	else if (code == 0)
		code = ctl_print_json(json_pack("{s:O}", "output", value));
	json_decref(value);
	free(text);
	return code;
}

static int logs(struct ctl *ctl, const struct logs_options *options, const char *text)
{
	struct ctl_follow_options output = {
		.stdout_wanted = !options->stderr_wanted,
		.stderr_wanted = options->stderr_wanted,
		.follow = options->follow,
		.stdout_file = stdout,
		.stderr_file = stdout,
	};
	const Godwit__JobInfo *job;

	if (!ctl_find_job(ctl, text, &output.job))
		return 1;
	job = ctl_job(ctl, &output.job, 0);
	if (!job)
		return 1;
	output.task_count = job->task_count;
	if (options->attempt > 0 && options->task_mark.line == 0 && job->task_count > 1)
		return ctl_fail(ctl->options,
				"--attempt needs --task: the job has %" PRIu32
				" tasks, each with attempts of its own.",
				job->task_count);
	output.attempt = (uint32_t)options->attempt;
	if (options->task_mark.line > 0) {
		if (options->task >= job->task_count)
			return ctl_fail(ctl->options,
					"the job has the tasks 0 to %" PRIu32 ", not %" PRIu64 ".",
					job->task_count - 1, options->task);
		output.task_first = (uint32_t)options->task;
		output.task_count = 1;
	}
	return ctl->options->json ? collect(ctl, &output) : ctl_follow(ctl, &output);
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct logs_options *wanted = options;
	struct ctl ctl;
	int code;

	(void)command;
	(void)operand_count;
	ctl_catch_interrupts();
	code = ctl_open(&ctl, &wanted->common);
	if (code == 0)
		code = logs(&ctl, wanted, operands[0]);
	ctl_close(&ctl);
	return code == 1 && ctl_interrupted() ? CTL_EXIT_INTERRUPTED : code;
}

static const char *const details[] = {
	"With several tasks each line begins with its task. A broken connection costs a pause and "
	"no "
	"output; a task that is tried again is shown from its new start.",
	NULL,
};

const struct gw_command ctl_cmd_logs = {
	.name = "logs",
	.summary = "Show the output of a job's tasks.",
	.operands = "JOB",
	.operands_min = 1,
	.operands_max = 1,
	.options = option,
	.details = details,
	.run = run,
	.options_bytes = sizeof(struct logs_options),
};
