/*
 * The table of keys, and reading and writing a file by it. An amount is written in the unit of its
 * kind of fault, so it is read as a text first.
 */
#include "bench/sim/scenario.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/base/check.h"
#include "proto/base/time.h"

#define FILE_BYTES_MAX (4u << 20)
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
	SHARE("at_once", at_once_ppm,
	      "jobs whose tasks are replaced at once when their node is silent, and may run twice"),
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
#define AT(field) offsetof(struct sim_fault_draw, field)

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
	 .max = SIM_EVENTS_MAX,
	 .help = "how often, at times drawn by the seed"},
	DURATION("lasts_min", lasts_min_us, "100 ms", "for at least so long"),
	DURATION("lasts_max", lasts_max_us, "10 s", "and at most so long"),
	{.key = "amount_min",
	 .type = GW_SCHEMA_TEXT,
	 .offset = AT(amount_min),
	 .max = 32,
	 .fallback = "",
	 .help = "how strongly at least, in the kind's unit; without it, the kind's own bound"},
	{.key = "amount_max",
	 .type = GW_SCHEMA_TEXT,
	 .offset = AT(amount_max),
	 .max = 32,
	 .fallback = "",
	 .help = "and at most"},
	{.key = NULL},
};

static const struct gw_schema fault_item = {.type = GW_SCHEMA_MAP, .fields = fault_fields};

/* An event as it is written. */
struct written_event {
	uint64_t kind;
	struct gw_mark mark;
	uint64_t at_us;
	uint64_t lasts_us;
	uint64_t target;
	const char *amount;
};

#undef AT
#define AT(field) offsetof(struct written_event, field)

static const struct gw_schema event_fields[] = {
	{.key = "kind",
	 .type = GW_SCHEMA_CHOICE,
	 .offset = AT(kind),
	 .mark_offset = AT(mark),
	 .required = true,
	 .choices = sim_fault_names,
	 .help = "what breaks"},
	DURATION("at", at_us, "0", "when"),
	DURATION("lasts", lasts_us, "0", "how long; of a kill: until the restart"),
	{.key = "target",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(target),
	 .help = "a site's number from 0, an agent's from 1; 0: the scheduler or its host"},
	{.key = "amount",
	 .type = GW_SCHEMA_TEXT,
	 .offset = AT(amount),
	 .max = 32,
	 .fallback = "",
	 .help = "how strongly, in the kind's unit"},
	{.key = NULL},
};

static const struct gw_schema event_item = {.type = GW_SCHEMA_MAP, .fields = event_fields};

/* A scenario as it is written. */
struct written {
	struct sim_scenario scenario; /* first: the table serves both */
	struct gw_schema_list events; /* of struct written_event */
};

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
	 .max = 400,
	 .help = "one line"},
	{.key = "seed",
	 .type = GW_SCHEMA_COUNT,
	 .offset = AT(seed),
	 .fallback = "1",
	 .help = "to run it with, unless another is asked for"},
	{.key = "swarm",
	 .type = GW_SCHEMA_BOOL,
	 .offset = AT(swarm),
	 .help = "a seed leaves kinds of faults out and draws most numbers, up to those here"},
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
	 .item_bytes = sizeof(struct sim_fault_draw),
	 .max = 64,
	 .help = "what breaks, and how often: drawn by the seed"},
	{.key = "events",
	 .type = GW_SCHEMA_LIST,
	 .offset = offsetof(struct written, events),
	 .item = &event_item,
	 .item_bytes = sizeof(struct written_event),
	 .max = SIM_EVENTS_MAX,
	 .help = "what breaks, one by one"},
	{.key = NULL},
};

/* --- amounts --- */

static enum gw_schema_type unit_type(enum sim_fault_unit unit)
{
	switch (unit) {
	case SIM_UNIT_US:
		return GW_SCHEMA_DURATION;
	case SIM_UNIT_BPS:
		return GW_SCHEMA_RATE;
	case SIM_UNIT_PPM:
		return GW_SCHEMA_FRACTION;
	case SIM_UNIT_BYTES:
		return GW_SCHEMA_BYTES;
	case SIM_UNIT_NONE:
	case SIM_UNIT_CHOICE:
	case SIM_UNIT_COUNT:
		break;
	}
	return GW_SCHEMA_COUNT;
}

static struct gw_schema amount_field(enum sim_fault_kind kind)
{
	const struct sim_fault_class *class = sim_fault_class(kind);

	return (struct gw_schema){.key = "amount",
				  .type = unit_type(class->unit),
				  .min = class->amount_min,
				  .max = class->amount_max};
}

/* "" gives `fallback`. 0, or -EINVAL with ret_error's text. */
static int read_amount(enum sim_fault_kind kind, const char *text, uint64_t fallback,
		       struct gw_arena *arena, uint64_t *ret_amount,
		       struct gw_parse_error *ret_error)
{
	struct gw_schema field = amount_field(kind);

	*ret_amount = fallback;
	if (!*text)
		return 0;
	if (sim_fault_class(kind)->unit == SIM_UNIT_NONE)
		return gw_parse_error_set(ret_error, (struct gw_mark){0},
					  "%s has no amount, so none can be set",
					  sim_fault_name(kind));
	return gw_schema_parse_value(&field, text, arena, ret_amount, ret_error);
}

