/* The table of keys, and reading a file by it. */
#include "bench/sim/scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"

#define FILE_BYTES_MAX (64u << 10)
#define SITES_MAX 1000
#define NODES_MAX 100
#define HOUR_US (3600ull * 1000000)

#define DURATION(name, field, default_text, text)                                                  \
	{                                                                                          \
		.key = name, .type = GW_SCHEMA_DURATION, .offset = AT(field),                      \
		.fallback = default_text, .max = 10000 * HOUR_US, .help = text                     \
	}
#define SHARE(name, field, text)                                                                   \
	{                                                                                          \
		.key = name, .type = GW_SCHEMA_FRACTION, .offset = AT(field), .max = 1000000,      \
		.help = text                                                                       \
	}

/* A nested struct's fields count from its own beginning. */
#define AT(field) (offsetof(struct sim_scenario, jobs.field) - offsetof(struct sim_scenario, jobs))

static const struct gw_schema job_fields[] = {
	DURATION("every", every_us, "5 s", "mean time between two submissions"),
	{.key = "tasks",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(tasks),
	 .fallback = "3",
	 .min = 1,
	 .max = 1000,
	 .help = "tasks of a job, at most"},
	DURATION("run_min", run_min_us, "2 s", "a task runs at least this long"),
	DURATION("run_max", run_max_us, "20 s", "and at most this long"),
	{.key = "cpu",
	 .type = GW_SCHEMA_MILLI,
	 .offset = AT(cpu_milli),
	 .fallback = "2",
	 .min = 1,
	 .max = 1000000,
	 .help = "CPUs of a task, at most"},
	{.key = "memory",
	 .type = GW_SCHEMA_BYTES,
	 .offset = AT(memory_bytes),
	 .fallback = "1 GiB",
	 .help = "memory of a task, at most"},
	DURATION("lease", lease_us, "24 h", "how long an attempt may run unheard"),
	DURATION("grace", grace_us, "2 s", "between TERM and KILL"),
	SHARE("fail", fail_ppm, "tasks that exit with 1"),
	SHARE("gangs", gang_ppm, "jobs of kind serve, placed all or none"),
	SHARE("cancel", cancel_ppm, "jobs cancelled while under way"),
	SHARE("stubborn", stubborn_ppm, "jobs whose tasks ignore TERM"),
	SHARE("follow", follow_ppm, "jobs whose output is followed"),
	SHARE("lost", lost_ppm, "of the client's requests and of the answers"),
	{.key = "attempts",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(attempts),
	 .fallback = "1",
	 .min = 1,
	 .max = 100,
	 .help = "tries of a task that fails"},
	{.key = NULL},
};

#undef AT
#define AT(field) offsetof(struct sim_fault_plan, field)

static const struct gw_schema fault_fields[] = {
	{.key = "kind",
	 .type = GW_SCHEMA_CHOICE,
	 .offset = AT(kind),
	 .required = true,
	 .choices = sim_fault_names,
	 .help = "what breaks"},
	{.key = "count",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(count),
	 .fallback = "1",
	 .min = 1,
	 .max = 100000,
	 .help = "how often, at times drawn by the seed"},
	DURATION("lasts_min", lasts_min_us, "100 ms", "for at least so long"),
	DURATION("lasts_max", lasts_max_us, "10 s", "and at most so long"),
	DURATION("adds", adds_us, "0", "delay-spike: one-way delay added"),
	{.key = NULL},
};

static const struct gw_schema fault_item = {.type = GW_SCHEMA_MAP, .fields = fault_fields};

#undef AT
#define AT(field) offsetof(struct sim_scenario, field)

