/*
 * godwit: the program of users and operators. A table of commands, one file each.
 */
#include <stddef.h>

#include "proto/base/check.h"
#include "scheduler/ctl/ctl.h"
#include "scheduler/ctl/spec.h"

static const struct gw_option common[] = {
	{.value = {.key = "json",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct ctl_options, json),
		   .help = "print one JSON value on stdout, with exact numbers"}},
	{.value = {.key = "config",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct ctl_options, config),
		   .min = 1,
		   .help = "folder of your identity; GODWIT_CONFIG or ~/.config/godwit if absent"},
	 .argument = "DIR"},
	{.value = {.key = "timeout",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct ctl_options, timeout_us),
		   .fallback = "10 s",
		   .min = GW_US_PER_MS,
		   .max = 3600 * GW_US_PER_S,
		   .help = "how long to wait for the scheduler"},
	 .argument = "TIME"},
	{.value = {.key = NULL}},
};

static const char *const details[] = {
	"Godwit makes many data centres usable as one. A region's scheduler places jobs on its "
	"sites "
	"by their resources and by the measured network, and says what the distance costs.",
	"Start with \"godwit join TICKET\", where TICKET is a file from your region's operator; "
	"then "
	"try \"godwit sites\" and \"godwit run -- hostname\".",
	NULL,
};

static const char *const exit_codes[] = {
	"0 success",
	"1 failure, said in one sentence on stderr",
	"2 a command line that cannot be meant",
	"130 left by ^C",
	"N of \"run\" and \"submit --wait\": the largest exit code of the tasks; 128 + the "
	"signal's "
	"number for a task ended by a signal",
	NULL,
};

static const char *const files[] = {
	"~/.config/godwit/keys your secret keys, mode 0600",
	"~/.config/godwit/certificate what the region says of them",
	"~/.config/godwit/region the region's public keys and its scheduler's address",
	NULL,
};

static const char *const see_also[] = {
	"godwit-job(5)", "godwit-agent(8)", "godwit-scheduler(8)", "godwit-keeper(8)", NULL,
};

static const struct gw_command *const commands[] = {
	&ctl_cmd_keygen, &ctl_cmd_join,    &ctl_cmd_run,    &ctl_cmd_submit,
	&ctl_cmd_jobs,   &ctl_cmd_logs,    &ctl_cmd_cancel, &ctl_cmd_sites,
	&ctl_cmd_plan,   &ctl_cmd_explain, &ctl_cmd_revoke, &ctl_cmd_version,
};

int main(int argc, char **argv)
{
	struct gw_command table[GW_ARRAY_COUNT(commands) + 1] = {{.name = NULL}};
	struct gw_format formats[2] = {gw_spec_format, {.name = NULL}};
	const struct gw_program program = {
		.name = "godwit",
		.summary = "run jobs across data centres",
		.details = details,
		.commands = table,
		.common = common,
		.exit_codes = exit_codes,
		.files = files,
		.see_also = see_also,
		.section = 1,
		.formats = formats,
	};

	for (size_t i = 0; i < GW_ARRAY_COUNT(commands); i++)
		table[i] = *commands[i];
	return gw_program_main(&program, argc, argv);
}
