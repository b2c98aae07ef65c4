/* Parts of answers that several commands print for a person. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "scheduler/ctl/ctl.h"

#define NOTES_MAX 20      /* lines of notes below a table */
#define COMPLAINTS_MAX 10 /* tasks that are named when they failed */

void ctl_show_placements(size_t count, Godwit__Placement *const *placements)
{
	static const char *const headings[] = {"-TASK", "NODE", "SITE", "ADDRESS", NULL};
	struct ctl_table table;

	if (count == 0)
		return;
	ctl_table_init(&table, headings);
	for (size_t i = 0; i < count; i++) {
		const Godwit__Placement *place = placements[i];

		ctl_table_cell(&table, "%" PRIu32, place->task_index);
		ctl_table_cell(&table, "%s", place->node_name);
		ctl_table_cell(&table, "%s", place->site);
		if (place->port > 0)
			ctl_table_cell(&table, "%s:%" PRIu32, place->address, place->port);
		else
			ctl_table_cell(&table, "%s", place->address);
	}
	ctl_table_print(&table);
}

void ctl_show_prediction(const Godwit__Prediction *prediction)
{
	if (!prediction || !prediction->present)
		return;
	(void)printf("\nPredicted: %.4g tokens/s, %.4g in a single site; loss %s; TPOT %s; "
		     "loop RTT %s\n",
		     prediction->tokens_per_s, prediction->single_site_tokens_per_s,
		     ctl_share(prediction->loss_ppm).text,
		     ctl_duration((uint64_t)prediction->tpot_us).text,
		     ctl_duration(prediction->rtt_us).text);
	if (*prediction->bottleneck)
		(void)printf("Bottleneck: %s\n", prediction->bottleneck);
}

void ctl_show_verdicts(size_t count, Godwit__SiteVerdict *const *verdicts)
{
	static const char *const headings[] = {"SITE", "CHOSEN", "WHY", NULL};
	struct ctl_table table;

	if (count == 0)
		return;
	(void)printf("\n");
	ctl_table_init(&table, headings);
	for (size_t i = 0; i < count; i++) {
		ctl_table_cell(&table, "%s", verdicts[i]->site);
		ctl_table_cell(&table, "%s", verdicts[i]->chosen ? "yes" : "no");
		ctl_table_cell(&table, "%s", verdicts[i]->reason);
	}
	ctl_table_print(&table);
}

static const char *kind_name(Godwit__JobKind kind)
{
	switch (kind) {
	case GODWIT__JOB_KIND__JOB_TASK:
		return "task";
	case GODWIT__JOB_KIND__JOB_TRAIN:
		return "train";
	case GODWIT__JOB_KIND__JOB_SERVE:
		return "serve";
	case GODWIT__JOB_KIND__JOB_NONE:
	case _GODWIT__JOB_KIND_IS_INT_SIZE:
		break;
	}
	return "?";
}

static void show_disconnect(const Godwit__DisconnectPolicy *policy)
{
	static const char *const replaces[] = {
		[GODWIT__REPLACE__REPLACE_AFTER_LEASE] = "and replaced once its lease has ended",
		[GODWIT__REPLACE__REPLACE_AT_ONCE] = "and replaced at once",
		[GODWIT__REPLACE__REPLACE_NEVER] = "but waited for",
	};
	static const char *const reconciles[] = {
		[GODWIT__RECONCILE__RECONCILE_KEEP_REPLACEMENT] = "",
		[GODWIT__RECONCILE__RECONCILE_KEEP_ORIGINAL] = "; on return the original stays",
		[GODWIT__RECONCILE__RECONCILE_KEEP_LONGEST] =
			"; on return the one that ran for longer stays",
	};

	if (!policy || (unsigned)policy->replace >= GW_ARRAY_COUNT(replaces) ||
	    (unsigned)policy->reconcile >= GW_ARRAY_COUNT(reconciles))
		return;
	(void)printf("Cut off  a task is lost after %s, %s%s\n",
		     ctl_duration(policy->lost_after_us).text, replaces[policy->replace],
		     reconciles[policy->reconcile]);
}