static const struct gw_schema scenario_fields[] = {
	{.key = "name",
	 .type = GW_SCHEMA_TEXT,
	 .offset = AT(name),
	 .required = true,
	 .max = 63,
	 .help = "of the scenario"},
	{.key = "about",
	 .type = GW_SCHEMA_TEXT,
	 .offset = AT(about),
	 .fallback = "",
	 .max = 200,
	 .help = "one line"},
	DURATION("duration", duration_us, "1 min", "jobs and faults happen within this"),
	DURATION("settle", settle_us, "2 min", "after which all must rest within this"),
	{.key = "sites",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(sites),
	 .fallback = "3",
	 .min = 1,
	 .max = SITES_MAX,
	 .help = "data centres"},
	{.key = "nodes",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(nodes),
	 .fallback = "1",
	 .min = 1,
	 .max = NODES_MAX,
	 .help = "nodes of a site"},
	{.key = "cpus",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(cpus),
	 .fallback = "4",
	 .min = 1,
	 .max = 1024,
	 .help = "CPUs of a node"},
	{.key = "memory",
	 .type = GW_SCHEMA_BYTES,
	 .offset = AT(memory_bytes),
	 .fallback = "8 GiB",
	 .help = "memory of a node"},
	{.key = "devices",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(devices),
	 .fallback = "0",
	 .max = 16,
	 .help = "accelerators of a node"},
	{.key = "spread_km",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(spread_km),
	 .fallback = "2000",
	 .max = 20000,
	 .help = "sites lie in a square of this side; 100 km are 1 ms of RTT"},
	DURATION("jitter", jitter_us, "500 us", "added to each packet's delay, uniform"),
	{.key = "rate",
	 .type = GW_SCHEMA_RATE,
	 .offset = AT(rate_bps),
	 .fallback = "1 Gb/s",
	 .help = "of a site's WAN link"},
	SHARE("loss", loss_ppm, "of packets; each costs its stream a retransmission"),
	{.key = "drift_ppm",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(drift_ppm),
	 .fallback = "50",
	 .max = 1000,
	 .help = "clocks run fast or slow by up to this"},
	DURATION("write", write_us, "5 ms", "the journal's disk takes up to this"),
	DURATION("plan", plan_us, "20 ms", "a planner takes up to this"),
	{.key = "once",
	 .type = GW_SCHEMA_BOOL,
	 .offset = AT(once),
	 .help = "no fault here may make a task run a second time"},
	{.key = "jobs",
	 .type = GW_SCHEMA_MAP,
	 .offset = AT(jobs),
	 .fields = job_fields,
	 .help = "the stream of jobs"},
	{.key = "faults",
	 .type = GW_SCHEMA_LIST,
	 .offset = AT(faults),
	 .item = &fault_item,
	 .item_bytes = sizeof(struct sim_fault_plan),
	 .max = 32,
	 .help = "what breaks, and how often"},
	{.key = NULL},
};

static FILE *open_scenario(const char *name)
{
	char path[512];
	FILE *file = fopen(name, "re");

	if (file || strchr(name, '/'))
		return file;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s.yaml", GODWIT_SIM_SCENARIOS, name) >=
	    sizeof(path))
		return NULL;
	return fopen(path, "re");
}

static int check_ranges(const struct sim_scenario *scenario, char *ret_text, size_t size)
{
	const struct sim_fault_plan *faults = scenario->faults.items;
	bool wrong = scenario->jobs.run_min_us > scenario->jobs.run_max_us ||
		     scenario->duration_us == 0 || scenario->jobs.every_us == 0;

	for (uint32_t i = 0; i < scenario->faults.count; i++)
		wrong = wrong || faults[i].lasts_min_us > faults[i].lasts_max_us;
	if (wrong)
		(void)snprintf(ret_text, size,
			       "%s: a minimum is above its maximum, or a time is 0 that may not be",
			       scenario->name);
	return wrong ? -EINVAL : 0;
}

int sim_scenario_read(const char *name, struct gw_arena *arena, struct sim_scenario *ret_scenario,
		      char *ret_text, size_t size)
{
	FILE *file = open_scenario(name);
	struct gw_parse_error error;
	size_t length;
	char *text;
	int result;

	if (!file) {
		(void)snprintf(ret_text, size, "no scenario file or built-in scenario \"%s\": %s",
			       name, strerror(errno));
		return -ENOENT;
	}
	text = malloc(FILE_BYTES_MAX);
	CHECK(text);
	length = fread(text, 1, FILE_BYTES_MAX, file);
	(void)fclose(file); /* read only */
	*ret_scenario = (struct sim_scenario){0};
	result = gw_schema_parse(scenario_fields, ret_scenario, arena, text, length, &error);
	if (result < 0)
		gw_parse_error_format(&error, name, ret_text, size);
	else
		result = check_ranges(ret_scenario, ret_text, size);
	free(text);
	return result;
}
