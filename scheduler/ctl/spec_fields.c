/*
 * The table of a job spec: every key with its type, unit, range, default and one line of help. The
 * parser, `godwit submit --check` and godwit-job(5) read it.
 */
#include <stddef.h>

#include "proto/base/time.h"
#include "scheduler/ctl/spec.h"

#define AT(member) .offset = offsetof(struct gw_spec, member)
#define MARK(member) .mark_offset = offsetof(struct gw_spec, member)
#define TEXTS .item = &gw_spec_text_item, .item_bytes = sizeof(struct gw_spec_text)
#define DAYS(n) ((n)*86400 * GW_US_PER_S)

const char *const gw_spec_kinds[] = {"task", "serve", "train", NULL};
const char *const gw_spec_spreads[] = {"none", "pack", "site", "node", NULL};

const char *const gw_spec_replaces[] = {"after_lease", "at_once", "never", NULL};
const char *const gw_spec_reconciles[] = {"keep_replacement", "keep_original", "keep_longest",
					  NULL};

const struct gw_schema gw_spec_text_item = {
	.type = GW_SCHEMA_TEXT,
	.offset = offsetof(struct gw_spec_text, text),
	.mark_offset = offsetof(struct gw_spec_text, mark),
	.min = 1,
};

static const struct gw_schema argument_item = {
	.type = GW_SCHEMA_TEXT,
	.offset = offsetof(struct gw_spec_text, text),
	.mark_offset = offsetof(struct gw_spec_text, mark),
};

static const struct gw_schema resource_fields[] = {
	{.key = "cpu", .offset = offsetof(struct gw_spec_resources, cpu_milli), GW_SPEC_CPU},
	{.key = "memory",
	 .offset = offsetof(struct gw_spec_resources, memory_bytes),
	 GW_SPEC_MEMORY},
	{.key = "devices",
	 .offset = offsetof(struct gw_spec_resources, device_count),
	 GW_SPEC_DEVICES},
	{.key = "device_type",
	 .offset = offsetof(struct gw_spec_resources, device_type),
	 .mark_offset = offsetof(struct gw_spec_resources, device_type_mark),
	 GW_SPEC_DEVICE_TYPE},
	{.key = "ports",
	 .type = GW_SCHEMA_COUNT,
	 .offset = offsetof(struct gw_spec_resources, port_count),
	 .max = 256,
	 .help = "TCP or UDP ports of each task, on the node's data address; see "
		 "GODWIT_PORTS"},
	{.key = "processes",
	 .type = GW_SCHEMA_COUNT,
	 .offset = offsetof(struct gw_spec_resources, process_count),
	 .max = 4194304,
	 .help = "limit of processes and threads of each task; 0: the host's own"},
	{.key = NULL},
};

static const struct gw_schema model_fields[] = {
	{.key = "stage_time",
	 .type = GW_SCHEMA_DURATION,
	 .offset = offsetof(struct gw_spec_model, stage_us),
	 .required = true,
	 .min = 1,
	 .max = 60 * GW_US_PER_S,
	 .help = "time of one micro-batch in one stage"},
	{.key = "micro_batches",
	 .type = GW_SCHEMA_COUNT,
	 .offset = offsetof(struct gw_spec_model, micro_batches),
	 .fallback = "1",
	 .min = 1,
	 .max = 65536,
	 .help = "micro-batches in flight"},
	{.key = "batch",
	 .type = GW_SCHEMA_COUNT,
	 .offset = offsetof(struct gw_spec_model, batch),
	 .fallback = "1",
	 .min = 1,
	 .max = 65536,
	 .help = "sequences in a micro-batch"},
	{.key = "activation",
	 .type = GW_SCHEMA_BYTES,
	 .offset = offsetof(struct gw_spec_model, activation_bytes),
	 .required = true,
	 .min = 1,
	 .max = 1u << 30,
	 .help = "what one sequence sends from one stage to the next, for each token"},
	{.key = "loss_budget",
	 .type = GW_SCHEMA_FRACTION,
	 .offset = offsetof(struct gw_spec_model, loss_budget_ppm),
	 .fallback = "5 %",
	 .help = "throughput that distance may cost"},
	{.key = NULL},
};