void ctl_show_job(const Godwit__JobInfo *job)
{
	(void)printf("Job      %s %s (%s)\n", ctl_job_id(job->job).text, job->name,
		     kind_name(job->kind));
	(void)printf("State    %s%s%s\n", job->state, *job->wait_reason ? ": " : "",
		     job->wait_reason);
	(void)printf("Tasks    %" PRIu32 ": %" PRIu32 " waiting, %" PRIu32 " running, %" PRIu32
		     " succeeded, %" PRIu32 " failed, %" PRIu32 " cancelled\n",
		     job->task_count, job->waiting, job->running, job->succeeded, job->failed,
		     ctl_job_cancelled(job));
	(void)printf("Owner    %s\n", job->owner);
	(void)printf("Age      %s\n", ctl_since(job->submitted_wall_us).text);
	if (job->ended_wall_us > job->submitted_wall_us)
		(void)printf(
			"Took     %s\n",
			ctl_duration((uint64_t)(job->ended_wall_us - job->submitted_wall_us)).text);
	show_disconnect(job->disconnect);
	ctl_show_prediction(job->prediction);
}

static void exit_cell(struct ctl_table *table, const Godwit__TaskInfo *task)
{
	if (task->signal > 0)
		ctl_table_cell(table, "signal %s",
			       sigabbrev_np((int)task->signal) ? sigabbrev_np((int)task->signal)
							       : "?");
	else if (strcmp(task->state, "succeeded") == 0 || task->exit_code > 0)
		ctl_table_cell(table, "%" PRIu32, task->exit_code);
	else
		ctl_table_cell(table, "%s", "");
}

/* Limits that hosts could not hold, once for each task and limit, a bounded number of lines. */
static void show_not_enforced(const Godwit__JobInfo *job)
{
	int lines = 0;

	for (size_t i = 0; i < job->n_tasks; i++) {
		const Godwit__TaskInfo *task = job->tasks[i];

		for (size_t j = 0; j < task->n_not_enforced && lines < NOTES_MAX; j++, lines++) {
			ctl_clean(task->not_enforced[j]);
			(void)printf("%sNot enforced for task %" PRIu32 ": %s\n",
				     lines == 0 ? "\n" : "", task->task_index,
				     task->not_enforced[j]);
		}
	}
}

void ctl_show_tasks(const Godwit__JobInfo *job)
{
	static const char *const headings[] = {"-TASK", "STATE", "-ATTEMPT", "NODE", "SITE", "EXIT",
					       "-WALL", "-CPU",  "-PEAK",    "NOTE", NULL};
	struct ctl_table table;

	ctl_table_init(&table, headings);
	for (size_t i = 0; i < job->n_tasks; i++) {
		const Godwit__TaskInfo *task = job->tasks[i];
		const Godwit__Usage *usage = task->usage;
		/* Told when the task ends. */
		bool measured = usage && usage->wall_us > 0;

		ctl_table_cell(&table, "%" PRIu32, task->task_index);
		ctl_table_cell(&table, "%s", task->state);
		ctl_table_cell(&table, "%" PRIu32, task->attempt);
		ctl_table_cell(&table, "%s", task->node_name);
		ctl_table_cell(&table, "%s", task->site);
		exit_cell(&table, task);
		ctl_table_cell(&table, "%s", measured ? ctl_duration(usage->wall_us).text : "-");
		ctl_table_cell(
			&table, "%s",
			measured ? ctl_duration(usage->cpu_user_us + usage->cpu_system_us).text
				 : "-");
		ctl_table_cell(&table, "%s",
			       measured ? ctl_bytes(usage->memory_peak_bytes).text : "-");
		ctl_table_cell(&table, "%s", task->error);
	}
	ctl_table_print(&table);
	show_not_enforced(job);
}

void ctl_show_failures(const Godwit__JobInfo *job)
{
	int lines = 0;

	for (size_t i = 0; i < job->n_tasks; i++) {
		const Godwit__TaskInfo *task = job->tasks[i];
		char why[300] = "";

		if (strcmp(task->state, "succeeded") == 0)
			continue;
		if (lines++ == COMPLAINTS_MAX) {
			(void)fprintf(stderr, "godwit: \"godwit jobs %s\" shows the others\n",
				      ctl_job_id(job->job).text);
			return;
		}
		if (task->signal > 0)
			(void)snprintf(why, sizeof(why), "signal %" PRIu32, task->signal);
		else if (task->exit_code > 0)
			(void)snprintf(why, sizeof(why), "exit %" PRIu32, task->exit_code);
		if (*task->error)
			(void)snprintf(why + strlen(why), sizeof(why) - strlen(why), "%s%s",
				       *why ? ", " : "", task->error);
		ctl_clean(why);
		(void)fprintf(stderr, "godwit: task %" PRIu32 "%s%s %s%s%s\n", task->task_index,
			      *task->node_name ? " on " : "", task->node_name, task->state,
			      *why ? ": " : "", why);
	}
}
