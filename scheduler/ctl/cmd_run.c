/* godwit run: tasks from the command line, their output here, ^C to cancel. */
#include <ctype.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/spec.h"

struct run_options {
	struct ctl_options common;
	bool detach;
	struct gw_spec spec;
};

#define AT(member) .offset = offsetof(struct run_options, spec.member)

static const struct gw_schema pair_item = {.type = GW_SCHEMA_TEXT, .min = 1};

static const struct gw_option option[] = {
	{.value = {.key = "count", AT(count), GW_SPEC_COUNT}, .letter = 'n', .argument = "COUNT"},
	{.value = {.key = "cpu", AT(resources.cpu_milli), GW_SPEC_CPU},
	 .letter = 'c',
	 .argument = "COUNT"},
	{.value = {.key = "memory", AT(resources.memory_bytes), GW_SPEC_MEMORY},
	 .letter = 'm',
	 .argument = "SIZE"},
	{.value = {.key = "devices", AT(resources.device_count), GW_SPEC_DEVICES},
	 .argument = "COUNT"},
	{.value = {.key = "device-type", AT(resources.device_type), GW_SPEC_DEVICE_TYPE},
	 .argument = "TYPE"},
	{.value = {.key = "site",
		   .type = GW_SCHEMA_LIST,
		   AT(sites),
		   .item = &gw_spec_text_item,
		   .item_bytes = sizeof(struct gw_spec_text),
		   .help = "only in this site"},
	 .letter = 's',
	 .argument = "SITE"},
	{.value = {.key = "not-site",
		   .type = GW_SCHEMA_LIST,
		   AT(not_sites),
		   .item = &gw_spec_text_item,
		   .item_bytes = sizeof(struct gw_spec_text),
		   .help = "not in this site"},
	 .argument = "SITE"},
	{.value = {.key = "spread", AT(spread), GW_SPEC_SPREAD}, .argument = "HOW"},
	{.value = {.key = "env",
		   .type = GW_SCHEMA_LIST,
		   AT(env),
		   .item = &pair_item,
		   .item_bytes = sizeof(char *),
		   .max = GW_ENV_JOB_MAX,
		   .help = "environment variable"},
	 .letter = 'e',
	 .argument = "NAME=VALUE"},
	{.value = {.key = "label",
		   .type = GW_SCHEMA_LIST,
		   AT(labels),
		   .item = &pair_item,
		   .item_bytes = sizeof(char *),
		   .max = 64,
		   .help = "only on nodes with this label"},
	 .argument = "NAME=VALUE"},
	{.value = {.key = "directory", AT(directory), GW_SPEC_DIRECTORY}, .argument = "DIR"},
	{.value = {.key = "user", AT(user), GW_SPEC_USER}, .argument = "USER"},
	{.value = {.key = "name",
		   .type = GW_SCHEMA_TEXT,
		   AT(name),
		   .min = 1,
		   .max = GW_NAME_BYTES_MAX,
		   .help = "of the job; the program's if absent"},
	 .argument = "NAME"},
	{.value = {.key = "priority", AT(priority), GW_SPEC_PRIORITY}, .argument = "NUMBER"},
	{.value = {.key = "attempts", AT(attempts), GW_SPEC_ATTEMPTS}, .argument = "COUNT"},
	{.value = {.key = "time-limit", AT(time_limit_us), GW_SPEC_TIME_LIMIT}, .argument = "TIME"},
	{.value = {.key = "grace", AT(grace_us), GW_SPEC_GRACE}, .argument = "TIME"},
	{.value = {.key = "detach",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct run_options, detach),
		   .help = "print the job's id and leave it running"},
	 .letter = 'd'},
	{.value = {.key = NULL}},
};

/* The program's name as far as it can name a job. */
static const char *name_of(struct gw_arena *arena, const char *program)
{
	const char *slash = strrchr(program, '/');
	char name[GW_NAME_BYTES_MAX + 1] = "";
	size_t length = 0;

	for (const char *at = slash ? slash + 1 : program; *at && length < GW_NAME_BYTES_MAX;
	     at++) {
		if (isalnum((unsigned char)*at) || (length > 0 && strchr(".-_", *at)))
			name[length++] = *at;
	}
	return length > 0 ? gw_arena_copy(arena, name, sizeof(name)) : "run";
}

