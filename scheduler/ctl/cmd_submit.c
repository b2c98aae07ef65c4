/* godwit submit: a job from a file; with --wait until it has ended. */
#include <stddef.h>
#include <stdio.h>

#include "scheduler/ctl/ctl.h"

struct submit_options {
	struct ctl_options common;
	bool wait;
	bool check;
};

static const struct gw_option option[] = {
	{.value = {.key = "wait",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct submit_options, wait),
		   .help = "stay until the job has ended, and exit as its tasks do"},
	 .letter = 'w'},
	{.value = {.key = "check",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct submit_options, check),
		   .help = "only read the file and say what is wrong in it; needs no scheduler"}},
	{.value = {.key = NULL}},
};

static int wait_for(struct ctl *ctl, const struct gw_id *id)
{
	const Godwit__JobInfo *job;
	int code = ctl_wait(ctl, id);

	if (code != 0)
		return code;
	job = ctl_whole_job(ctl, id);
	if (!job)
		return 1;
	ctl_show_failures(job);
	if (ctl->options->json && ctl_print_message(&job->base) != 0)
		return 1;
	return ctl_job_exit(job);
}

static int submit(struct ctl *ctl, const struct submit_options *options,
		  const Godwit__JobSpec *spec)
{
	const Godwit__SubmitReply *reply;
	struct gw_id id;

	if (ctl_connect(ctl) != 0)
		return 1;
	reply = ctl_submit(ctl, spec, false);
	if (!reply)
		return 1;
	if (!gw_wire_read_id(reply->job, &id))
		return ctl_fail(ctl->options, "the scheduler's answer names no job.");
	if (!ctl->options->json)
		(void)printf("%s\n", ctl_job_id(reply->job).text);
	else if (!options->wait)
		return ctl_print_message(&reply->base);
	if (!options->wait)
		return 0;
	(void)fflush(stdout);
	ctl_catch_interrupts();
	return wait_for(ctl, &id);
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct submit_options *submitted = options;
	const Godwit__JobSpec *spec;
	struct ctl ctl;
	int code = 1;

	(void)command;
	(void)operand_count;
	ctl_init(&ctl, &submitted->common);
	spec = ctl_read_spec(&ctl, operands[0]);
	if (spec && submitted->check)
		code = submitted->common.json ? ctl_print_message(&spec->base)
					      : printf("%s: good.\n", operands[0]) < 0;
	else if (spec)
		code = submit(&ctl, submitted, spec);
	ctl_close(&ctl);
	return code;
}

static const char *const details[] = {
	"SPEC is a file as described in godwit-job(5); - is stdin. The job's id is printed. ^C "
	"during "
	"--wait leaves the job running. When another scheduler takes over meanwhile, the spec is "
	"sent "
	"to it too, and is one job all the same.",
	NULL,
};

static const struct gw_example examples[] = {
	{"godwit submit --check job.yaml", "Say what is wrong in a spec, with line and column."},
	{"godwit submit --wait job.yaml", "Submit it and wait for its end."},
	{NULL, NULL},
};

const struct gw_command ctl_cmd_submit = {
	.name = "submit",
	.summary = "Submit a job spec.",
	.operands = "SPEC",
	.operands_min = 1,
	.operands_max = 1,
	.options = option,
	.details = details,
	.examples = examples,
	.run = run,
	.options_bytes = sizeof(struct submit_options),
};
