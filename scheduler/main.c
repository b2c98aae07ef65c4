/*
 * godwit-scheduler: the tables of its command line. `init` and `token` are in region.c, `run` in
 * daemon.c, `check-journal` and `dump-journal` in inspect.c.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/limits.h"
#include "proto/base/time.h"
#include "proto/option.h"
#include "scheduler/core/scheduler.h"
#include "scheduler/options.h"
#include "transport/curve.h"

static int run_states(const struct gw_command *command, void *options, int operand_count,
		      char **operands)
{
	char text[6000];

	(void)command;
	(void)options;
	(void)operand_count;
	(void)operands;
	CHECK(gw_scheduler_states(text, sizeof(text)) < sizeof(text));
	(void)fputs(text, stdout);
	return 0;
}

static const struct gw_option common_options[] = {
	{.value = {.key = "state",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct common_options, state),
		   .fallback = "/var/lib/godwit-scheduler",
		   .help = "folder of the region's keys, certificates, tokens and journal"},
	 .letter = 's',
	 .argument = "DIR"},
	{.value = {.key = NULL}},
};

static const struct gw_option init_table[] = {
	{.value = {.key = "region",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct init_options, region),
		   .mark_offset = offsetof(struct init_options, region_mark),
		   .required = true,
		   .max = GW_NAME_BYTES_MAX,
		   .help = "the region's name"},
	 .argument = "NAME"},
	{.value = {.key = NULL}},
};

#define LISTEN_OPTIONS(owner, what)                                                                \
	{.value = {.key = "listen",                                                                \
		   .type = GW_SCHEMA_TEXT,                                                         \
		   .offset = offsetof(struct owner, listen),                                       \
		   .mark_offset = offsetof(struct owner, listen_mark),                             \
		   .required = true,                                                               \
		   .max = 128,                                                                     \
		   .help = what},                                                                  \
	 .argument = "ADDRESS"},                                                                   \
	{                                                                                          \
		.value = {.key = "port",                                                           \
			  .type = GW_SCHEMA_COUNT,                                                 \
			  .offset = offsetof(struct owner, port),                                  \
			  .fallback = "7100",                                                      \
			  .min = 1,                                                                \
			  .max = 65533,                                                            \
			  .help = "port of the state channel; heartbeats have the next, "          \
				  "enrolment the one after it"},                                   \
		.argument = "PORT"                                                                 \
	}

static const struct gw_option run_table[] = {
	LISTEN_OPTIONS(run_options, "IP address to listen on"),
	{.value = {.key = "unknown-after",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct run_options, unknown_after_us),
		   .fallback = "5s",
		   .min = 100 * GW_US_PER_MS,
		   .max = 3600 * GW_US_PER_S,
		   .help = "silence after which a node is unknown and gets no new tasks"},
	 .argument = "DURATION"},
	{.value = {.key = "lost-after",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct run_options, lost_after_us),
		   .fallback = "60s",
		   .min = GW_US_PER_S,
		   .max = 24 * 3600 * GW_US_PER_S,
		   .help = "silence after which a node that runs nothing is called lost"},
	 .argument = "DURATION"},
	{.value = {.key = "lease",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct run_options, lease_us),
		   .fallback = "24h",
		   .min = 10 * GW_US_PER_S,
		   .max = 30 * 24 * 3600 * GW_US_PER_S,
		   .help = "how long an attempt may run unheard, for jobs that state no lease"},
	 .argument = "DURATION"},
	{.value = {.key = "waiting-tasks-max",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct run_options, waiting_tasks_max),
		   .fallback = "100000",
		   .min = 1,
		   .max = GW_TASKS_MAX,
		   .help = "tasks of one user that may wait at a time"},
	 .argument = "COUNT"},
	{.value = {.key = "workers",
		   .type = GW_SCHEMA_COUNT,
		   .offset = offsetof(struct run_options, workers),
		   .fallback = "1",
		   .min = 1,
		   .max = 16,
		   .help = "threads for planners"},
	 .argument = "COUNT"},
	{.value = {.key = "snapshot-after",
		   .type = GW_SCHEMA_BYTES,
		   .offset = offsetof(struct run_options, snapshot_bytes),
		   .fallback = "64 MiB",
		   .min = 1 << 16,
		   .max = 1ull << 40,
		   .help = "records since the last snapshot after which the next is made; a start "
			   "reads one snapshot and the records after it"},
	 .argument = "SIZE"},
	{.value = {.key = "begin-anew",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct run_options, begin_anew),
		   .help = "start though the journal of a scheduler that has led is gone, without "
			   "its jobs: agents end their tasks"}},
	{.value = {.key = "etcd",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct run_options, etcd),
		   .max = 1024,
		   .help = "keep the journal in this etcd cluster (http:// or https://), shared "
			   "with other schedulers of the region, one of which leads"},
	 .argument = "URL[,URL...]"},
	{.value = {.key = "advertise",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct run_options, advertise),
		   .max = 128,
		   .help = "with --etcd: IP address at which agents and users reach this "
			   "scheduler; without it, --listen"},
	 .argument = "ADDRESS"},
	{.value = {.key = "etcd-lease",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct run_options, etcd_lease_us),
		   .fallback = "3s",
		   .min = GW_US_PER_S,
		   .max = 60 * GW_US_PER_S,
		   .help = "whole seconds of a leader's silence after which another takes over"},
	 .argument = "DURATION"},
	{.value = {.key = "etcd-prefix",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct run_options, etcd_prefix),
		   .max = 63,
		   .help = "where the keys stand in etcd; without it, /godwit/REGION"},
	 .argument = "KEY"},
	{.value = {.key = "etcd-ca",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct run_options, etcd_ca),
		   .help = "certificates of who may sign etcd's; without it, the system's"},
	 .argument = "FILE"},
	{.value = {.key = "etcd-certificate",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct run_options, etcd_certificate),
		   .help = "this scheduler's own TLS certificate, for etcd"},
	 .argument = "FILE"},
	{.value = {.key = "etcd-key",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct run_options, etcd_key),
		   .help = "its key; a secret, mode 0600"},
	 .argument = "FILE"},
	{.value = {.key = "etcd-user",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct run_options, etcd_user_file),
		   .help = "USER:PASSWORD for etcd in a file; a secret, mode 0600"},
	 .argument = "FILE"},
	{.value = {.key = NULL}},
};

static const struct gw_option check_table[] = {
	{.value = {.key = "json",
		   .type = GW_SCHEMA_BOOL,
		   .offset = offsetof(struct inspect_options, json),
		   .help = "one JSON value instead of sentences"}},
	{.value = {.key = NULL}},
};

static const struct gw_option token_table[] = {
	LISTEN_OPTIONS(token_options, "address at which the joiner reaches the scheduler"),
	{.value = {.key = "ticket",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, ticket),
		   .mark_offset = offsetof(struct token_options, ticket_mark),
		   .required = true,
		   .help = "file to write; its mode is 0600"},
	 .argument = "FILE"},
	{.value = {.key = "role",
		   .type = GW_SCHEMA_CHOICE,
		   .offset = offsetof(struct token_options, role),
		   .mark_offset = offsetof(struct token_options, role_mark),
		   .required = true,
		   .choices = gw_role_names,
		   .help = "what the joiner becomes"},
	 .argument = "ROLE"},
	{.value = {.key = "site",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, site),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "where an agent stands: nodes behind one WAN attachment"},
	 .argument = "NAME"},
	{.value = {.key = "name",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, name),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "the joiner's name; without it, as the joiner asks"},
	 .argument = "NAME"},
	{.value = {.key = "provider",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, provider),
		   .max = GW_NAME_BYTES_MAX,
		   .help = "who owns the site"},
	 .argument = "NAME"},
	{.value = {.key = "tenant",
		   .type = GW_SCHEMA_TEXT,
		   .offset = offsetof(struct token_options, tenant),
		   .help = "for whom a user acts, 32 hexadecimal digits; without it, the region"},
	 .argument = "ID"},
	{.value = {.key = "token-life",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct token_options, token_life_us),
		   .fallback = "24h",
		   .min = GW_US_PER_S,
		   .max = 30 * 24 * 3600 * GW_US_PER_S,
		   .help = "how long the ticket can be used"},
	 .argument = "DURATION"},
	{.value = {.key = "certificate-life",
		   .type = GW_SCHEMA_DURATION,
		   .offset = offsetof(struct token_options, certificate_life_us),
		   .fallback = "8760h",
		   .min = 60 * GW_US_PER_S,
		   .max = 10 * 8760 * 3600 * GW_US_PER_S,
		   .help = "how long the identity is good"},
	 .argument = "DURATION"},
	{.value = {.key = NULL}},
};

static const struct gw_example run_examples[] = {
	{"godwit-scheduler run --listen 10.0.0.1", "serve the region made by init"},
	{"godwit-scheduler run --listen 10.0.0.1 --etcd http://10.0.0.1:2379,http://10.0.0.2:2379",
	 "one of several schedulers of the region: it leads, or stands by"},
	{NULL, NULL},
};

static const struct gw_example init_examples[] = {
	{"godwit-scheduler init --region north", "make the region's keys, once"},
	{NULL, NULL},
};

static const struct gw_example token_examples[] = {
	{"godwit-scheduler token --listen 10.0.0.1 --role agent --site gz1 --ticket node7.ticket",
	 "let one host of site gz1 join"},
	{"godwit-scheduler token --listen 10.0.0.1 --role user --name ada --ticket ada.ticket",
	 "let ada submit jobs"},
	{NULL, NULL},
};

static const struct gw_example check_examples[] = {
	{"godwit-scheduler check-journal", "is the journal whole, and how far does it go"},
	{"godwit-scheduler check-journal /backup/journal", "would a start with this backup work"},
	{NULL, NULL},
};

static const struct gw_example dump_examples[] = {
	{"godwit-scheduler dump-journal | jq -c 'select(.record.job_accepted) | [.seq, .time, "
	 ".record.job_accepted.spec.name]'",
	 "when each job was accepted"},
	{NULL, NULL},
};

static const char *const check_details[] = {
	"Reads DIR, or the folder journal of --state, without changing it, also while a scheduler "
	"runs on it: every checksum, and every record as a start would apply it.",
	"Exits 0 when a scheduler can start from it. A last write that did not end is none of the "
	"journal's damage, and the next start cuts it. That records which were known to last are "
	"not "
	"there is damage.",
	NULL,
};

static const char *const dump_details[] = {
	"One JSON value a line, in order: first the pieces of the newest snapshot, as {\"seq\", "
	"\"snapshot\"}, then each record after it, as {\"seq\", \"time\", \"record\"}. Fields have "
	"the names of proto/msg/snapshot.proto and proto/msg/record.proto.",
	"What is damaged ends it with exit code 1, after what stands before the damage.",
	NULL,
};

static const struct gw_command commands[] = {
	{.name = "run",
	 .summary = "serve the region",
	 .options = run_table,
	 .examples = run_examples,
	 .run = gw_command_run,
	 .options_bytes = sizeof(struct run_options)},
	{.name = "init",
	 .summary = "make a region: its keys and its folder",
	 .options = init_table,
	 .examples = init_examples,
	 .run = gw_command_init,
	 .options_bytes = sizeof(struct init_options)},
	{.name = "token",
	 .summary = "write a ticket with which one node or user joins",
	 .options = token_table,
	 .examples = token_examples,
	 .run = gw_command_token,
	 .options_bytes = sizeof(struct token_options)},
	{.name = "check-journal",
	 .summary = "say whether a journal is whole and what it holds",
	 .operands = "[DIR]",
	 .operands_max = 1,
	 .options = check_table,
	 .details = check_details,
	 .examples = check_examples,
	 .run = gw_command_check_journal,
	 .options_bytes = sizeof(struct inspect_options)},
	{.name = "dump-journal",
	 .summary = "print a journal as JSON lines",
	 .operands = "[DIR]",
	 .operands_max = 1,
	 .details = dump_details,
	 .examples = dump_examples,
	 .run = gw_command_dump_journal,
	 .options_bytes = sizeof(struct inspect_options)},
	{.name = "states",
	 .summary = "print the life cycles of jobs and tasks",
	 .run = run_states,
	 .options_bytes = sizeof(struct common_options)},
	{.name = NULL},
};

int main(int argc, char **argv)
{
	static const char *const details[] = {
		"The scheduler of a region: agents and users connect to it, it decides which task "
		"runs where, and keeps what became of it. Running tasks need no scheduler.",
		"What it decides is on disk, in STATE/journal, before anybody is told: a scheduler "
		"that was killed knows after its restart every job that it had accepted, and the "
		"tasks that ran on go on running. A journal that is damaged refuses the start with "
		"the file and the offset; see check-journal.",
		"With --etcd several schedulers with the same keys (copies of STATE/keys and "
		"STATE/region) serve a region: one leads, the others follow its journal, and one "
		"of them takes over when it is gone or stopped. A ticket is used at the scheduler "
		"that wrote it, leader or not; what it makes known is known to all.",
		NULL,
	};
	static const char *const exit_codes[] = {"0 stopped in order", "1 failure", "2 usage error",
						 NULL};
	static const char *const files[] = {
		"STATE/keys the region's secret keys, mode 0600",
		"STATE/region its name and public keys",
		"STATE/certs certificates issued",
		"STATE/revoked identities refused",
		"STATE/tokens one-time tokens not yet used",
		"STATE/journal what was decided: segments of records, and snapshots",
		"STATE/etcd with --etcd: that the journal is there, and under which prefix",
		"STATE/epoch the highest epoch of ids given out",
		"STATE/lock held by the scheduler that runs",
		NULL,
	};
	static const char *const see_also[] = {"godwit(1)", "godwit-agent(8)", NULL};
	static const struct gw_program program = {
		.name = "godwit-scheduler",
		.summary = "schedule a region's jobs over its sites",
		.details = details,
		.commands = commands,
		.common = common_options,
		.exit_codes = exit_codes,
		.files = files,
		.see_also = see_also,
		.section = 8,
	};

	/* Also as the options --check-journal and --dump-journal. */
	if (argc > 1 &&
	    (strcmp(argv[1], "--check-journal") == 0 || strcmp(argv[1], "--dump-journal") == 0))
		argv[1] += 2;
	return gw_program_main(&program, argc, argv);
}