static const struct gw_schema disconnect_fields[] = {
	{.key = "lost_after",
	 .type = GW_SCHEMA_DURATION,
	 .offset = offsetof(struct gw_spec_disconnect, lost_after_us),
	 .mark_offset = offsetof(struct gw_spec_disconnect, lost_after_mark),
	 .min = GW_US_PER_S,
	 .max = DAYS(60),
	 .help = "silence of its node after which a task is called lost; not before its lease has "
		 "certainly ended, unless replace is at_once; the lease if absent"},
	{.key = "replace",
	 .type = GW_SCHEMA_CHOICE,
	 .offset = offsetof(struct gw_spec_disconnect, replace),
	 .mark_offset = offsetof(struct gw_spec_disconnect, replace_mark),
	 .choices = gw_spec_replaces,
	 .fallback = "after_lease",
	 .help = "when a lost task is started elsewhere. after_lease: when it has certainly ended; "
		 "at_once: though it may run on, so that it may run twice; never: its node is "
		 "waited for, and the task is \"unknown\" meanwhile"},
	{.key = "reconcile",
	 .type = GW_SCHEMA_CHOICE,
	 .offset = offsetof(struct gw_spec_disconnect, reconcile),
	 .mark_offset = offsetof(struct gw_spec_disconnect, reconcile_mark),
	 .choices = gw_spec_reconciles,
	 .fallback = "keep_replacement",
	 .help = "which one stays if a lost task, or its result, comes back and another took its "
		 "place; the other is ended, and one result alone counts. keep_longest: the one "
		 "known to have run for longer"},
	{.key = NULL},
};

const struct gw_schema gw_spec_fields[] = {
	{.key = "name",
	 .type = GW_SCHEMA_TEXT,
	 AT(name),
	 MARK(name_mark),
	 .required = true,
	 .min = 1,
	 .max = GW_NAME_BYTES_MAX,
	 .help = "letters, digits, dots, dashes and underscores"},
	{.key = "kind",
	 .type = GW_SCHEMA_CHOICE,
	 AT(kind),
	 MARK(kind_mark),
	 .choices = gw_spec_kinds,
	 .fallback = "task",
	 .help = "task: a batch of equal processes; serve: the stages of an inference pipeline; "
		 "train is not run yet"},
	{.key = "count", AT(count), MARK(count_mark), GW_SPEC_COUNT},
	{.key = "stages",
	 .type = GW_SCHEMA_COUNT,
	 AT(stages),
	 MARK(stages_mark),
	 .min = 1,
	 .max = 1024,
	 .help = "of a serve job, instead of count: pipeline stages, a task each"},
	{.key = "command",
	 .type = GW_SCHEMA_LIST,
	 AT(command),
	 MARK(command_mark),
	 .item = &argument_item,
	 .item_bytes = sizeof(struct gw_spec_text),
	 .required = true,
	 .min = 1,
	 .max = GW_ARGS_MAX,
	 .help = "the program and its arguments; no shell looks at them"},
	{.key = "env",
	 .type = GW_SCHEMA_PAIRS,
	 AT(env),
	 MARK(env_mark),
	 .max = GW_ENV_JOB_MAX,
	 .help = "environment variables"},
	{.key = "directory", AT(directory), MARK(directory_mark), GW_SPEC_DIRECTORY},
	{.key = "user", AT(user), MARK(user_mark), GW_SPEC_USER},
	{.key = "resources",
	 .type = GW_SCHEMA_MAP,
	 AT(resources),
	 .fields = resource_fields,
	 .help = "what each task needs"},
	{.key = "rlimits",
	 .type = GW_SCHEMA_PAIRS,
	 AT(rlimits),
	 MARK(rlimits_mark),
	 .max = GW_RLIMITS_MAX,
	 .help = "limits of each process, by their names in setrlimit(2) without RLIMIT_ and in "
		 "lower case: SOFT or SOFT:HARD, each a whole number in that page's unit or "
		 "\"unlimited\"; a task that may not have them on its node fails to start"},
	{.key = "sites",
	 .type = GW_SCHEMA_LIST,
	 AT(sites),
	 TEXTS,
	 .max = GW_SITES_MAX,
	 .help = "sites that may run it; all if absent"},
	{.key = "not_sites",
	 .type = GW_SCHEMA_LIST,
	 AT(not_sites),
	 TEXTS,
	 .max = GW_SITES_MAX,
	 .help = "sites that may not"},
	{.key = "residency",
	 .type = GW_SCHEMA_LIST,
	 AT(residency),
	 TEXTS,
	 .max = 64,
	 .help = "countries or regions of ISO 3166-2 that may hold it, as CN or CN-GZ; all if "
		 "absent"},
	{.key = "labels",
	 .type = GW_SCHEMA_PAIRS,
	 AT(labels),
	 MARK(labels_mark),
	 .max = 64,
	 .help = "labels that a node must have, all of them"},
	{.key = "spread", AT(spread), MARK(spread_mark), GW_SPEC_SPREAD},
	{.key = "priority", AT(priority), GW_SPEC_PRIORITY},
	{.key = "attempts", AT(attempts), GW_SPEC_ATTEMPTS},
	{.key = "lease",
	 .type = GW_SCHEMA_DURATION,
	 AT(lease_us),
	 MARK(lease_mark),
	 .min = GW_US_PER_S,
	 .max = DAYS(30),
	 .help = "how long a task may run while its node is unheard of; the region's own if "
		 "absent"},
	{.key = "disconnect",
	 .type = GW_SCHEMA_MAP,
	 AT(disconnect),
	 .fields = disconnect_fields,
	 .help = "what becomes of a task whose node is cut off"},
	{.key = "replace_after",
	 .gone = "write disconnect: {lost_after: DURATION}, and replace: at_once beside it if the "
		 "task may run twice"},
	{.key = "allow_double",
	 .gone = "write disconnect: {lost_after: DURATION, replace: at_once}"},
	{.key = "time_limit", AT(time_limit_us), GW_SPEC_TIME_LIMIT},
	{.key = "grace", AT(grace_us), GW_SPEC_GRACE},
	{.key = "model",
	 .type = GW_SCHEMA_MAP,
	 AT(model),
	 MARK(model_mark),
	 .fields = model_fields,
	 .help = "of a serve job: what a stage costs, for the placement"},
	{.key = "rtt_max",
	 .type = GW_SCHEMA_DURATION,
	 AT(rtt_us_max),
	 .max = 60 * GW_US_PER_S,
	 .help = "largest round-trip time between any two tasks; any if absent"},
	{.key = NULL},
};

