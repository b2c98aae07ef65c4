/* godwit-agent: its commands and what --help and the man page say of them. */
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/daemon.h"
#include "agent/devices.h"
#include "agent/options.h"
#include "transport/enrol.h"

#define EXIT_USAGE 2

static int run(const struct gw_command *command, void *values, int operand_count, char **operands)
{
	struct gw_agent_options *options = values;
	struct gw_agent_settings settings;
	struct gw_parse_error error;
	struct gw_arena arena;
	const char *file;
	char text[1024];
	int code;

	(void)command;
	(void)operand_count;
	(void)operands;
	gw_arena_init(&arena, 1u << 20);
	if (gw_agent_options_read(options, &arena, &settings, &file, &error) != 0) {
		gw_parse_error_format(&error, file, text, sizeof(text));
		(void)fprintf(stderr, "godwit-agent: %s\n", error.mark.line ? text : error.text);
		code = EXIT_USAGE;
	} else if (options->check) {
		(void)printf("the options are good\n");
		code = EXIT_SUCCESS;
	} else {
		/* One arena for all threads: libzmq's two hardly allocate. */
		(void)mallopt(M_ARENA_MAX, 1);
		code = gw_agent_serve(&settings);
	}
	gw_arena_deinit(&arena);
	return code;
}

struct join_options {
	const char *state;
	const char *name;
	uint64_t limit_us;
};

/* Before the token is spent: a node cannot be made of a person's ticket. */
static int check_role(const char *path, const struct gw_ticket *ticket, struct gw_fault *fault)
{
	if (ticket->role == GODWIT__ROLE__ROLE_AGENT)
		return 0;
	gw_fault_set(fault, "%s is a ticket for a person, not for a node: use it with godwit join",
		     path);
	return -EINVAL;
}

static int join(const struct gw_command *command, void *values, int operand_count, char **operands)
{
	const struct join_options *options = values;
	struct gw_fault fault = {""};
	struct gw_ticket ticket;
	char hostname[GW_NAME_BYTES_MAX + 1] = "";

	(void)command;
	(void)operand_count;
	(void)gethostname(hostname, sizeof(hostname) - 1); /* else empty, and refused as a name */
	if (gw_ticket_load(operands[0], &ticket, &fault) < 0 ||
	    check_role(operands[0], &ticket, &fault) < 0 ||
	    gw_join(options->state, &ticket, options->name ? options->name : hostname,
		    options->limit_us, &fault) < 0) {
		(void)fprintf(stderr, "godwit-agent: %s\n", fault.text);
		return EXIT_FAILURE;
	}
	(void)printf("joined region %s; next: godwit-agent run --state %s\n", ticket.region.name,
		     options->state);
	return EXIT_SUCCESS;
}

struct accelerators_options {
	bool encoded;
};

static int accelerators(const struct gw_command *command, void *values, int operand_count,
			char **operands)
{
	const struct accelerators_options *options = values;

	(void)command;
	(void)operand_count;
	(void)operands;
	return gw_devices_print(options->encoded);
}

static const struct gw_option join_table[] = {
	{.value = {.key = "state",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct join_options, state),
		   .fallback = "/var/lib/godwit",
		   .help = "folder that becomes the node's identity"},
	 .letter = 's',
	 .argument = "DIR"},
	{.value = {.key = "name",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct join_options, name),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "the node's name, where the ticket leaves it open; the host's if "
			   "absent"},
	 .argument = "NAME"},
	{.value = {.key = "timeout",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct join_options, limit_us),
		   .fallback = "10 s",
		   .min = 1000,
		   .max = 3600000000,
		   .help = "how long to wait for the scheduler"},
	 .argument = "TIME"},
	{.value = {.key = NULL}},
};

static const struct gw_option accelerators_table[] = {
	{.value = {.key = "encoded",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct accelerators_options, encoded),
		   .help = "as the running agent reads them, not for people"}},
	{.value = {.key = NULL}},
};

static const char *const run_details[] = {
	"Tells the scheduler what this host is and how it fares, and runs the tasks that the "
	"scheduler places here. Tasks are children of godwit-keeper(8), which the agent starts if "
	"none runs: the agent may be stopped, killed or upgraded while tasks run, and finds them "
	"again. SIGTERM ends the agent and leaves the tasks running.",
	"Where the agent runs as root, tasks run as nobody, or as --task-user says; a job may name "
	"only that user and those of --task-users. Tasks as root take both options: --task-user "
	"root --task-users root.",
	"An option on the command line goes before the same key in the file of --config.",
	NULL,
};

static const struct gw_example run_examples[] = {
	{"godwit-agent run --state /var/lib/godwit --data-address 10.1.0.7 --ports 20000-20999",
	 "serve the scheduler that this node was joined to"},
	{"godwit-agent run --config /etc/godwit/agent.yaml --check",
	 "look through a file of options"},
	{NULL, NULL},
};

static const struct gw_example join_examples[] = {
	{"godwit-agent join --state /var/lib/godwit ticket", "make this host a node of a region"},
	{NULL, NULL},
};

static const struct gw_command commands[] = {
	{.name = "run",
	 .summary = "Run tasks on this host for a scheduler.",
	 .options = gw_agent_option_table,
	 .details = run_details,
	 .examples = run_examples,
	 .run = run,
	 .options_bytes = sizeof(struct gw_agent_options)},
	{.name = "join",
	 .summary = "Make this host a node of a region, by a ticket from its operator.",
	 .operands = "TICKET",
	 .operands_min = 1,
	 .operands_max = 1,
	 .options = join_table,
	 .examples = join_examples,
	 .run = join,
	 .options_bytes = sizeof(struct join_options)},
	{.name = "accelerators",
	 .summary = "Print the accelerators that this host would offer.",
	 .options = accelerators_table,
	 .run = accelerators,
	 .options_bytes = sizeof(struct accelerators_options)},
	{.name = NULL},
};

static const char *const details[] = {
	"One agent serves a host. The node's identity is made by join, from a ticket that the "
	"region's operator gives.",
	NULL,
};

static const char *const exit_codes[] = {
	"0 stopped in order",
	"1 failure, said in one sentence on stderr",
	"2 a command line or file that cannot be meant",
	NULL,
};

static const char *const files[] = {
	"STATE/keys the node's secret keys, mode 0600",
	"STATE/certificate what the region says of the node",
	"STATE/region where the scheduler listens and which keys it has",
	"STATE/journal the highest leader term heard, the last lease renewal",
	"STATE/lock held by the agent that runs",
	"STATE/keeper tasks: records, output, working folders",
	NULL,
};

static const char *const see_also[] = {"godwit(1)", "godwit-scheduler(8)", "godwit-keeper(8)",
				       NULL};

int main(int argc, char **argv)
{
	static const struct gw_program program = {
		.name = "godwit-agent",
		.summary = "run tasks on this host for a scheduler",
		.details = details,
		.commands = commands,
		.exit_codes = exit_codes,
		.files = files,
		.see_also = see_also,
		.section = 8,
	};

	return gw_program_main(&program, argc, argv);
}