/* --- reading --- */

static int read_draws(struct sim_scenario *scenario, struct gw_arena *arena,
		      struct gw_parse_error *ret_error)
{
	struct sim_fault_draw *draws = scenario->faults.items;
	uint64_t count = 0;
	int result = 0;

	for (uint32_t i = 0; i < scenario->faults.count && result == 0; i++) {
		enum sim_fault_kind kind = (enum sim_fault_kind)draws[i].kind;
		const struct sim_fault_class *class = sim_fault_class(kind);

		result = read_amount(kind, draws[i].amount_min, class->amount_min, arena,
				     &draws[i].amounts[0], ret_error);
		if (result == 0)
			result = read_amount(kind, draws[i].amount_max, class->amount_max, arena,
					     &draws[i].amounts[1], ret_error);
		if (result == 0 && (draws[i].lasts_min_us > draws[i].lasts_max_us ||
				    draws[i].amounts[0] > draws[i].amounts[1]))
			result = gw_parse_error_set(ret_error, (struct gw_mark){0},
						    "%s: a minimum is above its maximum",
						    sim_fault_name(kind));
		count += draws[i].count;
	}
	if (result == 0 && count > SIM_EVENTS_MAX)
		result = gw_parse_error_set(ret_error, (struct gw_mark){0},
					    "%llu faults are to be drawn, at most %u can be",
					    (unsigned long long)count, SIM_EVENTS_MAX);
	return result;
}

static int read_event(const struct written *written, const struct written_event *from,
		      struct gw_arena *arena, struct sim_fault_event *ret_event,
		      struct gw_parse_error *ret_error)
{
	const struct sim_scenario *scenario = &written->scenario;
	enum sim_fault_kind kind = (enum sim_fault_kind)from->kind;
	int result;

	*ret_event = (struct sim_fault_event){.kind = kind,
					      .at_us = from->at_us,
					      .lasts_us = from->lasts_us,
					      .target = from->target};
	result = read_amount(kind, from->amount, sim_fault_class(kind)->amount_min, arena,
			     &ret_event->amount, ret_error);
	if (result < 0)
		ret_error->mark = from->mark;
	else if (!sim_fault_fits(ret_event, scenario->sites, scenario->sites * scenario->nodes))
		result = gw_parse_error_set(ret_error, from->mark,
					    "%s: there is no target %llu in %llu sites of %llu "
					    "nodes",
					    sim_fault_name(kind), (unsigned long long)from->target,
					    (unsigned long long)scenario->sites,
					    (unsigned long long)scenario->nodes);
	return result;
}

static int read_events(struct written *written, struct gw_arena *arena,
		       struct gw_parse_error *ret_error)
{
	const struct written_event *from = written->events.items;
	struct gw_schema_list *list = &written->scenario.events;
	struct sim_fault_event *events =
		gw_arena_alloc(arena, (written->events.count + 1) * sizeof(*events));
	int result = 0;

	if (!events)
		return gw_parse_error_set(ret_error, (struct gw_mark){0}, "too many events");
	for (uint32_t i = 0; i < written->events.count && result == 0; i++)
		result = read_event(written, &from[i], arena, &events[i], ret_error);
	*list = (struct gw_schema_list){.items = events, .count = written->events.count};
	return result;
}

static int check_ranges(const struct written *written, struct gw_parse_error *ret_error)
{
	const struct sim_scenario *scenario = &written->scenario;
	struct gw_mark mark = {0};

	if (scenario->jobs.run_min_us > scenario->jobs.run_max_us)
		return gw_parse_error_set(ret_error, mark, "jobs: run_min is above run_max");
	if (scenario->duration_us < GW_US_PER_S)
		return gw_parse_error_set(ret_error, mark, "duration: below 1 s");
	if (scenario->swarm && written->events.count > 0)
		return gw_parse_error_set(ret_error, mark,
					  "swarm draws the grid, so events cannot name its parts");
	if (scenario->jobs.every_us == 0)
		return gw_parse_error_set(ret_error, mark, "jobs: every may not be 0");
	return 0;
}

int sim_scenario_parse(const char *file, const char *bytes, size_t length, struct gw_arena *arena,
		       struct sim_scenario *ret_scenario, char *ret_text, size_t size)
{
	struct gw_parse_error error = {0};
	struct written written = {0};
	int result = gw_schema_parse(scenario_fields, &written, arena, bytes, length, &error);

	if (result == 0)
		result = check_ranges(&written, &error);
	if (result == 0)
		result = read_draws(&written.scenario, arena, &error);
	if (result == 0)
		result = read_events(&written, arena, &error);
	if (result < 0)
		gw_parse_error_format(&error, file, ret_text, size);
	else
		*ret_scenario = written.scenario;
	return result;
}

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

