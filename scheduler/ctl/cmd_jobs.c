/* godwit jobs: all jobs, or one with its tasks. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

#include "proto/json.h"
#include "scheduler/ctl/ctl.h"

#define PAGE 500u

struct jobs_options {
	struct ctl_options common;
	bool active;
};

static const struct gw_option option[] = {
	{.value = {.key = "active",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct jobs_options, active),
		   .help = "only jobs that have not ended"},
	 .letter = 'a'},
	{.value = {.key = NULL}},
};

static void add_row(struct ctl_table *table, const Godwit__JobInfo *job)
{
	ctl_table_cell(table, "%s", ctl_job_id(job->job).text);
	ctl_table_cell(table, "%s", job->name);
	ctl_table_cell(table, "%s", job->state);
	ctl_table_cell(table, "%" PRIu32, job->task_count);
	ctl_table_cell(table, "%" PRIu32, job->waiting);
	ctl_table_cell(table, "%" PRIu32, job->running);
	ctl_table_cell(table, "%" PRIu32, job->succeeded);
	ctl_table_cell(table, "%" PRIu32, job->failed);
	ctl_table_cell(table, "%" PRIu32, ctl_job_cancelled(job));
	ctl_table_cell(table, "%s", ctl_since(job->submitted_wall_us).text);
	ctl_table_cell(table, "%s", job->owner);
}

/* All pages, each job given to the table or to the array. */
static int read_pages(struct ctl *ctl, bool active, struct ctl_table *table, json_t *array)
{
	Godwit__JobsRequest jobs = GODWIT__JOBS_REQUEST__INIT;
	Godwit__Body request = GODWIT__BODY__INIT;
	const Godwit__JobsReply *reply;

	jobs.count_max = PAGE;
	jobs.active_only = active;
	request.kind_case = GODWIT__BODY__KIND_JOBS_REQUEST;
	request.jobs_request = &jobs;
	do {
		const Godwit__Body *body = ctl_call(ctl, &request, GODWIT__BODY__KIND_JOBS_REPLY);

		if (!body)
			return 1;
		reply = body->jobs_reply;
		if (*reply->error)
			return ctl_fail(ctl->options, "%s.", reply->error);
		for (size_t i = 0; i < reply->n_jobs; i++) {
			if (array)
				(void)json_array_append_new(array,
							    gw_json_message(&reply->jobs[i]->base));
			else
				add_row(table, reply->jobs[i]);
		}
		jobs.offset += (uint32_t)reply->n_jobs;
	} while (reply->n_jobs > 0 && jobs.offset < reply->total);
	return 0;
}

static int list(struct ctl *ctl, const struct jobs_options *options)
{
	static const char *const headings[] = {"JOB",        "NAME",     "STATE",      "-TASKS",
					       "-WAIT",      "-RUNNING", "-SUCCEEDED", "-FAILED",
					       "-CANCELLED", "-AGE",     "OWNER",      NULL};
	json_t *array = options->common.json ? json_array() : NULL;
	struct ctl_table table;
	int code;

	ctl_table_init(&table, headings);
	code = read_pages(ctl, options->active, &table, array);
	if (code != 0) {
		json_decref(array);
		gw_arena_deinit(&table.arena);
	} else if (array) {
		gw_arena_deinit(&table.arena);
		code = ctl_print_json(array);
	} else if (table.cells.count == 0) {
		gw_arena_deinit(&table.arena);
		(void)printf("No jobs. \"godwit run -- COMMAND\" makes one.\n");
	} else {
		ctl_table_print(&table);
	}
	return code;
}

static int one(struct ctl *ctl, const char *text)
{
	const Godwit__JobInfo *job;
	struct gw_id id;

	if (!ctl_find_job(ctl, text, &id))
		return 1;
	job = ctl_whole_job(ctl, &id);
	if (!job)
		return 1;
	if (ctl->options->json)
		return ctl_print_message(&job->base);
	ctl_show_job(job);
	(void)printf("\n");
	ctl_show_tasks(job);
	return 0;
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	const struct jobs_options *jobs = options;
	struct ctl ctl;
	int code = ctl_open(&ctl, &jobs->common);

	(void)command;
	if (code == 0)
		code = operand_count == 1 ? one(&ctl, operands[0]) : list(&ctl, jobs);
	ctl_close(&ctl);
	return code;
}

const struct gw_command ctl_cmd_jobs = {
	.name = "jobs",
	.summary = "List jobs, or show one with its tasks.",
	.operands = "[JOB]",
	.operands_max = 1,
	.options = option,
	.run = run,
	.options_bytes = sizeof(struct jobs_options),
};
