/* Prints the life cycles, from the tables that the code obeys. */
#include <stdio.h>
#include <string.h>

#include "scheduler/core/scheduler.h"
#include "scheduler/core/state.h"

struct printer {
	char *text;
	uint32_t size;
	uint32_t length;
};

static void print(struct printer *printer, const char *text)
{
	uint32_t length = (uint32_t)strlen(text);

	if (printer->length + length < printer->size)
		memcpy(printer->text + printer->length, text, length + 1);
	printer->length += length;
}

static void print_jobs(struct printer *printer)
{
	for (unsigned from = 0; from < JOB_STATES; from++) {
		const char *separator = "";

		print(printer, "| ");
		print(printer, job_state_name((enum job_state)from));
		print(printer, " | ");
		for (unsigned to = 0; to < JOB_STATES; to++) {
			if (from == to || !job_may_follow((enum job_state)from, (enum job_state)to))
				continue;
			print(printer, separator);
			print(printer, job_state_name((enum job_state)to));
			separator = ", ";
		}
		print(printer, " | ");
		print(printer, job_invariant((enum job_state)from));
		print(printer, " |\n");
	}
}

static void print_tasks(struct printer *printer)
{
	for (unsigned from = 0; from < TASK_STATES; from++) {
		const char *separator = "";

		print(printer, "| ");
		print(printer, task_state_name((enum task_state)from));
		print(printer, " | ");
		for (unsigned to = 0; to < TASK_STATES; to++) {
			if (!task_may_follow((enum task_state)from, (enum task_state)to))
				continue;
			print(printer, separator);
			print(printer, task_state_name((enum task_state)to));
			separator = ", ";
		}
		print(printer, " | ");
		print(printer, task_invariant((enum task_state)from));
		print(printer, " |\n");
	}
}

uint32_t gw_scheduler_states(char *ret_text, uint32_t size)
{
	struct printer printer = {.text = ret_text, .size = size};

	print(&printer, "# Life cycles\n\nPrinted by tests/unit/test_scheduler_queries.c from the "
			"tables in jobs.c and tasks.c;\nGODWIT_REWRITE=1 rewrites this file.\n\n");
	print(&printer, "## Jobs\n\n| state | next | invariant |\n|---|---|---|\n");
	print_jobs(&printer);
	print(&printer, "\n## Tasks\n\n| state | next | invariant |\n|---|---|---|\n");
	print_tasks(&printer);
	return printer.length;
}