static bool fill_command(struct ctl *ctl, struct gw_spec *spec, int count, char **words)
{
	for (int i = 0; i < count; i++) {
		struct gw_spec_text *text =
			gw_schema_list_add(&spec->command, sizeof(*text), &ctl->arena);

		if (!text)
			return false;
		text->text = words[i];
	}
	if (!spec->name)
		spec->name = name_of(&ctl->arena, words[0]);
	return spec->name != NULL;
}

static int follow(struct ctl *ctl, const struct gw_id *id, uint32_t count)
{
	const struct ctl_follow_options output = {
		.job = *id,
		.task_count = count,
		.stdout_wanted = true,
		.stderr_wanted = true,
		.follow = true,
		.cancels = true,
		/* With --json stdout is for the one value. */
		.stdout_file = ctl->options->json ? stderr : stdout,
		.stderr_file = stderr,
	};
	const Godwit__JobInfo *job;
	int code = ctl_follow(ctl, &output);

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

static int submit(struct ctl *ctl, const struct run_options *options)
{
	const Godwit__SubmitReply *reply;
	const Godwit__JobSpec *message;
	struct gw_parse_error error;
	struct gw_id id;

	if (gw_spec_build(&options->spec, &ctl->arena, &message, &error) < 0)
		return ctl_misuse(ctl->options, "%s.", error.text);
	if (options->spec.count > CTL_FOLLOWED_MAX && !options->detach)
		return ctl_misuse(ctl->options,
				  "the output of more than %u tasks is too much for one terminal; "
				  "use --detach, then \"godwit logs --task\".",
				  CTL_FOLLOWED_MAX);
	if (ctl_connect(ctl) != 0)
		return 1;
	reply = ctl_submit(ctl, message, false);
	if (!reply)
		return 1;
	if (!gw_wire_read_id(reply->job, &id))
		return ctl_fail(ctl->options, "the scheduler's answer names no job.");
	if (options->detach && ctl->options->json)
		return ctl_print_message(&reply->base);
	if (options->detach) {
		(void)printf("%s\n", ctl_job_id(reply->job).text);
		return 0;
	}
	return follow(ctl, &id, message->task_count);
}

static int run(const struct gw_command *command, void *options, int operand_count, char **operands)
{
	struct run_options *run = options;
	struct ctl ctl;
	int code;

	(void)command;
	ctl_catch_interrupts();
	ctl_init(&ctl, &run->common);
	if (fill_command(&ctl, &run->spec, operand_count, operands))
		code = submit(&ctl, run);
	else
		code = ctl_fail(&run->common, "the command line is too long.");
	ctl_close(&ctl);
	return code == 1 && ctl_interrupted() ? CTL_EXIT_INTERRUPTED : code;
}

static const char *const details[] = {
	"The tasks' stdout and stderr come to this terminal; with several tasks each line begins "
	"with "
	"its task. ^C cancels the job, a second ^C leaves at once. The exit code is the largest of "
	"the tasks'.",
	"What tasks wait for is said on stderr: a place, a node that is not heard, or a scheduler: "
	"when "
	"another one takes over, the command goes on with it.",
	NULL,
};

static const struct gw_example examples[] = {
	{"godwit run -- uname -a", "One task, wherever it fits."},
	{"godwit run -n 3 --spread site -- hostname", "Three tasks, each in another site."},
	{"godwit run -s alpine -m '2 GiB' -e LEVEL=9 -- sh -c 'gzip -$LEVEL < /srv/in > /srv/out'",
	 "A shell's line in a given site."},
	{NULL, NULL},
};

const struct gw_command ctl_cmd_run = {
	.name = "run",
	.summary = "Run a command, follow its output, and exit as it does.",
	.operands = "-- COMMAND [ARGUMENT ...]",
	.operands_min = 1,
	.operands_max = GW_ARGS_MAX,
	.options = option,
	.details = details,
	.examples = examples,
	.run = run,
	.options_bytes = sizeof(struct run_options),
};