int sim_scenario_read(const char *name, struct gw_arena *arena, struct sim_scenario *ret_scenario,
		      char *ret_text, size_t size)
{
	FILE *file = open_scenario(name);
	size_t length;
	char *bytes;
	int result;

	if (!file) {
		(void)snprintf(ret_text, size, "no scenario file or built-in scenario \"%s\": %s",
			       name, strerror(errno));
		return -ENOENT;
	}
	bytes = malloc(FILE_BYTES_MAX);
	CHECK(bytes);
	length = fread(bytes, 1, FILE_BYTES_MAX, file);
	(void)fclose(file); /* read only */
	if (length == FILE_BYTES_MAX) {
		(void)snprintf(ret_text, size, "%s: a scenario has less than %u bytes", name,
			       FILE_BYTES_MAX);
		result = -EINVAL;
	} else {
		result = sim_scenario_parse(name, bytes, length, arena, ret_scenario, ret_text,
					    size);
	}
	free(bytes);
	return result;
}

/* --- writing --- */

/* A text in double quotes. */
static void write_text(const char *text, FILE *file)
{
	(void)fputc('"', file); /* the caller looks at ferror */
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			(void)fputc('\\', file);
		(void)fputc(*text, file);
	}
	(void)fputc('"', file);
}

/* "key: value" if it is not the default. True: it was written. */
static bool write_field(const struct gw_schema *field, const char *value, const char *fallback,
			const char *before, FILE *file)
{
	const uint64_t *number = (const void *)(value + field->offset);
	const uint64_t *usual = (const void *)(fallback + field->offset);
	const char *const *text = (const void *)(value + field->offset);
	char formatted[64];

	if (field->type == GW_SCHEMA_TEXT && **text) {
		(void)fprintf(file, "%s%s: ", before, field->key);
		write_text(*text, file);
		return true;
	}
	if (field->type == GW_SCHEMA_BOOL && *(const bool *)(value + field->offset)) {
		(void)fprintf(file, "%s%s: true", before, field->key);
		return true;
	}
	if (field->type == GW_SCHEMA_TEXT || field->type == GW_SCHEMA_BOOL || *number == *usual)
		return false;
	gw_schema_format(field, *number, formatted, sizeof(formatted));
	(void)fprintf(file, "%s%s: %s", before, field->key, formatted);
	return true;
}

void sim_scenario_format_event(const struct sim_scenario *scenario,
			       const struct sim_fault_event *event, char *ret_text, size_t size)
{
	const char *kind = sim_fault_name(event->kind);
	unsigned long long target = event->target;
	unsigned long long nodes = scenario->nodes;

	if (sim_fault_class(event->kind)->scope == SIM_SCOPE_SITE)
		(void)snprintf(ret_text, size, "%s of s%llu", kind, target + 1);
	else if (target == 0)
		(void)snprintf(ret_text, size, "%s of the scheduler", kind);
	else
		(void)snprintf(ret_text, size, "%s of s%llun%llu", kind, (target - 1) / nodes + 1,
			       (target - 1) % nodes + 1);
}

static void write_event(const struct sim_scenario *scenario, const struct sim_fault_event *event,
			FILE *file)
{
	static const struct gw_schema time = {.type = GW_SCHEMA_DURATION};
	const struct sim_fault_class *class = sim_fault_class(event->kind);
	struct gw_schema amount = amount_field(event->kind);
	char text[64];

	gw_schema_format(&time, event->at_us, text, sizeof(text));
	(void)fprintf(file, "  - {kind: %s, at: %s", sim_fault_name(event->kind), text);
	gw_schema_format(&time, event->lasts_us, text, sizeof(text));
	if (event->lasts_us > 0)
		(void)fprintf(file, ", lasts: %s", text);
	(void)fprintf(file, ", target: %llu", (unsigned long long)event->target);
	gw_schema_format(&amount, event->amount, text, sizeof(text));
	if (class->unit != SIM_UNIT_NONE)
		(void)fprintf(file, ", amount: %s", text);
	sim_scenario_format_event(scenario, event, text, sizeof(text));
	(void)fprintf(file, "} # %s\n", text);
}

void sim_scenario_write(const struct sim_scenario *scenario, FILE *file)
{
	const struct sim_fault_event *events = scenario->events.items;
	struct written usual = {0};
	struct gw_arena arena;
	bool any = false;

	CHECK(scenario->faults.count == 0);
	gw_arena_init(&arena, FILE_BYTES_MAX);
	CHECK(gw_schema_defaults(scenario_fields, &usual, &arena) == 0);
	for (const struct gw_schema *field = scenario_fields; field->key; field++) {
		if (field->type != GW_SCHEMA_MAP && field->type != GW_SCHEMA_LIST &&
		    write_field(field, (const char *)scenario, (const char *)&usual, "", file))
			(void)fputc('\n', file);
	}
	(void)fprintf(file, "jobs: {");
	for (const struct gw_schema *field = job_fields; field->key; field++)
		any |= write_field(field, (const char *)&scenario->jobs,
				   (const char *)&usual.scenario.jobs, any ? ", " : "", file);
	(void)fprintf(file, "}\n%s", scenario->events.count > 0 ? "events:\n" : "");
	for (uint32_t i = 0; i < scenario->events.count; i++)
		write_event(scenario, &events[i], file);
	gw_arena_deinit(&arena);
}
