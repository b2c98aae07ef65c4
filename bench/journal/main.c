/* godwit-journal: the programs that bench/journal/bench.py times beside each other. */
#include <stddef.h>

#include "bench/journal/journal.h"
#include "proto/option.h"

static int run_load(const struct gw_command *command, void *options, int operand_count,
		    char **operands)
{
	(void)command;
	(void)operand_count;
	(void)operands;
	return journal_load(options);
}

static int run_echo(const struct gw_command *command, void *options, int operand_count,
		    char **operands)
{
	(void)command;
	(void)operand_count;
	(void)operands;
	return journal_echo(options);
}

static int run_make(const struct gw_command *command, void *options, int operand_count,
		    char **operands)
{
	(void)command;
	(void)operand_count;
	(void)operands;
	return journal_make(options);
}

static int run_recover(const struct gw_command *command, void *options, int operand_count,
		       char **operands)
{
	(void)command;
	(void)operand_count;
	(void)operands;
	return journal_recover(options);
}

static int run_read(const struct gw_command *command, void *options, int operand_count,
		    char **operands)
{
	(void)command;
	(void)operand_count;
	(void)operands;
	return journal_read(options);
}

#define LOAD(name) .offset = offsetof(struct load_options, name)
#define ECHO(name) .offset = offsetof(struct echo_options, name)
#define RECOVER(name) .offset = offsetof(struct recover_options, name)

static const struct gw_option load_table[] = {
	{.value = {.key = "identities",
		   .type = GW_SCHEMA_TEXT,
		   LOAD(identities),
		   .mark_offset = offsetof(struct load_options, identities_mark),
		   .required = true,
		   .help = "folder of identities' folders, named 0, 1, ..."},
	 .argument = "DIR"},
	{.value = {.key = "clients",
		   .type = GW_SCHEMA_COUNT,
		   LOAD(clients),
		   .fallback = "64",
		   .min = 1,
		   .max = JOURNAL_CLIENTS_MAX,
		   .help = "connections, each with an identity of its own"},
	 .argument = "COUNT"},
	{.value = {.key = "in-flight",
		   .type = GW_SCHEMA_COUNT,
		   LOAD(in_flight),
		   .fallback = "4",
		   .min = 1,
		   .max = JOURNAL_IN_FLIGHT_MAX,
		   .help = "submissions of each client that wait for an answer"},
	 .argument = "COUNT"},
	{.value = {.key = "count",
		   .type = GW_SCHEMA_COUNT,
		   LOAD(count),
		   .fallback = "20000",
		   .min = 100,
		   .max = 10000000,
		   .help = "submissions measured"},
	 .argument = "COUNT"},
	{.value = {.key = "warm",
		   .type = GW_SCHEMA_COUNT,
		   LOAD(warm),
		   .fallback = "1000",
		   .max = 10000000,
		   .help = "submissions before them"},
	 .argument = "COUNT"},
	{.value = {.key = "plain",
		   .type = GW_SCHEMA_BOOL,
		   LOAD(plain),
		   .help = "without a session, for the echo server"}},
	{.value = {.key = NULL}},
};

static const struct gw_option echo_table[] = {
	{.value = {.key = "state",
		   .type = GW_SCHEMA_TEXT,
		   ECHO(state),
		   .mark_offset = offsetof(struct echo_options, state_mark),
		   .required = true,
		   .help = "the scheduler's folder, for its keys and identities"},
	 .argument = "DIR"},
	{.value = {.key = "file",
		   .type = GW_SCHEMA_TEXT,
		   ECHO(file),
		   .mark_offset = offsetof(struct echo_options, file_mark),
		   .required = true,
		   .help = "what the messages are written to"},
	 .argument = "FILE"},
	{.value = {.key = "endpoint",
		   .type = GW_SCHEMA_TEXT,
		   ECHO(endpoint),
		   .mark_offset = offsetof(struct echo_options, endpoint_mark),
		   .required = true,
		   .help = "tcp://ADDRESS:PORT to listen at"},
	 .argument = "ENDPOINT"},
	{.value = {.key = NULL}},
};

static const struct gw_option recover_table[] = {
	{.value = {.key = "directory",
		   .type = GW_SCHEMA_TEXT,
		   RECOVER(directory),
		   .mark_offset = offsetof(struct recover_options, directory_mark),
		   .required = true,
		   .help = "the journal"},
	 .argument = "DIR"},
	{.value = {.key = "tasks",
		   .type = GW_SCHEMA_COUNT,
		   RECOVER(tasks),
		   .fallback = "1000000",
		   .min = 1000,
		   .max = 1000000,
		   .help = "how many to make"},
	 .argument = "COUNT"},
	{.value = {.key = NULL}},
};

static const struct gw_command commands[] = {
	{.name = "load",
	 .summary = "submit from many clients",
	 .options = load_table,
	 .run = run_load,
	 .options_bytes = sizeof(struct load_options)},
	{.name = "echo",
	 .summary = "write, sync and send back",
	 .options = echo_table,
	 .run = run_echo,
	 .options_bytes = sizeof(struct echo_options)},
	{.name = "make",
	 .summary = "write a large journal",
	 .options = recover_table,
	 .run = run_make,
	 .options_bytes = sizeof(struct recover_options)},
	{.name = "recover",
	 .summary = "make a core from a journal",
	 .options = recover_table,
	 .run = run_recover,
	 .options_bytes = sizeof(struct recover_options)},
	{.name = "read",
	 .summary = "read, check and decode a journal",
	 .options = recover_table,
	 .run = run_read,
	 .options_bytes = sizeof(struct recover_options)},
	{.name = NULL},
};

int main(int argc, char **argv)
{
	static const struct gw_program program = {
		.name = "godwit-journal",
		.summary = "load and floors for the journal's benchmark",
		.commands = commands,
		.section = 1,
	};

	return gw_program_main(&program, argc, argv);
}