static const char *const details[] = {
	"A job spec is one YAML document: a map of the keys below. Anchors, aliases and tags are "
	"refused. Durations and sizes carry their unit (us, ms, s, min, h, d; B, KB, MB, GB, TB, "
	"KiB, "
	"MiB, GiB, TiB); a bare 0 needs none.",
	"A task finds in its environment, besides \"env\", GODWIT_JOB, GODWIT_TASK_INDEX (from 0), "
	"GODWIT_TASK_COUNT, GODWIT_ATTEMPT, GODWIT_SITE, GODWIT_NODE and GODWIT_PORTS (\"first "
	"count\"), with devices GODWIT_DEVICES and CUDA_VISIBLE_DEVICES (their identifiers, "
	"separated "
	"by commas); a stage of a serve job also GODWIT_PEERS, the \"[address]:port\" of every "
	"stage "
	"in "
	"order, separated by commas.",
	"\"godwit submit --check FILE\" reads a spec and says what is wrong in it, without a "
	"scheduler.",
	NULL,
};

static const char *const examples[] = {
	"# Ten tasks, at most one on each node\n"
	"name: digits\n"
	"command: [/bin/sh, -c, 'echo task $GODWIT_TASK_INDEX']\n"
	"count: 10\n"
	"spread: node\n"
	"resources: {cpu: 0.5, memory: 64 MiB}\n"
	"rlimits: {nofile: 1024, core: 0:unlimited}\n"
	"attempts: 3\n",
	"# An inference pipeline over two stages, wherever distance costs at most 5 %\n"
	"name: chat\n"
	"kind: serve\n"
	"stages: 2\n"
	"command: [/opt/chat/stage, --weights, /srv/chat]\n"
	"resources: {cpu: 4, memory: 16 GiB, ports: 1}\n"
	"model:\n"
	"  stage_time: 8 ms\n"
	"  micro_batches: 4\n"
	"  batch: 16\n"
	"  activation: 16 KiB\n"
	"residency: [CN]\n",
	"# A simulation that outlives a day without its scheduler. Cut off for ten minutes it is\n"
	"# started elsewhere as well; should the first one come back, it is the one that stays\n"
	"name: climate\n"
	"command: [/opt/climate/run]\n"
	"lease: 1 d\n"
	"disconnect: {lost_after: 10 min, replace: at_once, reconcile: keep_original}\n",
	NULL,
};

const struct gw_format gw_spec_format = {
	.name = "godwit-job",
	.summary = "job specification",
	.details = details,
	.fields = gw_spec_fields,
	.examples = examples,
};
